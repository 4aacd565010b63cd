//! The layers of records and of deletes.

use std::ops::Bound;

use super::listing::{Listed, stamp};
use super::ranges::Told;
use super::report::{Findings, Kind, Layer, LayerReport};
use super::stretch::{Pages, stretch};
use super::{Error, RECORDS, Verify};
use crate::catalogue::{SpooledRecord, StoredRecord};
use crate::model::{Record, RecordKey};
use crate::reconcile::diff::{Side, merge};

/// Compares every record of every table.
pub(super) async fn compare(
    verify: &Verify<'_>,
    listed: &Listed,
    findings: &mut Findings,
) -> Result<(LayerReport, LayerReport), Error> {
    let mut layers = Both {
        verify,
        listed,
        findings,
        records: Layer::default(),
        deletes: Layer::default(),
    };
    if let Some(Told {
        equal: [live, deleted],
        ..
    }) = listed.told
    {
        for (layer, count) in [(&mut layers.records, live), (&mut layers.deletes, deleted)] {
            (layer.here, layer.there) = (count, count);
        }
    }
    let mut here = Pages::new(RECORDS, |stored: &StoredRecord| stored.record.key.clone());
    let mut there = Pages::new(RECORDS, |record: &SpooledRecord| record.key.clone());
    while here.goes_on() || there.goes_on() {
        if here.used_up() {
            here.put(page_here(verify, listed, here.last()).await?);
        }
        if there.used_up() {
            let page = listed.spool.records_after(there.last(), RECORDS);
            there.put(page.await?);
        }
        let (here_now, there_now) = stretch(&mut here, &mut there);
        let sides = merge(
            here_now,
            there_now,
            |stored| stored.record.key.clone(),
            |record| record.key.clone(),
        );
        for side in sides {
            layers.take(side);
        }
    }
    for (item, reason) in &listed.bad {
        let name = || {
            (
                item.clone(),
                format!("what the peer lists cannot be used: {reason}"),
            )
        };
        layers
            .findings
            .add(("records", &mut layers.records), Kind::Missing, name);
    }
    Ok((
        LayerReport::Compared(layers.records),
        LayerReport::Compared(layers.deletes),
    ))
}

/// The next records here that are to be compared: all, or those that digests did not tell to be equal. A page is short only at
/// the end.
async fn page_here(
    verify: &Verify<'_>,
    listed: &Listed,
    after: Option<&RecordKey>,
) -> Result<Vec<StoredRecord>, Error> {
    let Some(told) = &listed.told else {
        let page = verify.catalogue.records_after(None, after, RECORDS);
        return Ok(page.await?);
    };
    let behind = (
        after.map_or(Bound::Unbounded, Bound::Excluded),
        Bound::Unbounded,
    );
    let (mut keys, mut page) = (told.records.range::<RecordKey, _>(behind), Vec::new());
    while page.len() < RECORDS {
        let some: Vec<_> = keys.by_ref().take(RECORDS - page.len()).cloned().collect();
        if some.is_empty() {
            break;
        }
        // One that went meanwhile leaves room for the next.
        page.extend(verify.catalogue.stored(&some).await?.into_values());
    }
    page.sort_unstable_by(|a, b| a.record.key.cmp(&b.record.key));
    Ok(page)
}

struct Both<'a> {
    verify: &'a Verify<'a>,
    listed: &'a Listed,
    findings: &'a mut Findings,
    records: Layer,
    deletes: Layer,
}

impl Both<'_> {
    fn take(&mut self, side: Side<StoredRecord, SpooledRecord>) {
        match side {
            Side::Both(here, there) => self.both(&here, &there),
            Side::Left(here) => self.only_here(&here),
            Side::Right(there) => self.only_there(&there),
        }
    }

    fn both(&mut self, here: &StoredRecord, there: &SpooledRecord) {
        let record = &here.record;
        let item = || record.key.to_string();
        self.count_here(record);
        self.count_there(there);
        if record.is_deleted() != there.deleted {
            let explained = self.is_our_edit(record);
            let (name, layer) = ("deletes", &mut self.deletes);
            if explained {
                layer.explained += 1;
            } else {
                let detail = if there.deleted {
                    "deleted there, live here"
                } else {
                    "live there, deleted here"
                };
                self.findings.add((name, layer), Kind::Differing, || {
                    (item(), detail.to_owned())
                });
            }
            return;
        }
        let ours = record.status.as_ref().map(stamp).unwrap_or_default();
        let by_content = self.listed.verbatim || there.stamp.is_empty();
        if ours == there.stamp && (!by_content || record.content == there.content) {
            return;
        }
        if self.is_our_edit(record) {
            self.records.explained += 1;
            return;
        }
        let detail = if ours == there.stamp {
            "same dates, different content".to_owned()
        } else {
            format!("here {ours}; there {}", there.stamp)
        };
        let layer = if there.deleted {
            ("deletes", &mut self.deletes)
        } else {
            ("records", &mut self.records)
        };
        self.findings
            .add(layer, Kind::Differing, || (item(), detail));
    }

    fn only_here(&mut self, here: &StoredRecord) {
        let record = &here.record;
        self.count_here(record);
        // Nobody lists what nobody stamped; and a peer that lost its tombstones (H-37) is no reason to lose ours.
        let unlistable = record.status.is_none() || record.is_deleted();
        // Also what came from the EMDB beside this node, which bears one id with it.
        let ours = here.origin != self.verify.peer.name()
            && record
                .status
                .as_ref()
                .is_some_and(|status| status.master == *self.verify.own);
        if unlistable || ours || self.is_our_edit(record) {
            let layer = if record.is_deleted() {
                &mut self.deletes
            } else {
                &mut self.records
            };
            layer.explained += 1;
            return;
        }
        let item = || {
            (
                record.key.to_string(),
                "the peer does not list it".to_owned(),
            )
        };
        self.findings
            .add(("records", &mut self.records), Kind::Extra, item);
    }

    fn only_there(&mut self, there: &SpooledRecord) {
        self.count_there(there);
        let item = || (there.key.to_string(), format!("there {}", there.stamp));
        let layer = if there.deleted {
            ("deletes", &mut self.deletes)
        } else {
            ("records", &mut self.records)
        };
        self.findings.add(layer, Kind::Missing, item);
    }

    fn count_here(&mut self, record: &Record) {
        let layer = if record.is_deleted() {
            &mut self.deletes
        } else {
            &mut self.records
        };
        layer.here += 1;
    }

    fn count_there(&mut self, record: &SpooledRecord) {
        let layer = if record.deleted {
            &mut self.deletes
        } else {
            &mut self.records
        };
        layer.there += 1;
    }

    /// An edit made here that its owner has not taken yet.
    fn is_our_edit(&self, record: &Record) -> bool {
        record
            .status
            .as_ref()
            .is_some_and(|status| status.modified_by == *self.verify.own)
    }
}
