//! An event that imports a folder: as `emsync import` does, once no other import is at work.

use std::sync::Arc;

use super::act::{Ended, Run};
use super::lanes;
use super::log::Level;
use crate::catalogue::RunOutcome;
use crate::error::{Class, chain};
use crate::import::{self, ACTIVITY, Folder, Look};

impl Run<'_> {
    pub(super) async fn import(&self) -> Ended {
        let Some(written) = &self.event.folder else {
            unreachable!("an import without a folder is no valid event");
        };
        let folder = Folder {
            dir: written.dir.clone(),
            prefix: written.prefix.clone(),
            thumbs: written.thumbs,
        };
        let Some(_turn) = self.lanes.turn(ACTIVITY, self.stop).await else {
            return ended(RunOutcome::Interrupted, None);
        };
        let _lock = match lanes::lock(self.node, ACTIVITY, self.watch, self.stop).await {
            Ok(Some(lock)) => lock,
            Ok(None) => return ended(RunOutcome::Interrupted, None),
            Err(error) => return ended(RunOutcome::Failed, Some(chain(&error))),
        };
        let (look, stop) = (Look::default(), self.stop.child());
        let watch = Arc::clone(self.watch);
        let importing = import::into_node(self.node, &folder, &look, watch, &stop);
        let mut importing = std::pin::pin!(importing);
        let (done, over) = tokio::select! {
            done = importing.as_mut() => (done, None),
            over = self.cutoff.expired() => {
                // What is in hand is finished; the next run goes on from there.
                stop.request();
                (importing.await, Some(over))
            }
        };
        let report = match done {
            Ok(report) => report,
            Err(error) if error.class() == Class::Cancelled => {
                return ended(RunOutcome::Interrupted, None);
            }
            Err(error) => return ended(RunOutcome::Failed, Some(chain(&error))),
        };
        let level = if report.held + report.refused > 0 {
            Level::Warn
        } else {
            Level::Info
        };
        self.watch.say(level, &import::summary(&report, false));
        let (outcome, detail) = match over {
            _ if self.stop.requested() => (RunOutcome::Interrupted, None),
            Some(over) => (RunOutcome::TimeLimit, Some(chain(&over))),
            None if report.held > 0 => {
                let held = report.held;
                let dir = folder.dir.display();
                let text = format!(
                    "{held} deletes are held by the guard: look at the folder, then let them through with `emsync import {dir} --max-delete {held}`"
                );
                (RunOutcome::Guard, Some(text))
            }
            None if report.refused > 0 => (RunOutcome::Partial, import::left_out(&report)),
            None => (RunOutcome::Ok, None),
        };
        Ended {
            outcome,
            detail,
            report: serde_json::to_value(report).ok(),
        }
    }
}

fn ended(outcome: RunOutcome, detail: Option<String>) -> Ended {
    Ended {
        outcome,
        detail,
        report: None,
    }
}
