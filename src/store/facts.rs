//! What the file system of the media can do: facts for a person who wonders, found by trying in a directory of our own.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::error::Error;
use super::{STAGING, Store};

/// The activity whose staging directory is used.
const ACTIVITY: &str = "doctor";

/// What a file system can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Facts {
    /// Names that differ in case only are one name: peers' files may collide.
    pub folds_case: bool,
    /// A file can have two names.
    pub hard_links: bool,
    /// A copy can share its blocks with the original; `None` where nobody can tell.
    pub reflinks: Option<bool>,
}

impl Store {
    /// Tries what the file system can do. Leaves nothing behind.
    ///
    /// # Errors
    /// System errors.
    pub fn facts(&self) -> Result<Facts, Error> {
        self.check_marker()?;
        let dirs = &self.0.dirs;
        let dir = dirs.make(&dirs.fixed(STAGING)?, ACTIVITY)?;
        let sys = dirs.sys();
        let names = ["probe-a", "probe-b", "probe-c"];
        let clear = || {
            for name in names {
                // What a killed probe left, or nothing.
                let _ = sys.unlink(dir.fd(), name);
            }
        };
        clear();
        let failed = |errno| Error::of("make", dir.path_of(names[0]), errno);
        let file = sys.create(dir.fd(), names[0]).map_err(failed)?;
        sys.write(file.as_fd(), b"probe", 0).map_err(failed)?;
        let folds_case = dir.look("PROBE-A")?.is_some();
        let hard_links = sys.link(dir.fd(), names[0], dir.fd(), names[1]).is_ok();
        let copy = sys.create(dir.fd(), names[2]).map_err(failed)?;
        let reflinks = clone_of(copy.as_fd(), file.as_fd());
        clear();
        dirs.prune(&dirs.fixed(STAGING)?, ACTIVITY);
        Ok(Facts {
            folds_case,
            hard_links,
            reflinks,
        })
    }
}

#[cfg(target_os = "linux")]
fn clone_of(to: std::os::fd::BorrowedFd<'_>, from: std::os::fd::BorrowedFd<'_>) -> Option<bool> {
    match rustix::fs::ioctl_ficlone(to, from) {
        Ok(()) => Some(true),
        Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS | Errno::XDEV) => Some(false),
        Err(_) => None,
    }
}

#[cfg(not(target_os = "linux"))]
fn clone_of(_: std::os::fd::BorrowedFd<'_>, _: std::os::fd::BorrowedFd<'_>) -> Option<bool> {
    let _ = Errno::NOSYS;
    None
}

#[cfg(test)]
mod tests {
    use super::super::conformance::Fixture;
    use super::super::dirs::Resolver;

    #[test]
    fn probing_leaves_nothing_behind() {
        let f = Fixture::new(Resolver::Steps);
        let facts = f.store.facts().unwrap();
        assert_eq!(facts, f.store.facts().unwrap());
        let left = f.store.root().join(".emsync/staging/doctor");
        assert!(!left.exists(), "{facts:?}");
    }
}
