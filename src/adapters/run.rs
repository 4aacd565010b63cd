//! One child process: what it may take, and its end.
//!
//! Limits are set by the shell that becomes the program, before the program runs. The child leads a group of its own; whatever of
//! the group is left when the child has ended, its time is over or we are asked to end, is killed. Only then is the child reaped,
//! so that its number cannot have become another's. A guard in the group ends it, and takes its directory away, where we are
//! killed ourselves.

use std::fmt;
use std::fs::File;
use std::io::{self, PipeReader, Read, pipe};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::error::Class;
use crate::shutdown::Shutdown;

/// Most bytes kept of what a child says: its end.
const SAID: usize = 64 * 1024;
/// How often it is looked whether we are to end.
const LOOK: Duration = Duration::from_millis(50);
/// How long it is waited for the last words of a child that is gone: somebody it left may hold its standard error.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Units are those of POSIX: seconds, KiB, 512 bytes. A limit that is lower already cannot be raised, and holds. The hard limit of
/// time is above the soft one, which ends a program by a signal of its own; the hard one by one that others send too.
const LIMITED: &str = "ulimit -c 0; ulimit -S -t \"$1\" || :; ulimit -H -t $(($1 + 5)) || :; \
    ulimit -v \"$2\" || :; ulimit -f \"$3\" || :; shift 3; exec \"$@\"";

/// Waits for the end of its input, which nobody but us holds open.
const GUARD: &str = "read -r _; rm -rf -- \"$1\"; kill -s KILL 0";

/// What a child may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Wall time.
    pub wall: Duration,
    /// Seconds of processor time.
    pub cpu_seconds: u64,
    /// Bytes of address space, of each of its processes.
    pub memory_bytes: u64,
    /// Bytes of each file it writes.
    pub file_bytes: u64,
}

/// How a child ended when it did not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// With this exit code.
    Exit(i32),
    /// By a signal that nobody here sent.
    Signal(i32),
    /// It was killed after this wall time.
    Time(Duration),
    /// It used this many seconds of processor time.
    Processor(u64),
    /// It wrote a file longer than this many bytes.
    FileSize(u64),
    /// We were asked to end.
    Stopped,
}

impl Failure {
    /// Whether the same content may do better later.
    #[must_use]
    pub fn class(self) -> Class {
        match self {
            Self::Stopped => Class::Cancelled,
            // What a system does that is short of memory, and what a shell says of a program that is not there any more.
            Self::Signal(9 | 15) | Self::Exit(126 | 127) => Class::Transient,
            _ => Class::Permanent,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::Time(time) => write!(f, "was stopped after its limit of {} s", time.as_secs()),
            Self::Processor(seconds) => write!(f, "used up its {seconds} s of processor time"),
            Self::FileSize(bytes) => write!(f, "wrote more than its {bytes} bytes"),
            Self::Stopped => f.write_str("was stopped, for we are to end"),
        }
    }
}

/// What a child did.
#[derive(Debug)]
pub(super) struct Ended {
    status: ExitStatus,
    /// Set when it was stopped.
    stopped: Option<Failure>,
    /// The last of what it wrote to standard output and error.
    pub(super) said: String,
}

impl Ended {
    pub(super) fn failure(&self, limits: &Limits) -> Option<Failure> {
        const XCPU: i32 = Signal::XCPU.as_raw();
        const XFSZ: i32 = Signal::XFSZ.as_raw();
        if self.stopped.is_some() {
            return self.stopped;
        }
        match (self.status.code(), self.status.signal()) {
            (Some(0), _) => None,
            (Some(code), _) => Some(Failure::Exit(code)),
            (None, Some(XCPU)) => Some(Failure::Processor(limits.cpu_seconds)),
            (None, Some(XFSZ)) => Some(Failure::FileSize(limits.file_bytes)),
            (None, signal) => Some(Failure::Signal(signal.unwrap_or(0))),
        }
    }
}

/// A program to run.
pub(super) struct Call<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: Vec<String>,
    /// Where it works, and all it may write.
    pub(super) dir: &'a Path,
    /// Its standard input.
    pub(super) input: File,
    pub(super) limits: Limits,
}

impl Call<'_> {
    /// Runs it to its end. Blocks.
    pub(super) fn run(self, stop: &Shutdown) -> io::Result<Ended> {
        let limits = self.limits;
        let (said, write_said) = pipe()?;
        let (end_of_us, _ours) = pipe()?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", LIMITED, "sh"])
            .arg(limits.cpu_seconds.to_string())
            .arg((limits.memory_bytes / 1024).to_string())
            .arg((limits.file_bytes / 512).to_string())
            .arg(self.program)
            .args(&self.arguments)
            .current_dir(self.dir)
            .env_clear()
            .env("LANG", "C.UTF-8")
            .env("HOME", self.dir)
            .env("TMPDIR", self.dir)
            .stdin(self.input)
            .stdout(write_said.try_clone()?)
            .stderr(write_said)
            .process_group(0);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        let mut child = command.spawn()?;
        // It holds the writing end of the pipe, whose reader waits for the last one.
        drop(command);
        let pid = Pid::from_child(&child);
        // Without one nothing is wrong, unless we are killed.
        let guard = guard(pid, self.dir, end_of_us).ok();
        let (tell_said, last_words) = channel();
        std::thread::spawn(move || tell_said.send(last_of(said)));
        let stopped = until_end(pid, limits.wall, stop);
        // An error says that nobody of the group is left.
        let _gone = kill_process_group(pid, Signal::KILL);
        let status = child.wait()?;
        if let Some(mut guard) = guard {
            guard.wait()?;
        }
        let said = last_words.recv_timeout(LAST_WORDS).unwrap_or_default();
        Ok(Ended {
            status,
            stopped,
            said: String::from_utf8_lossy(&said).into_owned(),
        })
    }
}

/// Waits for the end of a child, which stays unreaped; until then no other process can have its number. Why it is to be stopped, if
/// it is.
fn until_end(pid: Pid, wall: Duration, stop: &Shutdown) -> Option<Failure> {
    let (tell_end, end) = channel();
    std::thread::spawn(move || {
        let looked = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let _ended = rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), looked));
        tell_end.send(())
    });
    let deadline = Instant::now() + wall;
    loop {
        match end.recv_timeout(LOOK) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) if stop.requested() => return Some(Failure::Stopped),
            Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                return Some(Failure::Time(wall));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Joins the group of a child, and kills it once we are gone. A child of ours and not of the program, which may wait for its own.
fn guard(group: Pid, dir: &Path, end_of_us: PipeReader) -> io::Result<Child> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", GUARD, "sh"]).arg(dir).env_clear();
    command.stdin(end_of_us).stdout(Stdio::null());
    command.stderr(Stdio::null());
    command.process_group(group.as_raw_nonzero().get());
    command.spawn()
}

/// Reads to the end and keeps the last of it.
fn last_of(mut from: impl Read) -> Vec<u8> {
    let (mut kept, mut chunk) = (Vec::new(), [0; 8 * 1024]);
    loop {
        match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(got) => kept.extend_from_slice(&chunk[..got]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
        if kept.len() > 2 * SAID {
            kept.drain(..kept.len() - SAID);
        }
    }
    kept.drain(..kept.len().saturating_sub(SAID));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_whose_guard_sees_our_end_goes_with_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("half a film"), b"...").unwrap();
        let mut child = Command::new("sleep");
        let mut child = child.arg("600").process_group(0).spawn().unwrap();
        let (end_of_us, ours) = pipe().unwrap();
        let mut guard = guard(Pid::from_child(&child), dir.path(), end_of_us).unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        // What the system does with it when we are killed.
        drop(ours);
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert_eq!(guard.wait().unwrap().signal(), Some(9));
        assert!(!dir.path().exists());
    }
}
