//! Starting and stopping: what comes up in which order, and how each part is ended.
//!
//! Order: lock and store, identities, network, core, mail-program ports, control socket, `run.json`, `ready`. Stopping goes back the same way, within
//! [`STOP_TIME`].

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kith_protocol::delivery::Delivery;
use kith_protocol::event::Snapshot;
use kith_protocol::ids::EntryId;
use kith_protocol::wire::FEATURE_VOLUNTEER;
use kith_store::{Options, Store};
use tokio::sync::{mpsc, watch};
use zeroize::Zeroizing;

use crate::announcing::Announcer;
use crate::cli::Failure;
use crate::config::Config;
use crate::control;
use crate::correspondence::Shared;
use crate::engine::{ANSWERS_MAX, Clock, Counters, Engine, Inputs, ORDERS_MAX, Parts};
use crate::gateway::{Gateway, setup};
use crate::mailroom::{self, Mailroom};
use crate::operations::{Context, Running};
use crate::people;
use crate::ports::Ports;
use crate::scribe::Scribe;
use crate::toil::Toil;

/// How long stopping may take in all.
pub const STOP_TIME: Duration = Duration::from_secs(5);
/// redb's page cache: small, the machine is a Pi.
pub const STORE_CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Threads that may block at once: disk, argon2.
const BLOCKING_THREADS_MAX: usize = 32;
/// How many command-line requests are served at once.
const CONTROL_MAX: usize = 8;

/// What the person is shown when the node serves.
pub struct Welcome {
    /// The first account, if it was made just now: name, address, generated password.
    made: Option<(String, String, Zeroizing<String>)>,
    /// Real ports by name.
    ports: Vec<(String, String)>,
    /// Where everything is.
    home: PathBuf,
}

impl Welcome {
    /// Everything to type into a mail program, at the first start; `None` later.
    pub fn first_words(&self) -> Option<String> {
        let (name, address, password) = self.made.as_ref()?;
        let port = |wanted: &str| {
            self.ports
                .iter()
                .find(|(name, _)| name == wanted)
                .and_then(|(_, address)| address.rsplit_once(':'))
                .map_or("off", |(_, port)| port)
        };
        Some(format!(
            "\nWelcome to Kith. Everything is in {home}\n\n\
             Your address, to give to friends (also: kith address --qr, kith address --uri):\n  {address}\n\n\
             In Thunderbird: New Account > Existing Mail, then Configure manually:\n  \
             Email address   {name}@kith.alt      Password  {password}   (shown only now)\n  \
             Incoming IMAP   127.0.0.1  port {imap}   None   Normal password   user name {name}\n  \
             (or POP3        127.0.0.1  port {pop3})\n  \
             Outgoing SMTP   127.0.0.1  port {smtp}   None   Normal password   user name {name}\n\n\
             Add a friend:   kith contact add NAME THEIR-ADDRESS      then write to NAME@kith.alt\n\
             Write the 24 words that bring your address back on paper:   kith key words\n",
            home = self.home.display(),
            password = password.as_str(),
            imap = port("imap"),
            pop3 = port("pop3"),
            smtp = port("smtp"),
        ))
    }
}

/// Makes the home's folder, 0700, where there is none.
///
/// # Errors
/// What the system says.
pub fn make_home(home: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(home) {
        Ok(()) => std::fs::set_permissions(home, std::fs::Permissions::from_mode(0o700)),
        Err(error) => Err(error),
    }
}

/// Runs the node until SIGTERM or Ctrl-C. `ready` is called once, when everything serves.
///
/// # Errors
/// [`Failure`]: cause and remedy, when something does not start.
pub fn run(home: &Path, config: &Config, ready: impl FnOnce(&Welcome) -> Result<(), Failure>) -> Result<(), Failure> {
    // Two providers are linked (libp2p brings one), so rustls must be told which one is meant. An error says that it was told already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let store = Store::open(home, Options { cache_bytes: STORE_CACHE_BYTES, passphrase: people::passphrase() })
        .map_err(|error| Failure::new(error.to_string(), ""))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("no threads: {error}"), ""))?;
    let outcome = runtime.block_on(serve(home, config, store.clone(), ready));
    runtime.shutdown_timeout(STOP_TIME);
    store.close();
    outcome
}

fn failed(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("{what}: {error}"), "")
}

async fn serve(
    home: &Path,
    config: &Config,
    store: Store,
    ready: impl FnOnce(&Welcome) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(|error| failed("signals cannot be received", error))?;
    let clock = Clock::start();
    let made = people::first_account(&store, clock.now()).map_err(Failure::from)?;
    let network_config = network_config(&store, config).map_err(Failure::from)?;
    let (network, network_events) =
        kith_network::start(network_config).await.map_err(|error| failed("the overlay could not be started", error))?;
    let (answers_sender, answers) = mpsc::channel(ANSWERS_MAX);
    let (orders_sender, orders) = mpsc::channel(ORDERS_MAX);
    let (stop_sender, stop) = watch::channel(false);
    let counters = Arc::new(Counters::default());

    let gateway = Arc::new(Gateway::new(config.gateway.clone()));
    let shared = Shared::open(store.clone()).map_err(|error| failed("the keys could not be read", error))?;
    let direct = config.reachability == crate::config::Reachability::Direct;
    let mailroom = Mailroom::start(mailroom::Setup {
        store: store.clone(),
        shared: shared.clone(),
        clock,
        network: network.clone(),
        direct,
        rules: mailroom::Rules { strangers: strangers(config), effort: config.stranger_effort },
        answers: answers_sender.clone(),
    })
    .map_err(|error| failed("no thread", error))?;
    let scribe =
        Scribe::start(store.clone(), gateway.clone(), shared, clock, config.expiry_seconds * 1000, answers_sender.clone())
            .map_err(|error| failed("no thread", error))?;
    let toil = Toil::start(answers_sender).map_err(|error| failed("no thread", error))?;
    let snapshot = mailroom.snapshot(&store).map_err(|error| failed("the queue could not be read", error))?;
    let newest = newest(&snapshot);
    let delivery = Delivery::restore(delivery_config(config), snapshot, clock.now());
    let engine = Engine::new(Parts {
        store: store.clone(),
        network: network.clone(),
        delivery,
        mailroom,
        scribe,
        clock,
        toil,
        direct,
        counters: counters.clone(),
        newest,
    });
    let mut engine = tokio::spawn(engine.run(Inputs { network: network_events, answers, orders, stop: stop.clone() }));

    let mail = ordinary_mail(home, config, &store, &gateway, clock, &stop).await?;
    let ports = Ports::open(home, config, &store, &gateway, clock).await?;
    let announcer = if config.mdns { Announcer::start(ports.addresses()) } else { None };
    let control = open_control(home).map_err(|error| failed("the control socket could not be opened", error))?;
    let context = Arc::new(Context {
        store: store.clone(),
        running: Some(Running {
            orders: orders_sender,
            counters,
            network: network.clone(),
            ports: ports.addresses().to_vec(),
            announced: announcer.is_some(),
            certificates: ports.certificates(),
            gatekeeper: ports.gatekeeper(),
        }),
        clock,
        gateway,
        importing: std::sync::Mutex::default(),
    });
    let control = tokio::spawn(serve_control(control, context, stop));
    write_run_file(home, ports.addresses(), &network.status().listening)
        .map_err(|error| failed("run.json could not be written", error))?;
    ready(&Welcome { made, ports: ports.addresses().to_vec(), home: home.to_owned() })?;
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);

    // Leftovers of a crash: nothing waits for this.
    tokio::task::spawn_blocking(move || match store.sweep() {
        Ok(0) => {}
        Ok(removed) => tracing::debug!(removed, "files that no mail mentions were removed"),
        Err(error) => tracing::warn!(%error, "the store could not be swept"),
    });
    let broken = tokio::select! {
        () = signals.stop() => false,
        _ = &mut engine => true,
    };
    let mut tasks = mail;
    tasks.extend(if broken { vec![control] } else { vec![engine, control] });
    stop_all(home, Started { announcer, ports, stop: stop_sender, tasks, network }).await;
    if broken {
        return Err(Failure::new(
            "the store failed, and nothing can be promised without it",
            "look at the disk, run `kith verify`, then start again",
        ));
    }
    Ok(())
}

/// Starts what sends ordinary mail, and what fetches it.
async fn ordinary_mail(
    home: &Path,
    config: &Config,
    store: &Store,
    gateway: &Arc<Gateway>,
    clock: Clock,
    stop: &watch::Receiver<bool>,
) -> Result<Vec<tokio::task::JoinHandle<()>>, Failure> {
    let made = {
        let (home, store, gateway) = (home.to_owned(), store.clone(), gateway.clone());
        let size_limit = config.size_limit_mib * 1024 * 1024;
        // Signing keys are made at the first start, which takes a second or two.
        tokio::task::spawn_blocking(move || {
            let sender = setup::sender(&home, &store, &gateway, clock)?;
            Ok((sender, setup::fetchers(&home, &store, &gateway, clock, size_limit)?))
        })
        .await
    };
    let made: Result<_, String> = made.map_err(|error| failed("the gateway", error))?;
    let (sender, fetchers) = made.map_err(|error| Failure::new(error, "mend the section [gateway] in kith.toml"))?;
    let mut tasks = vec![tokio::spawn(sender.run(stop.clone()))];
    tasks.extend(fetchers.into_iter().map(|fetcher| tokio::spawn(fetcher.run(stop.clone()))));
    Ok(tasks)
}

/// What runs, in the order in which it stops.
struct Started {
    announcer: Option<Announcer>,
    ports: Ports,
    stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    network: kith_network::Handle,
}

async fn stop_all(home: &Path, started: Started) {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopping");
    let _ = std::fs::remove_file(home.join("run.json"));
    let _ = std::fs::remove_file(control::socket(home));
    // Whatever asks now is told that nobody is here.
    let farewell = started.announcer.map(|announcer| tokio::task::spawn_blocking(move || announcer.stop()));
    started.ports.close(STOP_TIME / 2).await;
    if let Some(farewell) = farewell
        && farewell.await.is_err()
    {
        tracing::warn!("the announcing of the mail ports ended by a fault of ours");
    }
    // The engine may be gone already: then there is nothing to stop.
    let _ = started.stop.send(true);
    for task in started.tasks {
        if tokio::time::timeout(STOP_TIME / 4, task).await.is_err() {
            tracing::warn!("a part did not stop in time");
        }
    }
    started.network.shutdown().await;
}

fn newest(snapshot: &Snapshot) -> EntryId {
    snapshot.entries.iter().map(|entry| entry.id).max().unwrap_or_default()
}

fn delivery_config(config: &Config) -> kith_protocol::delivery::Config {
    let usual = kith_protocol::delivery::Config::default();
    let delay_notice_ms = config.delay_notice_seconds * 1000;
    kith_protocol::delivery::Config {
        delay_notice_ms,
        // Whoever wants to be told within seconds does not want to wait for minutes after a start.
        grace_ms: usual.grace_ms.min(delay_notice_ms / 4),
        expiry_ms: config.expiry_seconds * 1000,
        retry_first_ms: config.retry_seconds * 1000,
        strangers: strangers(config),
        stranger_effort: config.stranger_effort,
        // The configuration was checked when it was read.
        hosting_bytes_max: crate::config::bytes_of(&config.hosting).unwrap_or(0),
        volunteer_bytes: crate::config::bytes_of(&config.volunteer).unwrap_or(0),
        ..usual
    }
    .paced(config.pace)
}

fn strangers(config: &Config) -> kith_protocol::card::Strangers {
    match config.strangers {
        crate::config::Strangers::Welcome => kith_protocol::card::Strangers::Welcome,
        crate::config::Strangers::Work => kith_protocol::card::Strangers::Work,
        crate::config::Strangers::Closed => kith_protocol::card::Strangers::Closed,
    }
}

fn network_config(store: &Store, config: &Config) -> Result<kith_network::Config, control::Refusal> {
    Ok(kith_network::Config {
        key_seed: people::peer_seed(store)?,
        listen: config.listen.clone(),
        bootstrap: config.bootstrap.clone(),
        external: config.external.clone(),
        mdns: config.mdns,
        // A node that listens on the loopback alone has nothing to be forwarded to.
        upnp: config.upnp && config.listen.iter().any(|address| !crate::mailroom::is_loopback(address)),
        staging: store.spool().join("in"),
        peers_file: Some(store.home().join("peers.json")),
        limits: kith_network::Limits::default(),
        features: if crate::config::bytes_of(&config.volunteer).unwrap_or(0) > 0 { FEATURE_VOLUNTEER } else { 0 },
        agent: format!("kith/{}", env!("CARGO_PKG_VERSION_MAJOR")),
    })
}

/// SIGTERM and Ctrl-C. Listened to from the start: whoever hears `ready` may send one at once.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn open_control(home: &Path) -> io::Result<UnixListener> {
    let path = control::socket(home);
    // The store's lock is ours, so a socket that lies here is a dead process's.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn serve_control(listener: UnixListener, context: Arc<Context>, mut stop: watch::Receiver<bool>) {
    let Ok(listener) = tokio::net::UnixListener::from_std(listener) else {
        tracing::error!("the control socket does not work");
        return;
    };
    let slots = Arc::new(tokio::sync::Semaphore::new(CONTROL_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        let (Ok((stream, _)), Ok(slot)) = (accepted, slots.clone().acquire_owned().await) else {
            continue;
        };
        let Ok(stream) = stream.into_std() else { continue };
        let context = context.clone();
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            if let Err(error) = stream.set_nonblocking(false).and_then(|()| control::answer(&stream, &context)) {
                tracing::debug!(%error, "a command went away");
            }
        });
    }
}

/// `run.json`: the real ports, for programs and people; there exactly while the node serves.
fn write_run_file(home: &Path, ports: &[(String, String)], listen: &[String]) -> io::Result<()> {
    let mut run: serde_json::Map<String, serde_json::Value> =
        ports.iter().map(|(name, address)| (name.clone(), serde_json::json!(address))).collect();
    run.insert("listen".into(), serde_json::json!(listen));
    run.insert("pid".into(), serde_json::json!(std::process::id()));
    let path = home.join("run.json");
    let temporary = home.join("run.json.new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    io::Write::write_all(&mut file, serde_json::Value::Object(run).to_string().as_bytes())?;
    std::fs::rename(temporary, path)
}
