//! One page about all runs in a folder: what each asked and its headline figures, with a way to its own page.

use std::fmt::Write as _;
use std::io::{Error, ErrorKind};
use std::path::Path;

use serde_json::Value;

use super::chart::escaped;

/// What a run leaves behind.
const SUMMARY: &str = "summary.json";
const PAGE: &str = "report.html";
const SCENARIO: &str = "scenario.toml";

/// How many letters of a digest tell runs apart.
const DIGEST: usize = 12;

/// What a figure is called in a summary, above its column, and how it is written.
type Headline = (&'static str, &'static str, fn(f64, Option<f64>) -> String);

/// The figures that stand in the table.
const HEADLINES: &[Headline] = &[
    ("mails a run", "mails a run", |mean, half| with_half(mean, half, 0, "")),
    ("within 7 days, %", "within 7 days", percent),
    ("within 30 days, %", "within 30 days", percent),
    ("within a minute of the oracle, %", "near the oracle", percent),
    ("hours over the oracle, mean", "over the oracle", duration),
];

const STYLE: &str = ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:0;color:#1c1c1c;background:#fff}main{max-width:1300px;margin:2em auto;padding:0 1em}div{overflow-x:auto}table{border-collapse:collapse;margin:1em 0;width:100%;font-size:15px}th{vertical-align:bottom;font-size:14px}td{vertical-align:top}td,th{padding:.25em .55em;text-align:left}th{border-bottom:1px solid #888}tbody tr:first-child>*{border-top:1px solid #ddd}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}td.n,small{white-space:nowrap}td.q{min-width:15em}td small{opacity:.7;display:block}code{background:#f2f2f2;padding:0 .3em}a{color:#2563eb}.bad{color:#b91c1c}@media(prefers-color-scheme:dark){body{background:#161616;color:#e6e6e6}code{background:#2a2a2a}tbody tr:first-child>*{border-color:#3a3a3a}a{color:#7aa7ff}.bad{color:#f87171}}";

/// A run: what a folder is called, and what is in it or why that cannot be read.
struct Run {
    name: String,
    link: String,
    content: Result<Content, String>,
}

struct Content {
    /// The scenario's name, and how many seeds it was asked with.
    scenario: Option<String>,
    seeds: Option<i64>,
    questions: Vec<Question>,
}

/// A question of a summary, with the headline figures in their order.
struct Question {
    title: String,
    figures: Vec<String>,
    digests: Vec<String>,
}

/// The page about the runs in the direct subfolders of a folder, sorted by their names. A run whose files cannot be read is listed with the reason; a
/// folder without any of the files of a run is none.
///
/// # Errors
///
/// If the folder itself cannot be read.
pub fn index(folder: &Path) -> Result<String, Error> {
    let mut runs = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.path().is_dir() {
            continue;
        }
        if let Some(content) = content(&entry.path()) {
            let name = entry.file_name();
            runs.push(Run { link: link(name.as_encoded_bytes()), name: name.to_string_lossy().into_owned(), content });
        }
    }
    runs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(page(&runs))
}

/// What a folder says about a run; `None`: it is none.
fn content(folder: &Path) -> Option<Result<Content, String>> {
    let files = [SUMMARY, PAGE, SCENARIO].map(|file| std::fs::read(folder.join(file)).map_err(|error| (file, error)));
    let missing = |file: &Result<Vec<u8>, (&str, Error)>| matches!(file, Err((_, error)) if error.kind() == ErrorKind::NotFound);
    if files.iter().all(missing) {
        return None;
    }
    let reasons: Vec<String> =
        files.iter().filter_map(|file| file.as_ref().err()).map(|(file, error)| reason(file, error)).collect();
    if !reasons.is_empty() {
        return Some(Err(reasons.join("; ")));
    }
    let [Ok(summary), Ok(_), Ok(scenario)] = files else { return None };
    Some(parsed(&summary, &scenario))
}

fn reason(file: &str, error: &Error) -> String {
    if error.kind() == ErrorKind::NotFound { format!("there is no {file}") } else { format!("{file}: {error}") }
}

fn parsed(summary: &[u8], scenario: &[u8]) -> Result<Content, String> {
    let summary: Value = serde_json::from_slice(summary).map_err(|error| format!("{SUMMARY}: {error}"))?;
    let questions = summary.as_array().ok_or_else(|| format!("{SUMMARY} is no list of questions"))?;
    let scenario = std::str::from_utf8(scenario).map_err(|error| format!("{SCENARIO}: {error}"))?;
    // Its errors have several lines, the first of which says where.
    let scenario: toml::Table = scenario.parse().map_err(|error: toml::de::Error| format!("{SCENARIO}: {}", error.message()))?;
    Ok(Content {
        scenario: scenario.get("name").and_then(toml::Value::as_str).map(str::to_owned),
        seeds: scenario.get("seeds").and_then(toml::Value::as_integer),
        questions: questions.iter().map(question).collect(),
    })
}

/// Reads a question; what is not there, or not what it should be, is a dash.
fn question(value: &Value) -> Question {
    let list = |name: &str| value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let figure = |(name, _, written): &Headline| {
        let row = list("rows").iter().find(|row| row.get(0).and_then(Value::as_str) == Some(*name));
        let number = |place: usize| row.and_then(|row| row.get(place)?.as_f64());
        number(1).map_or_else(|| "–".to_owned(), |mean| written(mean, number(2).filter(|half| *half > 0.0)))
    };
    Question {
        title: value.get("title").and_then(Value::as_str).unwrap_or("–").to_owned(),
        figures: HEADLINES.iter().map(figure).collect(),
        digests: list("digests").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
    }
}

fn percent(mean: f64, half: Option<f64>) -> String {
    with_half(mean, half, 2, " %")
}

fn duration(hours: f64, half: Option<f64>) -> String {
    if hours < 1.0 { with_half(60.0 * hours, half.map(|half| 60.0 * half), 1, " min") } else { with_half(hours, half, 1, " h") }
}

fn with_half(mean: f64, half: Option<f64>, decimals: usize, unit: &str) -> String {
    half.map_or_else(|| format!("{mean:.decimals$}{unit}"), |half| format!("{mean:.decimals$} ± {half:.decimals$}{unit}"))
}

/// Where a run's page is, seen from the folder of all. Every byte that could mean something in an address is written as a number.
fn link(name: &[u8]) -> String {
    let mut link = "./".to_owned();
    for byte in name {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(byte) {
            link.push(char::from(*byte));
        } else {
            let _ = write!(link, "%{byte:02X}");
        }
    }
    link + "/" + PAGE
}

fn page(runs: &[Run]) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>Simulations</title><style>{STYLE}</style><main><h1>Simulations</h1>"
    );
    if runs.is_empty() {
        page.push_str("<p>No runs: no data.</p></main></html>\n");
        return page;
    }
    page.push_str("<p>Means over the seeds of a run ± half of their 95 % intervals.</p><div><table><thead><tr><th>run</th><th>question</th>");
    for (_, above, _) in HEADLINES {
        let _ = write!(page, "<th class=\"n\">{above}</th>");
    }
    page.push_str("<th class=\"n\">seeds</th><th>first digest</th></tr></thead>");
    for run in runs {
        page.push_str("<tbody>");
        match &run.content {
            Ok(content) => rows(&mut page, run, content),
            Err(reason) => {
                let columns = HEADLINES.len() + 3;
                let (name, reason) = (escaped(&run.name), escaped(reason));
                let _ =
                    write!(page, "<tr><td>{name}</td><td colspan=\"{columns}\" class=\"bad\">cannot be read: {reason}</td></tr>");
            }
        }
        page.push_str("</tbody>");
    }
    page.push_str("</table></div></main></html>\n");
    page
}

/// A line for each question; the run's name stands once, beside all of them.
fn rows(page: &mut String, run: &Run, content: &Content) {
    let lines = content.questions.len().max(1);
    let name = escaped(&run.name);
    let scenario = content.scenario.as_ref().filter(|scenario| **scenario != run.name);
    let scenario = scenario.map_or(String::new(), |scenario| format!("<small>{}</small>", escaped(scenario)));
    let _ = write!(page, "<tr><td rowspan=\"{lines}\"><a href=\"{}\">{name}</a>{scenario}</td>", escaped(&run.link));
    if content.questions.is_empty() {
        let _ = write!(page, "<td colspan=\"{}\">no data</td></tr>", HEADLINES.len() + 3);
    }
    for (place, question) in content.questions.iter().enumerate() {
        if place > 0 {
            page.push_str("<tr>");
        }
        let _ = write!(page, "<td class=\"q\">{}</td>", escaped(&question.title));
        for figure in &question.figures {
            let _ = write!(page, "<td class=\"n\">{}</td>", escaped(figure));
        }
        // What was run counts, not what was asked.
        let seeds = match (question.digests.len(), content.seeds) {
            (0, Some(asked)) => format!("{asked} asked"),
            (0, None) => "–".to_owned(),
            (run, _) => run.to_string(),
        };
        let digest = question.digests.first().map_or("–".to_owned(), |digest| {
            format!("<code>{}</code>", escaped(&digest.chars().take(DIGEST).collect::<String>()))
        });
        let _ = write!(page, "<td class=\"n\">{seeds}</td><td>{digest}</td></tr>");
    }
}

#[cfg(test)]
mod tests {
    use super::super::chart::tests::balanced;
    use super::*;
    use std::fs;

    const FULL: &str = r#"[{"title": "9 h apart, <no> relay", "rows": [["mails a run", 5020.4, null], ["within 7 days, %", 12.4, 0.81],
        ["within 30 days, %", 100, 0.0], ["hours over the oracle, mean", 0.06, 0.01], ["hours over the oracle"], 7],
        "digests": ["0123456789abcdef", "ff"]}, {"rows": "none"}, 3]"#;

    fn run(folder: &Path, name: &str, summary: &str) {
        let run = folder.join(name);
        fs::create_dir(&run).unwrap();
        fs::write(run.join(SUMMARY), summary).unwrap();
        fs::write(run.join(PAGE), "<!doctype html>").unwrap();
        fs::write(run.join(SCENARIO), "name = \"one & only\"\nseeds = 20\n").unwrap();
    }

    #[test]
    fn each_run_is_listed_with_its_figures() {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), "pis #2", FULL);
        run(folder.path(), "laptops", "[]");
        fs::create_dir(folder.path().join("notes")).unwrap();
        fs::write(folder.path().join("index.html"), "").unwrap();
        let page = index(folder.path()).unwrap();
        balanced(&page);
        for expected in [
            "<td rowspan=\"3\"><a href=\"./pis%20%232/report.html\">pis #2</a><small>one &amp; only</small></td>",
            "<td class=\"q\">9 h apart, &lt;no&gt; relay</td><td class=\"n\">5020</td><td class=\"n\">12.40 ± 0.81 %</td><td class=\"n\">100.00 %</td>",
            "<td class=\"n\">3.6 ± 0.6 min</td><td class=\"n\">2</td><td><code>0123456789ab</code></td>",
            "<td class=\"n\">20 asked</td>",
            "laptops</a>",
        ] {
            assert!(page.contains(expected), "{expected} is not in {page}");
        }
        assert!(page.find("laptops").unwrap() < page.find("pis #2").unwrap());
        assert!(!page.contains("notes") && !page.contains("http"), "{page}");
    }

    #[test]
    fn a_run_that_cannot_be_read_says_why() {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), "a<b", "{");
        run(folder.path(), "c", "{}");
        run(folder.path(), "d", FULL);
        fs::remove_file(folder.path().join("d").join(PAGE)).unwrap();
        run(folder.path(), "e", FULL);
        fs::write(folder.path().join("e").join(SCENARIO), "name = \"").unwrap();
        run(folder.path(), "f", FULL);
        fs::write(folder.path().join("f").join(SCENARIO), [0xff]).unwrap();
        let page = index(folder.path()).unwrap();
        balanced(&page);
        assert_eq!(page.matches("cannot be read: ").count(), 5, "{page}");
        for expected in
            ["<td>a&lt;b</td>", "summary.json: ", "summary.json is no list", "there is no report.html", "scenario.toml: "]
        {
            assert!(page.contains(expected), "{expected} is not in {page}");
        }
    }

    #[test]
    fn no_runs_make_a_page_and_no_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let page = index(folder.path()).unwrap();
        balanced(&page);
        assert!(page.contains("no data"));
        assert!(index(&folder.path().join("gone")).is_err());
    }

    #[test]
    fn a_name_is_only_a_name_in_an_address() {
        assert_eq!(link(b"javascript:x"), "./javascript%3Ax/report.html");
        assert_eq!(link(b"100%\xff?"), "./100%25%FF%3F/report.html");
    }
}
