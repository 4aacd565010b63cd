//! The scrub: every byte that the catalogue says is here is read again within so many days, and what does not read as it should is
//! put away and brought back.
//!
//! ```text
//! walk    slices that are due, oldest first; a batch of files is read, then cursor, counts and suspicions commit together
//! judge   under the locks of everybody who writes files: row and file once more; then the row says damaged, the bad copy goes to
//!         the trash, and a row there says what it was
//! heal    from peers, in order, through the pool of a pull; renditions of this node are made again; the rest is set aside
//! ```
//!
//! A kill anywhere leaves a cursor behind what was really read, and findings as far as they had come; the next run goes on with
//! both. What is read once more after a kill is counted once. A round is what was due when it began, however many runs it takes.
//!
//! Nothing is concluded from a file that cannot be reached (no right to read it, a link in its place): it stays suspected, and a run
//! that leaves suspicions or damage does not end well.

mod heal;
mod judge;
mod read;
#[cfg(test)]
mod tests;
mod walk;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::catalogue::{ScrubRound, SliceSum};
use crate::config::{self, Limits};
use crate::crash::{self, Point};
use crate::error::Class;
use crate::model::Timestamp;
use crate::monitor::{Monitor, Phase};
use crate::node::Node;
use crate::pull::Cutoff;
use crate::shutdown::Shutdown;
use crate::throttle::Throttle;
use crate::{catalogue, node, pipeline, renditions, store, text};
use judge::Judge;
use read::Reader;

/// What keeps two scrubs apart.
pub const ACTIVITY: &str = "scrub";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Findings that are healed before the walk goes on.
const FINDINGS: u64 = 500;

/// What can go wrong with a scrub as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] catalogue::Error),
    /// The media store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A lock cannot be taken.
    #[error(transparent)]
    Node(#[from] node::Error),
    /// Fetching from a peer broke down.
    #[error(transparent)]
    Fetch(#[from] pipeline::Error),
    /// Renditions cannot be made.
    #[error(transparent)]
    Renditions(#[from] renditions::Error),
    /// A thread of ours died.
    #[error("a worker of the scrub ended unexpectedly")]
    Worker,
}

impl Error {
    /// Whether it is worth trying again.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Catalogue(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::Node(error) => error.class(),
            Self::Fetch(error) => error.class(),
            Self::Renditions(error) => error.class(),
            Self::Worker => Class::Transient,
        }
    }
}

impl From<crate::crash::Reached> for Error {
    fn from(reached: crate::crash::Reached) -> Self {
        Self::Store(reached.into())
    }
}

/// What a scrub is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Everything now, not only what is due.
    pub all: bool,
    /// From whom damaged files are fetched, in this order; `None` leaves them as they are.
    pub heal_from: Option<Vec<config::Peer>>,
    /// When to end although there is more to do.
    pub cutoff: Arc<Cutoff>,
}

impl Options {
    /// As the configuration has it: what is due, healed from every enabled peer. One that shares our data directory has nothing else.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        let peers = node.config.enabled_peers().filter(|peer| !peer.sidecar);
        Self {
            all: false,
            heal_from: Some(peers.cloned().collect()),
            cutoff: Arc::default(),
        }
    }
}

/// What a scrub did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// The whole round, with all of its runs; `None` where nothing was ever due.
    pub round: Option<ScrubRound>,
    /// Files that this run read to their ends.
    pub files: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// What is due and was not read.
    pub left_files: u64,
    /// Bytes of that.
    pub left_bytes: u64,
    /// Files that are damaged now.
    pub damaged: u64,
    /// Files that did not read as they should, and could not be judged.
    pub suspected: u64,
    /// Since when every file here was read or published.
    pub oldest_verified: Option<String>,
    /// Wall time.
    pub elapsed_ms: u64,
}

impl Report {
    /// Whether every file of the round was read, and is sound or sound again.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.damaged == 0 && self.suspected == 0
    }

    /// In one line, for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut line = format!(
            "read {} ({})",
            text::counted(self.files, "file"),
            text::bytes(self.bytes)
        );
        for (number, what) in [
            (self.left_files, "still due"),
            (self.damaged, "damaged and not healed"),
            (self.suspected, "suspected"),
        ] {
            if number > 0 {
                line.push_str(&format!(", {} {what}", text::count(number)));
            }
        }
        format!("{line}; {}", text::elapsed(self.elapsed_ms))
    }
}

/// Looks what a scrub would read; reads nothing of it.
///
/// # Errors
/// The catalogue's.
pub async fn preview(node: &Node, all: bool) -> Result<Report, catalogue::Error> {
    let due = due(node, target(node, all).await?).await?;
    report(node, due, (0, 0), Instant::now()).await
}

/// Reads what is due, and heals what is damaged. The caller holds the lock [`ACTIVITY`].
///
/// When `shutdown` is requested it ends between two pieces of a file; when the time is over, behind the file in hand.
///
/// # Errors
/// [`Error`]; another run goes on.
pub async fn scrub(
    node: &Node,
    options: &Options,
    monitor: Arc<dyn Monitor>,
    shutdown: &Shutdown,
) -> Result<Report, Error> {
    let began = Instant::now();
    monitor.phase(Phase::Scrub);
    let target = target(node, options.all).await?;
    let reader = Reader {
        store: node.store.clone(),
        throttle: bandwidth(node),
        stop: shutdown.clone(),
    };
    let mut scrub = Scrub {
        node,
        options,
        judge: Judge::new(node, reader.clone(), Arc::clone(&monitor), shutdown),
        reader,
        monitor,
        stop: shutdown,
        target,
        read: (0, 0),
    };
    scrub.run().await?;
    let (read, left) = (scrub.read, due(node, target).await?);
    Ok(report(node, left, read, began).await?)
}

/// A limit of its own for what is read here.
fn bandwidth(node: &Node) -> Throttle {
    let limits = Limits {
        bwlimit: node.config.scrub.bandwidth.clone(),
        ..Limits::default()
    };
    Throttle::new(&limits, Arc::clone(&node.seams.clock))
}

/// What was verified before this is due: by its age, or because a round is open, or everything is asked for.
async fn target(node: &Node, all: bool) -> Result<Timestamp, catalogue::Error> {
    let now = node.seams.clock.now();
    let by_age = now.minus(DAY * node.config.scrub.days);
    let open = node.catalogue.scrub_round().await?;
    let open = open.filter(|round| round.ended_at.is_none());
    Ok(match open {
        // Asked for again, a round of everything goes on; one of what was due is too little.
        Some(round) if !all || round.is_of_all() => round.target.max(by_age),
        _ if all => now,
        _ => by_age,
    })
}

/// What is in the slices that are due, behind their cursors.
async fn due(node: &Node, target: Timestamp) -> Result<SliceSum, catalogue::Error> {
    let mut all = SliceSum::default();
    for slice in node.catalogue.scrub_slices().await? {
        if slice.verified_at >= target {
            break;
        }
        let under_way = slice.begun_at.is_some_and(|begun| begun >= target);
        let after = slice.after.as_ref().filter(|_| under_way);
        let sum = node.catalogue.slice_sum(slice.number, after).await?;
        if sum.oldest.is_some_and(|oldest| oldest < target) {
            all.files += sum.files;
            all.bytes = all.bytes.saturating_add(sum.bytes);
        }
    }
    Ok(all)
}

async fn report(
    node: &Node,
    left: SliceSum,
    (files, bytes): (u64, u64),
    began: Instant,
) -> Result<Report, catalogue::Error> {
    let catalogue = &node.catalogue;
    let (suspected, _) = catalogue.count_scrub_findings().await?;
    Ok(Report {
        round: catalogue.scrub_round().await?,
        files,
        bytes,
        left_files: left.files,
        left_bytes: left.bytes,
        damaged: catalogue.damaged().await?,
        suspected,
        oldest_verified: (catalogue.oldest_verified().await?).map(|at| at.to_string()),
        elapsed_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// One run.
struct Scrub<'a> {
    node: &'a Node,
    options: &'a Options,
    judge: Judge<'a>,
    reader: Reader,
    monitor: Arc<dyn Monitor>,
    stop: &'a Shutdown,
    target: Timestamp,
    read: (u64, u64),
}

impl Scrub<'_> {
    async fn run(&mut self) -> Result<(), Error> {
        self.begin().await?;
        // What an earlier run left comes first: a file in doubt is one that nobody may be served from.
        self.judge.all(None).await?;
        let complete = self.walk().await?;
        if !self.stop.requested() {
            self.judge.all(Some(&self.options.cutoff)).await?;
            self.heal().await?;
        }
        if complete {
            crash::point(Point::ScrubEnding)?;
            let mut batch = self.node.catalogue.batch().await?;
            batch.end_round(self.node.seams.clock.now()).await?;
            batch.commit().await?;
        }
        Ok(())
    }

    /// Opens a round, unless one is open that is about the same.
    async fn begin(&self) -> Result<(), Error> {
        let catalogue = &self.node.catalogue;
        let open = catalogue.scrub_round().await?;
        let is_open = open.is_some_and(|round| {
            round.ended_at.is_none() && (!self.options.all || round.is_of_all())
        });
        if is_open {
            return Ok(());
        }
        let slices = catalogue.scrub_slices().await?;
        if slices.iter().all(|slice| slice.verified_at >= self.target) {
            return Ok(());
        }
        // A round of everything is known by this: what it is about was all that there was when it began.
        let begun_at = match self.options.all {
            true => self.target,
            false => self.node.seams.clock.now(),
        };
        let mut batch = catalogue.batch().await?;
        batch.begin_round(begun_at, self.target).await?;
        Ok(batch.commit().await?)
    }

    /// Heals what is damaged, where that is wanted.
    async fn heal(&self) -> Result<(), Error> {
        let Some(peers) = &self.options.heal_from else {
            return Ok(());
        };
        heal::heal(
            self.node,
            peers,
            &self.options.cutoff,
            Arc::clone(&self.monitor),
            self.stop,
        )
        .await
    }
}
