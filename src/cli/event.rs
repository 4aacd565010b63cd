//! `emsync event …`: what the node does by itself.

use std::io;
use std::path::Path;

use anyhow::Context as _;

use super::args::{Event, EventAdd, Global};
use super::{ExitCode, Usage, output};
use crate::catalogue::{EventRun, RunOutcome};
use crate::config::Config;
use crate::config::edit::{self, EventText};
use crate::node::{self, Node};
use crate::schedule::{RunLogs, Scheduler, Standing};
use crate::shutdown::Shutdown;

pub(super) async fn run(
    global: &Global,
    command: Event,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    match command {
        Event::List(args) => list(global, args.json).await,
        Event::Run { name, json } => run_now(global, &name, json, shutdown).await,
        Event::History { name, limit, json } => {
            history(global, name.as_deref(), (limit, json)).await
        }
        Event::Log { run } => log(global, run),
        Event::Add(args) => {
            let text = text(*args)?;
            change(global, |config| edit::add_event(&config.file, &text))
        }
        Event::Enable { name } => change(global, |config| {
            edit::enable_event(&config.file, &name, true)
        }),
        Event::Disable { name } => change(global, |config| {
            edit::enable_event(&config.file, &name, false)
        }),
        Event::Remove { name } => change(global, |config| edit::remove_event(&config.file, &name)),
    }
}

/// An event as `--json` prints it.
#[derive(serde::Serialize)]
struct Listed<'a> {
    name: &'a str,
    action: &'static str,
    peer: Option<&'a str>,
    dir: Option<&'a Path>,
    when: String,
    enabled: bool,
    next_at: Option<String>,
    last: Option<Printed<'a>>,
}

/// A run as `--json` prints it.
#[derive(serde::Serialize)]
struct Printed<'a> {
    id: i64,
    event: &'a str,
    action: &'a str,
    cause: crate::catalogue::Cause,
    started_at: String,
    ended_at: Option<String>,
    outcome: Option<RunOutcome>,
    detail: Option<&'a str>,
    report: Option<serde_json::Value>,
}

impl<'a> From<&'a EventRun> for Printed<'a> {
    fn from(run: &'a EventRun) -> Self {
        let report = run.report.as_deref();
        Self {
            id: run.id,
            event: &run.event,
            action: &run.action,
            cause: run.cause,
            started_at: run.started_at.to_string(),
            ended_at: run.ended_at.map(|at| at.to_string()),
            outcome: run.outcome,
            detail: run.detail.as_deref(),
            report: report.and_then(|text| serde_json::from_str(text).ok()),
        }
    }
}

async fn list(global: &Global, json: bool) -> anyhow::Result<ExitCode> {
    let node = super::open_to_look(global).await?;
    let held = node::held(&node.config.state)?;
    let is_served = held.iter().any(|held| held.activity == "serve");
    let scheduler = Scheduler::open_to_look(node).await?;
    let events = scheduler.events().await?;
    if json {
        let listed: Vec<_> = events.iter().map(listed).collect();
        output::json(&listed)?;
    } else {
        for standing in &events {
            output::line(&line(standing))?;
        }
        if !is_served && events.iter().any(|standing| standing.event.enabled) {
            tracing::warn!("events run while `emsync serve` runs, which it does not");
        }
    }
    scheduler.node().catalogue.close().await;
    Ok(ExitCode::Ok)
}

fn listed(standing: &Standing) -> Listed<'_> {
    let event = &standing.event;
    Listed {
        name: &event.name,
        action: event.action.name(),
        peer: event.peer.as_deref(),
        dir: event.folder.as_ref().map(|folder| folder.dir.as_path()),
        when: event.when.to_string(),
        enabled: event.enabled,
        next_at: standing.next_at.map(|at| at.to_string()),
        last: standing.last.as_ref().map(Printed::from),
    }
}

fn line(standing: &Standing) -> String {
    let event = &standing.event;
    let folder = event
        .folder
        .as_ref()
        .map(|folder| format!(" {}", folder.dir.display()));
    let of = (event.peer.as_ref()).map(|peer| format!(" {peer}"));
    let of = of.or(folder).unwrap_or_default();
    let mut text = format!(
        "{}: {}{of}, {}",
        event.name,
        event.action.name(),
        event.when
    );
    if let Some(window) = &event.window {
        text.push_str(&format!(", {window}"));
    }
    text.push_str(&match standing.next_at {
        Some(at) => format!("; next {at}"),
        None if event.enabled => "; never".to_owned(),
        None => "; disabled".to_owned(),
    });
    match &standing.last {
        Some(run) => format!("{text}; last {}", told(run)),
        None => text,
    }
}

/// A run in half a line.
fn told(run: &EventRun) -> String {
    let (Some(outcome), Some(ended)) = (run.outcome, run.ended_at) else {
        return format!("began {}, goes on", run.started_at);
    };
    let took = u64::try_from(ended.since(run.started_at).as_millis()).unwrap_or(u64::MAX);
    let took = output::elapsed(took);
    match &run.detail {
        Some(detail) => format!("{} in {took}: {}: {detail}", run.started_at, outcome.name()),
        None => format!("{} in {took}: {}", run.started_at, outcome.name()),
    }
}

async fn history(
    global: &Global,
    name: Option<&str>,
    (limit, json): (usize, bool),
) -> anyhow::Result<ExitCode> {
    let node = super::open_to_look(global).await?;
    let runs = node.catalogue.event_runs(name, None, limit).await?;
    if json {
        let printed: Vec<Printed<'_>> = runs.iter().map(Printed::from).collect();
        output::json(&printed)?;
    } else {
        for run in &runs {
            let cause = run.cause.said();
            output::line(&format!(
                "{}  {} ({cause})  {}",
                run.id,
                run.event,
                told(run)
            ))?;
        }
    }
    node.catalogue.close().await;
    Ok(ExitCode::Ok)
}

fn log(global: &Global, run: i64) -> anyhow::Result<ExitCode> {
    let logs = RunLogs::new(&super::config(global)?.state);
    let lines = logs.lines(run, 0).context("the log of a run")?;
    anyhow::ensure!(!lines.is_empty(), "there is no log of a run {run}");
    for line in lines {
        output::line(&line)?;
    }
    Ok(ExitCode::Ok)
}

async fn run_now(
    global: &Global,
    name: &str,
    json: bool,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let node = super::open(global).await?;
    let scheduler = Scheduler::open(node, shutdown).await?;
    let run = scheduler.run_now(name).await?;
    let shows = !json && !global.quiet;
    let said = follow(&scheduler, run, shows).await;
    scheduler.drain().await;
    let node = scheduler.node();
    output::read_or_not(said)?;
    let code = finish(&node, run, json).await?;
    node.catalogue.close().await;
    Ok(code)
}

/// Shows what a run says until it has ended.
async fn follow(scheduler: &Scheduler, run: i64, shows: bool) -> anyhow::Result<()> {
    let (mut shown, mut lines) = (0, scheduler.logs().follow(run));
    loop {
        let goes_on = match &mut lines {
            Some(lines) => lines.changed().await.is_ok(),
            None => false,
        };
        if shows {
            let more = scheduler.logs().lines(run, shown);
            for line in more.map_err(io::Error::other)? {
                output::line(&line)?;
                shown += 1;
            }
        }
        if !goes_on {
            return Ok(());
        }
    }
}

async fn finish(node: &Node, run: i64, json: bool) -> anyhow::Result<ExitCode> {
    let run = node.catalogue.event_run(run).await?;
    let run = run.context("the run is not in the history")?;
    if json {
        output::read_or_not(output::json(&Printed::from(&run)).map_err(Into::into))?;
    }
    Ok(match run.outcome {
        Some(RunOutcome::Ok) => ExitCode::Ok,
        Some(RunOutcome::Partial) => ExitCode::Partial,
        Some(RunOutcome::Paused) => ExitCode::Temporary,
        Some(RunOutcome::TransferLimit) => ExitCode::TransferLimit,
        Some(RunOutcome::TimeLimit) => ExitCode::TimeLimit,
        Some(RunOutcome::Guard) => ExitCode::Guard,
        Some(RunOutcome::Differs) => ExitCode::Differs,
        Some(RunOutcome::Cancelled | RunOutcome::Interrupted) => ExitCode::Interrupted,
        Some(RunOutcome::Failed) | None => ExitCode::Other,
    })
}

fn change(
    global: &Global,
    edit: impl FnOnce(&Config) -> Result<(), crate::config::Error>,
) -> anyhow::Result<ExitCode> {
    edit(&super::config(global)?)?;
    Ok(ExitCode::Ok)
}

fn text(args: EventAdd) -> anyhow::Result<EventText> {
    // A folder is meant as seen from here, and is written so that it means the same from anywhere.
    let dir = args.dir.as_deref().map(super::absolute).transpose()?;
    let dir = dir.map(|dir| dir.into_os_string().into_string());
    let dir = dir
        .transpose()
        .map_err(|dir| Usage(format!("--dir {}: the name is not UTF-8", dir.display())))?;
    Ok(EventText {
        name: args.name,
        action: args.action,
        peer: args.peer,
        every: args.every,
        cron: args.cron,
        start: args.start,
        window: args.window,
        jitter: args.jitter,
        make_up: args.no_make_up.then_some(false),
        max_transfer: args.max_transfer,
        max_duration: args.max_duration,
        dir,
        prefix: args.prefix,
        thumbs: args.no_thumbs.then_some(false),
        enabled: args.disabled.then_some(false),
    })
}
