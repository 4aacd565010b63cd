//! What a peer's filter leaves out: counted, and what of it is here moved to the trash where a person says so. A sync never does:
//! narrowing a filter takes nothing away by itself (I4).

use super::{Amount, Error};
use crate::catalogue::{Catalogue, FileRow};
use crate::config::{self, Generated};
use crate::crash::{self, Point};
use crate::model::{Asset, FileKind, Module, NodeId, RecordKey, Selection, Timestamp};
use crate::monitor::Monitor;
use crate::node::Node;
use crate::protocol;
use crate::pull::{self, Policy, alike};
use crate::reconcile::deletes::{Applied, Deletes};
use crate::shutdown::Shutdown;

/// Records read at a time.
const PAGE: usize = 500;

/// What a filter leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Outside {
    /// Assets of the peer whose files are not wanted.
    pub assets: u64,
    /// Files of theirs that are here all the same, such as from before the filter; they stay until they are pruned.
    pub held: Amount,
    /// Those of them that another peer brings, so that they stay in any case.
    pub wanted_elsewhere: Amount,
}

/// One peer, as far as it decides which files are wanted.
struct Wanting {
    selection: Selection,
    originals: bool,
    generated: Generated,
}

impl Wanting {
    async fn of(catalogue: &Catalogue, peer: &config::Peer) -> Result<Self, Error> {
        Ok(Self {
            selection: catalogue.select(&peer.filter).await?,
            originals: peer.pull_originals,
            generated: peer.generated,
        })
    }

    /// Whether its filter leaves this file of the asset out.
    fn leaves_out(&self, asset: &Asset, kind: FileKind, now: Timestamp) -> bool {
        let is_free = kind == FileKind::Generated && self.selection.filter.all_renditions;
        !is_free && !self.selection.keeps(asset, now)
    }

    /// Whether it brings this file of the asset.
    fn brings(&self, asset: &Asset, kind: FileKind, now: Timestamp) -> bool {
        let is_on = match kind {
            FileKind::Original => self.originals,
            FileKind::Generated => self.generated != Generated::Off,
        };
        is_on && !self.leaves_out(asset, kind, now)
    }
}

/// A walk over the assets that came from a peer.
struct Walk<'a> {
    catalogue: &'a Catalogue,
    own: &'a NodeId,
    peer: &'a str,
    this: Wanting,
    others: Vec<Wanting>,
    now: Timestamp,
    after: Option<RecordKey>,
}

impl<'a> Walk<'a> {
    async fn begin(
        catalogue: &'a Catalogue,
        node: &'a Node,
        settings: &'a config::Peer,
    ) -> Result<Self, Error> {
        let mut others = Vec::new();
        for other in node.config.enabled_peers() {
            if other.name != settings.name {
                others.push(Wanting::of(catalogue, other).await?);
            }
        }
        Ok(Self {
            catalogue,
            own: &node.config.node.cluster_id,
            peer: &settings.name,
            this: Wanting::of(catalogue, settings).await?,
            others,
            now: node.seams.clock.now(),
            after: None,
        })
    }

    /// The next files that are left out and that no other peer brings; `None` at the end.
    async fn next(&mut self, outside: &mut Outside) -> Result<Option<Vec<FileRow>>, Error> {
        let module = Module::new(Module::ASSET).expect("the name of a table");
        let page = (self.catalogue)
            .records_after(Some(&module), self.after.as_ref(), PAGE)
            .await?;
        let Some(last) = page.last() else {
            return Ok(None);
        };
        self.after = Some(last.record.key.clone());
        let is_theirs = |stored: &&crate::catalogue::StoredRecord| {
            let status = stored.record.status.as_ref();
            stored.origin == self.peer
                && !stored.record.is_deleted()
                && status.is_none_or(|status| status.master != *self.own)
        };
        let assets = page.iter().filter(is_theirs);
        let assets = assets.filter_map(|stored| protocol::record::asset(&stored.record).ok());
        let assets: Vec<Asset> = assets
            .filter(|asset| !self.this.selection.keeps(asset, self.now))
            .collect();
        outside.assets += assets.len() as u64;
        let ids: Vec<&str> = assets.iter().map(|asset| asset.id.as_str()).collect();
        let mut files = Vec::new();
        for row in self.catalogue.files_of(&ids).await? {
            let Some(asset) = assets.iter().find(|asset| asset.id == row.file.asset) else {
                continue;
            };
            let kind = row.file.kind;
            if !self.this.leaves_out(asset, kind, self.now) {
                continue;
            }
            outside.held.add(row.file.size);
            let mut others = self.others.iter();
            if others.any(|other| other.brings(asset, kind, self.now)) {
                outside.wanted_elsewhere.add(row.file.size);
            } else {
                files.push(row);
            }
        }
        Ok(Some(files))
    }
}

/// Counts what a peer's filter leaves out, by a catalogue that may be a copy of the node's own.
pub(super) async fn count(
    catalogue: &Catalogue,
    node: &Node,
    settings: &config::Peer,
) -> Result<Outside, Error> {
    let mut outside = Outside::default();
    if settings.filter.is_empty() {
        return Ok(outside);
    }
    let mut walk = Walk::begin(catalogue, node, settings).await?;
    while walk.next(&mut outside).await?.is_some() {}
    Ok(outside)
}

/// What a peer's filter leaves out of what is here.
///
/// # Errors
/// The catalogue's.
pub async fn outside(node: &Node, settings: &config::Peer) -> Result<Outside, Error> {
    known(node, settings).await?;
    count(&node.catalogue, node, settings).await
}

/// Moves the files that a peer's filter leaves out to the trash; their records stay. Whatever another enabled peer brings stays,
/// too. For each page of records rows go first, then bytes; a kill leaves the rest to the next sync or prune, which begins with what
/// has no row any more.
///
/// # Errors
/// [`pull::Error::UnknownNames`] when the filter names what is not known; the catalogue's and the store's.
pub async fn prune(
    node: &Node,
    settings: &config::Peer,
    monitor: &dyn Monitor,
    shutdown: &Shutdown,
) -> Result<Outside, Error> {
    known(node, settings).await?;
    let mut outside = Outside::default();
    let own = node.own_towards(settings);
    let deletes = Deletes {
        peer: &settings.name,
        own: &own,
        catalogue: &node.catalogue,
        store: &node.store,
        seams: &node.seams,
        monitor,
        is_owner: node.sidecar().is_none(),
        master: None,
    };
    let mut applied = Applied::default();
    deletes.finish(&mut applied, shutdown).await?;
    if settings.filter.is_empty() {
        return Ok(outside);
    }
    let mut walk = Walk::begin(&node.catalogue, node, settings).await?;
    let policy = Policy {
        originals: settings.pull_originals,
        generated: settings.generated,
    };
    alike::give_up_all_but(
        &node.catalogue,
        &settings.name,
        policy,
        &walk.this.selection,
    )
    .await?;
    while let Some(files) = walk.next(&mut outside).await? {
        deletes.give_up(&files, &mut applied, shutdown).await?;
        crash::point(Point::PrunedPage)?;
        if shutdown.requested() {
            return Err(pull::Error::Cancelled.into());
        }
    }
    Ok(outside)
}

/// A name that nothing bears leaves everything out, which nobody can mean.
async fn known(node: &Node, settings: &config::Peer) -> Result<(), Error> {
    let unknown = node.catalogue.select(&settings.filter).await?.unknown;
    if unknown.is_empty() {
        return Ok(());
    }
    Err(pull::Error::UnknownNames {
        peer: settings.name.clone(),
        names: unknown.join(", "),
    }
    .into())
}
