//! Names and contents that break programs: imported, served, seeded over HTTP and compared byte for byte.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use emsync::model::{Sha256, Timestamp};
use image::{ImageFormat, RgbImage};
use serde_json::Value;
use walkdir::WalkDir;

use crate::support::pair::{assert_equal, import, key, mirror, seed, sync, verify};
use crate::support::process::Place;

/// Names that are legal on disk and mean something to a URL, a shell, another system or a program of ours.
const NAMES: &[&str] = &[
    " leading space",
    "trailing space ",
    " ",
    "two  spaces",
    ".leading dot",
    "trailing dot.",
    "...",
    "-dash",
    "--help",
    "hash #1",
    "#",
    "100%",
    "%",
    "%41",
    "%2F",
    "%2e%2e",
    "%00",
    "%zz",
    "a+b",
    "+",
    "why?",
    "?",
    "a&b",
    "&amp;",
    "a=b",
    "a;b",
    ";jsessionid=1",
    "a'b",
    "a\"b",
    "''",
    "back\\slash",
    "\\",
    "..\\..\\up",
    "a|b",
    "<b>bold</b>",
    "a<b",
    "a>b",
    "star*",
    "[a-z]",
    "{a,b}",
    "~",
    "~user",
    "$HOME",
    "$(id)",
    "`id`",
    "!",
    "@",
    "^",
    "a,b",
    "a:b",
    "C:",
    "(1)",
    "a\nb",
    "\n",
    "a\rb",
    "a\r\nX-Injected: 1",
    "a\tb",
    "\u{1}",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{feff}bom",
    "\u{200b}",
    "\u{fffd}",
    "\u{10ffff}",
    "😀",
    "👩‍👩‍👧‍👦.txt",
    "写真",
    "사진",
    "写真.png",
    "صورة",
    "תמונה",
    "\u{202e}gnp.exe",
    "e\u{301}\u{302}\u{323}",
    "caf\u{e9}",
    "cafe\u{301}",
    "\u{212b}",
    "\u{c5}",
    "A\u{30a}",
    "stra\u{df}e",
    "strasse",
    "STRASSE",
    "\u{130}",
    "i",
    "I",
    "ı",
    "Case",
    "case",
    "CASE",
    "con.txt",
    "CON",
    "nul",
    "aux.jpg",
    "COM1",
    "image200x200.webp",
    "image3000x3000.jpg",
    "generated",
    "originals",
    ".emsync",
    "root.json",
    "emsync.db",
    "index",
    "index.html",
    "assets",
    "catalog",
    "downloads",
    "original",
    "mediadb",
    "healthz",
    "emsync",
    "null",
    "undefined",
    "true",
    "0",
    "-1",
    "1e3",
    "NaN",
    "[]",
    "{}",
    ".hidden",
    ".git",
    ".trash",
    "staging",
    "trash",
    "a.tar.gz",
    "no extension",
    "upper.PNG",
    "double.png.jpg",
    "..a",
    "a..",
    "a...b",
];

/// Whole paths with an element or a prefix that a peer or we might take for our own.
const PATHS: &[&str] = &[
    "assets/catalog/originals/x",
    "assets/catalog/generated/x",
    "assets/catalog/x",
    "originals/assets/catalog/x",
    "generated/Lake/image200x200.webp",
    "generated/x.png/image200x200.webp",
    "originals/x",
    "catalog/originals/x",
    ".emsync/root.json",
    ".emsync/staging/x",
    ".emsync/trash/x",
    "WEB-INF/data/assets/catalog/originals/x",
    "x.png/y.png/image200x200.webp/z.png",
    "a b/c d/e f.png",
    "a%20b/c.png",
    "a+b/c.png",
    "a?b/c#d.png",
    "a;v=1/c.png",
    "~/x",
    "*/x",
    "-/-",
    " / /x",
    ".a/.b/.c",
    "é/é/x.png",
    "e\u{301}/e\u{301}/x.png",
    "NFC/caf\u{e9}.png",
    "NFC/cafe\u{301}.png",
];

/// Contents of one file and when it was changed, in milliseconds since 1970.
type Tree = BTreeMap<Vec<u8>, (Sha256, i64)>;

/// A folder under construction: every file has a time of its own, with a part below the millisecond.
struct Maker<'a> {
    dir: &'a Path,
    made: u32,
}

impl Maker<'_> {
    fn put(&mut self, path: &str, bytes: &[u8]) {
        self.put_at(
            path,
            bytes,
            SystemTime::UNIX_EPOCH
                + Duration::new(1_700_000_000 + u64::from(self.made) * 61, 123_456_789),
        );
    }

    fn put_at(&mut self, path: &str, bytes: &[u8], modified: SystemTime) {
        let at = self.dir.join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        assert!(!at.exists(), "{path:?} is made twice");
        fs::write(&at, bytes).unwrap();
        fs::File::options()
            .write(true)
            .open(&at)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        self.made += 1;
    }
}

/// Bytes that nothing compresses.
fn noise(seed: usize, len: usize) -> Vec<u8> {
    let mut block = Sha256::of(&seed.to_le_bytes());
    let mut out = Vec::with_capacity(len + 32);
    while out.len() < len {
        out.extend_from_slice(block.as_bytes());
        block = Sha256::of(block.as_bytes());
    }
    out.truncate(len);
    out
}

/// A small picture; each number gives another one.
fn picture(number: u8, format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(6, 4, |x, y| {
        image::Rgb([x as u8 * 40, y as u8 * 60, number])
    });
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// Fills a folder; answers how many of its files start like a picture and are none.
fn fill(dir: &Path) -> u64 {
    let mut maker = Maker { dir, made: 0 };
    for (n, name) in NAMES.iter().enumerate() {
        // Every fourth has renditions, so that their folders have the name as well.
        let bytes = if n % 4 == 0 {
            picture(n as u8, ImageFormat::Png)
        } else {
            noise(n, n + 1)
        };
        maker.put(&format!("Names/{name}"), &bytes);
        maker.put(&format!("Folders/{name}/{name}"), &noise(n + 1_000, 40));
    }
    for (n, path) in PATHS.iter().enumerate() {
        let bytes = if path.ends_with("png") {
            picture(100 + n as u8, ImageFormat::Png)
        } else {
            noise(n + 2_000, 99)
        };
        maker.put(path, &bytes);
    }
    for (length, letter) in [(200, "a"), (255, "b"), (254, "ü")] {
        let name = letter.repeat(length / letter.len());
        maker.put(&format!("Long/{name}"), &noise(length, 77));
        maker.put(
            &format!("Long/in {letter}/{name}/{name}"),
            &picture(length as u8, ImageFormat::Png),
        );
    }
    let deep = (1..=30)
        .map(|level| format!("level {level}"))
        .collect::<Vec<_>>()
        .join("/");
    maker.put(&format!("{deep}/bottom.png"), &picture(1, ImageFormat::Png));
    for n in 0..12 {
        maker.put(&format!("Sizes/empty {n}"), b"");
        maker.put(&format!("Sizes/one byte {n}"), &[n]);
        maker.put(
            &format!("Sizes/equal {n}.png"),
            &picture(2, ImageFormat::Png),
        );
        maker.put(&format!("Sizes/equal {n}.txt"), b"all the same");
    }
    maker.put("Sizes/256 KiB", &noise(3, 256 << 10));
    maker.put("Sizes/2 MiB", &noise(4, 2 << 20));
    for (name, seconds) in [
        ("1970", 0_i64),
        ("1969", -1),
        ("1901", -2_170_000_000),
        ("2033", 2_000_000_000),
    ] {
        let span = Duration::new(seconds.unsigned_abs(), 1_500_000);
        let at = if seconds < 0 {
            SystemTime::UNIX_EPOCH - span
        } else {
            SystemTime::UNIX_EPOCH + span
        };
        maker.put_at(&format!("Times/{name}"), name.as_bytes(), at);
    }
    let broken = fill_pictures(&mut maker);
    // Nothing of these may arrive: no path can be made of the first, and links are not followed.
    fs::write(
        dir.join(OsStr::from_bytes(b"Names/not utf-8 \xff\xfe")),
        "x",
    )
    .unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.join("Names/link")).unwrap();
    assert!(maker.made >= 300, "{} files", maker.made);
    broken
}

fn fill_pictures(maker: &mut Maker<'_>) -> u64 {
    let mut broken = 0;
    for (name, format) in [
        ("png", ImageFormat::Png),
        ("jpg", ImageFormat::Jpeg),
        ("gif", ImageFormat::Gif),
        ("webp", ImageFormat::WebP),
        ("tif", ImageFormat::Tiff),
        ("bmp", ImageFormat::Bmp),
        ("ico", ImageFormat::Ico),
        ("pnm", ImageFormat::Pnm),
        ("tga", ImageFormat::Tga),
    ] {
        let whole = picture(50, format);
        maker.put(&format!("Pictures/whole.{name}"), &whole);
        if format == ImageFormat::Tga {
            continue; // Nothing at its start tells what it is, so half of one is a file like any other.
        }
        let mut changed = whole.clone();
        changed.truncate(whole.len() * 2 / 3);
        maker.put(&format!("Pictures/cut.{name}"), &changed);
        let head = if format == ImageFormat::Bmp { 26 } else { 12 };
        let mut noisy = whole[..head].to_vec();
        noisy.extend_from_slice(&noise(whole.len(), 64));
        maker.put(&format!("Pictures/noise.{name}"), &noisy);
        broken += 2;
    }
    maker.put("Pictures/page.jpg", b"<!DOCTYPE html><title>Login</title>");
    maker.put("Pictures/nothing.png", b"");
    maker.put("Pictures/text.heic", b"no picture");
    maker.put("Pictures/jpeg named.png", &picture(60, ImageFormat::Jpeg));
    broken
}

/// Every file below a directory.
fn tree(dir: &Path) -> Tree {
    let mut tree = Tree::new();
    for entry in WalkDir::new(dir) {
        let entry = entry.unwrap();
        if !entry.file_type().is_file() {
            continue;
        }
        let path = entry
            .path()
            .strip_prefix(dir)
            .unwrap()
            .as_os_str()
            .as_bytes();
        let modified = Timestamp::from(entry.metadata().unwrap().modified().unwrap());
        let content = Sha256::of(&fs::read(entry.path()).unwrap());
        tree.insert(path.to_vec(), (content, modified.as_millis()));
    }
    tree
}

#[track_caller]
fn assert_same(wanted: &Tree, found: &Tree, which: &str) {
    let shown = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
    let missing: Vec<_> = wanted
        .keys()
        .filter(|path| !found.contains_key(*path))
        .map(shown)
        .collect();
    let extra: Vec<_> = found
        .keys()
        .filter(|path| !wanted.contains_key(*path))
        .map(shown)
        .collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{which}: missing {missing:?}, extra {extra:?}"
    );
    for (path, (content, modified)) in wanted {
        let (there, at) = &found[path];
        assert_eq!(
            there,
            content,
            "{which}: content of {:?} of {} files",
            shown(path),
            wanted.len()
        );
        assert_eq!(at, modified, "{which}: time of {:?}", shown(path));
    }
}

/// What the walk of the folder must have brought to every node.
fn importable(dir: &Path) -> Tree {
    let mut wanted = tree(dir);
    wanted.retain(|path, _| std::str::from_utf8(path).is_ok());
    wanted
}

/// Compares both nodes with the folder, and with each other.
#[track_caller]
fn assert_arrived(place: &Place) {
    let wanted = importable(&place.path("photos"));
    for node in ["m", "r"] {
        let found = tree(&place.path(node).join("media/assets/catalog/originals"));
        assert_same(&wanted, &found, node);
    }
    let generated = |node: &str| tree(&place.path(node).join("media/assets/catalog/generated"));
    let made = generated("m");
    assert!(!made.is_empty());
    assert_same(&made, &generated("r"), "generated");
    assert_equal(&verify(place, &["--checksum"]).ends(0).json());
}

#[test]
fn awkward_names_and_contents_arrive_byte_for_byte_and_move_without_a_byte() {
    let place = Place::new();
    let photos = place.path("photos");
    let broken = fill(&photos);
    place.run(&["init", "m", "--name", "Master"]).ends(0);
    // One name is none that an archive can hold, and an import that leaves something out says so each time.
    let report = import(&place, &["--json"]).ends(23).json();
    let count = importable(&photos).len() as u64;
    assert_eq!(
        (&report["added"], &report["refused"]),
        (&Value::from(count), &Value::from(1)),
        "{report}"
    );
    let status = place.run(&["-C", "m", "status", "--json"]).ends(0).json();
    let unrenderable = status["unrenderable"].as_u64().unwrap();
    assert!(
        unrenderable >= broken,
        "{unrenderable} of {broken} broken pictures are known as such"
    );

    let serving = place.serve("m");
    mirror(&place, &serving.base, &key(&place));
    let report = seed(&place).ends(0).json();
    assert_eq!(report["quarantined"], 0, "{report}");
    assert_arrived(&place);
    assert_nothing_moves(&place);
    let renditions = tree(&place.path("r/media/assets/catalog/generated")).len();
    assert!(renditions > 200, "{renditions} renditions");

    for (n, path) in importable(&photos).keys().enumerate() {
        let path = Path::new(OsStr::from_bytes(path));
        if n % 2 == 0 {
            let to = photos.join("Renamed").join(path);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::rename(photos.join(path), to).unwrap();
        }
    }
    let report = import(&place, &["--json"]).ends(23).json();
    assert_eq!(
        (&report["moved"], &report["gone"]),
        (&Value::from(count.div_ceil(2)), &Value::from(0)),
        "{report}"
    );
    let report = sync(&place).ends(0).json();
    assert_eq!(
        (&report["bytes_received"], &report["deleted"]),
        (&Value::from(0), &Value::from(0)),
        "{report}"
    );
    assert_arrived(&place);
    assert_nothing_moves(&place);
}

/// I5: a second run on an equal node.
#[track_caller]
fn assert_nothing_moves(place: &Place) {
    for ran in [sync(place), seed(place)] {
        let report = ran.ends(0).json();
        for count in ["records", "bytes_received", "files_written", "deleted"] {
            assert_eq!(report[count], 0, "{count} in {report}");
        }
    }
}

/// Seeds a mirror with the folder as `before` makes it, then syncs it to the folder as `after` changes it.
fn changed(before: impl FnOnce(&mut Maker<'_>), after: impl FnOnce(&mut Maker<'_>)) -> Place {
    let place = Place::new();
    let photos = place.path("photos");
    let mut maker = Maker {
        dir: &photos,
        made: 0,
    };
    before(&mut maker);
    place.run(&["init", "m", "--name", "Master"]).ends(0);
    import(&place, &[]).ends(0);
    let serving = place.serve("m");
    mirror(&place, &serving.base, &key(&place));
    seed(&place).ends(0);
    assert_arrived(&place);
    after(&mut maker);
    // What goes where something else still lies has to wait for the next import.
    let first = import(&place, &[]);
    assert!(matches!(first.code, Some(0 | 23)), "{first:?}");
    let report = import(&place, &["--json"]).ends(0).json();
    assert_eq!(report["refused"], 0, "{report}");
    // Renditions of a file that moved up into its folder's name lie inside its new place; they go when a second listing
    // lacks them, so parity takes the two passes that are promised.
    sync(&place).ends(0);
    sync(&place).ends(0);
    assert_arrived(&place);
    assert_nothing_moves(&place);
    place
}

impl Maker<'_> {
    fn rename(&self, from: &str, to: &str) {
        let to = self.dir.join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(self.dir.join(from), to).unwrap();
    }

    /// Removes a directory that was left empty.
    fn rmdir(&self, path: &str) {
        fs::remove_dir(self.dir.join(path)).unwrap();
    }
}

#[test]
fn what_is_named_like_bookkeeping_is_refused_or_arrives() {
    let place = Place::new();
    let photos = place.path("photos");
    let mut maker = Maker {
        dir: &photos,
        made: 0,
    };
    maker.put("Port/.versions/1~harbour.txt", b"old");
    maker.put("Port/harbour.txt", b"new");
    place.run(&["init", "m", "--name", "Master"]).ends(0);
    let imported = import(&place, &["--json"]);
    let refused = imported.code == Some(23);
    assert_eq!(imported.json()["refused"] == 1, refused);
    let serving = place.serve("m");
    mirror(&place, &serving.base, &key(&place));
    let equal = seed(&place).code == Some(0);
    let originals = tree(&place.path("r/media/assets/catalog/originals")).len();
    assert_eq!((originals, equal), (if refused { 1 } else { 2 }, true));
}

#[test]
fn a_file_that_moves_below_its_own_name_keeps_its_asset() {
    let place = Place::new();
    let photos = place.path("photos");
    let mut maker = Maker {
        dir: &photos,
        made: 0,
    };
    maker.put("grows", b"the same");
    place.run(&["init", "m", "--name", "Master"]).ends(0);
    import(&place, &[]).ends(0);
    let assets = || place.run(&["-C", "m", "record", "list", "asset"]).ok();
    let before = assets();
    maker.rename("grows", "spare");
    maker.rename("spare", "grows/grows");
    // Where the file still lies that is to be a folder, it may have to wait for the next import.
    let first = import(&place, &[]);
    assert!(matches!(first.code, Some(0 | 23)), "{first:?}");
    import(&place, &[]).ends(0);
    assert_eq!(assets(), before);
}

#[test]
fn files_that_trade_places_arrive() {
    changed(
        |maker| {
            for (n, name) in [
                "one.png",
                "two.png",
                "three.png",
                "Case.png",
                "caf\u{e9}.png",
            ]
            .iter()
            .enumerate()
            {
                maker.put(name, &picture(n as u8, ImageFormat::Png));
            }
        },
        |maker| {
            maker.rename("one.png", "spare");
            maker.rename("two.png", "one.png");
            maker.rename("three.png", "two.png");
            maker.rename("spare", "three.png");
            maker.rename("Case.png", "case.png");
            maker.rename("caf\u{e9}.png", "cafe\u{301}.png");
        },
    );
}

#[test]
fn a_file_that_becomes_a_folder_and_a_folder_that_becomes_a_file_arrive() {
    changed(
        |maker| {
            maker.put("grows", &picture(1, ImageFormat::Png));
            maker.put("shrinks/inner", &picture(2, ImageFormat::Png));
            maker.put("replaced/inner", b"old");
            maker.put("removed", b"old");
        },
        |maker| {
            maker.rename("grows", "spare");
            maker.rename("spare", "grows/grows");
            maker.rename("shrinks/inner", "spare");
            maker.rmdir("shrinks");
            maker.rename("spare", "shrinks");
            fs::remove_file(maker.dir.join("replaced/inner")).unwrap();
            maker.rmdir("replaced");
            maker.put("replaced", b"new file");
            fs::remove_file(maker.dir.join("removed")).unwrap();
            maker.put("removed/inner", b"new inner");
        },
    );
}

#[test]
fn an_original_named_like_the_rendition_of_what_was_there_arrives() {
    changed(
        |maker| maker.put("Lake.png", &picture(1, ImageFormat::Png)),
        |maker| {
            maker.rename("Lake.png", "spare");
            maker.rename("spare", "Lake.png/image200x200.webp");
        },
    );
}
