//! What all charts draw with. Nothing here can measure a font, so the width of text is estimated, on the wide side.

use std::fmt::{Arguments, Write as _};

/// The drawing's width; its height follows from what is in it.
pub(super) const WIDTH: f64 = 860.0;
/// Right of the plot: room for half of the last tick's label.
pub(super) const RIGHT: f64 = 24.0;
/// How large ticks and names are.
pub(super) const SMALL: f64 = 12.0;
const TITLE: f64 = 15.0;
const TITLE_LINE: f64 = 20.0;

/// Text for HTML, in and out of attributes.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // No escape makes these legal.
            _ if letter.is_control() => safe.push(' '),
            _ => safe.push(letter),
        }
    }
    safe
}

/// How wide text may be, in pixels.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let ems = |letter: char| match letter {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | ' ' | '\u{202f}' => 0.33,
        't' | 'f' | 'r' | 'I' | '!' | '(' | ')' | '-' | '/' | '·' | '⁰'..='⁹' | '²' | '³' | '¹' => 0.44,
        'w' | '−' | '±' | '×' => 0.85,
        'm' | 'M' | 'W' | '%' | '@' => 1.0,
        'A'..='Z' => 0.72,
        // From here on are the scripts whose letters are squares.
        '\u{1100}'.. => 1.05,
        _ => 0.62,
    };
    size * text.chars().map(ems).sum::<f64>()
}

/// As much of a text as there is room for.
pub(super) fn shortened(text: &str, room: f64, size: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    for letter in text.chars() {
        short.push(letter);
        if width(&short, size) + size > room {
            short.pop();
            break;
        }
    }
    short.truncate(short.trim_end().len());
    short + "…"
}

/// A text in lines, broken between words.
pub(super) fn wrapped(text: &str, room: f64, size: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(line, size) + width(" ", size) + width(word, size) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(shortened(word, room, size)),
        }
    }
    lines
}

/// Where a plot is.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Frame {
    /// Where a share of the way from left to right is.
    pub(super) fn x(&self, share: f64) -> f64 {
        self.left + (self.right - self.left) * share
    }

    /// Where a share of the way from the bottom up is.
    pub(super) fn y(&self, share: f64) -> f64 {
        self.bottom + (self.top - self.bottom) * share
    }

    /// Says in the middle that there is nothing to draw.
    pub(super) fn no_data(&self, canvas: &mut Canvas) {
        canvas.text((self.x(0.5), self.y(0.5)), 14.0, "middle", "no data");
    }
}

/// A drawing that is being made.
pub(super) struct Canvas {
    body: String,
}

impl Canvas {
    /// An empty one with its title. Also says how much height that took.
    pub(super) fn titled(title: &str) -> (Self, f64) {
        let mut canvas = Self { body: String::new() };
        let mut bottom = 0.0;
        // Bold letters are wider.
        for line in wrapped(title, WIDTH, 1.08 * TITLE) {
            bottom += TITLE_LINE;
            canvas.add(format_args!(
                "<text x=\"0\" y=\"{:.1}\" font-size=\"{TITLE}\" font-weight=\"600\" fill=\"currentColor\">{}</text>",
                bottom - 4.0,
                escaped(&line)
            ));
        }
        (canvas, bottom)
    }

    /// Puts in what is already SVG.
    pub(super) fn add(&mut self, svg: Arguments<'_>) {
        let _ = self.body.write_fmt(svg);
    }

    /// Text in the page's colour.
    pub(super) fn text(&mut self, (x, y): (f64, f64), size: f64, anchor: &str, text: &str) {
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{anchor}\" fill=\"currentColor\">{}</text>",
            escaped(text)
        ));
    }

    /// Text that is turned about its place.
    pub(super) fn turned(&mut self, (x, y): (f64, f64), degrees: f64, anchor: &str, text: &str) {
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" transform=\"rotate({degrees} {x:.1} {y:.1})\" font-size=\"{SMALL}\" text-anchor=\"{anchor}\" fill=\"currentColor\">{}</text>",
            escaped(text)
        ));
    }

    /// What the vertical axis is about, left of labels that need so much room.
    pub(super) fn beside(&mut self, frame: &Frame, room: f64, label: &str) {
        if !label.is_empty() {
            self.turned(
                (frame.left - room + 14.0, frame.y(0.5)),
                -90.0,
                "middle",
                &shortened(label, frame.bottom - frame.top, SMALL),
            );
        }
    }

    /// What the horizontal axis is about, below the plot.
    pub(super) fn below(&mut self, frame: &Frame, y: f64, label: &str) {
        if !label.is_empty() {
            let label = shortened(label, WIDTH - 16.0, SMALL);
            // A label may be wider than a narrow plot.
            let half = width(&label, SMALL) / 2.0;
            let x = frame.x(0.5).clamp(4.0 + half, (WIDTH - 4.0 - half).max(4.0 + half));
            self.text((x, y), SMALL, "middle", &label);
        }
    }

    /// The whole drawing.
    pub(super) fn finish(self, title: &str, height: f64) -> String {
        let said = if title.trim().is_empty() { "chart" } else { title };
        format!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">{}</svg>", escaped(said), self.body)
    }
}
