//! The store's system calls of a process that may die: from a given call on nothing reaches the disk any more, and whoever
//! waits for the end is told.
//!
//! Syncs are left out: a process that dies takes nothing with it that the kernel has (`power` has the tests of what a power cut takes).

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use emsync::model::Timestamp;
use emsync::store::{RealSys, Sys};
use rustix::io::{Errno, Result};
use tokio_util::sync::CancellationToken;

type Fd<'a> = BorrowedFd<'a>;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Mortal {
    /// Calls that still go through.
    left: AtomicU64,
    died: CancellationToken,
}

impl Mortal {
    pub(super) fn new() -> Self {
        Self {
            left: AtomicU64::new(u64::MAX),
            died: CancellationToken::new(),
        }
    }

    /// After so many changing calls from now on it is dead.
    pub(super) fn dies_after(&self, calls: u64) {
        self.left.store(calls, Ordering::SeqCst);
    }

    /// Returns at its death.
    pub(super) async fn death(&self) {
        self.died.cancelled().await;
    }

    fn call(&self) -> Result<()> {
        let count = |left: u64| left.checked_sub(1);
        let counted = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, count);
        match counted {
            Ok(_) => Ok(()),
            Err(_) => {
                self.died.cancel();
                Err(Errno::IO)
            }
        }
    }
}

impl Sys for Mortal {
    fn create(&self, dir: Fd<'_>, name: &str) -> Result<OwnedFd> {
        self.call()?;
        RealSys.create(dir, name)
    }

    fn write(&self, file: Fd<'_>, bytes: &[u8], offset: u64) -> Result<()> {
        self.call()?;
        RealSys.write(file, bytes, offset)
    }

    fn truncate(&self, file: Fd<'_>, len: u64) -> Result<()> {
        self.call()?;
        RealSys.truncate(file, len)
    }

    fn set_modified(&self, file: Fd<'_>, modified: Timestamp) -> Result<()> {
        self.call()?;
        RealSys.set_modified(file, modified)
    }

    fn set_public(&self, file: Fd<'_>) -> Result<()> {
        self.call()?;
        RealSys.set_public(file)
    }

    fn sync_file(&self, _: Fd<'_>) -> Result<()> {
        self.call()
    }

    fn sync_dir(&self, _: Fd<'_>) -> Result<()> {
        self.call()
    }

    fn sync_all(&self, _: Fd<'_>) -> Result<()> {
        self.call()
    }

    fn mkdir(&self, dir: Fd<'_>, name: &str) -> Result<()> {
        self.call()?;
        RealSys.mkdir(dir, name)
    }

    fn rmdir(&self, dir: Fd<'_>, name: &str) -> Result<()> {
        self.call()?;
        RealSys.rmdir(dir, name)
    }

    fn rename(&self, from_dir: Fd<'_>, from: &str, to_dir: Fd<'_>, to: &str) -> Result<()> {
        self.call()?;
        RealSys.rename(from_dir, from, to_dir, to)
    }

    fn link(&self, from_dir: Fd<'_>, from: &str, to_dir: Fd<'_>, to: &str) -> Result<()> {
        self.call()?;
        RealSys.link(from_dir, from, to_dir, to)
    }

    fn unlink(&self, dir: Fd<'_>, name: &str) -> Result<()> {
        self.call()?;
        RealSys.unlink(dir, name)
    }
}
