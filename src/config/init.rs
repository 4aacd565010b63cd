//! The settings of a fresh node: a file that works as it is and explains itself.
//!
//! Defaults stand in it as comments, `#key = value`; they are printed from the very values the program uses, so the file
//! cannot drift from them.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use toml_edit::Value;

use super::error::{Error, Problem};
use super::limits::Limits;
use super::locate::FILE_NAME;
use super::units::{show_duration, show_size};
use super::{
    Config, Media, Scrub, Serve, default_catalog, node_name, own_cluster_id, write as disk,
};
use crate::model::CatalogId;
use crate::seams::Seams;

/// A node to be made.
#[derive(Debug, Clone)]
pub struct NewNode {
    /// Its folder; made when it does not exist.
    pub dir: PathBuf,
    /// What people will call it.
    pub name: String,
    /// Its dataset; `assets/catalog` when none is given.
    pub catalog: Option<String>,
    /// Its cluster id; made from the name when none is given. Beside an EMDB: that one's `cluster.name`.
    pub cluster_id: Option<String>,
    /// Its media root; `media` in its folder when none is given. Beside an EMDB: that one's `WEB-INF/data`.
    pub media: Option<PathBuf>,
}

/// Writes `emsync.toml` into the node's folder and loads it.
///
/// # Errors
/// [`Error::Exists`] when there is one already, [`Error::Argument`] for a value that cannot be used, [`Error::Write`].
pub fn write(new: &NewNode, seams: &Seams) -> Result<Config, Error> {
    let file = new.dir.join(FILE_NAME);
    let text = text(new, seams)?;
    let unwritable = |source: std::io::Error| {
        let file = file.clone();
        match source.kind() {
            ErrorKind::AlreadyExists => Error::Exists { file },
            _ => Error::Write { file, source },
        }
    };
    // A folder that is a file says so; that is not a node.
    fs::create_dir_all(&new.dir).map_err(|source| Error::Write {
        file: file.clone(),
        source,
    })?;
    disk::create(&file, &text).map_err(unwritable)?;
    Config::load(&file)
}

/// The text of a fresh `emsync.toml`. Only a missing cluster id draws on chance.
///
/// # Errors
/// [`Error::Argument`] for a value that cannot be used.
pub fn text(new: &NewNode, seams: &Seams) -> Result<String, Error> {
    let name = node_name(&new.name).map_err(|problem| argument("node.name", problem))?;
    let cluster_id = match &new.cluster_id {
        Some(given) => given.clone(),
        None => format!("{}-{}", slug(&name), seams.random_hex(4)),
    };
    let cluster_id =
        own_cluster_id(&cluster_id).map_err(|problem| argument("node.cluster_id", problem))?;
    let catalog = match &new.catalog {
        Some(given) => CatalogId::new(given.as_str())
            .map_err(|error| argument("node.catalog", Problem::Id(error)))?,
        None => default_catalog(),
    };
    let media = match &new.media {
        Some(given) => (given.to_str())
            .ok_or_else(|| argument("media.root", Problem::NotText(given.clone())))?
            .to_owned(),
        None => "media".to_owned(),
    };
    let quoted = |text: &str| Value::from(text).to_string();
    let mut out = HEAD.to_owned();
    let mut push = |piece: &str| out.push_str(piece);
    push(&format!(
        "[node]\n# What people call this node.\nname = {}\n\
         # What the cluster calls it. Records carry it: never change it while there are any.\ncluster_id = {}\n\
         # Name of the dataset; its first element is the site in this node's address.\ncatalog = {}\n\n",
        quoted(&name),
        quoted(cluster_id.as_str()),
        quoted(catalog.as_str())
    ));
    push(&format!(
        "[media]\n# Holds <catalog>/originals and <catalog>/generated.\nroot = {}\n\
         # Threads that make renditions; 0 is one for each core.\n#thumb_threads = 0\n\
         # Pictures with more pixels are refused before they are decoded.\n#max_pixels = {}\n\
         # Names on disk: \"auto\" (as they come, as far as the disk can hold them), or \"portable\" (as any system can hold them).\n\
         #names = \"auto\"\n\
         # Colours and crops of renditions: \"faithful\" (as EnterMediaDB makes them), \"corrected\" (as the picture was meant), or\n\
         # \"auto\" (faithful while generated files come from a peer with a cluster_id, else corrected).\n\
         #mode = \"auto\"\n\
         # Which renditions are made: EnterMediaDB's own presets as \"webp\" or \"jpg\" (older catalogs). A site that has changed them\n\
         # keeps its own in WEB-INF/data/<catalog>/lists: name that folder here as preset_lists = \"…\".\n\
         #presets = \"webp\"\n\n",
        quoted(&media),
        Media::MAX_PIXELS
    ));
    push(&format!(
        "[serve]\n# Where this node listens; \"0.0.0.0:7700\" lets other machines in.\n#listen = \"{}\"\n\
         # https: the certificate chain and its private key, PEM files.\n#tls_cert = \"cert.pem\"\n#tls_key = \"key.pem\"\n\
         # A proxy with https in front of this node: the address that it connects from. It sets X-Forwarded-For and X-Forwarded-Proto.\n\
         #trusted_proxy = \"127.0.0.1\"\n\
         # Whether anybody may have generated files without a key, as EnterMediaDB gives them. Never those of assets that are deleted,\n\
         # not approved (editstatus 6) or restricted; originals always need a key.\n#public_renditions = false\n\
         # How long browsers and proxies may keep what anybody may have, and how much longer they may use it while they ask for a new one.\n\
         #max_age = \"{}\"\n#stale_while_revalidate = \"{}\"\n\
         # Whether a file that is not here yet is fetched from its peer when somebody reads it.\n#pull_through = false\n\
         # The most that files of peers take on this disk: those that were not read for longest go, and are fetched again when somebody\n\
         # reads them. Only what the peer still has. Needs pull_through; 0 keeps all.\n#max_cache = \"0\"\n\n",
        Serve::LISTEN,
        show_duration(Serve::MAX_AGE),
        show_duration(Serve::STALE),
    ));
    push(NETWORK);
    push(&limits_text(&Limits::default()));
    push(&scrub_text(&Scrub::default()));
    push(TRASH);
    push(PRESET);
    push(PEER);
    push(NOTIFY);
    push(EVENTS);
    Ok(out)
}

const HEAD: &str = "\
# Settings of an emsync node. A key behind a # shows its default; take the # away to change it.
# Spans of time: 500ms, 15m, 1h 30m. Sizes: 512k, 64MiB, 1.5G, in units of 1024. Relative paths start at this file's folder.

# Folder of the catalogue. Keep it on a local disk and apart from the media.
state = \"state\"

# Tables that could grant rights (users, userprofile, settingsgroup) are passed on only when they are named here.
#relay_tables = []

";

const NETWORK: &str = "\
[network]
# A proxy on the way to peers: \"http://proxy.example.org:3128\", or \"none\". Unset: as HTTPS_PROXY, HTTP_PROXY and ALL_PROXY say. What
# NO_PROXY names, and this machine, are reached without one in any case.
#proxy = \"none\"
# An authority of your own, besides those that the system trusts: ca_file = \"…\", a PEM file. A peer may have a ca_file of its own.

";

const TRASH: &str = "\
# How long what was removed or replaced can be restored, where that is not limits.trash_days.
[trash]
# Former versions of originals and of records, for `emsync restore --to`. \"0s\": for ever. Unset: limits.trash_days.
#versions = \"90d\"

";

const PRESET: &str = "\
# What is to be different about a preset, one section each; or a new one, which needs inputs, size and extension.
#[[preset]]
#id = \"webpmediumimage\"
#inputs = [\"image\", \"document\", \"video\"]
#size = \"550x550\"
# \"fit\", \"enlarge\", \"fill\" (cover the box) or \"crop\" (cover it and cut).
#shape = \"fit\"
#quality = 76
# Effort of WebP, 0 (fast) to 6 (small).
#webp_method = 4
#on_import = true

";

const PEER: &str = "\
# A remote node, one section each. `emsync peer add` writes them.
#[[peer]]
#name = \"master\"
# Scheme, host, port and site; no slash at the end.
#base_url = \"http://master.example.org:7700/assets\"
# Needed for an EMDB: its setting cluster.name. Learned from an emsync node.
#cluster_id = \"master-0123abcd\"
# The key the peer issued, on the first line of a file; or key_env = \"VARIABLE\"; or key = \"…\", here.
#key_file = \"master.key\"
# Included in runs that name no peer.
#enabled = true
# Fetch its originals.
#pull_originals = true
# Its generated files: \"copy\" them, \"rebuild\" them here, \"auto\" (copy, or make them where its author lists none), or \"off\".
#generated = \"auto\"
# Send it our changes, and our originals with them.
#push = false
#push_originals = false
# It is the EMDB beside this node: one data directory, one cluster id. Records go both ways, no file is copied.
#sidecar = false
# Send its session cookie over http although it is marked Secure: EMDB's listings need it. Default: true for http.
#insecure_session = true
# Instead of limits.max_delete.
#max_delete = \"5%\"
# Hold the files of a part of its assets only; records always come whole. `emsync peer filter` writes these. Paths are those of
# originals, in rclone's syntax; categories go by path or id, with all below them.
#include = [\"/Photos/**\"]
#exclude = [\"*.{psd,tif}\"]
#categories = [\"Index/Press\"]
#exclude_categories = [\"Index/Press/Drafts\"]
#collections = [\"Harbour\"]
#min_size = \"1K\"
#max_size = \"2G\"
#min_age = \"1h\"
#max_age = \"2y\"
# Fetch the renditions of every asset, and the originals of that part.
#all_renditions = true
";

const NOTIFY: &str = "
# Whom to tell how the runs of events ended.
[notify]
# Asked for (GET) after each that ended well, so that a monitor calls when nothing comes. An event may have a ping of its own.
#ping = \"https://monitor.example.org/ping/1234\"
# Gets JSON (POST) after each that needs a person: it failed, set something aside, was held by the guard, or found a difference.
#webhook = \"https://chat.example.org/hooks/1234\"
# Run by sh after each such; EMSYNC_EVENT, EMSYNC_OUTCOME, EMSYNC_DETAIL, EMSYNC_ACTION, EMSYNC_RUN and EMSYNC_NODE say what it was.
#command = \"echo $EMSYNC_EVENT: $EMSYNC_DETAIL | mail -s emsync ops@example.org\"
";

/// EMDB's two events by their names, which its operators look for.
const EVENTS: &str = "
# What `emsync serve` does by itself, one section each. Actions: sync, pull, push, verify, thumbs, scrub, empty-trash; and import, which has
# dir = \"/srv/photos\", and prefix = \"scans\" or thumbs = false if wanted, instead of a peer.
[[event]]
name = \"Pull data changes\"
action = \"pull\"
# One peer; without it every enabled one.
#peer = \"master\"
# A period, from start on; or cron = \"30 2 * * *\" (minute, hour, day, month, weekday). Local time, all of them.
every = \"15m\"
#start = \"2026-12-01 02:30\"
# Begin in this part of the day only, and end with it; the next run goes on from there.
#window = \"22:00-06:00\"
# Begin up to so much later.
#jitter = \"0s\"
# Run once for what was missed while this node was down.
#make_up = true
# End a run after so much.
#max_transfer = \"100GiB\"
#max_duration = \"6h\"
# Instead of notify.ping.
#ping = \"https://monitor.example.org/ping/1234\"
enabled = false

# The pull above brings originals as well. This one is for who wants the many bytes at night: then give that one a max_transfer.
[[event]]
name = \"Pull recent uploads\"
action = \"pull\"
cron = \"30 2 * * *\"
enabled = false

# For an always-on backup: reads for some hours what was not read for scrub.days, and heals what is damaged from the peers.
[[event]]
name = \"Scrub\"
action = \"scrub\"
cron = \"0 1 * * *\"
max_duration = \"4h\"
enabled = false
";

/// `[scrub]` in the same way.
fn scrub_text(scrub: &Scrub) -> String {
    format!(
        "# `emsync scrub`, and events that do it.\n[scrub]\n\
         # Every byte that is here is read again within so many days.\n#days = {}\n\
         # Bytes read a second: \"50M\", or by local time \"08:00,10M 19:00,off\".\n#bandwidth = \"{}\"\n\n",
        scrub.days, scrub.bandwidth
    )
}

/// `[limits]` with every key as a comment that shows its default.
fn limits_text(limits: &Limits) -> String {
    let span = |span| format!("\"{}\"", show_duration(span));
    let size = |bytes| format!("\"{}\"", show_size(bytes));
    let lines = [
        (
            "transfers",
            limits.transfers.to_string(),
            "Files fetched at the same time at most; how many helps is found, and follows the peer and the line.",
        ),
        (
            "bwlimit",
            format!("\"{}\"", limits.bwlimit),
            "Bytes a second: \"10M\", \"UP:DOWN\", or by local time \"08:00,512k 19:00,10M 23:00,off\".",
        ),
        (
            "tpslimit",
            limits.tpslimit.unwrap_or_default().to_string(),
            "Requests a second to all peers together; 0: no limit.",
        ),
        (
            "tpslimit_burst",
            limits.tpslimit_burst.to_string(),
            "Requests that may follow each other at once after a pause.",
        ),
        (
            "attempts",
            limits.attempts.to_string(),
            "Tries of one item before it is set aside, the first included.",
        ),
        (
            "retry_base",
            span(limits.retry_base),
            "Longest wait before the second try; it doubles with each further one.",
        ),
        ("retry_cap", span(limits.retry_cap), "Longest wait of all."),
        (
            "timeout",
            span(limits.timeout),
            "A connection on which nothing moves for so long is given up.",
        ),
        (
            "contimeout",
            span(limits.contimeout),
            "For a connection to come about.",
        ),
        (
            "list_timeout",
            span(limits.list_timeout),
            "For one page of a listing; a large EMDB needs minutes.",
        ),
        (
            "max_clock_skew",
            span(limits.max_clock_skew),
            "A run stops when the peer's clock differs by more.",
        ),
        (
            "overlap",
            span(limits.overlap),
            "How far each run looks back over the last one.",
        ),
        (
            "large_file",
            size(limits.large_file),
            "From this size on a file uses the lane of the large ones.",
        ),
        (
            "handoff_depth",
            limits.handoff_depth.to_string(),
            "Originals that may wait between the transfers and the renditions.",
        ),
        (
            "publish_batch",
            limits.publish_batch.to_string(),
            "Files that become durable together.",
        ),
        (
            "reserve",
            size(limits.reserve),
            "Left free on the disk of the media.",
        ),
        (
            "trash_days",
            limits.trash_days.to_string(),
            "Days a removed file can be restored; the oldest go earlier when the reserve needs the room. 0 keeps them until `emsync trash empty`.",
        ),
        (
            "max_delete",
            "\"5%\"".to_owned(),
            "Deletes per peer and run, a number or a share. Unset: 5 % of the live assets, at least 10, at most 1000.",
        ),
        (
            "full_listing",
            span(limits.full_listing),
            "A sync lists everything, not only changes, so long after the last time. 0s: always.",
        ),
    ];
    let mut text = "[limits]\n".to_owned();
    for (key, value, why) in lines {
        writeln!(text, "# {why}\n#{key} = {value}").expect("writing to a string cannot fail");
    }
    text.push('\n');
    text
}

fn argument(key: &'static str, problem: Problem) -> Error {
    Error::Argument {
        key,
        source: Box::new(problem),
    }
}

/// A name in lower-case ASCII letters, digits and single hyphens; `node` when nothing of it is left.
fn slug(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    if words.is_empty() {
        "node".to_owned()
    } else {
        words.join("-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::preset::{PresetTable, Shipped};

    fn node(dir: PathBuf, name: &str) -> NewNode {
        NewNode {
            dir,
            name: name.to_owned(),
            catalog: None,
            cluster_id: None,
            media: None,
        }
    }

    fn fresh(name: &str) -> String {
        text(&node(PathBuf::new(), name), &Seams::os()).unwrap()
    }

    #[test]
    fn a_fresh_file_loads_with_the_defaults() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("new/mirror");
        let config = write(&node(dir.clone(), "Büro \"1\" Nord"), &Seams::os()).unwrap();
        assert_eq!(config.file, dir.join("emsync.toml"));
        assert_eq!(config.node.name, "Büro \"1\" Nord");
        assert_eq!(config.node.catalog.as_str(), "assets/catalog");
        let (slug, random) = config.node.cluster_id.as_str().rsplit_once('-').unwrap();
        assert_eq!((slug, random.len()), ("b-ro-1-nord", 8));
        assert!(random.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(
            (config.media.root, config.state),
            (dir.join("media"), dir.join("state"))
        );
        assert_eq!(config.limits, Limits::default());
        assert!(config.peers.is_empty());
    }

    #[test]
    fn a_second_init_is_refused_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let new = node(dir.path().to_owned(), "a");
        let file = write(&new, &Seams::os()).unwrap().file;
        let before = fs::read(&file).unwrap();
        let error = write(&new, &Seams::os()).unwrap_err();
        assert!(matches!(error, Error::Exists { file: named } if named == file));
        assert_eq!(fs::read(&file).unwrap(), before);
    }

    #[test]
    fn every_setting_stands_in_the_file_with_its_default() {
        let plain: String = fresh("a")
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let config = Config::parse(&plain, &PathBuf::from("/n/emsync.toml")).unwrap();
        let guard = Some("5%".parse().unwrap());
        let expected = Limits {
            max_delete: guard,
            ..Limits::default()
        };
        assert_eq!(config.limits, expected);
        assert_eq!(config.serve.listen, Serve::LISTEN);
        assert!(!config.serve.public_renditions && !config.serve.pull_through);
        let ages = (config.serve.max_age, config.serve.stale_while_revalidate);
        assert_eq!(ages, (Serve::MAX_AGE, Serve::STALE));
        assert_eq!(config.serve.max_cache, None);
        assert_eq!(config.media.max_pixels, Media::MAX_PIXELS);
        assert_eq!(*config.media.presets, PresetTable::shipped(Shipped::Webp));
        let peer = config.peer("master").unwrap();
        assert!(peer.enabled && peer.pull_originals && !peer.push && peer.insecure_session);

        // Debug names every field of the structures, so a key that is added later must be added to the file too.
        let limits = format!("{:#?}", Limits::default());
        let keys: Vec<&str> = limits
            .lines()
            .filter_map(|line| line.strip_prefix("    ")?.split_once(": "))
            .map(|(key, _)| key)
            .filter(|key| !key.starts_with(' '))
            .collect();
        assert_eq!(keys.len(), 19);
        for key in keys {
            assert!(
                plain.contains(&format!("\n{key} = ")),
                "{key} is not in a fresh file"
            );
        }
    }

    #[test]
    fn given_names_are_used_and_bad_ones_write_nothing() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("n");
        let mut new = node(dir.clone(), "a");
        new.cluster_id = Some("entermedia-cluster".to_owned());
        assert!(matches!(
            write(&new, &Seams::os()),
            Err(Error::Argument {
                key: "node.cluster_id",
                ..
            })
        ));
        new.cluster_id = Some("emdb-7".to_owned());
        new.catalog = Some("finder".to_owned());
        assert!(matches!(
            write(&new, &Seams::os()),
            Err(Error::Argument {
                key: "node.catalog",
                ..
            })
        ));
        new.catalog = Some("finder/catalog".to_owned());
        new.name = "  ".to_owned();
        assert!(matches!(
            write(&new, &Seams::os()),
            Err(Error::Argument {
                key: "node.name",
                ..
            })
        ));
        assert!(!dir.exists());
        new.name = "a".to_owned();
        let node = write(&new, &Seams::os()).unwrap().node;
        assert_eq!(
            (node.cluster_id.as_str(), node.site.as_str()),
            ("emdb-7", "finder")
        );
    }

    #[test]
    fn a_name_without_ascii_still_gives_a_cluster_id() {
        assert_eq!(slug("東京"), "node");
        assert_eq!(slug("--A  b--"), "a-b");
    }
}
