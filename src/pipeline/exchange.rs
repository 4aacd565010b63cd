//! Both ways with one peer: first what changed there comes here, then what changed here goes there.

use std::sync::Arc;

use super::{Error, Options, Outcome, push_peer, sync_peer};
use crate::catalogue;
use crate::config;
use crate::error::Class;
use crate::monitor::{Monitor, RunReport};
use crate::node::Node;
use crate::pull::metadata::{FEED, Scope};
use crate::shutdown::Shutdown;
use crate::text;

/// Which way things go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    /// From the peer to here.
    In,
    /// From here to the peer.
    Out,
    /// First in, then out, where the peer is pushed to.
    Both,
}

impl Ways {
    /// Whether things come here.
    #[must_use]
    pub fn pulls(self) -> bool {
        self != Self::Out
    }

    /// Whether things go to this peer.
    #[must_use]
    pub fn pushes(self, settings: &config::Peer) -> bool {
        self == Self::Out || self == Self::Both && settings.push
    }
}

/// What became of each way that was gone; an error means that it could not begin.
#[derive(Debug)]
pub struct Exchange {
    /// What came.
    pub pulled: Option<Result<Outcome, Error>>,
    /// What went.
    pub pushed: Option<Result<Outcome, Error>>,
}

/// Exchanges with a peer. The caller holds the lock `run-<peer>`. A pull that fails is no reason not to send, unless the whole
/// is to end, or the peer is a former master whose place this node took: what was saved there meanwhile is pulled before anything is sent
/// over it, since an EMDB keeps no losers (wire spec 6, row 8).
pub async fn exchange(
    node: &Node,
    (settings, ways): (&config::Peer, Ways),
    options: Options,
    monitor: Arc<dyn Monitor>,
    shutdown: &Shutdown,
) -> Exchange {
    let unheard = match ways.pushes(settings) {
        true => is_unheard(node, settings).await,
        false => Ok(false),
    };
    let pulls_first = match unheard {
        Ok(unheard) => unheard,
        Err(error) => {
            return Exchange {
                pulled: None,
                pushed: Some(Err(error.into())),
            };
        }
    };
    let pulled = match ways.pulls() || pulls_first {
        true => {
            let (options, monitor) = (options.clone(), Arc::clone(&monitor));
            Some(sync_peer(node, settings, options, monitor, shutdown).await)
        }
        false => None,
    };
    let is_over = match &pulled {
        Some(Ok(Outcome {
            error: Some(error), ..
        })) => pulls_first || error.class() == Class::Cancelled,
        Some(Err(_)) => pulls_first,
        _ => false,
    };
    let pushed = if ways.pushes(settings) && !is_over && !shutdown.requested() {
        // What is sent again is no part of taking everything once more.
        let options = Options {
            scope: match ways {
                Ways::Out => options.scope,
                _ => Scope::Changes,
            },
            ..options
        };
        Some(push_peer(node, settings, &options, monitor, shutdown).await)
    } else {
        None
    };
    Exchange { pulled, pushed }
}

/// Whether this node took the peer's place, and has not heard since then what was saved there.
///
/// # Errors
/// [`catalogue::Error`].
pub async fn is_unheard(node: &Node, settings: &config::Peer) -> Result<bool, catalogue::Error> {
    let catalogue = &node.catalogue;
    let learned = catalogue.peer_node(&settings.name).await?;
    let learned = learned.map(|node| node.cluster_id);
    let Some(id) = settings.cluster_id.clone().or(learned) else {
        return Ok(false);
    };
    let peer = (settings.name.as_str(), &id);
    catalogue.is_unheard(peer, FEED).await
}

/// What was done with a peer, in one line for people. `held` is how many deletes the guard holds.
#[must_use]
pub fn summary(peer: &str, report: &RunReport, held: u64, ways: Ways) -> String {
    let mut parts = Vec::new();
    if ways.pulls() {
        parts.push(format!(
            "{}, {} ({} received)",
            text::counted(report.records, "record"),
            text::counted(report.files_written, "file"),
            text::bytes(report.bytes_received),
        ));
    }
    if ways != Ways::In {
        parts.push(format!(
            "sent {}, {} ({})",
            text::counted(report.records_sent, "record"),
            text::counted(report.files_sent, "file"),
            text::bytes(report.bytes_sent),
        ));
    }
    let mut line = format!("{peer}: {}", parts.join(", "));
    let rest = [
        (report.files_adopted, "on disk already"),
        (report.files_moved, "moved"),
        (report.files_cloned, "cloned"),
        (report.deleted, "deleted"),
        (report.refused, "refused"),
        (report.quarantined, "set aside"),
        (report.unrenderable, "unrenderable"),
    ];
    for (number, what) in rest {
        if number > 0 {
            line.push_str(&format!(", {} {what}", text::count(number)));
        }
    }
    if held > 0 {
        line.push_str(&format!(
            "; {} held by the guard: look at them, then run with --max-delete {held}",
            text::counted(held, "delete")
        ));
    }
    format!("{line}; {}", text::elapsed(report.elapsed_ms))
}
