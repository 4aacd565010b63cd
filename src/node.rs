//! This node, opened: its configuration, catalogue and media, and the locks that keep two of one activity apart.
//!
//! `snapshots` keeps copies of the catalogue beside the media, `backup` makes one wherever a person wants it, `doctor`
//! looks the node over, `advice` its configuration, `rebuild` makes a lost catalogue again, `renewed` is a
//! node whose settings changed while it runs.

pub mod advice;
pub mod backup;
pub mod doctor;
mod locks;
pub mod rebuild;
mod renewed;
pub mod snapshots;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use locks::{Held, Lock, held};

use crate::adapters::Adapters;
use crate::catalogue::{self, Catalogue, Found};
use crate::config::{self, Config, Names};
use crate::error::Class;
use crate::model::NodeId;
use crate::model::preset::PresetTable;
use crate::seams::Seams;
use crate::shutdown::Shutdown;
use crate::store::{self, RealSys, Store, Sys};
use crate::throttle::{AtOnce, Throttle};

/// What can go wrong while a node is opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory of ours cannot be made or used.
    #[error("state directory {path:?} cannot be used")]
    State {
        /// The directory or file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Somebody else does the same on this node right now.
    #[error(
        "{activity} is already running on this node ({holder} holds the lock {path:?}): wait until it ends, or end it with SIGTERM, which keeps what it has, and run this again"
    )]
    Busy {
        /// What is running.
        activity: String,
        /// Who does it, as far as is known.
        holder: String,
        /// The file that is locked.
        path: PathBuf,
        /// Whether it is held for a moment only.
        is_brief: bool,
    },
    /// The schema has to change and the way back could not be secured.
    #[error(
        "the catalogue's schema has to be brought up to date, and it could not be copied before; nothing was changed"
    )]
    Unsaved {
        /// Why.
        source: snapshots::SnapshotError,
    },
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] catalogue::Error),
    /// The media store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    /// Whether it is worth trying again.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Busy { .. } => Class::Transient,
            Self::State { .. } | Self::Unsaved { .. } => Class::Permanent,
            Self::Catalogue(error) => error.class(),
            Self::Store(error) => error.class(),
        }
    }
}

/// An opened node.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its configuration.
    pub config: Arc<Config>,
    /// Its catalogue.
    pub catalogue: Catalogue,
    /// Its media.
    pub store: Store,
    /// Programs that read formats for it, as they were found when it was opened.
    pub adapters: Adapters,
    /// Time and chance.
    pub seams: Seams,
    /// How fast it may send, fetch and ask.
    pub throttle: Throttle,
    /// How much of its work may go on at once.
    pub at_once: AtOnce,
}

impl Node {
    /// The EMDB beside this node, if there is one.
    #[must_use]
    pub fn sidecar(&self) -> Option<&config::Peer> {
        self.config.peers.iter().find(|peer| peer.sidecar)
    }

    /// Who this node is towards a peer. To the EMDB beside it, whose cluster id it bears, it is nobody: all that bears that id is that
    /// EMDB's, so that nothing of it is taken for an edit made here.
    #[must_use]
    pub fn own_towards(&self, peer: &config::Peer) -> NodeId {
        let own = &self.config.node.cluster_id;
        if peer.sidecar {
            NodeId::new(format!("{own}, beside it")).expect("it is not blank")
        } else {
            own.clone()
        }
    }

    /// Makes what a new node needs beside its configuration: state, media root and marker. Running it again harms nothing.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn init(config: &Config) -> Result<(), Error> {
        make_state(&config.state)?;
        Store::init(
            &config.media.root,
            &config.node.catalog,
            &config.node.cluster_id,
        )?;
        let catalogue = Catalogue::open(&database(config)).await?;
        catalogue.belong_to(&config.node.cluster_id).await?;
        catalogue.close().await;
        Ok(())
    }

    /// Opens a node that [`init`](Self::init) made.
    ///
    /// # Errors
    /// [`Error`]; a missing marker means that the media volume is not mounted. A catalogue that is gone is an error, too: an
    /// empty one in its place would say that everything was deleted.
    pub async fn open(config: Config, seams: Seams) -> Result<Self, Error> {
        Self::open_with(config, seams, Arc::new(RealSys)).await
    }

    /// The same, with the store's changing system calls handed in: how tests let a disk fail.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(
        mut config: Config,
        seams: Seams,
        sys: Arc<dyn Sys>,
    ) -> Result<Self, Error> {
        let mut store = Store::open(&config.media.root, &config.node.catalog, sys)?;
        if config.media.names == Names::Portable {
            store = store.portable();
        }
        make_state(&config.state)?;
        let found = Found::open(&database(&config)).await?;
        if let Some(version) = found.behind().await? {
            snapshots::before_migration(&config, &found, (&store, &seams), version).await?;
        }
        let catalogue = found.migrate().await?;
        if store.node() != config.node.cluster_id.as_str() {
            tracing::warn!(
                "{} was made for the node {}, and this is {}: is the right volume mounted? check media.root and node.cluster_id",
                config.media.root.display(),
                store.node(),
                config.node.cluster_id
            );
        }
        if let Err(error) = catalogue.belong_to(&config.node.cluster_id).await {
            // Only a copy is the worse for it.
            tracing::debug!(%error, "whose catalogue this is was not noted");
        }
        let adapters = look_for_programs(&mut config);
        Ok(Self {
            adapters,
            throttle: Throttle::new(&config.limits, seams.clock.clone()),
            at_once: AtOnce::of(&config),
            config: Arc::new(config),
            catalogue,
            store,
            seams,
        })
    }

    /// Opens a node for looking only: nothing of it is made, migrated or written, and a write to its catalogue fails.
    ///
    /// # Errors
    /// [`Error`]; as [`open`](Self::open), and when the catalogue is not of the present schema.
    pub async fn open_read_only(mut config: Config, seams: Seams) -> Result<Self, Error> {
        let store = Store::open(&config.media.root, &config.node.catalog, Arc::new(RealSys))?;
        let catalogue = Catalogue::open_read_only(&database(&config)).await?;
        let adapters = look_for_programs(&mut config);
        Ok(Self {
            adapters,
            throttle: Throttle::new(&config.limits, seams.clock.clone()),
            at_once: AtOnce::of(&config),
            config: Arc::new(config),
            catalogue,
            store,
            seams,
        })
    }

    /// The same for a moment, in which others wait for it; see [`turn`](Self::turn).
    ///
    /// # Errors
    /// [`Error::Busy`] when somebody has it.
    pub fn lock_for_a_moment(&self, activity: &str) -> Result<Lock, Error> {
        Lock::take_for_a_moment(&self.config.state, activity)
    }

    /// Takes the lock of an activity for a moment, in which others wait for it, and waits for such others itself.
    ///
    /// # Errors
    /// [`Error::Busy`] when somebody has it for longer.
    pub async fn turn_for_a_moment(&self, activity: &str, stop: &Shutdown) -> Result<Lock, Error> {
        in_turn(|| self.lock_for_a_moment(activity), stop).await
    }

    /// Takes the lock of an activity as [`lock`](Self::lock) does, but waits while it is held for a moment.
    ///
    /// # Errors
    /// [`Error::Busy`] when somebody has it for longer.
    pub async fn turn(&self, activity: &str, stop: &Shutdown) -> Result<Lock, Error> {
        in_turn(|| self.lock(activity), stop).await
    }

    /// Activities that write files of the media, by their locks: the import, and runs over every peer and every sender that there
    /// is or was.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn writers(&self) -> Result<Vec<String>, Error> {
        let known = locks::known(&self.config.state)?.into_iter();
        let mut writers: std::collections::BTreeSet<String> =
            known.filter(|name| name.starts_with("run-")).collect();
        writers.extend(
            self.config
                .peers
                .iter()
                .map(|peer| format!("run-{}", peer.name)),
        );
        writers.insert("import".to_owned());
        Ok(writers.into_iter().collect())
    }

    /// Takes the lock of an activity, such as `run-master` or `serve`. It is held until it is dropped, or the process dies.
    ///
    /// # Errors
    /// [`Error::Busy`] when somebody has it.
    pub fn lock(&self, activity: &str) -> Result<Lock, Error> {
        Lock::take(&self.config.state, activity)
    }
}

/// The programs that are here, whose formats the presets then apply to.
fn look_for_programs(config: &mut Config) -> Adapters {
    let adapters = Adapters::find(&config.adapters);
    fit(config, &adapters);
    adapters
}

/// Makes a configuration fit this machine and the programs that are here.
fn fit(config: &mut Config, adapters: &Adapters) {
    let batch = &mut config.limits.publish_batch;
    *batch = (*batch).min(store::largest_batch());
    let presets = &mut config.media.presets;
    *presets = Arc::new(PresetTable::clone(presets).with_programs_for(adapters.formats()));
}

/// Takes a lock, waiting while it is held for a moment.
async fn in_turn(take: impl Fn() -> Result<Lock, Error>, stop: &Shutdown) -> Result<Lock, Error> {
    const POLL: std::time::Duration = std::time::Duration::from_millis(20);
    loop {
        match take() {
            Err(Error::Busy { is_brief: true, .. }) if !stop.requested() => {
                tokio::select! {
                    () = tokio::time::sleep(POLL) => {}
                    () = stop.wait() => {}
                }
            }
            taken => return taken,
        }
    }
}

fn database(config: &Config) -> PathBuf {
    config.state.join("emsync.db")
}

fn make_state(state: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(state).map_err(|source| Error::State {
        path: state.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn a_lock_that_is_held_for_a_moment_is_waited_for_and_any_other_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (stop, tries) = (Shutdown::new(), Cell::new(0));
        let briefly = Cell::new(Some(Lock::take_for_a_moment(dir.path(), "import").unwrap()));
        let taken = in_turn(
            || {
                tries.set(tries.get() + 1);
                let taken = Lock::take(dir.path(), "import");
                // Given back only once somebody found it taken.
                drop(briefly.take());
                taken
            },
            &stop,
        );
        let held = taken.await.unwrap();
        assert_eq!(tries.get(), 2);
        let refused = in_turn(|| Lock::take(dir.path(), "import"), &stop).await;
        assert!(matches!(
            refused,
            Err(Error::Busy {
                is_brief: false,
                ..
            })
        ));
        drop(held);
        // Who is asked to end does not wait.
        let _briefly = Lock::take_for_a_moment(dir.path(), "import").unwrap();
        stop.request();
        let refused = in_turn(|| Lock::take(dir.path(), "import"), &stop).await;
        assert!(matches!(refused, Err(Error::Busy { is_brief: true, .. })));
    }
}
