//! The canvas that a picture is laid on (`extent`): of a size and a background of its own, whatever the picture has (media spec 3.1).

use super::geometry::{Edges, Size, offset};
use super::picture::{Picture, Pixels};
use crate::model::preset::{Background, Extent};

/// `picture` on its canvas. What of it does not lie on the canvas is lost; what of the canvas it leaves bare, or shows through, is the
/// background.
pub(super) fn laid(picture: Picture, extent: Extent, background: Background) -> Picture {
    let picture = match background {
        Background::Colour(colour) => picture.flattened(colour),
        Background::Transparent => picture,
    };
    let from = picture.size;
    let canvas = Size::new(extent.width, extent.height);
    let (across, down) = extent.gravity.sides();
    let left = offset(across, from.width, canvas.width);
    let top = offset(down, from.height, canvas.height);
    let covered = Edges::at(left.into(), top.into(), canvas);
    let part = covered
        .inside(from)
        .expect("both are held to one place, so they overlap");
    // Where that part starts on the canvas.
    let at = |start: u32, offset: i64| {
        usize::try_from(i64::from(start) - offset)
            .expect("it starts where the canvas does, or later")
    };
    let (x, y) = (at(part.x, left), at(part.y, top));
    let rows = (part.y as usize..).take(part.size.height as usize).zip(y..);
    let (first, wide) = (part.x as usize, part.size.width as usize);
    let (stride, stride_on) = (from.width as usize, canvas.width as usize);
    match (picture.pixels.into_pixels(), background) {
        (Pixels::Rgb(bytes), Background::Colour(colour)) => {
            let mut on = colour.repeat(stride_on * canvas.height as usize);
            for (row, row_on) in rows {
                let bytes = &bytes[(row * stride + first) * 3..][..wide * 3];
                on[(row_on * stride_on + x) * 3..][..wide * 3].copy_from_slice(bytes);
            }
            Picture::rgb(canvas, on)
        }
        (pixels, _) => {
            let bytes = pixels.into_rgba();
            let mut on = vec![0; stride_on * canvas.height as usize * 4];
            for (row, row_on) in rows {
                let bytes = &bytes[(row * stride + first) * 4..][..wide * 4];
                on[(row_on * stride_on + x) * 4..][..wide * 4].copy_from_slice(bytes);
            }
            Picture::rgba(canvas, on)
        }
    }
}
