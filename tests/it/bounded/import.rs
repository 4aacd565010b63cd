//! An import: neither its walk nor its intake goes far ahead of what has to wait.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use emsync::adapters::Adapters;
use emsync::import::{self, Error, Options, Report};
use emsync::media::Limits;
use emsync::model::{FileKind, Mode};
use emsync::monitor::Silent;
use emsync::renditions::Settings;
use emsync::shutdown::Shutdown;

use super::{is_staged, on_disk, path_of, picture, say, standing, stands};
use crate::support::disk::{Call, Disk};
use crate::support::node::Mirror;

/// A node on such a disk; it has a peer that is never asked.
async fn node_on(disk: &Arc<Disk>) -> Mirror {
    let nobody = "http://127.0.0.1:9/finder";
    on_disk(Mirror::of(nobody, "key", Some("n")).await, disk, |_| {}).await
}

async fn import(mirror: &Mirror, dir: &Path, thumbs: bool, batch: usize) -> Result<Report, Error> {
    let options = Options {
        dir: dir.to_owned(),
        prefix: None,
        thumbs,
        renditions: Settings {
            threads: 1.into(),
            depth: 1,
            limits: Limits::default(),
            presets: Arc::clone(&mirror.node.config.media.presets),
            mode: Mode::default(),
            adapters: Adapters::none(),
        },
        batch,
        max_delete: None,
        dry_run: false,
        only: import::Only::Whole,
        quiet: None,
    };
    let node = &mirror.node;
    let (own, stop) = (&node.config.node.cluster_id, Shutdown::new());
    let (catalogue, store, seams) = (&node.catalogue, &node.store, &node.seams);
    let monitor = Arc::new(Silent);
    import::run(catalogue, store, own, &options, seams, monitor, &stop).await
}

/// What the folder gains while the import stands still is taken in by this very import exactly where the walk was not yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_walk_waits_for_a_disk_that_stands_still() {
    const DIRS: u64 = 100;
    let folder = tempfile::tempdir().unwrap();
    let dir = |n: u64| folder.path().join(format!("d{n:03}"));
    for n in 0..DIRS {
        std::fs::create_dir(dir(n)).unwrap();
        std::fs::write(dir(n).join("a.bin"), format!("first {n}")).unwrap();
        std::fs::write(dir(n).join("b.bin"), format!("second {n}")).unwrap();
    }
    let disk = Arc::new(Disk::stalled_at(Call::SyncFile, is_staged));
    let node = node_on(&disk).await;
    let watch = async {
        standing(&disk).await;
        stands(u64::MAX, || disk.created()).await;
        for n in 0..DIRS {
            std::fs::write(dir(n).join("c.bin"), format!("third {n}")).unwrap();
        }
        disk.go();
    };
    // A folder and its two files are a portion.
    let (report, ()) = tokio::join!(import(&node, folder.path(), false, 3), watch);
    let walked = 3 * DIRS - report.unwrap().seen;
    say(&format!(
        "bounded: {walked} of {DIRS} folders were read before a disk that stood still"
    ));
    // One portion being taken in, one in the channel, one in the walk's hands, and the folder that it looks at next.
    assert!(
        (3..=4).contains(&walked),
        "{walked} folders were read, 4 are bound"
    );
}

/// Originals are PNG here, and no rendition is.
fn is_rendition(file: BorrowedFd<'_>) -> bool {
    is_staged(file)
        && !std::fs::read(path_of(file))
            .unwrap()
            .starts_with(b"\x89PNG")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_intake_waits_while_renditions_cannot_be_published() {
    const ALL: u64 = 150;
    const BATCH: u64 = 2;
    let folder = tempfile::tempdir().unwrap();
    for n in 0..ALL {
        std::fs::write(folder.path().join(format!("f{n:03}.png")), picture(n)).unwrap();
    }
    let disk = Arc::new(Disk::stalled_at(Call::SyncFile, is_rendition));
    let node = node_on(&disk).await;
    let originals = node.path(FileKind::Original, "");
    let published = || std::fs::read_dir(&originals).map_or(0, |dir| dir.count() as u64);
    // A group of 32 at most that is being settled, one result and one task that wait, one at the only thread and one at the
    // bridge, one wish that waits, and the portion whose wishes are handed over.
    let most = 32 + 1 + 1 + 1 + 1 + 1 + BATCH;
    let watch = async {
        standing(&disk).await;
        let published = stands(most, published).await;
        disk.go();
        published
    };
    let taken = import(&node, folder.path(), true, BATCH as usize);
    let (report, published) = tokio::join!(taken, watch);
    say(&format!(
        "bounded: of {ALL} originals {published} were taken in before renditions that could not be published"
    ));
    assert!(
        published <= most,
        "{published} were taken in, {most} are bound"
    );
    assert_eq!(report.unwrap().renditions, 5 * ALL);
}
