//! A scripted master with known content, the mirror that pulls from it, and edits on either side.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use emsync::catalogue::StoredRecord;
use emsync::config::{BaseUrl, Config};
use emsync::model::{Hasher, RecordKey, RecordStatus, Timestamp};
use emsync::protocol::record::stamped;
use serde_json::{Value, json};

use crate::support::emdb::{Content, Doc, Emdb, KEY, Setup, asset_members};
use crate::support::front::Front;
use crate::support::node::Mirror;

/// The master's cluster id.
pub(super) const CLUSTER: &str = "node-a-cluster";
/// Modification time of originals, unless a test says otherwise.
pub(super) const MTIME: i64 = 1_772_201_000_000;
/// Size of the file that is large enough to be resumed.
pub(super) const BIG: usize = 1_500_000;

/// A master, its mirror, and what stands between them.
pub(super) struct World {
    pub(super) emdb: Emdb,
    pub(super) mirror: Mirror,
    /// Where the mirror connects to, if not straight to the master.
    pub(super) front: Option<Front>,
    /// A server that is not the master, for a front to lead to.
    pub(super) stranger: Option<Emdb>,
    /// The last date that was given to a record.
    stamped: AtomicI64,
    offset: AtomicI64,
}

/// How a mirror finds its master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// Straight.
    None,
    /// Through a front that is open.
    Open,
    /// Through a front that is shut.
    Shut,
}

impl World {
    /// A master with `assets` assets and, if there are any, a category.
    pub(super) async fn new(
        assets: usize,
        page_size: usize,
        door: Door,
        config: fn(&mut Config),
    ) -> Self {
        let setup = Setup {
            page_size,
            secure_cookie: false,
        };
        let emdb = Emdb::start(setup).await;
        let front = (door != Door::None).then(|| Front::shut(emdb.address()));
        if let (Some(front), Door::Open) = (&front, door) {
            front.open();
        }
        let base = match &front {
            Some(front) => format!("http://{}/finder", front.address),
            None => emdb.base().to_owned(),
        };
        let mirror = Mirror::inside(scratch(), (&base, KEY, Some(CLUSTER)), |settings| {
            settings.limits.attempts = 4;
            settings.peers[0].base_url = base.parse::<BaseUrl>().unwrap();
            config(settings);
        })
        .await;
        let world = Self {
            emdb,
            mirror,
            front,
            stranger: None,
            stamped: AtomicI64::new(0),
            offset: AtomicI64::new(0),
        };
        for n in 0..assets {
            world.add(
                &format!("a{n}"),
                &format!("Album/f{n}.bin"),
                format!("content of file {n}"),
            );
        }
        if assets > 0 {
            world.save("category", "c0", json!({"name": "Port"}));
        }
        world
    }

    /// Now on the master's clock; never the same twice.
    pub(super) fn now(&self) -> Timestamp {
        let clock = Timestamp::from(std::time::SystemTime::now()).as_millis()
            + self.offset.load(Ordering::SeqCst);
        let last = self.stamped.load(Ordering::SeqCst);
        // Set back by more than a moment means that the clock was.
        let moment = if last - clock > 10_000 {
            clock
        } else {
            clock.max(last + 1)
        };
        self.stamped.store(moment, Ordering::SeqCst);
        Timestamp::from_millis(moment)
    }

    /// Sets the master's clock so far ahead of ours.
    pub(super) fn set_clock(&self, minutes: i64) {
        self.offset.store(minutes * 60_000, Ordering::SeqCst);
        self.emdb.set_clock_offset(minutes * 60_000);
    }

    /// The master saves a record.
    pub(super) fn save(&self, module: &str, id: &str, members: Value) {
        let doc = Doc::new(module, id, CLUSTER, self.now(), members);
        self.emdb.edit(|content| content.record(doc));
    }

    /// The master has an asset, its original and a rendition.
    pub(super) fn add(&self, id: &str, path: &str, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        self.save("asset", id, members(path, &bytes, MTIME));
        let thumb = format!("rendition of {path}");
        self.emdb.edit(|content| {
            content.original(path, bytes, MTIME);
            content.generated(&format!("{path}/thumb.webp"), thumb, MTIME + 7);
        });
    }

    /// The master has an original that is worth resuming.
    pub(super) fn add_big(&self) {
        self.add("big", "Album/big.bin", big());
    }

    /// The master changes members of a record and saves it.
    pub(super) fn resave(&self, module: &str, id: &str, change: impl FnOnce(&mut Value)) {
        let mut members = self.source(module, id);
        change(&mut members);
        self.save(module, id, members);
    }

    /// The master saves everything again, so that all its dates are of its clock.
    pub(super) fn resave_all(&self) {
        let docs = self.emdb.edit(|content| content.docs.clone());
        for doc in docs {
            self.resave(&doc.module, &doc.id, |_| {});
        }
    }

    /// A record's JSON at the master.
    pub(super) fn source(&self, module: &str, id: &str) -> Value {
        self.emdb.edit(|content| {
            let doc = content
                .docs
                .iter()
                .find(|doc| doc.module == module && doc.id == id);
            doc.expect("the master has it").source.clone()
        })
    }

    /// The master deletes an asset softly, renditions and original with it.
    pub(super) fn delete(&self, id: &str) {
        let members = self.source("asset", id);
        let path = members["sourcepath"].as_str().unwrap().to_owned();
        let doc = Doc::new("asset", id, CLUSTER, self.now(), members).deleted();
        self.emdb.edit(|content| {
            content.record(doc);
            forget_files(content, &path);
        });
    }

    /// The master loses an asset without a trace.
    pub(super) fn forget(&self, id: &str) {
        let source = self.source("asset", id);
        let path = source["sourcepath"].as_str().unwrap();
        self.emdb.edit(|content| {
            content.hard_delete("asset", id);
            forget_files(content, path);
        });
    }

    /// The master moves an asset.
    pub(super) fn rename(&self, id: &str, to: &str) {
        let bytes = self.emdb.edit(|content| {
            let path = content
                .docs
                .iter()
                .find(|doc| doc.id == id && doc.module == "asset");
            let path = path.expect("the master has it").source["sourcepath"]
                .as_str()
                .unwrap()
                .to_owned();
            let bytes = content.originals.get(&path).map(|file| file.bytes.clone());
            forget_files(content, &path);
            bytes
        });
        self.add(
            id,
            to,
            bytes.unwrap_or_else(|| Bytes::from_static(b"moved")),
        );
    }

    /// Somebody edits a record here; it was not sent anywhere yet.
    pub(super) async fn edit_here(&self, module: &str, id: &str, change: impl FnOnce(&mut Value)) {
        let catalogue = &self.mirror.node.catalogue;
        let stored = self.stored(module, id).await.expect("it is here");
        let mut members: Value = serde_json::from_str(&stored.record.source).unwrap();
        change(&mut members);
        let own = self.mirror.node.config.node.cluster_id.clone();
        let status = RecordStatus {
            modified_by: own,
            modified: self.now(),
            ..stored.record.status.clone().unwrap()
        };
        let record = stamped(
            members.as_object().unwrap().clone(),
            &stored.record.key,
            &status,
        );
        let mut batch = catalogue.batch().await.unwrap();
        let now = self.mirror.node.seams.clock.now();
        batch.put_records(&[&record], "master", now).await.unwrap();
        batch.commit().await.unwrap();
    }

    /// A record as it is here.
    pub(super) async fn stored(&self, module: &str, id: &str) -> Option<StoredRecord> {
        let key = RecordKey::new(module, id).unwrap();
        self.mirror.node.catalogue.record(&key).await.unwrap()
    }

    /// Gives the mirror other limits from the next pass on.
    pub(super) fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = (*self.mirror.node.config).clone();
        change(&mut config);
        self.mirror.node.config = config.into();
    }
}

/// A folder in memory where the system has one: what is tested here does not depend on the disk, and waiting for it takes
/// most of the time.
fn scratch() -> tempfile::TempDir {
    let in_memory = tempfile::Builder::new().tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir()).unwrap()
}

/// What a record says of an original with these bytes.
pub(super) fn members(path: &str, bytes: &[u8], mtime: i64) -> Value {
    let mut members = asset_members(path, bytes.len(), mtime);
    members["md5hex"] = json!(md5(bytes));
    members
}

/// The bytes of the large original.
pub(super) fn big() -> Bytes {
    (0..BIG).map(|n| (n * 7 + n / 251) as u8).collect()
}

pub(super) fn md5(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(true);
    hasher.update(bytes);
    hasher.finish().md5.expect("it was asked for").to_string()
}

/// Takes an asset's files away at the master; those of an asset below its path are not its own.
pub(super) fn forget_files(content: &mut Content, path: &str) {
    content.remove_file(path);
    content.remove_file(&format!("{path}/thumb.webp"));
}

/// So short that a stalled connection costs a test little.
pub(super) fn short_timeouts(config: &mut Config) {
    config.limits.timeout = Duration::from_millis(300);
    config.limits.list_timeout = Duration::from_millis(300);
}
