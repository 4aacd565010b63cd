//! One remote node as the configuration describes it: EMDB's `editingcluster` record (wire spec 1.2) with safer defaults.
//!
//! The key is not read when the configuration is: a peer whose key file is missing must not keep the others from working.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;

use super::error::{Error, Place, Problem};
use super::limits;
use super::network::Network;
use super::read::At;
use super::secret::Secret;
use super::units::MaxDelete;
use super::url::BaseUrl;
use super::{cluster_id, file, filter, path};
use crate::model::{Filter, NodeId};

/// A remote node we exchange with.
#[derive(Debug, Clone)]
pub struct Peer {
    /// What people call it, `[A-Za-z0-9._-]+`, unique in the file.
    pub name: String,
    /// Where it is.
    pub base_url: BaseUrl,
    /// Its cluster id; needed for an EMDB peer, learned from an emsync peer.
    pub cluster_id: Option<NodeId>,
    /// Whether runs that name no peer include it.
    pub enabled: bool,
    /// Whether originals are fetched from it.
    pub pull_originals: bool,
    /// Where generated files come from.
    pub generated: Generated,
    /// Whether our changes are sent to it.
    pub push: bool,
    /// Whether our originals are sent along.
    pub push_originals: bool,
    /// Whether it is the EMDB beside this node: its media are ours, in one directory, and its cluster id is ours. Records go both
    /// ways, files only where they lie already.
    pub sidecar: bool,
    /// Whether a session cookie marked `Secure` may be sent over http: EMDB's paging is lost without it (wire spec 11.2, item 1).
    pub insecure_session: bool,
    /// Deletes from this peer per run, instead of `limits.max_delete`.
    pub max_delete: Option<MaxDelete>,
    /// How it is reached.
    pub network: Network,
    /// Which assets' files are wanted of it.
    pub filter: Filter,
    key: Option<KeySource>,
    place: Place,
}

/// Where the generated files of a peer's assets come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generated {
    /// Copied from the peer.
    Copy,
    /// Made here from the originals.
    Rebuild,
    /// Whichever is cheaper and correct, file by file.
    Auto,
    /// Neither: none are wanted (EMDB's `skipgenerated`).
    Off,
}

/// Where a peer's key is kept.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// In the configuration itself.
    Inline(Secret),
    /// On the first line of a file; a relative path starts at the folder of the configuration.
    File(PathBuf),
    /// In an environment variable of this name.
    Env(String),
}

/// Longest line that is looked at for a key.
const KEY_LIMIT: u64 = 16 * 1024;

impl Peer {
    /// The key this node shows to the peer, read now from where it is kept.
    ///
    /// # Errors
    /// Says how to mend it: no key given, file missing or unreadable, variable not set, nothing in it, or characters no
    /// header can carry.
    pub fn key(&self) -> Result<Secret, Error> {
        let peer = || self.name.clone();
        let (key, whence) = match &self.key {
            None => {
                return Err(Error::NoKey {
                    place: self.place.clone(),
                    peer: peer(),
                });
            }
            Some(KeySource::Inline(secret)) => (secret.clone(), self.place.to_string()),
            Some(KeySource::File(path)) => {
                let key = first_line(path).map_err(|source| Error::KeyFile {
                    peer: peer(),
                    path: path.clone(),
                    source,
                })?;
                (key, path.display().to_string())
            }
            Some(KeySource::Env(variable)) => {
                let key = env::var(variable).map_err(|_| Error::KeyUnset {
                    peer: peer(),
                    variable: variable.clone(),
                })?;
                (Secret::new(key.trim()), variable.clone())
            }
        };
        if key.expose().is_empty() {
            return Err(Error::KeyEmpty {
                peer: peer(),
                whence,
            });
        }
        if !key.expose().bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return Err(Error::KeyUnsendable {
                peer: peer(),
                whence,
            });
        }
        Ok(key)
    }

    /// Where the key is kept, when one is given.
    #[must_use]
    pub fn key_source(&self) -> Option<&KeySource> {
        self.key.as_ref()
    }

    /// Where the peer's section starts in the file.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// A node that is known by name alone and has no address (RFC 2606).
    #[must_use]
    pub(crate) fn nowhere(name: &str, cluster_id: Option<NodeId>) -> Self {
        let base_url = "http://nowhere.invalid/none".parse();
        Self {
            name: name.to_owned(),
            base_url: base_url.expect("a base URL"),
            cluster_id,
            enabled: false,
            pull_originals: true,
            generated: Generated::Copy,
            push: false,
            push_originals: false,
            sidecar: false,
            insecure_session: false,
            max_delete: None,
            network: Network::default(),
            filter: Filter::default(),
            key: None,
            place: Place::default(),
        }
    }

    pub(super) fn resolve(
        written: &file::Peer,
        dir: &Path,
        (own, network): (&NodeId, &Network),
    ) -> Result<Self, Error> {
        let base_url = match &written.base_url {
            None => {
                return Err(missing(
                    written,
                    "peer.base_url",
                    "write the address of the peer's site, such as \"http://host:7700/assets\"",
                ));
            }
            Some(at) => at.check(|text| text.parse::<BaseUrl>())?,
        };
        let name = match &written.name {
            None => {
                return Err(missing(
                    written,
                    "peer.name",
                    "write what you call this peer",
                ));
            }
            Some(at) => at.check(|text| check_name(text))?,
        };
        let flag = |at: &Option<At<bool>>, default| at.as_ref().map_or(default, |at| at.value);
        let sidecar = flag(&written.sidecar, false);
        let push = flag(&written.push, sidecar);
        let push_originals = flag(&written.push_originals, push && !sidecar);
        if let Some(at) = &written.push_originals
            && push_originals
            && sidecar
        {
            return Err(at.wrong(Problem::SidecarOriginals));
        }
        if let Some(at) = &written.push_originals
            && push_originals
            && !push
        {
            return Err(at.wrong(Problem::OriginalsWithoutPush));
        }
        Ok(Self {
            cluster_id: if sidecar {
                sidecar_id(&written.cluster_id, own)?
            } else {
                peer_cluster_id(&written.cluster_id, own)?
            },
            sidecar,
            enabled: flag(&written.enabled, true),
            pull_originals: flag(&written.pull_originals, true),
            generated: generated(&written.generated)?,
            push,
            push_originals,
            insecure_session: flag(&written.insecure_session, !base_url.is_https()),
            max_delete: limits::max_delete(&written.max_delete)?,
            network: network.for_peer(&written.ca_file, dir)?,
            filter: filter::resolve(written)?,
            key: key_source(written, dir)?,
            place: written.place.clone(),
            name,
            base_url,
        })
    }
}

/// A peer without its key, for people and programs.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Described {
    name: String,
    base_url: String,
    cluster_id: Option<String>,
    /// Where its key is kept.
    key: String,
    enabled: bool,
    pull_originals: bool,
    generated: String,
    push: bool,
    push_originals: bool,
    sidecar: bool,
    insecure_session: bool,
    filter: String,
}

impl Described {
    /// Describes a peer.
    #[must_use]
    pub fn of(peer: &Peer) -> Self {
        Self {
            name: peer.name.clone(),
            base_url: peer.base_url.to_string(),
            cluster_id: peer.cluster_id.as_ref().map(ToString::to_string),
            key: match peer.key_source() {
                None => "none".to_owned(),
                Some(KeySource::Inline(_)) => "in emsync.toml".to_owned(),
                Some(KeySource::File(path)) => format!("file {}", path.display()),
                Some(KeySource::Env(variable)) => format!("environment variable {variable}"),
            },
            enabled: peer.enabled,
            pull_originals: peer.pull_originals,
            generated: format!("{:?}", peer.generated).to_lowercase(),
            push: peer.push,
            push_originals: peer.push_originals,
            sidecar: peer.sidecar,
            insecure_session: peer.insecure_session,
            filter: peer.filter.to_string(),
        }
    }
}

/// A name that fits a command line, a log field and a file name alike.
pub(super) fn check_name(text: &str) -> Result<String, Problem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= 64
        && text.chars().all(plain)
    {
        Ok(text.to_owned())
    } else {
        Err(Problem::PeerName(text.to_owned()))
    }
}

pub(super) fn check_cluster_id(text: &str, own: Option<&NodeId>) -> Result<NodeId, Problem> {
    let mend = "set a cluster.name in that EMDB and write it here";
    let id = cluster_id(text, mend)?;
    if own == Some(&id) {
        return Err(Problem::OwnClusterId);
    }
    Ok(id)
}

pub(super) fn check_variable(text: &str) -> Result<String, Problem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) || !text.chars().all(plain)
    {
        return Err(Problem::Variable);
    }
    Ok(text.to_owned())
}

fn missing(written: &file::Peer, key: &str, mend: &'static str) -> Error {
    Error::Missing {
        place: written.place.clone(),
        key: key.to_owned(),
        mend,
    }
}

fn peer_cluster_id(written: &Option<At<String>>, own: &NodeId) -> Result<Option<NodeId>, Error> {
    written
        .as_ref()
        .map(|at| at.check(|text| check_cluster_id(text, Some(own))))
        .transpose()
}

/// The EMDB beside this node has its cluster id (design section 8, Identity).
fn sidecar_id(written: &Option<At<String>>, own: &NodeId) -> Result<Option<NodeId>, Error> {
    if let Some(at) = written
        && at.value != own.as_str()
    {
        return Err(at.wrong(Problem::SidecarClusterId));
    }
    Ok(Some(own.clone()))
}

fn generated(written: &Option<At<String>>) -> Result<Generated, Error> {
    let Some(at) = written else {
        return Ok(Generated::Auto);
    };
    at.check(|text| match text.as_str() {
        "copy" => Ok(Generated::Copy),
        "rebuild" => Ok(Generated::Rebuild),
        "auto" => Ok(Generated::Auto),
        "off" => Ok(Generated::Off),
        other => Err(Problem::Choice {
            value: other.to_owned(),
            allowed: "copy, rebuild, auto and off",
        }),
    })
}

fn key_source(written: &file::Peer, dir: &Path) -> Result<Option<KeySource>, Error> {
    let second = |first| Problem::SecondKey { first };
    match (&written.key, &written.key_file, &written.key_env) {
        (None, None, None) => Ok(None),
        (Some(_), Some(at), _) | (Some(_), _, Some(at)) => Err(at.wrong(second("key"))),
        (None, Some(_), Some(at)) => Err(at.wrong(second("key_file"))),
        (Some(at), None, None) if at.value.expose().trim().is_empty() => {
            Err(at.wrong(Problem::Empty))
        }
        (Some(at), None, None) => {
            let key = Secret::new(at.value.expose().trim());
            Ok(Some(KeySource::Inline(key)))
        }
        (None, Some(at), None) => {
            let file = at.check(|text| path(text, dir))?;
            Ok(Some(KeySource::File(file)))
        }
        (None, None, Some(at)) => {
            let variable = at.check(|text| check_variable(text))?;
            Ok(Some(KeySource::Env(variable)))
        }
    }
}

/// The first line of a file, without the blanks around it.
fn first_line(path: &Path) -> io::Result<Secret> {
    let mut line = Zeroizing::new(String::new());
    BufReader::new(File::open(path)?.take(KEY_LIMIT)).read_line(&mut line)?;
    Ok(Secret::new(line.trim()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Config;

    fn peer(dir: &Path, line: &str) -> Peer {
        let text = format!(
            "node = {{ name = \"a\", cluster_id = \"a-1\" }}\n[[peer]]\nname = \"m\"\nbase_url = \"http://h/a\"\n{line}\n"
        );
        let mut config = Config::parse(&text, &dir.join("emsync.toml")).unwrap();
        config.peers.remove(0)
    }

    #[test]
    fn a_key_file_is_looked_for_beside_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("keys")).unwrap();
        fs::write(
            dir.path().join("keys/m"),
            "  planted-1 \r\n# a second line\n",
        )
        .unwrap();
        let peer = peer(dir.path(), "key_file = \"keys/m\"");
        assert_eq!(peer.key().unwrap().expose(), "planted-1");
        assert!(!format!("{peer:?} {:?}", peer.key()).contains("planted"));
    }

    #[test]
    fn a_key_is_read_anew_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let peer = peer(dir.path(), "key_file = \"m\"");
        assert!(peer.key().is_err());
        for key in ["one", "two"] {
            fs::write(dir.path().join("m"), key).unwrap();
            assert_eq!(peer.key().unwrap().expose(), key);
        }
    }

    #[test]
    fn a_key_may_come_from_the_environment_or_the_file_itself() {
        // A variable that every process has, whoever starts the tests.
        let from_env = peer(Path::new("/c"), "key_env = \"PATH\"");
        assert_eq!(
            from_env.key().unwrap().expose(),
            env::var("PATH").unwrap().trim()
        );
        let inline = peer(Path::new("/c"), "key = \" planted \"");
        assert_eq!(inline.key().unwrap().expose(), "planted");
        assert!(!format!("{inline:?}").contains("planted"));
    }

    #[test]
    fn a_missing_key_says_how_to_mend_it() {
        let dir = tempfile::tempdir().unwrap();
        let report = |line: &str| {
            let report = peer(dir.path(), line).key().unwrap_err().report();
            report.replace(&dir.path().display().to_string(), "DIR")
        };
        fs::write(dir.path().join("empty"), "\n\nplanted\n").unwrap();
        fs::write(dir.path().join("odd"), "pla\u{1}nted").unwrap();
        assert_eq!(
            report(""),
            "DIR/emsync.toml:2: peer \"m\" has no key: give it one of key_file, key_env or key"
        );
        assert_eq!(
            report("key_file = \"none\""),
            "peer \"m\": key_file DIR/none cannot be read: No such file or directory (os error 2)"
        );
        assert_eq!(
            report("key_file = \"empty\""),
            "peer \"m\": the key in DIR/empty is empty: put the key the peer issued on its first line"
        );
        assert_eq!(
            report("key_file = \"odd\""),
            "peer \"m\": the key in DIR/odd holds a character that no key has: copy it again, as one line of plain text"
        );
        assert_eq!(
            report("key_env = \"EMSYNC_TEST_NEVER_SET\""),
            "peer \"m\": the environment variable EMSYNC_TEST_NEVER_SET of key_env is not set: export it, or use key_file"
        );
    }

    #[test]
    fn names_fit_a_command_line_and_a_file_name() {
        for good in ["a", "cdn-1", "A.b_c", "9"] {
            assert!(check_name(good).is_ok(), "{good:?} was refused");
        }
        for bad in [
            "",
            "-a",
            ".",
            "..",
            ".a",
            "a b",
            "a/b",
            "ä",
            &"x".repeat(65),
        ] {
            assert!(check_name(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn an_insecure_session_is_the_default_only_where_there_is_no_tls() {
        assert!(peer(Path::new("/c"), "").insecure_session);
        assert!(!peer(Path::new("/c"), "insecure_session = false").insecure_session);
        let text = "node = { name = \"a\", cluster_id = \"a-1\" }\npeer = [{ name = \"m\", base_url = \"https://h/a\" }]";
        let config = Config::parse(text, Path::new("/c/emsync.toml")).unwrap();
        assert!(!config.peers[0].insecure_session);
    }
}
