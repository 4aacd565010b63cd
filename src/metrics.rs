//! How the node stands, for Prometheus: made anew at every scrape, so that nothing is counted twice and nothing grows. No label holds
//! an asset's id, a path or a key (I13); those of peers and events are their names in the configuration.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::catalogue::{self, Catalogue, RunOutcome};
use crate::model::Timestamp;
use crate::monitor::Counter as Counted;
use crate::schedule::{self, Scheduler};
use crate::status::{PeerStatus, Status};

/// What [`render`] makes is of this type.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What can go wrong while it is found out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] catalogue::Error),
    /// The scheduler failed.
    #[error(transparent)]
    Schedule(#[from] schedule::Error),
}

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge>;
type Seconds = Family<Labels, Gauge<f64, AtomicU64>>;

/// All metrics of a node of which this is the status, as text.
///
/// # Errors
/// [`Error`].
pub async fn render(scheduler: &Scheduler, status: &Status) -> Result<String, Error> {
    let node = scheduler.node();
    let now = node.seams.clock.now();
    let mut registry = Registry::with_prefix("emsync");
    let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The program", build);
    of_node(&mut registry, status);
    of_peers(&mut registry, &status.peers, now);
    oldest(&mut registry, &node.catalogue, (&status.peers, now)).await?;
    of_events(&mut registry, scheduler).await?;
    moved(&mut registry, scheduler);
    of_process(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes whatever is written to it");
    Ok(text)
}

/// Registers gauges, and hands them out to be set.
fn gauges(registry: &mut Registry, name: &str, help: &str) -> Gauges {
    let family = Gauges::default();
    registry.register(name, help, family.clone());
    family
}

fn seconds(registry: &mut Registry, name: &str, help: &str) -> Seconds {
    let family = Seconds::default();
    registry.register(name, help, family.clone());
    family
}

fn set(family: &Gauges, labels: Labels, value: u64) {
    family.get_or_create(&labels).set(signed(value));
}

/// Registers a gauge without labels, with its value.
fn single(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(signed(value));
    registry.register(name, help, gauge);
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn of_node(registry: &mut Registry, status: &Status) {
    let records = gauges(
        registry,
        "records",
        "Records, by table and whether they live",
    );
    for (table, counted) in &status.records {
        let label = |state: &str| vec![("table", table.clone()), ("state", state.to_owned())];
        set(&records, label("live"), counted.live);
        set(&records, label("deleted"), counted.deleted);
    }
    let files = gauges(
        registry,
        "files",
        "Files that the catalogue knows, by layer",
    );
    let bytes = gauges(registry, "files_bytes", "Their bytes");
    let totals = &status.files;
    for (layer, number, size) in [
        ("originals", totals.originals, totals.originals_bytes),
        ("generated", totals.generated, totals.generated_bytes),
    ] {
        let label = || vec![("layer", layer.to_owned())];
        set(&files, label(), number);
        set(&bytes, label(), size);
    }
    for (name, help, value) in [
        (
            "unrenderable",
            "Originals that allow no rendition",
            status.unrenderable,
        ),
        ("damaged_files", "Files found damaged", status.damaged),
        ("conflicts", "Losing edits that are kept", status.conflicts),
    ] {
        single(registry, name, help, value);
    }
    let help = "How long ago the file was read or published that was so longest ago; 0 where there is none";
    let age = status.scrub.oldest_verified_seconds.unwrap_or(0);
    single(registry, "scrub_oldest_verified_seconds", help, age);
    let found = gauges(
        registry,
        "scrub_round_files",
        "Files of the last round, by what became of them",
    );
    if let Some(round) = &status.scrub.round {
        for (state, value) in [
            ("read", round.files),
            ("damaged", round.found()),
            ("healed", round.healed),
        ] {
            set(&found, vec![("state", state.to_owned())], value);
        }
    }
}

fn of_peers(registry: &mut Registry, peers: &[PeerStatus], now: Timestamp) {
    let help = "1 equal in all that was compared, 0 different, -1 unknown since something changed after the last comparison";
    let in_sync = gauges(registry, "peer_in_sync", help);
    let differences = gauges(
        registry,
        "parity_differences",
        "Differences of the last comparison",
    );
    let compared = gauges(registry, "parity_timestamp_seconds", "When it was made");
    let success = gauges(
        registry,
        "last_success_timestamp_seconds",
        "When a run ended well last",
    );
    let skew = seconds(
        registry,
        "clock_skew_seconds",
        "How far the peer's clock is ahead of ours",
    );
    let age = gauges(
        registry,
        "watermark_age_seconds",
        "How old the last complete listing is",
    );
    let queue = gauges(registry, "queue_items", "Jobs, by way and state");
    let paused = gauges(
        registry,
        "peer_paused",
        "1 while a person keeps runs from it",
    );
    let left = gauges(registry, "queue_bytes", "Bytes that open jobs will move");
    for peer in peers {
        let label = || vec![("peer", peer.name.clone())];
        // A part that is equal is what a partial mirror is to be.
        let known = (peer.in_sync).map_or(-1, |equal| i64::from(equal || peer.equal_in_part));
        in_sync.get_or_create(&label()).set(known);
        set(&paused, label(), u64::from(peer.paused_since.is_some()));
        for (layer, report) in peer.layers.iter().flat_map(|layers| layers.named()) {
            let mut label = label();
            label.push(("layer", layer.to_owned()));
            // A layer that was not compared has no number.
            if let Some(number) = report.differences() {
                set(&differences, label, number);
            }
        }
        if let Some(at) = moment(peer.as_of.as_deref()) {
            set(&compared, label(), at);
        }
        if let Some(at) = moment(peer.last_success.as_deref()) {
            set(&success, label(), at);
        }
        if let Some(ms) = peer.skew_ms {
            skew.get_or_create(&label()).set(ms as f64 / 1000.0);
        }
        if let Some(at) = moment(peer.watermark.as_deref()) {
            let now = u64::try_from(now.as_millis() / 1000).unwrap_or(0);
            set(&age, label(), now.saturating_sub(at));
        }
        for (way, jobs) in [("in", &peer.jobs), ("out", &peer.to_send)] {
            let with = |state: Option<&str>| {
                let mut label = label();
                label.push(("way", way.to_owned()));
                label.extend(state.map(|state| ("state", state.to_owned())));
                label
            };
            set(&queue, with(Some("open")), jobs.open);
            set(&queue, with(Some("quarantined")), jobs.quarantined);
            set(&queue, with(Some("held")), jobs.held);
            set(&left, with(None), jobs.open_bytes);
        }
    }
}

/// How long the oldest thing waits that is known of and not here.
async fn oldest(
    registry: &mut Registry,
    catalogue: &Catalogue,
    (peers, now): (&[PeerStatus], Timestamp),
) -> Result<(), Error> {
    let help = "How long the oldest open job has waited, by peer; 0 where nothing waits";
    let oldest = seconds(registry, "oldest_unsynced_seconds", help);
    for peer in peers {
        let since = catalogue.oldest_open(&peer.name).await?;
        let waited = since.map_or(0.0, |since| now.since(since).as_secs_f64());
        let label = vec![("peer", peer.name.clone())];
        oldest.get_or_create(&label).set(waited);
    }
    Ok(())
}

async fn of_events(registry: &mut Registry, scheduler: &Scheduler) -> Result<(), Error> {
    let enabled = gauges(registry, "event_enabled", "Whether an event runs by itself");
    let running = gauges(registry, "event_running", "Whether it runs right now");
    let next = gauges(
        registry,
        "event_next_timestamp_seconds",
        "When it runs next",
    );
    let last = gauges(
        registry,
        "event_last_end_timestamp_seconds",
        "When its last run ended",
    );
    let outcome = gauges(
        registry,
        "event_last_outcome",
        "1 for how its last run ended",
    );
    for standing in scheduler.events().await? {
        let label = || vec![("event", standing.event.name.clone())];
        set(&enabled, label(), u64::from(standing.event.enabled));
        set(&running, label(), u64::from(standing.running.is_some()));
        if let Some(at) = standing.next_at {
            set(&next, label(), whole_seconds(at));
        }
        let Some(run) = &standing.last else { continue };
        if let Some(at) = run.ended_at {
            set(&last, label(), whole_seconds(at));
        }
        for known in run.outcome.iter().flat_map(|_| RunOutcome::ALL) {
            let mut label = label();
            label.push(("outcome", known.name().to_owned()));
            set(&outcome, label, u64::from(run.outcome == Some(known)));
        }
    }
    Ok(())
}

fn moved(registry: &mut Registry, scheduler: &Scheduler) {
    let done = |counter| scheduler.done(counter);
    let failed = done(Counted::RenditionsFailed);
    for (name, help, value) in [
        (
            "downloaded_bytes",
            "Media bytes that events of this process received",
            done(Counted::Bytes),
        ),
        (
            "uploaded_bytes",
            "Media bytes that they sent",
            done(Counted::BytesSent),
        ),
        (
            "hash_mismatches",
            "Files that came to them with another digest than was stated",
            done(Counted::Mismatches),
        ),
        (
            "retries",
            "Files that they tried again",
            done(Counted::Retries),
        ),
        (
            "renditions_made",
            "Assets whose renditions they made",
            done(Counted::Renditions).saturating_sub(failed),
        ),
        ("renditions_failed", "Assets that allowed them none", failed),
    ] {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    let rates = scheduler.node().throttle.rates();
    let help = "Media bytes a second that are let through right now; 0 is no limit";
    let limit = gauges(registry, "bandwidth_limit_bytes", help);
    for (way, rate) in [("in", rates.down), ("out", rates.up)] {
        let rate = rate.map_or(0, std::num::NonZeroU64::get);
        set(&limit, vec![("way", way.to_owned())], rate);
    }
}

/// What is said of every process, by the names that dashboards know.
fn of_process(registry: &mut Registry) {
    let Some((resident, files)) = process() else {
        return;
    };
    let process = registry.sub_registry_with_prefix("process");
    single(
        process,
        "resident_memory_bytes",
        "Resident memory",
        resident,
    );
    single(process, "open_fds", "Open files and sockets", files);
}

/// Resident bytes and open files of this process, where the system tells.
fn process() -> Option<(u64, u64)> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    let files = std::fs::read_dir("/proc/self/fd").ok()?.count();
    let page = rustix::param::page_size() as u64;
    Some((pages.saturating_mul(page), files as u64))
}

/// Seconds since 1970 of a moment as text.
fn moment(text: Option<&str>) -> Option<u64> {
    let time: jiff::Timestamp = text?.parse().ok()?;
    u64::try_from(time.as_second()).ok()
}

fn whole_seconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_millis() / 1000).unwrap_or(0)
}
