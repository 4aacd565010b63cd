//! What a service manager says to us, and we to it: SIGHUP, and systemd's notifications. Without one nothing is said.

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::schedule::Scheduler;
use crate::shutdown::Shutdown;

/// The node answers requests.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// The scheduler looked at its clock: whoever watches that it does is told so.
pub(super) fn alive() {
    notify(&[NotifyState::Watchdog]);
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

/// SIGHUP, from now on heard and not the end of the process.
pub(super) struct Hangups(Option<Signal>);

impl Hangups {
    /// Listens.
    pub(super) fn listen() -> Self {
        let signal = signal(SignalKind::hangup());
        Self(
            signal
                .inspect_err(|error| tracing::warn!(%error, "SIGHUP is not heard"))
                .ok(),
        )
    }

    async fn next(&mut self) {
        match &mut self.0 {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
}

/// Reads the configuration again at every SIGHUP, until the end is asked for. One that cannot be used changes nothing.
pub(super) async fn reload(mut hangups: Hangups, scheduler: &Scheduler, shutdown: &Shutdown) {
    loop {
        tokio::select! {
            biased;
            () = shutdown.wait() => return notify(&[NotifyState::Stopping]),
            () = hangups.next() => {}
        }
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            notify(&[NotifyState::Reloading, now]);
        }
        match scheduler.reload().await {
            Ok(()) => tracing::info!("the configuration was read again"),
            Err(error) => {
                let why = crate::error::chain(&error);
                tracing::error!("{why}; the settings stay as they were");
            }
        }
        ready();
    }
}
