//! What a host offers in its answer to EHLO (RFC 5321 §4.1.1.1). Pure.

/// What a host offers, as far as it matters here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Offer {
    /// STARTTLS (RFC 3207).
    pub(crate) starttls: bool,
    /// 8BITMIME (RFC 6152).
    pub(crate) eight_bit: bool,
    /// SMTPUTF8 (RFC 6531).
    pub(crate) utf8: bool,
    /// DSN (RFC 3461).
    pub(crate) dsn: bool,
    /// PIPELINING (RFC 2920).
    pub(crate) pipelining: bool,
    /// SIZE (RFC 1870), and its limit where there is one.
    pub(crate) size: Option<Option<u64>>,
    /// AUTH's mechanisms (RFC 4954), those that are spoken here.
    pub(crate) plain: bool,
    /// LOGIN.
    pub(crate) login: bool,
    /// XOAUTH2.
    pub(crate) xoauth2: bool,
}

impl Offer {
    /// Reads the lines of the answer, their codes taken off; the first is the greeting and says nothing. HELO's single line offers nothing.
    pub(crate) fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Offer {
        let mut offer = Offer::default();
        for line in lines.into_iter().skip(1) {
            // "AUTH=PLAIN" is how old servers and clients say it.
            let mut words = line.split(|byte: char| byte.is_ascii_whitespace() || byte == '=').filter(|word| !word.is_empty());
            let Some(keyword) = words.next() else { continue };
            match keyword.to_ascii_uppercase().as_str() {
                "STARTTLS" => offer.starttls = true,
                "8BITMIME" => offer.eight_bit = true,
                "SMTPUTF8" => offer.utf8 = true,
                "DSN" => offer.dsn = true,
                "PIPELINING" => offer.pipelining = true,
                // No number, or zero: no fixed limit (RFC 1870 §4).
                "SIZE" => offer.size = Some(words.next().and_then(|most| most.parse().ok()).filter(|most| *most > 0)),
                "AUTH" => {
                    for mechanism in words {
                        match mechanism.to_ascii_uppercase().as_str() {
                            "PLAIN" => offer.plain = true,
                            "LOGIN" => offer.login = true,
                            "XOAUTH2" => offer.xoauth2 = true,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        offer
    }

    /// The most bytes that the host takes, by its own word.
    pub(crate) fn size_most(&self) -> Option<u64> {
        self.size.flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_read_whatever_their_case_and_form() {
        let offer = Offer::read([
            "mx.example STARTTLS",
            "PIPELINING",
            "size 1000",
            "8BITMIME",
            "dsn",
            "AUTH=LOGIN plain",
            "AUTH XOAUTH2",
            "",
            "X",
        ]);
        assert!(offer.pipelining && offer.eight_bit && offer.dsn && offer.plain && offer.login && offer.xoauth2);
        assert!(!offer.starttls && !offer.utf8, "the greeting's words offer nothing");
        assert_eq!(offer.size_most(), Some(1000));
        assert_eq!(Offer::read(["a", "SIZE 0"]).size_most(), None);
        assert_eq!(Offer::read(["a", "SIZE"]).size, Some(None));
        assert_eq!(Offer::read(["a", "SIZE x"]).size, Some(None));
    }
}
