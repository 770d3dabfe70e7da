//! Swarms of faults on the store that ships: nothing breaks, and what would break is found and made small.

use kith_simulations::faults::{Kind, Plan, smaller, swarm};

/// The quick form: the long one is `cargo simulate faults --seeds 100000`.
#[test]
fn two_hundred_seeds_break_no_promise() {
    let (found, failing) = swarm(1, 200, false, &|_| true);
    assert_eq!(found.seeds, 200);
    assert!(failing.is_empty(), "run `cargo simulate faults --seed N --seeds 1` for {:?}: {:?}", found.failing, failing.first());
    assert!(found.delivered > 2_000 && found.incidents > 5_000, "{found:?}");
}

/// A disk that was full for a day kept a mail waiting for an hour once it had room again: what could not be sealed was put off for longer and longer.
#[test]
fn what_waited_for_a_full_disk_goes_soon_after_there_is_room() {
    let plan: Plan = toml::from_str(include_str!("plans/full-disk.toml")).unwrap();
    let verdict = plan.run(false);
    assert!(verdict.breaches.is_empty(), "{:?}", verdict.breaches);
}

#[test]
fn a_seed_twice_is_the_same_run() {
    for seed in [3, 11, 40] {
        let (one, other) = (Plan::drawn(seed).run(false), Plan::drawn(seed).run(true));
        assert_eq!(one.digest, other.digest, "seed {seed}");
        assert!(one.tale.is_empty() && !other.tale.is_empty());
    }
}

/// Swarms too, whatever else the machine does meanwhile: these have disks that are nearly full.
#[test]
fn a_swarm_twice_is_the_same_swarm() {
    let [one, other] = [(); 2].map(|()| swarm(170, 15, false, &|_| true).0);
    assert!(one.events > 100_000, "{one:?}");
    assert_eq!(one, other);
}

/// A program that says what it has not done yet is found out, and the plan that shows it is one that a person can read.
#[test]
fn a_promise_before_the_commit_is_found_and_made_small() {
    let (found, failing) = swarm(1, 20, true, &|_| true);
    assert!(found.failing.len() > 5, "{found:?}");
    let (seed, breaches) = failing.into_iter().find(|(_, breaches)| breaches[0].kind == Kind::NotStored).unwrap_or_default();
    let drawn = Plan { hasty: true, ..Plan::drawn(seed) };
    let (small, runs) = smaller(&drawn, breaches[0].kind, &mut |_| {});
    assert!(small.incidents.len() <= 2 && small.letters.len() <= 2, "{small:?} after {runs} runs");
    let again: Result<Plan, _> = toml::from_str(&toml::to_string(&small).unwrap_or_default());
    assert_eq!(again.as_ref().ok(), Some(&small));
    assert!(
        again.is_ok_and(
            |plan| plan.check().is_ok() && plan.run(false).breaches.iter().any(|breach| breach.kind == Kind::NotStored)
        )
    );
}

#[test]
fn a_plan_that_cannot_be_is_refused() {
    let plan = Plan::drawn(5);
    assert_eq!(plan.check(), Ok(()));
    assert!(Plan { people: 1, ..plan.clone() }.check().is_err());
    assert!(Plan { relays: 9, ..plan.clone() }.check().is_err());
    let far = (7, kith_simulations::world::Incident::PowerCut(99, 5));
    assert!(Plan { incidents: vec![far], ..plan }.check().is_err());
}
