//! Our own login at a delegate that answers about recipients only after one (`recipients.login`).
//!
//! One session logs in at a time, and a refused login is not tried again before accounts have forgotten it: whatever is
//! wrong with the password, the account is never locked by us. A changed setting is tried at once: its delegate is new. So is
//! what an administrator asks for (`delegate test recipient`), and what comes of that counts.
//! Proof: `transcripts/e2e/own_login_*`, `tests/own_login.rs`.

use std::time::Duration;

use tokio::sync::Mutex;
use vouchsafe_core::Endpoint;
use vouchsafe_core::ports::Clock;
use vouchsafe_net::client::{Connection, Fault, FaultKind, Phase};
use vouchsafe_smtp::Tick;

/// Active Directory clears its counter of wrong passwords after 30 quiet minutes (FACTS section 2).
const QUIET: Duration = Duration::from_secs(35 * 60);

/// Whose wish a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Somebody's who sends mail.
    Sender,
    /// The administrator's, who may have mended what was wrong.
    Administrator,
}

/// What came of the last login.
#[derive(Default)]
pub(super) struct OwnLogin {
    /// Held while a session is opened: whoever comes next sees what came of it.
    refused: Mutex<Option<(Tick, Fault)>>,
}

impl OwnLogin {
    /// Opens a session at `endpoint`, unless its login was refused a short while ago.
    pub(super) async fn open(
        &self,
        endpoint: &Endpoint,
        clock: &dyn Clock,
        wish: Wish,
        opening: impl Future<Output = Result<Connection, Fault>>,
    ) -> Result<Connection, Fault> {
        if endpoint.login.is_none() {
            return opening.await;
        }
        let mut refused = self.refused.lock().await;
        if let Some((since, fault)) = &*refused
            && wish == Wish::Sender
            && clock.tick().since(*since) < QUIET
        {
            return Err(fault.clone());
        }
        let opened = opening.await;
        *refused =
            opened.as_ref().err().filter(|fault| is_guess(fault)).map(|fault| (clock.tick(), fault.clone()));
        if let Some((_, fault)) = &*refused {
            tracing::error!(blame = "delegate", delegate = %endpoint, %fault, minutes = QUIET.as_secs() / 60,
                "our own login (recipients.login) was not taken; it is tried again after these minutes, when the settings change, or by `vouchsafe delegate test recipient`");
        }
        opened
    }
}

/// The credentials may have been counted as wrong: they left us, and were not put off.
fn is_guess(fault: &Fault) -> bool {
    let put_off = match &fault.kind {
        FaultKind::Refused(reply) => reply.is_transient(),
        FaultKind::Local(_) => true,
        _ => false,
    };
    fault.phase == Phase::Auth && !put_off
}
