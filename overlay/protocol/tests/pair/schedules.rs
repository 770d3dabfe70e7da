//! Random schedules: faults first, then peace, then everything must have arrived. A failure prints the seed that repeats it.

use kith_protocol::event::{Event, Fate};
use rand::RngExt;

use crate::world::{DAY, HOUR, MINUTE, SECOND, World, YEAR};

/// Which faults a schedule has.
#[derive(Clone, Copy)]
struct Faults {
    crashes: bool,
    partitions: bool,
    clocks: bool,
    disks: bool,
}

fn one_fault(world: &mut World, faults: Faults) {
    let count = world.nodes.len();
    let (a, b) = (world.rng.random_range(0..count), world.rng.random_range(0..count));
    match world.rng.random_range(0..14) {
        0..=3 if a != b => {
            world.submit(a, b);
        }
        4 | 5 if faults.crashes => world.crash(a),
        6 | 7 => world.boot(a),
        8 if faults.partitions && a != b => {
            world.parted.insert((a.min(b), a.max(b)));
            world.part(a, b);
        }
        9 => {
            world.parted.remove(&(a.min(b), a.max(b)));
            if world.is_up(a) {
                world.tell(a, 0, Event::NetworkChanged);
            }
        }
        10 if faults.clocks => {
            world.nodes[a].wall_lie = match world.rng.random_range(0..4) {
                0 => 10 * YEAR,
                1 => -10 * YEAR,
                2 => -50 * YEAR,
                _ => 0,
            };
        }
        11 if faults.clocks => {
            let ms = world.rng.random_range(MINUTE..3 * HOUR);
            world.sleep(a, ms);
        }
        12 if faults.disks => world.nodes[a].disk_full = !world.nodes[a].disk_full,
        _ => {
            // Whatever was sent before comes again from somewhere.
            let sent: Vec<_> = world.envelopes.iter().map(|(envelope, content)| (*envelope, content.to)).collect();
            if !sent.is_empty() {
                let (envelope, to) = sent[world.rng.random_range(0..sent.len())];
                world.inject(envelope, to);
            }
        }
    }
}

fn run_schedule(seed: u64) {
    let mut world = World::new(2, seed);
    let count = world.rng.random_range(2..=4);
    world = World::new(count, seed);
    if world.rng.random() {
        // Everybody may keep letters for everybody else.
        for node in 0..count {
            world.relays[node] = (0..count).filter(|relay| *relay != node && world.rng.random()).collect();
        }
    }
    world.introduce();
    for node in 0..count {
        world.boot(node);
    }
    let faults = Faults {
        crashes: world.rng.random(),
        partitions: world.rng.random(),
        clocks: world.rng.random(),
        disks: world.rng.random(),
    };
    world.loss = [0, 50, 300][world.rng.random_range(0..3)];
    for _ in 0..world.rng.random_range(20..120) {
        one_fault(&mut world, faults);
        let wait = match world.rng.random_range(0..10) {
            0..=5 => world.rng.random_range(0..2 * SECOND),
            6..=8 => world.rng.random_range(0..20 * MINUTE),
            _ => world.rng.random_range(0..9 * HOUR),
        };
        world.run(wait);
    }
    world.heal();
    world.run(2 * MINUTE);
    world.check_all_delivered();
}

#[test]
fn after_healing_everything_is_delivered_once_within_two_minutes() {
    for seed in 0..200 {
        run_schedule(seed);
    }
}

/// The long form: `cargo nextest run --release -p kith-protocol --test pair --run-ignored only`.
#[test]
#[ignore = "the long form of the test above"]
fn after_healing_everything_is_delivered_once_within_two_minutes_long() {
    for seed in 0..100_000 {
        run_schedule(seed);
    }
}

/// One month and more of a sender whose clock lies, sleeps and restarts, and a recipient who never comes.
fn run_expiry(seed: u64) {
    let mut world = World::acquainted(2, seed);
    world.crash(1);
    world.run(MINUTE);
    world.submit(0, 1);
    let sent = world.now;
    let entry = world.mails[0].entry;
    let mut ended = None;
    // It lies asleep for most of the time where the clock makes nothing of it: that takes a while.
    while world.now < ended.map_or(sent + 600 * DAY, |at| at + 20 * DAY) {
        let wait = world.rng.random_range(MINUTE..20 * HOUR);
        let before = world.now;
        match world.rng.random_range(0..8) {
            0 => {
                world.crash(0);
                world.run(wait);
                world.boot(0);
            }
            1 => world.sleep(0, wait),
            2 => world.nodes[0].wall_lie = [10 * YEAR, -10 * YEAR, 0][world.rng.random_range(0..3)],
            3 if world.rng.random_range(0..20) == 0 => {
                world.sleep(0, 30 * DAY);
                world.run(30 * DAY);
            }
            _ => {
                let drift = world.rng.random_range(-5..=5);
                world.set_drift(0, drift);
                world.run(wait);
            }
        }
        if let (None, [fate]) = (ended, world.fates(0, entry)) {
            assert!(matches!(fate, Fate::Failed(_)), "seed {seed}");
            assert!(world.now >= sent + 30 * DAY, "gave up after {} h, seed {seed}", (world.now - sent) / HOUR);
            ended = Some(before);
        }
        let told = world.nodes[0].disk.delays.get(&entry).copied().unwrap_or(0);
        assert!(told <= 1 && (told == 0 || world.now >= sent + DAY), "told of a delay {told} times, seed {seed}");
    }
    assert!(ended.is_some(), "never ended, seed {seed}");
    assert_eq!(world.fates(0, entry).len(), 1, "seed {seed}");
    assert_eq!(world.nodes[0].disk.delays.get(&entry), Some(&1), "seed {seed}");
}

#[test]
fn lying_clocks_neither_bounce_early_nor_keep_a_letter_for_ever() {
    for seed in 0..400 {
        run_expiry(seed);
    }
}
