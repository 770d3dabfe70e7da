//! Any header from outside: nothing panics, what is dropped claims to be ours, and what is kept is as it was.
#![no_main]

use kith_gateway::inbound::{author::Author, fields, results, trace};

libfuzzer_sys::fuzz_target!(|mail: &[u8]| {
    let header = fields::header(mail);
    let whole: Vec<u8> = fields::fields(header).flat_map(|field| field.raw.to_vec()).collect();
    assert_eq!(whole, header);
    let _author = Author::of(header);
    let _circle = trace::check(header, &["mum@kith.test"]);
    let (kept, dropped) = results::without_claims(header, "mx.kith.test");
    assert_eq!(dropped == 0, kept == header);
    assert_eq!(results::without_claims(&kept, "mx.kith.test").1, 0);
});
