//! From a decoded original to each rendition: the large picture once, what derives from it, and the user's crops.

use std::borrow::Cow;

use super::decode::{Decoded, Traits, decode};
use super::error::{Cause, Error};
use super::geometry::{Size, fill};
use super::gif::Background;
use super::picture::{Picture, WHITE};
use super::recipe::{LARGE, Origin, Recipe, is_flat, is_large};
use super::{Limits, Rendition, encode, orient, resize};
use crate::model::preset::{self, Preset, PresetId, Shape};
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
        let refused = |source| Error::Encode {
            file_name: "large picture".to_owned(),
            source,
        };
        let mut stages = Self {
            recipe,
            limits,
            original: None,
            large: None,
        };
        if let Some((id, crop)) = recipe.large_crop().filter(|_| is_of_large) {
            let (into, is_flat) = (LARGE, true);
            let cut = Cut {
                id,
                crop,
                into,
                is_flat,
            };
            stages.large = Some(cut.of(&decoded, recipe, limits)?);
        } else if is_of_large {
            let traits = decoded.traits.clone();
            let picture = if is_of_original {
                Cow::Borrowed(&decoded.picture)
            } else {
                // Dropped as soon as it is shrunk.
                let large = upright(
                    Cow::Owned(decoded.picture),
                    &traits,
                    LARGE,
                    Shape::Fit,
                    true,
                );
                stages.large = Some(large.map_err(refused)?);
                return Ok(stages);
            };
            let large = upright(picture, &traits, LARGE, Shape::Fit, true);
            stages.large = Some(large.map_err(refused)?);
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
        let picture = match self.recipe.origin(preset) {
            Origin::Crop(crop) => {
                let (id, into, is_flat) = (&preset.id, box_of(preset), is_flat(preset));
                let cut = Cut {
                    id,
                    crop,
                    into,
                    is_flat,
                };
                Cow::Owned(cut.of(self.original(), self.recipe, self.limits)?)
            }
            Origin::Original => {
                let Decoded { picture, traits } = self.original();
                let picture = Cow::Borrowed(picture);
                let made = upright(
                    picture,
                    traits,
                    box_of(preset),
                    preset.shape,
                    is_flat(preset),
                );
                Cow::Owned(made.map_err(refused)?)
            }
            Origin::Large => self.derived(preset).map_err(refused)?,
        };
        let bytes = encode::encode(&picture, preset.encoding).map_err(refused)?;
        Ok(Rendition {
            preset: preset.id.clone(),
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
    fn derived(&self, preset: &Preset) -> Result<Cow<'_, Picture>, Cause> {
        let large = self
            .large
            .as_ref()
            .expect("made for the presets that need it");
        if is_large(preset) {
            return Ok(Cow::Borrowed(large));
        }
        let picture = resize::bring(Cow::Borrowed(large), box_of(preset), preset.shape, false)?;
        Ok(if is_flat(preset) && picture.has_alpha() {
            Cow::Owned(picture.into_owned().flattened(WHITE))
        } else {
            picture
        })
    }
}

fn box_of(preset: &Preset) -> Size {
    Size::new(preset.width, preset.height)
}

/// `picture`, pixels of an original, brought into the box, flattened as its format asks, and turned.
///
/// The box is the one of the upright picture, and so is the corner that a cut holds to: both are turned too while the picture still
/// lies on its side.
fn upright(
    picture: Cow<'_, Picture>,
    traits: &Traits,
    into: Size,
    shape: Shape,
    is_flat: bool,
) -> Result<Picture, Cause> {
    let into = if orient::turns(traits.orientation) {
        into.turned()
    } else {
        into
    };
    let shape = match shape {
        Shape::Cut(cut) => Shape::Cut(preset::Cut {
            gravity: orient::stored(cut.gravity, traits.orientation),
            ..cut
        }),
        shape => shape,
    };
    let picture = resize::bring(picture, into, shape, traits.soft)?.into_owned();
    Ok(finished(picture, traits, is_flat))
}

/// In sRGB if that is asked for, flattened and turned.
fn finished(picture: Picture, traits: &Traits, is_flat: bool) -> Picture {
    let picture = match &traits.colours {
        Some(colours) => colours.picture(picture),
        None => picture,
    };
    let picture = match traits.background {
        Background::Colour(colour) if is_flat => picture.flattened(colour),
        _ => picture,
    };
    orient::upright(picture, traits.orientation)
}

/// A user's crop of an original for one preset.
struct Cut<'a> {
    id: &'a PresetId,
    crop: &'a Crop,
    /// The box that is covered, nothing cut off (media spec 4.2).
    into: Size,
    is_flat: bool,
}

impl Cut<'_> {
    /// Cuts first and scales after, so that nothing outside the rectangle bleeds in.
    ///
    /// Faithful: the rectangle lies on the picture as it is stored, and the result is turned, its sides included, at the
    /// end (media spec 4.5). Corrected: rectangle and box are those of the upright picture; they are turned to the stored
    /// one's grid, which spares turning the whole original.
    fn of(&self, original: &Decoded, recipe: &Recipe, limits: &Limits) -> Result<Picture, Error> {
        let (picture, traits) = (&original.picture, &original.traits);
        let edges = recipe.edges(*self.crop, (picture.size, traits.orientation));
        let into = match recipe.mode {
            Mode::Corrected if orient::turns(traits.orientation) => self.into.turned(),
            _ => self.into,
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
        let cut = cut.map_err(|source| Error::Encode {
            file_name: format!("crop of {}", self.id),
            source,
        })?;
        Ok(finished(cut, traits, self.is_flat))
    }
}

#[cfg(test)]
mod tests {
    use super::super::render;
    use super::super::specimen::{self, laid, png, shades};
    use super::*;
    use crate::model::preset::{Encoding, WEBP_METHOD, image_presets};
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
        let upright = shades(800, 600);
        let whole = |original: &[u8], mode| {
            let mut presets = vec![preset(200), preset(200)];
            // One of the whole, the other cut from the middle of what is upright.
            (presets[1].shape, presets[1].height) =
                (Shape::Cut(crate::model::preset::Cut::CENTRE), 80);
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
        use crate::model::preset::{Cut, Gravity};
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
        let all = image_presets();
        let large = all[0].id.clone();
        let made = |presets: &[Preset]| {
            let recipe = Recipe {
                large: Some(large.clone()),
                presets: presets.to_vec(),
                crops: [(large.clone(), crop)].into(),
                mode: Mode::Faithful,
                ..Recipe::default()
            };
            render(&original, &recipe, &Limits::default()).unwrap()
        };
        let whole = made(&all);
        // A crop covers its box, so the large one is enlarged.
        assert_eq!((whole[0].width, whole[0].height), (3000, 3000));
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
        // Enlarged to 3000 pixels and shrunk again, encoded at a quality of 76.
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
}
