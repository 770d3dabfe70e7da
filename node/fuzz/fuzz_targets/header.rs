//! Any bytes, as a message: what is kept of its header is fields that it has, and is read back from its excerpt.
#![no_main]

use kith_store::header::{EXCERPT_FIELDS, Excerpt, fields};

libfuzzer_sys::fuzz_target!(|message: &[u8]| {
    let excerpt = Excerpt::read(&mut &*message).unwrap();
    let Some(kept) = excerpt.header() else { return };
    let wanted = |header| fields(header).filter(|field| EXCERPT_FIELDS.iter().any(|name| field.is(name)));
    assert!(wanted(kept).eq(wanted(message)));
    assert_eq!(fields(kept).count(), wanted(kept).count());
});
