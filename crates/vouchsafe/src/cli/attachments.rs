//! `attachments list | show | revoke | extend | hold | erase | release | refuse | export`: files that were swapped for links.

use serde_json::json;
use vouchsafe_config::parse_time;
use vouchsafe_core::attachments::{AuditRow, Check, Share, ShareFilter};
use vouchsafe_core::ports::Clock;
use vouchsafe_core::{MessageId, Timestamp};
use vouchsafe_gateway::control::{Request, Response};
use vouchsafe_gateway::shares::ShareAct;
use vouchsafe_net::clock::SystemClock;

use super::args::{AttachmentsCommand, Place, Whose};
use super::ask;
use super::failure::Failure;
use super::output::{Output, cell, count, size, table};

/// Runs the command.
pub async fn run(place: &Place, command: AttachmentsCommand, out: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        AttachmentsCommand::List { text, address, held, check, limit } => {
            let hold = held.then_some(true);
            let check = Check::ALL.into_iter().find(|known| check.as_deref() == Some(known.word()));
            let filter = ShareFilter { text, address, hold, check, limit, ..ShareFilter::default() };
            let (now, shares) = shares(place, filter).await?;
            Ok(out.give(|| list_text(&shares, now), || json!(shares))?)
        }
        AttachmentsCommand::Show { id } => {
            let filter = ShareFilter { message: Some(parse_id(&id)?), ..ShareFilter::default() };
            let (now, shares) = shares(place, filter).await?;
            let share = shares.first().ok_or_else(|| nothing("show"))?;
            Ok(out.give(|| show_text(share, now), || json!(share))?)
        }
        AttachmentsCommand::Revoke { whose, link } => {
            act(place, whose, ShareAct::Revoke { link }, "taken back", out).await
        }
        AttachmentsCommand::Extend { whose, time } => {
            let longer = parse_time(&time).ok_or_else(|| {
                Failure::misused(format!("{time} is not a time"), "write it as 30d, 12h or 15m")
            })?;
            let until = SystemClock::new().now() + longer;
            act(place, whose, ShareAct::Extend { until }, &format!("good until {}", until.rfc3339()), out)
                .await
        }
        AttachmentsCommand::Hold { whose, release } => {
            let what = if release { "no longer on hold" } else { "on hold" };
            act(place, whose, ShareAct::Hold { on: !release }, what, out).await
        }
        AttachmentsCommand::Erase { whose, yes } => {
            if whose.id.is_none() && !yes {
                let what = "this erases the files of all such messages for good";
                return Err(Failure::misused(what, "say --yes if it shall be"));
            }
            act(place, whose, ShareAct::Erase, "erased", out).await
        }
        AttachmentsCommand::Release { id, file, harmful } => {
            act(place, one(id), ShareAct::Release { file, harmful }, "given free", out).await
        }
        AttachmentsCommand::Refuse { id, file } => {
            act(place, one(id), ShareAct::Refuse { file }, "nobody gets them any more", out).await
        }
        AttachmentsCommand::Export { message } => export(place, message, out).await,
    }
}

/// A message by its id alone.
fn one(id: String) -> Whose {
    Whose { id: Some(id), sender: None, recipient: None }
}

async fn shares(place: &Place, filter: ShareFilter) -> Result<(Timestamp, Vec<Share>), Failure> {
    match ask::existing(place, Request::AttachmentsList { filter }).await? {
        Response::Shares { now, shares } => Ok((now, shares)),
        _ => Err(ask::unexpected()),
    }
}

async fn act(
    place: &Place,
    whose: Whose,
    act: ShareAct,
    done: &str,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let Whose { id, sender, recipient } = whose;
    let message = id.as_deref().map(parse_id).transpose()?;
    let verb = act.verb();
    let filter = ShareFilter { message, sender, recipient, ..ShareFilter::default() };
    let (changed, held) = match ask::existing(place, Request::AttachmentsAct { filter, act }).await? {
        Response::SharesChanged { count, held } => (count, held),
        _ => return Err(ask::unexpected()),
    };
    match (changed, held) {
        (0, 0) => Err(nothing(verb)),
        (0, _) => Err(Failure::refused(
            format!("on hold, nothing was erased: {}", messages(held)),
            "vouchsafe attachments hold --release ends a hold",
        )),
        _ => {
            let stay =
                if held > 0 { format!(" {} on hold and kept.", messages(held)) } else { String::new() };
            let text = || format!("Files of {}: {done}.{stay}\n", messages(changed));
            Ok(out.give(text, || json!({ "changed": changed, "held": held }))?)
        }
    }
}

/// Every line, with a look at each whether it follows from the one before.
async fn export(place: &Place, message: Option<String>, out: &mut Output<'_>) -> Result<(), Failure> {
    let only = message.as_deref().map(parse_id).transpose()?;
    let (mut after, mut chain) = (0, String::new());
    loop {
        let rows = match ask::existing(place, Request::AttachmentsAudit { after, message: None }).await? {
            Response::ShareAudit { rows } => rows,
            _ => return Err(ask::unexpected()),
        };
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            follows(&row, after, &chain)?;
            if only.is_none_or(|only| row.message == Some(only)) {
                let line = || json!(row).to_string();
                out.line(line, || json!(row))?;
            }
            (after, chain) = (row.number, row.chain);
        }
    }
}

fn follows(row: &AuditRow, number: i64, chain: &str) -> Result<(), Failure> {
    if row.number == number + 1 && row.chain == row.chained(chain) {
        return Ok(());
    }
    Err(Failure::refused(
        format!("line {} of the audit log does not follow from line {number}", row.number),
        "it was changed, or lines were taken out: compare it with a backup of queue.db",
    ))
}

fn parse_id(text: &str) -> Result<MessageId, Failure> {
    text.parse().map_err(|_| {
        Failure::misused(format!("{text} is not a message id"), "vouchsafe attachments list shows the ids")
    })
}

fn nothing(verb: &str) -> Failure {
    Failure::refused(format!("nothing to {verb}"), "vouchsafe attachments list shows what there is")
}

fn messages(number: u64) -> String {
    count(number, "message", "messages")
}

fn list_text(shares: &[Share], now: Timestamp) -> String {
    if shares.is_empty() {
        return "No files are behind links.\n".to_owned();
    }
    let row = |share: &Share| {
        vec![
            share.message.to_string(),
            share.state(now).word().to_owned(),
            share.expires.rfc3339(),
            share.files.len().to_string(),
            size(share.size()),
            share.downloads().to_string(),
            sender(share),
            cell(&recipients(share), 80),
        ]
    };
    let head = ["MESSAGE", "STATE", "UNTIL", "FILES", "SIZE", "FETCHED", "FROM", "TO"];
    table(&head, &shares.iter().map(row).collect::<Vec<_>>())
}

fn sender(share: &Share) -> String {
    if share.sender.is_empty() { "<>".to_owned() } else { cell(&share.sender, 60) }
}

fn recipients(share: &Share) -> String {
    share
        .links
        .iter()
        .flat_map(|link| link.recipients.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" ")
}

fn show_text(share: &Share, now: Timestamp) -> String {
    let mut text = format!("Message   {}\nFrom      {}\n", share.message, sender(share));
    if !share.subject.is_empty() {
        text += &format!("Subject   {}\n", cell(&share.subject, 200));
    }
    text += &format!("State     {}, good until {}\n", share.state(now).word(), share.expires.rfc3339());
    if let Some(at) = share.revoked {
        text += &format!("Revoked   {}\n", at.rfc3339());
    }
    text += "\nFiles\n";
    let file = |file: &vouchsafe_core::attachments::SharedFile| {
        vec![
            file.position.to_string(),
            size(file.size),
            file.downloads.to_string(),
            file.check.word().to_owned(),
            file.sha256.clone(),
            cell(&file.file_name, 120),
        ]
    };
    let files: Vec<_> = share.files.iter().map(file).collect();
    text += &table(&["NO", "SIZE", "FETCHED", "CHECK", "SHA-256", "NAME"], &files);
    text += "\nLinks\n";
    let link = |link: &vouchsafe_core::attachments::LinkRow| {
        vec![
            link.id.clone(),
            if link.revoked.is_some() { "revoked" } else { "open" }.to_owned(),
            link.files.as_ref().map_or("all".to_owned(), |files| numbers(files)),
            link.downloads.to_string(),
            link.last_download.map_or("-".to_owned(), Timestamp::rfc3339),
            cell(&link.recipients.join(" "), 120),
        ]
    };
    let links: Vec<_> = share.links.iter().map(link).collect();
    text + &table(&["LINK", "STATE", "FILES", "FETCHED", "LAST", "TO"], &links)
}

fn numbers(files: &[u32]) -> String {
    files.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: i64, before: &str) -> AuditRow {
        let at = Timestamp(1_795_415_738_000_000);
        let (what, who) = ("fetch".to_owned(), "192.0.2.1".to_owned());
        let mut row =
            AuditRow { number, at, what, who, message: None, detail: String::new(), chain: String::new() };
        row.chain = row.chained(before);
        row
    }

    #[test]
    fn a_line_that_was_changed_or_taken_out_is_seen() {
        let first = row(1, "");
        let second = row(2, &first.chain);
        assert!(follows(&first, 0, "").is_ok());
        assert!(follows(&second, 1, &first.chain).is_ok());
        assert!(follows(&second, 0, "").is_err(), "the first is gone");
        let changed = AuditRow { who: "nobody".to_owned(), ..second };
        assert!(follows(&changed, 1, &first.chain).is_err());
    }
}
