//! The publisher before a real store and a real catalogue: what it leaves on disk, in the rows and in the job table.

use std::time::Duration;

use rustix::io::Errno;

use super::*;
use crate::catalogue::{Catalogue, JobCounts, Lane};
use crate::config::{Config, Generated, Limits};
use crate::model::job::{FetchJob, RegenerateJob, RemoveJob, fetch_subject, remove_subject};
use crate::model::{AssetId, CatalogId, NodeId, Record, RecordKey, RecordStatus, Sha256};
use crate::monitor::{Counter, TestMonitor};
use crate::peer::Peer;
use crate::pull::{InFlight, Policy};
use crate::seams::{Clock, Os, Seams};
use crate::shutdown::Shutdown;
use crate::store::faults::Faulty;
use crate::store::{Content, RealSys, Staging, Store, Sys};
use crate::throttle::Throttle;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const DATE: Timestamp = Timestamp::from_millis(1_700_000_000_000);

#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// A pull with nobody to pull from.
struct Bench {
    dir: tempfile::TempDir,
    pull: Arc<Pull>,
    monitor: Arc<TestMonitor>,
    lane: InFlight,
}

/// A file to be, with the job it answers.
struct Wish {
    kind: FileKind,
    path: &'static str,
    asset: &'static str,
    content: &'static [u8],
    way: Way,
    made_of: Option<&'static str>,
    states_digest: bool,
}

const WISH: Wish = Wish {
    kind: FileKind::Original,
    path: "x/a.jpg",
    asset: "a1",
    content: b"content",
    way: Way::Fetched,
    made_of: None,
    states_digest: true,
};

fn path(text: &str) -> MediaPath {
    MediaPath::new(text).unwrap()
}

fn id(text: &str) -> AssetId {
    AssetId::new(text).unwrap()
}

impl Wish {
    fn job(&self) -> NewJob {
        let size = self.content.len() as u64;
        let fetch = FetchJob {
            kind: self.kind,
            path: self.path.to_owned(),
            size: Some(size),
            exact: true,
            modified: Some(DATE),
            sha256: self.states_digest.then(|| Sha256::of(self.content)),
            md5: None,
            from: None,
            then: None,
        };
        let second = Some(id(self.asset)).filter(|_| self.asset != "a1");
        NewJob {
            peer: "master".to_owned(),
            subject: fetch_subject(self.kind, self.path, second.as_ref()),
            lane: Lane::Small,
            asset: id(self.asset),
            size,
            work: Work::Fetch(fetch),
        }
    }

    fn part(&self, content: Content) -> Part {
        Part {
            content,
            file: MediaFile {
                kind: self.kind,
                path: path(self.path),
                place: None,
                asset: id(self.asset),
                size: self.content.len() as u64,
                modified: DATE,
                sha256: Sha256::of(self.content),
                md5: None,
                authored: self.way == Way::Made,
                fingerprint: None,
            },
            received: if self.way == Way::Fetched { 3 } else { 0 },
            way: self.way,
            made_of: self.made_of.map(path),
            room: None,
        }
    }
}

impl Bench {
    async fn new() -> Self {
        Self::on(Arc::new(RealSys)).await.unwrap()
    }

    /// On a system that fails; `None` when it does so before there is anything to publish.
    async fn on(sys: Arc<dyn Sys>) -> Option<Self> {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let dir = dir.unwrap();
        let (root, own) = (dir.path().join("media"), NodeId::new("node-b").unwrap());
        let catalog = CatalogId::new("assets/catalog").unwrap();
        Store::init(&root, &catalog, &own).unwrap();
        let store = Store::open(&root, &catalog, sys).unwrap();
        let staging = store.staging("pull-master").ok()?;
        let database = dir.path().join("emsync.db");
        let catalogue = Catalogue::open(&database).await.unwrap();
        let monitor = Arc::new(TestMonitor::default());
        let pull = pull(catalogue, (store, staging), own, &monitor);
        Some(Self {
            dir,
            pull: Arc::new(pull),
            monitor,
            lane: InFlight::default(),
        })
    }

    /// Wishes for work and claims it.
    async fn claim(&self, jobs: &[NewJob]) -> Vec<Job> {
        let catalogue = &self.pull.catalogue;
        let mut batch = catalogue.batch().await.unwrap();
        batch.enqueue(jobs, NOW).await.unwrap();
        batch.commit().await.unwrap();
        let lane = ("master", Lane::Small);
        let lease = Duration::from_secs(60);
        let claimed = catalogue.claim(lane, 100, "w1", NOW, lease).await.unwrap();
        assert_eq!(claimed.len(), jobs.len());
        claimed
    }

    fn item(&self, job: Job, ending: Ending) -> Item {
        let token = self.lane.enter();
        Item { job, ending, token }
    }

    fn landed(&self, job: Job, wishes: &[&Wish]) -> Item {
        let parts = wishes.iter().map(|wish| {
            let mut staged = self.pull.staging.create().unwrap();
            staged.write_all(wish.content).unwrap();
            wish.part(staged.into())
        });
        let ending = Ending::Landed {
            parts: parts.collect(),
            then: Vec::new(),
        };
        self.item(job, ending)
    }

    /// Claims the wishes' jobs and lands a file for each.
    async fn land(&self, wishes: &[Wish]) -> Vec<Item> {
        let jobs: Vec<_> = wishes.iter().map(Wish::job).collect();
        let claimed = self.claim(&jobs).await.into_iter();
        let items = claimed
            .zip(wishes)
            .map(|(job, wish)| self.landed(job, &[wish]));
        items.collect()
    }

    /// Runs a publisher over items, which end together with it.
    async fn run(&self, items: Vec<Item>) -> Result<(), Error> {
        let (sender, receiver) = mpsc::channel(items.len().max(1));
        for item in items {
            sender.send(item).await.unwrap();
        }
        drop(sender);
        let result = run(Arc::clone(&self.pull), receiver).await;
        assert_eq!(self.lane.count(), 0, "a job counts as under way for ever");
        result
    }

    /// The row of a file, after the promise behind it was looked into: what a row says lies on the disk.
    async fn row(&self, wish: &Wish) -> Option<MediaFile> {
        let catalogue = &self.pull.catalogue;
        let (name, asset) = (path(wish.path), id(wish.asset));
        let row = catalogue.file(wish.kind, &name, &asset).await;
        let file = row.unwrap()?.file;
        let open = self.pull.store.open_file(file.kind, file.place()).unwrap();
        let mut bytes = Vec::new();
        let mut open = open.expect("a row without a file");
        std::io::Read::read_to_end(&mut open.file, &mut bytes).unwrap();
        assert_eq!(Sha256::of(&bytes), file.sha256, "a row for other bytes");
        Some(file)
    }

    async fn jobs(&self) -> JobCounts {
        self.pull.catalogue.job_counts(None).await.unwrap()
    }

    async fn standing(&self, asset: &str) -> Vec<crate::catalogue::Standing> {
        self.pull.catalogue.jobs_about(asset, 10).await.unwrap()
    }

    /// Has live records of these assets, so that their files are somebody's.
    async fn know(&self, assets: &[(&str, &str)]) {
        let records: Vec<_> = assets.iter().map(|(id, at)| record(id, at)).collect();
        let records: Vec<_> = records.iter().collect();
        let mut batch = self.pull.catalogue.batch().await.unwrap();
        batch.put_records(&records, "master", NOW).await.unwrap();
        batch.commit().await.unwrap();
    }

    fn trashed(&self) -> usize {
        let store = &self.pull.store;
        let slots = store.slots().unwrap().map(Result::unwrap);
        slots.map(|slot| store.trashed_in(&slot).count()).sum()
    }
}

fn pull(
    catalogue: Catalogue,
    media: (Store, Staging),
    own: NodeId,
    monitor: &Arc<TestMonitor>,
) -> Pull {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let text = "node = { name = \"b\", cluster_id = \"node-b\" }\n\
                peer = [{ name = \"master\", base_url = \"http://master/assets\", key = \"k\" }]";
    let config = Config::parse(text, std::path::Path::new("/c/emsync.toml")).unwrap();
    let limits = Limits {
        attempts: 2,
        ..Limits::default()
    };
    let settings = config.peer("master").unwrap();
    let throttle = Throttle::new(&limits, Arc::new(Os));
    let peer = Peer::new(settings, &settings.key().unwrap(), &limits, throttle).unwrap();
    let policy = Policy {
        originals: true,
        generated: Generated::Copy,
    };
    let seams = Seams {
        clock: Arc::new(Stopped),
        rng: Arc::new(Os),
    };
    Pull::new(
        (peer, policy),
        catalogue,
        media,
        own,
        (limits, config.media.presets),
        seams,
        Arc::clone(monitor) as Arc<dyn crate::monitor::Monitor>,
        Shutdown::new(),
    )
}

fn record(id: &str, at: &str) -> Record {
    let node = NodeId::new("node-a").unwrap();
    let source = serde_json::json!({ "id": id, "sourcepath": at }).to_string();
    Record {
        key: RecordKey::new("asset", id).unwrap(),
        content: Sha256::of(source.as_bytes()),
        source,
        status: Some(RecordStatus {
            deleted: false,
            master: node.clone(),
            modified_by: node,
            modified: NOW,
            master_modified: Some(NOW),
        }),
    }
}

#[tokio::test]
async fn a_landed_file_is_durable_has_its_row_settles_its_job_and_leads_to_what_follows() {
    let bench = Bench::new().await;
    let mut items = bench.land(&[WISH]).await;
    let Ending::Landed { then, .. } = &mut items[0].ending else {
        unreachable!("it landed")
    };
    then.push(NewJob {
        peer: "master".to_owned(),
        subject: "render:a1".to_owned(),
        lane: Lane::Media,
        asset: id("a1"),
        size: 0,
        work: Work::Regenerate(RegenerateJob {
            original: WISH.path.to_owned(),
            output_dir: WISH.path.to_owned(),
            presets: Vec::new(),
        }),
    });
    bench.run(items).await.unwrap();
    let row = bench.row(&WISH).await.unwrap();
    assert_eq!((row.size, row.modified, row.place), (7, DATE, None));
    let left = bench.standing("a1").await;
    let left: Vec<_> = left.iter().map(|job| job.subject.as_str()).collect();
    assert_eq!(left, ["render:a1"]);
    assert!(bench.monitor.seen().findings.is_empty());
}

#[tokio::test]
async fn what_was_done_is_counted_by_the_way_it_came() {
    let bench = Bench::new().await;
    let wish = |path, asset, way| Wish {
        path,
        asset,
        way,
        ..WISH
    };
    let wishes = [
        wish("x/1", "a1", Way::Fetched),
        wish("x/2", "a2", Way::Adopted),
        wish("x/3", "a3", Way::Adopted),
        wish("x/4", "a4", Way::Moved),
        wish("x/5", "a5", Way::Cloned),
        wish("x/6", "a6", Way::Made),
    ];
    let mut items = bench.land(&wishes).await;
    let unrenderable = wish("x/7", "a7", Way::Fetched);
    let job = bench.claim(&[unrenderable.job()]).await.remove(0);
    let finding = Finding {
        asset: id("a7"),
        content: Sha256::of(b"content"),
        reason: "not an image".to_owned(),
    };
    items.push(bench.item(job, Ending::Unrenderable(finding.clone())));
    bench.run(items).await.unwrap();
    let report = bench.pull.counts.report();
    let written = (report.files_written, report.files_adopted);
    let ours = (report.files_moved, report.files_cloned);
    assert_eq!((written, ours), ((4, 2), (1, 1)));
    assert_eq!((report.bytes_received, report.unrenderable), (3, 1));
    let advanced = bench.monitor.seen().advanced;
    let advanced = |counter| advanced.get(&counter).copied().unwrap_or(0);
    assert_eq!(advanced(Counter::Files), 6);
    let shown_as_it_came = 3;
    assert_eq!(advanced(Counter::Bytes), 6 * 7 - shown_as_it_came);
    assert_eq!(advanced(Counter::Renditions), 2);
    let kept = bench.pull.catalogue.findings(&["a7"]).await.unwrap();
    assert_eq!(kept, [finding]);
    assert_eq!(bench.jobs().await, JobCounts::default(), "jobs are left");
}

#[tokio::test]
async fn a_rendition_made_here_ends_the_finding_about_its_asset_and_a_copied_one_does_not() {
    for (way, left) in [(Way::Made, 0), (Way::Fetched, 1)] {
        let bench = Bench::new().await;
        let finding = Finding {
            asset: id("a1"),
            content: Sha256::of(b"an older original"),
            reason: "not an image".to_owned(),
        };
        let mut batch = bench.pull.catalogue.batch().await.unwrap();
        batch.put_finding(&finding, NOW).await.unwrap();
        batch.commit().await.unwrap();
        let kind = FileKind::Generated;
        let wish = Wish { kind, way, ..WISH };
        bench.run(bench.land(&[wish]).await).await.unwrap();
        assert_eq!(bench.pull.catalogue.count_findings().await.unwrap(), left);
    }
}

#[tokio::test]
async fn what_a_withdrawn_wish_brought_is_to_be_removed() {
    let bench = Bench::new().await;
    let items = bench.land(&[WISH]).await;
    let mut batch = bench.pull.catalogue.batch().await.unwrap();
    let subjects = [items[0].job.subject.clone()];
    assert_eq!(batch.withdraw("master", &subjects).await.unwrap(), 1);
    batch.commit().await.unwrap();
    bench.run(items).await.unwrap();
    let file = bench.row(&WISH).await.unwrap();
    let lane = ("master", Lane::Remove);
    let due = &bench.pull.catalogue;
    let due = due.claim(lane, 10, "w1", NOW, Duration::from_secs(60));
    let due = due.await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!(
        (&due[0].subject, &due[0].asset),
        (&remove_subject(&file), &file.asset)
    );
    let remove = RemoveJob {
        kind: WISH.kind,
        path: WISH.path.to_owned(),
        sha256: Sha256::of(WISH.content),
    };
    assert_eq!(due[0].work, Work::Remove(remove));
}

#[tokio::test]
async fn a_job_that_brought_nothing_ends_as_its_worker_says() {
    let bench = Bench::new().await;
    let wish = |path, asset| Wish {
        path,
        asset,
        ..WISH
    };
    let wishes = [wish("x/1", "a1"), wish("x/2", "a2"), wish("x/3", "a3")];
    let jobs: Vec<_> = wishes.iter().map(Wish::job).collect();
    let later = NOW.plus(Duration::from_secs(9));
    let endings = [
        Ending::Retry(later, "reset".to_owned()),
        Ending::Quarantine("wrong digest".to_owned()),
        Ending::Release,
    ];
    let claimed = bench.claim(&jobs).await.into_iter().zip(endings);
    let items = claimed.map(|(job, ending)| bench.item(job, ending));
    bench.run(items.collect()).await.unwrap();
    let mut found = Vec::new();
    for asset in ["a1", "a2", "a3"] {
        let job = bench.standing(asset).await.remove(0);
        found.push((job.state, job.attempts, job.reason));
        let due = if asset == "a1" { later } else { job.run_at };
        assert_eq!(job.run_at, due);
    }
    use crate::catalogue::JobState::{Quarantined, Waiting};
    let expected = [
        (Waiting, 1, "reset"),
        (Quarantined, 1, "wrong digest"),
        (Waiting, 0, ""),
    ];
    let expected = expected.map(|(state, attempts, reason)| (state, attempts, reason.to_owned()));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_file_with_a_folder_in_its_way_waits_for_removals_then_is_tried_again_then_set_aside() {
    use crate::catalogue::JobState::{Quarantined, Waiting};
    let bench = Bench::new().await;
    let media = bench.dir.path().join("media/assets/catalog/originals");
    std::fs::create_dir_all(media.join("x/a.jpg")).unwrap();
    bench.run(bench.land(&[WISH]).await).await.unwrap();
    let job = bench.standing("a1").await.remove(0);
    assert_eq!(
        (job.state, job.attempts),
        (Quarantined, 1),
        "{}",
        job.reason
    );
    assert_eq!(
        bench.pull.removals_done(),
        1,
        "nobody counted that it waits"
    );

    let another = Wish {
        asset: "a2",
        ..WISH
    };
    bench.run(bench.land(&[another]).await).await.unwrap();
    let job = bench.standing("a2").await.remove(0);
    assert_eq!((job.state, job.attempts), (Waiting, 1), "{}", job.reason);
    assert!(job.reason.contains("x/a.jpg"), "{}", job.reason);
    assert!(job.run_at >= NOW);

    let lane = ("master", Lane::Small);
    let later = NOW.plus(Duration::from_secs(3_600));
    let again = &bench.pull.catalogue;
    let again = again.claim(lane, 1, "w1", later, Duration::from_secs(60));
    let again = again.await.unwrap().remove(0);
    let another = Wish {
        asset: "a2",
        ..WISH
    };
    bench
        .run(vec![bench.landed(again, &[&another])])
        .await
        .unwrap();
    let job = bench.standing("a2").await.remove(0);
    assert_eq!((job.state, job.attempts), (Quarantined, 2));
    assert!(bench.pull.failure().is_none(), "one file ended the pass");
}

#[tokio::test]
async fn the_failure_of_one_part_is_its_own_items_and_nobody_elses() {
    let bench = Bench::new().await;
    bench.pull.removals_done();
    let media = bench.dir.path().join("media/assets/catalog/originals");
    let part = |path, asset| Wish {
        path,
        asset,
        ..WISH
    };
    let wishes = [
        vec![part("x/bad", "a1"), part("x/good", "a1")],
        vec![part("y/bad", "a2")],
        vec![part("z/one", "a3"), part("z/two", "a3")],
    ];
    for bad in ["x/bad", "y/bad"] {
        std::fs::create_dir_all(media.join(bad)).unwrap();
    }
    let jobs = wishes.each_ref().map(|parts| parts[0].job());
    let claimed = bench.claim(&jobs).await.into_iter();
    let items = claimed
        .zip(&wishes)
        .map(|(job, parts)| bench.landed(job, &parts.iter().collect::<Vec<_>>()));
    bench.run(items.collect()).await.unwrap();
    for wish in wishes[..2].iter().flatten() {
        assert_eq!(
            bench.row(wish).await,
            None,
            "{} failed as a whole",
            wish.path
        );
    }
    for wish in &wishes[2] {
        assert!(bench.row(wish).await.is_some(), "{} is fine", wish.path);
    }
    let left = bench.jobs().await;
    assert_eq!(left.open, 2, "{left:?}");
}

#[tokio::test]
async fn a_replaced_original_is_kept_unless_it_was_made_of_what_it_replaces() {
    let original = FileKind::Original;
    for (kind, made_of, kept) in [
        (original, None, 1),
        (original, Some("x/a.jpg"), 0),
        (original, Some("x/other.jpg"), 1),
        (FileKind::Generated, None, 0),
    ] {
        let bench = Bench::new().await;
        let before = Wish {
            kind,
            content: b"before",
            ..WISH
        };
        bench.run(bench.land(&[before]).await).await.unwrap();
        let after = Wish {
            kind,
            made_of,
            ..WISH
        };
        bench.run(bench.land(&[after]).await).await.unwrap();
        let now = bench.row(&Wish { kind, ..WISH }).await.unwrap();
        assert_eq!(now.sha256, Sha256::of(WISH.content));
        assert_eq!(bench.trashed(), kept, "{kind:?} made of {made_of:?}");
    }
}

#[tokio::test]
async fn the_second_file_of_a_name_lies_beside_the_first_and_a_person_is_told() {
    let bench = Bench::new().await;
    bench.know(&[("a1", "x/a.jpg"), ("a2", "x/a.jpg")]).await;
    let second = || Wish {
        asset: "a2",
        content: b"another",
        ..WISH
    };
    bench.run(bench.land(&[WISH]).await).await.unwrap();
    bench.run(bench.land(&[second()]).await).await.unwrap();
    let (first, second) = (bench.row(&WISH).await, bench.row(&second()).await);
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.place, None);
    let place = second.place.expect("two files under one name");
    let findings = bench.monitor.seen().findings;
    assert_eq!(findings.len(), 1);
    assert!(findings[0].contains(place.as_str()), "{findings:?}");
}

#[tokio::test]
async fn what_is_made_here_is_published_too_and_shared_with_nobody() {
    let bench = Bench::new().await;
    bench.know(&[("a1", "x"), ("a2", "x")]).await;
    let made = |asset| Wish {
        kind: FileKind::Generated,
        path: "x/t.webp",
        asset,
        way: Way::Made,
        ..WISH
    };
    for asset in ["a1", "a2"] {
        let job = NewJob {
            subject: format!("render:{asset}"),
            work: Work::Regenerate(RegenerateJob {
                original: "x".to_owned(),
                output_dir: "x".to_owned(),
                presets: Vec::new(),
            }),
            ..made(asset).job()
        };
        let job = bench.claim(&[job]).await.remove(0);
        bench
            .run(vec![bench.landed(job, &[&made(asset)])])
            .await
            .unwrap();
    }
    let (first, second) = (bench.row(&made("a1")).await, bench.row(&made("a2")).await);
    assert_eq!(first.unwrap().place, None);
    assert!(second.unwrap().place.is_some(), "it took the other's name");
}

#[tokio::test]
async fn equal_content_of_two_assets_under_one_name_is_one_file_where_the_peer_states_its_digest() {
    for states_digest in [true, false] {
        let bench = Bench::new().await;
        bench.know(&[("a1", "x/a.jpg"), ("a2", "x/a.jpg")]).await;
        let wish = |asset| Wish {
            asset,
            states_digest,
            ..WISH
        };
        bench.run(bench.land(&[wish("a1")]).await).await.unwrap();
        bench.run(bench.land(&[wish("a2")]).await).await.unwrap();
        let rows = (bench.row(&wish("a1")).await, bench.row(&wish("a2")).await);
        // Of a peer that states no digest the name has one file, and it is the newer record's.
        assert_eq!(
            (rows.0.is_some(), rows.1.is_some()),
            (states_digest, !states_digest)
        );
        let files = bench.pull.store.walk(FileKind::Original).count();
        assert_eq!(files, 1);
        assert_eq!(bench.jobs().await, JobCounts::default());
    }
}

#[tokio::test]
async fn a_full_disk_ends_the_pass_blames_no_file_and_leaves_no_row_without_its_file() {
    let wish = |path, asset| Wish {
        path,
        asset,
        ..WISH
    };
    let (mut stopped, mut n) = (0, 0);
    loop {
        n += 1;
        assert!(n < 100, "it never gets through");
        let sys = Arc::new(Faulty::at(n, Errno::NOSPC));
        let Some(bench) = Bench::on(Arc::clone(&sys) as Arc<dyn Sys>).await else {
            continue;
        };
        let wishes = [wish("x/1", "a1"), wish("y/2", "a2")];
        let jobs: Vec<_> = wishes.iter().map(Wish::job).collect();
        let mut items = Vec::new();
        for (job, wish) in bench.claim(&jobs).await.into_iter().zip(&wishes) {
            let Ok(mut staged) = bench.pull.staging.create() else {
                continue;
            };
            if staged.write_all(wish.content).is_ok() {
                let parts = vec![wish.part(staged.into())];
                let then = Vec::new();
                items.push(bench.item(job, Ending::Landed { parts, then }));
            }
        }
        let (all, before) = (items.len(), sys.fired());
        bench.run(items).await.unwrap();
        let mut rows = 0;
        for wish in &wishes {
            rows += usize::from(bench.row(wish).await.is_some());
        }
        let failure = bench.pull.failure();
        assert_eq!(failure.is_some(), rows < all, "{failure:?}");
        assert_eq!(bench.pull.stop.requested(), failure.is_some());
        assert_eq!(bench.jobs().await.open, 2 - rows as u64);
        for asset in ["a1", "a2"] {
            let jobs = bench.standing(asset).await;
            assert!(jobs.iter().all(|job| job.attempts == 0), "{jobs:?}");
        }
        stopped += usize::from(failure.is_some());
        if !before && !sys.fired() {
            assert_eq!(rows, 2);
            break;
        }
    }
    assert!(stopped > 5, "only {stopped} calls mattered");
}

#[tokio::test]
async fn what_nothing_follows_is_settled_without_waiting_for_more() {
    let bench = Bench::new().await;
    let (sender, receiver) = mpsc::channel(4);
    let publisher = tokio::spawn(run(Arc::clone(&bench.pull), receiver));
    for (asset, path) in [("a1", "x/a.jpg"), ("a2", "x/b.jpg")] {
        let wish = Wish {
            asset,
            path,
            ..WISH
        };
        let item = bench.land(&[wish]).await.remove(0);
        sender.send(item).await.unwrap();
        let mut fewer = std::pin::pin!(bench.lane.fewer().notified());
        fewer.as_mut().enable();
        if bench.lane.count() > 0 {
            fewer.await;
        }
    }
    assert_eq!(bench.jobs().await.open, 0);
    drop(sender);
    publisher.await.unwrap().unwrap();
}

/// As batches of one: the second is placed while the rows of the first are on their way.
#[tokio::test]
async fn a_batch_with_a_name_or_place_of_the_one_before_is_placed_after_its_rows() {
    let wish = |asset, path, content| Wish {
        asset,
        path,
        content,
        ..WISH
    };
    for (second, expected) in [
        (wish("a2", "x/a.jpg", b"content"), "shared"),
        (wish("a2", "x/a.jpg", b"another"), "mapped"),
        (wish("a2", "x/b.jpg", b"another"), "x/b.jpg"),
    ] {
        for _ in 0..20 {
            let bench = Bench::new().await;
            bench.know(&[("a1", WISH.path), ("a2", second.path)]).await;
            let mut settling = Settling::new(Arc::clone(&bench.pull));
            for item in bench.land(&[WISH, Wish { ..second }]).await {
                bring(&bench.pull, vec![item], &mut settling).await.unwrap();
            }
            settling.over().await.unwrap();
            assert_eq!(bench.row(&WISH).await.unwrap().place().as_str(), "x/a.jpg");
            let row = bench.row(&second).await;
            let place = row.as_ref().map(|row| row.place().as_str());
            match expected {
                "shared" => assert_eq!(place, None),
                "mapped" => assert!(place.unwrap() != "x/a.jpg"),
                own => assert_eq!(place, Some(own)),
            }
            assert_eq!(bench.jobs().await.open, 0);
        }
    }
}

#[tokio::test]
async fn a_place_that_a_mapped_file_got_a_moment_ago_is_taken() {
    let bench = Bench::new().await;
    let rules = bench.pull.store.rules();
    let mapped = rules.places(&path("x/a.jpg"), &id("a2")).nth(1).unwrap();
    let named: &'static str = mapped.as_str().to_owned().leak();
    let wishes = [
        ("a1", WISH.path, "one"),
        ("a2", WISH.path, "two"),
        ("a3", named, "three"),
    ];
    let wishes = wishes.map(|(asset, path, content)| Wish {
        asset,
        path,
        content: content.as_bytes(),
        ..WISH
    });
    bench
        .know(&wishes.each_ref().map(|wish| (wish.asset, wish.path)))
        .await;
    let mut settling = Settling::new(Arc::clone(&bench.pull));
    for item in bench.land(&wishes).await {
        bring(&bench.pull, vec![item], &mut settling).await.unwrap();
    }
    settling.over().await.unwrap();
    let mut places = Vec::new();
    for wish in &wishes {
        places.push(bench.row(wish).await.unwrap().place().clone());
    }
    assert_eq!(places[..2], [path("x/a.jpg"), mapped.clone()]);
    assert_ne!(places[2], mapped);
}

#[tokio::test]
async fn when_nothing_can_be_settled_everybody_ends_and_the_jobs_are_still_there() {
    let bench = Bench::new().await;
    let items = bench.land(&[WISH]).await;
    bench.pull.catalogue.close().await;
    assert!(matches!(bench.run(items).await, Err(Error::Catalogue(_))));
    assert!(bench.pull.stop.requested());
    let database = bench.dir.path().join("emsync.db");
    let again = Catalogue::open(&database).await.unwrap();
    assert_eq!(again.job_counts(None).await.unwrap().open, 1);
}
