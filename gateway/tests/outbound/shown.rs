//! What a real Postfix shows when TLS begins, as the check of a domain sees it.

use kith_gateway::check::shown::Dane;
use kith_gateway::check::{Answer, Live, Lookup};
use kith_gateway::inbound::verify;
use kith_gateway::outbound::trust::Roots;

use crate::ports::free_port;
use crate::postfix::Postfix;
use crate::support::dns::Names;

fn live(names: &Names, roots: Roots) -> Live {
    Live::new(verify::resolver(&[names.address]).unwrap(), "check.test").believing(roots).checking(names.dns.clone())
}

#[tokio::test]
async fn the_certificate_that_a_mail_host_shows_is_judged_as_senders_judge_it() {
    let Some(postfix) = Postfix::start("") else { return };
    let (port, digest) = (postfix.port, postfix.digest.clone());
    // `far` is signed, `test` is not.
    let signed = format!(
        "far. 60 IN MX 10 mx.far.\nmx.far. 60 IN A 127.0.0.1\n_{port}._tcp.mx.far. 60 IN TLSA 3 1 1 {digest}\n\
         other. 60 IN MX 10 mx.other.\nmx.other. 60 IN A 127.0.0.1\n_{port}._tcp.mx.other. 60 IN TLSA 3 1 1 {}\n\
         odd. 60 IN MX 10 mx.odd.\nmx.odd. 60 IN A 127.0.0.1\n_{port}._tcp.mx.odd. 60 IN TLSA 1 0 1 {digest}",
        "ab".repeat(32)
    );
    let clear = format!(
        "far.test. 60 IN MX 10 mx.far.test.\nmx.far.test. 60 IN A 127.0.0.1\nbare.test. 60 IN MX 10 mx.bare.test.\nmx.bare.test. 60 IN A 127.0.0.1\n\
         _{port}._tcp.mx.far.test. 60 IN TLSA 3 1 1 {digest}"
    );
    let names = Names::start(&signed, &clear).await;
    let look = async |domain: &str, roots: Roots| {
        let answer = live(&names, roots).shown(domain, &format!("mx.{domain}"), port).await;
        let Answer::Found(shown) = answer else { panic!("{domain}: {answer:?}\n{}", postfix.log()) };
        shown
    };
    let good = look("far.test", postfix.authority.roots()).await;
    assert_eq!((&good.doubt, &good.dane, &good.names[0][..]), (&None, &Dane::Unsigned, "mx.far.test"), "{good:?}");
    let stranger = look("far.test", Roots::web()).await;
    assert!(stranger.doubt.as_ref().is_some_and(|doubt| doubt.contains("no authority")), "{stranger:?}");
    let unnamed = look("far", postfix.authority.roots()).await;
    assert!(unnamed.doubt.as_ref().is_some_and(|doubt| doubt.contains("and not for mx.far")), "{unnamed:?}");
    assert_eq!(unnamed.dane, Dane::Fits, "the key alone counts");
    for domain in ["other", "odd"] {
        let shown = look(domain, postfix.authority.roots()).await;
        assert!(matches!(shown.dane, Dane::Differs(_)), "{domain}: {shown:?}");
    }
    assert_eq!(look("bare.test", postfix.authority.roots()).await.dane, Dane::Silent);
}

#[tokio::test]
async fn a_mail_host_without_tls_is_told_from_one_that_is_not_there() {
    let Some(postfix) = Postfix::start("smtpd_tls_security_level = none\n") else { return };
    let names = Names::start("", "mx.far.test. 60 IN A 127.0.0.1").await;
    let live = live(&names, Roots::web());
    assert_eq!(live.shown("far.test", "mx.far.test", postfix.port).await, Answer::Nothing, "{}", postfix.log());
    let away = live.shown("far.test", "mx.far.test", free_port()).await;
    assert!(matches!(&away, Answer::Later(why) if why.contains("refused")), "{away:?}");
    let nowhere = live.shown("far.test", "mx.nowhere.test", postfix.port).await;
    assert!(matches!(&nowhere, Answer::Later(why) if why.contains("no address")), "{nowhere:?}");
}
