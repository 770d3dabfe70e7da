//! Name servers for domains that exist in tests alone: what is in the table is answered, of everything else there is nothing.

use std::net::{SocketAddr, UdpSocket};

/// A name server on the loopback, for as long as the process lives.
pub(crate) struct Names {
    pub(crate) address: SocketAddr,
}

impl Names {
    /// Answers from this table: what begins with `MX` or `A` and a blank is a record of that kind, all else is TXT.
    pub(crate) fn start(texts: &'static [(&'static str, &'static str)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut question = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                if let Some(answer) = answer(&question[..length], texts) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { address }
    }
}

/// RFC 1035 §4: the header, the question as it came, and a TXT record where there is one.
fn answer(question: &[u8], texts: &[(&str, &str)]) -> Option<Vec<u8>> {
    let (mut name, mut at) = (String::new(), 12);
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(question.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*question.get(at)?, *question.get(at + 1)?]);
    let asked = question.get(12..at + 4)?;
    let wanted = |text: &str| match kind {
        1 => text.starts_with("A "),
        15 => text.starts_with("MX "),
        16 => !text.starts_with("A ") && !text.starts_with("MX "),
        _ => false,
    };
    let text = texts.iter().find(|(known, text)| *known == name && wanted(text)).map(|(_, text)| *text);
    let known = texts.iter().any(|(known, _)| *known == name || known.ends_with(&format!(".{name}")));
    // NXDOMAIN where nothing is at or below the name.
    let code = if known { 0 } else { 3 };
    let mut out = vec![question[0], question[1], 0x85, 0x80 | code, 0, 1, 0, u8::from(text.is_some()), 0, 0, 0, 0];
    out.extend_from_slice(asked);
    if let Some(text) = text {
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        let part = |part: &[u8]| [&[u8::try_from(part.len()).unwrap()][..], part].concat();
        let strings: Vec<u8> = match kind {
            1 => text[2..].parse::<std::net::Ipv4Addr>().unwrap().octets().to_vec(),
            15 => {
                [&[0, 10][..], &text[3..].split('.').flat_map(|label| part(label.as_bytes())).collect::<Vec<u8>>(), &[0]].concat()
            }
            _ => text.as_bytes().chunks(255).flat_map(part).collect(),
        };
        out.extend_from_slice(&u16::try_from(strings.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&strings);
    }
    Some(out)
}
