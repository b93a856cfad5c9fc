//! `admin add | list | password | codes-off | remove`. A password comes from the terminal or standard input, never from
//! the command line.

use serde_json::{Value, json};
use vouchsafe_gateway::admin::Role;
use vouchsafe_gateway::admin::accounts::AdminRow;
use vouchsafe_gateway::control::{Request, Response};

use super::args::{AdminCommand, Place};
use super::ask;
use super::failure::Failure;
use super::output::{Output, cell, table};
use super::password;
use super::users::in_utf8;

/// Runs the command.
pub async fn run(place: &Place, command: AdminCommand, out: &mut Output<'_>) -> Result<(), Failure> {
    let (request, done) = match command {
        AdminCommand::List => {
            return match ask::existing(place, Request::AdminsList).await? {
                Response::Admins { admins } => Ok(out.give(|| text(&admins), || to_json(&admins))?),
                _ => Err(ask::unexpected()),
            };
        }
        AdminCommand::Add { name, role, by_mail } => {
            let Some(role) = Role::of_word(&role) else {
                return Err(Failure::misused(
                    format!("{role} is no role"),
                    "give read-only, operator or admin",
                ));
            };
            let password = if by_mail { None } else { Some(chosen(&name)?) };
            (Request::AdminAdd { name: name.clone(), password, role }, format!("Administrator {name} added."))
        }
        AdminCommand::Password { name } => {
            let password = chosen(&name)?;
            (Request::AdminPassword { name: name.clone(), password }, format!("Password of {name} changed."))
        }
        AdminCommand::CodesOff { name } => {
            (Request::AdminCodesOff { name: name.clone() }, format!("One-time codes of {name} are off."))
        }
        AdminCommand::Remove { name } => {
            (Request::AdminRemove { name: name.clone() }, format!("Administrator {name} removed."))
        }
    };
    // The first one may be added before the gateway's first start.
    match ask::fresh(ask::settings(place)?, request).await? {
        Response::Done => Ok(out.give(|| format!("{done}\n"), || json!({ "done": true }))?),
        _ => Err(ask::unexpected()),
    }
}

fn chosen(name: &str) -> Result<String, Failure> {
    in_utf8(&password::choose(&format!("Password for {name}: "))?)
}

fn role(row: &AdminRow) -> String {
    row.role.word().replace('_', "-")
}

fn text(admins: &[AdminRow]) -> String {
    if admins.is_empty() {
        return "There is no administrator; `vouchsafe admin add NAME` adds one.\n".to_owned();
    }
    let row = |admin: &AdminRow| {
        let password = if admin.by_mail { "mail account" } else { "own" };
        let codes = if admin.totp { "on" } else { "off" };
        let (name, added) = (cell(&admin.name, 80), admin.created.rfc3339());
        vec![name, role(admin), password.to_owned(), codes.to_owned(), added]
    };
    table(&["NAME", "ROLE", "PASSWORD", "CODES", "ADDED"], &admins.iter().map(row).collect::<Vec<_>>())
}

fn to_json(admins: &[AdminRow]) -> Value {
    let of = |admin: &AdminRow| {
        json!({ "name": admin.name, "role": role(admin), "by_mail": admin.by_mail, "codes": admin.totp,
            "added": admin.created.rfc3339() })
    };
    Value::Array(admins.iter().map(of).collect())
}
