//! What is due, on a real node whose clock stands where a test sets it; deaths and peers are in tests/it/scrub.rs.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::config::init::{self, NewNode};
use crate::model::{AssetId, FileKind, MediaFile, MediaPath, Sha256};
use crate::monitor::Silent;
use crate::seams::{Clock, Os, Seams};
use crate::store::{Content, Publish};

/// Later than any catalogue that a test makes.
const BASE: Timestamp = Timestamp::from_millis(2_500_000_000_000);

#[derive(Debug)]
struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

struct Bench {
    _dir: tempfile::TempDir,
    node: Node,
    hands: Arc<Hands>,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let new = NewNode {
            dir: dir.path().to_owned(),
            name: "bench".to_owned(),
            catalog: None,
            cluster_id: None,
            media: None,
        };
        let config = init::write(&new, &Seams::os()).unwrap();
        Node::init(&config).await.unwrap();
        let hands = Arc::new(Hands(AtomicI64::new(BASE.as_millis())));
        let seams = Seams {
            clock: hands.clone(),
            rng: Arc::new(Os),
        };
        Self {
            _dir: dir,
            node: Node::open(config, seams).await.unwrap(),
            hands,
        }
    }

    /// Sets the clock to so many days after its beginning.
    fn day(&self, day: u32) {
        let at = BASE.plus(DAY * day);
        self.hands.0.store(at.as_millis(), Ordering::Relaxed);
    }

    /// Publishes a file now.
    async fn put(&self, name: &str) {
        let now = self.node.seams.clock.now();
        let path = MediaPath::new(name).unwrap();
        let mut staged = self.node.store.staging("test").unwrap().create().unwrap();
        staged.write_all(name.as_bytes()).unwrap();
        let publish = Publish {
            content: Content::from(staged),
            kind: FileKind::Original,
            path: path.clone(),
            modified: now,
            keep_replaced: true,
        };
        self.node.store.publish(vec![publish]).remove(0).unwrap();
        let file = MediaFile {
            kind: FileKind::Original,
            path,
            place: None,
            asset: AssetId::new(name).unwrap(),
            size: name.len() as u64,
            modified: now,
            sha256: Sha256::of(name.as_bytes()),
            md5: None,
            authored: false,
            fingerprint: None,
        };
        let mut batch = self.node.catalogue.batch().await.unwrap();
        batch.put_file(&file, now).await.unwrap();
        batch.commit().await.unwrap();
    }

    fn on_disk(&self, name: &str) -> std::path::PathBuf {
        let tree = "assets/catalog/originals";
        self.node.store.root().join(tree).join(name)
    }

    async fn scrub(&self, all: bool) -> Report {
        let options = Options {
            all,
            ..Options::of(&self.node)
        };
        let stop = Shutdown::new();
        let done = scrub(&self.node, &options, Arc::new(Silent), &stop).await;
        done.unwrap()
    }
}

fn verified(day: u32) -> Option<String> {
    Some(BASE.plus(DAY * day).to_string())
}

#[tokio::test]
async fn a_file_is_read_again_when_its_days_are_over_and_was_read_when_it_was_published() {
    let bench = Bench::new().await;
    bench.put("a").await;
    bench.put("b").await;
    bench.day(1);
    let young = bench.scrub(false).await;
    assert_eq!((young.files, young.left_files), (0, 0));
    assert_eq!(young.oldest_verified, verified(0));
    bench.day(31);
    let due = preview(&bench.node, false).await.unwrap();
    assert_eq!((due.files, due.left_files, due.left_bytes), (0, 2, 2));
    let old = bench.scrub(false).await;
    assert_eq!((old.files, old.bytes, old.left_files), (2, 2, 0));
    assert_eq!(old.oldest_verified, verified(31));
    bench.day(40);
    bench.put("c").await;
    bench.day(62);
    let again = bench.scrub(false).await;
    assert_eq!(again.files, 2, "the third is 22 days old");
    assert_eq!(again.oldest_verified, verified(40));
    bench.day(63);
    let all = bench.scrub(true).await;
    assert_eq!(all.files, 3);
    assert_eq!(all.oldest_verified, verified(63));
    assert!(all.round.unwrap().is_of_all() && all.is_well());
}

#[tokio::test]
async fn a_round_that_was_cut_short_goes_on_and_counts_on() {
    let bench = Bench::new().await;
    for number in 0..40 {
        bench.put(&format!("file-{number}")).await;
    }
    let options = Options {
        all: true,
        cutoff: Arc::new(Cutoff::new(None, Some(Duration::ZERO))),
        ..Options::of(&bench.node)
    };
    bench.day(1);
    let stop = Shutdown::new();
    let cut = scrub(&bench.node, &options, Arc::new(Silent), &stop).await;
    let cut = cut.unwrap();
    assert_eq!((cut.files, cut.left_files), (0, 40));
    let round = cut.round.unwrap();
    assert!(round.is_of_all() && round.ended_at.is_none());
    bench.day(2);
    // What is due by its age is nothing, and the round that is open is everything.
    let rest = bench.scrub(false).await;
    assert_eq!((rest.files, rest.left_files), (40, 0));
    let ended = rest.round.unwrap();
    assert_eq!((ended.begun_at, ended.files), (round.begun_at, 40));
    assert!(ended.ended_at.is_some());
}

#[tokio::test]
async fn what_cannot_be_reached_is_neither_moved_nor_called_damaged() {
    let bench = Bench::new().await;
    bench.put("a").await;
    let place = bench.on_disk("a");
    std::fs::remove_file(&place).unwrap();
    std::os::unix::fs::symlink("elsewhere", &place).unwrap();
    for day in 1..=2 {
        bench.day(day);
        let report = bench.scrub(true).await;
        assert_eq!((report.suspected, report.damaged), (1, 0));
        assert!(!report.is_well());
        assert!(place.is_symlink());
    }
    std::fs::remove_file(&place).unwrap();
    std::fs::write(&place, "a").unwrap();
    let report = bench.scrub(false).await;
    assert!(report.is_well(), "{report:?}");
}
