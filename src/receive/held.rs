//! Deletes that a sender handed over and the guard holds.

use super::Error;
use crate::config::MaxDelete;
use crate::monitor::Monitor;
use crate::node::Node;
use crate::reconcile::deletes::{Applied, Deletes};
use crate::reconcile::guard;
use crate::shutdown::Shutdown;

/// Applies the deletes that wait for this sender, as many as are allowed: a person has looked at them.
///
/// # Errors
/// [`Error`]; what was done before stays done.
pub async fn apply_held(
    node: &Node,
    name: &str,
    max_delete: Option<MaxDelete>,
    monitor: &dyn Monitor,
    shutdown: &Shutdown,
) -> Result<Applied, Error> {
    let deletes = Deletes {
        peer: name,
        own: &node.config.node.cluster_id,
        catalogue: &node.catalogue,
        store: &node.store,
        seams: &node.seams,
        monitor,
        is_owner: node.sidecar().is_none(),
        master: None,
    };
    let said = max_delete.or(node.config.limits.max_delete);
    let limit = guard::limit(node.catalogue.live_assets().await?, said);
    Ok(deletes.apply(limit, shutdown).await?)
}
