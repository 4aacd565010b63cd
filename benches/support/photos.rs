//! Photographs made from numbers, and from wallpapers where those are installed.

use std::path::{Path, PathBuf};

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// Photographs of Debian's `plasma-workspace-wallpapers`, read where they lie and never passed on.
const WALLPAPERS: [&str; 6] = [
    "Autumn",
    "BytheWater",
    "ColorfulCups",
    "EveningGlow",
    "FallenLeaf",
    "OneStandsOut",
];

/// Writes so many photographs of a size, in pixels, into a new folder; says of what they were made.
pub(crate) fn make(folder: &Path, count: u64, size: (u16, u16)) -> String {
    std::fs::create_dir(folder).unwrap();
    let mut wallpapers = WALLPAPERS.iter().filter_map(|name| {
        let folder = format!("/usr/share/wallpapers/{name}/contents/images/2560x1600.jpg");
        image::open(folder).ok()
    });
    let (mut found, mut made) = (0, 0);
    for at in 0..count {
        // Every other one, so that both kinds count.
        let wallpaper = if at % 2 == 0 { wallpapers.next() } else { None };
        let mut chance = Chance(at + 1);
        let pixels = match wallpaper {
            Some(wallpaper) => {
                found += 1;
                enlarged(&wallpaper, size, &mut chance)
            }
            None => {
                made += 1;
                scene(size, &mut chance)
            }
        };
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 93);
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
        encoder
            .encode(&pixels, size.0, size.1, ColorType::Rgb)
            .unwrap();
        std::fs::write(folder.join(format!("{at:02}.jpg")), bytes).unwrap();
    }
    let bytes: u64 = paths(folder)
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    format!(
        "{count} photographs of {}x{}, 4:2:0 JPEG, {:.1} MB each: {made} made from numbers, {found} enlarged wallpapers",
        size.0,
        size.1,
        bytes as f64 / count as f64 / 1e6
    )
}

/// The photographs of a folder, in order.
pub(crate) fn paths(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Name without ending, and content, of each photograph of a folder.
pub(crate) fn all(folder: &Path) -> impl Iterator<Item = (String, Vec<u8>)> {
    paths(folder).into_iter().map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read(path).unwrap())
    })
}

/// Numbers without pattern, the same each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        // The generator called splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From -1 to 1.
    fn around_zero(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}

/// One channel of numbers.
struct Field {
    width: u32,
    height: u32,
    values: Vec<f32>,
}

impl Field {
    fn resized(&self, width: u32, height: u32) -> Self {
        let bytes = self
            .values
            .iter()
            .flat_map(|value| value.to_ne_bytes())
            .collect();
        let from = Image::from_vec_u8(self.width, self.height, bytes, PixelType::F32).unwrap();
        let mut to = Image::new(width, height, PixelType::F32);
        let options =
            ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
        Resizer::new().resize(&from, &mut to, &options).unwrap();
        let (values, _) = to.buffer().as_chunks::<4>();
        let values = values
            .iter()
            .map(|bytes| f32::from_ne_bytes(*bytes))
            .collect();
        Self {
            width,
            height,
            values,
        }
    }

    /// A disc that hides what is behind it.
    fn cover(&mut self, chance: &mut Chance) {
        let (width, height) = (f32::from(self.width as u16), f32::from(self.height as u16));
        let at = |side: f32, chance: &mut Chance| (chance.around_zero() + 1.0) / 2.0 * side;
        let (x, y, value) = (
            at(width, chance),
            at(height, chance),
            chance.around_zero() * 60.0,
        );
        let radius = 2.0 + 6.0 * (chance.around_zero() + 1.0);
        let rows = (y - radius).max(0.0) as u32..((y + radius) as u32).min(self.height);
        for row in rows {
            let half = (radius * radius - (row as f32 - y).powi(2)).max(0.0).sqrt();
            let (from, to) = (
                (x - half).max(0.0) as u32,
                ((x + half) as u32).min(self.width),
            );
            for column in from..to.max(from) {
                let place = &mut self.values[(row * self.width + column) as usize];
                *place = *place * 0.3 + value;
            }
        }
    }
}

/// Detail of all sizes, each size as strong as the next, as photographs have it; the finest `sharp` times that.
fn detail(
    (width, height): (u16, u16),
    chance: &mut Chance,
    coarse: f32,
    sharp: f32,
    covers: u32,
) -> Field {
    let sizes = |halvings: u32| {
        let side = |side: u16| (u32::from(side) >> halvings).max(1);
        (side(width), side(height))
    };
    let (first_width, first_height) = sizes(9);
    let mut field = Field {
        width: first_width,
        height: first_height,
        values: vec![0.0; (first_width * first_height) as usize],
    };
    for halvings in (0..=9).rev() {
        let (width, height) = sizes(halvings);
        field = field.resized(width, height);
        let strength = coarse * sharp.powi(9 - halvings as i32);
        for value in &mut field.values {
            *value += chance.around_zero() * strength;
        }
        if (3..7).contains(&halvings) {
            (0..covers).for_each(|_| field.cover(chance));
        }
    }
    field
}

/// A made picture: surfaces that cover each other, with texture, soft colours and the grain of a sensor.
fn scene(size: (u16, u16), chance: &mut Chance) -> Vec<u8> {
    let luma = detail(size, chance, 34.0, 0.78, 220);
    let half = (size.0 / 2, size.1 / 2);
    let mut colour = || detail(half, chance, 22.0, 0.6, 40).resized(size.0.into(), size.1.into());
    let (blue, red) = (colour(), colour());
    let pixels = luma.values.iter().zip(&blue.values).zip(&red.values);
    let rgb = pixels.flat_map(|((luma, blue), red)| {
        let luma = 120.0 + luma;
        [
            luma + 1.4 * red,
            luma - 0.34 * blue - 0.71 * red,
            luma + 1.77 * blue,
        ]
    });
    rgb.map(|value| value as u8).collect()
}

/// A wallpaper enlarged, with the grain that enlarging takes away.
fn enlarged(
    wallpaper: &image::DynamicImage,
    (width, height): (u16, u16),
    chance: &mut Chance,
) -> Vec<u8> {
    let wallpaper = wallpaper.to_rgb8();
    let (w, h) = wallpaper.dimensions();
    let from = Image::from_vec_u8(w, h, wallpaper.into_raw(), PixelType::U8x3).unwrap();
    let mut to = Image::new(width.into(), height.into(), PixelType::U8x3);
    Resizer::new().resize(&from, &mut to, None).unwrap();
    let mut pixels = to.into_vec();
    let mut last = 0.0;
    for pixel in pixels.as_chunks_mut::<3>().0 {
        // Mildly blurred along the row, as a camera's own noise reduction leaves it.
        last = 0.5 * last + 5.0 * chance.around_zero();
        *pixel = pixel.map(|value| (f32::from(value) + last) as u8);
    }
    pixels
}
