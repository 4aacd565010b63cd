//! What a node tells Prometheus, and whom.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::support::pair;
use crate::support::process::{Place, Serving};

/// Asks for the metrics with more headers; answers the status line and the body.
fn scrape(serving: &Serving, headers: &str) -> (String, String) {
    let host = serving.base.strip_prefix("http://").unwrap();
    let host = host.split('/').next().unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let request =
        format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// A line's name and labels, and its value.
fn sample(line: &str) -> Option<(&str, f64)> {
    let (name, value) = line.rsplit_once(' ')?;
    Some((name, value.parse().ok()?))
}

/// Samples by name and labels.
fn samples(body: &str) -> BTreeMap<&str, f64> {
    assert!(body.trim_end().ends_with("# EOF"), "{body}");
    let lines = body
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.filter_map(sample).collect()
}

#[test]
fn a_node_tells_how_it_stands_to_its_own_machine_and_to_who_has_a_key() {
    let place = Place::new();
    let _master = pair::pair(&place, &[("a.txt", b"one"), ("b.txt", b"two")]);
    let add = [
        "-C", "r", "event", "add", "proof", "--action", "verify", "--cron", "@yearly",
    ];
    place.run(&add).ends(0);
    place.run(&["-C", "r", "event", "run", "proof"]).ends(0);
    let key = place.run(&["-C", "r", "key", "add", "monitor"]).ok();
    let node = place.serve("r");
    let (status, body) = scrape(&node, "");
    assert_eq!(status, "HTTP/1.1 200 OK");
    let found = samples(&body);
    // The node is young: whatever it has was published in the last minutes.
    let unread = found["emsync_scrub_oldest_verified_seconds"];
    assert!((0.0..3_600.0).contains(&unread), "{unread}");
    for (name, value) in [
        ("emsync_files{layer=\"originals\"}", 2.0),
        ("emsync_files_bytes{layer=\"originals\"}", 6.0),
        ("emsync_damaged_files", 0.0),
        ("emsync_peer_in_sync{peer=\"master\"}", 1.0),
        (
            "emsync_parity_differences{peer=\"master\",layer=\"records\"}",
            0.0,
        ),
        (
            "emsync_queue_items{peer=\"master\",way=\"in\",state=\"open\"}",
            0.0,
        ),
        ("emsync_oldest_unsynced_seconds{peer=\"master\"}", 0.0),
        (
            "emsync_event_last_outcome{event=\"proof\",outcome=\"ok\"}",
            1.0,
        ),
        (
            "emsync_event_last_outcome{event=\"proof\",outcome=\"failed\"}",
            0.0,
        ),
        ("emsync_event_running{event=\"proof\"}", 0.0),
        ("emsync_downloaded_bytes_total", 0.0),
        ("emsync_hash_mismatches_total", 0.0),
        ("emsync_retries_total", 0.0),
        ("emsync_renditions_made_total", 0.0),
        ("emsync_renditions_failed_total", 0.0),
        ("emsync_peer_paused{peer=\"master\"}", 0.0),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name} in {body}");
    }
    for name in [
        "emsync_process_resident_memory_bytes",
        "emsync_last_success_timestamp_seconds{peer=\"master\"}",
    ] {
        assert!(
            found.get(name).is_some_and(|value| *value > 0.0),
            "{name} in {body}"
        );
    }
    // Whoever is behind a proxy is not of this machine, and is told nothing without a key.
    let far = "x-forwarded-for: 192.0.2.1\r\n";
    assert_eq!(scrape(&node, far).0, "HTTP/1.1 404 Not Found");
    let wrong = format!("{far}authorization: Bearer emsync_aaaaaaaa_b\r\n");
    assert_eq!(scrape(&node, &wrong).0, "HTTP/1.1 404 Not Found");
    let right = format!("{far}authorization: Bearer {}\r\n", key.trim());
    assert_eq!(scrape(&node, &right).0, "HTTP/1.1 200 OK");
    // A part that is equal in what it holds is what it is to be.
    let narrow = ["-C", "r", "peer", "filter", "master", "--exclude", "b.txt"];
    place.run(&narrow).ends(0);
    place.run(&["-C", "r", "verify", "master"]).ends(0);
    place.run(&["-C", "r", "peer", "pause", "master"]).ends(0);
    let (_, body) = scrape(&node, "");
    let found = samples(&body);
    assert_eq!(found["emsync_peer_in_sync{peer=\"master\"}"], 1.0);
    assert_eq!(found["emsync_peer_paused{peer=\"master\"}"], 1.0);
    node.stop().ends(0);
}
