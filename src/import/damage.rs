//! Assets of ours whose files a look at the disk found damaged: their originals are taken from the folder again, and their
//! renditions are made again.

use std::collections::HashSet;

use super::{Error, Import};
use crate::model::{AssetId, FileKind};

/// Those of these assets that have a damaged file of a kind.
pub(super) async fn damaged(
    import: &Import,
    kind: FileKind,
    assets: &[&str],
) -> Result<HashSet<AssetId>, Error> {
    // Almost always there is none, and that costs nothing to know.
    if import.catalogue.damaged().await? == 0 {
        return Ok(HashSet::new());
    }
    let rows = import.catalogue.files_of(assets).await?;
    let damaged = rows
        .into_iter()
        .filter(|row| row.is_damaged() && row.file.kind == kind);
    Ok(damaged.map(|row| row.file.asset).collect())
}
