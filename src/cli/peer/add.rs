//! `emsync peer add`: a peer joins the configuration; with `--user`, its key is fetched first.

use std::path::{Path, PathBuf};

use super::say;
use crate::cli::args::{Global, PeerAdd};
use crate::cli::{ExitCode, Usage, exit_code, output, prompt};
use crate::config::locate::locate;
use crate::config::members::{Members, add_peer_with, peer_with, with_peer};
use crate::config::{self, Config, KeySource, NewPeer, Secret, key_file};
use crate::peer;
use crate::shutdown::Shutdown;

pub(super) async fn run(
    global: &Global,
    args: &PeerAdd,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let file = locate(global.config.as_deref())?;
    let (peer, members) = (new(&file, args)?, args.narrow.members());
    if args.dry_run {
        say("would add to", &file, &with_peer(&file, &peer, &members)?)?;
        return Ok(ExitCode::Ok);
    }
    let Some(user) = &args.user else {
        add_peer_with(&file, &peer, &members)?;
        // A key that is not there yet is worth a word, not a failure: it may come with the next deployment.
        if let Err(error) = Config::load(&file)?.peer(&args.name)?.key() {
            tracing::warn!("{}", error.report());
        }
        return Ok(ExitCode::Ok);
    };
    // Nobody types a password for a peer that cannot be added.
    let settings = peer_with(&file, &peer, &members)?;
    let Some(key) = fetch(&settings, user, args, (&file, shutdown)).await? else {
        return Ok(ExitCode::Interrupted);
    };
    keep(&file, (&peer, &members), &settings, &key)?;
    if !global.quiet {
        let said = format!("the key of {user} is in {}", kept_in(&settings).display());
        output::line(&said)?;
    }
    Ok(ExitCode::Ok)
}

/// What is to be added.
fn new(file: &Path, args: &PeerAdd) -> anyhow::Result<NewPeer> {
    let key = match (&args.key_file, &args.key_env, &args.user) {
        (Some(key), ..) => KeySource::File(beside(file, key)?),
        (None, Some(variable), _) => KeySource::Env(variable.clone()),
        (None, None, Some(_)) => KeySource::File(key_file::path_for(&args.name)),
        (None, None, None) => anyhow::bail!(Usage(
            "give the peer's key with --key-file FILE or --key-env NAME, or --user NAME to have it fetched"
                .to_owned()
        )),
    };
    let ca_file = args.ca_file.as_deref();
    Ok(NewPeer {
        name: args.name.clone(),
        url: args.url.clone(),
        key,
        cluster_id: args.cluster_id.clone(),
        push: args.push,
        push_originals: args.push_originals,
        sidecar: args.sidecar,
        ca_file: ca_file.map(|path| beside(file, path)).transpose()?,
    })
}

/// Logs in for the key; `None` when the end was asked for first.
async fn fetch(
    settings: &config::Peer,
    user: &str,
    args: &PeerAdd,
    (file, shutdown): (&Path, &Shutdown),
) -> anyhow::Result<Option<Secret>> {
    if !settings.base_url.is_https() {
        tracing::warn!(
            "{} is plain http: whoever is in between can read the password",
            settings.base_url
        );
    }
    let password = match &args.password_file {
        Some(path) => prompt::first_line_of(path)?,
        None => prompt::known_secret(&format!("password of {user} at {}", settings.base_url))?,
    };
    let limits = Config::load(file)?.limits;
    let fetched = tokio::select! {
        fetched = peer::fetch_key(settings, (user, &password), &limits) => fetched,
        () = shutdown.wait() => return Ok(None),
    };
    let named = |error: peer::Error| {
        let code = exit_code::of_peer(&error);
        let what = format!("peer add {} (exit {})", args.name, code as u8);
        anyhow::Error::new(error).context(what)
    };
    fetched.map(Some).map_err(named)
}

/// Writes the key, then the section that names it.
fn keep(
    file: &Path,
    (peer, members): (&NewPeer, &Members),
    settings: &config::Peer,
    key: &Secret,
) -> anyhow::Result<()> {
    let path = kept_in(settings);
    let is_new = !path.exists();
    key_file::write(&path, key).map_err(|error| {
        anyhow::anyhow!("the key cannot be written to {}: {error}", path.display())
    })?;
    let added = add_peer_with(file, peer, members);
    if added.is_err() && is_new {
        // A key that nothing names would lie there for ever.
        let _gone = std::fs::remove_file(&path);
    }
    Ok(added?)
}

fn kept_in(settings: &config::Peer) -> PathBuf {
    match settings.key_source() {
        Some(KeySource::File(path)) => path.clone(),
        _ => unreachable!("a key that is fetched is kept in a file"),
    }
}

/// A file's path as the configuration takes it: relative to itself where it was given relative to that very directory, so
/// that the node can be moved as a whole.
fn beside(config: &Path, file: &Path) -> anyhow::Result<PathBuf> {
    let here = config.parent().map(crate::cli::absolute).transpose()?;
    let same = here.is_some_and(|dir| std::env::current_dir().is_ok_and(|current| current == dir));
    if same && file.is_relative() {
        Ok(file.to_owned())
    } else {
        crate::cli::absolute(file)
    }
}
