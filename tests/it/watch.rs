//! `emsync import --watch`: a folder that lives, by the real program over real files. Order comes from the lines that it prints.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::pair::{assert_equal, key, mirror, put, seed, sync, verify};
use crate::support::process::{Place, Ran, Running};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// A watch at work. One that says nothing for far too long is killed, so that its test fails and does not hang.
struct Watch {
    /// Goes before the process does, so that nobody kills another of its number.
    alive: mpsc::Sender<()>,
    running: Running,
}

impl Watch {
    /// Starts a watch that finds a file at rest soon, and walks the whole in its own time only.
    fn start(place: &Place, more: &[&str]) -> Self {
        let photos = place.path("photos");
        let fixed = [
            "-C",
            "m",
            "import",
            photos.to_str().unwrap(),
            "--watch",
            "--json",
        ];
        let calm = ["--settle", "300ms", "--rescan", "10h"];
        let running = place.start(&[&fixed[..], &calm[..], more].concat());
        let pid = Pid::from_raw(running.pid().try_into().unwrap()).unwrap();
        let (alive, ended) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _gone = kill_process(pid, Signal::KILL);
            }
        });
        Self { alive, running }
    }

    /// A master without anything, and a watch of the folder `photos` that has taken in the one file there.
    #[track_caller]
    fn of_new_master(place: &Place, more: &[&str]) -> Self {
        place.run(&["init", "m", "--name", "Master"]).ok();
        put(&place.path("photos"), "first.txt", b"first");
        let mut watch = Self::start(place, more);
        let (mut added, mut is_watching) = (0, false);
        while added < 1 || !is_watching {
            let said = watch.line();
            match said["what"].as_str() {
                Some("imported") => added += count(&said, "added"),
                Some("watching") => is_watching = true,
                _ => panic!("{said}"),
            }
        }
        watch
    }

    /// The next line, which is JSON.
    #[track_caller]
    fn line(&mut self) -> Value {
        match self.running.next_line() {
            Some(line) => serde_json::from_str(&line).unwrap(),
            None => panic!("it has ended: {}", self.running.errors()),
        }
    }

    /// The next line of a kind; any trouble ends the test.
    #[track_caller]
    fn next(&mut self, what: &str) -> Value {
        loop {
            let said = self.line();
            if said["what"] == what {
                return said;
            }
            assert_ne!(said["what"], "trouble", "{said}");
        }
    }

    /// What is imported until so many of a kind have come, and no more.
    #[track_caller]
    fn until(&mut self, of: &str, wanted: u64) -> Vec<Value> {
        let (mut all, mut sum) = (Vec::new(), 0);
        while sum < wanted {
            let said = self.next("imported");
            sum += count(&said, of);
            all.push(said);
        }
        assert_eq!(sum, wanted, "{all:?}");
        all
    }

    /// Stops the process where it stands; returns once it has.
    fn hold(&self) {
        self.running.signal(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.running.pid());
        // The state stands behind the name, which is in brackets.
        let is_held = || {
            let stat = fs::read_to_string(&stat).unwrap();
            stat.rsplit(')')
                .next()
                .unwrap()
                .trim_start()
                .starts_with('T')
        };
        while !is_held() {
            std::thread::yield_now();
        }
    }

    /// Sends a signal, and waits for the end.
    fn end(self, signal: Signal) -> Ran {
        self.running.signal(signal);
        drop(self.alive);
        self.running.wait()
    }
}

fn count(said: &Value, of: &str) -> u64 {
    said["report"][of].as_u64().unwrap()
}

#[test]
fn a_slow_copy_is_taken_in_once_and_whole() {
    let place = Place::new();
    let mut watch = Watch::of_new_master(&place, &[]);
    let mut slow = File::create(place.path("photos/slow.txt")).unwrap();
    let mut whole = Vec::new();
    for n in 0..5 {
        let piece = vec![b'a' + n; 100_000];
        slow.write_all(&piece).unwrap();
        whole.extend(piece);
        // Another file comes and is taken in meanwhile, long after the first one has stood still for the while.
        put(&place.path("photos"), &format!("mark-{n}.txt"), &[n]);
        let all = watch.until("added", 1);
        assert!(all.iter().all(|said| count(said, "bytes") == 1), "{all:?}");
    }
    drop(slow);
    let all = watch.until("added", 1);
    let last = all.last().unwrap();
    assert_eq!(count(last, "bytes"), whole.len() as u64, "{all:?}");
    assert_eq!(
        (count(last, "changed"), &last["whole"]),
        (0, &Value::Bool(false))
    );
    let kept = place.path("m/media/assets/catalog/originals/slow.txt");
    assert_eq!(fs::read(kept).unwrap(), whole);
    let ran = watch.end(Signal::TERM).ends(0);
    assert!(!ran.stdout.contains("\"changed\":1"), "{}", ran.stdout);
}

#[test]
fn a_rename_keeps_the_asset_and_a_delete_is_one_also_beside_a_running_node() {
    let place = Place::new();
    let mut watch = Watch::of_new_master(&place, &[]);
    put(&place.path("photos"), "b/old.txt", &[b'x'; 50_000]);
    watch.until("added", 1);
    let serving = place.serve("m");
    mirror(&place, &serving.base, &key(&place));
    seed(&place).ends(0);
    fs::create_dir(place.path("photos/c")).unwrap();
    fs::rename(
        place.path("photos/b/old.txt"),
        place.path("photos/c/new.txt"),
    )
    .unwrap();
    let all = watch.until("moved", 1);
    assert!(
        all.iter()
            .all(|said| count(said, "added") + count(said, "gone") == 0),
        "{all:?}"
    );
    let synced = sync(&place).ends(0).json();
    assert_eq!(
        (
            synced["bytes_received"].as_u64(),
            synced["deleted"].as_u64()
        ),
        (Some(0), Some(0)),
        "{synced}"
    );
    // A whole directory as well.
    fs::rename(place.path("photos/c"), place.path("photos/d")).unwrap();
    watch.until("moved", 1);
    assert_eq!(sync(&place).ends(0).json()["bytes_received"], 0);
    fs::remove_file(place.path("photos/d/new.txt")).unwrap();
    watch.until("gone", 1);
    sync(&place).ends(0);
    assert_equal(&verify(&place, &[]).ends(0).json());
    assert!(
        !place
            .path("r/media/assets/catalog/originals/d/new.txt")
            .exists()
    );
    watch.end(Signal::TERM).ends(0);
}

#[test]
fn a_burst_and_a_directory_moved_in_come_whole() {
    let place = Place::new();
    let mut watch = Watch::of_new_master(&place, &["--no-thumbs"]);
    for n in 0..2_000 {
        put(
            &place.path("photos"),
            &format!("d{}/f{n}.txt", n % 20),
            n.to_string().as_bytes(),
        );
    }
    let all = watch.until("added", 2_000);
    assert!(
        all.iter().all(|said| said["whole"] == false),
        "the kernel told of all of them"
    );
    for n in 0..30 {
        put(
            &place.path("aside"),
            &format!("deep/er/g{n}.txt"),
            n.to_string().as_bytes(),
        );
    }
    fs::rename(place.path("aside"), place.path("photos/inside")).unwrap();
    watch.until("added", 30);
    // What happens in it afterwards is heard of too.
    put(&place.path("photos"), "inside/deep/er/late.txt", b"late");
    watch.until("added", 1);
    watch.end(Signal::TERM).ends(0);
    let photos = place.path("photos");
    let whole = ["-C", "m", "import", photos.to_str().unwrap(), "--json"];
    let report = place.run(&whole).ends(0).json();
    assert_eq!(report["unchanged"], 2_032, "{report}");
}

#[test]
fn a_queue_that_overflows_is_made_up_for_by_a_walk_of_everything_which_follows_no_link() {
    let place = Place::new();
    let mut watch = Watch::of_new_master(&place, &["--no-thumbs"]);
    let photos = place.path("photos");
    put(&place.path("outside"), "secret.txt", b"of somebody else");
    symlink(place.path("outside"), photos.join("linked")).unwrap();
    symlink(place.path("outside/secret.txt"), photos.join("link.txt")).unwrap();
    watch.hold();
    // Nobody reads, and the kernel forgets what is beyond its queue. Two events alike in a row would be one.
    let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let most: u32 = most.trim().parse().unwrap();
    put(&photos, "a.txt", b"a");
    put(&photos, "b.txt", b"b");
    for n in 0..=most {
        let file = photos.join(["a.txt", "b.txt"][n as usize % 2]);
        fs::set_permissions(file, Permissions::from_mode(0o600 + n % 3)).unwrap();
    }
    put(&photos, "late.txt", b"late");
    put(&photos, "deep/er.txt", b"deep");
    put(
        &place.path("outside"),
        "later.txt",
        b"of somebody else, too",
    );
    fs::remove_file(photos.join("first.txt")).unwrap();
    watch.running.signal(Signal::CONT);
    let (mut has_missed, mut walked, mut added, mut gone) = (false, false, 0, 0);
    while (added, gone) != (4, 1) {
        let said = watch.line();
        match said["what"].as_str() {
            Some("trouble") => has_missed |= said.to_string().contains("more changed at once"),
            Some("imported") => {
                walked |= said["whole"] == true;
                (added, gone) = (added + count(&said, "added"), gone + count(&said, "gone"));
            }
            _ => panic!("{said}"),
        }
    }
    assert!(has_missed && walked, "{has_missed} {walked}");
    // It hears again, also of what is new since then.
    put(&photos, "deep/after.txt", b"after");
    watch.until("added", 1);
    watch.end(Signal::TERM).ends(0);
    let kept = place.path("m/media/assets/catalog/originals");
    let kept: BTreeSet<_> = walkdir::WalkDir::new(&kept)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| !entry.file_type().is_dir())
        .map(|entry| {
            entry
                .path()
                .strip_prefix(&kept)
                .unwrap()
                .display()
                .to_string()
        })
        .collect();
    let wanted = [
        "a.txt",
        "b.txt",
        "late.txt",
        "deep/er.txt",
        "deep/after.txt",
    ];
    assert_eq!(kept, wanted.map(str::to_owned).into());
}

#[test]
fn a_great_many_deletes_are_held_even_in_small_portions() {
    let place = Place::new();
    let mut watch = Watch::of_new_master(&place, &[]);
    for n in 0..30 {
        put(
            &place.path("photos"),
            &format!("f{n:02}.txt"),
            n.to_string().as_bytes(),
        );
    }
    watch.until("added", 30);
    // The guard of so few assets is ten, for all batches together.
    for n in 0..6 {
        fs::remove_file(place.path(&format!("photos/f{n:02}.txt"))).unwrap();
    }
    watch.until("gone", 6);
    for n in 6..12 {
        fs::remove_file(place.path(&format!("photos/f{n:02}.txt"))).unwrap();
    }
    // The first few may pass, as far as ten go.
    while count(&watch.next("imported"), "held") == 0 {}
    watch.end(Signal::TERM).ends(0);
    let left = fs::read_dir(place.path("m/media/assets/catalog/originals"))
        .unwrap()
        .count();
    assert!(left >= 31 - 10, "{left}");
    let photos = place.path("photos");
    let release = [
        "-C",
        "m",
        "import",
        photos.to_str().unwrap(),
        "--json",
        "--max-delete",
        "20",
    ];
    place.run(&release).ends(0);
    let left = fs::read_dir(place.path("m/media/assets/catalog/originals"))
        .unwrap()
        .count();
    assert_eq!(left, 31 - 12);
}

#[test]
fn a_watch_that_was_killed_goes_on_where_it_was_and_there_is_one_of_a_folder() {
    let place = Place::new();
    let mut watch = Watch::of_new_master(&place, &[]);
    put(&place.path("photos"), "seen.txt", b"seen");
    watch.until("added", 1);
    Watch::start(&place, &[]).running.wait().ends(11);
    assert_eq!(watch.end(Signal::KILL).code, None);
    // While nobody looks.
    put(&place.path("photos"), "unseen.txt", b"unseen");
    fs::remove_file(place.path("photos/seen.txt")).unwrap();
    let mut watch = Watch::start(&place, &[]);
    watch.next("watching");
    put(&place.path("photos"), "after.txt", b"after");
    let originals = place.path("m/media/assets/catalog/originals");
    let is_done = || {
        let there = |name: &str| originals.join(name).exists();
        there("unseen.txt") && there("after.txt") && !there("seen.txt")
    };
    while !is_done() {
        watch.next("imported");
    }
    watch.end(Signal::TERM).ends(0);
    place.run(&["-C", "m", "doctor"]).ends(0);
}

#[test]
fn a_folder_that_is_not_there_ends_a_watch_at_once_and_one_that_goes_is_waited_for() {
    let place = Place::new();
    let mut watch = Watch::of_new_master(&place, &[]);
    fs::rename(place.path("photos"), place.path("elsewhere")).unwrap();
    let trouble = loop {
        let said = watch.line().to_string();
        if said.contains("cannot be imported") {
            break said;
        }
    };
    assert!(trouble.contains("photos"), "{trouble}");
    put(&place.path("elsewhere"), "second.txt", b"second");
    fs::rename(place.path("elsewhere"), place.path("photos")).unwrap();
    watch.until("added", 1);
    watch.end(Signal::TERM).ends(0);
    let nowhere = ["-C", "m", "import", "../none", "--watch"];
    place.run(&nowhere).ends(2);

    // Nor does one that was empty until then, and was never walked to its end, end it when it goes.
    let place = Place::new();
    place.run(&["init", "m", "--name", "Master"]).ok();
    fs::create_dir(place.path("photos")).unwrap();
    let mut watch = Watch::start(&place, &[]);
    let hear = |watch: &mut Watch, text: &str| while !watch.line().to_string().contains(text) {};
    hear(&mut watch, "holds no file");
    fs::rename(place.path("photos"), place.path("elsewhere")).unwrap();
    hear(&mut watch, "cannot be imported");
    watch.end(Signal::TERM).ends(0);
}
