//! The section `[gateway]` of `kith.toml`: ordinary e-mail, in and out.

use std::collections::BTreeMap;

use kith_store::routes::Clear;
use serde::Deserialize;

use super::acme::{self, AcmeConfig};
use super::{ConfigError, Setting};

/// Every key of the section; those of a provider's are in [`PROVIDER`].
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        key: "domains",
        default: "[]",
        meaning: "Domains whose mail comes in here, and in which the household has addresses: [\"example.org\"].",
    },
    Setting {
        key: "mx",
        default: r#""off""#,
        meaning: "Where the world's mail servers reach this node: \"0.0.0.0:25\", or what a router forwards port 25 to.",
    },
    Setting {
        key: "direct",
        default: "false",
        meaning: "Bring mail to the world's mail servers directly, where the sender has no provider (below). Needs a fixed address with a good name.",
    },
    Setting {
        key: "greylist_seconds",
        default: "300",
        meaning: "How long strangers wait until their mail is taken: real mail servers come again, most others do not. 0 for not at all.",
    },
    Setting {
        key: "hello",
        default: r#""""#,
        meaning: "What this node calls itself to other mail servers; \"\" for mail.DOMAIN.",
    },
    Setting {
        key: "clear",
        default: r#""always""#,
        meaning: "Whether mail may leave in the clear where nobody has said otherwise (kith gateway rule): \"always\", \"ask\" (it waits for a word), \"never\".",
    },
    Setting {
        key: "notify",
        default: r#""first""#,
        meaning: "When a short mail says that something went in the clear: \"first\" (once for each recipient), \"always\", \"never\". The copy in Sent says it in any case.",
    },
    Setting {
        key: "postmaster",
        default: r#""""#,
        meaning: "The account that gets mail to postmaster and abuse; \"\" for the first one.",
    },
    Setting {
        key: "dns",
        default: "[]",
        meaning: "Name servers to ask, as ADDRESS:PORT; none: the system's. Signed answers (DNSSEC) are checked here in any case.",
    },
    Setting { key: "dkim_selector", default: r#""kith""#, meaning: "Under which name the signing keys stand in the DNS." },
    Setting {
        key: "retry_seconds",
        default: "300",
        meaning: "The first retry, in seconds; the pauses grow to some hours. What refuses for good is not tried again.",
    },
    Setting {
        key: "delay_notice_seconds",
        default: "14400",
        meaning: "After how many seconds the sender is told that a mail to an ordinary address is late (four hours).",
    },
    Setting {
        key: "expiry_seconds",
        default: "432000",
        meaning: "After how many seconds it is given up and the sender told so (five days).",
    },
    Setting {
        key: "mails_per_minute",
        default: "120",
        meaning: "How many mails a minute go to one domain at most; 0 for no bound. Who sends much at once to strangers is taken for a source of junk.",
    },
    Setting {
        key: "offer",
        default: "true",
        meaning: "Say in mails to ordinary addresses (Kith-Address) which key the sender has, so that nodes of theirs can suggest it.",
    },
    Setting { key: "mx_port", default: "25", meaning: "The port of other mail servers; another one for trials only." },
    Setting {
        key: "trust",
        default: r#""""#,
        meaning: "A file with certificate authorities to trust besides the usual ones (PEM), as of a provider with its own.",
    },
    Setting {
        key: "https",
        default: r#""off""#,
        meaning: "Where the world's port 443 comes in: \"0.0.0.0:443\", or what a router forwards it to. For certificates (below), sts and autoconfig; nothing else is there.",
    },
    Setting {
        key: "http",
        default: r#""off""#,
        meaning: "The same for port 80: certificates where 443 cannot be had, and the way to https.",
    },
    Setting {
        key: "sts",
        default: r#""off""#,
        meaning: "Tell the world's mail servers to insist on TLS (MTA-STS): \"testing\" has them report only, \"enforce\", \"off\". Needs https, and a certificate they believe.",
    },
    Setting {
        key: "sts_seconds",
        default: "604800",
        meaning: "How long they keep to that without asking again, in seconds (a week).",
    },
    Setting {
        key: "autoconfig",
        default: "false",
        meaning: "Tell Thunderbird at https://autoconfig.DOMAIN which ports of this node mail programs use. A router must forward those with the same numbers.",
    },
];

/// Every key of a section `[gateway.provider.NAME]`.
pub(super) const PROVIDER: &[Setting] = &[
    Setting { key: "address", default: r#""anna@gmail.com""#, meaning: "The account's ordinary address." },
    Setting { key: "smtp", default: r#""smtp.gmail.com:587""#, meaning: "The provider's server for sending; \"\" for none." },
    Setting {
        key: "smtp_tls",
        default: r#""starttls""#,
        meaning: "\"starttls\", \"tls\" (from the first byte, as on port 465), \"none\" (on this machine only).",
    },
    Setting { key: "user", default: r#""anna@gmail.com""#, meaning: "The name to log in with; \"\" for the address." },
    Setting { key: "password_file", default: r#""""#, meaning: "A file with the password in it (chmod 600), or" },
    Setting { key: "password_command", default: "[]", meaning: "a command that prints it: [\"pass\", \"show\", \"gmail\"], or" },
    Setting { key: "token_command", default: "[]", meaning: "a command that prints an OAuth 2 access token (XOAUTH2)." },
    Setting {
        key: "mails_per_minute",
        default: "120",
        meaning: "How many mails a minute the provider is given at most; 0 for no bound. Most lock accounts that send much at once.",
    },
    Setting {
        key: "fetch",
        default: r#""""#,
        meaning: "The provider's server for fetching: \"imap.gmail.com:993\"; \"\" for none.",
    },
    Setting { key: "fetch_by", default: r#""imap""#, meaning: "\"imap\" or \"pop3\"." },
    Setting { key: "fetch_tls", default: r#""tls""#, meaning: "As smtp_tls." },
    Setting { key: "fetch_folders", default: r#"["INBOX"]"#, meaning: "Which folders (IMAP)." },
    Setting {
        key: "fetch_then",
        default: r#""keep""#,
        meaning: "What happens there to a mail that is here: \"keep\", \"seen\" (IMAP), \"delete\".",
    },
    Setting { key: "fetch_seconds", default: "300", meaning: "How often to look where the server does not tell by itself." },
];

/// The section.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the table above says it")]
pub struct GatewayConfig {
    pub domains: Vec<String>,
    pub mx: String,
    pub direct: bool,
    pub greylist_seconds: u64,
    pub hello: String,
    pub clear: ClearWord,
    pub notify: Told,
    pub postmaster: String,
    pub dns: Vec<String>,
    pub dkim_selector: String,
    pub retry_seconds: u64,
    pub delay_notice_seconds: u64,
    pub expiry_seconds: u64,
    pub mails_per_minute: u32,
    pub offer: bool,
    pub mx_port: u16,
    pub trust: String,
    pub https: String,
    pub http: String,
    pub sts: Sts,
    pub sts_seconds: u64,
    pub autoconfig: bool,
    /// Certificates.
    pub acme: AcmeConfig,
    /// By account.
    pub provider: BTreeMap<String, Provider>,
}

/// Whether mail may leave in the clear, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClearWord {
    Always,
    Ask,
    Never,
}

impl From<ClearWord> for Clear {
    fn from(word: ClearWord) -> Self {
        match word {
            ClearWord::Always => Self::Always,
            ClearWord::Ask => Self::Ask,
            ClearWord::Never => Self::Never,
        }
    }
}

/// What the world's mail servers are told of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sts {
    Off,
    Testing,
    Enforce,
}

/// When the sender gets a mail about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    First,
    Always,
    Never,
}

/// An account's ordinary mailbox somewhere else.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Provider {
    pub address: String,
    pub smtp: String,
    pub smtp_tls: TlsWord,
    pub user: String,
    pub password_file: String,
    pub password_command: Vec<String>,
    pub token_command: Vec<String>,
    pub mails_per_minute: u32,
    pub fetch: String,
    pub fetch_by: FetchBy,
    pub fetch_tls: TlsWord,
    pub fetch_folders: Vec<String>,
    pub fetch_then: FetchThen,
    pub fetch_seconds: u64,
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsWord {
    Starttls,
    Tls,
    None,
}

/// By which protocol mail is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FetchBy {
    Imap,
    Pop3,
}

/// What happens over there to a mail that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FetchThen {
    Keep,
    Seen,
    Delete,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            mx: "off".into(),
            direct: false,
            greylist_seconds: 300,
            hello: String::new(),
            clear: ClearWord::Always,
            notify: Told::First,
            postmaster: String::new(),
            dns: Vec::new(),
            dkim_selector: "kith".into(),
            retry_seconds: 300,
            delay_notice_seconds: 4 * 3600,
            expiry_seconds: 5 * 24 * 3600,
            mails_per_minute: 120,
            offer: true,
            mx_port: 25,
            trust: String::new(),
            https: "off".into(),
            http: "off".into(),
            sts: Sts::Off,
            sts_seconds: 7 * 24 * 3600,
            autoconfig: false,
            acme: AcmeConfig::default(),
            provider: BTreeMap::new(),
        }
    }
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            address: String::new(),
            smtp: String::new(),
            smtp_tls: TlsWord::Starttls,
            user: String::new(),
            password_file: String::new(),
            password_command: Vec::new(),
            token_command: Vec::new(),
            mails_per_minute: 120,
            fetch: String::new(),
            fetch_by: FetchBy::Imap,
            fetch_tls: TlsWord::Tls,
            fetch_folders: vec!["INBOX".into()],
            fetch_then: FetchThen::Keep,
            fetch_seconds: 300,
        }
    }
}

impl GatewayConfig {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key: &'static str, message: String| Err(ConfigError::Value { key, message });
        if self.mx != "off" && self.mx.parse::<std::net::SocketAddr>().is_err() {
            return wrong("gateway.mx", format!("`{}` is not ADDRESS:PORT and not \"off\"", self.mx));
        }
        if self.mx != "off" && self.domains.is_empty() {
            return wrong("gateway.mx", "needs gateway.domains: for which domains does mail come in?".into());
        }
        for domain in &self.domains {
            if !is_domain(domain) {
                return wrong(
                    "gateway.domains",
                    format!("`{domain}` is not a domain; an international one stands here as xn--…"),
                );
            }
        }
        if !self.hello.is_empty() && !is_domain(&self.hello) {
            return wrong("gateway.hello", format!("`{}` is not a name of a machine", self.hello));
        }
        if let Some(server) = self.dns.iter().find(|server| server.parse::<std::net::SocketAddr>().is_err()) {
            return wrong("gateway.dns", format!("`{server}` is not ADDRESS:PORT"));
        }
        if self.retry_seconds == 0 || self.delay_notice_seconds == 0 || self.expiry_seconds == 0 {
            return wrong("gateway.retry_seconds, delay_notice_seconds, expiry_seconds", "at least 1".into());
        }
        for (key, value) in [("gateway.https", &self.https), ("gateway.http", &self.http)] {
            if value != "off" && value.parse::<std::net::SocketAddr>().is_err() {
                return wrong(key, format!("`{value}` is not ADDRESS:PORT and not \"off\""));
            }
        }
        if self.sts != Sts::Off && (self.https == "off" || self.mx == "off") {
            return wrong("gateway.sts", "needs gateway.https, where it is told, and gateway.mx, which it is about".into());
        }
        if !(1..=kith_gateway::outbound::sts::MAX_AGE_S).contains(&self.sts_seconds) {
            return wrong("gateway.sts_seconds", format!("1 to {}", kith_gateway::outbound::sts::MAX_AGE_S));
        }
        if self.autoconfig && (self.https == "off" || self.domains.is_empty()) {
            return wrong("gateway.autoconfig", "needs gateway.https and gateway.domains".into());
        }
        self.acme.check(self)?;
        self.provider.iter().try_for_each(|(name, provider)| provider.check(name))
    }
}

impl Provider {
    /// The name to log in with.
    pub fn user(&self) -> &str {
        if self.user.is_empty() { &self.address } else { &self.user }
    }

    fn check(&self, name: &str) -> Result<(), ConfigError> {
        let wrong = |message: String| Err(ConfigError::Value { key: "gateway.provider", message: format!("{name}: {message}") });
        let email = self.address.rsplit_once('@').filter(|(local, domain)| !local.is_empty() && is_domain(domain));
        if email.is_none() {
            return wrong(format!("`{}` is not an ordinary mail address", self.address));
        }
        let secrets = [!self.password_file.is_empty(), !self.password_command.is_empty(), !self.token_command.is_empty()];
        if secrets.iter().filter(|there| **there).count() > 1 {
            return wrong("one of password_file, password_command and token_command".into());
        }
        for server in [&self.smtp, &self.fetch] {
            let fine = server.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            if !server.is_empty() && !fine {
                return wrong(format!("`{server}` is not HOST:PORT"));
            }
        }
        for (server, tls) in [(&self.smtp, self.smtp_tls), (&self.fetch, self.fetch_tls)] {
            let near = ["127.0.0.1:", "[::1]:", "localhost:"].iter().any(|near| server.starts_with(near));
            if tls == TlsWord::None && !server.is_empty() && !near {
                return wrong(format!("{server} would be told the password in the clear; only this machine may be"));
            }
        }
        if self.fetch_then == FetchThen::Seen && self.fetch_by == FetchBy::Pop3 {
            return wrong("POP3 has no \"seen\": keep or delete".into());
        }
        if self.fetch_seconds == 0 {
            return wrong("fetch_seconds is at least 1".into());
        }
        Ok(())
    }
}

/// A domain with a dot in it, in ASCII and lower case.
pub(crate) fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(label)
}

/// The section as it stands in a fresh file: commented out.
pub(super) fn commented() -> String {
    let mut text =
        String::from("\n# Ordinary e-mail, in and out (kith gateway check DOMAIN says what the DNS needs):\n# [gateway]\n");
    for setting in SETTINGS {
        setting.write(&mut text);
    }
    text.push_str("\n# Certificates that the world believes, for port 25, https and the mail programs' ports (kith status says how long they last):\n# [gateway.acme]\n");
    for setting in acme::SETTINGS {
        setting.write(&mut text);
    }
    text.push_str("\n# An account's mailbox somewhere else, to send by and to fetch from; NAME is the account's name:\n# [gateway.provider.NAME]\n");
    for setting in PROVIDER {
        setting.write(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn the_section_and_its_defaults_say_the_same() {
        let text: String = SETTINGS.iter().map(|setting| format!("{} = {}\n", setting.key, setting.default)).collect();
        assert_eq!(toml::from_str::<GatewayConfig>(&text).unwrap(), GatewayConfig::default());
        let shown = format!("{:?}", GatewayConfig::default());
        let acme = format!("{:?}", AcmeConfig::default());
        assert_eq!(shown.replace(&acme, "").matches(": ").count(), SETTINGS.len() + 2, "and `acme` and `provider`");
        let text: String = acme::SETTINGS.iter().map(|setting| format!("{} = {}\n", setting.key, setting.default)).collect();
        assert_eq!(toml::from_str::<AcmeConfig>(&text).unwrap(), AcmeConfig::default());
        assert_eq!(acme.matches(": ").count(), acme::SETTINGS.len());
        let text: String = PROVIDER.iter().map(|setting| format!("{} = {}\n", setting.key, setting.default)).collect();
        let provider: Provider = toml::from_str(&text).unwrap();
        assert_eq!(format!("{provider:?}").matches(": ").count(), PROVIDER.len());
        provider.check("anna").unwrap();
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, fine) in [
            ("domains = [\"example.org\"]\nmx = \"0.0.0.0:25\"", true),
            ("mx = \"0.0.0.0:25\"", false),
            ("domains = [\"Example\"]", false),
            ("dns = [\"127.0.0.1\"]", false),
            ("https = \"127.0.0.1\"", false),
            ("domains = [\"a.b\"]\nautoconfig = true", false),
            ("domains = [\"a.b\"]\nautoconfig = true\nhttps = \"0.0.0.0:443\"", true),
            ("domains = [\"a.b\"]\nhttps = \"0.0.0.0:443\"\nsts = \"enforce\"", false),
            ("domains = [\"a.b\"]\nmx = \"0.0.0.0:25\"\nhttps = \"0.0.0.0:443\"\nsts = \"enforce\"", true),
            ("sts_seconds = 0", false),
            ("domains = [\"a.b\"]\n[gateway.acme]\nterms_agreed = true", false),
            ("domains = [\"a.b\"]\nhttp = \"0.0.0.0:80\"\n[gateway.acme]\nterms_agreed = true\ncontact = \"x@a.b\"", true),
            ("http = \"0.0.0.0:80\"\n[gateway.acme]\nterms_agreed = true", false),
            ("[gateway.acme]\ndirectory = \"http://ca.test/dir\"", false),
            ("[gateway.acme]\ncontact = \"mailto:x\"", false),
            ("expiry_seconds = 0", false),
            ("[gateway.provider.anna]\naddress = \"anna@gmail.com\"\nsmtp = \"smtp.gmail.com:587\"", true),
            ("[gateway.provider.anna]\naddress = \"anna\"", false),
            ("[gateway.provider.anna]\naddress = \"a@b.c\"\nsmtp = \"b.c\"", false),
            ("[gateway.provider.anna]\naddress = \"a@b.c\"\nsmtp = \"b.c:25\"\nsmtp_tls = \"none\"", false),
            ("[gateway.provider.anna]\naddress = \"a@b.c\"\npassword_file = \"x\"\ntoken_command = [\"y\"]", false),
        ] {
            let config: Config = toml::from_str(&format!("[gateway]\n{text}\n")).unwrap();
            assert_eq!(config.check().is_ok(), fine, "{text}");
        }
    }
}
