//! The network between the machines of a test: namespaces around one bridge, with cables that can be pulled.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use tempfile::TempDir;

/// Makes names unique among the tests of one process.
static MADE: AtomicU32 = AtomicU32::new(0);

/// What the names of namespaces begin with; the process's number follows, which is how left ones are known.
const PREFIX: &str = "kith-";

/// Machines that reach each other.
pub(crate) struct Network {
    hub: Option<Arc<Hub>>,
    places: AtomicU8,
}

/// The namespace with the bridge.
struct Hub {
    namespace: String,
}

/// A machine: where the processes of a node run.
pub(crate) struct Place {
    cable: Option<Cable>,
    address: Ipv4Addr,
}

/// A machine's namespace and the bridge's end of its cable.
struct Cable {
    namespace: String,
    end: String,
    hub: Arc<Hub>,
    /// The router before it.
    router: Option<String>,
    service: Option<Service>,
}

/// What a household's router does: everybody inside goes out by one address, and nobody gets in who was not written to.
const ROUTER: &str = "table ip home {
    chain out { type nat hook postrouting priority 100; oifname \"eth0\" masquerade; }
    chain through { type filter hook forward priority 0; policy drop; ct state established,related accept; iifname \"eth1\" accept; }
    chain to { type filter hook input priority 0; policy drop; ct state established,related accept; iifname \"eth1\" accept; }
}
";

/// Runs a command of the system; whether it succeeded.
fn run(words: &str) -> bool {
    let mut words = words.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The same, with room for what the people inside ask for by UPnP.
const OPEN_ROUTER: &str = "table inet filter {
    chain asked { }
    chain asked_in { }
    chain asked_out { }
    chain in { type nat hook prerouting priority -100; jump asked_in; }
    chain out { type nat hook postrouting priority 100; jump asked_out; oifname \"eth0\" masquerade; }
    chain through { type filter hook forward priority 0; policy drop; ct state established,related accept; iifname \"eth1\" accept; jump asked; }
}
";

/// What the router's UPnP service is told.
const OPEN_ROUTER_SERVICE: &str = "ext_ifname=eth0
listening_ip=eth1
enable_upnp=yes
enable_natpmp=no
secure_mode=yes
upnp_table_name=filter
upnp_nat_table_name=filter
upnp_forward_chain=asked
upnp_nat_chain=asked_in
upnp_nat_postrouting_chain=asked_out
uuid=00000000-0000-0000-0000-000000000001
allow 1024-65535 0.0.0.0/0 1024-65535
";

/// A router's UPnP service.
struct Service {
    child: Child,
    _folder: TempDir,
}

impl Service {
    /// `None` where there is no such program.
    fn start(router: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("settings");
        std::fs::write(&settings, OPEN_ROUTER_SERVICE).unwrap();
        if Command::new("miniupnpd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            return None;
        }
        let mut command = Command::new("ip");
        command.args(["netns", "exec", router, "miniupnpd", "-d", "-f"]).arg(&settings).arg("-P").arg(folder.path().join("pid"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        Some(Self { child, _folder: folder })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Whether it ended by itself does not matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Gives a router its rules; whether the system can do that.
fn rules(namespace: &str, rules: &str) -> bool {
    let forward =
        Command::new("ip").args(["netns", "exec", namespace, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]).status();
    let nft = Command::new("ip")
        .args(["netns", "exec", namespace, "nft", "-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut nft) = nft else { return false };
    let written = nft.stdin.take().unwrap().write_all(rules.as_bytes());
    nft.wait().is_ok_and(|status| status.success()) && written.is_ok() && forward.is_ok_and(|status| status.success())
}

/// Runs a command that has to succeed once namespaces can be made.
fn must(words: &str) {
    assert!(run(words), "failed: {words}");
}

fn name() -> String {
    format!("{PREFIX}{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed))
}

/// Removes what tests left that were killed.
fn sweep() {
    let Ok(listed) = Command::new("ip").args(["netns", "list"]).output() else { return };
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let namespace = line.split(' ').next().unwrap_or_default();
        let owner = namespace.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()) {
            run(&format!("ip netns del {namespace}"));
        }
    }
}

impl Network {
    /// An empty one; says which kind it is.
    pub(crate) fn new() -> Self {
        sweep();
        let namespace = format!("{}-hub", name());
        let hub = run(&format!("ip netns add {namespace}")).then(|| Arc::new(Hub { namespace }));
        // From here on the hub is removed whatever fails.
        let bridged = hub.filter(|hub| run(&format!("ip -n {} link add br0 type bridge", hub.namespace)));
        if let Some(hub) = &bridged {
            must(&format!("ip -n {} link set br0 up", hub.namespace));
            eprintln!("each node has a network namespace around {}", hub.namespace);
        } else {
            eprintln!("no network namespaces here: each node has a loopback address, and no cable is pulled");
        }
        Self { hub: bridged, places: AtomicU8::new(0) }
    }

    /// One more machine, in a /16 of its own, so that no two look like neighbours, and with an address that nobody takes for a home network's.
    pub(crate) fn place(&self) -> Place {
        let number = self.places.fetch_add(1, Ordering::Relaxed);
        let Some(hub) = &self.hub else {
            let [_, _, high, low] = std::process::id().to_be_bytes();
            let last = u8::try_from(MADE.fetch_add(1, Ordering::Relaxed) % 254 + 1).unwrap();
            return Place { cable: None, address: Ipv4Addr::new(127, high, low, last) };
        };
        let address = Ipv4Addr::new(45, 64 + number, 0, 1);
        let cable = Cable { namespace: name(), end: format!("port{number}"), hub: Arc::clone(hub), router: None, service: None };
        let (inside, end, outside) = (&cable.namespace, &cable.end, &hub.namespace);
        must(&format!("ip netns add {inside}"));
        must(&format!("ip -n {inside} link set lo up"));
        must(&format!("ip link add eth0 netns {inside} type veth peer name {end} netns {outside}"));
        must(&format!("ip -n {outside} link set {end} master br0 up"));
        must(&format!("ip -n {inside} address add {address}/8 dev eth0"));
        must(&format!("ip -n {inside} link set eth0 up"));
        Place { cable: Some(cable), address }
    }

    /// One more machine, behind a router that translates addresses; `None` where the system cannot do that.
    pub(crate) fn place_behind_router(&self) -> Option<Place> {
        self.behind(ROUTER).map(|(place, _)| place)
    }

    /// As [`Network::place_behind_router`], and the router lets in what is asked for by UPnP. Gives its outer address, too.
    pub(crate) fn place_behind_open_router(&self) -> Option<(Place, Ipv4Addr)> {
        let (mut place, outside) = self.behind(OPEN_ROUTER)?;
        let cable = place.cable.as_mut()?;
        // Multicast has to find a way out.
        must(&format!("ip -n {} route add 224.0.0.0/4 dev eth0", cable.namespace));
        cable.service = Service::start(cable.router.as_deref()?);
        if cable.service.is_none() {
            eprintln!("no UPnP service here (miniupnpd): nobody asks a router for anything");
            return None;
        }
        Some((place, outside))
    }

    fn behind(&self, translation: &str) -> Option<(Place, Ipv4Addr)> {
        let outside = self.place();
        let (router, inside) = (outside.cable?, name());
        let number = outside.address.octets()[1];
        let address = Ipv4Addr::new(192, 168, number, 2);
        must(&format!("ip netns add {inside}"));
        let hub = Arc::clone(&router.hub);
        let cable = Cable {
            namespace: inside.clone(),
            end: router.end.clone(),
            hub,
            router: Some(router.namespace.clone()),
            service: None,
        };
        // Both are removed with this cable.
        std::mem::forget(router);
        let router = cable.router.as_deref().unwrap();
        must(&format!("ip -n {inside} link set lo up"));
        must(&format!("ip link add eth0 netns {inside} type veth peer name eth1 netns {router}"));
        must(&format!("ip -n {router} address add 192.168.{number}.1/24 dev eth1"));
        must(&format!("ip -n {router} link set eth1 up"));
        must(&format!("ip -n {inside} address add {address}/24 dev eth0"));
        must(&format!("ip -n {inside} link set eth0 up"));
        must(&format!("ip -n {inside} route add default via 192.168.{number}.1"));
        if rules(router, translation) {
            return Some((Place { cable: Some(cable), address }, outside.address));
        }
        eprintln!("no address translation here (nft): nobody is behind a router");
        None
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        run(&format!("ip netns del {}", self.namespace));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        run(&format!("ip netns del {}", self.namespace));
        if let Some(router) = &self.router {
            run(&format!("ip netns del {router}"));
        }
    }
}

impl Place {
    /// Its address.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A command that runs on this machine.
    pub(crate) fn command(&self, program: &str) -> Command {
        let Some(cable) = &self.cable else { return Command::new(program) };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &cable.namespace, program]);
        command
    }

    /// The provider gives it another address; whether that can be done here.
    pub(crate) fn renumber(&mut self) -> bool {
        let Some(cable) = &self.cable else { return false };
        let [first, second, third, last] = self.address.octets();
        let (old, new) = (self.address, Ipv4Addr::new(first, second + 100, third, last));
        must(&format!("ip -n {} address del {old}/8 dev eth0", cable.namespace));
        must(&format!("ip -n {} address add {new}/8 dev eth0", cable.namespace));
        self.address = new;
        true
    }

    /// Pulls the cable; whether there is one.
    pub(crate) fn cut(&self) -> bool {
        self.link("down")
    }

    /// Plugs it in again.
    pub(crate) fn heal(&self) {
        self.link("up");
    }

    fn link(&self, state: &str) -> bool {
        let Some(cable) = &self.cable else { return false };
        must(&format!("ip -n {} link set {} {state}", cable.hub.namespace, cable.end));
        true
    }

    /// Lets it send no faster than this many Mbit/s, where the system can do that.
    pub(crate) fn slow(&self, mbits: u32) {
        let Some(cable) = &self.cable else { return };
        let inside = &cable.namespace;
        if !run(&format!("tc -n {inside} qdisc add dev eth0 root tbf rate {mbits}mbit burst 256k latency 50ms")) {
            eprintln!("no traffic shaping here: the network is as fast as it can");
        }
    }
}
