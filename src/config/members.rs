//! Changes the members of one `[[peer]]` section of `emsync.toml`: what a form sends. As in `edit.rs` every other byte of the file stays, and what comes out is loaded before it replaces the file.

use std::path::Path;

use secrecy::zeroize::Zeroizing;
use toml_edit::{Item, Table, Value};

use super::Config;
use super::edit::{
    NewPeer, added, change, document, ended, line_after, line_end, read, section_of,
};
use super::error::Error;
use super::peer::{KeySource, Peer};

/// What a member is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// This text.
    Text(String),
    /// These texts.
    List(Vec<String>),
    /// This flag.
    Flag(bool),
    /// This number.
    Number(u32),
    /// Not there: its default.
    Absent,
}

impl Member {
    /// The text, or nothing where it is blank.
    #[must_use]
    pub fn text(text: &str) -> Self {
        match text.trim() {
            "" => Self::Absent,
            text => Self::Text(text.to_owned()),
        }
    }

    pub(super) fn value(&self) -> Option<Value> {
        match self {
            Self::Text(text) => Some(Value::from(text.as_str())),
            Self::List(texts) if texts.is_empty() => None,
            Self::List(texts) => Some(Value::Array(texts.iter().collect())),
            Self::Flag(flag) => Some(Value::from(*flag)),
            Self::Number(number) => Some(Value::from(i64::from(*number))),
            Self::Absent => None,
        }
    }
}

/// Members by name.
pub type Members = [(&'static str, Member)];

/// Adds a peer as [`add_peer`](super::edit::add_peer) does, with more members.
///
/// # Errors
/// As [`add_peer`](super::edit::add_peer).
pub fn add_peer_with(file: &Path, new: &NewPeer, members: &Members) -> Result<(), Error> {
    change(file, |text| {
        let (text, _) = added(text, file, new)?;
        with_members(text, file, &new.name, members)
    })
}

/// The section that [`add_peer_with`] would add, without a key that stands in it; the file stays as it is.
///
/// # Errors
/// As [`add_peer_with`].
pub fn with_peer(file: &Path, new: &NewPeer, members: &Members) -> Result<String, Error> {
    let (text, _) = added(&read(file)?, file, new)?;
    let text = with_members(text, file, &new.name, members)?;
    let section = text[section_of(&text, file, &new.name)?].to_owned();
    Ok(match &new.key {
        KeySource::Inline(key) => section.replace(key.expose(), "***"),
        KeySource::File(_) | KeySource::Env(_) => section,
    })
}

/// The peer as it would be once [`add_peer_with`] has added it; the file stays as it is.
///
/// # Errors
/// As [`add_peer_with`].
pub fn peer_with(file: &Path, new: &NewPeer, members: &Members) -> Result<Peer, Error> {
    let (text, _) = added(&read(file)?, file, new)?;
    let text = Zeroizing::new(with_members(text, file, &new.name, members)?);
    Ok(Config::parse(&text, file)?.peer(&new.name)?.clone())
}

/// The text of the file that [`change_peer`] would write, keys and all; the file stays as it is.
///
/// # Errors
/// As [`change_peer`].
pub fn with_changed_peer(
    file: &Path,
    name: &str,
    members: &Members,
) -> Result<Zeroizing<String>, Error> {
    let text = read(file)?;
    Config::parse(&text, file)?.peer(name)?;
    let text = Zeroizing::new(with_members(text.to_string(), file, name, members)?);
    Config::parse(&text, file)?;
    Ok(text)
}

/// Changes members of a peer's section; its name is none of them, since what is known of it is kept by that.
///
/// # Errors
/// [`Error::UnknownPeer`], or what [`Config::load`] says of the new values. The file is then as it was.
pub fn change_peer(file: &Path, name: &str, members: &Members) -> Result<(), Error> {
    change(file, |text| {
        Config::parse(text, file)?.peer(name)?;
        with_members(text.to_owned(), file, name, members)
    })
}

/// The text with members of a peer's section changed one by one.
fn with_members(
    mut text: String,
    file: &Path,
    name: &str,
    members: &Members,
) -> Result<String, Error> {
    for (key, member) in members {
        let doc = document(&text, file)?;
        let peers = doc.get("peer").and_then(Item::as_array_of_tables);
        let section = peers.and_then(|peers| {
            peers
                .iter()
                .find(|peer| peer.get("name").and_then(Item::as_str) == Some(name))
        });
        let section = section.ok_or_else(|| Error::PeersInline {
            file: file.to_owned(),
        })?;
        text = with_member(&text, section, key, member);
    }
    Ok(text)
}

/// The text with one member exchanged, added below the last one, or taken out with its line.
fn with_member(text: &str, section: &Table, key: &str, member: &Member) -> String {
    let old = section.get(key).and_then(Item::span);
    match (old, member.value()) {
        (Some(at), Some(new)) => format!("{}{new}{}", &text[..at.start], &text[at.end..]),
        (Some(at), None) => {
            let start = text[..at.start]
                .rfind('\n')
                .map_or(0, |line_end| line_end + 1);
            format!("{}{}", &text[..start], &text[line_after(text, at.end)..])
        }
        (None, Some(new)) => {
            let header = section.span().map_or(text.len(), |span| span.end);
            let last = section
                .iter()
                .filter_map(|(_, item)| item.span())
                .fold(header, |last, span| last.max(span.end));
            let after = line_after(text, last);
            let end = line_end(text);
            format!(
                "{}{key} = {new}{end}{}",
                ended(&text[..after]),
                &text[after..]
            )
        }
        (None, None) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::config::KeySource;

    const FILE: &str = "\
# ours
[node]
name = \"a\"
cluster_id = \"a-1\"

# the first
[[peer]] # odd
name = \"far\"
base_url = \"http://far/assets\" # over the ocean
# no more

[[peer]]
name = \"near\"
base_url = \"http://near/assets\"
enabled = false

# at night
[[event]]
name = \"Pull\"
action = \"pull\"
every = \"1h\" # often
";

    fn place(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("emsync.toml");
        fs::write(&file, text).unwrap();
        (dir, file)
    }

    fn read(file: &Path) -> String {
        fs::read_to_string(file).unwrap()
    }

    #[test]
    fn members_come_change_and_go_and_every_other_byte_stays() {
        for crlf in [false, true] {
            let as_is = |text: &str| match crlf {
                true => text.replace('\n', "\r\n"),
                false => text.to_owned(),
            };
            let (_dir, file) = place(&as_is(FILE));
            let members = [
                ("base_url", Member::text("http://else/assets")),
                ("pull_originals", Member::Flag(false)),
                ("cluster_id", Member::text(" ")),
            ];
            change_peer(&file, "far", &members).unwrap();
            let expected = FILE.replace(
                "base_url = \"http://far/assets\" # over the ocean\n",
                "base_url = \"http://else/assets\" # over the ocean\npull_originals = false\n",
            );
            assert_eq!(read(&file), as_is(&expected));
            change_peer(&file, "near", &[("enabled", Member::Absent)]).unwrap();
            let expected = expected.replace("enabled = false\n", "");
            assert_eq!(read(&file), as_is(&expected));
            let config = Config::load(&file).unwrap();
            assert!(config.peer("near").unwrap().enabled);
            assert!(!config.peer("far").unwrap().pull_originals);
        }
    }

    #[test]
    fn what_would_not_load_leaves_the_file_alone() {
        let (_dir, file) = place(FILE);
        let error = change_peer(
            &file,
            "far",
            &[("base_url", Member::text("http://far/assets/"))],
        );
        assert!(error.unwrap_err().report().contains("http://far/assets"));
        change_peer(&file, "none", &[]).unwrap_err();
        assert_eq!(read(&file), FILE);
    }

    #[test]
    fn a_peer_is_added_with_all_that_a_form_has() {
        let (_dir, file) = place(FILE);
        let new = NewPeer {
            name: "m".to_owned(),
            url: "http://m/assets".to_owned(),
            key: KeySource::File("keys/m".into()),
            cluster_id: None,
            push: false,
            push_originals: None,
            sidecar: false,
            ca_file: None,
        };
        add_peer_with(&file, &new, &[("enabled", Member::Flag(false))]).unwrap();
        assert!(!Config::load(&file).unwrap().peer("m").unwrap().enabled);
        assert!(read(&file).starts_with(FILE));
    }
}
