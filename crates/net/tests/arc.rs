//! ARC seals against a name server on loopback: what we seal holds for whoever verifies it, and nothing is sealed that we
//! have not looked at.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use vouchsafe_core::Timestamp;
use vouchsafe_fakes::dns::{NameServer, Trouble};
use vouchsafe_net::authentication::reading::{LARGEST, Reading};
use vouchsafe_net::authentication::signing::{self, Key, Keys, Kind};
use vouchsafe_net::authentication::{Asked, Verdict, Verifier};

const NOW: Timestamp = Timestamp(1_795_415_738_000_000);
const MESSAGE: &str = "DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=s; h=from; bh=AAAA; b=AAAA\r\n\
    From: Ann <ann@x.example>\r\nSubject: hi  there\r\n\r\nHello.\r\n\r\n";

/// Keys of these domains under these selectors, whose records are in DNS.
fn keys(server: &NameServer, wanted: &[(&str, &str, Kind)]) -> Keys {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (domain, selector, kind) in wanted {
        let (pem, file) = (signing::make(*kind).unwrap(), dir.path().join(format!("{selector}.{domain}")));
        std::fs::write(&file, &pem).unwrap();
        let key = Key::from_pem(domain, selector, &pem).unwrap();
        server.txt(&key.name(), key.record());
        files.push(file);
    }
    let places = wanted.iter().zip(&files).map(|((domain, selector, _), file)| (*domain, *selector, &**file));
    Keys::load(places).unwrap()
}

struct World {
    server: NameServer,
    verifier: Verifier,
    /// Of `one.example` (RSA) and `two.example` (Ed25519).
    keys: Keys,
}

impl World {
    async fn new() -> World {
        let server = NameServer::start().await.unwrap();
        let keys = keys(&server, &[("one.example", "s", Kind::Rsa), ("two.example", "s", Kind::Ed25519)]);
        World { server, verifier: Verifier::default(), keys }
    }

    async fn verify(&self, message: &str) -> Verdict {
        let mut reading = Reading::default();
        message.as_bytes().chunks(1000).for_each(|chunk| reading.push(chunk));
        let asked = Asked {
            hostname: "gate.example",
            client: "192.0.2.7".parse().unwrap(),
            helo: "mail.x.example",
            sender: "ann@x.example",
        };
        self.verifier.verify(&asked, &reading.finish(), &[self.server.address()]).await
    }

    /// What is put on top of a message whose head is ours.
    fn set(&self, domain: &str, head: &str, content: &str, size: usize) -> String {
        let Some(mut signing) = self.keys.begin_seal([domain], head.len(), NOW) else { return String::new() };
        let whole = head.to_owned() + content;
        whole.as_bytes().chunks(size).for_each(|chunk| signing.push(chunk));
        signing.finish().unwrap()
    }

    /// Takes a message as a gateway does, appends a line to its body, and seals it.
    async fn pass_on(&self, domain: &str, message: &str) -> String {
        let head = self.verify(message).await.header + "Received: by gate.example\r\n";
        let content = format!("{message}One more line.\r\n");
        self.set(domain, &head, &content, 100) + &head + &content
    }
}

fn status(verdict: &Verdict) -> &str {
    verdict.words.split_once(" arc=").map_or("none", |(_, status)| status)
}

#[tokio::test]
async fn a_seal_holds_until_an_octet_is_altered() {
    let world = World::new().await;
    for domain in ["one.example", "two.example"] {
        let sealed = world.pass_on(domain, MESSAGE).await;
        for part in [
            "ARC-Seal: i=1; a=",
            "; cv=none;\r\n",
            &format!("\td={domain}; s=s; t=1795415738;\r\n"),
            "\r\nARC-Authentication-Results: i=1; gate.example;\r\n\tspf=none",
            "\tdkim=neutral (body hash did not verify) header.d=x.example",
        ] {
            assert!(sealed.contains(part), "{part} in\n{sealed}");
        }
        assert!(sealed.split("\r\n").all(|line| line.len() <= 78 || line.contains("spf=")), "{sealed}");
        let verdict = world.verify(&sealed).await;
        assert!(verdict.header.starts_with("Authentication-Results: gate.example;\r\n\tarc=pass;\r\n\tspf="));
        assert_eq!(status(&verdict), "pass", "{sealed}");
        // How often white space stands somewhere tells nothing; fields on top and results of others may come and go.
        let again = sealed.replace("hi  there", "hi there");
        assert_eq!(status(&world.verify(&format!("Received: by x\r\n{again}")).await), "pass");
        for (was, is) in [
            ("Hello.", "Hullo."),
            ("One more line.\r\n", ""),
            ("From: Ann", "From: eve@y.example\r\nFrom: Ann"),
            ("Subject: hi", "Subject: ho"),
            ("Subject: hi", "Reply-To: eve@y.example\r\nSubject: hi"),
            (
                "DKIM-Signature: v=1; a=rsa-sha256; d=x.example",
                "DKIM-Signature: v=1; a=rsa-sha256; d=y.example",
            ),
            ("i=1; gate.example;\r\n\tspf=none", "i=1; gate.example;\r\n\tspf=pass"),
            ("cv=none", "cv=pass"),
            ("ARC-Seal:", "X-Seal:"),
            ("ARC-Message-Signature:", "X-Signature:"),
        ] {
            assert!(sealed.contains(was), "{was}");
            let altered = sealed.replacen(was, is, 1);
            assert_eq!(status(&world.verify(&altered).await), "fail", "{is} in\n{altered}");
        }
    }
}

#[tokio::test]
async fn a_chain_goes_on_as_long_as_it_holds() {
    let world = World::new().await;
    let first = world.pass_on("one.example", MESSAGE).await;
    let second = world.pass_on("two.example", &first).await;
    assert!(second.starts_with("ARC-Seal: i=2; a=ed25519-sha256; cv=pass;\r\n\td=two.example;"), "{second}");
    assert!(second.contains("ARC-Authentication-Results: i=2; gate.example;\r\n\tarc=pass;\r\n"), "{second}");
    let third = world.pass_on("one.example", &second).await;
    assert!(third.starts_with("ARC-Seal: i=3; a=rsa-sha256; cv=pass;\r\n"), "{third}");
    for chain in [&second, &third] {
        assert_eq!(status(&world.verify(chain).await), "pass", "{chain}");
        // Every set is sealed by those after it.
        let altered = chain.replace("i=1; gate.example;\r\n\tspf=none", "i=1; gate.example;\r\n\tspf=pass");
        assert_ne!(&altered, chain);
        assert_eq!(status(&world.verify(&altered).await), "fail");
        let (rest, _) = chain.rsplit_once("ARC-Seal: i=1;").unwrap();
        assert_eq!(status(&world.verify(&(rest.to_owned() + MESSAGE)).await), "fail");
    }
}

#[tokio::test]
async fn a_chain_that_failed_is_told_once_and_never_extended() {
    let world = World::new().await;
    let first = world.pass_on("one.example", MESSAGE).await.replace("Hello.", "Hullo.");
    let second = world.pass_on("two.example", &first).await;
    assert!(second.starts_with("ARC-Seal: i=2; a=ed25519-sha256; cv=fail;\r\n"), "{second}");
    assert!(second.contains("ARC-Authentication-Results: i=2; gate.example;\r\n\tarc=fail;\r\n"), "{second}");
    assert_eq!(status(&world.verify(&second).await), "fail");
    let third = world.pass_on("one.example", &second).await;
    assert!(third.starts_with("Authentication-Results: gate.example;\r\n\tarc=fail;\r\n"), "{third}");
    // Such a seal covers nothing of what failed.
    let head = "Authentication-Results: gate.example;\r\n\tarc=fail;\r\n\tspf=none\r\n";
    let set = |came: &str| world.set("two.example", head, came, 100);
    assert!(set(&first).starts_with("ARC-Seal: i=2;"));
    assert_eq!(set(&first), set(&first.replace("cv=none", "cv=pass")));
}

#[tokio::test]
async fn a_chain_whose_keys_cannot_be_looked_up_has_failed() {
    let world = World::new().await;
    let sealed = world.pass_on("one.example", MESSAGE).await;
    world.server.trouble("s._domainkey.one.example", Trouble::Fails);
    assert_eq!(status(&world.verify(&sealed).await), "fail");
}

#[tokio::test]
async fn a_chain_of_fifty_sets_is_full() {
    let world = World::new().await;
    let mut message = MESSAGE.to_owned();
    for instance in 1..=50 {
        let told = if instance == 1 { "" } else { "\tarc=pass;\r\n" };
        let head = format!("Authentication-Results: gate.example;\r\n{told}\tspf=none\r\n");
        let set = world.set("two.example", &head, &message, 100_000);
        assert!(set.starts_with(&format!("ARC-Seal: i={instance}; ")), "{set}");
        message = set + &message;
    }
    assert_eq!(status(&world.verify(&message).await), "pass");
    let head = "Authentication-Results: gate.example;\r\n\tarc=pass;\r\n\tspf=none\r\n";
    assert_eq!(world.set("two.example", head, &message, 100_000), "");
}

#[tokio::test]
async fn only_what_was_looked_at_is_sealed_and_only_for_a_domain_with_a_key() {
    let world = World::new().await;
    let head = "Authentication-Results: gate.example;\r\n\tspf=none\r\n";
    let set = world.set("ONE.example", head, MESSAGE, 100_000);
    assert!(set.starts_with("ARC-Seal: "));
    for size in [1, 7, 100] {
        assert_eq!(world.set("one.example", head, MESSAGE, size), set);
    }
    assert_eq!(world.set("three.example", head, MESSAGE, 100), "");
    assert_eq!(world.set("sub.one.example", head, MESSAGE, 100), "");
    // Results that came with the message are none of ours.
    assert_eq!(world.set("one.example", "Received: x\r\n", &format!("{head}{MESSAGE}"), 100), "");
    // A chain came, and is too large to be looked at.
    let large = "x".repeat(62) + "\r\n";
    let large = set + MESSAGE + &large.repeat(usize::try_from(LARGEST).unwrap() / 64);
    let verdict = world.verify(&large).await;
    assert!(status(&verdict) == "none" && verdict.words.contains("dkim=policy"), "{}", verdict.words);
    assert_eq!(world.set("one.example", &verdict.header, &large, 100_000), "");
}

#[tokio::test]
async fn of_two_keys_the_one_that_everybody_knows_seals() {
    let server = NameServer::start().await.unwrap();
    let keys = keys(&server, &[("one.example", "ed", Kind::Ed25519), ("one.example", "rsa", Kind::Rsa)]);
    let head = "Authentication-Results: gate.example;\r\n\tspf=none\r\n";
    // The first recipient whose domain has a key.
    let mut signing = keys.begin_seal(["three.example", "one.example"], head.len(), NOW).unwrap();
    signing.push(format!("{head}{MESSAGE}").as_bytes());
    let set = signing.finish().unwrap();
    assert!(set.starts_with("ARC-Seal: i=1; a=rsa-sha256; cv=none;\r\n\td=one.example; s=rsa;"), "{set}");
}
