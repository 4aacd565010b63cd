//! Away from us: records that were stored here since the last push, then the files that the peer wants of what it was offered.
//!
//! ```text
//! changes    which records: stored since the checkpoint, in order, less what the peer must have anyway
//! offer      the files that go along with a page: those that are on disk as their rows say
//! page       one page: sent, halved where it is not taken, its wishes and progress in one batch
//! wishes     what the peer asked for, less what it was not offered: durable jobs
//! uploads    claims those jobs, sends as many files at once as there are permits (outgoing: one file)
//! arrivals   a look at the peer's listing: what was sent and is there
//! preview    what all of it would be, without a request
//! ```
//!
//! Everything between them is the job table. A page that is sent twice changes nothing at the peer, nor does a file, so a kill
//! anywhere costs the page and the files under way at most. The checkpoint moves when every page was taken or is set aside.

mod arrivals;
mod changes;
mod error;
mod offer;
mod outgoing;
mod page;
pub mod preview;
mod uploads;
mod wishes;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub use error::Error;

use crate::catalogue::{Catalogue, Lane, Trim};
use crate::config::Limits;
use crate::greeting;
use crate::model::preset::PresetTable;
use crate::model::{CatalogId, Module, NodeId, Timestamp};
use crate::monitor::{Monitor, Phase, RunReport};
use crate::peer::{Cursor, Patience, Peer};
use crate::retry;
use crate::seams::Seams;
use crate::shutdown::Shutdown;
use crate::store::Store;

/// Which files go along with the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Originals.
    pub originals: bool,
    /// Generated files.
    pub generated: bool,
}

impl Policy {
    /// As a number that is kept: a kind that comes later is a bit that was not there.
    const fn bits(self) -> i64 {
        self.originals as i64 + 2 * self.generated as i64
    }
}

/// Says whether so many more bytes may be sent in this run.
pub type Allowance = dyn Fn(u64) -> bool + Send + Sync;

/// What the parts of one push to one peer share.
pub struct Push {
    /// The peer.
    pub peer: Peer,
    /// What goes along.
    pub policy: Policy,
    /// Our catalogue.
    pub catalogue: Catalogue,
    /// Our media.
    pub store: Store,
    /// This node.
    pub own: NodeId,
    /// The catalog that our paths lie in.
    pub catalog: CatalogId,
    /// Tables that do not leave this node.
    pub withheld: Vec<Module>,
    /// Limits of the configuration.
    pub limits: Limits,
    /// What renditions are made by here.
    pub presets: Arc<PresetTable>,
    /// Time and chance.
    pub seams: Seams,
    /// Who listens.
    pub monitor: Arc<dyn Monitor>,
    /// Whether we were asked to end; the pass also asks itself, when it cannot go on.
    pub stop: Shutdown,
    /// Asked before each file; once it says no, what is under way comes to its end and nothing more begins.
    pub may_send: Arc<Allowance>,
    /// Whether everything is sent again that was ever sent.
    pub anew: bool,
    /// What was done so far.
    pub counts: Counts,
    enough: Shutdown,
    failure: Mutex<Option<Error>>,
}

/// What a push needs, put together by who runs it.
pub struct Parts {
    /// The peer, and what goes along.
    pub peer: (Peer, Policy),
    /// Our catalogue.
    pub catalogue: Catalogue,
    /// Our media.
    pub store: Store,
    /// This node, and the catalog that our paths lie in.
    pub own: (NodeId, CatalogId),
    /// Tables that do not leave this node.
    pub withheld: Vec<Module>,
    /// Limits of the configuration.
    pub limits: Limits,
    /// What renditions are made by here.
    pub presets: Arc<PresetTable>,
    /// Time and chance.
    pub seams: Seams,
}

/// Counters of a push; each is one field of the [`RunReport`].
#[derive(Debug, Default)]
pub struct Counts {
    /// Records that the peer took.
    pub records: AtomicU64,
    /// Files sent.
    pub files: AtomicU64,
    /// Media bytes sent, of files that arrived or not.
    pub bytes: AtomicU64,
    /// Records that were sent and that the peer has otherwise.
    pub refused: AtomicU64,
}

impl Counts {
    fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    /// The counters as a report; what is set aside and how long it took is for the caller to fill in.
    #[must_use]
    pub fn report(&self) -> RunReport {
        RunReport {
            records_sent: self.records.load(Ordering::Relaxed),
            files_sent: self.files.load(Ordering::Relaxed),
            bytes_sent: self.bytes.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            ..RunReport::default()
        }
    }
}

/// Who answered.
#[derive(Debug, Clone)]
struct Greeted {
    /// Its cluster id.
    id: NodeId,
    /// Its catalog, as it states it.
    catalog: String,
    /// Whether it is an emsync node, which lists what it took at once.
    is_emsync: bool,
    /// Its clock minus ours, in milliseconds, as far as is known.
    skew_ms: i64,
}

impl Push {
    /// Puts the shared parts together.
    #[must_use]
    pub fn new(parts: Parts, anew: bool, monitor: Arc<dyn Monitor>, stop: Shutdown) -> Self {
        Self {
            peer: parts.peer.0,
            policy: parts.peer.1,
            catalogue: parts.catalogue,
            store: parts.store,
            own: parts.own.0,
            catalog: parts.own.1,
            withheld: parts.withheld,
            limits: parts.limits,
            presets: parts.presets,
            seams: parts.seams,
            monitor,
            stop,
            may_send: Arc::new(|_| true),
            anew,
            counts: Counts::default(),
            enough: Shutdown::new(),
            failure: Mutex::new(None),
        }
    }

    /// Ends the pass because of `error`; the first cause stands.
    fn fail(&self, error: Error) {
        let mut failure = self
            .failure
            .lock()
            .expect("no panic while the failure is held");
        failure.get_or_insert(error);
        self.stop.request();
    }

    /// Why the pass ended early, if it did.
    fn failure(&self) -> Option<Error> {
        self.failure
            .lock()
            .expect("no panic while the failure is held")
            .take()
    }

    /// The rule for trying one file again.
    #[must_use]
    pub fn retries(&self) -> retry::Policy {
        retry::Policy::of(&self.limits)
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

    /// What the peer must have anyway (wire spec 8.1, 2; I8). `peer_id` may be unknown before the first contact.
    fn trim<'a>(&'a self, peer_id: Option<&'a NodeId>) -> Trim<'a> {
        Trim {
            peer: self.peer.name(),
            peer_id,
            own: &self.own,
            withheld: &self.withheld,
        }
    }

    /// The peer's cluster id as configured or learned.
    async fn known_id(&self) -> Result<Option<NodeId>, Error> {
        if let Some(id) = self.peer.cluster_id() {
            return Ok(Some(id.clone()));
        }
        let said = self.catalogue.peer_node(self.peer.name()).await?;
        Ok(said.map(|said| said.cluster_id))
    }

    /// Asks who is there, by a listing of next to nothing.
    async fn greet(&self) -> Result<Greeted, Error> {
        let ask = async |peer: &Peer, (): &mut ()| {
            let mut cursor = Cursor::new(peer, 1, Timestamp::EPOCH);
            peer.next_page(&mut cursor).await
        };
        let page = self.peer.patiently(self.patience(), &mut (), ask).await?;
        let now = self.seams.clock.now();
        let server_now = page.server_now.unwrap_or(now);
        greeting::check_skew(
            &self.peer,
            server_now,
            self.limits.max_clock_skew,
            &*self.seams.clock,
            &*self.monitor,
        )?;
        let hello = page.changes.head.hello.as_ref();
        let id =
            greeting::check_identity(&self.peer, &self.own, hello, &self.catalogue, now).await?;
        Ok(Greeted {
            id,
            is_emsync: hello.is_some(),
            catalog: page.changes.head.catalog,
            skew_ms: server_now.as_millis() - now.as_millis(),
        })
    }
}

/// Sends what there is to send. The caller holds the lock of the peer's runs.
///
/// # Errors
/// [`Error`]; what was taken by then is noted, and the next run goes on from there.
pub async fn run(push: &Arc<Push>) -> Result<(), Error> {
    push.monitor.phase(Phase::Push);
    let peer = push.peer.name();
    let mut batch = push.catalogue.batch().await?;
    let now = push.seams.clock.now();
    batch.take_back_leases(peer, now).await?;
    batch
        .try_uploads_again(peer, push.limits.attempts, now)
        .await?;
    batch.commit().await?;
    let known = push.known_id().await?;
    let mut under = changes::look(push).await?;
    let first = changes::next(push, &mut under, known.as_ref()).await?;
    if first.is_empty()
        && push.catalogue.next_due(peer, Lane::Upload).await?.is_none()
        && push.catalogue.earliest_unseen(peer).await?.is_none()
        && !under.is_resumed
    {
        // Nobody needs to be asked anything.
        return changes::finish(push, &under).await;
    }
    let greeted = push.greet().await?;
    loop {
        let mut under = changes::begin(push).await?;
        page::send_all(push, &greeted, &mut under).await?;
        changes::finish(push, &under).await?;
        // What a run left in the middle ended where that began, and more was stored since.
        if !under.is_resumed {
            break;
        }
    }
    let sent_at = tokio::time::Instant::now();
    uploads::run(push, &greeted).await?;
    arrivals::look(push, &greeted, sent_at).await
}
