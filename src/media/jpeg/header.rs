//! What a JPEG says before its pixels: sides, channels, tables. Read only as far as the ordinary kind goes.

use super::huffman::Decoding;
use super::walk::segment;
use crate::media::geometry::Size;

/// Coefficient scale of each place of a block, in the order they are written in.
pub(super) type Quantisers = [i32; 64];

/// One channel of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Channel {
    id: u8,
    /// Blocks across and down in one unit of the scan.
    pub(super) across: u32,
    pub(super) down: u32,
    /// Number of its quantisers.
    pub(super) quantisers: usize,
    /// Numbers of its two tables.
    pub(super) dc: usize,
    pub(super) ac: usize,
}

/// Everything up to the first entropy-coded byte.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) size: Option<Size>,
    /// One or three, in the order of the scan.
    pub(super) channels: Vec<Channel>,
    pub(super) quantisers: [Option<Quantisers>; 4],
    pub(super) dc: [Option<Decoding>; 4],
    pub(super) ac: [Option<Decoding>; 4],
    /// Units between restart markers; 0 for none.
    pub(super) restart: usize,
    /// Where the entropy-coded bytes start.
    pub(super) data: usize,
    /// It says that it is a JFIF file, whose three channels are luma and chroma whatever else it says.
    is_jfif: bool,
}

/// Reads the header; `None` for whatever is not of the ordinary kind, broken headers included.
pub(super) fn read(bytes: &[u8]) -> Option<Header> {
    let mut header = Header::default();
    let mut at = 2;
    loop {
        let (marker, segment, next) = segment(bytes, at)?;
        match marker {
            0xc0 | 0xc1 => header.frame(segment)?,
            0xc4 => header.codes(segment)?,
            0xdb => header.scales(segment)?,
            0xdd => header.restart = usize::from(u16::from_be_bytes(*segment.first_chunk()?)),
            0xe0 if segment.starts_with(b"JFIF\0") => header.is_jfif = true,
            0xee if !header.is_jfif => adobe(segment)?,
            0xda => {
                header.scan(segment)?;
                header.data = next;
                return Some(header);
            }
            // Other kinds of frame, arithmetic codes, the end.
            0xc2..=0xcf | 0xd9 => return None,
            _ => {}
        }
        at = next;
    }
}

/// The one colour transform that an ordinary file may name: YCbCr.
fn adobe(segment: &[u8]) -> Option<()> {
    match segment {
        [
            b'A',
            b'd',
            b'o',
            b'b',
            b'e',
            _,
            _,
            _,
            _,
            _,
            _,
            transform,
            ..,
        ] => (*transform == 1).then_some(()),
        _ => Some(()),
    }
}

impl Header {
    fn frame(&mut self, segment: &[u8]) -> Option<()> {
        let [8, h1, h0, w1, w0, count, rest @ ..] = segment else {
            return None;
        };
        let (height, width) = (
            u16::from_be_bytes([*h1, *h0]),
            u16::from_be_bytes([*w1, *w0]),
        );
        let (channels, []) = rest.as_chunks::<3>() else {
            return None;
        };
        if self.size.is_some() || channels.len() != usize::from(*count) || width == 0 || height == 0
        {
            return None;
        }
        self.size = Some(Size::new(width.into(), height.into()));
        let channel = |[id, factors, quantisers]: &[u8; 3]| Channel {
            id: *id,
            across: (factors >> 4).into(),
            down: (factors & 0x0f).into(),
            quantisers: usize::from(*quantisers),
            dc: 0,
            ac: 0,
        };
        self.channels = channels.iter().map(channel).collect();
        let factors: Vec<_> = self
            .channels
            .iter()
            .map(|one| (one.across, one.down))
            .collect();
        match factors[..] {
            // Alone in its scan, a channel is written block by block whatever its factors.
            [(1..=4, 1..=4)] => (self.channels[0].across, self.channels[0].down) = (1, 1),
            [(1..=2, 1..=2), (1, 1), (1, 1)] if self.is_jfif || !self.is_rgb() => {}
            _ => return None,
        }
        Some(())
    }

    fn is_rgb(&self) -> bool {
        self.channels.iter().map(|one| one.id).eq(*b"RGB")
    }

    fn codes(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [class, rest @ ..] = segment {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let count = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, rest) = rest.split_at_checked(count)?;
            let tables = match class >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return None,
            };
            *tables.get_mut(usize::from(class & 0x0f))? = Some(Decoding::new(counts, symbols)?);
            segment = rest;
        }
        Some(())
    }

    fn scales(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [which, rest @ ..] = segment {
            let mut quantisers = [0; 64];
            let bytes = match which >> 4 {
                0 => 1,
                1 => 2,
                _ => return None,
            };
            let (values, rest) = rest.split_at_checked(64 * bytes)?;
            for (quantiser, value) in quantisers.iter_mut().zip(values.chunks_exact(bytes)) {
                *quantiser = value
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | i32::from(*byte));
            }
            *self.quantisers.get_mut(usize::from(which & 0x0f))? = Some(quantisers);
            segment = rest;
        }
        Some(())
    }

    /// All channels in one scan, in the order of the frame, whole coefficients.
    fn scan(&mut self, segment: &[u8]) -> Option<()> {
        let [count, rest @ ..] = segment else {
            return None;
        };
        let (channels, rest) = rest.split_at_checked(usize::from(*count) * 2)?;
        if rest.get(..3)? != [0, 63, 0] || usize::from(*count) != self.channels.len() {
            return None;
        }
        for (channel, says) in self.channels.iter_mut().zip(channels.as_chunks::<2>().0) {
            if channel.id != says[0] {
                return None;
            }
            (channel.dc, channel.ac) = ((says[1] >> 4).into(), (says[1] & 0x0f).into());
        }
        self.size.map(|_| ())
    }
}
