//! Pulling from a server that answers like a stock EMDB 10, its defects included.

use bytes::Bytes;
use emsync::model::{FileKind, Sha256, Timestamp};
use emsync::monitor::Phase;
use emsync::peer;
use emsync::pipeline::Error;
use emsync::pull;
use emsync::pull::metadata::Scope;
use serde_json::json;

use crate::support::emdb::{Content, Doc, Emdb, KEY, Setup};
use crate::support::fault::{Fault, Gate};
use crate::support::node::Mirror;

const CLUSTER: &str = "node-a-cluster";
const MTIME: i64 = 1_772_201_000_000;

fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

/// Bytes that nothing compresses and that differ from file to file.
fn noise(seed: u64, len: usize) -> Bytes {
    let mut out = Vec::with_capacity(len + 32);
    let mut block = Sha256::of(&seed.to_le_bytes());
    while out.len() < len {
        out.extend_from_slice(block.as_bytes());
        block = Sha256::of(block.as_bytes());
    }
    out.truncate(len);
    out.into()
}

/// An asset with its original and one rendition, as EMDB has it after an import.
fn add_asset(content: &mut Content, id: &str, path: &str, bytes: &Bytes) {
    let members = json!({
        "name": path.rsplit('/').next(), "sourcepath": path, "isfolder": false, "filesize": bytes.len(),
        "fileformat": "bin", "importstatus": "complete", "editstatus": "6",
        "assetmodificationdate": Timestamp::from_millis(MTIME).to_string(),
    });
    content.record(Doc::new("asset", id, CLUSTER, now(), members));
    content.original(path, bytes.clone(), MTIME);
    content.generated(
        &format!("{path}/image200x200.webp"),
        format!("thumb of {id}"),
        MTIME + 1_000,
    );
}

async fn server(setup: Setup, assets: usize) -> Emdb {
    let emdb = Emdb::start(setup).await;
    emdb.edit(|content| {
        for n in 0..assets {
            add_asset(
                content,
                &format!("a{n:03}"),
                &format!("Collections/Port/file {n:03}.bin"),
                &noise(n as u64, 500 + n),
            );
        }
    });
    emdb
}

async fn mirror_of(emdb: &Emdb) -> Mirror {
    Mirror::of(emdb.base(), KEY, Some(CLUSTER)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_number_of_pages_arrives_whole() {
    for secure_cookie in [true, false] {
        for pages in [0, 1, 2, 3, 7] {
            let emdb = server(
                Setup {
                    page_size: 5,
                    secure_cookie,
                },
                pages * 5 - usize::from(pages > 1) * 2,
            )
            .await;
            let expected = pages * 5 - usize::from(pages > 1) * 2;
            let mirror = mirror_of(&emdb).await;
            let outcome = mirror.seed().await;
            assert_eq!(
                outcome.report.records, expected as u64,
                "{pages} pages, secure cookie {secure_cookie}"
            );
            assert_eq!(outcome.report.files_written, 2 * expected as u64);
            mirror.assert_in_sync().await;
            let again = mirror.sync().await;
            assert_eq!(
                (
                    again.report.bytes_received,
                    again.report.files_written,
                    again.report.records
                ),
                (0, 0, 0)
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secure_session_cookie_over_http_is_refused_when_it_may_not_travel() {
    let emdb = server(
        Setup {
            page_size: 5,
            secure_cookie: true,
        },
        15,
    )
    .await;
    let mirror = Mirror::with(emdb.base(), KEY, Some(CLUSTER), |config| {
        config.peers[0].insecure_session = false
    })
    .await;
    let outcome = mirror.run(Scope::Everything).await;
    assert!(
        matches!(
            outcome.error,
            Some(Error::Pull(pull::Error::Blind { pages: 3, .. }))
        ),
        "{:?}",
        outcome.error
    );
    assert_eq!(outcome.report.records, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_carries_the_bytes_and_the_time_of_its_original() {
    let emdb = server(Setup::default(), 1).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    let path = "Collections/Port/file 000.bin";
    assert_eq!(
        mirror.read(FileKind::Original, path).unwrap(),
        noise(0, 500)
    );
    let meta = std::fs::metadata(mirror.path(FileKind::Original, path)).unwrap();
    assert_eq!(
        Timestamp::from(meta.modified().unwrap()),
        Timestamp::from_millis(MTIME)
    );
    let thumb = mirror.path(FileKind::Generated, &format!("{path}/image200x200.webp"));
    assert_eq!(
        Timestamp::from(std::fs::metadata(thumb).unwrap().modified().unwrap()),
        Timestamp::from_millis(MTIME + 1_000)
    );
    let phases = mirror.monitor.seen().phases;
    assert!(phases.contains(&Phase::Records) && phases.contains(&Phase::Files));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_that_is_cut_is_resumed_where_it_stood() {
    let emdb = Emdb::start(Setup::default()).await;
    let bytes = noise(7, 3_000_000);
    emdb.edit(|content| add_asset(content, "big", "big.bin", &bytes));
    emdb.faults()
        .once("originals", 1, Fault::CutAfter(1_300_000));
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    assert_eq!(mirror.read(FileKind::Original, "big.bin").unwrap(), bytes);
    let asked = emdb.requests("originals");
    assert_eq!(asked.len(), 2);
    let seen = mirror.monitor.seen();
    let bytes = emsync::monitor::Counter::Bytes;
    assert_eq!(
        seen.advanced[&bytes], seen.expected[&bytes],
        "progress ends before or beyond its total"
    );
    let range = asked[1].headers.get("range").unwrap().to_str().unwrap();
    let from: u64 = range
        .strip_prefix("bytes=")
        .unwrap()
        .strip_suffix('-')
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=1_300_000).contains(&from), "resumed at {from}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resume_restarts_when_the_etag_changes() {
    let emdb = Emdb::start(Setup::default()).await;
    let bytes = noise(8, 3_000_000);
    emdb.edit(|content| add_asset(content, "big", "big.bin", &bytes));
    emdb.faults()
        .once("originals", 1, Fault::CutAfter(1_300_000));
    emdb.faults().once("originals", 2, Fault::ChangedEtag);
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    assert_eq!(mirror.read(FileKind::Original, "big.bin").unwrap(), bytes);
    let asked = emdb.requests("originals");
    assert!(
        asked.last().unwrap().headers.get("range").is_none(),
        "the last request asked for a range of another file"
    );
}

/// What a kill leaves that came after the last byte and before the file got its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_partial_that_is_whole_only_the_last_byte_is_fetched_again() {
    let emdb = Emdb::start(Setup::default()).await;
    let bytes = noise(7, 3_000_000);
    emdb.edit(|content| add_asset(content, "big", "big.bin", &bytes));
    emdb.faults()
        .once("originals", 1, Fault::CutAfter(1_300_000));
    let mirror = Mirror::with(emdb.base(), KEY, Some(CLUSTER), |config| {
        config.limits.attempts = 1
    })
    .await;
    assert_eq!(mirror.run(Scope::Everything).await.report.quarantined, 1);
    let partials = partials(&mirror);
    assert_eq!(partials.len(), 1);
    std::fs::write(&partials[0], &bytes).unwrap();
    let outcome = mirror.seed().await;
    assert_eq!(mirror.read(FileKind::Original, "big.bin").unwrap(), bytes);
    assert_eq!(outcome.report.bytes_received, 1);
    let asked = emdb.requests("originals");
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].headers.get("range").unwrap(), "bytes=2999999-");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partial_that_nobody_asked_for_in_a_week_goes() {
    let emdb = server(Setup::default(), 1).await;
    let mirror = mirror_of(&emdb).await;
    let staging = mirror.node.store.staging("pull-master").unwrap();
    for key in ["old", "young"] {
        let mut partial = staging.partial(key).unwrap();
        partial.append(b"the beginning").unwrap();
    }
    let week = std::time::Duration::from_secs(7 * 24 * 3_600 + 60);
    let old = partials(&mirror)
        .into_iter()
        .find(|path| path.ends_with("old.part"))
        .unwrap();
    std::fs::File::options()
        .write(true)
        .open(old)
        .unwrap()
        .set_modified(std::time::SystemTime::now() - week)
        .unwrap();
    mirror.seed().await;
    let left = partials(&mirror);
    assert!(
        left.len() == 1 && left[0].ends_with("young.part"),
        "{left:?}"
    );
}

fn partials(mirror: &Mirror) -> Vec<std::path::PathBuf> {
    let staging = mirror.node.store.root().join(".emsync/staging/pull-master");
    let entries = std::fs::read_dir(staging).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "part")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_run_goes_on_where_it_stopped() {
    let emdb = server(
        Setup {
            page_size: 5,
            secure_cookie: false,
        },
        12,
    )
    .await;
    let gate = Gate::default();
    emdb.faults()
        .once("originals", 5, Fault::Stall(100, gate.clone()));
    let mirror = mirror_of(&emdb).await;
    let (outcome, ()) = tokio::join!(mirror.run(Scope::Everything), async {
        gate.reached().await;
        mirror.shutdown.request();
        gate.open();
    });
    assert!(
        matches!(outcome.error, Some(Error::Pull(pull::Error::Cancelled))),
        "{:?}",
        outcome.error
    );
    let mirror = mirror.restarted();
    let rest = mirror.seed().await;
    assert_eq!(outcome.report.files_written + rest.report.files_written, 24);
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_of_a_moment_is_outlasted() {
    let cut_page = ("listalldocs", Fault::TruncatedJson);
    let repeated = ("nextall", Fault::RepeatPage);
    for (path, fault) in [
        cut_page,
        repeated,
        ("listalldocs", Fault::Reset),
        ("nextall", Fault::CutAfter(100)),
        ("listalldocs", Fault::Unavailable(Some(0))),
        ("nextall", Fault::TooManyRequests(None)),
        ("originals", Fault::Unavailable(Some(0))),
        ("originals", Fault::Reset),
        ("originals", Fault::CutAfter(17)),
        ("originals", Fault::ShortBody(17)),
        ("generatedpreview", Fault::ShortBody(3)),
        ("generatedpreview", Fault::LoginPage),
        ("generatedpreview", Fault::TooManyRequests(Some(0))),
    ] {
        let emdb = server(
            Setup {
                page_size: 5,
                secure_cookie: false,
            },
            12,
        )
        .await;
        emdb.faults().once(path, 1, fault.clone());
        let mirror = mirror_of(&emdb).await;
        let outcome = mirror.seed().await;
        assert_eq!(
            outcome.report.quarantined,
            0,
            "{path} {fault:?}: {:?}",
            mirror.set_aside().await
        );
        mirror.assert_in_sync().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_stays_wrong_is_set_aside_with_both_values_and_stops_nobody() {
    let emdb = server(Setup::default(), 3).await;
    let bytes = noise(9, 900);
    emdb.edit(|content| {
        add_asset(content, "sick", "sick.bin", &bytes);
        let mut hasher = emsync::model::Hasher::new(true);
        hasher.update(&bytes);
        let members = json!({
            "sourcepath": "sick.bin", "filesize": 900, "fileformat": "bin", "md5hex": hasher.finish().md5.unwrap().to_string(),
            "assetmodificationdate": Timestamp::from_millis(MTIME).to_string(),
        });
        content.record(Doc::new("asset", "sick", CLUSTER, now(), members));
    });
    emdb.faults().always("originals/sick", Fault::WrongBytes);
    let mirror = mirror_of(&emdb).await;
    let outcome = mirror.seed().await;
    assert_eq!(
        (outcome.report.quarantined, outcome.report.files_written),
        (1, 7)
    );
    let aside = mirror.set_aside().await;
    assert!(
        aside[0].contains("originals/sick.bin") && aside[0].contains("is in the record"),
        "{aside:?}"
    );
    assert_eq!(
        mirror.read(FileKind::Original, "sick.bin"),
        None,
        "wrong bytes were published"
    );
    assert!(!mirror.verify().await.in_sync);

    emdb.faults().clear();
    let healed = mirror.sync().await;
    assert_eq!(
        (healed.report.quarantined, healed.report.files_written),
        (0, 1)
    );
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_ends_the_run_before_anything_moves() {
    let emdb = server(Setup::default(), 3).await;
    let mirror = Mirror::of(emdb.base(), "wrongusermd542ffff", Some(CLUSTER)).await;
    let outcome = mirror.run(Scope::Everything).await;
    let refused = matches!(
        outcome.error,
        Some(Error::Pull(pull::Error::Peer(peer::Error::Refused { .. })))
    );
    assert!(refused, "{:?}", outcome.error);
    assert_eq!(
        outcome.report,
        emsync::monitor::RunReport {
            elapsed_ms: outcome.report.elapsed_ms,
            transfers: outcome.report.transfers,
            ..Default::default()
        }
    );
    assert!(
        mirror
            .node
            .catalogue
            .checkpoint("master", "changes")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_record_is_set_aside_alone() {
    let emdb = server(Setup::default(), 2).await;
    emdb.edit(|content| {
        let mut doc = Doc::new(
            "asset",
            "numeric",
            CLUSTER,
            now(),
            json!({"sourcepath": "n.bin"}),
        );
        doc.source["emrecordstatus"]["masterrecordmodificationdate"] = json!(1_772_000_000_000_i64);
        content.record(doc);
        content.record(Doc::new(
            "asset",
            "hostile",
            CLUSTER,
            now(),
            json!({"sourcepath": "../../etc/passwd", "filesize": 3}),
        ));
    });
    let mirror = mirror_of(&emdb).await;
    let outcome = mirror.seed().await;
    assert_eq!(
        (outcome.report.quarantined, outcome.report.files_written),
        (2, 4),
        "{:?}",
        mirror.set_aside().await
    );
    let aside = mirror.set_aside().await;
    assert!(
        aside
            .iter()
            .any(|item| item.starts_with("record:asset/numeric")),
        "{aside:?}"
    );
    assert!(
        aside
            .iter()
            .any(|item| item.starts_with("record:asset/hostile")),
        "{aside:?}"
    );

    emdb.edit(|content| add_asset(content, "numeric", "n.bin", &noise(1, 5)));
    emdb.edit(|content| add_asset(content, "hostile", "h.bin", &noise(2, 5)));
    let healed = mirror.sync().await;
    assert_eq!(
        healed.report.quarantined,
        0,
        "{:?}",
        mirror.set_aside().await
    );
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tombstone_takes_the_record_and_its_files_to_the_trash() {
    let emdb = server(Setup::default(), 3).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    let path = "Collections/Port/file 001.bin";
    emdb.edit(|content| {
        let doc = Doc::new("asset", "a001", CLUSTER, now(), json!({"sourcepath": path}));
        content.record(doc.deleted());
    });
    let outcome = mirror.sync().await;
    assert_eq!(
        (outcome.report.deleted, outcome.deletes.files_trashed),
        (1, 2)
    );
    assert!(!mirror.has_live("asset", "a001").await);
    assert_eq!(mirror.read(FileKind::Original, path), None);
    let trash = mirror
        .node
        .config
        .media
        .root
        .join(".emsync/trash/originals");
    let kept = walkdir::WalkDir::new(trash)
        .into_iter()
        .flatten()
        .find(|entry| entry.file_name() == "file 001.bin")
        .unwrap();
    assert_eq!(std::fs::read(kept.path()).unwrap(), noise(1, 501));
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_ends_between_row_and_bytes_is_finished_by_the_next_run() {
    let emdb = server(Setup::default(), 3).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    let (deleted, moved) = (
        "Collections/Port/file 001.bin",
        "Collections/Port/file 002.bin",
    );
    emdb.edit(|content| {
        let doc = Doc::new(
            "asset",
            "a001",
            CLUSTER,
            now(),
            json!({"sourcepath": deleted}),
        );
        content.record(doc.deleted());
        content.remove_file(moved);
        content.remove_file(&format!("{moved}/image200x200.webp"));
        add_asset(content, "a002", "Elsewhere/file two.bin", &noise(2, 502));
    });
    // A file where the trash should be ends a run just where a kill would.
    let trash = mirror.node.store.root().join(".emsync/trash");
    std::fs::rename(&trash, trash.with_extension("aside")).unwrap();
    std::fs::write(&trash, "").unwrap();
    // The first run meets the tombstone's bytes, the second is cut short by the same file again.
    for _ in 0..2 {
        assert!(mirror.run(Scope::Changes).await.error.is_some());
    }
    assert!(mirror.read(FileKind::Original, deleted).is_some());
    std::fs::remove_file(&trash).unwrap();
    std::fs::rename(trash.with_extension("aside"), &trash).unwrap();
    let mirror = mirror.restarted();
    let outcome = mirror.sync().await;
    // The moved files have their bytes under new names, so that nothing of them goes to the trash.
    assert_eq!(outcome.deletes.files_trashed, 2);
    for path in [deleted, moved] {
        assert_eq!(mirror.read(FileKind::Original, path), None, "{path}");
        let rendition = format!("{path}/image200x200.webp");
        assert_eq!(mirror.read(FileKind::Generated, &rendition), None);
    }
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_deletes_than_the_guard_allows_are_held_and_let_go_by_word() {
    let emdb = server(Setup::default(), 20).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    emdb.edit(|content| {
        for n in 0..11 {
            let doc = Doc::new("asset", &format!("a{n:03}"), CLUSTER, now(), json!({"sourcepath": format!("f{n}")}));
            content.record(if n == 0 { doc } else { doc.deleted() });
        }
        // A mark counts as much as a tombstone.
        let marked = json!({"sourcepath": "Collections/Port/file 000.bin", "editstatus": "7", "filesize": 500,
            "assetmodificationdate": Timestamp::from_millis(MTIME).to_string()});
        content.record(Doc::new("asset", "a000", CLUSTER, now(), marked));
    });
    let held = mirror.sync().await;
    assert_eq!(
        (held.report.deleted, held.deletes.held, held.deletes.limit),
        (0, 11, 10)
    );
    assert!(mirror.has_live("asset", "a005").await);
    assert!(
        mirror
            .read(FileKind::Original, "Collections/Port/file 005.bin")
            .is_some()
    );

    let options = emsync::pipeline::Options {
        max_delete: Some("11".parse().unwrap()),
        ..emsync::pipeline::Options::of(Scope::Changes)
    };
    let peer = mirror.peer();
    let freed = emsync::pipeline::sync_peer(
        &mirror.node,
        &peer,
        options,
        mirror.monitor.clone(),
        &mirror.shutdown,
    )
    .await
    .unwrap();
    assert_eq!((freed.report.deleted, freed.deletes.held), (11, 0));
    assert!(!mirror.has_live("asset", "a005").await && mirror.has_live("asset", "a000").await);
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_original_and_a_moved_asset_are_followed() {
    let emdb = server(Setup::default(), 3).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    emdb.edit(|content| {
        add_asset(content, "a000", "Collections/Port/file 000.bin", &noise(50, 777));
        content.original("Collections/Port/file 000.bin", noise(50, 777), MTIME + 60_000);
        let members = json!({"sourcepath": "Collections/Port/file 000.bin", "filesize": 777, "fileformat": "bin",
            "assetmodificationdate": Timestamp::from_millis(MTIME + 60_000).to_string()});
        content.record(Doc::new("asset", "a000", CLUSTER, now(), members));
        content.remove_file("Collections/Port/file 001.bin");
        content.remove_file("Collections/Port/file 001.bin/image200x200.webp");
        add_asset(content, "a001", "Elsewhere/file one.bin", &noise(1, 501));
    });
    mirror.sync().await;
    assert_eq!(
        mirror
            .read(FileKind::Original, "Collections/Port/file 000.bin")
            .unwrap(),
        noise(50, 777)
    );
    assert_eq!(
        mirror
            .read(FileKind::Original, "Elsewhere/file one.bin")
            .unwrap(),
        noise(1, 501)
    );
    assert_eq!(
        mirror.read(FileKind::Original, "Collections/Port/file 001.bin"),
        None
    );
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_folder_assets_arrive_without_emdbs_bookkeeping() {
    let emdb = Emdb::start(Setup::default()).await;
    emdb.edit(|content| {
        let members = json!({"sourcepath": "Folders/Set1", "isfolder": true, "primaryfile": "page1.jpg.bin", "filesize": 11,
            "fileformat": "bin", "assetmodificationdate": Timestamp::from_millis(MTIME).to_string()});
        content.record(Doc::new("asset", "folder", CLUSTER, now(), members));
        // A file that was pushed there has the date of its arrival, and the record that of the file (wire spec 8.1).
        content.original("Folders/Set1/page1.jpg.bin", "first page.", MTIME + 90_000);
        content.original("Folders/Set1/sub/note.bin", "note", MTIME + 5_000);
        content.original("Folders/Set1/.versions/page1.metadata.xml", "<x/>", MTIME);
    });
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    assert_eq!(
        mirror
            .read(FileKind::Original, "Folders/Set1/page1.jpg.bin")
            .unwrap(),
        b"first page."
    );
    assert_eq!(
        mirror
            .read(FileKind::Original, "Folders/Set1/sub/note.bin")
            .unwrap(),
        b"note"
    );
    assert_eq!(
        mirror.read(
            FileKind::Original,
            "Folders/Set1/.versions/page1.metadata.xml"
        ),
        None
    );
    mirror.assert_in_sync().await;
    for _ in 0..2 {
        let again = mirror.sync().await;
        assert_eq!(
            (again.report.files_written, again.report.quarantined),
            (0, 0),
            "{:?}",
            mirror.set_aside().await
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_remote_edit_is_kept_as_the_loser_of_a_conflict() {
    let emdb = Emdb::start(Setup::default()).await;
    emdb.edit(|content| {
        content.record(Doc::new(
            "category",
            "c1",
            CLUSTER,
            now(),
            json!({"name": "new"}),
        ))
    });
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    emdb.edit(|content| {
        let mut doc = Doc::new(
            "category",
            "c1",
            CLUSTER,
            now(),
            json!({"name": "edited from an old copy"}),
        );
        doc.source["emrecordstatus"]["masterrecordmodificationdate"] =
            json!(Timestamp::from_millis(MTIME).to_string());
        content.record(doc);
    });
    mirror.sync().await;
    let conflicts = mirror.node.catalogue.conflicts(10).await.unwrap();
    assert_eq!(conflicts.len(), 1);
    assert!(
        conflicts[0]
            .remote_source
            .contains("edited from an old copy")
            && conflicts[0].local_source.contains("\"new\"")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_whose_clock_is_far_off_is_refused_and_one_a_little_off_is_reported() {
    let emdb = server(Setup::default(), 2).await;
    emdb.set_clock_offset(3_600_000);
    let mirror = mirror_of(&emdb).await;
    let outcome = mirror.run(Scope::Everything).await;
    assert!(
        matches!(
            outcome.error,
            Some(Error::Pull(pull::Error::Greeting(
                emsync::greeting::Error::Skew { .. }
            )))
        ),
        "{:?}",
        outcome.error
    );
    emdb.set_clock_offset(120_000);
    mirror.seed().await;
    assert!(
        mirror
            .monitor
            .seen()
            .findings
            .iter()
            .any(|finding| finding.contains("clock"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emdb_peer_without_a_cluster_id_is_refused_with_how_to_mend_it() {
    let emdb = server(Setup::default(), 1).await;
    let mirror = Mirror::of(emdb.base(), KEY, None).await;
    let outcome = mirror.run(Scope::Everything).await;
    let error = outcome.error.unwrap().to_string();
    assert!(error.contains("cluster.name"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_original_is_a_difference_and_comes_when_it_is_there() {
    let emdb = server(Setup::default(), 2).await;
    emdb.edit(|content| content.remove_file("Collections/Port/file 001.bin"));
    let mirror = mirror_of(&emdb).await;
    let outcome = mirror.seed().await;
    assert_eq!(outcome.report.quarantined, 1);
    let parity = mirror.verify().await;
    assert!(!parity.in_sync);
    assert_eq!(parity.differences.len(), 1);
    emdb.edit(|content| content.original("Collections/Port/file 001.bin", noise(1, 501), MTIME));
    let healed = mirror.sync().await;
    assert_eq!(healed.report.quarantined, 0);
    mirror.assert_in_sync().await;
}
