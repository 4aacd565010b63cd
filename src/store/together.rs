//! Many syncs in one: the whole file system instead of file by file.
//!
//! A file system commits everything that waits with one flush of the drive, so that a thousand files cost little more than one.
//! The call says of no file whether *it* was lost, though, and it says so once for each handle it is asked through. So:
//!
//! - it is asked through the handle of the media root, which was opened before anything was written through this store;
//! - one at a time, and when it fails once it is never asked again: who stood in line behind a failure must not take the answer
//!   that follows it for an answer about his own files;
//! - after a failure every file is synced by itself, through the handle it was written with, which still knows what was lost.
//!
//! Only worth it for a handful of files or more: it also waits for what others have written.

use std::sync::{Mutex, MutexGuard};

use rustix::io::Errno;

use super::Store;

/// Whether it may still be asked; held while it is.
#[derive(Debug, Default)]
pub(super) struct Together(Mutex<Trust>);

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Trust {
    #[default]
    Trusted,
    Never,
}

impl Store {
    /// Waits until everything written so far is on the medium, if so many things are worth it; `false` when each has to be
    /// synced by itself.
    pub(super) fn sync_together(&self, things: usize) -> bool {
        if things < self.0.dirs.sys().sync_all_from() {
            return false;
        }
        let mut trust = self.trust();
        if *trust == Trust::Never {
            return false;
        }
        let dirs = &self.0.dirs;
        let Err(errno) = dirs.sys().sync_all(dirs.root_fd()) else {
            return true;
        };
        *trust = Trust::Never;
        if !matches!(errno, Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) {
            tracing::warn!(%errno, "the media's file system reports a failed write; every file is synced by itself from now on");
        }
        false
    }

    fn trust(&self) -> MutexGuard<'_, Trust> {
        let trust = self.0.together.0.lock();
        trust.expect("no panic while the file system is synced")
    }
}
