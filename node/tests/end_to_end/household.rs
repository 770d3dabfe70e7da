//! People of one household reach each other without any network.

use crate::clients::{body, header, inbox, mail, send};
use crate::node::Node;

#[test]
fn household_members_reach_each_other_by_name_and_by_key() {
    let home = Node::started(&["mum", "dad"]);
    send(&home, "mum", &["dad@kith.alt"], &mail("mum", "dinner", b"at seven\r\n"));
    send(&home, "mum", &[&home.address("dad")], &mail("mum", "dinner again", b"at eight\r\n"));
    let mails = inbox(&home, "dad", 2);
    assert_eq!(body(&mails[0]), b"at seven\r\n");
    assert_eq!(header(&mails[1], "Subject"), "dinner again");
    assert_eq!(home.waiting(), 0);
    inbox(&home, "mum", 0);
}

#[test]
fn a_mail_to_oneself_arrives() {
    let home = Node::started(&["mum"]);
    send(&home, "mum", &["mum@kith.alt"], &mail("mum", "note", b"buy bread\r\n"));
    inbox(&home, "mum", 1);
}

#[test]
fn a_contacts_legacy_address_goes_to_the_key() {
    let home = Node::started(&["mum", "dad"]);
    let address = home.address("dad");
    home.ask(&["contact", "add", "husband", &address, "--email", "dad@example.org", "--account", "mum"]);
    send(&home, "mum", &["Dad@Example.org"], &mail("mum", "by the old address", b"hello\r\n"));
    send(&home, "mum", &["husband@kith.alt"], &mail("mum", "by the petname", b"hello\r\n"));
    inbox(&home, "dad", 2);
}
