//! From a message whose large parts were moved to the forms its recipients get: one for all whose links lead to the same
//! files and who are told of them in the same language. Says how it looks, never for whom ([`super::classes`]).

use std::collections::BTreeMap;

use vouchsafe_config::Settings;
use vouchsafe_core::attachments::{Check, Detached, Detachment, FormFor, LinkRules};
use vouchsafe_core::detach::Weight;
use vouchsafe_core::envelope::Envelope;
use vouchsafe_core::links::{LinkSecret, TOKEN_LEN};
use vouchsafe_core::ports::{Body, StoreFault};
use vouchsafe_core::rewrite::{self, Content};
use vouchsafe_core::stub::{Block, File, Language};
use vouchsafe_core::{Timestamp, links};

use super::classes::{self, Class, Classes};
use super::{Moved, Outcome};
use crate::gateway::Stores;

/// What was made of the message.
pub(crate) struct Made {
    /// The content that is kept.
    pub body: Body,
    /// What was detached.
    pub detached: Option<Detachment>,
    /// Some recipient's form is over the hard limit that holds for him.
    pub too_large: bool,
}

/// A message that nothing was moved out of, of so many octets.
pub(crate) fn whole(body: Body, len: u64, envelope: &Envelope, settings: &Settings, stores: &Stores) -> Made {
    let can_be_smaller = settings.attachments.public_url.is_some() && stores.blobs.is_some();
    let too_large = can_be_smaller && len > Classes::of(envelope, settings).hard_limit();
    Made { body, detached: None, too_large }
}

/// Writes the forms. What is too large is the caller's to refuse.
pub(crate) async fn make(
    mut outcome: Outcome,
    envelope: &Envelope,
    in_force: &Settings,
    stores: &Stores,
    now: Timestamp,
) -> Result<Made, StoreFault> {
    let settings = &in_force.attachments;
    let wanted = wanted(&outcome, &Classes::of(envelope, in_force));
    drop_unwanted(&mut outcome, &wanted, stores).await;
    let with_form = wanted.iter().filter(|(ids, _)| !ids.is_empty());
    let linked: Vec<u32> = with_form.flat_map(|(_, class)| class.recipients.iter().copied()).collect();
    let expire = classes::good_for(envelope, in_force, &linked);
    let texts = outcome.bodies(&rewrite::texts(&outcome.places)).await?;
    let moved: Vec<(u32, File)> =
        outcome.moved.iter().map(|moved| (moved.id, file(&outcome, moved))).collect();
    let of_message = language(&outcome);
    let language =
        |recipient: &u32| of_message.unwrap_or_else(|| classes::language(envelope, in_force, *recipient));
    let all = Content {
        places: &outcome.places,
        moved: &moved,
        len: outcome.len,
        cuts: &outcome.cuts,
        texts: &texts,
        manifest: settings.manifest,
    };
    let address = settings.public_url.as_deref().map_or(0, str::len) + 1 + TOKEN_LEN;
    let (forms, too_large) = forms(wanted, &all, now + expire, &language, &"x".repeat(address))?;
    if forms.is_empty() {
        return Ok(Made { body: outcome.spool.finish(true).await?, detached: None, too_large });
    }
    let blind =
        if linked.len() > links::OWN_TOKENS { blind(&mut outcome, envelope).await? } else { Vec::new() };
    let subject = subject(&mut outcome).await?;
    let parts = outcome.moved.into_iter().zip(moved).zip(0..).map(|((moved, (_, file)), position)| {
        Detached { blob: moved.blob, file_name: file.name, media_type: file.media_type, position }
    });
    let detached = Detachment {
        subject,
        check: if settings.clamd.is_some() { Check::Waiting } else { Check::Clear },
        parts: parts.collect(),
        forms,
        links: LinkRules {
            per_recipient: settings.per_recipient,
            blind,
            expire,
            access: settings.access,
            downloads: settings.downloads,
            secret: LinkSecret::new(rand::random()),
        },
    };
    Ok(Made { body: outcome.spool.finish(true).await?, detached: Some(detached), too_large })
}

/// The forms, and whether what some recipient gets, with this link, is over his hard limit. `all`: the message without any
/// of the parts.
fn forms(
    wanted: BTreeMap<Vec<u32>, Class>,
    all: &Content<'_>,
    until: Timestamp,
    language: &dyn Fn(&u32) -> Language,
    link: &str,
) -> Result<(Vec<FormFor>, bool), StoreFault> {
    let (mut forms, mut too_large) = (Vec::new(), false);
    for (ids, Class { recipients, hard_limit }) in wanted {
        let over = |len: u64| hard_limit.is_some_and(|limit| len > limit);
        if ids.is_empty() {
            too_large |= over(all.len);
            continue;
        }
        let without = (0u32..).zip(all.moved).filter(|(_, (id, _))| ids.contains(id));
        let (files, moved): (Vec<u32>, Vec<(u32, File)>) =
            without.map(|(position, moved)| (position, moved.clone())).unzip();
        let shown: Vec<File> = moved.iter().map(|(_, file)| file.clone()).collect();
        let mut by_language: BTreeMap<Language, Vec<u32>> = BTreeMap::new();
        for recipient in recipients {
            by_language.entry(language(&recipient)).or_default().push(recipient);
        }
        for (language, recipients) in by_language {
            let block = Block { files: &shown, until, language };
            let recipe = rewrite::form(&Content { moved: &moved, ..all.clone() }, &block)
                .map_err(|bad| StoreFault::Broken(bad.to_string()))?;
            too_large |= over(recipe.len(link));
            forms.push(FormFor { recipients, recipe, files: files.clone() });
        }
    }
    Ok((forms, too_large))
}

/// Recipients by the parts, by their ids, that they get links for.
fn wanted(outcome: &Outcome, classes: &Classes) -> BTreeMap<Vec<u32>, Class> {
    let mut wanted: BTreeMap<Vec<u32>, Class> = BTreeMap::new();
    let Some(tightest) = classes.tightest() else { return wanted };
    let weight = |moved: &Moved| {
        let place = &outcome.places[moved.id as usize];
        Weight { raw: place.body_end - place.part.body_at, size: moved.blob.len }
    };
    let weights: Vec<Weight> = outcome.moved.iter().map(weight).collect();
    for (limits, class) in classes.linked() {
        let chosen = limits.choose(&tightest, outcome.len, &weights);
        let chosen = chosen.into_iter().map(|at| outcome.moved[at].id).collect();
        let same = wanted.entry(chosen).or_default();
        same.recipients.extend(&class.recipients);
        same.recipients.sort_unstable();
        same.hard_limit = [same.hard_limit, class.hard_limit].into_iter().flatten().min();
    }
    wanted
}

/// Parts that were moved while nobody could know that no form would do without them.
async fn drop_unwanted(outcome: &mut Outcome, wanted: &BTreeMap<Vec<u32>, Class>, stores: &Stores) {
    let Some(blobs) = &stores.blobs else { return };
    let is_wanted = |moved: &mut Moved| !wanted.keys().any(|ids| ids.contains(&moved.id));
    let unwanted: Vec<Moved> = outcome.moved.extract_if(.., is_wanted).collect();
    for Moved { blob, .. } in unwanted {
        if let Err(fault) = blobs.delete(blob.name.clone()).await {
            tracing::warn!(blame = "us", blob = %blob.name, %fault, "a file that no message has stays for now");
        }
    }
}

/// A part as the block names it.
fn file(outcome: &Outcome, moved: &Moved) -> File {
    rewrite::file(&outcome.places[moved.id as usize].part, moved.blob.len)
}

/// That of the message, if we speak it.
fn language(outcome: &Outcome) -> Option<Language> {
    outcome.places.first().and_then(|place| place.part.header.language.as_deref()).and_then(Language::of)
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
