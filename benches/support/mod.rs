//! What all benches share: nodes and rivals as processes, their cost as the kernel counted it, and tables.
#![allow(
    dead_code,
    reason = "each bench is a program of its own and uses a part of this"
)]

pub(crate) mod archive;
pub(crate) mod input;
pub(crate) mod latency;
pub(crate) mod machine;
pub(crate) mod nginx;
pub(crate) mod node;
pub(crate) mod painters;
pub(crate) mod photos;
pub(crate) mod process;
pub(crate) mod quality;
pub(crate) mod readers;
pub(crate) mod records;
pub(crate) mod rivals;
pub(crate) mod table;
pub(crate) mod wrk;

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

/// A new directory that goes with its handle, where the environment wants it.
pub(crate) fn directory() -> tempfile::TempDir {
    match std::env::var_os("EMSYNC_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    }
}

/// Waits for what the library does.
pub(crate) fn wait<T>(what: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(what)
}
