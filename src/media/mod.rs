//! The regenerator: from an original to the renditions EMDB makes of it, in EMDB's order (media spec 3.5 and 8.2).
//!
//! ```text
//! original -> decode (limits first, frame 0, no profile, 8 bit)
//!          -> fit 3000x3000 -> flatten -> upright  = the large picture, computed once
//! preset   -> from the large picture (or the original) -> fit or centre crop -> flatten -> encode
//! ```
//!
//! EMDB derives the smaller files from its *encoded* 3000 px file; we take the pixels before encoding, which spares a
//! decode and a generation of loss, and stays within the tolerance of media spec 9.7.
//!
//! Most photographs are JPEG, which holds luma and chroma apart. They stay apart to the end: pixels of red, green and blue
//! are made only where a profile or another format asks for them.
//!
//! Nothing here touches a disk, a network or a global: bytes in, bytes out. The same original and presets give the same
//! bytes, however many threads work ([`Regenerator`]). No panic of a decoder gets past the regenerator.

use std::borrow::Cow;
use std::io::Cursor;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::model::preset::{Preset, PresetId};

mod beyond;
mod budget;
mod canvas;
mod codec;
mod colour;
mod decode;
#[cfg(test)]
mod difference;
mod encode;
mod error;
mod geometry;
mod gif;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;
mod inks;
mod jpeg;
mod likeness;
mod metadata;
mod orient;
mod pages;
mod picture;
mod planes;
mod pool;
mod probe;
mod recipe;
mod resize;
mod rotate;
mod sniff;
#[cfg(test)]
mod specimen;
mod stages;
mod tiff_rare;
mod tiff_tags;

pub use beyond::{Beyond, beyond};
pub use error::{Bound, Error};
pub use likeness::has_lost_crop;
pub use pages::count_pages;
pub use pool::{Finished, Regenerator, Task};
pub use probe::{Probe, probe};
pub use recipe::Recipe;
pub use sniff::is_decoded_here;

use geometry::Size;
use pages::Pages;
use pool::guarded;
use stages::Stages;

/// What an original may ask of this machine. Held against its header before anything is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most pixels, width times height.
    pub max_pixels: u64,
    /// Longest side in pixels.
    pub max_side: u32,
    /// Most bytes the decoded original may take, per image in work.
    pub max_alloc_bytes: u64,
    /// Most bytes the originals in work may take together, decoded and not, but for a single one that takes more alone.
    pub max_in_work_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 268_000_000,
            max_side: 65_500,
            max_alloc_bytes: 2 << 30,
            max_in_work_bytes: 1 << 30,
        }
    }
}

impl Limits {
    /// Whether a picture of this size may be held in memory; otherwise the limit it is over.
    fn check(&self, Size { width, height }: Size) -> Result<(), Bound> {
        if width.max(height) > self.max_side {
            Err(Bound::Side(self.max_side))
        } else if u64::from(width) * u64::from(height) > self.max_pixels {
            Err(Bound::Pixels(self.max_pixels))
        } else {
            Ok(())
        }
    }
}

/// One finished file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// The preset it was made by.
    pub preset: PresetId,
    /// The page it shows, counted from 1.
    pub page: u32,
    /// Name of the file below `generated/<source path>/`.
    pub file_name: String,
    /// The whole file.
    pub bytes: Vec<u8>,
    /// Width in pixels, upright.
    pub width: u32,
    /// Height in pixels, upright.
    pub height: u32,
}

/// Makes what `recipe` asks for, page by page and in its order, of the whole file `original`, on the calling thread.
///
/// # Errors
/// [`Error::NotAnImage`], [`Error::TooLarge`] or [`Error::Decode`] for the original, [`Error::Encode`] for the first preset
/// that could not be made; then there is none at all. A crop that shows nothing of the picture, or would have to be
/// enlarged beyond the limits, is as none: one bad row of a peer must not cost an asset its renditions. A decoder may panic
/// on hostile input; only [`Regenerator`] turns that into [`Error::Panicked`].
pub fn render(original: &[u8], recipe: &Recipe, limits: &Limits) -> Result<Vec<Rendition>, Error> {
    let one = |stages: &Stages<'_>, presets: &[Preset]| {
        presets.iter().map(|preset| stages.make(preset)).collect()
    };
    if recipe.last_page() == 1 {
        return of_page(original, recipe, limits, one);
    }
    let mut pages = Pages::open(original.to_vec(), recipe.last_page());
    let mut made = Vec::new();
    for (page, recipe) in recipe.by_page() {
        let original = pages.turned_to(page, recipe.decoder.is_some())?;
        made.extend(of_page(original, &recipe, limits, one)?);
    }
    Ok(made)
}

/// Renditions of one page, which is what is decoded of `original`; `make` makes all of some presets.
fn of_page(
    original: &[u8],
    recipe: &Recipe,
    limits: &Limits,
    make: impl Fn(&Stages<'_>, &[Preset]) -> Result<Vec<Rendition>, Error>,
) -> Result<Vec<Rendition>, Error> {
    let recipe = &*usable(recipe, original, limits);
    let stages = Stages::open(original, recipe, limits)?;
    make(&stages, &recipe.presets)
}

/// The recipe without crops that cannot be applied to this original.
fn usable<'a>(recipe: &'a Recipe, original: &[u8], limits: &Limits) -> Cow<'a, Recipe> {
    if recipe.crops.is_empty() {
        return Cow::Borrowed(recipe);
    }
    // Of one without headers something else is wrong.
    let Ok(Some(probe)) = probe(Cursor::new(original)) else {
        return Cow::Borrowed(recipe);
    };
    let size = Size::new(probe.width, probe.height);
    let mut usable = recipe.clone();
    usable.crops.retain(|id, crop| {
        let can_be = recipe.can_be_cut(id, *crop, (size, probe.orientation), limits);
        if !can_be {
            tracing::warn!(preset = %id, %crop, ?size, "a crop cannot be applied to its picture");
        }
        can_be
    });
    Cow::Owned(usable)
}

/// Bytes that `original` takes while it is in work, as its header announces them, itself among them; 0 when it is no image.
///
/// A JPEG becomes planes, or three bytes a pixel, or seven where it is of inks; of a progressive one all coefficients are held
/// beside that. Of other formats the samples as they are stored may be held twice, and then have eight bits.
fn footprint(original: &[u8]) -> u64 {
    let Ok(Some(probe)) = probe(Cursor::new(original)) else {
        return 0;
    };
    let each = match &*probe.format {
        "jpg" => {
            let pixel = match jpeg::channels(original) {
                Some(4) => 7,
                _ => 3,
            };
            pixel + jpeg::coefficient_bytes(original)
        }
        _ => 2 * decode::stored_bytes(original) + 4,
    };
    let pixels = u64::from(probe.width) * u64::from(probe.height);
    let decoded = pixels.saturating_mul(each);
    decoded.saturating_add(original.len() as u64)
}

/// The renditions that were made, and the pages after the first of which none could be, each with why.
type Rendered = (Vec<Rendition>, Vec<(u32, Error)>);

/// As [`render`], with a page that is broken left out; nothing comes of any where the first is. The presets are spread over the
/// rayon pool it runs in if `is_spread`, or made on this thread.
fn render_pages(
    pages: &mut Pages,
    recipe: &Recipe,
    limits: &Limits,
    is_spread: bool,
) -> Result<Rendered, Error> {
    let make = |stages: &Stages<'_>, presets: &[Preset]| {
        let one = |preset| stages.make(preset);
        if !is_spread {
            return presets.iter().map(one).collect();
        }
        let made: Vec<_> = presets.par_iter().map(one).collect();
        // Collected before they are judged, so that the error reported is the first in order, not the first in time.
        made.into_iter().collect()
    };
    let (mut made, mut broken) = (Vec::new(), Vec::new());
    // One after the other: of a page nothing is left in memory but its files.
    for (page, recipe) in recipe.by_page() {
        let of_page = guarded(|| {
            let original = pages.turned_to(page, recipe.decoder.is_some())?;
            of_page(original, &recipe, limits, make)
        });
        match of_page {
            Ok(of_page) => made.extend(of_page),
            Err(error) if page > 1 => broken.push((page, error)),
            Err(error) => return Err(error),
        }
    }
    Ok((made, broken))
}
