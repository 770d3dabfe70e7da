//! The command as people use it: mistakes are named, a run can be asked again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simulate")).args(arguments).output().unwrap()
}

#[test]
fn what_cannot_be_asked_exits_2_and_says_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace.csv");
    std::fs::write(&trace, "node,on,off\n0,0,10\n1,five,20\n").unwrap();
    for (arguments, said) in [
        (&["one-pie"][..], "did you mean one-pi"),
        (&["one-pi", "--up", "1.5"], "0.05 to 0.999"),
        (&["one-pi", "--pairs", "0"], "1..=100000"),
        (&["one-pi", "--seeds", "many"], "seeds are 20, or 5..25"),
        (&["two-laptops", "--hours", "25"], "0.1 to 23.9"),
        (&["one-pi", "--colour", "red"], "--colour"),
        (&["one-pi", "--set", "relay_copy=1"], "did you mean relay_copies"),
        (&["one-pi", "--set", "days=soon"], "days"),
        (&["town", "--set", "pis=2"], "a share is 0 to 1"),
        (&["town", "--nodes", "10000000", "--days", "3000"], "all together"),
        (&["town", "--nodes", "10000000", "--days", "60"], "MiB of memory"),
        (&["replay-trace"], "wants a file"),
        (&["replay-trace", trace.to_str().unwrap()], "line 3 is \"1,five,20\""),
        (&["replay-trace", "/nowhere/at/all.csv"], "is no trace"),
        (&["faults", "/nowhere/at/all.toml"], "is no plan of faults"),
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
fn every_scenario_of_the_list_can_be_run() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace.csv");
    std::fs::write(&trace, "node,on,off\n0,0,4000\n1,3000,90000\n2,0,90000\n").unwrap();
    let small = ["--pairs", "2", "--days", "2", "--seeds", "1"];
    for named in kith_simulations::scenario::ALL {
        let more: &[&str] = match named.name {
            // They have tests of their own, and mean something only in the large.
            "lab" | "faults" | "goals" | "validate" | "family" => continue,
            "replay-trace" => &[trace.to_str().unwrap(), "--relays", "1"],
            "two-laptops" => &["--hours", "4"],
            "many-pis" => &["--pis", "1"],
            "town" | "scale" | "dht-fallback" | "sybil-key" | "mass-reboot" | "mailing-list" => &["--nodes", "20"],
            "flood" => &["--nodes", "3", "--set", "a_day=5"],
            _ => &[],
        };
        let output = simulate(&[&[named.name][..], more, &small].concat());
        assert!(output.status.success(), "{}: {}", named.name, String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("mails a run"), "{}", named.name);
    }
}

/// Whoever stops a long run has what was simulated so far.
#[test]
fn ctrl_c_writes_what_was_simulated_so_far() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let long = ["town", "--nodes", "300", "--days", "300", "--seeds", "1", "--out", out.to_str().unwrap()];
    let mut child = Command::new(env!("CARGO_BIN_EXE_simulate")).args(long).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(4));
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("stopped before its end"));
    let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap();
    let rows = summary[0]["rows"].as_array().unwrap();
    let figure =
        |name: &str| rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("{name}: {rows:?}"))[1].as_f64().unwrap();
    assert!(figure("mails a run") > 0.0);
    let days = figure("days simulated");
    assert!(days > 0.0 && days < 300.0, "{days}");
}

#[test]
fn a_run_can_be_asked_again_and_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (first, again) = (folder.path().join("first"), folder.path().join("again"));
    let small = ["many-pis", "--pis", "2", "--pairs", "3", "--days", "4", "--seeds", "5..7", "--out", first.to_str().unwrap()];
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
    let index = simulate(&["--index", folder.path().to_str().unwrap()]);
    assert!(index.status.success());
    let index = read(folder.path(), "index.html");
    assert!(index.contains("first/report.html") && index.contains("again/report.html") && !index.contains("http"));
}
