//! What of a running `serve` goes by another configuration once it was read again, without a request or a run that is cut off.

use std::sync::Arc;

use crate::config::Serve;
use crate::edge::{Edge, Room};
use crate::node::Node;
use crate::receive::Inbox;
use crate::schedule::Follower;
use crate::serve::{Certificate, InForce, Sharing};

/// All of it.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) in_force: InForce,
    pub(super) inbox: Arc<Inbox>,
    pub(super) edge: Option<Edge>,
    /// What the command line says of it, which holds whatever the file says.
    pub(super) max_cache: Option<u64>,
    pub(super) certificate: Option<Certificate>,
}

impl Follower for Parts {
    fn follow(&self, node: &Node) {
        let serve = &node.config.serve;
        self.in_force.hold_parts(&node.config.peers);
        self.in_force.share(sharing(serve));
        self.inbox.follow(node);
        if let Some(edge) = &self.edge {
            edge.follow(node, room(node, self.max_cache));
        }
        if let (Some(certificate), Some(files)) = (&self.certificate, &serve.tls)
            && let Err(error) = certificate.reload(files)
        {
            let why = crate::error::chain(&error);
            tracing::error!("{why}; the certificate stays as it was");
        }
    }
}

pub(super) fn sharing(serve: &Serve) -> Sharing {
    Sharing {
        public_renditions: serve.public_renditions,
        max_age: serve.max_age,
        stale: serve.stale_while_revalidate,
    }
}

/// How much of peers' files is kept; the command line comes first.
pub(super) fn room(node: &Node, max_cache: Option<u64>) -> Option<Room> {
    max_cache.or(node.config.serve.max_cache).map(Room::of)
}
