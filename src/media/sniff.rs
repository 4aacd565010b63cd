//! What a file is, by its first bytes. Names and extensions are never asked: an HTML page called `.jpg` is no image.

use std::io::{self, Read, Seek, SeekFrom};

use image::ImageFormat;

use super::tiff_tags;

/// Bytes that every check but the TGA footer makes do with.
const HEAD: usize = 32;

/// Last bytes of a TGA file of version 2.
const TGA_FOOTER: &[u8] = b"TRUEVISION-XFILE.\0";

/// The format of `input`, or `None` when it is none of those decoded here. Leaves `input` at its start.
///
/// # Errors
/// What reading or seeking said.
pub(super) fn sniff<R: Read + Seek>(input: &mut R) -> io::Result<Option<ImageFormat>> {
    input.rewind()?;
    let mut head = Vec::with_capacity(HEAD);
    input.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    let format = match by_magic(&head) {
        // Raw photographs are TIFF files whose first picture is a thumbnail.
        Some(ImageFormat::Tiff) if head.get(8..10) == Some(b"CR") => None,
        Some(ImageFormat::Tiff) if tiff_tags::read(input).is_raw => None,
        None if is_tga(&head, input)? => Some(ImageFormat::Tga),
        format => format,
    };
    input.rewind()?;
    Ok(format)
}

/// Whether `input` says at its start that it is of a format decoded here, whatever its name promises. Leaves `input` at its start.
///
/// Only what cannot be mistaken counts: raw photographs, which programs read, may look like a TIFF, so they are none of one where
/// `may_be_raw`.
///
/// # Errors
/// What reading or seeking said.
pub fn is_decoded_here<R: Read + Seek>(input: &mut R, may_be_raw: bool) -> io::Result<bool> {
    let format = sniff(input)?;
    Ok(match format {
        Some(
            ImageFormat::Jpeg
            | ImageFormat::Png
            | ImageFormat::Gif
            | ImageFormat::WebP
            | ImageFormat::Bmp
            | ImageFormat::Pnm,
        ) => true,
        Some(ImageFormat::Tiff) => !may_be_raw,
        // An icon and a TGA begin as other files may.
        _ => false,
    })
}

/// EMDB's spelling of a format [`sniff`] answers with.
pub(super) fn spelling(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "jpg",
        ImageFormat::Png => "png",
        ImageFormat::Gif => "gif",
        ImageFormat::WebP => "webp",
        ImageFormat::Tiff => "tif",
        ImageFormat::Bmp => "bmp",
        ImageFormat::Ico => "ico",
        ImageFormat::Tga => "tga",
        _ => "pnm",
    }
}

/// Formats that say at their start what they are.
fn by_magic(head: &[u8]) -> Option<ImageFormat> {
    match head {
        [0xff, 0xd8, 0xff, ..] => Some(ImageFormat::Jpeg),
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some(ImageFormat::Png),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(ImageFormat::Gif),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some(ImageFormat::WebP),
        // Classic and big TIFF, in both byte orders.
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(ImageFormat::Tiff),
        [b'B', b'M', ..] if has_bmp_header(head) => Some(ImageFormat::Bmp),
        [0, 0, 1, 0, low, high, ..] if (*low, *high) != (0, 0) => Some(ImageFormat::Ico),
        // The letter alone would make a picture of any text that starts with "P2P".
        [b'P', b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n' | b'#', ..] => Some(ImageFormat::Pnm),
        _ => None,
    }
}

/// "BM" starts many a text; a bitmap also states the size of one of the known headers.
fn has_bmp_header(head: &[u8]) -> bool {
    let size = head.get(14..18).and_then(|bytes| bytes.try_into().ok());
    let size = size.map(u32::from_le_bytes);
    matches!(size, Some(12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
}

/// TGA has no magic number: the footer of version 2 decides, or a header without any contradiction.
fn is_tga<R: Read + Seek>(head: &[u8], input: &mut R) -> io::Result<bool> {
    let Some((header, _)) = head.split_first_chunk::<18>() else {
        return Ok(false);
    };
    let length = input.seek(SeekFrom::End(0))?;
    Ok(is_tga_header(header, length) || {
        let mut footer = [0; TGA_FOOTER.len()];
        input.seek(SeekFrom::End(-(TGA_FOOTER.len() as i64)))?;
        input.read_exact(&mut footer)?;
        footer == TGA_FOOTER
    })
}

/// Whether every field of the header has a value of the standard, and the file has room for its pixels.
fn is_tga_header(header: &[u8; 18], length: u64) -> bool {
    let field = |at: usize| u64::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let (kind, depth, descriptor) = (header[2], header[16], header[17]);
    let map = match header[1] {
        0 => (header[3..8] == [0; 5]).then_some(0),
        1 if matches!(header[7], 15 | 16 | 24 | 32) => {
            Some(field(5) * u64::from(header[7]).div_ceil(8))
        }
        _ => None,
    };
    let depths: &[u8] = match kind {
        1 | 9 if header[1] == 1 => &[8, 16],
        2 | 10 => &[15, 16, 24, 32],
        3 | 11 => &[8, 16],
        _ => &[],
    };
    let (width, height) = (field(12), field(14));
    let pixels = width * height * u64::from(depth).div_ceil(8);
    // A run of 128 equal pixels is the most that compression can save.
    let least = if kind > 8 { pixels / 128 } else { pixels };
    map.is_some_and(|map| 18 + u64::from(header[0]) + map + least <= length)
        && depths.contains(&depth)
        && pixels > 0
        && descriptor & 0xc0 == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn format(bytes: &[u8]) -> Option<ImageFormat> {
        sniff(&mut Cursor::new(bytes)).unwrap()
    }

    #[test]
    fn text_is_no_image_however_it_starts() {
        for text in [
            "",
            "B",
            "BM",
            "BMW and others, a list of makers",
            "P2P networks and their friends",
            "<!DOCTYPE html><html><body>sign in</body></html>",
            "{\"response\": {\"status\": \"ok\"}}",
            "GIF89",
        ] {
            assert_eq!(format(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn each_magic_number_is_known() {
        assert_eq!(format(b"\xff\xd8\xff\xe0"), Some(ImageFormat::Jpeg));
        assert_eq!(format(b"\x89PNG\r\n\x1a\n"), Some(ImageFormat::Png));
        assert_eq!(format(b"GIF89a"), Some(ImageFormat::Gif));
        assert_eq!(format(b"RIFF\0\0\0\0WEBPVP8 "), Some(ImageFormat::WebP));
        assert_eq!(format(b"MM\0*\0\0\0\x08"), Some(ImageFormat::Tiff));
        assert_eq!(format(b"P6\n1 1\n255\n"), Some(ImageFormat::Pnm));
        assert_eq!(format(&[0, 0, 1, 0, 1, 0]), Some(ImageFormat::Ico));
    }

    #[test]
    fn a_canon_raw_photograph_is_no_tiff() {
        assert_eq!(format(b"II*\0\x10\0\0\0CR\x02\0"), None);
    }

    #[test]
    fn a_tga_needs_room_for_its_pixels_or_its_footer() {
        let mut tga = vec![0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 2, 0, 24, 0x20];
        assert_eq!(format(&tga), None);
        tga.resize(18 + 4 * 2 * 3, 7);
        assert_eq!(format(&tga), Some(ImageFormat::Tga));
        tga[3] = 1;
        assert_eq!(format(&tga), None);
        tga.extend_from_slice(TGA_FOOTER);
        assert_eq!(format(&tga), Some(ImageFormat::Tga));
    }
}
