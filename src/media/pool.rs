//! Rendering on all cores: tasks in by a crossbeam channel, results out by a tokio channel, both bounded by the caller.
//!
//! One thread, the dispatcher, takes tasks and hands each to a rayon pool of its own, never more at once than the pool
//! has threads: so at most that many originals are in memory, and a slow disk or a full result channel slows the
//! sender of tasks. A photo's presets are spread over the same pool, so the last photo of a queue still uses every core.
//!
//! Started by [`Regenerator::start`]. Ends when every sender of tasks is gone and all work is handed back, or when
//! nobody receives results any more; [`Regenerator::join`] waits for that.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::mpsc;

use super::{Error, Limits, Recipe, Rendition, render_spread};

/// One original to render.
pub struct Task<T> {
    /// The caller's, handed back with the result.
    pub ticket: T,
    /// Reads the whole original, on a thread of the pool.
    pub original: Box<dyn FnOnce() -> io::Result<Vec<u8>> + Send>,
    /// What to make of it.
    pub recipe: Recipe,
}

impl<T: fmt::Debug> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("ticket", &self.ticket)
            .field("recipe", &self.recipe)
            .finish_non_exhaustive()
    }
}

/// What became of a task. Every task taken comes back as one of these.
#[derive(Debug)]
pub struct Finished<T> {
    /// The caller's ticket.
    pub ticket: T,
    /// All its renditions, or why there are none.
    pub result: Result<Vec<Rendition>, Error>,
}

/// The running pool. Dropping the handle lets it run on until its tasks end.
#[derive(Debug)]
#[must_use = "join it to know that all work is handed back"]
pub struct Regenerator {
    dispatcher: JoinHandle<()>,
}

impl Regenerator {
    /// Starts `threads` workers (0 for one per core) on `tasks`; results go to `done` as they are ready, in any order.
    ///
    /// # Errors
    /// [`Error::Threads`] when the system hands out no more threads.
    pub fn start<T: Send + 'static>(
        threads: usize,
        limits: Limits,
        tasks: Receiver<Task<T>>,
        done: mpsc::Sender<Finished<T>>,
    ) -> Result<Self, Error> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("media-{index}"))
            .build()
            .map_err(|error| Error::Threads(io::Error::other(error)))?;
        let dispatcher = std::thread::Builder::new()
            .name("media-dispatch".to_owned())
            .spawn(move || dispatch(&pool, limits, &tasks, &done))
            .map_err(Error::Threads)?;
        Ok(Self { dispatcher })
    }

    /// Waits until every sender of tasks is dropped and every result is handed over. Blocks: not for async code.
    pub fn join(self) {
        if self.dispatcher.join().is_err() {
            tracing::error!("media dispatcher panicked");
        }
    }
}

/// Hands tasks to the pool until there are none, then waits for those in work.
fn dispatch<T: Send + 'static>(
    pool: &rayon::ThreadPool,
    limits: Limits,
    tasks: &Receiver<Task<T>>,
    done: &mpsc::Sender<Finished<T>>,
) {
    // A permit is an item in the channel: taken out before a task, put back when its result is handed over.
    let workers = pool.current_num_threads();
    let (permits, free) = bounded(workers);
    for _ in 0..workers {
        drop(Permit(permits.clone()));
    }
    loop {
        free.recv().expect("this function holds a sender");
        let permit = Permit(permits.clone());
        if done.is_closed() {
            break;
        }
        let Ok(task) = tasks.recv() else { break };
        let done = done.clone();
        pool.spawn(move || {
            let finished = finish(task, &limits);
            // Refused only when nobody wants results any more; the dispatcher sees that too.
            let _unwanted = done.blocking_send(finished);
            drop(permit);
        });
    }
    for _ in 0..workers {
        free.recv().expect("this function holds a sender");
    }
}

/// Puts itself back when dropped, also by a panic.
struct Permit(Sender<()>);

impl Drop for Permit {
    fn drop(&mut self) {
        // Never full: there is room for as many as there are permits.
        let _full = self.0.try_send(());
    }
}

/// Reads and renders one original; a panic on the way is this original's error.
fn finish<T>(task: Task<T>, limits: &Limits) -> Finished<T> {
    let Task {
        ticket,
        original,
        recipe,
    } = task;
    // Nothing outlives the closure but its result, so no half-changed state can be seen after a panic.
    let result = catch_unwind(AssertUnwindSafe(|| {
        let bytes = original().map_err(Error::Read)?;
        render_spread(&bytes, &recipe, limits)
    }));
    let result = result.unwrap_or_else(|payload| {
        let message = message(payload.as_ref());
        tracing::warn!(panic = message, "rendering panicked");
        Err(Error::Panicked { message })
    });
    Finished { ticket, result }
}

/// What a panic said, when it said it in words.
fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::render;
    use crate::model::preset::image_presets;
    use std::collections::BTreeMap;
    use std::sync::{Arc, Barrier};

    fn photo(side: u32) -> Vec<u8> {
        let image = image::RgbImage::from_fn(side, side / 2, |x, y| {
            image::Rgb([(x * 3) as u8, (y * 5) as u8, (x ^ y) as u8])
        });
        let mut bytes = io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn task(
        ticket: u32,
        original: impl FnOnce() -> io::Result<Vec<u8>> + Send + 'static,
    ) -> Task<u32> {
        Task {
            ticket,
            original: Box::new(original),
            recipe: image_presets().into(),
        }
    }

    type Results = BTreeMap<u32, Result<Vec<Rendition>, Error>>;

    /// Runs `tasks` through a pool with channels of one place and returns everything it handed back.
    fn run(threads: usize, tasks: Vec<Task<u32>>) -> Results {
        let (send, receive) = bounded(1);
        let (done, mut finished) = mpsc::channel(1);
        let pool = Regenerator::start(threads, Limits::default(), receive, done).unwrap();
        let feeder = std::thread::spawn(move || {
            for task in tasks {
                send.send(task).unwrap();
            }
        });
        let mut results = BTreeMap::new();
        while let Some(Finished { ticket, result }) = finished.blocking_recv() {
            assert!(results.insert(ticket, result).is_none(), "{ticket} twice");
        }
        feeder.join().unwrap();
        pool.join();
        results
    }

    #[test]
    fn every_ticket_comes_back_and_bad_ones_stop_nothing() {
        let mut tasks = vec![
            task(0, || panic!("reader broke")),
            task(1, || Err(io::Error::other("disk"))),
            task(2, || Ok(b"<html>".to_vec())),
        ];
        tasks.extend((3..9).map(|ticket| task(ticket, || Ok(photo(60)))));
        let results = run(2, tasks);
        assert_eq!(
            results.keys().copied().collect::<Vec<_>>(),
            (0..9).collect::<Vec<_>>()
        );
        assert!(
            matches!(&results[&0], Err(Error::Panicked { message }) if message == "reader broke")
        );
        assert!(matches!(&results[&1], Err(Error::Read(_))));
        assert!(matches!(&results[&2], Err(Error::NotAnImage)));
        for ticket in 3..9 {
            assert_eq!(results[&ticket].as_ref().unwrap().len(), 5);
        }
    }

    #[test]
    fn bytes_are_the_same_whatever_the_number_of_threads() {
        let alone = render(&photo(700), &image_presets().into(), &Limits::default()).unwrap();
        for threads in [1, 2, 4] {
            let results = run(threads, vec![task(1, || Ok(photo(700)))]);
            assert_eq!(results[&1].as_ref().unwrap(), &alone);
        }
    }

    #[test]
    fn as_many_originals_are_in_work_as_there_are_threads() {
        // Passes only if both readers run at the same time.
        let barrier = Arc::new(Barrier::new(2));
        let tasks = (0..2).map(|ticket| {
            let barrier = Arc::clone(&barrier);
            task(ticket, move || {
                barrier.wait();
                Err(io::Error::other("met"))
            })
        });
        assert_eq!(run(2, tasks.collect()).len(), 2);
    }

    #[test]
    fn the_pool_ends_when_all_senders_are_gone() {
        let (send, receive) = bounded::<Task<u32>>(1);
        let (done, mut finished) = mpsc::channel(1);
        let pool = Regenerator::start(0, Limits::default(), receive, done).unwrap();
        drop(send.clone());
        drop(send);
        pool.join();
        assert!(finished.blocking_recv().is_none());
    }

    #[test]
    fn the_pool_ends_when_nobody_wants_results() {
        let (send, receive) = bounded(1);
        let (done, finished) = mpsc::channel(1);
        let pool = Regenerator::start(1, Limits::default(), receive, done).unwrap();
        drop(finished);
        // Refused once the dispatcher has seen that the other end is gone.
        while send.send(task(1, || Ok(Vec::new()))).is_ok() {}
        pool.join();
    }
}
