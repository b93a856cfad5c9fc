//! A connection of our own is known by its ends for as long as it is open.

use vouchsafe_net::dial::TcpDialer;
use vouchsafe_net::stream::Dial;

#[tokio::test]
async fn a_connection_of_ours_is_known_while_it_is_open() {
    let listener = vouchsafe_net::listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = listener.local_addr().unwrap();
    let dialer = TcpDialer::new();
    let ours = dialer.dial("127.0.0.1", at.port()).await.unwrap();
    let (_kept, peer) = listener.accept().await.unwrap();
    let _strangers = tokio::net::TcpStream::connect(at).await.unwrap();
    let (_kept, stranger) = listener.accept().await.unwrap();
    let at = Some(at);
    assert!(dialer.is_ours(peer, None), "behind a front end");
    assert!(dialer.is_ours(peer, at) && !dialer.is_ours(stranger, at));
    assert!(!TcpDialer::new().is_ours(peer, at), "another process's");
    let elsewhere = Some("127.0.0.1:1".parse().unwrap());
    assert!(!dialer.is_ours(peer, elsewhere), "the same port of another's connection");
    drop(ours);
    assert!(!dialer.is_ours(peer, at));
}
