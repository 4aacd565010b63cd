//! Work that was set aside after its last try: what a person does with it, and what that means. For the command line and the page.

use crate::catalogue::{self, Lane, Standing};
use crate::node::Node;

/// What is to become of work that was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It is tried again, as if it had never failed.
    Retry,
    /// It is forgotten.
    Drop,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Became {
    /// Whether it was done.
    pub done: bool,
    /// Whether somebody has to know that it was not: a record cannot be asked for again here, and to say how is all there is.
    pub is_failure: bool,
    /// What it means, as a person would say it.
    pub says: String,
}

/// What would become of a job.
#[must_use]
pub fn would(job: &Standing, deed: Deed) -> Became {
    became(job, deed, deed == Deed::Drop || job.lane != Lane::Record)
}

/// Does it to each of the jobs, all in one transaction; answers what became of each, in their order.
///
/// # Errors
/// [`catalogue::Error`]; then nothing was done.
pub async fn act(
    node: &Node,
    jobs: &[Standing],
    deed: Deed,
) -> Result<Vec<Became>, catalogue::Error> {
    let now = node.seams.clock.now();
    let mut batch = node.catalogue.batch().await?;
    let mut all = Vec::with_capacity(jobs.len());
    for job in jobs {
        let done = match deed {
            Deed::Retry => batch.retry_quarantined(job.id, now).await?,
            Deed::Drop => batch.drop_quarantined(job.id).await?,
        };
        all.push(became(job, deed, done));
    }
    batch.commit().await?;
    Ok(all)
}

fn became(job: &Standing, deed: Deed, done: bool) -> Became {
    let is_explained = !done && job.lane == Lane::Record && deed == Deed::Retry;
    Became {
        done,
        is_failure: !done && !is_explained,
        says: match (deed, done) {
            (Deed::Drop, true) => lost(job),
            (Deed::Retry, true) if is_own(job) => "`emsync scrub` asks the peers again".to_owned(),
            (Deed::Retry, true) => "ready now".to_owned(),
            (_, false) if is_explained => explanation(job),
            (_, false) => "a run took it meanwhile".to_owned(),
        },
    }
}

/// What a lane's work is, as a person would call it.
#[must_use]
pub fn kind(lane: Lane) -> &'static str {
    match lane {
        Lane::Small | Lane::Large => "a file to fetch",
        Lane::Media => "renditions to make",
        Lane::Remove => "a file to remove",
        Lane::Delete => "a delete",
        Lane::Record => "a record",
        Lane::Upload => "to send",
    }
}

/// Work of this node's own: a damaged file that nobody had.
fn is_own(job: &Standing) -> bool {
    job.peer.is_empty()
}

fn explanation(job: &Standing) -> String {
    format!(
        "a record is tried again whenever {0} lists it: when it changes there, or now with `emsync seed {0}`",
        job.peer
    )
}

/// What is lost with a wish.
fn lost(job: &Standing) -> String {
    let (peer, asset, subject) = (&job.peer, &job.asset, &job.subject);
    let again =
        format!("until {peer} lists it again: when it changes there, or with `emsync seed {peer}`");
    match job.lane {
        Lane::Small | Lane::Large if is_own(job) => {
            format!(
                "dropped; {subject} stays damaged here, and the next scrub asks the peers again"
            )
        }
        Lane::Small | Lane::Large => {
            format!(
                "dropped; the file of asset {asset} is not here {again}; verify will call it missing"
            )
        }
        Lane::Media => format!("dropped; asset {asset} goes without these renditions {again}"),
        Lane::Remove => {
            let name = subject
                .split_once(':')
                .map_or(subject.as_str(), |(_, name)| name);
            format!("dropped; {name} stays on this disk, and nobody lists it")
        }
        Lane::Delete => {
            format!("dropped; asset {asset} stays here although {peer} deleted it, {again}")
        }
        Lane::Record => format!("dropped; the record stays as it is here, or absent, {again}"),
        Lane::Upload => {
            format!(
                "dropped; {peer} goes without it until it changes here, or until `emsync push {peer} --full`"
            )
        }
    }
}
