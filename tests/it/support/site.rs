//! A master of the folder of `folder`, served in this process before and after its change, and mirrors at the brink of taking
//! it: directories that are copied for each case.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use emsync::adapters::Adapters;
use emsync::config::edit::add_peer;
use emsync::config::{KeySource, NewPeer, Secret};
use emsync::import::{self, Options};
use emsync::media::Limits;
use emsync::model::Mode;
use emsync::monitor::Silent;
use emsync::node::Node;
use emsync::pull::metadata::Scope;
use emsync::renditions::Settings;
use emsync::seams::Seams;
use emsync::shutdown::Shutdown;
use emsync::store::{RealSys, Sys};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::folder::{change, fill};
use super::master::Master;
use super::node::{MASTER, Mirror, new_node};
use super::program::{Files, Program};
use crate::kill::stage::{Look, runtime};

/// Which way a mirror is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Brink {
    /// It has nothing.
    Empty,
    /// It has what the master had before its change.
    Behind,
}

impl Brink {
    /// What brings it up to date.
    pub(crate) fn scope(self) -> Scope {
        match self {
            Self::Empty => Scope::Everything,
            Self::Behind => Scope::Changes,
        }
    }
}

/// See the head of this file.
pub(crate) struct Site {
    pub(crate) runtime: Runtime,
    pub(crate) master: Master,
    /// What the master had.
    pub(crate) before: Files,
    /// What it has.
    pub(crate) after: Files,
    pub(crate) dir: TempDir,
    brinks: [PathBuf; 2],
    /// The master's folder, changed.
    pub(crate) folder: PathBuf,
    /// The master before it took the change in.
    pub(crate) to_import: PathBuf,
}

/// Imports a folder into a node.
pub(crate) async fn import_folder(
    node: &Node,
    folder: &Path,
) -> Result<import::Report, import::Error> {
    let options = Options {
        dir: folder.to_owned(),
        prefix: None,
        thumbs: true,
        renditions: Settings {
            threads: 1.into(),
            depth: 2,
            limits: Limits::default(),
            presets: Arc::clone(&node.config.media.presets),
            mode: Mode::default(),
            adapters: Adapters::none(),
        },
        batch: 4,
        max_delete: None,
        dry_run: false,
        only: import::Only::Whole,
        quiet: None,
    };
    let (own, stop) = (&node.config.node.cluster_id, Shutdown::new());
    let (catalogue, store) = (&node.catalogue, &node.store);
    import::run(
        catalogue,
        store,
        own,
        &options,
        &node.seams,
        Arc::new(Silent),
        &stop,
    )
    .await
}

/// A copy of a directory, times and all.
pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

impl Site {
    /// With `more` files that never change beside the ten.
    pub(crate) fn new(more: usize) -> Self {
        let runtime = runtime();
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("photos");
        fill(&folder);
        for n in 0..more {
            let bytes = super::folder::content(u8::try_from(100 + n).unwrap(), 900 + n);
            super::folder::write(&folder, &format!("More/{}/m{n}.bin", n % 5), &bytes);
        }
        let (master, brinks, before) = runtime.block_on(async {
            let config = new_node(&dir.path().join("m"), "Master");
            Node::init(&config).await.unwrap();
            let node = Node::open(config, Seams::os()).await.unwrap();
            let report = import_folder(&node, &folder).await.unwrap();
            assert_eq!((report.refused, report.added), (0, 10 + more as u64));
            let config = (*node.config).clone();
            node.catalogue.close().await;
            std::fs::create_dir(dir.path().join("to-import")).unwrap();
            copy(&dir.path().join("m"), &dir.path().join("to-import"));
            let node = Node::open(config, Seams::os()).await.unwrap();
            let master = Master::serving(node, 7).await;
            let empty = dir.path().join("empty");
            std::fs::create_dir(&empty).unwrap();
            make_mirror(&empty, &master).await;
            let behind = dir.path().join("behind");
            copy(&empty, &behind);
            let before = Program::at(&dir.path().join("m")).files();
            let temporary = TempDir::with_prefix_in("seeding", dir.path()).unwrap();
            copy(&behind.join("r"), temporary.path());
            let mirror = Mirror::open_in(temporary, Seams::os(), Arc::new(RealSys)).await;
            let mirror = mirror.map_err(|(_, error)| error).unwrap();
            mirror.seed().await;
            let seeded = mirror.close().await;
            std::fs::remove_dir_all(behind.join("r")).unwrap();
            copy(&seeded.path().join("r"), &behind);
            change(&folder);
            let report = import_folder(&master.node, &folder).await.unwrap();
            assert_eq!((report.refused, report.held), (0, 0), "{report:?}");
            (master, [empty, behind], before)
        });
        let after = Program::at(&dir.path().join("m")).files();
        Self {
            runtime,
            master,
            before,
            after,
            to_import: dir.path().join("to-import/m"),
            folder,
            dir,
            brinks,
        }
    }

    /// A directory with a mirror `r` of its own at a brink.
    pub(crate) fn brink(&self, brink: Brink) -> TempDir {
        let dir = TempDir::with_prefix_in("case", self.dir.path()).unwrap();
        copy(&self.brinks[brink as usize].join("r"), dir.path());
        dir
    }

    /// Opens the mirror in `dir` on a disk that may fail.
    pub(crate) fn open(
        &self,
        dir: TempDir,
        sys: Arc<dyn Sys>,
    ) -> Result<Mirror, (TempDir, emsync::node::Error)> {
        self.runtime
            .block_on(Mirror::open_in(dir, Seams::os(), sys))
    }

    /// The mirror in `dir` must hold nothing wrong, and no row without its file.
    pub(crate) fn assert_sound(&self, brink: Brink, dir: &Path, case: &str) {
        let nothing = Files::new();
        let former = match brink {
            Brink::Empty => &nothing,
            Brink::Behind => &self.before,
        };
        Look::at(&Program::at(&dir.join("r")), &self.runtime).assert_sound(
            &self.after,
            former,
            &case,
        );
    }

    /// The settings of a mirror at a brink, copied into `node`.
    pub(crate) fn settings(&self, brink: Brink, node: &Path) {
        let name = "emsync.toml";
        std::fs::copy(
            self.brinks[brink as usize].join("r").join(name),
            node.join(name),
        )
        .unwrap();
    }

    /// The mirror in `dir`, on a disk that is well, must reach its master in at most two passes; answers how many it took.
    pub(crate) fn recover(&self, brink: Brink, dir: TempDir, case: &str) -> u64 {
        self.recover_and(true, brink, dir, case)
    }

    /// The same; whether the node is also asked to compare itself with its master.
    pub(crate) fn recover_and(
        &self,
        verifies: bool,
        brink: Brink,
        dir: TempDir,
        case: &str,
    ) -> u64 {
        let mirror = self
            .open(dir, Arc::new(RealSys))
            .map_err(|(_, error)| error);
        let mirror = mirror.unwrap_or_else(|error| panic!("{case}: {error}"));
        let mut passes = 0;
        loop {
            let outcome = self.runtime.block_on(mirror.attempt(brink.scope()));
            let outcome = outcome.unwrap_or_else(|error| panic!("{case}: {error}"));
            passes += 1;
            if outcome.error.is_none() && outcome.report.quarantined == 0 {
                break;
            }
            assert!(passes < 2, "{case}: not done after two passes: {outcome:?}");
        }
        if verifies {
            let parity = self.runtime.block_on(mirror.verify());
            assert!(parity.in_sync, "{case}: {:#?}", parity.differences);
        }
        let dir = self.runtime.block_on(mirror.close());
        let node = Program::at(&dir.path().join("r"));
        let look = Look::at(&node, &self.runtime);
        assert!(
            look.files == self.after,
            "{case}: a file is missing, wrong or left over"
        );
        assert_eq!(look.rows.len(), self.after.len(), "{case}");
        assert_eq!(look.staged, [], "{case}: left in staging");
        let left = (look.jobs.open, look.jobs.quarantined, look.jobs.held);
        assert_eq!(left, (0, 0, 0), "{case}: jobs are left");
        if brink == Brink::Behind {
            self.assert_kept(&node, case);
        }
        passes
    }

    /// Every content that the mirror had and its master has not lies in the trash.
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

async fn make_mirror(dir: &Path, master: &Master) {
    let config = new_node(&dir.join("r"), "Mirror");
    let peer = NewPeer {
        name: MASTER.to_owned(),
        url: master.url.clone(),
        key: KeySource::Inline(Secret::new(master.key.as_str())),
        cluster_id: None,
        push: false,
        push_originals: None,
        sidecar: false,
        ca_file: None,
    };
    add_peer(&config.file, &peer).unwrap();
    Program::at(&dir.join("r"))
        .limit("transfers = 2\npublish_batch = 3\nlarge_file = \"1MiB\"\nattempts = 3");
    Node::init(&config).await.unwrap();
}
