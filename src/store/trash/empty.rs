//! The end of trashed files: the only place where bytes that were published are destroyed.
//!
//! A whole slot goes, or one file of it. Nothing outside the slot can be named here, links are not followed, and what is odd
//! in a slot stays with the slot. A kill leaves some files of the slot; the next emptying takes the rest.

use std::time::Duration;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::super::error::Error;
use super::super::{Store, TRASH, parent_text};
use super::list::{Slot, Trashed};

/// A slot so young may be one that somebody is filling, so its directories are left standing.
const SETTLED: Duration = Duration::from_secs(600);

/// What became of a slot.
#[derive(Debug, Default)]
pub struct Emptied {
    /// Files that are gone.
    pub gone: Vec<Trashed>,
    /// What could not be removed, and why; it stays.
    pub left: Vec<Error>,
}

impl Store {
    /// Destroys the files of one slot, and the slot with them.
    ///
    /// Looks at the marker first. What cannot be removed is among [`Emptied::left`]; an error that concerns the whole store
    /// ends it there.
    ///
    /// # Errors
    /// [`Error::NoMarker`] and its like; then nothing was removed.
    pub fn empty(&self, slot: &Slot) -> Result<Emptied, Error> {
        self.check_marker()?;
        let mut emptied = Emptied::default();
        for item in self.trashed_in(slot) {
            let removed = item.and_then(|item| self.unlink_trashed(&item).map(|()| item));
            match removed {
                Ok(item) => emptied.gone.push(item),
                Err(error) => {
                    let is_over = error.stops_the_pass();
                    emptied.left.push(error);
                    if is_over {
                        return Ok(emptied);
                    }
                }
            }
        }
        self.tidy(slot);
        Ok(emptied)
    }

    /// Destroys one trashed file: it is back in its tree, so that the trash need not keep it. A file that is gone already is
    /// fine.
    ///
    /// # Errors
    /// [`Error::NoMarker`] and its like; system errors; then it stays.
    pub fn empty_one(&self, item: &Trashed) -> Result<(), Error> {
        self.check_marker()?;
        self.unlink_trashed(item)?;
        self.tidy(&item.slot);
        Ok(())
    }

    fn unlink_trashed(&self, item: &Trashed) -> Result<(), Error> {
        let dirs = &self.0.dirs;
        let Some(dir) = self.slot_dir(item)? else {
            return Ok(());
        };
        let name = item.path.name();
        // Looked at again: a directory or a link of this name is none of ours.
        if dir.look(name)?.is_none() {
            return Ok(());
        }
        match dirs.sys().unlink(dir.fd(), name) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::of("remove", dir.path_of(name), errno)),
        }
    }

    /// The directory a trashed file lies in, if it is there.
    pub(super) fn slot_dir(
        &self,
        item: &Trashed,
    ) -> Result<Option<super::super::dirs::Dir>, Error> {
        let dirs = &self.0.dirs;
        let parents = parent_text(&item.path);
        let rel = format!("{}/{}/{parents}", item.kind().dir(), item.slot.name());
        dirs.find(&dirs.fixed(TRASH)?, rel.trim_end_matches('/'))
    }

    /// Removes the directories of a slot as far as they are empty. Best effort: an empty one harms nobody.
    fn tidy(&self, slot: &Slot) {
        let dirs = &self.0.dirs;
        if dirs.sys().now().since(slot.when) < SETTLED {
            return;
        }
        let Ok(Some(above)) = dirs
            .fixed(TRASH)
            .and_then(|trash| dirs.find(&trash, slot.kind.dir()))
        else {
            return;
        };
        let mut found = vec![slot.name().to_owned()];
        let mut at = 0;
        while let Some(path) = found.get(at).cloned() {
            at += 1;
            let Ok(Some(dir)) = dirs.find(&above, &path) else {
                continue;
            };
            for name in dir.names().unwrap_or_default() {
                let kind = rustix::fs::statat(dir.fd(), &name, AtFlags::SYMLINK_NOFOLLOW)
                    .map(|stat| FileType::from_raw_mode(stat.st_mode));
                if let (Ok(FileType::Directory), Ok(name)) = (kind, name.into_string()) {
                    found.push(format!("{path}/{name}"));
                }
            }
        }
        // From the bottom up; one that holds something keeps those above it.
        for path in found.iter().rev() {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            if let Ok(Some(parent)) = dirs.find(&above, parent) {
                let _ = dirs.sys().rmdir(parent.fd(), name);
            }
        }
    }
}
