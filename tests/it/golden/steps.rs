//! The line language of golden scenarios, and who carries it out.
//!
//! ```text
//! # text                     a remark, copied into the expected text
//! m sync master …            the program on node m, r or s: its command line, output, complaints and exit code are told
//! key m r                    a key of m for r, into r/key.txt; told by nobody
//! serve m · stop m           starts and ends a server; @url:m is its address from then on
//! set r attempts = 2         a limit in the settings of a node
//! put PATH TEXT              a file of TEXT and a line break, dated one second after the last one
//! fill DIR N                 DIR/f01.txt … fN.txt
//! touch PATH                 a new date, one second after the last one
//! mv A B · cp A B · rm P …   moves, copies with dates, removes; files and directories
//! damage PATH                another first byte; size and date stay
//! vanish m PATH              the record of an original goes without a trace, as EMDB deletes (wire spec 7.1)
//! tree r                     tells what lies on a node's disk: originals, generated, trash; sizes, digests, dates
//! ```
//!
//! Paths are below the scenario's own directory. In words of a command `@dir` is that directory, `@asset:PATH` the id of the
//! asset of an original at the master, and `@set-aside:N` the N-th id of the mirror's quarantine.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, FileTimes};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use emsync::catalogue::Catalogue;
use emsync::config::Config;
use emsync::model::{RecordKey, Sha256, Timestamp};
use serde_json::Value;

use super::plain::{of_any_machine, plain};
use crate::support::process::{Place, Serving};

const NODES: [&str; 3] = ["m", "r", "s"];
/// When the files of every scenario begin to be written, seconds since 1970.
const BEGIN: u64 = 1_700_000_000;

/// A scenario at work.
pub(super) struct Story {
    // In front of the directory they live in, so that they end before it goes.
    serving: BTreeMap<String, Serving>,
    place: Place,
    names: Vec<(String, String)>,
    written: u64,
    told: String,
}

impl Story {
    pub(super) fn new() -> Self {
        let mut place = Place::new();
        // Which programs a machine has is no part of a story.
        place.set("PATH", "");
        let dir = place.path("");
        let dir = dir.to_str().unwrap().trim_end_matches('/').to_owned();
        Self {
            place,
            serving: BTreeMap::new(),
            names: vec![(dir, "<dir>".to_owned())],
            written: 0,
            told: String::new(),
        }
    }

    /// Carries out all lines, and answers what is to be compared.
    pub(super) fn tell(mut self, steps: &str) -> String {
        for line in steps.lines().filter(|line| !line.trim().is_empty()) {
            if line.starts_with('#') {
                let _ = writeln!(self.told, "\n{line}");
                continue;
            }
            let _ = writeln!(self.told, "$ {line}");
            let words: Vec<&str> = line.split_whitespace().collect();
            self.step(line, &words);
        }
        self.told
    }

    fn step(&mut self, line: &str, words: &[&str]) {
        let rest = line.splitn(3, ' ').nth(2).unwrap_or_default();
        match words {
            [node, command @ ..] if NODES.contains(node) => self.command(node, command),
            ["key", from, to] => self.key(from, to),
            ["serve", node] => self.serve(node),
            ["stop", node] => drop(self.serving.remove(*node).unwrap().stop().ends(0)),
            ["set", node, ..] => self.set(node, rest),
            ["put", path, ..] => self.put(path, &format!("{rest}\n")),
            ["fill", dir, count] => {
                for n in 1..=count.parse::<usize>().unwrap() {
                    self.put(&format!("{dir}/f{n:02}.txt"), &format!("file {n}\n"));
                }
            }
            ["touch", path] => self.date(&self.place.path(path)),
            ["mv", from, to] => {
                let to = self.with_parents(to);
                fs::rename(self.place.path(from), to).unwrap();
            }
            ["cp", from, to] => {
                let to = self.with_parents(to);
                // -T: into the very name, also where such a directory is.
                let mut copy = Command::new("cp");
                copy.arg("-aT").arg(self.place.path(from)).arg(&to);
                assert!(copy.status().unwrap().success(), "{line}");
            }
            ["rm", paths @ ..] => paths.iter().for_each(|path| self.remove(path)),
            ["damage", path] => damage(&self.place.path(path)),
            ["vanish", node, path] => self.vanish(node, path),
            ["tree", node] => self.tree(node),
            _ => panic!("no step of this language: {line}"),
        }
    }

    fn command(&mut self, node: &str, words: &[&str]) {
        let words: Vec<String> = words.iter().map(|word| self.expand(word)).collect();
        let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
        let makes_it = args[0] == "init";
        match makes_it {
            true => args.insert(1, node),
            false => args.splice(0..0, ["-C", node]).for_each(drop),
        }
        let ran = self.place.run(&args);
        for line in ran.stdout.lines() {
            let line = plain(&of_any_machine(line), &self.names);
            let _ = writeln!(self.told, "{line}");
        }
        for line in ran.stderr.lines() {
            let _ = writeln!(self.told, "! {}", plain(line, &self.names));
        }
        let code = ran.code.unwrap();
        let _ = writeln!(self.told, "exit {code}");
        if makes_it {
            // Failures of these scenarios last, so waiting for their end would only cost time.
            self.set(node, "retry_base = \"1ms\"");
            self.set(node, "transfers = 1");
        }
    }

    fn expand(&self, word: &str) -> String {
        if let Some(node) = word.strip_prefix("@url:") {
            return self.serving[node].base.clone();
        }
        if let Some(path) = word.strip_prefix("@asset:") {
            return self.asset("m", path);
        }
        if let Some(number) = word.strip_prefix("@set-aside:") {
            let listed = self.json_lines("r", &["quarantine", "list", "--json"]);
            return listed[number.parse::<usize>().unwrap() - 1]["id"].to_string();
        }
        let dir = self.place.path("");
        word.replace("@dir", dir.to_str().unwrap().trim_end_matches('/'))
    }

    fn json_lines(&self, node: &str, args: &[&str]) -> Vec<Value> {
        let said = self.place.run(&[&["-C", node], args].concat()).ok();
        said.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The id of the live asset at a path.
    fn asset(&self, node: &str, path: &str) -> String {
        let records = self.json_lines(node, &["record", "list", "asset", "--json"]);
        let found = records.iter().find(|record| record["sourcepath"] == path);
        found.unwrap()["id"].as_str().unwrap().to_owned()
    }

    fn key(&mut self, from: &str, to: &str) {
        let key = self.place.run(&["-C", from, "key", "add", to]).ok();
        fs::write(self.place.path(to).join("key.txt"), key).unwrap();
        let keys = self.json_lines(from, &["key", "list", "--json"]);
        let made = keys.iter().find(|key| key["name"] == *to).unwrap();
        let id = made["id"].as_str().unwrap().to_owned();
        self.names.push((id, format!("<key of {to}>")));
    }

    fn serve(&mut self, node: &str) {
        let serving = self.place.serve(node);
        let host = serving.base.trim_end_matches("/assets").to_owned();
        self.names.push((host, format!("<url of {node}>")));
        self.serving.insert(node.to_owned(), serving);
    }

    /// Gives a commented default of the settings another value.
    fn set(&self, node: &str, line: &str) {
        let file = self.place.path(node).join("emsync.toml");
        let name = line.split(' ').next().unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let mut found = 0;
        let lines = text.lines().map(|old| {
            let of_it = old
                .trim_start_matches('#')
                .starts_with(&format!("{name} ="));
            found += usize::from(of_it);
            if of_it { line } else { old }
        });
        let text: Vec<&str> = lines.collect();
        fs::write(&file, text.join("\n") + "\n").unwrap();
        assert_eq!(found, 1, "{name} in {}", file.display());
    }

    fn with_parents(&self, path: &str) -> PathBuf {
        let path = self.place.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn put(&mut self, path: &str, text: &str) {
        let path = self.with_parents(path);
        fs::write(&path, text).unwrap();
        self.date(&path);
    }

    fn date(&mut self, path: &Path) {
        self.written += 1;
        let time = Duration::from_secs(BEGIN + self.written);
        set_time(path, SystemTime::UNIX_EPOCH + time);
    }

    fn remove(&self, path: &str) {
        let path = self.place.path(path);
        match path.is_dir() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }

    fn vanish(&self, node: &str, path: &str) {
        let key = RecordKey::new("asset", self.asset(node, path)).unwrap();
        let config = Config::load(&self.place.path(node).join("emsync.toml")).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let database = config.state.join("emsync.db");
            let catalogue = Catalogue::open(&database).await.unwrap();
            let now = Timestamp::from(SystemTime::now());
            let mut batch = catalogue.batch().await.unwrap();
            batch.take_record_away(&key, "nobody", now).await.unwrap();
            batch.commit().await.unwrap();
            catalogue.close().await;
        });
    }

    fn tree(&mut self, node: &str) {
        let media = self.place.path(node).join("media");
        for (name, dir) in [
            ("originals", "assets/catalog/originals"),
            ("generated", "assets/catalog/generated"),
            ("trash", ".emsync/trash"),
            ("staging", ".emsync/staging"),
        ] {
            for line in files(&media.join(dir)) {
                let _ = writeln!(self.told, "{name:<10} {}", plain(&line, &self.names));
            }
        }
    }
}

/// A line for each file below a directory, in order of path: size, digest, date, path.
fn files(dir: &Path) -> Vec<String> {
    let entries = walkdir::WalkDir::new(dir);
    let entries = entries.into_iter().filter_map(Result::ok);
    let mut lines: Vec<(String, String)> = entries
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let path = entry.path().strip_prefix(dir).unwrap().to_str().unwrap();
            let bytes = fs::read(entry.path()).unwrap();
            let modified = entry.metadata().unwrap().modified().unwrap();
            let digest = Sha256::of(&bytes).to_string();
            let seconds = Timestamp::from(modified).as_millis() / 1_000 - BEGIN as i64;
            let line = format!("{:>5} B  {}  +{seconds} s", bytes.len(), &digest[..8]);
            (in_slot(path), line)
        })
        .collect();
    lines.sort();
    lines
        .into_iter()
        .map(|(path, line)| format!("{line}  {path}"))
        .collect()
}

/// A path in the trash without its slot, which is named by time; any other as it is.
fn in_slot(path: &str) -> String {
    let is_slot = |name: &str| name.len() > 9 && name.as_bytes()[8] == b'T' && name.contains('.');
    let elements: Vec<&str> = path.split('/').filter(|name| !is_slot(name)).collect();
    elements.join("/")
}

fn set_time(path: &Path, time: SystemTime) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

fn damage(path: &Path) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 0x20;
    fs::write(path, bytes).unwrap();
    set_time(path, time);
}
