//! One run of an event: from the moment it is noted, through what it does, to its end in the history.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;

use super::act::{Ended, Run};
use super::log::Level;
use super::tell::{self, Told};
use super::timer::{self, Timer};
use super::watch::Watch;
use super::{Current, Error, Scheduler, draw};
use crate::catalogue::{Cause, NewRun, RunOutcome};
use crate::config::Event;
use crate::model::Timestamp;
use crate::node::Node;
use crate::pull::Cutoff;
use crate::shutdown::Shutdown;

/// Runs of one event that are remembered.
pub(super) const KEPT: usize = 200;

/// A run that goes on.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) id: i64,
    cause: Cause,
    pub(super) started_at: Timestamp,
    watch: Arc<Watch>,
    stop: Shutdown,
    is_cancelled: AtomicBool,
}

impl Scheduler {
    /// Begins a run of an event.
    pub(super) async fn begin(&self, event: &Event, cause: Cause) -> Result<i64, Error> {
        let _one = self.0.beginning.lock().await;
        if self.0.stop.requested() {
            return Err(Error::Ending);
        }
        if let Some(running) = self.running().get(&event.name) {
            return Err(Error::Running {
                name: event.name.clone(),
                since: running.started_at,
            });
        }
        let (node, now) = (self.node(), self.now());
        let timer = self.timers().get(&event.name).cloned();
        let timer = timer.unwrap_or_else(|| Timer::new(event, None, now));
        let row = timer.begun(now);
        let new = NewRun {
            event: &event.name,
            action: event.action.name(),
            cause,
        };
        let id = node.catalogue.begin_event_run(&row, new, now).await?;
        let log = self.0.logs.begin(id);
        let clock = Arc::clone(&node.seams.clock);
        let running = Arc::new(Running {
            id,
            cause,
            started_at: now,
            watch: Arc::new(Watch::new(log, Arc::clone(&self.0.moved), clock)),
            stop: self.0.stop.child(),
            is_cancelled: AtomicBool::new(false),
        });
        let delay = draw(&node, event);
        self.timers()
            .insert(event.name.clone(), Timer { row, delay });
        self.running()
            .insert(event.name.clone(), Arc::clone(&running));
        let (scheduler, event) = (self.clone(), event.clone());
        self.0.tasks.spawn(async move {
            scheduler.carry_out(&node, &event, &running).await;
        });
        Ok(id)
    }

    /// A run, from its first line to its end in the history.
    async fn carry_out(&self, node: &Node, event: &Event, running: &Running) {
        let began = format!(
            "{} ({}) begins: {}",
            event.name,
            event.action.name(),
            running.cause.said()
        );
        running.watch.say(Level::Info, &began);
        tracing::info!(
            event = event.name,
            run = running.id,
            cause = running.cause.name(),
            "begins"
        );
        let ended = self.perform(node, event, running).await;
        let Ended {
            outcome,
            detail,
            report,
        } = ended;
        let report = report.map(|report| report.to_string());
        let text = match &detail {
            Some(detail) => format!("ended: {}: {detail}", outcome.name()),
            None => format!("ended: {}", outcome.name()),
        };
        let level = match outcome {
            RunOutcome::Failed => Level::Error,
            outcome if outcome.needs_a_person() => Level::Warn,
            _ => Level::Info,
        };
        running.watch.say_last(level, &text);
        if outcome.needs_a_person() {
            tracing::warn!(event = event.name, run = running.id, "{text}");
        } else {
            tracing::info!(event = event.name, run = running.id, "{text}");
        }
        let now = self.now();
        let said = (outcome, detail.as_deref());
        let noted = node
            .catalogue
            .end_event_run(running.id, said, report.as_deref(), now)
            .await;
        if let Err(error) = noted {
            tracing::error!(event = event.name, run = running.id, %error, "its end is not noted");
        }
        self.forget(node, event).await;
        if let Some(timer) = self.timers().get_mut(&event.name) {
            timer.row.is_owed = outcome == RunOutcome::Paused;
            timer.row.beat_at = timer.row.beat_at.max(now);
        }
        self.running().remove(&event.name);
        self.0.logs.end(running.id);
        self.0.wake.notify_one();
        let told = Told {
            node: &node.config.node.name,
            event: &event.name,
            action: event.action.name(),
            run: running.id,
            outcome,
            detail: detail.as_deref(),
            started_at: running.started_at.to_string(),
            ended_at: now.to_string(),
        };
        let is_told = tell::tell(node, event.ping.as_ref(), &told, &self.0.stop).await;
        self.note_told(node, &told, is_told).await;
    }

    /// Notes that a run needs no telling any more; one whose telling the end of the node cut short is told of at its next start.
    async fn note_told(&self, node: &Node, told: &Told<'_>, is_told: bool) {
        if !is_told || !told.outcome.needs_a_person() {
            return;
        }
        if let Err(error) = node.catalogue.told(told.run).await {
            tracing::warn!(run = told.run, %error, "may be told of once more");
        }
    }

    /// Tells of the ends that the end of the process before left untold.
    pub(super) async fn tell_what_was_not_told(&self) -> Result<(), Error> {
        let node = self.node();
        for run in node.catalogue.untold().await? {
            let (Some(outcome), Some(ended_at)) = (run.outcome, run.ended_at) else {
                continue;
            };
            let (scheduler, node) = (self.clone(), Arc::clone(&node));
            self.0.tasks.spawn(async move {
                let told = Told {
                    node: &node.config.node.name,
                    event: &run.event,
                    action: &run.action,
                    run: run.id,
                    outcome,
                    detail: run.detail.as_deref(),
                    started_at: run.started_at.to_string(),
                    ended_at: ended_at.to_string(),
                };
                let is_told = tell::tell(&node, None, &told, &scheduler.0.stop).await;
                scheduler.note_told(&node, &told, is_told).await;
            });
        }
        Ok(())
    }

    async fn perform(&self, node: &Node, event: &Event, running: &Running) -> Ended {
        let left = timer::time_left(event, self.now(), &self.0.zone);
        let longest = event.max_duration.into_iter().chain(left).min();
        let run = Run {
            node,
            event,
            cutoff: Arc::new(Cutoff::new(event.max_transfer, longest)),
            watch: &running.watch,
            lanes: &self.0.lanes,
            stop: &running.stop,
        };
        let ended = AssertUnwindSafe(run.perform()).catch_unwind().await;
        let mut ended = ended.unwrap_or_else(|_| Ended {
            outcome: RunOutcome::Failed,
            detail: Some("a fault in emsync itself; the node's log has more".to_owned()),
            report: None,
        });
        if ended.outcome == RunOutcome::Interrupted && running.is_cancelled.load(Ordering::Relaxed)
        {
            ended.outcome = RunOutcome::Cancelled;
        }
        ended
    }

    /// Takes old runs out of the history, with their logs.
    async fn forget(&self, node: &Node, event: &Event) {
        match node.catalogue.forget_event_runs(&event.name, KEPT).await {
            Ok(gone) => gone.into_iter().for_each(|run| self.0.logs.remove(run)),
            Err(error) => tracing::warn!(event = event.name, %error, "old runs stay"),
        }
    }
}

impl Running {
    /// Asks it to end, because a person wants it to.
    pub(super) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
        self.stop.request();
    }

    pub(super) fn current(&self, event: &str) -> Current {
        Current {
            id: self.id,
            event: event.to_owned(),
            cause: self.cause,
            started_at: self.started_at,
            seen: self.watch.seen(),
        }
    }
}
