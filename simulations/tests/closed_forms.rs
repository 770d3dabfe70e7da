//! Runs against what can be computed by hand, within three standard errors.

use kith_simulations::availability::{DAY, HOUR, Habit};
use kith_simulations::scenario::pairs::Pairs;

/// With a server that is never off the mail is there when the recipient is: the run and the bound are one.
#[test]
fn a_relay_that_is_never_off_is_a_perfect_server() {
    let pairs = Pairs { pairs: 20, days: 20, relays: vec![0.999], ..Pairs::hard(&[]) };
    let run = pairs.run(3);
    assert!(run.summary.over_server_h < 0.05, "{} h", run.summary.over_server_h);
    assert!((run.summary.within_7d - 1.0).abs() < 1e-9);
}

/// Two people who are never off: everything takes seconds.
#[test]
fn people_who_are_always_on_have_it_in_seconds() {
    let pairs = Pairs { pairs: 10, days: 10, writer: Habit::Always, reader: Habit::Always, ..Pairs::hard(&[]) };
    let run = pairs.run(3);
    assert!(run.delays.len() > 100);
    assert!(run.delays.iter().all(|delay| delay.oracle == Some(0) && delay.took.is_some_and(|took| took < 20_000)));
    assert_eq!(run.summary.sends, 1.0);
}

/// A recipient who is on for a share `a` of the time, in exponential spells of mean `m`: a mail at a random moment waits `(1 - a) · m` in the mean.
#[test]
fn the_mean_wait_for_a_machine_that_comes_and_goes_is_the_closed_form() {
    let reader = Habit::Spells { on: 15.0, off: 45.0 };
    let pairs = Pairs { pairs: 40, days: 20, writer: Habit::Always, reader, ..Pairs::hard(&[]) };
    let run = pairs.run(5);
    let waits: Vec<f64> = run.delays.iter().filter_map(|delay| Some(delay.server? as f64)).collect();
    let mean = waits.iter().sum::<f64>() / waits.len() as f64;
    let expected = 0.75 * 0.75 * HOUR as f64;
    let variance = waits.iter().map(|wait| (wait - mean) * (wait - mean)).sum::<f64>() / waits.len() as f64;
    // Mails of one pair share their reader's spells: a pair and a spell count once.
    let error = (variance / (waits.len() as f64 / 2.0)).sqrt();
    assert!((mean - expected).abs() < 3.0 * error, "{mean} instead of {expected} ± {error}");
    assert!(run.delays.iter().all(|delay| delay.took.is_none_or(|took| took >= delay.server.unwrap_or(0))));
}

/// Nobody beats the bounds, and nobody is told that a mail failed whose receipt had a way back.
#[test]
fn no_mail_is_earlier_than_the_oracle() {
    for relays in [vec![], vec![0.7], vec![0.9, 0.9]] {
        let run = Pairs { pairs: 20, days: 20, ..Pairs::hard(&relays) }.run(11);
        for delay in &run.delays {
            if let Some(took) = delay.took {
                assert!(delay.oracle.is_some_and(|best| best <= took), "{delay:?}");
                assert!(took < 62 * DAY);
            }
        }
        assert_eq!(run.summary.avoidable_bounces, 0, "a receipt had a way, and did not take it");
    }
}
