//! Which part of a peer's files is wanted: the members of `emsync peer filter` as a form. Nothing is written before it was shown what the
//! filter leaves out; and saving takes nothing away, only pruning does, which is a button of its own.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::Web;
use super::error::Error;
use super::filters;
use super::peers::shown;
use super::shell::{Shell, done, html};
use crate::catalogue::Session;
use crate::config::members::{Member, change_peer, with_changed_peer};
use crate::config::{Config, Peer, units};
use crate::model::Filter;
use crate::model::filter::Pattern;
use crate::monitor::Silent;
use crate::node::Node;
use crate::pipeline::{self, Outside};
use crate::text::{bytes, counted};

/// What the form has; lists have one entry a line.
#[derive(Default, Clone, serde::Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    pub(super) include: String,
    pub(super) exclude: String,
    pub(super) categories: String,
    pub(super) exclude_categories: String,
    pub(super) collections: String,
    pub(super) min_size: String,
    pub(super) max_size: String,
    pub(super) min_age: String,
    pub(super) max_age: String,
    pub(super) all_renditions: bool,
    deed: Deed,
}

/// What is to be done with it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Deed {
    /// Show what it leaves out, and change nothing.
    #[default]
    Look,
    /// Write it down.
    Save,
    /// Write it down, and move what it leaves out to the trash.
    Prune,
}

#[derive(Template)]
#[template(path = "narrow.html", config = "src/web/askama.toml")]
struct Page {
    shell: Shell,
    name: String,
    wanted: Wanted,
    filter: String,
    /// Why it cannot be told what it leaves out.
    unknown: Option<String>,
    assets: u64,
    held: String,
    elsewhere: String,
    /// Files that would go.
    going: u64,
}

impl Wanted {
    /// As the file has it.
    pub(super) fn of(filter: &Filter) -> Self {
        let patterns = |list: &[Pattern]| {
            let lines: Vec<String> = list.iter().map(ToString::to_string).collect();
            lines.join("\n")
        };
        let size = |size: Option<u64>| size.map_or_else(String::new, units::show_size);
        let age =
            |age: Option<std::time::Duration>| age.map_or_else(String::new, units::show_duration);
        Self {
            include: patterns(&filter.include),
            exclude: patterns(&filter.exclude),
            categories: filter.categories.join("\n"),
            exclude_categories: filter.exclude_categories.join("\n"),
            collections: filter.collections.join("\n"),
            min_size: size(filter.min_size),
            max_size: size(filter.max_size),
            min_age: age(filter.min_age),
            max_age: age(filter.max_age),
            all_renditions: filter.all_renditions,
            deed: Deed::Look,
        }
    }

    /// As it is written: what is blank, and what is the default, stands nowhere.
    fn members(&self) -> Vec<(&'static str, Member)> {
        let list = |text: &str| {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            Member::List(lines.map(str::to_owned).collect())
        };
        let flag = match self.all_renditions {
            true => Member::Flag(true),
            false => Member::Absent,
        };
        vec![
            ("include", list(&self.include)),
            ("exclude", list(&self.exclude)),
            ("categories", list(&self.categories)),
            ("exclude_categories", list(&self.exclude_categories)),
            ("collections", list(&self.collections)),
            ("min_size", Member::text(&self.min_size)),
            ("max_size", Member::text(&self.max_size)),
            ("min_age", Member::text(&self.min_age)),
            ("max_age", Member::text(&self.max_age)),
            ("all_renditions", flag),
        ]
    }
}

/// Shows what a filter leaves out, or writes it down.
pub(super) async fn act(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Path(name): Path<String>,
    Form(wanted): Form<Wanted>,
) -> Result<Response, Error> {
    let (node, _) = web.current_or_former();
    node.config.peer(&name).map_err(|_| Error::NotFound)?;
    let file = &web.node.config.file;
    let members = wanted.members();
    let changed = with_changed_peer(file, &name, &members)
        .and_then(|text| Ok(Config::parse(&text, file)?.peer(&name)?.clone()));
    let settings = match changed {
        Ok(settings) => settings,
        Err(error) => {
            let shell = Shell::new(&web, &session, "peers").refusing(error.report());
            let page = shown(&web, shell, &name, (None, Some(wanted))).await?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)?).into_response());
        }
    };
    if wanted.deed == Deed::Look {
        let shell = Shell::new(&web, &session, "peers");
        return html(&look(&node, shell, &settings, wanted).await?);
    }
    change_peer(file, &name, &members).map_err(|error| Error::Refused(error.report()))?;
    web.reload().await?;
    let said = match wanted.deed {
        Deed::Prune => pruned(&web, &name).await?,
        _ => "What is wanted is saved; the next sync fetches what is missing of it, and takes nothing away.".to_owned(),
    };
    Ok(done(&format!("peers/{name}"), &said))
}

/// What a filter leaves out of what is known here, told before it is written.
async fn look(node: &Node, shell: Shell, settings: &Peer, wanted: Wanted) -> Result<Page, Error> {
    let (outside, unknown) = match pipeline::outside(node, settings).await {
        Ok(outside) => (outside, None),
        Err(error) => (Outside::default(), Some(crate::error::chain(&error))),
    };
    let amount = |amount: pipeline::Amount| {
        format!(
            "{} ({})",
            counted(amount.files, "file"),
            bytes(amount.bytes)
        )
    };
    Ok(Page {
        shell,
        name: settings.name.clone(),
        filter: settings.filter.to_string(),
        unknown,
        assets: outside.assets,
        held: amount(outside.held),
        elsewhere: match outside.wanted_elsewhere.files {
            0 => String::new(),
            _ => amount(outside.wanted_elsewhere),
        },
        going: outside.held.files - outside.wanted_elsewhere.files,
        wanted,
    })
}

/// Moves what the filter leaves out to the trash, unless a run over the peer goes on.
async fn pruned(web: &Web, name: &str) -> Result<String, Error> {
    let node = web.scheduler.node();
    let settings = node.config.peer(name).map_err(|_| Error::NotFound)?.clone();
    let refused = |error: &(dyn std::error::Error + 'static)| {
        let why = crate::error::chain(error);
        Error::Refused(format!(
            "the filter is saved and nothing went to the trash: {why}; `emsync peer prune` does it later"
        ))
    };
    let lock = node
        .lock(&format!("run-{name}"))
        .map_err(|error| refused(&error))?;
    let stop = web.shutdown.child();
    // On a task of its own, so that a browser that goes away cuts nothing off.
    let pruning = tokio::spawn(async move {
        let gone = pipeline::prune(&node, &settings, &Silent, &stop).await;
        drop(lock);
        gone
    });
    let gone = pruning.await.map_err(|_| Error::Ending)?;
    let gone = gone.map_err(|error| refused(&error))?;
    let files = gone.held.files - gone.wanted_elsewhere.files;
    Ok(format!(
        "The filter is saved; {} went to the trash, from where they can be restored.",
        counted(files, "file")
    ))
}
