//! The rectangles of assets that go back: they are records of a table of their own, and what a picture shows belongs to the asset.

use serde_json::Value;

use super::plan::Planner;
use super::{Error, Restore, Which};
use crate::catalogue::Then;
use crate::model::{AssetId, Module, RecordKey};
use crate::protocol::crop;

impl Restore<'_> {
    /// Whether a rectangle that is not as it was then is part of what is asked for: where that is assets, theirs are, but for those
    /// that stay as they are.
    pub(super) async fn takes_crop(&self, key: &RecordKey) -> Result<bool, Error> {
        if matches!(self.options.which, Which::Table(_) | Which::All) {
            return Ok(true);
        }
        let asset = self.cropped_asset(key).await?;
        let Some(asset) = asset.filter(|asset| !self.failed.contains(asset.as_str())) else {
            return Ok(false);
        };
        if let Which::Asset(asked) = &self.options.which {
            return Ok(*asked == asset);
        }
        let planner = Planner::new(self.node, self.options.to, self.category.as_ref());
        planner.has_in_category(&asset).await
    }

    /// Whose picture a rectangle is of, as its record says now, or said then.
    pub(super) async fn cropped_asset(&self, key: &RecordKey) -> Result<Option<AssetId>, Error> {
        let catalogue = &self.node.catalogue;
        let now = catalogue.record(key).await?.map(|now| now.record.source);
        let then = match catalogue.record_at(key, self.options.to).await? {
            Then::Was { source, .. } => Some(source),
            Then::AsNow | Then::Absent => None,
        };
        let mut sources = [now, then].into_iter().flatten();
        Ok(sources.find_map(|source| {
            let members: Value = serde_json::from_str(&source).ok()?;
            AssetId::new(members[crop::ASSET].as_str()?).ok()
        }))
    }
}

/// The table.
pub(super) fn table() -> Module {
    Module::new(crop::TABLE).expect("the name of a table")
}
