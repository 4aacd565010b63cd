//! `emsync peer …`: the nodes this one exchanges with.

mod add;
mod narrow;
mod pause;

use std::path::Path;

use super::args::{Global, Json, Peer};
use super::{ExitCode, exit_code, output};
use crate::config::edit::{remove_peer, without_peer};
use crate::config::locate::locate;
use crate::config::peer::Described;
use crate::config::{self, Config};
use crate::peer::{self, Kind, Probe, Warning};
use crate::seams::Seams;
use crate::shutdown::Shutdown;
use crate::throttle::Throttle;

pub(super) async fn run(
    global: &Global,
    command: Peer,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    match command {
        Peer::Add(args) => add::run(global, &args, shutdown).await,
        Peer::List(args) => list(&super::config(global)?, &args),
        Peer::Show { name, json } => show(&super::config(global)?, &name, json),
        Peer::Test { name, json } => test(&super::config(global)?, &name, json, shutdown).await,
        Peer::Filter(args) => narrow::filter(global, &args).await,
        Peer::Prune(args) => narrow::prune(global, &args, shutdown).await,
        Peer::Pause(args) => pause::pause(global, &args).await,
        Peer::Resume(args) => pause::resume(global, &args).await,
        Peer::Remove { name, dry_run } => {
            let file = locate(global.config.as_deref())?;
            if dry_run {
                say("would take out of", &file, &without_peer(&file, &name)?)?;
            } else {
                remove_peer(&file, &name)?;
            }
            Ok(ExitCode::Ok)
        }
    }
}

/// Prints a section that would come or go.
fn say(what: &str, file: &Path, section: &str) -> anyhow::Result<()> {
    output::line(&format!("{what} {}:", file.display()))?;
    for line in section.trim().lines() {
        output::line(&format!("  {line}"))?;
    }
    Ok(())
}

fn list(config: &Config, args: &Json) -> anyhow::Result<ExitCode> {
    for peer in &config.peers {
        if args.json {
            output::json(&Described::of(peer))?;
        } else {
            let state = if peer.enabled { "" } else { "  (disabled)" };
            output::line(&format!("{}  {}{state}", peer.name, peer.base_url))?;
        }
    }
    Ok(ExitCode::Ok)
}

fn show(config: &Config, name: &str, json: bool) -> anyhow::Result<ExitCode> {
    let described = described(config.peer(name)?)?;
    if json {
        output::json(&described)?;
        return Ok(ExitCode::Ok);
    }
    for (member, value) in described.as_object().into_iter().flatten() {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        output::line(&format!("{member:<18} {value}"))?;
    }
    Ok(ExitCode::Ok)
}

fn described(peer: &config::Peer) -> anyhow::Result<serde_json::Value> {
    Ok(serde_json::to_value(Described::of(peer))?)
}

async fn test(
    config: &Config,
    name: &str,
    json: bool,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let settings = config.peer(name)?;
    let seams = Seams::os();
    let throttle = Throttle::new(&config.limits, seams.clock.clone());
    let peer = peer::Peer::new(settings, &settings.key()?, &config.limits, throttle)?;
    let probed = tokio::select! {
        probed = peer.probe(&*seams.clock, settings.pull_originals) => probed,
        () = shutdown.wait() => return Ok(ExitCode::Interrupted),
    };
    let probe = match probed {
        Ok(probe) => probe,
        Err(error) => {
            let code = exit_code::of_peer(&error);
            return Err(anyhow::Error::new(error)
                .context(format!("peer test {name} (exit {})", code as u8)));
        }
    };
    if json {
        output::json(&probe)?;
    } else {
        print(name, &probe)?;
    }
    Ok(verdict(&probe, settings, config))
}

/// Design section 8, Failures and exit codes. The EMDB beside this node bears its cluster id, anybody else must not.
fn verdict(probe: &Probe, settings: &config::Peer, config: &Config) -> ExitCode {
    let limit = i64::try_from(config.limits.max_clock_skew.as_millis()).unwrap_or(i64::MAX);
    let ours = probe.cluster_id.as_ref() == Some(&config.node.cluster_id) && !settings.sidecar;
    let wrong = |warning: &Warning| {
        matches!(
            warning,
            Warning::ClusterIdDiffers { .. } | Warning::NoClusterId
        )
    };
    if ours || probe.warnings.iter().any(wrong) {
        ExitCode::Usage
    } else if probe.skew_ms.is_some_and(|ms| ms.abs() > limit) {
        ExitCode::Fatal
    } else {
        ExitCode::Ok
    }
}

fn print(name: &str, probe: &Probe) -> anyhow::Result<()> {
    let kind = match &probe.kind {
        Kind::Enter => "EnterMediaDB".to_owned(),
        Kind::Emsync(version) => format!("emsync {version}"),
    };
    let id = probe
        .cluster_id
        .as_ref()
        .map_or("unknown", |id| id.as_str());
    output::line(&format!(
        "{name}: {kind}, cluster id {id}, catalog {}",
        probe.catalog
    ))?;
    let skew = probe
        .skew_ms
        .map_or_else(|| "unknown".to_owned(), |ms| format!("{ms} ms"));
    let records = output::counted(probe.records, "record");
    output::line(&format!(
        "{records} to list, answered in {} ms, clock offset {skew}",
        probe.latency_ms
    ))?;
    for warning in &probe.warnings {
        output::line(&format!("warning: {}", warning.said()))?;
    }
    Ok(())
}
