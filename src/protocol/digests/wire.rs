//! The questions and answers about digests: `cluster/emsyncdigest.json`, for emsync nodes alone.
//!
//! A question is a form; tags in it are base64 without padding, one after the other. Tags in an answer are bytes: lists of them
//! each with their number before it, four bytes, most significant first; [`UNKNOWN`] where a tag of the question is not (or not
//! any more) one of this node's.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::item::Written;
use super::{Item, Level, TAG_BYTES, Tag};
use crate::model::Module;
use crate::protocol::{Error, form};

/// Most tags of one question: some 22 KB of form.
pub const TAGS_A_REQUEST: usize = 1_000;
/// Most tables an answer may name.
pub const TABLES_MOST: usize = 10_000;
/// Stands for a list that cannot be given.
const UNKNOWN: u32 = u32::MAX;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The tag of each table.
    Tables,
    /// The groups of a table.
    Groups(Module),
    /// What is below these tags of a table: the spans of groups, the items of spans.
    Below(Module, Level, Vec<Tag>),
    /// Items of a table themselves, each by its span's tag and its own.
    Items(Module, Vec<(Tag, Tag)>),
}

impl Asked {
    /// As a form body.
    #[must_use]
    pub fn form_encode(&self) -> String {
        let (what, table, tags) = match self {
            Self::Tables => ("tables", None, Vec::new()),
            Self::Groups(table) => ("groups", Some(table), Vec::new()),
            Self::Below(table, Level::Group, tags) => ("spans", Some(table), tags.clone()),
            Self::Below(table, _, tags) => ("tags", Some(table), tags.clone()),
            Self::Items(table, pairs) => {
                let tags = pairs.iter().flat_map(|(span, item)| [*span, *item]);
                ("items", Some(table), tags.collect())
            }
        };
        let mut body = String::new();
        form::push(&mut body, "what", what);
        if let Some(table) = table {
            form::push(&mut body, "table", table.as_str());
        }
        if !tags.is_empty() {
            form::push(
                &mut body,
                "of",
                &BASE64URL_NOPAD.encode(&encode_tags(&tags)),
            );
        }
        body
    }

    /// From a form body.
    ///
    /// # Errors
    /// [`Error::Form`] for a question that is none, or asks for too much.
    pub fn form_decode(body: &str) -> Result<Self, Error> {
        let wrong = |field, reason| Error::Form { field, reason };
        let what = form::field(body, "what").unwrap_or_default();
        if what == "tables" {
            return Ok(Self::Tables);
        }
        let table = form::field(body, "table").unwrap_or_default();
        let table = Module::new(table).map_err(|_| wrong("table", "is no table"))?;
        let of = form::field(body, "of").unwrap_or_default();
        let bytes = BASE64URL_NOPAD.decode(of.as_bytes());
        let bytes = bytes.map_err(|_| wrong("of", "is not base64"))?;
        let tags = tags_of(&bytes).ok_or(wrong("of", "ends within a tag"))?;
        if tags.len() > TAGS_A_REQUEST {
            return Err(wrong("of", "asks for too much at a time"));
        }
        match what.as_ref() {
            "groups" => Ok(Self::Groups(table)),
            "spans" => Ok(Self::Below(table, Level::Group, tags)),
            "tags" => Ok(Self::Below(table, Level::Span, tags)),
            "items" if tags.len().is_multiple_of(2) => {
                let pairs = tags.chunks_exact(2).map(|pair| (pair[0], pair[1]));
                Ok(Self::Items(table, pairs.collect()))
            }
            "items" => Err(wrong("of", "is not in pairs")),
            _ => Err(wrong("what", "is not known")),
        }
    }
}

fn tags_of(bytes: &[u8]) -> Option<Vec<Tag>> {
    let (tags, rest) = bytes.as_chunks::<TAG_BYTES>();
    rest.is_empty()
        .then(|| tags.iter().copied().map(Tag::from_bytes).collect())
}

#[derive(Serialize, Deserialize)]
struct Tables {
    tables: Vec<Table>,
}

#[derive(Serialize, Deserialize)]
struct Table {
    table: String,
    tag: String,
}

/// Writes the answer to [`Asked::Tables`].
#[must_use]
pub fn encode_tables(tables: &[(Module, Tag)]) -> Vec<u8> {
    let table = |(module, tag): &(Module, Tag)| Table {
        table: module.to_string(),
        tag: BASE64URL_NOPAD.encode(tag.as_bytes()),
    };
    let tables = Tables {
        tables: tables.iter().map(table).collect(),
    };
    serde_json::to_vec(&tables).expect("text always is JSON")
}

/// Reads the answer to [`Asked::Tables`].
///
/// # Errors
/// [`Error::Malformed`], also for a table that comes twice.
pub fn parse_tables(body: &[u8]) -> Result<Vec<(Module, Tag)>, Error> {
    let bad = |reason: &str| Error::malformed(body, reason);
    let read: Tables =
        serde_json::from_slice(body).map_err(|error| Error::malformed(body, error))?;
    if read.tables.len() > TABLES_MOST {
        return Err(bad("more tables than there can be"));
    }
    let mut found = std::collections::BTreeMap::new();
    for table in read.tables {
        let module = Module::new(table.table).map_err(|error| Error::malformed(body, error))?;
        let bytes = BASE64URL_NOPAD
            .decode(table.tag.as_bytes())
            .unwrap_or_default();
        let tag = bytes
            .try_into()
            .map_err(|_| bad("a tag of another length"))?;
        if found.insert(module, Tag::from_bytes(tag)).is_some() {
            return Err(bad("a table comes twice"));
        }
    }
    Ok(found.into_iter().collect())
}

/// Tags one after the other: the answer to [`Asked::Groups`].
#[must_use]
pub fn encode_tags(tags: &[Tag]) -> Vec<u8> {
    tags.iter().flat_map(|tag| *tag.as_bytes()).collect()
}

/// Reads the answer to [`Asked::Groups`].
///
/// # Errors
/// [`Error::Malformed`].
pub fn parse_tags(body: &[u8]) -> Result<Vec<Tag>, Error> {
    tags_of(body).ok_or_else(|| Error::malformed(body, "ends within a tag"))
}

/// What is below each tag of a question; `None` for a tag that is not known.
pub type Children = Vec<Option<Vec<Tag>>>;

/// Writes the answer to [`Asked::Below`].
#[must_use]
pub fn encode_children(lists: &[Option<Vec<Tag>>]) -> Vec<u8> {
    let mut body = Vec::new();
    for list in lists {
        let number = list.as_ref().map_or(UNKNOWN, |list| {
            u32::try_from(list.len()).expect("no table has so many records")
        });
        body.extend_from_slice(&number.to_be_bytes());
        body.extend_from_slice(&encode_tags(list.as_deref().unwrap_or_default()));
    }
    body
}

/// Reads the answer to a question about `asked` tags.
///
/// # Errors
/// [`Error::Malformed`].
pub fn parse_children(body: &[u8], asked: usize) -> Result<Children, Error> {
    let bad = |reason: &str| Error::malformed(body, reason);
    let (mut rest, mut lists) = (body, Vec::with_capacity(asked));
    while let Some((number, behind)) = rest.split_first_chunk() {
        let number = u32::from_be_bytes(*number);
        if number == UNKNOWN {
            (rest, _) = (behind, lists.push(None));
            continue;
        }
        let length = usize::try_from(number)
            .ok()
            .and_then(|n| n.checked_mul(TAG_BYTES));
        let (list, behind) = (length.and_then(|length| behind.split_at_checked(length)))
            .ok_or_else(|| bad("a list ends too early"))?;
        lists.push(tags_of(list));
        rest = behind;
    }
    if !rest.is_empty() || lists.len() != asked {
        return Err(bad("not as many lists as were asked for"));
    }
    Ok(lists)
}

#[derive(Serialize, Deserialize)]
struct Items {
    items: Vec<Option<Written>>,
}

/// Writes the answer to [`Asked::Items`].
#[must_use]
pub fn encode_items(items: &[Option<Item>]) -> Vec<u8> {
    let items = Items {
        items: items
            .iter()
            .map(|item| item.as_ref().map(Written::of))
            .collect(),
    };
    serde_json::to_vec(&items).expect("text and numbers always are JSON")
}

/// Reads the answer to a question about `asked` items.
///
/// # Errors
/// [`Error::Malformed`].
pub fn parse_items(body: &[u8], asked: usize) -> Result<Vec<Option<Item>>, Error> {
    let read: Items =
        serde_json::from_slice(body).map_err(|error| Error::malformed(body, error))?;
    if read.items.len() != asked {
        return Err(Error::malformed(
            body,
            "not as many items as were asked for",
        ));
    }
    let read = read
        .items
        .into_iter()
        .map(|item| item.map(Written::read).transpose());
    read.collect::<Result<_, _>>()
        .map_err(|reason| Error::malformed(body, reason))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tags() -> impl Strategy<Value = Vec<Tag>> {
        prop::collection::vec(any::<[u8; TAG_BYTES]>().prop_map(Tag::from_bytes), 0..9)
    }

    proptest! {
        #[test]
        fn lists_come_back_as_they_went_out(lists in prop::collection::vec(prop::option::of(tags()), 0..9)) {
            let body = encode_children(&lists);
            prop_assert_eq!(parse_children(&body, lists.len()).unwrap(), lists.clone());
            prop_assert!(parse_children(&body, lists.len() + 1).is_err());
            if let Some((_, cut)) = body.split_last() {
                prop_assert!(parse_children(&body[..cut.len()], lists.len()).is_err());
            }
        }

        #[test]
        fn questions_come_back_as_they_went_out(tags in tags(), what in 0..4) {
            let table = Module::asset();
            let question = match what {
                0 => Asked::Groups(table),
                1 => Asked::Below(table, Level::Group, tags),
                2 => Asked::Below(table, Level::Span, tags),
                _ => Asked::Items(table, tags.chunks_exact(2).map(|two| (two[0], two[1])).collect()),
            };
            prop_assert_eq!(Asked::form_decode(&question.form_encode()).unwrap(), question);
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (parse_tables(&bytes), parse_tags(&bytes), parse_children(&bytes, 2), parse_items(&bytes, 2));
            let _ = Asked::form_decode(&String::from_utf8_lossy(&bytes));
        }
    }
}
