//! emsync
#![cfg_attr(test, allow(clippy::unwrap_used))]
pub mod catalogue;
pub mod error;
pub mod import;
pub mod media;
pub mod model;
pub mod monitor;
pub mod protocol;
pub mod retry;
pub mod seams;
pub mod shutdown;
pub mod store;
