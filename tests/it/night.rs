//! A night in fast forward: one served node, run after run by its scheduler while its master changes and one answer in a hundred is
//! an error; what the process holds stays what it was.
//!
//! `EMSYNC_NIGHT=100` is the whole night, which takes some minutes; else it is a short one.

use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::between::Between;
use crate::support::chance::Chance;
use crate::support::pair;
use crate::support::process::{Place, Serving};
use crate::support::said::say;

/// Runs of a short night.
const RUNS: usize = 12;
/// Runs after which a process has opened and cached what it needs.
const WARM: usize = 4;
/// Longest time a run may keep us waiting.
const PATIENCE: Duration = Duration::from_secs(60);
/// Memory that may come on top: what an allocator keeps of the largest run so far.
const GROWTH_KIB: u64 = 16 << 10;
/// Files and sockets that may come on top: a connection of the pool, a reader of the catalogue.
const MORE_FILES: usize = 8;

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    rss_kib: u64,
    files: usize,
}

fn held(serving: &Serving) -> Held {
    let proc = format!("/proc/{}", serving.running().pid());
    let status = fs::read_to_string(format!("{proc}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    Held {
        rss_kib: number.parse().unwrap(),
        files: fs::read_dir(format!("{proc}/fd")).unwrap().count(),
    }
}

/// The runs that have ended, oldest first.
fn ended(place: &Place) -> Vec<Value> {
    let args = [
        "-C", "r", "event", "history", "often", "--limit", "200", "--json",
    ];
    let runs = place.run(&args).json();
    let mut runs = runs.as_array().unwrap().clone();
    runs.retain(|run| run["outcome"].is_string());
    runs.reverse();
    runs
}

/// Changes something on the master: adds, replaces or deletes.
fn churn(place: &Place, chance: &mut Chance) {
    let path = format!("{}/{}.bin", chance.below(4), chance.below(12));
    let photos = place.path("photos");
    if chance.percent(25) && photos.join(&path).exists() {
        fs::remove_file(photos.join(&path)).unwrap();
    } else {
        let size = 1 + chance.below(200_000);
        pair::put(&photos, &path, &chance.noise(size));
    }
    pair::import(place, &["--max-delete", "100%"]).ends(0);
}

#[test]
fn a_node_that_runs_all_night_holds_no_more_than_in_the_evening() {
    let wanted = std::env::var("EMSYNC_NIGHT").map_or(RUNS, |runs| runs.parse().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = Place::new();
    let master = pair::pair(&place, &[("a.txt", b"one"), ("b.txt", b"two")]);
    let host = master.base.trim_end_matches("/assets");
    let between = runtime.block_on(Between::start(host));
    let faults = Mutex::new(Chance::new(7));
    let refuses = move |_: &str| faults.lock().unwrap().percent(1);
    between.refuse(Some(Box::new(refuses)));
    let settings = place.path("r/emsync.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let through = format!("http://{}/assets", between.address);
    fs::write(&settings, text.replace(&master.base, &through)).unwrap();
    let add = [
        "-C", "r", "event", "add", "often", "--action", "pull", "--every", "1s",
    ];
    place.run(&add).ends(0);
    let node = place.serve("r");
    let (mut chance, mut evening, mut since, mut before) =
        (Chance::new(1), None, Instant::now(), 0);
    let runs = loop {
        churn(&place, &mut chance);
        let runs = ended(&place);
        if runs.len() > before {
            (before, since) = (runs.len(), Instant::now());
        }
        assert!(
            since.elapsed() < PATIENCE,
            "no run ends: {}",
            node.running().errors()
        );
        if runs.len() >= WARM && evening.is_none() {
            evening = Some(held(&node));
        }
        if runs.len() >= wanted.max(WARM + 1) {
            break runs;
        }
    };
    let (evening, morning) = (evening.unwrap(), held(&node));
    node.stop().ends(0);
    let good = runs.iter().filter(|run| run["outcome"] == "ok").count();
    let moved: u64 = runs
        .iter()
        .filter_map(|run| run["report"]["bytes_received"].as_u64())
        .sum();
    say(&format!(
        "night: {} runs, {good} ok, {moved} bytes; {} KiB and {} files in the evening, {} KiB and {} files in the morning",
        runs.len(),
        evening.rss_kib,
        evening.files,
        morning.rss_kib,
        morning.files
    ));
    assert!(good * 2 > runs.len(), "most runs are well: {runs:?}");
    assert!(moved > 0, "nothing was brought");
    assert!(
        morning.rss_kib < evening.rss_kib + GROWTH_KIB,
        "{evening:?} {morning:?}"
    );
    assert!(
        morning.files <= evening.files + MORE_FILES,
        "{evening:?} {morning:?}"
    );
    // Whatever went wrong on the way, in the morning both are equal.
    between.refuse(None);
    place.run(&["-C", "r", "sync", "--max-delete", "100%"]);
    pair::assert_equal(&pair::verify(&place, &[]).json());
}
