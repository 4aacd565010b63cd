//! How fast a new node is seeded, beside the tools that people would copy the files with.
//!
//! ```text
//! cargo bench --bench loopback                  all sets: S M L D S20 again (benches/README.md says what they are)
//! cargo bench --bench loopback -- S L           some of them
//! EMSYNC_BENCH_ROUNDS=5, EMSYNC_BENCH_DIR=/mnt  rounds (3), and where the files lie (the system's temporary directory)
//! ```
//!
//! Master and client are the real program: `emsync serve`, and `emsync seed` into a new node, the whole job: records, files,
//! hashes, durable rows, and the comparison at its end. Rivals fetch the same originals from the same server, and `sync -f`
//! makes durable what they wrote. Both run again with nginx sending the file bytes, where nginx is installed. Contenders take
//! turns, and what each wrote is checked. emsync and rclone run in every round, the others in the first. Many small files are kept until the
//! set is over: a file system slows down for a while after many were removed, and the next one would pay for it.
//!
//! `again` is S for those who have it: nothing changed since, and one file in a hundred. Of what it copied rclone knows neither size
//! nor date without asking, and without `--no-check-dest` it has to: so it asks the head of each, which is the least it can do.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops where it cannot go on"
)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::input::{self, File};
use support::latency::Link;
use support::node::{Node, port};
use support::process::{Cost, is_installed, run, version};
use support::rivals::{Job, Rival};
use support::table::{self, Row};
use support::{machine, nginx};

const ROUND_TRIP: Duration = Duration::from_millis(20);
/// From so many files on copies are kept until the end.
const MANY: usize = 2_000;

fn main() {
    let mut sets = support::words();
    if sets.is_empty() {
        sets = ["S", "M", "L", "D", "S20", "again"]
            .map(str::to_owned)
            .to_vec();
    }
    println!("machine   {}", machine::machine());
    println!("versions  {}", machine::versions());
    for (program, flag) in [
        ("rclone", "version"),
        ("nginx", "-v"),
        ("curl", "-V"),
        ("wget2", "-V"),
        ("aria2c", "-v"),
    ] {
        let said = if is_installed(program) {
            version(program, flag)
        } else {
            format!("{program} is not installed")
        };
        println!("          {said}");
    }
    println!();
    for set in sets {
        match set.as_str() {
            "again" => again(),
            set => race(set),
        }
    }
}

/// Who takes part, and over which door.
#[derive(Debug, Clone, Copy)]
enum Who {
    Emsync,
    Rival(Rival),
}

impl Who {
    fn runs_always(self) -> bool {
        matches!(self, Self::Emsync | Self::Rival(Rival::RcloneTuned(_)))
    }
}

fn race(set: &str) {
    let rounds = support::number("EMSYNC_BENCH_ROUNDS", 3);
    let files = input::set(set);
    let total: u64 = files.iter().map(|(_, size)| size).sum();
    let dir = support::directory();
    let dir = dir.path();
    let photos = dir.join("photos");
    input::write(&photos, &files, 7);
    let master = Node::init(dir.join("m"), "Master");
    let imported = master.run(&["import", photos.to_str().unwrap()]);
    std::fs::remove_dir_all(&photos).unwrap();
    let serving = master.serve();
    let key = master.key();
    println!(
        "set {set}: {} files, {:.2} GB (imported in {:.2} s){}",
        files.len(),
        total as f64 / 1e9,
        imported.cost.wall.as_secs_f64(),
        if set == "S20" {
            ", 20 ms before each answer"
        } else {
            ""
        }
    );
    println!();

    let front = (is_installed("nginx") && set != "S20")
        .then(|| nginx::start(&dir.join("nginx"), &serving.url, &master.media()));
    let mut doors = vec![("serve".to_owned(), serving.url.clone())];
    if set == "S20" {
        let link = Link::to(([127, 0, 0, 1], port(&serving.url)).into(), ROUND_TRIP);
        doors = vec![(
            "serve".to_owned(),
            format!("http://{}/assets", link.address),
        )];
    }
    doors.extend(
        front
            .as_ref()
            .map(|front| ("nginx".to_owned(), front.url.clone())),
    );

    let mut contenders = Vec::new();
    let rivals = match set {
        "S20" => vec![
            Rival::RcloneTuned(4),
            Rival::RcloneTuned(16),
            Rival::RcloneTuned(64),
            Rival::RcloneTuned(256),
        ],
        _ => vec![
            Rival::RcloneTuned(16),
            Rival::RclonePlain,
            Rival::Curl,
            Rival::Wget2,
            Rival::Aria2,
        ],
    };
    for (door, url) in &doors {
        let tables = (door.clone(), url.clone());
        contenders.push((tables.clone(), Who::Emsync));
        for rival in rivals.iter().filter(|rival| rival.is_installed()) {
            let needs_index = *rival == Rival::RclonePlain;
            if !needs_index || door == "nginx" {
                contenders.push((tables.clone(), Who::Rival(*rival)));
            }
        }
    }

    let mut rows: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let mut hashing = Row::new("sha256sum -c of what a rival wrote");
    let is_kept = files.len() >= MANY;
    for round in 0..rounds {
        for (at, ((door, url), who)) in contenders.iter().enumerate() {
            if round > 0 && !who.runs_always() {
                continue;
            }
            let to = dir.join(format!("copy-{round}-{at}"));
            let job = Job {
                files: &files,
                url,
                plain: front.as_ref().map(|front| front.plain.as_str()),
                key: &key,
                lists: dir,
            };
            let (name, cost) = match who {
                Who::Emsync => {
                    let cost = seed(&to, url, &key, files.len());
                    check(&originals(&to), &files);
                    ("emsync seed".to_owned(), cost)
                }
                Who::Rival(rival) => {
                    let cost = job.copy(*rival, &to);
                    check(&to, &files);
                    if at == 1 {
                        hashing.rounds.push(hash_again(&to, dir, round == 0));
                    }
                    (rival.name(), cost)
                }
            };
            if !is_kept {
                std::fs::remove_dir_all(&to).unwrap();
            }
            let of_door = rows.entry(door.clone()).or_default();
            match of_door.iter_mut().find(|row| row.name == name) {
                Some(row) => row.rounds.push(cost),
                None => of_door.push(Row {
                    name,
                    rounds: vec![cost],
                }),
            }
        }
    }
    for (door, mut of_door) in rows.into_iter().rev() {
        of_door.push(Row {
            name: hashing.name.clone(),
            rounds: hashing.rounds.clone(),
        });
        table::print(&format!("set {set}, bytes from {door}"), &of_door);
    }
}

/// S once more, by those who have it: nothing changed, then one file in a hundred.
fn again() {
    let files = input::set("S");
    let dir = support::directory();
    let dir = dir.path();
    let photos = dir.join("photos");
    input::write(&photos, &files, 7);
    let master = Node::init(dir.join("m"), "Master");
    let import = || drop(master.run(&["import", photos.to_str().unwrap()]));
    import();
    let (serving, key) = (master.serve(), master.key());
    let job = Job {
        files: &files,
        url: &serving.url,
        plain: None,
        key: &key,
        lists: dir,
    };
    let (mirror, copy) = (
        Node::mirror(dir.join("r"), &serving.url, &key),
        dir.join("copy"),
    );
    fetch(&mirror, "seed", files.len());
    let rclone = Rival::RcloneAgain;
    if rclone.is_installed() {
        job.copy(Rival::RcloneTuned(16), &copy);
    }

    let mut nothing = ["emsync sync", "emsync seed", &rclone.name()].map(Row::new);
    let mut few = ["emsync sync", &rclone.name()].map(Row::new);
    let (mut fetched, mut wanted) = (0, 0);
    for round in 0..support::number("EMSYNC_BENCH_ROUNDS", 3) {
        for (row, command) in nothing.iter_mut().zip(["sync", "seed"]) {
            row.rounds.push(fetch(&mirror, command, 0).0);
        }
        let of_round = files.iter().skip(usize::try_from(round).unwrap());
        let changed: Vec<File> = of_round.step_by(100).cloned().collect();
        if rclone.is_installed() {
            nothing[2].rounds.push(job.copy(rclone, &copy));
        }
        input::write(&photos, &changed, 8 + round);
        import();
        let (cost, bytes) = fetch(&mirror, "sync", changed.len());
        few[0].rounds.push(cost);
        fetched += bytes;
        wanted += changed.iter().map(|(_, size)| size).sum::<u64>();
        if rclone.is_installed() {
            few[1].rounds.push(job.copy(rclone, &copy));
        }
        for (path, _) in &changed {
            let name = path.rsplit('/').next().unwrap();
            let mut copies = vec![originals(&mirror.dir).join(path)];
            copies.extend(rclone.is_installed().then(|| copy.join(path).join(name)));
            for it in copies {
                let same = std::fs::read(&it).unwrap() == std::fs::read(photos.join(path)).unwrap();
                assert!(same, "{} is not what it became", it.display());
            }
        }
    }
    table::print("set S again, nothing changed", &nothing);
    table::print("set S again, 1 % changed", &few);
    println!(
        "emsync fetched {:.4} times the bytes that changed\n",
        fetched as f64 / wanted as f64
    );
}

/// Seeds a new node.
fn seed(dir: &Path, url: &str, key: &str, files: usize) -> Cost {
    fetch(&Node::mirror(dir.to_owned(), url, key), "seed", files).0
}

/// Seeds or syncs a node, which has to write so many files; answers the bytes that it received of them, too.
fn fetch(mirror: &Node, command: &str, files: usize) -> (Cost, u64) {
    let ran = mirror.run(&[command, "master", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    // Only a seed compares at its end.
    assert!(
        report["in_sync"].as_bool() == (command == "seed").then_some(true)
            && report["files_written"] == files,
        "{report}"
    );
    (ran.cost, report["bytes_received"].as_u64().unwrap())
}

fn originals(node: &Path) -> PathBuf {
    node.join("media/assets/catalog/originals")
}

/// Whether as many files with as many bytes are there: a rival that gave up quietly has won nothing.
fn check(below: &Path, files: &[File]) {
    let found = walkdir::WalkDir::new(below)
        .into_iter()
        .filter_map(|entry| {
            let meta = entry.unwrap().metadata().unwrap();
            meta.is_file().then_some(meta.len())
        });
    let found: Vec<u64> = found.collect();
    let wanted: u64 = files.iter().map(|(_, size)| size).sum();
    assert_eq!(
        (found.len(), found.iter().sum::<u64>()),
        (files.len(), wanted),
        "{}",
        below.display()
    );
}

/// What it takes to hash what was written: no rival does it while it copies. The sums are made the first time.
fn hash_again(copied: &Path, lists: &Path, is_first: bool) -> Cost {
    let sums = lists.join("sums");
    if is_first {
        let make = "find . -type f -print0 | xargs -0 sha256sum > \"$1\"";
        run(Command::new("sh")
            .arg("-c")
            .arg(make)
            .arg("sh")
            .arg(&sums)
            .current_dir(copied));
    }
    run(Command::new("sha256sum")
        .args(["-c", "--quiet"])
        .arg(&sums)
        .current_dir(copied))
    .cost
}
