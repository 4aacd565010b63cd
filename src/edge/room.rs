//! Room: what was not read for longest goes when files of peers take more than `max_cache`, and comes back when somebody reads it.
//!
//! ```text
//! add up what is here of peers     no more than max_cache: done
//! the least recently read ones     never made here, without a record of a peer, or with a job
//! ask the peer of each (HEAD)      only what it has itself, with the same digest, may go
//! rows: about to go ─▶ bytes ─▶ rows: gone
//! ```
//!
//! A row first says that its bytes are about to go, and only then do they; so after a kill no row speaks of bytes that are not there,
//! and what is left to do is done by the next round. A listing finds the row and wishes for nothing, so a sync does not bring back what
//! went; a new version, listed later, is fetched like any other. `verify` compares such a file by its row and looks for no bytes.
//!
//! One process at a time makes room on a node: `serve` while it runs, else a run for itself ([`beside`](super::beside())).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::task::spawn_blocking;

use super::reads::{Reads, read_of};
use super::{Error, upstream};
use crate::catalogue::{FileRow, Lender, Read};
use crate::crash::{self, Point};
use crate::model::{FileKind, MediaFile, Timestamp};
use crate::node::{self, Lock, Node};
use crate::peer::{Holding, Peer};
use crate::protocol::record;
use crate::shutdown::Shutdown;
use crate::store::{self, Staging, Stat};

/// Whoever makes room holds this lock for a round; files on their way out lie in the staging of this name.
const ACTIVITY: &str = "evict";

/// Pause between two looks.
const EVERY: Duration = Duration::from_secs(60);
/// Files that go at a time.
const BATCH: usize = 64;
/// Questions to peers under way.
const ASKED: usize = 8;
/// Files whose peers would not vouch for them after which a round gives up.
const REFUSALS: usize = 1_000;
/// What goes beyond what must, so that not every file that comes sends another one away: a part of the whole.
const SLACK: u64 = 20;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of files of peers.
    pub most: u64,
    /// How long a file stays after it came or was read: whoever waited for it has opened it by then.
    pub grace: Duration,
}

impl Room {
    /// So many bytes, and a minute of grace.
    #[must_use]
    pub fn of(most: u64) -> Self {
        Self {
            most,
            grace: Duration::from_secs(60),
        }
    }

    /// What is left once room was made.
    fn goal(self) -> u64 {
        self.most - self.most / SLACK
    }
}

/// What went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evicted {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Makes room on a node.
pub(super) struct Keeper {
    node: Node,
    room: Room,
    /// When files were read last.
    reads: Arc<Reads>,
    peers: Mutex<HashMap<String, Peer>>,
}

impl Keeper {
    pub(super) fn new(node: &Node, room: Room, reads: Arc<Reads>) -> Self {
        Self {
            node: node.clone(),
            room,
            reads,
            peers: Mutex::default(),
        }
    }

    /// Notes that a file is read.
    pub(super) fn note_read(&self, file: &MediaFile) {
        self.reads.note(file, self.node.seams.clock.now());
    }

    /// One look, of which the log hears.
    pub(super) async fn round(&self, stop: &Shutdown) {
        match self.make(stop).await {
            Ok(Evicted { files: 0, .. }) | Err(Error::Closed) => {}
            Ok(Evicted { files, bytes }) => tracing::info!(files, bytes, "gone to make room"),
            Err(error) => tracing::warn!(%error, "no room was made"),
        }
    }

    /// One look, and what has to go. Nothing goes while somebody else is at it.
    pub(super) async fn make(&self, stop: &Shutdown) -> Result<Evicted, Error> {
        self.write_reads().await?;
        let mut gone = Evicted::default();
        let Some(way_out) = self.way_out()? else {
            return Ok(gone);
        };
        self.finish(&way_out).await?;
        let lenders = self.lenders().await?;
        if lenders.is_empty() {
            return Ok(gone);
        }
        let room = self.room;
        let here = self.node.catalogue.lent_bytes(&lenders).await?;
        if here <= room.most {
            return Ok(gone);
        }
        let mut kept = HashSet::new();
        while here - gone.bytes.min(here) > room.goal() && !stop.requested() {
            let too_much = here - gone.bytes - room.goal();
            let before = self.node.seams.clock.now().minus(room.grace);
            let rows = self.candidates(&lenders, before, &kept).await?;
            if rows.is_empty() || kept.len() > REFUSALS {
                tracing::warn!(
                    bytes = here - gone.bytes,
                    most = room.most,
                    "more than max_cache is here and must stay: it was read just now, or no peer vouches for it"
                );
                break;
            }
            // Only this waits for others: what was begun on disk is ended.
            let vouched = tokio::select! {
                vouched = self.vouched(rows, &mut kept) => vouched?,
                () = stop.wait() => return Err(Error::Closed),
            };
            let taken = self.let_go((vouched, too_much), &way_out).await?;
            gone.files += taken.files;
            gone.bytes += taken.bytes;
        }
        Ok(gone)
    }

    /// Where files lie for a moment on their way out, with what a killed process left there swept; `None` while another one is at it.
    fn way_out(&self) -> Result<Option<WayOut>, Error> {
        let lock = match self.node.lock_for_a_moment(ACTIVITY) {
            Err(node::Error::Busy { .. }) => return Ok(None),
            taken => taken.map_err(|error| upstream::ours(&error))?,
        };
        let staging = self.node.store.staging(ACTIVITY)?;
        staging.sweep()?;
        Ok(Some(WayOut {
            staging,
            _lock: lock,
        }))
    }

    /// Writes down what was read.
    pub(super) async fn write_reads(&self) -> Result<(), Error> {
        let reads = self.reads.take();
        if !reads.is_empty() {
            let mut batch = self.node.catalogue.batch().await?;
            batch.note_reads(&reads).await?;
            batch.commit().await?;
        }
        Ok(())
    }

    /// The peers of this node, and what they state. The EMDB beside a sidecar shares its files with us: nothing of it goes.
    async fn lenders(&self) -> Result<Vec<Lender>, Error> {
        let mut lenders = Vec::new();
        for peer in self.node.config.enabled_peers() {
            if peer.sidecar {
                return Ok(Vec::new());
            }
            let said = self.node.catalogue.peer_node(&peer.name).await?;
            lenders.push(Lender {
                peer: peer.name.clone(),
                states_sha256: said.is_some(),
            });
        }
        Ok(lenders)
    }

    async fn candidates(
        &self,
        lenders: &[Lender],
        before: Timestamp,
        kept: &HashSet<Read>,
    ) -> Result<Vec<FileRow>, Error> {
        let limit = BATCH + kept.len();
        let rows = self
            .node
            .catalogue
            .least_read(lenders, before, limit)
            .await?;
        let mut rows: Vec<_> = rows
            .into_iter()
            .filter(|row| !kept.contains(&read_of(&row.file)))
            .collect();
        rows.truncate(BATCH);
        Ok(rows)
    }

    /// Those of the files that their peers have, too; the others are kept.
    async fn vouched(
        &self,
        rows: Vec<FileRow>,
        kept: &mut HashSet<Read>,
    ) -> Result<Vec<FileRow>, Error> {
        let asked = futures_util::stream::iter(rows).map(|row| async {
            let is_there = self.is_at_its_peer(&row.file).await;
            (row, is_there)
        });
        let answers: Vec<_> = asked.buffered(ASKED).collect().await;
        let mut vouched = Vec::new();
        for (row, is_there) in answers {
            match is_there? {
                true => vouched.push(row),
                false => drop(kept.insert(read_of(&row.file))),
            }
        }
        Ok(vouched)
    }

    /// Whether the peer that a file came from has these very bytes itself. One that cannot be asked ends the round.
    async fn is_at_its_peer(&self, file: &MediaFile) -> Result<bool, Error> {
        let Some(stored) = self.node.catalogue.record(&file.asset.key()).await? else {
            return Ok(false);
        };
        let has = self.peer(&stored.origin)?.has(file).await;
        let has = has.map_err(|error| Error::of(&error.into()))?;
        let states_its_md5 = || {
            let asset = record::asset(&stored.record).ok();
            let stated = asset.and_then(|asset| asset.stated_original());
            file.kind == FileKind::Original
                && file.md5.is_some()
                && stated.is_some_and(|stated| stated.path == file.path && stated.md5 == file.md5)
        };
        Ok(match has {
            Holding::TheBytes => true,
            Holding::AsMany => states_its_md5(),
            Holding::Nothing => false,
        })
    }

    /// The peer of this name, for questions.
    fn peer(&self, name: &str) -> Result<Peer, Error> {
        let mut peers = self.peers.lock().expect("no panic while peers are held");
        if let Some(peer) = peers.get(name) {
            return Ok(peer.clone());
        }
        let settings = self.node.config.peer(name)?;
        let limits = &self.node.config.limits;
        let peer = Peer::new(
            settings,
            &settings.key()?,
            limits,
            self.node.throttle.clone(),
        );
        let peer = peer.map_err(|error| Error::of(&error.into()))?;
        peers.insert(name.to_owned(), peer.clone());
        Ok(peer)
    }

    /// Lets files go until `enough` bytes did.
    async fn let_go(
        &self,
        (rows, enough): (Vec<FileRow>, u64),
        way_out: &WayOut,
    ) -> Result<Evicted, Error> {
        let mut gone = Evicted::default();
        let mut going = Vec::new();
        let mut batch = self.node.catalogue.batch().await?;
        for row in rows {
            if gone.bytes >= enough {
                break;
            }
            if batch.let_go(&row).await? {
                gone.files += 1;
                gone.bytes += row.file.size;
                going.push(row);
            }
        }
        batch.commit().await?;
        crash::point(Point::EvictedRows)?;
        self.take_out(going, way_out).await?;
        Ok(gone)
    }

    /// Does what a killed round left to do.
    async fn finish(&self, way_out: &WayOut) -> Result<(), Error> {
        loop {
            let rows = self.node.catalogue.going(BATCH).await?;
            if rows.is_empty() {
                return Ok(());
            }
            self.take_out(rows, way_out).await?;
        }
    }

    /// Takes the bytes of files away whose rows say so, and notes that they are gone. A file that cannot be removed stays on disk
    /// without harm: whoever reads it next takes it as it lies there, once it was hashed.
    async fn take_out(&self, rows: Vec<FileRow>, way_out: &WayOut) -> Result<(), Error> {
        let (store, staging) = (self.node.store.clone(), way_out.staging.clone());
        let taken = spawn_blocking(move || {
            let taken = rows.into_iter().map(|row| {
                let file = row.file;
                let meant = Stat {
                    size: file.size,
                    modified: file.modified,
                };
                let name = (file.kind, file.place());
                if let Err(error) = store.take_out(&staging, name, meant) {
                    let why = crate::error::chain(&error);
                    tracing::warn!(path = %file.path, why, "stays on disk");
                }
                let is_certain = matches!(store.stat(file.kind, file.place()), Ok(None));
                (file, is_certain)
            });
            taken.collect::<Vec<_>>()
        });
        let taken = taken.await.map_err(|error| upstream::ours(&error))?;
        crash::point(Point::EvictedBytes)?;
        let mut batch = self.node.catalogue.batch().await?;
        for (file, is_certain) in &taken {
            batch.is_gone(file, *is_certain).await?;
        }
        Ok(batch.commit().await?)
    }
}

/// Where files lie for a moment on their way out; nobody else uses it meanwhile.
struct WayOut {
    staging: Staging,
    _lock: Lock,
}

/// Until the next look.
pub(super) async fn pause(stop: &Shutdown) {
    tokio::select! {
        () = tokio::time::sleep(EVERY) => {}
        () = stop.wait() => {}
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        upstream::ours(&error)
    }
}

impl From<crash::Reached> for Error {
    fn from(reached: crash::Reached) -> Self {
        upstream::ours(&reached)
    }
}
