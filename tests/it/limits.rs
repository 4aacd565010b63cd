//! Limits of the network and of a run, with real processes: what they hold back, how they end a run, and that nothing is lost.
//!
//! Time is only ever compared from below: a slow machine cannot make a limit look broken.

use serde_json::Value;

use crate::support::chance::Chance;
use crate::support::pair::{assert_equal, key, master, mirror, verify};
use crate::support::process::{Place, Ran, Serving};

const MIB: usize = 1 << 20;

/// A master of these files, and a mirror of it that has nothing yet.
fn unseeded(place: &Place, sizes: &[(&str, usize)]) -> Serving {
    let mut chance = Chance::new(5);
    let files: Vec<_> = sizes
        .iter()
        .map(|(path, size)| (*path, chance.noise(*size)))
        .collect();
    let files: Vec<_> = files
        .iter()
        .map(|(path, bytes)| (*path, bytes.as_slice()))
        .collect();
    let serving = master(place, &files);
    mirror(place, &serving.base, &key(place));
    serving
}

fn seed(place: &Place, more: &[&str]) -> Ran {
    let mut args = vec!["-C", "r", "seed", "master", "--json"];
    args.extend(more);
    place.run(&args)
}

fn number(report: &Value, member: &str) -> u64 {
    report[member]
        .as_u64()
        .unwrap_or_else(|| panic!("{member}: {report}"))
}

#[test]
fn a_run_ends_at_its_bytes_and_each_next_one_goes_on_until_all_is_there() {
    let place = Place::new();
    let small: Vec<String> = (0..8).map(|n| format!("small/{n}.bin")).collect();
    let mut files: Vec<_> = small
        .iter()
        .map(|path| (path.as_str(), 200 << 10))
        .collect();
    files.push(("large.bin", 5 * MIB / 2));
    let total: usize = files.iter().map(|(_, size)| size).sum();
    let _serving = unseeded(&place, &files);
    let mut runs = 0;
    let mut received = 0;
    let last = loop {
        let ran = seed(&place, &["--max-transfer", "1M"]);
        let report = ran.json();
        received += number(&report, "bytes_received");
        assert!(number(&report, "bytes_received") <= MIB as u64, "{report}");
        runs += 1;
        if ran.code == Some(0) {
            break report;
        }
        let ran = ran.ends(8);
        assert!(
            ran.stderr.contains("--max-transfer 1MiB is used up"),
            "{}",
            ran.stderr
        );
        assert_eq!(number(&report, "quarantined"), 0);
        assert!(runs < 20, "no run gets further: {report}");
    };
    assert_eq!(last["in_sync"], true);
    // The last part of the large file counts alone: what came before is counted where it stayed behind.
    assert!(received <= total as u64);
    assert!(runs > total / MIB, "{runs} runs for {total} bytes");
    assert_equal(&verify(&place, &["--checksum"]).ends(0).json());
}

#[test]
fn a_run_ends_at_its_time_and_the_next_one_brings_the_rest() {
    let place = Place::new();
    let _serving = unseeded(&place, &[("large.bin", 8 * MIB), ("small.bin", 1000)]);
    let ran = seed(&place, &["--bwlimit", "1M", "--max-duration", "1500ms"]).ends(10);
    assert!(
        ran.stderr.contains("--max-duration 1s 500ms is over"),
        "{}",
        ran.stderr
    );
    assert_eq!(number(&ran.json(), "quarantined"), 0);
    let report = seed(&place, &[]).ends(0).json();
    assert_eq!(report["in_sync"], true);
}

#[test]
fn what_is_fetched_and_what_is_served_keeps_to_its_rate() {
    let mut place = Place::new();
    place.set("EMSYNC_BWLIMIT", "2M:1M");
    let size = 5 * MIB / 2;
    let _serving = unseeded(&place, &[("a.bin", size)]);
    // 2.5 MiB at 1 MiB a second, less the tenth of a second that may come at once.
    let report = seed(&place, &[]).ends(0).json();
    assert!(number(&report, "elapsed_ms") >= 2_300, "{report}");
    // The node that serves has 2 MiB a second, whoever asks.
    place.run(&["init", "r2", "--name", "Other"]).ends(0);
    let key = place.path("r/key.txt");
    let add = [
        "-C",
        "r2",
        "peer",
        "add",
        "master",
        "--url",
        &_serving.base,
        "--key-file",
        key.to_str().unwrap(),
    ];
    place.run(&add).ends(0);
    let ran = place
        .run(&["-C", "r2", "seed", "master", "--json", "--bwlimit", "off"])
        .ends(0);
    assert!(number(&ran.json(), "elapsed_ms") >= 1_050, "{}", ran.stdout);
}

#[test]
fn requests_keep_to_their_rate() {
    let place = Place::new();
    let names: Vec<String> = (0..30).map(|n| format!("{n}.bin")).collect();
    let files: Vec<_> = names.iter().map(|path| (path.as_str(), 10)).collect();
    let _serving = unseeded(&place, &files);
    let report = seed(&place, &["--tpslimit", "20", "--tpslimit-burst", "5"])
        .ends(0)
        .json();
    // 30 files and a listing, of which 5 at once.
    assert!(number(&report, "elapsed_ms") >= 1_250, "{report}");
}

#[test]
fn limits_that_cannot_be_read_are_refused_before_anything_moves() {
    let place = Place::new();
    place.run(&["init", "r", "--name", "Mirror"]).ends(0);
    for (flag, value, says) in [
        ("--bwlimit", "fast", "not a bandwidth"),
        ("--bwlimit", "08:00,1M 08:00,2M", "twice"),
        ("--tpslimit", "-1", "requests a second"),
        ("--max-transfer", "10MB", "write 10MiB"),
        ("--max-duration", "5", "not a duration"),
    ] {
        let flag = format!("{flag}={value}");
        let ran = place.run(&["-C", "r", "seed", "master", &flag]).ends(2);
        assert!(ran.stderr.contains(says), "{flag}: {}", ran.stderr);
    }
}
