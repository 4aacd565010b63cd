//! Which renditions of an asset are to be made: pure, from what is here and what it should be made of (I11, media spec 8.5).

use std::collections::BTreeMap;

use super::Original;
use crate::catalogue::FileRow;
use crate::media::Recipe;
use crate::model::preset::{Preset, PresetId};
use crate::model::{FileKind, MediaFile, Parameters};

/// How a rendition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Made here, of what it would be made of now.
    Current,
    /// Not here, or damaged.
    Missing,
    /// Made here, of something else.
    Stale,
    /// Copied from its author, who also keeps it fresh.
    Copied,
}

/// How each rendition of a recipe stands, for an original that is here. `files` are those of its asset.
#[must_use]
pub fn states(
    original: &Original,
    recipe: &Recipe,
    files: &[FileRow],
) -> BTreeMap<PresetId, State> {
    let parameters = parameters(recipe);
    let presets = recipe.presets.iter().map(|preset| preset.id.clone());
    presets
        .zip(states_with(original, recipe, &parameters, files))
        .collect()
}

/// What decides about each preset of a recipe, in their order, for whoever asks about many originals.
#[must_use]
pub fn parameters(recipe: &Recipe) -> Vec<Parameters> {
    recipe.presets.iter().map(Parameters::of).collect()
}

/// As [`states`], in the order of the presets, whose `parameters` are known already.
pub fn states_with(
    original: &Original,
    recipe: &Recipe,
    parameters: &[Parameters],
    files: &[FileRow],
) -> Vec<State> {
    let state = |(preset, parameters): (&Preset, &Parameters)| {
        let row = rendition(files, original, preset);
        match row.filter(|row| !row.is_damaged()) {
            None => State::Missing,
            Some(row) if !row.file.authored => State::Copied,
            Some(row) => {
                let expected = recipe.fingerprint_with(&original.content, parameters, preset);
                match row.file.fingerprint == Some(expected) {
                    true => State::Current,
                    false => State::Stale,
                }
            }
        }
    };
    recipe.presets.iter().zip(parameters).map(state).collect()
}

fn rendition<'a>(
    files: &'a [FileRow],
    original: &Original,
    preset: &Preset,
) -> Option<&'a FileRow> {
    let is_it = |file: &MediaFile| {
        file.kind == FileKind::Generated
            && file.path.below(&original.path) == Some(preset.file_name.as_str())
    };
    files.iter().find(|row| is_it(&row.file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::preset::{Encoding, image_presets};
    use crate::model::{AssetId, Crop, MediaPath, Mode, Sha256, Timestamp};
    use State::{Copied, Current, Missing, Stale};

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn original(content: &[u8]) -> Original {
        let path = MediaPath::new("a/b.jpg").unwrap();
        Original {
            asset: AssetId::new("a1").unwrap(),
            place: path.clone(),
            path,
            format: Some("jpg".to_owned()),
            pages: 1,
            content: Sha256::of(content),
            size: 9,
            modified: NOW,
        }
    }

    /// The renditions that were made by a recipe.
    fn made(original: &Original, recipe: &Recipe) -> Vec<FileRow> {
        let row = |preset: &Preset| FileRow {
            file: MediaFile {
                kind: FileKind::Generated,
                path: original.path.join(&preset.file_name).unwrap(),
                place: None,
                asset: original.asset.clone(),
                size: 1,
                modified: NOW,
                sha256: Sha256::of(preset.file_name.as_bytes()),
                md5: None,
                authored: true,
                fingerprint: Some(recipe.fingerprint(&original.content, preset)),
            },
            received_at: NOW,
            unlisted_at: None,
            damaged_at: None,
            evicted: false,
        };
        recipe.presets.iter().map(row).collect()
    }

    /// In the order of the presets.
    fn in_order(original: &Original, recipe: &Recipe, files: &[FileRow]) -> Vec<State> {
        let states = states(original, recipe, files);
        let presets = recipe.presets.iter();
        presets.map(|preset| states[&preset.id]).collect()
    }

    #[test]
    fn what_was_made_of_the_same_is_current_whatever_it_is_called() {
        let (original, recipe) = (original(b"1"), Recipe::from(image_presets()));
        let files = made(&original, &recipe);
        assert_eq!(in_order(&original, &recipe, &files), [Current; 5]);
    }

    #[test]
    fn another_original_or_mode_makes_all_stale() {
        let recipe = Recipe::from(image_presets());
        let files = made(&original(b"1"), &recipe);
        assert_eq!(in_order(&original(b"2"), &recipe, &files), [Stale; 5]);
        let corrected = Recipe {
            mode: Mode::Corrected,
            ..recipe
        };
        assert_eq!(in_order(&original(b"1"), &corrected, &files), [Stale; 5]);
    }

    #[test]
    fn another_program_or_version_makes_all_stale_that_a_program_decoded() {
        let original = original(b"1");
        let by = |decoder: Option<&str>| Recipe {
            decoder: decoder.map(str::to_owned),
            ..Recipe::from(image_presets())
        };
        let files = made(&original, &by(Some("rsvg: 2.54")));
        for (decoder, state) in [
            (Some("rsvg: 2.54"), Current),
            (Some("rsvg: 2.58"), Stale),
            (None, Stale),
        ] {
            assert_eq!(in_order(&original, &by(decoder), &files), [state; 5]);
        }
    }

    #[test]
    fn another_quality_or_crop_makes_that_rendition_stale_alone() {
        let (original, recipe) = (original(b"1"), Recipe::from(image_presets()));
        let files = made(&original, &recipe);
        let only_third = [Current, Current, Stale, Current, Current];
        let mut other = recipe.clone();
        other.presets[2].encoding = Encoding::WebP {
            quality: 75,
            method: 4,
        };
        assert_eq!(in_order(&original, &other, &files), only_third);
        let crop = Crop {
            x: 1,
            y: 2,
            width: 3,
            height: 4,
        };
        let mut cropped = recipe.clone();
        cropped.crops.insert(recipe.presets[2].id.clone(), crop);
        assert_eq!(in_order(&original, &cropped, &files), only_third);
        // Taken back, what was made with it is stale.
        let files = made(&original, &cropped);
        assert_eq!(in_order(&original, &recipe, &files), only_third);
    }

    #[test]
    fn a_crop_of_the_large_picture_makes_stale_all_that_derive_from_it_and_have_no_crop_of_their_own()
     {
        let (original, mut recipe) = (original(b"1"), Recipe::from(image_presets()));
        let crop = |x| Crop {
            x,
            y: 2,
            width: 3,
            height: 4,
        };
        recipe.crops.insert(recipe.presets[4].id.clone(), crop(1));
        let files = made(&original, &recipe);
        recipe.crops.insert(recipe.presets[0].id.clone(), crop(2));
        assert_eq!(
            in_order(&original, &recipe, &files),
            [Stale, Stale, Stale, Stale, Current]
        );
    }

    #[test]
    fn what_is_gone_damaged_copied_or_of_unknown_making_is_told_apart() {
        let (original, recipe) = (original(b"1"), Recipe::from(image_presets()));
        let mut files = made(&original, &recipe);
        files[0].damaged_at = Some(NOW);
        files[1].file.authored = false;
        files[2].file.fingerprint = None;
        files.remove(3);
        assert_eq!(
            in_order(&original, &recipe, &files),
            [Missing, Copied, Stale, Missing, Current]
        );
    }
}
