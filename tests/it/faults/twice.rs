//! Cases of two mirrors that see the same things in another order, and must come to the same end (I7).

use std::pin::Pin;

use emsync::config::BaseUrl;
use emsync::model::{FileKind, Timestamp};
use emsync::pipeline::{Options, Outcome, sync_peer};
use emsync::pull::metadata::Scope;
use serde_json::json;

use super::world::{CLUSTER, MTIME, members};
use crate::support::emdb::{Doc, Emdb, KEY, Setup};
use crate::support::node::Mirror;

type Later = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One asset of one master, at a moment.
fn put(emdb: &Emdb, cluster: &str, at: Timestamp, bytes: &'static str) {
    let mut members = members("Album/x.bin", bytes.as_bytes(), MTIME);
    members["assettitle"] = json!(bytes);
    let doc = Doc::new("asset", "x", cluster, at, members);
    emdb.edit(|content| {
        content.record(doc);
        content.original("Album/x.bin", bytes, MTIME);
    });
}

async fn end_of(mirror: &Mirror) -> (String, Option<Vec<u8>>) {
    let key = emsync::model::RecordKey::new("asset", "x").unwrap();
    let stored = mirror.node.catalogue.record(&key).await.unwrap().unwrap();
    (
        stored.record.content.to_string(),
        mirror.read(FileKind::Original, "Album/x.bin"),
    )
}

/// One mirror sees the first content and then the second, the other the reverse.
pub(super) fn equal_dates() -> Later {
    Box::pin(async {
        let now = Timestamp::from(std::time::SystemTime::now());
        let mut ends = Vec::new();
        for order in [["first", "second"], ["second", "first"]] {
            let emdb = Emdb::start(Setup::default()).await;
            let mirror = Mirror::of(emdb.base(), KEY, Some(CLUSTER)).await;
            for bytes in order {
                put(&emdb, CLUSTER, now, bytes);
                mirror.seed().await;
            }
            let (content, _) = end_of(&mirror).await;
            let conflicts = mirror.node.catalogue.conflicts(10).await.unwrap();
            assert_eq!(conflicts.len(), 1);
            let both = format!(
                "{}{}",
                conflicts[0].local_source, conflicts[0].remote_source
            );
            assert!(
                both.contains("first") && both.contains("second"),
                "the loser is not whole"
            );
            ends.push(content);
            // The master saves it again, and both are equal to it.
            put(
                &emdb,
                CLUSTER,
                Timestamp::from(std::time::SystemTime::now())
                    .plus(std::time::Duration::from_secs(1)),
                "third",
            );
            mirror.seed().await;
            mirror.assert_in_sync().await;
        }
        assert_eq!(ends[0], ends[1], "the winner depends on the order");
    })
}

/// Two masters own one record; one mirror asks the one first, the other the other.
pub(super) fn two_masters() -> Later {
    Box::pin(async {
        let now = Timestamp::from(std::time::SystemTime::now());
        let (a, b) = (
            Emdb::start(Setup::default()).await,
            Emdb::start(Setup::default()).await,
        );
        put(
            &a,
            CLUSTER,
            now.minus(std::time::Duration::from_secs(5)),
            "of a",
        );
        put(&b, "node-b-cluster", now, "of b");
        let mut ends = Vec::new();
        for order in [
            ["master", "second", "master"],
            ["second", "master", "second"],
        ] {
            let base: BaseUrl = b.base().parse().unwrap();
            let mirror = Mirror::with(a.base(), KEY, Some(CLUSTER), |config| {
                let mut second = config.peers[0].clone();
                second.name = "second".to_owned();
                second.base_url = base;
                second.cluster_id = Some(emsync::model::NodeId::new("node-b-cluster").unwrap());
                config.peers.push(second);
            })
            .await;
            for peer in order {
                let outcome = pull_from(&mirror, peer).await;
                assert!(outcome.error.is_none(), "{:?}", outcome.error);
            }
            assert!(
                mirror.node.catalogue.count_conflicts().await.unwrap() > 0 || order[0] == "master"
            );
            ends.push(end_of(&mirror).await);
        }
        assert_eq!(ends[0], ends[1], "the winner depends on the order");
        assert_eq!(
            ends[0].1.as_deref(),
            Some(&b"of b"[..]),
            "the file is not the winner's"
        );
    })
}

async fn pull_from(mirror: &Mirror, peer: &str) -> Outcome {
    let settings = mirror.node.config.peer(peer).unwrap().clone();
    let options = Options::of(Scope::Everything);
    let outcome = sync_peer(
        &mirror.node,
        &settings,
        options,
        mirror.monitor.clone(),
        &mirror.shutdown,
    );
    outcome.await.unwrap()
}
