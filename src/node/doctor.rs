//! A look at this node, without its peers and without changing anything: is what it lives on sound, and what is to be done?
//!
//! It works where nothing else does: with a damaged catalogue, without the media volume, beside a running `serve`. The clock
//! is compared with peers by `peer test`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::snapshots::INTERVAL;
use super::{Held, database, held};
use crate::adapters::{Adapters, TOOLS, Tool};
use crate::catalogue::{self, Health};
use crate::config::{Config, Program};
use crate::error::chain;
use crate::seams::Seams;
use crate::store::{self, RealSys, Snapshot, Store};
use crate::text;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Sound.
    Ok,
    /// Works, and somebody should look.
    Warning,
    /// Something does not work.
    Failed,
    /// Nothing works before this is mended.
    Fatal,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it is.
    pub state: State,
    /// What was seen.
    pub detail: String,
    /// What to do about it, when something is to be done.
    pub advice: Option<String>,
}

impl Check {
    pub(crate) fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            detail: detail.into(),
            advice: None,
        }
    }

    pub(crate) fn not_ok(
        name: &'static str,
        state: State,
        detail: impl Into<String>,
        advice: &str,
    ) -> Self {
        Self {
            name,
            state,
            detail: detail.into(),
            advice: Some(advice.to_owned()),
        }
    }
}

const REBUILD: &str = "stop `serve` and every run, then `emsync doctor --rebuild`";

/// Looks at everything; `deep` also compares every index of the catalogue with its table.
pub async fn examine(config: &Config, seams: &Seams, deep: bool) -> Vec<Check> {
    let mut checks = vec![Check::ok("config", config.file.display().to_string())];
    checks.extend(presets(config));
    let store = Store::open(&config.media.root, &config.node.catalog, Arc::new(RealSys));
    checks.push(marker(config, &store));
    checks.extend(adapters(
        &Adapters::find(&config.adapters),
        &config.adapters,
    ));
    let locks = held(&config.state);
    catalogue_checks(config, deep, locks.as_deref().unwrap_or(&[]), &mut checks).await;
    checks.push(match &locks {
        Ok(locks) if locks.is_empty() => Check::ok("locks", "nothing is running"),
        Ok(locks) => {
            let named = locks
                .iter()
                .map(|held| format!("{} by process {}", held.activity, held.pid));
            Check::ok("locks", named.collect::<Vec<_>>().join(", "))
        }
        Err(error) => Check::not_ok(
            "locks",
            State::Fatal,
            chain(error),
            "make the state directory readable and writable for this user",
        ),
    });
    if let Ok(store) = store {
        checks.push(snapshots(&store, seams).await);
        checks.push(space(config, &store));
        checks.push(file_system(&store));
    }
    checks
}

/// A line for each program that could read formats for us. One that is not here is nothing wrong, unless a person named it.
fn adapters(found: &Adapters, chosen: &BTreeMap<&'static str, Program>) -> Vec<Check> {
    let check = |tool: &Tool| {
        let (name, formats) = (tool.name, tool.formats().collect::<Vec<_>>().join(" "));
        if let Some(here) = found.all().iter().find(|here| here.tool.name == name) {
            let program = here.program.display();
            return match here.version() {
                Some(version) => Check::ok(
                    "adapter",
                    format!("{name}: {program}, {version}, reads {formats}"),
                ),
                None if tool.version.is_empty() => Check::ok(
                    "adapter",
                    format!("{name}: {program}, which says no version, reads {formats}"),
                ),
                None => Check::not_ok(
                    "adapter",
                    State::Warning,
                    format!("{name}: {program} does not say its version"),
                    &tool.how_to_enable(),
                ),
            };
        }
        match chosen.get(name) {
            Some(Program::Off) => Check::ok(
                "adapter",
                format!("{name}: switched off; would read {formats}"),
            ),
            Some(Program::At(place)) => Check::not_ok(
                "adapter",
                State::Warning,
                format!("{name}: {} is no program", place.display()),
                &tool.how_to_enable(),
            ),
            None => Check {
                advice: Some(tool.how_to_enable()),
                ..Check::ok("adapter", format!("{name}: not here; would read {formats}"))
            },
        }
    };
    TOOLS.iter().map(check).collect()
}

/// Silent where all is made that can be asked for.
fn presets(config: &Config) -> Option<Check> {
    let left = config.media.presets.left_to_others();
    let left: Vec<_> = left
        .map(|(preset, asks)| format!("{} is not made here: it asks for {asks}", preset.id))
        .collect();
    let advice = "its files are copied from peers that have them; change the preset by a [[preset]] section to make them here";
    (!left.is_empty()).then(|| Check::not_ok("presets", State::Warning, left.join("; "), advice))
}

fn marker(config: &Config, store: &Result<Store, store::Error>) -> Check {
    let root = config.media.root.display();
    match store {
        Ok(store) if store.node() == config.node.cluster_id.as_str() => {
            Check::ok("marker", format!("{root} is this node's media root"))
        }
        Ok(store) => Check::not_ok(
            "marker",
            State::Warning,
            format!("{root} was made for {}", store.node()),
            "check media.root and node.cluster_id in the configuration",
        ),
        Err(error) => Check::not_ok(
            "marker",
            State::Fatal,
            chain(error),
            "mount the media volume, or correct media.root; for a new volume, restore onto it what there is of the media, then `emsync doctor --new-volume`",
        ),
    }
}

async fn catalogue_checks(config: &Config, deep: bool, locks: &[Held], checks: &mut Vec<Check>) {
    let name = "catalogue";
    let path = database(config);
    let health = match catalogue::examine(&path, deep).await {
        Ok(health) => health,
        Err(error) => {
            let detail = chain(&error);
            checks.push(Check::not_ok(name, State::Fatal, detail, REBUILD));
            return;
        }
    };
    checks.push(if health.problems.is_empty() {
        let which = if deep {
            "every index and row"
        } else {
            "its structure"
        };
        Check::ok(name, format!("{}: {which} is sound", path.display()))
    } else {
        let detail = format!("{}: {}", path.display(), health.problems.join("; "));
        Check::not_ok(name, State::Fatal, detail, REBUILD)
    });
    checks.push(schema(&health));
    checks.push(leases(&health, locks));
}

fn schema(health: &Health) -> Check {
    let detail = format!("version {}", health.version);
    match health.version.cmp(&health.newest) {
        std::cmp::Ordering::Equal => Check::ok("schema", detail),
        std::cmp::Ordering::Less => Check::ok(
            "schema",
            format!("{detail}; the next command brings it to {}", health.newest),
        ),
        std::cmp::Ordering::Greater => Check::not_ok(
            "schema",
            State::Fatal,
            format!("{detail}, and this emsync knows up to {}", health.newest),
            "use the emsync that wrote it, or a newer one",
        ),
    }
}

/// Claims whose holder is gone harm nobody: the next run of that peer takes them back.
fn leases(health: &Health, locks: &[Held]) -> Check {
    let runs = |peer: &str| {
        locks
            .iter()
            .any(|held| held.activity == format!("run-{peer}"))
    };
    let left: Vec<String> = health
        .leases
        .iter()
        .filter(|(peer, _)| !runs(peer))
        .map(|(peer, count)| format!("{count} of {peer:?}"))
        .collect();
    let detail = if left.is_empty() {
        "none is left over".to_owned()
    } else {
        format!(
            "left by a killed run: {}; the next one takes them back",
            left.join(", ")
        )
    };
    Check::ok("leases", detail)
}

async fn snapshots(store: &Store, seams: &Seams) -> Check {
    let name = "snapshots";
    let listed = store.snapshots().and_then(|all| Ok((all.list()?, all)));
    let (listed, all) = match listed {
        Ok(found) => found,
        Err(error) => {
            return Check::not_ok(
                name,
                State::Failed,
                chain(&error),
                "make .emsync/snapshots of the media root usable",
            );
        }
    };
    let Some(newest) = listed.last() else {
        return Check::not_ok(
            name,
            State::Warning,
            "there is none",
            "the next `sync`, `seed` or `import` takes one",
        );
    };
    let path = all.path(&newest.name);
    match catalogue::examine_copy(&path).await {
        Ok(health) if health.is_sound() => age(newest, listed.len(), seams),
        Ok(health) => Check::not_ok(
            name,
            State::Failed,
            format!("{}: {}", path.display(), health.problems.join("; ")),
            "remove it; the next `sync`, `seed` or `import` takes a new one",
        ),
        Err(error) => Check::not_ok(
            name,
            State::Failed,
            chain(&error),
            "remove it; the next `sync`, `seed` or `import` takes a new one",
        ),
    }
}

fn age(newest: &Snapshot, count: usize, seams: &Seams) -> Check {
    let age = seams.clock.now().since(newest.taken_at);
    let detail = format!(
        "{count}, the newest {} is {} h old and opens",
        newest.name,
        age.as_secs() / 3_600
    );
    if age <= INTERVAL * 2 {
        return Check::ok("snapshots", detail);
    }
    Check::not_ok(
        "snapshots",
        State::Warning,
        detail,
        "a `sync` or `import` a day keeps them young; look for its warnings",
    )
}

fn space(config: &Config, store: &Store) -> Check {
    let reserve = config.limits.reserve;
    match store.free_bytes() {
        Ok(free) if free >= reserve => Check::ok(
            "space",
            format!(
                "{} are free, limits.reserve keeps {}",
                text::bytes(free),
                text::bytes(reserve)
            ),
        ),
        Ok(free) => Check::not_ok(
            "space",
            State::Failed,
            format!(
                "only {} are free, limits.reserve keeps {}",
                text::bytes(free),
                text::bytes(reserve)
            ),
            "free some space on the media volume: nothing is fetched before",
        ),
        Err(error) => Check::not_ok(
            "space",
            State::Failed,
            chain(&error),
            "look at the media volume",
        ),
    }
}

fn file_system(store: &Store) -> Check {
    let name = "file system";
    match store.facts() {
        Ok(facts) => {
            let can = |able: bool| if able { "yes" } else { "no" };
            let detail = format!(
                "upper and lower case are one: {}; hard links: {}; reflinks: {}",
                can(facts.folds_case),
                can(facts.hard_links),
                facts.reflinks.map_or("unknown", can)
            );
            Check::ok(name, detail)
        }
        Err(error) => Check::not_ok(
            name,
            State::Failed,
            chain(&error),
            "make the media root writable for this user",
        ),
    }
}
