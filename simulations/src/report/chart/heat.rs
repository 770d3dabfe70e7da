//! A share for each pair of two choices, as a colour that is lighter the more it is, and as a number where there is room.

use super::canvas::{Canvas, Frame, RIGHT, SMALL, WIDTH, escaped, shortened, width};
use super::names::Names;

/// From nothing to everything (viridis): lightness rises evenly, so that it can be read without seeing colours.
const SCALE: [[f64; 3]; 10] = [
    [68.0, 1.0, 84.0],
    [72.0, 40.0, 120.0],
    [62.0, 73.0, 137.0],
    [49.0, 104.0, 142.0],
    [38.0, 130.0, 142.0],
    [31.0, 158.0, 137.0],
    [53.0, 183.0, 121.0],
    [110.0, 206.0, 88.0],
    [181.0, 222.0, 43.0],
    [253.0, 231.0, 37.0],
];
/// No cell is wider, no name of a row longer.
const CELL_MAX: f64 = 130.0;
const NAME_MAX: f64 = 190.0;
/// The scale below, in pixels, and of how many pieces it is made.
const LEGEND: f64 = 240.0;
const PIECES: usize = 60;

/// A share for each pair of two choices.
#[derive(Clone, PartialEq, Debug)]
pub struct Heat {
    /// What it shows.
    pub title: String,
    /// What the columns are.
    pub x: String,
    /// What the rows are.
    pub y: String,
    /// The columns, from the left.
    pub columns: Vec<String>,
    /// The rows, from the top.
    pub rows: Vec<String>,
    /// Row by row, 0 to 1; `None`: not known.
    pub values: Vec<Vec<Option<f64>>>,
    /// `"%"`: values are written times 100; anything else: as they are.
    pub unit: &'static str,
}

impl Heat {
    pub(super) fn svg(&self) -> String {
        let (mut canvas, top) = Canvas::titled(&self.title);
        let top = top + 12.0;
        let high = cell_height(self.rows.len());
        let widest = self.rows.iter().map(|name| width(name, SMALL)).fold(0.0, f64::max).min(NAME_MAX);
        let room = (widest + if self.y.is_empty() { 12.0 } else { 34.0 }).max(56.0);
        let names = |left: f64| {
            let slot = ((WIDTH - RIGHT - left) / self.columns.len().max(1) as f64).min(CELL_MAX);
            (slot, Names::fitting(self.columns.iter().map(String::as_str), slot))
        };
        let left = room.max(names(room).1.overhang() + 4.0);
        let (wide, names) = names(left);
        let frame =
            Frame { left, top, right: left + wide * self.columns.len() as f64, bottom: top + high * self.rows.len() as f64 };
        let known = (0..self.rows.len()).any(|row| (0..self.columns.len()).any(|column| self.value(row, column).is_some()));
        if !known {
            let frame = Frame { left: 0.0, top, right: WIDTH, bottom: top + 120.0 };
            frame.no_data(&mut canvas);
            return canvas.finish(&self.title, frame.bottom);
        }
        self.cells(&mut canvas, &frame, (wide, high));
        // Rows too low for a line of text each name themselves only every so often.
        let every = (14.0 / high).ceil() as usize;
        for (row, name) in self.rows.iter().enumerate().step_by(every.max(1)) {
            let y = top + high * (row as f64 + 0.5) + 4.0;
            canvas.text((left - 6.0, y), SMALL, "end", &shortened(name, NAME_MAX, SMALL));
        }
        names.draw(&mut canvas, left, frame.bottom);
        canvas.beside(&frame, room, &self.y);
        let mut bottom = frame.bottom + names.height() + 4.0;
        if !self.x.is_empty() {
            bottom += 16.0;
            canvas.below(&frame, bottom - 2.0, &self.x);
        }
        self.legend(&mut canvas, left.min(WIDTH - RIGHT - LEGEND), bottom + 14.0);
        canvas.finish(&self.title, bottom + 50.0)
    }

    fn value(&self, row: usize, column: usize) -> Option<f64> {
        self.values.get(row)?.get(column).copied()?.filter(|value| value.is_finite())
    }

    fn cells(&self, canvas: &mut Canvas, frame: &Frame, (wide, high): (f64, f64)) {
        let whole = self.whole();
        let values = self.values.iter().flatten().flatten().filter(|value| value.is_finite());
        let longest = values.map(|value| width(&self.written(*value, whole), 1.0)).fold(0.0, f64::max);
        // All numbers are of one size, or are not written at all: the cell says its own to the pointer.
        let size = [13.0, 11.0, 9.0].into_iter().find(|size| longest * size + 4.0 <= wide && size + 4.0 <= high);
        // Lines between cells that are hardly there themselves would hide them.
        let gap = if wide.min(high) > 8.0 { 1.0 } else { 0.0 };
        // Neither may the page shine through between cells that only touch.
        let edges = if gap > 0.0 { "auto" } else { "crispEdges" };
        canvas.add(format_args!("<g shape-rendering=\"{edges}\">"));
        for (row, row_name) in self.rows.iter().enumerate() {
            for (column, column_name) in self.columns.iter().enumerate() {
                let (x, y) = (frame.left + wide * column as f64, frame.top + high * row as f64);
                let value = self.value(row, column);
                let (text, fill) = value.map_or_else(
                    || ("–".to_owned(), "#8882".to_owned()),
                    |value| (escaped(&self.written(value, whole)), css(colour(value))),
                );
                canvas.add(format_args!(
                    "<rect x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{:.2}\" fill=\"{fill}\"><title>{}, {}: {text}{}</title></rect>",
                    x + gap / 2.0,
                    y + gap / 2.0,
                    wide - gap,
                    high - gap,
                    escaped(row_name),
                    escaped(column_name),
                    escaped(&if value.is_some() { format!(" {}", self.unit) } else { String::new() }),
                ));
                if let Some(size) = size {
                    let ink = value.map_or("currentColor", |value| ink(colour(value)));
                    canvas.add(format_args!(
                        "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"{size}\" text-anchor=\"middle\" pointer-events=\"none\" style=\"fill:{ink}\">{text}</text>",
                        x + wide / 2.0,
                        y + high / 2.0 + size * 0.36
                    ));
                }
            }
        }
        canvas.add(format_args!("</g>"));
    }

    /// A value in its cell, where all are whole percents or not.
    fn written(&self, value: f64, whole: bool) -> String {
        if self.unit != "%" {
            return if value.fract() == 0.0 { format!("{:.0}", value + 0.0) } else { format!("{value:.2}") };
        }
        // What is not all is not rounded to all, and what is not nothing not to nothing.
        match value {
            _ if value > 0.0 && value < 0.0005 => "<0.1".to_owned(),
            _ if (0.9995..1.0).contains(&value) => "99.9".to_owned(),
            _ if whole || value == 0.0 || value == 1.0 => format!("{:.0}", 100.0 * value + 0.0),
            _ => format!("{:.1}", 100.0 * value),
        }
    }

    /// Whether all are whole percents.
    fn whole(&self) -> bool {
        self.values
            .iter()
            .flatten()
            .flatten()
            .filter(|value| value.is_finite())
            .all(|value| (100.0 * value - (100.0 * value).round()).abs() < 1e-9)
    }

    fn legend(&self, canvas: &mut Canvas, left: f64, top: f64) {
        let piece = LEGEND / PIECES as f64;
        canvas.add(format_args!("<g shape-rendering=\"crispEdges\">"));
        for place in 0..PIECES {
            let fill = css(colour(place as f64 / (PIECES - 1) as f64));
            // A little wider: between pieces that only touch, the page shines through.
            let wide = if place + 1 < PIECES { piece + 0.5 } else { piece };
            canvas.add(format_args!(
                "<rect x=\"{:.2}\" y=\"{top:.1}\" width=\"{wide:.2}\" height=\"10\" fill=\"{fill}\"/>",
                left + piece * place as f64
            ));
        }
        canvas.add(format_args!("</g>"));
        let whole = if self.unit == "%" { 100.0 } else { 1.0 };
        for share in [0.0, 0.5, 1.0] {
            let text = format!("{} {}", trimmed(format!("{:.1}", share * whole)), self.unit);
            canvas.text((left + LEGEND * share, top + 25.0), SMALL, "middle", text.trim_end());
        }
        let missing = (0..self.rows.len()).any(|row| (0..self.columns.len()).any(|column| self.value(row, column).is_none()));
        if missing {
            canvas.text((left + LEGEND + 32.0, top + 9.0), SMALL, "start", "– no data");
        }
    }
}

fn cell_height(rows: usize) -> f64 {
    match rows {
        0..=12 => 32.0,
        13..=24 => 22.0,
        25..=60 => 14.0,
        _ => (840.0 / rows as f64).max(2.0),
    }
}

fn trimmed(number: String) -> String {
    let short = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}

/// The colour of a value, red, green and blue; outside of 0 to 1 that of the nearest end.
fn colour(value: f64) -> [f64; 3] {
    let at = value.clamp(0.0, 1.0) * (SCALE.len() - 1) as f64;
    let below = (at as usize).min(SCALE.len() - 2);
    let (one, other, share) = (SCALE[below], SCALE[below + 1], at - below as f64);
    [0, 1, 2].map(|part| one[part] + (other[part] - one[part]) * share)
}

fn css(colour: [f64; 3]) -> String {
    let [red, green, blue] = colour.map(|part| part.round() as u8);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Black or white: what can be read on a colour.
fn ink(colour: [f64; 3]) -> &'static str {
    // Where both have the same contrast, by the definition of WCAG.
    if luminance(colour) > 0.179 { "#000" } else { "#fff" }
}

fn luminance(colour: [f64; 3]) -> f64 {
    let linear = |part: f64| {
        let part = part / 255.0;
        if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    };
    let [red, green, blue] = colour.map(linear);
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_lighter_and_every_number_can_be_read() {
        let mut before = -1.0;
        for step in 0..=100 {
            let cell = colour(f64::from(step) / 100.0);
            let light = luminance(cell);
            assert!(light > before, "{step}");
            before = light;
            let contrast = if ink(cell) == "#000" { (light + 0.05) / 0.05 } else { 1.05 / (light + 0.05) };
            assert!(contrast >= 4.5, "{step}: {contrast}");
        }
        assert_eq!(css(colour(-3.0)), css(colour(0.0)));
        assert_eq!(css(colour(9.0)), "#fde725");
    }

    #[test]
    fn what_is_not_all_is_not_written_as_all() {
        let heat = |unit| Heat {
            title: String::new(),
            x: String::new(),
            y: String::new(),
            columns: vec![],
            rows: vec![],
            values: vec![],
            unit,
        };
        let written = [0.0, 0.000_1, 0.5, 0.968_5, 0.999_9, 1.0].map(|value| heat("%").written(value, false));
        assert_eq!(written, ["0", "<0.1", "50.0", "96.9", "99.9", "100"]);
        assert_eq!(heat("").written(0.25, false), "0.25");
        assert_eq!([-0.0, 0.5].map(|value| heat("%").written(value, true)), ["0", "50"]);
    }
}
