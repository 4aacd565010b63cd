//! The ordinary kind of JPEG to planes.

use std::ops::Range;

use super::bits::{AHEAD, Reader};
use super::dct::{Block, to_sample, to_samples};
use super::header::{Channel, Header, read};
use super::huffman::{Decoding, END};
use super::{ZIGZAG, walk};
use crate::media::codec::wide::{Work, widest};
use crate::media::geometry::{Rect, Size};
use crate::media::planes::{GREY, Plane, Planes, halved};

/// Ends every file.
const END_OF_IMAGE: u8 = 0xd9;

/// Most that an honest coefficient is; larger ones would not fit the arithmetic of the transform.
const LARGEST: i32 = 1 << 14;

/// Decodes `bytes` when they are of the ordinary kind and whole; otherwise `None`, whatever the reason.
///
/// Samples outside `part` may be left 0: all codes are read, and only what is needed is transformed.
pub(in crate::media) fn planes(bytes: &[u8], part: Rect) -> Option<Planes> {
    let header = read(bytes)?;
    let size = header.size?;
    let widest_unit = header.channels.iter().map(|one| one.across).max()?;
    let tallest_unit = header.channels.iter().map(|one| one.down).max()?;
    let channels = header.channels.iter().map(|one| {
        let across = blocks(part.x, part.size.width, widest_unit / one.across);
        let down = blocks(part.y, part.size.height, tallest_unit / one.down);
        Coded::new(one, &header, (across, down))
    });
    let channels = channels.collect::<Option<Vec<_>>>()?;
    let mut out: Vec<Plane> = (header.channels.iter())
        .map(|one| {
            let part = |side: u32, of: u32, most: u32| (side * of).div_ceil(most);
            let size = Size::new(
                part(size.width, one.across, widest_unit),
                part(size.height, one.down, tallest_unit),
            );
            Plane::of(size, 0)
        })
        .collect();
    let units = Size::new(
        size.width.div_ceil(8 * widest_unit),
        size.height.div_ceil(8 * tallest_unit),
    );
    let mut data = Vec::with_capacity(bytes.len() - header.data + AHEAD);
    let mut at = header.data;
    let total = units.width as usize * units.height as usize;
    let per_interval = if header.restart == 0 {
        total
    } else {
        header.restart
    };
    let mut done = 0;
    let mut restarts = 0_u8;
    while done < total {
        data.clear();
        let (marker, next) = unstuff(bytes, at, &mut data)?;
        data.extend([0; AHEAD]);
        let count = per_interval.min(total - done);
        widest(Interval {
            channels: &channels,
            out: &mut out,
            units,
            first: done,
            count,
            data: &data,
        })?;
        done += count;
        // After the last unit the picture ends; before, the next interval is announced by its number.
        let expected = if done == total {
            END_OF_IMAGE
        } else {
            0xd0 | restarts
        };
        if marker != expected {
            return None;
        }
        restarts = (restarts + 1) % 8;
        at = next;
    }
    let mut out = out.into_iter();
    let luma = out.next()?;
    let chroma = match (out.next(), out.next()) {
        (Some(blue), Some(red)) => [blue, red],
        _ => [Plane::of(halved(size), GREY), Plane::of(halved(size), GREY)],
    };
    Some(Planes { luma, chroma })
}

/// Blocks that hold `length` luma samples from `start` on, and the one beside them, of a channel with one sample for `each`.
fn blocks(start: u32, length: u32, each: u32) -> Range<usize> {
    let side = each * 8;
    let first = start.saturating_sub(side) / side;
    let end = (start + length + side).div_ceil(side);
    first as usize..end as usize
}

/// Appends the data at `at` without its stuffing; the marker that ends it and where that one ends.
///
/// The end of the file is as the marker of the end: some writers leave that out, and whether data is missing shows in the data.
fn unstuff(bytes: &[u8], mut at: usize, data: &mut Vec<u8>) -> Option<(u8, usize)> {
    loop {
        let rest = bytes.get(at..)?;
        let end = memchr::memchr(0xff, rest).unwrap_or(rest.len());
        let Some(next) = rest.get(end + 1) else {
            data.extend_from_slice(&rest[..end]);
            return Some((END_OF_IMAGE, bytes.len()));
        };
        match next {
            0 => {
                data.extend_from_slice(&rest[..=end]);
                at += end + 2;
            }
            _ => {
                data.extend_from_slice(&rest[..end]);
                let (marker, _, next) = walk::segment(bytes, at + end)?;
                return Some((marker, next));
            }
        }
    }
}

/// A channel with its tables looked up.
struct Coded<'a> {
    across: usize,
    down: usize,
    dc: &'a Decoding,
    ac: &'a Decoding,
    /// What each coefficient is multiplied by, row by row.
    steps: Block,
    /// Columns and rows of blocks that are needed.
    needed: (Range<usize>, Range<usize>),
}

impl<'a> Coded<'a> {
    fn new(
        channel: &Channel,
        header: &'a Header,
        needed: (Range<usize>, Range<usize>),
    ) -> Option<Self> {
        let quantisers = header.quantisers.get(channel.quantisers)?.as_ref()?;
        let mut steps = [0; 64];
        for (place, step) in ZIGZAG.iter().zip(quantisers) {
            steps[usize::from(*place)] = *step;
        }
        Some(Self {
            across: channel.across as usize,
            down: channel.down as usize,
            dc: header.dc.get(channel.dc)?.as_ref()?,
            ac: header.ac.get(channel.ac)?.as_ref()?,
            steps,
            needed,
        })
    }
}

/// Units between two markers.
struct Interval<'a> {
    channels: &'a [Coded<'a>],
    out: &'a mut [Plane],
    /// Units of the picture across and down.
    units: Size,
    first: usize,
    count: usize,
    /// Free of stuffing, with [`AHEAD`] zeros behind it.
    data: &'a [u8],
}

impl Work for Interval<'_> {
    type Output = Option<()>;

    #[inline(always)]
    fn run(self) -> Option<()> {
        let mut bits = Reader::new(self.data);
        let mut means = [0_i32; 4];
        let across = self.units.width as usize;
        for unit in self.first..self.first + self.count {
            let (row, column) = (unit / across, unit % across);
            for (at, channel) in self.channels.iter().enumerate() {
                let (plane, mean) = (&mut self.out[at], &mut means[at & 3]);
                for down in 0..channel.down {
                    for right in 0..channel.across {
                        let (x, y) = (column * channel.across + right, row * channel.down + down);
                        let mut block: Block = [0; 64];
                        let last = coefficients(&mut bits, channel, mean, &mut block)?;
                        if channel.needed.0.contains(&x) && channel.needed.1.contains(&y) {
                            let block = scaled(&block, &channel.steps);
                            write(&block, last, plane, x * 8, y * 8);
                        }
                    }
                }
            }
            if bits.is_over() {
                return None;
            }
        }
        Some(())
    }
}

/// Reads one block as it is stored; how far it goes in the order of writing.
#[inline(always)]
fn coefficients(
    bits: &mut Reader<'_>,
    channel: &Coded<'_>,
    mean: &mut i32,
    block: &mut Block,
) -> Option<usize> {
    bits.fill();
    let size = u32::from(channel.dc.symbol(bits)?);
    match size {
        0 => {}
        1..=11 => *mean = mean.wrapping_add(bits.signed(size)),
        _ => return None,
    }
    block[0] = *mean;
    let (mut at, mut last) = (1, 0);
    while at < 64 {
        bits.fill();
        let (run, value) = channel.ac.coefficient(bits)?;
        if run == END {
            return Some(last);
        }
        at += usize::from(run);
        block[usize::from(PLACES[at & 127] & 63)] = value;
        last = at;
        at += 1;
    }
    // A run may lead beyond the end, of a broken file.
    (last < 64).then_some(last)
}

/// Where coefficients lie, and somewhere for what comes after the last.
const PLACES: [u8; 128] = {
    let mut places = [63; 128];
    let mut at = 0;
    while at < 64 {
        places[at] = ZIGZAG[at];
        at += 1;
    }
    places
};

/// Coefficients times their steps.
#[inline(always)]
fn scaled(block: &Block, steps: &Block) -> Block {
    let mut scaled = *block;
    for (value, step) in scaled.iter_mut().zip(steps) {
        *value = value.wrapping_mul(*step).clamp(-LARGEST, LARGEST);
    }
    scaled
}

/// Puts the samples of a block where they belong; what lies outside the picture is left out.
#[inline(always)]
fn write(block: &Block, last: usize, plane: &mut Plane, x: usize, y: usize) {
    let (width, height) = (plane.size.width as usize, plane.size.height as usize);
    let Some(room) = width.checked_sub(x).filter(|room| *room > 0) else {
        return;
    };
    let samples = match last {
        0 => [[to_sample(block[0]); 8]; 8],
        _ => to_samples(block),
    };
    for (line, samples) in samples[..height.saturating_sub(y).min(8)]
        .iter()
        .enumerate()
    {
        let row = &mut plane.samples[(y + line) * width..][..width][x..];
        match row.first_chunk_mut::<8>() {
            Some(whole) => *whole = *samples,
            None => row.copy_from_slice(&samples[..room]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::planes as planes_of;
    use super::*;
    use image::ImageDecoder;
    use image::codecs::jpeg::JpegDecoder;
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
    use proptest::prelude::*;
    use std::io::Cursor;

    const WHOLE: Rect = Rect::whole(Size::new(1 << 16, 1 << 16));

    fn planes(bytes: &[u8]) -> Option<Planes> {
        planes_of(bytes, WHOLE)
    }

    #[test]
    fn a_part_is_what_it_is_in_the_whole() {
        let bytes = encoded((200, 150), ColorType::Rgb, |encoder| {
            encoder.set_sampling_factor(SamplingFactor::F_2_2);
        });
        let whole = planes(&bytes).unwrap();
        let part = Rect {
            x: 61,
            y: 47,
            size: Size::new(40, 30),
        };
        let seen = planes_of(&bytes, part).unwrap();
        let rows = |plane: &Plane, scale: usize| {
            let width = plane.size.width as usize;
            let lines = plane
                .samples
                .chunks(width)
                .skip(47 / scale)
                .take(30 / scale);
            lines
                .map(|line| line[61 / scale..101 / scale].to_vec())
                .collect::<Vec<_>>()
        };
        assert_eq!(rows(&seen.luma, 1), rows(&whole.luma, 1));
        assert_eq!(rows(&seen.chroma[1], 2), rows(&whole.chroma[1], 2));
        assert!(
            seen.luma.samples[..200 * 20]
                .iter()
                .all(|sample| *sample == 0)
        );
    }

    /// Soft shapes with some grain, so that blocks hold few and many coefficients.
    fn shapes(width: u16, height: u16) -> Vec<u8> {
        let mut seed = 7_u32;
        let grain = move || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 28) as f32
        };
        let mut grain = grain;
        let mut bytes = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let (x, y) = (f32::from(x), f32::from(y));
                let wave = |f: f32| 120.0 + 90.0 * (x / f).sin() * (y / (f + 3.0)).cos();
                bytes.extend(
                    [wave(17.0), wave(29.0), wave(41.0)].map(|value| (value + grain()) as u8),
                );
            }
        }
        bytes
    }

    fn encoded(
        (width, height): (u16, u16),
        color: ColorType,
        change: impl Fn(&mut Encoder<&mut Vec<u8>>),
    ) -> Vec<u8> {
        let mut pixels = shapes(width, height);
        if color == ColorType::Luma {
            pixels.truncate(usize::from(width) * usize::from(height));
        }
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 88);
        change(&mut encoder);
        encoder.encode(&pixels, width, height, color).unwrap();
        bytes
    }

    /// Luma by the general decoder.
    fn expected(bytes: &[u8]) -> Vec<u8> {
        let decoder = JpegDecoder::new(Cursor::new(bytes)).unwrap();
        let mut pixels = vec![0; decoder.total_bytes() as usize];
        let is_grey = decoder.color_type() == image::ColorType::L8;
        decoder.read_image(&mut pixels).unwrap();
        if is_grey {
            return pixels;
        }
        let (pixels, _) = pixels.as_chunks::<3>();
        let luma = |[r, g, b]: &[u8; 3]| {
            (f64::from(*r) * 0.299 + f64::from(*g) * 0.587 + f64::from(*b) * 0.114).round() as u8
        };
        pixels.iter().map(luma).collect()
    }

    #[track_caller]
    fn assert_decoded(bytes: &[u8], size: (u16, u16), chroma: (u32, u32)) {
        let planes = planes(bytes).expect("an ordinary file");
        assert_eq!(planes.luma.size, Size::new(size.0.into(), size.1.into()));
        assert_eq!(planes.chroma[0].size, Size::new(chroma.0, chroma.1));
        assert_eq!(planes.chroma[1].size, planes.chroma[0].size);
        let expected = expected(bytes);
        let differences = planes
            .luma
            .samples
            .iter()
            .zip(&expected)
            .map(|(a, b)| a.abs_diff(*b));
        let sum: u64 = differences.clone().map(u64::from).sum();
        // The general decoder's went through RGB, where colours outside are cut off.
        assert!(sum as f64 / (expected.len() as f64) < 0.6);
        assert!(differences.filter(|difference| *difference > 12).count() * 100 < expected.len());
    }

    #[test]
    fn every_ordinary_layout_is_decoded_as_the_general_decoder_does() {
        for (width, height) in [(64, 48), (65, 47), (1, 1), (7, 40), (200, 9)] {
            let half = |side: u16| u32::from(side.div_ceil(2));
            let whole = (u32::from(width), u32::from(height));
            for (sampling, chroma) in [
                (SamplingFactor::F_1_1, whole),
                (SamplingFactor::F_2_1, (half(width), whole.1)),
                (SamplingFactor::F_1_2, (whole.0, half(height))),
                (SamplingFactor::F_2_2, (half(width), half(height))),
            ] {
                for restarts in [0, 1, 5] {
                    let bytes = encoded((width, height), ColorType::Rgb, |encoder| {
                        encoder.set_sampling_factor(sampling);
                        if restarts > 0 {
                            encoder.set_restart_interval(restarts);
                        }
                    });
                    assert_decoded(&bytes, (width, height), chroma);
                }
            }
            let grey = encoded((width, height), ColorType::Luma, |_| {});
            assert_decoded(&grey, (width, height), (half(width), half(height)));
        }
    }

    #[test]
    fn other_kinds_are_left_to_the_general_decoder() {
        let progressive = encoded((64, 48), ColorType::Rgb, |encoder| {
            encoder.set_progressive(true)
        });
        assert_eq!(planes(&progressive), None);
        let separate = encoded((64, 48), ColorType::Rgb, |encoder| {
            encoder.set_optimized_huffman_tables(true);
        });
        assert_eq!(planes(&separate), None);
        let mut cmyk = Vec::new();
        let encoder = Encoder::new(&mut cmyk, 90);
        encoder
            .encode(&shapes(64, 48)[..64 * 4 * 16], 64, 16, ColorType::Cmyk)
            .unwrap();
        assert_eq!(planes(&cmyk), None);
    }

    #[test]
    fn a_file_cut_short_anywhere_is_left_to_the_general_decoder() {
        let bytes = encoded((40, 40), ColorType::Rgb, |encoder| {
            encoder.set_restart_interval(3)
        });
        let whole = planes(&bytes);
        assert!(whole.is_some());
        let data_ends = bytes.len() - 2;
        for length in 0..data_ends {
            assert_eq!(planes(&bytes[..length]), None, "{length}");
        }
        // Nothing but the marker of the end is missing, or the half of it.
        for length in data_ends..bytes.len() {
            assert_eq!(planes(&bytes[..length]), whole, "{length}");
        }
    }

    #[test]
    fn channels_of_a_jfif_file_are_luma_and_chroma_whatever_else_it_says() {
        let bytes = encoded((40, 40), ColorType::Rgb, |_| {});
        assert_eq!(&bytes[6..11], b"JFIF\0");
        let adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0";
        let after = 4 + usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
        let as_jfif = [&bytes[..after], adobe, &bytes[after..]].concat();
        assert_eq!(planes(&as_jfif), planes(&bytes));
        assert!(planes(&bytes).is_some());
        // Without the claim Adobe's holds: red, green and blue, for the general decoder.
        assert_eq!(
            planes(&[b"\xff\xd8", &adobe[..], &bytes[after..]].concat()),
            None
        );
    }

    #[test]
    fn data_that_ends_before_its_units_is_not_taken_for_whole() {
        let bytes = encoded((64, 64), ColorType::Rgb, |_| {});
        let cut = [&bytes[..bytes.len() - 60], b"\xff\xd9"].concat();
        assert_eq!(planes(&cut), None);
    }

    proptest! {
        #[test]
        fn no_damage_is_a_panic(changes in prop::collection::vec((0_usize..3000, any::<u8>()), 1..6), is_restarted: bool) {
            let mut bytes = encoded((48, 40), ColorType::Rgb, |encoder| {
                if is_restarted {
                    encoder.set_restart_interval(2);
                }
            });
            for (at, value) in changes {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            // Damage may also ask for a size it has no data for; that costs nothing but memory here.
            if walk::dimensions(&mut Cursor::new(&bytes)).ok().flatten().is_some_and(|(w, h)| w * h < 1 << 22) {
                planes(&bytes);
            }
        }
    }
}
