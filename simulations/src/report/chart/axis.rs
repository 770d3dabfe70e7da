//! Where values lie on an axis, and which of them are written beside it.

use super::canvas::{Canvas, Frame, SMALL, WIDTH, shortened, width};

/// About so many ticks suit an axis that is fitted to its values.
const TICKS: f64 = 5.0;
/// No label is longer, in pixels.
const LABEL_MAX: f64 = 110.0;

/// An axis: linear or logarithmic, with ticks.
#[derive(Clone, PartialEq, Debug)]
pub struct Axis {
    /// What is measured; may be empty.
    pub label: String,
    /// The value at the left or the bottom.
    pub from: f64,
    /// The value at the right or the top.
    pub to: f64,
    /// Whether equal ratios are equally far apart.
    pub log: bool,
    /// Values that are marked, and what is written there.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// A linear axis with these ticks.
    #[must_use]
    pub fn linear(label: &str, from: f64, to: f64, ticks: Vec<(f64, String)>) -> Self {
        Self { label: label.to_owned(), from, to, log: false, ticks }
    }

    /// A logarithmic axis with a tick for each power of ten, or for 1, 2 and 5 of each where there are few. What no logarithm has is replaced.
    #[must_use]
    pub fn log10(label: &str, from: f64, to: f64) -> Self {
        // Far enough from the ends of floats that ten times as much, or a tenth, is a float too.
        let usable = |value: f64, otherwise: f64| if value > 0.0 { value.clamp(1e-300, 1e300) } else { otherwise };
        let to = usable(to, 1e3 * usable(from, 1.0));
        let from = usable(from, to / 1e3);
        let (from, to) = if from < to { (from, to) } else { (to / 10.0, from * 10.0) };
        let (first, last) = ((from.log10() - 1e-9).ceil() as i32, (to.log10() + 1e-9).floor() as i32);
        let ticks = if last > first {
            // More than these would only be a grey area.
            let step = ((last - first) / 12 + 1) as usize;
            let power = |exponent| (10_f64.powi(exponent), power_of_ten(exponent));
            (first..=last).step_by(step).map(power).collect()
        } else {
            let tick = |exponent: i32, times: f64| {
                (times * 10_f64.powi(exponent), number(times * 10_f64.powi(exponent), 10_f64.powi(exponent)))
            };
            (first - 1..=last).flat_map(|exponent| [1.0, 2.0, 5.0].map(|times| tick(exponent, times))).collect()
        };
        Self { label: label.to_owned(), from, to, log: true, ticks }
    }

    /// Times in ms: from a minute to thirty days, logarithmic.
    #[must_use]
    pub fn time_ms() -> Self {
        const HOUR: f64 = 3_600_000.0;
        let hours = [
            (1.0 / 60.0, "1 min"),
            (1.0 / 6.0, "10 min"),
            (1.0, "1 h"),
            (6.0, "6 h"),
            (24.0, "1 d"),
            (168.0, "7 d"),
            (720.0, "30 d"),
        ];
        let ticks = hours.map(|(hours, label)| (hours * HOUR, label.to_owned())).to_vec();
        Self { label: String::new(), from: HOUR / 60.0, to: 720.0 * HOUR, log: true, ticks }
    }

    /// Shares, 0 to 1, written as 0 % to 100 %.
    #[must_use]
    pub fn percent() -> Self {
        let tick = |fifths: i32| (f64::from(fifths) / 5.0, format!("{} %", 20 * fifths));
        Self::linear("", 0.0, 1.0, (0..=5).map(tick).collect())
    }

    /// A linear axis for these values, with ticks at multiples of 1, 2 or 5. It begins at zero if that is not far away; who draws bars adds a zero to the
    /// values, and who draws intervals their ends.
    #[must_use]
    pub fn fitting(label: &str, values: &[f64]) -> Self {
        let finite = values.iter().copied().filter(|value| value.is_finite());
        let (mut low, mut high) =
            finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high || (low == 0.0 && high == 0.0) {
            (low, high) = (0.0, 1.0);
        }
        if low > 0.0 && (low <= high / 2.0 || low == high) {
            low = 0.0;
        }
        if high < 0.0 && (high >= low / 2.0 || low == high) {
            high = 0.0;
        }
        let rough = high / TICKS - low / TICKS;
        let magnitude = 10_f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 5.0].into_iter().find(|times| rough <= times * magnitude * (1.0 + 1e-9)).unwrap_or(10.0) * magnitude;
        let (first, last) = ((low / step).floor(), (high / step).ceil());
        let count = last - first;
        // Where floats end there are no round numbers.
        if !(step.is_normal()
            && count.is_finite()
            && count <= 4.0 * TICKS
            && (last * step).is_finite()
            && (first * step).is_finite())
        {
            return Self::linear(label, low, high, vec![(low, number(low, low)), (high, number(high, high))]);
        }
        let ticks = (0..=count as usize).map(|place| (first + place as f64) * step).map(|value| (value, number(value, step)));
        Self::linear(label, low.min(first * step), high.max(last * step), ticks.collect())
    }

    /// How much of the way along the axis a value lies, 0 to 1: what lies outside is at the end. Not for what is no number.
    pub(super) fn place(&self, value: f64) -> f64 {
        // Halves, since the whole of a range of floats may be no float.
        let scaled = |value: f64| if self.log { value.max(f64::MIN_POSITIVE).ln() } else { value / 2.0 };
        let share = (scaled(value) - scaled(self.from)) / (scaled(self.to) - scaled(self.from));
        if share.is_nan() { 0.5 } else { share.clamp(0.0, 1.0) }
    }

    /// How much room the labels of a vertical axis need at its left.
    pub(super) fn room(&self) -> f64 {
        let widest = self.ticks.iter().map(|(_, label)| width(label, SMALL)).fold(0.0, f64::max).min(LABEL_MAX);
        let beside = if self.label.is_empty() { 8.0 } else { 26.0 };
        (beside + widest + 6.0).max(56.0)
    }

    /// Draws it at the bottom, with its grid.
    pub(super) fn draw_below(&self, canvas: &mut Canvas, frame: &Frame) {
        let mut free = 0.0;
        for (value, label) in self.shown() {
            let x = frame.x(self.place(*value));
            canvas.add(format_args!("<path d=\"M{x:.1} {:.1}V{:.1}\" stroke=\"#8882\"/>", frame.top, frame.bottom));
            let label = shortened(label, LABEL_MAX, SMALL);
            let half = width(&label, SMALL) / 2.0;
            let middle = x.min(WIDTH - 2.0 - half);
            // A label that would lie on its neighbour is left out; its line stays.
            if middle - half >= free {
                canvas.text((middle, frame.bottom + 18.0), SMALL, "middle", &label);
                free = middle + half + 6.0;
            }
        }
        canvas.below(frame, frame.bottom + 36.0, &self.label);
    }

    /// Draws it at the left, with its grid.
    pub(super) fn draw_beside(&self, canvas: &mut Canvas, frame: &Frame) {
        let mut free = f64::INFINITY;
        for (value, label) in self.shown() {
            let y = frame.y(self.place(*value));
            canvas.add(format_args!("<path d=\"M{:.1} {y:.1}H{:.1}\" stroke=\"#8884\"/>", frame.left, frame.right));
            if y <= free {
                canvas.text((frame.left - 6.0, y + 4.0), SMALL, "end", &shortened(label, LABEL_MAX, SMALL));
                free = y - SMALL - 2.0;
            }
        }
        canvas.beside(frame, self.room(), &self.label);
    }

    /// The ticks that lie on it, in their order along it.
    fn shown(&self) -> Vec<&(f64, String)> {
        let (low, high) = (self.from.min(self.to), self.from.max(self.to));
        // A tick that rounding put beyond the end belongs to the end.
        let spare = (high - low).abs() * 1e-9;
        let mut shown: Vec<_> = self.ticks.iter().filter(|(value, _)| *value >= low - spare && *value <= high + spare).collect();
        shown.sort_by(|one, other| self.place(one.0).total_cmp(&self.place(other.0)));
        shown
    }
}

/// A number as fine as the step between it and the next.
fn number(value: f64, step: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let decimals = (-(step.abs().log10() + 1e-9).floor()).clamp(0.0, 400.0) as usize;
    let sign = if value < 0.0 { "−" } else { "" };
    let size = value.abs();
    if size >= 1e9 || decimals > 5 {
        let exponent = (size.log10() + 1e-9).floor();
        let digits = (exponent + decimals as f64).clamp(0.0, 3.0);
        let digits = if decimals == 0 { 2 } else { digits as usize };
        let mantissa = format!("{:.digits$}", size / 10_f64.powf(exponent));
        let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { &mantissa };
        return format!("{sign}{mantissa}·{}", power_of_ten(exponent as i32));
    }
    let plain = format!("{size:.decimals$}");
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    // Up to four digits are read at a glance.
    let grouped = if whole.len() > 4 { in_thousands(whole) } else { whole.to_owned() };
    format!("{sign}{grouped}{rest}")
}

fn in_thousands(digits: &str) -> String {
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// 10³, and 1 where the exponent is 0.
fn power_of_ten(exponent: i32) -> String {
    if exponent == 0 {
        return "1".to_owned();
    }
    let raised = |letter| match letter {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        '9' => '⁹',
        _ => '⁰',
    };
    "10".chars().chain(exponent.to_string().chars().map(raised)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn powers_of_ten_are_ticks_of_a_logarithmic_axis() {
        assert_eq!(labels(&Axis::log10("nodes", 1.0, 1e5)), ["1", "10¹", "10²", "10³", "10⁴", "10⁵"]);
        assert_eq!(labels(&Axis::log10("s", 1e-3, 1.0)), ["10⁻³", "10⁻²", "10⁻¹", "1"]);
        let few = Axis::log10("nodes", 3.0, 80.0);
        let shown: Vec<&str> = few.shown().into_iter().map(|(_, label)| label.as_str()).collect();
        assert_eq!(shown, ["5", "10", "20", "50"]);
        assert!(Axis::log10("much", 1e-300, 1e300).ticks.len() < 15);
    }

    #[test]
    fn round_numbers_are_ticks_of_a_fitted_axis() {
        assert_eq!(labels(&Axis::fitting("", &[0.3, 9.1])), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(labels(&Axis::fitting("", &[96.2, 99.9])), ["96", "97", "98", "99", "100"]);
        assert_eq!(
            labels(&Axis::fitting("", &[0.0, 0.11])),
            ["0.00", "0.05", "0.10", "0.15"].map(|label| if label == "0.00" { "0" } else { label })
        );
        assert_eq!(labels(&Axis::fitting("", &[-3.0, 4.0])), ["−4", "−2", "0", "2", "4"]);
        assert_eq!(labels(&Axis::fitting("", &[7.0])).first(), Some(&"0"));
        assert_eq!(labels(&Axis::fitting("", &[0.0, 48_000.0])).last(), Some(&"50\u{202f}000"));
        assert_eq!(labels(&Axis::fitting("", &[0.0, 5e10])).last(), Some(&"5·10¹⁰"));
        assert_eq!(labels(&Axis::fitting("", &[0.0, 2e-8])).last(), Some(&"2·10⁻⁸"));
    }

    #[test]
    fn an_axis_of_nothing_is_still_one() {
        for values in [&[][..], &[f64::NAN], &[0.0], &[f64::INFINITY, f64::NEG_INFINITY]] {
            let axis = Axis::fitting("", values);
            assert_eq!((axis.from, axis.to), (0.0, 1.0), "{values:?}");
        }
        let axis = Axis::log10("", -1.0, f64::NAN);
        assert!(axis.from > 0.0 && axis.from < axis.to && axis.to.is_finite());
        assert_eq!(Axis::linear("", 1.0, 1.0, vec![]).place(1.0), 0.5);
    }

    #[test]
    fn a_minute_and_thirty_days_are_the_ends() {
        let axis = Axis::time_ms();
        let [first, last] = [axis.ticks.first(), axis.ticks.last()].map(|tick| tick.map(|(value, _)| axis.place(*value)));
        assert_eq!((first, last), (Some(0.0), Some(1.0)));
        assert_eq!(axis.place(0.0), 0.0);
    }

    /// Floats of all sizes that are numbers, of both signs.
    fn finite() -> prop::num::f64::Any {
        use prop::num::f64::{NEGATIVE, NORMAL, POSITIVE, ZERO};
        NORMAL | ZERO | POSITIVE | NEGATIVE
    }

    proptest! {
        #[test]
        fn a_larger_value_never_lies_before_a_smaller_one(
            ends in [finite(), finite()], values in [finite(), finite()], log: bool,
        ) {
            let (from, to) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
            let axis = if log { Axis::log10("", from, to) } else { Axis::linear("", from, to, vec![]) };
            let (low, high) = (values[0].min(values[1]), values[0].max(values[1]));
            prop_assert!((0.0..=1.0).contains(&axis.place(low)) && (0.0..=1.0).contains(&axis.place(high)));
            prop_assert!(axis.place(low) <= axis.place(high));
        }

        #[test]
        fn a_fitted_axis_holds_all_values_and_few_ticks(values in prop::collection::vec(finite(), 1..20)) {
            let axis = Axis::fitting("", &values);
            prop_assert!(axis.from < axis.to && axis.from.is_finite() && axis.to.is_finite(), "{axis:?}");
            prop_assert!(values.iter().all(|value| (axis.from..=axis.to).contains(value)), "{axis:?}");
            prop_assert!((2..12).contains(&axis.ticks.len()), "{axis:?}");
            let mut labels = labels(&axis);
            labels.dedup();
            prop_assert!(labels.len() >= 2, "{axis:?}");
        }
    }
}
