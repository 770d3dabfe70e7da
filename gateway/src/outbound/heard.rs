//! What was heard, in our own terms: lettre's responses and errors as answers, or as the reason why there is none.

use lettre::transport::smtp::response::Response;

use super::fate::{Answer, Phase, Why};

/// "Not so many recipients at once" (RFC 5321 §4.5.3.1.10); 452 without an enhanced code can mean a full disk, which comes to the same in the end.
pub(crate) fn too_many(answer: &Answer) -> bool {
    let detail = answer.enhanced.map(|enhanced| (enhanced.1, enhanced.2));
    match answer.code {
        452 => detail.is_none_or(|detail| detail == (5, 3)),
        552 => detail == Some((5, 3)),
        _ => false,
    }
}

/// What lettre says of an answer, or of there being none.
pub(crate) fn heard(
    result: Result<Result<Response, lettre::transport::smtp::Error>, tokio::time::error::Elapsed>,
    phase: Phase,
) -> Result<Answer, Why> {
    let error = match result {
        Err(_) => return Err(Why::Hung(phase)),
        Ok(Ok(response)) => return Ok(Answer::new(response.code().into(), &response.message().collect::<Vec<_>>().join(" "))),
        Ok(Err(error)) => error,
    };
    let source = std::error::Error::source(&error);
    if let Some(code) = error.status() {
        return Ok(Answer::new(code.into(), &source.map(ToString::to_string).unwrap_or_default()));
    }
    let kind = source.and_then(|source| source.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    match kind {
        Some(std::io::ErrorKind::InvalidData) => Err(Why::Nonsense(phase)),
        Some(_) => Err(Why::Lost(phase)),
        None => Err(Why::Nonsense(phase)),
    }
}
