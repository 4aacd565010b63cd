//! The trash page by page, and the entries that a person names.

use std::collections::HashMap;

use super::pattern::Pattern;
use super::{Error, blocking, shown};
use crate::catalogue::{Catalogue, Former};
use crate::model::FileKind;
use crate::store::{self, Slots, Store, Trashed};

/// Files looked at for one page.
const PAGE: usize = 1_000;
/// Ids that are named when a path alone is not enough.
const NAMED: usize = 5;

/// A trashed file and what it most likely was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file.
    pub item: Trashed,
    /// The row of its place and size that went nearest in time.
    pub former: Option<Former>,
}

/// What a walk of the trash meets.
#[derive(Debug)]
pub enum Found {
    /// A trashed file.
    Entry(Box<Entry>),
    /// Something that is none of ours, or cannot be read.
    Odd(store::Error),
}

/// What is wanted of the trash.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Of one tree only.
    pub kind: Option<FileKind>,
    /// Of one asset only.
    pub asset: Option<String>,
    /// Of these paths only.
    pub pattern: Option<Pattern>,
}

/// A walk through the trash, oldest first. Memory does not grow with the trash.
pub struct Listing {
    catalogue: Catalogue,
    cursor: Option<Cursor>,
}

type Files = Box<dyn Iterator<Item = Result<Trashed, store::Error>> + Send>;

struct Cursor {
    store: Store,
    slots: Slots,
    files: Option<Files>,
}

impl Iterator for Cursor {
    type Item = Result<Trashed, store::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.files.as_mut().and_then(Iterator::next) {
                return Some(item);
            }
            match self.slots.next()? {
                Ok(slot) => self.files = Some(Box::new(self.store.trashed_in(&slot))),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Listing {
    /// Begins a walk.
    ///
    /// # Errors
    /// [`Error::Store`] without the marker: on another volume the trash would look empty.
    pub async fn open(store: &Store, catalogue: &Catalogue) -> Result<Self, Error> {
        let store = store.clone();
        let cursor = blocking(move || {
            let slots = store.slots()?;
            Ok::<_, store::Error>(Cursor {
                store,
                slots,
                files: None,
            })
        });
        Ok(Self {
            catalogue: catalogue.clone(),
            cursor: Some(cursor.await??),
        })
    }

    /// The wanted ones among the next files; `None` at the end. A page may be empty.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn page(&mut self, wanted: &Wanted) -> Result<Option<Vec<Found>>, Error> {
        let Some(items) = self.items().await? else {
            return Ok(None);
        };
        let mut found = Vec::new();
        for item in items {
            let item = match item {
                Ok(item) => item,
                Err(error) => {
                    found.push(Found::Odd(error));
                    continue;
                }
            };
            let tree = item.kind().dir();
            let is_out = wanted.kind.is_some_and(|kind| kind != item.kind())
                || (wanted.pattern.as_ref())
                    .is_some_and(|pattern| !pattern.takes(tree, item.path.as_str()));
            if is_out {
                continue;
            }
            let former = nearest(&self.catalogue, &item).await?;
            let owner = former.as_ref().map(|former| former.file.asset.as_str());
            if wanted
                .asset
                .as_deref()
                .is_none_or(|asset| owner == Some(asset))
            {
                found.push(Found::Entry(Box::new(Entry { item, former })));
            }
        }
        Ok(Some(found))
    }

    /// The next files as the disk has them; `None` at the end.
    pub(super) async fn items(
        &mut self,
    ) -> Result<Option<Vec<Result<Trashed, store::Error>>>, Error> {
        let Some(mut cursor) = self.cursor.take() else {
            return Ok(None);
        };
        let (cursor, items) = blocking(move || {
            let items: Vec<_> = cursor.by_ref().take(PAGE).collect();
            (cursor, items)
        })
        .await?;
        if items.len() == PAGE {
            self.cursor = Some(cursor);
        }
        Ok(Some(items))
    }
}

/// What a trashed file most likely was.
pub(super) async fn nearest(
    catalogue: &Catalogue,
    item: &Trashed,
) -> Result<Option<Former>, Error> {
    let at = (item.kind(), &item.path);
    let found = catalogue.former_at(at, item.stat.size, item.slot.when, 1);
    Ok(found.await?.pop())
}

/// The entries that `items` name: by id, or by path where only one version of it is there. In the same order.
///
/// # Errors
/// [`Error::Catalogue`], [`Error::Store`]; what is wrong with one item is its own answer.
pub async fn find(
    store: &Store,
    catalogue: &Catalogue,
    items: &[String],
) -> Result<Vec<Result<Entry, Error>>, Error> {
    let mut listing = Listing::open(store, catalogue).await?;
    let mut by_id: HashMap<&str, Trashed> = HashMap::new();
    let mut by_path: HashMap<&str, Vec<Trashed>> = HashMap::new();
    while let Some(page) = listing.items().await? {
        // What is odd is nothing that could be asked for.
        for found in page.into_iter().filter_map(Result::ok) {
            let (id, whole) = (found.id(), shown(found.kind(), &found.path));
            for item in items {
                if *item == id {
                    by_id.insert(item, found.clone());
                } else if *item == whole || item == found.path.as_str() {
                    let versions = by_path.entry(item).or_default();
                    // The count beyond what is named does not matter.
                    versions.truncate(NAMED);
                    versions.push(found.clone());
                }
            }
        }
    }
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        let versions = by_path.get(item.as_str()).map_or(&[][..], Vec::as_slice);
        let one = match (by_id.get(item.as_str()), versions) {
            (Some(one), _) | (None, [one]) => one.clone(),
            (None, []) => {
                answers.push(Err(Error::NoSuch { item: item.clone() }));
                continue;
            }
            (None, several) => {
                let ids = several.iter().map(Trashed::id).collect();
                let item = item.clone();
                answers.push(Err(Error::Ambiguous { item, ids }));
                continue;
            }
        };
        let former = nearest(catalogue, &one).await?;
        answers.push(Ok(Entry { item: one, former }));
    }
    Ok(answers)
}
