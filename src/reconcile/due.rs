//! The second look, right before a file goes (I4).

use super::deletes::{Deletes, Error};
use crate::catalogue::{Batch, Job};
use crate::model::job::{RemoveJob, fetch_subject, fetched_path};
use crate::model::{FileKind, MediaPath, Module, RecordKey};
use crate::protocol;

/// Whether a file is to go after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// In this run.
    Now,
    /// Not before its successor is here.
    Later,
    /// It is named again.
    Never,
}

impl Deletes<'_> {
    /// Asks again, at the moment of removal, whether a file is to go (I4). An original whose record names another path stays
    /// until that one is here, unless it stands in its way: else a record alone could take the only copy.
    pub(super) async fn due(
        &self,
        batch: &mut Batch,
        job: &Job,
        remove: &RemoveJob,
    ) -> Result<Due, Error> {
        let Ok(path) = &MediaPath::new(remove.path.as_str()) else {
            return Ok(Due::Never);
        };
        let kind = remove.kind;
        let id = job.asset.as_str();
        let Ok(key) = RecordKey::new(Module::ASSET, id) else {
            return Ok(Due::Now);
        };
        let stored = batch.stored(std::slice::from_ref(&key)).await?.remove(&key);
        let Some(stored) = stored.filter(|stored| !stored.record.is_deleted()) else {
            return Ok(Due::Now);
        };
        let Ok(asset) = protocol::record::asset(&stored.record) else {
            return Ok(Due::Later);
        };
        let named = |path: &MediaPath| asset.names(kind, path);
        let rows = self.catalogue.files_of(&[id]).await?;
        let mut of_kind = rows.iter().filter(|row| row.file.kind == kind);
        if named(path) {
            let absent = of_kind.any(|row| row.file.path == *path && row.unlisted_at.is_some());
            return Ok(if absent { Due::Now } else { Due::Never });
        }
        if kind == FileKind::Generated {
            return Ok(Due::Now);
        }
        let mut wishes = self.catalogue.wishes_of(self.peer, &[id]).await?;
        // Two records of one file at an EMDB share one wish, which stands under the name of the one that was listed last.
        if let Some(stated) = asset.stated_original() {
            let subject = fetch_subject(kind, stated.path.as_str(), None);
            let wishers = self.catalogue.wishers_of(self.peer, &[&subject]).await?;
            wishes.extend(
                wishers
                    .into_iter()
                    .map(|(subject, _)| (id.to_owned(), subject)),
            );
        }
        let mut awaited = (wishes.iter())
            .filter_map(|(_, subject)| fetched_path(subject, FileKind::Original))
            .peekable();
        let nothing_awaited = awaited.peek().is_none();
        if awaited.any(|new| is_below(new, path.as_str()) || is_below(path.as_str(), new)) {
            return Ok(Due::Now);
        }
        // With nothing to wait for, the next run settles it.
        let over =
            nothing_awaited && (job.attempts > 0 || of_kind.any(|row| named(&row.file.path)));
        Ok(if over { Due::Now } else { Due::Later })
    }
}

fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir)
        .is_some_and(|rest| rest.starts_with('/'))
}
