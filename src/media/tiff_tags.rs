//! The few TIFF tags that the pixel decoder does not hand out: whether the file is a raw photograph, how its alpha is
//! stored, when it was taken.
//!
//! Reads the first directory and the EXIF directory it points to, nothing else, however large the file.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

const NEW_SUBFILE_TYPE: u16 = 254;
const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS_PER_SAMPLE: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const ORIENTATION: u16 = 274;
const SAMPLES_PER_PIXEL: u16 = 277;
const EXTRA_SAMPLES: u16 = 338;
const EXIF_DIRECTORY: u16 = 0x8769;
const DNG_VERSION: u16 = 0xc612;
const DATE_TIME_ORIGINAL: u16 = 0x9003;
const OFFSET_TIME_ORIGINAL: u16 = 0x9011;

/// What a TIFF says about itself; as the standard has it where nothing is said, or where it cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tags {
    /// Width and height of the first picture.
    pub(super) size: Option<(u32, u32)>,
    /// Bits of a sample, where there is one a pixel.
    pub(super) bits: u32,
    /// How it is compressed.
    pub(super) compression: u32,
    /// What its samples mean.
    pub(super) photometric: Option<u32>,
    /// Where that is said, from the start of the file.
    pub(super) photometric_at: u64,
    /// The first pixel of a byte is in its lowest bits.
    pub(super) has_reversed_bits: bool,
    /// EXIF orientation, 1 to 8.
    pub(super) orientation: u8,
    /// Samples a pixel.
    pub(super) samples: u32,
    /// The first picture is a thumbnail, or the file is a digital negative.
    pub(super) is_raw: bool,
    /// The colours are already multiplied with alpha.
    pub(super) has_associated_alpha: bool,
    /// EXIF `DateTimeOriginal`, as written.
    pub(super) taken: Option<Vec<u8>>,
    /// EXIF `OffsetTimeOriginal`, as written.
    pub(super) taken_offset: Option<Vec<u8>>,
}

impl Default for Tags {
    fn default() -> Self {
        Self {
            size: None,
            bits: 1,
            compression: 1,
            photometric: None,
            photometric_at: 0,
            has_reversed_bits: false,
            orientation: 1,
            samples: 1,
            is_raw: false,
            has_associated_alpha: false,
            taken: None,
            taken_offset: None,
        }
    }
}

/// Reads the tags. A directory that is broken has none: the decoder is the one to complain.
pub(super) fn read<R: Read + Seek>(input: &mut R) -> Tags {
    let mut tags = Tags::default();
    // What was found before the break stays.
    let _broken = fill(input, &mut tags);
    tags
}

fn fill<R: Read + Seek>(input: &mut R, tags: &mut Tags) -> io::Result<()> {
    input.rewind()?;
    let mut header = [0; 8];
    input.read_exact(&mut header)?;
    let order = match header {
        [b'I', b'I', 42, 0, ..] => Order::Little,
        [b'M', b'M', 0, 42, ..] => Order::Big,
        // Big TIFF, too rare a home for these tags to read it.
        _ => return Ok(()),
    };
    let first = order.u32([header[4], header[5], header[6], header[7]]);
    let (mut exif, mut width, mut height) = (None, None, None);
    for (line, entry) in directory(input, order, first)?.iter().enumerate() {
        match entry.tag {
            WIDTH => width = Some(entry.number(order)),
            HEIGHT => height = Some(entry.number(order)),
            BITS_PER_SAMPLE => tags.bits = entry.number(order),
            COMPRESSION => tags.compression = entry.number(order),
            PHOTOMETRIC => {
                tags.photometric = Some(entry.number(order));
                tags.photometric_at = u64::from(first) + 2 + 12 * line as u64 + 8;
            }
            FILL_ORDER => tags.has_reversed_bits = entry.number(order) == 2,
            ORIENTATION => {
                let known = u8::try_from(entry.number(order)).ok();
                tags.orientation = known.filter(|it| (1..=8).contains(it)).unwrap_or(1);
            }
            SAMPLES_PER_PIXEL => tags.samples = entry.number(order),
            NEW_SUBFILE_TYPE => tags.is_raw |= entry.number(order) & 1 == 1,
            DNG_VERSION => tags.is_raw = true,
            EXTRA_SAMPLES => tags.has_associated_alpha = entry.number(order) == 1,
            EXIF_DIRECTORY => exif = Some(entry.number(order)),
            _ => {}
        }
    }
    tags.size = width.zip(height);
    for entry in exif.map_or(Ok(Vec::new()), |at| directory(input, order, at))? {
        match entry.tag {
            DATE_TIME_ORIGINAL => tags.taken = Some(entry.text(input, order)?),
            OFFSET_TIME_ORIGINAL => tags.taken_offset = Some(entry.text(input, order)?),
            _ => {}
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }
}

/// One line of a directory: its value, or where that is.
struct Entry {
    tag: u16,
    kind: u16,
    count: u32,
    value: [u8; 4],
}

impl Entry {
    /// The first number of the value.
    fn number(&self, order: Order) -> u32 {
        let [a, b, ..] = self.value;
        match self.kind {
            1 | 6 | 7 => u32::from(a),
            3 | 8 => u32::from(order.u16([a, b])),
            _ => order.u32(self.value),
        }
    }

    /// A text of at most 64 bytes, without the NUL at its end.
    fn text<R: Read + Seek>(&self, input: &mut R, order: Order) -> io::Result<Vec<u8>> {
        let count = self.count.min(64) as usize;
        let mut bytes = self.value.to_vec();
        if count > bytes.len() {
            bytes.resize(count, 0);
            input.seek(SeekFrom::Start(u64::from(order.u32(self.value))))?;
            input.read_exact(&mut bytes)?;
        }
        bytes.truncate(count);
        while bytes.pop_if(|last| *last == 0).is_some() {}
        Ok(bytes)
    }
}

fn directory<R: Read + Seek>(input: &mut R, order: Order, at: u32) -> io::Result<Vec<Entry>> {
    input.seek(SeekFrom::Start(u64::from(at)))?;
    let mut count = [0; 2];
    input.read_exact(&mut count)?;
    let mut lines = vec![[0_u8; 12]; usize::from(order.u16(count))];
    input.read_exact(lines.as_flattened_mut())?;
    let entry = |line: [u8; 12]| {
        let [t0, t1, k0, k1, c0, c1, c2, c3, value @ ..] = line;
        Entry {
            tag: order.u16([t0, t1]),
            kind: order.u16([k0, k1]),
            count: order.u32([c0, c1, c2, c3]),
            value,
        }
    };
    Ok(lines.into_iter().map(entry).collect())
}

/// The embedded colour profile of the first page.
pub(super) fn profile(original: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = tiff::decoder::Decoder::new(Cursor::new(original)).ok()?;
    decoder.get_tag_u8_vec(tiff::tags::Tag::IccProfile).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// A little-endian file of one directory with these (tag, kind, count, value).
    fn file(entries: &[(u16, u16, u32, u32)]) -> Vec<u8> {
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn a_thumbnail_first_or_a_dng_version_means_raw() {
        let raw = |bytes: Vec<u8>| read(&mut Cursor::new(bytes)).is_raw;
        assert!(raw(file(&[(NEW_SUBFILE_TYPE, 4, 1, 1)])));
        assert!(raw(file(&[(DNG_VERSION, 1, 4, 1)])));
        // A page of a document is no thumbnail.
        assert!(!raw(file(&[(NEW_SUBFILE_TYPE, 4, 1, 2)])));
    }

    #[test]
    fn alpha_is_associated_only_when_the_tag_says_one() {
        let associated = |value| {
            read(&mut Cursor::new(file(&[(EXTRA_SAMPLES, 3, 1, value)]))).has_associated_alpha
        };
        assert!(associated(1));
        assert!(!associated(2));
    }

    #[test]
    fn the_date_is_found_through_the_exif_directory() {
        let mut bytes = file(&[(EXIF_DIRECTORY, 4, 1, 22)]);
        assert_eq!(bytes.len(), 22);
        bytes.extend(&file(&[(DATE_TIME_ORIGINAL, 2, 20, 36)])[8..]);
        bytes.extend(b"2024:03:01 09:41:07\0");
        let tags = read(&mut Cursor::new(bytes));
        assert_eq!(
            tags.taken.as_deref(),
            Some(b"2024:03:01 09:41:07".as_slice())
        );
    }

    #[test]
    fn a_broken_directory_has_no_tags() {
        let mut bytes = file(&[(0x100, 3, 1, 1)]);
        bytes.truncate(15);
        assert_eq!(read(&mut Cursor::new(bytes)), Tags::default());
    }
}
