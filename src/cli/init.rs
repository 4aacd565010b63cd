//! `emsync init`: a new node.

use anyhow::Context as _;

use super::args::Init;
use super::{ExitCode, output, user};
use crate::config::init::{self, NewNode, write};
use crate::config::locate::FILE_NAME;
use crate::config::{self, Config};
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
        media: (args.media.as_deref()).map(super::absolute).transpose()?,
    };
    if let Some(name) = &args.user {
        user::check_name(name)?;
    }
    if args.dry_run {
        return say(&new);
    }
    let config = write(&new, &Seams::os())?;
    Node::init(&config)
        .await
        .context("the configuration is written, the rest is not; run `emsync init` elsewhere")?;
    tracing::info!(file = %config.file.display(), media = %config.media.root.display(), "new node");
    output::line(config.node.cluster_id.as_str())?;
    if let Some(name) = &args.user {
        let node = Node::open(config, Seams::os()).await?;
        let added = user::first(&node, name, args.password_file.as_deref()).await;
        node.catalogue.close().await;
        added.context("the node is made, the user is not; `emsync user add` adds one")?;
    }
    Ok(ExitCode::Ok)
}

/// Says what would be made, and whether it could be.
fn say(new: &NewNode) -> anyhow::Result<ExitCode> {
    let file = new.dir.join(FILE_NAME);
    if file.exists() {
        return Err(config::Error::Exists { file }.into());
    }
    let text = init::text(new, &Seams::os())?;
    let config = Config::parse(&text, &file)?;
    output::line(&format!("would make node {:?}:", config.node.name))?;
    output::line(&format!("  settings    {}", file.display()))?;
    output::line(&format!("  catalogue   {}", config.state.display()))?;
    output::line(&format!("  media root  {}", config.media.root.display()))?;
    output::line(&format!("  catalog id  {}", config.node.catalog))?;
    output::line(&match &new.cluster_id {
        Some(id) => format!("  cluster id  {id}"),
        None => format!(
            "  cluster id  like {}, made anew each time",
            config.node.cluster_id
        ),
    })?;
    Ok(ExitCode::Ok)
}
