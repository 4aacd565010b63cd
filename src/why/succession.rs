//! Whose place was taken, where that decides whose a record is.

use super::{Asked, Error};
use crate::catalogue::KnownSuccession;
use crate::model::Succession;
use crate::pipeline::is_unheard;

impl Asked<'_> {
    /// What is known of successions that decide about this record, and whether a former master is still to be heard.
    pub(super) async fn succession(&mut self) -> Result<Vec<String>, Error> {
        let Some(stored) = &self.record else {
            return Ok(Vec::new());
        };
        let mut lines = Vec::new();
        if let Some(status) = &stored.record.status {
            for known in self.node.catalogue.successions().await? {
                let Succession {
                    former,
                    successor,
                    at,
                } = &known.succession;
                let is_ours = *successor == self.node.config.node.cluster_id;
                if *successor == status.master && status.modified >= *at {
                    lines.push(format!(
                        "{} ({}): what {former} owned is {successor}'s since then",
                        taken(&known, is_ours),
                        said_by(&known)
                    ));
                } else if *former == status.master && is_ours {
                    lines.push(format!(
                        "{} ({}), and this record was not among what was taken over: it counts as {former} says",
                        taken(&known, is_ours),
                        said_by(&known)
                    ));
                } else if *former == status.master {
                    lines.push(format!(
                        "{} ({}): it counts as {former} saved it until it comes from {successor}",
                        taken(&known, is_ours),
                        said_by(&known)
                    ));
                    if let Some(peer) = &known.said_by {
                        self.advice
                            .push(format!("`emsync sync {peer}` has what {successor} saved"));
                    }
                }
            }
        }
        for peer in &self.node.config.peers {
            if stored.origin == peer.name && is_unheard(self.node, peer).await? {
                lines.push(format!(
                    "what {0} saved since its place was taken is not known here: it is pulled before anything is sent to {0}, and what it says of this record is kept as the loser of a conflict",
                    peer.name
                ));
                self.advice.push(format!(
                    "`emsync pull {}` hears it, once it is back",
                    peer.name
                ));
            }
        }
        Ok(lines)
    }
}

fn taken(known: &KnownSuccession, is_ours: bool) -> String {
    let Succession {
        former,
        successor,
        at,
    } = &known.succession;
    match is_ours {
        true => format!("this node took the place of {former} at {at}"),
        false => format!("{successor} took the place of {former} at {at}"),
    }
}

fn said_by(known: &KnownSuccession) -> String {
    match &known.said_by {
        Some(peer) => format!("says peer {peer}"),
        None => "`emsync promote`".to_owned(),
    }
}
