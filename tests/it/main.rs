//! Tests that cross module borders, over real sockets and real files.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop there"
)]

mod absence;
mod adapters;
mod adoption;
mod aside;
mod awkward;
mod bounded;
mod browser;
mod catalogue_file;
mod cdn;
mod cli;
mod config_check;
mod converge;
mod crash;
mod delete_safety;
mod digests;
mod doctor;
mod edits;
mod emdb_receive;
mod emdb_server;
mod event_import;
mod failover;
mod faults;
mod filters;
mod forgetful;
mod golden;
mod hazards;
mod heirs;
mod hostile;
mod idle;
mod kept_report;
mod kill;
mod lanes;
mod limits;
mod local;
mod metrics;
mod model;
mod network;
mod night;
mod nth_call;
mod peer_login;
mod plan;
mod planner;
mod power;
mod pull;
mod pull_edges;
mod push;
mod receive;
mod regenerate;
mod restore;
mod schedule;
mod scrub;
mod serve;
mod service;
mod shutdown;
mod sidecar;
mod support;
mod thumbs;
mod trash;
mod upstream;
mod watch;
mod web;
mod windows;
