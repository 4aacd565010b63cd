//! Back to life: what may come back, and in which order.
//!
//! ```text
//! the bytes are what a former row says                    else: --to
//! asset alive here, place free, and its record names it   the file and its row come back
//! tombstone of this node's own                            undelete: the record, its original, its renditions
//! anything else                                           refused with the reason; --to copies the bytes out
//! ```
//!
//! Bytes, then one batch of rows, then the names in the trash go. A kill leaves files without rows at most; the same restore,
//! asked for again, finds them and finishes.

use std::collections::HashMap;

use super::list::{Entry, Listing};
use super::{Error, blocking, shown};
use crate::catalogue::{Batch, Catalogue, FileRow, Former, Reason, StoredRecord};
use crate::model::{FileKind, Hasher, MediaPath, Module, NodeId, RecordKey, RecordStatus, Sha256};
use crate::protocol;
use crate::seams::Seams;
use crate::store::{OpenFile, Store, Trashed};

/// Former rows of one place and size that are compared with the bytes.
const CANDIDATES: usize = 32;
/// Former rows of an asset read at a time.
const PAGE: usize = 500;

/// The parts that a restore needs.
#[derive(Debug, Clone, Copy)]
pub struct Restorer<'a> {
    /// Our media.
    pub store: &'a Store,
    /// Our catalogue.
    pub catalogue: &'a Catalogue,
    /// This node.
    pub own: &'a NodeId,
    /// Time and chance.
    pub seams: &'a Seams,
}

/// One file that comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The bytes.
    pub item: Trashed,
    /// The row.
    pub former: Former,
}

/// What a restore will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// One file goes back to an asset that lives.
    Back(Box<Step>),
    /// A deleted asset of this node lives again.
    Undelete {
        /// The asset.
        key: RecordKey,
        /// Its files, the one that was asked for first.
        steps: Vec<Step>,
        /// Renditions of the same deletion that are not to be had any more, and why.
        lacking: Vec<String>,
    },
    /// It is in its place, with its row: an earlier restore got so far.
    There,
}

impl Restorer<'_> {
    /// Finds out what a restore of this entry does. Reads the bytes; changes nothing.
    ///
    /// # Errors
    /// [`Error`] with the reason why it cannot be restored.
    pub async fn plan(&self, entry: &Entry) -> Result<Plan, Error> {
        let item = &entry.item;
        let sha256 = self.hash_trashed(item).await?;
        let path = shown(item.kind(), &item.path);
        let at = (item.kind(), &item.path);
        let former = self
            .catalogue
            .former_at(at, item.stat.size, item.slot.when, CANDIDATES)
            .await?
            .into_iter()
            .find(|former| former.file.sha256 == sha256);
        let Some(former) = former else {
            let row = self.lying_at(item.kind(), &item.path).await?;
            if row.is_some_and(|row| row.file.sha256 == sha256) {
                return Ok(Plan::There);
            }
            let sha256 = sha256.to_string();
            return Err(Error::Unproven { path, sha256 });
        };
        let step = Step {
            item: item.clone(),
            former,
        };
        let asset = step.former.file.asset.as_str();
        let key = asset_key(asset)?;
        let stored = self.catalogue.record(&key).await?;
        match self.judge(&step.former, stored.as_ref())? {
            Life::Alive => {
                self.expect_free(&step.former).await?;
                Ok(Plan::Back(Box::new(step)))
            }
            Life::OwnTombstone => self.plan_undelete(key, step).await,
        }
    }

    async fn plan_undelete(&self, key: RecordKey, first: Step) -> Result<Plan, Error> {
        let gone_at = first.former.gone_at;
        let (mut others, mut after) = (Vec::new(), 0);
        loop {
            let page = self.catalogue.former_of(&key.id, after, PAGE).await?;
            after = page.last().map_or(after, |former| former.id);
            let is_last = page.len() < PAGE;
            others.extend(page.into_iter().filter(|former| {
                former.gone_at == gone_at
                    && former.reason == Reason::DeletedHere
                    && former.id != first.former.id
            }));
            if is_last {
                break;
            }
        }
        let (mut steps, mut lacking) = (vec![first], Vec::new());
        for (former, item) in self.locate(others).await? {
            let name = shown(former.file.kind, &former.file.path);
            let free = self.expect_free(&former).await;
            match (item, free) {
                (None, _) => lacking.push(format!("{name}: not in the trash any more")),
                (Some(_), Err(Error::Taken { .. })) => {
                    lacking.push(format!("{name}: its place is taken"))
                }
                (Some(_), Err(error)) => return Err(error),
                (Some(item), Ok(())) if self.hash_trashed(&item).await? == former.file.sha256 => {
                    steps.push(Step { item, former });
                }
                (Some(_), Ok(())) => {
                    lacking.push(format!("{name}: its bytes have changed in the trash"))
                }
            }
        }
        self.expect_free(&steps[0].former).await?;
        Ok(Plan::Undelete {
            key,
            steps,
            lacking,
        })
    }

    /// Does what was planned.
    ///
    /// # Errors
    /// [`Error`]; asked for again, it goes on where it was.
    pub async fn carry_out(&self, plan: &Plan) -> Result<(), Error> {
        let (key, steps) = match plan {
            Plan::There => return Ok(()),
            Plan::Back(step) => (
                asset_key(step.former.file.asset.as_str())?,
                std::slice::from_ref(&**step),
            ),
            Plan::Undelete { key, steps, .. } => (key.clone(), &steps[..]),
        };
        for step in steps {
            let (store, item, place) = (
                self.store.clone(),
                step.item.clone(),
                step.former.file.place().clone(),
            );
            let done = blocking(move || store.restore(&item, &place)).await?;
            done.map_err(|error| match error {
                crate::store::Error::Taken { .. } => Error::Taken {
                    path: shown(step.item.kind(), &step.item.path),
                },
                other => other.into(),
            })?;
        }
        let mut batch = self.catalogue.batch().await?;
        if let Err(error) = self.rows(&mut batch, &key, steps).await {
            drop(batch);
            self.take_back(steps).await?;
            return Err(error);
        }
        batch.commit().await?;
        for step in steps {
            let (store, item) = (self.store.clone(), step.item.clone());
            // The rows are in: what stays in the trash goes with its slot.
            if let Err(error) = blocking(move || store.empty_one(&item)).await? {
                tracing::warn!(path = %step.item.path, %error, "restored, and still in the trash as well");
            }
        }
        Ok(())
    }

    /// The record and the rows, as this batch sees the asset.
    async fn rows(&self, batch: &mut Batch, key: &RecordKey, steps: &[Step]) -> Result<(), Error> {
        let now = self.seams.clock.now();
        let first = &steps[0].former;
        let stored = batch.stored(std::slice::from_ref(key)).await?.remove(key);
        match (self.judge(first, stored.as_ref())?, stored) {
            (Life::OwnTombstone, Some(stored)) => {
                let record = self.undeleted(&stored, now)?;
                batch.put_records(&[&record], "", now).await?;
            }
            (Life::Alive, _) if steps.len() == 1 => {}
            _ => {
                return Err(Error::Overtaken {
                    path: shown(first.file.kind, &first.file.path),
                    asset: key.id.clone(),
                });
            }
        }
        let mut ids = Vec::new();
        for step in steps {
            let file = &step.former.file;
            // Nobody else writes while this batch is open, so what is committed is what there is.
            if self.has_row(&step.former).await? {
                let path = shown(file.kind, &file.path);
                return Err(Error::Taken { path });
            }
            batch.put_file(file, now).await?;
            ids.push(step.former.id);
        }
        Ok(batch.forget_former(&ids).await?)
    }

    /// The record of a tombstone, alive again: later than the tombstone, so that every peer takes it.
    fn undeleted(
        &self,
        stored: &StoredRecord,
        now: crate::model::Timestamp,
    ) -> Result<crate::model::Record, Error> {
        let record = &stored.record;
        let status = RecordStatus::saved_by_master(self.own, record.status.as_ref(), now, false);
        protocol::record::restamped(record, &status).map_err(|bad| Error::Unusable {
            asset: record.key.id.clone(),
            reason: bad.reason,
        })
    }

    /// Takes the places back that were given before somebody overtook us. The bytes are in the trash under their first name
    /// as well.
    async fn take_back(&self, steps: &[Step]) -> Result<(), Error> {
        for step in steps {
            let file = &step.former.file;
            if !self.has_row(&step.former).await? {
                let (store, kind, place) = (
                    self.store.clone(),
                    file.kind,
                    step.former.file.place().clone(),
                );
                blocking(move || store.trash(kind, &place)).await??;
            }
        }
        Ok(())
    }

    /// Whether a file may come back into the life of its asset.
    fn judge(&self, former: &Former, stored: Option<&StoredRecord>) -> Result<Life, Error> {
        let path = shown(former.file.kind, &former.file.path);
        let asset = former.file.asset.to_string();
        let Some(stored) = stored else {
            let owner = "nobody here any more: its record is gone".to_owned();
            return Err(Error::NotOurs { path, asset, owner });
        };
        let status = stored.record.status.as_ref();
        if stored.record.is_deleted() {
            let owner = status.map(|status| &status.master);
            if owner == Some(self.own) {
                return Ok(Life::OwnTombstone);
            }
            let owner = owner.map_or_else(|| "nobody".to_owned(), ToString::to_string);
            return Err(Error::NotOurs { path, asset, owner });
        }
        let record = protocol::record::asset(&stored.record).map_err(|bad| Error::Unusable {
            asset: asset.clone(),
            reason: bad.to_string(),
        })?;
        let is_named = match former.file.kind {
            FileKind::Original => record.names_original(&former.file.path),
            FileKind::Generated => former.file.path.below(&record.source_path).is_some(),
        };
        if is_named {
            return Ok(Life::Alive);
        }
        let now = record.original_root().to_string();
        Err(Error::Elsewhere { path, asset, now })
    }

    /// The row of the file that lies at a place.
    async fn lying_at(&self, kind: FileKind, place: &MediaPath) -> Result<Option<FileRow>, Error> {
        let places = std::slice::from_ref(place);
        let rules = self.store.rules();
        let rows = self.catalogue.lying_at(rules, kind, places).await?;
        Ok(rows.into_iter().next())
    }

    /// Whether a row has a file's place, or the file's own row is back at another.
    async fn has_row(&self, former: &Former) -> Result<bool, Error> {
        let file = &former.file;
        if self.lying_at(file.kind, file.place()).await?.is_some() {
            return Ok(true);
        }
        let own = self.catalogue.file(file.kind, &file.path, &file.asset);
        Ok(own.await?.is_some())
    }

    /// Asserts that neither a row nor another content has the place.
    async fn expect_free(&self, former: &Former) -> Result<(), Error> {
        let file = &former.file;
        let path = shown(file.kind, &file.path);
        if self.has_row(former).await? {
            return Err(Error::Taken { path });
        }
        let (store, kind, place) = (self.store.clone(), file.kind, file.place().clone());
        let there =
            blocking(move || store.open_file(kind, &place).map(|open| open.map(hash))).await?;
        match there? {
            None => Ok(()),
            // A restore that was killed got so far.
            Some(Ok(sha256)) if sha256 == file.sha256 => Ok(()),
            Some(Ok(_)) => Err(Error::Taken { path }),
            Some(Err(error)) => Err(error),
        }
    }

    /// Finds the trashed files of these rows: those of the same place and size that went nearest in time.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn locate(&self, rows: Vec<Former>) -> Result<Vec<(Former, Option<Trashed>)>, Error> {
        let mut found: Vec<(Former, Option<Trashed>)> =
            rows.into_iter().map(|former| (former, None)).collect();
        if found.is_empty() {
            return Ok(found);
        }
        let mut alike: HashMap<(FileKind, MediaPath, u64), Vec<usize>> = HashMap::new();
        for (at, (former, _)) in found.iter().enumerate() {
            let file = &former.file;
            let looks = (file.kind, file.place().clone(), file.size);
            alike.entry(looks).or_default().push(at);
        }
        let mut listing = Listing::open(self.store, self.catalogue).await?;
        while let Some(page) = listing.items().await? {
            for item in page.into_iter().filter_map(Result::ok) {
                let looks = (item.kind(), item.path.clone(), item.stat.size);
                for at in alike.get(&looks).into_iter().flatten() {
                    let (former, best) = &mut found[*at];
                    let far = |item: &Trashed| {
                        let when = item.slot.when.as_millis();
                        when.abs_diff(former.gone_at.as_millis())
                    };
                    if best.as_ref().is_none_or(|best| far(&item) < far(best)) {
                        *best = Some(item.clone());
                    }
                }
            }
        }
        Ok(found)
    }

    /// The digest of a trashed file.
    ///
    /// # Errors
    /// [`Error::NoSuch`] when it is gone; [`Error::Store`].
    pub async fn hash_trashed(&self, item: &Trashed) -> Result<Sha256, Error> {
        let (store, wanted) = (self.store.clone(), item.clone());
        let open =
            blocking(move || store.open_trashed(&wanted).map(|open| open.map(hash))).await??;
        open.ok_or_else(|| Error::NoSuch { item: item.id() })?
    }
}

/// How an asset stands.
enum Life {
    Alive,
    OwnTombstone,
}

fn asset_key(asset: &str) -> Result<RecordKey, Error> {
    RecordKey::new(Module::ASSET, asset).map_err(|error| Error::Unusable {
        asset: asset.to_owned(),
        reason: error.to_string(),
    })
}

/// The digest of an open file.
fn hash(mut open: OpenFile) -> Result<Sha256, Error> {
    let mut hasher = Hasher::new(false);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match std::io::Read::read(&mut open.file, &mut buffer) {
            Ok(0) => return Ok(hasher.finish().sha256),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(Error::Store(crate::store::Error::Io {
                    op: "read",
                    path: "a file of the trash".to_owned(),
                    source,
                }));
            }
        }
    }
}

/// Where a copy goes below the folder of `--to`: its tree, then its path.
///
/// # Errors
/// [`Error::Store`] when the sum is too long for a path.
pub(super) fn outside(kind: FileKind, path: &MediaPath) -> Result<MediaPath, Error> {
    MediaPath::new(shown(kind, path))
        .map_err(|error| Error::Store(crate::store::Error::NameTooLong { path: error.path }))
}

impl Restorer<'_> {
    /// Copies a trashed file out, to `dir`/`originals` or `generated`/its path. Answers where it is.
    ///
    /// # Errors
    /// [`Error`]; an existing file is never touched.
    pub async fn copy_out(
        &self,
        item: &Trashed,
        dir: &std::path::Path,
    ) -> Result<MediaPath, Error> {
        let path = outside(item.kind(), &item.path)?;
        let (store, item, dir, to) = (
            self.store.clone(),
            item.clone(),
            dir.to_owned(),
            path.clone(),
        );
        blocking(move || store.copy_out(&item, &dir, &to)).await??;
        Ok(path)
    }
}
