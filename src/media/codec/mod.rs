//! Bindings to codecs written in C: the only place of the crate with unsafe code.

pub(super) mod webp;
