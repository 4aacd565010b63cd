//! Events: how far the scheduler is with each, and the history of their runs.

use super::{Catalogue, Error, during, signed};
use crate::model::Timestamp;

/// How far the scheduler is with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// The event's name.
    pub name: String,
    /// When it runs, as it was written.
    pub shape: String,
    /// Where the beats of a period begin that has no start.
    pub anchor_at: Timestamp,
    /// Up to here every beat is dealt with.
    pub beat_at: Timestamp,
    /// Whether a run of it is going on, or was cut short.
    pub is_owed: bool,
}

/// Why a run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// It was due.
    Beat,
    /// It had been due while the node was down, or asleep.
    Missed,
    /// The one before was cut short.
    Again,
    /// A person wanted it.
    Hand,
}

impl Cause {
    const ALL: [Self; 4] = [Self::Beat, Self::Missed, Self::Again, Self::Hand];

    /// One word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Beat => "beat",
            Self::Missed => "missed",
            Self::Again => "again",
            Self::Hand => "hand",
        }
    }
}

impl Cause {
    /// A few words.
    #[must_use]
    pub const fn said(self) -> &'static str {
        match self {
            Self::Beat => "it is due",
            Self::Missed => "it was due while the node was down",
            Self::Again => "the run before was cut short",
            Self::Hand => "by hand",
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// All was done.
    Ok,
    /// All was done but for items that were set aside.
    Partial,
    /// As many bytes were moved as it may move; the next goes on from there.
    TransferLimit,
    /// Its time was over; the next goes on from there.
    TimeLimit,
    /// The delete guard holds deletes back.
    Guard,
    /// The two nodes differ.
    Differs,
    /// It failed.
    Failed,
    /// A person paused its peer; it begins again once that is resumed.
    Paused,
    /// A person ended it.
    Cancelled,
    /// The node was asked to end, or was killed.
    Interrupted,
}

impl RunOutcome {
    /// Each of them.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::Partial,
        Self::TransferLimit,
        Self::TimeLimit,
        Self::Guard,
        Self::Differs,
        Self::Failed,
        Self::Paused,
        Self::Cancelled,
        Self::Interrupted,
    ];

    /// Whether a run that ended so is to begin again.
    #[must_use]
    pub const fn is_owed(self) -> bool {
        matches!(self, Self::Interrupted | Self::Paused)
    }

    /// One word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::TransferLimit => "transfer-limit",
            Self::TimeLimit => "time-limit",
            Self::Guard => "guard",
            Self::Differs => "differs",
            Self::Failed => "failed",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether a person has to look.
    #[must_use]
    pub const fn needs_a_person(self) -> bool {
        matches!(
            self,
            Self::Partial | Self::Guard | Self::Differs | Self::Failed
        )
    }
}

/// A run of an event.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EventRun {
    /// Its number; later ones are greater.
    pub id: i64,
    /// The event's name.
    pub event: String,
    /// What it does.
    pub action: String,
    /// Why it began.
    pub cause: Cause,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` while it goes on.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<RunOutcome>,
    /// What is to be said of that.
    pub detail: Option<String>,
    /// Its counts as JSON.
    pub report: Option<String>,
}

/// A run that begins.
#[derive(Debug, Clone, Copy)]
pub struct NewRun<'a> {
    /// The event's name.
    pub event: &'a str,
    /// What it does.
    pub action: &'a str,
    /// Why it begins.
    pub cause: Cause,
}

pub(super) const COLUMNS: &str =
    "id, event, action, cause, started_at, ended_at, outcome, detail, report";

pub(super) type Columns = (
    i64,
    String,
    String,
    String,
    i64,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
);

pub(super) fn run(columns: Columns) -> Result<EventRun, Error> {
    let (id, event, action, cause, started_at, ended_at, outcome, detail, report) = columns;
    let row = |what, value: &str| Error::Row {
        what,
        value: value.to_owned(),
    };
    let cause = (Cause::ALL.into_iter())
        .find(|known| known.name() == cause)
        .ok_or_else(|| row("cause of a run", &cause))?;
    let outcome = outcome.map(|text| {
        (RunOutcome::ALL.into_iter())
            .find(|known| known.name() == text)
            .ok_or_else(|| row("outcome of a run", &text))
    });
    Ok(EventRun {
        id,
        event,
        action,
        cause,
        started_at: Timestamp::from_millis(started_at),
        ended_at: ended_at.map(Timestamp::from_millis),
        outcome: outcome.transpose()?,
        detail,
        report,
    })
}

impl Catalogue {
    /// How far the scheduler is with an event; `None` for one it never saw.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn event(&self, name: &str) -> Result<Option<EventRow>, Error> {
        let row: Option<(String, i64, i64, i64)> =
            sqlx::query_as("SELECT shape, anchor_at, beat_at, is_owed FROM event WHERE name = $1")
                .bind(name)
                .fetch_optional(&self.db.readers)
                .await
                .map_err(during("read an event"))?;
        Ok(row.map(|(shape, anchor_at, beat_at, is_owed)| EventRow {
            name: name.to_owned(),
            shape,
            anchor_at: Timestamp::from_millis(anchor_at),
            beat_at: Timestamp::from_millis(beat_at),
            is_owed: is_owed != 0,
        }))
    }

    /// Notes how far the scheduler is with an event.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_event(&self, row: &EventRow) -> Result<(), Error> {
        let mut batch = self.batch().await?;
        batch.put_event(row).await?;
        batch.commit().await
    }

    /// Notes that a run begins, and with it how far the scheduler is with its event; answers the run's number.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn begin_event_run(
        &self,
        row: &EventRow,
        new: NewRun<'_>,
        now: Timestamp,
    ) -> Result<i64, Error> {
        let mut batch = self.batch().await?;
        batch.put_event(row).await?;
        let id = sqlx::query_scalar(
            "INSERT INTO event_run (event, action, cause, started_at) VALUES ($1, $2, $3, $4) RETURNING id",
        )
        .bind(new.event)
        .bind(new.action)
        .bind(new.cause.name())
        .bind(now.as_millis())
        .fetch_one(&mut *batch.tx)
        .await
        .map_err(during("begin a run of an event"))?;
        batch.commit().await?;
        Ok(id)
    }

    /// Notes how a run ended. One that was interrupted, or whose peer is paused, is owed still. Where a person has to look, it is to be
    /// told of until [`told`](Self::told).
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn end_event_run(
        &self,
        id: i64,
        (outcome, detail): (RunOutcome, Option<&str>),
        report: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut batch = self.batch().await?;
        sqlx::query(
            "UPDATE event_run SET ended_at = $1, outcome = $2, detail = $3, report = $4, is_told = $5 WHERE id = $6",
        )
        .bind(now.as_millis())
        .bind(outcome.name())
        .bind(detail)
        .bind(report)
        .bind(i64::from(!outcome.needs_a_person()))
        .bind(id)
        .execute(&mut *batch.tx)
        .await
        .map_err(during("end a run of an event"))?;
        if !outcome.is_owed() {
            // Beats that came while it went on are dealt with: it is not begun twice in a row.
            sqlx::query(
                "UPDATE event SET is_owed = 0, beat_at = CASE WHEN beat_at < $1 THEN $1 ELSE beat_at END
                 WHERE name = (SELECT event FROM event_run WHERE id = $2)",
            )
                .bind(now.as_millis())
                .bind(id)
                .execute(&mut *batch.tx)
                .await
                .map_err(during("end a run of an event"))?;
        }
        batch.commit().await
    }

    /// Ends the runs that a dead process left open: they were interrupted. Answers how many there were.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn end_dead_runs(&self, now: Timestamp) -> Result<u64, Error> {
        let ended = sqlx::query(
            "UPDATE event_run SET ended_at = $1, outcome = $2, detail = 'the node was killed' WHERE ended_at IS NULL",
        )
        .bind(now.as_millis())
        .bind(RunOutcome::Interrupted.name())
        .execute(&self.db.writer)
        .await
        .map_err(during("end runs of dead processes"))?;
        Ok(ended.rows_affected())
    }

    /// The last `limit` runs before a number, newest first; of one event, or of all.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn event_runs(
        &self,
        event: Option<&str>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<EventRun>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM event_run WHERE event = COALESCE($1, event) AND id < $2 ORDER BY id DESC LIMIT $3"
        );
        let rows: Vec<Columns> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(event)
            .bind(before.unwrap_or(i64::MAX))
            .bind(signed(limit as u64))
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("read the runs of events"))?;
        rows.into_iter().map(run).collect()
    }

    /// One run.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn event_run(&self, id: i64) -> Result<Option<EventRun>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM event_run WHERE id = $1");
        let row: Option<Columns> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(id)
            .fetch_optional(&self.db.readers)
            .await
            .map_err(during("read a run of an event"))?;
        row.map(run).transpose()
    }

    /// Forgets all but the last `keep` ended runs of an event; answers the numbers of those that went, whose logs are to go, too.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn forget_event_runs(&self, event: &str, keep: usize) -> Result<Vec<i64>, Error> {
        sqlx::query_scalar(
            "DELETE FROM event_run WHERE event = $1 AND ended_at IS NOT NULL AND id <= (
                 SELECT id FROM event_run WHERE event = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)
             RETURNING id",
        )
        .bind(event)
        .bind(signed(keep as u64))
        .fetch_all(&self.db.writer)
        .await
        .map_err(during("forget runs of an event"))
    }
}

impl super::Batch {
    async fn put_event(&mut self, row: &EventRow) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO event (name, shape, anchor_at, beat_at, is_owed) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO UPDATE SET
             shape = excluded.shape, anchor_at = excluded.anchor_at, beat_at = excluded.beat_at, is_owed = excluded.is_owed",
        )
        .bind(&row.name)
        .bind(&row.shape)
        .bind(row.anchor_at.as_millis())
        .bind(row.beat_at.as_millis())
        .bind(i64::from(row.is_owed))
        .execute(&mut *self.tx)
        .await
        .map_err(during("note an event"))?;
        Ok(())
    }
}
