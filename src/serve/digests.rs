//! Digests of what is listed here, for emsync nodes that compare themselves with this one (`protocol::digests`).
//!
//! The only endpoint that writes: what changed since somebody asked last is read again, and kept in the catalogue. Tables that
//! are withheld are not there.

use std::collections::HashMap;

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::Response;

use super::error::{self, Error};
use super::feed;
use super::node::Node;
use super::request::Asked;
use crate::catalogue::Span;
use crate::model::Module;
use crate::protocol::digests::{self, Asked as Question, Children, Item, Level, Tag};

/// Answers a question about digests.
pub(super) async fn digests(node: &Node, asked: &Asked) -> Result<Response, Error> {
    let question = Question::form_decode(&asked.fields())?;
    if let Question::Groups(table) | Question::Below(table, ..) | Question::Items(table, _) =
        &question
        && node.withheld.contains(table)
    {
        return Err(Error::NotFound);
    }
    Ok(match question {
        Question::Tables => {
            let body = digests::encode_tables(&tables(node).await?);
            error::json(StatusCode::OK, body)
        }
        Question::Groups(table) => {
            let groups = Span::groups(&spans(node, &table).await?);
            let tags: Vec<_> = groups.into_iter().map(|(tag, _)| tag).collect();
            binary(digests::encode_tags(&tags))
        }
        Question::Below(table, Level::Group, tags) => {
            let spans = spans(node, &table).await?;
            binary(digests::encode_children(&spans_of(&spans, &tags)))
        }
        Question::Below(table, _, tags) => binary(digests::encode_children(
            &items_of(node, &table, &tags).await?,
        )),
        Question::Items(table, pairs) => {
            let body = digests::encode_items(&items(node, &table, &pairs).await?);
            error::json(StatusCode::OK, body)
        }
    })
}

async fn tables(node: &Node) -> Result<Vec<(Module, Tag)>, Error> {
    let mut tables = Vec::new();
    for table in node.catalogue.tables().await? {
        if node.withheld.contains(&table) {
            continue;
        }
        let sum = node.catalogue.table_sum(&table).await?;
        let sum = sum.ok_or(Error::CursorLost)?;
        tables.push((table, sum.tag));
    }
    Ok(tables)
}

async fn spans(node: &Node, table: &Module) -> Result<Vec<Span>, Error> {
    let spans = node.catalogue.known_spans(table).await?;
    spans.ok_or(Error::CursorLost)
}

fn spans_of(spans: &[Span], asked: &[Tag]) -> Children {
    let (mut found, mut rest) = (HashMap::new(), spans);
    for (group, number) in Span::groups(spans) {
        let (members, behind) = rest.split_at(number);
        found.insert(group, members);
        rest = behind;
    }
    let members = |tag| Some(found.get(tag)?.iter().map(|span| span.tag).collect());
    asked.iter().map(members).collect()
}

/// The spans of these tags by their tag, each with where it begins and ends.
fn located<'a>(
    spans: &'a [Span],
    asked: impl Iterator<Item = &'a Tag>,
) -> HashMap<Tag, (&'a str, Option<&'a str>)> {
    let asked: std::collections::HashSet<_> = asked.collect();
    Span::with_ends(spans)
        .filter(|(span, _)| asked.contains(&span.tag))
        .map(|(span, end)| (span.tag, (span.first.as_str(), end)))
        .collect()
}

async fn items_of(node: &Node, table: &Module, asked: &[Tag]) -> Result<Children, Error> {
    let spans = spans(node, table).await?;
    let located = located(&spans, asked.iter());
    let mut lists = Vec::with_capacity(asked.len());
    for tag in asked {
        let list = match located.get(tag) {
            Some((first, _)) => node.catalogue.span_items(table, first).await?,
            None => None,
        };
        lists.push(list.filter(|list| Tag::over(Level::Span, list) == *tag));
    }
    Ok(lists)
}

async fn items(
    node: &Node,
    table: &Module,
    pairs: &[(Tag, Tag)],
) -> Result<Vec<Option<Item>>, Error> {
    let spans = spans(node, table).await?;
    let mut found = HashMap::new();
    for (first, until) in located(&spans, pairs.iter().map(|(span, _)| span)).values() {
        for entry in node.catalogue.entries(table, first, *until).await? {
            if let Some(item) = entry.item {
                found.insert(item.tag(), item);
            }
        }
    }
    let mut items: Vec<_> = pairs.iter().map(|(_, tag)| found.remove(tag)).collect();
    if table.is_asset() {
        mark_partial(node, &mut items).await?;
    }
    Ok(items)
}

/// Marks the assets whose files are here in part only, as a listing does.
async fn mark_partial(node: &Node, items: &mut [Option<Item>]) -> Result<(), Error> {
    let keys: Vec<_> = items
        .iter()
        .flatten()
        .map(|item| item.key.clone())
        .collect();
    let stored: Vec<_> = node.catalogue.stored(&keys).await?.into_values().collect();
    let partial = feed::left_out(node, &stored, node.seams.clock.now()).await?;
    for item in items.iter_mut().flatten() {
        let asset = item.key.as_asset();
        item.partial = asset.is_some_and(|asset| partial.contains(&asset));
    }
    Ok(())
}

fn binary(body: Vec<u8>) -> Response {
    let mut reply = error::json(StatusCode::OK, body);
    let kind = HeaderValue::from_static("application/octet-stream");
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}
