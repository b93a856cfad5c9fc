//! Who gets links in place of which parts: recipients by the limits that hold for them, as the settings say that the
//! transaction began with. Decided before the message comes, and again when it is there; knows no octet of it.
//! Proof: `tests/forms_by_recipient.rs`, `transcripts/e2e/detach_*`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vouchsafe_config::{AcceptedDomain, Inbound, Settings, Sizes};
use vouchsafe_core::detach::{Direction, Limits, Rules, direction};
use vouchsafe_core::envelope::{Envelope, RouteKey};
use vouchsafe_core::stub::Language;
use vouchsafe_smtp::Mailbox;

use crate::gateway::Stores;
use crate::intake::Detach;

/// Recipients for whom the same limits hold: they get the same form.
#[derive(Default)]
pub(super) struct Class {
    /// Their places in the envelope, in order.
    pub recipients: Vec<u32>,
    /// The smallest of their hard limits.
    pub hard_limit: Option<u64>,
}

/// The recipients of an envelope by their limits; without any are those that get the message as it is.
pub(super) struct Classes(BTreeMap<Option<Limits>, Class>);

impl Classes {
    pub fn of(envelope: &Envelope, settings: &Settings) -> Classes {
        let mut by_route: BTreeMap<&RouteKey, Option<Sizes>> = BTreeMap::new();
        let mut classes: BTreeMap<Option<Limits>, Class> = BTreeMap::new();
        for (index, (to, permit)) in (0u32..).zip(envelope.recipients()) {
            let route = permit.route();
            let sizes = *by_route.entry(route).or_insert_with(|| sizes(route, envelope, settings));
            let excluded =
                *route == RouteKey::Relay && settings.attachments.outbound_exclude.hold(&to.mailbox);
            let sizes = sizes.filter(|_| !excluded);
            let class = classes.entry(sizes.map(|sizes| sizes.moved)).or_default();
            class.recipients.push(index);
            class.hard_limit = sizes.map(|sizes| sizes.hard_limit.min(class.hard_limit.unwrap_or(u64::MAX)));
        }
        Classes(classes)
    }

    /// Those whose large parts become links.
    pub fn linked(&self) -> impl Iterator<Item = (&Limits, &Class)> {
        self.0.iter().filter_map(|(limits, class)| Some((limits.as_ref()?, class)))
    }

    /// What is moved for any of them; `None` if for nobody.
    pub fn tightest(&self) -> Option<Limits> {
        Limits::tightest(self.linked().map(|(limits, _)| *limits))
    }

    /// The size past which a message that nothing was taken out of is refused.
    pub fn hard_limit(&self) -> u64 {
        self.linked().filter_map(|(_, class)| class.hard_limit).min().unwrap_or(u64::MAX)
    }
}

/// What is large for a route; `None`: its recipients get files whole.
fn sizes(route: &RouteKey, envelope: &Envelope, settings: &Settings) -> Option<Sizes> {
    let files = &settings.attachments;
    let direction = direction(route, envelope.origin.known_sender);
    let on = match direction {
        Direction::Outbound => files.outbound,
        Direction::Internal => files.internal,
        Direction::Inbound => files.inbound != Inbound::Off,
    };
    let domain = deciding(route, envelope, settings);
    let whole = *route != RouteKey::Relay && domain.is_some_and(|domain| domain.files_whole);
    (on && !whole).then(|| files.sizes(direction, domain))
}

/// The domain of ours that decides: the recipient's; of mail to others, the sender's.
fn deciding<'a>(route: &RouteKey, envelope: &Envelope, settings: &'a Settings) -> Option<&'a AcceptedDomain> {
    match route {
        RouteKey::Domain(name) => settings.domain(name),
        RouteKey::Relay => settings.domain(envelope.mail.reverse_path.mailbox().map(Mailbox::domain)?),
    }
}

/// How long the links of a message are good that these recipients get: the longest of what their domains and directions
/// say.
pub(super) fn good_for(envelope: &Envelope, settings: &Settings, linked: &[u32]) -> Duration {
    let files = &settings.attachments;
    let of = |route: &RouteKey| {
        let own = deciding(route, envelope, settings).and_then(|domain| domain.files_expire);
        own.unwrap_or(match direction(route, envelope.origin.known_sender) {
            Direction::Outbound => files.expire,
            Direction::Internal => files.expire_internal.unwrap_or(files.expire),
            Direction::Inbound => files.expire_inbound.unwrap_or(files.expire),
        })
    };
    let mut routes: Vec<&RouteKey> =
        linked.iter().map(|index| envelope.recipients()[*index as usize].1.route()).collect();
    routes.sort();
    routes.dedup();
    routes.into_iter().map(of).max().unwrap_or(files.expire)
}

/// In which language a recipient is told of the files, where the message has none.
pub(super) fn language(envelope: &Envelope, settings: &Settings, recipient: u32) -> Language {
    let (_, permit) = &envelope.recipients()[recipient as usize];
    let own = deciding(permit.route(), envelope, settings).and_then(|domain| domain.files_language);
    own.unwrap_or(settings.attachments.language)
}

/// Whether parts of this message may be moved, and how.
pub(crate) fn detach(envelope: &Envelope, settings: &Settings, stores: &Stores) -> Option<Detach> {
    // A link must lead somewhere.
    settings.attachments.public_url.as_ref()?;
    let blobs = Arc::clone(stores.blobs.as_ref()?);
    let classes = Classes::of(envelope, settings);
    let rules = Rules {
        limits: classes.tightest()?,
        include: settings.attachments.include.clone(),
        exclude: settings.attachments.exclude.clone(),
    };
    Some(Detach { blobs, rules, keep_raw: classes.0.len() > 1 })
}
