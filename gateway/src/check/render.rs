//! A report as text: what is wrong first in the eye, with the line to enter below it.

use std::fmt::Write;

use super::{Report, State};

pub(super) fn text(report: &Report) -> String {
    let mut text = format!("{}\n", report.domain);
    for item in &report.items {
        let state = match (item.state, item.needed) {
            (State::Ok, _) => "ok",
            (State::Missing, true) => "MISSING",
            (State::Missing, false) => "missing",
            (State::Different, true) => "DIFFERENT",
            (State::Different, false) => "different",
            (State::Unknown, _) => "not known",
        };
        // Writing to a string cannot fail.
        let _written = writeln!(text, "  {state:<10} {:<15} {}\n             {}", item.what, item.name, item.sentence);
        if item.state != State::Ok {
            for found in &item.found {
                let _written = writeln!(text, "             there now: {}", printable(found));
            }
            for line in &item.enter {
                let _written = writeln!(text, "             enter:     {line}");
            }
        }
    }
    text.push_str("\nWhat the world says of a mail from here\n");
    for opinion in &report.opinions {
        let mark = match opinion.good {
            Some(true) => "good",
            Some(false) => "BAD",
            None => "not known",
        };
        let _written = writeln!(text, "  {mark:<10} {}", opinion.sentence);
    }
    text
}

/// What others publish must not command a terminal, nor show as something else.
fn printable(text: &str) -> String {
    let is_odd = |letter: char| letter.is_control() || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().take(300).map(|letter| if is_odd(letter) { '?' } else { letter }).collect()
}
