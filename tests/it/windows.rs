//! What a listing of changes is sure to show: windows overlap, pages wait for no file, and members of folder assets are
//! asked for in windows that one page holds.
//!
//! Where a window begins is told to the millisecond, since the clocks of both nodes stand where a test puts them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use emsync::model::{FileKind, Timestamp};
use emsync::seams::{Clock, Seams};
use emsync::store::RealSys;
use serde_json::json;

use crate::support::emdb::{Doc, Emdb, KEY, Logged, Setup, asset_members};
use crate::support::fault::{Fault, Gate};
use crate::support::node::Mirror;

const CLUSTER: &str = "node-a-cluster";
const MTIME: i64 = 1_772_201_000_000;
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

/// A clock that stands where it is put.
#[derive(Debug)]
struct Standing(Mutex<Timestamp>);

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// An EMDB that keeps its cursor over plain http.
async fn server(page_size: usize) -> Emdb {
    let setup = Setup {
        page_size,
        secure_cookie: false,
    };
    Emdb::start(setup).await
}

fn asset(emdb: &Emdb, id: &str, path: &str, saved: Timestamp) {
    let bytes = format!("content of {path}");
    let members = asset_members(path, bytes.len(), MTIME);
    emdb.edit(|content| {
        content.record(Doc::new("asset", id, CLUSTER, saved, members));
        content.original(path, bytes, MTIME);
    });
}

/// Records that were saved so long before the last listing, and come to light an hour after it: which the next listing of
/// changes takes. They are no assets, whose number the master tells.
async fn taken_late(overlap: Option<Duration>, before: &[Duration]) -> Vec<bool> {
    let emdb = server(1_000).await;
    let listed = now();
    emdb.stop_clock(listed);
    let early = Doc::new("category", "early", CLUSTER, listed.minus(DAY), json!({}));
    emdb.edit(|content| content.record(early));
    let dir = Mirror::of(emdb.base(), KEY, Some(CLUSTER)).await.close();
    let clock = Arc::new(Standing(Mutex::new(listed)));
    let seams = Seams {
        clock: clock.clone(),
        ..Seams::os()
    };
    let mirror = Mirror::open_in(dir.await, seams, Arc::new(RealSys)).await;
    let mut mirror = mirror.map_err(|(_, error)| error).unwrap();
    mirror.configure(|config| config.limits.overlap = overlap.unwrap_or(config.limits.overlap));
    mirror.seed().await;
    assert!(mirror.has_live("category", "early").await);

    let later = listed.plus(HOUR);
    *clock.0.lock().unwrap() = later;
    emdb.stop_clock(later);
    let id = |at: usize| format!("late-{at}");
    for (at, before) in before.iter().enumerate() {
        let doc = Doc::new(
            "category",
            &id(at),
            CLUSTER,
            listed.minus(*before),
            json!({}),
        );
        emdb.edit(|content| content.record(doc));
    }
    mirror.sync().await;
    let mut taken = Vec::new();
    for at in 0..before.len() {
        taken.push(mirror.has_live("category", &id(at)).await);
    }
    taken
}

/// The last one shows that nothing but the overlap brought the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_comes_to_light_late_is_taken_as_far_back_as_windows_overlap() {
    let minute = Duration::from_secs(60);
    let before = [
        Duration::from_millis(1),
        minute,
        10 * minute,
        10 * minute + Duration::from_millis(1),
    ];
    assert_eq!(taken_late(None, &before).await, [true, true, true, false]);
    let half_an_hour = Some(30 * minute);
    assert_eq!(taken_late(half_an_hour, &before).await, [true; 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_overlap_by_five_seconds_at_least() {
    let second = Duration::from_secs(1);
    let before = [second, 4 * second, 5 * second, 6 * second];
    for overlap in [Duration::ZERO, Duration::from_millis(1)] {
        let taken = taken_late(Some(overlap), &before).await;
        assert_eq!(taken, [true, true, true, false], "{overlap:?}");
    }
}

fn connections(requests: &[Logged]) -> BTreeSet<SocketAddr> {
    requests.iter().map(|request| request.from).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_asked_for_to_the_last_one_while_a_file_is_held() {
    let emdb = server(2).await;
    for n in 0..8 {
        asset(&emdb, &format!("a{n}"), &format!("d/f{n}.bin"), now());
    }
    let mirror = Mirror::with(emdb.base(), KEY, Some(CLUSTER), |config| {
        config.limits.transfers = 1;
    })
    .await;
    let (second_page, file) = (Gate::default(), Gate::default());
    let faults = emdb.faults();
    faults.once("nextall", 1, Fault::Stall(0, second_page.clone()));
    faults.once("downloads/originals", 1, Fault::Stall(3, file.clone()));
    let watch = async {
        let last_page = async {
            // The second page comes once the first file is held, so the other pages are asked for after that.
            tokio::join!(file.reached(), second_page.reached());
            second_page.open();
            emdb.asked("nextall", 3).await;
        };
        let came = tokio::time::timeout(PATIENCE, last_page).await;
        let files = emdb.requests("downloads").len();
        second_page.open();
        file.open();
        (came.is_ok(), files)
    };
    let (outcome, (came, files)) = tokio::join!(mirror.seed(), watch);
    assert!(came, "pages wait for the file that is held");
    assert_eq!(files, 1, "the only transfer is the one that is held");
    assert_eq!(outcome.report.files_written, 8);
    let all = emdb.requests("");
    let (media, lists): (Vec<_>, Vec<_>) =
        (all.into_iter()).partition(|request| request.path.contains("downloads/"));
    let shared: Vec<_> = connections(&lists)
        .intersection(&connections(&media))
        .copied()
        .collect();
    assert_eq!(shared, [], "a list and a file came over one connection");
    mirror.assert_in_sync().await;
}

/// A folder asset with a member that its record does not name.
fn folder(emdb: &Emdb, id: &str, saved: Timestamp) {
    let path = format!("Folders/{id}");
    let members = json!({
        "sourcepath": path, "isfolder": true, "primaryfile": "page1.bin", "filesize": 10, "fileformat": "bin",
        "assetmodificationdate": Timestamp::from_millis(MTIME).to_string(),
    });
    emdb.edit(|content| {
        content.record(Doc::new("asset", id, CLUSTER, saved, members));
        content.original(&format!("{path}/page1.bin"), "first page", MTIME);
        content.original(&format!("{path}/page2.bin"), "second page", MTIME);
    });
}

fn has_second_page(mirror: &Mirror, id: &str) -> bool {
    let path = format!("Folders/{id}/page2.bin");
    mirror.read(FileKind::Original, &path).is_some()
}

/// Findings about members that cannot be listed.
fn out_of_reach(mirror: &Mirror) -> Vec<String> {
    let mut findings = mirror.monitor.seen().findings;
    findings.retain(|text| text.contains("cannot list its members"));
    findings
}

/// Windows of the upload listing that were asked for, in ms.
fn windows(emdb: &Emdb) -> Vec<i64> {
    let asked = emdb.requests("pullrecentuploads");
    let is_first = |request: &Logged| {
        let page = request.fields.get("page");
        page.is_none_or(|page| page == "1")
    };
    assert!(asked.iter().all(is_first), "a page that no EMDB can give");
    let windows = asked
        .iter()
        .map(|request| request.fields["lastpullago"].parse());
    windows.collect::<Result<_, _>>().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_window_of_folder_members_is_halved_until_one_page_holds_it() {
    let (emdb, long_ago) = (server(4).await, now().minus(30 * DAY));
    for n in 0..9 {
        asset(&emdb, &format!("a{n}"), &format!("d/f{n}.bin"), long_ago);
    }
    folder(&emdb, "old", long_ago);
    folder(&emdb, "new", now().minus(HOUR));
    let mirror = Mirror::of(emdb.base(), KEY, Some(CLUSTER)).await;
    mirror.seed().await;
    let asked = windows(&emdb);
    assert!(asked.len() > 5, "not halved: {asked:?}");
    let halved = asked.windows(2).all(|pair| pair[1] == pair[0] / 2);
    assert!(halved, "{asked:?}");
    // The first that leaves out what was saved 30 days ago is the last that is asked for.
    let reaches = |ago: &i64| u128::from(ago.unsigned_abs()) > (30 * DAY).as_millis();
    let (last, wider) = asked.split_last().unwrap();
    assert!(!reaches(last) && wider.iter().all(reaches), "{asked:?}");

    assert!(
        has_second_page(&mirror, "new"),
        "within reach, and not here"
    );
    assert!(!has_second_page(&mirror, "old"), "nobody listed it");
    let findings = out_of_reach(&mirror);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(
        findings[0].starts_with("folder asset old: "),
        "{findings:?}"
    );

    // What the finding says to do.
    folder(&emdb, "old", now());
    mirror.sync().await;
    assert!(has_second_page(&mirror, "old"), "saved again, and not here");
    assert_eq!(out_of_reach(&mirror), findings, "said again for no reason");
}

/// EMDB lists the oldest of a window on page 1, and no page but that can be trusted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folder_members_that_no_window_reaches_are_a_finding() {
    let (emdb, saved) = (server(4).await, now());
    // So that no window is too short for them, however long this takes.
    emdb.stop_clock(saved);
    folder(&emdb, "first", saved);
    for n in 0..5 {
        asset(&emdb, &format!("a{n}"), &format!("d/f{n}.bin"), saved);
    }
    folder(&emdb, "last", saved);
    let mirror = Mirror::of(emdb.base(), KEY, Some(CLUSTER)).await;
    mirror.seed().await;
    let asked = windows(&emdb);
    assert!(asked.last().is_some_and(|ago| *ago < 60_000), "{asked:?}");
    assert!(has_second_page(&mirror, "first") && !has_second_page(&mirror, "last"));
    let findings = out_of_reach(&mirror);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(
        findings[0].starts_with("folder asset last: "),
        "{findings:?}"
    );
}
