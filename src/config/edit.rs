//! Changes `emsync.toml` the way a careful person would: one section comes or goes, every other byte stays.
//!
//! `toml_edit` finds the place and writes the new piece; the rest of the text is copied, not printed anew, so comments,
//! order, blanks and line ends survive. What comes out is loaded as a [`Config`] before it replaces the file, and the
//! exchange is atomic (`write.rs`). Two edits at once wait for one another.

mod events;
mod settings;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;
use toml_edit::{ArrayOfTables, Document, DocumentMut, Item, Table, value};

pub use events::{EventText, add_event, change_event, enable_event, event_text, remove_event};
pub use settings::change_settings;

use super::error::{Error, Place, Problem};
use super::peer::{self, KeySource};
use super::read::line_of;
use super::url::BaseUrl;
use super::{Config, path, write};

/// A peer to be added; what is not here gets its default.
#[derive(Debug, Clone)]
pub struct NewPeer {
    /// What people will call it.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Where its key is kept. A relative file starts at the configuration's folder, not at the current one.
    pub key: KeySource,
    /// Its cluster id, when known.
    pub cluster_id: Option<String>,
    /// Whether our changes are sent to it.
    pub push: bool,
    /// Whether our originals are sent along; with `push` they are unless this says otherwise.
    pub push_originals: Option<bool>,
    /// Whether it is the EMDB beside this node.
    pub sidecar: bool,
    /// Certificates of its authority, where it has one of its own. A relative file starts at the configuration's folder.
    pub ca_file: Option<PathBuf>,
}

/// Adds a `[[peer]]` section at the end of the file, which becomes private (0600) when the key is in it.
///
/// # Errors
/// [`Error::PeerExists`]; [`Error::Argument`] for a value that cannot be used; any error of [`Config::load`] that was in
/// the file before. The file is then as it was.
pub fn add_peer(file: &Path, new: &NewPeer) -> Result<(), Error> {
    change(file, |text| Ok(added(text, file, new)?.0))
}

/// The text with the new section, and that section.
pub(super) fn added(
    text: &str,
    file: &Path,
    new: &NewPeer,
) -> Result<(String, Zeroizing<String>), Error> {
    let config = Config::parse(text, file)?;
    if config.peer(&new.name).is_ok() {
        return Err(Error::PeerExists {
            file: file.to_owned(),
            name: new.name.clone(),
        });
    }
    let doc = document(text, file)?;
    if doc
        .get("peer")
        .is_some_and(|peers| !peers.is_array_of_tables())
    {
        return Err(Error::PeersInline {
            file: file.to_owned(),
        });
    }
    let section = Zeroizing::new(section(new, &config)?);
    let mut text = ended(text);
    text.push_str(line_end(&text));
    text.push_str(&section.replace('\n', line_end(&text)));
    Ok((text, section))
}

/// Takes a peer's section out, with the comment lines that touch it.
///
/// # Errors
/// [`Error::UnknownPeer`], or any error of [`Config::load`]. The file is then as it was.
pub fn remove_peer(file: &Path, name: &str) -> Result<(), Error> {
    change(file, |text| {
        let gone = section_of(text, file, name)?;
        Ok(format!("{}{}", &text[..gone.start], &text[gone.end..]))
    })
}

/// The lines that [`remove_peer`] would take out, without a key that stands in them; the file stays as it is.
///
/// # Errors
/// As [`remove_peer`].
pub fn without_peer(file: &Path, name: &str) -> Result<String, Error> {
    let text = read(file)?;
    let gone = section_of(&text, file, name)?;
    let config = Config::parse(&text, file)?;
    Ok(match config.peer(name)?.key_source() {
        Some(KeySource::Inline(key)) => text[gone].replace(key.expose(), "***"),
        _ => text[gone].to_owned(),
    })
}

/// Where a peer's section is.
pub(super) fn section_of(text: &str, file: &Path, name: &str) -> Result<Range<usize>, Error> {
    Config::parse(text, file)?.peer(name)?;
    let doc = document(text, file)?;
    let peers = doc.get("peer").and_then(Item::as_array_of_tables);
    let peers = peers.ok_or_else(|| Error::PeersInline {
        file: file.to_owned(),
    })?;
    let section = peers
        .iter()
        .find(|peer| peer.get("name").and_then(Item::as_str) == Some(name))
        .expect("the same text was just loaded with a peer of that name");
    Ok(extent(text, section))
}

pub(super) fn read(file: &Path) -> Result<Zeroizing<String>, Error> {
    let text = fs::read_to_string(file).map_err(|source| Error::Read {
        file: file.to_owned(),
        source,
    })?;
    Ok(Zeroizing::new(text))
}

/// Writes a text value under `key`: `node.cluster_id`, or `state` at the top. Keys of peers cannot be set this way.
///
/// # Errors
/// [`Error::NotSettable`] for a key of another shape; any error of [`Config::load`] the new value would cause.
pub fn set(file: &Path, key: &str, text: &str) -> Result<(), Error> {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let plain = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let not_settable = || Error::NotSettable {
        file: file.to_owned(),
        key: key.to_owned(),
    };
    if name.is_empty() || !plain(name) || !plain(section) {
        return Err(not_settable());
    }
    change(file, |old| {
        let doc = document(old, file)?;
        with_value(old, doc.as_table(), (section, name), text.into()).ok_or_else(not_settable)
    })
}

/// `old` with a value exchanged, or a line or a section added; `None` where the file is written in another way.
fn with_value(old: &str, top: &Table, key: (&str, &str), new: toml_edit::Value) -> Option<String> {
    let (section, name) = key;
    let end = line_end(old);
    let table = match top.get(section) {
        _ if section.is_empty() => top,
        Some(item) => item.as_table()?,
        None => {
            return Some(format!(
                "{}{end}[{section}]{end}{name} = {new}{end}",
                ended(old)
            ));
        }
    };
    let (at, piece) = match table.get(name) {
        Some(item) => (item.as_value()?.span()?, new.to_string()),
        None if section.is_empty() => (0..0, format!("{name} = {new}{end}")),
        None => {
            let header = table.span().filter(|_| !table.is_dotted())?;
            let after = line_after(old, header.end);
            let gap = if old[..after].ends_with('\n') {
                ""
            } else {
                end
            };
            (after..after, format!("{gap}{name} = {new}{end}"))
        }
    };
    Some(format!("{}{piece}{}", &old[..at.start], &old[at.end..]))
}

/// Reads the file, lets `edit` make another text of it, checks that and puts it in place.
pub(super) fn change(
    file: &Path,
    edit: impl FnOnce(&str) -> Result<String, Error>,
) -> Result<(), Error> {
    let unreadable = |source| Error::Read {
        file: file.to_owned(),
        source,
    };
    let unwritable = |source| Error::Write {
        file: file.to_owned(),
        source,
    };
    // A link stays a link: what it points to is exchanged.
    let real: PathBuf = fs::canonicalize(file).map_err(unreadable)?;
    let _alone = write::lock(write::parent(&real)).map_err(unwritable)?;
    let old = Zeroizing::new(fs::read_to_string(&real).map_err(unreadable)?);
    let new = Zeroizing::new(edit(&old)?);
    let config = Config::parse(&new, file)?;
    let secret = config
        .peers
        .iter()
        .any(|peer| matches!(peer.key_source(), Some(KeySource::Inline(_))));
    write::replace(&real, &new, secret).map_err(unwritable)
}

pub(super) fn document<'t>(text: &'t str, file: &Path) -> Result<Document<&'t str>, Error> {
    Document::parse(text).map_err(|error| Error::Syntax {
        place: Place {
            file: file.to_owned(),
            line: error.span().map(|span| line_of(text, span.start)),
        },
        message: error.message().to_owned(),
    })
}

/// The text of a new section, after each of its values was checked.
fn section(new: &NewPeer, config: &Config) -> Result<String, Error> {
    let mut table = Table::new();
    table["name"] = value(checked("name", peer::check_name(&new.name))?);
    let url = new.url.parse::<BaseUrl>().map_err(Problem::from);
    table["base_url"] = value(checked("base_url", url)?.as_str());
    if let Some(id) = &new.cluster_id {
        let id = peer::check_cluster_id(id, Some(&config.node.cluster_id));
        table["cluster_id"] = value(checked("cluster_id", id)?.as_str());
    }
    match &new.key {
        KeySource::Inline(key) if key.expose().trim().is_empty() => {
            return checked("key", Err(Problem::Empty));
        }
        KeySource::Inline(key) => table["key"] = value(key.expose()),
        KeySource::Env(variable) => {
            table["key_env"] = value(checked("key_env", peer::check_variable(variable))?);
        }
        KeySource::File(file) => {
            let text = file.to_str().ok_or_else(|| Problem::NotText(file.clone()));
            let text = checked("key_file", text)?;
            checked("key_file", path(text, &config.dir))?;
            table["key_file"] = value(text);
        }
    }
    if let Some(file) = &new.ca_file {
        let text = file.to_str().ok_or_else(|| Problem::NotText(file.clone()));
        table["ca_file"] = value(checked("ca_file", text)?);
    }
    if new.sidecar {
        table["sidecar"] = value(true);
    }
    if new.push {
        table["push"] = value(true);
    }
    if let Some(originals) = new.push_originals {
        table["push_originals"] = value(originals);
    }
    let mut peers = ArrayOfTables::new();
    peers.push(table);
    let mut doc = DocumentMut::new();
    doc["peer"] = Item::ArrayOfTables(peers);
    Ok(doc.to_string())
}

fn checked<T>(key: &'static str, outcome: Result<T, Problem>) -> Result<T, Error> {
    outcome.map_err(|problem| Error::Argument {
        key,
        source: Box::new(problem),
    })
}

/// The bytes of a section: its lines, the comments that touch its header or its last line, and one blank line before it.
///
/// A comment that also touches the next header is that one's.
fn extent(text: &str, section: &Table) -> Range<usize> {
    let header = section.span().expect("a parsed section has a header");
    let last = section
        .iter()
        .filter_map(|(_, item)| item.span())
        .fold(header.end, |last, span| last.max(span.end));
    let mut end = line_after(text, last);
    let touching = lines_from(text, end).take_while(|line| line.trim_start().starts_with('#'));
    let comments: usize = touching.map(str::len).sum();
    if lines_from(text, end + comments).next().is_none_or(blank) {
        end += comments;
    }
    let head = text[..header.start].rfind('\n').map_or(0, |at| at + 1);
    let above = section.decor().prefix().and_then(|prefix| prefix.span());
    let above = above.map_or(head, |above| above.start.min(head));
    let mut start = head;
    for line in text[above..head].split_inclusive('\n').rev() {
        let comment = line.trim_start().starts_with('#');
        if comment || blank(line) {
            start -= line.len();
        }
        if !comment {
            break;
        }
    }
    start..end
}

fn blank(line: &str) -> bool {
    line.trim().is_empty()
}

fn lines_from(text: &str, offset: usize) -> impl Iterator<Item = &str> {
    text[offset..].split_inclusive('\n')
}

/// Where the line after the one that holds `offset` starts.
pub(super) fn line_after(text: &str, offset: usize) -> usize {
    text[offset..]
        .find('\n')
        .map_or(text.len(), |line_end| offset + line_end + 1)
}

pub(super) fn line_end(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// `text` with its last line ended.
pub(super) fn ended(text: &str) -> String {
    let gap = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        line_end(text)
    };
    format!("{text}{gap}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::thread;

    use super::*;
    use crate::config::Secret;

    const FILE: &str = "\
# ours
state = 'state'   # kept as it is

[node]
  name = \"a\"
cluster_id = \"a-1\"

# the first, far away
[[ peer ]] # odd blanks
name = \"far\"
base_url = \"http://far/assets\" # over the ocean
#key_file = \"old.key\"

# about the second
[[peer]]
name = \"near\"
base_url = \"http://near/assets\"
# about serving
[serve]
listen = \"127.0.0.1:1\"
# the end
";

    fn place(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("emsync.toml");
        fs::write(&file, text).unwrap();
        (dir, file)
    }

    fn master(key: KeySource) -> NewPeer {
        NewPeer {
            name: "master".to_owned(),
            url: "http://h:7700/assets".to_owned(),
            key,
            cluster_id: Some("m-1".to_owned()),
            push: true,
            push_originals: None,
            sidecar: false,
            ca_file: None,
        }
    }

    fn keyed_by_file() -> NewPeer {
        master(KeySource::File("keys/master".into()))
    }

    #[test]
    fn a_peer_is_added_at_the_end_and_every_other_byte_stays() {
        let (_dir, file) = place(FILE);
        add_peer(&file, &keyed_by_file()).unwrap();
        let expected = format!(
            "{FILE}\n[[peer]]\nname = \"master\"\nbase_url = \"http://h:7700/assets\"\ncluster_id = \"m-1\"\nkey_file = \"keys/master\"\npush = true\n"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    }

    #[test]
    fn adding_loading_and_removing_gives_the_original_bytes() {
        for text in [
            FILE.to_owned(),
            FILE.replace('\n', "\r\n"),
            format!("{FILE}\n\n"),
            format!("{FILE}#[[peer]]\n#name = \"x\"\n"),
            "node = { name = \"a\", cluster_id = \"a-1\" }\n".to_owned(),
        ] {
            let (_dir, file) = place(&text);
            add_peer(&file, &keyed_by_file()).unwrap();
            let config = Config::load(&file).unwrap();
            let peer = config.peer("master").unwrap();
            assert_eq!(peer.base_url.as_str(), "http://h:7700/assets");
            assert!(peer.push && peer.push_originals && peer.enabled);
            let added = fs::read_to_string(&file).unwrap();
            assert_eq!(
                text.contains('\r'),
                !added.replace("\r\n", "").contains('\n')
            );
            remove_peer(&file, "master").unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
    }

    #[test]
    fn a_removed_peer_takes_the_comments_that_touch_it_and_no_others() {
        let (_dir, file) = place(FILE);
        remove_peer(&file, "far").unwrap();
        let without_far = FILE.replace(
            "\n# the first, far away\n[[ peer ]] # odd blanks\nname = \"far\"\nbase_url = \"http://far/assets\" # over the ocean\n#key_file = \"old.key\"\n",
            "",
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), without_far);
        remove_peer(&file, "near").unwrap();
        let without_both = without_far.replace(
            "\n# about the second\n[[peer]]\nname = \"near\"\nbase_url = \"http://near/assets\"\n",
            "",
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), without_both);
        assert!(
            without_both.ends_with(
                "\"a-1\"\n# about serving\n[serve]\nlisten = \"127.0.0.1:1\"\n# the end\n"
            )
        );
    }

    #[test]
    fn a_key_in_the_file_makes_it_private() {
        let (_dir, file) = place(FILE);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode() & 0o777;
        add_peer(&file, &keyed_by_file()).unwrap();
        assert_eq!(mode(&file), 0o644);
        let key = Secret::new("planted \"1\"");
        let mut other = master(KeySource::Inline(key));
        other.name = "other".to_owned();
        add_peer(&file, &other).unwrap();
        assert_eq!(mode(&file), 0o600);
        let config = Config::load(&file).unwrap();
        let key = config.peer("other").unwrap().key().unwrap();
        assert_eq!(key.expose(), "planted \"1\"");
        assert!(!format!("{other:?} {config:?}").contains("planted"));
    }

    #[track_caller]
    fn refused(text: &str, change: impl FnOnce(&Path) -> Result<(), Error>) -> String {
        let (dir, file) = place(text);
        let report = change(&file).unwrap_err().report();
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            text,
            "the file was changed"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        report.replace(&file.display().to_string(), "FILE")
    }

    #[test]
    fn a_refused_change_leaves_the_file_as_it_was() {
        let add = |edit: fn(&mut NewPeer)| {
            let mut new = keyed_by_file();
            edit(&mut new);
            refused(FILE, |file| add_peer(file, &new))
        };
        assert_eq!(
            add(|new| new.name = "far".to_owned()),
            "FILE has a peer \"far\" already: choose another name, or `emsync peer remove far` first"
        );
        assert_eq!(
            add(|new| new.name = "-x".to_owned()),
            "name is not valid: \"-x\" is no name for a peer: use up to 64 letters, digits, '.', '_' and '-', the first a letter or digit"
        );
        assert!(add(|new| new.url.push('/')).contains("write \"http://h:7700/assets\""));
        assert!(add(|new| new.cluster_id = Some("a-1".to_owned())).contains("own cluster id"));
        assert!(
            add(|new| new.cluster_id = Some("entermedia-cluster".to_owned()))
                .contains("cluster.name")
        );
        assert!(
            add(|new| new.key = KeySource::File("~/k".into())).starts_with("key_file is not valid")
        );
        let key_for_name = add(|new| new.key = KeySource::Env("planted-key".to_owned()));
        assert!(
            key_for_name.starts_with("key_env is not valid") && !key_for_name.contains("planted")
        );
        assert_eq!(
            add(|new| new.key = KeySource::Inline(Secret::new(" "))),
            "key is not valid: it is empty"
        );
        assert_eq!(
            refused(FILE, |file| remove_peer(file, "x")),
            "no peer \"x\" in FILE: it knows far, near; `emsync peer add` adds another"
        );
    }

    #[test]
    fn peers_in_one_array_are_left_to_a_person() {
        let text = "peer = [{ name = \"x\", base_url = \"http://h/a\" }]\nnode = { name = \"a\", cluster_id = \"a-1\" }\n";
        for report in [
            refused(text, |file| add_peer(file, &keyed_by_file())),
            refused(text, |file| remove_peer(file, "x")),
        ] {
            assert!(
                report.starts_with("FILE: `peer` is written as one array"),
                "{report}"
            );
        }
    }

    #[test]
    fn what_a_killed_edit_left_behind_harms_nobody() {
        let (dir, file) = place(FILE);
        fs::write(dir.path().join(".emsync.toml.Ab12cD"), "[[peer]]\nna").unwrap();
        add_peer(&file, &keyed_by_file()).unwrap();
        assert_eq!(Config::load(&file).unwrap().peers.len(), 3);
    }

    #[test]
    fn edits_at_the_same_time_all_arrive() {
        let (_dir, file) = place(FILE);
        thread::scope(|scope| {
            for n in 0..8 {
                let file = &file;
                scope.spawn(move || {
                    let mut new = keyed_by_file();
                    new.name = format!("peer{n}");
                    add_peer(file, &new).unwrap();
                });
            }
        });
        assert_eq!(Config::load(&file).unwrap().peers.len(), 10);
    }

    #[test]
    fn a_link_stays_a_link() {
        let (dir, file) = place(FILE);
        let link = dir.path().join("link.toml");
        symlink(&file, &link).unwrap();
        add_peer(&link, &keyed_by_file()).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(Config::load(&file).unwrap().peers.len(), 3);
    }

    #[test]
    fn a_value_is_set_where_it_belongs() {
        for (key, value, from, to) in [
            ("node.cluster_id", "b-2", "\"a-1\"", "\"b-2\""),
            ("state", "/s", "'state'   # kept", "\"/s\"   # kept"),
            (
                "node.catalog",
                "b/c",
                "[node]\n",
                "[node]\ncatalog = \"b/c\"\n",
            ),
            (
                "media.root",
                "m",
                "# the end\n",
                "# the end\n\n[media]\nroot = \"m\"\n",
            ),
        ] {
            let (_dir, file) = place(FILE);
            set(&file, key, value).unwrap();
            assert_eq!(
                fs::read_to_string(&file).unwrap(),
                FILE.replace(from, to),
                "{key}"
            );
        }
    }

    #[test]
    fn a_value_that_cannot_be_used_is_not_set() {
        let report = refused(FILE, |file| {
            set(file, "node.cluster_id", "entermedia-cluster")
        });
        assert!(
            report.starts_with("FILE:6: node.cluster_id is not valid"),
            "{report}"
        );
        let report = refused(FILE, |file| set(file, "node.colour", "red"));
        assert!(report.contains("unknown key node.colour"), "{report}");
        for key in ["peer.name", "peer", "a.b.c", "node.", "x = 1\ny"] {
            let report = refused(FILE, |file| set(file, key, "x"));
            let expected = format!("FILE: {key} cannot be set from here: edit the file");
            assert_eq!(report, expected);
        }
    }
}
