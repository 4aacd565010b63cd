//! Three to five real nodes, and at times an EMDB among them, after random sequences of what people and accidents do: once it is
//! quiet, all of them are equal, and nothing was lost on the way.
//!
//! A node is a catalogue and a store in a directory, served on a port ([`site`]), and driven by the library's own drivers: import,
//! edit, crop, delete, pull. Pulls and imports die in the middle ([`mortal`]), wires are cut ([`wire`]), clocks are off by up to ten
//! minutes ([`world`]). Then, twice, whatever one node has is brought to all; [`judge`] says what must hold: equal
//! records, originals, renditions and deletes; the content of every original ever made; every edit and every delete that lost in a
//! log. A third pass, in one world of three, moves nothing. In some worlds somebody means harm ([`hostile`]).
//!
//! A sequence that fails is made smaller and printed with the command that runs it again. `EMSYNC_SEEDS=20000` runs that many seeds,
//! `EMSYNC_SEED=7` only that one, which it prints, and both together so many from that one on; with neither, as many as a minute
//! allows, and [`AT_LEAST`] in any case. With `EMSYNC_SURVEY=1` all that fail are named, as they are.

mod edits;
mod foreign;
mod hostile;
mod judge;
mod mortal;
mod ops;
mod site;
mod wire;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::runtime::Runtime;

use crate::support::said::say;
use ops::{Op, sequence};
use world::{Layout, Moved, World};

/// Seeds that are run however long they take.
const AT_LEAST: u64 = 100;
/// How long further ones are begun, when nothing else is said.
const TIME: Duration = Duration::from_secs(45);
/// Threads that run worlds.
const THREADS: usize = 2;
/// Worlds that live side by side on each.
const AT_ONCE: usize = 2;
/// Reruns that making a sequence smaller may cost.
const RERUNS: usize = 60;

/// Runs a sequence in a new world.
async fn run(layout: Layout, ops: &[Op]) -> Result<(), String> {
    let mut world = World::new(layout).await;
    let mut done = Ok(());
    for (at, op) in ops.iter().enumerate() {
        done = world.step(*op).await;
        if let Err(error) = &done {
            done = Err(format!("at operation {at}, {op:?}: {error}"));
            break;
        }
    }
    if done.is_ok() {
        done = quiet(&mut world).await;
    }
    world.end().await;
    done
}

/// Nothing is done any more but to exchange.
async fn quiet(world: &mut World) -> Result<(), String> {
    for node in 0..world.layout.nodes {
        world.tick();
        world.take_in(node).await?;
    }
    for number in 1..=2 {
        let passed = pass(world).await;
        passed.map_err(|error| format!("in pass {number}: {error}"))?;
    }
    let equal = world.equal().await;
    equal.map_err(|error| format!("after two passes: {error}"))?;
    world.nothing_lost()?;
    world.every_loser_logged().await?;
    if !world.layout.passes_thrice {
        return Ok(());
    }
    let moved = pass(world).await?;
    match moved == Moved::default() {
        true => world.equal().await,
        false => Err(format!("a third pass moved {moved:?}")),
    }
}

/// Exchanges by which whatever one node has reaches all.
async fn pass(world: &mut World) -> Result<Moved, String> {
    let mut moved = Moved::default();
    for (node, peer) in world.layout.pass() {
        let came = world.exchange(node, peer).await?;
        moved.files += came.files;
        moved.bytes += came.bytes;
        moved.deleted += came.deleted;
    }
    Ok(moved)
}

/// Leaves out what a failing sequence does not need: halves, quarters, single operations.
async fn smaller(layout: &Layout, mut ops: Vec<Op>, mut error: String) -> (Vec<Op>, String) {
    let (mut length, mut reruns) = (ops.len() / 2, 0);
    while length > 0 && reruns < RERUNS {
        let mut at = 0;
        while at < ops.len() && reruns < RERUNS {
            let mut fewer = ops.clone();
            fewer.drain(at..(at + length).min(ops.len()));
            reruns += 1;
            match run(layout.clone(), &fewer).await {
                Err(found) => (ops, error) = (fewer, found),
                Ok(()) => at += length,
            }
        }
        length /= 2;
    }
    (ops, error)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|error| panic!("{variable}: {error}")))
}

/// What failed once, as small as it was made, in the layout of its seed.
#[tokio::test]
async fn sequences_that_once_failed_do_not_again() {
    let found: [(u64, &[Op]); 6] = [
        // An EMDB whose clock is behind edited a record, dated before the version that it edited, and kept that.
        (
            2352,
            &[
                Op::Write(0, 0),
                Op::Write(1, 0),
                Op::Write(2, 0),
                Op::Write(3, 0),
                Op::Pass,
                Op::Write(1, 3),
                Op::Delete(0, 5),
                Op::Sync(3, 10),
                Op::Delete(3, 5),
                Op::Sync(1, 1),
                Op::Sync(0, 9),
                Op::Pass,
                Op::Edit(0, 0),
            ],
        ),
        // A picture that its owner handed in anew gave way to the former one of a peer that had not heard of it yet.
        (
            1447,
            &[
                Op::Draw(4, 2),
                Op::Seed(4, 3),
                Op::Sync(3, 11),
                Op::Crop(4, 67, 0),
            ],
        ),
        // A wish over one peer outlived the delete that another peer told of, and brought the original back.
        (
            80,
            &[
                Op::Write(0, 0),
                Op::Sync(2, 0),
                Op::Delete(0, 565),
                Op::Kill(1, 5, 2),
            ],
        ),
        (
            24,
            &[
                Op::Write(1, 0),
                Op::Kill(2, 1, 16),
                Op::Edit(2, 103),
                Op::Delete(1, 535),
            ],
        ),
        // An owner that knows of the delete met its own former version at a peer that did not, and took the original from there.
        (
            10,
            &[
                Op::Write(1, 0),
                Op::Pass,
                Op::Delete(3, 4),
                Op::Sync(1, 2),
                Op::Seed(1, 1),
                Op::Sync(0, 2),
                Op::Seed(0, 1),
            ],
        ),
        // A delete and an edit of one date, of which the edit won: its owner had given the file up, and nobody offered it again.
        (
            37,
            &[
                Op::Write(1, 0),
                Op::Pass,
                Op::Delete(0, 1),
                Op::Edit(2, 1),
                Op::Sync(1, 11),
            ],
        ),
    ];
    for (seed, ops) in found {
        let ran = run(Layout::of(seed), ops).await;
        assert_eq!(ran, Ok(()), "{ops:?} in the layout of seed {seed}");
    }
}

/// Which seeds are run.
struct Seeds {
    first: u64,
    /// How many, if that is said.
    count: Option<u64>,
    /// Whether it is one that somebody wants to look at.
    is_one: bool,
    began: Instant,
    taken: AtomicU64,
}

impl Seeds {
    fn said() -> Self {
        let only = number("EMSYNC_SEED");
        Self {
            first: only.unwrap_or(1),
            count: number("EMSYNC_SEEDS").or(only.map(|_| 1)),
            is_one: only.is_some() && number("EMSYNC_SEEDS").is_none(),
            began: Instant::now(),
            taken: AtomicU64::new(0),
        }
    }

    /// The next one, if there is time for it.
    fn next(&self) -> Option<u64> {
        let number = self.taken.fetch_add(1, Ordering::SeqCst);
        let may = match self.count {
            Some(count) => number < count,
            None => number < AT_LEAST || self.began.elapsed() < TIME,
        };
        may.then(|| self.first + number)
    }
}

/// What came of a seed.
struct Ran {
    seed: u64,
    operations: usize,
    result: Result<(), String>,
}

/// Runs seeds until there are none left, or nobody listens. All of a world happens on one thread but for what its disks and
/// catalogues do.
fn run_seeds(seeds: &Seeds, ran: &Sender<Ran>) {
    let worlds = futures_util::stream::iter(std::iter::from_fn(|| seeds.next()))
        .map(|seed| async move {
            let layout = Layout::of(seed);
            let ops = sequence(seed, layout.nodes);
            if seeds.is_one {
                say(&format!("{layout:?}\n{ops:?}"));
            }
            let result = run(layout, &ops).await;
            let operations = ops.len();
            Ran {
                seed,
                operations,
                result,
            }
        })
        .buffer_unordered(AT_ONCE);
    let mut worlds = std::pin::pin!(worlds);
    alone().block_on(async {
        while let Some(done) = worlds.next().await {
            if ran.send(done).is_err() {
                break;
            }
        }
    });
}

/// A runtime on this thread.
fn alone() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// Panics with what is left of a sequence that fails, and with how to run it again.
fn fail(seed: u64, error: String) -> ! {
    let layout = Layout::of(seed);
    let ops = sequence(seed, layout.nodes);
    let (ops, error) = alone().block_on(smaller(&layout, ops, error));
    panic!("{layout:?}\n{ops:?}\n{error}\nagain: EMSYNC_SEED={seed} cargo test --test it converge");
}

#[test]
fn nodes_that_fall_quiet_are_equal_and_nothing_is_lost() {
    let seeds = Seeds::said();
    let is_survey = std::env::var_os("EMSYNC_SURVEY").is_some();
    let (mut sequences, mut operations, mut failed) = (0, 0, Vec::new());
    std::thread::scope(|scope| {
        let (sender, ended) = mpsc::channel();
        for _ in 0..THREADS {
            let (sender, seeds) = (sender.clone(), &seeds);
            scope.spawn(move || run_seeds(seeds, &sender));
        }
        drop(sender);
        for ran in &ended {
            sequences += 1;
            operations += ran.operations;
            if let Err(error) = ran.result {
                failed.push((ran.seed, error.clone()));
                if !is_survey {
                    return;
                }
                say(&format!("EMSYNC_SEED={}: {error}", ran.seed));
            }
        }
    });
    if let Some((seed, error)) = failed.first().filter(|_| !is_survey) {
        fail(*seed, error.clone());
    }
    say(&format!(
        "converge: {sequences} sequences from seed {}, {operations} operations, {} violations, {:.1} s",
        seeds.first,
        failed.len(),
        seeds.began.elapsed().as_secs_f64()
    ));
    let failed: Vec<u64> = failed.into_iter().map(|(seed, _)| seed).collect();
    assert_eq!(failed, [0; 0], "seeds that failed");
}
