//! Whose a listed name is: rows of other assets under it, and whether the records of those assets still give it to their files.
//!
//! Read only. Two assets may claim one name (a move, a clone, two nodes at once); `plan` decides what comes of it.

use std::collections::{BTreeSet, HashMap};

use super::plan::{self, Claim, Listed};
use super::wishes::Entry;
use super::{Error, Pull};
use crate::catalogue::FileRow;
use crate::model::{Asset, FileKind, RecordKey};
use crate::protocol::record::asset;

/// Rows under listed names that another asset owns, by the asset that is listed with the name.
pub(super) async fn owned_by_others(
    pull: &Pull,
    entries: &[Entry<'_>],
    own: &HashMap<String, Vec<FileRow>>,
) -> Result<HashMap<String, Vec<(FileRow, Claim)>>, Error> {
    let mut askers: HashMap<(FileKind, String), Vec<&str>> = HashMap::new();
    for entry in entries {
        let id = entry.asset.id.as_str();
        let mine = own.get(id).map_or(&[][..], Vec::as_slice);
        let originals = plan::wanted_originals(
            entry.asset,
            Listed {
                originals: entry.originals.as_deref(),
                generated: None,
            },
        );
        for file in entry.generated.iter().flatten().chain(&originals) {
            if !mine
                .iter()
                .any(|row| row.file.kind == file.kind && row.file.path == file.path)
            {
                let name = (file.kind, file.path.as_str().to_owned());
                askers.entry(name).or_default().push(id);
            }
        }
    }
    let mut rows = Vec::new();
    for kind in [FileKind::Original, FileKind::Generated] {
        let paths: Vec<&str> = askers
            .keys()
            .filter(|(of, _)| *of == kind)
            .map(|(_, path)| path.as_str())
            .collect();
        rows.extend(pull.catalogue.files_at(kind, &paths).await?);
    }
    let mut others: HashMap<String, Vec<(FileRow, Claim)>> = HashMap::new();
    for (row, claim) in claims(pull, entries, rows).await? {
        let name = (row.file.kind, row.file.path.as_str().to_owned());
        for asker in askers.get(&name).into_iter().flatten() {
            let of_asker = others.entry((*asker).to_owned()).or_default();
            of_asker.push((row.clone(), claim));
        }
    }
    Ok(others)
}

/// Whether the owners of files still name them: by their records of this page, else by those that are stored.
async fn claims(
    pull: &Pull,
    entries: &[Entry<'_>],
    rows: Vec<FileRow>,
) -> Result<Vec<(FileRow, Claim)>, Error> {
    let on_page: HashMap<&str, &Asset> = entries
        .iter()
        .map(|entry| (entry.asset.id.as_str(), entry.asset))
        .collect();
    let keys: BTreeSet<RecordKey> = rows
        .iter()
        .filter(|row| !on_page.contains_key(row.file.asset.as_str()))
        .map(|row| row.file.asset.key())
        .collect();
    let stored = pull
        .catalogue
        .stored(&keys.into_iter().collect::<Vec<_>>())
        .await?;
    let owners: HashMap<&str, (Asset, Claim)> = stored
        .values()
        .filter(|owner| !owner.record.is_deleted())
        .filter_map(|owner| {
            let claim = if owner.origin == pull.peer.name() {
                Claim::SamePeer
            } else {
                Claim::Elsewhere
            };
            Some((
                owner.record.key.id.as_str(),
                (asset(&owner.record).ok()?, claim),
            ))
        })
        .collect();
    let claim = |row: &FileRow| {
        let owner = row.file.asset.as_str();
        let (asset, claim) = match (on_page.get(owner), owners.get(owner)) {
            (Some(asset), _) => (*asset, Claim::SamePeer),
            (None, Some((asset, claim))) => (asset, *claim),
            (None, None) => return Claim::Nobody,
        };
        if asset.names(row.file.kind, &row.file.path) {
            claim
        } else {
            Claim::Nobody
        }
    };
    Ok(rows
        .into_iter()
        .map(|row| {
            let claim = claim(&row);
            (row, claim)
        })
        .collect())
}
