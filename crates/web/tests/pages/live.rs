//! Live dialogues: what a client says reaches who watches, masked, and only that which was asked for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vouchsafe_fakes::PipeDialer;

use crate::LISTENERS;
use crate::world::World;

#[tokio::test]
async fn a_watcher_sees_masked_lines_of_the_client_it_asked_for() {
    let settings = format!("{LISTENERS}auth_without_tls = \"always\"\n");
    let mut world = World::new(&settings, PipeDialer::new()).await;
    assert!(world.get("/live").await.contains("No session runs now"));
    assert!(!world.control.gateway().trace.active(), "nobody watches");
    let mut feed = world.open("/live/feed?text=192.0.2.7").await.into_data_stream();
    let mut other = world.open("/live/feed?text=198.51.100.1").await.into_data_stream();
    for stream in [&mut feed, &mut other] {
        let first = stream.next().await.expect("it begins").expect("it is sent");
        assert!(first.starts_with(b"retry:"));
    }
    assert!(world.control.gateway().trace.active());
    let supervisor = Arc::new(world.supervisor);
    let (mut client, theirs) = tokio::io::duplex(64 * 1024);
    let peer: Option<SocketAddr> = Some("192.0.2.7:40000".parse().expect("an address"));
    let serving = Arc::clone(&supervisor);
    tokio::spawn(async move { serving.session("submission", Box::new(theirs), peer).await });
    let said = b"EHLO laptop.example\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n";
    client.write_all(said).await.expect("the gateway reads");
    let mut seen = String::new();
    let watching = async {
        while !seen.contains("AUTH PLAIN") {
            let event = feed.next().await.expect("it goes on").expect("it is sent");
            seen.push_str(&String::from_utf8_lossy(&event));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), watching).await.expect("the line comes");
    assert!(seen.contains("EHLO laptop.example") && seen.contains("192.0.2.7"), "{seen}");
    assert!(!seen.contains("AGFsaWNlAHNlY3JldA"), "{seen}");
    let quiet = tokio::time::timeout(Duration::from_millis(50), other.next()).await;
    assert!(quiet.is_err(), "another client's lines are not sent");
    drop((feed, other));
    assert!(!supervisor_traces(&world.control), "nobody watches any more");
    client.write_all(b"QUIT\r\n").await.expect("the gateway reads");
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.expect("it ends");
}

fn supervisor_traces(control: &vouchsafe_gateway::control::Control) -> bool {
    control.gateway().trace.active()
}
