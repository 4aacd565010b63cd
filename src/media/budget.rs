//! Memory that decoded originals may take together: who comes first is served first, and what is too large runs alone.

use std::collections::VecDeque;

/// Work that waits for memory, and how much of it is in use.
#[derive(Debug)]
pub(super) struct Budget<W> {
    most: u64,
    in_use: u64,
    /// Most that was in use at one moment.
    peak: u64,
    waiting: VecDeque<(u64, W)>,
}

impl<W> Budget<W> {
    /// For `most` bytes.
    pub(super) fn new(most: u64) -> Self {
        Self {
            most,
            in_use: 0,
            peak: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Adds work that needs so many bytes.
    pub(super) fn wait(&mut self, bytes: u64, work: W) {
        self.waiting.push_back((bytes, work));
    }

    /// The next work there is room for, with its bytes, which are in use from now on.
    ///
    /// Strictly in order: a large one is not overtaken again and again by small ones. With nothing in use anything fits.
    pub(super) fn admit(&mut self) -> Option<(u64, W)> {
        let (bytes, _) = self.waiting.front()?;
        if self.in_use > 0 && self.in_use.saturating_add(*bytes) > self.most {
            return None;
        }
        let (bytes, work) = self.waiting.pop_front()?;
        self.in_use = self.in_use.saturating_add(bytes);
        self.peak = self.peak.max(self.in_use);
        Some((bytes, work))
    }

    /// Gives bytes back.
    pub(super) fn free(&mut self, bytes: u64) {
        self.in_use = self.in_use.saturating_sub(bytes);
    }

    /// Most bytes in use at one moment so far.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_starts_in_order_while_it_fits() {
        let mut budget = Budget::new(10);
        for (bytes, name) in [(4, 'a'), (5, 'b'), (3, 'c'), (1, 'd')] {
            budget.wait(bytes, name);
        }
        assert_eq!(budget.admit(), Some((4, 'a')));
        assert_eq!(budget.admit(), Some((5, 'b')));
        // 'd' would fit and has to wait for its turn.
        assert_eq!(budget.admit(), None);
        budget.free(4);
        assert_eq!(budget.admit(), Some((3, 'c')));
        assert_eq!(budget.admit(), Some((1, 'd')));
        assert_eq!((budget.admit(), budget.peak()), (None, 9));
    }

    #[test]
    fn what_is_larger_than_all_runs_alone() {
        let mut budget = Budget::new(10);
        budget.wait(2, 'a');
        budget.wait(u64::MAX, 'b');
        budget.wait(2, 'c');
        assert_eq!(budget.admit(), Some((2, 'a')));
        assert_eq!(budget.admit(), None);
        budget.free(2);
        assert_eq!(budget.admit(), Some((u64::MAX, 'b')));
        assert_eq!(budget.admit(), None);
        budget.free(u64::MAX);
        assert_eq!(budget.admit(), Some((2, 'c')));
    }
}
