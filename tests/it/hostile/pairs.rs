//! Two masters that each have an asset of the same path: a mirror of both keeps both, and so does whoever pulls from it.

use std::sync::Arc;
use std::time::Duration;

use emsync::catalogue::FileRow;
use emsync::config::{Config, KeySource, NewPeer, Secret, edit::add_peer};
use emsync::model::{AssetId, MediaPath, RecordKey, RecordStatus, Sha256};
use emsync::monitor::{Silent, TestMonitor};
use emsync::pipeline::{self, Options, Outcome};
use emsync::protocol::record::stamped;
use emsync::protocol::wire_path::{ASSET_HEADER, original_url};
use emsync::pull::metadata::Scope;
use emsync::shutdown::Shutdown;

use super::*;

const PATH: &str = "same/x.bin";
const OTHER: &str = "other";

/// A mirror of two masters: `master` and `other`.
async fn mirror_of_two(first: &Master, second: &Master) -> Mirror {
    Mirror::with(&first.url, &first.key, None, |config| {
        let peer = NewPeer {
            name: OTHER.to_owned(),
            url: second.url.clone(),
            key: KeySource::Inline(Secret::new(&second.key)),
            cluster_id: None,
            push: false,
            push_originals: None,
            sidecar: false,
            ca_file: None,
        };
        add_peer(&config.file, &peer).unwrap();
        let limits = config.limits.clone();
        *config = Config::load(&config.file).unwrap();
        config.limits = limits;
        config.limits.retry_base = Duration::from_millis(1);
    })
    .await
}

async fn pull_other(mirror: &Mirror, scope: Scope) -> Outcome {
    let peer = mirror.node.config.peer(OTHER).unwrap().clone();
    let options = Options::of(scope);
    let monitor: Arc<TestMonitor> = mirror.monitor.clone();
    let outcome = pipeline::sync_peer(&mirror.node, &peer, options, monitor, &Shutdown::new())
        .await
        .unwrap();
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    outcome
}

async fn row_of(mirror: &Mirror, asset: &str) -> Option<FileRow> {
    let (path, asset) = (MediaPath::new(PATH).unwrap(), AssetId::new(asset).unwrap());
    mirror
        .node
        .catalogue
        .file(FileKind::Original, &path, &asset)
        .await
        .unwrap()
}

#[track_caller]
fn assert_content(mirror: &Mirror, row: &Option<FileRow>, content: &[u8]) {
    let row = row.as_ref().unwrap();
    assert_eq!(row.file.sha256, Sha256::of(content));
    assert_eq!(
        mirror
            .read(FileKind::Original, row.file.place().as_str())
            .as_deref(),
        Some(content)
    );
}

async fn get(served: &Master, asset: Option<&str>) -> Vec<u8> {
    crate::support::node::use_one_tls_provider();
    let url = format!(
        "{}/{}",
        served.url,
        original_url(&MediaPath::new(PATH).unwrap())
    );
    let mut request = reqwest::Client::new()
        .get(url)
        .header("X-tokentype", "entermedia")
        .header("X-token", &served.key);
    if let Some(asset) = asset {
        request = request.header(ASSET_HEADER, asset);
    }
    let reply = request.send().await.unwrap();
    assert_eq!(reply.status(), 200);
    reply.bytes().await.unwrap().to_vec()
}

async fn bury(master: &Master, asset: &str) {
    let key = RecordKey::new("asset", asset).unwrap();
    let now = master
        .node
        .seams
        .clock
        .now()
        .plus(Duration::from_millis(10));
    let status = RecordStatus {
        deleted: true,
        ..master.status(now)
    };
    let tombstone = stamped(serde_json::Map::new(), &key, &status);
    let mut batch = master.node.catalogue.batch().await.unwrap();
    batch.put_records(&[&tombstone], "", now).await.unwrap();
    batch.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_assets_of_one_path_are_both_kept_and_relayed() {
    let (a, b) = (Master::new(10).await, Master::new(10).await);
    a.add("a1", PATH, b"one").await;
    b.add("b1", PATH, b"two").await;
    let c = mirror_of_two(&a, &b).await;
    c.seed().await;
    pull_other(&c, Scope::Everything).await;
    let (first, second) = (row_of(&c, "a1").await, row_of(&c, "b1").await);
    assert_content(&c, &first, b"one");
    assert_content(&c, &second, b"two");
    assert_eq!(first.unwrap().file.place, None);
    let place = second.unwrap().file.place.expect("mapped");
    assert!(
        place.as_str().starts_with("same/x~") && place.as_str().ends_with(".bin"),
        "{place}"
    );
    assert_eq!(
        c.monitor
            .seen()
            .findings
            .iter()
            .filter(|text| text.contains(place.as_str()))
            .count(),
        1
    );
    assert!(c.set_aside().await.is_empty());

    // Pulled again, both stay where they are.
    c.seed().await;
    let again = pull_other(&c, Scope::Everything).await;
    assert_eq!(
        (again.report.files_written, again.report.bytes_received),
        (0, 0)
    );
    assert_eq!(
        row_of(&c, "b1").await.unwrap().file.place.as_ref(),
        Some(&place)
    );

    // A kill between its bytes and its row: it is found where it was put, and not fetched again.
    let mut batch = c.node.catalogue.batch().await.unwrap();
    let (path, now) = (MediaPath::new(PATH).unwrap(), c.node.seams.clock.now());
    let b1 = AssetId::new("b1").unwrap();
    let left = batch
        .forget_file(FileKind::Original, &path, &b1, &Sha256::of(b"two"), now)
        .await;
    assert_eq!(left.unwrap().as_ref(), Some(&place));
    batch.commit().await.unwrap();
    let again = pull_other(&c, Scope::Everything).await;
    assert_eq!(
        (again.report.files_adopted, again.report.bytes_received),
        (1, 0)
    );
    assert_eq!(
        row_of(&c, "b1").await.unwrap().file.place.as_ref(),
        Some(&place)
    );

    let served = Master::serving(c.node.clone(), 10).await;
    assert_eq!(get(&served, None).await, b"one");
    assert_eq!(get(&served, Some("a1")).await, b"one");
    assert_eq!(get(&served, Some("b1")).await, b"two");
    assert_eq!(get(&served, Some("nobody")).await, b"one");
    let d = served.mirror().await;
    d.seed().await;
    assert_content(&d, &row_of(&d, "a1").await, b"one");
    assert_content(&d, &row_of(&d, "b1").await, b"two");
    d.assert_in_sync().await;

    // The mapped one is replaced in its place, and removed without the other.
    b.add("b1", PATH, b"three").await;
    pull_other(&c, Scope::Changes).await;
    assert_content(&c, &row_of(&c, "b1").await, b"three");
    assert_eq!(
        row_of(&c, "b1").await.unwrap().file.place.as_ref(),
        Some(&place)
    );
    d.sync().await;
    assert_content(&d, &row_of(&d, "b1").await, b"three");
    bury(&b, "b1").await;
    pull_other(&c, Scope::Changes).await;
    d.sync().await;
    for mirror in [&c, &d] {
        assert!(row_of(mirror, "b1").await.is_none());
        assert_content(mirror, &row_of(mirror, "a1").await, b"one");
    }
    assert_eq!(c.read(FileKind::Original, place.as_str()), None);
    d.assert_in_sync().await;
    served.end().await;
    say("pairs: one path, two assets: A, B -> C -> D, replaced and deleted through the chain");
}

/// Two records of one and the same file are one file, whoever lists them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_assets_of_one_path_and_content_share_it() {
    let (a, b) = (Master::new(10).await, Master::new(10).await);
    a.add("a1", PATH, b"one").await;
    b.add("b1", PATH, b"one").await;
    let c = mirror_of_two(&a, &b).await;
    c.seed().await;
    let outcome = pull_other(&c, Scope::Everything).await;
    assert_eq!(outcome.report.files_written, 0);
    assert_content(&c, &row_of(&c, "a1").await, b"one");
    assert!(row_of(&c, "b1").await.is_none());
    let peer = c.node.config.peer(OTHER).unwrap().clone();
    let parity = pipeline::verify_peer(
        &c.node,
        &peer,
        pipeline::Look::default(),
        &Silent,
        &Shutdown::new(),
    )
    .await
    .unwrap();
    let about: Vec<_> = parity
        .differences
        .iter()
        .filter(|difference| format!("{difference:?}").contains(PATH))
        .collect();
    assert!(about.is_empty(), "{about:?}");
}
