//! Both nodes edit one record: the master's version wins, the mirror's is kept, shown, restored, and sent to the master.

use anyhow::Context as _;
use serde_json::json;

use super::{MASTER, say, sync};
use crate::edits::{self, Change, Side};
use crate::model::RecordKey;
use crate::monitor::Silent;
use crate::node::Node;
use crate::pipeline::{self, Options};
use crate::pipeline::{Ways, summary};
use crate::pull::metadata::Scope;
use crate::shutdown::Shutdown;

/// The member that both edit.
const MEMBER: &str = "headline";

/// Plays it. The mirror pushes to the master.
pub(super) async fn edit(
    (master, mirror): (&Node, &Node),
    key: &RecordKey,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    headline(mirror, key, "As the mirror saw it").await?;
    headline(master, key, "As its owner saw it").await?;
    sync(mirror, Scope::Changes, shutdown).await?;
    let kept = mirror.catalogue.conflicts(1).await?.pop();
    let conflict = kept.context("a conflict")?;
    for difference in edits::differences(&conflict)? {
        let shown = |side: Option<serde_json::Value>| side.unwrap_or_default().to_string();
        say(&format!(
            "   {}: {} was taken, {} is kept",
            difference.member,
            shown(difference.remote),
            shown(difference.local)
        ))?;
    }
    edits::restore(mirror, &conflict, Side::Local, false).await?;
    say("   restored on the mirror, as a new edit, and pushed:")?;
    let settings = mirror.config.peer(MASTER)?.clone();
    let options = Options::of(Scope::Changes);
    let monitor = std::sync::Arc::new(Silent);
    let outcome = pipeline::push_peer(mirror, &settings, &options, monitor, shutdown).await?;
    say(&format!(
        "   {}",
        summary(MASTER, &outcome.report, 0, Ways::Out)
    ))?;
    if let Some(error) = outcome.error {
        return Err(error.into());
    }
    let there = master.catalogue.record(key).await?.context("the record")?;
    let there: serde_json::Value = serde_json::from_str(&there.record.source)?;
    say(&format!("   the master has {MEMBER}: {}", there[MEMBER]))
}

async fn headline(node: &Node, key: &RecordKey, text: &str) -> anyhow::Result<()> {
    let members = json!({ MEMBER: text });
    let members = members.as_object().cloned().unwrap_or_default();
    edits::put(node, key, &Change::Some(members), false).await?;
    Ok(())
}
