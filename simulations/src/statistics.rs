//! What came of the mails of a run, beside both bounds.

use serde::Serialize;

use crate::availability::{DAY, HOUR};
use crate::oracle;
use crate::world::home::sealed_bytes;
use crate::world::{Mail, World};

/// Within so much of the oracle's moment a mail counts as delivered like the oracle would.
const NEAR_MS: u64 = 60 * 1000;

/// One mail: how long it took, and how long it would have taken; in ms, `None`: not within the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delay {
    /// Until it was in the mailbox.
    pub took: Option<u64>,
    /// L_srv: with a server that is never off.
    pub server: Option<u64>,
    /// L_orc: by the best way through the same nodes.
    pub oracle: Option<u64>,
}

/// What a run says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Mails that were sent.
    pub mails: usize,
    /// Share delivered within 7 days.
    pub within_7d: f64,
    /// Share delivered within 30 days.
    pub within_30d: f64,
    /// The oracle's shares.
    pub oracle_7d: f64,
    /// The same for 30 days.
    pub oracle_30d: f64,
    /// Of those that the oracle delivers, the share delivered within a minute of it.
    pub near_oracle: f64,
    /// Of those whose recipients come back, the share delivered within a minute of that.
    pub near_server: f64,
    /// Mean excess over the oracle, in hours, of what was delivered.
    pub over_oracle_h: f64,
    /// Its median.
    pub over_oracle_p50_h: f64,
    /// Mean excess over a perfect server, in hours.
    pub over_server_h: f64,
    /// Hours until half, 95 % and 99 % of what was delivered were there.
    pub p50_h: f64,
    /// 95 %.
    pub p95_h: f64,
    /// 99 %.
    pub p99_h: f64,
    /// Mails that senders were told had failed.
    pub failed: usize,
    /// Mails of which senders were told that the other node took them and did not confirm them.
    pub unconfirmed: usize,
    /// Mails that senders were told had failed although they had been delivered.
    pub false_bounces: usize,
    /// Those of them whose receipt an oracle would have brought back in time.
    pub avoidable_bounces: usize,
    /// Mails that were delivered after senders were told that they had failed: a relay came back that was away for a month.
    pub late: usize,
    /// The share of the mails of which senders were told that they take long.
    pub noticed: f64,
    /// Mails of which they were told so after they had been told what became of them.
    pub noticed_late: usize,
    /// Times that a whole envelope went over a network, for each mail.
    pub sends: f64,
    /// Bytes of mails on the networks, for each byte of a delivered mail.
    pub bytes_per_byte: f64,
    /// The same for each byte of its envelope, which is filled up.
    pub bytes_per_envelope_byte: f64,
    /// Days for which copies were kept by others, all of a mail together; those that are kept still do not count.
    pub copy_days: f64,
    /// Kilobytes of offers and questions, for each mail and each day that one waits.
    pub control_kb_a_day: f64,
    /// The most that a node kept for others, in MB.
    pub relay_peak_mb: f64,
}

/// Mails whose bounds are computed, at most: those of more take longer than the run.
const SAMPLED_MAX: usize = 20_000;

/// The mails of a world that were taken from their senders so far.
fn accepted(world: &World) -> impl Iterator<Item = &Mail> {
    world.mails().iter().filter(|mail| mail.accepted())
}

/// The delays of the mails of a world (of every so manieth where there are very many), with the nodes that the oracle may use: sender, recipient, and the
/// relays of both.
#[must_use]
pub fn delays(world: &World) -> Vec<Delay> {
    let step = accepted(world).count().div_ceil(SAMPLED_MAX).max(1);
    let delay = |mail: &Mail| {
        let mut nodes = vec![world.sessions(mail.from), world.sessions(mail.to)];
        let relays = world.relays(mail.from).iter().chain(world.relays(mail.to));
        // Who throws mail away is no way, for nobody.
        nodes.extend(relays.filter(|relay| !world.is_liar(**relay)).map(|relay| world.sessions(*relay)));
        let since = |moment: u64| moment - mail.at;
        // What a run that was stopped has not seen counts neither for us nor for them.
        let seen = |moment: &u64| *moment <= world.now();
        Delay {
            took: mail.filed().map(since),
            server: oracle::server(world.sessions(mail.to), mail.at).filter(seen).map(since),
            oracle: oracle::oracle(&nodes, mail.at).filter(seen).map(since),
        }
    };
    accepted(world).step_by(step).map(delay).collect()
}

/// Sums up a run.
#[must_use]
pub fn summary(world: &World, delays: &[Delay]) -> Summary {
    let count = delays.len().max(1) as f64;
    let within = |pick: fn(&Delay) -> Option<u64>, ms: u64| {
        delays.iter().filter(|delay| pick(delay).is_some_and(|took| took <= ms)).count() as f64 / count
    };
    let near = |pick: fn(&Delay) -> Option<u64>| {
        let possible = || delays.iter().filter(|delay| pick(delay).is_some_and(|best| best <= 30 * DAY));
        let near = |delay: &&Delay| delay.took.zip(pick(delay)).is_some_and(|(took, best)| took <= best + NEAR_MS);
        possible().filter(near).count() as f64 / possible().count().max(1) as f64
    };
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let excess = |pick: fn(&Delay) -> Option<u64>| {
        mean(delays.iter().filter_map(|delay| Some(in_hours(delay.took?.saturating_sub(pick(delay)?)))).collect())
    };
    let mut took: Vec<u64> = delays.iter().filter_map(|delay| delay.took).collect();
    took.sort_unstable();
    let mails = accepted(world).count();
    let each = |sum: f64| sum / mails.max(1) as f64;
    let counted = |wanted: fn(&Mail) -> bool| accepted(world).filter(|mail| wanted(mail)).count();
    let filed = || accepted(world).filter(|mail| mail.filed().is_some());
    let waited: u64 = accepted(world).map(|mail| mail.ended().unwrap_or(world.now()).saturating_sub(mail.at)).sum();
    let peak = (0..world.count()).map(|node| world.load(node).peak).max().unwrap_or(0);
    let traffic = world.traffic();
    Summary {
        mails,
        within_7d: within(|delay| delay.took, 7 * DAY),
        within_30d: within(|delay| delay.took, 30 * DAY),
        oracle_7d: within(|delay| delay.oracle, 7 * DAY),
        oracle_30d: within(|delay| delay.oracle, 30 * DAY),
        near_oracle: near(|delay| delay.oracle),
        near_server: near(|delay| delay.server),
        over_oracle_h: excess(|delay| delay.oracle),
        over_oracle_p50_h: median(delays),
        over_server_h: excess(|delay| delay.server),
        p50_h: in_hours(quantile(&took, 0.5)),
        p95_h: in_hours(quantile(&took, 0.95)),
        p99_h: in_hours(quantile(&took, 0.99)),
        failed: counted(|mail| mail.failed()),
        unconfirmed: counted(|mail| mail.unconfirmed()),
        false_bounces: counted(|mail| mail.failed() && mail.filed().is_some_and(|filed| Some(filed) <= mail.ended())),
        avoidable_bounces: accepted(world).filter(|mail| is_avoidable(world, mail)).count(),
        late: counted(|mail| mail.failed() && mail.filed().is_some_and(|filed| Some(filed) > mail.ended())),
        noticed: each(counted(|mail| mail.noticed()) as f64),
        noticed_late: counted(|mail| mail.noticed_late()),
        sends: each(accepted(world).map(|mail| f64::from(mail.sends)).sum::<f64>()),
        bytes_per_byte: traffic.mail_bytes as f64 / filed().map(|mail| mail.bytes()).sum::<u64>().max(1) as f64,
        bytes_per_envelope_byte: traffic.mail_bytes as f64
            / filed().map(|mail| sealed_bytes(mail.bytes())).sum::<u64>().max(1) as f64,
        copy_days: each(traffic.copy_ms as f64 / DAY as f64),
        control_kb_a_day: traffic.control_bytes as f64 / 1e3 / (mails as f64 + waited as f64 / DAY as f64).max(1.0),
        relay_peak_mb: peak as f64 / 1e6,
    }
}

/// Whoever comes back for less than this may be gone before anybody has been connected to, in ms.
const STAYS_MS: u64 = 10 * 1000;

/// Of the mails whose recipients come back and stay for ten seconds, the share that is there within a minute of that.
#[must_use]
pub fn near_return(world: &World, delays: &[Delay]) -> f64 {
    let step = accepted(world).count().div_ceil(SAMPLED_MAX).max(1);
    let stays = |mail: &Mail| {
        let sessions = world.sessions(mail.to);
        let next = sessions.get(sessions.partition_point(|(_, end)| *end <= mail.at));
        next.is_some_and(|(start, end)| end - start.max(&mail.at) >= STAYS_MS && start.saturating_sub(mail.at) <= 30 * DAY)
    };
    let returned = || accepted(world).step_by(step).zip(delays).filter(|(mail, _)| stays(mail)).map(|(_, delay)| delay);
    let near = |delay: &&Delay| delay.took.zip(delay.server).is_some_and(|(took, best)| took <= best + NEAR_MS);
    returned().filter(near).count() as f64 / returned().count().max(1) as f64
}

/// A mail that arrived and was said to have failed, although there was a way for its receipt.
fn is_avoidable(world: &World, mail: &Mail) -> bool {
    let (Some(filed), Some(ended), true) = (mail.filed(), mail.ended(), mail.failed()) else { return false };
    let mut nodes = vec![world.sessions(mail.to), world.sessions(mail.from)];
    let relays = world.relays(mail.from).iter().chain(world.relays(mail.to));
    nodes.extend(relays.filter(|relay| !world.is_liar(**relay)).map(|relay| world.sessions(*relay)));
    filed <= ended && oracle::oracle(&nodes, filed).is_some_and(|back| back + NEAR_MS < ended)
}

/// The median of what was delivered over the oracle, in hours.
fn median(delays: &[Delay]) -> f64 {
    let mut over: Vec<u64> = delays.iter().filter_map(|delay| Some(delay.took?.saturating_sub(delay.oracle?))).collect();
    over.sort_unstable();
    in_hours(quantile(&over, 0.5))
}

fn in_hours(ms: u64) -> f64 {
    ms as f64 / HOUR as f64
}

/// The value below which this share of the sorted values lies; zero where there is none.
#[must_use]
pub fn quantile<T: Copy + Default>(sorted: &[T], share: f64) -> T {
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// The mean of some runs, and half the width of its 95 % interval (Student's t).
#[must_use]
pub fn interval(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count.max(1.0);
    if values.len() < 2 {
        return (mean, f64::INFINITY);
    }
    let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (count - 1.0);
    (mean, student(values.len() - 1) * (variance / count).sqrt())
}

/// Student's t for 95 % and so many degrees of freedom.
fn student(freedom: usize) -> f64 {
    const TABLE: [f64; 20] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110,
        2.101, 2.093, 2.086,
    ];
    TABLE.get(freedom.saturating_sub(1)).copied().unwrap_or(1.96 + 2.5 / freedom as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        assert_eq!(quantile::<u64>(&[], 0.5), 0);
        assert_eq!(quantile(&[7], 0.99), 7);
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!([0.5, 0.95, 0.99, 1.0].map(|share| quantile(&hundred, share)), [50, 95, 99, 100]);
    }

    #[test]
    fn a_run_that_was_stopped_is_compared_with_what_could_have_come_by_then() {
        let sessions = vec![vec![(0, 2 * HOUR)], vec![(HOUR, 2 * HOUR), (10 * HOUR, 11 * HOUR)]];
        let mut world = World::new(1, kith_protocol::delivery::Config::default(), sessions, vec![Vec::new(); 2]);
        world.introduce(0, 1);
        world.plan(HOUR / 2, 0, 1, 2000);
        world.run(HOUR / 2 + 1000);
        assert_eq!(delays(&world), [Delay { took: None, server: None, oracle: None }]);
        world.run(2 * HOUR);
        let [Delay { took: Some(took), server, oracle }] = delays(&world)[..] else { panic!("it is there") };
        assert_eq!((server, oracle), (Some(HOUR / 2), Some(HOUR / 2)));
        assert!((HOUR / 2..HOUR / 2 + NEAR_MS).contains(&took), "{took} ms");
    }

    #[test]
    fn intervals_are_students() {
        let (mean, half) = interval(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!((mean - 3.0).abs() < 1e-9 && (half - 1.963).abs() < 0.001, "{half}");
    }
}
