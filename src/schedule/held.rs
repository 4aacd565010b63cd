//! Events that wait because every peer that they are about is paused. What falls due meanwhile is made up for with one run once one of
//! them is resumed; a run that the pause ended is owed, and begins again.

use std::collections::BTreeSet;
use std::sync::MutexGuard;
use std::time::Duration;

use super::act::peers_of;
use super::{LOOK, Scheduler};
use crate::config::{Action, Event};

/// How soon it is noticed that another process resumed a peer.
const LOOK_WHILE_PAUSED: Duration = Duration::from_secs(2);

impl Scheduler {
    /// Finds out which peers are paused; answers how long that may be believed.
    pub(super) async fn look_who_is_paused(&self) -> Duration {
        match self.node().catalogue.paused().await {
            Ok(paused) => *self.paused() = paused.into_keys().collect(),
            // Who is paused stays so until it is known better.
            Err(error) => tracing::warn!(%error, "not known which peers are paused"),
        }
        match self.paused().is_empty() {
            true => LOOK,
            false => LOOK_WHILE_PAUSED,
        }
    }

    /// Whether all that an event would do waits for a person.
    pub(super) fn is_held(&self, event: &Event) -> bool {
        let moves = matches!(event.action, Action::Sync | Action::Pull | Action::Push);
        let node = self.node();
        let mut about = peers_of(&node.config, event).peekable();
        let paused = self.paused();
        moves && about.peek().is_some() && about.all(|peer| paused.contains(&peer.name))
    }

    /// The paused peers that an event is about.
    pub(super) fn paused_of(&self, event: &Event) -> Vec<String> {
        let node = self.node();
        let paused = self.paused();
        let about = peers_of(&node.config, event).map(|peer| peer.name.clone());
        about.filter(|name| paused.contains(name)).collect()
    }

    fn paused(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.paused.lock().expect("no panic while it is held")
    }
}
