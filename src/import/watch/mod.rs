//! A folder that lives: imported whenever something in it has changed and is at rest.
//!
//! ```text
//! ears        told by the kernel of what changes (Linux); every directory, also those that come later
//! batch       what was heard of, once it is at rest, goes through one import of those places alone
//! whole walk  at the start, every so often, and whenever ears missed something: it finds what no event told of
//! ```
//!
//! An event says only where to look, never what happened: what is there, moved or gone is judged by the import, as it is by one that a
//! person began, and under the same guard. The guard of all batches between two whole walks is one, so that a great many deletes do
//! not pass it in small portions. What is held stays held until a person lets it through: `emsync import DIR --max-delete N`.
//!
//! The lock of an import is held for each batch alone, so other imports and commands work in between. Killed at any moment, the next
//! watch begins with a whole walk and goes on.

#[cfg_attr(not(target_os = "linux"), path = "deaf.rs")]
mod ears;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::folder::{ACTIVITY, Folder, Look, into_node};
use super::{Error, Only, Quiet, Report};
use crate::config::MaxDelete;
use crate::error::{Class, chain};
use crate::model::Hasher;
use crate::monitor::Monitor;
use crate::node::{self, Lock, Node, snapshots};
use crate::reconcile::guard;
use crate::shutdown::Shutdown;
use ears::{Ears, Heard};

/// Wait before a folder that failed is looked at again, or one whose lock another has.
const AGAIN: Duration = Duration::from_secs(10);
/// What is heard of is gathered for so long at least, so that a burst is a few batches and not thousands.
const GATHER: Duration = Duration::from_millis(200);

/// What to watch and how.
#[derive(Debug, Clone)]
pub struct Watching {
    /// The folder.
    pub folder: Folder,
    /// How long a file stands still before it is taken.
    pub settle: Duration,
    /// How long after a whole walk the next one begins.
    pub rescan: Duration,
    /// Deletes let through between two whole walks, instead of `limits.max_delete`.
    pub max_delete: Option<MaxDelete>,
}

/// What a watch tells.
#[derive(Debug)]
pub enum Told<'a> {
    /// It has walked the whole folder once, and waits for changes: in so many directories, or for the time of the next walk alone.
    Watching {
        /// Directories whose changes are told; `None` where the system tells none.
        directories: Option<usize>,
    },
    /// A batch, or a whole walk.
    Imported {
        /// Whether it was the whole folder.
        whole: bool,
        /// What it did.
        report: &'a Report,
    },
    /// Something was missed or could not be done; a whole walk follows.
    Trouble {
        /// What, and what happens now.
        text: String,
    },
}

/// Why a watch ended.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The import failed, and would again.
    #[error(transparent)]
    Import(#[from] Error),
    /// The node cannot be worked on, or the folder is watched already.
    #[error(transparent)]
    Node(#[from] node::Error),
    /// Whoever is told has seen enough, or cannot be told.
    #[error("what it does cannot be told")]
    Tell(#[source] std::io::Error),
}

/// Watches a folder until the end is asked for.
///
/// # Errors
/// [`WatchError`]. A folder that cannot be looked at ends it at the start alone; later it is tried again, since its volume may come
/// back. One that is empty is waited for from the start.
pub async fn watch(
    node: &Node,
    watching: &Watching,
    monitor: Arc<dyn Monitor>,
    tell: &mut (dyn FnMut(Told<'_>) -> std::io::Result<()> + Send),
    stop: &Shutdown,
) -> Result<(), WatchError> {
    let dir = watching
        .folder
        .dir
        .canonicalize()
        .map_err(|source| Error::Folder {
            dir: watching.folder.dir.clone(),
            source,
        })?;
    let _alone = Lock::take(&node.config.state, &activity(&dir))?;
    let quiet = Arc::new(Quiet::new(watching.settle));
    let mut state = State {
        node,
        watching,
        monitor,
        ears: Ears::new(&dir, Arc::clone(&quiet)),
        // An import refuses a folder whose name is no text.
        source: dir.to_string_lossy().into_owned(),
        quiet,
        due: Only::Whole,
        heard_at: None,
        walk_at: Instant::now(),
        allowance: 0,
        is_begun: false,
        is_fit: false,
        trouble: None,
    };
    while !stop.requested() {
        state.round(tell, stop).await?;
        state.wait(tell, stop).await?;
    }
    Ok(())
}

/// One watch of a folder at a time: the activity is named for it.
fn activity(dir: &Path) -> String {
    let mut hasher = Hasher::new(false);
    hasher.update(dir.as_os_str().as_encoded_bytes());
    let digest = hasher.finish().sha256.to_string();
    format!("watch-{}", &digest[..12])
}

struct State<'a> {
    node: &'a Node,
    watching: &'a Watching,
    monitor: Arc<dyn Monitor>,
    ears: Ears,
    /// The folder's name in the catalogue.
    source: String,
    quiet: Arc<Quiet>,
    /// What is to be looked at.
    due: Only,
    /// Since when something that was heard of waits to be looked at.
    heard_at: Option<Instant>,
    /// When the next whole walk begins.
    walk_at: Instant,
    /// Deletes that the guard still lets go before the next whole walk.
    allowance: u64,
    /// Whether the first whole walk is done.
    is_begun: bool,
    /// Whether the folder could be looked at once, be it empty: what fails from then on may be fine again.
    is_fit: bool,
    /// What was told of a folder that cannot be imported, so that it is told once.
    trouble: Option<String>,
}

type Tell<'t> = &'t mut (dyn FnMut(Told<'_>) -> std::io::Result<()> + Send);

impl State<'_> {
    /// Imports what is due.
    async fn round(&mut self, tell: Tell<'_>, stop: &Shutdown) -> Result<(), WatchError> {
        if Instant::now() >= self.walk_at {
            self.due = Only::Whole;
        }
        if self.due.is_nothing() {
            return Ok(());
        }
        self.heard_at = None;
        let lock = match self.node.turn(ACTIVITY, stop).await {
            Ok(lock) => lock,
            // Another import is at work; what is due stays due.
            Err(node::Error::Busy { .. }) => {
                self.walk_at = self.walk_at.max(Instant::now() + AGAIN);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let only = std::mem::replace(&mut self.due, Only::nothing());
        let whole = only == Only::Whole;
        if whole {
            self.begin_whole(tell).await?;
        }
        let look = Look {
            allowance: Some(self.allowance),
            only: only.clone(),
            quiet: Some(Arc::clone(&self.quiet)),
            ..Look::default()
        };
        let (node, folder) = (self.node, &self.watching.folder);
        let importing = into_node(node, folder, &look, Arc::clone(&self.monitor), stop);
        let mut importing = std::pin::pin!(importing);
        // Listening goes on, so that it is known at any time which files somebody writes to.
        let report = loop {
            tokio::select! {
                biased;
                heard = self.ears.hear() => self.note(&heard, tell)?,
                report = importing.as_mut() => break report,
            }
        };
        drop(lock);
        let report = match report {
            Ok(report) => report,
            // A folder into which files will come may be empty at first.
            Err(error) if is_passing(&error) && (self.is_fit || is_empty(&error)) => {
                self.is_fit = true;
                let text = format!("{}; a whole walk follows", chain(&error));
                if self.trouble.as_ref() != Some(&text) {
                    self.trouble = Some(text.clone());
                    tell(Told::Trouble { text }).map_err(WatchError::Tell)?;
                }
                self.walk_at = Instant::now() + AGAIN;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.trouble = None;
        self.is_fit = true;
        self.allowance = self.allowance.saturating_sub(report.gone);
        self.remember(&only).await?;
        if has_news(&report) || (whole && !self.is_begun) {
            let report = &report;
            tell(Told::Imported { whole, report }).map_err(WatchError::Tell)?;
        }
        if whole && !stop.requested() {
            snapshots::daily(self.node, stop).await;
            self.walk_at = Instant::now() + self.watching.rescan;
            if !self.is_begun {
                self.is_begun = true;
                let directories = self.ears.directories();
                tell(Told::Watching { directories }).map_err(WatchError::Tell)?;
            }
        }
        Ok(())
    }

    /// Listens everywhere before the walk, so that nothing happens unheard in between.
    async fn begin_whole(&mut self, tell: Tell<'_>) -> Result<(), WatchError> {
        let node = self.node;
        let said = self.watching.max_delete.or(node.config.limits.max_delete);
        let live = node.catalogue.live_assets().await.map_err(Error::from)?;
        self.allowance = guard::limit(live, said);
        if let Some(text) = self.ears.listen_everywhere().await {
            tell(Told::Trouble { text }).map_err(WatchError::Tell)?;
        }
        Ok(())
    }

    /// Keeps due what a batch could not take yet.
    async fn remember(&mut self, only: &Only) -> Result<(), Error> {
        let dir = &self.watching.folder.dir;
        self.quiet
            .keep(|rel| dir.join(rel).symlink_metadata().is_ok());
        let restless = self.quiet.restless();
        if restless.is_empty() {
            return Ok(());
        }
        for rel in restless {
            self.due.add(&rel);
        }
        // What is gone may have become what is not at rest yet, and is judged together with it.
        let Only::Below(places) = only else {
            return Ok(());
        };
        for place in places {
            let is_gone = dir.join(place).symlink_metadata().is_err();
            if is_gone && self.is_known(place).await? {
                self.due.add(place);
            }
        }
        Ok(())
    }

    /// Whether the catalogue has a file of this name, or below it.
    async fn is_known(&self, place: &str) -> Result<bool, Error> {
        let catalogue = &self.node.catalogue;
        let rows = catalogue.gone_below(&self.source, i64::MAX, (place, ""), 1);
        Ok(!rows.await?.is_empty())
    }

    /// Notes what was heard.
    fn note(&mut self, heard: &Heard, tell: Tell<'_>) -> Result<(), WatchError> {
        self.due.join(&heard.places);
        if let Some(text) = &heard.missed {
            self.due = Only::Whole;
            let text = text.clone();
            tell(Told::Trouble { text }).map_err(WatchError::Tell)?;
        }
        if !heard.places.is_nothing() || heard.missed.is_some() {
            self.heard_at.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// Returns when something is due, or the end is asked for.
    async fn wait(&mut self, tell: Tell<'_>, stop: &Shutdown) -> Result<(), WatchError> {
        loop {
            let at = self.next_at().min(self.walk_at);
            let heard = tokio::select! {
                biased;
                () = stop.wait() => return Ok(()),
                heard = self.ears.hear() => heard,
                () = tokio::time::sleep_until(at.into()) => return Ok(()),
            };
            self.note(&heard, tell)?;
        }
    }

    /// When what is due is looked at: what was just heard of after a while, so that it can be at rest by then, and files that are
    /// not at rest when they can be.
    fn next_at(&self) -> Instant {
        let gather = self.watching.settle.max(GATHER);
        let restless = self.quiet.next_due();
        let heard = self.heard_at.map(|since| since + gather);
        match (heard, restless) {
            (None, None) if self.due.is_nothing() => self.walk_at,
            // Due and nothing to wait for: the lock was another's.
            (None, None) => Instant::now() + AGAIN.min(self.watching.rescan),
            (Some(heard), None) => heard,
            (None, Some(rest)) => rest.max(Instant::now() + GATHER),
            (Some(heard), Some(rest)) => heard.min(rest.max(Instant::now() + GATHER)),
        }
    }
}

/// Whether a report says more than that all is as it was.
fn has_news(report: &Report) -> bool {
    report.added + report.changed + report.moved + report.gone + report.held + report.refused > 0
}

fn is_empty(error: &Error) -> bool {
    matches!(error, Error::Empty { .. })
}

/// Whether a folder that was fine may be so again.
fn is_passing(error: &Error) -> bool {
    is_empty(error) || matches!(error, Error::Folder { .. }) || error.class() == Class::Transient
}
