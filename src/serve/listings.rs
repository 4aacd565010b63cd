//! Listings that clients are in the middle of: the cursor they name and the page bounds that go with it. Rows are never kept,
//! so that a page is as fresh as its request. Bounded: the least recently used listing gives way to a new one, and one that
//! nobody asked about for a day is forgotten: EMDB's client fetches all generated files of a page before it asks for the next
//! (H-6), and films can take it hours. A client whose listing is gone is told so and begins again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::catalogue::Window;
use crate::model::Timestamp;

/// Most listings kept.
const MOST: usize = 64;
/// How long one is kept that nobody asks about.
const IDLE: Duration = Duration::from_secs(86_400);

/// The listings under way.
#[derive(Debug, Default)]
pub(super) struct Listings(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    turn: u64,
    open: HashMap<String, Open>,
}

#[derive(Debug)]
struct Open {
    window: Arc<Window>,
    used_at: Timestamp,
    turn: u64,
}

impl Listings {
    /// Keeps a new listing under the name that its client will echo.
    pub(super) fn keep(&self, session: String, window: Arc<Window>, now: Timestamp) {
        let mut kept = self.0.lock().expect("no panic while listings are held");
        kept.open.retain(|_, open| now.since(open.used_at) < IDLE);
        if kept.open.len() >= MOST {
            let oldest = kept.open.iter().min_by_key(|(_, open)| open.turn);
            let oldest = oldest.map(|(session, _)| session.clone());
            oldest.and_then(|session| kept.open.remove(&session));
        }
        kept.turn += 1;
        let open = Open {
            window,
            used_at: now,
            turn: kept.turn,
        };
        kept.open.insert(session, open);
    }

    /// The listing of this name, unless it is not known or not any more.
    pub(super) fn find(&self, session: &str, now: Timestamp) -> Option<Arc<Window>> {
        let mut kept = self.0.lock().expect("no panic while listings are held");
        kept.turn += 1;
        let turn = kept.turn;
        let open = kept.open.get_mut(session)?;
        if now.since(open.used_at) >= IDLE {
            kept.open.remove(session);
            return None;
        }
        (open.used_at, open.turn) = (now, turn);
        Some(Arc::clone(&open.window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(total: u64) -> Arc<Window> {
        Arc::new(Window {
            since: Timestamp::EPOCH,
            total,
            per_page: 1,
            bounds: Vec::new(),
        })
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn the_least_recently_used_listing_gives_way() {
        let listings = Listings::default();
        for n in 0..64 {
            listings.keep(n.to_string(), window(n), at(0));
        }
        assert_eq!(listings.find("0", at(0)).unwrap().total, 0);
        listings.keep("new".to_owned(), window(64), at(0));
        assert!(listings.find("1", at(0)).is_none());
        assert!(listings.find("0", at(0)).is_some() && listings.find("new", at(0)).is_some());
        assert_eq!(listings.0.lock().unwrap().open.len(), 64);
    }

    #[test]
    fn a_listing_that_rests_for_a_day_is_forgotten() {
        let listings = Listings::default();
        listings.keep("a".to_owned(), window(1), at(0));
        listings.keep("b".to_owned(), window(2), at(0));
        assert!(listings.find("a", at(80_000)).is_some());
        assert!(listings.find("a", at(166_399)).is_some());
        assert!(listings.find("a", at(252_799)).is_none());
        listings.keep("c".to_owned(), window(3), at(252_800));
        assert_eq!(listings.0.lock().unwrap().open.len(), 1);
    }
}
