//! Which wanted file is one that the asset is about to leave behind.

use super::{Here, Plan, states_content_of};
use crate::catalogue::FileRow;
use crate::model::job::{FetchJob, RemoveJob};

/// Tells each wanted file which of the asset's files that are about to go has its content: then it need not be fetched.
pub(super) fn pair_moves(plan: &mut Plan, here: Here<'_>) {
    let leaving: Vec<&FileRow> = here
        .own
        .iter()
        .filter(|row| {
            let is_it =
                |job: &RemoveJob| job.kind == row.file.kind && job.path == row.file.path.as_str();
            row.is_here() && plan.remove.iter().any(is_it)
        })
        .collect();
    for job in &mut plan.fetch {
        job.from = former(job, &leaving).map(|row| row.file.path.as_str().to_owned());
    }
}

/// The file that a wanted one was, if exactly one can have been it. The same file name decides between equals.
pub(super) fn former<'a>(job: &FetchJob, leaving: &[&'a FileRow]) -> Option<&'a FileRow> {
    let may_be = |row: &&&FileRow| {
        let file = &row.file;
        let same_time = job
            .modified
            .is_some_and(|time| time.whole_second() == file.modified.whole_second());
        let is_vouched = job.sha256.is_some() || job.md5.is_some() && file.md5.is_some();
        file.kind == job.kind && states_content_of(job, row) && (is_vouched || same_time)
    };
    let name = job.path.rsplit('/').next();
    let found: Vec<_> = leaving.iter().filter(may_be).copied().collect();
    let mut same_name = found
        .iter()
        .filter(|row| Some(row.file.path.name()) == name);
    match (same_name.next(), found.as_slice()) {
        (Some(row), _) => Some(row),
        (None, [row]) => Some(row),
        (None, [first, ..]) if job.sha256.is_some() => Some(first),
        _ => None,
    }
}
