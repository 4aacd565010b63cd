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

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use emsync::config::Config;
use emsync::model::{NodeId, RecordKey, RecordStatus, Timestamp};
use emsync::node::Node;
use emsync::protocol::record::stamped;
use emsync::seams::Seams;
use serde_json::{Map, Value, json};

const EMSYNC: &str = env!("CARGO_BIN_EXE_emsync");

fn main() {
    let records: u64 = std::env::var("EMSYNC_BENCH_RECORDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100_000);
    let assets = records / 10;
    let dir = tempfile::tempdir().unwrap();
    let (master, mirror) = (dir.path().join("m"), dir.path().join("r"));
    for (node, name) in [(&master, "Master"), (&mirror, "Mirror")] {
        emsync(
            dir.path(),
            &["init", node.to_str().unwrap(), "--name", name],
        );
    }
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(fill(&master, records, assets));
    let key = emsync(&master, &["key", "add", "mirror"]).stdout;
    std::fs::write(mirror.join("key.txt"), key).unwrap();
    let (mut serve, url) = serve(&master);
    emsync(
        &mirror,
        &[
            "peer",
            "add",
            "master",
            "--url",
            &url,
            "--key-file",
            "key.txt",
        ],
    );

    println!(
        "machine   {} cores, {}",
        std::thread::available_parallelism().map_or(0, usize::from),
        cpu()
    );
    println!(
        "versions  emsync {}, {}",
        env!("CARGO_PKG_VERSION"),
        rustc()
    );
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
        let run = emsync(&mirror, arguments);
        let report: Value = serde_json::from_slice(&run.stdout).unwrap();
        let equal = report.get("in_sync").is_none_or(|in_sync| in_sync == true);
        assert!(
            equal && report.get("records").is_none_or(|n| *n == total || *n == 0),
            "{name}: {report}"
        );
        let rate = total as f64 / run.wall.as_secs_f64();
        println!(
            "| {name} | {:.2} s | {:.2} s | {rate:.0} | {} MiB |",
            run.wall.as_secs_f64(),
            run.cpu.as_secs_f64(),
            run.peak_kib / 1024
        );
    }
    println!(
        "| serve, meanwhile | | | | {} MiB |",
        peak_of(&serve) / 1024
    );
    serve.kill().unwrap();
    serve.wait().unwrap();
}

/// A master's records, straight into its catalogue.
async fn fill(master: &Path, records: u64, assets: u64) {
    let node = Node::open(
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

async fn put(node: &Node, chunk: &mut Vec<emsync::model::Record>, now: Timestamp) {
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

struct Run {
    stdout: Vec<u8>,
    wall: Duration,
    cpu: Duration,
    peak_kib: u64,
}

/// Runs a command to its good end; CPU time and peak memory are the kernel's own counts.
fn emsync(dir: &Path, arguments: &[&str]) -> Run {
    let started = Instant::now();
    let before = children();
    let child = Command::new(EMSYNC)
        .arg("-q")
        .arg("-C")
        .arg(dir)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let watched = peak_while_running(child.id());
    let output = child.wait_with_output().unwrap();
    let wall = started.elapsed();
    assert!(output.status.success(), "{arguments:?}: {}", output.status);
    Run {
        stdout: output.stdout,
        wall,
        cpu: children() - before,
        peak_kib: watched.join().unwrap(),
    }
}

/// Reads the peak resident size of a process again and again until it is gone.
fn peak_while_running(pid: u32) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut peak = 0;
        while let Some(now) = peak_of_pid(pid) {
            peak = now.max(peak);
            std::thread::park_timeout(Duration::from_millis(5));
        }
        peak
    })
}

fn peak_of(child: &Child) -> u64 {
    peak_of_pid(child.id()).unwrap_or(0)
}

/// `VmHWM` in KiB; `None` once the process is gone.
fn peak_of_pid(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// CPU time of all children that ended.
fn children() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<i64> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // After the state letter: cutime and cstime are the 13th and 14th number, in hundredths of a second.
    Duration::from_millis((fields[12] + fields[13]).unsigned_abs() * 10)
}

fn serve(master: &Path) -> (Child, String) {
    let mut child = Command::new(EMSYNC)
        .arg("-q")
        .arg("-C")
        .arg(master)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    (child, url.trim().to_owned())
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| {
        line.strip_prefix("model name")?
            .split_once(": ")
            .map(|(_, name)| name.to_owned())
    });
    model.unwrap_or_else(|| "an unnamed CPU".to_owned())
}

fn rustc() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output.map_or_else(
        |_| "rustc unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
