//! Files that went to make room, brought back because a person says so: before their peer is given up, or before many will read them.
//!
//! They come as damaged files come, each as its row says it was, so that nothing but these very bytes will do. A kill leaves what came in
//! its place, and the rest to whoever asks again.

use std::sync::Arc;

use super::{Amount, Error, fetch_again};
use crate::config;
use crate::model::{Filter, MediaFile, Selection};
use crate::monitor::{Counter, Monitor};
use crate::node::Node;
use crate::protocol;
use crate::pull::{self, Cutoff};
use crate::shutdown::Shutdown;

/// Files wished for at a time.
const PAGE: usize = 1_000;
/// Files that stay away and are named one by one.
const NAMED: usize = 1_000;

/// A file that did not come back.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StaysAway {
    /// Whose it is.
    pub asset: String,
    /// Its name, below `originals/` or `generated/`.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// What was brought back.
#[derive(Debug, Default, serde::Serialize)]
pub struct Brought {
    /// What went to make room and is meant.
    pub meant: Amount,
    /// What of it is here again.
    pub back: Amount,
    /// The first thousand that are not, with the reason.
    pub stay_away: Vec<StaysAway>,
    /// Why not all of it was asked for, if that is so.
    pub ended: Option<String>,
    /// The error itself.
    #[serde(skip)]
    pub error: Option<Error>,
}

/// Counts what went to make room of a peer's files, as far as `filter` lets it.
///
/// # Errors
/// [`pull::Error::UnknownNames`] when the filter names what is not known; the catalogue's.
pub async fn away(node: &Node, settings: &config::Peer, filter: &Filter) -> Result<Amount, Error> {
    let mut walk = Walk::begin(node, settings, filter).await?;
    let mut meant = Amount::default();
    while let Some(files) = walk.next().await? {
        for file in files {
            meant.add(file.size);
        }
    }
    Ok(meant)
}

/// Brings back what went to make room of a peer's files, as far as `filter` lets it. The caller holds the lock `run-<peer>`.
///
/// # Errors
/// [`Error`] of this node's own: its catalogue or its disk. What is the matter with the peer is in the answer.
pub async fn bring_back(
    node: &Node,
    (settings, filter): (&config::Peer, &Filter),
    (monitor, cutoff): (Arc<dyn Monitor>, &Arc<Cutoff>),
    stop: &Shutdown,
) -> Result<Brought, Error> {
    let mut brought = Brought {
        meant: away(node, settings, filter).await?,
        ..Brought::default()
    };
    monitor.expect(Counter::Files, brought.meant.files);
    monitor.expect(Counter::Bytes, brought.meant.bytes);
    let mut walk = Walk::begin(node, settings, filter).await?;
    while let Some(files) = walk.next().await? {
        if files.is_empty() {
            continue;
        }
        let to = (Arc::clone(&monitor), cutoff);
        let unhealed = fetch_again(node, settings, &files, to, stop).await?;
        for file in files {
            let row = (node.catalogue)
                .file(file.kind, &file.path, &file.asset)
                .await?;
            // A row that went meanwhile is nobody's to bring.
            let Some(row) = row else { continue };
            if !row.evicted {
                brought.back.add(file.size);
            } else if brought.stay_away.len() < NAMED {
                let reason = unhealed.of(&file).unwrap_or("not asked for");
                brought.stay_away.push(StaysAway {
                    asset: file.asset.to_string(),
                    path: file.path.to_string(),
                    reason: reason.to_owned(),
                });
            }
        }
        // What is the matter with the peer is so for the next page, too.
        if unhealed.of_all.is_some() {
            (brought.ended, brought.error) = (unhealed.of_all, unhealed.error);
            break;
        }
    }
    Ok(brought)
}

/// A walk over the files that went.
struct Walk<'a> {
    node: &'a Node,
    peer: &'a str,
    selection: Selection,
    after: Option<MediaFile>,
}

impl<'a> Walk<'a> {
    async fn begin(
        node: &'a Node,
        settings: &'a config::Peer,
        filter: &Filter,
    ) -> Result<Self, Error> {
        let selection = node.catalogue.select(filter).await?;
        if !selection.unknown.is_empty() {
            return Err(pull::Error::UnknownNames {
                peer: settings.name.clone(),
                names: selection.unknown.join(", "),
            }
            .into());
        }
        Ok(Self {
            node,
            peer: &settings.name,
            selection,
            after: None,
        })
    }

    /// The next files that are meant; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<MediaFile>>, Error> {
        let catalogue = &self.node.catalogue;
        let rows = catalogue
            .evicted_of(self.peer, self.after.as_ref(), PAGE)
            .await?;
        let Some(last) = rows.last() else {
            return Ok(None);
        };
        self.after = Some(last.file.clone());
        let keys: Vec<_> = rows.iter().map(|row| row.file.asset.key()).collect();
        let records = catalogue.stored(&keys).await?;
        let now = self.node.seams.clock.now();
        let mut files = Vec::new();
        for row in rows {
            let stored = records.get(&row.file.asset.key());
            let asset = stored.and_then(|stored| protocol::record::asset(&stored.record).ok());
            if asset.is_some_and(|asset| self.selection.keeps(&asset, now)) {
                files.push(row.file);
            }
        }
        Ok(Some(files))
    }
}
