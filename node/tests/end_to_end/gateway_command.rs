//! `kith gateway` as a person types it: what it says where something is wrong, and how it ends.

use crate::names::Names;
use crate::node::Node;

/// A refusal: exit code 1, nothing on standard output, the cause and what to do about it.
fn refused(node: &Node, arguments: &[&str], words: &[&str]) {
    let (code, out, error) = node.try_with(b"", arguments);
    assert!(code == 1 && out.is_empty() && error.starts_with("kith: "), "{arguments:?}: {code} {out}{error}");
    for word in words {
        assert!(error.contains(word), "{arguments:?}: {word}: {error}");
    }
}

#[test]
fn whatever_is_mistyped_is_told_with_what_may_have_been_meant() {
    let node = Node::with_accounts(&["anna", "ben"]);
    let carol = Node::with_accounts(&["carol"]).address("carol");
    node.ask(&["contact", "add", "carol", &carol, "--email", "carol@far.test", "--account", "anna"]);
    node.ask(&["gateway", "map", "shop@near.test", "anna"]);
    refused(&node, &["gateway", "map", "x@near.test", "anan"], &["no account `anan`", "did you mean anna?"]);
    refused(&node, &["gateway", "map", "x@near.test", "crol", "--account", "anna"], &["did you mean carol?"]);
    refused(&node, &["gateway", "map", "x@near.test", "carol"], &["--account anna or ben"]);
    refused(&node, &["gateway", "map", "a b", "anna"], &["none of NAME, NAME@DOMAIN and @DOMAIN"]);
    refused(&node, &["gateway", "unmap", "shpo@near.test"], &["no row shpo@near.test", "did you mean shop@near.test?"]);
    refused(&node, &["gateway", "rule", "never", "caroll", "--account", "anna"], &["did you mean carol?"]);
    refused(&node, &["gateway", "rule", "never", "x@y.test", "--account", "bem"], &["did you mean ben?"]);
    refused(&node, &["gateway", "rule"], &["which account?", "anna, ben"]);
    refused(&node, &["gateway", "release", "7"], &["number 7"]);
    refused(&node, &["gateway", "accept", "x@y.test", "--account", "anna"], &["nothing is suggested for x@y.test"]);
    refused(&node, &["gateway", "allow", "carol", "--account", "anna"], &["no way to ordinary addresses", "direct = true"]);
    refused(&node, &["gateway", "use", "dave", "--account", "anna"], &["nobody is called `dave`"]);
    refused(&node, &["gateway", "check", "no domain"], &["`no domain` is not a domain", "example.org"]);
    refused(&node, &["gateway", "import", "/nowhere"], &["/nowhere"]);
    for usage in
        [&["gateway", "chek", "x.test"][..], &["gateway", "rule", "nevr"], &["gateway", "check", "x.test", "--address", "1.2.3"]]
    {
        let (code, _, error) = node.try_with(b"", usage);
        assert_eq!(code, 2, "{usage:?}: {error}");
    }
    assert!(node.try_with(b"", &["gateway", "chek", "x.test"]).2.contains("'check'"));
}

/// A table goes out and comes in again where several people live, whose keys they are or not.
#[test]
fn a_table_of_a_household_of_several_comes_in_as_it_went_out() {
    let node = Node::with_accounts(&["anna", "ben"]);
    let carol = Node::with_accounts(&["carol"]).address("carol");
    node.ask(&["gateway", "map", "carol@near.test", &carol]);
    node.ask(&["gateway", "map", "ben@near.test", "ben"]);
    let table = node.ask(&["gateway", "export"]);
    for row in ["carol@near.test", "ben@near.test"] {
        node.ask(&["gateway", "unmap", row]);
    }
    let (code, _, said) = node.try_with(table.as_bytes(), &["gateway", "import", "-"]);
    assert!(code == 0 && said.contains("2 imported, 0 left out"), "{said}");
    assert_eq!(node.ask(&["gateway", "export"]), table);
}

#[test]
fn the_check_of_a_domain_says_what_the_settings_lack_and_shuts_nobody_out() {
    let names = Names::start(&[("far.test", "v=spf1 -all")]);
    let node = Node::with_accounts(&["anna"]);
    node.configure(&format!("[gateway]\ndomains = [\"far.test\"]\ndns = [\"{}\"]", names.address));
    let item = |domain: &str, what: &str| {
        let report = node.json(&["gateway", "check", domain]);
        report["items"].as_array().unwrap().iter().find(|item| item["what"] == what).cloned().unwrap()
    };
    let lacks = item("near.test", "settings");
    assert_eq!(lacks["enter"][0], "domains = [\"far.test\", \"near.test\"]", "{lacks}");
    assert_eq!(lacks["enter"][1], "mx = \"0.0.0.0:25\"");
    assert!(item("far.test", "settings")["sentence"].as_str().unwrap().contains("Port 25 is not open"));
    let spf = item("near.test", "SPF");
    assert!(
        spf["enter"].as_array().unwrap().is_empty() && spf["sentence"].as_str().unwrap().contains("include:PROVIDER"),
        "{spf}"
    );
}
