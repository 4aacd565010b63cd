//! Look, and look and act: what two nodes have in common, and what has to go.
//!
//! `diff` is the pure merge of two ordered listings. `verify` compares a whole node with a peer and changes nothing. `deletes`
//! applies what the guard lets through and moves files that no record names any more into the trash.

pub mod deletes;
pub mod diff;
mod due;
pub mod verify;
