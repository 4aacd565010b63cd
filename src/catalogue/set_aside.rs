//! Jobs that leave the queue undone: set aside after their last try, held by the delete guard, or withdrawn; and how many
//! there are of each.
//!
//! Quarantine and hold keep a job with its reason. Neither is for ever: a new run gives what is quarantined one more try, and
//! a guard that is content lets its deletes go. Only a wish that no longer holds, a bad record that a complete listing has
//! not shown again, or what a person drops (`quarantine`), is forgotten.

use sqlx::QueryBuilder;

use super::dialect::{Engine, ROWS_A_STATEMENT};
use super::jobs::{HELD, Job, Lane, NewJob, QUARANTINED, READY, payload};
use super::{Batch, Catalogue, Error, during, signed, unsigned};
use crate::model::Timestamp;

/// A job that nobody works on, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SetAside {
    /// What it is about.
    pub subject: String,
    /// The asset or record it serves.
    pub asset: String,
    /// Which kind of work.
    pub lane: Lane,
    /// Failures so far.
    pub attempts: u32,
    /// Why.
    pub reason: String,
}

/// Jobs by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct JobCounts {
    /// Ready now or later, or being worked on.
    pub open: u64,
    /// Bytes those will move, as announced.
    pub open_bytes: u64,
    /// Set aside after the last try.
    pub quarantined: u64,
    /// Held by the delete guard.
    pub held: u64,
}

/// Which way jobs move things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Towards us, and what is done here.
    In,
    /// To the peer.
    Out,
}

impl Catalogue {
    /// Jobs of a peer, or of all peers, by state: those that bring something here, or that do something here.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn job_counts(&self, peer: Option<&str>) -> Result<JobCounts, Error> {
        self.counts(peer, Way::In).await
    }

    /// What a peer, or all peers, are still to get, by state.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn upload_counts(&self, peer: Option<&str>) -> Result<JobCounts, Error> {
        self.counts(peer, Way::Out).await
    }

    /// Bytes that open jobs of all peers will bring here, and send. It is counted as jobs come and go, so that nobody has to look at
    /// them all; a job of more than 16 TiB counts as that.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn bytes_left(&self) -> Result<(u64, u64), Error> {
        let rows: Vec<(i64, i64)> =
            sqlx::query_as("SELECT way, CAST(bytes AS INTEGER) FROM job_left ORDER BY way")
                .fetch_all(&self.db.readers)
                .await
                .map_err(during("read how much is left"))?;
        let of = |way: i64| {
            let row = rows.iter().find(|(of, _)| *of == way);
            row.map_or(0, |(_, bytes)| unsigned(*bytes))
        };
        Ok((of(0), of(1)))
    }

    /// When the oldest open job of a peer was asked for, whichever way it goes.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn oldest_open(&self, peer: &str) -> Result<Option<Timestamp>, Error> {
        let oldest: Option<i64> =
            sqlx::query_scalar("SELECT MIN(created_at) FROM job WHERE peer = $1 AND state <= 1")
                .bind(peer)
                .fetch_one(&self.db.readers)
                .await
                .map_err(during("look for the oldest job"))?;
        Ok(oldest.map(Timestamp::from_millis))
    }

    async fn counts(&self, peer: Option<&str>, way: Way) -> Result<JobCounts, Error> {
        let mut query = QueryBuilder::<Engine>::new(
            // TOTAL does not overflow, whatever sizes a peer announces.
            "SELECT state, COUNT(*), CAST(TOTAL(size) AS INTEGER) FROM job WHERE lane ",
        );
        query
            .push(if way == Way::Out { "= " } else { "<> " })
            .push_bind(Lane::Upload.number());
        if let Some(peer) = peer {
            query.push(" AND peer = ").push_bind(peer);
        }
        query.push(" GROUP BY state");
        let rows: Vec<(i64, i64, i64)> = query
            .build_query_as()
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("count jobs"))?;
        let mut counts = JobCounts::default();
        for (state, count, bytes) in rows {
            match state {
                QUARANTINED => counts.quarantined = unsigned(count),
                HELD => counts.held = unsigned(count),
                _ => {
                    counts.open += unsigned(count);
                    counts.open_bytes += unsigned(bytes);
                }
            }
        }
        Ok(counts)
    }

    /// Up to `limit` jobs that were set aside or are held, in order of subject, beginning after `after`.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn set_aside(
        &self,
        peer: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<SetAside>, Error> {
        let mut query = QueryBuilder::<Engine>::new(
            "SELECT subject, asset, lane, attempts, COALESCE(reason, '') FROM job WHERE state >= 2",
        );
        if let Some(peer) = peer {
            query.push(" AND peer = ").push_bind(peer);
        }
        if let Some(after) = after {
            query.push(" AND subject > ").push_bind(after);
        }
        query
            .push(" ORDER BY subject LIMIT ")
            .push_bind(signed(limit as u64));
        let rows: Vec<(String, String, i64, i64, String)> = query
            .build_query_as()
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("read what was set aside"))?;
        Ok(rows
            .into_iter()
            .map(|(subject, asset, lane, attempts, reason)| SetAside {
                subject,
                asset,
                lane: Lane::of(lane),
                attempts: u32::try_from(attempts).unwrap_or(0),
                reason,
            })
            .collect())
    }
}

impl Batch {
    /// A claimed job had its last try, and stays with its reason.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn quarantine(&mut self, job: &Job, reason: &str) -> Result<(), Error> {
        self.put_back(job, QUARANTINED, Timestamp::EPOCH, Some(reason))
            .await?;
        Ok(())
    }

    /// Sets something aside that never was a claimed job: a record that could not be taken.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn quarantine_new(
        &mut self,
        peer: &str,
        subject: &str,
        id: &str,
        source: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO job (peer, subject, lane, asset, size, payload, state, attempts, run_at, reason, created_at)
             VALUES ($1, $2, $3, $4, 0, $5, $6, 1, $7, $8, $7)
             ON CONFLICT (peer, subject) DO UPDATE SET payload = excluded.payload, reason = excluded.reason, state = excluded.state,
             run_at = excluded.run_at, attempts = job.attempts + 1",
        )
        .bind(peer)
        .bind(subject)
        .bind(Lane::Record.number())
        .bind(id)
        .bind(source)
        .bind(QUARANTINED)
        .bind(now.as_millis())
        .bind(reason)
        .execute(&mut *self.tx)
        .await
        .map_err(during("set a record aside"))?;
        Ok(())
    }

    /// Sets a wish aside that was never claimed, since what it is for has failed by itself.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn set_aside_new(
        &mut self,
        job: &NewJob,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO job (peer, subject, lane, asset, size, payload, state, attempts, run_at, reason, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9, $8)
             ON CONFLICT (peer, subject) DO UPDATE SET lane = excluded.lane, asset = excluded.asset, size = excluded.size,
             payload = excluded.payload, state = excluded.state, attempts = job.attempts + 1, run_at = excluded.run_at,
             reason = excluded.reason, generation = job.generation + 1, lease_owner = NULL, lease_until = NULL",
        )
        .bind(&job.peer)
        .bind(&job.subject)
        .bind(job.lane.number())
        .bind(job.asset.as_str())
        .bind(signed(job.size))
        .bind(payload(&job.work))
        .bind(QUARANTINED)
        .bind(now.as_millis())
        .bind(reason)
        .execute(&mut *self.tx)
        .await
        .map_err(during("set a wish aside"))?;
        Ok(())
    }

    /// Forgets every job of a name.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn drop_jobs_of(&mut self, peer: &str) -> Result<(), Error> {
        sqlx::query("DELETE FROM job WHERE peer = $1")
            .bind(peer)
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget jobs"))?;
        Ok(())
    }

    /// Gives what a peer could not get one more try each, and brings waiting uploads forward: a new push begins.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn try_uploads_again(
        &mut self,
        peer: &str,
        attempts: u32,
        now: Timestamp,
    ) -> Result<u64, Error> {
        let done = sqlx::query(
            "UPDATE job SET state = 0, attempts = CASE WHEN state = 2 THEN $1 ELSE attempts END, run_at = $2
             WHERE peer = $3 AND lane = $4 AND (state = 2 OR state = 0 AND run_at > $2)",
        )
        .bind(i64::from(attempts.saturating_sub(1)))
        .bind(now.as_millis())
        .bind(peer)
        .bind(Lane::Upload.number())
        .execute(&mut *self.tx)
        .await
        .map_err(during("try uploads again"))?;
        Ok(done.rows_affected())
    }

    /// Gives what is quarantined for a peer another try, as if it had failed so many times before, and brings waiting jobs forward.
    /// Records that could not be taken stay where they are until they are listed again.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn try_again(
        &mut self,
        peer: &str,
        failed: u32,
        now: Timestamp,
    ) -> Result<u64, Error> {
        let done = sqlx::query(
            "UPDATE job SET state = 0, attempts = CASE WHEN state = 2 THEN $1 ELSE attempts END, run_at = $2
             WHERE peer = $3 AND (lane < $4 AND state = 2 OR lane <> $5 AND state = 0 AND run_at > $2)",
        )
        .bind(i64::from(failed))
        .bind(now.as_millis())
        .bind(peer)
        .bind(Lane::Delete.number())
        .bind(Lane::Upload.number())
        .execute(&mut *self.tx)
        .await
        .map_err(during("try quarantined jobs again"))?;
        Ok(done.rows_affected())
    }

    /// Marks waiting deletes of a peer as held by the guard, or lets held ones go; answers how many assets and records they
    /// concern.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn hold_deletes(&mut self, peer: &str, hold: bool) -> Result<u64, Error> {
        let (to, from, reason) = if hold {
            (HELD, READY, Some("held by the delete guard"))
        } else {
            (READY, HELD, None)
        };
        sqlx::query("UPDATE job SET state = $1, reason = $2 WHERE peer = $3 AND lane = $4 AND state IN ($5, $1)")
            .bind(to)
            .bind(reason)
            .bind(peer)
            .bind(Lane::Delete.number())
            .bind(from)
            .execute(&mut *self.tx)
            .await
            .map_err(during("hold deletes"))?;
        let count: i64 = sqlx::query_scalar(
            "SELECT COUNT(DISTINCT asset) FROM job WHERE peer = $1 AND lane = $2 AND state = $3",
        )
        .bind(peer)
        .bind(Lane::Delete.number())
        .bind(to)
        .fetch_one(&mut *self.tx)
        .await
        .map_err(during("count deletes"))?;
        Ok(unsigned(count))
    }

    /// Withdraws wishes that no longer hold, whatever state they are in; answers how many there were.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn withdraw(&mut self, peer: &str, subjects: &[String]) -> Result<u64, Error> {
        let mut gone = 0;
        for chunk in subjects.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new("DELETE FROM job WHERE peer = ");
            query.push_bind(peer).push(" AND subject IN (");
            let mut list = query.separated(", ");
            for subject in chunk {
                list.push_bind(subject);
            }
            query.push(")");
            gone += query
                .build()
                .execute(&mut *self.tx)
                .await
                .map_err(during("withdraw jobs"))?
                .rows_affected();
        }
        Ok(gone)
    }

    /// Withdraws every wish, of whatever peer, for files of an asset that goes; answers how many there were.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn withdraw_files(&mut self, asset: &str) -> Result<u64, Error> {
        let done = sqlx::query("DELETE FROM job WHERE asset = $1 AND lane <= $2")
            .bind(asset)
            .bind(Lane::Media.number())
            .execute(&mut *self.tx)
            .await
            .map_err(during("withdraw jobs of an asset"))?;
        Ok(done.rows_affected())
    }

    /// Forgets the records of a peer that were set aside before `since` and not again since: a complete listing has not shown
    /// them any more. Answers how many there were.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn forget_bad_records(&mut self, peer: &str, since: Timestamp) -> Result<u64, Error> {
        let done = sqlx::query("DELETE FROM job WHERE peer = $1 AND lane = $2 AND run_at < $3")
            .bind(peer)
            .bind(Lane::Record.number())
            .bind(since.as_millis())
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget bad records"))?;
        Ok(done.rows_affected())
    }
}
