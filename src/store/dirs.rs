//! Containment (I9): the only way from a path to an open directory.
//!
//! A directory is opened below the handle of the media root, and no symbolic link is followed anywhere on the way, so no
//! path leads out of the root, whoever plants what while we look. On Linux the kernel does that in one call (`openat2` with
//! `RESOLVE_BENEATH`); where it cannot (older kernel, a seccomp filter, another system) we walk element by element with
//! `O_NOFOLLOW`. Everything else in the store takes a handle from here plus one name.
//!
//! How a directory is made, and which are known to be durable, is in `places`.

mod places;

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, Result as SysResult};

pub(super) use places::{Place, Unsynced};

use super::Stat;
use super::error::Error;
use super::sys::Sys;
use crate::model::Timestamp;

/// How directories below the root are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resolver {
    /// In one call, by the kernel.
    #[cfg(target_os = "linux")]
    Kernel,
    /// Element by element.
    Steps,
}

const OPEN_DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

impl Resolver {
    /// What this kernel, and the filter we may run under, lets us use.
    pub(super) fn probe(root: BorrowedFd<'_>) -> Self {
        #[cfg(target_os = "linux")]
        if beneath(root, ".").is_ok() {
            return Self::Kernel;
        }
        let _ = root;
        Self::Steps
    }

    /// Opens the directory `rel` below `base`; an empty `rel` is `base` itself.
    ///
    /// `ENOENT`: not there; `ENOTDIR`: a file on the way; `ELOOP`: a symbolic link on the way.
    fn open(self, base: BorrowedFd<'_>, rel: &str) -> SysResult<OwnedFd> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Kernel => match beneath(base, if rel.is_empty() { "." } else { rel }) {
                Err(Errno::XDEV) => Err(Errno::LOOP),
                // A rename elsewhere raced with us, or the filter came later than our probe.
                Err(Errno::AGAIN | Errno::NOSYS) => steps(base, rel),
                answer => answer,
            },
            Self::Steps => steps(base, rel),
        }
    }
}

#[cfg(target_os = "linux")]
fn beneath(base: BorrowedFd<'_>, rel: &str) -> SysResult<OwnedFd> {
    use rustix::fs::ResolveFlags;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(base, rel, OPEN_DIR, Mode::empty(), resolve)
}

fn steps(base: BorrowedFd<'_>, rel: &str) -> SysResult<OwnedFd> {
    let flags = OPEN_DIR | OFlags::NOFOLLOW;
    let mut dir = rustix::fs::openat(base, ".", flags, Mode::empty())?;
    for element in rel.split('/').filter(|element| !element.is_empty()) {
        if element == "." || element == ".." {
            return Err(Errno::LOOP);
        }
        dir = match rustix::fs::openat(&dir, element, flags, Mode::empty()) {
            // Systems disagree on what a link in place of a directory is called; look, so that we do not.
            Err(Errno::NOTDIR) if is_symlink(dir.as_fd(), element) => return Err(Errno::LOOP),
            answer => answer?,
        };
    }
    Ok(dir)
}

fn is_symlink(dir: BorrowedFd<'_>, name: &str) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// An open directory and its path from the media root.
#[derive(Debug)]
pub(super) struct Dir {
    fd: OwnedFd,
    path: String,
}

impl Dir {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The path of `name` in here, from the media root.
    pub(super) fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether it still has a name of its own, as far as the file system says.
    fn is_there(&self) -> bool {
        rustix::fs::fstat(&self.fd).is_ok_and(|stat| stat.st_nlink > 0)
    }

    /// What has this name in here, links not followed.
    pub(super) fn look(&self, name: &str) -> Result<Option<Stat>, Error> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::of("stat", self.path_of(name), errno)),
            Ok(stat) => file_stat(&stat, &self.path_of(name)).map(Some),
        }
    }

    /// Opens a file in here for reading; `None` when there is none.
    pub(super) fn open_file(&self, name: &str) -> Result<Option<(OwnedFd, Stat)>, Error> {
        self.open_with(name, OFlags::RDONLY)
    }

    /// Opens a file in here for reading and writing; `None` when there is none.
    pub(super) fn open_rw(&self, name: &str) -> Result<Option<(OwnedFd, Stat)>, Error> {
        self.open_with(name, OFlags::RDWR)
    }

    fn open_with(&self, name: &str, how: OFlags) -> Result<Option<(OwnedFd, Stat)>, Error> {
        // NONBLOCK: a fifo must not make us wait for its other end before we can see what it is.
        let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            // Opened for writing, a directory, a fifo or a socket answers before we can look.
            Err(Errno::ISDIR | Errno::NXIO) => {
                return Err(self.look(name).err().unwrap_or_else(|| Error::NotAFile {
                    path: self.path_of(name),
                    what: "something else",
                }));
            }
            answer => answer.map_err(|errno| Error::of("open", self.path_of(name), errno))?,
        };
        let stat =
            rustix::fs::fstat(&fd).map_err(|errno| Error::of("stat", self.path_of(name), errno))?;
        let stat = file_stat(&stat, &self.path_of(name))?;
        Ok(Some((fd, stat)))
    }

    /// The names in here, in no order, without `.` and `..`.
    pub(super) fn names(&self) -> Result<Vec<CString>, Error> {
        let failed = |errno| Error::of("list", self.path.clone(), errno);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }
}

/// Size and time of a regular file, or why it is none.
pub(super) fn file_stat(stat: &rustix::fs::Stat, path: &str) -> Result<Stat, Error> {
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            return Ok(Stat {
                size: u64::try_from(stat.st_size).unwrap_or(0),
                modified: modified(stat),
            });
        }
        FileType::Symlink => {
            return Err(Error::Escapes {
                path: path.to_owned(),
            });
        }
        FileType::Directory => "a directory",
        FileType::Fifo => "a fifo",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "of unknown type",
    };
    Err(Error::NotAFile {
        path: path.to_owned(),
        what,
    })
}

/// Modification time, cut to the millisecond towards the past.
#[allow(
    clippy::unnecessary_cast,
    reason = "the widths of these fields differ between systems"
)]
fn modified(stat: &rustix::fs::Stat) -> Timestamp {
    Timestamp::from_millis(
        (stat.st_mtime as i64)
            .saturating_mul(1000)
            .saturating_add(stat.st_mtime_nsec as i64 / 1_000_000),
    )
}

/// The directories of one media root.
#[derive(Debug)]
pub(super) struct Dirs {
    sys: Arc<dyn Sys>,
    resolver: Resolver,
    root: OwnedFd,
    durable: Mutex<HashSet<String>>,
}

impl Dirs {
    pub(super) fn new(root: OwnedFd, resolver: Resolver, sys: Arc<dyn Sys>) -> Self {
        Self {
            sys,
            resolver,
            root,
            durable: Mutex::default(),
        }
    }

    pub(super) fn sys(&self) -> &dyn Sys {
        &*self.sys
    }

    /// The same calls, for directories of another root.
    pub(super) fn shared_sys(&self) -> Arc<dyn Sys> {
        Arc::clone(&self.sys)
    }

    /// How directories are opened here.
    pub(super) fn resolver(&self) -> Resolver {
        self.resolver
    }

    pub(super) fn root_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The root itself.
    pub(super) fn root(&self) -> Result<Dir, Error> {
        self.resolver
            .open(self.root.as_fd(), "")
            .map(|fd| Dir {
                fd,
                path: String::new(),
            })
            .map_err(|errno| Error::of("open", ".", errno))
    }

    /// A directory that `init` makes; its absence is an error.
    pub(super) fn fixed(&self, path: &str) -> Result<Dir, Error> {
        match self.resolver.open(self.root.as_fd(), path) {
            Ok(fd) => Ok(Dir {
                fd,
                path: path.to_owned(),
            }),
            Err(Errno::NOENT | Errno::NOTDIR) => Err(Error::NoTree {
                path: path.to_owned(),
            }),
            Err(errno) => Err(Error::of("open", path, errno)),
        }
    }

    /// The directory `rel` below `base`, if it is there. A file on the way means that it is not.
    pub(super) fn find(&self, base: &Dir, rel: &str) -> Result<Option<Dir>, Error> {
        let path = join(&base.path, rel);
        match self.resolver.open(base.fd(), rel) {
            Ok(fd) => Ok(Some(Dir { fd, path })),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(Error::of("open", path, errno)),
        }
    }

    /// Removes `rel` below `base` and its parents up to, but without, `base`, as long as they are empty. Best effort: an
    /// empty directory that stays, or comes back after a power cut, harms nobody.
    pub(super) fn prune(&self, base: &Dir, rel: &str) {
        let mut rel = rel;
        while !rel.is_empty() {
            let (above, name) = rel.rsplit_once('/').unwrap_or(("", rel));
            let Ok(Some(parent)) = self.find(base, above) else {
                return;
            };
            // Under the lock, so that nobody takes a directory for known that was just removed and made anew.
            let mut known = self.known();
            if self.sys.rmdir(parent.fd(), name).is_err() {
                return;
            }
            known.remove(&parent.path_of(name));
            drop(known);
            rel = above;
        }
    }

    /// Waits until the names in `dir` are durable.
    pub(super) fn sync(&self, dir: &Dir) -> SysResult<()> {
        self.sys.sync_dir(dir.fd())
    }

    fn known(&self) -> MutexGuard<'_, HashSet<String>> {
        self.durable.lock().expect("no panic while the set is held")
    }
}

fn cannot_enter(path: String, errno: Errno) -> Error {
    match errno {
        Errno::NOTDIR => Error::Blocked {
            path,
            why: "a file is where a folder is needed",
        },
        Errno::NOENT => Error::Vanished { path },
        errno => Error::of("open", path, errno),
    }
}

fn join(above: &str, below: &str) -> String {
    match (above, below) {
        ("", one) | (one, "") => one.to_owned(),
        (above, below) => format!("{above}/{below}"),
    }
}
