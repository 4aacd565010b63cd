//! Removing without destroying: a file leaves its tree by a move into `.emsync/trash`, on the same file system.
//!
//! **The rule for every path that takes bytes away.** A file that was published goes by two calls and by no other:
//! [`Store::trash`] takes its final name away and keeps the bytes, [`Store::empty`] ends what lies in the trash. A file that a
//! new one replaces ([`Store::publish`] with `keep_replaced`) goes the same way, into a slot of its own. Left out is what nobody
//! can miss: staged files, which never had a final name; a name whose bytes have another one ([`Store::drop_names`]); a
//! rendition that its successor replaces, since it can be derived or copied again; and a file replaced by its own copy with
//! another date. Whoever adds a path that removes media calls these two.
//!
//! Each removal, and each round of replacements, gets a *slot* of its own: a directory named for the time, made anew and
//! never shared, so that nothing in the trash can be overwritten. How long slots are kept is for `crate::trash` to say;
//! listing is in `list`, ending in `empty`, the way back in `restore`.
//!
//! ```text
//! make trash/<kind>/<yyyymmddThhmmss.mmm>-<n>/<parents>, each synced into its parent   kill: an empty slot stays
//! rename the file there                            kill: moved; after a power cut, moved or not, never half
//! sync the slot's directory, then the tree's       kill: as above; only now is it durable, and said to be
//! rmdir emptied parents in the tree                kill: empty directories stay
//! ```

#[cfg(test)]
mod contract;
mod empty;
mod list;
mod restore;

pub use empty::Emptied;
pub use list::{Slot, Slots, Trashed};

use std::sync::Arc;

use rustix::io::Errno;

use super::dirs::{Dir, Dirs};
use super::error::Error;
use super::{Store, TRASH, parent_text};
use crate::crash::{self, Point};
use crate::model::{FileKind, MediaPath, Timestamp};

/// One directory in the trash that is ours alone.
#[derive(Debug)]
pub(super) struct NewSlot {
    above: Arc<Dir>,
    name: String,
    dir: Dir,
}

impl NewSlot {
    /// Makes an empty slot, durably.
    pub(super) fn make(dirs: &Dirs, kind: FileKind) -> Result<Self, Error> {
        let above = dirs.make(&dirs.fixed(TRASH)?, kind.dir())?;
        let stamp = stamp(dirs.sys().now());
        for n in 0_u32.. {
            let name = format!("{stamp}-{n}");
            match dirs.sys().mkdir(above.fd(), &name) {
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::of("make", above.path_of(&name), errno)),
                Ok(()) => {
                    if let Err(errno) = dirs.sync(&above) {
                        let _ = dirs.sys().rmdir(above.fd(), &name);
                        return Err(Error::of("sync", above.path(), errno));
                    }
                    let dir = dirs
                        .find(&above, &name)?
                        .ok_or_else(|| Error::of("open", above.path_of(&name), Errno::NOENT))?;
                    return Ok(Self { above, name, dir });
                }
            }
        }
        unreachable!("four thousand million slots in one millisecond")
    }

    /// The directory that stands for the one that `path` lies in.
    pub(super) fn place(&self, dirs: &Dirs, path: &MediaPath) -> Result<Arc<Dir>, Error> {
        dirs.make(&self.dir, parent_text(path))
    }

    /// Takes back what was made for `path`, as far as it is empty.
    pub(super) fn give_back(&self, dirs: &Dirs, path: &MediaPath) {
        let parents = parent_text(path);
        if parents.is_empty() {
            dirs.prune(&self.above, &self.name);
        } else {
            dirs.prune(&self.above, &format!("{}/{parents}", self.name));
        }
    }
}

impl Store {
    /// Moves a file into the trash, durably, and removes the directories this empties. `false` when there is no such file.
    ///
    /// Looks at the marker first: on a volume that is not the one we opened, nothing is removed. After an error the file
    /// lies in its old place or, complete, in the trash.
    ///
    /// # Errors
    /// [`Error::NoMarker`] and its like; [`Error::NotAFile`] or [`Error::Escapes`] when something else has the name, which
    /// is then left alone; system errors.
    pub fn trash(&self, kind: FileKind, path: &MediaPath) -> Result<bool, Error> {
        self.check_marker()?;
        let dirs = &self.0.dirs;
        let tree = self.tree(kind)?;
        let Some(dir) = dirs.find(&tree, parent_text(path))? else {
            return Ok(false);
        };
        if dir.look(path.name())?.is_none() {
            return Ok(false);
        }
        let slot = NewSlot::make(dirs, kind)?;
        crash::point(Point::SlotMade)?;
        let moved = slot.place(dirs, path).and_then(|place| {
            match dirs
                .sys()
                .rename(dir.fd(), path.name(), place.fd(), path.name())
            {
                Ok(()) => Ok(Some(place)),
                Err(Errno::NOENT) => Ok(None),
                Err(errno) => Err(cannot_move(dir.path_of(path.name()), errno)),
            }
        });
        let Some(place) = moved.inspect_err(|_| slot.give_back(dirs, path))? else {
            slot.give_back(dirs, path);
            return Ok(false);
        };
        crash::point(Point::Trashed)?;
        for dir in [&place, &dir] {
            dirs.sync(dir)
                .map_err(|errno| Error::of("sync", dir.path(), errno))?;
        }
        crash::point(Point::TrashSynced)?;
        dirs.prune(&tree, parent_text(path));
        tracing::debug!(path = %path, place = place.path(), "moved to the trash");
        Ok(true)
    }
}

/// An error of moving a file between two directories of the root.
pub(super) fn cannot_move(path: String, errno: Errno) -> Error {
    match errno {
        Errno::XDEV => Error::OtherVolume { path },
        Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST => Error::Blocked {
            path,
            why: "a folder is where the file is to go",
        },
        Errno::NOTDIR => Error::Blocked {
            path,
            why: "a file is where a folder is needed",
        },
        errno => Error::of("move", path, errno),
    }
}

/// `20260301T094107.512`, in UTC.
pub(super) fn stamp(time: Timestamp) -> String {
    time.to_string()
        .trim_end_matches('Z')
        .replace(['-', ':'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_named_for_their_time() {
        let time = Timestamp::from_millis(1_772_358_067_512);
        assert_eq!(stamp(time), "20260301T094107.512");
    }
}
