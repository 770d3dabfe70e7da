//! The lab with four real nodes, where the `kith` binary was built; and what it says where it was not.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on fails, one that is left out says so")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn lab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simulate")).arg("lab").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The `kith` of the same build, or the release's.
fn kith() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_BIN_EXE_simulate")).parent()?;
    [own.join("kith"), own.parent()?.join("release").join("kith")].into_iter().find(|path| path.is_file())
}

#[test]
fn four_nodes_do_what_the_simulation_says() {
    let Some(kith) = kith() else {
        eprintln!("left out: there is no kith binary; cargo build -p kithmail makes it");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (out, trace) = (folder.path().join("out"), folder.path().join("trace.csv"));
    // The writer and the reader meet only by way of their relays; in seconds of life, 5000 for one here.
    std::fs::write(&trace, "node,on,off\n0,0,25000\n1,30000,60000\n2,0,60000\n3,0,45000\n").unwrap();
    let (out, trace) = (out.to_str().unwrap(), trace.to_str().unwrap());
    let ran = lab(&["--nodes", "4", "--pace", "5000", "--trace", trace, "--kith", kith.to_str().unwrap(), "--out", out]);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    assert!(text(&ran.stdout).contains("Kolmogorov-Smirnov"), "{}", text(&ran.stdout));
    let read = |name: &str| std::fs::read_to_string(Path::new(out).join(name)).unwrap();
    let figures: serde_json::Value = serde_json::from_str(&read("lab.json")).unwrap();
    let both = &figures["comparison"];
    assert!(both["mails"].as_u64() > Some(0), "{figures}");
    assert_eq!(both["real"]["delivered"], both["simulated"]["delivered"], "{figures}");
    assert!(read("calibration.toml").contains("commit_ms = "));
    assert!(read("trace.csv").starts_with("node,on,off\n0,0,25000\n"));
    let mails = read("mails.csv");
    assert_eq!(mails.lines().count() as u64, 1 + both["mails"].as_u64().unwrap());
}

#[test]
fn what_cannot_be_played_exits_2_and_says_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let (bad, kith) = (folder.path().join("bad.csv"), folder.path().join("kith"));
    std::fs::write(&bad, "node,on,off\n0,5,1\n").unwrap();
    std::fs::write(&kith, "").unwrap();
    let (out, bad, kith) = (out.to_str().unwrap(), bad.to_str().unwrap(), kith.to_str().unwrap());
    for (arguments, said) in [
        (&["--kith", "/nowhere/kith"][..], "cargo build --release -p kithmail"),
        (&["--kith", kith, "--trace", bad], "line 2 is \"0,5,1\": a line is NODE,ON,OFF"),
        (&["--kith", kith, "--trace", "/nowhere/trace.csv"], "/nowhere/trace.csv"),
        (&["--kith", kith, "--nodes", "1"], "2..=60"),
        (&["--kith", kith, "--pace", "0"], "1..=10000"),
        (&["--colour", "red"], "--colour"),
    ] {
        let output = lab(&[arguments, &["--out", out]].concat());
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
}
