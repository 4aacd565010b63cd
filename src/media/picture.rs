//! Decoded pixels: eight bits a channel, row by row without padding, with or without alpha, or luma and chroma apart.

use super::geometry::Size;
use super::planes::Planes;

/// A colour without alpha.
pub(super) type Rgb = [u8; 3];

/// EMDB's colour below transparency (media spec 3.5.6).
pub(super) const WHITE: Rgb = [255; 3];

/// Pixels of one picture, `size.width * size.height` of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) size: Size,
    pub(super) pixels: Pixels,
}

/// Rows from the top, pixels from the left; alpha is not multiplied into the colours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pixels {
    /// Three bytes a pixel.
    Rgb(Vec<u8>),
    /// Four bytes a pixel; at least one pixel may be transparent.
    Rgba(Vec<u8>),
    /// Of a JPEG, which holds them so.
    Planes(Planes),
}

impl Pixels {
    /// The same with luma and chroma made pixels.
    pub(super) fn into_pixels(self) -> Self {
        match self {
            Self::Planes(planes) => Self::Rgb(planes.to_rgb()),
            pixels => pixels,
        }
    }

    /// Four bytes a pixel.
    pub(super) fn into_rgba(self) -> Vec<u8> {
        match self {
            Self::Rgba(bytes) => bytes,
            Self::Rgb(bytes) => {
                let (pixels, _) = bytes.as_chunks::<3>();
                let opaque = pixels.iter().flat_map(|[r, g, b]| [*r, *g, *b, u8::MAX]);
                opaque.collect()
            }
            Self::Planes(planes) => Self::Rgb(planes.to_rgb()).into_rgba(),
        }
    }
}

impl Picture {
    /// From rows of RGB.
    pub(super) fn rgb(size: Size, bytes: Vec<u8>) -> Self {
        let pixels = Pixels::Rgb(bytes);
        Self { size, pixels }
    }

    /// From luma and chroma.
    pub(super) fn planes(planes: Planes) -> Self {
        let size = planes.luma.size;
        let pixels = Pixels::Planes(planes);
        Self { size, pixels }
    }

    /// From rows of RGBA; an alpha channel that hides nothing is dropped, so that opaque pictures take the short way.
    pub(super) fn rgba(size: Size, bytes: Vec<u8>) -> Self {
        let (quads, _) = bytes.as_chunks::<4>();
        let pixels = if quads.iter().all(|[.., alpha]| *alpha == u8::MAX) {
            Pixels::Rgb(quads.iter().flat_map(|[r, g, b, _]| [*r, *g, *b]).collect())
        } else {
            Pixels::Rgba(bytes)
        };
        Self { size, pixels }
    }

    /// Whether it has an alpha channel.
    pub(super) fn has_alpha(&self) -> bool {
        matches!(self.pixels, Pixels::Rgba(_))
    }

    /// The picture laid on `colour`; an opaque one is handed back untouched.
    pub(super) fn flattened(self, colour: Rgb) -> Self {
        let Pixels::Rgba(bytes) = &self.pixels else {
            return self;
        };
        let (quads, _) = bytes.as_chunks::<4>();
        let mut flat = Vec::with_capacity(quads.len() * 3);
        for [r, g, b, alpha] in quads {
            flat.extend_from_slice(&[
                blend(*r, colour[0], *alpha),
                blend(*g, colour[1], *alpha),
                blend(*b, colour[2], *alpha),
            ]);
        }
        Self::rgb(self.size, flat)
    }
}

/// `over` on `under` at `alpha` of 255, rounded to the nearest value.
fn blend(over: u8, under: u8, alpha: u8) -> u8 {
    let alpha = u32::from(alpha);
    let sum = u32::from(over) * alpha + u32::from(under) * (255 - alpha);
    u8::try_from((sum + 127) / 255).expect("a mean of two bytes is a byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: Size = Size::new(2, 1);

    #[test]
    fn an_alpha_channel_that_hides_nothing_is_dropped() {
        let picture = Picture::rgba(PAIR, vec![1, 2, 3, 255, 4, 5, 6, 255]);
        assert_eq!(picture, Picture::rgb(PAIR, vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn flattening_blends_with_the_colour_below() {
        let picture = Picture::rgba(PAIR, vec![0, 0, 0, 0, 255, 0, 100, 128]);
        assert!(picture.has_alpha());
        let flat = picture.flattened([200, 100, 0]);
        assert_eq!(flat, Picture::rgb(PAIR, vec![200, 100, 0, 228, 50, 50]));
    }

    #[test]
    fn blending_reaches_both_ends() {
        for value in [0, 1, 127, 254, 255] {
            assert_eq!(blend(value, 77, 255), value);
            assert_eq!(blend(77, value, 0), value);
        }
    }
}
