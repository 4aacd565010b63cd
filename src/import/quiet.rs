//! Whether a file is at rest: its size and dates have stood still for a while, and nobody is known to have it open for writing.
//!
//! A file whose inode last changed long enough ago, by the clock of this machine, is at rest at once, so that what lies there for
//! years waits for nothing, not even after a restart. Any other is watched by our own clock from the moment it was first seen as it
//! is; so a file system with a clock of its own delays a file by the while at most.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What a file looks like: bytes, modification and change in nanoseconds.
type Look = (u64, i128, i128);

/// Who waits for files to be at rest.
#[derive(Debug)]
pub struct Quiet {
    /// How long a file stands still before it is taken.
    age: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Files that were not at rest when they were last looked at, and since when each looks as it does.
    restless: HashMap<String, (Look, Instant)>,
    /// Files that somebody writes to and has not closed.
    open: HashSet<String>,
}

impl Quiet {
    /// Waits until a file has stood still for `age`.
    #[must_use]
    pub fn new(age: Duration) -> Self {
        Self {
            age,
            state: Mutex::default(),
        }
    }

    /// How long a file stands still before it is taken.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.age
    }

    /// Whether a file, as it was found now, is at rest; one that is not is remembered.
    pub(super) fn is_at_rest(&self, rel: &str, stat: &Metadata) -> bool {
        let look = (
            stat.len(),
            at_ns(stat.mtime(), stat.mtime_nsec()),
            at_ns(stat.ctime(), stat.ctime_nsec()),
        );
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall = wall.map_or(0, |since| since.as_nanos() as i128);
        self.judge(rel, look, wall, Instant::now())
    }

    fn judge(&self, rel: &str, look: Look, wall: i128, now: Instant) -> bool {
        let mut state = self.state();
        let is_old = look.2 + self.age.as_nanos() as i128 <= wall;
        let seen = state.restless.get(rel).filter(|(known, _)| *known == look);
        let stood_still = seen.is_some_and(|(_, since)| now.duration_since(*since) >= self.age);
        if (is_old || stood_still) && !state.open.contains(rel) {
            state.restless.remove(rel);
            return true;
        }
        let since = seen.map_or(now, |(_, since)| *since);
        state.restless.insert(rel.to_owned(), (look, since));
        false
    }

    /// Somebody writes to a file.
    pub(super) fn opened(&self, rel: &str) {
        self.state().open.insert(rel.to_owned());
    }

    /// Whoever wrote to a file has closed it, or it has lost this name; answers whether it was open.
    pub(super) fn closed(&self, rel: &str) -> bool {
        self.state().open.remove(rel)
    }

    /// What is known of open files is no longer to be trusted.
    pub(super) fn forget_open(&self) {
        self.state().open.clear();
    }

    /// Files that are not at rest.
    pub(super) fn restless(&self) -> Vec<String> {
        self.state().restless.keys().cloned().collect()
    }

    /// Drops what was remembered of files that are not there any more.
    pub(super) fn keep(&self, is_there: impl Fn(&str) -> bool) {
        let mut state = self.state();
        state.restless.retain(|rel, _| is_there(rel));
        state.open.retain(|rel| is_there(rel));
    }

    /// When the next file can be at rest, of those that nobody writes to.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let state = self.state();
        let waiting = state.restless.iter();
        let waiting = waiting.filter(|(rel, _)| !state.open.contains(*rel));
        waiting.map(|(_, (_, since))| *since + self.age).min()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while a file is noted")
    }
}

fn at_ns(seconds: i64, ns: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i128 = 1_000_000_000;
    const AGE: Duration = Duration::from_secs(10);

    #[test]
    fn a_file_that_lies_there_for_long_is_at_rest_at_once() {
        let (quiet, now) = (Quiet::new(AGE), Instant::now());
        assert!(quiet.judge("a", (1, 0, 90 * SECOND), 100 * SECOND, now));
        assert!(!quiet.judge("a", (1, 0, 91 * SECOND), 100 * SECOND, now));
        assert_eq!(quiet.restless(), ["a"]);
    }

    #[test]
    fn every_change_begins_the_while_anew() {
        let (quiet, start) = (Quiet::new(AGE), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        // The clock of this file system is an hour ahead: only our own counts.
        let ahead = 3_600 * SECOND;
        assert!(!quiet.judge("a", (1, 0, ahead), 0, at(0)));
        assert_eq!(quiet.next_due(), Some(at(10)));
        assert!(!quiet.judge("a", (2, 0, ahead), 0, at(9)));
        assert!(!quiet.judge("a", (2, 0, ahead), 0, at(18)));
        assert!(quiet.judge("a", (2, 0, ahead), 0, at(19)));
        assert_eq!(quiet.next_due(), None);
    }

    #[test]
    fn a_file_that_somebody_writes_to_is_not_at_rest_however_still_it_stands() {
        let (quiet, now) = (Quiet::new(AGE), Instant::now());
        quiet.opened("a");
        assert!(!quiet.judge("a", (1, 0, 0), 3_600 * SECOND, now));
        assert_eq!(quiet.next_due(), None);
        assert!(quiet.closed("a") && !quiet.closed("a"));
        assert!(quiet.judge("a", (1, 0, 0), 3_600 * SECOND, now));
        quiet.opened("b");
        quiet.forget_open();
        assert!(quiet.judge("b", (1, 0, 0), 3_600 * SECOND, now));
    }

    #[test]
    fn what_is_gone_is_not_remembered() {
        let (quiet, now) = (Quiet::new(AGE), Instant::now());
        for rel in ["a", "b"] {
            quiet.opened(rel);
            quiet.judge(rel, (1, 0, 0), 0, now);
        }
        quiet.keep(|rel| rel == "b");
        assert_eq!(quiet.restless(), ["b"]);
        assert!(!quiet.closed("a"));
    }
}
