//! `emsync demo`: a master and a mirror on the sample media, over real HTTP: seeded, changed, synced, edited on both sides, verified.
//!
//! Everything goes through the same drivers as the other commands. Both nodes live in a directory that goes again.

mod both_ways;
mod sample;
mod sheet;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::args::{Demo, Global};
use super::{ExitCode, output, verify};
use crate::catalogue::Scope as KeyScope;
use crate::config::edit::add_peer;
use crate::config::init::{NewNode, write};
use crate::config::{Config, KeySource, NewPeer, Secret};
use crate::import;
use crate::model::preset::PresetId;
use crate::model::{AssetId, FileKind, MediaPath};
use crate::monitor::Silent;
use crate::node::Node;
use crate::pipeline::{self, Options};
use crate::pull::metadata::Scope;
use crate::reconcile::guard;
use crate::renditions::rebuild::{Selection, rebuild};
use crate::renditions::{Settings, cropping};
use crate::seams::Seams;
use crate::serve;
use crate::serve::make_key;
use crate::shutdown::Shutdown;

const MASTER: &str = "master";

pub(super) async fn run(
    _global: &Global,
    args: &Demo,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let (dir, _temporary) = match &args.dir {
        Some(dir) => (super::absolute(dir)?, None),
        None => {
            let temporary = tempfile::Builder::new().prefix("emsync-demo-").tempdir()?;
            (temporary.path().to_owned(), Some(temporary))
        }
    };
    let photos = dir.join("photos");
    sample::unpack(&photos)?;
    let sheet = args.sheet.as_deref().map(super::absolute).transpose()?;
    let demo = Stage { dir, photos, sheet };
    demo.play(args.keep, shutdown).await
}

struct Stage {
    dir: PathBuf,
    photos: PathBuf,
    /// Where the mirror's thumbnails before and after are to be drawn.
    sheet: Option<PathBuf>,
}

impl Stage {
    async fn play(&self, keep: bool, shutdown: &Shutdown) -> anyhow::Result<ExitCode> {
        say("1. A master of the sample media")?;
        let master = self.node("m", "Master").await?;
        self.import(&master, shutdown).await?;
        let stop = shutdown.child();
        let (url, served) = start_serving(&master, &stop).await?;
        say(&format!("   it serves at {url}"))?;

        say("2. A mirror, seeded from it over HTTP")?;
        let mirror = self.mirror(&master, &url).await?;
        sync(&mirror, Scope::Everything, shutdown).await?;

        let before = sheet::thumbs(&mirror).await?;

        say(
            "3. On the master: one file added, one replaced, one moved, one deleted; one thumbnail cropped",
        )?;
        sample::change(&self.photos)?;
        self.import(&master, shutdown).await?;
        crop(&master, shutdown).await?;

        say("4. The mirror syncs: only what changed")?;
        sync(&mirror, Scope::Changes, shutdown).await?;

        say("5. Both edit one record: its owner wins, what lost is kept and comes back")?;
        let key = cropped(&master).await?.key();
        both_ways::edit((&master, &mirror), &key, shutdown).await?;

        say("6. Are they equal?")?;
        let settings = mirror.config.peer(MASTER)?.clone();
        let look = pipeline::Look {
            checksum: true,
            ..pipeline::Look::default()
        };
        let parity = pipeline::verify_peer(&mirror, &settings, look, &Silent, shutdown).await?;
        verify::print_table(MASTER, &parity)?;
        say(if parity.in_sync {
            "The nodes are equal."
        } else {
            "The nodes are NOT equal."
        })?;

        if let Some(to) = &self.sheet {
            sheet::write(to, &before, &sheet::thumbs(&mirror).await?)?;
            say(&format!(
                "The mirror's thumbnails, before and after: {}",
                to.display()
            ))?;
        }
        if keep && parity.in_sync {
            let (mirror_url, mirror_served) = start_serving(&mirror, &stop).await?;
            say(&format!(
                "Both keep running until Ctrl-C: master {url}, mirror {mirror_url}, files in {}",
                self.dir.display()
            ))?;
            shutdown.wait().await;
            mirror_served.await??;
        }
        stop.request();
        served.await??;
        Ok(if parity.in_sync {
            ExitCode::Ok
        } else {
            ExitCode::Differs
        })
    }

    async fn node(&self, dir: &str, name: &str) -> anyhow::Result<Node> {
        let new = NewNode {
            dir: self.dir.join(dir),
            name: name.to_owned(),
            catalog: None,
            cluster_id: None,
            media: None,
        };
        let config = write(&new, &Seams::os())?;
        Node::init(&config).await?;
        Ok(Node::open(config, Seams::os()).await?)
    }

    /// A second node that has a key for the first one.
    async fn mirror(&self, master: &Node, url: &str) -> anyhow::Result<Node> {
        let (key, text) = make_key(
            &master.seams,
            "mirror",
            KeyScope::Write,
            master.seams.clock.now(),
        );
        let mut batch = master.catalogue.batch().await?;
        batch.put_key(&key).await?;
        batch.commit().await?;
        let mirror = self.node("r", "Mirror").await?;
        let peer = NewPeer {
            name: MASTER.to_owned(),
            url: url.to_owned(),
            key: KeySource::Inline(Secret::new(text)),
            cluster_id: None,
            push: true,
            push_originals: None,
            sidecar: false,
            ca_file: None,
        };
        add_peer(&mirror.config.file, &peer)?;
        mirror.catalogue.close().await;
        Ok(Node::open(Config::load(&mirror.config.file)?, Seams::os()).await?)
    }

    async fn import(&self, master: &Node, shutdown: &Shutdown) -> anyhow::Result<()> {
        let config = &master.config;
        let options = import::Options {
            dir: self.photos.clone(),
            prefix: None,
            thumbs: true,
            renditions: Settings::of(master),
            batch: config.limits.publish_batch,
            max_delete: Some(guard::limit(master.catalogue.live_assets().await?, None)),
            dry_run: false,
            only: import::Only::Whole,
            quiet: None,
        };
        let own = &config.node.cluster_id;
        let report = import::run(
            &master.catalogue,
            &master.store,
            own,
            &options,
            &master.seams,
            Arc::new(Silent),
            shutdown,
        )
        .await?;
        say(&format!("   {}", import::summary(&report, false)))
    }
}

/// Lets the thumbnail of one asset show a part of its picture.
async fn crop(master: &Node, shutdown: &Shutdown) -> anyhow::Result<()> {
    let asset = cropped(master).await?;
    let preset = PresetId::new("webpthumbimage");
    cropping::set(master, &asset, &preset, sample::CROP, false).await?;
    let selection = Selection {
        stale: true,
        ..Selection::default()
    };
    let monitor = Arc::new(Silent);
    let report = rebuild(master, "demo", &selection, false, monitor, shutdown).await?;
    say(&format!("   {}", super::thumbs::summary(&report, false)))
}

/// The asset that is cropped, and edited.
async fn cropped(master: &Node) -> anyhow::Result<AssetId> {
    let path = MediaPath::new(sample::CROPPED)?;
    let rows = master
        .catalogue
        .files_at(FileKind::Original, &[path.as_str()])
        .await?;
    Ok(rows.first().context(sample::CROPPED)?.file.asset.clone())
}

async fn start_serving(
    node: &Node,
    stop: &Shutdown,
) -> anyhow::Result<(String, JoinHandle<Result<(), serve::Error>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .context("listen on loopback")?;
    let url = super::base_url(listener.local_addr()?, false, &node.config.node.site);
    let (node, stop) = (super::serve::served(node, stop)?, stop.clone());
    Ok((url, tokio::spawn(serve::run(listener, node, stop))))
}

async fn sync(mirror: &Node, scope: Scope, shutdown: &Shutdown) -> anyhow::Result<()> {
    let settings = mirror.config.peer(MASTER)?.clone();
    let options = Options::of(scope);
    let outcome =
        pipeline::sync_peer(mirror, &settings, options, Arc::new(Silent), shutdown).await?;
    say(&format!(
        "   {}",
        crate::pipeline::summary(
            MASTER,
            &outcome.report,
            outcome.deletes.held,
            crate::pipeline::Ways::In
        )
    ))?;
    outcome.error.map_or(Ok(()), |error| Err(error.into()))
}

fn say(text: &str) -> anyhow::Result<()> {
    Ok(output::line(text)?)
}

/// Writes a file and its parents.
fn write_file(dir: &Path, path: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = dir.join(path);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    }
    std::fs::write(&path, bytes).with_context(|| path.display().to_string())
}
