//! The section `[gateway.acme]` of `kith.toml`: certificates that the world believes.

use serde::Deserialize;

use super::{ConfigError, GatewayConfig, Setting};

/// Every key of the section.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        key: "terms_agreed",
        default: "false",
        meaning: "true: get certificates for this node's names from the authority below, and yes, I agree to its terms of service (letsencrypt.org/repository).",
    },
    Setting {
        key: "contact",
        default: r#""""#,
        meaning: "Where the authority writes when something is wrong with a certificate: \"anna@example.org\"; \"\" for nowhere.",
    },
    Setting {
        key: "directory",
        default: r#""https://acme-v02.api.letsencrypt.org/directory""#,
        meaning: "The authority (ACME): Let's Encrypt, or another one.",
    },
    Setting {
        key: "trust",
        default: r#""""#,
        meaning: "A file with roots to believe this authority by (PEM), where it is a private one; kith gateway check believes them too.",
    },
];

/// The most domains that certificates are got for.
const DOMAINS_MAX: usize = 100;

/// The section.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the table above says it")]
pub struct AcmeConfig {
    pub terms_agreed: bool,
    pub contact: String,
    pub directory: String,
    pub trust: String,
}

impl Default for AcmeConfig {
    fn default() -> Self {
        Self {
            terms_agreed: false,
            contact: String::new(),
            directory: kith_gateway::acme::LETS_ENCRYPT.into(),
            trust: String::new(),
        }
    }
}

impl AcmeConfig {
    /// Checks what types cannot.
    pub(super) fn check(&self, gateway: &GatewayConfig) -> Result<(), ConfigError> {
        let wrong = |key: &'static str, message: String| Err(ConfigError::Value { key, message });
        let host = self.directory.strip_prefix("https://").map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
        if !host.is_some_and(|host| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic())) {
            return wrong("gateway.acme.directory", format!("`{}` does not begin with https:// and a host", self.directory));
        }
        let email =
            self.contact.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && super::gateway::is_domain(domain));
        if !self.contact.is_empty() && (!email || !self.contact.bytes().all(|byte| byte.is_ascii_graphic())) {
            return wrong("gateway.acme.contact", format!("`{}` is not an ordinary mail address", self.contact));
        }
        if !self.terms_agreed {
            return Ok(());
        }
        if gateway.https == "off" && gateway.http == "off" {
            let why = "needs gateway.https or gateway.http: by one of them the authority sees that the names lead here";
            return wrong("gateway.acme.terms_agreed", why.into());
        }
        if gateway.domains.is_empty() || gateway.domains.len() > DOMAINS_MAX {
            return wrong("gateway.acme.terms_agreed", format!("needs gateway.domains, 1 to {DOMAINS_MAX}"));
        }
        Ok(())
    }
}
