//! The transform of blocks of 8 by 8, both ways, in whole numbers: the accurate integer method of Loeffler, Ligtenberg
//! and Moschytz with 13 fractional bits, so that every machine gets the same values.
//!
//! Columns are independent of each other, so that a compiler with wide registers computes all eight at once.

use crate::media::codec::wide::array;

/// A block, row by row.
pub(super) type Block = [i32; 64];

/// Eight rows of eight values.
type Rows = [[i32; 8]; 8];

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
fn turned(rows: &Rows) -> Rows {
    array(|at| array(|other| rows[other][at]))
}

/// From coefficients to samples, 0 to 255.
#[inline(always)]
pub(super) fn to_samples(block: &Block) -> [[u8; 8]; 8] {
    let rows = array(|row| array(|column| block[row * 8 + column]));
    let columns = columns_to_samples(&rows, FRACTION - BETWEEN);
    let done = columns_to_samples(&turned(&columns), FRACTION + BETWEEN + 3);
    let done = turned(&done);
    array(|row| array(|column| (done[row][column] + 128).clamp(0, 255) as u8))
}

/// What [`to_samples`] gives where only the mean, the first coefficient, is not 0.
#[inline(always)]
pub(super) fn to_sample(mean: i32) -> u8 {
    let value = ((mean << BETWEEN) + (1 << (BETWEEN + 2))) >> (BETWEEN + 3);
    (value + 128).clamp(0, 255) as u8
}

/// Divided by two to the power of `bits`, rounded to the nearest.
#[inline(always)]
fn down(value: i32, bits: u32) -> i32 {
    value.wrapping_add(1 << (bits - 1)) >> bits
}

/// One pass, along each column. Values of an honest file never overflow; those of others may wrap.
#[inline(always)]
fn columns_to_samples(x: &Rows, bits: u32) -> Rows {
    let plus = i32::wrapping_add;
    let minus = i32::wrapping_sub;
    let times = i32::wrapping_mul;
    let mut out = Rows::default();
    for column in 0..8 {
        let x: [i32; 8] = array(|row| x[row][column]);
        let middle = times(plus(x[2], x[6]), C_0_541);
        let low = minus(middle, times(x[6], C_1_847));
        let high = plus(middle, times(x[2], C_0_765));
        let sum = plus(x[0], x[4]) << FRACTION;
        let difference = minus(x[0], x[4]) << FRACTION;
        let even = [
            plus(sum, high),
            plus(difference, low),
            minus(difference, low),
            minus(sum, high),
        ];

        let (z3, z4) = (plus(x[7], x[3]), plus(x[5], x[1]));
        let z5 = times(plus(z3, z4), C_1_175);
        let z1 = times(plus(x[7], x[1]), -C_0_899);
        let z2 = times(plus(x[5], x[3]), -C_2_562);
        let z3 = plus(times(z3, -C_1_961), z5);
        let z4 = plus(times(z4, -C_0_390), z5);
        let odd = [
            plus(plus(times(x[1], C_1_501), z1), z4),
            plus(plus(times(x[3], C_3_072), z2), z3),
            plus(plus(times(x[5], C_2_053), z2), z4),
            plus(plus(times(x[7], C_0_298), z1), z3),
        ];
        let mut at = 0;
        while at < 4 {
            out[at][column] = down(plus(even[at], odd[at]), bits);
            out[7 - at][column] = down(minus(even[at], odd[at]), bits);
            at += 1;
        }
    }
    out
}

/// From samples less 128 to coefficients times 8.
#[inline(always)]
pub(super) fn to_coefficients(samples: &Block) -> Block {
    let columns = array(|column| array(|row| samples[row * 8 + column]));
    let lines = to_frequencies(&columns, 0);
    let done = to_frequencies(&turned(&lines), 2 * BETWEEN);
    array(|at| done[at / 8][at % 8])
}

/// One pass, along each column; `less` is how many bits fewer than [`BETWEEN`] stay.
#[inline(always)]
fn to_frequencies(x: &Rows, less: u32) -> Rows {
    let bits = FRACTION - BETWEEN + less;
    let plain = |value: i32| match less {
        0 => value << BETWEEN,
        _ => down(value, less - BETWEEN),
    };
    let mut out = Rows::default();
    for column in 0..8 {
        let sums: [i32; 4] = array(|at| x[at][column] + x[7 - at][column]);
        let [d0, d1, d2, d3] = array(|at| x[at][column] - x[7 - at][column]);
        let (outer, inner) = (sums[0] + sums[3], sums[1] + sums[2]);
        let (wide, narrow) = (sums[0] - sums[3], sums[1] - sums[2]);
        let middle = (wide + narrow) * C_0_541;
        let (z3, z4) = (d3 + d1, d2 + d0);
        let z5 = (z3 + z4) * C_1_175;
        let (z1, z2) = ((d3 + d0) * -C_0_899, (d2 + d1) * -C_2_562);
        let (z3, z4) = (z3 * -C_1_961 + z5, z4 * -C_0_390 + z5);
        out[0][column] = plain(outer + inner);
        out[1][column] = down(d0 * C_1_501 + z1 + z4, bits);
        out[2][column] = down(middle + wide * C_0_765, bits);
        out[3][column] = down(d1 * C_3_072 + z2 + z3, bits);
        out[4][column] = plain(outer - inner);
        out[5][column] = down(d2 * C_2_053 + z2 + z4, bits);
        out[6][column] = down(middle - narrow * C_1_847, bits);
        out[7][column] = down(d3 * C_0_298 + z1 + z3, bits);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::array;
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
