//! Names of generated files (media spec 2.2): put together as EMDB's converter does, and taken apart as its server does.

use std::fmt;

use super::{Preset, RenderType};

/// The other side of a box of which a request asks for one only.
const UNSAID_SIDE: u32 = 10_000;

/// What a computed name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Type of the output.
    pub render_type: RenderType,
    /// Width and height of the box.
    pub size: Option<(u32, u32)>,
    /// Counted from 1, which is not said.
    pub page: u32,
    /// Whether a watermark is asked for.
    pub watermark: bool,
    /// A film's frame.
    pub frame: Option<String>,
    /// A colour space, such as `CMYK`.
    pub colour_space: Option<String>,
    /// Whether the picture is cut, or laid on a canvas.
    pub cropped: bool,
    /// Moment of a film in seconds, as given.
    pub time_offset: Option<String>,
    /// Without the dot.
    pub extension: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_picture = matches!(self.render_type, RenderType::Image | RenderType::Document);
        f.write_str(self.render_type.as_str())?;
        if is_picture || self.render_type == RenderType::Video {
            if let Some((width, height)) = self.size {
                write!(f, "{width}x{height}")?;
            }
            if self.page > 1 {
                write!(f, "page{}", self.page)?;
            }
        }
        if self.watermark && is_picture {
            f.write_str("wm")?;
        }
        if let Some(frame) = &self.frame {
            write!(f, "frame{frame}")?;
        }
        f.write_str(self.colour_space.as_deref().unwrap_or_default())?;
        if self.cropped {
            f.write_str("cropped")?;
        }
        if let Some(offset) = &self.time_offset {
            write!(f, "offset{offset}")?;
        }
        write!(f, ".{}", self.extension)
    }
}

/// A requested name, taken apart: the file it is of, and which page or moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// The name without page and moment: what presets are looked up by.
    pub file_name: String,
    /// Counted from 1; `None` when the name says none.
    pub page: Option<u32>,
    /// Seconds, as given.
    pub time_offset: Option<String>,
}

impl Requested {
    /// Takes a name apart; one without an extension gets `extension` (EMDB's setting `default_thumbnail_extension`).
    ///
    /// `None` for a name whose page is no number, which EMDB cannot take apart either: `image110x62page2cropped.webp`.
    #[must_use]
    pub fn parse(name: &str, extension: &str) -> Option<Self> {
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, extension));
        let (stem, time_offset) = split(stem, "offset");
        let (stem, page) = split(stem, "page");
        let page = page.map(|page| page.parse().ok().filter(|page| *page > 0));
        let page = match page {
            Some(None) => return None,
            said => said.flatten(),
        };
        Some(Self {
            file_name: format!("{stem}.{extension}"),
            page,
            time_offset: time_offset.map(str::to_owned),
        })
    }
}

fn split<'a>(stem: &'a str, word: &str) -> (&'a str, Option<&'a str>) {
    match stem.split_once(word) {
        Some((before, after)) => (before, Some(after)),
        None => (stem, None),
    }
}

/// The name that serves for another one, as it was called in older catalogs: `image550x350` and `image550x550`.
#[must_use]
pub fn alias(file_name: &str) -> Option<String> {
    let twins = [
        ("image550x350.", "image550x550."),
        ("image550x550.", "image550x350."),
    ];
    twins.into_iter().find_map(|(one, other)| {
        file_name
            .strip_prefix(one)
            .map(|extension| format!("{other}{extension}"))
    })
}

impl Preset {
    /// The preset with the box a request asks for. Of one side alone the other is as good as unlimited; none leaves it as it is.
    ///
    /// The file is then called by its box, unless its name is stated.
    #[must_use]
    pub fn asked_for(&self, width: Option<u32>, height: Option<u32>) -> Self {
        let mut asked = self.clone();
        if width.or(height).is_some() {
            asked.width = width.unwrap_or(UNSAID_SIDE);
            asked.height = height.unwrap_or(UNSAID_SIDE);
            asked.file_name = asked.file_name_of(1);
        }
        asked
    }
}
