//! From the rows of the lists, and settings of ours, to a [`Preset`].
//!
//! A property is looked up as EMDB does (media spec 1.1): what we say of it, then the first parameter row that has a value, then
//! the attribute of the preset's row. A setting that says nothing (`None`) hides what lies below it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use super::rows::{Lists, Row, Whence};
use super::{
    Cut, Encoding, Extent, Gravity, Inputs, Preset, PresetId, RenderType, Shape, Source,
    Transcoder, WEBP_METHOD,
};

/// What we say of a preset, by EMDB's property names; `None` says that it has no such property.
pub type Settings = BTreeMap<String, Option<String>>;

/// Quality where nothing says one (media spec 3.1).
const QUALITY: u8 = 85;
/// Longest side of a box.
const MOST_PIXELS: u32 = 65_535;

/// Properties that have a place of their own in a [`Preset`], or say nothing about what is made.
const KNOWN: &[&str] = &[
    "prefwidth",
    "prefheight",
    "quality",
    "webp_method",
    "sampling-factor",
    "background",
    "gravity",
    "x1",
    "y1",
    "cropwidth",
    "cropheight",
    "crop",
    "croplast",
    "minsize",
    "scaleup",
    "rotate",
    "extent",
    "extentwidth",
    "extentheight",
    "dpi",
    "timeoffset",
    "frame",
    "colorspace",
    "watermark",
    "useoriginalasinput",
    "streaming",
    "outputextension",
    "outputrendertype",
    "outputfile",
    "generatedoutputfile",
    "onimport",
    "display",
    "singlepage",
    "ordering",
    "inputtype",
    "transcoderid",
];

/// A property of a preset that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}preset {preset}: {property} is {value:?}, not {wanted}: correct it there, or give the preset a [[preset]] section that sets it", at(.whence))]
pub struct Error {
    /// Where the value stands; none for a shipped row.
    pub whence: Option<Whence>,
    /// The preset's id.
    pub preset: PresetId,
    /// EMDB's name of the property.
    pub property: &'static str,
    /// What it says.
    pub value: String,
    /// What is expected.
    pub wanted: String,
}

fn at(whence: &Option<Whence>) -> String {
    whence
        .as_ref()
        .map(|it| format!("{it}: "))
        .unwrap_or_default()
}

impl Preset {
    /// The preset of one row, whose source is still to be decided ([`super::PresetTable::new`]).
    ///
    /// # Errors
    /// [`Error`] for a number or a gravity that is none.
    pub fn read(row: &Row, lists: &Lists, settings: &Settings) -> Result<Self, Error> {
        let guid = row.get("guid").unwrap_or_default();
        let lookup = Lookup {
            id: PresetId::new(row.id()),
            row,
            parameters: lists.parameters_of(guid).collect(),
            settings,
        };
        let mut preset = Self {
            guid: guid.to_owned(),
            inputs: inputs(lookup.text("inputtype").unwrap_or_default()),
            transcoder: Transcoder::from_word(lookup.text("transcoderid").unwrap_or_default()),
            file_name: String::new(),
            looked_up_as: lookup
                .text("generatedoutputfile")
                .unwrap_or_default()
                .to_owned(),
            is_name_stated: false,
            extension: lookup.extension(),
            width: 0,
            height: 0,
            shape: lookup.shape()?,
            encoding: lookup.encoding()?,
            source: Source::Original,
            flatten: lookup.text("layers") == Some("flatten"),
            background: lookup.owned("background"),
            sampling: lookup.owned("sampling-factor"),
            rotate: lookup.number("rotate", -360, 360)?,
            extent: lookup.extent()?,
            dpi: lookup.number("dpi", 1, 10_000)?,
            time_offset: lookup.owned("timeoffset"),
            frame: lookup.owned("frame"),
            colour_space: lookup.owned("colorspace"),
            watermark: lookup.flag("watermark"),
            on_import: lookup.flag("onimport"),
            display: lookup.flag("display"),
            single_page: lookup.flag("singlepage"),
            ordering: lookup
                .text("ordering")
                .and_then(|it| it.trim().parse().ok()),
            use_original: lookup.flag("useoriginalasinput"),
            output_render_type: lookup
                .text("outputrendertype")
                .and_then(RenderType::from_word),
            parameters: lookup.others(),
            id: lookup.id.clone(),
        };
        // One side alone is no box.
        if let (Some(width), Some(height)) = (lookup.side("prefwidth")?, lookup.side("prefheight")?)
        {
            (preset.width, preset.height) = (width, height);
        }
        let stated = match (lookup.text("outputfile"), lookup.flag("streaming")) {
            (Some(name), _) => Some(name.to_owned()),
            (None, true) if preset.looked_up_as.is_empty() => Some("streaming.bin".to_owned()),
            (None, true) => Some(preset.looked_up_as.clone()),
            (None, false) => None,
        };
        preset.is_name_stated = stated.is_some();
        preset.file_name = match stated {
            Some(stated) => stated,
            None if preset.extension.is_empty() => String::new(),
            None => preset.name(1).to_string(),
        };
        // As saving it in EMDB's settings does, which leaves the moment out.
        if !settings.is_empty() && !settings.contains_key("generatedoutputfile") {
            preset.looked_up_as = if preset.is_name_stated || preset.file_name.is_empty() {
                preset.file_name.clone()
            } else {
                let mut name = preset.name(1);
                name.time_offset = None;
                name.to_string()
            };
        }
        Ok(preset)
    }
}

/// Where the properties of one preset are looked up.
struct Lookup<'a> {
    id: PresetId,
    row: &'a Row,
    parameters: Vec<&'a Row>,
    settings: &'a Settings,
}

impl<'a> Lookup<'a> {
    /// The value, and the row it is from.
    fn get(&self, name: &str) -> Option<(&'a str, Option<&'a Whence>)> {
        if let Some(setting) = self.settings.get(name) {
            return setting.as_deref().map(|value| (value, None));
        }
        let mut of_name = (self.parameters.iter()).filter(|row| row.get("name") == Some(name));
        let parameter = of_name.find_map(|row| Some((row.get("value")?, row.whence.as_ref())));
        let attribute = || Some((self.row.get(name)?, self.row.whence.as_ref()));
        parameter.or_else(attribute)
    }

    /// The value; an empty one says as little as none.
    fn text(&self, name: &str) -> Option<&'a str> {
        let text = self.get(name).map(|(value, _)| value.trim());
        text.filter(|text| !text.is_empty())
    }

    fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    fn flag(&self, name: &str) -> bool {
        self.text(name)
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    fn number<T>(&self, name: &'static str, least: T, most: T) -> Result<Option<T>, Error>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let number = text.parse().ok();
        let number = number.filter(|number| (&least..=&most).contains(&number));
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(name, format!("a whole number from {least} to {most}"))),
        }
    }

    fn side(&self, name: &'static str) -> Result<Option<u32>, Error> {
        self.number(name, 1, MOST_PIXELS)
    }

    fn gravity(&self, otherwise: Gravity) -> Result<Gravity, Error> {
        let Some(word) = self.text("gravity") else {
            return Ok(otherwise);
        };
        let wanted = "one of NorthWest, North, NorthEast, West, Center, East, SouthWest, South and SouthEast";
        Gravity::from_word(word).ok_or_else(|| self.wrong("gravity", wanted.to_owned()))
    }

    fn wrong(&self, property: &'static str, wanted: String) -> Error {
        let (value, whence) = self.get(property).unwrap_or_default();
        Error {
            whence: whence.cloned(),
            preset: self.id.clone(),
            property,
            value: value.to_owned(),
            wanted,
        }
    }

    /// `outputextension`, or that of the name it is looked up by.
    fn extension(&self) -> String {
        let of_name = || {
            let name = self
                .text("generatedoutputfile")
                .or(self.text("outputfile"))?;
            name.rsplit_once('.').map(|(_, extension)| extension)
        };
        let extension = self.text("outputextension").or_else(of_name);
        extension.unwrap_or_default().to_ascii_lowercase()
    }

    fn shape(&self) -> Result<Shape, Error> {
        if self.flag("crop") {
            let size = (self.side("cropwidth")?, self.side("cropheight")?);
            return Ok(Shape::Cut(Cut {
                gravity: self.gravity(Gravity::NorthWest)?,
                x: self.number("x1", i64::MIN, i64::MAX)?.unwrap_or(0),
                y: self.number("y1", i64::MIN, i64::MAX)?.unwrap_or(0),
                size: size.0.zip(size.1),
                is_before_scaling: self.flag("croplast"),
            }));
        }
        Ok(match (self.flag("minsize"), self.flag("scaleup")) {
            (true, _) => Shape::Fill,
            (false, true) => Shape::FitEnlarge,
            (false, false) => Shape::Fit,
        })
    }

    fn encoding(&self) -> Result<Encoding, Error> {
        let quality = self.number("quality", 1, 100)?.unwrap_or(QUALITY);
        let method = self.number("webp_method", 0, 6)?.unwrap_or(WEBP_METHOD);
        Ok(match self.extension().as_str() {
            "webp" => Encoding::WebP { quality, method },
            "jpg" | "jpeg" => Encoding::Jpeg { quality },
            _ => Encoding::Other,
        })
    }

    fn extent(&self) -> Result<Option<Extent>, Error> {
        if !self.flag("extent") {
            return Ok(None);
        }
        let size = (self.side("extentwidth")?, self.side("extentheight")?);
        let Some((width, height)) = size.0.zip(size.1) else {
            let wanted = "beside an extentwidth and an extentheight".to_owned();
            return Err(self.wrong("extent", wanted));
        };
        let gravity = self.gravity(Gravity::Centre)?;
        Ok(Some(Extent {
            gravity,
            width,
            height,
        }))
    }

    /// Parameters without a place of their own; `layers` too, where it is not the flattening one.
    fn others(&self) -> BTreeMap<String, String> {
        let of_rows = self.parameters.iter().filter_map(|row| row.get("name"));
        let names = of_rows.chain(self.settings.keys().map(String::as_str));
        let is_other = |name: &&str| {
            !KNOWN.contains(name) && (*name, self.text(name)) != ("layers", Some("flatten"))
        };
        let value = |name: &str| Some((name.to_owned(), self.owned(name)?));
        names.filter(is_other).filter_map(value).collect()
    }
}

fn inputs(text: &str) -> Inputs {
    let mut words = text.split(['|', ' ', ',']).filter(|word| !word.is_empty());
    if words.clone().any(|word| word == "all") {
        return Inputs::All;
    }
    let mut types = Vec::new();
    words
        .by_ref()
        .filter_map(RenderType::from_word)
        .for_each(|it| {
            if !types.contains(&it) {
                types.push(it);
            }
        });
    Inputs::Of(types)
}
