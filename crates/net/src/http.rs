//! HTTP/1.1 and HTTP/2 around a service that somebody else gives: TLS, limits, time-outs. Decides nothing.
//!
//! A header that dribbles in is cut after ten seconds, whoever reads no answer is cut after a minute, a connection past the
//! cap waits in the kernel, and one past the cap of its address is closed. Requests that a front end could read differently
//! never reach the service (ASVS 4.2.1, [`is_ambiguous`]). Proof: `crates/vouchsafe/tests/{web,downloads}.rs`, `crate::stall`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::service::Service;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::stall::Moving;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At once.
    pub connections: usize,
    /// Of one address at once.
    pub per_address: usize,
    /// Longest life of one.
    pub longest: Duration,
}

impl Limits {
    /// For pages alone.
    pub const PAGES: Limits =
        Limits { connections: 256, per_address: 256, longest: Duration::from_secs(3600) };
    /// For large files: a slow line takes a day for one.
    pub const FILES: Limits =
        Limits { connections: 2048, per_address: 128, longest: Duration::from_secs(24 * 3600) };
}

/// Time for a whole request header.
const HEADER: Duration = Duration::from_secs(10);
/// Octets of a header.
const HEADER_SIZE: usize = 64 * 1024;
/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest time without an octet taken, while there are some to send.
const STALL: Duration = Duration::from_secs(60);
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

/// TLS as HTTP wants it, made from a certificate that may be swapped meanwhile.
pub struct Tls {
    source: Box<dyn Fn() -> TlsAcceptor + Send + Sync>,
    made: Mutex<Option<(Arc<ServerConfig>, TlsAcceptor)>>,
}

impl Tls {
    /// `source` gives what is in force.
    pub fn new(source: impl Fn() -> TlsAcceptor + Send + Sync + 'static) -> Tls {
        Tls { source: Box::new(source), made: Mutex::default() }
    }

    /// RFC 7301: with the protocols that we speak.
    fn acceptor(&self) -> TlsAcceptor {
        let current = (self.source)();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some((of, acceptor)) if Arc::ptr_eq(of, current.config()) => acceptor.clone(),
            _ => {
                let mut config = ServerConfig::clone(current.config());
                config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
                let acceptor = TlsAcceptor::from(Arc::new(config));
                *made = Some((Arc::clone(current.config()), acceptor.clone()));
                acceptor
            }
        }
    }
}

/// Connections by address.
type ByAddress = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// A connection's place among those of its address; given back when dropped.
struct Place {
    by_address: ByAddress,
    address: IpAddr,
}

impl Place {
    fn take(by_address: &ByAddress, address: IpAddr, most: usize) -> Option<Place> {
        let mut counts = by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let here = counts.entry(address).or_default();
        if *here >= most {
            return None;
        }
        *here += 1;
        Some(Place { by_address: Arc::clone(by_address), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = counts.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Serves until told to stop; then requests under way are finished. `exempt` says whose connections are not counted by
/// address: front ends, whose clients are many.
pub async fn serve<S, B>(
    socket: TcpListener,
    tls: Option<Tls>,
    limits: Limits,
    exempt: impl Fn(IpAddr) -> bool,
    service: S,
    mut stop: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Default + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let by_address = ByAddress::default();
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
        let from = address.ip().to_canonical();
        let most = if exempt(from) { limits.connections } else { limits.per_address };
        let Some(counted) = Place::take(&by_address, from, most) else { continue };
        let stream = Moving::new(stream, STALL);
        let (acceptor, service, stop) = (tls.as_ref().map(Tls::acceptor), service.clone(), stop.clone());
        connections.spawn(async move {
            let _places = (place, counted);
            match acceptor {
                Some(acceptor) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        connection(stream, Peer { address, tls: true }, limits.longest, service, stop).await;
                    }
                }
                None => connection(stream, Peer { address, tls: false }, limits.longest, service, stop).await,
            }
        });
        while connections.try_join_next().is_some() {}
    }
    while connections.join_next().await.is_some() {}
}

async fn connection<S, B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    longest: Duration,
    service: S,
    mut stop: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Default + Send + 'static,
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
                // Where its body ends is in doubt, so nothing behind it is read.
                let mut response = Response::new(B::default());
                *response.status_mut() = StatusCode::BAD_REQUEST;
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                return Ok(response);
            }
            service.call(request).await
        }
    });
    let serving = builder.serve_connection(TokioIo::new(stream), with_peer);
    tokio::pin!(serving);
    let end = tokio::time::sleep(longest);
    tokio::pin!(end);
    tokio::select! {
        _ = serving.as_mut() => return,
        () = &mut end => {}
        _ = stop.wait_for(|stopped| *stopped) => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(HEADER, serving).await;
}

/// Two hosts, none (RFC 9112 §3.2), or a body whose end could be read in two ways. The parser drops a length beside
/// `Transfer-Encoding` unseen, so a coded body is refused even where it is alone: pages and clients of ours send a length.
fn is_ambiguous<B>(request: &Request<B>) -> bool {
    let count = |name| request.headers().get_all(name).iter().count();
    count(header::HOST) > 1
        || (request.version() == Version::HTTP_11 && count(header::HOST) == 0)
        || count(header::CONTENT_LENGTH) > 1
        || count(header::TRANSFER_ENCODING) > 0
}
