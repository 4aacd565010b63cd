//! Bringing back what is damaged.
//!
//! ```text
//! originals, and renditions that others made     fetched from each peer in turn, until none is left
//! renditions made here                           made again, once their originals are sound
//! what is left                                   set aside, with what each peer said
//! ```
//!
//! Whatever brings a file back ends its finding; so this only has to look at what is still damaged, whoever found it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Error;
use crate::catalogue::{FileRow, StoredRecord};
use crate::config;
use crate::error::{Class, chain};
use crate::model::{AssetId, FileKind, MediaFile};
use crate::monitor::Monitor;
use crate::node::{self, Lock, Node};
use crate::pipeline;
use crate::pull::{Cutoff, damage};
use crate::renditions::rebuild::{self, Selection};
use crate::shutdown::Shutdown;
use crate::trash::shown;

/// Damaged files that are dealt with at a time.
const PAGE: usize = 1_000;
/// How often it is looked whether a run has ended.
const POLL: Duration = Duration::from_millis(200);

/// What was said of each file that is still damaged.
type Said = BTreeMap<String, Vec<String>>;

/// Brings back what is damaged, as far as it is to be had.
///
/// # Errors
/// Of this node's own; what a peer lacks is set aside.
pub(super) async fn heal(
    node: &Node,
    peers: &[config::Peer],
    cutoff: &Arc<Cutoff>,
    monitor: Arc<dyn Monitor>,
    stop: &Shutdown,
) -> Result<(), Error> {
    let heal = Heal {
        node,
        peers,
        cutoff,
        monitor,
        stop,
    };
    let mut after: Option<MediaFile> = None;
    while !heal.is_over() {
        let page = node.catalogue.damaged_files(after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.file.clone());
        heal.some(page.into_iter().map(|row| row.file).collect())
            .await?;
    }
    Ok(())
}

struct Heal<'a> {
    node: &'a Node,
    peers: &'a [config::Peer],
    cutoff: &'a Arc<Cutoff>,
    monitor: Arc<dyn Monitor>,
    stop: &'a Shutdown,
}

impl Heal<'_> {
    fn is_over(&self) -> bool {
        self.stop.requested() || self.cutoff.is_over()
    }

    async fn some(&self, files: Vec<MediaFile>) -> Result<(), Error> {
        let mut said = Said::new();
        let mut left = files;
        for peer in self.peers {
            if left.is_empty() || self.is_over() {
                break;
            }
            let Some(_lock) = self.turn(&format!("run-{}", peer.name)).await? else {
                let text = format!("{}: a run over it goes on", peer.name);
                note(&mut said, &left, |_| text.clone());
                continue;
            };
            let with = (Arc::clone(&self.monitor), self.cutoff);
            let fetched = pipeline::fetch_again(self.node, peer, &left, with, self.stop).await;
            let unhealed = match fetched {
                Ok(unhealed) => unhealed,
                Err(error @ pipeline::Error::Config(_)) => pipeline::Unhealed {
                    of_all: Some(chain(&error)),
                    ..pipeline::Unhealed::default()
                },
                Err(error) => return Err(error.into()),
            };
            left = self.still_damaged(left).await?;
            let of_peer = |file: &MediaFile| {
                let why = unhealed.of(file).unwrap_or("it was not made again");
                format!("{}: {why}", peer.name)
            };
            note(&mut said, &left, of_peer);
        }
        if !left.is_empty() && !self.is_over() {
            self.make(&left, &mut said).await?;
            left = self.still_damaged(left).await?;
        }
        if self.is_over() {
            return Ok(());
        }
        self.set_aside(&left, &said).await
    }

    /// Makes renditions again that this node made, of originals that are sound.
    async fn make(&self, files: &[MediaFile], said: &mut Said) -> Result<(), Error> {
        let made = files
            .iter()
            .filter(|file| file.kind == FileKind::Generated && file.authored);
        let made: Vec<MediaFile> = made.cloned().collect();
        let assets: BTreeSet<AssetId> = made.iter().map(|file| file.asset.clone()).collect();
        let keys: Vec<_> = assets.iter().map(AssetId::key).collect();
        let stored = self.node.catalogue.stored(&keys).await?;
        let is_live = |stored: &StoredRecord| !stored.record.is_deleted();
        let live = assets
            .into_iter()
            .filter(|asset| stored.get(&asset.key()).is_some_and(is_live));
        let assets: Vec<AssetId> = live.collect();
        if assets.is_empty() {
            return Ok(());
        }
        let Some(_lock) = self.turn(rebuild::ACTIVITY).await? else {
            let text = "renditions are being made by somebody else right now";
            note(said, &made, |_| text.to_owned());
            return Ok(());
        };
        let which = Selection {
            missing: true,
            assets,
            ..Selection::default()
        };
        let (monitor, stop) = (Arc::clone(&self.monitor), self.stop.child());
        let rebuilding =
            rebuild::rebuild(self.node, rebuild::ACTIVITY, &which, false, monitor, &stop);
        let mut rebuilding = std::pin::pin!(rebuilding);
        let ended = tokio::select! {
            ended = rebuilding.as_mut() => ended,
            _ = self.cutoff.expired() => {
                // What is in hand is finished.
                stop.request();
                rebuilding.await
            }
        };
        match ended {
            Ok(_) => note(said, &made, |_| {
                "its original is not here, or allows no rendition".to_owned()
            }),
            Err(error) if error.class() == Class::Cancelled => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn still_damaged(&self, files: Vec<MediaFile>) -> Result<Vec<MediaFile>, Error> {
        let mut left = Vec::new();
        for file in files {
            let row = self.node.catalogue.file(file.kind, &file.path, &file.asset);
            let row = row.await?.filter(FileRow::is_damaged);
            left.extend(row.map(|row| row.file));
        }
        Ok(left)
    }

    async fn set_aside(&self, left: &[MediaFile], said: &Said) -> Result<(), Error> {
        if left.is_empty() {
            return Ok(());
        }
        let now = self.node.seams.clock.now();
        let large = self.node.config.limits.large_file;
        let mut batch = self.node.catalogue.batch().await?;
        for file in left {
            let why = match said.get(&damage::subject(file)) {
                Some(said) => format!("damaged here, and not to be had: {}", said.join("; ")),
                None => "damaged here, and there is no peer to have it from".to_owned(),
            };
            let wish = damage::wish_of("", file, large);
            batch.set_aside_new(&wish, &why, now).await?;
            let name = shown(file.kind, &file.path);
            self.monitor.finding(&format!("{name}: {why}"));
        }
        Ok(batch.commit().await?)
    }

    /// The lock of an activity, once it is free; `None` when that is not before the end.
    async fn turn(&self, activity: &str) -> Result<Option<Lock>, Error> {
        let mut has_said = false;
        while !self.is_over() {
            match self.node.lock(activity) {
                Ok(lock) => return Ok(Some(lock)),
                Err(busy @ node::Error::Busy { .. }) => {
                    if !std::mem::replace(&mut has_said, true) {
                        let text = format!("damaged files wait: {busy}");
                        self.monitor.finding(&text);
                    }
                }
                Err(error) => return Err(error.into()),
            }
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = self.stop.wait() => {}
            }
        }
        Ok(None)
    }
}

fn note(said: &mut Said, files: &[MediaFile], what: impl Fn(&MediaFile) -> String) {
    for file in files {
        said.entry(damage::subject(file))
            .or_default()
            .push(what(file));
    }
}
