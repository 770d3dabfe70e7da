//! The value of a header field on one line (RFC 5322 §2.2.3).

/// Folds opened, ends trimmed, NUL left out. Nothing is decoded.
pub(crate) fn unfold(value: &[u8]) -> Vec<u8> {
    let kept: Vec<u8> = value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)).collect();
    kept.trim_ascii().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_are_opened_and_ends_trimmed() {
        assert_eq!(unfold(b" two\r\n\tlines\0\r\n"), b"two\tlines");
        assert_eq!(unfold(b"\n"), b"");
    }
}
