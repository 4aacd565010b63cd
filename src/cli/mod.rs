//! The command line: one file per command; this one opens the node and dispatches.

pub mod args;
mod catalogue;
mod check;
mod conflicts;
mod crop;
mod demo;
mod doctor;
mod event;
pub mod exit_code;
mod heap;
mod import;
mod init;
mod key;
mod logging;
mod output;
mod peer;
mod plan;
mod progress;
mod promote;
mod prompt;
mod quarantine;
mod receive;
mod record;
mod restore;
mod scrub;
mod serve;
mod service;
mod status;
mod sync;
mod thumbs;
mod trash;
mod user;
mod verify;
mod why;

use std::path::Path;

use anyhow::Context as _;

use crate::config::locate::locate;
use crate::config::{Config, Limits};
use crate::node::Node;
use crate::pipeline::Ways;
use crate::seams::Seams;
use crate::shutdown::Shutdown;
use args::{Cli, Command, Global};
pub use exit_code::ExitCode;

/// Sets logging up and goes to the directory of `-C`. To be called once, before anything else.
///
/// # Errors
/// When the directory is not there.
pub fn prepare(cli: &Cli) -> anyhow::Result<()> {
    // First of all, or an error would go unsaid.
    logging::start(&cli.global, matches!(cli.command, Command::Serve(_)))?;
    raise_handles();
    heap::bound_arenas();
    crate::crash::arm()?;
    if let Some(dir) = &cli.global.chdir {
        let go = std::env::set_current_dir(dir);
        go.map_err(|error| Usage(format!("-C {}: {error}", dir.display())))?;
    }
    // Every client of this process uses one TLS back end; a second call would only say that it is set.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(())
}

/// Lets this process open as many files as it may: the usual limit is one for programs that still use `select`.
fn raise_handles() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(errno) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%errno, "the limit of open files stays as it is");
    }
}

/// Runs one command.
///
/// # Errors
/// Whatever went wrong, with its chain; [`ExitCode::of`] says how to exit.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { global, command } = cli;
    let shutdown = Shutdown::new();
    shutdown.listen().context("signal handlers")?;
    match command {
        Command::Init(args) => init::run(&args).await,
        Command::Peer(command) => peer::run(&global, command, &shutdown).await,
        Command::Catalogue(command) => catalogue::run(&global, command, &shutdown).await,
        Command::Config(command) => check::run(&global, command),
        Command::Import(args) => import::run(&global, &args, &shutdown).await,
        Command::Seed(args) => sync::seed(&global, &args, &shutdown).await,
        Command::Sync(args) => sync::sync(&global, args, Ways::Both, &shutdown).await,
        Command::Pull(args) => sync::sync(&global, args, Ways::In, &shutdown).await,
        Command::Push(args) => sync::push(&global, args, &shutdown).await,
        Command::Plan(args) => plan::run(&global, &args, &shutdown).await,
        Command::Doctor(args) => doctor::run(&global, &args, &shutdown).await,
        Command::Verify(args) => verify::run(&global, &args, &shutdown).await,
        Command::Scrub(args) => scrub::run(&global, &args, &shutdown).await,
        Command::Status(args) => status::run(&global, &args).await,
        Command::Record(command) => record::run(&global, command).await,
        Command::Conflicts(command) => conflicts::run(&global, command).await,
        Command::Key(command) => key::run(&global, command).await,
        Command::User(command) => user::run(&global, command).await,
        Command::Thumbs(command) => thumbs::run(&global, command, &shutdown).await,
        Command::Crop(command) => crop::run(&global, command, &shutdown).await,
        Command::Trash(command) => trash::run(&global, command).await,
        Command::Restore(args) => restore::run(&global, &args, &shutdown).await,
        Command::Quarantine(command) => quarantine::run(&global, command).await,
        Command::Why(args) => why::run(&global, &args).await,
        Command::Receive(command) => receive::run(&global, command, &shutdown).await,
        Command::Event(command) => event::run(&global, command, &shutdown).await,
        Command::Promote(args) => promote::run(&global, &args, &shutdown).await,
        Command::Serve(args) => serve::run(&global, &args, &shutdown).await,
        Command::Service(args) => service::unit(&global, &args),
        Command::Completions(args) => service::completions(&args),
        Command::Man(args) => service::man(&args),
        Command::Demo(args) => demo::run(&global, &args, &shutdown).await,
    }
}

/// A command line that parses and still cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

fn config(global: &Global) -> anyhow::Result<Config> {
    Ok(Config::load(&locate(global.config.as_deref())?)?)
}

async fn open(global: &Global) -> anyhow::Result<Node> {
    open_with(global, |_| {}).await
}

/// Opens the node with what the command line says about its limits.
async fn open_with(global: &Global, said: impl FnOnce(&mut Limits)) -> anyhow::Result<Node> {
    open_changed(global, |config| said(&mut config.limits)).await
}

/// Opens the node with what the command line says about its settings.
async fn open_changed(global: &Global, said: impl FnOnce(&mut Config)) -> anyhow::Result<Node> {
    let mut config = config(global)?;
    said(&mut config);
    Ok(Node::open(config, Seams::os()).await?)
}

/// Opens the node for a command that changes nothing.
async fn open_to_look(global: &Global) -> anyhow::Result<Node> {
    Ok(Node::open_read_only(config(global)?, Seams::os()).await?)
}

/// The base URL of a node that listens at `address`.
fn base_url(address: std::net::SocketAddr, is_secure: bool, site: &str) -> String {
    let scheme = if is_secure { "https" } else { "http" };
    format!("{scheme}://{address}/{site}")
}

/// Makes a path of the command line independent of the current directory.
fn absolute(path: &Path) -> anyhow::Result<std::path::PathBuf> {
    std::path::absolute(path).with_context(|| path.display().to_string())
}
