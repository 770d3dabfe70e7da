//! `--set key=value`: any setting of a question or of delivery, by name.

use super::{Question, nearest};

/// The names of the settings of delivery.
#[must_use]
pub fn settings() -> Vec<String> {
    let usual = toml::Value::try_from(kith_protocol::delivery::Config::default());
    usual.ok().and_then(|value| value.as_table().map(|table| table.keys().cloned().collect())).unwrap_or_default()
}

/// What is said of a setting that there is not.
#[must_use]
pub fn unknown(key: &str) -> String {
    let known = settings();
    let near = nearest(key, known.iter().map(String::as_str));
    format!("delivery has no setting {key:?}; did you mean {near}? There are: {}", known.join(", "))
}

/// Sets something in a question: a path into its world (`days`, `writer.diurnal.hours`), or a setting of delivery.
///
/// # Errors
/// A sentence about a name that there is not, or a value that does not fit.
pub fn set(question: &Question, assignment: &str) -> Result<Question, String> {
    let (key, text) = assignment.split_once('=').ok_or_else(|| format!("{assignment:?} is not KEY=VALUE"))?;
    let value = parsed(text);
    let mut whole = toml::Value::try_from(question).map_err(|error| error.to_string())?;
    let world = whole.get_mut("world").and_then(toml::Value::as_table_mut);
    let world = world.and_then(|world| world.iter_mut().next()).map(|(_, fields)| fields);
    let own: Vec<String> =
        world.as_ref().and_then(|fields| fields.as_table()).map(|table| table.keys().cloned().collect()).unwrap_or_default();
    if let Some(place) = world.and_then(|fields| key.split('.').try_fold(fields, |fields, name| fields.get_mut(name))) {
        *place = fitting(place, value);
        return whole.try_into().map_err(|error: toml::de::Error| format!("{key}: {}", error.message()));
    }
    if settings().iter().any(|known| known == key) {
        return Ok(question.clone().with(key, value));
    }
    let all = settings();
    let near = nearest(key, all.iter().chain(&own).map(String::as_str));
    Err(format!(
        "there is no {key:?} here; did you mean {near}? This scenario has {}; delivery has {}",
        own.join(", "),
        all.join(", ")
    ))
}

fn parsed(text: &str) -> toml::Value {
    let line = format!("value = {text}");
    let table: Option<toml::Table> = toml::from_str(&line).ok();
    table.and_then(|mut table| table.remove("value")).unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

/// `4` where `4.0` is meant.
fn fitting(place: &toml::Value, value: toml::Value) -> toml::Value {
    match (place, &value) {
        (toml::Value::Float(_), toml::Value::Integer(number)) => toml::Value::Float(*number as f64),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::What;
    use crate::scenario::pairs::Pairs;

    #[test]
    fn settings_of_the_world_and_of_delivery_are_found_by_name() {
        let question = Question::pairs("one", Pairs::hard(&[0.9]));
        let changed = set(&question, "days=7").and_then(|question| set(&question, "writer.diurnal.hours=6")).unwrap();
        let What::Pairs(pairs) = &changed.world else { panic!("pairs stay pairs") };
        assert_eq!((pairs.days, pairs.writer), (7, crate::availability::Habit::Diurnal { hours: 6.0, centre: 20.0 }));
        let changed = set(&question, "relay_copies=1").unwrap();
        assert_eq!(changed.config().unwrap().relay_copies, 1);
    }

    #[test]
    fn what_there_is_not_is_an_error_with_the_nearest_name() {
        let question = Question::pairs("one", Pairs::hard(&[0.9]));
        for (assignment, said) in
            [("dais=7", "days"), ("relay_copy=1", "relay_copies"), ("days", "KEY=VALUE"), ("days=soon", "days")]
        {
            let error = set(&question, assignment).and_then(|question| question.check()).unwrap_err();
            assert!(error.contains(said), "{assignment}: {error}");
        }
    }
}
