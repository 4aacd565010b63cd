//! What a rendition was made of, in one digest: as long as that is the same, the file is current (I11, media spec 8.5).

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::preset::{Preset, RENDITION_VERSION};
use super::{Crop, Mode, Sha256};

/// What of a preset decides the bytes of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters(String);

impl Parameters {
    /// Of a preset.
    #[must_use]
    pub fn of(preset: &Preset) -> Self {
        let mut text = String::new();
        preset.write_parameters(&mut text);
        Self(text)
    }
}

/// Digest of everything that decides the bytes of a rendition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Of a rendition of the original of this content. `crop` is the rectangle behind it, its own or that of the picture it
    /// derives from. Turning and colours follow from the original, so its digest stands for them.
    #[must_use]
    pub fn of(original: &Sha256, preset: &Preset, crop: Option<&Crop>, mode: Mode) -> Self {
        Self::with(original, &Parameters::of(preset), crop, mode)
    }

    /// Of a file of another kind than a picture, by what makes it and how, in words of ours.
    ///
    /// The version of the program is none of it: another one makes no better film, and takes as long again.
    #[must_use]
    pub fn of_conversion(original: &Sha256, made: &str) -> Self {
        Self(Sha256::of(
            format!("conversion 1\n{original}\n{made}").as_bytes(),
        ))
    }

    /// The same, for whoever asks about many originals of one preset.
    #[must_use]
    pub fn with(original: &Sha256, preset: &Parameters, crop: Option<&Crop>, mode: Mode) -> Self {
        let mut text = format!("{RENDITION_VERSION}\n{original}\n");
        text.push_str(&preset.0);
        let mode = match mode {
            Mode::Faithful => "faithful",
            Mode::Corrected => "corrected",
        };
        match crop {
            Some(crop) => writeln!(
                text,
                "{}x{}{:+}{:+}",
                crop.width, crop.height, crop.x, crop.y
            ),
            None => writeln!(text, "-"),
        }
        .and_then(|()| text.write_str(mode))
        .expect("text takes everything");
        Self(Sha256::of(text.as_bytes()))
    }

    /// The same for an original that a program turned into a picture first, by the program's name and version. What is decoded
    /// here keeps its fingerprint.
    #[must_use]
    pub fn decoded_by(self, decoder: Option<&str>) -> Self {
        decoder.map_or(self, |decoder| {
            Self(Sha256::of(format!("{}\n{decoder}", self.0).as_bytes()))
        })
    }

    /// The same for what derives from a large picture that is made otherwise than EMDB ships it.
    #[must_use]
    pub fn derived_from(self, large: &Parameters) -> Self {
        Self(Sha256::of(format!("{}\nof {}", self.0, large.0).as_bytes()))
    }

    /// The same for another moment of a film than its start.
    #[must_use]
    pub fn at(self, moment: Duration) -> Self {
        let text = format!("{}\nat {} ms", self.0, moment.as_millis());
        Self(Sha256::of(text.as_bytes()))
    }

    /// The same for a rectangle that is drawn on a picture of another size than the one to start from.
    #[must_use]
    pub fn drawn_on(self, (width, height): (u32, u32)) -> Self {
        Self(Sha256::of(
            format!("{}\non {width}x{height}", self.0).as_bytes(),
        ))
    }

    /// From the bytes of one.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Sha256::from_bytes(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::preset::{Cut, Encoding, Shape, Source, image_presets};

    const CROP: Crop = Crop {
        x: -1,
        y: 2,
        width: 3,
        height: 4,
    };

    #[test]
    fn whatever_decides_the_bytes_makes_another_fingerprint() {
        let (one, other) = (Sha256::of(b"1"), Sha256::of(b"2"));
        let preset = image_presets().swap_remove(2);
        let changed = |change: fn(&mut Preset)| {
            let mut preset = preset.clone();
            change(&mut preset);
            preset
        };
        let of = |preset: &Preset| Fingerprint::of(&one, preset, None, Mode::Faithful);
        let all = [
            of(&preset),
            Fingerprint::of(&other, &preset, None, Mode::Faithful),
            Fingerprint::of(&one, &preset, None, Mode::Corrected),
            Fingerprint::of(&one, &preset, Some(&CROP), Mode::Faithful),
            Fingerprint::of(&one, &preset, Some(&Crop { x: 1, ..CROP }), Mode::Faithful),
            Fingerprint::of(&one, &preset, Some(&Crop { y: -2, ..CROP }), Mode::Faithful),
            of(&changed(|preset| preset.width += 1)),
            of(&changed(|preset| preset.height += 1)),
            of(&changed(|preset| preset.shape = Shape::Cut(Cut::CENTRE))),
            of(&changed(|preset| {
                preset.encoding = Encoding::WebP {
                    quality: 75,
                    method: 4,
                }
            })),
            of(&changed(|preset| {
                preset.encoding = Encoding::WebP {
                    quality: 76,
                    method: 6,
                }
            })),
            of(&changed(|preset| {
                preset.encoding = Encoding::Jpeg { quality: 76 }
            })),
            of(&changed(|preset| preset.source = Source::Original)),
            of(&changed(|preset| preset.flatten = true)),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn what_a_preset_is_called_is_none_of_it() {
        let original = Sha256::of(b"1");
        let preset = image_presets().swap_remove(2);
        let named = Preset {
            id: crate::model::preset::PresetId::new("another"),
            file_name: "image550x550page2.webp".to_owned(),
            on_import: false,
            ordering: None,
            ..preset.clone()
        };
        let of = |preset| Fingerprint::of(&original, preset, None, Mode::Corrected);
        assert_eq!(of(&preset), of(&named));
    }

    #[test]
    fn the_program_that_decoded_and_its_version_decide_too() {
        let preset = image_presets().swap_remove(0);
        let made = Fingerprint::of(&Sha256::of(b"1"), &preset, None, Mode::Faithful);
        assert_eq!(made.decoded_by(None), made);
        let all = [
            None,
            Some("vips: 8.14"),
            Some("vips: 8.15"),
            Some("heif: 8.15"),
        ];
        let different: std::collections::BTreeSet<_> =
            all.into_iter().map(|by| made.decoded_by(by)).collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn it_comes_back_from_its_bytes() {
        let preset = image_presets().swap_remove(0);
        let made = Fingerprint::of(&Sha256::of(b"1"), &preset, None, Mode::Faithful);
        assert_eq!(Fingerprint::from_bytes(*made.as_bytes()), made);
    }
}
