//! Power that goes: every changing call of a run is written down, and the state that a cut leaves is made from what was synced
//! by then and a random part of what was not.
//!
//! ```text
//! content    since its last sync a file may be as it was, as it is, cut, or a mixture by blocks; never synced: anything
//! names      each change of a directory since its last sync is there or not, in any order, but for two rules: a rename is one
//!            change, in both directories or in neither; and a change of a name implies the earlier ones of the same name
//! catalogue  the database as it was at that moment; of its log the part that was written since the last call may be torn
//! ```
//!
//! Calls are serialised while they are written down, so that "at that moment" means something.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use emsync::model::Timestamp;
use emsync::store::{RealSys, Sys};
use rustix::io::{Errno, Result};

type Fd<'a> = BorrowedFd<'a>;
/// A file or directory, whatever its inode was used for before.
type Id = u64;

/// Numbers from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

#[derive(Debug)]
enum Op {
    Create(Id, String, Id),
    Mkdir(Id, String, Id),
    Write(Id, u64, Vec<u8>),
    Truncate(Id, u64),
    Modified(Id, Timestamp),
    SyncFile(Id),
    SyncDir(Id),
    SyncAll,
    /// One change of several names: what each stands for from now on.
    Names(Vec<(Id, String, Option<Id>)>),
}

/// The catalogue's two files.
#[derive(Debug)]
struct Database {
    main: Vec<u8>,
    log: Vec<u8>,
}

/// The system, written down.
#[derive(Debug)]
pub(crate) struct Recorder {
    state: PathBuf,
    taken: Mutex<Recording>,
}

/// What was written down.
#[derive(Debug)]
pub(crate) struct Recording {
    ids: HashMap<u64, Id>,
    next: Id,
    start: World,
    /// Each call with the catalogue as it was just before.
    steps: Vec<(Op, Arc<Database>)>,
    end: Option<Arc<Database>>,
}

/// What is on a disk: what is synced, and what a reader sees.
#[derive(Debug, Clone, Default)]
struct World {
    files: HashMap<Id, Versions>,
    durable: HashMap<Id, BTreeMap<String, Id>>,
    /// Changes of names that are not synced.
    pending: Vec<Vec<(Id, String, Option<Id>)>>,
    now: HashMap<Id, BTreeMap<String, Id>>,
}

#[derive(Debug, Clone, Default)]
struct Versions {
    durable: Content,
    now: Content,
}

#[derive(Debug, Clone, Default)]
struct Content {
    bytes: Arc<Vec<u8>>,
    modified: Option<Timestamp>,
}

const ROOT: Id = 0;

fn inode(fd: Fd<'_>) -> u64 {
    rustix::fs::fstat(fd).unwrap().st_ino
}

impl Recorder {
    /// For the node in `dir`, as it is now: all of it is synced.
    pub(crate) fn new(dir: &Path) -> Self {
        let mut recording = Recording {
            ids: HashMap::new(),
            next: ROOT,
            start: World::default(),
            steps: Vec::new(),
            end: None,
        };
        recording.take_in(&dir.join("media"));
        recording.start.now = recording.start.durable.clone();
        Self {
            state: dir.join("state"),
            taken: Mutex::new(recording),
        }
    }

    /// What was written down. The node must be at rest, and not be closed yet.
    pub(crate) fn end(&self) -> Recording {
        let mut taken = self.taken.lock().unwrap();
        let empty = Recording {
            ids: HashMap::new(),
            next: ROOT,
            start: World::default(),
            steps: Vec::new(),
            end: None,
        };
        let mut recording = std::mem::replace(&mut *taken, empty);
        recording.end = Some(Arc::new(self.database(&recording)));
        recording
    }

    /// The catalogue's files, read when nobody was moving pages from the one to the other.
    fn database(&self, recording: &Recording) -> Database {
        let read = |name: &str| fs::read(self.state.join(name)).unwrap_or_default();
        loop {
            let stamp = || {
                let changed = fs::metadata(self.state.join("emsync.db"))
                    .map(|meta| (meta.mtime(), meta.mtime_nsec(), meta.len()));
                (
                    changed.ok(),
                    read("emsync.db-wal").get(..32).map(<[u8]>::to_vec),
                )
            };
            let before = stamp();
            let database = Database {
                main: read("emsync.db"),
                log: read("emsync.db-wal"),
            };
            if stamp() == before {
                return database;
            }
            let _ = recording;
        }
    }

    /// Makes a call and writes it down, when it succeeded.
    fn step<T>(
        &self,
        real: impl FnOnce() -> Result<T>,
        note: impl FnOnce(&mut Recording, &T) -> Op,
    ) -> Result<T> {
        let mut recording = self.taken.lock().unwrap();
        let database = match recording.steps.last() {
            Some((_, last)) if self.is_as(last) => Arc::clone(last),
            _ => Arc::new(self.database(&recording)),
        };
        let answer = real()?;
        let op = note(&mut recording, &answer);
        recording.steps.push((op, database));
        Ok(answer)
    }

    /// Whether nothing was written to the catalogue since.
    fn is_as(&self, last: &Database) -> bool {
        let len = |name: &str| fs::metadata(self.state.join(name)).map_or(0, |meta| meta.len());
        // A log that was begun anew may have the same length.
        len("emsync.db") == last.main.len() as u64
            && len("emsync.db-wal") == last.log.len() as u64
            && fs::read(self.state.join("emsync.db-wal")).is_ok_and(|log| log == last.log)
    }
}

impl Recording {
    /// Takes in a directory with all that is in it.
    fn take_in(&mut self, path: &Path) -> Id {
        let id = self.id_for(fs::metadata(path).unwrap().ino());
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            let below = if meta.is_dir() {
                self.take_in(&entry.path())
            } else if let Some(known) = self.ids.get(&meta.ino()) {
                *known
            } else {
                let id = self.id_for(meta.ino());
                let content = Content {
                    bytes: Arc::new(fs::read(entry.path()).unwrap()),
                    modified: Some(meta.modified().unwrap().into()),
                };
                let versions = Versions {
                    durable: content.clone(),
                    now: content,
                };
                self.start.files.insert(id, versions);
                id
            };
            names.insert(entry.file_name().into_string().unwrap(), below);
        }
        self.start.durable.insert(id, names);
        id
    }

    fn id_for(&mut self, inode: u64) -> Id {
        let id = self.next;
        self.next += 1;
        self.ids.insert(inode, id);
        id
    }

    fn id(&self, fd: Fd<'_>) -> Id {
        self.ids[&inode(fd)]
    }

    fn id_of(&self, dir: Fd<'_>, name: &str) -> Id {
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        self.ids[&rustix::fs::statat(dir, name, flags).unwrap().st_ino]
    }

    /// Moments at which the power can go: before each call, and after the last.
    pub(crate) fn moments(&self) -> usize {
        self.steps.len() + 1
    }

    /// How often everything was synced in one go.
    pub(crate) fn synced_together(&self) -> usize {
        let all = self.steps.iter().map(|(op, _)| op);
        all.filter(|op| matches!(op, Op::SyncAll)).count()
    }

    /// Makes at `dir` what a cut before call number `at` leaves of media and state.
    pub(crate) fn cut(&self, at: usize, dice: &mut Dice, dir: &Path) {
        let mut world = self.start.clone();
        for (op, _) in &self.steps[..at] {
            world.apply(op);
        }
        world.leave(dice, &dir.join("media"));
        let database = |at: usize| {
            self.steps
                .get(at)
                .map_or(self.end.as_ref().unwrap(), |step| &step.1)
        };
        let now = database(at);
        let before = database(at.saturating_sub(1));
        let same_log =
            now.log.get(..32) == before.log.get(..32) && now.log.starts_with(&before.log);
        let kept = if same_log {
            before.log.len()
        } else {
            now.log.len()
        };
        let mut log = now.log[..kept + dice.below(now.log.len() - kept + 1)].to_vec();
        if dice.below(2) == 0 {
            // Blocks that were allocated and never written.
            let torn = dice.below(9_000);
            log.extend(std::iter::repeat_n(0, torn));
        }
        let state = dir.join("state");
        fs::create_dir_all(&state).unwrap();
        fs::write(state.join("emsync.db"), &now.main).unwrap();
        fs::write(state.join("emsync.db-wal"), log).unwrap();
    }
}

impl World {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Create(dir, name, file) => {
                self.files.insert(*file, Versions::default());
                self.rename(&[(*dir, name.clone(), Some(*file))]);
            }
            Op::Mkdir(dir, name, made) => {
                self.durable.insert(*made, BTreeMap::new());
                self.now.insert(*made, BTreeMap::new());
                self.rename(&[(*dir, name.clone(), Some(*made))]);
            }
            Op::Names(changes) => self.rename(changes),
            Op::Write(file, offset, bytes) => {
                let content = Arc::make_mut(&mut self.file(*file).bytes);
                let from = usize::try_from(*offset).unwrap();
                content.resize(content.len().max(from + bytes.len()), 0);
                content[from..from + bytes.len()].copy_from_slice(bytes);
            }
            Op::Truncate(file, len) => {
                let len = usize::try_from(*len).unwrap();
                Arc::make_mut(&mut self.file(*file).bytes).resize(len, 0);
            }
            Op::Modified(file, at) => self.file(*file).modified = Some(*at),
            Op::SyncFile(file) => {
                let versions = self.files.get_mut(file).unwrap();
                versions.durable = versions.now.clone();
            }
            Op::SyncAll => {
                for versions in self.files.values_mut() {
                    versions.durable = versions.now.clone();
                }
                let all = vec![true; self.pending.len()];
                self.settle(all);
            }
            Op::SyncDir(dir) => {
                let touches = |change: &Vec<(Id, String, Option<Id>)>| {
                    change.iter().any(|(of, ..)| of == dir)
                };
                let wanted: Vec<bool> = self.pending.iter().map(touches).collect();
                self.settle(wanted);
            }
        }
    }

    fn file(&mut self, id: Id) -> &mut Content {
        &mut self.files.get_mut(&id).unwrap().now
    }

    fn rename(&mut self, changes: &[(Id, String, Option<Id>)]) {
        put(&mut self.now, changes);
        self.pending.push(changes.to_vec());
    }

    /// Makes the wanted changes durable, and the earlier ones of the same names.
    fn settle(&mut self, mut wanted: Vec<bool>) {
        let mut names: HashSet<(Id, String)> = HashSet::new();
        for (at, change) in self.pending.iter().enumerate().rev() {
            wanted[at] |= change
                .iter()
                .any(|(dir, name, _)| names.contains(&(*dir, name.clone())));
            if wanted[at] {
                names.extend(change.iter().map(|(dir, name, _)| (*dir, name.clone())));
            }
        }
        let mut wanted = wanted.into_iter();
        let pending = std::mem::take(&mut self.pending);
        for change in pending {
            if wanted.next().unwrap() {
                put(&mut self.durable, &change);
            } else {
                self.pending.push(change);
            }
        }
    }

    /// Writes what is left.
    fn leave(mut self, dice: &mut Dice, root: &Path) {
        let share = [0, 3, 5, 7, 10][dice.below(5)];
        let wanted = self
            .pending
            .iter()
            .map(|_| dice.below(10) < share)
            .collect();
        self.settle(wanted);
        let mut written = HashMap::new();
        self.write_dir(ROOT, root, dice, &mut written);
    }

    fn write_dir(&self, id: Id, path: &Path, dice: &mut Dice, written: &mut HashMap<Id, PathBuf>) {
        fs::create_dir_all(path).unwrap();
        for (name, below) in &self.durable[&id] {
            let path = path.join(name);
            if self.durable.contains_key(below) {
                self.write_dir(*below, &path, dice, written);
            } else if let Some(first) = written.get(below) {
                fs::hard_link(first, &path).unwrap();
            } else {
                self.files[below].write(&path, dice);
                written.insert(*below, path);
            }
        }
    }
}

fn put(dirs: &mut HashMap<Id, BTreeMap<String, Id>>, changes: &[(Id, String, Option<Id>)]) {
    for (dir, name, id) in changes {
        let names = dirs.entry(*dir).or_default();
        match id {
            Some(id) => names.insert(name.clone(), *id),
            None => names.remove(name),
        };
    }
}

impl Versions {
    fn write(&self, path: &Path, dice: &mut Dice) {
        let (old, new) = (&self.durable.bytes, &self.now.bytes);
        let settled = old == new;
        let bytes = if settled {
            Vec::clone(new)
        } else {
            mixture(old, new, dice)
        };
        fs::write(path, bytes).unwrap();
        let modified = if dice.below(2) == 0 {
            self.durable.modified
        } else {
            self.now.modified
        };
        if let Some(modified) = modified {
            let millis = u64::try_from(modified.as_millis()).unwrap();
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_millis(millis))
                .unwrap();
        }
    }
}

/// What a cut may leave of a content that was `old` when it was synced last and `new` by now.
fn mixture(old: &[u8], new: &[u8], dice: &mut Dice) -> Vec<u8> {
    const BLOCK: usize = 4_096;
    match dice.below(6) {
        0 => old.to_vec(),
        1 => new.to_vec(),
        2 => new[..dice.below(new.len() + 1)].to_vec(),
        3 => vec![0; new.len()],
        how => {
            let mut bytes = new.to_vec();
            for (at, block) in bytes.chunks_mut(BLOCK).enumerate() {
                if dice.below(2) == 0 {
                    let from = at * BLOCK;
                    for (n, byte) in block.iter_mut().enumerate() {
                        *byte = if how == 4 {
                            old.get(from + n).copied().unwrap_or(0)
                        } else {
                            0
                        };
                    }
                }
            }
            bytes
        }
    }
}

impl Sys for Recorder {
    fn create(&self, dir: Fd<'_>, name: &str) -> Result<OwnedFd> {
        self.step(
            || RealSys.create(dir, name),
            |taken, file| {
                let made = taken.id_for(inode(file.as_fd()));
                Op::Create(taken.id(dir), name.to_owned(), made)
            },
        )
    }

    fn write(&self, file: Fd<'_>, bytes: &[u8], offset: u64) -> Result<()> {
        self.step(
            || RealSys.write(file, bytes, offset),
            |taken, ()| Op::Write(taken.id(file), offset, bytes.to_vec()),
        )
    }

    fn truncate(&self, file: Fd<'_>, len: u64) -> Result<()> {
        self.step(
            || RealSys.truncate(file, len),
            |taken, ()| Op::Truncate(taken.id(file), len),
        )
    }

    fn set_modified(&self, file: Fd<'_>, modified: Timestamp) -> Result<()> {
        self.step(
            || RealSys.set_modified(file, modified),
            |taken, ()| Op::Modified(taken.id(file), modified),
        )
    }

    fn set_public(&self, file: Fd<'_>) -> Result<()> {
        RealSys.set_public(file)
    }

    fn sync_file(&self, file: Fd<'_>) -> Result<()> {
        // Nothing of this run has to outlive a real cut.
        self.step(|| Ok(()), |taken, ()| Op::SyncFile(taken.id(file)))
    }

    fn sync_all(&self, _: Fd<'_>) -> Result<()> {
        self.step(|| Ok(()), |_, ()| Op::SyncAll)
    }

    /// Soon, for how many files come together in a run as small as these is chance.
    fn sync_all_from(&self) -> usize {
        2
    }

    fn sync_dir(&self, dir: Fd<'_>) -> Result<()> {
        self.step(|| Ok(()), |taken, ()| Op::SyncDir(taken.id(dir)))
    }

    fn mkdir(&self, dir: Fd<'_>, name: &str) -> Result<()> {
        self.step(
            || RealSys.mkdir(dir, name),
            |taken, ()| {
                let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                let inode = rustix::fs::statat(dir, name, flags).unwrap().st_ino;
                let made = taken.id_for(inode);
                Op::Mkdir(taken.id(dir), name.to_owned(), made)
            },
        )
    }

    fn rmdir(&self, dir: Fd<'_>, name: &str) -> Result<()> {
        self.step(
            || RealSys.rmdir(dir, name),
            |taken, ()| Op::Names(vec![(taken.id(dir), name.to_owned(), None)]),
        )
    }

    fn rename(&self, from_dir: Fd<'_>, from: &str, to_dir: Fd<'_>, to: &str) -> Result<()> {
        let of = |dir: Fd<'_>, name: &str| {
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::statat(dir, name, flags)
                .ok()
                .map(|stat| stat.st_ino)
        };
        // Two names of one file: the system does nothing then.
        let same = of(from_dir, from).is_some() && of(from_dir, from) == of(to_dir, to);
        self.step(
            || RealSys.rename(from_dir, from, to_dir, to),
            |taken, ()| {
                if same {
                    return Op::Names(Vec::new());
                }
                let moved = taken.id_of(to_dir, to);
                Op::Names(vec![
                    (taken.id(from_dir), from.to_owned(), None),
                    (taken.id(to_dir), to.to_owned(), Some(moved)),
                ])
            },
        )
    }

    fn link(&self, from_dir: Fd<'_>, from: &str, to_dir: Fd<'_>, to: &str) -> Result<()> {
        self.step(
            || RealSys.link(from_dir, from, to_dir, to),
            |taken, ()| {
                Op::Names(vec![(
                    taken.id(to_dir),
                    to.to_owned(),
                    Some(taken.id_of(to_dir, to)),
                )])
            },
        )
    }

    fn unlink(&self, dir: Fd<'_>, name: &str) -> Result<()> {
        self.step(
            || RealSys.unlink(dir, name),
            |taken, ()| Op::Names(vec![(taken.id(dir), name.to_owned(), None)]),
        )
    }

    fn clone(&self, _: Fd<'_>, _: Fd<'_>) -> Result<()> {
        // What a clone leaves after a cut depends on the file system; a copy is the case that all of them have.
        Err(Errno::OPNOTSUPP)
    }

    fn boot_id(&self) -> String {
        "before the cut".to_owned()
    }
}
