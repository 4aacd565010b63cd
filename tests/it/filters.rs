//! Partial mirrors: what a filter leaves out is neither fetched nor taken away nor compared, and everything else is as without one.
//!
//! ```text
//! EMSYNC_FILTER_CASES=1000   so many random worlds instead of 8; one in three is an EMDB's
//! EMSYNC_FILTER_SEED=123     this one alone: what a failing one prints
//! ```

mod world;

use std::time::Duration;

use emsync::model::FileKind;
use emsync::monitor::Silent;
use emsync::pipeline;
use emsync::reconcile::verify::LayerReport;
use serde_json::json;

use crate::support::master::Master;
use crate::support::node::{Mirror, chain};
use crate::support::pair;
use crate::support::process::Place;
use crate::support::said::say;
use world::{Holding, World, check};

/// Syncs, with changes at the master and other filters in between, in one world.
const ROUNDS: usize = 6;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_filters_and_edits_fetch_what_is_wanted_and_touch_nothing_else() {
    let only = number("EMSYNC_FILTER_SEED");
    let cases = number("EMSYNC_FILTER_CASES").unwrap_or(8);
    let seeds = only.map_or(1..=cases, |seed| seed..=seed);
    let (mut wanted, mut left_out, mut changes, mut pruned) = (0, 0, 0, 0);
    for seed in seeds.clone() {
        let mut world = World::new(seed).await;
        let mut mirror = world.mirror().await;
        for round in 0..ROUNDS {
            let mut case = format!("seed {seed}, round {round}");
            if round == 0 || world.now_and_then() {
                let filter = world.filter();
                mirror.configure(|config| config.peers[0].filter = filter);
            }
            for _ in 0..world.some() {
                case += &format!("; {}", world.change().await);
                changes += 1;
            }
            let filter = mirror.peer().filter;
            let before = Holding::of(&mirror).await;
            let outcome = mirror.run(emsync::pull::metadata::Scope::Changes).await;
            let now = mirror.node.seams.clock.now();
            if let Some(error) = &outcome.error {
                panic!("{case}: {filter}: {}", chain(error));
            }
            assert_eq!(
                (outcome.report.quarantined, outcome.deletes.held),
                (0, 0),
                "{case}"
            );
            let known = mirror.node.catalogue.select(&filter).await.unwrap();
            let after = Holding::of(&mirror).await;
            let (in_it, out) = check(&world, (&filter, &known, now), (&before, &after), &case);
            (wanted, left_out) = (wanted + in_it, left_out + out);
            let parity = mirror.verify().await;
            assert!(
                !parity.differs(),
                "{case}: {filter}: {:#?}",
                parity.differences
            );
            if world.now_and_then() {
                let peer = mirror.peer();
                let found = pipeline::outside(&mirror.node, &peer).await.unwrap();
                let gone = pipeline::prune(&mirror.node, &peer, &Silent, &mirror.shutdown);
                assert_eq!(gone.await.unwrap(), found, "{case}");
                let rest = Holding::of(&mirror).await;
                assert_eq!(
                    rest.len() as u64 + found.held.files,
                    after.len() as u64,
                    "{case}"
                );
                assert_eq!(
                    pipeline::outside(&mirror.node, &peer)
                        .await
                        .unwrap()
                        .held
                        .files,
                    0
                );
                pruned += found.held.files;
            }
        }
        world.end().await;
    }
    say(&format!(
        "filters: seeds {seeds:?}, {changes} changes, {wanted} times an asset was wanted and here, {left_out} times left out and untouched, {pruned} files pruned, 0 violations"
    ));
    if only.is_none() {
        assert!(left_out * 10 > wanted && wanted * 10 > left_out && pruned > 0);
    }
}

async fn row_of(master: &Master, path: &str) -> emsync::catalogue::FileRow {
    let path = emsync::model::MediaPath::new(path).unwrap();
    let row = master
        .node
        .catalogue
        .file_named(FileKind::Original, &path, None);
    row.await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_comes_once_it_is_old_enough_although_nothing_changed() {
    let master = Master::new(5).await;
    master.add("a1", "one.bin", b"first").await;
    let row = row_of(&master, "one.bin").await;
    let old = master.node.seams.clock.now().since(row.file.modified);
    let mut mirror = master.mirror().await;
    let age = |age: Duration| {
        move |config: &mut emsync::config::Config| config.peers[0].filter.min_age = Some(age)
    };
    let soon = old + Duration::from_secs(3);
    mirror.configure(age(soon));
    mirror.seed().await;
    assert!(mirror.read(FileKind::Original, "one.bin").is_none());
    // Its time comes without a new filter and without a change of the record: only windows that reach back see it again.
    let began = std::time::Instant::now();
    while mirror.read(FileKind::Original, "one.bin").is_none() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never came");
        mirror.sync().await;
    }
    assert!(began.elapsed() < Duration::from_secs(60));
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_category_that_nobody_knows_stops_files_and_not_records_until_it_is_there() {
    let master = Master::new(5).await;
    master.add("a1", "one.bin", b"first").await;
    let mut mirror = master.mirror().await;
    mirror.configure(|config| {
        config.peers[0].filter.exclude_categories = vec!["Index/Secret".to_owned()]
    });
    let outcome = mirror.run(emsync::pull::metadata::Scope::Changes).await;
    let error = chain(&outcome.error.unwrap());
    assert!(
        error.contains("Index/Secret") && error.contains("record list category"),
        "{error}"
    );
    assert!(mirror.has_live("asset", "a1").await);
    assert!(mirror.read(FileKind::Original, "one.bin").is_none());
    let now = master.node.seams.clock.now();
    let key = emsync::model::RecordKey::new("category", "c").unwrap();
    let members = json!({"id": "c", "name": "Secret", "categorypath": "Index/Secret"});
    let members = members.as_object().unwrap().clone();
    let record = emsync::protocol::record::stamped(members, &key, &master.status(now));
    let mut batch = master.node.catalogue.batch().await.unwrap();
    batch.put_records(&[&record], "", now).await.unwrap();
    batch.commit().await.unwrap();
    // The same run that brings the category brings what is not in it.
    let outcome = mirror.sync().await;
    assert_eq!(outcome.report.files_written, 1);
    assert!(mirror.read(FileKind::Original, "one.bin").is_some());
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_of_a_partial_mirror_keeps_what_that_one_lacks() {
    let master = Master::new(5).await;
    master.add("a1", "In/one.bin", b"first").await;
    master.add("a2", "Out/two.bin", b"second").await;
    let mut relay = master.mirror().await;
    relay.seed().await;
    let served = Master::serving(relay.node.clone(), 5).await;
    let served_at = served.url.clone();
    let end = Mirror::of(&served_at, &served.key, None).await;
    end.seed().await;
    assert_eq!(
        end.read(FileKind::Original, "Out/two.bin").unwrap(),
        b"second"
    );
    served.end().await;

    relay.configure(|config| config.peers[0].filter.include = vec!["/In/**".parse().unwrap()]);
    let peer = relay.peer();
    let gone = pipeline::prune(&relay.node, &peer, &Silent, &relay.shutdown);
    assert_eq!(gone.await.unwrap().held.files, 1);
    assert!(relay.read(FileKind::Original, "Out/two.bin").is_none());
    // It serves again, at another address, and is pulled from often enough for an absence to count.
    let again = Master::serving(relay.node.clone(), 5).await;
    let file = end.node.config.file.clone();
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace(&served_at, &again.url);
    assert!(text.contains(&again.url), "{text}");
    std::fs::write(&file, text).unwrap();
    let config = emsync::config::Config::load(&file).unwrap();
    let mut end = end;
    end.configure(|old| *old = config);
    for _ in 0..3 {
        let outcome = end.seed().await;
        assert_eq!(
            (outcome.deletes.held, outcome.deletes.files_trashed),
            (0, 0)
        );
    }
    // By digests or by a listing: what the relay lacks is not compared, and no difference.
    for in_full in [false, true] {
        let look = pipeline::Look {
            in_full,
            ..pipeline::Look::default()
        };
        let peer = end.peer();
        let parity = pipeline::verify_peer(&end.node, &peer, look, &Silent, &end.shutdown).await;
        let parity = parity.unwrap();
        assert!(!parity.differs() && !parity.in_sync, "{parity:?}");
        let LayerReport::Compared(originals) = &parity.layers.originals else {
            panic!("{parity:?}");
        };
        let counts = (originals.here, originals.extra, originals.left_out);
        assert_eq!(counts, (2, 0, 1), "{parity:?}");
    }
    assert_eq!(
        end.read(FileKind::Original, "Out/two.bin").unwrap(),
        b"second"
    );
    let served = again;
    served.end().await;
    master.end().await;
}

#[test]
fn a_part_is_chosen_shown_planned_pruned_and_taken_back_by_command() {
    let place = Place::new();
    let files: [(&str, &[u8]); 4] = [
        ("Photos/a.jpg", b"not really a photo"),
        ("Photos/b.tif", b"nor this"),
        ("Films/c.mov", b"a film"),
        ("Films/d.mov", b"another film"),
    ];
    let serving = pair::pair(&place, &files);
    let run = |args: &[&str]| place.run(&[&["-C", "r"], args].concat());

    let dry = run(&["peer", "filter", "master", "--include", "/Photos/**", "-n"]).ok();
    assert!(dry.contains("2 assets") && dry.contains("2 files"), "{dry}");
    assert!(
        run(&["peer", "filter", "master"])
            .ok()
            .contains("everything is wanted")
    );
    let set = run(&[
        "peer",
        "filter",
        "master",
        "--include",
        "/Photos/**",
        "--exclude",
        "*.tif",
    ])
    .ok();
    assert!(
        set.contains("--include /Photos/** --exclude *.tif") && set.contains("peer prune master"),
        "{set}"
    );

    // A sync takes nothing away, and what is outside of the filter is no difference.
    pair::put(&place.path("photos"), "Films/e.mov", b"a third");
    pair::put(&place.path("photos"), "Photos/f.jpg", b"one more");
    pair::import(&place, &[]).ends(0);
    let plan = run(&["plan", "master"]).ok();
    assert!(
        plan.contains("left out by the filter") && plan.contains("4 assets"),
        "{plan}"
    );
    let done = pair::sync(&place).ends(0).json();
    assert_eq!(done["files_written"], 1, "{done}");
    assert!(pair::mirrored(&place, "Films/c.mov").exists());
    assert!(!pair::mirrored(&place, "Films/e.mov").exists());
    let parity = run(&["verify", "master", "--json"]).ends(0).json();
    assert_eq!(
        (
            &parity["in_sync"],
            &parity["layers"]["originals"]["left_out"]
        ),
        (&json!(false), &json!(4)),
        "{parity}"
    );
    let told = run(&["verify", "master"]).ends(0).stdout;
    assert!(
        told.contains("not compared: 4, left out by a filter here or there")
            && told.contains("which is not everything"),
        "{told}"
    );
    assert!(run(&["status"]).ok().contains("equal in what was compared"));
    let why = run(&["why", "Films/e.mov"]).stdout;
    assert!(
        why.contains("the filter of peer master leaves it out"),
        "{why}"
    );

    // Nobody is there to be asked.
    let asked = run(&["peer", "prune", "master"]).ends(2);
    assert!(
        asked.stderr.contains("3 files") && asked.stderr.contains("--yes"),
        "{}",
        asked.stderr
    );
    assert!(pair::mirrored(&place, "Films/c.mov").exists());
    let pruned = run(&["peer", "prune", "master", "--yes"]).ok();
    assert!(pruned.contains("3 files went to the trash"), "{pruned}");
    assert!(
        !pair::mirrored(&place, "Films/c.mov").exists()
            && pair::mirrored(&place, "Photos/a.jpg").exists()
    );
    assert!(run(&["trash", "list"]).ok().contains("Films/c.mov"));
    assert_eq!(pair::sync(&place).ends(0).json()["files_written"], 0);

    // For one run only, and then for good.
    let once = run(&[
        "sync",
        "master",
        "--include",
        "/Films/c.*",
        "--exclude",
        "none",
        "--json",
    ])
    .ends(0)
    .json();
    assert_eq!(once["files_written"], 1, "{once}");
    run(&["peer", "filter", "master", "--clear"]).ends(0);
    let all = pair::sync(&place).ends(0).json();
    assert_eq!(all["files_written"], 3, "{all}");
    pair::assert_equal(&pair::verify(&place, &[]).ends(0).json());
    // Also what was pruned by a filter that no sync ever knew of.
    run(&["peer", "filter", "master", "--include", "/Photos/**"]).ends(0);
    run(&["peer", "prune", "master", "--yes"]).ok();
    run(&["peer", "filter", "master", "--clear"]).ends(0);
    let again = pair::sync(&place).ends(0).json();
    assert_ne!(again["files_written"], 0, "{again}");
    pair::assert_equal(&pair::verify(&place, &[]).ends(0).json());
    let settings = std::fs::read_to_string(place.path("r/emsync.toml")).unwrap();
    assert!(
        !settings.contains("\ninclude") && !settings.contains("\nexclude"),
        "{settings}"
    );
    serving.stop();
}

#[test]
fn a_filter_that_cannot_be_meant_is_refused_with_the_reason() {
    let place = Place::new();
    place.run(&["init", "r", "--name", "R"]).ends(0);
    std::fs::write(place.path("r/key.txt"), "k").unwrap();
    let add = |more: &[&str]| {
        let args = [
            "-C",
            "r",
            "peer",
            "add",
            "m",
            "--url",
            "http://127.0.0.1:9/a",
            "--key-file",
            "key.txt",
        ];
        place.run(&[&args, more].concat())
    };
    for (more, word) in [
        (["--include", "a["], "not closed"),
        (["--min-size", "big"], "big"),
        (["--max-age", "yesterday"], "age"),
        (["--category", " "], "empty"),
    ] {
        let said = add(&more).ends(2);
        assert!(said.stderr.contains(word), "{}", said.stderr);
    }
    add(&["--include", "*.jpg", "--max-size", "2G", "--all-renditions"]).ends(0);
    let shown = place.run(&["-C", "r", "peer", "show", "m"]).ok();
    assert!(
        shown.contains("--include *.jpg --max-size 2147483648 --all-renditions"),
        "{shown}"
    );
}
