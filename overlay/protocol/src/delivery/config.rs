//! Every duration and bound of delivery, with its default. All durations are in ms.

use serde::{Deserialize, Serialize};

use crate::card::Strangers;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Durations and bounds. The defaults are what the specification says; tests and impatient people choose others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Age at which the sender is told that it takes long. 24 h.
    pub delay_notice_ms: u64,
    /// Age at which a letter is given up. 30 d.
    pub expiry_ms: u64,
    /// After a start or a sleep: time for trying before anybody is told about delays or failures. 10 min.
    pub grace_ms: u64,
    /// Without a receipt for so long after it was handed over, a letter is sealed anew and offered again; then at ages that double. 24 h.
    pub reseal_after_ms: u64,
    /// An envelope older than this is sealed anew before it is offered, since its keys may be erased soon. 7 d.
    pub envelope_life_ms: u64,
    /// Without a receipt for so long, an envelope is offered again when the recipient's node appears. 10 min.
    pub reoffer_after_ms: u64,
    /// First try again while a node of the recipient is connected; doubles. 10 s.
    pub retry_near_ms: u64,
    /// First try again while none is; doubles. 5 min.
    pub retry_first_ms: u64,
    /// Longest doubled wait. 67 min.
    pub retry_max_ms: u64,
    /// Every wait after the longest. 1 h.
    pub retry_steady_ms: u64,
    /// A card older than this is looked up before anything is sealed to it. 7.5 d.
    pub card_fresh_ms: u64,
    /// A card older than this is looked up in parallel. 1 h.
    pub card_look_ms: u64,
    /// A look-up that has not answered by then has found nothing. 20 s.
    pub lookup_budget_ms: u64,
    /// An address is looked up at most once in this time. 5 min.
    pub lookup_again_ms: u64,
    /// The same for an address whose card is not known at all. 5 s.
    pub lookup_missing_ms: u64,
    /// Between two publications of a card. 6 h.
    pub publish_every_ms: u64,
    /// Jitter of the above, either way. 1 h.
    pub publish_spread_ms: u64,
    /// First try again of a publication that too few hold; doubles up to the interval. 1 min.
    pub publish_retry_ms: u64,
    /// The same of a publication that nobody holds: the first peer is there, but not yet in the table. 5 s.
    pub publish_unheld_ms: u64,
    /// A publication that has not answered by then has failed. 2 min.
    pub publish_budget_ms: u64,
    /// So many other nodes holding a record are enough. 3.
    pub publish_holders_min: u32,
    /// After the start: wait so long for a first peer before publishing. 5 s.
    pub start_wait_ms: u64,
    /// A connection that has not come about by then has failed. 30 s.
    pub connect_timeout_ms: u64,
    /// A peer that could not be reached is not tried again for so long, unless something changes. 1 min.
    pub connect_rest_ms: u64,
    /// Between two connections that are made only to be noticed, jittered. 250 ms.
    pub greeting_gap_ms: u64,
    /// Ages are persisted first after this. 5 min.
    pub persist_first_ms: u64,
    /// And then at this interval. 1 h.
    pub persist_every_ms: u64,
    /// A receipt that is queued behind another one to the same mailbox waits so long for more, which go with it in one letter. 200 ms.
    pub receipt_gather_ms: u64,
    /// A receipt is repeated at most once in this time. 10 min.
    pub receipt_repeat_ms: u64,
    /// A body that is not complete by then is given up: the largest envelope at 10 KB/s takes 90 min. 2 h.
    pub reception_max_ms: u64,
    /// No node of the recipient's took it by then: it is left with relays. 3 s.
    pub direct_wait_ms: u64,
    /// No relay took it by then either: volunteers are asked. 10 s.
    pub relay_wait_ms: u64,
    /// Relays that keep a copy, where the card lists so many. 2.
    pub relay_copies: usize,
    /// Relays of our own that carry a letter while only machines keep it that are seldom on, or nobody. 2.
    pub carriers: usize,
    /// Relays of the recipient to which each of those hands it; one that is always on is enough. 4.
    pub carried_copies: usize,
    /// Volunteers that keep a copy. 3.
    pub volunteer_copies: usize,
    /// A relay is asked to show what was just left there after so long at the earliest, and three times that at the latest. 1 min.
    pub audit_first_ms: u64,
    /// The same once more, after so long, and three times that at the latest. 6 h.
    pub audit_after_ms: u64,
    /// Volunteers are asked that often. 2 h.
    pub volunteer_check_ms: u64,
    /// What was collected or receipted stays for so long: disks lie. 24 h.
    pub grace_copy_ms: u64,
    /// Bytes of what was collected that a relay keeps so, in all: where there is more, what was collected first goes earlier. 40 MiB.
    pub grace_copy_bytes: u64,
    /// But what was collected stays for so long in any case, so that whoever left it finds it when asking for the first time. 10 min.
    pub grace_copy_least_ms: u64,
    /// First try again to reach a relay of ours; doubles up to the steady wait. 1 min.
    pub relay_retry_ms: u64,
    /// Relays of ours are asked again what is there at this interval, and brought up to date. 6 h.
    pub relay_refresh_ms: u64,
    /// Volunteers are looked for at this interval, after some searches that come sooner: near our own key, since they may have something for us, and near
    /// a recipient's, where nobody was found. 4 h.
    pub volunteer_search_ms: u64,
    /// A machine that has been up for less than this passes what it keeps on to its owners' other relays; 0: it never does. 20 h.
    pub pass_on_below_ms: u64,
    /// Bytes kept for others in all. 4 GiB.
    pub hosting_bytes_max: u64,
    /// Deposits of one peer in a minute. 60.
    pub deposits_per_minute: u32,
    /// Bytes that one peer deposits in a minute. 20 MiB.
    pub deposit_bytes_per_minute: u64,
    /// Bytes kept as a volunteer; 0: this node does not volunteer. 0.
    pub volunteer_bytes: u64,
    /// Bytes of the largest envelope kept as a volunteer. 64,000.
    pub volunteer_largest: u64,
    /// Envelopes kept as a volunteer for one mailbox. 32.
    pub volunteer_count: u32,
    /// Work that volunteers ask for; 0: none. 1,000.
    pub volunteer_effort: u32,
    /// How long volunteers keep an envelope, at most [`crate::hosting::VOLUNTEER_LIFE_MS`]: its owner looks no longer for it. 14 d.
    pub volunteer_life_ms: u64,
    /// Who may write to the accounts of this node without being accepted.
    pub strangers: Strangers,
    /// How much work strangers do for this node's accounts, bound to the queue's name; 0: none. 7,000.
    pub stranger_effort: u32,
    /// Mails of strangers that may wait for a person's decision, or in a hosted mailbox. 20.
    pub requests_max: usize,
    /// Letters being sealed at once. 16.
    pub seals_max: usize,
    /// Offers in flight to all peers. 64.
    pub offers_max: usize,
    /// Offers in flight to one peer: enough for what waits to be committed there to share a sync. 20.
    pub offers_per_peer: usize,
    /// Connections being made. 32.
    pub connects_max: usize,
    /// Look-ups in flight. 16.
    pub lookups_max: usize,
    /// Envelopes being received. 64.
    pub receptions_max: usize,
    /// Envelopes being received from one peer. 20.
    pub receptions_per_peer: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            delay_notice_ms: DAY,
            expiry_ms: 30 * DAY,
            grace_ms: 10 * MINUTE,
            reseal_after_ms: DAY,
            envelope_life_ms: 7 * DAY,
            reoffer_after_ms: 10 * MINUTE,
            retry_near_ms: 10 * SECOND,
            retry_first_ms: 5 * MINUTE,
            retry_max_ms: 67 * MINUTE,
            retry_steady_ms: HOUR,
            card_fresh_ms: 7 * DAY + DAY / 2,
            card_look_ms: HOUR,
            lookup_budget_ms: 20 * SECOND,
            lookup_again_ms: 5 * MINUTE,
            lookup_missing_ms: 5 * SECOND,
            publish_every_ms: 6 * HOUR,
            publish_spread_ms: HOUR,
            publish_retry_ms: MINUTE,
            publish_unheld_ms: 5 * SECOND,
            publish_budget_ms: 2 * MINUTE,
            publish_holders_min: 3,
            start_wait_ms: 5 * SECOND,
            connect_timeout_ms: 30 * SECOND,
            connect_rest_ms: MINUTE,
            greeting_gap_ms: 250,
            persist_first_ms: 5 * MINUTE,
            persist_every_ms: HOUR,
            receipt_gather_ms: 200,
            receipt_repeat_ms: 10 * MINUTE,
            reception_max_ms: 2 * HOUR,
            direct_wait_ms: 3 * SECOND,
            relay_wait_ms: 10 * SECOND,
            relay_copies: 2,
            carriers: 2,
            carried_copies: 4,
            volunteer_copies: 3,
            audit_first_ms: MINUTE,
            audit_after_ms: 6 * HOUR,
            volunteer_check_ms: 2 * HOUR,
            grace_copy_ms: DAY,
            grace_copy_bytes: 40 << 20,
            grace_copy_least_ms: 10 * MINUTE,
            relay_retry_ms: MINUTE,
            relay_refresh_ms: 6 * HOUR,
            volunteer_search_ms: 4 * HOUR,
            pass_on_below_ms: 20 * HOUR,
            hosting_bytes_max: 4 << 30,
            deposits_per_minute: 60,
            deposit_bytes_per_minute: 20 << 20,
            volunteer_bytes: 0,
            volunteer_largest: 64_000,
            volunteer_count: 32,
            volunteer_effort: 1_000,
            volunteer_life_ms: crate::hosting::VOLUNTEER_LIFE_MS,
            strangers: Strangers::Welcome,
            stranger_effort: 7_000,
            requests_max: 20,
            seals_max: 16,
            offers_max: 64,
            offers_per_peer: 20,
            connects_max: 32,
            lookups_max: 16,
            receptions_max: 64,
            receptions_per_peer: 20,
        }
    }
}

/// What a network needs however fast the clocks run, in ms: for a connection to stand and an offer to be answered among machines that are not far away.
const DIRECT_WAIT_MIN: u64 = 300;
/// The same for two relays, one after the other.
const RELAY_WAIT_MIN: u64 = 1_000;
/// Nobody who is away is dialled more often than this, in ms.
const REST_MIN: u64 = 500;
/// A town that gets its power back is not to shout at once, in ms.
const GREETING_GAP_MIN: u64 = 25;
/// For letters that come together, in ms.
const RECEIPT_GATHER_MIN: u64 = 20;
/// The largest envelope over a quick line, in ms.
const RECEPTION_MIN: u64 = 60 * SECOND;

impl Config {
    /// The same with clocks that run so many times faster: a day of a trial in minutes. Every duration that follows people and their machines, which
    /// come and go, is divided, and is 1 ms at least. What follows the network is as fast as the network is, whatever the clocks say: budgets for
    /// connections, look-ups and publications stay, and waits for others' answers shrink to what those need and no further. Bounds that count
    /// something stay; a minute in which deposits are counted is a minute.
    #[must_use]
    pub fn paced(self, pace: u32) -> Self {
        let people = |ms: u64| if ms == 0 { 0 } else { (ms / u64::from(pace.max(1))).max(1) };
        // A duration that was shorter all along stays as short.
        let network = |ms: u64, least: u64| people(ms).max(least.min(ms));
        Self {
            delay_notice_ms: people(self.delay_notice_ms),
            expiry_ms: people(self.expiry_ms),
            grace_ms: people(self.grace_ms),
            reseal_after_ms: people(self.reseal_after_ms),
            envelope_life_ms: people(self.envelope_life_ms),
            reoffer_after_ms: people(self.reoffer_after_ms),
            retry_near_ms: network(self.retry_near_ms, REST_MIN),
            retry_first_ms: people(self.retry_first_ms),
            retry_max_ms: people(self.retry_max_ms),
            retry_steady_ms: people(self.retry_steady_ms),
            card_fresh_ms: people(self.card_fresh_ms),
            card_look_ms: people(self.card_look_ms),
            lookup_again_ms: network(self.lookup_again_ms, REST_MIN),
            publish_every_ms: people(self.publish_every_ms),
            publish_spread_ms: people(self.publish_spread_ms),
            publish_retry_ms: network(self.publish_retry_ms, REST_MIN),
            connect_rest_ms: network(self.connect_rest_ms, REST_MIN),
            greeting_gap_ms: network(self.greeting_gap_ms, GREETING_GAP_MIN),
            persist_first_ms: people(self.persist_first_ms),
            persist_every_ms: people(self.persist_every_ms),
            receipt_gather_ms: network(self.receipt_gather_ms, RECEIPT_GATHER_MIN),
            receipt_repeat_ms: people(self.receipt_repeat_ms),
            reception_max_ms: network(self.reception_max_ms, RECEPTION_MIN),
            direct_wait_ms: network(self.direct_wait_ms, DIRECT_WAIT_MIN),
            relay_wait_ms: network(self.relay_wait_ms, RELAY_WAIT_MIN),
            audit_first_ms: people(self.audit_first_ms),
            audit_after_ms: people(self.audit_after_ms),
            volunteer_check_ms: people(self.volunteer_check_ms),
            grace_copy_ms: people(self.grace_copy_ms),
            grace_copy_least_ms: people(self.grace_copy_least_ms),
            relay_retry_ms: network(self.relay_retry_ms, REST_MIN),
            relay_refresh_ms: people(self.relay_refresh_ms),
            volunteer_search_ms: people(self.volunteer_search_ms),
            volunteer_life_ms: people(self.volunteer_life_ms),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_pace_changes_nothing() {
        assert_eq!(Config::default().paced(1), Config::default());
        assert_eq!(Config::default().paced(0), Config::default());
    }

    #[test]
    fn what_people_wait_for_is_divided() {
        let paced = Config::default().paced(600);
        assert_eq!((paced.delay_notice_ms, paced.expiry_ms, paced.retry_first_ms), (144_000, 4_320_000, 500));
        assert_eq!((paced.reseal_after_ms, paced.grace_copy_ms, paced.audit_first_ms), (144_000, 144_000, 100));
        let hurried = Config { grace_ms: 7, ..Config::default() }.paced(10_000);
        assert_eq!(hurried.grace_ms, 1);
    }

    #[test]
    fn what_the_network_needs_stays() {
        let (usual, paced) = (Config::default(), Config::default().paced(10_000));
        let budgets = |config: &Config| {
            [
                config.connect_timeout_ms,
                config.lookup_budget_ms,
                config.lookup_missing_ms,
                config.publish_unheld_ms,
                config.publish_budget_ms,
                config.start_wait_ms,
            ]
        };
        assert_eq!(budgets(&paced), budgets(&usual));
        let waits = [paced.direct_wait_ms, paced.relay_wait_ms, paced.connect_rest_ms, paced.greeting_gap_ms];
        assert_eq!(waits, [DIRECT_WAIT_MIN, RELAY_WAIT_MIN, REST_MIN, GREETING_GAP_MIN]);
        assert!(paced.direct_wait_ms < paced.relay_wait_ms);
        let quick = Config { connect_rest_ms: 20, ..usual }.paced(600);
        assert_eq!(quick.connect_rest_ms, 20);
    }

    #[test]
    fn what_is_counted_stays() {
        let (usual, paced) = (Config::default(), Config::default().paced(600));
        assert_eq!((paced.relay_copies, paced.deposits_per_minute), (usual.relay_copies, usual.deposits_per_minute));
        assert_eq!(paced.grace_copy_bytes, usual.grace_copy_bytes);
        assert_eq!(
            (paced.seals_max, paced.offers_max, paced.requests_max),
            (usual.seals_max, usual.offers_max, usual.requests_max)
        );
    }
}
