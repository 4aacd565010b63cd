//! The command line as it is written; what deals with things that were set aside or removed is in `aside`.

mod aside;

mod catalogue;
mod config;
mod doctor;
mod edits;
mod event;
mod fetch;
mod narrow;
mod network;
mod receive;
mod restore;
mod scrub;
mod service;
mod thumbs;
mod user;
mod verify;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use catalogue::{Catalogue, CatalogueBackup, CatalogueRestore};
pub use config::{Config, ConfigCheck};
pub use doctor::Doctor;
pub use edits::{ConflictRestore, Conflicts, Record, RecordPut};
pub use event::{Event, EventAdd};
pub use fetch::Fetch;
pub use narrow::{Narrow, PeerFilter, PeerPrune};
pub use network::{Network, Until};
pub use receive::Receive;
pub use restore::RestoreTo;
pub use scrub::Scrub;
pub use service::{Completions, Man, Service};
pub use thumbs::{Crop, CropClear, CropList, CropSet, Rebuild, Thumbs};
pub use user::{User, WithPassword};
pub use verify::Verify;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use aside::{Quarantine, Restore, Trash, TrashEmpty, TrashList, Tree, Which, Why};

use crate::config::{Bandwidth, MaxDelete};

/// Keeps nodes of a digital asset archive in step: records, originals, thumbnails.
#[derive(Debug, Parser)]
#[command(name = "emsync", version, propagate_version = true, max_term_width = 110, after_help = EXAMPLES)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  emsync demo                                   see it work: a master, a mirror, changes, deletes
  emsync init m --name Master                   a new node in ./m
  emsync -C m import /some/photos               make it the master of a folder
  emsync -C m key add mirror-1 > key.txt        a key for another node
  emsync -C m serve --listen 127.0.0.1:7700     let other nodes list and fetch
  emsync -C r peer add master --url http://127.0.0.1:7700/assets --key-file key.txt
  emsync -C r seed master                       bring everything here, and prove it
  emsync -C r plan master                       what a sync would do, before it does
  emsync -C r sync                              bring what changed, from all peers
  emsync -C r push master                       send back what was edited here (the peer has push = true)

Exit codes: 0 ok, 1 other, 2 usage or configuration, 5 temporary, 7 fatal (schema, clock, media root),
  8 --max-transfer, 10 --max-duration, 11 already running, 12 key refused, 23 partial, 25 delete guard, 26 nodes differ, 130 interrupted.";

/// Flags that every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Run as if started in DIR.
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub chdir: Option<PathBuf>,
    /// The configuration file [default: ./emsync.toml, then the user's and the system's].
    #[arg(long, value_name = "FILE", env = "EMSYNC_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Say more; twice: say everything.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Say nothing but errors and results.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// How log lines on stderr look.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "EMSYNC_LOG_FORMAT", global = true)]
    pub log_format: LogFormat,
    /// Write log lines to this file instead of stderr. A new one begins every day, with the date behind its name; 14 are kept.
    #[arg(long, value_name = "FILE", env = "EMSYNC_LOG_FILE", global = true)]
    pub log_file: Option<PathBuf>,
    /// Show progress bars even where stderr is no terminal.
    #[arg(short = 'P', long, global = true)]
    pub progress: bool,
    /// Interval of progress lines where there are no bars; 0s for none.
    #[arg(long, value_name = "SPAN", default_value = "1m", value_parser = span, global = true)]
    pub stats: Duration,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new node: configuration, state, media root. Prints its cluster id.
    Init(Init),
    /// The nodes this one exchanges with.
    #[command(subcommand)]
    Peer(Peer),
    /// The catalogue as a file: a copy to keep, and back.
    #[command(subcommand)]
    Catalogue(Catalogue),
    /// What emsync.toml says: is it sound, and what holds?
    #[command(subcommand)]
    Config(Config),
    /// Walk a folder into assets and categories; this node becomes their master.
    #[command(after_help = IMPORT)]
    Import(Import),
    /// First full sync from a peer; resumable; ends with a parity report.
    Seed(Sync),
    /// Bring what changed, from one peer or from all enabled ones, and send those with push = true what changed here.
    Sync(SyncSome),
    /// Bring what changed, from one peer or from all enabled ones; send nothing.
    Pull(SyncSome),
    /// Send what changed here, to one peer or to all enabled ones with push = true; bring nothing.
    Push(PushSome),
    /// What a sync would do: records, files, renditions, deletes, bytes. Changes nothing; exit 25 when the guard would hold.
    Plan(Plan),
    /// Bring back files that went to make room (serve.max_cache). Exit 23 when some stay away.
    #[command(after_help = fetch::EXAMPLES)]
    Fetch(Fetch),
    /// Take the place of a master that is gone: its records become this node's. Exit 26 when this node is not fit for it.
    #[command(after_help = PROMOTE)]
    Promote(Promote),
    /// Compare this node with a peer or a kept report: records, originals, generated files, deletes. Exit 26 on a difference.
    Verify(Verify),
    /// Read what is here again, the longest unread first, and heal what is damaged. Exit 23 when something stays damaged.
    #[command(after_help = scrub::EXAMPLES)]
    Scrub(Scrub),
    /// Look this node over; --rebuild makes a lost or damaged catalogue again.
    Doctor(Doctor),
    /// One screen about this node.
    Status(Json),
    /// Records of this node.
    #[command(subcommand)]
    Record(Record),
    /// What lost when two nodes edited one record: list, show, restore.
    #[command(subcommand)]
    Conflicts(Conflicts),
    /// Keys that other nodes present to this one.
    #[command(subcommand)]
    Key(Key),
    /// People who may use the page.
    #[command(subcommand)]
    User(User),
    /// Renditions: make them again where something changed.
    #[command(subcommand)]
    Thumbs(Thumbs),
    /// What part of a picture its renditions show: set, clear, list.
    #[command(subcommand)]
    Crop(Crop),
    /// Removed and replaced files: list, restore, empty.
    #[command(subcommand)]
    Trash(Trash),
    /// Bring records and originals back to what they were at a moment. Exit 23 when something cannot be restored.
    #[command(after_help = restore::EXAMPLES)]
    Restore(RestoreTo),
    /// Work that was set aside after its last try: list, retry, drop.
    #[command(subcommand)]
    Quarantine(Quarantine),
    /// Why is this item not in sync? Exit 23 when something of it is set aside or missing, 1 when nothing is known of it.
    Why(Why),
    /// What other nodes hand to this one: list, apply held deletes.
    #[command(subcommand)]
    Receive(Receive),
    /// What this node does by itself while `emsync serve` runs: list, run now, history, add, change.
    #[command(subcommand)]
    Event(Event),
    /// Let other nodes list and fetch, and hand changes in whose key may; run events in their time. Prints the base URL that
    /// other nodes use.
    Serve(Serve),
    /// Print a systemd unit for this node: `emsync service > /etc/systemd/system/emsync.service`.
    Service(Service),
    /// Print completions for a shell: `emsync completions bash > /etc/bash_completion.d/emsync`.
    Completions(Completions),
    /// Print the manual page: `emsync man > emsync.1`.
    Man(Man),
    /// A master and a mirror on sample media: seeded, changed, synced, verified.
    Demo(Demo),
}

/// See [`Command::Init`].
#[derive(Debug, Args)]
pub struct Init {
    /// Where; made if it is not there.
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// The node's name [default: the directory's].
    #[arg(long)]
    pub name: Option<String>,
    /// Catalog id, for company with EMDB nodes [default: assets/catalog].
    #[arg(long, value_name = "SITE/CATALOG")]
    pub catalog: Option<String>,
    /// Cluster id [default: made from the name]; a sidecar takes its EMDB's cluster.name.
    #[arg(long, value_name = "ID")]
    pub cluster_id: Option<String>,
    /// Media root [default: DIR/media]; a sidecar takes its EMDB's WEB-INF/data.
    #[arg(long, value_name = "DIR")]
    pub media: Option<PathBuf>,
    /// Let NAME use the page, with the password from --password-file, or one that is made and printed once as the last line.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Read the password of --user from the first line of FILE.
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// Say what would happen, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// See [`Command::Peer`].
#[derive(Debug, Subcommand)]
pub enum Peer {
    /// Add a peer to the configuration.
    #[command(after_help = PEER_ADD)]
    Add(PeerAdd),
    /// All peers, a line each.
    List(Json),
    /// Everything about one peer but its key.
    Show {
        /// Its name.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask a peer who it is, and whether our key, clock and settings fit.
    Test {
        /// Its name.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Hold the files of a part of its assets only, or show which part that is.
    #[command(after_help = narrow::EXAMPLES)]
    Filter(PeerFilter),
    /// Move the files that its filter leaves out to the trash. A sync never does.
    Prune(PeerPrune),
    /// Let no run over a peer begin, and end the one that goes on as soon as its files can be parked.
    #[command(after_help = PEER_PAUSE)]
    Pause(Paused),
    /// Let runs over a paused peer go on from where they are.
    Resume(Paused),
    /// Take a peer out of the configuration. What was pulled from it stays.
    Remove {
        /// Its name.
        name: String,
        /// Say what would happen, and do nothing.
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
}

const PEER_PAUSE: &str = "\
Examples:
  emsync peer pause dam          while its server is being worked on; holds over a restart
  emsync peer resume dam         a run that was ended begins again, and so does what was due meanwhile
A pause holds for whoever runs: `emsync serve`, and commands in other terminals, which end with exit 5 or leave the peer out. What is
in flight is parked within seconds and resumed later. Comparing and planning go on, and so do readers of `pull_through` and what the
peer hands in itself. `enabled = false` is another thing: it leaves a peer out of runs that name none, and ends nothing.";

/// See [`Peer::Pause`].
#[derive(Debug, Args)]
pub struct Paused {
    /// The peer's name.
    pub name: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

const PEER_ADD: &str = "\
Examples:
  emsync peer add master --url https://dam.example.org/assets --key-file master.key
  emsync peer add emdb --url https://dam.example.org/finder --cluster-id dam-main --user sync
  emsync peer add emdb --url http://10.0.0.7:8080/finder --cluster-id dam-main --user sync --password-file pass.txt
  emsync peer add inside --url https://dam.intern/assets --key-env DAM_KEY --ca-file intern-ca.pem

With --user the key of that EMDB user is fetched and kept in keys/NAME beside emsync.toml, or in --key-file, for this user alone.
The password is asked for on the terminal, or read from --password-file or standard input; it is sent once and kept nowhere.
Exit 12 when the peer does not let the user in.";

/// See [`Peer::Add`].
#[derive(Debug, Args)]
pub struct PeerAdd {
    /// A name of your choice.
    pub name: String,
    /// Base URL with the site's path and no slash at the end, such as `https://dam.example.org/finder`.
    #[arg(long)]
    pub url: String,
    /// File whose first line is the key; relative to the current directory.
    #[arg(long, value_name = "FILE", conflicts_with = "key_env")]
    pub key_file: Option<PathBuf>,
    /// Environment variable that holds the key.
    #[arg(long, value_name = "NAME")]
    pub key_env: Option<String>,
    /// Fetch the key of this EMDB user, and write it to --key-file [default: keys/NAME beside emsync.toml].
    #[arg(long, value_name = "NAME", conflicts_with = "key_env")]
    pub user: Option<String>,
    /// Read the password of --user from the first line of FILE.
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// PEM file with the certificate of the authority that the peer's own comes from.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Cluster id of an EMDB peer: cluster.name in its node.xml.
    #[arg(long, value_name = "ID")]
    pub cluster_id: Option<String>,
    /// Also push local changes to it.
    #[arg(long)]
    pub push: bool,
    /// Whether originals go along with what is pushed; they do unless it is said otherwise.
    #[arg(long, value_name = "BOOL", requires = "push", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub push_originals: Option<bool>,
    /// It is the EMDB beside this node: one data directory, one cluster id. Records go both ways, no file is copied.
    #[arg(long, conflicts_with_all = ["cluster_id", "push_originals"])]
    pub sidecar: bool,
    /// Which part of its files is wanted.
    #[command(flatten)]
    pub narrow: Narrow,
    /// Say what would happen, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

const IMPORT: &str = "\
Examples:
  emsync import /srv/photos                        take in what is new, changed, moved or gone since the last time
  emsync import /srv/photos -n                     what it would do
  emsync import /srv/scans --into scans            as scans/... in the archive
  emsync import /srv/photos --watch                and go on taking in whatever changes; SIGTERM or Ctrl-C ends it
  emsync import /srv/photos --watch --settle 1m    a file is taken in once it has stood still for a minute
  emsync event add photos --action import --dir /srv/photos --cron \"0 3 * * *\"      in a running `emsync serve`

A watch works beside a running `emsync serve`. Deletes between two walks of the whole share one guard; what it holds back stays,
until `emsync import DIR --max-delete N` lets it through.";

/// See [`Command::Import`].
#[derive(Debug, Args)]
pub struct Import {
    /// The folder.
    pub dir: PathBuf,
    /// Put its paths under PREFIX.
    #[arg(long, value_name = "PREFIX")]
    pub into: Option<String>,
    /// Make no thumbnails.
    #[arg(long)]
    pub no_thumbs: bool,
    /// Go on, and take in what changes, until a signal ends it. Prints a line for each batch.
    #[arg(long, conflicts_with = "dry_run")]
    pub watch: bool,
    /// How long a file stands still before --watch takes it in; one that is open for writing waits for longer.
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = span, requires = "watch")]
    pub settle: Duration,
    /// How long after a walk of the whole folder --watch begins the next one.
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = span, requires = "watch")]
    pub rescan: Duration,
    /// Say what would happen, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Let up to N deletes, or N%, through the guard.
    #[arg(long, value_name = "N|N%", env = "EMSYNC_MAX_DELETE")]
    pub max_delete: Option<MaxDelete>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// See [`Command::Seed`].
#[derive(Debug, Args)]
pub struct Sync {
    /// The peer's name.
    pub peer: String,
    /// How to go about it.
    #[command(flatten)]
    pub how: SyncHow,
}

/// See [`Command::Sync`].
#[derive(Debug, Args)]
pub struct SyncSome {
    /// The peer's name [default: all enabled peers].
    pub peer: Option<String>,
    /// List everything, not only what changed: finds what was deleted without a trace.
    #[arg(long)]
    pub full: bool,
    /// How to go about it.
    #[command(flatten)]
    pub how: SyncHow,
}

/// See [`Command::Push`].
#[derive(Debug, Args)]
pub struct PushSome {
    /// The peer's name [default: all enabled peers with push = true].
    pub peer: Option<String>,
    /// Send everything again, whatever was sent before.
    #[arg(long)]
    pub full: bool,
    /// Files sent at once [default: limits.transfers].
    #[arg(long, value_name = "N", env = "EMSYNC_TRANSFERS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub transfers: Option<u16>,
    /// How much of the network it may use.
    #[command(flatten)]
    pub network: Network,
    /// When it ends although there is more to do.
    #[command(flatten)]
    pub until: Until,
    /// Say what would be sent, and send nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

const PROMOTE: &str = "\
Examples:
  emsync promote dam --check      is this node fit to take over from dam? lists every gap; changes nothing
  emsync promote dam              take over: edits made here are the master's from now on
When the former master is back it pulls from here before anything else: on it, `emsync peer add new --url … --key-file …`, then
`emsync pull new`. What it had changed meanwhile is in `emsync conflicts list`, on both nodes. An EMDB keeps none of that: with a key of the
peer's name (`emsync key add dam`) it is given nothing before `emsync pull dam` has kept it here.";

/// See [`Command::Promote`].
#[derive(Debug, Args)]
pub struct Promote {
    /// The peer whose place is taken.
    pub peer: String,
    /// Only say whether this node is fit for it.
    #[arg(long)]
    pub check: bool,
    /// Do it although this node is not fit.
    #[arg(long, conflicts_with = "check")]
    pub force: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// How a sync is done.
#[derive(Debug, Default, Args)]
pub struct SyncHow {
    /// Which part of the files is wanted, in the place of what the configuration says.
    #[command(flatten)]
    pub narrow: Narrow,
    /// Transfers at once, at most; how many help is found by itself [default: limits.transfers].
    #[arg(long, value_name = "N", env = "EMSYNC_TRANSFERS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub transfers: Option<u16>,
    /// How much of the network it may use.
    #[command(flatten)]
    pub network: Network,
    /// When it ends although there is more to do.
    #[command(flatten)]
    pub until: Until,
    /// Let up to N deletes, or N% of the live assets, through the guard.
    #[arg(long, value_name = "N|N%", env = "EMSYNC_MAX_DELETE")]
    pub max_delete: Option<MaxDelete>,
    /// Read and hash every file here first, and fetch again what is damaged. Without it `seed` goes by size and date.
    #[arg(short = 'c', long)]
    pub checksum: bool,
    /// Say what would happen, and do nothing; see `emsync plan`.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// See [`Command::Plan`].
#[derive(Debug, Args)]
pub struct Plan {
    /// The peer's name.
    pub peer: String,
    /// List everything, not only what changed.
    #[arg(long)]
    pub full: bool,
    /// What the guard would be told.
    #[arg(long, value_name = "N|N%", env = "EMSYNC_MAX_DELETE")]
    pub max_delete: Option<MaxDelete>,
    /// Which part of the files is wanted, in the place of what the configuration says.
    #[command(flatten)]
    pub narrow: Narrow,
    /// How much of the network it may use.
    #[command(flatten)]
    pub network: Network,
    /// Read and hash every file here first, and count what is damaged among what would be fetched.
    #[arg(short = 'c', long)]
    pub checksum: bool,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Only how to print.
#[derive(Debug, Args)]
pub struct Json {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// See [`Command::Key`].
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a key, and print it once, alone, on stdout.
    Add {
        /// Who it is for.
        name: String,
        /// Let it push as well.
        #[arg(long)]
        write: bool,
        /// Say what would happen, and do nothing.
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// All keys, without the secret.
    List(Json),
    /// Take a key back.
    Revoke {
        /// Who it was for.
        name: String,
        /// Say what would happen, and do nothing.
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
}

/// See [`Command::Serve`].
#[derive(Debug, Args)]
pub struct Serve {
    /// Address and port [default: serve.listen]; port 0 picks a free one.
    #[arg(long, value_name = "ADDR:PORT", env = "EMSYNC_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Bytes of media a second, a bare number counts KiB: 10M, or by local time "08:00,512k Sat-00:00,off" [default:
    /// limits.bwlimit].
    #[arg(long, value_name = "RATE", env = "EMSYNC_BWLIMIT")]
    pub bwlimit: Option<Bandwidth>,
    /// Keep no more than SIZE of files of peers, a bare number counts KiB: 500GiB. Those that were not read for longest go, and are fetched again
    /// when somebody reads them; needs serve.pull_through. Runs of seed, sync and pull keep to serve.max_cache alone [default: serve.max_cache].
    #[arg(long, value_name = "SIZE", env = "EMSYNC_MAX_CACHE", value_parser = crate::config::units::size_in_kib)]
    pub max_cache: Option<u64>,
}

/// See [`Command::Demo`].
#[derive(Debug, Args)]
pub struct Demo {
    /// Leave both nodes running, and print their addresses; Ctrl-C ends them.
    #[arg(long)]
    pub keep: bool,
    /// Draw the mirror's thumbnails before and after into a PNG.
    #[arg(long, value_name = "FILE")]
    pub sheet: Option<PathBuf>,
    /// Where the nodes are made [default: a temporary directory that goes again].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

fn span(text: &str) -> Result<Duration, String> {
    crate::config::units::duration(text).map_err(|error| error.to_string())
}
