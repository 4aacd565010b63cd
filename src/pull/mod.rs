//! Towards us: records first, then the files they speak of.
//!
//! ```text
//! metadata   pages of the peer -> one catalogue batch each: records, conflicts, wishes for files, the listing's progress
//! alike      whether all that is listed is here already, told by digests instead of pages
//! page       one page: records by the conflict rule, deletes, what cannot be used
//! recropped  rectangles of a page whose renditions are made here
//! wishes     the files of a page's assets (claims: names of two assets; folders: members that only EMDB's uploads name)
//! plan       pure: record + listing + what is here -> wishes
//! damage     the files that a look at the disk found wrong, wished for as their rows say they were
//! ahead      for many wishes at once: which of them have nothing here
//! pool       per lane: claim wishes, run `transfer` for each, as many at once as there are permits
//! lanes      the permits; `window` says how many: it follows latency, goodput and the peer's refusals
//! transfer   one file: a copy we have already, or the rest of a partial, or the whole; hashed as it comes (`ours`, `body`)
//! handed     pages and offers that another node hands to us; landing: the files that it brings
//! asked      one file that somebody waits for
//! publisher  the only writer: groups what arrived, makes it durable under its name, then rows, then settles the jobs
//! ```
//!
//! Everything between them is either the job table or a bounded channel. [`Pull`] is what they share.

mod ahead;
pub mod alike;
pub mod asked;
mod body;
mod ceiling;
mod claims;
mod cutoff;
pub mod damage;
mod error;
mod folders;
pub mod handed;
pub mod landing;
mod lanes;
pub mod metadata;
mod ours;
mod page;
pub mod plan;
pub mod pool;
pub mod publisher;
mod recropped;
mod transfer;
mod window;
mod wishes;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

pub use cutoff::Cutoff;
pub use error::Error;
pub use ours::Way;
pub use plan::Policy;

use crate::catalogue::Catalogue;
use crate::config::Limits;
use crate::model::job::FetchJob;
use crate::model::preset::PresetTable;
use crate::model::{Asset, Filter, NodeId, Selection};
use crate::monitor::{Monitor, RunReport, Transfers};
use crate::peer::{Patience, Peer};
use crate::retry;
use crate::seams::Seams;
use crate::shutdown::Shutdown;
use crate::store::{Staging, Store};
use crate::throttle::Most;
use lanes::Lanes;

/// Small files in memory at most, together, in KiB.
const ROOM_KIB: u32 = 24 << 10;

/// What the stages of one pass over one peer share.
pub struct Pull {
    /// The peer.
    pub peer: Peer,
    /// Our catalogue.
    pub catalogue: Catalogue,
    /// Our media.
    pub store: Store,
    /// Where files of this pass are written before they are published.
    pub staging: Staging,
    /// This node.
    pub own: NodeId,
    /// What is wanted of the peer, of assets that its filter does not leave out.
    pub policy: Policy,
    /// What its files are narrowed to, as far as that is known by now.
    selection: Mutex<Arc<Selection>>,
    /// Limits of the configuration.
    pub limits: Limits,
    /// Recipes of what is rendered here.
    pub presets: Arc<PresetTable>,
    /// Time and chance.
    pub seams: Seams,
    /// Who listens.
    pub monitor: Arc<dyn Monitor>,
    /// Whether we were asked to end; the pass also asks itself, when it cannot go on.
    pub stop: Shutdown,
    /// Rung whenever there may be new jobs.
    pub wake: Notify,
    /// What was done so far.
    pub counts: Counts,
    /// When to end although there is more to do.
    pub cutoff: Arc<Cutoff>,
    /// The other peers of this node.
    pub others: Vec<OtherPeer>,
    /// Whether records that bear our cluster id are this node's own; beside an EMDB they are that one's.
    pub is_owner: bool,
    /// How many files may be in flight; `limits.transfers` unless it is shared with whoever may change it.
    pub transfers_at_once: Most,
    /// Who may begin to download.
    lanes: Lanes,
    /// Room for small files that lie in memory until they are published, in KiB.
    room: Arc<Semaphore>,
    /// Held by whoever empties trash for the disk reserve.
    making_room: tokio::sync::Mutex<()>,
    /// The last probe of the login that came to something, and whether the login was fine.
    probed: tokio::sync::Mutex<Option<(Instant, bool)>>,
    removals_ahead: AtomicBool,
    blocked: AtomicU64,
    failure: Mutex<Option<Error>>,
}

impl Pull {
    /// Puts the shared parts together.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a part of its own, named where it is passed"
    )]
    #[must_use]
    pub fn new(
        (peer, policy): (Peer, Policy),
        catalogue: Catalogue,
        (store, staging): (Store, Staging),
        own: NodeId,
        (limits, presets): (Limits, Arc<PresetTable>),
        seams: Seams,
        monitor: Arc<dyn Monitor>,
        stop: Shutdown,
    ) -> Self {
        let lanes = Lanes::new(limits.transfers);
        let transfers = Most::from(limits.transfers);
        Self {
            peer,
            catalogue,
            store,
            staging,
            own,
            policy,
            selection: Mutex::default(),
            limits,
            presets,
            seams,
            monitor,
            stop,
            wake: Notify::new(),
            counts: Counts::default(),
            cutoff: Arc::default(),
            others: Vec::new(),
            is_owner: true,
            transfers_at_once: transfers,
            lanes,
            room: Arc::new(Semaphore::new(ROOM_KIB as usize)),
            making_room: tokio::sync::Mutex::new(()),
            probed: tokio::sync::Mutex::default(),
            removals_ahead: AtomicBool::new(true),
            blocked: AtomicU64::new(0),
            failure: Mutex::new(None),
        }
    }

    /// How many files were in flight at once, and may be.
    #[must_use]
    pub fn transfers(&self) -> Transfers {
        self.lanes.report()
    }

    /// Which assets' files are wanted.
    #[must_use]
    pub fn selection(&self) -> Arc<Selection> {
        let selection = self.selection.lock();
        Arc::clone(&selection.unwrap_or_else(PoisonError::into_inner))
    }

    /// Narrows the files of this peer from now on, by what the catalogue knows of the categories that are named.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn narrow_to(&self, filter: &Filter) -> Result<(), Error> {
        let selection = Arc::new(self.catalogue.select(filter).await?);
        *(self.selection.lock()).unwrap_or_else(PoisonError::into_inner) = selection;
        Ok(())
    }

    /// Looks up again what was named and not known yet; answers whether that is known by now.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn learn_names(&self) -> Result<bool, Error> {
        let selection = self.selection();
        if selection.unknown.is_empty() {
            return Ok(false);
        }
        self.narrow_to(&selection.filter).await?;
        Ok(self.selection().unknown.is_empty())
    }

    /// What is wanted of an asset.
    #[must_use]
    pub fn policy_for(&self, asset: &Asset) -> Policy {
        let selection = self.selection();
        if selection.keeps(asset, self.seams.clock.now()) {
            self.policy
        } else {
            self.policy.left_out(&selection.filter)
        }
    }

    /// The rule for trying one file again.
    #[must_use]
    pub fn retries(&self) -> retry::Policy {
        retry::Policy::of(&self.limits)
    }

    /// The peer's name, if it can have one file of each name only. One that states no SHA-256 is an EMDB, whose data directory
    /// two assets of one path share.
    fn one_file_at(&self, fetch: &FetchJob) -> Option<&str> {
        fetch.sha256.is_none().then(|| self.peer.name())
    }

    /// Waits for room for a file of so many bytes in memory; it is taken until what is returned is dropped.
    async fn room_for(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Error> {
        let kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX);
        let kib = kib.saturating_add(1).min(ROOM_KIB);
        tokio::select! {
            room = Arc::clone(&self.room).acquire_many_owned(kib) => room.map_err(|_| Error::Worker),
            () = self.stop.wait() => Err(Error::Cancelled),
        }
    }

    /// Bytes of small files that lie in memory, or are about to.
    fn in_memory(&self) -> u64 {
        u64::from(ROOM_KIB).saturating_sub(self.room.available_permits() as u64) << 10
    }

    /// How long list requests are repeated.
    #[must_use]
    pub fn patience(&self) -> Patience<'_> {
        Patience {
            policy: self.retries(),
            seams: &self.seams,
            stop: &self.stop,
        }
    }

    /// Removals are to come once what is listed has been fetched: a file that one of them blocks waits for it.
    pub fn removals_ahead(&self) {
        self.blocked.store(0, Ordering::SeqCst);
        self.removals_ahead.store(true, Ordering::SeqCst);
    }

    /// Removals of this pass are done: how many files waited for one of them. From now on such a file waits no longer.
    pub fn removals_done(&self) -> u64 {
        self.removals_ahead.store(false, Ordering::SeqCst);
        self.blocked.load(Ordering::SeqCst)
    }

    /// Ends the pass because of `error`; the first cause stands.
    pub fn fail(&self, error: Error) {
        let mut failure = self
            .failure
            .lock()
            .expect("no panic while the failure is held");
        failure.get_or_insert(error);
        self.stop.request();
    }

    /// Why the pass ended early, if it did.
    pub fn failure(&self) -> Option<Error> {
        self.failure
            .lock()
            .expect("no panic while the failure is held")
            .take()
    }
}

/// Another peer of this node, which may know better about assets that it owns or gave us.
#[derive(Debug, Clone)]
pub struct OtherPeer {
    /// Its name in our configuration.
    pub name: String,
    /// Its cluster id, as configured or learned.
    pub cluster_id: Option<NodeId>,
}

/// Counters of a pass; each is one field of the [`RunReport`].
#[derive(Debug, Default)]
pub struct Counts {
    /// Records stored.
    pub records: AtomicU64,
    /// Files published.
    pub files: AtomicU64,
    /// Files that were here under their names already.
    pub adopted: AtomicU64,
    /// Of the published ones, those that only got another name.
    pub moved: AtomicU64,
    /// Of the published ones, those made of an equal file that is here.
    pub cloned: AtomicU64,
    /// Media bytes received.
    pub received: AtomicU64,
    /// Assets deleted.
    pub deleted: AtomicU64,
    /// Originals found unrenderable.
    pub unrenderable: AtomicU64,
    /// Records that a node whose place was taken says otherwise than we do.
    pub held_off: AtomicU64,
    /// Records of ours that the peer lists as ours.
    pub ours: AtomicU64,
}

impl Counts {
    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    /// The counters as a report; what is quarantined and how long it took is for the caller to fill in.
    #[must_use]
    pub fn report(&self) -> RunReport {
        RunReport {
            records: self.records.load(Ordering::Relaxed),
            files_written: self.files.load(Ordering::Relaxed),
            files_adopted: self.adopted.load(Ordering::Relaxed),
            files_moved: self.moved.load(Ordering::Relaxed),
            files_cloned: self.cloned.load(Ordering::Relaxed),
            bytes_received: self.received.load(Ordering::Relaxed),
            deleted: self.deleted.load(Ordering::Relaxed),
            unrenderable: self.unrenderable.load(Ordering::Relaxed),
            ..RunReport::default()
        }
    }
}

/// How many jobs of a lane are between claim and settlement, and a bell for when that becomes fewer.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<InFlightState>);

#[derive(Debug, Default)]
struct InFlightState {
    count: AtomicUsize,
    fewer: Notify,
}

impl InFlight {
    /// One more; until the token is dropped.
    #[must_use]
    pub fn enter(&self) -> InFlightToken {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        InFlightToken(self.0.clone())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::SeqCst)
    }

    /// Waits until there are none.
    pub async fn over(&self) {
        loop {
            let fewer = self.0.fewer.notified();
            if self.count() == 0 {
                return;
            }
            fewer.await;
        }
    }

    /// Rings when a token was dropped. To be armed before the count is read.
    #[must_use]
    pub fn fewer(&self) -> &Notify {
        &self.0.fewer
    }
}

/// Travels with a job from its claim to its settlement.
#[derive(Debug)]
pub struct InFlightToken(Arc<InFlightState>);

impl Drop for InFlightToken {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::SeqCst);
        self.0.fewer.notify_waiters();
    }
}
