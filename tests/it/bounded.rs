//! Promise I10: what lies between two stages is bounded, whatever one of them waits for and however much there is to do.
//!
//! A stage is made to stand still, by a disk whose calls wait; then whatever comes before it has to stand still too, at the
//! bound of the channel between them. That something stands still can only be seen by looking for a while ([`stands`]): a
//! look that is too short lets a fault pass, and never makes one.

mod import;
mod memory;

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use emsync::catalogue::{Job, Lane};
use emsync::config::{Config, Generated};
use emsync::model::FileKind;
use emsync::pull::pool::LEASE;
use emsync::seams::Seams;
use serde_json::json;

use crate::support::disk::{Call, Disk};
use crate::support::emdb::{Content, Doc, Emdb, KEY, Setup, asset_members};
use crate::support::fault::{Fault, Meter};
use crate::support::node::Mirror;
use crate::support::said::say;

const CLUSTER: &str = "node-a-cluster";
const MTIME: i64 = 1_772_201_000_000;
/// Jobs of the small lane that are claimed ahead.
const CLAIMED_AHEAD: u64 = 256;
/// How long nothing may change for what is counted to stand.
const A_WHILE: Duration = Duration::from_millis(500);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a counter stands at once it has stood for [`A_WHILE`], or as soon as it is above `most`.
async fn stands(most: u64, count: impl Fn() -> u64) -> u64 {
    let (mut last, mut since) = (count(), tokio::time::Instant::now());
    while last <= most && since.elapsed() < A_WHILE {
        tokio::time::sleep(LOOK_AGAIN).await;
        let now = count();
        if now != last {
            (last, since) = (now, tokio::time::Instant::now());
        }
    }
    last
}

/// Returns once a call of the disk waits.
async fn standing(disk: &Arc<Disk>) {
    let disk = Arc::clone(disk);
    tokio::task::spawn_blocking(move || disk.stands_still())
        .await
        .unwrap();
}

fn path_of(file: BorrowedFd<'_>) -> String {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    path.to_string_lossy().into_owned()
}

fn is_staged(file: BorrowedFd<'_>) -> bool {
    path_of(file).contains("/.emsync/staging/")
}

/// Whether a staged file holds something already.
fn is_begun(file: BorrowedFd<'_>) -> bool {
    is_staged(file) && rustix::fs::fstat(file).unwrap().st_size > 0
}

fn asset(content: &mut Content, id: &str, path: &str, size: u64) {
    let mut members = asset_members(path, size as usize, MTIME);
    members["fileformat"] = json!(path.rsplit('.').next());
    let now = std::time::SystemTime::now().into();
    content.record(Doc::new("asset", id, CLUSTER, now, members));
}

/// A master of so many small originals.
async fn master_of(originals: u64, extension: &str, bytes: impl Fn(u64) -> Vec<u8>) -> Emdb {
    let emdb = Emdb::start(Setup::default()).await;
    emdb.edit(|content| {
        for n in 0..originals {
            let (path, bytes) = (format!("d/f{n}.{extension}"), bytes(n));
            asset(content, &format!("a{n}"), &path, bytes.len() as u64);
            content.original(&path, bytes, MTIME);
        }
    });
    emdb
}

/// A small picture that is like no other.
fn picture(n: u64) -> Vec<u8> {
    let image =
        image::RgbImage::from_pixel(8, 8, image::Rgb([(n % 256) as u8, (n / 256) as u8, 7]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// The same mirror on a disk of the test's choice, and with other settings.
async fn on_disk(mirror: Mirror, disk: &Arc<Disk>, change: impl FnOnce(&mut Config)) -> Mirror {
    let opened = Mirror::open_in(mirror.close().await, Seams::os(), disk.clone()).await;
    let mut mirror = opened.map_err(|(_, error)| error).unwrap();
    mirror.configure(change);
    mirror
}

async fn mirror_of(emdb: &Emdb) -> Mirror {
    Mirror::with(emdb.base(), KEY, Some(CLUSTER), |config| {
        config.peers[0].generated = Generated::Copy;
    })
    .await
}

/// Jobs of a lane that nobody has claimed: they are claimed here, looked at and given back.
async fn unclaimed(mirror: &Mirror, lane: Lane) -> u64 {
    let (peer, catalogue) = (mirror.peer().name, &mirror.node.catalogue);
    let now = mirror.node.seams.clock.now();
    let claimed = catalogue.claim((&peer, lane), 10_000, "a look", now, LEASE);
    let jobs: Vec<Job> = claimed.await.unwrap();
    let mut batch = catalogue.batch().await.unwrap();
    for job in &jobs {
        batch.release(job).await.unwrap();
    }
    batch.commit().await.unwrap();
    jobs.len() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn downloads_wait_for_a_disk_that_stands_still() {
    const ALL: u64 = 500;
    let emdb = master_of(ALL, "bin", |n| format!("content {n}").into_bytes()).await;
    let disk = Arc::new(Disk::stalled_at(Call::SyncFile, is_staged));
    let mirror = on_disk(mirror_of(&emdb).await, &disk, |config| {
        config.limits.transfers = 4;
        config.limits.publish_batch = 8;
    })
    .await;
    // One file at each transfer, a channel of them, and at most a batch in the publisher's hands.
    let (least, most) = (4 + 8 + 1, 4 + 8 + 8);
    let watch = async {
        standing(&disk).await;
        let asked = stands(most, || emdb.requests("downloads/").len() as u64).await;
        let claimed = ALL - unclaimed(&mirror, Lane::Small).await;
        disk.go();
        (asked, claimed)
    };
    let (outcome, (asked, claimed)) = tokio::join!(mirror.seed(), watch);
    say(&format!(
        "bounded: of {ALL} files {asked} were asked for and {claimed} claimed before a disk that stood still"
    ));
    assert!(
        (least..=most).contains(&asked),
        "{asked} were asked for, {most} are bound"
    );
    let most = most + CLAIMED_AHEAD;
    assert!(claimed <= most, "{claimed} were claimed, {most} are bound");
    assert_eq!(outcome.report.files_written, ALL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_large_download_waits_for_a_disk_that_stands_still() {
    const PIECE: u64 = 64 << 10;
    const PIECES: u64 = 1_024;
    /// Sixteen pieces as large as the client takes them, and what the system holds for both ends of a connection.
    const MOST: u64 = 24 << 20;
    let emdb = Emdb::start(Setup::default()).await;
    emdb.edit(|content| {
        asset(content, "big", "d/big.bin", PIECE * PIECES);
        content.original("d/big.bin", "never sent", MTIME);
    });
    let (piece, meter) = (Bytes::from(vec![7; PIECE as usize]), Meter::default());
    let flood = Fault::Flood(piece, PIECES, meter.clone());
    emdb.faults().always("originals/d/big.bin", flood);
    let disk = Arc::new(Disk::stalled_at(Call::Write, is_begun));
    let mirror = on_disk(mirror_of(&emdb).await, &disk, |_| {}).await;
    let watch = async {
        standing(&disk).await;
        let taken = stands(MOST, || meter.bytes()).await;
        disk.go();
        taken
    };
    let (outcome, taken) = tokio::join!(mirror.seed(), watch);
    say(&format!(
        "bounded: of {} bytes {taken} were taken before a disk that stood still",
        PIECE * PIECES
    ));
    assert!(taken <= MOST, "{taken} bytes were taken, {MOST} are bound");
    assert_eq!(outcome.report.bytes_received, PIECE * PIECES);
    let here = mirror.path(FileKind::Original, "d/big.bin");
    assert_eq!(std::fs::metadata(here).unwrap().len(), PIECE * PIECES);
}

/// A mirror that has the originals of so many pictures, and is about to render them on `disk`.
async fn about_to_render(emdb: &Emdb, disk: &Arc<Disk>, depth: usize) -> Mirror {
    let mirror = mirror_of(emdb).await;
    mirror.seed().await;
    on_disk(mirror, disk, |config| {
        config.peers[0].generated = Generated::Rebuild;
        config.limits.handoff_depth = depth;
        config.limits.publish_batch = 4;
        config.media.thumb_threads = 1;
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn originals_wait_while_renditions_cannot_be_published() {
    const ALL: u64 = 60;
    let emdb = master_of(ALL, "png", picture).await;
    let disk = Arc::new(Disk::stalled_at(Call::SyncFile, is_staged));
    let mirror = about_to_render(&emdb, &disk, 2).await;
    // The hand-off, the results, one at the only thread and one in the lane's hands; a channel of them before the publisher
    // and at most a batch in its hands. While the lane waits it fills no hand-off.
    let (least, most) = (1 + 4 + 1, 2 * 2 + 1 + 1 + 4 + 4);
    let watch = async {
        standing(&disk).await;
        stands(u64::MAX, || disk.created()).await;
        let claimed = ALL - unclaimed(&mirror, Lane::Media).await;
        disk.go();
        claimed
    };
    let (outcome, claimed) = tokio::join!(mirror.seed(), watch);
    say(&format!(
        "bounded: of {ALL} originals {claimed} were claimed for renditions that could not be published"
    ));
    assert!(
        (least..=most).contains(&claimed),
        "{claimed} were claimed, {most} are bound"
    );
    assert_eq!(outcome.report.files_written, 5 * ALL);
}

/// A disk that is merely slower than the processor: the lane goes on, one original after the other, and as long as it has
/// results enough to stage nothing more may be rendered.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn originals_wait_while_renditions_are_written_slowly() {
    const ALL: u64 = 60;
    const DEPTH: u64 = 4;
    const STEPS: u64 = 6;
    let emdb = master_of(ALL, "png", picture).await;
    let disk = Arc::new(Disk::stalled_at(Call::Write, is_staged));
    let mirror = about_to_render(&emdb, &disk, DEPTH as usize).await;
    let watch = async {
        standing(&disk).await;
        for step in 0..STEPS {
            disk.let_pass(5);
            // All five of one original are written, and the first of the next one waits.
            while disk.created() < 5 * (step + 1) + 1 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            tokio::time::sleep(A_WHILE / 2).await;
        }
        let claimed = ALL - unclaimed(&mirror, Lane::Media).await;
        disk.go();
        claimed
    };
    let (outcome, claimed) = tokio::join!(mirror.seed(), watch);
    say(&format!(
        "bounded: of {ALL} originals {claimed} were claimed while {STEPS} were written"
    ));
    // The hand-off, the results, one at the only thread and one in the lane's hands.
    let most = STEPS + 2 * DEPTH + 2;
    assert!(claimed <= most, "{claimed} were claimed, {most} are bound");
    assert_eq!(outcome.report.files_written, 5 * ALL);
}
