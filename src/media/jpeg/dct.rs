//! The transform of blocks of 8 by 8, both ways, in whole numbers: the accurate integer method of Loeffler, Ligtenberg
//! and Moschytz with 13 fractional bits, so that every machine gets the same values.
//!
//! Eight columns are computed at once; a compiler that may use wide registers keeps a row in one of them.

use std::array;

/// A block, row by row.
pub(super) type Block = [i32; 64];

/// Eight values, one of each column.
#[derive(Clone, Copy)]
struct Row([i32; 8]);

impl Row {
    #[inline(always)]
    fn each(self, other: Self, make: impl Fn(i32, i32) -> i32) -> Self {
        Self(array::from_fn(|at| make(self.0[at], other.0[at])))
    }

    // Values of an honest file never overflow; those of others may wrap.
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.each(other, i32::wrapping_add)
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.each(other, i32::wrapping_sub)
    }

    #[inline(always)]
    fn times(self, factor: i32) -> Self {
        Self(self.0.map(|value| value.wrapping_mul(factor)))
    }

    /// Times two to the power of `bits`.
    #[inline(always)]
    fn up(self, bits: u32) -> Self {
        Self(self.0.map(|value| value << bits))
    }

    /// Divided by two to the power of `bits`, rounded to the nearest.
    #[inline(always)]
    fn down(self, bits: u32) -> Self {
        Self(
            self.0
                .map(|value| value.wrapping_add(1 << (bits - 1)) >> bits),
        )
    }
}

/// Fractional bits of the factors.
const FRACTION: u32 = 13;
/// Fractional bits kept between both passes.
const BETWEEN: u32 = 2;

// Sums of cosines, times two to the power of FRACTION.
const C_0_298: i32 = 2446;
const C_0_390: i32 = 3196;
const C_0_541: i32 = 4433;
const C_0_765: i32 = 6270;
const C_0_899: i32 = 7373;
const C_1_175: i32 = 9633;
const C_1_501: i32 = 12299;
const C_1_847: i32 = 15137;
const C_1_961: i32 = 16069;
const C_2_053: i32 = 16819;
const C_2_562: i32 = 20995;
const C_3_072: i32 = 25172;

#[inline(always)]
fn rows(block: &Block) -> [Row; 8] {
    let (rows, _) = block.as_chunks::<8>();
    array::from_fn(|at| Row(rows[at]))
}

#[inline(always)]
fn turned(rows: [Row; 8]) -> [Row; 8] {
    array::from_fn(|at| Row(array::from_fn(|other| rows[other].0[at])))
}

/// From coefficients to samples, 0 to 255.
#[inline(always)]
pub(super) fn to_samples(block: &Block) -> [[u8; 8]; 8] {
    let columns = columns_to_samples(rows(block), FRACTION - BETWEEN);
    let done = columns_to_samples(turned(columns), FRACTION + BETWEEN + 3);
    turned(done).map(|row| row.0.map(|value| (value + 128).clamp(0, 255) as u8))
}

/// What [`to_samples`] gives where only the mean, the first coefficient, is not 0.
#[inline(always)]
pub(super) fn to_sample(mean: i32) -> u8 {
    let value = ((mean << BETWEEN) + (1 << (BETWEEN + 2))) >> (BETWEEN + 3);
    (value + 128).clamp(0, 255) as u8
}

#[inline(always)]
fn columns_to_samples(x: [Row; 8], bits: u32) -> [Row; 8] {
    let middle = x[2].plus(x[6]).times(C_0_541);
    let (low, high) = (
        middle.minus(x[6].times(C_1_847)),
        middle.plus(x[2].times(C_0_765)),
    );
    let (sum, difference) = (x[0].plus(x[4]).up(FRACTION), x[0].minus(x[4]).up(FRACTION));
    let even = [
        sum.plus(high),
        difference.plus(low),
        difference.minus(low),
        sum.minus(high),
    ];

    let (z3, z4) = (x[7].plus(x[3]), x[5].plus(x[1]));
    let z5 = z3.plus(z4).times(C_1_175);
    let (z1, z2) = (
        x[7].plus(x[1]).times(-C_0_899),
        x[5].plus(x[3]).times(-C_2_562),
    );
    let (z3, z4) = (z3.times(-C_1_961).plus(z5), z4.times(-C_0_390).plus(z5));
    let odd = [
        x[1].times(C_1_501).plus(z1).plus(z4),
        x[3].times(C_3_072).plus(z2).plus(z3),
        x[5].times(C_2_053).plus(z2).plus(z4),
        x[7].times(C_0_298).plus(z1).plus(z3),
    ];
    array::from_fn(|at| match at {
        0..4 => even[at].plus(odd[at]).down(bits),
        _ => even[7 - at].minus(odd[7 - at]).down(bits),
    })
}

/// From samples less 128 to coefficients times 8.
#[inline(always)]
pub(super) fn to_coefficients(samples: &Block) -> Block {
    let lines = to_frequencies(turned(rows(samples)), 0);
    let done = to_frequencies(turned(lines), 2 * BETWEEN);
    let mut block = [0; 64];
    for (place, row) in block.as_chunks_mut::<8>().0.iter_mut().zip(done) {
        *place = row.0;
    }
    block
}

/// One pass; `less` is how many bits fewer than [`BETWEEN`] stay.
#[inline(always)]
fn to_frequencies(x: [Row; 8], less: u32) -> [Row; 8] {
    let sums: [Row; 4] = array::from_fn(|at| x[at].plus(x[7 - at]));
    let differences: [Row; 4] = array::from_fn(|at| x[at].minus(x[7 - at]));
    let bits = FRACTION - BETWEEN + less;

    let (outer, inner) = (sums[0].plus(sums[3]), sums[1].plus(sums[2]));
    let (wide, narrow) = (sums[0].minus(sums[3]), sums[1].minus(sums[2]));
    let middle = wide.plus(narrow).times(C_0_541);
    let plain = |row: Row| {
        if less == 0 {
            row.up(BETWEEN)
        } else {
            row.down(less - BETWEEN)
        }
    };

    let [d0, d1, d2, d3] = differences;
    let (z3, z4) = (d3.plus(d1), d2.plus(d0));
    let z5 = z3.plus(z4).times(C_1_175);
    let (z1, z2) = (d3.plus(d0).times(-C_0_899), d2.plus(d1).times(-C_2_562));
    let (z3, z4) = (z3.times(-C_1_961).plus(z5), z4.times(-C_0_390).plus(z5));
    [
        plain(outer.plus(inner)),
        d0.times(C_1_501).plus(z1).plus(z4).down(bits),
        middle.plus(wide.times(C_0_765)).down(bits),
        d1.times(C_3_072).plus(z2).plus(z3).down(bits),
        plain(outer.minus(inner)),
        d2.times(C_2_053).plus(z2).plus(z4).down(bits),
        middle.minus(narrow.times(C_1_847)).down(bits),
        d3.times(C_0_298).plus(z1).plus(z3).down(bits),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f64::consts::PI;

    /// The transform by its definition: samples from coefficients.
    fn by_definition(block: &Block) -> Vec<f64> {
        let factor = |k: usize| if k == 0 { 0.5_f64.sqrt() } else { 1.0 };
        let wave =
            |at: usize, k: usize| factor(k) * ((2 * at + 1) as f64 * k as f64 * PI / 16.0).cos();
        let sample = |y, x| {
            let parts = block.iter().enumerate();
            parts
                .map(|(at, value)| f64::from(*value) * wave(y, at / 8) * wave(x, at % 8))
                .sum::<f64>()
                / 4.0
        };
        (0..64).map(|at| sample(at / 8, at % 8)).collect()
    }

    proptest! {
        #[test]
        fn samples_are_those_of_the_definition(values in prop::array::uniform32(-60..60)) {
            let mut block = [0; 64];
            block[..32].copy_from_slice(&values);
            let exact = by_definition(&block);
            for (ours, exact) in to_samples(&block).as_flattened().iter().zip(exact) {
                let exact = (exact + 128.0).clamp(0.0, 255.0);
                // Half a value is rounding; the rest is what thirteen bits lose.
                prop_assert!((f64::from(*ours) - exact).abs() < 0.6);
            }
        }

        #[test]
        fn there_and_back_changes_a_sample_by_two_at_most(samples in prop::collection::vec(any::<u8>(), 64)) {
            let block = array::from_fn(|at| i32::from(samples[at]) - 128);
            let coefficients = to_coefficients(&block).map(|value| (value + 4) >> 3);
            let back = to_samples(&coefficients);
            for (there, back) in samples.iter().zip(back.as_flattened()) {
                // Each of 64 coefficients is off by half a step at most: a sample nearly always by less than one, once in ten million by more.
                prop_assert!(there.abs_diff(*back) <= 2);
            }
        }

        #[test]
        fn no_value_overflows(block in prop::array::uniform32(any::<i32>())) {
            let block = array::from_fn(|at| block[at % 32]);
            to_samples(&block);
        }

        #[test]
        fn a_block_of_its_mean_alone_has_one_value(mean in -3000..3000) {
            let mut block = [0; 64];
            block[0] = mean;
            prop_assert_eq!(to_samples(&block), [[to_sample(mean); 8]; 8]);
        }
    }
}
