//! Look, and look and act: what two nodes have in common, and what has to go.
//!
//! `diff` is the pure merge of two ordered listings. `verify` compares a whole node with a peer and changes nothing, but notes
//! which files are damaged. `absence` audits complete listings for what they lack. `guard` decides, purely, what may be deleted and
//! how much of it; `deletes` applies what it lets through, with a last look at records that are only missing (`absent`) and at
//! each file (`due`), whose rows and bytes `removals` takes away.

pub mod absence;
mod absent;
pub mod deletes;
pub mod diff;
mod due;
pub mod guard;
mod removals;
pub mod verify;
