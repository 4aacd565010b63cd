//! Opening and reading what the system has in memory, without ever waiting for a disk: for whoever must not block, and would pay
//! more for a thread that may.
//!
//! The kernel is asked to do it only if it needs no disk for it (`RESOLVE_CACHED`, `RWF_NOWAIT`; Linux 5.12). Where it says no,
//! for whatever reason, or where there is no such kernel, the answer is "not at hand", and the caller goes the long way.

use super::{OpenFile, Store};
use crate::model::{FileKind, MediaPath};

impl Store {
    /// Opens a file for reading as [`Self::open_file`] does; `None` when it is not at hand, or not there.
    #[must_use]
    pub fn open_at_hand(&self, kind: FileKind, path: &MediaPath) -> Option<OpenFile> {
        #[cfg(target_os = "linux")]
        if self.0.dirs.resolver() == super::dirs::Resolver::Kernel {
            return self.open_cached(kind, path);
        }
        let _ = (kind, path);
        None
    }

    #[cfg(target_os = "linux")]
    fn open_cached(&self, kind: FileKind, path: &MediaPath) -> Option<OpenFile> {
        use rustix::fs::{Mode, OFlags, ResolveFlags};
        let tree = super::tree_path(self.0.catalog.as_str(), kind);
        let whole = format!("{tree}/{path}");
        let how = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let on_the_way = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::CACHED;
        let root = self.0.dirs.root_fd();
        let fd = rustix::fs::openat2(root, &*whole, how, Mode::empty(), on_the_way).ok()?;
        let stat = super::dirs::file_stat(&rustix::fs::fstat(&fd).ok()?, &whole).ok()?;
        Some(OpenFile {
            file: fd.into(),
            size: stat.size,
            modified: stat.modified,
        })
    }
}

impl OpenFile {
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
            assert!(f.store.open_at_hand(KIND, &path(elsewhere)).is_none());
        }
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
            assert!(
                f.store.open_at_hand(KIND, &path(linked)).is_none(),
                "{linked}"
            );
        }
    }
}
