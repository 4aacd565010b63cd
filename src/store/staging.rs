//! Files on their way in: private, unnamed as far as the media tree is concerned, gone unless they are published.
//!
//! Every activity (a pull from one peer, an import) has a directory of its own, and one process at a time works in it. A
//! staging name is random or the caller's key, never the target's name, so a 255-byte name is as good as any. A [`Staged`]
//! file vanishes when it is dropped; a [`Partial`] stays, to be resumed. What a kill leaves is removed by
//! [`Staging::sweep`].

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::dirs::Dir;
use super::error::Error;
use super::partial::Partial;
use super::sys::Sys;
use super::{STAGING, Stat, Store};
use crate::crash::{self, Point};
use crate::model::Timestamp;
use crate::seams::Seams;

const PART: &str = ".part";
const NOTE: &str = ".etag";
/// How much is read at a time by `read_back`.
const CHUNK: usize = 256 * 1024;
/// Tries to take a partial that is published or discarded under our hands, before we call it busy.
const TRIES: usize = 8;

/// The staging directory of one activity.
#[derive(Debug, Clone)]
pub struct Staging {
    store: Store,
    dir: Arc<Dir>,
}

impl Staging {
    pub(super) fn open(store: &Store, activity: &str) -> Result<Self, Error> {
        check_name(activity)?;
        let dirs = &store.0.dirs;
        let dir = dirs.make(&dirs.fixed(STAGING)?, activity)?;
        Ok(Self {
            store: store.clone(),
            dir,
        })
    }

    /// Makes a new empty file, readable by us alone.
    ///
    /// # Errors
    /// System errors.
    pub fn create(&self) -> Result<Staged, Error> {
        loop {
            let name = self.fresh_name();
            match self.store.0.dirs.sys().create(self.dir.fd(), &name) {
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::of("make", self.dir.path_of(&name), errno)),
                Ok(file) => {
                    let staged = self.staged(file, name, 0);
                    crash::point(Point::StagingMade)?;
                    return Ok(staged);
                }
            }
        }
    }

    /// Opens the partial of a transfer, or makes an empty one. `key` is the caller's, the same for the same file.
    ///
    /// # Errors
    /// [`Error::Busy`] while another [`Partial`] of the key exists, in this process or another; [`Error::BadName`]; system
    /// errors.
    pub fn partial(&self, key: &str) -> Result<Partial, Error> {
        check_name(key)?;
        let name = format!("{key}{PART}");
        let (file, len) = self.take(&name)?;
        let mut staged = self.staged(file, name, len);
        staged.armed = false;
        staged.note = Some(format!("{key}{NOTE}"));
        Partial::open(staged)
    }

    /// Removes what a killed run left, except partials that can be resumed. Only for the one process that holds the
    /// activity's lock, before it stages anything. Returns the bytes freed.
    ///
    /// # Errors
    /// System errors; what could not be removed so far stays.
    pub fn sweep(&self) -> Result<u64, Error> {
        let mut freed = 0;
        for name in self.names()? {
            let kept = match name.strip_suffix(NOTE) {
                Some(key) => self.dir.look(&format!("{key}{PART}"))?.is_some(),
                None => name.ends_with(PART),
            };
            if !kept {
                freed += self.remove(&name)?;
            }
        }
        Ok(freed)
    }

    /// Removes partials that were last written to more than `older_than` ago and that nobody holds. Returns the bytes freed.
    ///
    /// # Errors
    /// System errors; what could not be removed so far stays.
    pub fn sweep_partials(&self, older_than: Duration, now: Timestamp) -> Result<u64, Error> {
        let mut freed = 0;
        for name in self.names()? {
            let Some(key) = name.strip_suffix(PART) else {
                continue;
            };
            let Some((file, stat)) = self.dir.open_rw(&name)? else {
                continue;
            };
            if now.since(stat.modified) > older_than && lock(&file) {
                freed += self.remove(&name)?;
                freed += self.remove(&format!("{key}{NOTE}"))?;
            }
        }
        Ok(freed)
    }

    /// A name that nobody has.
    pub(super) fn fresh_name(&self) -> String {
        Seams::os().random_hex(12)
    }

    pub(super) fn sys(&self) -> &dyn Sys {
        self.store.0.dirs.sys()
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(super) fn staged(&self, file: OwnedFd, name: String, len: u64) -> Staged {
        Staged {
            store: self.store.clone(),
            dir: Arc::clone(&self.dir),
            file,
            name,
            note: None,
            len,
            armed: true,
            lies_in_place: None,
        }
    }

    /// A file that is under its final name already.
    pub(super) fn in_place(
        &self,
        dir: Arc<Dir>,
        file: OwnedFd,
        name: String,
        stat: Stat,
    ) -> Staged {
        let mut staged = self.staged(file, name, stat.size);
        staged.dir = dir;
        staged.armed = false;
        staged.lies_in_place = Some(stat.modified);
        staged
    }

    /// Opens or makes a partial and locks it.
    fn take(&self, name: &str) -> Result<(OwnedFd, u64), Error> {
        let sys = self.store.0.dirs.sys();
        for _ in 0..TRIES {
            let (file, len) = match self.dir.open_rw(name)? {
                Some((file, stat)) => (file, stat.size),
                None => match sys.create(self.dir.fd(), name) {
                    Ok(file) => (file, 0),
                    Err(Errno::EXIST) => continue,
                    Err(errno) => return Err(Error::of("make", self.dir.path_of(name), errno)),
                },
            };
            if !lock(&file) {
                break;
            }
            // The holder before us may have published it between our open and our lock: then the name is free or another
            // file's by now, and what we hold is under its final name and no longer ours to write to.
            if is_named(&self.dir, &file, name) {
                return Ok((file, len));
            }
        }
        Err(Error::Busy {
            path: self.dir.path_of(name),
        })
    }

    /// Names in here that can be ours. Others are not touched.
    fn names(&self) -> Result<Vec<String>, Error> {
        let names = self.dir.names()?.into_iter();
        Ok(names.filter_map(|name| name.into_string().ok()).collect())
    }

    /// Removes a file if there is one; anything but a file is left alone.
    fn remove(&self, name: &str) -> Result<u64, Error> {
        let stat = match self.dir.look(name) {
            Ok(Some(stat)) => stat,
            Ok(None) => return Ok(0),
            Err(error) => {
                tracing::warn!(path = self.dir.path_of(name), %error, "left in staging");
                return Ok(0);
            }
        };
        match self.store.0.dirs.sys().unlink(self.dir.fd(), name) {
            Ok(()) => Ok(stat.size),
            Err(Errno::NOENT) => Ok(0),
            Err(errno) => Err(Error::of("remove", self.dir.path_of(name), errno)),
        }
    }
}

/// A file that is not published yet. Dropping it removes it.
#[derive(Debug)]
pub struct Staged {
    store: Store,
    dir: Arc<Dir>,
    file: OwnedFd,
    name: String,
    /// The note to remove together with the file, for one that was a partial.
    note: Option<String>,
    len: u64,
    /// Whether the name is still ours to remove.
    armed: bool,
    /// The time of a file that has its final name already.
    lies_in_place: Option<Timestamp>,
}

impl Staged {
    /// Adds `bytes` at the end. Not buffered: hand over chunks of some size.
    ///
    /// # Errors
    /// [`Error::Full`] and other system errors; the length is then what it was before.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let sys = self.store.0.dirs.sys();
        if let Err(errno) = sys.write(self.file.as_fd(), bytes, self.len) {
            // Part of the chunk may be there; a partial must not keep it, or its length would lie.
            let _ = sys.truncate(self.file.as_fd(), self.len);
            return Err(Error::of("write", self.path(), errno));
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Bytes written.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads everything from the start, in chunks.
    ///
    /// # Errors
    /// System errors; a file shorter than what was written is one.
    pub fn read_back(&self, each: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let mut chunk = vec![0; CHUNK];
        let mut at = 0;
        while at < self.len {
            let want = CHUNK.min(usize::try_from(self.len - at).unwrap_or(CHUNK));
            let got =
                rustix::io::retry_on_intr(|| rustix::io::pread(&self.file, &mut chunk[..want], at))
                    .map_err(|errno| Error::of("read", self.path(), errno))?;
            if got == 0 {
                return Err(Error::of("read", self.path(), Errno::IO));
            }
            each(&chunk[..got]);
            at += got as u64;
        }
        Ok(())
    }

    /// Removes it. The same as dropping, said aloud.
    pub fn discard(self) {
        drop(self);
    }

    /// Has the system write what comes after the first `from` bytes, and does not wait for it. Only a hint.
    pub(super) fn begin_writing(&self, from: u64) {
        // Of what is not written yet the advice drops nothing: it only begins to write it.
        #[cfg(target_os = "linux")]
        if let Some(len) = std::num::NonZeroU64::new(self.len.saturating_sub(from)) {
            let advice = rustix::fs::Advice::DontNeed;
            let _ = rustix::fs::fadvise(&self.file, from, Some(len), advice);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = from;
    }

    /// Drops the bytes after the first `len`.
    pub(super) fn cut(&mut self, len: u64) -> Result<(), Error> {
        self.sys()
            .truncate(self.file.as_fd(), len)
            .map_err(|errno| Error::of("cut", self.path(), errno))?;
        self.len = len;
        Ok(())
    }

    /// The time of a file that was found under its final name, and is to stay there.
    #[must_use]
    pub fn lies_in_place(&self) -> Option<Timestamp> {
        self.lies_in_place
    }

    /// Whether a name in a directory stands for it.
    pub(super) fn is_named(&self, dir: &Dir, name: &str) -> bool {
        is_named(dir, &self.file, name)
    }

    /// It has been filled by other means than writing.
    pub(super) fn of_len(mut self, len: u64) -> Self {
        self.len = len;
        self
    }

    /// From here on, dropping removes it.
    pub(super) fn arm(&mut self) {
        self.armed = true;
    }

    /// Name of the note beside a partial.
    pub(super) fn note(&self) -> &str {
        self.note.as_deref().unwrap_or_default()
    }

    pub(super) fn sys(&self) -> &dyn Sys {
        self.store.0.dirs.sys()
    }

    pub(super) fn boot(&self) -> &str {
        &self.store.0.boot
    }

    pub(super) fn file(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn path(&self) -> String {
        self.dir.path_of(&self.name)
    }

    /// The file has its final name: there is nothing left to remove but the note.
    pub(super) fn disarm(&mut self) {
        self.armed = false;
        self.unlink_note();
    }

    fn unlink_note(&mut self) {
        if let Some(note) = self.note.take() {
            let _ = self.store.0.dirs.sys().unlink(self.dir.fd(), &note);
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        // What cannot be removed now is removed by the next sweep.
        if let Err(errno) = self.store.0.dirs.sys().unlink(self.dir.fd(), &self.name) {
            tracing::debug!(path = self.path(), %errno, "staged file stays until the next sweep");
        }
        self.unlink_note();
    }
}

/// Whether a name in a directory stands for an open file.
fn is_named(dir: &Dir, file: &OwnedFd, name: &str) -> bool {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    match (
        rustix::fs::fstat(file),
        rustix::fs::statat(dir.fd(), name, flags),
    ) {
        (Ok(held), Ok(named)) => (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino),
        _ => false,
    }
}

/// Takes the lock of a partial for as long as the file is open. Where the file system has no locks (some network ones),
/// the activity's own lock has to do.
fn lock(file: &OwnedFd) -> bool {
    !matches!(
        rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive),
        Err(Errno::WOULDBLOCK)
    )
}

/// What can be a name in staging. Upper and lower case differ only where the file system says so, so keys should not.
fn check_name(name: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(Error::BadName {
            name: name.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{Fixture, KIND, TIME, path};
    use super::super::dirs::Resolver;
    use crate::store::Publish;

    #[test]
    fn a_published_partial_no_longer_counts_as_the_one_of_its_key() {
        let f = Fixture::new(Resolver::Steps);
        let staging = f.store.staging("test").unwrap();
        let partial = staging.partial("k").unwrap();
        let (early, _) = staging.dir.open_rw("k.part").unwrap().unwrap();
        assert!(super::is_named(&staging.dir, &early, "k.part"));
        let item = Publish {
            content: partial.finish().into(),
            kind: KIND,
            path: path("p"),
            modified: TIME,
            keep_replaced: false,
        };
        f.store.publish(vec![item]).remove(0).unwrap();
        assert!(!super::is_named(&staging.dir, &early, "k.part"));
        let _next = staging.partial("k").unwrap();
        assert!(!super::is_named(&staging.dir, &early, "k.part"));
    }
}
