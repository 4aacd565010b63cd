//! Films and sound through the real program, where it is.

use std::collections::BTreeMap;

use super::super::Part;
use super::super::tests::original;
use super::*;

/// What a real ffmpeg writes with these arguments; none where it is not on this machine, or cannot, which is said aloud.
fn written(arguments: &[&str], name: &str) -> Option<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let mut ffmpeg = std::process::Command::new("ffmpeg");
    let ffmpeg = ffmpeg
        .current_dir(dir.path())
        .args(["-nostdin", "-loglevel", "error"]);
    let ended = ffmpeg.args(arguments).arg(name).output();
    if ended.is_ok_and(|it| it.status.success()) {
        return std::fs::read(dir.path().join(name)).ok();
    }
    #[expect(clippy::print_stderr, reason = "what was not tested is said aloud")]
    {
        eprintln!("not tried: no ffmpeg on PATH writes {name}");
    }
    None
}

#[test]
fn the_real_program_shows_a_film_at_its_moment_and_its_start_where_it_is_over() {
    let red_then_blue = [
        "-f",
        "lavfi",
        "-i",
        "color=red:s=32x16:r=5:d=3",
        "-f",
        "lavfi",
        "-i",
        "color=blue:s=32x16:r=5:d=3",
        "-filter_complex",
        "concat",
        "-c:v",
        "mpeg4",
    ];
    let Some(film) = written(&red_then_blue, "film.mp4") else {
        return;
    };
    let found = Adapters::find(&BTreeMap::new());
    for (seconds, [red, blue]) in [(0, [true, false]), (4, [false, true]), (90, [true, false])] {
        let part = Part {
            moment: Duration::from_secs(seconds),
            ..Part::FIRST
        };
        let made = found.picture_of(original(&film), "mp4", part);
        let made = image::load_from_memory(&made.unwrap()).unwrap().to_rgb8();
        let [r, _, b] = made[(1000, 500)].0;
        assert_eq!([r > 200, b > 200], [red, blue], "after {seconds} s");
    }
}

#[test]
fn the_real_program_makes_sound_and_films_that_every_browser_plays() {
    let sine = ["-f", "lavfi", "-i", "sine=duration=0.5"];
    let picture = ["-f", "lavfi", "-i", "testsrc=s=321x181:r=5:d=0.6"];
    let found = Adapters::find(&BTreeMap::new());
    let make = |content: &[u8], product: &Product, format| {
        let mut made = Vec::new();
        found
            .convert(original(content), (product, format), &mut made)
            .unwrap();
        made
    };
    if let Some(sound) = written(&sine, "sound.wav") {
        let made = make(&sound, &Product::Mp3 { kilobits: 64 }, "wav");
        // A tag, or the first frame at once.
        assert!(
            made.starts_with(b"ID3") || made.starts_with(&[0xff, 0xfb]),
            "{:?}",
            &made[..4]
        );
        // A list of other files is none, whatever it is called.
        let list = b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n";
        let refused = found.convert(
            original(list),
            (&Product::Mp3 { kilobits: 64 }, "wav"),
            &mut Vec::new(),
        );
        assert!(refused.is_err());
    }
    if let Some(film) = written(
        &[&picture[..], &sine, &["-c:v", "mpeg4"]].concat(),
        "film.mkv",
    ) {
        let (size, speed) = (Some((160, 480)), "ultrafast");
        let made = make(&film, &Product::Mp4 { size, speed }, "mkv");
        let place = |name: &[u8]| made.windows(4).position(|part| part == name);
        assert_eq!(&made[4..8], b"ftyp");
        // Its index comes first, so that it plays before all of it is there.
        assert!(place(b"moov").unwrap() < place(b"mdat").unwrap());
        // Shrunk to fit, and even: the encoded size stands 24 bytes behind the name of the codec.
        let sizes = made
            .windows(4)
            .enumerate()
            .filter(|(_, part)| *part == b"avc1");
        let number = |at: usize| u16::from_be_bytes([made[at], made[at + 1]]);
        let mut sizes = sizes.map(|(at, _)| (number(at + 28), number(at + 30)));
        assert!(sizes.any(|size| size == (160, 90)));
    }
}
