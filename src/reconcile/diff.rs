//! What two ordered listings have in common: one pass over both, memory of one item each.

use std::cmp::Ordering;

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side<L, R> {
    /// Only in the left listing.
    Left(L),
    /// Only in the right listing.
    Right(R),
    /// In both.
    Both(L, R),
}

/// Merges two listings that are strictly ascending by `key`.
///
/// # Panics
/// In debug builds, when a listing is not in order: its order is the whole point.
pub fn merge<L, R, K: Ord>(
    left: impl IntoIterator<Item = L>,
    right: impl IntoIterator<Item = R>,
    left_key: impl Fn(&L) -> K,
    right_key: impl Fn(&R) -> K,
) -> impl Iterator<Item = Side<L, R>> {
    let mut left = left.into_iter().peekable();
    let mut right = right.into_iter().peekable();
    std::iter::from_fn(move || {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(l), Some(r)) => left_key(l).cmp(&right_key(r)),
        };
        Some(match order {
            Ordering::Less => Side::Left(take(&mut left, &left_key)),
            Ordering::Greater => Side::Right(take(&mut right, &right_key)),
            Ordering::Equal => Side::Both(take(&mut left, &left_key), take(&mut right, &right_key)),
        })
    })
}

fn take<T, K: Ord>(
    items: &mut std::iter::Peekable<impl Iterator<Item = T>>,
    key: impl Fn(&T) -> K,
) -> T {
    let item = items.next().expect("it was peeked at");
    if let Some(next) = items.peek() {
        debug_assert!(
            key(&item) < key(next),
            "a listing is not strictly ascending"
        );
    }
    item
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_item_stands_where_the_sets_say(left in prop::collection::btree_set(0_u8..30, 0..20),
                                                right in prop::collection::btree_set(0_u8..30, 0..20)) {
            let (mut only_left, mut only_right, mut both) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            for side in merge(left.iter().copied(), right.iter().copied(), |l| *l, |r| *r) {
                match side {
                    Side::Left(item) => only_left.insert(item),
                    Side::Right(item) => only_right.insert(item),
                    Side::Both(l, r) => { prop_assert_eq!(l, r); both.insert(l) }
                };
            }
            prop_assert_eq!(only_left, &left - &right);
            prop_assert_eq!(only_right, &right - &left);
            prop_assert_eq!(both, &left & &right);
        }
    }
}
