//! The guard and the belief in a listing: pure, so each answer is compared with the promise worked out in whole numbers.

use emsync::config::MaxDelete;
use emsync::reconcile::guard::{Evidence, believe, lets_go, limit};

use super::{Named, say, seeds};
use crate::support::chance::Chance;

#[test]
fn the_guard_trips_at_exactly_its_limit_and_no_doubtful_listing_is_believed() {
    let (mut believed, mut doubted) = (0_u64, 0_u64);
    let seeds = seeds(super::CASES);
    for seed in seeds.clone() {
        let _named = Named(seed, "guards");
        let mut chance = Chance::new(seed);
        trips_exactly(&mut chance);
        if is_believed(&mut chance) {
            believed += 1;
        } else {
            doubted += 1;
        }
    }
    let cases = seeds.end - seeds.start;
    say(&format!(
        "delete guard: {cases} cases, {believed} listings believed, {doubted} doubted, 0 violations"
    ));
}

fn trips_exactly(chance: &mut Chance) {
    let scale = *chance.pick(&[1, 30, 500, 20_000, 3_000_000]);
    let live = chance.next() % (scale + 1);
    let (said, allowed) = match chance.below(4) {
        0 => {
            let count = chance.next() % 2_000;
            (Some(MaxDelete::Count(count)), count)
        }
        1 => {
            // Quarters of a percent have an exact form.
            let quarters = u32::try_from(chance.below(401)).unwrap();
            let percent = f64::from(quarters) / 4.0;
            let allowed = live * u64::from(quarters) / 400;
            (Some(MaxDelete::Percent(percent)), allowed)
        }
        _ => (None, (live / 20).clamp(10, 1_000)),
    };
    let limit = limit(live, said);
    assert_eq!(limit, allowed, "{live} live, told {said:?}");
    let below = chance.next() % (allowed + 1);
    assert!(
        lets_go(below, limit) && lets_go(allowed, limit),
        "{below} of {allowed} are held"
    );
    let above = allowed + 1 + chance.next() % 1_000;
    assert!(
        !lets_go(allowed + 1, limit) && !lets_go(above, limit),
        "{above} pass {allowed}"
    );
}

fn is_believed(chance: &mut Chance) -> bool {
    let small = |chance: &mut Chance| chance.next() % 4;
    let evidence = Evidence {
        absent: small(chance),
        unkeyed: small(chance).saturating_sub(2),
        listed: small(chance),
        counted: chance.percent(85).then(|| small(chance)),
        usual_surplus: chance.percent(70).then(|| chance.below(5) as i64 - 2),
        is_told: chance.percent(20),
    };
    let is_short = match (evidence.counted, evidence.usual_surplus) {
        (None, _) => true,
        (Some(counted), Some(usual)) => counted as i64 > evidence.listed as i64 + usual,
        (Some(_), None) => false,
    };
    let is_empty = evidence.listed == 0 && !evidence.is_told;
    let doubtful = evidence.absent > 0 && (evidence.unkeyed > 0 || is_empty || is_short);
    assert_eq!(believe(&evidence).is_err(), doubtful, "{evidence:?}");
    !doubtful
}
