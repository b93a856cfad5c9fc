//! From a command to `vouchsafe_gateway::control`: through the running gateway's socket, else over its store.

use std::sync::Arc;

use vouchsafe_config::Settings;
use vouchsafe_gateway::control::{Control, Request, Response};
use vouchsafe_gateway::gateway::{Gateway, Stores};
use vouchsafe_net::clock::SystemClock;
use vouchsafe_net::dial::TcpDialer;
use vouchsafe_store::memory::MemoryStore;

use crate::cli::args::{Place, ServeArgs};
use crate::cli::failure::Failure;
use crate::cli::load;
use crate::door::{self, Line};

/// Carries a request out on what is there; a data directory is not made for a mere question.
pub async fn existing(place: &Place, request: Request) -> Result<Response, Failure> {
    let settings = settings(place)?;
    let dir = &settings.data_dir;
    if !dir.is_dir() {
        return Err(Failure::refused(
            format!("there is no gateway's data in {}", dir.display()),
            "name its place with --config FILE or --data-dir DIR",
        ));
    }
    fresh(settings, request).await
}

/// Carries a request out; a data directory that is missing is made.
pub async fn fresh(settings: Settings, request: Request) -> Result<Response, Failure> {
    answered(door::ask(settings, request).await)
}

/// Asks the running gateway, or one without a store that exists only for this question.
pub async fn storeless(settings: Settings, running: bool, request: Request) -> Result<Response, Failure> {
    if running && let Some(mut line) = open(&settings).await? {
        return answered(line.ask(&request).await);
    }
    let clock = Arc::new(SystemClock::new());
    let gateway = Gateway::new(settings, Stores::of(MemoryStore::new()), Arc::new(TcpDialer::new()), clock);
    answered(Ok(Control::new(gateway).run(request).await))
}

/// The running gateway's socket, if one runs.
pub async fn open(settings: &Settings) -> Result<Option<Line>, Failure> {
    Line::open(&settings.data_dir).await.map_err(refused)
}

/// The running gateway's socket.
pub async fn running(place: &Place) -> Result<Line, Failure> {
    let settings = settings(place)?;
    open(&settings).await?.ok_or_else(|| {
        Failure::refused(
            format!("no gateway runs on {}", settings.data_dir.display()),
            "start it with vouchsafe serve, or name its place with --config FILE or --data-dir DIR",
        )
    })
}

/// The settings of a place, without flags.
pub fn settings(place: &Place) -> Result<Settings, Failure> {
    load::settings(place, &ServeArgs::default()).map(|r| r.settings)
}

/// A refusal becomes a failure.
pub fn answered(response: Result<Response, String>) -> Result<Response, Failure> {
    match response {
        Ok(Response::Refused { why }) => Err(refused(why)),
        Ok(response) => Ok(response),
        Err(why) => Err(refused(why)),
    }
}

/// `what happened; what to do`, as control says it.
fn refused(why: String) -> Failure {
    match why.split_once("; ") {
        Some((what, advice)) => Failure::refused(what, advice),
        None => Failure::refused(why, "the gateway's log says more"),
    }
}

/// An answer that does not fit its question: two versions of the program met.
pub fn unexpected() -> Failure {
    Failure::refused(
        "the gateway answered something else",
        "run the same version of vouchsafe as the gateway",
    )
}
