//! Locks that keep two of one activity apart: files `<activity>.lock` in the state directory, locked by the kernel, so that
//! a kill releases them. The holder's process id stands in the file, for whoever finds it locked.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, test_kill_process};

use super::Error;

const SUFFIX: &str = ".lock";
/// Stands behind the process id of who holds a lock for a moment.
const BRIEFLY: &str = " briefly";

/// A held lock; released when dropped, and by the kernel when we are killed.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock of an activity on the node with this state directory.
    ///
    /// # Errors
    /// [`Error::Busy`] when somebody has it.
    pub fn take(state: &Path, activity: &str) -> Result<Self, Error> {
        Self::take_saying(state, activity, "")
    }

    /// The same, and says to whoever finds it locked that it is for a moment.
    ///
    /// # Errors
    /// [`Error::Busy`] when somebody has it.
    pub fn take_for_a_moment(state: &Path, activity: &str) -> Result<Self, Error> {
        Self::take_saying(state, activity, BRIEFLY)
    }

    fn take_saying(state: &Path, activity: &str, more: &str) -> Result<Self, Error> {
        let path = state.join(format!("{activity}{SUFFIX}"));
        let failed = |source| Error::State {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let (pid, is_brief) = holder(&mut file).unzip();
                return Err(Error::Busy {
                    activity: activity.to_owned(),
                    holder: pid.map_or_else(
                        || "another process".to_owned(),
                        |pid| format!("process {pid}"),
                    ),
                    path: path.clone(),
                    is_brief: is_brief.unwrap_or(false),
                });
            }
            Err(error) => return Err(failed(error.into())),
        }
        // Only for people: without it the lock is as good.
        let noted = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}{more}", std::process::id()));
        if let Err(error) = noted {
            tracing::debug!(%error, "the process id is not noted in a lock file");
        }
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A number that outlives its process may be another one's later.
        let _ = self.file.set_len(0);
        // Not left to the closing: a child that is being started holds a copy of the handle, and with it the lock, for a moment.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// An activity that somebody holds the lock of.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Held {
    /// What goes on, such as `serve` or `run-master`.
    pub activity: String,
    /// The process.
    pub pid: u32,
}

/// Every lock in a state directory that a living process holds.
///
/// A lock is only tried where its file names a process that lives, so that looking never gets into the way of one that is
/// about to start.
///
/// # Errors
/// [`Error::State`].
pub fn held(state: &Path) -> Result<Vec<Held>, Error> {
    let mut found = Vec::new();
    for (activity, path) in files(state)? {
        let Ok(mut file) = File::open(&path) else {
            continue;
        };
        let Some((pid, _)) = holder(&mut file).filter(|(pid, _)| is_alive(*pid)) else {
            continue;
        };
        let tried = flock(&file, FlockOperation::NonBlockingLockShared);
        if tried == Err(rustix::io::Errno::WOULDBLOCK) {
            found.push(Held { activity, pid });
        }
    }
    Ok(found)
}

/// Every activity that ever took a lock here.
///
/// # Errors
/// [`Error::State`].
pub(super) fn known(state: &Path) -> Result<Vec<String>, Error> {
    Ok(files(state)?.into_iter().map(|(name, _)| name).collect())
}

fn files(state: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let failed = |source| Error::State {
        path: state.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(state).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(activity) = name.strip_suffix(SUFFIX) {
            found.push((activity.to_owned(), entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// The process id in a lock's file, and whether it holds the lock for a moment only.
fn holder(file: &mut File) -> Option<(u32, bool)> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    let text = text.trim();
    let pid = text.strip_suffix(BRIEFLY);
    Some((pid.unwrap_or(text).parse().ok()?, pid.is_some()))
}

fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(held(dir.path()).unwrap(), []);
        let lock = Lock::take(dir.path(), "run-a").unwrap();
        let error = Lock::take(dir.path(), "run-a").unwrap_err().to_string();
        let pid = std::process::id();
        assert!(error.contains(&format!("process {pid}")), "{error}");
        let other = Lock::take(dir.path(), "run-b").unwrap();
        let names = |held: Vec<Held>| -> Vec<String> {
            assert!(held.iter().all(|held| held.pid == pid));
            held.into_iter().map(|held| held.activity).collect()
        };
        assert_eq!(names(held(dir.path()).unwrap()), ["run-a", "run-b"]);
        drop(other);
        assert_eq!(names(held(dir.path()).unwrap()), ["run-a"]);
        // As a child that is being started has it.
        let copy = lock.file.try_clone().unwrap();
        drop(lock);
        drop(Lock::take(dir.path(), "run-a").unwrap());
        drop(copy);
        // What a killed process left names it, and holds nothing.
        std::fs::write(dir.path().join("run-a.lock"), format!("{pid}\n")).unwrap();
        assert_eq!(held(dir.path()).unwrap(), []);
        drop(Lock::take(dir.path(), "run-a").unwrap());
        assert_eq!(known(dir.path()).unwrap(), ["run-a", "run-b"]);
    }
}
