//! DKIM signatures, by the word of a verifier that is not ours (dkimpy).

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use kith_gateway::domain::Domain;
use kith_gateway::outbound::content::Content;
use kith_gateway::sign::{Algorithm, Key, SignError, Signer};

use crate::support::python_with;

fn domain() -> Domain {
    Domain::parse("home.test").unwrap()
}

/// Whether dkimpy believes the `index`-th signature, given these records.
fn believed(python: &Path, mail: &[u8], records: &[(String, String)], index: usize) -> bool {
    let table: Vec<String> = records.iter().map(|(name, text)| format!("{name:?}: {text:?}")).collect();
    let script = format!(
        "import sys, dkim\nrecords = {{{}}}\ndef txt(name, timeout=5):\n    return records.get(name.decode().rstrip('.'), '').encode()\n\
         d = dkim.DKIM(sys.stdin.buffer.read(), minkey=1024)\nsys.exit(0 if d.verify(idx={index}, dnsfunc=txt) else 1)",
        table.join(", ")
    );
    let mut child = Command::new(python).args(["-c", &script]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(mail).unwrap();
    child.wait_with_output().unwrap().status.success()
}

fn keys() -> Vec<(String, Key)> {
    vec![("r1".into(), Key::generate(Algorithm::Rsa).unwrap()), ("e1".into(), Key::generate(Algorithm::Ed25519).unwrap())]
}

fn records(keys: &[(String, Key)]) -> Vec<(String, String)> {
    keys.iter().map(|(selector, key)| (format!("{selector}._domainkey.{}", domain()), key.record())).collect()
}

#[test]
fn another_verifier_believes_both_signatures_and_sees_every_forgery() {
    let Some(python) = python_with(&["dkim", "nacl"]) else { return };
    let believed = |mail: &[u8], records: &[(String, String)], index| believed(&python, mail, records, index);
    let keys = keys();
    let (signer, records) = (Signer::new(&domain(), &keys).unwrap(), records(&keys));
    let mails = [
        "From: Anna <anna@home.test>\r\nTo: b@far.test\r\nSubject: Hello\r\n there\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n\r\nHello  there \r\n\r\n\r\n",
        "From: anna@home.test\n\nunix lines\n.\n",
        "Received: from a by b; now\r\nFROM:   anna@home.test \r\nReferences: <1@x>\r\n\t<2@x>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nbücher\r\n",
        "From: anna@home.test\r\nTo: a@b\r\nTo: c@d\r\nSubject:\r\n\r\n",
    ];
    for mail in mails {
        let content = Content::new(mail.as_bytes()).unwrap();
        let signed = content.with_head(&signer.sign(&content).unwrap()).unwrap();
        let text = String::from_utf8(signed.bytes().to_vec()).unwrap();
        assert_eq!(text.matches("DKIM-Signature:").count(), 2);
        for index in 0..2 {
            assert!(believed(signed.bytes(), &records, index), "{index}: {text}");
            for (found, forged) in [
                ("anna@home.test", "eve@home.test"),
                ("\r\n\r\n", "\r\nSubject: another\r\n\r\n"),
                ("\r\n\r\n", "\r\nFrom: eve@home.test\r\n\r\n"),
            ] {
                let forged = text.replacen(found, forged, 1);
                assert!(!believed(forged.as_bytes(), &records, index), "{index}: {forged}");
            }
            assert!(!believed(format!("{text}more\r\n").as_bytes(), &records, index));
        }
        // What mailing lists and relays may do: fold anew, trace.
        let traced = format!("Received: from x by y; later\r\n{text}");
        assert!(believed(traced.as_bytes(), &records, 0));
    }
}

#[test]
fn keys_come_back_from_their_bytes_and_never_show_them() {
    for (algorithm, start) in
        [(Algorithm::Rsa, "v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"), (Algorithm::Ed25519, "v=DKIM1; k=ed25519; p=")]
    {
        let key = Key::generate(algorithm).unwrap();
        let again = Key::from_der(algorithm, key.der().to_vec()).unwrap();
        assert_eq!(again.record(), key.record());
        assert!(key.record().starts_with(start), "{}", key.record());
        let shown = format!("{key:?}");
        assert!(shown.len() < 40, "{shown}");
        assert_eq!(Key::from_der(algorithm, b"nonsense".to_vec()).err(), Some(SignError::Key));
    }
}

#[test]
fn what_cannot_be_signed_is_told() {
    let key = Key::generate(Algorithm::Ed25519).unwrap();
    for selector in ["", "a b", "a.b", "-a", "ä"] {
        assert_eq!(Signer::new(&domain(), &[(selector.into(), key.clone())]).err(), Some(SignError::Selector), "{selector:?}");
    }
    assert_eq!(Signer::new(&domain(), &[]).err(), Some(SignError::Keys));
    let signer = Signer::new(&domain(), &[("s".into(), key)]).unwrap();
    let unsigned = Content::new(b"Subject: no author\r\n\r\nx").unwrap();
    assert_eq!(signer.sign(&unsigned).err(), Some(SignError::NoFrom));
}
