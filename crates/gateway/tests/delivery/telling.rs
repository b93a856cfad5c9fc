//! Telling next hops of clients (FACTS 6.12).
// covers: facts6.12

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::world::{Hop, World};

/// A world whose next hop of home.example is told with `how`, offers `offers`, and whose commands are noted.
fn told(how: &str, offers: &[&'static str], refuses: Option<&'static str>) -> (World, Arc<Hop>, Heard) {
    let world = World::new(&format!(
        "[[domain]]\nname = \"told.example\"\nrecipients = [\"any\"]\n\
         next_hop = {{ host = \"home.example\", tls = \"off\", {how} = true }}\n\
         [limits]\ndeliveries_per_destination = 1"
    ));
    let (hop, heard) = (world.hop("home.example"), Heard::default());
    hop.offers.lock().unwrap().extend_from_slice(offers);
    let lines = heard.clone();
    hop.says(move |line| {
        lines.0.lock().unwrap().push(line.to_owned());
        let refused = refuses.filter(|_| line.starts_with("X"));
        refused.or(line.starts_with("XCLIENT").then_some("220 hop ESMTP")).map(str::to_owned)
    });
    (world, hop, heard)
}

/// Commands that the next hop heard, in order.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    /// Those that begin with one of these.
    fn of(&self, verbs: &[&str]) -> Vec<String> {
        let all = self.0.lock().unwrap();
        all.iter().filter(|line| verbs.iter().any(|verb| line.starts_with(verb))).cloned().collect()
    }
}

async fn send(world: &World, client: Option<&str>) {
    let message = world.message("a@abroad.example", &["b@told.example"]);
    let before = world.count("delivered");
    world.send(client.map_or_else(|| message.clone(), |client| message.clone().of_client(client))).await;
    world.until("delivered", before + 1).await;
}

#[tokio::test(start_paused = true)]
async fn xforward_names_the_client_of_each_message() {
    let (world, hop, heard) = told("xforward", &["XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"], None);
    send(&world, Some("198.51.100.7:40123")).await;
    send(&world, None).await;
    send(&world, Some("[2001:db8::7]:40124")).await;
    let lines = heard.of(&["XFORWARD", "MAIL"]);
    assert!(lines[0].starts_with(
        "XFORWARD NAME=[UNAVAILABLE] ADDR=198.51.100.7 PORT=40123 PROTO=ESMTP HELO=pc.example IDENT="
    ));
    assert!(lines[0].ends_with(" SOURCE=REMOTE"));
    assert!(
        lines[1].starts_with("MAIL") && lines[2].starts_with("MAIL"),
        "of ours nothing is told: {lines:?}"
    );
    assert!(lines[3].contains(" ADDR=IPV6:2001:db8::7 PORT=40124 "));
    assert_eq!(lines.len(), 5);
    assert_eq!(hop.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn xclient_names_the_client_when_it_changes() {
    let (world, hop, heard) = told("xclient", &["XCLIENT ADDR PORT HELO"], None);
    send(&world, Some("198.51.100.7:40123")).await;
    send(&world, Some("198.51.100.7:40123")).await;
    send(&world, Some("198.51.100.8:40123")).await;
    assert_eq!(
        heard.of(&["EHLO", "XCLIENT"]),
        [
            "EHLO gate.example",
            "XCLIENT ADDR=198.51.100.7 PORT=40123 HELO=pc.example",
            "EHLO pc.example",
            "XCLIENT ADDR=198.51.100.8 PORT=40123 HELO=pc.example",
            "EHLO pc.example",
        ]
    );
    assert_eq!(hop.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn our_own_notice_never_goes_under_a_clients_name() {
    let (world, hop, heard) = told("xclient", &["XCLIENT ADDR"], None);
    send(&world, Some("198.51.100.7:40123")).await;
    send(&world, None).await;
    assert_eq!(
        heard.of(&["EHLO", "XCLIENT", "MAIL"]).last().unwrap(),
        "MAIL FROM:<a@abroad.example> SIZE=55"
    );
    assert_eq!(heard.of(&["EHLO"]), ["EHLO gate.example", "EHLO pc.example", "EHLO gate.example"]);
    assert_eq!(hop.connections.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_be_named_never_goes_under_anothers_name() {
    let (world, hop, heard) = told("xclient", &["XCLIENT ADDR"], None);
    send(&world, Some("198.51.100.7:40123")).await;
    let lines = heard.clone();
    hop.says(move |line| {
        lines.0.lock().unwrap().push(line.to_owned());
        line.starts_with("XCLIENT").then(|| "503 5.5.1 once is enough".to_owned())
    });
    send(&world, Some("198.51.100.8:40123")).await;
    assert_eq!(
        heard.of(&["EHLO", "XCLIENT"])[3..],
        ["XCLIENT ADDR=198.51.100.8", "EHLO gate.example", "XCLIENT ADDR=198.51.100.8"]
    );
    assert_eq!(hop.connections.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_next_hop_that_is_not_told_gets_the_message() {
    for (how, offers, refuses) in [
        ("xforward", &[][..], None),
        ("xclient", &[][..], None),
        ("xforward", &["XFORWARD ADDR"][..], Some("550 5.7.0 not from you")),
        ("xclient", &["XCLIENT ADDR"][..], Some("550 5.7.0 not from you")),
    ] {
        let (world, hop, _) = told(how, offers, refuses);
        send(&world, Some("198.51.100.7:40123")).await;
        assert_eq!(hop.taken().len(), 1, "{how} {offers:?} {refuses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_the_next_hop_refuses_is_the_routes_fault() {
    let (world, hop, _) = told("xclient", &["XCLIENT ADDR"], Some("554 5.7.1 go away"));
    let message = world.message("a@abroad.example", &["b@told.example"]).of_client("198.51.100.7:40123");
    world.send(message).await;
    let deferred = world.until("deferred", 1).await;
    assert!(deferred[0].detail.contains("identity"), "{deferred:?}");
    world.pass(Duration::from_secs(10 * 86_400)).await;
    // Held, not bounced: the only failure is that of the notice of the delay, which has no next hop here.
    assert_eq!((hop.taken().len(), world.held().await), (0, 1));
}
