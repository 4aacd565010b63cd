//! Recipes for generated files: the five that an ordinary EMDB import of an image runs (media spec 1.2 and 1.3).

use std::fmt;

/// Raised whenever the bytes of any rendition change, so that older ones count as stale (I11).
pub const RENDITION_VERSION: u32 = 1;

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

/// How the picture is brought into the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Shrunk until it fits, never enlarged.
    Fit,
    /// Scaled until it covers the box, enlarged if need be, then cut to it around the centre.
    FillCentre,
}

/// How the pixels are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Lossy WebP; 4:2:0 by nature.
    WebP {
        /// 0 to 100.
        quality: u8,
    },
    /// Baseline JPEG with 4:2:0 chroma.
    Jpeg {
        /// 1 to 100.
        quality: u8,
    },
}

/// What a rendition is made from (media spec 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The original itself.
    Original,
    /// The pixels of the 3000 px rendition: smaller files derive from it.
    Large,
}

/// One recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preset {
    /// Its id.
    pub id: PresetId,
    /// Name of the file it writes below `generated/<source path>/`.
    pub file_name: String,
    /// Width of the box in pixels.
    pub width: u32,
    /// Height of the box in pixels.
    pub height: u32,
    /// How the picture meets the box.
    pub shape: Shape,
    /// How it is written.
    pub encoding: Encoding,
    /// What it is made from.
    pub source: Source,
    /// Whether transparency is flattened on white. Fit presets below 3000 inherit an opaque picture anyway.
    pub flatten: bool,
}

impl Preset {
    /// Appends what of it decides the bytes of its files, a line each. Its name and its id do not.
    pub fn write_parameters(&self, to: &mut String) {
        let shape = match self.shape {
            Shape::Fit => "fit",
            Shape::FillCentre => "fill",
        };
        let (encoding, quality) = match self.encoding {
            Encoding::WebP { quality } => ("webp", quality),
            Encoding::Jpeg { quality } => ("jpeg", quality),
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
            format!("{encoding} {quality}\n{source}\nflatten {flatten}\n"),
        ];
        to.extend(lines);
    }
}

/// The presets an ordinary import runs on an image, in EMDB's order (media spec 1.2, `onimport` and `inputtype` image).
#[must_use]
pub fn image_presets() -> Vec<Preset> {
    let preset =
        |id: &str, file_name: &str, (width, height), shape, encoding, source, flatten| Preset {
            id: PresetId::new(id),
            file_name: file_name.to_owned(),
            width,
            height,
            shape,
            encoding,
            source,
            flatten,
        };
    let webp = |quality| Encoding::WebP { quality };
    vec![
        preset(
            "webplargeimage",
            "image3000x3000.webp",
            (3000, 3000),
            Shape::Fit,
            webp(85),
            Source::Original,
            true,
        ),
        preset(
            "largeimage",
            "image3000x3000.jpg",
            (3000, 3000),
            Shape::Fit,
            Encoding::Jpeg { quality: 55 },
            Source::Large,
            true,
        ),
        preset(
            "webpmediumimage",
            "image550x550.webp",
            (550, 550),
            Shape::Fit,
            webp(76),
            Source::Large,
            false,
        ),
        preset(
            "webpthumbimage",
            "image200x200.webp",
            (200, 200),
            Shape::Fit,
            webp(76),
            Source::Large,
            false,
        ),
        preset(
            "webpimagecrop",
            "image110x62cropped.webp",
            (110, 62),
            Shape::FillCentre,
            webp(85),
            Source::Large,
            true,
        ),
    ]
}

/// File formats this node decodes itself, as EMDB spells them in `fileformat`. Anything else is copied from its author.
pub const IMAGE_FORMATS: &[&str] = &[
    "jpg", "jpeg", "jpe", "png", "gif", "webp", "tif", "tiff", "bmp", "ico", "tga", "pnm", "ppm",
    "pgm", "pbm", "pam",
];

/// Whether an asset of this format gets [`image_presets`] here.
#[must_use]
pub fn is_image_format(format: &str) -> bool {
    IMAGE_FORMATS.contains(&format.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_makes_the_five_files_emdb_makes() {
        let names: Vec<_> = image_presets()
            .into_iter()
            .map(|preset| preset.file_name)
            .collect();
        assert_eq!(
            names,
            [
                "image3000x3000.webp",
                "image3000x3000.jpg",
                "image550x550.webp",
                "image200x200.webp",
                "image110x62cropped.webp"
            ]
        );
    }
}
