//! The job table: the only unbounded queue. Enqueue, claim, lease, settle, retry; what leaves it undone is in `set_aside`.
//!
//! There is one job for each (peer, subject). Wishing for the same thing again replaces the payload and raises the
//! generation, so that a worker who holds the old wish cannot settle the new one: its settle only puts the job back.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sqlx::{QueryBuilder, Row as _};

use super::dialect::{Engine, ROWS_A_STATEMENT, Row};
use super::files::asset_id;
use super::{Batch, Catalogue, Error, during, signed, unsigned};
use crate::model::job::{Work, fetch_subject};
use crate::model::{AssetId, FileKind, MediaPath, Timestamp};

/// Jobs that wait for the same kind of worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Files below the lane border.
    Small,
    /// Files above it, which must not keep the small ones waiting, nor be kept waiting by them.
    Large,
    /// Renditions.
    Media,
    /// Files to be moved into the trash.
    Remove,
    /// Deletes that pass the guard first.
    Delete,
    /// Records that could not be taken; they are only ever set aside.
    Record,
    /// What the peer is to get: files that it asked for, and records that it did not take.
    Upload,
}

impl Lane {
    const ALL: [Self; 7] = [
        Self::Small,
        Self::Large,
        Self::Media,
        Self::Remove,
        Self::Delete,
        Self::Record,
        Self::Upload,
    ];

    pub(super) fn number(self) -> i64 {
        Self::ALL
            .iter()
            .position(|lane| *lane == self)
            .map_or(0, |at| signed(at as u64))
    }

    pub(super) fn of(number: i64) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|at| Self::ALL.get(at))
            .copied()
            .unwrap_or(Self::Record)
    }
}

/// Jobs of a peer.
const JOBS: &str = "SELECT id, generation, peer, subject, asset, size, attempts, payload, lane FROM job WHERE peer = ";

pub(super) const READY: i64 = 0;
pub(super) const LEASED: i64 = 1;
pub(super) const QUARANTINED: i64 = 2;
pub(super) const HELD: i64 = 3;

/// Who holds what is fetched because somebody reads it.
pub(super) const READER: &str = "reader";

/// A wish for work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// The peer it concerns, empty for work of this node's own.
    pub peer: String,
    /// What it is about, such as `originals/a.jpg`.
    pub subject: String,
    /// Who does it.
    pub lane: Lane,
    /// The asset it serves.
    pub asset: AssetId,
    /// Bytes it will move, as announced.
    pub size: u64,
    /// What to do.
    pub work: Work,
}

/// A job, as a claim or a look finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its row.
    pub id: i64,
    /// Who does it.
    pub lane: Lane,
    /// Which wish this claim holds.
    pub generation: i64,
    /// The peer it concerns.
    pub peer: String,
    /// What it is about.
    pub subject: String,
    /// The asset it serves.
    pub asset: AssetId,
    /// Bytes it will move, as announced.
    pub size: u64,
    /// Failures so far.
    pub attempts: u32,
    /// What to do.
    pub work: Work,
}

impl Catalogue {
    /// Leases up to `limit` ready jobs of one lane, oldest first. The lease is durable when this returns.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn claim(
        &self,
        (peer, lane): (&str, Lane),
        limit: usize,
        owner: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<Job>, Error> {
        let rows = sqlx::query(
            "UPDATE job SET state = 1, lease_owner = $1, lease_until = $2 WHERE id IN (
                 SELECT id FROM job WHERE state = 0 AND peer = $3 AND lane = $4 AND run_at <= $5 ORDER BY run_at, id LIMIT $6)
             RETURNING id, generation, peer, subject, asset, size, attempts, payload, lane",
        )
        .bind(owner)
        .bind(now.plus(lease).as_millis())
        .bind(peer)
        .bind(lane.number())
        .bind(now.as_millis())
        .bind(signed(limit as u64))
        .fetch_all(&self.db.writer)
        .await
        .map_err(during("claim jobs"))?;
        let mut jobs = rows.iter().map(job).collect::<Result<Vec<_>, _>>()?;
        jobs.sort_by_key(|job| job.id);
        Ok(jobs)
    }

    /// Up to `limit` jobs of a peer that somebody can work on, whatever their state but quarantine, in order of their subjects and
    /// after `after`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn jobs_after(
        &self,
        peer: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Job>, Error> {
        let rows = sqlx::query(
            "SELECT id, generation, peer, subject, asset, size, attempts, payload, lane FROM job
             WHERE peer = $1 AND subject > $2 AND state <> 2 AND lane < $3 ORDER BY subject LIMIT $4",
        )
        .bind(peer)
        .bind(after)
        .bind(Lane::Record.number())
        .bind(signed(limit as u64))
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("read jobs"))?;
        rows.iter().map(job).collect()
    }

    /// When the next job of a lane is due: now or in the past when one is ready, later when all wait, `None` when the lane
    /// has none that anybody could claim.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn next_due(&self, peer: &str, lane: Lane) -> Result<Option<Timestamp>, Error> {
        let due: Option<i64> = sqlx::query_scalar(
            "SELECT MIN(run_at) FROM job WHERE state = 0 AND peer = $1 AND lane = $2",
        )
        .bind(peer)
        .bind(lane.number())
        .fetch_one(&self.db.readers)
        .await
        .map_err(during("look for due jobs"))?;
        Ok(due.map(Timestamp::from_millis))
    }

    /// Lets the removals of an asset's files that wait be due now; answers how many there are.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn hurry_removals(
        &self,
        peer: &str,
        asset: &AssetId,
        now: Timestamp,
    ) -> Result<u64, Error> {
        const WAITING: &str = "WHERE asset = $1 AND peer = $2 AND lane = $3 AND state = 0";
        // Looked for among the readers first: there are none most of the time.
        let count = format!("SELECT COUNT(*) FROM job {WAITING}");
        let waiting: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count))
            .bind(asset.as_str())
            .bind(peer)
            .bind(Lane::Remove.number())
            .fetch_one(&self.db.readers)
            .await
            .map_err(during("look for removals"))?;
        if waiting > 0 {
            let hurry = format!("UPDATE job SET run_at = $4 {WAITING} AND run_at > $4");
            sqlx::query(sqlx::AssertSqlSafe(hurry))
                .bind(asset.as_str())
                .bind(peer)
                .bind(Lane::Remove.number())
                .bind(now.as_millis())
                .execute(&self.db.writer)
                .await
                .map_err(during("hurry removals"))?;
        }
        Ok(unsigned(waiting))
    }

    /// Subjects of all jobs of a peer that serve these assets, by asset. What is on its way into the trash is nobody's wish any
    /// more and is left out, and so is what the peer wishes for.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn wishes_of(
        &self,
        peer: &str,
        assets: &[&str],
    ) -> Result<Vec<(String, String)>, Error> {
        let mut found = Vec::new();
        for chunk in assets.chunks(ROWS_A_STATEMENT) {
            let mut query =
                QueryBuilder::<Engine>::new("SELECT asset, subject FROM job WHERE peer = ");
            query
                .push_bind(peer)
                .push(" AND lane <> ")
                .push_bind(Lane::Upload.number())
                .push(" AND subject NOT LIKE 'trash:%' AND asset IN (");
            let mut list = query.separated(", ");
            for asset in chunk {
                list.push_bind(*asset);
            }
            query.push(")");
            let rows: Vec<(String, String)> = query
                .build_query_as()
                .fetch_all(&self.db.readers)
                .await
                .map_err(during("read wishes"))?;
            found.extend(rows);
        }
        Ok(found)
    }

    /// The wishes of a peer for files of these assets that are not set aside, in order of their subjects.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn fetches_for(&self, peer: &str, assets: &[&str]) -> Result<Vec<Job>, Error> {
        let mut found = Vec::new();
        for chunk in assets.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new(JOBS);
            query.push_bind(peer).push(" AND asset IN (");
            let mut list = query.separated(", ");
            for asset in chunk {
                list.push_bind(*asset);
            }
            query.push(") AND ");
            found.extend(self.fetches(query).await?);
        }
        Ok(found)
    }

    /// The wishes of a peer for the file of this name: the one that stands for the name, and those of further assets that have
    /// another file of the same name; only `asset`'s where one is given.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn fetches_named(
        &self,
        peer: &str,
        kind: FileKind,
        path: &MediaPath,
        asset: Option<&AssetId>,
    ) -> Result<Vec<Job>, Error> {
        let name = fetch_subject(kind, path.as_str(), None);
        let mut query = QueryBuilder::<Engine>::new(JOBS);
        query.push_bind(peer);
        match asset {
            Some(asset) => {
                query.push(" AND asset = ").push_bind(asset.as_str());
                let further = fetch_subject(kind, path.as_str(), Some(asset));
                query.push(" AND subject IN (").push_bind(name);
                query.push(", ").push_bind(further).push(") AND ");
            }
            None => {
                query.push(" AND subject = ").push_bind(name).push(" AND ");
            }
        }
        self.fetches(query).await
    }

    async fn fetches(&self, mut query: QueryBuilder<Engine>) -> Result<Vec<Job>, Error> {
        query
            .push("state < ")
            .push_bind(QUARANTINED)
            .push(" AND lane <= ")
            .push_bind(Lane::Large.number());
        let rows = query
            .push(" ORDER BY subject")
            .build()
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("read wishes for files"))?;
        rows.iter().map(job).collect()
    }

    /// The assets that jobs of a peer with these subjects serve.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn wishers_of(
        &self,
        peer: &str,
        subjects: &[&str],
    ) -> Result<Vec<(String, AssetId)>, Error> {
        let mut found = Vec::new();
        for chunk in subjects.chunks(ROWS_A_STATEMENT) {
            let mut query =
                QueryBuilder::<Engine>::new("SELECT subject, asset FROM job WHERE peer = ");
            query.push_bind(peer).push(" AND subject IN (");
            let mut list = query.separated(", ");
            for subject in chunk {
                list.push_bind(*subject);
            }
            query.push(")");
            let rows: Vec<(String, String)> = query
                .build_query_as()
                .fetch_all(&self.db.readers)
                .await
                .map_err(during("read who wishes"))?;
            for (subject, asset) in rows {
                let asset = asset_id(asset)?;
                found.push((subject, asset));
            }
        }
        Ok(found)
    }
}

impl Batch {
    /// Wishes for work; a job about the same subject takes the new payload. A quarantined job stays so while nothing about
    /// the wish has changed.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn enqueue(&mut self, jobs: &[NewJob], now: Timestamp) -> Result<(), Error> {
        for chunk in jobs.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new(
                "INSERT INTO job (peer, subject, lane, asset, size, payload, state, run_at, created_at) ",
            );
            query.push_values(chunk, |mut row, job| {
                row.push_bind(&job.peer)
                    .push_bind(&job.subject)
                    .push_bind(job.lane.number())
                    .push_bind(job.asset.as_str())
                    .push_bind(signed(job.size))
                    .push_bind(payload(&job.work))
                    .push_bind(READY)
                    .push_bind(now.as_millis())
                    .push_bind(now.as_millis());
            });
            query.push(
                " ON CONFLICT (peer, subject) DO UPDATE SET lane = excluded.lane, asset = excluded.asset, size = excluded.size,
                  payload = excluded.payload, generation = job.generation + 1, attempts = 0, run_at = excluded.run_at,
                  state = CASE WHEN job.state = 1 THEN 1 ELSE 0 END, reason = NULL
                  WHERE job.payload <> excluded.payload OR job.asset <> excluded.asset",
            );
            query
                .build()
                .execute(&mut *self.tx)
                .await
                .map_err(during("enqueue jobs"))?;
        }
        Ok(())
    }

    /// A claimed job is done: its row goes, or becomes ready again when the wish changed meanwhile. Answers whether it was
    /// still wished for at all, rather than withdrawn.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn settle(&mut self, job: &Job) -> Result<bool, Error> {
        Ok(self.settle_all(&[job]).await?.is_empty())
    }

    /// Claimed jobs are done, each as by [`settle`](Self::settle). Answers which of them were withdrawn, by row.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn settle_all(&mut self, jobs: &[&Job]) -> Result<HashSet<i64>, Error> {
        let mut left: HashMap<i64, &Job> = jobs.iter().map(|job| (job.id, *job)).collect();
        let generations: HashSet<i64> = jobs.iter().map(|job| job.generation).collect();
        for generation in generations {
            let of_it = jobs.iter().filter(|job| job.generation == generation);
            let ids: Vec<i64> = of_it.map(|job| job.id).collect();
            for chunk in ids.chunks(ROWS_A_STATEMENT) {
                let mut query = QueryBuilder::<Engine>::new("DELETE FROM job WHERE generation = ");
                query.push_bind(generation).push(" AND id IN (");
                let mut list = query.separated(", ");
                for id in chunk {
                    list.push_bind(*id);
                }
                query.push(") RETURNING id");
                let done: Vec<i64> = query
                    .build_query_scalar()
                    .fetch_all(&mut *self.tx)
                    .await
                    .map_err(during("settle jobs"))?;
                for id in done {
                    left.remove(&id);
                }
            }
        }
        let mut withdrawn = HashSet::new();
        for (id, job) in left {
            if !self.put_back(job, READY, Timestamp::EPOCH, None).await? {
                withdrawn.insert(id);
            }
        }
        Ok(withdrawn)
    }

    /// A claimed job failed and is to be tried again at `run_at`.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn retry_at(
        &mut self,
        job: &Job,
        run_at: Timestamp,
        reason: &str,
    ) -> Result<(), Error> {
        self.put_back(job, READY, run_at, Some(reason)).await?;
        Ok(())
    }

    /// A claimed job goes back unharmed, since we are ending.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn release(&mut self, job: &Job) -> Result<(), Error> {
        sqlx::query(
            "UPDATE job SET state = $1, lease_owner = NULL, lease_until = NULL WHERE id = $2",
        )
        .bind(READY)
        .bind(job.id)
        .execute(&mut *self.tx)
        .await
        .map_err(during("release a job"))?;
        Ok(())
    }

    /// Ends the claim of a job. A wish that changed meanwhile becomes ready, whatever was meant for the claimed one; answers
    /// whether the row is still there.
    pub(super) async fn put_back(
        &mut self,
        job: &Job,
        state: i64,
        run_at: Timestamp,
        reason: Option<&str>,
    ) -> Result<bool, Error> {
        let done = sqlx::query(
            "UPDATE job SET state = CASE WHEN generation = $1 THEN $2 ELSE 0 END, run_at = $3, reason = $4,
             attempts = CASE WHEN generation = $1 AND $4 IS NOT NULL THEN attempts + 1 ELSE attempts END,
             lease_owner = NULL, lease_until = NULL WHERE id = $5",
        )
        .bind(job.generation)
        .bind(state)
        .bind(run_at.as_millis())
        .bind(reason)
        .bind(job.id)
        .execute(&mut *self.tx)
        .await
        .map_err(during("put a job back"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Takes back every lease of a peer: to be called by the holder of its run lock before it claims anything. What is fetched for
    /// a reader is somebody else's until that lease is over.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn take_back_leases(&mut self, peer: &str, now: Timestamp) -> Result<u64, Error> {
        let done = sqlx::query(
            "UPDATE job SET state = 0, lease_owner = NULL, lease_until = NULL
             WHERE peer = $1 AND state = $2 AND NOT (lease_owner = $3 AND lease_until > $4)",
        )
        .bind(peer)
        .bind(LEASED)
        .bind(READER)
        .bind(now.as_millis())
        .execute(&mut *self.tx)
        .await
        .map_err(during("take leases back"))?;
        Ok(done.rows_affected())
    }
}

pub(super) fn payload(work: &Work) -> String {
    serde_json::to_string(work).expect("a job of plain fields turns into JSON")
}

pub(super) fn job(row: &Row) -> Result<Job, Error> {
    let read = || -> sqlx::Result<_> {
        Ok((
            row.try_get::<String, _>(4)?,
            row.try_get::<String, _>(7)?,
            row.try_get::<i64, _>(5)?,
            row.try_get::<i64, _>(6)?,
        ))
    };
    let (asset, payload, size, attempts) = read().map_err(during("read a job"))?;
    Ok(Job {
        id: row.try_get(0).map_err(during("read a job"))?,
        lane: Lane::of(row.try_get(8).map_err(during("read a job"))?),
        generation: row.try_get(1).map_err(during("read a job"))?,
        peer: row.try_get(2).map_err(during("read a job"))?,
        subject: row.try_get(3).map_err(during("read a job"))?,
        asset: asset_id(asset)?,
        size: unsigned(size),
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        work: serde_json::from_str(&payload).map_err(|_| Error::Row {
            what: "job payload",
            value: payload.clone(),
        })?,
    })
}
