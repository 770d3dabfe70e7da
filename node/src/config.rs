//! `kith.toml`: every key with its meaning, unit and default, in one table that makes the file, the checks and the documentation.
//!
//! A home works without the file. Unknown keys are errors: a mistyped key that is silently ignored is worse than none.

use std::path::Path;

use serde::Deserialize;

pub(crate) mod acme;
pub(crate) mod gateway;

pub use acme::AcmeConfig;
pub use gateway::GatewayConfig;

/// One key of the file: what [`commented_file`] writes.
struct Setting {
    key: &'static str,
    default: &'static str,
    meaning: &'static str,
}

impl Setting {
    /// Its lines in a fresh file.
    fn write(&self, text: &mut String) {
        text.push_str(&format!("\n# {}\n# {} = {}\n", self.meaning, self.key, self.default));
    }
}

/// Every key there is. A test proves that the defaults parse to [`Config::default`] and that no field is missing here.
const SETTINGS: &[Setting] = &[
    Setting {
        key: "smtp",
        default: r#""127.0.0.1:1587""#,
        meaning: "Submission (SMTP with STARTTLS): ADDRESS:PORT, port 0 for any free one, \"off\" for none.",
    },
    Setting { key: "pop3", default: r#""127.0.0.1:1110""#, meaning: "POP3 with STLS." },
    Setting { key: "imap", default: r#""127.0.0.1:1143""#, meaning: "IMAP with STARTTLS." },
    Setting { key: "smtps", default: r#""off""#, meaning: "Submission with TLS from the first byte." },
    Setting { key: "pop3s", default: r#""off""#, meaning: "POP3 with TLS from the first byte." },
    Setting { key: "imaps", default: r#""off""#, meaning: "IMAP with TLS from the first byte." },
    Setting {
        key: "lan",
        default: "false",
        meaning: "One switch for phones and laptops at home: smtps on 0.0.0.0:1465, pop3s on 0.0.0.0:1995, imaps on 0.0.0.0:1993, where those are \"off\".",
    },
    Setting {
        key: "listen",
        default: r#"["/ip4/0.0.0.0/udp/4725/quic-v1", "/ip4/0.0.0.0/tcp/4725", "/ip6/::/udp/4725/quic-v1", "/ip6/::/tcp/4725"]"#,
        meaning: "Where other nodes reach this one: multiaddresses.",
    },
    Setting {
        key: "external",
        default: "[]",
        meaning: "Addresses under which the world reaches this node, where a router forwards to it: multiaddresses.",
    },
    Setting {
        key: "bootstrap",
        default: "[]",
        meaning: "Nodes to meet the network through: multiaddresses with /p2p/…; none is built in, none is needed on a LAN or among contacts.",
    },
    Setting {
        key: "mdns",
        default: "true",
        meaning: "Find nodes on the local network, and be found there; ports that mail programs on other machines can reach are announced there too.",
    },
    Setting {
        key: "upnp",
        default: "true",
        meaning: "Ask the router to forward to this node (UPnP), so that others can reach it from outside.",
    },
    Setting {
        key: "reachability",
        default: r#""direct""#,
        meaning: "\"direct\": this node stands in the cards of its accounts, letters come straight to it. \"relays-only\": it is left out.",
    },
    Setting {
        key: "strangers",
        default: r#""work""#,
        meaning: "Who may write without being a contact: \"work\" (after some seconds of work, into the folder Requests), \"welcome\", \"closed\".",
    },
    Setting {
        key: "stranger_effort",
        default: "7000",
        meaning: "How much work strangers do: 7000 takes a Raspberry Pi 4 about half a minute.",
    },
    Setting {
        key: "hosting",
        default: r#""4 GiB""#,
        meaning: "The most that is kept for others in all (kith relay allow), as a size.",
    },
    Setting {
        key: "volunteer",
        default: r#""0""#,
        meaning: "Space for strangers' letters to strangers, small ones for two weeks each: a size such as \"1 GiB\", \"0\" for none.",
    },
    Setting {
        key: "imap_without",
        default: "[]",
        meaning: "IMAP capabilities that an account's program cannot bear, with the account's name: [\"mum QRESYNC COMPRESS=DEFLATE\"].",
    },
    Setting { key: "size_limit_mib", default: "50", meaning: "The largest mail taken from a mail program, in MiB, 1 to 50." },
    Setting {
        key: "delay_notice_seconds",
        default: "86400",
        meaning: "After how many seconds the sender is told that a mail is late (a day).",
    },
    Setting {
        key: "expiry_seconds",
        default: "2592000",
        meaning: "After how many seconds a mail is given up and the sender told so (30 days).",
    },
    Setting {
        key: "retry_seconds",
        default: "300",
        meaning: "The first timed retry, in seconds; it doubles up to about an hour. What happens on the network retries at once.",
    },
    Setting {
        key: "pace",
        default: "1",
        meaning: "How many times faster than usual the clocks of delivery run, 1 to 10000: for trials, never for mail that matters.",
    },
    Setting {
        key: "log",
        default: r#""info""#,
        meaning: "What is logged: error, warn, info, debug, trace, or a filter like kith_network=debug.",
    },
];

/// The largest mail that may be configured, in MiB: what an envelope can carry.
pub const SIZE_LIMIT_MIB_MAX: u64 = kith_protocol::limits::MAIL_BYTES_MAX / (1024 * 1024);

/// The fastest that the clocks of delivery may run.
const PACE_MAX: u32 = 10_000;

/// A parsed `kith.toml`, which the command line then overrides.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Submission.
    pub smtp: String,
    /// POP3.
    pub pop3: String,
    /// IMAP.
    pub imap: String,
    /// Submission over TLS.
    pub smtps: String,
    /// POP3 over TLS.
    pub pop3s: String,
    /// IMAP over TLS.
    pub imaps: String,
    /// Listen on the LAN too.
    pub lan: bool,
    /// Overlay listeners.
    pub listen: Vec<String>,
    /// Overlay addresses known from outside.
    pub external: Vec<String>,
    /// Nodes to begin with.
    pub bootstrap: Vec<String>,
    /// Local discovery.
    pub mdns: bool,
    /// Ask the router.
    pub upnp: bool,
    /// How the node shows itself.
    pub reachability: Reachability,
    /// Who may write without being a contact.
    pub strangers: Strangers,
    /// How much work they do.
    pub stranger_effort: u32,
    /// Size kept for others in all.
    pub hosting: String,
    /// Size kept as a volunteer.
    pub volunteer: String,
    /// Accounts and the IMAP capabilities they are not offered.
    pub imap_without: Vec<String>,
    /// MiB.
    pub size_limit_mib: u64,
    /// Seconds.
    pub delay_notice_seconds: u64,
    /// Seconds.
    pub expiry_seconds: u64,
    /// Seconds.
    pub retry_seconds: u64,
    /// Times faster than usual.
    pub pace: u32,
    /// Log filter.
    pub log: String,
    /// Ordinary e-mail.
    pub gateway: GatewayConfig,
}

/// Who may write to the accounts of this node without being a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strangers {
    /// Anybody.
    Welcome,
    /// Whoever does some work, into the folder for requests.
    Work,
    /// Nobody.
    Closed,
}

/// Reads a size: `1 GiB`, `256MiB`, `500M`, or a number of bytes.
///
/// # Errors
/// A sentence, where it is none.
pub fn bytes_of(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" | "kb" => 1 << 10,
        "m" | "mib" | "mb" => 1 << 20,
        "g" | "gib" | "gb" => 1 << 30,
        _ => return Err(format!("`{text}` is no size such as 256MiB or \"1 GiB\"")),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is no size such as 256MiB or \"1 GiB\""))?;
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is more than there is"))
}

/// How the node shows itself in its accounts' cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reachability {
    /// It is the first place that letters are brought to.
    Direct,
    /// It is left out.
    RelaysOnly,
}

/// Why the file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// It is not TOML, or has a key or value that is not known.
    #[error("{path}: {message}\nEvery key and its default is in a fresh kith.toml; lines that begin with # do nothing.")]
    Syntax {
        /// The file.
        path: String,
        /// What the parser says, with line and column.
        message: String,
    },
    /// A value is outside what is allowed.
    #[error("{key}: {message}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is allowed.
        message: String,
    },
}

impl Default for Config {
    fn default() -> Self {
        let strings = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        Self {
            smtp: "127.0.0.1:1587".into(),
            pop3: "127.0.0.1:1110".into(),
            imap: "127.0.0.1:1143".into(),
            smtps: "off".into(),
            pop3s: "off".into(),
            imaps: "off".into(),
            lan: false,
            listen: strings(&[
                "/ip4/0.0.0.0/udp/4725/quic-v1",
                "/ip4/0.0.0.0/tcp/4725",
                "/ip6/::/udp/4725/quic-v1",
                "/ip6/::/tcp/4725",
            ]),
            external: Vec::new(),
            bootstrap: Vec::new(),
            mdns: true,
            upnp: true,
            reachability: Reachability::Direct,
            strangers: Strangers::Work,
            stranger_effort: kith_protocol::work::EFFORT_DEFAULT,
            hosting: "4 GiB".into(),
            volunteer: "0".into(),
            imap_without: Vec::new(),
            size_limit_mib: SIZE_LIMIT_MIB_MAX,
            delay_notice_seconds: 24 * 3600,
            expiry_seconds: 30 * 24 * 3600,
            retry_seconds: 300,
            pace: 1,
            log: "info".into(),
            gateway: GatewayConfig::default(),
        }
    }
}

impl Config {
    /// Reads `path`; a missing file is the defaults.
    ///
    /// # Errors
    /// [`ConfigError`], with a sentence that names the file and line.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(ConfigError::Io { path: path.display().to_string(), source }),
        };
        let config: Self = toml::from_str(&text)
            .map_err(|error| ConfigError::Syntax { path: path.display().to_string(), message: error.to_string() })?;
        config.check()?;
        Ok(config)
    }

    /// Checks what types cannot.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(1..=SIZE_LIMIT_MIB_MAX).contains(&self.size_limit_mib) {
            return Err(ConfigError::Value { key: "size_limit_mib", message: format!("1 to {SIZE_LIMIT_MIB_MAX}") });
        }
        if self.expiry_seconds == 0 || self.delay_notice_seconds == 0 || self.retry_seconds == 0 {
            return Err(ConfigError::Value {
                key: "expiry_seconds, delay_notice_seconds, retry_seconds",
                message: "at least 1".into(),
            });
        }
        if !(1..=PACE_MAX).contains(&self.pace) {
            return Err(ConfigError::Value { key: "pace", message: format!("1 to {PACE_MAX}") });
        }
        for (key, value) in [("hosting", &self.hosting), ("volunteer", &self.volunteer)] {
            bytes_of(value).map_err(|message| ConfigError::Value { key, message })?;
        }
        kith_imap::Without::parse(self.imap_without.iter().map(String::as_str))
            .map_err(|message| ConfigError::Value { key: "imap_without", message })?;
        for (key, value) in self.ports() {
            if value != "off" && value.parse::<std::net::SocketAddr>().is_err() {
                return Err(ConfigError::Value {
                    key,
                    message: format!("`{value}` is not ADDRESS:PORT (like 127.0.0.1:1587) and not \"off\""),
                });
            }
        }
        self.gateway.check()
    }

    /// The ports for mail programs: name in `run.json`, and value with the LAN switch applied.
    pub fn ports(&self) -> [(&'static str, String); 6] {
        let lan = |value: &String, address: &str| if self.lan && value == "off" { address.to_owned() } else { value.clone() };
        [
            ("smtp", self.smtp.clone()),
            ("pop3", self.pop3.clone()),
            ("imap", self.imap.clone()),
            ("smtps", lan(&self.smtps, "0.0.0.0:1465")),
            ("pop3s", lan(&self.pop3s, "0.0.0.0:1995")),
            ("imaps", lan(&self.imaps, "0.0.0.0:1993")),
        ]
    }
}

/// A `kith.toml` in which every key stands commented out with its default.
pub fn commented_file() -> String {
    let mut text = String::from("# Kith's settings. Every key is here with its default; remove the # to change one.\n");
    for setting in SETTINGS {
        setting.write(&mut text);
    }
    text.push_str(&gateway::commented());
    text
}

/// Writes the commented file where there is none, 0600.
///
/// # Errors
/// [`ConfigError::Io`].
pub fn write_if_absent(path: &Path) -> Result<(), ConfigError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => file
            .write_all(commented_file().as_bytes())
            .map_err(|source| ConfigError::Io { path: path.display().to_string(), source }),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(ConfigError::Io { path: path.display().to_string(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uncommented() -> String {
        SETTINGS.iter().map(|setting| format!("{} = {}\n", setting.key, setting.default)).collect()
    }

    #[test]
    fn the_table_and_the_defaults_say_the_same() {
        assert_eq!(toml::from_str::<Config>(&uncommented()).unwrap(), Config::default());
        assert_eq!(toml::from_str::<Config>(&commented_file()).unwrap(), Config::default());
        Config::default().check().unwrap();
    }

    #[test]
    fn every_field_stands_in_the_table() {
        let shown = format!("{:?}", Config::default());
        for setting in SETTINGS {
            assert!(shown.contains(&format!("{}:", setting.key)), "{}", setting.key);
        }
        let gateway = format!("gateway: {:?}", GatewayConfig::default());
        assert_eq!(shown.replace(&gateway, "").matches(": ").count(), SETTINGS.len());
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kith.toml");
        std::fs::write(&path, "smpt = \"127.0.0.1:25\"\n").unwrap();
        let error = Config::load(&path).unwrap_err().to_string();
        assert!(error.contains("smpt") && error.contains("kith.toml"), "{error}");
    }

    #[test]
    fn capabilities_that_do_not_exist_are_refused() {
        for (line, fine) in [("mum QRESYNC idle", true), ("mum X-NONE", false), ("mum", false)] {
            let config = Config { imap_without: vec![line.to_owned()], ..Config::default() };
            assert_eq!(config.check().is_ok(), fine, "{line}");
        }
    }

    #[test]
    fn clocks_that_stand_or_race_are_refused() {
        for (pace, fine) in [(0, false), (1, true), (10_000, true), (10_001, false)] {
            assert_eq!(Config { pace, ..Config::default() }.check().is_ok(), fine, "{pace}");
        }
    }

    #[test]
    fn sizes_are_read() {
        let read = ["0", "17", "256MiB", "1 GiB", "500M", "2 kb"].map(|text| bytes_of(text).unwrap());
        assert_eq!(read, [0, 17, 256 << 20, 1 << 30, 500 << 20, 2 << 10]);
        assert!(["", "GiB", "1 TiB", "-1", "99999999999 GiB"].iter().all(|text| bytes_of(text).is_err()));
    }

    #[test]
    fn the_lan_switch_opens_the_three_tls_ports() {
        let config = Config { lan: true, imaps: "192.168.0.2:993".into(), ..Config::default() };
        assert_eq!(config.ports()[3].1, "0.0.0.0:1465");
        assert_eq!(config.ports()[5].1, "192.168.0.2:993");
    }

    /// What the README has one write into `kith.toml` is taken, each piece alone.
    #[test]
    fn what_the_readme_says_of_the_settings_is_taken() {
        let readme = include_str!("../../README.md");
        let mut pieces = vec![String::new()];
        for line in readme.lines() {
            match (line.strip_prefix("    "), pieces.last_mut()) {
                (Some(line), Some(piece)) => piece.push_str(&format!("{line}\n")),
                (None, _) if line.trim().is_empty() => {
                    // An empty line within a piece belongs to it.
                    if let Some(piece) = pieces.last_mut() {
                        piece.push('\n');
                    }
                }
                (None, _) => pieces.push(String::new()),
                (Some(_), None) => {}
            }
        }
        let settings: Vec<&String> = pieces.iter().filter(|piece| piece.trim_start().starts_with("[gateway")).collect();
        assert_eq!(settings.len(), 2);
        for piece in settings {
            let config: Config = toml::from_str(piece).unwrap_or_else(|error| panic!("{error}: {piece}"));
            config.check().unwrap();
        }
    }
}
