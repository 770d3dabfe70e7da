//! Apple's configuration profile (`.mobileconfig`): the account, and the node's authority to be trusted. Without a password: the device asks.

use super::{Place, Protocol, Security, Server, Settings, xml};

/// The profile for programs at this place; `None` where nothing can be reached from there, or the node has no certificate yet.
pub fn profile(settings: &Settings, place: Place) -> Option<String> {
    let outgoing = settings.server(Protocol::Smtp, place)?;
    let (kind, incoming) = match settings.server(Protocol::Imap, place) {
        Some(server) => ("EmailTypeIMAP", server),
        None => ("EmailTypePOP", settings.server(Protocol::Pop3, place)?),
    };
    let certificate: String = settings.authority.lines().filter(|line| !line.starts_with("-----")).collect();
    if certificate.is_empty() {
        return None;
    }
    let who = xml(&settings.name);
    let account = [
        string("PayloadType", "com.apple.mail.managed"),
        payload(settings, &format!("mail.{}", settings.name), &format!("Mail of {}", settings.name)),
        string("EmailAccountType", kind),
        string("EmailAccountDescription", "Kith"),
        string("EmailAccountName", &settings.name),
        string("EmailAddress", &settings.email),
        server("IncomingMailServer", incoming, &settings.name),
        server("OutgoingMailServer", outgoing, &settings.name),
        "<key>OutgoingPasswordSameAsIncomingPassword</key><true/>".to_owned(),
    ];
    let authority = [
        string("PayloadType", "com.apple.security.root"),
        payload(settings, "authority", "The authority of this Kith node"),
        format!("<key>PayloadContent</key><data>{certificate}</data>"),
    ];
    Some(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\"><dict>\n{}\n{}\n{}\n<key>PayloadContent</key><array>\n<dict>\n{}\n</dict>\n<dict>\n{}\n</dict>\n</array>\n</dict></plist>\n",
        string("PayloadType", "Configuration"),
        payload(settings, &format!("profile.{}", settings.name), &format!("Kith: {who}")),
        string("PayloadDescription", "Mail over your own Kith node, and the certificate that it shows."),
        authority.join("\n"),
        account.join("\n"),
    ))
}

fn string(key: &str, value: &str) -> String {
    format!("<key>{key}</key><string>{}</string>", xml(value))
}

/// What every payload has. Its names are the same each time, so that a newer profile takes the place of an older one.
fn payload(settings: &Settings, what: &str, shown: &str) -> String {
    [
        string("PayloadIdentifier", &format!("alt.kith.{}.{what}", mark(settings))),
        string("PayloadUUID", &uuid(settings, what)),
        string("PayloadDisplayName", shown),
        "<key>PayloadVersion</key><integer>1</integer>".to_owned(),
    ]
    .join("\n")
}

/// The node's own, so that two nodes' profiles do not replace each other.
fn mark(settings: &Settings) -> String {
    settings.fingerprint.chars().filter(char::is_ascii_hexdigit).take(8).collect::<String>().to_lowercase()
}

/// RFC 9562 §5.8, from the authority's fingerprint and what it names.
fn uuid(settings: &Settings, what: &str) -> String {
    let hash = blake3::hash(format!("kith profile\0{}\0{what}", settings.fingerprint).as_bytes());
    let mut hex: Vec<char> = hash.to_hex().chars().take(32).collect();
    for (at, fixed) in [(12, '8'), (16, 'a')] {
        if let Some(digit) = hex.get_mut(at) {
            *digit = fixed;
        }
    }
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().iter().collect::<String>();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)).to_uppercase()
}

fn server(prefix: &str, server: &Server, name: &str) -> String {
    let encrypted = if server.security == Security::None { "<false/>" } else { "<true/>" };
    [
        string(&format!("{prefix}Authentication"), "EmailAuthPassword"),
        string(&format!("{prefix}HostName"), &server.host),
        format!("<key>{prefix}PortNumber</key><integer>{}</integer>", server.port),
        format!("<key>{prefix}UseSSL</key>{encrypted}"),
        string(&format!("{prefix}Username"), name),
    ]
    .join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{BOTH, settings};
    use super::*;

    #[test]
    fn the_profile_has_the_account_and_the_authority_and_no_password() {
        let settings = settings(&BOTH);
        let profile = profile(&settings, Place::Home).unwrap();
        for wanted in [
            "<data>QUJDREVG</data>",
            "<key>IncomingMailServerHostName</key><string>kith-attic.local</string>",
            "<key>IncomingMailServerPortNumber</key><integer>1993</integer>\n<key>IncomingMailServerUseSSL</key><true/>",
            "<key>OutgoingMailServerPortNumber</key><integer>1465</integer>",
            "<string>EmailTypeIMAP</string>",
            "<string>anna@kith.alt</string>",
        ] {
            assert!(profile.contains(wanted), "{wanted}: {profile}");
        }
        assert!(!profile.contains("<key>IncomingPassword"));
        assert_eq!(profile, super::profile(&settings, Place::Home).unwrap(), "the same each time");
        let uuids: std::collections::BTreeSet<&str> =
            profile.split("<key>PayloadUUID</key><string>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
        assert_eq!(uuids.len(), 3);
        assert!(uuids.iter().all(|uuid| uuid.len() == 36));
        assert!(super::profile(&settings_here(), Place::Home).is_none());
    }

    fn settings_here() -> Settings {
        settings(&BOTH[..3])
    }
}
