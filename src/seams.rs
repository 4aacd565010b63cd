//! Time and chance, as values that are handed in, so that a test can hold both still.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::model::Timestamp;

/// Where the time of day comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Now, on this machine's clock.
    fn now(&self) -> Timestamp;
}

/// Where random bytes come from.
pub trait Rng: Send + Sync + fmt::Debug {
    /// Fills `out` with bytes nobody can guess.
    fn fill(&self, out: &mut [u8]);

    /// A number below `bound`, or 0 when that is 0. Good for jitter; the slight bias does not matter there.
    fn below(&self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes).checked_rem(bound).unwrap_or(0)
    }
}

/// The operating system's clock and generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct Os;

impl Clock for Os {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

impl Rng for Os {
    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system hands out random bytes");
    }
}

/// Both seams together, as the program passes them down.
#[derive(Debug, Clone)]
pub struct Seams {
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
}

impl Seams {
    /// The operating system's.
    #[must_use]
    pub fn os() -> Self {
        Self {
            clock: Arc::new(Os),
            rng: Arc::new(Os),
        }
    }

    /// `bytes` random bytes in lower-case hexadecimal.
    #[must_use]
    pub fn random_hex(&self, bytes: usize) -> String {
        let mut raw = vec![0; bytes];
        self.rng.fill(&mut raw);
        data_encoding::HEXLOWER.encode(&raw)
    }
}
