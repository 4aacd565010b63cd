//! The system as a test wants it: the n-th changing call fails, every call is written down.
//!
//! Each scenario is run with the first call failing, then the second, and so on until nothing fails any more; after each run
//! the promises of the store are checked against the disk and against the written order of calls.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use rustix::io::{Errno, Result as SysResult};

use super::conformance::{Fixture, KIND, TIME, path};
use super::dirs::Resolver;
use super::*;

/// One call that succeeded, with the inodes of the directories involved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    Mkdir {
        dir: u64,
        name: String,
        made: u64,
    },
    Rename {
        from: u64,
        to: u64,
        name: String,
        file: u64,
    },
    SyncFile {
        file: u64,
    },
    SyncDir {
        dir: u64,
    },
    SyncAll,
    Other(&'static str),
}

/// The operating system, except that one call fails.
#[derive(Debug)]
pub(crate) struct Faulty {
    fail_at: usize,
    errno: Errno,
    boot: &'static str,
    gives_second_names: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    count: usize,
    fired: bool,
    healed: bool,
    calls: Vec<Call>,
    /// Syncs of everything that failed, where all of them do.
    refused: Option<usize>,
    before_name: Option<BeforeName>,
}

/// What somebody else does just before a name is given; and whether again before the next one.
struct BeforeName(Box<dyn FnMut() + Send>, bool);

impl std::fmt::Debug for BeforeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BeforeName")
    }
}

impl Faulty {
    /// Fails the call with this number, counted from 1.
    pub(crate) fn at(fail_at: usize, errno: Errno) -> Self {
        Self {
            fail_at,
            errno,
            boot: "test",
            gives_second_names: true,
            state: Mutex::default(),
        }
    }

    /// Fails nothing; claims to run in the boot named.
    pub(super) fn boot(boot: &'static str) -> Self {
        Self {
            boot,
            ..Self::at(0, Errno::IO)
        }
    }

    /// As [`Self::at`], on a file system that gives no second names.
    pub(super) fn without_links(fail_at: usize, errno: Errno) -> Self {
        Self {
            gives_second_names: false,
            ..Self::at(fail_at, errno)
        }
    }

    /// Whether the call that was to fail was reached.
    pub(crate) fn fired(&self) -> bool {
        self.state.lock().unwrap().fired
    }

    /// Has somebody else act just before the next name is given.
    pub(super) fn before_name(&self, act: impl FnOnce() + Send + 'static) {
        let mut act = Some(act);
        let once = move || act.take().into_iter().for_each(|act| act());
        self.state.lock().unwrap().before_name = Some(BeforeName(Box::new(once), false));
    }

    /// Has somebody else act just before each name is given.
    pub(super) fn before_each_name(&self, act: impl FnMut() + Send + 'static) {
        self.state.lock().unwrap().before_name = Some(BeforeName(Box::new(act), true));
    }

    /// From here on every sync of everything fails.
    pub(super) fn fail_syncs_of_everything(&self) {
        self.state.lock().unwrap().refused = Some(0);
    }

    /// How many of them did.
    pub(super) fn refused(&self) -> usize {
        self.state.lock().unwrap().refused.unwrap_or(0)
    }

    /// From here on nothing fails.
    pub(super) fn heal(&self) {
        self.state.lock().unwrap().healed = true;
    }

    fn act_before(&self) {
        let before = self.state.lock().unwrap().before_name.take();
        if let Some(BeforeName(mut act, again)) = before {
            act();
            if again {
                self.state.lock().unwrap().before_name = Some(BeforeName(act, again));
            }
        }
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.state.lock().unwrap().calls.clone()
    }

    fn fails(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.count += 1;
        let fails = state.count == self.fail_at && !state.healed;
        state.fired |= fails;
        fails
    }

    fn run<T>(
        &self,
        call: impl FnOnce() -> SysResult<T>,
        note: impl FnOnce() -> Call,
    ) -> SysResult<T> {
        if self.fails() {
            return Err(self.errno);
        }
        let answer = call()?;
        self.state.lock().unwrap().calls.push(note());
        Ok(answer)
    }
}

fn inode(fd: BorrowedFd<'_>) -> u64 {
    rustix::fs::fstat(fd).unwrap().st_ino
}

fn inode_of(dir: BorrowedFd<'_>, name: &str) -> u64 {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::statat(dir, name, flags).map_or(0, |stat| stat.st_ino)
}

type Fd<'a> = BorrowedFd<'a>;

impl Sys for Faulty {
    fn create(&self, dir: Fd<'_>, name: &str) -> SysResult<OwnedFd> {
        self.run(|| RealSys.create(dir, name), || Call::Other("create"))
    }

    fn write(&self, file: Fd<'_>, bytes: &[u8], offset: u64) -> SysResult<()> {
        if self.fails() {
            // As a full disk does it: half of the bytes are there.
            let _ = RealSys.write(file, &bytes[..bytes.len() / 2], offset);
            return Err(self.errno);
        }
        RealSys.write(file, bytes, offset)
    }

    fn truncate(&self, file: Fd<'_>, len: u64) -> SysResult<()> {
        self.run(|| RealSys.truncate(file, len), || Call::Other("truncate"))
    }

    fn set_modified(&self, file: Fd<'_>, modified: Timestamp) -> SysResult<()> {
        self.run(
            || RealSys.set_modified(file, modified),
            || Call::Other("set_modified"),
        )
    }

    fn set_public(&self, file: Fd<'_>) -> SysResult<()> {
        self.run(|| RealSys.set_public(file), || Call::Other("set_public"))
    }

    fn sync_file(&self, file: Fd<'_>) -> SysResult<()> {
        let file_inode = inode(file);
        self.run(
            || RealSys.sync_file(file),
            || Call::SyncFile { file: file_inode },
        )
    }

    fn sync_all(&self, dir: Fd<'_>) -> SysResult<()> {
        let mut state = self.state.lock().unwrap();
        if let Some(refused) = &mut state.refused {
            *refused += 1;
            return Err(Errno::IO);
        }
        drop(state);
        self.run(|| RealSys.sync_all(dir), || Call::SyncAll)
    }

    fn sync_dir(&self, dir: Fd<'_>) -> SysResult<()> {
        self.run(
            || RealSys.sync_dir(dir),
            || Call::SyncDir { dir: inode(dir) },
        )
    }

    fn mkdir(&self, dir: Fd<'_>, name: &str) -> SysResult<()> {
        let note = || Call::Mkdir {
            dir: inode(dir),
            name: name.to_owned(),
            made: inode_of(dir, name),
        };
        self.run(|| RealSys.mkdir(dir, name), note)
    }

    fn rmdir(&self, dir: Fd<'_>, name: &str) -> SysResult<()> {
        self.run(|| RealSys.rmdir(dir, name), || Call::Other("rmdir"))
    }

    fn rename(&self, from_dir: Fd<'_>, from: &str, to_dir: Fd<'_>, to: &str) -> SysResult<()> {
        self.act_before();
        let note = || Call::Rename {
            from: inode(from_dir),
            to: inode(to_dir),
            name: to.to_owned(),
            file: inode_of(to_dir, to),
        };
        self.run(|| RealSys.rename(from_dir, from, to_dir, to), note)
    }

    fn link(&self, from_dir: Fd<'_>, from: &str, to_dir: Fd<'_>, to: &str) -> SysResult<()> {
        if !self.gives_second_names {
            return Err(Errno::PERM);
        }
        self.act_before();
        self.run(
            || RealSys.link(from_dir, from, to_dir, to),
            || Call::Other("link"),
        )
    }

    fn unlink(&self, dir: Fd<'_>, name: &str) -> SysResult<()> {
        self.run(|| RealSys.unlink(dir, name), || Call::Other("unlink"))
    }

    fn boot_id(&self) -> String {
        self.boot.to_owned()
    }
}

const ERRNOS: [Errno; 4] = [Errno::NOSPC, Errno::IO, Errno::ROFS, Errno::MFILE];

/// Runs `scenario` with each call failing in turn, for each answer the system may give, until a run is clean.
pub(super) fn fail_each_call(scenario: impl Fn(Arc<Faulty>)) {
    for errno in ERRNOS {
        let mut n = 0;
        loop {
            n += 1;
            assert!(n < 500, "the scenario never gets through");
            let sys = Arc::new(Faulty::at(n, errno));
            let clean = Arc::clone(&sys);
            scenario(sys);
            if !clean.fired() {
                break;
            }
        }
        assert!(n > 10, "hardly any call was counted: {n}");
    }
}

/// Asserts that the last rename to this file was preceded by the file's sync and followed by its directory's, and that each
/// directory made on the way was synced into its parent before.
#[track_caller]
fn assert_durable(f: &Fixture, name: &str, calls: &[Call]) {
    use std::os::unix::fs::MetadataExt;
    let disk = f.on_disk(name);
    let file = std::fs::metadata(&disk).unwrap().ino();
    let dir = std::fs::metadata(disk.parent().unwrap()).unwrap().ino();
    let last = path(name).name().to_owned();
    let named = calls
        .iter()
        .rposition(|call| matches!(call, Call::Rename { to, name, file: moved, .. } if (*to, name, *moved) == (dir, &last, file)))
        .expect("it was never given its name");
    let (before, after) = calls.split_at(named);
    // One batch is all that these scenarios publish, so a sync of everything before a name is one after its content.
    assert!(
        before.contains(&Call::SyncFile { file }) || before.contains(&Call::SyncAll),
        "{name}: not synced before it was named"
    );
    assert!(
        after.contains(&Call::SyncDir { dir }) || after.contains(&Call::SyncAll),
        "{name}: its name was not synced"
    );
    for above in disk
        .ancestors()
        .skip(1)
        .take_while(|above| *above != f.on_disk("").as_path())
    {
        let inode = std::fs::metadata(above).unwrap().ino();
        for (at, call) in before.iter().enumerate() {
            if let Call::Mkdir { dir, made, name } = call
                && *made == inode
            {
                let since = &before[at..];
                assert!(
                    since.contains(&Call::SyncDir { dir: *dir }) || since.contains(&Call::SyncAll),
                    "{name}: made, not synced"
                );
            }
        }
    }
}

#[test]
fn whatever_call_fails_a_final_name_holds_the_old_bytes_or_the_new() {
    const MEMBERS: [(&str, &[u8]); 5] = [
        ("a/one", b"new one"),
        ("a/replaced", b"new two"),
        ("b/c/d/deep", b"new three"),
        ("b/c/e/other", b"new four"),
        ("kept", b"new five"),
    ];
    const OLD: [(&str, &[u8]); 2] = [("a/replaced", b"old two"), ("kept", b"old five")];
    fail_each_call(|sys| {
        sys.fail_syncs_of_everything();
        let f = Fixture::with(Resolver::Steps, Arc::clone(&sys) as Arc<dyn Sys>);
        for (name, bytes) in OLD {
            std::fs::create_dir_all(f.on_disk(name).parent().unwrap()).unwrap();
            std::fs::write(f.on_disk(name), bytes).unwrap();
        }
        let mut batch = Vec::new();
        let mut names = Vec::new();
        for (name, bytes) in MEMBERS {
            if let Ok(mut item) = f.try_item(name, bytes) {
                item.keep_replaced = name == "kept";
                batch.push(item);
                names.push((name, bytes));
            }
        }
        let answers = f.store.publish(batch);
        assert_eq!(answers.len(), names.len());
        let good = answers.iter().filter(|answer| answer.is_ok()).count();
        if sys.fired() {
            assert!(
                good > 0 || answers.is_empty(),
                "one failure took all members down"
            );
        } else {
            assert_eq!(good, MEMBERS.len(), "{answers:?}");
        }
        for ((name, bytes), answer) in names.iter().zip(&answers) {
            let old = OLD
                .iter()
                .find(|(old, _)| old == name)
                .map(|(_, bytes)| *bytes);
            let found = f.read(name);
            if answer.is_ok() {
                assert_eq!(found.as_deref(), Some(*bytes), "{name}");
                assert_durable(&f, name, &sys.calls());
            } else {
                assert!(
                    found.as_deref() == Some(*bytes) || found.as_deref() == old,
                    "{name}: {found:?}"
                );
            }
            if *name == "kept" && found.as_deref() == Some(*bytes) {
                assert_eq!(f.trashed(), [("kept".to_owned(), b"old five".to_vec())]);
            }
        }
        // Only the very call that should have removed a staged file may leave one behind, for the sweep.
        drop(answers);
        sys.heal();
        let left = f.staged_names().len();
        assert!(left <= 1, "{left} files left in staging");
        f.store
            .staging("test")
            .and_then(|staging| staging.sweep())
            .unwrap();
        assert_eq!(f.staged_names(), Vec::<String>::new());
        // A second try, with nothing failing, puts everything right.
        let again = MEMBERS.map(|(name, bytes)| f.item(name, bytes));
        assert!(f.store.publish(again.into()).iter().all(Result::is_ok));
        assert!(
            MEMBERS
                .iter()
                .all(|(name, bytes)| f.read(name).as_deref() == Some(*bytes))
        );
    });
}

#[test]
fn whatever_call_fails_a_trashed_file_is_whole_in_one_place() {
    fail_each_call(|sys| {
        let f = Fixture::with(Resolver::Steps, Arc::clone(&sys) as Arc<dyn Sys>);
        std::fs::create_dir_all(f.on_disk("a/b")).unwrap();
        std::fs::write(f.on_disk("a/b/c"), "content").unwrap();
        let answer = f.store.trash(KIND, &path("a/b/c"));
        let mut places: Vec<_> = f.trashed().into_iter().map(|(_, bytes)| bytes).collect();
        if matches!(answer, Ok(true)) {
            assert_eq!(places.len(), 1);
        }
        places.extend(f.read("a/b/c"));
        assert_eq!(places, [b"content"], "{answer:?}");
        if !sys.fired() {
            assert!(answer.unwrap());
            assert!(!f.on_disk("a").exists());
        }
    });
}

#[test]
fn whatever_call_fails_a_partial_never_holds_bytes_of_another_version() {
    fail_each_call(|sys| {
        let f = Fixture::with(Resolver::Steps, Arc::clone(&sys) as Arc<dyn Sys>);
        let transfer = |tag: &str, bytes: &[u8]| -> Result<(), Error> {
            let mut partial = f.store.staging("test")?.partial("k")?;
            if partial.tag().as_deref() != Some(tag) {
                partial.restart(Some(tag))?;
            }
            let (first, second) = bytes.split_at(bytes.len() / 2);
            for chunk in [first, second] {
                partial.append(chunk)?;
            }
            Ok(())
        };
        let _ = transfer("v1", b"aaaaaaaa");
        let _ = transfer("v2", b"bbbbbbbb");
        sys.heal();
        let partial = f.store.staging("test").unwrap().partial("k").unwrap();
        let mut bytes = Vec::new();
        partial
            .read_back(&mut |chunk| bytes.extend_from_slice(chunk))
            .unwrap();
        assert_eq!(bytes.len() as u64, partial.len());
        let expected = match partial.tag().as_deref() {
            Some("v1") => b'a',
            Some("v2") => b'b',
            _ => 0,
        };
        assert!(
            bytes.iter().all(|byte| *byte == expected),
            "{bytes:?} under {:?}",
            partial.tag()
        );
        if !sys.fired() {
            assert_eq!(bytes, b"bbbbbbbb");
        }
    });
}

#[test]
fn whatever_call_fails_among_many_together_one_name_at_most_lacks_its_bytes() {
    const MANY: usize = 10;
    let name = |n: usize| format!("d{n}/f");
    let synced_together = std::cell::Cell::new(false);
    fail_each_call(|sys| {
        let f = Fixture::with(Resolver::Steps, Arc::clone(&sys) as Arc<dyn Sys>);
        let Ok(staging) = f.store.staging("test") else {
            return;
        };
        let batch = (0..MANY).map(|n| Publish {
            content: staging.hold(name(n).into_bytes()).into(),
            kind: KIND,
            path: path(&name(n)),
            modified: TIME,
            keep_replaced: false,
        });
        let answers = f.store.publish(batch.collect());
        let failed = answers.iter().filter(|answer| answer.is_err()).count();
        assert!(failed <= 1, "{answers:?}");
        for (n, answer) in answers.iter().enumerate() {
            let found = f.read(&name(n));
            if answer.is_ok() {
                assert_eq!(found, Some(name(n).into_bytes()));
                assert_durable(&f, &name(n), &sys.calls());
            } else {
                assert!(found.is_none_or(|bytes| bytes == name(n).into_bytes()));
            }
        }
        if !sys.fired() {
            let calls = sys.calls();
            let count =
                |wanted: fn(&Call) -> bool| calls.iter().filter(|call| wanted(call)).count();
            let together = count(|call| *call == Call::SyncAll);
            let alone = count(|call| matches!(call, Call::SyncFile { .. }));
            assert!((together, alone) == (2, 0) || (together, alone) == (0, MANY));
            synced_together.set(synced_together.get() || together == 2);
        }
    });
    let root = Fixture::with(Resolver::Steps, Arc::new(RealSys));
    let root = std::fs::File::open(root.store.root()).unwrap();
    let can = RealSys.sync_all(std::os::fd::AsFd::as_fd(&root));
    assert_eq!(synced_together.get(), can.is_ok());
}

#[test]
fn a_failed_sync_of_everything_is_followed_by_one_of_each_file_and_never_asked_for_again() {
    let sys = Arc::new(Faulty::at(0, Errno::IO));
    let f = Fixture::with(Resolver::Steps, Arc::clone(&sys) as Arc<dyn Sys>);
    sys.fail_syncs_of_everything();
    for round in ["a", "b"] {
        let batch = (0..9).map(|n| f.item(&format!("{round}{n}"), b"x"));
        assert!(f.store.publish(batch.collect()).iter().all(Result::is_ok));
    }
    let calls = sys.calls();
    assert!(!calls.contains(&Call::SyncAll));
    let alone = calls
        .iter()
        .filter(|call| matches!(call, Call::SyncFile { .. }));
    assert_eq!((alone.count(), sys.refused()), (18, 1));
}

#[test]
fn a_failed_sync_drops_the_staged_bytes_and_is_not_tried_again() {
    let probe = Arc::new(Faulty::at(0, Errno::IO));
    let f = Fixture::with(Resolver::Steps, Arc::clone(&probe) as Arc<dyn Sys>);
    f.store.publish(vec![f.item("a", b"x")]).remove(0).unwrap();
    let syncs = |sys: &Faulty| {
        let calls = sys.calls();
        calls
            .iter()
            .filter(|call| matches!(call, Call::SyncFile { .. }))
            .count()
    };
    assert_eq!(syncs(&probe), 1);
    // mkdir and sync of the activity, create, write, set_modified, set_public: the seventh call is the file's sync.
    let sys = Arc::new(Faulty::at(7, Errno::IO));
    let f = Fixture::with(Resolver::Steps, Arc::clone(&sys) as Arc<dyn Sys>);
    let answer = f.store.publish(vec![f.item("a", b"x")]).remove(0);
    assert!(
        matches!(answer, Err(Error::Io { op: "sync", .. })),
        "{answer:?}"
    );
    assert_eq!(syncs(&sys), 0);
    assert!(f.read("a").is_none());
    assert_eq!(f.staged_names(), Vec::<String>::new());
}

#[test]
fn a_file_system_without_second_names_still_keeps_the_replaced_file() {
    let find = |errno: Errno, wanted: usize| {
        let sys = Arc::new(Faulty::at(wanted, errno));
        let f = Fixture::with(Resolver::Steps, Arc::clone(&sys) as Arc<dyn Sys>);
        std::fs::write(f.on_disk("a"), "old").unwrap();
        let item = f.try_item("a", b"new").map(|item| Publish {
            keep_replaced: true,
            ..item
        });
        let answer = item.and_then(|item| f.store.publish(vec![item]).remove(0));
        let linked = sys.calls().contains(&Call::Other("link"));
        (f, answer, linked)
    };
    let mut met = false;
    for n in 1..30 {
        let (f, answer, linked) = find(Errno::PERM, n);
        if answer.is_ok() && !linked {
            met = true;
            assert_eq!(f.read("a").unwrap(), b"new");
            assert_eq!(f.trashed(), [("a".to_owned(), b"old".to_vec())]);
        }
    }
    assert!(
        met,
        "the call that gives the second name was never the one to fail"
    );
}

#[test]
fn a_directory_made_by_somebody_else_is_synced_before_it_is_relied_on() {
    use std::os::unix::fs::MetadataExt;
    let sys = Arc::new(Faulty::at(0, Errno::IO));
    let f = Fixture::with(Resolver::Steps, Arc::clone(&sys) as Arc<dyn Sys>);
    std::fs::create_dir_all(f.on_disk("a/b")).unwrap();
    f.store
        .publish(vec![f.item("a/b/1", b"x")])
        .remove(0)
        .unwrap();
    let calls = sys.calls();
    for above in ["", "a"] {
        let dir = std::fs::metadata(f.on_disk(above)).unwrap().ino();
        assert!(calls.contains(&Call::SyncDir { dir }), "{above:?}");
    }
    f.store
        .publish(vec![f.item("a/b/2", b"x")])
        .remove(0)
        .unwrap();
    let later = &sys.calls()[calls.len()..];
    let syncs = later
        .iter()
        .filter(|call| matches!(call, Call::SyncDir { .. }));
    assert_eq!(syncs.count(), 1, "known directories were synced again");
}

#[test]
fn a_directory_removed_under_our_hands_is_made_again() {
    use std::os::unix::fs::MetadataExt;
    let sys = Arc::new(Faulty::at(0, Errno::IO));
    let f = Fixture::with(Resolver::Steps, Arc::clone(&sys) as Arc<dyn Sys>);
    let batch = vec![f.item("a/b/1", b"x"), f.item("a/b/2", b"y")];
    let (inner, outer) = (f.on_disk("a/b"), f.on_disk("a"));
    sys.before_name(move || {
        std::fs::remove_dir(inner).unwrap();
        std::fs::remove_dir(outer).unwrap();
    });
    assert!(f.store.publish(batch).iter().all(Result::is_ok));
    assert_eq!(f.read("a/b/1").unwrap(), b"x");
    assert_eq!(f.read("a/b/2").unwrap(), b"y");
    assert_durable(&f, "a/b/1", &sys.calls());
    assert_durable(&f, "a/b/2", &sys.calls());
    let tree = std::fs::metadata(f.on_disk("")).unwrap().ino();
    let syncs = sys.calls();
    let syncs = syncs
        .iter()
        .filter(|call| **call == Call::SyncDir { dir: tree });
    assert_eq!(syncs.count(), 2, "the second making was not synced");
}

#[test]
fn a_chunk_that_could_not_be_written_leaves_no_part_of_itself() {
    let mut met = false;
    for n in 1..20 {
        let sys = Arc::new(Faulty::at(n, Errno::NOSPC));
        let f = Fixture::with(Resolver::Steps, Arc::clone(&sys) as Arc<dyn Sys>);
        let Ok(mut partial) = f
            .store
            .staging("test")
            .and_then(|staging| staging.partial("k"))
        else {
            continue;
        };
        if partial.append(b"12345678").is_err() {
            met = true;
            assert!(partial.is_empty());
            let disk = f.store.root().join(STAGING).join("test/k.part");
            assert_eq!(std::fs::metadata(disk).unwrap().len(), 0);
        }
    }
    assert!(met, "the write was never the call to fail");
}
