//! Delete safety (I4): listings that are partial, empty, reordered, stale, interrupted or unreadable, counts that are true, old or
//! not to be had, against the audit of a real catalogue ([`audits`]), the guard alone ([`guards`]), and whole passes against a
//! scripted EMDB that fails now and then and whose mirror loses its volume ([`passes`]).
//!
//! ```text
//! EMSYNC_DELETE_CASES=1000000   so many guard cases instead of 100,000, and as many more audits and passes in proportion
//! EMSYNC_DELETE_SEED=123        this seed alone: what a failing one prints
//! ```

mod audits;
mod guards;
mod model;
mod passes;

use std::ops::Range;

use crate::support::said::say;

const CASES: u64 = 100_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap())
}

/// The seeds to run: `always` of them, or as many times that as `EMSYNC_DELETE_CASES` is more than usual.
fn seeds(always: u64) -> Range<u64> {
    match number("EMSYNC_DELETE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..(number("EMSYNC_DELETE_CASES").unwrap_or(CASES) * always).div_ceil(CASES),
    }
}

/// Names the seed and how to run it again, should its case not come to its end.
struct Named(u64, &'static str);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(seed, module) = self;
            say(&format!(
                "EMSYNC_DELETE_SEED={seed} cargo test --test it delete_safety::{module} -- --nocapture"
            ));
        }
    }
}
