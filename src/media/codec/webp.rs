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
    /// Luma, and blue and red chroma of half its sides, rounded up; in limited range.
    Planes([&'a [u8]; 3]),
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
    let (c_width, c_height) = dimensions(width, height)?;
    let config = config(quality, method)?;
    let mut session = Session::new(c_width, c_height)?;
    let is_length = |bytes: &[u8], width: u32, height: u32, channels: u32| {
        let expected = u64::from(width) * u64::from(height) * u64::from(channels);
        if bytes.len() as u64 == expected {
            return Ok(());
        }
        let found = bytes.len();
        Err(Error::Length {
            width,
            height,
            expected,
            found,
        })
    };
    let picture = &mut session.picture;
    let imported = match samples {
        Samples::Rgb(bytes) => {
            is_length(bytes, width, height, 3)?;
            // SAFETY: `picture` was initialised by the library and carries the dimensions; `bytes` holds exactly that many
            // rows of that many pixels (checked above) and is only read, during the call. A row is at most 16,383 * 3 bytes.
            unsafe { ffi::WebPPictureImportRGB(&raw mut *picture, bytes.as_ptr(), c_width * 3) }
        }
        Samples::Rgba(bytes) => {
            is_length(bytes, width, height, 4)?;
            // SAFETY: as above, with four bytes a pixel.
            unsafe { ffi::WebPPictureImportRGBA(&raw mut *picture, bytes.as_ptr(), c_width * 4) }
        }
        Samples::Planes([luma, blue, red]) => {
            let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
            is_length(luma, width, height, 1)?;
            is_length(blue, half_width, half_height, 1)?;
            is_length(red, half_width, half_height, 1)?;
            // Not imported but pointed to: the library reads planes where they lie. It writes to none of a picture without
            // alpha, and frees only memory of its own, which this picture has none of. Both outlive the session.
            picture.y = luma.as_ptr().cast_mut();
            picture.u = blue.as_ptr().cast_mut();
            picture.v = red.as_ptr().cast_mut();
            picture.y_stride = c_width;
            picture.uv_stride = half_width.cast_signed();
            1
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

/// One picture and the memory its encoded bytes go to; what the library allocated for both is freed on drop.
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
        // SAFETY: `config` was validated; `picture` holds pixels the library allocated itself or points to planes of the
        // right length that are borrowed for longer than `self` lives, and its writer
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
    fn planes_come_back_nearly_the_same_and_stay_as_they_were() {
        let luma: Vec<u8> = (0..31 * 17_u32)
            .map(|at| 60 + (at % 31) as u8 * 4)
            .collect();
        let (blue, red) = (vec![100; 16 * 9], vec![150; 16 * 9]);
        let before = luma.clone();
        let bytes = encode(Samples::Planes([&luma, &blue, &red]), 31, 17, 95, 4).unwrap();
        assert_eq!(luma, before);
        let (width, height, color, back) = decoded(&bytes);
        assert_eq!((width, height, color), (31, 17, ColorType::Rgb8));
        for (luma, pixel) in luma.iter().zip(back.as_chunks::<3>().0) {
            let [r, g, b] = pixel.map(f64::from);
            let seen = 16.0 + 0.257 * r + 0.504 * g + 0.098 * b;
            assert!((seen - f64::from(*luma)).abs() < 8.0);
        }
    }

    #[test]
    fn planes_of_another_size_are_refused() {
        let (luma, half) = (vec![0; 6], vec![0; 2]);
        for planes in [
            [&luma[..5], &half, &half],
            [&luma, &half[..1], &half],
            [&luma, &half, &luma],
        ] {
            let error = encode(Samples::Planes(planes), 3, 2, 85, 4).unwrap_err();
            assert!(matches!(error, Error::Length { .. }));
        }
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
