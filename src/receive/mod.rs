//! Changes that other nodes hand to this one, EMDB or emsync (wire spec 3.4 to 3.7, 11.1 items 8 to 10): what `serve` does with them.
//!
//! ```text
//! a page of changes ─▶ pull::handed ─▶ CATALOGUE: records, wishes ─▶ what is here already is published
//!                                                                 ─▶ deletes, under the guard ─▶ reply: the files we want
//! an offer of originals ─▶ pull::handed ─▶ wishes ─▶ reply: the originals we want
//! a file ─▶ pull::landing ─▶ compared with its wish ─▶ publisher ─▶ STORE, CATALOGUE ─▶ reply: it is durable
//! ```
//!
//! What somebody hands to us is taken as what a peer lists would be, by the same code; the sender stands for the peer. It goes by the
//! name of its key: where a peer of that name is configured they are one and the same, and a file that is never brought is fetched
//! by the next run over that peer. No file is taken that was not asked for.
//!
//! Each sender has one publisher. It begins with the first request, and ends with [`Inbox::close`] or when it fails; the next
//! request then begins another. Pages and offers of one sender are taken one after the other, files side by side. Where the
//! configuration became another one ([`Inbox::follow`]), a sender is taken by it from the next request on that finds nothing else of
//! his in hand; what he deleted within the hour counts on.

mod error;
mod held;
mod sender;
mod upload;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Mutex, Semaphore};

pub use error::Error;
pub use held::apply_held;
pub use upload::{Form, Upload};

use crate::catalogue::Job;
use crate::model::job::FetchJob;
use crate::model::{AssetId, FileKind, MediaPath};
use crate::node::Node;
use crate::protocol::receiving::{Given, encode_generated, encode_originals};
use crate::protocol::{changes, uploads};
use crate::pull::{handed, landing};
use crate::shutdown::Shutdown;
use crate::store::Staging;
use sender::Sender;

/// Where files are written before they are published.
const ACTIVITY: &str = "receive";
/// Pages that are in memory at once, of all senders together: EMDB's may have hundreds of megabytes (H-22).
const PAGES: usize = 1;

/// Where other nodes hand their changes in.
pub struct Inbox {
    /// The node, with the configuration as it is now.
    node: RwLock<Arc<Node>>,
    shutdown: Shutdown,
    staging: Staging,
    senders: Mutex<HashMap<String, Arc<Sender>>>,
    pages: Semaphore,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Inbox {
    /// Opens it; the caller holds the lock `serve`.
    ///
    /// # Errors
    /// The store's.
    pub fn open(node: &Node, shutdown: &Shutdown) -> Result<Self, Error> {
        let staging = node.store.staging(ACTIVITY)?;
        staging.sweep()?;
        Ok(Self {
            node: RwLock::new(Arc::new(node.clone())),
            shutdown: shutdown.clone(),
            staging,
            senders: Mutex::default(),
            pages: Semaphore::new(PAGES),
        })
    }

    /// Goes by another configuration of the node from now on.
    pub fn follow(&self, node: &Node) {
        *self.node.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(node.clone());
    }

    fn node(&self) -> Arc<Node> {
        Arc::clone(&self.node.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a page of changes; answers with the reply, which names the generated files that are wanted of it.
    ///
    /// # Errors
    /// [`Error`]; then nothing of the page was taken, or all of it and a second try does no harm.
    pub async fn changes(&self, name: &str, body: landing::Brought) -> Result<Vec<u8>, Error> {
        let _room = self.pages.acquire().await.map_err(|_| Error::Closed)?;
        let mut page = changes::parse(&body.into_bytes().await?)?;
        let sender = self.sender(name).await?;
        let mut turn = sender.turn.lock().await;
        sender.check(&page.head).await?;
        let items = sender.items()?;
        sender.pull.learn_names().await?;
        handed::take(&sender.pull, &mut page).await?;
        let assets: Vec<&str> = (page.records.iter().flatten())
            .filter(|record| record.key.module.is_asset())
            .map(|record| record.key.id.as_str())
            .collect();
        let wanted = handed::wanted(&sender.pull, &assets).await?;
        handed::bring_ours(&sender.pull, wanted, &items).await?;
        sender.delete(&mut turn).await?;
        drop(turn);
        let wanted = handed::wanted(&sender.pull, &assets).await?;
        // What has no bytes and no digest is being made at its sender, and never sent (wire spec 11.2, 7).
        let wanted = told(&wanted, |fetch, _| {
            fetch.kind == FileKind::Generated && (fetch.size != Some(0) || fetch.sha256.is_some())
        });
        let wanted: Vec<_> = wanted.iter().map(given).collect();
        tracing::info!(
            sender = name,
            records = page.records.len(),
            files = wanted.len(),
            "changes were handed over"
        );
        Ok(encode_generated(&self.node().config.node.catalog, &wanted))
    }

    /// Takes an offer of originals; answers with the reply, which names those that are wanted.
    ///
    /// # Errors
    /// As [`changes`](Self::changes), and [`Error::Early`].
    pub async fn offer(&self, name: &str, body: landing::Brought) -> Result<Vec<u8>, Error> {
        let _room = self.pages.acquire().await.map_err(|_| Error::Closed)?;
        let offer = uploads::parse(&body.into_bytes().await?)?;
        let sender = self.sender(name).await?;
        let own = &self.node().config.node.catalog;
        if !sender.pull.policy.originals {
            return Ok(encode_originals(own, &offer.catalog, &[]));
        }
        let turn = sender.turn.lock().await;
        let items = sender.items()?;
        let early = handed::take_offer(&sender.pull, &offer).await?;
        if let Some(first) = early.first() {
            tracing::warn!(
                sender = name,
                assets = early.len(),
                asset = first,
                "originals were offered before their records, and are to be offered again"
            );
            return Err(Error::Early {
                sender: name.to_owned(),
                assets: early.len(),
                first: first.clone(),
            });
        }
        let assets: Vec<&str> = offer.assets.iter().map(|asset| asset.id.as_str()).collect();
        let wanted = handed::wanted(&sender.pull, &assets).await?;
        handed::bring_ours(&sender.pull, wanted, &items).await?;
        drop(turn);
        let wanted = handed::wanted(&sender.pull, &assets).await?;
        let offered: HashSet<&MediaPath> = (offer.assets.iter())
            .flat_map(|asset| asset.files.iter().flatten())
            .filter(|file| handed::is_there(file))
            .map(|file| &file.path)
            .collect();
        let wanted = told(&wanted, |fetch, path| {
            fetch.kind == FileKind::Original && offered.contains(path)
        });
        let wanted: Vec<_> = wanted.iter().map(given).collect();
        tracing::info!(
            sender = name,
            assets = offer.assets.len(),
            files = wanted.len(),
            "originals were offered"
        );
        Ok(encode_originals(own, &offer.catalog, &wanted))
    }

    /// Begins to take something that a sender brings.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn upload(&self, name: &str) -> Result<Upload, Error> {
        let catalog = self.node().config.node.catalog.clone();
        Ok(Upload::new(self.sender(name).await?, catalog))
    }

    /// Ends all publishers once they have published what they were given.
    pub async fn close(&self) {
        let senders: Vec<_> = self.senders.lock().await.drain().collect();
        for (name, sender) in senders {
            if let Err(error) = sender.close().await {
                tracing::warn!(sender = name, %error, "not everything that was brought is published");
            }
        }
    }

    /// The sender of this name; one whose publisher ended is begun anew.
    async fn sender(&self, name: &str) -> Result<Arc<Sender>, Error> {
        if self.shutdown.requested() {
            return Err(Error::Closed);
        }
        let node = self.node();
        let mut senders = self.senders.lock().await;
        if let Some(sender) = senders.get(name) {
            // Nobody else gets hold of it while the map is locked, so whoever holds it alone has nothing of his in hand.
            let is_idle = Arc::strong_count(sender) == 1;
            if !sender.has_ended() && (sender.goes_by(&node) || !is_idle) {
                return Ok(Arc::clone(sender));
            }
            let _ = sender.close().await;
        }
        let mut sender = Sender::begin(&node, name, &self.staging, &self.shutdown).await?;
        if let Some(former) = senders.get(name) {
            *sender.turn.get_mut() = std::mem::take(&mut *former.turn.lock().await);
        }
        let sender = Arc::new(sender);
        senders.insert(name.to_owned(), Arc::clone(&sender));
        Ok(sender)
    }
}

/// Those of the wishes that are to be told to whoever handed something in.
fn told(
    wishes: &[Job],
    is_told: impl Fn(&FetchJob, &MediaPath) -> bool,
) -> Vec<(FileKind, MediaPath, &AssetId)> {
    let told = wishes.iter().filter_map(|job| {
        let fetch = landing::fetch_of(job)?;
        let path = MediaPath::new(fetch.path.as_str()).ok()?;
        is_told(fetch, &path).then_some((fetch.kind, path, &job.asset))
    });
    told.collect()
}

fn given<'a>((kind, path, asset): &'a (FileKind, MediaPath, &'a AssetId)) -> Given<'a> {
    Given {
        kind: *kind,
        path,
        asset,
    }
}
