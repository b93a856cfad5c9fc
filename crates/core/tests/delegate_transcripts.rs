//! Runs `transcripts/delegate`: the client machine speaks, and `verdict` reads what it heard. Each row of FACTS
//! section 7 has a transcript that covers `facts7.ROW`.
//!
//! Checks on top of the client's: `=: verdict ADDRESS WHAT`, `=: verdict login WHAT`, `=: verdict fault WHAT`, where
//! WHAT is `accept`, `reject 550 5.1.1`, `unavailable`, `unavailable alert`, `pass 501`, `pass 534 alert`, or `again`;
//! a `*` in front of ADDRESS reads the reply in "*" mode.

use std::path::Path;

use vouchsafe_core::verdict::{ProbeTo, Rules, Verdict, classify_auth, classify_fault, classify_recipient};
use vouchsafe_core::{Endpoint, Tell, TlsMode};
use vouchsafe_testkit::client_world::{World, run_folder};

#[test]
fn delegate_transcripts_hold() {
    run_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../transcripts/delegate"), &check);
}

fn check(text: &str, world: &mut World) -> Option<Result<(), String>> {
    let (subject, expected) = text.strip_prefix("verdict ")?.split_once(' ')?;
    let verdict = match judge(subject, world) {
        Ok(verdict) => in_short(verdict),
        Err(fault) => return Some(Err(fault)),
    };
    Some(if verdict == expected { Ok(()) } else { Err(format!("is {verdict}, expected {expected}")) })
}

fn judge(subject: &str, world: &mut World) -> Result<Option<Verdict>, String> {
    let delegate = Endpoint {
        protocol: vouchsafe_core::Protocol::Smtp,
        host: "mail.example".to_owned(),
        port: 25,
        tls: TlsMode::Off,
        implicit_tls: false,
        login: None,
        tell: Tell::Nothing,
    };
    match subject {
        "fault" => {
            let (phase, kind) = world.told_fault().ok_or("there is no fault")?;
            Ok(Some(classify_fault("cause".to_owned(), *phase, kind)))
        }
        "login" => {
            let said = world.auth.take().ok_or("no reply to AUTH")?;
            Ok(Some(classify_auth(&delegate, &said)))
        }
        _ => {
            let (any_domain, address) = match subject.strip_prefix('*') {
                Some(address) => (true, address),
                None => (false, subject),
            };
            let said = world.answer(address).ok_or("no answer about that address")?;
            // The machine gives a 354 as an answer to DATA only.
            let probe_to = if said.code == 354 { ProbeTo::Data } else { ProbeTo::Rcpt };
            Ok(classify_recipient(&delegate, &said, Rules { any_domain, probe_to, ..Rules::default() }))
        }
    }
}

fn in_short(verdict: Option<Verdict>) -> String {
    let coded = |verb: &str, tell: vouchsafe_smtp::Reply| {
        let enhanced = tell.enhanced.map(|enhanced| enhanced.to_string()).unwrap_or_default();
        format!("{verb} {} {enhanced}", tell.code)
    };
    match verdict {
        None => "again".to_owned(),
        Some(Verdict::Accept(_)) => "accept".to_owned(),
        Some(Verdict::Reject { tell, .. }) => coded("reject", tell),
        Some(Verdict::Unavailable { alert, .. }) => {
            format!("unavailable{}", if alert { " alert" } else { "" })
        }
        Some(Verdict::PassOn { tell, alert }) => {
            format!("pass {}{}", tell.code, if alert { " alert" } else { "" })
        }
    }
}
