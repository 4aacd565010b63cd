//! What to make of one original: presets, the user's rectangles for them, and how faithful to EMDB to be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::geometry::{Edges, Size, fill};
use super::{Limits, Rendition, orient};
use crate::adapters::Part;
use crate::model::preset::{
    Background, Encoding, Preset, PresetId, PresetTable, Shape, Source, image_presets,
};
use crate::model::{Crop, Fingerprint, Mode, Parameters, Sha256};

/// Box of the picture that smaller renditions derive from (media spec 2.3).
pub(super) const LARGE: Size = Size::new(3000, 3000);

/// The presets to make of one original, and what changes them.
///
/// A crop counts for its preset. That of the large picture counts for everything that derives from it too, also when the
/// large picture itself is not among the presets (media spec 4.4).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recipe {
    /// What to make, in this order.
    pub presets: Vec<Preset>,
    /// The preset of the large picture, whether or not it is to be made; without one it is the one EMDB ships.
    pub large: Option<Preset>,
    /// The user's rectangle for a preset; of presets that are not made, only the large picture's matters.
    pub crops: BTreeMap<PresetId, Crop>,
    /// Width and height of the picture that the rectangles are drawn on, where that is not the one to start from: a program makes
    /// its own size of a page or a large photograph. Neither is 0.
    pub drawn_on: Option<(u32, u32)>,
    /// How colours and rectangles are understood.
    pub mode: Mode,
    /// Name and version of the program that makes the picture to start from; none for what is decoded here.
    pub decoder: Option<String>,
}

impl From<Vec<Preset>> for Recipe {
    /// Presets as EMDB's import runs them, with the large picture of those EMDB ships: no crop, faithful.
    fn from(presets: Vec<Preset>) -> Self {
        let large = image_presets().into_iter().find(is_large);
        Self {
            presets,
            large,
            ..Self::default()
        }
    }
}

impl Recipe {
    /// What a node with these presets makes of an original of this format, in this mode.
    #[must_use]
    pub fn by(
        table: &PresetTable,
        format: Option<&str>,
        crops: BTreeMap<PresetId, Crop>,
        mode: Mode,
    ) -> Self {
        Self {
            presets: table.renditions(format).to_vec(),
            large: table.large(format).cloned(),
            crops,
            drawn_on: None,
            mode,
            decoder: None,
        }
    }

    /// The same for some of its presets.
    #[must_use]
    pub fn only(&self, presets: Vec<Preset>) -> Self {
        Self {
            presets,
            large: self.large.clone(),
            crops: self.crops.clone(),
            drawn_on: self.drawn_on,
            mode: self.mode,
            decoder: self.decoder.clone(),
        }
    }

    /// The pages it is for, counted from 1, in order and each once.
    pub(super) fn pages(&self) -> impl Iterator<Item = u32> {
        let pages: BTreeSet<_> = self.presets.iter().map(|preset| preset.page).collect();
        pages.into_iter()
    }

    /// The last of them.
    pub(super) fn last_page(&self) -> u32 {
        self.pages().last().unwrap_or(1).max(1)
    }

    /// The same for each of its pages. Rectangles are page 1's (media spec 4.1: they are drawn on the file without a page in its name).
    pub(super) fn by_page(&self) -> impl Iterator<Item = (u32, Self)> {
        self.pages().map(|page| {
            let of_page = self.presets.iter().filter(|preset| preset.page == page);
            let mut recipe = self.only(of_page.cloned().collect());
            if page > 1 {
                recipe.crops.clear();
            }
            (page, recipe)
        })
    }

    /// The rectangle that decides what `preset` shows: its own, or that of the large picture it derives from.
    #[must_use]
    pub fn crop_behind(&self, preset: &Preset) -> Option<&Crop> {
        if preset.page > 1 {
            return None;
        }
        let own = self.crops.get(&preset.id);
        let inherited = || match preset.source {
            Source::Large => self.large_crop().map(|(_, crop)| crop),
            Source::Original => None,
        };
        own.or_else(inherited)
    }

    /// What one of its renditions of the original of this content is made of.
    #[must_use]
    pub fn made_of(&self, original: &Sha256, made: &Rendition) -> Option<Fingerprint> {
        let is_it = |preset: &&Preset| (&preset.id, preset.page) == (&made.preset, made.page);
        let preset = self.presets.iter().find(is_it)?;
        Some(self.fingerprint(original, preset))
    }

    /// What a rendition by `preset` of the original of this content is made of.
    #[must_use]
    pub fn fingerprint(&self, original: &Sha256, preset: &Preset) -> Fingerprint {
        self.fingerprint_with(original, &Parameters::of(preset), preset)
    }

    /// The same, for whoever asks about many originals of one preset.
    #[must_use]
    pub fn fingerprint_with(
        &self,
        original: &Sha256,
        parameters: &Parameters,
        preset: &Preset,
    ) -> Fingerprint {
        let crop = self.crop_behind(preset);
        let made = Fingerprint::with(original, parameters, crop, self.mode)
            .decoded_by(self.decoder.as_deref());
        let made = match self
            .large
            .as_ref()
            .filter(|_| preset.source == Source::Large)
        {
            // One as EMDB ships it goes without saying, as it did before there were others.
            Some(large) if !is_large(large) => made.derived_from(&Parameters::of(large)),
            _ => made,
        };
        let made = match self.moment() {
            Duration::ZERO => made,
            moment => made.at(moment),
        };
        match (crop, self.drawn_on) {
            (Some(_), Some(size)) => made.drawn_on(size),
            _ => made,
        }
    }

    /// The moment of a film that all its pictures show.
    #[must_use]
    pub fn moment(&self) -> Duration {
        let moment = self.large.as_ref().and_then(Preset::moment);
        moment.unwrap_or_default()
    }

    /// What is to be read of the original: the part that a program shows, where one makes the picture to start from and the recipe is
    /// for one page; of what is decoded here the whole, in which its pages are found.
    #[must_use]
    pub fn part(&self) -> Part {
        let page = match self.decoder {
            Some(_) => self.pages().next().unwrap_or(1),
            None => 1,
        };
        Part {
            page,
            moment: self.moment(),
        }
    }

    /// Where a rectangle lies on the picture to start from, which is of this size and held so.
    pub(super) fn edges(&self, crop: Crop, (size, orientation): (Size, u8)) -> Edges {
        let edges = Edges::from(crop);
        let edges = match self.drawn_on {
            Some((width, height)) => edges.scaled(Size::new(width, height), size),
            None => edges,
        };
        edges.on_stored(self.mode, size, orientation)
    }

    /// What a preset's pixels come from.
    pub(super) fn origin(&self, preset: &Preset) -> Origin<'_> {
        let large = self.large_crop();
        match self.crops.get(&preset.id) {
            Some(_) if large.is_some_and(|(id, _)| *id == preset.id) => Origin::Large,
            Some(crop) => Origin::Crop(crop),
            None if preset.source == Source::Large || self.is_the_large(preset) => Origin::Large,
            // A large picture without a crop, beside one with a crop, is another one.
            None if is_large(preset) && self.has_plain_large() && large.is_none() => Origin::Large,
            None => Origin::Original,
        }
    }

    /// What the large picture is made by: the preset that is said to make it, or else the first that makes one as EMDB ships it.
    pub(super) fn large_preset(&self) -> Option<&Preset> {
        let made = || self.presets.iter().find(|preset| is_large(preset));
        self.large.as_ref().or_else(made)
    }

    /// Whether it writes the large picture.
    pub(super) fn is_the_large(&self, preset: &Preset) -> bool {
        self.large_preset()
            .is_some_and(|large| large.id == preset.id)
    }

    fn has_plain_large(&self) -> bool {
        self.large_preset().is_none_or(is_large)
    }

    /// Whether a crop shows anything of a picture of this size and orientation, and its box can be filled with it.
    pub(super) fn can_be_cut(
        &self,
        id: &PresetId,
        crop: Crop,
        (size, orientation): (Size, u8),
        limits: &Limits,
    ) -> bool {
        let edges = self.edges(crop, (size, orientation));
        let preset = self.presets.iter().find(|preset| preset.id == *id);
        let into = preset.map_or(LARGE, |preset| Size::new(preset.width, preset.height));
        let into = match self.mode {
            Mode::Corrected if orient::turns(orientation) => into.turned(),
            _ => into,
        };
        let part = edges.inside(size);
        part.is_some_and(|part| limits.check(fill(part.size, into)).is_ok())
    }

    /// The crops that show all that is needed of the original; `None` when the whole is.
    pub(super) fn parts(&self) -> Option<Vec<Crop>> {
        let part = |preset: &Preset| match self.origin(preset) {
            Origin::Crop(crop) => Some(*crop),
            Origin::Large => self.large_crop().map(|(_, crop)| *crop),
            Origin::Original => None,
        };
        self.presets.iter().map(part).collect()
    }

    /// The rectangle of the large picture.
    pub(super) fn large_crop(&self) -> Option<(&PresetId, &Crop)> {
        self.crops.get_key_value(&self.large_preset()?.id)
    }
}

/// What the pixels of a preset come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin<'a> {
    /// The large picture, itself or shrunk.
    Large,
    /// A part of the original.
    Crop(&'a Crop),
    /// The original as a whole.
    Original,
}

/// Whether a preset asks for the large picture as EMDB ships it. A page's is white below, as it is without a word.
pub(super) fn is_large(preset: &Preset) -> bool {
    preset.source == Source::Original
        && preset.shape == Shape::Fit
        && preset.flatten
        && Size::new(preset.width, preset.height) == LARGE
        && (preset.background.is_none() || preset.background() == Some(Background::WHITE))
        && preset.quarter_turns() == Some(0)
        && preset.extent.is_none()
}

/// Whether a preset leaves no transparency.
pub(super) fn is_flat(preset: &Preset) -> bool {
    preset.flatten || matches!(preset.encoding, Encoding::Jpeg { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CROP: Crop = Crop {
        x: 1,
        y: 2,
        width: 30,
        height: 40,
    };

    fn cropped(presets: Vec<Preset>, id: &PresetId) -> Recipe {
        Recipe {
            crops: [(id.clone(), CROP)].into(),
            ..Recipe::from(presets)
        }
    }

    #[test]
    fn a_crop_of_the_large_picture_is_behind_all_that_derive_from_it() {
        let all = image_presets();
        let recipe = cropped(all.clone(), &all[0].id);
        assert!(
            all.iter()
                .all(|preset| recipe.crop_behind(preset) == Some(&CROP))
        );
        let without_large = cropped(all[1..].to_vec(), &all[0].id);
        assert_eq!(without_large.crop_behind(&all[2]), Some(&CROP));
    }

    #[test]
    fn parts_are_enough_only_where_everything_is_cropped() {
        let all = image_presets();
        assert_eq!(cropped(all.clone(), &all[2].id).parts(), None);
        assert_eq!(
            cropped(vec![all[2].clone()], &all[2].id).parts(),
            Some(vec![CROP])
        );
        let all_of_a_cropped_large = cropped(all.clone(), &all[0].id).parts();
        assert_eq!(all_of_a_cropped_large, Some(vec![CROP; all.len()]));
    }

    #[test]
    fn any_other_crop_is_behind_its_own_preset_alone() {
        let all = image_presets();
        let recipe = cropped(all.clone(), &all[3].id);
        let behind = all
            .iter()
            .map(|preset| recipe.crop_behind(preset).is_some());
        assert_eq!(
            behind.collect::<Vec<_>>(),
            [false, false, false, true, false]
        );
    }
}
