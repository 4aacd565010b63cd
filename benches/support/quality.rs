//! How near renditions are to the original: luma held against the whole original, scaled by Lanczos's filter.

use std::path::Path;

use fast_image_resize::images::Image;
use fast_image_resize::{PixelType, Resizer};
use image::RgbImage;

use super::painters::Set;
use super::photos::all;

/// Means over all photographs.
#[derive(Debug, Default)]
pub(crate) struct Quality {
    /// Structural similarity of luma, 1 for equal: of the large rendition, and of a small one.
    pub(crate) large: f64,
    pub(crate) small: f64,
    /// Mean difference per colour of the large one, of 255.
    pub(crate) difference: f64,
    /// Of all renditions of all photographs.
    pub(crate) bytes: f64,
}

/// Judges what was made of the photographs.
pub(crate) fn judge(set: Set, photos: &Path, made: &Path) -> Quality {
    let mut quality = Quality::default();
    let mut count = 0.0;
    for (name, photo) in all(photos) {
        let original = image::load_from_memory(&photo).unwrap().into_rgb8();
        let of = |file: &str| {
            let made = image::open(made.join(format!("{name}.{file}")))
                .unwrap()
                .into_rgb8();
            let reference = scaled(&original, made.dimensions());
            let difference: u64 = made
                .iter()
                .zip(reference.iter())
                .map(|(a, b)| u64::from(a.abs_diff(*b)))
                .sum();
            (
                similarity(&luma(&made), &luma(&reference), made.width() as usize),
                difference as f64 / made.len() as f64,
            )
        };
        let [large, small] = set.judged().map(of);
        quality.large += large.0;
        quality.difference += large.1;
        quality.small += small.0;
        count += 1.0;
        for preset in set.presets() {
            let file = made.join(format!("{name}.{}", preset.file_name));
            quality.bytes += file.metadata().unwrap().len() as f64;
        }
    }
    quality.large /= count;
    quality.small /= count;
    quality.difference /= count;
    quality
}

fn scaled(original: &RgbImage, (width, height): (u32, u32)) -> RgbImage {
    let (w, h) = original.dimensions();
    let from = Image::from_vec_u8(w, h, original.as_raw().clone(), PixelType::U8x3).unwrap();
    let mut to = Image::new(width, height, PixelType::U8x3);
    Resizer::new().resize(&from, &mut to, None).unwrap();
    RgbImage::from_raw(width, height, to.into_vec()).unwrap()
}

fn luma(picture: &RgbImage) -> Vec<f32> {
    let one = |pixel: &image::Rgb<u8>| {
        let [r, g, b] = pixel.0.map(f32::from);
        0.299 * r + 0.587 * g + 0.114 * b
    };
    picture.pixels().map(one).collect()
}

/// Mean structural similarity (Wang and others, 2004) over windows of 8 by 8, four apart.
fn similarity(a: &[f32], b: &[f32], width: usize) -> f64 {
    let height = a.len() / width;
    let (mut sum, mut count) = (0.0, 0.0);
    for top in (0..height.saturating_sub(7)).step_by(4) {
        for left in (0..width.saturating_sub(7)).step_by(4) {
            let (mut a1, mut b1, mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for y in top..top + 8 {
                let row = y * width + left;
                for (a, b) in a[row..row + 8].iter().zip(&b[row..row + 8]) {
                    let (a, b) = (f64::from(*a), f64::from(*b));
                    a1 += a;
                    b1 += b;
                    aa += a * a;
                    bb += b * b;
                    ab += a * b;
                }
            }
            let (mean_a, mean_b) = (a1 / 64.0, b1 / 64.0);
            let (var_a, var_b) = (aa / 64.0 - mean_a * mean_a, bb / 64.0 - mean_b * mean_b);
            let both = ab / 64.0 - mean_a * mean_b;
            let (c1, c2) = ((0.01_f64 * 255.0).powi(2), (0.03_f64 * 255.0).powi(2));
            sum += (2.0 * mean_a * mean_b + c1) * (2.0 * both + c2)
                / ((mean_a.powi(2) + mean_b.powi(2) + c1) * (var_a + var_b + c2));
            count += 1.0;
        }
    }
    sum / count
}
