//! What may be deleted, told without the catalogue: a map of the master, a map of what is here, and the rule in words (I4).

use std::collections::{BTreeMap, BTreeSet};

/// A record here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) is_live: bool,
    /// Whether it came from this peer.
    pub(super) is_theirs: bool,
    pub(super) is_edited_here: bool,
    /// Whether a node that tracks edits ever saved it.
    pub(super) is_stamped: bool,
    /// Whether the last believed listing lacked it, and no listing showed it since.
    pub(super) is_noted: bool,
}

impl Kept {
    /// Whether its absence from a listing means anything.
    fn counts(&self) -> bool {
        self.is_live && self.is_theirs && !self.is_edited_here && self.is_stamped
    }
}

/// What a listing and the peer say together.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    /// Records shown, and whether each is live.
    pub(super) shown: BTreeMap<u32, bool>,
    pub(super) unkeyed: u64,
    pub(super) counted: Option<u64>,
    pub(super) contradicts: bool,
    pub(super) is_told: bool,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) here: BTreeMap<u32, Kept>,
    /// Deletes for absence that may wait for the guard.
    pub(super) queued: BTreeSet<u32>,
    usual: Option<i64>,
    audits: u64,
}

impl Model {
    /// The records here that a listing lacks.
    fn absent(&self, said: &Said) -> BTreeSet<u32> {
        let lacks = |id: &u32| !said.shown.contains_key(id);
        let counts = self.here.iter().filter(|(_, kept)| kept.counts());
        counts.map(|(id, _)| *id).filter(lacks).collect()
    }

    /// The records that this listing would be the second to lack.
    pub(super) fn second(&self, said: &Said) -> BTreeSet<u32> {
        let mut absent = self.absent(said);
        absent.retain(|id| self.here[id].is_noted);
        absent
    }

    /// Pages came in: what they show is no longer missing.
    pub(super) fn show(&mut self, said: &Said) {
        for id in said.shown.keys() {
            self.queued.remove(id);
            if let Some(kept) = self.here.get_mut(id) {
                kept.is_noted = false;
            }
        }
    }

    /// The listing was whole; only records that pass `counts` are in the peer's count. Answers whether it is believed.
    pub(super) fn audit(&mut self, said: &Said, counts: impl Fn(u32) -> bool) -> bool {
        let absent = self.absent(said);
        let live = (said.shown.iter())
            .filter(|(id, is_live)| **is_live && counts(**id))
            .count();
        let surplus = said.counted.map(|counted| counted as i64 - live as i64);
        let is_short = match (surplus, self.usual) {
            (None, _) => true,
            (Some(surplus), Some(usual)) => surplus > usual,
            (Some(_), None) => false,
        };
        let is_empty = live == 0 && !said.is_told;
        let doubtful = !absent.is_empty() && (said.unkeyed > 0 || is_empty || is_short);
        let believed = !doubtful && !said.contradicts;
        if believed {
            for id in &absent {
                let kept = self.here.get_mut(id).unwrap();
                if kept.is_noted {
                    self.queued.insert(*id);
                }
                kept.is_noted = true;
            }
        }
        if absent.is_empty() || self.audits == 0 {
            self.usual = surplus.or(self.usual);
        }
        self.audits += 1;
        believed
    }
}
