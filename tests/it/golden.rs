//! Golden scenarios: each folder of `assets-fixtures/golden` is a story in `steps`, and `expected` is what the built program
//! says and leaves behind, byte for byte.
//!
//! `steps` is read by [`steps`]; what differs from run to run (the directory, addresses, times, ids of the trash) is made
//! plain by [`plain`]. A folder without either file fails, and so does anything else that lies there, so that no scenario
//! goes unread. `EMSYNC_GOLDEN=bless cargo test golden` writes `expected` anew: read the difference before it is committed.

mod plain;
mod steps;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use crate::support::said::say;

/// Scenarios that must be there: one that was lost with its folder would not be missed otherwise.
const SCENARIOS: usize = 14;

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets-fixtures/golden")
}

/// Names of what lies in a directory, in order.
fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Runs one scenario, and answers how many commands it has.
///
/// # Errors
/// How it differs.
fn judge(name: &str, blesses: bool) -> Result<usize, String> {
    let dir = home().join(name);
    let files = names(&dir);
    let wanted = ["expected", "steps"].map(str::to_owned);
    if !(files == BTreeSet::from(wanted) || blesses && files.contains("steps")) {
        return Err(format!(
            "{name}: holds {files:?}, not just steps and expected"
        ));
    }
    let told = fs::read_to_string(dir.join("steps")).unwrap();
    let found = steps::Story::new().tell(&told);
    let commands = found
        .lines()
        .filter(|line| line.starts_with("exit "))
        .count();
    if blesses {
        fs::write(dir.join("expected"), found).unwrap();
        return Ok(commands);
    }
    let expected = fs::read_to_string(dir.join("expected")).unwrap();
    match first_difference(&expected, &found) {
        None => Ok(commands),
        Some(text) => Err(format!("{name}: {text}\n-- all of it:\n{found}")),
    }
}

/// Where two texts part, with the line of each.
fn first_difference(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let mut ours = found.lines();
    for (at, line) in expected.lines().enumerate() {
        let other = ours.next();
        if other != Some(line) {
            let other = other.unwrap_or("(nothing more)");
            return Some(format!(
                "line {}\n   expected: {line}\n   found:    {other}",
                at + 1
            ));
        }
    }
    Some(format!(
        "after the last line\n   found:    {}",
        ours.next().unwrap_or("(other line breaks)")
    ))
}

#[test]
fn every_golden_scenario_says_and_leaves_what_is_expected() {
    let blesses = std::env::var_os("EMSYNC_GOLDEN").is_some_and(|word| word == "bless");
    let began = Instant::now();
    let scenarios: Vec<String> = names(&home()).into_iter().collect();
    let (next, results) = (Mutex::new(scenarios.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(name) = next.lock().unwrap().next() else {
                        break;
                    };
                    // A scenario that cannot even be told is one failure, not the end of the others.
                    let judged = std::panic::catch_unwind(|| judge(name, blesses));
                    let judged =
                        judged.unwrap_or_else(|_| Err(format!("{name}: could not be told")));
                    results.lock().unwrap().push(judged);
                }
            });
        }
    });
    let results = results.into_inner().unwrap();
    let commands: usize = results.iter().flatten().sum();
    let wrong: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    say(&format!(
        "golden: {} scenarios, {commands} commands, {} differ, {:.1} s",
        scenarios.len(),
        wrong.len(),
        began.elapsed().as_secs_f64()
    ));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(scenarios.len(), SCENARIOS, "{scenarios:?}");
    assert!(
        !blesses,
        "the expected files were written anew: look at them, then run without EMSYNC_GOLDEN"
    );
}

#[test]
fn a_difference_is_named_by_its_line() {
    assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
    for (found, says) in [
        ("a\nc\n", "line 2"),
        ("a\n", "nothing more"),
        ("a\nb\nc\n", "after the last line"),
        ("a\nb", "other line breaks"),
    ] {
        let said = first_difference("a\nb\n", found).unwrap();
        assert!(said.contains(says), "{said}");
    }
}
