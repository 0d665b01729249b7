use super::{Existence, probe};
use crate::config::{DeliverTls, NextHop};
use crate::mail::Address;
use crate::outbound::deliver::tests::{Hop, surroundings};

#[tokio::test]
async fn s63_a_next_hop_is_asked_for_recipients() {
    let hop = Hop::new(&[("RCPT TO:<no", "550 5.1.1 no"), ("RCPT TO:<later", "450 4.2.1 later")]).await;
    let ask = async |name: &str| {
        let recipient = Address::parse(&format!("{name}@b.example")).unwrap();
        probe(&hop.next_hop, &recipient, &surroundings()).await
    };
    assert_eq!(ask("siti").await, Existence::Yes);
    assert_eq!(ask("no").await, Existence::No("550 5.1.1 no".to_owned()));
    assert!(matches!(ask("later").await, Existence::Unknown(why) if why.contains("450 4.2.1 later")));
}

#[tokio::test]
async fn s63_who_can_not_be_asked_says_nothing() {
    let recipient = Address::parse("x@b.example").unwrap();
    let dead = NextHop::server("127.0.0.1", 1, DeliverTls::May);
    assert!(matches!(probe(&dead, &recipient, &surroundings()).await, Existence::Unknown(_)));
    // TLS is required, and not offered.
    let mut hop = Hop::new(&[]).await;
    hop.next_hop.tls = DeliverTls::Encrypt;
    let answer = probe(&hop.next_hop, &recipient, &surroundings()).await;
    assert!(matches!(&answer, Existence::Unknown(why) if why.contains("STARTTLS")), "{answer:?}");
}
