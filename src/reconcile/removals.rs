//! Files that are to go: rows first, in one batch; then the bytes, a name that has a twin by dropping it, all else into the trash.

use std::collections::HashSet;

use super::deletes::{Applied, Deletes, Error, LEASE};
use super::due::Due;
use crate::catalogue::{Batch, FileRow, Job};
use crate::crash::{self, Point};
use crate::model::job::RemoveJob;
use crate::model::{MediaFile, MediaPath, Timestamp};
use crate::shutdown::Shutdown;
use crate::store::{self, Name, Store, Twins};
use crate::task;

impl Deletes<'_> {
    /// Moves files into the trash that a person gave up; their records stay. Rows first, in one batch, then the bytes.
    ///
    /// # Errors
    /// [`Error`]; what was done before stays done, and what was begun is ended by the next run.
    pub async fn give_up(
        &self,
        files: &[FileRow],
        applied: &mut Applied,
        shutdown: &Shutdown,
    ) -> Result<(), Error> {
        if files.is_empty() {
            return Ok(());
        }
        self.store.check_marker()?;
        let now = self.seams.clock.now();
        let mut batch = self.catalogue.batch().await?;
        for FileRow { file, .. } in files {
            self.forget_in(&mut batch, file, now).await?;
        }
        batch.commit().await?;
        crash::point(Point::GivenUpRows)?;
        self.finish(applied, shutdown).await
    }

    /// Forgets a file in a batch of the caller's, and wishes its bytes into the trash; [`finish`](Self::finish) grants that wish once
    /// the batch is committed, whoever made it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn forget_in(
        &self,
        batch: &mut Batch,
        file: &MediaFile,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.forget(batch, &file.asset, &RemoveJob::of(file), now)
            .await
    }

    /// Takes away what no row names any more, with what a killed process left in the middle.
    ///
    /// # Errors
    /// [`Error`]; what was done before stays done.
    pub async fn finish(&self, applied: &mut Applied, shutdown: &Shutdown) -> Result<(), Error> {
        let mut batch = self.catalogue.batch().await?;
        let now = self.seams.clock.now();
        batch.take_back_leases(self.peer, now).await?;
        batch.commit().await?;
        self.take_away(applied, shutdown).await
    }

    /// Forgets the files that are still to go, in one batch.
    pub(super) async fn remove(&self, removes: &[(&Job, &RemoveJob)]) -> Result<(), Error> {
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
    pub(super) async fn trash(
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
        let moved = tokio::task::spawn_blocking(move || take_away(&store, &twins, &names));
        let moved = task::outcome(moved.await);
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
