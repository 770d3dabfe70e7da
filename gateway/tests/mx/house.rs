//! A policy for the MX as a node makes it of this crate's decisions; its clock goes as the test says.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use kith_connection::{Admission, Certificates, Gatekeeper, Host, Names, Server, ShutdownTrigger, shutdown};
use kith_gateway::inbound::author::domain_of;
use kith_gateway::inbound::greylist::{self, Decision, Greylist};
use kith_gateway::inbound::judge::{self, Judgement, Mail};
use kith_gateway::inbound::rates::{self, Event, Rates};
use kith_gateway::inbound::reply::Reply;
use kith_gateway::inbound::verdict::Envelope;
use kith_gateway::inbound::verify::{self, Verifier};
use kith_gateway::inbound::{fields, results};
use kith_protocol::ids::AccountId;
use kith_smtp::mx::{IncomingMail, Peer, Policy, RecipientRefusal};
use kith_smtp::server::MX_LIMITS;
use kith_smtp::{CommitRefusal, Refusal, Route};
use kith_store::Store;

use crate::dns::Dns;
use crate::home::Home;

const NAME: &str = "mx.kith.test";

struct Desk {
    store: Store,
    mum: AccountId,
    clock: Arc<AtomicI64>,
    greylist: Mutex<Greylist>,
    rates: Mutex<Rates>,
    verifier: Verifier,
    runtime: tokio::runtime::Handle,
    open: Mutex<bool>,
    taken: Mutex<Vec<(Judgement, String)>>,
}

pub(crate) struct House {
    pub(crate) dns: Dns,
    desk: Arc<Desk>,
    address: SocketAddr,
    _home: Home,
    _trigger: ShutdownTrigger,
}

impl House {
    pub(crate) async fn start() -> Self {
        let dns = Dns::start().await;
        let home = tokio::task::spawn_blocking(Home::new).await.unwrap();
        let certificates = Arc::new(Certificates::open(home.path(), &Names::loopback(), SystemTime::now()).unwrap());
        let (trigger, stop) = shutdown();
        let host = Host {
            admission: Admission::new(MX_LIMITS),
            gatekeeper: Arc::new(Gatekeeper::new(home.store.clone())),
            tls: Some(certificates.server_config().unwrap()),
            shutdown: stop,
        };
        let desk = Arc::new(Desk {
            store: home.store.clone(),
            mum: home.mum.id,
            clock: Arc::new(AtomicI64::new(1_795_000_000)),
            greylist: Mutex::new(Greylist::new(greylist::Settings::default(), [])),
            rates: Mutex::new(Rates::new(rates::Settings::default())),
            verifier: Verifier::new(verify::resolver(&[dns.address()]).unwrap(), NAME, Duration::from_secs(5)),
            runtime: tokio::runtime::Handle::current(),
            open: Mutex::default(),
            taken: Mutex::default(),
        });
        let loopback = (IpAddr::from([127, 0, 0, 1]), 0).into();
        let server = Server::bind(loopback, kith_smtp::mx_port(), host.clone()).await.unwrap();
        let address = server.local_addr();
        let silence = Duration::from_millis(20);
        tokio::spawn(kith_smtp::serve_mx(server, home.store.clone(), host.gatekeeper, desk.clone(), silence));
        Self { dns, desk, address, _home: home, _trigger: trigger }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.desk.clock.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Everybody is known: nobody waits.
    pub(crate) fn open(&self) {
        *self.desk.open.lock().unwrap() = true;
    }

    pub(crate) fn taken(&self) -> Vec<(Judgement, String)> {
        self.desk.taken.lock().unwrap().clone()
    }
}

fn refusal(reply: Reply) -> Refusal {
    Refusal { code: reply.code, enhanced: reply.enhanced, text: reply.text.into() }
}

impl Desk {
    fn count(&self, ip: IpAddr, event: &Event) -> Result<(), Refusal> {
        let mut rates = self.rates.lock().unwrap();
        rates.count(self.now(), ip, event).map_err(|too_much| refusal(too_much.into()))
    }
}

impl Policy for Desk {
    fn name(&self) -> &'static str {
        NAME
    }

    fn connected(&self, ip: IpAddr) -> Result<(), Refusal> {
        self.count(ip, &Event::Connection)
    }

    fn sender(&self, peer: &Peer, reverse_path: &str, _size: Option<u64>) -> Result<(), Refusal> {
        self.count(peer.ip, &Event::Mail(domain_of(reverse_path).unwrap_or_default()))
    }

    fn recipient(&self, peer: &Peer, reverse_path: &str, address: &str) -> Result<Route, RecipientRefusal> {
        let unknown = |reply| {
            let _counted = self.count(peer.ip, &Event::Unknown);
            Err(RecipientRefusal::Unknown(refusal(reply)))
        };
        if !address.to_lowercase().ends_with("@kith.test") {
            return unknown(Reply::no_relay());
        }
        if !address.eq_ignore_ascii_case("mum@kith.test") {
            return unknown(Reply::unknown());
        }
        let known = *self.open.lock().unwrap();
        let domain = domain_of(reverse_path).unwrap_or_default();
        match self.greylist.lock().unwrap().decide(self.now(), peer.ip, &domain, address, known) {
            Decision::Pass => Ok(Route::Household(self.mum)),
            Decision::Wait(seconds) => Err(RecipientRefusal::Refused(refusal(Reply::greylisted(seconds)))),
        }
    }

    fn commit(&self, mail: IncomingMail) -> Result<String, CommitRefusal> {
        let bytes = self.store.blob_bytes(&mail.mail.hash, 1 << 26).map_err(|_| CommitRefusal::Broken)?;
        let (received, original) = bytes.split_at(mail.received_bytes);
        let envelope = Envelope { ip: mail.peer.ip, helo: &mail.peer.helo, reverse_path: &mail.reverse_path };
        let verdict = self.runtime.block_on(self.verifier.verify(original, &envelope));
        let header = fields::header(original);
        let recipients: Vec<&str> = mail.recipients.iter().map(|recipient| recipient.typed.as_str()).collect();
        let domains = ["kith.test".to_owned()];
        let house = judge::House { domains: &domains, mark: "our-mark" };
        let looked_at = Mail { header, reverse_path: &mail.reverse_path, recipients: &recipients, verdict: &verdict };
        let judgement = judge::judge(&judge::Settings::default(), &house, &looked_at);
        if let Judgement::Refuse(refused) = &judgement {
            return Err(CommitRefusal::Refused(refusal(refused.into())));
        }
        let mut kept = results::field(NAME, &envelope, &verdict).into_bytes();
        kept.extend_from_slice(received);
        kept.extend(results::without_claims(header, NAME).0);
        kept.extend_from_slice(&original[header.len()..]);
        self.taken.lock().unwrap().push((judgement, String::from_utf8(kept).unwrap()));
        Ok("mail".to_owned())
    }

    fn size_limit(&self) -> u64 {
        1 << 26
    }

    fn now(&self) -> i64 {
        self.clock.load(Ordering::Relaxed)
    }

    fn unique(&self) -> [u8; 16] {
        [7; 16]
    }
}
