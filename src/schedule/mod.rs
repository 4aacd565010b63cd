//! What a node does by itself: runs of the configuration's events, in their time, and by hand.
//!
//! ```text
//! [[event]] ─▶ timer (pure: when next) ─▶ loop ─┐
//!                        page, command ─▶ hand ─┴▶ run: a task ─▶ lanes (never two of one peer) ─▶ act ─▶ pipeline, renditions, trash
//!                                                   └─▶ log, a file          └─▶ catalogue: history, and how far each event is
//! ```
//!
//! An event never runs twice at once, and a peer is never in two runs at once, those of other processes included. That a run begins is
//! noted before it does anything, so one that a kill cuts short is owed, and begins again at the next start. Beats that come
//! while a run goes on are dealt with by it; a node that was down makes up for what it missed with one run, and so does one whose peer
//! was paused (`held`).
//!
//! [`Scheduler::run`] ends when it is asked to, once every run has ended: each is asked to end, too, and stays owed.

mod act;
mod held;
mod import;
mod lanes;
mod log;
mod run;
mod tell;
mod timer;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock};
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

pub use log::RunLogs;
pub use watch::{Moved, Seen};

use crate::catalogue::{self, Cause, EventRun};
use crate::config::{self, Bandwidth, Config, Event};
use crate::model::Timestamp;
use crate::monitor::Counter;
use crate::node::Node;
use crate::shutdown::Shutdown;
use lanes::Lanes;
use run::Running;
use timer::{Next, Timer};

/// Longest time between two looks at the clock, which may be set, or go on while this machine sleeps.
const LOOK: Duration = Duration::from_secs(15);

/// What can go wrong with the scheduler, or with what is asked of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No event of this name.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The event runs already.
    #[error("{name:?} is running already, since {since}")]
    Running {
        /// The event.
        name: String,
        /// When it began.
        since: Timestamp,
    },
    /// Every peer that the event is about is paused.
    #[error("{name:?} waits: {peers} paused; `emsync peer resume` lets it run")]
    Held {
        /// The event.
        name: String,
        /// Which peers.
        peers: String,
    },
    /// The scheduler ends.
    #[error("the node is about to end")]
    Ending,
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] catalogue::Error),
}

/// Goes by another configuration as soon as the scheduler does.
pub trait Follower: std::fmt::Debug + Send + Sync {
    /// The node is this from now on.
    fn follow(&self, node: &Node);
}

/// Runs events. Clones are cheap and are the same scheduler.
#[derive(Debug, Clone)]
pub struct Scheduler(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The node, with the configuration as it is now.
    node: RwLock<Arc<Node>>,
    zone: TimeZone,
    /// The bandwidth of the command line.
    held: OnceLock<Bandwidth>,
    follower: OnceLock<Box<dyn Follower>>,
    timers: Mutex<HashMap<String, Timer>>,
    running: Mutex<HashMap<String, Arc<Running>>>,
    /// Peers that are paused, as of the last look.
    paused: Mutex<BTreeSet<String>>,
    /// Held while a run begins, so that an event does not begin twice.
    beginning: tokio::sync::Mutex<()>,
    lanes: Lanes,
    logs: RunLogs,
    moved: Arc<Moved>,
    /// Something changed that the loop should look at.
    wake: Notify,
    tasks: TaskTracker,
    stop: Shutdown,
}

/// An event, as it stands.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What it is.
    pub event: Event,
    /// When it runs next by itself; `None` for never, while it runs, and while all its peers are paused.
    pub next_at: Option<Timestamp>,
    /// Whether it does not, because all peers that it is about are paused.
    pub is_held: bool,
    /// Its run that goes on.
    pub running: Option<Current>,
    /// Its last run, which may be the one that goes on.
    pub last: Option<EventRun>,
}

/// A run that goes on, as others see it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Current {
    /// Its number.
    pub id: i64,
    /// Its event.
    pub event: String,
    /// Why it began.
    pub cause: Cause,
    /// When it began.
    pub started_at: Timestamp,
    /// What it has done so far.
    pub seen: Seen,
}

impl Scheduler {
    /// A scheduler of a node's events, which runs none before [`run`](Self::run). It ends with `stop`. Local times are this machine's.
    ///
    /// # Errors
    /// [`Error::Catalogue`] when it does not say how far the events are.
    pub async fn open(node: Node, stop: &Shutdown) -> Result<Self, Error> {
        Self::open_in(node, TimeZone::system(), stop).await
    }

    /// The same, with local times of another zone.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_in(node: Node, zone: TimeZone, stop: &Shutdown) -> Result<Self, Error> {
        let scheduler = Self::of(node, zone, stop);
        scheduler.load(&scheduler.node(), true).await?;
        Ok(scheduler)
    }

    /// One that only says how its events stand, of a node that is not written to.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_to_look(node: Node) -> Result<Self, Error> {
        let scheduler = Self::of(node, TimeZone::system(), &Shutdown::new());
        scheduler.load(&scheduler.node(), false).await?;
        Ok(scheduler)
    }

    fn of(node: Node, zone: TimeZone, stop: &Shutdown) -> Self {
        Self(Arc::new(Inner {
            logs: RunLogs::new(&node.config.state),
            node: RwLock::new(Arc::new(node)),
            zone,
            held: OnceLock::new(),
            follower: OnceLock::new(),
            timers: Mutex::default(),
            running: Mutex::default(),
            paused: Mutex::default(),
            beginning: tokio::sync::Mutex::default(),
            lanes: Lanes::default(),
            moved: Arc::default(),
            wake: Notify::new(),
            tasks: TaskTracker::new(),
            stop: stop.child(),
        }))
    }

    /// Runs events until the end is asked for, and every run has ended. `alive` is called at every look at the clock, at least every
    /// 15 seconds.
    ///
    /// # Errors
    /// [`Error::Catalogue`] when it does not say how far the events are. A run that cannot begin is no reason to end.
    pub async fn run(&self, mut alive: impl FnMut()) -> Result<(), Error> {
        let node = self.node();
        let now = node.seams.clock.now();
        let dead = node.catalogue.end_dead_runs(now).await?;
        if dead > 0 {
            tracing::warn!(runs = dead, "were cut short; they begin again");
        }
        self.tell_what_was_not_told().await?;
        while !self.0.stop.requested() {
            alive();
            let woken = self.0.wake.notified();
            let wait = self.begin_due().await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = woken => {}
                () = self.0.stop.wait() => {}
            }
        }
        self.drain().await;
        Ok(())
    }

    /// Begins what is due; answers how long nothing will be.
    async fn begin_due(&self) -> Duration {
        let mut wait = self.look_who_is_paused().await;
        for event in &self.node().config.events {
            let now = self.now();
            let Some(next) = self.next_of(event, now) else {
                continue;
            };
            if next.at > now {
                wait = wait.min(next.at.since(now));
            } else if let Err(error) = self.begin(event, next.cause).await {
                tracing::error!(event = event.name, %error, "not begun; tried again");
            }
        }
        wait
    }

    /// Begins an event by hand; answers the number of the run.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn run_now(&self, name: &str) -> Result<i64, Error> {
        let node = self.node();
        let event = node.config.event(name)?;
        self.look_who_is_paused().await;
        if self.is_held(event) {
            return Err(Error::Held {
                name: name.to_owned(),
                peers: self.paused_of(event).join(", "),
            });
        }
        self.begin(event, Cause::Hand).await
    }

    /// Asks a run to end; answers whether there is one of this number.
    pub fn cancel(&self, run: i64) -> bool {
        let running = self.running();
        let Some(running) = running.values().find(|running| running.id == run) else {
            return false;
        };
        running.cancel();
        true
    }

    /// Returns once a run has ended, and its end is in the history; at once where there is no such run.
    pub async fn ended(&self, run: i64) {
        if let Some(mut lines) = self.0.logs.follow(run) {
            while lines.changed().await.is_ok() {}
        }
    }

    /// Returns once every run has ended and has been told of; none may begin after it.
    pub async fn drain(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Keeps a bandwidth whatever the configuration says of it: the one of the command line.
    #[must_use]
    pub fn holding(self, bwlimit: Option<Bandwidth>) -> Self {
        if let Some(bwlimit) = bwlimit {
            // It is said once.
            let _ = self.0.held.set(bwlimit);
        }
        self
    }

    /// The bandwidth of the command line, which holds whatever the configuration says.
    #[must_use]
    pub fn held(&self) -> Option<&Bandwidth> {
        self.0.held.get()
    }

    /// Has the rest of the process told of every configuration that this takes up.
    #[must_use]
    pub fn leading(self, follower: impl Follower + 'static) -> Self {
        // It is said once.
        let _ = self.0.follower.set(Box::new(follower));
        self
    }

    /// Reads the configuration file again. Its limits hold at once, for runs that go on as well; peers and all else for runs that begin
    /// from now on, and for whoever [follows](Self::leading). What is taken up only at a start is said in the log.
    ///
    /// # Errors
    /// [`Error`]; the former configuration stays.
    pub async fn reload(&self) -> Result<(), Error> {
        let _one = self.0.beginning.lock().await;
        let mut config = Config::load(&self.node().config.file)?;
        if let Some(held) = self.0.held.get() {
            config.limits.bwlimit = held.clone();
        }
        for key in self.node().needs_start(&config) {
            tracing::warn!(
                key,
                "was changed and stays as it was until this node is started again"
            );
        }
        let node = Arc::new(self.node().with(config));
        self.load(&node, true).await?;
        *self.0.node.write().expect("no panic while it is held") = Arc::clone(&node);
        if let Some(follower) = self.0.follower.get() {
            follower.follow(&node);
        }
        self.0.wake.notify_one();
        Ok(())
    }

    /// Has the clock and the paused peers looked at now: the clock was set, this machine slept, or somebody paused or resumed a peer.
    pub fn look(&self) {
        self.0.wake.notify_one();
    }

    /// The node, with the configuration as it is now.
    #[must_use]
    pub fn node(&self) -> Arc<Node> {
        Arc::clone(&self.0.node.read().expect("no panic while it is held"))
    }

    /// Every event as it stands, in the order of the file.
    ///
    /// # Errors
    /// [`Error::Catalogue`].
    pub async fn events(&self) -> Result<Vec<Standing>, Error> {
        let node = self.node();
        self.look_who_is_paused().await;
        let mut standing = Vec::with_capacity(node.config.events.len());
        for event in &node.config.events {
            let runs = node
                .catalogue
                .event_runs(Some(&event.name), None, 1)
                .await?;
            let running = self
                .running()
                .get(&event.name)
                .map(|one| one.current(&event.name));
            standing.push(Standing {
                next_at: self.next_of(event, self.now()).map(|next| next.at),
                is_held: self.is_held(event),
                event: event.clone(),
                running,
                last: runs.into_iter().next(),
            });
        }
        Ok(standing)
    }

    /// The runs that go on.
    #[must_use]
    pub fn current(&self) -> Vec<Current> {
        let running = self.running();
        let mut all: Vec<_> = running
            .iter()
            .map(|(name, one)| one.current(name))
            .collect();
        all.sort_by_key(|current| current.id);
        all
    }

    /// What runs said.
    #[must_use]
    pub fn logs(&self) -> &RunLogs {
        &self.0.logs
    }

    /// What runs of this process did together since it began.
    #[must_use]
    pub fn done(&self, counter: Counter) -> u64 {
        self.0.moved.read(counter)
    }

    /// When an event runs next by itself; not while it runs.
    fn next_of(&self, event: &Event, now: Timestamp) -> Option<Next> {
        if self.running().contains_key(&event.name) || self.is_held(event) {
            return None;
        }
        let timers = self.timers();
        timers.get(&event.name)?.next(event, now, &self.0.zone)
    }

    /// Finds out how far the events of a node are; notes that of new ones, if it may.
    async fn load(&self, node: &Node, notes: bool) -> Result<(), Error> {
        let now = node.seams.clock.now();
        let mut timers = HashMap::new();
        for event in &node.config.events {
            // What goes on is dealt with at its end.
            let running = self.running().contains_key(&event.name);
            if let Some(timer) = self.timers().get(&event.name).filter(|_| running) {
                timers.insert(event.name.clone(), timer.clone());
                continue;
            }
            let stored = node.catalogue.event(&event.name).await?;
            let timer = Timer::new(event, stored.clone(), now);
            if notes && stored.as_ref() != Some(&timer.row) {
                node.catalogue.put_event(&timer.row).await?;
            }
            let delay = draw(node, event);
            timers.insert(event.name.clone(), Timer { delay, ..timer });
        }
        *self.timers() = timers;
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.node().seams.clock.now()
    }

    fn timers(&self) -> MutexGuard<'_, HashMap<String, Timer>> {
        self.0.timers.lock().expect("no panic while it is held")
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Arc<Running>>> {
        self.0.running.lock().expect("no panic while it is held")
    }
}

/// How much later than its next beat an event begins.
fn draw(node: &Node, event: &Event) -> Duration {
    let most = u64::try_from(event.jitter.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(node.seams.rng.below(most))
}
