use proptest::prelude::*;

use super::*;

fn check(input: &str, expected: &str) {
    assert_eq!(Address::parse(input).map(|address| address.to_string()).as_deref(), Ok(expected), "{input}");
}

#[test]
fn an_address_has_one_form() {
    check("Anna@Example.ORG", "Anna@example.org");
    check("anna@example.org.", "anna@example.org");
    check("\"anna\"@example.org", "anna@example.org");
    check("\"anna b\"@example.org", "\"anna b\"@example.org");
    check(r#""a\"b"@example.org"#, r#""a\"b"@example.org"#);
    check(r#""a\b c"@example.org"#, r#""ab c"@example.org"#);
    check("\"a@b\"@example.org", "\"a@b\"@example.org");
    check("anna@bücher.example", "anna@xn--bcher-kva.example");
    check("anna@BÜCHER。example", "anna@xn--bcher-kva.example");
    check("jürgen@example.org", "jürgen@example.org");
    check("anna@[192.0.2.1]", "anna@[192.0.2.1]");
    check("anna@[IPv6:2001:DB8::1]", "anna@[IPv6:2001:db8::1]");
}

#[test]
fn what_is_no_address_says_why() {
    for (input, error) in [
        ("anna", AddressError::Form),
        ("@example.org", AddressError::Form),
        ("anna@", AddressError::Form),
        ("an na@example.org", AddressError::Local),
        (".anna@example.org", AddressError::Local),
        ("an..na@example.org", AddressError::Local),
        ("<anna@example.org", AddressError::Local),
        ("anna\r\nRCPT@example.org", AddressError::Local),
        ("\"anna\r\n\"@example.org", AddressError::Local),
        ("\"anna@example.org", AddressError::Local),
        ("\"anna\\\"@example.org", AddressError::Local),
        ("anna\u{2028}x@example.org", AddressError::Local),
        ("anna@exa mple.org", AddressError::Domain),
        ("anna@example..org", AddressError::Domain),
        ("anna@192.0.2.1", AddressError::Domain),
        ("anna@-example.org", AddressError::Domain),
        ("anna@xn--zz--.org", AddressError::Domain),
        ("anna@exam_ple.org", AddressError::Domain),
        ("anna@example.org>", AddressError::Domain),
        ("anna@[192.0.2.1", AddressError::Literal),
        ("anna@[example.org]", AddressError::Literal),
    ] {
        assert_eq!(Address::parse(input), Err(error), "{input:?}");
    }
    assert_eq!(Address::parse(&format!("{}@example.org", "a".repeat(65))), Err(AddressError::LocalTooLong));
    assert_eq!(Domain::parse(&format!("{}.org", "a".repeat(64))), Err(AddressError::TooLong));
    assert_eq!(Domain::parse(&"ab.".repeat(85)), Err(AddressError::TooLong));
}

#[test]
fn people_read_the_letters_that_they_write() {
    assert_eq!(Domain::parse("xn--bcher-kva.example").map(|domain| domain.to_unicode()).as_deref(), Ok("bücher.example"));
}

proptest! {
    #[test]
    fn whatever_comes_in_nothing_that_ends_a_line_or_a_path_comes_out(input in "\\PC{0,40}@\\PC{0,40}|.{0,60}|[\\x00-\\x7f]{0,40}") {
        if let Ok(address) = Address::parse(&input) {
            let text = address.to_string();
            prop_assert!(text.len() <= ADDRESS_BYTES_MAX);
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert_eq!(Address::parse(&text).ok(), Some(address));
            let bare = !text.starts_with('"');
            prop_assert!(!(bare && text.contains(['<', '>', ' '])));
        }
    }

    #[test]
    fn a_domain_is_its_own_form(input in "[a-zA-Zäöüß0-9.-]{1,40}") {
        if let Ok(domain) = Domain::parse(&input) {
            prop_assert_eq!(Domain::parse(domain.as_str()).ok(), Some(domain));
        }
    }
}
