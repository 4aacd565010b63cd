//! From a decoded original to each rendition: the large picture once, what derives from it, and the user's crops.

use std::borrow::Cow;

use super::decode::{Decoded, Traits, decode};
use super::error::{Cause, Error};
use super::geometry::{Size, fill, part, window};
use super::picture::Picture;
use super::recipe::{LARGE, Origin, Recipe, is_flat, is_large};
use super::{Limits, Rendition, canvas, encode, jpeg, orient, resize, rotate};
use crate::model::preset::{Background, Encoding, Extent, Preset, PresetId, Shape};
use crate::model::{Crop, Mode};

/// What presets are made from.
pub(super) struct Stages<'a> {
    recipe: &'a Recipe,
    limits: &'a Limits,
    /// The original, while anything is still made of it.
    original: Option<Decoded>,
    /// The large picture, upright, cropped if the user says so; if anything is made of it.
    large: Option<Picture>,
}

impl<'a> Stages<'a> {
    /// Decodes the original and makes the large picture.
    pub(super) fn open(
        original: &[u8],
        recipe: &'a Recipe,
        limits: &'a Limits,
    ) -> Result<Self, Error> {
        let decoded = decode(original, recipe, limits)?;
        let is_made = |of: fn(Origin<'_>) -> bool| {
            recipe
                .presets
                .iter()
                .any(|preset| of(recipe.origin(preset)))
        };
        let is_of_large = is_made(|origin| matches!(origin, Origin::Large));
        let is_of_original = is_made(|origin| !matches!(origin, Origin::Large));
        let mut stages = Self {
            recipe,
            limits,
            original: None,
            large: None,
        };
        let shaping = recipe.large_preset().map_or(Shaping::LARGE, Shaping::of);
        if let Some((id, crop)) = recipe.large_crop().filter(|_| is_of_large) {
            let cut = UserCut { id, crop, shaping };
            stages.large = Some(cut.of(&decoded, recipe, limits)?);
        } else if is_of_large {
            let refused = |source| Error::Encode {
                file_name: "large picture".to_owned(),
                source,
            };
            let traits = decoded.traits.clone();
            let picture = if is_of_original {
                Cow::Borrowed(&decoded.picture)
            } else {
                // Dropped as soon as it is shrunk.
                let picture = Cow::Owned(decoded.picture);
                let large = shaping.shaped(picture, &traits, limits);
                stages.large = Some(large.map_err(refused)?.into_owned());
                return Ok(stages);
            };
            let large = shaping.shaped(picture, &traits, limits);
            stages.large = Some(large.map_err(refused)?.into_owned());
        }
        stages.original = is_of_original.then_some(decoded);
        Ok(stages)
    }

    /// Makes one rendition.
    pub(super) fn make(&self, preset: &Preset) -> Result<Rendition, Error> {
        let refused = |source| Error::Encode {
            file_name: preset.file_name.clone(),
            source,
        };
        let shaping = Shaping::of(preset);
        let picture = match self.recipe.origin(preset) {
            Origin::Crop(crop) => {
                let id = &preset.id;
                let cut = UserCut { id, crop, shaping };
                Cow::Owned(cut.of(self.original(), self.recipe, self.limits)?)
            }
            Origin::Original => {
                let Decoded { picture, traits } = self.original();
                let made = shaping.shaped(Cow::Borrowed(picture), traits, self.limits);
                made.map_err(refused)?
            }
            Origin::Large => self.derived(preset, shaping).map_err(refused)?,
        };
        let mut bytes = encode::encode(&picture, preset.encoding).map_err(refused)?;
        if let (Encoding::Jpeg { .. }, Some(dots)) = (preset.encoding, preset.dpi) {
            jpeg::state_density(&mut bytes, dots);
        }
        Ok(Rendition {
            preset: preset.id.clone(),
            page: preset.page,
            file_name: preset.file_name.clone(),
            bytes,
            width: picture.size.width,
            height: picture.size.height,
        })
    }

    fn original(&self) -> &Decoded {
        let kept = "kept for the presets that are made of it";
        self.original.as_ref().expect(kept)
    }

    /// The large picture itself, or what is made of it.
    fn derived(&self, preset: &Preset, shaping: Shaping) -> Result<Cow<'_, Picture>, Cause> {
        let large = self
            .large
            .as_ref()
            .expect("made for the presets that need it");
        if self.recipe.is_the_large(preset) || is_large(preset) {
            return Ok(Cow::Borrowed(large));
        }
        shaping.shaped(Cow::Borrowed(large), &Traits::UPRIGHT, self.limits)
    }
}

/// What of a preset decides which pixels are made, in the converter's order (media spec 3.1).
#[derive(Debug, Clone, Copy)]
struct Shaping {
    into: Size,
    shape: Shape,
    /// Right angles to turn by, clockwise: before a cut, after anything else.
    quarter_turns: u8,
    /// Degrees to turn by, clockwise, where that is no right angle: after scaling.
    oblique: Option<i64>,
    /// What transparency is laid on; of a GIF its own where nothing is said.
    background: Option<Background>,
    is_flat: bool,
    extent: Option<Extent>,
}

impl Shaping {
    /// The large picture that EMDB ships.
    const LARGE: Self = Self {
        into: LARGE,
        shape: Shape::Fit,
        quarter_turns: 0,
        oblique: None,
        background: None,
        is_flat: true,
        extent: None,
    };

    fn of(preset: &Preset) -> Self {
        Self {
            into: Size::new(preset.width, preset.height),
            shape: preset.shape,
            quarter_turns: preset.quarter_turns().unwrap_or(0),
            oblique: preset.oblique(),
            background: preset.background(),
            is_flat: is_flat(preset),
            // A cut has no canvas (media spec 3.1).
            extent: (preset.extent).filter(|_| !matches!(preset.shape, Shape::Cut(_))),
        }
    }

    /// `picture`, pixels that lie as `traits` say, brought into the box, flattened, turned and laid on its canvas.
    ///
    /// Box, corner and canvas are those of the upright picture, as of the large one that EMDB makes most of; box and corner are
    /// turned while the picture still lies on its side.
    fn shaped<'p>(
        &self,
        picture: Cow<'p, Picture>,
        traits: &Traits,
        limits: &Limits,
    ) -> Result<Cow<'p, Picture>, Cause> {
        let orientation = orient::turned_by(traits.orientation, self.quarter_turns);
        let (in_box, shape) = match self.shape {
            Shape::Cut(cut) => (
                orientation,
                Shape::Cut(orient::stored_cut(cut, orientation)),
            ),
            shape => (traits.orientation, shape),
        };
        let into = match orient::turns(in_box) {
            true => self.into.turned(),
            false => self.into,
        };
        const BESIDE: &str = "its cut lies beside the picture";
        if let Shape::Cut(cut) = shape
            && cut.is_before_scaling
        {
            let part = part(picture.size, into, cut).ok_or(BESIDE)?;
            let scaled = fill(part.size, into);
            is_allowed(scaled, limits)?;
            // What is flat has no transparency any more when it is cut.
            let picture = self.flattened(picture, traits);
            let is_soft = traits.soft && !self.is_flat;
            let cut = resize::cut(&picture, part, scaled, is_soft)?;
            return self.finished(Cow::Owned(cut), traits, limits);
        }
        let window = window(picture.size, into, shape).ok_or(BESIDE)?;
        is_allowed(window.size, limits)?;
        let picture = resize::bring(picture, window, traits.soft)?;
        self.finished(picture, traits, limits)
    }

    /// In sRGB if that is asked for, flattened, turned and laid on its canvas. What needs none of it is handed back as it is.
    fn finished<'p>(
        &self,
        picture: Cow<'p, Picture>,
        traits: &Traits,
        limits: &Limits,
    ) -> Result<Cow<'p, Picture>, Cause> {
        let orientation = orient::turned_by(traits.orientation, self.quarter_turns);
        let background = self.background.unwrap_or(traits.background);
        let picture = match &traits.colours {
            Some(colours) => Cow::Owned(colours.picture(picture.into_owned())),
            None => picture,
        };
        let picture = match self.oblique {
            Some(degrees) => {
                is_allowed(rotate::turned_size(picture.size, degrees), limits)?;
                // The converter turns it before it hears of another background than the file's own.
                let fill = match traits.background {
                    Background::Colour(colour) => Some(colour),
                    Background::Transparent => None,
                };
                Cow::Owned(rotate::turned(picture.into_owned(), degrees, fill))
            }
            None => picture,
        };
        let picture = self.flattened(picture, traits);
        let picture = match orientation {
            2..=8 => Cow::Owned(orient::upright(picture.into_owned(), orientation)),
            _ => picture,
        };
        let Some(extent) = self.extent else {
            return Ok(picture);
        };
        is_allowed(Size::new(extent.width, extent.height), limits)?;
        let picture = picture.into_owned();
        Ok(Cow::Owned(canvas::laid(picture, extent, background)))
    }
}

impl Shaping {
    /// On its background, if it is to have no transparency.
    fn flattened<'p>(&self, picture: Cow<'p, Picture>, traits: &Traits) -> Cow<'p, Picture> {
        match self.background.unwrap_or(traits.background) {
            Background::Colour(colour) if self.is_flat && picture.has_alpha() => {
                Cow::Owned(picture.into_owned().flattened(colour))
            }
            _ => picture,
        }
    }
}

fn is_allowed(size: Size, limits: &Limits) -> Result<(), Cause> {
    let Size { width, height } = size;
    let refused = |limit| format!("{width}x{height} is over the limit of {limit}");
    Ok(limits.check(size).map_err(refused)?)
}

/// A user's crop of an original for one preset.
struct UserCut<'a> {
    id: &'a PresetId,
    crop: &'a Crop,
    /// Its box is covered, nothing cut off (media spec 4.2).
    shaping: Shaping,
}

impl UserCut<'_> {
    /// Cuts first and scales after, so that nothing outside the rectangle bleeds in.
    ///
    /// Faithful: the rectangle lies on the picture as it is stored, and the result is turned, its sides included, at the
    /// end (media spec 4.5). Corrected: rectangle and box are those of the upright picture; they are turned to the stored
    /// one's grid, which spares turning the whole original.
    fn of(&self, original: &Decoded, recipe: &Recipe, limits: &Limits) -> Result<Picture, Error> {
        let (picture, traits) = (&original.picture, &original.traits);
        let edges = recipe.edges(*self.crop, (picture.size, traits.orientation));
        let into = match recipe.mode {
            Mode::Corrected if orient::turns(traits.orientation) => self.shaping.into.turned(),
            _ => self.shaping.into,
        };
        let part = edges.inside(picture.size).ok_or_else(|| Error::EmptyCrop {
            preset: self.id.clone(),
            width: picture.size.width,
            height: picture.size.height,
        })?;
        let scaled = fill(part.size, into);
        limits.check(scaled).map_err(|limit| Error::TooLarge {
            width: scaled.width,
            height: scaled.height,
            limit,
        })?;
        let cut = resize::cut(picture, part, scaled, traits.soft);
        let cut = cut.map(Cow::Owned).and_then(|cut| {
            // A rectangle stands for the canvas too, as a cut does.
            let shaping = Shaping {
                extent: None,
                ..self.shaping
            };
            shaping.finished(cut, traits, limits)
        });
        let cut = cut.map_err(|source| Error::Encode {
            file_name: format!("crop of {}", self.id),
            source,
        })?;
        Ok(cut.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::render;
    use super::super::specimen::{self, laid, png, shades};
    use super::*;
    use crate::model::preset::{Cut, Gravity, Source, WEBP_METHOD, image_presets};
    use image::RgbImage;

    /// A preset with a crop, into a box of so many pixels.
    fn preset(side: u32) -> Preset {
        Preset {
            width: side,
            height: side,
            encoding: Encoding::WebP {
                quality: 100,
                method: WEBP_METHOD,
            },
            ..image_presets().swap_remove(3)
        }
    }

    fn cropped(original: &[u8], preset: Preset, crop: Crop, mode: Mode) -> Result<RgbImage, Error> {
        let recipe = Recipe {
            large: None,
            crops: [(preset.id.clone(), crop)].into(),
            presets: vec![preset],
            mode,
            ..Recipe::default()
        };
        let made = render(original, &recipe, &Limits::default())?.swap_remove(0);
        let picture = image::load_from_memory(&made.bytes).unwrap().into_rgb8();
        assert_eq!(picture.dimensions(), (made.width, made.height));
        Ok(picture)
    }

    fn crop(x: i64, y: i64, width: u32, height: u32) -> Crop {
        Crop {
            x,
            y,
            width,
            height,
        }
    }

    /// Mean difference of 255.
    fn difference(a: &RgbImage, b: &RgbImage) -> f64 {
        assert_eq!(a.dimensions(), b.dimensions());
        let sum: u64 = a
            .iter()
            .zip(b.iter())
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum();
        sum as f64 / a.len() as f64
    }

    type CutFirst = (Cut, (u32, u32), (u32, u32), usize, &'static str);

    /// The cut, the box, the size, and pixels at this distance from each other and from half of it, as `convert -gravity G -crop WxH+X+Y +repage
    /// -resize BOX^` of ImageMagick 6.9.11 makes them.
    const CUT_FIRST: [CutFirst; 2] = [
        (
            Cut {
                gravity: Gravity::Centre,
                x: 5,
                y: 3,
                size: Some((40, 20)),
                is_before_scaling: true,
            },
            (24, 16),
            (32, 16),
            5,
            "465d68 5f5d8a 785d95 915d67 aa5d92 c35d64 468317 5f83be 7883f6 918315 aa83e4 c38303 46a8d9 5fa841 78a80e 91a8db aaa81e c3a8eb",
        ),
        (
            Cut {
                gravity: Gravity::SouthEast,
                x: 4,
                y: 6,
                size: Some((60, 60)),
                is_before_scaling: true,
            },
            (50, 30),
            (50, 31),
            9,
            "121b1e 3b1bdd 641bdf 8d1b1e b61bda df1bc7 1258e9 3b580f 64580c 8d58e9 b65812 df5828 1295e7 3b9511 64950e 8d95e7 b69514 df9529",
        ),
    ];

    #[test]
    fn what_is_cut_before_it_is_scaled_is_as_the_converter_makes_it() {
        let original = RgbImage::from_fn(61, 41, |x, y| {
            let blue = if (x / 8 + y / 8) % 2 == 1 { 220 } else { 30 };
            image::Rgb([(x * 4) as u8, (y * 6) as u8, blue])
        });
        for (cut, (width, height), size, step, expected) in CUT_FIRST {
            let preset = Preset {
                shape: Shape::Cut(cut),
                encoding: Encoding::Png,
                source: Source::Original,
                width,
                height,
                ..preset(0)
            };
            let recipe = vec![preset].into();
            let made = render(&png(&original, 1), &recipe, &Limits::default()).unwrap();
            let made = image::load_from_memory(&made[0].bytes).unwrap().into_rgb8();
            assert_eq!(made.dimensions(), size);
            let start = step / 2;
            let rows = (start..size.1 as usize).step_by(step);
            let columns = || (start..size.0 as usize).step_by(step);
            let places = rows.flat_map(|y| columns().map(move |x| (x as u32, y as u32)));
            let theirs: Vec<_> = expected.split_whitespace().collect();
            assert_eq!(places.clone().count(), theirs.len());
            for ((x, y), theirs) in places.zip(theirs) {
                let number = u32::from_str_radix(theirs, 16).unwrap();
                let [_, theirs @ ..] = number.to_be_bytes();
                let ours = made.get_pixel(x, y).0;
                let most = ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(b)).max();
                assert!(most <= Some(6), "{x} {y}: {ours:?} {theirs:?}");
            }
        }
    }

    #[test]
    fn a_crop_covers_its_box_and_loses_nothing() {
        let original = png(&shades(1600, 1100), 1);
        let made = cropped(
            &original,
            preset(200),
            crop(0, 0, 1500, 1000),
            Mode::Faithful,
        );
        assert_eq!(made.unwrap().dimensions(), (300, 200));
    }

    #[test]
    fn a_rectangle_is_drawn_on_the_size_that_its_record_says() {
        // A page of 600 points that was drawn at 1200 pixels.
        let original = png(&shades(1200, 800), 1);
        let preset = preset(200);
        let id = preset.id.clone();
        let made = |crop, drawn_on| {
            let recipe = Recipe {
                presets: vec![preset.clone()],
                crops: [(id.clone(), crop)].into(),
                drawn_on,
                ..Recipe::default()
            };
            render(&original, &recipe, &Limits::default()).unwrap()
        };
        let expected = made(crop(600, 200, 400, 400), None);
        let on_points = made(crop(300, 100, 200, 200), Some((600, 400)));
        assert_eq!(on_points, expected);
        // Each side for itself: an editor shows the picture in the shape that the record says.
        let stretched = made(crop(300, 400, 200, 800), Some((600, 1600)));
        assert_eq!(stretched, expected);
        // Beside the page, though inside its picture.
        let beside = made(crop(700, 0, 100, 100), Some((600, 400)));
        assert_eq!((beside[0].width, beside[0].height), (200, 133));
    }

    #[test]
    fn a_faithful_crop_is_cut_from_the_stored_picture_and_turned_with_its_sides() {
        let original = png(&shades(1200, 800), 6);
        let made = cropped(
            &original,
            preset(550),
            crop(0, 0, 1000, 500),
            Mode::Faithful,
        );
        assert_eq!(made.unwrap().dimensions(), (550, 1100));
    }

    #[test]
    fn a_corrected_crop_shows_what_the_user_saw_however_the_picture_lies() {
        let upright = shades(800, 600);
        let seen = crop(200, 150, 400, 300);
        let expected = cropped(&png(&upright, 1), preset(200), seen, Mode::Faithful).unwrap();
        for orientation in 1..=8 {
            let original = png(&laid(&upright, orientation), orientation);
            // EMDB stores what the user drew on the picture stretched into the stored one's box.
            let noted = match orientation {
                5..=8 => crop(150, 200, 300, 400),
                _ => seen,
            };
            let made = cropped(&original, preset(200), noted, Mode::Corrected).unwrap();
            // Turning and scaling round in another order: less than half a value.
            let mean = difference(&made, &expected);
            assert!(mean < 0.5, "orientation {orientation}: {mean}");
        }
    }

    /// A file of the stored picture, with a note how to hold it.
    type Written = fn(&RgbImage, u8) -> Vec<u8>;

    #[test]
    fn every_format_is_held_as_it_says_before_it_is_cut() {
        let formats: [(&str, Written); 4] = [
            ("jpg", specimen::jpeg),
            ("png", specimen::png),
            ("tif", specimen::tiff),
            ("webp", specimen::webp),
        ];
        let upright = shades(400, 300);
        let whole = |original: &[u8], mode| {
            let mut presets = vec![preset(200), preset(200)];
            // One of the whole, the other cut from the middle of what is upright.
            (presets[1].shape, presets[1].height) = (Shape::Cut(Cut::CENTRE), 80);
            let recipe = Recipe {
                mode,
                ..Recipe::from(presets)
            };
            let made = render(original, &recipe, &Limits::default()).unwrap();
            let pixels = |it: Rendition| image::load_from_memory(&it.bytes).unwrap().into_rgb8();
            made.into_iter().map(pixels).collect::<Vec<_>>()
        };
        for mode in [Mode::Faithful, Mode::Corrected] {
            let expected = whole(&png(&upright, 1), mode);
            let sizes: Vec<_> = expected.iter().map(RgbImage::dimensions).collect();
            assert_eq!(sizes, [(200, 150), (200, 80)]);
            for (name, file) in formats {
                for orientation in 1..=8 {
                    let original = file(&laid(&upright, orientation), orientation);
                    let made = whole(&original, mode);
                    for (made, expected) in made.iter().zip(&expected) {
                        let mean = difference(made, expected);
                        // Held wrongly it is more than 20; luma and chroma of a JPEG round by themselves.
                        assert!(mean < 2.0, "{name} {orientation} {mode:?}: {mean}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_cut_holds_to_its_corner_of_what_is_upright() {
        let upright = shades(800, 600);
        let corners = [Gravity::NorthEast, Gravity::West, Gravity::South];
        let cut = |original: &[u8], gravity| {
            let mut strip = preset(200);
            strip.shape = Shape::Cut(Cut {
                gravity,
                ..Cut::CENTRE
            });
            // Of the original itself, which lies as it is stored.
            (strip.width, strip.height) = (80, 40);
            let recipe = Recipe {
                presets: vec![strip],
                ..Recipe::default()
            };
            let made = render(original, &recipe, &Limits::default()).unwrap();
            image::load_from_memory(&made[0].bytes).unwrap().into_rgb8()
        };
        for gravity in corners {
            let expected = cut(&png(&upright, 1), gravity);
            let middle = cut(&png(&upright, 1), Gravity::Centre);
            assert_eq!(expected.dimensions(), (80, 40));
            let is_other = difference(&expected, &middle) > 2.0;
            assert_eq!(is_other, gravity != Gravity::West, "{gravity:?}");
            for orientation in 2..=8 {
                let made = cut(&png(&laid(&upright, orientation), orientation), gravity);
                let mean = difference(&made, &expected);
                assert!(mean < 1.0, "{gravity:?} {orientation}: {mean}");
            }
        }
    }

    #[test]
    fn a_crop_is_turned_alike_in_every_format() {
        let seen = crop(200, 150, 400, 300);
        let upright = shades(800, 600);
        let formats: [(&str, Written); 3] = [
            ("jpg", specimen::jpeg),
            ("tif", specimen::tiff),
            ("webp", specimen::webp),
        ];
        for mode in [Mode::Faithful, Mode::Corrected] {
            for orientation in 1..=8 {
                let stored = laid(&upright, orientation);
                let of = |original: Vec<u8>| cropped(&original, preset(200), seen, mode).unwrap();
                let expected = of(png(&stored, orientation));
                for (name, file) in formats {
                    let mean = difference(&of(file(&stored, orientation)), &expected);
                    assert!(mean < 1.0, "{name} {orientation} {mode:?}: {mean}");
                }
            }
        }
    }

    #[test]
    fn what_overhangs_is_cut_off() {
        let original = png(&shades(400, 300), 1);
        let of = |crop| cropped(&original, preset(100), crop, Mode::Faithful).unwrap();
        assert_eq!(of(crop(-50, -20, 250, 170)), of(crop(0, 0, 200, 150)));
        assert_eq!(of(crop(300, 200, 5000, 5000)), of(crop(300, 200, 100, 100)));
    }

    #[test]
    fn a_crop_beside_the_picture_is_as_none() {
        let original = png(&shades(40, 30), 1);
        let whole = render(
            &original,
            &Recipe::from(vec![preset(100)]),
            &Limits::default(),
        );
        let whole = image::load_from_memory(&whole.unwrap()[0].bytes).unwrap();
        for (x, y, width, height) in [
            (40, 0, 9, 9),
            (0, -9, 9, 9),
            (0, 0, 0, 9),
            (i64::MAX, 0, 9, 9),
        ] {
            for mode in [Mode::Faithful, Mode::Corrected] {
                let made = cropped(&original, preset(100), crop(x, y, width, height), mode);
                assert_eq!(made.unwrap(), whole.to_rgb8());
            }
        }
    }

    #[test]
    fn a_crop_that_would_be_enlarged_without_end_is_as_none() {
        let original = png(&shades(2, 2000), 1);
        let made = cropped(&original, preset(200), crop(0, 0, 1, 2000), Mode::Faithful);
        assert_eq!(made.unwrap().dimensions(), (1, 200));
    }

    #[test]
    fn nothing_outside_the_rectangle_bleeds_in() {
        let red_and_blue = RgbImage::from_fn(80, 80, |x, _| {
            image::Rgb(if x < 40 { [200, 30, 30] } else { [30, 30, 200] })
        });
        let made = cropped(
            &png(&red_and_blue, 1),
            preset(20),
            crop(0, 0, 40, 40),
            Mode::Faithful,
        );
        let made = made.unwrap();
        let first = *made.get_pixel(0, 0);
        assert!(
            made.pixels()
                .all(|pixel| pixel.0.iter().zip(first.0).all(|(a, b)| a.abs_diff(b) < 3))
        );
    }

    #[test]
    fn what_derives_from_a_cropped_large_picture_shows_the_crop() {
        let original = png(&shades(900, 600), 1);
        let crop = crop(100, 50, 300, 300);
        let mut all = image_presets();
        // As the one of EMDB, but for its 3,000 pixels, which take long.
        (all[0].width, all[0].height) = (1_000, 1_000);
        let large = &all[0];
        let made = |presets: &[Preset]| {
            let recipe = Recipe {
                large: Some(large.clone()),
                presets: presets.to_vec(),
                crops: [(large.id.clone(), crop)].into(),
                mode: Mode::Faithful,
                ..Recipe::default()
            };
            render(&original, &recipe, &Limits::default()).unwrap()
        };
        let whole = made(&all);
        // A crop covers its box, so the large one is enlarged.
        assert_eq!((whole[0].width, whole[0].height), (1000, 1000));
        assert_eq!((whole[3].width, whole[3].height), (200, 200));
        assert_eq!(
            made(&all[1..]),
            whole[1..],
            "the large picture is not made and still counts"
        );
        let expected = cropped(&original, preset(200), crop, Mode::Faithful).unwrap();
        let thumb = image::load_from_memory(&whole[3].bytes)
            .unwrap()
            .into_rgb8();
        // Enlarged to 1000 pixels and shrunk again, encoded at a quality of 76.
        assert!(difference(&thumb, &expected) < 3.0);
    }

    #[test]
    fn a_crop_of_one_leaves_the_others_as_they_were() {
        let original = png(&shades(900, 600), 1);
        let all = image_presets();
        let recipe = Recipe {
            large: None,
            presets: all.clone(),
            crops: [(all[2].id.clone(), crop(0, 0, 90, 90))].into(),
            mode: Mode::Faithful,
            ..Recipe::default()
        };
        let cropped = render(&original, &recipe, &Limits::default()).unwrap();
        let plain = render(&original, &all.into(), &Limits::default()).unwrap();
        let same: Vec<_> = cropped.iter().zip(&plain).map(|(a, b)| a == b).collect();
        assert_eq!(same, [true, true, false, true, true]);
    }

    /// Half of it green that is half transparent, in a frame of nothing.
    fn veiled() -> Vec<u8> {
        let picture = image::RgbaImage::from_fn(80, 40, |x, y| {
            let is_inside = (20..60).contains(&x) && (10..30).contains(&y);
            image::Rgba(if is_inside { [0, 255, 0, 128] } else { [0; 4] })
        });
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture
            .write_to(&mut bytes, image::ImageFormat::Png)
            .unwrap();
        bytes.into_inner()
    }

    /// What one preset, made of the original itself, makes of it.
    fn made_by(original: &[u8], change: impl Fn(&mut Preset)) -> image::RgbaImage {
        let mut preset = Preset {
            encoding: Encoding::Png,
            source: Source::Original,
            flatten: false,
            ..preset(200)
        };
        change(&mut preset);
        let made = render(original, &Recipe::from(vec![preset]), &Limits::default());
        let made = made.unwrap().swap_remove(0);
        let picture = image::load_from_memory(&made.bytes).unwrap().into_rgba8();
        assert_eq!(picture.dimensions(), (made.width, made.height));
        picture
    }

    #[test]
    fn transparency_is_laid_on_what_the_preset_says_and_kept_where_it_says_nothing() {
        let corner_and_middle = |background: Option<&str>, flatten, encoding| {
            let picture = made_by(&veiled(), |it| {
                it.background = background.map(str::to_owned);
                (it.flatten, it.encoding) = (flatten, encoding);
            });
            (picture[(0, 0)].0, picture[(40, 20)].0)
        };
        let (png, gif) = (Encoding::Png, Encoding::Gif);
        for (background, flatten, encoding, expected) in [
            (None, false, png, ([0; 4], [0, 255, 0, 128])),
            (Some("red"), false, png, ([0; 4], [0, 255, 0, 128])),
            (None, true, png, ([255; 4], [127, 255, 127, 255])),
            (
                Some("#f00"),
                true,
                png,
                ([255, 0, 0, 255], [127, 128, 0, 255]),
            ),
            (Some("none"), true, png, ([0; 4], [0, 255, 0, 128])),
            // A GIF is transparent or not: from the middle on it is not.
            (None, false, gif, ([0; 4], [0, 255, 0, 255])),
            (
                Some("blue"),
                true,
                gif,
                ([0, 0, 255, 255], [0, 128, 127, 255]),
            ),
        ] {
            let (corner, middle) = corner_and_middle(background, flatten, encoding);
            let is_there = expected.0[3] > 0;
            assert_eq!(corner[3], expected.0[3], "{background:?} {encoding:?}");
            assert!(
                !is_there || corner == expected.0,
                "{background:?} {corner:?}"
            );
            assert_eq!(middle, expected.1, "{background:?} {encoding:?}");
        }
    }

    #[test]
    fn a_canvas_is_as_large_as_it_says_and_of_its_background() {
        let original = png(&RgbImage::from_pixel(80, 40, image::Rgb([9, 9, 9])), 1);
        let laid = |gravity, (width, height), background: &str| {
            made_by(&original, |it| {
                it.extent = Some(Extent {
                    gravity,
                    width,
                    height,
                });
                it.background = Some(background.to_owned());
            })
        };
        let black = |picture: &image::RgbaImage| {
            let found = picture
                .enumerate_pixels()
                .filter(|(.., pixel)| pixel.0 == [9, 9, 9, 255]);
            let (xs, ys): (Vec<_>, Vec<_>) = found.map(|(x, y, _)| (x, y)).unzip();
            (xs.iter().min().copied(), ys.iter().min().copied(), xs.len())
        };
        let all = 80 * 40;
        let square = laid(Gravity::Centre, (100, 101), "red");
        assert_eq!(black(&square), (Some(10), Some(30), all));
        assert_eq!(square[(0, 0)].0, [255, 0, 0, 255]);
        let corner = laid(Gravity::SouthEast, (100, 100), "transparent");
        assert_eq!(black(&corner), (Some(20), Some(60), all));
        assert_eq!(corner[(0, 0)].0[3], 0);
        // Narrower than the picture, of which it keeps a part.
        assert_eq!(
            black(&laid(Gravity::East, (50, 60), "red")),
            (Some(0), Some(10), 50 * 40)
        );
    }

    #[test]
    fn pictures_are_turned_and_enlarged_where_a_preset_says_so() {
        let upright = shades(80, 60);
        let size = |change: fn(&mut Preset)| made_by(&png(&upright, 1), change).dimensions();
        assert_eq!(size(|_| {}), (80, 60));
        assert_eq!(
            size(|it| (it.shape, it.width) = (Shape::FitEnlarge, 120)),
            (120, 90)
        );
        assert_eq!(
            size(|it| (it.shape, it.width, it.height) = (Shape::Fill, 200, 100)),
            (200, 150)
        );
        assert_eq!(size(|it| it.rotate = Some(90)), (60, 80));
        // Brought into the box first and turned after, a cut the other way round.
        assert_eq!(size(|it| (it.rotate, it.width) = (Some(-90), 40)), (30, 40));
        let strip = |it: &mut Preset| {
            it.rotate = Some(90);
            (it.shape, it.width, it.height) = (Shape::Cut(Cut::CENTRE), 60, 20);
        };
        assert_eq!(size(strip), (60, 20));
        let turned = made_by(&png(&upright, 1), |it| it.rotate = Some(90));
        let expected = image::imageops::rotate90(&made_by(&png(&upright, 1), |_| {}));
        assert_eq!(turned, expected);
        // However the file lies, it is what is upright that is turned, and that a cut counts from.
        let cut = |it: &mut Preset| {
            it.rotate = Some(90);
            let (gravity, size) = (Gravity::North, Some((31, 17)));
            it.shape = Shape::Cut(Cut {
                gravity,
                x: 3,
                y: 5,
                size,
                ..Cut::CENTRE
            });
            (it.width, it.height) = (60, 80);
        };
        let expected = made_by(&png(&upright, 1), cut);
        assert_eq!(expected.dimensions(), (31, 17));
        for orientation in 2..=8 {
            let made = made_by(&png(&laid(&upright, orientation), orientation), cut);
            let pixels = |it: &image::RgbaImage| image::DynamicImage::from(it.clone()).into_rgb8();
            let mean = difference(&pixels(&made), &pixels(&expected));
            // The middle of an odd side is half a pixel beside itself in a mirror.
            assert!(mean < 3.0, "{orientation}: {mean}");
        }
    }

    #[test]
    fn what_derives_from_a_large_picture_shows_how_that_one_is_made() {
        let mut presets = image_presets();
        presets.truncate(1);
        presets.push(preset(200));
        let made = |presets: &[Preset]| {
            let recipe = Recipe {
                large: Some(presets[0].clone()),
                ..Recipe::from(presets.to_vec())
            };
            let made = render(&veiled(), &recipe, &Limits::default()).unwrap();
            let colour =
                |it: &Rendition| image::load_from_memory(&it.bytes).unwrap().into_rgb8()[(1, 1)].0;
            let print = recipe.fingerprint(&crate::model::Sha256::of(b"1"), &recipe.presets[1]);
            (colour(&made[1]), (made[1].width, made[1].height), print)
        };
        let plain = made(&presets);
        assert_eq!((plain.0, plain.1), ([255; 3], (80, 40)));
        presets[0].background = Some("black".to_owned());
        presets[0].rotate = Some(270);
        let other = made(&presets);
        assert_eq!(other.1, (40, 80));
        assert!(other.0.iter().all(|value| *value < 5), "{:?}", other.0);
        assert_ne!(plain.2, other.2);
    }

    #[test]
    fn a_preset_that_asks_for_too_many_pixels_is_refused_before_they_are_made() {
        let original = png(&shades(4, 400), 1);
        let asks: [fn(&mut Preset); 3] = [
            |it| (it.shape, it.width, it.height) = (Shape::Fill, 60_000, 60_000),
            |it| (it.shape, it.width, it.height) = (Shape::FitEnlarge, 65_535, 65_535),
            |it| {
                let (width, height) = (60_000, 60_000);
                it.extent = Some(Extent {
                    gravity: Gravity::Centre,
                    width,
                    height,
                });
            },
        ];
        for (number, ask) in asks.into_iter().enumerate() {
            let mut preset = Preset {
                source: Source::Original,
                ..preset(200)
            };
            ask(&mut preset);
            let limits = Limits::default();
            let refused = render(&original, &Recipe::from(vec![preset]), &limits);
            let said = crate::error::chain(&refused.unwrap_err());
            assert!(said.contains("over the limit of"), "{number}: {said}");
        }
    }

    #[test]
    fn a_jpeg_says_its_dots_per_inch() {
        let preset = Preset {
            encoding: Encoding::Jpeg { quality: 80 },
            dpi: Some(300),
            ..preset(50)
        };
        let made = render(
            &png(&shades(60, 60), 1),
            &Recipe::from(vec![preset]),
            &Limits::default(),
        );
        let bytes = made.unwrap().swap_remove(0).bytes;
        assert_eq!(bytes[6..18], *b"JFIF\0\x01\x01\x01\x01\x2c\x01\x2c");
        assert!(image::load_from_memory(&bytes).is_ok());
    }
}
