//! Any line from somebody else's IMAP server.
#![no_main]

use kith_gateway::fetch::imap::response::{
    Response, capabilities, code, ends_with_body, fetch_of, is_news, literal_of, quoted_body,
};

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    let _sorted = Response::parse(line);
    let _read = (fetch_of(line), literal_of(line), quoted_body(line), capabilities(line), code(line, "UIDNEXT"));
    let _told = (ends_with_body(line), is_news(line));
});
