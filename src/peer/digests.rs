//! What a peer's listing amounts to, asked from an emsync node that says it can tell (`protocol::digests`).
//!
//! Nothing is taken on trust but what the peer has: every answer must hash to the tag that was asked for. Questions are behind `&mut`
//! because [`Peer::patiently`] hands them on so; none is changed.

use super::{Cursor, Error, Page, Peer};
use crate::model::{Module, Timestamp};
use crate::protocol;
use crate::protocol::digests::{self, Asked, Children, Item, Level, Tag};

const DIGESTS: &str = "mediadb/services/cluster/emsyncdigest.json";
/// What a node that tells has among its features.
const FEATURE: &str = "digests";
/// Largest answer we take.
const LARGEST: usize = 32 << 20;
/// How far ahead a listing begins that is to be empty whatever anybody's clock says, in milliseconds.
const A_CENTURY: i64 = 36_525 * 86_400_000;

impl Page {
    /// Whether the node that answered tells what its listing amounts to.
    #[must_use]
    pub fn tells_digests(&self) -> bool {
        let hello = self.changes.head.hello.as_ref();
        hello.is_some_and(|hello| hello.features.iter().any(|word| word == FEATURE))
    }
}

impl Peer {
    /// Whether the peer tells what its listing amounts to.
    ///
    /// # Errors
    /// Any [`Error`] of a list request.
    pub async fn tells_digests(&self, (): &mut ()) -> Result<bool, Error> {
        let mut cursor = Cursor::new(self, -A_CENTURY, Timestamp::EPOCH);
        Ok(self.next_page(&mut cursor).await?.tells_digests())
    }

    /// The tag of each table that the peer lists.
    ///
    /// # Errors
    /// Any [`Error`] of a list request.
    pub async fn table_tags(&self, (): &mut ()) -> Result<Vec<(Module, Tag)>, Error> {
        let body = self.ask_digests(&Asked::Tables).await?;
        self.read(digests::parse_tables(&body))
    }

    /// The groups of a table, if its tag still is `tag`.
    ///
    /// # Errors
    /// Any [`Error`] of a list request.
    pub async fn group_tags(
        &self,
        (table, tag): &mut (Module, Tag),
    ) -> Result<Option<Vec<Tag>>, Error> {
        let body = self.ask_digests(&Asked::Groups(table.clone())).await?;
        let groups = self.read(digests::parse_tags(&body))?;
        Ok((Tag::over(Level::Table, &groups) == *tag).then_some(groups))
    }

    /// What is below these tags, at most [`TAGS_A_REQUEST`](digests::TAGS_A_REQUEST) of them: the spans of groups, the items of
    /// spans; `None` for one that the peer does not know any more.
    ///
    /// # Errors
    /// Any [`Error`] of a list request; [`Error::Reply`] for an answer that is not what its tag says.
    pub async fn tags_below(
        &self,
        (table, level, tags): &mut (Module, Level, Vec<Tag>),
    ) -> Result<Children, Error> {
        let question = Asked::Below(table.clone(), *level, tags.clone());
        let body = self.ask_digests(&question).await?;
        let lists = self.read(digests::parse_children(&body, tags.len()))?;
        for (tag, list) in tags.iter().zip(&lists) {
            let is_it = list
                .as_ref()
                .is_none_or(|list| Tag::over(*level, list) == *tag);
            self.expect(is_it, || format!("what is below {tag:?}"))?;
        }
        Ok(lists)
    }

    /// Items, each by its span's tag and its own; `None` for one that the peer does not have any more.
    ///
    /// # Errors
    /// Any [`Error`] of a list request; [`Error::Reply`] for an item of another tag or table.
    pub async fn items(
        &self,
        (table, pairs): &mut (Module, Vec<(Tag, Tag)>),
    ) -> Result<Vec<Option<Item>>, Error> {
        let question = Asked::Items(table.clone(), pairs.clone());
        let body = self.ask_digests(&question).await?;
        let items = self.read(digests::parse_items(&body, pairs.len()))?;
        for ((_, tag), item) in pairs.iter().zip(&items) {
            let is_it =
                (item.as_ref()).is_none_or(|item| item.key.module == *table && item.tag() == *tag);
            self.expect(is_it, || format!("the item of {tag:?}"))?;
        }
        Ok(items)
    }

    async fn ask_digests(&self, question: &Asked) -> Result<Vec<u8>, Error> {
        let form = question.form_encode();
        let (response, url) = self.post(DIGESTS, form, &self.empty_jar()).await?;
        self.body_below(LARGEST, response, &url).await
    }

    /// An answer must amount to the tag that was asked for.
    fn expect(&self, amounts: bool, what: impl Fn() -> String) -> Result<(), Error> {
        let malformed = || protocol::Error::Malformed {
            reason: format!("{} does not amount to it", what()),
            start: String::new(),
        };
        self.read(amounts.then_some(()).ok_or_else(malformed))
    }

    fn read<T>(&self, read: Result<T, protocol::Error>) -> Result<T, Error> {
        read.map_err(|source| self.reply(source, 0))
    }
}
