//! All kinds of charts on one page, to look at: `cargo run -p kith-simulations --example charts -- charts.html`.

use kith_simulations::report::chart::{Axis, Bars, COLOURS, Chart, Heat, Lines, Look, Series};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:0;color:#1c1c1c;background:#fff}main{max-width:900px;margin:2em auto;padding:0 1em}svg{width:100%;height:auto;margin:1em 0}@media(prefers-color-scheme:dark){body{background:#161616;color:#e6e6e6}}";

fn main() -> std::io::Result<()> {
    let path = std::env::args_os().nth(1).ok_or_else(|| std::io::Error::other("say where to write the page"))?;
    let charts = [
        delivery(),
        growth(),
        measured(),
        survival(),
        hardly_any(),
        few(),
        many(),
        named(),
        changes(),
        Chart::Lines(Lines { title: "Nothing at all".into(), x: Axis::time_ms(), y: Axis::percent(), series: vec![] }),
    ];
    let drawn: String = charts.iter().map(Chart::svg).collect();
    std::fs::write(
        path,
        format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Charts</title><style>{STYLE}</style><main><h1>Charts</h1>{drawn}</main></html>\n"
        ),
    )
}

/// Something that looks measured.
fn noise(place: usize) -> f64 {
    ((place as f64 * 12.9898).sin() * 43_758.547).fract()
}

fn line(name: &str, colour: usize, look: Look, curve: impl Fn(f64) -> f64, half: f64) -> Series {
    let moments = (0..121).map(|place| 60_000.0 * 43_200_f64.powf(f64::from(place) / 120.0));
    let points: Vec<(f64, f64)> = moments.map(|at| (at, curve(at / 3_600_000.0))).collect();
    let halves = points.iter().map(|(_, share)| 4.0 * half * share * (1.0 - share)).collect();
    Series { name: name.into(), colour: COLOURS[colour], look, points, halves }
}

fn delivery() -> Chart {
    let arrives = |hours: f64| move |at: f64| 1.0 - (-at / hours).exp();
    let series = vec![
        line("perfect server", 6, Look::Dashed, arrives(5.0), 0.0),
        line("oracle, same nodes", 1, Look::Broad, arrives(11.0), 0.0),
        line("Kith", 0, Look::Solid, arrives(11.5), 0.04),
    ];
    Chart::Lines(Lines {
        title: "Share delivered over time".into(),
        x: Axis { label: "time since it was sent".into(), ..Axis::time_ms() },
        y: Axis::percent(),
        series,
    })
}

fn growth() -> Chart {
    let sizes = [10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 1e5];
    let names = [
        "look up",
        "publish",
        "keep",
        "an id that is looked up by somebody who was away",
        "route",
        "refresh a relay's list",
        "ping",
    ];
    let line = |(place, name): (usize, &&str)| Series {
        name: (*name).into(),
        colour: COLOURS[place],
        look: if place % 3 == 2 { Look::Dashed } else { Look::Solid },
        points: sizes.iter().map(|size: &f64| (*size, 3.0 + (place as f64 + 2.0) * size.ln())).collect(),
        halves: if place < 2 { vec![3.0; sizes.len()] } else { vec![] },
    };
    let series: Vec<Series> = names.iter().enumerate().map(line).collect();
    let values: Vec<f64> = series.iter().flat_map(|series| &series.points).map(|(_, value)| *value).collect();
    Chart::Lines(Lines {
        title: "Messages of each kind as the network grows, and a title that is so long that it does not fit into one line and has to be broken into two".into(),
        x: Axis::log10("nodes", 10.0, 1e5),
        y: Axis::fitting("messages an hour", &values),
        series,
    })
}

fn measured() -> Chart {
    let points: Vec<(f64, f64)> =
        (0..24).map(|hour| (f64::from(hour), 20_000.0 + 9_000.0 * (f64::from(hour) / 3.8).sin())).collect();
    let model = Series { name: "model".into(), colour: COLOURS[6], look: Look::Solid, points: points.clone(), halves: vec![] };
    let points: Vec<(f64, f64)> =
        points.into_iter().map(|(hour, value)| (hour, value + 3_000.0 * noise(hour as usize))).collect();
    let halves = (0..24).map(|hour| 1_200.0 + 900.0 * noise(hour).abs()).collect();
    let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    let dots = Series { name: "measured".into(), colour: COLOURS[3], look: Look::Dots, points, halves };
    Chart::Lines(Lines {
        title: "Nodes online in a day".into(),
        x: Axis::fitting("hour", &[0.0, 23.0]),
        y: Axis::fitting("nodes", &values),
        series: vec![model, dots],
    })
}

fn survival() -> Chart {
    let value = |row: i32, column: i32| (1.0 - (0.05 * f64::from(8 - row)).powf(f64::from(column) / 2.0 + 0.4)).max(0.0);
    let cell = |row, column| if (row, column) == (6, 2) { None } else { Some(if column > 8 { 1.0 } else { value(row, column) }) };
    Chart::Heat(Heat {
        title: "Letters that are there after 30 days".into(),
        x: "relays".into(),
        y: "share of the time that a relay is up".into(),
        columns: (1..=12).map(|count| count.to_string()).collect(),
        rows: (0..8).map(|row| format!("{} %", 30 + 10 * row)).collect(),
        values: (0..8).map(|row| (0..12).map(|column| cell(row, column)).collect()).collect(),
        unit: "%",
    })
}

fn hardly_any() -> Chart {
    let names = ["everybody is honest", "one in ten lies", "three in ten lie", "half of them lie"];
    Chart::Heat(Heat {
        title: "Delivered within 7 days".into(),
        x: "who lies".into(),
        y: String::new(),
        columns: names.map(str::to_owned).to_vec(),
        rows: vec!["laptops, 4 hours a day".into(), "phones".into()],
        values: vec![
            vec![Some(1.0), Some(0.9996), Some(0.969), Some(0.31)],
            vec![Some(1.0), Some(0.999), Some(0.0001), Some(0.0)],
        ],
        unit: "%",
    })
}

fn few() -> Chart {
    let values = [("none", 0.324, 0.018), ("one", 0.9992, 0.0006), ("two", 1.0, 0.0), ("three, of which one lies", 0.969, 0.02)];
    Chart::Bars(Bars {
        title: "Delivered within 7 days".into(),
        x: "relays".into(),
        y: Axis::percent(),
        bars: values.map(|(name, value, half)| (name.to_owned(), value, Some(half))).to_vec(),
        colour: COLOURS[0],
    })
}

fn many() -> Chart {
    let value = |node: usize| 4.0 * 1.02_f64.powi(200 - node as i32) + 20.0 * noise(node).abs();
    let bars: Vec<_> = (0..200).map(|node| (node.to_string(), value(node), Some(8.0))).collect();
    let y = Axis::fitting("MiB a day", &bars.iter().map(|(_, value, _)| value + 8.0).chain([0.0]).collect::<Vec<_>>());
    Chart::Bars(Bars { title: "What each node carries".into(), x: "node, busiest first".into(), y, bars, colour: COLOURS[2] })
}

fn named() -> Chart {
    let bars: Vec<_> =
        (0..40).map(|node| (format!("relay {node} of the village"), 1e3 + 9e5 * noise(node).abs(), None)).collect();
    let y = Axis::log10("bytes", 1e3, 1e6);
    Chart::Bars(Bars { title: "Names that need room".into(), x: String::new(), y, bars, colour: COLOURS[1] })
}

fn changes() -> Chart {
    let bars: Vec<_> = (1..=12).map(|month| (format!("month {month}"), 4.0 * noise(month), Some(0.6))).collect();
    let y = Axis::fitting("hours", &bars.iter().flat_map(|(_, value, _)| [value - 0.6, value + 0.6]).collect::<Vec<_>>());
    Chart::Bars(Bars { title: "Later or sooner than before".into(), x: "with a label".into(), y, bars, colour: COLOURS[4] })
}
