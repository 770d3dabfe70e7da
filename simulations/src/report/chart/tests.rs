use proptest::prelude::*;

use super::*;

/// Fails unless every tag of a page is closed in its turn, and every attribute is quoted.
pub(in crate::report) fn balanced(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        assert!(!text.contains('>') || open.last() == Some(&"style"), "a stray > in {text:?}");
        let tag = &rest[start + 1..];
        let end = tag.find('>').expect("a tag that does not end");
        let (inside, after) = (&tag[..end], &tag[end + 1..]);
        assert!(!inside.contains('<'), "{inside:?} holds a tag");
        assert_eq!(inside.matches('"').count() % 2, 0, "{inside:?} has an open quote");
        rest = after;
        let name = inside.trim_start_matches('/').split([' ', '/']).next().unwrap_or("");
        if inside.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{inside:?} closes another tag");
        } else if !inside.ends_with('/') && !["!doctype", "meta"].contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} stay open");
    let entities = page.split('&').skip(1);
    for entity in entities {
        let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
        assert!(known.iter().any(|known| entity.starts_with(known)), "a bare & before {entity:.20?}");
    }
}

/// Fails unless a drawing is one, and all that it draws lies within it.
fn proper(svg: &str) {
    balanced(svg);
    assert!(svg.starts_with("<svg viewBox=\"0 0 860 "), "{svg}");
    assert!(svg.contains("role=\"img\" aria-label=\""));
    assert!(!svg.contains("http") && !svg.contains("<script") && !svg.contains(" id="));
    let height = number(svg, "viewBox=\"0 0 860 ");
    assert!((60.0..5_000.0).contains(&height), "{height}");
    for path in svg.split(" d=\"").skip(1).map(|rest| rest.split('"').next().unwrap_or("")) {
        let spaced =
            ["M", "L", "H", "V", "Z"].iter().fold(path.to_owned(), |path, letter| path.replace(letter, &format!(" {letter} ")));
        let mut across = true;
        for part in spaced.split_whitespace() {
            let Ok(place) = part.parse::<f64>() else {
                assert!(["M", "L", "H", "V", "Z"].contains(&part), "{part:?} in {path:?}");
                across = part != "V";
                continue;
            };
            let end = if across { 860.0 } else { height };
            assert!((0.0..=end).contains(&place), "{place} in {path:?}");
            across = !across;
        }
    }
    for (attribute, end) in [("cx=\"", 860.0), ("cy=\"", height), (" x=\"", 860.0), (" y=\"", height)] {
        for (place, _) in svg.match_indices(attribute) {
            let place = number(&svg[place..], attribute);
            assert!((0.0..=end).contains(&place), "{attribute}{place} of {end}");
        }
    }
}

fn number(text: &str, after: &str) -> f64 {
    let rest = text.split_once(after).expect(after).1;
    rest.split('"').next().unwrap_or("").parse().expect(rest)
}

fn series(name: &str, points: Vec<(f64, f64)>, look: Look) -> Series {
    let halves = vec![0.1; points.len()];
    Series { name: name.into(), colour: COLOURS[0], look, points, halves }
}

fn lines(series: Vec<Series>) -> Chart {
    Chart::Lines(Lines { title: "share".into(), x: Axis::time_ms(), y: Axis::percent(), series })
}

fn heat(columns: usize, rows: usize, values: Vec<Vec<Option<f64>>>) -> Chart {
    let names = |count| (0..count).map(|place| format!("choice {place}")).collect();
    let (columns, rows) = (names(columns), names(rows));
    Chart::Heat(Heat { title: "heat".into(), x: "x".into(), y: "y".into(), columns, rows, values, unit: "%" })
}

fn bars(bars: Vec<(String, f64, Option<f64>)>) -> Chart {
    let y = Axis::fitting("load", &bars.iter().map(|(_, value, _)| *value).chain([0.0]).collect::<Vec<_>>());
    Chart::Bars(Bars { title: "bars".into(), x: "node".into(), y, bars, colour: COLOURS[1] })
}

#[test]
fn charts_of_nothing_say_so() {
    let empty = [
        lines(vec![]),
        lines(vec![series("nothing", vec![], Look::Solid)]),
        lines(vec![series("no numbers", vec![(f64::NAN, 0.5), (1e6, f64::INFINITY)], Look::Broad)]),
        heat(0, 0, vec![]),
        heat(3, 0, vec![]),
        heat(2, 2, vec![]),
        heat(1, 1, vec![vec![Some(f64::NAN)]]),
        bars(vec![]),
        bars(vec![("one".into(), f64::NAN, None)]),
    ];
    for chart in empty {
        let svg = chart.svg();
        proper(&svg);
        assert_eq!(svg.matches(">no data<").count(), 1, "{svg}");
    }
}

#[test]
fn what_is_outside_is_drawn_at_the_edge_and_what_is_no_number_is_not() {
    let points = vec![(0.0, -3.0), (f64::NAN, 0.5), (3.6e6, 0.5), (1e300, 1e300)];
    let svg = lines(vec![series("line", points, Look::Solid)]).svg();
    proper(&svg);
    let line = svg.split("<path d=\"").find(|path| path.contains("stroke-width=\"2\"")).expect("a line");
    let places: Vec<&str> = line.split('"').next().unwrap_or("").trim_start_matches('M').split('L').collect();
    assert_eq!(places.len(), 3, "{line}");
    assert_eq!((places[0], places[2]), ("56.0 296.0", "836.0 32.0"));
}

#[test]
fn dots_and_lone_points_are_seen() {
    let svg =
        lines(vec![series("dots", vec![(1e6, 0.2), (1e7, 0.4)], Look::Dots), series("lone", vec![(1e6, 0.2)], Look::Dashed)])
            .svg();
    proper(&svg);
    assert_eq!(svg.matches("<circle").count(), 4, "two dots, the name's, and the lone one: {svg}");
}

#[test]
fn names_are_escaped() {
    let bad = "</svg><script>\"'&\u{0}";
    let mut all = [
        lines(vec![series(bad, vec![(1e6, 0.5)], Look::Solid)]),
        heat(1, 1, vec![vec![Some(0.5)]]),
        bars(vec![(bad.into(), 1.0, None)]),
    ];
    for chart in &mut all {
        match chart {
            Chart::Lines(lines) => {
                lines.title = bad.into();
                lines.x.label = bad.into();
                lines.y.ticks.push((0.5, bad.into()));
            }
            Chart::Heat(heat) => {
                (heat.title, heat.x, heat.y) = (bad.into(), bad.into(), bad.into());
                (heat.columns, heat.rows) = (vec![bad.into()], vec![bad.into()]);
            }
            Chart::Bars(bars) => (bars.title, bars.x) = (bad.into(), bad.into()),
        }
        let svg = chart.svg();
        proper(&svg);
        assert!(svg.contains("&lt;/svg&gt;&lt;script&gt;&quot;&#39;&amp;") && !svg.contains('\0'), "{svg}");
        assert_eq!(chart.title(), bad);
    }
}

#[test]
fn of_many_bars_some_are_named() {
    let many = bars((0..200).map(|place| (format!("{place}"), f64::from(place), Some(1.0))).collect());
    let svg = many.svg();
    proper(&svg);
    assert_eq!(svg.matches("<rect").count(), 200);
    let written = svg.matches("text-anchor=\"middle\"").count();
    assert!((10..50).contains(&written), "{written}");
}

#[test]
fn the_page_with_one_line_of_names_is_as_high_as_ever() {
    let svg = lines(vec![series("Kith", vec![(1e6, 0.2)], Look::Solid)]).svg();
    assert!(svg.starts_with("<svg viewBox=\"0 0 860 342\""), "{svg:.60}");
    let Chart::Lines(mut labelled) = lines(vec![series("Kith", vec![(1e6, 0.2)], Look::Solid)]) else { return };
    labelled.x.label = "time".into();
    assert!(Chart::Lines(labelled).svg().starts_with("<svg viewBox=\"0 0 860 360\""));
}

fn word() -> impl Strategy<Value = String> {
    ".{0,40}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lines_never_leave_the_drawing(
        points in prop::collection::vec((any::<f64>(), any::<f64>()), 0..20),
        halves in prop::collection::vec(any::<f64>(), 0..20),
        ends in [any::<f64>(), any::<f64>()],
        (name, title) in (word(), word()),
    ) {
        let all = [Look::Solid, Look::Dashed, Look::Broad, Look::Dots].map(|look| Series { name: name.clone(), colour: COLOURS[2], look, points: points.clone(), halves: halves.clone() });
        let y = Axis::fitting(&name, &points.iter().map(|(_, y)| *y).collect::<Vec<_>>());
        for x in [Axis::linear(&name, ends[0], ends[1], vec![(ends[0], title.clone())]), Axis::log10(&name, ends[0], ends[1])] {
            proper(&Chart::Lines(Lines { title: title.clone(), x, y: y.clone(), series: all.to_vec() }).svg());
        }
    }

    #[test]
    fn bars_never_leave_the_drawing(all in prop::collection::vec((word(), any::<f64>(), any::<Option<f64>>()), 0..60)) {
        proper(&bars(all).svg());
    }

    #[test]
    fn cells_never_leave_the_drawing(
        columns in prop::collection::vec(word(), 0..30),
        rows in prop::collection::vec(word(), 0..80),
        values in prop::collection::vec(prop::collection::vec(any::<Option<f64>>(), 0..10), 0..10),
    ) {
        for unit in ["%", ""] {
            let names = (columns.clone(), rows.clone(), values.clone());
            proper(&Chart::Heat(Heat { title: "t".into(), x: "x".into(), y: "y".into(), columns: names.0, rows: names.1, values: names.2, unit }).svg());
        }
    }
}
