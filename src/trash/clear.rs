//! Emptying the places that assets have left: what lies there without a row goes to the trash.

use std::collections::{BTreeSet, HashSet};

use super::{Error, blocking, shown};
use crate::catalogue::Catalogue;
use crate::model::preset::PresetTable;
use crate::model::{AssetId, FileKind, MediaPath};
use crate::monitor::Monitor;
use crate::store::{self, Store};

/// Where an asset was.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its source path.
    pub path: MediaPath,
    /// Its id.
    pub asset: AssetId,
    /// Whether its original goes too.
    pub has_original: bool,
    /// Where generated files lie that it is known to have had; those of the given names are looked for in any case.
    pub files: Vec<MediaPath>,
}

/// A file that lies there and could not be moved.
struct Stuck {
    place: MediaPath,
    asset: AssetId,
    error: store::Error,
}

/// Moves to the trash what lies at these places and has no row: renditions that the presets make, those that are known, and the
/// originals where that is asked for. Answers the assets of which something could not be moved, which is reported.
///
/// Rows are to be forgotten before: a file that has one stays.
///
/// # Errors
/// [`Error`] when the catalogue or the media tree fails as a whole.
pub async fn clear(
    store: &Store,
    catalogue: &Catalogue,
    presets: &PresetTable,
    places: Vec<Place>,
    monitor: &dyn Monitor,
) -> Result<HashSet<AssetId>, Error> {
    let (mut originals, mut generated) = (Vec::new(), Vec::new());
    // Rows may be gone by now: a file without one lies under its own name, or where it goes when that is taken.
    let rules = store.rules();
    for place in places {
        let names = presets.all_renditions().map(|preset| &preset.file_name);
        let names: BTreeSet<_> = names.collect();
        let names = names.into_iter();
        let paths = names.filter_map(|name| place.path.join(name).ok());
        let paths = paths.flat_map(|path| {
            let places = rules.places(&path, &place.asset).take(2);
            places.collect::<Vec<_>>()
        });
        let of_asset = |path| (path, place.asset.clone());
        generated.extend(paths.chain(place.files).map(of_asset));
        if place.has_original {
            let paths = rules.places(&place.path, &place.asset).take(2);
            originals.extend(paths.map(of_asset));
        }
    }
    let mut uncleared = HashSet::new();
    for (kind, mut places) in [
        (FileKind::Original, originals),
        (FileKind::Generated, generated),
    ] {
        let paths: Vec<_> = places.iter().map(|(path, _)| path.clone()).collect();
        let owned = catalogue.occupied(rules, kind, &paths).await?;
        places.retain(|(path, _)| !owned.contains(path));
        let store = store.clone();
        for Stuck {
            place,
            asset,
            error,
        } in blocking(move || trash(&store, kind, places)).await??
        {
            let name = shown(kind, &place);
            monitor.finding(&format!("{name} cannot be moved to the trash: {error}"));
            uncleared.insert(asset);
        }
    }
    Ok(uncleared)
}

/// Answers what could not be moved. Blocks.
fn trash(
    store: &Store,
    kind: FileKind,
    places: Vec<(MediaPath, AssetId)>,
) -> Result<Vec<Stuck>, Error> {
    let mut stuck = Vec::new();
    for (place, asset) in places {
        match store.trash(kind, &place) {
            Ok(_) => {}
            Err(error) if error.stops_the_pass() => return Err(error.into()),
            Err(error) => stuck.push(Stuck {
                place,
                asset,
                error,
            }),
        }
    }
    Ok(stuck)
}
