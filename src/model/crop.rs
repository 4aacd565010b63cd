//! A user's rectangle on an original, and the two ways to understand it and the colours around it.

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
}
