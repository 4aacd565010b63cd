//! Originals that programs of the machine read for us get renditions as others do, by the real binary.

mod documents;
mod films;
mod real;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use emsync::model::FileKind;
use serde_json::Value;

use crate::support::program::{Done, Files, Program, Serving};

const PRESETS: usize = 5;
/// Says its version, or makes the picture that lies beside it.
const FAKE: &str = "#!/bin/sh
here=$(dirname \"$0\")
case \"$*\" in
    -v | *-version*) cat \"$here/version\" ;;
    *) cp \"$here/picture.png\" out.png ;;
esac
";
const DRAWING: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"80\" height=\"60\">\
    <rect width=\"80\" height=\"60\" fill=\"#c81e1e\"/></svg>";

/// A program that a person named.
struct Fake(PathBuf);

impl Fake {
    fn new(dir: PathBuf) -> Self {
        fs::create_dir(&dir).unwrap();
        let fake = Self(dir);
        fake.install();
        fake.becomes("1.0", [10, 20, 30]);
        fake
    }

    fn program(&self) -> PathBuf {
        self.0.join("program")
    }

    fn install(&self) {
        // Written aside: a file that is open for writing cannot be run.
        let aside = self.0.join("aside");
        fs::write(&aside, FAKE).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(aside, self.program()).unwrap();
    }

    /// From now on it is this version, which paints so.
    fn becomes(&self, version: &str, colour: [u8; 3]) {
        fs::write(self.0.join("version"), format!("fake {version}\n")).unwrap();
        paint(&self.0.join("picture.png"), colour);
    }
}

fn paint(path: &Path, colour: [u8; 3]) {
    let picture = image::RgbImage::from_pixel(40, 30, image::Rgb(colour));
    picture.save(path).unwrap();
}

/// A master with a photo, a drawing and a picture of a phone, of which two want programs.
struct World {
    dir: tempfile::TempDir,
    master: Program,
    drawer: Fake,
    phone: Fake,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        paint(&folder.join("photo.png"), [1, 2, 3]);
        fs::write(folder.join("drawing.svg"), DRAWING).unwrap();
        fs::write(folder.join("phone.HEIC"), "whatever a phone writes").unwrap();
        let world = Self {
            master: Program::init(&dir.path().join("m"), "master-0001"),
            drawer: Fake::new(dir.path().join("drawer")),
            phone: Fake::new(dir.path().join("phone")),
            dir,
        };
        let (drawer, phone) = (world.drawer.program(), world.phone.program());
        let lines = format!("rsvg = {drawer:?}\nvips = {phone:?}\nheif = false\nffmpeg = false");
        name_programs(&world.master, &lines);
        world
    }

    fn import(&self) -> Done {
        let folder = self.dir.path().join("folder");
        let args = ["import", folder.to_str().unwrap(), "--json"];
        self.master.run(&args).well()
    }

    fn rebuild(&self, args: &[&str]) -> Done {
        let args = [&["thumbs", "rebuild", "--json"], args].concat();
        self.master.run(&args).well()
    }
}

fn name_programs(node: &Program, lines: &str) {
    let file = node.dir().join("emsync.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(file, format!("{text}\n[adapters]\n{lines}\n")).unwrap();
}

/// `previewstatus` by source path.
fn states(node: &Program) -> BTreeMap<String, String> {
    let listed = node.run(&["record", "list", "asset", "--json"]).well();
    let records = listed.stdout.lines().map(|line| {
        let record: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| record[name].as_str().unwrap().to_owned();
        (text("sourcepath"), text("previewstatus"))
    });
    records.collect()
}

/// How many renditions each original has.
fn renditions(node: &Program) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for (kind, path) in node.files().into_keys() {
        if kind == FileKind::Generated {
            let (original, _) = path.rsplit_once('/').unwrap();
            *found.entry(original.to_owned()).or_default() += 1;
        }
    }
    found
}

/// Originals of which a rendition is another file than before.
fn changed(node: &Program, before: &Files) -> BTreeSet<String> {
    let now = node.files().into_iter();
    let other = now.filter(|(name, file)| before.get(name) != Some(file));
    let originals = other.map(|((_, path), _)| path.rsplit_once('/').unwrap().0.to_owned());
    originals.collect()
}

#[track_caller]
fn assert_counts(done: &Done, expected: &[(&str, usize)]) {
    let report = done.json();
    for (name, count) in expected {
        assert_eq!(report[name], *count, "{name}: {report}");
    }
}

#[test]
fn another_version_of_a_program_makes_again_exactly_what_it_made() {
    let world = World::new();
    assert_counts(&world.import(), &[("renditions", 3 * PRESETS)]);
    let all = ["drawing.svg", "phone.HEIC", "photo.png"];
    let expected = all.map(|name| (name.to_owned(), PRESETS)).into();
    assert_eq!(renditions(&world.master), expected);
    let expected = all.map(|name| (name.to_owned(), "2".to_owned())).into();
    assert_eq!(states(&world.master), expected);
    let before = world.master.files();
    let again = world.rebuild(&["--stale"]);
    assert_counts(&again, &[("assets", 3), ("stale", 0), ("rebuilt", 0)]);

    world.drawer.becomes("2.0", [200, 100, 50]);
    let counts = [("stale", PRESETS), ("rebuilt", PRESETS)];
    assert_counts(&world.rebuild(&["--stale"]), &counts);
    assert_eq!(
        changed(&world.master, &before),
        BTreeSet::from(["drawing.svg".to_owned()])
    );
    assert_counts(&world.rebuild(&["--stale"]), &[("rebuilt", 0)]);
}

#[test]
fn without_its_program_a_format_is_left_as_it_is_and_said_so() {
    let world = World::new();
    world.import();
    let before = world.master.files();
    fs::remove_file(world.drawer.program()).unwrap();
    let left = world.rebuild(&[]);
    assert_counts(
        &left,
        &[("assets", 2), ("current", 2 * PRESETS), ("rebuilt", 0)],
    );
    let how = "svg needs rsvg, which is not here: install librsvg2-bin";
    assert_eq!(left.stderr.matches(how).count(), 1, "{}", left.stderr);
    assert_eq!(world.master.files(), before);

    let folder = world.dir.path().join("folder");
    fs::write(folder.join("late.svg"), DRAWING).unwrap();
    paint(&folder.join("late.png"), [9, 8, 7]);
    let imported = world.import();
    assert_counts(
        &imported,
        &[("added", 2), ("renditions", PRESETS), ("unrenderable", 0)],
    );
    assert!(imported.stderr.contains(how), "{}", imported.stderr);
    assert_eq!(states(&world.master)["late.svg"], "mime");

    world.drawer.install();
    let made = world.rebuild(&["--missing"]);
    assert_counts(&made, &[("missing", PRESETS), ("rebuilt", PRESETS)]);
    assert_eq!(states(&world.master)["late.svg"], "2");
    assert_eq!(renditions(&world.master)["late.svg"], PRESETS);
}

#[test]
fn a_program_that_fails_leaves_a_finding_and_the_others_alone() {
    let world = World::new();
    fs::remove_file(world.phone.0.join("picture.png")).unwrap();
    let counts = [("renditions", 2 * PRESETS), ("unrenderable", 1)];
    assert_counts(&world.import(), &counts);
    let expected = [
        ("drawing.svg", "2"),
        ("phone.HEIC", "3"),
        ("photo.png", "2"),
    ];
    let expected = expected.map(|(name, state)| (name.to_owned(), state.to_owned()));
    assert_eq!(states(&world.master), expected.into());
    // Known to be hopeless until somebody asks for it.
    world.phone.becomes("1.0", [5, 5, 5]);
    assert_counts(&world.rebuild(&[]), &[("failed", 1), ("rebuilt", 0)]);
    assert_counts(&world.rebuild(&["--failed"]), &[("rebuilt", PRESETS)]);
    assert_eq!(states(&world.master)["phone.HEIC"], "2");
}

#[test]
fn what_is_no_image_by_its_name_is_looked_at_by_its_content() {
    let world = World::new();
    let paper = Fake::new(world.dir.path().join("paper"));
    fs::remove_file(paper.0.join("picture.png")).unwrap();
    let file = world.master.dir().join("emsync.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}pdftoppm = {:?}\n", paper.program())).unwrap();
    let named = world.dir.path().join("folder/picture.pdf");
    paint(&named.with_extension("png"), [4, 5, 6]);
    fs::rename(named.with_extension("png"), &named).unwrap();
    // And the other way round: a drawing that is called a photo goes to the program for drawings.
    fs::write(world.dir.path().join("folder/drawn.jpg"), DRAWING).unwrap();
    let made = 4 * PRESETS + documents::PRESETS;
    let counts = [("renditions", made), ("unrenderable", 0)];
    assert_counts(&world.import(), &counts);
}

#[test]
fn a_photo_that_is_called_a_drawing_needs_no_program() {
    let world = World::new();
    let named = world.dir.path().join("folder/photo.svg");
    paint(&named.with_extension("png"), [4, 5, 6]);
    fs::rename(named.with_extension("png"), &named).unwrap();
    fs::remove_file(world.drawer.0.join("picture.png")).unwrap();
    fs::write(world.dir.path().join("folder/drawn.jpg"), DRAWING).unwrap();
    // The drawings beside it fail, for their program is broken, by whatever name.
    let counts = [("renditions", 2 * PRESETS), ("unrenderable", 2)];
    let done = world.import();
    assert_counts(&done, &counts);
    let said = "it is called jpg and is svg";
    assert!(done.stderr.contains(said), "{}", done.stderr);
    assert_eq!(renditions(&world.master)["photo.svg"], PRESETS);
}

#[test]
fn a_mirror_copies_without_programs_and_makes_what_its_own_can_read() {
    const NONE: &str = "rsvg = false\nvips = false\nheif = false\nffmpeg = false";
    let world = World::new();
    world.import();
    let serving = world.master.serve("127.0.0.1:0");
    let copies = mirror(&world, &serving, "copies", "auto");
    name_programs(&copies, NONE);
    copies.run(&["seed", "master", "--json"]).well();
    assert_eq!(copies.files(), world.master.files());

    let makes = mirror(&world, &serving, "makes", "rebuild");
    let own = Fake::new(world.dir.path().join("own"));
    own.becomes("9.0", [77, 66, 55]);
    let named = |tool: &str| format!("{tool} = {:?}", own.program());
    name_programs(&makes, &NONE.replace("rsvg = false", &named("rsvg")));
    // It copies none, so what it cannot read is said to be missing.
    assert_eq!(makes.run(&["seed", "master"]).code, Some(26));
    let names = ["drawing.svg", "photo.png"];
    let expected = names.map(|name| (name.to_owned(), PRESETS)).into();
    assert_eq!(renditions(&makes), expected);
    let drawing = BTreeSet::from(["drawing.svg".to_owned()]);
    assert_eq!(changed(&makes, &world.master.files()), drawing);
    // Nothing changed but that there is a program now.
    let settings = makes.dir().join("emsync.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(settings, text.replace("vips = false", &named("vips"))).unwrap();
    makes.run(&["seed", "master", "--json"]).well();
    assert_eq!(renditions(&makes), renditions(&world.master));
}

/// A mirror that was not filled yet.
fn mirror(world: &World, serving: &Serving, name: &str, generated: &str) -> Program {
    let node = Program::init(&world.dir.path().join(name), &format!("mirror-{name}"));
    node.pull_from(&world.master, &serving.url);
    let file = node.dir().join("emsync.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(file, format!("{text}generated = \"{generated}\"\n")).unwrap();
    node
}
