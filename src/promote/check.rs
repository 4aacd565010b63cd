//! Is this node fit to take the place of a peer? Everything that would be lost or missing, found without asking anybody: the peer
//! may be gone for ever.

use std::collections::HashSet;
use std::time::Duration;

use super::{Error, cluster_id};
use crate::config::{self, Generated};
use crate::model::{Module, RecordKey};
use crate::node::Node;
use crate::node::doctor::{Check, State, examine};
use crate::protocol;
use crate::protocol::lenient::parse_date;
use crate::status::{self, PeerStatus, Status};
use crate::text;

/// Records read at a time.
const PAGE: usize = 500;
/// Gaps that are named one by one.
const NAMED: usize = 1_000;
/// How old a proof may be.
const FRESH: Duration = Duration::from_secs(24 * 3_600);

/// An original that a record states and that is not here.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Gap {
    /// The asset.
    pub asset: String,
    /// Its original, below `originals/`.
    pub path: String,
}

/// How fit a node is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fitness {
    /// Whether nothing speaks against it.
    pub fit: bool,
    /// What was looked at.
    pub checks: Vec<Check>,
    /// Originals that are missing, in all.
    pub gaps_total: u64,
    /// The first thousand of them.
    pub gaps: Vec<Gap>,
}

/// Looks at everything that a promotion over this peer would have to live with.
///
/// # Errors
/// [`Error`].
pub async fn fitness(node: &Node, settings: &config::Peer) -> Result<Fitness, Error> {
    cluster_id(node, settings).await?;
    let status = status::gather(node).await?;
    let mut checks = Vec::new();
    if let Some(peer) = (status.peers.iter()).find(|peer| peer.name == settings.name) {
        checks.push(compared(node, peer));
        checks.push(pulled(node, peer));
        checks.push(queue(peer));
        checks.push(set_aside(peer));
    }
    checks.push(layers(settings));
    let (gaps_total, gaps) = gaps(node, settings).await?;
    checks.push(match gaps_total {
        0 => Check::ok("originals", "every original that a record states is here"),
        some => Check::not_ok(
            "originals",
            State::Failed,
            format!("{some} originals that records state are not here"),
            "`emsync seed` while the peer still answers; `--json` names them",
        ),
    });
    checks.push(damage(&status));
    checks.push(room(node.catalogue.evicted().await?));
    checks.push(conflicts(&status));
    checks.push(reachable(node));
    let disk = examine(&node.config, &node.seams, false).await;
    let of_disk = ["marker", "space", "snapshots", "schema"];
    checks.extend((disk.into_iter()).filter(|check| of_disk.contains(&check.name)));
    let fit = checks.iter().all(|check| check.state < State::Failed);
    Ok(Fitness {
        fit,
        checks,
        gaps_total,
        gaps,
    })
}

fn compared(node: &Node, peer: &PeerStatus) -> Check {
    let name = "comparison";
    let Some(as_of) = &peer.as_of else {
        return Check::not_ok(
            name,
            State::Failed,
            "never compared",
            "`emsync verify PEER` while the peer still answers",
        );
    };
    let age = parse_date(as_of).map(|at| node.seams.clock.now().since(at));
    let hours = age.map_or_else(|| "?".to_owned(), |age| (age.as_secs() / 3_600).to_string());
    let when = format!("as of {as_of}, {hours} h ago");
    match peer.in_sync {
        Some(true) if age.is_some_and(|age| age <= FRESH) => {
            Check::ok(name, format!("equal in every layer {when}"))
        }
        Some(true) => Check::not_ok(
            name,
            State::Warning,
            format!("equal in every layer {when}"),
            "`emsync verify PEER` gives a younger proof",
        ),
        None => Check::not_ok(
            name,
            State::Warning,
            format!("things changed here since the comparison {when}"),
            "`emsync verify PEER` says how it stands now",
        ),
        // What was left out is said by `layers`.
        Some(false) if peer.equal_in_part => Check::not_ok(
            name,
            State::Warning,
            format!("equal in what was compared, which is not everything, {when}"),
            "`emsync verify PEER --full-listing` once filters and switched-off layers are gone",
        ),
        Some(false) => Check::not_ok(
            name,
            State::Failed,
            format!("not equal {when}"),
            "`emsync sync PEER`, then `emsync verify PEER`",
        ),
    }
}

fn pulled(node: &Node, peer: &PeerStatus) -> Check {
    let name = "metadata";
    let Some(until) = &peer.watermark else {
        return Check::not_ok(
            name,
            State::Failed,
            "no listing of this peer was ever taken to its end",
            "`emsync seed PEER` while the peer still answers",
        );
    };
    let age = parse_date(until).map(|at| node.seams.clock.now().since(at));
    match age.filter(|age| *age <= FRESH) {
        Some(_) => Check::ok(name, format!("its changes up to {until} are here")),
        None => Check::not_ok(
            name,
            State::Warning,
            format!("its changes up to {until} are here, and none after it"),
            "`emsync sync PEER` while the peer still answers",
        ),
    }
}

fn queue(peer: &PeerStatus) -> Check {
    match (peer.jobs.open, peer.to_send.open) {
        (0, 0) => Check::ok("queue", "nothing waits"),
        (0, send) => Check::not_ok(
            "queue",
            State::Warning,
            format!("{send} of our own changes were not sent; they stay ours"),
            "nothing has to be done",
        ),
        (open, _) => Check::not_ok(
            "queue",
            State::Failed,
            format!("{open} jobs wait, {} bytes", peer.jobs.open_bytes),
            "`emsync sync PEER` ends them while the peer still answers",
        ),
    }
}

fn set_aside(peer: &PeerStatus) -> Check {
    let jobs = &peer.jobs;
    if jobs.quarantined == 0 && jobs.held == 0 {
        return Check::ok("set aside", "nothing, and no delete is held");
    }
    let state = match jobs.quarantined {
        0 => State::Warning,
        _ => State::Failed,
    };
    Check::not_ok(
        "set aside",
        state,
        format!(
            "{} items are set aside, {} deletes are held",
            jobs.quarantined, jobs.held
        ),
        "`emsync quarantine list` has the reasons; `emsync sync PEER --max-delete N` lets deletes go",
    )
}

fn layers(settings: &config::Peer) -> Check {
    let mut missing = Vec::new();
    if !settings.pull_originals {
        missing.push("pull_originals is off".to_owned());
    }
    if settings.generated == Generated::Off {
        missing.push("generated files are off".to_owned());
    }
    if !settings.filter.is_empty() {
        missing.push(format!("a filter leaves files out: {}", settings.filter));
    }
    match missing.is_empty() {
        true => Check::ok(
            "layers",
            "originals and generated files of all assets are pulled",
        ),
        false => Check::not_ok(
            "layers",
            State::Failed,
            missing.join("; "),
            "take that back in emsync.toml and sync, or promote a node that holds everything",
        ),
    }
}

fn damage(status: &Status) -> Check {
    match status.damaged {
        0 => Check::ok("damage", "no file is known to differ from its row"),
        some => Check::not_ok(
            "damage",
            State::Failed,
            format!("{some} files are not on disk as the catalogue says"),
            "`emsync sync PEER` fetches them again while the peer still answers",
        ),
    }
}

/// What went to make room is at its peer alone, and nowhere once that is gone.
fn room((files, bytes): (u64, u64)) -> Check {
    match files {
        0 => Check::ok("room", "no file went to make room"),
        some => Check::not_ok(
            "room",
            State::Failed,
            format!(
                "{some} files ({}) went to make room and are at the peer alone",
                text::bytes(bytes)
            ),
            "take serve.max_cache away, then `emsync fetch PEER --all` while the peer still answers",
        ),
    }
}

fn conflicts(status: &Status) -> Check {
    match status.conflicts {
        0 => Check::ok("conflicts", "none is kept"),
        some => Check::not_ok(
            "conflicts",
            State::Warning,
            format!("{some} are kept"),
            "`emsync conflicts list` before the one who could settle them is gone",
        ),
    }
}

fn reachable(node: &Node) -> Check {
    let listen = node.config.serve.listen;
    match listen.ip().is_loopback() {
        false => Check::ok("address", format!("serves at {listen}")),
        true => Check::not_ok(
            "address",
            State::Warning,
            format!("serves at {listen}, to this machine alone"),
            "set serve.listen, or put a proxy in front, before others are to pull from here",
        ),
    }
}

/// The originals that records of this peer's master state and that are not here.
async fn gaps(node: &Node, settings: &config::Peer) -> Result<(u64, Vec<Gap>), Error> {
    let former = cluster_id(node, settings).await?;
    let module = Module::new(Module::ASSET).expect("the name of a table");
    let (mut total, mut named, mut after) = (0, Vec::new(), None::<RecordKey>);
    loop {
        let page = (node.catalogue)
            .records_after(Some(&module), after.as_ref(), PAGE)
            .await?;
        let Some(last) = page.last() else {
            return Ok((total, named));
        };
        after = Some(last.record.key.clone());
        let theirs = page.iter().filter(|stored| {
            let status = stored.record.status.as_ref();
            !stored.record.is_deleted() && status.is_some_and(|status| status.master == former)
        });
        let assets = theirs.filter_map(|stored| protocol::record::asset(&stored.record).ok());
        let stated: Vec<_> = assets
            .filter_map(|asset| Some((asset.stated_original()?, asset)))
            .collect();
        let ids: Vec<&str> = stated.iter().map(|(_, asset)| asset.id.as_str()).collect();
        let here = node.catalogue.files_of(&ids).await?;
        let here: HashSet<(&str, &str)> = here
            .iter()
            .map(|row| (row.file.asset.as_str(), row.file.path.as_str()))
            .collect();
        for (file, asset) in &stated {
            if here.contains(&(asset.id.as_str(), file.path.as_str())) {
                continue;
            }
            // Two records of one file have it once.
            let path = file.path.as_str();
            if !(node.catalogue.files_at(file.kind, &[path]).await?).is_empty() {
                continue;
            }
            total += 1;
            if named.len() < NAMED {
                named.push(Gap {
                    asset: asset.id.to_string(),
                    path: file.path.to_string(),
                });
            }
        }
    }
}
