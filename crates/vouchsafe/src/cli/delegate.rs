//! `delegate test login | recipient` with the whole dialogue, and what is remembered of its verdicts.

use serde_json::{Value, json};
use vouchsafe_config::Settings;
use vouchsafe_core::directory;
use vouchsafe_gateway::control::{Request, Response};
use vouchsafe_gateway::delegate::Tested;

use super::args::{Asked, DelegateCommand, DelegateTest, Place, ServeArgs};
use super::ask;
use super::failure::Failure;
use super::load;
use super::output::{Output, cell, count, table};
use super::{password, users};

/// Runs the command.
pub async fn run(place: &Place, command: DelegateCommand, out: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        DelegateCommand::Test(DelegateTest::Login { name, asked }) => {
            let settings = settings(place, &asked)?;
            let password = users::in_utf8(&password::ask(&format!("Password of {name}: "))?)?;
            let request = Request::TestLogin { delegate: asked.delegate, login: name, password };
            test(ask::storeless(settings, asked.host.is_none(), request).await?, out)
        }
        DelegateCommand::Test(DelegateTest::Recipient { address, asked }) => {
            let settings = settings(place, &asked)?;
            let request = Request::TestRecipient { delegate: asked.delegate, address };
            test(ask::storeless(settings, asked.host.is_none(), request).await?, out)
        }
        DelegateCommand::Verdicts { search, export: true } => {
            let mut line = ask::running(place).await?;
            match ask::answered(line.ask(&Request::VerdictsExport { text: search }).await)? {
                Response::Addresses { addresses } => {
                    let about = "addresses that the delegates took";
                    let text = || directory::list(addresses.iter().map(String::as_str), about);
                    Ok(out.give(text, || json!(addresses))?)
                }
                _ => Err(ask::unexpected()),
            }
        }
        DelegateCommand::Verdicts { search, export: false } => {
            let mut line = ask::running(place).await?;
            match ask::answered(line.ask(&Request::VerdictsList { text: search }).await)? {
                Response::Verdicts { rows } => {
                    Ok(out.give(|| verdicts_text(&rows), || verdicts_json(&rows))?)
                }
                _ => Err(ask::unexpected()),
            }
        }
        DelegateCommand::Flush { what, .. } => {
            let mut line = ask::running(place).await?;
            let request = Request::VerdictsFlush { what: what.unwrap_or_default() };
            match ask::answered(line.ask(&request).await)? {
                Response::Changed { count: n } => Ok(out.give(
                    || format!("{} forgotten.\n", count(n, "verdict", "verdicts")),
                    || json!({ "changed": n }),
                )?),
                _ => Err(ask::unexpected()),
            }
        }
    }
}

/// The settings in which the delegate is found.
fn settings(place: &Place, asked: &Asked) -> Result<Settings, Failure> {
    let flags = ServeArgs {
        delegate: asked.host.clone(),
        // Nothing is sent there; without it the flags would not be complete.
        next_hop: asked.host.as_ref().map(|_| "next-hop.invalid".to_owned()),
        domains: Vec::new(),
    };
    load::settings(place, &flags).map(|r| r.settings)
}

/// Yes ends 0, no and don't know end 1: the dialogue says the rest.
fn test(response: Response, out: &mut Output<'_>) -> Result<(), Failure> {
    let Response::Tested(tested) = response else { return Err(ask::unexpected()) };
    out.give(|| tested_text(&tested), || tested_json(&tested))?;
    if tested.verdict == "accept" { Ok(()) } else { Err(Failure::Told) }
}

fn tested_text(tested: &Tested) -> String {
    let mut out = format!("# {}\n", tested.endpoint);
    for line in &tested.dialogue {
        out.push_str(&cell(line, 2000));
        out.push('\n');
    }
    let meaning = match tested.verdict.as_str() {
        "accept" => "yes",
        "reject" => "no",
        _ => "cannot tell now",
    };
    out.push_str(&format!("= {meaning}: {}\n", cell(&tested.detail, 500)));
    out
}

fn tested_json(tested: &Tested) -> Value {
    json!({
        "endpoint": tested.endpoint,
        "verdict": tested.verdict,
        "detail": tested.detail,
        "dialogue": tested.dialogue,
    })
}

fn verdicts_text(rows: &[(String, String, String)]) -> String {
    if rows.is_empty() {
        return "Nothing is remembered.\n".to_owned();
    }
    let row = |(d, a, s): &(String, String, String)| vec![d.clone(), cell(a, 80), cell(s, 200)];
    table(&["DELEGATE", "ADDRESS", "VERDICT"], &rows.iter().map(row).collect::<Vec<_>>())
}

fn verdicts_json(rows: &[(String, String, String)]) -> Value {
    let of = |(d, a, s): &(String, String, String)| json!({ "delegate": d, "address": a, "verdict": s });
    Value::Array(rows.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tested(verdict: &str) -> Response {
        Response::Tested(Tested {
            endpoint: "mail.example.com:25".to_owned(),
            dialogue: vec!["D< 220 mail.example.com".to_owned(), "D> EHLO gw.example.com".to_owned()],
            verdict: verdict.to_owned(),
            detail: "550 5.1.1 no such user".to_owned(),
        })
    }

    #[test]
    fn a_test_prints_the_dialogue_and_what_it_means() {
        let mut said = Vec::new();
        let end = test(tested("reject"), &mut Output { json: false, to: &mut said });
        assert_eq!(end, Err(Failure::Told));
        let expected = "\
# mail.example.com:25
D< 220 mail.example.com
D> EHLO gw.example.com
= no: 550 5.1.1 no such user
";
        assert_eq!(String::from_utf8(said).unwrap(), expected);
    }

    #[test]
    fn a_yes_ends_well() {
        let mut said = Vec::new();
        assert_eq!(test(tested("accept"), &mut Output { json: true, to: &mut said }), Ok(()));
        assert_eq!(serde_json::from_slice::<Value>(&said).unwrap()["verdict"], "accept");
    }
}
