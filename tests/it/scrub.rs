//! T10: what a disk does to files is found and healed, and the scrubber itself may die anywhere on the way.
//!
//! A mirror of a master gets one bit flipped in each of F files, T truncated, S pairs swapped, some removed. The scrubber is killed
//! K times, each time where it has made progress: the n-th time it has read or noted something, judged, put away, or wished. At the
//! end every file is what the master has, every bad copy is in the trash with its reason, and the counts over all runs are exact.
//!
//! Always on is a small one; `EMSYNC_SCRUB=1000` takes 1,000 / 100 / 100 pairs and 20 kills.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};

use emsync::model::Sha256;
use serde_json::Value;

use crate::support::chance::Chance;
use crate::support::pair::{self, assert_equal, mirrored, put};
use crate::support::process::{Place, Ran, Serving};
use crate::support::said::say;

/// How much is damaged, and how often the scrubber is killed.
#[derive(Debug, Clone, Copy)]
struct Extent {
    flipped: usize,
    truncated: usize,
    pairs: usize,
    removed: usize,
    sound: usize,
    kills: usize,
}

const SMALL: Extent = Extent {
    flipped: 60,
    truncated: 10,
    pairs: 10,
    removed: 5,
    sound: 40,
    kills: 5,
};

fn extent() -> Extent {
    let asked = std::env::var("EMSYNC_SCRUB").ok();
    match asked.and_then(|text| text.parse::<usize>().ok()) {
        Some(flipped) => Extent {
            flipped,
            truncated: flipped / 10,
            pairs: flipped / 10,
            removed: flipped / 20,
            sound: flipped / 2,
            kills: 20,
        },
        None => SMALL,
    }
}

/// Where a run is killed on its way through the files, and where when all of them are read.
const ON_THE_WAY: [&str; 4] = ["scrub.noted", "scrub.trashed", "scrub.read", "scrub.judged"];
const AT_THE_END: [&str; 3] = ["scrub.wished", "publisher.bytes-published", "scrub.ending"];

/// No run gets so far.
const NEVER: &str = "scrub.ending@1000000:abort";

fn run(place: &Place, args: &[&str]) -> Ran {
    let mut all = vec!["-C", "r"];
    all.extend(args);
    place.run(&all)
}

fn scrub(place: &Place, more: &[&str]) -> Ran {
    let mut args = vec!["scrub", "--json"];
    args.extend(more);
    run(place, &args)
}

/// Content of the n-th file; two neighbours are of one size, and no two files that are swapped otherwise.
fn content(number: usize) -> Vec<u8> {
    let size = 200 + number / 2 % 40 * 977;
    Chance::new(number as u64 + 1).noise(size)
}

fn name(number: usize) -> String {
    format!("{:02}/f{number:05}.bin", number % 17)
}

/// A master of so many files, and a mirror that has them.
fn nodes(place: &Place, files: usize) -> Serving {
    place.run(&["init", "m", "--name", "Master"]).ends(0);
    for number in 0..files {
        put(&place.path("photos"), &name(number), &content(number));
    }
    pair::import(place, &[]).ends(0);
    let serving = place.serve("m");
    pair::mirror(place, &serving.base, &pair::key(place));
    pair::seed(place).ends(0);
    serving
}

/// Changes a file's bytes and leaves its date as it is.
fn rot(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(modified))
        .unwrap();
}

/// Damage that was done: what each bad copy is, by path; and the paths that were removed.
#[derive(Debug, Default)]
struct Done {
    copies: BTreeMap<String, (Sha256, &'static str)>,
    removed: BTreeSet<String>,
}

fn damage(place: &Place, extent: Extent) -> Done {
    let (mut done, mut next) = (Done::default(), 0);
    let mut take = |number: usize| {
        next += number;
        next - number..next
    };
    let mut chance = Chance::new(7);
    let at = |number: usize| mirrored(place, &name(number));
    let flipped = take(extent.flipped);
    for number in flipped.clone() {
        rot(&at(number), |bytes| {
            let bit = chance.below(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        });
    }
    let truncated = take(extent.truncated);
    for number in truncated.clone() {
        rot(&at(number), |bytes| {
            bytes.truncate(chance.below(bytes.len()))
        });
    }
    let swapped = take(2 * extent.pairs);
    let numbers: Vec<usize> = swapped.clone().collect();
    // Half of the pairs are of one size, the others are not.
    let (alike, unlike) = numbers.split_at((extent.pairs / 4 * 4).min(numbers.len()));
    for pair in alike.chunks(2) {
        swap(&at(pair[0]), &at(pair[1]));
    }
    let mut rest = unlike;
    while let [a, b, c, d, more @ ..] = rest {
        swap(&at(*a), &at(*c));
        swap(&at(*b), &at(*d));
        rest = more;
    }
    if let [a, b] = rest {
        swap(&at(*a), &at(*b));
    }
    for (numbers, reason) in [
        (flipped, "rotten"),
        (truncated, "truncated"),
        (swapped, "foreign"),
    ] {
        for number in numbers {
            let bytes = fs::read(at(number)).unwrap();
            done.copies
                .insert(name(number), (Sha256::of(&bytes), reason));
        }
    }
    for number in take(extent.removed) {
        fs::remove_file(at(number)).unwrap();
        done.removed.insert(name(number));
    }
    done
}

fn swap(one: &Path, other: &Path) {
    let aside = one.with_extension("aside");
    fs::rename(one, &aside).unwrap();
    fs::rename(other, one).unwrap();
    fs::rename(aside, other).unwrap();
}

/// What lies in the mirror's trash: path to digest, as the disk has it, and reason, as the list says.
fn trashed(place: &Place) -> BTreeMap<String, (Sha256, String)> {
    let slots = place.path("r/media/.emsync/trash/originals");
    let mut copies = BTreeMap::new();
    for slot in fs::read_dir(slots).unwrap().map(Result::unwrap) {
        let entries = walkdir::WalkDir::new(slot.path())
            .into_iter()
            .map(Result::unwrap);
        for entry in entries.filter(|entry| entry.file_type().is_file()) {
            let path = entry.path().strip_prefix(slot.path()).unwrap();
            let digest = Sha256::of(&fs::read(entry.path()).unwrap());
            let twice = copies.insert(path.to_str().unwrap().to_owned(), digest);
            assert_eq!(twice, None, "{}", path.display());
        }
    }
    let listed = run(place, &["trash", "list", "--json"]).ok();
    let found = listed.lines().map(|line| {
        let item: Value = serde_json::from_str(line).unwrap();
        let path = item["path"].as_str().unwrap().to_owned();
        let reason = item["reason"].as_str().unwrap_or("none").to_owned();
        let digest = copies.remove(&path).unwrap();
        (path, (digest, reason))
    });
    let found = found.collect();
    assert!(copies.is_empty(), "not listed: {copies:?}");
    found
}

#[test]
fn everything_that_a_disk_does_is_found_and_healed_however_often_the_scrubber_dies() {
    let extent = extent();
    let mut place = Place::new();
    let damaged = extent.flipped + extent.truncated + 2 * extent.pairs + extent.removed;
    let files = damaged + extent.sound;
    let _master = nodes(&place, files);
    let bytes: u64 = (0..files).map(|number| content(number).len() as u64).sum();
    let done = damage(&place, extent);
    let begun = std::time::Instant::now();

    // Each run gets some way further than the one before.
    let on_the_way = extent.kills - AT_THE_END.len();
    let far = if extent.kills > 5 { 150 } else { 60 } / on_the_way;
    let points = ON_THE_WAY.iter().cycle().take(on_the_way);
    let points = points.map(|point| format!("{point}@{far}:abort"));
    let last = AT_THE_END.iter().map(|point| format!("{point}:abort"));
    for point in points.chain(last) {
        place.set("EMSYNC_CRASH", &point);
        let ran = scrub(&place, &["--all"]);
        assert_eq!(ran.code, None, "{point}: {ran:?}");
    }
    place.set("EMSYNC_CRASH", NEVER);
    let report = scrub(&place, &["--all"]).ends(0).json();
    let took = begun.elapsed();

    let round = &report["round"];
    let count = |name: &str| round[name].as_u64().unwrap() as usize;
    assert_eq!(count("rotten"), extent.flipped, "{report}");
    assert_eq!(count("truncated"), extent.truncated, "{report}");
    assert_eq!(count("replaced"), 2 * extent.pairs, "{report}");
    assert_eq!(count("missing"), extent.removed, "{report}");
    assert_eq!((count("unreadable"), count("changed")), (0, 0), "{report}");
    assert_eq!(count("healed"), damaged, "{report}");
    assert!(round["ended_at"].is_string(), "{report}");
    // What a kill undid is read again, and counted once.
    assert_eq!(count("files"), files - extent.removed, "{report}");
    let gone: u64 = (damaged - extent.removed..damaged)
        .map(|number| content(number).len() as u64)
        .sum();
    let cut: u64 = (extent.flipped..extent.flipped + extent.truncated)
        .map(|number| content(number).len() as u64)
        .sum();
    let read = round["bytes"].as_u64().unwrap();
    assert!(
        (bytes - gone - cut..bytes - gone).contains(&read),
        "{report}"
    );
    for (left, what) in [("damaged", 0), ("suspected", 0), ("left_files", 0)] {
        assert_eq!(report[left], what, "{report}");
    }

    for number in 0..files {
        let now = fs::read(mirrored(&place, &name(number))).unwrap();
        assert!(now == content(number), "{}", name(number));
    }
    assert_equal(&pair::verify(&place, &["--checksum"]).ends(0).json());
    let found = trashed(&place);
    let wanted = done
        .copies
        .iter()
        .map(|(path, (sha256, reason))| (path.clone(), (*sha256, (*reason).to_owned())));
    assert_eq!(found, wanted.collect());
    assert_eq!(run(&place, &["quarantine", "list"]).ok(), "0 set aside\n");
    // Everything is read again, and there is nothing to find.
    let again = scrub(&place, &["--all"]).ends(0).json();
    assert_eq!(again["files"], files, "{again}");
    assert_eq!(again["bytes"], bytes, "{again}");
    let none = ["rotten", "truncated", "replaced", "missing", "healed"];
    assert!(none.iter().all(|name| again["round"][name] == 0), "{again}");
    say(&format!(
        "scrub: {extent:?}: {files} files, {bytes} bytes; {} kills and a last run took {:.1} s; {} found, {} healed, {} copies in the trash",
        extent.kills,
        took.as_secs_f64(),
        damaged,
        count("healed"),
        found.len(),
    ));
}

#[test]
fn what_nobody_has_is_set_aside_and_leaves_the_list_when_it_is_here_again() {
    let place = Place::new();
    let _master = pair::pair(&place, &[("a.bin", b"aaaa"), ("b.bin", b"bbbb")]);
    rot(&mirrored(&place, "a.bin"), |bytes| bytes[0] = b'x');
    rot(&mirrored(&place, "b.bin"), |bytes| bytes[0] = b'x');
    // The master's copy of one of them is rotten as well, so that it has none to give.
    let master = place.path("m/media/assets/catalog/originals/a.bin");
    rot(&master, |bytes| bytes[1] = b'y');

    let due = scrub(&place, &["--all", "-n"]).ends(0).json();
    assert_eq!((&due["left_files"], &due["files"]), (&2.into(), &0.into()));
    assert_eq!(fs::read(mirrored(&place, "a.bin")).unwrap(), b"xaaa");
    let unhealed = scrub(&place, &["--all", "--no-heal"]).ends(23).json();
    assert_eq!(unhealed["damaged"], 2, "{unhealed}");
    assert!(!mirrored(&place, "b.bin").exists());
    assert_eq!(run(&place, &["quarantine", "list"]).ok(), "0 set aside\n");

    let report = scrub(&place, &[]).ends(23).json();
    assert_eq!(report["damaged"], 1, "{report}");
    assert_eq!(fs::read(mirrored(&place, "b.bin")).unwrap(), b"bbbb");
    let aside = run(&place, &["quarantine", "list"]).ok();
    assert!(
        aside.contains("this node  originals/a.bin") && aside.contains("master: "),
        "{aside}"
    );
    let why = run(&place, &["why", "a.bin"]).ends(23).stdout;
    assert!(
        why.contains("rotten") && why.contains("SET ASIDE") && why.contains("emsync scrub"),
        "{why}"
    );
    let status = run(&place, &["status"]).ok();
    assert!(
        status.contains("2 found damaged in the last round, 1 healed"),
        "{status}"
    );

    // The master mends its own from the folder; then the mirror finds it there.
    let scrubbed = place.run(&["-C", "m", "scrub", "--all", "--json"]);
    assert_eq!(scrubbed.ends(23).json()["damaged"], 1);
    pair::import(&place, &[]).ends(0);
    let aside = place.run(&["-C", "m", "quarantine", "list"]).ok();
    assert_eq!(aside, "0 set aside\n", "the import brought it back");
    let report = scrub(&place, &[]).ends(0).json();
    assert_eq!(
        (&report["damaged"], &report["files"]),
        (&0.into(), &0.into())
    );
    assert_eq!(fs::read(mirrored(&place, "a.bin")).unwrap(), b"aaaa");
    assert_eq!(run(&place, &["quarantine", "list"]).ok(), "0 set aside\n");
    assert_equal(&pair::verify(&place, &["--checksum"]).ends(0).json());
}

#[test]
fn a_file_that_a_sync_replaces_meanwhile_is_no_finding() {
    let mut place = Place::new();
    let _master = pair::pair(&place, &[("a.bin", b"aaaa"), ("b.bin", b"bbbb")]);
    rot(&mirrored(&place, "a.bin"), |bytes| bytes[0] = b'x');
    // It is suspected when the scrubber dies; then its row changes, and its bytes with it.
    place.set("EMSYNC_CRASH", "scrub.noted:abort");
    let ran = scrub(&place, &["--all"]);
    assert_eq!(ran.code, None, "{ran:?}");
    place.set("EMSYNC_CRASH", NEVER);
    put(&place.path("photos"), "a.bin", b"another");
    put(&place.path("photos"), "b.bin", b"another too");
    pair::import(&place, &[]).ends(0);
    pair::sync(&place).ends(0);
    let report = scrub(&place, &["--all"]).ends(0).json();
    let round = &report["round"];
    assert_eq!(
        (&round["rotten"], &round["changed"]),
        (&0.into(), &1.into()),
        "{report}"
    );
    assert_eq!(fs::read(mirrored(&place, "a.bin")).unwrap(), b"another");
    assert_equal(&pair::verify(&place, &["--checksum"]).ends(0).json());
}

fn picture(shade: u8) -> Vec<u8> {
    let image = image::RgbImage::from_fn(400, 300, |x, y| {
        image::Rgb([(x / 2) as u8, (y / 2) as u8, shade])
    });
    let mut png = std::io::Cursor::new(Vec::new());
    image.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

/// Every file below a node's tree of a kind, with its bytes.
fn tree(place: &Place, node: &str, kind: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let root = place.path(&format!("{node}/media/assets/catalog/{kind}"));
    let entries = walkdir::WalkDir::new(&root).into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| {
            let path = entry.into_path();
            let bytes = fs::read(&path).unwrap();
            (path, bytes)
        })
        .collect()
}

#[test]
fn renditions_are_copied_from_their_author_or_made_again_and_a_master_is_healed_by_its_mirror() {
    let place = Place::new();
    let (one, two) = (picture(1), picture(200));
    let _master = pair::pair(&place, &[("one.png", &one), ("two.png", &two)]);
    for node in ["r", "m"] {
        if node == "m" {
            // The mirror becomes a peer of its master.
            let key = place.run(&["-C", "r", "key", "add", "master"]).ok();
            fs::write(place.path("m/key.txt"), key).unwrap();
        }
        let serving = (node == "m").then(|| place.serve("r"));
        if let Some(serving) = &serving {
            let add = ["-C", "m", "peer", "add", "mirror", "--url", &serving.base];
            let add: Vec<&str> = add.into_iter().chain(["--key-file", "key.txt"]).collect();
            place.run(&add).ends(0);
        }
        let (originals, generated) = (
            tree(&place, node, "originals"),
            tree(&place, node, "generated"),
        );
        assert!(originals.len() == 2 && generated.len() > 4, "{node}");
        for path in originals.keys().chain(generated.keys()) {
            rot(path, |bytes| bytes[20] ^= 4);
        }
        let all = (originals.len() + generated.len()) as u64;
        let ran = place.run(&["-C", node, "scrub", "--all", "--json"]);
        let report = ran.ends(0).json();
        let round = &report["round"];
        assert_eq!(
            (&round["rotten"], &round["healed"], &report["damaged"]),
            (&all.into(), &all.into(), &0.into()),
            "{node}: {report}"
        );
        assert!(tree(&place, node, "originals") == originals, "{node}");
        assert!(tree(&place, node, "generated") == generated, "{node}");
        let looked = ["-C", node, "verify", "--checksum", "--report", "it.json"];
        place.run(&looked).ends(0);
        if let Some(serving) = serving {
            serving.stop();
        }
    }
    pair::sync(&place).ends(0);
    assert_equal(&pair::verify(&place, &["--checksum"]).ends(0).json());
}
