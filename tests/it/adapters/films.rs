//! Films get their first frame and what EMDB makes of it: by a scripted program, and by the real one where it is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use emsync::model::FileKind;

use super::documents::{import, is_like, names, node, opened};
use super::{Fake, assert_counts, changed, renditions, states};

/// Pictures that an import makes of a film.
const PRESETS: usize = 6;
const NAMES: [&str; PRESETS] = [
    "image110x62cropped.webp",
    "image1900x1080.webp",
    "image1900x1080offset0.webp",
    "image200x200.webp",
    "image550x550.webp",
    "image640x480.webp",
];

#[test]
fn a_film_gets_both_names_of_its_frame_and_four_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    for name in ["film.MP4", "list.m3u8", "sound.wav"] {
        fs::write(folder.join(name), format!("{name} as a program reads it")).unwrap();
    }
    let reader = Fake::new(dir.path().join("reader"));
    let frame = |middle: [u8; 3]| {
        let colour = |x: u32, _| {
            let is_middle = (480..1440).contains(&x);
            image::Rgb(if is_middle { middle } else { [10, 10, 10] })
        };
        let picture = image::RgbImage::from_fn(1920, 1080, colour);
        picture.save(reader.0.join("picture.png")).unwrap();
    };
    frame([200, 30, 30]);
    let master = node(dir.path(), "m", &format!("ffmpeg = {:?}", reader.program()));
    assert_counts(
        &import(&master, &folder),
        &[("added", 3), ("renditions", PRESETS), ("unrenderable", 0)],
    );
    assert_eq!(names(&master, "film.MP4"), NAMES);
    let told = states(&master);
    let told = ["film.MP4", "list.m3u8", "sound.wav"].map(|name| told[name].as_str());
    assert_eq!(told, ["2", "mime", "mime"]);
    let sizes = NAMES.map(|name| opened(&master, "film.MP4", name).dimensions());
    let (frame_size, cut) = ((1920, 1080), (110, 62));
    let smaller = [(200, 113), (550, 309), (640, 360)];
    assert_eq!(sizes[..3], [cut, frame_size, frame_size]);
    assert_eq!(sizes[3..], smaller);
    for name in NAMES {
        let picture = opened(&master, "film.MP4", name);
        let (width, height) = picture.dimensions();
        assert!(is_like(
            picture.get_pixel(width / 2, height / 2),
            [200, 30, 30]
        ));
        assert!(is_like(picture.get_pixel(2, height / 2), [10, 10, 10]));
    }
    let [plain, dated] = [NAMES[1], NAMES[2]].map(|name| opened(&master, "film.MP4", name));
    assert!(plain == dated, "one frame under both names");

    let before = master.files();
    let rebuild = |args: &[&str]| {
        let args = [&["thumbs", "rebuild", "--json"], args].concat();
        master.run(&args).well()
    };
    assert_counts(&rebuild(&["--stale"]), &[("assets", 1), ("rebuilt", 0)]);
    fs::write(reader.0.join("version"), "fake 2.0\n").unwrap();
    frame([30, 30, 200]);
    let dated = ["--stale", "--preset", "webppreviewffmpegthumb@0"];
    assert_counts(&rebuild(&dated), &[("stale", PRESETS), ("rebuilt", 1)]);
    assert_counts(&rebuild(&["--stale"]), &[("rebuilt", PRESETS - 1)]);
    let film = BTreeSet::from(["film.MP4".to_owned()]);
    assert_eq!(changed(&master, &before), film);
    for name in NAMES {
        let picture = opened(&master, "film.MP4", name);
        let (width, height) = picture.dimensions();
        assert!(is_like(
            picture.get_pixel(width / 2, height / 2),
            [30, 30, 200]
        ));
    }
}

#[test]
fn without_its_program_a_film_is_kept_and_said_what_to_install() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("film.mov"), "a film").unwrap();
    let master = node(dir.path(), "m", "ffmpeg = false");
    let imported = import(&master, &folder);
    assert_counts(&imported, &[("added", 1), ("renditions", 0)]);
    let how = "mov needs ffmpeg, which is not here: install ffmpeg";
    assert!(imported.stderr.contains(how), "{}", imported.stderr);
}

#[expect(clippy::print_stderr, reason = "what was not tested is said aloud")]
#[test]
fn the_real_program_shows_the_first_frame_of_real_films() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let first = dir.path().join("first.png");
    // Left third red, the rest grey; films are small, and half as high as they are wide.
    let colour = |x, _| image::Rgb(if x < 32 { [200, 30, 30] } else { [90, 90, 90] });
    image::RgbImage::from_fn(96, 48, colour)
        .save(&first)
        .unwrap();
    let mut given = BTreeSet::new();
    for (name, codec) in [
        ("film.mp4", "mpeg4"),
        ("film.mov", "mjpeg"),
        ("film.mkv", "mpeg4"),
        ("film.avi", "mpeg4"),
        ("film.mpg", "mpeg2video"),
        ("film.ts", "mpeg2video"),
        ("film.webm", "libvpx"),
        ("film.wmv", "wmv2"),
        ("film.flv", "flv"),
    ] {
        let mut ffmpeg = Command::new("ffmpeg");
        let ffmpeg = ffmpeg.args(["-nostdin", "-loglevel", "error", "-loop", "1", "-r", "25"]);
        let ffmpeg = ffmpeg
            .arg("-i")
            .arg(&first)
            .args(["-t", "0.4", "-q:v", "2"]);
        let written = ffmpeg.args(["-c:v", codec]).arg(folder.join(name)).output();
        if written.is_ok_and(|it| it.status.success()) {
            given.insert(name);
        } else {
            let _half = fs::remove_file(folder.join(name));
            eprintln!("not tried: nothing on PATH writes {name}");
        }
    }
    let master = node(dir.path(), "m", "vips = false");
    import(&master, &folder);
    let made = renditions(&master);
    assert_eq!(made.len(), given.len(), "{made:?}");
    for name in given {
        assert_eq!(made[name], PRESETS, "{name}");
        let frame = opened(&master, name, NAMES[1]);
        assert_eq!(frame.dimensions(), (2160, 1080), "{name}");
        for (x, colour) in [(300, [200, 30, 30]), (1500, [90, 90, 90])] {
            let pixel = frame.get_pixel(x, 540);
            assert!(is_like(pixel, colour), "{name} at {x}: {pixel:?}");
        }
    }
}

/// A film and sound of this many seconds, where something on PATH writes them.
fn write(folder: &Path, seconds: &str) -> bool {
    let film = [
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=96x48:r=5",
        "-t",
        seconds,
        "-c:v",
        "mpeg4",
        "film.mkv",
    ];
    let sound = ["-f", "lavfi", "-i", "sine", "-t", seconds, "sound.wav"];
    [&film[..], &sound].into_iter().all(|arguments| {
        let mut ffmpeg = Command::new("ffmpeg");
        let ffmpeg = ffmpeg.args(["-nostdin", "-loglevel", "error", "-y"]);
        let ended = ffmpeg.args(arguments).current_dir(folder).output();
        ended.is_ok_and(|it| it.status.success())
    })
}

#[expect(clippy::print_stderr, reason = "what was not tested is said aloud")]
#[test]
fn the_real_program_makes_what_is_no_picture_with_a_rebuild() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    if !write(&folder, "0.4") {
        eprintln!("not tried: nothing on PATH writes films and sound");
        return;
    }
    let master = node(dir.path(), "m", "vips = false");
    // Sound by EMDB's own presets, a film that every browser plays where one says so.
    let file = master.dir().join("emsync.toml");
    let text = fs::read_to_string(&file).unwrap();
    let preset = "[[preset]]\nid = \"previewffmpeg\"\non_import = true\n";
    fs::write(&file, format!("{text}\n{preset}")).unwrap();
    let import = || {
        master
            .run(&["import", folder.to_str().unwrap(), "--no-thumbs"])
            .well()
    };
    let rebuild = |args: &[&str]| {
        let presets = ["--preset", "previewffmpeg", "--preset", "mp3audio"];
        let args = [&["thumbs", "rebuild", "--json"], &presets[..], args].concat();
        master.run(&args).well()
    };
    import();
    assert_counts(&rebuild(&["-n"]), &[("selected", 2), ("rebuilt", 0)]);
    assert_counts(&rebuild(&[]), &[("selected", 2), ("rebuilt", 2)]);
    assert_eq!(names(&master, "sound.wav"), ["audio.mp3"]);
    assert_eq!(names(&master, "film.mkv"), ["video.mp4"]);
    let files = master.files();
    assert_counts(&rebuild(&[]), &[("selected", 0), ("rebuilt", 0)]);
    assert_eq!(master.files(), files, "what is current is left alone");
    // Of another content they are made again.
    assert!(write(&folder, "0.8"));
    import();
    assert_counts(&rebuild(&[]), &[("selected", 2), ("rebuilt", 2)]);
    let generated = |(kind, _): &&(FileKind, String)| *kind == FileKind::Generated;
    let (before, after) = (files, master.files());
    for name in after.keys().filter(generated) {
        assert_ne!(after[name], before[name], "{name:?}");
    }
}
