//! A user's rectangle on an original, and the two ways to understand it and the colours around it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How much of EMDB's handling of pixels is kept (media spec 3.5, 4.5 and 8.3).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What EMDB makes: colour values unchanged whatever their profile says, crops cut from the stored picture.
    #[default]
    Faithful,
    /// What the user saw: colours converted to sRGB by their profile, crops cut from the upright picture.
    Corrected,
}

/// A rectangle as EMDB's `assetcrop` holds it: pixels of the original, in the grid it is stored in, before any turning.
///
/// It may reach outside the picture, also to the left and above; what counts is what lies inside (media spec 3.5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Crop {
    /// Left edge in pixels.
    pub x: i64,
    /// Upper edge in pixels.
    pub y: i64,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl Crop {
    /// The rectangle that shows this part of the upright picture, as EMDB's editor would have noted it for an original that is
    /// stored `width` by `height` and turned by EXIF `orientation` (media spec 4.5). Rounded to whole pixels.
    #[must_use]
    pub fn from_upright(self, (width, height): (u32, u32), orientation: u8) -> Self {
        if !(5..=8).contains(&orientation) || width == 0 || height == 0 {
            return self;
        }
        let (across, down) = (
            f64::from(width) / f64::from(height),
            f64::from(height) / f64::from(width),
        );
        // Sides of pictures are far from where a double is no whole number any more.
        let side = |side: u32, by: f64| (f64::from(side) * by).round().max(1.0) as u32;
        Self {
            x: (self.x as f64 * across).round() as i64,
            y: (self.y as f64 * down).round() as i64,
            width: side(self.width, across),
            height: side(self.height, down),
        }
    }
}

/// Text that is no rectangle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rectangle; write WIDTHxHEIGHT+X+Y in pixels, such as 800x600+120+40")]
pub struct CropError(String);

impl FromStr for Crop {
    type Err = CropError;

    /// From `WIDTHxHEIGHT+X+Y`, or as it is written where a corner lies outside: `WIDTHxHEIGHT-X-Y`.
    fn from_str(text: &str) -> Result<Self, CropError> {
        let read = || {
            let text = text.trim();
            let (width, rest) = text.split_once('x')?;
            // Signs begin the two numbers of the corner; one that follows its sign is no number.
            let (height, at) = rest.split_at(rest.find(['+', '-'])?);
            let (x, y) = at.split_at(1 + at.get(1..)?.find(['+', '-'])?);
            Some(Self {
                x: x.parse().ok()?,
                y: y.parse().ok()?,
                width: width.parse().ok().filter(|width| *width > 0)?,
                height: height.parse().ok().filter(|height| *height > 0)?,
            })
        };
        read().ok_or_else(|| CropError(text.to_owned()))
    }
}

impl fmt::Display for Crop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}{:+}{:+}", self.width, self.height, self.x, self.y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_in_lower_case_and_faithful_is_the_default() {
        let written = serde_json::to_string(&[Mode::Faithful, Mode::Corrected]).unwrap();
        assert_eq!(written, r#"["faithful","corrected"]"#);
        assert_eq!(Mode::default(), Mode::Faithful);
    }

    #[test]
    fn a_crop_comes_back_as_it_was_written() {
        let crop = Crop {
            x: -3,
            y: 7,
            width: 40,
            height: 30,
        };
        let written = serde_json::to_string(&crop).unwrap();
        assert_eq!(serde_json::from_str::<Crop>(&written).unwrap(), crop);
    }

    #[test]
    fn a_rectangle_is_written_as_size_and_corner() {
        let crop: Crop = "800x600+120+40".parse().unwrap();
        let expected = Crop {
            x: 120,
            y: 40,
            width: 800,
            height: 600,
        };
        assert_eq!(crop, expected);
        assert_eq!(crop.to_string(), "800x600+120+40");
        let outside: Crop = "800x600-5+40".parse().unwrap();
        assert_eq!((outside.x, outside.y), (-5, 40));
        assert_eq!(outside.to_string(), "800x600-5+40");
        for bad in [
            "",
            "800x600",
            "0x600+1+1",
            "800x0+1+1",
            "axb+1+1",
            "800x600+1",
            "-1x2+3+4",
            "8x6++1+1",
            "8x6+1+-1",
            "8x6+",
            "8x-6+1+1",
        ] {
            assert!(bad.parse::<Crop>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_drawn_on_an_upright_picture_is_noted_in_the_stored_grid() {
        let drawn: Crop = "100x60+20+30".parse().unwrap();
        for orientation in 1..=4 {
            assert_eq!(drawn.from_upright((800, 400), orientation), drawn);
        }
        // Shown 400 by 800: one pixel across is two in the grid of the stored picture, one down is half.
        for orientation in 5..=8 {
            let noted = drawn.from_upright((800, 400), orientation);
            assert_eq!(noted.to_string(), "200x30+40+15");
        }
    }
}
