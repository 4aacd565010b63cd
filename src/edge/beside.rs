//! Room beside a run, so that a node that only syncs keeps to `max_cache`, too.

use std::sync::Arc;
use std::time::Duration;

use super::room::{Keeper, Room, pause};
use crate::node::{self, Node};
use crate::shutdown::Shutdown;

/// The lock of `emsync serve`.
const SERVE: &str = "serve";

/// Makes room while `run` goes on, and once it is over, where `serve.max_cache` is set.
///
/// A running `serve` does that by itself. Without one nobody waits for a file, so that what came just now may go. A round that fails is
/// logged, and is no failure of the run.
pub async fn beside<T>(node: &Node, stop: &Shutdown, run: impl Future<Output = T>) -> T {
    let Some(most) = node.config.serve.max_cache else {
        return run.await;
    };
    let room = Room {
        most,
        grace: Duration::ZERO,
    };
    let (keeper, over) = (Keeper::new(node, room, Arc::default()), stop.child());
    let running = async {
        let ended = run.await;
        over.request();
        ended
    };
    let (ended, ()) = tokio::join!(running, keep_unless_served(node, &keeper, &over));
    if !stop.requested() && !is_served(node) {
        keeper.round(stop).await;
    }
    ended
}

/// Makes room every minute while a run goes on, for the first time after one: at its start nothing has come yet.
async fn keep_unless_served(node: &Node, keeper: &Keeper, stop: &Shutdown) {
    loop {
        pause(stop).await;
        if stop.requested() {
            return;
        }
        if !is_served(node) {
            keeper.round(stop).await;
        }
    }
}

/// Whether a `serve` of this node runs.
fn is_served(node: &Node) -> bool {
    let held = node::held(&node.config.state);
    held.is_ok_and(|held| held.iter().any(|held| held.activity == SERVE))
}
