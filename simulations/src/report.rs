//! One self-contained page about a run: what was asked, the figures, delivery over time against both bounds. And the same as JSON.

pub mod chart;
pub mod index;

use std::fmt::Write as _;

use serde::Serialize;

use crate::scenario::Outcome;
use crate::statistics::{Delay, Summary, interval};

/// Moments of the horizontal axis, in ms: a minute to thirty days, evenly in the logarithm.
const POINTS: usize = 121;
const FROM_MS: f64 = 60_000.0;
const TO_MS: f64 = 30.0 * 86_400_000.0;
/// The drawing, in pixels, and its margins.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 40.0;
const TOP: f64 = 16.0;
const RIGHT: f64 = 24.0;

/// A question and what came of it, over some seeds.
#[derive(Clone, Debug)]
pub struct Part {
    /// What was asked.
    pub title: String,
    /// The runs, a seed each.
    pub runs: Vec<Outcome>,
    /// A sentence about what was expected, where something was.
    pub expected: Option<String>,
}

/// The figures of a part: means and half the widths of their 95 % intervals.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// What was asked.
    pub title: String,
    /// Name, mean, half width.
    pub rows: Vec<(&'static str, f64, Option<f64>)>,
    /// Each seed's digest.
    pub digests: Vec<String>,
}

type Field = (&'static str, fn(&Summary) -> f64);

const FIELDS: &[Field] = &[
    ("mails a run", |s| s.mails as f64),
    ("within 7 days, %", |s| 100.0 * s.within_7d),
    ("within 30 days, %", |s| 100.0 * s.within_30d),
    ("oracle within 7 days, %", |s| 100.0 * s.oracle_7d),
    ("oracle within 30 days, %", |s| 100.0 * s.oracle_30d),
    ("within a minute of the oracle, %", |s| 100.0 * s.near_oracle),
    ("hours over the oracle, mean", |s| s.over_oracle_h),
    ("hours over a perfect server, mean", |s| s.over_server_h),
    ("hours until half", |s| s.p50_h),
    ("hours until 95 %", |s| s.p95_h),
    ("hours until 99 %", |s| s.p99_h),
    ("false bounces", |s| s.false_bounces as f64),
    ("delivered after a bounce", |s| s.late as f64),
    ("whole sends a mail", |s| s.sends),
    ("bytes sent a delivered byte", |s| s.bytes_per_byte),
];

impl Part {
    /// The figures over all seeds.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let row = |(name, field): &Field| {
            let values: Vec<f64> = self.runs.iter().map(|run| field(&run.summary)).collect();
            let (mean, half) = interval(&values);
            (*name, mean, half.is_finite().then_some(half))
        };
        Figures {
            title: self.title.clone(),
            rows: FIELDS.iter().map(row).collect(),
            digests: self.runs.iter().map(|run| run.digest.clone()).collect(),
        }
    }

    fn curve(&self, pick: Pick) -> Curve {
        let shares = |run: &Outcome| {
            let mut took: Vec<u64> = run.delays.iter().filter_map(pick).collect();
            took.sort_unstable();
            let count = run.delays.len().max(1) as f64;
            moments().map(move |at| took.partition_point(|took| *took as f64 <= at) as f64 / count).collect::<Vec<f64>>()
        };
        let runs: Vec<Vec<f64>> = self.runs.iter().map(shares).collect();
        (0..POINTS)
            .map(|point| {
                let (mean, half) = interval(&runs.iter().filter_map(|run| run.get(point).copied()).collect::<Vec<f64>>());
                (mean, if half.is_finite() { half } else { 0.0 })
            })
            .collect()
    }
}

/// One of a mail's delays.
type Pick = fn(&Delay) -> Option<u64>;

/// Mean and half width at each moment.
type Curve = Vec<(f64, f64)>;

fn moments() -> impl Iterator<Item = f64> {
    (0..POINTS).map(|point| FROM_MS * (TO_MS / FROM_MS).powf(point as f64 / (POINTS - 1) as f64))
}

fn x(at: f64) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * (at / FROM_MS).ln() / (TO_MS / FROM_MS).ln()
}

fn y(share: f64) -> f64 {
    TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - share)
}

/// The whole page.
#[must_use]
pub fn page(heading: &str, command: &str, parts: &[Part]) -> String {
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title><style>{STYLE}</style><main><h1>{0}</h1><p>Made by <code>{1}</code>. The lines are means over {2} seeds, the bands their 95 % intervals.</p>",
        escaped(heading),
        escaped(command),
        parts.first().map_or(0, |part| part.runs.len()),
    );
    for part in parts {
        let _ = write!(page, "<section><h2>{}</h2>", escaped(&part.title));
        if let Some(expected) = &part.expected {
            let _ = write!(page, "<p>{}</p>", escaped(expected));
        }
        page.push_str(&plot(part));
        page.push_str(&table(&part.figures()));
        page.push_str("</section>");
    }
    page.push_str("</main></html>\n");
    page
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:0;color:#1c1c1c;background:#fff}main{max-width:900px;margin:2em auto;padding:0 1em}svg{width:100%;height:auto}table{border-collapse:collapse;margin:1em 0}td,th{padding:.15em .8em;text-align:left;border-bottom:1px solid #ddd}td.n{text-align:right;font-variant-numeric:tabular-nums}code{background:#f2f2f2;padding:0 .3em}@media(prefers-color-scheme:dark){body{background:#161616;color:#e6e6e6}code{background:#2a2a2a}td,th{border-color:#3a3a3a}svg text{fill:#e6e6e6}}";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn plot(part: &Part) -> String {
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"share delivered over time\">");
    for percent in (0..=100).step_by(20) {
        let at = y(f64::from(percent) / 100.0);
        let _ = write!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#8884\"/><text x=\"{:.1}\" y=\"{:.1}\" font-size=\"12\" text-anchor=\"end\">{percent} %</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0
        );
    }
    for (label, hours) in
        [("1 min", 1.0 / 60.0), ("10 min", 1.0 / 6.0), ("1 h", 1.0), ("6 h", 6.0), ("1 d", 24.0), ("7 d", 168.0), ("30 d", 720.0)]
    {
        let at = x(hours * 3_600_000.0);
        let _ = write!(
            svg,
            "<path d=\"M{at:.1} {TOP}V{:.1}\" stroke=\"#8882\"/><text x=\"{at:.1}\" y=\"{:.1}\" font-size=\"12\" text-anchor=\"middle\">{label}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 18.0
        );
    }
    let curves: [(&str, &str, Pick); 3] = [
        ("perfect server", "#9a9a9a", |delay| delay.server),
        ("oracle, same nodes", "#d97706", |delay| delay.oracle),
        ("Kith", "#2563eb", |delay| delay.took),
    ];
    for (place, (name, colour, pick)) in curves.into_iter().enumerate() {
        let curve = part.curve(pick);
        let points: Vec<(f64, (f64, f64))> = moments().zip(curve).collect();
        let above = points.iter().map(|(at, (mean, half))| format!("{:.1} {:.1}", x(*at), y((mean + half).min(1.0))));
        let below = points.iter().rev().map(|(at, (mean, half))| format!("{:.1} {:.1}", x(*at), y((mean - half).max(0.0))));
        let band = above.chain(below).collect::<Vec<_>>().join("L");
        let line = points.iter().map(|(at, (mean, _))| format!("{:.1} {:.1}", x(*at), y(*mean))).collect::<Vec<_>>().join("L");
        // Kith often lies on the oracle's line: that one is broad, so that it shows below.
        let look = match name {
            "Kith" => "stroke-width=\"2\"",
            "perfect server" => "stroke-width=\"2\" stroke-dasharray=\"6 4\"",
            _ => "stroke-width=\"7\" opacity=\".45\"",
        };
        let _ = write!(
            svg,
            "<path d=\"M{band}Z\" fill=\"{colour}\" opacity=\".15\"/><path d=\"M{line}\" fill=\"none\" stroke=\"{colour}\" {look}/><text x=\"{:.1}\" y=\"{:.1}\" font-size=\"13\" style=\"fill:{colour}\">{name}</text>",
            LEFT + 12.0,
            TOP + 18.0 + 18.0 * place as f64
        );
    }
    svg.push_str("</svg>");
    svg
}

fn table(figures: &Figures) -> String {
    let mut table = String::from("<table><tr><th>figure</th><th>mean</th><th>± 95 %</th></tr>");
    for (name, mean, half) in &figures.rows {
        let half = half.map_or_else(|| "–".to_owned(), |half| format!("{half:.3}"));
        let _ = write!(table, "<tr><td>{name}</td><td class=\"n\">{mean:.3}</td><td class=\"n\">{half}</td></tr>");
    }
    table.push_str("</table>");
    table
}
