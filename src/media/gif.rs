//! The colour below a GIF's transparency (media spec 2.5, 3.5.6 and 9.4): its own background, unless that is transparent.

use super::picture::WHITE;
use crate::model::preset::Background;

/// The background of the first frame, on which EMDB lays it; it keeps the transparency of a GIF whose background is its transparent
/// colour. Read from the header and the blocks before that frame.
pub(super) fn background(gif: &[u8]) -> Background {
    let Some([flags, index, _aspect]) = gif.get(10..13) else {
        return Background::WHITE;
    };
    let table_length = if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    };
    let blocks = gif.get(13 + table_length..).unwrap_or_default();
    if transparent_index(blocks) == Some(*index) {
        return Background::Transparent;
    }
    let (colours, _) = gif
        .get(13..13 + table_length)
        .unwrap_or_default()
        .as_chunks::<3>();
    Background::Colour(colours.get(usize::from(*index)).copied().unwrap_or(WHITE))
}

/// The transparent palette index of the first frame in `blocks`.
fn transparent_index(mut blocks: &[u8]) -> Option<u8> {
    let mut found = None;
    while let [0x21, label, rest @ ..] = blocks {
        if let (0xf9, [4, flags, _, _, index, ..]) = (*label, rest) {
            found = (flags & 1 == 1).then_some(*index);
        }
        blocks = after_sub_blocks(rest);
    }
    found
}

/// What follows a chain of sub-blocks, each led by its length, the last of length 0.
fn after_sub_blocks(mut blocks: &[u8]) -> &[u8] {
    while let [length, rest @ ..] = blocks {
        blocks = rest.get(usize::from(*length)..).unwrap_or_default();
        if *length == 0 {
            break;
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four colours, `background` as the screen's index, a comment, and a frame with this transparent index.
    fn gif(background: u8, transparent: Option<u8>) -> Vec<u8> {
        let mut bytes = b"GIF89a\x02\0\x02\0".to_vec();
        bytes.extend([0x81, background, 0]);
        bytes.extend([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]);
        bytes.extend(b"\x21\xfe\x02hi\x01!\0");
        let flag = u8::from(transparent.is_some());
        bytes.extend([0x21, 0xf9, 4, flag, 0, 0, transparent.unwrap_or(0), 0]);
        bytes.extend([0x2c, 0, 0]);
        bytes
    }

    #[test]
    fn the_background_is_a_colour_of_the_palette() {
        let green = Background::Colour([0, 255, 0]);
        assert_eq!(background(&gif(1, Some(3))), green);
        assert_eq!(background(&gif(1, None)), green);
    }

    #[test]
    fn a_transparent_background_is_kept() {
        assert_eq!(background(&gif(3, Some(3))), Background::Transparent);
    }

    #[test]
    fn an_index_without_colour_is_white_and_damage_is_no_panic() {
        assert_eq!(background(&gif(77, Some(3))), Background::WHITE);
        let whole = gif(1, Some(1));
        for length in 0..whole.len() {
            background(&whole[..length]);
        }
    }
}
