//! `emsync promote`: this node takes the place of its master, or says whether it could.

use super::args::{Global, Promote};
use super::{ExitCode, output};
use crate::node::Node;
use crate::node::doctor::State;
use crate::promote::{self, Fitness};
use crate::shutdown::Shutdown;

/// Gaps that are printed for people; JSON has more.
const PRINTED: usize = 20;

#[derive(serde::Serialize)]
struct Printed<'a> {
    peer: &'a str,
    #[serde(flatten)]
    fitness: &'a Fitness,
    #[serde(skip_serializing_if = "Option::is_none")]
    promoted: Option<promote::Promoted>,
}

/// How other nodes reach this one.
struct Here {
    cluster_id: String,
    url: String,
}

impl Here {
    fn of(node: &Node) -> Self {
        let serve = &node.config.serve;
        let site = node.config.node.site.to_string();
        // What is written for this machine, or for all of its addresses, is no address for others.
        let url = match serve.listen.ip() {
            ip if ip.is_loopback() || ip.is_unspecified() => {
                let scheme = if serve.tls.is_some() { "https" } else { "http" };
                format!("{scheme}://HOST:{}/{site}", serve.listen.port())
            }
            _ => super::base_url(serve.listen, serve.tls.is_some(), &site),
        };
        Self {
            cluster_id: node.config.node.cluster_id.to_string(),
            url,
        }
    }

    /// What to do on every other node, as it is typed there.
    fn next(&self, promoted: &promote::Promoted) -> Vec<String> {
        let Self { cluster_id, url } = self;
        let former = &promoted.former;
        let mut lines = vec![
            format!(
                "next, on {former} when it is back, before anything else, and on every other node that pulled from it:"
            ),
            format!(
                "  emsync peer add new --url {url} --key-file FILE     the key: `emsync key add NAME` here"
            ),
            "  emsync pull new".to_owned(),
        ];
        if !promoted.keys.is_empty() {
            let keys = promoted.keys.join(", ");
            lines.push(format!("  these have a key of this node already: {keys}"));
        }
        lines.push(format!(
            "on an EMDB: a record in editingcluster with baseurl {url}, clustername {cluster_id}, entermediakey the key"
        ));
        for promote::EmdbPeer { peer, cluster_id } in &promoted.emdb_peers {
            lines.push(format!("  such as on the peer {peer} ({cluster_id})"));
        }
        lines.push(
            "nodes of emsync that pull from here, or from whoever does, say so in `emsync status`"
                .to_owned(),
        );
        lines
    }
}

pub(super) async fn run(
    global: &Global,
    args: &Promote,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let node = match args.check {
        true => super::open_to_look(global).await?,
        false => super::open(global).await?,
    };
    let settings = node.config.peer(&args.peer)?.clone();
    let fitness = promote::fitness(&node, &settings).await?;
    let goes_on = !args.check && (fitness.fit || args.force);
    let promoted = match goes_on {
        false => None,
        true => {
            let _lock = node
                .turn(&format!("run-{}", settings.name), shutdown)
                .await?;
            Some(promote::promote(&node, &settings, shutdown).await?)
        }
    };
    let here = Here::of(&node);
    node.catalogue.close().await;
    let code = match goes_on || fitness.fit {
        true => ExitCode::Ok,
        false => ExitCode::Differs,
    };
    output::read_or_not(match args.json {
        true => output::json(&Printed {
            peer: &settings.name,
            fitness: &fitness,
            promoted,
        })
        .map_err(Into::into),
        false => print(args, &fitness, promoted.as_ref(), &here),
    })?;
    Ok(code)
}

fn print(
    args: &Promote,
    fitness: &Fitness,
    promoted: Option<&promote::Promoted>,
    here: &Here,
) -> anyhow::Result<()> {
    for check in &fitness.checks {
        let state = match check.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failed | State::Fatal => "NOT OK",
        };
        output::line(&format!("{:<11} {state:<8} {}", check.name, check.detail))?;
        if let Some(advice) = &check.advice {
            output::line(&format!("{:<20} {advice}", ""))?;
        }
    }
    for gap in fitness.gaps.iter().take(PRINTED) {
        output::line(&format!("missing: {} (asset {})", gap.path, gap.asset))?;
    }
    let peer = &args.peer;
    match promoted {
        Some(promoted) => {
            let records = output::counted(promoted.records, "record");
            output::line(&format!(
                "{records} of {} are this node's now; what {peer} says of them is kept among the conflicts until it has pulled from here",
                promoted.former
            ))?;
            for refused in &promoted.refused {
                output::line(&format!("not taken over: {refused}"))?;
            }
            if !promoted.held_off {
                output::line(&format!(
                    "no key here is named {peer}: before it comes back, {}",
                    promote::give_a_key(peer)
                ))?;
            }
            for line in here.next(promoted) {
                output::line(&line)?;
            }
        }
        None if fitness.fit => output::line(&format!("fit to take the place of {peer}"))?,
        None => output::line(&format!(
            "NOT fit to take the place of {peer}{}",
            match args.check {
                true => "",
                false => "; nothing was changed, --force does it all the same",
            }
        ))?,
    }
    Ok(())
}
