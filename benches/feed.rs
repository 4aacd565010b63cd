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

use emsync::config::Config;
use emsync::model::{NodeId, RecordKey, RecordStatus, Timestamp};
use emsync::node;
use emsync::protocol::record::stamped;
use emsync::seams::Seams;
use serde_json::{Map, Value, json};
use support::machine;
use support::node::Node;
use support::process::peak_of;

fn main() {
    let records = support::number("EMSYNC_BENCH_RECORDS", 100_000);
    let assets = records / 10;
    let dir = tempfile::tempdir().unwrap();
    let master = Node::init(dir.path().join("m"), "Master");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(fill(&master.dir, records, assets));
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

/// A master's records, straight into its catalogue.
async fn fill(master: &Path, records: u64, assets: u64) {
    let node = node::Node::open(
        Config::load(&master.join("emsync.toml")).unwrap(),
        Seams::os(),
    )
    .await
    .unwrap();
    let own = &node.config.node.cluster_id;
    let now = node.seams.clock.now();
    let all = (0..records)
        .map(|n| category(n, own, now))
        .chain((0..assets).map(|n| asset(n, own, now)));
    let mut chunk = Vec::new();
    for record in all {
        chunk.push(record);
        if chunk.len() == 5_000 {
            put(&node, &mut chunk, now).await;
        }
    }
    put(&node, &mut chunk, now).await;
    node.catalogue.close().await;
}

async fn put(node: &node::Node, chunk: &mut Vec<emsync::model::Record>, now: Timestamp) {
    let mut batch = node.catalogue.batch().await.unwrap();
    batch
        .put_records(&chunk.iter().collect::<Vec<_>>(), "", now)
        .await
        .unwrap();
    batch.commit().await.unwrap();
    chunk.clear();
}

fn category(n: u64, own: &NodeId, now: Timestamp) -> emsync::model::Record {
    let members = json!({"name": format!("Category {n}"), "parentid": "index", "parents": ["index"], "isfeatured": false});
    record("category", n, own, now, members)
}

fn asset(n: u64, own: &NodeId, now: Timestamp) -> emsync::model::Record {
    let text = format!("Caption {n} with the words that a person writes. ").repeat(50);
    let members = json!({"name": format!("{n}.txt"), "sourcepath": format!("Texts/{}/{n}.txt", n % 97), "isfolder": false,
        "importstatus": "complete", "editstatus": "6", "longcaption": text});
    record("asset", n, own, now, members)
}

fn record(
    table: &str,
    n: u64,
    own: &NodeId,
    now: Timestamp,
    members: Value,
) -> emsync::model::Record {
    let mut members: Map<String, Value> = members.as_object().unwrap().clone();
    let id = format!("{table}{n:09}");
    members.insert("id".to_owned(), json!(id));
    let status = RecordStatus {
        deleted: false,
        master: own.clone(),
        modified_by: own.clone(),
        modified: now,
        master_modified: Some(now),
    };
    stamped(members, &RecordKey::new(table, id).unwrap(), &status)
}
