//! Memory of the real program, as the system counts it: it follows neither the archive nor what a peer sends.

use std::io::Write as _;
use std::time::Duration;

use axum::body::Bytes;
use emsync::cli::ExitCode;
use emsync::model::Timestamp;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio::runtime::Runtime;

use super::{CLUSTER, say};
use crate::support::emdb::{Doc, Emdb, KEY, Setup};
use crate::support::fault::{Fault, Meter, Reply};
use crate::support::process::{Place, Ran, Running};

/// Largest page that is taken, in bytes.
const LARGEST_PAGE: u64 = 256 << 20;
const MIB: u64 = 1 << 20;

/// A mirror of `emdb` for the real program.
fn mirror(emdb: &Emdb) -> Place {
    let place = Place::new();
    place.run(&["init", "r", "--name", "Mirror"]).ends(0);
    std::fs::write(place.path("key.txt"), KEY).unwrap();
    let (url, key) = (emdb.base(), place.path("key.txt"));
    let add = ["-C", "r", "peer", "add", "master", "--url", url];
    let who = ["--cluster-id", CLUSTER, "--key-file", key.to_str().unwrap()];
    place.run(&[&add[..], &who[..]].concat()).ends(0);
    place
}

/// Runs a command, and answers how much memory that took at most, in bytes. Looked at every few milliseconds; the system keeps
/// the highest value, so that only growth in the very last of them would be missed.
fn run(place: &Place, args: &[&str]) -> (Ran, u64) {
    let running = place.start(&[&["-C", "r"], args].concat());
    let mut most = 0;
    while !running.has_ended() {
        most = most.max(resident(&running));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(most > 0, "never seen: {}", running.errors());
    (running.wait(), most)
}

fn seed(place: &Place) -> (Ran, u64) {
    run(place, &["seed", "master", "--json"])
}

/// The most memory that was resident so far, in bytes; 0 when it has ended.
fn resident(running: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid()));
    let status = status.unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}

/// The page is refused, at once and for its size, and the next run is as if nothing had been.
#[track_caller]
fn is_refused(emdb: &Emdb, (ran, memory): (Ran, u64), what: &str) {
    let ran = ran.ends(ExitCode::Other as i32);
    let words = format!("a page of more than {LARGEST_PAGE} bytes");
    assert!(ran.stderr.contains(&words), "{what}: {}", ran.stderr);
    // The clock and the page: what is too large once is not asked for again.
    assert_eq!(emdb.requests("listalldocs").len(), 2, "{what}");
    say(&format!(
        "bounded: {what}: refused at {} MiB of memory",
        memory / MIB
    ));
    let most = LARGEST_PAGE + 96 * MIB;
    assert!(
        memory <= most,
        "{what}: {memory} bytes of memory, {most} are bound"
    );
}

async fn small_master() -> Emdb {
    let emdb = Emdb::start(Setup::default()).await;
    let now: Timestamp = std::time::SystemTime::now().into();
    let doc = Doc::new("category", "c", CLUSTER, now, json!({}));
    emdb.edit(|content| content.record(doc));
    emdb
}

#[test]
fn a_page_without_an_end_is_refused_at_its_bound() {
    const PIECE: u64 = 64 << 10;
    let runtime = Runtime::new().unwrap();
    let emdb = runtime.block_on(small_master());
    let (piece, meter) = (Bytes::from(vec![b' '; PIECE as usize]), Meter::default());
    let flood = Fault::Flood(piece, 4 * LARGEST_PAGE / PIECE, meter.clone());
    emdb.faults().once("listalldocs", 2, flood);
    let place = mirror(&emdb);
    is_refused(&emdb, seed(&place), "a page without an end");
    // Newer kernels let 32 MiB wait on either side of a connection.
    let (taken, most) = (meter.bytes(), LARGEST_PAGE + 80 * MIB);
    assert!(
        (LARGEST_PAGE..=most).contains(&taken),
        "{taken} bytes were taken"
    );
    seed(&place).0.ends(0);
}

#[test]
fn a_page_that_swells_when_unpacked_is_refused_at_its_bound() {
    let runtime = Runtime::new().unwrap();
    let emdb = runtime.block_on(small_master());
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..2 * LARGEST_PAGE / MIB {
        packed.write_all(&[b' '; MIB as usize]).unwrap();
    }
    let packed = packed.finish().unwrap();
    assert!(
        (packed.len() as u64) < LARGEST_PAGE / 50,
        "{}",
        packed.len()
    );
    let mut bomb =
        Reply::plain(200, "text/json;charset=UTF-8", "").with("content-encoding", "gzip");
    bomb.body = packed.into();
    emdb.faults().once("listalldocs", 2, Fault::Answer(bomb));
    let place = mirror(&emdb);
    is_refused(&emdb, seed(&place), "a page that swells when unpacked");
    seed(&place).0.ends(0);
}

/// Records of about 16 KB in pages of 50.
async fn master_of(records: usize) -> Emdb {
    let setup = Setup {
        page_size: 50,
        secure_cookie: false,
    };
    let emdb = Emdb::start(setup).await;
    let now: Timestamp = std::time::SystemTime::now().into();
    let caption = "harbour at dawn ".repeat(1_000);
    emdb.edit(|content| {
        // Not by `record`, which looks through all of them for the one that it replaces.
        content.docs = (0..records)
            .map(|n| {
                let members = json!({"longcaption": caption, "number": n});
                Doc::new(
                    "librarycollection",
                    &format!("l{n:05}"),
                    CLUSTER,
                    now,
                    members,
                )
            })
            .collect();
    });
    emdb
}

/// The smaller archive is large enough to fill every cache; the larger one is 56 MB more, before anything is made of them.
#[test]
fn memory_does_not_grow_with_the_archive() {
    let runtime = Runtime::new().unwrap();
    let peaks = [1_500, 5_000].map(|records| {
        let emdb = runtime.block_on(master_of(records));
        let place = mirror(&emdb);
        let (ran, pulled) = seed(&place);
        assert_eq!(ran.ends(0).json()["records"], records);
        let (ran, described) = run(&place, &["verify", "--report", "../r.json", "--json"]);
        ran.ends(0);
        say(&format!(
            "bounded: {records} records: {} KiB of memory to pull and compare them, {} KiB to describe them",
            pulled / 1_024,
            described / 1_024
        ));
        [pulled, described]
    });
    for (small, large) in peaks[0].iter().zip(peaks[1]) {
        let most = small + 32 * MIB;
        assert!(large <= most, "{large} bytes, {most} are bound");
    }
}
