//! Two records of one file, as EMDB has them when a file was deleted and imported again: when one record goes the file stays,
//! for the other one, without another byte or another listing of everything.

use std::time::Duration;

use bytes::Bytes;
use emsync::model::{FileKind, Timestamp};
use emsync::pull::metadata::Scope;
use serde_json::{Value, json};

use crate::support::emdb::{Content, Doc, Emdb, KEY, Setup, asset_members};
use crate::support::master::Master;
use crate::support::node::Mirror;

const CLUSTER: &str = "node-a-cluster";
const MTIME: i64 = 1_772_201_000_000;
const PATH: &str = "Port/x.bin";
const THUMB: &str = "Port/x.bin/thumb.webp";
const TEXT: &str = "the one content";

fn members(path: &str) -> Value {
    asset_members(path, TEXT.len(), MTIME)
}

fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

/// A record that is saved now.
fn doc(id: &str, path: &str) -> Doc {
    Doc::new("asset", id, CLUSTER, now(), members(path))
}

/// Puts a record there that was saved at `saved`, with the one file.
fn add(content: &mut Content, id: &str, saved: Timestamp) {
    content.record(Doc::new("asset", id, CLUSTER, saved, members(PATH)));
    content.original(PATH, Bytes::from(TEXT), MTIME);
    content.generated(THUMB, "thumb", MTIME);
}

/// An EMDB with these records of one file, saved so long ago that no later window of changes shows them; and a mirror of it.
async fn pair(first: &[&str]) -> (Emdb, Mirror) {
    let emdb = Emdb::start(Setup::default()).await;
    emdb.edit(|content| {
        for id in first {
            add(content, id, now().minus(Duration::from_secs(86_400)));
        }
        content.record(Doc::new(
            "category",
            "c1",
            CLUSTER,
            now(),
            json!({"name": "Port"}),
        ));
    });
    let mirror = Mirror::of(emdb.base(), KEY, Some(CLUSTER)).await;
    mirror.seed().await;
    (emdb, mirror)
}

/// Whose the original and its rendition are.
async fn owners(mirror: &Mirror) -> [String; 2] {
    let mut found = Vec::new();
    for (kind, path) in [(FileKind::Original, PATH), (FileKind::Generated, THUMB)] {
        let row = mirror.row(kind, path).await;
        found.push(row.map_or_else(String::new, |row| row.file.asset.to_string()));
    }
    found.try_into().unwrap()
}

fn is_here(mirror: &Mirror) -> bool {
    mirror.read(FileKind::Original, PATH).as_deref() == Some(TEXT.as_bytes())
        && mirror.read(FileKind::Generated, THUMB).as_deref() == Some(b"thumb")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_and_imported_again_under_another_id_stays() {
    let (emdb, mirror) = pair(&["a1"]).await;
    emdb.edit(|content| {
        content.record(doc("a1", PATH).deleted());
        add(content, "a2", now());
    });
    let report = mirror.sync().await.report;
    assert_eq!(owners(&mirror).await, ["a2", "a2"]);
    assert!(is_here(&mirror));
    assert_eq!((report.deleted, report.bytes_received), (1, 0));
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_records_that_goes_years_later_leaves_the_file_to_the_other() {
    let (emdb, mirror) = pair(&["a1", "a2"]).await;
    let [owner, of_rendition] = owners(&mirror).await;
    assert_eq!(owner, of_rendition);
    let heir = if owner == "a1" { "a2" } else { "a1" };
    emdb.edit(|content| content.record(doc(&owner, PATH).deleted()));
    mirror.sync().await;
    assert_eq!(owners(&mirror).await, [heir, heir]);
    assert!(is_here(&mirror));
    mirror.assert_in_sync().await;
    // And the last one takes it along.
    emdb.edit(|content| {
        content.record(doc(heir, PATH).deleted());
        content.remove_file(PATH);
    });
    mirror.sync().await;
    assert_eq!(owners(&mirror).await, ["", ""]);
    assert!(!is_here(&mirror));
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_its_owner_leaves_behind_goes_to_who_still_names_it_here_and_at_relays() {
    let (emdb, mirror) = pair(&["a1", "a2"]).await;
    let relay = Master::serving(mirror.node.clone(), 10).await;
    let last = relay.mirror().await;
    last.seed().await;
    let [owner, _] = owners(&mirror).await;
    let heir = if owner == "a1" { "a2" } else { "a1" };
    emdb.edit(|content| {
        content.record(doc(&owner, "Port/y.bin"));
        content.original("Port/y.bin", Bytes::from(TEXT), MTIME);
    });
    mirror.sync().await;
    assert_eq!(owners(&mirror).await, [heir, heir]);
    assert!(is_here(&mirror));
    mirror.assert_in_sync().await;
    last.sync().await;
    assert!(is_here(&last));
    last.assert_in_sync().await;
    relay.end().await;
}

/// Two records of one path share one wish for its file, which stands under the name of one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_copy_stays_while_its_successor_is_awaited_under_the_other_records_name() {
    const LOST: &str = "Port/y.bin";
    let (emdb, mirror) = pair(&["a1"]).await;
    emdb.edit(|content| {
        content.record(doc("a1", LOST));
        let other = asset_members(LOST, TEXT.len(), MTIME);
        content.record(Doc::new("asset", "a2", CLUSTER, now(), other));
        content.remove_file(PATH);
        content.remove_file(THUMB);
    });
    for scope in [Scope::Changes, Scope::Everything, Scope::Everything] {
        let outcome = mirror.run(scope).await;
        assert_eq!(outcome.report.quarantined, 1, "the master has lost {LOST}");
        let kept = mirror.read(FileKind::Original, PATH);
        assert_eq!(kept.as_deref(), Some(TEXT.as_bytes()));
    }
    emdb.edit(|content| content.original(LOST, Bytes::from(TEXT), MTIME));
    mirror.run(Scope::Everything).await;
    mirror.run(Scope::Everything).await;
    assert_eq!(mirror.read(FileKind::Original, PATH), None);
    mirror.assert_in_sync().await;
}
