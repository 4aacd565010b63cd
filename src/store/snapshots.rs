//! Copies of the catalogue beside the media: `.emsync/snapshots/catalogue-<yyyymmddThhmmss.mmm>[-before-<version>].db`.
//!
//! The database writes a copy by itself, into an empty file that was made here; it gets its name only after it is complete
//! and synced, so a name stands for a whole copy. What a kill leaves ends in `.new` and is swept by the next one. The marker
//! is looked at first: on a volume that is not there, nothing is written.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::dirs::Dir;
use super::error::Error;
use super::trash::stamp;
use super::{OWN, Store};
use crate::model::Timestamp;
use crate::seams::Seams;

const DIR: &str = "snapshots";
const PREFIX: &str = "catalogue-";
const SUFFIX: &str = ".db";
const BEFORE: &str = "-before-";
const NEW: &str = ".new";

/// The directory of the copies.
#[derive(Debug)]
pub struct Snapshots {
    store: Store,
    dir: Arc<Dir>,
}

/// One copy.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Snapshot {
    /// Its file name.
    pub name: String,
    /// When it was taken, as its name says.
    pub taken_at: Timestamp,
    /// Bytes.
    pub size: u64,
}

impl Store {
    /// The snapshots of this root's catalogue; the directory is made where it is missing.
    ///
    /// # Errors
    /// [`Error::NoMarker`] and its like; system errors.
    pub fn snapshots(&self) -> Result<Snapshots, Error> {
        self.check_marker()?;
        let dirs = &self.0.dirs;
        let dir = dirs.make(&dirs.fixed(OWN)?, DIR)?;
        Ok(Snapshots {
            store: self.clone(),
            dir,
        })
    }
}

impl Snapshots {
    /// All copies, oldest first. Files with other names are not ours.
    ///
    /// # Errors
    /// System errors.
    pub fn list(&self) -> Result<Vec<Snapshot>, Error> {
        let mut found = Vec::new();
        for name in self.dir.names()? {
            let Some((name, taken_at)) = name
                .into_string()
                .ok()
                .and_then(|name| taken_at(&name).map(|at| (name, at)))
            else {
                continue;
            };
            if let Ok(Some(stat)) = self.dir.look(&name) {
                found.push(Snapshot {
                    name,
                    taken_at,
                    size: stat.size,
                });
            }
        }
        found.sort_by(|a, b| (a.taken_at, &a.name).cmp(&(b.taken_at, &b.name)));
        Ok(found)
    }

    /// Where a copy lies, for messages and for the database.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.store.root().join(self.dir.path_of(name))
    }

    /// Opens a copy for reading; `None` when there is none of this name.
    ///
    /// # Errors
    /// System errors.
    pub fn open(&self, name: &str) -> Result<Option<File>, Error> {
        Ok(self.dir.open_file(name)?.map(|(fd, _)| File::from(fd)))
    }

    /// Makes an empty file for a new copy, and removes what killed ones left. One at a time: the caller holds a lock.
    ///
    /// # Errors
    /// System errors.
    pub fn begin(self) -> Result<NewSnapshot, Error> {
        for name in self.dir.names()? {
            let name = name.to_string_lossy().into_owned();
            // The database's own journal beside a copy, too.
            if name.starts_with(PREFIX) && name.contains(NEW) {
                self.remove(&name)?;
            }
        }
        let name = format!("{PREFIX}{}{NEW}", Seams::os().random_hex(8));
        let sys = self.store.0.dirs.sys();
        let file = sys
            .create(self.dir.fd(), &name)
            .map_err(|errno| Error::of("make", self.dir.path_of(&name), errno))?;
        Ok(NewSnapshot {
            at: self,
            file,
            name,
            is_published: false,
        })
    }

    /// Removes the oldest copies until `most` are left.
    fn keep(&self, most: usize) -> Result<(), Error> {
        let all = self.list()?;
        let old = all.len().saturating_sub(most);
        for snapshot in &all[..old] {
            self.remove(&snapshot.name)?;
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        match self.store.0.dirs.sys().unlink(self.dir.fd(), name) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::of("remove", self.dir.path_of(name), errno)),
        }
    }
}

/// A copy that is being written. Dropped without [`publish`](Self::publish), it goes.
#[derive(Debug)]
pub struct NewSnapshot {
    at: Snapshots,
    file: OwnedFd,
    name: String,
    is_published: bool,
}

impl NewSnapshot {
    /// The empty file that the database writes into.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.at.path(&self.name)
    }

    /// Gives the complete copy its name, durably, and then removes the oldest ones until `most` are left. `before` is the
    /// schema version that a migration is about to make of it.
    ///
    /// # Errors
    /// [`Error::Escapes`] when something else has taken the file's place; system errors.
    pub fn publish(
        mut self,
        taken_at: Timestamp,
        before: Option<&str>,
        most: usize,
    ) -> Result<Snapshot, Error> {
        let dir = &self.at.dir;
        let failed = |op| {
            let path = dir.path_of(&self.name);
            move |errno| Error::of(op, path, errno)
        };
        let held = rustix::fs::fstat(&self.file).map_err(failed("stat"))?;
        let named = rustix::fs::statat(dir.fd(), &self.name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("stat"))?;
        if (held.st_dev, held.st_ino) != (named.st_dev, named.st_ino) {
            return Err(Error::Escapes {
                path: dir.path_of(&self.name),
            });
        }
        let before = before.map_or_else(String::new, |version| format!("{BEFORE}{version}"));
        let name = format!("{PREFIX}{}{before}{SUFFIX}", stamp(taken_at));
        let sys = self.at.store.0.dirs.sys();
        sys.sync_file(self.file.as_fd()).map_err(failed("sync"))?;
        sys.rename(dir.fd(), &self.name, dir.fd(), &name)
            .map_err(failed("name"))?;
        sys.sync_dir(dir.fd()).map_err(failed("sync"))?;
        let snapshot = Snapshot {
            name,
            taken_at,
            size: u64::try_from(held.st_size).unwrap_or(0),
        };
        self.is_published = true;
        self.at.keep(most)?;
        Ok(snapshot)
    }
}

impl Drop for NewSnapshot {
    fn drop(&mut self) {
        if self.is_published {
            return;
        }
        if let Err(error) = self.at.remove(&self.name) {
            tracing::debug!(%error, "a snapshot that was not finished stays until the next one");
        }
    }
}

/// The moment in a copy's name: `catalogue-20260301T094107.512[-before-5].db`.
fn taken_at(name: &str) -> Option<Timestamp> {
    let rest = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let stamp = rest.split_once(BEFORE).map_or(rest, |(stamp, _)| stamp);
    if stamp.len() != 19 || !stamp.is_ascii() {
        return None;
    }
    let (date, time) = stamp.split_once('T')?;
    let iso = format!(
        "{}-{}-{}T{}:{}:{}Z",
        date.get(..4)?,
        date.get(4..6)?,
        date.get(6..)?,
        time.get(..2)?,
        time.get(2..4)?,
        time.get(4..)?
    );
    let time: jiff::Timestamp = iso.parse().ok()?;
    Some(Timestamp::from_millis(time.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{CatalogId, NodeId};
    use crate::store::RealSys;

    fn store(dir: &tempfile::TempDir) -> Store {
        let catalog = CatalogId::new("assets/catalog").unwrap();
        let node = NodeId::new("n1").unwrap();
        Store::init(dir.path(), &catalog, &node).unwrap();
        Store::open(dir.path(), &catalog, Arc::new(RealSys)).unwrap()
    }

    fn day(n: i64) -> Timestamp {
        Timestamp::from_millis(1_772_358_067_512 + n * 86_400_000)
    }

    #[test]
    fn names_say_when_and_foreign_names_are_left_alone() {
        for (name, at) in [
            ("catalogue-20260301T094107.512.db", Some(day(0))),
            ("catalogue-20260301T094107.512-before-5.db", Some(day(0))),
            ("catalogue-20261301T094107.512.db", None),
            ("catalogue-2026.db", None),
            ("catalogue-ab.new", None),
            ("catalogue-20260301Tüüü107.512.db", None),
        ] {
            assert_eq!(taken_at(name), at, "{name}");
        }
    }

    #[test]
    fn the_newest_are_kept_and_an_unfinished_one_has_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let stray = store.snapshots().unwrap().path("notes.txt");
        std::fs::write(&stray, "mine").unwrap();
        for n in 0..5 {
            let new = store.snapshots().unwrap().begin().unwrap();
            std::fs::write(new.path(), format!("copy {n}")).unwrap();
            let before = (n == 3).then_some("2");
            let made = new.publish(day(n), before, 3).unwrap();
            assert_eq!(made.size, 6);
        }
        let listed = store.snapshots().unwrap().list().unwrap();
        let days: Vec<_> = listed.iter().map(|snapshot| snapshot.taken_at).collect();
        assert_eq!(days, [day(2), day(3), day(4)]);
        assert!(listed[1].name.ends_with("-before-2.db"));

        let killed = store.snapshots().unwrap().begin().unwrap();
        let left = killed.path();
        std::mem::forget(killed);
        drop(store.snapshots().unwrap().begin().unwrap());
        assert!(!left.exists() && stray.exists());
        assert_eq!(store.snapshots().unwrap().list().unwrap(), listed);
    }

    #[test]
    fn nothing_is_written_without_the_marker_or_through_a_planted_link() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let new = store.snapshots().unwrap().begin().unwrap();
        let outside = dir.path().join("outside");
        std::fs::remove_file(new.path()).unwrap();
        std::os::unix::fs::symlink(&outside, new.path()).unwrap();
        assert!(matches!(
            new.publish(day(0), None, 7),
            Err(Error::Escapes { .. })
        ));
        std::fs::remove_file(dir.path().join(".emsync/root.json")).unwrap();
        assert!(matches!(store.snapshots(), Err(Error::NoMarker { .. })));
    }
}
