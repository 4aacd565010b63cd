//! The words a preset is made of.

use std::fmt;

/// libwebp's own default, which EMDB's converter leaves alone.
pub const WEBP_METHOD: u8 = 4;

/// Family of a file format: it decides which presets apply (media spec 0 and 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RenderType {
    /// Pictures, raw camera files, fonts.
    Image,
    /// PDF and office files.
    Document,
    /// Films.
    Video,
    /// Sound.
    Audio,
    /// Plain text.
    Text,
    /// XML and HTML.
    Xml,
    /// Flash.
    Embedded,
    /// Programs.
    Misc,
    /// Every format that is not known.
    Default,
    /// No format at all.
    None,
}

impl RenderType {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Image,
        Self::Document,
        Self::Video,
        Self::Audio,
        Self::Text,
        Self::Xml,
        Self::Embedded,
        Self::Misc,
        Self::Default,
        Self::None,
    ];

    /// EMDB's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Document => "document",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Text => "text",
            Self::Xml => "xml",
            Self::Embedded => "embedded",
            Self::Misc => "misc",
            Self::Default => "default",
            Self::None => "none",
        }
    }

    /// The type EMDB calls so.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

impl fmt::Display for RenderType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Render types a preset is for (`inputtype`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inputs {
    /// `all`: offered for everything, and made of nothing by an import (media spec 1.3).
    All,
    /// Each that is named, in the order written. Words that are no render type of ours are left out: no format has one.
    Of(Vec<RenderType>),
}

impl Inputs {
    /// Whether the type is named; `all` names none.
    #[must_use]
    pub fn names(&self, render_type: RenderType) -> bool {
        match self {
            Self::All => false,
            Self::Of(types) => types.contains(&render_type),
        }
    }
}

/// What of EMDB runs a preset (`transcoderid`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transcoder {
    /// Nothing: the original itself.
    Original,
    /// Pictures.
    ImageMagick,
    /// A frame of a film.
    FfmpegImage,
    /// A film.
    Ffmpeg,
    /// Sound.
    Audio,
    /// Office files to PDF.
    Ooffice,
    /// Another one.
    Other(String),
}

impl Transcoder {
    /// The transcoder EMDB calls so.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "original" => Self::Original,
            "imagemagick" => Self::ImageMagick,
            "ffmpegimage" => Self::FfmpegImage,
            "ffmpeg" => Self::Ffmpeg,
            "audio" => Self::Audio,
            "ooffice" => Self::Ooffice,
            other => Self::Other(other.to_owned()),
        }
    }

    /// EMDB's word for it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Original => "original",
            Self::ImageMagick => "imagemagick",
            Self::FfmpegImage => "ffmpegimage",
            Self::Ffmpeg => "ffmpeg",
            Self::Audio => "audio",
            Self::Ooffice => "ooffice",
            Self::Other(word) => word,
        }
    }
}

/// How the picture is brought into the box (media spec 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Shrunk until it fits, never enlarged.
    Fit,
    /// Scaled until it fits, enlarged if need be (`scaleup`).
    FitEnlarge,
    /// Scaled until it covers the box, enlarged if need be, and left whole (`minsize`).
    Fill,
    /// Scaled until it covers the box, enlarged if need be, then cut (`crop`).
    Cut(Cut),
}

/// Which part of the scaled picture is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Side or corner that `x` and `y` count from.
    pub gravity: Gravity,
    /// Pixels to the inside.
    pub x: i64,
    /// Pixels to the inside.
    pub y: i64,
    /// Width and height to keep where they are not those of the box.
    pub size: Option<(u32, u32)>,
    /// Whether the picture is cut first and scaled after (`croplast`).
    pub is_before_scaling: bool,
}

impl Cut {
    /// The box, from the middle.
    pub const CENTRE: Self = Self {
        gravity: Gravity::Centre,
        x: 0,
        y: 0,
        size: None,
        is_before_scaling: false,
    };
}

/// A side, a corner or the middle of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gravity {
    /// Top left; where a crop without gravity starts.
    NorthWest,
    /// Top.
    North,
    /// Top right.
    NorthEast,
    /// Left.
    West,
    /// The middle.
    Centre,
    /// Right.
    East,
    /// Bottom left.
    SouthWest,
    /// Bottom.
    South,
    /// Bottom right.
    SouthEast,
}

impl Gravity {
    /// The gravity the converter calls so, in whatever case.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let words = [
            ("northwest", Self::NorthWest),
            ("north", Self::North),
            ("northeast", Self::NorthEast),
            ("west", Self::West),
            ("center", Self::Centre),
            ("east", Self::East),
            ("southwest", Self::SouthWest),
            ("south", Self::South),
            ("southeast", Self::SouthEast),
        ];
        let word = word.to_ascii_lowercase();
        let known = words.into_iter().find(|(known, _)| *known == word);
        known.map(|(_, gravity)| gravity)
    }

    /// What it says of the width and of the height.
    #[must_use]
    pub const fn sides(self) -> (Held, Held) {
        match self {
            Self::NorthWest => (Held::Start, Held::Start),
            Self::North => (Held::Middle, Held::Start),
            Self::NorthEast => (Held::End, Held::Start),
            Self::West => (Held::Start, Held::Middle),
            Self::Centre => (Held::Middle, Held::Middle),
            Self::East => (Held::End, Held::Middle),
            Self::SouthWest => (Held::Start, Held::End),
            Self::South => (Held::Middle, Held::End),
            Self::SouthEast => (Held::End, Held::End),
        }
    }

    /// The one that says this of the width and of the height.
    #[must_use]
    pub const fn of_sides(across: Held, down: Held) -> Self {
        match (across, down) {
            (Held::Start, Held::Start) => Self::NorthWest,
            (Held::Middle, Held::Start) => Self::North,
            (Held::End, Held::Start) => Self::NorthEast,
            (Held::Start, Held::Middle) => Self::West,
            (Held::Middle, Held::Middle) => Self::Centre,
            (Held::End, Held::Middle) => Self::East,
            (Held::Start, Held::End) => Self::SouthWest,
            (Held::Middle, Held::End) => Self::South,
            (Held::End, Held::End) => Self::SouthEast,
        }
    }
}

/// Where a part lies along one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// At the left, or the top.
    Start,
    /// In the middle.
    Middle,
    /// At the right, or the bottom.
    End,
}

impl Held {
    /// Seen in a mirror.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        match self {
            Self::Start => Self::End,
            Self::Middle => Self::Middle,
            Self::End => Self::Start,
        }
    }
}

/// A canvas that the picture is laid on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where the picture lies on it.
    pub gravity: Gravity,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// How the pixels are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Lossy WebP; 4:2:0 by nature.
    WebP {
        /// 0 to 100.
        quality: u8,
        /// Effort, 0 (fast) to 6 (small); EMDB knows no such setting.
        method: u8,
    },
    /// Baseline JPEG with 4:2:0 chroma.
    Jpeg {
        /// 1 to 100.
        quality: u8,
    },
    /// PNG, which keeps transparency.
    Png,
    /// GIF of at most 256 colours, each pixel of which is opaque or not there at all.
    Gif,
    /// A format that is not written here.
    Other,
}

/// What transparency is laid on, and what fills a canvas around a picture (`background`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Background {
    /// Red, green and blue.
    Colour([u8; 3]),
    /// Nothing: transparency stays.
    Transparent,
}

impl Background {
    /// White, where nothing else is said.
    pub const WHITE: Self = Self::Colour([255; 3]);

    /// The background the converter calls so: a name that SVG and X11 agree on, `#rgb`, `#rrggbb`, `rgb(r,g,b)`, `none` or
    /// `transparent`, in whatever case. `None` for another name, and for a colour that is half transparent.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        const NAMES: [(&str, u32); 20] = [
            ("aqua", 0x00_ffff),
            ("black", 0),
            ("blue", 0x00_00ff),
            ("cyan", 0x00_ffff),
            ("fuchsia", 0xff_00ff),
            ("green", 0x00_8000),
            ("lime", 0x00_ff00),
            ("magenta", 0xff_00ff),
            ("maroon", 0x80_0000),
            ("navy", 0x00_0080),
            ("olive", 0x80_8000),
            ("orange", 0xff_a500),
            ("pink", 0xff_c0cb),
            ("purple", 0x80_0080),
            ("red", 0xff_0000),
            ("silver", 0xc0_c0c0),
            ("teal", 0x00_8080),
            ("white", 0xff_ffff),
            ("yellow", 0xff_ff00),
            ("ivory", 0xff_fff0),
        ];
        let of_number = |number: u32| {
            let [_, colour @ ..] = number.to_be_bytes();
            Self::Colour(colour)
        };
        let word = word.trim().to_ascii_lowercase();
        if matches!(&*word, "none" | "transparent") {
            return Some(Self::Transparent);
        }
        if let Some(digits) = word.strip_prefix('#') {
            // A sign is no digit.
            let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let number = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
            return match digits.len() {
                3 => Some(Self::Colour(
                    [8, 4, 0].map(|at| (number >> at & 15) as u8 * 17),
                )),
                6 => Some(of_number(number)),
                _ => None,
            };
        }
        if let Some(values) = word
            .strip_prefix("rgb(")
            .and_then(|it| it.strip_suffix(')'))
        {
            let values: Result<Vec<u8>, _> =
                values.split(',').map(|it| it.trim().parse()).collect();
            return values.ok()?.try_into().ok().map(Self::Colour);
        }
        let known = NAMES.into_iter().find(|(name, _)| *name == word);
        known.map(|(_, number)| of_number(number))
    }
}

/// What a rendition is made from (media spec 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The original itself.
    Original,
    /// The pixels of the 3000 px rendition, of a film those of its frame: smaller files derive from it.
    Large,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_background_is_a_colour_by_name_or_numbers_or_nothing_at_all() {
        let colour = |r, g, b| Some(Background::Colour([r, g, b]));
        for (word, background) in [
            ("White", colour(255, 255, 255)),
            ("green", colour(0, 128, 0)),
            ("#1a2B3c", colour(0x1a, 0x2b, 0x3c)),
            ("#f08", colour(0xff, 0, 0x88)),
            ("rgb(1, 2,3)", colour(1, 2, 3)),
            (" none ", Some(Background::Transparent)),
            ("transparent", Some(Background::Transparent)),
            // X11 and SVG, and one release of the converter and another, have different ones.
            ("gray", None),
            ("#ff000080", None),
            ("#+12", None),
            ("rgb(1,2)", None),
            ("rgb(1,2,300)", None),
            ("", None),
        ] {
            assert_eq!(Background::from_word(word), background, "{word}");
        }
    }
}
