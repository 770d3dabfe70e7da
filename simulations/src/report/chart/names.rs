//! Names below columns: level where there is room, in some lines if need be, slanted where there is less, and only some of them where there are too
//! many to read.

use super::canvas::{Canvas, SMALL, shortened, width, wrapped};

/// No slanted name is longer, in pixels.
const NAME_MAX: f64 = 130.0;
/// Lines of text that are nearer to each other touch.
const LINE: f64 = 15.0;
/// The same across, where they are slanted.
const SLANTED_LINE: f64 = 18.0;
/// Names of more lines are better slanted.
const LINES_MAX: usize = 3;
/// Names up to this width are left level, and some of them out, rather than slanted.
const LEVEL_MAX: f64 = 48.0;
const DEGREES: f64 = -40.0;
/// Cosine and sine of that.
const ACROSS: f64 = 0.766;
const DOWN: f64 = 0.643;

pub(super) struct Names {
    /// Each name in its lines.
    texts: Vec<Vec<String>>,
    slot: f64,
    every: usize,
    slanted: bool,
    widest: f64,
}

impl Names {
    /// How names are best written that have so much room each.
    pub(super) fn fitting<'a>(names: impl Iterator<Item = &'a str> + Clone, slot: f64) -> Self {
        let level: Vec<Vec<String>> = names.clone().map(|name| wrapped(name, slot - 6.0, SMALL)).collect();
        // Wrapping shortens words that are too long for a line: then slanted ones say more.
        let fits = |(lines, name): (&Vec<String>, &str)| {
            lines.len() <= LINES_MAX && name.split_whitespace().eq(lines.iter().flat_map(|line| line.split_whitespace()))
        };
        if level.iter().zip(names.clone()).all(fits) {
            return Self { texts: level, slot, every: 1, slanted: false, widest: slot };
        }
        let texts: Vec<Vec<String>> = names.map(|name| vec![shortened(name, NAME_MAX, SMALL)]).collect();
        let widest = texts.iter().flatten().map(|text| width(text, SMALL)).fold(0.0, f64::max);
        let slanted = slot >= SLANTED_LINE || widest > LEVEL_MAX;
        let needed = if slanted { SLANTED_LINE / slot } else { (widest + 10.0) / slot };
        Self { texts, slot, every: round(needed), slanted, widest }
    }

    /// How far down they reach.
    pub(super) fn height(&self) -> f64 {
        let lines = self.texts.iter().map(Vec::len).max().unwrap_or(0);
        if self.slanted { 16.0 + self.widest * DOWN } else { 5.0 + LINE * lines.max(1) as f64 }
    }

    /// How far left of the first column's left edge they reach.
    pub(super) fn overhang(&self) -> f64 {
        if self.slanted { (self.widest * ACROSS + 8.0 - self.slot / 2.0).max(0.0) } else { 0.0 }
    }

    /// Writes them.
    pub(super) fn draw(&self, canvas: &mut Canvas, left: f64, top: f64) {
        for (place, lines) in self.texts.iter().enumerate().step_by(self.every) {
            let x = left + self.slot * (place as f64 + 0.5);
            for (line, text) in lines.iter().enumerate() {
                if self.slanted {
                    canvas.turned((x + 4.0, top + 14.0), DEGREES, "end", text);
                } else {
                    canvas.text((x, top + 17.0 + LINE * line as f64), SMALL, "middle", text);
                }
            }
        }
    }
}

/// The next step that people count in.
fn round(needed: f64) -> usize {
    let steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
    steps.into_iter().find(|step| *step as f64 >= needed).unwrap_or(10_000)
}
