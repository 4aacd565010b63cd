//! How fast a node serves, beside nginx on the same files.
//!
//! ```text
//! cargo bench --bench serve                     small files, a large one, and readers of thumbnails while a seed runs
//! cargo bench --bench serve -- small large      some of them: small large readers
//! EMSYNC_BENCH_ASSETS=10000                     small files, and as many thumbnails
//! EMSYNC_BENCH_ROUNDS=5, EMSYNC_BENCH_DIR=/mnt  rounds (3), and where the files lie (the system's temporary directory)
//! ```
//!
//! The node is the real `emsync serve`, which checks the key of every request; nginx checks nothing, and sends the node's own
//! files from the system's memory with `sendfile`. Both have both cores, and so has who asks. They take turns.
//!
//! - `small`: originals of 40 KB, `wrk` with 64 keep-alive connections that walk over all of them for some seconds.
//! - `large`: four `curl` that fetch one file of 512 MiB at once.
//! - `readers`: 256 readers over keep-alive connections, each asks for a thumbnail of 20 KB twice a second, while a new node is
//!   seeded from the same `serve`, and while nothing else happens. With nginx the thumbnails come from nginx and the seed
//!   from `serve` as before: what becomes of those readers is what the busy machine does.
//!   A seed that shares its server with readers cannot be as fast as one that does not, since the readers get their bytes, too. So
//!   what is compared is the time for a byte that the node sent: time of the seed by its own bytes, when it runs alone, with the
//!   time of the seed by its own bytes and the readers', when they are there. Both ratios are printed.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops where it cannot go on"
)]

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use emsync::model::FileKind;
use serde_json::Value;
use support::archive::Archive;
use support::nginx::{self, Nginx};
use support::node::{Node, Serving};
use support::process::{cpu_of, is_installed, peak_of, version};
use support::readers::{Heard, Readers};
use support::table::middle;
use support::wrk::{self, Asking};
use support::{machine, number};

const LARGE: usize = 512 << 20;
/// Who fetches the large file at once.
const FETCHERS: u64 = 4;
/// How long `wrk` asks, and how long readers read while nothing else happens.
const SPAN: Duration = Duration::from_secs(5);

fn main() {
    let mut parts = support::words();
    if parts.is_empty() {
        parts = ["small", "large", "readers"].map(str::to_owned).to_vec();
    }
    println!("machine   {}", machine::machine());
    println!("versions  {}", machine::versions());
    assert!(is_installed("nginx"), "nginx is what this is about");
    println!("          {}", version("nginx", "-v"));
    println!();
    let archive = Archive {
        assets: number("EMSYNC_BENCH_ASSETS", 10_000),
        original: 40_000,
        rendition: 20_000,
    };
    for part in parts {
        match part.as_str() {
            "small" if !is_installed("wrk") => println!("small: left out, wrk is not installed\n"),
            "small" => small(&Scene::set(archive)),
            "large" => large(&Scene::set(Archive {
                assets: 1,
                original: LARGE,
                ..archive
            })),
            "readers" => readers(&Scene::set(archive)),
            other => panic!("there is no part {other}: choose of small, large, readers"),
        }
    }
}

/// A node that serves an archive, and nginx on its files.
struct Scene {
    archive: Archive,
    key: String,
    serving: Serving,
    nginx: Nginx,
    dir: tempfile::TempDir,
}

impl Scene {
    fn set(archive: Archive) -> Self {
        let dir = support::directory();
        let master = Node::init(dir.path().join("m"), "Master");
        archive.fill(&master);
        let (key, serving) = (master.key(), master.serve());
        let nginx = nginx::start(&dir.path().join("nginx"), &serving.url, &master.media());
        Self {
            archive,
            key,
            serving,
            nginx,
            dir,
        }
    }

    /// Both servers: name, base URL, process.
    fn servers(&self) -> [(&'static str, &str, &Child); 2] {
        [
            ("emsync serve", &self.serving.url, self.serving.process()),
            ("nginx", &self.nginx.url, self.nginx.process()),
        ]
    }

    /// Measures both in turn: a rate each round, and the servers' CPU time in all. Prints one row each.
    fn race(&self, what: &str, unit: &str, rate: impl Fn(&str) -> f64) {
        let rounds = number("EMSYNC_BENCH_ROUNDS", 3);
        let (mut rates, mut cpu) = ([vec![], vec![]], [Duration::ZERO; 2]);
        for _ in 0..rounds {
            for (at, (_, url, process)) in self.servers().into_iter().enumerate() {
                let before = cpu_of(process);
                rates[at].push(rate(url));
                cpu[at] += cpu_of(process) - before;
            }
        }
        println!("| {what} | {unit} | rounds | user+sys of the server | peak RSS | of nginx |");
        println!("| --- | ---: | ---: | ---: | ---: | ---: |");
        let of_nginx = middle(&rates[1]);
        for (at, (name, _, process)) in self.servers().into_iter().enumerate() {
            let each: Vec<_> = rates[at].iter().map(|rate| format!("{rate:.0}")).collect();
            println!(
                "| {name} | {:.0} | {} | {:.2} s | {} MiB | {:.2} |",
                middle(&rates[at]),
                each.join(" "),
                cpu[at].as_secs_f64() / rounds as f64,
                peak_of(process) / 1024,
                middle(&rates[at]) / of_nginx,
            );
        }
        println!();
    }
}

/// Small originals over many keep-alive connections.
fn small(scene: &Scene) {
    let below = scene.archive.urls(FileKind::Original);
    let paths: Vec<_> = below.iter().map(|path| format!("/assets/{path}")).collect();
    let (assets, size) = (scene.archive.assets, scene.archive.original);
    let what = format!("{assets} files of {size} bytes, wrk -t2 -c64, {SPAN:?}");
    scene.race(&what, "requests/s", |url| {
        wrk::requests_per_second(&Asking {
            server: url,
            paths: &paths,
            size,
            key: &scene.key,
            connections: 64,
            seconds: SPAN.as_secs(),
            lists: scene.dir.path(),
        })
    });
}

/// One large file, fetched by a few at once.
fn large(scene: &Scene) {
    let path = &scene.archive.urls(FileKind::Original)[0];
    let fetch = |url: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "-o", "/dev/null", "-w", "%{size_download}"])
            .args(["-H", &format!("X-token: {}", scene.key)])
            .args(["-H", "X-tokentype: entermedia"])
            .arg(format!("{url}/{path}"))
            .stdout(Stdio::piped());
        curl.spawn().unwrap()
    };
    let what = format!("one file of 512 MiB, {FETCHERS} × curl at once");
    scene.race(&what, "MB/s", |url| {
        let started = Instant::now();
        let fetching: Vec<_> = (0..FETCHERS).map(|_| fetch(url)).collect();
        for curl in fetching {
            let said = curl.wait_with_output().unwrap();
            assert_eq!(said.stdout, LARGE.to_string().as_bytes());
        }
        (FETCHERS * LARGE as u64) as f64 / 1e6 / started.elapsed().as_secs_f64()
    });
}

/// What readers of one server felt, round by round, and what the seed beside them took; seconds.
#[derive(Debug, Default)]
struct Felt {
    p50: Vec<f64>,
    p99: Vec<f64>,
    seed: Vec<f64>,
    /// Of the seed, for each byte that the node sent meanwhile.
    a_byte: Vec<f64>,
}

impl Felt {
    fn heard(&mut self, heard: &Heard) {
        self.p50.push(heard.percentile(50).as_secs_f64());
        self.p99.push(heard.percentile(99).as_secs_f64());
    }

    fn seeded(&mut self, took: Duration, bytes: u64) {
        self.seed.push(took.as_secs_f64());
        self.a_byte.push(took.as_secs_f64() / bytes as f64);
    }

    /// One row, with its ratios to readers without a seed, and to a seed without readers.
    fn print(&self, name: &str, quiet: &Self, alone: &Self) {
        let cells = [
            shown(&self.p50, |p50| format!("{:.2} ms", p50 * 1e3)),
            shown(&self.p99, |p99| format!("{:.2} ms", p99 * 1e3)),
            shown(&self.p99, |p99| format!("{:.1}", p99 / middle(&quiet.p99))),
            shown(&self.seed, |took| format!("{took:.2} s")),
            shown(&self.seed, |took| {
                format!("{:.2}", took / middle(&alone.seed))
            }),
            shown(&self.a_byte, |took| {
                format!("{:.2}", took / middle(&alone.a_byte))
            }),
        ];
        println!("| {name} | {} |", cells.join(" | "));
    }
}

/// The median of what was measured, if it was.
fn shown(of: &[f64], how: impl Fn(f64) -> String) -> String {
    if of.is_empty() {
        String::new()
    } else {
        how(middle(of))
    }
}

/// Readers of thumbnails, with and without a seed from the same node.
fn readers(scene: &Scene) {
    let of = |url: &str| Readers {
        url: url.to_owned(),
        paths: scene.archive.urls(FileKind::Generated),
        size: scene.archive.rendition,
        key: scene.key.clone(),
        number: 256,
        every: Duration::from_millis(500),
    };
    let mut alone = Felt::default();
    let (mut quiet, mut busy): ([Felt; 2], [Felt; 2]) = Default::default();
    let mut copies = 0;
    let mut seed = || {
        copies += 1;
        seed(&scene.dir.path().join(format!("copy-{copies}")), scene)
    };
    let own = scene.archive.bytes();
    for _ in 0..number("EMSYNC_BENCH_ROUNDS", 3) {
        alone.seeded(seed(), own);
        for (at, (_, url, _)) in scene.servers().into_iter().enumerate() {
            let ((), heard) = of(url).during(|| std::thread::sleep(SPAN));
            quiet[at].heard(&heard);
            let (took, heard) = of(url).during(&mut seed);
            busy[at].heard(&heard);
            // What nginx sent the node did not.
            let theirs = if at == 0 { heard.bytes } else { 0 };
            busy[at].seeded(took, own + theirs);
        }
    }
    let (assets, size) = (scene.archive.assets, scene.archive.rendition);
    println!(
        "256 readers, each 2 thumbnails of {size} bytes a second; seeds of {assets} assets, {} MB",
        own / 1_000_000
    );
    println!();
    println!("| who | p50 | p99 | × without a seed | seed | × alone | × alone at equal bytes |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    alone.print("emsync seed alone", &quiet[0], &alone);
    for (at, (name, ..)) in scene.servers().into_iter().enumerate() {
        quiet[at].print(&format!("readers of {name}"), &quiet[at], &alone);
        busy[at].print(
            &format!("readers of {name}, and a seed"),
            &quiet[at],
            &alone,
        );
    }
    println!();
}

/// Seeds a new node; how long that took. Copies stay until the end: a file system that loses many files slows down for a while.
fn seed(dir: &Path, scene: &Scene) -> Duration {
    let mirror = Node::mirror(dir.to_owned(), &scene.serving.url, &scene.key);
    let ran = mirror.run(&["seed", "master", "--json"]);
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let files = scene.archive.assets * 2;
    assert!(
        report["in_sync"] == true && report["files_written"] == files,
        "{report}"
    );
    ran.cost.wall
}
