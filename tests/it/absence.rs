//! Hard deletes: records that vanish from their master without a tombstone (H-23), and listings that only look as if they had.

use bytes::Bytes;
use emsync::config::MaxDelete;
use emsync::model::{FileKind, Timestamp};
use emsync::pipeline::{Options, sync_peer};
use emsync::pull::metadata::Scope;
use serde_json::{Value, json};

use crate::support::emdb::{Content, Doc, Emdb, KEY, Setup, asset_members};
use crate::support::master::Master;
use crate::support::node::Mirror;

const CLUSTER: &str = "node-a-cluster";
const MTIME: i64 = 1_772_201_000_000;

fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

fn members(path: &str, size: usize) -> Value {
    asset_members(path, size, MTIME)
}

fn path(n: usize) -> String {
    format!("f{n:03}.bin")
}

fn id(n: usize) -> String {
    format!("a{n:03}")
}

fn add(content: &mut Content, n: usize) {
    let text = format!("content {n}");
    let doc = Doc::new(
        "asset",
        &id(n),
        CLUSTER,
        now(),
        members(&path(n), text.len()),
    );
    content.record(doc);
    content.original(&path(n), Bytes::from(text), MTIME);
    content.generated(&format!("{}/thumb.webp", path(n)), "thumb", MTIME);
}

async fn server(assets: usize) -> Emdb {
    let emdb = Emdb::start(Setup {
        page_size: 7,
        ..Setup::default()
    })
    .await;
    emdb.edit(|content| {
        for n in 0..assets {
            add(content, n);
        }
        let folder = json!({"name": "Port"});
        content.record(Doc::new("category", "c1", CLUSTER, now(), folder));
    });
    emdb
}

async fn mirror_of(emdb: &Emdb) -> Mirror {
    Mirror::of(emdb.base(), KEY, Some(CLUSTER)).await
}

fn vanish(emdb: &Emdb, assets: impl Iterator<Item = usize>) {
    emdb.edit(|content| {
        for n in assets {
            content.hard_delete("asset", &id(n));
            content.remove_file(&path(n));
            content.remove_file(&format!("{}/thumb.webp", path(n)));
        }
    });
}

fn trashed(mirror: &Mirror) -> Vec<String> {
    let trash = mirror.node.config.media.root.join(".emsync/trash");
    let mut names: Vec<String> = walkdir::WalkDir::new(trash)
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.file_name().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_vanished_goes_after_two_syncs_and_its_files_go_to_the_trash() {
    let emdb = server(30).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    vanish(&emdb, 3..5);
    emdb.edit(|content| content.hard_delete("category", "c1"));
    let first = mirror.sync().await;
    assert_eq!(first.report.deleted, 0, "one listing is no proof");
    assert!(mirror.has_live("asset", &id(3)).await);
    assert!(mirror.read(FileKind::Original, &path(3)).is_some());
    let second = mirror.sync().await;
    assert_eq!(second.report.deleted, 3);
    assert!(!mirror.has_live("asset", &id(3)).await);
    assert!(!mirror.has_live("category", "c1").await);
    assert_eq!(mirror.read(FileKind::Original, &path(4)), None);
    assert_eq!(
        trashed(&mirror),
        [path(3), path(4), "thumb.webp".into(), "thumb.webp".into()]
    );
    mirror.assert_in_sync().await;
    let third = mirror.sync().await;
    assert_eq!((third.report.deleted, third.report.records), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_seeds_are_two_listings() {
    let emdb = server(30).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    vanish(&emdb, 0..1);
    assert_eq!(mirror.seed().await.report.deleted, 0);
    assert_eq!(mirror.seed().await.report.deleted, 1);
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_listed_again_loses_its_note() {
    let emdb = server(20).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    vanish(&emdb, 2..3);
    mirror.seed().await;
    emdb.edit(|content| add(content, 2));
    mirror.seed().await;
    vanish(&emdb, 2..3);
    assert_eq!(mirror.seed().await.report.deleted, 0, "the note was kept");
    assert!(mirror.has_live("asset", &id(2)).await);
    assert_eq!(mirror.seed().await.report.deleted, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_comes_back_after_it_went_is_taken_like_a_new_one() {
    let emdb = server(20).await;
    let mirror = mirror_of(&emdb).await;
    let before = emdb.edit(|content| content.clone());
    mirror.seed().await;
    vanish(&emdb, 2..3);
    mirror.sync().await;
    mirror.sync().await;
    assert!(!mirror.has_live("asset", &id(2)).await);
    // As from a backup: with its old dates.
    emdb.edit(|content| *content = before);
    mirror.sync().await;
    assert!(mirror.has_live("asset", &id(2)).await);
    assert!(mirror.read(FileKind::Original, &path(2)).is_some());
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_vanished_records_than_the_guard_allows_are_held() {
    let emdb = server(40).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    vanish(&emdb, 0..11);
    mirror.sync().await;
    let outcome = mirror.sync().await;
    assert_eq!((outcome.deletes.held, outcome.report.deleted), (11, 0));
    for n in 0..11 {
        assert!(mirror.read(FileKind::Original, &path(n)).is_some());
    }
    // Back before anybody let them go: nothing is held any more.
    emdb.edit(|content| (0..11).for_each(|n| add(content, n)));
    let outcome = mirror.sync().await;
    assert_eq!((outcome.deletes.held, outcome.report.deleted), (0, 0));
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_master_takes_nothing_away() {
    let emdb = server(9).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    let all = emdb.edit(std::mem::take);
    for _ in 0..4 {
        mirror.run(Scope::Everything).await;
        mirror.run(Scope::Changes).await;
    }
    for n in 0..9 {
        assert!(mirror.read(FileKind::Original, &path(n)).is_some(), "{n}");
    }
    emdb.edit(|content| *content = all);
    mirror.sync().await;
    mirror.assert_in_sync().await;
    // A person's word lets them go.
    emdb.edit(std::mem::take);
    let options = Options {
        max_delete: Some(MaxDelete::Count(20)),
        ..Options::of(Scope::Everything)
    };
    let peer = mirror.peer();
    for _ in 0..2 {
        let monitor = mirror.monitor.clone();
        sync_peer(
            &mirror.node,
            &peer,
            options.clone(),
            monitor,
            &mirror.shutdown,
        )
        .await
        .unwrap();
    }
    assert!(!mirror.has_live("asset", &id(0)).await);
    assert_eq!(mirror.read(FileKind::Original, &path(0)), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_edit_of_a_vanished_record_keeps_it() {
    let emdb = server(20).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    let key = emsync::model::RecordKey::new("asset", id(1)).unwrap();
    let catalogue = &mirror.node.catalogue;
    let stored = catalogue.record(&key).await.unwrap().unwrap().record;
    let status = emsync::model::RecordStatus {
        modified_by: mirror.node.config.node.cluster_id.clone(),
        modified: now(),
        ..stored.status.clone().unwrap()
    };
    let edited = emsync::protocol::record::restamped(&stored, &status).unwrap();
    let mut batch = catalogue.batch().await.unwrap();
    batch
        .put_records(&[&edited], "master", now())
        .await
        .unwrap();
    batch.commit().await.unwrap();
    vanish(&emdb, 1..2);
    for _ in 0..3 {
        mirror.seed().await;
    }
    assert!(mirror.has_live("asset", &id(1)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_vanishes_from_an_emsync_master_vanishes_along_the_chain() {
    let master = Master::new(5).await;
    for n in 0..20 {
        master
            .add(&id(n), &path(n), format!("content {n}").as_bytes())
            .await;
    }
    let middle = master.mirror().await;
    middle.seed().await;
    let served = Master::serving(middle.node.clone(), 6).await;
    let last = served.mirror().await;
    last.seed().await;
    let key = emsync::model::RecordKey::new("asset", id(7)).unwrap();
    let mut batch = master.node.catalogue.batch().await.unwrap();
    batch.take_record_away(&key, "test", now()).await.unwrap();
    batch.commit().await.unwrap();
    middle.sync().await;
    assert_eq!(middle.sync().await.report.deleted, 1);
    last.sync().await;
    assert_eq!(last.sync().await.report.deleted, 1);
    assert!(!last.has_live("asset", &id(7)).await);
    assert_eq!(last.read(FileKind::Original, &path(7)), None);
    last.assert_in_sync().await;
    served.end().await;
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_whose_counts_add_up_lists_only_what_changed() {
    let emdb = server(30).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    emdb.edit(|content| {
        add(content, 30);
        let gone = Doc::new("asset", &id(2), CLUSTER, now(), members(&path(2), 9));
        content.record(gone.deleted());
    });
    mirror.sync().await;
    let before = emdb.requests("listalldocs").len();
    mirror.sync().await;
    let asked = emdb.requests("listalldocs").len() - before;
    assert!(asked <= 2, "{asked} first pages were asked for");
    let pages = emdb.requests("nextall").len();
    mirror.sync().await;
    assert!(
        emdb.requests("nextall").len() - pages <= 4,
        "a sync without changes listed everything"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_masters_search_still_finds_stays_however_often_it_is_not_listed() {
    let emdb = server(30).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    emdb.edit(|content| content.unlisted_ids = vec![id(4), "c1".to_owned()]);
    for _ in 0..4 {
        let outcome = mirror.seed().await;
        assert_eq!((outcome.report.deleted, outcome.deletes.held), (0, 0));
    }
    assert!(mirror.has_live("asset", &id(4)).await);
    assert!(mirror.has_live("category", "c1").await);
    assert!(mirror.read(FileKind::Original, &path(4)).is_some());
    let said = mirror.monitor.seen().findings.join("\n");
    assert!(said.contains("still has"), "{said}");
    // Listed again, and then really gone.
    emdb.edit(|content| content.unlisted_ids.clear());
    mirror.seed().await;
    vanish(&emdb, 4..5);
    mirror.seed().await;
    assert_eq!(mirror.seed().await.report.deleted, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_shorter_than_the_masters_own_count_is_not_believed() {
    let emdb = server(30).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    vanish(&emdb, 4..5);
    // Somebody who was never listed makes the count what it was.
    emdb.edit(|content| {
        let mut never_stamped = Doc::new("asset", "old", CLUSTER, now(), members("old.bin", 3));
        never_stamped.source["emrecordstatus"] = json!({ "recorddeleted": false });
        content.record(never_stamped);
    });
    for _ in 0..3 {
        assert_eq!(mirror.seed().await.report.deleted, 0);
    }
    assert!(mirror.has_live("asset", &id(4)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_lists_everything_when_that_is_long_ago() {
    let emdb = server(30).await;
    let mirror = Mirror::with(emdb.base(), KEY, Some(CLUSTER), |config| {
        config.limits.full_listing = std::time::Duration::ZERO;
    })
    .await;
    mirror.seed().await;
    // A record that no change window shows, and no count either: a category.
    emdb.edit(|content| content.hard_delete("category", "c1"));
    mirror.sync().await;
    assert_eq!(mirror.sync().await.report.deleted, 1);
    assert!(!mirror.has_live("category", "c1").await);
}
