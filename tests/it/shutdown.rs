//! Signals: whatever goes on, a process ends within 30 s of the first and at once on the second, and nothing that was kept is
//! fetched again. And who may run beside whom (design section 8, Processes).
//!
//! Moments come from bytes that a slow proxy let through, from files that appear and from lines that are said.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use emsync::node::Lock;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::pair::{
    assert_equal, import, key, master, mirror, mirrored, put, seed, verify,
};
use crate::support::process::{Place, Ran, Running, Serving, Silence};
use crate::support::proxy::{Proxy, Sent};
use crate::support::said::say;

/// What the issue promises.
const LIMIT: Duration = Duration::from_secs(30);
/// What the program allows itself.
const PATIENCE: Duration = Duration::from_secs(25);

/// Bytes that nothing compresses.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}

/// Looks again until something is so; a process that ended on the way fails the test.
#[track_caller]
fn until(running: &Running, what: &str, is_so: impl Fn() -> bool) {
    while !is_so() {
        let ended = running.has_ended();
        assert!(
            !ended || is_so(),
            "ended before {what}: {}",
            running.errors()
        );
        std::thread::yield_now();
    }
}

/// Asks a process to end; how it ended, and how long that took.
#[track_caller]
fn asked(running: Running, signal: Signal) -> (Ran, Duration) {
    let began = Instant::now();
    running.signal(signal);
    let ran = running.wait();
    let took = began.elapsed();
    assert!(took < LIMIT, "{} took {took:?}", ran.line);
    (ran, took)
}

/// A serving master, a proxy that lets its bytes through slowly, and a mirror behind it.
///
/// Dropped in this order: processes before the directory that they live in.
struct Slow {
    serving: Serving,
    proxy: Proxy,
    runtime: Runtime,
    place: Place,
}

impl Slow {
    fn new(files: &[(&str, &[u8])], bytes_per_second: u64) -> Self {
        let place = Place::new();
        let serving = master(&place, files);
        let runtime = Runtime::new().unwrap();
        let address: SocketAddr = address(&serving.base).parse().unwrap();
        let proxy = {
            let _entered = runtime.enter();
            Proxy::start(address, bytes_per_second).unwrap()
        };
        let base = format!("http://{}/assets", proxy.address);
        mirror(&place, &base, &key(&place));
        Self {
            place,
            serving,
            runtime,
            proxy,
        }
    }

    fn until(&self, enough: impl Fn(&Sent) -> bool) {
        self.runtime.block_on(self.proxy.until(enough));
    }

    /// From now on the mirror asks the master itself.
    fn hurry(&self) {
        let settings = self.place.path("r/emsync.toml");
        let slow = format!("http://{}/assets", self.proxy.address);
        let text = fs::read_to_string(&settings).unwrap();
        assert!(text.contains(&slow));
        fs::write(settings, text.replace(&slow, &self.serving.base)).unwrap();
    }

    /// The next run must end well and bring no byte again that is here; answers what it brought.
    #[track_caller]
    fn assert_goes_on(&self, total: u64, kept: u64) -> u64 {
        self.hurry();
        let report = seed(&self.place).ends(0).json();
        let received = report["bytes_received"].as_u64().unwrap();
        assert!(
            received <= total - kept + 1,
            "{received} of {total} were fetched, {kept} were here"
        );
        assert_equal(&verify(&self.place, &["--checksum"]).ends(0).json());
        received
    }
}

fn address(base: &str) -> &str {
    let rest = base.strip_prefix("http://").unwrap();
    rest.split('/').next().unwrap()
}

/// Sizes of all files below a directory of the place whose names end so.
fn sizes(place: &Place, below: &str, suffix: &str) -> u64 {
    let entries = walkdir::WalkDir::new(place.path(below)).into_iter();
    let files = entries.filter_map(Result::ok).filter(|entry| {
        entry.file_type().is_file() && entry.file_name().to_string_lossy().ends_with(suffix)
    });
    files
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| meta.len())
        .sum()
}

const SEED: [&str; 4] = ["-C", "r", "seed", "master"];

#[test]
fn a_seed_that_is_asked_to_end_in_a_large_file_keeps_its_beginning() {
    let large = noise(12 << 20, 1);
    let slow = Slow::new(&[("large.bin", &large)], 2 << 20);
    let running = slow.place.start(&SEED);
    slow.until(|sent| sent.media >= 4 << 20);
    let (ran, took) = asked(running, Signal::TERM);
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    let partial = sizes(&slow.place, "r/media/.emsync/staging", ".part");
    assert!(partial >= 2 << 20, "only {partial} bytes are kept");
    assert!(!mirrored(&slow.place, "large.bin").exists());
    let received = slow.assert_goes_on(large.len() as u64, partial);
    say(&format!(
        "large file: ended in {took:?}, {partial} of {} kept, {received} fetched by the next run",
        large.len()
    ));
}

#[test]
fn a_seed_that_is_asked_to_end_among_small_files_keeps_those_it_has() {
    let files: Vec<_> = (0..150)
        .map(|n| (format!("d/{n:03}.bin"), noise(40_000, n)))
        .collect();
    let files: Vec<_> = files
        .iter()
        .map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
        .collect();
    let slow = Slow::new(&files, 1 << 20);
    let running = slow.place.start(&SEED);
    slow.until(|sent| sent.media >= 2 << 20);
    let (ran, took) = asked(running, Signal::INT);
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    let kept = sizes(&slow.place, "r/media/assets", "");
    assert!(kept >= 1 << 20, "only {kept} bytes are kept");
    let received = slow.assert_goes_on(150 * 40_000, kept);
    say(&format!(
        "small files: ended in {took:?}, {kept} of 6000000 kept, {received} fetched by the next run"
    ));
}

#[test]
fn a_listing_or_a_comparison_that_is_slow_ends_when_it_is_asked_to() {
    let files: Vec<_> = (0..60)
        .map(|n| (format!("{n:02}.txt"), vec![n; 100]))
        .collect();
    let files: Vec<_> = files
        .iter()
        .map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
        .collect();
    // A listing of 60 kB takes half a minute.
    let slow = Slow::new(&files, 8 << 10);
    for command in [&SEED[..], &["-C", "r", "verify", "master", "--report", "x"]] {
        let before = slow.proxy.sent().other;
        let running = slow.place.start(command);
        slow.until(|sent| sent.other > before + 4_096);
        let (ran, took) = asked(running, Signal::TERM);
        assert_eq!(ran.code, Some(130), "{}", ran.stderr);
        say(&format!("{}: ended in {took:?}", ran.line));
    }
    assert!(!slow.place.path("r/x").exists());
    slow.assert_goes_on(6_000, 0);
}

#[test]
fn an_end_among_renditions_leaves_the_original_and_the_next_run_makes_them() {
    let side = 1_600;
    let pixels = image::RgbImage::from_raw(side, side, noise((side * side * 3) as usize, 5));
    let mut png = std::io::Cursor::new(Vec::new());
    pixels
        .unwrap()
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    let png = png.into_inner();
    let place = Place::new();
    place.run(&["init", "m", "--name", "Master"]).ends(0);
    put(&place.path("photos"), "big.png", &png);
    import(&place, &["--no-thumbs"]).ends(0);
    let serving = place.serve("m");
    mirror(&place, &serving.base, &key(&place));
    let settings = place.path("r/emsync.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("base_url"))
        .unwrap();
    let text = text.replace(line, &format!("{line}\ngenerated = \"rebuild\""));
    fs::write(&settings, text).unwrap();
    let running = place.start(&SEED);
    let original = mirrored(&place, "big.png");
    until(&running, "the original was there", || original.exists());
    let (ran, took) = asked(running, Signal::TERM);
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    let report = seed(&place).ends(0).json();
    assert_eq!(report["bytes_received"], 0, "{report}");
    assert!(sizes(&place, "r/media/assets/catalog/generated", ".webp") > 0);
    say(&format!("renditions: ended in {took:?}"));
}

#[test]
fn an_import_that_is_asked_to_end_is_finished_by_the_next_one() {
    let place = Place::new();
    place.run(&["init", "m", "--name", "Master"]).ends(0);
    for n in 0..1_500 {
        put(
            &place.path("photos"),
            &format!("{n:04}.bin"),
            &noise(20_000, n),
        );
    }
    let photos = place.path("photos");
    let running = place.start(&["-C", "m", "import", photos.to_str().unwrap()]);
    let tree = "m/media/assets/catalog/originals";
    until(&running, "something was imported", || {
        let mut entries = fs::read_dir(place.path(tree)).unwrap();
        entries.next().is_some()
    });
    let (ran, took) = asked(running, Signal::TERM);
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    let kept = sizes(&place, tree, "") / 20_000;
    assert!(kept < 1_500, "it was too fast to be hit");
    import(&place, &[]).ends(0);
    assert_eq!(sizes(&place, tree, ""), 1_500 * 20_000);
    let alone = ["-C", "m", "verify", "--checksum", "--report", "x"];
    place.run(&alone).ends(0);
    say(&format!(
        "import: ended in {took:?} with {kept} of 1500 files"
    ));
}

/// A process that waits for a reader of its output, on the thread that drives everything: nothing inside it can end it.
fn stuck(place: &Place) -> Running {
    place.run(&["init", "m", "--name", "Master"]).ends(0);
    for n in 0..400 {
        put(&place.path("photos"), &format!("{n:04}.txt"), b"x");
    }
    import(place, &[]).ends(0);
    let running = place.start(&["-C", "m", "-v", "record", "list", "asset", "--json"]);
    // No pipe holds all that it has to say.
    until(&running, "it had begun", || running.unread() > 0);
    running
}

#[test]
fn a_second_signal_ends_at_once_what_cannot_end_by_itself() {
    let place = Place::new();
    let running = stuck(&place);
    running.signal(Signal::TERM);
    until(&running, "it had heard", || {
        running.errors().contains("asked to end")
    });
    let began = Instant::now();
    running.signal(Signal::INT);
    while !running.has_ended() {
        std::thread::yield_now();
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    let ran = running.wait().ends(130);
    assert!(ran.stderr.contains("second signal"), "{}", ran.stderr);
    say(&format!("second signal: ended in {took:?}"));
}

#[test]
fn one_signal_ends_within_its_time_what_cannot_end_by_itself() {
    let place = Place::new();
    let running = stuck(&place);
    let began = Instant::now();
    running.signal(Signal::TERM);
    while !running.has_ended() {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let took = began.elapsed();
    assert!(took >= PATIENCE && took < LIMIT, "{took:?}");
    let ran = running.wait().ends(130);
    assert!(ran.stderr.contains("too long"), "{}", ran.stderr);
    say(&format!("watchdog: ended in {took:?}"));
}

#[test]
fn a_server_ends_in_time_although_a_client_takes_nothing() {
    use std::io::{Read as _, Write as _};
    let place = Place::new();
    let serving = master(&place, &[("large.bin", &noise(24 << 20, 3))]);
    let key = key(&place);
    let mut client = std::net::TcpStream::connect(address(&serving.base)).unwrap();
    let path = "/assets/mediadb/services/module/asset/downloads/originals/large.bin/large.bin";
    write!(
        client,
        "GET {path} HTTP/1.1\r\nHost: x\r\nX-token: {k}\r\nX-tokentype: entermedia\r\nentermedia.key: {k}\r\n\r\n",
        k = key.trim()
    )
    .unwrap();
    let mut head = [0; 12];
    client.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200", "the download has begun");
    let began = Instant::now();
    let ran = serving.stop().ends(0);
    let took = began.elapsed();
    assert!(took < LIMIT, "{took:?}");
    assert!(ran.stderr.contains("took too long"), "{}", ran.stderr);
    say(&format!("serve: ended in {took:?}"));
}

/// A command beside a running one: its arguments, how it ends, and who is in its way when that is 11.
type Beside<'a> = (&'a [&'a str], i32, u32);

#[track_caller]
fn assert_beside(place: &Place, holder: &str, table: &[Beside<'_>]) {
    for (args, code, pid) in table {
        let ran = place.run(args);
        let line = format!("{} beside {holder}", ran.line);
        assert_eq!(
            ran.code,
            Some(*code),
            "{line}: {}{}",
            ran.stdout,
            ran.stderr
        );
        if *code == 11 {
            let names = ran.stderr.contains(&format!("process {pid} "));
            assert!(
                names && ran.stderr.contains("already running"),
                "{line}: {}",
                ran.stderr
            );
        }
    }
    say(&format!("beside {holder}: {} commands", table.len()));
}

#[test]
fn activities_exclude_their_like_and_nothing_else() {
    let place = Place::new();
    let serving = master(&place, &[("a.txt", b"one")]);
    let photos = place.path("photos").to_str().unwrap().to_owned();
    let serves = serving.running().pid();
    let listen = ["-C", "m", "serve", "--listen", "127.0.0.1:0"];
    let rebuild_m = ["-C", "m", "doctor", "--rebuild"];
    let table: &[Beside<'_>] = &[
        (&listen, 11, serves),
        (&rebuild_m, 11, serves),
        (&["-C", "m", "import", &photos], 0, 0),
        (&["-C", "m", "key", "add", "k"], 0, 0),
        (&["-C", "m", "key", "list"], 0, 0),
        (&["-C", "m", "key", "revoke", "k"], 0, 0),
        (&["-C", "m", "status"], 0, 0),
        (&["-C", "m", "record", "list", "asset"], 0, 0),
        (&["-C", "m", "verify", "--report", "x"], 0, 0),
        (&["-C", "m", "verify", "--against", "x"], 0, 0),
        (&["-C", "m", "doctor"], 0, 0),
        (&["-C", "m", "peer", "list"], 0, 0),
        (&["-C", "m", "sync"], 2, 0),
    ];
    assert_beside(&place, "serve", table);

    let importing = Lock::take(&place.path("m/state"), "import").unwrap();
    let us = std::process::id();
    let table: &[Beside<'_>] = &[
        (&["-C", "m", "import", &photos], 11, us),
        (&["-C", "m", "status"], 0, 0),
        (&["-C", "m", "doctor"], 0, 0),
    ];
    assert_beside(&place, "import", table);
    drop(importing);
    place.run(&["-C", "m", "import", &photos]).ends(0);

    let (one, two) = (Silence::new(), Silence::new());
    mirror(&place, &one.base, "key\n");
    let add = [
        "peer",
        "add",
        "other",
        "--url",
        &two.base,
        "--key-file",
        "key.txt",
    ];
    place.run(&[&["-C", "r"], &add[..]].concat()).ends(0);
    let seeding = place.start(&["-C", "r", "seed", "master"]);
    let _first = one.reached();
    let syncing = place.start(&["-C", "r", "sync", "other"]);
    let _second = two.reached();
    let (first, second) = (seeding.pid(), syncing.pid());
    let report = place.path("r/report.json");
    let report = report.to_str().unwrap();
    let table: &[Beside<'_>] = &[
        (&["-C", "r", "seed", "master"], 11, first),
        (&["-C", "r", "sync", "master"], 11, first),
        (&["-C", "r", "pull", "master"], 11, first),
        (&["-C", "r", "seed", "other"], 11, second),
        (&["-C", "r", "sync", "other"], 11, second),
        (&["-C", "r", "sync"], 11, second),
        (&["-C", "r", "doctor", "--rebuild", "-n"], 11, first),
        (&["-C", "r", "import", &photos], 0, 0),
        (&["-C", "r", "status"], 0, 0),
        (&["-C", "r", "doctor"], 0, 0),
        (&["-C", "r", "verify", "--report", report], 0, 0),
        (&["-C", "r", "verify", "--against", report], 0, 0),
        (&["-C", "r", "record", "list", "asset"], 0, 0),
        (&["-C", "r", "key", "add", "k"], 0, 0),
        (&["-C", "r", "peer", "show", "master"], 0, 0),
    ];
    assert_beside(&place, "two runs", table);
    let looked: Value = place.run(&["-C", "r", "doctor", "--json"]).ends(0).json();
    let checks = looked["checks"].as_array().unwrap();
    let locks = checks.iter().find(|check| check["name"] == json!("locks"));
    let said = locks.unwrap()["detail"].as_str().unwrap();
    assert_eq!(
        said,
        format!("run-master by process {first}, run-other by process {second}")
    );
    let mut serve = place.start(&["-C", "r", "serve", "--listen", "127.0.0.1:0"]);
    assert!(serve.next_line().is_some(), "{}", serve.errors());
    for running in [seeding, syncing] {
        asked(running, Signal::TERM).0.ends(130);
    }
    asked(serve, Signal::TERM).0.ends(0);
}
