//! What the tests stand on: peers that behave, and misbehave, as real ones do.

pub(crate) mod author;
pub(crate) mod between;
pub(crate) mod captured;
pub(crate) mod chance;
pub(crate) mod chromium;
pub(crate) mod disk;
pub(crate) mod door;
pub(crate) mod emdb;
pub(crate) mod fault;
pub(crate) mod folder;
pub(crate) mod front;
pub(crate) mod liar;
pub(crate) mod master;
pub(crate) mod node;
pub(crate) mod pair;
pub(crate) mod power;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod said;
pub(crate) mod site;
