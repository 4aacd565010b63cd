//! Imports of real folders with real images into real nodes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::*;
use crate::adapters::Adapters;
use crate::catalogue::StoredRecord;
use crate::media::Limits;
use crate::model::preset::{PresetTable, Shipped};
use crate::model::{CatalogId, FileKind, Mode, RecordKey, Sha256, Timestamp};
use crate::monitor::{Counter, TestMonitor};
use crate::protocol::record;
use crate::store::RealSys;
use crate::store::faults::Faulty;

/// A node and a folder beside it.
struct Node {
    base: tempfile::TempDir,
    catalogue: Catalogue,
    store: Store,
    own: NodeId,
}

impl Node {
    async fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let own = NodeId::new("harbour-1").unwrap();
        let catalog = CatalogId::new("assets/catalog").unwrap();
        let root = base.path().join("root");
        Store::init(&root, &catalog, &own).unwrap();
        let store = Store::open(&root, &catalog, Arc::new(RealSys)).unwrap();
        let catalogue = Catalogue::open(&base.path().join("emsync.db"))
            .await
            .unwrap();
        std::fs::create_dir(base.path().join("photos")).unwrap();
        Self {
            base,
            catalogue,
            store,
            own,
        }
    }

    fn dir(&self) -> PathBuf {
        self.base.path().join("photos")
    }

    fn options(&self) -> Options {
        Options {
            dir: self.dir(),
            prefix: None,
            thumbs: true,
            renditions: Settings {
                threads: 2.into(),
                depth: 2,
                limits: Limits::default(),
                mode: Mode::default(),
                presets: Arc::new(PresetTable::shipped(Shipped::Webp)),
                adapters: Adapters::none(),
            },
            batch: 4,
            max_delete: None,
            dry_run: false,
            only: Only::Whole,
            quiet: None,
        }
    }

    async fn try_import(
        &self,
        options: &Options,
        monitor: Arc<dyn Monitor>,
        stop: &Shutdown,
    ) -> Result<Report, Error> {
        run(
            &self.catalogue,
            &self.store,
            &self.own,
            options,
            &Seams::os(),
            monitor,
            stop,
        )
        .await
    }

    async fn import_with(&self, options: &Options) -> (Report, Vec<String>) {
        let monitor = Arc::new(TestMonitor::default());
        let report = self
            .try_import(options, monitor.clone(), &Shutdown::new())
            .await
            .unwrap();
        (
            Report {
                elapsed_ms: 0,
                ..report
            },
            monitor.seen().findings,
        )
    }

    async fn import(&self) -> Report {
        self.import_with(&self.options()).await.0
    }

    fn write(&self, rel: &str, bytes: impl AsRef<[u8]>) {
        let path = self.dir().join(rel);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn image(&self, rel: &str, seed: u8) {
        let path = self.dir().join(rel);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let pixel = |x: u32, y: u32| image::Rgb([(x * 5) as u8 ^ seed, (y * 7) as u8, seed]);
        image::RgbImage::from_fn(48, 32, pixel).save(path).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        let to = self.dir().join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::rename(self.dir().join(from), to).unwrap();
    }

    fn remove(&self, rel: &str) {
        std::fs::remove_file(self.dir().join(rel)).unwrap();
    }

    async fn records(&self) -> Vec<StoredRecord> {
        self.catalogue
            .records_after(None, None, 10_000)
            .await
            .unwrap()
    }

    /// The live asset at a path.
    async fn asset(&self, path: &str) -> BTreeMap<String, Value> {
        let path = MediaPath::new(path).unwrap();
        let records = self.records().await;
        let found: Vec<_> = records
            .iter()
            .filter(|stored| crate::renditions::is_at(stored, &path))
            .collect();
        assert_eq!(found.len(), 1, "live assets at {path}");
        serde_json::from_str(&found[0].record.source).unwrap()
    }

    async fn id(&self, path: &str) -> String {
        self.asset(path).await["id"].as_str().unwrap().to_owned()
    }

    async fn category(&self, path: &str) -> crate::model::Record {
        let key = RecordKey::new("category", ids::category(&self.own, path)).unwrap();
        self.catalogue.record(&key).await.unwrap().unwrap().record
    }

    /// What of an asset's files does not depend on where they lie; the first is its original.
    async fn names_and_content(&self, id: &str) -> Vec<(String, Timestamp, Sha256)> {
        let rows = self.catalogue.files_of(&[id]).await.unwrap();
        let file = |row: crate::catalogue::FileRow| {
            (
                row.file.path.name().to_owned(),
                row.file.modified,
                row.file.sha256,
            )
        };
        rows.into_iter().map(file).collect()
    }

    /// Everything but dates: records, file rows, and what lies on disk.
    async fn state(&self) -> (BTreeMap<String, Value>, Vec<String>, Vec<String>) {
        let mut records = BTreeMap::new();
        for StoredRecord { record, .. } in self.records().await {
            let mut value: Value = serde_json::from_str(&record.source).unwrap();
            for date in ["assetaddeddate", "creationdate"] {
                value.as_object_mut().unwrap().remove(date);
            }
            for date in ["recordmodificationdate", "masterrecordmodificationdate"] {
                value["emrecordstatus"]
                    .as_object_mut()
                    .unwrap()
                    .remove(date);
            }
            records.insert(record.key.to_string(), value);
        }
        let mut rows = Vec::new();
        for kind in [FileKind::Original, FileKind::Generated] {
            for row in self
                .catalogue
                .files_after(kind, None, 10_000)
                .await
                .unwrap()
            {
                rows.push(format!(
                    "{}/{} {} {}",
                    kind.dir(),
                    row.file.path,
                    row.file.asset,
                    row.file.sha256
                ));
            }
        }
        (records, rows, self.disk())
    }

    /// Names of published files.
    fn disk(&self) -> Vec<String> {
        let mut names = Vec::new();
        for kind in [FileKind::Original, FileKind::Generated] {
            for item in self.store.walk(kind) {
                names.push(format!("{}/{}", kind.dir(), item.unwrap().0));
            }
        }
        names
    }

    /// Path, inode and time of every file below the root.
    fn inodes(&self) -> Vec<(PathBuf, u64, SystemTime)> {
        let files = walkdir::WalkDir::new(self.store.root())
            .sort_by_file_name()
            .into_iter()
            .flatten();
        let files = files.filter(|entry| entry.file_type().is_file());
        files
            .map(|entry| {
                let stat = entry.metadata().unwrap();
                (
                    entry.path().to_owned(),
                    stat.ino(),
                    stat.modified().unwrap(),
                )
            })
            .collect()
    }

    /// Rows say what is on disk, and nothing else is.
    async fn assert_rows_match_disk(&self) {
        let (_, rows, disk) = self.state().await;
        let rows: Vec<_> = rows
            .iter()
            .map(|row| row.rsplitn(3, ' ').last().unwrap().to_owned())
            .collect();
        assert_eq!(rows, disk);
        for kind in [FileKind::Original, FileKind::Generated] {
            for row in self
                .catalogue
                .files_after(kind, None, 10_000)
                .await
                .unwrap()
            {
                let stat = self.store.stat(kind, row.file.place()).unwrap().unwrap();
                assert_eq!(
                    (stat.size, stat.modified),
                    (row.file.size, row.file.modified),
                    "{}",
                    row.file.path
                );
            }
        }
    }
}

fn set_time(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    std::fs::File::options()
        .append(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

/// Asks to end once `left` portions are in.
#[derive(Debug)]
struct StopAfter {
    left: AtomicU64,
    stop: Shutdown,
}

impl StopAfter {
    fn new(portions: u64) -> (Arc<Self>, Shutdown) {
        let stop = Shutdown::new();
        (
            Arc::new(Self {
                left: AtomicU64::new(portions),
                stop: stop.clone(),
            }),
            stop,
        )
    }
}

impl Monitor for StopAfter {
    fn phase(&self, _: Phase) {}
    fn expect(&self, _: Counter, _: u64) {}
    fn advance(&self, counter: Counter, _: u64) {
        if counter == Counter::Records && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.stop.request();
        }
    }
    fn finding(&self, _: &str) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_import_makes_assets_categories_and_renditions() {
    let node = Node::new().await;
    node.image("Port/Old/harbour.JPG", 1);
    node.image("flag.png", 2);
    node.write("Docs/note.txt", "hello");
    set_time(&node.dir().join("flag.png"), 1_700_000_000);
    let report = node.import().await;
    assert_eq!(
        (report.seen, report.added, report.renditions, report.refused),
        (3, 3, 10, 0)
    );
    node.assert_rows_match_disk().await;

    let flag = node.asset("flag.png").await;
    assert_eq!(flag["assetmodificationdate"], "2023-11-14T22:13:20.000Z");
    assert_eq!(
        (&flag["width"], &flag["height"]),
        (&Value::from(48), &Value::from(32))
    );
    assert_eq!(
        (&flag["previewstatus"], &flag["importstatus"]),
        (&Value::from("2"), &Value::from("complete"))
    );
    assert_eq!(flag["category-exact"], serde_json::json!(["index"]));
    let harbour = node.asset("Port/Old/harbour.JPG").await;
    assert_eq!(
        (&harbour["fileformat"], &harbour["detectedfileformat"]),
        (&Value::from("jpg"), &Value::from("jpeg"))
    );
    let (port, old) = (
        ids::category(&node.own, "Port"),
        ids::category(&node.own, "Port/Old"),
    );
    assert_eq!(harbour["category"], serde_json::json!(["index", port, old]));
    let note = node.asset("Docs/note.txt").await;
    assert_eq!(
        (&note["previewstatus"], &note["filesize"]),
        (&Value::from("mime"), &Value::from(5))
    );
    assert_eq!(note["md5hex"], "5d41402abc4b2a76b9719d911017c592");
    let category = node.category("Port/Old").await;
    let status = category.status.clone().unwrap();
    assert_eq!(
        (status.master, status.modified_by),
        (node.own.clone(), node.own.clone())
    );
    assert!(category.source.contains(r#""categorypath":"Port/Old""#));
    for row in node
        .catalogue
        .files_after(FileKind::Generated, None, 100)
        .await
        .unwrap()
    {
        assert!(row.file.authored && row.file.modified == row.file.modified.whole_second());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_import_of_an_unchanged_folder_writes_nothing() {
    let node = Node::new().await;
    for n in 0..6_u8 {
        node.image(&format!("d{}/{n}.png", n % 2), n);
    }
    node.import().await;
    let (before, records) = (node.inodes(), node.records().await);
    let report = node.import().await;
    assert_eq!(
        report,
        Report {
            seen: 6,
            unchanged: 6,
            ..Report::default()
        }
    );
    assert_eq!(node.inodes(), before);
    assert_eq!(node.records().await, records);
}

/// A disk that fails once may cost a second import, and nothing else: a moved file keeps its asset, what is gone leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn whichever_call_of_an_import_fails_the_next_one_ends_as_if_it_had_not() {
    let mut undisturbed = None;
    for nth in 0.. {
        let mut node = Node::new().await;
        for name in ["a/moves.bin", "a/goes.bin", "b/stays.bin"] {
            node.write(name, name);
        }
        node.import().await;
        node.rename("a/moves.bin", "c/moved.bin");
        node.remove("a/goes.bin");
        node.write("new.bin", "new");
        let sys = Arc::new(Faulty::at(nth, rustix::io::Errno::IO));
        let catalog = CatalogId::new("assets/catalog").unwrap();
        let root = node.store.root().to_owned();
        if let Ok(store) = Store::open(&root, &catalog, sys.clone()) {
            node.store = store;
            // However it ends: what counts is what the next one makes of it.
            let monitor = Arc::new(TestMonitor::default());
            let _ = node
                .try_import(&node.options(), monitor, &Shutdown::new())
                .await;
        }
        node.store = Store::open(&root, &catalog, Arc::new(RealSys)).unwrap();
        node.import().await;
        let (records, rows, disk) = node.state().await;
        let state = (records.into_keys().collect::<Vec<_>>(), rows, disk);
        let expected = undisturbed.get_or_insert_with(|| state.clone());
        assert_eq!(state, *expected, "call {nth} failed");
        if nth > 0 && !sys.fired() {
            assert!(nth > 20, "only {nth} calls");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_damaged_is_taken_from_the_folder_and_rendered_again() {
    let node = Node::new().await;
    node.image("a.png", 1);
    node.image("b.png", 2);
    node.write("c.txt", "sound");
    node.import().await;
    let record = node.asset("a.png").await;
    let mut batch = node.catalogue.batch().await.unwrap();
    for (kind, below) in [
        (FileKind::Original, "a.png"),
        (FileKind::Generated, "b.png/"),
    ] {
        let rows = node.catalogue.files_after(kind, None, 100).await.unwrap();
        let mut of_asset = rows
            .into_iter()
            .filter(|row| row.file.path.as_str().starts_with(below));
        let file = of_asset.next().unwrap().file;
        node.store.trash(kind, file.place()).unwrap();
        batch.note_damage(&file, Some(file.modified)).await.unwrap();
    }
    batch.commit().await.unwrap();
    let report = node.import().await;
    assert_eq!(
        (report.changed, report.unchanged, report.renditions),
        (1, 2, 5)
    );
    node.assert_rows_match_disk().await;
    assert_eq!(node.catalogue.damaged().await.unwrap(), 0);
    assert_eq!(
        node.asset("a.png").await,
        record,
        "nothing about it has changed"
    );
    assert_eq!(node.import().await.unchanged, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_original_keeps_its_id_and_gets_new_renditions() {
    let node = Node::new().await;
    node.image("a.png", 1);
    node.image("b.png", 2);
    node.import().await;
    let (id, before) = (
        node.id("a.png").await,
        node.catalogue
            .files_after(FileKind::Generated, None, 5)
            .await
            .unwrap(),
    );
    node.image("a.png", 9);
    set_time(&node.dir().join("a.png"), 1_600_000_000);
    let report = node.import().await;
    assert_eq!(
        (report.changed, report.unchanged, report.renditions),
        (1, 1, 5)
    );
    assert_eq!(node.id("a.png").await, id);
    let after = node
        .catalogue
        .files_after(FileKind::Generated, None, 5)
        .await
        .unwrap();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.file.path, after.file.path);
        assert!(
            after.file.modified > before.file.modified && after.file.sha256 != before.file.sha256
        );
    }
    node.assert_rows_match_disk().await;

    // An image that becomes a text loses them.
    node.rename("b.png", "b");
    node.import().await;
    let id = node.id("b").await;
    node.write("b", "no image any more");
    let report = node.import().await;
    assert_eq!((report.changed, report.renditions), (1, 0));
    assert_eq!(node.asset("b").await["previewstatus"], "mime");
    assert_eq!(node.id("b").await, id);
    assert!(
        !node
            .disk()
            .iter()
            .any(|name| name.starts_with("generated/b/"))
    );
    node.assert_rows_match_disk().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_date_alone_changes_the_date_alone() {
    let node = Node::new().await;
    node.image("a.png", 1);
    node.import().await;
    let (mut before, generated) = (
        node.asset("a.png").await,
        node.catalogue
            .files_after(FileKind::Generated, None, 9)
            .await
            .unwrap(),
    );
    set_time(&node.dir().join("a.png"), 1_500_000_000);
    let report = node.import().await;
    assert_eq!((report.changed, report.renditions), (1, 0));
    let mut after = node.asset("a.png").await;
    assert_eq!(after["assetmodificationdate"], "2017-07-14T02:40:00.000Z");
    for date in ["assetmodificationdate", "emrecordstatus"] {
        assert_ne!(before.remove(date), after.remove(date));
    }
    assert_eq!(before, after);
    assert_eq!(
        node.catalogue
            .files_after(FileKind::Generated, None, 9)
            .await
            .unwrap(),
        generated
    );
    node.assert_rows_match_disk().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_directory_keeps_ids_and_renditions() {
    let node = Node::new().await;
    for n in 0..5_u8 {
        node.image(&format!("old/deep/{n}.png"), n);
    }
    node.image("stays.png", 77);
    node.import().await;
    let ids: Vec<_> = [
        node.id("old/deep/0.png").await,
        node.id("old/deep/4.png").await,
    ]
    .to_vec();
    let before = node.names_and_content(&ids[0]).await;
    node.rename("old", "new");
    let report = node.import().await;
    assert_eq!(
        (
            report.moved,
            report.gone,
            report.added,
            report.renditions,
            report.unchanged
        ),
        (5, 0, 0, 0, 1)
    );
    assert_eq!(
        [
            node.id("new/deep/0.png").await,
            node.id("new/deep/4.png").await
        ]
        .to_vec(),
        ids
    );
    assert_eq!(node.names_and_content(&ids[0]).await, before);
    assert!(node.disk().iter().all(|name| !name.contains("/old/")));
    node.assert_rows_match_disk().await;
    for (path, is_deleted) in [
        ("old", true),
        ("old/deep", true),
        ("new", false),
        ("new/deep", false),
    ] {
        assert_eq!(node.category(path).await.is_deleted(), is_deleted, "{path}");
    }
    let asset = node.asset("new/deep/0.png").await;
    assert_eq!(
        asset["category-exact"],
        serde_json::json!([ids::category(&node.own, "new/deep")])
    );
    assert_eq!(node.import().await.unchanged, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_at_a_path_that_was_left_gets_an_id_of_its_own() {
    let node = Node::new().await;
    node.write("a.txt", "first");
    node.import().await;
    let id = node.id("a.txt").await;
    node.rename("a.txt", "b.txt");
    node.import().await;
    node.write("a.txt", "second");
    let report = node.import().await;
    assert_eq!((report.added, report.unchanged, report.gone), (1, 1, 0));
    assert_eq!(node.id("b.txt").await, id);
    assert_eq!(node.id("a.txt").await, format!("{id}-2"));
    // And back again, under the other's nose.
    node.remove("a.txt");
    node.rename("b.txt", "a.txt");
    let report = node.import().await;
    assert_eq!((report.changed, report.gone), (1, 1));
    assert_eq!(node.id("a.txt").await, format!("{id}-2"));
    node.assert_rows_match_disk().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_are_assets_of_their_own_and_a_move_goes_by_name_first() {
    let node = Node::new().await;
    for rel in ["a/one.txt", "b/two.txt", "c/three.txt"] {
        node.write(rel, "same");
    }
    let report = node.import().await;
    assert_eq!((report.added, report.moved), (3, 0));
    let (one, two) = (node.id("a/one.txt").await, node.id("b/two.txt").await);
    node.rename("b/two.txt", "z/two.txt");
    node.rename("a/one.txt", "z/other.txt");
    let report = node.import().await;
    assert_eq!((report.moved, report.gone, report.unchanged), (2, 0, 1));
    let ids = [node.id("z/other.txt").await, node.id("z/two.txt").await];
    assert_eq!(ids, [one, two]);
    node.assert_rows_match_disk().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file_leaves_a_tombstone_and_comes_back_under_its_id() {
    let node = Node::new().await;
    node.image("sub/a.png", 1);
    node.image("b.png", 2);
    node.import().await;
    let before = node.asset("sub/a.png").await;
    let key = RecordKey::new("asset", before["id"].as_str().unwrap()).unwrap();
    std::fs::rename(node.dir().join("sub"), node.base.path().join("aside")).unwrap();
    let report = node.import().await;
    assert_eq!((report.gone, report.unchanged, report.held), (1, 1, 0));
    let tombstone = node.catalogue.record(&key).await.unwrap().unwrap().record;
    assert!(tombstone.is_deleted() && tombstone.source.contains("sub/a.png"));
    assert!(node.disk().iter().all(|name| !name.contains("/sub/")));
    assert_eq!(
        node.import().await,
        Report {
            seen: 1,
            unchanged: 1,
            ..Report::default()
        }
    );
    node.assert_rows_match_disk().await;

    // Back with its old date.
    std::fs::rename(node.base.path().join("aside"), node.dir().join("sub")).unwrap();
    let report = node.import().await;
    assert_eq!((report.added, report.renditions), (1, 5));
    let live = node.catalogue.record(&key).await.unwrap().unwrap().record;
    assert!(
        !live.is_deleted() && live.status.unwrap().modified > tombstone.status.unwrap().modified
    );
    assert_eq!(
        node.asset("sub/a.png").await["category"],
        before["category"]
    );
    node.assert_rows_match_disk().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_image_is_a_finding_and_no_failure() {
    let node = Node::new().await;
    node.image("good.png", 1);
    node.write("broken.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF and no more");
    node.write("page.jpg", "<html>please sign in</html>");
    node.write("empty.png", "");
    let (report, findings) = node.import_with(&node.options()).await;
    assert_eq!(
        (
            report.added,
            report.unrenderable,
            report.refused,
            report.renditions
        ),
        (4, 3, 0, 5)
    );
    assert_eq!(findings.len(), 3, "{findings:?}");
    for path in ["broken.jpg", "page.jpg", "empty.png"] {
        assert_eq!(node.asset(path).await["previewstatus"], "3", "{path}");
    }
    assert_eq!(node.catalogue.count_findings().await.unwrap(), 3);
    assert_eq!(
        node.import().await,
        Report {
            seen: 4,
            unchanged: 4,
            ..Report::default()
        }
    );

    // Mended, and the other way round.
    node.image("broken.jpg", 3);
    node.write("good.png", "not any more");
    let report = node.import().await;
    assert_eq!(
        (report.changed, report.renditions, report.unrenderable),
        (2, 5, 1)
    );
    assert_eq!(node.asset("broken.jpg").await["previewstatus"], "2");
    assert_eq!(node.asset("good.png").await["previewstatus"], "3");
    assert!(
        !node
            .disk()
            .iter()
            .any(|name| name.starts_with("generated/good.png/"))
    );
    node.assert_rows_match_disk().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn awkward_names_are_kept_byte_for_byte() {
    let node = Node::new().await;
    let long = format!("{}.txt", "x".repeat(251));
    let names = [
        "a b/#%+?&'\".png",
        "Caf\u{e9}.png",
        "Cafe\u{301}.png",
        ".hidden",
        "-rf",
        "line\nbreak",
        "a\\b",
        &long,
    ];
    for (n, name) in names.iter().enumerate() {
        node.image("tmp.png", u8::try_from(n).unwrap());
        node.rename("tmp.png", name);
    }
    let report = node.import().await;
    assert_eq!((report.added, report.refused), (names.len() as u64, 0));
    for name in names {
        assert_eq!(node.asset(name).await["sourcepath"], name);
    }
    node.assert_rows_match_disk().await;
    assert_eq!(node.import().await.unchanged, names.len() as u64);
}

/// The rows of a kind, by the names that peers see.
async fn rows_of(node: &Node, kind: FileKind) -> BTreeMap<String, crate::model::MediaFile> {
    let rows = node
        .catalogue
        .files_after(kind, None, 10_000)
        .await
        .unwrap();
    let by_path = rows
        .into_iter()
        .map(|row| (row.file.path.to_string(), row.file));
    by_path.collect()
}

/// Every file lies where its row says, and nothing else is there.
async fn assert_places_match_disk(node: &Node) {
    for kind in [FileKind::Original, FileKind::Generated] {
        let rows = rows_of(node, kind).await;
        let mut places: Vec<_> = rows.values().map(|file| file.place().to_string()).collect();
        places.sort();
        let walked = node
            .store
            .walk(kind)
            .map(|entry| entry.unwrap().0.to_string());
        assert_eq!(walked.collect::<Vec<_>>(), places, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn portable_names_are_given_on_disk_and_originals_stay_in_the_records() {
    let mut node = Node::new().await;
    node.store = node.store.clone().portable();
    let names = [
        "Case.png",
        "case.png",
        "caf\u{e9}.png",
        "cafe\u{301}.png",
        "NUL.png",
        "dir./why?.png",
        "plain.png",
    ];
    for (n, name) in names.iter().enumerate() {
        node.image("tmp.png", u8::try_from(n).unwrap());
        node.rename("tmp.png", name);
    }
    let (report, findings) = node.import_with(&node.options()).await;
    assert_eq!(
        (report.added, report.refused),
        (names.len() as u64, 0),
        "{findings:?}"
    );
    let originals = rows_of(&node, FileKind::Original).await;
    let generated = rows_of(&node, FileKind::Generated).await;
    assert_eq!(
        (originals.len(), generated.len()),
        (names.len(), names.len() * 5)
    );
    for name in names {
        assert_eq!(node.asset(name).await["sourcepath"], name);
        assert!(originals.contains_key(name), "{name}");
    }
    let places = originals
        .values()
        .chain(generated.values())
        .map(|file| file.place());
    let places: Vec<_> = places.cloned().collect();
    assert!(
        places
            .iter()
            .all(|place| place.elements().all(crate::model::place::is_portable)),
        "{places:?}"
    );
    let folded: std::collections::BTreeSet<_> = originals
        .values()
        .map(|file| crate::model::place::fold(file.place().as_str()))
        .collect();
    assert_eq!(folded.len(), names.len());
    // One of each pair, the device and the one with forbidden characters; of the renditions those of one of each pair, and
    // all whose folder is mapped.
    assert_eq!(
        originals
            .values()
            .filter(|file| file.place.is_some())
            .count(),
        4
    );
    assert_eq!(
        findings
            .iter()
            .filter(|text| text.contains("is kept on disk as"))
            .count(),
        4 + 4 * 5
    );
    assert_places_match_disk(&node).await;

    // Unchanged, moved, replaced and deleted like any other.
    assert_eq!(node.import().await.unchanged, names.len() as u64);
    node.rename("dir./why?.png", "dir./when?.png");
    node.image("NUL.png", 99);
    node.remove("plain.png");
    node.remove("case.png");
    let report = node.import().await;
    assert_eq!(
        (report.moved, report.changed, report.gone, report.refused),
        (1, 1, 2, 0)
    );
    let now = rows_of(&node, FileKind::Original).await;
    assert_eq!(now.len(), names.len() - 2);
    assert_eq!(now["NUL.png"].place, originals["NUL.png"].place);
    assert!(now["dir./when?.png"].place.is_some());
    assert_places_match_disk(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_of_another_nodes_asset_is_refused_for_its_content_and_mapped_for_other_content() {
    let node = Node::new().await;
    for (id, path, content) in [
        ("theirs1", "same.txt", "same"),
        ("theirs2", "other.txt", "theirs"),
    ] {
        let source = serde_json::json!({ "id": id, "sourcepath": path }).to_string();
        let status = crate::model::RecordStatus {
            deleted: false,
            master: NodeId::new("another").unwrap(),
            modified_by: NodeId::new("another").unwrap(),
            modified: Timestamp::from_millis(5),
            master_modified: None,
        };
        let record = crate::model::Record {
            key: RecordKey::new("asset", id).unwrap(),
            content: Sha256::of(source.as_bytes()),
            source,
            status: Some(status),
        };
        let file = crate::model::MediaFile {
            kind: FileKind::Original,
            path: MediaPath::new(path).unwrap(),
            place: None,
            asset: crate::model::AssetId::new(id).unwrap(),
            size: content.len() as u64,
            modified: Timestamp::from_millis(5),
            sha256: Sha256::of(content.as_bytes()),
            md5: None,
            authored: false,
            fingerprint: None,
        };
        let mut staged = node.store.staging("test").unwrap().create().unwrap();
        staged.write_all(content.as_bytes()).unwrap();
        let publish = crate::store::Publish {
            content: staged.into(),
            kind: file.kind,
            path: file.path.clone(),
            modified: file.modified,
            keep_replaced: false,
        };
        node.store.publish(vec![publish]).pop().unwrap().unwrap();
        let mut batch = node.catalogue.batch().await.unwrap();
        batch
            .put_records(&[&record], "another", Timestamp::from_millis(6))
            .await
            .unwrap();
        batch
            .put_file(&file, Timestamp::from_millis(6))
            .await
            .unwrap();
        batch.commit().await.unwrap();
    }
    node.write("same.txt", "same");
    node.write("other.txt", "ours");
    let (report, findings) = node.import_with(&node.options()).await;
    assert_eq!((report.added, report.refused), (1, 1), "{findings:?}");
    assert!(
        findings
            .iter()
            .any(|text| text.starts_with("same.txt: it is here already, as asset theirs1")),
        "{findings:?}"
    );
    let path = MediaPath::new("other.txt").unwrap();
    let rows = node
        .catalogue
        .files_at(FileKind::Original, &["other.txt"])
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);
    let ours = rows
        .iter()
        .find(|row| row.file.asset.as_str() != "theirs2")
        .unwrap();
    let place = ours.file.place.as_ref().expect("mapped");
    let read = |place: &MediaPath| {
        std::fs::read(
            node.store
                .root()
                .join("assets/catalog/originals")
                .join(place.as_str()),
        )
        .unwrap()
    };
    assert_eq!(
        (read(place), read(&path)),
        (b"ours".to_vec(), b"theirs".to_vec())
    );
    assert_eq!(node.import().await.unchanged, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_utf8_is_refused_without_harm() {
    let node = Node::new().await;
    node.write("a.txt", "a");
    node.write("sub/b.txt", "b");
    node.import().await;
    std::fs::write(node.dir().join(OsStr::from_bytes(b"bad\xff.txt")), "x").unwrap();
    let dir = node.dir().join(OsStr::from_bytes(b"dir\xff"));
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("inner.txt"), "x").unwrap();
    let (report, findings) = node.import_with(&node.options()).await;
    assert_eq!(
        (report.unchanged, report.refused, report.gone, report.added),
        (2, 2, 0, 0)
    );
    assert!(
        findings.iter().all(|finding| finding.contains("not UTF-8")),
        "{findings:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_is_refused_and_deletes_nothing() {
    let node = Node::new().await;
    node.write("a.txt", "a");
    node.import().await;
    node.remove("a.txt");
    let state = node.state().await;
    let refused = node
        .try_import(
            &node.options(),
            Arc::new(crate::monitor::Silent),
            &Shutdown::new(),
        )
        .await;
    assert!(matches!(refused, Err(Error::Empty { .. })), "{refused:?}");
    std::fs::remove_dir(node.dir()).unwrap();
    let refused = node
        .try_import(
            &node.options(),
            Arc::new(crate::monitor::Silent),
            &Shutdown::new(),
        )
        .await;
    assert!(matches!(refused, Err(Error::Folder { .. })), "{refused:?}");
    assert_eq!(node.state().await, state);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_holds_all_deletes_until_it_is_told_otherwise() {
    let node = Node::new().await;
    for n in 0..20 {
        node.write(&format!("d/{n}.txt"), n.to_string());
    }
    node.import().await;
    for n in 0..11 {
        node.remove(&format!("d/{n}.txt"));
    }
    let state = node.state().await;
    let report = node.import().await;
    assert_eq!((report.held, report.gone, report.unchanged), (11, 0, 9));
    assert_eq!(node.state().await, state);
    // A file that comes back is judged no more.
    node.write("d/10.txt", "10");
    let allowed = Options {
        max_delete: Some(10),
        ..node.options()
    };
    let (report, _) = node.import_with(&allowed).await;
    assert_eq!((report.held, report.gone), (0, 10));
    assert_eq!(node.catalogue.live_assets().await.unwrap(), 10);
    node.assert_rows_match_disk().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_node_of_the_same_name_makes_the_same_ids() {
    let (left, right) = (Node::new().await, Node::new().await);
    for node in [&left, &right] {
        for n in 0..9_u8 {
            let rel = format!("d{}/{n}.png", n % 3);
            node.image(&rel, n);
            set_time(&node.dir().join(rel), 1_700_000_000);
        }
        node.import().await;
    }
    assert_eq!(left.state().await, right.state().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_import_and_another_end_like_one_that_was_not() {
    let (whole, cut) = (Node::new().await, Node::new().await);
    for node in [&whole, &cut] {
        for n in 0..14_u8 {
            let rel = format!("d{}/{n:02}.png", n % 3);
            node.image(&rel, n);
            set_time(&node.dir().join(rel), 1_700_000_000);
        }
    }
    whole.import().await;
    for portions in 1..4 {
        let (monitor, stop) = StopAfter::new(portions);
        let report = cut
            .try_import(&cut.options(), monitor, &stop)
            .await
            .unwrap();
        assert!(stop.requested() && report.seen < 14, "{report:?}");
    }
    cut.import().await;
    assert_eq!(cut.state().await, whole.state().await);
    cut.assert_rows_match_disk().await;

    // Moves, deletes and replacements that are cut short.
    for node in [&whole, &cut] {
        node.rename("d0", "e");
        node.remove("d1/01.png");
        node.image("d2/02.png", 200);
        set_time(&node.dir().join("d2/02.png"), 1_700_000_001);
    }
    whole.import().await;
    let (monitor, stop) = StopAfter::new(4);
    let report = cut
        .try_import(&cut.options(), monitor, &stop)
        .await
        .unwrap();
    assert_eq!(
        (report.moved, report.gone),
        (5, 0),
        "cut after the moves, before anything was judged gone"
    );
    assert!(
        cut.disk().iter().any(|name| name.contains("/d0/")),
        "what was moved is still at its former place"
    );
    cut.import().await;
    assert_eq!(cut.state().await, whole.state().await);
    cut.assert_rows_match_disk().await;
}

/// Deletes `rel` as far as the first commit: what a kill before the second step leaves.
async fn bury_and_die(node: &Node, rel: &str) -> String {
    let silent = Arc::new(crate::monitor::Silent);
    let (options, stop, seams) = (node.options(), Shutdown::new(), Seams::os());
    let (catalogue, store) = (&node.catalogue, &node.store);
    let import = Import::open(catalogue, store, &node.own, &options, &seams, silent, &stop);
    let import = import.await.unwrap();
    let rows = catalogue
        .source_files(&import.source, &[rel])
        .await
        .unwrap();
    gone::bury(&import, &rows).await.unwrap();
    import.source
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_a_tombstone_and_its_bytes_is_mended() {
    let node = Node::new().await;
    node.image("a.png", 1);
    node.image("b.png", 2);
    node.import().await;
    node.remove("a.png");
    let source = bury_and_die(&node, "a.png").await;
    let is_left = |node: &Node| node.disk().iter().any(|name| name.contains("/a.png"));
    assert!(is_left(&node), "the bytes outlive the kill");
    let report = node.import().await;
    assert_eq!((report.gone, report.held, report.unchanged), (0, 0, 1));
    assert!(!is_left(&node));
    node.assert_rows_match_disk().await;
    assert_eq!(node.catalogue.count_source_files(&source).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_back_after_such_a_kill_is_alive_again() {
    let node = Node::new().await;
    node.image("a.png", 1);
    node.image("b.png", 2);
    node.import().await;
    let id = node.id("a.png").await;
    let aside = node.base.path().join("aside");
    std::fs::rename(node.dir().join("a.png"), &aside).unwrap();
    bury_and_die(&node, "a.png").await;
    // With the very size and date that its source row had.
    std::fs::rename(&aside, node.dir().join("a.png")).unwrap();
    let report = node.import().await;
    assert_eq!(
        (report.added, report.unchanged, report.renditions),
        (1, 1, 5)
    );
    assert_eq!(node.id("a.png").await, id);
    node.assert_rows_match_disk().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renditions_that_were_not_made_are_made_by_the_next_import() {
    let node = Node::new().await;
    node.image("a.png", 1);
    node.write("bad.png", "x");
    let without = Options {
        thumbs: false,
        ..node.options()
    };
    let (report, _) = node.import_with(&without).await;
    assert_eq!(
        (report.added, report.renditions, report.unrenderable),
        (2, 0, 0)
    );
    assert_eq!(node.asset("a.png").await["previewstatus"], "0");
    let report = node.import().await;
    assert_eq!(
        (report.unchanged, report.renditions, report.unrenderable),
        (2, 5, 1)
    );
    assert_eq!(node.asset("a.png").await["previewstatus"], "2");
    let report = node.import().await;
    assert_eq!((report.renditions, report.unrenderable), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_reports_and_writes_nothing() {
    let node = Node::new().await;
    for (n, rel) in ["a.png", "b.png", "c.png"].into_iter().enumerate() {
        node.image(rel, u8::try_from(n).unwrap());
    }
    let dry = Options {
        dry_run: true,
        ..node.options()
    };
    let before = (node.state().await, node.inodes());
    let (report, _) = node.import_with(&dry).await;
    assert_eq!((report.added, report.renditions), (3, 15));
    assert_eq!((node.state().await, node.inodes()), before);
    assert!(node.catalogue.sources().await.unwrap().is_empty());

    node.import().await;
    node.rename("a.png", "z.png");
    node.remove("b.png");
    node.image("c.png", 50);
    let before = (node.state().await, node.inodes());
    let (report, _) = node.import_with(&dry).await;
    assert_eq!(
        (report.moved, report.gone, report.changed, report.added),
        (1, 1, 1, 0)
    );
    assert_eq!((node.state().await, node.inodes()), before);
    let real = node.import().await;
    assert_eq!(
        (real.moved, real.gone, real.changed, real.added),
        (1, 1, 1, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_of_another_folder_is_refused_while_that_folder_has_it() {
    let node = Node::new().await;
    node.write("a.txt", "ours");
    node.write("b.txt", "b");
    node.import().await;
    let id = node.id("a.txt").await;
    let other = node.base.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("a.txt"), "theirs").unwrap();
    let options = Options {
        dir: other.clone(),
        ..node.options()
    };
    let (report, findings) = node.import_with(&options).await;
    assert_eq!(
        (report.refused, report.changed, report.added),
        (1, 0, 0),
        "{findings:?}"
    );
    // A folder that was moved as a whole is taken over where it lies now.
    std::fs::remove_dir_all(&other).unwrap();
    std::fs::rename(node.dir(), &other).unwrap();
    let (report, _) = node.import_with(&options).await;
    assert_eq!((report.unchanged, report.added, report.refused), (2, 0, 0));
    assert_eq!(node.id("a.txt").await, id);
    std::fs::remove_file(other.join("a.txt")).unwrap();
    assert_eq!(node.import_with(&options).await.0.gone, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_goes_below_its_prefix_and_stays_there() {
    let node = Node::new().await;
    node.write("sub/a.txt", "a");
    let below = Options {
        prefix: Some(MediaPath::new("Press/2024").unwrap()),
        ..node.options()
    };
    node.import_with(&below).await;
    let asset = node.asset("Press/2024/sub/a.txt").await;
    let chain = ["Press", "Press/2024", "Press/2024/sub"].map(|dir| ids::category(&node.own, dir));
    assert_eq!(
        asset["category"],
        serde_json::json!(["index", chain[0], chain[1], chain[2]])
    );
    let refused = node
        .try_import(
            &node.options(),
            Arc::new(crate::monitor::Silent),
            &Shutdown::new(),
        )
        .await;
    assert!(
        matches!(refused, Err(Error::OtherPrefix { .. })),
        "{refused:?}"
    );
    assert_eq!(node.import_with(&below).await.0.unchanged, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_and_a_directory_can_change_places() {
    let node = Node::new().await;
    node.write("a", "file");
    node.write("d/x", "inside");
    node.import().await;
    for rel in ["a", "d/x"] {
        node.remove(rel);
    }
    std::fs::remove_dir(node.dir().join("d")).unwrap();
    node.write("a/x", "other");
    node.write("d", "another");
    // What is in the way goes first; the finding says what the next import is for.
    let (report, findings) = node.import_with(&node.options()).await;
    assert_eq!(
        (report.refused, report.gone, report.added),
        (2, 2, 0),
        "{findings:?}"
    );
    let report = node.import().await;
    assert_eq!((report.refused, report.gone, report.added), (0, 0, 2));
    node.assert_rows_match_disk().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_moves_up_into_the_name_of_its_directory_keeps_its_asset() {
    let node = Node::new().await;
    node.write("a/b", "kept");
    node.write("z", "z");
    node.import().await;
    let id = node.id("a/b").await;
    node.rename("a/b", "tmp");
    std::fs::remove_dir(node.dir().join("a")).unwrap();
    node.rename("tmp", "a");
    let report = node.import().await;
    assert_eq!((report.refused, report.gone, report.moved), (0, 0, 1));
    assert_eq!(node.id("a").await, id);
    node.assert_rows_match_disk().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_cannot_be_published_is_no_delete() {
    let node = Node::new().await;
    node.write("a", "kept");
    node.write("z", "z");
    node.import().await;
    let id = node.id("a").await;
    // The place it moves to lies below a file of another asset, which only goes at the end of this import.
    node.remove("z");
    node.rename("a", "z/a");
    let report = node.import().await;
    assert_eq!((report.refused, report.gone, report.moved), (1, 1, 0));
    assert_eq!(node.id("a").await, id);
    let report = node.import().await;
    assert_eq!((report.refused, report.gone, report.moved), (0, 0, 1));
    assert_eq!(node.id("z/a").await, id);
    node.assert_rows_match_disk().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_into_a_record_survives_a_replacement_and_a_move() {
    let node = Node::new().await;
    node.image("a.png", 1);
    node.import().await;
    let key = RecordKey::new("asset", node.id("a.png").await).unwrap();
    let before = node.catalogue.record(&key).await.unwrap().unwrap().record;
    let mut members = record::members(&before).unwrap();
    members.insert("keywords".to_owned(), serde_json::json!(["sea"]));
    let status = fields::saved(
        &NodeId::new("peer").unwrap(),
        Some(&before),
        before.status.as_ref().unwrap().modified,
        false,
    );
    let status = crate::model::RecordStatus {
        master: node.own.clone(),
        ..status
    };
    let edited = fields::stamped(members, &key, &status);
    let mut batch = node.catalogue.batch().await.unwrap();
    batch
        .put_records(&[&edited], "peer", status.modified)
        .await
        .unwrap();
    batch.commit().await.unwrap();
    node.image("a.png", 2);
    node.import().await;
    node.rename("a.png", "b.png");
    node.import().await;
    let asset = node.asset("b.png").await;
    assert_eq!(
        (&asset["keywords"], &asset["id"]),
        (&serde_json::json!(["sea"]), &Value::from(key.id))
    );
}
