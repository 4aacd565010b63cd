//! What lies in the trash: its slots, oldest first, and the files in each.
//!
//! Slots are read a page of names at a time and one slot's directories at a time, so that memory does not grow with the
//! trash. Links are never followed. What is no slot of ours, and what in a slot is neither file nor directory, comes as an
//! error in its place and is never removed.

use std::collections::{BinaryHeap, VecDeque};

use rustix::fs::FileType;

use super::super::dirs::Dir;
use super::super::error::{Error, OddReason};
use super::super::walk::Walk;
use super::super::{Stat, Store, TRASH};
use crate::model::{FileKind, MediaPath, Sha256, Timestamp};

/// Names of slots held at once.
const PAGE: usize = 8_192;
/// Odd names that are reported of one tree of the trash; more of them are left unsaid.
const ODD: usize = 1_000;

/// One slot: what went at one moment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// Its directory's name, which begins with the time.
    name: String,
    /// Which tree its files lay in.
    pub kind: FileKind,
    /// When they went, on this machine's clock.
    pub when: Timestamp,
}

/// A file in the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trashed {
    /// Its slot.
    pub slot: Slot,
    /// Where it lay in its tree.
    pub path: MediaPath,
    /// Size and time.
    pub stat: Stat,
}

impl Slot {
    /// A slot by its directory's name; `None` for a name that none of ours has.
    fn named(kind: FileKind, name: &str) -> Option<Self> {
        let (stamp, number) = name.split_once('-')?;
        let _: u32 = number.parse().ok()?;
        let (date, time) = stamp.split_once('T')?;
        let plain = |text: &str, length| {
            text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        };
        if !plain(date, 8) || !plain(time, 10) {
            return None;
        }
        let text = format!(
            "{}-{}-{}T{}:{}:{}Z",
            &date[..4],
            &date[4..6],
            &date[6..],
            &time[..2],
            &time[2..4],
            &time[4..]
        );
        let when = text.parse::<jiff::Timestamp>().ok()?.as_millisecond();
        Some(Self {
            name: name.to_owned(),
            kind,
            when: Timestamp::from_millis(when),
        })
    }

    /// Its directory, from the media root.
    pub(super) fn path(&self) -> String {
        format!("{TRASH}/{}/{}", self.kind.dir(), self.name)
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Trashed {
    /// A short name that stays the same as long as the file lies there: 12 hexadecimal digits of its slot and path.
    #[must_use]
    pub fn id(&self) -> String {
        let text = format!("{}/{}", self.slot.path(), self.path);
        Sha256::of(text.as_bytes()).to_string()[..12].to_owned()
    }

    /// Which tree it lay in.
    #[must_use]
    pub fn kind(&self) -> FileKind {
        self.slot.kind
    }
}

/// The slots of [`Store::slots`].
#[derive(Debug)]
pub struct Slots {
    store: Store,
    trees: [Tree; 2],
    odd: VecDeque<Error>,
}

/// What is left of the slots of one kind.
#[derive(Debug)]
struct Tree {
    kind: FileKind,
    /// The last name that was read; `None` before the first page.
    after: Option<String>,
    /// Newest first, to be taken from the end.
    rest: Vec<Slot>,
    at_end: bool,
}

impl Store {
    /// The slots of the trash, oldest first.
    ///
    /// # Errors
    /// [`Error::NoMarker`] and its like: on another volume the trash would look empty.
    pub fn slots(&self) -> Result<Slots, Error> {
        self.check_marker()?;
        let trees = [FileKind::Original, FileKind::Generated].map(|kind| Tree {
            kind,
            after: None,
            rest: Vec::new(),
            at_end: false,
        });
        Ok(Slots {
            store: self.clone(),
            trees,
            odd: VecDeque::new(),
        })
    }

    /// The files of a slot in order of their paths; errors in between as with [`Store::walk`]. A slot that is gone is empty.
    pub fn trashed_in(&self, slot: &Slot) -> impl Iterator<Item = Result<Trashed, Error>> + use<> {
        let (slot, path) = (slot.clone(), slot.path());
        let walk = Walk::new(self.clone(), path.clone());
        walk.filter_map(move |item| match item {
            Ok((path, stat)) => Some(Ok(Trashed {
                slot: slot.clone(),
                path,
                stat,
            })),
            Err(Error::NoTree { path: gone }) if gone == path => None,
            Err(error) => Some(Err(error)),
        })
    }
}

impl Slots {
    fn fill(&mut self, at: usize) -> Result<(), Error> {
        let tree = &mut self.trees[at];
        let dirs = &self.store.0.dirs;
        let Some(dir) = dirs.find(&dirs.fixed(TRASH)?, tree.kind.dir())? else {
            tree.at_end = true;
            return Ok(());
        };
        let (slots, odd) = page(&dir, tree.kind, tree.after.as_deref())?;
        tree.at_end = slots.len() < PAGE;
        tree.after = slots.last().map(|slot| slot.name.clone());
        tree.rest = slots;
        tree.rest.reverse();
        self.odd.extend(odd);
        Ok(())
    }
}

impl Iterator for Slots {
    type Item = Result<Slot, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        for at in 0..self.trees.len() {
            if self.trees[at].rest.is_empty()
                && !self.trees[at].at_end
                && let Err(error) = self.fill(at)
            {
                self.trees[at].at_end = true;
                return Some(Err(error));
            }
        }
        if let Some(error) = self.odd.pop_front() {
            return Some(Err(error));
        }
        let older = (0..self.trees.len())
            .filter(|at| !self.trees[*at].rest.is_empty())
            .min_by(|a, b| self.trees[*a].rest.last().cmp(&self.trees[*b].rest.last()))?;
        self.trees[older].rest.pop().map(Ok)
    }
}

/// The first slots of a directory after a name, and, with the first page, what is none.
fn page(dir: &Dir, kind: FileKind, after: Option<&str>) -> Result<(Vec<Slot>, Vec<Error>), Error> {
    let failed = |errno| Error::of("list", dir.path(), errno);
    let (mut first, mut odd) = (BinaryHeap::with_capacity(PAGE + 1), Vec::new());
    for entry in rustix::fs::Dir::read_from(dir.fd()).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let is_dir = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
        let slot = name.to_str().ok().and_then(|name| Slot::named(kind, name));
        match slot.filter(|_| is_dir) {
            Some(slot) if after.is_none_or(|after| slot.name.as_str() > after) => {
                first.push(slot);
                if first.len() > PAGE {
                    first.pop();
                }
            }
            Some(_) => {}
            None if after.is_none() && odd.len() < ODD => odd.push(Error::OddName {
                path: dir.path_of(&name.to_string_lossy()),
                reason: OddReason::NotOurs,
            }),
            None => {}
        }
    }
    Ok((first.into_sorted_vec(), odd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_known_by_its_name_and_nothing_else_is() {
        let time = Timestamp::from_millis(1_772_358_067_512);
        let name = format!("{}-3", super::super::stamp(time));
        assert_eq!(Slot::named(FileKind::Original, &name).unwrap().when, time);
        for odd in [
            "",
            "-0",
            "20260301T094107.512",
            "20260301T094107.512-",
            "20260301T094107.512-x",
            "20261301T094107.512-0",
            "2026é301T094107.51-0",
            "lost+found",
        ] {
            assert_eq!(Slot::named(FileKind::Original, odd), None, "{odd:?}");
        }
    }
}
