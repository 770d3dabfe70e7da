//! Lines over an axis, each with the band of its interval; what they are called stands below, where it covers none of them.

use super::axis::Axis;
use super::canvas::{Canvas, Frame, RIGHT, SMALL, WIDTH, escaped, shortened, width};

/// The drawing with a line of title and a line of names is as high as it is in every report: 360.
const PLOT: f64 = 264.0;
/// A sample of a line beside its name, and a line of names.
const SAMPLE: f64 = 26.0;
const LEGEND_LINE: f64 = 20.0;
const DOT: f64 = 3.0;

/// How a line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// A line.
    Solid,
    /// A broken line.
    Dashed,
    /// A broad, pale line: shows below another one that lies on it.
    Broad,
    /// Dots without a line, their intervals as whiskers.
    Dots,
}

/// A line.
#[derive(Clone, PartialEq, Debug)]
pub struct Series {
    /// What it is called.
    pub name: String,
    /// Its colour: one of [`super::COLOURS`], or any other of CSS.
    pub colour: &'static str,
    /// How it looks.
    pub look: Look,
    /// Where it goes. What is not finite is left out, what is outside is drawn at the edge.
    pub points: Vec<(f64, f64)>,
    /// Half the widths of the points' 95 % intervals; empty: none.
    pub halves: Vec<f64>,
}

/// Lines over an axis.
#[derive(Clone, PartialEq, Debug)]
pub struct Lines {
    /// What they show.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The lines; later ones lie on earlier ones.
    pub series: Vec<Series>,
}

/// A point in the drawing, with the ends of its interval.
struct Placed {
    x: f64,
    y: f64,
    low: f64,
    high: f64,
}

impl Lines {
    pub(super) fn svg(&self) -> String {
        let (mut canvas, top) = Canvas::titled(&self.title);
        let top = top + 12.0;
        let frame = Frame { left: self.y.room(), top, right: WIDTH - RIGHT, bottom: top + PLOT };
        self.y.draw_beside(&mut canvas, &frame);
        self.x.draw_below(&mut canvas, &frame);
        let placed: Vec<(&Series, Vec<Placed>)> =
            self.series.iter().map(|series| (series, self.placed(series, &frame))).collect();
        // Bands first: none may tint another one's line.
        for (series, points) in &placed {
            band(&mut canvas, series, points);
        }
        for (series, points) in &placed {
            line(&mut canvas, series, points);
        }
        if placed.iter().all(|(_, points)| points.is_empty()) {
            frame.no_data(&mut canvas);
        }
        let labelled = frame.bottom + if self.x.label.is_empty() { 24.0 } else { 42.0 };
        let bottom = self.legend(&mut canvas, frame.left, labelled);
        canvas.finish(&self.title, bottom + 2.0)
    }

    fn placed(&self, series: &Series, frame: &Frame) -> Vec<Placed> {
        let finite = series.points.iter().enumerate().filter(|(_, (x, y))| x.is_finite() && y.is_finite());
        let placed = finite.map(|(place, (x, y))| {
            let half = series.halves.get(place).copied().filter(|half| half.is_finite()).unwrap_or(0.0).abs();
            let height = |value| frame.y(self.y.place(value));
            Placed { x: frame.x(self.x.place(*x)), y: height(*y), low: height(y - half), high: height(y + half) }
        });
        placed.collect()
    }

    /// Names in as many lines as they need. Says where they end.
    fn legend(&self, canvas: &mut Canvas, left: f64, top: f64) -> f64 {
        let right = WIDTH - 4.0;
        let (mut x, mut y) = (left, top);
        let named: Vec<&Series> = self.series.iter().filter(|series| !series.name.is_empty()).collect();
        for series in &named {
            let name = shortened(&series.name, right - left - SAMPLE - 8.0, SMALL + 1.0);
            let needed = SAMPLE + 8.0 + width(&name, SMALL + 1.0);
            if x > left && x + needed > right {
                (x, y) = (left, y + LEGEND_LINE);
            }
            let middle = y + 9.0;
            let ends = [x, x + SAMPLE].map(|x| Placed { x, y: middle, low: middle, high: middle });
            match series.look {
                Look::Dots => dot(canvas, series, x + SAMPLE / 2.0, middle),
                _ => line(canvas, series, &ends),
            }
            canvas.text((x + SAMPLE + 8.0, middle + 4.5), SMALL + 1.0, "start", &name);
            x += needed + 18.0;
        }
        if named.is_empty() { top } else { y + LEGEND_LINE }
    }
}

fn band(canvas: &mut Canvas, series: &Series, points: &[Placed]) {
    let colour = escaped(series.colour);
    if series.look == Look::Dots {
        for point in points.iter().filter(|point| point.low > point.high) {
            canvas.add(format_args!(
                "<path d=\"M{:.1} {:.1}V{:.1}\" stroke=\"{colour}\" stroke-width=\"1.5\" opacity=\".6\"/>",
                point.x, point.low, point.high
            ));
        }
    } else if points.iter().any(|point| point.low > point.high) {
        let above = points.iter().map(|point| format!("{:.1} {:.1}", point.x, point.high));
        let below = points.iter().rev().map(|point| format!("{:.1} {:.1}", point.x, point.low));
        let around = above.chain(below).collect::<Vec<_>>().join("L");
        canvas.add(format_args!("<path d=\"M{around}Z\" fill=\"{colour}\" opacity=\".15\"/>"));
    }
}

fn line(canvas: &mut Canvas, series: &Series, points: &[Placed]) {
    let look = match series.look {
        Look::Solid => "stroke-width=\"2\"",
        Look::Dashed => "stroke-width=\"2\" stroke-dasharray=\"6 4\"",
        Look::Broad => "stroke-width=\"7\" opacity=\".45\"",
        Look::Dots => return points.iter().for_each(|point| dot(canvas, series, point.x, point.y)),
    };
    match points {
        [] => {}
        // A line of one point would not be seen.
        [point] => dot(canvas, series, point.x, point.y),
        _ => {
            let path = points.iter().map(|point| format!("{:.1} {:.1}", point.x, point.y)).collect::<Vec<_>>().join("L");
            canvas.add(format_args!(
                "<path d=\"M{path}\" fill=\"none\" stroke=\"{}\" stroke-linejoin=\"round\" {look}/>",
                escaped(series.colour)
            ));
        }
    }
}

fn dot(canvas: &mut Canvas, series: &Series, x: f64, y: f64) {
    canvas.add(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{DOT}\" fill=\"{}\"/>", escaped(series.colour)));
}
