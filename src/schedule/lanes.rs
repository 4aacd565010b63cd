//! Never two runs of one peer: inside this process they take turns here, and other processes are waited for by their locks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use super::log::Level;
use super::watch::Watch;
use crate::node::{Error, Lock, Node};
use crate::shutdown::Shutdown;

/// How often it is looked whether another process has ended its run.
const POLL: Duration = Duration::from_secs(2);

/// How long a lock is held that is held for a moment.
const MOMENT: Duration = Duration::from_millis(20);

/// One lane for each peer, and for whatever else has to take turns.
#[derive(Debug, Default)]
pub(super) struct Lanes(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Lanes {
    /// Returns when it is one's turn, which ends when the answer is dropped; `None` when the end was asked for before.
    pub(super) async fn turn(&self, lane: &str, stop: &Shutdown) -> Option<OwnedMutexGuard<()>> {
        let lane = {
            let mut lanes = self.0.lock().expect("no panic while it is held");
            Arc::clone(lanes.entry(lane.to_owned()).or_default())
        };
        tokio::select! {
            biased;
            () = stop.wait() => None,
            turn = lane.lock_owned() => Some(turn),
        }
    }
}

/// The lock of an activity, once no other process has it; `None` when the end was asked for before.
///
/// # Errors
/// [`Error`] when it cannot be taken for another reason.
pub(super) async fn lock(
    node: &Node,
    activity: &str,
    watch: &Watch,
    stop: &Shutdown,
) -> Result<Option<Lock>, Error> {
    let mut has_told = false;
    loop {
        match node.lock(activity) {
            // For a moment only: its end is near.
            Err(Error::Busy { is_brief: true, .. }) => {
                tokio::time::sleep(MOMENT).await;
                continue;
            }
            Err(busy @ Error::Busy { .. }) => {
                if !has_told {
                    watch.say(Level::Info, &format!("waiting: {busy}"));
                    has_told = true;
                }
            }
            taken => return taken.map(Some),
        }
        tokio::select! {
            biased;
            () = stop.wait() => return Ok(None),
            () = tokio::time::sleep(POLL) => {}
        }
    }
}
