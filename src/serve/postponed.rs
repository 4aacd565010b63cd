//! A former master that is an EMDB, comes back and asks for what changed: it has to wait until this node has heard what was saved there.
//!
//! An EMDB takes our records over its own and keeps nothing of what it had (wire spec 6, row 8), so whatever it saved after its place was
//! taken is kept here first, as the loser of a conflict. An answer of 200 with the status `error` keeps its watermarks where they are
//! (wire spec 11.1, 2), so that it asks again and misses nothing. A node of ours keeps losers itself and waits for nobody.
//!
//! Who asks is known by the name of the key, where that is the name of the peer.

use super::error::Error;
use super::node::Node;
use crate::catalogue::AccessKey;
use crate::pull::metadata::FEED;

/// Nothing, unless whoever has this key must wait.
pub(super) async fn check(node: &Node, key: &AccessKey) -> Result<(), Error> {
    let shown = node.in_force.now();
    let mut told_ids = shown.told_ids.iter();
    let Some((peer, id)) = told_ids.find(|(peer, _)| *peer == key.name) else {
        return Ok(());
    };
    let catalogue = &node.catalogue;
    if !catalogue.is_unheard((peer, id), FEED).await? || catalogue.peer_node(peer).await?.is_some()
    {
        return Ok(());
    }
    tracing::warn!(
        peer,
        "a former master asks for what changed and has to wait: `emsync pull {peer}` keeps what was saved there meanwhile"
    );
    Err(Error::Postponed)
}
