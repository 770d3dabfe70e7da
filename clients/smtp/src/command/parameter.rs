//! What may follow a path: `KEYWORD=value` (RFC 5321 §4.1.2), with the values of SIZE, 8BITMIME, DSN and AUTH.

use kith_store::queue::Notify;

use crate::reply::Reply;

/// RFC 3461 §5.4: characters as sent.
const ENVID_BYTES_MAX: usize = 100;
/// RFC 3461 §5.4.
const ORCPT_BYTES_MAX: usize = 500;
/// More than there are to know.
const PARAMETERS_MAX: usize = 16;

/// The parameters of a command, each to be taken once.
pub(super) struct Parameters<'a>(Vec<(&'a str, Option<&'a str>)>);

impl<'a> Parameters<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, Reply> {
        let text = std::str::from_utf8(text).map_err(|_| wrong("The parameters are not UTF-8"))?;
        let mut all: Vec<(&str, Option<&str>)> = Vec::new();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let (keyword, value) = word.split_once('=').map_or((word, None), |(keyword, value)| (keyword, Some(value)));
            if all.iter().any(|(other, _)| other.eq_ignore_ascii_case(keyword)) || all.len() == PARAMETERS_MAX {
                return Err(wrong("A parameter is there twice"));
            }
            all.push((keyword, value));
        }
        Ok(Self(all))
    }

    /// Takes a parameter, if it is there: its value, if it has one.
    pub(super) fn take(&mut self, keyword: &str) -> Option<Option<&'a str>> {
        let at = self.0.iter().position(|(other, _)| other.eq_ignore_ascii_case(keyword))?;
        Some(self.0.remove(at).1)
    }

    /// All parameters must have been taken.
    pub(super) fn finish(self) -> Result<(), Reply> {
        match self.0.first() {
            None => Ok(()),
            Some((keyword, _)) => {
                let keyword: String = keyword.chars().take(32).collect();
                Err(Reply::new(555, "5.5.4", format!("The parameter {keyword} is not known here")))
            }
        }
    }
}

fn wrong(text: &'static str) -> Reply {
    Reply::new(501, "5.5.4", text)
}

/// Up to 20 digits (RFC 1870 §6.1); what does not fit counts as the largest number.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let fits = (1..=20).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    fits.then(|| digits.iter().fold(0u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

pub(super) fn size(value: Option<&str>) -> Result<u64, Reply> {
    value.and_then(|value| number(value.as_bytes())).ok_or_else(|| wrong("SIZE needs a number of bytes"))
}

/// RFC 6152: both are carried the same way.
pub(super) fn body(value: Option<&str>) -> Result<(), Reply> {
    match value {
        Some(value) if value.eq_ignore_ascii_case("7BIT") || value.eq_ignore_ascii_case("8BITMIME") => Ok(()),
        _ => Err(wrong("BODY must be 7BIT or 8BITMIME")),
    }
}

pub(super) fn no_value(value: Option<&str>) -> Result<(), Reply> {
    value.map_or(Ok(()), |_| Err(wrong("SMTPUTF8 takes no value")))
}

pub(super) fn ret(value: Option<&str>) -> Result<bool, Reply> {
    match value {
        Some(value) if value.eq_ignore_ascii_case("FULL") => Ok(true),
        Some(value) if value.eq_ignore_ascii_case("HDRS") => Ok(false),
        _ => Err(wrong("RET must be FULL or HDRS")),
    }
}

pub(super) fn envid(value: Option<&str>) -> Result<String, Reply> {
    let value = value.filter(|value| (1..=ENVID_BYTES_MAX).contains(&value.len()));
    value.and_then(xtext).ok_or_else(|| wrong("ENVID must be 1 to 100 characters of xtext"))
}

pub(super) fn auth(value: Option<&str>) -> Result<(), Reply> {
    value.and_then(xtext).map(drop).ok_or_else(|| wrong("AUTH must be <> or an address as xtext"))
}

pub(super) fn notify(value: Option<&str>) -> Result<Notify, Reply> {
    let usage = || wrong("NOTIFY must be NEVER, or a list of SUCCESS, FAILURE and DELAY");
    let value = value.ok_or_else(usage)?;
    let mut notify = Notify { success: false, failure: false, delay: false };
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(notify);
    }
    for word in value.split(',') {
        let field = match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => &mut notify.success,
            "FAILURE" => &mut notify.failure,
            "DELAY" => &mut notify.delay,
            _ => return Err(usage()),
        };
        *field = true;
    }
    Ok(notify)
}

pub(super) fn orcpt(value: Option<&str>) -> Result<String, Reply> {
    let usage = || wrong("ORCPT must be a type, a semicolon and an address as xtext, as in ORCPT=rfc822;mum@kith.alt");
    let value = value.filter(|value| value.len() <= ORCPT_BYTES_MAX).ok_or_else(usage)?;
    let (kind, address) = value.split_once(';').ok_or_else(usage)?;
    let is_kind = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let address = if kind.eq_ignore_ascii_case("utf-8") { utf8_xtext(address) } else { xtext(address) };
    let address = address.filter(|address| is_kind && !address.is_empty()).ok_or_else(usage)?;
    Ok(format!("{kind};{address}"))
}

/// RFC 3461 §4: printable ASCII but for `+` and `=`, which come as `+2B` and `+3D`, as anything else may. What it stands for must be printable text.
fn xtext(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => {
                let (pair, after) = rest.split_at_checked(2)?;
                bytes.push(hex(pair)?);
                rest = after;
            }
            b'!'..=b'~' if *byte != b'=' => bytes.push(*byte),
            _ => return None,
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control))
}

/// RFC 6533 §3: as xtext, or `\x{1F600}`, or UTF-8 itself.
fn utf8_xtext(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let (decoded, length) = if let Some(code) = rest.strip_prefix("\\x{") {
            let digits = code.split_once('}')?.0;
            let fits = (2..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            (char::from_u32(u32::from_str_radix(digits, 16).ok().filter(|_| fits)?)?, digits.len() + 4)
        } else if let Some(code) = rest.strip_prefix('+') {
            (char::from(hex(code.as_bytes().get(..2)?)?), 3)
        } else {
            (letter, letter.len_utf8())
        };
        if decoded.is_control() || letter == '=' {
            return None;
        }
        plain.push(decoded);
        rest = rest.get(length..)?;
    }
    Some(plain)
}

fn hex(pair: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(pair).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}
