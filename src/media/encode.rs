//! From pixels to the bytes of a file. No EXIF, no XMP, no profile: the pixels are upright and sRGB by agreement.

use std::borrow::Cow;

use image::codecs::gif::GifEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder as _};

use super::codec::webp::{self, Samples};
use super::error::Cause;
use super::jpeg;
use super::picture::{Picture, Pixels, WHITE};
use super::planes::Planes;
use crate::model::preset::Encoding;

/// How thoroughly the colours of a GIF are chosen, 1 (all pixels looked at) to 30: what its encoder's authors advise.
const GIF_SPEED: i32 = 10;

/// Writes `picture`. JPEG has no alpha: what is still transparent is laid on white.
pub(super) fn encode(picture: &Picture, encoding: Encoding) -> Result<Vec<u8>, Cause> {
    match encoding {
        Encoding::WebP { quality, method } => Ok(webp(picture, quality, method)?),
        Encoding::Jpeg { quality } => jpeg(picture, quality),
        Encoding::Png => png(picture),
        Encoding::Gif => gif(picture),
        Encoding::Other => Err("a preset of this kind is not made here".into()),
    }
}

fn webp(picture: &Picture, quality: u8, method: u8) -> Result<Vec<u8>, webp::Error> {
    let limited;
    let samples = match &picture.pixels {
        Pixels::Rgb(bytes) => Samples::Rgb(bytes),
        Pixels::Rgba(bytes) => Samples::Rgba(bytes),
        Pixels::Planes(planes) => {
            limited = planes.limited();
            let [blue, red] = &limited.chroma;
            Samples::Planes([&limited.luma.samples, &blue.samples, &red.samples])
        }
    };
    let size = picture.size;
    webp::encode(samples, size.width, size.height, quality, method)
}

fn jpeg(picture: &Picture, quality: u8) -> Result<Vec<u8>, Cause> {
    let of_rgb = |bytes| jpeg::encode(&Planes::of_rgb(picture.size, bytes), quality);
    Ok(match &picture.pixels {
        Pixels::Planes(planes) => jpeg::encode(planes, quality),
        Pixels::Rgb(bytes) => of_rgb(bytes),
        Pixels::Rgba(_) => match picture.clone().flattened(WHITE).pixels {
            Pixels::Rgb(bytes) => of_rgb(&bytes),
            _ => unreachable!("a flattened picture has no alpha"),
        },
    }?)
}

fn png(picture: &Picture) -> Result<Vec<u8>, Cause> {
    let mut to = Vec::new();
    let encoder =
        PngEncoder::new_with_quality(&mut to, CompressionType::Default, FilterType::Adaptive);
    let (bytes, colours) = samples(picture);
    encoder.write_image(&bytes, picture.size.width, picture.size.height, colours)?;
    Ok(to)
}

/// Of one frame. A pixel that is less than half there is not there at all, as the converter has it.
fn gif(picture: &Picture) -> Result<Vec<u8>, Cause> {
    let mut to = Vec::new();
    let (bytes, colours) = samples(picture);
    let mut bytes = bytes.into_owned();
    if colours == ExtendedColorType::Rgba8 {
        let (pixels, _) = bytes.as_chunks_mut::<4>();
        for pixel in pixels {
            *pixel = match *pixel {
                [r, g, b, 128..=255] => [r, g, b, u8::MAX],
                _ => [0; 4],
            };
        }
    }
    let mut encoder = GifEncoder::new_with_speed(&mut to, GIF_SPEED);
    encoder.encode(&bytes, picture.size.width, picture.size.height, colours)?;
    drop(encoder);
    Ok(to)
}

/// Rows of three or four bytes a pixel.
fn samples(picture: &Picture) -> (Cow<'_, [u8]>, ExtendedColorType) {
    match &picture.pixels {
        Pixels::Rgb(bytes) => (bytes.into(), ExtendedColorType::Rgb8),
        Pixels::Rgba(bytes) => (bytes.into(), ExtendedColorType::Rgba8),
        Pixels::Planes(planes) => (planes.to_rgb().into(), ExtendedColorType::Rgb8),
    }
}

#[cfg(test)]
mod tests {
    use super::super::geometry::Size;
    use super::*;

    /// Marker and content of the frame header.
    fn frame(jpeg: &[u8]) -> (u8, Vec<u8>) {
        let mut at = 2;
        loop {
            let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
            if matches!(jpeg[at + 1], 0xc0..=0xc2) {
                return (jpeg[at + 1], jpeg[at + 4..at + 2 + length].to_vec());
            }
            at += 2 + length;
        }
    }

    #[test]
    fn jpeg_is_baseline_in_one_scan_with_halved_chroma() {
        let picture = Picture::rgb(Size::new(20, 10), [10, 200, 90].repeat(200));
        let bytes = encode(&picture, Encoding::Jpeg { quality: 55 }).unwrap();
        let scans = bytes.windows(2).filter(|pair| *pair == [0xff, 0xda]);
        assert_eq!(scans.count(), 1);
        let (marker, header) = frame(&bytes);
        assert_eq!(marker, 0xc0);
        assert_eq!(header[..6], [8, 0, 10, 0, 20, 3]);
        assert_eq!([header[7], header[10], header[13]], [0x22, 0x11, 0x11]);
    }

    #[test]
    fn jpeg_of_a_transparent_picture_is_white_there() {
        let picture = Picture::rgba(Size::new(16, 16), [0, 0, 0, 0].repeat(256));
        let bytes = encode(&picture, Encoding::Jpeg { quality: 90 }).unwrap();
        let back = image::load_from_memory(&bytes).unwrap().into_rgb8();
        assert!(back.pixels().all(|pixel| pixel.0 == WHITE));
    }

    #[test]
    fn webp_takes_the_effort_it_is_told() {
        let shades = (0..64 * 64 * 3_u32).map(|n| (n * n % 251) as u8).collect();
        let picture = Picture::rgb(Size::new(64, 64), shades);
        let quality = 76;
        let made = |method| encode(&picture, Encoding::WebP { quality, method }).unwrap();
        assert_ne!(made(0), made(6));
        assert_eq!(made(4), made(4));
    }

    #[test]
    fn what_is_not_written_here_is_an_error() {
        let picture = Picture::rgb(Size::new(1, 1), vec![0; 3]);
        assert!(encode(&picture, Encoding::Other).is_err());
    }

    #[test]
    fn a_side_too_long_for_jpeg_is_an_error() {
        let picture = Picture::rgb(Size::new(70_000, 1), vec![0; 210_000]);
        assert!(encode(&picture, Encoding::Jpeg { quality: 55 }).is_err());
    }
}
