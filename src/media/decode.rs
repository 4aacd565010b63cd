//! From the bytes of an original to pixels: content decides the format, the header is held against the limits before
//! any pixel is decoded, and what is broken or cut short is an error.
//!
//! In faithful mode metadata and colour profiles are dropped and the values kept, as EMDB does (media spec 3.5.1); in
//! corrected mode an embedded profile leads to sRGB. CMYK without one, and in faithful mode whatever its profile, becomes RGB
//! by (1 - C)(1 - K) in the decoders: JPEG values are taken as inverted, which is what Adobe writes and EMDB assumes, with
//! YCCK turned to CMYK first. The first frame, page or icon is the picture.

use std::io::{BufRead, Cursor, Seek};

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use super::Limits;
use super::colour::{Conversion, conversion};
use super::error::{Bound, Error};
use super::geometry::{Rect, Size};
use super::gif;
use super::picture::Picture;
use super::probe::{FirstIcon, of_opened};
use super::recipe::{LARGE, Recipe};
use super::sniff::{sniff, spelling};
use super::{inks, jpeg, metadata, tiff_rare, tiff_tags};
use crate::model::Mode;
use crate::model::preset::Background;

/// A decoded original, not yet turned.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) picture: Picture,
    pub(super) traits: Traits,
}

/// What the file says about its pixels.
#[derive(Debug, Clone)]
pub(super) struct Traits {
    /// EXIF orientation, 1 to 8.
    pub(super) orientation: u8,
    /// What transparency is laid on.
    pub(super) background: Background,
    /// The file has an alpha channel or a transparent palette, even if nothing is transparent: it is resized softly.
    pub(super) soft: bool,
    /// What the pixels still need to be sRGB, once there are fewer of them.
    pub(super) colours: Option<Conversion>,
}

impl Traits {
    /// Of a picture made here: upright and in sRGB.
    pub(super) const UPRIGHT: Self = Self {
        orientation: 1,
        background: Background::WHITE,
        soft: false,
        colours: None,
    };
}

/// Decodes the whole file `original`. Of a picture that `recipe` needs parts of alone, the rest may be left black.
pub(super) fn decode(original: &[u8], recipe: &Recipe, limits: &Limits) -> Result<Decoded, Error> {
    let format = sniff(&mut Cursor::new(original))
        .map_err(Error::Read)?
        .ok_or(Error::NotAnImage)?;
    let mode = recipe.mode;
    if format == ImageFormat::Jpeg
        && let Some(decoded) = ordinary_jpeg(original, recipe, limits)?
    {
        return Ok(decoded);
    }
    if format == ImageFormat::Tiff
        && let Some(decoded) = rare_tiff(original, mode, limits)?
    {
        return Ok(decoded);
    }
    if format == ImageFormat::Ico {
        let input = FirstIcon::new(Cursor::new(original)).map_err(Error::Read)?;
        return decode_as(format, input, original, mode, limits);
    }
    decode_as(format, Cursor::new(original), original, mode, limits)
}

/// A JPEG of the kind that is decoded to planes; `None` leaves it to the general decoder.
fn ordinary_jpeg(
    original: &[u8],
    recipe: &Recipe,
    limits: &Limits,
) -> Result<Option<Decoded>, Error> {
    let mut input = Cursor::new(original);
    let Ok(Some((width, height))) = jpeg::dimensions(&mut input) else {
        return Ok(None);
    };
    check(
        (width, height),
        3 * u64::from(width) * u64::from(height),
        limits,
    )?;
    let colours = match recipe.mode {
        Mode::Faithful => None,
        // Inks are for the general decoder, and a profile of theirs says nothing of anything else.
        Mode::Corrected => {
            conversion(jpeg::profile(original)).filter(|colours| !colours.is_of_inks())
        }
    };
    if colours.as_ref().is_some_and(|colours| !colours.is_rgb()) {
        return Ok(None);
    }
    let (size, orientation) = (
        Size::new(width, height),
        metadata::of_jpeg(&mut input).orientation,
    );
    let part = |crop| recipe.edges(crop, (size, orientation)).inside(size);
    // A crop beside the picture is an error later on.
    let parts = recipe
        .parts()
        .map(|crops| crops.into_iter().filter_map(part));
    let part = parts.and_then(|parts| parts.reduce(Rect::around));
    let Some(mut planes) = jpeg::planes(original, part.unwrap_or(Rect::whole(size))) else {
        return Ok(None);
    };
    if width <= LARGE.width && height <= LARGE.height {
        // Everybody else's chroma went through pixels, which shows where no scaling follows.
        planes = planes.softened();
    }
    Ok(Some(Decoded {
        picture: Picture::planes(planes),
        traits: Traits {
            orientation,
            background: Background::WHITE,
            soft: false,
            colours,
        },
    }))
}

/// A TIFF of a kind that the general decoder has no way for; `None` leaves it to that one.
fn rare_tiff(original: &[u8], mode: Mode, limits: &Limits) -> Result<Option<Decoded>, Error> {
    let tags = tags(ImageFormat::Tiff, original);
    let Some((kind, size)) = tiff_rare::kind(&tags) else {
        return Ok(None);
    };
    let (width, height) = (size.width, size.height);
    let pixels = u64::from(width) * u64::from(height);
    check((width, height), pixels.saturating_mul(3), limits)?;
    let picture = tiff_rare::picture(original, &tags, (kind, size), limits);
    let mut picture = picture.map_err(|source| Error::Decode {
        format: spelling(ImageFormat::Tiff),
        source,
    })?;
    if mode == Mode::Corrected
        && let Some(colours) = conversion(tiff_tags::profile(original))
    {
        picture = colours.picture(picture);
    }
    Ok(Some(Decoded {
        picture,
        traits: Traits {
            orientation: tags.orientation,
            ..Traits::UPRIGHT
        },
    }))
}

fn decode_as<R: BufRead + Seek>(
    format: ImageFormat,
    input: R,
    original: &[u8],
    mode: Mode,
    limits: &Limits,
) -> Result<Decoded, Error> {
    let broken = |error: image::ImageError| Error::Decode {
        format: spelling(format),
        source: error.into(),
    };
    let mut reader = ImageReader::with_format(input, format);
    let mut allowed = image::Limits::no_limits();
    allowed.max_alloc = Some(limits.max_alloc_bytes);
    reader.limits(allowed);
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(Error::Decode {
            format: spelling(format),
            source: "a picture without pixels".into(),
        });
    }
    check((width, height), decoder.total_bytes(), limits)?;
    let tags = tags(format, original);
    let about = if format == ImageFormat::Jpeg {
        if let Some(fault) = jpeg::fault(original) {
            return Err(Error::Decode {
                format: spelling(format),
                source: fault.into(),
            });
        }
        metadata::of_jpeg(&mut Cursor::new(original))
    } else {
        of_opened(&mut decoder, format, &tags)
    };
    let soft = decoder.color_type().has_alpha();
    let colours = match mode {
        Mode::Faithful => None,
        // A profile that the decoder cannot find is as good as none.
        Mode::Corrected => {
            let of_inks = is_of_inks(format, original, &decoder);
            let profile = match format {
                // Its decoder finds none that is large beside its pixels.
                ImageFormat::Tiff => tiff_tags::profile(original),
                _ => decoder.icc_profile().ok().flatten(),
            };
            conversion(profile).filter(|colours| colours.is_of_inks() == of_inks)
        }
    };
    let size = Size::new(width, height);
    let of_inks = |colours: &Conversion| inks::picture(original, format, size, colours, limits);
    let planar = || match format {
        ImageFormat::Tiff if is_of_inks(format, original, &decoder) => {
            inks::planar(original, size, limits)
        }
        _ => None,
    };
    if let Some(picture) = colours.as_ref().and_then(of_inks).or_else(planar) {
        let traits = Traits {
            orientation: about.orientation,
            background: Background::WHITE,
            soft: false,
            colours: None,
        };
        return Ok(Decoded { picture, traits });
    }
    let mut image = DynamicImage::from_decoder(decoder).map_err(broken)?;
    if let Some(colours) = &colours
        && !tags.has_associated_alpha
    {
        image = colours.image(image);
    }
    let mut picture = picture(image, tags.has_associated_alpha);
    if let Some(colours) = &colours
        && tags.has_associated_alpha
    {
        // Profiles describe colours before alpha is multiplied in.
        picture = colours.picture(picture);
    }
    Ok(Decoded {
        picture,
        traits: Traits {
            orientation: about.orientation,
            background: background(format, original),
            soft,
            colours: None,
        },
    })
}

/// Whether the pixels are stored as cyan, magenta, yellow and black.
fn is_of_inks(format: ImageFormat, original: &[u8], decoder: &impl ImageDecoder) -> bool {
    use image::ExtendedColorType::{Cmyk8, Cmyk16};
    match format {
        ImageFormat::Jpeg => jpeg::channels(original) == Some(4),
        _ => matches!(decoder.original_color_type(), Cmyk8 | Cmyk16),
    }
}

/// Only a TIFF has tags.
fn tags(format: ImageFormat, original: &[u8]) -> tiff_tags::Tags {
    match format {
        ImageFormat::Tiff => tiff_tags::read(&mut Cursor::new(original)),
        _ => tiff_tags::Tags::default(),
    }
}

/// Only a GIF has a background of its own.
fn background(format: ImageFormat, original: &[u8]) -> Background {
    match format {
        ImageFormat::Gif => gif::background(original),
        _ => Background::WHITE,
    }
}

/// Bytes of a pixel as the general decoder hands it out; of what that has no way for as many as of red, green and blue.
pub(super) fn stored_bytes(original: &[u8]) -> u64 {
    let format = sniff(&mut Cursor::new(original)).ok().flatten();
    let decoder = format.and_then(|format| {
        let reader = ImageReader::with_format(Cursor::new(original), format);
        reader.into_decoder().ok()
    });
    decoder.map_or(3, |decoder| decoder.color_type().bytes_per_pixel().into())
}

/// Holds what the header announces against the limits.
fn check((width, height): (u32, u32), bytes: u64, limits: &Limits) -> Result<(), Error> {
    let allowed = limits.check(Size::new(width, height));
    let allowed = allowed.and(match limits.max_alloc_bytes {
        most if bytes > most => Err(Bound::Bytes(most)),
        _ => Ok(()),
    });
    allowed.map_err(|limit| Error::TooLarge {
        width,
        height,
        limit,
    })
}

/// Eight bits a channel, grey spread over three channels, alpha not multiplied in.
fn picture(image: DynamicImage, has_associated_alpha: bool) -> Picture {
    let size = Size::new(image.width(), image.height());
    if !image.color().has_alpha() {
        return Picture::rgb(size, image.into_rgb8().into_raw());
    }
    let mut bytes = image.into_rgba8().into_raw();
    if has_associated_alpha {
        let (pixels, _) = bytes.as_chunks_mut::<4>();
        pixels.iter_mut().for_each(divide_by_alpha);
    }
    Picture::rgba(size, bytes)
}

fn divide_by_alpha(pixel: &mut [u8; 4]) {
    let [colours @ .., alpha] = pixel;
    let alpha = u32::from(*alpha);
    for value in colours {
        let colour = (u32::from(*value) * 255 + alpha / 2).checked_div(alpha);
        *value = u8::try_from(colour.unwrap_or(0)).unwrap_or(u8::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::Pixels;
    use super::decode as decode_in;
    use super::*;
    use std::time::{Duration, Instant};

    fn decode(original: &[u8], limits: &Limits) -> Result<Decoded, Error> {
        decode_in(original, &Recipe::default(), limits)
    }

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// A PNG that announces this size and holds one empty run of data.
    fn png_bomb(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut header = b"IHDR".to_vec();
        header.extend(width.to_be_bytes());
        header.extend(height.to_be_bytes());
        header.extend([8, 6, 0, 0, 0]);
        for chunk in [header, b"IDAT".to_vec()] {
            bytes.extend((chunk.len() as u32 - 4).to_be_bytes());
            bytes.extend(&chunk);
            bytes.extend(crc32(&chunk).to_be_bytes());
        }
        bytes
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
            })
        })
    }

    #[test]
    fn a_bomb_is_refused_by_its_header() {
        let start = Instant::now();
        let error = decode(&png_bomb(60_000, 60_000), &Limits::default()).unwrap_err();
        assert!(matches!(
            error,
            Error::TooLarge {
                width: 60_000,
                height: 60_000,
                limit: Bound::Pixels(268_000_000)
            }
        ));
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn each_limit_is_named_by_its_refusal() {
        let bound = |width, height, limits: &Limits| match decode(&png_bomb(width, height), limits)
        {
            Err(Error::TooLarge { limit, .. }) => limit,
            other => panic!("{other:?}"),
        };
        let limits = Limits::default();
        assert_eq!(bound(70_000, 2, &limits), Bound::Side(65_500));
        let narrow = Limits {
            max_alloc_bytes: 1 << 20,
            ..limits
        };
        assert_eq!(bound(1000, 1000, &narrow), Bound::Bytes(1 << 20));
    }

    #[test]
    fn a_file_cut_short_is_an_error_in_every_format() {
        let image = DynamicImage::ImageRgb8(image::RgbImage::from_fn(64, 48, |x, y| {
            image::Rgb([x as u8 * 3, y as u8 * 5, (x * y) as u8])
        }));
        for format in [
            ImageFormat::Jpeg,
            ImageFormat::Png,
            ImageFormat::Gif,
            ImageFormat::WebP,
            ImageFormat::Tiff,
            ImageFormat::Bmp,
            ImageFormat::Tga,
            ImageFormat::Pnm,
        ] {
            let bytes = encoded(&image, format);
            let whole = decode(&bytes, &Limits::default()).unwrap();
            assert_eq!(whole.picture.size, Size::new(64, 48), "{format:?}");
            let cut = decode(&bytes[..bytes.len() / 2], &Limits::default());
            assert!(
                matches!(cut, Err(Error::Decode { .. } | Error::NotAnImage)),
                "{format:?}"
            );
        }
    }

    #[test]
    fn a_page_named_like_a_picture_is_no_image() {
        let page = b"<html><head><title>photo.jpg</title></head></html>";
        let error = decode(page, &Limits::default()).unwrap_err();
        assert!(matches!(error, Error::NotAnImage));
    }

    #[test]
    fn sixteen_bits_are_rounded_to_eight() {
        let image = DynamicImage::ImageLuma16(image::ImageBuffer::from_fn(2, 1, |x, _| {
            image::Luma([if x == 0 {
                257 * 77 + 100
            } else {
                257 * 77 + 200
            }])
        }));
        let decoded = decode(&encoded(&image, ImageFormat::Png), &Limits::default()).unwrap();
        assert_eq!(
            decoded.picture.pixels,
            Pixels::Rgb(vec![77, 77, 77, 78, 78, 78])
        );
    }

    /// A grey TIFF of 2 by 1 with these values and further tags (number, value), all short.
    fn grey_tiff(values: [u8; 2], further: &[(u16, u16)]) -> Vec<u8> {
        let count = 9 + further.len() as u16;
        let data = 8 + 2 + count * 12 + 4;
        let mut tags = vec![
            (256, 2),
            (257, 1),
            (258, 8),
            (259, 1),
            (262, 1),
            (273, data),
        ];
        tags.extend([(277, 1), (278, 1), (279, 2)]);
        tags.extend(further);
        tags.sort_unstable();
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        bytes.extend(count.to_le_bytes());
        for (tag, value) in tags {
            bytes.extend([tag, 3, 1, 0, value, 0].map(u16::to_le_bytes).concat());
        }
        bytes.extend([0; 4]);
        bytes.extend(values);
        bytes
    }

    #[test]
    fn a_tiff_says_how_to_hold_it() {
        let decoded = decode(&grey_tiff([9, 7], &[(274, 6)]), &Limits::default()).unwrap();
        assert_eq!(decoded.traits.orientation, 6);
        assert_eq!(decoded.picture.pixels, Pixels::Rgb(vec![9, 9, 9, 7, 7, 7]));
        let plain = decode(&grey_tiff([9, 7], &[]), &Limits::default()).unwrap();
        assert_eq!(plain.traits.orientation, 1);
    }

    #[test]
    fn inks_that_a_tiff_holds_one_after_the_other_are_put_together() {
        // Of two pixels: cyan without black, and magenta with half of it.
        let planes: [&[u8]; 4] = [&[255, 0], &[0, 255], &[0, 0], &[0, 128]];
        let data = 8 + 2 + 11 * 12 + 4;
        let (bits, places, lengths) = (data + 8, data + 16, data + 32);
        let mut bytes = b"II*\0\x08\0\0\0\x0b\0".to_vec();
        let mut entry = |tag: u16, kind: u16, count: u32, value: u32| {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        };
        let short = |value| (3, 1, value);
        for (tag, (kind, count, value)) in [
            (256, short(2)),
            (257, short(1)),
            (258, (3, 4, bits)),
            (259, short(1)),
            (262, short(5)),
            (273, (4, 4, places)),
            (277, short(4)),
            (278, short(1)),
            (279, (4, 4, lengths)),
            (284, short(2)),
            (332, short(1)),
        ] {
            entry(tag, kind, count, value);
        }
        bytes.extend([0; 4]);
        bytes.extend(planes.concat());
        bytes.extend([8_u16; 4].map(u16::to_le_bytes).concat());
        bytes.extend(
            [0, 2, 4, 6]
                .map(|at: u32| (data + at).to_le_bytes())
                .concat(),
        );
        bytes.extend([2_u32; 4].map(u32::to_le_bytes).concat());
        let decoded = decode(&bytes, &Limits::default()).unwrap();
        assert_eq!(
            decoded.picture.pixels,
            Pixels::Rgb(vec![0, 255, 255, 127, 0, 127])
        );
        assert!(decode(&bytes[..bytes.len() - 30], &Limits::default()).is_err());
    }

    #[test]
    fn a_raw_photograph_is_no_image_here() {
        let error = decode(&grey_tiff([9, 7], &[(254, 1)]), &Limits::default()).unwrap_err();
        assert!(matches!(error, Error::NotAnImage));
    }

    #[test]
    fn associated_alpha_is_divided_out() {
        let mut pixel = [64, 128, 0, 128];
        divide_by_alpha(&mut pixel);
        assert_eq!(pixel, [128, 255, 0, 128]);
        let mut hidden = [3, 4, 5, 0];
        divide_by_alpha(&mut hidden);
        assert_eq!(hidden, [0; 4]);
    }
}
