//! Real nodes, made and driven by commands.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::process::{Background, Ran, run, run_to};

const EMSYNC: &str = env!("CARGO_BIN_EXE_emsync");

/// A node in a directory of its own.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) dir: PathBuf,
}

impl Node {
    /// Makes a new one.
    pub(crate) fn init(dir: PathBuf, name: &str) -> Self {
        run(Command::new(EMSYNC)
            .args(["-q", "init"])
            .arg(&dir)
            .args(["--name", name]));
        Self { dir }
    }

    /// Runs a command on it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run(&mut self.command(arguments))
    }

    /// Runs a command on it that is to end with this code.
    pub(crate) fn run_to(&self, arguments: &[&str], code: i32) -> Ran {
        run_to(&mut self.command(arguments), code)
    }

    /// A key for somebody else.
    pub(crate) fn key(&self) -> String {
        let key = self.run(&["key", "add", "bench"]).stdout;
        String::from_utf8(key).unwrap().trim().to_owned()
    }

    /// Makes a mirror of the node that answers at `url`.
    pub(crate) fn mirror(dir: PathBuf, url: &str, key: &str) -> Self {
        let node = Self::init(dir, "Mirror");
        node.follow(url, key);
        node
    }

    /// Tells it of its master.
    pub(crate) fn follow(&self, url: &str, key: &str) {
        std::fs::write(self.dir.join("key.txt"), key).unwrap();
        let who = ["master", "--url", url, "--key-file", "key.txt"];
        self.run(&[&["peer", "add"], &who[..]].concat());
    }

    /// Serves on a free port.
    pub(crate) fn serve(&self) -> Serving {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut url)
            .unwrap();
        Serving {
            url: url.trim().to_owned(),
            process: Background(child),
        }
    }

    /// Where its files lie: `originals` and `generated`.
    pub(crate) fn media(&self) -> PathBuf {
        self.dir.join("media/assets/catalog")
    }

    /// Its catalogue, complete while nobody has it open.
    pub(crate) fn catalogue(&self) -> PathBuf {
        self.dir.join("state/emsync.db")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(EMSYNC);
        command.arg("-q").arg("-C").arg(&self.dir).args(arguments);
        command
    }
}

/// A node that answers, until it is dropped.
#[derive(Debug)]
pub(crate) struct Serving {
    /// Its base URL.
    pub(crate) url: String,
    process: Background,
}

impl Serving {
    pub(crate) fn process(&self) -> &Child {
        &self.process.0
    }
}

/// The port of a base URL.
pub(crate) fn port(url: &str) -> u16 {
    let authority = url.split('/').nth(2).unwrap();
    authority.rsplit(':').next().unwrap().parse().unwrap()
}
