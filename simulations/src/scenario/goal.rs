//! What Kith sets itself to reach.

use super::pairs::Pairs;
use super::people::People;
use super::{Question, What};
use crate::availability::Habit;

/// A figure that is to be reached.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Goal {
    /// Which figure, as the table calls it.
    pub figure: String,
    /// It is to be this or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least: Option<f64>,
    /// It is to be this or less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<f64>,
}

impl Goal {
    /// It is to be this or more.
    #[must_use]
    pub fn least(figure: &str, value: f64) -> Self {
        Self { figure: figure.to_owned(), least: Some(value), most: None }
    }

    /// It is to be this or less.
    #[must_use]
    pub fn most(figure: &str, value: f64) -> Self {
        Self { figure: figure.to_owned(), least: None, most: Some(value) }
    }

    /// Whether a value is what it is to be.
    #[must_use]
    pub fn met(&self, value: f64) -> bool {
        self.least.is_none_or(|least| value >= least) && self.most.is_none_or(|most| value <= most)
    }

    /// The goal as a person would say it.
    #[must_use]
    pub fn said(&self) -> String {
        let bound =
            |word: &str, value: Option<f64>| value.map(|value| format!("{word} {}", (value * 10_000.0).round() / 10_000.0));
        [bound("at least", self.least), bound("at most", self.most)].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// All of them, each as a question.
#[must_use]
pub fn all() -> Vec<Question> {
    let (near, over) = ("within a minute of the oracle, %", "hours over the oracle, mean");
    let (week, month) = ("within 7 days, %", "within 30 days, %");
    let always =
        Pairs { writer: Habit::Always, reader: Habit::Always, bytes: Some(400_000), pairs: 30, days: 20, ..Pairs::hard(&[]) };
    let keeper = || {
        let people = People {
            people: 100,
            first_pis: Some(1),
            a_day: 20.0,
            days: 14,
            after: 2,
            circle: true,
            behind: 0.0,
            ..People::town(100)
        };
        People { relays: 1, ..people }
    };
    vec![
        Question::pairs("G1: 9 h apart, two Pis at .95", Pairs::hard(&[0.95; 2])).reaching(vec![
            Goal::least(near, 99.5),
            Goal::most(over, 1.0 / 60.0),
            Goal::least(week, 99.95),
            Goal::least(month, 99.99),
            Goal::most("false bounces", 0.0),
            Goal::most("notices after the end", 0.0),
        ]),
        Question::pairs("G2: 9 h apart, one Pi at .95", Pairs::hard(&[0.95])).reaching(vec![
            Goal::least(near, 99.5),
            Goal::most("hours over a perfect server, mean", 3.6),
            Goal::most("false bounces", 0.0),
        ]),
        Question::pairs("G3: same evening, 4 h a day, no relay", Pairs::evening()).reaching(vec![
            Goal::least(week, 99.9),
            Goal::most(over, 5.0 / 60.0),
            Goal::most("median hours over the oracle", 30.0 / 3600.0),
        ]),
        Question::pairs("G4: two phones, one Pi at .95", Pairs { pairs: 30, days: 30, ..Pairs::phones(&[0.95]) })
            .reaching(vec![Goal::most("hours until half", 20.0 / 60.0), Goal::most("hours until 99 %", 10.0)]),
        Question::new("G5: ten laptops at mixed hours", What::People(People::friends()))
            .reaching(vec![Goal::least(week, 99.8), Goal::least(near, 90.0)]),
        Question::new("G6: volunteers only, the recipient away for a week", What::People(People::volunteers_only())).reaching(
            vec![
                Goal::least("within a minute of a perfect server, %", 99.9),
                Goal::most("whole sends a mail", 6.0),
                Goal::most("copy-days a mail", 35.0),
            ],
        ),
        Question::pairs("G7: both always on, 400 KB", always)
            .reaching(vec![Goal::most("bytes sent a byte of envelopes", 1.03), Goal::most("control KB a mail a day", 4.0)]),
        Question::pairs("G7: 9 h apart, two Pis at .95, 400 KB", Pairs { bytes: Some(400_000), ..Pairs::hard(&[0.95; 2]) })
            .reaching(vec![Goal::most("bytes sent a byte of envelopes", 3.1), Goal::most("control KB a mail a day", 4.0)]),
        Question::new("G9: one Pi for 100 people, 20 mails a day each", What::People(keeper()))
            .reaching(vec![Goal::most("a node keeps at most, MB", 150.0)]),
    ]
}
