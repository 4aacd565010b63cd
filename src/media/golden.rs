//! Our renditions against those a real EMDB made of the same originals (`assets-fixtures/emdb-renditions`).
//!
//! Encoded is compared with encoded: equal sizes, equal use of alpha, and pixels that differ by at most 3.5 of 255 on
//! average, the tolerance of media spec 9.7 for a cascade from pixels that were never encoded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use image::DynamicImage;

use super::{Limits, Rendition, probe, render};
use crate::model::preset::image_presets;

/// Mean difference allowed per channel (media spec 9.7).
const TOLERANCE: f64 = 3.5;

/// CMYK that EMDB converts by a SWOP profile, which may not be passed on: we convert by (1 - C)(1 - K), so only sizes
/// can agree (media spec 3.5.3).
const BY_PROFILE: [&str; 3] = ["cmyk-profile.jpg", "cmyk.jpg", "ycck.jpg"];

/// EMDB's converter failed here and left a picture of 3x62; ours fills the box (media spec 9.5).
const FAILED_THERE: (&str, &str) = ("size-3x700.png", "image110x62cropped.webp");

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets-fixtures/emdb-renditions")
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn original(name: &str) -> Vec<u8> {
    fs::read(fixtures().join("originals").join(name)).unwrap()
}

/// What we make of every original, rendered once for all tests, on all cores.
static OURS: LazyLock<BTreeMap<String, Vec<Rendition>>> = LazyLock::new(|| {
    let (send, tasks) = crossbeam_channel::unbounded();
    let originals = names(&fixtures().join("originals"));
    let (done, mut finished) = tokio::sync::mpsc::channel(originals.len());
    for name in originals {
        let bytes = original(&name);
        let task = super::Task {
            ticket: name,
            original: Box::new(move || Ok(bytes)),
            presets: image_presets(),
        };
        send.send(task).unwrap();
    }
    drop(send);
    super::Regenerator::start(0, Limits::default(), tasks, done)
        .unwrap()
        .join();
    std::iter::from_fn(|| finished.try_recv().ok())
        .map(|finished| (finished.ticket, finished.result.unwrap()))
        .collect()
});

fn pixels(bytes: &[u8]) -> DynamicImage {
    image::load_from_memory(bytes).unwrap()
}

/// Mean difference per channel, colours weighted by alpha, since what is hidden may be anything.
fn mean_difference(ours: &DynamicImage, theirs: &DynamicImage) -> f64 {
    let visible = |image: &DynamicImage| {
        let mut bytes = image.to_rgba8().into_raw();
        for [r, g, b, alpha] in bytes.as_chunks_mut::<4>().0 {
            if *alpha != 255 {
                for value in [r, g, b] {
                    *value = (u16::from(*value) * u16::from(*alpha) / 255) as u8;
                }
            }
        }
        bytes
    };
    let (ours, theirs) = (visible(ours), visible(theirs));
    let sum: u64 = ours
        .iter()
        .zip(&theirs)
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    // Alpha, equal for the most part, must not water down the mean of the colours.
    sum as f64 / (ours.len() as f64 * 0.75)
}

/// Holds one rendition against EMDB's; the answer names what differs.
fn compare(name: &str, ours: &Rendition) -> Result<(), String> {
    let what = format!("{name}/{}", ours.file_name);
    let theirs = fixtures()
        .join("generated")
        .join(name)
        .join(&ours.file_name);
    let theirs = pixels(&fs::read(theirs).unwrap());
    let back = pixels(&ours.bytes);
    let size = (back.width(), back.height());
    if size != (theirs.width(), theirs.height()) || size != (ours.width, ours.height) {
        return Err(format!("{what}: size {size:?}"));
    }
    if back.color().has_alpha() != theirs.color().has_alpha() {
        return Err(format!("{what}: alpha {}", back.color().has_alpha()));
    }
    let difference = mean_difference(&back, &theirs);
    if !BY_PROFILE.contains(&name) && difference > TOLERANCE {
        return Err(format!("{what}: differs by {difference:.2}"));
    }
    Ok(())
}

#[test]
fn every_original_is_rendered_as_emdb_renders_it() {
    let mut compared = 0;
    let mut different = Vec::new();
    for (name, renditions) in OURS.iter() {
        for ours in renditions {
            if (name.as_str(), ours.file_name.as_str()) == FAILED_THERE {
                assert_eq!((ours.width, ours.height), (110, 62));
                continue;
            }
            compared += 1;
            different.extend(compare(name, ours).err());
        }
    }
    assert_eq!(different, Vec::<String>::new());
    assert_eq!(compared, 47 * 5 - 1);
}

#[test]
fn no_case_is_left_out() {
    let originals = names(&fixtures().join("originals"));
    assert_eq!(originals.len(), 47);
    assert_eq!(originals, names(&fixtures().join("generated")));
    assert!(OURS.keys().eq(&originals));
    for (name, renditions) in OURS.iter() {
        let mut files: BTreeSet<_> = renditions
            .iter()
            .map(|ours| ours.file_name.clone())
            .collect();
        if name == FAILED_THERE.0 {
            files.remove(FAILED_THERE.1);
        }
        assert_eq!(files, names(&fixtures().join("generated").join(name)));
    }
    for name in BY_PROFILE {
        assert!(originals.contains(name));
    }
}

#[test]
fn only_the_gif_with_a_transparent_background_keeps_alpha() {
    for (name, renditions) in OURS.iter() {
        let alpha: Vec<_> = renditions
            .iter()
            .map(|ours| pixels(&ours.bytes).color().has_alpha())
            .collect();
        let kept = name == "transparent-bgself.gif";
        assert_eq!(alpha, [kept, false, kept, kept, false], "{name}");
    }
}

#[test]
fn no_rendition_carries_metadata() {
    for ours in OURS.values().flatten() {
        let found = |tag: &[u8]| ours.bytes.windows(tag.len()).any(|window| window == tag);
        for tag in [b"Exif\0\0".as_slice(), b"EXIF", b"XMP ", b"http://ns.adobe"] {
            // Four letters may turn up in coded pixels by chance; a chunk's name stands in the first hundred bytes.
            let head = &ours.bytes[..ours.bytes.len().min(100)];
            assert!(!head.windows(tag.len()).any(|window| window == tag));
            assert!(tag.len() < 6 || !found(tag));
        }
    }
}

#[test]
fn the_probe_sees_what_the_original_holds() {
    let seen = |name: &str| {
        let probe = probe(Cursor::new(original(name))).unwrap().unwrap();
        (probe.format, probe.width, probe.height, probe.orientation)
    };
    let of = |format: &str, width, height, way| (format.to_owned(), width, height, way);
    for way in 1..=8 {
        assert_eq!(seen(&format!("exif-o{way}.jpg")), of("jpg", 640, 420, way));
    }
    assert_eq!(seen("cmyk.jpeg"), of("jpg", 640, 420, 1));
    assert_eq!(seen("progressive.jpg"), of("jpg", 640, 420, 1));
    assert_eq!(seen("rgb16.png"), of("png", 400, 262, 1));
    assert_eq!(seen("transparent.gif"), of("gif", 640, 420, 1));
    assert_eq!(seen("animated.webp"), of("webp", 640, 420, 1));
    assert_eq!(seen("pages3-subfiletype.tif"), of("tif", 640, 420, 1));
    assert_eq!(seen("rgb.bmp"), of("bmp", 320, 210, 1));
    // The first of the three, which EMDB renders.
    assert_eq!(seen("icon.ico"), of("ico", 16, 16, 1));
}

#[test]
fn a_preset_alone_gives_the_bytes_it_gives_among_the_others() {
    let name = "exif-o6.jpg";
    for (index, preset) in image_presets().into_iter().enumerate() {
        let alone = render(&original(name), &[preset], &Limits::default()).unwrap();
        assert_eq!(alone, OURS[name][index..=index]);
    }
}

#[test]
fn a_crop_of_a_turned_original_is_upright_and_has_the_size_of_its_box() {
    use crate::model::preset::{Shape, Source};
    let mut presets = image_presets();
    presets.retain(|preset| preset.shape == Shape::FillCentre);
    presets[0].source = Source::Original;
    let direct = render(&original("exif-o6.jpg"), &presets, &Limits::default()).unwrap();
    let through_large = &OURS["exif-o6.jpg"][4];
    assert_eq!((direct[0].width, direct[0].height), (110, 62));
    let difference = mean_difference(&pixels(&direct[0].bytes), &pixels(&through_large.bytes));
    assert!(difference < TOLERANCE, "{difference}");
}
