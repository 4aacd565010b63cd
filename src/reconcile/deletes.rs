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

use std::collections::HashSet;
use std::time::Duration;

use super::due::Due;
use super::guard;
use crate::catalogue::{Batch, Catalogue, Job, Lane, NewJob};
use crate::crash::{self, Point};
use crate::error::Class;
use crate::model::job::{AbsentJob, DeleteJob, RemoveJob, Work};
use crate::model::{
    AssetId, MediaPath, NodeId, RecordKey, RecordStatus, Resolution, Timestamp, resolve,
};
use crate::monitor::Monitor;
use crate::peer::{Patience, Peer, Presence};
use crate::protocol;
use crate::seams::Seams;
use crate::shutdown::Shutdown;
use crate::store::{Name, Store, Twins};
use crate::{catalogue, store};

/// Jobs claimed at once.
const CLAIMED: usize = 256;
const LEASE: Duration = Duration::from_secs(3_600);

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
    /// Another node owns it.
    #[error("record {key} is owned by {}; delete it there", owner.as_ref().map_or("nobody", NodeId::as_str))]
    NotOurs {
        /// Its address.
        key: RecordKey,
        /// Its owner.
        owner: Option<NodeId>,
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
            Self::NotThere { .. } | Self::NotOurs { .. } | Self::Unusable { .. } => {
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
                Work::Fetch(_) | Work::Regenerate(_) => strangers.push(job),
            }
        }
        self.remove(&removes).await?;
        self.trash(&bytes, applied).await?;
        self.settle(&strangers).await
    }

    /// Deletes a record that this node owns: a tombstone in its place, its files into the trash.
    ///
    /// # Errors
    /// [`Error::NotThere`] and [`Error::NotOurs`] when there is nothing to delete here.
    pub async fn delete_own(&self, key: &RecordKey) -> Result<(), Error> {
        let now = self.seams.clock.now();
        let mut batch = self.catalogue.batch().await?;
        let stored = batch.stored(std::slice::from_ref(key)).await?.remove(key);
        let record = stored.filter(|stored| !stored.record.is_deleted());
        let record = record
            .ok_or_else(|| Error::NotThere { key: key.clone() })?
            .record;
        let status = record
            .status
            .as_ref()
            .filter(|status| status.master == *self.own);
        let Some(status) = status else {
            let owner = record.status.map(|status| status.master);
            return Err(Error::NotOurs {
                key: key.clone(),
                owner,
            });
        };
        // Strictly later than the last edit, whatever our clock did since: otherwise no peer would take it (row 7).
        let at = now.max(status.modified.plus(Duration::from_millis(1)));
        let status = RecordStatus {
            deleted: true,
            master: self.own.clone(),
            modified_by: self.own.clone(),
            modified: at,
            master_modified: Some(at),
        };
        let tombstone =
            protocol::record::restamped(&record, &status).map_err(|bad| Error::Unusable {
                key: key.clone(),
                reason: bad.reason,
            })?;
        batch.put_records(&[&tombstone], "", now).await?;
        if key.module.is_asset() {
            self.forget_files(&mut batch, key, now).await?;
        }
        if let Some(asset) = key.as_asset() {
            batch.forget_finding(&asset).await?;
        }
        // What a killed delete left in the middle is finished with ours.
        batch.take_back_leases(self.peer).await?;
        batch.commit().await?;
        let mut applied = Applied::default();
        self.each(Lane::Remove, &mut applied, &Shutdown::new())
            .await
    }

    async fn settle(&self, jobs: &[&Job]) -> Result<(), Error> {
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
        let resolution = resolve(
            local.map(|local| local.version()).as_ref(),
            &record.version(),
            self.own,
        );
        if matches!(resolution, Resolution::Save | Resolution::SaveKeepingLoser) {
            batch.put_records(&[&record], self.peer, now).await?;
            if delete.tombstone {
                self.withdraw_wishes(&mut batch, job).await?;
                self.forget_files(&mut batch, &record.key, now).await?;
                batch.forget_finding(&job.asset).await?;
            }
            applied.deleted += 1;
        }
        batch.settle(job).await?;
        batch.commit().await?;
        Ok(crash::point(Point::DeleteRows)?)
    }

    /// Takes a record away that two complete listings lacked, if its peer does not know it at this moment either. The record is
    /// kept aside, its files go to the trash; there is no tombstone, since its owner made none: should it come back, it is new.
    async fn absent(
        &self,
        job: &Job,
        absent: &AbsentJob,
        applied: &mut Applied,
    ) -> Result<(), Error> {
        let now = self.seams.clock.now();
        let Ok(mut key) = RecordKey::new(absent.module.as_str(), absent.id.as_str()) else {
            return self.settle(&[job]).await;
        };
        let Some((peer, patience)) = self.master else {
            let mut batch = self.catalogue.batch().await?;
            let reason = "waits for a run that can ask its peer";
            batch.retry_at(job, now.plus(LEASE), reason).await?;
            return Ok(batch.commit().await?);
        };
        let asked = peer
            .patiently(patience, &mut key, async |peer, key| {
                peer.has_record(key).await
            })
            .await;
        let mut batch = self.catalogue.batch().await?;
        let is_absent = batch.is_absent(self.peer, &key, &absent.content).await?;
        match asked {
            Ok(Presence::There) => {
                self.monitor.finding(&format!(
                    "{key} stays: {} does not list it and still has it",
                    self.peer
                ));
                batch.note_present(&[&key]).await?;
                batch.settle(job).await?;
            }
            Ok(Presence::Gone | Presence::Unknown) if is_absent => {
                if key.module.is_asset() {
                    self.withdraw_wishes(&mut batch, job).await?;
                    self.forget_files(&mut batch, &key, now).await?;
                    batch.forget_finding(&job.asset).await?;
                }
                let reason = format!("two complete listings of {} lacked it", self.peer);
                batch.take_record_away(&key, &reason, now).await?;
                batch.settle(job).await?;
                applied.deleted += 1;
            }
            Ok(_) => {
                batch.settle(job).await?;
            }
            Err(error) => {
                let reason = format!("its peer could not be asked once more: {error}");
                batch.retry_at(job, now.plus(LEASE), &reason).await?;
            }
        }
        Ok(batch.commit().await?)
    }

    /// Withdraws what else was wished for an asset that goes.
    async fn withdraw_wishes(&self, batch: &mut Batch, job: &Job) -> Result<(), Error> {
        let wishes = self
            .catalogue
            .wishes_of(self.peer, &[job.asset.as_str()])
            .await?;
        let wishes: Vec<String> = wishes
            .into_iter()
            .map(|(_, subject)| subject)
            .filter(|subject| *subject != job.subject && is_of_an_asset(subject))
            .collect();
        batch.withdraw(self.peer, &wishes).await?;
        Ok(())
    }

    /// Forgets every file of an asset, and wishes their bytes into the trash.
    async fn forget_files(
        &self,
        batch: &mut Batch,
        key: &RecordKey,
        now: Timestamp,
    ) -> Result<(), Error> {
        for row in self.catalogue.files_of(&[key.id.as_str()]).await? {
            let remove = RemoveJob {
                kind: row.file.kind,
                path: row.file.path.as_str().to_owned(),
                sha256: row.file.sha256,
            };
            self.forget(batch, &row.file.asset, &remove, now).await?;
        }
        Ok(())
    }

    /// Forgets a file if it is still what it was, and wishes its bytes into the trash.
    async fn forget(
        &self,
        batch: &mut Batch,
        asset: &AssetId,
        remove: &RemoveJob,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Ok(path) = MediaPath::new(remove.path.as_str()) else {
            return Ok(());
        };
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

    /// Forgets the files that are still to go, in one batch.
    async fn remove(&self, removes: &[(&Job, &RemoveJob)]) -> Result<(), Error> {
        if removes.is_empty() {
            return Ok(());
        }
        let now = self.seams.clock.now();
        let mut batch = self.catalogue.batch().await?;
        for (job, remove) in removes {
            match self.due(&mut batch, job, remove).await? {
                Due::Now => self.forget(&mut batch, &job.asset, remove, now).await?,
                Due::Never => {}
                Due::Later => {
                    let reason = "stays until the original is here under its new name";
                    batch.retry_at(job, now.plus(LEASE), reason).await?;
                    continue;
                }
            }
            batch.settle(job).await?;
        }
        batch.commit().await?;
        Ok(crash::point(Point::RemoveRows)?)
    }

    /// Takes the bytes of forgotten files away: a name whose bytes live on under another one just goes, all else is moved to the
    /// trash. A file that cannot be moved is set aside and keeps no other from it (I3).
    async fn trash(
        &self,
        removes: &[(&Job, &RemoveJob)],
        applied: &mut Applied,
    ) -> Result<(), Error> {
        if removes.is_empty() {
            return Ok(());
        }
        let (mut twins, mut names) = (Vec::new(), Vec::new());
        for (_, remove) in removes {
            let Ok(place) = MediaPath::new(remove.path.as_str()) else {
                names.push(None);
                continue;
            };
            let (rules, of_place) = (self.store.rules(), std::slice::from_ref(&place));
            let there = self
                .catalogue
                .lying_at(rules, remove.kind, of_place)
                .await?;
            if !there.is_empty() {
                names.push(None);
                continue;
            }
            let name = (remove.kind, place);
            for row in self.catalogue.files_with(&remove.sha256).await? {
                twins.push(Twins {
                    name: name.clone(),
                    twin: (row.file.kind, row.file.place().clone()),
                });
            }
            names.push(Some(name));
        }
        let store = self.store.clone();
        let moved = tokio::task::spawn_blocking(move || take_away(&store, &twins, &names)).await;
        let moved = moved.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        crash::point(Point::BytesTrashed)?;
        let mut batch = self.catalogue.batch().await?;
        for ((job, _), moved) in removes.iter().zip(moved?) {
            match moved {
                Ok(moved) => {
                    applied.files_trashed += u64::from(moved);
                    batch.settle(job).await?;
                }
                Err(error) => {
                    self.monitor.finding(&format!("{}: {error}", job.subject));
                    batch.quarantine(job, &error.to_string()).await?;
                }
            }
        }
        Ok(batch.commit().await?)
    }
}

/// Whether a job is about an asset or its files; a record of another table may have the same id.
fn is_of_an_asset(subject: &str) -> bool {
    let of_another = |prefix: &str, kept: &[&str]| {
        subject
            .strip_prefix(prefix)
            .is_some_and(|key| !kept.iter().any(|kept| key.starts_with(kept)))
    };
    !of_another("absent:", &["asset/"]) && !of_another("record:", &["asset/", "file/"])
}

/// Whether a file went to the trash.
type Moved = Result<bool, store::Error>;

/// Answers for each name; an error that concerns all of them ends it.
fn take_away(
    store: &Store,
    twins: &[Twins],
    names: &[Option<Name>],
) -> Result<Vec<Moved>, store::Error> {
    let dropped = match store.drop_names(twins) {
        Err(error) if error.stops_the_pass() => return Err(error),
        // The trash takes those that still have their name, one by one.
        Err(error) => {
            tracing::warn!(%error, "former names are moved to the trash instead");
            vec![false; twins.len()]
        }
        Ok(dropped) => dropped,
    };
    let dropped: HashSet<&Name> = twins
        .iter()
        .zip(dropped)
        .filter_map(|(twins, dropped)| dropped.then_some(&twins.name))
        .collect();
    let mut moved = Vec::with_capacity(names.len());
    for name in names {
        moved.push(match name {
            Some(name) if !dropped.contains(name) => match store.trash(name.0, &name.1) {
                Err(error) if error.stops_the_pass() => return Err(error),
                // A folder, say, took the name after an earlier try had moved the file: nothing of ours is there.
                Err(store::Error::NotAFile { .. }) => Ok(false),
                other => other,
            },
            _ => Ok(false),
        });
    }
    Ok(moved)
}
