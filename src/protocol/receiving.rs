//! What two nodes say to each other when one hands changes to the other (wire spec 3.4 to 3.6, 8). The changes themselves travel in
//! the shape of the feed ([`changes`](super::changes)); here are the offers of originals, and what the receiver wants of all that it
//! was offered.
//!
//! ```text
//! sender                                receiver
//! a page of changes            ──3.4──▶
//!                              ◀──────  the generated files it wants          wanted
//! offer: originals of assets   ──3.5──▶
//!                              ◀──────  the originals it wants                wanted
//! one file, as a form          ──3.6──▶
//! ```

mod offer;
mod upload;
mod wanted;

pub use offer::{Offer, OfferedAsset, encode as encode_offer};
pub use upload::{Upload, UploadForm, kept_members};
pub use wanted::{
    Given, NOTHING_WANTED, OFFER_REFUSED, Wanted, WantedFile, encode_generated, encode_originals,
    parse_generated, parse_originals,
};
