//! The tools that people would use instead, with the flags that make them fastest at this work.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::input::File;
use super::process::{Cost, is_installed, run};

/// Where originals are fetched, below a node's base URL. EMDB wants the name twice.
const DOWNLOADS: &str = "/mediadb/services/module/asset/downloads/originals/";

/// A way to copy the originals of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rival {
    /// rclone, told what to fetch and to look at nothing, so many at once.
    RcloneTuned(u16),
    /// The same where everything was copied before: it has to ask for the size and date of each, and looks at what is there.
    RcloneAgain,
    /// rclone as it comes, over an HTML index.
    RclonePlain,
    Curl,
    Wget2,
    Aria2,
}

impl Rival {
    pub(crate) fn name(self) -> String {
        match self {
            Self::RcloneTuned(transfers) => format!("rclone tuned, {transfers}"),
            Self::RcloneAgain => "rclone tuned, 16, but HEAD for each".to_owned(),
            Self::RclonePlain => "rclone plain, 16".to_owned(),
            Self::Curl => "curl -Z, 16".to_owned(),
            Self::Wget2 => "wget2, 16".to_owned(),
            Self::Aria2 => "aria2c, 16, no hash".to_owned(),
        }
    }

    pub(crate) fn is_installed(self) -> bool {
        is_installed(match self {
            Self::RcloneTuned(_) | Self::RcloneAgain | Self::RclonePlain => "rclone",
            Self::Curl => "curl",
            Self::Wget2 => "wget2",
            Self::Aria2 => "aria2c",
        })
    }
}

/// What all of them copy.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) files: &'a [File],
    /// Base URL of the node.
    pub(crate) url: &'a str,
    /// The same files with an HTML index; for rclone plain.
    pub(crate) plain: Option<&'a str>,
    pub(crate) key: &'a str,
    /// For lists of what to fetch.
    pub(crate) lists: &'a Path,
}

impl Job<'_> {
    /// Copies everything to `to`, makes it durable, and says what that cost. Durability is part of it: emsync's is.
    pub(crate) fn copy(&self, rival: Rival, to: &Path) -> Cost {
        std::fs::create_dir_all(to).unwrap();
        let mut cost = run(&mut self.command(rival, to)).cost;
        let sync = run(Command::new("sync").arg("-f").arg(to)).cost;
        cost.wall += sync.wall;
        cost.cpu += sync.cpu;
        cost
    }

    fn command(&self, rival: Rival, to: &Path) -> Command {
        let base = format!("{}{DOWNLOADS}", self.url);
        let mut command;
        match rival {
            Rival::RcloneTuned(_) | Rival::RcloneAgain => {
                let transfers = match rival {
                    Rival::RcloneTuned(transfers) => transfers,
                    _ => 16,
                };
                let list = self.list("rclone", |path, name| format!("{path}/{name}\n"));
                command = Command::new("rclone");
                command
                    .args(["copy", ":http:"])
                    .arg(to)
                    .args(["--http-url", &base, "--http-headers"])
                    .arg(format!("X-token,{},X-tokentype,entermedia", self.key))
                    .args([
                        "--config",
                        "/dev/null",
                        "-q",
                        "--checkers",
                        "16",
                        "--transfers",
                        &transfers.to_string(),
                    ])
                    .arg("--files-from-raw")
                    .arg(list)
                    .arg("--no-traverse");
                if rival != Rival::RcloneAgain {
                    command.args(["--http-no-head", "--no-check-dest"]);
                }
            }
            Rival::RclonePlain => {
                command = Command::new("rclone");
                command
                    .args(["copy", ":http:"])
                    .arg(to)
                    .args(["--http-url", self.plain.expect("an index")])
                    .args([
                        "--config",
                        "/dev/null",
                        "-q",
                        "--checkers",
                        "16",
                        "--transfers",
                        "16",
                    ]);
            }
            Rival::Curl => {
                let to = to.display();
                let list = self.list("curl", |path, name| {
                    format!("url = \"{base}{path}/{name}\"\noutput = \"{to}/{path}\"\n")
                });
                command = Command::new("curl");
                command
                    .args([
                        "-s",
                        "--no-progress-meter",
                        "-Z",
                        "--parallel-max",
                        "16",
                        "--create-dirs",
                        "-K",
                    ])
                    .arg(list);
                command.args(self.headers("-H"));
            }
            Rival::Wget2 => {
                let list = self.list("wget2", |path, name| format!("{base}{path}/{name}\n"));
                command = Command::new("wget2");
                command
                    .args(["-q", "-x", "-nH", "--max-threads=16", "-P"])
                    .arg(to)
                    .arg("-i")
                    .arg(list);
                command.args(self.headers("--header"));
            }
            Rival::Aria2 => {
                let list = self.list("aria2", |path, name| {
                    format!("{base}{path}/{name}\n  out={path}\n")
                });
                command = Command::new("aria2c");
                command
                    .args([
                        "--no-conf=true",
                        "-q",
                        "-j16",
                        "--file-allocation=none",
                        "--max-connection-per-server=16",
                        "-d",
                    ])
                    .arg(to)
                    .arg("-i")
                    .arg(list)
                    .args(self.headers("--header"));
            }
        }
        command
    }

    fn headers(&self, flag: &str) -> [String; 4] {
        [
            flag.to_owned(),
            format!("X-token: {}", self.key),
            flag.to_owned(),
            "X-tokentype: entermedia".to_owned(),
        ]
    }

    /// A file with one entry for each file of the job, from its path and its name.
    fn list(&self, of: &str, entry: impl Fn(&str, &str) -> String) -> PathBuf {
        let mut text = String::new();
        for (path, _) in self.files {
            let name = path.rsplit('/').next().unwrap();
            write!(text, "{}", entry(path, name)).unwrap();
        }
        let file = self.lists.join(of);
        std::fs::write(&file, text).unwrap();
        file
    }
}
