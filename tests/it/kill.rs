//! kill -9 of the real program at random moments: nothing is lost, nothing is wrong, nothing that was kept is fetched again.
//!
//! A master and its mirror are processes of the real binary; what a kill left is looked at from outside, on disk and in a copy
//! of the catalogue. After every kill
//!
//! 1. each file under a final name is one that the master has, byte for byte, and nothing else is there (I1);
//! 2. each file row's file is there, with that size and digest: bytes before rows (I2).
//!
//! Each test ends with one line of totals, which it only prints when nothing was violated. `EMSYNC_KILLS=5000` runs the big matrix, `EMSYNC_KILL_SEED` repeats the moments of an earlier run as well as a clock can;
//! `cargo test kill -- --nocapture` shows what was hit.

pub(crate) mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use emsync::model::{FileKind, Sha256};
use serde_json::json;

use crate::support::program::{Files, Program};
use crate::support::proxy::Sent;
use crate::support::said::say;
use stage::{Chance, Look, PUBLISH_BATCH, Stage, TRANSFERS, kills};

const SEED: [&str; 3] = ["seed", "master", "--json"];
const SYNC: [&str; 3] = ["sync", "master", "--json"];
/// From this size on a file is resumed rather than begun again.
const RESUMED: u64 = 1 << 20;
/// Bytes of one open large transfer that a kill may lose: the service figure "resume waste after kill".
const TAIL: u64 = 8 << 20;
/// The same on average: what waits between the proxy and the partial on disk is some pieces and socket buffers.
const USUAL_TAIL: u64 = 1 << 20;

/// What kills did in one test.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    /// Runs that ended before their kill came.
    finished: u64,
    hit: BTreeMap<&'static str, u64>,
    lost: i64,
    most_lost: i64,
    received: u64,
}

/// Most bytes of files that are begun again when their transfer is cut: one being received by each worker, a channel full of
/// received ones, and the batch in the publisher's hands.
fn small_window(master: &Files) -> u64 {
    let mut sizes: Vec<u64> = master.values().map(|(size, _)| *size).collect();
    sizes.retain(|size| *size < RESUMED);
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes.iter().take(TRANSFERS + 2 * PUBLISH_BATCH).sum()
}

fn total(files: &Files) -> u64 {
    files.values().map(|(size, _)| size).sum()
}

/// Contents of originals.
fn digests(files: &Files) -> BTreeSet<Sha256> {
    let originals = files
        .iter()
        .filter(|((kind, _), _)| *kind == FileKind::Original);
    originals.map(|(_, (_, sha256))| *sha256).collect()
}

#[test]
fn a_seed_killed_anywhere_loses_nothing_and_fetches_nothing_twice() {
    let (mut chance, kills) = (Chance::new(), kills(24));
    let stage = Stage::new(&mut chance, 250, 6, 12);
    let mirror = stage.mirror("clean");
    let began = Instant::now();
    mirror.run(&SEED).well();
    let clean = began.elapsed();
    let media = total(&stage.expected);
    let sent = stage.settled();
    assert_eq!(sent.media, media, "a clean seed fetches each byte once");
    stage.assert_done(&mirror, &mirror.run(&SEED).well());
    let mut tally = Tally::default();
    while tally.kills < kills {
        let mirror = stage.mirror(&format!("r{}", tally.finished));
        seed_under_fire(&stage, &mirror, clean, kills, &mut tally, &mut chance);
        std::fs::remove_dir_all(stage.dir.path().join(format!("r{}", tally.finished - 1))).unwrap();
    }
    let window = small_window(&stage.expected) + USUAL_TAIL;
    assert!(
        tally.lost <= (tally.kills * window).cast_signed(),
        "{tally:?}; {}",
        chance.named()
    );
    // Mirror by mirror this holds exactly; here once more as the sum over all of them.
    let needed = tally.finished * media;
    let refetched = tally.received.cast_signed() - needed.cast_signed();
    assert!(
        refetched <= tally.lost + tally.kills.cast_signed(),
        "{tally:?}; {}",
        chance.named()
    );
    say(&format!(
        "seed: {} kills, 0 violations ({:?}), {} finished runs; clean {clean:?}, {media} media and {} other bytes; lost on average {} bytes a kill, at most {} (average bound {window}); {}",
        tally.kills,
        tally.hit,
        tally.finished,
        sent.other,
        tally.lost / tally.kills.max(1).cast_signed(),
        tally.most_lost,
        chance.named(),
    ));
}

/// Seeds a new mirror, killing the process again and again until a seed is faster.
fn seed_under_fire(
    stage: &Stage,
    mirror: &Program,
    clean: Duration,
    kills: u64,
    tally: &mut Tally,
    chance: &mut Chance,
) {
    let most_lost = small_window(&stage.expected) + TAIL;
    let (mut kept, mut partials) = (0, 0);
    loop {
        let before = stage.settled();
        // What is listed and compared again takes its time even when all files are here.
        let left = 0.3 + 0.7 * (1.0 - kept as f64 / total(&stage.expected) as f64);
        let done = if tally.kills < kills {
            mirror.run_until(&SEED, chance.moment(clean.mul_f64(left)))
        } else {
            Some(mirror.run(&SEED))
        };
        let sent = stage.settled().since(before);
        tally.received += sent.media;
        if let Some(done) = done {
            tally.finished += 1;
            stage.assert_done(mirror, &done.well());
            let missing = total(&stage.expected) - kept;
            // One byte proves that a whole partial is still what the master serves.
            assert!(
                sent.media <= missing + partials,
                "{} bytes were fetched, {missing} were missing; {}",
                sent.media,
                chance.named()
            );
            return;
        }
        let look = Look::at(mirror, &stage.runtime);
        look.assert_sound(&stage.expected, &Files::new(), chance);
        let lost = sent.media.cast_signed() - look.kept().cast_signed() + kept.cast_signed();
        assert!(
            lost <= most_lost.cast_signed(),
            "{lost} bytes lost of {sent:?}; {}",
            chance.named()
        );
        (kept, partials) = (look.kept(), look.partials.len() as u64);
        tally.kills += 1;
        tally.lost += lost;
        tally.most_lost = tally.most_lost.max(lost);
        *tally.hit.entry(phase(&look, sent, stage)).or_default() += 1;
    }
}

fn phase(look: &Look, sent: Sent, stage: &Stage) -> &'static str {
    let complete = look.files == stage.expected && look.jobs.open == 0;
    match sent {
        Sent { other: 0, .. } => "1 before the first page",
        _ if complete => "4 verify",
        Sent {
            media_requests: 0, ..
        } => "2 listing",
        _ => "3 files",
    }
}

#[test]
fn an_import_killed_anywhere_ends_like_one_that_was_not() {
    let (mut chance, kills) = (Chance::new(), kills(6));
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("photos");
    stage::fill(&folder, &mut chance, 80, 1, 6);
    let import = ["import", folder.to_str().unwrap(), "--json"];
    let reference = Program::init(&dir.path().join("reference"), "same-0001");
    let began = Instant::now();
    reference.run(&import).well();
    let clean = began.elapsed();
    let runtime = stage::runtime();
    let whole = Look::at(&reference, &runtime);
    whole.assert_sound(&whole.files, &Files::new(), &chance);
    assert_eq!(
        whole.files.len(),
        80 + 5 + 1 + 6 + 6 * 5,
        "all were imported"
    );
    let (mut killed, mut finished) = (0, 0);
    while killed < kills {
        let node = Program::init(&dir.path().join(format!("m{finished}")), "same-0001");
        loop {
            let done = if killed < kills {
                node.run_until(&import, chance.moment(clean))
            } else {
                Some(node.run(&import))
            };
            let look = Look::at(&node, &runtime);
            look.assert_sound(&whole.files, &Files::new(), &chance);
            if let Some(done) = done {
                done.well();
                look.assert_equal(&whole, &chance);
                for table in ["asset", "category"] {
                    let list = ["record", "list", table];
                    let ids = |node: &Program| stage::ids(&node.run(&list).well().stdout);
                    assert_eq!(ids(&node), ids(&reference), "{}", chance.named());
                }
                finished += 1;
                break;
            }
            killed += 1;
        }
    }
    say(&format!(
        "import: {killed} kills, 0 violations, {finished} finished runs, clean {clean:?}"
    ));
}

#[test]
fn a_sync_killed_anywhere_takes_nothing_away_but_what_was_moved_or_deleted() {
    let (mut chance, kills) = (Chance::new(), kills(6));
    let mut stage = Stage::new(&mut chance, 120, 2, 3);
    let mirror = stage.mirror("r");
    mirror.run(&SEED).well();
    let (mut killed, mut round, mut syncing) = (0, 0, Duration::from_millis(300));
    while killed < kills {
        let before = stage.change(round, &mut chance);
        round += 1;
        let began = Instant::now();
        loop {
            let done = if killed < kills && round > 1 {
                mirror.run_until(&SYNC, chance.moment(syncing))
            } else {
                Some(mirror.run(&SYNC))
            };
            let look = Look::at(&mirror, &stage.runtime);
            look.assert_sound(&stage.expected, &before, &chance);
            for (key, file) in &before {
                let stays = stage.expected.get(key) == Some(file);
                assert!(
                    !stays || look.files.contains_key(key),
                    "{key:?}; {}",
                    chance.named()
                );
            }
            if let Some(done) = done {
                assert_eq!(done.well().json()["quarantined"], json!(0));
                stage.assert_in_sync(&mirror);
                let (trash, here) = (mirror.trash(), digests(&stage.expected));
                for gone in digests(&before).difference(&here) {
                    assert!(trash.contains(gone), "{gone}; {}", chance.named());
                }
                break;
            }
            killed += 1;
        }
        if round == 1 {
            syncing = began.elapsed();
        }
    }
    say(&format!(
        "sync: {killed} kills, 0 violations, over {round} sets of changes, clean {syncing:?}"
    ));
}

#[test]
fn a_master_killed_during_a_seed_is_seeded_from_again_when_it_is_back() {
    let (mut chance, kills) = (Chance::new(), kills(3));
    let mut stage = Stage::new(&mut chance, 120, 2, 3);
    let mut codes = BTreeMap::<_, u64>::new();
    for kill in 0..kills {
        let mirror = stage.mirror_at(&format!("r{kill}"), &stage.serving().url);
        mirror.limit("attempts = 3\nretry_base = \"20ms\"\nretry_cap = \"100ms\"");
        let seeding = mirror.start_running(&SEED);
        std::thread::sleep(chance.moment(Duration::from_millis(600)));
        let listen = stage.kill_master();
        let done = seeding.end();
        *codes.entry(done.code).or_default() += 1;
        assert!(
            matches!(done.code, Some(0 | 5)),
            "{done:?}; {}",
            chance.named()
        );
        let look = Look::at(&mirror, &stage.runtime);
        look.assert_sound(&stage.expected, &Files::new(), &chance);
        stage.serve(&listen);
        stage.assert_done(&mirror, &mirror.run(&SEED).well());
    }
    say(&format!(
        "serve: {kills} kills, 0 violations, the mirror's exit codes {codes:?}"
    ));
}
