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
            page: 1,
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
            "png" => Encoding::Png,
            "gif" => Encoding::Gif,
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

#[cfg(test)]
mod tests {
    use super::super::Shipped;
    use super::*;

    fn row(properties: &[(&str, &str)]) -> Row {
        let owned = properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Row {
            properties: owned.collect(),
            whence: Some(Whence {
                file: "custom.xml".into(),
                line: 7,
            }),
        }
    }

    fn parameter(id: &str, name: &str, value: Option<&str>) -> Row {
        let mut row = row(&[("id", id), ("parameterdata", "g"), ("name", name)]);
        row.properties
            .extend(value.map(|value| ("value".to_owned(), value.to_owned())));
        row
    }

    /// A preset with an attribute `quality` of 10, and these parameter rows and settings.
    fn read(parameters: &[Row], settings: &[(&str, Option<&str>)]) -> Result<Preset, Error> {
        let preset = row(&[
            ("id", "p"),
            ("guid", "g"),
            ("outputextension", "jpg"),
            ("quality", "10"),
            ("background", "black"),
        ]);
        let lists = Lists::new(vec![preset.clone()], parameters.to_vec(), Shipped::Webp);
        let owned =
            |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), value.map(str::to_owned));
        Preset::read(&preset, &lists, &settings.iter().map(owned).collect())
    }

    fn quality(parameters: &[Row], settings: &[(&str, Option<&str>)]) -> Encoding {
        read(parameters, settings).unwrap().encoding
    }

    #[test]
    fn a_setting_counts_before_a_parameter_and_that_before_an_attribute() {
        let jpeg = |quality| Encoding::Jpeg { quality };
        let rows = [
            parameter("c", "quality", Some("40")),
            parameter("b", "quality", Some("30")),
            parameter("a", "quality", None),
        ];
        assert_eq!(quality(&[], &[]), jpeg(10));
        assert_eq!(
            quality(&rows, &[]),
            jpeg(30),
            "the first by row id that has a value"
        );
        assert_eq!(quality(&rows[2..], &[]), jpeg(10));
        assert_eq!(quality(&rows, &[("quality", Some("50"))]), jpeg(50));
    }

    #[test]
    fn a_setting_that_says_nothing_hides_what_lies_below() {
        let rows = [parameter("a", "background", Some("white"))];
        assert_eq!(
            read(&rows, &[]).unwrap().background.as_deref(),
            Some("white")
        );
        assert_eq!(
            read(&rows, &[("background", None)]).unwrap().background,
            None
        );
        let default = Encoding::Jpeg { quality: QUALITY };
        assert_eq!(quality(&[], &[("quality", None)]), default);
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_row() {
        for (name, value, wanted) in [
            ("prefwidth", "wide", "a whole number from 1 to 65535"),
            ("prefheight", "0", "a whole number from 1 to 65535"),
            ("quality", "101", "a whole number from 1 to 100"),
            ("dpi", "-1", "a whole number from 1 to 10000"),
        ] {
            let error = read(&[parameter("a", name, Some(value))], &[]).unwrap_err();
            let expected = format!(
                "custom.xml:7: preset p: {name} is \"{value}\", not {wanted}: correct it there, or give the preset a [[preset]] section \
                 that sets it"
            );
            assert_eq!(error.to_string(), expected);
        }
        let crop = parameter("a", "crop", Some("true"));
        let gravity = parameter("b", "gravity", Some("middle"));
        let error = read(&[crop, gravity], &[]).unwrap_err();
        assert_eq!(error.property, "gravity");
        let error = read(&[parameter("a", "extent", Some("true"))], &[]).unwrap_err();
        assert_eq!(error.property, "extent");
    }

    #[test]
    fn one_side_of_a_box_is_no_box() {
        let preset = read(&[parameter("a", "prefwidth", Some("100"))], &[]).unwrap();
        assert_eq!(
            (preset.size(), preset.file_name.as_str()),
            (None, "image.jpg")
        );
    }

    #[test]
    fn a_stream_is_called_as_it_is_looked_up() {
        let streaming = parameter("a", "streaming", Some("true"));
        let named = |name| {
            read(
                std::slice::from_ref(&streaming),
                &[("generatedoutputfile", name)],
            )
        };
        assert_eq!(named(Some("video.m3u8")).unwrap().file_name, "video.m3u8");
        assert_eq!(named(None).unwrap().file_name, "streaming.bin");
    }

    #[test]
    fn shapes_and_the_rest_are_read_as_the_converter_reads_them() {
        let of = |rows: &[(&str, &str)]| {
            let rows: Vec<_> = rows
                .iter()
                .map(|(name, value)| parameter(name, name, Some(value)))
                .collect();
            read(&rows, &[]).unwrap()
        };
        assert_eq!(
            of(&[("minsize", "true"), ("scaleup", "true")]).shape,
            Shape::Fill
        );
        assert_eq!(of(&[("scaleup", "TRUE")]).shape, Shape::FitEnlarge);
        assert_eq!(of(&[("crop", "false")]).shape, Shape::Fit);
        let cut = of(&[
            ("crop", "true"),
            ("x1", "-5"),
            ("croplast", "true"),
            ("cropwidth", "9"),
        ])
        .shape;
        let expected = Cut {
            gravity: Gravity::NorthWest,
            x: -5,
            is_before_scaling: true,
            ..Cut::CENTRE
        };
        assert_eq!(cut, Shape::Cut(expected));
        assert!(of(&[("layers", "flatten")]).flatten);
        let merged = of(&[("layers", "merge"), ("acodec", "aac")]);
        assert!(!merged.flatten);
        assert_eq!(
            merged.parameters.get("layers").map(String::as_str),
            Some("merge")
        );
        assert_eq!(
            merged.parameters.get("acodec").map(String::as_str),
            Some("aac")
        );
    }

    #[test]
    fn input_types_are_split_and_what_is_no_type_is_left_out() {
        let types = vec![RenderType::Image, RenderType::Video];
        assert_eq!(inputs("image|hologram|video|image"), Inputs::Of(types));
        assert_eq!(inputs("all"), Inputs::All);
        assert_eq!(inputs(""), Inputs::Of(Vec::new()));
    }
}
