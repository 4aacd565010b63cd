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

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::task::spawn_blocking;

use super::{Error, Inner, upstream};
use crate::catalogue::{FileRow, Lender, Read};
use crate::model::{FileKind, MediaFile, Timestamp};
use crate::peer::Holding;
use crate::protocol::record;
use crate::store::{self, Stat};

/// Pause between two looks.
const EVERY: Duration = Duration::from_secs(60);
/// Files that go at a time.
const BATCH: usize = 64;
/// Questions to peers under way.
const ASKED: usize = 8;
/// Reads that are noted in memory until they are written down.
const READS: usize = 65_536;
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

/// When files were read last, until that is written down.
#[derive(Debug, Default)]
pub(super) struct Reads(Mutex<HashMap<Read, Timestamp>>);

impl Reads {
    /// Notes that a file is read. When there are too many the new ones are forgotten: it is a hint.
    pub(super) fn note(&self, file: &MediaFile, now: Timestamp) {
        let read = Read {
            kind: file.kind,
            path: file.path.clone(),
            asset: file.asset.clone(),
        };
        let mut reads = self.reads();
        if reads.len() < READS || reads.contains_key(&read) {
            reads.insert(read, now);
        }
    }

    fn take(&self) -> Vec<(Read, Timestamp)> {
        std::mem::take(&mut *self.reads()).into_iter().collect()
    }

    fn reads(&self) -> MutexGuard<'_, HashMap<Read, Timestamp>> {
        self.0.lock().expect("no panic while reads are held")
    }
}

impl Inner {
    /// Makes room whenever it is needed, until the end is asked for.
    pub(super) async fn keep_room(&self) {
        loop {
            if let Some(room) = self.room() {
                // Whatever is cut off here is what a kill would leave.
                let made = tokio::select! {
                    made = self.make_room(room) => made,
                    () = self.shutdown.wait() => return,
                };
                match made {
                    Ok(Evicted { files: 0, .. }) => {}
                    Ok(Evicted { files, bytes }) => {
                        tracing::info!(files, bytes, "gone to make room");
                    }
                    Err(error) => tracing::warn!(%error, "no room was made"),
                }
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = self.shutdown.wait() => return,
            }
        }
    }

    /// One look, and what has to go.
    pub(super) async fn make_room(&self, room: Room) -> Result<Evicted, Error> {
        self.write_reads().await?;
        self.finish().await?;
        let lenders = self.lenders().await?;
        let mut gone = Evicted::default();
        if lenders.is_empty() {
            return Ok(gone);
        }
        let here = self.node().catalogue.lent_bytes(&lenders).await?;
        if here <= room.most {
            return Ok(gone);
        }
        let mut kept = HashSet::new();
        while here - gone.bytes.min(here) > room.goal() && !self.shutdown.requested() {
            let too_much = here - gone.bytes - room.goal();
            let before = self.node().seams.clock.now().minus(room.grace);
            let rows = self.candidates(&lenders, before, &kept).await?;
            if rows.is_empty() || kept.len() > REFUSALS {
                tracing::warn!(
                    bytes = here - gone.bytes,
                    most = room.most,
                    "more than max_cache is here and must stay: it was read just now, or no peer vouches for it"
                );
                break;
            }
            let vouched = self.vouched(rows, &mut kept).await?;
            let taken = self.let_go(vouched, too_much).await?;
            gone.files += taken.files;
            gone.bytes += taken.bytes;
        }
        Ok(gone)
    }

    /// Writes down what was read.
    pub(super) async fn write_reads(&self) -> Result<(), Error> {
        let reads = self.reads.take();
        if !reads.is_empty() {
            let mut batch = self.node().catalogue.batch().await?;
            batch.note_reads(&reads).await?;
            batch.commit().await?;
        }
        Ok(())
    }

    /// The peers of this node, and what they state. The EMDB beside a sidecar shares its files with us: nothing of it goes.
    async fn lenders(&self) -> Result<Vec<Lender>, Error> {
        let mut lenders = Vec::new();
        let node = self.node();
        for peer in node.config.enabled_peers() {
            if peer.sidecar {
                return Ok(Vec::new());
            }
            let said = node.catalogue.peer_node(&peer.name).await?;
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
            .node()
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
        let Some(stored) = self.node().catalogue.record(&file.asset.key()).await? else {
            return Ok(false);
        };
        let upstream = self.upstream(&stored.origin).await?;
        let has = upstream.peer().has(file).await;
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

    /// Lets files go until `enough` bytes did.
    async fn let_go(&self, rows: Vec<FileRow>, enough: u64) -> Result<Evicted, Error> {
        let mut gone = Evicted::default();
        let mut going = Vec::new();
        let mut batch = self.node().catalogue.batch().await?;
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
        self.take_out(going).await?;
        Ok(gone)
    }

    /// Does what a killed round left to do.
    async fn finish(&self) -> Result<(), Error> {
        loop {
            let rows = self.node().catalogue.going(BATCH).await?;
            if rows.is_empty() {
                return Ok(());
            }
            self.take_out(rows).await?;
        }
    }

    /// Takes the bytes of files away whose rows say so, and notes that they are gone. A file that cannot be removed stays on disk
    /// without harm: whoever reads it next takes it as it lies there, once it was hashed.
    async fn take_out(&self, rows: Vec<FileRow>) -> Result<(), Error> {
        let (store, staging) = (self.node().store.clone(), self.staging.clone());
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
        let mut batch = self.node().catalogue.batch().await?;
        for (file, is_certain) in &taken {
            batch.is_gone(file, *is_certain).await?;
        }
        Ok(batch.commit().await?)
    }
}

fn read_of(file: &MediaFile) -> Read {
    Read {
        kind: file.kind,
        path: file.path.clone(),
        asset: file.asset.clone(),
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        upstream::ours(&error)
    }
}
