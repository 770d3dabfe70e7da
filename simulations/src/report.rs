//! One self-contained page about what was asked: the figures, delivery over time against both bounds, what relays carried. And the same as JSON.

pub mod chart;
pub mod index;

use std::fmt::Write as _;

use serde::Serialize;

use crate::scenario::goal::Goal;
use crate::scenario::{Asked, Outcome, Question};
use crate::statistics::{Delay, Summary, interval};
pub use chart::escaped;
use chart::{Axis, Bars, COLOURS, Chart, Heat, Lines, Look, Series};

/// Moments of the curves, in ms: a minute to thirty days, evenly in the logarithm.
const POINTS: usize = 121;
const FROM_MS: f64 = 60_000.0;
const TO_MS: f64 = 30.0 * 86_400_000.0;
/// Nodes whose load is drawn, at most.
const LOADS_MAX: usize = 60;

/// A question and what came of it, over some seeds.
#[derive(Clone, Debug)]
pub struct Part {
    /// What was asked.
    pub question: Question,
    /// The runs, a seed each.
    pub runs: Vec<Outcome>,
}

/// The figures of a part: means and half the widths of their 95 % intervals.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// What was asked.
    pub title: String,
    /// Name, mean, half width.
    pub rows: Vec<(String, f64, Option<f64>)>,
    /// What was to be reached, and whether it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<(Goal, f64, bool)>,
    /// Each seed's digest.
    pub digests: Vec<String>,
}

type Field = (&'static str, fn(&Summary) -> f64);

/// The figures and their names. What stands in the list of all runs is among them (`report/index.rs`).
const FIELDS: &[Field] = &[
    ("mails a run", |s| s.mails as f64),
    ("within 7 days, %", |s| 100.0 * s.within_7d),
    ("within 30 days, %", |s| 100.0 * s.within_30d),
    ("oracle within 7 days, %", |s| 100.0 * s.oracle_7d),
    ("oracle within 30 days, %", |s| 100.0 * s.oracle_30d),
    ("within a minute of the oracle, %", |s| 100.0 * s.near_oracle),
    ("within a minute of a perfect server, %", |s| 100.0 * s.near_server),
    ("hours over the oracle, mean", |s| s.over_oracle_h),
    ("median hours over the oracle", |s| s.over_oracle_p50_h),
    ("hours over a perfect server, mean", |s| s.over_server_h),
    ("hours until half", |s| s.p50_h),
    ("hours until 95 %", |s| s.p95_h),
    ("hours until 99 %", |s| s.p99_h),
    ("senders told of a delay, %", |s| 100.0 * s.noticed),
    ("notices after the end", |s| s.noticed_late as f64),
    ("failed", |s| s.failed as f64),
    ("taken and not confirmed", |s| s.unconfirmed as f64),
    ("false bounces", |s| s.false_bounces as f64),
    ("of them avoidable", |s| s.avoidable_bounces as f64),
    ("delivered after a bounce", |s| s.late as f64),
    ("whole sends a mail", |s| s.sends),
    ("bytes sent a delivered byte", |s| s.bytes_per_byte),
    ("bytes sent a byte of envelopes", |s| s.bytes_per_envelope_byte),
    ("copy-days a mail", |s| s.copy_days),
    ("control KB a mail a day", |s| s.control_kb_a_day),
    ("a node keeps at most, MB", |s| s.relay_peak_mb),
];

impl Part {
    /// The figures over all seeds.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let row = |name: &str, values: Vec<f64>| {
            let (mean, half) = interval(&values);
            (name.to_owned(), mean, half.is_finite().then_some(half))
        };
        let usual = FIELDS.iter().map(|(name, field)| row(name, self.runs.iter().map(|run| field(&run.summary)).collect()));
        let special = self.runs.first().map_or(&[][..], |run| &run.special).iter().map(|(name, _)| {
            let of_run = |run: &Outcome| run.special.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
            row(name, self.runs.iter().filter_map(of_run).collect())
        });
        let rows: Vec<_> = usual.chain(special).collect();
        let reached = |goal: &Goal| {
            let value = rows.iter().find(|(name, ..)| *name == goal.figure).map_or(f64::NAN, |(_, mean, _)| *mean);
            (goal.clone(), value, goal.met(value))
        };
        Figures {
            title: self.question.title.clone(),
            goals: self.question.goals.iter().map(reached).collect(),
            digests: self.runs.iter().map(|run| run.digest.clone()).collect(),
            rows,
        }
    }

    fn curve(&self, pick: Pick, name: &str, colour: &'static str, look: Look) -> Series {
        let shares = |run: &Outcome| {
            let mut took: Vec<u64> = run.delays.iter().filter_map(pick).collect();
            took.sort_unstable();
            let count = run.delays.len().max(1) as f64;
            moments().map(move |at| took.partition_point(|took| *took as f64 <= at) as f64 / count).collect::<Vec<f64>>()
        };
        let runs: Vec<Vec<f64>> = self.runs.iter().map(shares).collect();
        let (mut points, mut halves) = (Vec::new(), Vec::new());
        for (place, at) in moments().enumerate() {
            let (mean, half) = interval(&runs.iter().filter_map(|run| run.get(place).copied()).collect::<Vec<f64>>());
            points.push((at, mean));
            halves.push(half);
        }
        Series { name: name.to_owned(), colour, look, points, halves }
    }

    fn charts(&self) -> Vec<Chart> {
        let x = Axis { label: "time since the mail was sent".to_owned(), ..Axis::time_ms() };
        let series = vec![
            self.curve(|delay| delay.oracle, "oracle, same nodes", COLOURS[1], Look::Broad),
            self.curve(|delay| delay.server, "perfect server", COLOURS[6], Look::Dashed),
            self.curve(|delay| delay.took, "Kith", COLOURS[0], Look::Solid),
        ];
        let title = "Share of the mails that are there".to_owned();
        let mut charts = vec![Chart::Lines(Lines { title, x, y: Axis::percent(), series })];
        charts.extend(self.loads());
        charts
    }

    /// What the nodes kept for others, those with most first, of the first run.
    fn loads(&self) -> Option<Chart> {
        let mut peaks: Vec<f64> = self.runs.first()?.loads.iter().map(|load| load.peak as f64 / 1e6).collect();
        if peaks.len() < 2 {
            return None;
        }
        peaks.sort_by(|one, other| other.total_cmp(one));
        let step = peaks.len().div_ceil(LOADS_MAX);
        let bars = peaks.iter().enumerate().step_by(step).map(|(place, peak)| ((place + 1).to_string(), *peak, None)).collect();
        let y = Axis::fitting("MB", &[peaks.as_slice(), &[0.0]].concat());
        let title = "The most that each node kept for others".to_owned();
        Some(Chart::Bars(Bars { title, x: "nodes, by what they kept".to_owned(), y, bars, colour: COLOURS[2] }))
    }

    fn figure(&self, name: &str) -> Option<f64> {
        self.figures().rows.into_iter().find(|(row, ..)| row == name).map(|(_, mean, _)| mean)
    }
}

/// One of a mail's delays.
type Pick = fn(&Delay) -> Option<u64>;

fn moments() -> impl Iterator<Item = f64> {
    (0..POINTS).map(|point| FROM_MS * (TO_MS / FROM_MS).powf(point as f64 / (POINTS - 1) as f64))
}

/// A map of all questions that have a place on it.
fn map(parts: &[Part], figure: &str, title: &str) -> Option<Chart> {
    let mut rows: Vec<String> = Vec::new();
    let mut columns: Vec<String> = Vec::new();
    for (row, column) in parts.iter().filter_map(|part| part.question.cell.as_ref()) {
        if !rows.contains(row) {
            rows.push(row.clone());
        }
        if !columns.contains(column) {
            columns.push(column.clone());
        }
    }
    if rows.is_empty() {
        return None;
    }
    let value = |row: &String, column: &String| {
        let here = |part: &&Part| part.question.cell.as_ref() == Some(&(row.clone(), column.clone()));
        let part = parts.iter().find(here)?;
        // Where an oracle delivers nothing, nothing is near it.
        let meant = !figure.contains("oracle") || part.figure("oracle within 30 days, %")? > 0.0;
        part.figure(figure).filter(|_| meant).map(|percent| percent / 100.0)
    };
    let values = rows.iter().map(|row| columns.iter().map(|column| value(row, column)).collect()).collect();
    let (x, y) = (String::new(), String::new());
    Some(Chart::Heat(Heat { title: title.to_owned(), x, y, columns, rows, values, unit: "%" }))
}

/// What the questions cost against what they bring: a point for each.
fn costs(parts: &[Part]) -> Option<Chart> {
    let point = |part: &Part| Some((part.figure("whole sends a mail")?, part.figure("hours over a perfect server, mean")?));
    let points: Vec<(String, (f64, f64))> =
        parts.iter().filter_map(|part| Some((part.question.title.clone(), point(part)?))).collect();
    let sends: Vec<f64> = points.iter().map(|(_, (sends, _))| *sends).chain([0.0]).collect();
    let spread = sends.iter().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
    if points.len() < 3 || points.len() > COLOURS.len() || spread.1 - spread.0 < 0.2 {
        return None;
    }
    let x = Axis::fitting("whole sends a mail", &sends);
    let y = Axis::fitting(
        "hours over a perfect server",
        &points.iter().map(|(_, (_, hours))| *hours).chain([0.0]).collect::<Vec<f64>>(),
    );
    let series = points.into_iter().zip(COLOURS).map(|((name, point), colour)| Series {
        name,
        colour,
        look: Look::Dots,
        points: vec![point],
        halves: Vec::new(),
    });
    Some(Chart::Lines(Lines { title: "What copies cost, and what they bring".to_owned(), x, y, series: series.collect() }))
}

/// What grew: its name, its value for each number of people, and the exponent.
pub type Growth = (String, Vec<(f64, f64)>, f64);

/// How time, memory and bytes a mail grow with the number of people: points and the exponents of their growth.
#[must_use]
pub fn growth(parts: &[Part]) -> Vec<Growth> {
    let people = |part: &Part| match &part.question.world {
        crate::scenario::What::People(people) => Some(f64::from(people.people)),
        _ => None,
    };
    type Measure = fn(&Outcome) -> f64;
    let measures: [(&str, Measure); 3] = [
        ("seconds of a core", |run| run.seconds),
        ("MB of memory", |run| run.memory as f64 / 1e6),
        ("bytes a mail", |run| (run.traffic.mail_bytes + run.traffic.control_bytes) as f64 / run.summary.mails.max(1) as f64),
    ];
    measures
        .into_iter()
        .map(|(name, measure)| {
            let points: Vec<(f64, f64)> =
                parts.iter().filter_map(|part| Some((people(part)?, measure(part.runs.first()?)))).collect();
            let exponent = slope(&points);
            (name.to_owned(), points, exponent)
        })
        .collect()
}

/// The slope of a straight line through the logarithms (least squares).
fn slope(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0).map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| logs.iter().map(pick).sum::<f64>() / count.max(1.0);
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let (above, below) =
        logs.iter().fold((0.0, 0.0), |(above, below), (a, b)| (above + (a - x) * (b - y), below + (a - x) * (a - x)));
    if below > 0.0 { above / below } else { f64::NAN }
}

fn growth_chart(parts: &[Part]) -> Chart {
    let grown = growth(parts);
    let all = || grown.iter().flat_map(|(_, points, _)| points.iter().copied());
    let bounds = |pick: fn((f64, f64)) -> f64| {
        let values = all().map(pick).filter(|value| *value > 0.0);
        let (low, high) = values.fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), value| (low.min(value), high.max(value)));
        (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()))
    };
    let ((from_x, to_x), (from_y, to_y)) = (bounds(|point| point.0), bounds(|point| point.1));
    let series = grown.iter().zip(COLOURS).map(|((name, points, exponent), colour)| Series {
        name: format!("{name}: people to the power of {exponent:.2}"),
        colour,
        look: Look::Solid,
        points: points.clone(),
        halves: Vec::new(),
    });
    let series = series.collect();
    let title = "How it grows with the number of people".to_owned();
    Chart::Lines(Lines { title, x: Axis::log10("people", from_x, to_x), y: Axis::log10("", from_y, to_y), series })
}

/// What all questions show together.
fn overall(asked: &Asked, parts: &[Part]) -> Vec<Chart> {
    let charts = [
        map(parts, "within 7 days, %", "Share of the mails that are there within 7 days"),
        map(parts, "within a minute of the oracle, %", "Share of the mails that are there within a minute of the oracle"),
        costs(parts),
        (asked.name == "scale").then(|| growth_chart(parts)),
    ];
    charts.into_iter().flatten().collect()
}

/// The drawings of the page as files of their own: what all questions show together, then those of each.
#[must_use]
pub fn plots(asked: &Asked, parts: &[Part]) -> Vec<String> {
    let alone = |chart: Chart| {
        let look = "<svg xmlns=\"http://www.w3.org/2000/svg\" font-family=\"system-ui,sans-serif\" color=\"#1c1c1c\" style=\"background:#fff\" ";
        chart.svg().replacen("<svg ", look, 1)
    };
    let mapped = parts.iter().any(|part| part.question.cell.is_some());
    let each = parts.iter().filter(|_| !mapped).flat_map(Part::charts);
    overall(asked, parts).into_iter().chain(each).map(alone).collect()
}

/// The whole page.
#[must_use]
pub fn page(asked: &Asked, command: &str, parts: &[Part], stopped: bool) -> String {
    let mut page = head(&asked.name);
    let _ = write!(
        page,
        "<p>Made by <code>{}</code>. {}{}</p>",
        chart::escaped(command),
        match parts.iter().map(|part| part.runs.len()).max().unwrap_or(0) {
            1 => "One seed.".to_owned(),
            seeds => format!("The lines are means over {seeds} seeds, the bands their 95 % intervals."),
        },
        if stopped {
            " <strong>It was stopped before its end: “days simulated” says how far each question had come.</strong>"
        } else {
            ""
        },
    );
    overall(asked, parts).iter().for_each(|chart| page.push_str(&chart.svg()));
    let mapped = parts.iter().filter(|part| part.question.cell.is_some()).count();
    for part in parts {
        // Of a whole map everything at once is more than anybody reads.
        let open = if mapped > 6 { "<details><summary>" } else { "<section><h2>" };
        let close = if mapped > 6 { ("</summary>", "</details>") } else { ("</h2>", "</section>") };
        let _ = write!(page, "{open}{}{}", chart::escaped(&part.question.title), close.0);
        if let Some(expected) = &part.question.expected {
            let _ = write!(page, "<p>{}</p>", chart::escaped(expected));
        }
        let figures = part.figures();
        page.push_str(&goals(&figures));
        if mapped <= 6 {
            part.charts().iter().for_each(|chart| page.push_str(&chart.svg()));
        }
        page.push_str(&table(&figures));
        page.push_str(close.1);
    }
    page.push_str("</main></html>\n");
    page
}

/// The beginning of a page.
#[must_use]
pub fn head(title: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title><style>{STYLE}</style><main><h1>{0}</h1>",
        chart::escaped(title)
    )
}

const STYLE: &str = ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:0;color:#1c1c1c;background:#fff}main{max-width:900px;margin:2em auto;padding:0 1em}svg{width:100%;height:auto;margin:.5em 0}table{border-collapse:collapse;margin:1em 0}td,th{padding:.15em .8em;text-align:left;border-bottom:1px solid #ddd}td.n{text-align:right;font-variant-numeric:tabular-nums}code{background:#f2f2f2;padding:0 .3em}.met{color:#15803d}.missed{color:#b91c1c}pre{overflow-x:auto;font-size:13px;line-height:1.35}@media(prefers-color-scheme:dark){body{background:#161616;color:#e6e6e6}code{background:#2a2a2a}td,th{border-color:#3a3a3a}.met{color:#4ade80}.missed{color:#f87171}}";

fn goals(figures: &Figures) -> String {
    if figures.goals.is_empty() {
        return String::new();
    }
    let mut list = String::from("<ul>");
    for (goal, value, met) in &figures.goals {
        let (class, word) = if *met { ("met", "reached") } else { ("missed", "missed") };
        let _ = write!(
            list,
            "<li class=\"{class}\">{}: {} – {value:.4}, {word}</li>",
            chart::escaped(&goal.figure),
            chart::escaped(&goal.said())
        );
    }
    list.push_str("</ul>");
    list
}

fn table(figures: &Figures) -> String {
    let mut table = String::from("<table><tr><th>figure</th><th>mean</th><th>± 95 %</th></tr>");
    for (name, mean, half) in &figures.rows {
        let half = half.map_or_else(|| "–".to_owned(), |half| format!("{half:.3}"));
        let name = chart::escaped(name);
        let _ = write!(table, "<tr><td>{name}</td><td class=\"n\">{mean:.3}</td><td class=\"n\">{half}</td></tr>");
    }
    table.push_str("</table>");
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_the_slope_of_the_logarithms() {
        let points: Vec<(f64, f64)> = [10.0, 100.0, 1000.0].map(|x: f64| (x, 3.0 * x.powf(1.1))).to_vec();
        assert!((slope(&points) - 1.1).abs() < 1e-9);
        assert!(slope(&[]).is_nan());
    }

    #[test]
    fn every_goal_names_a_figure_that_there_is() {
        for goal in crate::scenario::goal::all().iter().flat_map(|question| &question.goals) {
            assert!(FIELDS.iter().any(|(name, _)| *name == goal.figure), "{}", goal.figure);
        }
    }
}
