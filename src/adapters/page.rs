//! At which density a page is drawn: enough for EMDB's box, and never more than EMDB draws it at.
//!
//! EMDB draws at 300 to 900 dots per inch, chosen so that a page fills 3000 pixels if 900 can do it, and shrinks the result to fit
//! them (media spec 3.3 and 3.4). What remains is the same when it is drawn at no more than 3000 pixels to begin with.

/// Longest side of the picture of a page, in pixels.
const SIDE: f64 = 3000.0;
/// Most dots per inch: a page shorter than 240 points stays smaller than the box.
const MOST: f64 = 900.0;
/// Points in an inch.
const POINTS: f64 = 72.0;
/// Inches in a metre.
const INCHES: f64 = 1.0 / 0.0254;

/// The dots per inch that a page should be drawn at instead; `None` where the drawing is as it should be, or does not say at which
/// density it was drawn.
pub(super) fn better_density(png: &[u8]) -> Option<u32> {
    let (side, density) = drawn(png)?;
    let points = side * POINTS / density;
    let wanted = (SIDE * POINTS / points).min(MOST);
    // What was asked for is written in whole dots a metre, and sides are whole pixels: a hundredth is meant to be the same.
    let is_met = density > wanted * 0.99 && density < MOST * 1.01;
    // A little more than needed is shrunk to the box, a little less would miss it.
    (!is_met).then(|| (wanted.floor() + 2.0).min(MOST) as u32)
}

/// The longest side of a PNG in pixels and its dots per inch.
fn drawn(png: &[u8]) -> Option<(f64, f64)> {
    let mut rest = png.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    let mut side = None;
    loop {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (name, after) = after.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (content, after) = after.split_at_checked(length)?;
        match name {
            b"IHDR" => {
                let (width, height) = (number(content)?, number(content.get(4..)?)?);
                side = Some(f64::from(width.max(height)));
            }
            b"pHYs" => {
                let is_in_metres = content.get(8) == Some(&1);
                let density = number(content).filter(|it| is_in_metres && *it > 0)?;
                return Some((side?, f64::from(density) / INCHES));
            }
            b"IDAT" => return None,
            _ => {}
        }
        // A sum of four bytes follows each part.
        rest = after.get(4..)?;
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|it| u32::from_be_bytes(*it))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of a PNG of this size that was drawn at so many dots a metre.
    fn png(width: u32, height: u32, metre: Option<u32>) -> Vec<u8> {
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut part = |name: &[u8], content: &[u8]| {
            png.extend((content.len() as u32).to_be_bytes());
            png.extend(name);
            png.extend(content);
            png.extend([0; 4]);
        };
        let numbers =
            |a: u32, b: u32, last: &[u8]| [&a.to_be_bytes()[..], &b.to_be_bytes(), last].concat();
        part(b"IHDR", &numbers(width, height, &[8, 2, 0, 0, 0]));
        if let Some(metre) = metre {
            part(b"pHYs", &numbers(metre, metre, &[1]));
        }
        part(b"IDAT", &[0; 30]);
        png
    }

    #[test]
    fn a_page_is_drawn_again_only_where_it_is_too_small_or_finer_than_emdb_draws() {
        for (width, height, metre, better) in [
            // Letter and A0 that fill the box, and a figure of 240 points that just does.
            (2319, 3000, 10_737, None),
            (2123, 3000, 2_523, None),
            (3000, 1800, 35_433, None),
            // A label of 100 points that fills it: EMDB draws it at 1250 pixels.
            (3000, 1800, 85_039, Some(900)),
            // Drawn at 72 dots to see the size: Letter, a label, and a sheet that is too large for anything finer.
            (612, 792, 2_835, Some(274)),
            (100, 60, 2_835, Some(900)),
            (4000, 9000, 2_835, None),
        ] {
            let said = better_density(&png(width, height, Some(metre)));
            assert_eq!(said, better, "{width}x{height} at {metre}");
        }
    }

    #[test]
    fn what_does_not_say_its_density_is_left_as_it_is() {
        assert_eq!(better_density(&png(600, 800, None)), None);
        assert_eq!(better_density(&png(600, 800, Some(0))), None);
        assert_eq!(better_density(b"P6 1 1 255 abc"), None);
        let whole = png(600, 800, Some(2_835));
        for length in 0..50 {
            assert_eq!(better_density(&whole[..length]), None, "{length}");
        }
    }
}
