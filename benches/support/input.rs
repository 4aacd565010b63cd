//! Files made from a seed: incompressible, of known sizes, with names that no renderer looks at.

use std::fs;
use std::path::Path;

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Chance(pub u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between 0 and 1, neither included.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// From a normal distribution with mean 0 and deviation 1 (Box and Muller).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// One file: path from the folder, and size.
pub(crate) type File = (String, u64);

/// The files of a set of this name: S, M, L, D, S20.
pub(crate) fn set(name: &str) -> Vec<File> {
    let mut chance = Chance(42);
    let path = |n: u64, folders: u64| format!("d{:04}/f{n:06}.bin", n % folders);
    let many = |count: u64, folders: u64, size: &mut dyn FnMut() -> u64| {
        (0..count).map(|n| (path(n, folders), size())).collect()
    };
    match name {
        "S" | "S20" => {
            let all: Vec<File> = many(20_000, 1_000, &mut || 20_000 + chance.next() % 40_001);
            all.into_iter()
                .take(if name == "S20" { 5_000 } else { 20_000 })
                .collect()
        }
        "M" => many(1_000, 20, &mut || (2 << 20) - 1_024 + chance.next() % 2_049),
        "L" => many(4, 1, &mut || 512 << 20),
        "D" => many(1_000, 50, &mut || {
            let size = 600_000.0 * (1.6 * chance.normal()).exp();
            size.clamp(20_000.0, 50_000_000.0) as u64
        }),
        other => panic!("there is no set {other}: choose of S, M, L, D, S20"),
    }
}

/// Writes files of a set below `folder`; another seed makes them others.
pub(crate) fn write(folder: &Path, files: &[File], seed: u64) {
    let mut chance = Chance(seed);
    let mut buffer = vec![0; 1 << 20];
    for (path, size) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut out = fs::File::create(path).unwrap();
        let mut left = *size;
        while left > 0 {
            let piece = usize::try_from(left.min(buffer.len() as u64)).unwrap();
            chance.fill(&mut buffer[..piece]);
            std::io::Write::write_all(&mut out, &buffer[..piece]).unwrap();
            left -= piece as u64;
        }
    }
}
