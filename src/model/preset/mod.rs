//! Recipes for generated files, as data: EMDB's convert presets (media spec 1 and 2).
//!
//! ```text
//! EMDB's own rows ─────────┐
//! a site's lists over them ┼─▶ rows ─▶ read ─▶ Preset ─▶ PresetTable ─▶ for_import, by_file_name, expected, renditions
//! [[preset]] over both ────┘     of rows with one id the first counts; a setting of ours, then a parameter row, then an attribute
//! ```
//!
//! - `parts`: the words a preset is made of; `formats`: from a file format to its render type
//! - `rows`: rows of EMDB's two list tables and which of them count; `shipped`: the rows EMDB comes with
//! - `read`: from rows to a [`Preset`]; `name`: the names of the files it writes, and back
//! - `frame`: the frame of a film, which EMDB writes twice and by settings of its own
//! - `table`: the presets a node uses; `expected`: the files they make of an asset; `conversion`: those that are no pictures
//!
//! A preset of any kind is data here; [`is_made_here`] says which of them this program can make itself.

use std::collections::BTreeMap;
use std::fmt;

mod conversion;
mod expected;
mod formats;
mod frame;
mod name;
mod parts;
mod read;
mod rows;
mod shipped;
mod table;

pub use conversion::{Conversion, Product};
pub use expected::{Expected, MOST_PAGES, Subject, expected};
pub use formats::{IMAGE_FORMATS, is_image_format, is_raw_format, is_read_by_name, render_type};
pub use name::{Name, Requested, alias};
pub use parts::{
    Background, Cut, Encoding, Extent, Gravity, Held, Inputs, RenderType, Shape, Source,
    Transcoder, WEBP_METHOD,
};
pub use read::{Error, Settings};
pub use rows::{Lists, Row, Whence};
pub use shipped::Shipped;
pub use table::PresetTable;

/// Raised whenever the bytes of any rendition change, so that older ones count as stale (I11).
pub const RENDITION_VERSION: u32 = 4;

/// Id of a preset, as the `convertpreset` table spells it.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct PresetId(String);

impl PresetId {
    /// A preset id from the configuration or a job.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PresetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preset {
    /// Its id.
    pub id: PresetId,
    /// Key of its parameter rows; empty where it has none.
    pub guid: String,
    /// Render types it is for.
    pub inputs: Inputs,
    /// What of EMDB runs it.
    pub transcoder: Transcoder,
    /// Name of the file it writes of page 1, below `generated/<source path>/`; empty where it writes none.
    pub file_name: String,
    /// The name EMDB looks its file up by (`generatedoutputfile`); the same for all shipped presets but two.
    pub looked_up_as: String,
    /// The page of the original that its file shows, counted from 1.
    pub page: u32,
    /// Whether `file_name` is stated (`outputfile`, or a stream's) and so holds for every page, rather than computed.
    pub is_name_stated: bool,
    /// Extension of its files, in lower case and without the dot; empty where it writes none.
    pub extension: String,
    /// Width of the box in pixels; 0 for a preset without a box.
    pub width: u32,
    /// Height of the box in pixels; 0 for a preset without a box.
    pub height: u32,
    /// How the picture meets the box.
    pub shape: Shape,
    /// How it is written.
    pub encoding: Encoding,
    /// What it is made from; [`PresetTable`] decides it, for it depends on the other presets.
    pub source: Source,
    /// Whether transparency is flattened on white (`layers`). Fit presets below 3000 inherit an opaque picture anyway.
    pub flatten: bool,
    /// Colour that transparency is flattened on and that fills an `extent`.
    pub background: Option<String>,
    /// Chroma sampling (`sampling-factor`), such as `4:2:0`.
    pub sampling: Option<String>,
    /// Degrees to turn the picture by, clockwise.
    pub rotate: Option<i64>,
    /// A canvas to lay the picture on.
    pub extent: Option<Extent>,
    /// Pixels per inch to state in the file.
    pub dpi: Option<u32>,
    /// Moment of a video in seconds, as EMDB writes it into names: `0`, `12.5`.
    pub time_offset: Option<String>,
    /// Number of a video's frame, as EMDB writes it into names.
    pub frame: Option<String>,
    /// Colour space of the file, such as `CMYK`.
    pub colour_space: Option<String>,
    /// Whether a watermark is asked for.
    pub watermark: bool,
    /// Whether an import makes it.
    pub on_import: bool,
    /// Whether people are shown it.
    pub display: bool,
    /// Whether only page 1 of several is made.
    pub single_page: bool,
    /// Place among the others; those without one come last.
    pub ordering: Option<i64>,
    /// Whether it is made from the original even where a large rendition is (`useoriginalasinput`).
    pub use_original: bool,
    /// Type of the output, where it does not follow from the extension.
    pub output_render_type: Option<RenderType>,
    /// Its other parameters, by EMDB's names: codecs, bit rates.
    pub parameters: BTreeMap<String, String>,
}

impl Preset {
    /// Width and height of the box in pixels.
    #[must_use]
    pub fn size(&self) -> Option<(u32, u32)> {
        (self.width > 0 && self.height > 0).then_some((self.width, self.height))
    }

    /// Name of the file it writes of a page, counted from 1, below `generated/<source path>/` (media spec 2.2).
    #[must_use]
    pub fn file_name_of(&self, page: u32) -> String {
        if self.is_name_stated || self.file_name.is_empty() {
            return self.file_name.clone();
        }
        self.name(page).to_string()
    }

    /// The same for another page.
    #[must_use]
    pub fn of_page(&self, page: u32) -> Self {
        Self {
            page,
            file_name: self.file_name_of(page),
            ..self.clone()
        }
    }

    /// Appends what of it decides the bytes of its files, a line each. Its name and its id do not.
    ///
    /// Only what [`is_made_here`] lets be made by: a property that becomes of use has to be written here.
    pub fn write_parameters(&self, to: &mut String) {
        let shape = match self.shape {
            Shape::Fit => "fit".to_owned(),
            Shape::FitEnlarge => "enlarge".to_owned(),
            Shape::Fill => "fill".to_owned(),
            Shape::Cut(Cut::CENTRE) => "cut".to_owned(),
            Shape::Cut(cut) => format!("{cut:?}"),
        };
        let encoding = match self.encoding {
            Encoding::WebP { quality, method } => format!("webp {quality} {method}"),
            Encoding::Jpeg { quality } => format!("jpeg {quality}"),
            Encoding::Png => "png".to_owned(),
            Encoding::Gif => "gif".to_owned(),
            Encoding::Other => self.extension.clone(),
        };
        let source = match self.source {
            Source::Original => "original",
            Source::Large => "large",
        };
        let Self {
            width,
            height,
            flatten,
            ..
        } = self;
        let lines = [
            format!("{width}x{height} {shape}\n"),
            format!("{encoding}\n{source}\nflatten {flatten}\n"),
        ];
        to.extend(lines);
        // Only where they are said, so that what was made before them counts as current.
        let quarter_turns = self.quarter_turns().filter(|turns| *turns > 0);
        let page = Some(self.page).filter(|page| *page > 1);
        let further = [
            page.map(|page| format!("page {page}\n")),
            self.background_said().map(|it| format!("on {it:?}\n")),
            quarter_turns.map(|turns| format!("turned {turns}\n")),
            (self.oblique()).map(|degrees| format!("turned by {degrees} degrees\n")),
            self.extent.map(|it| format!("{it:?}\n")),
            self.dpi
                .filter(|_| self.states_density())
                .map(|it| format!("dpi {it}\n")),
        ];
        to.extend(further.into_iter().flatten());
    }

    /// The background, where it makes a difference that it is said: white is what pages have anyway, and so have pictures, all but
    /// a GIF, which says another one itself.
    fn background_said(&self) -> Option<Background> {
        let background = self.background()?;
        let is_of_pictures = self.inputs.names(RenderType::Image);
        (is_of_pictures || background != Background::WHITE).then_some(background)
    }

    /// What transparency is laid on; `None` where nothing is said, or nothing that is known here.
    #[must_use]
    pub fn background(&self) -> Option<Background> {
        Background::from_word(self.background.as_deref()?)
    }

    /// By how many right angles the picture is turned, clockwise, 0 to 3; `None` for another angle.
    #[must_use]
    pub fn quarter_turns(&self) -> Option<u8> {
        let angle = self.rotate.unwrap_or(0).rem_euclid(360);
        (angle % 90 == 0).then(|| u8::try_from(angle / 90).expect("less than 4"))
    }

    /// By how many degrees the picture is turned, clockwise, 1 to 359, where that is no right angle.
    #[must_use]
    pub fn oblique(&self) -> Option<i64> {
        let angle = self.rotate.unwrap_or(0).rem_euclid(360);
        (angle % 90 != 0).then_some(angle)
    }

    /// Whether its files have a place for the pixels per inch. A WebP has none.
    fn states_density(&self) -> bool {
        matches!(self.encoding, Encoding::Jpeg { .. })
    }

    fn name(&self, page: u32) -> Name {
        Name {
            render_type: (self.output_render_type)
                .unwrap_or_else(|| render_type(Some(&self.extension))),
            size: self.size(),
            page,
            watermark: self.watermark,
            frame: self.frame.clone(),
            colour_space: self.colour_space.clone(),
            cropped: matches!(self.shape, Shape::Cut(_)) || self.extent.is_some(),
            time_offset: self.time_offset.clone(),
            extension: self.extension.clone(),
        }
    }
}

/// What is made here of an image with the presets EMDB ships, in EMDB's order.
#[must_use]
pub fn image_presets() -> Vec<Preset> {
    PresetTable::shipped(Shipped::Webp)
        .renditions(None)
        .to_vec()
}

/// Parameters that change pixels in ways that are not done here.
const PIXELS: [&str; 5] = ["emautoheight", "layers", "profile", "sepia", "sepia-tone"];

/// Whether this program makes the files of a preset itself. The others are known, listed and copied, and left to whoever can.
#[must_use]
pub fn is_made_here(preset: &Preset) -> bool {
    why_not_made_here(preset).is_none()
}

/// What a preset asks for that is not done here; `None` for one whose files this program makes.
#[must_use]
pub fn why_not_made_here(preset: &Preset) -> Option<&'static str> {
    let is_halved = preset.sampling.as_deref().is_none_or(|it| it == "4:2:0");
    let is_background_known = preset.background.is_none() || preset.background().is_some();
    let is_jpeg = matches!(preset.encoding, Encoding::Jpeg { .. });
    if preset.transcoder == Transcoder::FfmpegImage {
        return frame::why_not_made_here(preset);
    }
    let mut types = formats::MADE_TYPES.into_iter();
    let asks = [
        (
            preset.transcoder != Transcoder::ImageMagick,
            "another transcoder than imagemagick and ffmpegimage",
        ),
        (
            !types.any(|it| preset.inputs.names(it)),
            "other originals than images, documents and films",
        ),
        (preset.size().is_none(), "a picture without a box"),
        (
            preset.encoding == Encoding::Other,
            "another format than WebP, JPEG, PNG and GIF",
        ),
        (is_jpeg && !is_halved, "a sampling-factor other than 4:2:0"),
        (preset.colour_space.is_some(), "a colorspace"),
        (
            !is_background_known,
            "a background of a name that is not known here (#rrggbb is)",
        ),
        (
            // Of everything else EMDB makes the same without (media spec 3.5, item 8).
            preset.watermark && preset.inputs.names(RenderType::Video),
            "a watermark on films",
        ),
        (
            // There the converter counts from where the canvas began before it grew.
            preset.oblique().is_some()
                && (matches!(preset.shape, Shape::Cut(_)) || preset.extent.is_some()),
            "a crop or an extent of what is turned by another angle than right ones",
        ),
        (
            preset.dpi.is_some() && matches!(preset.encoding, Encoding::Png | Encoding::Gif),
            "dpi in a PNG or GIF",
        ),
        (
            preset.time_offset.is_some() || preset.frame.is_some(),
            "a moment of a film (timeoffset or frame)",
        ),
        (
            (preset.parameters.keys()).any(|name| PIXELS.contains(&name.as_str())),
            "emautoheight, other layers than flatten, a profile or a sepia tone",
        ),
    ];
    let asked = asks.into_iter().find(|(is_asked, _)| *is_asked);
    asked.map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_makes_the_five_files_emdb_makes() {
        let presets = image_presets();
        let of_preset = |it: &Preset| (it.file_name.clone(), it.encoding, it.source, it.flatten);
        let method = WEBP_METHOD;
        let webp = |quality| Encoding::WebP { quality, method };
        let jpeg = Encoding::Jpeg { quality: 55 };
        let expected = [
            ("image3000x3000.webp", webp(85), Source::Original, true),
            ("image3000x3000.jpg", jpeg, Source::Large, true),
            ("image550x550.webp", webp(76), Source::Large, false),
            ("image200x200.webp", webp(76), Source::Large, false),
            ("image110x62cropped.webp", webp(85), Source::Large, true),
        ]
        .map(|(name, encoding, source, flatten)| (name.to_owned(), encoding, source, flatten));
        assert_eq!(presets.iter().map(of_preset).collect::<Vec<_>>(), expected);
        let shapes: Vec<_> = presets.iter().map(|it| it.shape).collect();
        let cut = Shape::Cut(Cut::CENTRE);
        assert_eq!(
            shapes,
            [Shape::Fit, Shape::Fit, Shape::Fit, Shape::Fit, cut]
        );
    }

    #[test]
    fn what_asks_for_more_than_is_done_here_is_not_made_here() {
        let made = image_presets();
        assert!(made.iter().all(is_made_here));
        let changes: [fn(&mut Preset); 15] = [
            |it| it.transcoder = Transcoder::Ffmpeg,
            |it| it.inputs = Inputs::All,
            |it| it.inputs = Inputs::Of(vec![RenderType::Audio]),
            |it| it.width = 0,
            |it| it.encoding = Encoding::Other,
            |it| {
                it.encoding = Encoding::Jpeg { quality: 90 };
                it.sampling = Some("4:4:4".to_owned());
            },
            |it| it.colour_space = Some("CMYK".to_owned()),
            |it| it.background = Some("burlywood".to_owned()),
            |it| {
                it.watermark = true;
                it.inputs = Inputs::Of(vec![RenderType::Image, RenderType::Video]);
            },
            |it| (it.rotate, it.shape) = (Some(45), Shape::Cut(Cut::CENTRE)),
            |it| {
                it.rotate = Some(45);
                it.extent = Some(Extent {
                    gravity: Gravity::Centre,
                    width: 1,
                    height: 1,
                });
            },
            |it| (it.encoding, it.dpi) = (Encoding::Png, Some(300)),
            |it| it.time_offset = Some("0".to_owned()),
            |it| it.frame = Some("1".to_owned()),
            |it| {
                drop(
                    it.parameters
                        .insert("layers".to_owned(), "merge".to_owned()),
                )
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut preset = made[2].clone();
            change(&mut preset);
            assert!(!is_made_here(&preset), "change {number}");
        }
        let harmless: [fn(&mut Preset); 14] = [
            |it| {
                it.watermark = true;
                it.inputs = Inputs::Of(vec![RenderType::Image, RenderType::Document]);
            },
            |it| it.rotate = Some(45),
            |it| {
                it.shape = Shape::Cut(Cut {
                    is_before_scaling: true,
                    ..Cut::CENTRE
                });
            },
            |it| it.background = Some("White".to_owned()),
            |it| it.background = Some("black".to_owned()),
            |it| it.shape = Shape::Fill,
            |it| it.shape = Shape::FitEnlarge,
            |it| it.encoding = Encoding::Png,
            |it| it.encoding = Encoding::Gif,
            |it| it.rotate = Some(-90),
            |it| it.dpi = Some(300),
            |it| {
                it.extent = Some(Extent {
                    gravity: Gravity::Centre,
                    width: 1,
                    height: 1,
                });
            },
            |it| it.sampling = Some("4:4:4".to_owned()),
            |it| drop(it.parameters.insert("bitrate".to_owned(), "64".to_owned())),
        ];
        for (number, change) in harmless.into_iter().enumerate() {
            let mut preset = made[2].clone();
            change(&mut preset);
            assert!(is_made_here(&preset), "change {number}");
        }
    }
}
