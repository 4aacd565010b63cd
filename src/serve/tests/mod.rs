//! A real node on port 0 and a client that sends exactly the bytes it is told to, for the tests of this area.

mod digests;
mod downloads;
mod edges;
mod lists;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Error, Node, Settings, make_key, run};
use crate::catalogue::{Catalogue, Scope};
use crate::config::Limits;
use crate::model::{
    AssetId, CatalogId, FileKind, MediaFile, MediaPath, Module, NodeId, Record, RecordKey,
    RecordStatus, Sha256, Timestamp,
};
use crate::protocol::changes::{ChangesPage, parse};
use crate::protocol::record::stamped;
use crate::seams::{Clock, Os, Seams};
use crate::shutdown::Shutdown;
use crate::store::{Publish, RealSys, Store};
use crate::throttle::Throttle;

pub(super) const NOW: i64 = 1_800_000_000_000;
const FORM: &str = "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n";

/// A clock that stands still until it is set, and panics on demand.
#[derive(Debug)]
pub(super) struct Hands {
    now: AtomicI64,
    broken: AtomicBool,
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        assert!(!self.broken.load(Ordering::SeqCst), "the clock is broken");
        Timestamp::from_millis(self.now.load(Ordering::SeqCst))
    }
}

/// A node that runs.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) key: String,
    pub(super) catalogue: Catalogue,
    pub(super) store: Store,
    pub(super) clock: Arc<Hands>,
    pub(super) shutdown: Shutdown,
    pub(super) task: JoinHandle<Result<(), Error>>,
    dir: tempfile::TempDir,
}

pub(super) async fn start() -> Running {
    start_with(&[]).await
}

pub(super) async fn start_with(relay: &[&str]) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let (root, node) = (dir.path().join("media"), NodeId::new("node-a").unwrap());
    let catalog = CatalogId::new("assets/catalog").unwrap();
    Store::init(&root, &catalog, &node).unwrap();
    let store = Store::open(&root, &catalog, Arc::new(RealSys)).unwrap();
    let catalogue = Catalogue::open(&dir.path().join("emsync.db"))
        .await
        .unwrap();
    let clock = Arc::new(Hands {
        now: AtomicI64::new(NOW),
        broken: AtomicBool::new(false),
    });
    let seams = Seams {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        rng: Arc::new(Os),
    };
    let (row, key) = make_key(&seams, "test", Scope::Read, clock.now());
    let mut batch = catalogue.batch().await.unwrap();
    batch.put_key(&row).await.unwrap();
    batch.commit().await.unwrap();
    let (listener, shutdown) = (
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        Shutdown::new(),
    );
    let address = listener.local_addr().unwrap();
    let node = Node::new(
        settings(relay),
        catalogue.clone(),
        store.clone(),
        seams.clone(),
        unthrottled(&seams),
    );
    let task = tokio::spawn(run(listener, node, shutdown.clone()));
    Running {
        address,
        key,
        catalogue,
        store,
        clock,
        shutdown,
        task,
        dir,
    }
}

fn settings(relay: &[&str]) -> Settings {
    Settings {
        node: NodeId::new("node-a").unwrap(),
        site: "assets".to_owned(),
        catalog: CatalogId::new("assets/catalog").unwrap(),
        relay_tables: relay
            .iter()
            .map(|name| Module::new(*name).unwrap())
            .collect(),
        per_page: 5,
        margin: Duration::from_secs(60),
    }
}

impl Hands {
    pub(super) fn set(&self, ms: i64) {
        self.now.store(ms, Ordering::SeqCst);
    }

    pub(super) fn break_down(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }
}

/// A reply, read to the end of the connection.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    #[track_caller]
    pub(super) fn assert_empty(&self, status: u16) {
        let length = self.header("content-length");
        assert_eq!((self.status, length), (status, Some("0")), "{}", self.head);
        assert_eq!(self.body, b"");
    }
}

fn unthrottled(seams: &Seams) -> Throttle {
    Throttle::new(&Limits::default(), seams.clock.clone())
}

impl Running {
    /// Another node over the same catalogue and store, to be asked without a connection.
    pub(super) fn node(&self) -> Node {
        let (catalogue, store) = (self.catalogue.clone(), self.store.clone());
        let seams = Seams::os();
        let throttle = unthrottled(&seams);
        Node::new(settings(&[]), catalogue, store, seams, throttle)
    }

    /// Sends a request for `path` with further header lines, each ended by CR LF, and the key unless they hold one.
    pub(super) async fn ask(&self, method: &str, path: &str, lines: &str, body: &str) -> Reply {
        let key = if lines.to_lowercase().contains("x-token") || lines.contains("Anonymous") {
            String::new()
        } else {
            format!("X-token: {}\r\nX-tokentype: entermedia\r\n", self.key)
        };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{key}{lines}Content-Length: {length}\r\n\r\n{body}"
        );
        self.send(&request).await
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "", "").await
    }

    pub(super) async fn send(&self, request: &str) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        read_reply(&bytes)
    }

    /// Posts a form to a service, as EMDB does.
    pub(super) async fn post(&self, service: &str, form: &str) -> Reply {
        let path = format!("/assets/mediadb/services/{service}");
        self.ask("POST", &path, FORM, form).await
    }

    pub(super) async fn first(&self, ago: i64) -> ChangesPage {
        let form = format!("lastpullago={ago}&sincedate=x&y=z");
        let reply = self.post("cluster/listalldocs.json", &form).await;
        assert_eq!(reply.status, 200);
        parse(&reply.body).unwrap()
    }

    pub(super) async fn later(&self, session: &str, page: u64) -> ChangesPage {
        let form = format!("lastpullago=1&hitssessionid={session}&page={page}");
        let reply = self.post("cluster/nextall.json", &form).await;
        parse(&reply.body).unwrap()
    }

    pub(super) async fn put(&self, records: &[Record]) {
        let mut batch = self.catalogue.batch().await.unwrap();
        let records: Vec<_> = records.iter().collect();
        let now = self.clock.now();
        batch.put_records(&records, "", now).await.unwrap();
        batch.commit().await.unwrap();
    }

    /// Publishes a file of asset `a1` and notes it.
    pub(super) async fn publish(&self, kind: FileKind, path: &str, content: &[u8]) -> MediaFile {
        let file = MediaFile {
            kind,
            path: MediaPath::new(path).unwrap(),
            place: None,
            asset: AssetId::new("a1").unwrap(),
            size: content.len() as u64,
            modified: Timestamp::from_millis(1_772_358_067_512),
            sha256: Sha256::of(content),
            md5: None,
            authored: false,
            fingerprint: None,
        };
        let mut staged = self.store.staging("test").unwrap().create().unwrap();
        staged.write_all(content).unwrap();
        let publish = Publish {
            content: staged.into(),
            kind,
            path: file.path.clone(),
            modified: file.modified,
            keep_replaced: false,
        };
        self.store.publish(vec![publish]).pop().unwrap().unwrap();
        let mut batch = self.catalogue.batch().await.unwrap();
        batch.put_file(&file, self.clock.now()).await.unwrap();
        batch.commit().await.unwrap();
        file
    }

    /// Where a file lies on disk.
    pub(super) fn on_disk(&self, file: &MediaFile) -> PathBuf {
        let tree = self.dir.path().join("media/assets/catalog");
        tree.join(file.kind.dir()).join(file.path.as_str())
    }
}

/// Splits a reply and joins its chunks; a chunked body must be complete.
fn read_reply(bytes: &[u8]) -> Reply {
    let at = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8(bytes[..at].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut reply = Reply {
        status,
        head,
        body: bytes[at + 4..].to_vec(),
    };
    if reply.header("transfer-encoding") == Some("chunked") {
        reply.body = dechunked(&reply.body);
    }
    reply
}

fn dechunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
    }
}

/// A record that was modified at [`NOW`], with these members.
pub(super) fn record(module: &str, id: &str, deleted: bool, members: Value) -> Record {
    let node = NodeId::new("node-a").unwrap();
    let modified = Timestamp::from_millis(NOW);
    let status = RecordStatus {
        deleted,
        master: node.clone(),
        modified_by: node,
        modified,
        master_modified: Some(modified),
    };
    let members: Map<String, Value> = serde_json::from_value(members).unwrap();
    stamped(members, &RecordKey::new(module, id).unwrap(), &status)
}

/// A live asset.
pub(super) fn asset(id: &str, source_path: &str) -> Record {
    record(
        "asset",
        id,
        false,
        json!({ "sourcepath": source_path, "name": id }),
    )
}

/// `count` live assets.
pub(super) fn assets(count: usize) -> Vec<Record> {
    (0..count)
        .map(|n| asset(&format!("n{n:03}"), &format!("Port/{n}.jpg")))
        .collect()
}
