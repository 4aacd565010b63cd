//! Going back: records and originals as they were at a moment.
//!
//! ```text
//! record       its version of then, as a new edit of ours            the version of now becomes a former one; of every table
//! original     of then from the trash, or from an equal file here    the one of now goes to the trash
//! crops        of the assets that are asked for, likewise
//! renditions   made again, where this node makes them
//! newer        stays, or is deleted under the guard where that is asked for
//! ```
//!
//! So a restore is a change like any other: it goes to every peer, and another restore takes it back. Nothing is restored by halves:
//! where the original of then is not to be had, the asset stays as it is, and it is said why.
//!
//! Bytes come before rows here as everywhere. A kill leaves the original of then under the row of now, rows without renditions, or
//! bytes without a row, for which there is a job; and a note, by which `emsync status` says so. The same restore, asked for again, goes on
//! from there.

mod carry;
mod crops;
mod error;
mod moment;
mod plan;
mod records;

pub use error::Error;
pub use moment::moment;

use std::collections::HashSet;

use crate::config::MaxDelete;
use crate::crash::{self, Point};
use crate::model::{AssetId, Module, RecordKey, Timestamp};
use crate::monitor::Silent;
use crate::node::Node;
use crate::protocol::crop;
use crate::reconcile::deletes::{Applied, Deletes};
use crate::reconcile::guard;
use crate::renditions::rebuild;
use crate::shutdown::Shutdown;
use plan::{Back, Plan, Planner};

/// Assets planned at a time: each page walks the trash once, and is in memory with the records of then and now.
const PAGE: usize = 2_000;
/// Bytes of assets that go back together, which lie on the disk twice meanwhile; one asset may have more.
const BYTES_TOGETHER: u64 = 64 << 20;

/// Which assets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// This one.
    Asset(AssetId),
    /// Those in a category, then or now, by its id or its path.
    Category(String),
    /// Records of a table other than assets.
    Table(Module),
    /// All assets, and the records of every other table.
    All,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which assets.
    pub which: Which,
    /// The moment.
    pub to: Timestamp,
    /// Whether what did not exist then is deleted.
    pub delete_newer: bool,
    /// What a person said about the delete guard.
    pub max_delete: Option<MaxDelete>,
    /// Only look.
    pub dry_run: bool,
}

/// What became, or would become, of one record.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Told {
    /// Its table and id, as `category/sea`.
    pub record: String,
    /// Its id, of an asset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asset: Option<String>,
    /// Where an asset lies, or lay.
    pub path: Option<String>,
    /// What is done, in words.
    pub does: Vec<String>,
    /// Whether it was done.
    pub done: bool,
    /// Why it is not, or not to be.
    pub error: Option<String>,
}

impl Told {
    /// Nothing yet of this record.
    fn of(key: &RecordKey) -> Self {
        Self {
            record: key.to_string(),
            asset: key.module.is_asset().then(|| key.id.clone()),
            path: None,
            does: Vec::new(),
            done: false,
            error: None,
        }
    }
}

/// What a restore did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Report {
    /// Assets that went back to what they were.
    pub restored: u64,
    /// Records of other tables that did.
    pub records: u64,
    /// Assets among the restored that were deleted.
    pub undeleted: u64,
    /// Originals that came back.
    pub originals: u64,
    /// Assets and other records that did not exist then, and were deleted.
    pub deleted: u64,
    /// Assets and other records that did not exist then, and stay.
    pub newer: u64,
    /// Deletes that the guard holds.
    pub held: u64,
    /// Assets and other records that cannot be restored.
    pub failed: u64,
}

/// Goes back. `tell` hears of every record that is not as it was then.
///
/// # Errors
/// [`Error`]; what was restored until then is. What is the matter with one asset is told, and keeps no other from it.
pub async fn restore(
    node: &Node,
    options: &Options,
    tell: &mut (dyn FnMut(&Told) + Send),
    shutdown: &Shutdown,
) -> Result<Report, Error> {
    let mut restore = Restore {
        node,
        options,
        category: None,
        report: Report::default(),
        remade: Vec::new(),
        newer: Vec::new(),
        failed: HashSet::new(),
        is_noted: false,
        goes_on: !options.dry_run && node.catalogue.open_restore().await?.is_some(),
    };
    let mut locks = Vec::new();
    if !options.dry_run {
        for activity in node.writers()? {
            locks.push(node.turn(&activity, shutdown).await?);
        }
    }
    restore.run(tell, shutdown).await?;
    drop(locks);
    if !options.dry_run && !restore.remade.is_empty() && !shutdown.requested() {
        crash::point(Point::RestoreRendering)?;
        restore.render(shutdown).await?;
    }
    // Whatever ends it before this leaves the note: `status` says that the same restore is to be asked for again.
    if !options.dry_run && !shutdown.requested() && node.catalogue.open_restore().await?.is_some() {
        note(node, None).await?;
    }
    Ok(restore.report)
}

struct Restore<'a> {
    node: &'a Node,
    options: &'a Options,
    /// The id of the category that is asked for.
    category: Option<HashSet<String>>,
    report: Report,
    /// Assets whose originals are others now, or were made so by a restore that may not have come to their renditions.
    remade: Vec<AssetId>,
    /// Assets and other records that did not exist then.
    newer: Vec<RecordKey>,
    /// Assets that stay as they are, since something of then is not to be had.
    failed: HashSet<String>,
    /// Whether it is noted that a restore is under way.
    is_noted: bool,
    /// Whether an earlier one was cut short.
    goes_on: bool,
}

impl Restore<'_> {
    async fn run(
        &mut self,
        tell: &mut (dyn FnMut(&Told) + Send),
        stop: &Shutdown,
    ) -> Result<(), Error> {
        let catalogue = &self.node.catalogue;
        if let Which::Category(name) = &self.options.which {
            let id = rebuild::category(catalogue, name, true).await?;
            self.category = Some(HashSet::from([id]));
        }
        if !self.options.dry_run {
            // What a killed restore left without a row.
            let mut gone = Applied::default();
            deletes_of(self.node).finish(&mut gone, stop).await?;
        }
        // Before the assets that name them.
        match &self.options.which {
            Which::All => self.records(None, tell, stop).await?,
            Which::Table(table) => self.records(Some(table), tell, stop).await?,
            Which::Asset(_) | Which::Category(_) => {}
        }
        let mut after = String::new();
        while !stop.requested() {
            let ids = match &self.options.which {
                Which::Asset(asset) if after.is_empty() => vec![asset.to_string()],
                Which::Asset(_) | Which::Table(_) => Vec::new(),
                Which::Category(_) | Which::All => {
                    catalogue
                        .assets_changed_since(self.options.to, &after, PAGE)
                        .await?
                }
            };
            let Some(last) = ids.last() else { break };
            after.clone_from(last);
            let planner = Planner::new(self.node, self.options.to, self.category.as_ref());
            let mut together = Vec::new();
            for plan in planner.plan(&ids).await? {
                if stop.requested() {
                    break;
                }
                let Some(back) = self.sorted(plan, tell) else {
                    continue;
                };
                let bytes = together.iter().map(Back::bytes);
                let bytes = bytes.fold(back.bytes(), u64::saturating_add);
                let goes_along = back.goes_with_others()
                    && together.iter().all(Back::goes_with_others)
                    && together.len() < carry::TOGETHER
                    && bytes <= BYTES_TOGETHER;
                if !goes_along {
                    self.go_back(std::mem::take(&mut together), tell).await?;
                }
                together.push(back);
            }
            self.go_back(together, tell).await?;
        }
        if let Which::Asset(asset) = &self.options.which
            && !catalogue.was_ever_here(asset.as_str()).await?
        {
            let asset = asset.clone();
            return Err(Error::NoAsset { asset });
        }
        // After the assets, since the rectangles of one that fails stay as they are.
        if matches!(self.options.which, Which::Asset(_) | Which::Category(_)) {
            self.records(Some(&crops::table()), tell, stop).await?;
        }
        self.delete_newer(tell).await
    }

    /// The records of one table, or of every one but that of assets; of rectangles those that are meant.
    async fn records(
        &mut self,
        table: Option<&Module>,
        tell: &mut (dyn FnMut(&Told) + Send),
        stop: &Shutdown,
    ) -> Result<(), Error> {
        let (node, to) = (self.node, self.options.to);
        let mut after: Option<RecordKey> = None;
        while !stop.requested() {
            let keys = (node.catalogue)
                .records_changed_since((table, to), after.as_ref(), PAGE)
                .await?;
            let Some(last) = keys.last() else { break };
            after = Some(last.clone());
            for key in keys {
                if stop.requested() {
                    break;
                }
                if key.module == crops::table() && !self.takes_crop(&key).await? {
                    continue;
                }
                let back = match records::plan(node, &key, to).await? {
                    records::Plan::Nothing => {
                        // The one that was cut short may have brought it back, and not have come to what it shows.
                        if self.goes_on && key.module == crops::table() {
                            self.remade.extend(self.cropped_asset(&key).await?);
                        }
                        continue;
                    }
                    records::Plan::Newer(stored) => {
                        self.newer.push(stored.record.key);
                        continue;
                    }
                    records::Plan::Failed(told) => {
                        self.report.failed += 1;
                        tell(&told);
                        continue;
                    }
                    records::Plan::Back(back) => back,
                };
                let mut told = back.told();
                if !self.options.dry_run {
                    self.note().await?;
                    match carry::record_out(node, &back).await {
                        Ok(()) => {
                            told.done = true;
                            self.remade.extend(back.shows_another_part());
                        }
                        Err(carry::Failed::All(error)) => return Err(error),
                        Err(carry::Failed::One(why)) => told.error = Some(why),
                    }
                }
                match told.error {
                    Some(_) => self.report.failed += 1,
                    None => self.report.records += 1,
                }
                tell(&told);
            }
        }
        Ok(())
    }

    /// What a plan asks to be done.
    fn sorted(&mut self, plan: Plan, tell: &mut (dyn FnMut(&Told) + Send)) -> Option<Back> {
        match plan {
            Plan::Nothing => {}
            Plan::BackAlready(asset) => self.remade.push(asset),
            Plan::Newer(stored) => self.newer.push(stored.record.key),
            Plan::Failed(told) => self.failed(&told, tell),
            Plan::Back(back) => return Some(*back),
        }
        None
    }

    fn failed(&mut self, told: &Told, tell: &mut (dyn FnMut(&Told) + Send)) {
        self.report.failed += 1;
        self.failed.extend(told.asset.clone());
        tell(told);
    }

    async fn go_back(
        &mut self,
        backs: Vec<Back>,
        tell: &mut (dyn FnMut(&Told) + Send),
    ) -> Result<(), Error> {
        if backs.is_empty() {
            return Ok(());
        }
        let is_done = !self.options.dry_run;
        let outcomes = if is_done {
            self.note().await?;
            carry::out(self.node, &backs, &deletes_of(self.node)).await?
        } else {
            backs.iter().map(|_| Ok(())).collect()
        };
        for (back, outcome) in backs.iter().zip(outcomes) {
            let mut told = back.told();
            if let Err(why) = outcome {
                told.error = Some(why);
                self.failed(&told, tell);
                continue;
            }
            told.done = is_done;
            self.report.restored += 1;
            self.report.undeleted += u64::from(back.undeletes);
            self.report.originals += back.files.len() as u64;
            if !back.files.is_empty() && is_done {
                self.remade.push(back.asset.clone());
            }
            tell(&told);
        }
        Ok(())
    }

    /// Notes before the first change that there is one.
    async fn note(&mut self) -> Result<(), Error> {
        if !self.is_noted {
            note(self.node, Some(self.options.to)).await?;
            self.is_noted = true;
        }
        Ok(())
    }

    /// Deletes what did not exist then, where that is asked for and the guard lets it.
    async fn delete_newer(&mut self, tell: &mut (dyn FnMut(&Told) + Send)) -> Result<(), Error> {
        let newer = std::mem::take(&mut self.newer);
        let count = newer.len() as u64;
        let said = self
            .options
            .max_delete
            .or(self.node.config.limits.max_delete);
        let limit = guard::limit(self.node.catalogue.live_assets().await?, said);
        let lets = guard::lets_go(count, limit);
        if self.options.delete_newer && !lets {
            self.report.held = count;
        }
        let deletes = deletes_of(self.node);
        for key in newer {
            let Some(stored) = self.node.catalogue.record(&key).await? else {
                continue;
            };
            let mut told = plan::newer(&stored);
            let master = stored.record.status.as_ref().map(|status| &status.master);
            let is_ours = master == Some(&self.node.config.node.cluster_id);
            if !self.options.delete_newer {
                self.report.newer += 1;
                told.does = vec!["did not exist then; --delete-newer deletes it".to_owned()];
            } else if !lets {
                told.does = vec!["did not exist then; held by the delete guard".to_owned()];
            } else if !is_ours || self.node.sidecar().is_some() {
                self.report.failed += 1;
                told.error =
                    Some("it did not exist then, and is another node's to delete".to_owned());
            } else {
                told.does = vec!["is deleted: it did not exist then".to_owned()];
                self.report.deleted += 1;
                if !self.options.dry_run {
                    deletes.delete_here(&stored.record.key).await?;
                    told.done = true;
                    if key.module == crops::table() {
                        // What it cut is shown whole again.
                        self.remade
                            .extend(crop::read(&stored.record).ok().map(|row| row.asset));
                    }
                }
            }
            tell(&told);
        }
        Ok(())
    }

    /// Makes the renditions of originals that came back, as far as this node makes them.
    async fn render(&self, stop: &Shutdown) -> Result<(), Error> {
        let _lock = self.node.turn(rebuild::ACTIVITY, stop).await?;
        let which = rebuild::Selection {
            missing: true,
            stale: true,
            assets: self.remade.clone(),
            ..rebuild::Selection::default()
        };
        let monitor = std::sync::Arc::new(Silent);
        rebuild::rebuild(self.node, rebuild::ACTIVITY, &which, false, monitor, stop).await?;
        Ok(())
    }
}

/// Notes that a restore is under way to a moment, or that none is.
async fn note(node: &Node, to: Option<Timestamp>) -> Result<(), Error> {
    let mut batch = node.catalogue.batch().await?;
    batch.note_restore(to).await?;
    Ok(batch.commit().await?)
}

/// What takes files away here, on behalf of nobody but this node.
fn deletes_of(node: &Node) -> Deletes<'_> {
    Deletes {
        peer: "",
        own: &node.config.node.cluster_id,
        catalogue: &node.catalogue,
        store: &node.store,
        seams: &node.seams,
        monitor: &Silent,
        is_owner: node.sidecar().is_none(),
        master: None,
    }
}
