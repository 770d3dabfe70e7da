//! Relays that say *stored* and store nothing: as much arrives as with honest ones.

use rand::RngExt as _;
use rand::seq::SliceRandom as _;

use crate::world::{DAY, HOUR, MINUTE, World};

const PEOPLE: usize = 8;
const RELAYS: usize = 10;
/// Three of ten.
const LIARS: usize = 3;
/// Relays of each person.
const OWN: usize = 3;
const DAYS: u64 = 28;
const WRITING_DAYS: u64 = 7;

/// How many of the mails of a month were filed, and how many there were. People are on for an hour or two a day, relays always.
fn month(seed: u64, liars: usize) -> (usize, usize) {
    let mut world = World::new(PEOPLE + RELAYS, seed);
    for person in 0..PEOPLE {
        let mut relays: Vec<usize> = (PEOPLE..PEOPLE + RELAYS).collect();
        relays.shuffle(&mut world.rng);
        // Not all of one's relays lie, or nobody could help.
        while relays[..OWN].iter().all(|relay| *relay < PEOPLE + liars) {
            relays.shuffle(&mut world.rng);
        }
        world.relays[person] = relays[..OWN].to_vec();
    }
    world.introduce();
    for relay in PEOPLE..PEOPLE + RELAYS {
        world.nodes[relay].liar = relay < PEOPLE + liars;
        world.boot(relay);
    }
    for person in 0..PEOPLE {
        world.boot(person);
    }
    world.run(10 * MINUTE);
    for person in 0..PEOPLE {
        world.crash(person);
    }
    let mut on_until = [0; PEOPLE];
    let mut on_at: Vec<u64> = (0..PEOPLE).map(|_| world.rng.random_range(0..DAY)).collect();
    while world.now < DAYS * DAY {
        for person in 0..PEOPLE {
            if world.is_up(person) && on_until[person] <= world.now {
                world.crash(person);
                on_at[person] = world.now + world.rng.random_range(8 * HOUR..24 * HOUR);
            } else if !world.is_up(person) && on_at[person] <= world.now {
                world.boot(person);
                on_until[person] = world.now + world.rng.random_range(HOUR..2 * HOUR);
                if world.now < WRITING_DAYS * DAY {
                    let to = (person + world.rng.random_range(1..PEOPLE)) % PEOPLE;
                    world.submit(person, to);
                }
            }
        }
        world.run(20 * MINUTE);
    }
    let filed = world.mails.iter().filter(|mail| world.is_filed(mail)).count();
    (filed, world.mails.len())
}

#[test]
fn as_much_arrives_though_three_relays_in_ten_lie() {
    for seed in 0..4 {
        let ((honest, of), (lied, of_lied)) = (month(seed, 0), month(seed, LIARS));
        assert!(of > 40 && of_lied > 40, "seed {seed}: {of} and {of_lied} mails");
        assert_eq!((honest, lied), (of, of_lied), "seed {seed}");
    }
}
