//! `emsync key …`: keys that other nodes present to this one.

use super::args::{Global, Json, Key};
use super::{ExitCode, output};
use crate::catalogue::Scope;
use crate::node::Node;
use crate::serve::make_key;

pub(super) async fn run(global: &Global, command: Key) -> anyhow::Result<ExitCode> {
    let looks_only = matches!(
        command,
        Key::Add { dry_run: true, .. } | Key::Revoke { dry_run: true, .. }
    );
    let node = if looks_only {
        super::open_to_look(global).await?
    } else {
        super::open(global).await?
    };
    match command {
        Key::Add {
            name,
            write,
            dry_run: true,
        } => {
            anyhow::ensure!(
                !has_key(&node, &name).await?,
                "there is a key for {name:?} already; revoke it first, or choose another name"
            );
            let scope = if write {
                "push to it as well"
            } else {
                "list and fetch"
            };
            output::line(&format!(
                "would make a key for {name:?} that lets it {scope}"
            ))?;
        }
        Key::Revoke {
            name,
            dry_run: true,
        } => {
            anyhow::ensure!(has_key(&node, &name).await?, "there is no key for {name:?}");
            output::line(&format!("would take the key for {name:?} back"))?;
        }
        Key::Add { name, write, .. } => {
            let scope = if write { Scope::Write } else { Scope::Read };
            let (key, text) = make_key(&node.seams, &name, scope, node.seams.clock.now());
            let mut batch = node.catalogue.batch().await?;
            anyhow::ensure!(
                batch.put_key(&key).await?,
                "there is a key for {name:?} already; revoke it first, or choose another name"
            );
            // Nobody can read it later, so a key that could not be printed must not be kept.
            output::line(&text).map_err(|error| {
                anyhow::anyhow!("the key could not be printed and is not kept: {error}")
            })?;
            batch.commit().await?;
        }
        Key::List(Json { json }) => {
            for key in node.catalogue.keys().await? {
                if json {
                    let (scope, created_at) = (key.scope, key.created_at.to_string());
                    output::json(
                        &serde_json::json!({"name": key.name, "id": key.id, "scope": scope, "created_at": created_at}),
                    )?;
                } else {
                    let scope = format!("{:?}", key.scope).to_lowercase();
                    output::line(&format!(
                        "{}  {}  {scope}  {}",
                        key.name, key.id, key.created_at
                    ))?;
                }
            }
        }
        Key::Revoke { name, .. } => {
            let mut batch = node.catalogue.batch().await?;
            anyhow::ensure!(
                batch.remove_key(&name).await?,
                "there is no key for {name:?}"
            );
            batch.commit().await?;
        }
    }
    node.catalogue.close().await;
    Ok(ExitCode::Ok)
}

async fn has_key(node: &Node, name: &str) -> anyhow::Result<bool> {
    let keys = node.catalogue.keys().await?;
    Ok(keys.iter().any(|key| key.name == name))
}
