//! That one node took the place of another: news for people, from which no node draws a conclusion by itself.

use super::{NodeId, Timestamp};

/// A node took another's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succession {
    /// Whose place was taken.
    pub former: NodeId,
    /// By whom.
    pub successor: NodeId,
    /// When, by the successor's clock.
    pub at: Timestamp,
}

impl Succession {
    /// Whether this is no news any more once `other` is known: another node took the place later, or the former one took one itself.
    /// Of two nodes that took it at one moment, the same holds on every node.
    #[must_use]
    pub fn is_outdated_by(&self, other: &Self) -> bool {
        let is_later = other.former == self.former
            && (other.at, &other.successor) > (self.at, &self.successor);
        let is_back = other.successor == self.former && other.at > self.at;
        is_later || is_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn succession(former: &str, successor: &str, at: i64) -> Succession {
        Succession {
            former: NodeId::new(former).unwrap(),
            successor: NodeId::new(successor).unwrap(),
            at: Timestamp::from_millis(at),
        }
    }

    #[test]
    fn only_what_came_later_about_the_same_node_makes_it_old() {
        let first = succession("old", "new", 5);
        for (later, is_outdated) in [
            (succession("new", "old", 6), true),
            (succession("old", "third", 6), true),
            (succession("old", "third", 5), true),
            (succession("old", "else", 5), false),
            (succession("old", "third", 4), false),
            (succession("new", "old", 4), false),
            (succession("new", "third", 6), false),
            (succession("else", "third", 6), false),
        ] {
            assert_eq!(first.is_outdated_by(&later), is_outdated, "{later:?}");
        }
    }
}
