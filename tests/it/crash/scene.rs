//! The scene of the crash tests: a small master, what changed on it, and nodes at the brink of each thing that can be run.
//!
//! A *brink* is a directory that is copied for each case, so that a case costs no more than what it is about.

use std::fs;
use std::path::{Path, PathBuf};

use emsync::catalogue::FileRow;
use emsync::model::Sha256;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::kill::stage::{Look, runtime};
use crate::support::folder::{change, content, fill, write};
use crate::support::program::{Files, Program, Serving};

/// Few workers and small batches, so that a small run passes every point more than once; little patience.
const LIMITS: &str = "transfers = 2\npublish_batch = 3\nhandoff_depth = 1\nlarge_file = \"1MiB\"\nattempts = 3\nretry_base = \"5ms\"\nretry_cap = \"20ms\"";
/// A file of this size is synced once on its way: partials are every 64 MiB.
const BIG: usize = 65 << 20;

/// What is run at a brink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scenario {
    /// A new mirror is filled.
    Seed,
    /// A mirror takes additions, replacements, moves and deletes.
    Sync,
    /// A new mirror makes its own renditions.
    Rebuild,
    /// A master takes what changed in its folder.
    Import,
    /// A master makes its renditions again, one of which shows another part of its picture.
    Thumbs,
    /// A mirror reads everything again, some of which its disk has changed.
    Scrub,
    /// A mirror that has too little room for everything syncs.
    Evict,
    /// A mirror moves to the trash what its filter leaves out.
    Prune,
    /// A master goes back to what it was before it changed.
    Restore,
    /// A mirror takes the place of its master.
    Promote,
    /// A new mirror fetches one file that is synced on its way.
    Big,
}

impl Scenario {
    /// Cheapest first.
    pub(super) const ALL: [Self; 11] = [
        Self::Seed,
        Self::Sync,
        Self::Rebuild,
        Self::Import,
        Self::Thumbs,
        Self::Scrub,
        Self::Evict,
        Self::Prune,
        Self::Restore,
        Self::Promote,
        Self::Big,
    ];
}

/// Masters that serve, and brinks.
pub(super) struct Scene {
    pub(super) runtime: Runtime,
    /// What the master had before it changed.
    pub(super) before: Files,
    /// What it has.
    pub(super) after: Files,
    /// What the master of the big file has.
    big: Files,
    /// What an import that nothing disturbs leaves.
    imported: Look,
    /// What making renditions again leaves when nothing disturbs it.
    rebuilt: Look,
    /// What a prune that nothing disturbs leaves.
    pruned: Look,
    /// What going back leaves when nothing disturbs it.
    restored: Look,
    /// What the disk of a mirror made of some files.
    rotten: Files,
    brinks: [Program; 11],
    folder: PathBuf,
    /// Between the first import and the second.
    moment: String,
    pub(super) dir: tempfile::TempDir,
    _serving: [Serving; 2],
}

const REBUILD: [&str; 4] = ["thumbs", "rebuild", "--all", "--json"];
const PRUNE: [&str; 5] = ["peer", "prune", "master", "--yes", "--json"];
/// Less than the large files take.
const ROOM: u64 = 1 << 20;

/// Lets one rendition show another part of its picture, once it is made again.
fn crop_one(master: &Program) {
    let listed = master.run(&["record", "list", "asset", "--json"]).well();
    let parse = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let picture = |record: &serde_json::Value| record["previewstatus"] == "2";
    let asset = listed
        .stdout
        .lines()
        .map(parse)
        .find(picture)
        .expect("a picture");
    let asset = asset["id"].as_str().unwrap();
    let set = [
        "crop",
        "set",
        asset,
        "webpthumbimage",
        "3x2+1+1",
        "--no-rebuild",
    ];
    master.run(&set).well();
}

/// Turns a bit of every third file, and leaves its date; answers what these files are now.
fn rot(mirror: &Program) -> Files {
    let mut rotten = Files::new();
    for (kind, path) in mirror.files().into_keys().step_by(3) {
        let place = mirror.dir().join("media/assets/catalog");
        let place = place.join(kind.dir()).join(&path);
        let modified = fs::metadata(&place).unwrap().modified().unwrap();
        let mut bytes = fs::read(&place).unwrap();
        let Some(byte) = bytes.last_mut() else {
            continue;
        };
        *byte ^= 1;
        fs::write(&place, &bytes).unwrap();
        let file = fs::File::options().write(true).open(&place).unwrap();
        file.set_modified(modified).unwrap();
        rotten.insert((kind, path), (bytes.len() as u64, Sha256::of(&bytes)));
    }
    assert!(rotten.len() > 2, "too few files to damage");
    rotten
}

/// Lets a mirror hold less than its master has.
fn narrow(mirror: &Program) {
    let settings = mirror.dir().join("emsync.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let room = format!("\n[serve]\npull_through = true\nmax_cache = \"{ROOM}\"\n");
    let narrowed = text.replacen("\n[serve]\n", &room, 1);
    assert_ne!(text, narrowed);
    fs::write(&settings, narrowed).unwrap();
}

fn restore(moment: &str) -> [&str; 6] {
    [
        "restore",
        "--all",
        "--to",
        moment,
        "--delete-newer",
        "--json",
    ]
}

fn import(master: &Program, folder: &Path) {
    let report = master.run(&["import", folder.to_str().unwrap(), "--json"]);
    let report = report.well().json();
    assert_eq!(
        (&report["refused"], &report["held"]),
        (&json!(0), &json!(0)),
        "{report}"
    );
}

fn mirror(dir: &Path, master: &Program, url: &str) -> Program {
    let name = dir.file_name().unwrap().to_str().unwrap();
    let mirror = Program::init(dir, &format!("mirror-{name}"));
    mirror.limit(LIMITS);
    mirror.pull_from(master, url);
    mirror
}

impl Scene {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let runtime = runtime();
        let folder = at("photos");
        fill(&folder);
        let master = Program::init(&at("m"), "master-0001");
        master.limit(LIMITS);
        import(&master, &folder);
        let before = master.files();
        let moment = jiff::Timestamp::now().to_string();
        let to_import = master.copy(&at("import"));
        let serving = master.serve("127.0.0.1:0");
        let seed = mirror(&at("seed"), &master, &serving.url);
        let rebuild = mirror(&at("rebuild"), &master, &serving.url);
        let settings = rebuild.dir().join("emsync.toml");
        let text = fs::read_to_string(&settings).unwrap();
        fs::write(&settings, format!("{text}generated = \"rebuild\"\n")).unwrap();
        let sync = seed.copy(&at("sync"));
        sync.run(&["seed", "master", "--json"]).well();
        change(&folder);
        import(&master, &folder);
        let after = master.files();
        let reference = to_import.copy(&at("reference"));
        import(&reference, &folder);
        let imported = Look::at(&reference, &runtime);
        assert!(imported.files == after);
        let thumbs = reference.copy(&at("thumbs"));
        crop_one(&thumbs);
        let reference = thumbs.copy(&at("rebuilt"));
        reference.run(&REBUILD).well();
        let rebuilt = Look::at(&reference, &runtime);
        assert!(rebuilt.files != after, "nothing was to be made again");
        let scrub = mirror(&at("scrub"), &master, &serving.url);
        scrub.run(&["seed", "master", "--json"]).well();
        let (evict, prune) = (scrub.copy(&at("evict")), scrub.copy(&at("prune")));
        let promote = scrub.copy(&at("promote"));
        narrow(&evict);
        let rotten = rot(&scrub);
        prune
            .run(&[
                "peer",
                "filter",
                "master",
                "--exclude",
                "/{Noise,Pictures}/**",
            ])
            .well();
        let reference = prune.copy(&at("pruned"));
        reference.run(&PRUNE).well();
        let pruned = Look::at(&reference, &runtime);
        assert!(pruned.files.len() < after.len(), "nothing was to be pruned");
        let to_restore = at("restore");
        let reference = at("reference");
        let (restoring, reference) = (
            Program::at(&reference).copy(&to_restore),
            Program::at(&reference).copy(&at("restored")),
        );
        reference.run(&restore(&moment)).well();
        let restored = Look::at(&reference, &runtime);
        assert!(restored.files == before, "the restore is not what was");
        let (big_master, big_folder) = (Program::init(&at("b"), "big-0001"), at("big"));
        write(&big_folder, "big.bin", &content(20, BIG));
        import(&big_master, &big_folder);
        let big_serving = big_master.serve("127.0.0.1:0");
        let to_big = mirror(&at("to-big"), &big_master, &big_serving.url);
        Self {
            big: big_master.files(),
            before,
            after,
            imported,
            rebuilt,
            pruned,
            restored,
            rotten,
            brinks: [
                seed, sync, rebuild, to_import, thumbs, scrub, evict, prune, restoring, promote,
                to_big,
            ],
            folder,
            moment,
            runtime,
            dir,
            _serving: [serving, big_serving],
        }
    }

    /// A node of its own at the brink of `scenario`.
    pub(super) fn brink(&self, scenario: Scenario, name: &str) -> Program {
        self.brinks[scenario as usize].copy(&self.dir.path().join(name))
    }

    /// The command line of a scenario.
    pub(super) fn args(&self, scenario: Scenario) -> Vec<&str> {
        match scenario {
            Scenario::Sync | Scenario::Evict => vec!["sync", "master", "--json"],
            Scenario::Import => vec!["import", self.folder.to_str().unwrap(), "--json"],
            Scenario::Thumbs => REBUILD.to_vec(),
            Scenario::Scrub => vec!["scrub", "--all", "--json"],
            Scenario::Prune => PRUNE.to_vec(),
            Scenario::Restore => restore(&self.moment).to_vec(),
            Scenario::Promote => vec!["promote", "master", "--force", "--json"],
            Scenario::Seed | Scenario::Rebuild | Scenario::Big => vec!["seed", "master", "--json"],
        }
    }

    /// Nothing wrong may be under a final name, and no row may be without its file.
    pub(super) fn assert_sound(&self, scenario: Scenario, node: &Program, case: &str) {
        if scenario == Scenario::Scrub {
            self.assert_explained(node, case);
            return;
        }
        let mut look = Look::at(node, &self.runtime);
        // What went to make room is not looked for.
        look.rows.retain(|row| !row.evicted);
        let again = [Scenario::Import, Scenario::Thumbs, Scenario::Restore];
        look.imports = again.contains(&scenario);
        if scenario == Scenario::Restore {
            // What lies below a name that comes back makes room before.
            let (trash, files) = (node.trash(), &look.files);
            look.rows.retain(|FileRow { file, .. }| {
                let name = (file.kind, file.path.as_str().to_owned());
                let made_room = file.path.as_str().starts_with("Place/")
                    && trash.contains(&file.sha256)
                    && !files.contains_key(&name);
                !made_room
            });
        }
        let nothing = Files::new();
        let (wanted, former) = match scenario {
            Scenario::Seed
            | Scenario::Rebuild
            | Scenario::Evict
            | Scenario::Prune
            | Scenario::Promote => (&self.after, &nothing),
            Scenario::Restore => (&self.before, &self.after),
            Scenario::Sync | Scenario::Import => (&self.after, &self.before),
            Scenario::Thumbs => (&self.rebuilt.files, &self.after),
            Scenario::Scrub => unreachable!("looked at otherwise"),
            Scenario::Big => (&self.big, &nothing),
        };
        look.assert_sound(wanted, former, &case);
    }

    /// Runs the scenario until the node is where it should be; two passes must do. Answers how many it took.
    pub(super) fn recover(&self, scenario: Scenario, node: &Program, case: &str) -> u64 {
        let mut passes = 0;
        loop {
            let done = node.run_in(&self.args(scenario), &[]);
            passes += 1;
            if done.code == Some(0) {
                break;
            }
            assert!(passes < 2, "{case}: not done after two passes: {done:?}");
        }
        if scenario == Scenario::Evict {
            self.assert_back(node, case);
        }
        let look = Look::at(node, &self.runtime);
        let undisturbed = match scenario {
            Scenario::Import => Some(&self.imported),
            Scenario::Thumbs => Some(&self.rebuilt),
            Scenario::Prune => Some(&self.pruned),
            Scenario::Restore => Some(&self.restored),
            _ => None,
        };
        if let Some(undisturbed) = undisturbed {
            look.assert_equal(undisturbed, &case);
            if let Scenario::Prune | Scenario::Restore = scenario {
                assert_eq!(look.jobs.open, 0, "{case}: jobs are left");
                self.assert_all_kept(node, case);
            }
            return passes;
        }
        let wanted = match scenario {
            Scenario::Big => &self.big,
            _ => &self.after,
        };
        assert!(
            look.files == *wanted,
            "{case}: a file is missing, wrong or left over"
        );
        assert_eq!(look.rows.len(), wanted.len(), "{case}");
        assert_eq!(look.staged, [], "{case}: left in staging");
        let jobs = &look.jobs;
        let left = (jobs.open, jobs.quarantined, jobs.held);
        assert_eq!(left, (0, 0, 0), "{case}: jobs are left");
        if scenario == Scenario::Scrub {
            self.assert_explained(node, case);
        }
        if scenario == Scenario::Sync {
            // A seed has compared already, and ended well.
            let parity = node.run_in(&["verify", "master", "--checksum", "--json"], &[]);
            assert_eq!(parity.code, Some(0), "{case}: {parity:?}");
            self.assert_kept(node, case);
        }
        if scenario == Scenario::Promote {
            let listed = node.run(&["record", "list", "asset", "--json"]).well();
            let masters = listed.stdout.matches("\"mastereditclusterid\":\"").count();
            let ours = "\"mastereditclusterid\":\"mirror-scrub\"";
            let ours = listed.stdout.matches(ours).count();
            assert!(ours > 0 && ours == masters, "{case}: {}", listed.stdout);
        }
        passes
    }

    /// A mirror that made room holds as much as it may, and everything again once that is asked for.
    fn assert_back(&self, node: &Program, case: &str) {
        let here: u64 = node.files().values().map(|(size, _)| size).sum();
        assert!(here > 0 && here <= ROOM, "{case}: {here} bytes are here");
        let parity = node.run(&["verify", "master", "--checksum", "--json"]);
        assert_eq!(parity.code, Some(0), "{case}: {parity:?}");
        node.run(&["fetch", "master", "--all"]).well();
    }

    /// Every original that a node had before or after is in its place or in the trash.
    fn assert_all_kept(&self, node: &Program, case: &str) {
        use emsync::model::FileKind::Original;
        let (trash, files) = (node.trash(), node.files());
        let here: Vec<_> = files.values().map(|(_, digest)| digest).collect();
        for ((kind, path), (_, digest)) in &self.after {
            let is_kept = here.contains(&digest) || trash.contains(digest);
            assert!(*kind != Original || is_kept, "{case}: {path} is lost");
        }
    }

    /// What is in place is as it should be, or as the disk made it; and whatever the disk made is in its place, or in the trash.
    fn assert_explained(&self, node: &Program, case: &str) {
        let (files, trash) = (node.files(), node.trash());
        for (name, file) in &files {
            let is_known = [&self.after, &self.rotten]
                .iter()
                .any(|known| known.get(name) == Some(file));
            assert!(is_known, "{case}: {name:?} is neither");
        }
        for (name, file) in &self.rotten {
            let is_kept = files.get(name) == Some(file) || trash.contains(&file.1);
            assert!(is_kept, "{case}: the bad copy of {name:?} is lost");
        }
    }

    /// Every content that the node had and its master has not lies in the trash.
    fn assert_kept(&self, node: &Program, case: &str) {
        use emsync::model::FileKind::Original;
        let trash = node.trash();
        let here: Vec<_> = self.after.values().collect();
        for ((kind, path), file) in &self.before {
            let gone = *kind == Original && !here.contains(&file);
            assert!(!gone || trash.contains(&file.1), "{case}: {path} is lost");
        }
    }
}
