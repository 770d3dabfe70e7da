//! Logging in at a smarthost: each mechanism, and what wrong credentials lead to.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kith_gateway::outbound::Hop;
use kith_gateway::outbound::fate::{Fate, HopState, Phase, Protection, Why};
use kith_gateway::outbound::mail::Mail;
use kith_gateway::outbound::smarthost::{Security, Smarthost};
use kith_gateway::outbound::trust::Roots;
use kith_gateway::secret::SecretSource;

use crate::fates::smarthost;
use crate::support::host::{Conduct, Do, Host, Tls, conduct, say};
use crate::support::{Authority, address, mail, no_dns, sender, settings};

const PASSWORD: &str = "pass wörd=";

/// A host of 127.0.0.1 with a certificate, and the settings for it.
async fn host(offers: &[&str], conduct: Conduct, authority: &Authority, security: Security) -> (Host, Smarthost) {
    let config = authority.issue(&["127.0.0.1"]).server;
    let tls = if security == Security::Tls { Tls::First(config) } else { Tls::Offered(config) };
    let host = Host::start(offers, tls, conduct).await;
    let password = SecretSource::Command(vec!["printf".into(), "%s\\n".into(), PASSWORD.into()]);
    let settings = Smarthost { security, user: Some("anna".into()), password: Some(password), ..smarthost(&host) };
    (host, settings.checked().unwrap())
}

fn login(answers: &'static [(&'static str, &'static str)]) -> Conduct {
    conduct(move |_, line| {
        answers
            .iter()
            .find(|(said, _)| line == *said || line.starts_with(said) && said.ends_with(' '))
            .and_then(|(_, answer)| say(answer))
    })
}

#[tokio::test]
async fn plain_is_said_once_on_a_safe_connection_that_serves_several_mails() {
    for security in [Security::Tls, Security::Starttls] {
        let authority = Authority::new();
        let (host, hop) = host(&["AUTH LOGIN PLAIN", "PIPELINING"], conduct(|_, _| None), &authority, security).await;
        let outbound = sender(settings(), &no_dns(), authority.roots());
        for _ in 0..3 {
            let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
            assert!(matches!(&outcome.fates[..], [Fate::Delivered { protection: Protection::Named, .. }]), "{outcome:?}");
        }
        let said = format!("AUTH PLAIN {}", STANDARD.encode(format!("\0anna\0{PASSWORD}")));
        assert_eq!((host.heard(&said), host.log().connections.len(), host.log().mails.len()), (1, 1, 3), "{:?}", host.log());
    }
}

#[tokio::test]
async fn login_is_spoken_whatever_the_prompts() {
    let authority = Authority::new();
    let user = STANDARD.encode("anna");
    let (user, password): (&'static str, &'static str) = (user.leak(), STANDARD.encode(PASSWORD).leak());
    let prompts = conduct(move |_, line| match line {
        "AUTH LOGIN" => say("334 TmFtZT8="),
        line if line == user => say("334"),
        line if line == password => say("235 2.7.0 in"),
        _ => None,
    });
    let (host, hop) = host(&["AUTH LOGIN"], prompts, &authority, Security::Tls).await;
    let outbound = sender(settings(), &no_dns(), authority.roots());
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
    assert!(matches!(outcome.fates[..], [Fate::Delivered { .. }]), "{outcome:?} {:?}", host.log());
}

#[tokio::test]
async fn a_token_is_shown_by_xoauth2_and_a_refused_one_is_told_in_the_servers_words() {
    let authority = Authority::new();
    let token = |token: &str| Some(SecretSource::Shell(format!("echo {token}")));
    let good = STANDARD.encode("user=anna\x01auth=Bearer t0ken\x01\x01");
    let tokens = conduct(move |_, line| match line.strip_prefix("AUTH XOAUTH2 ") {
        Some(proof) if proof == good => say("235 2.7.0 in"),
        Some(_) => say("334 eyJzdGF0dXMiOiI0MDAifQ=="),
        None if line.is_empty() => say("535-5.7.8 token expired\r\n535 5.7.8 get another"),
        None => None,
    });
    let (_, hop) = host(&["AUTH XOAUTH2 PLAIN"], tokens, &authority, Security::Tls).await;
    let outbound = sender(settings(), &no_dns(), authority.roots());
    let right = Smarthost { password: None, token: token("t0ken"), ..hop.clone() };
    let outcome = outbound.send(Hop::Smarthost(&right), &mail(&["b@far.test"])).await;
    assert!(matches!(outcome.fates[..], [Fate::Delivered { .. }]), "{outcome:?}");
    let old = Smarthost { password: None, token: token("old"), ..hop };
    let outcome = outbound.send(Hop::Smarthost(&old), &mail(&["b@far.test"])).await;
    assert!(matches!(outcome.hop, HopState::CredentialsRefused { .. }), "{outcome:?}");
    assert!(matches!(&outcome.fates[..], [Fate::Later(trouble)] if trouble.to_string().contains("token expired")), "{outcome:?}");
}

#[tokio::test]
async fn wrong_credentials_are_tried_once_until_somebody_acts() {
    let authority = Authority::new();
    let (host, hop) = host(&["AUTH PLAIN"], login(&[("AUTH PLAIN ", "535 5.7.8 wrong")]), &authority, Security::Tls).await;
    let outbound = sender(settings(), &no_dns(), authority.roots());
    for attempt in 0..3 {
        let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
        assert!(
            matches!(outcome.hop, HopState::CredentialsRefused { wait } if wait > Duration::from_secs(3_600)),
            "{attempt}: {outcome:?}"
        );
        assert!(matches!(&outcome.fates[..], [Fate::Later(trouble)] if trouble.why == Why::Credentials));
        assert!(!format!("{outcome:?}").contains(PASSWORD));
    }
    assert_eq!(host.heard("AUTH"), 1);
    let changed = Smarthost { user: Some("bob".into()), ..hop.clone() };
    outbound.send(Hop::Smarthost(&changed), &mail(&["b@far.test"])).await;
    assert_eq!(host.heard("AUTH"), 2, "changed settings are tried at once");
    outbound.forgive(Hop::Smarthost(&hop));
    outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
    assert_eq!(host.heard("AUTH"), 3, "so is what a person asks for");
    assert_eq!(host.heard("MAIL"), 0);
}

#[tokio::test]
async fn a_server_that_cannot_check_for_now_is_no_wrong_password() {
    let authority = Authority::new();
    let (_, hop) = host(&["AUTH PLAIN"], login(&[("AUTH PLAIN ", "454 4.7.0 database away")]), &authority, Security::Tls).await;
    let outbound = sender(settings(), &no_dns(), authority.roots());
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
    assert_eq!(outcome.hop, HopState::Trouble);
    assert!(matches!(&outcome.fates[..], [Fate::Later(trouble)] if trouble.why == Why::Refused));
}

#[tokio::test]
async fn a_server_without_our_mechanism_or_a_missing_password_says_so() {
    let authority = Authority::new();
    let (server, hop) = host(&["AUTH CRAM-MD5"], conduct(|_, _| None), &authority, Security::Tls).await;
    let outbound = sender(settings(), &no_dns(), authority.roots());
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
    assert!(matches!(outcome.hop, HopState::CredentialsRefused { .. }));
    let forgetful = Smarthost { password: Some(SecretSource::Shell("exit 1".into())), ..hop };
    let outcome = outbound.send(Hop::Smarthost(&forgetful), &mail(&["b@far.test"])).await;
    assert!(matches!(&outcome.fates[..], [Fate::Later(trouble)] if matches!(trouble.why, Why::NoSecret(_))), "{outcome:?}");
    assert_eq!(server.log().connections.len(), 1, "without a password nobody is bothered");
}

#[tokio::test]
async fn the_password_is_never_said_to_the_wrong_host_or_in_clear() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (server, hop) = host(&["AUTH PLAIN"], conduct(|_, _| None), &authority, Security::Starttls).await;
    for roots in [other.roots(), Roots::web()] {
        let outcome = sender(settings(), &no_dns(), roots).send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
        assert!(matches!(&outcome.fates[..], [Fate::Later(trouble)] if matches!(trouble.why, Why::Tls(_))), "{outcome:?}");
    }
    assert_eq!(server.heard("AUTH"), 0);
    let bare = Host::start(&["AUTH PLAIN"], Tls::No, conduct(|_, _| None)).await;
    let hop = Smarthost { port: Some(bare.address.port()), ..hop };
    let outcome = sender(settings(), &no_dns(), authority.roots()).send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
    assert!(matches!(&outcome.fates[..], [Fate::Later(trouble)] if trouble.why == Why::NoTls), "{outcome:?}");
    assert_eq!((bare.heard("AUTH"), bare.heard("MAIL")), (0, 0));
}

#[tokio::test]
async fn words_put_into_the_hosts_mouth_before_tls_end_the_conversation() {
    let authority = Authority::new();
    let injected =
        conduct(|_, line| (line == "STARTTLS").then(|| Do::Raw(b"220 go\r\n250-far.test\r\n250 AUTH PLAIN\r\n".to_vec())));
    let (server, hop) = host(&["AUTH PLAIN"], injected, &authority, Security::Starttls).await;
    let outcome = sender(settings(), &no_dns(), authority.roots()).send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
    assert!(matches!(&outcome.fates[..], [Fate::Later(trouble)] if trouble.why == Why::Nonsense(Phase::Tls)), "{outcome:?}");
    assert_eq!(server.heard("AUTH"), 0);
}

#[tokio::test]
async fn a_login_that_ended_while_the_connection_waited_is_made_again() {
    let authority = Authority::new();
    let expired = conduct(|number, line| {
        if number == 0 && line == "RSET" {
            None
        } else if line.starts_with("MAIL FROM:<late") && number == 0 {
            say("530 5.7.0 log in first")
        } else {
            None
        }
    });
    let (server, hop) = host(&["AUTH PLAIN", "PIPELINING"], expired, &authority, Security::Tls).await;
    let outbound = sender(settings(), &no_dns(), authority.roots());
    outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
    let late = Mail { sender: Some(address("late@home.test")), ..mail(&["b@far.test"]) };
    let outcome = outbound.send(Hop::Smarthost(&hop), &late).await;
    assert!(matches!(outcome.fates[..], [Fate::Delivered { .. }]), "{outcome:?}");
    assert_eq!((server.heard("AUTH"), server.log().connections.len()), (2, 2));
}

#[tokio::test]
async fn a_server_that_wants_a_login_that_is_not_set_says_so_and_no_mail_fails() {
    let host =
        Host::start(&[], Tls::No, conduct(|_, line| if line.starts_with("MAIL") { say("530 5.7.0 log in first") } else { None }))
            .await;
    let (outbound, hop) = (sender(settings(), &no_dns(), Roots::web()), smarthost(&host));
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
    assert!(matches!(outcome.hop, HopState::CredentialsRefused { .. }), "{outcome:?}");
    assert!(matches!(&outcome.fates[..], [Fate::Later(trouble)] if trouble.why == Why::Credentials), "{outcome:?}");
}

#[test]
fn settings_never_show_what_a_person_wrote_for_a_password() {
    let hop = Smarthost {
        host: "smtp.test".into(),
        port: None,
        security: Security::Tls,
        user: Some("anna".into()),
        password: Some(SecretSource::Shell("echo geheim".into())),
        token: None,
        allow_clear: false,
        mails_per_minute: None,
    };
    assert!(!format!("{hop:?}").contains("geheim"));
}
