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

use super::{POLICY_BYTES_MAX, Policy};
use crate::domain::Domain;
use crate::outbound::trust::{Roots, Trust, client};

/// How long it may take in all (RFC 8461 §3.3).
pub(crate) const FETCH_TIME: Duration = Duration::from_secs(60);

/// The host that has a domain's policy.
pub(crate) fn host(domain: &Domain) -> String {
    format!("mta-sts.{domain}")
}

/// The policy, from the first of these addresses that answers; why not is for a log.
pub(crate) async fn fetch(domain: &Domain, addresses: &[SocketAddr], roots: &Roots) -> Result<Policy, &'static str> {
    tokio::time::timeout(FETCH_TIME, async {
        let mut last = Err("no address");
        for address in addresses {
            last = from_one(domain, *address, roots).await;
            if last.is_ok() {
                break;
            }
        }
        last
    })
    .await
    .unwrap_or(Err("no answer in time"))
}

async fn from_one(domain: &Domain, address: SocketAddr, roots: &Roots) -> Result<Policy, &'static str> {
    let host = host(domain);
    let tcp = TcpStream::connect(address).await.map_err(|_| "no connection")?;
    let (config, _) = client(&Trust::Named { by_policy: true }, roots).map_err(|_| "no TLS here")?;
    let name = ServerName::try_from(host.clone()).map_err(|_| "no name for a certificate")?;
    let tls = TlsConnector::from(config).connect(name, tcp).await.map_err(|_| "no safe connection")?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(POLICY_BYTES_MAX)
        .handshake(TokioIo::new(tls))
        .await
        .map_err(|_| "no HTTP")?;
    let request = Request::get("/.well-known/mta-sts.txt")
        .header(header::HOST, host)
        .header(header::ACCEPT, "text/plain")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| "no request")?;
    let asking = async {
        let response = sender.send_request(request).await.map_err(|_| "no response")?;
        if response.status() != StatusCode::OK {
            return Err("not 200");
        }
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.to_ascii_lowercase().starts_with("text/plain") {
            return Err("not text/plain");
        }
        let body = Limited::new(response.into_body(), POLICY_BYTES_MAX)
            .collect()
            .await
            .map_err(|_| "no whole body, or too large")?
            .to_bytes();
        std::str::from_utf8(&body).ok().and_then(Policy::read).ok_or("not a policy")
    };
    // The connection has to be driven while it is spoken on; it ends with the answer.
    tokio::select! {
        answer = asking => answer,
        _ = async { let _ = connection.await; std::future::pending::<()>().await } => Err("no response"),
    }
}
