//! The command as people use it: mistakes are named, a run can be asked again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simulate")).args(arguments).output().unwrap()
}

#[test]
fn what_cannot_be_asked_exits_2_and_says_what_is_allowed() {
    for (arguments, said) in [
        (&["one-pie"][..], "did you mean one-pi"),
        (&["one-pi", "--up", "1.5"], "0.05 to 0.999"),
        (&["one-pi", "--pairs", "0"], "1..=100000"),
        (&["two-laptops", "--hours", "25"], "0.1 to 23.9"),
        (&["one-pi", "--colour", "red"], "--colour"),
        (&["/nowhere/at/all.toml"], "no scenario file"),
    ] {
        let output = simulate(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    assert!(simulate(&["--list"]).status.success());
}

#[test]
fn a_run_can_be_asked_again_and_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (first, again) = (folder.path().join("first"), folder.path().join("again"));
    let small = ["many-pis", "--pairs", "3", "--days", "4", "--seeds", "2", "--out", first.to_str().unwrap()];
    assert!(simulate(&small).status.success());
    let file = first.join("scenario.toml");
    assert!(simulate(&[file.to_str().unwrap(), "--out", again.to_str().unwrap()]).status.success());
    let read = |folder: &std::path::Path, name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    for name in ["digest.txt", "summary.json", "scenario.toml"] {
        assert_eq!(read(&first, name), read(&again, name), "{name}");
    }
    let page = read(&first, "report.html");
    assert!(page.contains("<svg") && page.contains("oracle"));
    assert!(!page.contains("http"), "the page needs nothing but itself");
}
