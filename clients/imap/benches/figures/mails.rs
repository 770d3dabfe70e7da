//! Mails of several kinds: plain, quoted-printable, base64, HTML, every tenth with an attachment of 40 KB.

use base64::Engine as _;

const ATTACHMENT_BYTES: usize = 40_000;
const WORDS: [&str; 16] = [
    "meeting", "invoice", "holiday", "garden", "because", "nothing", "tomorrow", "please", "Grüße", "Straße", "report", "train",
    "window", "letter", "answer", "weather",
];

/// The same mails in every run.
pub(crate) struct Numbers(u64);

impl Default for Numbers {
    fn default() -> Self {
        Self(7)
    }
}

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    fn text(&mut self, words: usize) -> String {
        let mut text = String::new();
        for number in 0..words {
            text.push_str(WORDS[self.next(WORDS.len())]);
            text.push_str(if number % 12 == 11 { "\r\n" } else { " " });
        }
        text
    }
}

fn quoted(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii() { char::from(byte).to_string() } else { format!("={byte:02X}") }).collect()
}

fn encoded(bytes: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    text.as_bytes().chunks(76).map(|line| format!("{}\r\n", String::from_utf8_lossy(line))).collect()
}

/// A mail as people get them.
pub(crate) fn mail(number: u32, numbers: &mut Numbers) -> Vec<u8> {
    let words = 100 + numbers.next(400);
    let text = numbers.text(words);
    let (kind, body) = match number % 4 {
        0 => ("text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit", text.replace(['ü', 'ß'], "x")),
        1 => ("text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable", quoted(&text)),
        2 => ("text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64", encoded(text.as_bytes())),
        _ => (
            "text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit",
            format!("<html><body><p>{text}</p></body></html>\r\n"),
        ),
    };
    let subject = numbers.text(4);
    let head = format!(
        "Received: from somewhere by kith.alt; Fri, 2 Mar 2001 00:00:00 +0000\r\nFrom: Person {} <p{}@example.org>\r\nTo: Mum <mum@kith.alt>\r\n\
         Date: Fri, {} Mar 2001 {:02}:00:00 +0000\r\nSubject: =?utf-8?B?{}?=\r\nMessage-ID: <{number}@example.org>\r\nIn-Reply-To: <{}@example.org>\r\n\
         MIME-Version: 1.0\r\n",
        numbers.next(50),
        numbers.next(50),
        1 + numbers.next(28),
        numbers.next(24),
        base64::engine::general_purpose::STANDARD.encode(subject.trim()),
        numbers.next(number as usize + 1),
    );
    if number % 10 != 9 {
        return format!("{head}Content-Type: {kind}\r\n\r\n{body}").into_bytes();
    }
    let attachment: Vec<u8> = (0..ATTACHMENT_BYTES).map(|_| u8::try_from(numbers.next(256)).unwrap()).collect();
    format!(
        "{head}Content-Type: multipart/mixed; boundary=bound\r\n\r\n--bound\r\nContent-Type: {kind}\r\n\r\n{body}\r\n--bound\r\n\
         Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n{}--bound--\r\n",
        encoded(&attachment)
    )
    .into_bytes()
}
