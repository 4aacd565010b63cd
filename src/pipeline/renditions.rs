//! The media lane: claims rendition jobs, hands originals to the regenerator, and stages what comes back.
//!
//! The hand-off is a bounded crossbeam channel that only this task fills, and only up to its free room, so it never blocks;
//! results come back over a bounded tokio channel. It ends like a download lane: upstream is done, nothing is in flight and
//! nothing is claimable. Dropping the hand-off then ends the regenerator, which is joined.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use crate::catalogue::{Finding, Job, Lane};
use crate::crash::{self, Point};
use crate::error::{Class, chain};
use crate::media::{self, Finished, Recipe, Regenerator, Rendition, Task};
use crate::model::job::{RegenerateJob, Work};
use crate::model::{AssetId, FileKind, Hasher, MediaFile, MediaPath, Sha256, Timestamp};
use crate::protocol::record;
use crate::pull::publisher::{Ending, Item, Part};
use crate::pull::{Error, InFlight, InFlightToken, Pull, Way, pool};
use crate::renditions::crops::{Crops, crops_for};
use crate::renditions::stale::{State, states};
use crate::renditions::{Original, Settings, child_bytes, decoder, fresh_second};

/// Largest original that is read here, since it is read whole: nothing with [`Settings::max_pixels`] comes near it (I10).
const MOST_BYTES: u64 = 2 << 30;

/// What comes back with the renditions.
struct Ticket {
    job: Job,
    token: InFlightToken,
    content: Sha256,
    recipe: Recipe,
}

/// Starts the regenerator, and returns the task that feeds it to its end.
pub(super) fn run(
    pull: Arc<Pull>,
    settings: Settings,
    upstream: watch::Receiver<bool>,
    items: mpsc::Sender<Item>,
) -> Result<impl Future<Output = Result<(), Error>> + Send + 'static, media::Error> {
    let (hand_off, tasks) = crossbeam_channel::bounded(settings.depth);
    let (done, results) = mpsc::channel(settings.depth);
    let regenerator = Regenerator::start(settings.threads.clone(), settings.limits, tasks, done)?;
    let lane = MediaLane {
        pull,
        upstream,
        items,
        hand_off,
        results,
        in_flight: InFlight::default(),
        settings,
    };
    Ok(async move {
        let result = lane.run().await;
        spawn_blocking(move || regenerator.join())
            .await
            .map_err(|_| Error::Worker)?;
        result
    })
}

struct MediaLane {
    pull: Arc<Pull>,
    upstream: watch::Receiver<bool>,
    items: mpsc::Sender<Item>,
    hand_off: crossbeam_channel::Sender<Task<Ticket>>,
    results: mpsc::Receiver<Finished<Ticket>>,
    in_flight: InFlight,
    settings: Settings,
}

impl MediaLane {
    async fn run(mut self) -> Result<(), Error> {
        loop {
            let pull = self.pull.clone();
            let new_jobs = pull.wake.notified();
            let in_flight = self.in_flight.clone();
            let fewer = in_flight.fewer().notified();
            tokio::pin!(new_jobs, fewer);
            new_jobs.as_mut().enable();
            fewer.as_mut().enable();
            let idle = in_flight.count() == 0;
            let could_end = *self.upstream.borrow_and_update() && idle;
            let stopping = pull.stop.requested();
            if stopping && idle {
                return Ok(());
            }
            let fed = !stopping && self.feed().await?;
            let due = pull
                .catalogue
                .next_due(pull.peer.name(), Lane::Media)
                .await?;
            if could_end && !fed && due.is_none() {
                return Ok(());
            }
            let until_due = due.map_or(std::time::Duration::from_secs(3_600), |due| {
                due.since(pull.seams.clock.now())
            });
            tokio::select! {
                Some(finished) = self.results.recv() => self.stage(finished).await?,
                () = new_jobs, if !stopping => {}
                () = fewer => {}
                result = self.upstream.changed(), if !could_end && !stopping => if result.is_err() && idle { return Ok(()) },
                // With a full hand-off only a result makes room, whatever is due.
                () = tokio::time::sleep(until_due.max(std::time::Duration::from_millis(5))), if !stopping && !self.hand_off.is_full() => {}
                () = pull.stop.wait(), if !stopping => {}
            }
        }
    }

    /// Hands over as many jobs as there is room for; whether there were any.
    async fn feed(&mut self) -> Result<bool, Error> {
        let capacity = self.hand_off.capacity().unwrap_or(1);
        let room = capacity.saturating_sub(self.hand_off.len());
        if room == 0 {
            return Ok(false);
        }
        let (pull, now) = (self.pull.clone(), self.pull.seams.clock.now());
        let jobs = pull
            .catalogue
            .claim(
                (pull.peer.name(), Lane::Media),
                room,
                "media",
                now,
                pool::LEASE,
            )
            .await?;
        let any = !jobs.is_empty();
        for job in jobs {
            let token = self.in_flight.enter();
            match self.task(job, token).await? {
                Ok(task) => {
                    self.hand_off.try_send(task).map_err(|_| Error::Worker)?;
                    crash::point(Point::HandedOff)?;
                }
                Err(item) => self.hand_back(*item).await,
            }
        }
        Ok(any)
    }

    /// The task of a job; or its end, when there is nothing to render.
    async fn task(
        &self,
        job: Job,
        token: InFlightToken,
    ) -> Result<Result<Task<Ticket>, Box<Item>>, Error> {
        let nothing_to_do = || Ending::Landed {
            parts: Vec::new(),
            then: Vec::new(),
        };
        let Work::Regenerate(render) = &job.work else {
            return Ok(Err(Box::new(Item {
                job,
                ending: nothing_to_do(),
                token,
            })));
        };
        let original = MediaPath::new(render.original.as_str())?;
        // An original that left meanwhile takes its renditions with it.
        let Some(row) = self
            .pull
            .catalogue
            .file_named(FileKind::Original, &original, Some(&job.asset))
            .await?
        else {
            return Ok(Err(Box::new(Item {
                job,
                ending: nothing_to_do(),
                token,
            })));
        };
        let format = self.format(&job.asset).await?;
        let table = &self.pull.presets;
        let presets = (table.renditions(format.as_deref()).iter())
            .filter(|preset| render.presets.iter().any(|id| id == preset.id.as_str()))
            .cloned()
            .collect();
        let large = table.large(format.as_deref()).cloned();
        // Planned while there was a program for it. Without, the next pass copies its author's renditions, if it is to copy any.
        if let Some(reason) = format.as_deref().and_then(|it| self.settings.lacks(it)) {
            let monitor = &self.pull.monitor;
            monitor.finding(&format!("{original}: not rendered: {reason}"));
            return Ok(Err(Box::new(Item {
                job,
                ending: nothing_to_do(),
                token,
            })));
        }
        let dir = MediaPath::new(render.output_dir.as_str())?;
        let original = Original::of(dir, format, &row.file);
        let decoder = decoder(&self.settings.adapters, &original).await;
        let decoder = decoder.map_err(|_| Error::Worker)?;
        let monitor = self.pull.monitor.as_ref();
        let crops = crops_for(&self.pull.catalogue, &[&original], monitor).await?;
        let Crops { crops, drawn_on } = crops.into_values().next().unwrap_or_default();
        let mut recipe = Recipe {
            presets,
            large,
            crops,
            drawn_on,
            mode: self.settings.mode,
            decoder,
        };
        // A job may be done already, or ask for all because something of it changed.
        let files = self.pull.catalogue.files_of(&[job.asset.as_str()]).await?;
        let states = states(&original, &recipe, &files);
        recipe
            .presets
            .retain(|preset| states[&preset.id] != State::Current);
        if recipe.presets.is_empty() {
            return Ok(Err(Box::new(Item {
                job,
                ending: nothing_to_do(),
                token,
            })));
        }
        let store = self.pull.store.clone();
        let adapters = self.settings.adapters.until(&self.pull.stop);
        let part = recipe.part();
        let child_bytes = child_bytes(&adapters, &original);
        let read = Box::new(move || original.picture((&store, &adapters), part, MOST_BYTES));
        Ok(Ok(Task {
            ticket: Ticket {
                job,
                token,
                content: row.file.sha256,
                recipe: recipe.clone(),
            },
            original: read,
            child_bytes,
            recipe,
        }))
    }

    /// The format of an asset by its record.
    async fn format(&self, asset: &AssetId) -> Result<Option<String>, Error> {
        let stored = self.pull.catalogue.record(&asset.key()).await?;
        let asset = stored.and_then(|stored| record::asset(&stored.record).ok());
        Ok(asset.and_then(|asset| asset.format))
    }

    async fn stage(&self, finished: Finished<Ticket>) -> Result<(), Error> {
        let Ticket {
            job,
            token,
            content,
            recipe,
        } = finished.ticket;
        let ending = match (finished.result, &job.work) {
            (Ok(renditions), Work::Regenerate(render)) => {
                match self
                    .stage_all(&job, render, renditions, (&content, &recipe))
                    .await
                {
                    Ok(parts) => Ending::Landed {
                        parts,
                        then: Vec::new(),
                    },
                    Err(error) => self.pull.judge(&job, &error),
                }
            }
            (Err(error), _) if error.class() == Class::Permanent => {
                let reason = chain(&error);
                self.pull
                    .monitor
                    .finding(&format!("{}: no renditions: {reason}", job.asset));
                Ending::Unrenderable(Finding {
                    asset: job.asset.clone(),
                    content,
                    reason,
                })
            }
            (Err(error), _) => self.pull.judge(
                &job,
                &Error::Render {
                    asset: job.asset.clone(),
                    reason: error.to_string(),
                },
            ),
            (Ok(_), _) => Ending::Release,
        };
        self.hand_back(Item { job, ending, token }).await;
        Ok(())
    }

    async fn hand_back(&self, item: Item) {
        if !pool::send(&self.items, item).await {
            self.pull.stop.request();
        }
    }

    async fn stage_all(
        &self,
        job: &Job,
        render: &RegenerateJob,
        renditions: Vec<Rendition>,
        (content, recipe): (&Sha256, &Recipe),
    ) -> Result<Vec<Part>, Error> {
        let dir = MediaPath::new(render.output_dir.as_str())?;
        let mut parts = Vec::with_capacity(renditions.len());
        for rendition in renditions {
            let fingerprint = recipe.made_of(content, &rendition);
            let path = dir.join(&rendition.file_name)?;
            let modified = self.fresh_second(&path, &job.asset).await?;
            let mut staged = self.pull.staging.create()?;
            let mut hasher = Hasher::new(false);
            hasher.update(&rendition.bytes);
            let digests = hasher.finish();
            let staged =
                spawn_blocking(move || staged.write_all(&rendition.bytes).map(|()| staged))
                    .await
                    .map_err(|_| Error::Worker)??;
            let file = MediaFile {
                kind: FileKind::Generated,
                path,
                place: None,
                asset: job.asset.clone(),
                size: digests.size,
                modified,
                sha256: digests.sha256,
                md5: None,
                authored: true,
                fingerprint,
            };
            parts.push(Part {
                content: staged.into(),
                file,
                received: 0,
                way: Way::Made,
                made_of: None,
                room: None,
            });
        }
        crash::point(Point::RenditionsStaged)?;
        Ok(parts)
    }

    /// A whole second later than any this name was ever published with, so that EMDB's comparison sees the change (media
    /// spec 8.4).
    async fn fresh_second(&self, path: &MediaPath, asset: &AssetId) -> Result<Timestamp, Error> {
        let now = self.pull.seams.clock.now();
        let last = self
            .pull
            .catalogue
            .file_named(FileKind::Generated, path, Some(asset))
            .await?
            .map(|row| row.file.modified);
        Ok(fresh_second(now, last))
    }
}
