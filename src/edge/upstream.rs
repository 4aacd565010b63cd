//! One peer that files are fetched from for readers: a pull that takes single wishes, its publisher, and a rest after failures.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::{Error, Patience, Trouble};
use crate::catalogue::{Claim, Job, NewJob};
use crate::config::{self, Config};
use crate::model::MediaPath;
use crate::model::job::Work;
use crate::monitor::{Counter, Monitor, Phase};
use crate::node::Node;
use crate::pipeline::pull_with;
use crate::pull::publisher::Standing;
use crate::pull::{self, Pull, asked};
use crate::shutdown::Shutdown;

/// How long a claim lasts: a run may then take the wish over from a server that died.
const LEASE: Duration = Duration::from_secs(600);
/// How often it is looked whether a run is done that fetches the very file: it may be another process.
const LOOK: Duration = Duration::from_millis(100);
/// Longest time that a peer in trouble is asked for nothing.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// How long a partial waits for the next reader.
const PARTIALS_KEPT: Duration = Duration::from_secs(24 * 3_600);

pub(super) struct Upstream {
    pull: Arc<Pull>,
    config: Arc<Config>,
    publisher: Standing,
    trouble: Mutex<Option<Rest>>,
    patience: Patience,
}

/// A peer that is in trouble.
#[derive(Debug, Clone)]
struct Rest {
    until: Instant,
    failures: u32,
    error: Error,
}

impl Upstream {
    /// Begins its publisher. Only one that is alone takes away what others left half done.
    pub(super) async fn begin(
        node: &Node,
        settings: &config::Peer,
        is_alone: bool,
        patience: Patience,
        shutdown: &Shutdown,
    ) -> Result<Self, Error> {
        let activity = format!("read-{}", settings.name);
        let log = Arc::new(Log {
            peer: settings.name.clone(),
        });
        let into = (&node.catalogue, activity.as_str());
        let pull = pull_with(node, settings, into, log, shutdown).await;
        let pull = pull.map_err(|error| ours(&error))?;
        let sweep = || {
            pull.staging.sweep()?;
            let now = pull.seams.clock.now();
            pull.staging.sweep_partials(PARTIALS_KEPT, now)
        };
        if is_alone {
            sweep().map_err(|error| ours(&error))?;
        }
        // Nothing that a reader waits for waits for a removal.
        pull.removals_done();
        let pull = Arc::new(pull);
        Ok(Self {
            publisher: Standing::begin(&pull),
            trouble: Mutex::default(),
            config: Arc::clone(&node.config),
            patience,
            pull,
        })
    }

    /// Whether it takes nothing any more.
    pub(super) fn has_ended(&self) -> bool {
        self.pull.stop.requested()
    }

    /// Whether it was begun by the configuration that this node has.
    pub(super) fn goes_by(&self, node: &Node) -> bool {
        Arc::ptr_eq(&self.config, &node.config)
    }

    /// Fetches what is wished for; returns when it is durable with its row, whoever brought it. A run that is at it is waited for.
    pub(super) async fn bring(&self, wish: &NewJob) -> Result<(), Error> {
        loop {
            self.rested()?;
            let now = self.pull.seams.clock.now();
            let mut batch = self.pull.catalogue.batch().await?;
            let claim = batch.claim_for_reader(wish, (now, now.plus(LEASE))).await?;
            batch.commit().await?;
            match claim {
                Claim::Ours { job, is_new } => return self.fetch(*job, is_new).await,
                Claim::SetAside(reason) => {
                    return Err(Error::Upstream {
                        trouble: Trouble::Wrong,
                        reason: format!("set aside before: {reason}"),
                        rest: self.patience.file_rest,
                    });
                }
                Claim::Theirs => {}
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.pull.stop.wait() => return Err(Error::Closed),
            }
            if self.is_here(wish).await? {
                return Ok(());
            }
        }
    }

    async fn fetch(&self, job: Job, is_new: bool) -> Result<(), Error> {
        let items = self.publisher.items().ok_or(Error::Closed)?;
        let brought = asked::bring(&self.pull, job.clone(), &items).await;
        let Err(error) = brought else {
            self.note(None);
            return Ok(());
        };
        self.give_back(&job, is_new, &error).await?;
        let told = Error::of(&error);
        let Error::Upstream { trouble, .. } = &told else {
            return Err(told);
        };
        tracing::warn!(
            peer = self.pull.peer.name(),
            asset = %job.asset,
            path = job.subject,
            reason = error.reason(),
            "a reader waits in vain"
        );
        if trouble.is_of_the_file() {
            return Err(told.resting(self.patience.file_rest));
        }
        let asked_for = match &error {
            pull::Error::Peer(error) => error.retry_after(),
            _ => None,
        };
        Err(self.note(Some((told, asked_for))))
    }

    /// Ends the claim of what was not brought. Nobody but a reader wished for what was new.
    async fn give_back(&self, job: &Job, is_new: bool, why: &pull::Error) -> Result<(), Error> {
        if matches!(why, pull::Error::Unsettled { .. }) {
            return Ok(());
        }
        let mut batch = self.pull.catalogue.batch().await?;
        match is_new {
            true => drop(batch.settle(job).await?),
            false => batch.release(job).await?,
        }
        Ok(batch.commit().await?)
    }

    /// Whether the peer may be asked.
    fn rested(&self) -> Result<(), Error> {
        let trouble = self.trouble.lock().expect("no panic while it is held");
        let Some(rest) = &*trouble else {
            return Ok(());
        };
        let left = rest.until.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Ok(()),
            false => Err(rest.error.clone().resting(left)),
        }
    }

    /// Notes that the peer is in trouble, or that it is not; answers what readers hear.
    fn note(&self, failed: Option<(Error, Option<Duration>)>) -> Error {
        let mut trouble = self.trouble.lock().expect("no panic while it is held");
        let Some((error, asked_for)) = failed else {
            *trouble = None;
            return Error::Closed;
        };
        let now = Instant::now();
        // Many that were under way fail of one trouble: that is one failure.
        if let Some(rest) = trouble.as_ref().filter(|rest| rest.until > now) {
            return error.resting(rest.until - now);
        }
        let failures = trouble.as_ref().map_or(0, |rest| rest.failures);
        let rest = self.patience.peer_rest * 2_u32.saturating_pow(failures.min(8));
        let rest = rest.max(asked_for.unwrap_or_default()).min(LONGEST_REST);
        let error = error.resting(rest);
        *trouble = Some(Rest {
            until: now + rest,
            failures: failures + 1,
            error: error.clone(),
        });
        error
    }

    async fn is_here(&self, wish: &NewJob) -> Result<bool, Error> {
        let Work::Fetch(fetch) = &wish.work else {
            return Ok(false);
        };
        let Ok(path) = MediaPath::new(fetch.path.as_str()) else {
            return Ok(false);
        };
        let catalogue = &self.pull.catalogue;
        let row = catalogue.file(fetch.kind, &path, &wish.asset).await?;
        let is_it = |content| fetch.sha256.is_none_or(|wished| wished == content);
        Ok(row.is_some_and(|row| row.is_here() && is_it(row.file.sha256)))
    }

    /// Ends the publisher once it has published what it was given.
    pub(super) async fn close(&self) -> Result<(), pull::Error> {
        self.publisher.close().await
    }
}

pub(super) fn ours(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::Ours {
        reason: crate::error::chain(error),
    }
}

/// What happens goes to the log.
struct Log {
    peer: String,
}

impl Monitor for Log {
    fn phase(&self, _: Phase) {}
    fn expect(&self, _: Counter, _: u64) {}
    fn advance(&self, _: Counter, _: u64) {}

    fn finding(&self, text: &str) {
        tracing::warn!(peer = self.peer, "{text}");
    }
}
