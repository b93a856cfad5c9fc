//! Serves the administration page where the settings say, with TLS and our certificate where that is not loopback.

use std::sync::Arc;

use vouchsafe_gateway::control::Control;
use vouchsafe_gateway::gateway::Gateway;
use vouchsafe_gateway::supervisor::Supervisor;
use vouchsafe_net::http::{self, Limits, Peer, Tls};

/// Starts the listeners; the addresses for a browser.
pub fn start(gateway: &Arc<Gateway>, supervisor: &Supervisor) -> Vec<String> {
    let mut urls = Vec::new();
    for address in gateway.settings.load().web.addresses.clone() {
        // Mail does not wait for the page: it is told, and the gateway goes on without.
        let socket = match vouchsafe_net::listener::bind(address) {
            Ok(socket) => socket,
            Err(fault) => {
                tracing::warn!(blame = "us", %address, %fault,
                    "no administration page: is another server there? web.address says where it is served");
                continue;
            }
        };
        let Ok(address) = socket.local_addr() else { continue };
        let tls = (!address.ip().is_loopback()).then(|| Tls::new(supervisor.acceptor()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let router = vouchsafe_web::router(Control::new(Arc::clone(gateway)));
        let service = vouchsafe_web::service(router, |peer: &Peer| vouchsafe_web::From {
            client: Some(peer.address.ip()),
            tls: peer.tls,
        });
        let stop = gateway.tasks.stop_signal();
        gateway.tasks.spawn("web", http::serve(socket, tls, Limits::PAGES, |_| false, service, stop));
        tracing::info!("administration page on {address}");
        urls.push(format!("{scheme}://{address}/"));
    }
    urls
}
