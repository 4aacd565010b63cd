//! Turning by any angle, as EMDB's converter does: the canvas grows until the whole picture lies on it, the corners are filled
//! (media spec 3.1, item 7).
//!
//! Each pixel is a mean of those within two pixels of the place it comes from, weighted by the same cubic of their distance that the
//! converter uses; what lies beside the picture counts as the fill.

use super::geometry::Size;
use super::picture::{Picture, Pixels, Rgb};

/// The cubic's two parameters.
const B: f64 = 0.378_215_755_094;
const C: f64 = 0.310_892_122_453;
/// Pixels beyond this distance have no say.
const RADIUS: f64 = 2.0;
/// Weights are looked up by the square of the distance, in so many steps.
const STEPS: usize = 4096;

/// The size of a picture that is turned by `degrees`.
pub(super) fn turned_size(size: Size, degrees: i64) -> Size {
    Turn::of(size, degrees).canvas
}

/// `picture` turned clockwise by `degrees`, on `fill` or, without one, on nothing.
pub(super) fn turned(picture: Picture, degrees: i64, fill: Option<Rgb>) -> Picture {
    let turn = Turn::of(picture.size, degrees);
    let weights = weights();
    match (picture.pixels.into_pixels(), fill) {
        (Pixels::Rgb(bytes), Some(fill)) => {
            let source = Source::<3> {
                bytes: &bytes,
                size: picture.size,
                fill,
            };
            let mut pixels = Vec::with_capacity(turn.canvas.pixels() * 3);
            turn.each(|at| {
                let [r, g, b, weight] = source.sum(at, &weights, |[r, g, b]| [r, g, b, 1.0]);
                pixels.extend([r, g, b].map(|sum| byte(sum / weight)));
            });
            Picture::rgb(turn.canvas, pixels)
        }
        (pixels, fill) => {
            let source = Source::<4> {
                bytes: &pixels.into_rgba(),
                size: picture.size,
                fill: fill.map_or([0; 4], |[r, g, b]| [r, g, b, u8::MAX]),
            };
            let mut pixels = Vec::with_capacity(turn.canvas.pixels() * 4);
            turn.each(|at| {
                // Colours count as far as they are seen.
                let seen =
                    |[r, g, b, alpha]: [f64; 4]| [r * alpha, g * alpha, b * alpha, alpha, 1.0];
                let [r, g, b, alpha, weight] = source.sum(at, &weights, seen);
                let colour = |sum: f64| if alpha > 0.0 { byte(sum / alpha) } else { 0 };
                pixels.extend([colour(r), colour(g), colour(b), byte(alpha / weight)]);
            });
            Picture::rgba(turn.canvas, pixels)
        }
    }
}

fn byte(value: f64) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

/// Where the pixels of a turned picture come from.
struct Turn {
    sin: f64,
    cos: f64,
    /// The middle, around which it is turned.
    middle: (f64, f64),
    /// Where the canvas begins.
    left: f64,
    top: f64,
    canvas: Size,
}

impl Turn {
    fn of(size: Size, degrees: i64) -> Self {
        let (sin, cos) = (degrees as f64).to_radians().sin_cos();
        let (width, height) = (f64::from(size.width), f64::from(size.height));
        let middle = (width / 2.0, height / 2.0);
        let reach = |a: f64, b: f64| (width * a.abs() + height * b.abs()) / 2.0;
        let side = |middle: f64, reach: f64| {
            // As the converter rounds it: outwards, by half a pixel more.
            let start = (middle - reach - 0.5).floor();
            (start, (middle + reach - start + 0.5).ceil() as u32)
        };
        let (left, wide) = side(middle.0, reach(cos, sin));
        let (top, high) = side(middle.1, reach(sin, cos));
        Self {
            sin,
            cos,
            middle,
            left,
            top,
            canvas: Size::new(wide, high),
        }
    }

    /// Calls `make` with the place that each pixel of the canvas comes from, row by row.
    fn each(&self, mut make: impl FnMut((f64, f64))) {
        for row in 0..self.canvas.height {
            for column in 0..self.canvas.width {
                let x = self.left + f64::from(column) + 0.5 - self.middle.0;
                let y = self.top + f64::from(row) + 0.5 - self.middle.1;
                make((
                    self.middle.0 + x * self.cos + y * self.sin,
                    self.middle.1 - x * self.sin + y * self.cos,
                ));
            }
        }
    }
}

/// Pixels of so many bytes, and what lies around them.
struct Source<'a, const N: usize> {
    bytes: &'a [u8],
    size: Size,
    fill: [u8; N],
}

impl<const N: usize> Source<'_, N> {
    /// The weighted sum of what `read` makes of the pixels around a place.
    fn sum<const M: usize>(
        &self,
        (x, y): (f64, f64),
        weights: &[f64],
        read: impl Fn([f64; N]) -> [f64; M],
    ) -> [f64; M] {
        let mut sums = [0.0; M];
        let first = |at: f64| (at - RADIUS - 0.5).ceil() as i64;
        let last = |at: f64| (at + RADIUS - 0.5).floor() as i64;
        for row in first(y)..=last(y) {
            for column in first(x)..=last(x) {
                let (dx, dy) = (column as f64 + 0.5 - x, row as f64 + 0.5 - y);
                let step = (dx * dx + dy * dy) * (STEPS as f64 / (RADIUS * RADIUS));
                let Some(weight) = weights.get(step as usize) else {
                    continue;
                };
                let values = read(self.pixel(column, row).map(f64::from));
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum += value * weight;
                }
            }
        }
        sums
    }

    fn pixel(&self, column: i64, row: i64) -> [u8; N] {
        let (Ok(column), Ok(row)) = (u32::try_from(column), u32::try_from(row)) else {
            return self.fill;
        };
        if column >= self.size.width || row >= self.size.height {
            return self.fill;
        }
        let index = row as usize * self.size.width as usize + column as usize;
        let pixel = self.bytes[index * N..].first_chunk();
        *pixel.expect("there are as many bytes as the size says")
    }
}

/// The cubic, by the square of the distance.
fn weights() -> Vec<f64> {
    let weight = |step: usize| {
        let x = (step as f64 / STEPS as f64).sqrt() * RADIUS;
        let cubic = if x < 1.0 {
            (12.0 - 9.0 * B - 6.0 * C) * x.powi(3)
                + (-18.0 + 12.0 * B + 6.0 * C) * x.powi(2)
                + (6.0 - 2.0 * B)
        } else {
            (-B - 6.0 * C) * x.powi(3)
                + (6.0 * B + 30.0 * C) * x.powi(2)
                + (-12.0 * B - 48.0 * C) * x
                + (8.0 * B + 24.0 * C)
        };
        cubic / 6.0
    };
    (0..STEPS).map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slopes of red and green, and squares of blue with hard edges.
    fn sample() -> Picture {
        let size = Size::new(61, 41);
        let pixel = |index: u32| {
            let (x, y) = (index % 61, index / 61);
            let blue = if (x / 8 + y / 8) % 2 == 1 { 220 } else { 30 };
            [(x * 4) as u8, (y * 6) as u8, blue]
        };
        Picture::rgb(size, (0..61 * 41).flat_map(pixel).collect())
    }

    /// Every 13th pixel of every 13th row of what `convert -rotate` of ImageMagick 6.9.11 makes of it, from the fifth of the fourth.
    const TURNED: [(i64, (u32, u32), &str); 3] = [
        (
            33,
            (75, 69),
            "ffffff ffffff ffffff ffffff ffffff ffffff ffffff 0d5e3a 393415 6409dc ffffff ffffff 5fde72 2aa01e 55751e 814be7 ac20dc ffffff \
             ffffff 46e11e 71b713 9d8c79 c96211 ffffff ffffff ffffff ffffff b9cde5 e5a31e ffffff ffffff ffffff ffffff ffffff ffffff ffffff",
        ),
        (
            -17,
            (73, 59),
            "ffffff ffffff ffffff ffffff e205de ffffff ffffff 3e0c5f 7022dc a13913 d350dc ffffff a0b8f2 2f5616 616de8 92841d c49bdc ffffff \
             ffffff 20a11b 51b8e7 83ce1d b5e5df ffffff ffffff 0beb50 ffffff ffffff ffffff ffffff",
        ),
        (
            200,
            (73, 61),
            "ffffff e4e9e5 ffffff ffffff ffffff ffffff ffffff d29fdc a1ba27 70d5dc 3fefc9 ffffff f68977 c056ed 8f711e 5f8c91 2ea61e b3ecb6 \
             ffffff ae0ddc 7e2874 4d42dc 1c5d71 ffffff ffffff ffffff ffffff ffffff 0a141e ffffff",
        ),
    ];

    #[test]
    fn a_picture_is_turned_as_the_converter_turns_it() {
        for (degrees, (width, height), expected) in TURNED {
            let made = turned(sample(), degrees, Some([255; 3]));
            assert_eq!(made.size, Size::new(width, height), "{degrees}");
            assert_eq!(made.size, turned_size(sample().size, degrees));
            let Pixels::Rgb(bytes) = &made.pixels else {
                panic!("opaque")
            };
            let rows = (3..height).step_by(13);
            let places =
                rows.flat_map(|y| (4..width).step_by(13).map(move |x| (y * width + x) * 3));
            let ours = places.map(|at| &bytes[at as usize..][..3]);
            let theirs: Vec<_> = expected.split_whitespace().collect();
            assert_eq!(ours.clone().count(), theirs.len());
            for (ours, theirs) in ours.zip(theirs) {
                let number = u32::from_str_radix(theirs, 16).unwrap();
                let [_, theirs @ ..] = number.to_be_bytes();
                let most = ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(b)).max();
                assert!(most <= Some(3), "{degrees}: {ours:?} {theirs:?}");
            }
        }
    }

    #[test]
    fn what_shows_through_still_does_and_the_corners_are_filled_or_bare() {
        let size = Size::new(20, 20);
        let half = Picture::rgba(size, [10, 200, 30, 128].repeat(400));
        for (fill, corner) in [(None, 0), (Some([255; 3]), 255)] {
            let made = turned(half.clone(), 45, fill);
            let wide = made.size.width as usize;
            let bytes = made.pixels.into_rgba();
            assert_eq!(bytes[3], corner);
            assert_eq!(
                bytes[(wide / 2 * wide + wide / 2) * 4..][..4],
                [10, 200, 30, 128]
            );
        }
    }

    #[test]
    fn the_smallest_pictures_have_a_canvas() {
        for degrees in [1, 45, 89, 91, 179, 271, 359] {
            let one = Picture::rgb(Size::new(1, 1), vec![7, 8, 9]);
            let made = turned(one, degrees, Some([0; 3]));
            assert!(made.size.width >= 1 && made.size.height >= 1);
        }
    }
}
