//! Planes to a JPEG: baseline, one scan, chroma halved, codes made for the picture.

use super::ZIGZAG;
use super::bits::Writer;
use super::dct::{Block, to_coefficients};
use super::huffman::Coding;
use crate::media::codec::wide::{Work, array, widest};
use crate::media::planes::{Plane, Planes};

/// Quantisers of the standard at quality 50, row by row (ITU-T T.81, annex K.1).
const LUMA: [u16; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113,
    92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];
const CHROMA: [u16; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
];

/// Why planes are not written.
#[derive(Debug, thiserror::Error)]
pub(in crate::media) enum Error {
    /// Larger than the format can say.
    #[error("picture of {width}x{height}, and JPEG sides are at most 65535")]
    Dimension { width: u32, height: u32 },
}

/// Writes `planes`, whose chroma is halved, at a quality of 1 to 100 as everybody's JPEG writers count it.
pub(in crate::media) fn encode(planes: &Planes, quality: u8) -> Result<Vec<u8>, Error> {
    let size = planes.luma.size;
    let side = |side: u32| u16::try_from(side).ok().map(u16::to_be_bytes);
    let (width, height) = side(size.width)
        .zip(side(size.height))
        .ok_or(Error::Dimension {
            width: size.width,
            height: size.height,
        })?;
    debug_assert!(planes.is_halved());
    let quantisers = [at_quality(&LUMA, quality), at_quality(&CHROMA, quality)];
    let mut stored = Stored::default();
    widest(Transforming {
        planes,
        quantisers: &quantisers,
        stored: &mut stored,
    });
    let tables = stored.often.each_ref().map(Coding::shortest);

    let mut out = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0".to_vec();
    for (which, quantisers) in (0..).zip(&quantisers) {
        let values = ZIGZAG.map(|at| u8::try_from(quantisers[usize::from(at)]).unwrap_or(u8::MAX));
        segment(&mut out, 0xdb, &[&[which], &values]);
    }
    let channels = [1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];
    segment(&mut out, 0xc0, &[&[8], &height, &width, &[3], &channels]);
    // Luma's two tables, then chroma's: 0 and 16, 1 and 17.
    for (which, table) in [0x00, 0x10, 0x01, 0x11].into_iter().zip(&tables) {
        segment(&mut out, 0xc4, &[&[which], &table.counts, &table.symbols]);
    }
    segment(&mut out, 0xda, &[&[3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0]]);
    out.reserve(stored.symbols.len());
    let mut out = widest(Writing {
        stored: &stored,
        tables: &tables,
        out,
    });
    out.extend([0xff, 0xd9]);
    Ok(out)
}

/// Notes the dots per inch in a file of ours.
pub(in crate::media) fn state_density(jpeg: &mut [u8], dots: u32) {
    let dots = u16::try_from(dots).unwrap_or(u16::MAX).to_be_bytes();
    // Unit and both densities, behind the marker, length, name and version of the first segment.
    if let Some(density) = jpeg.get_mut(13..18) {
        density.copy_from_slice(&[1, dots[0], dots[1], dots[0], dots[1]]);
    }
}

fn segment(out: &mut Vec<u8>, marker: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let length = u16::try_from(length + 2).expect("tables of known size");
    out.extend([0xff, marker]);
    out.extend(length.to_be_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Scaled to a quality, 1 to 255 each.
fn at_quality(table: &[u16; 64], quality: u8) -> [u16; 64] {
    let quality = u32::from(quality.clamp(1, 100));
    let percent = if quality < 50 {
        5000 / quality
    } else {
        200 - quality * 2
    };
    table.map(|value| {
        let scaled = (u32::from(value) * percent + 50) / 100;
        u16::try_from(scaled.clamp(1, 255)).expect("clamped")
    })
}

/// What is to be written, in its order, and how often each symbol occurs.
struct Stored {
    /// Table, symbol and the bits after it, whose number the symbol tells.
    symbols: Vec<u32>,
    /// For each of the tables: luma's means, luma's others, chroma's means, chroma's others.
    often: [Often; 4],
}

/// How often each symbol occurs.
type Often = [u32; 256];

impl Default for Stored {
    fn default() -> Self {
        Self {
            symbols: Vec::new(),
            often: [[0; 256]; 4],
        }
    }
}

impl Stored {
    #[inline(always)]
    fn push(&mut self, table: usize, symbol: u32, bits: u32) {
        self.often[table][symbol as usize & 255] += 1;
        self.symbols
            .push((table as u32) << 24 | symbol << 16 | bits);
    }
}

/// Turns samples into symbols.
struct Transforming<'a> {
    planes: &'a Planes,
    quantisers: &'a [[u16; 64]; 2],
    stored: &'a mut Stored,
}

impl Work for Transforming<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Planes {
            luma,
            chroma: [blue, red],
        } = self.planes;
        let [of_luma, of_chroma] = self.quantisers.each_ref().map(Divisors::new);
        let mut means = [0; 3];
        let (across, down) = (
            luma.size.width.div_ceil(16) as usize,
            luma.size.height.div_ceil(16) as usize,
        );
        self.stored.symbols.reserve(across * down * 24);
        for y in 0..down {
            for x in 0..across {
                for part in 0..4 {
                    let block = block(luma, x * 2 + part % 2, y * 2 + part / 2);
                    symbols(&block, &of_luma, &mut means[0], 0, self.stored);
                }
                symbols(
                    &block(blue, x, y),
                    &of_chroma,
                    &mut means[1],
                    2,
                    self.stored,
                );
                symbols(&block(red, x, y), &of_chroma, &mut means[2], 2, self.stored);
            }
        }
    }
}

/// A block less 128; beyond the edges of the plane its last samples are repeated.
#[inline(always)]
fn block(plane: &Plane, x: usize, y: usize) -> Block {
    let (width, height) = (plane.size.width as usize, plane.size.height as usize);
    let mut block = [0; 64];
    for (at, row) in block.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let line = &plane.samples[(y * 8 + at).min(height - 1) * width..][..width];
        let samples = match line.get(x * 8..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(whole) => *whole,
            None => array(|at| line[(x * 8 + at).min(width - 1)]),
        };
        *row = array(|at| i32::from(samples[at]) - 128);
    }
    block
}

/// Divides by quantisers, by multiplying.
struct Divisors {
    factors: [u32; 64],
    halves: [u32; 64],
}

/// Bits of the factors. Coefficients have 14, so the product fits 32; the quotient is off by an eighth at most.
const SHIFT: u32 = 17;

impl Divisors {
    fn new(quantisers: &[u16; 64]) -> Self {
        // The transform leaves coefficients times 8.
        let by = quantisers.map(|quantiser| u32::from(quantiser) * 8);
        Self {
            factors: by.map(|by| (1_u32 << SHIFT).div_ceil(by)),
            halves: by.map(|by| by / 2),
        }
    }

    #[inline(always)]
    fn divide(&self, block: &Block) -> [i16; 64] {
        array(|at| {
            let value = block[at];
            let magnitude = ((value.unsigned_abs() + self.halves[at]) * self.factors[at]) >> SHIFT;
            let magnitude = magnitude as i32;
            (if value < 0 { -magnitude } else { magnitude }) as i16
        })
    }
}

/// Adds the symbols of a block, whose tables are `table` and the one after.
#[inline(always)]
fn symbols(block: &Block, divisors: &Divisors, mean: &mut i32, table: usize, stored: &mut Stored) {
    let values = divisors.divide(&to_coefficients(block));
    let difference = i32::from(values[0]) - *mean;
    *mean = i32::from(values[0]);
    let (size, bits) = sized(difference);
    stored.push(table, size, bits);
    // Bit n is set where the nth coefficient in the order of writing is not 0.
    let mut left = 0_u64;
    for (at, place) in ZIGZAG.iter().enumerate().skip(1) {
        left |= u64::from(values[usize::from(*place) & 63] != 0) << at;
    }
    let mut next = 1;
    while left != 0 {
        let at = left.trailing_zeros();
        left &= left - 1;
        let mut run = at - next;
        while run > 15 {
            stored.push(table + 1, 0xf0, 0);
            run -= 16;
        }
        let (size, bits) = sized(values[usize::from(ZIGZAG[at as usize & 63]) & 63].into());
        stored.push(table + 1, run << 4 | size, bits);
        next = at + 1;
    }
    if next < 64 {
        stored.push(table + 1, 0, 0);
    }
}

/// How many bits a value takes, and these bits: one less for a negative one, and only the lowest.
#[inline(always)]
fn sized(value: i32) -> (u32, u32) {
    let size = 32 - value.unsigned_abs().leading_zeros();
    let bits = (value - i32::from(value < 0)).cast_unsigned() & ((1 << size) - 1);
    (size, bits)
}

/// Writes symbols by their codes.
struct Writing<'a> {
    stored: &'a Stored,
    tables: &'a [Coding; 4],
    out: Vec<u8>,
}

impl Work for Writing<'_> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn run(self) -> Vec<u8> {
        let mut writer = Writer::new(self.out);
        for entry in &self.stored.symbols {
            let (table, symbol, bits) = (entry >> 24, (entry >> 16) & 255, entry & 0xffff);
            let (code, length) = self.tables[table as usize & 3].codes[symbol as usize];
            // The lower half of every symbol is the number of bits after it; a mean has 12 at most.
            let size = symbol & 15;
            writer.put(u32::from(code) << size | bits, u32::from(length) + size);
        }
        writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::geometry::{Rect, Size};
    use crate::media::planes::halved;

    fn planes(bytes: &[u8]) -> Option<Planes> {
        super::super::planes(bytes, Rect::whole(Size::new(1 << 16, 1 << 16)))
    }

    fn picture(width: u32, height: u32) -> Planes {
        let plane = |size: Size, seed: u32| Plane {
            size,
            samples: (0..size.width * size.height)
                .map(|at| {
                    let (x, y) = (at % size.width, at / size.width);
                    let grain = (at * seed).wrapping_mul(2_654_435_761) >> 28;
                    ((x * 3 + y * 2) % 200 + grain) as u8
                })
                .collect(),
        };
        let size = Size::new(width, height);
        Planes {
            luma: plane(size, 3),
            chroma: [plane(halved(size), 5), plane(halved(size), 7)],
        }
    }

    #[test]
    fn planes_come_back_nearly_the_same_through_our_decoder_and_another() {
        for (width, height) in [(64, 48), (33, 17), (1, 1), (16, 250)] {
            let there = picture(width, height);
            let bytes = encode(&there, 97).unwrap();
            let back = planes(&bytes).unwrap();
            let all = |planes: &Planes| {
                [&planes.luma, &planes.chroma[0], &planes.chroma[1]]
                    .map(|plane| plane.samples.clone())
                    .concat()
            };
            let (a, b) = (all(&there), all(&back));
            assert_eq!(a.len(), b.len());
            let sum: u32 = a
                .iter()
                .zip(&b)
                .map(|(a, b)| u32::from(a.abs_diff(*b)))
                .sum();
            assert!(f64::from(sum) / (a.len() as f64) < 1.5, "{width}x{height}");
            let other = image::load_from_memory(&bytes).unwrap();
            assert_eq!((other.width(), other.height()), (width, height));
        }
    }

    #[test]
    fn extremes_and_every_quality_stay_within_the_format() {
        let mut picture = picture(40, 40);
        for (at, sample) in picture.luma.samples.iter_mut().enumerate() {
            *sample = if (at / 3 + at / 40) % 2 == 0 { 0 } else { 255 };
        }
        for quality in [1, 49, 50, 90, 100] {
            let back = planes(&encode(&picture, quality).unwrap()).unwrap();
            assert_eq!(back.luma.size, picture.luma.size);
        }
        let back = planes(&encode(&picture, 100).unwrap()).unwrap();
        let pairs = back.luma.samples.iter().zip(&picture.luma.samples);
        assert!(pairs.clone().all(|(a, b)| a.abs_diff(*b) <= 3));
    }

    #[test]
    fn a_side_too_long_is_an_error() {
        let size = Size::new(70_000, 1);
        let plane = Plane::of(size, 0);
        let chroma = Plane::of(halved(size), 0);
        let planes = Planes {
            luma: plane,
            chroma: [chroma.clone(), chroma],
        };
        assert!(encode(&planes, 55).is_err());
    }
}
