//! Where pixels go: sizes and offsets, as EMDB's converter computes them (media spec 3.5.4 and 3.5.5).
//!
//! Pure functions. For sides of at least 1 every result has sides of at least 1, and a window lies inside its picture.

use crate::model::preset::{Cut, Held, Shape};
use crate::model::{Crop, Mode};

/// Width and height in pixels, both at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Size {
    pub(super) const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// How many pixels it holds.
    pub(super) const fn pixels(self) -> usize {
        self.width as usize * self.height as usize
    }

    /// The same size seen from the side.
    pub(super) const fn turned(self) -> Self {
        Self::new(self.height, self.width)
    }
}

/// A picture scaled to `scaled`, of which the `size` at (`x`, `y`) is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) scaled: Size,
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) size: Size,
}

impl Window {
    /// The scaled picture as a whole.
    pub(super) const fn whole(scaled: Size) -> Self {
        Self {
            scaled,
            x: 0,
            y: 0,
            size: scaled,
        }
    }
}

/// `picture` scaled by the smaller of the two scales that bring a side to that of the box, or by the larger one; sides of at least 1.
///
/// In doubles and in the converter's order, for that decides about halves: 3000x2250, which most photographs become, is 550x412 to
/// it, though 412.5 rounds to 413 (seen with 6.9.11).
fn scaled(picture: Size, into: Size, by: fn(f64, f64) -> f64) -> Size {
    let (width, height) = (f64::from(picture.width), f64::from(picture.height));
    let scale = by(
        f64::from(into.width) / width,
        f64::from(into.height) / height,
    );
    // What does not fit is cut to the largest side there is.
    let side = |side: f64| (scale * side + 0.5).floor().max(1.0) as u32;
    Size::new(side(width), side(height))
}

/// The size of `picture` shrunk until it fits `into`; unchanged when it fits already.
pub(super) fn fit(picture: Size, into: Size) -> Size {
    if picture.width <= into.width && picture.height <= into.height {
        return picture;
    }
    scaled(picture, into, f64::min)
}

/// How a picture is brought into a box; `None` when what is to be kept lies beside it.
pub(super) fn window(picture: Size, into: Size, shape: Shape) -> Option<Window> {
    Some(match shape {
        Shape::Fit => Window::whole(fit(picture, into)),
        Shape::FitEnlarge => Window::whole(scaled(picture, into, f64::min)),
        Shape::Fill => Window::whole(fill(picture, into)),
        Shape::Cut(cut) => return fill_cut(picture, into, cut),
    })
}

/// `picture` scaled until it covers `into`, and what `cut` says of it kept: the box, or a size of its own, as far as it is there.
fn fill_cut(picture: Size, into: Size, cut: Cut) -> Option<Window> {
    let scaled = fill(picture, into);
    let Rect { x, y, size } = part(scaled, into, cut)?;
    Some(Window { scaled, x, y, size })
}

/// What of a picture `cut` says to keep: the box `into`, or a size of its own, as far as it is there.
pub(super) fn part(picture: Size, into: Size, cut: Cut) -> Option<Rect> {
    let size = cut
        .size
        .map_or(into, |(width, height)| Size::new(width, height));
    let (across, down) = cut.gravity.sides();
    let start = |held, side, kept, step: i64| {
        let step = i128::from(step);
        i128::from(offset(held, side, kept)) + if held == Held::End { -step } else { step }
    };
    let left = start(across, picture.width, size.width, cut.x);
    let top = start(down, picture.height, size.height, cut.y);
    Edges::at(left, top, size).inside(picture)
}

/// The size of `picture` scaled until it covers `into`, nothing cut off.
pub(super) fn fill(picture: Size, into: Size) -> Size {
    scaled(picture, into, f64::max)
}

/// A rectangle inside a picture, both sides at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) size: Size,
}

impl Rect {
    /// The picture as a whole.
    pub(super) const fn whole(size: Size) -> Self {
        Self { x: 0, y: 0, size }
    }

    /// The smallest rectangle around both.
    pub(super) fn around(self, other: Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let right = (self.x + self.size.width).max(other.x + other.size.width);
        let lower = (self.y + self.size.height).max(other.y + other.size.height);
        let size = Size::new(right - x, lower - y);
        Self { x, y, size }
    }
}

/// A user's rectangle as edges: left, top, right and bottom, all allowed to lie outside the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edges {
    left: i128,
    top: i128,
    right: i128,
    bottom: i128,
}

impl From<Crop> for Edges {
    fn from(crop: Crop) -> Self {
        let (left, top) = (i128::from(crop.x), i128::from(crop.y));
        Self {
            left,
            top,
            right: left + i128::from(crop.width),
            bottom: top + i128::from(crop.height),
        }
    }
}

impl Edges {
    /// Those of a rectangle of this size.
    pub(super) fn at(left: i128, top: i128, size: Size) -> Self {
        Self {
            left,
            top,
            right: left + i128::from(size.width),
            bottom: top + i128::from(size.height),
        }
    }

    /// The same part of a picture that is stored with another size.
    pub(super) fn scaled(self, from: Size, to: Size) -> Self {
        let across = |x| rounded(x * i128::from(to.width), i128::from(from.width));
        let down = |y| rounded(y * i128::from(to.height), i128::from(from.height));
        Self {
            left: across(self.left),
            top: down(self.top),
            right: across(self.right),
            bottom: down(self.bottom),
        }
    }

    /// Where a user's rectangle lies on a picture as it is stored: there it is in faithful mode; in corrected mode it lies on the
    /// upright picture, and is turned to the stored one's grid.
    pub(super) fn on_stored(self, mode: Mode, stored: Size, orientation: u8) -> Self {
        match (mode, orientation) {
            (Mode::Faithful, _) => self,
            (Mode::Corrected, 5..=8) => self
                .stretched_to_upright(stored)
                .stored(stored, orientation),
            (Mode::Corrected, _) => self.stored(stored, orientation),
        }
    }

    /// What the user meant on a picture that lies on its side while it is stored with the size `stored`: the editor showed
    /// the upright picture stretched into the stored one's box (media spec 4.5). Edges are rounded to the nearest pixel.
    fn stretched_to_upright(self, stored: Size) -> Self {
        let (width, height) = (i128::from(stored.width), i128::from(stored.height));
        let across = |x| rounded(x * height, width);
        let down = |y| rounded(y * width, height);
        Self {
            left: across(self.left),
            top: down(self.top),
            right: across(self.right),
            bottom: down(self.bottom),
        }
    }

    /// The same pixels of a picture, said in the grid it is stored in, for edges of the upright picture of `orientation`.
    fn stored(self, stored: Size, orientation: u8) -> Self {
        let (width, height) = (i128::from(stored.width), i128::from(stored.height));
        let Self {
            left,
            top,
            right,
            bottom,
        } = self;
        // Along the stored rows and columns; for 5 to 8 the upright picture's columns are the stored rows.
        let (x, y) = if matches!(orientation, 5..=8) {
            ((top, bottom), (left, right))
        } else {
            ((left, right), (top, bottom))
        };
        let mirrored = |(from, to), side| (side - to, side - from);
        let x = if matches!(orientation, 2 | 3 | 7 | 8) {
            mirrored(x, width)
        } else {
            x
        };
        let y = if matches!(orientation, 3 | 4 | 6 | 7) {
            mirrored(y, height)
        } else {
            y
        };
        Self {
            left: x.0,
            top: y.0,
            right: x.1,
            bottom: y.1,
        }
    }

    /// What of it lies in a picture; `None` when nothing does.
    pub(super) fn inside(self, picture: Size) -> Option<Rect> {
        let span = |from: i128, to: i128, side: u32| {
            let clip = |edge: i128| u32::try_from(edge.clamp(0, i128::from(side))).unwrap_or(side);
            let (from, to) = (clip(from), clip(to));
            (from < to).then(|| (from, to - from))
        };
        let (x, width) = span(self.left, self.right, picture.width)?;
        let (y, height) = span(self.top, self.bottom, picture.height)?;
        Some(Rect {
            x,
            y,
            size: Size::new(width, height),
        })
    }
}

/// `num / den` to the nearest whole number, halves upwards; `den` is at least 1.
fn rounded(num: i128, den: i128) -> i128 {
    (2 * num + den).div_euclid(2 * den)
}

/// Where a cut starts that holds to the start, the middle or the end of a side. In the middle both halves are rounded down
/// before they are subtracted.
///
/// Negative where it starts before the side does, as a canvas around a picture.
pub(super) fn offset(held: Held, side: u32, cut: u32) -> i64 {
    match held {
        Held::Start => 0,
        Held::Middle => i64::from(side / 2) - i64::from(cut / 2),
        Held::End => i64::from(side) - i64::from(cut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::preset::Gravity;
    use proptest::prelude::*;

    /// The box, cut out at `gravity`.
    fn fill_cut(picture: Size, into: Size, gravity: Gravity) -> Window {
        let cut = Cut {
            gravity,
            ..Cut::CENTRE
        };
        super::fill_cut(picture, into, cut).expect("the box is there")
    }

    const LARGE: Size = Size::new(3000, 3000);

    #[test]
    fn sides_round_as_emdb_rounds_them() {
        assert_eq!(fit(Size::new(4000, 3001), LARGE), Size::new(3000, 2251));
        assert_eq!(fit(Size::new(4001, 3000), LARGE), Size::new(3000, 2249));
        assert_eq!(fit(Size::new(3001, 4000), LARGE), Size::new(2251, 3000));
        assert_eq!(
            fit(Size::new(640, 420), Size::new(550, 550)),
            Size::new(550, 361)
        );
        // What the converter made of a half, for sizes that photographs have.
        for (picture, made) in [((3000, 2250), (550, 412)), ((2250, 3000), (412, 550))] {
            let size = fit(Size::new(picture.0, picture.1), Size::new(550, 550));
            assert_eq!((size.width, size.height), made);
        }
    }

    #[test]
    fn what_fits_is_never_enlarged() {
        assert_eq!(fit(Size::new(40, 30), LARGE), Size::new(40, 30));
        assert_eq!(fit(LARGE, LARGE), LARGE);
    }

    #[test]
    fn a_thin_side_never_vanishes() {
        assert_eq!(
            fit(Size::new(1, 60_000), Size::new(200, 200)),
            Size::new(1, 200)
        );
    }

    #[test]
    fn centre_offsets_round_each_half_down() {
        assert_eq!(offset(Held::Middle, 113, 110), 1);
        assert_eq!(offset(Held::Middle, 112, 109), 2);
    }

    #[test]
    fn a_crop_of_a_portrait_page_from_its_top_is_its_upper_strip() {
        let (page, into) = (Size::new(2318, 3000), Size::new(110, 62));
        for (gravity, y) in [
            (Gravity::NorthEast, 0),
            (Gravity::Centre, 40),
            (Gravity::SouthWest, 80),
        ] {
            let window = fill_cut(page, into, gravity);
            assert_eq!(window.scaled, Size::new(110, 142));
            assert_eq!((window.x, window.y, window.size), (0, y, into));
        }
        let window = fill_cut(page.turned(), into, Gravity::NorthEast);
        assert_eq!((window.scaled, window.x), (Size::new(110, 85), 0));
        let window = fill_cut(Size::new(3000, 300), into, Gravity::NorthEast);
        assert_eq!((window.scaled, window.x), (Size::new(620, 62), 510));
    }

    #[test]
    fn a_crop_covers_its_box_even_when_it_enlarges() {
        let window = fill_cut(Size::new(40, 30), Size::new(110, 62), Gravity::Centre);
        assert_eq!(window.scaled, Size::new(110, 83));
        assert_eq!(
            (window.x, window.y, window.size),
            (0, 10, Size::new(110, 62))
        );
    }

    #[test]
    fn a_cut_of_its_own_size_counts_its_pixels_to_the_inside_and_ends_where_the_picture_does() {
        let cut = |gravity, x, y, size| {
            let cut = Cut {
                gravity,
                x,
                y,
                size,
                ..Cut::CENTRE
            };
            let window = super::fill_cut(Size::new(400, 200), Size::new(200, 100), cut)?;
            assert_eq!(window.scaled, Size::new(200, 100));
            Some((window.x, window.y, window.size.width, window.size.height))
        };
        let size = Some((50, 20));
        assert_eq!(cut(Gravity::NorthWest, 7, 9, size), Some((7, 9, 50, 20)));
        assert_eq!(cut(Gravity::SouthEast, 7, 9, size), Some((143, 71, 50, 20)));
        assert_eq!(cut(Gravity::Centre, 7, -9, size), Some((82, 31, 50, 20)));
        // Overhanging, larger than the picture, and beside it.
        assert_eq!(
            cut(Gravity::NorthWest, 190, -5, size),
            Some((190, 0, 10, 15))
        );
        assert_eq!(
            cut(Gravity::Centre, 0, 0, Some((900, 900))),
            Some((0, 0, 200, 100))
        );
        assert_eq!(cut(Gravity::NorthWest, i64::MAX, 0, size), None);
    }

    #[test]
    fn what_may_be_enlarged_meets_or_covers_its_box() {
        let of = |shape| {
            window(Size::new(40, 30), Size::new(200, 100), shape)
                .unwrap()
                .size
        };
        assert_eq!(of(Shape::FitEnlarge), Size::new(133, 100));
        assert_eq!(of(Shape::Fill), Size::new(200, 150));
        assert_eq!(of(Shape::Fit), Size::new(40, 30));
    }

    fn side() -> impl Strategy<Value = u32> {
        prop_oneof![1_u32..8, 1_u32..5000, 1_u32..=u32::MAX]
    }

    proptest! {
        #[test]
        fn a_crop_stays_inside_the_scaled_picture(w in side(), h in side(), bw in 1_u32..4000, bh in 1_u32..4000, held in any::<bool>()) {
            let gravity = if held { Gravity::NorthEast } else { Gravity::Centre };
            let window = fill_cut(Size::new(w, h), Size::new(bw, bh), gravity);
            prop_assert_eq!(window.size, Size::new(bw, bh));
            prop_assert!(window.x + window.size.width <= window.scaled.width);
            prop_assert!(window.y + window.size.height <= window.scaled.height);
        }

        #[test]
        fn a_fit_is_inside_its_box_and_has_pixels(w in side(), h in side(), bw in 1_u32..4000, bh in 1_u32..4000) {
            let size = fit(Size::new(w, h), Size::new(bw, bh));
            prop_assert!((1..=bw).contains(&size.width));
            prop_assert!((1..=bh).contains(&size.height));
            prop_assert!(size.width <= w && size.height <= h);
        }

        #[test]
        fn a_rectangle_is_clipped_to_the_picture_and_means_the_same_pixels_turned(
            x in -300_i64..300, y in -300_i64..300, width in 0_u32..400, height in 0_u32..400,
            w in 1_u32..200, h in 1_u32..200, orientation in 1_u8..=8,
        ) {
            let stored = Size::new(w, h);
            let upright = if orientation > 4 { stored.turned() } else { stored };
            let seen = Edges::from(Crop { x, y, width, height });
            let (there, here) = (seen.inside(upright), seen.stored(stored, orientation).inside(stored));
            prop_assert_eq!(there.is_some(), here.is_some());
            if let (Some(there), Some(here)) = (there, here) {
                prop_assert!(here.x + here.size.width <= w && here.y + here.size.height <= h);
                let turned = if orientation > 4 { here.size.turned() } else { here.size };
                prop_assert_eq!(there.size, turned);
            }
        }

        #[test]
        fn turning_the_picture_turns_the_fit(w in side(), h in side(), side in 1_u32..4000) {
            let square = Size::new(side, side);
            prop_assert_eq!(fit(Size::new(w, h).turned(), square), fit(Size::new(w, h), square).turned());
        }
    }
}
