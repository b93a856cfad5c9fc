//! The gateway of the demo: as `serve` starts one without a file, with the stand-ins around it. All of its settings may be
//! changed in its page, and go with it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Weak};

use vouchsafe_config::{Flags, Keeping, Layers, Reading, Settings};
use vouchsafe_gateway::gateway::Gateway;
use vouchsafe_gateway::stored::SettingsDoor;
use vouchsafe_gateway::supervisor::Supervisor;
use vouchsafe_net::clock::SystemClock;
use vouchsafe_net::dial::TcpDialer;

use super::port;
use crate::lookup::Machine;
use crate::serve::{first_password, open_stores};
use crate::web;

/// Ports that are looked at before they are taken: where another program is, any free one will do.
const PORTS: &[u16] = &[2525, 2587, 2465, 8080];

/// The gateway with its way to settings in force.
pub(super) struct Around {
    gateway: Arc<Gateway>,
    pub supervisor: Arc<Supervisor>,
    /// Where its page is.
    page: Option<String>,
}

/// Settings over what the demo begins with.
struct Door {
    base: String,
    supervisor: Weak<Supervisor>,
}

fn read(base: &str, stored: &str) -> Result<Reading, Vec<String>> {
    let layers = Layers { base, stored, file: "" };
    layers.read(&Machine).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

impl SettingsDoor for Door {
    fn read(&self, stored: &str) -> Result<Reading, Vec<String>> {
        read(&self.base, stored)
    }

    fn apply(&self, settings: Settings) -> Result<(), String> {
        let supervisor = self.supervisor.upgrade().ok_or("the demo is ending")?;
        supervisor.reload(settings)
    }
}

/// What the demo begins with.
async fn base(dir: &Path, delegates: &[SocketAddr], next_hop: SocketAddr) -> Result<String, String> {
    let (Some(logins), Some(recipients)) = (delegates.first(), delegates.last()) else {
        return Err("there is nobody to ask".to_owned());
    };
    let flags = Flags {
        data_dir: Some(dir.to_owned()),
        delegate: None,
        next_hop: Some(next_hop.to_string()),
        domains: vec!["example.com".to_owned()],
    };
    let mut text = format!(
        "hostname = \"gateway.example\"\n{}[web]\naddress = \"127.0.0.1:8080\"\n\
         [delegate.default]\nauth_in_clear = true\nauth = {{ host = \"{logins}\", tls = \"off\" }}\n\
         recipients = {{ host = \"{recipients}\", tls = \"off\" }}\n{}",
        flags.to_toml(),
        Flags::base_toml()
    );
    for number in PORTS {
        if port(*number).await.is_err() {
            text = text.replace(&format!("127.0.0.1:{number}\""), "127.0.0.1:0\"");
        }
    }
    Ok(text)
}

impl Around {
    pub async fn new(
        dir: &Path,
        delegates: &[SocketAddr],
        next_hop: SocketAddr,
        with_page: bool,
    ) -> Result<Around, String> {
        let base = base(dir, delegates, next_hop).await?;
        let settings = read(&base, "").map_err(|faults| faults.join("\n"))?.settings;
        let stores = open_stores(dir, 0, &Keeping::default())?;
        let clock = Arc::new(SystemClock::new());
        let gateway = Gateway::new(settings, stores, Arc::new(TcpDialer::new()), clock);
        let supervisor = Arc::new(Supervisor::new(Arc::clone(&gateway))?);
        let door = Door { base, supervisor: Arc::downgrade(&supervisor) };
        gateway.stored.set_door(Arc::new(door));
        // At once: its port was free a moment ago.
        let page = with_page.then(|| web::start(&gateway, &supervisor).into_iter().next()).flatten();
        Ok(Around { gateway, supervisor, page })
    }

    /// The page's address, and the one-time password for it.
    pub async fn page(&self) -> Result<Option<(&str, String)>, String> {
        let password = first_password(&self.gateway).await?;
        Ok(self.page.as_deref().zip(password))
    }
}
