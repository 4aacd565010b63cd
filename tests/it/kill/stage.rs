//! The stage of the kill tests: a master over a generated folder, mirrors behind a proxy, and the look at what a kill left.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use emsync::catalogue::{FileRow, JobCounts};
use emsync::model::FileKind;
use image::{ImageBuffer, Rgb};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::support::program::{Done, Files, Program, Serving};
use crate::support::proxy::{Proxy, Sent};

/// `limits.transfers` of the mirrors.
pub(crate) const TRANSFERS: usize = 4;
/// `limits.publish_batch` of the mirrors.
pub(crate) const PUBLISH_BATCH: usize = 16;
/// So that a seed takes a second or two, and kills hit all of its phases.
const BYTES_PER_SECOND: u64 = 32 << 20;

/// Names that are hard on URLs, shells, and file systems.
const AWKWARD: [&str; 5] = [
    "Odd names/R&D (2024) 100%~a+b #7.bin",
    "Odd names/it's \"quoted\"; a=b?c=d&e.bin",
    "Odd names/ [x]{y}|z^ .bin",
    "Größe/日本語 ファイル.bin",
    "Größe/e\u{301} and é.bin",
];

/// Kills of all tests of the normal run together.
const ALWAYS: u64 = 24 + 6 + 6 + 3;

/// How many kills a test does: `always` in the normal run, its share of `EMSYNC_KILLS` in the big one.
pub(crate) fn kills(always: u64) -> u64 {
    match std::env::var("EMSYNC_KILLS") {
        Ok(all) => (all.parse::<u64>().unwrap() * always).div_ceil(ALWAYS),
        Err(_) => always,
    }
}

/// A runtime for the proxy and for looking into catalogues.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Numbers from a seed that is named when a test fails.
#[derive(Debug)]
pub(crate) struct Chance {
    seed: u64,
    state: u64,
    drawn: u32,
}

/// How to draw the same numbers again.
impl Display for Chance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.named())
    }
}

/// The moments of kills go round through so many parts of the time there is.
const PARTS: u32 = 8;

impl Chance {
    /// From `EMSYNC_KILL_SEED`, else from the clock.
    pub(crate) fn new() -> Self {
        let seed = std::env::var("EMSYNC_KILL_SEED").map_or_else(
            |_| {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                u64::from(now.unwrap().subsec_nanos())
            },
            |text| text.parse().unwrap(),
        );
        Self {
            seed,
            state: seed,
            drawn: 0,
        }
    }

    /// How to draw the same numbers again.
    pub(crate) fn named(&self) -> String {
        format!("EMSYNC_KILL_SEED={}", self.seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn between(&mut self, least: u64, most: u64) -> usize {
        usize::try_from(least + self.next() % (most - least + 1)).unwrap()
    }

    /// Bytes that nothing compresses.
    fn noise(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend_from_slice(&self.next().to_le_bytes());
        }
        out.truncate(len);
        out
    }

    /// A moment within `whole`, each part of it in turn; every other one is drawn towards the beginning, so that the short
    /// phases there get their share.
    pub(crate) fn moment(&mut self, whole: Duration) -> Duration {
        // 3 and PARTS have no common factor, so all parts come up.
        let part = self.drawn * 3 % PARTS;
        let within = f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX);
        let share = (f64::from(part) + within) / f64::from(PARTS);
        let early = self.drawn / PARTS % 2 == 1;
        self.drawn += 1;
        whole.mul_f64(if early { share * share } else { share })
    }
}

fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A folder of small noise, `large` files of 2 to 6 MiB, pictures, and five awkward names.
pub(crate) fn fill(folder: &Path, chance: &mut Chance, small: usize, large: u64, pictures: usize) {
    for n in 0..small {
        let len = chance.between(1 << 10, 60 << 10);
        write(
            folder,
            &format!("Noise/{}/n{n:03}.bin", n % 12),
            &chance.noise(len),
        );
    }
    for n in 0..large {
        let len = chance.between(2 << 20, 6 << 20);
        write(folder, &format!("Large/l{n}.bin"), &chance.noise(len));
    }
    for name in AWKWARD {
        let len = chance.between(1, 20 << 10);
        write(folder, name, &chance.noise(len));
    }
    fs::create_dir_all(folder.join("Pictures")).unwrap();
    for n in 0..pictures {
        let extension = if n % 2 == 0 { "jpg" } else { "png" };
        let hue = chance.next().to_le_bytes();
        let picture = ImageBuffer::from_fn(256 + 16 * n as u32, 200, |x, y| {
            Rgb([(x as u8) ^ hue[0], (y as u8) ^ hue[1], hue[2]])
        });
        picture
            .save(folder.join(format!("Pictures/p{n}.{extension}")))
            .unwrap();
    }
}

/// A master with its folder, a proxy before it, and room for mirrors.
pub(crate) struct Stage {
    pub(crate) runtime: Runtime,
    proxy: Proxy,
    serving: Option<Serving>,
    master: Program,
    folder: PathBuf,
    /// What the master has.
    pub(crate) expected: Files,
    pub(crate) dir: tempfile::TempDir,
}

impl Stage {
    /// Makes, imports and serves a folder as [`fill`] makes it.
    pub(crate) fn new(chance: &mut Chance, small: usize, large: u64, pictures: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("photos");
        fill(&folder, chance, small, large, pictures);
        let master = Program::init(&dir.path().join("m"), "master-0001");
        let serving = master.serve("127.0.0.1:0");
        let runtime = runtime();
        let proxy = {
            let _entered = runtime.enter();
            Proxy::start(serving.address(), BYTES_PER_SECOND).unwrap()
        };
        let mut stage = Self {
            runtime,
            proxy,
            serving: Some(serving),
            master,
            folder,
            expected: Files::new(),
            dir,
        };
        stage.import();
        stage
    }

    fn import(&mut self) {
        let folder = self.folder.to_str().unwrap();
        let report = self.master.run(&["import", folder, "--json"]).well().json();
        assert_eq!(
            (&report["refused"], &report["held"]),
            (&json!(0), &json!(0)),
            "{report}"
        );
        self.expected = self.master.files();
        for entry in walkdir::WalkDir::new(&self.folder) {
            let entry = entry.unwrap();
            if entry.file_type().is_file() {
                let path = entry.path().strip_prefix(&self.folder).unwrap();
                let key = (FileKind::Original, path.to_str().unwrap().to_owned());
                assert!(self.expected.contains_key(&key), "{key:?}");
            }
        }
    }

    /// A new mirror that reaches the master through the proxy.
    pub(crate) fn mirror(&self, name: &str) -> Program {
        self.mirror_at(name, &format!("http://{}/assets", self.proxy.address))
    }

    /// A new mirror of the master at `url`.
    pub(crate) fn mirror_at(&self, name: &str, url: &str) -> Program {
        let mirror = Program::init(&self.dir.path().join(name), &format!("mirror-{name}"));
        mirror.limit(&format!(
            "transfers = {TRANSFERS}\npublish_batch = {PUBLISH_BATCH}\nlarge_file = \"1MiB\""
        ));
        mirror.pull_from(&self.master, url);
        mirror
    }

    /// What the proxy sent, once nobody is connected.
    pub(crate) fn settled(&self) -> Sent {
        self.runtime.block_on(self.proxy.quiet());
        self.proxy.sent()
    }

    pub(crate) fn serving(&self) -> &Serving {
        self.serving.as_ref().unwrap()
    }

    /// Kills `serve`; answers where it listened.
    pub(crate) fn kill_master(&mut self) -> String {
        self.serving.take().unwrap().address().to_string()
    }

    /// Starts `serve` again.
    pub(crate) fn serve(&mut self, listen: &str) {
        self.serving = Some(self.master.serve(listen));
    }

    /// On the master three files are added, replaced, moved and deleted, of them a large one added and one replaced. Answers
    /// what the master had before.
    pub(crate) fn change(&mut self, round: usize, chance: &mut Chance) -> Files {
        let noise = |n: usize| format!("Noise/{}/n{n:03}.bin", n % 12);
        for n in 0..3 {
            let at = round * 9 + n;
            let len = chance.between(1 << 10, 60 << 10);
            write(
                &self.folder,
                &format!("New/{round}/a{n}.bin"),
                &chance.noise(len),
            );
            write(&self.folder, &noise(at % 120), &chance.noise(len));
            let moved = self.folder.join(format!("Moved/{round}/m{n}.bin"));
            fs::create_dir_all(moved.parent().unwrap()).unwrap();
            let left = self.folder.join(noise((at + 3) % 120));
            if left.exists() {
                fs::rename(left, moved).unwrap();
            }
            let _ = fs::remove_file(self.folder.join(noise((at + 6) % 120)));
        }
        for path in [format!("New/{round}/large.bin"), "Large/l0.bin".to_owned()] {
            let len = chance.between(2 << 20, 3 << 20);
            write(&self.folder, &path, &chance.noise(len));
        }
        let before = self.expected.clone();
        self.import();
        before
    }

    /// A seed must have ended well, and left the mirror equal to the master and tidy.
    pub(crate) fn assert_done(&self, mirror: &Program, seed: &Done) {
        let report = seed.json();
        assert_eq!(
            (&report["in_sync"], &report["quarantined"]),
            (&json!(true), &json!(0)),
            "{report}"
        );
        self.assert_in_sync(mirror);
    }

    /// The mirror says that it equals the master, does so, and has nothing left over.
    pub(crate) fn assert_in_sync(&self, mirror: &Program) {
        let verify = ["verify", "master", "--checksum", "--json"];
        let parity = mirror.run(&verify).well().json();
        assert_eq!(parity["in_sync"], json!(true), "{parity}");
        let look = Look::at(mirror, &self.runtime);
        let keys = |files: &Files| files.keys().cloned().collect::<BTreeSet<_>>();
        let (here, there) = (keys(&look.files), keys(&self.expected));
        let odd: Vec<_> = here.symmetric_difference(&there).collect();
        assert!(odd.is_empty(), "verify overlooks {odd:?}");
        assert!(look.files == self.expected, "verify overlooks wrong bytes");
        assert_eq!(look.rows.len(), self.expected.len());
        assert_eq!(look.staged, [], "left in staging");
        let counts = &look.jobs;
        assert_eq!((counts.open, counts.quarantined, counts.held), (0, 0, 0));
    }
}

/// What is on a node's disk and in its catalogue.
pub(crate) struct Look {
    pub(crate) files: Files,
    pub(crate) rows: Vec<FileRow>,
    pub(crate) jobs: JobCounts,
    /// Whether this is a master that imports: its folder, rather than a job, says what is to be finished.
    pub(crate) imports: bool,
    /// Sizes of what can be resumed.
    pub(crate) partials: Vec<u64>,
    pub(crate) staged: Vec<(String, u64)>,
}

impl Look {
    pub(crate) fn at(node: &Program, runtime: &Runtime) -> Self {
        let (rows, jobs) = node.catalogue(runtime);
        let staged = node.staged();
        let partials = staged.iter().filter(|(name, _)| name.ends_with(".part"));
        Self {
            files: node.files(),
            rows,
            jobs,
            imports: false,
            partials: partials.map(|(_, size)| *size).collect(),
            staged,
        }
    }

    /// Media bytes that the next run need not fetch again.
    pub(crate) fn kept(&self) -> u64 {
        let files: u64 = self.files.values().map(|(size, _)| size).sum();
        files + self.partials.iter().sum::<u64>()
    }

    /// No wrong file, and no row without its file. `former` is what the master had before; a file of it that was just
    /// replaced may be ahead of its row, as long as there is a job, or a folder, to finish that.
    pub(crate) fn assert_sound(&self, wanted: &Files, former: &Files, case: &impl Display) {
        for (key, file) in &self.files {
            assert!(
                wanted.get(key) == Some(file) || former.get(key) == Some(file),
                "{key:?} is wrong; {case}"
            );
        }
        for FileRow { file, .. } in &self.rows {
            let key = (file.kind, file.path.as_str().to_owned());
            let found = self.files.get(&key);
            let replaced = found == wanted.get(&key) && former.contains_key(&key);
            assert!(
                found == Some(&(file.size, file.sha256))
                    || (found.is_some() && replaced && (self.jobs.open > 0 || self.imports)),
                "the row of {key:?} says {} bytes, {found:?} is there; {case}",
                file.size
            );
        }
    }

    /// Equal files and rows, except for dates; nothing left over.
    pub(crate) fn assert_equal(&self, other: &Self, case: &impl Display) {
        assert!(self.files == other.files, "{case}");
        assert_eq!(self.facts(), other.facts(), "{case}");
        assert_eq!(self.staged, [], "left in staging; {case}");
    }

    fn facts(&self) -> BTreeSet<String> {
        let rows = self.rows.iter().map(|row| &row.file);
        rows.map(|file| {
            format!(
                "{:?} {} {} {} {}",
                file.kind, file.path, file.asset, file.size, file.sha256
            )
        })
        .collect()
    }
}

/// The first word of each line.
pub(crate) fn ids(list: &str) -> BTreeSet<String> {
    let words = list
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    words.map(str::to_owned).collect()
}
