//! How fast two nodes find out that they are equal, or in what they differ.
//!
//! ```text
//! cargo bench --bench verify                    100,000 assets, each with its original and a rendition
//! EMSYNC_BENCH_ASSETS=1000000                   as many as the goals speak of; some 12 GB and three million inodes
//! EMSYNC_BENCH_ROUNDS=5, EMSYNC_BENCH_DIR=/mnt  rounds (3), and where the files lie (the system's temporary directory)
//! ```
//!
//! Both catalogues are made from numbers. The mirror's files are really there, small as they are, since who verifies looks at
//! its disk; the master's exist in its rows alone, since it is asked for nothing but what its rows say. Master and mirror are
//! the real program, and everything between them passes a link that counts. `verify` is also made to have everything
//! listed (`--full-listing`), as it does with EMDB: what it would take without digests.
//!
//! The first comparison reads both catalogues and keeps what they amount to. In each round after it a hundred items change on the
//! master (records edited, originals replaced, renditions gone), are found, and are as before again.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops where it cannot go on"
)]

mod support;

use std::time::Duration;

use emsync::model::FileKind;
use serde_json::Value;
use support::archive::{self, Archive};
use support::latency::Link;
use support::node::{Node, Serving, port};
use support::process::{Cost, cpu_of, forget_peak_of, peak_of};
use support::table::{Row, middle};
use support::{machine, number, records};

/// Items that differ.
const CHANGES: u64 = 100;
const FULL: &str = "--full-listing";
/// The exit code of `verify` when something differs.
const DIFFERS: i32 = 26;

fn main() {
    let archive = Archive {
        assets: number("EMSYNC_BENCH_ASSETS", 100_000),
        original: 64,
        rendition: 32,
    };
    assert!(archive.assets >= CHANGES, "a hundred assets have to differ");
    let dir = support::directory();
    let master = Node::init(dir.path().join("m"), "Master");
    archive.list(&master);
    // Both sides as if the mirror had been seeded, but for the digests that this would have left.
    let mirror = Node::init(dir.path().join("r"), "Mirror");
    std::fs::copy(master.catalogue(), mirror.catalogue()).unwrap();
    archive.write(&mirror);
    let key = master.key();
    let serving = master.serve();
    let link = Link::to(([127, 0, 0, 1], port(&serving.url)).into(), Duration::ZERO);
    mirror.follow(&format!("http://{}/assets", link.address), &key);
    // Digests are asked of nobody who is not known to be an emsync node, and a first sync learns that.
    let synced = mirror.run(&["sync", "master", "--json"]);
    let report: Value = serde_json::from_slice(&synced.stdout).unwrap();
    assert_eq!(report["files_written"], 0, "{report}");
    println!("machine   {}", machine::machine());
    println!("versions  {}", machine::versions());
    println!(
        "input     {} assets, each with an original and a rendition, over loopback",
        archive.assets
    );
    println!();

    let between = Between {
        mirror,
        serving,
        link,
    };
    let mut first = Measured::new("equal, for the first time");
    let mut equal = Measured::new("equal");
    let mut equal_full = Measured::new("equal, everything listed");
    let mut differing = Measured::new("100 differences");
    let mut differing_full = Measured::new("100 differences, everything listed");
    first.take(&between, &[], 0);
    for _ in 0..number("EMSYNC_BENCH_ROUNDS", 3) {
        equal.take(&between, &[], 0);
        equal_full.take(&between, &[FULL], 0);
        change(&master, &archive, 1);
        differing.take(&between, &[], CHANGES);
        differing_full.take(&between, &[FULL], CHANGES);
        change(&master, &archive, 0);
        Measured::new("equal again").take(&between, &[], 0);
    }
    let by_digests = middle(&equal.wire) < middle(&equal_full.wire) / 10.0;
    assert!(by_digests, "nobody asked for digests");
    println!(
        "| emsync verify | wall | rounds | user+sys, peak RSS here | of serve | on the wire | of everything listed |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    first.print(&equal_full);
    equal.print(&equal_full);
    equal_full.print(&equal_full);
    differing.print(&differing_full);
    differing_full.print(&differing_full);
}

/// Makes a hundred items of the master's what they are in a version. Nothing of the mirror's changes.
fn change(master: &Node, archive: &Archive, version: u64) {
    support::wait(async {
        let node = records::open(&master.dir).await;
        let (own, now) = (&node.config.node.cluster_id, node.seams.clock.now());
        let mut batch = node.catalogue.batch().await.unwrap();
        for n in 0..CHANGES {
            let asset = n * (archive.assets / CHANGES);
            match n % 3 {
                0 => {
                    let record = archive::record(asset, own, version);
                    batch.put_records(&[&record], "", now).await.unwrap();
                }
                1 => {
                    let original = archive.file(FileKind::Original, asset, version);
                    batch.put_file(&original, now).await.unwrap();
                }
                _ => {
                    let it = archive.file(FileKind::Generated, asset, 0);
                    batch.put_file(&it, now).await.unwrap();
                    if version > 0 {
                        let gone = batch.forget_file(it.kind, &it.path, &it.asset, &it.sha256, now);
                        gone.await.unwrap().unwrap();
                    }
                }
            }
        }
        batch.commit().await.unwrap();
        node.catalogue.close().await;
    });
}

/// A mirror, its master, and what counts between them.
struct Between {
    mirror: Node,
    serving: Serving,
    link: Link,
}

/// One kind of comparison and what each took.
#[derive(Debug)]
struct Measured {
    here: Row,
    there: Row,
    wire: Vec<f64>,
}

impl Measured {
    fn new(name: &str) -> Self {
        Self {
            here: Row::new(name),
            there: Row::new(name),
            wire: Vec::new(),
        }
    }

    /// Verifies once, which has to find so many differences.
    fn take(&mut self, between: &Between, how: &[&str], differences: u64) {
        let serve = between.serving.process();
        let before = cpu_of(serve);
        forget_peak_of(serve);
        between.link.passed();
        let arguments = [&["verify", "master", "--json"], how].concat();
        let code = if differences > 0 { DIFFERS } else { 0 };
        let ran = between.mirror.run_to(&arguments, code);
        self.wire.push(between.link.passed() as f64);
        let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(report["differences_total"], differences, "{report}");
        self.here.rounds.push(ran.cost);
        self.there.rounds.push(Cost {
            wall: ran.cost.wall,
            cpu: cpu_of(serve) - before,
            peak_kib: peak_of(serve),
        });
    }

    fn print(&self, full: &Self) {
        let (here, there) = (&self.here, &self.there);
        println!(
            "| {} | {:.2} s | {} | {:.2} s, {} MiB | {:.2} s, {} MiB | {:.0} KiB | {:.2} |",
            here.name,
            here.wall().as_secs_f64(),
            here.each(),
            here.cpu().as_secs_f64(),
            here.peak_mib(),
            there.cpu().as_secs_f64(),
            there.peak_mib(),
            middle(&self.wire) / 1024.0,
            here.wall().as_secs_f64() / full.here.wall().as_secs_f64(),
        );
    }
}
