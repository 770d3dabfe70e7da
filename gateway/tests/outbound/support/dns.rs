//! A DNS server for the tests' domains: `test.` is not signed, everything else is, by a root key of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_server::Server;
use hickory_server::dnssec::NxProofKind;
use hickory_server::net::runtime::{Time, TokioRuntimeProvider};
use hickory_server::proto::dnssec::crypto::EcdsaSigningKey;
use hickory_server::proto::dnssec::rdata::DNSKEY;
use hickory_server::proto::dnssec::{Algorithm, DnssecSigner, SigningKey};
use hickory_server::proto::rr::{Name, RecordType};
use hickory_server::proto::serialize::txt::Parser;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneHandler, ZoneType};
use kith_gateway::dns::{Dns, DnsSettings};
use tokio::net::{TcpListener, UdpSocket};

/// The server, its key, and a resolver that asks it.
pub(crate) struct Names {
    pub(crate) address: SocketAddr,
    pub(crate) dns: Dns,
    pub(crate) settings: DnsSettings,
    _anchor: tempfile::NamedTempFile,
    _server: Server<Zones>,
}

impl Names {
    /// Serves these lines of a zone file, names in full: `signed` in the root zone, `clear` in `test.`.
    pub(crate) async fn start(signed: &str, clear: &str) -> Names {
        Names::start_with(signed, clear, Damage::None).await
    }

    pub(crate) async fn start_with(signed: &str, clear: &str, damage: Damage) -> Names {
        let key = || EcdsaSigningKey::generate_pkcs8(Algorithm::ECDSAP256SHA256).unwrap();
        let signing = |key: &_| EcdsaSigningKey::from_pkcs8(key, Algorithm::ECDSAP256SHA256).unwrap();
        let (real, other) = (key(), key());
        let dnskey = DNSKEY::from_key(&signing(&real).to_public_key().unwrap());
        let anchor = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(anchor.path(), format!(". 3600 IN DNSKEY {dnskey}\n")).unwrap();

        let root_text = format!(
            ". 60 IN SOA ns.invalid-ns. root.invalid-ns. 1 60 60 60 60\n. 60 IN NS ns.invalid-ns.\ntest. 60 IN NS ns.test.\n{signed}\n"
        );
        let mut root = zone(".", &root_text, damage != Damage::Stripped);
        if damage != Damage::Stripped {
            let key = if damage == Damage::ForeignKey { &other } else { &real };
            let published = DNSKEY::from_key(&signing(key).to_public_key().unwrap());
            root.add_zone_signing_key_mut(DnssecSigner::new(
                published,
                Box::new(signing(key)),
                Name::root(),
                Duration::from_secs(86_400),
            ))
            .unwrap();
            root.secure_zone_mut().unwrap();
        }
        let test_text = format!(
            "test. 60 IN SOA ns.test. root.test. 1 60 60 60 60\ntest. 60 IN NS ns.test.\nns.test. 60 IN A 127.0.0.1\n{clear}\n"
        );
        let test = zone("test.", &test_text, false);

        let root: Arc<dyn ZoneHandler> = Arc::new(root);
        let mut parent = Catalog::new();
        parent.upsert(Name::root().into(), vec![root.clone()]);
        let mut all = Catalog::new();
        all.upsert(Name::root().into(), vec![root]);
        all.upsert(Name::from_ascii("test.").unwrap().into(), vec![Arc::new(test)]);

        let mut server = Server::new(Zones { parent, all });
        let (udp, tcp) = both().await;
        let address = udp.local_addr().unwrap();
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(5), 65_535);
        let settings = DnsSettings { servers: vec![address], dnssec: true, trust_anchor: Some(anchor.path().to_owned()) };
        let dns = Dns::new(&settings).unwrap().with_question_time(Duration::from_secs(5));
        Names { address, dns, settings, _anchor: anchor, _server: server }
    }

    /// A resolver that asks the same server and checks no signatures.
    pub(crate) fn unchecked(&self) -> Dns {
        Dns::new(&DnsSettings { servers: vec![self.address], dnssec: false, trust_anchor: None }).unwrap()
    }
}

/// How the server lies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    None,
    /// The zone is signed with a key that nobody trusts.
    ForeignKey,
    /// Somebody on the way takes the signatures off.
    Stripped,
}

fn zone(origin: &str, text: &str, signed: bool) -> InMemoryZoneHandler<TokioRuntimeProvider> {
    let origin = Name::from_ascii(origin).unwrap();
    let (_, records) = Parser::new(text.to_owned(), None, Some(origin.clone())).parse().unwrap();
    let proof = signed.then_some(NxProofKind::Nsec);
    InMemoryZoneHandler::new(origin, records, ZoneType::Primary, AxfrPolicy::Deny, proof).unwrap()
}

/// Questions for DS belong to the zone above.
pub(crate) struct Zones {
    parent: Catalog,
    all: Catalog,
}

#[async_trait::async_trait]
impl RequestHandler for Zones {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, response: R) -> ResponseInfo {
        let above = request.request_info().is_ok_and(|info| info.query.query_type() == RecordType::DS);
        let catalog = if above { &self.parent } else { &self.all };
        catalog.handle_request::<R, T>(request, response).await
    }
}

/// A port for questions of both kinds: one that is free for the first may be taken for the second.
async fn both() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
}

/// A server that takes questions and never answers.
pub(crate) async fn silent() -> SocketAddr {
    let (udp, tcp) = both().await;
    let address = udp.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        let mut buffer = [0; 512];
        loop {
            tokio::select! {
                _ = udp.recv_from(&mut buffer) => {}
                Ok((stream, _)) = tcp.accept() => held.push(stream),
            }
        }
    });
    address
}
