//! `emsync promote`: this node takes the place of its master, or says whether it could.

use super::args::{Global, Promote};
use super::{ExitCode, output};
use crate::node::doctor::State;
use crate::promote::{self, Fitness};
use crate::shutdown::Shutdown;

/// Gaps that are printed for people; JSON has more.
const PRINTED: usize = 20;

#[derive(serde::Serialize)]
struct Printed<'a> {
    peer: &'a str,
    #[serde(flatten)]
    fitness: &'a Fitness,
    #[serde(skip_serializing_if = "Option::is_none")]
    promoted: Option<promote::Promoted>,
}

pub(super) async fn run(
    global: &Global,
    args: &Promote,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let node = match args.check {
        true => super::open_to_look(global).await?,
        false => super::open(global).await?,
    };
    let settings = node.config.peer(&args.peer)?.clone();
    let fitness = promote::fitness(&node, &settings).await?;
    let goes_on = !args.check && (fitness.fit || args.force);
    let promoted = match goes_on {
        false => None,
        true => {
            let _lock = node
                .turn(&format!("run-{}", settings.name), shutdown)
                .await?;
            Some(promote::promote(&node, &settings, shutdown).await?)
        }
    };
    node.catalogue.close().await;
    let code = match goes_on || fitness.fit {
        true => ExitCode::Ok,
        false => ExitCode::Differs,
    };
    output::read_or_not(match args.json {
        true => output::json(&Printed {
            peer: &settings.name,
            fitness: &fitness,
            promoted,
        })
        .map_err(Into::into),
        false => print(args, &fitness, promoted.as_ref()),
    })?;
    Ok(code)
}

fn print(
    args: &Promote,
    fitness: &Fitness,
    promoted: Option<&promote::Promoted>,
) -> anyhow::Result<()> {
    for check in &fitness.checks {
        let state = match check.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failed | State::Fatal => "NOT OK",
        };
        output::line(&format!("{:<11} {state:<8} {}", check.name, check.detail))?;
        if let Some(advice) = &check.advice {
            output::line(&format!("{:<20} {advice}", ""))?;
        }
    }
    for gap in fitness.gaps.iter().take(PRINTED) {
        output::line(&format!("missing: {} (asset {})", gap.path, gap.asset))?;
    }
    let peer = &args.peer;
    match promoted {
        Some(promoted) => {
            let records = output::counted(promoted.records, "record");
            output::line(&format!(
                "{records} of {} are this node's now; what {peer} says of them is kept among the conflicts until it has pulled from here",
                promoted.former
            ))?;
            for refused in &promoted.refused {
                output::line(&format!("not taken over: {refused}"))?;
            }
            output::line(
                "next: have the other nodes pull from this one, and when the former master is back have it do so first",
            )?;
        }
        None if fitness.fit => output::line(&format!("fit to take the place of {peer}"))?,
        None => output::line(&format!(
            "NOT fit to take the place of {peer}{}",
            match args.check {
                true => "",
                false => "; nothing was changed, --force does it all the same",
            }
        ))?,
    }
    Ok(())
}
