//! The form of a peer: EMDB's (Name, Base URL, Remote Master Cluster ID, entermediakey, Pull All Original Media, Enabled) and what this
//! program adds. What it sends is checked as the configuration file is, in the same words, and written there. A key goes the other way
//! only: to a file that nobody else may read, and never back.

use std::path::Path as FilePath;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::Web;
use super::error::Error;
use super::peers::shown;
use super::shell::{Shell, done, html};
use crate::catalogue::Session;

use crate::config::members::{Member, add_peer_with, change_peer, with_peer};
use crate::config::{self, Config, KeySource, NewPeer, Peer, Secret, key_file};

/// Where generated files may come from, and what that means.
pub(super) const GENERATED: [(&str, &str); 4] = [
    ("auto", "whichever is cheaper and correct"),
    ("copy", "copied from the peer"),
    ("rebuild", "made here from the originals"),
    ("off", "none"),
];

/// What the form has. It holds a key, so it cannot be printed.
#[derive(Default, Clone, serde::Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    pub(super) name: String,
    pub(super) base_url: String,
    pub(super) cluster_id: String,
    /// Never shown.
    key: String,
    pub(super) pull_originals: bool,
    pub(super) generated: String,
    pub(super) push: bool,
    pub(super) push_originals: bool,
    pub(super) enabled: bool,
}

impl Fields {
    /// As the file has it.
    pub(super) fn of(peer: &Peer) -> Self {
        Self {
            name: peer.name.clone(),
            base_url: peer.base_url.to_string(),
            cluster_id: (peer.cluster_id.as_ref()).map_or_else(String::new, ToString::to_string),
            key: String::new(),
            pull_originals: peer.pull_originals,
            generated: format!("{:?}", peer.generated).to_lowercase(),
            push: peer.push,
            push_originals: peer.push_originals,
            enabled: peer.enabled,
        }
    }

    /// What is written, apart from name, address and key. Defaults are left out.
    fn members(&self) -> Vec<(&'static str, Member)> {
        let unless = |flag: bool, default: bool| match flag == default {
            true => Member::Absent,
            false => Member::Flag(flag),
        };
        let generated = match self.generated.as_str() {
            "auto" | "" => Member::Absent,
            other => Member::text(other),
        };
        vec![
            ("cluster_id", Member::text(&self.cluster_id)),
            ("enabled", unless(self.enabled, true)),
            ("pull_originals", unless(self.pull_originals, true)),
            ("generated", generated),
            ("push", unless(self.push, false)),
            (
                "push_originals",
                unless(self.push_originals && self.push, self.push),
            ),
        ]
    }
}

#[derive(Template)]
#[template(path = "peer_new.html", config = "src/web/askama.toml")]
struct New {
    shell: Shell,
    fields: Fields,
    generated: [(&'static str, &'static str); 4],
}

/// The empty form.
pub(super) async fn new(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
) -> Result<Response, Error> {
    let fields = Fields {
        pull_originals: true,
        enabled: true,
        generated: "auto".to_owned(),
        ..Fields::default()
    };
    html(&New {
        shell: Shell::new(&web, &session, "peers"),
        fields,
        generated: GENERATED,
    })
}

/// Adds a peer.
pub(super) async fn add(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Form(fields): Form<Fields>,
) -> Result<Response, Error> {
    match added(&web.node.config, &fields) {
        Ok(()) => {
            web.reload().await?;
            let name = fields.name.trim();
            Ok(done(
                &format!("peers/{name}"),
                &format!("{name} is added. Test it now."),
            ))
        }
        Err(why) => {
            let shell = Shell::new(&web, &session, "peers").refusing(why);
            let page = New {
                shell,
                fields,
                generated: GENERATED,
            };
            Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)?).into_response())
        }
    }
}

fn added(config: &Config, fields: &Fields) -> Result<(), String> {
    let name = fields.name.trim();
    let path = key_file::path_for(name);
    let new = NewPeer {
        name: name.to_owned(),
        url: fields.base_url.trim().to_owned(),
        key: KeySource::File(path.clone()),
        cluster_id: None,
        push: false,
        push_originals: None,
        sidecar: false,
        ca_file: None,
    };
    let report = |error: config::Error| error.report();
    // Its name is checked before a file is called so.
    with_peer(&config.file, &new, &fields.members()).map_err(report)?;
    let key = key_of(fields).ok_or("give the peer's entermediakey")?;
    let path = config.dir.join(path);
    let is_new = !path.exists();
    write_key(&path, name, &key)?;
    let added = add_peer_with(&config.file, &new, &fields.members());
    if added.is_err() && is_new {
        // A key that nothing names would lie there for ever.
        let _gone = std::fs::remove_file(&path);
    }
    added.map_err(report)
}

/// Changes a peer.
pub(super) async fn change(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Path(name): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Error> {
    let node = web
        .current()
        .map_err(|error| Error::Refused(error.report()))?;
    let peer = node.config.peer(&name).map_err(|_| Error::NotFound)?;
    match changed(&node.config, peer, &fields) {
        Ok(()) => {
            web.reload().await?;
            Ok(done(&format!("peers/{name}"), &format!("{name} is saved.")))
        }
        Err(why) => {
            let shell = Shell::new(&web, &session, "peers").refusing(why);
            let page = shown(&web, shell, &name, (Some(fields), None)).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)?).into_response())
        }
    }
}

fn changed(config: &Config, peer: &Peer, fields: &Fields) -> Result<(), String> {
    let mut members = fields.members();
    if peer.sidecar {
        // What it has in common with this node is not to be said again.
        members.retain(|(key, _)| !matches!(*key, "push" | "push_originals" | "cluster_id"));
    }
    members.push(("base_url", Member::text(&fields.base_url)));
    let key = key_of(fields);
    let mut file = None;
    if let Some(key) = &key {
        match peer.key_source() {
            Some(KeySource::File(path)) => file = Some(path.clone()),
            Some(KeySource::Inline(_)) => members.push(("key", Member::text(key.expose()))),
            Some(KeySource::Env(variable)) => {
                return Err(format!(
                    "the key comes from the variable {variable}: change it there, or take key_env out of emsync.toml"
                ));
            }
            None => {
                let path = key_file::path_for(&peer.name);
                members.push(("key_file", Member::Text(path.display().to_string())));
                file = Some(config.dir.join(path));
            }
        }
    }
    if let (Some(path), Some(key)) = (file, &key) {
        write_key(&path, &peer.name, key)?;
    }
    change_peer(&config.file, &peer.name, &members).map_err(|error| error.report())
}

fn key_of(fields: &Fields) -> Option<Secret> {
    let key = fields.key.trim();
    (!key.is_empty()).then(|| Secret::new(key))
}

fn write_key(path: &FilePath, peer: &str, key: &Secret) -> Result<(), String> {
    if !key
        .expose()
        .bytes()
        .all(|byte| (b' '..=b'~').contains(&byte))
    {
        let error = config::Error::KeyUnsendable {
            peer: peer.to_owned(),
            whence: "the form".to_owned(),
        };
        return Err(error.report());
    }
    key_file::write(path, key)
        .map_err(|error| format!("the key cannot be written to {}: {error}", path.display()))
}
