//! Is this node fit to take the place of a peer? Everything that would be lost or missing, found without asking anybody: the peer
//! may be gone for ever.

use std::collections::HashSet;

use super::findings::{Named, conflicts, reachable};
use super::{Error, cluster_id, others_with_a_key};
use crate::config;
use crate::model::{Module, RecordKey};
use crate::node::Node;
use crate::node::doctor::{Check, State, examine};
use crate::protocol;
use crate::status;

/// Records read at a time.
const PAGE: usize = 500;
/// Gaps that are named one by one.
const NAMED: usize = 1_000;

/// An original that a record states and that is not here.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Gap {
    /// The asset.
    pub asset: String,
    /// Its original, below `originals/`.
    pub path: String,
}

/// How fit a node is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fitness {
    /// Whether nothing speaks against it.
    pub fit: bool,
    /// What was looked at.
    pub checks: Vec<Check>,
    /// Originals that are missing, in all.
    pub gaps_total: u64,
    /// The first thousand of them.
    pub gaps: Vec<Gap>,
}

/// Looks at everything that a promotion over this peer would have to live with.
///
/// # Errors
/// [`Error`].
pub async fn fitness(node: &Node, settings: &config::Peer) -> Result<Fitness, Error> {
    let former = cluster_id(node, settings).await?;
    let (status, now) = (status::gather(node).await?, node.seams.clock.now());
    let (gaps_total, gaps) = gaps(node, settings).await?;
    let named = Named(&settings.name);
    let mut checks = Vec::new();
    if let Some(peer) = (status.peers.iter()).find(|peer| peer.name == settings.name) {
        checks.push(named.compared(peer, now));
        checks.push(named.pulled(peer, now));
        checks.push(named.queue(peer));
        checks.push(named.set_aside(peer));
    }
    let succeeded = node.catalogue.succeeded().await?;
    if let Some((_, at)) = succeeded.iter().find(|(node, _)| *node == former) {
        let text = format!(
            "this node took the place of {} at {at}; `emsync promote` again takes over what is left",
            settings.name
        );
        checks.push(Check::ok("place", text));
    }
    checks.push(named.layers(
        settings.pull_originals,
        settings.generated,
        &settings.filter,
    ));
    checks.push(named.originals(gaps_total));
    checks.push(named.damage(status.damaged));
    checks.push(named.room(node.catalogue.evicted().await?));
    checks.push(conflicts(status.conflicts));
    checks.push(named.return_of(is_held_off(node, settings).await?));
    checks.push(reachable(node.config.serve.listen));
    let disk = examine(&node.config, &node.seams, false).await;
    let of_disk = ["marker", "space", "snapshots", "schema"];
    checks.extend((disk.into_iter()).filter(|check| of_disk.contains(&check.name)));
    let fit = checks.iter().all(|check| check.state < State::Failed);
    Ok(Fitness {
        fit,
        checks,
        gaps_total,
        gaps,
    })
}

/// Whether a peer whose place is taken gets nothing from here until it was heard: a node of ours needs no such thing, an EMDB is known
/// by the name of its key alone, since its requests say nothing else of who asks (`serve::postponed`).
///
/// # Errors
/// [`Error`].
pub async fn is_held_off(node: &Node, settings: &config::Peer) -> Result<bool, Error> {
    let is_ours = (node.catalogue.peer_node(&settings.name).await?).is_some();
    Ok(is_ours || (others_with_a_key(node).await?).contains(&settings.name))
}

/// The originals that records of this peer's master state and that are not here.
async fn gaps(node: &Node, settings: &config::Peer) -> Result<(u64, Vec<Gap>), Error> {
    let former = cluster_id(node, settings).await?;
    let module = Module::new(Module::ASSET).expect("the name of a table");
    let (mut total, mut named, mut after) = (0, Vec::new(), None::<RecordKey>);
    loop {
        let page = (node.catalogue)
            .records_after(Some(&module), after.as_ref(), PAGE)
            .await?;
        let Some(last) = page.last() else {
            return Ok((total, named));
        };
        after = Some(last.record.key.clone());
        let theirs = page.iter().filter(|stored| {
            let status = stored.record.status.as_ref();
            !stored.record.is_deleted() && status.is_some_and(|status| status.master == former)
        });
        let assets = theirs.filter_map(|stored| protocol::record::asset(&stored.record).ok());
        let stated: Vec<_> = assets
            .filter_map(|asset| Some((asset.stated_original()?, asset)))
            .collect();
        let ids: Vec<&str> = stated.iter().map(|(_, asset)| asset.id.as_str()).collect();
        let here = node.catalogue.files_of(&ids).await?;
        let here: HashSet<(&str, &str)> = here
            .iter()
            .map(|row| (row.file.asset.as_str(), row.file.path.as_str()))
            .collect();
        for (file, asset) in &stated {
            if here.contains(&(asset.id.as_str(), file.path.as_str())) {
                continue;
            }
            // Two records of one file have it once.
            let path = file.path.as_str();
            if !(node.catalogue.files_at(file.kind, &[path]).await?).is_empty() {
                continue;
            }
            total += 1;
            if named.len() < NAMED {
                named.push(Gap {
                    asset: asset.id.to_string(),
                    path: file.path.to_string(),
                });
            }
        }
    }
}
