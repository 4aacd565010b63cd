//! `emsync quarantine …`: work that was set aside after its last try.

use super::args::{Global, Quarantine, Which};
use super::{ExitCode, output};
use crate::aside::{self, Deed, kind};
use crate::catalogue::{Aside, Lane, Standing};
use crate::node::Node;

/// Jobs read at a time.
const PAGE: usize = 500;

pub(super) async fn run(global: &Global, command: Quarantine) -> anyhow::Result<ExitCode> {
    let looks_only = matches!(
        &command,
        Quarantine::Retry(Which { dry_run: true, .. })
            | Quarantine::Drop(Which { dry_run: true, .. })
    );
    let node = if looks_only {
        super::open_to_look(global).await?
    } else {
        super::open(global).await?
    };
    let code = match command {
        Quarantine::List { peer, json } => list(&node, peer.as_deref(), json).await?,
        Quarantine::Retry(which) => each(&node, &which, Deed::Retry).await?,
        Quarantine::Drop(which) => each(&node, &which, Deed::Drop).await?,
    };
    node.catalogue.close().await;
    Ok(code)
}

/// A job as `--json` prints it.
#[derive(serde::Serialize)]
struct Printed<'a> {
    id: i64,
    peer: &'a str,
    subject: &'a str,
    asset: &'a str,
    lane: Lane,
    attempts: u32,
    reason: &'a str,
    since: String,
}

async fn list(node: &Node, peer: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    if let Some(peer) = peer {
        node.config.peer(peer)?;
    }
    let (mut after, mut count) = (0, 0);
    loop {
        let page = node
            .catalogue
            .quarantined(Aside::Of(peer), after, PAGE)
            .await?;
        for job in &page {
            count += 1;
            if json {
                output::json(&Printed {
                    id: job.id,
                    peer: &job.peer,
                    subject: &job.subject,
                    asset: &job.asset,
                    lane: job.lane,
                    attempts: job.attempts,
                    reason: &job.reason,
                    since: job.since.to_string(),
                })?;
            } else {
                output::line(&format!(
                    "{:>6}  {}  {}  (asset {}, {}, {} since {})",
                    job.id,
                    if job.peer.is_empty() {
                        "this node"
                    } else {
                        &job.peer
                    },
                    job.subject,
                    job.asset,
                    tries(job.attempts),
                    kind(job.lane),
                    job.since
                ))?;
                output::line(&format!("        {}", job.reason))?;
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = last.id,
            _ => break,
        }
    }
    if !json {
        output::line(&format!("{} set aside", output::count(count)))?;
    }
    Ok(ExitCode::Ok)
}

fn tries(attempts: u32) -> String {
    match attempts {
        1 => "1 try".to_owned(),
        more => format!("{} tries", output::count(u64::from(more))),
    }
}

/// What became of a job, as `--json` prints it.
#[derive(serde::Serialize)]
struct Done<'a> {
    id: Option<i64>,
    subject: &'a str,
    done: bool,
    says: String,
}

async fn each(node: &Node, which: &Which, deed: Deed) -> anyhow::Result<ExitCode> {
    let peer = which.peer.as_deref();
    if let Some(peer) = peer {
        node.config.peer(peer)?;
    }
    let (mut done, mut undone) = (0, 0);
    if which.all {
        let mut after = 0;
        loop {
            let page = node
                .catalogue
                .quarantined(Aside::Of(peer), after, PAGE)
                .await?;
            some(node, &page, which, deed, (&mut done, &mut undone)).await?;
            match page.last() {
                Some(last) if page.len() == PAGE => after = last.id,
                _ => break,
            }
        }
    }
    for item in &which.items {
        let found = node
            .catalogue
            .quarantined(Aside::Named(item, peer), 0, PAGE)
            .await?;
        if found.is_empty() {
            undone += 1;
            let says =
                "nothing that was set aside is called so; a running sync may have it in hand"
                    .to_owned();
            tell(which, None, item, (false, says))?;
        }
        some(node, &found, which, deed, (&mut done, &mut undone)).await?;
    }
    if !which.json {
        let would = if which.dry_run { "would be " } else { "" };
        let what = match deed {
            Deed::Retry => "ready for the next sync",
            Deed::Drop => "dropped",
        };
        output::line(&format!("{} {would}{what}", output::count(done)))?;
    }
    Ok(match (done, undone) {
        (_, 0) => ExitCode::Ok,
        (0, _) => ExitCode::Other,
        _ => ExitCode::Partial,
    })
}

async fn some(
    node: &Node,
    jobs: &[Standing],
    which: &Which,
    deed: Deed,
    (done, undone): (&mut u64, &mut u64),
) -> anyhow::Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let became = if which.dry_run {
        jobs.iter().map(|job| aside::would(job, deed)).collect()
    } else {
        aside::act(node, jobs, deed).await?
    };
    for (job, became) in jobs.iter().zip(became) {
        *done += u64::from(became.done);
        *undone += u64::from(became.is_failure);
        let told = (became.done, became.says);
        tell(which, Some(job.id), &job.subject, told)?;
    }
    Ok(())
}

fn tell(
    which: &Which,
    id: Option<i64>,
    subject: &str,
    (done, says): (bool, String),
) -> Result<(), output::Error> {
    if which.json {
        return output::json(&Done {
            id,
            subject,
            done: done && !which.dry_run,
            says,
        });
    }
    let would = if which.dry_run && done {
        "would be: "
    } else {
        ""
    };
    output::line(&format!("{subject}: {would}{says}"))
}
