//! `users add | list | password | remove`. A password comes from the terminal or standard input, never from the
//! command line.

use serde_json::{Value, json};
use vouchsafe_gateway::control::{Request, Response, UserRow};
use vouchsafe_smtp::Secret;

use super::args::{Place, UsersCommand};
use super::ask;
use super::failure::Failure;
use super::output::{Output, cell, table};
use super::password;

/// Runs the command.
pub async fn run(place: &Place, command: UsersCommand, out: &mut Output<'_>) -> Result<(), Failure> {
    let (request, done) = match command {
        UsersCommand::List => {
            return match ask::existing(place, Request::UsersList).await? {
                Response::Users { users } => Ok(out.give(|| text(&users), || to_json(&users))?),
                _ => Err(ask::unexpected()),
            };
        }
        UsersCommand::Add { name } => {
            let password = chosen(&name)?;
            (Request::UserAdd { name: name.clone(), password }, format!("User {name} added."))
        }
        UsersCommand::Password { name } => {
            let password = chosen(&name)?;
            (Request::UserPassword { name: name.clone(), password }, format!("Password of {name} changed."))
        }
        UsersCommand::Remove { name } => {
            (Request::UserRemove { name: name.clone() }, format!("User {name} removed."))
        }
    };
    // A first user may be added before the gateway's first start.
    match ask::fresh(ask::settings(place)?, request).await? {
        Response::Done => Ok(out.give(|| format!("{done}\n"), || json!({ "done": true }))?),
        _ => Err(ask::unexpected()),
    }
}

fn chosen(name: &str) -> Result<String, Failure> {
    in_utf8(&password::choose(&format!("Password for {name}: "))?)
}

/// The control protocol carries text (RFC 4616 §2: passwords are UTF-8).
pub fn in_utf8(password: &Secret) -> Result<String, Failure> {
    match std::str::from_utf8(password.expose()) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Failure::refused("the password is not UTF-8", "give it in UTF-8")),
    }
}

fn text(users: &[UserRow]) -> String {
    if users.is_empty() {
        return "There are no local users.\n".to_owned();
    }
    let row = |u: &UserRow| vec![cell(&u.name, 80), u.created.rfc3339()];
    table(&["USER", "ADDED"], &users.iter().map(row).collect::<Vec<_>>())
}

fn to_json(users: &[UserRow]) -> Value {
    Value::Array(users.iter().map(|u| json!({ "name": u.name, "added": u.created.rfc3339() })).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vouchsafe_core::Timestamp;

    #[test]
    fn users_are_listed_without_their_hashes() {
        let users = [UserRow { name: "alice".to_owned(), created: Timestamp(1_795_415_738_000_000) }];
        assert_eq!(text(&users), "USER   ADDED\nalice  2026-11-23T06:35:38Z\n");
        assert_eq!(to_json(&users), json!([{ "name": "alice", "added": "2026-11-23T06:35:38Z" }]));
    }
}
