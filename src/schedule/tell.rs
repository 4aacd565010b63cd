//! Tells others how a run ended: a monitor that counts the good ends, somebody who looks after the bad ones.
//!
//! It is tried a few times, and never holds up a run. What nobody took is in the log; what the end of the node cut short is told at its
//! next start; addresses are in no log (I13).

use std::process::Stdio;
use std::time::Duration;

use crate::catalogue::RunOutcome;
use crate::config::{Network, Secret};
use crate::node::Node;
use crate::peer::route::{self, Reach};
use crate::shutdown::Shutdown;

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(20);
/// Waits between tries.
const AGAIN: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(10)];
/// Longest time a command may take.
const COMMAND: Duration = Duration::from_secs(60);

/// A run that has ended, as a webhook gets it.
#[derive(Debug, serde::Serialize)]
pub(super) struct Told<'a> {
    /// The node's name.
    pub(super) node: &'a str,
    pub(super) event: &'a str,
    pub(super) action: &'a str,
    pub(super) run: i64,
    pub(super) outcome: RunOutcome,
    pub(super) detail: Option<&'a str>,
    pub(super) started_at: String,
    pub(super) ended_at: String,
}

/// Tells whom the configuration names; `ping` is what the event says itself. Answers whether that came to its end, which it does not when
/// the node is asked to end meanwhile.
pub(super) async fn tell(
    node: &Node,
    ping: Option<&Secret>,
    told: &Told<'_>,
    stop: &Shutdown,
) -> bool {
    let everybody = async {
        let (notify, network) = (&node.config.notify, &node.config.network);
        match told.outcome {
            RunOutcome::Ok | RunOutcome::TransferLimit | RunOutcome::TimeLimit => {
                if let Some(ping) = ping.or(notify.ping.as_ref()) {
                    ask(network, ("ping", ping), None).await;
                }
            }
            outcome if outcome.needs_a_person() => {
                let (webhook, command) = (&notify.webhook, &notify.command);
                let body = serde_json::to_string(told).unwrap_or_default();
                tokio::join!(
                    async {
                        if let Some(webhook) = webhook {
                            ask(network, ("webhook", webhook), Some(body)).await;
                        }
                    },
                    async {
                        if let Some(command) = command {
                            run(command, told).await;
                        }
                    }
                );
            }
            _ => {}
        }
    };
    tokio::select! {
        () = everybody => true,
        () = stop.wait() => {
            tracing::warn!(run = told.run, "the node ends before all were told");
            false
        }
    }
}

async fn ask(network: &Network, (what, address): (&'static str, &Secret), body: Option<String>) {
    let mut waits = AGAIN.into_iter();
    loop {
        let Err(reason) = ask_once(network, address, body.clone()).await else {
            return;
        };
        let Some(wait) = waits.next() else {
            tracing::error!(what, reason, "nobody takes it");
            return;
        };
        tracing::debug!(what, reason, "asked again");
        tokio::time::sleep(wait).await;
    }
}

/// Answers why nobody took it, without the address.
async fn ask_once(network: &Network, address: &Secret, body: Option<String>) -> Result<(), String> {
    let client = route::builder(network, Reach::Any)
        .map_err(|error| crate::error::chain(&error))?
        .user_agent(concat!("emsync/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::limited(3))
        .timeout(ANSWER)
        .build()
        .map_err(|error| crate::error::chain(&error.without_url()))?;
    let request = match body {
        Some(body) => client
            .post(address.expose())
            .header("content-type", "application/json")
            .body(body),
        None => client.get(address.expose()),
    };
    let answer = request.send().await;
    let answer = answer.map_err(|error| crate::error::chain(&error.without_url()))?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(status.to_string()),
    }
}

async fn run(command: &str, told: &Told<'_>) {
    let child = tokio::process::Command::new("sh")
        .args(["-c", command])
        .env("EMSYNC_NODE", told.node)
        .env("EMSYNC_EVENT", told.event)
        .env("EMSYNC_ACTION", told.action)
        .env("EMSYNC_RUN", told.run.to_string())
        .env("EMSYNC_OUTCOME", told.outcome.name())
        .env("EMSYNC_DETAIL", told.detail.unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    match tokio::time::timeout(COMMAND, child).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => tracing::error!(%status, "notify.command failed"),
        Ok(Err(error)) => tracing::error!(%error, "notify.command was not run"),
        Err(_) => tracing::error!("notify.command took too long, and was ended"),
    }
}
