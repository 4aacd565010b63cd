//! One word for "please end", passed to everything that runs for long.
//!
//! The first SIGINT or SIGTERM asks: stages stop claiming, park what they hold at a chunk, and drain in order. The second
//! one aborts the process on the spot; whatever that leaves behind is what a kill leaves, and the next run copes with it.

use tokio_util::sync::CancellationToken;

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

    /// Ties this handle to SIGINT and SIGTERM. To be called once, by the program.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn listen(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let first = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if first.requested() {
                    tracing::warn!("second signal, ending at once");
                    std::process::exit(130);
                }
                tracing::info!("asked to end: finishing what is in hand");
                first.request();
            }
        });
        Ok(())
    }
}
