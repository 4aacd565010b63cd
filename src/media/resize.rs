//! Scaling pixels as EMDB's converter does: on the stored values, not in linear light (media spec 3.5.4).

use std::borrow::Cow;

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::error::Cause;
use super::geometry::{Rect, Size, Window};
use super::picture::{Picture, Pixels};
use super::planes::{Plane, Planes, halved};

/// Scales `picture` and keeps the window of it. `soft` asks for the filter of pictures with alpha although the channel is gone.
///
/// A picture that is as it should be already is handed back, not copied.
pub(super) fn bring(
    picture: Cow<'_, Picture>,
    window: Window,
    soft: bool,
) -> Result<Cow<'_, Picture>, Cause> {
    let is_done = match &picture.pixels {
        Pixels::Planes(planes) => planes.is_halved(),
        Pixels::Rgb(_) | Pixels::Rgba(_) => true,
    };
    if is_done && window == Window::whole(picture.size) {
        return Ok(picture);
    }
    let all = Rect::whole(picture.size);
    resize(&picture, all, window, soft).map(Cow::Owned)
}

/// Cuts `part` out of `picture` and scales it to `scaled`; pixels outside the part have no say.
pub(super) fn cut(
    picture: &Picture,
    part: Rect,
    scaled: Size,
    soft: bool,
) -> Result<Picture, Cause> {
    resize(picture, part, Window::whole(scaled), soft)
}

/// EMDB's choice: sharp for opaque pictures that shrink, soft otherwise, none where the scale is 1.
fn filter(is_soft: bool, from: Size, to: Size) -> ResizeAlg {
    let area = |size: Size| u64::from(size.width) * u64::from(size.height);
    if to == from {
        ResizeAlg::Nearest
    } else if is_soft || area(to) > area(from) {
        ResizeAlg::Convolution(FilterType::Mitchell)
    } else {
        ResizeAlg::Convolution(FilterType::Lanczos3)
    }
}

/// Scales `part` of `picture` and keeps a window of it.
///
/// Computes only the pixels of the window: the scaled picture as a whole may be far larger than the memory. The filter
/// still sees the pixels around the window, so the result is the one of scaling first and cutting after.
fn resize(picture: &Picture, part: Rect, window: Window, soft: bool) -> Result<Picture, Cause> {
    let filter = filter(soft || picture.has_alpha(), part.size, window.scaled);
    let across = span(
        window.x,
        window.size.width,
        window.scaled.width,
        part.size.width,
    );
    let down = span(
        window.y,
        window.size.height,
        window.scaled.height,
        part.size.height,
    );
    let one = |bytes, pixel_type| {
        let samples = Samples {
            bytes,
            size: picture.size,
            pixel_type,
        };
        samples.resized(part, (across, down), window.size, filter)
    };
    let pixels = match &picture.pixels {
        Pixels::Rgb(bytes) => Pixels::Rgb(one(bytes, PixelType::U8x3)?),
        Pixels::Rgba(bytes) => Pixels::Rgba(one(bytes, PixelType::U8x4)?),
        Pixels::Planes(Planes {
            luma,
            chroma: [blue, red],
        }) => {
            let samples = one(&luma.samples, PixelType::U8)?;
            let size = window.size;
            let luma = Plane { size, samples };
            let chroma = |plane| chroma(plane, picture.size, part, (across, down), size, filter);
            let chroma = [chroma(blue)?, chroma(red)?];
            Pixels::Planes(Planes { luma, chroma })
        }
    };
    let size = window.size;
    Ok(Picture { size, pixels })
}

/// Start and length across, then down, in pixels of a part.
type Spans = ((f64, f64), (f64, f64));

/// Scales chroma that belongs to a part of luma, whatever size it is stored in, to the half size of renditions.
///
/// Both ends are in the same place as luma's, so colours do not move against edges.
fn chroma(
    plane: &Plane,
    luma: Size,
    part: Rect,
    (across, down): Spans,
    into: Size,
    filter: ResizeAlg,
) -> Result<Plane, Cause> {
    let to = halved(into);
    let x = Scale::of(plane.size.width, luma.width);
    let y = Scale::of(plane.size.height, luma.height);
    let (left, width) = x.covering(part.x, part.size.width, plane.size.width);
    let (top, height) = y.covering(part.y, part.size.height, plane.size.height);
    let part_of_chroma = Rect {
        x: left,
        y: top,
        size: Size::new(width, height),
    };
    let spans = (
        x.span(across, part.x, left, (into.width, to.width), width),
        y.span(down, part.y, top, (into.height, to.height), height),
    );
    // Where luma is copied, chroma may still have to be halved or moved by half a sample.
    let filter = match filter {
        ResizeAlg::Nearest => ResizeAlg::Convolution(FilterType::Bilinear),
        filter => filter,
    };
    let samples = Samples {
        bytes: &plane.samples,
        size: plane.size,
        pixel_type: PixelType::U8,
    };
    let samples = samples.resized(part_of_chroma, spans, to, filter)?;
    Ok(Plane { size: to, samples })
}

/// How many luma samples one of chroma stands for, along one side.
#[derive(Clone, Copy)]
struct Scale(u32);

impl Scale {
    fn of(chroma: u32, luma: u32) -> Self {
        Self(if chroma < luma { 2 } else { 1 })
    }

    /// First sample and number of those that touch `length` luma samples from `start` on.
    fn covering(self, start: u32, length: u32, side: u32) -> (u32, u32) {
        let first = (start / self.0).min(side - 1);
        let end = (start + length).div_ceil(self.0).clamp(first + 1, side);
        (first, end - first)
    }

    /// A span of the part of luma at `part`, in chroma samples from `first` on, of which there are `side`.
    ///
    /// `made` are luma and chroma samples that the span becomes: an odd number of luma needs half a chroma sample more.
    fn span(
        self,
        (start, length): (f64, f64),
        part: u32,
        first: u32,
        made: (u32, u32),
        side: u32,
    ) -> (f64, f64) {
        let per = f64::from(self.0);
        let more = f64::from(made.1 * 2) / f64::from(made.0);
        let start = ((f64::from(part) + start) / per - f64::from(first)).max(0.0);
        let start = start.min(f64::from(side) - f64::EPSILON.sqrt());
        (start, inside(start, length * more / per, f64::from(side)))
    }
}

/// `length`, or what lies between `start` and `end` of it: rounding may leave the end a hair outside, which the resizer refuses.
fn inside(start: f64, length: f64, end: f64) -> f64 {
    let mut length = length.min(end - start);
    while start + length > end {
        length = length.next_down();
    }
    length
}

/// Samples of one kind, row by row.
struct Samples<'a> {
    bytes: &'a [u8],
    size: Size,
    pixel_type: PixelType,
}

impl Samples<'_> {
    /// The spans of `part`, scaled to `to`.
    fn resized(
        &self,
        part: Rect,
        (across, down): Spans,
        to: Size,
        filter: ResizeAlg,
    ) -> Result<Vec<u8>, Cause> {
        let from = ImageRef::new(
            self.size.width,
            self.size.height,
            self.bytes,
            self.pixel_type,
        )?;
        let mut made = Image::new(to.width, to.height, self.pixel_type);
        // Alpha is multiplied in before and divided out after, so that hidden colours do not bleed.
        let options = ResizeOptions::new()
            .resize_alg(filter)
            .crop(across.0, down.0, across.1, down.1);
        if part == Rect::whole(self.size) {
            Resizer::new().resize(&from, &mut made, &options)?;
        } else {
            let from = CroppedImage::new(&from, part.x, part.y, part.size.width, part.size.height)?;
            Resizer::new().resize(&from, &mut made, &options)?;
        }
        Ok(made.into_vec())
    }
}

/// Start and length in the source of `cut` pixels at `offset` of a side scaled from `side` to `scaled`.
fn span(offset: u32, cut: u32, scaled: u32, side: u32) -> (f64, f64) {
    let (side, step) = (f64::from(side), f64::from(side) / f64::from(scaled));
    if offset == 0 && f64::from(cut) == f64::from(scaled) {
        return (0.0, side);
    }
    let start = f64::from(offset) * step;
    (start, inside(start, f64::from(cut) * step, side))
}

#[cfg(test)]
mod tests {
    use super::super::geometry::window;
    use super::*;
    use crate::model::preset::{Cut, Shape};
    use proptest::prelude::*;

    fn plain(width: u32, height: u32, pixel: &[u8]) -> Picture {
        let bytes = pixel.repeat(width as usize * height as usize);
        let size = Size::new(width, height);
        match pixel.len() {
            3 => Picture::rgb(size, bytes),
            _ => Picture::rgba(size, bytes),
        }
    }

    /// The box, cut from the middle.
    fn centre(picture: Size, into: Size) -> Window {
        window(picture, into, Shape::Cut(Cut::CENTRE)).unwrap()
    }

    #[test]
    fn a_picture_that_fits_is_not_copied() {
        let picture = plain(40, 30, &[1, 2, 3]);
        let same = bring(
            Cow::Borrowed(&picture),
            Window::whole(Size::new(40, 30)),
            false,
        );
        assert!(matches!(same.unwrap(), Cow::Borrowed(_)));
    }

    #[test]
    fn the_filter_is_soft_with_alpha_or_when_enlarging() {
        let from = Size::new(40, 30);
        let (small, big) = (Size::new(20, 15), Size::new(80, 60));
        let soft = ResizeAlg::Convolution(FilterType::Mitchell);
        let sharp = ResizeAlg::Convolution(FilterType::Lanczos3);
        assert_eq!(filter(false, from, small), sharp);
        assert_eq!(filter(true, from, small), soft);
        assert_eq!(filter(false, from, big), soft);
        assert_eq!(filter(true, from, from), ResizeAlg::Nearest);
    }

    #[test]
    fn hidden_colours_do_not_bleed_into_visible_ones() {
        let mut bytes = [200, 100, 50, 255].repeat(100);
        for pixel in bytes.chunks_mut(8) {
            pixel[..4].copy_from_slice(&[0, 255, 0, 0]);
        }
        let picture = Picture::rgba(Size::new(10, 10), bytes);
        let small = bring(Cow::Owned(picture), Window::whole(Size::new(5, 5)), false).unwrap();
        let Pixels::Rgba(bytes) = &small.pixels else {
            panic!("alpha was lost")
        };
        for pixel in bytes.chunks(4) {
            assert!(pixel[0].abs_diff(200) <= 3 && pixel[1].abs_diff(100) <= 3);
        }
    }

    #[test]
    fn a_crop_equals_scaling_first_and_cutting_after() {
        let size = Size::new(90, 70);
        let bytes = (0..90 * 70 * 3_u32)
            .map(|index| (index * 7 % 256) as u8)
            .collect();
        let picture = Picture::rgb(size, bytes);
        let window = centre(size, Size::new(33, 11));
        let all = Rect::whole(size);
        let whole = resize(&picture, all, Window::whole(window.scaled), false).unwrap();
        let cut = resize(&picture, all, window, false).unwrap();
        let (Pixels::Rgb(whole), Pixels::Rgb(cut)) = (whole.pixels, cut.pixels) else {
            panic!("channels changed")
        };
        let row = window.scaled.width as usize * 3;
        let start = window.y as usize * row + window.x as usize * 3;
        for (y, line) in cut.chunks(33 * 3).enumerate() {
            for (ours, theirs) in line.iter().zip(&whole[start + y * row..]) {
                assert!(ours.abs_diff(*theirs) <= 1);
            }
        }
    }

    #[test]
    fn the_thinnest_picture_fills_the_box_without_the_memory_for_the_whole() {
        let picture = plain(1, 60_000, &[9, 8, 7]);
        let window = centre(picture.size, Size::new(110, 62));
        let crop = bring(Cow::Owned(picture), window, false).unwrap();
        assert_eq!(*crop, plain(110, 62, &[9, 8, 7]));
    }

    proptest! {
        #[test]
        fn a_span_never_leaves_its_side(side in 1_u32..70_000, scaled in 1_u32..70_000, at in 0.0..1.0, len in 0.0..1.0) {
            let offset = (f64::from(scaled - 1) * at) as u32;
            let cut = 1 + (f64::from(scaled - offset - 1) * len) as u32;
            let (start, length) = span(offset, cut, scaled, side);
            prop_assert!(start >= 0.0 && length > 0.0 && start + length <= f64::from(side));
        }
    }
}
