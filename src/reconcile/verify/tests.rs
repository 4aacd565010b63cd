//! Digests of a whole catalogue, however it is read.

use std::sync::Arc;

use super::describe::describe_in_pages;
use super::kept::Content;
use super::*;
use crate::model::{
    AssetId, CatalogId, FileKind, MediaFile, MediaPath, Record, RecordKey, RecordStatus, Sha256,
};
use crate::monitor::{Counter, Silent, TestMonitor};
use crate::store::RealSys;

struct Place {
    catalogue: Catalogue,
    store: Store,
    _dir: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let catalog = CatalogId::new("assets/catalog").unwrap();
        Store::init(dir.path(), &catalog, &NodeId::new("n").unwrap()).unwrap();
        let store = Store::open(dir.path(), &catalog, Arc::new(RealSys)).unwrap();
        let catalogue = Catalogue::open(&dir.path().join("emsync.db"))
            .await
            .unwrap();
        Self {
            catalogue,
            store,
            _dir: dir,
        }
    }

    async fn put(&self, records: &[Record], files: &[MediaFile], now: i64) {
        let mut batch = self.catalogue.batch().await.unwrap();
        let records: Vec<_> = records.iter().collect();
        let now = Timestamp::from_millis(now);
        batch.put_records(&records, "", now).await.unwrap();
        for file in files {
            batch.put_file(file, now).await.unwrap();
        }
        batch.commit().await.unwrap();
    }

    fn here<'a>(&'a self, monitor: &'a dyn Monitor, stop: &'a Shutdown) -> Here<'a> {
        Here {
            catalogue: &self.catalogue,
            store: &self.store,
            monitor,
            stop,
            as_of: Timestamp::from_millis(9),
        }
    }

    async fn content(&self, page: usize) -> Content {
        let stop = Shutdown::new();
        let here = self.here(&Silent, &stop);
        describe_in_pages(&here, page).await.unwrap()
    }
}

fn record(table: &str, id: &str, fill: u8, deleted: bool) -> Record {
    let node = NodeId::new("n").unwrap();
    Record {
        key: RecordKey::new(table, id).unwrap(),
        source: "{}".to_owned(),
        status: Some(RecordStatus {
            deleted,
            master: node.clone(),
            modified_by: node,
            modified: Timestamp::from_millis(5),
            master_modified: None,
        }),
        content: Sha256::from_bytes([fill; 32]),
    }
}

fn file(kind: FileKind, path: &str) -> MediaFile {
    MediaFile {
        place: None,
        kind,
        path: MediaPath::new(path).unwrap(),
        asset: AssetId::new("a").unwrap(),
        size: 3,
        modified: Timestamp::from_millis(5_000),
        sha256: Sha256::of(path.as_bytes()),
        md5: None,
        authored: false,
        fingerprint: None,
    }
}

fn everything() -> (Vec<Record>, Vec<MediaFile>) {
    let mut records = Vec::new();
    for table in ["asset", "category", "zone"] {
        for n in 0..30 {
            records.push(record(table, &format!("r{n}"), n, n % 7 == 3));
        }
    }
    let mut files = Vec::new();
    for n in 0..40 {
        files.push(file(FileKind::Original, &format!("d{}/f{n}", n % 3)));
        files.push(file(FileKind::Generated, &format!("d{}/f{n}/g.jpg", n % 3)));
    }
    (records, files)
}

#[tokio::test]
async fn the_digests_do_not_depend_on_how_much_is_read_at_a_time_or_was_written_when() {
    let (records, files) = everything();
    let (one, other) = (Place::new().await, Place::new().await);
    one.put(&records, &files, 1).await;
    for (n, record) in records.iter().enumerate().rev() {
        other.put(std::slice::from_ref(record), &[], n as i64).await;
    }
    for file in files.iter().rev() {
        other.put(&[], std::slice::from_ref(file), 9).await;
    }
    let whole = one.content(1_000).await;
    assert_eq!(whole.records["asset"].live, 26);
    assert_eq!(whole.deletes["asset"].count, 4);
    assert_eq!((whole.originals.files, whole.originals.bytes), (40, 120));
    for page in [1, 7, 30, 90] {
        assert_eq!(one.content(page).await, whole, "pages of {page}");
        assert_eq!(other.content(page).await, whole, "pages of {page}");
    }
}

#[tokio::test]
async fn one_changed_item_changes_one_bucket_of_one_table_and_nothing_else() {
    let (records, files) = everything();
    let place = Place::new().await;
    place.put(&records, &files, 1).await;
    let before = place.content(50).await;

    place
        .put(&[record("category", "r5", 99, false)], &[], 2)
        .await;
    let edited = place.content(50).await;
    let (old, new) = (&before.records["category"], &edited.records["category"]);
    let differing = old.digested.buckets.iter();
    let differing = differing.filter(|(number, bucket)| new.digested.buckets[*number] != **bucket);
    assert_eq!(differing.count(), 1);
    assert_ne!(old.digested.digest, new.digested.digest);
    let mut same = edited.clone();
    same.records.insert("category".to_owned(), old.clone());
    assert_eq!(same, before);

    let mut bytes = file(FileKind::Original, "d0/f0");
    bytes.sha256 = Sha256::of(b"one bit more");
    place
        .put(&[record("category", "r5", 5, false)], &[bytes], 3)
        .await;
    let flipped = place.content(50).await;
    assert_ne!(flipped.originals, before.originals);
    let mut same = flipped.clone();
    same.originals = before.originals.clone();
    assert_eq!(same, before);
}

#[tokio::test]
async fn a_look_at_the_disk_that_is_asked_to_end_says_nothing_rather_than_half() {
    let (records, files) = everything();
    let place = Place::new().await;
    place.put(&records, &files, 1).await;
    let (stop, monitor) = (Shutdown::new(), TestMonitor::default());
    let here = place.here(&monitor, &stop);
    let parity = alone(&here, true).await.unwrap();
    assert_eq!(parity.differences_total, 80, "no file is there");
    let (seen, bytes) = (monitor.seen(), Counter::Bytes);
    assert!(seen.expected[&bytes] > 0);
    assert_eq!(seen.expected[&bytes], seen.advanced[&bytes]);
    assert_eq!(place.catalogue.damaged().await.unwrap(), 80);
    stop.request();
    let ended = alone(&here, true).await.unwrap_err();
    assert_eq!(ended.class(), Class::Cancelled);
}

/// Files that a tree gains while nobody takes the pages of its walk are in the walk exactly where it was not yet.
#[tokio::test]
async fn the_walk_of_a_tree_waits_for_whoever_takes_its_pages() {
    const FOLDERS: usize = 6;
    let place = Place::new().await;
    let tree = place._dir.path().join("assets/catalog/originals");
    let folder = |n: usize| tree.join(format!("d{n}"));
    for n in 0..FOLDERS {
        std::fs::create_dir_all(folder(n)).unwrap();
        for file in 0..PAGE {
            std::fs::File::create(folder(n).join(file.to_string())).unwrap();
        }
    }
    let stop = Shutdown::new();
    let here = place.here(&Silent, &stop);
    let walk = Tree::new(&here, FileKind::Original);
    // Time to go as far as it can. Too little lets a fault pass, and makes none.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    for n in 0..FOLDERS {
        std::fs::File::create(folder(n).join("late")).unwrap();
    }
    let (walked, ..) = walk.end().await.unwrap();
    let walked = usize::try_from(walked).unwrap();
    let read = FOLDERS * (PAGE + 1) - walked;
    assert!(
        read <= 3,
        "{read} folders were read; a page at the taker, one in the channel and one in the walk's hands are bound"
    );
}
