//! Listing and emptying with real stores and catalogues, in temporary directories.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::catalogue::{Catalogue, Reason};
use crate::config::Retention;
use crate::model::{AssetId, CatalogId, MediaFile, NodeId, Sha256, Timestamp};
use crate::monitor::TestMonitor;
use crate::store::{Publish, RealSys, Store, Trashed};

const KIND: FileKind = FileKind::Original;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
    catalogue: Catalogue,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let root = dir.path().join("media");
        let catalog = CatalogId::new("assets/catalog").unwrap();
        Store::init(&root, &catalog, &NodeId::new("n1").unwrap()).unwrap();
        let store = Store::open(&root, &catalog, Arc::new(RealSys)).unwrap();
        let catalogue = Catalogue::open(&dir.path().join("emsync.db"))
            .await
            .unwrap();
        Self {
            dir,
            store,
            catalogue,
        }
    }

    /// A file of asset `a1` that was here and went.
    async fn gone(&self, name: &str, bytes: &[u8]) -> Trashed {
        let mut staged = self.store.staging("test").unwrap().create().unwrap();
        staged.write_all(bytes).unwrap();
        let path = MediaPath::new(name).unwrap();
        let file = MediaFile {
            kind: KIND,
            place: None,
            path: path.clone(),
            asset: AssetId::new("a1").unwrap(),
            size: bytes.len() as u64,
            modified: Timestamp::EPOCH,
            sha256: Sha256::of(bytes),
            md5: None,
            authored: false,
            fingerprint: None,
        };
        let publish = Publish {
            content: staged.into(),
            kind: KIND,
            path: path.clone(),
            modified: file.modified,
            keep_replaced: false,
        };
        self.store.publish(vec![publish]).remove(0).unwrap();
        let now = std::time::SystemTime::now().into();
        let mut batch = self.catalogue.batch().await.unwrap();
        batch.put_file(&file, now).await.unwrap();
        batch
            .forget_file(KIND, &path, &file.asset, &file.sha256, now)
            .await
            .unwrap();
        batch.commit().await.unwrap();
        assert!(self.store.trash(KIND, &path).unwrap());
        self.listed(&Wanted::default()).await.pop().unwrap().item
    }

    /// A file of asset `a1` that another content took the place of.
    async fn replaced(&self, name: &str, old: &[u8], new: &[u8]) {
        let now = now();
        for bytes in [old, new] {
            let mut staged = self.store.staging("test").unwrap().create().unwrap();
            staged.write_all(bytes).unwrap();
            let path = MediaPath::new(name).unwrap();
            let publish = Publish {
                content: staged.into(),
                kind: KIND,
                path: path.clone(),
                modified: Timestamp::EPOCH,
                keep_replaced: true,
            };
            self.store.publish(vec![publish]).remove(0).unwrap();
            let file = MediaFile {
                kind: KIND,
                place: None,
                path,
                asset: AssetId::new("a1").unwrap(),
                size: bytes.len() as u64,
                modified: Timestamp::EPOCH,
                sha256: Sha256::of(bytes),
                md5: None,
                authored: false,
                fingerprint: None,
            };
            let mut batch = self.catalogue.batch().await.unwrap();
            batch.put_file(&file, now).await.unwrap();
            batch.commit().await.unwrap();
        }
    }

    async fn listed(&self, wanted: &Wanted) -> Vec<Entry> {
        let mut listing = Listing::open(&self.store, &self.catalogue).await.unwrap();
        let mut entries = Vec::new();
        while let Some(page) = listing.page(wanted).await.unwrap() {
            assert!(page.len() <= 1_000);
            entries.extend(page.into_iter().map(|found| match found {
                Found::Entry(entry) => *entry,
                Found::Odd(error) => panic!("{error}"),
            }));
        }
        entries
    }

    async fn rows(&self) -> usize {
        self.catalogue
            .former_of("a1", 0, 1_000)
            .await
            .unwrap()
            .len()
    }
}

fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

#[tokio::test]
async fn a_trashed_file_is_joined_with_what_it_was() {
    let f = Fixture::new().await;
    f.gone("a/b", b"one").await;
    f.gone("a/b", b"other").await;
    f.gone("c", b"three").await;
    let all = f.listed(&Wanted::default()).await;
    let sums: Vec<_> = all
        .iter()
        .map(|entry| entry.former.as_ref().unwrap().file.sha256)
        .collect();
    assert_eq!(
        sums,
        [b"one".as_slice(), b"other", b"three"].map(Sha256::of)
    );
    // There is no record of a1, so its master must have taken it away.
    assert!(
        all.iter()
            .all(|entry| entry.former.as_ref().unwrap().reason == Reason::Deleted)
    );
    let of = |text: &str| Wanted {
        pattern: Some(text.parse().unwrap()),
        ..Wanted::default()
    };
    assert_eq!(f.listed(&of("a")).await.len(), 2);
    let other = Wanted {
        asset: Some("a2".to_owned()),
        ..Wanted::default()
    };
    assert_eq!(f.listed(&other).await, []);

    let ask = [
        "a/b".to_owned(),
        "c".to_owned(),
        all[0].item.id(),
        "nothing".to_owned(),
    ];
    let found = find(&f.store, &f.catalogue, &ask).await.unwrap();
    assert!(matches!(&found[0], Err(Error::Ambiguous { ids, .. }) if ids.len() == 2));
    assert_eq!(found[1].as_ref().unwrap(), &all[2]);
    assert_eq!(found[2].as_ref().unwrap(), &all[0]);
    assert!(matches!(&found[3], Err(Error::NoSuch { .. })));
}

#[tokio::test]
async fn what_is_past_its_days_goes_with_its_rows_and_nothing_else_does() {
    let f = Fixture::new().await;
    f.gone("a", b"one").await;
    for (days, ahead, left) in [(30, 29, 1), (0, 400, 1), (30, 31, 0)] {
        let then = now().plus(DAY * ahead);
        let retention = Retention::days(days);
        expire(&f.store, &f.catalogue, retention, then)
            .await
            .unwrap();
        assert_eq!(
            f.listed(&Wanted::default()).await.len(),
            left,
            "{days} days, {ahead} ahead"
        );
        assert_eq!(f.rows().await, left);
    }
}

#[tokio::test]
async fn a_clock_that_is_years_ahead_for_one_run_ends_nothing() {
    let f = Fixture::new().await;
    f.gone("a", b"one").await;
    for (ahead, left) in [(0, 1), (4_000, 1), (1, 1), (31, 1), (32, 0)] {
        let then = now().plus(DAY * ahead);
        let retention = Retention::days(30);
        expire(&f.store, &f.catalogue, retention, then)
            .await
            .unwrap();
        let listed = f.listed(&Wanted::default()).await;
        assert_eq!(listed.len(), left, "{ahead} days ahead");
    }
}

#[tokio::test]
async fn versions_stay_for_their_own_time_and_what_else_there_is_for_its() {
    for (versions, others) in [(90, 30), (30, 90)] {
        let f = Fixture::new().await;
        f.gone("went", b"one").await;
        f.replaced("version", b"old", b"new").await;
        let retention = Retention {
            versions: Some(DAY * versions),
            others: Some(DAY * others),
        };
        let left = async |ahead: u32| {
            let then = now().plus(DAY * ahead);
            let which = Which::Expired(retention, then);
            let looked = sweep(&f.store, &f.catalogue, which, true, &mut |_| Ok(())).await;
            let looked = looked.unwrap().files;
            let swept = expire(&f.store, &f.catalogue, retention, then).await;
            assert_eq!(swept.unwrap().files, looked, "{ahead} days ahead");
            let left = f.listed(&Wanted::default()).await;
            let names = left.iter().map(|entry| entry.item.path.to_string());
            names.collect::<Vec<_>>()
        };
        assert_eq!(left(29).await.len(), 2);
        let stays = if versions > others { "version" } else { "went" };
        for ahead in [31, 60, 89] {
            assert_eq!(left(ahead).await, [stays], "{ahead} days ahead");
        }
        assert!(left(91).await.is_empty());
        assert_eq!(f.rows().await, 0, "and their rows with them");
    }
}

#[tokio::test]
async fn room_is_made_of_the_oldest_and_only_where_it_helps() {
    let f = Fixture::new().await;
    for n in 0..4 {
        f.gone(&format!("f{n}"), &[n; 100]).await;
    }
    let monitor = TestMonitor::default();
    assert_eq!(
        make_room(&f.store, &f.catalogue, 401, &monitor)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        f.listed(&Wanted::default()).await.len(),
        4,
        "the trash went in vain"
    );
    assert_eq!(monitor.seen().findings.len(), 0);
    assert_eq!(
        make_room(&f.store, &f.catalogue, 101, &monitor)
            .await
            .unwrap(),
        200
    );
    let left = f.listed(&Wanted::default()).await;
    let names: Vec<_> = left.iter().map(|entry| entry.item.path.as_str()).collect();
    assert_eq!((names, f.rows().await), (vec!["f2", "f3"], 2));
    let findings = monitor.seen().findings;
    assert!(
        findings.len() == 1 && findings[0].contains("2 oldest"),
        "{findings:?}"
    );
}

#[tokio::test]
async fn looking_empties_nothing_and_all_means_all() {
    let f = Fixture::new().await;
    for n in 0..40 {
        f.gone(&format!("f{n}"), b"x").await;
    }
    for (looks_only, left) in [(true, 40), (false, 0)] {
        let mut seen = 0;
        let swept = sweep(&f.store, &f.catalogue, Which::All, looks_only, &mut |_| {
            seen += 1;
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!((swept.files, swept.bytes, seen), (40, 40, 40));
        assert_eq!(
            (f.listed(&Wanted::default()).await.len(), f.rows().await),
            (left, left)
        );
    }
}

#[tokio::test]
async fn ten_thousand_files_come_by_pages() {
    let f = Fixture::new().await;
    let trash = f.dir.path().join("media/.emsync/trash/originals");
    for n in 0..10_000 {
        let slot = trash.join(format!("20240101T00{:02}00.000-{}", n / 250, n / 5 % 50));
        fs::create_dir_all(&slot).unwrap();
        fs::write(slot.join(format!("f{}", n % 5)), n.to_string()).unwrap();
    }
    let mut listing = Listing::open(&f.store, &f.catalogue).await.unwrap();
    let (mut pages, mut files, mut last) = (0, 0, Timestamp::EPOCH);
    while let Some(page) = listing.page(&Wanted::default()).await.unwrap() {
        assert!(page.len() <= 1_000, "a page holds {}", page.len());
        pages += 1;
        for found in page {
            let Found::Entry(entry) = found else {
                panic!("odd")
            };
            assert!(entry.item.slot.when >= last && entry.former.is_none());
            last = entry.item.slot.when;
            files += 1;
        }
    }
    assert_eq!((files, pages), (10_000, 11));
    let swept = sweep(&f.store, &f.catalogue, Which::All, false, &mut |_| Ok(()))
        .await
        .unwrap();
    assert_eq!(swept.files, 10_000);
    assert_eq!(fs::read_dir(trash).unwrap().count(), 0);
}
