//! The paper key: a seed of 32 bytes as 24 words (BIP-39, the English list, no passphrase).

use bip39::{Error, Language, Mnemonic};
use zeroize::{Zeroize, Zeroizing};

use crate::secret::Secret;

/// How many words there are.
pub const WORDS: usize = 24;

/// Why words are no paper key: a sentence for whoever typed them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PhraseError {
    /// Too few or too many.
    #[error("there are {count} words where {WORDS} are needed")]
    Count {
        /// How many there are.
        count: usize,
    },
    /// A word that is not on the list. The word itself is not repeated: it is half a secret.
    #[error("word {place} is not one of the list; look for a mistyped letter")]
    Unknown {
        /// Which, from 1.
        place: usize,
    },
    /// All words are on the list, but they do not belong together.
    #[error("the words do not belong together: one is wrong or two have changed places")]
    Checksum,
}

/// The 24 words of a seed, with single spaces.
pub fn words(seed: &Secret) -> Zeroizing<String> {
    let mut mnemonic = Mnemonic::from_entropy(seed.expose()).expect("32 bytes are a length that BIP-39 has words for");
    let words = Zeroizing::new(mnemonic.to_string());
    mnemonic.zeroize();
    words
}

/// The seed of 24 words; any case, any white space.
///
/// # Errors
/// [`PhraseError`].
pub fn seed(text: &str) -> Result<Secret, PhraseError> {
    let count = text.split_whitespace().count();
    if count != WORDS {
        return Err(PhraseError::Count { count });
    }
    let mut clean = Zeroizing::new(String::with_capacity(text.len()));
    for word in text.split_whitespace() {
        if !clean.is_empty() {
            clean.push(' ');
        }
        clean.extend(word.chars().map(|character| character.to_ascii_lowercase()));
    }
    let mut mnemonic = Mnemonic::parse_in_normalized(Language::English, &clean).map_err(|error| match error {
        Error::UnknownWord(index) => PhraseError::Unknown { place: index + 1 },
        _ => PhraseError::Checksum,
    })?;
    let (mut entropy, length) = mnemonic.to_entropy_array();
    mnemonic.zeroize();
    let seed = entropy.get(..length).and_then(|bytes| bytes.try_into().ok()).map(Secret::new);
    entropy.zeroize();
    seed.ok_or(PhraseError::Checksum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the reference vectors of BIP-39.
    const OFFICIAL: [(&str, &str); 4] = [
        (
            "0000000000000000000000000000000000000000000000000000000000000000",
            "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art",
        ),
        (
            "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
            "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth title",
        ),
        (
            "8080808080808080808080808080808080808080808080808080808080808080",
            "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic bless",
        ),
        (
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo vote",
        ),
    ];

    #[test]
    fn official_vectors_hold_both_ways() {
        for (entropy, text) in OFFICIAL {
            let secret = Secret::new(hex::decode(entropy).unwrap().try_into().unwrap());
            assert_eq!(*words(&secret), text);
            assert_eq!(seed(text), Ok(secret));
        }
    }

    #[test]
    fn case_and_spaces_do_not_matter() {
        let (_, text) = OFFICIAL[1];
        let shouted = text.to_uppercase().replace(' ', " \r\n\t");
        assert_eq!(seed(&shouted), seed(text));
    }

    #[test]
    fn mistakes_are_named() {
        let (_, text) = OFFICIAL[1];
        assert_eq!(seed("zoo zoo"), Err(PhraseError::Count { count: 2 }));
        assert_eq!(seed(&text.replacen("winner", "winnner", 1)), Err(PhraseError::Unknown { place: 2 }));
        assert_eq!(seed(&text.replacen("legal winner", "winner legal", 1)), Err(PhraseError::Checksum));
        assert_eq!(seed(&text.replacen("title", "zoo", 1)), Err(PhraseError::Checksum));
    }
}
