//! What a picture says about itself that the renditions or the record need: how to hold it, and when it was taken.
//!
//! Metadata that cannot be read is as good as none; it never stops a picture from being rendered.

use std::io::{BufRead, Seek};

use exif::{DateTime, In, Reader, Tag, Value};
use image::ImageDecoder;
use jiff::tz::{Offset, TimeZone};

use super::tiff_tags;
use crate::model::Timestamp;

/// Orientation and date of one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Metadata {
    /// EXIF orientation, 1 to 8.
    pub(super) orientation: u8,
    /// EXIF `DateTimeOriginal`; as UTC when no offset is noted beside it.
    pub(super) captured: Option<Timestamp>,
}

impl Metadata {
    const NONE: Self = Self {
        orientation: 1,
        captured: None,
    };
}

/// Of a JPEG, from its segments before the pixels.
pub(super) fn of_jpeg<R: BufRead + Seek>(input: &mut R) -> Metadata {
    if input.rewind().is_err() {
        return Metadata::NONE;
    }
    let mut reader = Reader::new();
    reader.continue_on_error(true);
    distilled(reader.read_from_container(input))
}

/// Of any other format, through its opened decoder.
pub(super) fn of_decoder(decoder: &mut impl ImageDecoder) -> Metadata {
    let Ok(Some(chunk)) = decoder.exif_metadata() else {
        return Metadata::NONE;
    };
    // Some writers keep the prefix of the JPEG segment in WebP and PNG.
    let raw = chunk.strip_prefix(b"Exif\0\0").unwrap_or(&chunk);
    let mut reader = Reader::new();
    reader.continue_on_error(true);
    distilled(reader.read_raw(raw.to_vec()))
}

/// Of a TIFF, whose own directories are the metadata.
pub(super) fn of_tiff(orientation: u8, tags: &tiff_tags::Tags) -> Metadata {
    let captured = tags
        .taken
        .as_deref()
        .and_then(|taken| moment(taken, None, tags.taken_offset.as_deref()));
    Metadata {
        orientation,
        captured,
    }
}

fn distilled(read: Result<exif::Exif, exif::Error>) -> Metadata {
    let read = read.or_else(|error| error.distill_partial_result(|_errors| ()));
    let Ok(exif) = read else {
        return Metadata::NONE;
    };
    let orientation = exif
        .get_field(Tag::Orientation, In::PRIMARY)
        .and_then(|field| field.value.get_uint(0))
        .and_then(|value| u8::try_from(value).ok())
        .filter(|value| (1..=8).contains(value));
    let text = |tag| match &exif.get_field(tag, In::PRIMARY)?.value {
        Value::Ascii(texts) => texts.first().map(Vec::as_slice),
        _ => None,
    };
    let captured = text(Tag::DateTimeOriginal).and_then(|taken| {
        moment(
            taken,
            text(Tag::SubSecTimeOriginal),
            text(Tag::OffsetTimeOriginal),
        )
    });
    Metadata {
        orientation: orientation.unwrap_or(1),
        captured,
    }
}

/// The moment that EXIF's texts name, or `None` for the zeros and blanks that cameras without a clock write.
fn moment(taken: &[u8], fraction: Option<&[u8]>, offset: Option<&[u8]>) -> Option<Timestamp> {
    let mut time = DateTime::from_ascii(taken).ok()?;
    // A fraction or an offset that is not one leaves what it should refine.
    let _ = fraction.map(|text| time.parse_subsec(text));
    let _ = offset.map(|text| time.parse_offset(text));
    let nanoseconds = time
        .nanosecond
        .and_then(|part| i32::try_from(part).ok())
        .unwrap_or(0);
    let civil = jiff::civil::DateTime::new(
        i16::try_from(time.year).ok()?,
        i8::try_from(time.month).ok()?,
        i8::try_from(time.day).ok()?,
        i8::try_from(time.hour).ok()?,
        i8::try_from(time.minute).ok()?,
        i8::try_from(time.second).ok()?,
        nanoseconds,
    )
    .ok()?;
    let seconds = i32::from(time.offset.unwrap_or(0)) * 60;
    let zone = TimeZone::fixed(Offset::from_seconds(seconds).ok()?);
    let moment = zone.to_timestamp(civil).ok()?;
    Some(Timestamp::from_millis(moment.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use exif::Field;
    use exif::experimental::Writer;
    use image::ImageEncoder;
    use image::codecs::png::{PngDecoder, PngEncoder};
    use std::io::Cursor;

    /// An EXIF block that says: on its right side, taken at 09:41:07.
    fn block() -> Vec<u8> {
        let field = |tag, value| Field {
            tag,
            ifd_num: In::PRIMARY,
            value,
        };
        let way = field(Tag::Orientation, Value::Short(vec![6]));
        let taken = Value::Ascii(vec![b"2024:03:01 09:41:07".to_vec()]);
        let taken = field(Tag::DateTimeOriginal, taken);
        let mut writer = Writer::new();
        writer.push_field(&way);
        writer.push_field(&taken);
        let mut bytes = Cursor::new(Vec::new());
        writer.write(&mut bytes, false).unwrap();
        bytes.into_inner()
    }

    fn expected() -> Metadata {
        Metadata {
            orientation: 6,
            captured: moment(b"2024:03:01 09:41:07", None, None),
        }
    }

    #[test]
    fn a_jpeg_says_it_in_a_segment_even_when_the_block_is_cut_short() {
        let segment = [b"Exif\0\0".as_slice(), &block()].concat();
        let length = u16::try_from(segment.len() + 2).unwrap().to_be_bytes();
        let file = [
            b"\xff\xd8\xff\xe1",
            length.as_slice(),
            &segment,
            b"\xff\xda",
        ]
        .concat();
        assert_eq!(of_jpeg(&mut Cursor::new(file)), expected());
        // Without the room for the date, what is left of the block still counts.
        let segment = &segment[..segment.len() - 10];
        let length = u16::try_from(segment.len() + 2).unwrap().to_be_bytes();
        let file = [b"\xff\xd8\xff\xe1", length.as_slice(), segment, b"\xff\xda"].concat();
        assert_eq!(of_jpeg(&mut Cursor::new(file)).orientation, 6);
    }

    #[test]
    fn a_png_says_it_in_a_chunk_with_or_without_the_prefix() {
        for prefix in [b"".as_slice(), b"Exif\0\0"] {
            let mut file = Vec::new();
            let mut encoder = PngEncoder::new(&mut file);
            encoder
                .set_exif_metadata([prefix, &block()].concat())
                .unwrap();
            encoder
                .write_image(&[1, 2, 3], 1, 1, image::ExtendedColorType::Rgb8)
                .unwrap();
            let mut decoder = PngDecoder::new(Cursor::new(file)).unwrap();
            assert_eq!(of_decoder(&mut decoder), expected());
        }
    }

    #[test]
    fn no_metadata_is_upright_and_undated() {
        assert_eq!(
            of_jpeg(&mut Cursor::new(b"\xff\xd8\xff\xda")),
            Metadata::NONE
        );
    }

    #[test]
    fn a_date_without_an_offset_is_read_as_utc() {
        let taken = moment(b"2024:03:01 09:41:07", None, None).unwrap();
        assert_eq!(taken.to_string(), "2024-03-01T09:41:07.000Z");
    }

    #[test]
    fn offset_and_fraction_refine_the_date() {
        let taken = moment(b"2024:03:01 09:41:07", Some(b"25"), Some(b"+02:00")).unwrap();
        assert_eq!(taken.to_string(), "2024-03-01T07:41:07.250Z");
        let odd = moment(b"2024:03:01 09:41:07", Some(b"x"), Some(b"   :  ")).unwrap();
        assert_eq!(odd.to_string(), "2024-03-01T09:41:07.000Z");
    }

    #[test]
    fn dates_that_are_none_are_none() {
        for taken in [
            b"0000:00:00 00:00:00",
            b"    :  :     :  :  ",
            b"2024:13:41 99:00:00",
        ] {
            assert_eq!(moment(taken, None, None), None);
        }
    }
}
