//! One word for "please end", passed to everything that runs for long.
//!
//! The first SIGINT or SIGTERM asks: stages stop claiming, park what they hold at a chunk, and drain in order. A second one,
//! or [`PATIENCE`] after the first, ends the process on the spot; whatever that leaves behind is what a kill leaves, and the
//! next run copes with it.
//!
//! Signals are waited for on a thread of its own with a runtime of its own, so that neither a blocked call on the program's
//! runtime nor a full pipe on stderr keeps the process alive.

use std::sync::mpsc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long the first signal may take to be obeyed.
pub const PATIENCE: Duration = Duration::from_secs(25);
/// How long a last word on stderr may take.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Exit code of an interrupted process.
const INTERRUPTED: i32 = 130;

/// A cheap handle that says whether the end was asked for.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A handle nobody but its clones can trigger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everybody who holds a clone to end.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns once the end was asked for.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }

    /// A handle that ends with this one and can also be ended alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Ties this handle to SIGINT and SIGTERM. To be called once, by the program. When this returns, no signal is missed.
    ///
    /// # Errors
    /// When the thread cannot be started or the signal handlers cannot be installed.
    pub fn listen(&self) -> std::io::Result<()> {
        let first = self.clone();
        let (ready, installed) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || match Signals::install() {
                Ok((runtime, signals)) => {
                    // The caller waits for it.
                    let _ = ready.send(Ok(()));
                    let word = runtime.block_on(signals.obey(&first, PATIENCE));
                    say(move || tracing::warn!("{word}"));
                    std::process::exit(INTERRUPTED);
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            })?;
        let gone = |_| std::io::Error::other("the thread for signals ended");
        installed.recv().map_err(gone)?
    }
}

/// The signals that ask a process to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn install() -> std::io::Result<(tokio::runtime::Runtime, Self)> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let signals = Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        };
        drop(entered);
        Ok((runtime, signals))
    }

    /// Passes the first signal on; returns, with the reason, when the process must not live on.
    async fn obey(mut self, shutdown: &Shutdown, patience: Duration) -> &'static str {
        self.next().await;
        shutdown.request();
        say(|| tracing::info!("asked to end: finishing what is in hand"));
        let deadline = tokio::time::sleep(patience);
        tokio::select! {
            () = self.next() => "second signal, ending at once",
            () = deadline => "what is in hand takes too long to finish, ending at once; the next run goes on from here",
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Says something on a thread of its own, and waits for that a moment at most: stderr may be a pipe that nobody empties.
fn say(word: impl FnOnce() + Send + 'static) {
    let (done, said) = mpsc::sync_channel(1);
    let speaking = std::thread::Builder::new().spawn(move || {
        word();
        // Nobody waits any more when it took too long.
        let _ = done.send(());
    });
    if speaking.is_ok() {
        let _ = said.recv_timeout(LAST_WORD);
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal as Raw, getpid, kill_process};

    use super::*;

    /// One test, since signals are the process's. Two that are ignored by default stand in.
    #[test]
    fn the_first_signal_asks_and_the_second_or_a_long_wait_ends() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let signals = || {
            let _entered = runtime.enter();
            Signals {
                interrupt: signal(SignalKind::window_change()).unwrap(),
                terminate: signal(SignalKind::from_raw(Raw::URG.as_raw())).unwrap(),
            }
        };
        let raise = |which| kill_process(getpid(), which).unwrap();
        let shutdown = Shutdown::new();
        let child = shutdown.child();
        let obeying = signals();
        raise(Raw::WINCH);
        let word = runtime.block_on(obeying.obey(&shutdown, Duration::ZERO));
        assert!(word.contains("too long"), "{word}");
        assert!(shutdown.requested() && child.requested());

        let (shutdown, obeying) = (Shutdown::new(), signals());
        let word = runtime.block_on(async {
            let again = async {
                raise(Raw::WINCH);
                shutdown.wait().await;
                raise(Raw::URG);
            };
            let (word, ()) =
                tokio::join!(obeying.obey(&shutdown, Duration::from_secs(3_600)), again);
            word
        });
        assert!(word.contains("second signal"), "{word}");
    }
}
