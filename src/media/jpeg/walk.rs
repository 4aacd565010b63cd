//! Walking the markers of a file: how large it says it is, and whether its decoder can be trusted with it. No
//! pixels.

use std::io::{self, Read, Seek, SeekFrom};

/// Width and height by the frame header, or `None` when no frame header comes before the pixels.
///
/// # Errors
/// What reading said; an early end is `UnexpectedEof`.
pub(in crate::media) fn dimensions<R: Read + Seek>(
    input: &mut R,
) -> io::Result<Option<(u32, u32)>> {
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

/// What is rare about a file by its headers, in a few words, where no decoder here knows it.
///
/// # Errors
/// What reading said; an end too early is none, for the decoder complains of that.
pub(in crate::media) fn rare_kind<R: Read + Seek>(
    input: &mut R,
) -> io::Result<Option<&'static str>> {
    match rare_kind_of_whole(input) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        kind => kind,
    }
}

fn rare_kind_of_whole<R: Read + Seek>(input: &mut R) -> io::Result<Option<&'static str>> {
    let (mut channels, mut is_tall, mut restarts) = (0, false, false);
    input.seek(SeekFrom::Start(2))?;
    loop {
        let marker = next_marker(input)?;
        if is_bare(marker) {
            continue;
        }
        let length = u16::from_be_bytes(take(input)?).max(2) - 2;
        let mut segment = vec![0; usize::from(length)];
        input.read_exact(&mut segment)?;
        match (marker, &segment[..]) {
            (0xc4 | 0xc8 | 0xcc, _) => {}
            (0xc9 | 0xca, _) => return Ok(Some("arithmetic codes")),
            (0xc0..=0xc2, [12, ..]) => return Ok(Some("12 bits a sample")),
            (0xc0..=0xc2, [_, _, _, _, _, count, frame @ ..]) => {
                let (frame, _) = frame.as_chunks::<3>();
                let factors = || frame.iter().map(|[_, it, _]| (it >> 4, it & 0x0f));
                let is_odd = |(across, down)| across == 3 || down == 3;
                let widest = factors().map(|it| it.0).max();
                let tallest = factors().map(|it| it.1).max();
                if factors().any(is_odd) || widest.zip(tallest) != factors().next() {
                    return Ok(Some("channels of unusual sizes"));
                }
                // Of a progressive file they are always apart.
                channels = if marker == 0xc2 { 0 } else { *count };
                is_tall = tallest > Some(1);
            }
            (0xc3..=0xcf, _) => return Ok(Some("lossless or in layers")),
            (0xdd, interval) => restarts = interval != [0, 0],
            (0xda, [count, ..]) if *count < channels && (is_tall || restarts) => {
                return Ok(Some("channels in scans of their own"));
            }
            (0xd9 | 0xda, _) => return Ok(None),
            _ => {}
        }
    }
}

/// Why the decoder would give a wrong picture without saying so, if it would.
///
/// What a file cut short lacks it fills with grey; such a file has no end-of-image marker. Thumbnails inside a segment
/// have one of their own, so segments are stepped over by their length. And channels stored one after the other, each in
/// a sequential scan of its own, come out garbled when they differ in height or restart within the scan.
pub(in crate::media) fn fault(bytes: &[u8]) -> Option<&'static str> {
    let (mut channels, mut is_tall, mut restarts) = (0, false, false);
    let mut at = 2;
    loop {
        let Some((marker, segment, next)) = segment(bytes, at) else {
            return Some("file ends before its end-of-image marker");
        };
        match (marker, segment) {
            (0xd9, _) => return None,
            (0xc0 | 0xc1, [_, _, _, _, _, count, factors @ ..]) => {
                channels = *count;
                is_tall = factors
                    .chunks(3)
                    .any(|one| one.len() == 3 && one[1] & 0x0f > 1);
            }
            (0xdd, interval) => restarts = interval != [0, 0],
            (0xda, [count, ..]) if *count < channels && (is_tall || restarts) => {
                return Some("channels are in separate sequential scans");
            }
            _ => {}
        }
        at = next;
    }
}

/// How many channels the frame header states.
pub(in crate::media) fn channels(bytes: &[u8]) -> Option<u8> {
    let mut at = 2;
    loop {
        let (marker, segment, next) = segment(bytes, at)?;
        match marker {
            0xc4 | 0xc8 | 0xcc => {}
            0xc0..=0xcf => return segment.get(5).copied(),
            0xd9 | 0xda => return None,
            _ => {}
        }
        at = next;
    }
}

/// Bytes of coefficients for each pixel that the decoder holds at once: none but of a progressive file.
pub(in crate::media) fn coefficient_bytes(bytes: &[u8]) -> u64 {
    let mut at = 2;
    while let Some((marker, segment, next)) = segment(bytes, at) {
        match (marker, segment) {
            (0xc2, [_, _, _, _, _, _, channels @ ..]) => {
                let (channels, _) = channels.as_chunks::<3>();
                let blocks = |it: &[u8; 3]| u64::from(it[1] >> 4) * u64::from(it[1] & 0x0f);
                let unit = channels.iter().map(blocks).max().unwrap_or(1).max(1);
                let all: u64 = channels.iter().map(blocks).sum();
                return (2 * all).div_ceil(unit);
            }
            (0xc0 | 0xc1 | 0xd9 | 0xda, _) => break,
            _ => {}
        }
        at = next;
    }
    0
}

/// Whether a program of Adobe's, or one that does as they do, says that it wrote the pixels.
pub(in crate::media) fn is_of_adobe(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some((marker, segment, next)) = segment(bytes, at) {
        match marker {
            0xee if segment.starts_with(b"Adobe") => return true,
            0xd9 | 0xda => break,
            _ => {}
        }
        at = next;
    }
    false
}

/// The embedded colour profile, put together from its parts.
pub(in crate::media) fn profile(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut parts = Vec::new();
    let mut at = 2;
    loop {
        let (marker, segment, next) = segment(bytes, at)?;
        match marker {
            0xe2 => {
                if let Some([number, _count, part @ ..]) = segment.strip_prefix(b"ICC_PROFILE\0") {
                    parts.push((*number, part));
                }
            }
            0xd9 | 0xda => break,
            _ => {}
        }
        at = next;
    }
    // Parts may come in any order; each is numbered.
    parts.sort_by_key(|(number, _)| *number);
    let whole: Vec<u8> = parts.iter().flat_map(|(_, part)| *part).copied().collect();
    (!whole.is_empty()).then_some(whole)
}

/// The next marker at or after `at`, what its segment holds, and where to look for the one after it.
pub(super) fn segment(bytes: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let rest = bytes.get(at..)?;
    let is_marker = |at: &usize| {
        rest.get(at + 1)
            .is_some_and(|next| !matches!(next, 0 | 0xff))
    };
    let start = memchr::memchr_iter(0xff, rest).find(is_marker)?;
    let (marker, after) = (rest[start + 1], at + start + 2);
    if marker == 0xd9 || is_bare(marker) {
        return Some((marker, &[], after));
    }
    let length = bytes.get(after..)?.first_chunk()?;
    let next = after + usize::from(u16::from_be_bytes(*length)).max(2);
    Some((marker, bytes.get(after + 2..next)?, next))
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
    fn a_profile_is_put_together_by_the_numbers_of_its_parts() {
        let part = |number: u8, text: &[u8]| {
            let content = [b"ICC_PROFILE\0", [number, 2].as_slice(), text].concat();
            let length = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
            [b"\xff\xe2", length.as_slice(), &content].concat()
        };
        let file =
            |parts: &[Vec<u8>]| [b"\xff\xd8", &parts.concat()[..], b"\xff\xda\0\x02"].concat();
        let found = profile(&file(&[part(2, b"world"), part(1, b"hello ")]));
        assert_eq!(found.as_deref(), Some(b"hello world".as_slice()));
        assert_eq!(profile(&file(&[])), None);
    }

    #[test]
    fn a_file_is_whole_only_with_its_last_marker() {
        assert_eq!(fault(FILE), None);
        for length in 0..FILE.len() {
            let fault = fault(&FILE[..length]);
            assert!(fault.is_some_and(|why| why.contains("ends before")));
        }
    }

    #[test]
    fn separate_sequential_scans_are_refused_where_the_decoder_garbles_them() {
        use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
        let pixels: Vec<u8> = (0..40 * 40 * 3_u32).map(|at| (at % 250) as u8).collect();
        let refused = |sampling, is_progressive, are_separate| {
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(&mut bytes, 90);
            encoder.set_sampling_factor(sampling);
            encoder.set_progressive(is_progressive);
            // This encoder makes tables for a sequential picture only together with separate scans.
            encoder.set_optimized_huffman_tables(are_separate);
            encoder.encode(&pixels, 40, 40, ColorType::Rgb).unwrap();
            fault(&bytes).is_some()
        };
        assert!(refused(SamplingFactor::F_2_2, false, true));
        assert!(!refused(SamplingFactor::F_2_2, false, false));
        assert!(!refused(SamplingFactor::F_2_2, true, true));
        assert!(!refused(SamplingFactor::F_1_1, false, true));
    }
}
