//! Nodes that are driven through the real binary, in processes of their own, and looked at from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use emsync::catalogue::{Catalogue, FileRow, JobCounts};
use emsync::config::Config;
use emsync::model::{FileKind, Sha256};
use serde_json::Value;

/// Files by kind and path, with size and digest of what is on disk.
pub(crate) type Files = BTreeMap<(FileKind, String), (u64, Sha256)>;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const KINDS: [FileKind; 2] = [FileKind::Original, FileKind::Generated];

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// The JSON it printed.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Must have ended well.
    #[track_caller]
    pub(crate) fn well(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// A node's directory.
#[derive(Debug)]
pub(crate) struct Program {
    dir: PathBuf,
}

impl Program {
    /// Makes a node with this cluster id.
    pub(crate) fn init(dir: &Path, cluster_id: &str) -> Self {
        let node = Self {
            dir: dir.to_owned(),
        };
        let dir = dir.to_str().unwrap();
        let mut init = Command::new(env!("CARGO_BIN_EXE_emsync"));
        init.args(["init", dir, "--name", "Node", "--cluster-id", cluster_id]);
        node.end(node.start(&mut init)).well();
        node
    }

    /// The node that is at `dir` already.
    pub(crate) fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Puts `lines` into the section `[limits]`.
    pub(crate) fn limit(&self, lines: &str) {
        let file = self.dir.join("emsync.toml");
        let text = fs::read_to_string(&file).unwrap();
        let text = text.replace("\n[limits]\n", &format!("\n[limits]\n{lines}\n"));
        fs::write(&file, text).unwrap();
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        self.end(self.start(&mut self.command(args)))
    }

    /// Runs a command to its end with these variables.
    pub(crate) fn run_with(&self, args: &[&str], variables: &[(&str, &OsStr)]) -> Done {
        let mut command = self.command(args);
        command.envs(variables.iter().copied());
        self.end(self.start(&mut command))
    }

    /// Runs a command and kills it after `delay`; how it ended if it was faster.
    pub(crate) fn run_until(&self, args: &[&str], delay: Duration) -> Option<Done> {
        let mut child = self.start(&mut self.command(args));
        let mut pipe = child.stdout.take().unwrap();
        let (sender, ended) = mpsc::channel();
        // Its output ends when it does.
        let reading = thread::spawn(move || {
            let mut stdout = String::new();
            pipe.read_to_string(&mut stdout).unwrap();
            let _ = sender.send(());
            stdout
        });
        if ended.recv_timeout(delay).is_err() {
            // On Unix this is SIGKILL.
            child.kill().unwrap();
        }
        // Without a code it was the signal; it may also have ended just before that.
        let code = child.wait().unwrap().code();
        let stdout = reading.join().unwrap();
        code.is_some().then(|| Done {
            code,
            stdout,
            stderr: self.stderr(),
        })
    }

    /// Runs a command in an environment, to its end; it is a failure when that does not come.
    pub(crate) fn run_in(&self, args: &[&str], environment: &[(&str, &str)]) -> Done {
        let mut command = self.command(args);
        command.envs(environment.iter().copied());
        self.run_bounded(&mut command)
    }

    /// Runs a command under a shell's `limits`, such as `ulimit -n 40`, to its end.
    pub(crate) fn run_under(&self, limits: &str, args: &[&str]) -> Done {
        let mut command = Command::new("sh");
        let script = format!("{limits} && exec \"$0\" \"$@\"");
        let program = env!("CARGO_BIN_EXE_emsync");
        command.args(["-c", &script, program, "-C"]).arg(&self.dir);
        self.run_bounded(command.args(args))
    }

    /// Runs a command with the rights of nobody; `None` where the system has no `setpriv`.
    pub(crate) fn run_as_nobody(&self, args: &[&str]) -> Option<Done> {
        let mut command = Command::new("setpriv");
        let user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        let program = env!("CARGO_BIN_EXE_emsync");
        command.args(user).arg(program).arg("-C").arg(&self.dir);
        let there = Command::new("setpriv").arg("--version").output();
        there.ok()?;
        Some(self.run_bounded(command.args(args)))
    }

    /// Runs a command while another one runs on this node; it has a log of its own.
    pub(crate) fn run_beside(&self, args: &[&str]) -> Done {
        let output = self.command(args).stdin(Stdio::null()).output().unwrap();
        Done {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn run_bounded(&self, command: &mut Command) -> Done {
        let mut child = self.start(command);
        let mut pipe = child.stdout.take().unwrap();
        let (sender, ended) = mpsc::channel();
        let reading = thread::spawn(move || {
            let mut stdout = String::new();
            pipe.read_to_string(&mut stdout).unwrap();
            let _late = sender.send(());
            stdout
        });
        let hangs = ended.recv_timeout(PATIENCE).is_err();
        if hangs {
            child.kill().unwrap();
        }
        let code = child.wait().unwrap().code();
        let stdout = reading.join().unwrap();
        assert!(!hangs, "{command:?} does not end: {}", self.stderr());
        Done {
            code,
            stdout,
            stderr: self.stderr(),
        }
    }

    /// A copy of this node at `dir`, times and all. Nothing may be running in it.
    pub(crate) fn copy(&self, dir: &Path) -> Self {
        let copied = Command::new("cp").arg("-a").args([&self.dir, dir]).status();
        assert!(copied.unwrap().success());
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs a command in the background.
    pub(crate) fn start_running(&self, args: &[&str]) -> Running<'_> {
        Running {
            node: self,
            child: self.start(&mut self.command(args)),
        }
    }

    /// Starts `serve`, and waits until it says where.
    pub(crate) fn serve(&self, listen: &str) -> Serving {
        let mut child = self.start(&mut self.command(&["serve", "--listen", listen]));
        let mut url = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut url).unwrap();
        let url = url.trim_end().to_owned();
        assert!(url.starts_with("http://"), "{}", self.stderr());
        Serving { child, url }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_emsync"));
        command.arg("-C").arg(&self.dir).args(args);
        command
    }

    fn start(&self, command: &mut Command) -> Child {
        // Not a pipe: nobody reads while we wait, and a full pipe would hold the process up.
        let stderr = File::create(self.dir.with_extension("stderr")).unwrap();
        let piped = command.stdout(Stdio::piped()).stderr(stderr);
        piped.stdin(Stdio::null()).spawn().unwrap()
    }

    fn end(&self, mut child: Child) -> Done {
        let mut stdout = String::new();
        let mut pipe = child.stdout.take().unwrap();
        pipe.read_to_string(&mut stdout).unwrap();
        Done {
            code: child.wait().unwrap().code(),
            stdout,
            stderr: self.stderr(),
        }
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.dir.with_extension("stderr")).unwrap()
    }

    /// Lets this node pull from `master`, which answers at `url`.
    pub(crate) fn pull_from(&self, master: &Program, url: &str) {
        let name = self.dir.file_name().unwrap().to_str().unwrap();
        let key = master.run(&["key", "add", name]).well().stdout;
        let file = self.dir.join("master.key");
        fs::write(&file, key).unwrap();
        let file = file.to_str().unwrap();
        self.run(&["peer", "add", "master", "--url", url, "--key-file", file])
            .well();
    }

    /// Everything under a final name, read and hashed. Anything but a plain file or a directory there is an error.
    pub(crate) fn files(&self) -> Files {
        let mut files = Files::new();
        for kind in KINDS {
            let tree = self.dir.join("media/assets/catalog").join(kind.dir());
            for entry in walkdir::WalkDir::new(&tree) {
                let entry = entry.unwrap();
                if entry.file_type().is_dir() {
                    continue;
                }
                assert!(entry.file_type().is_file(), "{}", entry.path().display());
                let path = entry.path().strip_prefix(&tree).unwrap();
                let bytes = fs::read(entry.path()).unwrap();
                files.insert(
                    (kind, path.to_str().unwrap().to_owned()),
                    (bytes.len() as u64, Sha256::of(&bytes)),
                );
            }
        }
        files
    }

    /// Digests of everything in the trash.
    pub(crate) fn trash(&self) -> BTreeSet<Sha256> {
        let entries = walkdir::WalkDir::new(self.dir.join("media/.emsync/trash"));
        entries
            .into_iter()
            .map(Result::unwrap)
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| Sha256::of(&fs::read(entry.path()).unwrap()))
            .collect()
    }

    /// Names and sizes of everything in staging.
    pub(crate) fn staged(&self) -> Vec<(String, u64)> {
        let entries = walkdir::WalkDir::new(self.dir.join("media/.emsync/staging"));
        entries
            .into_iter()
            .map(Result::unwrap)
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| {
                let name = entry.file_name().to_str().unwrap().to_owned();
                (name, entry.metadata().unwrap().len())
            })
            .collect()
    }

    /// The file rows and job counts of the catalogue. A copy of it is opened, so that the next process still finds it just
    /// as the last one left it.
    pub(crate) fn catalogue(&self, runtime: &tokio::runtime::Runtime) -> (Vec<FileRow>, JobCounts) {
        let state = Config::load(&self.dir.join("emsync.toml")).unwrap().state;
        let copy = tempfile::tempdir().unwrap();
        for name in ["emsync.db", "emsync.db-wal"] {
            if state.join(name).exists() {
                fs::copy(state.join(name), copy.path().join(name)).unwrap();
            }
        }
        runtime.block_on(async {
            let catalogue = Catalogue::open(&copy.path().join("emsync.db"))
                .await
                .unwrap();
            let mut rows = Vec::new();
            for kind in KINDS {
                rows.extend(catalogue.files_after(kind, None, 1_000_000).await.unwrap());
            }
            let jobs = catalogue.job_counts(None).await.unwrap();
            catalogue.close().await;
            (rows, jobs)
        })
    }
}

/// A command that runs in the background.
pub(crate) struct Running<'a> {
    node: &'a Program,
    child: Child,
}

impl Running<'_> {
    /// Waits for its end.
    pub(crate) fn end(self) -> Done {
        self.node.end(self.child)
    }
}

/// A running `serve`; killed when dropped.
pub(crate) struct Serving {
    child: Child,
    /// Its base URL.
    pub(crate) url: String,
}

impl Serving {
    /// Where it listens.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        let rest = self.url.strip_prefix("http://").unwrap();
        rest.split('/').next().unwrap().parse().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
