//! What `emsync serve` does by itself: real processes, real clocks, and waits for what is said, not for time.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::pair;
use crate::support::process::{Place, Serving, hears};

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

fn history(place: &Place, event: &str) -> Vec<Value> {
    let args = [
        "-C", "r", "event", "history", event, "--limit", "200", "--json",
    ];
    let runs = place.run(&args).json();
    let mut runs = runs.as_array().unwrap().clone();
    runs.reverse();
    runs
}

fn event(place: &Place, args: &[&str]) {
    place.run(&[&["-C", "r", "event"], args].concat()).ends(0);
}

#[test]
fn a_served_node_pulls_by_itself_what_its_master_got_and_a_sync_beside_it_leaves_that_to_it() {
    let place = Place::new();
    let master = pair::pair(&place, &[("a.txt", b"one")]);
    event(
        &place,
        &["add", "often", "--action", "pull", "--every", "1s"],
    );
    pair::put(&place.path("photos"), "b.txt", b"two");
    pair::import(&place, &[]).ends(0);
    // While the master stands still, the first run holds its lock and waits.
    let lock = place.path("r/state/run-master.lock");
    master.running().signal(Signal::STOP);
    let (node, since) = (place.serve("r"), std::time::Instant::now());
    while fs::read_to_string(&lock).unwrap().is_empty() && since.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
    let beside = place.run(&["-C", "r", "sync", "master"]);
    master.running().signal(Signal::CONT);
    let beside = beside.ends(11);
    for said in ["run-master is already running", "wait until it ends"] {
        assert!(beside.stderr.contains(said), "{}", beside.stderr);
    }
    hears(&node, &["often", "ended: ok"]);
    let copied = pair::mirrored(&place, "b.txt");
    assert_eq!(fs::read(copied).unwrap(), b"two");
    let runs = history(&place, "often");
    assert_eq!(runs[0]["cause"], "beat");
    assert_eq!(runs[0]["outcome"], "ok");
    assert_eq!(runs[0]["report"]["files_written"], 1);
    let log = ["-C", "r", "event", "log", &runs[0]["id"].to_string()];
    let log = place.run(&log).ok();
    assert!(
        log.contains("often (pull) begins: it is due") && log.ends_with("INFO ended: ok\n"),
        "{log}"
    );
    node.stop().ends(0);
    let fetched = |report: &Value| report["files_written"].as_u64().unwrap_or(0);
    let by_itself: u64 = (history(&place, "often").iter())
        .map(|run| fetched(&run["report"]))
        .sum();
    let after = place.run(&["-C", "r", "sync", "master", "--json"]);
    assert_eq!(
        (by_itself, fetched(&after.ends(0).json())),
        (1, 0),
        "each file once"
    );
    pair::assert_equal(&pair::verify(&place, &[]).ends(0).json());
}

/// What a node lists to whoever shows this key.
fn listing(node: &Serving, key: &str) -> String {
    let (host, site) = node
        .base
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .unwrap();
    let form = "lastpullago=9999999999999";
    let request = format!(
        "POST /{site}/mediadb/services/cluster/listalldocs.json HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nx-token: {key}\r\n\
         x-tokentype: entermedia\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    let mut stream = TcpStream::connect(host).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_changed_configuration_holds_after_a_hangup_and_a_wrong_one_changes_nothing() {
    let place = Place::new();
    let _master = pair::pair(&place, &[("a.txt", b"one")]);
    let node = place.serve("r");
    event(
        &place,
        &["add", "tidy", "--action", "empty-trash", "--every", "1h"],
    );
    node.running().signal(Signal::HUP);
    hears(&node, &["tidy", "ended: ok"]);
    let settings = place.path("r/emsync.toml");
    let good = fs::read_to_string(&settings).unwrap();
    // What cannot be taken up is said, and all else is taken up: others hear of a filter at once.
    let key = place.run(&["-C", "r", "key", "add", "reader"]).ok();
    let listed = |key: &str| listing(&node, key.trim());
    assert!(listed(&key).contains("a.txt") && !listed(&key).contains("partial"));
    let elsewhere = good.replace("[serve]\n", "[serve]\nlisten = \"127.0.0.1:7711\"\n");
    fs::write(&settings, elsewhere).unwrap();
    let narrow = ["-C", "r", "peer", "filter", "master", "--exclude", "*.txt"];
    place.run(&narrow).ends(0);
    assert!(!listed(&key).contains("partial"), "not read yet");
    node.running().signal(Signal::HUP);
    hears(&node, &["serve.listen", "stays as it was"]);
    hears(&node, &["was read again"]);
    assert!(listed(&key).contains("partial"));
    // Keys need no hangup.
    place.run(&["-C", "r", "key", "revoke", "reader"]).ends(0);
    assert!(!listed(&key).contains("a.txt"));
    fs::write(
        &settings,
        good.replace("every = \"1h\"", "every = \"soon\""),
    )
    .unwrap();
    node.running().signal(Signal::HUP);
    hears(
        &node,
        &["event.every is not valid", "the settings stay as they were"],
    );
    fs::write(&settings, &good).unwrap();
    event(&place, &["disable", "tidy"]);
    node.running().signal(Signal::HUP);
    node.stop().ends(0);
    let listed = place.run(&["-C", "r", "event", "list", "--json"]).json();
    let tidy = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["name"] == "tidy");
    assert_eq!(tidy.unwrap()["next_at"], Value::Null);
    assert_eq!(history(&place, "tidy").len(), 1);
}

#[test]
fn a_killed_run_is_in_the_history_as_interrupted_and_begins_again() {
    let place = Place::new();
    let _master = pair::pair(&place, &[("a.txt", b"one")]);
    // The peer takes connections and never answers, so that the run is in its middle for sure.
    let silence = crate::support::process::Silence::new();
    let settings = place.path("r/emsync.toml");
    let good = fs::read_to_string(&settings).unwrap();
    let (head, tail) = good.rsplit_once("base_url = \"").unwrap();
    let (url, tail) = tail.split_once('"').unwrap();
    let elsewhere = silence.base.clone();
    fs::write(&settings, format!("{head}base_url = \"{elsewhere}\"{tail}")).unwrap();
    event(
        &place,
        &["add", "hourly", "--action", "pull", "--every", "1h"],
    );
    let node = place.serve("r");
    let _held = silence.reached();
    node.running().signal(Signal::KILL);
    drop(node);
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replace(&elsewhere, url)).unwrap();
    let node = place.serve("r");
    hears(&node, &["hourly", "ended: ok"]);
    node.stop().ends(0);
    let runs = history(&place, "hourly");
    let seen: Vec<_> = runs
        .iter()
        .map(|run| json!([run["cause"], run["outcome"]]))
        .collect();
    assert_eq!(
        seen,
        [json!(["beat", "interrupted"]), json!(["again", "ok"])]
    );
}

/// A server that answers 200 and tells what it was asked.
fn listener() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (asked, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut request, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
                request.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            request.push_str(&String::from_utf8(body).unwrap());
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            reader.get_mut().write_all(answer).unwrap();
            if asked.send(request).is_err() {
                return;
            }
        }
    });
    (base, requests)
}

#[test]
fn a_good_end_is_pinged_and_a_bad_one_told_and_no_address_is_in_a_log() {
    let place = Place::new();
    let _master = pair::pair(&place, &[("a.txt", b"one")]);
    let (base, requests) = listener();
    let noted = place.path("noted");
    let settings = place.path("r/emsync.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let notify = format!(
        "[notify]\nping = \"{base}/ping/planted\"\nwebhook = \"{base}/hook/planted\"\ncommand = 'echo \"$EMSYNC_EVENT $EMSYNC_OUTCOME\" > {}'\n",
        noted.display()
    );
    fs::write(&settings, text.replace("[notify]\n", &notify)).unwrap();
    event(
        &place,
        &[
            "add",
            "good",
            "--action",
            "pull",
            "--every",
            "1h",
            "--disabled",
        ],
    );
    event(
        &place,
        &[
            "add",
            "bad",
            "--action",
            "verify",
            "--every",
            "1h",
            "--disabled",
        ],
    );
    place.run(&["-C", "r", "event", "run", "good"]).ends(0);
    let ping = requests.recv_timeout(PATIENCE).unwrap();
    assert!(ping.starts_with("GET /ping/planted HTTP/1.1"), "{ping}");
    // The master has something that is not here.
    pair::put(&place.path("photos"), "b.txt", b"two");
    pair::import(&place, &[]).ends(0);
    let bad = place
        .run(&["-C", "r", "event", "run", "bad", "--json"])
        .ends(26)
        .json();
    assert_eq!(bad["outcome"], "differs");
    let hook = requests.recv_timeout(PATIENCE).unwrap();
    let (head, body) = hook.split_once('{').unwrap();
    assert!(head.starts_with("POST /hook/planted HTTP/1.1"), "{head}");
    let body: Value = serde_json::from_str(&format!("{{{body}")).unwrap();
    assert_eq!(body["event"], "bad");
    assert_eq!(body["outcome"], "differs");
    assert!(body["detail"].as_str().unwrap().contains("differences"));
    assert_eq!(fs::read_to_string(noted).unwrap(), "bad differs\n");
    // What the end of the node cut short is told at its next start.
    let silence = crate::support::process::Silence::new();
    let address = fs::read_to_string(&settings).unwrap();
    let hook = format!("{base}/hook/planted");
    let silent = address.replace(&hook, &format!("{}/planted", silence.base));
    fs::write(&settings, silent).unwrap();
    event(&place, &["enable", "bad"]);
    let node = place.serve("r");
    let _held = silence.reached();
    node.stop().ends(0);
    event(&place, &["disable", "bad"]);
    let elsewhere = fs::read_to_string(&settings).unwrap();
    let heard = elsewhere.replace(&format!("{}/planted", silence.base), &hook);
    fs::write(&settings, heard).unwrap();
    let node = place.serve("r");
    let told = requests.recv_timeout(PATIENCE).unwrap();
    assert!(told.starts_with("POST /hook/planted HTTP/1.1"), "{told}");
    assert!(told.contains("\"event\":\"bad\""), "{told}");
    node.stop().ends(0);
    place.nobody_said("planted", "no command line has it");
}

#[test]
fn a_run_by_hand_waits_for_the_run_of_another_process() {
    let place = Place::new();
    let _master = pair::pair(&place, &[("a.txt", b"one")]);
    event(
        &place,
        &[
            "add",
            "hourly",
            "--action",
            "pull",
            "--every",
            "1h",
            "--disabled",
        ],
    );
    // Held as a sync holds it.
    let path = place.path("r/state/run-master.lock");
    let lock = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    lock.lock().unwrap();
    let mut running = place.start(&["-C", "r", "event", "run", "hourly"]);
    while let Some(line) = running.next_line() {
        if line.contains("waiting: run-master is already running") {
            break;
        }
    }
    lock.unlock().unwrap();
    running.wait().ends(0);
    assert_eq!(history(&place, "hourly")[0]["outcome"], "ok");
}

#[test]
fn a_service_manager_hears_that_the_node_is_ready_alive_reloads_and_ends() {
    let place = Place::new();
    pair::master(&place, &[("a.txt", b"one")]).stop().ends(0);
    let socket = std::os::unix::net::UnixDatagram::bind(place.path("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_emsync"));
    serve.args(["-C", place.path("m").to_str().unwrap()]);
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    serve.env("NOTIFY_SOCKET", place.path("notify"));
    let mut child = serve.stdout(std::process::Stdio::null()).spawn().unwrap();
    let hear = |wanted: &str| {
        let mut buffer = [0; 256];
        loop {
            let length = socket.recv(&mut buffer).unwrap();
            let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if said.contains(wanted) {
                return said;
            }
        }
    };
    hear("READY=1");
    hear("WATCHDOG=1");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::HUP).unwrap();
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
    hear("READY=1");
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    hear("STOPPING=1");
    assert!(child.wait().unwrap().success());
}
