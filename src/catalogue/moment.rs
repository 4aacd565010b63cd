//! Whether anything was committed since a moment ago, by any process, for less than the price of a question to the engine.
//!
//! In write-ahead mode the engine keeps an index of the log in a file of its own that all processes share. It begins with two
//! copies of a header of 48 bytes that every commit writes anew before it is over: a counter of transactions, the length of the log,
//! its salts and checksums (sqlite.org/walformat.html, section 2.2). Equal headers, then, are one state of the catalogue. Both
//! copies must be equal, or one is just being written; a format that is not the one we know tells nothing.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::Catalogue;

/// The format that this reads; the engine has not changed it since 2010.
const VERSION: [u8; 4] = 3_007_000_u32.to_ne_bytes();
const HEADER: usize = 48;

/// A state of the catalogue: two that are equal are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment([u8; HEADER]);

/// The index of the log, opened when it is first asked.
///
/// From then on it is never closed: with the first handle on a file that a process closes, the system takes away all locks that
/// the process has on it, and the engine's are on this one. So whoever never asks costs no handle, and a node that serves one.
#[derive(Debug, Clone)]
pub(super) struct LogIndex {
    path: Arc<Path>,
    file: Arc<OnceLock<Option<ManuallyDrop<File>>>>,
}

impl LogIndex {
    /// The index of the catalogue at this path.
    pub(super) fn of(catalogue: &Path) -> Self {
        let mut path = catalogue.as_os_str().to_owned();
        path.push("-shm");
        Self {
            path: PathBuf::from(path).into(),
            file: Arc::default(),
        }
    }

    fn file(&self) -> Option<&File> {
        let opened = self
            .file
            .get_or_init(|| File::open(&self.path).ok().map(ManuallyDrop::new));
        opened.as_deref()
    }

    fn moment(&self) -> Option<Moment> {
        use std::os::unix::fs::FileExt as _;
        let mut both = [0; 2 * HEADER];
        self.file()?.read_exact_at(&mut both, 0).ok()?;
        let (one, other) = both.split_at(HEADER);
        let is_whole = one == other && one.starts_with(&VERSION);
        is_whole.then(|| Moment(one.try_into().expect("split at its length")))
    }
}

impl Catalogue {
    /// The state of the catalogue right now; `None` where that cannot be told. What is read after this call is of this state
    /// or of a later one.
    #[must_use]
    pub fn moment(&self) -> Option<Moment> {
        self.db.log_index.as_ref()?.moment()
    }
}

#[cfg(test)]
mod tests {
    use crate::catalogue::{AccessKey, Catalogue, Scope};
    use crate::model::{Sha256, Timestamp};

    fn key(name: &str) -> AccessKey {
        AccessKey {
            id: name.to_owned(),
            name: name.to_owned(),
            hash: Sha256::of(name.as_bytes()),
            scope: Scope::Read,
            created_at: Timestamp::EPOCH,
        }
    }

    /// As another process would, `other` has connections of its own.
    #[tokio::test]
    async fn every_commit_of_anybody_makes_another_moment_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.db");
        let catalogue = Catalogue::open(&path).await.unwrap();
        let other = Catalogue::open(&path).await.unwrap();
        let mut seen = vec![catalogue.moment().unwrap()];
        for round in 0..200 {
            let who = if round % 2 == 0 { &catalogue } else { &other };
            let mut batch = who.batch().await.unwrap();
            batch.put_key(&key(&format!("k{round}"))).await.unwrap();
            assert_eq!(
                catalogue.moment(),
                seen.last().copied(),
                "nothing is committed yet"
            );
            batch.commit().await.unwrap();
            let now = catalogue.moment().unwrap();
            assert!(!seen.contains(&now));
            assert_eq!(other.moment(), Some(now));
            catalogue.keys().await.unwrap();
            assert_eq!(catalogue.moment(), Some(now), "reading changes nothing");
            seen.push(now);
        }
        let mut batch = catalogue.batch().await.unwrap();
        batch.put_key(&key("dropped")).await.unwrap();
        drop(batch);
        catalogue.keys().await.unwrap();
        assert_eq!(catalogue.moment(), seen.last().copied());
    }

    #[tokio::test]
    async fn a_catalogue_whose_moment_nobody_asked_for_leaves_no_handle_behind() {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let handles = std::fs::read_dir("/proc/self/fd").unwrap();
            let links = handles.filter_map(|handle| std::fs::read_link(handle.ok()?.path()).ok());
            links.filter(|link| link.starts_with(dir.path())).count()
        };
        let path = dir.path().join("c.db");
        for _ in 0..3 {
            let catalogue = Catalogue::open(&path).await.unwrap();
            assert!(open() > 0);
            catalogue.close().await;
            assert_eq!(open(), 0);
        }
        let catalogue = Catalogue::open(&path).await.unwrap();
        assert_eq!(catalogue.moment(), catalogue.clone().moment());
        catalogue.close().await;
        assert_eq!(open(), 1, "one for as long as we run, or locks would go");
    }
}
