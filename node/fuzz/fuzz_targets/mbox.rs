//! Any bytes, as an mbox: every byte belongs to one mail, and each mail comes out with the line ends of mail.
#![no_main]

use kithmail::archive::mbox::Mbox;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mbox");
    std::fs::write(&path, [b"From ", bytes].concat()).unwrap();
    let mut mbox = Mbox::open(&path).unwrap();
    let mut last = 0;
    while let Some(found) = mbox.next_mail().unwrap() {
        assert!(found.begins == last && found.ends > last);
        last = found.ends;
        let mut mail = Vec::new();
        let mut take = |piece: &[u8]| {
            mail.extend_from_slice(piece);
            Ok(())
        };
        mbox.copy(&found, &mut take).unwrap();
        assert!(mail.is_empty() || mail.ends_with(b"\r\n"));
        assert!(!mail.starts_with(b"\n") && !mail.windows(2).any(|two| two[0] != b'\r' && two[1] == b'\n'));
    }
    assert_eq!(last, bytes.len() as u64 + 5);
});
