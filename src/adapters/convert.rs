//! Files of other kinds than pictures, made by programs: a page file of an office file, a film or sound that every browser plays.
//!
//! Other than a picture they may be too large for the memory, so they are handed on as files.

use std::fs::File;
use std::io::{Read as _, Write};
use std::sync::PoisonError;
use std::time::Duration;

use super::run::Limits;
use super::tools::{TOOLS, Tool, WAY, Way};
use super::{Adapter, Adapters, Error, Part, missing, scratch};
use crate::model::preset::Product;

const HOUR: Duration = Duration::from_secs(3600);

/// Sound as EMDB knows it, but for what serves as it is. Named, so that no content makes it a list of other files.
const SOUND: Way = Way {
    formats: &["flac", "aiff", "ogg", "wav", "wma", "m4a", "aac"],
    output: "out.mp3",
    limits: Limits {
        wall: HOUR,
        cpu_seconds: 3600,
        memory_bytes: 4 << 30,
        file_bytes: 8 << 30,
    },
    ..WAY
};

/// Twelve hours, as EMDB gives a film; two threads of them.
const FILM: Way = Way {
    output: "out.mp4",
    limits: Limits {
        wall: Duration::from_secs(12 * 3600),
        cpu_seconds: 24 * 3600,
        memory_bytes: 4 << 30,
        file_bytes: 256 << 30,
    },
    ..WAY
};

const BEFORE: [&str; 7] = [
    "-nostdin",
    "-hide_banner",
    "-loglevel",
    "error",
    "-protocol_whitelist",
    "file",
    "-format_whitelist",
];
const SOUNDS: &str = "flac,aiff,ogg,wav,w64,asf,mov,aac";
const FILMS: &str = "asf,avi,dv,flv,mov,mpegts,mxf,mpeg,mpegvideo,matroska,rm";

/// What says that nothing here makes such a file, and what to do about it.
#[must_use]
pub fn no_program(product: &Product, format: &str) -> String {
    match product {
        Product::Pdf => {
            missing(format).unwrap_or_else(|| format!("nothing makes a PDF of {format}"))
        }
        Product::Mp3 { .. } | Product::Mp4 { .. } => {
            let how = tool("ffmpeg").map_or(String::new(), Tool::how_to_enable);
            format!("{format} needs ffmpeg, which is not here: {how}")
        }
    }
}

fn tool(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

impl Adapters {
    /// The program that makes such a file of an original of a format in lower case, and how it is called.
    fn converter(&self, product: &Product, format: &str) -> Option<(&Adapter, &'static Way)> {
        let named = |name: &str| self.found.iter().find(|it| it.tool.name == name);
        match product {
            Product::Pdf => (self.found.iter())
                .filter_map(|it| Some((it, it.tool.way(format)?)))
                .find(|(_, way)| way.makes == Some("pdf")),
            Product::Mp3 { .. } if SOUND.formats.contains(&format) => {
                Some((named("ffmpeg")?, &SOUND))
            }
            Product::Mp3 { .. } => None,
            // What it reads frames of it reads as a whole.
            Product::Mp4 { .. } => {
                let ffmpeg = named("ffmpeg")?;
                ffmpeg.tool.way(format).map(|_| (ffmpeg, &FILM))
            }
        }
    }

    /// Whether such a file can be made here of an original of a format, in whatever case.
    #[must_use]
    pub fn converts(&self, product: &Product, format: &str) -> bool {
        self.converter(product, &format.to_ascii_lowercase())
            .is_some()
    }

    /// Makes such a file of an original of a format and writes it to `to`. Blocks, of a film for hours.
    ///
    /// # Errors
    /// [`Error`]; [`Error::NotFound`] when there is no program for it. What was written to `to` before is then worth nothing.
    pub fn convert(
        &self,
        mut original: File,
        (product, format): (&Product, &str),
        to: &mut dyn Write,
    ) -> Result<(), Error> {
        let format = format.to_ascii_lowercase();
        let found = self.converter(product, &format);
        let (adapter, way) = found.ok_or_else(|| Error::NotFound {
            reason: no_program(product, &format),
        })?;
        // Whoever panicked with it left nothing behind.
        let lock = || self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        let _turn = way.is_alone.then(lock);
        let (dir, input) = scratch(way, &mut original, &format).map_err(Error::Scratch)?;
        let arguments = match product {
            Product::Pdf => Way::arguments_for(way.arguments, &input, None, Part::FIRST),
            Product::Mp3 { kilobits } => mp3(&input, *kilobits),
            Product::Mp4 { size, speed } => mp4(&input, *size, speed),
        };
        let made = adapter.run((way, arguments), original, dir.path(), &self.stop)?;
        let mut made = made.take(way.limits.file_bytes);
        std::io::copy(&mut made, to).map_err(Error::Scratch)?;
        Ok(())
    }
}

/// In mono, as EMDB has it.
fn mp3(input: &str, kilobits: u32) -> Vec<String> {
    let rate = format!("{kilobits}k");
    let after = [
        "-vn",
        "-map",
        "0:a:0",
        "-c:a",
        "libmp3lame",
        "-b:a",
        &rate,
        "-ac",
        "1",
        "-f",
        "mp3",
        "-y",
        "out.mp3",
    ];
    call(SOUNDS, input, &after)
}

/// Sides are even, which the encoder asks for, and no larger than the film's.
fn mp4(input: &str, size: Option<(u32, u32)>, speed: &str) -> Vec<String> {
    let scale = match size {
        Some((width, height)) => format!(
            "scale=w='min({width},iw)':h='min({height},ih)':force_original_aspect_ratio=decrease:force_divisible_by=2"
        ),
        None => "scale=w='trunc(iw/2)*2':h='trunc(ih/2)*2'".to_owned(),
    };
    let after = [
        "-map",
        "0:V:0",
        "-map",
        "0:a:0?",
        "-sn",
        "-dn",
        "-c:v",
        "libx264",
        "-preset",
        speed,
        "-crf",
        "28",
        "-vf",
        &scale,
        // What browsers play, whatever the film is of.
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "aac",
        "-b:a",
        "96k",
        "-ar",
        "44100",
        "-threads",
        "2",
        "-movflags",
        "+faststart",
        "-f",
        "mp4",
        "-y",
        "out.mp4",
    ];
    call(FILMS, input, &after)
}

fn call(formats: &str, input: &str, after: &[&str]) -> Vec<String> {
    let all = BEFORE.iter().chain([&formats, &"-i", &input]).chain(after);
    all.map(|&it| it.to_owned()).collect()
}

#[cfg(test)]
mod tests;
