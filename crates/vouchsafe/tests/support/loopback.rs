//! Stand-in delegate and next hop on ports of their own, and a settings file that names them: what the real binary is
//! put between.

use std::path::PathBuf;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use vouchsafe_fakes::serve_tcp;
use vouchsafe_testkit::whole::Stands;
use vouchsafe_testkit::whole::settings::{self, Places};

use super::{PATIENCE, Scratch};

/// Everything around the binary; ends with it.
pub struct Loopback {
    pub stands: Stands,
    pub places: Places,
    pub scratch: Scratch,
    runtime: Runtime,
}

impl Loopback {
    pub fn start() -> Loopback {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (scratch, stands) = (Scratch::new(), Stands::default());
        let bind = || {
            let socket = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("loopback");
            let address = socket.local_addr().expect("it is bound").to_string();
            (socket, address)
        };
        let ((logins, for_logins), (recipients, for_recipients), (mail, for_mail)) = (bind(), bind(), bind());
        runtime.spawn(serve_tcp(logins, stands.delegate.clone()));
        runtime.spawn(serve_tcp(recipients, stands.delegate.clone()));
        runtime.spawn(serve_tcp(mail, stands.next_hop.clone()));
        let places = Places {
            data_dir: scratch.path("data").display().to_string(),
            logins: for_logins,
            recipients: for_recipients,
            next_hop: for_mail,
            listeners: ["127.0.0.1:0"; 3].map(str::to_owned),
        };
        Loopback { stands, places, scratch, runtime }
    }

    /// Writes the settings file with these changes to what every dialogue begins with.
    pub fn settings(&self, changes: &[(String, String)]) -> PathBuf {
        self.scratch.write("vouchsafe.toml", &settings::text(&self.places, changes))
    }

    /// Waits until the next hop has got so many messages.
    pub fn delivered(&self, messages: u64) {
        let next_hop = &self.stands.next_hop;
        let arrived = self.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, next_hop.wait(|seen| seen.messages >= messages)).await
        });
        assert!(arrived.is_ok(), "{messages} messages at the next hop\n{}", self.stands.dialogues());
    }
}
