//! `emsync why ID`: everything that stands between one item and being in sync, layer by layer.

use super::args::{Global, Why};
use super::{ExitCode, output};
use crate::why::{self, Answer, Layer};

pub(super) async fn run(global: &Global, args: &Why) -> anyhow::Result<ExitCode> {
    let node = super::open(global).await?;
    let answer = why::about(&node, &args.id).await?;
    let Some(answer) = answer else {
        node.catalogue.close().await;
        anyhow::bail!(
            "nothing is known here of {:?}: no record, no file, no job, nothing in the trash",
            args.id
        );
    };
    if args.json {
        output::json(&answer)?;
    } else {
        print(&answer)?;
    }
    node.catalogue.close().await;
    Ok(if answer.is_well {
        ExitCode::Ok
    } else {
        ExitCode::Partial
    })
}

fn print(answer: &Answer) -> anyhow::Result<()> {
    output::line(&answer.item)?;
    for (name, layer) in answer.layers.named() {
        print_layer(name, layer)?;
    }
    for (name, lines) in answer.lines() {
        for (at, line) in lines.iter().enumerate() {
            let head = if at == 0 { name } else { "" };
            output::line(&format!("  {head:<11} {line}"))?;
        }
    }
    output::line(if answer.is_well {
        "  nothing is wrong with it here"
    } else {
        "  it needs a person, or another try"
    })?;
    Ok(())
}

fn print_layer(name: &str, layer: &Layer) -> anyhow::Result<()> {
    output::line(&format!("  {name:<11} {}", layer.state))?;
    for line in &layer.details {
        output::line(&format!("  {:<11}   {line}", ""))?;
    }
    Ok(())
}
