//! A folder of a node: how a person names it, and one import of it with all that belongs to that.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Error, Only, Options, Quiet, Report, run};
use crate::config::MaxDelete;
use crate::model::MediaPath;
use crate::monitor::Monitor;
use crate::node::Node;
use crate::reconcile::guard;
use crate::renditions::Settings;
use crate::shutdown::Shutdown;
use crate::text::{bytes, count, counted, elapsed};
use crate::trash;

/// The activity whose lock an import holds.
pub const ACTIVITY: &str = "import";

/// A folder as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Where it is.
    pub dir: PathBuf,
    /// What its paths are put under.
    pub prefix: Option<MediaPath>,
    /// Whether renditions are made.
    pub thumbs: bool,
}

/// How much of a folder is looked at, and how.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Whether to look only.
    pub dry_run: bool,
    /// Deletes that a person lets through, instead of `limits.max_delete`.
    pub max_delete: Option<MaxDelete>,
    /// The guard less what it has let go already, where several imports share one; instead of the two above it.
    pub allowance: Option<u64>,
    /// Which part of it.
    pub only: Only,
    /// Whose rest is waited for.
    pub quiet: Option<Arc<Quiet>>,
}

/// Imports a folder into a node whose lock [`ACTIVITY`] the caller holds; after a whole one, what lay in the trash for long enough
/// goes.
///
/// # Errors
/// As [`run`].
pub async fn into_node(
    node: &Node,
    folder: &Folder,
    look: &Look,
    monitor: Arc<dyn Monitor>,
    shutdown: &Shutdown,
) -> Result<Report, Error> {
    if let Some(sidecar) = node.sidecar() {
        return Err(Error::OfTheSidecar {
            sidecar: sidecar.name.clone(),
        });
    }
    let said = look.max_delete.or(node.config.limits.max_delete);
    let limit = match look.allowance {
        Some(left) => left,
        None => guard::limit(node.catalogue.live_assets().await?, said),
    };
    let options = Options {
        dir: folder.dir.clone(),
        prefix: folder.prefix.clone(),
        thumbs: folder.thumbs,
        renditions: Settings::of(node),
        batch: node.config.limits.publish_batch,
        max_delete: Some(limit),
        dry_run: look.dry_run,
        only: look.only.clone(),
        quiet: look.quiet.clone(),
    };
    let own = &node.config.node.cluster_id;
    let report = run(
        &node.catalogue,
        &node.store,
        own,
        &options,
        &node.seams,
        monitor,
        shutdown,
    )
    .await?;
    if !look.dry_run && look.only == Only::Whole && !shutdown.requested() {
        let (retention, now) = (node.config.retention, node.seams.clock.now());
        trash::expire(&node.store, &node.catalogue, retention, now).await?;
    }
    Ok(report)
}

/// That an import left something out, if it did, and what to do.
#[must_use]
pub fn left_out(report: &Report) -> Option<String> {
    (report.refused > 0).then(|| {
        format!(
            "{} not taken in: a warning names each with its reason; mend it, or move it out of the folder",
            counted(report.refused, "file")
        )
    })
}

/// What an import did in one line, for people.
#[must_use]
pub fn summary(report: &Report, dry_run: bool) -> String {
    let verb = if dry_run { "would import" } else { "imported" };
    let mut text = format!(
        "{verb} {} ({}): {} added, {} changed, {} moved, {} gone, {} unchanged",
        counted(report.seen, "file"),
        bytes(report.bytes),
        count(report.added),
        count(report.changed),
        count(report.moved),
        count(report.gone),
        count(report.unchanged),
    );
    for (number, what) in [
        (report.refused, "refused"),
        (report.unrenderable, "unrenderable"),
    ] {
        if number > 0 {
            text.push_str(&format!(", {} {what}", count(number)));
        }
    }
    if report.held > 0 {
        text.push_str(&format!(
            "; {} are held by the guard: see --max-delete",
            counted(report.held, "delete")
        ));
    }
    format!("{text}; {}", elapsed(report.elapsed_ms))
}
