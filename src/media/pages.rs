//! The pages of an original: pictures that a TIFF holds one after the other, each with a directory of its own.
//!
//! Everything here decodes the first directory of a file. A page is decoded as the first of the same bytes, once the header leads
//! to its directory: nothing is copied, and a broken page is nobody's trouble but its own. No other format that is decoded here has
//! pages as EMDB means them: its converter counts frames of an animation too, but nothing ever says `pages` of one.
//!
//! A chain of directories may be made to do harm: it is followed to [`MOST_PAGES`], and ends where it comes back to a place.

use std::collections::HashSet;
use std::io::{self, Cursor, Read, Seek, SeekFrom};

use super::error::Error;
use crate::model::preset::MOST_PAGES;

const NEW_SUBFILE_TYPE: u64 = 254;
const SUBFILE_TYPE: u64 = 255;

/// An original in memory, and where its pages are.
#[derive(Debug)]
pub(super) struct Pages {
    original: Vec<u8>,
    layout: Option<Layout>,
    /// Of each page, from the first; empty where only the first is asked for.
    directories: Vec<u64>,
}

impl Pages {
    /// Looks for the pages of an original as far as `last`, counted from 1.
    pub(super) fn open(original: Vec<u8>, last: u32) -> Self {
        let mut pages = Self {
            original,
            layout: None,
            directories: Vec::new(),
        };
        if last > 1
            && let Ok(Some(mut chain)) = Chain::open(Cursor::new(&pages.original))
        {
            let places = std::iter::from_fn(|| chain.next().ok().flatten());
            pages.directories = places.take(last as usize).map(|it| it.place).collect();
            pages.layout = Some(chain.layout);
        }
        pages
    }

    /// The original, held so that a page is what is decoded of it.
    ///
    /// `is_drawn` says that it is a picture of that page already, which a program drew: then it is any other's picture too.
    ///
    /// # Errors
    /// [`Error::NoPage`].
    pub(super) fn turned_to(&mut self, page: u32, is_drawn: bool) -> Result<&[u8], Error> {
        let Some(layout) = self.layout else {
            return match page {
                0 | 1 => Ok(&self.original),
                _ if is_drawn => Ok(&self.original),
                _ => Err(Error::NoPage { page, pages: 1 }),
            };
        };
        let index = (page as usize).saturating_sub(1);
        let place = self.directories.get(index).copied();
        let pages = self.directories.len();
        let place = place.ok_or(Error::NoPage { page, pages })?;
        layout.lead_to(&mut self.original, place);
        Ok(&self.original)
    }
}

/// How many pages a file has, as far as [`MOST_PAGES`]: 1 for anything but a TIFF.
///
/// # Errors
/// What the system says of its first bytes; a chain that breaks off ends there.
pub fn count_pages(input: impl Read + Seek) -> io::Result<u32> {
    let mut count = 0;
    if let Some(mut chain) = Chain::open(input)? {
        while let Ok(Some(_)) = chain.next() {
            count += 1;
        }
    }
    Ok(count.max(1))
}

/// How many pages a TIFF says it has, by the rule of exiftool's `PageCount`, which is where EMDB has it from (media spec 2.4):
/// directories that call themselves a page or the picture itself are counted, and where one calls itself a page, or several are
/// counted, that is the number. A file whose directories call themselves nothing says none.
pub(super) fn said_pages(input: impl Read + Seek) -> Option<u32> {
    let mut chain = Chain::open(input).ok()??;
    let (mut count, mut has_pages) = (0_u32, false);
    while let Ok(Some(directory)) = chain.next() {
        count += directory.counted;
        has_pages |= directory.is_page;
    }
    (has_pages || count > 1).then_some(count)
}

/// How a TIFF writes numbers.
#[derive(Debug, Clone, Copy)]
struct Layout {
    is_little: bool,
    /// Places and counts have eight bytes (Big TIFF).
    is_big: bool,
}

impl Layout {
    fn number(self, bytes: &[u8]) -> u64 {
        let joined = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        match self.is_little {
            true => bytes.iter().rev().fold(0, joined),
            false => bytes.iter().fold(0, joined),
        }
    }

    fn read<const N: usize>(self, input: &mut impl Read) -> io::Result<u64> {
        let mut bytes = [0; N];
        input.read_exact(&mut bytes)?;
        Ok(self.number(&bytes))
    }

    fn place(self, input: &mut impl Read) -> io::Result<u64> {
        match self.is_big {
            true => self.read::<8>(input),
            false => self.read::<4>(input),
        }
    }

    /// Has the header of a file lead to the directory at `place`.
    fn lead_to(self, file: &mut [u8], place: u64) {
        let (at, length) = if self.is_big { (8, 8) } else { (4, 4) };
        let mut bytes = place.to_le_bytes();
        if !self.is_little {
            bytes[..length].reverse();
        }
        file[at..at + length].copy_from_slice(&bytes[..length]);
    }
}

/// The directories of a TIFF, one after the other.
struct Chain<R> {
    input: R,
    layout: Layout,
    next: u64,
    seen: HashSet<u64>,
}

/// What one says of itself.
struct Directory {
    place: u64,
    /// How often it is counted: once for each tag that says so.
    counted: u32,
    is_page: bool,
}

impl<R: Read + Seek> Chain<R> {
    /// `None` for what is no TIFF.
    fn open(mut input: R) -> io::Result<Option<Self>> {
        input.rewind()?;
        let mut head = [0; 4];
        if let Err(error) = input.read_exact(&mut head) {
            let is_short = error.kind() == io::ErrorKind::UnexpectedEof;
            return if is_short { Ok(None) } else { Err(error) };
        }
        let (is_little, is_big) = match &head {
            b"II*\0" => (true, false),
            b"MM\0*" => (false, false),
            b"II+\0" => (true, true),
            b"MM\0+" => (false, true),
            _ => return Ok(None),
        };
        let layout = Layout { is_little, is_big };
        if is_big {
            // The size of a place, which is always eight.
            layout.read::<4>(&mut input)?;
        }
        Ok(Some(Self {
            next: layout.place(&mut input)?,
            input,
            layout,
            seen: HashSet::new(),
        }))
    }

    /// The next one; `None` at the end of the chain.
    fn next(&mut self) -> io::Result<Option<Directory>> {
        let place = self.next;
        let is_over = self.seen.len() >= MOST_PAGES as usize;
        if place == 0 || is_over || !self.seen.insert(place) {
            return Ok(None);
        }
        let (input, layout) = (&mut self.input, self.layout);
        input.seek(SeekFrom::Start(place))?;
        let count = match layout.is_big {
            true => layout.read::<8>(input)?,
            false => layout.read::<2>(input)?,
        };
        // No more fit a directory of the other kind either.
        let count = u16::try_from(count).map_err(io::Error::other)?;
        let width = if layout.is_big { 20 } else { 12 };
        let mut lines = vec![0; usize::from(count) * width];
        input.read_exact(&mut lines)?;
        let mut directory = Directory {
            place,
            counted: 0,
            is_page: false,
        };
        for line in lines.chunks_exact(width) {
            let value = match layout.number(&line[2..4]) {
                3 => layout.number(&line[width - layout.value_bytes()..][..2]),
                _ => layout.number(&line[width - layout.value_bytes()..][..4]),
            };
            match (layout.number(&line[..2]), value) {
                (NEW_SUBFILE_TYPE, 0) | (SUBFILE_TYPE, 1) => directory.counted += 1,
                (NEW_SUBFILE_TYPE, 2) | (SUBFILE_TYPE, 3) => {
                    directory.counted += 1;
                    directory.is_page = true;
                }
                _ => {}
            }
        }
        // What comes after a directory that is cut short is not there.
        self.next = layout.place(input).unwrap_or(0);
        Ok(Some(directory))
    }
}

impl Layout {
    /// Bytes at the end of a line that hold its value.
    const fn value_bytes(self) -> usize {
        if self.is_big { 8 } else { 4 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of directories that call themselves so, or nothing, each after the other; the last leads to `end`.
    fn file(layout: Layout, says: &[Option<(u16, u16)>], end: Option<usize>) -> Vec<u8> {
        let Layout { is_little, is_big } = layout;
        let number = |value: u64, length: usize| {
            let mut bytes = value.to_le_bytes()[..length].to_vec();
            if !is_little {
                bytes.reverse();
            }
            bytes
        };
        let wide = if is_big { 8 } else { 4 };
        let mut bytes = if is_little {
            b"II".to_vec()
        } else {
            b"MM".to_vec()
        };
        bytes.extend(number(if is_big { 43 } else { 42 }, 2));
        if is_big {
            bytes.extend([number(8, 2), number(0, 2)].concat());
        }
        let line = 2 + 2 + 2 * wide;
        let each = if is_big { 8 } else { 2 } + line + wide;
        let first = bytes.len() + wide;
        bytes.extend(number(first as u64, wide));
        for (index, said) in says.iter().enumerate() {
            let (tag, value) = said.unwrap_or((256, 1));
            bytes.extend(number(1, if is_big { 8 } else { 2 }));
            bytes.extend([number(tag.into(), 2), number(3, 2), number(1, wide)].concat());
            bytes.extend([number(value.into(), 2), vec![0; wide - 2]].concat());
            let is_last = index + 1 == says.len();
            let next = match end {
                Some(end) if is_last => first + end * each,
                None if is_last => 0,
                _ => first + (index + 1) * each,
            };
            bytes.extend(number(next as u64, wide));
        }
        bytes
    }

    fn layouts() -> impl Iterator<Item = Layout> {
        let all = [(true, false), (false, false), (true, true), (false, true)];
        all.into_iter()
            .map(|(is_little, is_big)| Layout { is_little, is_big })
    }

    const PAGE: Option<(u16, u16)> = Some((254, 2));
    const PICTURE: Option<(u16, u16)> = Some((254, 0));
    const THUMBNAIL: Option<(u16, u16)> = Some((254, 1));

    #[test]
    fn pages_are_counted_as_they_lie_and_as_they_call_themselves() {
        for layout in layouts() {
            for (says, pages, said) in [
                (&[None][..], 1, None),
                (&[PICTURE], 1, None),
                (&[PAGE], 1, Some(1)),
                (&[None, None, None], 3, None),
                (&[PAGE, PAGE, PAGE], 3, Some(3)),
                (&[PICTURE, PICTURE], 2, Some(2)),
                (&[PICTURE, THUMBNAIL], 2, None),
                (&[Some((255, 3)), Some((255, 1)), None], 3, Some(2)),
            ] {
                let file = file(layout, says, None);
                assert_eq!(count_pages(Cursor::new(&file)).unwrap(), pages);
                assert_eq!(said_pages(Cursor::new(&file)), said, "{says:?} {layout:?}");
            }
        }
        let png = b"\x89PNG\r\n\x1a\n";
        assert_eq!(count_pages(Cursor::new(png)).unwrap(), 1);
        assert_eq!(said_pages(Cursor::new(b"II")), None);
    }

    #[test]
    fn a_chain_that_comes_back_or_breaks_off_ends() {
        for layout in layouts() {
            let mut file = file(layout, &[PAGE, PAGE], Some(0));
            assert_eq!(count_pages(Cursor::new(&file)).unwrap(), 2);
            file.truncate(file.len() - 9);
            assert_eq!(count_pages(Cursor::new(&file)).unwrap(), 1);
        }
        let many = vec![PAGE; MOST_PAGES as usize + 9];
        let layout = layouts().next().unwrap();
        let count = count_pages(Cursor::new(file(layout, &many, None)));
        assert_eq!(count.unwrap(), MOST_PAGES);
    }

    #[test]
    fn a_page_that_is_not_there_is_said_with_how_many_there_are() {
        let no_page = |pages: &mut Pages, page, is_drawn| match pages.turned_to(page, is_drawn) {
            Err(Error::NoPage { page, pages }) => Some((page, pages)),
            Ok(_) => None,
            Err(other) => panic!("{other}"),
        };
        for layout in layouts() {
            let file = file(layout, &[PAGE, PAGE], None);
            let mut pages = Pages::open(file.clone(), 5);
            let second = pages.turned_to(2, false).unwrap().to_vec();
            assert_eq!(count_pages(Cursor::new(second)).unwrap(), 1);
            assert_eq!(no_page(&mut pages, 3, false), Some((3, 2)));
            assert_eq!(pages.turned_to(1, false).unwrap(), file);
        }
        let mut png = Pages::open(b"\x89PNG\r\n\x1a\n".to_vec(), 2);
        assert_eq!(no_page(&mut png, 2, false), Some((2, 1)));
        assert_eq!(no_page(&mut png, 2, true), None);
    }
}
