//! What all benches share: nodes and rivals as processes, their cost as the kernel counted it, and tables.
#![allow(
    dead_code,
    reason = "each bench is a program of its own and uses a part of this"
)]

pub(crate) mod input;
pub(crate) mod latency;
pub(crate) mod machine;
pub(crate) mod nginx;
pub(crate) mod node;
pub(crate) mod process;
pub(crate) mod rivals;
pub(crate) mod table;

/// A whole number from the environment.
pub(crate) fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no whole number: {text:?}"))
    })
}

/// The words after `--` on the command line, less what cargo adds.
pub(crate) fn words() -> Vec<String> {
    std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect()
}
