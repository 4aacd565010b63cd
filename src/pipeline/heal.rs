//! Files that are damaged or went away here, fetched from a peer as a pull fetches files: the same pool, the same comparisons, the same publisher.
//!
//! The wishes stand under a name of their own in the job table, so that nothing else is done that waits for the peer. What is left
//! of them is forgotten at the end: whoever asked knows what is still damaged, and asks again.

use std::collections::HashMap;
use std::sync::Arc;

use super::stages::Stages;
use super::{Error, PARTIALS_KEPT, end_in_time, paused, pull_with};
use crate::catalogue::Aside;
use crate::config::{self, Generated};
use crate::crash::{self, Point};
use crate::error::{Class, chain};
use crate::model::MediaFile;
use crate::monitor::Monitor;
use crate::node::Node;
use crate::pull::{self, Cutoff, damage};
use crate::shutdown::Shutdown;

/// Wishes that are read at a time.
const PAGE: usize = 500;

/// Why files were not brought back.
#[derive(Debug, Default)]
pub struct Unhealed {
    /// Of single files, by the subject of the wish.
    pub by_subject: HashMap<String, String>,
    /// Of all of them.
    pub of_all: Option<String>,
    /// What ended it early, where that is so.
    pub error: Option<Error>,
}

impl Unhealed {
    /// Why this file was not, as far as is known.
    #[must_use]
    pub fn of(&self, file: &MediaFile) -> Option<&str> {
        let subject = damage::subject(file);
        let own = self.by_subject.get(&subject).or(self.of_all.as_ref());
        own.map(String::as_str)
    }
}

/// Fetches files again that are damaged here, each as its row says it was. The caller holds the lock `run-<peer>`.
///
/// # Errors
/// [`Error`] of this node's own: its catalogue or its disk. What is the matter with the peer is in the answer.
pub async fn fetch_again(
    node: &Node,
    settings: &config::Peer,
    files: &[MediaFile],
    (monitor, cutoff): (Arc<dyn Monitor>, &Arc<Cutoff>),
    shutdown: &Shutdown,
) -> Result<Unhealed, Error> {
    match paused::refuse(&node.catalogue, &settings.name).await {
        Err(paused @ pull::Error::Paused { .. }) => {
            return Ok(Unhealed {
                of_all: Some(chain(&paused)),
                ..Unhealed::default()
            });
        }
        other => other?,
    }
    // No peer of the configuration can be called so.
    let name = format!("heal:{}", settings.name);
    let staging = format!("heal-{}", settings.name);
    let mut under = settings.clone();
    under.name.clone_from(&name);
    let catalogue = &node.catalogue;
    let mut pull = pull_with(node, &under, (catalogue, &staging), monitor, shutdown).await?;
    pull.cutoff = Arc::clone(cutoff);
    pull.staging.sweep()?;
    let now = node.seams.clock.now();
    pull.staging.sweep_partials(PARTIALS_KEPT, now)?;
    let wishes = damage::again(&pull, &settings.name, files).await?;
    if wishes
        .iter()
        .all(|wish| wish.lane != crate::catalogue::Lane::Media)
    {
        pull.policy.generated = Generated::Copy;
    }
    let mut batch = catalogue.batch().await?;
    batch.drop_jobs_of(&name).await?;
    batch.enqueue(&wishes, now).await?;
    batch.commit().await?;
    crash::point(Point::ScrubWished)?;
    let pull = Arc::new(pull);
    let ended = tokio::select! {
        ended = async { Stages::start(node, &pull)?.finish(&pull).await } => ended.err(),
        never = end_in_time(&pull, &settings.name) => match never {},
    };
    let mut unhealed = Unhealed::default();
    let plain = |reason: &str| reason.replace(&name, &settings.name);
    match ended {
        None => {}
        Some(Error::Pull(pull::Error::Catalogue(error))) => return Err(error.into()),
        Some(Error::Pull(pull::Error::Store(error))) if error.stops_the_pass() => {
            return Err(error.into());
        }
        Some(error) => {
            unhealed.of_all = Some(match (error.class(), pull.failure()) {
                (Class::Cancelled, None) => "interrupted".to_owned(),
                // Whose end was asked for may have been stopped by what went wrong elsewhere.
                (Class::Cancelled, Some(failure)) => chain(&failure),
                _ => plain(&chain(&error)),
            });
            unhealed.error = Some(error);
        }
    }
    let mut after = 0;
    loop {
        let page = catalogue
            .quarantined(Aside::Of(Some(&name)), after, PAGE)
            .await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        let reasons = page
            .iter()
            .map(|job| (job.subject.clone(), plain(&job.reason)));
        unhealed.by_subject.extend(reasons);
    }
    let mut batch = catalogue.batch().await?;
    batch.drop_jobs_of(&name).await?;
    batch.commit().await?;
    Ok(unhealed)
}
