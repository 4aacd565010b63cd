//! What was read of the catalogue and still holds: who has which key, what lies under which name, what is
//! anybody's.
//!
//! Nothing of it is older than the catalogue is. It is kept with the moment it was read at, and thrown away as soon as anybody
//! commits anything ([`Moment`]); where the moment cannot be told nothing is kept. Who lists files fetches them next, so what a
//! listing showed is kept while there is room. Many that ask for names at the same time are answered with one question, for each
//! question costs as much as a hundred rows.
//!
//! Bounded: [`MOST_BYTES`] of rows, the oldest going first, [`MOST_ASSETS`], and as many names in line as there are connections.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use super::error::Error;
use crate::catalogue::{AccessKey, Catalogue, FileRow, Moment};
use crate::model::{AssetId, FileKind, MediaPath};
use crate::protocol::record;

/// Rows that are kept, in bytes.
const MOST_BYTES: usize = 16 << 20;
/// Keys that are kept; a node has one for each of its peers.
const MOST_KEYS: usize = 256;
/// Assets of which it is kept whether they are public.
const MOST_ASSETS: usize = 65_536;
/// Names in one question.
const NAMES: usize = 256;

type Name = (FileKind, MediaPath);
/// Files of one name.
type Rows = Arc<[FileRow]>;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Known(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    catalogue: Catalogue,
    kept: Mutex<Kept>,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Kept {
    at: Option<Moment>,
    keys: HashMap<String, AccessKey>,
    rows: HashMap<Name, Named>,
    /// Whether the generated files of an asset are anybody's.
    public: HashMap<AssetId, bool>,
    /// Names in the order they came.
    order: VecDeque<Name>,
    bytes: usize,
}

/// What is kept under a name.
#[derive(Debug, Clone)]
struct Named {
    rows: Rows,
    /// Whether these are all files of the name, or those that a listing showed.
    are_all: bool,
}

impl Named {
    /// As [`FileRow::meant`]; `None` when that cannot be told from what is kept.
    fn meant(&self, asset: Option<&AssetId>) -> Option<Option<&FileRow>> {
        if self.are_all {
            return Some(FileRow::meant(&self.rows, asset));
        }
        let own = self.rows.iter().find(|row| Some(&row.file.asset) == asset);
        own.map(Some)
    }
}

/// Those who wait for the next question.
#[derive(Debug, Default)]
struct Line {
    is_served: bool,
    waiting: Vec<(Name, oneshot::Sender<Rows>)>,
}

impl Known {
    pub(super) fn new(catalogue: Catalogue) -> Self {
        Self(Arc::new(Inner {
            catalogue,
            kept: Mutex::default(),
            line: Mutex::default(),
        }))
    }

    /// The key with this public id.
    pub(super) async fn key(&self, id: &str) -> Result<Option<AccessKey>, Error> {
        let now = self.0.catalogue.moment();
        if let Some(key) = self.0.kept().of(now).keys.get(id) {
            return Ok(Some(key.clone()));
        }
        let key = self.0.catalogue.key(id).await?;
        if let Some(key) = &key
            && now.is_some()
        {
            let mut kept = self.0.kept();
            let kept = kept.of(now);
            if kept.keys.len() < MOST_KEYS {
                kept.keys.insert(id.to_owned(), key.clone());
            }
        }
        Ok(key)
    }

    /// The file that a name stands for, as [`Catalogue::file_named`] finds it.
    pub(super) async fn file(
        &self,
        kind: FileKind,
        path: &MediaPath,
        asset: Option<&AssetId>,
    ) -> Result<Option<FileRow>, Error> {
        let name = (kind, path.clone());
        let now = self.0.catalogue.moment();
        let kept = self.0.kept().of(now).rows.get(&name).cloned();
        if let Some(meant) = kept.as_ref().and_then(|named| named.meant(asset)) {
            return Ok(meant.cloned());
        }
        match self.ask(name).await {
            Ok(rows) => Ok(FileRow::meant(&rows, asset).cloned()),
            // What went wrong is this request's own to find out.
            Err(_) => Ok(self.0.catalogue.file_named(kind, path, asset).await?),
        }
    }

    /// Whether the record of an asset lets anybody have its generated files; one that is not here lets nobody.
    pub(super) async fn is_public(&self, asset: &AssetId) -> Result<bool, Error> {
        let now = self.0.catalogue.moment();
        if let Some(is_public) = self.0.kept().of(now).public.get(asset) {
            return Ok(*is_public);
        }
        let key = asset.key();
        let stored = self.0.catalogue.record(&key).await?;
        let is_public = stored.is_some_and(|stored| record::is_public(&stored.record));
        if now.is_some() {
            let mut kept = self.0.kept();
            let public = &mut kept.of(now).public;
            if public.len() < MOST_ASSETS {
                public.insert(asset.clone(), is_public);
            }
        }
        Ok(is_public)
    }

    /// Keeps what a listing showed, which was read at `then` or later.
    pub(super) fn listed(&self, then: Option<Moment>, rows: &[FileRow]) {
        if then.is_some() {
            self.0.kept().of(then).keep_listed(rows);
        }
    }

    async fn ask(&self, name: Name) -> Result<Rows, oneshot::error::RecvError> {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut line = self.0.line();
            line.waiting.push((name, answer));
            !std::mem::replace(&mut line.is_served, true)
        };
        if is_first {
            let serving = Serving(Arc::clone(&self.0));
            tokio::spawn(async move { while serving.next().await {} });
        }
        answered.await
    }
}

/// Answers those in line until nobody is left. Should it ever break off, the next one in line begins anew.
struct Serving(Arc<Inner>);

impl Serving {
    /// Answers some; `false` when nobody waited.
    async fn next(&self) -> bool {
        let asked = {
            let mut line = self.0.line();
            let some = line.waiting.len().min(NAMES);
            if some == 0 {
                line.is_served = false;
                return false;
            }
            line.waiting.drain(..some).collect::<Vec<_>>()
        };
        // Whoever gets no answer asks for himself, and learns what is wrong.
        let Ok(found) = self.rows(&asked).await else {
            return true;
        };
        for (name, answer) in asked {
            let rows = found.get(&name).cloned().unwrap_or_default();
            // Nobody waits any more: the client went away.
            let _ = answer.send(rows);
        }
        true
    }

    /// The rows of all these names, and keeps them.
    async fn rows<T>(&self, asked: &[(Name, T)]) -> Result<HashMap<Name, Rows>, Error> {
        let now = self.0.catalogue.moment();
        let mut found: HashMap<Name, Vec<FileRow>> = HashMap::new();
        for kind in [FileKind::Original, FileKind::Generated] {
            let of_kind = asked.iter().filter(|((of, _), _)| *of == kind);
            let paths: Vec<&str> = of_kind.map(|((_, path), _)| path.as_str()).collect();
            for row in self.0.catalogue.files_at(kind, &paths).await? {
                let name = (kind, row.file.path.clone());
                found.entry(name).or_default().push(row);
            }
        }
        let found: HashMap<Name, Rows> = found
            .into_iter()
            .map(|(name, rows)| (name, rows.into()))
            .collect();
        if now.is_some() {
            self.0.kept().of(now).keep(&found);
        }
        Ok(found)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let mut line = self.0.line();
        line.is_served = false;
        line.waiting.clear();
    }
}

impl Inner {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no panic while rows are held")
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().expect("no panic while the line is held")
    }
}

impl Kept {
    /// What is kept of a moment: nothing, unless it is the one that everything here was read at.
    fn of(&mut self, now: Option<Moment>) -> &mut Self {
        if now.is_none() || self.at != now {
            *self = Self {
                at: now,
                ..Self::default()
            };
        }
        self
    }

    fn keep(&mut self, found: &HashMap<Name, Rows>) {
        for (name, rows) in found {
            let rows = Arc::clone(rows);
            self.put(
                name.clone(),
                Named {
                    rows,
                    are_all: true,
                },
            );
        }
        while self.bytes > MOST_BYTES {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            if let Some(named) = self.rows.remove(&oldest) {
                self.bytes -= size(&oldest, &named.rows);
            }
        }
    }

    /// Keeps rows while there is room: the first ones of a listing are fetched first.
    fn keep_listed(&mut self, rows: &[FileRow]) {
        for row in rows {
            if self.bytes > MOST_BYTES {
                return;
            }
            let name = (row.file.kind, row.file.path.clone());
            let (mut listed, mut are_all) = (vec![row.clone()], false);
            if let Some(named) = self.rows.get(&name) {
                let others = named
                    .rows
                    .iter()
                    .filter(|of| of.file.asset != row.file.asset);
                listed.extend(others.cloned());
                are_all = named.are_all;
            }
            let rows = listed.into();
            self.put(name, Named { rows, are_all });
        }
    }

    fn put(&mut self, name: Name, named: Named) {
        self.bytes += size(&name, &named.rows);
        match self.rows.entry(name) {
            Entry::Occupied(mut known) => {
                let former = known.insert(named);
                self.bytes -= size(known.key(), &former.rows);
            }
            Entry::Vacant(free) => {
                self.order.push_back(free.key().clone());
                free.insert(named);
            }
        }
    }
}

/// About what an entry takes: each path stands in it four times, twice as its name.
fn size((_, path): &Name, rows: &Rows) -> usize {
    let row = size_of::<FileRow>() + 2 * path.as_str().len();
    2 * (size_of::<Name>() + path.as_str().len()) + rows.len() * row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Scope;
    use crate::model::{MediaFile, Sha256, Timestamp};

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    /// What answers, and a handle such as another process would have.
    async fn known() -> (tempfile::TempDir, Known, Catalogue) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.db");
        let known = Known::new(Catalogue::open(&path).await.unwrap());
        let other = Catalogue::open(&path).await.unwrap();
        (dir, known, other)
    }

    fn file(path: &str, asset: &str, place: Option<&str>, size: u64) -> MediaFile {
        MediaFile {
            kind: FileKind::Original,
            path: MediaPath::new(path).unwrap(),
            place: place.map(|place| MediaPath::new(place).unwrap()),
            asset: AssetId::new(asset).unwrap(),
            size,
            modified: NOW,
            sha256: Sha256::of(&size.to_le_bytes()),
            md5: None,
            authored: false,
            fingerprint: None,
        }
    }

    async fn put(catalogue: &Catalogue, files: &[MediaFile]) {
        let mut batch = catalogue.batch().await.unwrap();
        for file in files {
            batch.put_file(file, NOW).await.unwrap();
        }
        batch.commit().await.unwrap();
    }

    async fn size_of_file(known: &Known, path: &str, asset: Option<&str>) -> Option<u64> {
        let asset = asset.map(|id| AssetId::new(id).unwrap());
        let path = MediaPath::new(path).unwrap();
        let found = known.file(FileKind::Original, &path, asset.as_ref()).await;
        found.unwrap().map(|row| row.file.size)
    }

    #[tokio::test]
    async fn what_another_process_changed_is_known_at_once() {
        let (_dir, known, other) = known().await;
        for round in 1..50 {
            put(&other, &[file("a", "one", None, round)]).await;
            for _ in 0..2 {
                assert_eq!(size_of_file(&known, "a", None).await, Some(round));
            }
        }
        let key = AccessKey {
            id: "id".to_owned(),
            name: "cdn".to_owned(),
            hash: Sha256::of(b"x"),
            scope: Scope::Read,
            created_at: NOW,
        };
        assert!(known.key("id").await.unwrap().is_none());
        let mut batch = other.batch().await.unwrap();
        batch.put_key(&key).await.unwrap();
        batch.commit().await.unwrap();
        for _ in 0..2 {
            assert_eq!(known.key("id").await.unwrap(), Some(key.clone()));
        }
        let mut batch = other.batch().await.unwrap();
        batch.remove_key("cdn").await.unwrap();
        batch.commit().await.unwrap();
        assert!(known.key("id").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_listing_says_nothing_of_other_files_of_the_name() {
        let (_dir, known, other) = known().await;
        let two = [
            file("a", "one", None, 1),
            file("a", "two", Some("a-two"), 2),
        ];
        put(&other, &two).await;
        let now = other.moment();
        let rows = other.files_of(&["two"]).await.unwrap();
        known.listed(now, &rows);
        assert_eq!(size_of_file(&known, "a", Some("two")).await, Some(2));
        assert_eq!(size_of_file(&known, "a", None).await, Some(1));
        assert_eq!(size_of_file(&known, "a", Some("one")).await, Some(1));
        known.listed(now, &rows);
        assert_eq!(
            size_of_file(&known, "a", None).await,
            Some(1),
            "still all are known"
        );
        assert_eq!(size_of_file(&known, "none", None).await, None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn all_who_ask_at_once_are_answered() {
        let (_dir, known, other) = known().await;
        let files: Vec<_> = (0..600)
            .map(|n| file(&format!("f{n}"), "one", None, n))
            .collect();
        put(&other, &files).await;
        let asked: Vec<_> = (0..600)
            .map(|n| {
                let known = known.clone();
                tokio::spawn(async move { size_of_file(&known, &format!("f{n}"), None).await })
            })
            .collect();
        for (n, answer) in (0..600).zip(asked) {
            assert_eq!(answer.await.unwrap(), Some(n));
        }
        assert!(known.0.kept().bytes > 0 && known.0.line().waiting.is_empty());
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let mut kept = Kept::default();
        let long = format!("{}/", "x".repeat(200));
        let row = |n: u64| FileRow {
            file: file(&format!("{}{n}", long.repeat(15)), "one", None, n),
            received_at: NOW,
            unlisted_at: None,
            damaged_at: None,
            evicted: false,
        };
        let listed: Vec<_> = (0..4_000).map(row).collect();
        kept.keep_listed(&listed);
        assert!(kept.bytes >= MOST_BYTES && kept.bytes < MOST_BYTES + 20_000);
        for n in 4_000..6_000 {
            let name = (FileKind::Original, row(n).file.path);
            kept.keep(&HashMap::from([(name, Rows::from([row(n)]))]));
            assert!(kept.bytes <= MOST_BYTES);
        }
        let kept_bytes: usize = kept
            .rows
            .iter()
            .map(|(name, named)| size(name, &named.rows))
            .sum();
        assert_eq!(
            (kept.bytes, kept.order.len()),
            (kept_bytes, kept.rows.len())
        );
    }
}
