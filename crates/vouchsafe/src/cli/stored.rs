//! Stored settings from the command line: in the running gateway, else over its store, so that settings which keep the
//! gateway from starting can be taken back.

use std::sync::Arc;

use serde_json::json;
use vouchsafe_config::Keeping;
use vouchsafe_core::ports::Clock;
use vouchsafe_gateway::admin::Caller;
use vouchsafe_gateway::control::{Request, Response};
use vouchsafe_gateway::stored::{Stored, Version};
use vouchsafe_net::clock::SystemClock;

use super::args::{Place, ServeArgs};
use super::failure::Failure;
use super::output::Output;
use super::{ask, load};
use crate::door::Line;
use crate::serve::{Door, open_stores};

/// Carries one of the requests about stored settings out and shows the answer.
pub async fn run(place: &Place, request: Request, out: &mut Output<'_>) -> Result<(), Failure> {
    let source = load::source(place, &ServeArgs::default());
    let advice = "name the settings file with --config FILE";
    let dir = load::data_dir(&source)
        .map_err(|unread| Failure::refused(unread.lines(&source).join("\n"), advice))?;
    let failed = |why: String| Failure::refused(why, "nothing was changed");
    let response = match Line::open(&dir).await.map_err(failed)? {
        Some(mut line) => line.ask(&request).await,
        None => {
            let stored = Stored::new(open_stores(&dir, 0, &Keeping::default()).map_err(failed)?.settings);
            stored.set_door(Arc::new(Door { source, supervisor: None }));
            offline(&stored, request).await
        }
    };
    match ask::answered(response)? {
        Response::Version(version) => Ok(out.give(|| changed(&version), || json!(version))?),
        Response::Versions { versions } => Ok(out.give(|| text(&versions), || json!(versions))?),
        _ => Err(ask::unexpected()),
    }
}

async fn offline(stored: &Stored, request: Request) -> Result<Response, String> {
    let (by, now) = (Caller::command_line().name, SystemClock::new().now());
    let lines = |faults: Vec<String>| faults.join("\n");
    match request {
        Request::SettingsChange { changes } => {
            stored.change(&changes, &by, now).await.map(Response::Version).map_err(lines)
        }
        Request::SettingsRollback { version } => {
            stored.roll_back(version, &by, now).await.map(Response::Version).map_err(lines)
        }
        _ => {
            let versions = stored.history().await.map_err(|fault| fault.to_string())?;
            Ok(Response::Versions { versions })
        }
    }
}

fn changed(version: &Version) -> String {
    let lines: Vec<String> = version.changes.iter().map(|line| format!("{line}\n")).collect();
    format!("Version {}:\n{}", version.number, lines.concat())
}

fn text(versions: &[Version]) -> String {
    if versions.is_empty() {
        return "Nothing was ever set in the store.\n".to_owned();
    }
    let of = |version: &Version| format!("{} {}  {}", version.at.rfc3339(), version.by, changed(version));
    versions.iter().map(of).collect::<Vec<_>>().join("\n")
}
