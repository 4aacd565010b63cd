//! The first, second, third … changing call of a whole run fails, in each way a disk can answer; the same for commits of the
//! catalogue and for connections. After each: nothing wrong under a final name, no row without its file, the failure named
//! with path and reason, the exit code of its class; and the next run, on a disk that is well, reaches the master.
//!
//! Commits fail in `crash`, where each is a point.
//!
//! Always on is an even sample of the calls. `EMSYNC_NTH=all` fails every call of a run, and takes 50 assets instead of 20.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use emsync::cli::ExitCode;
use rustix::io::Errno;

use crate::support::disk::{Call, Disk, Fails};
use crate::support::node::chain;
use crate::support::said::say;
use crate::support::site::{Brink, Site};

/// What the disk answers, and whether that ends the pass because the next file would fare no better.
const ANSWERS: [(Errno, bool); 5] = [
    (Errno::NOSPC, true),
    (Errno::DQUOT, true),
    (Errno::ROFS, true),
    (Errno::IO, false),
    (Errno::MFILE, false),
];
/// Calls of a run that fail in turn for each answer, unless all do.
const SAMPLE: u64 = 6;
/// Cases at a time.
const AT_ONCE: usize = 4;

fn all() -> bool {
    std::env::var("EMSYNC_NTH").is_ok_and(|value| value == "all")
}

/// What came of one run with one failing call.
#[derive(Debug, Default, Clone, Copy)]
struct Came {
    fired: bool,
    /// The run went on and ended well.
    went_on: bool,
    passes: u64,
}

/// Best effort: failing, they leave something that harms nobody, and no error.
fn may_be_ignored(call: Call) -> bool {
    matches!(call, Call::Rmdir | Call::Unlink | Call::Truncate)
}

fn run(site: &Site, brink: Brink, fails: Fails, (errno, stops): (Errno, bool)) -> Came {
    let case = format!("{brink:?}, {fails:?}, {errno}");
    let disk = Arc::new(Disk::new(fails, errno));
    let dir = site.brink(brink);
    let mirror = site.open(dir, disk.clone());
    let mirror = mirror
        .map_err(|(_, error)| error)
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    let ran = site.runtime.block_on(mirror.attempt(brink.scope()));
    let began = ran.is_ok();
    let (report, error) = match ran {
        Ok(outcome) => (outcome.report, outcome.error),
        Err(error) => (Default::default(), Some(error)),
    };
    let fired = disk.fired();
    let text = error.as_ref().map(|error| chain(error)).unwrap_or_default();
    let code = error.map(|error| ExitCode::of(&anyhow::Error::new(error)));
    match (fired.first(), code) {
        (None, code) => assert_eq!(code, None, "{case}: {text}"),
        (Some(call), None) => {
            assert!(
                !stops || may_be_ignored(*call),
                "{case}: {call:?} failed and nobody said so"
            );
            // One file's failure, tried again within the pass; a file that cannot be moved away is set aside for the next one.
            assert!(
                report.quarantined <= u64::from(brink == Brink::Behind),
                "{case}"
            );
        }
        (Some(call), Some(code)) => {
            // Before a run has begun there is no other file to go on with.
            assert!(
                stops || !began,
                "{case}: {call:?} of one file ended the pass: {text}"
            );
            let reason = std::io::Error::from(errno).to_string();
            assert!(
                text.contains(&reason) && text.contains('/'),
                "{case}: {text}"
            );
            assert_eq!(code, ExitCode::Temporary, "{case}: {text}");
        }
    }
    assert_eq!(
        disk.trusted(),
        0,
        "{case}: content whose sync had failed was given a name"
    );
    disk.mend();
    let dir = site.runtime.block_on(mirror.close());
    site.assert_sound(brink, dir.path(), &case);
    Came {
        fired: !fired.is_empty(),
        went_on: code.is_none() && !fired.is_empty(),
        passes: site.recover(brink, dir, &case),
    }
}

/// How many calls a run makes when none fails.
fn calls(site: &Site, brink: Brink) -> u64 {
    let disk = Arc::new(Disk::new(Fails::Never, Errno::IO));
    let mirror = site
        .open(site.brink(brink), disk.clone())
        .map_err(|(_, error)| error)
        .unwrap();
    let outcome = site
        .runtime
        .block_on(mirror.attempt(brink.scope()))
        .unwrap();
    assert!(outcome.error.is_none(), "{outcome:?}");
    disk.calls()
}

/// Runs all cases, a few at a time.
fn each<C: Sync, R: Send>(cases: &[C], run: impl Fn(&C) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let result = run(case);
                    results.lock().unwrap().push(result);
                }
            });
        }
    });
    results.into_inner().unwrap()
}

/// Passes connections on to a server, and resets one of them once so many bytes of its replies went through.
struct Cutter {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    cut: Arc<AtomicUsize>,
}

impl Cutter {
    fn start(server: SocketAddr, nth: usize, after: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, cut) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, cuts) = (connections.clone(), cut.clone());
        // Ends with the process: nobody connects any more once its case is over.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(std::io::Result::ok) {
                let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
                let left = (number == nth).then_some(after);
                let cuts = cuts.clone();
                std::thread::spawn(move || carry(client, server, left, &cuts));
            }
        });
        Self {
            address,
            connections,
            cut,
        }
    }
}

/// Both directions of one connection, until it ends or has passed on `left` bytes of replies.
fn carry(mut client: TcpStream, server: SocketAddr, mut left: Option<usize>, cuts: &AtomicUsize) {
    let Ok(mut server) = TcpStream::connect(server) else {
        return;
    };
    let (mut asks, mut asked) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ended = std::io::copy(&mut asks, &mut asked);
        let _late = asked.shutdown(Shutdown::Write);
    });
    let mut buffer = [0; 4_096];
    while left != Some(0) {
        let most = left.unwrap_or(buffer.len()).min(buffer.len());
        let Ok(read) = server.read(&mut buffer[..most]) else {
            break;
        };
        if read == 0 || client.write_all(&buffer[..read]).is_err() {
            let _late = client.shutdown(Shutdown::Both);
            return;
        }
        left = left.map(|left| left - read);
    }
    cuts.fetch_add(1, Ordering::SeqCst);
    // Not an orderly end: what is on the way is lost, and the other side is told so.
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    let _late = server.shutdown(Shutdown::Both);
    let _late = client.shutdown(Shutdown::Both);
}

/// Brings a mirror up to date through a cutter; answers connections made, and whether one was cut.
fn through(site: &Site, brink: Brink, nth: usize, after: usize) -> (usize, bool) {
    let case = format!("{brink:?}, connection {nth} cut after {after} bytes");
    let master = site.master.url.strip_prefix("http://").unwrap();
    let server = master.split('/').next().unwrap();
    let cutter = Cutter::start(server.parse().unwrap(), nth, after);
    let dir = site.brink(brink);
    let settings = dir.path().join("r/emsync.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text.replace(server, &cutter.address.to_string())).unwrap();
    let disk = Arc::new(Disk::new(Fails::Never, Errno::IO));
    let mirror = site.open(dir, disk).map_err(|(_, error)| error).unwrap();
    let outcome = site.runtime.block_on(mirror.attempt(brink.scope()));
    let outcome = outcome.unwrap_or_else(|error| panic!("{case}: {error}"));
    // One connection is tried again within the pass.
    assert!(outcome.error.is_none(), "{case}: {outcome:?}");
    let aside = mirror.node.catalogue.set_aside(None, None, 10);
    let aside = site.runtime.block_on(aside).unwrap();
    assert!(aside.is_empty(), "{case}: {aside:?}");
    assert_eq!(outcome.report.quarantined, 0, "{case}");
    let dir = site.runtime.block_on(mirror.close());
    site.assert_sound(brink, dir.path(), &case);
    site.recover(brink, dir, &case);
    let cut = cutter.cut.load(Ordering::SeqCst) > 0;
    (cutter.connections.load(Ordering::SeqCst), cut)
}

#[test]
fn whichever_connection_of_a_run_is_reset_the_same_run_ends_it() {
    let site = Site::new(if all() { 40 } else { 10 });
    let mut cases = Vec::new();
    let mut counted = BTreeMap::new();
    for brink in [Brink::Empty, Brink::Behind] {
        let (connections, cut) = through(&site, brink, usize::MAX, 0);
        assert!(!cut && connections > 0);
        counted.insert(brink, connections);
        let steps = if all() { 24 } else { 4 };
        let bytes = (0..steps).map(|step| [0, 150, 1_000, 20_000][step % 4] + step / 4 * 400);
        cases.extend(
            (1..=connections).flat_map(|nth| bytes.clone().map(move |after| (brink, nth, after))),
        );
    }
    let cut = each(&cases, |(brink, nth, after)| {
        through(&site, *brink, *nth, *after).1
    });
    let cut = cut.into_iter().filter(|cut| *cut).count();
    say(&format!(
        "n-th socket: {counted:?} connections a run, {} cases, {cut} were cut, 0 violations",
        cases.len()
    ));
    assert!(
        cut * 2 > cases.len(),
        "hardly any connection was cut: {cut} of {}",
        cases.len()
    );
}

#[test]
fn whichever_call_of_a_run_fails_nothing_is_lost_and_the_next_run_ends_it() {
    let site = Site::new(if all() { 40 } else { 10 });
    let mut cases = Vec::new();
    let mut counted = BTreeMap::new();
    for brink in [Brink::Empty, Brink::Behind] {
        let calls = calls(&site, brink);
        counted.insert(brink, calls);
        let step = if all() { 1 } else { (calls / SAMPLE).max(1) };
        for (at, answer) in ANSWERS.iter().enumerate() {
            // Each answer begins elsewhere, so that together they hit more calls than each alone.
            let first = 1 + at as u64 % step;
            let nth = (first..=calls).step_by(usize::try_from(step).unwrap());
            cases.extend(nth.map(|n| (brink, Fails::Nth(n), *answer)));
        }
        // A failed sync is the one that proves something about the bytes.
        let syncs = if all() { 1..=60 } else { 1..=4 };
        cases.extend(syncs.map(|n| (brink, Fails::NthOf(Call::SyncFile, n), (Errno::IO, false))));
        // A disk that stays full.
        let fills = [calls / 5, calls / 2, calls * 4 / 5];
        cases.extend(fills.map(|n| (brink, Fails::From(n), (Errno::NOSPC, true))));
    }
    let came = each(&cases, |(brink, fails, answer)| {
        run(&site, *brink, *fails, *answer)
    });
    let fired = came.iter().filter(|came| came.fired).count();
    let went_on = came.iter().filter(|came| came.went_on).count();
    let passes = came.iter().map(|came| came.passes).max();
    say(&format!(
        "n-th call: {counted:?} calls a run, {} cases, {fired} fired, {went_on} were one file's and tried again, at most {passes:?} passes to recover, 0 violations",
        cases.len()
    ));
    assert!(
        fired * 10 >= cases.len() * 8,
        "hardly any call failed: {fired} of {}",
        cases.len()
    );
    assert!(went_on > 0);
}
