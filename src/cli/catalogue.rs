//! `emsync catalogue …`: a copy of it to keep, and back.

use super::args::{Catalogue, CatalogueBackup, CatalogueRestore, Global};
use super::doctor::{self, Printing};
use super::{ExitCode, Usage, output};
use crate::catalogue::examine_copy_deep;
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
    let refused = |why: String| Usage(format!("{} is no good: {why}", args.file.display()));
    let health = examine_copy_deep(&args.file).await;
    let health = health.map_err(|error| refused(chain(&error)))?;
    if !health.problems.is_empty() {
        anyhow::bail!(refused(health.problems.join("; ")));
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
