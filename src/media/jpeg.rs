//! Walking the markers of a JPEG file: how large it says it is, and whether it is all there. No pixels.

use std::io::{self, Read, Seek, SeekFrom};

/// Width and height by the frame header, or `None` when no frame header comes before the pixels.
///
/// # Errors
/// What reading said; an early end is `UnexpectedEof`.
pub(super) fn dimensions<R: Read + Seek>(input: &mut R) -> io::Result<Option<(u32, u32)>> {
    input.seek(SeekFrom::Start(2))?;
    loop {
        let marker = next_marker(input)?;
        if is_bare(marker) {
            continue;
        }
        let length = u16::from_be_bytes(take(input)?);
        match marker {
            0xc4 | 0xc8 | 0xcc => {}
            0xc0..=0xcf => {
                let [_precision, h1, h0, w1, w0] = take(input)?;
                let side = |bytes| u32::from(u16::from_be_bytes(bytes));
                return Ok(Some((side([w1, w0]), side([h1, h0]))));
            }
            0xd9 | 0xda => return Ok(None),
            _ => {}
        }
        input.seek_relative(i64::from(length) - 2)?;
    }
}

/// Whether the file goes on to its end-of-image marker.
///
/// Decoders fill what is missing with grey and say nothing; the marker is what a file cut short lacks. Thumbnails inside
/// a segment have one of their own, so segments are stepped over by their length.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(start) = bytes.get(at..) {
        let Some(step) = start
            .windows(2)
            .position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff))
        else {
            return false;
        };
        let marker = start[step + 1];
        at += step + 2;
        if marker == 0xd9 {
            return true;
        }
        if !is_bare(marker) {
            let Some(length) = bytes.get(at..at + 2) else {
                return false;
            };
            at += usize::from(u16::from_be_bytes([length[0], length[1]]));
        }
    }
    false
}

/// Markers without a segment behind them.
const fn is_bare(marker: u8) -> bool {
    matches!(marker, 0x01 | 0xd0..=0xd8)
}

/// The byte behind the next 0xff that is neither stuffing nor fill.
fn next_marker<R: Read>(input: &mut R) -> io::Result<u8> {
    let mut after_ff = false;
    loop {
        match take(input)? {
            [0xff] => after_ff = true,
            [marker] if after_ff && marker != 0 => return Ok(marker),
            _ => after_ff = false,
        }
    }
}

fn take<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// A file with a thumbnail-like end marker inside a segment, a frame header of 300 by 200, and some data.
    const FILE: &[u8] = b"\xff\xd8\xff\xe1\x00\x06\xff\xd8\xff\xd9\
        \xff\xc0\x00\x0b\x08\x00\xc8\x01\x2c\x01\x11\x11\x00\
        \xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00abc\xff\x00def\xff\xd0ghi\xff\xd9";

    #[test]
    fn the_frame_header_states_the_size() {
        let size = dimensions(&mut Cursor::new(FILE)).unwrap();
        assert_eq!(size, Some((300, 200)));
    }

    #[test]
    fn a_file_without_a_frame_has_no_size() {
        let bare = b"\xff\xd8\xff\xfe\x00\x04hi\xff\xda";
        let size = dimensions(&mut Cursor::new([bare.as_slice(), &[0, 2]].concat()));
        assert_eq!(size.unwrap(), None);
    }

    #[test]
    fn a_file_is_complete_only_with_its_last_marker() {
        assert!(is_complete(FILE));
        for length in 0..FILE.len() {
            assert!(!is_complete(&FILE[..length]), "cut at {length}");
        }
    }
}
