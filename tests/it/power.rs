//! Power cuts at any moment of a pull or an import: whatever part of what was not synced is lost, no final name holds wrong bytes, no row is
//! without its file, the catalogue opens, and the next run reaches the master.
//!
//! 120 cuts are always on; `EMSYNC_POWER_CUTS=20000` asks for more. A cut that goes wrong is named with its seed, and the node
//! that it left is kept for a look; `EMSYNC_POWER_SEED=<seed> EMSYNC_POWER_CUTS=1` draws the same numbers again, for a run whose
//! calls may come in another order.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use emsync::catalogue::{Catalogue, Checkpoint};
use emsync::config::Config;
use emsync::model::Timestamp;
use emsync::node::Node;
use emsync::seams::Seams;
use emsync::store::{RealSys, Sys};
use tempfile::TempDir;

use crate::kill::stage::Look;
use crate::support::node::chain;
use crate::support::power::{Dice, Recorder, Recording};
use crate::support::program::Program;
use crate::support::said::say;
use crate::support::site::{Brink, Site, copy, import_folder};

/// Cuts of one recording.
const CUTS_A_RECORDING: u64 = 50;
/// Cuts at a time.
const AT_ONCE: usize = 3;
/// Files beside those that change: enough that a pull has many to sync in one go.
const MORE: usize = 24;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// What is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    Pull(Brink),
    Import,
}

const WORKS: [Work; 3] = [
    Work::Pull(Brink::Empty),
    Work::Pull(Brink::Behind),
    Work::Import,
];

/// A whole run, written down.
fn record(site: &Site, work: Work) -> Recording {
    let brink = match work {
        Work::Pull(brink) => brink,
        Work::Import => return record_import(site),
    };
    let dir = site.brink(brink);
    let recorder = Arc::new(Recorder::new(&dir.path().join("r")));
    let mirror = site
        .open(dir, recorder.clone())
        .map_err(|(_, error)| error)
        .unwrap();
    let outcome = site
        .runtime
        .block_on(mirror.attempt(brink.scope()))
        .unwrap();
    assert!(
        outcome.error.is_none() && outcome.report.quarantined == 0,
        "{outcome:?}"
    );
    let recording = recorder.end();
    site.runtime.block_on(mirror.close());
    recording
}

async fn open_master(dir: &Path, sys: Arc<dyn Sys>) -> Node {
    let config = Config::load(&dir.join("emsync.toml")).unwrap();
    Node::open_with(config, Seams::os(), sys).await.unwrap()
}

fn record_import(site: &Site) -> Recording {
    let dir = TempDir::with_prefix_in("import", site.dir.path()).unwrap();
    copy(&site.to_import, dir.path());
    let recorder = Arc::new(Recorder::new(&dir.path().join("m")));
    site.runtime.block_on(async {
        let node = open_master(&dir.path().join("m"), recorder.clone()).await;
        let report = import_folder(&node, &site.folder).await.unwrap();
        assert_eq!((report.refused, report.held), (0, 0), "{report:?}");
        let recording = recorder.end();
        node.catalogue.close().await;
        recording
    })
}

/// The master in `dir` must hold nothing wrong, and one more import must end what was cut.
fn import_again(site: &Site, dir: &Path, case: &str) -> u64 {
    let node = Program::at(dir);
    let mut look = Look::at(&node, &site.runtime);
    look.imports = true;
    look.assert_sound(&site.after, &site.before, &case);
    site.runtime.block_on(async {
        let node = open_master(dir, Arc::new(RealSys)).await;
        let report = import_folder(&node, &site.folder).await;
        let report = report.unwrap_or_else(|error| panic!("{case}: {}", chain(&error)));
        assert_eq!((report.refused, report.held), (0, 0), "{case}: {report:?}");
        node.catalogue.close().await;
    });
    let look = Look::at(&node, &site.runtime);
    assert!(
        look.files == site.after,
        "{case}: a file is missing, wrong or left over"
    );
    assert_eq!(look.rows.len(), site.after.len(), "{case}");
    assert_eq!(look.staged, [], "{case}: left in staging");
    1
}

/// One cut, and what comes after it; answers how many passes that took.
fn cut(site: &Site, work: Work, recording: &Recording, seed: u64) -> u64 {
    let mut dice = Dice(seed);
    let at = dice.below(recording.moments());
    let case = format!(
        "EMSYNC_POWER_SEED={seed}: {work:?}, cut before call {at} of {}",
        recording.moments() - 1
    );
    let dir = TempDir::with_prefix_in("cut", site.dir.path()).unwrap();
    let node = dir.path().join("r");
    let leave = |dice: &mut Dice, node: &Path| {
        fs::create_dir(node).unwrap();
        match work {
            Work::Pull(brink) => site.settings(brink, node),
            Work::Import => {
                fs::copy(site.to_import.join("emsync.toml"), node.join("emsync.toml")).unwrap();
            }
        }
        recording.cut(at, dice, node);
    };
    leave(&mut dice.clone(), &node);
    // Every file and row is looked at each time, and compared by the node itself each fourth time.
    let verifies = seed.is_multiple_of(4);
    let came = catch_unwind(AssertUnwindSafe(|| {
        let Work::Pull(brink) = work else {
            return import_again(site, &node, &case);
        };
        site.assert_sound(brink, dir.path(), &case);
        site.recover_and(verifies, brink, dir, &case)
    }));
    came.unwrap_or_else(|_| {
        let evidence = TempDir::with_prefix("emsync-cut").unwrap().keep();
        leave(&mut dice, &evidence.join("r"));
        panic!(
            "{case}; the node as the cut left it: {}",
            evidence.display()
        );
    })
}

#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_was_said_to_be_there() {
    let cuts = number("EMSYNC_POWER_CUTS", 120);
    let first = number("EMSYNC_POWER_SEED", u64::from(std::process::id()) << 20);
    let site = Site::new(MORE);
    let (mut done, mut calls) = (0, BTreeMap::<_, usize>::new());
    let (mut most, mut together) = (0, BTreeMap::<_, usize>::new());
    let mut failed = Vec::new();
    while done < cuts {
        for work in WORKS {
            let recording = record(&site, work);
            calls.insert(work, recording.moments() - 1);
            *together.entry(work).or_default() += recording.synced_together();
            let seeds: Vec<u64> = (done..cuts.min(done + CUTS_A_RECORDING))
                .map(|n| first + n)
                .collect();
            let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
            std::thread::scope(|scope| {
                for _ in 0..AT_ONCE {
                    scope.spawn(|| {
                        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::SeqCst)) {
                            let came = catch_unwind(AssertUnwindSafe(|| {
                                cut(&site, work, &recording, *seed)
                            }));
                            results.lock().unwrap().push((*seed, came.ok()));
                        }
                    });
                }
            });
            for (seed, passes) in results.into_inner().unwrap() {
                done += 1;
                match passes {
                    Some(passes) => most = most.max(passes),
                    None => failed.push(seed),
                }
            }
        }
    }
    say(&format!(
        "power: {done} cuts over runs of {calls:?} calls, {together:?} of them for many files, at most {most} passes to recover, {} violations",
        failed.len()
    ));
    assert!(failed.is_empty(), "seeds that went wrong: {failed:?}");
    assert!(done >= cuts);
    for work in [Work::Pull(Brink::Empty), Work::Import] {
        assert!(
            together[&work] > 0,
            "{work:?} never synced many files in one go"
        );
    }
}

fn copy_of(state: &Path, log: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(state.join("emsync.db"), dir.path().join("emsync.db")).unwrap();
    fs::write(dir.path().join("emsync.db-wal"), log).unwrap();
    dir
}

/// A commit that has returned is there after a cut, whatever became of the log behind it.
#[tokio::test]
async fn what_was_committed_is_there_after_a_cut_and_a_torn_log_opens() {
    const COMMITS: i64 = 120;
    let dir = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::open(&dir.path().join("emsync.db"))
        .await
        .unwrap();
    let checkpoint = |n: i64| Checkpoint {
        watermark: Timestamp::from_millis(n),
        server_watermark: Timestamp::from_millis(n),
        took_ms: 1,
    };
    let mut dice = Dice(u64::from(std::process::id()));
    let mut committed = Vec::new();
    for n in 1..=COMMITS {
        let mut batch = catalogue.batch().await.unwrap();
        batch
            .put_checkpoint(&format!("peer{n}"), "changes", &checkpoint(n))
            .await
            .unwrap();
        batch.commit().await.unwrap();
        let log = fs::read(dir.path().join("emsync.db-wal")).unwrap();
        let same = log.starts_with(&committed) && n > 1;
        // The log of this commit whole; and torn, which may lose this commit and none before it.
        let from = if same { committed.len() } else { log.len() };
        let torn = from + dice.below(log.len() - from + 1);
        let mut garbage = log[..torn].to_vec();
        garbage.extend((0..dice.below(6_000)).map(|_| dice.clone().next() as u8));
        for (log, certain) in [(&log, n), (&garbage, n - 1)] {
            let copy = copy_of(dir.path(), log);
            let opened = Catalogue::open(&copy.path().join("emsync.db"))
                .await
                .unwrap();
            for n in 1..=certain {
                let there = opened
                    .checkpoint(&format!("peer{n}"), "changes")
                    .await
                    .unwrap();
                assert_eq!(
                    there.map(|there| there.watermark),
                    Some(Timestamp::from_millis(n))
                );
            }
            opened.close().await;
        }
        committed = log;
    }
    say(&format!(
        "power: {COMMITS} commits, each looked for in the log as it was and in a torn one"
    ));
}
