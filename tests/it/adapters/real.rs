//! Real pictures of formats that programs read for us, wherever the programs are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use emsync::adapters::Adapters;

use super::{DRAWING, PRESETS, paint, renditions};
use crate::support::program::Program;

const RED: [u8; 3] = [200, 30, 30];

/// A red file of a format and size; `None` when nothing here writes it.
fn specimen(dir: &Path, format: &str, (width, height): (u32, u32)) -> Option<PathBuf> {
    let path = dir.join(format!("real.{format}"));
    let content = match format {
        "svg" => Some(DRAWING.into()),
        "psd" => Some(psd(width, height)),
        "dng" => Some(dng(width, height)),
        _ => None,
    };
    if let Some(content) = content {
        fs::write(&path, content).unwrap();
        return Some(path);
    }
    let picture = dir.join("picture.png");
    let pixels = image::RgbImage::from_pixel(width, height, image::Rgb(RED));
    pixels.save(&picture).unwrap();
    // What reads a format writes it too, unless that is built without an encoder.
    let mut vips = Command::new("vips");
    let written = vips.arg("copy").args([&picture, &path]).output();
    written.is_ok_and(|it| it.status.success()).then_some(path)
}

/// A file of Photoshop's without layers, of four inks: what is not printed is stored.
fn psd(width: u32, height: u32) -> Vec<u8> {
    let mut file = b"8BPS\0\x01\0\0\0\0\0\0\0\x04".to_vec();
    file.extend(height.to_be_bytes());
    file.extend(width.to_be_bytes());
    file.extend([0, 8, 0, 4]);
    // No palette, no resources, no layers; not compressed.
    file.extend([0; 4 + 4 + 4 + 2]);
    let pixels = (width * height) as usize;
    for plane in [RED[0], RED[1], RED[2], 255] {
        file.extend(std::iter::repeat_n(plane, pixels));
    }
    file
}

/// What a camera with a filter over each pixel sees of red, lying on its side.
fn dng(width: u32, height: u32) -> Vec<u8> {
    const SHORT: u16 = 3;
    const LONG: u16 = 4;
    let longs = |values: &[u32]| values.iter().flat_map(|it| it.to_le_bytes()).collect();
    let shorts = |values: &[u16]| values.iter().flat_map(|it| it.to_le_bytes()).collect();
    let one = |value: u32| longs(&[value]);
    let unit = [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1];
    let pixels = width * height * 2;
    // Tag, type, bytes of the type, content; the place of the pixels is filled in below.
    let tags: [(u16, u16, u32, Vec<u8>); 23] = [
        (254, LONG, 4, one(0)),
        (256, LONG, 4, one(width)),
        (257, LONG, 4, one(height)),
        (258, SHORT, 2, shorts(&[16])),
        (259, SHORT, 2, shorts(&[1])),
        (262, SHORT, 2, shorts(&[32_803])),
        (271, 2, 1, b"Own\0".to_vec()),
        (272, 2, 1, b"One\0".to_vec()),
        (273, LONG, 4, one(0)),
        (274, SHORT, 2, shorts(&[6])),
        (277, SHORT, 2, shorts(&[1])),
        (278, LONG, 4, one(height)),
        (279, LONG, 4, one(pixels)),
        (284, SHORT, 2, shorts(&[1])),
        (33_421, SHORT, 2, shorts(&[2, 2])),
        (33_422, 1, 1, vec![0, 1, 1, 2]),
        (50_706, 1, 1, vec![1, 4, 0, 0]),
        (50_707, 1, 1, vec![1, 1, 0, 0]),
        (50_708, 2, 1, b"Own One\0".to_vec()),
        (50_717, LONG, 4, one(65_535)),
        (50_721, 10, 8, longs(&unit)),
        (50_728, 5, 8, longs(&[1, 1, 1, 1, 1, 1])),
        (50_778, SHORT, 2, shorts(&[21])),
    ];
    let head = 8 + 2 + 12 * tags.len() + 4;
    let beside: usize = tags.iter().map(|it| it.3.len()).filter(|it| *it > 4).sum();
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend((tags.len() as u16).to_le_bytes());
    let mut after = Vec::new();
    for (tag, kind, size, content) in tags {
        let count = content.len() as u32 / size;
        file.extend(tag.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend(count.to_le_bytes());
        if content.len() > 4 {
            file.extend(((head + after.len()) as u32).to_le_bytes());
            after.extend(content);
        } else if tag == 273 {
            file.extend(((head + beside) as u32).to_le_bytes());
        } else {
            file.extend(content.iter().copied().chain([0; 4]).take(4));
        }
    }
    file.extend([0; 4]);
    file.extend(after);
    for at in 0..width * height {
        let (x, y) = (at % width, at / width);
        let seen: u16 = if (x % 2, y % 2) == (0, 0) {
            30_000
        } else {
            2_000
        };
        file.extend(seen.to_le_bytes());
    }
    file
}

#[expect(clippy::print_stderr, reason = "what was not tested is said aloud")]
#[test]
fn the_real_programs_read_real_files() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let here = Adapters::find(&BTreeMap::new());
    let mut given = BTreeMap::new();
    for (format, size) in [
        ("svg", (80, 60)),
        ("heic", (80, 60)),
        ("avif", (80, 60)),
        // Holds itself in smaller sizes too, none of which is meant.
        ("jp2", (3200, 2400)),
        ("psd", (80, 60)),
        ("dng", (80, 60)),
    ] {
        let Some(adapter) = here.for_format(format) else {
            eprintln!("not tried: no program on PATH reads {format}");
            continue;
        };
        let Some(path) = specimen(dir.path(), format, size) else {
            eprintln!("not tried: no program on PATH writes {format}");
            continue;
        };
        eprintln!("{format} by {}", adapter.said());
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        fs::rename(path, folder.join(&name)).unwrap();
        let shown = match format {
            "jp2" => (3000, 2250),
            "dng" => (60, 80),
            _ => size,
        };
        given.insert(name, shown);
    }
    paint(&folder.join("native.png"), [1, 2, 3]);
    let master = Program::init(&dir.path().join("m"), "master-0001");
    master.run(&["import", folder.to_str().unwrap()]).well();
    let made = renditions(&master);
    for (name, size) in &given {
        assert_eq!(made.get(name), Some(&PRESETS), "{name}");
        let generated = master.dir().join("media/assets/catalog/generated");
        let large = generated.join(name).join("image3000x3000.webp");
        let large = image::open(large).unwrap().into_rgb8();
        assert_eq!(large.dimensions(), *size, "{name}");
        let pixel = large.get_pixel(size.0 / 2, size.1 / 2);
        // What a camera sees is developed, not copied.
        let near = if name.ends_with("dng") { 80 } else { 16 };
        let mut both = pixel.0.into_iter().zip(RED);
        assert!(
            both.all(|(got, wanted)| got.abs_diff(wanted) < near),
            "{name}: {pixel:?}"
        );
    }
    let names: BTreeSet<_> = made.keys().collect();
    assert_eq!(names.len(), given.len() + 1);
}
