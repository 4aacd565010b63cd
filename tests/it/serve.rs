//! Nodes of ours pulling from each other over real HTTP.

use std::time::Duration;

use emsync::model::{FileKind, MediaPath, NodeId, Sha256};
use emsync::node::Node;
use emsync::protocol::record::restamped;
use emsync::seams::Seams;

use crate::support::master::Master;
use crate::support::node::Mirror;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_number_of_pages_of_our_own_server_arrives_whole() {
    for pages in [0_u64, 1, 2, 3, 7] {
        let master = Master::new(5).await;
        let records = pages * 5 - u64::from(pages > 1) * 2;
        for n in 0..records {
            master
                .add(
                    &format!("a{n:03}"),
                    &format!("Port/{n}.bin"),
                    format!("content {n}").as_bytes(),
                )
                .await;
        }
        let mirror = master.mirror().await;
        let outcome = mirror.seed().await;
        assert_eq!(
            (outcome.report.records, outcome.report.files_written),
            (records, records),
            "{pages} pages"
        );
        mirror.assert_in_sync().await;
        let again = mirror.sync().await;
        assert_eq!(
            (
                again.report.records,
                again.report.bytes_received,
                again.report.files_written
            ),
            (0, 0, 0)
        );
        master.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_nodes_loses_nothing_although_dates_are_older_than_windows() {
    let a = Master::new(5).await;
    a.add("a1", "one.bin", b"first").await;
    let b = a.mirror().await;
    b.seed().await;
    let b_served = Master::serving(b.node.clone(), 5).await;
    let c = b_served.mirror().await;
    c.seed().await;
    c.assert_in_sync().await;

    // Changed on A a day ago as its date says, so outside of every window of C; B receives it only now.
    let record = a.add("a2", "two.bin", b"second").await;
    let old = a.node.seams.clock.now().minus(Duration::from_secs(86_400));
    let record = restamped(&record, &a.status(old)).unwrap();
    let mut batch = a.node.catalogue.batch().await.unwrap();
    batch
        .put_records(&[&record], "", a.node.seams.clock.now())
        .await
        .unwrap();
    batch.commit().await.unwrap();
    b.sync().await;
    c.sync().await;
    assert!(c.has_live("asset", "a2").await);
    assert_eq!(c.read(FileKind::Original, "two.bin").unwrap(), b"second");
    c.assert_in_sync().await;
    b_served.end().await;
    a.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_content_and_moved_assets_cost_no_media_bytes() {
    let master = Master::new(100).await;
    let content = vec![7_u8; 50_000];
    master.add("a1", "x/one.bin", &content).await;
    let mirror = master.mirror().await;
    mirror.seed().await;
    master.add("a2", "y/twin.bin", &content).await;
    master.add("a1", "z/moved.bin", &content).await;
    let mut batch = master.node.catalogue.batch().await.unwrap();
    let old = MediaPath::new("x/one.bin").unwrap();
    let asset = emsync::model::AssetId::new("a1").unwrap();
    batch
        .forget_file(
            FileKind::Original,
            &old,
            &asset,
            &Sha256::of(&content),
            master.node.seams.clock.now(),
        )
        .await
        .unwrap();
    batch.commit().await.unwrap();
    let outcome = mirror.sync().await;
    assert_eq!(
        (outcome.report.bytes_received, outcome.report.files_written),
        (0, 2)
    );
    assert_eq!(mirror.read(FileKind::Original, "x/one.bin"), None);
    mirror.assert_in_sync().await;
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_was_set_up_anew_under_the_same_url_is_noticed() {
    let first = Master::new(5).await;
    first.add("a1", "one.bin", b"1").await;
    let mirror = first.mirror().await;
    mirror.seed().await;
    // The peer answers as before but says that it is another node.
    let mut batch = mirror.node.catalogue.batch().await.unwrap();
    batch.end_listing("master").await.unwrap();
    batch.commit().await.unwrap();
    let other = emsync::catalogue::PeerNode {
        cluster_id: NodeId::new("somebody-else").unwrap(),
        version: "0".to_owned(),
    };
    mirror
        .node
        .catalogue
        .put_peer_node("master", &other, mirror.node.seams.clock.now())
        .await
        .unwrap();
    let outcome = mirror.run(emsync::pull::metadata::Scope::Changes).await;
    let error = outcome.error.unwrap();
    assert!(
        matches!(
            &error,
            emsync::pipeline::Error::Pull(emsync::pull::Error::Greeting(
                emsync::greeting::Error::WrongNode { .. }
            ))
        ),
        "{error}"
    );
    first.end().await;
}

/// A record of the pulling node itself, with its original, and the same record on the peer with another original or none.
async fn own_asset_as_the_peer_lists_it(peer_content: Option<&[u8]>) {
    let peer = Master::new(5).await;
    let mirror = peer.mirror().await;
    let ours = Master::serving(mirror.node.clone(), 5).await;
    let record = ours.add("own", "own.bin", b"our original").await;
    if let Some(content) = peer_content {
        peer.add("own", "own.bin", content).await;
    }
    let mut batch = peer.node.catalogue.batch().await.unwrap();
    batch
        .put_records(&[&record], "us", peer.node.seams.clock.now())
        .await
        .unwrap();
    batch.commit().await.unwrap();
    for _ in 0..3 {
        mirror.seed().await;
        assert_eq!(
            mirror.read(FileKind::Original, "own.bin").as_deref(),
            Some(&b"our original"[..])
        );
    }
    ours.end().await;
    peer.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_lacks_our_originals_does_not_take_them_away() {
    own_asset_as_the_peer_lists_it(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_behind_does_not_bring_our_old_originals_back() {
    own_asset_as_the_peer_lists_it(Some(b"before we replaced it")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn originals_that_a_peer_lists_no_more_pass_the_guard_before_they_go() {
    let master = Master::new(100).await;
    for n in 0..12 {
        master
            .add(&format!("a{n}"), &format!("{n}.bin"), b"same")
            .await;
    }
    let mirror = master.mirror().await;
    mirror.seed().await;
    let mut batch = master.node.catalogue.batch().await.unwrap();
    for n in 0..12 {
        let path = MediaPath::new(format!("{n}.bin")).unwrap();
        let asset = emsync::model::AssetId::new(format!("a{n}")).unwrap();
        let now = master.node.seams.clock.now();
        assert!(
            batch
                .forget_file(FileKind::Original, &path, &asset, &Sha256::of(b"same"), now)
                .await
                .unwrap()
                .is_some()
        );
    }
    batch.commit().await.unwrap();
    mirror.seed().await;
    let held = mirror.seed().await;
    assert_eq!((held.deletes.held, held.deletes.files_trashed), (12, 0));
    assert!(mirror.read(FileKind::Original, "3.bin").is_some());
    // They are listed again: nothing is left to hold.
    for n in 0..12 {
        master
            .add(&format!("a{n}"), &format!("{n}.bin"), b"same")
            .await;
    }
    assert_eq!(mirror.seed().await.deletes.held, 0);
    mirror.assert_in_sync().await;
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_peer_that_is_behind_takes_nothing_away_that_the_owner_gave() {
    let owner = Master::new(5).await;
    owner.add("a1", "one.bin", b"first").await;
    let behind = Mirror::with(&owner.url, &owner.key, None, |config| {
        config.peers[0].pull_originals = false;
    })
    .await;
    behind.seed().await;
    let relay = Master::serving(behind.node.clone(), 5).await;
    let mut mirror = owner.mirror().await;
    mirror.seed().await;
    let mut second = relay.mirror().await.peer();
    second.name = "relay".to_owned();
    let mut config = (*mirror.node.config).clone();
    config.peers.push(second.clone());
    mirror.node = Node::open(config, Seams::os()).await.unwrap();
    for _ in 0..3 {
        let options = emsync::pipeline::Options::of(emsync::pull::metadata::Scope::Everything);
        let monitor = mirror.monitor.clone();
        let shutdown = &mirror.shutdown;
        let outcome =
            emsync::pipeline::sync_peer(&mirror.node, &second, options, monitor, shutdown)
                .await
                .unwrap();
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        assert_eq!(
            mirror.read(FileKind::Original, "one.bin").as_deref(),
            Some(&b"first"[..])
        );
    }
    mirror.assert_in_sync().await;
    relay.end().await;
    owner.end().await;
}
