//! The contract of the catalogue, written so that a second engine can run it: each function takes an empty catalogue.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::model::job::{FetchJob, UploadJob, Work, fetch_subject, upload_subject};
use crate::model::{
    AssetId, FileKind, MediaFile, MediaPath, Module, NodeId, Record, RecordKey, RecordStatus,
    Sha256, Timestamp,
};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// A new catalogue, and the directory it lives in.
pub(super) async fn empty() -> (tempfile::TempDir, Catalogue) {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::open(&dir.path().join("emsync.db"))
        .await
        .unwrap();
    (dir, catalogue)
}

fn record(module: &str, id: &str, modified: i64, deleted: bool) -> Record {
    let node = NodeId::new("node-a").unwrap();
    let modified = Timestamp::from_millis(modified);
    let source = format!("{{\"id\":\"{id}\",\"n\":{}}}", modified.as_millis());
    Record {
        key: RecordKey::new(module, id).unwrap(),
        content: Sha256::of(source.as_bytes()),
        source,
        status: Some(RecordStatus {
            deleted,
            master: node.clone(),
            modified_by: node,
            modified,
            master_modified: Some(modified),
        }),
    }
}

async fn put(catalogue: &Catalogue, records: &[Record], now: Timestamp) {
    let mut batch = catalogue.batch().await.unwrap();
    batch
        .put_records(&records.iter().collect::<Vec<_>>(), "master", now)
        .await
        .unwrap();
    batch.commit().await.unwrap();
}

fn wish(path: &str, size: u64) -> NewJob {
    let fetch = FetchJob {
        kind: FileKind::Original,
        path: path.to_owned(),
        size: Some(size),
        exact: true,
        modified: None,
        sha256: None,
        md5: None,
        from: None,
        then: None,
    };
    NewJob {
        peer: "master".to_owned(),
        subject: format!("originals/{path}"),
        lane: Lane::Small,
        asset: AssetId::new("a1").unwrap(),
        size,
        work: Work::Fetch(fetch),
    }
}

async fn enqueue(catalogue: &Catalogue, jobs: &[NewJob]) {
    let mut batch = catalogue.batch().await.unwrap();
    batch.enqueue(jobs, NOW).await.unwrap();
    batch.commit().await.unwrap();
}

async fn claim(catalogue: &Catalogue, limit: usize, now: Timestamp) -> Vec<Job> {
    catalogue
        .claim(
            ("master", Lane::Small),
            limit,
            "w1",
            now,
            Duration::from_secs(60),
        )
        .await
        .unwrap()
}

#[tokio::test]
async fn a_record_comes_back_as_it_was_stored() {
    let (_dir, catalogue) = empty().await;
    let bare = Record {
        key: RecordKey::new("library", "l1").unwrap(),
        source: "{ \"b\": 1,\n \"a\":null}".to_owned(),
        status: None,
        content: Sha256::of(b"x"),
    };
    let stamped = record("asset", "a1", 1000, true);
    put(&catalogue, &[bare.clone(), stamped.clone()], NOW).await;
    let keys = [
        bare.key.clone(),
        stamped.key.clone(),
        RecordKey::new("asset", "absent").unwrap(),
    ];
    let found = catalogue.stored(&keys).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[&bare.key].record, bare);
    assert_eq!(found[&stamped.key].record, stamped);
    assert_eq!(
        catalogue
            .record(&stamped.key)
            .await
            .unwrap()
            .unwrap()
            .received_at,
        NOW
    );
    assert_eq!(catalogue.last_change().await.unwrap(), Some(NOW));
}

#[tokio::test]
async fn a_batch_that_is_dropped_leaves_nothing() {
    let (_dir, catalogue) = empty().await;
    let one = record("asset", "a1", 1, false);
    let mut batch = catalogue.batch().await.unwrap();
    batch.put_records(&[&one], "", NOW).await.unwrap();
    drop(batch);
    assert_eq!(catalogue.record(&one.key).await.unwrap(), None);
    assert_eq!(catalogue.last_change().await.unwrap(), None);
}

#[tokio::test]
async fn pages_of_a_window_hold_every_record_once_also_when_records_move_meanwhile() {
    let (_dir, catalogue) = empty().await;
    let all: Vec<_> = (0..23)
        .map(|n| {
            record(
                if n % 3 == 0 { "category" } else { "asset" },
                &format!("r{n:02}"),
                1000,
                false,
            )
        })
        .collect();
    put(&catalogue, &all, Timestamp::from_millis(2000)).await;
    put(
        &catalogue,
        &[record("asset", "old", 10, false)],
        Timestamp::from_millis(20),
    )
    .await;

    let window = catalogue
        .window(Timestamp::from_millis(1500), 5, &[])
        .await
        .unwrap();
    assert_eq!((window.total, window.pages()), (23, 5));
    let mut seen = BTreeSet::new();
    for page in 1..=window.pages() {
        if page == 3 {
            // One record of an earlier page and one of a later page change, and a new one appears, in mid-listing.
            let moved = [
                record("asset", "r01", 3000, false),
                record("category", "r21", 3000, false),
                record("asset", "zz", 3000, false),
            ];
            put(&catalogue, &moved, Timestamp::from_millis(3000)).await;
        }
        for stored in catalogue.window_page(&window, page, &[]).await.unwrap() {
            assert!(
                seen.insert(stored.record.key.clone()),
                "{} came twice",
                stored.record.key
            );
        }
    }
    assert!(all.iter().all(|record| seen.contains(&record.key)));
    assert!(
        catalogue
            .window_page(&window, 6, &[])
            .await
            .unwrap()
            .is_empty()
    );

    let only_assets = catalogue
        .window(Timestamp::EPOCH, 100, &[Module::category()])
        .await
        .unwrap();
    assert_eq!(only_assets.pages(), 1);
    let modules: BTreeSet<_> = catalogue
        .window_page(&only_assets, 1, &[Module::category()])
        .await
        .unwrap()
        .into_iter()
        .map(|stored| stored.record.key.module)
        .collect();
    assert_eq!(modules, BTreeSet::from([Module::asset()]));
    assert_eq!(
        catalogue
            .window(Timestamp::from_millis(9_999), 5, &[])
            .await
            .unwrap()
            .pages(),
        0
    );
}

#[tokio::test]
async fn records_without_a_complete_status_are_stored_but_never_listed() {
    let (_dir, catalogue) = empty().await;
    let mut bare = record("asset", "bare", 1000, false);
    bare.status = None;
    let mut half = record("asset", "half", 1000, false);
    if let Some(status) = &mut half.status {
        status.master_modified = None;
    }
    let whole = record("asset", "whole", 1000, false);
    put(&catalogue, &[bare.clone(), half, whole.clone()], NOW).await;
    let window = catalogue.window(Timestamp::EPOCH, 1, &[]).await.unwrap();
    assert_eq!((window.total, window.pages()), (1, 1));
    let page = catalogue.window_page(&window, 1, &[]).await.unwrap();
    let listed: Vec<_> = page.into_iter().map(|stored| stored.record).collect();
    assert_eq!(listed, [whole]);
    assert!(catalogue.record(&bare.key).await.unwrap().is_some());
}

#[tokio::test]
async fn a_page_that_outgrows_its_window_is_cut_and_says_so() {
    let (_dir, catalogue) = empty().await;
    put(&catalogue, &[record("asset", "r", 1000, false)], NOW).await;
    let window = catalogue.window(Timestamp::EPOCH, 2, &[]).await.unwrap();
    let mut more: Vec<_> = (0..7)
        .map(|n| record("asset", &format!("r{n}"), 1000, false))
        .collect();
    put(&catalogue, &more, NOW).await;
    let page = catalogue.window_page(&window, 1, &[]).await.unwrap();
    assert_eq!((page.len(), window.outgrown(&page)), (8, false));
    more.push(record("asset", "s", 1000, false));
    more.push(record("asset", "t", 1000, false));
    put(&catalogue, &more, NOW).await;
    let page = catalogue.window_page(&window, 1, &[]).await.unwrap();
    assert_eq!((page.len(), window.outgrown(&page)), (9, true));
}

#[tokio::test]
async fn live_records_are_counted_and_paged_without_tombstones() {
    let (_dir, catalogue) = empty().await;
    let all: Vec<_> = (0..7)
        .map(|n| record("asset", &format!("r{n}"), 1000, n % 3 == 1))
        .collect();
    put(&catalogue, &all, NOW).await;
    put(&catalogue, &[record("category", "c", 1, false)], NOW).await;
    let asset = Module::asset();
    assert_eq!(catalogue.live_records(&asset).await.unwrap(), 5);
    let page = catalogue.live_page(&asset, 3, 3).await.unwrap();
    let ids: Vec<_> = page.iter().map(|stored| &*stored.record.key.id).collect();
    assert_eq!(ids, ["r5", "r6"]);
    assert!(catalogue.live_page(&asset, 9, 3).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_file_makes_its_asset_listed_again() {
    let (_dir, catalogue) = empty().await;
    put(
        &catalogue,
        &[record("asset", "a1", 1000, false)],
        Timestamp::from_millis(1000),
    )
    .await;
    let file = MediaFile {
        kind: FileKind::Original,
        path: MediaPath::new("Caf\u{e9}/a b#%.jpg").unwrap(),
        place: None,
        asset: AssetId::new("a1").unwrap(),
        size: 7,
        modified: Timestamp::from_millis(123),
        sha256: Sha256::of(b"x"),
        md5: None,
        authored: false,
        fingerprint: None,
    };
    let mut batch = catalogue.batch().await.unwrap();
    batch
        .put_file(&file, Timestamp::from_millis(5000))
        .await
        .unwrap();
    batch.commit().await.unwrap();
    assert_eq!(
        catalogue
            .window(Timestamp::from_millis(4000), 5, &[])
            .await
            .unwrap()
            .total,
        1
    );
    assert_eq!(
        catalogue
            .file(file.kind, &file.path, &file.asset)
            .await
            .unwrap()
            .unwrap()
            .file,
        file
    );
    assert_eq!(catalogue.files_of(&["a1", "a2"]).await.unwrap().len(), 1);
    assert_eq!(catalogue.files_with(&file.sha256).await.unwrap().len(), 1);

    let mut batch = catalogue.batch().await.unwrap();
    let other = Sha256::of(b"y");
    assert_eq!(
        batch
            .forget_file(file.kind, &file.path, &file.asset, &other, NOW)
            .await
            .unwrap(),
        None,
        "another content was forgotten"
    );
    assert_eq!(
        batch
            .forget_file(file.kind, &file.path, &file.asset, &file.sha256, NOW)
            .await
            .unwrap(),
        Some(file.path.clone())
    );
    batch.commit().await.unwrap();
    assert_eq!(
        catalogue.file_totals().await.unwrap(),
        FileTotals::default()
    );
}

#[tokio::test]
async fn a_job_is_given_to_one_worker_and_goes_when_it_is_settled() {
    let (_dir, catalogue) = empty().await;
    enqueue(&catalogue, &[wish("a", 1), wish("b", 2), wish("c", 3)]).await;
    let first = claim(&catalogue, 2, NOW).await;
    let second = claim(&catalogue, 2, NOW).await;
    let subjects: Vec<_> = first
        .iter()
        .chain(&second)
        .map(|job| job.subject.as_str())
        .collect();
    assert_eq!(subjects, ["originals/a", "originals/b", "originals/c"]);
    assert!(claim(&catalogue, 2, NOW).await.is_empty());
    let mut batch = catalogue.batch().await.unwrap();
    batch.settle(&first[0]).await.unwrap();
    batch
        .retry_at(
            &first[1],
            NOW.plus(Duration::from_secs(5)),
            "connection reset",
        )
        .await
        .unwrap();
    batch
        .quarantine(&second[0], "digest differs")
        .await
        .unwrap();
    batch.commit().await.unwrap();
    assert_eq!(
        catalogue.job_counts(Some("master")).await.unwrap(),
        JobCounts {
            open: 1,
            open_bytes: 2,
            quarantined: 1,
            held: 0
        }
    );
    assert_eq!(catalogue.bytes_left().await.unwrap(), (2, 0));
    assert_eq!(
        catalogue.next_due("master", Lane::Small).await.unwrap(),
        Some(NOW.plus(Duration::from_secs(5)))
    );
    let aside = catalogue.set_aside(None, None, 10).await.unwrap();
    assert_eq!(
        (
            aside.len(),
            aside[0].subject.as_str(),
            aside[0].reason.as_str()
        ),
        (1, "originals/c", "digest differs")
    );
    let again = claim(&catalogue, 5, NOW.plus(Duration::from_secs(6))).await;
    assert_eq!((again.len(), again[0].attempts), (1, 1));
}

#[tokio::test]
async fn an_old_claim_cannot_settle_a_new_wish() {
    let (_dir, catalogue) = empty().await;
    enqueue(&catalogue, &[wish("a", 1)]).await;
    let claimed = claim(&catalogue, 1, NOW).await.remove(0);
    enqueue(&catalogue, &[wish("a", 2)]).await;
    assert!(
        claim(&catalogue, 1, NOW).await.is_empty(),
        "two workers hold one subject"
    );
    let mut batch = catalogue.batch().await.unwrap();
    batch.settle(&claimed).await.unwrap();
    batch.commit().await.unwrap();
    let again = claim(&catalogue, 1, NOW).await;
    assert_eq!((again.len(), again[0].size), (1, 2));
}

#[tokio::test]
async fn a_quarantined_job_waits_for_a_new_run_or_a_new_wish() {
    let (_dir, catalogue) = empty().await;
    enqueue(&catalogue, &[wish("a", 1)]).await;
    let claimed = claim(&catalogue, 1, NOW).await.remove(0);
    let mut batch = catalogue.batch().await.unwrap();
    batch.quarantine(&claimed, "not found").await.unwrap();
    batch.commit().await.unwrap();
    enqueue(&catalogue, &[wish("a", 1)]).await;
    assert!(
        claim(&catalogue, 1, NOW).await.is_empty(),
        "the same wish revived it"
    );
    let mut batch = catalogue.batch().await.unwrap();
    assert_eq!(batch.try_again("master", 4, NOW).await.unwrap(), 1);
    batch.commit().await.unwrap();
    let revived = claim(&catalogue, 1, NOW).await.remove(0);
    assert_eq!(revived.attempts, 4, "it gets one try, not five");
}

#[tokio::test]
async fn leases_of_a_dead_run_are_taken_back() {
    let (_dir, catalogue) = empty().await;
    enqueue(&catalogue, &[wish("a", 1)]).await;
    assert_eq!(claim(&catalogue, 1, NOW).await.len(), 1);
    let mut batch = catalogue.batch().await.unwrap();
    assert_eq!(batch.take_back_leases("master", NOW).await.unwrap(), 1);
    batch.commit().await.unwrap();
    assert_eq!(claim(&catalogue, 1, NOW).await.len(), 1);
}

#[tokio::test]
async fn a_listing_and_its_rows_move_together() {
    let (_dir, catalogue) = empty().await;
    let listing = Listing {
        started_at: NOW,
        server_now: NOW,
        since: Timestamp::EPOCH,
        session: "s".to_owned(),
        resumable: true,
        page: 1,
        pages: 3,
        total: 5,
        live_before: 0,
    };
    let mut batch = catalogue.batch().await.unwrap();
    let keys = [
        (RecordKey::new("asset", "a").unwrap(), true),
        (RecordKey::new("asset", "b").unwrap(), false),
    ];
    batch.see("master", &keys).await.unwrap();
    batch.see("master", &keys[..1]).await.unwrap();
    batch.put_listing("master", &listing).await.unwrap();
    batch.commit().await.unwrap();
    assert_eq!(catalogue.listing("master").await.unwrap(), Some(listing));
    assert_eq!(catalogue.seen("master").await.unwrap(), 2);

    let checkpoint = Checkpoint {
        watermark: NOW,
        server_watermark: NOW,
        took_ms: 9,
    };
    let mut batch = catalogue.batch().await.unwrap();
    batch
        .put_checkpoint("master", "changes", &checkpoint)
        .await
        .unwrap();
    batch.commit().await.unwrap();
    let seen = catalogue.seen("master").await.unwrap();
    assert_eq!(seen, 2, "what was shown is still to be audited");
    let mut batch = catalogue.batch().await.unwrap();
    batch.end_listing("master").await.unwrap();
    batch.commit().await.unwrap();
    assert_eq!(
        catalogue.checkpoint("master", "changes").await.unwrap(),
        Some(checkpoint)
    );
    assert_eq!(
        (
            catalogue.listing("master").await.unwrap(),
            catalogue.seen("master").await.unwrap()
        ),
        (None, 0)
    );
}

#[tokio::test]
async fn the_same_conflict_is_kept_once() {
    let (_dir, catalogue) = empty().await;
    let conflict = |winner, local: &str| Conflict {
        key: RecordKey::new("asset", "a").unwrap(),
        peer: "master".to_owned(),
        at: NOW,
        winner,
        local_source: local.to_owned(),
        remote_source: "{\"x\":1}".to_owned(),
    };
    // What was refused before is refused again, whatever became of ours; what was lost is lost once for each version of it.
    for (winner, local, is_new) in [
        (Winner::Local, "{}", true),
        (Winner::Local, "{}", false),
        (Winner::Local, "{\"y\":1}", false),
        (Winner::Remote, "{}", true),
        (Winner::Remote, "{}", false),
        (Winner::Remote, "{\"y\":1}", true),
    ] {
        let mut batch = catalogue.batch().await.unwrap();
        let kept = batch.put_conflict(&conflict(winner, local)).await.unwrap();
        batch.commit().await.unwrap();
        assert_eq!(kept, is_new, "{winner:?} {local}");
    }
    let newest = conflict(Winner::Remote, "{\"y\":1}");
    assert_eq!(catalogue.conflicts(1).await.unwrap(), [newest]);
    assert_eq!(catalogue.count_conflicts().await.unwrap(), 3);
}

#[tokio::test]
async fn wishes_for_files_are_found_by_their_asset_and_by_their_name() {
    let (_dir, catalogue) = empty().await;
    let of = |asset: &str, subject: &str, lane| NewJob {
        subject: subject.to_owned(),
        lane,
        asset: AssetId::new(asset).unwrap(),
        ..wish("a.jpg", 5)
    };
    let further = fetch_subject(
        FileKind::Original,
        "a.jpg",
        Some(&AssetId::new("2").unwrap()),
    );
    let jobs = [
        of("1", "originals/a.jpg", Lane::Small),
        of("2", &further, Lane::Large),
        of("2", "generated/a.jpg", Lane::Small),
        of("1", "remove:originals/b.jpg", Lane::Remove),
        NewJob {
            peer: "other".to_owned(),
            ..of("1", "originals/a.jpg", Lane::Small)
        },
    ];
    enqueue(&catalogue, &jobs).await;
    let subjects =
        |jobs: Vec<Job>| -> Vec<String> { jobs.into_iter().map(|job| job.subject).collect() };
    let of_assets =
        async |assets: &[&str]| subjects(catalogue.fetches_for("master", assets).await.unwrap());
    assert_eq!(of_assets(&["1"]).await, ["originals/a.jpg"]);
    assert_eq!(
        of_assets(&["1", "2"]).await,
        ["generated/a.jpg", "originals/a.jpg", further.as_str()]
    );
    assert!(of_assets(&["3"]).await.is_empty());
    let path = MediaPath::new("a.jpg").unwrap();
    let named = async |kind, asset: Option<&str>| {
        let asset = asset.map(|id| AssetId::new(id).unwrap());
        let found = catalogue
            .fetches_named("master", kind, &path, asset.as_ref())
            .await;
        subjects(found.unwrap())
    };
    assert_eq!(named(FileKind::Original, None).await, ["originals/a.jpg"]);
    assert_eq!(
        named(FileKind::Original, Some("2")).await,
        [further.as_str()]
    );
    assert_eq!(
        named(FileKind::Generated, Some("2")).await,
        ["generated/a.jpg"]
    );
    assert!(named(FileKind::Original, Some("3")).await.is_empty());
    // What is set aside is asked of nobody.
    let claimed = catalogue
        .claim(
            ("master", Lane::Small),
            10,
            "w",
            NOW,
            Duration::from_secs(60),
        )
        .await
        .unwrap();
    let mut batch = catalogue.batch().await.unwrap();
    batch.quarantine(&claimed[0], "no").await.unwrap();
    batch.commit().await.unwrap();
    assert_eq!(of_assets(&["1", "2"]).await.len(), 2);
}

#[tokio::test]
async fn keys_are_found_by_their_public_part_and_names_are_unique() {
    let (_dir, catalogue) = empty().await;
    let key = AccessKey {
        id: "k1".to_owned(),
        name: "mirror-1".to_owned(),
        hash: Sha256::of(b"secret"),
        scope: Scope::Read,
        created_at: NOW,
    };
    let mut batch = catalogue.batch().await.unwrap();
    assert!(batch.put_key(&key).await.unwrap());
    assert!(
        !batch
            .put_key(&AccessKey {
                id: "k2".to_owned(),
                ..key.clone()
            })
            .await
            .unwrap()
    );
    batch.commit().await.unwrap();
    assert_eq!(catalogue.key("k1").await.unwrap(), Some(key.clone()));
    assert_eq!(catalogue.keys().await.unwrap(), [key]);
}

#[tokio::test]
async fn a_second_walk_tells_what_is_gone() {
    let (_dir, catalogue) = empty().await;
    let file = |path: &str| SourceFile {
        path: path.to_owned(),
        size: 1,
        modified_ns: 5,
        sha256: Sha256::of(path.as_bytes()),
        asset: AssetId::new("a1").unwrap(),
    };
    for files in [vec![file("a"), file("b")], vec![file("b")]] {
        let mut batch = catalogue.batch().await.unwrap();
        let walk = batch.begin_walk("/photos", "", NOW).await.unwrap();
        batch
            .put_source_files("/photos", walk, &files)
            .await
            .unwrap();
        batch.commit().await.unwrap();
    }
    let walk = catalogue.sources().await.unwrap()[0].walk;
    assert_eq!(
        catalogue.gone_files("/photos", walk, "", 10).await.unwrap(),
        [file("a")]
    );
    assert_eq!(
        catalogue
            .left_behind("/photos", walk, &file("a").sha256)
            .await
            .unwrap(),
        [file("a")]
    );
    assert_eq!(
        catalogue
            .source_files("/photos", &["b", "c"])
            .await
            .unwrap(),
        [file("b")]
    );
}

#[tokio::test]
async fn a_spool_gives_a_listing_back_in_order() {
    let (dir, _catalogue) = empty().await;
    let spool = Spool::create(dir.path(), "conformance").await.unwrap();
    let listed = |id: &str| SpooledRecord {
        key: RecordKey::new("asset", id).unwrap(),
        deleted: false,
        stamp: String::new(),
        content: Sha256::of(id.as_bytes()),
    };
    spool.put(&[listed("c"), listed("a")], &[]).await.unwrap();
    spool.put(&[listed("b"), listed("a")], &[]).await.unwrap();
    assert_eq!(spool.count().await.unwrap(), 3);
    let first = spool.records_after(None, 2).await.unwrap();
    let rest = spool.records_after(Some(&first[1].key), 2).await.unwrap();
    assert_eq!(
        [first, rest].concat(),
        [listed("a"), listed("b"), listed("c")]
    );
    drop(spool);
    assert!(!dir.path().join("verify-conformance.db").exists());
}

#[tokio::test]
async fn what_goes_is_remembered_with_its_reason_in_the_same_transaction() {
    let (_dir, catalogue) = empty().await;
    let stated = |path: &str, deleted| {
        let mut stated = record("asset", "a1", 1000, deleted);
        stated.source = format!("{{\"id\":\"a1\",\"sourcepath\":\"{path}\"}}");
        stated
    };
    let file = |content: &[u8]| MediaFile {
        kind: FileKind::Original,
        place: None,
        path: MediaPath::new("p").unwrap(),
        asset: AssetId::new("a1").unwrap(),
        size: content.len() as u64,
        modified: NOW,
        sha256: Sha256::of(content),
        md5: None,
        authored: false,
        fingerprint: None,
    };
    let (one, two) = (file(b"one"), file(b"two"));
    put(&catalogue, &[stated("p", false)], NOW).await;
    let mut batch = catalogue.batch().await.unwrap();
    batch.put_file(&one, NOW).await.unwrap();
    batch.put_file(&one, NOW).await.unwrap();
    batch.put_file(&two, NOW).await.unwrap();
    drop(batch);
    let former = || async { catalogue.former_of("a1", 0, 100).await.unwrap() };
    assert_eq!(
        former().await,
        [],
        "a batch that was dropped left something"
    );

    let mut batch = catalogue.batch().await.unwrap();
    for file in [&one, &one, &two] {
        batch.put_file(file, NOW).await.unwrap();
    }
    batch.commit().await.unwrap();
    let gone = former().await;
    assert_eq!(gone.len(), 1);
    assert_eq!((&gone[0].file, gone[0].reason), (&one, Reason::Replaced));

    // Forgotten while its record is alive and names it, names another place, is a tombstone of a peer's, and of ours.
    for (path, deleted, origin, reason) in [
        ("p", false, "master", Reason::Unlisted),
        ("q", false, "master", Reason::Moved),
        ("p", true, "master", Reason::Deleted),
        ("p", true, "", Reason::DeletedHere),
    ] {
        let mut batch = catalogue.batch().await.unwrap();
        batch
            .put_records(&[&stated(path, deleted)], origin, NOW)
            .await
            .unwrap();
        batch.put_file(&two, NOW).await.unwrap();
        let other = Sha256::of(b"other");
        let forget = |content| (two.kind, two.path.clone(), two.asset.clone(), content);
        for (kind, path, asset, content) in [forget(other), forget(two.sha256)] {
            batch
                .forget_file(kind, &path, &asset, &content, NOW)
                .await
                .unwrap();
        }
        batch.commit().await.unwrap();
        assert_eq!(
            former().await.last().unwrap().reason,
            reason,
            "{path} {deleted} {origin:?}"
        );
    }
    assert_eq!(former().await.len(), 5);
    let at = (FileKind::Original, &two.path);
    assert_eq!(catalogue.former_at(at, 3, NOW, 2).await.unwrap().len(), 2);
    assert_eq!(catalogue.former_at(at, 4, NOW, 2).await.unwrap(), []);
    let mut batch = catalogue.batch().await.unwrap();
    batch.forget_former(&[gone[0].id]).await.unwrap();
    let later = NOW.plus(Duration::from_millis(1));
    assert_eq!(batch.forget_former_before(later).await.unwrap(), 4);
    batch.commit().await.unwrap();
    assert_eq!(former().await, []);
}

#[tokio::test]
async fn only_what_is_quarantined_is_retried_or_dropped() {
    let (_dir, catalogue) = empty().await;
    let lease = Duration::from_secs(60);
    let mut batch = catalogue.batch().await.unwrap();
    batch
        .enqueue(&[wish("a", 1), wish("b", 2), wish("c", 3)], NOW)
        .await
        .unwrap();
    batch.commit().await.unwrap();
    let peer = wish("a", 1).peer;
    let jobs = catalogue
        .claim((&peer, Lane::Small), 2, "t", NOW, lease)
        .await
        .unwrap();
    let mut batch = catalogue.batch().await.unwrap();
    batch.quarantine(&jobs[0], "no such file").await.unwrap();
    batch
        .quarantine_new(&peer, "record:asset/x", "x", "{}", "bad", NOW)
        .await
        .unwrap();
    batch.commit().await.unwrap();

    let aside = catalogue.quarantined(Aside::Of(None), 0, 10).await.unwrap();
    assert_eq!(aside.len(), 2);
    assert_eq!(
        (aside[0].id, aside[0].reason.as_str(), aside[0].attempts),
        (jobs[0].id, "no such file", 1)
    );
    let id = jobs[0].id.to_string();
    for name in [id.as_str(), &jobs[0].subject] {
        let named = catalogue
            .quarantined(Aside::Named(name, Some(&peer)), 0, 10)
            .await
            .unwrap();
        assert_eq!(named, aside[..1]);
    }
    assert_eq!(
        catalogue
            .quarantined(Aside::Of(Some("other")), 0, 10)
            .await
            .unwrap(),
        []
    );

    let mut batch = catalogue.batch().await.unwrap();
    // A lease of a running sync, a waiting job, and a bad record.
    for id in [jobs[1].id, jobs[1].id + 1, aside[1].id] {
        assert!(!batch.retry_quarantined(id, NOW).await.unwrap());
    }
    assert!(!batch.drop_quarantined(jobs[1].id).await.unwrap());
    assert!(batch.retry_quarantined(jobs[0].id, NOW).await.unwrap());
    assert!(!batch.drop_quarantined(jobs[0].id).await.unwrap());
    assert!(batch.drop_quarantined(aside[1].id).await.unwrap());
    batch.commit().await.unwrap();
    let again = catalogue
        .claim((&peer, Lane::Small), 1, "t", NOW, lease)
        .await
        .unwrap();
    assert_eq!((again[0].id, again[0].attempts), (jobs[0].id, 0));
}

#[tokio::test]
async fn a_catalogue_that_is_only_looked_at_cannot_be_written() {
    let (dir, catalogue) = empty().await;
    catalogue.close().await;
    let path = dir.path().join("emsync.db");
    let before = std::fs::read(&path).unwrap();
    let looked = Catalogue::open_read_only(&path).await.unwrap();
    assert_eq!(looked.live_assets().await.unwrap(), 0);
    let mut batch = looked.batch().await;
    let written = match &mut batch {
        Ok(batch) => batch.enqueue(&[wish("a", 1)], NOW).await.is_ok(),
        Err(_) => false,
    };
    assert!(!written);
    drop(batch);
    looked.close().await;
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

/// An original `p` of an asset.
fn original_of(asset: &str, content: &[u8]) -> MediaFile {
    MediaFile {
        kind: FileKind::Original,
        place: None,
        path: MediaPath::new("p").unwrap(),
        asset: AssetId::new(asset).unwrap(),
        size: content.len() as u64,
        modified: NOW,
        sha256: Sha256::of(content),
        md5: None,
        authored: false,
        fingerprint: None,
    }
}

#[tokio::test]
async fn damage_is_noted_of_the_very_file_and_ends_when_that_is_published_again() {
    let (_dir, catalogue) = empty().await;
    let (one, two) = (original_of("a1", b"one"), original_of("a1", b"two"));
    let put_and_note = async |put: Option<&MediaFile>, noted: &[(&MediaFile, bool)]| {
        let mut batch = catalogue.batch().await.unwrap();
        if let Some(file) = put {
            batch.put_file(file, NOW).await.unwrap();
        }
        for (file, is_damaged) in noted {
            let at = is_damaged.then_some(NOW);
            batch.note_damage(file, at).await.unwrap();
        }
        batch.commit().await.unwrap();
        catalogue.damaged().await.unwrap()
    };
    let later = MediaFile {
        modified: NOW.plus(Duration::from_millis(1)),
        ..one.clone()
    };
    assert_eq!(put_and_note(Some(&one), &[(&two, true)]).await, 0);
    assert_eq!(put_and_note(None, &[(&later, true)]).await, 0);
    assert_eq!(put_and_note(None, &[(&one, true)]).await, 1);
    assert_eq!(catalogue.damaged_assets("", 9).await.unwrap(), ["a1"]);
    assert_eq!(
        catalogue.damaged_assets("a1", 9).await.unwrap(),
        [""; 0],
        "a page begins after the last one"
    );
    let row = catalogue.files_of(&["a1"]).await.unwrap().remove(0);
    assert_eq!((row.is_damaged(), &row.file), (true, &one));
    assert_eq!(
        catalogue.files_with(&one.sha256).await.unwrap(),
        [],
        "a copy of a damaged file was to be made"
    );
    assert_eq!(put_and_note(None, &[(&one, false)]).await, 0);
    assert_eq!(put_and_note(None, &[(&one, true)]).await, 1);
    assert_eq!(put_and_note(Some(&one), &[]).await, 0);
}

#[tokio::test]
async fn a_file_is_inherited_by_who_still_names_it_and_has_none_of_the_name() {
    let (_dir, catalogue) = empty().await;
    let naming = |id: &str, path: &str, deleted| {
        let mut named = record("asset", id, 1000, deleted);
        named.source = format!("{{\"id\":\"{id}\",\"sourcepath\":\"{path}\"}}");
        named
    };
    let records = [
        naming("a1", "p", false),
        naming("b-moved", "q", false),
        naming("c-deleted", "p", true),
        naming("d-owner", "p", false),
        naming("e-heir", "p", false),
        naming("f-later", "p", false),
    ];
    put(&catalogue, &records, NOW).await;
    let file = original_of("a1", b"one");
    let second = MediaFile {
        place: Some(MediaPath::new("p~2").unwrap()),
        ..original_of("d-owner", b"two")
    };
    let hand_over = async |owner: &str, content: &[u8]| {
        let mut batch = catalogue.batch().await.unwrap();
        let (owner, content) = (AssetId::new(owner).unwrap(), Sha256::of(content));
        let named = (file.kind, &file.path);
        let done = batch.hand_over(named, &owner, &content, NOW).await.unwrap();
        batch.commit().await.unwrap();
        let row = catalogue.files_with(&file.sha256).await.unwrap();
        (done, row[0].file.asset.to_string())
    };
    let mut batch = catalogue.batch().await.unwrap();
    batch.put_file(&file, NOW).await.unwrap();
    batch.put_file(&second, NOW).await.unwrap();
    batch.commit().await.unwrap();
    assert_eq!(hand_over("a1", b"one").await, (false, "a1".to_owned()));
    let mut batch = catalogue.batch().await.unwrap();
    let sharers: Vec<Sharer> = records
        .iter()
        .map(|record| (file.kind, file.path.clone(), record.key.as_asset().unwrap()))
        .collect();
    batch.note_sharers(&sharers).await.unwrap();
    batch.note_sharers(&sharers).await.unwrap();
    batch.forget_sharer("f-later").await.unwrap();
    batch.commit().await.unwrap();
    assert_eq!(hand_over("a1", b"other").await, (false, "a1".to_owned()));
    assert_eq!(hand_over("a1", b"one").await, (true, "e-heir".to_owned()));
    assert_eq!(
        hand_over("e-heir", b"one").await,
        (true, "a1".to_owned()),
        "who shared it once names it still"
    );
    assert_eq!(hand_over("a1", b"one").await, (false, "a1".to_owned()));
}

fn upload(path: &str, size: u64) -> NewJob {
    let upload = UploadJob {
        kind: FileKind::Original,
        path: path.to_owned(),
        sha256: Sha256::of(path.as_bytes()),
        savepath: format!("/there/{path}"),
        members: vec![("token".to_owned(), "t".to_owned())],
    };
    let asset = AssetId::new("a1").unwrap();
    NewJob {
        peer: "master".to_owned(),
        subject: upload_subject(FileKind::Original, path, &asset),
        lane: Lane::Upload,
        asset,
        size,
        work: Work::Upload(upload),
    }
}

#[tokio::test]
async fn what_goes_out_is_counted_retried_and_wished_for_apart_from_what_comes_in() {
    let (_dir, catalogue) = empty().await;
    let (out, aside) = (upload("a.jpg", 7), upload("b.jpg", 5));
    enqueue(&catalogue, &[wish("c.jpg", 3), out.clone()]).await;
    let mut batch = catalogue.batch().await.unwrap();
    batch.set_aside_new(&aside, "no", NOW).await.unwrap();
    batch.commit().await.unwrap();
    let comes = catalogue.job_counts(Some("master")).await.unwrap();
    assert_eq!((comes.open, comes.open_bytes, comes.quarantined), (1, 3, 0));
    let goes = catalogue.upload_counts(Some("master")).await.unwrap();
    assert_eq!((goes.open, goes.open_bytes, goes.quarantined), (1, 7, 1));
    assert_eq!(catalogue.bytes_left().await.unwrap(), (3, 7));
    let wishes = catalogue.wishes_of("master", &["a1"]).await.unwrap();
    assert_eq!(wishes.len(), 1, "{wishes:?}");

    let retry = async |uploads: bool| {
        let mut batch = catalogue.batch().await.unwrap();
        let revived = match uploads {
            true => batch.try_uploads_again("master", 4, NOW).await.unwrap(),
            false => batch.try_again("master", 3, NOW).await.unwrap(),
        };
        batch.commit().await.unwrap();
        revived
    };
    assert_eq!((retry(false).await, retry(true).await), (0, 1));
    let lane = ("master", Lane::Upload);
    let lease = Duration::from_secs(60);
    let claimed = catalogue.claim(lane, 9, "w", NOW, lease).await.unwrap();
    let work: Vec<&Work> = claimed.iter().map(|job| &job.work).collect();
    assert_eq!(work, [&out.work, &aside.work]);
    assert_eq!(claimed[1].attempts, 3, "one try is left");
}

#[tokio::test]
async fn a_pause_is_kept_and_untold_ends_are_found_again() {
    let (_dir, catalogue) = empty().await;
    assert_eq!(catalogue.paused_since("m").await.unwrap(), None);
    let later = NOW.plus(Duration::from_secs(1));
    assert_eq!(catalogue.pause("m", NOW).await.unwrap(), NOW);
    assert_eq!(
        catalogue.pause("m", later).await.unwrap(),
        NOW,
        "since then"
    );
    let paused = catalogue.paused().await.unwrap();
    assert_eq!(
        paused.into_iter().collect::<Vec<_>>(),
        [("m".to_owned(), NOW)]
    );
    assert!(catalogue.resume("m").await.unwrap() && !catalogue.resume("m").await.unwrap());

    let row = EventRow {
        name: "e".to_owned(),
        shape: "s".to_owned(),
        anchor_at: NOW,
        beat_at: NOW,
        is_owed: true,
    };
    let new = NewRun {
        event: "e",
        action: "pull",
        cause: Cause::Beat,
    };
    let mut runs = Vec::new();
    for outcome in [RunOutcome::Ok, RunOutcome::Failed, RunOutcome::Paused] {
        let run = catalogue.begin_event_run(&row, new, NOW).await.unwrap();
        let ended = catalogue.end_event_run(run, (outcome, None), None, NOW);
        ended.await.unwrap();
        runs.push(run);
    }
    let untold = catalogue.untold().await.unwrap();
    assert_eq!(
        untold.iter().map(|run| run.id).collect::<Vec<_>>(),
        [runs[1]]
    );
    catalogue.told(runs[1]).await.unwrap();
    assert_eq!(catalogue.untold().await.unwrap(), []);
    let stands = catalogue.event("e").await.unwrap().unwrap();
    assert!(stands.is_owed, "what a pause ended begins again");
}
