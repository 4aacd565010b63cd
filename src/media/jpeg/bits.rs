//! Bits in and out of entropy-coded data, the first bit of a byte being its highest.

use super::huffman::extended;

/// Zero bytes that must follow the data of a [`Reader`], so that it may look ahead.
pub(super) const AHEAD: usize = 8;

/// Reads bits of bytes that are already freed of stuffing.
pub(super) struct Reader<'a> {
    /// With [`AHEAD`] zeros at its end.
    bytes: &'a [u8],
    /// The next byte that is not yet in `held` as a whole.
    at: usize,
    /// The next bits, from the highest on.
    held: u64,
    /// How many of them are accounted for.
    count: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            held: 0,
            count: 0,
        }
    }

    /// Holds at least 32 bits after this; zeros follow the end. Whoever always takes more in waits each time for where the last
    /// code ended.
    #[inline(always)]
    pub(super) fn fill(&mut self) {
        if self.count >= 32 {
            return;
        }
        let rest = self.bytes.get(self.at..);
        if let Some(next) = rest.and_then(|rest| rest.first_chunk()) {
            self.held |= u64::from_be_bytes(*next) >> self.count;
        }
        self.at += ((63 - self.count) >> 3) as usize;
        self.count |= 56;
    }

    /// The next `count` bits, 1 to 32, which stay.
    #[inline(always)]
    pub(super) fn peek(&self, count: u32) -> u32 {
        (self.held >> (64 - count)) as u32
    }

    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.held <<= count;
        self.count = self.count.wrapping_sub(count);
    }

    /// The next signed number of `size` bits, 1 to 15.
    #[inline(always)]
    pub(super) fn signed(&mut self, size: u32) -> i32 {
        let raw = self.peek(size);
        self.skip(size);
        extended(raw, size)
    }

    /// Whether more was read than there is.
    pub(super) fn is_over(&self) -> bool {
        let read = self.at * 8 - self.count as usize;
        read > (self.bytes.len() - AHEAD) * 8
    }
}

/// Writes bits with the stuffing that tells data from markers.
#[derive(Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    held: u64,
    count: u32,
}

impl Writer {
    /// Goes on at the end of `bytes`.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            held: 0,
            count: 0,
        }
    }

    /// Writes the lowest `count` bits, at most 32; the others must be 0.
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u32, count: u32) {
        self.held = self.held << count | u64::from(bits);
        self.count += count;
        if self.count >= 32 {
            self.count -= 32;
            let word = (self.held >> self.count) as u32;
            self.word(word);
        }
    }

    #[inline(always)]
    fn word(&mut self, word: u32) {
        // Some byte is 0xff exactly when its complement has a zero byte.
        let inverse = !word;
        let has_ff = inverse.wrapping_sub(0x0101_0101) & word & 0x8080_8080 != 0;
        if has_ff {
            for byte in word.to_be_bytes() {
                self.byte(byte);
            }
        } else {
            self.bytes.extend_from_slice(&word.to_be_bytes());
        }
    }

    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
        if byte == 0xff {
            self.bytes.push(0);
        }
    }

    /// The bytes, the last one filled up with ones.
    pub(super) fn finish(mut self) -> Vec<u8> {
        while !self.count.is_multiple_of(8) {
            self.held = self.held << 1 | 1;
            self.count += 1;
        }
        while self.count > 0 {
            self.count -= 8;
            self.byte((self.held >> self.count) as u8);
        }
        self.bytes
    }
}
