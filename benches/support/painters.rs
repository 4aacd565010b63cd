//! Who makes renditions: this program, and the tools that people would use instead, one thread each.

use std::path::{Path, PathBuf};
use std::process::Command;

use emsync::model::preset::{Cut, Encoding, Preset, PresetId, Shape, Source, image_presets};

use super::photos::paths;
use super::process::{Cost, Ran, is_installed, run, version};

/// What to make of a photograph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// What EMDB makes on import.
    A,
    /// Its older twin: JPEG throughout, in more sizes.
    B,
}

impl Set {
    pub(crate) fn named(name: &str) -> Self {
        if name == "A" { Self::A } else { Self::B }
    }

    pub(crate) fn presets(self) -> Vec<Preset> {
        if self == Self::A {
            return image_presets();
        }
        let sizes = [
            (3000, 3000, 85),
            (1900, 1080, 85),
            (1024, 768, 85),
            (640, 480, 76),
            (200, 200, 76),
            (110, 62, 76),
        ];
        let preset = |(width, height, quality): (u32, u32, u8)| {
            let crop = width == 110;
            Preset {
                id: PresetId::new(format!("{width}x{height}")),
                file_name: format!(
                    "image{width}x{height}{}.jpg",
                    if crop { "cropped" } else { "" }
                ),
                width,
                height,
                shape: if crop {
                    Shape::Cut(Cut::CENTRE)
                } else {
                    Shape::Fit
                },
                encoding: Encoding::Jpeg { quality },
                source: if width == 3000 {
                    Source::Original
                } else {
                    Source::Large
                },
                ..image_presets().swap_remove(0)
            }
        };
        sizes.map(preset).to_vec()
    }

    /// The two files whose quality is measured.
    pub(crate) fn judged(self) -> [&'static str; 2] {
        match self {
            Self::A => ["image3000x3000.webp", "image550x550.webp"],
            Self::B => ["image3000x3000.jpg", "image1024x768.jpg"],
        }
    }
}

/// A contender.
#[derive(Debug)]
pub(crate) enum Painter {
    Emsync,
    /// Each photograph decoded once and every rendition made from the large one's pixels, or a pipeline for each rendition.
    Sharp {
        folder: PathBuf,
        raw: bool,
    },
    Vips,
    /// With the arguments EMDB calls it with.
    ImageMagick,
}

/// This program first, then those that are installed.
pub(crate) fn present(scripts: &Path) -> Vec<Painter> {
    let mut present = vec![Painter::Emsync];
    if let Some(folder) = std::env::var_os("EMSYNC_BENCH_SHARP")
        && is_installed("node")
    {
        std::fs::write(scripts.join("sharp.js"), SHARP).unwrap();
        for raw in [true, false] {
            let folder = PathBuf::from(&folder);
            present.push(Painter::Sharp { folder, raw });
        }
    }
    if is_installed("vipsthumbnail") {
        present.push(Painter::Vips);
    }
    if is_installed("convert") {
        present.push(Painter::ImageMagick);
    }
    present
}

/// This program once more, in a process of its own.
pub(crate) fn ourselves(words: &[&str]) -> Ran {
    run(Command::new(std::env::current_exe().unwrap()).args(words))
}

impl Painter {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Emsync => "emsync",
            Self::Sharp { raw: true, .. } => "sharp, one decode",
            Self::Sharp { raw: false, .. } => "sharp, a pipeline each",
            Self::Vips => "vipsthumbnail",
            Self::ImageMagick => "ImageMagick, as EMDB calls it",
        }
    }

    pub(crate) fn version(&self) -> String {
        match self {
            Self::Emsync => env!("CARGO_PKG_VERSION").to_owned(),
            Self::Sharp { folder, .. } => {
                let package = folder.join("node_modules/sharp/package.json");
                let package = std::fs::read(package).unwrap();
                let package: serde_json::Value = serde_json::from_slice(&package).unwrap();
                format!(
                    "{}, node {}",
                    package["version"],
                    version("node", "--version")
                )
            }
            Self::Vips => version("vipsthumbnail", "--vips-version"),
            Self::ImageMagick => version("convert", "--version"),
        }
    }

    /// Makes a set of every photograph of a folder: `out/<photograph>.<file name>`.
    pub(crate) fn paint(&self, set: Set, photos: &Path, out: &Path) -> Cost {
        match self {
            Self::Emsync => {
                let (from, to) = (photos.to_str().unwrap(), out.to_str().unwrap());
                ourselves(&["one-thread", &format!("{set:?}"), from, to]).cost
            }
            Self::Sharp { folder, raw } => {
                let presets: Vec<_> = set.presets().iter().map(in_json).collect();
                let mut node = Command::new("node");
                node.arg(out.parent().unwrap().join("sharp.js"))
                    .arg(if *raw { "raw" } else { "clone" })
                    .args([photos, out])
                    .arg(serde_json::to_string(&presets).unwrap())
                    .env("NODE_PATH", folder.join("node_modules"));
                run(&mut node).cost
            }
            Self::Vips => sum(paths(photos).iter().flat_map(|photo| {
                let presets = set.presets();
                presets
                    .into_iter()
                    .map(|preset| vips(&preset, photo, out))
                    .collect::<Vec<_>>()
            })),
            Self::ImageMagick => sum(paths(photos).iter().flat_map(|photo| {
                let presets = set.presets();
                let large = to(out, photo, &presets[0]);
                let from = |preset: &Preset| {
                    if preset.id == presets[0].id {
                        photo
                    } else {
                        &large
                    }
                };
                let one = |preset: &Preset| magick(preset, from(preset), &to(out, photo, preset));
                presets.iter().map(one).collect::<Vec<_>>()
            })),
        }
    }
}

/// One after the other: times add up, the peak is the largest.
fn sum(commands: impl Iterator<Item = Command>) -> Cost {
    commands.fold(Cost::default(), |sum, mut command| {
        let cost = run(&mut command).cost;
        Cost {
            wall: sum.wall + cost.wall,
            cpu: sum.cpu + cost.cpu,
            peak_kib: sum.peak_kib.max(cost.peak_kib),
        }
    })
}

fn to(out: &Path, photo: &Path, preset: &Preset) -> PathBuf {
    let name = photo.file_stem().unwrap().to_str().unwrap();
    out.join(format!("{name}.{}", preset.file_name))
}

fn quality(preset: &Preset) -> u8 {
    match preset.encoding {
        Encoding::WebP { quality, .. } | Encoding::Jpeg { quality, .. } => quality,
        Encoding::Png | Encoding::Gif | Encoding::Other => unreachable!("sets are WebP and JPEG"),
    }
}

fn is_crop(preset: &Preset) -> bool {
    preset.shape == Shape::Cut(Cut::CENTRE)
}

fn in_json(preset: &Preset) -> serde_json::Value {
    serde_json::json!({
        "name": preset.file_name,
        "width": preset.width,
        "height": preset.height,
        "quality": quality(preset),
        "crop": is_crop(preset),
    })
}

fn vips(preset: &Preset, photo: &Path, out: &Path) -> Command {
    let mut command = Command::new("vipsthumbnail");
    let size = format!("{}x{}", preset.width, preset.height);
    let to = to(out, photo, preset);
    let options = if preset.file_name.ends_with("webp") {
        "effort=4"
    } else {
        "optimize-coding"
    };
    command
        .env("VIPS_CONCURRENCY", "1")
        .arg(photo)
        .arg("--export-profile=srgb");
    if is_crop(preset) {
        command.args(["--size", &size, "--smartcrop=centre"]);
    } else {
        command.args(["--size", &format!("{size}>")]);
    }
    let to = format!("{}[Q={},strip,{options}]", to.display(), quality(preset));
    command.args(["-o", &to]);
    command
}

fn magick(preset: &Preset, from: &Path, to: &Path) -> Command {
    let mut command = Command::new("convert");
    let size = format!("{}x{}", preset.width, preset.height);
    let frame = format!("{}[0]", from.display());
    command.args(["-strip", &frame, "-limit", "thread", "1"]);
    if is_crop(preset) {
        let window = format!("{size}+0+0");
        command.args([
            "-resize",
            &format!("{size}^"),
            "-gravity",
            "center",
            "-crop",
            &window,
            "+repage",
        ]);
    } else {
        command.args(["-resize", &format!("{size}>")]);
    }
    command.args([
        "-quality",
        &quality(preset).to_string(),
        "-sampling-factor",
        "4:2:0",
        "-auto-orient",
    ]);
    command.arg(to);
    command
}

/// Both ways to use sharp; arguments: way, folder of photographs, folder of renditions, presets.
const SHARP: &str = r#"
const sharp = require('sharp'), fs = require('fs'), path = require('path');
const [way, from, to, presets] = process.argv.slice(2);
sharp.concurrency(1);
sharp.cache(false);
const write = (image, preset, name) => {
  const fit = preset.crop ? { fit: 'cover', position: 'centre' } : { fit: 'inside', withoutEnlargement: true };
  const sized = image.resize(preset.width, preset.height, fit);
  const encoded = preset.name.endsWith('webp')
    ? sized.webp({ quality: preset.quality, effort: 4 })
    : sized.jpeg({ quality: preset.quality, chromaSubsampling: '4:2:0', optimiseCoding: true });
  return encoded.toFile(path.join(to, `${name}.${preset.name}`));
};
(async () => {
  for (const file of fs.readdirSync(from).sort()) {
    const photo = path.join(from, file), name = path.parse(file).name;
    let source = () => sharp(photo).rotate();
    if (way === 'raw') {
      const large = source().resize(3000, 3000, { fit: 'inside', withoutEnlargement: true });
      const { data, info: { width, height, channels } } = await large.raw().toBuffer({ resolveWithObject: true });
      source = () => sharp(data, { raw: { width, height, channels } });
    }
    for (const preset of JSON.parse(presets)) await write(source(), preset, name);
  }
})();
"#;
