//! Downloads that find their number: many at once over a long way, few where more are refused, never more than was said.
//!
//! Real processes with a door between them. What is asserted are counts; how long things take is nobody's business.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::chance::Chance;
use crate::support::door::{Door, Manners};
use crate::support::pair::{key, master, mirror, seed};
use crate::support::process::{Place, Serving, hears, text, until};

const KIB: usize = 1 << 10;

/// A master of these files behind a door, and a mirror that has nothing yet.
struct Scene {
    door: Door,
    _serving: Serving,
    _runtime: Runtime,
    // Last, since the processes live in it.
    place: Place,
}

impl Scene {
    fn new(files: &[(String, usize)], manners: Manners) -> Self {
        let place = Place::new();
        let mut chance = Chance::new(11);
        let files: Vec<_> = files
            .iter()
            .map(|(path, size)| (path.as_str(), chance.noise(*size)))
            .collect();
        let files: Vec<_> = files
            .iter()
            .map(|(path, bytes)| (*path, bytes.as_slice()))
            .collect();
        let serving = master(&place, &files);
        let runtime = Runtime::new().unwrap();
        let door = runtime.block_on(Door::to(&serving.base, manners));
        mirror(&place, &door.base, &key(&place));
        Self {
            door,
            _serving: serving,
            _runtime: runtime,
            place,
        }
    }

    fn limit(&self, from: &str, to: &str) {
        let settings = self.place.path("r/emsync.toml");
        let before = text(&settings);
        assert!(before.contains(from), "{before}");
        std::fs::write(settings, before.replace(from, to)).unwrap();
    }
}

fn small(number: usize) -> Vec<(String, usize)> {
    (0..number)
        .map(|n| (format!("{}/{n}.bin", n % 7), 100 + n))
        .collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value}"))
}

#[test]
fn a_far_peer_is_asked_for_many_files_at_once() {
    let manners = Manners {
        later: Duration::from_millis(300),
        most: usize::MAX,
    };
    let scene = Scene::new(&small(600), manners);
    let report = seed(&scene.place).ends(0).json();
    assert_eq!(report["files_written"], 600);
    assert_eq!(report["in_sync"], true);
    let transfers = &report["transfers"];
    assert_eq!(transfers["ceiling"], 256);
    let most = number(&transfers["small"]["most"]);
    assert!(most > 64, "{transfers}");
    // The door sees fewer where some wait for a connection, never more.
    assert!(scene.door.most() as u64 <= most && scene.door.most() > 32);

    let status = scene.place.run(&["-C", "r", "status"]).ok();
    let said = format!("up to {most} small files at once, 0 large (at most 256)");
    assert!(status.contains(&said), "{status}");
    let status = scene.place.run(&["-C", "r", "status", "--json"]).json();
    assert_eq!(&status["last_run"]["report"]["transfers"], transfers);
}

#[test]
fn a_peer_that_refuses_is_asked_for_less_and_nothing_is_lost() {
    let manners = Manners {
        later: Duration::from_millis(60),
        most: 10,
    };
    let scene = Scene::new(&small(600), manners);
    scene.limit("attempts = 2", "attempts = 5");
    let report = seed(&scene.place).ends(0).json();
    assert_eq!(report["files_written"], 600);
    assert_eq!(report["quarantined"], 0);
    let (asked, refused) = scene.door.asked();
    assert_eq!(asked, 600);
    assert!((1..60).contains(&refused), "{refused} were refused");
    let small = &report["transfers"]["small"];
    assert_eq!(number(&small["pushed_back"]), refused as u64);
    assert!(
        number(&small["most"]) > 10 && number(&small["width"]) <= 13,
        "{small}"
    );
}

#[test]
fn one_transfer_is_one_whatever_the_lane() {
    let manners = Manners {
        later: Duration::from_millis(5),
        most: usize::MAX,
    };
    let mut files = small(24);
    files.extend((0..6).map(|n| (format!("large/{n}.bin"), 70 * KIB)));
    let scene = Scene::new(&files, manners);
    scene.limit("#large_file = \"8MiB\"", "large_file = \"64KiB\"");
    let args = ["-C", "r", "seed", "master", "--json", "--transfers", "1"];
    let report = scene.place.run(&args).ends(0).json();
    assert_eq!(report["files_written"], 30);
    assert_eq!(scene.door.most(), 1);
    let transfers = &report["transfers"];
    let most = ["small", "large"].map(|lane| number(&transfers[lane]["most"]));
    assert_eq!((number(&transfers["ceiling"]), most), (1, [1, 1]));
}

#[test]
fn a_ceiling_holds_for_both_lanes_together() {
    let manners = Manners {
        later: Duration::from_millis(30),
        most: usize::MAX,
    };
    let mut files = small(120);
    files.extend((0..12).map(|n| (format!("large/{n}.bin"), 70 * KIB)));
    let scene = Scene::new(&files, manners);
    scene.limit("#large_file = \"8MiB\"", "large_file = \"64KiB\"");
    let args = ["-C", "r", "seed", "master", "--json", "--transfers", "12"];
    let report = scene.place.run(&args).ends(0).json();
    assert_eq!(report["files_written"], 132);
    assert!(
        (2..=12).contains(&scene.door.most()),
        "{}",
        scene.door.most()
    );
}

#[test]
fn the_ceiling_moves_and_a_pause_ends_a_run_while_it_goes_on() {
    let manners = Manners {
        later: Duration::from_millis(40),
        most: usize::MAX,
    };
    let scene = Scene::new(&small(500), manners);
    let place = &scene.place;
    scene.limit("#transfers = 256", "transfers = 1");
    let add = [
        "-C", "r", "event", "add", "hourly", "--action", "pull", "--every", "1h",
    ];
    place.run(&add).ends(0);
    let node = place.serve("r");
    until("files are fetched one by one", || scene.door.asked().0 > 3);
    assert_eq!(scene.door.most(), 1);
    // At this rate the whole takes twenty seconds; nothing but the ceiling changes that.
    scene.limit("transfers = 1", "transfers = 16");
    node.running().signal(Signal::HUP);
    until("more of them are fetched at once", || scene.door.most() > 4);
    place.run(&["-C", "r", "peer", "pause", "master"]).ends(0);
    hears(&node, &["hourly", "ended: paused"]);
    let (asked, _) = scene.door.asked();
    assert!(asked < 500, "all came before the pause");
    assert!(scene.door.most() <= 16);
    let status = place.run(&["-C", "r", "status", "--json"]).json();
    assert!(status["peers"][0]["paused_since"].is_string(), "{status}");
    // It holds for whoever runs, and over a restart.
    let refused = place.run(&["-C", "r", "sync", "master"]).ends(5);
    assert!(refused.stderr.contains("peer resume master"));
    let left_out = place.run(&["-C", "r", "sync"]).ends(0);
    assert!(left_out.stderr.contains("left out"), "{}", left_out.stderr);
    node.stop().ends(0);
    let node = place.serve("r");
    let by_hand = place.run(&["-C", "r", "event", "run", "hourly"]).ends(5);
    assert!(by_hand.stderr.contains("paused"), "{}", by_hand.stderr);
    assert_eq!(
        scene.door.asked().0,
        asked,
        "nothing was asked for meanwhile"
    );
    place.run(&["-C", "r", "peer", "resume", "master"]).ends(0);
    hears(&node, &["hourly", "ended: ok"]);
    let status = place.run(&["-C", "r", "status", "--json"]).json();
    assert_eq!(status["files"]["originals"], 500, "{status}");
    node.stop().ends(0);
}
