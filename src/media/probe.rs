//! A first look at a file: what it is, how large, how to hold it, when it was taken. Headers only, no pixels.

use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom};

use image::{ImageDecoder, ImageError, ImageFormat, ImageReader};

use super::error::Error;
use super::metadata::{self, Metadata};
use super::pages::said_pages;
use super::sniff::{sniff, spelling};
use super::{jpeg, tiff_rare, tiff_tags};
use crate::model::Timestamp;

/// What the headers of an image say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Format by content, in EMDB's spelling: `jpg`, `png`, `gif`, `webp`, `tif`, `bmp`, `ico`, `tga` or `pnm`.
    pub format: String,
    /// Width in pixels as stored, before any turning.
    pub width: u32,
    /// Height in pixels as stored, before any turning.
    pub height: u32,
    /// EXIF orientation, 1 to 8; 1 when none is noted.
    pub orientation: u8,
    /// How many pages a TIFF says it has; none where it says nothing of pages.
    pub pages: Option<u32>,
    /// EXIF `DateTimeOriginal`, read as UTC when no offset is noted beside it.
    pub captured: Option<Timestamp>,
}

/// Reads the headers of `input` from its start. `None` when the content is no image decoded here, whatever its name.
///
/// # Errors
/// [`Error::Read`] (transient) when reading fails, [`Error::Decode`] when it starts like an image and its headers are
/// broken.
pub fn probe<R: BufRead + Seek>(mut input: R) -> Result<Option<Probe>, Error> {
    let Some(format) = sniff(&mut input).map_err(Error::Read)? else {
        return Ok(None);
    };
    let ((width, height), about) = match format {
        ImageFormat::Jpeg => jpeg_headers(&mut input)?,
        ImageFormat::Ico => icon_headers(&mut input)?,
        _ => headers(&mut input, format)?,
    };
    let pages = match format {
        ImageFormat::Tiff => said_pages(&mut input),
        _ => None,
    };
    Ok(Some(Probe {
        format: spelling(format).to_owned(),
        width,
        height,
        orientation: about.orientation,
        pages,
        captured: about.captured,
    }))
}

/// Size and metadata of a JPEG. Its decoder would read the whole file.
fn jpeg_headers<R: BufRead + Seek>(input: &mut R) -> Result<((u32, u32), Metadata), Error> {
    let size = jpeg::dimensions(input).map_err(|error| unread(ImageFormat::Jpeg, error))?;
    let size = size.ok_or_else(|| Error::Decode {
        format: spelling(ImageFormat::Jpeg),
        source: "no frame header before the pixels".into(),
    })?;
    Ok((size, metadata::of_jpeg(input)))
}

/// Size of the first picture of an icon, the one that is rendered.
fn icon_headers<R: BufRead + Seek>(input: R) -> Result<((u32, u32), Metadata), Error> {
    let mut input = FirstIcon::new(input).map_err(Error::Read)?;
    headers(&mut input, ImageFormat::Ico)
}

fn headers<R: BufRead + Seek>(
    input: &mut R,
    format: ImageFormat,
) -> Result<((u32, u32), Metadata), Error> {
    let tags = if format == ImageFormat::Tiff {
        tiff_tags::read(input)
    } else {
        tiff_tags::Tags::default()
    };
    if let Some((_, size)) = tiff_rare::kind(&tags) {
        let about = metadata::of_tiff(tags.orientation, &tags);
        return Ok(((size.width, size.height), about));
    }
    input.rewind().map_err(Error::Read)?;
    let mut decoder = ImageReader::with_format(input, format)
        .into_decoder()
        .map_err(|error| unopened(format, error))?;
    let about = of_opened(&mut decoder, format, &tags);
    Ok((decoder.dimensions(), about))
}

/// Metadata through a decoder of any format but JPEG.
pub(super) fn of_opened(
    decoder: &mut impl ImageDecoder,
    format: ImageFormat,
    tags: &tiff_tags::Tags,
) -> Metadata {
    match format {
        // Its decoder reads that of large files, too.
        ImageFormat::Tiff => {
            let orientation = decoder.orientation().map_or(1, |way| way.to_exif());
            metadata::of_tiff(orientation, tags)
        }
        _ => metadata::of_decoder(decoder),
    }
}

/// An end too early is the file's fault, anything else the disk's.
fn unread(format: ImageFormat, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput => {
            Error::Decode {
                format: spelling(format),
                source: error.into(),
            }
        }
        _ => Error::Read(error),
    }
}

fn unopened(format: ImageFormat, error: ImageError) -> Error {
    match error {
        ImageError::IoError(error) => unread(format, error),
        error => Error::Decode {
            format: spelling(format),
            source: error.into(),
        },
    }
}

/// An icon file that claims to hold one picture, its first.
///
/// EMDB renders the first one, the decoder picks the largest: with a count of 1 they agree.
pub(super) struct FirstIcon<R> {
    head: Cursor<[u8; 6]>,
    rest: R,
}

impl<R: Read + Seek> FirstIcon<R> {
    pub(super) fn new(mut rest: R) -> io::Result<BufReader<Self>> {
        rest.rewind()?;
        let mut head = [0; 6];
        rest.read_exact(&mut head)?;
        head[4..6].copy_from_slice(&1_u16.to_le_bytes());
        let head = Cursor::new(head);
        Ok(BufReader::new(Self { head, rest }))
    }
}

impl<R: Read> Read for FirstIcon<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.head.read(buffer)? {
            0 => self.rest.read(buffer),
            read => Ok(read),
        }
    }
}

impl<R: Seek> Seek for FirstIcon<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            // Inside the head the reader behind it waits at the end of the head.
            SeekFrom::Current(step) if self.head.position() < 6 => {
                SeekFrom::Start(self.head.position().saturating_add_signed(step))
            }
            to => to,
        };
        let at = self.rest.seek(to)?;
        self.head.set_position(at.min(6));
        if at < 6 {
            self.rest.seek(SeekFrom::Start(6))?;
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_html_page_is_none_whatever_its_name() {
        let page = b"<!DOCTYPE html><html><body>Please sign in</body></html>";
        assert_eq!(probe(Cursor::new(page)).unwrap(), None);
        assert_eq!(probe(Cursor::new(b"")).unwrap(), None);
    }

    #[test]
    fn broken_headers_are_an_error_and_worth_no_retry() {
        let error = probe(Cursor::new(b"\xff\xd8\xff\xe0\0\x10JFIF")).unwrap_err();
        assert!(matches!(error, Error::Decode { format: "jpg", .. }));
        let error = probe(Cursor::new(b"\x89PNG\r\n\x1a\n\0\0")).unwrap_err();
        assert!(matches!(error, Error::Decode { format: "png", .. }));
    }

    #[test]
    fn a_failing_disk_is_worth_a_retry() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("disk"))
            }
        }
        impl Seek for Failing {
            fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
                Ok(0)
            }
        }
        let error = probe(BufReader::new(Failing)).unwrap_err();
        assert!(matches!(error, Error::Read(_)));
    }

    #[test]
    fn an_icon_seen_through_the_wrapper_differs_in_its_count_alone() {
        let bytes: Vec<u8> = (0..40).collect();
        let mut input = FirstIcon::new(Cursor::new(&bytes)).unwrap();
        let mut expected = bytes.clone();
        expected[4..6].copy_from_slice(&[1, 0]);
        for start in [0_u64, 3, 5, 6, 7, 39] {
            input.seek(SeekFrom::Start(start)).unwrap();
            let mut rest = Vec::new();
            input.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, expected[start as usize..]);
        }
    }
}
