//! How fast records travel, and how much memory that takes on either side.
//!
//! ```text
//! cargo bench --bench feed                      100,000 records of about 0.4 KB and 10,000 assets of about 3 KB
//! EMSYNC_BENCH_RECORDS=1000000 cargo bench --bench feed
//! ```
//!
//! Makes a master's catalogue from numbers, starts the real `emsync serve`, runs the real `emsync seed`, `sync` and `verify` in
//! processes of their own, checks that every record arrived, and prints a table: records per second, wall and CPU time, and
//! the peak resident memory of both processes as the kernel counted it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops where it cannot go on"
)]

mod support;

use std::path::Path;

use emsync::model::{NodeId, Record, Timestamp};
use serde_json::{Value, json};
use support::node::Node;
use support::process::peak_of;
use support::{machine, records};

fn main() {
    let records = support::number("EMSYNC_BENCH_RECORDS", 100_000);
    let assets = records / 10;
    let dir = tempfile::tempdir().unwrap();
    let master = Node::init(dir.path().join("m"), "Master");
    support::wait(fill(&master.dir, records, assets));
    let key = master.key();
    let serving = master.serve();
    let mirror = Node::mirror(dir.path().join("r"), &serving.url, &key);

    println!("machine   {}", machine::machine());
    println!("versions  {}", machine::versions());
    println!(
        "input     {records} records of about 0.4 KB, {assets} assets of about 3 KB, no files, over loopback"
    );
    println!();
    println!("| command | wall | user+sys | records/s | peak RSS |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    let total = records + assets;
    for (name, arguments) in [
        ("seed (with its verify)", &["seed", "master", "--json"][..]),
        ("sync, nothing changed", &["sync", "master", "--json"][..]),
        ("verify", &["verify", "master", "--json"][..]),
    ] {
        let ran = mirror.run(arguments);
        let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
        let equal = report.get("in_sync").is_none_or(|in_sync| in_sync == true);
        assert!(
            equal && report.get("records").is_none_or(|n| *n == total || *n == 0),
            "{name}: {report}"
        );
        let wall = ran.cost.wall.as_secs_f64();
        println!(
            "| {name} | {wall:.2} s | {:.2} s | {:.0} | {} MiB |",
            ran.cost.cpu.as_secs_f64(),
            total as f64 / wall,
            ran.cost.peak_kib / 1024
        );
    }
    println!(
        "| serve, meanwhile | | | | {} MiB |",
        peak_of(serving.process()) / 1024
    );
}

/// A master's records.
async fn fill(master: &Path, records: u64, assets: u64) {
    let node = records::open(master).await;
    let own = &node.config.node.cluster_id;
    let now = node.seams.clock.now();
    let asset = |n| records::asset(n, &format!("Texts/{}/{n}.txt", n % 97), 50, own, now);
    let all = (0..records).map(|n| category(n, own, now));
    records::put_all(&node, all.chain((0..assets).map(asset)), now).await;
    node.catalogue.close().await;
}

fn category(n: u64, own: &NodeId, now: Timestamp) -> Record {
    let members = json!({"name": format!("Category {n}"), "parentid": "index", "parents": ["index"], "isfeatured": false});
    records::record("category", n, own, now, members)
}
