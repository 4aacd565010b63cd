//! What a command did with one peer, which way or both, and how it is told.

use crate::cli::args::{Global, SyncHow};
use crate::cli::{ExitCode, output, verify};
use crate::monitor::RunReport;
use crate::pipeline::{Outcome, Ways, summary};
use crate::reconcile::verify::Parity;

/// What `--json` prints: the counts of design section 8, and what only some runs have.
#[derive(serde::Serialize)]
struct Printed<'a> {
    peer: &'a str,
    #[serde(flatten)]
    report: RunReport,
    held: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_sync: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parity: Option<&'a Parity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What a command did with one peer.
pub(super) struct Done {
    report: RunReport,
    held: u64,
    /// Why the pull ended early, if it did.
    pull: Option<anyhow::Error>,
    /// Why the push ended early, if it did.
    push: Option<anyhow::Error>,
    has_pushed: bool,
    has_pulled: bool,
}

impl Done {
    pub(super) fn pulled(outcome: Outcome) -> Self {
        Self {
            report: outcome.report,
            held: outcome.deletes.held,
            pull: outcome.error.map(anyhow::Error::new),
            push: None,
            has_pushed: false,
            has_pulled: true,
        }
    }

    pub(super) fn pushed(outcome: Outcome) -> Self {
        Self {
            report: outcome.report,
            held: 0,
            pull: None,
            push: outcome.error.map(anyhow::Error::new),
            has_pushed: true,
            has_pulled: false,
        }
    }

    /// Of two that could not begin, the first says why.
    pub(super) fn both(
        pulled: anyhow::Result<Outcome>,
        pushed: anyhow::Result<Outcome>,
    ) -> anyhow::Result<Self> {
        let (pulled, pushed) = match (pulled, pushed) {
            (Ok(pulled), Ok(pushed)) => (Self::pulled(pulled), Self::pushed(pushed)),
            (Ok(pulled), Err(error)) => {
                return Ok(Self {
                    push: Some(error),
                    has_pushed: true,
                    ..Self::pulled(pulled)
                });
            }
            (Err(error), Ok(pushed)) => {
                return Ok(Self {
                    pull: Some(error),
                    ..Self::pushed(pushed)
                });
            }
            (Err(error), Err(_)) => return Err(error),
        };
        Ok(Self {
            report: pulled.report.plus(pushed.report),
            push: pushed.push,
            has_pushed: true,
            ..pulled
        })
    }

    /// Both errors, each with the way it happened on where there are two ways.
    fn errors(&self) -> Option<String> {
        match (&self.pull, &self.push) {
            (Some(pull), Some(push)) => Some(format!("pull: {pull:#}; push: {push:#}")),
            (Some(error), None) if self.has_pushed => Some(format!("pull: {error:#}")),
            (None, Some(error)) if self.has_pulled => Some(format!("push: {error:#}")),
            (Some(error), None) | (None, Some(error)) => Some(format!("{error:#}")),
            (None, None) => None,
        }
    }
}

/// Prints what a run did, and says how to exit: an early end first, then the guard, then what was set aside, then parity.
pub(super) fn print(
    global: &Global,
    how: &SyncHow,
    peer: &str,
    done: Done,
    parity: Option<&Parity>,
) -> anyhow::Result<ExitCode> {
    let report = done.report;
    let code = match (&done.pull, &done.push) {
        (Some(error), _) | (None, Some(error)) => ExitCode::of(error),
        _ if done.held > 0 => ExitCode::Guard,
        _ if report.quarantined > 0 => ExitCode::Partial,
        _ if parity.is_some_and(Parity::differs) => ExitCode::Differs,
        _ => ExitCode::Ok,
    };
    let error = done.errors();
    let printed = if how.json {
        let in_sync = parity.map(|parity| parity.in_sync);
        let printed = Printed {
            peer,
            report,
            held: done.held,
            in_sync,
            parity,
            error: error.clone(),
        };
        output::json(&printed).map_err(Into::into)
    } else if !global.quiet {
        print_text(peer, &done, parity)
    } else {
        Ok(())
    };
    output::read_or_not(printed)?;
    if let Some(error) = error {
        tracing::error!(peer, "{error}");
    }
    Ok(code)
}

fn print_text(peer: &str, done: &Done, parity: Option<&Parity>) -> anyhow::Result<()> {
    let ways = match (done.has_pulled, done.has_pushed) {
        (true, false) => Ways::In,
        (false, true) => Ways::Out,
        _ => Ways::Both,
    };
    output::line(&summary(peer, &done.report, done.held, ways))?;
    parity.map_or(Ok(()), |parity| verify::print_table(peer, parity))
}
