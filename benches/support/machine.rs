//! What a table must say of the machine it was made on.

use super::process::version;

/// Cores, processor and kernel.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores, {}, Linux {}", cpu(), kernel.trim())
}

/// This program and its compiler.
pub(crate) fn versions() -> String {
    format!(
        "emsync {}, {}",
        env!("CARGO_PKG_VERSION"),
        version("rustc", "--version")
    )
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| {
        line.strip_prefix("model name")?
            .split_once(": ")
            .map(|(_, name)| name.to_owned())
    });
    model.unwrap_or_else(|| "an unnamed CPU".to_owned())
}
