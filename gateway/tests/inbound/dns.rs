//! A DNS server of a few zones on a private port, over UDP: what it knows is a list, and it can be silent or fail for a name.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, MX, PTR, SRV, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// What happens to a question about a name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Silent,
    Fails,
}

#[derive(Default)]
struct Zone {
    records: BTreeMap<String, Vec<RData>>,
    trouble: BTreeMap<String, Trouble>,
    asked: u64,
}

pub(crate) struct Dns {
    zone: Arc<Mutex<Zone>>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Dns {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::<Mutex<Zone>>::default();
        let known = Arc::clone(&zone);
        let task = tokio::spawn(async move {
            let mut packet = vec![0; 4096];
            while let Ok((length, peer)) = socket.recv_from(&mut packet).await {
                let Ok(question) = Message::from_vec(&packet[..length]) else { continue };
                if let Some(answer) = answer(&known, &question) {
                    let _sent = socket.send_to(&answer.to_vec().unwrap(), peer).await;
                }
            }
        });
        Self { zone, address, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn asked(&self) -> u64 {
        self.zone.lock().unwrap().asked
    }

    fn add(&self, name: &str, data: RData) {
        self.zone.lock().unwrap().records.entry(name.to_lowercase()).or_default().push(data);
    }

    pub(crate) fn txt(&self, name: &str, text: &str) {
        let pieces = text.as_bytes().chunks(200).map(|piece| String::from_utf8(piece.to_vec()).unwrap()).collect();
        self.add(name, RData::TXT(TXT::new(pieces)));
    }

    pub(crate) fn a(&self, name: &str, ip: Ipv4Addr) {
        self.add(name, RData::A(A(ip)));
    }

    pub(crate) fn mx(&self, name: &str, preference: u16, host: &str) {
        self.add(name, RData::MX(MX::new(preference, Name::from_ascii(format!("{host}.")).unwrap())));
    }

    pub(crate) fn srv(&self, name: &str, port: u16, host: &str) {
        self.add(name, RData::SRV(SRV::new(0, 1, port, Name::from_ascii(format!("{host}.")).unwrap())));
    }

    pub(crate) fn ptr(&self, ip: IpAddr, host: &str) {
        let name = Name::from(ip).to_ascii();
        self.add(name.trim_end_matches('.'), RData::PTR(PTR(Name::from_ascii(format!("{host}.")).unwrap())));
    }

    pub(crate) fn trouble(&self, name: &str, trouble: Trouble) {
        self.zone.lock().unwrap().trouble.insert(name.to_lowercase(), trouble);
    }
}

fn answer(zone: &Mutex<Zone>, question: &Message) -> Option<Message> {
    let query = question.queries.first()?;
    let name = query.name().to_ascii().trim_end_matches('.').to_lowercase();
    let mut zone = zone.lock().unwrap();
    zone.asked += 1;
    let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_available = true;
    answer.metadata.recursion_desired = true;
    answer.add_query(query.clone());
    match zone.trouble.get(&name) {
        Some(Trouble::Silent) => return None,
        Some(Trouble::Fails) => {
            answer.metadata.response_code = ResponseCode::ServFail;
            return Some(answer);
        }
        None => {}
    }
    let exists = zone.records.keys().any(|known| *known == name || known.ends_with(&format!(".{name}")));
    if !exists {
        answer.metadata.response_code = ResponseCode::NXDomain;
    }
    for data in zone.records.get(&name).into_iter().flatten() {
        if data.record_type() == query.query_type() || query.query_type() == RecordType::ANY {
            answer.add_answer(Record::from_rdata(query.name().clone(), 60, data.clone()));
        }
    }
    Some(answer)
}
