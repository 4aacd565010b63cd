//! What a person sees of jobs, and does with those that were set aside after their last try. A job that a run has claimed is
//! not touched here.

use sqlx::QueryBuilder;

use super::dialect::Engine;
use super::jobs::{HELD, LEASED, Lane, QUARANTINED, READY};
use super::{Batch, Catalogue, Error, during, signed, unsigned};
use crate::model::Timestamp;

/// A job of any state, as it stands in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its row.
    pub id: i64,
    /// The peer it concerns, empty for this node's own work.
    pub peer: String,
    /// What it is about.
    pub subject: String,
    /// The asset or record it serves.
    pub asset: String,
    /// Which kind of work.
    pub lane: Lane,
    /// How it stands.
    pub state: JobState,
    /// Failures so far.
    pub attempts: u32,
    /// The last failure, or why it is held.
    pub reason: String,
    /// When it may be tried.
    pub run_at: Timestamp,
    /// When it was first wished for.
    pub since: Timestamp,
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// To be done when it is due.
    Waiting,
    /// Claimed by a run, which may be dead.
    Leased,
    /// Set aside after the last try.
    Quarantined,
    /// Held by the delete guard.
    Held,
}

/// Jobs of one kind.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct JobGroup {
    /// The peer they concern, empty for this node's own work.
    pub peer: String,
    /// Which kind of work.
    pub lane: Lane,
    /// How they stand.
    pub state: JobState,
    /// How many.
    pub jobs: u64,
    /// Bytes they move, as announced.
    pub bytes: u64,
}

/// Which of the jobs that were set aside.
#[derive(Debug, Clone, Copy)]
pub enum Aside<'a> {
    /// All of them, of one peer or of all.
    Of(Option<&'a str>),
    /// Those of this row or about this subject, of one peer or of all.
    Named(&'a str, Option<&'a str>),
}

const STANDING: &str = "SELECT id, peer, subject, asset, lane, state, attempts, COALESCE(reason, ''), run_at, created_at FROM job";

impl Catalogue {
    /// Up to `limit` jobs that were set aside after their last try, in order of their rows, beginning after row `after`.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn quarantined(
        &self,
        which: Aside<'_>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Standing>, Error> {
        let mut query = QueryBuilder::<Engine>::new(STANDING);
        query.push(" WHERE state = ").push_bind(QUARANTINED);
        query.push(" AND id > ").push_bind(after);
        let (Aside::Of(peer) | Aside::Named(_, peer)) = which;
        if let Some(peer) = peer {
            query.push(" AND peer = ").push_bind(peer);
        }
        if let Aside::Named(name, _) = which {
            query.push(" AND (subject = ").push_bind(name);
            if let Ok(id) = name.parse::<i64>() {
                query.push(" OR id = ").push_bind(id);
            }
            query.push(")");
        }
        self.standing(query, limit, "read what was set aside").await
    }

    /// The first `limit` jobs that a query selects, in order of their rows.
    async fn standing(
        &self,
        mut query: QueryBuilder<Engine>,
        limit: usize,
        doing: &'static str,
    ) -> Result<Vec<Standing>, Error> {
        query
            .push(" ORDER BY id LIMIT ")
            .push_bind(signed(limit as u64));
        let rows = query
            .build_query_as()
            .fetch_all(&self.db.readers)
            .await
            .map_err(during(doing))?;
        Ok(rows.into_iter().map(standing).collect())
    }

    /// Up to `limit` jobs that serve an asset, or a record of this id, whatever their state.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn jobs_about(&self, asset: &str, limit: usize) -> Result<Vec<Standing>, Error> {
        let mut query = QueryBuilder::<Engine>::new(STANDING);
        query.push(" WHERE asset = ").push_bind(asset);
        self.standing(query, limit, "read the jobs of an asset")
            .await
    }

    /// All jobs, counted by peer, kind and state.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn job_groups(&self) -> Result<Vec<JobGroup>, Error> {
        let rows: Vec<(String, i64, i64, i64, i64)> = sqlx::query_as(
            "SELECT peer, lane, state, COUNT(*), CAST(TOTAL(size) AS INTEGER) FROM job GROUP BY peer, lane, state ORDER BY peer, lane, state",
        )
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("count all jobs"))?;
        let group = |(peer, lane, number, jobs, bytes)| JobGroup {
            peer,
            lane: Lane::of(lane),
            state: state(number),
            jobs: unsigned(jobs),
            bytes: unsigned(bytes),
        };
        Ok(rows.into_iter().map(group).collect())
    }

    /// Up to `limit` jobs of a state, in order of their rows, beginning after row `after`.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn jobs_that_are(
        &self,
        state: JobState,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Standing>, Error> {
        let mut query = QueryBuilder::<Engine>::new(STANDING);
        query.push(" WHERE state = ").push_bind(number(state));
        query.push(" AND id > ").push_bind(after);
        self.standing(query, limit, "read jobs of a state").await
    }

    /// The asset of a peer's job about this subject.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn asset_of_job(&self, peer: &str, subject: &str) -> Result<Option<String>, Error> {
        sqlx::query_scalar("SELECT asset FROM job WHERE peer = $1 AND subject = $2")
            .bind(peer)
            .bind(subject)
            .fetch_optional(&self.db.readers)
            .await
            .map_err(during("find a job by its subject"))
    }
}

type Columns = (i64, String, String, String, i64, i64, i64, String, i64, i64);

fn standing(row: Columns) -> Standing {
    let (id, peer, subject, asset, lane, state, attempts, reason, run_at, created_at) = row;
    Standing {
        id,
        peer,
        subject,
        asset,
        lane: Lane::of(lane),
        state: self::state(state),
        attempts: u32::try_from(attempts).unwrap_or(0),
        reason,
        run_at: Timestamp::from_millis(run_at),
        since: Timestamp::from_millis(created_at),
    }
}

fn state(number: i64) -> JobState {
    match number {
        READY => JobState::Waiting,
        QUARANTINED => JobState::Quarantined,
        HELD => JobState::Held,
        _ => JobState::Leased,
    }
}

fn number(state: JobState) -> i64 {
    match state {
        JobState::Waiting => READY,
        JobState::Leased => LEASED,
        JobState::Quarantined => QUARANTINED,
        JobState::Held => HELD,
    }
}

impl Batch {
    /// Makes a quarantined job ready now, as if it had never failed; answers whether it was still quarantined. A bad record
    /// is only ever set aside, so it stays.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn retry_quarantined(&mut self, id: i64, now: Timestamp) -> Result<bool, Error> {
        let done = sqlx::query(
            "UPDATE job SET state = $1, attempts = 0, reason = NULL, run_at = $2 WHERE id = $3 AND state = $4 AND lane <> $5",
        )
        .bind(READY)
        .bind(now.as_millis())
        .bind(id)
        .bind(QUARANTINED)
        .bind(Lane::Record.number())
        .execute(&mut *self.tx)
        .await
        .map_err(during("retry a quarantined job"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Forgets a quarantined job; answers whether it was still quarantined.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn drop_quarantined(&mut self, id: i64) -> Result<bool, Error> {
        let done = sqlx::query("DELETE FROM job WHERE id = $1 AND state = $2")
            .bind(id)
            .bind(QUARANTINED)
            .execute(&mut *self.tx)
            .await
            .map_err(during("drop a quarantined job"))?;
        Ok(done.rows_affected() > 0)
    }
}
