//! Pushes to a node of ours: it takes what its mirror changed, and two nodes that push to each other come to rest.

use std::collections::BTreeMap;

use emsync::config::edit::add_peer;
use emsync::config::{Config, KeySource, NewPeer, Secret};
use emsync::model::{FileKind, RecordKey};
use emsync::pull::metadata::Scope;
use serde_json::{Value, json};

use super::{add_asset, push};
use crate::support::author;
use crate::support::master::Master;
use crate::support::node::{Mirror, chain};

/// A mirror that pushes to its master.
async fn mirror_of(master: &Master) -> Mirror {
    Mirror::with(&master.url, &master.write_key, None, |config| {
        let peer = &mut config.peers[0];
        (peer.push, peer.push_originals) = (true, true);
    })
    .await
}

fn member(records: &BTreeMap<(String, String), Value>, id: (&str, &str), name: &str) -> Value {
    records[&(id.0.to_owned(), id.1.to_owned())][name].clone()
}

#[track_caller]
fn both_have_the_same(
    one: &BTreeMap<(String, String), Value>,
    other: &BTreeMap<(String, String), Value>,
) {
    for (key, record) in one {
        assert_eq!(Some(record), other.get(key), "{key:?}");
    }
    assert_eq!(one.len(), other.len());
}

#[tokio::test]
async fn what_a_mirror_made_and_edited_is_at_its_master_with_files_and_dates() {
    let master = Master::new(1_000).await;
    master.add("M1", "theirs.bin", b"theirs").await;
    let mirror = mirror_of(&master).await;
    mirror.seed().await;
    add_asset(
        &mirror,
        "R1",
        "Ours/a.bin",
        b"ours",
        &[("s.webp", b"small")],
    )
    .await;
    let edited = ("asset", "M1");
    author::put(&mirror.node, edited, &json!({"note": "by the mirror"}))
        .await
        .unwrap();

    let outcome = push(&mirror, Scope::Changes).await;
    assert!(
        outcome.error.is_none(),
        "{}",
        chain(&outcome.error.unwrap())
    );
    let report = outcome.report;
    assert_eq!(
        (report.records_sent, report.files_sent, report.bytes_sent),
        (2, 2, 9)
    );
    assert_eq!((report.refused, report.quarantined), (0, 0));
    let there = author::records(&master.node).await;
    assert_eq!(member(&there, edited, "note"), "by the mirror");
    for kind in [FileKind::Original, FileKind::Generated] {
        let (here, there) = (
            author::files(&mirror.node, kind),
            author::files(&master.node, kind),
        );
        assert_eq!(here, there, "bytes and times of {kind:?}");
    }
    let key = RecordKey::new("asset", "M1").unwrap();
    let stored = mirror.node.catalogue.record(&key).await.unwrap().unwrap();
    assert!(stored.pushed);

    // Neither way has anything left to say.
    let again = push(&mirror, Scope::Changes).await;
    assert_eq!((again.report.records_sent, again.report.bytes_sent), (0, 0));
    let pulled = mirror.sync().await;
    assert_eq!(
        (pulled.report.records, pulled.report.bytes_received),
        (0, 0)
    );
    both_have_the_same(
        &author::records(&mirror.node).await,
        &author::records(&master.node).await,
    );
    master.end().await;
}

#[tokio::test]
async fn an_edit_that_lost_is_kept_and_both_end_alike() {
    let master = Master::new(1_000).await;
    let sea = ("category", "sea");
    author::put(&master.node, sea, &json!({"name": "Sea"}))
        .await
        .unwrap();
    let mirror = mirror_of(&master).await;
    mirror.seed().await;
    author::put(&mirror.node, sea, &json!({"name": "Ocean"}))
        .await
        .unwrap();
    author::put(&master.node, sea, &json!({"name": "Mer"}))
        .await
        .unwrap();

    let outcome = push(&mirror, Scope::Changes).await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(outcome.report.refused, 1);
    mirror.sync().await;
    let (here, there) = (
        author::records(&mirror.node).await,
        author::records(&master.node).await,
    );
    assert_eq!(member(&here, sea, "name"), "Mer");
    both_have_the_same(&here, &there);
    assert!(mirror.node.catalogue.count_conflicts().await.unwrap() >= 1);
    let again = push(&mirror, Scope::Changes).await;
    assert_eq!(again.report.records_sent, 0);
    master.end().await;
}

#[tokio::test]
async fn a_chain_hands_on_what_came_from_one_end_to_the_other() {
    let first = Master::new(1_000).await;
    first.add("A1", "a.bin", b"from the first").await;
    let last = Master::new(1_000).await;
    // The one in between pulls from the first, and pushes to the last.
    let between = Mirror::with(&first.url, &first.key, None, |config| {
        let peer = NewPeer {
            name: "last".to_owned(),
            url: last.url.clone(),
            key: KeySource::Inline(Secret::new(&last.write_key)),
            cluster_id: None,
            push: true,
            push_originals: None,
            sidecar: false,
            ca_file: None,
        };
        add_peer(&config.file, &peer).unwrap();
        *config = Config::load(&config.file).unwrap();
    })
    .await;
    between.seed().await;
    let to_last = between.node.config.peer("last").unwrap();
    let options = emsync::pipeline::Options::of(Scope::Changes);
    let (monitor, stop) = (between.monitor.clone(), &between.shutdown);
    let pushed = emsync::pipeline::push_peer(&between.node, to_last, &options, monitor, stop).await;
    let outcome = pushed.unwrap();
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(
        (outcome.report.records_sent, outcome.report.files_sent),
        (1, 1)
    );
    both_have_the_same(
        &author::records(&first.node).await,
        &author::records(&last.node).await,
    );
    assert_eq!(
        author::files(&first.node, FileKind::Original),
        author::files(&last.node, FileKind::Original)
    );
    // To the first nothing of its own goes back.
    let mut between = between;
    between.configure(|config| config.peers[0].push = true);
    let outcome = push(&between, Scope::Changes).await;
    assert_eq!(outcome.report.records_sent, 0, "I8");
    first.end().await;
    last.end().await;
}
