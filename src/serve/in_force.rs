//! What the configuration says of how this node shows itself, and may say otherwise while it runs. A request goes from its beginning to
//! its end by what was in force when it asked.

use std::sync::{Arc, PoisonError, RwLock};

use super::node::Sharing;
use crate::config::Peer;
use crate::model::{Filter, NodeId};

/// What is in force now. Clones are cheap and are the same.
#[derive(Debug, Clone, Default)]
pub struct InForce(Arc<RwLock<Arc<Shown>>>);

/// How a node shows itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    pub(super) sharing: Sharing,
    /// The names of its peers.
    pub(super) peers: Vec<String>,
    /// The peers of which the configuration says the cluster id, with that.
    pub(super) told_ids: Vec<(String, NodeId)>,
    /// What the files of its peers are narrowed to, by their names; only those that leave something out.
    pub(super) filters: Vec<(String, Filter)>,
}

impl InForce {
    /// Puts other peers in force.
    pub fn hold_parts(&self, peers: &[Peer]) {
        let narrowed = peers.iter().filter(|peer| !peer.filter.is_empty());
        let filters = narrowed
            .map(|peer| (peer.name.clone(), peer.filter.clone()))
            .collect();
        let told = |peer: &Peer| Some((peer.name.clone(), peer.cluster_id.clone()?));
        self.change(|shown| {
            shown.told_ids = peers.iter().filter_map(told).collect();
            shown.peers = peers.iter().map(|peer| peer.name.clone()).collect();
            shown.filters = filters;
        });
    }

    /// Puts another way of sharing in force.
    pub fn share(&self, sharing: Sharing) {
        self.change(|shown| shown.sharing = sharing);
    }

    pub(super) fn now(&self) -> Arc<Shown> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, by: impl FnOnce(&mut Shown)) {
        by(Arc::make_mut(
            &mut *self.0.write().unwrap_or_else(PoisonError::into_inner),
        ));
    }
}
