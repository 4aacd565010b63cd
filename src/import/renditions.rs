//! Renditions of what was imported, made beside the walk.
//!
//! ```text
//! intake -> wants -> bridge (a thread: it may block) -> regenerator -> finished -> settle -> store, catalogue
//! ```
//!
//! Every channel is bounded by `handoff_depth`. It ends in that order once [`Renditions::finish`] drops the first sender;
//! when settling fails, the others see their channels closed and end too. An asset whose turn does not come says
//! `previewstatus` 0 in its record, and [`mend`] of a later import finds it.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::fields::{self, Preview};
use super::gone::{Place, clear};
use super::identify::is_at;
use super::{Error, Import, blocking};
use crate::catalogue::{Finding, StoredRecord};
use crate::error::Class;
use crate::media::{self, Finished, Limits, Regenerator, Rendition, Task};
use crate::model::preset::{image_presets, is_image_format};
use crate::model::{AssetId, FileKind, MediaFile, MediaPath, Module, RecordKey, Sha256, Timestamp};
use crate::monitor::{Counter, Monitor, Phase};
use crate::protocol::record;
use crate::store::{self, Publish, Store};

/// Most results published and committed at once.
const GROUP: usize = 32;
/// Records read at a time.
const PAGE: usize = 500;

/// An original to render.
#[derive(Debug, Clone)]
pub(super) struct Want {
    pub(super) asset: AssetId,
    pub(super) path: MediaPath,
    pub(super) content: Sha256,
    pub(super) size: u64,
}

/// The running pipeline.
pub(super) struct Renditions {
    wants: mpsc::Sender<Want>,
    bridge: std::thread::JoinHandle<()>,
    settle: tokio::task::JoinHandle<Result<(), Error>>,
    monitor: Arc<dyn Monitor>,
}

/// Whether an import makes a generated file of this name.
pub(super) fn is_preset(name: &str) -> bool {
    image_presets()
        .iter()
        .any(|preset| preset.file_name == name)
}

impl Renditions {
    /// Starts the threads.
    pub(super) fn start(import: &Arc<Import>) -> Result<Self, Error> {
        import.monitor.phase(Phase::Renditions);
        let depth = import.options.handoff_depth.max(1);
        let (wants, mut wanted) = mpsc::channel::<Want>(depth);
        let (tasks, queue) = crossbeam_channel::bounded(depth);
        let (done, finished) = mpsc::channel(depth);
        let pool =
            Regenerator::start(import.options.thumb_threads, Limits::default(), queue, done)?;
        let (store, stop) = (import.store.clone(), import.stop.clone());
        let bridge = std::thread::Builder::new()
            .name("import-bridge".to_owned())
            .spawn(move || {
                while let Some(want) = wanted.blocking_recv() {
                    // Asked to end: what waits keeps its mark, and the next import renders it.
                    if !stop.requested() && tasks.send(task(store.clone(), want)).is_err() {
                        break;
                    }
                }
                drop(tasks);
                pool.join();
            })
            .map_err(|_| Error::Worker)?;
        let settle = tokio::spawn(settle_all(Arc::clone(import), finished));
        let monitor = Arc::clone(&import.monitor);
        Ok(Self {
            wants,
            bridge,
            settle,
            monitor,
        })
    }

    /// Hands over an original, waiting while the queue is full; `false` when the pipeline has broken down.
    pub(super) async fn feed(&self, want: Want) -> bool {
        self.monitor.expect(Counter::Renditions, 1);
        self.wants.send(want).await.is_ok()
    }

    /// Waits until everything handed over is settled.
    pub(super) async fn finish(self) -> Result<(), Error> {
        drop(self.wants);
        let settled = self.settle.await.map_err(|_| Error::Worker)?;
        blocking(move || self.bridge.join())
            .await?
            .map_err(|_| Error::Worker)?;
        settled
    }
}

fn task(store: Store, want: Want) -> Task<Want> {
    let path = want.path.clone();
    let original = move || {
        let open = store
            .open_file(FileKind::Original, &path)
            .map_err(io::Error::other)?;
        let mut open = open.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        if is_over_limit(open.size) {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(open.size).unwrap_or(0));
        open.file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    Task {
        ticket: want,
        original: Box::new(original),
        presets: image_presets(),
    }
}

/// No original is read into memory that is larger than its pixels may be.
fn is_over_limit(size: u64) -> bool {
    size > Limits::default().max_alloc_bytes
}

async fn settle_all(
    import: Arc<Import>,
    mut finished: mpsc::Receiver<Finished<Want>>,
) -> Result<(), Error> {
    let mut group = Vec::new();
    while finished.recv_many(&mut group, GROUP).await > 0 {
        settle(&import, std::mem::take(&mut group)).await?;
    }
    Ok(())
}

/// Makes a group of results durable: bytes, then rows and the state of their assets in one batch.
async fn settle(import: &Arc<Import>, group: Vec<Finished<Want>>) -> Result<(), Error> {
    let (mut made, mut findings) = (Vec::new(), Vec::new());
    for Finished { ticket, result } in group {
        match result {
            Ok(renditions) => made.push((ticket, renditions)),
            Err(error) => match reason(&ticket, &error) {
                Some(reason) => findings.push((ticket, reason)),
                None => import.monitor.finding(&format!(
                    "{}: not rendered yet: {}",
                    ticket.path,
                    chain(&error)
                )),
            },
        }
    }
    strip(import, &findings).await?;
    let made = publish(import, made).await?;
    commit(import, made, findings).await
}

/// Why nothing will ever come of this content; `None` when another try may do better.
fn reason(want: &Want, error: &media::Error) -> Option<String> {
    if is_over_limit(want.size) {
        return Some(format!(
            "an original of {} bytes is too large to be rendered",
            want.size
        ));
    }
    (error.class() != Class::Transient).then(|| chain(error))
}

fn chain(error: &media::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Takes away what an earlier content of an unrenderable original had: rows, then bytes. Its state changes only after that, so
/// that a kill in between brings it here again.
async fn strip(import: &Arc<Import>, findings: &[(Want, String)]) -> Result<(), Error> {
    if findings.is_empty() {
        return Ok(());
    }
    let assets: Vec<_> = findings
        .iter()
        .map(|(want, _)| want.asset.as_str())
        .collect();
    let mut rows = import.catalogue.files_of(&assets).await?;
    rows.retain(|row| row.file.kind == FileKind::Generated);
    if !rows.is_empty() {
        let now = import.now();
        let mut batch = import.catalogue.batch().await?;
        for row in &rows {
            let file = &row.file;
            batch
                .forget_file(file.kind, &file.path, &file.asset, &file.sha256, now)
                .await?;
        }
        batch.commit().await?;
    }
    let places = findings.iter().map(|(want, _)| Place {
        path: want.path.clone(),
        has_original: false,
        files: rows
            .iter()
            .filter(|row| row.file.asset == want.asset)
            .map(|row| row.file.path.clone())
            .collect(),
    });
    clear(import, places.collect()).await
}

/// Publishes renditions; an asset of which one cannot be placed is reported and left out.
async fn publish(
    import: &Arc<Import>,
    made: Vec<(Want, Vec<Rendition>)>,
) -> Result<Vec<(Want, Vec<MediaFile>)>, Error> {
    let assets: Vec<_> = made.iter().map(|(want, _)| want.asset.as_str()).collect();
    let old = import.catalogue.files_of(&assets).await?;
    let old: HashMap<_, _> = old
        .into_iter()
        .map(|row| (row.file.path, row.file.modified))
        .collect();
    let (shared, now) = (Arc::clone(import), import.now().whole_second());
    let answers = blocking(move || {
        let mut batch = Vec::new();
        let mut parts = Vec::with_capacity(made.len());
        for (want, renditions) in made {
            let files = stage(&shared, &want, renditions, &old, now);
            let files = files.map(|files| {
                let (publish, rows): (Vec<_>, Vec<_>) = files.into_iter().unzip();
                batch.extend(publish);
                rows
            });
            parts.push((want, files));
        }
        let mut published = shared.store.publish(batch).into_iter();
        let mut settled = |rows: Vec<MediaFile>| {
            published
                .by_ref()
                .take(rows.len())
                .fold(Ok(()), Result::and)
                .map(|()| rows)
        };
        parts
            .into_iter()
            .map(|(want, files)| (want, files.and_then(&mut settled)))
            .collect::<Vec<_>>()
    })
    .await?;
    let mut durable = Vec::new();
    for (want, answer) in answers {
        match answer {
            Ok(rows) => durable.push((want, rows)),
            Err(error) if error.stops_the_pass() => return Err(error.into()),
            Err(error) => import.monitor.finding(&format!(
                "{}: renditions cannot be published: {error}",
                want.path
            )),
        }
    }
    Ok(durable)
}

/// Stages the renditions of one original. Blocks.
fn stage(
    import: &Import,
    want: &Want,
    renditions: Vec<Rendition>,
    old: &HashMap<MediaPath, Timestamp>,
    now: Timestamp,
) -> Result<Vec<(Publish, MediaFile)>, store::Error> {
    let Some(staging) = &import.staging else {
        return Ok(Vec::new());
    };
    let mut files = Vec::with_capacity(renditions.len());
    for Rendition {
        file_name, bytes, ..
    } in renditions
    {
        let path = want
            .path
            .join(&file_name)
            .map_err(|error| store::Error::NameTooLong { path: error.path })?;
        // A whole second, and later than what it replaces: the only way a peer sees that it is another (wire spec 4.5).
        let after_old = old
            .get(&path)
            .map(|old| old.whole_second().plus(Duration::from_secs(1)));
        let modified = after_old.map_or(now, |after| after.max(now));
        let mut staged = staging.create()?;
        staged.write_all(&bytes)?;
        let row = MediaFile {
            kind: FileKind::Generated,
            path: path.clone(),
            asset: want.asset.clone(),
            size: bytes.len() as u64,
            modified,
            sha256: Sha256::of(&bytes),
            md5: None,
            authored: true,
        };
        files.push((
            Publish {
                staged,
                kind: FileKind::Generated,
                path,
                modified,
                keep_replaced: false,
            },
            row,
        ));
    }
    Ok(files)
}

async fn commit(
    import: &Import,
    made: Vec<(Want, Vec<MediaFile>)>,
    findings: Vec<(Want, String)>,
) -> Result<(), Error> {
    let now = import.now();
    let mut batch = import.catalogue.batch().await?;
    let wants = || {
        made.iter()
            .map(|(want, _)| want)
            .chain(findings.iter().map(|(want, _)| want))
    };
    let keys: Vec<_> = wants().map(|want| fields::asset_key(&want.asset)).collect();
    let mut stored = batch.stored(&keys).await?;
    // An asset that was deleted or moved meanwhile, by hand or by a peer, is none of ours to touch.
    let current: HashSet<_> = wants()
        .filter(|want| {
            stored
                .get(&fields::asset_key(&want.asset))
                .is_some_and(|stored| is_at(stored, &want.path))
        })
        .map(|want| want.asset.clone())
        .collect();
    let (mut records, mut files) = (Vec::new(), 0);
    for (want, rows) in made
        .iter()
        .filter(|(want, _)| current.contains(&want.asset))
    {
        records.push(restated(
            import,
            &mut stored,
            &want.asset,
            Preview::Rendered,
            now,
        )?);
        for row in rows {
            batch.put_file(row, now).await?;
        }
        batch.forget_finding(&want.asset).await?;
        files += rows.len() as u64;
    }
    for (want, reason) in findings
        .iter()
        .filter(|(want, _)| current.contains(&want.asset))
    {
        records.push(restated(
            import,
            &mut stored,
            &want.asset,
            Preview::Unrenderable,
            now,
        )?);
        let finding = Finding {
            asset: want.asset.clone(),
            content: want.content,
            reason: reason.clone(),
        };
        batch.put_finding(&finding, now).await?;
    }
    batch
        .put_records(&records.iter().collect::<Vec<_>>(), "", now)
        .await?;
    batch.commit().await?;
    for (want, reason) in &findings {
        import.monitor.finding(&format!(
            "{}: no rendition can be made: {reason}",
            want.path
        ));
    }
    import.report().renditions += files;
    import.report().unrenderable += findings.len() as u64;
    import
        .monitor
        .advance(Counter::Renditions, (made.len() + findings.len()) as u64);
    Ok(())
}

/// An asset's record with another preview state.
fn restated(
    import: &Import,
    stored: &mut HashMap<RecordKey, StoredRecord>,
    asset: &AssetId,
    state: Preview,
    now: Timestamp,
) -> Result<crate::model::Record, Error> {
    let key = fields::asset_key(asset);
    let before = stored
        .remove(&key)
        .expect("only assets whose record was found are restated")
        .record;
    let mut members = fields::members(&before)?;
    fields::preview(&mut members, state);
    Ok(fields::stamped(
        members,
        &key,
        &fields::saved(&import.own, Some(&before), now, false),
    ))
}

/// Renders what earlier runs left: assets of ours that wait for their renditions.
pub(super) async fn mend(import: &Arc<Import>) -> Result<(), Error> {
    let mut running: Option<Renditions> = None;
    let mut after = None;
    'pages: loop {
        let page = import
            .catalogue
            .records_after(Some(&Module::asset()), after.as_ref(), PAGE)
            .await?;
        let Some(last) = page.last() else { break };
        after = Some(last.record.key.clone());
        for want in waiting(import, &page).await? {
            let renditions = match running.take() {
                Some(renditions) => renditions,
                None => Renditions::start(import)?,
            };
            let is_running = renditions.feed(want).await && !import.stop.requested();
            running = Some(renditions);
            if !is_running {
                break 'pages;
            }
        }
    }
    match running {
        Some(renditions) => renditions.finish().await,
        None => Ok(()),
    }
}

/// The originals among these assets that wait to be rendered, are here, and are not known to be hopeless.
async fn waiting(import: &Import, page: &[StoredRecord]) -> Result<Vec<Want>, Error> {
    let mut paths = HashMap::new();
    for StoredRecord { record, .. } in page {
        let is_ours = record
            .status
            .as_ref()
            .is_some_and(|status| !status.deleted && status.master == import.own);
        if !is_ours {
            continue;
        }
        let members = fields::members(record)?;
        let text = |name: &str| members.get(name).and_then(serde_json::Value::as_str);
        let is_image = ["fileformat", "detectedfileformat"]
            .iter()
            .any(|name| text(name).is_some_and(is_image_format));
        if is_image
            && text("previewstatus") == Some(Preview::Waiting.as_str())
            && let Ok(asset) = record::asset(record)
            && let Some(path) = asset.original()
        {
            paths.insert(asset.id, path);
        }
    }
    let assets: Vec<_> = paths.keys().map(AssetId::as_str).collect();
    let hopeless = import.catalogue.findings(&assets).await?;
    let files = import.catalogue.files_of(&assets).await?;
    let files = files.into_iter().map(|row| row.file).filter(|file| {
        file.kind == FileKind::Original
            && paths.get(&file.asset) == Some(&file.path)
            && !hopeless
                .iter()
                .any(|known| known.asset == file.asset && known.content == file.sha256)
    });
    Ok(files
        .map(|file| Want {
            asset: file.asset,
            path: file.path,
            content: file.sha256,
            size: file.size,
        })
        .collect())
}
