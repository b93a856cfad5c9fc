//! HTTP/1.1 and HTTP/2 around a service that somebody else gives: TLS, limits, time-outs. Decides nothing.
//!
//! A header that dribbles in is cut after ten seconds, a connection past the cap waits in the kernel. Requests with two
//! lengths or two hosts never reach the service (ASVS 4.2.1).
//! Proof: `crates/vouchsafe/tests/web.rs`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response, header};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Connections at once.
const CONNECTIONS: usize = 256;
/// Time for a whole request header.
const HEADER: Duration = Duration::from_secs(10);
/// Octets of a header.
const HEADER_SIZE: usize = 64 * 1024;
/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest life of a connection: whoever reads no answers does not keep its place.
const LONGEST: Duration = Duration::from_secs(3600);
/// After the system refused us a socket.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// Who sent a request; laid into its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
    /// It came over TLS.
    pub tls: bool,
}

/// Serves until told to stop; then requests under way are finished.
pub async fn serve<S, B>(
    socket: TcpListener,
    acceptor: Option<TlsAcceptor>,
    service: S,
    mut stop: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => match place {
                Ok(place) => place,
                Err(_) => break,
            },
            _ = stop.wait_for(|stopped| *stopped) => break,
        };
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stop.wait_for(|stopped| *stopped) => break,
        };
        let Ok((stream, address)) = accepted else {
            tokio::time::sleep(OUT_OF_FILES).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (acceptor, service, stop) = (acceptor.clone(), service.clone(), stop.clone());
        connections.spawn(async move {
            let _place = place;
            match acceptor {
                Some(acceptor) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        connection(stream, Peer { address, tls: true }, service, stop).await;
                    }
                }
                None => connection(stream, Peer { address, tls: false }, service, stop).await,
            }
        });
        while connections.try_join_next().is_some() {}
    }
    while connections.join_next().await.is_some() {}
}

async fn connection<S, B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    service: S,
    mut stop: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER).max_buf_size(HEADER_SIZE);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(64 * 1024).max_concurrent_streams(32);
    let with_peer = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let ambiguous = is_ambiguous(&request);
        let service = service.clone();
        async move {
            if ambiguous {
                // Closes the connection: what follows cannot be told from the body.
                return Err("ambiguous request");
            }
            match service.call(request).await {
                Ok(response) => Ok(response),
                Err(never) => match never {},
            }
        }
    });
    let serving = builder.serve_connection(TokioIo::new(stream), with_peer);
    tokio::pin!(serving);
    let end = tokio::time::sleep(LONGEST);
    tokio::pin!(end);
    tokio::select! {
        _ = serving.as_mut() => return,
        () = &mut end => {}
        _ = stop.wait_for(|stopped| *stopped) => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(HEADER, serving).await;
}

fn is_ambiguous<B>(request: &Request<B>) -> bool {
    let count = |name| request.headers().get_all(name).iter().count();
    count(header::HOST) > 1
        || count(header::CONTENT_LENGTH) > 1
        || (count(header::CONTENT_LENGTH) > 0 && count(header::TRANSFER_ENCODING) > 0)
}
