//! Which records need not be listed, by digests (`protocol::digests`): the peer's tags are followed from its tables down, and
//! where a tag is one of ours too, everything below it is equal and is only counted.
//!
//! ```text
//! tables ──▶ groups of those that differ ──▶ spans of the groups we lack ──▶ item tags of the spans we lack ──▶ the items we lack
//! ```
//!
//! What is left is compared like everything else (`records`, `files`): items that only one side has in this form, and beside them
//! ours that are not plain (files that no listing names, for example), for they are worth a word even where both sides agree: what
//! the peer lists of those is what we would list. Memory is the tags that differ, and [`DIFFERENT_MOST`] records at most; a
//! listing of so many is as good.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::listing::Listed;
use super::{Error, Verify};
use crate::catalogue::{Catalogue, Entry, Span, SpooledFile, SpooledRecord};
use crate::model::{Module, RecordKey};
use crate::monitor::Counter;
use crate::peer::Peer;
use crate::protocol::digests::{Item, Level, TAGS_A_REQUEST, Tag};

/// Records that differ, at most; with more of them everything is listed.
const DIFFERENT_MOST: usize = 20_000;
/// Tags below those that we lack, at most: of so many records with twice the usual number beside each.
const BELOW_MOST: usize = 64 * DIFFERENT_MOST;

/// What digests told: which records are to be compared, and how many are equal.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Records here that are to be compared.
    pub(super) records: BTreeSet<RecordKey>,
    /// Assets whose files are to be compared.
    pub(super) assets: HashSet<String>,
    /// Records that are equal: live ones, tombstones.
    pub(super) equal: [u64; 2],
}

/// Why digests do not tell.
#[derive(Debug)]
pub(super) enum Untold {
    /// One side changed meanwhile: another try may tell.
    Moved,
    /// More differs than is worth it.
    Different,
}

/// A table's spans that are not known to be equal yet, by their tags.
type Ours<'a> = HashMap<Tag, Stretch<'a>>;

/// Where a span begins and ends.
#[derive(Debug, Clone, Copy)]
struct Stretch<'a> {
    span: &'a Span,
    until: Option<&'a str>,
}

/// Compares with the peer's digests; what is to be compared of the peer goes into `listed`.
pub(super) async fn compare(
    verify: &Verify<'_>,
    listed: &mut Listed,
) -> Result<Result<Told, Untold>, Error> {
    let (peer, mut nothing) = (verify.peer, ());
    // Each side reads what changed since it was last asked, at the same time.
    let (own, theirs) = tokio::join!(
        own_tables(verify.catalogue),
        peer.patiently(verify.patience, &mut nothing, Peer::table_tags)
    );
    let (Some(own), theirs) = (own?, theirs?) else {
        return Ok(Err(Untold::Moved));
    };
    let mut told = Told::default();
    let theirs: HashMap<Module, Tag> = theirs.into_iter().collect();
    for table in theirs
        .keys()
        .filter(|table| !own.iter().any(|(own, _)| own == *table))
    {
        let mut descent = Descent::new(verify, table, listed, &mut told);
        if let Err(untold) = descent.table(&[], theirs[table]).await? {
            return Ok(Err(untold));
        }
    }
    for (table, spans) in &own {
        let mut descent = Descent::new(verify, table, listed, &mut told);
        // A table that the peer does not list is one of which we have everything alone.
        let tag = theirs
            .get(table)
            .copied()
            .unwrap_or(Tag::over(Level::Table, &[]));
        if let Err(untold) = descent.table(spans, tag).await? {
            return Ok(Err(untold));
        }
    }
    Ok(Ok(told))
}

async fn own_tables(catalogue: &Catalogue) -> Result<Option<Vec<(Module, Vec<Span>)>>, Error> {
    let mut tables = Vec::new();
    for table in catalogue.tables().await? {
        let Some(spans) = catalogue.known_spans(&table).await? else {
            return Ok(None);
        };
        tables.push((table, spans));
    }
    Ok(Some(tables))
}

/// The comparison of one table.
struct Descent<'a, 'v> {
    verify: &'a Verify<'v>,
    table: &'a Module,
    listed: &'a mut Listed,
    told: &'a mut Told,
}

type Step<T> = Result<Result<T, Untold>, Error>;

/// Goes on with what a step told, or ends with why it did not.
macro_rules! told {
    ($step:expr) => {
        match $step {
            Ok(told) => told,
            Err(untold) => return Ok(Err(untold)),
        }
    };
}

impl<'a, 'v> Descent<'a, 'v> {
    fn new(
        verify: &'a Verify<'v>,
        table: &'a Module,
        listed: &'a mut Listed,
        told: &'a mut Told,
    ) -> Self {
        Self {
            verify,
            table,
            listed,
            told,
        }
    }

    /// Compares our spans with what the peer's tag of the table stands for.
    async fn table(&mut self, spans: &[Span], tag: Tag) -> Step<()> {
        let stretches: Vec<_> = Span::with_ends(spans)
            .map(|(span, until)| Stretch { span, until })
            .collect();
        let own_groups = Span::groups(spans);
        let own_tags: Vec<_> = own_groups.iter().map(|(tag, _)| *tag).collect();
        let (mut ours, mut wanted) = (Ours::new(), Vec::new());
        let mut shared = HashSet::new();
        if Tag::over(Level::Table, &own_tags) == tag {
            shared.extend(own_tags);
        } else {
            let theirs = told!(self.groups(tag).await?);
            let own: HashSet<_> = own_tags.into_iter().collect();
            let lacked = theirs.iter().filter(|tag| !own.contains(tag));
            let lacked: Vec<_> = lacked.copied().collect();
            shared = theirs.into_iter().filter(|tag| own.contains(tag)).collect();
            for (_, spans) in told!(self.below(Level::Group, &lacked).await?) {
                wanted.extend(spans);
            }
        }
        let mut rest = stretches.as_slice();
        for (tag, number) in own_groups {
            let (members, behind) = rest.split_at(number);
            rest = behind;
            if shared.contains(&tag) {
                told!(self.equal(members).await?);
            } else {
                ours.extend(members.iter().map(|stretch| (stretch.span.tag, *stretch)));
            }
        }
        self.spans(ours, wanted).await
    }

    /// The groups of the peer's table; a table that it does not list has none.
    async fn groups(&mut self, tag: Tag) -> Step<Vec<Tag>> {
        if tag == Tag::over(Level::Table, &[]) {
            return Ok(Ok(Vec::new()));
        }
        let (peer, patience) = (self.verify.peer, self.verify.patience);
        let mut asked = (self.table.clone(), tag);
        let groups = peer
            .patiently(patience, &mut asked, Peer::group_tags)
            .await?;
        Ok(groups.ok_or(Untold::Moved))
    }

    /// What is below tags of the peer that we do not have, each with the tag it is below of.
    async fn below(&mut self, level: Level, tags: &[Tag]) -> Step<Vec<(Tag, Vec<Tag>)>> {
        // Each of them holds a difference.
        if tags.len() > DIFFERENT_MOST {
            return Ok(Err(Untold::Different));
        }
        let (peer, patience) = (self.verify.peer, self.verify.patience);
        let (mut found, mut number) = (Vec::new(), 0);
        for some in tags.chunks(TAGS_A_REQUEST) {
            let mut asked = (self.table.clone(), level, some.to_vec());
            let lists = peer
                .patiently(patience, &mut asked, Peer::tags_below)
                .await?;
            for (tag, list) in some.iter().zip(lists) {
                let Some(list) = list else {
                    return Ok(Err(Untold::Moved));
                };
                number += list.len();
                found.push((*tag, list));
            }
            if number > BELOW_MOST {
                return Ok(Err(Untold::Different));
            }
        }
        Ok(Ok(found))
    }

    /// Compares our spans of groups that the peer lacks with the peer's spans of groups that we lack.
    async fn spans(&mut self, mut ours: Ours<'_>, theirs: Vec<Tag>) -> Step<()> {
        let (mut lacked, mut shared) = (Vec::new(), Vec::new());
        for tag in theirs {
            match ours.remove(&tag) {
                Some(stretch) => shared.push(stretch),
                None => lacked.push(tag),
            }
        }
        told!(self.equal(&shared).await?);
        let mut theirs = HashMap::new();
        for (span, items) in told!(self.below(Level::Span, &lacked).await?) {
            theirs.extend(items.into_iter().map(|item| (item, span)));
        }
        let mut ours: Vec<_> = ours.into_values().collect();
        ours.sort_unstable_by_key(|stretch| &stretch.span.first);
        for stretch in ours {
            for entry in told!(self.entries(stretch).await?) {
                let tag = entry.item.as_ref().map(Item::tag);
                let is_there = tag.is_some_and(|tag| theirs.remove(&tag).is_some());
                told!(self.here(entry, is_there).await?);
            }
        }
        self.there(theirs).await
    }

    /// Takes our spans that the peer has as well: only what is not plain in them is looked at.
    async fn equal(&mut self, stretches: &[Stretch<'_>]) -> Step<()> {
        for stretch in stretches {
            if stretch.span.is_odd {
                for entry in told!(self.entries(*stretch).await?) {
                    let is_there = entry.item.is_some();
                    told!(self.here(entry, is_there).await?);
                }
            } else {
                self.count(stretch.span.counts);
            }
        }
        Ok(Ok(()))
    }

    /// What one of our spans holds, if it still is what its tag says.
    async fn entries(&self, stretch: Stretch<'_>) -> Step<Vec<Entry>> {
        let (first, catalogue) = (&stretch.span.first, self.verify.catalogue);
        let entries = catalogue.entries(self.table, first, stretch.until).await?;
        let items = entries.iter().filter_map(|entry| entry.item.as_ref());
        let tags: Vec<_> = items.map(Item::tag).collect();
        let is_it = Tag::over(Level::Span, &tags) == stretch.span.tag;
        Ok(is_it.then_some(entries).ok_or(Untold::Moved))
    }

    /// Takes one of ours: counted where the peer lists the same and there is no more to say, else to be compared.
    async fn here(&mut self, entry: Entry, is_there: bool) -> Step<()> {
        if is_there && entry.is_plain() {
            if let Some(item) = &entry.item {
                self.count(item.counts());
            }
            return Ok(Ok(()));
        }
        if self.table.is_asset() {
            self.told.assets.insert(entry.id);
        }
        if let Some(record) = entry.record {
            self.told.records.insert(record.key);
        }
        if let Some(item) = entry.item.filter(|_| is_there) {
            self.list(vec![item]).await?;
        }
        Ok(self.is_worth_it())
    }

    /// Fetches the peer's items that we do not have, each with the tag of its span.
    async fn there(&mut self, items: HashMap<Tag, Tag>) -> Step<()> {
        if items.len() > DIFFERENT_MOST {
            return Ok(Err(Untold::Different));
        }
        let mut pairs: Vec<_> = items.into_iter().map(|(item, span)| (span, item)).collect();
        pairs.sort_unstable();
        let table = self.table;
        let (peer, patience) = (self.verify.peer, self.verify.patience);
        for some in pairs.chunks(TAGS_A_REQUEST / 2) {
            let mut asked = (table.clone(), some.to_vec());
            let items = peer.patiently(patience, &mut asked, Peer::items).await?;
            let all: Option<Vec<_>> = items.into_iter().collect();
            let Some(all) = all else {
                return Ok(Err(Untold::Moved));
            };
            if table.is_asset() {
                let ids = all.iter().map(|item| item.key.id.clone());
                self.told.assets.extend(ids);
            }
            self.list(all).await?;
            told!(self.is_worth_it());
        }
        Ok(Ok(()))
    }

    /// Puts what the peer lists where a listing would be.
    async fn list(&mut self, items: Vec<Item>) -> Result<(), Error> {
        let partial = items.iter().filter(|item| item.partial);
        let partial: Vec<&str> = partial.map(|item| item.key.id.as_str()).collect();
        self.listed.spool.put_partial(&partial).await?;
        let (mut records, mut files) = (Vec::new(), Vec::new());
        for item in items {
            if let Some(reason) = item.unusable.clone() {
                self.listed.bad.push((item.key.to_string(), reason));
            }
            records.push(SpooledRecord::from(&item));
            files.extend(item.files.into_iter().map(|file| SpooledFile {
                file,
                asset: item.key.id.clone(),
            }));
        }
        Ok(self.listed.spool.put(&records, &files).await?)
    }

    fn count(&mut self, [live, deleted, ..]: [u64; 4]) {
        for (sum, count) in self.told.equal.iter_mut().zip([live, deleted]) {
            *sum += count;
        }
        self.verify
            .monitor
            .advance(Counter::Records, live + deleted);
    }

    fn is_worth_it(&self) -> Result<(), Untold> {
        let different = self.told.records.len().max(self.told.assets.len());
        (different <= DIFFERENT_MOST)
            .then_some(())
            .ok_or(Untold::Different)
    }
}
