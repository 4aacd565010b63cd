//! A wanted file whose bytes are here already: no network needed.
//!
//! ```text
//! under the very name, without a row (a seeded disk, a restored node, our own file from before a kill)   adopted where it lies
//! under the asset's former name, which is about to go (a move)                                           given a second name
//! under any other name (a twin)                                                                          cloned, or copied
//! ```
//!
//! What is adopted, cloned or copied is hashed, and used only when its digests, or without a stated digest its size and time, are
//! those of the wanted file. A moved file keeps the digest that its row has; its size and time must still be the row's. What
//! cannot be opened or read here is left to the peer.

use tokio::task::spawn_blocking;

use super::transfer::compared;
use super::{Error, Pull};
use crate::catalogue::{FileRow, Placed, Wanted};
use crate::model::job::FetchJob;
use crate::model::{AssetId, Digests, FileKind, Hasher, MediaPath, Timestamp};
use crate::store::{self, Candidate, Content, Staging, Stat, Store};

/// Where the bytes of a file came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the peer.
    Fetched,
    /// They were under the right name already.
    Adopted,
    /// They got another name.
    Moved,
    /// From an equal file under another name.
    Cloned,
    /// They were derived here.
    Made,
}

/// A file of ours, ready to be published.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) content: Content,
    pub(super) digests: Digests,
    pub(super) way: Way,
    /// Where it lies that it was made of, if it is to replace that: then nothing of it need be kept.
    pub(super) made_of: Option<MediaPath>,
}

impl Found {
    /// The time of a file that was found under its final name.
    pub(super) fn lies_in_place(&self) -> Option<Timestamp> {
        match &self.content {
            Content::Staged(staged) => staged.lies_in_place(),
            Content::Held(_) => None,
        }
    }
}

/// What is known of files that may be the wanted one.
struct Rows {
    /// The row of what lies where the wanted file goes.
    here: Option<FileRow>,
    /// The row under the asset's former name.
    former: Option<FileRow>,
    /// Rows of equal content.
    twins: Vec<FileRow>,
}

/// The wanted file from what is here; `None` when it has to be fetched.
pub(super) async fn find(
    pull: &Pull,
    asset: &AssetId,
    job: &FetchJob,
    path: &MediaPath,
) -> Result<Option<Found>, Error> {
    let (place, here) = where_it_goes(pull, asset, job, path).await?;
    let mut rows = Rows {
        here,
        former: None,
        twins: Vec::new(),
    };
    if let Some(former) = job
        .from
        .as_deref()
        .and_then(|from| MediaPath::new(from).ok())
    {
        let row = pull.catalogue.file(job.kind, &former, asset).await?;
        rows.former = row.filter(FileRow::is_here);
    }
    if let Some(wanted) = &job.sha256 {
        rows.twins = pull.catalogue.files_with(wanted).await?;
    }
    let source = Source {
        store: pull.store.clone(),
        staging: pull.staging.clone(),
        job: job.clone(),
        reserve: pull.limits.reserve,
    };
    spawn_blocking(move || source.first(&place, rows))
        .await
        .map_err(|_| Error::Worker)?
}

/// Where the wanted file will lie as things stand, and the row of what lies there now. The publisher decides again: what was
/// taken where it lies is published there or not at all.
async fn where_it_goes(
    pull: &Pull,
    asset: &AssetId,
    job: &FetchJob,
    path: &MediaPath,
) -> Result<(MediaPath, Option<FileRow>), Error> {
    if let Some(own) = pull.catalogue.file(job.kind, path, asset).await? {
        return Ok((own.file.place().clone(), Some(own)));
    }
    let rules = pull.store.rules();
    let plain = rules.plain(path, asset);
    let mut there = pull
        .catalogue
        .lying_at(rules, job.kind, std::slice::from_ref(&plain))
        .await?;
    if there.is_empty() {
        return Ok((plain, None));
    }
    let wanted = Wanted {
        kind: job.kind,
        path,
        asset,
        shares: job.sha256.as_ref(),
        one_file_at: pull.one_file_at(job),
    };
    let placed = pull.catalogue.places(rules, &[wanted]).await?.pop();
    Ok(match placed {
        Some(Placed::At { place, .. }) if place != plain => (place, None),
        _ => (plain, there.pop()),
    })
}

/// What the search needs, off the runtime's own threads.
struct Source {
    store: Store,
    staging: Staging,
    job: FetchJob,
    reserve: u64,
}

impl Source {
    fn first(&self, place: &MediaPath, rows: Rows) -> Result<Option<Found>, Error> {
        if let Some(found) = self.in_its_place(place, rows.here.as_ref())? {
            return Ok(Some(found));
        }
        if let Some(row) = &rows.former
            && let Some(found) = self.moved(row)?
        {
            return Ok(Some(found));
        }
        for row in rows.former.iter().chain(&rows.twins) {
            if (row.file.kind, row.file.place()) != (self.job.kind, place)
                && let Some(candidate) = self.open(row.file.kind, row.file.place())
                && let Some(found) = self.copied(candidate, None)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// A candidate that is worth reading. What cannot be opened is left to the peer; its own trouble is found by verify.
    fn open(&self, kind: FileKind, place: &MediaPath) -> Option<Candidate> {
        let found = self.store.candidate(kind, place).ok()??;
        may_be(&self.job, found.stat()).then_some(found)
    }

    fn in_its_place(
        &self,
        place: &MediaPath,
        row: Option<&FileRow>,
    ) -> Result<Option<Found>, Error> {
        let Some(candidate) = self.open(self.job.kind, place) else {
            return Ok(None);
        };
        if row.is_some_and(|row| is_old(row, &self.job, candidate.stat())) {
            return Ok(None);
        }
        let modified = self.job.modified.unwrap_or(candidate.stat().modified);
        if !candidate.is_adoptable(modified) {
            return self.copied(candidate, Some(place.clone()));
        }
        let Some(digests) = self.hashed(|each| candidate.read(each).map(|_| ()))? else {
            return Ok(None);
        };
        if compared(&self.job, &digests).is_err() {
            return Ok(None);
        }
        Ok(candidate.adopt(&self.staging)?.map(|staged| Found {
            content: staged.into(),
            digests,
            way: Way::Adopted,
            made_of: Some(place.clone()),
        }))
    }

    /// The file under the asset's former name, given a second one: its row vouches for its digest as long as size and time are
    /// the row's.
    fn moved(&self, row: &FileRow) -> Result<Option<Found>, Error> {
        let digests = Digests {
            size: row.file.size,
            sha256: row.file.sha256,
            md5: row.file.md5,
        };
        let is_vouched = self.job.md5.is_none() || digests.md5.is_some();
        if !is_vouched || compared(&self.job, &digests).is_err() {
            return Ok(None);
        }
        let Some(candidate) = self.open(row.file.kind, row.file.place()) else {
            return Ok(None);
        };
        let stat = candidate.stat();
        let wanted = self.job.modified.unwrap_or(stat.modified);
        let same_second = |time: Timestamp| time.whole_second() == stat.modified.whole_second();
        if stat.size != row.file.size || !same_second(row.file.modified) || !same_second(wanted) {
            return Ok(None);
        }
        Ok(self.staging.linked(&candidate)?.map(|staged| Found {
            content: staged.into(),
            digests,
            way: Way::Moved,
            made_of: None,
        }))
    }

    /// A clone that shares blocks where the file system can, else a copy; hashed either way.
    fn copied(
        &self,
        candidate: Candidate,
        made_of: Option<MediaPath>,
    ) -> Result<Option<Found>, Error> {
        let way = made_of.as_ref().map_or(Way::Cloned, |_| Way::Adopted);
        let (staged, digests) = match self.staging.cloned(&candidate)? {
            Some(staged) => {
                let digests = self.hashed(|each| staged.read_back(each))?;
                (staged, digests)
            }
            None => {
                if self
                    .store
                    .free_bytes()?
                    .saturating_sub(candidate.stat().size)
                    < self.reserve
                {
                    return Ok(None);
                }
                let mut staged = self.staging.create()?;
                let mut failed = None;
                let digests = self.hashed(|each| {
                    let read = candidate.read(&mut |piece| {
                        each(piece);
                        if failed.is_none() {
                            failed = staged.write_all(piece).err();
                        }
                    });
                    read.map(|_| ())
                })?;
                if let Some(error) = failed {
                    return Err(error.into());
                }
                (staged, digests)
            }
        };
        let fits = |digests: &Digests| {
            digests.size == candidate.stat().size && compared(&self.job, digests).is_ok()
        };
        Ok(digests.filter(fits).map(|digests| Found {
            content: staged.into(),
            digests,
            way,
            made_of,
        }))
    }

    /// The digests of what `read` hands out; `None` when it cannot be read.
    fn hashed(
        &self,
        read: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), store::Error>,
    ) -> Result<Option<Digests>, Error> {
        let mut hasher = Hasher::new(self.job.needs_md5());
        match read(&mut |piece| hasher.update(piece)) {
            Ok(()) => Ok(Some(hasher.finish())),
            Err(error) if error.stops_the_pass() => Err(error.into()),
            Err(error) => {
                tracing::warn!(path = self.job.path, %error, "cannot be read here, so it is fetched");
                Ok(None)
            }
        }
    }
}

/// Whether a file on disk is worth reading as the wanted one. Where no digest is stated it must look like it to EMDB's eyes, by
/// time and size (wire spec 4.5, H-11); so a data directory that is there already is taken over rather than fetched.
fn may_be(job: &FetchJob, found: Stat) -> bool {
    if job.sha256.is_some() || job.md5.is_some() {
        return job.size.is_none_or(|size| size == found.size);
    }
    let same_time = (job.modified)
        .is_some_and(|modified| modified.whole_second() == found.modified.whole_second());
    same_time && job.size == Some(found.size)
}

/// Whether what lies where the wanted file goes is the version that our row knows, which is not the wanted one: no need to read it.
fn is_old(row: &FileRow, job: &FetchJob, found: Stat) -> bool {
    let is_as_noted = row.file.size == found.size && row.file.modified == found.modified;
    is_as_noted && job.sha256.is_some_and(|wanted| wanted != row.file.sha256)
}
