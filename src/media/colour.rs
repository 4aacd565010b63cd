//! From the colours that an embedded profile describes to sRGB, for [`Mode::Corrected`](crate::model::Mode).
//!
//! A profile that cannot be read, or that is of another kind than the pixels, says nothing: the values stay. So they do where
//! the profile is sRGB itself, as most are, or so near that no value of eight bits would move by more than one. Inks (CMYK) are
//! RGB by the simple rule by the time they come here, unless [`inks`](super::inks) took them as they are stored.

use std::sync::Arc;

use image::{DynamicImage, ImageBuffer};
use moxcms::{
    ColorProfile, DataColorSpace, Layout, RenderingIntent, TransformExecutor, TransformOptions,
};

use super::picture::{Picture, Pixels};

/// Largest profile that is looked at, in bytes. Those of printing presses take some three million.
const MOST_BYTES: usize = 8 << 20;

/// What leads from a profile's colours to sRGB.
#[derive(Clone)]
pub(super) struct Conversion {
    profile: Arc<ColorProfile>,
}

impl std::fmt::Debug for Conversion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversion")
            .field("from", &self.profile.color_space)
            .finish_non_exhaustive()
    }
}

/// The conversion that an embedded profile asks for, if any.
pub(super) fn conversion(icc: Option<Vec<u8>>) -> Option<Conversion> {
    let icc = icc.filter(|icc| icc.len() <= MOST_BYTES)?;
    let profile = ColorProfile::new_from_slice(&icc).ok()?;
    let conversion = Conversion {
        profile: Arc::new(profile),
    };
    (!conversion.is_nothing()).then_some(conversion)
}

impl Conversion {
    /// Whether the profile is of a kind of pixels that are red, green and blue.
    pub(super) fn is_rgb(&self) -> bool {
        self.profile.color_space == DataColorSpace::Rgb
    }

    /// Whether the profile is of cyan, magenta, yellow and black.
    pub(super) fn is_of_inks(&self) -> bool {
        self.profile.color_space == DataColorSpace::Cmyk
    }

    /// Inks, four bytes a pixel and 255 for full ink, as rows of RGB.
    pub(super) fn inks(&self, inks: &[u8]) -> Option<Vec<u8>> {
        // A layout of four channels is what inks are given in, whatever its name.
        self.eight(inks, Layout::Rgba, Layout::Rgb)
    }

    /// Whether values stay as they are, within one of 255, for colours all over the cube.
    fn is_nothing(&self) -> bool {
        let steps = || (0..=255_u8).step_by(51);
        let colours: Vec<u8> = steps()
            .flat_map(|r| steps().flat_map(move |g| steps().flat_map(move |b| [r, g, b])))
            .collect();
        self.is_rgb()
            && self
                .eight(&colours, Layout::Rgb, Layout::Rgb)
                .is_some_and(|converted| {
                    colours
                        .iter()
                        .zip(converted)
                        .all(|(from, to)| from.abs_diff(to) <= 1)
                })
    }

    /// `picture`, of any bits and with or without alpha, in sRGB; as it is when the profile is of another kind.
    pub(super) fn image(&self, image: DynamicImage) -> DynamicImage {
        self.converted(&image).unwrap_or(image)
    }

    fn converted(&self, image: &DynamicImage) -> Option<DynamicImage> {
        use DynamicImage as Is;
        let (width, height) = (image.width(), image.height());
        let rgb8 = |bytes| ImageBuffer::from_raw(width, height, bytes).map(Is::ImageRgb8);
        let rgba8 = |bytes| ImageBuffer::from_raw(width, height, bytes).map(Is::ImageRgba8);
        let rgb16 = |values| ImageBuffer::from_raw(width, height, values).map(Is::ImageRgb16);
        let rgba16 = |values| ImageBuffer::from_raw(width, height, values).map(Is::ImageRgba16);
        match (image, self.profile.color_space) {
            (Is::ImageRgb8(image), DataColorSpace::Rgb) => {
                rgb8(self.eight(image, Layout::Rgb, Layout::Rgb)?)
            }
            (Is::ImageRgba8(image), DataColorSpace::Rgb) => {
                rgba8(self.eight(image, Layout::Rgba, Layout::Rgba)?)
            }
            (Is::ImageLuma8(image), DataColorSpace::Gray) => {
                rgb8(self.eight(image, Layout::Gray, Layout::Rgb)?)
            }
            (Is::ImageLumaA8(image), DataColorSpace::Gray) => {
                rgba8(self.eight(image, Layout::GrayAlpha, Layout::Rgba)?)
            }
            (Is::ImageRgb16(image), DataColorSpace::Rgb) => {
                rgb16(self.sixteen(image, Layout::Rgb, Layout::Rgb)?)
            }
            (Is::ImageRgba16(image), DataColorSpace::Rgb) => {
                rgba16(self.sixteen(image, Layout::Rgba, Layout::Rgba)?)
            }
            (Is::ImageLuma16(image), DataColorSpace::Gray) => {
                rgb16(self.sixteen(image, Layout::Gray, Layout::Rgb)?)
            }
            (Is::ImageLumaA16(image), DataColorSpace::Gray) => {
                rgba16(self.sixteen(image, Layout::GrayAlpha, Layout::Rgba)?)
            }
            _ => None,
        }
    }

    /// The same for a picture of eight bits; luma and chroma become pixels, since profiles know of nothing else.
    pub(super) fn picture(&self, picture: Picture) -> Picture {
        let Picture { size, pixels } = picture;
        let pixels = pixels.into_pixels();
        let converted = match &pixels {
            Pixels::Rgb(bytes) => self.eight(bytes, Layout::Rgb, Layout::Rgb).map(Pixels::Rgb),
            Pixels::Rgba(bytes) => self
                .eight(bytes, Layout::Rgba, Layout::Rgba)
                .map(Pixels::Rgba),
            Pixels::Planes(_) => None,
        };
        let pixels = converted.unwrap_or(pixels);
        Picture { size, pixels }
    }

    fn eight(&self, from: &[u8], layout: Layout, into: Layout) -> Option<Vec<u8>> {
        let transform = INTENTS.iter().find_map(|intent| {
            let srgb = ColorProfile::new_srgb();
            self.profile
                .create_transform_8bit(layout, &srgb, into, options(*intent))
                .ok()
        });
        apply(&*transform?, from, layout, into)
    }

    fn sixteen(&self, from: &[u16], layout: Layout, into: Layout) -> Option<Vec<u16>> {
        let transform = INTENTS.iter().find_map(|intent| {
            let srgb = ColorProfile::new_srgb();
            self.profile
                .create_transform_16bit(layout, &srgb, into, options(*intent))
                .ok()
        });
        apply(&*transform?, from, layout, into)
    }
}

/// The first that a profile has tables for; profiles of screens have none and make no difference.
const INTENTS: [RenderingIntent; 2] = [
    RenderingIntent::Perceptual,
    RenderingIntent::RelativeColorimetric,
];

fn options(rendering_intent: RenderingIntent) -> TransformOptions {
    TransformOptions {
        rendering_intent,
        ..TransformOptions::default()
    }
}

fn apply<V: Copy + Default>(
    transform: &(impl TransformExecutor<V> + ?Sized),
    from: &[V],
    layout: Layout,
    into: Layout,
) -> Option<Vec<V>> {
    let mut to = vec![V::default(); from.len() / layout.channels() * into.channels()];
    transform.transform(from, &mut to).ok()?;
    Some(to)
}

#[cfg(test)]
mod tests {
    use super::super::difference::difference;
    use super::super::{Limits, Recipe, render};
    use crate::model::Mode;
    use crate::model::preset::{Encoding, Preset, image_presets};
    use image::codecs::png::PngEncoder;
    use image::{ExtendedColorType, ImageEncoder};
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
    use moxcms::ColorProfile;

    /// Side of one patch, in pixels: chroma of a patch's middle is its own whatever is halved and filtered.
    const PATCH: usize = 24;

    /// Colours all over sRGB, in eight columns.
    fn colours() -> Vec<[u8; 3]> {
        let steps = [10, 90, 170, 245];
        let with = |r| steps.iter().flat_map(move |g| steps.map(|b| [r, *g, b]));
        steps.into_iter().flat_map(with).collect()
    }

    /// Values a screen would need that has other primaries (to XYZ under D65, as columns) and curve than sRGB.
    fn encoded_by(colour: [u8; 3], to_xyz: [[f64; 3]; 3], curve: impl Fn(f64) -> f64) -> [f64; 3] {
        let linear = colour.map(|value| {
            let value = f64::from(value) / 255.0;
            if value <= 0.040_45 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        });
        let srgb = [
            [0.412_456_4, 0.357_576_1, 0.180_437_5],
            [0.212_672_9, 0.715_152_2, 0.072_175_0],
            [0.019_333_9, 0.119_192_0, 0.950_304_1],
        ];
        let xyz = srgb.map(|row| (0..3).map(|at| row[at] * linear[at]).sum::<f64>());
        solved(to_xyz, xyz).map(|value| curve(value.clamp(0.0, 1.0)))
    }

    /// The solution of three equations, by Cramer's rule.
    fn solved(rows: [[f64; 3]; 3], of: [f64; 3]) -> [f64; 3] {
        let determinant = |m: [[f64; 3]; 3]| {
            let minor = |a: usize, b: usize| m[1][a] * m[2][b] - m[1][b] * m[2][a];
            m[0][0] * minor(1, 2) - m[0][1] * minor(0, 2) + m[0][2] * minor(0, 1)
        };
        std::array::from_fn(|column| {
            let mut replaced = rows;
            (0..3).for_each(|row| replaced[row][column] = of[row]);
            determinant(replaced) / determinant(rows)
        })
    }

    fn adobe(colour: [u8; 3]) -> [f64; 3] {
        let to_xyz = [
            [0.576_730_9, 0.185_554_0, 0.188_185_2],
            [0.297_376_9, 0.627_349_1, 0.075_274_1],
            [0.027_034_3, 0.070_687_2, 0.991_108_5],
        ];
        encoded_by(colour, to_xyz, |value| value.powf(256.0 / 563.0))
    }

    fn display_p3(colour: [u8; 3]) -> [f64; 3] {
        let to_xyz = [
            [0.486_570_9, 0.265_667_7, 0.198_217_3],
            [0.228_974_6, 0.691_738_5, 0.079_286_9],
            [0.0, 0.045_113_4, 1.043_944_4],
        ];
        let curve = |value: f64| {
            if value <= 0.003_130_8 {
                12.92 * value
            } else {
                1.055 * value.powf(1.0 / 2.4) - 0.055
            }
        };
        encoded_by(colour, to_xyz, curve)
    }

    /// ProPhoto's primaries, moved from D50 to D65 by Bradford's matrix.
    fn pro_photo(colour: [u8; 3]) -> [f64; 3] {
        let to_d50 = [
            [0.797_674_9, 0.135_191_7, 0.031_353_4],
            [0.288_040_2, 0.711_874_1, 0.000_085_7],
            [0.0, 0.0, 0.825_210_0],
        ];
        let to_d65 = [
            [0.955_576_6, -0.023_039_3, 0.063_163_6],
            [-0.028_289_5, 1.009_941_6, 0.021_007_7],
            [0.012_298_2, -0.020_483_0, 1.329_909_8],
        ];
        let product = |row: [f64; 3]| {
            std::array::from_fn(|column| (0..3).map(|at| row[at] * to_d50[at][column]).sum())
        };
        encoded_by(colour, to_d65.map(product), |value| value.powf(1.0 / 1.8))
    }

    /// Rows of patches, each as many values a pixel as it has.
    fn patches<V: Copy>(values: &[Vec<V>]) -> (u32, u32, Vec<V>) {
        let rows = values.chunks(8).flat_map(|row| {
            let line: Vec<V> = row.iter().flat_map(|value| value.repeat(PATCH)).collect();
            std::iter::repeat_n(line, PATCH).flatten()
        });
        let (width, height) = (8 * PATCH, values.len() / 8 * PATCH);
        (width as u32, height as u32, rows.collect())
    }

    fn bytes(value: [f64; 3]) -> Vec<u8> {
        value.map(|value| (value * 255.0).round() as u8).to_vec()
    }

    fn jpeg(values: &[Vec<u8>], icc: &[u8]) -> Vec<u8> {
        let (width, height, pixels) = patches(values);
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, 100);
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
        encoder.add_icc_profile(icc).unwrap();
        let kind = if values[0].len() == 1 {
            ColorType::Luma
        } else {
            ColorType::Rgb
        };
        encoder
            .encode(&pixels, width as u16, height as u16, kind)
            .unwrap();
        file
    }

    fn png(values: &[Vec<u8>], kind: ExtendedColorType, bytes_each: usize, icc: &[u8]) -> Vec<u8> {
        let grouped: Vec<Vec<u8>> = values.to_vec();
        let (width, height, pixels) = patches(&grouped);
        assert_eq!(pixels.len(), width as usize * height as usize * bytes_each);
        let mut file = Vec::new();
        let mut encoder = PngEncoder::new(&mut file);
        encoder.set_icc_profile(icc.to_vec()).unwrap();
        encoder.write_image(&pixels, width, height, kind).unwrap();
        file
    }

    /// The middle of each patch of a rendition.
    fn rendered(original: &[u8], mode: Mode) -> Vec<[u8; 3]> {
        let preset = Preset {
            encoding: Encoding::WebP {
                quality: 100,
                method: 4,
            },
            ..image_presets().swap_remove(0)
        };
        let recipe = Recipe {
            mode,
            ..Recipe::from(vec![preset])
        };
        let made = render(original, &recipe, &Limits::default())
            .unwrap()
            .swap_remove(0);
        let picture = image::load_from_memory(&made.bytes).unwrap().into_rgb8();
        let middle = |at: u32| at * PATCH as u32 + PATCH as u32 / 2;
        let rows = picture.height() / PATCH as u32;
        (0..rows)
            .flat_map(|y| (0..8).map(move |x| (x, y)))
            .map(|(x, y)| picture.get_pixel(middle(x), middle(y)).0)
            .collect()
    }

    /// Nobody sees a difference on average, and hardly anybody the greatest: one value of eight bits is up to 1, the
    /// encoder's loss at a quality of 100 as much again.
    #[track_caller]
    fn assert_same(seen: &[[u8; 3]], expected: &[[u8; 3]]) {
        assert_eq!(seen.len(), expected.len());
        let all: Vec<f64> = seen
            .iter()
            .zip(expected)
            .map(|(a, b)| difference(*a, *b))
            .collect();
        let (mean, most) = (
            all.iter().sum::<f64>() / all.len() as f64,
            all.iter().copied().fold(0.0, f64::max),
        );
        assert!(
            mean <= 1.0 && most <= 3.0,
            "mean {mean:.2}, greatest {most:.2}"
        );
    }

    type Space = (ColorProfile, fn([u8; 3]) -> [f64; 3]);

    fn spaces() -> [Space; 3] {
        [
            (ColorProfile::new_adobe_rgb(), adobe),
            (ColorProfile::new_display_p3(), display_p3),
            (ColorProfile::new_pro_photo_rgb(), pro_photo),
        ]
    }

    #[test]
    fn wide_colours_are_seen_as_they_were_meant() {
        for (profile, space) in spaces() {
            let icc = profile.encode().unwrap();
            let values: Vec<_> = colours()
                .into_iter()
                .map(|colour| bytes(space(colour)))
                .collect();
            for original in [
                jpeg(&values, &icc),
                png(&values, ExtendedColorType::Rgb8, 3, &icc),
            ] {
                assert_same(&rendered(&original, Mode::Corrected), &colours());
            }
        }
    }

    #[test]
    fn sixteen_bits_and_alpha_are_converted_too() {
        for (profile, space) in spaces() {
            let icc = profile.encode().unwrap();
            let sixteen = |colour| {
                let values = space(colour).map(|value| (value * 65_535.0).round() as u16);
                values
                    .iter()
                    .flat_map(|value| value.to_ne_bytes())
                    .collect::<Vec<u8>>()
            };
            let values: Vec<_> = colours().into_iter().map(sixteen).collect();
            let original = png(&values, ExtendedColorType::Rgb16, 6, &icc);
            assert_same(&rendered(&original, Mode::Corrected), &colours());
            let with_alpha = |colour| [bytes(space(colour)), vec![128]].concat();
            let values: Vec<_> = colours().into_iter().map(with_alpha).collect();
            let original = png(&values, ExtendedColorType::Rgba8, 4, &icc);
            // Half of it, on white.
            let on_white = |value: u8| ((u32::from(value) * 128 + 255 * 127 + 127) / 255) as u8;
            let expected: Vec<_> = colours()
                .into_iter()
                .map(|colour| colour.map(on_white))
                .collect();
            assert_same(&rendered(&original, Mode::Corrected), &expected);
        }
    }

    #[test]
    fn grey_by_another_curve_is_as_bright_as_it_was_meant() {
        let icc = ColorProfile::new_gray_with_gamma(1.8).encode().unwrap();
        let greys: Vec<[u8; 3]> = (0..16).map(|step| [step * 15 + 20; 3]).collect();
        let by_curve = |grey: &[u8; 3]| {
            let value = f64::from(grey[0]) / 255.0;
            vec![((((value + 0.055) / 1.055).powf(2.4)).powf(1.0 / 1.8) * 255.0).round() as u8]
        };
        let values: Vec<_> = greys.iter().map(by_curve).collect();
        for original in [
            jpeg(&values, &icc),
            png(&values, ExtendedColorType::L8, 1, &icc),
        ] {
            assert_same(&rendered(&original, Mode::Corrected), &greys);
        }
    }

    #[test]
    fn a_colour_measured_with_another_program_comes_out_the_same() {
        // Adobe RGB 191, 32, 64 (media spec 3.5.1).
        let icc = ColorProfile::new_adobe_rgb().encode().unwrap();
        let original = png(
            &vec![vec![191, 32, 64]; 8],
            ExtendedColorType::Rgb8,
            3,
            &icc,
        );
        assert_same(&rendered(&original, Mode::Corrected), &[[224, 26, 63]; 8]);
    }

    #[test]
    fn faithful_renditions_keep_the_values() {
        let icc = ColorProfile::new_adobe_rgb().encode().unwrap();
        let values: Vec<_> = colours().iter().map(|colour| colour.to_vec()).collect();
        for original in [
            jpeg(&values, &icc),
            png(&values, ExtendedColorType::Rgb8, 3, &icc),
        ] {
            assert_same(&rendered(&original, Mode::Faithful), &colours());
        }
    }

    #[test]
    fn a_profile_that_is_none_changes_nothing() {
        let values: Vec<_> = colours().iter().map(|colour| colour.to_vec()).collect();
        let srgb = ColorProfile::new_srgb().encode().unwrap();
        let grey = ColorProfile::new_gray_with_gamma(2.2).encode().unwrap();
        let cut = &srgb[..srgb.len() / 2];
        let oversized = vec![7; super::MOST_BYTES + 1];
        for icc in [&srgb[..], &grey, cut, b"no profile", &oversized] {
            let original = png(&values, ExtendedColorType::Rgb8, 3, icc);
            assert_eq!(
                rendered(&original, Mode::Corrected),
                rendered(&original, Mode::Faithful)
            );
        }
    }

    /// A press, and what littlecms makes of its inks (`assets-fixtures/colour`).
    const PRESS: &[u8] = include_bytes!("../../assets-fixtures/colour/press.icc");
    const PRINTED: &str = include_str!("../../assets-fixtures/colour/press-to-srgb.txt");

    /// Inks, and the colours that they are seen as.
    fn printed() -> (Vec<Vec<u8>>, Vec<[u8; 3]>) {
        let lines = PRINTED.lines().filter(|line| !line.starts_with('#'));
        let numbers = |line: &str| -> Vec<u8> {
            let words = line.split_whitespace();
            words.map(|word| word.parse().unwrap()).collect()
        };
        let split = |line: Vec<u8>| (line[..4].to_vec(), [line[4], line[5], line[6]]);
        lines.map(numbers).map(split).unzip()
    }

    fn ink_jpeg(inks: &[Vec<u8>], kind: ColorType, icc: Option<&[u8]>) -> Vec<u8> {
        let (width, height, pixels) = patches(inks);
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, 100);
        if let Some(icc) = icc {
            encoder.add_icc_profile(icc).unwrap();
        }
        encoder
            .encode(&pixels, width as u16, height as u16, kind)
            .unwrap();
        file
    }

    /// The same file without the segment by which Adobe's programs say that theirs is what is left white.
    fn not_of_adobe(file: &[u8]) -> Vec<u8> {
        let mark = b"\xff\xee\0\x0eAdobe";
        let at = file.windows(mark.len()).position(|part| part == mark);
        let at = at.unwrap();
        [&file[..at], &file[at + 16..]].concat()
    }

    /// An uncompressed TIFF of inks, of eight or sixteen bits.
    fn ink_tiff(inks: &[Vec<u8>], bits: u16, icc: &[u8]) -> Vec<u8> {
        let (width, height, mut pixels) = patches(inks);
        if bits == 16 {
            pixels = pixels.iter().flat_map(|ink| [*ink, *ink]).collect();
        }
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        let tags = 11_u16;
        let depths = 8 + 2 + u32::from(tags) * 12 + 4;
        let profile = depths + 8;
        let data = profile + icc.len() as u32;
        bytes.extend(tags.to_le_bytes());
        for (tag, kind, count, value) in [
            (256_u16, 4_u16, 1_u32, width),
            (257, 4, 1, height),
            (258, 3, 4, depths),
            (259, 3, 1, 1),
            (262, 3, 1, 5),
            (273, 4, 1, data),
            (277, 3, 1, 4),
            (278, 4, 1, height),
            (279, 4, 1, pixels.len() as u32),
            (332, 3, 1, 1),
            (34_675, 7, icc.len() as u32, profile),
        ] {
            bytes.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
            bytes.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
        }
        bytes.extend([0; 4]);
        bytes.extend([bits; 4].map(u16::to_le_bytes).concat());
        bytes.extend([icc, &pixels].concat());
        bytes
    }

    /// By (1 - C)(1 - K) and so on.
    fn simple(inks: &[u8]) -> [u8; 3] {
        let white = |ink: u8| f64::from(255 - ink) / 255.0;
        std::array::from_fn(|at| (white(inks[at]) * white(inks[3]) * 255.0).round() as u8)
    }

    #[test]
    fn inks_are_seen_as_their_press_prints_them() {
        let (inks, expected) = printed();
        let adobe = ink_jpeg(&inks, ColorType::Cmyk, Some(PRESS));
        let plain: Vec<Vec<u8>> = inks
            .iter()
            .map(|of| of.iter().map(|ink| 255 - ink).collect())
            .collect();
        for original in [
            ink_jpeg(&inks, ColorType::CmykAsYcck, Some(PRESS)),
            ink_tiff(&inks, 8, PRESS),
            ink_tiff(&inks, 16, PRESS),
            not_of_adobe(&ink_jpeg(&plain, ColorType::Cmyk, Some(PRESS))),
            adobe,
        ] {
            assert_same(&rendered(&original, Mode::Corrected), &expected);
        }
    }

    #[test]
    fn inks_without_a_profile_of_inks_follow_the_simple_rule() {
        let (inks, _) = printed();
        let expected: Vec<_> = inks.iter().map(|inks| simple(inks)).collect();
        let screen = ColorProfile::new_adobe_rgb().encode().unwrap();
        for icc in [None, Some(&screen[..])] {
            let original = ink_jpeg(&inks, ColorType::Cmyk, icc);
            assert_same(&rendered(&original, Mode::Corrected), &expected);
        }
        // Faithful renditions take no notice of the press.
        for original in [
            ink_jpeg(&inks, ColorType::Cmyk, Some(PRESS)),
            ink_tiff(&inks, 8, PRESS),
        ] {
            assert_same(&rendered(&original, Mode::Faithful), &expected);
        }
    }

    #[test]
    fn a_profile_of_inks_changes_no_pixels_of_a_screen() {
        let values: Vec<_> = colours().iter().map(|colour| colour.to_vec()).collect();
        for original in [
            png(&values, ExtendedColorType::Rgb8, 3, PRESS),
            jpeg(&values, PRESS),
        ] {
            let seen = rendered(&original, Mode::Corrected);
            assert_eq!(seen, rendered(&original, Mode::Faithful));
        }
    }
}
