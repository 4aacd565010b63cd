//! The built program, run as people run it: real processes with real pipes and signals.
//!
//! Nothing here sleeps but between two looks. Order comes from lines read, connections taken and processes waited for; a process that does not end
//! within [`PATIENCE`] is killed and fails its test. Every process that a handle of this file stands for ends with the handle.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a process said and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The command line, for messages.
    pub(crate) line: String,
    /// Exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Ran {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        let Self {
            line,
            code: ended,
            stdout,
            stderr,
        } = &self;
        assert_eq!(
            *ended,
            Some(code),
            "{line}\n-- stdout\n{stdout}-- stderr\n{stderr}"
        );
        self
    }

    /// Asserts success, and answers what it printed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        self.ends(0).stdout
    }

    /// The one JSON value on stdout, which is one line.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(
            self.stdout.lines().count(),
            1,
            "{}: {}",
            self.line,
            self.stdout
        );
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// A directory for processes to live in, and all that they ever said there.
#[derive(Debug)]
pub(crate) struct Place {
    dir: tempfile::TempDir,
    environment: BTreeMap<String, String>,
    said: Arc<Mutex<Vec<(String, String)>>>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for own in ["home", "tmp"] {
            std::fs::create_dir(dir.path().join(own)).unwrap();
        }
        Self {
            dir,
            environment: BTreeMap::new(),
            said: Arc::default(),
        }
    }

    /// A path in it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Sets a variable for every process from now on.
    pub(crate) fn set(&mut self, variable: &str, value: &str) {
        self.environment
            .insert(variable.to_owned(), value.to_owned());
    }

    /// The program, to be run in this directory and with an environment of its own.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_emsync"));
        for (name, _) in std::env::vars_os() {
            if name
                .to_str()
                .is_some_and(|name| name.starts_with("EMSYNC_"))
            {
                command.env_remove(name);
            }
        }
        command
            .args(args)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env_remove("XDG_CONFIG_HOME")
            .envs(&self.environment);
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.start(args).wait()
    }

    /// Runs the program to its end with a text on its standard input.
    pub(crate) fn run_told(&self, args: &[&str], input: &str) -> Ran {
        let file = self.path("stdin");
        std::fs::write(&file, input).unwrap();
        let mut command = self.command(args);
        let done = command.stdin(File::open(file).unwrap()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let ran = Ran {
            line: format!("emsync {}", args.join(" ")),
            code: done.status.code(),
            stdout: text(done.stdout),
            stderr: text(done.stderr),
        };
        let all = format!("{}{}", ran.stdout, ran.stderr);
        self.said.lock().unwrap().push((ran.line.clone(), all));
        ran
    }

    /// Starts the program.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        self.spawn(args, Stdio::piped())
    }

    /// Starts the program with its standard output going to `out`.
    pub(crate) fn spawn(&self, args: &[&str], out: Stdio) -> Running {
        // A file, so that nobody has to empty it while the process runs.
        let errors = tempfile::NamedTempFile::new_in(self.dir.path()).unwrap();
        let (log, errors) = errors.keep().unwrap();
        let child = self.command(args).stdout(out).stderr(log).spawn().unwrap();
        Running {
            line: format!("emsync {}", args.join(" ")),
            pid: Pid::from_child(&child),
            child: Some(child),
            out: None,
            heard: String::new(),
            errors,
            said: Arc::clone(&self.said),
        }
    }

    /// Starts `serve` on a free port.
    #[track_caller]
    pub(crate) fn serve(&self, node: &str) -> Serving {
        let mut running = self.start(&["-C", node, "serve", "--listen", "127.0.0.1:0", "-v"]);
        let base = running
            .next_line()
            .unwrap_or_else(|| panic!("no base URL: {}", running.errors()));
        Serving { base, running }
    }

    /// Asserts that no process has said `secret`, but those whose command line contains `except`.
    #[track_caller]
    pub(crate) fn nobody_said(&self, secret: &str, except: &str) {
        let said = self.said.lock().unwrap();
        assert!(!said.is_empty());
        for (line, text) in said.iter().filter(|(line, _)| !line.contains(except)) {
            assert!(!text.contains(secret), "{line} tells a secret:\n{text}");
        }
    }
}

/// A process at work. Dropped, it is asked to end and waited for.
#[derive(Debug)]
pub(crate) struct Running {
    line: String,
    pid: Pid,
    child: Option<Child>,
    out: Option<BufReader<ChildStdout>>,
    heard: String,
    errors: PathBuf,
    said: Arc<Mutex<Vec<(String, String)>>>,
}

impl Running {
    /// The next line on its stdout without the line break; `None` at the end.
    pub(crate) fn next_line(&mut self) -> Option<String> {
        let mut line = String::new();
        let child = self.child.as_mut().unwrap();
        let out = match &mut self.out {
            Some(out) => out,
            none => none.insert(BufReader::new(child.stdout.take().unwrap())),
        };
        out.read_line(&mut line).unwrap();
        self.heard.push_str(&line);
        line.ends_with('\n').then(|| line.trim_end().to_owned())
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        // A process that ended and was not waited for still takes it.
        kill_process(self.pid, signal).unwrap();
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Bytes on its stdout that nobody has read.
    pub(crate) fn unread(&self) -> u64 {
        let out = self.child.as_ref().unwrap().stdout.as_ref().unwrap();
        rustix::io::ioctl_fionread(out).unwrap()
    }

    /// Whether it has ended, or waits to be waited for.
    pub(crate) fn has_ended(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_nonzero()));
        // The state stands behind the name, which may hold anything.
        stat.map_or(true, |stat| {
            let state = stat
                .rsplit_once(") ")
                .map(|(_, rest)| rest.starts_with('Z'));
            state.unwrap_or(true)
        })
    }

    /// What it has said on stderr so far.
    pub(crate) fn errors(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ran {
        let (status, stdout) = self
            .end()
            .unwrap_or_else(|| panic!("{} does not end", self.line));
        Ran {
            line: self.line.clone(),
            code: status.code(),
            stdout,
            stderr: self.errors(),
        }
    }

    /// `None` when it had to be killed.
    fn end(&mut self) -> Option<(ExitStatus, String)> {
        let mut child = self.child.take()?;
        let out = self
            .out
            .take()
            .or_else(|| child.stdout.take().map(BufReader::new));
        let (done, ended) = mpsc::channel();
        let waiting = std::thread::spawn(move || {
            let mut rest = String::new();
            if let Some(mut out) = out {
                out.read_to_string(&mut rest).unwrap();
            }
            let status = child.wait().unwrap();
            // Nobody listens any more once the process had to be killed.
            let _late = done.send((status, rest));
        });
        let ended = ended.recv_timeout(PATIENCE).ok();
        if ended.is_none() {
            self.signal(Signal::KILL);
        }
        waiting.join().unwrap();
        let (status, rest) = ended?;
        let stdout = std::mem::take(&mut self.heard) + &rest;
        let all = format!("{stdout}{}", self.errors());
        self.said.lock().unwrap().push((self.line.clone(), all));
        Some((status, stdout))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.signal(Signal::TERM);
            self.end();
        }
    }
}

/// A node that serves.
#[derive(Debug)]
pub(crate) struct Serving {
    /// The base URL that it printed.
    pub(crate) base: String,
    running: Running,
}

impl Serving {
    /// Its process.
    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    /// Asks it to end, and waits.
    #[track_caller]
    pub(crate) fn stop(self) -> Ran {
        self.running.signal(Signal::TERM);
        self.running.wait()
    }
}

/// How often it looks whether it came.
const LOOK: Duration = Duration::from_millis(20);

/// Waits for a line of a serving node that has all these words; answers it.
#[track_caller]
pub(crate) fn hears(serving: &Serving, words: &[&str]) -> String {
    let since = std::time::Instant::now();
    loop {
        let said = serving.running().errors();
        let line = said
            .lines()
            .find(|line| words.iter().all(|word| line.contains(word)));
        if let Some(line) = line {
            return line.to_owned();
        }
        assert!(since.elapsed() < PATIENCE, "nobody said {words:?}: {said}");
        std::thread::sleep(LOOK);
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = std::time::Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(LOOK);
    }
}

/// A peer that takes connections and never answers.
#[derive(Debug)]
pub(crate) struct Silence {
    /// Its base URL.
    pub(crate) base: String,
    listener: TcpListener,
}

impl Silence {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/assets", listener.local_addr().unwrap());
        Self { base, listener }
    }

    /// Waits until somebody has connected; the connection lasts as long as the answer is held.
    pub(crate) fn reached(&self) -> TcpStream {
        let (done, taken) = mpsc::channel();
        let listener = self.listener.try_clone().unwrap();
        std::thread::spawn(move || done.send(listener.accept().unwrap().0));
        taken.recv_timeout(PATIENCE).expect("somebody connects")
    }
}

/// An address where nothing listens: a port of ours that was given back.
pub(crate) fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/assets", listener.local_addr().unwrap())
}

/// Reads a file as text.
#[track_caller]
pub(crate) fn text(path: &Path) -> String {
    let mut text = String::new();
    File::open(path).unwrap().read_to_string(&mut text).unwrap();
    text
}
