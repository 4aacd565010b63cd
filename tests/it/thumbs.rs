//! Renditions are made again exactly where something they depend on changed, by the real program.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Cursor};
use std::process::{Command, Stdio};

use emsync::model::FileKind;
use serde_json::Value;
use tiff::decoder::Decoder;
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::{Gray16, RGB8};
use tiff::tags::Tag;

use crate::support::program::{Files, Program, Serving};

const PHOTO: &[u8] = include_bytes!("../../assets-fixtures/originals/Portraits/orientation-6.jpg");
const BROKEN: &[u8] = include_bytes!("../../assets-fixtures/originals/Broken/truncated.jpg");
const PRESETS: usize = 5;

struct World {
    dir: tempfile::TempDir,
    master: Program,
}

fn world(photos: usize) -> World {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("photos");
    for n in 0..photos {
        let name = folder.join(format!("{}/p{n}.png", n % 3));
        fs::create_dir_all(name.parent().unwrap()).unwrap();
        let shade = u8::try_from(n % 200).unwrap();
        let picture = image::RgbImage::from_fn(40, 30, |x, y| {
            image::Rgb([shade, (x * 5) as u8, (y * 7) as u8])
        });
        picture.save(name).unwrap();
    }
    let master = Program::init(&dir.path().join("m"), "master-0001");
    let world = World { dir, master };
    world.import();
    world
}

impl World {
    fn import(&self) -> Value {
        let folder = self.dir.path().join("photos");
        let report = self
            .master
            .run(&["import", folder.to_str().unwrap(), "--json"]);
        report.well().json()
    }

    fn add(&self, name: &str, bytes: &[u8]) {
        fs::write(self.dir.path().join("photos").join(name), bytes).unwrap();
        self.import();
    }

    /// The ids of assets by their source paths.
    fn ids(&self) -> BTreeMap<String, String> {
        let listed = self
            .master
            .run(&["record", "list", "asset", "--json"])
            .well();
        let records = listed.stdout.lines().map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| record[name].as_str().unwrap().to_owned();
            (text("sourcepath"), text("id"))
        });
        records.collect()
    }

    #[track_caller]
    fn rebuild(&self, args: &[&str]) -> Value {
        let args = [&["thumbs", "rebuild", "--json"], args].concat();
        self.master.run(&args).well().json()
    }

    /// Which files are other ones than they were.
    fn changed(&self, before: &Files) -> Vec<String> {
        let now = self.master.files();
        let names = now
            .iter()
            .filter(|(name, file)| before.get(name) != Some(file))
            .map(|((_, path), _)| path.clone());
        names.collect()
    }

    fn configure(&self, from: &str, to: &str) {
        let file = self.master.dir().join("emsync.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(file, text.replacen(from, to, 1)).unwrap();
    }
}

#[track_caller]
fn assert_counts(report: &Value, expected: &[(&str, usize)]) {
    for (name, count) in expected {
        assert_eq!(report[name], *count, "{name}: {report}");
    }
}

#[test]
fn what_is_current_is_left_alone() {
    let world = world(4);
    let before = world.master.files();
    let report = world.rebuild(&[]);
    let all = 4 * PRESETS;
    assert_counts(
        &report,
        &[
            ("assets", 4),
            ("current", all),
            ("selected", 0),
            ("rebuilt", 0),
        ],
    );
    assert_eq!(world.changed(&before), Vec::<String>::new());
}

/// A TIFF of pages of these sizes, which call themselves pages.
fn tiff_of(sizes: &[(u32, u32)]) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut file).unwrap();
    for (number, (width, height)) in sizes.iter().enumerate() {
        // No two pages of one kind.
        let pixels = (width * height) as usize;
        if number % 2 == 0 {
            let mut page = encoder.new_image::<RGB8>(*width, *height).unwrap();
            let tags = page.encoder();
            tags.write_tag(Tag::NewSubfileType, 2_u32).unwrap();
            let shade = [40 * number as u8, 90, 200];
            page.write_data(&shade.repeat(pixels)).unwrap();
        } else {
            let mut page = encoder.new_image::<Gray16>(*width, *height).unwrap();
            let tags = page.encoder();
            tags.write_tag(Tag::NewSubfileType, 2_u32).unwrap();
            page.write_data(&vec![300 * number as u16; pixels]).unwrap();
        }
    }
    file.into_inner()
}

#[test]
fn every_page_has_its_own_files_as_long_as_there_is_such_a_page() {
    let dir = tempfile::tempdir().unwrap();
    let master = Program::init(&dir.path().join("m"), "master-0001");
    let world = World { dir, master };
    let master = &world.master;
    let sizes = [(60, 40), (30, 50), (20, 20)];
    fs::create_dir_all(world.dir.path().join("photos")).unwrap();
    world.add("scan.tif", &tiff_of(&sizes));
    let of_pages = || -> Vec<String> {
        let files = master.files().into_keys().filter_map(|(_, path)| {
            let name = path.strip_prefix("scan.tif/")?;
            name.contains("page").then(|| name.to_owned())
        });
        files.collect()
    };
    let named = |pages: &[u32]| {
        let cut = pages
            .iter()
            .map(|page| format!("image110x62page{page}cropped.webp"));
        let large = pages
            .iter()
            .map(|page| format!("image3000x3000page{page}.webp"));
        cut.chain(large).collect::<Vec<_>>()
    };
    let size = |name: &str| {
        let path = master
            .dir()
            .join("media/assets/catalog/generated/scan.tif")
            .join(name);
        image::open(path).unwrap().into_rgb8().dimensions()
    };
    let record = || {
        let listed = master.run(&["record", "list", "asset", "--json"]).well();
        serde_json::from_str::<Value>(listed.stdout.trim()).unwrap()
    };
    assert_eq!(record()["pages"], 3);
    assert_eq!(of_pages(), named(&[2, 3]));
    assert_eq!(size("image3000x3000page2.webp"), sizes[1]);
    assert_eq!(size("image3000x3000page3.webp"), sizes[2]);
    assert_eq!(size("image110x62page2cropped.webp"), (110, 62));
    let current = [("current", PRESETS + 4), ("selected", 0), ("surplus", 0)];
    assert_counts(&world.rebuild(&[]), &current);
    let id = record()["id"].as_str().unwrap().to_owned();
    let says = |pages: u32| {
        let pages = format!("pages={pages}");
        master
            .run(&["record", "put", "asset", &id, "--set", &pages])
            .well();
    };
    // Fewer pages: what is left over goes. More than there are: those are said to be missing, once.
    says(2);
    assert_counts(&world.rebuild(&["-n"]), &[("surplus", 2), ("selected", 0)]);
    assert_counts(&world.rebuild(&[]), &[("surplus", 2), ("rebuilt", 0)]);
    assert_eq!(of_pages(), named(&[2]));
    says(9_000);
    let missing = 2 * (9_000 - 2);
    assert_counts(
        &world.rebuild(&["-n"]),
        &[("missing", missing), ("selected", missing)],
    );
    assert_counts(&world.rebuild(&[]), &[("missing", missing), ("rebuilt", 2)]);
    assert_eq!(of_pages(), named(&[2, 3]));
    let beyond = 2 * (9_000 - 3);
    let hopeless = [("missing", 0), ("failed_pages", beyond), ("selected", 0)];
    assert_counts(&world.rebuild(&[]), &hopeless);
    let why = master.run(&["why", &id]).well().stdout;
    assert!(why.contains("pages 4 to 9000"), "{why}");
    // Another original has other pages, and nothing of the former ones stays. A broken one costs none of the others.
    let mut broken = tiff_of(&[(20, 20), (30, 30), (40, 40), (50, 50)]);
    let strips = Decoder::new(Cursor::new(&broken)).and_then(|mut it| {
        it.seek_to_image(1)?;
        it.get_tag_u64(Tag::StripOffsets)
    });
    let length = broken.len() as u32;
    let entry = [
        &273_u16.to_le_bytes()[..],
        &4_u16.to_le_bytes(),
        &1_u32.to_le_bytes(),
    ]
    .concat();
    let place = [&entry[..], &(strips.unwrap() as u32).to_le_bytes()].concat();
    let at = broken
        .windows(place.len())
        .position(|it| it == place)
        .unwrap();
    broken[at + 8..at + 12].copy_from_slice(&(length + 9).to_le_bytes());
    world.add("scan.tif", &broken);
    assert_eq!(record()["pages"], 4);
    assert_eq!(of_pages(), named(&[3, 4]));
    assert_eq!(size("image3000x3000page4.webp"), (50, 50));
    let kept = [("failed_pages", 2), ("missing", 0), ("selected", 0)];
    assert_counts(&world.rebuild(&[]), &kept);
    assert_counts(&world.rebuild(&["--failed", "-n"]), &[("selected", 2)]);
}

#[test]
fn one_crop_makes_one_rendition_and_a_second_run_none() {
    let world = world(30);
    let ids = world.ids();
    let id = &ids["1/p1.png"];
    let before = world.master.files();
    let set = ["crop", "set", id, "webpthumbimage", "20x20+5+3"];
    world
        .master
        .run(&[&set[..], &["--no-rebuild"]].concat())
        .well();
    assert_eq!(world.changed(&before), Vec::<String>::new());
    let dry = world.rebuild(&["-n"]);
    assert_counts(&dry, &[("stale", 1), ("selected", 1), ("rebuilt", 0)]);
    assert_eq!(
        world.changed(&before),
        Vec::<String>::new(),
        "a dry run wrote"
    );
    let report = world.rebuild(&["--stale"]);
    assert_counts(&report, &[("assets", 30), ("stale", 1), ("rebuilt", 1)]);
    assert_eq!(world.changed(&before), ["1/p1.png/image200x200.webp"]);
    assert_counts(&world.rebuild(&[]), &[("stale", 0), ("rebuilt", 0)]);
    let name = "1/p1.png/image200x200.webp";
    let path = world
        .master
        .dir()
        .join("media/assets/catalog/generated")
        .join(name);
    let thumb = image::load_from_memory(&fs::read(path).unwrap()).unwrap();
    assert_eq!(
        (thumb.width(), thumb.height()),
        (200, 200),
        "scaled to its box"
    );

    let listed = world.master.run(&["crop", "list", "--json"]).well();
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(
        (&listed["asset"], &listed["state"]),
        (&Value::from(id.as_str()), &Value::from("shown"))
    );

    // Taken back, the rendition is what it was, and so is its listing but for its date.
    world
        .master
        .run(&["crop", "clear", id, "webpthumbimage"])
        .well();
    assert_eq!(world.changed(&before), Vec::<String>::new());
    assert_eq!(world.master.run(&["crop", "list"]).well().stdout, "");
}

#[test]
fn a_crop_of_the_large_picture_makes_all_that_derive_from_it() {
    let world = world(3);
    let ids = world.ids();
    let before = world.master.files();
    let set = [
        "crop",
        "set",
        &ids["0/p0.png"],
        "webplargeimage",
        "30x30+0+0",
    ];
    world.master.run(&set).well();
    let changed = world.changed(&before);
    assert_eq!(changed.len(), PRESETS, "{changed:?}");
    assert!(
        changed.iter().all(|path| path.starts_with("0/p0.png/")),
        "{changed:?}"
    );
}

#[test]
fn another_quality_of_a_preset_makes_its_renditions_alone() {
    let world = world(5);
    let before = world.master.files();
    world.configure(
        "#mode = \"auto\"\n",
        "#mode = \"auto\"\n\n[[preset]]\nid = \"webpthumbimage\"\nquality = 20\n\n",
    );
    let report = world.rebuild(&["--stale"]);
    assert_counts(&report, &[("stale", 5), ("rebuilt", 5), ("current", 20)]);
    let changed = world.changed(&before);
    assert_eq!(changed.len(), 5, "{changed:?}");
    assert!(
        changed
            .iter()
            .all(|path| path.ends_with("/image200x200.webp")),
        "{changed:?}"
    );
    assert_counts(&world.rebuild(&[]), &[("stale", 0), ("rebuilt", 0)]);
}

#[test]
fn what_is_missing_is_made_and_selections_narrow_it_down() {
    let world = world(6);
    let ids = world.ids();
    let generated = world.master.dir().join("media/assets/catalog/generated");
    fs::remove_file(generated.join("0/p0.png/image200x200.webp")).unwrap();
    fs::remove_file(generated.join("1/p1.png/image550x550.webp")).unwrap();
    // What is gone from disk is known to be once somebody has looked.
    let looked = world.master.run(&["doctor", "--help"]);
    assert_eq!(looked.code, Some(0));
    let all = world.rebuild(&["--all", "-n"]);
    assert_counts(&all, &[("selected", 6 * PRESETS), ("rebuilt", 0)]);
    let one = world.rebuild(&["--all", "-n", "--asset", &ids["0/p0.png"]]);
    assert_counts(&one, &[("assets", 1), ("selected", PRESETS)]);
    let folder = world.rebuild(&["--all", "-n", "--category", "1"]);
    assert_counts(&folder, &[("assets", 2), ("selected", 2 * PRESETS)]);
    let preset = world.rebuild(&["--all", "-n", "--preset", "largeimage", "--category", "2"]);
    assert_counts(&preset, &[("assets", 2), ("selected", 2)]);
    for (args, says) in [
        (["--category", "nowhere"], "no category \"nowhere\""),
        (["--preset", "nothing"], "there is no such preset"),
        (["--asset", "nobody"], "there is no asset nobody"),
    ] {
        let refused = world
            .master
            .run(&[&["thumbs", "rebuild"], &args[..]].concat());
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    }
}

#[test]
fn an_original_that_allowed_no_rendition_is_tried_again_when_that_is_asked_for() {
    let world = world(1);
    world.add("broken.jpg", BROKEN);
    assert_counts(
        &world.rebuild(&[]),
        &[("assets", 2), ("failed", 1), ("selected", 0)],
    );
    let report = world.rebuild(&["--failed"]);
    assert_counts(
        &report,
        &[
            ("failed", 1),
            ("selected", PRESETS),
            ("rebuilt", 0),
            ("unrenderable", 1),
        ],
    );
}

#[test]
fn a_rectangle_is_held_against_the_picture_as_it_is_shown() {
    let world = world(1);
    world.add("portrait.jpg", PHOTO);
    let ids = world.ids();
    let id = &ids["portrait.jpg"];
    // Stored 800x600, shown 600x800.
    let set = |rectangle: &str| {
        world
            .master
            .run(&["crop", "set", id, "webpthumbimage", rectangle])
    };
    set("500x500+50+290").well();
    for outside in ["700x700+0+0", "10x10+595+0", "10x10+0+795"] {
        let refused = set(outside);
        assert_eq!(refused.code, Some(2), "{outside}");
        assert!(
            refused.stderr.contains("which is 600x800"),
            "{}",
            refused.stderr
        );
    }
    let unknown = world
        .master
        .run(&["crop", "set", "nobody", "webpthumbimage", "1x1+0+0"]);
    assert_eq!(unknown.code, Some(1));
    let preset = world.master.run(&["crop", "set", id, "nothing", "1x1+0+0"]);
    assert_eq!(preset.code, Some(2));
    assert!(
        preset.stderr.contains("webplargeimage"),
        "{}",
        preset.stderr
    );
}

#[test]
fn a_crop_of_an_earlier_original_is_reported_and_not_applied() {
    let world = world(1);
    let ids = world.ids();
    let set = [
        "crop",
        "set",
        &ids["0/p0.png"],
        "webpthumbimage",
        "20x20+5+3",
    ];
    world.master.run(&set).well();
    let other = image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8, y as u8, 9]));
    other
        .save(world.dir.path().join("photos/0/p0.png"))
        .unwrap();
    world.import();
    let report = world.rebuild(&[]);
    assert_counts(&report, &[("stale", 0), ("selected", 0)]);
    let said = world.master.run(&["thumbs", "rebuild"]);
    assert!(
        said.stderr.contains("was drawn on an earlier original"),
        "{}",
        said.stderr
    );
    let listed = world.master.run(&["crop", "list"]).well();
    assert!(listed.stdout.contains("not applied"), "{}", listed.stdout);
    let path = world
        .master
        .dir()
        .join("media/assets/catalog/generated/0/p0.png/image200x200.webp");
    let thumb = image::load_from_memory(&fs::read(path).unwrap()).unwrap();
    assert_eq!(
        (thumb.width(), thumb.height()),
        (64, 64),
        "the whole new picture"
    );
}

/// What a mirror has of one rendition.
fn rendition(node: &Program, path: &str) -> Option<(u64, emsync::model::Sha256)> {
    node.files()
        .get(&(FileKind::Generated, path.to_owned()))
        .copied()
}

fn mirror(world: &World, serving: &Serving, name: &str, generated: &str) -> Program {
    let mirror = Program::init(&world.dir.path().join(name), &format!("mirror-{name}"));
    mirror.pull_from(&world.master, &serving.url);
    let settings = mirror.dir().join("emsync.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{text}generated = \"{generated}\"\n")).unwrap();
    mirror.run(&["seed", "master", "--json"]).well();
    mirror
}

#[test]
fn a_crop_on_the_master_reaches_a_mirror_that_copies_and_one_that_makes_its_own() {
    const THUMB: &str = "0/p0.png/image200x200.webp";
    let world = world(3);
    let ids = world.ids();
    let serving = world.master.serve("127.0.0.1:0");
    let copies = mirror(&world, &serving, "copies", "copy");
    let makes = mirror(&world, &serving, "makes", "rebuild");
    let before = rendition(&world.master, THUMB);
    for node in [&copies, &makes] {
        assert_eq!(rendition(node, THUMB), before);
        // Who copies a rendition does not crop it.
    }
    let set = [
        "crop",
        "set",
        &ids["0/p0.png"],
        "webpthumbimage",
        "20x20+5+3",
    ];
    let refused = copies.run(&set);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("are copied from master-0001"),
        "{}",
        refused.stderr
    );
    world.master.run(&set).well();
    let after = rendition(&world.master, THUMB);
    assert_ne!(after, before);
    for node in [&copies, &makes] {
        node.run(&["sync", "master", "--json"]).well();
        assert_eq!(rendition(node, THUMB), after, "{:?}", node.dir());
        node.run(&["verify", "master", "--json"]).well();
    }
    assert_eq!(
        makes.run(&["thumbs", "rebuild", "--json"]).well().json()["selected"],
        0
    );
}

#[test]
fn a_mirror_that_is_to_make_its_own_makes_again_what_it_had_copied() {
    let world = world(2);
    let serving = world.master.serve("127.0.0.1:0");
    let node = mirror(&world, &serving, "copies", "copy");
    let before = node.files();
    let again = || node.run(&["thumbs", "rebuild", "--json"]).well().json();
    let copied = 2 * PRESETS;
    assert_counts(&again(), &[("copied", copied), ("selected", 0)]);
    let settings = node.dir().join("emsync.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(
        &settings,
        text.replace("generated = \"copy\"", "generated = \"rebuild\""),
    )
    .unwrap();
    assert_counts(&again(), &[("stale", copied), ("rebuilt", copied)]);
    assert_eq!(
        node.files(),
        before,
        "the same program makes the same bytes"
    );
    assert_counts(&again(), &[("current", copied), ("selected", 0)]);
    node.run(&["sync", "master", "--json"]).well();
    node.run(&["verify", "master", "--json"]).well();
}

#[test]
fn a_rebuild_waits_for_who_else_writes() {
    let world = world(2);
    let state = world.master.dir().join("state");
    let lock = emsync::node::Lock::take(&state, "import").unwrap();
    let id = world.ids().remove("0/p0.png").unwrap();
    let set = [
        "crop",
        "set",
        &id,
        "webpthumbimage",
        "20x20+5+3",
        "--no-rebuild",
    ];
    world.master.run(&set).well();
    // Nothing to make: nobody has to wait.
    world.master.run(&["thumbs", "rebuild", "--missing"]).well();
    let mut waiting = Command::new(env!("CARGO_BIN_EXE_emsync"))
        .arg("-C")
        .arg(world.master.dir())
        .args(["thumbs", "rebuild", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(waiting.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("waiting for import")));
    drop(lock);
    let ended = waiting.wait_with_output().unwrap();
    assert!(ended.status.success());
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_counts(&report, &[("rebuilt", 1)]);
}

#[test]
fn a_copied_rendition_that_is_younger_than_its_crop_may_have_lost_it() {
    let world = world(2);
    let id = world.ids().remove("0/p0.png").unwrap();
    let name = "media/assets/catalog/generated/0/p0.png/image200x200.webp";
    let thumb = |node: &Program| node.dir().join(name);
    let plain = fs::read(thumb(&world.master)).unwrap();
    let set = ["crop", "set", &id, "webpthumbimage", "20x20+5+3"];
    world.master.run(&set).well();
    let serving = world.master.serve("127.0.0.1:0");
    let node = mirror(&world, &serving, "copies", "copy");
    let listed = || {
        let listed = node.run(&["crop", "list", "--json"]).well();
        serde_json::from_str::<Value>(&listed.stdout).unwrap()["state"].clone()
    };
    assert_eq!(listed(), "copied");
    let cropped = fs::read(thumb(&node)).unwrap();
    assert_ne!(cropped, plain);
    // As EMDB leaves it when it makes a rendition again: a younger file, and the row as it was.
    let leave = async |content: &[u8]| {
        let config = emsync::config::Config::load(&node.dir().join("emsync.toml")).unwrap();
        let opened = emsync::node::Node::open(config, emsync::seams::Seams::os())
            .await
            .unwrap();
        let mut rows = opened.catalogue.files_of(&[id.as_str()]).await.unwrap();
        rows.retain(|row| row.file.path.name() == "image200x200.webp");
        let mut file = rows.remove(0).file;
        file.modified = file.modified.plus(std::time::Duration::from_secs(60));
        (file.size, file.sha256) = (content.len() as u64, emsync::model::Sha256::of(content));
        let mut batch = opened.catalogue.batch().await.unwrap();
        batch
            .put_file(&file, opened.seams.clock.now())
            .await
            .unwrap();
        batch.commit().await.unwrap();
        opened.catalogue.close().await;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(leave(&cropped));
    assert_eq!(listed(), "may_be_lost");
    let said = node.run(&["crop", "list"]).well();
    assert!(said.stdout.contains("may be lost"), "{}", said.stdout);
    // Whether it is, the picture says.
    let again = || node.run(&["thumbs", "rebuild", "--json"]).well().json();
    assert_counts(&again(), &[("stale", 0), ("selected", 0)]);
    fs::write(thumb(&node), &plain).unwrap();
    runtime.block_on(leave(&plain));
    assert_counts(&again(), &[("stale", 1), ("rebuilt", 1)]);
    assert_eq!(listed(), "shown");
    assert_eq!(fs::read(thumb(&node)).unwrap(), cropped);
    // Its author knows better, who is a node of ours: what it lists is copied again.
    node.run(&["sync", "master", "--json"]).well();
    assert_eq!(fs::read(thumb(&node)).unwrap(), cropped);
    node.run(&["verify", "master", "--json"]).well();
}
