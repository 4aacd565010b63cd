//! What a run costs that has nothing to do, in requests: the same for a large archive as for a small one, and right all the same.

use std::fs;

use emsync::catalogue::Audit;
use emsync::model::{RecordKey, Timestamp};
use serde_json::Value;

use crate::digests::{World, notes, record};
use crate::support::between::Passed;
use crate::support::pair::{assert_equal, sync, verify};
use crate::support::process::text;

/// A table is asked for so many times at most when nothing changed: what is asked of a node is not asked of each table.
const REQUESTS: usize = 3;

fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

impl World {
    /// What a sync reports, and what it asked.
    #[track_caller]
    fn sync(&self) -> (Value, Vec<Passed>) {
        self.between.passed();
        let ran = sync(&self.place);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        (ran.json(), self.between.passed())
    }

    /// A sync that finds nothing to do; answers what it asked.
    #[track_caller]
    fn idle(&self) -> Vec<Passed> {
        let (report, passed) = self.sync();
        for count in [
            "records",
            "files_written",
            "bytes_received",
            "deleted",
            "quarantined",
        ] {
            assert_eq!(report[count], 0, "{report}");
        }
        let media = passed
            .iter()
            .filter(|passed| !passed.path.ends_with(".json"));
        assert_eq!(media.count(), 0, "{passed:?}");
        passed
    }

    fn audit(&self) -> Audit {
        self.runtime.block_on(async {
            let catalogue = self.open("r").await;
            let audit = catalogue.audit("master").await.unwrap().unwrap();
            catalogue.close().await;
            audit
        })
    }

    /// Makes the next listing of everything due.
    fn make_due(&self) {
        let audit = Audit {
            tried_at: Timestamp::EPOCH,
            ..self.audit()
        };
        self.runtime.block_on(async {
            let catalogue = self.open("r").await;
            let mut batch = catalogue.batch().await.unwrap();
            batch.put_audit("master", &audit).await.unwrap();
            batch.commit().await.unwrap();
            catalogue.close().await;
        });
    }

    /// The master loses a record without a word.
    fn lose(&self, key: &RecordKey) {
        self.runtime.block_on(async {
            let catalogue = self.open("m").await;
            let mut batch = catalogue.batch().await.unwrap();
            batch.take_record_away(key, "a test", now()).await.unwrap();
            batch.commit().await.unwrap();
            catalogue.close().await;
        });
    }

    fn has(&self, key: &RecordKey) -> bool {
        self.runtime.block_on(async {
            let catalogue = self.open("r").await;
            let found = catalogue.record(key).await.unwrap();
            catalogue.close().await;
            found.is_some()
        })
    }
}

fn note(n: u64) -> RecordKey {
    RecordKey::new("note", format!("n{n:05}")).unwrap()
}

/// Pages of records that were asked for; the question for the peer's clock looks like one.
fn listings(passed: &[Passed]) -> usize {
    let pages = passed.iter().filter(|passed| passed.is_listing());
    pages
        .filter(|passed| !passed.asked.contains("lastpullago=1&"))
        .count()
}

fn paths(passed: &[Passed]) -> Vec<&str> {
    passed.iter().map(|passed| passed.path.as_str()).collect()
}

#[test]
fn an_idle_sync_asks_no_more_of_a_large_archive_than_of_a_small_one() {
    let world = World::new();
    let small = world.idle();
    world.both(&notes());
    let large = world.idle();
    assert_eq!(paths(&small), paths(&large));
    assert!(large.len() <= REQUESTS, "{large:?}");
}

/// Windows overlap, so that what was just changed is listed a second time, a million records if need be.
#[test]
fn what_was_taken_a_moment_ago_is_not_listed_again() {
    let world = World::new();
    world.write_at("m", &notes(), &[], now());
    let (report, passed) = world.sync();
    assert_eq!(report["records"], notes().len() as u64);
    let pages = listings(&passed);
    assert!(pages > 2, "{passed:?}");
    for _ in 0..2 {
        let passed = world.idle();
        assert_eq!(listings(&passed), 1, "{passed:?}");
        assert!(passed.len() <= 2 * REQUESTS, "{passed:?}");
    }
    // Behind the first page, which says nothing new.
    let edited = record("note", "n02900", 2_000, "somebody", false);
    world.write_at("m", &[edited], &[], now());
    let (report, passed) = world.sync();
    assert_eq!(
        (report["records"].as_u64(), listings(&passed)),
        (Some(1), pages)
    );
    assert_equal(&verify(&world.place, &[]).json());
}

#[test]
fn digests_that_are_of_no_use_lead_to_pages() {
    let world = World::new();
    world.write_at("m", &notes(), &[], now());
    let pages = listings(&world.sync().1);
    type Lie = fn(&str, Vec<u8>) -> (u16, Vec<u8>);
    let lies: [Lie; 4] = [
        |_, _| (500, Vec::new()),
        |_, _| (200, b"{}".to_vec()),
        |_, _| (200, br#"{"tables":[]}"#.to_vec()),
        |_, mut body| {
            let tag = body.windows(7).position(|at| at == b"\"tag\":\"").unwrap() + 7;
            body[tag] = if body[tag] == b'A' { b'B' } else { b'A' };
            (200, body)
        },
    ];
    for lie in lies {
        world.between.lie(Some(Box::new(lie)));
        assert_eq!(listings(&world.idle()), pages);
    }
}

#[test]
fn a_listing_of_everything_that_is_due_is_not_taken_where_it_would_say_nothing() {
    let world = World::new();
    world.both(&notes());
    // Both sides count the same since the seed, and the mirror knows by which rules it was planned.
    world.make_due();
    let passed = world.idle();
    assert_eq!(listings(&passed), 1, "{passed:?}");
    assert!(passed.len() <= 2 * REQUESTS, "{passed:?}");
    let audit = world.audit();
    assert!(audit.tried_at > Timestamp::EPOCH && audit.listed_at == Some(audit.tried_at));

    // What changed is taken first, and then nothing differs any more.
    world.make_due();
    let edited = record("note", "n00001", 2_000, "somebody", false);
    world.write_at("m", &[edited], &[], now());
    let (report, passed) = world.sync();
    assert_eq!(
        (report["records"].as_u64(), listings(&passed)),
        (Some(1), 1)
    );
    assert!(world.audit().tried_at > audit.tried_at);

    // Another policy may want something of records that did not change.
    world.make_due();
    let settings = world.place.path("r/emsync.toml");
    let other = text(&settings).replace("\n[[peer]]", "\n[[peer]]\ngenerated = \"rebuild\"");
    fs::write(&settings, other).unwrap();
    let everything = listings(&world.idle());
    assert!(everything > 3);
    world.make_due();
    assert_eq!(listings(&world.idle()), 1);
}

/// I4: from digests it only ever follows that nothing is missing.
#[test]
fn what_digests_lack_is_deleted_by_two_complete_listings_only() {
    let world = World::new();
    world.both(&notes());
    let (stays, goes) = (note(8), note(7));
    world.lose(&goes);
    world.make_due();
    let (report, passed) = world.sync();
    assert_eq!(report["deleted"], 0);
    assert!(listings(&passed) > 3, "{passed:?}");
    assert!(world.has(&goes) && world.has(&stays));
    // It was noted, so the next one lists everything as well.
    let (report, passed) = world.sync();
    assert_eq!(report["deleted"], 1);
    assert!(listings(&passed) > 3, "{passed:?}");
    assert!(!world.has(&goes) && world.has(&stays));
    world.make_due();
    assert_eq!(listings(&world.idle()), 1);
}
