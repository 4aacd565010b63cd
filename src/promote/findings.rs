//! What `emsync promote --check` finds, in words for somebody who has minutes to decide: each finding says what is the matter, what it
//! costs, and what mends it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::Generated;
use crate::model::{Filter, Timestamp};
use crate::node::doctor::{Check, State};
use crate::protocol::lenient::parse_date;
use crate::status::PeerStatus;
use crate::text;

/// How old a proof may be.
const FRESH: Duration = Duration::from_secs(24 * 3_600);

/// Findings about a peer of this name. Each says what is the matter, what it would cost, and what mends it.
pub(super) struct Named<'a>(pub(super) &'a str);

impl Named<'_> {
    pub(super) fn compared(&self, peer: &PeerStatus, now: Timestamp) -> Check {
        let (name, peer_name) = ("comparison", self.0);
        let verify = format!("`emsync verify {peer_name}` while {peer_name} still answers");
        let Some(as_of) = &peer.as_of else {
            return Check::not_ok(
                name,
                State::Failed,
                format!("never compared with {peer_name}: nobody knows what is missing here"),
                &verify,
            );
        };
        let age = parse_date(as_of).map(|at| now.since(at));
        let when = format!("as of {as_of} ({})", ago(age));
        match peer.in_sync {
            Some(true) if age.is_some_and(|age| age <= FRESH) => {
                Check::ok(name, format!("equal in every layer {when}"))
            }
            Some(true) => Check::not_ok(
                name,
                State::Warning,
                format!("equal in every layer {when}; what changed there since may be missing"),
                &verify,
            ),
            None => Check::not_ok(
                name,
                State::Warning,
                format!(
                    "things changed here since the comparison {when}: whether both are equal now is not known"
                ),
                &verify,
            ),
            // What was left out is said by `layers`.
            Some(false) if peer.equal_in_part => Check::not_ok(
                name,
                State::Warning,
                format!(
                    "equal {when} in what was compared, which is not everything: what was left out was never looked at"
                ),
                &format!(
                    "`emsync verify {peer_name} --full-listing` once filters and switched-off layers are gone"
                ),
            ),
            Some(false) => Check::not_ok(
                name,
                State::Failed,
                format!("not equal {when}: what differs stays missing, or old, for ever"),
                &format!(
                    "`emsync sync {peer_name}`, then `emsync verify {peer_name}`, which names what is left"
                ),
            ),
        }
    }

    pub(super) fn pulled(&self, peer: &PeerStatus, now: Timestamp) -> Check {
        let (name, peer_name) = ("metadata", self.0);
        let Some(until) = &peer.watermark else {
            return Check::not_ok(
                name,
                State::Failed,
                format!("no listing of {peer_name} was ever taken to its end: records are missing"),
                &format!("`emsync seed {peer_name}` while {peer_name} still answers"),
            );
        };
        let age = parse_date(until).map(|at| now.since(at));
        match age.filter(|age| *age <= FRESH) {
            Some(_) => Check::ok(name, format!("its changes up to {until} are here")),
            None => Check::not_ok(
                name,
                State::Warning,
                format!(
                    "its changes up to {until} ({}) are here; what was saved there later is lost with it",
                    ago(age)
                ),
                &format!("`emsync sync {peer_name}` while {peer_name} still answers"),
            ),
        }
    }

    pub(super) fn queue(&self, peer: &PeerStatus) -> Check {
        match (peer.jobs.open, peer.to_send.open) {
            (0, 0) => Check::ok("queue", "nothing waits"),
            (0, send) => Check::not_ok(
                "queue",
                State::Warning,
                match send {
                    1 => "1 change of this node was not sent; it stays here, and nothing is lost"
                        .to_owned(),
                    many => format!(
                        "{} changes of this node were not sent; they stay here, and nothing is lost",
                        text::count(many)
                    ),
                },
                "nothing has to be done",
            ),
            (open, _) => Check::not_ok(
                "queue",
                State::Failed,
                format!(
                    "{} ({}) of what {} listed are not done here yet: files among them are lost with it",
                    text::counted(open, "job"),
                    text::bytes(peer.jobs.open_bytes),
                    self.0
                ),
                &format!(
                    "`emsync sync {0}` ends them while {0} still answers",
                    self.0
                ),
            ),
        }
    }

    pub(super) fn set_aside(&self, peer: &PeerStatus) -> Check {
        let (name, jobs) = ("set aside", &peer.jobs);
        let held = format!(
            "{} held by the guard: what {} deleted lives on here",
            text::counted(jobs.held, "delete"),
            self.0
        );
        let let_go = format!(
            "`emsync sync {} --max-delete {}` lets the deletes go",
            self.0, jobs.held
        );
        let aside = format!(
            "{} set aside after the last try: missing here, or old",
            text::counted(jobs.quarantined, "item")
        );
        let reasons = format!(
            "`emsync quarantine list` has the reasons, `emsync sync {}` tries once more",
            self.0
        );
        match (jobs.quarantined, jobs.held) {
            (0, 0) => Check::ok(name, "nothing, and no delete is held"),
            (0, _) => Check::not_ok(name, State::Warning, held, &let_go),
            (_, 0) => Check::not_ok(name, State::Failed, aside, &reasons),
            (_, _) => Check::not_ok(
                name,
                State::Failed,
                format!("{aside}; {held}"),
                &format!("{reasons}; {let_go}"),
            ),
        }
    }

    pub(super) fn layers(
        &self,
        pull_originals: bool,
        generated: Generated,
        filter: &Filter,
    ) -> Check {
        let mut missing = Vec::new();
        if !pull_originals {
            missing.push("pull_originals is off: originals stay there".to_owned());
        }
        if generated == Generated::Off {
            missing.push("generated is off: thumbnails and crops stay there".to_owned());
        }
        if !filter.is_empty() {
            missing.push(format!("a filter leaves files out: {filter}"));
        }
        match missing.is_empty() {
            true => Check::ok(
                "layers",
                "originals and generated files of all assets are pulled",
            ),
            false => Check::not_ok(
                "layers",
                State::Failed,
                missing.join("; "),
                &format!(
                    "take that back in emsync.toml (`emsync peer filter {0} --clear`), then `emsync seed {0}`; or promote a node that holds everything",
                    self.0
                ),
            ),
        }
    }

    pub(super) fn originals(&self, missing: u64) -> Check {
        match missing {
            0 => Check::ok("originals", "every original that a record states has come"),
            some => Check::not_ok(
                "originals",
                State::Failed,
                format!(
                    "{} that records state are not here: lost with {}, unless another node has them",
                    text::counted(some, "original"),
                    self.0
                ),
                &format!(
                    "`emsync seed {0}` while {0} still answers; `--json` names them",
                    self.0
                ),
            ),
        }
    }

    pub(super) fn damage(&self, files: u64) -> Check {
        match files {
            0 => Check::ok("damage", "no file is known to differ from its row"),
            some => Check::not_ok(
                "damage",
                State::Failed,
                format!(
                    "{} here are cut, changed or gone from this disk",
                    text::counted(some, "file")
                ),
                &format!(
                    "`emsync sync {0}` fetches them again while {0} still answers",
                    self.0
                ),
            ),
        }
    }

    /// What went to make room is at its peer alone, and nowhere once that is gone.
    pub(super) fn room(&self, (files, bytes): (u64, u64)) -> Check {
        match files {
            0 => Check::ok("room", "no file went to make room"),
            some => Check::not_ok(
                "room",
                State::Failed,
                format!(
                    "{} ({}) went to make room: at {} alone, and lost with it",
                    text::counted(some, "file"),
                    text::bytes(bytes),
                    self.0
                ),
                &format!(
                    "take serve.max_cache away, then `emsync fetch {0} --all` while {0} still answers",
                    self.0
                ),
            ),
        }
    }

    /// Whether the former master, once it is back, is kept from overwriting what its users saved meanwhile.
    pub(super) fn return_of(&self, is_held_off: bool) -> Check {
        match is_held_off {
            true => Check::ok(
                "return",
                format!(
                    "what {} saves meanwhile is heard before it is overwritten",
                    self.0
                ),
            ),
            false => Check::not_ok(
                "return",
                State::Warning,
                format!(
                    "no key here is named {0}: should that EMDB come back and pull from here, it overwrites what was saved there meanwhile",
                    self.0
                ),
                &give_a_key(self.0),
            ),
        }
    }
}

/// What makes a former master that is an EMDB known here when it comes back.
#[must_use]
pub fn give_a_key(peer: &str) -> String {
    format!(
        "`emsync key add {peer}`, and that key as entermediakey of this node's record in its editingcluster list: with any other it is not known"
    )
}

pub(super) fn conflicts(kept: u64) -> Check {
    match kept {
        0 => Check::ok("conflicts", "none is kept"),
        some => Check::not_ok(
            "conflicts",
            State::Warning,
            format!(
                "{} kept with the edits that lost; whoever could say which is right may be gone with the master",
                text::counted(some, "conflict")
            ),
            "`emsync conflicts list`, and `emsync conflicts restore` where the other side was right",
        ),
    }
}

pub(super) fn reachable(listen: SocketAddr) -> Check {
    match listen.ip().is_loopback() {
        false => Check::ok("address", format!("serves at {listen}")),
        true => Check::not_ok(
            "address",
            State::Warning,
            format!("serves at {listen}, which no other machine can reach"),
            &format!(
                "write listen = \"0.0.0.0:{}\" under [serve] in emsync.toml, or put a proxy in front, before others are to pull from here",
                listen.port()
            ),
        ),
    }
}

/// How long ago something was, in the unit that a person would choose.
fn ago(age: Option<Duration>) -> String {
    let Some(age) = age else {
        return "nobody knows when".to_owned();
    };
    let minutes = age.as_secs() / 60;
    let (number, unit) = match minutes {
        0..120 => (minutes, "minute"),
        120..2_880 => (minutes / 60, "hour"),
        _ => (minutes / 1_440, "day"),
    };
    format!("{} ago", text::counted(number, unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::JobCounts;

    const NOW: &str = "2026-11-29T12:00:00.000Z";

    /// A mirror that could take over at [`NOW`].
    fn fit() -> PeerStatus {
        PeerStatus {
            name: "dam".to_owned(),
            base_url: "http://dam/assets".to_owned(),
            enabled: true,
            paused_since: None,
            in_sync: Some(true),
            equal_in_part: false,
            as_of: Some("2026-11-29T09:00:00.000Z".to_owned()),
            layers: None,
            watermark: Some("2026-11-29T11:15:00.000Z".to_owned()),
            last_success: None,
            skew_ms: None,
            jobs: JobCounts::default(),
            push: false,
            pushed_until: None,
            to_send: JobCounts::default(),
        }
    }

    /// As it is printed: what is the matter and what it costs, then what mends it.
    fn said(check: &Check) -> String {
        let state = match check.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failed | State::Fatal => "NOT OK",
        };
        let advice = check.advice.as_ref().map(|advice| format!("\n-> {advice}"));
        let advice = advice.unwrap_or_default();
        format!("{} {state}: {}{advice}", check.name, check.detail)
    }

    #[track_caller]
    fn says(check: &Check, wanted: &str) {
        assert_eq!(said(check), wanted);
        // Whoever reads it has minutes: what is not well says what mends it.
        assert_eq!(check.state == State::Ok, check.advice.is_none());
    }

    #[test]
    fn each_finding_of_a_comparison_and_a_listing_says_what_it_costs_and_what_mends_it() {
        let (dam, now) = (Named("dam"), parse_date(NOW).unwrap());
        let compared = |change: &dyn Fn(&mut PeerStatus)| {
            let mut peer = fit();
            change(&mut peer);
            dam.compared(&peer, now)
        };
        says(
            &compared(&|_| ()),
            "comparison ok: equal in every layer as of 2026-11-29T09:00:00.000Z (3 hours ago)",
        );
        says(
            &compared(&|peer| peer.as_of = None),
            "comparison NOT OK: never compared with dam: nobody knows what is missing here\n\
             -> `emsync verify dam` while dam still answers",
        );
        says(
            &compared(&|peer| peer.as_of = Some("2026-11-20T12:00:00.000Z".to_owned())),
            "comparison warning: equal in every layer as of 2026-11-20T12:00:00.000Z (9 days ago); what changed there since may be missing\n\
             -> `emsync verify dam` while dam still answers",
        );
        says(
            &compared(&|peer| peer.in_sync = None),
            "comparison warning: things changed here since the comparison as of 2026-11-29T09:00:00.000Z (3 hours ago): whether both are equal now is not known\n\
             -> `emsync verify dam` while dam still answers",
        );
        says(
            &compared(&|peer| (peer.in_sync, peer.equal_in_part) = (Some(false), true)),
            "comparison warning: equal as of 2026-11-29T09:00:00.000Z (3 hours ago) in what was compared, which is not everything: what was left out was never looked at\n\
             -> `emsync verify dam --full-listing` once filters and switched-off layers are gone",
        );
        says(
            &compared(&|peer| peer.in_sync = Some(false)),
            "comparison NOT OK: not equal as of 2026-11-29T09:00:00.000Z (3 hours ago): what differs stays missing, or old, for ever\n\
             -> `emsync sync dam`, then `emsync verify dam`, which names what is left",
        );
        says(
            &dam.pulled(&fit(), now),
            "metadata ok: its changes up to 2026-11-29T11:15:00.000Z are here",
        );
        let mut peer = fit();
        peer.watermark = Some("2026-11-27T12:00:00.000Z".to_owned());
        says(
            &dam.pulled(&peer, now),
            "metadata warning: its changes up to 2026-11-27T12:00:00.000Z (2 days ago) are here; what was saved there later is lost with it\n\
             -> `emsync sync dam` while dam still answers",
        );
        peer.watermark = None;
        says(
            &dam.pulled(&peer, now),
            "metadata NOT OK: no listing of dam was ever taken to its end: records are missing\n\
             -> `emsync seed dam` while dam still answers",
        );
    }

    #[test]
    fn each_finding_of_what_waits_is_set_aside_or_is_left_out_says_so_too() {
        let dam = Named("dam");
        let jobs = |open, quarantined, held| JobCounts {
            open,
            open_bytes: open << 20,
            quarantined,
            held,
        };
        let with = |jobs, to_send| PeerStatus {
            jobs,
            to_send,
            ..fit()
        };
        says(&dam.queue(&fit()), "queue ok: nothing waits");
        says(
            &dam.queue(&with(jobs(0, 0, 0), jobs(1, 0, 0))),
            "queue warning: 1 change of this node was not sent; it stays here, and nothing is lost\n\
             -> nothing has to be done",
        );
        says(
            &dam.queue(&with(jobs(3, 0, 0), jobs(0, 0, 0))),
            "queue NOT OK: 3 jobs (3.00 MiB) of what dam listed are not done here yet: files among them are lost with it\n\
             -> `emsync sync dam` ends them while dam still answers",
        );
        says(
            &dam.set_aside(&fit()),
            "set aside ok: nothing, and no delete is held",
        );
        says(
            &dam.set_aside(&with(jobs(0, 0, 12), jobs(0, 0, 0))),
            "set aside warning: 12 deletes held by the guard: what dam deleted lives on here\n\
             -> `emsync sync dam --max-delete 12` lets the deletes go",
        );
        says(
            &dam.set_aside(&with(jobs(0, 1, 0), jobs(0, 0, 0))),
            "set aside NOT OK: 1 item set aside after the last try: missing here, or old\n\
             -> `emsync quarantine list` has the reasons, `emsync sync dam` tries once more",
        );
        says(
            &dam.set_aside(&with(jobs(0, 2, 1), jobs(0, 0, 0))),
            "set aside NOT OK: 2 items set aside after the last try: missing here, or old; 1 delete held by the guard: what dam deleted lives on here\n\
             -> `emsync quarantine list` has the reasons, `emsync sync dam` tries once more; `emsync sync dam --max-delete 1` lets the deletes go",
        );
        let all = Filter::default();
        says(
            &dam.layers(true, Generated::Auto, &all),
            "layers ok: originals and generated files of all assets are pulled",
        );
        says(
            &dam.layers(false, Generated::Off, &all),
            "layers NOT OK: pull_originals is off: originals stay there; generated is off: thumbnails and crops stay there\n\
             -> take that back in emsync.toml (`emsync peer filter dam --clear`), then `emsync seed dam`; or promote a node that holds everything",
        );
        says(
            &dam.originals(0),
            "originals ok: every original that a record states has come",
        );
        says(
            &dam.originals(1_204),
            "originals NOT OK: 1,204 originals that records state are not here: lost with dam, unless another node has them\n\
             -> `emsync seed dam` while dam still answers; `--json` names them",
        );
        says(
            &dam.damage(0),
            "damage ok: no file is known to differ from its row",
        );
        says(
            &dam.damage(2),
            "damage NOT OK: 2 files here are cut, changed or gone from this disk\n\
             -> `emsync sync dam` fetches them again while dam still answers",
        );
        says(&dam.room((0, 0)), "room ok: no file went to make room");
        says(
            &dam.room((1, 1 << 20)),
            "room NOT OK: 1 file (1.00 MiB) went to make room: at dam alone, and lost with it\n\
             -> take serve.max_cache away, then `emsync fetch dam --all` while dam still answers",
        );
        says(&conflicts(0), "conflicts ok: none is kept");
        says(
            &conflicts(3),
            "conflicts warning: 3 conflicts kept with the edits that lost; whoever could say which is right may be gone with the master\n\
             -> `emsync conflicts list`, and `emsync conflicts restore` where the other side was right",
        );
        says(
            &dam.return_of(true),
            "return ok: what dam saves meanwhile is heard before it is overwritten",
        );
        says(
            &dam.return_of(false),
            "return warning: no key here is named dam: should that EMDB come back and pull from here, it overwrites what was saved there meanwhile\n\
             -> `emsync key add dam`, and that key as entermediakey of this node's record in its editingcluster list: with any other it is not known",
        );
        says(
            &reachable("192.0.2.7:7700".parse().unwrap()),
            "address ok: serves at 192.0.2.7:7700",
        );
        says(
            &reachable("127.0.0.1:7700".parse().unwrap()),
            "address warning: serves at 127.0.0.1:7700, which no other machine can reach\n\
             -> write listen = \"0.0.0.0:7700\" under [serve] in emsync.toml, or put a proxy in front, before others are to pull from here",
        );
    }
}
