//! Files that are here already: taken where they lie, given a second name, or cloned, without fetching and mostly without
//! copying a byte.
//!
//! ```text
//! candidate   open the file under a name, note what it is
//! adopt       the name is the right one: publishing sets the time, syncs file and directory, and checks once more that the name
//!             still stands for what was read                          kill: the file as it was
//! linked      another name of the same bytes is wanted (a move): a hard link in staging, published like any staged file
//!             kill: one more name in staging, swept
//! cloned      the same bytes are wanted twice: a clone that shares blocks, where the file system can
//! drop_names  the former name of a moved file goes; only while its bytes have another one
//! ```
//!
//! Two live names never share one file for long: a time set for one would be the other's as well. So `linked` is only for a
//! name that is about to go.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, MutexGuard};

use rustix::io::Errno;

use super::dirs::Dir;
use super::error::Error;
use super::staging::{Staged, Staging};
use super::{Stat, Store, parent_text};
use crate::crash::{self, Point};
use crate::model::{FileKind, MediaPath, Timestamp};

/// How much is read at a time.
const CHUNK: usize = 1 << 20;

/// What tells one state of a file from any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    file: (u64, u64),
    size: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A file under its final name that nobody vouches for yet, open for reading.
#[derive(Debug)]
pub struct Candidate {
    dir: Arc<Dir>,
    name: String,
    file: OwnedFd,
    stat: Stat,
    identity: Identity,
    has_one_name: bool,
    is_doubtful: bool,
    is_ours: bool,
}

/// Where a file lies.
pub type Name = (FileKind, MediaPath);

/// A name that is to go, and another one that its bytes should have.
#[derive(Debug, Clone)]
pub struct Twins {
    /// The name to be removed.
    pub name: Name,
    /// The name that stays.
    pub twin: Name,
}

impl Store {
    /// Opens the file under a name as a candidate; `None` when there is none.
    ///
    /// # Errors
    /// As [`Store::open_file`].
    pub fn candidate(&self, kind: FileKind, path: &MediaPath) -> Result<Option<Candidate>, Error> {
        let Some(dir) = self.parent_of(kind, path)? else {
            return Ok(None);
        };
        let Some((file, stat)) = dir.open_file(path.name())? else {
            return Ok(None);
        };
        let raw = raw_stat(&file, &dir.path_of(path.name()))?;
        let user = rustix::process::geteuid();
        Ok(Some(Candidate {
            name: path.name().to_owned(),
            dir: Arc::new(dir),
            file,
            stat,
            identity: identity(&raw),
            has_one_name: raw.st_nlink == 1,
            is_doubtful: self.doubtful().contains(&identity(&raw).file),
            is_ours: user.is_root() || user.as_raw() == raw.st_uid,
        }))
    }

    /// Gives a file another date, unless it has a second name, whose date it would be as well. Not synced: a date that is lost
    /// can be given again.
    ///
    /// # Errors
    /// As [`Store::open_file`]; system errors, where it may not be changed.
    pub fn redate(
        &self,
        kind: FileKind,
        path: &MediaPath,
        modified: Timestamp,
    ) -> Result<(), Error> {
        let found = self.candidate(kind, path)?;
        let Some(file) = found.filter(|file| file.has_one_name) else {
            return Ok(());
        };
        let sys = self.0.dirs.sys();
        sys.set_modified(file.file.as_fd(), modified)
            .map_err(|errno| Error::of("set the date of", file.path(), errno))
    }

    /// Removes names whose bytes have another one, durably; answers for each, in order, whether it did. Where the two names do not
    /// stand for one file nothing is done.
    ///
    /// # Errors
    /// [`Error::NoMarker`] and its like; system errors. What was removed so far is gone, its bytes are not.
    pub fn drop_names(&self, names: &[Twins]) -> Result<Vec<bool>, Error> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        self.check_marker()?;
        let dirs = &self.0.dirs;
        let mut dropped = Vec::with_capacity(names.len());
        let mut emptied: HashMap<(FileKind, &str), Arc<Dir>> = HashMap::new();
        for Twins { name, twin } in names {
            // What is no plain file has no twin; whoever moves it to the trash will say so.
            let mine = self.twin_of(name, twin).ok().flatten();
            dropped.push(mine.is_some());
            let Some(mine) = mine else { continue };
            match dirs.sys().unlink(mine.dir.fd(), &mine.name) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(Error::of("remove", mine.path(), errno)),
            }
            crash::point(Point::NameDropped)?;
            emptied
                .entry((name.0, parent_text(&name.1)))
                .or_insert(mine.dir);
        }
        for ((kind, parent), dir) in emptied {
            dirs.sync(&dir)
                .map_err(|errno| Error::of("sync", dir.path(), errno))?;
            dirs.prune(&self.tree(kind)?, parent);
        }
        Ok(dropped)
    }

    /// Remembers that the sync of a file failed which lies under a final name, its own or the one it is moved from. Others go.
    pub(super) fn doubt(&self, staged: &Staged) {
        if let Ok(raw) = raw_stat(staged.file(), &staged.path())
            && (staged.lies_in_place().is_some() || raw.st_nlink > 1)
        {
            self.doubtful().insert(identity(&raw).file);
        }
    }

    fn doubtful(&self) -> MutexGuard<'_, HashSet<(u64, u64)>> {
        let doubtful = self.0.doubtful.lock();
        doubtful.expect("no panic while the set is held")
    }

    /// The file under a name, if its twin is another name of the same file.
    fn twin_of(&self, name: &Name, twin: &Name) -> Result<Option<Candidate>, Error> {
        if name == twin {
            return Ok(None);
        }
        let (mine, other) = (
            self.candidate(name.0, &name.1)?,
            self.candidate(twin.0, &twin.1)?,
        );
        let is_one_file =
            |mine: &Candidate| other.is_some_and(|other| mine.identity.file == other.identity.file);
        Ok(mine.filter(is_one_file))
    }
}

impl Candidate {
    /// Size and time when it was opened.
    #[must_use]
    pub fn stat(&self) -> Stat {
        self.stat
    }

    /// Reads everything from the start, in chunks; answers how many bytes there were.
    ///
    /// # Errors
    /// System errors.
    pub fn read(&self, each: &mut dyn FnMut(&[u8])) -> Result<u64, Error> {
        let mut chunk = vec![0; CHUNK.min(usize::try_from(self.stat.size).unwrap_or(CHUNK).max(1))];
        let mut at = 0;
        loop {
            let got =
                rustix::io::retry_on_intr(|| rustix::io::pread(&self.file, &mut chunk[..], at))
                    .map_err(|errno| Error::of("read", self.path(), errno))?;
            if got == 0 {
                return Ok(at);
            }
            each(&chunk[..got]);
            at += got as u64;
        }
    }

    /// Whether it can stay where it lies and be given this time: a file of several names may be written to under another one,
    /// the time of somebody else's file is not ours to set, and of one whose sync failed we may read what no disk holds.
    #[must_use]
    pub fn is_adoptable(&self, modified: Timestamp) -> bool {
        let has_time = modified.whole_second() == self.stat.modified.whole_second();
        self.has_one_name && !self.is_doubtful && (has_time || self.is_ours)
    }

    /// Takes it where it lies, to be published under its own name; `None` when it changed since it was opened.
    ///
    /// # Errors
    /// System errors.
    pub fn adopt(self, staging: &Staging) -> Result<Option<Staged>, Error> {
        if !self.is_unchanged()? {
            return Ok(None);
        }
        Ok(Some(
            staging.in_place(self.dir, self.file, self.name, self.stat),
        ))
    }

    fn is_unchanged(&self) -> Result<bool, Error> {
        Ok(identity(&raw_stat(&self.file, &self.path())?) == self.identity)
    }

    fn path(&self) -> String {
        self.dir.path_of(&self.name)
    }
}

impl Staging {
    /// A second name of a candidate's file in staging; `None` where the file system gives none, or when the candidate
    /// changed or its sync failed before.
    ///
    /// # Errors
    /// System errors.
    pub fn linked(&self, candidate: &Candidate) -> Result<Option<Staged>, Error> {
        if candidate.is_doubtful {
            return Ok(None);
        }
        let sys = self.sys();
        let name = self.fresh_name();
        match sys.link(candidate.dir.fd(), &candidate.name, self.dir().fd(), &name) {
            Ok(()) => {}
            Err(
                Errno::NOENT
                | Errno::PERM
                | Errno::OPNOTSUPP
                | Errno::NOSYS
                | Errno::MLINK
                | Errno::XDEV,
            ) => return Ok(None),
            Err(errno) => return Err(Error::of("link", candidate.path(), errno)),
        }
        let linked = self.dir().open_file(&name);
        // From here on dropping takes the name away again.
        let found = match linked? {
            Some((file, stat)) => (self.staged(file, name, stat.size), stat),
            None => return Ok(None),
        };
        let (staged, _) = found;
        let same = raw_stat(staged.file(), &candidate.path())
            .is_ok_and(|raw| is_same_content(&identity(&raw), &candidate.identity));
        Ok(same.then_some(staged))
    }

    /// A clone of a candidate that shares its blocks; `None` where the file system cannot. Its bytes are to be read back before
    /// they are believed.
    ///
    /// # Errors
    /// System errors.
    pub fn cloned(&self, candidate: &Candidate) -> Result<Option<Staged>, Error> {
        let staged = self.create()?;
        match self.sys().clone(staged.file(), candidate.file.as_fd()) {
            Ok(()) => {
                let len = raw_stat(staged.file(), &candidate.path())?.st_size;
                Ok(Some(staged.of_len(u64::try_from(len).unwrap_or(0))))
            }
            // Every file system has its own way to say no, and a copy is always possible.
            Err(_) => Ok(None),
        }
    }
}

fn raw_stat(file: impl AsFd, path: &str) -> Result<rustix::fs::Stat, Error> {
    rustix::fs::fstat(file).map_err(|errno| Error::of("stat", path.to_owned(), errno))
}

#[allow(
    clippy::unnecessary_cast,
    clippy::useless_conversion,
    reason = "the widths of these fields differ between systems"
)]
fn identity(raw: &rustix::fs::Stat) -> Identity {
    Identity {
        file: (raw.st_dev as u64, raw.st_ino as u64),
        size: raw.st_size,
        modified: (raw.st_mtime as i64, raw.st_mtime_nsec as i64),
        changed: (raw.st_ctime as i64, raw.st_ctime_nsec as i64),
    }
}

/// Whether two looks saw the same bytes; giving a file another name moves its time of change, so that is left out.
fn is_same_content(one: &Identity, other: &Identity) -> bool {
    (one.file, one.size, one.modified) == (other.file, other.size, other.modified)
}
