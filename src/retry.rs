//! When to try again, and when to stop trying.
//!
//! Two limits hold at once. Each item has its own: `attempts` tries with full jitter in between (a random wait between
//! nothing and a ceiling that doubles), so that a thousand items that failed together do not come back together. And each
//! peer has a [`Budget`]: retries may be a tenth of what succeeds, plus a reserve, so that a peer in trouble is not met
//! with ten times the load (the pattern of gRPC's and cargo's clients). The caller waits; nothing here sleeps.

use std::sync::Mutex;
use std::time::Duration;

use crate::config::Limits;
use crate::seams::Rng;

/// How often one item is tried, and how long to wait in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Tries in all, at least 1.
    pub attempts: u32,
    /// Ceiling of the first wait; doubles with each further one.
    pub base: Duration,
    /// Highest ceiling.
    pub cap: Duration,
}

impl Policy {
    /// The rule of the configuration.
    #[must_use]
    pub fn of(limits: &Limits) -> Self {
        Self {
            attempts: limits.attempts,
            base: limits.retry_base,
            cap: limits.retry_cap,
        }
    }

    /// The wait before the next try after `failed` failures, or `None` when the item has had its tries.
    ///
    /// A `Retry-After` of the peer is a floor: asking earlier than the peer said is never right.
    #[must_use]
    pub fn wait(
        &self,
        failed: u32,
        retry_after: Option<Duration>,
        rng: &dyn Rng,
    ) -> Option<Duration> {
        if failed >= self.attempts {
            return None;
        }
        let doubling = 1_u32
            .checked_shl(failed.saturating_sub(1))
            .unwrap_or(u32::MAX);
        let ceiling = self.base.saturating_mul(doubling).min(self.cap);
        let jitter = Duration::from_millis(
            rng.below(
                u64::try_from(ceiling.as_millis())
                    .unwrap_or(u64::MAX)
                    .saturating_add(1),
            ),
        );
        Some(jitter.max(retry_after.unwrap_or_default()))
    }
}

/// What a peer can still be asked again before it is left alone.
#[derive(Debug)]
pub struct Budget {
    tenths: Mutex<u32>,
}

/// Retries a fresh budget allows, and the most it can hold.
const RESERVE: u32 = 50;

impl Default for Budget {
    fn default() -> Self {
        Self {
            tenths: Mutex::new(RESERVE * 10),
        }
    }
}

impl Budget {
    /// A request succeeded: a tenth of a retry is earned.
    pub fn earn(&self) {
        let mut tenths = self
            .tenths
            .lock()
            .expect("no panic while the budget is held");
        *tenths = (*tenths + 1).min(RESERVE * 10);
    }

    /// Takes one retry; `false` when none is left and the pass should end as "temporary, try later".
    #[must_use]
    pub fn spend(&self) -> bool {
        let mut tenths = self
            .tenths
            .lock()
            .expect("no panic while the budget is held");
        let left = tenths.checked_sub(10);
        *tenths = left.unwrap_or(*tenths);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Highest;

    impl Rng for Highest {
        fn fill(&self, out: &mut [u8]) {
            out.fill(0xff);
        }

        fn below(&self, bound: u64) -> u64 {
            bound.saturating_sub(1)
        }
    }

    const POLICY: Policy = Policy {
        attempts: 4,
        base: Duration::from_secs(1),
        cap: Duration::from_secs(3),
    };

    #[test]
    fn ceilings_double_up_to_the_cap_and_the_last_failure_gets_none() {
        let waits: Vec<_> = (1..=4)
            .map(|failed| {
                POLICY
                    .wait(failed, None, &Highest)
                    .map(|wait| wait.as_secs())
            })
            .collect();
        assert_eq!(waits, [Some(1), Some(2), Some(3), None]);
    }

    #[test]
    fn the_peers_word_is_a_floor() {
        assert_eq!(
            POLICY.wait(1, Some(Duration::from_secs(9)), &Highest),
            Some(Duration::from_secs(9))
        );
    }

    #[test]
    fn a_budget_is_spent_and_earned_back_by_success() {
        let budget = Budget::default();
        assert!((0..RESERVE).all(|_| budget.spend()));
        assert!(!budget.spend());
        (0..10).for_each(|_| budget.earn());
        assert!(budget.spend());
        assert!(!budget.spend());
    }
}
