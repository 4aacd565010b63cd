//! This node against a report that somebody kept: no network, only digests, and the disk as every comparison looks at it.
//!
//! Tables that grant rights on a node do not travel between nodes (`withheld`); one that only one side has is "not compared".

use std::collections::{BTreeMap, BTreeSet};

use super::describe::{Group, describe, items};
use super::kept::{Content, Read};
use super::report::{Difference, Findings, LayerReport};
use super::tally::Digested;
use super::{Error, Here, disk};
use crate::model::FileKind;
use crate::monitor::Phase;

/// Items of differing buckets that are named.
const NAMED: usize = 1_000;

/// How a table or a tree compares.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The same items with the same facts.
    Equal,
    /// Not the same.
    Differs {
        /// Buckets that are not the same, as two hex digits.
        buckets: Vec<String>,
        /// Items here that fall into them.
        items: u64,
    },
    /// It was left out.
    NotCompared {
        /// Why.
        reason: String,
    },
}

/// One line of the comparison.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Compared {
    /// `records`, `deletes`, `originals` or `generated`.
    pub layer: &'static str,
    /// The table, where the layer has tables.
    pub table: Option<String>,
    /// Items here.
    pub here: u64,
    /// Items in the report.
    pub there: u64,
    /// How they compare.
    pub verdict: Verdict,
    /// What is here in the buckets that differ, while there is room.
    pub items: Vec<String>,
}

/// What a comparison with a report found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Against {
    /// Everything is equal, and the disk is as the catalogue says.
    pub equal: bool,
    /// The report: whose, and of when.
    pub report: About,
    /// Every table and tree of either side.
    pub layers: Vec<Compared>,
    /// The disk against the catalogue here.
    pub disk: BTreeMap<&'static str, LayerReport>,
    /// What is the matter on disk; the first thousand.
    pub differences: Vec<Difference>,
    /// How many there are in all.
    pub differences_total: u64,
}

/// Whose report it is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct About {
    /// The node's name.
    pub node: String,
    /// Its cluster id.
    pub cluster_id: Option<String>,
    /// When it was made.
    pub as_of: String,
}

/// Compares this node with a report.
///
/// # Errors
/// [`Error`]; then nothing is known.
pub async fn against(
    here: &Here<'_>,
    report: &Read,
    withheld: &[String],
    checksum: bool,
) -> Result<Against, Error> {
    here.monitor.phase(Phase::Verify);
    here.store.check_marker()?;
    disk::expect_bytes(here, checksum).await?;
    let content = describe(here).await?;
    let mut layers = compare(&content, &report.layers, withheld);
    name_items(here, &mut layers).await?;
    let mut findings = Findings::default();
    let mut on_disk = BTreeMap::new();
    for kind in [FileKind::Original, FileKind::Generated] {
        let layer = disk::compare(here, kind, checksum, &mut findings).await?;
        on_disk.insert(kind.dir(), layer);
    }
    let equal = |line: &Compared| !matches!(line.verdict, Verdict::Differs { .. });
    let (differences, differences_total) = findings.into_parts();
    Ok(Against {
        equal: layers.iter().all(equal) && differences_total == 0,
        report: About {
            node: report.node.name.clone(),
            cluster_id: report.node.cluster_id.clone(),
            as_of: report.as_of.clone(),
        },
        layers,
        disk: on_disk,
        differences,
        differences_total,
    })
}

/// The tables and trees of both sides, in a fixed order.
fn compare(here: &Content, there: &Content, withheld: &[String]) -> Vec<Compared> {
    let mut lines = Vec::new();
    let tables = |a: Vec<&String>, b: Vec<&String>| -> BTreeSet<String> {
        a.into_iter().chain(b).cloned().collect()
    };
    for table in tables(
        here.records.keys().collect(),
        there.records.keys().collect(),
    ) {
        let side = |content: &Content| {
            let group = content.records.get(&table)?;
            Some((group.live, group.digested.clone()))
        };
        let sides = (side(here), side(there));
        lines.push(line("records", Some(table), sides, withheld));
    }
    for table in tables(
        here.deletes.keys().collect(),
        there.deletes.keys().collect(),
    ) {
        let side = |content: &Content| {
            let group = content.deletes.get(&table)?;
            Some((group.count, group.digested.clone()))
        };
        let sides = (side(here), side(there));
        lines.push(line("deletes", Some(table), sides, withheld));
    }
    for kind in [FileKind::Original, FileKind::Generated] {
        let side = |content: &Content| {
            let group = match kind {
                FileKind::Original => &content.originals,
                FileKind::Generated => &content.generated,
            };
            Some((group.files, group.digested.clone()))
        };
        lines.push(line(kind.dir(), None, (side(here), side(there)), withheld));
    }
    lines
}

type Side = Option<(u64, Digested)>;

fn line(
    layer: &'static str,
    table: Option<String>,
    (here, there): (Side, Side),
    withheld: &[String],
) -> Compared {
    let count = |side: &Side| side.as_ref().map_or(0, |(count, _)| *count);
    let counts = (count(&here), count(&there));
    let is_withheld = table.as_ref().is_some_and(|table| withheld.contains(table));
    let verdict = if is_withheld && here.is_some() != there.is_some() {
        Verdict::NotCompared {
            reason:
                "it grants rights and is not passed on between nodes; relay_tables changes that"
                    .to_owned(),
        }
    } else {
        let buckets = |side: Side| {
            side.map(|(_, digested)| digested.buckets)
                .unwrap_or_default()
        };
        let (here, there) = (buckets(here), buckets(there));
        let numbers: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        let differing: Vec<String> = numbers
            .into_iter()
            .filter(|number| here.get(*number) != there.get(*number))
            .cloned()
            .collect();
        if differing.is_empty() {
            Verdict::Equal
        } else {
            let held = differing.iter().filter_map(|number| here.get(number));
            let items = held.map(|bucket| bucket.items).sum();
            Verdict::Differs {
                buckets: differing,
                items,
            }
        }
    };
    Compared {
        layer,
        table,
        here: counts.0,
        there: counts.1,
        verdict,
        items: Vec::new(),
    }
}

/// Names what lies in the buckets that differ, a thousand items in all.
async fn name_items(here: &Here<'_>, lines: &mut [Compared]) -> Result<(), Error> {
    let mut room = NAMED;
    for line in lines {
        let Verdict::Differs { buckets, .. } = &line.verdict else {
            continue;
        };
        let numbers = buckets
            .iter()
            .filter_map(|number| u8::from_str_radix(number, 16).ok())
            .collect();
        let group = match (line.layer, &line.table) {
            ("records", Some(table)) => Group::Records {
                table,
                deleted: false,
            },
            (_, Some(table)) => Group::Records {
                table,
                deleted: true,
            },
            ("originals", None) => Group::Files(FileKind::Original),
            (_, None) => Group::Files(FileKind::Generated),
        };
        line.items = items(here, group, &numbers, room).await?;
        room -= line.items.len();
    }
    Ok(())
}
