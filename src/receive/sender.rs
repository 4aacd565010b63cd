//! One node that hands changes to us: a pull that never asks, its publisher, and what it has deleted so far.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Error;
use crate::catalogue::PeerNode;
use crate::config::{Config, Generated, MaxDelete};
use crate::model::{AssetId, Timestamp};
use crate::monitor::{Counter, Monitor, Phase};
use crate::node::Node;
use crate::peer::Peer;
use crate::pipeline::other_peers;
use crate::protocol::PageHead;
use crate::pull::publisher::{Item, Standing};
use crate::pull::{self, Policy, Pull};
use crate::reconcile::deletes::{Applied, Deletes};
use crate::reconcile::guard;
use crate::shutdown::Shutdown;
use crate::store::Staging;

/// How long a sender is silent until what it deletes counts anew: what it hands over until then is one run of it.
const ONE_RUN: Duration = Duration::from_secs(3_600);

/// What one run of a sender has deleted.
#[derive(Debug, Default)]
pub(super) struct Turn {
    live_before: u64,
    deleted: u64,
    last: Option<Timestamp>,
}

/// One node that hands changes to us.
pub(super) struct Sender {
    pub(super) pull: Arc<Pull>,
    /// Held while a page or an offer is taken.
    pub(super) turn: tokio::sync::Mutex<Turn>,
    config: Arc<Config>,
    max_delete: Option<MaxDelete>,
    is_peer: bool,
    publisher: Standing,
}

impl Sender {
    /// Begins its publisher.
    pub(super) async fn begin(
        node: &Node,
        name: &str,
        staging: &Staging,
        shutdown: &Shutdown,
    ) -> Result<Self, Error> {
        let limits = &node.config.limits;
        let configured = node.config.peers.iter().find(|peer| peer.name == name);
        // A node that sends has made its renditions; of one that is configured the configuration says what is wanted.
        let policy = configured.map_or(
            Policy {
                originals: true,
                generated: Generated::Copy,
            },
            |peer| Policy {
                originals: peer.pull_originals,
                generated: peer.generated,
            },
        );
        let cluster_id = configured.and_then(|peer| peer.cluster_id.clone());
        let peer = Peer::sender(name, cluster_id, limits, node.throttle.clone())
            .map_err(pull::Error::from)?;
        let mut pull = Pull::new(
            (peer, policy),
            node.catalogue.clone(),
            (node.store.clone(), staging.clone()),
            node.config.node.cluster_id.clone(),
            (limits.clone(), Arc::clone(&node.config.media.presets)),
            node.seams.clone(),
            Arc::new(Log {
                sender: name.to_owned(),
            }),
            shutdown.child(),
        );
        if let Some(peer) = configured {
            pull.narrow_to(&peer.filter).await?;
        }
        pull.others = other_peers(node, name).await?;
        pull.is_owner = node.sidecar().is_none();
        // Nothing of what it hands over waits for a removal of its own: those come with each page.
        pull.removals_done();
        let pull = Arc::new(pull);
        Ok(Self {
            turn: tokio::sync::Mutex::default(),
            config: Arc::clone(&node.config),
            max_delete: configured
                .and_then(|peer| peer.max_delete)
                .or(limits.max_delete),
            is_peer: configured.is_some(),
            publisher: Standing::begin(&pull),
            pull,
        })
    }

    /// Whether it takes nothing any more.
    pub(super) fn has_ended(&self) -> bool {
        self.pull.stop.requested()
    }

    /// Whether it was begun by the configuration that this node has.
    pub(super) fn goes_by(&self, node: &Node) -> bool {
        Arc::ptr_eq(&self.config, &node.config)
    }

    /// The way to its publisher.
    pub(super) fn items(&self) -> Result<mpsc::Sender<Item>, Error> {
        self.publisher.items().ok_or(Error::Closed)
    }

    /// Notes which node it is, where it says so. One that is configured as a peer has to be that peer.
    pub(super) async fn check(&self, head: &PageHead) -> Result<(), Error> {
        let Some(hello) = &head.hello else {
            return Ok(());
        };
        let (name, said) = (self.pull.peer.name(), &hello.node);
        if *said == self.pull.own {
            return Err(Error::Ourselves {
                sender: name.to_owned(),
                id: said.clone(),
            });
        }
        let known = self.pull.catalogue.peer_node(name).await?;
        if self.is_peer {
            let pinned = known.as_ref().map(|node| &node.cluster_id);
            let expected = self.pull.peer.cluster_id().or(pinned);
            if let Some(expected) = expected.filter(|expected| *expected != said) {
                return Err(Error::WrongNode {
                    sender: name.to_owned(),
                    expected: expected.clone(),
                    said: said.clone(),
                });
            }
        }
        let node = PeerNode {
            cluster_id: said.clone(),
            version: hello.version.clone(),
        };
        if known.as_ref() != Some(&node) {
            let now = self.pull.seams.clock.now();
            self.pull.catalogue.put_peer_node(name, &node, now).await?;
        }
        Ok(())
    }

    /// Applies the deletes and removals that wait, under the guard.
    pub(super) async fn delete(&self, turn: &mut Turn) -> Result<(), Error> {
        let pull = &self.pull;
        let now = pull.seams.clock.now();
        if turn.last.is_none_or(|last| now.since(last) >= ONE_RUN) {
            *turn = Turn {
                live_before: pull.catalogue.live_assets().await?,
                ..Turn::default()
            };
        }
        turn.last = Some(now);
        let limit = guard::limit(turn.live_before, self.max_delete);
        let limit = limit.saturating_sub(turn.deleted);
        let applied = self.deletes().apply(limit, &pull.stop).await?;
        turn.deleted += applied.deleted;
        if applied.held > 0 {
            pull.monitor.finding(&format!(
                "{} deletes are held, more than the {limit} that are let go at a time; `emsync receive apply {} --max-delete {}` lets them go",
                applied.held,
                pull.peer.name(),
                applied.held
            ));
        }
        Ok(())
    }

    /// Takes away the former files of an asset that stayed until its original was here under its new name, as it now is.
    pub(super) async fn take_away(&self, asset: &AssetId) -> Result<(), Error> {
        let pull = &self.pull;
        let (peer, now) = (pull.peer.name(), pull.seams.clock.now());
        if pull.catalogue.hurry_removals(peer, asset, now).await? > 0 {
            let _turn = self.turn.lock().await;
            let mut applied = Applied::default();
            self.deletes().take_away(&mut applied, &pull.stop).await?;
        }
        Ok(())
    }

    fn deletes(&self) -> Deletes<'_> {
        let pull = &self.pull;
        Deletes {
            peer: pull.peer.name(),
            own: &pull.own,
            catalogue: &pull.catalogue,
            store: &pull.store,
            seams: &pull.seams,
            monitor: &*pull.monitor,
            is_owner: pull.is_owner,
            master: None,
        }
    }

    /// Ends the publisher once it has published what it was given.
    pub(super) async fn close(&self) -> Result<(), pull::Error> {
        self.publisher.close().await
    }
}

/// What happens to what is handed over goes to the log.
struct Log {
    sender: String,
}

impl Monitor for Log {
    fn phase(&self, _: Phase) {}
    fn expect(&self, _: Counter, _: u64) {}
    fn advance(&self, _: Counter, _: u64) {}

    fn finding(&self, text: &str) {
        tracing::warn!(sender = self.sender, "{text}");
    }
}
