//! Serves the administration page where the settings say, with TLS and our certificate where that is not loopback.

use std::sync::Arc;

use vouchsafe_gateway::control::Control;
use vouchsafe_gateway::gateway::Gateway;
use vouchsafe_gateway::supervisor::Supervisor;
use vouchsafe_net::http::{self, Peer};

/// Starts the listeners; the addresses for a browser.
pub async fn start(gateway: &Arc<Gateway>, supervisor: &Supervisor) -> Result<Vec<String>, String> {
    let mut urls = Vec::new();
    for address in gateway.settings.load().web.addresses.clone() {
        let socket = vouchsafe_net::listener::bind(address).map_err(|fault| {
            format!("web.address {address}: {fault}; is another server there? web.address = \"off\" does without the page")
        })?;
        let address = socket.local_addr().map_err(|fault| fault.to_string())?;
        let acceptor = (!address.ip().is_loopback()).then(|| supervisor.acceptor());
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let router = vouchsafe_web::router(Control::new(Arc::clone(gateway)));
        let service = vouchsafe_web::service(router, |peer: &Peer| vouchsafe_web::From {
            client: Some(peer.address.ip()),
            tls: peer.tls,
        });
        let stop = gateway.tasks.stop_signal();
        gateway.tasks.spawn("web", http::serve(socket, acceptor, service, stop));
        tracing::info!("administration page on {address}");
        urls.push(format!("{scheme}://{address}/"));
    }
    Ok(urls)
}
