//! What the repository promises of itself: the arrows between crates, the size of files, and that the documents name things that exist.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who may depend on whom: ARCHITECTURE.md's arrows, whole.
const ARROWS: &[(&str, &[&str])] = &[
    ("kith-protocol", &[]),
    ("kith-store", &["kith-protocol"]),
    ("kith-network", &["kith-protocol"]),
    ("kith-connection", &["kith-store", "kith-protocol"]),
    ("kith-smtp", &["kith-connection", "kith-store", "kith-protocol"]),
    ("kith-pop3", &["kith-connection", "kith-store", "kith-protocol"]),
    ("kith-imap", &["kith-connection", "kith-store", "kith-protocol"]),
    ("kith-gateway", &[]),
    ("kith-simulations", &["kith-protocol", "kith-store"]),
    (
        "kithmail",
        &[
            "kith-connection",
            "kith-gateway",
            "kith-imap",
            "kith-network",
            "kith-pop3",
            "kith-protocol",
            "kith-smtp",
            "kith-store",
        ],
    ),
];

/// What the pure core and the synchronous store must never link, directly or through others.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("kith-protocol", &["tokio", "libp2p", "redb", "rustls"]),
    ("kith-store", &["tokio", "libp2p", "rustls"]),
    ("kith-simulations", &["tokio", "libp2p", "rustls"]),
    ("kith-imap", &["libp2p"]),
    ("kith-smtp", &["libp2p"]),
    ("kith-pop3", &["libp2p"]),
];

/// The longest source file, in lines: a file holds one thought.
const FILE_LINES_MAX: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn tree(package: &str, depth: Option<&str>) -> Vec<(usize, String)> {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root()).args([
        "tree",
        "--offline",
        "--locked",
        "-e",
        "normal",
        "--prefix",
        "depth",
        "-f",
        " {p}",
        "-p",
        package,
    ]);
    if let Some(depth) = depth {
        command.args(["--depth", depth]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let (depth, rest) = line.split_once(' ')?;
            Some((depth.parse().ok()?, rest.split_whitespace().next()?.to_owned()))
        })
        .collect()
}

fn sources(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with(".git") || name == ".github" {
                sources(&path, ending, found);
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

#[test]
fn the_arrows_between_crates_are_those_of_the_architecture() {
    for (package, allowed) in ARROWS {
        let ours: BTreeSet<String> = tree(package, Some("1"))
            .into_iter()
            .filter(|(depth, name)| *depth == 1 && name.starts_with("kith"))
            .map(|(_, name)| name)
            .collect();
        for name in &ours {
            assert!(allowed.contains(&name.as_str()), "{package} must not depend on {name}");
        }
    }
}

#[test]
fn every_crate_of_the_workspace_has_its_arrows_listed() {
    let mut manifests = Vec::new();
    sources(&root(), "Cargo.toml", &mut manifests);
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    for manifest in manifests {
        let text = std::fs::read_to_string(&manifest).unwrap();
        let outside = text.contains("[workspace]");
        let name = text.lines().find_map(|line| line.strip_prefix("name = \"")).map(|rest| rest.trim_end_matches('"').to_owned());
        if let Some(name) = name.filter(|_| !outside) {
            assert!(known.contains(name.as_str()), "{} ({name}) is not in the table of arrows", manifest.display());
        }
    }
}

#[test]
fn the_core_and_the_store_stay_free_of_runtime_and_network() {
    for (package, forbidden) in FORBIDDEN {
        let linked: BTreeSet<String> = tree(package, None).into_iter().map(|(_, name)| name).collect();
        for name in *forbidden {
            assert!(!linked.contains(*name), "{package} links {name}");
        }
    }
}

#[test]
fn a_file_holds_one_thought_and_says_which() {
    let mut files = Vec::new();
    sources(&root(), ".rs", &mut files);
    let mut long = BTreeMap::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            long.insert(file.clone(), lines);
        }
        // What tests.rs tests stands in the file beside it.
        let says = text.starts_with("//!") || text.starts_with("#![") || file.ends_with("tests.rs");
        assert!(says, "{} does not say what it is", file.display());
    }
    assert!(long.is_empty(), "over {FILE_LINES_MAX} lines: {long:?}");
}

#[test]
fn the_documents_name_files_that_exist() {
    let mut documents = Vec::new();
    sources(&root(), ".md", &mut documents);
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        let here = document.parent().unwrap();
        for quoted in text.split('`').skip(1).step_by(2) {
            let looks_like_a_path = quoted.contains('/')
                && (quoted.ends_with(".rs") || quoted.ends_with(".md") || quoted.ends_with(".toml"))
                && !quoted.contains([' ', '*', '<', '{', '$', '~'])
                && !quoted.starts_with('/');
            if looks_like_a_path {
                assert!(root().join(quoted).exists() || here.join(quoted).exists(), "{} names {quoted}", document.display());
            }
        }
    }
}
