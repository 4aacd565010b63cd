//! The only code that takes files away because of what a peer says, with the guard in front of it (I4); and what this node deletes
//! of its own. What an import finds gone is in `import`; how anything goes, whoever asks, is ruled in `store::trash`.
//!
//! ```text
//! count the deletes that wait for this peer; more than the guard allows: hold them all, count them, stop here
//! for each: ask again whether it still wins against what is here; tombstone: record, file rows, jobs in one batch; a mark:
//!           the record alone; an absence: ask the peer once more, then the record aside, file rows, jobs in one batch
//! then the files that records do not name any more (moves, renditions gone from two listings): the row
//! then the bytes of all rows that went
//! ```
//!
//! Rows go before bytes, and leave a job for them: a kill in between leaves a file nobody lists, never a row without a file,
//! and the next run finishes it. A row goes only while the file has the content and the owner it had when its removal was
//! decided; the bytes go only while no row names them again.

use std::time::Duration;

use super::guard;
use crate::catalogue::{Batch, Catalogue, Conflict, Job, Lane, NewJob, StoredRecord};
use crate::crash::{self, Point};
use crate::error::Class;
use crate::model::job::{DeleteJob, RemoveJob, Work};
use crate::model::{
    AssetId, MediaPath, NodeId, Record, RecordKey, RecordStatus, Resolution, Timestamp, resolve,
};
use crate::monitor::Monitor;
use crate::peer::{Patience, Peer};
use crate::protocol;
use crate::seams::Seams;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::{catalogue, store};

/// Jobs claimed at once.
const CLAIMED: usize = 256;
pub(super) const LEASE: Duration = Duration::from_secs(3_600);

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] catalogue::Error),
    /// The media store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// There is no such live record.
    #[error("there is no live record {key}")]
    NotThere {
        /// Its address.
        key: RecordKey,
    },
    /// Nobody owns it.
    #[error(
        "record {key} is owned by nobody, so that no node would take its deletion; save it with `emsync record put` first"
    )]
    Nobodys {
        /// Its address.
        key: RecordKey,
    },
    /// Its JSON cannot be edited.
    #[error("record {key} cannot be edited: {reason}")]
    Unusable {
        /// Its address.
        key: RecordKey,
        /// Why.
        reason: String,
    },
}

impl From<crate::crash::Reached> for Error {
    fn from(reached: crate::crash::Reached) -> Self {
        Self::Store(reached.into())
    }
}

impl Error {
    /// Whether it is worth trying again.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Catalogue(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::NotThere { .. } | Self::Nobodys { .. } | Self::Unusable { .. } => {
                Class::Permanent
            }
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Assets deleted or marked as deleted.
    pub deleted: u64,
    /// Deletes the guard holds; nothing was deleted then.
    pub held: u64,
    /// How many it would have let through.
    pub limit: u64,
    /// Files moved into the trash.
    pub files_trashed: u64,
}

impl Applied {
    /// What another round of the same run did.
    pub fn add(&mut self, more: Self) {
        self.deleted += more.deleted;
        self.files_trashed += more.files_trashed;
        (self.held, self.limit) = (more.held, more.limit);
    }
}

/// The parts that deletes need.
pub struct Deletes<'a> {
    /// The peer whose deletes wait.
    pub peer: &'a str,
    /// This node.
    pub own: &'a NodeId,
    /// Our catalogue.
    pub catalogue: &'a Catalogue,
    /// Our media.
    pub store: &'a Store,
    /// Time and chance.
    pub seams: &'a Seams,
    /// Who listens.
    pub monitor: &'a dyn Monitor,
    /// Whether records that bear our cluster id are this node's own; beside an EMDB they are that one's.
    pub is_owner: bool,
    /// The peer itself, to be asked before a record goes for its absence; without it none does.
    pub master: Option<(&'a Peer, Patience<'a>)>,
}

impl Deletes<'_> {
    /// Applies what waits, under the guard.
    ///
    /// # Errors
    /// [`Error`]; what was done before stays done, the rest stays queued.
    pub async fn apply(&self, limit: u64, shutdown: &Shutdown) -> Result<Applied, Error> {
        // An unmounted volume looks like a tree where everything is gone; nothing is concluded from that.
        self.store.check_marker()?;
        let mut applied = Applied {
            limit,
            ..Applied::default()
        };
        let waiting = self.waiting(false).await?;
        if !guard::lets_go(waiting, limit) {
            applied.held = self.waiting(true).await?;
            let text = format!(
                "{waiting} deletes are held: the guard allows {limit}; look at them, then run with --max-delete {waiting}"
            );
            self.monitor.finding(&text);
            tracing::error!(
                peer = self.peer,
                held = waiting,
                limit,
                "deletes are held by the guard"
            );
        } else {
            self.each(Lane::Delete, &mut applied, shutdown).await?;
        }
        self.each(Lane::Remove, &mut applied, shutdown).await?;
        Ok(applied)
    }

    /// Takes away the files that no record names any more and that need wait for nothing: once more in a run that has brought
    /// what they waited for.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub async fn take_away(&self, applied: &mut Applied, shutdown: &Shutdown) -> Result<(), Error> {
        self.store.check_marker()?;
        self.each(Lane::Remove, applied, shutdown).await
    }

    /// Lets all deletes of the peer wait or be held; answers how many there are.
    async fn waiting(&self, hold: bool) -> Result<u64, Error> {
        let mut batch = self.catalogue.batch().await?;
        let count = batch.hold_deletes(self.peer, hold).await?;
        batch.commit().await?;
        Ok(count)
    }

    async fn each(
        &self,
        lane: Lane,
        applied: &mut Applied,
        shutdown: &Shutdown,
    ) -> Result<(), Error> {
        while !shutdown.requested() {
            let now = self.seams.clock.now();
            let jobs = self
                .catalogue
                .claim((self.peer, lane), CLAIMED, "deletes", now, LEASE)
                .await?;
            if jobs.is_empty() {
                break;
            }
            self.work(&jobs, applied).await?;
        }
        Ok(())
    }

    /// What was claimed together: deletes one by one, removals in one batch, bytes in one call each way.
    async fn work(&self, jobs: &[Job], applied: &mut Applied) -> Result<(), Error> {
        let (mut removes, mut bytes, mut strangers) = (Vec::new(), Vec::new(), Vec::new());
        for job in jobs {
            match &job.work {
                Work::Delete(delete) => self.delete(job, delete, applied).await?,
                Work::Absent(absent) => self.absent(job, absent, applied).await?,
                Work::Remove(remove) => removes.push((job, remove)),
                Work::Trash(remove) => bytes.push((job, remove)),
                Work::Fetch(_) | Work::Regenerate(_) | Work::Upload(_) | Work::Send(_) => {
                    strangers.push(job);
                }
            }
        }
        self.remove(&removes).await?;
        self.trash(&bytes, applied).await?;
        self.settle(&strangers).await
    }

    /// Deletes a record because a person says so: a tombstone in its place, its files into the trash. Of another node's record that is
    /// an edit like any other (wire spec 11.2, 9 and 10): it goes to its owner with the next push, and gives way to what that one
    /// saves meanwhile.
    ///
    /// # Errors
    /// [`Error::NotThere`] and [`Error::Nobodys`] when there is nothing to delete here.
    pub async fn delete_here(&self, key: &RecordKey) -> Result<(), Error> {
        let now = self.seams.clock.now();
        let mut batch = self.catalogue.batch().await?;
        let stored = batch.stored(std::slice::from_ref(key)).await?.remove(key);
        let stored = stored.filter(|stored| !stored.record.is_deleted());
        let StoredRecord { record, origin, .. } =
            stored.ok_or_else(|| Error::NotThere { key: key.clone() })?;
        let before = record
            .status
            .as_ref()
            .ok_or_else(|| Error::Nobodys { key: key.clone() })?;
        let status = RecordStatus::saved(self.own, Some(before), now, true);
        // What came from a peer goes on coming from there.
        let origin = match before.master == *self.own {
            true => String::new(),
            false => origin,
        };
        let tombstone =
            protocol::record::restamped(&record, &status).map_err(|bad| Error::Unusable {
                key: key.clone(),
                reason: bad.reason,
            })?;
        batch.put_records(&[&tombstone], &origin, now).await?;
        if key.module.is_asset() {
            self.forget_files(&mut batch, key, now).await?;
        }
        if let Some(asset) = key.as_asset() {
            batch.forget_findings(&asset).await?;
        }
        // What a killed delete left in the middle is finished with ours.
        batch
            .take_back_leases(self.peer, self.seams.clock.now())
            .await?;
        batch.commit().await?;
        let mut applied = Applied::default();
        self.each(Lane::Remove, &mut applied, &Shutdown::new())
            .await
    }

    pub(super) async fn settle(&self, jobs: &[&Job]) -> Result<(), Error> {
        if jobs.is_empty() {
            return Ok(());
        }
        let mut batch = self.catalogue.batch().await?;
        for job in jobs {
            batch.settle(job).await?;
        }
        Ok(batch.commit().await?)
    }

    async fn delete(
        &self,
        job: &Job,
        delete: &DeleteJob,
        applied: &mut Applied,
    ) -> Result<(), Error> {
        let now = self.seams.clock.now();
        let read = serde_json::value::RawValue::from_string(delete.source.clone())
            .map_err(|error| error.to_string())
            .and_then(|source| {
                protocol::record::record("asset", job.asset.as_str(), &source)
                    .map_err(|bad| bad.to_string())
            });
        let mut batch = self.catalogue.batch().await?;
        let record = match read {
            Ok(record) => record,
            Err(reason) => {
                batch.quarantine(job, &reason).await?;
                return Ok(batch.commit().await?);
            }
        };
        let local = batch
            .stored(std::slice::from_ref(&record.key))
            .await?
            .remove(&record.key);
        let version = local.as_ref().map(StoredRecord::version);
        let resolution = resolve(version.as_ref(), &record.version(), self.own);
        if let Some(local) = local.filter(|_| resolution.is_conflict()) {
            self.keep_loser(&mut batch, &local, &record, resolution, now)
                .await?;
        }
        if resolution.saves() {
            batch.put_records(&[&record], self.peer, now).await?;
            if delete.tombstone {
                self.withdraw_wishes(&mut batch, job).await?;
                self.forget_files(&mut batch, &record.key, now).await?;
                batch.forget_findings(&job.asset).await?;
            }
            applied.deleted += 1;
        }
        batch.settle(job).await?;
        batch.commit().await?;
        Ok(crash::point(Point::DeleteRows)?)
    }

    /// Keeps both sides where the record was edited here while the delete waited: behind the guard, or in a run that was cut short.
    async fn keep_loser(
        &self,
        batch: &mut Batch,
        local: &StoredRecord,
        delete: &Record,
        resolution: Resolution,
        now: Timestamp,
    ) -> Result<(), Error> {
        let conflict = Conflict::between(self.peer, local, delete, resolution, now);
        let is_answered = self.is_owner && resolution == Resolution::KeepLocalAnew;
        let anew = is_answered
            .then(|| protocol::record::answer(&local.record, delete, self.own, now))
            .flatten();
        let answer = anew.as_ref().map(|anew| (anew, local.origin.as_str()));
        Ok(batch.settle_conflict(&conflict, answer).await?)
    }

    /// Forgets every file of an asset, and wishes their bytes into the trash.
    pub(super) async fn forget_files(
        &self,
        batch: &mut Batch,
        key: &RecordKey,
        now: Timestamp,
    ) -> Result<(), Error> {
        batch.forget_sharer(&key.id).await?;
        // What a peer that does not know yet was to bring would come after the delete, and stay.
        batch.withdraw_files(&key.id).await?;
        for row in self.catalogue.files_of(&[key.id.as_str()]).await? {
            self.forget(batch, &row.file.asset, &RemoveJob::of(&row.file), now)
                .await?;
        }
        Ok(())
    }

    /// Forgets a file if it is still what it was, and wishes its bytes into the trash; unless another asset inherits both.
    pub(super) async fn forget(
        &self,
        batch: &mut Batch,
        asset: &AssetId,
        remove: &RemoveJob,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Ok(path) = MediaPath::new(remove.path.as_str()) else {
            return Ok(());
        };
        let named = (remove.kind, &path);
        if batch.hand_over(named, asset, &remove.sha256, now).await? {
            return Ok(());
        }
        let place = batch
            .forget_file(remove.kind, &path, asset, &remove.sha256, now)
            .await?;
        if let Some(place) = place {
            let bytes = NewJob {
                peer: self.peer.to_owned(),
                subject: format!("trash:{}/{place}", remove.kind.dir()),
                lane: Lane::Remove,
                asset: asset.clone(),
                size: 0,
                work: Work::Trash(RemoveJob {
                    path: place.as_str().to_owned(),
                    ..remove.clone()
                }),
            };
            batch.enqueue(&[bytes], now).await?;
        }
        Ok(())
    }
}
