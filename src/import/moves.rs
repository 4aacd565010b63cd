//! Files that were moved: new paths whose content is known under a path that is gone from disk.
//!
//! The asset keeps its id. Its original is published under the new path from the folder, its renditions from their former
//! place, with the same bytes and dates; nothing is rendered again. The former place keeps a marked source row until `gone`
//! has cleared it.

use super::presence::{Presence, presence};
use super::read::Reading;
use super::walk::Found;
use super::{Error, Import, LEFT};
use crate::catalogue::{FileRow, SourceFile};
use crate::model::{FileKind, Hasher, MediaFile, MediaPath};
use crate::renditions::is_at;
use crate::store::{self, Publish, Staging, Store};

/// A move.
#[derive(Debug)]
pub(super) struct Move {
    /// The source row it left.
    pub(super) from: SourceFile,
    /// The files of the asset under its former path.
    pub(super) left: Vec<FileRow>,
    /// What lies under its former path and must go before its new one can be: a file and a folder cannot have one name.
    pub(super) in_the_way: Vec<(FileKind, MediaPath)>,
    /// New names of its renditions, and their places once they are known.
    pub(super) renamed: Vec<Renamed>,
    /// The renditions under the new path.
    pub(super) carried: Vec<MediaFile>,
    /// Whether every rendition could be carried over.
    pub(super) is_complete: bool,
}

/// A rendition on its way to a new name.
#[derive(Debug)]
pub(super) struct Renamed {
    row: FileRow,
    pub(super) path: MediaPath,
    pub(super) place: MediaPath,
}

/// The move that brought this file here, if one did: from the same file name first, else from the first path.
pub(super) async fn find(
    import: &Import,
    found: &Found,
    reading: &Reading,
) -> Result<Option<Move>, Error> {
    if !import.has_history {
        return Ok(None);
    }
    let mut rows = import
        .catalogue
        .left_behind(&import.source, import.walk, &reading.sha256)
        .await?;
    rows.sort_by_key(|row| file_name(&row.path) != found.path.name());
    for from in rows {
        if from.modified_ns == LEFT || import.claimed().contains(&from.path) {
            continue;
        }
        let Some(old) = import.path_of(&from.path) else {
            continue;
        };
        let stored = import.catalogue.record(&from.asset.key()).await?;
        if stored.is_none_or(|stored| !is_at(&stored, &old)) {
            continue;
        }
        if presence(&import.dir, &from.path, false).await == Presence::Gone {
            import.claimed().insert(from.path.clone());
            let left = import.catalogue.files_of(&[from.asset.as_str()]).await?;
            return Ok(Some(Move::new(from, left, &old, &found.path)));
        }
    }
    Ok(None)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Move {
    fn new(from: SourceFile, left: Vec<FileRow>, old: &MediaPath, new: &MediaPath) -> Self {
        let renditions = || {
            left.iter()
                .filter(|row| row.file.kind == FileKind::Generated)
        };
        let renamed: Vec<Renamed> = renditions()
            .filter_map(|row| {
                let path = new.join(row.file.path.below(old)?).ok()?;
                Some(Renamed {
                    row: row.clone(),
                    place: path.clone(),
                    path,
                })
            })
            .collect();
        Self {
            from,
            // Without rows, which a kill while room was made for it leaves, nobody knows what it had.
            is_complete: !left.is_empty() && renamed.len() == renditions().count(),
            left,
            in_the_way: Vec::new(),
            renamed,
            carried: Vec::new(),
        }
    }

    /// Whether the asset's former place is in the way of its new one: a file and a folder cannot have one name.
    pub(super) fn is_in_the_way(&self, import: &Import, to: &MediaPath) -> bool {
        let old = import.path_of(&self.from.path);
        old.is_some_and(|old| to.below(&old).is_some() || old.below(to).is_some())
    }

    /// Stages the renditions for their new places. Blocks.
    pub(super) fn carry(
        &mut self,
        store: &Store,
        staging: &Staging,
    ) -> Result<Vec<Publish>, store::Error> {
        let mut staged = Vec::new();
        for Renamed { row, path, place } in std::mem::take(&mut self.renamed) {
            match copy(store, staging, &row, place)? {
                Some(publish) => {
                    let file = MediaFile { path, ..row.file };
                    self.carried.push(file.at(publish.path.clone()));
                    staged.push(publish);
                }
                None => self.is_complete = false,
            }
        }
        Ok(staged)
    }
}

/// A staged copy of a rendition; `None` when it is not there or not what its row says.
fn copy(
    store: &Store,
    staging: &Staging,
    row: &FileRow,
    place: MediaPath,
) -> Result<Option<Publish>, store::Error> {
    let Some(mut open) = store.open_file(FileKind::Generated, row.file.place())? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    if std::io::Read::read_to_end(&mut open.file, &mut bytes).is_err() {
        return Ok(None);
    }
    let mut hasher = Hasher::new(false);
    hasher.update(&bytes);
    if hasher.finish().sha256 != row.file.sha256 {
        return Ok(None);
    }
    let mut staged = staging.create()?;
    staged.write_all(&bytes)?;
    let modified = row.file.modified;
    Ok(Some(Publish {
        content: staged.into(),
        kind: FileKind::Generated,
        path: place,
        modified,
        keep_replaced: false,
    }))
}
