//! Inks (CMYK) that have a profile, for corrected mode: as the file stores them, and through the profile to sRGB.
//!
//! The general decoders hand out RGB by (1 - C)(1 - K) at once, to which no profile can be applied. So a JPEG or TIFF of inks
//! that has a profile of inks is decoded here instead; whatever stands in the way of that leaves it with the simple rule.
//!
//! Adobe's programs write a JPEG's inks as what they leave white, and say by a segment of their own that it is theirs; other
//! files with four channels hold the inks themselves. (EMDB takes them all for Adobe's, and so does faithful mode.)

use std::io::Cursor;

use image::ImageFormat;
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::Limits;
use super::colour::Conversion;
use super::geometry::Size;
use super::jpeg;
use super::picture::Picture;

/// `original` through its profile; `None` when it is not of inks, or the profile is not.
pub(super) fn picture(
    original: &[u8],
    format: ImageFormat,
    size: Size,
    colours: &Conversion,
    limits: &Limits,
) -> Option<Picture> {
    if !colours.is_of_inks() {
        return None;
    }
    let inks = match format {
        ImageFormat::Jpeg => of_jpeg(original, limits)?,
        ImageFormat::Tiff => of_tiff(original, limits)?,
        _ => return None,
    };
    if inks.len() != size.width as usize * size.height as usize * 4 {
        return None;
    }
    Some(Picture::rgb(size, colours.inks(&inks)?))
}

/// Four bytes a pixel, 255 for full ink.
fn of_jpeg(original: &[u8], limits: &Limits) -> Option<Vec<u8>> {
    let side = usize::try_from(limits.max_side).ok()?;
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(side)
        .set_max_height(side);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(original), options);
    decoder.decode_headers().ok()?;
    let stored = decoder.input_colorspace()?;
    if !matches!(stored, ColorSpace::CMYK | ColorSpace::YCCK) {
        return None;
    }
    decoder.set_options(options.jpeg_set_out_colorspace(stored));
    let mut values = decoder.decode().ok()?;
    let (pixels, _) = values.as_chunks_mut::<4>();
    match stored {
        ColorSpace::YCCK => pixels.iter_mut().for_each(inks_of_ycck),
        _ if jpeg::is_of_adobe(original) => {
            pixels
                .as_flattened_mut()
                .iter_mut()
                .for_each(|it| *it = !*it);
        }
        _ => {}
    }
    Some(values)
}

/// From luma and chroma of cyan, magenta and yellow, beside what black leaves white, which is how Adobe has them.
fn inks_of_ycck(pixel: &mut [u8; 4]) {
    let [luma, blue, red, black] = pixel.map(f32::from);
    let (blue, red) = (blue - 128.0, red - 128.0);
    let inks = [
        luma + 1.402 * red,
        luma - 0.344_136 * blue - 0.714_136 * red,
        luma + 1.772 * blue,
        255.0 - black,
    ];
    *pixel = inks.map(|ink| ink.round() as u8);
}

/// Four bytes a pixel, 255 for full ink.
fn of_tiff(original: &[u8], limits: &Limits) -> Option<Vec<u8>> {
    let mut allowed = tiff::decoder::Limits::default();
    allowed.decoding_buffer_size = usize::try_from(limits.max_alloc_bytes).ok()?;
    allowed.intermediate_buffer_size = allowed.decoding_buffer_size;
    let mut decoder = Decoder::new(Cursor::new(original))
        .ok()?
        .with_limits(allowed);
    if !matches!(decoder.colortype().ok()?, ColorType::CMYK(8 | 16)) {
        return None;
    }
    let mut buffer = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut buffer).ok()?;
    let values = match buffer {
        DecodingResult::U8(values) => values,
        DecodingResult::U16(values) => {
            let rounded = |value: u16| ((u32::from(value) + 128) / 257) as u8;
            values.into_iter().map(rounded).collect()
        }
        _ => return None,
    };
    match layout.planes {
        1 => Some(values),
        4 => Some(interleaved(&values)),
        _ => None,
    }
}

/// From one ink after the other to one pixel after the other.
fn interleaved(planes: &[u8]) -> Vec<u8> {
    let pixels = planes.len() / 4;
    let inks = |at: usize| [0, 1, 2, 3].map(|ink| planes[ink * pixels + at]);
    (0..pixels).flat_map(inks).collect()
}

/// A TIFF that holds one ink after the other, by (1 - C)(1 - K), for which the general decoder has no way; `None` for every other file.
pub(super) fn planar(original: &[u8], size: Size, limits: &Limits) -> Option<Picture> {
    let mut decoder = Decoder::new(Cursor::new(original)).ok()?;
    let planes = decoder.find_tag_unsigned::<u16>(tiff::tags::Tag::PlanarConfiguration);
    if planes.ok()? != Some(2) {
        return None;
    }
    let inks = of_tiff(original, limits)?;
    let (pixels, _) = inks.as_chunks::<4>();
    if pixels.len() != size.width as usize * size.height as usize {
        return None;
    }
    let shown = |ink: u8, black: u8| {
        let white = u32::from(255 - ink) * u32::from(255 - black);
        ((white + 127) / 255) as u8
    };
    let rgb = pixels
        .iter()
        .flat_map(|[c, m, y, k]| [c, m, y].map(|ink| shown(*ink, *k)));
    Some(Picture::rgb(size, rgb.collect()))
}
