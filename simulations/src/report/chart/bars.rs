//! A bar for each name, a few or some hundreds, with the interval of each as a whisker.

use super::axis::Axis;
use super::canvas::{Canvas, Frame, RIGHT, WIDTH, escaped};
use super::names::Names;

const PLOT: f64 = 270.0;
/// A lone bar is no wall.
const BAR_MAX: f64 = 64.0;
/// Whiskers of thinner bars have no ends: they would touch.
const ENDS_FROM: f64 = 8.0;

/// A bar for each name.
#[derive(Clone, PartialEq, Debug)]
pub struct Bars {
    /// What they show.
    pub title: String,
    /// What the names are.
    pub x: String,
    /// The vertical axis. Bars stand on its zero, or on the end that is nearest to zero.
    pub y: Axis,
    /// Name, value, and half the width of the value's 95 % interval.
    pub bars: Vec<(String, f64, Option<f64>)>,
    /// Their colour: one of [`super::COLOURS`], or any other of CSS.
    pub colour: &'static str,
}

impl Bars {
    pub(super) fn svg(&self) -> String {
        let (mut canvas, top) = Canvas::titled(&self.title);
        let top = top + 12.0;
        let right = WIDTH - RIGHT;
        let count = self.bars.len().max(1) as f64;
        let names = |left: f64| Names::fitting(self.bars.iter().map(|(name, ..)| name.as_str()), (right - left) / count);
        // Slanted names reach to the left, which makes the columns narrower, which may slant names: the first answer is near enough.
        let left = self.y.room();
        let left = left.max(names(left).overhang() + 4.0);
        let names = names(left);
        let frame = Frame { left, top, right, bottom: top + PLOT };
        self.y.draw_beside(&mut canvas, &frame);
        let slot = (right - left) / count;
        for (place, (name, value, half)) in self.bars.iter().enumerate().filter(|(_, (_, value, _))| value.is_finite()) {
            self.bar(&mut canvas, &frame, (left + slot * (place as f64 + 0.5), slot), (name, *value, *half));
        }
        let ground = frame.y(self.y.place(0.0));
        canvas.add(format_args!("<path d=\"M{left:.1} {ground:.1}H{right:.1}\" stroke=\"#888\"/>"));
        if !self.bars.iter().any(|(_, value, _)| value.is_finite()) {
            frame.no_data(&mut canvas);
        }
        names.draw(&mut canvas, left, frame.bottom);
        let mut bottom = frame.bottom + names.height() + 4.0;
        if !self.x.is_empty() {
            bottom += 16.0;
            canvas.below(&frame, bottom - 2.0, &self.x);
        }
        canvas.finish(&self.title, bottom + 6.0)
    }

    fn bar(&self, canvas: &mut Canvas, frame: &Frame, (x, slot): (f64, f64), (name, value, half): (&str, f64, Option<f64>)) {
        let wide = (slot * 0.76).min(BAR_MAX);
        let height = |value| frame.y(self.y.place(value));
        let (one, other) = (height(0.0), height(value));
        let half = half.filter(|half| half.is_finite() && *half > 0.0);
        let said = half.map_or_else(|| format!("{value:.4}"), |half| format!("{value:.4} ± {half:.4}"));
        canvas.add(format_args!(
            "<rect x=\"{:.2}\" y=\"{:.1}\" width=\"{wide:.2}\" height=\"{:.1}\" fill=\"{}\" fill-opacity=\".8\"><title>{}: {said}</title></rect>",
            x - wide / 2.0,
            one.min(other),
            (one - other).abs(),
            escaped(self.colour),
            escaped(name),
        ));
        if let Some(half) = half {
            let (low, high) = (height(value - half), height(value + half));
            let ends = if wide >= ENDS_FROM {
                let (from, to) = (x - wide.min(16.0) / 4.0, x + wide.min(16.0) / 4.0);
                format!("M{from:.1} {low:.1}H{to:.1}M{from:.1} {high:.1}H{to:.1}")
            } else {
                String::new()
            };
            canvas.add(format_args!(
                "<path d=\"M{x:.1} {low:.1}V{high:.1}{ends}\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.3\" opacity=\".85\"/>"
            ));
        }
    }
}
