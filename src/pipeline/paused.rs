//! A paused peer: no run over it begins, and one that goes on ends as it does when its time is over. What has come of a large file stays,
//! jobs are released, and the next run goes on from there.

use std::time::Duration;

use crate::catalogue::{self, Catalogue};
use crate::pull;

/// How often a run looks whether its peer was paused: it may have been by another process.
const LOOK: Duration = Duration::from_secs(1);

/// Why no run over a peer may begin.
///
/// # Errors
/// [`pull::Error::Paused`], [`pull::Error::Catalogue`].
pub(super) async fn refuse(catalogue: &Catalogue, peer: &str) -> Result<(), pull::Error> {
    match paused(catalogue, peer).await? {
        Some(paused) => Err(paused),
        None => Ok(()),
    }
}

/// Returns once a peer is paused.
pub(super) async fn wait(catalogue: &Catalogue, peer: &str) -> pull::Error {
    let mut seen = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = catalogue.moment();
        if now.is_some() && now == seen {
            continue;
        }
        seen = now;
        match paused(catalogue, peer).await {
            Ok(Some(paused)) => return paused,
            Ok(None) => {}
            // Whatever is the matter with the catalogue ends the run by itself.
            Err(error) => tracing::debug!(peer, %error, "not known whether it is paused"),
        }
    }
}

async fn paused(
    catalogue: &Catalogue,
    peer: &str,
) -> Result<Option<pull::Error>, catalogue::Error> {
    let since = catalogue.paused_since(peer).await?;
    Ok(since.map(|since| pull::Error::Paused {
        peer: peer.to_owned(),
        since,
    }))
}
