//! JPEG: walking its markers, the ordinary kind decoded to planes, planes written again.
//!
//! The ordinary kind is what cameras and phones write: eight bits, sequential, grey or YCbCr, all channels in one scan,
//! nothing wrong with it. Everything else is left to the general decoder, which also finds the words for what is broken.
//! Luma and chroma stay apart from end to end: no pixel becomes RGB between an original and its renditions.

mod bits;
mod dct;
mod decode;
mod encode;
mod header;
mod huffman;
mod walk;

pub(super) use decode::planes;
pub(super) use encode::{encode, state_density};
pub(super) use walk::{
    channels, coefficient_bytes, dimensions, fault, is_of_adobe, profile, rare_kind,
};

/// Where the coefficients of a block lie, in the order they are written in: from the top left in diagonals.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];
