//! Luma and chroma apart, as JPEG and WebP hold them: full range, by ITU-R BT.601, chroma usually at half the size.

use super::codec::wide::{Work, widest};
use super::geometry::Size;

/// Samples of one channel, row by row without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plane {
    pub(super) size: Size,
    pub(super) samples: Vec<u8>,
}

impl Plane {
    /// A plane of one value.
    pub(super) fn of(size: Size, value: u8) -> Self {
        let samples = vec![value; size.width as usize * size.height as usize];
        Self { size, samples }
    }
}

/// Luma, then blue and red chroma of one size, at most luma's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planes {
    pub(super) luma: Plane,
    pub(super) chroma: [Plane; 2],
}

/// Chroma of a picture without colour.
pub(super) const GREY: u8 = 128;

/// The size of chroma in renditions: half of both sides, rounded up.
pub(super) const fn halved(size: Size) -> Size {
    Size::new(size.width.div_ceil(2), size.height.div_ceil(2))
}

impl Planes {
    /// With chroma as it comes back from being spread over the pixels and halved again, where it is stored halved.
    ///
    /// Half of each spread sample is a quarter of its neighbour's, so an eighth of both neighbours stays.
    pub(super) fn softened(self) -> Self {
        let (is_narrow, is_low) = (
            self.chroma[0].size.width < self.luma.size.width,
            self.chroma[0].size.height < self.luma.size.height,
        );
        let soften = |mut plane: Plane| {
            let width = plane.size.width as usize;
            if is_narrow {
                let rows = plane.samples.chunks_exact(width);
                plane.samples = rows.flat_map(|row| soft(row, 1)).collect();
            }
            if is_low {
                plane.samples = soft(&plane.samples, width);
            }
            plane
        };
        Self {
            luma: self.luma,
            chroma: self.chroma.map(soften),
        }
    }

    /// From rows of RGB, each chroma sample being that of the mean of four pixels.
    pub(super) fn of_rgb(size: Size, rgb: &[u8]) -> Self {
        let plane = |size| Plane::of(size, 0);
        let mut planes = Self {
            luma: plane(size),
            chroma: [plane(halved(size)), plane(halved(size))],
        };
        widest(FromRgb {
            rgb,
            planes: &mut planes,
        });
        planes
    }

    /// As rows of RGB, halved chroma spread so that each pixel has most of the nearer sample and some of the next.
    pub(super) fn to_rgb(&self) -> Vec<u8> {
        widest(ToRgb(self))
    }

    /// The same in the range that WebP and video have: luma from 16 to 235, chroma from 16 to 240.
    pub(super) fn limited(&self) -> Self {
        let plane = |plane: &Plane, (range, low)| Plane {
            size: plane.size,
            samples: widest(Squeezing {
                samples: &plane.samples,
                range,
                low,
            }),
        };
        let chroma = |of: &Plane| plane(of, (224, 16));
        Self {
            luma: plane(&self.luma, (219, 16)),
            chroma: self.chroma.each_ref().map(chroma),
        }
    }

    /// Whether chroma has the size that renditions have it in.
    pub(super) fn is_halved(&self) -> bool {
        self.chroma[0].size == halved(self.luma.size)
    }
}

/// Six parts of each sample and one of those `step` before and after; at an end the sample itself stands for what is missing.
fn soft(samples: &[u8], step: usize) -> Vec<u8> {
    let at = |index: usize| samples.get(index).map(|sample| u32::from(*sample));
    let one = |(index, sample): (usize, &u8)| {
        let sample = u32::from(*sample);
        let before = index.checked_sub(step).and_then(at).unwrap_or(sample);
        let after = at(index + step).unwrap_or(sample);
        ((before + 6 * sample + after + 4) >> 3) as u8
    };
    samples.iter().enumerate().map(one).collect()
}

/// Maps 0 to 255 onto `low` and the `range` above it.
struct Squeezing<'a> {
    samples: &'a [u8],
    range: u32,
    low: u32,
}

impl Work for Squeezing<'_> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn run(self) -> Vec<u8> {
        // Division by 255 as a product, exact for what two bytes make; 32,768 is the half that rounds.
        let factor = (self.range * 65_536).div_ceil(255);
        let offset = self.low * 65_536 + 32_768;
        let squeezed = |sample: &u8| ((u32::from(*sample) * factor + offset) >> 16) as u8;
        self.samples.iter().map(squeezed).collect()
    }
}

struct ToRgb<'a>(&'a Planes);

impl Work for ToRgb<'_> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn run(self) -> Vec<u8> {
        let Planes { luma, chroma } = self.0;
        let width = luma.size.width as usize;
        let mut rgb = Vec::with_capacity(luma.samples.len() * 3);
        let [mut blues, mut reds] = [vec![0; width], vec![0; width]];
        for (y, luma_row) in luma.samples.chunks_exact(width).enumerate() {
            spread(&chroma[0], luma.size, y, &mut blues);
            spread(&chroma[1], luma.size, y, &mut reds);
            for ((luma, blue), red) in luma_row.iter().zip(&blues).zip(&reds) {
                let luma = (i32::from(*luma) << 16) + 32_768;
                let (blue, red) = (blue - 128 * 16, red - 128 * 16);
                // Chroma comes times 16, so the factors are of 4,096: 1.402, 0.344, 0.714 and 1.772.
                let channels = [
                    luma + 5_743 * red,
                    luma - 1_410 * blue - 2_925 * red,
                    luma + 7_258 * blue,
                ];
                rgb.extend(channels.map(|channel| (channel >> 16).clamp(0, 255) as u8));
            }
        }
        rgb
    }
}

/// One row of chroma for luma's row `y`, times 16.
#[inline(always)]
fn spread(plane: &Plane, luma: Size, y: usize, row: &mut [i32]) {
    let (width, height) = (plane.size.width as usize, plane.size.height as usize);
    // The sample itself and the next one on the side that a place of an even or odd number is nearer to.
    let near = |at: usize, side: usize, is_halved: bool| {
        let (own, next) = match (is_halved, at % 2) {
            (false, _) => (at, at),
            (true, 0) => (at / 2, (at / 2).saturating_sub(1)),
            (true, _) => (at / 2, at / 2 + 1),
        };
        (own.min(side - 1), next.min(side - 1))
    };
    let (is_narrow, is_low) = (
        plane.size.width < luma.width,
        plane.size.height < luma.height,
    );
    let (upper, lower) = near(y, height, is_low);
    let (upper, lower) = (
        &plane.samples[upper * width..][..width],
        &plane.samples[lower * width..][..width],
    );
    let mixed = |at: usize| 3 * i32::from(upper[at]) + i32::from(lower[at]);
    for (x, place) in row.iter_mut().enumerate() {
        let (own, next) = near(x, width, is_narrow);
        *place = 3 * mixed(own) + mixed(next);
    }
}

struct FromRgb<'a> {
    rgb: &'a [u8],
    planes: &'a mut Planes,
}

/// Parts of red, green and blue in luma and both chromas, of 65,536 (ITU-R BT.601, full range as in JFIF).
const LUMA: [i32; 3] = [19_595, 38_470, 7_471];
const BLUE: [i32; 3] = [-11_059, -21_709, 32_768];
const RED: [i32; 3] = [32_768, -27_439, -5_329];

#[inline(always)]
fn weighted(pixel: [i32; 3], weights: [i32; 3]) -> i32 {
    pixel[0] * weights[0] + pixel[1] * weights[1] + pixel[2] * weights[2]
}

impl Work for FromRgb<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Planes {
            luma,
            chroma: [blue, red],
        } = self.planes;
        let (width, half) = (luma.size.width as usize, blue.size.width as usize);
        let (pixels, _) = self.rgb.as_chunks::<3>();
        for (luma, pixel) in luma.samples.iter_mut().zip(pixels) {
            *luma = ((weighted(pixel.map(i32::from), LUMA) + 32_768) >> 16) as u8;
        }
        let pairs = pixels.chunks(width * 2);
        let rows = blue
            .samples
            .chunks_exact_mut(half)
            .zip(red.samples.chunks_exact_mut(half));
        for (pair, (blue, red)) in pairs.zip(rows) {
            let (upper, lower) = pair.split_at(width);
            // The last row of an odd number stands for both.
            let lower = if lower.is_empty() { upper } else { lower };
            for (at, (blue, red)) in blue.iter_mut().zip(red).enumerate() {
                let (left, right) = (at * 2, (at * 2 + 1).min(width - 1));
                let four = [upper[left], upper[right], lower[left], lower[right]];
                let sum = std::array::from_fn(|channel| {
                    four.iter().map(|pixel| i32::from(pixel[channel])).sum()
                });
                // Four times 65,536 is 18 bits.
                let chroma = |weights| {
                    ((weighted(sum, weights) + (128 << 18) + (1 << 17)) >> 18).min(255) as u8
                };
                (*blue, *red) = (chroma(BLUE), chroma(RED));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_what_jfif_says() {
        for rgb in [
            [0, 0, 0],
            [255, 255, 255],
            [255, 0, 0],
            [0, 0, 255],
            [0, 255, 0],
            [12, 200, 99],
        ] {
            let [r, g, b] = rgb.map(f64::from);
            let planes = Planes::of_rgb(Size::new(3, 3), &rgb.repeat(9));
            assert!(planes.is_halved());
            let near = |plane: &Plane, exact: f64| {
                plane
                    .samples
                    .iter()
                    .all(|sample| (f64::from(*sample) - exact).abs() <= 0.51)
            };
            assert!(near(&planes.luma, 0.299 * r + 0.587 * g + 0.114 * b));
            let blue = 128.0 - 0.168_736 * r - 0.331_264 * g + 0.5 * b;
            let red = 128.0 + 0.5 * r - 0.418_688 * g - 0.081_312 * b;
            // The ends of the range, 255.5, are cut to a byte.
            assert!(near(&planes.chroma[0], blue.min(255.0)), "{rgb:?}");
            assert!(near(&planes.chroma[1], red.min(255.0)), "{rgb:?}");
        }
    }

    #[test]
    fn pixels_come_back_where_colours_are_even() {
        for rgb in [
            [0, 0, 0],
            [255, 255, 255],
            [200, 30, 40],
            [12, 200, 99],
            [60, 60, 220],
        ] {
            let there = rgb.repeat(5 * 3);
            let back = Planes::of_rgb(Size::new(5, 3), &there).to_rgb();
            assert!(
                there.iter().zip(&back).all(|(a, b)| a.abs_diff(*b) <= 2),
                "{rgb:?}: {:?}",
                &back[..3]
            );
        }
    }

    #[test]
    fn halved_chroma_is_spread_softly() {
        let size = Size::new(4, 1);
        let chroma = |samples: [u8; 2]| Plane {
            size: Size::new(2, 1),
            samples: samples.to_vec(),
        };
        let planes = Planes {
            luma: Plane::of(size, 100),
            chroma: [chroma([128, 128]), chroma([128, 168])],
        };
        let reds: Vec<_> = planes.to_rgb().chunks(3).map(|pixel| pixel[0]).collect();
        // 1.402 times 0, 10, 30 and 40 above the luma.
        assert_eq!(reds, [100, 114, 142, 156]);
    }

    #[test]
    fn chroma_is_the_mean_of_four_and_edges_stand_for_what_is_missing() {
        let blue_then_black: Vec<u8> = [[0, 0, 255], [0, 0, 0], [0, 0, 255]].concat();
        let planes = Planes::of_rgb(Size::new(3, 1), &blue_then_black);
        assert_eq!(planes.chroma[0].samples, [192, 255]);
    }

    #[test]
    fn softening_mixes_neighbours_only_where_chroma_is_stored_halved() {
        let chroma = |size: Size| Plane {
            size,
            samples: (0..size.width * size.height)
                .map(|at| (at * 80 % 251) as u8)
                .collect(),
        };
        let of = |size: Size| Planes {
            luma: Plane::of(Size::new(4, 4), 9),
            chroma: [chroma(size), chroma(size)],
        };
        let whole = of(Size::new(4, 4));
        assert_eq!(whole.clone().softened(), whole);
        // 0 80 160 240: an eighth of each neighbour, the ends standing for what is missing.
        let narrow = of(Size::new(2, 4)).softened();
        assert_eq!(narrow.chroma[0].samples[..2], [10, 70]);
        let low = of(Size::new(4, 1)).softened();
        assert_eq!(low.chroma[0].samples, [0, 80, 160, 240]);
        let both = of(Size::new(2, 2)).softened();
        assert_eq!(both.chroma[0].samples, [30, 90, 150, 210]);
    }

    #[test]
    fn the_limited_range_is_rounded_to_the_nearest() {
        let size = Size::new(256, 1);
        let ramp = Plane {
            size,
            samples: (0..=255).collect(),
        };
        let planes = Planes {
            luma: ramp.clone(),
            chroma: [ramp.clone(), ramp],
        };
        let limited = planes.limited();
        for (full, (luma, chroma)) in limited
            .luma
            .samples
            .iter()
            .zip(&limited.chroma[0].samples)
            .enumerate()
        {
            let exact = |range: f64| (16.0 + full as f64 * range / 255.0).round() as u8;
            assert_eq!((*luma, *chroma), (exact(219.0), exact(224.0)));
        }
    }
}
