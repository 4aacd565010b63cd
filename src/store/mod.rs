//! The media tree of one node on a local file system: the only code that touches originals and generated files.
//!
//! ```text
//! <root>/<catalog id>/originals/<path>   generated/<path>     files under their final names
//! <root>/.emsync/root.json                                     marker: whose root this is
//! <root>/.emsync/staging/<activity>/                           files on their way in, and kept partials
//! <root>/.emsync/trash/originals|generated/<when>-<n>/<path>   files on their way out
//! <root>/.emsync/names-Å                                       tells what the file system takes for one name (`naming`)
//! <root>/.emsync/snapshots/                                    copies of the catalogue
//! ```
//!
//! Every `<path>` here is the *place* of a file (`model::place`), which for nearly all is the path that its asset gives it.
//!
//! Guarantees: a final name only ever holds content that was complete and synced before it got that name (I1,
//! [`Store::publish`]); nothing outside the root is read or written, whatever links are planted inside it (I9, `dirs`);
//! nothing is deleted, only moved to the trash ([`Store::trash`]), and only what lies there ends ([`Store::empty`]); the rule
//! is at the top of `trash`. A batch holds at most one open file and two open
//! directories per member, a walk none between two items (I10).
//!
//! All calls block; asynchronous callers wrap them in `spawn_blocking`. Every changing system call goes through [`Sys`].

mod adopt;
mod content;
mod direct;
mod dirs;
mod error;
mod facts;
mod marker;
mod naming;
mod partial;
mod publish;
mod snapshots;
mod staging;
mod sys;
mod take_out;
mod together;
mod trash;
mod walk;

#[cfg(test)]
mod conformance;
#[cfg(test)]
pub(crate) mod faults;

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

pub use adopt::{Candidate, Name, Twins};
pub use content::{Content, Held};
pub use error::{Error, OddReason};
pub use facts::Facts;
pub use partial::Partial;
pub use publish::{Publish, largest_batch};
pub use snapshots::{NewSnapshot, Snapshot, Snapshots};
pub use staging::{Staged, Staging};
pub use sys::{RealSys, Sys};
pub use trash::{Emptied, Slot, Slots, Trashed};
pub use walk::Walk;

use crate::model::place::Rules;
use crate::model::{CatalogId, FileKind, MediaPath, NodeId, Timestamp};
use dirs::{Dir, Dirs, Resolver};
use marker::Marker;
use together::Together;

/// Our own corner of the root, on the file system of the media.
const OWN: &str = ".emsync";
/// Where files are written before they are published.
const STAGING: &str = ".emsync/staging";
/// Where removed and replaced files wait for their end.
const TRASH: &str = ".emsync/trash";

/// A cheap handle on the media tree.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>, Rules);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    catalog: CatalogId,
    marker: Marker,
    dirs: Dirs,
    boot: String,
    /// Files under final names whose sync failed, by device and inode: another sync proves nothing (`publish`).
    doubtful: Mutex<HashSet<(u64, u64)>>,
    /// Whether many files can be synced in one go.
    together: Together,
}

/// Size in bytes and modification time of a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// Modification time, cut to the millisecond.
    pub modified: Timestamp,
}

/// A published file, open for reading. It stays readable when the name is replaced or removed meanwhile.
#[derive(Debug)]
pub struct OpenFile {
    /// The file, at its start.
    pub file: File,
    /// Bytes when it was opened.
    pub size: u64,
    /// Modification time, cut to the millisecond.
    pub modified: Timestamp,
}

impl Store {
    /// Makes the directories and the marker of a media root, durably. Running it again for the same node and catalog
    /// repairs what is missing.
    ///
    /// # Errors
    /// [`Error::WrongMarker`] when the root belongs to another node or catalog; system errors.
    pub fn init(root: &Path, catalog: &CatalogId, node: &NodeId) -> Result<(), Error> {
        marker::init(root, catalog, node, Arc::new(RealSys))
    }

    /// Opens a media root that [`Self::init`] made.
    ///
    /// # Errors
    /// [`Error::NoMarker`] when the marker is missing (the usual sign of an unmounted volume), [`Error::WrongMarker`] when
    /// the root holds another catalog; system errors.
    pub fn open(root: &Path, catalog: &CatalogId, sys: Arc<dyn Sys>) -> Result<Self, Error> {
        let fd = open_root(root)?;
        let resolver = Resolver::probe(std::os::fd::AsFd::as_fd(&fd));
        Self::open_with(root, fd, catalog, sys, resolver)
    }

    fn open_with(
        root: &Path,
        fd: OwnedFd,
        catalog: &CatalogId,
        sys: Arc<dyn Sys>,
        resolver: Resolver,
    ) -> Result<Self, Error> {
        let boot = sys.boot_id();
        let dirs = Dirs::new(fd, resolver, sys);
        let marker = marker::read(root, &dirs)?.ok_or_else(|| Error::NoMarker {
            root: root.to_owned(),
        })?;
        marker.expect_catalog(root, catalog)?;
        let rules = naming::probe(&dirs);
        let inner = Inner {
            root: root.to_owned(),
            catalog: catalog.clone(),
            marker,
            dirs,
            boot,
            doubtful: Mutex::default(),
            together: Together::default(),
        };
        Ok(Self(Arc::new(inner), rules))
    }

    /// The same tree, where every new place must be one that any other system can hold.
    #[must_use]
    pub fn portable(self) -> Self {
        Self(self.0, Rules::Portable)
    }

    /// What places must be like here.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.1
    }

    /// Looks again, by path, whether this is still the root that was opened: its volume may have been unmounted, or
    /// another one mounted in its place. To be called before anything is concluded from a file's absence.
    ///
    /// # Errors
    /// [`Error::NoMarker`], [`Error::WrongMarker`] or [`Error::Replaced`]; system errors.
    pub fn check_marker(&self) -> Result<(), Error> {
        marker::check(&self.0.root, &self.0.dirs, &self.0.marker)
    }

    /// The media root, as it was given to [`Self::open`].
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Cluster id of the node that the root was made for.
    #[must_use]
    pub fn node(&self) -> &str {
        self.0.marker.cluster_id()
    }

    /// Bytes that an unprivileged process can still write to the media's file system.
    ///
    /// # Errors
    /// System errors.
    pub fn free_bytes(&self) -> Result<u64, Error> {
        let dirs = &self.0.dirs;
        dirs.sys()
            .free_bytes(dirs.root_fd())
            .map_err(|errno| Error::of("stat", self.0.root.display().to_string(), errno))
    }

    /// The staging directory of an activity, such as `pull-master`, made where it is missing. Two processes must not
    /// share an activity.
    ///
    /// # Errors
    /// [`Error::BadName`] unless the name is made of letters, digits, `.`, `_` and `-`; system errors.
    pub fn staging(&self, activity: &str) -> Result<Staging, Error> {
        Staging::open(self, activity)
    }

    /// Removes the staging directory of an activity that is over, if it is empty.
    ///
    /// # Errors
    /// System errors.
    pub fn end_staging(&self, activity: &str) -> Result<(), Error> {
        let dirs = &self.0.dirs;
        dirs.prune(&dirs.fixed(STAGING)?, activity);
        Ok(())
    }

    /// Opens a file for reading; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::NotAFile`] for a directory, fifo, socket or device, [`Error::Escapes`] for a symbolic link anywhere on
    /// the way, [`Error::NoTree`] when the whole tree is missing; system errors.
    pub fn open_file(&self, kind: FileKind, path: &MediaPath) -> Result<Option<OpenFile>, Error> {
        if let Some(open) = self.open_whole(kind, path) {
            return Ok(Some(open));
        }
        let Some(dir) = self.parent_of(kind, path)? else {
            return Ok(None);
        };
        Ok(dir.open_file(path.name())?.map(|(fd, stat)| OpenFile {
            file: File::from(fd),
            size: stat.size,
            modified: stat.modified,
        }))
    }

    /// Size and time of a file; `None` when there is none.
    ///
    /// # Errors
    /// As [`Self::open_file`].
    pub fn stat(&self, kind: FileKind, path: &MediaPath) -> Result<Option<Stat>, Error> {
        if let Some(stat) = self.stat_whole(kind, path) {
            return Ok(Some(stat));
        }
        match self.parent_of(kind, path)? {
            Some(dir) => dir.look(path.name()),
            None => Ok(None),
        }
    }

    /// Which of these places certainly have nothing, in their order. Places that follow each other in one directory cost one
    /// look at it when it is not there.
    #[must_use]
    pub fn are_empty(&self, kind: FileKind, places: &[MediaPath]) -> Vec<bool> {
        let Ok(tree) = self.tree(kind) else {
            return vec![false; places.len()];
        };
        let mut last = None;
        let is_empty = |place: &MediaPath| {
            let parent = parent_text(place);
            if last.as_ref().is_none_or(|(path, _)| path != parent) {
                let found = self.0.dirs.find(&tree, parent);
                last = Some((parent.to_owned(), found));
            }
            match &last.as_ref().expect("looked for just now").1 {
                Ok(Some(dir)) => matches!(dir.look(place.name()), Ok(None)),
                Ok(None) => true,
                Err(_) => false,
            }
        };
        places.iter().map(is_empty).collect()
    }

    /// Every file of a tree in byte order of its full path, streaming; see [`Walk`].
    #[must_use]
    pub fn walk(&self, kind: FileKind) -> Walk {
        Walk::new(self.clone(), tree_path(self.0.catalog.as_str(), kind))
    }

    /// The directory that holds all files of a kind.
    fn tree(&self, kind: FileKind) -> Result<Dir, Error> {
        self.0.dirs.fixed(&tree_path(self.0.catalog.as_str(), kind))
    }

    /// The directory a file lies in, if it is there.
    fn parent_of(&self, kind: FileKind, path: &MediaPath) -> Result<Option<Dir>, Error> {
        let tree = self.tree(kind)?;
        self.0.dirs.find(&tree, parent_text(path))
    }
}

/// A path without its last element, empty when there is no other.
fn parent_text(path: &MediaPath) -> &str {
    path.as_str()
        .rsplit_once('/')
        .map_or("", |(above, _)| above)
}

fn tree_path(catalog: &str, kind: FileKind) -> String {
    format!("{catalog}/{}", kind.dir())
}

/// Opens the root by its path. Links on the way *to* the root are the operator's and are followed.
fn open_root(root: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(root, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => Error::NoMarker {
            root: root.to_owned(),
        },
        errno => Error::of("open", root.display().to_string(), errno),
    })
}
