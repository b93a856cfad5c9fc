//! Serves the administration pages and the download pages, each on listeners of its own, with TLS and our certificate where
//! that is not loopback, or where the settings say so.

use std::sync::Arc;

use vouchsafe_core::policy::in_networks;
use vouchsafe_gateway::control::Control;
use vouchsafe_gateway::downloads::Downloads;
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
        let service = vouchsafe_web::service(router, from);
        let stop = gateway.tasks.stop_signal();
        gateway.tasks.spawn("web", http::serve(socket, tls, Limits::PAGES, |_| false, service, stop));
        tracing::info!("administration page on {address}");
        urls.push(format!("{scheme}://{address}/"));
    }
    urls
}

fn from(peer: &Peer) -> vouchsafe_web::From {
    vouchsafe_web::From { client: Some(peer.address.ip()), tls: peer.tls }
}

/// Starts the listeners of the download pages; their addresses.
pub async fn start_downloads(gateway: &Arc<Gateway>, supervisor: &Supervisor) -> Result<Vec<String>, String> {
    let settings = gateway.settings.load_full();
    if settings.web.downloads.is_empty() {
        return Ok(Vec::new());
    }
    let door = Downloads::open(Arc::clone(gateway)).await.map_err(|fault| fault.to_string())?;
    let mut urls = Vec::new();
    for address in settings.web.downloads.clone() {
        let socket = match vouchsafe_net::listener::bind(address) {
            Ok(socket) => socket,
            Err(fault) => {
                tracing::error!(blame = "us", %address, %fault, alert = true,
                    "no download pages: links lead nowhere; is another server there? web.downloads says where they are served");
                continue;
            }
        };
        let Ok(address) = socket.local_addr() else { continue };
        let has_tls = settings.web.downloads_tls.unwrap_or(!address.ip().is_loopback());
        let tls = has_tls.then(|| Tls::new(supervisor.acceptor()));
        let service = vouchsafe_web::service(vouchsafe_web::download_router(Arc::clone(&door)), from);
        let (stop, front) = (gateway.tasks.stop_signal(), Arc::clone(&gateway.settings));
        let is_front_end = move |address| in_networks(address, &front.load().web.proxies);
        let serving = http::serve(socket, tls, Limits::FILES, is_front_end, service, stop);
        gateway.tasks.spawn("downloads", serving);
        tracing::info!("download pages on {address}");
        urls.push(format!("{}://{address}/", if has_tls { "https" } else { "http" }));
    }
    Ok(urls)
}
