//! Pages of changes on their way: sent, halved where one is not taken, and noted together with what the peer wants of it.
//!
//! EMDB takes a page as a whole or, over one bad record, not at all (H-20). So a page that is rejected is halved until the bad
//! record is alone; that one is set aside, and tried once more by every later run. A peer that rejects one single record after
//! the other is itself in trouble: then nothing is set aside for good, the run ends, and the next begins with the same page.

use std::time::Duration;

use bytes::Bytes;

use super::changes::{self, Under};
use super::offer::{self, Offers, Originals, Receiver};
use super::{Counts, Error, Greeted, Push, wishes};
use crate::catalogue::{Batch, Job, Lane, NewJob, StoredRecord};
use crate::model::job::{SendJob, Work, send_subject};
use crate::model::{AssetId, CatalogId, Record, RecordKey, Timestamp};
use crate::monitor::Counter;
use crate::peer::{self, Peer};
use crate::protocol::receiving::{Offer, OfferedAsset, Wanted, encode_offer};
use crate::protocol::{Hello, PageHead, Status, changes as wire};

/// What EMDB's own client calls the cursor of a page it sends.
const SESSION: &str = "nullnullnull";
/// Single records that may be rejected in a row before that is the peer's own trouble.
const REJECTED_IN_A_ROW: u32 = 10;
/// A record that was saved so long before the window is no news at the peer: it goes along for the sake of its files.
const NEWS: Duration = Duration::from_secs(24 * 3_600);

/// Sends page after page to the end of the window.
pub(super) async fn send_all(
    push: &Push,
    greeted: &Greeted,
    under: &mut Under,
) -> Result<(), Error> {
    let mut rejected = 0;
    loop {
        if push.stop.requested() {
            return Err(Error::Cancelled);
        }
        let records = changes::next(push, under, Some(&greeted.id)).await?;
        if records.is_empty() {
            return Ok(());
        }
        let count = records.len() as u64;
        push.monitor.expect(Counter::RecordsSent, count);
        send_page(push, greeted, &records, under, &mut rejected).await?;
        push.monitor.advance(Counter::RecordsSent, count);
    }
}

/// Sends a page, in parts where need be, and moves the place behind it.
async fn send_page(
    push: &Push,
    greeted: &Greeted,
    records: &[StoredRecord],
    under: &Under,
    rejected: &mut u32,
) -> Result<(), Error> {
    let since = under.window.since;
    let mut parts = vec![records];
    while let Some(part) = parts.pop() {
        // Progress moves with the last part, since the others lie before it.
        let place = parts.is_empty().then_some(under);
        match send_part(push, greeted, part, since).await {
            Ok(taken) => {
                *rejected = 0;
                let horizon = since.minus(NEWS);
                taken.note(push, (part, horizon), place, None).await?;
            }
            Err(error) if error.is_rejection() && part.len() > 1 => {
                tracing::debug!(
                    peer = push.peer.name(),
                    records = part.len(),
                    reason = error.reason(),
                    "a page is halved"
                );
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
            Err(error) if error.is_rejection() && *rejected < REJECTED_IN_A_ROW => {
                *rejected += 1;
                set_aside(push, part, place, &error.reason()).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends a record that was set aside once more, by itself; its job is settled with what comes of it.
pub(super) async fn send_again(
    push: &Push,
    greeted: &Greeted,
    job: &Job,
    send: &SendJob,
) -> Result<(), Error> {
    let stored = match RecordKey::new(send.module.as_str(), send.id.as_str()) {
        Ok(key) => push.catalogue.record(&key).await?,
        Err(_) => None,
    };
    // One that has gone since is nobody's wish any more.
    let records: Vec<StoredRecord> = stored
        .into_iter()
        .filter(|stored| stored.record.status.is_some())
        .collect();
    let taken = match records.is_empty() {
        true => Taken::default(),
        false => send_part(push, greeted, &records, Timestamp::EPOCH).await?,
    };
    let all = (&records[..], Timestamp::EPOCH);
    taken.note(push, all, None, Some(job)).await
}

/// What came of a part that was taken.
#[derive(Debug, Default)]
struct Taken {
    jobs: Vec<NewJob>,
    /// Assets whose originals were rejected, and why.
    without_originals: Vec<(AssetId, String)>,
}

async fn send_part(
    push: &Push,
    greeted: &Greeted,
    records: &[StoredRecord],
    since: Timestamp,
) -> Result<Taken, Error> {
    let to = Receiver {
        id: Some(&greeted.id),
        is_emsync: greeted.is_emsync,
    };
    let offers = offer::gather(push, records, to).await?;
    let page = Bytes::from(encode(push, records, &offers, since));
    let send =
        async |peer: &Peer, page: &mut Bytes| once_rejected(peer.send_changes(page.clone()).await);
    let mut page = page;
    let wanted = push
        .peer
        .patiently(push.patience(), &mut page, send)
        .await??;
    let mut taken = Taken {
        jobs: wishes::jobs(push, &wanted, &offers.files, None),
        without_originals: Vec::new(),
    };
    if !offers.originals.is_empty() {
        offer_all(push, greeted, &offers, since, &mut taken).await?;
    }
    Ok(taken)
}

/// A rejection is an answer, and not worth the same question again.
fn once_rejected(
    answered: Result<Wanted, peer::Error>,
) -> Result<Result<Wanted, peer::Error>, peer::Error> {
    match answered {
        Err(error) if error.is_rejection() => Ok(Err(error)),
        other => other.map(Ok),
    }
}

/// Offers originals, in halves where they are not taken together: one asset that the peer cannot deal with holds up no other.
async fn offer_all(
    push: &Push,
    greeted: &Greeted,
    offers: &Offers,
    since: Timestamp,
    taken: &mut Taken,
) -> Result<(), Error> {
    let mut parts = vec![&offers.originals[..]];
    while let Some(part) = parts.pop() {
        match offer_part(push, part, since).await {
            Ok(wanted) => {
                let catalog = match wanted.catalog.as_str() {
                    "" => &greeted.catalog,
                    stated => stated,
                };
                let jobs = wishes::jobs(push, &wanted, &offers.files, Some(catalog));
                taken.jobs.extend(jobs);
            }
            Err(error) if error.is_rejection() && part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
            Err(error) if error.is_rejection() => {
                let ids = part.iter().map(|one| one.asset.clone());
                let reason = format!("originals: {}", error.reason());
                taken
                    .without_originals
                    .extend(ids.map(|id| (id, reason.clone())));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn offer_part(push: &Push, part: &[Originals], since: Timestamp) -> Result<Wanted, Error> {
    let assets: Vec<OfferedAsset<'_>> = part.iter().map(Originals::offered).collect();
    let offer = Bytes::from(encode_offer(&Offer {
        catalog: &push.catalog,
        since,
        assets: &assets,
    }));
    // It captures nothing: one that does cannot be shown to be `Send`, and a push may run as a task.
    let ask = async |peer: &Peer, (offer, catalog): &mut (Bytes, CatalogId)| {
        once_rejected(peer.offer_originals(offer.clone(), catalog).await)
    };
    let mut asked = (offer, push.catalog.clone());
    Ok(push
        .peer
        .patiently(push.patience(), &mut asked, ask)
        .await??)
}

/// A part is a listing of its own, whole in one page.
fn encode(push: &Push, records: &[StoredRecord], offers: &Offers, since: Timestamp) -> Vec<u8> {
    let head = PageHead {
        status: Status::Ok,
        total: records.len() as u64,
        per_page: 100,
        page: 1,
        pages: 1,
        session: SESSION.to_owned(),
        catalog: push.catalog.to_string(),
        since: Some(since),
        hello: Some(Hello {
            successions: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: push.own.clone(),
            features: Vec::new(),
        }),
    };
    let records: Vec<Record> = records.iter().map(|stored| stored.record.clone()).collect();
    wire::encode(&head, &records, &offers.listings)
}

impl Taken {
    /// Notes all of it in one batch: what was sent, what is wanted, how far we are.
    async fn note(
        self,
        push: &Push,
        (records, horizon): (&[StoredRecord], Timestamp),
        place: Option<&Under>,
        job: Option<&Job>,
    ) -> Result<(), Error> {
        let (peer, now) = (push.peer.name(), push.seams.clock.now());
        let sent: Vec<&StoredRecord> = records.iter().collect();
        let subjects: Vec<String> = (records.iter())
            .map(|stored| send_subject(&stored.record.key))
            .collect();
        let mut batch = push.catalogue.batch().await?;
        match job {
            Some(job) => {
                batch.settle(job).await?;
            }
            None => {
                batch.withdraw(peer, &subjects).await?;
            }
        }
        batch.note_sent(peer, &sent, horizon).await?;
        batch.enqueue(&self.jobs, now).await?;
        for (asset, reason) in &self.without_originals {
            put_aside(push, &mut batch, &asset.key(), reason).await?;
        }
        keep_place(push, &mut batch, place).await?;
        batch.commit().await?;
        Counts::add(&push.counts.records, records.len() as u64);
        let bytes = (self.jobs.iter()).fold(0_u64, |sum, job| sum.saturating_add(job.size));
        push.monitor.expect(Counter::BytesSent, bytes);
        Ok(())
    }
}

async fn keep_place(push: &Push, batch: &mut Batch, place: Option<&Under>) -> Result<(), Error> {
    if let Some(under) = place {
        batch
            .put_push_state(push.peer.name(), &under.kept())
            .await?;
    }
    Ok(())
}

/// Sets aside records that were rejected by themselves.
async fn set_aside(
    push: &Push,
    records: &[StoredRecord],
    place: Option<&Under>,
    reason: &str,
) -> Result<(), Error> {
    let mut batch = push.catalogue.batch().await?;
    for stored in records {
        put_aside(push, &mut batch, &stored.record.key, reason).await?;
    }
    keep_place(push, &mut batch, place).await?;
    batch.commit().await?;
    Ok(())
}

async fn put_aside(
    push: &Push,
    batch: &mut Batch,
    key: &RecordKey,
    reason: &str,
) -> Result<(), Error> {
    let (peer, now) = (push.peer.name(), push.seams.clock.now());
    tracing::warn!(peer, record = %key, reason, "set aside");
    push.monitor.finding(&format!("{key}: {reason}"));
    // A job names what it serves by an id alone, be it of an asset or not.
    let Ok(asset) = AssetId::new(key.id.as_str()) else {
        return Ok(());
    };
    let job = NewJob {
        peer: peer.to_owned(),
        subject: send_subject(key),
        lane: Lane::Upload,
        asset,
        size: 0,
        work: Work::Send(SendJob {
            module: key.module.to_string(),
            id: key.id.clone(),
        }),
    };
    batch.set_aside_new(&job, reason, now).await?;
    Ok(())
}
