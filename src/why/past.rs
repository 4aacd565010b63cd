//! What was: the last comparisons, conflicts, and what lies in the trash.

use super::find::MOST;
use super::{Asked, Error};
use crate::config::Peer;
use crate::trash::{Found, Listing, Wanted, said, shown};

impl Asked<'_> {
    /// What the last report about each peer says of this item.
    pub(super) async fn compared(&self) -> Result<Vec<String>, Error> {
        let mut lines = Vec::new();
        for Peer { name, .. } in &self.node.config.peers {
            let Some(parity) = self.node.catalogue.parity(name).await? else {
                lines.push(format!("never with {name}; `emsync verify {name}`"));
                continue;
            };
            let report: serde_json::Value =
                serde_json::from_str(&parity.report).unwrap_or_default();
            let named = report["differences"]
                .as_array()
                .map_or(&[][..], Vec::as_slice);
            let of_us: Vec<_> = named.iter().filter(|one| self.is_ours(one)).collect();
            for one in &of_us {
                let text = |member: &str| one[member].as_str().unwrap_or_default().to_owned();
                lines.push(format!(
                    "with {name} at {}: {} in {}: {}: {}",
                    parity.as_of,
                    text("kind"),
                    text("layer"),
                    text("item"),
                    text("detail")
                ));
            }
            let total = report["differences_total"].as_u64().unwrap_or(0);
            let is_partial = total > named.len() as u64;
            if of_us.is_empty() {
                let what = match (parity.in_sync, is_partial) {
                    (true, _) => "in sync",
                    (false, true) => {
                        "differences, of which the report names only some, and not this"
                    }
                    (false, false) => "differences, none of them this",
                };
                lines.push(format!("with {name} at {}: {what}", parity.as_of));
            }
        }
        Ok(lines)
    }

    fn is_ours(&self, difference: &serde_json::Value) -> bool {
        let item = difference["item"].as_str().unwrap_or_default();
        let bare = (item.strip_prefix("originals/"))
            .or_else(|| item.strip_prefix("generated/"))
            .unwrap_or(item);
        let key = self.key.to_string();
        item == key
            || self.files.iter().any(|row| row.file.path.as_str() == bare)
            || (self.jobs.iter()).any(|job| {
                job.subject == item
                    || job
                        .subject
                        .split_once('/')
                        .is_some_and(|(_, path)| path == bare)
            })
    }

    pub(super) async fn conflicts(&self) -> Result<Vec<String>, Error> {
        let conflicts = self.node.catalogue.conflicts_over(&self.key, MOST).await?;
        let told = conflicts.into_iter().map(|(peer, at, winner)| {
            let winner = format!("{winner:?}").to_lowercase();
            format!("with {peer} at {at}: the {winner} side was stored, both are kept")
        });
        Ok(told.collect())
    }

    /// What lies in the trash. Only looked for when something of this asset ever went there.
    pub(super) async fn trash(&mut self) -> Result<Vec<String>, Error> {
        let former = self.node.catalogue.former_of(&self.key.id, 0, 1).await?;
        if !self.key.module.is_asset() || former.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = Wanted {
            asset: Some(self.key.id.clone()),
            ..Wanted::default()
        };
        let mut listing = Listing::open(&self.node.store, &self.node.catalogue).await?;
        let mut lines = Vec::new();
        while let Some(page) = listing.page(&wanted).await? {
            for found in page {
                if let Found::Entry(entry) = found
                    && lines.len() < MOST
                {
                    let why = entry
                        .former
                        .as_ref()
                        .map_or("", |former| said(former.reason));
                    lines.push(format!(
                        "{}  {}  {why} at {}",
                        entry.item.id(),
                        shown(entry.item.kind(), &entry.item.path),
                        entry.item.slot.when
                    ));
                }
            }
        }
        if !lines.is_empty() {
            self.advice.push(
                "`emsync trash restore ID` brings a file back, with --to DIR anywhere".to_owned(),
            );
        }
        Ok(lines)
    }
}
