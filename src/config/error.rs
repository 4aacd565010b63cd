//! What can be wrong with a configuration, always with the file, the line and the key, and never with a secret in it.
//!
//! An [`Error`] says where, its source (a [`Problem`]) says what and how to mend it; [`Error::report`] joins the two.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::units::UnitError;
use super::url::UrlError;
use crate::error::Class;
use crate::model::filter::PatternError;
use crate::model::id::IdError;

/// A file, and the line in it when one can be named.
#[derive(Default, Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The configuration file.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file.display()),
            None => write!(f, "{}", self.file.display()),
        }
    }
}

/// Why a configuration cannot be found, read, used or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No file where one is looked for.
    #[error(
        "no configuration at {}: `emsync init` makes one, `--config FILE` names one",
        list(looked)
    )]
    NotFound {
        /// The places, in the order they were tried.
        looked: Vec<PathBuf>,
    },
    /// The file is there and cannot be read.
    #[error("{}: cannot be read", file.display())]
    Read {
        /// The configuration file.
        file: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The text is not TOML.
    #[error("{place}: not valid TOML: {message}")]
    Syntax {
        /// Where the parser stopped.
        place: Place,
        /// What it expected; never a piece of the text.
        message: String,
    },
    /// A key nobody knows.
    #[error("{place}: unknown key {key}: {hint}")]
    UnknownKey {
        /// Where it stands.
        place: Place,
        /// With its section: `limits.transfer`.
        key: String,
        /// The key that was probably meant, or all that are known there.
        hint: String,
    },
    /// A key that has no default.
    #[error("{place}: {key} is missing: {mend}")]
    Missing {
        /// The section it belongs in.
        place: Place,
        /// With its section.
        key: String,
        /// What to write.
        mend: &'static str,
    },
    /// A key whose value cannot be used.
    #[error("{place}: {key} is not valid")]
    Value {
        /// Where it stands.
        place: Place,
        /// With its section.
        key: String,
        /// What is wrong with it.
        source: Box<Problem>,
    },
    /// The same, for a value that was about to be written to the file.
    #[error("{key} is not valid")]
    Argument {
        /// The key it would have been written under.
        key: &'static str,
        /// What is wrong with it.
        source: Box<Problem>,
    },
    /// A file or folder of a site's preset lists is not one.
    #[error(
        "{place}: not a list of presets: {message}; mend the file, or take it away to have EMDB's own rows"
    )]
    List {
        /// Where.
        place: Place,
        /// What is wrong.
        message: String,
    },
    /// A preset has a property that cannot be used.
    #[error(transparent)]
    Preset(#[from] crate::model::preset::Error),
    /// No peer of that name.
    #[error("no peer {name:?} in {}: {}", file.display(), known_peers(known))]
    UnknownPeer {
        /// The configuration file.
        file: PathBuf,
        /// What was asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// No event of that name.
    #[error("no event {name:?} in {}: {}", file.display(), there_are(known, "it names no events yet; `emsync event add` adds one"))]
    UnknownEvent {
        /// The configuration file.
        file: PathBuf,
        /// What was asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// Events are written as one array, which cannot be edited entry by entry.
    #[error("{}: `event` is written as one array: write each entry as an [[event]] section, then it can be edited from here", file.display())]
    EventsInline {
        /// The configuration file.
        file: PathBuf,
    },
    /// A peer of that name exists already.
    #[error("{} has a peer {name:?} already: choose another name, or `emsync peer remove {name}` first", file.display())]
    PeerExists {
        /// The configuration file.
        file: PathBuf,
        /// The name.
        name: String,
    },
    /// Peers are written as one array, which cannot be edited entry by entry.
    #[error("{}: `peer` is written as one array: write each entry as a [[peer]] section, then it can be edited from here", file.display())]
    PeersInline {
        /// The configuration file.
        file: PathBuf,
    },
    /// [`set`](super::edit::set) was given a key that cannot be set that way.
    #[error("{}: {key} cannot be set from here: edit the file", file.display())]
    NotSettable {
        /// The configuration file.
        file: PathBuf,
        /// The key as given.
        key: String,
    },
    /// The peer has no key.
    #[error("{place}: peer {peer:?} has no key: give it one of key_file, key_env or key")]
    NoKey {
        /// The peer's section.
        place: Place,
        /// The peer.
        peer: String,
    },
    /// The peer's key file cannot be read.
    #[error("peer {peer:?}: key_file {} cannot be read", path.display())]
    KeyFile {
        /// The peer.
        peer: String,
        /// The file, resolved.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The peer's key variable is not set, or is no text.
    #[error(
        "peer {peer:?}: the environment variable {variable} of key_env is not set: export it, or use key_file"
    )]
    KeyUnset {
        /// The peer.
        peer: String,
        /// Its name.
        variable: String,
    },
    /// The place of the key holds nothing.
    #[error(
        "peer {peer:?}: the key in {whence} is empty: put the key the peer issued on its first line"
    )]
    KeyEmpty {
        /// The peer.
        peer: String,
        /// Where the key should be.
        whence: String,
    },
    /// The key cannot be the value of a header.
    #[error(
        "peer {peer:?}: the key in {whence} holds a character that no key has: copy it again, as one line of plain text"
    )]
    KeyUnsendable {
        /// The peer.
        peer: String,
        /// Where the key is.
        whence: String,
    },
    /// A fresh node where one is already.
    #[error("{} exists already: this is a node; edit that file, or choose another folder", file.display())]
    Exists {
        /// The configuration file.
        file: PathBuf,
    },
    /// The file cannot be written; the old one is untouched.
    #[error("{}: cannot be written, nothing was changed", file.display())]
    Write {
        /// The configuration file.
        file: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

impl Error {
    /// Every one of them waits for a person: running again changes nothing.
    #[must_use]
    pub fn class(&self) -> Class {
        Class::Permanent
    }

    /// The error with its causes in one line, as the edge prints it.
    #[must_use]
    pub fn report(&self) -> String {
        crate::error::chain(self)
    }
}

/// What is wrong with one value, and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The wrong kind of TOML value. The value itself is not shown: it may be a key without its quotes.
    #[error("it should be {wanted}, not {found}")]
    Kind {
        /// What is expected.
        wanted: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// A duration, size or share that cannot be read.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// A pattern of paths that cannot be read.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// Two bounds that leave nothing between them.
    #[error("with {0} as it is, nothing is left: mend one of the two")]
    NothingLeft(&'static str),
    /// A name that cannot be one.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A base URL that cannot be used.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A number or span outside its bounds.
    #[error("{value} is outside {least} to {most}")]
    Range {
        /// What was given.
        value: String,
        /// The least that is allowed.
        least: String,
        /// The most that is allowed.
        most: String,
    },
    /// Not one of a few words.
    #[error("{value:?} is none of {allowed}")]
    Choice {
        /// What was given.
        value: String,
        /// The words.
        allowed: &'static str,
    },
    /// EMDB's default cluster id.
    #[error("\"entermedia-cluster\" is the default of every EMDB, so it names no node: {mend}")]
    DefaultClusterId {
        /// What to do instead.
        mend: &'static str,
    },
    /// A peer with this node's own cluster id.
    #[error("it is this node's own cluster id: give the peer's (EMDB: its setting cluster.name)")]
    OwnClusterId,
    /// A sidecar with a cluster id of its own.
    #[error(
        "the EMDB beside this node has its cluster id: set cluster_id under [node] to that EMDB's cluster.name, and leave this out"
    )]
    SidecarClusterId,
    /// Originals for the EMDB beside this node.
    #[error(
        "the EMDB beside this node has its originals: they lie in one directory; leave this out"
    )]
    SidecarOriginals,
    /// A second EMDB beside this node.
    #[error("there is one EMDB beside this node already")]
    SecondSidecar,
    /// A peer's name with other characters, or none.
    #[error(
        "{0:?} is no name for a peer: use up to 64 letters, digits, '.', '_' and '-', the first a letter or digit"
    )]
    PeerName(String),
    /// A second peer or event of the same name.
    #[error("{name:?} is already the name of the {what} at line {line}")]
    Taken {
        /// `peer` or `event`.
        what: &'static str,
        /// The name.
        name: String,
        /// Where the first one has it.
        line: usize,
    },
    /// Nothing, where something is needed.
    #[error("it is empty")]
    Empty,
    /// A line break or another control character.
    #[error("it holds a control character")]
    Control,
    /// A path that only a shell would understand.
    #[error("{0:?} starts with ~, which only a shell replaces: write the whole path")]
    Tilde(String),
    /// A path that cannot be written as TOML text.
    #[error("{} is not UTF-8", .0.display())]
    NotText(PathBuf),
    /// A word that cannot be the name of an environment variable. It is not shown: it may be the key itself.
    #[error(
        "it is not the name of an environment variable: write for example key_env = \"EMSYNC_KEY\""
    )]
    Variable,
    /// Not an address to listen at.
    #[error(
        "{0:?} is no address to listen at: write for example \"127.0.0.1:7700\" or \"[::]:7700\""
    )]
    Listen(String),
    /// Not an address of a machine.
    #[error(
        "{0:?} is no address: write the one that the proxy connects from, for example \"127.0.0.1\""
    )]
    ProxyAddress(String),
    /// A certificate without its key, or the other way round.
    #[error("{0} is needed as well: the certificate chain and its private key, both as PEM files")]
    HalfTls(&'static str),
    /// Two sources of one key.
    #[error("{first} is given as well: keep one of key, key_file and key_env")]
    SecondKey {
        /// The key that comes first.
        first: &'static str,
    },
    /// Media and state folders inside one another.
    #[error(
        "media folder {} and state folder {} lie inside one another: keep them apart", media.display(), state.display()
    )]
    Overlap {
        /// `media.root`, resolved.
        media: PathBuf,
        /// `state`, resolved.
        state: PathBuf,
    },
    /// The first wait between two tries is longer than the longest.
    #[error("limits.retry_cap, {cap}, is less than limits.retry_base, {base}")]
    CapBelowBase {
        /// `retry_cap`.
        cap: String,
        /// `retry_base`.
        base: String,
    },
    /// No folder where the site's preset lists should be.
    #[error(
        "{} is no folder: name the one that holds convertpreset.xml or the folder convertpreset, WEB-INF/data/<catalog>/lists of the site", .0.display()
    )]
    NoLists(PathBuf),
    /// A second section for one preset.
    #[error("the [[preset]] at line {line} is for {id:?} already: write both as one")]
    PresetTwice {
        /// The preset.
        id: String,
        /// Where the first one is.
        line: usize,
    },
    /// A section for a preset nobody knows, and too little to make one of it.
    #[error(
        "no preset {0:?} is known, and a new one needs inputs, size, and extension or file_name: add these, or correct the id"
    )]
    NewPreset(String),
    /// Two presets would write one file.
    #[error(
        "an import would write {file_name} by {other:?} too: give it another file_name or size, or set on_import = false for one of them"
    )]
    SameFile {
        /// The file.
        file_name: String,
        /// The other preset.
        other: String,
    },
    /// A name no generated file can have.
    #[error(
        "{0:?} is no name for a generated file: use one without / and without characters that paths reserve"
    )]
    PresetFile(String),
    /// Not an extension.
    #[error("{0:?} is no extension: write for example \"webp\", without a dot")]
    Extension(String),
    /// Not a width and a height.
    #[error(
        "{0:?} is no size: write width and height in pixels, from 1 to 65535, for example \"550x550\""
    )]
    Sides(String),
    /// Originals cannot be pushed to a peer nothing is pushed to.
    #[error("originals are pushed only along with records: add push = true, or remove this")]
    OriginalsWithoutPush,
    /// An event that is to run in two ways.
    #[error("the event has a period already: keep either every or cron")]
    EveryAndCron,
    /// An event that names a peer for something that is done alone.
    #[error("{0} is done by this node alone: remove this")]
    NoPeerNeeded(&'static str),
    /// An event of a peer that is not there.
    #[error(
        "there is no peer {name:?}: {}",
        there_are(known, "the file names no peers yet; `emsync peer add` adds one")
    )]
    NoSuchPeer {
        /// The name.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// An event that pushes to a peer nothing is pushed to.
    #[error("nothing is pushed to {0}: put push = true into its [[peer]] section, or remove this")]
    NotPushedTo(String),
    /// Not a pattern of times.
    #[error(
        "{value:?} is no pattern of times ({why}): write minute, hour, day, month and weekday, for example \"30 2 * * *\" or \"@daily\""
    )]
    Cron {
        /// What was given.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not a local date and time.
    #[error(
        "{0:?} is no date: write for example \"2026-12-01\" or \"2026-12-01 02:30\", in local time"
    )]
    Date(String),
    /// Not an address somebody is told at. The address itself is not shown: it may let anybody in.
    #[error("it is no address: write one that begins with https:// or http://")]
    NoAddress,
}

/// The names there are, or what to say where there are none.
fn there_are(known: &[String], none: &str) -> String {
    match known {
        [] => none.to_owned(),
        known => format!("there are {}", known.join(", ")),
    }
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    shown.join(", ")
}

fn known_peers(known: &[String]) -> String {
    if known.is_empty() {
        "it names no peers yet; `emsync peer add` adds one".to_owned()
    } else {
        format!(
            "it knows {}; `emsync peer add` adds another",
            known.join(", ")
        )
    }
}
