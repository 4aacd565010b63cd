//! Digests over ordered items, cut into 256 buckets so that a difference can be narrowed down without listing every item.
//!
//! ```text
//! field    its length in bytes in decimal, ':', the bytes, ','        absent: '-' ','
//! line     its fields, then a line feed; the first two fields are the item's key
//! bucket   number: first byte of SHA-256 over the key's two fields as written above
//!          digest: SHA-256 over the lines that fall into it, in the order of their keys; lines of one key in byte order
//! table    digest: SHA-256 over "<number in two hex digits>:<digest in hex>\n" of every bucket that holds items, ascending
//! ```
//!
//! A field says how long it is, so no two different lists of fields are written alike. The table's digest follows from its
//! buckets, so that a reader can check one against the other. Memory is 256 hashers, however many items there are.

use std::collections::BTreeMap;

use crate::model::{FileKind, Hasher, MediaFile, Record, Sha256, Timestamp};

/// Buckets of a table.
const BUCKETS: usize = 256;
/// Fields that make the key.
const KEY_FIELDS: usize = 2;

/// One item: its key and the facts about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Line {
    text: Vec<u8>,
    fields: usize,
    key_len: usize,
}

impl Line {
    fn of(fields: &[Option<&str>]) -> Self {
        let mut line = Self::default();
        for field in fields {
            line.push(*field);
        }
        line.text.push(b'\n');
        line
    }

    fn push(&mut self, field: Option<&str>) {
        if let Some(field) = field {
            self.text
                .extend_from_slice(field.len().to_string().as_bytes());
            self.text.push(b':');
            self.text.extend_from_slice(field.as_bytes());
        } else {
            self.text.push(b'-');
        }
        self.text.push(b',');
        self.fields += 1;
        if self.fields == KEY_FIELDS {
            self.key_len = self.text.len();
        }
    }

    /// A record: table, id, whether it is a tombstone, owner, last editor, date of the last edit, the owner's date (both in
    /// milliseconds), digest of the content.
    pub(super) fn record(record: &Record) -> Self {
        let millis = |time: Timestamp| time.as_millis().to_string();
        let status = record.status.as_ref();
        let modified = status.map(|status| millis(status.modified));
        let master_modified = status.and_then(|status| status.master_modified).map(millis);
        Self::of(&[
            Some(record.key.module.as_str()),
            Some(&record.key.id),
            Some(if record.is_deleted() { "1" } else { "0" }),
            status.map(|status| status.master.as_str()),
            status.map(|status| status.modified_by.as_str()),
            modified.as_deref(),
            master_modified.as_deref(),
            Some(&record.content.to_string()),
        ])
    }

    /// A file: tree, path, size, SHA-256; of an original also its date in whole seconds.
    ///
    /// Not who owns it: two records may name one file, and which of them a node noted says nothing about the file. Not the
    /// date of a generated file: nodes that derive one each for themselves give it dates of their own.
    pub(super) fn file(file: &MediaFile) -> Self {
        let seconds = file.modified.as_millis().div_euclid(1_000).to_string();
        Self::of(&[
            Some(file.kind.dir()),
            Some(file.path.as_str()),
            Some(&file.size.to_string()),
            Some(&file.sha256.to_string()),
            (file.kind == FileKind::Original).then_some(seconds.as_str()),
        ])
    }

    fn key(&self) -> &[u8] {
        &self.text[..self.key_len]
    }

    /// The number of its bucket.
    pub(super) fn bucket(&self) -> u8 {
        Sha256::of(self.key()).as_bytes()[0]
    }
}

/// One bucket that holds items.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Bucket {
    /// How many.
    pub items: u64,
    /// Digest over their lines.
    pub digest: Sha256,
}

/// The digest of a table and its buckets.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Digested {
    /// Digest over the buckets.
    pub digest: Sha256,
    /// The buckets that hold items, by their number in two hex digits.
    pub buckets: BTreeMap<String, Bucket>,
}

impl Digested {
    fn new(buckets: BTreeMap<String, Bucket>) -> Self {
        Self {
            digest: digest_of(&buckets),
            buckets,
        }
    }

    /// Whether the digest follows from the buckets, and their numbers are numbers.
    pub(super) fn is_consistent(&self) -> bool {
        let is_number = |text: &String| {
            let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
            text.len() == 2 && text.bytes().all(hex)
        };
        self.buckets.keys().all(is_number) && digest_of(&self.buckets) == self.digest
    }

    /// Items in all buckets; `None` when no such number of items can be.
    pub(super) fn items(&self) -> Option<u64> {
        let mut counts = self.buckets.values().map(|bucket| bucket.items);
        counts.try_fold(0_u64, u64::checked_add)
    }
}

fn digest_of(buckets: &BTreeMap<String, Bucket>) -> Sha256 {
    let mut hasher = Hasher::new(false);
    for (number, bucket) in buckets {
        hasher.update(format!("{number}:{}\n", bucket.digest).as_bytes());
    }
    hasher.finish().sha256
}

/// Items of one table as they come, in the order of their keys.
pub(super) struct Tally {
    buckets: Vec<Option<(u64, Hasher)>>,
    items: u64,
    /// Lines of the last key: two assets may each have a file of one name, and nothing orders these but themselves.
    held: Vec<Line>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            buckets: vec![None; BUCKETS],
            items: 0,
            held: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, line: Line) {
        if self
            .held
            .first()
            .is_some_and(|held| held.key() != line.key())
        {
            self.let_go();
        }
        self.held.push(line);
        self.items += 1;
    }

    fn let_go(&mut self) {
        self.held.sort_unstable_by(|a, b| a.text.cmp(&b.text));
        for line in self.held.drain(..) {
            let bucket = &mut self.buckets[usize::from(line.bucket())];
            let (items, hasher) = bucket.get_or_insert_with(|| (0, Hasher::new(false)));
            *items += 1;
            hasher.update(&line.text);
        }
    }

    pub(super) fn items(&self) -> u64 {
        self.items
    }

    pub(super) fn finish(mut self) -> Digested {
        self.let_go();
        let named = self.buckets.into_iter().enumerate();
        let filled = named.filter_map(|(number, bucket)| {
            let (items, hasher) = bucket?;
            let digest = hasher.finish().sha256;
            Some((format!("{number:02x}"), Bucket { items, digest }))
        });
        Digested::new(filled.collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{AssetId, MediaPath};

    fn fields() -> impl Strategy<Value = Vec<Option<String>>> {
        // Characters that the encoding itself uses, so that they collide if they can.
        prop::collection::vec(prop::option::of("[-0-3:,\n]{0,4}"), 2..6)
    }

    fn line(fields: &[Option<String>]) -> Line {
        let borrowed: Vec<_> = fields.iter().map(Option::as_deref).collect();
        Line::of(&borrowed)
    }

    fn file(path: &str, fill: u8) -> MediaFile {
        MediaFile {
            place: None,
            kind: FileKind::Original,
            path: MediaPath::new(path).unwrap(),
            asset: AssetId::new("a").unwrap(),
            size: 7,
            modified: Timestamp::from_millis(1_500),
            sha256: Sha256::from_bytes([fill; 32]),
            md5: None,
            authored: false,
            fingerprint: None,
        }
    }

    fn digested(files: &[MediaFile]) -> Digested {
        let mut tally = Tally::new();
        for file in files {
            tally.add(Line::file(file));
        }
        tally.finish()
    }

    proptest! {
        #[test]
        fn different_fields_are_never_written_alike(a in fields(), b in fields()) {
            prop_assert_eq!(line(&a).text == line(&b).text, a == b);
        }

        #[test]
        fn a_run_of_lines_can_be_cut_in_one_way_only(a in prop::collection::vec(fields(), 0..4),
                                                     b in prop::collection::vec(fields(), 0..4)) {
            let text = |lines: &[Vec<Option<String>>]| -> Vec<u8> {
                lines.iter().flat_map(|fields| line(fields).text).collect()
            };
            prop_assert_eq!(text(&a) == text(&b), a == b);
        }

        #[test]
        fn one_changed_fact_changes_exactly_one_bucket(count in 1_usize..60, at in 0_usize..60, what in 0_u8..3) {
            let mut files: Vec<_> = (0..count).map(|n| file(&format!("f{n:03}"), 1)).collect();
            let before = digested(&files);
            let changed = &mut files[at % count];
            match what {
                0 => changed.size += 1,
                1 => changed.modified = Timestamp::from_millis(2_000),
                _ => changed.sha256 = Sha256::from_bytes([2; 32]),
            }
            let after = digested(&files);
            prop_assert_ne!(before.digest, after.digest);
            let differing = before.buckets.iter().filter(|(number, bucket)| after.buckets[*number] != **bucket);
            prop_assert_eq!(differing.count(), 1);
            prop_assert!(before.is_consistent() && after.is_consistent());
            prop_assert_eq!(after.items(), Some(count as u64));
        }
    }

    #[test]
    fn what_no_two_nodes_share_is_no_difference() {
        let mut other = file("a", 1);
        other.asset = AssetId::new("b").unwrap();
        other.modified = Timestamp::from_millis(1_999);
        other.authored = true;
        assert_eq!(Line::file(&file("a", 1)), Line::file(&other));
        other.kind = FileKind::Generated;
        let mut later = other.clone();
        later.modified = Timestamp::from_millis(99_000);
        assert_eq!(Line::file(&other), Line::file(&later));
        assert_ne!(Line::file(&file("a", 1)), Line::file(&other));
    }

    #[test]
    fn two_files_of_one_name_count_in_whatever_order_their_owners_come() {
        let files = [
            file("a", 1),
            file("b", 1),
            file("b", 2),
            file("b", 3),
            file("c", 1),
        ];
        let mut other = files.clone();
        other.swap(1, 3);
        assert_eq!(digested(&files), digested(&other));
        assert_eq!(digested(&files).items(), Some(5));
        assert_ne!(digested(&files), digested(&files[..4]));
    }

    #[test]
    fn the_encoding_is_the_one_that_is_written_down() {
        assert_eq!(
            line(&[Some("ab".to_owned()), None, Some(String::new())]).text,
            b"2:ab,-,0:,\n"
        );
        let one = digested(&[file("a", 1)]);
        let key = Sha256::of(b"9:originals,1:a,");
        let number = format!("{:02x}", key.as_bytes()[0]);
        let text = format!("9:originals,1:a,1:7,64:{},1:1,\n", "01".repeat(32));
        let bucket = Sha256::of(text.as_bytes());
        assert_eq!(one.buckets[&number].digest, bucket);
        assert_eq!(
            one.digest,
            Sha256::of(format!("{number}:{bucket}\n").as_bytes())
        );
    }
}
