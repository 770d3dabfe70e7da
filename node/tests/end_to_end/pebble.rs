//! A real ACME server: Pebble, the test authority of Let's Encrypt, on private ports, with names that only our own DNS server knows.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::node::eventually;
use crate::ports::free_port;
use crate::programs::installed;

/// How it is to behave.
pub(crate) struct Manner {
    /// Where it looks whether a name leads to the node: the ports that the world's 443 and 80 are forwarded to.
    pub(crate) tls: u16,
    pub(crate) http: u16,
    /// How long its certificates are good, in seconds.
    pub(crate) life: u64,
    /// Per cent of good nonces that it refuses.
    pub(crate) refused_nonces: u8,
    /// The longest that it waits before it looks, in seconds; 0 for at once.
    pub(crate) dawdles: u8,
}

impl Manner {
    pub(crate) fn usual(tls: u16, http: u16) -> Self {
        Self { tls, http, life: 90 * 24 * 3600, refused_nonces: 0, dawdles: 0 }
    }
}

/// A running Pebble, ended when dropped.
pub(crate) struct Pebble {
    folder: tempfile::TempDir,
    child: Child,
    port: u16,
}

/// An authority for Pebble's own web server, and what it vouches for: names of this machine.
fn own_certificate(folder: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "The authority of an authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority = params.self_signed(&key).unwrap();
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &Issuer::new(params, key)).unwrap();
    fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    fs::write(folder.join("cert.pem"), leaf.pem()).unwrap();
    fs::write(folder.join("key.pem"), leaf_key.serialize_pem()).unwrap();
}

impl Pebble {
    /// One that asks this name server. `None`, with a word, where there is no Pebble.
    pub(crate) fn start(names: SocketAddr, manner: &Manner) -> Option<Self> {
        if !installed("pebble") || !installed("curl") || !installed("openssl") {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        own_certificate(path);
        let (port, management) = (free_port(), free_port());
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": path.join("cert.pem"),
            "privateKey": path.join("key.pem"),
            "httpPort": manner.http,
            "tlsPort": manner.tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": manner.life,
        } });
        fs::write(path.join("config.json"), config.to_string()).unwrap();
        let log = fs::File::create(path.join("log")).unwrap();
        let mut command = Command::new("pebble");
        command.arg("-config").arg(path.join("config.json")).args(["-strict", "-dnsserver", &names.to_string()]);
        command.env("PEBBLE_WFE_NONCEREJECT", manner.refused_nonces.to_string()).env("PEBBLE_AUTHZREUSE", "0");
        match manner.dawdles {
            0 => command.env("PEBBLE_VA_NOSLEEP", "1"),
            seconds => command.env("PEBBLE_VA_SLEEPTIME", seconds.to_string()),
        };
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let pebble = Self { folder, child, port };
        eventually("pebble listens", || TcpStream::connect(("127.0.0.1", management)).ok());
        // Its root is another one each time.
        let root = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--cacert"])
            .arg(path_of(&pebble, "ca.pem"))
            .arg(format!("https://localhost:{management}/roots/0"))
            .output()
            .unwrap();
        assert!(root.status.success(), "{}", String::from_utf8_lossy(&root.stderr));
        fs::write(pebble.root(), &root.stdout).unwrap();
        let both = [fs::read(path_of(&pebble, "ca.pem")).unwrap(), root.stdout].concat();
        fs::write(pebble.trust(), both).unwrap();
        Some(pebble)
    }

    /// Where its directory is.
    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// The root of what it gives out.
    pub(crate) fn root(&self) -> PathBuf {
        path_of(self, "root.pem")
    }

    /// The same and that of its own web server.
    pub(crate) fn trust(&self) -> PathBuf {
        path_of(self, "trust.pem")
    }

    /// What it wrote down.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(path_of(self, "log")).unwrap()
    }

    /// How many orders it has taken.
    pub(crate) fn orders(&self) -> usize {
        self.log().matches("Added order ").count()
    }
}

fn path_of(pebble: &Pebble, name: &str) -> PathBuf {
    pebble.folder.path().join(name)
}

impl Drop for Pebble {
    fn drop(&mut self) {
        // The test is over; whether it ended by itself does not matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
