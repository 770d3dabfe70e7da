//! What to type, in words, for each program: only what is true for the node as it runs.

use super::{Place, Protocol, Security, Server, Settings};

/// The programs that there are words for; also what they are called at the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Program {
    /// Thunderbird on a computer, and what is made of it.
    Thunderbird,
    /// Apple's Mail, on a computer or a phone.
    AppleMail,
    /// Microsoft's Outlook.
    Outlook,
    /// Thunderbird for Android, which was K-9 Mail.
    K9,
    /// mutt and neomutt.
    Mutt,
    /// msmtp.
    Msmtp,
    /// mbsync.
    Mbsync,
    /// Whatever asks for servers and ports.
    Other,
}

impl Program {
    /// Where the program most likely runs.
    pub fn place(self, settings: &Settings) -> Place {
        match self {
            Self::K9 => Place::Home,
            Self::AppleMail | Self::Outlook if settings.is_at_home() => Place::Home,
            Self::AppleMail | Self::Outlook | Self::Thunderbird | Self::Mutt | Self::Msmtp | Self::Mbsync | Self::Other => {
                Place::Here
            }
        }
    }
}

const NOT_AT_HOME: &str = "Other machines cannot reach this node yet: set `lan = true` in kith.toml and start it again.\n";
const NOTHING: &str = "The ports that this needs are switched off in kith.toml.\n";

/// What to type into a program at that place.
pub fn words(program: Program, settings: &Settings, place: Place) -> String {
    if place == Place::Home && !settings.is_at_home() {
        return NOT_AT_HOME.to_owned();
    }
    let imap = settings.server(Protocol::Imap, place);
    let pop3 = settings.server(Protocol::Pop3, place);
    let Some(smtp) = settings.server(Protocol::Smtp, place) else { return NOTHING.to_owned() };
    let Some(incoming) = imap.or(pop3) else { return NOTHING.to_owned() };
    let table = table(settings, incoming, smtp);
    let trust = trust(settings, place);
    match program {
        Program::Thunderbird => format!(
            "New Account > Existing Mail. Name: yours. Email address: {}. Password: this program's.\nConfigure manually, then:\n{table}Re-test, Done.\n{trust}Or by itself: kith settings --thunderbird kith.alt.xml, and put the file into Thunderbird's folder isp\n(on Debian /usr/lib/thunderbird/isp); then the address and the password are all there is to type.\n",
            settings.email
        ),
        Program::AppleMail => format!(
            "kith settings --apple kith.mobileconfig, bring the file to the device (AirDrop, a memory stick), open it there, and install it under\nSettings > Profile Downloaded (on a Mac: System Settings > Device Management). It asks for the password.\nIt also has the node's certificate authority: on a phone switch it on under General > About > Certificate Trust Settings.\nBy hand: Mail > Add Account > Other.\n{table}{trust}"
        ),
        Program::Outlook => format!(
            "The new Outlook fetches mail through Microsoft's servers, which cannot reach a machine at home. The classic one can:\nFile > Account Settings > Manual setup > POP or IMAP.\n{table}{trust}"
        ),
        Program::K9 => format!(
            "Thunderbird for Android (K-9 Mail): Add account. Email address: {}. Edit configuration:\n{table}{trust}",
            settings.email
        ),
        Program::Mutt => mutt(settings, incoming, smtp),
        Program::Msmtp => msmtp(settings, smtp),
        Program::Mbsync => match imap {
            Some(imap) => mbsync(settings, imap),
            None => NOTHING.to_owned(),
        },
        Program::Other => {
            let other = match (imap, pop3) {
                (Some(_), Some(pop3)) => format!("  or POP3        {}\n", row(pop3)),
                _ => String::new(),
            };
            format!("{table}{other}{trust}")
        }
    }
}

fn row(server: &Server) -> String {
    let security = match server.security {
        Security::None => "no encryption (it does not leave the machine)",
        Security::Starttls => "STARTTLS",
        Security::Tls => "SSL/TLS",
    };
    let or = if server.address.is_empty() { String::new() } else { format!(" (or {})", server.address) };
    format!("{}{or}  port {}  {security}", server.host, server.port)
}

fn table(settings: &Settings, incoming: &Server, smtp: &Server) -> String {
    let kind = if incoming.protocol == Protocol::Imap { "IMAP" } else { "POP3" };
    format!(
        "  Email address  {}\n  User name      {}\n  Incoming {kind}  {}\n  Outgoing SMTP  {}\n  Authentication Normal password, the same for both\n",
        settings.email,
        settings.name,
        row(incoming),
        row(smtp)
    )
}

fn trust(settings: &Settings, place: Place) -> String {
    if place == Place::Here || settings.fingerprint.is_empty() {
        return String::new();
    }
    format!(
        "The certificate is from the node's own authority (the file tls/authority.crt in its home). Where a program asks, compare its SHA-256:\n  {}\n",
        settings.fingerprint
    )
}

/// Where a program finds the authority, for one that has to be told.
const AUTHORITY_FILE: &str = "/path/to/kith/tls/authority.crt";

fn mutt(settings: &Settings, incoming: &Server, smtp: &Server) -> String {
    let scheme =
        |server: &Server, name: &str| if server.security == Security::Tls { format!("{name}s") } else { name.to_owned() };
    let kind = if incoming.protocol == Protocol::Imap { "imap" } else { "pop" };
    let mut text = format!(
        "# muttrc\nset from = \"{}\"\nset folder = \"{}://{}@{}:{}/\"\nset spoolfile = \"+INBOX\"\nset smtp_url = \"{}://{}@{}:{}/\"\nset smtp_authenticators = \"plain\"\n",
        settings.email,
        scheme(incoming, kind),
        settings.name,
        incoming.host,
        incoming.port,
        scheme(smtp, "smtp"),
        settings.name,
        smtp.host,
        smtp.port
    );
    match incoming.security {
        Security::None => text.push_str("set ssl_starttls = no\nset ssl_force_tls = no\n"),
        Security::Starttls | Security::Tls => {
            text.push_str(&format!("set ssl_force_tls = yes\nset certificate_file = \"{AUTHORITY_FILE}\"\n"));
        }
    }
    text.push_str("# on the node's own machine mail can also leave by: set sendmail = \"kith sendmail\"\n");
    text
}

fn msmtp(settings: &Settings, smtp: &Server) -> String {
    let tls = match smtp.security {
        Security::None => "tls off".to_owned(),
        Security::Starttls => format!("tls on\ntls_starttls on\ntls_trust_file {AUTHORITY_FILE}"),
        Security::Tls => format!("tls on\ntls_starttls off\ntls_trust_file {AUTHORITY_FILE}"),
    };
    format!(
        "# msmtprc (chmod 600)\naccount kith\nhost {}\nport {}\nauth plain\nuser {}\nfrom {}\n{tls}\npasswordeval cat ~/.kith-password\naccount default : kith\n",
        smtp.host, smtp.port, settings.name, settings.email
    )
}

fn mbsync(settings: &Settings, imap: &Server) -> String {
    let tls = match imap.security {
        Security::None => "SSLType None".to_owned(),
        Security::Starttls => format!("SSLType STARTTLS\nCertificateFile {AUTHORITY_FILE}"),
        Security::Tls => format!("SSLType IMAPS\nCertificateFile {AUTHORITY_FILE}"),
    };
    format!(
        "# mbsyncrc (chmod 600)\nIMAPAccount kith\nHost {}\nPort {}\nUser {}\nPassCmd \"cat ~/.kith-password\"\n{tls}\nAuthMechs PLAIN\n\nIMAPStore kith-far\nAccount kith\n\nMaildirStore kith-near\nPath ~/Mail/\nInbox ~/Mail/INBOX\nSubFolders Verbatim\n\nChannel kith\nFar :kith-far:\nNear :kith-near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n",
        imap.host, imap.port, settings.name
    )
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::super::tests::{BOTH, settings};
    use super::*;

    #[test]
    fn every_program_is_told_what_is_true_for_it() {
        let settings = settings(&BOTH);
        for &program in Program::value_variants() {
            let here = words(program, &settings, Place::Here);
            let home = words(program, &settings, Place::Home);
            assert!(here.contains("127.0.0.1") && !here.contains("1993"), "{here}");
            assert!(home.contains("kith-attic.local") && !home.contains("1143"), "{home}");
        }
        assert!(words(Program::Thunderbird, &settings, Place::Home).contains("AB:CD"));
        assert!(words(Program::Msmtp, &settings, Place::Home).contains("tls_starttls off"));
        assert!(words(Program::Other, &settings, Place::Here).contains("or POP3"));
        assert_eq!(Program::AppleMail.place(&settings), Place::Home);
        let alone = super::super::tests::settings(&BOTH[..3]);
        assert!(words(Program::K9, &alone, Program::K9.place(&alone)).contains("lan = true"));
        let off = super::super::tests::settings(&BOTH[..1]);
        assert_eq!(words(Program::Mutt, &off, Place::Here), NOTHING);
    }
}
