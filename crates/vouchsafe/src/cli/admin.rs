//! `admin add | list | password | codes-off | remove | token`. A password comes from the terminal or standard input, never from
//! the command line.

use serde_json::{Value, json};
use vouchsafe_core::Timestamp;
use vouchsafe_gateway::admin::Role;
use vouchsafe_gateway::admin::accounts::AdminRow;
use vouchsafe_gateway::admin::tokens::TokenRow;
use vouchsafe_gateway::control::{Request, Response};

use super::args::{AdminCommand, Place, TokenCommand};
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
            let role = role_of(&role)?;
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
        AdminCommand::Token(command) => return tokens(place, command, out).await,
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

async fn tokens(place: &Place, command: TokenCommand, out: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        TokenCommand::List => match ask::existing(place, Request::TokensList).await? {
            Response::Tokens { tokens } => Ok(out.give(|| token_text(&tokens), || token_json(&tokens))?),
            _ => Err(ask::unexpected()),
        },
        TokenCommand::Add { name, role, days } => {
            let request = Request::TokenAdd { name, role: role_of(&role)?, days };
            match ask::fresh(ask::settings(place)?, request).await? {
                Response::Token { name, token } => {
                    let shown = format!("Token {name}, shown only now: {token}\n");
                    Ok(out.give(|| shown, || json!({ "name": name, "token": token }))?)
                }
                _ => Err(ask::unexpected()),
            }
        }
        TokenCommand::Remove { name } => {
            let done = format!("Token {name} removed.\n");
            match ask::existing(place, Request::TokenRemove { name }).await? {
                Response::Done => Ok(out.give(|| done, || json!({ "done": true }))?),
                _ => Err(ask::unexpected()),
            }
        }
    }
}

fn role_of(word: &str) -> Result<Role, Failure> {
    let no_role = || Failure::misused(format!("{word} is no role"), "give read-only, operator or admin");
    Role::of_word(word).ok_or_else(no_role)
}

fn chosen(name: &str) -> Result<String, Failure> {
    in_utf8(&password::choose(&format!("Password for {name}: "))?)
}

fn text(admins: &[AdminRow]) -> String {
    if admins.is_empty() {
        return "There is no administrator; `vouchsafe admin add NAME` adds one.\n".to_owned();
    }
    let row = |admin: &AdminRow| {
        let password = if admin.by_mail { "mail account" } else { "own" };
        let codes = if admin.totp { "on" } else { "off" };
        let (name, added) = (cell(&admin.name, 80), admin.created.rfc3339());
        vec![name, admin.role.label().to_owned(), password.to_owned(), codes.to_owned(), added]
    };
    table(&["NAME", "ROLE", "PASSWORD", "CODES", "ADDED"], &admins.iter().map(row).collect::<Vec<_>>())
}

fn to_json(admins: &[AdminRow]) -> Value {
    let of = |admin: &AdminRow| {
        json!({ "name": admin.name, "role": admin.role.label(), "by_mail": admin.by_mail, "codes": admin.totp,
            "added": admin.created.rfc3339() })
    };
    Value::Array(admins.iter().map(of).collect())
}

fn token_text(tokens: &[TokenRow]) -> String {
    if tokens.is_empty() {
        return "There is no token; `vouchsafe admin token add NAME` makes one.\n".to_owned();
    }
    let time = |at: Option<Timestamp>| at.map_or("never".to_owned(), |at| at.rfc3339());
    let row = |token: &TokenRow| {
        vec![cell(&token.name, 80), token.role.label().to_owned(), time(token.expires), time(token.used)]
    };
    table(&["NAME", "ROLE", "ENDS", "USED"], &tokens.iter().map(row).collect::<Vec<_>>())
}

fn token_json(tokens: &[TokenRow]) -> Value {
    let of = |token: &TokenRow| {
        json!({ "name": token.name, "role": token.role.label(), "created": token.created.rfc3339(),
            "expires": token.expires.map(|at| at.rfc3339()), "used": token.used.map(|at| at.rfc3339()) })
    };
    Value::Array(tokens.iter().map(of).collect())
}
