//! Reading what people paste: line breaks, invisible characters and look-alikes, with the checksum as the judge.

use super::{ADDRESS_CHARS, Address, AddressError, DOMAIN, SCHEME};

/// Letters `b` that are tried as `6` and `8`: 256 ways.
const DOUBTFUL_MAX: usize = 8;
/// Characters that are looked at.
const PASTED_CHARS_MAX: usize = 512;

pub(super) fn parse(text: &str) -> Result<Address, AddressError> {
    if text.len() > PASTED_CHARS_MAX {
        return Err(AddressError::Length { count: text.chars().count() });
    }
    let mut clean = text.replace("=\r\n", "").replace("=\n", "").to_lowercase();
    clean.retain(|character| !(character.is_whitespace() || is_noise(character)));
    let mut rest = clean.strip_prefix('<').and_then(|inner| inner.strip_suffix('>')).unwrap_or(&clean);
    for front in ["mailto:", SCHEME] {
        rest = rest.strip_prefix(front).unwrap_or(rest);
    }
    let rest = rest.strip_suffix(DOMAIN).and_then(|front| front.strip_suffix('@')).unwrap_or(rest);
    let count = rest.chars().count();
    if count != ADDRESS_CHARS {
        return Err(AddressError::Length { count });
    }
    let plain: Vec<char> = rest.chars().map(look_alike).collect();
    let doubtful: Vec<usize> = (0..plain.len()).filter(|place| plain[*place] == 'b').collect();
    if doubtful.is_empty() {
        return Address::parse(&plain.iter().collect::<String>());
    }
    if doubtful.len() > DOUBTFUL_MAX {
        return Err(AddressError::Ambiguous);
    }
    let readings = (0..1_u32 << doubtful.len()).filter_map(|choice| {
        let mut guess = plain.clone();
        for (bit, place) in doubtful.iter().enumerate() {
            guess[*place] = if choice >> bit & 1 == 0 { '6' } else { '8' };
        }
        Address::parse(&guess.iter().collect::<String>()).ok()
    });
    let mut readings = readings;
    match (readings.next(), readings.next()) {
        (Some(address), None) => Ok(address),
        (Some(_), Some(_)) => Err(AddressError::Ambiguous),
        (None, _) => Err(AddressError::Checksum),
    }
}

/// Hyphens, soft hyphens and characters of no width.
fn is_noise(character: char) -> bool {
    matches!(character, '-' | '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
}

fn look_alike(character: char) -> char {
    match character {
        'o' => '0',
        'i' | '1' => 'l',
        other => other,
    }
}
