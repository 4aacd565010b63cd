//! Digests of a listing: how two emsync nodes find out in a few kilobytes which of a million records they need not list.
//!
//! ```text
//! item    one record with its files, exactly as a complete listing names them (wire spec 3.1)
//! span    a run of items of one table in the order of their ids, 32 on average
//! group   a run of spans, 512 items on average
//! table   all groups of a table
//! ```
//!
//! Each is named by its [`Tag`]: the first 128 bits of SHA-256 over what level it is of and the tags below it; an item's is over
//! what it says. A run begins where the SHA-256 of a record's key ends in enough zero bits (and at the start of its table), so
//! two nodes cut alike without a word about it, and a record that only one of them has moves no cut but its own.
//!
//! Asked from the top, a client follows only tags that it does not have itself. Every answer must hash to the tag that was asked
//! for, so all of them speak of the one moment of the first answer; a node that has changed since does not know the tag any
//! more, and the client begins again. 128 bits, for whoever writes records may choose what they say.
//!
//! Considered and left: buckets by a hash of the key (what one bucket holds is found by an index alone, whose pages every
//! batch would write: a megabyte of them per thousand records); an invertible sketch (must be as large as the difference is, which
//! nobody knows before); one digest for records and one for files (which of its files a node lists depends on the record).

mod item;
mod wire;

use crate::model::{Hasher, RecordKey, Sha256};

pub use item::Item;
pub use wire::{
    Asked, Children, TABLES_MOST, TAGS_A_REQUEST, encode_children, encode_items, encode_tables,
    encode_tags, parse_children, parse_items, parse_tables, parse_tags,
};

/// Zero bits at the end of a key's digest where a span begins.
const SPAN_BITS: u32 = 5;
/// The same for a group.
const GROUP_BITS: u32 = 9;
/// Bytes of a tag.
pub const TAG_BYTES: usize = 16;

/// What is named by a [`Tag`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// One record with its files.
    Item,
    /// A run of items.
    Span,
    /// A run of spans.
    Group,
    /// All groups of a table.
    Table,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Item => "item\n",
            Self::Span => "span\n",
            Self::Group => "group\n",
            Self::Table => "table\n",
        }
    }
}

/// The name of an item, a span, a group or a table: what it is made of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag([u8; TAG_BYTES]);

impl Tag {
    /// From its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; TAG_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; TAG_BYTES] {
        &self.0
    }

    /// The tag of what is made of these, in their order.
    #[must_use]
    pub fn over(level: Level, below: &[Self]) -> Self {
        let mut hasher = Hasher::new(false);
        hasher.update(level.name().as_bytes());
        for tag in below {
            hasher.update(&tag.0);
        }
        Self::cut(&hasher.finish().sha256)
    }

    fn cut(digest: &Sha256) -> Self {
        let (head, _) =
            (digest.as_bytes().split_first_chunk()).expect("a SHA-256 has more bytes than a tag");
        Self(*head)
    }
}

impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// The largest run that begins with the record of this key: [`Level::Item`] when none does.
#[must_use]
pub fn begins(key: &RecordKey) -> Level {
    let text = format!("{}\n{}", key.module, key.id);
    let digest = Sha256::of(text.as_bytes());
    let (_, end) =
        (digest.as_bytes().split_last_chunk()).expect("a SHA-256 has more than eight bytes");
    match u64::from_be_bytes(*end).trailing_zeros() {
        bits if bits >= GROUP_BITS => Level::Group,
        bits if bits >= SPAN_BITS => Level::Span,
        _ => Level::Item,
    }
}

/// Joins the spans of a table to groups: each span's tag, and whether a group begins with it, to the tag of each group and how
/// many spans it has.
#[must_use]
pub fn groups(spans: impl IntoIterator<Item = (Tag, bool)>) -> Vec<(Tag, usize)> {
    let (mut groups, mut open) = (Vec::new(), Vec::new());
    let close = |open: &mut Vec<Tag>, groups: &mut Vec<_>| {
        if !open.is_empty() {
            groups.push((Tag::over(Level::Group, open), open.len()));
            open.clear();
        }
    };
    for (tag, is_first) in spans {
        if is_first {
            close(&mut open, &mut groups);
        }
        open.push(tag);
    }
    close(&mut open, &mut groups);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(n: u8) -> Tag {
        Tag::from_bytes([n; TAG_BYTES])
    }

    #[test]
    fn tags_of_different_levels_and_orders_differ() {
        let some = [tag(1), tag(2)];
        let all = [
            Tag::over(Level::Span, &some),
            Tag::over(Level::Group, &some),
            Tag::over(Level::Table, &some),
            Tag::over(Level::Span, &[tag(2), tag(1)]),
            Tag::over(Level::Span, &some[..1]),
            Tag::over(Level::Span, &[]),
        ];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn groups_begin_where_they_are_said_to_and_hold_every_span_once() {
        let spans = [(1, true), (2, false), (3, true), (4, true), (5, false)];
        let cut = groups(spans.map(|(n, first)| (tag(n), first)));
        let sizes: Vec<_> = cut.iter().map(|(_, spans)| *spans).collect();
        assert_eq!(sizes, [2, 1, 2]);
        assert_eq!(cut[0].0, Tag::over(Level::Group, &[tag(1), tag(2)]));
        assert_eq!(groups([]), []);
    }

    #[test]
    fn runs_have_the_size_that_is_written_down() {
        let keys = (0..100_000).map(|n| RecordKey::new("asset", format!("a{n}")).unwrap());
        let levels: Vec<_> = keys.map(|key| begins(&key)).collect();
        let spans = levels.iter().filter(|level| **level >= Level::Span).count();
        let groups = levels
            .iter()
            .filter(|level| **level >= Level::Group)
            .count();
        assert!((2_900..3_350).contains(&spans), "{spans}");
        assert!((150..245).contains(&groups), "{groups}");
    }
}
