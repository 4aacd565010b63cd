//! emsync
pub mod error;
pub mod media;
pub mod model;
pub mod monitor;
pub mod retry;
pub mod seams;
pub mod shutdown;
