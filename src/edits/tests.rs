//! Edits by their own: stamps, refusals, and the sides of conflicts. Whole commands are in `tests/it`.

use serde_json::json;

use super::*;
use crate::catalogue::{Conflict, Winner};
use crate::config::init::{NewNode, write};
use crate::seams::Seams;

async fn node() -> (tempfile::TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let new = NewNode {
        dir: dir.path().join("n"),
        name: "Node".to_owned(),
        catalog: None,
        cluster_id: None,
        media: None,
    };
    let config = write(&new, &Seams::os()).unwrap();
    Node::init(&config).await.unwrap();
    let node = Node::open(config, Seams::os()).await.unwrap();
    (dir, node)
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn key(module: &str, id: &str) -> RecordKey {
    RecordKey::new(module, id).unwrap()
}

/// As it came from a peer that is its master.
async fn arrived(node: &Node, key: &RecordKey, members: Value) -> Record {
    let master = NodeId::new("there").unwrap();
    let status = RecordStatus::saved_by_master(&master, None, Timestamp::from_millis(1_000), false);
    let record = record::stamped(object(members), key, &status);
    let mut batch = node.catalogue.batch().await.unwrap();
    let now = node.seams.clock.now();
    batch.put_records(&[&record], "peer", now).await.unwrap();
    batch.commit().await.unwrap();
    record
}

fn conflict(local: &Record, remote: &Record, winner: Winner) -> Conflict {
    Conflict {
        key: local.key.clone(),
        peer: "peer".to_owned(),
        at: Timestamp::from_millis(5),
        winner,
        local_source: local.source.clone(),
        remote_source: remote.source.clone(),
    }
}

#[tokio::test]
async fn a_new_record_is_ours_and_an_edit_of_anothers_leaves_it_theirs() {
    let (_dir, node) = node().await;
    let own = &node.config.node.cluster_id;
    let ours = key("category", "c1");
    let all = Change::All(object(
        json!({"name": "Port", "emrecordstatus": {"mastereditclusterid": "liar"}}),
    ));
    let edit = put(&node, &ours, &all, false).await.unwrap().unwrap();
    let status = edit.record.status.clone().unwrap();
    assert_eq!((&status.master, &status.modified_by), (own, own));
    assert_eq!(status.master_modified, Some(status.modified));
    assert_eq!(edit.changed, ["id", "name"]);
    let stored = node.catalogue.record(&ours).await.unwrap().unwrap();
    assert_eq!((stored.record, stored.origin.as_str()), (edit.record, ""));

    let theirs = key("category", "c2");
    arrived(
        &node,
        &theirs,
        json!({"id": "c2", "name": "Sea", "rank": 3}),
    )
    .await;
    let some = Change::Some(object(json!({"name": "Ocean", "rank": null, "depth": 1})));
    let edit = put(&node, &theirs, &some, false).await.unwrap().unwrap();
    assert_eq!(edit.changed, ["depth", "name", "rank"]);
    let status = edit.record.status.clone().unwrap();
    assert_eq!(
        (status.master.as_str(), &status.modified_by),
        ("there", own)
    );
    assert_eq!(status.master_modified, Some(Timestamp::from_millis(1_000)));
    assert!(status.modified > Timestamp::from_millis(1_000));
    let stored = node.catalogue.record(&theirs).await.unwrap().unwrap();
    assert_eq!(stored.origin, "peer", "it goes on coming from there");
    let members = record::unstamped(&stored.record).unwrap();
    assert_eq!(
        members,
        object(json!({"id": "c2", "name": "Ocean", "depth": 1}))
    );
}

#[tokio::test]
async fn what_is_so_already_is_not_written_and_a_look_writes_nothing() {
    let (_dir, node) = node().await;
    let key = key("category", "c1");
    let before = arrived(&node, &key, json!({"name": "Sea"})).await;
    let same = Change::All(object(json!({"name": "Sea"})));
    assert_eq!(put(&node, &key, &same, false).await.unwrap(), None);
    let other = Change::All(object(json!({"name": "Ocean"})));
    let looked = put(&node, &key, &other, true).await.unwrap().unwrap();
    assert_eq!(looked.changed, ["id", "name"]);
    let stored = node.catalogue.record(&key).await.unwrap().unwrap();
    assert_eq!(stored.record, before);
}

#[tokio::test]
async fn a_deleted_record_comes_back_younger_than_its_tombstone() {
    let (_dir, node) = node().await;
    let key = key("category", "c1");
    let own = node.config.node.cluster_id.clone();
    let far = Timestamp::from_millis(9_000_000_000_000);
    let tombstone = RecordStatus::saved_by_master(&own, None, far, true);
    let tombstone = record::stamped(object(json!({"id": "c1", "name": "Sea"})), &key, &tombstone);
    let mut batch = node.catalogue.batch().await.unwrap();
    batch.put_records(&[&tombstone], "", far).await.unwrap();
    batch.commit().await.unwrap();
    let all = Change::All(object(json!({"name": "Sea"})));
    let edit = put(&node, &key, &all, false).await.unwrap().unwrap();
    let status = edit.record.status.unwrap();
    assert!(!status.deleted && status.modified > far);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_and_changes_nothing() {
    let (_dir, node) = node().await;
    let asset = key("asset", "a1");
    let before = arrived(
        &node,
        &asset,
        json!({"id": "a1", "name": "a.jpg", "sourcepath": "x/a.jpg", "filesize": 7}),
    )
    .await;
    let refused = async |key: &RecordKey, change| {
        put(&node, key, &change, false)
            .await
            .unwrap_err()
            .to_string()
    };
    let text = refused(&asset, Change::Some(object(json!({"filesize": 8})))).await;
    assert!(
        text.starts_with("filesize of asset/a1 follows from its file"),
        "{text}"
    );
    let text = refused(&asset, Change::All(object(json!({"name": "b"})))).await;
    assert!(text.starts_with("sourcepath of asset/a1"), "{text}");
    let text = refused(&asset, Change::Some(object(json!({"id": "a2"})))).await;
    assert!(
        text.contains("members of \"a2\", not of asset/a1"),
        "{text}"
    );
    let text = refused(
        &key("asset", "new"),
        Change::Some(object(json!({"name": "n"}))),
    )
    .await;
    assert!(text.contains("no live asset new here"), "{text}");
    let stored = node.catalogue.record(&asset).await.unwrap().unwrap();
    assert_eq!(stored.record, before);
    let named = Change::Some(object(json!({"headline": "Boats"})));
    let edit = put(&node, &asset, &named, false).await.unwrap().unwrap();
    assert_eq!(edit.changed, ["headline"]);
}

#[tokio::test]
async fn either_side_of_a_conflict_holds_again_as_a_new_edit() {
    let (_dir, node) = node().await;
    let key = key("category", "c1");
    let master = NodeId::new("there").unwrap();
    let at = Timestamp::from_millis;
    let base = RecordStatus::saved_by_master(&master, None, at(1_000), false);
    let ours = RecordStatus::saved(&node.config.node.cluster_id, Some(&base), at(1_500), false);
    let local = record::stamped(
        object(json!({"id": "c1", "name": "Ocean", "rank": 3})),
        &key,
        &ours,
    );
    let remote = arrived(
        &node,
        &key,
        json!({"id": "c1", "name": "Sea", "rank": 3, "deep": true}),
    )
    .await;
    let conflict = conflict(&local, &remote, Winner::Remote);
    assert_eq!(Side::loser_of(&conflict), Side::Local);
    let found = differences(&conflict).unwrap();
    let pairs: Vec<_> = found
        .iter()
        .map(|one| (one.member.as_str(), one.local.clone(), one.remote.clone()))
        .collect();
    assert_eq!(
        pairs,
        [
            ("deep", None, Some(json!(true))),
            ("name", Some(json!("Ocean")), Some(json!("Sea"))),
        ]
    );
    assert_eq!(
        restore(&node, &conflict, Side::Remote, false)
            .await
            .unwrap(),
        None
    );
    let edit = restore(&node, &conflict, Side::Local, false)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(edit.changed, ["deep", "name"]);
    let stored = node.catalogue.record(&key).await.unwrap().unwrap().record;
    assert_eq!(
        record::unstamped(&stored).unwrap(),
        record::unstamped(&local).unwrap()
    );
    let status = stored.status.unwrap();
    assert_eq!(
        (&status.master, &status.modified_by),
        (&master, &node.config.node.cluster_id)
    );
    assert!(status.modified > at(1_500));
}

#[tokio::test]
async fn a_side_of_an_asset_comes_back_without_what_follows_from_its_file() {
    let (_dir, node) = node().await;
    let key = key("asset", "a1");
    let now = json!({"id": "a1", "sourcepath": "new/a.jpg", "filesize": 9, "headline": "B"});
    let remote = arrived(&node, &key, now).await;
    let then = json!({"id": "a1", "sourcepath": "old/a.jpg", "filesize": 7, "md5hex": "00", "headline": "A"});
    let local = record::stamped(object(then), &key, remote.status.as_ref().unwrap());
    let kept = conflict(&local, &remote, Winner::Remote);
    let edit = restore(&node, &kept, Side::Local, false)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(edit.changed, ["headline"]);
    let members = record::unstamped(&edit.record).unwrap();
    assert_eq!(
        members,
        object(json!({"id": "a1", "sourcepath": "new/a.jpg", "filesize": 9, "headline": "A"}))
    );

    let mut status = remote.status.clone().unwrap();
    status.deleted = true;
    let tombstone = record::stamped(object(json!({"id": "a1"})), &key, &status);
    let kept = conflict(&tombstone, &remote, Winner::Remote);
    let refused = restore(&node, &kept, Side::Local, false).await.unwrap_err();
    assert!(matches!(refused, Error::Deletes { .. }), "{refused}");
}
