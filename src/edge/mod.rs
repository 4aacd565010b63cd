//! A node near its readers: a file that a record or a listing names and that is not on this disk is fetched when somebody reads it.
//!
//! ```text
//! serve: nothing here of a name ─▶ flights: is somebody at it? ─▶ wait, for a while
//!                                     │ no
//!                                   wish: a listing's, a row's, a record's ─▶ upstream: claim it in the job table, or wait for the run
//!                                                                               that has it
//!                                                     pull::asked ─▶ publisher ─▶ STORE, CATALOGUE ─▶ all who wait read it there
//! ```
//!
//! Nobody gets a byte before the whole file was compared with what is stated of it and is durable under its name: it comes the way every
//! file of a run comes, and is read from the disk like any other. However many wait for a file, it is fetched once. So many are
//! fetched at a time and no more; whoever waits for longer than [`Patience`] has it hears when to come again, and the fetch goes on.
//! What is here of peers may be bounded (`room`): then the files that were not read for longest go, and come back when they are read.
//! A peer that fails is left alone for a while, longer each time; a file that it has wrong or not at all, for half a minute.
//!
//! Each peer has one publisher. It begins with the first request and ends with [`Edge::close`] or when it fails; the next request then
//! begins another. So it does where the configuration became another one ([`Edge::follow`]): what is under way goes on as it began, with
//! the publisher of before, which ends with the last of it.

mod beside;
mod error;
mod flights;
mod reads;
mod room;
mod upstream;
mod wish;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio_util::task::TaskTracker;

pub use beside::beside;
pub use error::{Error, Trouble};
pub use room::{Evicted, Room};

use crate::model::{AssetId, FileKind, MediaFile, MediaPath};
use crate::node::Node;
use crate::shutdown::Shutdown;
use flights::{Boarding, Flights, Landing, Name};
use reads::Reads;
use room::Keeper;
use upstream::Upstream;

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Longest wait of a reader.
    pub wait: Duration,
    /// Longest silence of a peer while readers wait; shorter where `limits.timeout` is.
    pub silence: Duration,
    /// How long a file that a peer does not have, or has wrong, is not asked for again.
    pub file_rest: Duration,
    /// How long a peer that is in trouble is asked for nothing; doubled with each failure that follows, up to a minute.
    pub peer_rest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(30),
            silence: Duration::from_secs(15),
            file_rest: Duration::from_secs(30),
            peer_rest: Duration::from_secs(2),
        }
    }
}

/// Files that are fetched at a time, all peers together; fewer where `limits.transfers` is.
const AT_ONCE: usize = 32;

/// What fetches for readers, and makes room. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Edge(Arc<Inner>);

struct Inner {
    /// The node, with the configuration as it is now.
    node: RwLock<Arc<Node>>,
    shutdown: Shutdown,
    flights: Flights,
    /// Who may fetch.
    turns: Semaphore,
    upstreams: Mutex<HashMap<String, Source>>,
    tasks: TaskTracker,
    /// When files were read last.
    reads: Arc<Reads>,
    /// Only where there is too little room for all of them.
    keeper: RwLock<Option<Arc<Keeper>>>,
    patience: Patience,
}

/// A peer, as files are fetched from it.
#[derive(Default)]
struct Source {
    now: Option<Arc<Upstream>>,
    /// Those of former configurations, as long as something of theirs is under way.
    former: Vec<Weak<Upstream>>,
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge").finish_non_exhaustive()
    }
}

impl Edge {
    /// Opens it, and takes back what a dead server had begun; the caller holds the lock `serve`.
    ///
    /// # Errors
    /// [`Error::Ours`].
    pub async fn open(
        node: &Node,
        (patience, room): (Patience, Option<Room>),
        shutdown: &Shutdown,
    ) -> Result<Self, Error> {
        let mut batch = node.catalogue.batch().await?;
        batch.take_back_readers_leases().await?;
        batch.commit().await?;
        let node = hurried(node, patience);
        let reads = Arc::default();
        Ok(Self(Arc::new(Inner {
            turns: Semaphore::new(AT_ONCE.min(node.config.limits.transfers)),
            keeper: RwLock::new(keeper_of(&node, room, &reads)),
            node: RwLock::new(node),
            shutdown: shutdown.clone(),
            flights: Flights::default(),
            upstreams: Mutex::default(),
            tasks: TaskTracker::new(),
            reads,
            patience,
        })))
    }

    /// Goes by another configuration of the node from now on, and keeps as much.
    pub fn follow(&self, node: &Node, room: Option<Room>) {
        let node = hurried(node, self.0.patience);
        let keeper = keeper_of(&node, room, &self.0.reads);
        *self.0.node.write().unwrap_or_else(PoisonError::into_inner) = node;
        *self
            .0
            .keeper
            .write()
            .unwrap_or_else(PoisonError::into_inner) = keeper;
        self.0.flights.forget_failures();
    }

    /// The asset whose file [`bring`](Self::bring) would fetch; `None` when there is nothing to fetch.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn owner(
        &self,
        kind: FileKind,
        path: &MediaPath,
        asset: Option<&AssetId>,
    ) -> Result<Option<AssetId>, Error> {
        let wish = wish::find(&self.0.node(), &name(kind, path, asset)).await?;
        Ok(wish.map(|wish| wish.asset))
    }

    /// Fetches the file of a name, or waits for whoever does; it is durable and has its row then. Whoever stops waiting stops nothing.
    ///
    /// # Errors
    /// [`Error`]; nothing of the file is here then that was not before.
    pub async fn bring(
        &self,
        kind: FileKind,
        path: &MediaPath,
        asset: Option<&AssetId>,
    ) -> Result<(), Error> {
        if self.0.shutdown.requested() {
            return Err(Error::Closed);
        }
        let waiting = match self.0.flights.board(&name(kind, path, asset))? {
            Boarding::Wait(waiting) => waiting,
            Boarding::Fly(landing, waiting) => {
                let inner = Arc::clone(&self.0);
                self.0.tasks.spawn(async move { inner.fly(landing).await });
                waiting
            }
        };
        waiting.outcome(self.0.patience.wait).await
    }

    /// How many files are being fetched, or wait for their turn.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.0.flights.count()
    }

    /// Notes that a file is read, for [`make_room`](Self::make_room).
    pub fn note_read(&self, file: &MediaFile) {
        if let Some(keeper) = self.0.keeper() {
            keeper.note_read(file);
        }
    }

    /// Makes room whenever it is needed, for as long as the node runs.
    pub async fn keep_room(&self) {
        let stop = &self.0.shutdown;
        while !stop.requested() {
            if let Some(keeper) = self.0.keeper() {
                keeper.round(stop).await;
            }
            room::pause(stop).await;
        }
    }

    /// Lets the files go that were not read for longest, as far as there are too many, and their peers have them.
    ///
    /// # Errors
    /// [`Error`]; what went before is gone.
    pub async fn make_room(&self) -> Result<Evicted, Error> {
        match self.0.keeper() {
            Some(keeper) => keeper.make(&self.0.shutdown).await,
            None => Ok(Evicted::default()),
        }
    }

    /// Ends all that is under way and all publishers, once these have published what they were given.
    pub async fn close(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
        if let Some(keeper) = self.0.keeper()
            && let Err(error) = keeper.write_reads().await
        {
            tracing::warn!(%error, "what was read last is forgotten");
        }
        let upstreams: Vec<_> = self.0.upstreams.lock().await.drain().collect();
        for (peer, source) in upstreams {
            let Some(upstream) = source.now else { continue };
            if let Err(error) = upstream.close().await {
                tracing::warn!(peer, %error, "not everything that was fetched is published");
            }
        }
    }
}

/// A node as readers want it: a run may wait for a slow peer, a reader does not.
fn hurried(node: &Node, patience: Patience) -> Arc<Node> {
    let mut node = node.clone();
    let mut config = (*node.config).clone();
    config.limits.timeout = config.limits.timeout.min(patience.silence);
    node.config = config.into();
    Arc::new(node)
}

/// Who makes room on a node, where there is too little for all of its files.
fn keeper_of(node: &Node, room: Option<Room>, reads: &Arc<Reads>) -> Option<Arc<Keeper>> {
    room.map(|room| Arc::new(Keeper::new(node, room, Arc::clone(reads))))
}

fn name(kind: FileKind, path: &MediaPath, asset: Option<&AssetId>) -> Name {
    Name {
        kind,
        path: path.clone(),
        asset: asset.cloned(),
    }
}

impl Inner {
    fn node(&self) -> Arc<Node> {
        Arc::clone(&self.node.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn keeper(&self) -> Option<Arc<Keeper>> {
        (self.keeper.read().unwrap_or_else(PoisonError::into_inner)).clone()
    }

    async fn fly(&self, landing: Landing) {
        let outcome = self.fetch(landing.name()).await;
        landing.tell(outcome);
    }

    async fn fetch(&self, name: &Name) -> Result<(), Error> {
        let _turn = tokio::select! {
            turn = self.turns.acquire() => turn.map_err(|_| Error::Closed)?,
            () = self.shutdown.wait() => return Err(Error::Closed),
        };
        let wish = wish::find(&self.node(), name).await?;
        let wish = wish.ok_or(Error::Nowhere)?;
        self.upstream(&wish.peer).await?.bring(&wish).await
    }

    /// The peer of this name; one whose publisher ended, or that was begun by another configuration, is begun anew.
    async fn upstream(&self, name: &str) -> Result<Arc<Upstream>, Error> {
        let node = self.node();
        let mut upstreams = self.upstreams.lock().await;
        let source = upstreams.entry(name.to_owned()).or_default();
        if let Some(now) = source.now.take() {
            if !now.has_ended() && now.goes_by(&node) {
                source.now = Some(Arc::clone(&now));
                return Ok(now);
            }
            if self.shutdown.requested() {
                source.now = Some(now);
                return Err(Error::Closed);
            }
            if now.has_ended() {
                drop(now.close().await);
            }
            source.former.push(Arc::downgrade(&now));
        }
        // Whatever of a former one is still here somebody fetches, or waits for.
        source.former.retain(|former| former.strong_count() > 0);
        let settings = node.config.peer(name)?;
        let is_alone = source.former.is_empty();
        let begun = Upstream::begin(&node, settings, is_alone, self.patience, &self.shutdown);
        let now = Arc::new(begun.await?);
        source.now = Some(Arc::clone(&now));
        Ok(now)
    }
}
