//! `emsync.toml`: as written (`file.rs`), as used ([`Config`]), where it is looked for ([`locate`](locate::locate)), how a fresh one
//! looks ([`init`]) and how it is changed without losing a comment ([`edit`]).
//!
//! A [`Config`] is complete: every value is checked and has its default, relative paths start at the file's own folder,
//! spans and sizes have types, keys print as `***`. Everything that is wrong is an [`Error`] with file, line and key that
//! says how to mend it. Loading reads the one file and the preset lists that it names, nothing else; keys are fetched by [`Peer::key`] when they are needed.
//! What the program learns while it runs is not settings and lives in the catalogue.

mod bandwidth;
pub mod edit;
pub mod error;
pub mod event;
mod file;
mod filter;
pub mod init;
pub mod key_file;
pub mod limits;
pub mod locate;
pub mod members;
mod mistakes;
pub mod network;
mod notify;
pub mod peer;
mod presets;
mod read;
mod scrub;
pub mod secret;
mod shown;
mod trash;
pub mod units;
pub mod url;
mod window;
mod write;

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{self as std_path, Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::zeroize::Zeroizing;

pub use bandwidth::{Bandwidth, Rates};
pub use edit::NewPeer;
pub use error::{Error, Place, Problem};
pub use event::{Action, Event, Folder, When};
pub use limits::Limits;
pub use network::Network;
pub use notify::Notify;
pub use peer::{Generated, KeySource, Peer};
pub use scrub::Scrub;
pub use secret::Secret;
pub use shown::{Origin, Setting};
pub use trash::Retention;
pub use units::MaxDelete;
pub use url::BaseUrl;
pub use window::Window;

use crate::model::id::DEFAULT_CLUSTER_ID;
use crate::model::preset::PresetTable;
use crate::model::{CatalogId, Mode, Module, NodeId};

/// Everything a person has decided about this node.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from, absolute.
    pub file: PathBuf,
    /// The file's folder, where relative paths in it start.
    pub dir: PathBuf,
    /// Who we are.
    pub node: Node,
    /// Originals and renditions.
    pub media: Media,
    /// Folder of the catalogue; on a local disk, never inside the media nor around them.
    pub state: PathBuf,
    /// How much of everything.
    pub limits: Limits,
    /// How often everything here is read again.
    pub scrub: Scrub,
    /// How long what is in the trash stays.
    pub retention: Retention,
    /// Our own HTTP side.
    pub serve: Serve,
    /// How others are reached.
    pub network: Network,
    /// The remote nodes, in the order of the file; names are unique.
    pub peers: Vec<Peer>,
    /// What this node does by itself, in the order of the file; names are unique.
    pub events: Vec<Event>,
    /// Whom to tell how they ended.
    pub notify: Notify,
    /// Tables passed on although they could grant rights (design section 8, Tables).
    pub relay_tables: Vec<Module>,
    /// What was decided about programs that read formats for us, by their names in [`ADAPTERS`]; the others are looked for.
    pub adapters: BTreeMap<&'static str, Program>,
}

/// Programs that `[adapters]` may speak of.
pub const ADAPTERS: [&str; 9] = [
    "pdftoppm",
    "ghostscript",
    "rsvg",
    "vips",
    "imagemagick",
    "heif",
    "ffmpeg",
    "soffice",
    "libraw",
];

/// What was decided about a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// It is not used.
    Off,
    /// It lies here.
    At(PathBuf),
}

/// Who we are.
#[derive(Debug, Clone)]
pub struct Node {
    /// What people call this node.
    pub name: String,
    /// What the cluster calls it.
    pub cluster_id: NodeId,
    /// First path element of our addresses: the first element of `catalog`.
    pub site: String,
    /// Our dataset's name.
    pub catalog: CatalogId,
}

/// Originals and renditions.
#[derive(Debug, Clone)]
pub struct Media {
    /// The folder that holds `<catalog>/originals` and `<catalog>/generated`, absolute.
    pub root: PathBuf,
    /// Threads that make renditions; 0 is one for each core.
    pub thumb_threads: usize,
    /// Pictures with more pixels are refused by their header, before anything is decoded.
    pub max_pixels: u64,
    /// Which names files may have on disk.
    pub names: Names,
    /// How renditions treat colours and crops; `None` leaves it to the peers, see [`Config::mode`].
    pub mode: Option<Mode>,
    /// Recipes of generated files.
    pub presets: Arc<PresetTable>,
}

/// Which names files may have on disk; what peers see is always the name a file came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Whatever the file system of the media holds.
    Auto,
    /// Only what Windows, macOS and Linux all hold, no two of which any of them takes for one.
    Portable,
}

impl Media {
    /// Default of `max_pixels`: about 20,000 by 20,000.
    pub const MAX_PIXELS: u64 = 400_000_000;
}

/// Our own HTTP side.
#[derive(Debug, Clone)]
pub struct Serve {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The certificate that it shows; without one it speaks plain HTTP.
    pub tls: Option<Tls>,
    /// A proxy in front of it that is believed who asks, and whether they came by https.
    pub trusted_proxy: Option<IpAddr>,
    /// Whether generated files of assets that nothing restricts are given to anybody.
    pub public_renditions: bool,
    /// How long caches may keep what is given to anybody without asking again.
    pub max_age: Duration,
    /// How much longer they may still use it while they ask.
    pub stale_while_revalidate: Duration,
    /// Whether a file that is not here is fetched when somebody reads it.
    pub pull_through: bool,
    /// Bytes of files of other nodes that are kept here; the least recently read ones go. `None` keeps all.
    pub max_cache: Option<u64>,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the chain, the node's own certificate first.
    pub cert: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
}

impl Serve {
    /// Default of `listen`: this machine only.
    pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7700);
    /// Default of `max_age`: a new crop is everywhere within the hour.
    pub const MAX_AGE: Duration = Duration::from_secs(3_600);
    /// Default of `stale_while_revalidate`: a day, so that nobody waits for the question whether a thumbnail is still right.
    pub const STALE: Duration = Duration::from_secs(86_400);
}

/// Tables that grant things on an EMDB node, the keys for its peers among them (H-48). They leave a node only when
/// `relay_tables` names them.
pub const GRANTING: [&str; 5] = [
    "userprofile",
    "settingsgroup",
    "user",
    "usergroup",
    "editingcluster",
];

impl Config {
    /// Tables that do not leave this node.
    #[must_use]
    pub fn withheld(&self) -> Vec<String> {
        let relayed = |name: &&str| {
            self.relay_tables
                .iter()
                .any(|table| table.as_str() == *name)
        };
        let withheld = GRANTING.into_iter().filter(|name| !relayed(name));
        withheld.map(str::to_owned).collect()
    }

    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// [`Error`] names the file, the line and the key of the first thing that is wrong.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|source| Error::Read {
            file: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Checks the text of a configuration as if it stood in `path`, which need not exist; preset lists that it names must.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let file = std_path::absolute(path).map_err(|source| Error::Read {
            file: path.to_owned(),
            source,
        })?;
        let written = file::Written::parse(text, &file)?;
        Self::resolve(&written, file)
    }

    fn resolve(written: &file::Written, file: PathBuf) -> Result<Self, Error> {
        let dir = file.parent().unwrap_or(Path::new("/")).to_owned();
        let node = Node::resolve(&written.node)?;
        let presets = presets::resolve(written, &dir)?;
        let (media, state) = folders(written, &dir, presets)?;
        let network = Network::resolve(&written.network, &dir)?;
        let peers = peers(&written.peers, &dir, (&node.cluster_id, &network))?;
        let table = |at: &read::At<String>| at.check(|name| Module::new(name.as_str()));
        let limits = Limits::resolve(&written.limits)?;
        Ok(Self {
            media,
            state,
            retention: Retention::resolve(&written.trash, &limits)?,
            limits,
            scrub: Scrub::resolve(&written.scrub)?,
            serve: Serve::resolve(&written.serve, &dir)?,
            notify: Notify::resolve(&written.notify)?,
            events: event::events(&written.events, &peers, &dir)?,
            peers,
            network,
            relay_tables: written
                .relay_tables
                .iter()
                .map(table)
                .collect::<Result<_, _>>()?,
            adapters: adapters(&written.adapters, &dir)?,
            node,
            dir,
            file,
        })
    }

    /// The peer called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownPeer`] with the names there are.
    pub fn peer(&self, name: &str) -> Result<&Peer, Error> {
        self.peers
            .iter()
            .find(|peer| peer.name == name)
            .ok_or_else(|| Error::UnknownPeer {
                file: self.file.clone(),
                name: name.to_owned(),
                known: self.peers.iter().map(|peer| peer.name.clone()).collect(),
            })
    }

    /// The event called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownEvent`] with the names there are.
    pub fn event(&self, name: &str) -> Result<&Event, Error> {
        let found = self.events.iter().find(|event| event.name == name);
        found.ok_or_else(|| Error::UnknownEvent {
            file: self.file.clone(),
            name: name.to_owned(),
            known: self.events.iter().map(|event| event.name.clone()).collect(),
        })
    }

    /// How renditions treat colours and crops: as the file says, else as EMDB does while generated files come from a peer that may
    /// be one, which is said of it by its cluster id (design section 8, Modes of rendition).
    #[must_use]
    pub fn mode(&self) -> Mode {
        let is_emdb = |peer: &Peer| peer.cluster_id.is_some() && peer.generated != Generated::Off;
        let by_peers = if self.enabled_peers().any(is_emdb) {
            Mode::Faithful
        } else {
            Mode::Corrected
        };
        self.media.mode.unwrap_or(by_peers)
    }

    /// The peers of a run that names none.
    pub fn enabled_peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(|peer| peer.enabled)
    }
}

impl Node {
    fn resolve(written: &file::Node) -> Result<Self, Error> {
        let missing = |key: &str, mend| Error::Missing {
            place: written.place.clone(),
            key: key.to_owned(),
            mend,
        };
        let Some(name) = &written.name else {
            let mend = "write name = \"…\" under [node]; `emsync init` makes a whole file";
            return Err(missing("node.name", mend));
        };
        let Some(id) = &written.cluster_id else {
            let mend = "`emsync init` makes one; beside an EMDB use its setting cluster.name";
            return Err(missing("node.cluster_id", mend));
        };
        let catalog = match &written.catalog {
            None => default_catalog(),
            Some(at) => at.check(|text| CatalogId::new(text.as_str()))?,
        };
        Ok(Self {
            name: name.check(|text| node_name(text))?,
            cluster_id: id.check(|text| own_cluster_id(text))?,
            site: site_of(&catalog),
            catalog,
        })
    }
}

impl Serve {
    fn resolve(written: &file::Serve, dir: &Path) -> Result<Self, Error> {
        let listen = match &written.listen {
            None => Self::LISTEN,
            Some(at) => at.check(|text| text.parse().map_err(|_| Problem::Listen(text.clone())))?,
        };
        let file = |at: &read::At<String>| at.check(|text| path(text, dir));
        let tls = match (&written.tls_cert, &written.tls_key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(Tls {
                cert: file(cert)?,
                key: file(key)?,
            }),
            (Some(at), None) => return Err(at.wrong(Problem::HalfTls("tls_key"))),
            (None, Some(at)) => return Err(at.wrong(Problem::HalfTls("tls_cert"))),
        };
        let proxy = |at: &read::At<String>| {
            at.check(|text| {
                text.parse()
                    .map_err(|_| Problem::ProxyAddress(text.clone()))
            })
        };
        let flag = |at: &Option<read::At<bool>>| at.as_ref().is_some_and(|at| at.value);
        let most = Duration::from_secs(366 * 86_400);
        let span = |at, default| limits::span(at, default, Duration::ZERO, most);
        let pull_through = flag(&written.pull_through);
        let max_cache = match &written.max_cache {
            None => None,
            Some(at) => match at.check(|text| units::size(text))? {
                0 => None,
                _ if !pull_through => return Err(at.wrong(Problem::CacheWithoutPullThrough)),
                most => Some(most),
            },
        };
        Ok(Self {
            listen,
            tls,
            trusted_proxy: written.trusted_proxy.as_ref().map(proxy).transpose()?,
            public_renditions: flag(&written.public_renditions),
            max_age: span(&written.max_age, Self::MAX_AGE)?,
            stale_while_revalidate: span(&written.stale_while_revalidate, Self::STALE)?,
            pull_through,
            max_cache,
        })
    }
}

/// `assets/catalog`, whatever the node's name (design section 8, Identity).
fn default_catalog() -> CatalogId {
    CatalogId::new("assets/catalog").expect("two plain elements")
}

fn site_of(catalog: &CatalogId) -> String {
    let first = catalog.as_str().split('/').next();
    first.unwrap_or_default().to_owned()
}

fn node_name(text: &str) -> Result<String, Problem> {
    if text.trim().is_empty() {
        return Err(Problem::Empty);
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::Control);
    }
    Ok(text.trim().to_owned())
}

fn own_cluster_id(text: &str) -> Result<NodeId, Problem> {
    cluster_id(
        text,
        "use the one `emsync init` makes; beside an EMDB, set a cluster.name there and write it here",
    )
}

/// A cluster id that is nobody's default and fits a header and a line.
fn cluster_id(text: &str, mend: &'static str) -> Result<NodeId, Problem> {
    let text = text.trim();
    if text == DEFAULT_CLUSTER_ID {
        return Err(Problem::DefaultClusterId { mend });
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::Control);
    }
    Ok(NodeId::new(text)?)
}

/// A path as written, from `dir` on when it is relative.
fn path(text: &str, dir: &Path) -> Result<PathBuf, Problem> {
    if text.trim().is_empty() {
        return Err(Problem::Empty);
    }
    if text.contains('\0') {
        return Err(Problem::Control);
    }
    if text == "~" || text.starts_with("~/") {
        return Err(Problem::Tilde(text.to_owned()));
    }
    // Rebuilt from its components, so that `./media/` and `media` are the same path.
    Ok(dir.join(text).components().collect())
}

fn adapters(
    written: &[(&'static str, read::At<String>)],
    dir: &Path,
) -> Result<BTreeMap<&'static str, Program>, Error> {
    let decided = |at: &read::At<String>| {
        at.check(|text| match text.as_str() {
            "" => Ok(Program::Off),
            text => path(text, dir).map(Program::At),
        })
    };
    let chosen = written.iter();
    chosen.map(|(name, at)| Ok((*name, decided(at)?))).collect()
}

fn folders(
    written: &file::Written,
    dir: &Path,
    presets: Arc<PresetTable>,
) -> Result<(Media, PathBuf), Error> {
    let folder = |at: &Option<read::At<String>>, default: &str| {
        at.as_ref()
            .map_or(Ok(dir.join(default)), |at| at.check(|text| path(text, dir)))
    };
    let root = folder(&written.media.root, "media")?;
    let state = folder(&written.state, "state")?;
    let (plain_root, plain_state) = (plain(&root), plain(&state));
    if plain_root.starts_with(&plain_state) || plain_state.starts_with(&plain_root) {
        let problem = Problem::Overlap { media: root, state };
        return Err(match (&written.state, &written.media.root) {
            (Some(at), _) | (None, Some(at)) => at.wrong(problem),
            (None, None) => unreachable!("the defaults lie side by side"),
        });
    }
    let media = Media {
        root,
        thumb_threads: limits::whole(&written.media.thumb_threads, 0, 0, 1024)?,
        max_pixels: limits::whole(
            &written.media.max_pixels,
            Media::MAX_PIXELS,
            1,
            1_000_000_000_000,
        )?,
        names: names(&written.media.names)?,
        mode: mode(&written.media.mode)?,
        presets,
    };
    Ok((media, state))
}

fn names(written: &Option<read::At<String>>) -> Result<Names, Error> {
    let Some(at) = written else {
        return Ok(Names::Auto);
    };
    at.check(|text| match text.as_str() {
        "auto" => Ok(Names::Auto),
        "portable" => Ok(Names::Portable),
        other => Err(Problem::Choice {
            value: other.to_owned(),
            allowed: "auto and portable",
        }),
    })
}

fn mode(written: &Option<read::At<String>>) -> Result<Option<Mode>, Error> {
    let Some(at) = written else {
        return Ok(None);
    };
    at.check(|text| match text.as_str() {
        "auto" => Ok(None),
        "faithful" => Ok(Some(Mode::Faithful)),
        "corrected" => Ok(Some(Mode::Corrected)),
        other => Err(Problem::Choice {
            value: other.to_owned(),
            allowed: "auto, faithful and corrected",
        }),
    })
}

/// `path` with its `..` worked out on paper, for comparison only: a link in between may lead elsewhere.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

fn peers(
    written: &[file::Peer],
    dir: &Path,
    of_node: (&NodeId, &Network),
) -> Result<Vec<Peer>, Error> {
    let mut peers: Vec<Peer> = Vec::with_capacity(written.len());
    for one in written {
        let peer = Peer::resolve(one, dir, of_node)?;
        let first = peers.iter().find(|first| first.name == peer.name);
        if let (Some(first), Some(at)) = (first, &one.name) {
            return Err(at.wrong(Problem::Taken {
                what: "peer",
                name: peer.name,
                line: first.place().line.unwrap_or_default(),
            }));
        }
        if let Some(at) = &one.sidecar
            && peer.sidecar
            && peers.iter().any(|other| other.sidecar)
        {
            return Err(at.wrong(Problem::SecondSidecar));
        }
        peers.push(peer);
    }
    Ok(peers)
}

#[cfg(test)]
mod fixtures;
