//! Charts as SVG within a page: no script, no fonts, no addresses. Text takes the page's colour, so that light and dark mode need nothing more.

mod axis;
mod bars;
mod canvas;
mod heat;
mod lines;
mod names;
#[cfg(test)]
pub(in crate::report) mod tests;

pub use axis::Axis;
pub use bars::Bars;
pub use canvas::escaped;
pub use heat::Heat;
pub use lines::{Lines, Look, Series};

/// Colours for series, in the order to take them: neighbours differ for the colour-blind too, and all can be seen on white and on nearly black.
pub const COLOURS: [&str; 7] = ["#2563eb", "#d97706", "#0d9488", "#db2777", "#8b5cf6", "#65a30d", "#9a9a9a"];

/// One drawing.
#[derive(Clone, PartialEq, Debug)]
pub enum Chart {
    /// Lines over an axis, with bands for their intervals.
    Lines(Lines),
    /// A share for each pair of two choices, as colours.
    Heat(Heat),
    /// A bar for each name.
    Bars(Bars),
}

impl Chart {
    /// The drawing, 860 wide and as high as it needs, to be put into a page as it is. The title is drawn above it, and is what a screen reader says.
    #[must_use]
    pub fn svg(&self) -> String {
        match self {
            Chart::Lines(lines) => lines.svg(),
            Chart::Heat(heat) => heat.svg(),
            Chart::Bars(bars) => bars.svg(),
        }
    }

    /// What it shows.
    #[must_use]
    pub fn title(&self) -> &str {
        match self {
            Chart::Lines(lines) => &lines.title,
            Chart::Heat(heat) => &heat.title,
            Chart::Bars(bars) => &bars.title,
        }
    }
}
