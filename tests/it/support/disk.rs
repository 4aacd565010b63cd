//! A disk that fails, stalls, or loses its power: the store's system calls with something between them and the system.

use std::collections::HashSet;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex};

use emsync::model::Timestamp;
use emsync::store::{RealSys, Sys};
use rustix::io::{Errno, Result};

type Fd<'a> = BorrowedFd<'a>;

/// A kind of changing call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Call {
    Create,
    Write,
    Truncate,
    SetModified,
    SetPublic,
    SyncFile,
    SyncDir,
    SyncAll,
    Mkdir,
    Rmdir,
    Rename,
    Link,
    Unlink,
}

/// Which calls fail.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fails {
    /// None.
    Never,
    /// The n-th of all, counted from 1.
    Nth(u64),
    /// The n-th of a kind.
    NthOf(Call, u64),
    /// From the n-th on every one that needs room, until the disk is mended.
    From(u64),
}

/// The operating system, except for the calls that fail.
///
/// It also watches over the rule of failed syncs: content whose sync failed may never get another name (the kernel may have
/// dropped it, whatever the next sync says).
#[derive(Debug)]
pub(crate) struct Disk {
    fails: Fails,
    errno: Errno,
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Debug, Default)]
struct State {
    calls: u64,
    of_kind: u64,
    fired: Vec<Call>,
    mended: bool,
    /// Inodes of files whose sync failed.
    doubtful: HashSet<u64>,
    trusted: u64,
    /// Calls of a kind that wait, when they are held; so many of them may pass.
    held: Option<Held>,
    passes: u64,
    waiting: u64,
    created: u64,
    act: Option<Act>,
}

/// Which calls stand still: those of a kind, on files of a kind.
#[derive(Debug, Clone, Copy)]
struct Held {
    call: Call,
    file: fn(Fd<'_>) -> bool,
}

/// What somebody else does just before a call.
struct Act {
    at: u64,
    act: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Act at {}", self.at)
    }
}

fn inode(fd: Fd<'_>) -> u64 {
    rustix::fs::fstat(fd).unwrap().st_ino
}

fn inode_of(dir: Fd<'_>, name: &str) -> Option<u64> {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::statat(dir, name, flags)
        .ok()
        .map(|stat| stat.st_ino)
}

/// Whether what is put here is being taken away.
fn is_in_trash(dir: Fd<'_>) -> bool {
    is_below(dir, "/.emsync/trash")
}

/// Whether this concerns a copy of the catalogue, or the directory for those: one that fails is a warning and no failed run, and
/// has tests of its own.
fn is_snapshot(at: Fd<'_>) -> bool {
    is_below(at, "/.emsync/snapshots") || path_of(at).ends_with("/.emsync")
}

fn is_below(at: Fd<'_>, dir: &str) -> bool {
    path_of(at).contains(dir)
}

fn path_of(at: Fd<'_>) -> String {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", at.as_raw_fd())).unwrap();
    path.to_string_lossy().into_owned()
}

impl Disk {
    pub(crate) fn new(fails: Fails, errno: Errno) -> Self {
        Self {
            fails,
            errno,
            state: Mutex::default(),
            opened: Condvar::new(),
        }
    }

    /// One that is well, beside which somebody acts just before the n-th call.
    pub(crate) fn beside(at: u64, act: impl FnOnce() + Send + 'static) -> Self {
        let disk = Self::new(Fails::Never, Errno::IO);
        let act = Box::new(act);
        disk.state.lock().unwrap().act = Some(Act { at, act });
        disk
    }

    /// One on which every sync of a file waits until [`go`](Self::go).
    pub(crate) fn stalled() -> Self {
        Self::stalled_at(Call::SyncFile, |_| true)
    }

    /// One on which such calls (of creations, writes and syncs of files) wait until [`go`](Self::go).
    pub(crate) fn stalled_at(call: Call, file: fn(Fd<'_>) -> bool) -> Self {
        let disk = Self::new(Fails::Never, Errno::IO);
        disk.state.lock().unwrap().held = Some(Held { call, file });
        disk
    }

    /// Returns once a call waits; answers how many files were made by then.
    pub(crate) fn stands_still(&self) -> u64 {
        let state = self.state.lock().unwrap();
        let state = self.opened.wait_while(state, |state| state.waiting == 0);
        state.unwrap().created
    }

    /// Files made so far.
    pub(crate) fn created(&self) -> u64 {
        self.state.lock().unwrap().created
    }

    /// Lets everybody go on.
    pub(crate) fn go(&self) {
        self.state.lock().unwrap().held = None;
        self.opened.notify_all();
    }

    /// Lets so many more of the calls that wait, or will, go on.
    pub(crate) fn let_pass(&self, calls: u64) {
        self.state.lock().unwrap().passes += calls;
        self.opened.notify_all();
    }

    /// Where a call waits, if its kind is held.
    fn stop_at(&self, call: Call, file: Fd<'_>) {
        self.stop_if(|held| held.call == call && (held.file)(file));
    }

    fn stop_if(&self, stands: impl Fn(Held) -> bool) {
        let mut state = self.state.lock().unwrap();
        if !state.held.is_some_and(stands) {
            return;
        }
        state.waiting += 1;
        self.opened.notify_all();
        let waits = |state: &mut State| state.held.is_some() && state.passes == 0;
        let mut state = self.opened.wait_while(state, waits).unwrap();
        state.waiting -= 1;
        state.passes = state.passes.saturating_sub(1);
    }

    /// From here on nothing fails.
    pub(crate) fn mend(&self) {
        self.state.lock().unwrap().mended = true;
    }

    /// The calls that failed.
    pub(crate) fn fired(&self) -> Vec<Call> {
        self.state.lock().unwrap().fired.clone()
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.state.lock().unwrap().calls
    }

    /// How often content whose sync had failed was given a name, or was synced again and believed.
    pub(crate) fn trusted(&self) -> u64 {
        self.state.lock().unwrap().trusted
    }

    fn fails(&self, call: Call) -> bool {
        let mut state = self.state.lock().unwrap();
        state.calls += 1;
        if state.act.as_ref().is_some_and(|act| act.at == state.calls) {
            let act = state.act.take().unwrap();
            (act.act)();
        }
        let fails = match self.fails {
            Fails::Never => false,
            Fails::Nth(n) => state.calls == n,
            Fails::NthOf(kind, n) => {
                state.of_kind += u64::from(kind == call);
                kind == call && state.of_kind == n
            }
            Fails::From(n) => {
                let needs_room = [Call::Create, Call::Write, Call::Mkdir, Call::Link];
                state.calls >= n && needs_room.contains(&call)
            }
        };
        let fails = fails && !state.mended;
        if fails {
            state.fired.push(call);
        }
        fails
    }

    fn run<T>(&self, at: Fd<'_>, call: Call, real: impl FnOnce() -> Result<T>) -> Result<T> {
        if !is_snapshot(at) && self.fails(call) {
            return Err(self.errno);
        }
        real()
    }
}

impl Sys for Disk {
    fn create(&self, dir: Fd<'_>, name: &str) -> Result<OwnedFd> {
        self.stop_at(Call::Create, dir);
        let file = self.run(dir, Call::Create, || RealSys.create(dir, name))?;
        let mut state = self.state.lock().unwrap();
        state.created += 1;
        state
            .doubtful
            .remove(&inode(std::os::fd::AsFd::as_fd(&file)));
        Ok(file)
    }

    fn write(&self, file: Fd<'_>, bytes: &[u8], offset: u64) -> Result<()> {
        self.stop_at(Call::Write, file);
        if self.fails(Call::Write) {
            // A short write, as a full disk does it: half of the bytes are there.
            let _ = RealSys.write(file, &bytes[..bytes.len() / 2], offset);
            return Err(self.errno);
        }
        RealSys.write(file, bytes, offset)
    }

    fn truncate(&self, file: Fd<'_>, len: u64) -> Result<()> {
        self.run(file, Call::Truncate, || RealSys.truncate(file, len))?;
        self.state.lock().unwrap().doubtful.remove(&inode(file));
        Ok(())
    }

    fn set_modified(&self, file: Fd<'_>, modified: Timestamp) -> Result<()> {
        self.run(file, Call::SetModified, || {
            RealSys.set_modified(file, modified)
        })
    }

    fn set_public(&self, file: Fd<'_>) -> Result<()> {
        self.run(file, Call::SetPublic, || RealSys.set_public(file))
    }

    fn sync_file(&self, file: Fd<'_>) -> Result<()> {
        self.stop_at(Call::SyncFile, file);
        let synced = self.run(file, Call::SyncFile, || RealSys.sync_file(file));
        let mut state = self.state.lock().unwrap();
        if synced.is_err() {
            state.doubtful.insert(inode(file));
        } else if state.doubtful.contains(&inode(file)) {
            state.trusted += 1;
        }
        drop(state);
        synced
    }

    fn sync_all(&self, dir: Fd<'_>) -> Result<()> {
        // Who holds the syncs of some files holds this one, too.
        self.stop_if(|held| held.call == Call::SyncFile);
        self.run(dir, Call::SyncAll, || RealSys.sync_all(dir))
    }

    fn sync_dir(&self, dir: Fd<'_>) -> Result<()> {
        self.run(dir, Call::SyncDir, || RealSys.sync_dir(dir))
    }

    fn mkdir(&self, dir: Fd<'_>, name: &str) -> Result<()> {
        self.run(dir, Call::Mkdir, || RealSys.mkdir(dir, name))
    }

    fn rmdir(&self, dir: Fd<'_>, name: &str) -> Result<()> {
        self.run(dir, Call::Rmdir, || RealSys.rmdir(dir, name))
    }

    fn rename(&self, from_dir: Fd<'_>, from: &str, to_dir: Fd<'_>, to: &str) -> Result<()> {
        if let Some(file) = inode_of(from_dir, from).filter(|_| !is_in_trash(to_dir)) {
            let mut state = self.state.lock().unwrap();
            state.trusted += u64::from(state.doubtful.contains(&file));
        }
        self.run(to_dir, Call::Rename, || {
            RealSys.rename(from_dir, from, to_dir, to)
        })
    }

    fn link(&self, from_dir: Fd<'_>, from: &str, to_dir: Fd<'_>, to: &str) -> Result<()> {
        self.run(to_dir, Call::Link, || {
            RealSys.link(from_dir, from, to_dir, to)
        })
    }

    fn unlink(&self, dir: Fd<'_>, name: &str) -> Result<()> {
        self.run(dir, Call::Unlink, || RealSys.unlink(dir, name))
    }
}
