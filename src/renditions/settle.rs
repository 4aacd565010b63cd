//! What came of rendering, made durable in groups: bytes, then rows and the state of their assets in one batch.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::line::Want;
use super::preview::{Preview, restated};
use super::{Error, Workshop, blocking, fresh_second, is_at};
use crate::catalogue::{FileRow, Finding, PageFinding, Placed, Wanted};
use crate::crash::{self, Point};
use crate::error::{Class, chain};
use crate::media::{self, Finished, Rendition};
use crate::model::place::mapped_text;
use crate::model::{AssetId, FileKind, MediaFile, MediaPath, Sha256, Timestamp};
use crate::monitor::Counter;
use crate::store::{self, Publish};
use crate::trash::{self, Place};

/// Settles a group of results.
pub(super) async fn settle(shop: &Arc<Workshop>, group: Vec<Finished<Want>>) -> Result<(), Error> {
    let (mut made, mut findings, mut of_pages) = (Vec::new(), Vec::new(), Vec::new());
    for finished in group {
        let Finished {
            ticket,
            result,
            broken,
        } = finished;
        let mut judge = |page: u32, error: &media::Error| match reason(error) {
            Some(reason) => {
                let finding = PageFinding {
                    asset: ticket.original.asset.clone(),
                    pages: page..=page,
                    content: ticket.original.content,
                    reason,
                };
                shop.tell(&finding, &ticket.original);
                of_pages.push(finding);
                true
            }
            None => {
                not_yet(shop, &ticket, error);
                false
            }
        };
        for (page, error) in &broken {
            judge(*page, error);
        }
        match result {
            Ok(renditions) => made.push((ticket, renditions)),
            // Of the first page: nothing comes of any.
            Err(error) if ticket.recipe.presets.iter().any(|preset| preset.page == 1) => {
                match reason(&error) {
                    Some(reason) => findings.push((ticket, reason)),
                    None => not_yet(shop, &ticket, &error),
                }
            }
            Err(error) => {
                let pages: BTreeSet<_> = ticket.recipe.presets.iter().map(|it| it.page).collect();
                if pages.into_iter().all(|page| judge(page, &error)) {
                    made.push((ticket, Vec::new()));
                }
            }
        }
    }
    for (want, _) in &made {
        let of_asset = |it: &&PageFinding| it.asset == want.original.asset;
        let of_asset: Vec<_> = of_pages.iter().filter(of_asset).cloned().collect();
        if !of_asset.is_empty() {
            shop.part_with_pages(&want.original, &of_asset).await?;
        }
    }
    let uncleared = strip(shop, &findings).await?;
    findings.retain(|(want, _)| !uncleared.contains(&want.original.asset));
    let made = publish(shop, made).await?;
    crash::point(Point::ImportRendered)?;
    commit(shop, made, findings, of_pages).await
}

/// Says that another try may do better.
fn not_yet(shop: &Workshop, want: &Want, error: &media::Error) {
    let (path, reason) = (&want.original.path, chain(error));
    shop.monitor
        .finding(&format!("{path}: not rendered yet: {reason}"));
}

/// Why nothing will ever come of this content; `None` when another try may do better.
fn reason(error: &media::Error) -> Option<String> {
    (error.class() != Class::Transient).then(|| chain(error))
}

/// Takes away what an earlier content of an unrenderable original had: rows, then bytes. Its state changes only after that, so
/// that a kill in between brings it here again; so does what could not be moved away, whose assets are answered.
async fn strip(
    shop: &Arc<Workshop>,
    findings: &[(Want, String)],
) -> Result<HashSet<AssetId>, Error> {
    if findings.is_empty() {
        return Ok(HashSet::new());
    }
    let assets: Vec<_> = findings
        .iter()
        .map(|(want, _)| want.original.asset.as_str())
        .collect();
    let mut rows = shop.catalogue.files_of(&assets).await?;
    // What was copied from another author is that one's to take back.
    rows.retain(|row| row.file.kind == FileKind::Generated && row.file.authored);
    if !rows.is_empty() {
        let now = shop.now();
        let mut batch = shop.catalogue.batch().await?;
        for file in rows.iter().map(|row| &row.file) {
            batch
                .forget_file(file.kind, &file.path, &file.asset, &file.sha256, now)
                .await?;
        }
        batch.commit().await?;
    }
    let places = findings.iter().map(|(want, _)| Place {
        path: want.original.path.clone(),
        asset: want.original.asset.clone(),
        has_original: false,
        files: rows
            .iter()
            .filter(|row| row.file.asset == want.original.asset)
            .map(|row| row.file.place().clone())
            .collect(),
    });
    let (presets, monitor) = (&shop.settings.presets, shop.monitor.as_ref());
    let cleared = trash::clear(
        &shop.store,
        &shop.catalogue,
        presets,
        places.collect(),
        monitor,
    );
    Ok(cleared.await?)
}

/// Publishes renditions; an asset of which one cannot be placed is reported and left out.
async fn publish(
    shop: &Arc<Workshop>,
    made: Vec<(Want, Vec<Rendition>)>,
) -> Result<Vec<(Want, Vec<Made>)>, Error> {
    let assets: Vec<_> = made
        .iter()
        .map(|(want, _)| want.original.asset.as_str())
        .collect();
    let old = shop.catalogue.files_of(&assets).await?;
    let before = Before {
        files: old
            .into_iter()
            .filter(|row| row.file.kind == FileKind::Generated)
            .map(|row| ((row.file.asset.clone(), row.file.path.clone()), row))
            .collect(),
        places: places(shop, &made).await?,
    };
    let (shared, now) = (Arc::clone(shop), shop.now().whole_second());
    let answers = blocking(move || {
        let mut batch = Vec::new();
        let mut parts = Vec::with_capacity(made.len());
        for (want, renditions) in made {
            let files = stage(&shared, &want, renditions, &before, now);
            let files = files.map(|files| {
                let (publish, rows): (Vec<_>, Vec<_>) = files.into_iter().unzip();
                batch.extend(publish);
                rows
            });
            parts.push((want, files));
        }
        let mut published = shared.store.publish(batch).into_iter();
        let mut settled = |rows: Vec<Made>| {
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
            Err(error) => shop.monitor.finding(&format!(
                "{}: renditions cannot be published: {error}",
                want.original.path
            )),
        }
    }
    Ok(durable)
}

/// A rendition that is durable, and what its row will say.
struct Made {
    row: MediaFile,
    /// Whether it is byte for byte what was there: then nobody else has to hear of it.
    is_same: bool,
}

/// What is known about renditions before they are published.
struct Before {
    /// Those that they replace.
    files: HashMap<(AssetId, MediaPath), FileRow>,
    /// Where they are to lie.
    places: HashMap<(AssetId, MediaPath), MediaPath>,
}

/// Decides where renditions are to lie.
async fn places(
    shop: &Workshop,
    made: &[(Want, Vec<Rendition>)],
) -> Result<HashMap<(AssetId, MediaPath), MediaPath>, Error> {
    let keys: Vec<_> = made
        .iter()
        .flat_map(|(want, renditions)| renditions.iter().map(move |made| (want, made)))
        .filter_map(|(want, made)| {
            Some((
                want.original.asset.clone(),
                want.original.path.join(&made.file_name).ok()?,
            ))
        })
        .collect();
    let wanted: Vec<_> = keys
        .iter()
        .map(|(asset, path)| Wanted {
            kind: FileKind::Generated,
            path,
            asset,
            shares: None,
            one_file_at: None,
        })
        .collect();
    let placed = shop.catalogue.places(shop.store.rules(), &wanted).await?;
    let mut places = HashMap::with_capacity(keys.len());
    for ((asset, path), placed) in keys.into_iter().zip(placed) {
        let Placed::At { place, why } = placed else {
            unreachable!("no rendition of ours shares another's content");
        };
        if let Some(why) = why {
            tracing::info!(%path, %asset, %place, reason = %why, "mapped");
            let text = mapped_text((FileKind::Generated, &path), &asset, (&place, why));
            shop.monitor.finding(&text);
        }
        places.insert((asset, path), place);
    }
    Ok(places)
}

/// Stages the renditions of one original. Blocks.
fn stage(
    shop: &Workshop,
    want: &Want,
    renditions: Vec<Rendition>,
    before: &Before,
    now: Timestamp,
) -> Result<Vec<(Publish, Made)>, store::Error> {
    let mut files = Vec::with_capacity(renditions.len());
    for rendition in renditions {
        let fingerprint = want.recipe.made_of(&want.original.content, &rendition);
        let Rendition {
            file_name, bytes, ..
        } = rendition;
        let path = want
            .original
            .path
            .join(&file_name)
            .map_err(|error| store::Error::NameTooLong { path: error.path })?;
        let key = (want.original.asset.clone(), path);
        let old = before.files.get(&key);
        let sha256 = Sha256::of(&bytes);
        let is_same = old.is_some_and(|old| !old.is_damaged() && old.file.sha256 == sha256);
        // One that is no other keeps its date (media spec 8.4).
        let modified = match old.map(|old| old.file.modified) {
            Some(old) if is_same => old,
            old => fresh_second(now, old),
        };
        let mut staged = shop.staging.create()?;
        staged.write_all(&bytes)?;
        let place = before.places.get(&key).unwrap_or(&key.1).clone();
        let row = MediaFile {
            kind: FileKind::Generated,
            path: key.1,
            place: None,
            asset: want.original.asset.clone(),
            size: bytes.len() as u64,
            modified,
            sha256,
            md5: None,
            authored: true,
            fingerprint,
        };
        files.push((
            Publish {
                content: staged.into(),
                kind: FileKind::Generated,
                path: place.clone(),
                modified,
                keep_replaced: false,
            },
            Made {
                row: row.at(place),
                is_same,
            },
        ));
    }
    Ok(files)
}

async fn commit(
    shop: &Workshop,
    made: Vec<(Want, Vec<Made>)>,
    findings: Vec<(Want, String)>,
    of_pages: Vec<PageFinding>,
) -> Result<(), Error> {
    let now = shop.now();
    let mut batch = shop.catalogue.batch().await?;
    let wants = || {
        made.iter()
            .map(|(want, _)| want)
            .chain(findings.iter().map(|(want, _)| want))
    };
    let keys: Vec<_> = wants().map(|want| want.original.asset.key()).collect();
    let stored = batch.stored(&keys).await?;
    // An asset that was deleted or moved meanwhile, by hand or by a peer, is none of ours to touch.
    let current: HashSet<_> = wants()
        .filter(|want| {
            let stored = stored.get(&want.original.asset.key());
            stored.is_some_and(|stored| is_at(stored, &want.original.path))
        })
        .map(|want| want.original.asset.clone())
        .collect();
    let is_current = |want: &Want| current.contains(&want.original.asset);
    let (mut records, mut files) = (Vec::new(), 0);
    let mut restate = |asset: &AssetId, state| -> Result<(), Error> {
        let before = &stored
            .get(&asset.key())
            .expect("only assets whose record was found are restated")
            .record;
        records.extend(restated(before, state, &shop.own, now)?);
        Ok(())
    };
    for (want, rows) in made.iter().filter(|(want, _)| is_current(want)) {
        if shop.unsettled.is_last(want) && want.completes {
            restate(&want.original.asset, Preview::Rendered)?;
        }
        for row in rows {
            match row.is_same {
                true => batch.note_made_of(&row.row).await?,
                false => batch.put_file(&row.row, now).await?,
            }
        }
        let pages: BTreeSet<_> = want.recipe.presets.iter().map(|it| it.page).collect();
        for page in pages {
            match page {
                1 => batch.forget_finding(&want.original.asset).await?,
                _ => {
                    batch
                        .forget_page_finding(&want.original.asset, page)
                        .await?
                }
            }
        }
        files += rows.len() as u64;
    }
    for finding in (of_pages.iter()).filter(|finding| current.contains(&finding.asset)) {
        batch.put_page_finding(finding, now).await?;
    }
    for (want, reason) in findings.iter().filter(|(want, _)| is_current(want)) {
        restate(&want.original.asset, Preview::Unrenderable)?;
        let finding = Finding {
            asset: want.original.asset.clone(),
            content: want.original.content,
            reason: reason.clone(),
        };
        batch.put_finding(&finding, now).await?;
    }
    batch
        .put_records(&records.iter().collect::<Vec<_>>(), "", now)
        .await?;
    batch.commit().await?;
    crash::point(Point::ImportRestated)?;
    report(shop, made.len(), files, &findings);
    Ok(())
}

fn report(shop: &Workshop, made: usize, files: u64, findings: &[(Want, String)]) {
    for (want, reason) in findings {
        let text = format!("{}: no rendition can be made: {reason}", want.original.path);
        shop.monitor.finding(&text);
    }
    let mut tally = shop.tally();
    tally.renditions += files;
    tally.unrenderable += findings.len() as u64;
    drop(tally);
    let done = (made + findings.len()) as u64;
    shop.monitor.advance(Counter::Renditions, done);
    let failed = findings.len() as u64;
    shop.monitor.advance(Counter::RenditionsFailed, failed);
}
