//! What a run would do, without doing it: the listing is taken into a copy of the catalogue, and its jobs are counted there.
//!
//! It is the same metadata pass, planner and audit as in a run, so that it cannot disagree with one. Files are looked at, not
//! read: what seems to be here already is counted as such, and a run still hashes it before it believes it.

use std::sync::Arc;

use super::round::{audit, delete_limit, due_scope};
use super::{Error, Options, Outside, find_damage, outside, pull_with};
use crate::catalogue::{FileRow, Job, Lane};
use crate::config::{self, MaxDelete};
use crate::model::job::{FetchJob, Work};
use crate::model::{AssetId, FileKind, MediaPath};
use crate::monitor::Monitor;
use crate::node::Node;
use crate::pull::Pull;
use crate::pull::metadata::{self, Scope};
use crate::reconcile::guard;
use crate::shutdown::Shutdown;

/// Jobs read at a time.
const PAGE: usize = 1_000;
/// Deletes that are named one by one.
const NAMED: usize = 1_000;

/// A number of files and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Amount {
    /// Files.
    pub files: u64,
    /// Their bytes, as announced.
    pub bytes: u64,
}

impl Amount {
    pub(super) fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Preview {
    /// Whether everything was listed, or only what changed.
    pub everything: bool,
    /// Records that would be stored.
    pub records: u64,
    /// Originals that would be fetched.
    pub originals: Amount,
    /// Generated files that would be fetched.
    pub generated: Amount,
    /// Files that seem to be under their names already and would be read rather than fetched.
    pub adopted: Amount,
    /// Files that would get another name.
    pub moved: Amount,
    /// Files that would be made of an equal one that is here.
    pub cloned: Amount,
    /// Assets whose renditions would be made here.
    pub renditions: u64,
    /// Files that their records do not name any more, which would go to the trash.
    pub removals: u64,
    /// Records and assets that would be deleted, or lose files that are not listed any more.
    pub deletes: u64,
    /// How many of them the guard lets go; more than that, and none goes.
    pub delete_limit: u64,
    /// Whether the guard would hold them.
    pub held: bool,
    /// Records that are missing from this listing for the first time: a second one has to lack them, too.
    pub newly_absent: u64,
    /// Items that are set aside and would get another try.
    pub quarantined: u64,
    /// What the peer's filter leaves out.
    pub left_out: Outside,
    /// The first thousand of the deletes, by what they are about.
    pub delete_items: Vec<String>,
}

/// Takes the peer's listing and counts what would follow from it. Nothing outside of a throw-away copy is changed.
///
/// # Errors
/// [`Error`] as in a run.
pub async fn preview_peer(
    node: &Node,
    settings: &config::Peer,
    options: Options,
    monitor: Arc<dyn Monitor>,
    shutdown: &Shutdown,
) -> Result<Preview, Error> {
    let tag = node.seams.random_hex(8);
    let scratch = node.catalogue.scratch(&node.config.state, &tag).await?;
    let activity = format!("plan-{tag}");
    let preview = async {
        let into = (&scratch.catalogue, activity.as_str());
        let pull = pull_with(node, settings, into, monitor, shutdown).await?;
        let scope = due_scope(&pull, options.scope).await?;
        find_damage(&pull, (scope, options.checksum), true).await?;
        let mut preview = count(&pull, settings, scope, options.max_delete).await?;
        preview.left_out = outside::count(&pull.catalogue, node, settings).await?;
        Ok(preview)
    };
    let preview = preview.await;
    let _ = node.store.end_staging(&activity);
    scratch.close().await;
    preview
}

async fn count(
    pull: &Pull,
    settings: &config::Peer,
    scope: Scope,
    max_delete: Option<MaxDelete>,
) -> Result<Preview, Error> {
    let mut done = metadata::run(pull, scope).await?;
    if pull.learn_names().await? {
        done = metadata::run(pull, Scope::Everything).await?;
    }
    let mut preview = Preview {
        everything: done.complete.is_some(),
        records: pull.counts.report().records,
        ..Preview::default()
    };
    preview.newly_absent = audit(pull, &done, max_delete.is_some()).await?.noted;
    preview.delete_limit = delete_limit(pull, settings, max_delete, &done);
    let mut batch = pull.catalogue.batch().await?;
    preview.deletes = batch.hold_deletes(&settings.name, false).await?;
    batch.commit().await?;
    preview.held = !guard::lets_go(preview.deletes, preview.delete_limit);
    preview.quarantined = (pull.catalogue.job_counts(Some(&settings.name)).await?).quarantined;
    let mut after = String::new();
    loop {
        let jobs = (pull.catalogue)
            .jobs_after(&settings.name, &after, PAGE)
            .await?;
        let Some(last) = jobs.last() else {
            return Ok(preview);
        };
        after.clone_from(&last.subject);
        for job in &jobs {
            preview.take(pull, job).await?;
        }
    }
}

impl Preview {
    async fn take(&mut self, pull: &Pull, job: &Job) -> Result<(), Error> {
        match &job.work {
            Work::Fetch(fetch) => self.take_fetch(pull, &job.asset, fetch).await?,
            Work::Regenerate(_) => self.renditions += 1,
            Work::Remove(_) if job.lane == Lane::Remove => self.removals += 1,
            Work::Trash(_) => self.removals += 1,
            // What the peer is to get is another matter.
            Work::Upload(_) | Work::Send(_) => {}
            Work::Remove(_) | Work::Delete(_) | Work::Absent(_) => {
                if self.delete_items.len() < NAMED {
                    self.delete_items.push(job.subject.clone());
                }
            }
        }
        Ok(())
    }

    async fn take_fetch(
        &mut self,
        pull: &Pull,
        asset: &AssetId,
        fetch: &FetchJob,
    ) -> Result<(), Error> {
        let size = fetch.size.unwrap_or(0);
        let Ok(path) = MediaPath::new(fetch.path.as_str()) else {
            return Ok(());
        };
        let rules = pull.store.rules();
        let place = rules.plain(&path, asset);
        let rows = pull
            .catalogue
            .lying_at(rules, fetch.kind, std::slice::from_ref(&place))
            .await?;
        let twins: Vec<FileRow> = match &fetch.sha256 {
            Some(wanted) => pull.catalogue.files_with(wanted).await?,
            None => Vec::new(),
        };
        let store = pull.store.clone();
        let kind = fetch.kind;
        let found = tokio::task::spawn_blocking(move || store.stat(kind, &place));
        let found = found.await.ok().and_then(Result::ok).flatten();
        let is_there = found.is_some_and(|stat| Some(stat.size) == fetch.size) && rows.is_empty();
        let amount = if is_there {
            &mut self.adopted
        } else if fetch.from.is_some() {
            &mut self.moved
        } else if !twins.is_empty() {
            &mut self.cloned
        } else if fetch.kind == FileKind::Original {
            &mut self.originals
        } else {
            &mut self.generated
        };
        amount.add(size);
        Ok(())
    }
}
