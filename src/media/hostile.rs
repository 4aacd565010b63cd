//! Files made to do harm, all through the real pool: every one comes back, with a reason where there is no picture, and the
//! limits hold.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::time::{Duration, Instant};

use image::{DynamicImage, ImageFormat};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::specimen::{exif, shades};
use super::{Error, Finished, Limits, Recipe, Regenerator, Rendition, Task};
use crate::model::Mode;
use crate::model::preset::image_presets;

/// What has to become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Broken, or no image at all.
    Refused,
    /// Over a limit by its header.
    TooLarge,
    /// All renditions: the oddity is harmless.
    Rendered,
    /// Renditions, or a reason.
    Either,
}
use Fate::{Either, Refused, Rendered, TooLarge};

type Case = (String, Vec<u8>, Fate);

const LIMITS: Limits = Limits {
    max_pixels: 20_000_000,
    max_side: 30_000,
    max_alloc_bytes: 100_000_000,
    max_in_work_bytes: 100_000_000,
};

fn picture(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image = DynamicImage::ImageRgb8(shades(64, 48));
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn jpeg(change: impl Fn(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 90);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    change(&mut encoder);
    encoder
        .encode(&shades(64, 48), 64, 48, ColorType::Rgb)
        .unwrap();
    bytes
}

fn formats() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("jpg", jpeg(|_| ())),
        (
            "progressive jpg",
            jpeg(|encoder| encoder.set_progressive(true)),
        ),
        ("png", picture(ImageFormat::Png)),
        ("gif", picture(ImageFormat::Gif)),
        ("webp", picture(ImageFormat::WebP)),
        ("tif", picture(ImageFormat::Tiff)),
        ("bmp", picture(ImageFormat::Bmp)),
        ("ico", picture(ImageFormat::Ico)),
        ("pnm", picture(ImageFormat::Pnm)),
        ("tga", picture(ImageFormat::Tga)),
    ]
}

/// Puts bytes somewhere else into a file.
fn with(mut file: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// A file with a part put in.
fn with_part(file: &[u8], at: usize, part: &[u8]) -> Vec<u8> {
    [&file[..at], part, &file[at..]].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

fn png_chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let named = [kind, content].concat();
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[..], &named, &crc32(&named).to_be_bytes()].concat()
}

fn png_of(width: u32, height: u32, depth: u8, colour: u8, data: &[u8]) -> Vec<u8> {
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let header = [&sides[..], &[depth, colour, 0, 0, 0]].concat();
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        png_chunk(b"IHDR", &header),
        png_chunk(b"IDAT", data),
        png_chunk(b"IEND", b""),
    ]
    .concat()
}

fn deflated(zeros: usize) -> Vec<u8> {
    use std::io::Write;
    let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(&vec![0; zeros]).unwrap();
    writer.finish().unwrap()
}

fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
    [&[0xff, marker][..], &length, content].concat()
}

/// Where a marker of a JPEG stands.
fn place(jpeg: &[u8], marker: u8) -> usize {
    jpeg.windows(2)
        .position(|pair| pair == [0xff, marker])
        .unwrap()
}

/// A little-endian TIFF of one directory with these tags (number, kind, count, value), the next directory's place, and data.
fn tiff(tags: &[(u16, u16, u32, u32)], next: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    bytes.extend((tags.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in tags {
        bytes.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        bytes.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    bytes.extend(next.to_le_bytes());
    bytes.extend(data);
    bytes
}

fn grey_tiff(width: u32, height: u32) -> [(u16, u16, u32, u32); 9] {
    let data = 8 + 2 + 9 * 12 + 4;
    [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, data),
        (277, 3, 1, 1),
        (278, 4, 1, height),
        (279, 4, 1, width.wrapping_mul(height)),
    ]
}

fn riff(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let body: Vec<u8> = chunks
        .iter()
        .flat_map(|(name, content)| {
            let length = u32::try_from(content.len()).unwrap().to_le_bytes();
            let padding = vec![0; content.len() % 2];
            [&name[..], &length, content, &padding].concat()
        })
        .collect();
    let length = u32::try_from(body.len() + 4).unwrap().to_le_bytes();
    [b"RIFF", &length[..], b"WEBP", &body].concat()
}

fn vp8x(width: u32, height: u32, flags: u8) -> Vec<u8> {
    let side = |side: u32| (side - 1).to_le_bytes()[..3].to_vec();
    [vec![flags, 0, 0, 0], side(width), side(height)].concat()
}

fn cut_short() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, bytes) in formats() {
        for eighths in 1..8 {
            let length = bytes.len() * eighths / 8;
            // Some of the last bytes of some formats are not needed; of a JPEG each is.
            let fate = if eighths <= 4 || name.ends_with("jpg") {
                Refused
            } else {
                Either
            };
            cases.push((
                format!("{name} cut to {eighths}/8"),
                bytes[..length].to_vec(),
                fate,
            ));
        }
    }
    cases
}

fn bombs() -> Vec<Case> {
    let big = 25_000_u32;
    let be = (big as u16).to_be_bytes();
    let le = (big as u16).to_le_bytes();
    let baseline = jpeg(|_| ());
    let progressive = jpeg(|encoder| encoder.set_progressive(true));
    let sof = |file: &[u8], marker| place(file, marker) + 5;
    let gif = picture(ImageFormat::Gif);
    let sides = [be, be].concat();
    let case = |name: &str, bytes, fate| (name.to_owned(), bytes, fate);
    vec![
        case("png bomb", png_of(big, big, 8, 6, &deflated(100)), TooLarge),
        case(
            "png bomb of sixteen bits",
            png_of(5000, 3900, 16, 6, &deflated(100)),
            TooLarge,
        ),
        case(
            "png of one endless row",
            png_of(40_000, 1, 8, 0, &deflated(40_001)),
            TooLarge,
        ),
        case(
            "png whose data goes on and on",
            png_of(8, 8, 8, 0, &deflated(50_000_000)),
            Either,
        ),
        case(
            "jpg bomb",
            with(baseline.clone(), sof(&baseline, 0xc0), &sides),
            TooLarge,
        ),
        case(
            "progressive jpg bomb",
            with(progressive.clone(), sof(&progressive, 0xc2), &sides),
            TooLarge,
        ),
        case("gif bomb", with(gif, 6, &[le, le].concat()), TooLarge),
        case(
            "bmp bomb",
            with(
                picture(ImageFormat::Bmp),
                18,
                &[big.to_le_bytes(), big.to_le_bytes()].concat(),
            ),
            TooLarge,
        ),
        case(
            "tif bomb",
            tiff(&grey_tiff(big, big), 0, &[0; 64]),
            TooLarge,
        ),
        case(
            "webp bomb",
            riff(&[
                (b"VP8X", vp8x(16_000, 16_000, 0)),
                (b"VP8L", vec![0x2f, 0, 0, 0, 0]),
            ]),
            Either,
        ),
        case("pnm bomb", b"P6\n25000 25000\n255\nabc".to_vec(), TooLarge),
        case(
            "pnm of sixteen bits",
            b"P5\n4294967295 4294967295\n65535\nabc".to_vec(),
            Either,
        ),
        case(
            "ico with a png bomb",
            {
                let png = png_of(big, big, 8, 6, &deflated(100));
                let length = u32::try_from(png.len()).unwrap().to_le_bytes();
                [
                    &[0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 32, 0][..],
                    &length,
                    &22_u32.to_le_bytes(),
                    &png,
                ]
                .concat()
            },
            TooLarge,
        ),
        case(
            "animated webp whose frame is larger than its canvas",
            riff(&[
                (b"VP8X", vp8x(16, 16, 2)),
                (b"ANIM", vec![0; 6]),
                (
                    b"ANMF",
                    [
                        &[0; 6][..],
                        &[0xff; 6],
                        &[0; 4],
                        b"VP8L",
                        &[5, 0, 0, 0, 0x2f, 0xff, 0xff, 0xff, 0x0f, 0],
                    ]
                    .concat(),
                ),
            ]),
            Refused,
        ),
    ]
}

fn lies() -> Vec<Case> {
    let baseline = jpeg(|_| ());
    let (dqt, dht, sos, sof) = (
        place(&baseline, 0xdb),
        place(&baseline, 0xc4),
        place(&baseline, 0xda),
        place(&baseline, 0xc0),
    );
    let without = |from: usize, marker: u8| {
        let mut file = baseline.clone();
        // What nobody knows is stepped over.
        file.splice(from..from + 2, [0xff, marker]);
        file
    };
    let png = picture(ImageFormat::Png);
    let gif = picture(ImageFormat::Gif);
    let gif_frame = place_of_frame(&gif);
    let case = |name: &str, bytes, fate| (name.to_owned(), bytes, fate);
    let mut cases = vec![
        case("jpg without quantisers", without(dqt, 0xef), Either),
        case("jpg without codes", without(dht, 0xef), Refused),
        case("jpg without a frame", without(sof, 0xef), Refused),
        case(
            "jpg without pixels",
            [&baseline[..sos], b"\xff\xd9"].concat(),
            Refused,
        ),
        case(
            "jpg of no width",
            with(baseline.clone(), sof + 7, &[0, 0]),
            Refused,
        ),
        case(
            "jpg of no height",
            with(baseline.clone(), sof + 5, &[0, 0]),
            Refused,
        ),
        case(
            "jpg of no channels",
            with(baseline.clone(), sof + 9, &[0]),
            Refused,
        ),
        case(
            "jpg of twelve bits",
            with(baseline.clone(), sof + 4, &[12]),
            Refused,
        ),
        case(
            "jpg of impossible sampling",
            with(baseline.clone(), sof + 11, &[0xff]),
            Refused,
        ),
        case(
            "jpg of no sampling",
            with(baseline.clone(), sof + 11, &[0]),
            Refused,
        ),
        case(
            "jpg taller than its data",
            with(baseline.clone(), sof + 5, &4000_u16.to_be_bytes()),
            Either,
        ),
        case(
            "jpg with codes of nothing",
            with_part(&baseline, sos, &segment(0xc4, &[0; 17])),
            Either,
        ),
        case(
            "jpg with more codes than there are",
            with_part(
                &baseline,
                sos,
                &segment(0xc4, &[&[0][..], &[255; 16], &[7; 255]].concat()),
            ),
            Refused,
        ),
        case(
            "jpg with a segment past its end",
            with(baseline.clone(), dqt + 2, &[0xff, 0xff]),
            Refused,
        ),
        case(
            "jpg with a segment of no length",
            with_part(&baseline, 2, b"\xff\xe5\0\0"),
            Either,
        ),
        case(
            "jpg with a million fill bytes",
            with_part(&baseline, 2, &vec![0xff; 1_000_000]),
            Either,
        ),
        case(
            "jpg with a hundred thousand comments",
            with_part(&baseline, 2, &segment(0xfe, b"").repeat(100_000)),
            Rendered,
        ),
        case(
            "jpg with exif of the largest size",
            with_part(
                &baseline,
                2,
                &segment(
                    0xe1,
                    &[b"Exif\0\0".to_vec(), exif(6), vec![0xff; 65_000]].concat(),
                ),
            ),
            Rendered,
        ),
        case(
            "jpg with exif that points to itself",
            with_part(
                &baseline,
                2,
                &segment(
                    0xe1,
                    &[b"Exif\0\0".to_vec(), tiff(&[(0x8769, 4, 1, 8)], 8, &[])].concat(),
                ),
            ),
            Rendered,
        ),
        case(
            "jpg with a profile in 255 parts of nonsense",
            with_part(
                &baseline,
                2,
                &segment(
                    0xe2,
                    &[b"ICC_PROFILE\0\x01\xff".to_vec(), vec![0xff; 60_000]].concat(),
                )
                .repeat(255),
            ),
            Rendered,
        ),
        case(
            "jpg with restarts announced that never come",
            with_part(&baseline, sos, &segment(0xdd, &[0, 1])),
            Either,
        ),
        case("jpg of markers alone", b"\xff\xd8".repeat(50_000), Refused),
        case(
            "progressive jpg with its last scan again and again",
            {
                let progressive = jpeg(|encoder| encoder.set_progressive(true));
                let last = progressive
                    .windows(2)
                    .rposition(|pair| pair == [0xff, 0xda])
                    .unwrap();
                let end = progressive.len() - 2;
                [
                    &progressive[..end],
                    &progressive[last..end].repeat(300),
                    &progressive[end..],
                ]
                .concat()
            },
            Either,
        ),
        case(
            "png with the head of a jpg",
            with(png.clone(), 0, b"\xff\xd8\xff"),
            Refused,
        ),
        case(
            "jpg with the head of a png",
            [b"\x89PNG\r\n\x1a\n".to_vec(), baseline.clone()].concat(),
            Refused,
        ),
        case(
            "gif with the head of a webp",
            [b"RIFF\x10\0\0\0WEBP".to_vec(), gif.clone()].concat(),
            Refused,
        ),
        case(
            "page named like a picture",
            b"<!DOCTYPE html><html><body>sign in</body></html>".to_vec(),
            Refused,
        ),
        case("nothing", Vec::new(), Refused),
        case("zeros", vec![0; 100_000], Refused),
        case("png of no width", png_of(0, 8, 8, 0, &deflated(9)), Refused),
        case(
            "png of no height",
            png_of(8, 0, 8, 0, &deflated(9)),
            Refused,
        ),
        case(
            "png of a colour that is none",
            png_of(8, 8, 8, 5, &deflated(100)),
            Refused,
        ),
        case(
            "png of a depth that is none",
            png_of(8, 8, 3, 0, &deflated(100)),
            Refused,
        ),
        case(
            "png of a palette it lacks",
            png_of(8, 8, 8, 3, &deflated(100)),
            Refused,
        ),
        case(
            "png without enough data",
            png_of(800, 800, 8, 0, &deflated(100)),
            Refused,
        ),
        case(
            "png with a wrong sum",
            with(png.clone(), 29, &[1, 2, 3, 4]),
            Refused,
        ),
        case(
            "png with a chunk past its end",
            with_part(&png, 33, b"\xff\xff\xff\xfftEXt"),
            Refused,
        ),
        case(
            "png with a profile that unfolds without end",
            with_part(
                &png,
                33,
                &png_chunk(b"iCCP", &[b"x\0\0".to_vec(), deflated(80_000_000)].concat()),
            ),
            Either,
        ),
        case(
            "png with ten thousand texts",
            with_part(&png, 33, &png_chunk(b"tEXt", b"a\0b").repeat(10_000)),
            Rendered,
        ),
        case(
            "png with a second header",
            with_part(
                &png,
                33,
                &png_chunk(b"IHDR", &[0, 0, 1, 0, 0, 0, 1, 0, 8, 2, 0, 0, 0]),
            ),
            Either,
        ),
        case(
            "png that says it is animated and is not",
            with_part(&png, 33, &png_chunk(b"acTL", &[0xff; 8])),
            Either,
        ),
        case("gif of no size", with(gif.clone(), 6, &[0; 4]), Either),
        case(
            "gif whose frame lies outside",
            with(gif.clone(), gif_frame + 1, &[0xff, 0x40, 0xff, 0x40]),
            Either,
        ),
        case(
            "gif whose frame is larger than its screen",
            with(gif.clone(), gif_frame + 5, &[0xff, 0x4f, 0xff, 0x4f]),
            Either,
        ),
        case(
            "gif with blocks without end",
            [&gif[..gif_frame], &b"\x21\xfe\x01a\0".repeat(100_000)].concat(),
            Refused,
        ),
        case(
            "tif that follows itself",
            tiff(&grey_tiff(8, 8), 8, &[0; 64]),
            Either,
        ),
        case(
            "tif whose first directory is its header",
            with(tiff(&grey_tiff(8, 8), 0, &[0; 64]), 4, &[0, 0, 0, 0]),
            Refused,
        ),
        case(
            "tif whose directory is past its end",
            with(tiff(&grey_tiff(8, 8), 0, &[0; 64]), 4, &[0xff; 4]),
            Refused,
        ),
        case(
            "tif of no width",
            tiff(&grey_tiff(0, 8), 0, &[0; 64]),
            Refused,
        ),
        case(
            "tif of no height",
            tiff(&grey_tiff(8, 0), 0, &[0; 64]),
            Refused,
        ),
        case(
            "tif whose strips are past its end",
            {
                let mut tags = grey_tiff(8, 8);
                tags[5].3 = u32::MAX - 4;
                tiff(&tags, 0, &[0; 64])
            },
            Refused,
        ),
        case(
            "tif of 65,535 tags it lacks",
            b"II*\0\x08\0\0\0\xff\xff".to_vec(),
            Refused,
        ),
        case(
            "tif whose tag has four thousand million values",
            {
                let mut tags = grey_tiff(8, 8);
                tags[5].2 = u32::MAX;
                tiff(&tags, 0, &[0; 64])
            },
            Refused,
        ),
        case(
            "tif of unknown compression",
            {
                let mut tags = grey_tiff(8, 8);
                tags[3].3 = 31_337;
                tiff(&tags, 0, &[0; 64])
            },
            Refused,
        ),
        case(
            "bmp of no size",
            with(picture(ImageFormat::Bmp), 18, &[0; 8]),
            Either,
        ),
        case(
            "bmp of a size below nothing",
            with(
                picture(ImageFormat::Bmp),
                18,
                &i32::MIN.to_le_bytes().repeat(2),
            ),
            Refused,
        ),
        case(
            "bmp whose pixels are past its end",
            with(picture(ImageFormat::Bmp), 10, &[0xff; 4]),
            Refused,
        ),
        case(
            "ico whose picture is past its end",
            with(picture(ImageFormat::Ico), 18, &[0xff; 4]),
            Refused,
        ),
        case("ico of nothing", vec![0, 0, 1, 0, 1, 0], Refused),
        case("webp of no chunks", b"RIFF\x04\0\0\0WEBP".to_vec(), Refused),
        case(
            "webp that says it is longer",
            with(picture(ImageFormat::WebP), 4, &[0xff, 0xff, 0xff, 0x7f]),
            Either,
        ),
        case(
            "webp with a chunk past its end",
            with(picture(ImageFormat::WebP), 16, &[0xff, 0xff, 0xff, 0x7f]),
            Either,
        ),
        case("pnm of no size", b"P6\n0 0\n255\n".to_vec(), Refused),
        case(
            "pnm of words",
            b"P3\n2 1\n255\nred green blue".to_vec(),
            Refused,
        ),
        case(
            "pnm of a comment without end",
            [b"P6\n#".to_vec(), vec![b'x'; 1_000_000]].concat(),
            Refused,
        ),
    ];
    for (at, (name, bytes)) in formats().into_iter().enumerate() {
        // Every seventh byte from the middle on is another one.
        let mut bytes = bytes;
        let half = bytes.len() / 2;
        bytes[half..]
            .iter_mut()
            .step_by(7)
            .for_each(|byte| *byte ^= 0x5a + at as u8);
        cases.push((format!("{name} with noise"), bytes, Either));
    }
    cases
}

/// Where the first frame of a GIF is described.
/// Further lies, of formats that few people write: a start of each that says more than there is.
fn rarities() -> Vec<Case> {
    let case = |name: &str, bytes, fate| (name.to_owned(), bytes, fate);
    let (gif, ico) = (picture(ImageFormat::Gif), picture(ImageFormat::Ico));
    let frame = place_of_frame(&gif);
    let tga = |kind: u8, width: u16, height: u16, data: &[u8]| {
        let mut bytes = vec![0, 0, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([width.to_le_bytes(), height.to_le_bytes()].concat());
        bytes.extend([24, 0x20]);
        bytes.extend(data);
        bytes.extend(b"\0\0\0\0\0\0\0\0TRUEVISION-XFILE.\0");
        bytes
    };
    // A profile whose tags all lie on each other, and one that says it is as long as can be.
    let profile = |tags: u32, length: u32| {
        let mut icc = vec![0; 128];
        icc[..4].copy_from_slice(&length.to_be_bytes());
        icc[12..24].copy_from_slice(b"mntrRGB XYZ ");
        icc[36..40].copy_from_slice(b"acsp");
        icc.extend(tags.to_be_bytes());
        for tag in [
            b"A2B0", b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"wtpt",
        ] {
            icc.extend(tag);
            icc.extend([128_u32, 4096].map(u32::to_be_bytes).concat());
        }
        icc
    };
    let with_profile = |icc: &[u8]| {
        let photo = jpeg(|_| ());
        let part = [b"ICC_PROFILE\0\x01\x01", icc].concat();
        with_part(&photo, 2, &segment(0xe2, &part))
    };
    let exif_loop = {
        // The second directory, EXIF's and GPS's are all the first one.
        let tags = [
            (0x8769, 4, 1, 8),
            (0x8825, 4, 1, 8),
            (0xa005, 4, 1, 8),
            (274, 3, 1, 6),
        ];
        let body = [b"Exif\0\0", &tiff(&tags, 8, b"")[..]].concat();
        with_part(&jpeg(|_| ()), 2, &segment(0xe1, &body))
    };
    vec![
        case("tga bomb", tga(10, 30_000, 30_000, &[0xff; 64]), TooLarge),
        case("tga of no size", tga(2, 0, 0, b""), Refused),
        case(
            "tga whose runs go past its end",
            tga(10, 60, 60, &[0xff; 3]),
            Refused,
        ),
        case(
            "tga of a map it lacks",
            with(tga(9, 9, 9, &[1; 9]), 1, &[1]),
            Refused,
        ),
        case(
            "ico of 65,535 pictures",
            with(ico.clone(), 4, &[0xff, 0xff]),
            Either,
        ),
        case(
            "ico whose picture is itself",
            with(ico, 18, &[0; 4]),
            Refused,
        ),
        case(
            "gif of a code size that is none",
            with(gif.clone(), gif.len() - 20, &[0xff; 19]),
            Either,
        ),
        case(
            "gif of a frame of no size",
            with(gif, frame + 5, &[0; 4]),
            Either,
        ),
        case("pnm of signs", b"P6\n-8 -8\n255\n".to_vec(), Refused),
        case(
            "pnm of a depth that is none",
            b"P5\n2 2\n0\nabcd".to_vec(),
            Refused,
        ),
        case(
            "qoi, which is not read here",
            b"qoif\0\x01\0\0\0\x01\0\0\x04\0".to_vec(),
            Refused,
        ),
        case(
            "avif, which a program reads",
            b"\0\0\0\x18ftypavif\0\0\0\0".to_vec(),
            Refused,
        ),
        case(
            "webp of sixteen thousand pixels a side and no data",
            riff(&[(b"VP8L", vec![0x2f, 0xff, 0xff, 0xff, 0x0f])]),
            Refused,
        ),
        case(
            "jpg with exif directories that lead to each other",
            exif_loop,
            Rendered,
        ),
        case(
            "jpg with a profile whose tags lie on each other",
            with_profile(&profile(8, 232)),
            Rendered,
        ),
        case(
            "jpg with a profile of four thousand million tags",
            with_profile(&profile(u32::MAX, u32::MAX)),
            Rendered,
        ),
        case(
            "jpg with a profile inside its profile",
            with_profile(&[profile(8, 232), profile(8, 232)].concat()),
            Rendered,
        ),
    ]
}

fn place_of_frame(gif: &[u8]) -> usize {
    let table = 3 << ((gif[10] & 7) + 1);
    let start = 13 + if gif[10] & 0x80 == 0 { 0 } else { table };
    start + gif[start..].iter().position(|byte| *byte == 0x2c).unwrap()
}

#[test]
fn whatever_a_file_is_made_to_do_it_comes_back_with_a_reason() {
    let cases: BTreeMap<_, _> = [cut_short(), bombs(), lies(), rarities()]
        .concat()
        .into_iter()
        .map(|(name, bytes, fate)| (name, (bytes, fate)))
        .collect();
    assert!(cases.len() >= 60);
    let (send, tasks) = crossbeam_channel::bounded(1);
    let (done, mut finished) = tokio::sync::mpsc::channel(1);
    let pool = Regenerator::start(2, LIMITS, tasks, done).unwrap();
    let files: Vec<_> = cases
        .iter()
        .map(|(name, (bytes, _))| (name.clone(), bytes.clone()))
        .collect();
    let started = Instant::now();
    let feeder = std::thread::spawn(move || {
        for (ticket, bytes) in files {
            // Corrected: profiles are looked at too.
            let recipe = Recipe {
                mode: Mode::Corrected,
                ..image_presets().split_off(2).into()
            };
            let original = Box::new(move || Ok(bytes));
            send.send(Task {
                ticket,
                original,
                child_bytes: 0,
                recipe,
            })
            .unwrap();
        }
    });
    let mut wrong = Vec::new();
    let mut count = 0;
    while let Some(Finished { ticket, result, .. }) = finished.blocking_recv() {
        count += 1;
        if let Some(why) = departure(cases[&ticket].1, &result) {
            wrong.push(format!("{ticket}: {why}"));
        }
    }
    feeder.join().unwrap();
    let peak = pool.join();
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(count, cases.len());
    // What says it is larger than all is alone, and refused by its header; nothing else went past the limit together.
    assert!(peak > 0);
    // Slow machines and builds without optimisation included; one endless loop would be far above.
    assert!(
        started.elapsed() < Duration::from_secs(240),
        "{:?}",
        started.elapsed()
    );
}

/// How a result differs from what has to become of a file.
fn departure(fate: Fate, result: &Result<Vec<Rendition>, Error>) -> Option<String> {
    match (fate, result) {
        (Either | Rendered, Ok(renditions)) => {
            (renditions.len() != 3).then(|| "renditions are missing".to_owned())
        }
        (TooLarge, Err(Error::TooLarge { .. })) => None,
        (Refused | Either, Err(error)) => {
            error.to_string().is_empty().then(|| "no reason".to_owned())
        }
        (_, Ok(_)) => Some("was rendered".to_owned()),
        (_, Err(error)) => Some(format!("{error}: {:?}", std::error::Error::source(error))),
    }
}
