//! What a run says, in a file of its own: `<state>/runs/<number>.log`, a line each, which may be followed while it grows.
//!
//! A log is for people; that it cannot be written ends no run. It is bounded: past [`LIMIT`] only its last line is added.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::model::Timestamp;

/// Bytes of a log from which on only its end is added.
const LIMIT: u64 = 4 << 20;

/// How much a line of a log asks for attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// For who wants to know.
    Info,
    /// Somebody should look, now or later.
    Warn,
    /// It did not work.
    Error,
}

/// The logs of all runs.
#[derive(Debug)]
pub struct RunLogs {
    dir: PathBuf,
    open: Mutex<HashMap<i64, Arc<RunLog>>>,
}

/// The log of one run that goes on.
#[derive(Debug)]
pub(super) struct RunLog {
    file: Mutex<Written>,
    /// Lines so far; its end is the log's.
    lines: watch::Sender<usize>,
}

#[derive(Debug)]
struct Written {
    /// `None` where it could not be made, or written.
    file: Option<File>,
    bytes: u64,
}

impl RunLogs {
    /// The logs in a state directory; touches nothing yet.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self {
            dir: state.join("runs"),
            open: Mutex::default(),
        }
    }

    /// Begins the log of a run.
    pub(super) fn begin(&self, run: i64) -> Arc<RunLog> {
        let path = self.path(run);
        let made = fs::create_dir_all(&self.dir).and_then(|()| File::create(&path));
        let file = match made {
            Ok(file) => Some(file),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the run has no log");
                None
            }
        };
        let log = Arc::new(RunLog {
            file: Mutex::new(Written { file, bytes: 0 }),
            lines: watch::Sender::new(0),
        });
        self.open().insert(run, Arc::clone(&log));
        log
    }

    /// Ends the log of a run: who follows it comes to its end.
    pub(super) fn end(&self, run: i64) {
        self.open().remove(&run);
    }

    /// Takes the log of a run away.
    pub(super) fn remove(&self, run: i64) {
        if let Err(error) = fs::remove_file(self.path(run))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(run, %error, "a log stays");
        }
    }

    /// The lines of a run from one on, counted from 0; none where there is no log.
    ///
    /// # Errors
    /// What the system says when it cannot be read.
    pub fn lines(&self, run: i64, from: usize) -> io::Result<Vec<String>> {
        let file = match File::open(self.path(run)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        let lines = BufReader::new(file).split(b'\n').skip(from);
        lines
            .map(|line| Ok(String::from_utf8_lossy(&line?).into_owned()))
            .collect()
    }

    /// Tells how many lines a log has, at once if it has some and whenever there are more, and closes when the run ends; `None` for a
    /// run that has ended.
    #[must_use]
    pub fn follow(&self, run: i64) -> Option<watch::Receiver<usize>> {
        let mut lines = self.open().get(&run)?.lines.subscribe();
        // What was said before somebody looked would else be shown with the next line only.
        if *lines.borrow() > 0 {
            lines.mark_changed();
        }
        Some(lines)
    }

    fn path(&self, run: i64) -> PathBuf {
        self.dir.join(format!("{run}.log"))
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Arc<RunLog>>> {
        self.open.lock().expect("no panic while it is held")
    }
}

impl RunLog {
    /// Adds a line.
    pub(super) fn line(&self, now: Timestamp, level: Level, text: &str) {
        self.write(now, level, text, false);
    }

    /// Adds the last line, which comes in any case.
    pub(super) fn last_line(&self, now: Timestamp, level: Level, text: &str) {
        self.write(now, level, text, true);
    }

    fn write(&self, now: Timestamp, level: Level, text: &str, is_last: bool) {
        let level = match level {
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
        };
        // What a peer says must not make lines of its own.
        let text = text.replace(|c: char| c.is_control(), " ");
        let mut line = format!("{now} {level} {text}\n");
        let mut written = self.file.lock().expect("no panic while it is held");
        if written.bytes >= LIMIT && !is_last {
            return;
        }
        if written.bytes + line.len() as u64 >= LIMIT && !is_last {
            line = format!("{now} WARN the log is full: the rest is left out\n");
            written.bytes = LIMIT;
        }
        let Some(file) = &mut written.file else {
            return;
        };
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::warn!(%error, "the log of a run ends here");
            written.file = None;
            return;
        }
        written.bytes += line.len() as u64;
        drop(written);
        self.lines.send_modify(|lines| *lines += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[tokio::test]
    async fn a_log_is_followed_line_by_line_to_its_end_and_read_later() {
        let dir = tempfile::tempdir().unwrap();
        let logs = RunLogs::new(dir.path());
        let log = logs.begin(7);
        let mut following = logs.follow(7).unwrap();
        log.line(NOW, Level::Info, "one\ntwo");
        following.changed().await.unwrap();
        assert_eq!(*following.borrow_and_update(), 1);
        let mut late = logs.follow(7).unwrap();
        late.changed().await.unwrap();
        assert_eq!(*late.borrow_and_update(), 1, "it was said before");
        log.last_line(NOW, Level::Error, "three");
        logs.end(7);
        drop(log);
        following.changed().await.unwrap();
        assert!(following.changed().await.is_err());
        assert_eq!(
            logs.lines(7, 0).unwrap(),
            [
                "2027-01-15T08:00:00.000Z INFO one two",
                "2027-01-15T08:00:00.000Z ERROR three"
            ]
        );
        assert_eq!(logs.lines(7, 1).unwrap().len(), 1);
        assert!(logs.follow(7).is_none() && logs.lines(8, 0).unwrap().is_empty());
        logs.remove(7);
        logs.remove(7);
        assert!(logs.lines(7, 0).unwrap().is_empty());
    }

    #[test]
    fn a_log_that_is_full_says_so_once_and_still_ends() {
        let dir = tempfile::tempdir().unwrap();
        let logs = RunLogs::new(dir.path());
        let log = logs.begin(1);
        let long = "x".repeat(1 << 20);
        for _ in 0..9 {
            log.line(NOW, Level::Info, &long);
        }
        log.last_line(NOW, Level::Info, "ended");
        let lines = logs.lines(1, 0).unwrap();
        assert_eq!(lines.len(), 5);
        assert!(lines[3].ends_with("the rest is left out") && lines[4].ends_with("ended"));
    }
}
