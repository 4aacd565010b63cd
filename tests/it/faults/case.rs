//! A named case of the catalogue, as data, and the one way in which all of them are run.
//!
//! ```text
//! a master with known content; a clean pass, unless the case begins at nothing
//! for each round: the edit or the fault; one pass; what was expected of it; the invariants
//! the fault is cleared; at most two passes bring parity (I6); one more moves nothing (I5)
//! ```

use std::future::Future;
use std::pin::Pin;

use emsync::cli::ExitCode;
use emsync::config::Config;
use emsync::model::FileKind;
use emsync::pull::metadata::Scope;

use super::catalogue::Entry;
use super::invariants::{self, Before, MayGo, path_of};
use super::world::{Door, World};
use crate::support::node::chain;

/// What becomes true later.
pub(super) type Later<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
type Edit = Box<dyn for<'a> Fn(&'a mut World) -> Later<'a> + Send + Sync>;

/// An edit that need not wait for anything.
fn at_once(edit: fn(&World)) -> Edit {
    Box::new(move |world| {
        edit(world);
        Box::pin(std::future::ready(()))
    })
}

/// Requests that no pass over a master of this size may exceed.
const USUAL: usize = 60;

/// A case, made by [`case`].
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) entry: Entry,
    assets: usize,
    page_size: usize,
    door: Door,
    config: fn(&mut Config),
    given: fn(&World),
    seeded: bool,
    rounds: Vec<(Edit, Expected)>,
    mend: Edit,
    recovery: (Scope, MayGo),
    requests: usize,
    /// A case that does not fit the scheme; it asserts for itself.
    own: Option<fn() -> Later<'static>>,
}

/// A case of an entry; `name` says what must come out.
pub(super) fn case(entry: Entry, name: &'static str) -> Case {
    Case {
        name,
        entry,
        assets: 4,
        page_size: 1_000,
        door: Door::None,
        config: |_| {},
        given: |_| {},
        seeded: false,
        rounds: Vec::new(),
        mend: at_once(|_| {}),
        recovery: (Scope::Changes, MayGo::default()),
        requests: USUAL,
        own: None,
    }
}

impl Case {
    pub(super) fn assets(self, assets: usize) -> Self {
        Self { assets, ..self }
    }

    pub(super) fn page_size(self, page_size: usize) -> Self {
        Self { page_size, ..self }
    }

    pub(super) fn door(self, door: Door) -> Self {
        Self { door, ..self }
    }

    pub(super) fn config(self, config: fn(&mut Config)) -> Self {
        Self { config, ..self }
    }

    /// How the master is before anything else.
    pub(super) fn given(self, given: fn(&World)) -> Self {
        Self { given, ..self }
    }

    /// A clean pass comes first.
    pub(super) fn seeded(self) -> Self {
        Self {
            seeded: true,
            ..self
        }
    }

    /// A pass after `edit`, and what it must come to.
    pub(super) fn round(self, edit: fn(&World), expected: Expected) -> Self {
        self.round_later(at_once(edit), expected)
    }

    /// The same with an edit that waits for something.
    pub(super) fn round_later(mut self, edit: Edit, expected: Expected) -> Self {
        self.rounds.push((edit, expected));
        self
    }

    /// What mends the content, beside the end of all faults.
    pub(super) fn mend(self, mend: fn(&World)) -> Self {
        Self {
            mend: at_once(mend),
            ..self
        }
    }

    /// Which passes bring parity, where passes over what changed cannot.
    pub(super) fn recovers_by(self, scope: Scope) -> Self {
        let recovery = (scope, self.recovery.1);
        Self { recovery, ..self }
    }

    /// What the recovery may take away.
    pub(super) fn recovery_may_take(
        self,
        assets: &'static [&'static str],
        paths: &'static [&'static str],
    ) -> Self {
        let recovery = (self.recovery.0, MayGo::of(assets, paths));
        Self { recovery, ..self }
    }

    /// Most requests of one pass while the fault stands.
    pub(super) fn requests(self, requests: usize) -> Self {
        Self { requests, ..self }
    }

    pub(super) fn own(self, own: fn() -> Later<'static>) -> Self {
        Self {
            own: Some(own),
            ..self
        }
    }
}

/// Where the checkpoint is after a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checkpoint {
    Moves,
    Stays,
    Either,
}

/// Which files are here after a pass.
#[derive(Debug, Clone, Copy)]
enum Here {
    /// All of the master's, but for those whose name with its tree contains one of these, or is one that ends in `$`.
    AllBut(&'static [&'static str]),
    /// Those that were here before.
    Unchanged,
    /// Some.
    Any,
}

/// What a pass must come to.
pub(super) struct Expected {
    exit: Vec<ExitCode>,
    checkpoint: Checkpoint,
    here: Here,
    aside: Vec<(&'static str, &'static str)>,
    may_go: MayGo,
    deleted: Option<u64>,
    held: u64,
    conflicts: Option<u64>,
    finding: Option<&'static str>,
    scope: Scope,
    check: Option<fn(&World, &Before)>,
}

impl Expected {
    fn of(exit: ExitCode, checkpoint: Checkpoint, here: Here) -> Self {
        Self {
            exit: vec![exit],
            checkpoint,
            here,
            aside: Vec::new(),
            may_go: MayGo::default(),
            deleted: Some(0),
            held: 0,
            conflicts: None,
            finding: None,
            scope: Scope::Changes,
            check: None,
        }
    }

    /// Everything of the master is here, the fault notwithstanding.
    pub(super) fn ok() -> Self {
        Self::of(ExitCode::Ok, Checkpoint::Moves, Here::AllBut(&[]))
    }

    /// The pass ends early so; the checkpoint stays.
    pub(super) fn fails(exit: ExitCode) -> Self {
        Self::of(exit, Checkpoint::Stays, Here::Any)
    }

    /// The pass ends early so, before anything moved.
    pub(super) fn stops(exit: ExitCode) -> Self {
        Self::of(exit, Checkpoint::Stays, Here::Unchanged)
    }

    /// Exactly these are set aside, with such reasons; everything but `lacking` is here.
    pub(super) fn partial(
        aside: &[(&'static str, &'static str)],
        lacking: &'static [&'static str],
    ) -> Self {
        let aside = aside.to_vec();
        Self {
            aside,
            ..Self::of(ExitCode::Partial, Checkpoint::Moves, Here::AllBut(lacking))
        }
    }

    /// Either as [`partial`](Self::partial), or all is here under names that the file system takes.
    pub(super) fn partial_or_mapped(
        aside: &[(&'static str, &'static str)],
        lacking: &'static [&'static str],
    ) -> Self {
        let mut expected = Self::partial(aside, lacking);
        expected.exit.push(ExitCode::Ok);
        expected
    }

    /// The delete guard holds so many.
    pub(super) fn guarded(held: u64) -> Self {
        Self {
            held,
            ..Self::of(ExitCode::Guard, Checkpoint::Moves, Here::Any)
        }
    }

    pub(super) fn lacking(self, paths: &'static [&'static str]) -> Self {
        Self {
            here: Here::AllBut(paths),
            ..self
        }
    }

    /// The checkpoint may move or stay.
    pub(super) fn wherever(self) -> Self {
        Self {
            checkpoint: Checkpoint::Either,
            ..self
        }
    }

    /// These go, and nothing else.
    pub(super) fn taking(
        self,
        assets: &'static [&'static str],
        paths: &'static [&'static str],
    ) -> Self {
        Self {
            may_go: MayGo::of(assets, paths),
            deleted: Some(assets.len() as u64),
            ..self
        }
    }

    /// These may go by now, and nothing else.
    pub(super) fn may_take(
        self,
        assets: &'static [&'static str],
        paths: &'static [&'static str],
    ) -> Self {
        Self {
            may_go: MayGo::of(assets, paths),
            deleted: None,
            ..self
        }
    }

    /// So many conflicts are kept by now.
    pub(super) fn conflicts(self, conflicts: u64) -> Self {
        Self {
            conflicts: Some(conflicts),
            ..self
        }
    }

    /// A person is told so.
    pub(super) fn finding(self, finding: &'static str) -> Self {
        Self {
            finding: Some(finding),
            ..self
        }
    }

    /// The pass is over everything.
    pub(super) fn everything(self) -> Self {
        Self {
            scope: Scope::Everything,
            ..self
        }
    }

    /// Something more.
    pub(super) fn check(self, check: fn(&World, &Before)) -> Self {
        Self {
            check: Some(check),
            ..self
        }
    }
}

/// Runs a case to its end, or panics with what is not as it must be.
pub(super) async fn run(case: Case) {
    invariants::watch_the_log();
    if let Some(own) = case.own {
        return own().await;
    }
    let mut world = World::new(case.assets, case.page_size, case.door, case.config).await;
    (case.given)(&world);
    if case.seeded {
        let expected = Expected::ok().everything();
        pass(&world, &expected, case.requests.max(USUAL), "seed").await;
    }
    for (n, (edit, expected)) in case.rounds.iter().enumerate() {
        edit(&mut world).await;
        pass(&world, expected, case.requests, &format!("round {}", n + 1)).await;
    }
    world.emdb.faults().clear();
    world.configure(|config| {
        let default = emsync::config::Limits::default();
        config.limits.timeout = default.timeout;
        config.limits.list_timeout = default.list_timeout;
    });
    (case.mend)(&mut world).await;
    recover(
        &world,
        (case.recovery.0, &case.recovery.1),
        case.requests.max(USUAL),
    )
    .await;
}

/// Faults have stopped: two passes bring parity, and another one moves nothing.
pub(super) async fn recover(world: &World, (scope, may_go): (Scope, &MayGo), requests: usize) {
    let mut parity = None;
    for n in 1..=2 {
        one_pass(world, scope, may_go, requests, &format!("recovery {n}")).await;
        let found = world.mirror.verify().await;
        let equal = found.in_sync;
        parity = Some(found);
        if equal {
            break;
        }
    }
    let parity = parity.unwrap();
    let findings = world.mirror.monitor.seen().findings;
    assert!(
        parity.in_sync,
        "two passes brought no parity: {:#?}; findings: {findings:#?}",
        parity.differences
    );
    let again = one_pass(world, scope, may_go, requests, "again").await;
    assert_eq!(
        (again.files, again.bytes),
        (0, 0),
        "an equal node was written to (I5)"
    );
}

/// How a pass ended.
pub(super) struct Ended {
    pub(super) exit: ExitCode,
    pub(super) said: String,
    pub(super) before: Before,
    deleted: u64,
    held: u64,
    files: u64,
    bytes: u64,
}

/// One pass, and the invariants after it.
pub(super) async fn one_pass(
    world: &World,
    scope: Scope,
    may_go: &MayGo,
    requests: usize,
    what: &str,
) -> Ended {
    let before = invariants::before(world).await;
    let mut outcome = world.mirror.run(scope).await;
    let error = outcome.error.take();
    let said = error.as_ref().map(|error| chain(error)).unwrap_or_default();
    let exit = match error.map(anyhow::Error::new) {
        Some(error) => ExitCode::of(&error),
        None if outcome.deletes.held > 0 => ExitCode::Guard,
        None if outcome.report.quarantined > 0 => ExitCode::Partial,
        None => ExitCode::Ok,
    };
    tracing::debug!(what, ?exit, said, "pass ended");
    invariants::hold(world, &before, may_go, requests, &said).await;
    Ended {
        exit,
        said,
        before,
        deleted: outcome.report.deleted,
        held: outcome.deletes.held,
        files: outcome.report.files_written,
        bytes: outcome.report.bytes_received,
    }
}

async fn pass(world: &World, expected: &Expected, requests: usize, what: &str) {
    let ended = one_pass(world, expected.scope, &expected.may_go, requests, what).await;
    let aside = world.mirror.set_aside().await;
    let aside: Vec<_> = aside
        .iter()
        .filter(|item| !item.starts_with("delete:"))
        .collect();
    assert!(
        expected.exit.contains(&ended.exit),
        "{what}: {:?} instead of {:?}: {}; set aside: {aside:?}",
        ended.exit,
        expected.exit,
        ended.said
    );
    assert_eq!(
        ended.deleted,
        expected.deleted.unwrap_or(ended.deleted),
        "{what}: deleted"
    );
    assert_eq!(ended.held, expected.held, "{what}: held");
    let moved = invariants::checkpoint(&world.mirror).await != ended.before.checkpoint;
    match expected.checkpoint {
        Checkpoint::Moves => assert!(moved, "{what}: the checkpoint stayed"),
        Checkpoint::Stays => assert!(!moved, "{what}: the checkpoint moved"),
        Checkpoint::Either => {}
    }
    if ended.exit != ExitCode::Ok {
        assert_eq!(
            aside.len(),
            expected.aside.len(),
            "{what}: set aside {aside:?}"
        );
        for (subject, reason) in &expected.aside {
            let named = |item: &&&String| {
                item.split(": ")
                    .next()
                    .is_some_and(|name| name.contains(subject))
                    && item.contains(reason)
            };
            assert!(
                aside.iter().any(|item| named(&item)),
                "{what}: no {subject:?} with {reason:?} in {aside:?}"
            );
        }
    }
    files_are_here(world, expected, &ended, what).await;
    if let Some(conflicts) = expected.conflicts {
        let kept = world.mirror.node.catalogue.count_conflicts().await.unwrap();
        assert_eq!(kept, conflicts, "{what}: conflicts");
    }
    if let Some(finding) = expected.finding {
        let findings = world.mirror.monitor.seen().findings;
        assert!(
            findings.iter().any(|text| text.contains(finding)),
            "{what}: no {finding:?} in {findings:?}"
        );
    }
    if let Some(check) = expected.check {
        check(world, &ended.before);
    }
}

/// Compares content, name by name, with the master's.
async fn files_are_here(world: &World, expected: &Expected, ended: &Ended, what: &str) {
    let rows = invariants::rows(&world.mirror).await;
    let may_map = expected.exit.len() > 1;
    let but = match expected.here {
        Here::Any => return,
        Here::Unchanged => {
            let same = rows.keys().eq(ended.before.rows.keys());
            assert!(same, "{what}: files came or went: {:?}", rows.keys());
            return;
        }
        // Where names were mapped nothing is lacking.
        Here::AllBut(_) if ended.exit == ExitCode::Ok && may_map => &[],
        Here::AllBut(but) => but,
    };
    let (docs, originals, generated) = world.emdb.edit(|content| {
        (
            content.docs.clone(),
            content.originals.clone(),
            content.generated.clone(),
        )
    });
    let of_assets: Vec<_> = docs
        .iter()
        .filter(|doc| doc.module == "asset")
        .map(path_of)
        .collect();
    let originals = originals
        .iter()
        .filter(|(path, _)| of_assets.contains(&path.as_str()));
    let wanted = originals
        .map(|(path, file)| (FileKind::Original, path, file))
        .chain(
            generated
                .iter()
                .map(|(path, file)| (FileKind::Generated, path, file)),
        );
    for (kind, path, file) in wanted {
        let name = format!("{}/{path}", kind.dir());
        let lacks = |lacking: &&str| match lacking.strip_suffix('$') {
            Some(whole) => name == whole,
            None => name.contains(*lacking),
        };
        if but.iter().any(lacks) {
            continue;
        }
        let content = emsync::model::Sha256::of(&file.bytes);
        if may_map && rows.values().any(|row| row.file.sha256 == content) {
            continue;
        }
        let row = rows
            .get(&(kind, path.clone()))
            .unwrap_or_else(|| panic!("{what}: {name} is not here"));
        assert_eq!(row.file.sha256, content, "{what}: {name} has other content");
    }
}
