//! Real nodes, made and driven by commands.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::process::{Background, Ran, run};

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

    /// A key for somebody else.
    pub(crate) fn key(&self) -> String {
        let key = self.run(&["key", "add", "bench"]).stdout;
        String::from_utf8(key).unwrap().trim().to_owned()
    }

    /// Makes a mirror of the node that answers at `url`.
    pub(crate) fn mirror(dir: PathBuf, url: &str, key: &str) -> Self {
        let node = Self::init(dir, "Mirror");
        std::fs::write(node.dir.join("key.txt"), key).unwrap();
        node.run(&[
            "peer",
            "add",
            "master",
            "--url",
            url,
            "--key-file",
            "key.txt",
        ]);
        node
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

    /// Where its originals lie.
    pub(crate) fn originals(&self) -> PathBuf {
        self.dir.join("media/assets/catalog/originals")
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
