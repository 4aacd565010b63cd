//! `emsync peer filter` and `emsync peer prune`: which part of a peer's files this node holds.

use crate::cli::args::{Global, Narrow, PeerFilter, PeerPrune};
use crate::cli::{ExitCode, open, open_to_look, output, prompt};
use crate::config::locate::locate;
use crate::config::members::{change_peer, with_changed_peer};
use crate::config::{self, Config};
use crate::monitor::Silent;
use crate::node::Node;
use crate::pipeline::{self, Amount, Outside};
use crate::shutdown::Shutdown;

#[derive(serde::Serialize)]
struct Printed<'a> {
    peer: &'a str,
    filter: String,
    #[serde(flatten)]
    outside: Outside,
}

pub(super) async fn filter(global: &Global, args: &PeerFilter) -> anyhow::Result<ExitCode> {
    let file = locate(global.config.as_deref())?;
    let mut members = match args.clear {
        true => Narrow::none(),
        false => Vec::new(),
    };
    for (key, member) in args.narrow.members() {
        members.retain(|(known, _)| *known != key);
        members.push((key, member));
    }
    if args.dry_run {
        let text = with_changed_peer(&file, &args.name, &members)?;
        let settings = Config::parse(&text, &file)?.peer(&args.name)?.clone();
        return show(global, &settings, args.json).await;
    }
    if !members.is_empty() {
        change_peer(&file, &args.name, &members)?;
    }
    let settings = Config::load(&file)?.peer(&args.name)?.clone();
    show(global, &settings, args.json).await
}

/// Says what a filter leaves out of what is known by now.
async fn show(global: &Global, settings: &config::Peer, json: bool) -> anyhow::Result<ExitCode> {
    let node = open_to_look(global).await?;
    let outside = pipeline::outside(&node, settings).await?;
    print(settings, outside, json)?;
    if !json && outside.held.files > outside.wanted_elsewhere.files {
        output::line(&format!(
            "what is here all the same stays, and is not compared; `emsync peer prune {}` moves it to the trash",
            settings.name
        ))?;
    }
    node.catalogue.close().await;
    Ok(ExitCode::Ok)
}

pub(super) async fn prune(
    global: &Global,
    args: &PeerPrune,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let node = open(global).await?;
    let settings = node.config.peer(&args.name)?.clone();
    let code = pruned(&node, &settings, args, shutdown).await;
    node.catalogue.close().await;
    code
}

async fn pruned(
    node: &Node,
    settings: &config::Peer,
    args: &PeerPrune,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let _lock = node
        .turn(&format!("run-{}", settings.name), shutdown)
        .await?;
    let found = pipeline::outside(node, settings).await?;
    let going = found.held.files - found.wanted_elsewhere.files;
    if args.dry_run {
        print(settings, found, args.json)?;
        return Ok(ExitCode::Ok);
    }
    // Where nothing is to go there may still be bytes that a killed prune left without a row.
    if !args.yes && going > 0 {
        let bytes = found.held.bytes - found.wanted_elsewhere.bytes;
        let question = format!(
            "Move {} to the trash?",
            amount(Amount {
                files: going,
                bytes
            })
        );
        if !prompt::confirmed(&question)? {
            return Ok(ExitCode::Ok);
        }
    }
    let gone = pipeline::prune(node, settings, &Silent, shutdown).await;
    let gone = gone.map_err(anyhow::Error::new)?;
    print(settings, gone, args.json)?;
    if !args.json && going > 0 {
        let files = output::counted(gone.held.files - gone.wanted_elsewhere.files, "file");
        output::line(&format!(
            "{files} went to the trash; `emsync trash restore` brings them back for as long as they lie there"
        ))?;
    }
    Ok(ExitCode::Ok)
}

fn amount(amount: Amount) -> String {
    format!(
        "{} ({})",
        output::counted(amount.files, "file"),
        output::bytes(amount.bytes)
    )
}

fn print(settings: &config::Peer, outside: Outside, json: bool) -> anyhow::Result<()> {
    let filter = settings.filter.to_string();
    if json {
        return Ok(output::json(&Printed {
            peer: &settings.name,
            filter,
            outside,
        })?);
    }
    output::line(&match settings.filter.is_empty() {
        true => format!("{}: everything is wanted", settings.name),
        false => format!("{}: {filter}", settings.name),
    })?;
    output::line(&format!(
        "  left out                 {} of those that are known here",
        output::counted(outside.assets, "asset")
    ))?;
    output::line(&format!(
        "  here all the same        {}",
        amount(outside.held)
    ))?;
    if outside.wanted_elsewhere.files > 0 {
        let wanted = amount(outside.wanted_elsewhere);
        output::line(&format!("  brought by another peer  {wanted}, which stay"))?;
    }
    Ok(())
}
