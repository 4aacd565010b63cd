//! Wire shapes to model and back, for both ends: the client reads what the server here writes, so the two cannot drift apart.
//!
//! Wire names (`searchtype`, `emrecordstatus`, `localpath`, …) appear only below this module. Reading is lenient where
//! EnterMediaDB is sloppy (numbers as text, members in any order, members that are `null`) and isolates what is wrong: one
//! bad record or file entry is one `Err` in its page. Writing is exact, because EMDB's own reader aborts a whole run over
//! one wrong JSON type. Nothing here opens a socket, a file or a clock, and no path leaves it unchecked.

pub mod auth;
pub mod changes;
pub mod conflict;
pub mod cookies;
pub mod crop;
pub mod digests;
mod envelope;
pub mod error;
pub mod form;
pub mod getkey;
pub mod lenient;
pub mod listed;
pub mod receiving;
pub mod record;
pub mod replies;
pub mod search;
pub mod uploads;
pub mod wire_path;

#[cfg(test)]
pub(crate) mod captures;

pub use changes::{AssetFiles, AssetListing, ChangesPage, ChangesRequest, Hello, PageHead, Status};
pub use error::Error;
pub use listed::BadFile;
pub use record::BadRecord;
pub use uploads::{UploadedAsset, UploadsPage};
