//! One wish that somebody waits for: made if nobody made it, and claimed at once, past all others.

use sqlx::Row as _;

use super::jobs::{LEASED, READER, READY, job, payload};
use super::{Batch, Error, Job, NewJob, during, signed};
use crate::model::Timestamp;

/// What became of the claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is ours.
    Ours {
        /// The job.
        job: Box<Job>,
        /// Whether nobody had wished for it before.
        is_new: bool,
    },
    /// Somebody else is at work on it.
    Theirs,
    /// It was set aside, for this reason.
    SetAside(String),
}

impl Batch {
    /// Claims the wish about this subject, whatever it now says, until `until`; `wish` is what it says if there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn claim_for_reader(
        &mut self,
        wish: &NewJob,
        (now, until): (Timestamp, Timestamp),
    ) -> Result<Claim, Error> {
        let made = sqlx::query(
            "INSERT INTO job (peer, subject, lane, asset, size, payload, state, run_at, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) ON CONFLICT (peer, subject) DO NOTHING",
        )
        .bind(&wish.peer)
        .bind(&wish.subject)
        .bind(wish.lane.number())
        .bind(wish.asset.as_str())
        .bind(signed(wish.size))
        .bind(payload(&wish.work))
        .bind(READY)
        .bind(now.as_millis())
        .execute(&mut *self.tx)
        .await
        .map_err(during("wish for a reader"))?;
        let claimed = sqlx::query(
            "UPDATE job SET state = $1, lease_owner = $2, lease_until = $3
             WHERE peer = $4 AND subject = $5 AND (state = $6 OR state = $1 AND lease_until <= $7)
             RETURNING id, generation, peer, subject, asset, size, attempts, payload, lane",
        )
        .bind(LEASED)
        .bind(READER)
        .bind(until.as_millis())
        .bind(&wish.peer)
        .bind(&wish.subject)
        .bind(READY)
        .bind(now.as_millis())
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("claim for a reader"))?;
        if let Some(row) = claimed {
            return Ok(Claim::Ours {
                job: Box::new(job(&row)?),
                is_new: made.rows_affected() > 0,
            });
        }
        let row = sqlx::query(
            "SELECT state, COALESCE(reason, '') FROM job WHERE peer = $1 AND subject = $2",
        )
        .bind(&wish.peer)
        .bind(&wish.subject)
        .fetch_one(&mut *self.tx)
        .await
        .map_err(during("look who has a job"))?;
        let state: i64 = row.try_get(0).map_err(during("look who has a job"))?;
        match state {
            LEASED => Ok(Claim::Theirs),
            _ => Ok(Claim::SetAside(
                row.try_get(1).map_err(during("look who has a job"))?,
            )),
        }
    }

    /// Takes the leases back that a dead server held for its readers: to be called by the holder of the lock `serve`.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn take_back_readers_leases(&mut self) -> Result<u64, Error> {
        let done = sqlx::query(
            "UPDATE job SET state = $1, lease_owner = NULL, lease_until = NULL WHERE state = $2 AND lease_owner = $3",
        )
        .bind(READY)
        .bind(LEASED)
        .bind(READER)
        .execute(&mut *self.tx)
        .await
        .map_err(during("take readers' leases back"))?;
        Ok(done.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::conformance::empty;
    use super::*;
    use crate::catalogue::Lane;
    use crate::model::job::{FetchJob, Work};
    use crate::model::{AssetId, FileKind};

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const LEASE: Duration = Duration::from_secs(60);

    fn wish(size: u64) -> NewJob {
        NewJob {
            peer: "master".to_owned(),
            subject: "originals/a".to_owned(),
            lane: Lane::Small,
            asset: AssetId::new("a1").unwrap(),
            size,
            work: Work::Fetch(FetchJob {
                kind: FileKind::Original,
                path: "a".to_owned(),
                size: Some(size),
                exact: true,
                modified: None,
                sha256: None,
                md5: None,
                from: None,
                then: None,
            }),
        }
    }

    #[tokio::test]
    async fn a_reader_and_a_run_never_hold_one_wish_at_a_time() {
        let (_dir, catalogue) = empty().await;
        let until = NOW.plus(LEASE);
        let mut batch = catalogue.batch().await.unwrap();
        let first = batch
            .claim_for_reader(&wish(1), (NOW, until))
            .await
            .unwrap();
        let Claim::Ours { job, is_new: true } = first else {
            panic!("{first:?}")
        };
        let again = batch
            .claim_for_reader(&wish(1), (NOW, until))
            .await
            .unwrap();
        assert_eq!(again, Claim::Theirs);
        assert_eq!(batch.take_back_leases("master", NOW).await.unwrap(), 0);
        batch.commit().await.unwrap();
        let lane = ("master", Lane::Small);
        let run = catalogue.claim(lane, 5, "pull", NOW, LEASE).await.unwrap();
        assert_eq!(run, []);
        let mut batch = catalogue.batch().await.unwrap();
        assert!(batch.settle(&job).await.unwrap());
        // What a listing wished for before is taken as the listing has it.
        batch.enqueue(&[wish(7)], NOW).await.unwrap();
        let listed = batch
            .claim_for_reader(&wish(1), (NOW, until))
            .await
            .unwrap();
        let Claim::Ours { job, is_new: false } = listed else {
            panic!("{listed:?}")
        };
        assert_eq!(job.size, 7);
        // A lease that is over is a dead server's: a run may have it, and so may the next reader.
        assert_eq!(batch.take_back_leases("master", until).await.unwrap(), 1);
        batch.commit().await.unwrap();
        let run = catalogue.claim(lane, 5, "pull", NOW, LEASE).await.unwrap();
        assert_eq!(run.len(), 1);
        let mut batch = catalogue.batch().await.unwrap();
        assert_eq!(batch.take_back_readers_leases().await.unwrap(), 0);
        let theirs = batch
            .claim_for_reader(&wish(1), (NOW, until))
            .await
            .unwrap();
        assert_eq!(theirs, Claim::Theirs);
        batch.quarantine(&run[0], "gone").await.unwrap();
        let aside = batch
            .claim_for_reader(&wish(1), (NOW, until))
            .await
            .unwrap();
        assert_eq!(aside, Claim::SetAside("gone".to_owned()));
    }
}
