//! Bindings to codecs written in C, and the door to wide registers: the only place of the crate with unsafe code.

pub(super) mod webp;
pub(super) mod wide;
