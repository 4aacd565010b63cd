//! How often somebody may try to log in: a number of tries within a span, for each address and for each name, so that neither
//! one machine with many names nor many machines with one name get far.
//!
//! Memory is bounded: what is forgotten first, when the table is full, is what was tried longest ago.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::Duration;

use crate::model::{Sha256, Timestamp};

/// Tries from one address within [`SPAN`].
const OF_ADDRESS: u32 = 20;
/// Tries with one name within [`SPAN`]; more than a person needs, so that others lock nobody out for long.
const OF_NAME: u32 = 10;
/// What tries are counted over.
const SPAN: Duration = Duration::from_secs(5 * 60);
/// Most addresses and names that are remembered.
const ROOM: usize = 8192;

/// Whose tries are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Address(IpAddr),
    /// By digest, since anybody may send a name of any length.
    Name(Sha256),
}

#[derive(Debug, Clone, Copy)]
struct Tries {
    count: u32,
    since: Timestamp,
    last: Timestamp,
}

/// The tries of late.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<Who, Tries>>);

impl Attempts {
    /// Counts a try; with too many before it, answers how long to wait, and the try must not be made.
    pub(super) fn try_now(
        &self,
        address: IpAddr,
        name: &str,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let mut tries = self.0.lock().expect("nothing panics while it is held");
        let both = [
            (Who::Address(network(address)), OF_ADDRESS),
            (Who::Name(Sha256::of(name.as_bytes())), OF_NAME),
        ];
        for (who, most) in &both {
            if let Some(found) = tries.get(who).filter(|found| !is_over(found, now))
                && found.count >= *most
            {
                return Err(left(found, now));
            }
        }
        for (who, _) in both {
            make_room(&mut tries, &who, now);
            let fresh = Tries {
                count: 0,
                since: now,
                last: now,
            };
            let found = tries.entry(who).or_insert(fresh);
            if is_over(found, now) {
                *found = fresh;
            }
            found.count += 1;
            found.last = now;
        }
        Ok(())
    }

    /// Forgets the tries that led to a login.
    pub(super) fn succeeded(&self, address: IpAddr, name: &str) {
        let mut tries = self.0.lock().expect("nothing panics while it is held");
        tries.remove(&Who::Address(network(address)));
        tries.remove(&Who::Name(Sha256::of(name.as_bytes())));
    }
}

/// What one customer has: an IPv4 address, or a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

fn elapsed(tries: &Tries, now: Timestamp) -> Duration {
    let ms = now.as_millis().saturating_sub(tries.since.as_millis());
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn is_over(tries: &Tries, now: Timestamp) -> bool {
    elapsed(tries, now) >= SPAN
}

fn left(tries: &Tries, now: Timestamp) -> Duration {
    SPAN.saturating_sub(elapsed(tries, now))
}

fn make_room(tries: &mut HashMap<Who, Tries>, who: &Who, now: Timestamp) {
    if tries.len() < ROOM || tries.contains_key(who) {
        return;
    }
    tries.retain(|_, found| !is_over(found, now));
    if tries.len() < ROOM {
        return;
    }
    let oldest = tries.iter().min_by_key(|(_, found)| found.last);
    if let Some(oldest) = oldest.map(|(who, _)| who.clone()) {
        tries.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_name_is_closed_after_its_tries_and_opens_again() {
        let attempts = Attempts::default();
        for n in 0..OF_NAME {
            let address = v4(u8::try_from(n).unwrap());
            attempts.try_now(address, "ann", at(0)).unwrap();
        }
        let wait = attempts.try_now(v4(200), "ann", at(100)).unwrap_err();
        assert_eq!(wait, Duration::from_secs(200));
        attempts.try_now(v4(200), "bob", at(100)).unwrap();
        attempts.try_now(v4(200), "ann", at(300)).unwrap();
    }

    #[test]
    fn an_address_is_closed_whatever_the_names_and_a_whole_ipv6_network_is_one() {
        let attempts = Attempts::default();
        let within = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
        for n in 0..OF_ADDRESS {
            let name = format!("user{n}");
            let address = within(u16::try_from(n).unwrap());
            attempts.try_now(address, &name, at(0)).unwrap();
        }
        assert!(attempts.try_now(within(999), "ann", at(1)).is_err());
        let next = IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1]);
        attempts.try_now(next, "ann", at(1)).unwrap();
    }

    #[test]
    fn a_login_forgets_and_refused_tries_do_not_prolong_the_wait() {
        let attempts = Attempts::default();
        for _ in 0..3 {
            for _ in 0..OF_NAME {
                attempts.try_now(v4(1), "ann", at(0)).unwrap();
            }
            assert!(attempts.try_now(v4(1), "ann", at(299)).is_err());
            attempts.succeeded(v4(1), "ann");
        }
    }

    #[test]
    fn memory_stays_bounded_and_the_oldest_go_first() {
        let attempts = Attempts::default();
        let most = u32::try_from(ROOM).unwrap();
        for n in 0..most {
            let address = IpAddr::from(n.to_be_bytes());
            attempts
                .try_now(address, &n.to_string(), at(i64::from(n) / 100))
                .unwrap();
        }
        let held = attempts.0.lock().unwrap();
        assert_eq!(held.len(), ROOM);
        let newest = Who::Address(IpAddr::from((most - 1).to_be_bytes()));
        assert!(held.contains_key(&newest));
        assert!(!held.contains_key(&Who::Address(IpAddr::from([0, 0, 0, 0]))));
    }
}
