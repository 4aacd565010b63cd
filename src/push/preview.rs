//! What a push would send, without a request: for `plan`, and for a dry run.
//!
//! Which files the peer then wants only it can say; what is counted is what it would be offered.

use std::sync::Arc;

use super::offer::Receiver;
use super::{Error, Push, changes, offer};
use crate::model::FileKind;

/// What a push would send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct PushPreview {
    /// Records.
    pub records: u64,
    /// Originals that would be offered.
    pub originals: u64,
    /// Their bytes.
    pub originals_bytes: u64,
    /// Generated files that would be offered.
    pub generated: u64,
    /// Their bytes.
    pub generated_bytes: u64,
    /// Files and records that the peer is to get since an earlier push.
    pub waiting: u64,
    /// Bytes of those files.
    pub waiting_bytes: u64,
    /// Of what a push could not send so far, what would get another try.
    pub quarantined: u64,
}

/// Counts.
///
/// # Errors
/// [`Error`]; nothing is changed.
pub async fn preview(push: &Arc<Push>) -> Result<PushPreview, Error> {
    let known = push.known_id().await?;
    // Only nodes of ours say who they are.
    let said = push.catalogue.peer_node(push.peer.name()).await?;
    let to = Receiver {
        id: known.as_ref(),
        is_emsync: said.is_some(),
    };
    let mut preview = PushPreview::default();
    let mut under = changes::look(push).await?;
    loop {
        let records = changes::next(push, &mut under, known.as_ref()).await?;
        if records.is_empty() {
            break;
        }
        preview.records += records.len() as u64;
        let offers = offer::gather(push, &records, to).await?;
        for file in offers.files.values().flatten() {
            let (files, bytes) = match file.kind {
                FileKind::Original => (&mut preview.originals, &mut preview.originals_bytes),
                FileKind::Generated => (&mut preview.generated, &mut preview.generated_bytes),
            };
            *files += 1;
            *bytes = bytes.saturating_add(file.size);
        }
    }
    let waiting = (push.catalogue)
        .upload_counts(Some(push.peer.name()))
        .await?;
    preview.waiting = waiting.open;
    preview.waiting_bytes = waiting.open_bytes;
    preview.quarantined = waiting.quarantined;
    Ok(preview)
}
