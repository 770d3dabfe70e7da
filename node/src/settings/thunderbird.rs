//! Thunderbird's `config-v1.1.xml`: one file for everybody at `kith.alt`, since the program fills in who it is. It lies in the program's folder
//! `isp` as `kith.alt.xml`, or is fetched from `/.well-known/autoconfig/mail/`.

use super::{Place, Protocol, Security, Server, Settings, xml};

/// The file, for programs at this place; those of the other place come after, to be tried last.
pub fn config(settings: &Settings, place: Place) -> String {
    let other = match place {
        Place::Here => Place::Home,
        Place::Home => Place::Here,
    };
    let protocols = [Protocol::Imap, Protocol::Pop3, Protocol::Smtp].into_iter();
    let servers = protocols.flat_map(|protocol| [place, other].map(|place| settings.server(protocol, place)));
    whole("kith.alt", servers.flatten())
}

/// The file for people with addresses in a domain of this node: these servers. An address that leads to an account is a name to log in with, so
/// that nobody has to be told here whose an address is.
pub fn config_for(domain: &str, servers: &[Server]) -> String {
    whole(domain, servers.iter())
}

fn whole<'a>(domain: &str, servers: impl Iterator<Item = &'a Server>) -> String {
    let domain = xml(domain);
    let elements: String = servers.map(element).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<clientConfig version=\"1.1\">\n  <emailProvider id=\"{domain}\">\n    <domain>{domain}</domain>\n    <displayName>Kith</displayName>\n    <displayShortName>Kith</displayShortName>\n{elements}  </emailProvider>\n</clientConfig>\n"
    )
}

fn element(server: &Server) -> String {
    let (element, kind) = match server.protocol {
        Protocol::Imap => ("incomingServer", "imap"),
        Protocol::Pop3 => ("incomingServer", "pop3"),
        Protocol::Smtp => ("outgoingServer", "smtp"),
    };
    let security = match server.security {
        Security::None => "plain",
        Security::Starttls => "STARTTLS",
        Security::Tls => "SSL",
    };
    format!(
        "    <{element} type=\"{kind}\">\n      <hostname>{}</hostname>\n      <port>{}</port>\n      <socketType>{security}</socketType>\n      <authentication>password-cleartext</authentication>\n      <username>%EMAILADDRESS%</username>\n    </{element}>\n",
        xml(&server.host),
        server.port
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{BOTH, settings};
    use super::*;

    #[test]
    fn the_file_names_every_server_those_of_the_place_first() {
        let here = config(&settings(&BOTH), Place::Here);
        assert_eq!((here.matches("<incomingServer").count(), here.matches("<outgoingServer").count()), (4, 2));
        let at = |text: &str, what: &str| text.find(what).unwrap();
        assert!(
            at(&here, "<hostname>127.0.0.1</hostname>\n      <port>1143</port>\n      <socketType>plain")
                < at(&here, "<port>1993<")
        );
        let home = config(&settings(&BOTH), Place::Home);
        assert!(
            at(&home, "<hostname>kith-attic.local</hostname>\n      <port>1993</port>\n      <socketType>SSL")
                < at(&home, "<port>1143<")
        );
    }
}
