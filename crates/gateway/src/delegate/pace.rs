//! How quickly sessions are opened at a delegate, logins and recipients together: a token bucket (`core::bucket`). Whoever
//! is too early waits, within its own deadline. Proof: `tests/places.rs`.

use std::sync::{Arc, Mutex};

use tokio::time::sleep;
use vouchsafe_config as settings;
use vouchsafe_core::bucket::Buckets;
use vouchsafe_core::ports::Clock;
use vouchsafe_net::clock::SystemClock;

use super::lock;

pub(super) struct Pace {
    bucket: Mutex<Buckets<()>>,
    clock: Arc<SystemClock>,
}

impl Pace {
    /// As the settings say; a second's worth may come at once.
    pub fn of(settings: &settings::Delegate, clock: &Arc<SystemClock>) -> Pace {
        let rate = settings.sessions_per_second.max(1);
        let every = std::time::Duration::from_secs(1) / rate;
        Pace { bucket: Mutex::new(Buckets::new(rate, every)), clock: Arc::clone(clock) }
    }

    /// Waits until one more session may be opened.
    pub async fn session(&self) {
        loop {
            let taken = lock(&self.bucket).take((), self.clock.tick());
            match taken {
                Ok(()) => return,
                Err(wait) => sleep(wait).await,
            }
        }
    }
}
