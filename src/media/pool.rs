//! Rendering on all cores: tasks in by a crossbeam channel, results out by a tokio channel, both bounded by the caller.
//!
//! ```text
//! dispatcher: task, room for its program? -> pool: read it, look at its header
//!          -> dispatcher: room for its pixels? -> pool: render -> result
//! ```
//!
//! One thread, the dispatcher, takes tasks, never more at once than its rayon pool has threads: so at most that many files are
//! in memory, and a slow disk or a full result channel slows the sender of tasks. What their pixels take together stays below
//! [`Limits::max_in_work_bytes`], so forty huge originals are rendered one after the other; one that is larger alone is
//! rendered while nothing else is. The presets of a photo that has threads to spare, the last one of a queue or one so large that it
//! keeps others out, are spread over the same pool; no others are, for a thread that waits for a part of its photo takes up a part of
//! another, and its own is not done before that. No thread of the pool ever waits for memory: it may be the one whose work below on
//! its stack would free it.
//!
//! How many threads there are may change meanwhile: what is in work ends with the threads it has, and what comes after it has the new ones.
//!
//! Started by [`Regenerator::start`]. Ends when every sender of tasks is gone and all work is handed back, or when
//! nobody receives results any more; [`Regenerator::join`] waits for that.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use tokio::sync::mpsc;

use super::budget::Budget;
use super::pages::Pages;
use super::{Error, Limits, Recipe, Rendered, Rendition, footprint, render_pages};
use crate::throttle::Most;

/// Most originals in work, however many threads there are: beyond that they share in the renditions of each.
const IN_WORK: usize = 256;
/// How often it is looked whether there are to be other threads.
const LOOK: Duration = Duration::from_millis(500);

/// One original to render.
pub struct Task<T> {
    /// The caller's, handed back with the result.
    pub ticket: T,
    /// Reads the whole original, on a thread of the pool.
    pub original: Box<dyn FnOnce() -> io::Result<Vec<u8>> + Send>,
    /// Memory that reading it takes beside that, bytes: of a program that makes a picture of it first. It is read when there is room.
    pub child_bytes: u64,
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
    /// Pages after the first, counted from 1, that the renditions are without, each with why.
    pub broken: Vec<(u32, Error)>,
}

/// The running pool. Dropping the handle lets it run on until its tasks end.
#[derive(Debug)]
#[must_use = "join it to know that all work is handed back"]
pub struct Regenerator {
    dispatcher: JoinHandle<u64>,
}

impl Regenerator {
    /// Starts `threads` workers (0 for one per core) on `tasks`; results go to `done` as they are ready, in any order.
    ///
    /// # Errors
    /// [`Error::Threads`] when the system hands out no more threads.
    pub fn start<T: Send + 'static>(
        threads: impl Into<Most>,
        limits: Limits,
        tasks: Receiver<Task<T>>,
        done: mpsc::Sender<Finished<T>>,
    ) -> Result<Self, Error> {
        let crew = Crew::of(threads.into())?;
        let dispatcher = std::thread::Builder::new()
            .name("media-dispatch".to_owned())
            .spawn(move || dispatch(crew, limits, &tasks, &done))
            .map_err(Error::Threads)?;
        Ok(Self { dispatcher })
    }

    /// Waits until every sender of tasks is dropped and every result is handed over. Blocks: not for async code.
    ///
    /// Returns the most bytes that the pixels of originals in work took at one moment, as their headers announced them.
    pub fn join(self) -> u64 {
        self.dispatcher.join().unwrap_or_else(|_| {
            tracing::error!("media dispatcher panicked");
            0
        })
    }
}

/// The threads, as many as there are to be.
struct Crew {
    threads: Most,
    /// As many were asked for.
    asked: usize,
    pool: rayon::ThreadPool,
}

impl Crew {
    fn of(threads: Most) -> Result<Self, Error> {
        let asked = threads.get();
        Ok(Self {
            pool: pool(asked)?,
            threads,
            asked,
        })
    }

    /// Has other threads where there are to be; those of before end with what they have in work.
    fn renew(&mut self) {
        let asked = self.threads.get();
        if asked == self.asked {
            return;
        }
        self.asked = asked;
        match pool(asked) {
            Ok(pool) => self.pool = pool,
            Err(error) => tracing::warn!(%error, threads = asked, "the threads stay as they are"),
        }
    }

    /// Most originals in work.
    fn most(&self) -> usize {
        self.pool.current_num_threads().min(IN_WORK)
    }
}

fn pool(threads: usize) -> Result<rayon::ThreadPool, Error> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("media-{index}"))
        .build()
        .map_err(|error| Error::Threads(io::Error::other(error)))
}

/// What the pool tells the dispatcher.
enum News<T> {
    /// An original is read, its pixels will take so many bytes, and so many that its program took are free.
    Read(u64, Box<Task<T>>, Pages, u64),
    /// A result is handed over, and so many bytes are free.
    Done(u64),
}

/// Hands tasks to the pool until there are none, then waits for those in work; the most memory that was in use.
fn dispatch<T: Send + 'static>(
    mut crew: Crew,
    limits: Limits,
    tasks: &Receiver<Task<T>>,
    done: &mpsc::Sender<Finished<T>>,
) -> u64 {
    // Room for both news of every task in work, so no thread of the pool waits here.
    let (tell, news) = bounded(2 * IN_WORK);
    let mut budget = Budget::<Work<T>>::new(limits.max_in_work_bytes);
    let (mut in_work, mut are_more) = (0, true);
    let nothing = never();
    loop {
        crew.renew();
        while let Some((bytes, work)) = budget.admit() {
            let (done, end) = (done.clone(), Ending::new(&tell, bytes));
            match work {
                Work::Read(task) => crew.pool.spawn(move || read(task, end, &done)),
                Work::Render(task, mut pages) => {
                    let share = limits.max_in_work_bytes / crew.most() as u64;
                    let is_last = in_work < crew.most() && tasks.is_empty();
                    let is_spread = is_last || bytes > share;
                    crew.pool.spawn(move || {
                        let render = || render_pages(&mut pages, &task.recipe, &limits, is_spread);
                        let result = guarded(render);
                        hand_over(task.ticket, result, &done, end);
                    });
                }
            }
        }
        // Nobody wants results any more: no new task is taken, so its sender sees that too.
        are_more &= !done.is_closed();
        if !are_more && in_work == 0 {
            return budget.peak();
        }
        let source = if are_more && in_work < crew.most() {
            tasks
        } else {
            &nothing
        };
        select! {
            recv(source) -> task => match task {
                Ok(task) => {
                    in_work += 1;
                    if task.child_bytes > 0 {
                        budget.wait(task.child_bytes, Work::Read(task));
                    } else {
                        let (end, done) = (Ending::new(&tell, 0), done.clone());
                        crew.pool.spawn(move || read(task, end, &done));
                    }
                }
                Err(_) => are_more = false,
            },
            recv(news) -> told => match told.expect("this function holds a sender") {
                News::Read(bytes, task, original, taken) => {
                    budget.free(taken);
                    budget.wait(bytes, Work::Render(*task, original));
                }
                News::Done(bytes) => {
                    budget.free(bytes);
                    in_work -= 1;
                }
            },
            default(LOOK) => {}
        }
    }
}

/// What waits for memory.
enum Work<T> {
    /// To be read by a program.
    Read(Task<T>),
    /// To be rendered.
    Render(Task<T>, Pages),
}

/// Tells the dispatcher of the end of a task when dropped, also by a panic.
struct Ending<T> {
    tell: Sender<News<T>>,
    bytes: u64,
    /// The task goes on, of which the dispatcher knows.
    goes_on: bool,
}

impl<T> Ending<T> {
    fn new(tell: &Sender<News<T>>, bytes: u64) -> Self {
        Self {
            tell: tell.clone(),
            bytes,
            goes_on: false,
        }
    }

    /// Tells that the original is read instead.
    fn read(mut self, bytes: u64, task: Task<T>, original: Pages) {
        self.goes_on = true;
        let news = News::Read(bytes, Box::new(task), original, self.bytes);
        let _gone = self.tell.try_send(news);
    }
}

impl<T> Drop for Ending<T> {
    fn drop(&mut self) {
        if self.goes_on {
            return;
        }
        // Never full, see above; without a dispatcher nobody has to know.
        let _gone = self.tell.try_send(News::Done(self.bytes));
    }
}

/// Reads an original and hands it to the dispatcher, or its error to whoever waits for results.
fn read<T>(mut task: Task<T>, end: Ending<T>, done: &mpsc::Sender<Finished<T>>) {
    let reader = std::mem::replace(&mut task.original, Box::new(|| Ok(Vec::new())));
    let read = guarded(|| {
        let original = reader().map_err(Error::Read)?;
        let mut pages = Pages::open(original, task.recipe.last_page());
        Ok((largest(&mut pages, &task.recipe), pages))
    });
    match read {
        Ok((bytes, original)) => end.read(bytes, task, original),
        Err(error) => hand_over(task.ticket, Err(error), done, end),
    }
}

/// The most bytes that the pixels of one of the pages in question take. They are in work one after the other.
fn largest(pages: &mut Pages, recipe: &Recipe) -> u64 {
    let is_drawn = recipe.decoder.is_some();
    let bytes = (recipe.pages()).map(|page| pages.turned_to(page, is_drawn).map_or(0, footprint));
    bytes.max().unwrap_or(0)
}

fn hand_over<T>(
    ticket: T,
    result: Result<Rendered, Error>,
    done: &mpsc::Sender<Finished<T>>,
    end: Ending<T>,
) {
    // Refused only when nobody wants results any more; the dispatcher sees that too.
    let (result, broken) = match result {
        Ok((made, broken)) => (Ok(made), broken),
        Err(error) => (Err(error), Vec::new()),
    };
    let _unwanted = done.blocking_send(Finished {
        ticket,
        result,
        broken,
    });
    drop(end);
}

/// Does one original's work; a panic on the way is this original's error.
pub(super) fn guarded<R>(work: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    // Nothing outlives the closure but its result, so no half-changed state can be seen after a panic.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let message = message(payload.as_ref());
        tracing::warn!(panic = message, "rendering panicked");
        Err(Error::Panicked { message })
    })
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
    use std::sync::atomic::{AtomicU32, Ordering};
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
            child_bytes: 0,
            recipe: image_presets().into(),
        }
    }

    type Results = BTreeMap<u32, Result<Vec<Rendition>, Error>>;

    /// Runs `tasks` through a pool with channels of one place and returns everything it handed back.
    fn run(threads: usize, tasks: Vec<Task<u32>>) -> Results {
        run_within(threads, Limits::default(), tasks).0
    }

    /// The same within limits, with the most memory that was in use.
    fn run_within(threads: usize, limits: Limits, tasks: Vec<Task<u32>>) -> (Results, u64) {
        let (send, receive) = bounded(1);
        let (done, mut finished) = mpsc::channel(1);
        let pool = Regenerator::start(threads, limits, receive, done).unwrap();
        let feeder = std::thread::spawn(move || {
            for task in tasks {
                send.send(task).unwrap();
            }
        });
        let mut results = BTreeMap::new();
        while let Some(Finished { ticket, result, .. }) = finished.blocking_recv() {
            assert!(results.insert(ticket, result).is_none(), "{ticket} twice");
        }
        feeder.join().unwrap();
        (results, pool.join())
    }

    #[test]
    fn originals_in_work_share_the_memory_there_is() {
        let original = photo(300);
        let each = footprint(&original);
        assert!(each >= 300 * 150 * 3);
        let read = Arc::new(AtomicU32::new(0));
        let tasks = || {
            let task = |ticket| {
                let (read, original) = (Arc::clone(&read), original.clone());
                task(ticket, move || {
                    read.fetch_add(1, Ordering::Relaxed);
                    Ok(original)
                })
            };
            (0..40).map(task).collect()
        };
        for (max_in_work_bytes, most) in [(each * 5 / 2, each * 2), (each / 2, each)] {
            let limits = Limits {
                max_in_work_bytes,
                ..Limits::default()
            };
            read.store(0, Ordering::Relaxed);
            let (results, peak) = run_within(8, limits, tasks());
            assert_eq!(read.load(Ordering::Relaxed), 40);
            assert_eq!(results.values().filter(|result| result.is_ok()).count(), 40);
            assert!((each..=most).contains(&peak), "{peak} of {most}");
        }
    }

    #[test]
    fn programs_that_read_originals_share_the_memory_too() {
        let running = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let task = |ticket| {
            let running = Arc::clone(&running);
            let read = move || {
                let [now, most] = &*running;
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let made = photo(60);
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(made)
            };
            Task {
                child_bytes: 100_000_000,
                ..task(ticket, read)
            }
        };
        let limits = Limits {
            max_in_work_bytes: 250_000_000,
            ..Limits::default()
        };
        let (results, peak) = run_within(8, limits, (0..30).map(task).collect());
        assert_eq!(results.values().filter(|result| result.is_ok()).count(), 30);
        let most = running[1].load(Ordering::SeqCst);
        assert!((1..=2).contains(&most), "{most} at once");
        assert!(
            (100_000_000..=limits.max_in_work_bytes).contains(&peak),
            "{peak}"
        );
    }

    #[test]
    fn one_task_of_many_presets_and_many_tasks_end_with_the_least_memory() {
        // A thread that waits for its own photo's presets may take up another photo meanwhile.
        let limits = Limits {
            max_in_work_bytes: 1,
            ..Limits::default()
        };
        let tasks = (0..12)
            .map(|ticket| task(ticket, || Ok(photo(200))))
            .collect();
        let (results, _) = run_within(3, limits, tasks);
        assert!(results.values().all(Result::is_ok));
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
        for threads in [1, 2, 8] {
            // The last one of a queue has its presets spread over the threads that are left, the others have not.
            let results = run(
                threads,
                (1..6).map(|n| task(n, || Ok(photo(700)))).collect(),
            );
            assert_eq!(results.len(), 5);
            for made in results.values() {
                assert_eq!(made.as_ref().unwrap(), &alone);
            }
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
    fn threads_that_are_asked_for_meanwhile_take_what_comes_next() {
        let threads = Most::from(1);
        let (send, receive) = bounded(2);
        let (done, mut finished) = mpsc::channel(2);
        let pool = Regenerator::start(threads.clone(), Limits::default(), receive, done).unwrap();
        let (began, beginnings) = std::sync::mpsc::channel();
        let (meet, met) = std::sync::mpsc::channel();
        let long = Duration::from_secs(20);
        let first = task(1, move || {
            began.send(()).map_err(io::Error::other)?;
            met.recv_timeout(long).map_err(io::Error::other)?;
            Err(io::Error::other("met"))
        });
        send.send(first).unwrap();
        // The only thread is taken, and holds until the second task runs.
        beginnings.recv_timeout(long).unwrap();
        let second = task(2, move || {
            meet.send(()).map_err(io::Error::other)?;
            Err(io::Error::other("met"))
        });
        send.send(second).unwrap();
        threads.set(2);
        drop(send);
        for _ in 0..2 {
            let result = finished.blocking_recv().unwrap().result;
            let error = crate::error::chain(&result.unwrap_err());
            assert!(error.contains("met"), "{error}");
        }
        pool.join();
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
