//! What is asked: each scenario is one question or a few, and each kind of world has its own file.

pub mod catalogue;
pub mod family;
pub mod flood;
pub mod goal;
mod habits;
pub mod list;
pub mod pairs;
pub mod people;
mod run;
pub mod set;
pub mod trace;

use kith_protocol::delivery::Config;

use crate::statistics::{Delay, Summary};
use crate::world::{Load, Traffic};
pub use habits::{MAILS_A_DAY, size};
pub use run::{Attention, drive};

/// What came of one run of a scenario.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The figures.
    pub summary: Summary,
    /// Every mail's delay.
    pub delays: Vec<Delay>,
    /// What went over the networks.
    pub traffic: Traffic,
    /// What each node did that kept something for others.
    pub loads: Vec<Load>,
    /// Figures that only this scenario has.
    pub special: Vec<(String, f64)>,
    /// Bytes of memory that the world took, as far as the system says.
    pub memory: u64,
    /// Seconds for which one core of this machine worked at it.
    pub seconds: f64,
    /// Names everything that happened.
    pub digest: String,
}

/// A scenario that can be asked for by name.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// The name.
    pub name: &'static str,
    /// The question, in a sentence.
    pub question: &'static str,
}

const fn named(name: &'static str, question: &'static str) -> Named {
    Named { name, question }
}

/// All of them.
pub const ALL: &[Named] = &[
    named(
        "two-laptops",
        "Two people whose laptops are on for some hours a day, some hours apart, and nobody else: hours by hours.",
    ),
    named("one-pi", "The hard pair, 9 hours apart, with one always-on machine that keeps mail for the recipient."),
    named("many-pis", "The hard pair with several such machines, each up for a share of the time: how many by how good."),
    named("correlated-home", "The hard pair with two such machines that share one home's line and power, against two homes'."),
    named(
        "friends-only",
        "Ten friends with laptops at different hours, who keep each other's mail, and no machine that is always on.",
    ),
    named("retry-policy", "The hard pair and two people in the evening, with parts of the delivery taken away one by one."),
    named("phones", "Two phones, 30 times 5 minutes a day, with one always-on machine."),
    named(
        "dht-fallback",
        "People without relays whose mail strangers keep near the recipient's key, the recipient away for a week.",
    ),
    named("holiday", "The recipient is away for three weeks, or for five: what the sender is told, and when."),
    named("family", "Six people with two always-on machines for a year: a move, a lost laptop, a dead SD card."),
    named("town", "Thousands of people who write to each other, most behind routers, some with always-on machines."),
    named("mailing-list", "One mail to ten thousand people."),
    named("flood", "Strangers who send as much as they can to somebody, and the mail of that person's contacts."),
    named(
        "liar-relays",
        "The hard pair with three always-on machines, of all of which a share says that it stores and does not.",
    ),
    named("sybil-key", "Somebody hides a recipient's record in the directory: what contacts notice, and what strangers do."),
    named("mass-reboot", "Every machine of a town loses its power at once, and comes back."),
    named("scale", "Ten times as many people again and again: time, memory and bytes a mail, with the exponent of their growth."),
    named("replay-trace", "A trace of nodes that come and go, from a file: node,on,off in seconds."),
    named("reference", "The table of an independent model, reproduced."),
    named("goals", "What Kith sets itself to reach, each with its figure."),
    named("validate", "Runs against what can be computed by hand and against the reference table."),
    named("faults", "Swarms of faults on the store that ships: what must never break is looked for after every step."),
    named("lab", "Real nodes on this machine play a trace, and are compared with the simulation of it."),
];

/// The name that is nearest to what somebody typed.
#[must_use]
pub fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> &'a str {
    names.min_by_key(|name| edits(typed, name)).unwrap_or("")
}

/// How many letters have to be changed, put in or taken out (Levenshtein).
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut before = std::mem::replace(&mut row[0], line + 1);
        for column in 0..other.len() {
            let changed = before + usize::from(other[column] != letter);
            before = row[column + 1];
            row[column + 1] = changed.min(before + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

/// What was asked, as a file that asks it again.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// What the page is called.
    pub name: String,
    /// The first seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// The questions.
    pub questions: Vec<Question>,
}

/// One question: one plot, one table.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// What it is called.
    pub title: String,
    /// A sentence about what is expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Where its figure stands in a map of all questions: row and column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<(String, String)>,
    /// Settings of delivery other than the usual ones.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub delivery: toml::Table,
    /// What it is to reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<goal::Goal>,
    /// The world.
    pub world: What,
}

/// A kind of world.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Pairs of people, each for itself.
    Pairs(pairs::Pairs),
    /// People who know each other.
    People(people::People),
    /// A family's year.
    Family(family::Family),
    /// A mail to many.
    List(list::List),
    /// A flood of strangers' mail.
    Flood(flood::Flood),
    /// From a file.
    Trace(trace::Trace),
}

impl Question {
    /// A question about pairs.
    #[must_use]
    pub fn pairs(title: impl Into<String>, pairs: pairs::Pairs) -> Self {
        Self::new(title, What::Pairs(pairs))
    }

    /// A question about some world.
    #[must_use]
    pub fn new(title: impl Into<String>, world: What) -> Self {
        Self { title: title.into(), expected: None, cell: None, delivery: toml::Table::new(), goals: Vec::new(), world }
    }

    /// With a sentence about what is expected.
    #[must_use]
    pub fn expecting(self, expected: impl Into<String>) -> Self {
        Self { expected: Some(expected.into()), ..self }
    }

    /// With figures that are to be reached.
    #[must_use]
    pub fn reaching(self, goals: Vec<goal::Goal>) -> Self {
        Self { goals, ..self }
    }

    /// With a setting of delivery that is not the usual one.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        self.delivery.insert(key.to_owned(), value.into());
        self
    }

    /// At this place of a map.
    #[must_use]
    pub fn at(self, row: impl Into<String>, column: impl Into<String>) -> Self {
        Self { cell: Some((row.into(), column.into())), ..self }
    }

    /// The settings of delivery.
    ///
    /// # Errors
    /// A sentence about a setting that there is not, or a value that it cannot have.
    pub fn config(&self) -> Result<Config, String> {
        let value = toml::Value::Table(self.delivery.clone());
        let config: Config = value.try_into().map_err(|error: toml::de::Error| {
            let unknown = self.delivery.keys().find(|key| !set::settings().iter().any(|known| known == *key));
            match unknown {
                Some(key) => set::unknown(key),
                None => error.message().to_owned(),
            }
        })?;
        // In these worlds strangers do no work, unless a question is about it.
        Ok(if self.delivery.contains_key("strangers") {
            config
        } else {
            Config { strangers: kith_protocol::card::Strangers::Welcome, ..config }
        })
    }

    /// Whether this can be run.
    ///
    /// # Errors
    /// A sentence about what is out of range.
    pub fn check(&self) -> Result<(), String> {
        self.config()?;
        match &self.world {
            What::Pairs(pairs) => pairs.check(),
            What::People(people) => people.check(),
            What::Family(family) => family.check(),
            What::List(list) => list.check(),
            What::Flood(flood) => flood.check(),
            What::Trace(trace) => trace.check(),
        }
    }

    /// Bytes of memory that a run takes, more or less.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.world {
            What::Pairs(pairs) => run::bytes(u64::from(pairs.pairs) * 4, pairs.days),
            What::People(people) => run::bytes_of_people(people.people.into(), people.days, people.after),
            What::Family(_) => run::bytes(10, 400),
            What::List(list) => run::bytes(u64::from(list.recipients), 10),
            What::Flood(flood) => run::bytes(u64::from(flood.strangers) * 10, flood.days),
            What::Trace(trace) => run::bytes(trace.nodes().into(), 60),
        }
    }

    /// Runs it with this seed. What was stopped before its end counts as far as it came; one that cannot be run comes to nothing.
    #[must_use]
    pub fn run(&self, seed: u64, attention: &Attention<'_>) -> Option<Outcome> {
        let (config, watch) = (self.config().ok()?, run::Watch::start());
        let outcome = match &self.world {
            What::Pairs(pairs) => pairs.run_with(seed, config, attention),
            What::People(people) => people.run(seed, config, attention),
            What::Family(family) => family.run(seed, config, attention),
            What::List(list) => list.run(seed, config, attention),
            What::Flood(flood) => flood.run(seed, config, attention),
            What::Trace(trace) => trace.run(seed, config, attention),
        };
        Some(Outcome { seconds: watch.seconds(), ..outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_can_be_asked_again() {
        let questions = vec![
            Question::pairs("one", pairs::Pairs::phones(&[0.95])).with("relay_copies", 1).expecting("much"),
            Question::new("two", What::People(people::People::town(100))).at("a", "b"),
            Question::new("three", What::Family(family::Family::default())),
        ];
        let asked = Asked { name: "phones".into(), seed: 3, seeds: 20, questions };
        let text = toml::to_string(&asked).unwrap();
        assert_eq!(toml::from_str::<Asked>(&text).unwrap(), asked);
    }

    #[test]
    fn the_nearest_name_is_what_was_meant() {
        let names = || ALL.iter().map(|named| named.name);
        assert_eq!(nearest("two-laptop", names()), "two-laptops");
        assert_eq!(nearest("onepi", names()), "one-pi");
        assert_eq!(edits("kitten", "sitting"), 3);
    }

    #[test]
    fn a_setting_that_there_is_not_is_named_with_the_nearest_one() {
        let question = Question::pairs("one", pairs::Pairs::phones(&[0.95])).with("relay_copie", 1);
        assert!(question.check().unwrap_err().contains("relay_copies"));
        let question = Question::pairs("one", pairs::Pairs::phones(&[0.95])).with("relay_copies", 1);
        assert_eq!(question.config().unwrap().relay_copies, 1);
    }
}
