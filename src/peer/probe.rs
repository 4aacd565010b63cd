//! `peer test`: everything that can be known about a peer with a few requests and without changing anything.

use std::time::Duration;

use super::{Cursor, Error, Page, Peer};
use crate::model::{FileKind, NodeId, Timestamp};
use crate::protocol::record;
use crate::seams::Clock;

/// What answers at the peer's URL.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An EnterMediaDB server, or something that speaks like one.
    Enter,
    /// An emsync node of this version.
    Emsync(String),
}

/// What a probe found.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Probe {
    /// What answers.
    pub kind: Kind,
    /// The peer's catalog id.
    pub catalog: String,
    /// Its cluster id: what it says of itself, or what we were told.
    pub cluster_id: Option<NodeId>,
    /// Records in a complete listing, tombstones included.
    pub records: u64,
    /// Its clock minus ours, in milliseconds; `None` when it sent no date.
    pub skew_ms: Option<i64>,
    /// How long the first page took, in milliseconds.
    pub latency_ms: u64,
    /// What a person should look at.
    pub warnings: Vec<Warning>,
}

/// Something that works but should not stay so.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "warning", rename_all = "snake_case")]
pub enum Warning {
    /// The configured cluster id owns none of the records on page 1.
    ClusterIdNotSeen {
        /// What the configuration says.
        configured: NodeId,
        /// The owners that were seen instead.
        seen: Vec<NodeId>,
    },
    /// The peer says it has another cluster id than the configuration.
    ClusterIdDiffers {
        /// What the configuration says.
        configured: NodeId,
        /// What the peer says.
        said: NodeId,
    },
    /// An EMDB peer without a cluster id.
    NoClusterId,
    /// The clocks differ by more than 30 s.
    Skew {
        /// The peer's clock minus ours, in milliseconds.
        ms: i64,
    },
    /// The session cookie is `Secure` and the URL is plain http: listings of more than two pages cannot be read.
    SessionWithheld,
    /// An EMDB peer lists its originals to us, and does not let us have one of them.
    OriginalWithheld {
        /// The original that was asked for.
        path: String,
        /// What it answered.
        detail: String,
    },
}

impl Warning {
    /// What is the matter and how to mend it, for people.
    #[must_use]
    pub fn said(&self) -> String {
        match self {
            Self::ClusterIdNotSeen { configured, seen } => {
                let seen: Vec<_> = seen.iter().map(NodeId::as_str).collect();
                format!("no record on page 1 is owned by {configured}; owners seen: {}. Is cluster_id right?", seen.join(", "))
            }
            Self::ClusterIdDiffers { configured, said } => format!("cluster_id is {configured}, but the peer says it is {said}"),
            Self::NoClusterId => "an EMDB peer needs a cluster_id: cluster.name in its node.xml".to_owned(),
            Self::Skew { ms } => format!("its clock is {} s off ours; set both by NTP", ms / 1000),
            Self::SessionWithheld => {
                "its session cookie is Secure and base_url is plain http: use https, or set insecure_session = true".to_owned()
            }
            Self::OriginalWithheld { path, detail } => {
                format!("it does not let us have the original {path:?} ({detail}): does the user of our key have the permission download?")
            }
        }
    }
}

/// Originals that are asked for until one of them says something.
const ORIGINALS_TRIED: usize = 3;
/// Skew from which on a person is told.
pub const SKEW_WARNED: Duration = Duration::from_secs(30);

impl Peer {
    /// Asks for the first page of everything, and looks at it; of an EMDB whose originals are wanted, for the first of those as well.
    ///
    /// # Errors
    /// Any [`Error`] of a list request.
    pub async fn probe(&self, clock: &dyn Clock, originals: bool) -> Result<Probe, Error> {
        let asked_at = clock.now();
        let started = std::time::Instant::now();
        let mut cursor = Cursor::new(self, asked_at.as_millis(), Timestamp::EPOCH);
        let page = self.next_page(&mut cursor).await?;
        let latency = started.elapsed();
        let skew_ms = page
            .server_now
            .map(|server| server.as_millis() - clock.now().as_millis());
        let mut warnings = self.identity_warnings(&page);
        if let Some(ms) = skew_ms.filter(|ms| ms.unsigned_abs() > SKEW_WARNED.as_millis() as u64) {
            warnings.push(Warning::Skew { ms });
        }
        if cursor.blind() {
            warnings.push(Warning::SessionWithheld);
        }
        if originals && page.changes.head.hello.is_none() {
            warnings.extend(self.withheld_original(&page).await);
        }
        let head = page.changes.head;
        Ok(Probe {
            kind: head
                .hello
                .as_ref()
                .map_or(Kind::Enter, |hello| Kind::Emsync(hello.version.clone())),
            catalog: head.catalog,
            cluster_id: head
                .hello
                .map(|hello| hello.node)
                .or_else(|| self.0.cluster_id.clone()),
            records: head.total,
            skew_ms,
            latency_ms: u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
            warnings,
        })
    }

    /// Whether originals are kept from us, by one that is listed: an EMDB's role may list and not download. One that is missing there
    /// says nothing; a 500 may mean the same as a refusal (H-50). What comes is not read.
    async fn withheld_original(&self, page: &Page) -> Option<Warning> {
        let live = (page.changes.records.iter().flatten()).filter(|record| !record.is_deleted());
        let originals = live.filter_map(|record| {
            let asset = record::asset(record).ok()?;
            Some((asset.stated_original()?.path, asset.id))
        });
        for (path, asset) in originals.take(ORIGINALS_TRIED) {
            let tried = self.download((FileKind::Original, &path), &asset, 0).await;
            let detail = match tried {
                Ok(_) => return None,
                Err(Error::Refused { detail, .. }) => detail,
                Err(Error::Server { status: 500, .. }) => "HTTP 500".to_owned(),
                Err(_) => continue,
            };
            let path = path.to_string();
            return Some(Warning::OriginalWithheld { path, detail });
        }
        None
    }

    fn identity_warnings(&self, page: &Page) -> Vec<Warning> {
        let Some(configured) = self.0.cluster_id.clone() else {
            return if page.changes.head.hello.is_some() {
                Vec::new()
            } else {
                vec![Warning::NoClusterId]
            };
        };
        if let Some(hello) = &page.changes.head.hello {
            let said = hello.node.clone();
            return if said == configured {
                Vec::new()
            } else {
                vec![Warning::ClusterIdDiffers { configured, said }]
            };
        }
        let mut seen: Vec<NodeId> = page
            .changes
            .records
            .iter()
            .flatten()
            .filter_map(|record| record.status.as_ref())
            .map(|status| status.master.clone())
            .collect();
        seen.sort_unstable();
        seen.dedup();
        if seen.is_empty() || seen.contains(&configured) {
            Vec::new()
        } else {
            vec![Warning::ClusterIdNotSeen { configured, seen }]
        }
    }
}
