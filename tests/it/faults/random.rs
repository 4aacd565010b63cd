//! Random content, random edits, and faults on any request: first safety, then liveness.
//!
//! ```text
//! a seed names everything: content, page size, edits, passes, and which request meets which fault
//! safety     a few rounds of edits and a pass under faults: it may end in any way, but the invariants hold after it
//! liveness   the faults stop: two passes bring parity, and every original is the master's
//! ```
//!
//! Seeds count from 0, so that every run of the same length tries the same ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use emsync::model::{FileKind, Timestamp};
use emsync::pull::metadata::Scope;
use futures_util::StreamExt as _;
use serde_json::json;

use super::case::{one_pass, recover};
use super::faulty;
use super::invariants::{self, MayGo};
use super::world::{Door, MTIME, World, md5};
use crate::support::chance::Chance;
use crate::support::said::say;

/// How long the seeds of an ordinary run may take.
const ORDINARY: Duration = Duration::from_secs(12);
/// Seeds that run at once.
const AT_ONCE: usize = 6;
/// Requests of a pass of which a third may fail.
const MOST_REQUESTS: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_mix_of_faults_loses_anything_and_parity_follows_their_end() {
    invariants::watch_the_log();
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    let (only, most) = (number("EMSYNC_FAULT_SEED"), number("EMSYNC_FAULT_SEEDS"));
    let seeds = match (only, most) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(most)) => 0..most,
        (None, None) => 0..u64::MAX,
    };
    let ends = (only.is_none() && most.is_none()).then(|| Instant::now() + ORDINARY);
    let (met, ran) = (Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
    let due = seeds.take_while(|_| ends.is_none_or(|ends| Instant::now() < ends));
    let mut running = futures_util::stream::iter(due)
        .map(|seed| {
            let run = tokio::spawn(run(seed, met.clone()));
            async move { (seed, run.await) }
        })
        .buffer_unordered(AT_ONCE);
    let mut failed = Vec::new();
    while let Some((seed, result)) = running.next().await {
        ran.fetch_add(1, Ordering::Relaxed);
        if result.is_err() {
            say(&format!("seed {seed} failed"));
            failed.push(format!(
                "EMSYNC_FAULT_SEED={seed} cargo test --test it faults::random -- --nocapture"
            ));
        }
    }
    let (ran, met) = (ran.load(Ordering::Relaxed), met.load(Ordering::Relaxed));
    assert!(
        failed.is_empty(),
        "{} of {ran} seeds failed; again:\n{}",
        failed.len(),
        failed.join("\n")
    );
    say(&format!("random mix: {ran} seeds, {met} faults met"));
    assert!(ran > 0 && (met > 0 || only.is_some()));
}

async fn run(seed: u64, met: Arc<AtomicU64>) {
    let mut chance = Chance::new(seed);
    let page_size = 1 + chance.below(4);
    let assets = 2 + chance.below(5);
    let mut world = World::new(assets, page_size, Door::None, |_| {}).await;
    if chance.percent(30) {
        world.add_big();
    }
    let mut edits = Edits::new(assets);
    for round in 0..2 + chance.below(2) {
        for _ in 0..chance.below(4) {
            edits.one(&world, &mut chance);
        }
        // A stalled reply costs this much; a clean one that is slower than that on a busy machine costs a try.
        world.configure(|config| {
            config.limits.timeout = Duration::from_millis(250);
            config.limits.list_timeout = Duration::from_millis(250);
        });
        let percent = *chance.pick(&[5, 15, 30, 45]);
        world
            .emdb
            .faults()
            .by_chance(chance.next(), percent, faulty::menu());
        let scope = if chance.percent(50) {
            Scope::Changes
        } else {
            Scope::Everything
        };
        one_pass(
            &world,
            scope,
            &edits.may_go,
            MOST_REQUESTS,
            &format!("seed {seed}, round {round}"),
        )
        .await;
        met.fetch_add(world.emdb.faults().clear(), Ordering::Relaxed);
    }
    world.configure(|config| {
        let default = emsync::config::Limits::default();
        config.limits.timeout = default.timeout;
        config.limits.list_timeout = default.list_timeout;
    });
    recover(&world, (Scope::Changes, &edits.may_go), MOST_REQUESTS).await;
    originals_are_the_masters(&world).await;
}

/// Originals have a digest, so that no fault can have left other bytes.
async fn originals_are_the_masters(world: &World) {
    let originals = world.emdb.edit(|content| content.originals.clone());
    for (path, file) in originals {
        let here = world.mirror.read(FileKind::Original, &path);
        assert_eq!(here.as_deref(), Some(&file.bytes[..]), "{path}");
    }
}

/// What was edited so far.
struct Edits {
    made: usize,
    live: Vec<String>,
    may_go: MayGo,
}

impl Edits {
    fn new(assets: usize) -> Self {
        Self {
            made: 0,
            live: (0..assets).map(|n| format!("a{n}")).collect(),
            may_go: MayGo::default(),
        }
    }

    fn one(&mut self, world: &World, chance: &mut Chance) {
        self.made += 1;
        let n = self.made;
        // A master without any asset is not believed, so that one always stays.
        if self.live.len() < 2 || chance.percent(25) {
            let id = format!("n{n}");
            let bytes = chance.noise(1 + n * 37);
            world.add(&id, &format!("Deep {n}/er/file #{n}.bin"), bytes);
            self.live.push(id);
            return;
        }
        let at = chance.below(self.live.len());
        let id = self.live[at].clone();
        match chance.below(6) {
            0 => world.resave("asset", &id, |members| members["assettitle"] = json!(n)),
            1 => replace(world, &id, chance.noise(100 + n), n),
            2 => {
                self.may_go.paths.push(format!("@{id}"));
                world.rename(&id, &format!("Moved/{n}/x.bin"));
            }
            4 => {
                self.may_go.paths.push(format!("@{id}"));
                self.may_go.assets.push(id.clone());
                world.forget(&id);
                self.live.remove(at);
            }
            3 => {
                self.may_go.paths.push(format!("@{id}"));
                self.may_go.assets.push(id.clone());
                world.delete(&id);
                self.live.remove(at);
                if chance.percent(30) {
                    world.add(&id, &format!("Again/{n}.bin"), "lives again");
                    self.live.push(id);
                }
            }
            _ => {
                let path = path_of(world, &id);
                let later = MTIME + n as i64 * 5_000;
                world.emdb.edit(|content| {
                    content.generated(&format!("{path}/thumb.webp"), format!("crop {n}"), later)
                });
                world.resave("asset", &id, |_| {});
            }
        }
    }
}

fn path_of(world: &World, id: &str) -> String {
    world.source("asset", id)["sourcepath"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn replace(world: &World, id: &str, bytes: Vec<u8>, n: usize) {
    let path = path_of(world, id);
    let later = MTIME + n as i64 * 3_000;
    world.resave("asset", id, |members| {
        members["filesize"] = json!(bytes.len());
        members["md5hex"] = json!(md5(&bytes));
        members["assetmodificationdate"] = json!(Timestamp::from_millis(later).to_string());
    });
    world
        .emdb
        .edit(|content| content.original(&path, bytes, later));
}
