//! Whether a peer still reads what it is sent, and answers in the end.
//!
//! Only the time that the peer takes counts: neither what our disk needs for the next piece nor what the bandwidth limit holds
//! it back.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// How long a peer may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For one piece.
    pub(super) piece: Duration,
    /// For its answer, once it has everything.
    pub(super) answer: Duration,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// Ours: the next piece is on its way from the disk.
    Ours,
    /// The peer's, since then: it has a piece to take.
    Piece(Instant),
    /// The peer's, since then: it has everything.
    Answer(Instant),
}

/// One request under way.
#[derive(Debug)]
pub(super) struct Watch(Mutex<Turn>);

impl Watch {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Turn::Ours))
    }

    /// The peer took a piece and wants the next.
    pub(super) fn wants(&self) {
        self.set(Turn::Ours);
    }

    /// A piece was handed over.
    pub(super) fn given(&self) {
        self.set(Turn::Piece(Instant::now()));
    }

    /// Everything was handed over.
    pub(super) fn all_given(&self) {
        self.set(Turn::Answer(Instant::now()));
    }

    /// Returns when the peer has stood still for too long, with how long that was.
    pub(super) async fn stalled(&self, limits: Limits) -> Duration {
        loop {
            let now = Instant::now();
            let turn = *self.lock();
            let (since, limit) = match turn {
                Turn::Ours => (now, limits.piece),
                Turn::Piece(since) => (since, limits.piece),
                Turn::Answer(since) => (since, limits.answer),
            };
            let stood = now.duration_since(since);
            if stood >= limit && !matches!(turn, Turn::Ours) {
                return stood;
            }
            tokio::time::sleep(limit.saturating_sub(stood).max(Duration::from_millis(1))).await;
        }
    }

    fn set(&self, turn: Turn) {
        *self.lock() = turn;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Turn> {
        self.0.lock().expect("no panic while the turn is held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        piece: Duration::from_secs(30),
        answer: Duration::from_secs(600),
    };

    #[tokio::test(start_paused = true)]
    async fn only_the_peers_own_time_counts() {
        let watch = Watch::new();
        let hour = Duration::from_secs(3_600);
        let never = tokio::time::timeout(hour, watch.stalled(LIMITS)).await;
        assert!(never.is_err(), "the disk may take its time");
        watch.given();
        let started = Instant::now();
        assert_eq!(watch.stalled(LIMITS).await, LIMITS.piece);
        assert_eq!(started.elapsed(), LIMITS.piece);
        watch.wants();
        assert!(
            tokio::time::timeout(hour, watch.stalled(LIMITS))
                .await
                .is_err()
        );
        watch.all_given();
        let started = Instant::now();
        watch.stalled(LIMITS).await;
        assert_eq!(started.elapsed(), LIMITS.answer);
    }
}
