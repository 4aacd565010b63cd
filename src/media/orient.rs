//! Turning a picture upright by its EXIF orientation (1 to 8).
//!
//! Done late, on the picture already shrunk: for square boxes that is the same as turning the original (media spec
//! 3.5.2), and a tenth of the work.

use super::geometry::Size;
use super::picture::{Picture, Pixels};
use super::planes::{Plane, Planes};
use crate::model::preset::{Cut, Gravity, Held};

/// Side of the squares in which a turned picture is copied, so that both its rows and its columns stay in cache.
const TILE: usize = 32;

/// Whether `orientation` swaps width and height.
pub(super) const fn turns(orientation: u8) -> bool {
    matches!(orientation, 5..=8)
}

/// The same side or corner of a picture, said of it as it is stored.
pub(super) fn stored(upright: Gravity, orientation: u8) -> Gravity {
    let (across, down) = upright.sides();
    // The stored rows of 5 to 8 are the columns of what is seen.
    let (across, down) = match turns(orientation) {
        true => (down, across),
        false => (across, down),
    };
    let mirrored = |held: Held, is_mirrored| if is_mirrored { held.mirrored() } else { held };
    Gravity::of_sides(
        mirrored(across, matches!(orientation, 2 | 3 | 7 | 8)),
        mirrored(down, matches!(orientation, 3 | 4 | 6 | 7)),
    )
}

/// Which part is kept, said of the picture as it is stored: sides mirrored and exchanged as its corner is.
pub(super) fn stored_cut(upright: Cut, orientation: u8) -> Cut {
    let (across, down) = upright.gravity.sides();
    // From a side, pixels count to the inside, whichever side it is; from the middle they count along the axis.
    let along = |held: Held, step: i64, is_mirrored| match held {
        Held::Middle if is_mirrored => step.saturating_neg(),
        _ => step,
    };
    let (of_x, of_y) = match turns(orientation) {
        true => ((down, upright.y), (across, upright.x)),
        false => ((across, upright.x), (down, upright.y)),
    };
    Cut {
        gravity: stored(upright.gravity, orientation),
        x: along(of_x.0, of_x.1, matches!(orientation, 2 | 3 | 7 | 8)),
        y: along(of_y.0, of_y.1, matches!(orientation, 3 | 4 | 6 | 7)),
        size: match upright.size {
            Some((width, height)) if turns(orientation) => Some((height, width)),
            size => size,
        },
        ..upright
    }
}

/// The orientation of a picture that is turned by so many right angles, clockwise, after it was made upright by `orientation`.
pub(super) fn turned_by(orientation: u8, quarter_turns: u8) -> u8 {
    const CLOCKWISE: [u8; 9] = [6, 6, 7, 8, 5, 2, 3, 4, 1];
    (0..quarter_turns % 4).fold(orientation, |orientation, _| {
        let once = CLOCKWISE.get(usize::from(orientation));
        once.copied().unwrap_or(6)
    })
}

/// `picture` as it should be looked at. Orientations outside 2 to 8 leave it alone.
pub(super) fn upright(picture: Picture, orientation: u8) -> Picture {
    if !matches!(orientation, 2..=8) {
        return picture;
    }
    let Picture { size, pixels } = picture;
    let pixels = match pixels {
        Pixels::Rgb(bytes) => Pixels::Rgb(moved::<3>(bytes, size, orientation)),
        Pixels::Rgba(bytes) => Pixels::Rgba(moved::<4>(bytes, size, orientation)),
        Pixels::Planes(Planes { luma, chroma }) => {
            let plane = |Plane { size, samples }| Plane {
                samples: moved::<1>(samples, size, orientation),
                size: moved_size(size, orientation),
            };
            let (luma, chroma) = (plane(luma), chroma.map(plane));
            Pixels::Planes(Planes { luma, chroma })
        }
    };
    let size = moved_size(size, orientation);
    Picture { size, pixels }
}

fn moved_size(size: Size, orientation: u8) -> Size {
    if turns(orientation) {
        size.turned()
    } else {
        size
    }
}

/// The bytes of a picture of `size` and `N` channels, in their new order.
fn moved<const N: usize>(mut bytes: Vec<u8>, size: Size, orientation: u8) -> Vec<u8> {
    let width = size.width as usize;
    let (pixels, _) = bytes.as_chunks_mut::<N>();
    match orientation {
        2 => pixels.chunks_exact_mut(width).for_each(<[_]>::reverse),
        3 => pixels.reverse(),
        4 => {
            let rows = pixels.len() / width;
            for row in 0..rows / 2 {
                let (upper, lower) = pixels.split_at_mut((rows - 1 - row) * width);
                upper[row * width..][..width].swap_with_slice(&mut lower[..width]);
            }
        }
        _ => return turned::<N>(pixels, size, orientation).into_flattened(),
    }
    bytes
}

/// Pixels of a picture of `size` for the orientations that swap its sides.
fn turned<const N: usize>(pixels: &[[u8; N]], size: Size, orientation: u8) -> Vec<[u8; N]> {
    let (width, height) = (size.width as usize, size.height as usize);
    // A row of the result is a column of the source, read from the right (7, 8) or bottom up (6, 7).
    let from_right = matches!(orientation, 7 | 8);
    let bottom_up = matches!(orientation, 6 | 7);
    let mut out = vec![[0; N]; pixels.len()];
    for top in (0..width).step_by(TILE) {
        for left in (0..height).step_by(TILE) {
            for y in top..width.min(top + TILE) {
                let column = if from_right { width - 1 - y } else { y };
                for x in left..height.min(left + TILE) {
                    let row = if bottom_up { height - 1 - x } else { x };
                    out[y * height + x] = pixels[row * width + column];
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three by two, each pixel with a value of its own.
    fn sample() -> Picture {
        let bytes = (1..=6).flat_map(|value| [value; 3]).collect();
        Picture::rgb(Size::new(3, 2), bytes)
    }

    #[track_caller]
    fn assert_turned(orientation: u8, size: (u32, u32), expected: [u8; 6]) {
        let picture = upright(sample(), orientation);
        assert_eq!((picture.size.width, picture.size.height), size);
        let Pixels::Rgb(bytes) = picture.pixels else {
            panic!("channels changed")
        };
        let values: Vec<_> = bytes.chunks(3).map(|pixel| pixel[0]).collect();
        assert_eq!(values, expected);
    }

    #[test]
    fn each_orientation_moves_the_pixels_where_exif_says() {
        assert_turned(1, (3, 2), [1, 2, 3, 4, 5, 6]);
        assert_turned(2, (3, 2), [3, 2, 1, 6, 5, 4]);
        assert_turned(3, (3, 2), [6, 5, 4, 3, 2, 1]);
        assert_turned(4, (3, 2), [4, 5, 6, 1, 2, 3]);
        assert_turned(5, (2, 3), [1, 4, 2, 5, 3, 6]);
        assert_turned(6, (2, 3), [4, 1, 5, 2, 6, 3]);
        assert_turned(7, (2, 3), [6, 3, 5, 2, 4, 1]);
        assert_turned(8, (2, 3), [3, 6, 2, 5, 1, 4]);
    }

    #[test]
    fn turning_once_more_is_turning_what_is_upright() {
        for orientation in 0..=9 {
            let mut expected = upright(sample(), orientation);
            for turns in 0..=4 {
                let once = turned_by(orientation, turns);
                assert_eq!(upright(sample(), once), expected, "{orientation} {turns}");
                expected = upright(expected, 6);
            }
        }
    }

    #[test]
    fn values_outside_the_standard_leave_the_picture_alone() {
        assert_eq!(upright(sample(), 0), sample());
        assert_eq!(upright(sample(), 9), sample());
    }

    #[test]
    fn turning_there_and_back_gives_the_same_picture_across_tiles() {
        let size = Size::new(70, 45);
        let bytes: Vec<u8> = (0..70 * 45 * 4).map(|index| (index % 251) as u8).collect();
        let picture = Picture::rgba(size, bytes);
        for (there, back) in [(2, 2), (3, 3), (4, 4), (5, 5), (6, 8), (7, 7), (8, 6)] {
            assert_eq!(upright(upright(picture.clone(), there), back), picture);
        }
    }
}
