//! The questions of each scenario, by name.

use super::family::Family;
use super::flood::Flood;
use super::list::List;
use super::pairs::{Pairs, Reference, reference};
use super::people::People;
use super::{Question, What, goal};

/// What a person may choose beside the name.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// Pairs of people.
    pub pairs: Option<u32>,
    /// People of a town or a list.
    pub nodes: Option<u32>,
    /// Days on which mails are written.
    pub days: Option<u64>,
    /// Hours a day.
    pub hours: Option<f64>,
    /// Hours apart.
    pub apart: Option<f64>,
    /// How many machines that are always on.
    pub pis: Option<usize>,
    /// How much of the time those are up.
    pub up: f64,
    /// The share of the relays that lie.
    pub liars: f64,
}

/// The questions of a scenario; `None`: there is none of that name (or it is asked another way).
#[must_use]
pub fn questions(name: &str, wishes: &Wishes) -> Option<Vec<Question>> {
    let up = wishes.up;
    let pis = |count: usize| vec![up; count];
    let questions = match name {
        "two-laptops" => two_laptops(wishes),
        "one-pi" => vec![Question::pairs(format!("9 h apart, one Pi at {up}"), Pairs::hard(&pis(1)))],
        "many-pis" => many_pis(wishes),
        "correlated-home" => correlated(up),
        "friends-only" => vec![
            Question::new("ten friends, each other's relays", What::People(People::friends())),
            Question::new("the same, relays do not pass mail on to each other", What::People(People::friends()))
                .with("pass_on_below_ms", 0),
        ],
        "retry-policy" => retry_policy(up),
        "phones" => vec![Question::pairs(format!("two phones, one Pi at {up}"), Pairs::phones(&pis(1)))],
        "dht-fallback" => dht_fallback(),
        "holiday" => holiday(up),
        "family" => vec![Question::new("a family's year", What::Family(Family::default()))],
        "town" => vec![Question::new("a town", What::People(People::town(2_000)))],
        "mailing-list" => vec![Question::new("one mail to everybody", What::List(List::default()))],
        "flood" => flood(),
        "liar-relays" => [0.0, wishes.liars]
            .into_iter()
            .map(|liars| {
                let title = format!("9 h apart, three Pis at {up}, {:.0} % of them lie", 100.0 * liars);
                Question::pairs(title, Pairs { liars, ..Pairs::hard(&pis(3)) })
            })
            .collect(),
        "sybil-key" => sybil_key(),
        "mass-reboot" => {
            let town = People { days: 4, after: 10, blackout_h: Some(68.0), ..People::town(2_000) };
            vec![Question::new("everything loses its power on the third evening", What::People(town))]
        }
        "scale" => scale(wishes.nodes.unwrap_or(100_000)),
        "reference" => reference().into_iter().map(of_reference).collect(),
        "goals" => goal::all(),
        _ => return None,
    };
    Some(questions.into_iter().map(|question| wished(question, wishes, name)).collect())
}

/// With as many people and days as were asked for.
fn wished(mut question: Question, wishes: &Wishes, name: &str) -> Question {
    match &mut question.world {
        What::Pairs(pairs) => {
            pairs.pairs = wishes.pairs.unwrap_or(pairs.pairs);
            pairs.days = wishes.days.unwrap_or(pairs.days);
        }
        What::People(people) => {
            if name != "scale" {
                people.people = wishes.nodes.unwrap_or(people.people);
            }
            people.days = wishes.days.unwrap_or(people.days);
        }
        What::Family(family) => family.days = wishes.days.unwrap_or(family.days),
        What::List(list) => list.recipients = wishes.nodes.unwrap_or(list.recipients),
        What::Flood(flood) => {
            flood.strangers = wishes.nodes.unwrap_or(flood.strangers);
            flood.days = wishes.days.unwrap_or(flood.days);
        }
        What::Trace(_) => {}
    }
    question
}

fn two_laptops(wishes: &Wishes) -> Vec<Question> {
    if wishes.hours.is_some() || wishes.apart.is_some() {
        let (hours, apart) = (wishes.hours.unwrap_or(4.0), wishes.apart.unwrap_or(9.0));
        return vec![Question::pairs(format!("two laptops, {hours} h a day, {apart} h apart"), Pairs::apart(hours, apart, &[]))];
    }
    let mut questions = Vec::new();
    for hours in [1.0, 2.0, 4.0, 8.0, 12.0] {
        for apart in [0.0, 2.0, 4.0, 6.0, 9.0, 12.0] {
            let pairs = Pairs { pairs: 40, days: 30, ..Pairs::apart(hours, apart, &[]) };
            let (row, column) = (format!("{hours} h a day"), format!("{apart} h apart"));
            questions.push(Question::pairs(format!("{row}, {column}"), pairs).at(row, column));
        }
    }
    questions
}

fn many_pis(wishes: &Wishes) -> Vec<Question> {
    if let Some(count) = wishes.pis {
        let pairs = Pairs::hard(&vec![wishes.up; count]);
        return vec![Question::pairs(format!("9 h apart, {count} Pis at {}", wishes.up), pairs)];
    }
    let mut questions = Vec::new();
    for up in [0.7, 0.9, 0.95, 0.99] {
        for count in 0..=4 {
            let pairs = Pairs { pairs: 40, days: 30, ..Pairs::hard(&vec![up; count]) };
            let (row, column) = (format!("up {:.0} %", 100.0 * up), format!("{count} Pis"));
            questions.push(Question::pairs(format!("{column}, {row}"), pairs).at(row, column));
        }
    }
    questions
}

fn correlated(up: f64) -> Vec<Question> {
    let with = |shared: f64| Pairs { shared, ..Pairs::hard(&[up; 2]) };
    vec![
        Question::pairs(format!("two Pis at {up}, a home of its own for each"), with(0.0)),
        Question::pairs("half of what goes wrong goes wrong for both", with(0.5)),
        Question::pairs("both in one home, on one line", with(1.0)),
        Question::pairs(format!("one Pi at {up}"), Pairs::hard(&[up])),
    ]
}

fn retry_policy(up: f64) -> Vec<Question> {
    let day = 24 * 3_600_000_i64;
    let hard = || Pairs { pairs: 50, ..Pairs::hard(&[up; 2]) };
    let evening = || Pairs { pairs: 50, ..Pairs::evening() };
    vec![
        Question::pairs("9 h apart, two Pis: as it is", hard()),
        Question::pairs("one copy and not two", hard()).with("relay_copies", 1),
        Question::pairs("nobody is asked whether copies are there", hard())
            .with("audit_first_ms", 40 * day)
            .with("audit_after_ms", 40 * day),
        Question::pairs("relays are tried only once a day", hard())
            .with("relay_retry_ms", day)
            .with("retry_first_ms", day)
            .with("retry_steady_ms", day)
            .with("retry_max_ms", day),
        Question::pairs("the same evening: as it is", evening()),
        Question::pairs("the same evening, tried once a day", evening())
            .with("retry_first_ms", day)
            .with("retry_steady_ms", day)
            .with("retry_max_ms", day),
    ]
}

fn dht_fallback() -> Vec<Question> {
    let with = |behind: f64, pis: f64| What::People(People { behind, pis, ..People::volunteers_only() });
    vec![
        Question::new("everybody can be called, a fifth of the homes volunteers", with(0.0, 0.2)),
        Question::new("three quarters behind routers", with(0.75, 0.2)),
        Question::new("nobody volunteers", with(0.0, 0.0)),
    ]
}

fn holiday(up: f64) -> Vec<Question> {
    let away = |days| Pairs { pairs: 50, days: 30, away: Some((14, days)), ..Pairs::hard(&[up; 2]) };
    vec![
        Question::pairs("away for three weeks", away(21)).expecting("Notices after a day, no mail fails: it waits for 30 days."),
        Question::pairs("away for five weeks", away(35))
            .expecting("What was written in the first days waits longer than 30 days: it fails, and the sender is told."),
    ]
}

fn flood() -> Vec<Question> {
    let flood = |strangers| What::Flood(Flood { strangers, a_day: 20, days: 4 });
    let work = |question: Question| question.with("strangers", "Work").with("stranger_effort", 0);
    vec![work(Question::new("nobody floods", flood(0))), work(Question::new("ten strangers, 20 mails a day each", flood(10)))]
}

fn sybil_key() -> Vec<Question> {
    let with = |hidden: f64| What::People(People { hidden, strangers: 0.1, days: 7, after: 31, ..People::town(500) });
    vec![
        Question::new("everybody's record is found", with(0.0)),
        Question::new("a tenth of the records is hidden", with(0.1)).expecting(
            "Contacts have the card and notice nothing; what strangers write to hidden people fails, and they are told so.",
        ),
    ]
}

fn scale(most: u32) -> Vec<Question> {
    let mut sizes = vec![most];
    while let Some(last) = sizes.last().filter(|last| **last >= 10_000) {
        sizes.push(last / 10);
    }
    sizes.reverse();
    let town = |people| What::People(People { days: 1, after: 1, ..People::town(people) });
    sizes.into_iter().map(|people| Question::new(format!("{people} people for two days"), town(people))).collect()
}

fn of_reference(line: Reference) -> Question {
    let over = line.over_server_h.map_or(String::new(), |hours| format!(", {hours} h over a perfect server"));
    let (week, month) = (100.0 * line.shares.0, 100.0 * line.shares.1);
    let expected = format!("An independent model says {week:.2} % within 7 days, {month:.2} % within 30{over}.");
    Question::pairs(line.name, line.pairs).expecting(expected)
}
