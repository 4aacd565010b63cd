//! Pulling where peers, records and files contradict each other: what must never cost a file, a wish or the truth.

use std::time::Duration;

use bytes::Bytes;
use emsync::catalogue::{Lane, NewJob};
use emsync::config::MaxDelete;
use emsync::model::job::{FetchJob, Work};
use emsync::model::{AssetId, FileKind, Timestamp};
use emsync::node::Node;
use emsync::pipeline::{Error, Options, sync_peer};
use emsync::pull;
use emsync::pull::metadata::Scope;
use emsync::receive::apply_held;
use emsync::seams::Seams;
use emsync::shutdown::Shutdown;
use serde_json::{Value, json};

use crate::support::author;
use crate::support::emdb::{Content, Doc, Emdb, KEY, Setup, asset_members};
use crate::support::fault::{Fault, Gate};
use crate::support::node::Mirror;

const CLUSTER: &str = "node-a-cluster";
const MTIME: i64 = 1_772_201_000_000;

fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

fn members(path: &str, size: usize) -> Value {
    asset_members(path, size, MTIME)
}

fn add_asset(content: &mut Content, id: &str, path: &str, bytes: &str) {
    content.record(Doc::new(
        "asset",
        id,
        CLUSTER,
        now(),
        members(path, bytes.len()),
    ));
    content.original(path, Bytes::from(bytes.to_owned()), MTIME);
}

async fn server(assets: usize) -> Emdb {
    let emdb = Emdb::start(Setup::default()).await;
    emdb.edit(|content| {
        for n in 0..assets {
            add_asset(
                content,
                &format!("a{n:03}"),
                &format!("f{n:03}.bin"),
                &format!("content {n}"),
            );
        }
    });
    emdb
}

async fn mirror_of(emdb: &Emdb) -> Mirror {
    Mirror::of(emdb.base(), KEY, Some(CLUSTER)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_missing_originals_do_not_stop_the_others() {
    let emdb = server(160).await;
    emdb.edit(|content| {
        for n in 0..120 {
            content.remove_file(&format!("f{n:03}.bin"));
        }
    });
    let mirror = mirror_of(&emdb).await;
    let outcome = mirror.seed().await;
    assert_eq!(
        (outcome.report.quarantined, outcome.report.files_written),
        (120, 40)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_sends_login_pages_for_everything_ends_the_run_and_sets_nothing_aside() {
    let emdb = server(30).await;
    emdb.faults().always("originals", Fault::LoginPage);
    for asked in 3..200 {
        emdb.faults().once("listalldocs", asked, Fault::LoginPage);
    }
    let mirror = mirror_of(&emdb).await;
    let outcome = mirror.run(Scope::Everything).await;
    assert!(
        matches!(
            outcome.error,
            Some(Error::Pull(pull::Error::Peer(
                emsync::peer::Error::Refused { .. }
            )))
        ),
        "{:?}",
        outcome.error
    );
    assert_eq!(outcome.report.quarantined, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_job_never_takes_a_newer_one_along() {
    let emdb = server(0).await;
    let mirror = mirror_of(&emdb).await;
    let catalogue = &mirror.node.catalogue;
    let job = |path: &str| NewJob {
        peer: "master".to_owned(),
        subject: format!("originals/{path}"),
        lane: Lane::Small,
        asset: AssetId::new("a1").unwrap(),
        size: 1,
        work: Work::Fetch(FetchJob {
            kind: FileKind::Original,
            path: path.to_owned(),
            size: Some(1),
            exact: true,
            modified: None,
            sha256: None,
            md5: None,
            from: None,
            then: None,
        }),
    };
    let mut batch = catalogue.batch().await.unwrap();
    batch.enqueue(&[job("old")], now()).await.unwrap();
    batch.commit().await.unwrap();
    let lease = Duration::from_secs(60);
    let later = now().plus(lease);
    let held = catalogue
        .claim(("master", Lane::Small), 1, "test", later, lease)
        .await
        .unwrap();
    let mut batch = catalogue.batch().await.unwrap();
    batch
        .withdraw("master", &["originals/old".to_owned()])
        .await
        .unwrap();
    batch.commit().await.unwrap();
    let mut batch = catalogue.batch().await.unwrap();
    batch.enqueue(&[job("new")], now()).await.unwrap();
    batch.commit().await.unwrap();
    let mut batch = catalogue.batch().await.unwrap();
    batch.settle(&held[0]).await.unwrap();
    batch.commit().await.unwrap();
    assert_eq!(
        catalogue.job_counts(Some("master")).await.unwrap().open,
        1,
        "the wish for the new file is gone"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_name_of_an_original_stays_until_the_new_one_is_here() {
    let emdb = server(2).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    // The record says that it moved, with other content; the file is nowhere.
    emdb.edit(|content| {
        content.remove_file("f001.bin");
        content.record(Doc::new(
            "asset",
            "a001",
            CLUSTER,
            now(),
            members("moved.bin", 10),
        ));
    });
    for _ in 0..2 {
        mirror.sync().await;
        assert_eq!(
            mirror.read(FileKind::Original, "f001.bin").as_deref(),
            Some(&b"content 1"[..])
        );
    }
    emdb.edit(|content| content.original("moved.bin", "content 1b", MTIME));
    mirror.sync().await;
    assert_eq!(mirror.read(FileKind::Original, "f001.bin"), None);
    assert_eq!(
        mirror.read(FileKind::Original, "moved.bin").as_deref(),
        Some(&b"content 1b"[..])
    );
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_gives_way_to_a_folder_of_its_name() {
    let emdb = server(2).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    emdb.edit(|content| {
        content.remove_file("f001.bin");
        add_asset(content, "a001", "f001.bin/inner.bin", "content 1");
    });
    mirror.sync().await;
    assert_eq!(
        mirror
            .read(FileKind::Original, "f001.bin/inner.bin")
            .as_deref(),
        Some(&b"content 1"[..])
    );
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_for_a_removal_outlasts_trouble_of_a_moment_like_any_other_file() {
    for nth in 1..=3 {
        let emdb = server(2).await;
        let mirror = mirror_of(&emdb).await;
        mirror.seed().await;
        emdb.edit(|content| {
            content.remove_file("f001.bin");
            add_asset(content, "a001", "f001.bin/inner.bin", "other content");
        });
        emdb.faults().once("inner.bin", nth, Fault::Reset);
        let outcome = mirror.sync().await;
        assert_eq!(
            outcome.report.quarantined,
            0,
            "{nth}: {:?}",
            mirror.set_aside().await
        );
        let inner = mirror.read(FileKind::Original, "f001.bin/inner.bin");
        assert_eq!(inner.as_deref(), Some(&b"other content"[..]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_delete_outlives_a_record_of_the_same_id_in_another_table() {
    let emdb = server(3).await;
    let mirror = Mirror::with(emdb.base(), KEY, Some(CLUSTER), |config| {
        config.peers[0].max_delete = Some(MaxDelete::Count(0));
    })
    .await;
    mirror.seed().await;
    emdb.edit(|content| {
        let doc = Doc::new("asset", "a001", CLUSTER, now(), members("f001.bin", 9));
        content.record(doc.deleted());
    });
    assert_eq!(mirror.sync().await.deletes.held, 1);
    // Only the category is listed next.
    emdb.edit(|content| {
        content.hard_delete("asset", "a001");
        content.record(Doc::new(
            "category",
            "a001",
            CLUSTER,
            now(),
            json!({"name": "c"}),
        ));
    });
    assert_eq!(mirror.sync().await.deletes.held, 1);
    // Edited while it waits, the record is the loser, and kept.
    author::put(&mirror.node, ("asset", "a001"), &json!({"note": "mine"}))
        .await
        .unwrap();
    let (node, peer) = (&mirror.node, &mirror.peer().name);
    let all = Some(MaxDelete::Count(1));
    let freed = apply_held(node, peer, all, &*mirror.monitor, &mirror.shutdown).await;
    assert_eq!(freed.unwrap().deleted, 1);
    let kept = node.catalogue.conflicts(10).await.unwrap();
    let [kept] = kept.as_slice() else {
        panic!("{kept:?}");
    };
    assert!(kept.local_source.contains("mine"), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_files_end_says_why_although_the_listing_was_under_way() {
    let emdb = Emdb::start(Setup {
        page_size: 5,
        secure_cookie: false,
    })
    .await;
    emdb.edit(|content| {
        for n in 0..12 {
            add_asset(
                content,
                &format!("a{n:03}"),
                &format!("f{n:03}.bin"),
                &"x".repeat(1 << 20),
            );
        }
    });
    emdb.faults()
        .always("nextall", Fault::Stall(0, Gate::default()));
    let mirror = Mirror::with(emdb.base(), KEY, Some(CLUSTER), |config| {
        config.limits.reserve = u64::MAX;
    })
    .await;
    let outcome = mirror.run(Scope::Everything).await;
    assert!(
        matches!(
            outcome.error,
            Some(Error::Pull(pull::Error::Reserve { .. }))
        ),
        "{:?}",
        outcome.error
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reserve_is_kept_by_small_files_too() {
    let emdb = server(3).await;
    let mirror = Mirror::with(emdb.base(), KEY, Some(CLUSTER), |config| {
        config.limits.reserve = u64::MAX;
    })
    .await;
    let outcome = mirror.run(Scope::Everything).await;
    assert!(
        matches!(
            outcome.error,
            Some(Error::Pull(pull::Error::Reserve { .. }))
        ),
        "{:?}",
        outcome.error
    );
    assert_eq!(outcome.report.files_written, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_entry_stays_set_aside_and_is_no_parity() {
    let emdb = server(2).await;
    let long = format!("f001.bin/{}", "x".repeat(1_021));
    emdb.edit(|content| content.generated(&long, "thumb", MTIME));
    let mirror = mirror_of(&emdb).await;
    for _ in 0..3 {
        let outcome = mirror.seed().await;
        assert_eq!(
            outcome.report.quarantined,
            1,
            "{:?}",
            mirror.set_aside().await
        );
        assert!(!mirror.verify().await.in_sync);
    }
    emdb.edit(|content| content.remove_file(&long));
    assert_eq!(mirror.seed().await.report.quarantined, 0);
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asset_without_a_usable_path_is_no_parity() {
    let emdb = server(2).await;
    emdb.edit(|content| {
        content.record(Doc::new(
            "asset",
            "hostile",
            CLUSTER,
            now(),
            members("../../etc/passwd", 3),
        ));
    });
    let mirror = mirror_of(&emdb).await;
    assert_eq!(mirror.seed().await.report.quarantined, 1);
    assert!(!mirror.verify().await.in_sync);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_record_that_is_listed_no_more_does_not_stay_set_aside_for_ever() {
    let emdb = server(2).await;
    emdb.edit(|content| {
        content.record(Doc::new("no table!", "x", CLUSTER, now(), json!({})));
    });
    let mirror = mirror_of(&emdb).await;
    assert_eq!(mirror.seed().await.report.quarantined, 1);
    assert_eq!(mirror.seed().await.report.quarantined, 1);
    emdb.edit(|content| content.hard_delete("no table!", "x"));
    assert_eq!(mirror.seed().await.report.quarantined, 0);
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_sizes_are_set_aside_and_stop_no_later_run() {
    let emdb = server(2).await;
    emdb.edit(|content| {
        for id in ["huge1", "huge2", "huge3"] {
            let path = format!("{id}.bin");
            add_asset(content, id, &path, "small");
            let mut members = members(&path, 0);
            members["filesize"] = json!(u64::MAX);
            content.record(Doc::new("asset", id, CLUSTER, now(), members));
        }
    });
    let mirror = mirror_of(&emdb).await;
    for _ in 0..2 {
        let outcome = mirror.seed().await;
        assert_eq!(outcome.report.quarantined, 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_assets_of_one_file_are_fetched_once() {
    let emdb = server(1).await;
    emdb.edit(|content| add_asset(content, "twin", "f000.bin", "content 0"));
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    for _ in 0..3 {
        let again = mirror.seed().await;
        assert_eq!(
            (again.report.files_written, again.report.bytes_received),
            (0, 0)
        );
    }
    mirror.assert_in_sync().await;
    // The owner's departure leaves the file to the one that still names it.
    emdb.edit(|content| {
        for id in ["a000", "twin"] {
            content.record(Doc::new(
                "asset",
                id,
                CLUSTER,
                now(),
                members("f000.bin", 9),
            ));
        }
        content.record(Doc::new("asset", "a000", CLUSTER, now(), members("f000.bin", 9)).deleted());
    });
    mirror.seed().await;
    mirror.seed().await;
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_folder_asset_that_emdb_does_not_list_are_no_difference() {
    let emdb = server(1).await;
    emdb.edit(|content| {
        let mut members = members("Set1", 5);
        members["isfolder"] = json!(true);
        members["primaryfile"] = json!("one.bin");
        content.record(Doc::new("asset", "folder", CLUSTER, now(), members));
        content.original("Set1/one.bin", "first", MTIME);
        content.original("Set1/two.bin", "second", MTIME);
    });
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    assert!(mirror.read(FileKind::Original, "Set1/two.bin").is_some());
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_lands_under_a_name_its_asset_has_left_does_not_stay() {
    let emdb = server(1).await;
    let mirror = mirror_of(&emdb).await;
    let first = Gate::default();
    emdb.faults()
        .once("originals", 1, Fault::Stall(0, first.clone()));
    let (_, ()) = tokio::join!(mirror.run(Scope::Everything), async {
        first.reached().await;
        mirror.shutdown.request();
    });
    let mirror = mirror.restarted();
    emdb.edit(|content| {
        let doc = Doc::new("asset", "a000", CLUSTER, now(), members("moved.bin", 9));
        content.record(doc);
        content.original("moved.bin", "content 0", MTIME);
    });
    // The next run finds the old wish, and lists the new name while the old file is under way.
    let second = Gate::default();
    emdb.faults()
        .once("originals/f000", 1, Fault::Stall(0, second.clone()));
    let (outcome, ()) = tokio::join!(mirror.seed(), async {
        second.reached().await;
        let old = ("a000".to_owned(), "originals/f000.bin".to_owned());
        let wishes = || mirror.node.catalogue.wishes_of("master", &["a000"]);
        while wishes().await.unwrap().contains(&old) {
            tokio::task::yield_now().await;
        }
        second.open();
    });
    assert_eq!(outcome.report.files_written, 2);
    assert_eq!(mirror.read(FileKind::Original, "f000.bin"), None);
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_that_a_kill_left_whole_in_staging_is_not_fetched_again() {
    let emdb = server(0).await;
    let bytes = "0123456789".repeat(300_000);
    emdb.edit(|content| {
        let mut hasher = emsync::model::Hasher::new(true);
        hasher.update(bytes.as_bytes());
        let mut members = members("big.bin", bytes.len());
        members["md5hex"] = json!(hasher.finish().md5.unwrap().to_string());
        content.record(Doc::new("asset", "big", CLUSTER, now(), members));
        content.original("big.bin", bytes.clone(), MTIME);
    });
    let gate = Gate::default();
    emdb.faults()
        .once("originals", 1, Fault::Stall(1_300_000, gate.clone()));
    let mirror = mirror_of(&emdb).await;
    let (_, ()) = tokio::join!(mirror.run(Scope::Everything), async {
        gate.reached().await;
        mirror.shutdown.request();
        gate.open();
    });
    let staging = (mirror.node.config.media.root).join(".emsync/staging/pull-master");
    let partial = (std::fs::read_dir(staging).unwrap())
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "part"))
        .unwrap();
    std::fs::write(&partial, &bytes).unwrap();
    let mirror = mirror.restarted();
    let asked = emdb.requests("originals").len();
    let outcome = mirror.seed().await;
    assert_eq!(
        (outcome.report.files_written, outcome.report.bytes_received),
        (1, 0)
    );
    assert_eq!(emdb.requests("originals").len(), asked);
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_that_begins_again_is_not_the_second_one_that_lacks_a_file() {
    let emdb = Emdb::start(Setup {
        page_size: 5,
        secure_cookie: false,
    })
    .await;
    let thumb = "f000.bin/thumb.webp";
    emdb.edit(|content| {
        for n in 0..12 {
            let path = format!("f{n:03}.bin");
            add_asset(content, &format!("a{n:03}"), &path, &path);
        }
        content.generated(thumb, "thumb", MTIME);
    });
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    emdb.edit(|content| content.remove_file(thumb));
    emdb.faults().once("nextall", 2, Fault::RepeatPage);
    mirror.seed().await;
    assert!(mirror.read(FileKind::Generated, thumb).is_some());
    mirror.seed().await;
    assert!(mirror.read(FileKind::Generated, thumb).is_none());
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_on_disk_already_are_taken_over_without_being_fetched() {
    let emdb = server(3).await;
    let mirror = mirror_of(&emdb).await;
    let put = |name: &str, content: &str, mtime: i64| {
        let path = mirror.path(FileKind::Original, name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        let modified = Timestamp::from_millis(mtime).as_millis();
        let time = std::time::UNIX_EPOCH + Duration::from_millis(u64::try_from(modified).unwrap());
        (std::fs::File::options().write(true).open(path).unwrap())
            .set_modified(time)
            .unwrap();
    };
    put("f000.bin", "content 0", MTIME);
    put("f001.bin", "content 1", MTIME + 9_000);
    put("f002.bin", "cut off", MTIME);
    let outcome = mirror.seed().await;
    let report = outcome.report;
    assert_eq!(
        (
            report.files_written,
            report.files_adopted,
            report.bytes_received
        ),
        (2, 1, 18)
    );
    mirror.assert_in_sync().await;
    let trash = mirror.node.config.media.root.join(".emsync/trash");
    let kept = walkdir::WalkDir::new(trash).into_iter().flatten();
    assert_eq!(
        kept.filter(|entry| entry.file_type().is_file()).count(),
        2,
        "only what was replaced by something else is kept"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_dates_cost_their_own_files_at_most() {
    let emdb = server(3).await;
    let absurd = [i64::MAX, i64::MIN, -1, 253_402_300_800_000];
    emdb.edit(|content| {
        for (n, mtime) in absurd.into_iter().enumerate() {
            content.generated(&format!("f000.bin/{n}.webp"), format!("thumb {n}"), mtime);
        }
    });
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    mirror.verify().await;
    assert!(mirror.read(FileKind::Original, "f002.bin").is_some());
    assert!(
        mirror
            .read(FileKind::Generated, "f000.bin/2.webp")
            .is_some()
    );
    assert_eq!(mirror.seed().await.report.files_written, 0);
}

/// Runs `scope` in a runtime of its own, which dies when the `nth` request from now waits for its answer: every task stops
/// at whatever await it stands, as in a kill. Answers whether it came to that.
async fn killed_at(emdb: &Emdb, mirror: &mut Mirror, scope: Scope, nth: u64) -> bool {
    let gate = Gate::default();
    emdb.faults().once("", nth, Fault::Stall(0, gate.clone()));
    let config = (*mirror.node.config).clone();
    let (peer, monitor) = (mirror.peer(), mirror.monitor.clone());
    let (ended, end) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.spawn(async move {
        let node = Node::open(config, Seams::os()).await.unwrap();
        let options = Options::of(scope);
        let outcome = sync_peer(&node, &peer, options, monitor, &Shutdown::new()).await;
        let _ = ended.send(outcome.unwrap().error.is_none());
    });
    let killed = tokio::select! {
        () = gate.reached() => true,
        well = end => { assert!(well.unwrap()); false }
    };
    tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(5)))
        .await
        .unwrap();
    emdb.faults().clear();
    mirror.node = Node::open((*mirror.node.config).clone(), Seams::os())
        .await
        .unwrap();
    killed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_request_loses_nothing_and_is_made_good_by_the_next_run() {
    for nth in 1.. {
        let emdb = Emdb::start(Setup {
            page_size: 2,
            secure_cookie: false,
        })
        .await;
        emdb.edit(|content| {
            for n in 0..5 {
                let path = format!("f{n:03}.bin");
                add_asset(content, &format!("a{n:03}"), &path, &path);
                content.generated(&format!("{path}/thumb.webp"), "thumb", MTIME);
            }
        });
        let mut mirror = mirror_of(&emdb).await;
        let seeding = killed_at(&emdb, &mut mirror, Scope::Everything, nth).await;
        mirror.seed().await;
        mirror.assert_in_sync().await;
        emdb.edit(|content| {
            for tree in [
                "f000.bin",
                "f000.bin/thumb.webp",
                "f001.bin",
                "f001.bin/thumb.webp",
            ] {
                content.remove_file(tree);
            }
            add_asset(content, "a000", "moved.bin", "f000.bin");
            let gone = Doc::new("asset", "a001", CLUSTER, now(), members("f001.bin", 8));
            content.record(gone.deleted());
            add_asset(content, "a002", "f002.bin", "replaced");
            let mut newer = members("f002.bin", 8);
            let later = MTIME + 5_000;
            newer["assetmodificationdate"] = json!(Timestamp::from_millis(later).to_string());
            content.record(Doc::new("asset", "a002", CLUSTER, now(), newer));
            content.original("f002.bin", "replaced", later);
        });
        let following = killed_at(&emdb, &mut mirror, Scope::Changes, nth).await;
        mirror.sync().await;
        mirror.assert_in_sync().await;
        for gone in ["f000.bin", "f001.bin"] {
            assert_eq!(
                mirror.read(FileKind::Original, gone),
                None,
                "killed at {nth}"
            );
        }
        let again = mirror.sync().await.report;
        assert_eq!((again.files_written, again.bytes_received), (0, 0));
        if !seeding && !following {
            break;
        }
    }
}
