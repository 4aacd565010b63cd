//! Lossy WebP through libwebp.
//!
//! Safe from outside: lengths are checked before C sees a pointer, and what C allocates is freed by [`Session`], also
//! on an error.

#![expect(
    unsafe_code,
    reason = "libwebp is C; no encoder in Rust writes lossy WebP"
)]

use std::ptr;
use std::slice;

use libwebp_sys as ffi;

/// Why libwebp did not write a picture.
#[derive(Debug, thiserror::Error)]
pub(in crate::media) enum Error {
    /// The caller's bytes do not make up the picture it announced.
    #[error("{found} bytes for a picture of {width}x{height} that takes {expected}")]
    Length {
        width: u32,
        height: u32,
        expected: u64,
        found: usize,
    },
    /// Larger than the format can say, or empty.
    #[error("picture of {width}x{height}, and WebP sides are 1 to {max}", max = ffi::WEBP_MAX_DIMENSION)]
    Dimension { width: u32, height: u32 },
    /// The library and its header disagree about their version.
    #[error("libwebp is of another version than its bindings")]
    Version,
    /// Quality or method out of range.
    #[error("libwebp refused quality {quality} with method {method}")]
    Config { quality: u8, method: u8 },
    /// The library gave up, out of memory for the most part.
    #[error("libwebp stopped with {0:?}")]
    Encoder(ffi::WebPEncodingError),
}

/// What the caller hands over: rows from the top, without padding.
#[derive(Debug, Clone, Copy)]
pub(in crate::media) enum Samples<'a> {
    /// Three bytes a pixel.
    Rgb(&'a [u8]),
    /// Four bytes a pixel, alpha not multiplied in.
    Rgba(&'a [u8]),
}

/// Writes a picture as lossy WebP, `quality` 0 to 100, `method` 0 (fast) to 6 (small).
///
/// Single-threaded and without metadata, so equal input gives equal bytes.
pub(in crate::media) fn encode(
    samples: Samples<'_>,
    width: u32,
    height: u32,
    quality: u8,
    method: u8,
) -> Result<Vec<u8>, Error> {
    let (bytes, channels) = match samples {
        Samples::Rgb(bytes) => (bytes, 3_u32),
        Samples::Rgba(bytes) => (bytes, 4),
    };
    let (c_width, c_height) = dimensions(width, height)?;
    let expected = u64::from(width) * u64::from(height) * u64::from(channels);
    if bytes.len() as u64 != expected {
        return Err(Error::Length {
            width,
            height,
            expected,
            found: bytes.len(),
        });
    }
    let config = config(quality, method)?;
    let mut session = Session::new(c_width, c_height)?;
    // At most 16,383 * 4: far from the end of the type.
    let stride = c_width * channels.cast_signed();
    // SAFETY: `picture` was initialised by the library and carries the dimensions; `bytes` holds exactly
    // `height` rows of `stride` bytes (checked above) and is only read, during the call.
    let imported = unsafe {
        match samples {
            Samples::Rgb(_) => {
                ffi::WebPPictureImportRGB(&raw mut session.picture, bytes.as_ptr(), stride)
            }
            Samples::Rgba(_) => {
                ffi::WebPPictureImportRGBA(&raw mut session.picture, bytes.as_ptr(), stride)
            }
        }
    };
    if imported == 0 {
        return Err(Error::Encoder(session.picture.error_code));
    }
    session.encode(&config)
}

/// The sides as C takes them, when the format can hold them.
fn dimensions(width: u32, height: u32) -> Result<(i32, i32), Error> {
    let side = |value: u32| {
        (1..=ffi::WEBP_MAX_DIMENSION)
            .contains(&value)
            .then(|| i32::try_from(value).expect("the largest side is 16,383"))
    };
    side(width)
        .zip(side(height))
        .ok_or(Error::Dimension { width, height })
}

/// The library's defaults with our quality and method.
fn config(quality: u8, method: u8) -> Result<ffi::WebPConfig, Error> {
    let mut config = ffi::WebPConfig::new().map_err(|()| Error::Version)?;
    config.quality = f32::from(quality);
    config.method = i32::from(method);
    // SAFETY: `config` is initialised and only read during the call.
    if unsafe { ffi::WebPValidateConfig(&raw const config) } == 0 {
        return Err(Error::Config { quality, method });
    }
    Ok(config)
}

/// One picture and the memory its encoded bytes go to; both belong to libwebp and are freed on drop.
struct Session {
    picture: ffi::WebPPicture,
    /// Boxed, so that the pointer in `picture.custom_ptr` survives a move of the session.
    writer: Box<ffi::WebPMemoryWriter>,
}

impl Session {
    fn new(width: i32, height: i32) -> Result<Self, Error> {
        let mut picture = ffi::WebPPicture::new().map_err(|()| Error::Version)?;
        let mut writer = Box::new(ffi::WebPMemoryWriter {
            mem: ptr::null_mut(),
            size: 0,
            max_size: 0,
            pad: [0],
        });
        // SAFETY: `writer` is valid for writes and holds no memory yet that could leak.
        unsafe { ffi::WebPMemoryWriterInit(&raw mut *writer) };
        picture.width = width;
        picture.height = height;
        // Import straight to YUV, which is what a lossy file holds.
        picture.use_argb = 0;
        picture.writer = Some(ffi::WebPMemoryWrite);
        Ok(Self { picture, writer })
    }

    /// Encodes the imported pixels and copies the result out of C's memory.
    fn encode(mut self, config: &ffi::WebPConfig) -> Result<Vec<u8>, Error> {
        self.picture.custom_ptr = (&raw mut *self.writer).cast();
        // SAFETY: `config` was validated; `picture` holds pixels the library allocated itself, and its writer
        // function receives `custom_ptr`, an initialised writer that nobody else touches during the call.
        let done = unsafe { ffi::WebPEncode(config, &raw mut self.picture) };
        if done == 0 {
            return Err(Error::Encoder(self.picture.error_code));
        }
        if self.writer.mem.is_null() {
            return Err(Error::Encoder(
                ffi::WebPEncodingError::VP8_ENC_ERROR_BAD_WRITE,
            ));
        }
        // SAFETY: after success the writer owns `size` initialised bytes at `mem` (not null, checked); they are
        // copied before drop frees them.
        Ok(unsafe { slice::from_raw_parts(self.writer.mem, self.writer.size) }.to_vec())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: both were initialised in `new`, are owned by `self` alone and are freed here once; the library
        // accepts them in any state after initialisation, empty included.
        unsafe {
            ffi::WebPPictureFree(&raw mut self.picture);
            ffi::WebPMemoryWriterClear(&raw mut *self.writer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ColorType, ImageDecoder, codecs::webp::WebPDecoder};
    use std::io::Cursor;

    fn decoded(bytes: &[u8]) -> (u32, u32, ColorType, Vec<u8>) {
        let decoder = WebPDecoder::new(Cursor::new(bytes)).unwrap();
        let ((width, height), color) = (decoder.dimensions(), decoder.color_type());
        let mut pixels = vec![0; decoder.total_bytes() as usize];
        decoder.read_image(&mut pixels).unwrap();
        (width, height, color, pixels)
    }

    #[test]
    fn an_opaque_picture_comes_back_nearly_the_same() {
        let pixels = [200, 120, 40].repeat(31 * 17);
        let bytes = encode(Samples::Rgb(&pixels), 31, 17, 85, 4).unwrap();
        let (width, height, color, back) = decoded(&bytes);
        assert_eq!((width, height, color), (31, 17, ColorType::Rgb8));
        assert!(
            pixels
                .iter()
                .zip(&back)
                .all(|(ours, theirs)| ours.abs_diff(*theirs) <= 4)
        );
    }

    #[test]
    fn alpha_is_kept_without_loss() {
        let pixels: Vec<u8> = (0..64 * 64_u32)
            .flat_map(|index| [90, 90, 90, (index % 256) as u8])
            .collect();
        let bytes = encode(Samples::Rgba(&pixels), 64, 64, 76, 4).unwrap();
        let (_, _, color, back) = decoded(&bytes);
        assert_eq!(color, ColorType::Rgba8);
        let alpha = |bytes: &[u8]| bytes.iter().skip(3).step_by(4).copied().collect::<Vec<_>>();
        assert_eq!(alpha(&pixels), alpha(&back));
    }

    #[test]
    fn bytes_that_do_not_make_up_the_picture_are_refused() {
        let error = encode(Samples::Rgb(&[0; 11]), 2, 2, 85, 4).unwrap_err();
        assert!(matches!(
            error,
            Error::Length {
                expected: 12,
                found: 11,
                ..
            }
        ));
    }

    #[test]
    fn sides_the_format_cannot_say_are_refused() {
        for (width, height) in [(0, 1), (1, 0), (16_384, 1), (1, u32::MAX)] {
            let error = encode(Samples::Rgb(&[]), width, height, 85, 4).unwrap_err();
            assert!(matches!(error, Error::Dimension { .. }));
        }
    }

    #[test]
    fn a_quality_out_of_range_is_refused() {
        let error = encode(Samples::Rgb(&[0; 3]), 1, 1, 101, 4).unwrap_err();
        assert!(matches!(error, Error::Config { quality: 101, .. }));
    }

    #[test]
    fn equal_input_gives_equal_bytes() {
        let pixels: Vec<u8> = (0..50 * 40 * 3_u32)
            .map(|index| (index * 31 % 256) as u8)
            .collect();
        let once = encode(Samples::Rgb(&pixels), 50, 40, 76, 4).unwrap();
        assert_eq!(once, encode(Samples::Rgb(&pixels), 50, 40, 76, 4).unwrap());
    }
}
