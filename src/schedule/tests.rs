//! Events of a real node, whose clock stands where a test sets it.

use std::sync::atomic::{AtomicI64, Ordering};

use super::run::KEPT;
use super::*;
use crate::catalogue::{EventRun, NewRun, RunOutcome};
use crate::config::init::{self, NewNode};
use crate::seams::{Clock, Os, Seams};

/// 24 November 2026, 12:00 in UTC.
const NOON: Timestamp = Timestamp::from_millis(1_795_521_600_000);
const HOUR: Duration = Duration::from_secs(3_600);

/// A clock that somebody sets.
#[derive(Debug)]
struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A node with events, and the hands of its clock.
struct Bench {
    dir: tempfile::TempDir,
    hands: Arc<Hands>,
}

impl Bench {
    async fn new(events: &str) -> Self {
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
        let bench = Self {
            dir,
            hands: Arc::new(Hands(AtomicI64::new(NOON.as_millis()))),
        };
        bench.write(events);
        bench
    }

    /// Has these events instead of those before.
    fn write(&self, events: &str) {
        let file = self.dir.path().join("emsync.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let (head, _) = text.split_once("[[event]]").unwrap();
        std::fs::write(&file, format!("{head}[[event]]\n{events}")).unwrap();
    }

    fn config(&self) -> Config {
        Config::load(&self.dir.path().join("emsync.toml")).unwrap()
    }

    fn go(&self, span: Duration) {
        let span = i64::try_from(span.as_millis()).unwrap();
        self.hands.0.fetch_add(span, Ordering::Relaxed);
    }

    async fn node(&self) -> Node {
        let seams = Seams {
            clock: self.hands.clone(),
            rng: Arc::new(Os),
        };
        Node::open(self.config(), seams).await.unwrap()
    }

    /// A scheduler that runs, as after a start of the program.
    async fn start(&self) -> Started {
        let stop = Shutdown::new();
        let node = self.node().await;
        let scheduler = Scheduler::open_in(node, TimeZone::UTC, &stop)
            .await
            .unwrap();
        let running = scheduler.clone();
        let (looks, mut looked) = tokio::sync::watch::channel(0_u64);
        let task = tokio::spawn(async move {
            running
                .run(|| looks.send_modify(|looks| *looks += 1))
                .await
                .unwrap();
        });
        looked.changed().await.unwrap();
        Started {
            scheduler,
            stop,
            task,
            looked,
        }
    }
}

struct Started {
    scheduler: Scheduler,
    stop: Shutdown,
    task: tokio::task::JoinHandle<()>,
    looked: tokio::sync::watch::Receiver<u64>,
}

impl Started {
    /// Lets the scheduler look at its clock, and what it begins come to its end.
    async fn settle(&mut self) {
        // The first look may have begun before the clock was set; after the second one, one was made since.
        for _ in 0..2 {
            self.looked.borrow_and_update();
            self.scheduler.look();
            self.looked.changed().await.unwrap();
        }
        // A look is counted when it begins; this waits for what it begins.
        drop(self.scheduler.0.beginning.lock().await);
        for current in self.scheduler.current() {
            self.scheduler.ended(current.id).await;
        }
    }

    /// Cause and outcome of every run, oldest first.
    async fn runs(&self) -> Vec<(Cause, Option<RunOutcome>)> {
        let runs = self.all().await.into_iter();
        runs.map(|run| (run.cause, run.outcome)).collect()
    }

    async fn all(&self) -> Vec<EventRun> {
        let node = self.scheduler.node();
        let mut runs = node.catalogue.event_runs(None, None, 1_000).await.unwrap();
        runs.reverse();
        runs
    }

    async fn end(self) {
        self.stop.request();
        self.task.await.unwrap();
        self.scheduler.node().catalogue.close().await;
    }
}

/// An event of a peer that is not there.
const FAR: &str = "name = \"one\"\naction = \"pull\"\npeer = \"far\"\nevery = \"1h\"\n\
    [[peer]]\nname = \"far\"\nbase_url = \"http://127.0.0.1:9/assets\"\nkey_env = \"NO_SUCH_KEY\"\n";
const HOURLY: &str = "name = \"tidy\"\naction = \"empty-trash\"\nevery = \"1h\"\n";

#[tokio::test]
async fn an_event_runs_in_its_time_and_once_for_what_was_missed() {
    let bench = Bench::new(HOURLY).await;
    let mut started = bench.start().await;
    started.settle().await;
    let beat = (Cause::Beat, Some(RunOutcome::Ok));
    assert_eq!(started.runs().await, [beat]);
    bench.go(HOUR - Duration::from_millis(1));
    started.settle().await;
    assert_eq!(started.runs().await.len(), 1);
    bench.go(Duration::from_millis(1));
    started.settle().await;
    assert_eq!(started.runs().await, [beat, beat]);
    started.end().await;
    // Down for five beats.
    bench.go(5 * HOUR);
    let mut started = bench.start().await;
    started.settle().await;
    let missed = (Cause::Missed, Some(RunOutcome::Ok));
    assert_eq!(started.runs().await, [beat, beat, missed]);
    let next = started.scheduler.events().await.unwrap()[0].next_at;
    assert_eq!(next, Some(NOON.plus(7 * HOUR)));
    started.end().await;
}

#[tokio::test]
async fn what_a_kill_cut_short_is_noted_and_begins_again() {
    let bench = Bench::new(HOURLY).await;
    let node = bench.node().await;
    // All that a process leaves that was killed in a run.
    let event = &node.config.events[0];
    let row = Timer::new(event, None, NOON).begun(NOON);
    let new = NewRun {
        event: "tidy",
        action: "empty-trash",
        cause: Cause::Beat,
    };
    let dead = node
        .catalogue
        .begin_event_run(&row, new, NOON)
        .await
        .unwrap();
    node.catalogue.close().await;
    let mut started = bench.start().await;
    started.settle().await;
    assert_eq!(
        started.runs().await,
        [
            (Cause::Beat, Some(RunOutcome::Interrupted)),
            (Cause::Again, Some(RunOutcome::Ok))
        ]
    );
    assert_eq!(started.all().await[0].id, dead);
    // It is owed no more.
    started.end().await;
    let mut started = bench.start().await;
    started.settle().await;
    assert_eq!(started.runs().await.len(), 2);
    started.end().await;
}

#[tokio::test]
async fn by_hand_it_runs_at_any_time_and_leaves_a_log() {
    let off = format!("{HOURLY}enabled = false\n");
    let bench = Bench::new(&off).await;
    let mut started = bench.start().await;
    bench.go(3 * HOUR);
    started.settle().await;
    assert_eq!(started.runs().await, []);
    let run = started.scheduler.run_now("tidy").await.unwrap();
    started.scheduler.ended(run).await;
    let lines = started.scheduler.logs().lines(run, 0).unwrap();
    let expected = [
        "INFO tidy (empty-trash) begins: by hand",
        "INFO 0 files destroyed, 0 bytes",
        "INFO ended: ok",
    ];
    let said: Vec<_> = lines.iter().map(|line| &line[25..]).collect();
    assert_eq!(said, expected);
    let unknown = started.scheduler.run_now("tidi").await.unwrap_err();
    let unknown = unknown.to_string();
    assert!(unknown.starts_with("no event \"tidi\" in "), "{unknown}");
    assert!(unknown.ends_with(": there are tidy"), "{unknown}");
    assert!(!started.scheduler.cancel(run));
    started.end().await;
}

#[tokio::test]
async fn a_scrub_is_an_event_like_any_other() {
    let event = "name = \"read\"\naction = \"scrub\"\ncron = \"0 1 * * *\"\nenabled = false\n";
    let bench = Bench::new(event).await;
    let started = bench.start().await;
    let run = started.scheduler.run_now("read").await.unwrap();
    started.scheduler.ended(run).await;
    let ended = &started.all().await[0];
    assert_eq!(ended.outcome, Some(RunOutcome::Ok));
    let report: serde_json::Value = serde_json::from_str(ended.report.as_ref().unwrap()).unwrap();
    assert_eq!(
        (&report["files"], &report["damaged"]),
        (&0.into(), &0.into())
    );
    // Another one goes on.
    let lock = bench.node().await.lock(crate::scrub::ACTIVITY).unwrap();
    let run = started.scheduler.run_now("read").await.unwrap();
    let mut lines = started.scheduler.logs().follow(run).unwrap();
    lines.wait_for(|lines| *lines == 2).await.unwrap();
    assert!(started.scheduler.cancel(run));
    started.scheduler.ended(run).await;
    assert_eq!(started.all().await[1].outcome, Some(RunOutcome::Cancelled));
    drop(lock);
    started.end().await;
}

#[tokio::test]
async fn an_event_of_a_busy_peer_waits_for_its_turn_and_can_be_cancelled() {
    let bench = Bench::new(FAR).await;
    let node = bench.node().await;
    // Somebody else's run goes on.
    let lock = node.lock("run-far").unwrap();
    let started = bench.start().await;
    let run = loop {
        if let Some(current) = started.scheduler.current().first() {
            break current.id;
        }
        tokio::task::yield_now().await;
    };
    let mut lines = started.scheduler.logs().follow(run).unwrap();
    // It begins, and says what it waits for.
    lines.wait_for(|lines| *lines == 2).await.unwrap();
    let said = started.scheduler.logs().lines(run, 1).unwrap();
    assert!(
        said[0].contains("waiting: run-far is already running"),
        "{said:?}"
    );
    let twice = started.scheduler.run_now("one").await.unwrap_err();
    assert!(matches!(twice, Error::Running { .. }), "{twice}");
    assert!(started.scheduler.cancel(run));
    started.scheduler.ended(run).await;
    let cancelled = (Cause::Beat, Some(RunOutcome::Cancelled));
    assert_eq!(started.runs().await, [cancelled]);
    // Given free, the next one gets as far as the key, which is not there.
    drop(lock);
    let run = started.scheduler.run_now("one").await.unwrap();
    started.scheduler.ended(run).await;
    let last = started.all().await.pop().unwrap();
    assert_eq!(last.outcome, Some(RunOutcome::Failed));
    let why = last.detail.unwrap();
    assert!(
        why.starts_with("far: pull: ") && why.contains("NO_SUCH_KEY"),
        "{why}"
    );
    started.end().await;
    node.catalogue.close().await;
}

#[tokio::test]
async fn a_run_that_the_end_of_the_node_cuts_short_is_owed() {
    let bench = Bench::new(FAR).await;
    let node = bench.node().await;
    let lock = node.lock("run-far").unwrap();
    let started = bench.start().await;
    while started.scheduler.current().is_empty() {
        tokio::task::yield_now().await;
    }
    started.stop.request();
    started.task.await.unwrap();
    drop(lock);
    let mut started = bench.start().await;
    started.settle().await;
    let runs = started.runs().await;
    assert_eq!(
        runs,
        [
            (Cause::Beat, Some(RunOutcome::Interrupted)),
            (Cause::Again, Some(RunOutcome::Failed))
        ]
    );
    started.end().await;
    node.catalogue.close().await;
}

#[tokio::test]
async fn another_configuration_holds_from_the_next_run_on() {
    let bench = Bench::new(&format!("{HOURLY}enabled = false\n")).await;
    let mut started = bench.start().await;
    bench.go(HOUR);
    bench.write("name = \"tidy\"\naction = \"empty-trash\"\ncron = \"30 * * * *\"\n");
    started.scheduler.reload().await.unwrap();
    started.settle().await;
    assert_eq!(started.runs().await, []);
    bench.go(HOUR / 2);
    started.settle().await;
    assert_eq!(started.runs().await, [(Cause::Beat, Some(RunOutcome::Ok))]);
    started.end().await;
}

#[tokio::test]
async fn the_history_is_bounded_and_its_logs_with_it() {
    let bench = Bench::new(HOURLY).await;
    let mut started = bench.start().await;
    for _ in 0..KEPT + 3 {
        // Never after the last: the end of a run has the clock looked at, which would begin one more.
        bench.go(HOUR);
        started.settle().await;
    }
    let runs = started.all().await;
    assert_eq!(runs.len(), KEPT);
    let logs = std::fs::read_dir(bench.dir.path().join("state/runs")).unwrap();
    assert_eq!(logs.count(), KEPT);
    started.end().await;
}
