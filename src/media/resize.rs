//! Scaling pixels as EMDB's converter does: on the stored values, not in linear light (media spec 3.5.4).

use std::borrow::Cow;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::error::Cause;
use super::geometry::{Rect, Size, Window, fill_centre, fit};
use super::picture::{Picture, Pixels};
use crate::model::preset::{Cut, Shape};

/// Brings `picture` into the box. `soft` asks for the filter of pictures with alpha although the channel is gone.
///
/// A picture that is as it should be already is handed back, not copied.
pub(super) fn bring(
    picture: Cow<'_, Picture>,
    into: Size,
    shape: Shape,
    soft: bool,
) -> Result<Cow<'_, Picture>, Cause> {
    let window = match shape {
        Shape::Fit => Window::whole(fit(picture.size, into)),
        Shape::Cut(Cut::CENTRE) => fill_centre(picture.size, into),
        Shape::FitEnlarge | Shape::Fill | Shape::Cut(_) => {
            return Err("a preset of this kind is not made here".into());
        }
    };
    if window == Window::whole(picture.size) {
        return Ok(picture);
    }
    let filter = filter(&picture, window.scaled, soft);
    resize(&picture, window, filter).map(Cow::Owned)
}

/// Cuts `part` out of `picture` and scales it to `scaled`; pixels outside the part have no say.
pub(super) fn cut(
    picture: &Picture,
    part: Rect,
    scaled: Size,
    soft: bool,
) -> Result<Picture, Cause> {
    let picture = picture.part(part);
    let window = Window::whole(scaled);
    let filter = filter(&picture, window.scaled, soft);
    resize(&picture, window, filter)
}

/// EMDB's choice: sharp for opaque pictures that shrink, soft otherwise, none where the scale is 1.
fn filter(picture: &Picture, scaled: Size, soft: bool) -> ResizeAlg {
    let area = |size: Size| u64::from(size.width) * u64::from(size.height);
    if scaled == picture.size {
        ResizeAlg::Nearest
    } else if soft || picture.has_alpha() || area(scaled) > area(picture.size) {
        ResizeAlg::Convolution(FilterType::Mitchell)
    } else {
        ResizeAlg::Convolution(FilterType::Lanczos3)
    }
}

/// Computes only the pixels of the window: the scaled picture as a whole may be far larger than the memory.
///
/// The filter still sees the pixels around the window, so the result is the one of scaling first and cutting after.
fn resize(picture: &Picture, window: Window, algorithm: ResizeAlg) -> Result<Picture, Cause> {
    let (bytes, pixel_type) = match &picture.pixels {
        Pixels::Rgb(bytes) => (bytes, PixelType::U8x3),
        Pixels::Rgba(bytes) => (bytes, PixelType::U8x4),
    };
    let from = ImageRef::new(picture.size.width, picture.size.height, bytes, pixel_type)?;
    let mut to = Image::new(window.size.width, window.size.height, pixel_type);
    let (left, width) = span(
        window.x,
        window.size.width,
        window.scaled.width,
        picture.size.width,
    );
    let (top, height) = span(
        window.y,
        window.size.height,
        window.scaled.height,
        picture.size.height,
    );
    // Alpha is multiplied in before and divided out after, so that hidden colours do not bleed.
    let options = ResizeOptions::new()
        .resize_alg(algorithm)
        .crop(left, top, width, height);
    Resizer::new().resize(&from, &mut to, &options)?;
    let bytes = to.into_vec();
    Ok(match picture.pixels {
        Pixels::Rgb(_) => Picture::rgb(window.size, bytes),
        Pixels::Rgba(_) => Picture {
            size: window.size,
            pixels: Pixels::Rgba(bytes),
        },
    })
}

/// Start and length in the source of `cut` pixels at `offset` of a side scaled from `side` to `scaled`.
fn span(offset: u32, cut: u32, scaled: u32, side: u32) -> (f64, f64) {
    let (side, step) = (f64::from(side), f64::from(side) / f64::from(scaled));
    if offset == 0 && f64::from(cut) == f64::from(scaled) {
        return (0.0, side);
    }
    let start = f64::from(offset) * step;
    let mut length = (f64::from(cut) * step).min(side - start);
    // Rounding may leave the end a hair outside, which the resizer refuses.
    while start + length > side {
        length = length.next_down();
    }
    (start, length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(width: u32, height: u32, pixel: &[u8]) -> Picture {
        let bytes = pixel.repeat(width as usize * height as usize);
        let size = Size::new(width, height);
        match pixel.len() {
            3 => Picture::rgb(size, bytes),
            _ => Picture::rgba(size, bytes),
        }
    }

    #[test]
    fn a_picture_that_fits_is_not_copied() {
        let picture = plain(40, 30, &[1, 2, 3]);
        let same = bring(
            Cow::Borrowed(&picture),
            Size::new(200, 200),
            Shape::Fit,
            false,
        );
        assert!(matches!(same.unwrap(), Cow::Borrowed(_)));
    }

    #[test]
    fn the_filter_is_soft_with_alpha_or_when_enlarging() {
        let opaque = plain(40, 30, &[1, 2, 3]);
        let alpha = plain(40, 30, &[1, 2, 3, 9]);
        let (small, big) = (Size::new(20, 15), Size::new(80, 60));
        let soft = ResizeAlg::Convolution(FilterType::Mitchell);
        assert_eq!(
            filter(&opaque, small, false),
            ResizeAlg::Convolution(FilterType::Lanczos3)
        );
        assert_eq!(filter(&opaque, small, true), soft);
        assert_eq!(filter(&alpha, small, false), soft);
        assert_eq!(filter(&opaque, big, false), soft);
        assert_eq!(filter(&alpha, alpha.size, false), ResizeAlg::Nearest);
    }

    #[test]
    fn hidden_colours_do_not_bleed_into_visible_ones() {
        let mut bytes = [200, 100, 50, 255].repeat(100);
        for pixel in bytes.chunks_mut(8) {
            pixel[..4].copy_from_slice(&[0, 255, 0, 0]);
        }
        let picture = Picture::rgba(Size::new(10, 10), bytes);
        let small = bring(Cow::Owned(picture), Size::new(5, 5), Shape::Fit, false).unwrap();
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
        let window = fill_centre(size, Size::new(33, 11));
        let lanczos = ResizeAlg::Convolution(FilterType::Lanczos3);
        let whole = resize(&picture, Window::whole(window.scaled), lanczos).unwrap();
        let cut = resize(&picture, window, lanczos).unwrap();
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
        let crop = bring(
            Cow::Owned(picture),
            Size::new(110, 62),
            Shape::Cut(Cut::CENTRE),
            false,
        )
        .unwrap();
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
