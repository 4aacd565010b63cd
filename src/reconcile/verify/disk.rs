//! The disk against the catalogue, in both directions: rows whose files are not as they say, and files that no row speaks of.
//!
//! Rows that come in order are looked at beside a walk of their tree ([`Tree`]), which spares looking at each file by itself. Memory is
//! two pages of it, and one of rows.

use std::collections::HashMap;
use std::io::Read as _;

use tokio::task::spawn_blocking;

use super::report::{Findings, Kind, Layer, LayerReport};
use super::tree::Tree;
use super::{Error, Here, PAGE};
use crate::catalogue::{FileRow, by_ref};
use crate::error::chain;
use crate::model::{FileKind, MediaFile, MediaPath, Sha256};
use crate::monitor::Counter;
use crate::shutdown::Shutdown;
use crate::store::{Stat, Store};
use crate::task;

/// Files that are read between two reports of progress.
const HASHED: usize = 32;

/// Compares the rows of one kind with the disk: `here` are the rows, `there` what was found on disk.
pub(super) async fn compare(
    here: &Here<'_>,
    kind: FileKind,
    checksum: bool,
    findings: &mut Findings,
) -> Result<LayerReport, Error> {
    let mut layer = Layer::default();
    let mut tree = Tree::new(here, kind);
    let mut after: Option<(String, String)> = None;
    loop {
        let rows = here
            .catalogue
            .files_after(kind, after.as_ref().map(by_ref), PAGE)
            .await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.key());
        layer.here += rows.len() as u64;
        here.monitor.advance(Counter::Files, rows.len() as u64);
        let mut found = look(here, &rows, checksum, Some(&mut tree)).await?;
        let places = rows.iter().map(|row| row.file.place());
        let in_order = places.filter_map(|place| Some((place, found.remove(place)?)));
        for (path, trouble) in in_order {
            let is = if trouble.is == Wrong::Missing {
                Kind::Missing
            } else {
                Kind::Differing
            };
            findings.add((kind.dir(), &mut layer), is, || {
                (path.to_string(), trouble.text)
            });
        }
    }
    let (walked, extra, orphans) = tree.end().await?;
    layer.there = walked;
    layer.extra += extra.extra;
    findings.append(orphans);
    Ok(LayerReport::Compared(layer))
}

/// Announces what a look at the disk will read.
pub(super) async fn expect_bytes(here: &Here<'_>, checksum: bool) -> Result<(), Error> {
    if checksum {
        let totals = here.catalogue.file_totals().await?;
        let bytes = totals
            .originals_bytes
            .saturating_add(totals.generated_bytes);
        here.monitor.expect(Counter::Bytes, bytes);
    }
    Ok(())
}

/// What is the matter with a file on disk.
#[derive(Debug)]
pub(super) struct Trouble {
    /// Of which kind it is.
    pub(super) is: Wrong,
    /// In words, with both values.
    pub(super) text: String,
}

/// How a file is not as its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// There is none.
    Missing,
    /// It has another content.
    Content,
    /// It has another date, and the right content.
    Date,
    /// It is out of reach, so nobody knows.
    Unknown,
}

/// What is the matter with the files of these rows, by place; those that are as their rows say are not in it. Damage is noted,
/// and so is its end: by a digest alone, for a size and a date that are right prove nothing about a file that was found wrong.
///
/// A tree is one whose rows all come here, in order.
pub(super) async fn look(
    here: &Here<'_>,
    rows: &[FileRow],
    checksum: bool,
    mut tree: Option<&mut Tree<'_>>,
) -> Result<HashMap<MediaPath, Trouble>, Error> {
    let mut found = HashMap::new();
    for some in rows.chunks(if checksum { HASHED } else { PAGE }) {
        let bytes: u64 = some.iter().map(|row| row.file.size).sum();
        let mut asked = Vec::new();
        for row in some {
            let stat = match &mut tree {
                Some(tree) => tree.stat(row).await?,
                None => None,
            };
            let is_as_told = stat.is_some_and(|stat| is_as_told(&stat, &row.file));
            // What went to make room is not there by intent; nothing about it can be compared.
            if !row.evicted && (checksum || !is_as_told || row.is_damaged()) {
                asked.push(row.clone());
            }
        }
        let (store, stop) = (here.store.clone(), here.stop.clone());
        let looked = spawn_blocking(move || {
            let asked = asked.into_iter().take_while(|_| !stop.requested());
            let looked = asked.filter_map(|row| {
                let trouble = trouble(&store, &row, checksum, &stop)?;
                Some((row.file.place().clone(), trouble))
            });
            looked.collect::<Vec<_>>()
        });
        found.extend(task::outcome(looked.await));
        here.go_on()?;
        if checksum {
            here.monitor.advance(Counter::Bytes, bytes);
        }
    }
    // A volume that is not there has lost nothing.
    here.store.check_marker()?;
    note(here, rows, &found, checksum).await?;
    Ok(found)
}

/// Gives files whose date alone is wrong that of their rows; best effort, for a file system may not hold every date.
pub(super) async fn redate(here: &Here<'_>, rows: &[FileRow], found: &HashMap<MediaPath, Trouble>) {
    let is_misdated = |row: &&FileRow| {
        found
            .get(row.file.place())
            .is_some_and(|trouble| trouble.is == Wrong::Date)
    };
    let files: Vec<_> = rows
        .iter()
        .filter(is_misdated)
        .map(|row| row.file.clone())
        .collect();
    let store = here.store.clone();
    let dated = spawn_blocking(move || {
        for file in files {
            if let Err(error) = store.redate(file.kind, file.place(), file.modified) {
                tracing::debug!(path = %file.path, %error, "keeps its date");
            }
        }
    });
    task::outcome(dated.await);
}

async fn note(
    here: &Here<'_>,
    rows: &[FileRow],
    found: &HashMap<MediaPath, Trouble>,
    checksum: bool,
) -> Result<(), Error> {
    let news = rows
        .iter()
        .filter_map(|row| match found.get(row.file.place()).map(|it| it.is) {
            Some(Wrong::Missing | Wrong::Content) if !row.is_damaged() => {
                Some((&row.file, Some(here.as_of)))
            }
            None if checksum && row.is_damaged() && !row.evicted => Some((&row.file, None)),
            Some(Wrong::Date) if row.is_damaged() => Some((&row.file, None)),
            _ => None,
        });
    let news: Vec<_> = news.collect();
    if news.is_empty() {
        return Ok(());
    }
    let mut batch = here.catalogue.batch().await?;
    for (file, at) in news {
        batch.note_damage(file, at).await?;
    }
    batch.commit().await?;
    Ok(())
}

fn is_as_told(stat: &Stat, file: &MediaFile) -> bool {
    stat.size == file.size && has_its_date(stat, file)
}

fn has_its_date(stat: &Stat, file: &MediaFile) -> bool {
    stat.modified.whole_second() == file.modified.whole_second()
}

fn trouble(store: &Store, row: &FileRow, checksum: bool, stop: &Shutdown) -> Option<Trouble> {
    let file = &row.file;
    let wrong = |is, text| Some(Trouble { is, text });
    let differs = |text| wrong(Wrong::Content, text);
    let stat = match store.stat(file.kind, file.place()) {
        Ok(Some(stat)) => stat,
        Ok(None) => {
            let text = "the catalogue has it, the disk has not".to_owned();
            return wrong(Wrong::Missing, text);
        }
        Err(error) => {
            return wrong(Wrong::Unknown, format!("on disk: {}", chain(&error)));
        }
    };
    if stat.size != file.size {
        return differs(format!(
            "{} bytes on disk, {} in the catalogue",
            stat.size, file.size
        ));
    }
    let has_its_date = has_its_date(&stat, file);
    if !checksum && has_its_date {
        let found_at = row.damaged_at?;
        return differs(format!(
            "found damaged at {found_at} and not mended since; a look with --checksum may find it sound again"
        ));
    }
    // Another date alone is no other content, and one that the file system cannot hold would never be right.
    match rehash(store, file, stop) {
        Ok(sha256) if sha256 == file.sha256 && has_its_date => None,
        Ok(sha256) if sha256 == file.sha256 => {
            let dates = format!(
                "modified {} on disk, {} in the catalogue",
                stat.modified, file.modified
            );
            wrong(Wrong::Date, dates)
        }
        Ok(sha256) => differs(format!(
            "SHA-256 {sha256} on disk, {} in the catalogue",
            file.sha256
        )),
        Err(error) => differs(format!("cannot be read: {}", chain(&*error))),
    }
}

/// Reads a file whole, unless we are asked to end: then the caller throws the answer away.
fn rehash(
    store: &Store,
    file: &MediaFile,
    stop: &Shutdown,
) -> Result<Sha256, Box<dyn std::error::Error + Send + Sync>> {
    let mut open = store.open_file(file.kind, file.place())?.ok_or("gone")?;
    let mut hasher = crate::model::Hasher::new(false);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match open.file.read(&mut buffer)? {
            0 => return Ok(hasher.finish().sha256),
            _ if stop.requested() => return Err("interrupted".into()),
            read => hasher.update(&buffer[..read]),
        }
    }
}
