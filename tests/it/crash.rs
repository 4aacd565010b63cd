//! Every crash point of the real program, in every scenario that passes it: nothing is lost, nothing is wrong, and the next
//! runs end as if nothing had happened.
//!
//! For each point and each of the four ways a point can be told to go wrong, a process of the real binary is run with that
//! point armed; in between and afterwards the node is looked at from outside. Which scenario passes which point is found out
//! by letting each run once and reading its log, so that a new point is exercised without anybody listing it here, and one
//! that no scenario passes fails the test.
//!
//! Always on are, in one scenario, one pass through each point for the end of the process, and one for a failure or a panic, by turns.
//! `EMSYNC_CRASH_ALL=1` takes every pass through each point in every scenario, and stalls at each point as well. `EMSYNC_CRASH_ONLY=<part of a case's name>` runs the cases that are named so.

mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use emsync::crash::Point;

use crate::support::said::say;
use scene::{Scenario, Scene};

/// Cases at a time; each is mostly a process that waits for the disk.
const AT_ONCE: usize = 4;
/// Scenarios in which each point ends the process, unless all are asked for.
const SCENARIOS: usize = 1;
/// Commits of each scenario that fail in turn, unless all do.
const COMMITS: u64 = 3;
/// How a run may end whose disk failed once, or a part of which panicked: done, another, temporary, items set aside.
const ENDS: [i32; 4] = [0, 1, 5, 23];

/// One process with one point armed.
#[derive(Debug, Clone)]
struct Case {
    scenario: Scenario,
    /// As `EMSYNC_CRASH` has it.
    point: &'static str,
    at: u64,
    mode: &'static str,
}

impl Case {
    fn name(&self) -> String {
        let Self {
            scenario,
            point,
            at,
            mode,
        } = self;
        format!("{scenario:?}: EMSYNC_CRASH={point}@{at}:{mode}")
    }
}

/// How often a scenario passes each point.
type Passes = BTreeMap<(Scenario, &'static str), u64>;

fn passed(log: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let words = |line: &str| {
        line.split_once(' ')
            .map(|(what, point)| (what.to_owned(), point.to_owned()))
    };
    text.lines().filter_map(words).collect()
}

/// Lets each scenario run once undisturbed.
fn passes(scene: &Scene) -> Passes {
    let mut passes = Passes::new();
    for scenario in Scenario::ALL {
        let name = format!("trace-{scenario:?}");
        let node = scene.brink(scenario, &name);
        let log = scene.dir.path().join(format!("{name}.log"));
        let environment = [("EMSYNC_CRASH_LOG", log.to_str().unwrap())];
        node.run_in(&scene.args(scenario), &environment).well();
        scene.recover(scenario, &node, &name);
        for (_, passed) in passed(&log) {
            let point = Point::ALL.iter().find(|point| point.name() == passed);
            *passes.entry((scenario, point.unwrap().name())).or_default() += 1;
        }
    }
    passes
}

fn all() -> bool {
    std::env::var_os("EMSYNC_CRASH_ALL").is_some()
}

fn cases(passes: &Passes) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut modes_done = BTreeSet::new();
    let mut aborts = BTreeMap::<_, usize>::new();
    for (&(scenario, point), &count) in passes {
        let done = aborts.entry(point).or_default();
        // The big file takes its time, and only what nothing else passes is worth it.
        if *done == SCENARIOS && !all() || *done > 0 && scenario == Scenario::Big {
            continue;
        }
        *done += 1;
        let of = |at, mode| Case {
            scenario,
            point,
            at,
            mode,
        };
        if all() {
            cases.extend((1..=count).map(|at| of(at, "abort")));
            cases.extend((1..=count).flat_map(|at| [of(at, "error"), of(at, "panic")]));
            cases.push(of(1, "delay"));
        } else {
            cases.push(of(count.div_ceil(2), "abort"));
            if modes_done.insert(point) {
                cases.push(if modes_done.len() % 2 == 0 {
                    of(1, "error")
                } else {
                    of(count.div_ceil(2), "panic")
                });
            }
        }
    }
    // A full or failing disk under the catalogue: no commit may be the one that must not fail.
    if !all() {
        let point = Point::Committing.name();
        for (&(scenario, _), &count) in passes.iter().filter(|((_, of), _)| *of == point) {
            let step = usize::try_from(count / COMMITS).unwrap().max(1);
            cases.extend((2..=count).step_by(step).map(|at| Case {
                scenario,
                point,
                at,
                mode: "error",
            }));
        }
    }
    for scenario in Scenario::ALL
        .into_iter()
        .filter(|scenario| *scenario != Scenario::Big)
    {
        let (point, at, mode) = ("every", 1, "delay");
        cases.push(Case {
            scenario,
            point,
            at,
            mode,
        });
    }
    if let Ok(only) = std::env::var("EMSYNC_CRASH_ONLY") {
        cases.retain(|case| case.name().contains(&only));
        assert!(!cases.is_empty(), "no case is named like {only:?}");
    }
    cases
}

/// Runs a case, and answers whether its point did what it was told; a later pass may not come when batches fall otherwise.
fn run(scene: &Scene, case: &Case, number: usize) -> (bool, u64) {
    let name = case.name();
    let node = scene.brink(case.scenario, &format!("case-{number}"));
    let log = scene.dir.path().join(format!("case-{number}.log"));
    let armed = format!("{}@{}:{}", case.point, case.at, case.mode);
    let environment = [
        ("EMSYNC_CRASH", armed.as_str()),
        ("EMSYNC_CRASH_LOG", log.to_str().unwrap()),
    ];
    let done = node.run_in(&scene.args(case.scenario), &environment);
    let fired = passed(&log)
        .into_iter()
        .any(|(what, point)| what == case.mode && (point == case.point || case.point == "every"));
    match (fired, case.mode) {
        (true, "abort") => assert_eq!(done.code, None, "{name}: it lives on: {done:?}"),
        (true, "error" | "panic") => {
            let proper = done.code.is_some_and(|code| ENDS.contains(&code));
            assert!(proper, "{name}: {done:?}");
            let told =
                done.code == Some(0) || done.stderr.contains(case.point) || case.mode == "panic";
            assert!(told, "{name}: the reason is not named: {done:?}");
        }
        _ => assert_eq!(done.code, Some(0), "{name}: {done:?}"),
    }
    scene.assert_sound(case.scenario, &node, &name);
    let passes = scene.recover(case.scenario, &node, &name);
    fs::remove_dir_all(node.dir()).unwrap();
    (fired, passes)
}

/// What came of all cases.
#[derive(Debug, Default)]
struct Tally {
    /// Points that did what they were told, by mode.
    exercised: BTreeMap<&'static str, BTreeSet<&'static str>>,
    fired: BTreeMap<&'static str, u64>,
    most_passes: u64,
    failed: Vec<String>,
}

impl Tally {
    fn count(&mut self, case: &Case, came: std::thread::Result<(bool, u64)>) {
        match came {
            Ok((true, passes)) => {
                self.most_passes = self.most_passes.max(passes);
                *self.fired.entry(case.mode).or_default() += 1;
                self.exercised
                    .entry(case.mode)
                    .or_default()
                    .insert(case.point);
            }
            Ok((false, _)) => {}
            Err(_) => self.failed.push(case.name()),
        }
    }
}

/// The same with the first pass, in its own scenario and in others that pass the point: in some it is a matter of who comes first
/// (a twin is found here only if the other one is published by then), so that what passed it once may not again.
fn instead<'a>(case: &'a Case, passes: &'a Passes) -> impl Iterator<Item = Case> + 'a {
    let others = passes.keys().filter(|(scenario, point)| {
        *point == case.point && ![case.scenario, Scenario::Big].contains(scenario)
    });
    let scenarios = std::iter::once(case.scenario).chain(others.map(|(scenario, _)| *scenario));
    scenarios.map(|scenario| Case {
        scenario,
        at: 1,
        ..case.clone()
    })
}

/// Runs all cases, a few at a time; one whose pass does not come is run [`instead`] until one comes.
fn run_all(scene: &Scene, cases: &[Case], passes: &Passes) -> Tally {
    let (next, spare) = (AtomicUsize::new(0), AtomicUsize::new(cases.len()));
    let tally = Mutex::new(Tally::default());
    let caught = |case: &Case, number| catch_unwind(AssertUnwindSafe(|| run(scene, case, number)));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let Some(case) = cases.get(number) else { break };
                    let mut came = caught(case, number);
                    let mut ran = case.clone();
                    for other in instead(case, passes) {
                        if !matches!(came, Ok((false, _))) || all() {
                            break;
                        }
                        came = caught(&other, spare.fetch_add(1, Ordering::SeqCst));
                        ran = other;
                    }
                    tally.lock().unwrap().count(&ran, came);
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

#[test]
fn whatever_point_a_run_dies_at_the_next_ends_as_if_it_had_not() {
    let scene = Scene::new();
    let passes = passes(&scene);
    let cases = cases(&passes);
    let tally = run_all(&scene, &cases, &passes);
    let counts: BTreeMap<_, _> = (tally.exercised.iter())
        .map(|(mode, points)| (mode, points.len()))
        .collect();
    say(&format!(
        "crash points: {} declared, exercised {counts:?}; {} cases, fired {:?}, at most {} passes to recover, {} violations",
        Point::ALL.len(),
        cases.len(),
        tally.fired,
        tally.most_passes,
        tally.failed.len(),
    ));
    assert!(tally.failed.is_empty(), "{:#?}", tally.failed);
    if std::env::var_os("EMSYNC_CRASH_ONLY").is_some() {
        return;
    }
    let declared: BTreeSet<_> = Point::ALL.iter().map(|point| point.name()).collect();
    let of = |mode| tally.exercised[mode].clone();
    let (error, panic) = (of("error"), of("panic"));
    let failed: BTreeSet<_> = error.union(&panic).copied().collect();
    let mut wanted = vec![("abort", of("abort")), ("error or panic", failed)];
    if all() {
        wanted.extend([("error", error), ("panic", panic)]);
    }
    for (mode, exercised) in wanted {
        let missed: Vec<_> = declared.difference(&exercised).collect();
        assert!(missed.is_empty(), "{mode}: no scenario reaches {missed:?}");
    }
}

#[test]
fn a_point_that_does_not_exist_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let node = crate::support::program::Program::init(&dir.path().join("n"), "node-0001");
    for text in ["store.nowhere", "store.named@0", "store.named:later", ""] {
        let done = node.run_in(&["status"], &[("EMSYNC_CRASH", text)]);
        assert_eq!(done.code, Some(2), "{done:?}");
        assert!(
            done.stderr.contains(&format!("EMSYNC_CRASH={text:?}")),
            "{done:?}"
        );
    }
}
