//! The outcome of a comparison, for people and programs.

use crate::model::Timestamp;

/// Differences that are named one by one; the rest is counted.
const NAMED: usize = 1_000;

/// Counts of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Layer {
    /// Items here.
    pub here: u64,
    /// Items the peer lists.
    pub there: u64,
    /// Listed there and not here.
    pub missing: u64,
    /// Here and not listed there.
    pub extra: u64,
    /// On both sides, and not the same.
    pub differing: u64,
    /// Not the same for a reason that is right: our own current renditions, edits not pushed yet.
    pub explained: u64,
    /// Of either side, and not compared: this node's filter of the peer leaves their assets out, or the peer says that it holds them in
    /// part only.
    #[serde(default)]
    pub left_out: u64,
}

/// A layer, or why it was left out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum LayerReport {
    /// It was compared.
    Compared(Layer),
    /// It was not; then nothing is "in sync".
    NotCompared {
        /// Why.
        #[serde(rename = "not_compared")]
        reason: String,
    },
}

impl LayerReport {
    /// How many items differ in it; `None` where it was not compared.
    #[must_use]
    pub fn differences(&self) -> Option<u64> {
        match self {
            Self::Compared(layer) => Some(layer.missing + layer.extra + layer.differing),
            Self::NotCompared { .. } => None,
        }
    }

    fn is_equal(&self) -> bool {
        matches!(self, Self::Compared(layer) if self.differences() == Some(0) && layer.left_out == 0)
    }
}

/// The four layers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Layers {
    /// Live records of every table.
    pub records: LayerReport,
    /// Originals.
    pub originals: LayerReport,
    /// Generated files.
    pub generated: LayerReport,
    /// Tombstones.
    pub deletes: LayerReport,
}

impl Layers {
    /// The layers of a report that was kept as JSON; `None` where it has none that can be read.
    #[must_use]
    pub fn read(report: &str) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Kept {
            layers: Layers,
        }
        let kept: Kept = serde_json::from_str(report).ok()?;
        Some(kept.layers)
    }

    /// Whether nothing differs in what was compared, which need not be everything.
    #[must_use]
    pub fn agree(&self) -> bool {
        let mut layers = self.named().into_iter();
        layers.all(|(_, layer)| {
            layer
                .differences()
                .is_none_or(|differences| differences == 0)
        })
    }

    /// The layers with their names.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &LayerReport); 4] {
        [
            ("records", &self.records),
            ("originals", &self.originals),
            ("generated", &self.generated),
            ("deletes", &self.deletes),
        ]
    }
}

/// How an item differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Listed there and not here.
    Missing,
    /// Here and not listed there.
    Extra,
    /// On both sides, and not the same.
    Differing,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// `records`, `originals`, `generated` or `deletes`.
    pub layer: &'static str,
    /// How it differs.
    pub kind: Kind,
    /// Which item: `asset/<id>` or a path.
    pub item: String,
    /// What is the matter, with both values.
    pub detail: String,
}

/// Whether two nodes are equal.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Parity {
    /// Everything was compared, and nothing differs.
    pub in_sync: bool,
    /// When the comparison began.
    #[serde(serialize_with = "as_text")]
    pub as_of: Timestamp,
    /// The layers.
    pub layers: Layers,
    /// The first thousand differences.
    pub differences: Vec<Difference>,
    /// How many there are in all.
    pub differences_total: u64,
}

fn as_text<S: serde::Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

impl Parity {
    /// Whether something was found to differ. Less than not being in sync: what is left out by a setting does not differ.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.differences_total > 0
    }

    pub(super) fn new(as_of: Timestamp, layers: Layers, findings: Findings) -> Self {
        let all = [
            &layers.records,
            &layers.originals,
            &layers.generated,
            &layers.deletes,
        ];
        let in_sync = all.into_iter().all(LayerReport::is_equal);
        Self {
            in_sync,
            as_of,
            layers,
            differences: findings.named,
            differences_total: findings.total,
        }
    }
}

/// Differences as they are found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    named: Vec<Difference>,
    total: u64,
}

impl Findings {
    /// The differences that are named, and how many there are in all.
    pub(super) fn into_parts(self) -> (Vec<Difference>, u64) {
        (self.named, self.total)
    }

    /// Adds what was found elsewhere at the same time, behind what is here.
    pub(super) fn append(&mut self, others: Self) {
        let room = NAMED - self.named.len().min(NAMED);
        self.named.extend(others.named.into_iter().take(room));
        self.total += others.total;
    }

    /// Counts a difference in its layer, and names it while there is room.
    pub(super) fn add(
        &mut self,
        layer: (&'static str, &mut Layer),
        kind: Kind,
        item: impl FnOnce() -> (String, String),
    ) {
        let (name, counts) = layer;
        match kind {
            Kind::Missing => counts.missing += 1,
            Kind::Extra => counts.extra += 1,
            Kind::Differing => counts.differing += 1,
        }
        self.total += 1;
        if self.named.len() < NAMED {
            let (item, detail) = item();
            self.named.push(Difference {
                layer: name,
                kind,
                item,
                detail,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(originals: LayerReport) -> Layers {
        let equal = LayerReport::Compared(Layer {
            here: 1,
            there: 1,
            explained: 1,
            ..Layer::default()
        });
        Layers {
            records: equal.clone(),
            originals,
            generated: equal.clone(),
            deletes: equal,
        }
    }

    #[test]
    fn all_differences_are_counted_and_the_first_are_named() {
        let found = |layer, many: usize| {
            let mut found = Findings::default();
            for n in 0..many {
                let name = || (n.to_string(), String::new());
                found.add((layer, &mut Layer::default()), Kind::Extra, name);
            }
            found
        };
        let mut all = found("originals", NAMED - 1);
        all.append(found("generated", 3));
        all.append(found("generated", NAMED));
        let (named, total) = all.into_parts();
        assert_eq!((named.len(), total), (NAMED, 2 * NAMED as u64 + 2));
        let last: Vec<_> = named[NAMED - 2..].iter().map(|it| it.layer).collect();
        assert_eq!(last, ["originals", "generated"]);
    }

    #[test]
    fn in_sync_needs_every_layer_compared_and_equal() {
        let parity = |originals| {
            Parity::new(Timestamp::EPOCH, layers(originals), Findings::default()).in_sync
        };
        assert!(parity(LayerReport::Compared(Layer::default())));
        assert!(!parity(LayerReport::Compared(Layer {
            extra: 1,
            ..Layer::default()
        })));
        let partial = Layer {
            left_out: 1,
            ..Layer::default()
        };
        assert!(!parity(LayerReport::Compared(partial)));
        assert!(layers(LayerReport::Compared(partial)).agree());
        assert!(!parity(LayerReport::NotCompared {
            reason: "off".to_owned()
        }));
    }

    #[test]
    fn the_report_has_the_shape_that_scripts_read() {
        let parity = Parity::new(
            Timestamp::EPOCH,
            layers(LayerReport::Compared(Layer::default())),
            Findings::default(),
        );
        let json = serde_json::to_value(&parity).unwrap();
        assert_eq!(json["as_of"], "1970-01-01T00:00:00.000Z");
        for member in [
            "here",
            "there",
            "missing",
            "extra",
            "differing",
            "explained",
            "left_out",
        ] {
            assert!(json["layers"]["originals"][member].is_u64(), "{member}");
        }
    }
}
