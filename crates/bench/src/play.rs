//! The stand-ins as programs of their own, for loads from another machine.

use crate::Outcome;
use crate::args::Play;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use vouchsafe_fakes::tls::SelfSigned;
use vouchsafe_fakes::{Delegate, NextHop, Peer, delegate, next_hop, serve_tcp};

/// The domain of all users.
pub const DOMAIN: &str = "bench.example";

/// Takes messages until SIGINT.
pub async fn sink(play: &Play) -> Outcome {
    let mut behaviour = next_hop::Behaviour::new("sink.bench.example");
    behaviour.tls = identity(play)?;
    let sink = NextHop::quiet(behaviour);
    serve(play.listen, sink.clone()).await?;
    println!("{:#?}", sink.counters());
    Ok(())
}

/// Answers about logins and recipients until SIGINT.
pub async fn delegate(play: &Play) -> Outcome {
    let mut behaviour = delegate::Behaviour::new("delegate.bench.example");
    for number in 0..play.users {
        let address = format!("user{number}@{DOMAIN}");
        behaviour = behaviour.user(&address, &format!("pw-user{number}")).recipient(&address);
    }
    behaviour.tarpit = play.tarpit;
    behaviour.tls = identity(play)?;
    let delegate = Delegate::quiet(behaviour);
    serve(play.listen, delegate.clone()).await?;
    println!("{:#?}", delegate.counters());
    Ok(())
}

fn identity(play: &Play) -> Outcome<Option<std::sync::Arc<rustls::ServerConfig>>> {
    if !play.tls {
        return Ok(None);
    }
    let identity = SelfSigned::new(&play.listen.ip().to_string()).map_err(|error| format!("TLS: {error}"))?;
    println!("tls = \"{}\"", identity.setting());
    Ok(Some(identity.config))
}

async fn serve(listen: SocketAddr, peer: impl Peer) -> Outcome {
    let fault = |error: std::io::Error| format!("{listen}: {error}");
    let listener = TcpListener::bind(listen).await.map_err(fault)?;
    println!("listening on {}", listener.local_addr().map_err(fault)?);
    tokio::select! {
        served = serve_tcp(listener, peer) => served.map_err(fault),
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(fault),
    }
}
