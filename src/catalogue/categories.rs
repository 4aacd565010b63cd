//! Categories and collections by the names that people give them: what a filter or a command means by one.

use super::{Catalogue, Error};
use crate::model::filter::{Filter, Selection};
use crate::model::{Module, RecordKey};
use crate::protocol;

/// Records read at a time.
const PAGE: usize = 500;
/// EMDB's table of collections (wire spec 12.3).
const COLLECTION: &str = "librarycollection";

impl Catalogue {
    /// The id of a category that is named by its id or its path; `None` when there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn category_named(&self, name: &str) -> Result<Option<String>, Error> {
        let found = self
            .named(&Module::category(), "categorypath", name)
            .await?;
        Ok(found.map(|(id, _)| id))
    }

    /// The id of the root category of a collection that is named by its id or its name; `None` when there is none, or it has none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn root_of_collection(&self, name: &str) -> Result<Option<String>, Error> {
        let Ok(module) = Module::new(COLLECTION) else {
            return Ok(None);
        };
        let found = self.named(&module, "name", name).await?;
        Ok(found.and_then(|(_, members)| {
            let root = members.get("rootcategory")?.as_str()?;
            Some(root.to_owned())
        }))
    }

    /// Looks up what a filter names.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn select(&self, filter: &Filter) -> Result<Selection, Error> {
        let mut selection = Selection {
            filter: filter.clone(),
            ..Selection::default()
        };
        for name in &filter.categories {
            match self.category_named(name).await? {
                Some(id) => drop(selection.wanted.insert(id)),
                None => selection.unknown.push(format!("category {name:?}")),
            }
        }
        for name in &filter.collections {
            match self.root_of_collection(name).await? {
                Some(id) => drop(selection.wanted.insert(id)),
                None => selection.unknown.push(format!("collection {name:?}")),
            }
        }
        for name in &filter.exclude_categories {
            match self.category_named(name).await? {
                Some(id) => drop(selection.left_out.insert(id)),
                None => selection.unknown.push(format!("category {name:?}")),
            }
        }
        Ok(selection)
    }

    /// The live record of a table that has this id, or else this text in a member; with its members.
    async fn named(
        &self,
        module: &Module,
        member: &str,
        name: &str,
    ) -> Result<Option<(String, serde_json::Map<String, serde_json::Value>)>, Error> {
        if let Ok(key) = RecordKey::new(module.as_str(), name)
            && let Some(stored) = self.record(&key).await?
            && !stored.record.is_deleted()
            && let Ok(members) = protocol::record::members(&stored.record)
        {
            return Ok(Some((name.to_owned(), members)));
        }
        let mut after: Option<RecordKey> = None;
        loop {
            let page = self
                .records_after(Some(module), after.as_ref(), PAGE)
                .await?;
            let Some(last) = page.last() else {
                return Ok(None);
            };
            after = Some(last.record.key.clone());
            for stored in page.iter().filter(|stored| !stored.record.is_deleted()) {
                // A record that cannot be read bears no name.
                let Ok(members) = protocol::record::members(&stored.record) else {
                    continue;
                };
                let text = members.get(member).and_then(|text| text.as_str());
                if text == Some(name.trim_matches('/')) {
                    return Ok(Some((stored.record.key.id.clone(), members)));
                }
            }
        }
    }
}
