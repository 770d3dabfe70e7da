//! Many messages of all sizes, read ahead: each comes as it is, whatever is asked for and passed over.

use std::io::Write as _;

use kith_store::disk::{Disk, SimulatedDisk};
use kith_store::folder::{Flags, Use};
use kith_store::mailbox::Filing;
use kith_store::{Options, Store};

use crate::client::Client;
use crate::home::Home;

/// More than one page.
const MANY: usize = 1_100;

/// The text of message `number`: mostly short, some almost and some more than what the database keeps.
fn text(number: usize) -> String {
    let lines = match number % 50 {
        7 => 1_299,
        8 => 2_000,
        other => other * 3,
    };
    format!(
        "Subject: {number}\r\n\r\n{}word{number}.\r\n",
        "All work and no play, and fifty bytes on each line\r\n".repeat(lines)
    )
}

fn full_home() -> Home {
    let home = Home::simulated(&SimulatedDisk::default());
    fill(&home, MANY);
    home
}

fn fill(home: &Home, count: usize) {
    let account = home.mum.id;
    for number in 1..=count {
        let mut stage = home.store.stage().unwrap();
        stage.write_all(text(number).as_bytes()).unwrap();
        let filing = Filing { blob: stage.finish().unwrap(), flags: Flags::default(), internal_date: 1, internal_zone: 0 };
        home.store.write(move |transaction| transaction.deliver(account, Use::Inbox, &filing).map(drop)).unwrap();
    }
}

/// What `FETCH` of these should say.
fn expected(numbers: impl Iterator<Item = usize>) -> String {
    let one = |number: usize| {
        let text = text(number);
        format!("* {number} FETCH (BODY[] {{{}}}\r\n{text})\r\n", text.len())
    };
    numbers.map(one).collect()
}

fn fetched(client: &mut Client<'_>, set: &str) -> String {
    client.take();
    client.send(format!("f FETCH {set} BODY.PEEK[]\r\n").as_bytes());
    client.take().trim_end_matches("f OK FETCH completed\r\n").to_owned()
}

#[test]
fn messages_of_all_sizes_come_as_they_are() {
    let home = full_home();
    let mut client = Client::new(&home);
    client.ok("SELECT INBOX");
    assert!(fetched(&mut client, "1:*") == expected(1..=MANY));
    assert!(
        fetched(&mut client, "3,90:91,300:340,512:514,1000:*") == {
            expected([3, 90, 91].into_iter().chain(300..=340).chain(512..=514).chain(1000..=MANY))
        }
    );
    for number in [1, 7, 8, 512, MANY] {
        assert_eq!(client.ok(&format!("SEARCH BODY word{number}.")), [format!("* SEARCH {number}")]);
    }
    assert_eq!(client.ok("SEARCH UNSEEN NOT BODY play TEXT word1100.").len(), 1);
    // Of some the structure is known, and they are passed over.
    client.ok("FETCH 100:600 BODYSTRUCTURE");
    let whole = client.ok("FETCH 1:* (BODYSTRUCTURE)");
    assert_eq!(whole.len(), MANY);
    assert_eq!(client.ok("FETCH 1:* (BODYSTRUCTURE)"), whole);
    assert!(client.longest_step < 2 * 64 * 1024, "{}", client.longest_step);
}

#[test]
fn who_takes_all_at_once_is_given_more_at_a_time_for_as_long_as_the_answer() {
    let home = full_home();
    let mut client = Client::new(&home);
    client.ok("SELECT INBOX");
    client.quick = true;
    assert!(fetched(&mut client, "1:*") == expected(1..=MANY));
    assert!((256 * 1024..300 * 1024).contains(&client.longest_step), "{}", client.longest_step);
    (client.quick, client.longest_step) = (false, 0);
    fetched(&mut client, "1:*");
    assert!(client.longest_step < 2 * 64 * 1024, "{}", client.longest_step);
}

#[test]
fn messages_beside_a_damaged_one_are_shown() {
    let disk = SimulatedDisk::default();
    let mut home = Home::simulated(&disk);
    fill(&home, 100);
    home.store.close();
    home.store = Store::open_on(Disk::Simulated(disk.clone()), Options { cache_bytes: 64 << 10, passphrase: None }).unwrap();
    // The page of the database in which message 20 is can no longer be told for one.
    let mut bytes = disk.contents("store.redb").unwrap();
    let at = bytes.windows(8).position(|window| window == b"word20.\r").unwrap();
    bytes[at / 4096 * 4096] ^= 0xff;
    disk.damage("store.redb", bytes);
    let mut client = Client::new(&home);
    client.ok("SELECT INBOX");
    client.take();
    client.send(b"f FETCH 1:* BODY.PEEK[]\r\n");
    let said = client.take();
    let (shown, last) = said.trim_end_matches("\r\n").rsplit_once("\r\n").unwrap();
    assert!(last.starts_with("f NO "), "{last}");
    assert!(format!("{shown}\r\n") == expected((1..20).chain(21..=100)));
}
