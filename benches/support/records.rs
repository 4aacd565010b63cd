//! Records made from numbers, straight into the catalogue of a node.

use std::path::Path;

use emsync::config::Config;
use emsync::model::{NodeId, Record, RecordKey, RecordStatus, Timestamp};
use emsync::node::Node;
use emsync::protocol::record::stamped;
use emsync::seams::Seams;
use serde_json::{Value, json};

/// Opens the node in a directory as the program does.
pub(crate) async fn open(dir: &Path) -> Node {
    let config = Config::load(&dir.join("emsync.toml")).unwrap();
    Node::open(config, Seams::os()).await.unwrap()
}

/// Stores all of them, some thousands at a time.
pub(crate) async fn put_all(node: &Node, all: impl Iterator<Item = Record>, now: Timestamp) {
    let mut all = all.peekable();
    while all.peek().is_some() {
        let chunk: Vec<Record> = all.by_ref().take(5_000).collect();
        let mut batch = node.catalogue.batch().await.unwrap();
        let records: Vec<_> = chunk.iter().collect();
        batch.put_records(&records, "", now).await.unwrap();
        batch.commit().await.unwrap();
    }
}

/// An asset of a name, with so many sentences about it of 50 bytes each.
pub(crate) fn asset(
    n: u64,
    source_path: &str,
    sentences: usize,
    own: &NodeId,
    at: Timestamp,
) -> Record {
    let text = format!("Caption {n} with the words that a person writes. ").repeat(sentences);
    let name = source_path.rsplit('/').next().unwrap();
    let members = json!({"name": name, "sourcepath": source_path, "isfolder": false,
        "importstatus": "complete", "editstatus": "6", "longcaption": text});
    record("asset", n, own, at, members)
}

/// A record of a table, owned and last edited by `own`.
pub(crate) fn record(
    table: &str,
    n: u64,
    own: &NodeId,
    at: Timestamp,
    mut members: Value,
) -> Record {
    let id = id(table, n);
    members["id"] = json!(id);
    let Value::Object(members) = members else {
        panic!("a record is an object")
    };
    let key = RecordKey::new(table, id).unwrap();
    stamped(members, &key, &status(own, at))
}

/// What is left of an asset that was deleted.
pub(crate) fn tombstone(n: u64, own: &NodeId, at: Timestamp) -> Record {
    let key = RecordKey::new("asset", id("asset", n)).unwrap();
    let status = RecordStatus {
        deleted: true,
        ..status(own, at)
    };
    stamped(
        [("id".to_owned(), json!(key.id))].into_iter().collect(),
        &key,
        &status,
    )
}

fn status(own: &NodeId, at: Timestamp) -> RecordStatus {
    RecordStatus {
        deleted: false,
        master: own.clone(),
        modified_by: own.clone(),
        modified: at,
        master_modified: Some(at),
    }
}

/// The id of a record.
pub(crate) fn id(table: &str, n: u64) -> String {
    format!("{table}{n:09}")
}
