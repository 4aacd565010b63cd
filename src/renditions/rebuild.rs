//! Making again what is missing or stale: a walk over the assets in order of their ids, a chunk of originals at a time.
//!
//! ```text
//! page of assets -> files, crops, findings -> states -> those selected
//! chunk of originals -> lock of whoever else writes them -> line -> settled -> lock given back
//! ```
//!
//! New work goes before: while an import or a sync holds its lock, the originals that it may write wait for it; and it waits for a
//! chunk at most. What is done is known by its fingerprint, so a rebuild that was cut short goes on when it is asked for again;
//! one of everything, which fingerprints cannot tell, notes how far it has come.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ahead::{PAGE, Page, Pages, Reader};
use super::crops::crops_among;
use super::pages::{surplus, with_pages};
use super::stale::{State, parameters as parameters_of, states_with};
use super::{Error, Line, Original, Settings, Unsettled, Want, Workshop, conversions, cropping};
use crate::adapters::no_program;
use crate::catalogue::{Catalogue, FileRow, Finding, PageFinding, RebuildState, StoredRecord};
use crate::config::{Config, Generated};
use crate::crash::{self, Point};
use crate::media::Recipe;
use crate::model::preset::{Conversion, Preset, PresetId, PresetTable};
use crate::model::{Asset, AssetId, FileKind, Mode, Module, Parameters, Record, RecordKey};
use crate::monitor::{Monitor, Phase};
use crate::node::{self, Lock, Node};
use crate::protocol::record;
use crate::shutdown::Shutdown;

/// A rebuild that was asked for, as locks and staging know it.
pub const ACTIVITY: &str = "thumbs";
/// Originals under one lock, for each thread: at a second for each, others wait for half a minute at most.
const ORIGINALS_A_THREAD: usize = 32;
/// Renditions of originals of many pages that may be in hand before they are made.
const MOST_RENDITIONS: usize = 20_000;
/// How often it is looked whether a lock is free.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// Which renditions to make.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Selection {
    /// Those that are not here.
    pub missing: bool,
    /// Those made of something else than they would be made of now.
    pub stale: bool,
    /// Those of originals that were found to allow none.
    pub failed: bool,
    /// All that this node makes.
    pub all: bool,
    /// Only of these presets; empty for any.
    pub presets: Vec<PresetId>,
    /// Only of these assets; empty for any.
    pub assets: Vec<AssetId>,
    /// Only of assets in one of these categories, named by id or path; empty for any.
    pub categories: Vec<String>,
}

/// What a rebuild did, or in a dry run would do. Renditions are counted unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Report {
    /// Originals looked at that renditions can be made of.
    pub assets: u64,
    /// As they should be.
    pub current: u64,
    /// Copied from their author, who keeps them fresh.
    pub copied: u64,
    /// Found missing.
    pub missing: u64,
    /// Found stale.
    pub stale: u64,
    /// Originals that were found to allow none before this.
    pub failed: u64,
    /// Found of pages that their record does not say any more: taken away.
    pub surplus: u64,
    /// Of pages after the first that were found to allow none before this.
    pub failed_pages: u64,
    /// Asked for.
    pub selected: u64,
    /// Made.
    pub rebuilt: u64,
    /// Originals found to allow none.
    pub unrenderable: u64,
    /// Wall time.
    pub elapsed_ms: u64,
}

/// Makes again what is selected. The caller holds the lock of `activity`, under whose name files are staged.
///
/// When `shutdown` is requested it finishes what is in hand and answers with what it did.
///
/// # Errors
/// [`Error::NoCategory`] or [`Error::NoAsset`] before anything is done; the catalogue's and the store's failures, after which another call goes on.
pub async fn rebuild(
    node: &Node,
    activity: &str,
    selection: &Selection,
    dry_run: bool,
    monitor: Arc<dyn Monitor>,
    shutdown: &Shutdown,
) -> Result<Report, Error> {
    let began = Instant::now();
    monitor.phase(Phase::Renditions);
    let mut rebuild =
        Rebuild::open((node, activity), selection, dry_run, monitor, shutdown).await?;
    rebuild.run().await?;
    let mut report = rebuild.report;
    if let Some(shop) = &rebuild.shop {
        report.rebuilt = shop.tally().renditions;
        report.unrenderable = shop.tally().unrenderable;
    }
    report.elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(?report, "rebuild done");
    Ok(report)
}

/// One rebuild.
struct Rebuild<'a> {
    node: &'a Node,
    selection: &'a Selection,
    settings: Settings,
    /// Ids of the selected categories.
    categories: HashSet<String>,
    /// None in a dry run.
    shop: Option<Arc<Workshop>>,
    /// What is to be made next, by the lock it needs.
    chunk: BTreeMap<String, Vec<Want>>,
    /// Files of pages that there are no more, by the lock it needs to take them away.
    surplus: BTreeMap<String, Vec<(Original, Vec<FileRow>)>>,
    /// Files of other kinds to make after that; none for somebody who waits for a picture.
    conversions: Option<Vec<conversions::Job>>,
    /// Of a rebuild of everything: how far it has come.
    state: Option<RebuildState>,
    /// Formats of originals here that nothing here reads.
    unread: HashSet<String>,
    /// Whether anything was made since the last page was read.
    has_made: bool,
    monitor: Arc<dyn Monitor>,
    stop: &'a Shutdown,
    report: Report,
}

impl<'a> Rebuild<'a> {
    async fn open(
        (node, activity): (&'a Node, &str),
        selection: &'a Selection,
        dry_run: bool,
        monitor: Arc<dyn Monitor>,
        stop: &'a Shutdown,
    ) -> Result<Self, Error> {
        let settings = Settings::of(node);
        let mut shop = None;
        if !dry_run {
            let staging = node.store.staging(activity)?;
            staging.sweep()?;
            shop = Some(Arc::new(Workshop {
                catalogue: node.catalogue.clone(),
                store: node.store.clone(),
                staging,
                own: node.config.node.cluster_id.clone(),
                settings: settings.clone(),
                seams: node.seams.clone(),
                monitor: Arc::clone(&monitor),
                stop: stop.clone(),
                tally: std::sync::Mutex::default(),
                unsettled: Unsettled::default(),
            }));
        }
        let mut rebuild = Self {
            node,
            selection,
            settings,
            categories: HashSet::new(),
            shop,
            chunk: BTreeMap::new(),
            surplus: BTreeMap::new(),
            conversions: (activity != cropping::ACTIVITY).then(Vec::new),
            state: None,
            unread: HashSet::new(),
            has_made: false,
            monitor,
            stop,
            report: Report::default(),
        };
        let keys: Vec<_> = selection.assets.iter().map(AssetId::key).collect();
        let stored = node.catalogue.stored(&keys).await?;
        let is_live = |key| stored.get(key).is_some_and(|one| !one.record.is_deleted());
        let unknown = keys
            .iter()
            .zip(&selection.assets)
            .find(|(key, _)| !is_live(*key));
        if let Some((_, asset)) = unknown {
            let asset = asset.clone();
            return Err(Error::NoAsset { asset });
        }
        for name in &selection.categories {
            let id = category(&node.catalogue, name, false).await?;
            rebuild.categories.insert(id);
        }
        Ok(rebuild)
    }

    async fn run(&mut self) -> Result<(), Error> {
        self.resume().await?;
        let state = self.state.as_ref();
        let after = state.and_then(|state| RecordKey::new(Module::ASSET, &state.after).ok());
        let mut pages = Pages::new(self.reader(), after);
        while !self.stop.requested() {
            let is_made = std::mem::take(&mut self.has_made);
            let Some(page) = pages.next(is_made).await? else {
                break;
            };
            let last = page.last.id.clone();
            self.look_at(page).await?;
            self.part_with_surplus().await?;
            self.make_if(self.room()).await?;
            // Nothing of the page may be left in hand where the walk is said to be behind it.
            let has_conversions = self.conversions.as_ref().is_some_and(|it| !it.is_empty());
            if self.state.is_some() || has_conversions {
                self.make_if(1).await?;
                self.convert().await?;
            }
            if self.state.is_some() {
                self.note(&last).await?;
            }
        }
        self.make_if(1).await?;
        if !self.stop.requested() {
            self.end().await?;
        }
        Ok(())
    }

    fn reader(&self) -> Reader {
        let only = (!self.selection.assets.is_empty()).then(|| {
            let mut keys: Vec<_> = self.selection.assets.iter().map(AssetId::key).collect();
            keys.sort();
            keys.dedup();
            keys
        });
        Reader {
            catalogue: self.node.catalogue.clone(),
            presets: Arc::clone(&self.settings.presets),
            converts: self.conversions.is_some(),
            only,
            categories: self.categories.clone(),
        }
    }

    /// Takes from a page what is selected.
    async fn look_at(&mut self, page: Page) -> Result<(), Error> {
        let Page {
            assets: all,
            mut files,
            crops,
            findings,
            page_findings,
            ..
        } = page;
        let (mut assets, mut others) = (Vec::with_capacity(all.len()), Vec::new());
        for (stored, asset) in &all {
            let Some(format) = asset.format.as_deref() else {
                continue;
            };
            let is_made_here = is_made_here(&self.node.config, stored);
            if is_made_here && self.conversions.is_some() {
                let all = self.settings.presets.conversions(format);
                others.extend(all.into_iter().map(|it| (stored, asset, it)));
            }
            if self.settings.presets.renders(format) {
                assets.push((stored, asset));
            } else if is_made_here {
                self.leave(format);
            }
        }
        for (stored, asset, conversion) in &others {
            let files = files.get(&asset.id).map_or(&[][..], Vec::as_slice);
            self.consider_conversion(stored, asset, conversion, files);
        }
        let catalogue = &self.node.catalogue;
        let mut originals = Vec::with_capacity(assets.len());
        for (stored, asset) in assets {
            let files = files.remove(&asset.id).unwrap_or_default();
            if let Some(original) = original(asset, &files) {
                originals.push((stored, original, files));
            }
        }
        let all: Vec<_> = originals.iter().map(|(_, original, _)| original).collect();
        let mut crops = crops_among(catalogue, crops, &all, self.monitor.as_ref()).await?;
        let table = Arc::clone(&self.settings.presets);
        let mode = self.settings.mode;
        let mut recipes = Recipes::default();
        for (stored, original, files) in originals {
            let format = original.format.as_deref();
            let (recipe, parameters) = recipes.of(&table, format, mode);
            let drawn = crops.remove(&original.asset).unwrap_or_default();
            (recipe.crops, recipe.drawn_on) = (drawn.crops, drawn.drawn_on);
            recipe.decoder = super::decoder(&self.settings.adapters, &original).await?;
            let has_failed = findings.iter().any(|known: &Finding| {
                known.asset == original.asset && known.content == original.content
            });
            let is_copied = !is_made_here(&self.node.config, stored);
            let looks = self.selection.stale || self.selection.all;
            let mut lost = HashSet::new();
            if looks && is_copied && !recipe.crops.is_empty() {
                let of = (&original, &*recipe);
                lost = super::lost::lost(self.node, &self.settings, of, &files).await?;
            }
            let of = (&original.asset, &original.content);
            let of_pages = page_findings.iter().filter(|known| known.is_about(of));
            let failed = Failed {
                is_whole: has_failed,
                of_pages: of_pages.collect(),
            };
            let known = (files.as_slice(), &failed, &lost);
            if original.pages > 1 {
                let recipe = with_pages(recipe, &table, &original);
                let parameters = parameters_of(&recipe);
                self.consider_surplus(stored, &original, &recipe, &files);
                self.consider(stored, original, (&recipe, &parameters), known);
                // Records may say many pages, however small their originals are.
                if self.renditions_in_hand() > MOST_RENDITIONS {
                    self.make_if(1).await?;
                }
            } else {
                self.consider_surplus(stored, &original, recipe, &files);
                self.consider(stored, original, (recipe, parameters), known);
            }
        }
        Ok(())
    }

    /// Takes up files of pages that there are no more.
    fn consider_surplus(
        &mut self,
        stored: &StoredRecord,
        original: &Original,
        recipe: &Recipe,
        files: &[FileRow],
    ) {
        let selection = self.selection;
        let is_asked_for = (selection.stale || selection.all) && selection.presets.is_empty();
        let rows = surplus(original, recipe, &self.settings.presets, files);
        if !is_asked_for || rows.is_empty() {
            return;
        }
        self.report.surplus += rows.len() as u64;
        let lock = self.lock(stored);
        let of_lock = self.surplus.entry(lock).or_default();
        of_lock.push((original.clone(), rows));
    }

    /// Takes away what is in hand of that.
    async fn part_with_surplus(&mut self) -> Result<(), Error> {
        let surplus = std::mem::take(&mut self.surplus);
        let Some(shop) = self.shop.clone() else {
            return Ok(());
        };
        self.has_made |= !surplus.is_empty();
        for (activity, originals) in surplus {
            let Some(_lock) = self.turn(&activity).await? else {
                break;
            };
            for (original, rows) in originals {
                shop.part_with(&original, &rows).await?;
            }
        }
        Ok(())
    }

    /// Says once why originals of a format are left as they are, if something can be done about it.
    fn leave(&mut self, format: &str) {
        if let Some(reason) = self.settings.lacks(format)
            && self.unread.insert(format.to_owned())
        {
            self.monitor.finding(&format!("left as they are: {reason}"));
        }
    }

    /// Takes from an original what is selected.
    fn consider(
        &mut self,
        stored: &StoredRecord,
        original: Original,
        (recipe, parameters): (&Recipe, &[Parameters]),
        (files, failed, lost): (&[FileRow], &Failed<'_>, &HashSet<PresetId>),
    ) {
        // Of what others make, what was made here all the same is kept fresh here.
        let is_made_here = is_made_here(&self.node.config, stored);
        let states = states_with(&original, recipe, parameters, files);
        let (selection, report) = (self.selection, &mut self.report);
        report.assets += 1;
        report.failed += u64::from(failed.is_whole);
        let mut is_made = |preset: &Preset, state: State| {
            let has_failed = failed.has(preset.page);
            report.failed_pages += u64::from(has_failed && !failed.is_whole);
            // Of what was copied while that was the rule nobody here knows what it was made of.
            let state = match state {
                State::Copied if is_made_here => State::Stale,
                State::Copied if preset.page == 1 && lost.contains(&preset.id) => State::Stale,
                state => state,
            };
            let is_ours = is_made_here || state == State::Stale || state == State::Current;
            match state {
                State::Current => report.current += 1,
                State::Copied => report.copied += 1,
                State::Missing if has_failed || !is_ours => {}
                State::Missing => report.missing += 1,
                State::Stale => report.stale += 1,
            }
            let is_asked_for = match state {
                State::Copied => false,
                _ if !is_ours => false,
                _ if has_failed => selection.failed || selection.all,
                State::Missing => selection.missing || selection.all,
                State::Stale => selection.stale || selection.all,
                State::Current => selection.all,
            };
            let is_selected =
                selection.presets.is_empty() || selection.presets.contains(&preset.id);
            is_asked_for && is_selected
        };
        let (mut presets, mut left_missing) = (Vec::new(), 0);
        for (preset, state) in recipe.presets.iter().zip(&states) {
            if is_made(preset, *state) {
                presets.push(preset.clone());
            } else {
                let is_hopeless = failed.has_page(preset.page);
                left_missing += usize::from(*state == State::Missing && !is_hopeless);
            }
        }
        if presets.is_empty() {
            return;
        }
        self.report.selected += presets.len() as u64;
        let recipe = recipe.only(presets);
        let want = Want {
            original,
            recipe,
            completes: left_missing == 0,
            tasks: 1,
        };
        self.chunk.entry(self.lock(stored)).or_default().push(want);
    }

    /// Takes up a file of another kind, if it is selected.
    fn consider_conversion(
        &mut self,
        stored: &StoredRecord,
        asset: &Asset,
        conversion: &Conversion,
        files: &[FileRow],
    ) {
        let (Some(original), Some(format)) = (original(asset, files), asset.format.clone()) else {
            return;
        };
        if !self
            .settings
            .adapters
            .converts(&conversion.product, &format)
        {
            let reason = no_program(&conversion.product, &format);
            if self
                .unread
                .insert(format!("{} of {format}", conversion.file_name))
            {
                let name = &conversion.file_name;
                self.monitor
                    .finding(&format!("{name} is not made: {reason}"));
            }
            return;
        }
        let (selection, report) = (self.selection, &mut self.report);
        let is_asked_for = match conversions::state(&original, conversion, files) {
            State::Current => {
                report.current += 1;
                selection.all
            }
            State::Copied => {
                report.copied += 1;
                false
            }
            State::Missing => {
                report.missing += 1;
                selection.missing || selection.all
            }
            State::Stale => {
                report.stale += 1;
                selection.stale || selection.all
            }
        };
        let presets = &selection.presets;
        if !is_asked_for || !(presets.is_empty() || presets.contains(&conversion.preset)) {
            return;
        }
        report.selected += 1;
        let lock = self.lock(stored);
        let job = conversions::Job {
            original,
            format,
            conversion: conversion.clone(),
            lock,
        };
        self.conversions.get_or_insert_default().push(job);
    }

    /// Makes the files of other kinds that are in hand, one after the other.
    async fn convert(&mut self) -> Result<(), Error> {
        let jobs = self
            .conversions
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default();
        let Some(shop) = self.shop.clone() else {
            return Ok(());
        };
        self.has_made |= !jobs.is_empty();
        for job in jobs {
            if self.stop.requested() {
                break;
            }
            let made = conversions::make(&shop, &job).await;
            let Some(made) = self.or_said(&job, made)?.flatten() else {
                continue;
            };
            let Some(_lock) = self.turn(&job.lock).await? else {
                break;
            };
            let settled = conversions::settle(&shop, &job, made).await;
            self.or_said(&job, settled)?;
        }
        Ok(())
    }

    /// What came of a file, or `None` when something of that file alone went wrong, which is said.
    fn or_said<T>(
        &self,
        job: &conversions::Job,
        came: Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match came {
            Err(Error::Store(error)) if !error.stops_the_pass() => {
                let (path, name) = (&job.original.path, &job.conversion.file_name);
                let reason = crate::error::chain(&error);
                self.monitor
                    .finding(&format!("{path}: {name} cannot be kept: {reason}"));
                Ok(None)
            }
            came => came.map(Some),
        }
    }

    /// The activity that may write the renditions of an asset beside us.
    fn lock(&self, stored: &StoredRecord) -> String {
        if is_own(&self.node.config, stored) {
            "import".to_owned()
        } else {
            format!("run-{}", stored.origin)
        }
    }

    /// Renditions that are in hand, of all originals.
    fn renditions_in_hand(&self) -> usize {
        let wants = self.chunk.values().flatten();
        wants.map(|want| want.recipe.presets.len()).sum()
    }

    /// Originals that may be in hand before they are made.
    fn room(&self) -> usize {
        let threads = self.settings.threads.or_cores();
        threads * ORIGINALS_A_THREAD
    }

    /// Makes what is in hand when it is as much as that.
    async fn make_if(&mut self, least: usize) -> Result<(), Error> {
        let in_hand: usize = self.chunk.values().map(Vec::len).sum();
        if in_hand < least {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        let Some(shop) = self.shop.clone() else {
            return Ok(());
        };
        self.has_made |= !chunk.is_empty();
        for (activity, mut wants) in chunk {
            while !wants.is_empty() && !self.stop.requested() {
                let rest = wants.split_off(wants.len().min(self.room()));
                let Some(_lock) = self.turn(&activity).await? else {
                    return Ok(());
                };
                make(&shop, std::mem::replace(&mut wants, rest)).await?;
                crash::point(Point::RebuiltChunk)?;
            }
        }
        Ok(())
    }

    /// The lock of an activity, once it is free; `None` when we are asked to end before.
    async fn turn(&self, activity: &str) -> Result<Option<Lock>, Error> {
        let mut has_said = false;
        while !self.stop.requested() {
            match self.node.lock_for_a_moment(activity) {
                Ok(lock) => return Ok(Some(lock)),
                Err(node::Error::Busy { holder, .. }) => {
                    if !std::mem::replace(&mut has_said, true) {
                        let text = format!("waiting for {activity} ({holder}) to end");
                        self.monitor.finding(&text);
                    }
                    tokio::select! {
                        () = tokio::time::sleep(LOCK_POLL) => {}
                        () = self.stop.wait() => {}
                    }
                }
                Err(error) => return Err(Error::Node(Box::new(error))),
            }
        }
        Ok(None)
    }

    /// Goes on where a rebuild of everything was left.
    async fn resume(&mut self) -> Result<(), Error> {
        if !self.selection.all {
            return Ok(());
        }
        let known = self.node.catalogue.rebuild(&self.name()).await?;
        if let Some(state) = &known {
            tracing::info!(begun_at = %state.begun_at, after = state.after, "going on with a rebuild");
        }
        let fresh = || RebuildState {
            begun_at: self.node.seams.clock.now(),
            after: String::new(),
        };
        self.state = Some(known.unwrap_or_else(fresh));
        Ok(())
    }

    async fn note(&mut self, last: &str) -> Result<(), Error> {
        let name = self.name();
        if let (Some(state), Some(shop)) = (&mut self.state, &self.shop)
            && !self.stop.requested()
        {
            state.after = last.to_owned();
            let mut batch = shop.catalogue.batch().await?;
            batch.put_rebuild(&name, state).await?;
            batch.commit().await?;
            crash::point(Point::RebuildNoted)?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Error> {
        if let (Some(_), Some(shop)) = (&self.state, &self.shop) {
            let mut batch = shop.catalogue.batch().await?;
            batch.end_rebuild(&self.name()).await?;
            batch.commit().await?;
        }
        Ok(())
    }

    /// What a rebuild of this selection is called.
    fn name(&self) -> String {
        serde_json::to_string(self.selection).unwrap_or_default()
    }
}

/// The id of a category that is named by its id or its path; one that is deleted counts where that is said.
///
/// # Errors
/// [`Error::NoCategory`]; the catalogue's.
pub async fn category(
    catalogue: &Catalogue,
    name: &str,
    deleted_too: bool,
) -> Result<String, Error> {
    if let Some(id) = catalogue.category_named(name).await? {
        return Ok(id);
    }
    let module = Module::category();
    let none = || Error::NoCategory {
        name: name.to_owned(),
    };
    if !deleted_too {
        return Err(none());
    }
    if let Ok(key) = RecordKey::new(module.as_str(), name)
        && catalogue.record(&key).await?.is_some()
    {
        return Ok(name.to_owned());
    }
    let mut after: Option<RecordKey> = None;
    loop {
        let page = catalogue
            .records_after(Some(&module), after.as_ref(), PAGE)
            .await?;
        let Some(last) = page.last() else {
            return Err(none());
        };
        after = Some(last.record.key.clone());
        for stored in &page {
            let members = record::members(&stored.record)?;
            let path = members.get("categorypath").and_then(|path| path.as_str());
            if path == Some(name.trim_matches('/')) {
                return Ok(stored.record.key.id.clone());
            }
        }
    }
}

/// Whether an asset is in one of these categories.
///
/// # Errors
/// [`Error::Record`].
pub fn is_in(asset: &Record, categories: &HashSet<String>) -> Result<bool, Error> {
    let asset = record::asset(asset)?;
    Ok((asset.categories.iter()).any(|id| categories.contains(id)))
}

/// What is known to be hopeless of an original.
struct Failed<'a> {
    /// All of it.
    is_whole: bool,
    /// Some of its pages.
    of_pages: Vec<&'a PageFinding>,
}

impl Failed<'_> {
    fn has(&self, page: u32) -> bool {
        self.is_whole || self.has_page(page)
    }

    /// Whether it is a page after the first that is hopeless.
    fn has_page(&self, page: u32) -> bool {
        page > 1
            && self
                .of_pages
                .iter()
                .any(|known| known.pages.contains(&page))
    }
}

/// The recipes of formats, each looked up once.
#[derive(Default)]
struct Recipes(HashMap<Option<String>, (Recipe, Vec<Parameters>)>);

impl Recipes {
    /// That of a format without crops, and what decides about each of its presets.
    fn of(
        &mut self,
        table: &PresetTable,
        format: Option<&str>,
        mode: Mode,
    ) -> (&mut Recipe, &[Parameters]) {
        let known = self.0.entry(format.map(str::to_owned));
        let (recipe, parameters) = known.or_insert_with(|| {
            let recipe = Recipe::by(table, format, BTreeMap::new(), mode);
            let parameters = parameters_of(&recipe);
            (recipe, parameters)
        });
        (recipe, parameters)
    }
}

fn is_own(config: &Config, stored: &StoredRecord) -> bool {
    let status = stored.record.status.as_ref();
    status.is_some_and(|status| status.master == config.node.cluster_id)
}

/// Whether this node makes the renditions of an asset: of its own, and of those of a peer that it is told to make them of.
pub(super) fn is_made_here(config: &Config, stored: &StoredRecord) -> bool {
    let peer = || config.peers.iter().find(|peer| peer.name == stored.origin);
    let is_rebuilt = || peer().is_some_and(|peer| peer.generated == Generated::Rebuild);
    is_own(config, stored) || is_rebuilt()
}

/// The asset's original, if it is here and sound.
pub(super) fn original(asset: &Asset, files: &[FileRow]) -> Option<Original> {
    let path = asset.original()?;
    let row = files
        .iter()
        .find(|row| row.file.kind == FileKind::Original && row.file.path == path)
        .filter(|row| row.is_here())?;
    let (path, format) = (asset.source_path.clone(), asset.format.clone());
    Some(Original::of(path, format, &row.file).with_pages(asset.pages))
}

/// Makes all of these, and waits until they are durable.
async fn make(shop: &Arc<Workshop>, wants: Vec<Want>) -> Result<(), Error> {
    let line = Line::start(shop)?;
    'wants: for want in wants {
        for task in shop.in_tasks(want).await? {
            if shop.stop.requested() || !line.feed(task).await {
                break 'wants;
            }
        }
    }
    line.finish().await
}
