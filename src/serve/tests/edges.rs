//! Keys, failures, limits, and the beginning and end of a node.

use std::fs;
use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tracing_subscriber::fmt::MakeWriter;

use super::{Node, Running, asset, assets, read_reply, start};
use crate::model::{FileKind, Timestamp};
use crate::protocol::changes::parse;
use crate::protocol::{Error, uploads};

const ORIGINAL: &str = "/assets/mediadb/services/module/asset/downloads/originals/a.jpg/a.jpg";
const LISTS: [&str; 4] = [
    "cluster/listalldocs.json",
    "cluster/nextall.json",
    "cluster/pullrecentuploads.json",
    "module/asset/search.json",
];

async fn with_a_file() -> Running {
    let node = start().await;
    node.put(&[asset("a1", "a.jpg")]).await;
    node.publish(FileKind::Original, "a.jpg", b"bytes").await;
    node
}

/// `path` with these header lines in place of the key.
async fn unlocked(node: &Running, path: &str, lines: &str) -> super::Reply {
    let body = "lastpullago=1";
    let lines =
        format!("Anonymous: 1\r\nContent-Type: application/x-www-form-urlencoded\r\n{lines}");
    node.ask("POST", path, &lines, body).await
}

#[tokio::test]
async fn a_wrong_key_gets_an_error_that_keeps_watermarks_and_no_file() {
    let node = with_a_file().await;
    let (id, _) = node.key[7..].split_once('_').unwrap();
    let mut last = node.key.clone();
    let end = if last.pop() == Some('a') { 'b' } else { 'a' };
    last.push(end);
    for key in [
        "adminmd542x",
        "emsync_aaaaaaaa_x",
        &format!("emsync_{id}_"),
        &format!("emsync_{id}_{}", "a".repeat(52)),
        &last,
        &node.key.to_uppercase(),
    ] {
        let lines = format!("X-token: {key}\r\nX-tokentype: entermedia\r\n");
        for service in LISTS {
            let path = format!("/assets/mediadb/services/{service}");
            let reply = node.ask("POST", &path, &lines, "lastpullago=1").await;
            assert_eq!(reply.status, 200);
            let error = parse(&reply.body).unwrap_err();
            assert!(matches!(error, Error::Refused { .. }), "{key}: {error}");
        }
        node.ask("GET", ORIGINAL, &lines, "")
            .await
            .assert_empty(403);
        let absent = ORIGINAL.replace("a.jpg", "absent");
        node.ask("GET", &absent, &lines, "").await.assert_empty(403);
    }
    unlocked(&node, ORIGINAL, "").await.assert_empty(403);
}

#[tokio::test]
async fn a_key_is_taken_from_every_place_and_a_removed_one_from_none() {
    let node = with_a_file().await;
    let key = node.key.clone();
    let by_header = format!("X-entermedia.key: {key}\r\n");
    let by_cookie = format!("Cookie: a=b; entermedia.keyassets={key}\r\n");
    let by_query = format!("{ORIGINAL}?entermedia.key={key}");
    for (path, lines) in [
        (ORIGINAL, by_header.as_str()),
        (ORIGINAL, by_cookie.as_str()),
        (by_query.as_str(), ""),
    ] {
        assert_eq!(unlocked(&node, path, lines).await.status, 200, "{lines}");
    }
    let form = format!("lastpullago=1&entermedia.key={key}");
    let lines = "Anonymous: 1\r\n";
    let path = "/assets/mediadb/services/cluster/listalldocs.json";
    let reply = node.ask("POST", path, lines, &form).await;
    assert!(parse(&reply.body).is_ok());

    let mut batch = node.catalogue.batch().await.unwrap();
    assert!(batch.remove_key("test").await.unwrap());
    batch.commit().await.unwrap();
    node.get(ORIGINAL).await.assert_empty(403);
}

#[tokio::test]
async fn a_panic_in_a_handler_harms_one_request_only() {
    let node = with_a_file().await;
    node.clock.break_down(true);
    let reply = node.post("cluster/listalldocs.json", "lastpullago=1").await;
    assert_eq!(reply.status, 200);
    assert!(matches!(parse(&reply.body), Err(Error::Status { .. })));
    node.clock.break_down(false);
    assert_eq!(node.first(1).await.head.total, 1);
}

#[tokio::test]
async fn a_catalogue_that_fails_loses_nobody_a_window() {
    let node = with_a_file().await;
    node.catalogue.close().await;
    for service in LISTS {
        let reply = node.post(service, "lastpullago=1").await;
        assert_eq!(reply.status, 200, "{service}");
        assert!(matches!(parse(&reply.body), Err(Error::Status { .. })));
        assert!(uploads::parse(&reply.body).is_err());
        let told = String::from_utf8_lossy(&reply.body);
        assert!(
            !told.contains("catalogue") && !told.contains("pool"),
            "{told}"
        );
    }
    for path in [ORIGINAL, "/healthz"] {
        let reply = node.get(path).await;
        let length = reply.header("content-length");
        assert!(
            reply.status >= 500 && length == Some("0"),
            "{path} {}",
            reply.head
        );
    }
}

#[tokio::test]
async fn a_connection_outlives_refusals_and_files_that_are_missing() {
    let node = with_a_file().await;
    let absent = ORIGINAL.replace("a.jpg", "absent");
    let key = format!("X-token: {}\r\nX-tokentype: entermedia\r\n", node.key);
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let mut requests = String::new();
    for _ in 0..25 {
        requests += &format!("GET {absent} HTTP/1.1\r\nHost: x\r\n{key}\r\n");
        requests += &format!("GET {ORIGINAL} HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    requests += &format!("GET {ORIGINAL} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{key}\r\n");
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut replies = Vec::new();
    stream.read_to_end(&mut replies).await.unwrap();
    let replies = String::from_utf8(replies).unwrap();
    let count = |text: &str| replies.matches(text).count();
    assert_eq!((count("HTTP/1.1 404"), count("HTTP/1.1 403")), (25, 25));
    assert!(replies.ends_with("\r\n\r\nbytes"), "{replies}");
}

#[tokio::test]
async fn a_file_that_is_known_to_be_damaged_is_listed_and_given_to_nobody() {
    let node = with_a_file().await;
    let listed = node.first(1).await.records.len();
    let row = node
        .catalogue
        .files_after(FileKind::Original, None, 1)
        .await
        .unwrap()
        .remove(0);
    let note = async |at| {
        let mut batch = node.catalogue.batch().await.unwrap();
        batch.note_damage(&row.file, at).await.unwrap();
        batch.commit().await.unwrap();
    };
    note(Some(Timestamp::from_millis(5))).await;
    assert_eq!(node.get(ORIGINAL).await.status, 404);
    // Were it left out, whoever pulls from here would think that it is gone.
    assert_eq!(node.first(1).await.records.len(), listed);
    note(None).await;
    assert_eq!(node.get(ORIGINAL).await.status, 200);
}

#[tokio::test]
async fn bodies_and_heads_that_are_too_large_are_refused() {
    let node = with_a_file().await;
    let large = format!("lastpullago=1&x={}", "x".repeat(70_000));
    let reply = node.post("cluster/listalldocs.json", &large).await;
    assert_eq!(reply.status, 200);
    assert!(matches!(parse(&reply.body), Err(Error::Status { .. })));
    let chunk = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let head = "POST /assets/mediadb/services/system/systemstatus HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let reply = node
        .send(&format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}"))
        .await;
    reply.assert_empty(413);
    // The server closes on such a head without reading all of it, so the reply may be lost to a reset.
    let head = format!(
        "GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(200_000)
    );
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let mut bytes = Vec::new();
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.read_to_end(&mut bytes).await;
    assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 431"));
}

#[tokio::test]
async fn other_methods_and_other_paths_have_no_body() {
    let node = with_a_file().await;
    for path in [
        ORIGINAL,
        "/assets/mediadb/services/cluster/listalldocs.json",
        "/healthz",
    ] {
        node.ask("DELETE", path, "", "").await.assert_empty(405);
    }
    for path in [
        "/",
        "/assets",
        "/assets/mediadb/services/cluster/receive/uploadchanges.json",
    ] {
        node.get(path).await.assert_empty(404);
    }
}

#[tokio::test]
async fn what_needs_no_key_is_answered_without_one() {
    let node = with_a_file().await;
    node.put(&assets(3)).await;
    for path in ["/healthz", "//assets//healthz"] {
        let reply = node.ask("GET", path, "Anonymous: 1\r\n", "").await;
        assert_eq!((reply.status, &reply.body[..]), (200, &b"ok"[..]));
    }
    let media = node.dir.path().join("media");
    let ready = async |of: &Node| {
        let reply = super::super::ready::ready(of, &axum::http::Method::GET);
        reply.await.unwrap().status().as_u16()
    };
    assert_eq!(node.get("/readyz").await.status, 200);
    // Each is asked for the first time, since what was found holds for a second.
    let marker = media.join(".emsync/root.json");
    let hidden = media.join("hidden");
    fs::rename(&marker, &hidden).unwrap();
    assert_eq!(ready(&node.node()).await, 503, "the volume is gone");
    fs::rename(&hidden, &marker).unwrap();
    let ending = node.node();
    assert_eq!(ready(&ending).await, 200);
    ending.ending.request();
    assert_eq!(ready(&ending).await, 503, "and so at once");
    let told = async |service: &str| {
        let path = format!("/assets/mediadb/services/{service}");
        unlocked(&node, &path, "").await.json()
    };
    let status = told("system/systemstatus.json").await;
    assert_eq!(
        status["response"],
        json!({ "status": "ok", "assetscount": 4 })
    );
    assert_eq!(
        told("authentication/noaccess.json").await["errorcode"],
        "403"
    );
    let login = told("authentication/getkey.json").await;
    assert_eq!(login["results"]["status"], "invalidlogin");
}

#[tokio::test]
async fn a_table_can_be_counted_and_looked_through() {
    let node = with_a_file().await;
    node.put(&assets(40)).await;
    let gone = super::record("asset", "gone", true, json!({}));
    node.put(&[gone]).await;
    let search = async |body: String| {
        let lines = "Content-Type: application/json\r\n";
        let path = "/assets/mediadb/services/module/asset/search.json";
        node.ask("POST", path, lines, &body).await.json()
    };
    let all = search(String::new()).await;
    assert_eq!(
        (&all["response"]["totalhits"], &all["response"]["pages"]),
        (&json!(41), &json!(2))
    );
    assert_eq!(all["results"].as_array().unwrap().len(), 36);
    let term = |value: &str| json!([{ "field": "id", "operation": "matches", "value": value }]);
    let asked = json!({ "page": "5", "hitsperpage": "10", "query": { "terms": term("*") } });
    let last = search(asked.to_string()).await;
    let results = &last["results"];
    assert_eq!(
        (results.as_array().unwrap().len(), &results[0]["id"]),
        (1, &json!("n039"))
    );
    assert_eq!(results[0]["sourcepath"], "Port/39.jpg");
    for (id, hits) in [("n001", 1), ("gone", 0), ("absent", 0)] {
        let one = search(json!({ "query": { "terms": term(id) } }).to_string()).await;
        assert_eq!(one["response"]["totalhits"], hits, "{id}");
        assert_eq!(one["results"].as_array().unwrap().len(), hits, "{id}");
    }
}

#[tokio::test]
async fn the_end_waits_for_a_body_under_way_and_takes_no_new_connection() {
    let node = start().await;
    let content: Vec<u8> = (0_u32..6 << 20).flat_map(u32::to_le_bytes).collect();
    node.publish(FileKind::Original, "a.jpg", &content).await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let request = format!(
        "GET {ORIGINAL} HTTP/1.1\r\nHost: x\r\nX-token: {}\r\nX-tokentype: entermedia\r\n\r\n",
        node.key
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = vec![0; 1];
    stream.read_exact(&mut bytes).await.unwrap();
    node.shutdown.request();
    // The rest is larger than what fits between the two ends, so the server is in the middle of it now.
    stream.read_to_end(&mut bytes).await.unwrap();
    assert!(read_reply(&bytes).body == content);
    node.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(node.address).await.is_err());
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let node = start().await;
    let mut idle = TcpStream::connect(node.address).await.unwrap();
    assert_eq!(node.get("/healthz").await.status, 200);
    node.shutdown.request();
    node.task.await.unwrap().unwrap();
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_key_reaches_the_log() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    // While there is only one subscriber, tracing lets the thread that meets a statement first decide for all threads whether
    // it is of interest; other tests run beside this one without any.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    let node = with_a_file().await;
    let (key, wrong) = (node.key.clone(), "emsync_abcdefgh_wrongsecret");
    for key in [key.as_str(), wrong] {
        let lines = format!("X-entermedia.key: {key}\r\nCookie: entermedia.keyassets={key}\r\n");
        unlocked(&node, &format!("{ORIGINAL}?entermedia.key={key}"), &lines).await;
        let form = format!("lastpullago=1&entermedia.key={key}");
        node.ask(
            "POST",
            "/assets/mediadb/services/cluster/nextall",
            "Anonymous: 1\r\n",
            &form,
        )
        .await;
    }
    node.clock.set(Timestamp::EPOCH.as_millis());
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("originals/a.jpg/a.jpg") && log.contains("status=403"),
        "{log}"
    );
    let secret = key.rsplit('_').next().unwrap();
    for text in [secret, "wrongsecret", "entermedia.key", "lastpullago"] {
        assert!(!log.contains(text), "{text} in {log}");
    }
}
