//! The layers of files: rows here against what is listed there, each row against the disk, and the disk against the rows.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::listing::Listed;
use super::report::{Findings, Kind, Layer, LayerReport};
use super::stretch::{Pages, stretch};
use super::tree::Tree;
use super::{Depth, Error, PAGE, Verify, disk};
use crate::catalogue::{FileRow, SpooledFile, StoredRecord};
use crate::config::Generated;
use crate::model::{AssetId, FileKind, ListedFile, MediaFile, MediaPath, Module, RecordKey};
use crate::monitor::Counter;
use crate::protocol;
use crate::reconcile::diff::{Side, merge};

/// Compares the files of one kind.
pub(super) async fn compare(
    verify: &Verify<'_>,
    kind: FileKind,
    depth: Depth,
    listed: &Listed,
) -> Result<(LayerReport, Findings), Error> {
    let (mut layer, mut findings) = (Layer::default(), Findings::default());
    let mut tree = Tree::new(&verify.here(), kind);
    let found = (&mut layer, &mut findings);
    compare_rows(verify, (kind, listed), depth, &mut tree, found).await?;
    let (_, extra, orphans) = tree.end().await?;
    layer.extra += extra.extra;
    findings.append(orphans);
    Ok((LayerReport::Compared(layer), findings))
}

/// Compares the rows of one kind with what is listed, and with the disk.
async fn compare_rows(
    verify: &Verify<'_>,
    (kind, listed): (FileKind, &Listed),
    depth: Depth,
    tree: &mut Tree<'_>,
    (layer, findings): (&mut Layer, &mut Findings),
) -> Result<(), Error> {
    let mut here = Pages::new(PAGE, FileRow::key);
    let mut there = Pages::new(PAGE, key_there);
    while here.goes_on() || there.goes_on() {
        if here.used_up() {
            let after = here
                .last()
                .map(|(path, asset)| (path.as_str(), asset.as_str()));
            let page = verify.catalogue.files_after(kind, after, PAGE).await?;
            here.put(page);
        }
        if there.used_up() {
            let after = there
                .last()
                .map(|(path, asset)| (path.as_str(), asset.as_str()));
            let page = listed.spool.files_after(kind, after, PAGE).await?;
            there.put(page);
        }
        let (here_now, there_now) = stretch(&mut here, &mut there);
        compare_stretch(
            verify,
            (kind, listed),
            (depth, &mut *tree),
            (here_now, there_now),
            (layer, findings),
        )
        .await?;
    }
    Ok(())
}

/// A file's name and whose it is: two assets may each have a file of one name.
type Key = (String, String);

fn key_there(listed: &SpooledFile) -> Key {
    (listed.file.path.to_string(), listed.asset.clone())
}

/// Adds what the peer lists of assets whose files are equal, and which were not listed for that: our own rows.
fn with_equal(listed: &Listed, here: &[FileRow], mut there: Vec<SpooledFile>) -> Vec<SpooledFile> {
    let equal = (here.iter()).filter(|row| listed.has_equal_files(row.file.asset.as_str()));
    let before = there.len();
    there.extend(equal.map(|row| spooled(&row.file)));
    if before > 0 && there.len() > before {
        there.sort_by_cached_key(key_there);
    }
    there
}

fn spooled(file: &MediaFile) -> SpooledFile {
    SpooledFile {
        file: ListedFile::from(file),
        asset: file.asset.to_string(),
    }
}

async fn compare_stretch(
    verify: &Verify<'_>,
    (kind, listed): (FileKind, &Listed),
    (depth, tree): (Depth, &mut Tree<'_>),
    (here, there): (Vec<FileRow>, Vec<SpooledFile>),
    (layer, findings): (&mut Layer, &mut Findings),
) -> Result<(), Error> {
    let there = with_equal(listed, &here, there);
    layer.here += here.len() as u64;
    layer.there += there.len() as u64;
    let on_disk = look(verify, &here, depth, tree).await?;
    verify.monitor.advance(Counter::Files, here.len() as u64);
    let name = kind.dir();
    let sides: Vec<_> = merge(here, there, FileRow::key, key_there).collect();
    let shared = Shared::of(verify, kind, listed, &sides).await?;
    let owners = owners(verify, &sides).await?;
    let partial = partial(listed, &sides).await?;
    let cropped = cropped(verify, &sides).await?;
    for side in sides {
        if is_left_out(verify, kind, &side, &owners) {
            layer.left_out += 1;
            continue;
        }
        let (item, verdict) = match side {
            Side::Right(listed) if shared.is_here(&listed) => {
                layer.there -= 1;
                continue;
            }
            Side::Right(listed) => {
                let detail = format!("the peer lists it for asset {}", listed.asset);
                (
                    listed.file.path.to_string(),
                    Verdict::Is(Kind::Missing, detail),
                )
            }
            Side::Left(row) => {
                let is_shared = shared.is_there(&row.file);
                layer.there += u64::from(is_shared);
                let verdict = match on_disk.get(row.file.place()) {
                    Some(trouble) => Verdict::Is(Kind::Differing, trouble.clone()),
                    None if is_shared => Verdict::Equal,
                    None => only_here(
                        verify,
                        &row.file,
                        owners.get(row.file.asset.as_str()),
                        (listed.verbatim, partial.contains(row.file.asset.as_str())),
                    ),
                };
                (row.file.path.to_string(), verdict)
            }
            Side::Both(row, listed) => {
                let verdict = on_disk.get(row.file.place()).map_or_else(
                    || match on_both(&row.file, &listed, depth) {
                        // A crop that its author lost, drawn again here.
                        Verdict::Is(..) if is_redrawn(&row.file, &listed, &cropped) => {
                            Verdict::Explained
                        }
                        verdict => verdict,
                    },
                    |trouble| Verdict::Is(Kind::Missing, trouble.clone()),
                );
                (row.file.path.to_string(), verdict)
            }
        };
        match verdict {
            Verdict::Equal => {}
            Verdict::Explained => layer.explained += 1,
            Verdict::LeftOut => layer.left_out += 1,
            Verdict::Is(kind, detail) => findings.add((name, layer), kind, || (item, detail)),
        }
    }
    Ok(())
}

/// Files that one side has for one asset and the other side for another of the same name: two records of one file are no
/// difference.
struct Shared {
    here: HashMap<String, Vec<MediaFile>>,
    there: HashMap<String, Vec<SpooledFile>>,
}

impl Shared {
    /// Looks for the names that only one side has for an asset.
    async fn of(
        verify: &Verify<'_>,
        kind: FileKind,
        listed: &Listed,
        sides: &[Side<FileRow, SpooledFile>],
    ) -> Result<Self, Error> {
        let (mut only_here, mut only_there) = (Vec::new(), Vec::new());
        for side in sides {
            match side {
                Side::Left(row) => only_here.push(row.file.path.as_str()),
                Side::Right(listed) => only_there.push(listed.file.path.as_str()),
                Side::Both(..) => {}
            }
        }
        let mut shared = Self {
            here: HashMap::new(),
            there: HashMap::new(),
        };
        for row in verify.catalogue.files_at(kind, &only_there).await? {
            let of_name = shared.here.entry(row.file.path.to_string()).or_default();
            of_name.push(row.file);
        }
        if listed.told.is_some() {
            for row in verify.catalogue.files_at(kind, &only_here).await? {
                if listed.has_equal_files(row.file.asset.as_str()) {
                    let of_name = shared.there.entry(row.file.path.to_string()).or_default();
                    of_name.push(spooled(&row.file));
                }
            }
        }
        for file in listed.spool.files_at(kind, &only_here).await? {
            let of_name = shared.there.entry(file.file.path.to_string()).or_default();
            of_name.push(file);
        }
        Ok(shared)
    }

    fn is_here(&self, listed: &SpooledFile) -> bool {
        let of_name = self.here.get(listed.file.path.as_str());
        of_name.is_some_and(|files| files.iter().any(|file| listed.file.has_content_of(file)))
    }

    fn is_there(&self, file: &MediaFile) -> bool {
        let of_name = self.there.get(file.path.as_str());
        of_name.is_some_and(|listed| (listed.iter()).any(|listed| listed.file.has_content_of(file)))
    }
}

/// Assets of which both sides have a rendition, ours made here, and on whose pictures crops are drawn.
async fn cropped(
    verify: &Verify<'_>,
    sides: &[Side<FileRow, SpooledFile>],
) -> Result<HashSet<AssetId>, Error> {
    let ours = sides.iter().filter_map(|side| match side {
        Side::Both(row, listed) if row.file.was_made_after(&listed.file) => Some(&row.file),
        _ => None,
    });
    let assets: BTreeSet<_> = ours.map(|file| file.asset.as_str()).collect();
    let assets: Vec<_> = assets.into_iter().collect();
    let crops = verify.catalogue.crops_of(&assets).await?.into_iter();
    Ok(crops.map(|crop| crop.row.asset).collect())
}

fn is_redrawn(file: &MediaFile, listed: &SpooledFile, cropped: &HashSet<AssetId>) -> bool {
    file.kind == FileKind::Generated
        && file.was_made_after(&listed.file)
        && cropped.contains(&file.asset)
}

enum Verdict {
    Equal,
    Explained,
    LeftOut,
    Is(Kind, String),
}

fn on_both(file: &MediaFile, listed: &SpooledFile, depth: Depth) -> Verdict {
    let there = &listed.file;
    let size_differs = !there.exact && there.size.is_some_and(|size| size != file.size);
    let digest_outweighs = there.md5.is_some() && there.md5 == file.md5;
    if there.is(file) && (!size_differs || digest_outweighs) {
        return Verdict::Equal;
    }
    if file.authored && depth.generated == Generated::Rebuild {
        return Verdict::Explained;
    }
    let show = |size: Option<u64>, time: String, digest: Option<String>| {
        let size = size.map_or_else(|| "?".to_owned(), |size| size.to_string());
        format!(
            "{size} bytes of {time}{}",
            digest
                .map(|digest| format!(", {digest}"))
                .unwrap_or_default()
        )
    };
    let time = there
        .modified
        .map_or_else(|| "?".to_owned(), |time| time.to_string());
    let stated = there
        .sha256
        .map(|sha| sha.to_string())
        .or(there.md5.map(|md5| md5.to_string()));
    let ours = if there.sha256.is_none() {
        file.md5.map(|md5| md5.to_string())
    } else {
        Some(file.sha256.to_string())
    };
    let here = show(Some(file.size), file.modified.to_string(), ours);
    Verdict::Is(
        Kind::Differing,
        format!("here {here}; there {}", show(there.size, time, stated)),
    )
}

/// A file the peer does not list: our own work and our own assets are meant to be here, and nothing follows where the peer says that
/// it holds the asset in part only.
fn only_here(
    verify: &Verify<'_>,
    file: &MediaFile,
    owner: Option<&StoredRecord>,
    (lists_originals, is_partial): (bool, bool),
) -> Verdict {
    let Some(owner) = owner else {
        return Verdict::Is(
            Kind::Extra,
            format!("asset {} has no record here", file.asset),
        );
    };
    if owner.record.is_deleted() {
        return Verdict::Is(Kind::Extra, format!("asset {} is deleted", file.asset));
    }
    let ours = owner.origin != verify.peer.name()
        && owner
            .record
            .status
            .as_ref()
            .is_some_and(|status| status.master == *verify.own);
    // EMDB lists no members of folder assets, but the primary one (wire spec 11.2, 5).
    let unlisted_member = !lists_originals
        && file.kind == FileKind::Original
        && protocol::record::asset(&owner.record)
            .is_ok_and(|asset| asset.is_folder && file.path.below(asset.original_root()).is_some());
    if ours || file.authored || unlisted_member {
        Verdict::Explained
    } else if is_partial {
        Verdict::LeftOut
    } else {
        Verdict::Is(Kind::Extra, format!("asset {}", file.asset))
    }
}

/// Whether a filter leaves the asset of a file out, so that it is neither wanted nor in the way.
fn is_left_out(
    verify: &Verify<'_>,
    kind: FileKind,
    side: &Side<FileRow, SpooledFile>,
    owners: &HashMap<String, StoredRecord>,
) -> bool {
    let selection = verify.selection;
    if selection.is_everything() || kind == FileKind::Generated && selection.filter.all_renditions {
        return false;
    }
    let owner = match side {
        Side::Left(row) | Side::Both(row, _) => row.file.asset.as_str(),
        Side::Right(listed) => listed.asset.as_str(),
    };
    let owner = owners.get(owner).filter(|owner| !owner.record.is_deleted());
    owner
        .and_then(|owner| protocol::record::asset(&owner.record).ok())
        .is_some_and(|asset| !selection.keeps(&asset, verify.as_of))
}

/// Of the assets whose files only we have, those that the peer holds in part only.
async fn partial(
    listed: &Listed,
    sides: &[Side<FileRow, SpooledFile>],
) -> Result<HashSet<String>, Error> {
    let only_here = sides.iter().filter_map(|side| match side {
        Side::Left(row) => Some(row.file.asset.as_str()),
        Side::Right(_) | Side::Both(..) => None,
    });
    let mut ids: Vec<&str> = only_here.collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(listed.spool.partial_of(&ids).await?)
}

/// The records of the assets whose files only we have; of all assets where a filter asks for them.
async fn owners(
    verify: &Verify<'_>,
    sides: &[Side<FileRow, SpooledFile>],
) -> Result<HashMap<String, StoredRecord>, Error> {
    let is_filtered = !verify.selection.is_everything();
    let asked = sides.iter().filter_map(|side| match side {
        Side::Left(row) => Some(row.file.asset.as_str()),
        Side::Both(row, _) if is_filtered => Some(row.file.asset.as_str()),
        Side::Right(listed) if is_filtered => Some(listed.asset.as_str()),
        Side::Right(_) | Side::Both(..) => None,
    });
    let mut ids: Vec<&str> = asked.collect();
    ids.sort_unstable();
    ids.dedup();
    let keys: Vec<RecordKey> = ids
        .into_iter()
        .filter_map(|id| RecordKey::new(Module::ASSET, id).ok())
        .collect();
    let stored = verify.catalogue.stored(&keys).await?;
    Ok(stored
        .into_iter()
        .map(|(key, stored)| (key.id, stored))
        .collect())
}

/// What is the matter with files on disk, by place; files that are as their rows say are not in it.
async fn look(
    verify: &Verify<'_>,
    rows: &[FileRow],
    depth: Depth,
    tree: &mut Tree<'_>,
) -> Result<HashMap<MediaPath, String>, Error> {
    let found = disk::look(&verify.here(), rows, depth.checksum, Some(tree)).await?;
    let texts = found
        .into_iter()
        .map(|(place, trouble)| (place, trouble.text));
    Ok(texts.collect())
}
