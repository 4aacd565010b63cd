//! `peer test`: everything that can be known about a peer with a few requests and without changing anything.

use std::time::Duration;

use super::{Cursor, Error, Page, Peer};
use crate::model::{NodeId, Timestamp};
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
        }
    }
}

/// Skew from which on a person is told.
pub const SKEW_WARNED: Duration = Duration::from_secs(30);

impl Peer {
    /// Asks for the first page of everything, and looks at it.
    ///
    /// # Errors
    /// Any [`Error`] of a list request.
    pub async fn probe(&self, clock: &dyn Clock) -> Result<Probe, Error> {
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
