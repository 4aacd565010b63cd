//! What a sync with a peer would do, before it does: counted beside everything else, since a listing takes its time, and kept until
//! the next one, one for each peer.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};

use askama::Template;
use axum::extract::{Form, Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::{Extension, Json};
use futures_util::FutureExt as _;

use super::error::Error;
use super::filters;
use super::shell::{Shell, html, when};
use super::{ROOT, Web};
use crate::catalogue::Session;
use crate::model::Timestamp;
use crate::monitor::Silent;
use crate::node::Node;
use crate::pipeline::{self, Amount, Options, Preview};
use crate::pull::metadata::Scope;
use crate::push::preview::PushPreview;
use crate::shutdown::Shutdown;

/// The last plan of each peer.
#[derive(Debug, Default)]
pub(super) struct Plans(Mutex<HashMap<String, Plan>>);

#[derive(Debug, Clone)]
struct Plan {
    began_at: Timestamp,
    /// `None` while it is being counted.
    found: Option<Result<Found, String>>,
}

#[derive(Debug, Clone)]
struct Found {
    preview: Preview,
    push: Option<PushPreview>,
}

impl Plans {
    fn held(&self) -> MutexGuard<'_, HashMap<String, Plan>> {
        self.0.lock().expect("nothing panics while it is held")
    }

    /// Begins a plan, unless one goes on.
    fn begin(&self, peer: &str, now: Timestamp) -> bool {
        let mut held = self.held();
        if held.get(peer).is_some_and(|plan| plan.found.is_none()) {
            return false;
        }
        let plan = Plan {
            began_at: now,
            found: None,
        };
        held.insert(peer.to_owned(), plan);
        true
    }

    fn end(&self, peer: &str, found: Result<Found, String>) {
        if let Some(plan) = self.held().get_mut(peer) {
            plan.found = Some(found);
        }
    }
}

#[derive(Template)]
#[template(path = "plan.html", config = "src/web/askama.toml")]
struct Page {
    shell: Shell,
    name: String,
    began_at: Option<String>,
    is_going_on: bool,
    why_not: Option<String>,
    found: Option<Found>,
}

impl Page {
    fn rows(found: &Found) -> [(&'static str, Amount); 5] {
        let preview = &found.preview;
        [
            ("Originals to fetch", preview.originals),
            ("Generated files to fetch", preview.generated),
            ("On disk already", preview.adopted),
            ("To move", preview.moved),
            ("To clone", preview.cloned),
        ]
    }
}

/// The page.
pub(super) async fn page(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    let (node, _) = web.current_or_former();
    node.config.peer(&name).map_err(|_| Error::NotFound)?;
    let plan = web.plans.held().get(&name).cloned();
    let found = plan.as_ref().and_then(|plan| plan.found.clone());
    html(&Page {
        shell: Shell::new(&web, &session, "peers"),
        name,
        began_at: plan.as_ref().map(|plan| when(plan.began_at)),
        is_going_on: plan.is_some() && found.is_none(),
        why_not: found.as_ref().and_then(|found| found.clone().err()),
        found: found.and_then(Result::ok),
    })
}

/// A plan as JSON.
#[derive(serde::Serialize)]
pub(super) struct Printed {
    peer: String,
    /// When it began to be counted; `None` where nobody wanted one yet.
    began_at: Option<String>,
    is_going_on: bool,
    /// Why there is none.
    why_not: Option<String>,
    pull: Option<Preview>,
    push: Option<PushPreview>,
}

/// The last plan of a peer as JSON.
pub(super) async fn api(
    State(web): State<Arc<Web>>,
    Path(name): Path<String>,
) -> Result<Json<Printed>, Error> {
    let (node, _) = web.current_or_former();
    node.config.peer(&name).map_err(|_| Error::NotFound)?;
    let plan = web.plans.held().get(&name).cloned();
    let found = plan.as_ref().and_then(|plan| plan.found.clone());
    let is_going_on = plan.is_some() && found.is_none();
    let (found, why_not) = match found {
        Some(Ok(found)) => (Some(found), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };
    Ok(Json(Printed {
        peer: name,
        began_at: plan.map(|plan| plan.began_at.to_string()),
        is_going_on,
        why_not,
        push: found.as_ref().and_then(|found| found.push),
        pull: found.map(|found| found.preview),
    }))
}

/// How it is counted.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct How {
    /// From a listing of everything rather than of what changed.
    #[serde(default)]
    full: bool,
}

/// Begins one.
pub(super) async fn begin(
    State(web): State<Arc<Web>>,
    Path(name): Path<String>,
    Form(how): Form<How>,
) -> Result<Response, Error> {
    let node = web
        .current()
        .map_err(|error| Error::Refused(error.report()))?;
    node.config.peer(&name).map_err(|_| Error::NotFound)?;
    if web.plans.begin(&name, node.seams.clock.now()) {
        let (web, name) = (Arc::clone(&web), name.clone());
        tokio::spawn(async move {
            let stop = web.shutdown.child();
            let looked = AssertUnwindSafe(look(&node, &name, how.full, &stop)).catch_unwind();
            let broken = |_| Err("it broke down; the log of emsync says how".to_owned());
            web.plans.end(&name, looked.await.unwrap_or_else(broken));
        });
    }
    Ok(Redirect::to(&format!("{ROOT}plan/{name}")).into_response())
}

async fn look(node: &Node, name: &str, full: bool, stop: &Shutdown) -> Result<Found, String> {
    let chain = |error: pipeline::Error| crate::error::chain(&error);
    let settings = node.config.peer(name).map_err(|error| error.report())?;
    let scope = if full {
        Scope::Everything
    } else {
        Scope::Changes
    };
    let options = Options::of(scope);
    let preview = pipeline::preview_peer(node, settings, options.clone(), Arc::new(Silent), stop)
        .await
        .map_err(chain)?;
    let push = if settings.push {
        let options = Options::of(Scope::Changes);
        let push = pipeline::preview_push(node, settings, &options, stop).await;
        Some(push.map_err(chain)?)
    } else {
        None
    };
    Ok(Found { preview, push })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_plan_of_a_peer_is_made_at_a_time_and_the_last_is_kept() {
        let plans = Plans::default();
        assert!(plans.begin("m", Timestamp::from_millis(1)));
        assert!(!plans.begin("m", Timestamp::from_millis(2)));
        assert!(plans.begin("n", Timestamp::from_millis(3)));
        plans.end("m", Err("no".to_owned()));
        assert!(plans.held()["m"].found.as_ref().unwrap().is_err());
        assert!(plans.begin("m", Timestamp::from_millis(4)));
        assert_eq!(plans.held()["m"].began_at.as_millis(), 4);
        assert!(plans.held()["m"].found.is_none());
    }
}
