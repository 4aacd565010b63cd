//! Kinds of JPEG and TIFF that no decoder here knows, told by their headers, so that a program can be asked instead.

use std::io::{self, BufRead, Seek};

use image::ImageFormat;
use tiff::decoder::Decoder;
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::sniff::{sniff, spelling};
use super::{jpeg, tiff_rare, tiff_tags};

/// A picture of a format that is decoded here, and of a kind that is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beyond {
    /// The format, in EMDB's spelling.
    pub format: &'static str,
    /// What is rare about it, in a few words.
    pub kind: String,
}

/// Whether the picture of `input` is of a kind that no decoder here knows; `None` when it is decoded here as far as its headers
/// tell, when they are broken, and for every other content. Leaves `input` at its start.
///
/// # Errors
/// What reading or seeking said.
pub fn beyond<R: BufRead + Seek>(input: &mut R) -> io::Result<Option<Beyond>> {
    let format = sniff(input)?;
    let kind = match format {
        Some(ImageFormat::Jpeg) => jpeg::rare_kind(input)?.map(str::to_owned),
        Some(ImageFormat::Tiff) => rare_tiff(input),
        _ => None,
    };
    input.rewind()?;
    let beyond = |(format, kind)| Beyond {
        format: spelling(format),
        kind,
    };
    Ok(format.zip(kind).map(beyond))
}

fn rare_tiff<R: BufRead + Seek>(input: &mut R) -> Option<String> {
    if tiff_rare::kind(&tiff_tags::read(input)).is_some() {
        return None;
    }
    input.rewind().ok()?;
    match look(input) {
        Ok(kind) => kind,
        Err(TiffError::UnsupportedError(what)) => Some(what.to_string()),
        // Broken: the decoder says how.
        Err(_) => None,
    }
}

fn look<R: BufRead + Seek>(input: &mut R) -> Result<Option<String>, TiffError> {
    use ColorType::{CMYK, Gray, GrayA, RGB, RGBA};
    let mut decoder = Decoder::new(input)?;
    let mut number = |tag, else_is| {
        let numbers = decoder.find_tag_unsigned_vec::<u32>(tag);
        numbers.map(|it| it.and_then(|it| it.first().copied()).unwrap_or(else_is))
    };
    let compression = number(Tag::Compression, 1)?;
    let is_jpeg = compression == 7;
    if !matches!(compression, 1 | 4 | 5 | 7 | 8 | 32_773 | 32_946) {
        return Ok(Some(format!("compression {compression}")));
    }
    if number(Tag::FillOrder, 1)? == 2 && !is_jpeg {
        return Ok(Some("bits in reverse order".to_owned()));
    }
    if number(Tag::PlanarConfiguration, 1)? == 2 && number(Tag::TileWidth, 0)? > 0 {
        return Ok(Some("channels apart, in tiles".to_owned()));
    }
    let sample_format = number(Tag::SampleFormat, 1)?;
    let colours = decoder.colortype()?;
    let is_known = match colours {
        Gray(1 | 8 | 16) | GrayA(8 | 16) | CMYK(8 | 16) => sample_format == 1,
        RGB(8 | 16) | RGBA(8 | 16) => sample_format == 1,
        RGB(32) | RGBA(32) => sample_format == 3,
        _ => false,
    };
    Ok((!is_known).then(|| format!("{colours:?}, sample format {sample_format}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
    use std::io::Cursor;

    fn rare(bytes: &[u8]) -> Option<Beyond> {
        beyond(&mut Cursor::new(bytes)).unwrap()
    }

    fn jpeg() -> Vec<u8> {
        let mut bytes = Vec::new();
        let encoder = Encoder::new(&mut bytes, 80);
        encoder
            .encode(&[90; 16 * 16 * 3], 16, 16, ColorType::Rgb)
            .unwrap();
        bytes
    }

    #[test]
    fn a_jpeg_is_rare_by_its_frame() {
        let plain = jpeg();
        assert_eq!(rare(&plain), None);
        let frame = plain.windows(2).position(|it| it == [0xff, 0xc0]).unwrap();
        let changed = |at: usize, byte: u8| {
            let mut bytes = plain.clone();
            bytes[frame + at] = byte;
            rare(&bytes).map(|it| it.kind)
        };
        assert_eq!(changed(1, 0xc9).as_deref(), Some("arithmetic codes"));
        assert_eq!(changed(1, 0xc3).as_deref(), Some("lossless or in layers"));
        assert_eq!(changed(4, 12).as_deref(), Some("12 bits a sample"));
        // Factors of the first channel, then of the second.
        assert_eq!(
            changed(11, 0x31).as_deref(),
            Some("channels of unusual sizes")
        );
        assert_eq!(
            changed(14, 0x44).as_deref(),
            Some("channels of unusual sizes")
        );
        for length in 0..plain.len() {
            rare(&plain[..length]);
        }
    }

    #[test]
    fn a_progressive_file_counts_with_its_coefficients_and_every_file_with_itself() {
        let footprint = |bytes: &[u8]| super::super::footprint(bytes) - bytes.len() as u64;
        let of = |change: &dyn Fn(&mut Encoder<&mut Vec<u8>>)| {
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(&mut bytes, 80);
            change(&mut encoder);
            encoder
                .encode(&[90; 16 * 16 * 3], 16, 16, ColorType::Rgb)
                .unwrap();
            footprint(&bytes)
        };
        assert_eq!(of(&|_| {}), 16 * 16 * 3);
        let progressive = |sampling| {
            of(&move |encoder| {
                encoder.set_progressive(true);
                encoder.set_sampling_factor(sampling);
            })
        };
        assert_eq!(progressive(SamplingFactor::F_1_1), 16 * 16 * (3 + 6));
        assert_eq!(progressive(SamplingFactor::F_2_2), 16 * 16 * (3 + 3));
        let mut deep = Cursor::new(Vec::new());
        let picture = image::DynamicImage::new_rgba16(7, 5);
        picture.write_to(&mut deep, ImageFormat::Png).unwrap();
        assert_eq!(footprint(deep.get_ref()), 7 * 5 * (2 * 8 + 4));
    }

    #[test]
    fn a_tiff_is_rare_by_its_tags() {
        // One pixel of three samples; the last tags are those of the case.
        let file = |tags: &[(u16, u16)]| {
            let mut all = vec![
                (256, 1),
                (257, 1),
                (262, 2),
                (273, 8),
                (277, 3),
                (278, 1),
                (279, 3),
            ];
            all.retain(|(tag, _)| tags.iter().all(|(it, _)| it != tag));
            all.extend(tags);
            all.sort_unstable();
            let mut bytes = b"II*\0\x0c\0\0\0abc\0".to_vec();
            bytes.extend((all.len() as u16 + 1).to_le_bytes());
            let bits_at = 12 + 2 + 12 * (all.len() as u32 + 1) + 4;
            let mut lines: Vec<_> = (all.iter())
                .map(|(tag, value)| (*tag, 1, u32::from(*value)))
                .collect();
            lines.push((258, 3, bits_at));
            lines.sort_unstable();
            for (tag, count, value) in lines {
                let line = [tag.to_le_bytes(), 3_u16.to_le_bytes()].concat();
                bytes.extend(line);
                bytes.extend(u32::to_le_bytes(count));
                bytes.extend(value.to_le_bytes());
            }
            bytes.extend([0; 4]);
            bytes.extend([8, 0, 8, 0, 8, 0]);
            rare(&bytes).map(|it| it.kind)
        };
        assert_eq!(file(&[]), None);
        assert_eq!(file(&[(259, 3)]).as_deref(), Some("compression 3"));
        assert_eq!(file(&[(266, 2)]).as_deref(), Some("bits in reverse order"));
        assert!(file(&[(262, 8)]).is_some(), "Lab");
        assert!(file(&[(339, 2)]).is_some(), "signed");
        // Luma and chroma as JPEG has them are decoded here, as they are without it they are not.
        assert_eq!(file(&[(262, 6), (259, 7)]), None);
        assert!(file(&[(262, 6)]).is_some());
    }
}
