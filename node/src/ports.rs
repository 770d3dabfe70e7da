//! The ports that mail programs talk to: bound, served, and closed in good order.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kith_connection::{
    Admission, Certificates, Encryption, Gatekeeper, Host, Limits, Names, Port, Server, ShutdownTrigger, shutdown,
};
use kith_gateway::acme::Challenges;
use kith_store::Store;
use tokio::task::JoinSet;

use crate::cli::Failure;
use crate::config::Config;
use crate::engine::Clock;
use crate::gateway::certificates::Keeper;
use crate::gateway::door::Door;
use crate::gateway::{Gateway, web};
use crate::submission::Desk;

/// The open ports of a running node.
pub struct Ports {
    addresses: Vec<(String, String)>,
    certificates: Arc<Certificates>,
    gatekeeper: Arc<Gatekeeper>,
    trigger: ShutdownTrigger,
    tasks: JoinSet<()>,
}

/// What a bound port speaks.
#[derive(Clone, Copy)]
enum Service {
    Smtp,
    Pop3,
    Imap,
}

impl Service {
    fn of(name: &str) -> Self {
        match name {
            "smtp" | "smtps" => Self::Smtp,
            "pop3" | "pop3s" => Self::Pop3,
            _ => Self::Imap,
        }
    }

    fn port(self, encryption: Encryption) -> Port {
        match self {
            Self::Smtp => kith_smtp::server::port(encryption),
            Self::Pop3 => kith_pop3::server::port(encryption),
            Self::Imap => kith_imap::server::port(encryption),
        }
    }
}

impl Ports {
    /// Opens every port that the configuration names.
    ///
    /// # Errors
    /// [`Failure`]: an address is taken, or the certificate cannot be read.
    pub async fn open(
        home: &Path,
        config: &Config,
        store: &Store,
        gateway: &Arc<Gateway>,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let (trigger, stop) = shutdown();
        let bound: Vec<IpAddr> =
            config.ports().iter().filter_map(|(_, address)| Some(address.parse::<SocketAddr>().ok()?.ip())).collect();
        let names = move || {
            let mut names = Names::discover();
            for address in &bound {
                names.add_address(*address);
            }
            names
        };
        let certificates = Certificates::open(home, &names(), SystemTime::now()).map_err(|error| {
            Failure::new(format!("the certificate: {error}"), "nothing was overwritten; see the folder tls in the home")
        })?;
        let certificates = Arc::new(certificates);
        let tls = certificates.server_config().map_err(|error| Failure::new(format!("the certificate: {error}"), ""))?;
        let host = Host {
            admission: Admission::new(Limits::default()),
            gatekeeper: Arc::new(Gatekeeper::new(store.clone()).also_by({
                let gateway = Arc::clone(gateway);
                move |store, name| gateway.account_of(store, name)
            })),
            tls: Some(tls),
            shutdown: stop.clone(),
        };
        let gatekeeper = Arc::clone(&host.gatekeeper);
        let mut ports =
            Self { addresses: Vec::new(), certificates: Arc::clone(&certificates), gatekeeper, trigger, tasks: JoinSet::new() };
        ports.tasks.spawn(certificates.keep_renewed(names, SystemTime::now, stop.clone()));
        let desk = Arc::new(Desk::new(store.clone(), clock, Arc::clone(gateway), config.size_limit_mib * 1024 * 1024));
        let without = kith_imap::Without::parse(config.imap_without.iter().map(String::as_str))
            .map_err(|error| Failure::new(format!("imap_without: {error}"), "mend kith.toml"))?;
        for (name, address) in config.ports() {
            let Ok(address) = address.parse::<SocketAddr>() else { continue };
            let encryption = if name.ends_with('s') { Encryption::Implicit } else { Encryption::Offered };
            ports.serve((name, address, encryption), &host, store, &desk, &without).await?;
        }
        let challenges = Arc::<Challenges>::default();
        let keeper = {
            let (home, store, gateway) = (home.to_owned(), store.clone(), Arc::clone(gateway));
            let (certificates, challenges) = (Arc::clone(&ports.certificates), Arc::clone(&challenges));
            tokio::task::spawn_blocking(move || Keeper::open(&home, &store, clock, &gateway, &certificates, &challenges)).await
        };
        let mend = |error: String| Failure::new(error, "mend the section [gateway.acme] in kith.toml");
        let keeper = keeper.map_err(|error| mend(error.to_string()))?.map_err(mend)?;
        ports.open_mx(config, &host, store, gateway, clock).await?;
        ports.open_web(&host, gateway, &challenges).await?;
        // What the authority looks at is served by now.
        if let Some(keeper) = keeper {
            ports.tasks.spawn(keeper.run(stop));
        }
        Ok(ports)
    }

    /// Opens the ports that the world's certificates, policies and settings need, where the configuration names them.
    async fn open_web(&mut self, host: &Host, gateway: &Arc<Gateway>, challenges: &Arc<Challenges>) -> Result<(), Failure> {
        let site = Arc::new(web::site(gateway, &self.addresses, challenges));
        for bound in web::bind(gateway, host, &self.certificates, challenges).await? {
            self.addresses.push((bound.name.to_owned(), bound.server.local_addr().to_string()));
            self.tasks.spawn(bound.serve(Arc::clone(&site)));
        }
        Ok(())
    }

    /// Opens the port that the world's mail comes in by, where there is one. It has places of its own: strangers take none from the household.
    async fn open_mx(
        &mut self,
        config: &Config,
        host: &Host,
        store: &Store,
        gateway: &Arc<Gateway>,
        clock: Clock,
    ) -> Result<(), Failure> {
        let Ok(address) = config.gateway.mx.parse::<SocketAddr>() else { return Ok(()) };
        let mend = |error: String| Failure::new(error, "mend the section [gateway] in kith.toml");
        let verifier = crate::gateway::setup::verifier(gateway).map_err(mend)?;
        let size_limit = config.size_limit_mib * 1024 * 1024;
        let door = Door::new(store.clone(), clock, Arc::clone(gateway), verifier, size_limit)
            .map_err(|error| mend(error.to_string()))?;
        let tls = self.certificates.server_config_facing(&gateway.hello()).map_err(|error| mend(error.to_string()))?;
        let host = Host { admission: Admission::new(kith_smtp::server::MX_LIMITS), tls: Some(tls), ..host.clone() };
        let server = Server::bind(address, kith_smtp::server::mx_port(), host.clone()).await.map_err(|error| {
            Failure::new(error.to_string(), "name another address in gateway.mx, or let this program use ports below 1024")
        })?;
        self.addresses.push(("mx".to_owned(), server.local_addr().to_string()));
        let (store, gatekeeper) = (store.clone(), host.gatekeeper.clone());
        let silence = kith_smtp::server::MX_SILENCE;
        self.tasks.spawn(kith_smtp::server::serve_mx(server, store, gatekeeper, Arc::new(door), silence));
        Ok(())
    }

    async fn serve(
        &mut self,
        (name, address, encryption): (&str, SocketAddr, Encryption),
        host: &Host,
        store: &Store,
        desk: &Arc<Desk>,
        without: &kith_imap::Without,
    ) -> Result<(), Failure> {
        let service = Service::of(name);
        let server = Server::bind(address, service.port(encryption), host.clone()).await.map_err(|error| {
            Failure::new(error.to_string(), format!("choose another port in kith.toml or with --{name} ADDRESS:PORT"))
        })?;
        self.addresses.push((name.to_owned(), server.local_addr().to_string()));
        let (store, gatekeeper) = (store.clone(), host.gatekeeper.clone());
        match service {
            Service::Smtp => self.tasks.spawn(kith_smtp::server::serve(server, store, gatekeeper, desk.clone())),
            Service::Pop3 => self.tasks.spawn(kith_pop3::server::serve(server, store, gatekeeper)),
            Service::Imap => self.tasks.spawn(kith_imap::server::serve(server, store, gatekeeper, without.clone())),
        };
        Ok(())
    }

    /// Real addresses by name, `127.0.0.1:1587`.
    pub fn addresses(&self) -> &[(String, String)] {
        &self.addresses
    }

    /// The node's certificate authority, and what the ports show.
    pub fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(&self.certificates)
    }

    /// Who lets people in, and counts them.
    pub fn gatekeeper(&self) -> Arc<Gatekeeper> {
        Arc::clone(&self.gatekeeper)
    }

    /// Stops accepting and lets what is in flight finish, for at most `time`.
    pub async fn close(mut self, time: Duration) {
        self.trigger.fire();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(time, ended).await.is_err() {
            tracing::debug!("mail programs were cut off");
        }
    }
}
