//! Fetching an MTA-STS policy (RFC 8461 §3.3) as senders do: HTTPS with a certificate that the world trusts, no redirects, bounded.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// All of it.
const PATIENCE: Duration = Duration::from_secs(20);
/// RFC 8461 §3.3 advises 64 kB; with the header of the answer.
const BYTES_MAX: u64 = 72 * 1024;
/// Addresses that are tried.
const ADDRESSES_MAX: usize = 2;

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// The web server cannot be reached, or its certificate is not trusted.
    #[error("https://{host} cannot be read: {why}")]
    Unreachable {
        /// The host.
        host: String,
        /// Why.
        why: String,
    },
    /// It answers something else.
    #[error("https://{host}/.well-known/mta-sts.txt is not there: the server answers {status}")]
    NotThere {
        /// The host.
        host: String,
        /// The first line.
        status: String,
    },
}

/// Fetches the policy from a host at these addresses.
pub(super) async fn fetch(host: &str, addresses: &[IpAddr]) -> Result<String, PolicyFileError> {
    let unreachable = |why: String| PolicyFileError::Unreachable { host: host.to_owned(), why };
    let mut last = unreachable("no address".to_owned());
    for ip in addresses.iter().take(ADDRESSES_MAX) {
        last = match timeout(PATIENCE, get(host, *ip)).await {
            Err(_) => unreachable("no answer in time".to_owned()),
            Ok(Err(error)) => unreachable(error.to_string()),
            Ok(Ok(answer)) => return body(host, &answer),
        };
    }
    Err(last)
}

async fn get(host: &str, ip: IpAddr) -> std::io::Result<Vec<u8>> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.map_err(std::io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    let stream = TcpStream::connect((ip, 443)).await?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    // HTTP/1.0, whose answers come in one piece and end with the connection.
    let request = format!("GET /.well-known/mta-sts.txt HTTP/1.0\r\nHost: {host}\r\nUser-Agent: Kith\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    match stream.take(BYTES_MAX).read_to_end(&mut answer).await {
        // Many servers leave TLS without a word.
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(answer),
    }
}

fn body(host: &str, answer: &[u8]) -> Result<String, PolicyFileError> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        return Ok(body.to_owned());
    }
    let status = status.chars().filter(|letter| !letter.is_control()).take(80).collect();
    Err(PolicyFileError::NotThere { host: host.to_owned(), status })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_of_200_is_a_policy() {
        assert_eq!(body("h", b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nversion: STSv1\r\n").ok().as_deref(), Some("version: STSv1\r\n"));
        assert!(matches!(body("h", b"HTTP/1.1 301 Moved\r\n\r\nx"), Err(PolicyFileError::NotThere { .. })));
        assert!(body("h", b"\xff\x00").is_err());
    }
}
