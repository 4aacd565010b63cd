//! **emsync** keeps nodes of a digital asset archive in step: records, original media and thumbnails.
//!
//! It speaks EnterMediaDB's own sync protocol, so it pulls from an unmodified EnterMediaDB 10 server, pushes to one, and can be
//! pulled from by one; between its own nodes it adds digests, exact listings and resumable cursors.
//!
//! ```text
//!  emsync.toml ─ config
//!                  │
//!  peer (feed) ──▶ pull::metadata ──▶ CATALOGUE: records, files, jobs, checkpoints   a page and its progress commit together
//!                                         │ claim ≤ free permits
//!  peer (files) ─▶ pull::pool × N ─────▶ STORE: staged ─▶ published original
//!                                         │ crossbeam channel, bounded
//!                  media × M (rayon) ──▶ STORE: published generated files ─▶ settle
//!                                         │
//!                  reconcile ──────────▶ deletes under the guard, parity report
//!
//!  CATALOGUE ─▶ push::page ─▶ peer: pages of changes, offers ─▶ its wishes: jobs ─▶ CATALOGUE
//!  STORE ─────▶ push::uploads × N ─▶ peer: the files that it wants       push::arrivals: what it lists of them
//!
//!  schedule, cli, web ─▶ pipeline: one run over one peer, as above
//!  edge: a reader's file that is not here ─▶ pull (asked) ─▶ STORE, CATALOGUE
//!  import ─▶ STORE ─▶ CATALOGUE        other nodes, browsers ──▶ serve ──▶ CATALOGUE, STORE
//!                                      other nodes ──▶ serve ──▶ receive ──▶ pull (handed, landing) ──▶ CATALOGUE, STORE
//! ```
//!
//! # Bands
//!
//! A module uses what stands above it, never what stands below. Stages do not know each other; drivers join them.
//!
//! 1. **Vocabulary**, values and pure functions: [`model`] (ids, paths, records and the conflict rule, files, presets, jobs),
//!    [`protocol`] (wire shapes to model and back), [`config`] (as written, as used), [`error`] (the class of an error).
//! 2. **Support**, without knowledge of media or nodes: [`seams`] (time and chance), [`retry`], [`shutdown`], `task`, [`monitor`],
//!    [`throttle`] (limits of bandwidth, of requests, and of what goes on at once), [`text`] (numbers as people read them), [`adapters`] (programs of this machine that read formats for us),
//!    [`crash`] (moments that tests crash at; here because every band below marks some, and nothing but tests knows of them).
//! 3. **Doors**, one for each outside thing: [`catalogue`] (all SQL), [`store`] (all files), [`peer`] (all requests).
//!    Two modules join two of them: [`trash`] (what lies in the trash, and what it was), [`greeting`] (who answers, and by which clock).
//! 4. **Stages**, take work and return an outcome: [`pull`], [`push`], [`media`], [`reconcile`].
//! 5. **Drivers**: [`node`] (what every driver opens: configuration, doors, locks; its snapshots and its doctor), [`pipeline`] (one
//!    run over one peer), [`renditions`] (of originals that are here: made, and made again where something changed), [`import`] (a folder becomes a master), [`edits`] (of
//!    records, made here), [`scrub`] (everything that is here, read again and healed), [`restore`] (records and originals as they were at a
//!    moment), [`receive`] (what other nodes hand to this one), [`promote`] (a mirror takes its master's place), [`edge`] (files that
//!    somebody reads and that are not here yet), [`serve`] (the HTTP node), [`schedule`]
//!    (what a node does by itself, and when), [`status`], [`why`] and [`aside`] (how the node, one
//!    item, and what was set aside stand), [`metrics`] (the same for Prometheus), [`web`] (the page for people), [`cli`].
//!
//! # Invariants
//!
//! 1. *Bytes before rows.* A row says "present" only after the file and its directory are fsynced ([`pull::publisher`]).
//! 2. *Rows before checkpoint.* A page's rows and the listing's progress commit in one transaction; the checkpoint moves when
//!    every record and file of the listing is applied, queued durably or set aside with its reason ([`pull::metadata`]). A push has
//!    one of its own, which moves when every page was taken, or is set aside ([`push`]).
//! 3. *One unbounded queue*: the job table on disk. Every channel is bounded, so a slow disk or CPU slows the downloads.
//! 4. *Every job may run twice.* Twice equals once; a lease that a dead run left is taken back by the next.
//! 5. *Originals go only for a reason*: a tombstone, a record that two complete listings lack, or a name that no record gives
//!    any more. A job says which ([`reconcile::deletes`]), and they go to the trash. One that a second record names stays, for that.
//! 6. *One item's failure never ends a pass*, and a pass with failures never exits 0.
//! 7. *Shutdown in order*: stop claiming, park partials at a piece, drop senders, join downstream, report; a second signal
//!    aborts ([`shutdown`]).

#![cfg_attr(test, allow(clippy::unwrap_used))]

// Vocabulary.
pub mod config;
pub mod error;
pub mod model;
pub mod protocol;

// Support.
pub mod adapters;
pub mod crash;
pub mod monitor;
pub mod retry;
pub mod seams;
pub mod shutdown;
mod task;
pub mod text;
pub mod throttle;

// Doors.
pub mod catalogue;
pub mod greeting;
pub mod peer;
pub mod store;
pub mod trash;

// Stages.
pub mod media;
pub mod pull;
pub mod push;
pub mod reconcile;

// Drivers.
pub mod aside;
pub mod cli;
pub mod edge;
pub mod edits;
pub mod import;
pub mod metrics;
pub mod node;
pub mod pipeline;
pub mod promote;
pub mod receive;
pub mod renditions;
pub mod restore;
pub mod schedule;
pub mod scrub;
pub mod serve;
pub mod status;
pub mod web;
pub mod why;
