//! Bytes that go for good, to make room: no trash, since somebody else has them.
//!
//! ```text
//! the name is moved into staging        nobody finds it any more
//! is it the file that was meant?        if not, it goes back, unless its name was taken meanwhile
//! its directory is synced, then it is removed
//! ```
//!
//! Looking first and removing then would take a version that somebody publishes in between.

use rustix::io::Errno;

use super::trash::cannot_move;
use super::{Error, Staging, Stat, Store, parent_text};
use crate::model::{FileKind, MediaPath};

impl Store {
    /// Takes a file away if its size and its second of time are those of `meant`; `false` when there is none, or another one, which
    /// stays. A kill in the middle leaves the file in its place or in `staging`, which the next sweep empties. Whoever has it open
    /// reads on.
    ///
    /// # Errors
    /// [`Error::NoMarker`] and its like, [`Error::OtherVolume`] where the tree lies on another volume than staging, [`Error::NotAFile`] or
    /// [`Error::Escapes`] when something else has the name; system errors.
    pub fn take_out(
        &self,
        staging: &Staging,
        (kind, path): (FileKind, &MediaPath),
        meant: Stat,
    ) -> Result<bool, Error> {
        self.check_marker()?;
        let dirs = &self.0.dirs;
        let tree = self.tree(kind)?;
        let Some(dir) = dirs.find(&tree, parent_text(path))? else {
            return Ok(false);
        };
        let is_meant = |found: Option<Stat>| {
            found.is_some_and(|found| {
                let same_time = found.modified.whole_second() == meant.modified.whole_second();
                found.size == meant.size && same_time
            })
        };
        if !is_meant(dir.look(path.name())?) {
            return Ok(false);
        }
        let (aside, sys, name) = (staging.dir(), dirs.sys(), staging.fresh_name());
        match sys.rename(dir.fd(), path.name(), aside.fd(), &name) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(cannot_move(dir.path_of(path.name()), errno)),
        }
        let is_it = is_meant(aside.look(&name)?);
        if !is_it {
            match sys.link(aside.fd(), &name, dir.fd(), path.name()) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(cannot_move(dir.path_of(path.name()), errno)),
            }
        }
        dirs.sync(&dir)
            .map_err(|errno| Error::of("sync", dir.path(), errno))?;
        sys.unlink(aside.fd(), &name)
            .map_err(|errno| Error::of("remove", aside.path_of(&name), errno))?;
        if is_it {
            dirs.prune(&tree, parent_text(path));
        }
        Ok(is_it)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Publish, RealSys};
    use super::*;
    use crate::model::{CatalogId, NodeId, Timestamp};

    #[test]
    fn only_the_file_that_is_meant_goes_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (catalog, node) = (
            CatalogId::new("assets/catalog").unwrap(),
            NodeId::new("n").unwrap(),
        );
        Store::init(dir.path(), &catalog, &node).unwrap();
        let store = Store::open(dir.path(), &catalog, Arc::new(RealSys)).unwrap();
        let staging = store.staging("test").unwrap();
        let path = MediaPath::new("a/b/c.jpg").unwrap();
        let file = (FileKind::Original, &path);
        let mut staged = staging.create().unwrap();
        staged.write_all(b"twelve bytes").unwrap();
        let publish = Publish {
            content: staged.into(),
            kind: file.0,
            path: path.clone(),
            modified: Timestamp::from_millis(1_772_358_067_512),
            keep_replaced: false,
        };
        store.publish(vec![publish]).pop().unwrap().unwrap();
        let there = store.stat(file.0, &path).unwrap().unwrap();
        for other in [
            Stat { size: 11, ..there },
            Stat {
                modified: Timestamp::from_millis(0),
                ..there
            },
        ] {
            assert!(!store.take_out(&staging, file, other).unwrap());
            assert_eq!(store.stat(file.0, &path).unwrap(), Some(there));
        }
        let open = store.open_file(file.0, &path).unwrap().unwrap();
        assert!(store.take_out(&staging, file, there).unwrap());
        assert_eq!(std::io::read_to_string(open.file).unwrap(), "twelve bytes");
        assert_eq!(store.stat(file.0, &path).unwrap(), None);
        assert!(!store.take_out(&staging, file, there).unwrap());
        assert_eq!(staging.sweep().unwrap(), 0, "nothing lies in staging");
        let tree = dir.path().join("assets/catalog/originals");
        assert_eq!(std::fs::read_dir(tree).unwrap().count(), 0);
        assert_eq!(store.walk(FileKind::Original).count(), 0);
    }
}
