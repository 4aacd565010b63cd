//! How many heaps this process has.
//!
//! glibc opens a new one (an arena) for a thread that finds the others busy, up to eight for each core, and what one thread frees
//! there no other can use. A run passes buffers between many threads, so that memory in use is a part of memory held: a seed of small files
//! held 95 MiB with the default, 70 MiB with an arena a core, and took no longer.

#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "glibc has no safe way to be told")
)]

/// Lets this process have one arena a core, unless its environment says how many.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn bound_arenas() {
    let said = ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"];
    if said.iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = libc::c_int::try_from(cores).unwrap_or(libc::c_int::MAX);
    // SAFETY: `mallopt` takes two numbers and locks what it changes; that it refuses them would change nothing.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, most) };
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn bound_arenas() {}
