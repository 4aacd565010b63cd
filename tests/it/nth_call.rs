//! The first, second, third … changing call of a whole run fails, in each way a disk can answer; the same for commits of the
//! catalogue and for connections. After each: nothing wrong under a final name, no row without its file, the failure named
//! with path and reason, the exit code of its class; and the next run, on a disk that is well, reaches the master.
//!
//! Always on is an even sample of the calls. `EMSYNC_NTH=all` fails every call of a run, and takes 50 assets instead of 20.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use emsync::cli::ExitCode;
use rustix::io::Errno;

use crate::kill::stage::say;
use crate::support::disk::{Call, Disk, Fails};
use crate::support::node::chain;
use crate::support::site::{Brink, Site};

/// What the disk answers, and whether that ends the pass because the next file would fare no better.
const ANSWERS: [(Errno, bool); 5] = [
    (Errno::NOSPC, true),
    (Errno::DQUOT, true),
    (Errno::ROFS, true),
    (Errno::IO, false),
    (Errno::MFILE, false),
];
/// Calls of a run that fail in turn for each answer, unless all do.
const SAMPLE: u64 = 14;
/// Cases at a time.
const AT_ONCE: usize = 4;

fn all() -> bool {
    std::env::var("EMSYNC_NTH").is_ok_and(|value| value == "all")
}

/// What came of one run with one failing call.
#[derive(Debug, Default, Clone, Copy)]
struct Came {
    fired: bool,
    /// The run went on and ended well.
    went_on: bool,
    passes: u64,
}

/// Best effort: failing, they leave something that harms nobody, and no error.
fn may_be_ignored(call: Call) -> bool {
    matches!(call, Call::Rmdir | Call::Unlink | Call::Truncate)
}

fn run(site: &Site, brink: Brink, fails: Fails, (errno, stops): (Errno, bool)) -> Came {
    let case = format!("{brink:?}, {fails:?}, {errno}");
    let disk = Arc::new(Disk::new(fails, errno));
    let dir = site.brink(brink);
    let mirror = site.open(dir, disk.clone());
    let mirror = mirror
        .map_err(|(_, error)| error)
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    let ran = site.runtime.block_on(mirror.attempt(brink.scope()));
    let began = ran.is_ok();
    let (report, error) = match ran {
        Ok(outcome) => (outcome.report, outcome.error),
        Err(error) => (Default::default(), Some(error)),
    };
    let fired = disk.fired();
    let text = error.as_ref().map(|error| chain(error)).unwrap_or_default();
    let code = error.map(|error| ExitCode::of(&anyhow::Error::new(error)));
    match (fired.first(), code) {
        (None, code) => assert_eq!(code, None, "{case}: {text}"),
        (Some(call), None) => {
            assert!(
                !stops || may_be_ignored(*call),
                "{case}: {call:?} failed and nobody said so"
            );
            // One file's failure, tried again within the pass; a file that cannot be moved away is set aside for the next one.
            assert!(
                report.quarantined <= u64::from(brink == Brink::Behind),
                "{case}"
            );
        }
        (Some(call), Some(code)) => {
            // Before a run has begun there is no other file to go on with.
            assert!(
                stops || !began,
                "{case}: {call:?} of one file ended the pass: {text}"
            );
            let reason = std::io::Error::from(errno).to_string();
            assert!(
                text.contains(&reason) && text.contains('/'),
                "{case}: {text}"
            );
            assert_eq!(code, ExitCode::Temporary, "{case}: {text}");
        }
    }
    assert_eq!(
        disk.trusted(),
        0,
        "{case}: content whose sync had failed was given a name"
    );
    disk.mend();
    let dir = site.runtime.block_on(mirror.close());
    site.assert_sound(brink, dir.path(), &case);
    Came {
        fired: !fired.is_empty(),
        went_on: code.is_none() && !fired.is_empty(),
        passes: site.recover(brink, dir, &case),
    }
}

/// How many calls a run makes when none fails.
fn calls(site: &Site, brink: Brink) -> u64 {
    let disk = Arc::new(Disk::new(Fails::Never, Errno::IO));
    let mirror = site
        .open(site.brink(brink), disk.clone())
        .map_err(|(_, error)| error)
        .unwrap();
    let outcome = site
        .runtime
        .block_on(mirror.attempt(brink.scope()))
        .unwrap();
    assert!(outcome.error.is_none(), "{outcome:?}");
    disk.calls()
}

/// Runs all cases, a few at a time.
fn each<C: Sync, R: Send>(cases: &[C], run: impl Fn(&C) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let result = run(case);
                    results.lock().unwrap().push(result);
                }
            });
        }
    });
    results.into_inner().unwrap()
}

#[test]
fn whichever_call_of_a_run_fails_nothing_is_lost_and_the_next_run_ends_it() {
    let site = Site::new(if all() { 40 } else { 10 });
    let mut cases = Vec::new();
    let mut counted = BTreeMap::new();
    for brink in [Brink::Empty, Brink::Behind] {
        let calls = calls(&site, brink);
        counted.insert(brink, calls);
        let step = if all() { 1 } else { (calls / SAMPLE).max(1) };
        for (at, answer) in ANSWERS.iter().enumerate() {
            // Each answer begins elsewhere, so that together they hit more calls than each alone.
            let first = 1 + at as u64 % step;
            let nth = (first..=calls).step_by(usize::try_from(step).unwrap());
            cases.extend(nth.map(|n| (brink, Fails::Nth(n), *answer)));
        }
        // A failed sync is the one that proves something about the bytes.
        let syncs = if all() { 1..=60 } else { 1..=4 };
        cases.extend(syncs.map(|n| (brink, Fails::NthOf(Call::SyncFile, n), (Errno::IO, false))));
        // A disk that stays full.
        let fills = [calls / 5, calls / 2, calls * 4 / 5];
        cases.extend(fills.map(|n| (brink, Fails::From(n), (Errno::NOSPC, true))));
    }
    let came = each(&cases, |(brink, fails, answer)| {
        run(&site, *brink, *fails, *answer)
    });
    let fired = came.iter().filter(|came| came.fired).count();
    let went_on = came.iter().filter(|came| came.went_on).count();
    let passes = came.iter().map(|came| came.passes).max();
    say(&format!(
        "n-th call: {counted:?} calls a run, {} cases, {fired} fired, {went_on} were one file's and tried again, at most {passes:?} passes to recover, 0 violations",
        cases.len()
    ));
    assert!(
        fired * 10 >= cases.len() * 8,
        "hardly any call failed: {fired} of {}",
        cases.len()
    );
    assert!(went_on > 0);
}
