//! `emsync catalogue …`: a copy of it to keep, and back.

use super::args::{Catalogue, CatalogueBackup, CatalogueRestore, Global};
use super::doctor::{self, Printing};
use super::{ExitCode, Usage, output};
use crate::catalogue::{Error, examine_copy_deep};
use crate::error::chain;
use crate::node::backup::{BackupError, backup};
use crate::node::rebuild::Options;
use crate::seams::Seams;
use crate::shutdown::Shutdown;

pub(super) async fn run(
    global: &Global,
    command: Catalogue,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    match command {
        Catalogue::Backup(args) => copy(global, &args, shutdown).await,
        Catalogue::Restore(args) => restore(global, &args, shutdown).await,
    }
}

async fn copy(
    global: &Global,
    args: &CatalogueBackup,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let config = super::config(global)?;
    let made = match backup(&config, &args.to, &Seams::os(), shutdown).await {
        Err(BackupError::Cancelled) => return Ok(ExitCode::Interrupted),
        made => made?,
    };
    let printed = if args.json {
        output::json(&made)
    } else if global.quiet {
        Ok(())
    } else {
        let (path, size) = (made.path.display(), output::bytes(made.bytes));
        output::line(&format!("{path}: {size}, read through and sound"))
    };
    output::read_or_not(printed.map_err(Into::into))?;
    Ok(ExitCode::Ok)
}

async fn restore(
    global: &Global,
    args: &CatalogueRestore,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let config = super::config(global)?;
    let refused = |why: String| {
        Usage(format!(
            "{} is no good: {why}; name a file that `emsync catalogue backup` made",
            args.file.display()
        ))
    };
    let health = examine_copy_deep(&args.file).await;
    let health = health.map_err(|error| refused(wrong_with(&error)))?;
    if !health.problems.is_empty() {
        anyhow::bail!(refused(health.problems.join("; ")));
    }
    let own = config.node.cluster_id.as_str();
    if let Some(owner) = health.owner.as_deref().filter(|owner| *owner != own) {
        anyhow::bail!(Usage(format!(
            "{} is the catalogue of the node {owner}, and this is {own}: restore it there; or, where this node takes the place of a lost {owner}, write cluster_id = {owner:?} under [node] in emsync.toml first",
            args.file.display()
        )));
    }
    let options = Options {
        dry_run: args.dry_run,
        snapshot: Some(args.file.clone()),
        checksum: args.checksum,
    };
    let printing = Printing {
        json: args.json,
        is_restore: true,
    };
    doctor::run_rebuild(global, &config, (&options, printing), shutdown).await
}

/// What a look at a copy found; what to do about a damaged catalogue does not help with a copy.
fn wrong_with(error: &Error) -> String {
    match error {
        Error::Damaged { what, source, .. } => {
            let cause = source.as_ref().map(|source| format!(" ({source})"));
            format!("it {what}{}", cause.unwrap_or_default())
        }
        _ => chain(error),
    }
}
