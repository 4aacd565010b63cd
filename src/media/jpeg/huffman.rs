//! Huffman codes: tables to read them by, and the shortest ones for what is to be written.

use super::bits::Reader;

/// Bits that one look into the fast table covers.
const FAST: u32 = 11;

/// What the next bits say: a run of zeros, the coefficient after it, and how many bits both took.
#[derive(Debug, Clone, Copy, Default)]
struct Coefficient {
    value: i16,
    run: u8,
    /// 0 where the fast table does not reach.
    length: u8,
}

/// A run that no block can hold: the block ends here.
pub(super) const END: u8 = u8::MAX;

/// A table to read codes by.
#[derive(Debug)]
pub(super) struct Decoding {
    /// Symbol and length of the code that these bits start with; length 0 for none so short.
    fast: Box<[(u8, u8); 1 << FAST]>,
    /// The same with the bits of the coefficient itself, where they fit too.
    whole: Box<[Coefficient; 1 << FAST]>,
    /// For each length the first code that is longer, moved to the upper end of 16 bits; and what turns a code into an index.
    above: [u32; 18],
    shift: [i32; 17],
    symbols: Vec<u8>,
}

impl Decoding {
    /// From how many codes there are of each length, 1 to 16, and their symbols; `None` when that is no code.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self {
            fast: Box::new([(0, 0); 1 << FAST]),
            whole: Box::new([Coefficient::default(); 1 << FAST]),
            above: [u32::MAX; 18],
            shift: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut index) = (0_u32, 0_usize);
        for length in 1..=16_u32 {
            let count = usize::from(counts[length as usize - 1]);
            table.shift[length as usize] = i32::try_from(index).ok()? - i32::try_from(code).ok()?;
            for symbol in symbols.get(index..index + count)? {
                if code >> length != 0 {
                    return None;
                }
                if let Some(room) = FAST.checked_sub(length) {
                    let first = (code << room) as usize;
                    let length = u8::try_from(length).ok()?;
                    table.fast[first..first + (1 << room)].fill((*symbol, length));
                }
                code += 1;
            }
            index += count;
            table.above[length as usize] = code << (16 - length);
            code <<= 1;
        }
        // The last entry ends every search.
        table.above[17] = u32::MAX;
        table.fill_whole();
        Some(table)
    }

    fn fill_whole(&mut self) {
        for (bits, &(symbol, length)) in (0_u32..).zip(self.fast.iter()) {
            let (run, size) = (symbol >> 4, u32::from(symbol & 0x0f));
            let taken = u32::from(length) + size;
            let entry = &mut self.whole[bits as usize];
            if length == 0 || taken > FAST {
                continue;
            }
            if symbol == 0 {
                *entry = Coefficient {
                    value: 0,
                    run: END,
                    length,
                };
            } else if size > 0 {
                let raw = (bits >> (FAST - taken)) & ((1 << size) - 1);
                let value = i16::try_from(extended(raw, size)).expect("at most eleven bits");
                let length = u8::try_from(taken).expect("at most eleven");
                *entry = Coefficient { value, run, length };
            }
        }
    }

    /// The next symbol. Needs 16 bits in `bits`. `None` when no code matches.
    #[inline(always)]
    pub(super) fn symbol(&self, bits: &mut Reader<'_>) -> Option<u8> {
        let (symbol, length) = self.fast[bits.peek(FAST) as usize];
        if length != 0 {
            bits.skip(length.into());
            return Some(symbol);
        }
        self.long_symbol(bits)
    }

    #[inline(never)]
    fn long_symbol(&self, bits: &mut Reader<'_>) -> Option<u8> {
        let next = bits.peek(16);
        let length = (FAST + 1..=16).find(|length| next < self.above[*length as usize])?;
        let code = i32::try_from(next >> (16 - length)).ok()?;
        let index = usize::try_from(code + self.shift[length as usize]).ok()?;
        bits.skip(length);
        self.symbols.get(index).copied()
    }

    /// The next run and the coefficient after it. Needs 32 bits in `bits`. `None` when no code matches.
    #[inline(always)]
    pub(super) fn coefficient(&self, bits: &mut Reader<'_>) -> Option<(u8, i32)> {
        let Coefficient { value, run, length } = self.whole[bits.peek(FAST) as usize];
        if length != 0 {
            bits.skip(length.into());
            return Some((run, value.into()));
        }
        let symbol = self.symbol(bits)?;
        let (run, size) = (symbol >> 4, u32::from(symbol & 0x0f));
        match (run, size) {
            (0, 0) => Some((END, 0)),
            // Sixteen zeros; the sixteenth is written as a coefficient of 0.
            (15, 0) => Some((15, 0)),
            (_, 0) => None,
            _ => Some((run, bits.signed(size))),
        }
    }
}

/// A number of `size` bits, at least 1, as JPEG writes signed ones: the lower half of the range is negative.
#[inline(always)]
pub(super) fn extended(raw: u32, size: u32) -> i32 {
    let value = raw.cast_signed();
    if raw >> (size - 1) == 0 {
        value - (1 << size) + 1
    } else {
        value
    }
}

/// Codes to write by: for each symbol its bits and their number, 0 for one that never occurs.
#[derive(Debug)]
pub(super) struct Coding {
    /// How many codes there are of each length, 1 to 16.
    pub(super) counts: [u8; 16],
    /// Symbols, those with short codes first.
    pub(super) symbols: Vec<u8>,
    pub(super) codes: [(u16, u8); 256],
}

impl Coding {
    /// The shortest codes of at most 16 bits, none of ones alone, for symbols that occur so often.
    pub(super) fn shortest(often: &[u32; 256]) -> Self {
        // One more symbol, the rarest, takes the code of ones.
        let mut weights: Vec<u64> = often.iter().map(|often| u64::from(*often)).collect();
        weights.push(1);
        let lengths = limited(&lengths(weights));
        let mut symbols: Vec<(u8, u8)> = (0..=u8::MAX)
            .map(|symbol| (lengths[usize::from(symbol)], symbol))
            .filter(|(length, _)| *length > 0)
            .collect();
        symbols.sort_unstable();
        let mut coding = Self {
            counts: [0; 16],
            symbols: symbols.iter().map(|(_, symbol)| *symbol).collect(),
            codes: [(0, 0); 256],
        };
        let (mut code, mut last) = (0_u16, 0);
        for (length, symbol) in symbols {
            code <<= length - last;
            coding.codes[usize::from(symbol)] = (code, length);
            coding.counts[usize::from(length) - 1] += 1;
            (code, last) = (code + 1, length);
        }
        coding
    }
}

/// Depth of each leaf of the tree that joins the two lightest again and again; 0 for weight 0.
fn lengths(mut weights: Vec<u64>) -> Vec<usize> {
    let mut lengths = vec![0; weights.len()];
    let mut members: Vec<Vec<usize>> = (0..weights.len()).map(|leaf| vec![leaf]).collect();
    loop {
        // Of equal weights the later one, so that the extra symbol goes deepest.
        let lightest = |but: Option<usize>| {
            let all = weights.iter().enumerate();
            all.filter(|(at, weight)| **weight > 0 && Some(*at) != but)
                .min_by_key(|(at, weight)| (**weight, usize::MAX - at))
                .map(|(at, _)| at)
        };
        let Some(first) = lightest(None) else {
            return lengths;
        };
        let Some(second) = lightest(Some(first)) else {
            return lengths;
        };
        let joined = std::mem::take(&mut members[first]);
        weights[second] += std::mem::take(&mut weights[first]);
        members[second].extend(joined);
        for leaf in &members[second] {
            lengths[*leaf] += 1;
        }
    }
}

/// The lengths with none above 16, the extra symbol's code being the last of the longest; without that symbol.
fn limited(lengths: &[usize]) -> [u8; 256] {
    let deepest = lengths.iter().copied().max().unwrap_or(0).max(16);
    let mut counts = vec![0_usize; deepest + 1];
    for length in lengths.iter().filter(|length| **length > 0) {
        counts[*length] += 1;
    }
    // Two siblings too deep: one takes their parent's place, the other splits the nearest shallower leaf.
    for length in (17..=deepest).rev() {
        while counts[length] > 0 {
            let above = (1..length - 1).rev().find(|above| counts[*above] > 0);
            let above = above.expect("a full tree has a shallower leaf");
            counts[length] -= 2;
            counts[length - 1] += 1;
            counts[above + 1] += 2;
            counts[above] -= 1;
        }
    }
    let mut order: Vec<usize> = (0..lengths.len())
        .filter(|leaf| lengths[*leaf] > 0)
        .collect();
    // The extra symbol is the last of its length, so it gets the code of ones.
    order.sort_by_key(|leaf| (lengths[*leaf], *leaf));
    let mut limited = [0; 256];
    let depths =
        (1_u8..=16).flat_map(|length| std::iter::repeat_n(length, counts[usize::from(length)]));
    for (leaf, length) in order.into_iter().zip(depths) {
        if let Some(place) = limited.get_mut(leaf) {
            *place = length;
        }
    }
    limited
}
