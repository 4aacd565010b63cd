//! Look, and look and act: what two nodes have in common, and what has to go.
//!
//! `diff` is the pure merge of two ordered listings. `verify` compares a whole node with a peer and changes nothing. `absence`
//! audits complete listings for what they lack. `guard` decides, purely, what may be deleted and how much of it; `deletes` applies
//! what it lets through and moves files that no record names any more into the trash, each after a second look (`due`).

pub mod absence;
pub mod deletes;
pub mod diff;
mod due;
pub mod guard;
pub mod verify;
