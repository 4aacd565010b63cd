//! Two ordered sources that are read page by page, cut into stretches that are whole on both sides.
//!
//! ```text
//! while either side has more, or something left over
//!     read the next page of each side that is used up
//!     everything up to the end of the shorter page is known on both sides: that is the stretch
//! ```
//!
//! Memory is one page of each side. No I/O here: who compares reads the pages and puts them in.

/// One side: what was read of it and not yet compared.
pub(super) struct Pages<T, K, F> {
    items: Vec<T>,
    last: Option<K>,
    more: bool,
    size: usize,
    key: F,
}

impl<T, K: Ord, F: Fn(&T) -> K> Pages<T, K, F> {
    /// A source of pages of `size` items, strictly ascending by `key`; a shorter page is its last one.
    pub(super) fn new(size: usize, key: F) -> Self {
        Self {
            items: Vec::new(),
            last: None,
            more: true,
            size,
            key,
        }
    }

    /// Whether the next page must be read before the next stretch is taken.
    pub(super) fn used_up(&self) -> bool {
        self.items.is_empty() && self.more
    }

    /// The key after which the next page begins.
    pub(super) fn last(&self) -> Option<&K> {
        self.last.as_ref()
    }

    /// Takes the next page in.
    pub(super) fn put(&mut self, page: Vec<T>) {
        self.more = page.len() == self.size;
        if let Some(last) = page.last() {
            self.last = Some((self.key)(last));
        }
        self.items = page;
    }

    /// Whether there is anything to compare yet.
    pub(super) fn goes_on(&self) -> bool {
        self.more || !self.items.is_empty()
    }

    fn upto(&mut self, known: Option<&K>) -> Vec<T> {
        let Some(known) = known else {
            return std::mem::take(&mut self.items);
        };
        let end = self
            .items
            .partition_point(|item| (self.key)(item) <= *known);
        self.items.drain(..end).collect()
    }
}

/// The next stretch of two sides, neither of which is [used up](Pages::used_up).
pub(super) fn stretch<L, R, K: Ord + Clone>(
    left: &mut Pages<L, K, impl Fn(&L) -> K>,
    right: &mut Pages<R, K, impl Fn(&R) -> K>,
) -> (Vec<L>, Vec<R>) {
    let known = [
        left.last.as_ref().filter(|_| left.more),
        right.last.as_ref().filter(|_| right.more),
    ];
    let known = known.into_iter().flatten().min().cloned();
    (left.upto(known.as_ref()), right.upto(known.as_ref()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn read(from: &BTreeSet<u8>, after: Option<&u8>, size: usize) -> Vec<u8> {
        let rest = from
            .iter()
            .filter(|item| after.is_none_or(|after| *item > after));
        rest.take(size).copied().collect()
    }

    proptest! {
        #[test]
        fn stretches_hold_everything_once_and_what_is_on_both_sides_together(
            left in prop::collection::btree_set(0_u8..60, 0..40),
            right in prop::collection::btree_set(0_u8..60, 0..40),
            size in 1_usize..9,
        ) {
            let (mut l, mut r) = (Pages::new(size, |l: &u8| *l), Pages::new(size, |r: &u8| *r));
            let (mut seen_left, mut seen_right) = (Vec::new(), Vec::new());
            while l.goes_on() || r.goes_on() {
                if l.used_up() {
                    l.put(read(&left, l.last(), size));
                }
                if r.used_up() {
                    r.put(read(&right, r.last(), size));
                }
                let (some_left, some_right) = stretch(&mut l, &mut r);
                prop_assert!(some_left.len() <= size && some_right.len() <= size);
                let here: BTreeSet<u8> = some_left.iter().copied().collect();
                let there: BTreeSet<u8> = some_right.iter().copied().collect();
                prop_assert!(here.iter().all(|item| !right.contains(item) || there.contains(item)));
                prop_assert!(there.iter().all(|item| !left.contains(item) || here.contains(item)));
                seen_left.extend(some_left);
                seen_right.extend(some_right);
            }
            prop_assert_eq!(seen_left, left.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(seen_right, right.into_iter().collect::<Vec<_>>());
        }
    }
}
