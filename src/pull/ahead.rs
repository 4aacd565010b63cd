//! A look ahead for many wishes at once: most files of a new node have nothing here, and asking so for each by itself costs more
//! than fetching it.
//!
//! What is certain is only that nothing was here at the time of the look. A file that gets here meanwhile is fetched in vain, and
//! the publisher decides anew where each goes; so a wish whose content another one of the same look wants as well is left to the
//! thorough search ([`ours`](super::ours)), which comes when its turn does.

use std::collections::{HashMap, HashSet};

use tokio::task::spawn_blocking;

use super::{Error, Pull};
use crate::catalogue::Job;
use crate::model::job::{FetchJob, Work};
use crate::model::{FileKind, MediaPath, Sha256};

/// What a wish needs of the search in what is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Here {
    /// Nothing is here of it.
    Nothing,
    /// Something may be.
    Perhaps,
}

/// A wish that may have nothing here, and where its file would go.
struct Plain<'a> {
    at: usize,
    fetch: &'a FetchJob,
    path: MediaPath,
    place: MediaPath,
}

/// Looks for all of these wishes, and answers in their order.
pub(super) async fn look(pull: &Pull, jobs: &[Job]) -> Result<Vec<Here>, Error> {
    let mut here = vec![Here::Perhaps; jobs.len()];
    let mut plain = plain(pull, jobs);
    for kind in [FileKind::Original, FileKind::Generated] {
        let of_kind = || plain.iter().filter(|wish| wish.fetch.kind == kind);
        let paths: Vec<&str> = of_kind().map(|wish| wish.path.as_str()).collect();
        let places: Vec<MediaPath> = of_kind().map(|wish| wish.place.clone()).collect();
        if paths.is_empty() {
            continue;
        }
        let named = pull.catalogue.files_at(kind, &paths).await?;
        let named: HashSet<_> = named.into_iter().map(|row| row.file.path).collect();
        let occupied = pull
            .catalogue
            .occupied(pull.store.rules(), kind, &places)
            .await?;
        plain.retain(|wish| {
            wish.fetch.kind != kind
                || !named.contains(&wish.path) && !occupied.contains(&wish.place)
        });
    }
    let contents: Vec<Sha256> = plain.iter().filter_map(|wish| wish.fetch.sha256).collect();
    let known = pull.catalogue.contents_here(&contents).await?;
    plain.retain(|wish| {
        wish.fetch
            .sha256
            .is_none_or(|content| !known.contains(&content))
    });
    for kind in [FileKind::Original, FileKind::Generated] {
        let of_kind = plain.iter().filter(|wish| wish.fetch.kind == kind);
        let (at, places): (Vec<_>, Vec<_>) =
            of_kind.map(|wish| (wish.at, wish.place.clone())).unzip();
        let store = pull.store.clone();
        let empty = spawn_blocking(move || store.are_empty(kind, &places));
        let empty = empty.await.map_err(|_| Error::Worker)?;
        for (at, _) in at.into_iter().zip(empty).filter(|(_, is_empty)| *is_empty) {
            here[at] = Here::Nothing;
        }
    }
    Ok(here)
}

/// The wishes that name no former place and share no content with another of these.
fn plain<'a>(pull: &Pull, jobs: &'a [Job]) -> Vec<Plain<'a>> {
    let mut wishes_for: HashMap<Sha256, usize> = HashMap::new();
    for job in jobs {
        if let Work::Fetch(FetchJob {
            sha256: Some(content),
            ..
        }) = &job.work
        {
            *wishes_for.entry(*content).or_default() += 1;
        }
    }
    let rules = pull.store.rules();
    let plain = jobs.iter().enumerate().filter_map(|(at, job)| {
        let Work::Fetch(fetch) = &job.work else {
            return None;
        };
        let is_alone = fetch.sha256.is_none_or(|content| wishes_for[&content] == 1);
        let path = MediaPath::new(fetch.path.as_str()).ok()?;
        let place = rules.plain(&path, &job.asset);
        (is_alone && fetch.from.is_none()).then_some(Plain {
            at,
            fetch,
            path,
            place,
        })
    });
    plain.collect()
}
