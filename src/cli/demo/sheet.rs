//! A contact sheet: every thumbnail of a node at two moments, the earlier one on the left of each pair.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use image::imageops::overlay;
use image::{Rgba, RgbaImage};

use crate::model::FileKind;
use crate::node::Node;

/// The rendition that is shown.
const THUMB: &str = "image200x200.webp";
/// Side of the room for one, in pixels.
const TILE: u32 = 200;
/// Between the two of a pair.
const GAP: u32 = 4;
/// Around a pair.
const MARGIN: u32 = 12;
const PAIRS_A_ROW: u32 = 3;
/// Files read from the catalogue at a time.
const PAGE: usize = 500;

const PAPER: Rgba<u8> = Rgba([245, 245, 240, 255]);
/// Where there was no thumbnail at that moment.
const NOTHING: Rgba<u8> = Rgba([225, 225, 220, 255]);

/// Thumbnails by the names of their files.
pub(super) type Thumbs = BTreeMap<String, Vec<u8>>;

/// The thumbnails a node has.
pub(super) async fn thumbs(node: &Node) -> anyhow::Result<Thumbs> {
    let (mut found, mut after) = (Thumbs::new(), None::<(String, String)>);
    loop {
        let from = after
            .as_ref()
            .map(|(path, asset)| (path.as_str(), asset.as_str()));
        let page = node
            .catalogue
            .files_after(FileKind::Generated, from, PAGE)
            .await?;
        let Some(last) = page.last() else {
            return Ok(found);
        };
        after = Some(last.key());
        for row in page.iter().filter(|row| row.file.path.name() == THUMB) {
            let Some(mut open) = node
                .store
                .open_file(FileKind::Generated, row.file.place())?
            else {
                continue;
            };
            let mut bytes = Vec::new();
            open.file.read_to_end(&mut bytes)?;
            found.insert(row.file.path.to_string(), bytes);
        }
    }
}

/// Writes the sheet.
pub(super) fn write(to: &Path, before: &Thumbs, after: &Thumbs) -> anyhow::Result<()> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let rows = u32::try_from(names.len())?.div_ceil(PAIRS_A_ROW).max(1);
    let (pair, row) = (2 * TILE + GAP + 2 * MARGIN, TILE + 2 * MARGIN);
    let mut sheet = RgbaImage::from_pixel(PAIRS_A_ROW * pair, rows * row, PAPER);
    for (at, name) in (0_u32..).zip(names) {
        let left = at % PAIRS_A_ROW * pair + MARGIN;
        let top = at / PAIRS_A_ROW * row + MARGIN;
        for (moment, thumbs) in (0_u32..).zip([before, after]) {
            let tile = tile(thumbs.get(name)).with_context(|| name.clone())?;
            let left = left + moment * (TILE + GAP);
            overlay(&mut sheet, &tile, left.into(), top.into());
        }
    }
    sheet.save(to).with_context(|| to.display().to_string())
}

/// A thumbnail in the middle of its room.
fn tile(thumb: Option<&Vec<u8>>) -> anyhow::Result<RgbaImage> {
    let Some(bytes) = thumb else {
        return Ok(RgbaImage::from_pixel(TILE, TILE, NOTHING));
    };
    let thumb = image::load_from_memory(bytes)?
        .thumbnail(TILE, TILE)
        .into_rgba8();
    let mut tile = RgbaImage::from_pixel(TILE, TILE, PAPER);
    let (left, top) = ((TILE - thumb.width()) / 2, (TILE - thumb.height()) / 2);
    overlay(&mut tile, &thumb, left.into(), top.into());
    Ok(tile)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn thumb(width: u32, height: u32, shade: u8) -> Vec<u8> {
        let picture = RgbaImage::from_pixel(width, height, Rgba([shade, 0, 0, 255]));
        let mut bytes = Cursor::new(Vec::new());
        picture
            .write_to(&mut bytes, image::ImageFormat::WebP)
            .unwrap();
        bytes.into_inner()
    }

    #[test]
    fn each_thumbnail_stands_beside_its_later_self_and_gaps_are_shown() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("sheet.png");
        let before = Thumbs::from([
            ("a".to_owned(), thumb(200, 100, 10)),
            ("b".to_owned(), thumb(200, 200, 20)),
        ]);
        let after = Thumbs::from([
            ("a".to_owned(), thumb(100, 200, 30)),
            ("c".to_owned(), thumb(50, 50, 40)),
        ]);
        write(&to, &before, &after).unwrap();
        let sheet = image::open(&to).unwrap().into_rgba8();
        let pair = 2 * TILE + GAP + 2 * MARGIN;
        assert_eq!(sheet.dimensions(), (PAIRS_A_ROW * pair, TILE + 2 * MARGIN));
        let middle = |pair_at: u32, moment: u32| {
            let x = pair_at * pair + MARGIN + moment * (TILE + GAP) + TILE / 2;
            *sheet.get_pixel(x, MARGIN + TILE / 2)
        };
        let red = |shade| Rgba([shade, 0, 0, 255]);
        assert_eq!([middle(0, 0), middle(0, 1)], [red(10), red(30)]);
        assert_eq!([middle(1, 0), middle(1, 1)], [red(20), NOTHING]);
        assert_eq!([middle(2, 0), middle(2, 1)], [NOTHING, red(40)]);
        assert_eq!(
            *sheet.get_pixel(MARGIN + TILE / 2, MARGIN + 10),
            PAPER,
            "above a wide one"
        );
    }
}
