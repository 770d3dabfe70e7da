//! Fetching a domain's MTA-STS policy (RFC 8461 §3.3): one HTTPS request, a good certificate, no redirects, bounded in size and time.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::POLICY_BYTES_MAX;
use crate::domain::Domain;
use crate::outbound::trust::{Roots, Trust, client};

/// How long a sender waits for all of it (what RFC 8461 §3.3 suggests).
pub(crate) const FETCH_TIME: Duration = Duration::from_secs(60);

/// How long one address may take to be reached, so that one that leads nowhere leaves time for the next.
const CONNECT_TIME: Duration = Duration::from_secs(8);

/// Why a domain's policy cannot be had. For a log, or for who keeps the domain; without the dot at the end.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NotFetched {
    /// No address, no connection, no certificate that is trusted, no HTTP.
    #[error("https://{host} cannot be read: {why}")]
    Unreachable {
        /// The web server.
        host: String,
        /// What went wrong, one line.
        why: String,
    },
    /// It answers something else than 200.
    #[error("https://{host}{PATH} is not there: the server answers {status}")]
    NotThere {
        /// The web server.
        host: String,
        /// What it answers.
        status: u16,
    },
    /// What it gives can be no policy.
    #[error("https://{host}{PATH} is {why}")]
    Strange {
        /// The web server.
        host: String,
        /// What it is.
        why: &'static str,
    },
}

/// The longest word on what went wrong.
const WHY_BYTES_MAX: usize = 200;
/// Where on its host a policy is.
const PATH: &str = "/.well-known/mta-sts.txt";

/// The host that has a domain's policy.
pub(crate) fn host(domain: &Domain) -> String {
    format!("mta-sts.{domain}")
}

/// The text of a policy, from the first of these addresses that gives it, in at most this time; for [`super::Policy::read`]. At most [`POLICY_BYTES_MAX`] bytes.
///
/// # Errors
/// [`NotFetched`], of the last address.
pub(crate) async fn fetch(
    domain: &Domain,
    addresses: &[SocketAddr],
    roots: &Roots,
    time: Duration,
) -> Result<String, NotFetched> {
    let host = host(domain);
    let mut last = Err(unreachable(&host, "it has no address"));
    let asking = async {
        for address in addresses {
            last = from_one(&host, *address, roots).await;
            if last.is_ok() {
                break;
            }
        }
        last
    };
    tokio::time::timeout(time, asking).await.unwrap_or_else(|_| Err(unreachable(&host, "no answer in time")))
}

fn unreachable(host: &str, why: impl std::fmt::Display) -> NotFetched {
    NotFetched::Unreachable { host: host.to_owned(), why: crate::printable(&why.to_string(), WHY_BYTES_MAX) }
}

async fn from_one(host: &str, address: SocketAddr, roots: &Roots) -> Result<String, NotFetched> {
    let connecting = tokio::time::timeout(CONNECT_TIME, TcpStream::connect(address));
    let tcp =
        connecting.await.map_err(|_| unreachable(host, "no connection in time"))?.map_err(|error| unreachable(host, error))?;
    let (config, _) = client(&Trust::Named { by_policy: true }, roots).map_err(|error| unreachable(host, error))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| unreachable(host, error))?;
    let tls = TlsConnector::from(config).connect(name, tcp).await.map_err(|error| unreachable(host, error))?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(POLICY_BYTES_MAX)
        .handshake(TokioIo::new(tls))
        .await
        .map_err(|error| unreachable(host, error))?;
    let request = Request::get(PATH)
        .header(header::HOST, host)
        .header(header::ACCEPT, "text/plain")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| unreachable(host, error))?;
    let strange = |why| NotFetched::Strange { host: host.to_owned(), why };
    let asking = async {
        let response = sender.send_request(request).await.map_err(|error| unreachable(host, error))?;
        if response.status() != StatusCode::OK {
            return Err(NotFetched::NotThere { host: host.to_owned(), status: response.status().as_u16() });
        }
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.to_ascii_lowercase().starts_with("text/plain") {
            return Err(strange("not of the type text/plain"));
        }
        let body = Limited::new(response.into_body(), POLICY_BYTES_MAX)
            .collect()
            .await
            .map_err(|_| strange("cut off, or longer than 64 KiB"))?
            .to_bytes();
        String::from_utf8(body.into()).map_err(|_| strange("no text in UTF-8"))
    };
    // The connection has to be driven while it is spoken on; it ends with the answer.
    tokio::select! {
        answer = asking => answer,
        _ = async { let _ = connection.await; std::future::pending::<()>().await } => Err(unreachable(host, "no response")),
    }
}
