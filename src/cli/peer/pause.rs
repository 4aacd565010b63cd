//! `emsync peer pause` and `emsync peer resume`.

use crate::cli::args::{Global, Paused};
use crate::cli::{ExitCode, open, output};

pub(super) async fn pause(global: &Global, args: &Paused) -> anyhow::Result<ExitCode> {
    let node = open(global).await?;
    let name = &node.config.peer(&args.name)?.name;
    let since = node.catalogue.pause(name, node.seams.clock.now()).await?;
    node.catalogue.close().await;
    if args.json {
        output::json(&serde_json::json!({ "peer": name, "paused_since": since }))?;
    } else {
        output::line(&format!(
            "{name}: paused since {since}; runs over it end, and none begins until `emsync peer resume {name}`"
        ))?;
    }
    Ok(ExitCode::Ok)
}

pub(super) async fn resume(global: &Global, args: &Paused) -> anyhow::Result<ExitCode> {
    let node = open(global).await?;
    let name = &node.config.peer(&args.name)?.name;
    let was_paused = node.catalogue.resume(name).await?;
    node.catalogue.close().await;
    if args.json {
        output::json(&serde_json::json!({ "peer": name, "was_paused": was_paused }))?;
    } else {
        output::line(&match was_paused {
            true => format!("{name}: runs over it may begin again"),
            false => format!("{name}: was not paused"),
        })?;
    }
    Ok(ExitCode::Ok)
}
