//! Kinds of TIFF that archives hold and the general decoder has no way for: colours by a table, grey of two or four bits, and luma
//! and chroma as JPEG compresses them.
//!
//! The reader below the decoder hands out whatever is stored, once it takes indices for shades of grey ([`AsShades`]); what they
//! mean is known here.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::Tag;

use super::Limits;
use super::error::Cause;
use super::geometry::Size;
use super::picture::Picture;
use super::tiff_tags::Tags;

/// PhotometricInterpretation, as TIFF 6.0 numbers it.
const WHITE_IS_ZERO: u32 = 0;
const BLACK_IS_ZERO: u32 = 1;
const PALETTE: u32 = 3;
const LUMA_AND_CHROMA: u32 = 6;
/// Compression by JPEG as Technical Note 2 has it.
const JPEG: u32 = 7;

/// What the samples of a picture are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Indices of so many bits, 1 to 8, into the table of the file.
    Indices(u8),
    /// Shades of grey of so many bits, 2 or 4, from black to white or the other way round.
    Shades { bits: u8, is_inverted: bool },
    /// Luma and chroma of eight bits, as many of one as of the other once JPEG is read.
    LumaAndChroma,
}

/// The kind and size of a picture, if it is one of those read here.
pub(super) fn kind(tags: &Tags) -> Option<(Kind, Size)> {
    let (width, height) = tags.size?;
    let is_compressed_by_jpeg = tags.compression == JPEG;
    if width == 0 || height == 0 || (tags.has_reversed_bits && !is_compressed_by_jpeg) {
        return None;
    }
    let kind = match (tags.photometric?, tags.samples, tags.bits) {
        (PALETTE, 1, 1 | 2 | 4 | 8) => Kind::Indices(tags.bits as u8),
        (shades @ (WHITE_IS_ZERO | BLACK_IS_ZERO), 1, 2 | 4) => Kind::Shades {
            bits: tags.bits as u8,
            is_inverted: shades == WHITE_IS_ZERO,
        },
        (LUMA_AND_CHROMA, 3, _) if is_compressed_by_jpeg => Kind::LumaAndChroma,
        _ => return None,
    };
    Some((kind, Size::new(width, height)))
}

/// The picture, in red, green and blue as the file means them.
pub(super) fn picture(
    original: &[u8],
    tags: &Tags,
    (kind, size): (Kind, Size),
    limits: &Limits,
) -> Result<Picture, Cause> {
    let rgb = match kind {
        Kind::LumaAndChroma => {
            let mut decoder = within(Decoder::new(Cursor::new(original))?, limits)?;
            if decoder.colortype()? != ColorType::YCbCr(8) {
                return Err("luma and chroma of more than eight bits".into());
            }
            let mut samples = read(&mut decoder, size.width as usize * 3, size)?;
            let (pixels, _) = samples.as_chunks_mut::<3>();
            pixels.iter_mut().for_each(|pixel| *pixel = rgb(*pixel));
            samples
        }
        Kind::Indices(bits) => {
            let mut decoder = Decoder::new(Cursor::new(original))?;
            let table = table(&decoder.get_tag_u16_vec(Tag::ColorMap)?, bits)?;
            looked_up(original, tags, (bits, size), limits, &table)?
        }
        Kind::Shades { bits, is_inverted } => {
            let most = (1_u32 << bits) - 1;
            let shade = |level: u32| [(level * 255 / most) as u8; 3];
            let mut table: Vec<_> = (0..=most).map(shade).collect();
            if is_inverted {
                table.reverse();
            }
            looked_up(original, tags, (bits, size), limits, &table)?
        }
    };
    Ok(Picture::rgb(size, rgb))
}

/// The colours that indices stand for.
fn looked_up(
    original: &[u8],
    tags: &Tags,
    (bits, size): (u8, Size),
    limits: &Limits,
    table: &[[u8; 3]],
) -> Result<Vec<u8>, Cause> {
    let input = AsShades::new(original, tags);
    let mut decoder = within(Decoder::new(input)?, limits)?;
    let stride = (size.width as usize * usize::from(bits)).div_ceil(8);
    let rows = read(&mut decoder, stride, size)?;
    let (each, mask) = (usize::from(8 / bits), u8::MAX >> (8 - bits));
    let mut rgb = Vec::with_capacity(size.width as usize * size.height as usize * 3);
    for row in rows.chunks_exact(stride) {
        for x in 0..size.width as usize {
            // The first pixel of a byte is in its highest bits.
            let shift = bits as usize * (each - 1 - x % each);
            let index = row[x / each] >> shift & mask;
            rgb.extend(table[usize::from(index)]);
        }
    }
    Ok(rgb)
}

fn within<R: Read + Seek>(decoder: Decoder<R>, limits: &Limits) -> Result<Decoder<R>, Cause> {
    let mut allowed = tiff::decoder::Limits::default();
    allowed.decoding_buffer_size = usize::try_from(limits.max_alloc_bytes)?;
    allowed.intermediate_buffer_size = allowed.decoding_buffer_size;
    Ok(decoder.with_limits(allowed))
}

/// All rows of a picture, each of so many bytes.
fn read<R: Read + Seek>(
    decoder: &mut Decoder<R>,
    stride: usize,
    size: Size,
) -> Result<Vec<u8>, Cause> {
    let mut buffer = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut buffer)?;
    match buffer {
        DecodingResult::U8(rows)
            if layout.planes == 1 && rows.len() == stride * size.height as usize =>
        {
            Ok(rows)
        }
        _ => Err("samples that are stored in another way than they are said to be".into()),
    }
}

/// The table of a file: all of red, then green, then blue, of sixteen bits or, by some writers, of eight.
fn table(values: &[u16], bits: u8) -> Result<Vec<[u8; 3]>, Cause> {
    let length = 1_usize << bits;
    if values.len() < 3 * length {
        return Err("a table of too few colours".into());
    }
    let shift = if values.iter().all(|value| *value < 256) {
        0
    } else {
        8
    };
    let colour = |index: usize| [0, 1, 2].map(|at| (values[at * length + index] >> shift) as u8);
    Ok((0..length).map(colour).collect())
}

/// Of luma and chroma as JPEG has them.
fn rgb(pixel: [u8; 3]) -> [u8; 3] {
    let [luma, blue, red] = pixel.map(f32::from);
    let (blue, red) = (blue - 128.0, red - 128.0);
    [
        luma + 1.402 * red,
        luma - 0.344_136 * blue - 0.714_136 * red,
        luma + 1.772 * blue,
    ]
    .map(|value| value.round() as u8)
}

/// A file that says its samples are shades of grey from black to white.
struct AsShades<'a> {
    file: Cursor<&'a [u8]>,
    /// Where it says what they are, and what it is to say.
    at: u64,
    says: [u8; 2],
}

impl<'a> AsShades<'a> {
    fn new(file: &'a [u8], tags: &Tags) -> Self {
        let says = BLACK_IS_ZERO as u16;
        Self {
            file: Cursor::new(file),
            at: tags.photometric_at,
            says: match file.first() {
                Some(b'M') => says.to_be_bytes(),
                _ => says.to_le_bytes(),
            },
        }
    }
}

impl Read for AsShades<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = self.file.position();
        let got = self.file.read(buffer)?;
        for (place, byte) in (self.at..).zip(self.says) {
            let inside = place
                .checked_sub(start)
                .and_then(|it| usize::try_from(it).ok());
            if let Some(byte_read) = inside.and_then(|it| buffer[..got].get_mut(it)) {
                *byte_read = byte;
            }
        }
        Ok(got)
    }
}

impl Seek for AsShades<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::Pixels;
    use super::super::{jpeg, tiff_tags};
    use super::*;
    use jpeg_encoder::{Encoder, SamplingFactor};

    const COMPRESSION: u16 = 259;
    const PHOTOMETRIC: u16 = 262;

    /// A little-endian or big-endian file of one strip with these (tag, kind, values) beside its size and its strip.
    fn file(
        is_big: bool,
        size: (u16, u16),
        tags: &[(u16, u16, Vec<u16>)],
        strip: &[u8],
    ) -> Vec<u8> {
        let short = |value: u16| {
            if is_big {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            }
        };
        let long = |value: u32| {
            if is_big {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            }
        };
        let mut all = tags.to_vec();
        all.extend([
            (256, 3, vec![size.0]),
            (257, 3, vec![size.1]),
            (278, 3, vec![size.1]),
        ]);
        all.extend([(273, 4, vec![0]), (279, 4, vec![0])]);
        all.sort();
        let mut bytes = if is_big {
            b"MM\0*".to_vec()
        } else {
            b"II*\0".to_vec()
        };
        bytes.extend(long(8));
        bytes.extend(short(all.len() as u16));
        let beside = 8 + 2 + 12 * all.len() as u32 + 4;
        let mut long_values = Vec::new();
        let strip_at = |values: &Vec<u8>| beside + values.len() as u32;
        let all_values: usize = all
            .iter()
            .map(|(_, _, values)| values.len() * 2)
            .filter(|it| *it > 4)
            .sum();
        for (tag, kind, values) in &all {
            bytes.extend(short(*tag));
            bytes.extend(short(*kind));
            bytes.extend(long(values.len() as u32));
            match tag {
                273 => bytes.extend(long(beside + all_values as u32)),
                279 => bytes.extend(long(strip.len() as u32)),
                _ if values.len() > 2 => {
                    bytes.extend(long(strip_at(&long_values)));
                    long_values.extend(values.iter().flat_map(|value| short(*value)));
                }
                _ => {
                    let mut value: Vec<u8> =
                        values.iter().flat_map(|value| short(*value)).collect();
                    value.resize(4, 0);
                    bytes.extend(value);
                }
            }
        }
        bytes.extend(long(0));
        bytes.extend(long_values);
        bytes.extend(strip);
        bytes
    }

    fn made(original: &[u8]) -> Result<Vec<u8>, String> {
        let tags = tiff_tags::read(&mut Cursor::new(original));
        let kind = kind(&tags).ok_or("another kind")?;
        let picture = picture(original, &tags, kind, &Limits::default());
        match picture.map_err(|error| error.to_string())?.pixels {
            Pixels::Rgb(bytes) => Ok(bytes),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn indices_of_any_bits_are_looked_up_in_the_table_of_the_file() {
        for (bits, row) in [
            (1_u8, vec![0b0110_0000_u8]),
            (2, vec![0b0001_0100]),
            (4, vec![0x01, 0x10]),
            (8, vec![0, 1, 1, 0]),
        ] {
            let length = 1 << bits;
            // Two colours, red first, then of sixteen bits each.
            let mut map = vec![0_u16; 3 * length];
            (map[0], map[1]) = (0xff00, 0x1234);
            (map[length + 1], map[2 * length + 1]) = (0x8000, 0xffff);
            let tags = [
                (258, 3, vec![bits.into()]),
                (PHOTOMETRIC, 3, vec![3]),
                (320, 3, map),
            ];
            for is_big in [false, true] {
                let original = file(is_big, (4, 1), &tags, &row);
                let (red, other) = ([0xff, 0, 0], [0x12, 0x80, 0xff]);
                assert_eq!(
                    made(&original).unwrap(),
                    [red, other, other, red].concat(),
                    "{bits}"
                );
            }
        }
    }

    #[test]
    fn shades_of_few_bits_go_from_black_to_white_or_the_other_way_round() {
        let tags = |says| [(258, 3, vec![4]), (PHOTOMETRIC, 3, vec![says])];
        let row = [0x0f, 0x30];
        let shades = |says| made(&file(false, (3, 1), &tags(says), &row)).unwrap();
        assert_eq!(shades(1), [[0; 3], [255; 3], [51; 3]].concat());
        assert_eq!(shades(0), [[255; 3], [0; 3], [204; 3]].concat());
    }

    #[test]
    fn luma_and_chroma_of_jpeg_become_colours() {
        let (width, height) = (32, 16);
        let colour = [200, 60, 30];
        let pixels = colour.repeat(width * height);
        for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_2] {
            let mut strip = Vec::new();
            let mut encoder = Encoder::new(&mut strip, 95);
            encoder.set_sampling_factor(sampling);
            let (w, h) = (width as u16, height as u16);
            encoder
                .encode(&pixels, w, h, jpeg_encoder::ColorType::Rgb)
                .unwrap();
            assert!(jpeg::channels(&strip) == Some(3));
            let tags = [
                (258, 3, vec![8, 8, 8]),
                (COMPRESSION, 3, vec![7]),
                (PHOTOMETRIC, 3, vec![6]),
                (277, 3, vec![3]),
            ];
            let made = made(&file(false, (w, h), &tags, &strip)).unwrap();
            assert_eq!(made.len(), pixels.len());
            let worst = made.iter().zip(&pixels).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(worst < Some(6), "{worst:?}");
        }
    }

    #[test]
    fn a_table_that_is_short_and_rows_that_are_missing_are_errors() {
        let tags = [
            (258, 3, vec![8]),
            (PHOTOMETRIC, 3, vec![3]),
            (320, 3, vec![7; 30]),
        ];
        assert!(
            made(&file(false, (2, 1), &tags, &[0, 1]))
                .unwrap_err()
                .contains("table")
        );
        let tags = [
            (258, 3, vec![8]),
            (PHOTOMETRIC, 3, vec![3]),
            (320, 3, vec![7; 768]),
        ];
        let whole = file(false, (40, 10), &tags, &[3; 400]);
        assert!(made(&whole).is_ok());
        assert!(made(&whole[..whole.len() - 300]).is_err());
        for length in 0..whole.len() {
            let _no_panic = made(&whole[..length]);
        }
    }
}
