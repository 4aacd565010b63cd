//! Every system call by which the store changes the disk, as a trait, so that a test can fail any one of them.
//!
//! Calls that only look (open for reading, stat, list) are made directly: what they see is checked at the moment of the
//! change anyway. A name is always one element below an open directory, never a path, and is never followed when it is a
//! symbolic link.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::{Errno, Result};

use crate::model::Timestamp;
use crate::seams::{Clock, Os};

/// The changing system calls, plus the facts about the machine that the store has to be told.
pub trait Sys: Send + Sync + fmt::Debug {
    /// Makes a new empty file, readable by us alone; an existing name is an error.
    ///
    /// # Errors
    /// The system's answer, here and below.
    fn create(&self, dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd>;

    /// Writes all of `bytes` at `offset`. After an error any part of them may have been written.
    ///
    /// # Errors
    /// The system's answer.
    fn write(&self, file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> Result<()>;

    /// Cuts a file to `len` bytes.
    ///
    /// # Errors
    /// The system's answer.
    fn truncate(&self, file: BorrowedFd<'_>, len: u64) -> Result<()>;

    /// Sets the modification time.
    ///
    /// # Errors
    /// The system's answer.
    fn set_modified(&self, file: BorrowedFd<'_>, modified: Timestamp) -> Result<()>;

    /// Makes a file readable by all and writable by us.
    ///
    /// # Errors
    /// The system's answer.
    fn set_public(&self, file: BorrowedFd<'_>) -> Result<()>;

    /// Waits until content, times and mode of a file are on the medium.
    ///
    /// # Errors
    /// The system's answer; the content is then lost, whatever a second call says.
    fn sync_file(&self, file: BorrowedFd<'_>) -> Result<()>;

    /// Waits until the names in a directory are on the medium.
    ///
    /// # Errors
    /// The system's answer.
    fn sync_dir(&self, dir: BorrowedFd<'_>) -> Result<()>;

    /// Waits until all content and all names on the file system that `dir` is on are on the medium.
    ///
    /// # Errors
    /// `NOSYS` where the system or the file system would not tell that something was lost; else the system's answer, which may be about anybody's
    /// file, and is given once for each time that `dir` was opened.
    fn sync_all(&self, dir: BorrowedFd<'_>) -> Result<()>;

    /// Files or directories from which on [`Self::sync_all`] costs less than one sync for each.
    fn sync_all_from(&self) -> usize {
        8
    }

    /// Makes a directory; an existing name is an error.
    ///
    /// # Errors
    /// The system's answer.
    fn mkdir(&self, dir: BorrowedFd<'_>, name: &str) -> Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// The system's answer.
    fn rmdir(&self, dir: BorrowedFd<'_>, name: &str) -> Result<()>;

    /// Moves a name, replacing a file of the target's name at one stroke.
    ///
    /// # Errors
    /// The system's answer.
    fn rename(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &str,
        to_dir: BorrowedFd<'_>,
        to: &str,
    ) -> Result<()>;

    /// Gives a file a second name; an existing name is an error.
    ///
    /// # Errors
    /// The system's answer.
    fn link(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &str,
        to_dir: BorrowedFd<'_>,
        to: &str,
    ) -> Result<()>;

    /// Removes a name of a file.
    ///
    /// # Errors
    /// The system's answer.
    fn unlink(&self, dir: BorrowedFd<'_>, name: &str) -> Result<()>;

    /// Makes an empty file a clone of another one that shares its blocks.
    ///
    /// # Errors
    /// The system's answer; one of many where the file system cannot, and then the file may hold anything.
    fn clone(&self, file: BorrowedFd<'_>, from: BorrowedFd<'_>) -> Result<()> {
        #[cfg(target_os = "linux")]
        return rustix::fs::ioctl_ficlone(file, from);
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (file, from);
            Err(Errno::OPNOTSUPP)
        }
    }

    /// The time of day, for the names of trash directories.
    fn now(&self) -> Timestamp {
        Os.now()
    }

    /// Bytes that an unprivileged process can still write to the file system that `dir` is on.
    ///
    /// # Errors
    /// The system's answer.
    fn free_bytes(&self, dir: BorrowedFd<'_>) -> Result<u64> {
        let stat = rustix::fs::fstatvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// A text that changes whenever the machine may have lost what was written but not synced; empty when nobody knows.
    fn boot_id(&self) -> String {
        // Only Linux has it. Elsewhere every start counts as a new boot, which costs re-fetched bytes and nothing else.
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    }
}

/// The operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealSys;

/// Mode of a staged file: ours alone until it is published.
const PRIVATE: u32 = 0o600;
/// Mode of a published file.
const PUBLIC: u32 = 0o644;
/// Mode of a directory, narrowed by the process's umask.
const DIRECTORY: u32 = 0o777;

impl Sys for RealSys {
    fn create(&self, dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(dir, name, flags, mode(PRIVATE))
    }

    fn write(&self, file: BorrowedFd<'_>, mut bytes: &[u8], mut offset: u64) -> Result<()> {
        while !bytes.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(file, bytes, offset))?;
            if written == 0 {
                return Err(Errno::IO);
            }
            bytes = &bytes[written..];
            offset += written as u64;
        }
        Ok(())
    }

    fn truncate(&self, file: BorrowedFd<'_>, len: u64) -> Result<()> {
        rustix::io::retry_on_intr(|| rustix::fs::ftruncate(file, len))
    }

    fn set_modified(&self, file: BorrowedFd<'_>, modified: Timestamp) -> Result<()> {
        let ms = modified.as_millis();
        let time = Timespec {
            tv_sec: ms.div_euclid(1000),
            tv_nsec: ms.rem_euclid(1000) * 1_000_000,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::futimens(file, &times)
    }

    fn set_public(&self, file: BorrowedFd<'_>) -> Result<()> {
        rustix::fs::fchmod(file, mode(PUBLIC))
    }

    fn sync_file(&self, file: BorrowedFd<'_>) -> Result<()> {
        flush(file)
    }

    fn sync_dir(&self, dir: BorrowedFd<'_>) -> Result<()> {
        match flush(dir) {
            // The file system has no notion of syncing a directory (some network and FUSE ones): nothing more to do.
            Err(Errno::INVAL) => Ok(()),
            answer => answer,
        }
    }

    fn sync_all(&self, dir: BorrowedFd<'_>) -> Result<()> {
        #[cfg(target_os = "linux")]
        if kernel_tells() && file_system_tells(dir)? {
            return rustix::fs::syncfs(dir);
        }
        let _ = dir;
        Err(Errno::NOSYS)
    }

    fn mkdir(&self, dir: BorrowedFd<'_>, name: &str) -> Result<()> {
        rustix::fs::mkdirat(dir, name, mode(DIRECTORY))
    }

    fn rmdir(&self, dir: BorrowedFd<'_>, name: &str) -> Result<()> {
        rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
    }

    fn rename(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &str,
        to_dir: BorrowedFd<'_>,
        to: &str,
    ) -> Result<()> {
        rustix::fs::renameat(from_dir, from, to_dir, to)
    }

    fn link(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &str,
        to_dir: BorrowedFd<'_>,
        to: &str,
    ) -> Result<()> {
        rustix::fs::linkat(from_dir, from, to_dir, to, AtFlags::empty())
    }

    fn unlink(&self, dir: BorrowedFd<'_>, name: &str) -> Result<()> {
        rustix::fs::unlinkat(dir, name, AtFlags::empty())
    }
}

/// Whether `syncfs` on this file system reaches the medium and tells what did not. On FUSE it never asks the server, on overlayfs it
/// does not hear of the layer below; ext4, XFS, Btrfs and F2FS are known to do both,
/// and tmpfs has no medium.
#[cfg(target_os = "linux")]
fn file_system_tells(dir: BorrowedFd<'_>) -> Result<bool> {
    const KNOWN: [u64; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994];
    let kind = rustix::fs::fstatfs(dir)?.f_type;
    // The width of the field differs between machines, and the numbers have 32 bits.
    Ok(KNOWN.contains(&(kind as u64 & 0xffff_ffff)))
}

/// Whether this kernel's `syncfs` reports what could not be written: contents since 5.8, the journal since 5.17.
#[cfg(target_os = "linux")]
fn kernel_tells() -> bool {
    let uname = rustix::system::uname();
    version(&uname.release().to_string_lossy()).is_some_and(|version| version >= (5, 17))
}

/// Major and minor number of a kernel's release, such as `6.1.0-18-amd64`.
#[cfg(target_os = "linux")]
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

/// A mode from its octal digits; the width of the raw type differs between systems.
fn mode(bits: u32) -> Mode {
    Mode::from_bits_truncate(bits as _)
}

/// Through the drive's own cache as well: Linux's fsync does that, macOS needs another call for it.
fn flush(fd: impl AsFd) -> Result<()> {
    #[cfg(target_vendor = "apple")]
    let answer = rustix::io::retry_on_intr(|| rustix::fs::fcntl_fullfsync(fd.as_fd()));
    #[cfg(not(target_vendor = "apple"))]
    let answer = rustix::io::retry_on_intr(|| rustix::fs::fsync(fd.as_fd()));
    answer
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_is_not_known_to_tell_is_not_asked() {
        let elsewhere = std::fs::File::open("/proc").unwrap();
        assert_eq!(RealSys.sync_all(elsewhere.as_fd()), Err(Errno::NOSYS));
    }

    #[test]
    fn a_kernel_is_known_by_its_first_two_numbers() {
        for (release, known) in [
            ("6.1.0-18-amd64", Some((6, 1))),
            ("5.17-rc3", Some((5, 17))),
            ("5.4.0", Some((5, 4))),
            ("10.0", Some((10, 0))),
            ("6", None),
            ("linux", None),
            ("", None),
        ] {
            assert_eq!(version(release), known, "{release}");
        }
    }
}
