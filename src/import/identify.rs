//! Which asset a file that was read belongs to, and what happened to it.
//!
//! ```text
//! known here, its asset alive at this path    same content: Same or Touched, or Mended where ours was damaged; other content:
//!                                             Replaced
//! owned by an asset of ours all the same      its folder was moved or imported twice: taken over, unless it is still there
//! owned by somebody else's asset              the same content: refused, it is here already; other content: an asset of ours,
//!                                             whose file gets a place of its own
//! content of a known file that is gone        Moved: the asset keeps its id
//! else                                        Added, under the first id that no other live path has
//! ```

use std::collections::HashMap;

use super::moves::{self, Move};
use super::read::{Reading, is_renderable, millis};
use super::walk::Found;
use super::{Error, Import, LEFT, ids};
use crate::catalogue::{FileRow, SourceFile, StoredRecord};
use crate::model::preset::PresetTable;
use crate::model::{AssetId, FileKind, MediaPath, RecordKey};
use crate::renditions::is_at;

/// A file and what is to be done with it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) found: Found,
    pub(super) reading: Reading,
    pub(super) asset: AssetId,
    pub(super) fate: Fate,
    /// Where its original lies, once it is published.
    pub(super) place: MediaPath,
    /// Folder and path of another source that had this path before.
    pub(super) adopted: Option<(String, String)>,
}

/// What happened to a file since the last walk.
#[derive(Debug)]
pub(super) enum Fate {
    /// Nothing that shows: only its source row is written.
    Same,
    /// It is new, or back.
    Added,
    /// It has another content.
    Replaced,
    /// It has another date.
    Touched,
    /// Nothing; but what was made of it here was found damaged, and is written anew.
    Mended,
    /// It was known under another path.
    Moved(Move),
}

impl Item {
    /// Whether renditions are tried.
    pub(super) fn is_renderable(&self, presets: &PresetTable) -> bool {
        let detected = self.reading.look.detected.as_deref();
        is_renderable(self.found.path.name(), detected, presets)
    }

    /// The source row to remember it by.
    pub(super) fn row(&self) -> SourceFile {
        SourceFile {
            path: self.found.rel.clone(),
            size: self.reading.size,
            modified_ns: self.reading.modified_ns,
            sha256: self.reading.sha256,
            asset: self.asset.clone(),
        }
    }
}

/// Sorts out what was read; what has to be refused is reported and left out.
pub(super) async fn identify(
    import: &Import,
    read: Vec<(Found, Reading)>,
    rows: &HashMap<String, SourceFile>,
) -> Result<Vec<Item>, Error> {
    let known = Known::load(import, &read, rows).await?;
    let mut items = Vec::with_capacity(read.len());
    for (found, reading) in read {
        let row = rows.get(&found.rel).filter(|row| row.modified_ns != LEFT);
        let stored = row.and_then(|row| known.records.get(&row.asset.key()));
        let decided = match (row, stored) {
            (Some(row), Some(stored)) if is_at(stored, &found.path) => {
                let mut owners = known.owners.get(&found.path).into_iter().flatten();
                let here = owners.find(|here| here.file.asset == row.asset);
                let is_equal = row.sha256 == reading.sha256;
                let fate = compared(&reading, (is_equal, here), millis(row.modified_ns));
                Decided {
                    asset: row.asset.clone(),
                    fate,
                    adopted: None,
                }
            }
            _ => match place(import, &known, &found, &reading).await? {
                Ok(decided) => decided,
                Err(reason) => {
                    import.refuse(&format!("{}: {reason}", found.rel));
                    continue;
                }
            },
        };
        let Decided {
            asset,
            fate,
            adopted,
        } = decided;
        items.push(Item {
            place: found.path.clone(),
            found,
            reading,
            asset,
            fate,
            adopted,
        });
    }
    Ok(items)
}

struct Decided {
    asset: AssetId,
    fate: Fate,
    adopted: Option<(String, String)>,
}

/// What the catalogue knows about the files of a portion.
struct Known {
    /// Records of assets by their source rows, their paths' owners and the ids their paths would give.
    records: HashMap<RecordKey, StoredRecord>,
    /// Originals of these paths.
    owners: HashMap<MediaPath, Vec<FileRow>>,
}

impl Known {
    async fn load(
        import: &Import,
        read: &[(Found, Reading)],
        rows: &HashMap<String, SourceFile>,
    ) -> Result<Self, Error> {
        let paths: Vec<_> = read.iter().map(|(found, _)| found.path.as_str()).collect();
        let owners = import
            .catalogue
            .files_at(FileKind::Original, &paths)
            .await?;
        let mut keys: Vec<_> = owners.iter().map(|row| row.file.asset.key()).collect();
        keys.extend(
            read.iter()
                .filter_map(|(found, _)| rows.get(&found.rel))
                .map(|row| row.asset.key()),
        );
        let first = |found: &Found| {
            ids::assets(&import.own, &found.path)
                .next()
                .map(|id| id.key())
        };
        keys.extend(read.iter().filter_map(|(found, _)| first(found)));
        keys.sort_unstable();
        keys.dedup();
        let records = import.catalogue.stored(&keys).await?;
        let mut by_path: HashMap<MediaPath, Vec<FileRow>> = HashMap::new();
        for row in owners {
            by_path.entry(row.file.path.clone()).or_default().push(row);
        }
        Ok(Self {
            records,
            owners: by_path,
        })
    }

    /// The originals of this path whose assets are alive there, with whether the asset is ours; ours first.
    fn living(&self, import: &Import, path: &MediaPath) -> Vec<(&FileRow, bool)> {
        let rows = self.owners.get(path).into_iter().flatten();
        let mut living: Vec<_> = rows
            .filter_map(|row| {
                let stored = self.records.get(&row.file.asset.key())?;
                let status = stored.record.status.as_ref();
                let is_ours = status.is_some_and(|status| status.master == import.own);
                is_at(stored, path).then_some((row, is_ours))
            })
            .collect();
        living.sort_by_key(|(_, is_ours)| !is_ours);
        living
    }
}

fn compared(
    reading: &Reading,
    (is_equal, here): (bool, Option<&FileRow>),
    modified: crate::model::Timestamp,
) -> Fate {
    match (is_equal, modified == reading.modified()) {
        (true, true) if here.is_some_and(FileRow::is_damaged) => Fate::Mended,
        (true, true) => Fate::Same,
        (true, false) => Fate::Touched,
        (false, _) => Fate::Replaced,
    }
}

/// Finds the asset of a path that this folder's source rows do not place.
async fn place(
    import: &Import,
    known: &Known,
    found: &Found,
    reading: &Reading,
) -> Result<Result<Decided, String>, Error> {
    for (row, is_ours) in known.living(import, &found.path) {
        let owner = &row.file.asset;
        let is_same = row.file.sha256 == reading.sha256;
        if is_ours {
            let adopted = match elsewhere(import, found, owner).await? {
                Some((dir, _)) if is_here(&dir, found, import).await => {
                    return Ok(Err(format!("its path is imported from {dir} already")));
                }
                adopted => adopted,
            };
            let fate = compared(reading, (is_same, Some(row)), row.file.modified);
            return Ok(Ok(Decided {
                asset: owner.clone(),
                fate,
                adopted,
            }));
        }
        if is_same {
            return Ok(Err(format!(
                "it is here already, as asset {owner}, which another node is the master of"
            )));
        }
    }
    if let Some(moved) = moves::find(import, found, reading).await? {
        return Ok(Ok(Decided {
            asset: moved.from.asset.clone(),
            fate: Fate::Moved(moved),
            adopted: None,
        }));
    }
    let asset = free_id(import, known, found).await?;
    Ok(Ok(Decided {
        asset,
        fate: Fate::Added,
        adopted: None,
    }))
}

/// The other imported folder that the asset of this path came from, and the path there.
async fn elsewhere(
    import: &Import,
    found: &Found,
    owner: &AssetId,
) -> Result<Option<(String, String)>, Error> {
    for source in &import.others {
        let Some(rel) = below(&source.prefix, &found.path) else {
            continue;
        };
        let rows = import.catalogue.source_files(&source.dir, &[rel]).await?;
        if rows.iter().any(|row| row.asset == *owner) {
            return Ok(Some((source.dir.clone(), rel.to_owned())));
        }
    }
    Ok(None)
}

fn below<'a>(prefix: &str, path: &'a MediaPath) -> Option<&'a str> {
    if prefix.is_empty() {
        return Some(path.as_str());
    }
    path.as_str().strip_prefix(prefix)?.strip_prefix('/')
}

/// Whether another folder still has its file. One that is not mounted counts as gone: its folder was moved here.
async fn is_here(dir: &str, found: &Found, import: &Import) -> bool {
    let prefix = import
        .others
        .iter()
        .find(|source| source.dir == dir)
        .map_or("", |source| &source.prefix);
    match below(prefix, &found.path) {
        Some(rel) => tokio::fs::symlink_metadata(std::path::Path::new(dir).join(rel))
            .await
            .is_ok(),
        None => false,
    }
}

/// The first id of a path that no live asset has at another path.
async fn free_id(import: &Import, known: &Known, found: &Found) -> Result<AssetId, Error> {
    let mut is_first = true;
    for id in ids::assets(&import.own, &found.path) {
        let key = id.key();
        let stored = if std::mem::take(&mut is_first) {
            known.records.get(&key).cloned()
        } else {
            import.catalogue.record(&key).await?
        };
        if stored.is_none_or(|stored| stored.record.is_deleted() || is_at(&stored, &found.path)) {
            return Ok(id);
        }
    }
    unreachable!("there is always another number")
}
