//! What is asked: each scenario is one question, with its own file.

pub mod pairs;

use crate::statistics::{Delay, Summary};
use crate::world::Traffic;

/// What came of one run of a scenario.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The figures.
    pub summary: Summary,
    /// Every mail's delay.
    pub delays: Vec<Delay>,
    /// What went over the networks.
    pub traffic: Traffic,
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

/// All of them.
pub const ALL: &[Named] = &[
    Named {
        name: "two-laptops",
        question: "Two people whose laptops are on for some hours a day, some hours apart, and nobody else.",
    },
    Named {
        name: "one-pi",
        question: "The hard pair, 9 hours apart, with one always-on machine that keeps mail for the recipient.",
    },
    Named { name: "many-pis", question: "The hard pair with several such machines, each up for a share of the time." },
    Named { name: "phones", question: "Two phones, 30 times 5 minutes a day, with one always-on machine." },
    Named {
        name: "liar-relays",
        question: "The hard pair with three such machines, of all of which a share says that it stores and does not.",
    },
    Named { name: "reference", question: "The table of an independent model, reproduced." },
];

/// The scenario whose name is nearest to what somebody typed.
#[must_use]
pub fn nearest(typed: &str) -> &'static str {
    let distance = |named: &&Named| edits(typed, named.name);
    ALL.iter().min_by_key(distance).map_or("", |named| named.name)
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
    /// Who takes part.
    pub pairs: pairs::Pairs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_can_be_asked_again() {
        let question = Question { title: "one".into(), expected: None, pairs: pairs::Pairs::phones(&[0.95]) };
        let asked = Asked { name: "phones".into(), seed: 3, seeds: 20, questions: vec![question] };
        let text = toml::to_string(&asked).unwrap();
        assert_eq!(toml::from_str::<Asked>(&text).unwrap(), asked);
    }

    #[test]
    fn the_nearest_name_is_what_was_meant() {
        assert_eq!(nearest("two-laptop"), "two-laptops");
        assert_eq!(nearest("onepi"), "one-pi");
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
