//! SPF, DKIM and DMARC against a name server on loopback: what passes, what fails, what cannot be told now.

#![allow(clippy::unwrap_used)] // a test ends at its first surprise

use std::net::{IpAddr, Ipv4Addr};

use vouchsafe_fakes::dns::{Data, NameServer, Trouble};
use vouchsafe_net::authentication::reading::{LARGEST, Read, Reading};
use vouchsafe_net::authentication::signing::{self, Key, Keys, Kind};
use vouchsafe_net::authentication::{Asked, Verdict, Verifier};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const MESSAGE: &str =
    "From: Ann <ann@x.example>\r\nTo: bob@gate.example\r\nSubject: hi  there\r\n\r\nHello.\r\n\r\n";

fn read(message: &str) -> Read {
    let mut reading = Reading::default();
    message.as_bytes().chunks(1000).for_each(|chunk| reading.push(chunk));
    reading.finish()
}

struct World {
    server: NameServer,
    verifier: Verifier,
}

impl World {
    async fn new() -> World {
        World { server: NameServer::start().await.unwrap(), verifier: Verifier::default() }
    }

    async fn verify(&self, sender: &str, message: &str) -> Verdict {
        let asked = Asked { hostname: "gate.example", client: CLIENT, helo: "mail.x.example", sender };
        self.verifier.verify(&asked, &read(message), &[self.server.address()]).await
    }

    /// A key whose record is in DNS.
    fn key(&self, domain: &str, selector: &str, kind: Kind) -> (tempfile::TempPath, Key) {
        let pem = signing::make(kind).unwrap();
        let key = Key::from_pem(domain, selector, &pem).unwrap();
        self.server.txt(&key.name(), key.record());
        let file = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&file, pem).unwrap();
        (file, key)
    }
}

fn sign(keys: &Keys, message: &str, size: usize) -> String {
    let mut signing = keys.begin();
    message.as_bytes().chunks(size).for_each(|chunk| signing.push(chunk));
    signing.finish().unwrap() + message
}

#[tokio::test]
async fn spf_dkim_and_dmarc_that_pass_are_told_and_prove_the_reverse_path() {
    let world = World::new().await;
    world.server.txt("x.example", "v=spf1 a:mail.x.example mx -all");
    world.server.txt("mail.x.example", "v=spf1 ip4:192.0.2.0/24 -all");
    world.server.add("x.example", Data::Mx(10, "in.x.example".to_owned()));
    world.server.add("in.x.example", Data::A(Ipv4Addr::new(192, 0, 2, 7)));
    world.server.add("mail.x.example", Data::A(Ipv4Addr::new(192, 0, 2, 9)));
    world.server.txt("_dmarc.x.example", "v=DMARC1; p=reject");
    let (rsa, _) = world.key("x.example", "r1", Kind::Rsa);
    let (ed25519, _) = world.key("x.example", "e1", Kind::Ed25519);
    let keys = Keys::load([("x.example", "r1", &*rsa), ("x.example", "e1", &*ed25519)]).unwrap();
    for size in [1, 7, 100_000] {
        let signed = sign(&keys, MESSAGE, size);
        let verdict = world.verify("ann@x.example", &signed).await;
        assert_eq!(verdict.words, "spf=pass dkim=pass dmarc=pass", "{}", verdict.header);
        assert_eq!(
            (verdict.proof.spf, &verdict.proof.dkim[..]),
            (true, &["x.example".to_owned(), "x.example".to_owned()][..])
        );
        for part in [
            "Authentication-Results: gate.example;\r\n\tspf=pass",
            " smtp.helo=mail.x.example;",
            " smtp.mailfrom=ann@x.example;",
            "\tdkim=pass header.d=x.example header.s=r1 ",
            "\tdkim=pass header.d=x.example header.s=e1 ",
            "\tdmarc=pass header.from=x.example policy.dmarc=reject\r\n",
        ] {
            assert!(verdict.header.contains(part), "{part} in\n{}", verdict.header);
        }
    }
}

#[tokio::test]
async fn what_fails_and_what_is_not_there_proves_nothing() {
    let world = World::new().await;
    world.server.txt("x.example", "v=spf1 ip4:198.51.100.1 -all");
    world.server.txt("_dmarc.x.example", "v=DMARC1; p=quarantine");
    let (file, _) = world.key("x.example", "r1", Kind::Rsa);
    let keys = Keys::load([("x.example", "r1", &*file)]).unwrap();
    let forged = sign(&keys, MESSAGE, 100).replace("Hello.", "Hullo.");
    let verdict = world.verify("ann@x.example", &forged).await;
    assert_eq!(verdict.words, "spf=fail dkim=neutral dmarc=fail", "{}", verdict.header);
    assert_eq!(verdict.proof, Default::default());
    // A second From, or another subject, breaks the signature.
    for (was, is) in
        [("From: Ann", "From: eve@y.example\r\nFrom: Ann"), ("Subject: hi", "Subject: ho\r\nSubject: hi")]
    {
        let verdict = world.verify("ann@x.example", &sign(&keys, MESSAGE, 100).replacen(was, is, 1)).await;
        assert!(verdict.words.contains("dkim=fail"), "{}", verdict.header);
    }
    let verdict = world.verify("ann@nowhere.example", "From: ann@nowhere.example\r\n\r\nx\r\n").await;
    assert_eq!(verdict.words, "spf=none dkim=none dmarc=none", "{}", verdict.header);
    assert!(verdict.header.ends_with(";\r\n\tdkim=none\r\n"), "{}", verdict.header);
}

#[tokio::test]
async fn name_servers_in_trouble_make_temperror() {
    let world = World::new().await;
    let (file, _) = world.key("x.example", "r1", Kind::Ed25519);
    for name in ["x.example", "mail.x.example", "_dmarc.x.example", "r1._domainkey.x.example"] {
        world.server.trouble(name, Trouble::Fails);
    }
    let keys = Keys::load([("x.example", "r1", &*file)]).unwrap();
    let verdict = world.verify("ann@x.example", &sign(&keys, MESSAGE, 100)).await;
    assert_eq!(verdict.words, "spf=temperror dkim=temperror dmarc=temperror", "{}", verdict.header);
    assert_eq!(verdict.proof, Default::default());
}

#[tokio::test]
async fn silent_name_servers_delay_no_message_past_the_limit() {
    let world = World::new().await;
    for name in ["x.example", "mail.x.example", "_dmarc.x.example"] {
        world.server.trouble(name, Trouble::Silent);
    }
    // From here on the clock moves whenever everybody waits.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let verdict = world.verify("ann@x.example", MESSAGE).await;
    assert!(began.elapsed() <= std::time::Duration::from_secs(21), "{:?}", began.elapsed());
    assert_eq!(verdict.words, "spf=temperror dkim=none dmarc=temperror", "{}", verdict.header);
}

#[tokio::test]
async fn a_signed_body_past_16_mib_is_policy() {
    let world = World::new().await;
    let (file, _) = world.key("x.example", "r1", Kind::Ed25519);
    let keys = Keys::load([("x.example", "r1", &*file)]).unwrap();
    let line = format!("{}\r\n", "x".repeat(62));
    let large = |octets: u64| format!("From: ann@x.example\r\n\r\n{}", line.repeat(octets as usize / 64));
    let whole = world.verify("ann@x.example", &sign(&keys, &large(LARGEST), 100_000)).await;
    assert!(whole.words.contains("dkim=pass"), "{}", whole.header);
    let over = world.verify("ann@x.example", &sign(&keys, &large(LARGEST + 64), 100_000)).await;
    assert!(over.words.contains("dkim=policy"), "{}", over.words);
    assert!(over.header.contains("\tdkim=policy (message is too large to check)\r\n"), "{}", over.header);
    assert!(over.proof.dkim.is_empty());
}

#[tokio::test]
async fn names_that_the_sender_chose_break_no_field() {
    let world = World::new().await;
    let asked = Asked {
        hostname: "gate.example",
        client: CLIENT,
        helo: "x\r\nX-Evil: 1;(\"",
        sender: "\"a\\\"b; dkim=pass\"@x.example",
    };
    let identity = "y".repeat(20_000);
    let message = format!(
        "DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=s; i={identity}@x.example; h=from; bh=AAAA; b=AAAA\r\n\
         From: a@x.example\r\n\r\n"
    );
    let verdict = world.verifier.verify(&asked, &read(&message), &[world.server.address()]).await;
    assert!(verdict.header.len() < 8192 && verdict.header.lines().all(|line| line.len() <= 998));
    let lines: Vec<&str> = verdict.header.split("\r\n").collect();
    assert!(lines[1..lines.len() - 1].iter().all(|line| line.starts_with('\t')), "{}", verdict.header);
    assert!(!verdict.header.contains("dkim=pass"), "{}", verdict.header);
}

#[tokio::test]
async fn only_mail_of_a_keys_domain_is_signed() {
    let world = World::new().await;
    let (file, key) = world.key("x.example", "r1", Kind::Ed25519);
    let keys = Keys::load([("x.example", "r1", &*file)]).unwrap();
    let signed = |message: &str| sign(&keys, message, 100).starts_with("DKIM-Signature: ");
    assert!(signed(MESSAGE) && signed("From: a@X.EXAMPLE\r\n\r\n") && signed("From: a@x.example\r\n"));
    for from in ["a@sub.x.example", "a@y.example", "a@x.example, b@y.example", "nobody"] {
        assert!(!signed(&format!("From: {from}\r\n\r\nx\r\n")), "{from}");
    }
    assert!(!signed("Subject: no author\r\n\r\n"));
    let resolver = world.verifier.resolver(&[world.server.address()]).unwrap();
    assert_eq!(key.check(&resolver).await, Ok(()));
    let other = Key::from_pem("x.example", "r1", &signing::make(Kind::Ed25519).unwrap()).unwrap();
    assert!(other.check(&resolver).await.is_err());
    let absent = Key::from_pem("x.example", "none", &signing::make(Kind::Rsa).unwrap()).unwrap();
    assert!(absent.check(&resolver).await.is_err());
}
