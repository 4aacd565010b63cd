//! Taking a record away for its absence: the last look, at the moment it goes (I4).

use super::deletes::{Applied, Deletes, Error, LEASE};
use crate::catalogue::{Batch, Job};
use crate::model::RecordKey;
use crate::model::job::AbsentJob;
use crate::peer::Presence;

impl Deletes<'_> {
    /// Takes a record away that two complete listings lacked, if its peer does not know it at this moment either. The record is
    /// kept aside, its files go to the trash; there is no tombstone, since its owner made none: should it come back, it is new.
    pub(super) async fn absent(
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
                    batch.forget_findings(&job.asset).await?;
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
    pub(super) async fn withdraw_wishes(&self, batch: &mut Batch, job: &Job) -> Result<(), Error> {
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
