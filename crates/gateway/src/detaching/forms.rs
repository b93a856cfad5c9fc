//! From a message whose large parts were moved to the forms its recipients get: one for each route that detaches, in the
//! language of the message or of the settings. Decides for whom before the message comes, and how it looks after.

use std::sync::Arc;
use std::time::Duration;

use vouchsafe_config::{Inbound, Settings};
use vouchsafe_core::attachments::{Check, Detached, Detachment, FormFor, LinkRules};
use vouchsafe_core::detach::{Direction, direction};
use vouchsafe_core::envelope::{Envelope, RouteKey};
use vouchsafe_core::links::{LinkSecret, TOKEN_LEN};
use vouchsafe_core::ports::{Body, StoreFault};
use vouchsafe_core::rewrite::{self, Content};
use vouchsafe_core::stub::{Block, File, Language};
use vouchsafe_core::{Timestamp, links};
use vouchsafe_smtp::Mailbox;

use super::Outcome;
use crate::gateway::Stores;
use crate::intake::Detach;

/// What was made of the message.
pub(crate) struct Made {
    /// The content that is kept.
    pub body: Body,
    /// What was detached.
    pub detached: Detachment,
    /// Octets of the largest form.
    pub largest: u64,
}

/// Routes of the envelope whose recipients get links in place of large parts.
fn routes(envelope: &Envelope, settings: &Settings) -> Vec<RouteKey> {
    let files = &settings.attachments;
    let whole = |route: &RouteKey| match route {
        RouteKey::Domain(name) => settings.domain(name).is_some_and(|domain| domain.files_whole),
        RouteKey::Relay => false,
    };
    let mut routes: Vec<RouteKey> =
        envelope.recipients().iter().map(|(_, permit)| permit.route().clone()).collect();
    routes.sort();
    routes.dedup();
    routes.retain(|route| {
        let on = match direction(route, envelope.origin.known_sender) {
            Direction::Outbound => files.outbound,
            Direction::Internal => files.internal,
            Direction::Inbound => files.inbound != Inbound::Off,
        };
        on && !whole(route)
    });
    routes
}

/// How long the links of this message are good: the longest of what its recipients' domains and directions say. Mail to
/// others goes by the domain of its sender, which is one of ours.
fn good_for(envelope: &Envelope, settings: &Settings) -> Duration {
    let files = &settings.attachments;
    let sender = envelope.mail.reverse_path.mailbox().map(Mailbox::domain);
    let of = |route: &RouteKey| {
        let domain = match route {
            RouteKey::Domain(name) => Some(name.as_str()),
            RouteKey::Relay => sender,
        };
        let own = domain.and_then(|name| settings.domain(name)).and_then(|domain| domain.files_expire);
        own.unwrap_or(match direction(route, envelope.origin.known_sender) {
            Direction::Outbound => files.expire,
            Direction::Internal => files.expire_internal.unwrap_or(files.expire),
            Direction::Inbound => files.expire_inbound.unwrap_or(files.expire),
        })
    };
    routes(envelope, settings).iter().map(of).max().unwrap_or(files.expire)
}

/// Whether parts of this message may be moved, and how.
pub(crate) fn detach(envelope: &Envelope, settings: &Settings, stores: &Stores) -> Option<Detach> {
    // A link must lead somewhere.
    settings.attachments.public_url.as_ref()?;
    let blobs = Arc::clone(stores.blobs.as_ref()?);
    let routes = routes(envelope, settings);
    let all = envelope.recipients().iter().all(|(_, permit)| routes.contains(permit.route()));
    (!routes.is_empty()).then(|| Detach { blobs, rules: settings.attachments.rules.clone(), keep_raw: !all })
}

/// Writes the forms. What is over the hard limit is the caller's to refuse.
pub(crate) async fn make(
    mut outcome: Outcome,
    envelope: &Envelope,
    all: &Settings,
    now: Timestamp,
) -> Result<Made, StoreFault> {
    let settings = &all.attachments;
    let texts = outcome.bodies(&rewrite::texts(&outcome.places)).await?;
    let file = |id: u32, size: u64| rewrite::file(&outcome.places[id as usize].part, size);
    let moved: Vec<(u32, File)> =
        outcome.moved.iter().map(|moved| (moved.id, file(moved.id, moved.blob.len))).collect();
    let files: Vec<File> = moved.iter().map(|(_, file)| file.clone()).collect();
    let content = Content {
        places: &outcome.places,
        moved: &moved,
        len: outcome.len,
        cuts: &outcome.cuts,
        texts: &texts,
        manifest: settings.manifest,
    };
    let of_message = outcome.places.first().and_then(|place| place.part.header.language.as_deref());
    let language = of_message.and_then(Language::of).unwrap_or(settings.language);
    let expire = good_for(envelope, all);
    let block = Block { files: &files, until: now + expire, language };
    let form = rewrite::form(&content, &block).map_err(|bad| StoreFault::Broken(bad.to_string()))?;
    let address = settings.public_url.as_deref().map_or(0, str::len) + 1 + TOKEN_LEN;
    let largest = form.len(&"x".repeat(address));
    let routes = routes(envelope, all);
    let linked =
        (0u32..).zip(envelope.recipients()).filter(|(_, (_, permit))| routes.contains(permit.route()));
    let recipients: Vec<u32> = linked.map(|(index, _)| index).collect();
    let blind =
        if recipients.len() > links::OWN_TOKENS { blind(&mut outcome, envelope).await? } else { Vec::new() };
    let subject = subject(&mut outcome).await?;
    let parts = outcome.moved.iter().zip(&files).zip(0..).map(|((moved, file), position)| Detached {
        blob: moved.blob.clone(),
        file_name: file.name.clone(),
        media_type: file.media_type.clone(),
        position,
    });
    let detached = Detachment {
        subject,
        check: if settings.clamd.is_some() { Check::Waiting } else { Check::Clear },
        parts: parts.collect(),
        forms: vec![FormFor { recipients, recipe: form, files: (0..files.len() as u32).collect() }],
        links: LinkRules {
            per_recipient: settings.per_recipient,
            blind,
            expire,
            access: settings.access,
            downloads: settings.downloads,
            secret: LinkSecret::new(rand::random()),
        },
    };
    Ok(Made { body: outcome.spool.finish(true).await?, detached, largest })
}

/// Characters of a subject that are kept for show.
const SUBJECT: usize = 200;

/// The Subject, as people read it: for the page that a link leads to.
async fn subject(outcome: &mut Outcome) -> Result<String, StoreFault> {
    Ok(shown_subject(&header(outcome).await?))
}

fn shown_subject(header: &str) -> String {
    let mut value = String::new();
    let mut lines = header.split('\n').map(|line| line.trim_end_matches('\r'));
    let named = |line: &&str| line.get(..8).is_some_and(|name| name.eq_ignore_ascii_case("subject:"));
    if let Some(first) = lines.by_ref().take_while(|line| !line.is_empty()).find(named) {
        value.push_str(&first[8..]);
        // RFC 5322 §2.2.3: a line that begins with a blank goes on.
        lines.take_while(|line| line.starts_with([' ', '\t'])).for_each(|line| value.push_str(line));
    }
    let decoded = vouchsafe_mime::words::decode(&value);
    let words: Vec<&str> = decoded.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(SUBJECT).collect()
}

/// The message's header; at most as large as `intake` lets in.
async fn header(outcome: &mut Outcome) -> Result<String, StoreFault> {
    let end = outcome.places.first().map_or(0, |place| place.part.body_at);
    Ok(String::from_utf8_lossy(&outcome.stretch(0..end).await?).into_owned())
}

/// Recipients that the header does not name, by their places.
async fn blind(outcome: &mut Outcome, envelope: &Envelope) -> Result<Vec<u32>, StoreFault> {
    let header = header(outcome).await?.to_lowercase();
    let is_named = |address: &str| header.contains(&address.to_lowercase());
    let all = (0u32..).zip(envelope.recipients());
    Ok(all.filter(|(_, (to, _))| !is_named(to.mailbox.as_str())).map(|(index, _)| index).collect())
}

#[cfg(test)]
mod subjects {
    use super::shown_subject;

    #[test]
    fn a_subject_is_unfolded_decoded_and_cut() {
        let shown = |text: &str| shown_subject(text);
        assert_eq!(
            shown("From: a\r\nSUBJECT: =?utf-8?Q?Pl=C3=A4ne?=\r\n  for\t us \r\nTo: b\r\n"),
            "Pläne for us"
        );
        assert_eq!(shown("From: a\r\n\r\nSubject: of the body\r\n"), "");
        assert_eq!(shown("Subject:\r\n\r\n"), "");
        assert_eq!(shown(&format!("Subject: {}\r\n", "x".repeat(900))).len(), 200);
        assert_eq!(shown("Subject: a\u{7}b"), "ab");
    }
}
