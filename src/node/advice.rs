//! What a configuration that loads would still have somebody look at: files that others may read or that are not there, keys that
//! travel in the open. That state and media share a disk is as `init` makes it: `limits.reserve` keeps room for the catalogue.
//!
//! Looks at files and folders by their metadata and opens none but the files of keys. What the node itself holds is looked at by
//! [`doctor`](super::doctor), how a peer answers by `peer test`.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::config::{Config, KeySource, Peer, Program};
use crate::peer::route;

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Advice {
    /// The setting, or the variable, that it is about.
    pub about: String,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub mend: &'static str,
}

fn advice(about: impl Into<String>, found: impl Into<String>, mend: &'static str) -> Advice {
    Advice {
        about: about.into(),
        found: found.into(),
        mend,
    }
}

/// Everything there is to say about a configuration that loads.
#[must_use]
pub fn of(config: &Config) -> Vec<Advice> {
    let mut all = Vec::new();
    all.extend(inline_secrets(config));
    all.extend(folders(config));
    all.extend(listening(config));
    if let Err(error) = route::check(&config.network) {
        let mend = "no peer is reached before that";
        all.push(advice("network.proxy", crate::error::chain(&error), mend));
    }
    for peer in &config.peers {
        all.extend(key(peer));
        all.extend(in_the_open(peer));
    }
    for event in config.events.iter().filter(|event| event.enabled) {
        let named = event.peer.as_deref();
        let disabled = |peer: &&Peer| named == Some(peer.name.as_str()) && !peer.enabled;
        if let Some(peer) = config.peers.iter().find(disabled) {
            let found = format!(
                "runs by itself with the peer {}, which is disabled",
                peer.name
            );
            all.push(advice(
                format!("event.{}.peer", event.name),
                found,
                "enable the peer, or disable the event",
            ));
        }
        if event.action.is_with_peers()
            && named.is_none()
            && config.enabled_peers().next().is_none()
        {
            all.push(advice(
                format!("event.{}", event.name),
                "is for every enabled peer, and there is none",
                "`emsync peer add` adds one",
            ));
        }
    }
    for (name, program) in &config.adapters {
        if let Program::At(path) = program
            && !is_program(path)
        {
            let found = format!("{} is no program that may be run", path.display());
            all.push(advice(
                format!("adapters.{name}"),
                found,
                "correct the path, or take it away to have the program looked for",
            ));
        }
    }
    all
}

/// Variables that look like ours, and that nothing reads. `known` are those that something does.
#[must_use]
pub fn of_variables<'v>(
    set: impl Iterator<Item = &'v OsStr>,
    known: &HashSet<String>,
    config: Option<&Config>,
) -> Vec<Advice> {
    let peers = config.map_or(&[][..], |config| &config.peers);
    let keys: HashSet<&str> = peers
        .iter()
        .filter_map(|peer| match peer.key_source() {
            Some(KeySource::Env(variable)) => Some(variable.as_str()),
            _ => None,
        })
        .collect();
    let ours = set.filter_map(OsStr::to_str).filter(|name| {
        name.starts_with("EMSYNC_") && !known.contains(*name) && !keys.contains(name)
    });
    let mut names: Vec<_> = ours.collect();
    names.sort_unstable();
    let mend = "correct its name, or unset it: flags have variables of their own names, see --help";
    let unread = names.into_iter();
    unread
        .map(|name| advice(name, "is set, and nothing reads it", mend))
        .collect()
}

/// Whether others than the owner and the group may read a file.
fn others_read(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o004 != 0)
}

fn inline_secrets(config: &Config) -> Option<Advice> {
    let inline = |peer: &Peer| matches!(peer.key_source(), Some(KeySource::Inline(_)));
    let is_secret = config.peers.iter().any(inline)
        || config.notify.ping.is_some()
        || config.notify.webhook.is_some()
        || config.events.iter().any(|event| event.ping.is_some());
    (is_secret && others_read(&config.file)).then(|| {
        let found = format!(
            "{} holds a secret, and everybody may read it",
            config.file.display()
        );
        advice(
            "emsync.toml",
            found,
            "chmod 600 it, or keep keys in a key_file",
        )
    })
}

fn folders(config: &Config) -> Vec<Advice> {
    let mut all = Vec::new();
    let (root, state) = (&config.media.root, &config.state);
    if !root.join(".emsync/root.json").exists() {
        let found = format!("{} holds no media root of a node", root.display());
        let mend = "mount the media volume or correct the path; `emsync init` makes a new one";
        all.push(advice("media.root", found, mend));
    }
    if let Some(kind) = nearest(state).as_deref().and_then(remote) {
        let found = format!("{} lies on {kind}", state.display());
        let mend = "keep the catalogue on a local disk: a network file system loses its locks";
        all.push(advice("state", found, mend));
    }
    all
}

/// A path, or the nearest folder above it that is there.
fn nearest(path: &Path) -> Option<PathBuf> {
    let there = path.ancestors().find(|path| path.exists());
    there.map(Path::to_owned)
}

/// The kind of a file system that another machine holds.
#[cfg(target_os = "linux")]
fn remote(path: &Path) -> Option<&'static str> {
    // The numbers of `statfs(2)`.
    match rustix::fs::statfs(path).ok()?.f_type as u32 {
        0x6969 => Some("NFS"),
        0xFF53_4D42 | 0xFE53_4D42 => Some("SMB"),
        0x517B => Some("SMB"),
        0x0102_1997 => Some("9P"),
        0x00C3_6400 => Some("Ceph"),
        _ => None,
    }
}

#[cfg(not(target_os = "linux"))]
fn remote(_: &Path) -> Option<&'static str> {
    None
}

fn listening(config: &Config) -> Vec<Advice> {
    let serve = &config.serve;
    let mut all = Vec::new();
    if !serve.listen.ip().is_loopback() && serve.tls.is_none() && serve.trusted_proxy.is_none() {
        let found = format!("{} is reached from outside by plain http", serve.listen);
        let mend = "keys and passwords travel in the open: give tls_cert and tls_key, or put a proxy with https before it";
        all.push(advice("serve.listen", found, mend));
    }
    let Some(tls) = &serve.tls else { return all };
    for (key, path) in [("serve.tls_cert", &tls.cert), ("serve.tls_key", &tls.key)] {
        if let Err(error) = fs::metadata(path) {
            let found = format!("{}: {error}", path.display());
            all.push(advice(
                key,
                found,
                "`emsync serve` does not start without it",
            ));
        }
    }
    if others_read(&tls.key) {
        let found = format!("{} may be read by everybody", tls.key.display());
        all.push(advice("serve.tls_key", found, "chmod 600 it"));
    }
    all
}

fn key(peer: &Peer) -> Option<Advice> {
    let about = format!("peer.{}", peer.name);
    if let Some(KeySource::File(path)) = peer.key_source()
        && others_read(path)
    {
        let found = format!("its key_file {} may be read by everybody", path.display());
        return Some(advice(about, found, "chmod 600 it"));
    }
    let error = peer.key().err()?;
    let mend = "nothing is exchanged with this peer before that";
    Some(advice(about, error.report(), mend))
}

/// Keys in the headers of plain http are read by whoever stands in between.
fn in_the_open(peer: &Peer) -> Option<Advice> {
    let host = peer.base_url.host();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>();
    let is_near = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    (!peer.base_url.is_https() && !is_near).then(|| {
        let mend = "its key travels in the open: use https, or be sure of the network in between";
        advice(
            format!("peer.{}.base_url", peer.name),
            "is plain http",
            mend,
        )
    })
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    fn config(dir: &Path, lines: &str) -> Config {
        let text = format!("node = {{ name = \"a\", cluster_id = \"a-1\" }}\n{lines}");
        let file = dir.join("emsync.toml");
        fs::write(&file, &text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        Config::load(&file).unwrap()
    }

    fn abouts(config: &Config) -> Vec<String> {
        of(config).into_iter().map(|one| one.about).collect()
    }

    #[test]
    fn a_key_that_others_may_read_is_said_until_they_may_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.key");
        fs::write(&path, "planted").unwrap();
        let config = config(
            dir.path(),
            "[[peer]]\nname = \"m\"\nbase_url = \"http://127.0.0.1/a\"\nkey_file = \"m.key\"\n",
        );
        for (mode, is_said) in [(0o644, true), (0o640, false), (0o600, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let said = abouts(&config);
            assert_eq!(
                said.contains(&"peer.m".to_owned()),
                is_said,
                "{mode:o} {said:?}"
            );
        }
        fs::remove_file(&path).unwrap();
        let said = format!("{:?}", of(&config));
        assert!(
            said.contains("cannot be read") && !said.contains("planted"),
            "{said}"
        );
    }

    #[test]
    fn secrets_in_the_file_itself_are_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(
            dir.path(),
            "[[peer]]\nname = \"m\"\nbase_url = \"https://h/a\"\nkey = \"planted\"\n",
        );
        assert!(abouts(&config).contains(&"emsync.toml".to_owned()));
        fs::set_permissions(&config.file, Permissions::from_mode(0o600)).unwrap();
        assert!(!abouts(&config).contains(&"emsync.toml".to_owned()));
    }

    #[test]
    fn keys_in_the_open_and_doors_to_the_outside_are_said() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(
            dir.path(),
            "serve = { listen = \"0.0.0.0:7700\" }\nadapters = { vips = \"/none\" }\n\
             [[peer]]\nname = \"far\"\nbase_url = \"http://10.0.0.7/a\"\nkey = \"planted\"\nenabled = false\n\
             [[event]]\nname = \"e\"\naction = \"pull\"\npeer = \"far\"\nevery = \"1h\"\n\
             [[event]]\nname = \"all\"\naction = \"pull\"\nevery = \"1h\"\n",
        );
        let said = abouts(&config);
        for about in [
            "serve.listen",
            "adapters.vips",
            "peer.far.base_url",
            "event.e.peer",
            "event.all",
            "media.root",
        ] {
            assert!(said.contains(&about.to_owned()), "{about} in {said:?}");
        }
        // One disk for both is as every new node has it.
        assert!(!said.contains(&"state".to_owned()), "{said:?}");
    }

    #[test]
    fn a_variable_that_nothing_reads_is_said() {
        let known = HashSet::from(["EMSYNC_CONFIG".to_owned()]);
        let set = ["EMSYNC_CONFIG", "EMSYNC_TRANSFER", "PATH"].map(OsStr::new);
        let said = of_variables(set.into_iter(), &known, None);
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].about, "EMSYNC_TRANSFER");
    }
}
