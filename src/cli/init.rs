//! `emsync init`: a new node.

use anyhow::Context as _;

use super::args::Init;
use super::{ExitCode, output};
use crate::config::init::{NewNode, write};
use crate::node::Node;
use crate::seams::Seams;

pub(super) async fn run(args: &Init) -> anyhow::Result<ExitCode> {
    let dir = super::absolute(&args.dir)?;
    let from_dir = dir
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("node")
        .to_owned();
    let new = NewNode {
        dir,
        name: args.name.clone().unwrap_or(from_dir),
        catalog: args.catalog.clone(),
        cluster_id: args.cluster_id.clone(),
    };
    let config = write(&new, &Seams::os())?;
    Node::init(&config)
        .await
        .context("the configuration is written, the rest is not; run `emsync init` elsewhere")?;
    tracing::info!(file = %config.file.display(), media = %config.media.root.display(), "new node");
    output::line(config.node.cluster_id.as_str())?;
    Ok(ExitCode::Ok)
}
