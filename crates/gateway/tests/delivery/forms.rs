//! A message whose large parts were moved: who gets which form with which link, and what is never sent.

use bytes::Bytes;
use vouchsafe_core::attachments::{
    Access, Check, Detached, Detachment, FormFor, Keep, LinkRules, SealedBlob,
};
use vouchsafe_core::envelope::RouteKey;
use vouchsafe_core::links::LinkSecret;
use vouchsafe_core::ports::{Accepted, MailStore};
use vouchsafe_core::recipe::{Piece, Recipe, SlotCoding};
use vouchsafe_smtp::BodyKind;

use super::world::{Hop, World};

const PAGES: &str = "[web]\ndownloads = \"127.0.0.1:8443\"\npublic_url = \"https://files.example\"";
const URL: &str = "https://files.example/";
const HEAD: &str = "Received: by gate.example\r\n";
const BODY: &str = "Subject: hi\r\n\r\nHello\r\nRAWRAWRAW\r\nBye\r\n";

/// The text of the message, the link in place of RAW, and what follows.
fn form() -> Recipe {
    let at = BODY.find("RAW").unwrap() as u64;
    Recipe::new(vec![
        Piece::Body { from: 0, to: at },
        Piece::Text(Bytes::from_static(b"<")),
        Piece::Slot(SlotCoding::Plain),
        Piece::Text(Bytes::from_static(b">")),
        Piece::Body { from: at + 9, to: BODY.len() as u64 },
    ])
    .unwrap()
}

fn with(link: &str) -> String {
    format!("{HEAD}{}", BODY.replace("RAWRAWRAW", &format!("<{link}>")))
}

impl World {
    /// A message whose part RAW was moved for these routes.
    fn detached(&self, to: &[&str], routes: &[RouteKey], blind: &[u32]) -> Accepted {
        let accepted = self.accepted(self.message("alice@home.example", to).body(BODY), false);
        let blob = SealedBlob {
            name: "b1".to_owned(),
            len: 9,
            sha256: [1; 32],
            key: Vec::new(),
            keep: Keep::default(),
        };
        let part = Detached {
            blob,
            file_name: "a.pdf".to_owned(),
            media_type: "application/pdf".to_owned(),
            position: 0,
        };
        let links = LinkRules {
            per_recipient: true,
            blind: blind.to_vec(),
            expire: std::time::Duration::from_secs(86_400),
            access: Access::Link,
            downloads: None,
            secret: LinkSecret::new([7; 32]),
        };
        let all = (0u32..).zip(accepted.envelope.recipients());
        let linked = all.filter(|(_, (_, permit))| routes.contains(permit.route())).map(|(index, _)| index);
        let forms = vec![FormFor { recipients: linked.collect(), recipe: form(), files: vec![0] }];
        let detached =
            Detachment { subject: "hi".to_owned(), check: Check::Clear, parts: vec![part], forms, links };
        Accepted { detached: Some(detached), ..accepted }
    }

    async fn take(&self, accepted: Accepted) {
        self.store.accept(accepted).await.unwrap();
        self.deliverer.wake();
    }
}

/// (recipients, token) of each transaction that this next hop took, and what came was the form.
fn sent(hop: &Hop) -> Vec<(Vec<String>, String)> {
    let read = |taken: &super::world::Taken| {
        let at = taken.content.find(URL).unwrap() + URL.len();
        let token = taken.content[at..].split('>').next().unwrap().to_owned();
        assert_eq!(taken.content, with(&format!("{URL}{token}")));
        let size = format!("SIZE={}", taken.content.len());
        assert!(taken.mail.split(' ').any(|word| word == size), "{} is not {size}", taken.mail);
        let to = taken.recipients.iter().map(|line| line["RCPT TO:<".len()..line.len() - 1].to_owned());
        (to.collect(), token)
    };
    hop.taken().iter().map(read).collect()
}

#[tokio::test(start_paused = true)]
async fn routes_that_detach_nothing_get_the_message_as_it_came() {
    let world = World::new(PAGES);
    let (home, relay) = (world.hop("home.example"), world.hop("relay.example"));
    world.take(world.detached(&["bob@home.example", "u@abroad.example"], &[RouteKey::Relay], &[])).await;
    world.until("delivered", 2).await;
    assert_eq!(home.taken()[0].content, format!("{HEAD}{BODY}"));
    assert_eq!(sent(&relay).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn above_fifty_those_who_are_named_share_and_each_of_the_others_is_alone() {
    let world = World::new(PAGES);
    let relay = world.hop("relay.example");
    let to: Vec<String> = (0..120).map(|n| format!("u{n}@abroad.example")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    world.take(world.detached(&to, &[RouteKey::Relay], &[3, 40])).await;
    world.until("delivered", 120).await;
    let mut sent = sent(&relay);
    sent.sort_by_key(|(to, _)| to.len());
    let sizes: Vec<usize> = sent.iter().map(|(to, _)| to.len()).collect();
    assert_eq!(sizes, [1, 1, 18, 100]);
    assert_eq!(sent[2].1, sent[3].1, "one link for all that are named");
    let mut alone = [sent[0].0.join(""), sent[1].0.join("")];
    alone.sort();
    assert_eq!(alone, ["u3@abroad.example", "u40@abroad.example"]);
}

#[tokio::test(start_paused = true)]
async fn octets_that_are_not_sent_are_not_carried_either() {
    let world = World::new(PAGES);
    let relay = world.hop("relay.example");
    relay.offers.lock().unwrap().clear();
    let mut accepted = world.detached(&["u@abroad.example"], &[RouteKey::Relay], &[]);
    accepted.envelope.mail.body = BodyKind::EightBitMime;
    accepted.body =
        vouchsafe_core::ports::Body::Memory(Bytes::from(BODY.replace("RAWRAWRAW", "R\u{e4}\u{f6}\u{fc}RA")));
    world.take(accepted).await;
    world.until("delivered", 1).await;
    assert_eq!(relay.taken().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_form_of_corrupt_octets_is_held() {
    let world = World::new(PAGES);
    let relay = world.hop("relay.example");
    relay.answers(".", "451 4.3.0 later");
    let accepted = world.detached(&["u@abroad.example"], &[RouteKey::Relay], &[]);
    let id = accepted.envelope.id;
    world.take(accepted).await;
    world.until("deferred", 1).await;
    world.store.corrupt(id);
    relay.says(|_| None);
    assert_eq!(world.until("held", 1).await[0].blame, "us");
    assert!(relay.taken().is_empty());
}
