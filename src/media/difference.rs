//! How different two colours look: CIEDE2000, for tests. Below 1 nobody sees a difference.

use std::f64::consts::PI;

/// sRGB to CIELAB under D65.
fn lab(rgb: [u8; 3]) -> [f64; 3] {
    let linear = rgb.map(|value| {
        let value = f64::from(value) / 255.0;
        if value <= 0.040_45 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    });
    let [r, g, b] = linear;
    let xyz = [
        0.412_456 * r + 0.357_576 * g + 0.180_437 * b,
        0.212_673 * r + 0.715_152 * g + 0.072_175 * b,
        0.019_334 * r + 0.119_192 * g + 0.950_304 * b,
    ];
    let white = [0.950_467, 1.0, 1.088_83];
    let root = |part: f64| {
        if part > 0.008_856 {
            part.cbrt()
        } else {
            (903.3 * part + 16.0) / 116.0
        }
    };
    let [x, y, z] = std::array::from_fn(|at| root(xyz[at] / white[at]));
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// The difference of two sRGB colours (Sharma, Wu and Dalal, 2005).
pub(super) fn difference(one: [u8; 3], other: [u8; 3]) -> f64 {
    of_lab(lab(one), lab(other))
}

fn of_lab([l1, a1, b1]: [f64; 3], [l2, a2, b2]: [f64; 3]) -> f64 {
    let seventh = |chroma: f64| (chroma.powi(7) / (chroma.powi(7) + 25_f64.powi(7))).sqrt();
    let mean_chroma = (a1.hypot(b1) + a2.hypot(b2)) / 2.0;
    let stretch = 1.0 + 0.5 * (1.0 - seventh(mean_chroma));
    let (a1, a2) = (a1 * stretch, a2 * stretch);
    let (c1, c2) = (a1.hypot(b1), a2.hypot(b2));
    let hue = |a: f64, b: f64| {
        if a == 0.0 && b == 0.0 {
            0.0
        } else {
            b.atan2(a).rem_euclid(2.0 * PI)
        }
    };
    let (h1, h2) = (hue(a1, b1), hue(a2, b2));
    let is_grey = c1 * c2 == 0.0;
    let mut turn = h2 - h1;
    if is_grey {
        turn = 0.0;
    } else if turn > PI {
        turn -= 2.0 * PI;
    } else if turn < -PI {
        turn += 2.0 * PI;
    }
    let (dl, dc, dh) = (
        l2 - l1,
        c2 - c1,
        2.0 * (c1 * c2).sqrt() * (turn / 2.0).sin(),
    );
    let (l, c) = ((l1 + l2) / 2.0, (c1 + c2) / 2.0);
    let h = if is_grey {
        h1 + h2
    } else if (h1 - h2).abs() <= PI {
        (h1 + h2) / 2.0
    } else if h1 + h2 < 2.0 * PI {
        (h1 + h2) / 2.0 + PI
    } else {
        (h1 + h2) / 2.0 - PI
    };
    let t = 1.0 - 0.17 * (h - 30_f64.to_radians()).cos()
        + 0.24 * (2.0 * h).cos()
        + 0.32 * (3.0 * h + 6_f64.to_radians()).cos()
        - 0.20 * (4.0 * h - 63_f64.to_radians()).cos();
    let weight_l = 1.0 + 0.015 * (l - 50.0).powi(2) / (20.0 + (l - 50.0).powi(2)).sqrt();
    let (weight_c, weight_h) = (1.0 + 0.045 * c, 1.0 + 0.015 * c * t);
    let bend = 30_f64.to_radians() * (-((h.to_degrees() - 275.0) / 25.0).powi(2)).exp();
    let rotation = -2.0 * seventh(c) * (2.0 * bend).sin();
    let (l, c, h) = (dl / weight_l, dc / weight_c, dh / weight_h);
    (l * l + c * c + h * h + rotation * c * h).sqrt()
}

#[test]
fn the_formula_gives_what_its_authors_published() {
    // Pairs 1, 7, 17 and 25 of the test data of Sharma, Wu and Dalal.
    for (one, other, expected) in [
        ([50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485], 2.0425),
        ([50.0, 0.0, 0.0], [50.0, -1.0, 2.0], 2.3669),
        ([50.0, 2.5, 0.0], [73.0, 25.0, -18.0], 27.1492),
        (
            [60.2574, -34.0099, 36.2677],
            [60.4626, -34.1751, 39.4387],
            1.2644,
        ),
    ] {
        assert!(
            (of_lab(one, other) - expected).abs() < 1e-4,
            "{}",
            of_lab(one, other)
        );
    }
}
