//! Directories that something is placed in: made where they are missing, and known to be durable.
//!
//! A directory that we find may have been made by a process that died, or by a thread that is still at work, before its parent
//! was synced; so the first time a process places something in a directory it syncs the parent, and remembers that it did.
//! Until then that sync is *owed*, and whoever makes many directories at once pays for all of them together: a parent of a
//! thousand new folders is synced once.

use std::collections::HashMap;
use std::sync::Arc;

use rustix::io::Errno;

use super::super::error::Error;
use super::{Dir, Dirs, cannot_enter, join};
use crate::crash::{self, Point};

/// Known directories at most; beyond that all are forgotten, which costs one sync each and nothing else.
const KNOWN: usize = 20_000;

/// A directory to place something in, and what has to be synced before that is durable.
#[derive(Debug)]
pub(in super::super) struct Place {
    /// The directory.
    pub(in super::super) dir: Arc<Dir>,
    /// Directories on the way to it, from the top, whose own names may not be durable yet.
    owed: Vec<Owed>,
}

/// A directory whose name in its parent may not be durable.
#[derive(Debug)]
struct Owed {
    parent: Arc<Dir>,
    dir: Arc<Dir>,
    name: String,
    /// Whether we made it; it goes again when its parent cannot be synced.
    is_made: bool,
}

/// The directory that could not be synced, and why.
pub(in super::super) type Unsynced = (String, Errno);

impl Place {
    /// Syncs that are owed, at most.
    pub(in super::super) fn owes(&self) -> usize {
        self.owed.len()
    }
}

impl Dirs {
    /// The directory `rel` below `base`, made durably where it is missing; `base` itself when `rel` is empty.
    pub(in super::super) fn make(&self, base: &Dir, rel: &str) -> Result<Arc<Dir>, Error> {
        let place = self.enter(base, rel)?;
        match self.pay(&[&place]).remove(0) {
            Ok(()) => Ok(place.dir),
            Err((path, errno)) => Err(Error::of("sync", path, errno)),
        }
    }

    /// The directory `rel` below `base`, made where it is missing; what it owes is still to be paid.
    pub(in super::super) fn enter(&self, base: &Dir, rel: &str) -> Result<Place, Error> {
        let mut owed = Vec::new();
        let dir = self.enter_owing(base, rel, &mut owed);
        let dir = dir.inspect_err(|_| self.take_away(owed.iter()))?;
        Ok(Place { dir, owed })
    }

    fn enter_owing(&self, base: &Dir, rel: &str, owed: &mut Vec<Owed>) -> Result<Arc<Dir>, Error> {
        let path = join(&base.path, rel);
        if rel.is_empty() || self.known().contains(&path) {
            match self.resolver.open(base.fd(), rel) {
                Ok(fd) => return Ok(Arc::new(Dir { fd, path })),
                Err(Errno::NOENT) if !rel.is_empty() => {}
                Err(errno) => return Err(cannot_enter(path, errno)),
            }
        }
        let mut dir = self.enter_owing(base, "", owed)?;
        for element in rel.split('/') {
            dir = self.enter_one(&dir, element, owed)?;
        }
        Ok(dir)
    }

    fn enter_one(
        &self,
        parent: &Arc<Dir>,
        name: &str,
        owed: &mut Vec<Owed>,
    ) -> Result<Arc<Dir>, Error> {
        let path = parent.path_of(name);
        let is_made = match self.sys.mkdir(parent.fd(), name) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(Errno::NOENT) => return Err(Error::Vanished { path }),
            Err(errno) => return Err(Error::of("make", path, errno)),
        };
        if is_made {
            crash::point(Point::DirMade)?;
        }
        let fd = self
            .resolver
            .open(parent.fd(), name)
            .map_err(|errno| cannot_enter(path.clone(), errno))?;
        let is_known = !is_made && self.known().contains(&path);
        let dir = Arc::new(Dir { fd, path });
        if !is_known {
            owed.push(Owed {
                parent: Arc::clone(parent),
                dir: Arc::clone(&dir),
                name: name.to_owned(),
                is_made,
            });
        }
        Ok(dir)
    }

    /// Syncs what these places owe, each directory once, and says for each whether all of its own went well. What was made for
    /// the others goes again: to sync it once more would prove nothing, so the next try has to find it missing.
    pub(in super::super) fn pay(&self, places: &[&Place]) -> Vec<Result<(), Unsynced>> {
        let mut synced = HashMap::new();
        let paid: Vec<Result<(), Unsynced>> = places
            .iter()
            .map(|place| {
                place.owed.iter().try_for_each(|owed| {
                    let path = owed.parent.path();
                    let sync = || self.sync(&owed.parent);
                    let answer = *synced.entry(path.to_owned()).or_insert_with(sync);
                    answer.map_err(|errno| (path.to_owned(), errno))
                })
            })
            .collect();
        for (place, paid) in places.iter().zip(&paid) {
            if paid.is_ok() {
                self.note_paid(place);
            }
        }
        let unpaid = places.iter().zip(&paid).filter(|(_, paid)| paid.is_err());
        self.take_away(unpaid.flat_map(|(place, _)| &place.owed));
        paid
    }

    /// Remembers that all a place owed was synced.
    pub(in super::super) fn note_paid(&self, place: &Place) {
        if place.owed.is_empty() {
            return;
        }
        let mut known = self.known();
        for owed in &place.owed {
            // One that `prune` took away meanwhile may be made anew by somebody who has not synced it yet.
            if !owed.dir.is_there() {
                continue;
            }
            if known.len() >= KNOWN {
                known.clear();
            }
            known.insert(owed.dir.path.clone());
        }
    }

    /// Removes directories again that were made, what lies deepest first, as far as they are empty.
    fn take_away<'a>(&self, owed: impl Iterator<Item = &'a Owed>) {
        let mut made: Vec<&Owed> = owed.filter(|owed| owed.is_made).collect();
        made.sort_by_key(|owed| std::cmp::Reverse(owed.dir.path.len()));
        for owed in made {
            let _ = self.sys.rmdir(owed.parent.fd(), &owed.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use super::*;
    use crate::store::conformance::Fixture;
    use crate::store::faults::{Call, Faulty, fail_each_call};
    use crate::store::{Sys, dirs::Resolver};

    const FOLDERS: [&str; 5] = ["a/x", "a/y", "b", "c/d/e", "c"];

    fn publish(f: &Fixture) -> usize {
        let files = FOLDERS.map(|folder| format!("{folder}/file"));
        let batch = files.iter().filter_map(|file| f.try_item(file, b"x").ok());
        let answers = f.store.publish(batch.collect());
        answers.iter().filter(|answer| answer.is_ok()).count()
    }

    fn one_by_one(sys: &Arc<Faulty>) -> Fixture {
        sys.fail_syncs_of_everything();
        Fixture::with(Resolver::Steps, Arc::clone(sys) as Arc<dyn Sys>)
    }

    #[test]
    fn new_folders_share_the_sync_of_their_parent() {
        let sys = Arc::new(Faulty::at(0, Errno::IO));
        let f = one_by_one(&sys);
        assert_eq!(publish(&f), FOLDERS.len());
        let tree = fs::metadata(f.on_disk("")).unwrap().ino();
        let calls = sys.calls();
        let syncs = calls
            .iter()
            .filter(|call| **call == Call::SyncDir { dir: tree });
        assert_eq!(syncs.count(), 1);
        let made = calls
            .iter()
            .filter(|call| matches!(call, Call::Mkdir { dir, .. } if *dir == tree));
        assert_eq!(made.count(), 3);
    }

    #[test]
    fn whatever_call_fails_no_folder_stays_that_was_not_synced_into_its_parent() {
        fn assert_synced(dir: &Path, calls: &[Call]) {
            for entry in fs::read_dir(dir).unwrap() {
                let (path, meta) = entry.map(|e| (e.path(), e.metadata().unwrap())).unwrap();
                if !meta.is_dir() {
                    continue;
                }
                let made =
                    |call: &Call| matches!(call, Call::Mkdir { made, .. } if *made == meta.ino());
                let at = calls
                    .iter()
                    .rposition(made)
                    .expect("nobody else makes folders");
                let parent = fs::metadata(dir).unwrap().ino();
                assert!(
                    calls[at..].contains(&Call::SyncDir { dir: parent }),
                    "{path:?}"
                );
                assert_synced(&path, calls);
            }
        }
        fail_each_call(|sys| {
            let f = one_by_one(&sys);
            let good = publish(&f);
            assert!(sys.fired() || good == FOLDERS.len());
            assert_synced(&f.on_disk(""), &sys.calls());
            sys.heal();
            assert_eq!(publish(&f), FOLDERS.len());
        });
    }

    #[test]
    fn a_folder_that_went_before_it_was_paid_for_is_not_taken_for_durable() {
        let f = Fixture::new(Resolver::Steps);
        let dirs = &f.store.0.dirs;
        let tree = f.store.tree(crate::store::conformance::KIND).unwrap();
        let gone = dirs.enter(&tree, "a").unwrap();
        dirs.prune(&tree, "a");
        assert!(dirs.pay(&[&gone])[0].is_ok());
        assert_eq!(dirs.enter(&tree, "a").unwrap().owes(), 1);
        assert_eq!(dirs.pay(&[&dirs.enter(&tree, "a").unwrap()]), [Ok(())]);
        assert_eq!(dirs.enter(&tree, "a").unwrap().owes(), 0);
    }
}
