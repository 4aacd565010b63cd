//! The files that go along with a page of records.
//!
//! Only what is on disk as its row says is offered, so that nothing is asked for that cannot be sent (H-36). Files of an asset that
//! came from this very peer are its own affair, one author for each file; a node of ours may have lost them all the same, by a delete
//! that lost, and takes no more than it lacks. An EMDB goes by lengths alone, and would take an old file for a newer one; it is only
//! given what shows a rectangle that was drawn here ([`cropped`]).

mod cropped;

use std::collections::{HashMap, HashSet};

use tokio::task::spawn_blocking;

use super::{Error, Push};
use crate::catalogue::{FileRow, StoredRecord};
use crate::model::{Asset, AssetId, FileKind, ListedFile, MediaFile, MediaPath, NodeId};
use crate::protocol::AssetListing;
use crate::protocol::receiving::OfferedAsset;
use crate::protocol::record;

/// What is offered with a page.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// An entry for each asset of the page, where generated files go along.
    pub(super) listings: Vec<AssetListing>,
    /// The assets whose originals are offered.
    pub(super) originals: Vec<Originals>,
    /// Every file that is named above, by its name. Two assets may have files of one name.
    pub(super) files: HashMap<(FileKind, MediaPath), Vec<MediaFile>>,
}

/// The originals of one asset.
#[derive(Debug)]
pub(super) struct Originals {
    pub(super) asset: AssetId,
    root: MediaPath,
    is_folder: bool,
    files: Vec<ListedFile>,
}

impl Originals {
    /// As it is written.
    pub(super) fn offered(&self) -> OfferedAsset<'_> {
        OfferedAsset {
            asset: &self.asset,
            root: &self.root,
            is_folder: self.is_folder,
            files: &self.files,
        }
    }
}

/// Who is offered something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Receiver<'a> {
    /// Its cluster id; unknown before the first contact with a node of ours.
    pub(super) id: Option<&'a NodeId>,
    /// Whether it is a node of ours.
    pub(super) is_emsync: bool,
}

/// Looks which files go along with these records.
pub(super) async fn gather(
    push: &Push,
    records: &[StoredRecord],
    to: Receiver<'_>,
) -> Result<Offers, Error> {
    let (peer, is_emsync) = (push.peer.name(), to.is_emsync);
    let with_files: HashMap<&str, Asset> = records
        .iter()
        .filter(|stored| (stored.origin != peer || is_emsync) && !stored.record.is_deleted())
        .filter_map(|stored| {
            let asset = record::asset(&stored.record).ok()?;
            Some((stored.record.key.id.as_str(), asset))
        })
        .collect();
    let mut rows = sound(push, &with_files).await?;
    let mut offers = Offers::default();
    for stored in records {
        let record = &stored.record;
        let (Some(id), Some(status)) = (record.key.as_asset(), &record.status) else {
            continue;
        };
        let asset = with_files.get(id.as_str());
        let files = rows.remove(id.as_str()).unwrap_or_default();
        for file in &files {
            let name = (file.kind, file.path.clone());
            offers.files.entry(name).or_default().push(file.clone());
        }
        let listed = files.iter().map(ListedFile::from);
        let (originals, generated): (Vec<_>, Vec<_>) =
            listed.partition(|file| file.kind == FileKind::Original);
        if let Some(asset) = asset
            && !originals.is_empty()
        {
            offers.originals.push(Originals {
                asset: id.clone(),
                root: asset.original_root().clone(),
                is_folder: asset.is_folder,
                files: originals.clone(),
            });
        }
        if push.policy.generated {
            offers.listings.push(AssetListing {
                asset: id,
                source_path: match asset {
                    Some(asset) => Some(asset.source_path.clone()),
                    None => record::asset(record).ok().map(|asset| asset.source_path),
                },
                master: status.master.clone(),
                generated,
                originals,
                partial: false,
            });
        }
    }
    if let Some(author) = to.id.filter(|_| !is_emsync && push.policy.generated) {
        cropped::add(push, records, author, &mut offers).await?;
    }
    Ok(offers)
}

/// The files of these assets that may go along, by asset: of a kind that does, named by the record, and on disk as recorded.
async fn sound(
    push: &Push,
    assets: &HashMap<&str, Asset>,
) -> Result<HashMap<String, Vec<MediaFile>>, Error> {
    let ids: Vec<&str> = assets.keys().copied().collect();
    let wanted = |kind| match kind {
        FileKind::Original => push.policy.originals,
        FileKind::Generated => push.policy.generated,
    };
    let rows = push.catalogue.files_of(&ids).await?;
    let named = |row: &FileRow| {
        let file = &row.file;
        let owner = assets.get(file.asset.as_str());
        wanted(file.kind)
            && !row.is_damaged()
            && !file.path.is_bookkeeping()
            && owner.is_some_and(|asset| asset.names(file.kind, &file.path))
    };
    let files: Vec<MediaFile> = rows.into_iter().filter(named).map(|row| row.file).collect();
    let store = push.store.clone();
    let looked = spawn_blocking(move || {
        let as_recorded = |file: &MediaFile| {
            let stat = store.stat(file.kind, file.place());
            stat.is_ok_and(|stat| stat.is_some_and(|stat| stat.size == file.size))
        };
        files
            .into_iter()
            .map(|file| (as_recorded(&file), file))
            .collect::<Vec<_>>()
    });
    let looked = looked.await.map_err(|_| Error::Worker)?;
    let mut sound: HashMap<String, Vec<MediaFile>> = HashMap::new();
    let mut told = HashSet::new();
    for (is_sound, file) in looked {
        if is_sound {
            let files = sound.entry(file.asset.to_string()).or_default();
            files.push(file);
        } else if told.insert(file.path.clone()) {
            let (kind, path) = (file.kind.dir(), &file.path);
            push.monitor.finding(&format!(
                "{kind}/{path}: not on disk as recorded; not offered to {}",
                push.peer.name()
            ));
        }
    }
    Ok(sound)
}
