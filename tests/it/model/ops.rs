//! The operations of a sequence. They name ids and paths by number and never look at what is there, so that any of them can be
//! left out of a sequence and the rest still means something.

use std::fs;
use std::path::Path;

use crate::support::chance::Chance;

/// Ids of assets; few, so that operations meet.
pub(super) const ASSETS: usize = 6;
/// Ids of categories.
pub(super) const CATEGORIES: usize = 2;
/// Where originals may lie: the first is a file where others need a folder.
pub(super) const PATHS: [&str; 6] = [
    "d",
    "d/a.bin",
    "d/b.bin",
    "e/f/c é.bin",
    "e/f/g.bin",
    "h.bin",
];
/// Names of renditions.
pub(super) const RENDITIONS: [&str; 2] = ["image200x200.webp", "image3000x3000.webp"];

/// One operation. What cannot be done in the state it meets does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// A new asset, or a deleted one comes back, at a path.
    Add(usize, usize),
    /// Another title, saved by the owner.
    Edit(usize),
    /// Another title, saved by a node that is not the owner: the owner's date stays.
    EditElsewhere(usize),
    /// Other bytes of another size and date.
    Replace(usize),
    /// Other bytes; size and date stay.
    ReplaceAlike(usize),
    /// Another path.
    Move(usize, usize),
    /// Two assets change places.
    Swap(usize, usize),
    /// A new asset of the bytes of another.
    Clone(usize, usize, usize),
    /// A tombstone.
    Delete(usize),
    /// The record goes without a trace.
    Vanish(usize),
    /// `editstatus` 7.
    Mark(usize),
    /// A rendition comes, or gets other bytes.
    Render(usize, usize),
    /// A rendition goes.
    Unrender(usize, usize),
    /// The record becomes another node's.
    HandOver(usize),
    /// An edit of an older version of the record: saved now, with an earlier date of its owner (row 6).
    Backdate(usize),
    /// The record is saved by another node at the very same time; whether that node's name is the greater one.
    SameMoment(usize, bool),
    /// A category comes, comes back or is renamed.
    Category(usize),
    /// A tombstone of a category.
    DeleteCategory(usize),
    /// The title is edited at the mirror.
    EditHere(usize),
    /// The mirror is closed and opened.
    Restart,
    /// What changed is pulled.
    Sync,
    /// Everything is pulled.
    Seed,
    /// Both nodes are compared; nothing may change.
    Verify,
    /// A pull of what changed whose requests fail by chance, and a clean one after it.
    Faults(u64),
    /// A file of the mirror is damaged, found so, and everything that changed is pulled.
    Damage(usize, Damage),
}

/// What can happen to a file on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// Another first byte; size and date stay.
    Flipped,
    /// The second half is gone.
    Cut,
    /// All of it is.
    Removed,
}

impl Damage {
    pub(super) fn strike(self, path: &Path) {
        let date = fs::metadata(path).unwrap().modified().unwrap();
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Removed => return fs::remove_file(path).unwrap(),
            Self::Flipped => bytes[0] ^= 1,
            Self::Cut => bytes.truncate(bytes.len() / 2),
        }
        fs::write(path, bytes).unwrap();
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(date).unwrap();
    }
}

/// A sequence of operations; every few of them a pull.
pub(super) fn sequence(seed: u64) -> Vec<Op> {
    let mut chance = Chance::new(seed).fork("operations");
    let mut ops: Vec<Op> = (0..3).map(|id| Op::Add(id, id + 1)).collect();
    for _ in 0..chance.below(20) + 12 {
        ops.push(one(&mut chance));
    }
    ops
}

fn one(chance: &mut Chance) -> Op {
    let (id, other) = (chance.below(ASSETS), chance.below(ASSETS));
    let (path, name) = (chance.below(PATHS.len()), chance.below(RENDITIONS.len()));
    let category = chance.below(CATEGORIES);
    match chance.below(42) {
        0..=3 => Op::Add(id, path),
        4 => Op::Edit(id),
        5 => Op::EditElsewhere(id),
        6 | 7 => Op::Replace(id),
        8 | 9 => Op::ReplaceAlike(id),
        10..=12 => Op::Move(id, path),
        13 | 14 => Op::Swap(id, other),
        15 => Op::Clone(id, other, path),
        16 | 17 => Op::Delete(id),
        18 | 19 => Op::Vanish(id),
        20 => Op::Mark(id),
        21 | 22 => Op::Render(id, name),
        23 => Op::Unrender(id, name),
        24 => Op::HandOver(id),
        25 => Op::Backdate(id),
        26 => Op::SameMoment(id, chance.percent(50)),
        27 => Op::Category(category),
        28 => Op::DeleteCategory(category),
        29 | 30 => Op::EditHere(id),
        31 => Op::Restart,
        32..=35 => Op::Sync,
        36 | 37 => Op::Seed,
        38 => Op::Verify,
        39 => Op::Faults(chance.next()),
        _ => {
            let all = [Damage::Flipped, Damage::Cut, Damage::Removed];
            Op::Damage(chance.below(1_000), all[chance.below(all.len())])
        }
    }
}
