//! What an event does, once it runs: the same as the command of its name.

use std::sync::Arc;

use super::lanes::{self, Lanes};
use super::log::Level;
use super::watch::Watch;
use crate::catalogue::RunOutcome;
use crate::config::{self, Action, Config, Event};
use crate::edge;
use crate::error::{Class, chain};
use crate::monitor::RunReport;
use crate::node::Node;
use crate::pipeline::{self, Exchange, Options, Outcome, Ways};
use crate::pull::metadata::Scope;
use crate::pull::{self, Cutoff};
use crate::renditions::rebuild::{self, Selection};
use crate::shutdown::Shutdown;
use crate::{scrub, trash};

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    pub(super) outcome: RunOutcome,
    /// What is to be said of it.
    pub(super) detail: Option<String>,
    /// Its counts.
    pub(super) report: Option<serde_json::Value>,
}

/// What a run works with.
pub(super) struct Run<'a> {
    pub(super) node: &'a Node,
    pub(super) event: &'a Event,
    pub(super) cutoff: Arc<Cutoff>,
    pub(super) watch: &'a Arc<Watch>,
    pub(super) lanes: &'a Lanes,
    pub(super) stop: &'a Shutdown,
}

/// Why something did not get to its end.
#[derive(Debug)]
enum Stopped {
    /// Its time or its bytes are over, and how.
    Limit(RunOutcome, String),
    /// Its peer is paused.
    Paused(String),
    /// The end was asked for.
    Asked,
    /// It failed.
    Failed(String),
}

impl Run<'_> {
    /// Does it.
    pub(super) async fn perform(&self) -> Ended {
        match self.event.action {
            Action::Sync => self.exchange(Ways::Both).await,
            Action::Pull => self.exchange(Ways::In).await,
            Action::Push => self.exchange(Ways::Out).await,
            Action::Verify => self.verify().await,
            Action::Thumbs => self.alone(self.thumbs().await),
            Action::Scrub => self.scrub().await,
            Action::Import => self.import().await,
            Action::EmptyTrash => self.alone(self.empty_trash().await),
        }
    }

    /// The peers it is about, in the order of the file.
    fn peers(&self) -> Vec<config::Peer> {
        let peers = peers_of(&self.node.config, self.event);
        peers.cloned().collect()
    }

    async fn exchange(&self, ways: Ways) -> Ended {
        let mut all = Sum::default();
        for peer in self.peers() {
            let done = self.exchange_with(&peer, ways).await;
            let is_over = matches!(done.stopped, Some(Stopped::Asked | Stopped::Limit(..)));
            let gone = if ways.pushes(&peer) { ways } else { Ways::In };
            self.tell((&peer.name, gone), &done);
            all.add(&peer.name, done);
            if is_over {
                break;
            }
        }
        all.ended()
    }

    async fn exchange_with(&self, peer: &config::Peer, ways: Ways) -> Done {
        let Some(_turn) = self.lanes.turn(&peer.name, self.stop).await else {
            return Done::stopped(Stopped::Asked);
        };
        let activity = format!("run-{}", peer.name);
        let _lock = match lanes::lock(self.node, &activity, self.watch, self.stop).await {
            Ok(Some(lock)) => lock,
            Ok(None) => return Done::stopped(Stopped::Asked),
            Err(error) => return Done::stopped(Stopped::Failed(chain(&error))),
        };
        let options = Options {
            cutoff: Arc::clone(&self.cutoff),
            ..Options::of(Scope::Changes)
        };
        let (watch, with) = (Arc::clone(self.watch), (peer, ways));
        let exchange = pipeline::exchange(self.node, with, options, watch, self.stop);
        let done = edge::beside(self.node, self.stop, exchange).await;
        Done::of(done)
    }

    fn tell(&self, (peer, ways): (&str, Ways), done: &Done) {
        let level = match (&done.stopped, done.held + done.report.quarantined) {
            (Some(Stopped::Failed(_)), _) => Level::Error,
            (None, 0) | (Some(Stopped::Asked | Stopped::Limit(..) | Stopped::Paused(_)), 0) => {
                Level::Info
            }
            _ => Level::Warn,
        };
        self.watch.say(level, &done.summary(peer, ways));
    }

    async fn verify(&self) -> Ended {
        let mut differing = Vec::new();
        let mut reports = serde_json::Map::new();
        for peer in self.peers() {
            let Some(_turn) = self.lanes.turn(&peer.name, self.stop).await else {
                return Ended::stopped(Stopped::Asked);
            };
            let look = pipeline::Look::default();
            let compared = tokio::select! {
                compared = pipeline::verify_peer(self.node, &peer, look, &**self.watch, self.stop) => compared,
                over = self.cutoff.expired() => Err(over.into()),
            };
            let parity = match compared {
                Ok(parity) => parity,
                Err(error) => {
                    let stopped = Stopped::of(&error);
                    self.watch
                        .say(Level::Error, &format!("{}: {}", peer.name, chain(&error)));
                    return Ended::stopped(stopped.named(&peer.name));
                }
            };
            let differences = parity.differences_total;
            let found = match (parity.in_sync, differences) {
                (true, _) => "equal".to_owned(),
                (false, 0) => "not compared in full".to_owned(),
                (false, some) => format!("{some} differences"),
            };
            self.watch
                .say(Level::Info, &format!("{}: {found}", peer.name));
            if parity.differs() {
                differing.push(format!("{}: {found}", peer.name));
            }
            let report =
                serde_json::json!({ "in_sync": parity.in_sync, "differences": differences });
            reports.insert(peer.name.clone(), report);
        }
        Ended {
            outcome: match differing.is_empty() {
                true => RunOutcome::Ok,
                false => RunOutcome::Differs,
            },
            detail: (!differing.is_empty()).then(|| differing.join("; ")),
            report: Some(reports.into()),
        }
    }

    /// What this node does alone, in its end.
    fn alone(&self, done: Result<serde_json::Value, Stopped>) -> Ended {
        match done {
            Ok(report) => Ended {
                outcome: RunOutcome::Ok,
                detail: None,
                report: Some(report),
            },
            Err(stopped) => Ended::stopped(stopped),
        }
    }

    async fn thumbs(&self) -> Result<serde_json::Value, Stopped> {
        let activity = rebuild::ACTIVITY;
        let lock = lanes::lock(self.node, activity, self.watch, self.stop).await;
        let _lock = lock
            .map_err(|error| Stopped::Failed(chain(&error)))?
            .ok_or(Stopped::Asked)?;
        let which = Selection {
            missing: true,
            stale: true,
            ..Selection::default()
        };
        let (watch, stop) = (Arc::clone(self.watch), self.stop.child());
        let rebuilding = rebuild::rebuild(self.node, activity, &which, false, watch, &stop);
        let mut rebuilding = std::pin::pin!(rebuilding);
        let (made, over) = tokio::select! {
            made = rebuilding.as_mut() => (made, None),
            over = self.cutoff.expired() => {
                // What is in hand is finished.
                stop.request();
                (rebuilding.await, Some(over))
            }
        };
        let report = made.map_err(|error| match error.class() {
            Class::Cancelled => Stopped::Asked,
            _ => Stopped::Failed(chain(&error)),
        })?;
        let text = format!("{} renditions made", report.rebuilt);
        self.watch.say(Level::Info, &text);
        match over {
            _ if self.stop.requested() => Err(Stopped::Asked),
            Some(over) => Err(Stopped::Limit(RunOutcome::TimeLimit, chain(&over))),
            None => Ok(serde_json::to_value(report).unwrap_or_default()),
        }
    }

    async fn scrub(&self) -> Ended {
        let lock = lanes::lock(self.node, scrub::ACTIVITY, self.watch, self.stop).await;
        let _lock = match lock {
            Ok(Some(lock)) => lock,
            Ok(None) => return Ended::stopped(Stopped::Asked),
            Err(error) => return Ended::stopped(Stopped::Failed(chain(&error))),
        };
        let options = scrub::Options {
            cutoff: Arc::clone(&self.cutoff),
            ..scrub::Options::of(self.node)
        };
        let watch = Arc::clone(self.watch);
        let report = match scrub::scrub(self.node, &options, watch, self.stop).await {
            Ok(report) => report,
            Err(error) => return Ended::stopped(Stopped::Failed(chain(&error))),
        };
        let text = report.summary();
        let level = match report.is_well() {
            true => Level::Info,
            false => Level::Warn,
        };
        self.watch.say(level, &text);
        let (outcome, detail) = if self.stop.requested() {
            (RunOutcome::Interrupted, None)
        } else if !report.is_well() {
            (RunOutcome::Partial, Some(text))
        } else if report.left_files > 0 {
            (RunOutcome::TimeLimit, Some(text))
        } else {
            (RunOutcome::Ok, None)
        };
        Ended {
            outcome,
            detail,
            report: serde_json::to_value(&report).ok(),
        }
    }

    async fn empty_trash(&self) -> Result<serde_json::Value, Stopped> {
        let retention = self.node.config.retention;
        if retention.others.is_none() {
            let why = "limits.trash_days is 0, which keeps the trash";
            return Err(Stopped::Failed(why.to_owned()));
        }
        let now = self.node.seams.clock.now();
        let (store, catalogue) = (&self.node.store, &self.node.catalogue);
        let swept = trash::expire(store, catalogue, retention, now).await;
        let swept = swept.map_err(|error| Stopped::Failed(chain(&error)))?;
        for reason in &swept.reasons {
            self.watch.say(Level::Warn, reason);
        }
        let text = format!("{} files destroyed, {} bytes", swept.files, swept.bytes);
        self.watch.say(Level::Info, &text);
        Ok(serde_json::json!({ "files": swept.files, "bytes": swept.bytes, "left": swept.left }))
    }
}

/// The peers that an event is about, in the order of the file.
pub(super) fn peers_of<'a>(
    config: &'a Config,
    event: &'a Event,
) -> impl Iterator<Item = &'a config::Peer> {
    config.peers.iter().filter(|peer| match &event.peer {
        Some(name) => peer.name == *name,
        None => peer.enabled && (event.action != Action::Push || peer.push),
    })
}

impl Stopped {
    fn of(error: &pipeline::Error) -> Self {
        match error {
            pipeline::Error::Pull(over @ pull::Error::TransferLimit { .. }) => {
                Self::Limit(RunOutcome::TransferLimit, chain(over))
            }
            pipeline::Error::Pull(over @ pull::Error::TimeLimit { .. }) => {
                Self::Limit(RunOutcome::TimeLimit, chain(over))
            }
            pipeline::Error::Pull(paused @ pull::Error::Paused { .. }) => {
                Self::Paused(chain(paused))
            }
            error if error.class() == Class::Cancelled => Self::Asked,
            error => Self::Failed(chain(error)),
        }
    }

    fn named(self, peer: &str) -> Self {
        match self {
            Self::Failed(why) => Self::Failed(format!("{peer}: {why}")),
            other => other,
        }
    }
}

impl Ended {
    fn stopped(stopped: Stopped) -> Self {
        let (outcome, detail) = match stopped {
            Stopped::Limit(which, why) => (which, Some(why)),
            Stopped::Paused(why) => (RunOutcome::Paused, Some(why)),
            Stopped::Asked => (RunOutcome::Interrupted, None),
            Stopped::Failed(why) => (RunOutcome::Failed, Some(why)),
        };
        Self {
            outcome,
            detail,
            report: None,
        }
    }
}

/// What was done with one peer.
#[derive(Debug)]
struct Done {
    report: RunReport,
    held: u64,
    stopped: Option<Stopped>,
}

impl Done {
    fn stopped(stopped: Stopped) -> Self {
        Self {
            report: RunReport::default(),
            held: 0,
            stopped: Some(stopped),
        }
    }

    fn of(done: Exchange) -> Self {
        let mut all = Self {
            report: RunReport::default(),
            held: 0,
            stopped: None,
        };
        for (way, done) in [("pull", done.pulled), ("push", done.pushed)] {
            let Some(done) = done else { continue };
            let error = match done {
                Err(error) => Some(error),
                Ok(Outcome {
                    report,
                    deletes,
                    error,
                }) => {
                    all.report = all.report.plus(report);
                    all.held += deletes.held;
                    error
                }
            };
            let stopped = error.map(|error| Stopped::of(&error).named(way));
            // The first says why.
            all.stopped = all.stopped.or(stopped);
        }
        all
    }

    fn summary(&self, peer: &str, ways: Ways) -> String {
        let text = pipeline::summary(peer, &self.report, self.held, ways);
        match &self.stopped {
            None => text,
            Some(Stopped::Asked) => format!("{text}; ended early"),
            Some(Stopped::Limit(_, why) | Stopped::Failed(why) | Stopped::Paused(why)) => {
                format!("{text}; {why}")
            }
        }
    }
}

/// What was done with all peers.
#[derive(Debug, Default)]
struct Sum {
    report: RunReport,
    held: u64,
    failed: Vec<String>,
    limit: Option<(RunOutcome, String)>,
    /// Why nothing was done with peers that are paused.
    paused: Vec<String>,
    /// Whether there was any other.
    has_others: bool,
    is_asked: bool,
}

impl Sum {
    fn add(&mut self, peer: &str, done: Done) {
        self.report = self.report.plus(done.report);
        self.held += done.held;
        self.has_others |= !matches!(done.stopped, Some(Stopped::Paused(_)));
        match done.stopped {
            Some(Stopped::Failed(why)) => self.failed.push(format!("{peer}: {why}")),
            Some(Stopped::Limit(which, why)) => self.limit = Some((which, why)),
            Some(Stopped::Paused(why)) => self.paused.push(why),
            Some(Stopped::Asked) => self.is_asked = true,
            None => {}
        }
    }

    /// As exit codes go: an early end first, then the guard, then what was set aside.
    fn ended(self) -> Ended {
        let aside = self.report.quarantined;
        let (outcome, detail) = if !self.failed.is_empty() {
            (RunOutcome::Failed, Some(self.failed.join("; ")))
        } else if self.is_asked {
            (RunOutcome::Interrupted, None)
        } else if let Some((which, why)) = self.limit {
            (which, Some(why))
        } else if self.held > 0 {
            let text = format!(
                "{} deletes are held by the guard: look at them, then let them through with --max-delete",
                self.held
            );
            (RunOutcome::Guard, Some(text))
        } else if aside > 0 {
            let text = format!("set aside: {aside}");
            (RunOutcome::Partial, Some(text))
        } else if self.paused.is_empty() {
            (RunOutcome::Ok, None)
        } else {
            let outcome = match self.has_others {
                true => RunOutcome::Ok,
                false => RunOutcome::Paused,
            };
            (outcome, Some(self.paused.join("; ")))
        };
        Ended {
            outcome,
            detail,
            report: serde_json::to_value(self.report).ok(),
        }
    }
}
