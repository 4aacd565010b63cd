//! Documents get pictures of their first page: by a scripted program, and by the real ones where they are.

use std::fs;
use std::path::Path;

use emsync::model::FileKind;

use super::{Fake, assert_counts, changed, mirror, name_programs, renditions, states};
use crate::support::program::Program;

/// Files that an import makes of a document.
pub(super) const PRESETS: usize = 4;
const NAMES: [&str; PRESETS] = [
    "image110x62cropped.webp",
    "image200x200.webp",
    "image3000x3000.webp",
    "image550x550.webp",
];
const RED: [u8; 3] = [200, 30, 30];
const BLUE: [u8; 3] = [30, 30, 200];

/// A sheet whose upper third is red.
fn draw(path: &Path, width: u32, height: u32) {
    let colour = |_, y| image::Rgb(if y < height / 3 { RED } else { BLUE });
    let picture = image::RgbImage::from_fn(width, height, colour);
    picture.save(path).unwrap();
}

/// A node that is told to use no program but these, and a folder to import.
pub(super) fn node(dir: &Path, name: &str, programs: &str) -> Program {
    let node = Program::init(&dir.join(name), &format!("{name}-0001"));
    name_programs(&node, programs);
    node
}

pub(super) fn import(node: &Program, folder: &Path) -> crate::support::program::Done {
    let folder = folder.to_str().unwrap();
    node.run(&["import", folder, "--json"]).well()
}

pub(super) fn names(node: &Program, original: &str) -> Vec<String> {
    let all = node.files().into_keys();
    let made = all.filter(|(kind, _)| *kind == FileKind::Generated);
    let below = made.filter_map(|(_, path)| {
        let rest = path.strip_prefix(original)?.strip_prefix('/')?;
        Some(rest.to_owned())
    });
    below.collect()
}

pub(super) fn opened(node: &Program, original: &str, name: &str) -> image::RgbImage {
    let generated = node.dir().join("media/assets/catalog/generated");
    let file = generated.join(original).join(name);
    image::open(&file).unwrap().into_rgb8()
}

pub(super) fn is_like(pixel: &image::Rgb<u8>, colour: [u8; 3]) -> bool {
    let mut both = pixel.0.into_iter().zip(colour);
    both.all(|(a, b)| a.abs_diff(b) < 25)
}

#[test]
fn the_first_page_is_shown_in_every_size_and_cut_from_its_top() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("report.PDF"), "%PDF-1.4 as a program reads it").unwrap();
    let reader = Fake::new(dir.path().join("reader"));
    draw(&reader.0.join("picture.png"), 1159, 1500);
    let program = reader.program();
    let lines = format!("pdftoppm = {program:?}\nghostscript = false");
    let master = node(dir.path(), "m", &lines);

    let dry = ["import", folder.to_str().unwrap(), "--dry-run", "--json"];
    assert_counts(&master.run(&dry).well(), &[("renditions", PRESETS)]);
    assert_counts(&import(&master, &folder), &[("renditions", PRESETS)]);
    assert_eq!(names(&master, "report.PDF"), NAMES);
    assert_eq!(states(&master)["report.PDF"], "2");
    let sizes = NAMES.map(|name| opened(&master, "report.PDF", name).dimensions());
    assert_eq!(sizes, [(110, 62), (155, 200), (1159, 1500), (425, 550)]);
    // 142 rows high before it is cut: from its middle a quarter would be red.
    let cut = opened(&master, "report.PDF", NAMES[0]);
    let rows = (0..62).map(|y| cut.get_pixel(55, y));
    let red = rows.filter(|pixel| is_like(pixel, RED)).count();
    assert!((45..=49).contains(&red), "{red} rows of a third");
    assert!(is_like(cut.get_pixel(55, 61), BLUE));

    // Another version, another program, the same program again.
    let before = master.files();
    let rebuild = |args: &[&str]| {
        let args = [&["thumbs", "rebuild", "--json"], args].concat();
        master.run(&args).well()
    };
    assert_counts(&rebuild(&["--stale"]), &[("assets", 1), ("rebuilt", 0)]);
    fs::write(reader.0.join("version"), "fake 2.0\n").unwrap();
    draw(&reader.0.join("picture.png"), 900, 1500);
    let one = ["--stale", "--preset", "webpcropdocument"];
    assert_counts(&rebuild(&one), &[("stale", PRESETS), ("rebuilt", 1)]);
    assert_counts(&rebuild(&["--stale"]), &[("rebuilt", PRESETS - 1)]);
    assert_eq!(changed(&master, &before).len(), 1);
    assert_counts(&rebuild(&[]), &[("current", PRESETS), ("rebuilt", 0)]);
}

#[test]
fn a_document_that_cannot_be_read_is_a_finding_and_one_without_a_program_says_what_to_install() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.pdf"), "no document").unwrap();
    let reader = Fake::new(dir.path().join("reader"));
    fs::remove_file(reader.0.join("picture.png")).unwrap();
    let lines = format!("pdftoppm = {:?}\nghostscript = false", reader.program());
    let failing = node(dir.path(), "failing", &lines);
    let counts = [("renditions", 0), ("unrenderable", 1)];
    assert_counts(&import(&failing, &folder), &counts);
    assert_eq!(states(&failing)["a.pdf"], "3");
    draw(&reader.0.join("picture.png"), 30, 40);
    let again = ["thumbs", "rebuild", "--failed", "--json"];
    assert_counts(&failing.run(&again).well(), &[("rebuilt", PRESETS)]);

    let without = node(
        dir.path(),
        "without",
        "pdftoppm = false\nghostscript = false",
    );
    let imported = import(&without, &folder);
    assert_counts(&imported, &[("renditions", 0), ("unrenderable", 0)]);
    let how = "pdf needs pdftoppm or ghostscript, which is not here: install poppler-utils";
    assert!(imported.stderr.contains(how), "{}", imported.stderr);
    assert_eq!(states(&without)["a.pdf"], "mime");
    // Installed since.
    let settings = without.dir().join("emsync.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let named = format!("pdftoppm = {:?}", reader.program());
    fs::write(&settings, text.replace("pdftoppm = false", &named)).unwrap();
    let made = without.run(&["thumbs", "rebuild", "--missing", "--json"]);
    assert_counts(&made.well(), &[("missing", PRESETS), ("rebuilt", PRESETS)]);
    assert_eq!(states(&without)["a.pdf"], "2");
}

#[test]
fn a_mirror_makes_its_own_pages_or_copies_them() {
    let dir = tempfile::tempdir().unwrap();
    let world = super::World::new();
    let folder = world.dir.path().join("folder");
    fs::write(folder.join("a.pdf"), "%PDF-1.4").unwrap();
    let reader = Fake::new(dir.path().join("reader"));
    let settings = world.master.dir().join("emsync.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let named = format!("pdftoppm = {:?}\n", reader.program());
    fs::write(&settings, format!("{text}{named}")).unwrap();
    world.import();
    let serving = world.master.serve("127.0.0.1:0");
    let none = "rsvg = false\nvips = false\nheif = false\nffmpeg = false\nghostscript = false\n";
    let copies = mirror(&world, &serving, "copies", "auto");
    name_programs(&copies, &format!("{none}pdftoppm = false"));
    copies.run(&["seed", "master", "--json"]).well();
    assert_eq!(copies.files(), world.master.files());

    let own = Fake::new(dir.path().join("own"));
    own.becomes("3.0", [9, 99, 199]);
    let makes = mirror(&world, &serving, "makes", "rebuild");
    let program = own.program();
    name_programs(&makes, &format!("{none}pdftoppm = {program:?}"));
    // Nothing here reads the drawing and the phone's picture.
    makes.run(&["seed", "master"]);
    assert_eq!(renditions(&makes).get("a.pdf"), Some(&PRESETS));
    let of_page = opened(&makes, "a.pdf", NAMES[2]);
    assert!(is_like(of_page.get_pixel(9, 9), [9, 99, 199]));
}

/// A sheet of so many points whose upper half is red, and a second one that is not.
fn pdf(width: u32, height: u32) -> String {
    let half = height / 2;
    let page = |number: u32| {
        format!(
            "{number} 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 {width} {height}]/Contents {}",
            number + 2
        )
    };
    let paint = |colour: &str| {
        let text = format!("{colour} rg 0 {half} {width} {half} re f");
        format!(
            "<</Length {}>>stream\n{text}\nendstream endobj\n",
            text.len()
        )
    };
    format!(
        "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n\
         2 0 obj<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2>>endobj\n\
         {} 0 R>>endobj\n{} 0 R>>endobj\n5 0 obj{}6 0 obj{}trailer<</Root 1 0 R>>\n",
        page(3),
        page(4),
        paint("0.8 0.1 0.1"),
        paint("0.1 0.8 0.1"),
    )
}

const EPS: &str = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 10 10 210 110\n\
    0.8 0.1 0.1 setrgbcolor 10 60 200 50 rectfill showpage\n";

/// Sizes are those that EMDB's density rule leads to.
#[expect(clippy::print_stderr, reason = "what was not tested is said aloud")]
#[test]
fn the_real_programs_draw_pages_as_large_as_emdb_does() {
    for (program, line) in [
        ("pdftoppm", "ghostscript = false"),
        ("gs", "pdftoppm = false"),
    ] {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|dir| dir.join(program).is_file()) {
            eprintln!("not tried: {program} is not on PATH");
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let mut expected = vec![("letter", (2318, 3000)), ("label", (1250, 750))];
        fs::write(folder.join("letter.pdf"), pdf(612, 792)).unwrap();
        fs::write(folder.join("label.pdf"), pdf(100, 60)).unwrap();
        if program == "gs" {
            fs::write(folder.join("figure.eps"), EPS).unwrap();
            fs::write(folder.join("drawing.ai"), pdf(300, 200)).unwrap();
            expected.extend([("figure", (2500, 1250)), ("drawing", (3000, 2000))]);
        }
        let master = node(dir.path(), "m", line);
        import(&master, &folder);
        let made = renditions(&master);
        assert_eq!(made.len(), expected.len(), "{made:?}");
        for original in made.keys() {
            let stem = original.split('.').next().unwrap();
            let (_, size) = expected.iter().find(|(name, _)| *name == stem).unwrap();
            let page = opened(&master, original, NAMES[2]);
            let (width, height) = page.dimensions();
            // A program may count a part of a pixel as one.
            let is_near = width.abs_diff(size.0) <= 1 && height.abs_diff(size.1) <= 1;
            assert!(is_near, "{program} {original}: {width}x{height}");
            let upper = page.get_pixel(width / 2, height / 4);
            assert!(is_like(upper, [204, 26, 26]), "{original}: {upper:?}");
            let lower = page.get_pixel(width / 2, height * 3 / 4);
            assert!(is_like(lower, [255; 3]), "{original}: {lower:?}");
        }
    }
}

/// Reads a record and stores it again with a page of so many points.
fn say_size(node: &Program, id: &str, (width, height): (u32, u32)) {
    let got = node.run(&["record", "get", "asset", id]).well();
    let mut record: serde_json::Value = serde_json::from_str(&got.stdout).unwrap();
    record["width"] = width.into();
    record["height"] = height.into();
    let file = node.dir().join("record.json");
    fs::write(&file, record.to_string()).unwrap();
    let file = file.to_str().unwrap();
    node.run(&["record", "put", "asset", id, file]).well();
}

#[test]
fn a_rectangle_on_a_page_is_in_its_points_where_they_are_known_and_else_in_the_pixels_it_is_drawn_at()
 {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.pdf"), "%PDF-1.4").unwrap();
    let reader = Fake::new(dir.path().join("reader"));
    draw(&reader.0.join("picture.png"), 600, 900);
    let lines = format!("pdftoppm = {:?}\nghostscript = false", reader.program());
    let master = node(dir.path(), "m", &lines);
    import(&master, &folder);
    let listed = master.run(&["record", "list", "asset", "--json"]).well();
    let record: serde_json::Value = serde_json::from_str(listed.stdout.trim()).unwrap();
    let id = record["id"].as_str().unwrap();
    let thumb = "image200x200.webp";
    // Both halves red and blue, cut across their border.
    let set = |rectangle: &str| master.run(&["crop", "set", id, "webpthumbimage", rectangle]);
    let assert_halves = |upper: [u8; 3]| {
        let picture = opened(&master, "a.pdf", thumb);
        assert_eq!(picture.dimensions(), (200, 200));
        assert!(is_like(picture.get_pixel(100, 40), upper));
        assert!(is_like(picture.get_pixel(100, 160), BLUE));
    };
    set("200x200+100+200").well();
    assert_halves(RED);
    let outside = set("200x200+500+0");
    assert_eq!(outside.code, Some(2), "{outside:?}");
    assert!(outside.stderr.contains("600x900"), "{}", outside.stderr);

    // The same rectangle in points is twice as large, and further down.
    let before = master.files();
    say_size(&master, id, (300, 450));
    let rebuild = ["thumbs", "rebuild", "--stale", "--json"];
    assert_counts(
        &master.run(&rebuild).well(),
        &[("stale", 1), ("rebuilt", 1)],
    );
    assert_halves(BLUE);
    assert_eq!(changed(&master, &before).len(), 1);
    set("100x100+50+100").well();
    assert_halves(RED);
    let outside = set("100x100+250+0");
    assert!(outside.stderr.contains("300x450"), "{}", outside.stderr);
    assert_counts(
        &master.run(&rebuild).well(),
        &[("stale", 0), ("rebuilt", 0)],
    );
}

#[expect(clippy::print_stderr, reason = "what was not tested is said aloud")]
#[test]
fn the_real_office_shows_a_letter() {
    use emsync::adapters::Adapters;
    let here = Adapters::find(&std::collections::BTreeMap::new());
    let Some(adapter) = here.for_format("rtf") else {
        eprintln!("not tried: no office on PATH, or nothing that reads what it makes");
        return;
    };
    eprintln!("rtf by {}", adapter.said());
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(
        folder.join("letter.rtf"),
        "{\\rtf1 Dear reader, this is all.}",
    )
    .unwrap();
    let master = node(dir.path(), "m", "vips = false");
    assert_counts(&import(&master, &folder), &[("renditions", PRESETS)]);
    assert_eq!(names(&master, "letter.rtf"), NAMES);
    let page = opened(&master, "letter.rtf", NAMES[2]);
    assert_eq!(page.height(), 3000);
    let dark = page.pixels().filter(|pixel| pixel.0[0] < 80).count();
    assert!(
        (1_000..200_000).contains(&dark),
        "{dark} dark pixels of one line"
    );
    // What it opened lies alone.
    let originals = master.dir().join("media/assets/catalog/originals");
    let left = fs::read_dir(originals).unwrap().count();
    assert_eq!(left, 1);
}
