//! Any bytes, as a mail in a Maildir and as its file of keywords; any letters, as its flags: nothing of the mail is lost.
#![no_main]

use kithmail::archive::maildir::{self, Maildir};

libfuzzer_sys::fuzz_target!(|input: (&str, &str, &[u8])| {
    let (name, keywords, mail) = input;
    let folder = tempfile::tempdir().unwrap();
    for part in ["cur", "new", "tmp"] {
        std::fs::create_dir(folder.path().join(part)).unwrap();
    }
    std::fs::write(folder.path().join(maildir::KEYWORDS_FILE), keywords).unwrap();
    let name: String = name.chars().filter(|letter| !matches!(letter, '/' | '\0')).take(50).collect();
    std::fs::write(folder.path().join("cur").join(format!("x{name}")), mail).unwrap();
    let maildir = Maildir::open(folder.path()).unwrap();
    let [entry] = &maildir.entries[..] else { panic!("{:?}", maildir.problems) };
    maildir.marks(entry);
    let mut copied = Vec::new();
    let mut take = |piece: &[u8]| {
        copied.extend_from_slice(piece);
        Ok(())
    };
    maildir::copy(maildir.read(entry).unwrap().0, &mut take).unwrap();
    let bare = |bytes: &[u8]| bytes.iter().copied().filter(|byte| *byte != b'\r').collect::<Vec<u8>>();
    assert_eq!(bare(&copied), bare(mail));
});
