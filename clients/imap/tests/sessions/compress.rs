//! COMPRESS=DEFLATE (RFC 4978) with another compressor at the other end.

use kith_store::disk::SimulatedDisk;

use crate::client::Client;
use crate::home::Home;

#[test]
fn every_answer_arrives_although_nothing_follows_it() {
    let home = Home::simulated(&SimulatedDisk::default());
    let mut client = Client::new(&home);
    client.ok("COMPRESS DEFLATE");
    client.pack();
    assert!(client.command("COMPRESS DEFLATE").1.starts_with("NO [COMPRESSIONACTIVE]"));
    client.ok("NOOP");
    let message = [&b"Subject: x\r\n\r\n"[..], &b"some text, again and again. ".repeat(20_000)].concat();
    client.append("INBOX", &message);
    client.ok("SELECT INBOX");
    client.send(b"f FETCH 1 BODY.PEEK[]\r\n");
    let said = client.take_bytes();
    assert!(memchr::memmem::find(&said, &message).is_some(), "the message came through, {} bytes", said.len());
    client.send(b"g IDLE\r\n");
    assert_eq!(client.take(), "+ Idling\r\n");
    client.append_elsewhere(&home);
    client.run();
    assert_eq!(client.take(), "* 2 EXISTS\r\n* 2 RECENT\r\n");
    client.send(b"DONE\r\nh LOGOUT\r\n");
    assert!(client.take().ends_with("h OK LOGOUT completed\r\n") && client.ended);
}

#[test]
fn what_is_sent_together_with_the_command_is_compressed_already() {
    let home = Home::simulated(&SimulatedDisk::default());
    let mut client = Client::new(&home);
    let mut packer = flate2::Compress::new(flate2::Compression::best(), false);
    let mut packed = Vec::with_capacity(1_000);
    packer.compress_vec(b"b NOOP\r\nc NOOP\r\n", &mut packed, flate2::FlushCompress::Sync).unwrap();
    client.trickle(b"a COMPRESS DEFLATE\r\n");
    assert!(client.take().starts_with("a OK"));
    client.pack();
    client.trickle(&packed);
    assert_eq!(client.take(), "b OK NOOP completed\r\nc OK NOOP completed\r\n");
}

#[test]
fn a_bomb_is_a_command_that_is_too_long_and_garbage_ends_the_session() {
    let home = Home::simulated(&SimulatedDisk::default());
    let mut client = Client::new(&home);
    client.ok("COMPRESS DEFLATE");
    client.pack();
    client.send(&vec![b'x'; 30_000_000]);
    client.send(b"\r\nz NOOP\r\n");
    let said = client.take();
    assert!(said.ends_with("z OK NOOP completed\r\n") && said.contains("BAD"), "{said}");
    client.trickle(&[0xff; 40]);
    assert!(client.ended && client.take().starts_with("* BYE"));
}
