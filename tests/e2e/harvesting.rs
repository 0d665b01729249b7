//! Learning how to encrypt to partners from what they sign.

use crate::support::client::send;
use crate::support::pki::{DODI, HANA, LILIS, RATNA, RATNA_ELSEWHERE, SITI, WATI};
use crate::support::{Gateway, Mail, Pki, Setup, Sink, fields, letter};
use std::time::Duration;

struct Site {
    inside: Sink,
    outside: Sink,
    gateway: Gateway,
}

fn site() -> Site {
    let pki = Pki::with_mailboxes();
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut setup = Setup::new(inside.address, outside.address);
    setup.crls = setup.crls.replace(']', &format!(", \"{}\"]", pki.path("second-crl.der")));
    Site { gateway: setup.start(), inside, outside }
}

impl Site {
    /// A mail signed by the holder of `signer`'s key, as `from`, arrives.
    fn take(&self, id: &str, from: &str, signer: &str) -> Mail {
        let signed = Pki::shared().sign(&letter(from, SITI, id, "Nilai: 100.000."), signer);
        self.take_as_it_is(id, from, &signed)
    }

    fn take_as_it_is(&self, id: &str, from: &str, mail: &[u8]) -> Mail {
        let reply = send(self.gateway.outside, from, &[SITI], mail);
        assert!(reply.starts_with("250"), "{id}: {reply}");
        self.inside.find(id)
    }

    /// Siti writes back.
    fn answer(&self, to: &str, id: &str) -> Mail {
        let reply = send(self.gateway.inside, SITI, &[to], &letter(SITI, to, id, "Rahasia."));
        assert!(reply.starts_with("250"), "{id}: {reply}");
        self.outside.find(id)
    }
}

/// Learning happens beside the message path.
fn wait_for_certificate(gateway: &Gateway, address: &str) -> serde_json::Value {
    for _ in 0..300 {
        if let Some(row) = gateway.certificates(address).into_iter().next() {
            return row;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    panic!("nothing was learned of {address}: {:#?}", gateway.log());
}

fn is_encrypted_to(mail: &Mail, name: &str) -> bool {
    let pki = Pki::shared();
    fields(&mail.content, "content-type").join(" ").contains("pkcs7-mime")
        && pki.recipients(&mail.content) == [pki.serial(name)]
        && pki.decrypt(&mail.content, name).is_ok_and(|inside| String::from_utf8_lossy(&inside).contains("Rahasia."))
}

fn is_clear(mail: &Mail) -> bool {
    Pki::shared().verify(&mail.content, &[]) == Ok(SITI.to_owned())
}

#[test]
fn p10_p11_o33_whoever_has_signed_is_encrypted_to() {
    need!("openssl", "aiosmtpd");
    let site = site();
    for (name, before, signed, after) in [(RATNA, "p10-1", "p10-2", "p10-3"), (DODI, "p10-4", "p10-5", "p10-6")] {
        assert!(is_clear(&site.answer(name, before)), "{name}");
        site.take(signed, name, name);
        let known = wait_for_certificate(&site.gateway, name);
        assert!(known.to_string().contains("trusted"), "{known}");
        assert!(is_encrypted_to(&site.answer(name, after), name), "{name}");
    }
}

#[test]
fn p10_what_is_only_seen_is_not_used_before_an_operator_has_confirmed_it() {
    need!("openssl", "aiosmtpd");
    let mut site = site();
    site.gateway.stop();
    site.gateway.edit("[[trust.anchor]]\n", "[[trust.anchor]]\nharvest = \"seen\"\n");
    site.gateway.start();
    site.take("seen", RATNA, RATNA);
    let known = wait_for_certificate(&site.gateway, RATNA);
    assert!(known.to_string().contains("seen"), "{known}");
    assert!(is_clear(&site.answer(RATNA, "seen-clear")));
    site.gateway.know(&[RATNA]);
    assert!(is_encrypted_to(&site.answer(RATNA, "seen-confirmed"), RATNA));
}

#[test]
fn p10_another_cas_certificate_takes_nobodys_place() {
    need!("openssl", "aiosmtpd");
    let site = site();
    site.take("first-ca", RATNA, RATNA);
    wait_for_certificate(&site.gateway, RATNA);
    let mail = site.take("second-ca", RATNA, RATNA_ELSEWHERE);
    assert!(
        fields(&mail.content, "segel-verdict")[0].starts_with("valid"),
        "{:?}",
        fields(&mail.content, "segel-verdict")
    );
    site.gateway.wait_log("another CA");
    assert_eq!(site.gateway.certificates(RATNA).len(), 1);
    assert!(is_encrypted_to(&site.answer(RATNA, "ca-answer"), RATNA));
    let found = site.gateway.segel(&["audit", "search", "--json"]);
    assert!(found.output.contains("conflict"), "{found:?}");
}

#[test]
fn p10_nothing_is_learned_from_bad_mail_or_of_own_people() {
    need!("openssl", "aiosmtpd");
    let site = site();
    let pki = Pki::shared();
    // Altered.
    let signed = String::from_utf8(pki.sign(&letter(RATNA, SITI, "bad-altered", "100.000"), RATNA)).unwrap();
    site.take_as_it_is("bad-altered", RATNA, signed.replace("100.000", "900.000").as_bytes());
    // Signed by one for the other.
    site.take("bad-mismatch", RATNA, HANA);
    // An own address, validly signed, from outside.
    let mail = site.take("bad-own", WATI, WATI);
    assert!(fields(&mail.content, "segel-verdict")[0].starts_with("valid"));
    // What comes after has been learned: what came before would have been.
    site.take("good", LILIS, LILIS);
    wait_for_certificate(&site.gateway, LILIS);
    std::thread::park_timeout(Duration::from_millis(500));
    for address in [RATNA, HANA, WATI] {
        assert!(site.gateway.certificates(address).is_empty(), "{address}");
    }
    assert!(is_clear(&site.answer(RATNA, "bad-answer")));
}

#[test]
fn o24_o33_o34_two_gateways_learn_from_each_other_and_use_gcm() {
    need!("openssl", "aiosmtpd");
    let ours = site();
    let (inside, outside) = (Sink::start(), Sink::start());
    let mut setup = Setup { own: "mitra.example", ..Setup::new(inside.address, outside.address) };
    setup.keys = vec![(RATNA, "individual")];
    let theirs = setup.start();
    let reply = send(theirs.inside, RATNA, &[SITI], &letter(RATNA, SITI, "gcm-hello", "Salam."));
    assert!(reply.starts_with("250"), "{reply}");
    let hello = outside.find("gcm-hello");
    ours.take_as_it_is("gcm-hello", RATNA, &hello.content);
    wait_for_certificate(&ours.gateway, RATNA);
    let mail = ours.answer(RATNA, "gcm-answer");
    let printed = Pki::shared().print(&mail.content);
    assert!(printed.contains("aes-256-gcm") && printed.contains("authEnvelopedData"), "{printed}");
    assert!(printed.contains("rsaesOaep"), "OAEP was announced: {printed}");
    assert!(is_encrypted_to(&mail, RATNA));
    // And back.
    let reply = send(theirs.outside, SITI, &[RATNA], &mail.content);
    assert!(reply.starts_with("250"), "{reply}");
    let arrived = inside.find("gcm-answer");
    assert!(String::from_utf8_lossy(&arrived.content).contains("Rahasia."));
    assert_eq!(Pki::shared().verify(&arrived.content, &[]), Ok(SITI.to_owned()));
}
