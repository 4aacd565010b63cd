//! The members of folder assets, which an EMDB peer names in its upload listing only (11.2, 5).
//!
//! Folder assets are remembered while the pages of a listing are taken, and asked for once at its end. That listing reaches a
//! thousand records only, the oldest of its window; what it does not reach becomes a finding rather than a guess.

use std::collections::{BTreeSet, HashMap};

use super::plan::Authority;
use super::wishes::{Entry, Planned, plan_entries};
use super::{Error, Pull};
use crate::catalogue::{Listing, StoredRecord};
use crate::model::{Asset, RecordKey};
use crate::peer::UploadsAsked;
use crate::protocol::record::asset;
use crate::protocol::uploads::{UploadedAsset, UploadsPage};

/// Uploads planned in one transaction.
const A_BATCH: usize = 500;
/// Folder assets remembered in one listing; more than that is no listing of a photo archive.
const MOST_FOLDERS: usize = 100_000;

/// Folder assets of an EMDB peer, whose members only its upload listing names.
#[derive(Debug, Default)]
pub(super) struct Folders(BTreeSet<String>);

impl Folders {
    /// Remembers the folder assets among those of a page.
    pub(super) fn note(&mut self, pull: &Pull, assets: &[(Asset, Authority)]) {
        let room = MOST_FOLDERS.saturating_sub(self.0.len());
        self.0.extend(
            assets
                .iter()
                .filter(|(asset, authority)| asset.is_folder && *authority == Authority::Decides)
                .filter(|(asset, _)| pull.policy_for(asset).originals)
                .take(room)
                .map(|(asset, _)| asset.id.to_string()),
        );
    }
}

/// Asks EMDB's upload listing for the members of folder assets, and plans them.
///
/// Folder assets that lie outside and name no primary file are findings: nobody can list them until they are touched.
pub(super) async fn take_folder_members(
    pull: &Pull,
    folders: &Folders,
    listing: &Listing,
) -> Result<(), Error> {
    if folders.0.is_empty() || !pull.policy.originals {
        return Ok(());
    }
    let uploads = reachable_uploads(pull, listing).await?;
    let mut left = folders.0.clone();
    for chunk in uploads.assets.chunks(A_BATCH) {
        let keys: Vec<RecordKey> = chunk
            .iter()
            .filter(|uploaded| folders.0.contains(&uploaded.id))
            .filter_map(|uploaded| RecordKey::new("asset", uploaded.id.as_str()).ok())
            .collect();
        let stored = pull.catalogue.stored(&keys).await?;
        take_chunk(pull, listing, chunk, &live_assets(&stored), &mut left).await?;
        pull.wake.notify_waiters();
    }
    for id in left {
        pull.monitor.finding(&format!("folder asset {id}: its peer cannot list its members any more; save the record there once"));
    }
    Ok(())
}

/// The upload listing of this listing's window, which is halved until it holds no more than one page reaches.
async fn reachable_uploads(pull: &Pull, listing: &Listing) -> Result<UploadsPage, Error> {
    let mut asked = UploadsAsked {
        ago_ms: listing.started_at.as_millis() - listing.since.as_millis() + 60_000,
    };
    loop {
        let page = pull
            .peer
            .patiently(pull.patience(), &mut asked, async |peer, asked| {
                peer.uploads(*asked).await
            })
            .await?;
        if page.pages <= 1 || asked.ago_ms < 60_000 {
            return Ok(page);
        }
        asked.ago_ms /= 2;
    }
}

fn live_assets(stored: &HashMap<RecordKey, StoredRecord>) -> HashMap<&str, Asset> {
    stored
        .values()
        .filter(|stored| !stored.record.is_deleted())
        .filter_map(|stored| Some((stored.record.key.id.as_str(), asset(&stored.record).ok()?)))
        .collect()
}

/// Plans the uploads that belong to `assets`, and takes those off what is `left`.
async fn take_chunk(
    pull: &Pull,
    listing: &Listing,
    chunk: &[UploadedAsset],
    assets: &HashMap<&str, Asset>,
    left: &mut BTreeSet<String>,
) -> Result<(), Error> {
    let mut planned = Planned::default();
    let mut entries = Vec::new();
    for uploaded in chunk {
        let Some(asset) = assets.get(uploaded.id.as_str()) else {
            continue;
        };
        left.remove(&uploaded.id);
        let mut entry = Entry {
            asset,
            authority: Authority::Decides,
            originals: None,
            generated: None,
        };
        let files = entry.usable(&uploaded.files, &mut planned.bad).into_iter();
        entry.originals = Some(files.map(|file| asset.as_stated(file)).collect());
        entries.push(entry);
    }
    plan_entries(pull, Some(listing.started_at), &entries, &mut planned).await?;
    let mut batch = pull.catalogue.batch().await?;
    planned
        .write(pull, &mut batch, pull.seams.clock.now())
        .await?;
    batch.commit().await?;
    Ok(())
}
