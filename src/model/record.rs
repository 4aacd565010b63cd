//! A record, who stands behind it, and the rule that decides between two versions of it.
//!
//! [`resolve`] is EMDB's own table (wire spec section 6, rows 1 to 9) with the additions that make nodes of ours converge
//! (design section 8, Conflicts). It is pure: the same two versions give the same winner on every node.

use std::cmp::Ordering;
use std::time::Duration;

use super::{NodeId, RecordKey, Sha256, Timestamp};

/// Different times that nodes set their edits apart by, ms.
const SPREAD_MS: u64 = 996;

/// One row of a table, with its JSON exactly as it arrived or was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its address.
    pub key: RecordKey,
    /// The record's members as JSON text; unknown ones are kept and passed on untouched.
    pub source: String,
    /// Who owns it and who edited it last; `None` when it was never saved by a node that tracks edits.
    pub status: Option<RecordStatus>,
    /// Digest of [`source`](Self::source) with its members sorted, so that member order is no difference.
    pub content: Sha256,
}

impl Record {
    /// Whether this is a tombstone.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.deleted)
    }

    /// What [`resolve`] needs to know of it.
    #[must_use]
    pub fn version(&self) -> Version {
        Version {
            status: self.status.clone(),
            content: self.content,
            pushed: false,
        }
    }
}

/// The edit history that travels inside a record (`emrecordstatus`, wire spec 4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordStatus {
    /// Whether the record is a tombstone.
    pub deleted: bool,
    /// The node that owns the record.
    pub master: NodeId,
    /// The node of the last local save.
    pub modified_by: NodeId,
    /// When that save happened, on that node's clock.
    pub modified: Timestamp,
    /// When the owner last saved it; only the local side may lack it (row 5).
    pub master_modified: Option<Timestamp>,
}

impl RecordStatus {
    /// A save by the record's master: all four members set, and strictly younger than the save before it, whatever the clock did
    /// since: two saves with one date could not be told apart by a peer, and an older one it would not take (row 7).
    #[must_use]
    pub fn saved_by_master(
        master: &NodeId,
        before: Option<&Self>,
        now: Timestamp,
        deleted: bool,
    ) -> Self {
        let next = |status: &Self| status.modified.plus(Duration::from_millis(1));
        let modified = before.map_or(now, |status| now.max(next(status)));
        Self {
            deleted,
            master: master.clone(),
            modified_by: master.clone(),
            modified,
            master_modified: Some(modified),
        }
    }
}

impl RecordStatus {
    /// A save by this node: of its own record, of a new one, or of another node's, who stays its master (wire spec 4.2).
    #[must_use]
    pub fn saved(own: &NodeId, before: Option<&Self>, now: Timestamp, deleted: bool) -> Self {
        match before.filter(|before| before.master != *own) {
            None => Self::saved_by_master(own, before, now, deleted),
            Some(theirs) => {
                let beyond = match theirs.modified_by == *own {
                    true => Duration::from_millis(1),
                    false => spread(own),
                };
                Self {
                    deleted,
                    modified_by: own.clone(),
                    modified: now.max(theirs.modified.plus(beyond)),
                    ..theirs.clone()
                }
            }
        }
    }
}

/// How far beyond the version that it edits a node sets its date when its clock is behind that: another time for each node, within
/// a second. With one and the same, two such editors of one version would make versions of one date, which EMDB takes for the same
/// change (row 7). It is never what an owner adds.
fn spread(own: &NodeId) -> Duration {
    let digest = Sha256::of(own.as_str().as_bytes());
    let bytes = digest.as_bytes();
    let number = u64::from(bytes[0]) << 8 | u64::from(bytes[1]);
    Duration::from_millis(2 + number % SPREAD_MS)
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// See [`Record::status`].
    pub status: Option<RecordStatus>,
    /// See [`Record::content`].
    pub content: Sha256,
    /// Whether the owner is known to have taken this version (only of interest on the local side).
    pub pushed: bool,
}

/// What to do with a record that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Store the remote version.
    Save,
    /// Store the remote version, and keep the local one whole among the conflicts: it held an edit nobody else has.
    SaveKeepingLoser,
    /// Both are the same change, or it is our own coming back. Nothing to do.
    Skip,
    /// Keep the local version and store the remote one among the conflicts.
    KeepLocal,
    /// The same, and say so with a newer date: the record is ours, and others may hold on to the edit that was refused.
    KeepLocalAnew,
}

impl Resolution {
    /// Whether the remote version is stored.
    #[must_use]
    pub fn saves(self) -> bool {
        matches!(self, Self::Save | Self::SaveKeepingLoser)
    }

    /// Whether the local version stays, other than the one that arrived.
    #[must_use]
    pub fn keeps(self) -> bool {
        matches!(self, Self::KeepLocal | Self::KeepLocalAnew)
    }

    /// Whether one of the two versions held something that the other one does not know of.
    #[must_use]
    pub fn is_conflict(self) -> bool {
        matches!(
            self,
            Self::SaveKeepingLoser | Self::KeepLocal | Self::KeepLocalAnew
        )
    }
}

/// Decides between the local version of a record and the one that arrived. `own` is this node.
///
/// Source: wire spec section 6, evaluated top to bottom; additions from design section 8, Conflicts.
#[must_use]
pub fn resolve(local: Option<&Version>, remote: &Version, own: &NodeId) -> Resolution {
    // Row 1.
    let Some(local) = local else {
        return Resolution::Save;
    };
    if local.status == remote.status && local.content == remote.content {
        return Resolution::Skip;
    }
    // Row 2; a record nobody stamps is not written anew in every pass, since one of equal content was skipped above.
    let Some(theirs) = &remote.status else {
        return Resolution::Save;
    };
    // Row 3.
    let Some(ours) = &local.status else {
        return Resolution::Save;
    };
    // Row 4: our own record, last edited by us, seen through a peer.
    if theirs.master == *own && theirs.modified_by == *own {
        return Resolution::Skip;
    }
    // Row 5.
    let Some(our_master_date) = ours.master_modified else {
        return Resolution::Save;
    };
    // Row 6. A remote side without the date cannot be younger than ours.
    let Some(their_master_date) = theirs.master_modified else {
        return Resolution::KeepLocal;
    };
    if their_master_date < our_master_date {
        // Whoever else took that edit gives it up for a version of a later date than the edit's.
        return if ours.master == *own {
            Resolution::KeepLocalAnew
        } else {
            Resolution::KeepLocal
        };
    }
    // Not so in EMDB, which by row 9 keeps an edit of a replaced version for as long as the editor's clock was ahead. Nobody but the
    // owner could end that, who may never meet the edit; so its younger version wins everywhere, as it does against row 6.
    if their_master_date > our_master_date && theirs.master == ours.master && ours.master != *own {
        // An edit of a later date is what EMDB would keep: whoever meets it here keeps a copy.
        return match is_ours_alone(local, ours, own) || theirs.modified < ours.modified {
            true => Resolution::SaveKeepingLoser,
            false => Resolution::Save,
        };
    }
    match theirs.modified.cmp(&ours.modified) {
        Ordering::Equal => same_date(local, ours, remote, theirs),
        _ if their_master_date > our_master_date && is_ours_alone(local, ours, own) => {
            Resolution::SaveKeepingLoser
        }
        // Rows 8 and 9: the last writer wins.
        Ordering::Greater if is_ours_alone(local, ours, own) || crosses(ours, theirs, own) => {
            Resolution::SaveKeepingLoser
        }
        // It changed hands: who took it over may never have had the last edit of who had it before.
        Ordering::Greater if theirs.master != ours.master => Resolution::SaveKeepingLoser,
        Ordering::Greater => Resolution::Save,
        // Whose clock is behind dates its edit before the version that it edits, keeps it in its own catalogue, and was sent that
        // version already: only a later date gets there.
        Ordering::Less if ours.master == *own && theirs.modified_by != ours.modified_by => {
            Resolution::KeepLocalAnew
        }
        Ordering::Less => Resolution::KeepLocal,
    }
}

/// Whether the local version is an edit of ours that its master is not known to have.
fn is_ours_alone(local: &Version, ours: &RecordStatus, own: &NodeId) -> bool {
    ours.modified_by == *own && ours.master != *own && !local.pushed
}

/// Whether two others edited the same version of a record of ours. Nobody but us sees both edits, so the older one is kept here;
/// that the second editor had seen the first one's cannot be told.
fn crosses(ours: &RecordStatus, theirs: &RecordStatus, own: &NodeId) -> bool {
    let is_an_edit = |status: &RecordStatus| status.modified_by != *own;
    ours.master == *own
        && is_an_edit(ours)
        && is_an_edit(theirs)
        && ours.modified_by != theirs.modified_by
}

/// Row 7. Equal dates usually mean the same change. Where the versions differ all the same, the greater
/// (editor, content) wins, so that every node ends with the same one.
fn same_date(
    local: &Version,
    ours: &RecordStatus,
    remote: &Version,
    theirs: &RecordStatus,
) -> Resolution {
    let rank = |status: &RecordStatus, content| {
        (status.modified_by.clone(), status.master_modified, content)
    };
    match rank(theirs, remote.content).cmp(&rank(ours, local.content)) {
        Ordering::Greater => Resolution::SaveKeepingLoser,
        Ordering::Equal => Resolution::Skip,
        Ordering::Less => Resolution::KeepLocal,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    /// Written as the table of the spec writes it: master / last editor / master date / record date.
    fn version(master: &str, editor: &str, master_date: i64, date: i64) -> Version {
        let status = RecordStatus {
            deleted: false,
            master: node(master),
            modified_by: node(editor),
            modified: Timestamp::from_millis(date),
            master_modified: Some(Timestamp::from_millis(master_date)),
        };
        let content = Sha256::of(format!("{master}{editor}{master_date}{date}").as_bytes());
        Version {
            status: Some(status),
            content,
            pushed: false,
        }
    }

    /// Wire spec A.5, own cluster B, with the addition of design section 8 in its fourth row.
    #[test]
    fn decides_as_the_examples_of_the_specification() {
        let own = node("B");
        let cases = [
            (None, version("A", "A", 1000, 1000), Resolution::Save),
            (
                Some(version("A", "A", 1000, 1000)),
                version("A", "A", 1100, 1100),
                Resolution::Save,
            ),
            (
                Some(version("A", "B", 1000, 1030)),
                version("A", "A", 1000, 1000),
                Resolution::KeepLocal,
            ),
            (
                Some(version("A", "B", 1000, 1030)),
                version("A", "A", 1100, 1100),
                Resolution::SaveKeepingLoser,
            ),
            (
                Some(version("B", "B", 1040, 1040)),
                version("B", "A", 1000, 1050),
                Resolution::KeepLocalAnew,
            ),
            (
                Some(version("B", "B", 1000, 1000)),
                version("B", "A", 1000, 1050),
                Resolution::Save,
            ),
            (
                Some(version("B", "B", 1000, 1000)),
                version("B", "B", 1000, 1000),
                Resolution::Skip,
            ),
        ];
        for (local, remote, expected) in cases {
            assert_eq!(
                resolve(local.as_ref(), &remote, &own),
                expected,
                "{local:?} against {remote:?}"
            );
        }
    }

    #[test]
    fn our_own_edit_of_our_own_record_comes_back_to_nothing_and_no_other_does() {
        let (own, local) = (node("B"), version("A", "A", 1000, 1000));
        let taken = |remote| resolve(Some(&local), &remote, &own);
        assert_eq!(taken(version("B", "B", 1100, 1100)), Resolution::Skip);
        assert_eq!(taken(version("A", "B", 1100, 1100)), Resolution::Save);
        // It changed hands, so what its former master had is kept.
        let changed_hands = taken(version("B", "A", 1100, 1100));
        assert_eq!(changed_hands, Resolution::SaveKeepingLoser);
    }

    #[test]
    fn an_owner_answers_an_edit_that_a_clock_behind_dates_before_the_version_it_edits() {
        let (own, local) = (node("B"), version("B", "B", 1000, 1000));
        let late = version("B", "A", 1000, 900);
        assert_eq!(
            resolve(Some(&local), &late, &own),
            Resolution::KeepLocalAnew
        );
        let elsewhere = resolve(Some(&local), &late, &node("C"));
        assert_eq!(elsewhere, Resolution::KeepLocal, "who does not own it");
        // Its editor has the newer one itself.
        let taken = version("B", "A", 1000, 1100);
        assert_eq!(resolve(Some(&taken), &late, &own), Resolution::KeepLocal);
    }

    #[test]
    fn a_record_that_changed_hands_keeps_what_its_former_master_had_whoever_meets_it() {
        let (before, after) = (version("A", "A", 1000, 1000), version("C", "C", 1100, 1100));
        for own in ["A", "B", "Z"] {
            let taken = resolve(Some(&before), &after, &node(own));
            assert_eq!(taken, Resolution::SaveKeepingLoser, "{own}");
        }
        let late = version("A", "A", 1200, 1200);
        assert_eq!(
            resolve(Some(&after), &late, &node("C")),
            Resolution::SaveKeepingLoser
        );
    }

    #[test]
    fn a_side_without_a_date_of_its_master_gives_way_to_one_that_has_it() {
        let (own, dated) = (node("Z"), version("A", "A", 1000, 1000));
        let mut undated = version("A", "A", 0, 2000);
        if let Some(status) = &mut undated.status {
            status.master_modified = None;
        }
        assert_eq!(resolve(Some(&undated), &dated, &own), Resolution::Save);
        assert_eq!(resolve(Some(&dated), &undated, &own), Resolution::KeepLocal);
    }

    #[test]
    fn a_save_is_younger_than_the_one_before_it_whatever_the_clock_did() {
        let (master, at) = (node("A"), Timestamp::from_millis);
        let first = RecordStatus::saved_by_master(&master, None, at(1_000), false);
        for (clock, date) in [(5, 1_001), (1_000, 1_001), (2_000, 2_000)] {
            let next = RecordStatus::saved_by_master(&master, Some(&first), at(clock), true);
            assert_eq!(next.modified, at(date), "the clock says {clock}");
            assert_eq!(next.master_modified, Some(next.modified));
            assert!(next.deleted && next.master == master && next.modified_by == master);
        }
    }

    #[test]
    fn an_edit_of_another_nodes_record_leaves_its_master_and_that_ones_date() {
        let (own, at) = (node("B"), Timestamp::from_millis);
        let theirs = version("A", "A", 1_000, 1_000).status.unwrap();
        let edited = RecordStatus::saved(&own, Some(&theirs), at(2_000), false);
        assert_eq!((&edited.master, &edited.modified_by), (&node("A"), &own));
        assert_eq!(
            (edited.modified, edited.master_modified),
            (at(2_000), Some(at(1_000)))
        );
        let again = RecordStatus::saved(&own, Some(&edited), at(5), true);
        assert_eq!((again.modified, again.deleted), (at(2_001), true));
        let new = RecordStatus::saved(&own, None, at(7), false);
        assert_eq!(new, RecordStatus::saved_by_master(&own, None, at(7), false));
    }

    #[test]
    fn two_editors_whose_clocks_are_behind_do_not_meet_in_one_date() {
        let theirs = version("A", "A", 1_000, 1_000).status.unwrap();
        let dates: std::collections::BTreeSet<i64> = (0..20)
            .map(|number| {
                let own = node(&format!("spoke-{number}"));
                let edit = || RecordStatus::saved(&own, Some(&theirs), Timestamp::EPOCH, false);
                assert_eq!(edit(), edit(), "not by chance");
                edit().modified.as_millis()
            })
            .collect();
        assert!(dates.len() >= 19, "{dates:?}");
        let beyond = 1_002..=1_997;
        assert!(dates.iter().all(|date| beyond.contains(date)), "{dates:?}");
    }

    #[test]
    fn a_tombstone_is_told_by_its_status_alone() {
        let of = |status| Record {
            key: RecordKey::new("asset", "a1").unwrap(),
            source: "{}".to_owned(),
            status,
            content: Sha256::of(b"{}"),
        };
        let mut status = version("A", "A", 1, 1).status;
        assert!(!of(status.clone()).is_deleted() && !of(None).is_deleted());
        status.as_mut().unwrap().deleted = true;
        let tombstone = of(status);
        assert!(tombstone.is_deleted());
        let seen = tombstone.version();
        assert_eq!(
            (&seen.status, seen.content),
            (&tombstone.status, tombstone.content)
        );
        assert!(!seen.pushed, "it counts as taken by its owner");
    }

    #[test]
    fn an_edit_that_was_pushed_is_not_kept_as_a_loser() {
        let mut local = version("A", "B", 1000, 1030);
        local.pushed = true;
        assert_eq!(
            resolve(Some(&local), &version("A", "A", 1100, 1100), &node("B")),
            Resolution::Save
        );
    }

    #[test]
    fn no_edit_is_lost_without_a_copy() {
        let taken = |own: &str, local: &Version, remote| resolve(Some(local), &remote, &node(own));
        // Two spokes edit what the hub owns, at their own places: each keeps its own edit when the other's is later.
        let mine = version("A", "B", 1000, 1030);
        assert_eq!(
            taken("B", &mine, version("A", "C", 1000, 1050)),
            Resolution::SaveKeepingLoser
        );
        assert_eq!(
            taken("B", &mine, version("A", "C", 1000, 1020)),
            Resolution::KeepLocal
        );
        let pushed = Version {
            pushed: true,
            ..mine.clone()
        };
        assert_eq!(
            taken("B", &pushed, version("A", "C", 1000, 1050)),
            Resolution::Save
        );
        // The hub has both, one after the other.
        assert_eq!(
            taken("A", &mine, version("A", "C", 1000, 1050)),
            Resolution::SaveKeepingLoser
        );
        assert_eq!(
            taken("A", &mine, version("A", "B", 1000, 1050)),
            Resolution::Save
        );
        // Anybody else only passes them on.
        assert_eq!(
            taken("D", &mine, version("A", "C", 1000, 1050)),
            Resolution::Save
        );
    }

    #[test]
    fn a_stale_edit_is_refused_by_everybody_and_answered_by_the_owner() {
        let (owned, stale) = (version("A", "A", 1040, 1040), version("A", "B", 1000, 1050));
        let refused = |own: &str| resolve(Some(&owned), &stale, &node(own));
        assert_eq!(refused("A"), Resolution::KeepLocalAnew);
        assert_eq!(refused("C"), Resolution::KeepLocal);
    }

    #[test]
    fn records_nobody_stamped_are_compared_by_content() {
        let bare = |text: &str| Version {
            status: None,
            content: Sha256::of(text.as_bytes()),
            pushed: false,
        };
        assert_eq!(
            resolve(Some(&bare("x")), &bare("x"), &node("B")),
            Resolution::Skip
        );
        assert_eq!(
            resolve(Some(&bare("x")), &bare("y"), &node("B")),
            Resolution::Save
        );
        assert_eq!(
            resolve(Some(&bare("x")), &version("A", "A", 1, 1), &node("B")),
            Resolution::Save
        );
    }

    fn any_version() -> impl Strategy<Value = Version> {
        let name = prop::sample::select(vec!["A", "B", "C"]);
        (
            name.clone(),
            name,
            0_i64..4,
            0_i64..4,
            0_u8..2,
            any::<bool>(),
        )
            .prop_map(|(master, editor, master_date, date, salt, deleted)| {
                let mut made = version(master, editor, master_date, date);
                made.content = Sha256::of(&[salt]);
                if let Some(status) = &mut made.status {
                    status.deleted = deleted;
                }
                made
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Taking the same version twice changes nothing the second time (I5).
        #[test]
        fn resolving_is_idempotent(local in any_version(), remote in any_version()) {
            let own = node("B");
            if resolve(Some(&local), &remote, &own).saves() {
                prop_assert_eq!(resolve(Some(&remote), &remote, &own), Resolution::Skip);
            }
        }

        /// Two nodes that did not make either edit, and hold one each, end with the same version (I7).
        #[test]
        fn two_onlookers_agree(left in any_version(), right in any_version()) {
            let onlooker = node("Z");
            let winner = |mine: &Version, other: &Version| {
                if resolve(Some(mine), other, &onlooker).saves() { other.clone() } else { mine.clone() }
            };
            let (Some(a), Some(b)) = (&left.status, &right.status) else { unreachable!("every version is stamped") };
            // Of one content means of one flag as well, outside of this test.
            if a.master == b.master && a.deleted == b.deleted {
                prop_assert_eq!(winner(&left, &right), winner(&right, &left));
            }
        }
    }
}
