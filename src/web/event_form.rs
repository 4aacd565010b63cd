//! The form of an event. What it sends is checked as the configuration file is, in the same words, and written there.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::Web;
use super::error::Error;
use super::shell::{Shell, done, html};
use crate::catalogue::Session;
use crate::config::edit::{self, EventText};

/// What an event can do.
const ACTIONS: [(&str, &str); 8] = [
    (
        "sync",
        "bring what changed, and send where the peer has that",
    ),
    ("pull", "bring what changed there"),
    ("push", "send what changed here"),
    ("verify", "compare with the peer"),
    ("thumbs", "make renditions that are missing or stale"),
    (
        "scrub",
        "read again what is here, where that is due, and heal what is damaged",
    ),
    ("import", "take in what changed in a folder"),
    ("empty-trash", "end what lies in the trash for too long"),
];

/// Which event; blank for a new one.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    name: String,
}

/// What the form has.
#[derive(Debug, Default, Clone, serde::Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    /// What it was called; blank for a new one.
    old: String,
    name: String,
    action: String,
    peer: String,
    every: String,
    cron: String,
    start: String,
    window: String,
    jitter: String,
    make_up: bool,
    max_transfer: String,
    max_duration: String,
    dir: String,
    prefix: String,
    thumbs: bool,
    enabled: bool,
}

impl From<EventText> for Fields {
    fn from(text: EventText) -> Self {
        Self {
            old: text.name.clone(),
            name: text.name,
            action: text.action,
            peer: text.peer.unwrap_or_default(),
            every: text.every.unwrap_or_default(),
            cron: text.cron.unwrap_or_default(),
            start: text.start.unwrap_or_default(),
            window: text.window.unwrap_or_default(),
            jitter: text.jitter.unwrap_or_default(),
            make_up: text.make_up.unwrap_or(true),
            max_transfer: text.max_transfer.unwrap_or_default(),
            max_duration: text.max_duration.unwrap_or_default(),
            dir: text.dir.unwrap_or_default(),
            prefix: text.prefix.unwrap_or_default(),
            thumbs: text.thumbs.unwrap_or(true),
            enabled: text.enabled.unwrap_or(true),
        }
    }
}

impl Fields {
    /// As it is written: what is blank, and what is the default, stands nowhere.
    fn text(&self) -> EventText {
        let text = |text: &str| {
            Some(text.trim())
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let unless_on = |flag: bool| (!flag).then_some(false);
        EventText {
            name: self.name.trim().to_owned(),
            action: self.action.clone(),
            peer: text(&self.peer),
            every: text(&self.every),
            cron: text(&self.cron),
            start: text(&self.start),
            window: text(&self.window),
            jitter: text(&self.jitter),
            make_up: unless_on(self.make_up),
            max_transfer: text(&self.max_transfer),
            max_duration: text(&self.max_duration),
            dir: text(&self.dir),
            prefix: text(&self.prefix),
            // Only an import has the choice.
            thumbs: (self.action == "import" && !self.thumbs).then_some(false),
            enabled: unless_on(self.enabled),
        }
    }
}

#[derive(Template)]
#[template(path = "event.html", config = "src/web/askama.toml")]
struct Page {
    shell: Shell,
    fields: Fields,
    actions: [(&'static str, &'static str); ACTIONS.len()],
    peers: Vec<String>,
}

impl Page {
    fn new(web: &Web, shell: Shell, fields: Fields) -> Self {
        let (node, _) = web.current_or_former();
        Self {
            shell,
            fields,
            actions: ACTIONS,
            peers: node
                .config
                .peers
                .iter()
                .map(|peer| peer.name.clone())
                .collect(),
        }
    }
}

/// The form.
pub(super) async fn form(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Query(Which { name }): Query<Which>,
) -> Result<Response, Error> {
    let fields = match name.as_str() {
        "" => Fields {
            action: "pull".to_owned(),
            every: "15m".to_owned(),
            make_up: true,
            thumbs: true,
            enabled: true,
            ..Fields::default()
        },
        name => edit::event_text(&web.node.config.file, name)
            .map_err(|error| Error::Refused(error.report()))?
            .into(),
    };
    let shell = Shell::new(&web, &session, "schedule");
    html(&Page::new(&web, shell, fields))
}

/// Writes what the form sends.
pub(super) async fn save(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Form(fields): Form<Fields>,
) -> Result<Response, Error> {
    let (file, text) = (&web.node.config.file, fields.text());
    let saved = match fields.old.as_str() {
        "" => edit::add_event(file, &text),
        old => edit::change_event(file, old, &text),
    };
    match saved {
        Ok(()) => {
            web.reload().await?;
            Ok(done("schedule", &format!("{} is saved.", text.name)))
        }
        Err(error) => {
            let shell = Shell::new(&web, &session, "schedule").refusing(error.report());
            let page = Page::new(&web, shell, fields);
            Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)?).into_response())
        }
    }
}
