//! Faults of the machine itself, each by name, with what is to come of it.
//!
//! Where the machine lets a test do it, the fault is real: a file system that is full or read-only in a mount namespace of its
//! own, limits of the process, another process that holds a lock. Where it does not, the case says so, and the same fault comes
//! from the seam of the store's system calls (`support::disk`, `nth_call`). Every case ends with a node that holds nothing wrong
//! and reaches its master in at most two passes.
//!
//! SIGKILL is in `kill`, power in `power`, a failing disk call by call in `nth_call`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use emsync::cli::ExitCode;
use emsync::model::Timestamp;
use emsync::seams::{Clock, Os, Seams};
use rustix::io::Errno;

use crate::kill::stage::Look;
use crate::support::disk::{Call, Disk, Fails};
use crate::support::node::{Mirror, chain};
use crate::support::program::{Done, Files, Program, Serving};
use crate::support::said::say;
use crate::support::site::{Brink, Site, copy};

/// What a case needs.
struct Local {
    site: Site,
}

/// One fault.
struct Case {
    /// Of the catalogue of faults.
    fault: &'static str,
    /// What is to come of it.
    expected: &'static str,
    run: fn(&Local, &str),
}

const CASES: [Case; 19] = [
    Case {
        fault: "disk full (media)",
        expected: "exit 5, the path and the reason; goes on when there is room",
        run: media_full,
    },
    Case {
        fault: "disk full (state)",
        expected: "exit 5, the catalogue opens; goes on when there is room",
        run: state_full,
    },
    Case {
        fault: "reserve reached",
        expected: "exit 5 before a byte is fetched, how many are free",
        run: reserve_reached,
    },
    Case {
        fault: "quota used up",
        expected: "the pass ends as for a full disk",
        run: quota,
    },
    Case {
        fault: "read-only (media)",
        expected: "exit 5, the path and the reason; nothing moves",
        run: read_only,
    },
    Case {
        fault: "too many open files",
        expected: "a proper exit code, nothing lost",
        run: too_many_open,
    },
    Case {
        fault: "address space limited",
        expected: "exit 0: memory does not grow with the files",
        run: little_memory,
    },
    Case {
        fault: "own file cannot be read",
        expected: "a difference to verify, which names it and why and goes on",
        run: unreadable,
    },
    Case {
        fault: "slow disk",
        expected: "the downloads wait for it",
        run: slow,
    },
    Case {
        fault: "fsync fails once",
        expected: "the bytes are fetched again and never trusted",
        run: sync_fails,
    },
    Case {
        fault: "volume missing at the start",
        expected: "exit 7 naming the marker",
        run: unmounted_before,
    },
    Case {
        fault: "volume vanishes in mid-run",
        expected: "exit 7, nothing deleted",
        run: unmounted_meanwhile,
    },
    Case {
        fault: "file changes during an import",
        expected: "what is published is what its row says; the next import takes the rest",
        run: changes_while_imported,
    },
    Case {
        fault: "file changes before verify",
        expected: "exit 26 naming it",
        run: changes_before_verify,
    },
    Case {
        fault: "two of one activity",
        expected: "exit 11",
        run: two_at_once,
    },
    Case {
        fault: "state locked by another process",
        expected: "waits, then does its work",
        run: state_locked,
    },
    Case {
        fault: "state damaged or newer",
        expected: "exit 7, the file is left alone",
        run: state_damaged,
    },
    Case {
        fault: "suspended for days in mid-run",
        expected: "ends well; leases of a dead run are taken back",
        run: suspended,
    },
    Case {
        fault: "clock set by days",
        expected: "exit 7 naming the skew; nothing moves",
        run: clock_set,
    },
];

#[test]
fn each_fault_of_the_machine_has_its_named_outcome() {
    let local = Local { site: Site::new(2) };
    let only = std::env::var("EMSYNC_LOCAL_ONLY").unwrap_or_default();
    let mut failed = Vec::new();
    for case in CASES.iter().filter(|case| case.fault.contains(&only)) {
        let run = std::panic::AssertUnwindSafe(|| (case.run)(&local, case.fault));
        let came = std::panic::catch_unwind(run);
        let word = if came.is_ok() { "ok" } else { "NOT SO" };
        say(&format!(
            "local: {word:6} {:32} {}",
            case.fault, case.expected
        ));
        if came.is_err() {
            failed.push(case.fault);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

const SEED: [&str; 3] = ["seed", "master", "--json"];

impl Local {
    /// A new mirror for the real program.
    fn mirror(&self) -> (tempfile::TempDir, Program) {
        let dir = self.site.brink(Brink::Empty);
        let node = Program::at(&dir.path().join("r"));
        (dir, node)
    }

    /// Nothing wrong, and the next runs of the real program end it.
    fn ends_well(&self, node: &Program, case: &str) {
        let look = Look::at(node, &self.site.runtime);
        look.assert_sound(&self.site.after, &Files::new(), &case);
        let first = node.run_in(&SEED, &[]);
        if first.code != Some(0) {
            let second = node.run_in(&SEED, &[]);
            assert_eq!(second.code, Some(0), "{case}: {first:?}, then {second:?}");
        }
        let look = Look::at(node, &self.site.runtime);
        assert!(look.files == self.site.after, "{case}");
        assert_eq!(look.staged, [], "{case}: left in staging");
    }
}

#[track_caller]
fn ended(done: &Done, code: i32, words: &[&str], case: &str) {
    assert_eq!(done.code, Some(code), "{case}: {done:?}");
    for word in words {
        assert!(
            done.stderr.contains(word),
            "{case}: {word:?} is not said: {done:?}"
        );
    }
}

/// Runs the program on `node` in a mount namespace of its own, where `mount` was done and `$N` is the node's directory; its
/// subdirectory `kept` is brought out of there. `None` where the system gives no such namespace.
fn in_namespace(node: &Program, kept: &str, mount: &str) -> Option<Done> {
    let allowed = Command::new("unshare").args(["-rm", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        return None;
    }
    let dir = node.dir().to_str().unwrap();
    let script = format!(
        "set -e; N={dir}; cp -a $N/{kept} $N/{kept}.inside; {mount}
         set +e; {program} -C $N seed master --json; code=$?; set -e
         rm -rf $N/{kept}.inside; cp -a $N/{kept} $N/{kept}.outside; exit $code",
        program = env!("CARGO_BIN_EXE_emsync")
    );
    let ran = Command::new("unshare")
        .args(["-rm", "sh", "-c", &script])
        .output()
        .unwrap();
    fs::remove_dir_all(node.dir().join(kept)).unwrap();
    fs::rename(
        node.dir().join(format!("{kept}.outside")),
        node.dir().join(kept),
    )
    .unwrap();
    Some(Done {
        code: ran.status.code(),
        stdout: String::from_utf8(ran.stdout).unwrap(),
        stderr: String::from_utf8(ran.stderr).unwrap(),
    })
}

fn stands_in(case: &str, why: &str) {
    say(&format!(
        "local: {case}: not for real here ({why}); the seam of the store's calls stands in"
    ));
}

/// A whole run in this process on a disk that fails: how it ended, its chain, and the node.
fn run_on(local: &Local, brink: Brink, disk: &Arc<Disk>) -> (Option<ExitCode>, String, Mirror) {
    let mirror = local.site.open(local.site.brink(brink), disk.clone());
    let mirror = mirror.map_err(|(_, error)| error).unwrap();
    let ran = local.site.runtime.block_on(mirror.attempt(brink.scope()));
    let error = match ran {
        Ok(outcome) => outcome.error,
        Err(error) => Some(error),
    };
    let text = error.as_ref().map(|error| chain(error)).unwrap_or_default();
    let code = error.map(|error| ExitCode::of(&anyhow::Error::new(error)));
    (code, text, mirror)
}

fn recovers(local: &Local, brink: Brink, mirror: Mirror, case: &str) {
    let dir = local.site.runtime.block_on(mirror.close());
    local.site.assert_sound(brink, dir.path(), case);
    local.site.recover(brink, dir, case);
}

fn ends_the_pass(local: &Local, errno: Errno, case: &str) {
    for n in [40, 120] {
        let disk = Arc::new(Disk::new(Fails::From(n), errno));
        let (code, text, mirror) = run_on(local, Brink::Empty, &disk);
        assert_eq!(code, Some(ExitCode::Temporary), "{case}: {text}");
        assert!(
            text.contains(&std::io::Error::from(errno).to_string()),
            "{case}: {text}"
        );
        disk.mend();
        recovers(local, Brink::Empty, mirror, case);
    }
}

fn media_full(local: &Local, case: &str) {
    let (_dir, node) = local.mirror();
    node.limit("reserve = \"0B\"");
    let mount = "mount -t tmpfs -o size=1400k none $N/media; cp -a $N/media.inside/. $N/media/";
    match in_namespace(&node, "media", mount) {
        Some(done) => {
            ended(&done, 5, &["no room for", "limits.reserve keeps 0"], case);
            local.ends_well(&node, case);
        }
        None => stands_in(case, "no mount namespaces"),
    }
    ends_the_pass(local, Errno::NOSPC, case);
}

fn state_full(local: &Local, case: &str) {
    let (_dir, node) = local.mirror();
    let mount = "mount -t tmpfs -o size=560k none $N/state; cp -a $N/state.inside/. $N/state/";
    match in_namespace(&node, "state", mount) {
        Some(done) => {
            ended(&done, 5, &["catalogue"], case);
            local.ends_well(&node, case);
        }
        None => say(&format!(
            "local: {case}: not for real here (no mount namespaces); failing commits in `crash` stand in"
        )),
    }
}

fn reserve_reached(local: &Local, case: &str) {
    let (_dir, node) = local.mirror();
    node.limit("reserve = \"900TiB\"");
    let done = node.run_in(&SEED, &[]);
    ended(
        &done,
        5,
        &["are free, and limits.reserve keeps", "limits.reserve"],
        case,
    );
    assert_eq!(done.json()["bytes_received"], 0, "{case}");
    let settings = node.dir().join("emsync.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replace("reserve = \"900TiB\"", "")).unwrap();
    local.ends_well(&node, case);
}

fn quota(local: &Local, case: &str) {
    stands_in(case, "no file system with quotas");
    ends_the_pass(local, Errno::DQUOT, case);
}

fn read_only(local: &Local, case: &str) {
    let (_dir, node) = local.mirror();
    let mount = "mount --bind $N/media $N/media; mount -o remount,ro,bind $N/media";
    match in_namespace(&node, "media", mount) {
        Some(done) => {
            ended(
                &done,
                5,
                &["Read-only file system", ".emsync/staging"],
                case,
            );
            assert_eq!(node.files(), Files::new(), "{case}");
            local.ends_well(&node, case);
        }
        None => stands_in(case, "no mount namespaces"),
    }
    let disk = Arc::new(Disk::new(Fails::From(60), Errno::ROFS));
    let (code, text, mirror) = run_on(local, Brink::Empty, &disk);
    assert_eq!(code, Some(ExitCode::Temporary), "{case}: {text}");
    disk.mend();
    recovers(local, Brink::Empty, mirror, case);
}

fn too_many_open(local: &Local, case: &str) {
    for files in [16, 22, 28, 34, 40] {
        let (_dir, node) = local.mirror();
        let done = node.run_under(&format!("ulimit -n {files}"), &SEED);
        let proper = done.code.is_some_and(|code| [0, 1, 5, 23].contains(&code));
        assert!(proper, "{case}, {files}: {done:?}");
        let said = done.code == Some(0) || done.stderr.len() > 20;
        assert!(
            said && !done.stderr.contains("panicked"),
            "{case}, {files}: {done:?}"
        );
        local.ends_well(&node, case);
    }
}

fn little_memory(local: &Local, case: &str) {
    let (_dir, node) = local.mirror();
    // Threads reserve far more than they use, so the bound is on what is reserved.
    let done = node.run_under("ulimit -v 1500000", &SEED);
    ended(&done, 0, &[], case);
    local.ends_well(&node, case);
    say(&format!(
        "local: {case}: by RLIMIT_AS; a cgroup of its own is not to be had without privileges"
    ));
}

fn unreadable(local: &Local, case: &str) {
    let (dir, node) = local.mirror();
    node.run_in(&SEED, &[]).well();
    let file = node
        .dir()
        .join("media/assets/catalog/originals/Noise/1/n3.bin");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let args = ["verify", "master", "--checksum", "--json"];
    let done = if rustix::process::geteuid().is_root() {
        // To root no permission means anything; nobody may read everything here but that file.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let shared = Command::new("chmod")
            .args(["-R", "a+rwX"])
            .arg(node.dir())
            .status();
        assert!(shared.unwrap().success());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
        let parents = local.site.dir.path();
        fs::set_permissions(parents, fs::Permissions::from_mode(0o755)).unwrap();
        match node.run_as_nobody(&args) {
            Some(done) => done,
            None => {
                stands_in(case, "setpriv is missing");
                return;
            }
        }
    } else {
        node.run_in(&args, &[])
    };
    assert_eq!(done.code, Some(26), "{case}: {done:?}");
    assert!(done.stdout.contains("Noise/1/n3.bin"), "{case}: {done:?}");
    assert!(
        done.stdout.contains("Permission denied"),
        "{case}: the reason is not named: {done:?}"
    );
    assert_eq!(done.json()["differences_total"], 1, "{case}: {done:?}");
}

fn slow(local: &Local, case: &str) {
    let disk = Arc::new(Disk::stalled());
    let mirror = local
        .site
        .open(local.site.brink(Brink::Empty), disk.clone());
    let mirror = mirror.map_err(|(_, error)| error).unwrap();
    let limits = &mirror.node.config.limits;
    // One file at work in each worker of both lanes, a channel of them, and a batch in the publisher's hands.
    let bound = limits.transfers + limits.transfers.div_ceil(4) + 2 * limits.publish_batch;
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            local
                .site
                .runtime
                .block_on(mirror.attempt(Brink::Empty.scope()))
        });
        disk.stands_still();
        // It stands as long as it likes: what is staged is bounded, however much is queued.
        for _ in 0..2_000 {
            std::thread::yield_now();
        }
        let created = disk.created();
        disk.go();
        let outcome = running.join().unwrap().unwrap();
        assert!(outcome.error.is_none(), "{case}: {outcome:?}");
        assert!(
            created <= bound as u64 + 4,
            "{case}: {created} files were staged before a slow disk, {bound} are bound"
        );
    });
    recovers(local, Brink::Empty, mirror, case);
}

fn sync_fails(local: &Local, case: &str) {
    let disk = Arc::new(Disk::new(Fails::NthOf(Call::SyncFile, 3), Errno::IO));
    let (code, text, mirror) = run_on(local, Brink::Empty, &disk);
    // Trusted would mean that bytes whose sync had failed got a name after all, instead of being fetched again.
    assert_eq!((code, disk.trusted()), (None, 0), "{case}: {text}");
    assert_eq!(disk.fired(), [Call::SyncFile], "{case}");
    recovers(local, Brink::Empty, mirror, case);
}

fn unmounted_before(local: &Local, case: &str) {
    let (_dir, node) = local.mirror();
    let (media, away) = (node.dir().join("media"), node.dir().join("away"));
    fs::rename(&media, &away).unwrap();
    ended(
        &node.run_in(&SEED, &[]),
        7,
        &["has no marker", "not mounted"],
        case,
    );
    // An empty mount point says no more than none.
    fs::create_dir(&media).unwrap();
    ended(
        &node.run_in(&SEED, &[]),
        7,
        &["has no marker", "not mounted"],
        case,
    );
    assert_eq!(
        fs::read_dir(&media).unwrap().count(),
        0,
        "{case}: something was written beside the volume"
    );
    fs::remove_dir(&media).unwrap();
    fs::rename(&away, &media).unwrap();
    local.ends_well(&node, case);
}

fn unmounted_meanwhile(local: &Local, case: &str) {
    for (brink, at, empty) in [
        (Brink::Empty, 90, false),
        (Brink::Behind, 60, false),
        (Brink::Behind, 130, true),
        (Brink::Behind, 175, true),
    ] {
        let dir = local.site.brink(brink);
        let (media, away) = (dir.path().join("r/media"), dir.path().join("r/away"));
        let (from, to) = (media.clone(), away.clone());
        let disk = Arc::new(Disk::beside(at, move || {
            fs::rename(&from, &to).unwrap();
            if empty {
                fs::create_dir(&from).unwrap();
            }
        }));
        let before = trashed(&media);
        let mirror = local
            .site
            .open(dir, disk)
            .map_err(|(_, error)| error)
            .unwrap();
        let outcome = local.site.runtime.block_on(mirror.attempt(brink.scope()));
        assert!(away.exists(), "{case}: the run made fewer than {at} calls");
        let error = match outcome {
            Ok(outcome) => outcome
                .error
                .unwrap_or_else(|| panic!("{case}: nobody noticed")),
            Err(error) => error,
        };
        let text = chain(&error);
        assert!(text.contains("marker"), "{case}: {text}");
        assert_eq!(
            ExitCode::of(&anyhow::Error::new(error)),
            ExitCode::Fatal,
            "{case}: {text}"
        );
        if at < 150 {
            assert_eq!(trashed(&away), before, "{case}: something was deleted");
        }
        if empty {
            assert_eq!(
                fs::read_dir(&media).unwrap().count(),
                0,
                "{case}: something was written beside the volume"
            );
            fs::remove_dir(&media).unwrap();
        }
        fs::rename(&away, &media).unwrap();
        recovers(local, brink, mirror, case);
    }
}

/// Files in the trash that were removed rather than replaced.
fn trashed(media: &Path) -> usize {
    let entries = walkdir::WalkDir::new(media.join(".emsync/trash")).into_iter();
    let files = entries
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file());
    files
        .filter(|entry| !entry.path().ends_with("Noise/1/n1.bin"))
        .count()
}

fn changes_while_imported(local: &Local, case: &str) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("photos");
    crate::support::folder::fill(&folder);
    let node = Program::init(&dir.path().join("m"), "master-0009");
    let growing = folder.join("Large/l.bin");
    let done = std::sync::atomic::AtomicBool::new(false);
    let args = ["import", folder.to_str().unwrap(), "--json"];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::io::Write as _;
            let mut file = fs::File::options().append(true).open(&growing).unwrap();
            while !done.load(Ordering::SeqCst) {
                file.write_all(b"more").unwrap();
                std::thread::yield_now();
            }
        });
        let report = node.run_in(&args, &[]);
        done.store(true, Ordering::SeqCst);
        assert!(matches!(report.code, Some(0 | 23)), "{case}: {report:?}");
    });
    let look = Look::at(&node, &local.site.runtime);
    // Each row is what lies there; a file that was refused has neither.
    look.assert_sound(&look.files, &Files::new(), &case);
    node.run_in(&args, &[]).well();
    let files = node.files();
    let original = files.iter().find(|((_, path), _)| path == "Large/l.bin");
    let size = fs::metadata(&growing).unwrap().len();
    assert_eq!(original.map(|(_, (size, _))| *size), Some(size), "{case}");
}

fn changes_before_verify(local: &Local, case: &str) {
    let (_dir, node) = local.mirror();
    node.run_in(&SEED, &[]).well();
    let file = node
        .dir()
        .join("media/assets/catalog/originals/Noise/1/n3.bin");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[17] ^= 1;
    fs::write(&file, bytes).unwrap();
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(time)
        .unwrap();
    let done = node.run_in(&["verify", "master", "--checksum", "--json"], &[]);
    assert_eq!(done.code, Some(26), "{case}: {done:?}");
    assert!(done.stdout.contains("Noise/1/n3.bin"), "{case}: {done:?}");
}

fn two_at_once(local: &Local, case: &str) {
    let (_dir, node) = local.mirror();
    let serving: Serving = node.serve("127.0.0.1:0");
    ended(
        &node.run_in(&["serve", "--listen", "127.0.0.1:0"], &[]),
        11,
        &["already running"],
        case,
    );
    drop(serving);
    // A run that stalls before its end holds its lock.
    let log = node.dir().join("log");
    let environment = [
        ("EMSYNC_CRASH", "run.ending:delay"),
        ("EMSYNC_CRASH_LOG", log.to_str().unwrap()),
    ];
    std::thread::scope(|scope| {
        let first = scope.spawn(|| Program::at(node.dir()).run_in(&SEED, &environment));
        while !fs::read_to_string(&log).is_ok_and(|text| text.contains("delay run.ending")) {
            std::thread::yield_now();
        }
        let beside = node.run_beside(&SEED);
        ended(&beside, 11, &["already running"], case);
        first.join().unwrap().well();
    });
    local.ends_well(&node, case);
}

fn state_locked(local: &Local, case: &str) {
    let (_dir, node) = local.mirror();
    let mirror = Program::at(node.dir());
    let database = node.dir().join("state/emsync.db");
    let catalogue = local
        .site
        .runtime
        .block_on(emsync::catalogue::Catalogue::open(&database))
        .unwrap();
    let held = local.site.runtime.block_on(catalogue.batch()).unwrap();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| mirror.run_in(&SEED, &[]));
        // It has the database open and cannot write to it.
        while !is_open_elsewhere(&database) {
            std::thread::yield_now();
        }
        local.site.runtime.block_on(async {
            drop(held);
            catalogue.close().await;
        });
        running.join().unwrap().well();
    });
    local.ends_well(&node, case);
}

/// Whether another process than this one has a file open.
fn is_open_elsewhere(file: &Path) -> bool {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let others = processes.filter(|entry| {
        entry
            .file_name()
            .to_str()
            .is_some_and(|name| name != own && name.parse::<u32>().is_ok())
    });
    others.into_iter().any(|process| {
        let open = fs::read_dir(process.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        open.into_iter()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == file))
    })
}

fn state_damaged(local: &Local, case: &str) {
    let (_dir, node) = local.mirror();
    node.run_in(&SEED, &[]).well();
    let database = node.dir().join("state/emsync.db");
    let good = fs::read(&database).unwrap();
    let garbage: Vec<u8> = good.iter().map(|byte| byte ^ 0x5a).collect();
    fs::write(&database, &garbage).unwrap();
    ended(&node.run_in(&SEED, &[]), 7, &["emsync.db"], case);
    assert!(
        fs::read(&database).unwrap() == garbage,
        "{case}: what is left of it was changed"
    );
    // Pages in the middle: whatever is met, it ends in order and says so, or is not met.
    let mut torn = good.clone();
    let middle = torn.len() / 3..torn.len() * 2 / 3;
    torn[middle].fill(0xff);
    fs::write(&database, &torn).unwrap();
    let done = node.run_in(&["sync", "master", "--json"], &[]);
    ended(&done, 7, &["catalogue"], case);
    fs::write(&database, &good).unwrap();
    local.site.runtime.block_on(newer(&database));
    ended(&node.run_in(&SEED, &[]), 7, &["newer version"], case);
    fs::write(&database, &good).unwrap();
    local.ends_well(&node, case);
}

/// Notes a migration that this program does not know.
async fn newer(database: &Path) {
    use sqlx::Connection as _;
    let url = format!("sqlite://{}", database.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let note = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', 1, x'00', 1)";
    sqlx::query(note).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// The system's clock and some days more.
#[derive(Debug, Default)]
struct Slept {
    days: AtomicI64,
    asked: AtomicI64,
    /// After how many looks at the clock the machine sleeps; 0 for never.
    at: i64,
}

impl Clock for Slept {
    fn now(&self) -> Timestamp {
        if self.asked.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            self.days.store(5, Ordering::SeqCst);
        }
        let days = self.days.load(Ordering::SeqCst);
        Timestamp::from_millis(Os.now().as_millis() + days * 86_400_000)
    }
}

fn seams(clock: &Arc<Slept>) -> Seams {
    Seams {
        clock: clock.clone(),
        rng: Arc::new(Os),
    }
}

/// Both nodes are on the machine that slept, so that their clocks agree.
fn suspended(local: &Local, case: &str) {
    let runtime = &local.site.runtime;
    for at in [8, 20, 40, 80] {
        let dir = tempfile::tempdir().unwrap();
        copy(&local.site.dir.path().join("m"), dir.path());
        let config = emsync::config::Config::load(&dir.path().join("m/emsync.toml")).unwrap();
        let clock = Arc::new(Slept {
            at,
            ..Slept::default()
        });
        runtime.block_on(async {
            let node = emsync::node::Node::open(config, seams(&clock))
                .await
                .unwrap();
            let master = crate::support::master::Master::serving(node, 7).await;
            let brink = local.site.brink(Brink::Behind);
            let settings = brink.path().join("r/emsync.toml");
            let text = fs::read_to_string(&settings).unwrap();
            // The key is the one of the master that this one is a copy of.
            fs::write(&settings, text.replace(&local.site.master.url, &master.url)).unwrap();
            let disk = Arc::new(Disk::new(Fails::Never, Errno::IO));
            let mirror = Mirror::open_in(brink, seams(&clock), disk).await;
            let mirror = mirror.map_err(|(_, error)| error).unwrap();
            // A run died here before the machine slept: its lease is out.
            let peer = mirror.peer().name;
            let now = mirror.node.seams.clock.now();
            let lane = emsync::catalogue::Lane::Small;
            let lease = emsync::pull::pool::LEASE;
            mirror
                .node
                .catalogue
                .claim((&peer, lane), 5, "dead", now, lease)
                .await
                .unwrap();
            let outcome = mirror.run(Brink::Behind.scope()).await;
            let error = outcome.error.as_ref().map(|error| chain(error));
            // The one look at both clocks may fall on both sides of the sleep; then the run says so, and the next goes on.
            assert!(
                error.as_ref().is_none_or(|text| text.contains("clock")),
                "{case}: {error:?}"
            );
            let outcome = mirror.run(Brink::Behind.scope()).await;
            assert!(outcome.error.is_none(), "{case}: {outcome:?}");
            mirror.assert_in_sync().await;
            mirror.close().await;
            master.end().await;
        });
        assert!(
            clock.days.load(Ordering::SeqCst) == 5,
            "{case}: it was not asked {at} times"
        );
    }
}

fn clock_set(local: &Local, case: &str) {
    let clock = Arc::new(Slept {
        at: 1,
        ..Slept::default()
    });
    let (runtime, brink) = (&local.site.runtime, Brink::Behind);
    let disk = Arc::new(Disk::new(Fails::Never, Errno::IO));
    let mirror = runtime.block_on(Mirror::open_in(
        local.site.brink(brink),
        seams(&clock),
        disk.clone(),
    ));
    let mirror = mirror.map_err(|(_, error)| error).unwrap();
    let outcome = runtime.block_on(mirror.run(brink.scope()));
    let error = outcome
        .error
        .unwrap_or_else(|| panic!("{case}: nobody noticed"));
    let text = chain(&error);
    assert!(text.contains("max_clock_skew"), "{case}: {text}");
    assert_eq!(
        ExitCode::of(&anyhow::Error::new(error)),
        ExitCode::Fatal,
        "{case}"
    );
    assert_eq!(outcome.report.files_written, 0, "{case}");
    recovers(local, brink, mirror, case);
}
