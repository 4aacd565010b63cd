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
//! Nothing here touches a disk, a network or a global: bytes in, bytes out. The same original and presets give the same
//! bytes, however many threads work ([`Regenerator`]). No panic of a decoder gets past the regenerator.

use std::borrow::Cow;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::model::preset::{Encoding, Preset, PresetId, Shape, Source};

mod codec;
mod decode;
mod encode;
mod error;
mod geometry;
mod gif;
#[cfg(test)]
mod golden;
mod jpeg;
mod metadata;
mod orient;
mod picture;
mod pool;
mod probe;
mod resize;
mod sniff;
mod tiff_tags;

pub use error::{Bound, Error};
pub use pool::{Finished, Regenerator, Task};
pub use probe::{Probe, probe};

use decode::{Decoded, Traits, decode};
use geometry::Size;
use gif::Background;
use picture::{Picture, WHITE};

/// Box of the picture that smaller renditions derive from (media spec 2.3).
const LARGE: Size = Size::new(3000, 3000);

/// What an original may ask of this machine. Held against its header before anything is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most pixels, width times height.
    pub max_pixels: u64,
    /// Longest side in pixels.
    pub max_side: u32,
    /// Most bytes the decoded original may take, per image in work.
    pub max_alloc_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 268_000_000,
            max_side: 65_500,
            max_alloc_bytes: 2 << 30,
        }
    }
}

/// One finished file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// The preset it was made by.
    pub preset: PresetId,
    /// Name of the file below `generated/<source path>/`.
    pub file_name: String,
    /// The whole file.
    pub bytes: Vec<u8>,
    /// Width in pixels, upright.
    pub width: u32,
    /// Height in pixels, upright.
    pub height: u32,
}

/// Makes `presets`, in their order, of the whole file `original`, on the calling thread.
///
/// # Errors
/// [`Error::NotAnImage`], [`Error::TooLarge`] or [`Error::Decode`] for the original, [`Error::Encode`] for the first
/// preset that could not be made; then there is none at all. A decoder may panic on hostile input; only
/// [`Regenerator`] turns that into [`Error::Panicked`].
pub fn render(
    original: &[u8],
    presets: &[Preset],
    limits: &Limits,
) -> Result<Vec<Rendition>, Error> {
    let stages = Stages::open(original, presets, limits)?;
    presets.iter().map(|preset| stages.make(preset)).collect()
}

/// As [`render`], with the presets spread over the rayon pool it runs in.
fn render_spread(
    original: &[u8],
    presets: &[Preset],
    limits: &Limits,
) -> Result<Vec<Rendition>, Error> {
    let stages = Stages::open(original, presets, limits)?;
    let made: Vec<_> = presets
        .par_iter()
        .map(|preset| stages.make(preset))
        .collect();
    // Collected before they are judged, so that the error reported is the first in order, not the first in time.
    made.into_iter().collect()
}

/// What presets are made from.
struct Stages {
    /// The original; dropped early when every preset derives from the large picture.
    original: Option<Decoded>,
    /// The large picture, upright.
    large: Picture,
}

impl Stages {
    fn open(original: &[u8], presets: &[Preset], limits: &Limits) -> Result<Self, Error> {
        let decoded = decode(original, limits)?;
        let large_of = |picture: Cow<'_, Picture>, traits| {
            upright(picture, traits, LARGE, Shape::Fit, true).map_err(|source| Error::Encode {
                file_name: "large picture".to_owned(),
                source,
            })
        };
        let is_needed = |preset: &Preset| preset.source == Source::Original && !is_large(preset);
        if presets.iter().any(is_needed) {
            let large = large_of(Cow::Borrowed(&decoded.picture), decoded.traits)?;
            let original = Some(decoded);
            return Ok(Self { original, large });
        }
        let large = large_of(Cow::Owned(decoded.picture), decoded.traits)?;
        let original = None;
        Ok(Self { original, large })
    }

    /// Makes one rendition.
    fn make(&self, preset: &Preset) -> Result<Rendition, Error> {
        let refused = |source| Error::Encode {
            file_name: preset.file_name.clone(),
            source,
        };
        let picture = self.pixels(preset).map_err(refused)?;
        let bytes = encode::encode(&picture, preset.encoding).map_err(refused)?;
        Ok(Rendition {
            preset: preset.id.clone(),
            file_name: preset.file_name.clone(),
            bytes,
            width: picture.size.width,
            height: picture.size.height,
        })
    }

    fn pixels(&self, preset: &Preset) -> Result<Cow<'_, Picture>, error::Cause> {
        let into = Size::new(preset.width, preset.height);
        let is_flat = preset.flatten || matches!(preset.encoding, Encoding::Jpeg { .. });
        match &self.original {
            Some(decoded) if preset.source == Source::Original && !is_large(preset) => {
                let picture = Cow::Borrowed(&decoded.picture);
                upright(picture, decoded.traits, into, preset.shape, is_flat).map(Cow::Owned)
            }
            _ if is_large(preset) => Ok(Cow::Borrowed(&self.large)),
            _ => {
                let large = Cow::Borrowed(&self.large);
                let picture = resize::bring(large, into, preset.shape, false)?;
                Ok(if is_flat && picture.has_alpha() {
                    Cow::Owned(picture.into_owned().flattened(WHITE))
                } else {
                    picture
                })
            }
        }
    }
}

/// Whether a preset asks for the large picture itself.
fn is_large(preset: &Preset) -> bool {
    preset.source == Source::Original
        && preset.shape == Shape::Fit
        && preset.flatten
        && Size::new(preset.width, preset.height) == LARGE
}

/// `picture`, pixels of an original, brought into the box, flattened as its format asks, and turned.
///
/// The box is the one of the upright picture, so it is turned too while the picture still lies on its side.
fn upright(
    picture: Cow<'_, Picture>,
    traits: Traits,
    into: Size,
    shape: Shape,
    is_flat: bool,
) -> Result<Picture, error::Cause> {
    let into = if orient::turns(traits.orientation) {
        into.turned()
    } else {
        into
    };
    let picture = resize::bring(picture, into, shape, traits.soft)?.into_owned();
    let picture = match traits.background {
        Background::Colour(colour) if is_flat => picture.flattened(colour),
        _ => picture,
    };
    Ok(orient::upright(picture, traits.orientation))
}
