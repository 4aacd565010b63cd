//! A file by its whole path in one call, where the kernel takes paths that cannot lead out of the root (`dirs`); and opening and
//! reading what the system has in memory, without ever waiting for a disk.
//!
//! Whoever must not block, and would pay more for a thread that may, asks the kernel to do it only if it needs no disk for it
//! (`RESOLVE_CACHED`, `RWF_NOWAIT`; Linux 5.12). Where a call here says no, for whatever reason, or where there is no such kernel,
//! the caller goes the long way, step by step, and learns why.
//!
//! And the reverse: what is in memory is forgotten, for whoever wants to know what the medium has.

use std::os::fd::OwnedFd;

use rustix::fs::OFlags;

use super::{OpenFile, Stat, Store};
use crate::model::{FileKind, MediaPath};

/// What may be done to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effort {
    /// Waiting for the disk.
    Any,
    /// Only what is in memory.
    AtHand,
}

const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A handle that cannot be read, to look at what it stands for.
#[cfg(target_os = "linux")]
const LOOK: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const LOOK: OFlags = READ;

impl Store {
    /// Opens a file for reading as [`Self::open_file`] does; `None` when it is not at hand, or not there.
    #[must_use]
    pub fn open_at_hand(&self, kind: FileKind, path: &MediaPath) -> Option<OpenFile> {
        self.open_directly(kind, path, Effort::AtHand)
    }

    /// The same, with the disk.
    pub(super) fn open_whole(&self, kind: FileKind, path: &MediaPath) -> Option<OpenFile> {
        self.open_directly(kind, path, Effort::Any)
    }

    /// Size and time of a file.
    pub(super) fn stat_whole(&self, kind: FileKind, path: &MediaPath) -> Option<Stat> {
        Some(self.direct(kind, path, LOOK, Effort::Any)?.1)
    }

    fn open_directly(&self, kind: FileKind, path: &MediaPath, effort: Effort) -> Option<OpenFile> {
        let (file, Stat { size, modified }) = self.direct(kind, path, READ, effort)?;
        let file = file.into();
        Some(OpenFile {
            file,
            size,
            modified,
        })
    }

    #[cfg(target_os = "linux")]
    fn direct(
        &self,
        kind: FileKind,
        path: &MediaPath,
        how: OFlags,
        effort: Effort,
    ) -> Option<(OwnedFd, Stat)> {
        use rustix::fs::{Mode, ResolveFlags};
        let dirs = &self.0.dirs;
        if dirs.resolver() != super::dirs::Resolver::Kernel {
            return None;
        }
        let whole = format!("{}/{path}", super::tree_path(self.0.catalog.as_str(), kind));
        let mut on_the_way =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        if effort == Effort::AtHand {
            on_the_way |= ResolveFlags::CACHED;
        }
        let (root, how) = (dirs.root_fd(), how | OFlags::CLOEXEC);
        let fd = rustix::fs::openat2(root, &*whole, how, Mode::empty(), on_the_way).ok()?;
        let stat = super::dirs::file_stat(&rustix::fs::fstat(&fd).ok()?, &whole).ok()?;
        Some((fd, stat))
    }

    #[cfg(not(target_os = "linux"))]
    fn direct(
        &self,
        _kind: FileKind,
        _path: &MediaPath,
        _how: OFlags,
        _effort: Effort,
    ) -> Option<(OwnedFd, Stat)> {
        None
    }
}

impl OpenFile {
    /// Lets the system forget what it has of this file in memory, so that reading it asks the medium, or having read it costs nobody
    /// else their memory. What is not written yet stays, and so does what somebody has mapped.
    pub fn leave_memory(&self) {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{Advice, fadvise};
            if let Err(errno) = fadvise(&self.file, 0, None, Advice::DontNeed) {
                tracing::debug!(%errno, "the system keeps a file in memory");
            }
        }
    }

    /// Reads from byte `from` on what is at hand, into `bytes` from their start; answers how many of them it filled.
    pub fn read_at_hand(&self, bytes: &mut [u8], from: u64) -> usize {
        #[cfg(target_os = "linux")]
        {
            use rustix::io::{ReadWriteFlags, preadv2};
            let mut filled = 0;
            while filled < bytes.len() {
                let into = &mut [std::io::IoSliceMut::new(&mut bytes[filled..])];
                match preadv2(
                    &self.file,
                    into,
                    from + filled as u64,
                    ReadWriteFlags::NOWAIT,
                ) {
                    Ok(read) if read > 0 => filled += read,
                    _ => break,
                }
            }
            filled
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (bytes, from);
            0
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::conformance::{Fixture, KIND, path};
    use super::super::dirs::Resolver;

    #[test]
    fn what_is_in_memory_is_opened_and_read_and_nothing_else() {
        let f = Fixture::new(Resolver::Kernel);
        f.put("a/b.bin", b"0123456789").unwrap();
        let open = f.store.open_at_hand(KIND, &path("a/b.bin")).unwrap();
        assert_eq!(open.size, 10);
        let mut bytes = [0; 20];
        assert_eq!(open.read_at_hand(&mut bytes[..4], 3), 4);
        assert_eq!(&bytes[..4], b"3456");
        assert_eq!(open.read_at_hand(&mut bytes, 8), 2, "no more than there is");
        for elsewhere in ["a", "a/none", "none/b.bin", "a/b.bin/c"] {
            let asked = path(elsewhere);
            assert!(f.store.open_at_hand(KIND, &asked).is_none());
            assert!(f.store.open_whole(KIND, &asked).is_none());
            assert!(f.store.stat_whole(KIND, &asked).is_none(), "{elsewhere}");
        }
        let stat = f.store.stat_whole(KIND, &path("a/b.bin")).unwrap();
        assert_eq!((stat.size, stat.modified), (open.size, open.modified));
        let steps = Fixture::new(Resolver::Steps);
        steps.put("a", b"x").unwrap();
        assert!(steps.store.open_at_hand(KIND, &path("a")).is_none());
    }

    #[test]
    fn no_link_is_followed() {
        let f = Fixture::new(Resolver::Kernel);
        f.put("a/b.bin", b"x").unwrap();
        let tree = f.on_disk("");
        std::os::unix::fs::symlink("a", tree.join("dir")).unwrap();
        std::os::unix::fs::symlink("a/b.bin", tree.join("file")).unwrap();
        std::os::unix::fs::symlink("/etc", tree.join("out")).unwrap();
        for linked in ["dir/b.bin", "file", "out/passwd"] {
            let linked = path(linked);
            assert!(f.store.open_at_hand(KIND, &linked).is_none(), "{linked}");
            assert!(f.store.open_whole(KIND, &linked).is_none(), "{linked}");
            assert!(f.store.stat_whole(KIND, &linked).is_none(), "{linked}");
        }
    }
}
