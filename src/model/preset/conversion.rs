//! Files of other kinds than pictures: a page file of an office file, a film or sound that every browser plays (media spec 7).

use super::expected::{Subject, expected};
use super::{Preset, PresetId, PresetTable, Transcoder};

/// Kilobits a second of sound where nothing else is said: what EMDB ships.
const KILOBITS: u32 = 64;
/// The names that the encoder has for how much time it may take.
const SPEEDS: [&str; 10] = [
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
];

/// What is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Product {
    /// PDF of an office file.
    Pdf,
    /// MP3, in mono as EMDB has it.
    Mp3 {
        /// Kilobits a second.
        kilobits: u32,
    },
    /// MP4 of H.264 and AAC, which starts to play before all of it is there.
    Mp4 {
        /// Width and height that it is shrunk to fit, never enlarged.
        size: Option<(u32, u32)>,
        /// How much time the encoder may take, by its own words.
        speed: &'static str,
    },
}

impl Product {
    /// What decides its bytes, as its fingerprint says it. Files that are here were made under these very words: another wording would
    /// have every film made again.
    #[must_use]
    pub fn canonical(&self) -> String {
        match self {
            Self::Pdf => "Pdf".to_owned(),
            Self::Mp3 { kilobits } => format!("Mp3 {{ kilobits: {kilobits} }}"),
            Self::Mp4 { size, speed } => {
                let size = size.map_or("None".to_owned(), |(width, height)| {
                    format!("Some(({width}, {height}))")
                });
                format!("Mp4 {{ size: {size}, speed: \"{speed}\" }}")
            }
        }
    }
}

/// One file to make of an original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// The preset it is made by.
    pub preset: PresetId,
    /// Its name below `generated/<source path>/`.
    pub file_name: String,
    /// What it is.
    pub product: Product,
}

impl PresetTable {
    /// The files of other kinds that an import in EMDB makes of an original of this format, and that programs known here make too.
    ///
    /// A stream (`video.m3u8`) is none of them: it is a folder of many files, which no digest and no rename takes as one.
    #[must_use]
    pub fn conversions(&self, format: &str) -> Vec<Conversion> {
        let subject = Subject {
            format: Some(format),
            pages: 1,
        };
        let made = expected(subject, self).into_iter().filter_map(|file| {
            let preset = self.by_id(&file.preset)?;
            Some(Conversion {
                product: product(preset, &file.file_name)?,
                preset: file.preset,
                file_name: file.file_name,
            })
        });
        made.collect()
    }
}

impl PresetTable {
    /// The presets that make files of other kinds than pictures, of whatever original.
    pub fn converting(&self) -> impl Iterator<Item = &PresetId> {
        let is_made = |preset: &&Preset| product(preset, &preset.file_name).is_some();
        self.iter().filter(is_made).map(|preset| &preset.id)
    }
}

/// What a preset makes, if it is made here.
fn product(preset: &Preset, file_name: &str) -> Option<Product> {
    let says = |name: &str| preset.parameters.get(name).map(String::as_str);
    let is_or_unsaid = |name: &str, known: &str| says(name).is_none_or(|word| word == known);
    let (_, extension) = file_name.rsplit_once('.')?;
    match (&preset.transcoder, extension) {
        (Transcoder::Ooffice, "pdf") => Some(Product::Pdf),
        (Transcoder::Audio, "mp3") => {
            let kilobits = says("bitrate").map_or(Ok(KILOBITS), str::parse).ok();
            let kilobits = kilobits.filter(|rate| (8..=320).contains(rate))?;
            Some(Product::Mp3 { kilobits })
        }
        (Transcoder::Ffmpeg, "mp4")
            if is_or_unsaid("vcodec", "libx264") && is_or_unsaid("acodec", "aac") =>
        {
            let word = says("preset").unwrap_or("medium");
            let speed = SPEEDS.into_iter().find(|known| *known == word)?;
            let size = preset.size();
            Some(Product::Mp4 { size, speed })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Shipped;
    use super::*;

    #[test]
    fn a_product_is_said_in_the_words_it_was_always_said_in() {
        let size = Some((720, 480));
        for (product, said) in [
            (Product::Pdf, "Pdf"),
            (Product::Mp3 { kilobits: 64 }, "Mp3 { kilobits: 64 }"),
            (
                Product::Mp4 {
                    size,
                    speed: "medium",
                },
                "Mp4 { size: Some((720, 480)), speed: \"medium\" }",
            ),
            (
                Product::Mp4 {
                    size: None,
                    speed: "slow",
                },
                "Mp4 { size: None, speed: \"slow\" }",
            ),
        ] {
            assert_eq!(product.canonical(), said);
        }
    }

    #[test]
    fn office_files_sound_and_films_have_the_files_that_the_presets_ask_for() {
        let named = |table: &PresetTable, format: &str| {
            let made = table.conversions(format).into_iter();
            made.map(|it| (it.file_name, it.product))
                .collect::<Vec<_>>()
        };
        let table = PresetTable::shipped(Shipped::Webp);
        let pdf = [("document.pdf".to_owned(), Product::Pdf)];
        assert_eq!(named(&table, "DOCX"), pdf);
        let mp3 = [("audio.mp3".to_owned(), Product::Mp3 { kilobits: 64 })];
        assert_eq!(named(&table, "wav"), mp3);
        // Sound that plays as it is, a stream of many files, pictures, pages, and an office file that EMDB makes no PDF of.
        for format in ["mp3", "mov", "jpg", "pdf", "ods", "txt"] {
            assert!(named(&table, format).is_empty(), "{format}");
        }
        let mut presets: Vec<_> = table.iter().cloned().collect();
        let film = presets.iter_mut().find(|it| it.file_name == "video.mp4");
        film.unwrap().on_import = true;
        let table = PresetTable::new(presets.clone());
        let (size, speed) = (Some((720, 480)), "medium");
        let mp4 = [("video.mp4".to_owned(), Product::Mp4 { size, speed })];
        assert_eq!(named(&table, "mkv"), mp4);
        // Another codec is left to whoever has it.
        for preset in &mut presets {
            preset
                .parameters
                .insert("vcodec".to_owned(), "libvpx".to_owned());
        }
        assert!(named(&PresetTable::new(presets), "mkv").is_empty());
    }
}
