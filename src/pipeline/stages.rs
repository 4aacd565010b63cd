//! The stages of one pass: started together, joined by bounded channels, ended in order.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{Error, renditions};
use crate::catalogue::Lane;
use crate::config::Generated;
use crate::monitor::Phase;
use crate::node::Node;
use crate::pull::publisher::Item;
use crate::pull::{self, Pull, pool, publisher};
use crate::renditions::Settings;

/// The running stages and the words that end them.
pub(super) struct Stages {
    lanes: [JoinHandle<Result<(), pull::Error>>; 2],
    media: JoinHandle<Result<(), pull::Error>>,
    publisher: JoinHandle<Result<(), pull::Error>>,
    listing_done: watch::Sender<bool>,
    files_done: watch::Sender<bool>,
    items: mpsc::Sender<Item>,
}

impl Stages {
    pub(super) fn start(node: &Node, pull: &Arc<Pull>) -> Result<Self, Error> {
        pull.monitor.phase(Phase::Files);
        pull.monitor.transfers(&pull.transfers());
        let (items, queue) = mpsc::channel(pull.limits.publish_batch);
        let (listing_done, listing) = watch::channel(false);
        let (files_done, files) = watch::channel(false);
        let renders = matches!(pull.policy.generated, Generated::Auto | Generated::Rebuild);
        let media = Settings::of(node);
        let lane = |lane: Lane| {
            let lane = pool::LaneOf {
                lane,
                upstream_done: listing.clone(),
                items: items.clone(),
            };
            tokio::spawn(or_stop(pull.clone(), pool::run(pull.clone(), lane)))
        };
        let lanes = [lane(Lane::Small), lane(Lane::Large)];
        let media = if renders {
            let media = renditions::run(pull.clone(), media, files, items.clone())?;
            tokio::spawn(or_stop(pull.clone(), media))
        } else {
            tokio::spawn(std::future::ready(Ok(())))
        };
        let publisher = tokio::spawn(publisher::run(pull.clone(), queue));
        Ok(Self {
            lanes,
            media,
            publisher,
            listing_done,
            files_done,
            items,
        })
    }

    /// Lets every stage end in order; the first cause of an early end is the error.
    pub(super) async fn finish(self, pull: &Pull) -> Result<(), Error> {
        self.listing_done.send_replace(true);
        let mut results = Vec::new();
        for lane in self.lanes {
            results.push(joined(lane).await);
        }
        self.files_done.send_replace(true);
        results.push(joined(self.media).await);
        drop(self.items);
        results.push(joined(self.publisher).await);
        if let Some(cause) = pull.failure() {
            return Err(cause.into());
        }
        results.into_iter().collect::<Result<(), _>>()?;
        if pull.stop.requested() {
            Err(pull::Error::Cancelled.into())
        } else {
            Ok(())
        }
    }
}

/// Without one of its stages a pass would list on and leave the work undone; it ends, and the next run goes on.
async fn or_stop(
    pull: Arc<Pull>,
    stage: impl Future<Output = Result<(), pull::Error>>,
) -> Result<(), pull::Error> {
    let result = stage.await;
    if result.is_err() {
        pull.stop.request();
    }
    result
}

async fn joined(stage: JoinHandle<Result<(), pull::Error>>) -> Result<(), pull::Error> {
    stage.await.unwrap_or(Err(pull::Error::Worker))
}
