//! Whether a rendition that another program made shows a user's crop: it is compared with what is made here with it and without.

use super::decode::decode;
use super::picture::{Pixels, WHITE};
use super::pool::guarded;
use super::{Error, Limits, Recipe, render};
use crate::model::preset::Preset;

/// Most of 255 that two renditions by one recipe differ on average: another program's own encoder does no more (media spec 9.7).
const SAME: f64 = 4.0;
/// By how much more the other one has to differ. Below it nobody sees which of both it is.
const CLEARLY: f64 = 1.0;

/// Whether `current`, a file of `preset` of the whole file `original`, was made without the crop that `recipe` has for it. Only what is
/// beyond doubt is: of the size of one without, like that one, and clearly less like the one with it. Blocks.
#[must_use]
pub fn has_lost_crop(
    (original, current): (&[u8], &[u8]),
    recipe: &Recipe,
    preset: &Preset,
    limits: &Limits,
) -> bool {
    let with = recipe.only(vec![preset.clone()]);
    let mut without = with.clone();
    without.crops.remove(&preset.id);
    let difference_to = |recipe: &Recipe| {
        let made = render(original, recipe, limits)?;
        Ok(made.first().map_or(f64::INFINITY, |made| {
            mean_difference(&made.bytes, current, limits)
        }))
    };
    let compared = guarded(|| Ok::<_, Error>((difference_to(&without)?, difference_to(&with)?)));
    compared.is_ok_and(|(without, with)| without <= SAME && without + CLEARLY < with)
}

/// How much the values of two files of pictures differ on average, of 255; infinitely where they are of different sizes.
fn mean_difference(one: &[u8], other: &[u8], limits: &Limits) -> f64 {
    let values = |file| {
        let picture = decode(file, &Recipe::default(), limits).ok()?.picture;
        let size = picture.size;
        match picture.flattened(WHITE).pixels.into_pixels() {
            Pixels::Rgb(values) => Some((size, values)),
            _ => None,
        }
    };
    let (Some((size, one)), Some((other_size, other))) = (values(one), values(other)) else {
        return f64::INFINITY;
    };
    if size != other_size || one.is_empty() {
        return f64::INFINITY;
    }
    let pairs = one.iter().zip(&other);
    let sum: u64 = pairs
        .map(|(one, other)| u64::from(one.abs_diff(*other)))
        .sum();
    sum as f64 / one.len() as f64
}
