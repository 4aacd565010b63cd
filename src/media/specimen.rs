//! Originals that tests make: a picture of a few colours, in a format, held one way or another.

use std::io::Cursor;

use exif::experimental::Writer;
use exif::{Field, In, Tag, Value};
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder, RgbImage};

/// A picture without symmetry: soft shades across and down, so that every turn and every cut shows.
pub(super) fn shades(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let part = |at: u32, of: u32| (at * 200 / of.max(1)) as u8;
        image::Rgb([
            20 + part(x, width),
            230 - part(y, height),
            20 + part(x + y, width + height),
        ])
    })
}

/// The stored form of `upright`, as a camera writes it that notes `orientation`.
pub(super) fn laid(upright: &RgbImage, orientation: u8) -> RgbImage {
    use image::imageops::{flip_horizontal, flip_vertical, rotate90, rotate180, rotate270};
    match orientation {
        2 => flip_horizontal(upright),
        3 => rotate180(upright),
        4 => flip_vertical(upright),
        5 => flip_horizontal(&rotate90(upright)),
        6 => rotate270(upright),
        7 => flip_horizontal(&rotate270(upright)),
        8 => rotate90(upright),
        _ => upright.clone(),
    }
}

/// An EXIF block that notes an orientation, without the prefix that JPEG puts before it.
pub(super) fn exif(orientation: u8) -> Vec<u8> {
    let field = Field {
        tag: Tag::Orientation,
        ifd_num: In::PRIMARY,
        value: Value::Short(vec![orientation.into()]),
    };
    let mut writer = Writer::new();
    writer.push_field(&field);
    let mut bytes = Cursor::new(Vec::new());
    writer.write(&mut bytes, false).unwrap();
    bytes.into_inner()
}

/// A PNG of `picture` as it is stored, with a note how to hold it.
pub(super) fn png(picture: &RgbImage, orientation: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif(orientation)).unwrap();
    let (width, height) = picture.dimensions();
    encoder
        .write_image(picture, width, height, ExtendedColorType::Rgb8)
        .unwrap();
    bytes
}

/// The same as a JPEG, whose colours are not to be trusted to the last value.
pub(super) fn jpeg(picture: &RgbImage, orientation: u8) -> Vec<u8> {
    let mut file = Vec::new();
    let (width, height) = picture.dimensions();
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, 100);
    let block = [b"Exif\0\0".to_vec(), exif(orientation)].concat();
    encoder.add_app_segment(1, block).unwrap();
    let kind = jpeg_encoder::ColorType::Rgb;
    encoder
        .encode(picture, width as u16, height as u16, kind)
        .unwrap();
    file
}

/// The same as a lossless WebP.
pub(super) fn webp(picture: &RgbImage, orientation: u8) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = WebPEncoder::new_lossless(&mut file);
    encoder.set_exif_metadata(exif(orientation)).unwrap();
    let (width, height) = picture.dimensions();
    encoder
        .write_image(picture, width, height, ExtendedColorType::Rgb8)
        .unwrap();
    file
}

/// The same as a TIFF, which has the note among its own tags.
pub(super) fn tiff(picture: &RgbImage, orientation: u8) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut file).unwrap();
    let (width, height) = picture.dimensions();
    let mut page = encoder
        .new_image::<tiff::encoder::colortype::RGB8>(width, height)
        .unwrap();
    page.encoder()
        .write_tag(tiff::tags::Tag::Orientation, u16::from(orientation))
        .unwrap();
    page.write_data(picture).unwrap();
    file.into_inner()
}
