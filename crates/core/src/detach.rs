//! What may be taken out of a message, and for whom: rules about parts, no octet is touched here.
//!
//! Never altered: signed and encrypted mail (also PGP within a text, [`Armour`]), reports, partial and external bodies, attached messages, what is shown
//! within the text (`cid:` images), calendar parts, TNEF, and whatever parsers could read in different ways
//! (DESIGN section 5). Proof: tests below.

use vouchsafe_mime::{Disposition, Header, Part};
use vouchsafe_smtp::Mailbox;

use crate::envelope::RouteKey;

/// Which way a recipient's copy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From our users to others.
    Outbound,
    /// From our users to our own domains.
    Internal,
    /// From strangers to our own domains.
    Inbound,
}

/// The direction of a route, for a sender that is or is not one of ours.
pub fn direction(route: &RouteKey, known_sender: bool) -> Direction {
    match (route, known_sender) {
        (RouteKey::Relay, _) => Direction::Outbound,
        (RouteKey::Domain(_), true) => Direction::Internal,
        (RouteKey::Domain(_), false) => Direction::Inbound,
    }
}

/// Decoded octets up to which a part is not worth moving to make a message smaller: the block in its place is about as
/// large.
pub const WORTH: u64 = 4 * 1024;

/// Sizes past which parts are moved, in octets; [`u64::MAX`]: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limits {
    /// A part is moved when its decoded size is over this.
    pub part_over: u64,
    /// Parts are moved, largest first, while the message is over this.
    pub message_over: u64,
}

/// A part that was moved, as [`Limits::choose`] weighs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Octets of its body as it came.
    pub raw: u64,
    /// Octets of it decoded.
    pub size: u64,
}

impl Limits {
    /// The limits that move whatever any of these moves; `None` of none.
    pub fn tightest(all: impl IntoIterator<Item = Limits>) -> Option<Limits> {
        all.into_iter().reduce(|one, other| Limits {
            part_over: one.part_over.min(other.part_over),
            message_over: one.message_over.min(other.message_over),
        })
    }

    /// The least size at which anything can happen.
    pub fn least(&self) -> u64 {
        self.part_over.min(self.message_over)
    }

    /// Which of the parts that were moved by the tightest limits are moved by these, by their places in order. `len`: octets
    /// of the message as it came. What the tightest have moved is theirs whole: who moved it while the message came
    /// could not know how large the parts behind would be.
    pub fn choose(&self, tightest: &Limits, len: u64, moved: &[Weight]) -> Vec<usize> {
        let all = 0..moved.len();
        if self == tightest {
            return all.collect();
        }
        let (mut chosen, mut others): (Vec<usize>, Vec<usize>) =
            all.partition(|at| moved[*at].size > self.part_over);
        let mut rest = len.saturating_sub(chosen.iter().map(|at| moved[*at].raw).sum());
        others.retain(|at| moved[*at].size > WORTH);
        others.sort_by_key(|at| std::cmp::Reverse(moved[*at].size));
        for at in others {
            if rest <= self.message_over {
                break;
            }
            rest = rest.saturating_sub(moved[at].raw);
            chosen.push(at);
        }
        chosen.sort_unstable();
        chosen
    }
}

/// Domains of others, as an administrator lists them: `partner.example` is that one, `.partner.example` is every one below
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domains(Vec<String>);

impl Domains {
    /// Of names that were checked, each with or without the dot in front.
    pub fn new(names: Vec<String>) -> Domains {
        Domains(names)
    }

    /// As they were listed.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether the address is in one of them.
    pub fn hold(&self, mailbox: &Mailbox) -> bool {
        let domain = mailbox.domain();
        let end = |name: &str| domain.get(domain.len().checked_sub(name.len())?..);
        self.0.iter().any(|name| match name.starts_with('.') {
            true => end(name).is_some_and(|end| end.eq_ignore_ascii_case(name)),
            false => domain.eq_ignore_ascii_case(name),
        })
    }
}

/// What is large, and what is let alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What is large.
    pub limits: Limits,
    /// Only these; all if empty.
    pub include: Vec<Pattern>,
    /// Not these.
    pub exclude: Vec<Pattern>,
}

impl Rules {
    fn allow(&self, header: &Header) -> bool {
        let fits = |pattern: &Pattern| pattern.fits(header);
        (self.include.is_empty() || self.include.iter().any(fits)) && !self.exclude.iter().any(fits)
    }
}

/// `application/pdf`, `image/*` by type, `*.iso` by name; without case, `*` stands for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern, if it is one.
    pub fn parse(text: &str) -> Option<Pattern> {
        let text = text.trim();
        (!text.is_empty() && !text.chars().any(char::is_control)).then(|| Pattern(text.to_lowercase()))
    }

    fn fits(&self, header: &Header) -> bool {
        let subject = match self.0.contains('/') {
            true => header.media_type(),
            false => header.name.as_deref().unwrap_or_default().to_lowercase(),
        };
        like(&self.0, &subject)
    }
}

/// Does the text look like the pattern? One pass with one way back, so time is bounded by the product of both.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t, mut back) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, t));
                p += 1;
            }
            Some(c) if *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match back {
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    (p, t) = (star + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// What a part is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Parts of its own.
    Container(Container),
    /// A text that is shown; the block with the links may go there.
    Text,
    /// The same in HTML.
    Html,
    /// May be moved.
    File,
    /// Stays as it is.
    Keep,
}

/// What a multipart means for the parts in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// Each for itself.
    Mixed,
    /// The same in several forms.
    Alternative,
    /// One that is shown, and what it shows.
    Related,
    /// Nothing in it may be touched.
    Sealed,
}

/// The role of a part. `within`: the multipart it is in.
pub fn role(part: &Part, within: Option<Container>, rules: &Rules) -> Role {
    let header = &part.header;
    let sealed = within == Some(Container::Sealed) || header.ambiguous.is_some();
    if part.is_multipart {
        return Role::Container(match header.sub.as_str() {
            _ if sealed => Container::Sealed,
            "alternative" => Container::Alternative,
            "related" => Container::Related,
            // RFC 1847, RFC 6522; appledouble (RFC 1740) is two halves of one file.
            "signed" | "encrypted" | "report" | "appledouble" | "x-mixed-replace" => Container::Sealed,
            _ => Container::Mixed,
        });
    }
    if sealed || is_untouchable(header) {
        return Role::Keep;
    }
    let attached = header.disposition == Disposition::Attachment;
    let shown = !attached && header.name.is_none();
    match within {
        _ if shown && header.is("text", "plain") => Role::Text,
        _ if shown && header.is("text", "html") => Role::Html,
        // RFC 2046 §5.1.4: each is the whole, and a reader picks one.
        Some(Container::Alternative) => Role::Keep,
        Some(Container::Related) if !attached => Role::Keep,
        _ if !attached && header.main == "image" && header.content_id.is_some() => Role::Keep,
        _ if shown && header.main == "text" => Role::Keep,
        _ if rules.allow(header) => Role::File,
        _ => Role::Keep,
    }
}

fn is_untouchable(header: &Header) -> bool {
    match header.main.as_str() {
        "message" | "multipart" | "" => true,
        "text" => header.sub == "calendar" || header.sub == "x-vcalendar",
        "application" => {
            let sub = header.sub.as_str();
            let kinds = ["pkcs7-", "x-pkcs7-", "pkcs10", "pgp", "x-pgp", "applefile"];
            kinds.iter().any(|kind| sub.starts_with(kind)) || ["ms-tnef", "vnd.ms-tnef", "ics"].contains(&sub)
        }
        _ => false,
    }
}

/// Looks for a PGP message within a text (RFC 9580 §6.2, §7): a line that begins an encrypted or a clear-signed one.
#[derive(Clone, Debug, Default)]
pub struct Armour {
    /// The line so far, as much of it as matters.
    line: Vec<u8>,
}

impl Armour {
    const BEGINNINGS: [&'static [u8]; 2] =
        [b"-----BEGIN PGP MESSAGE-----", b"-----BEGIN PGP SIGNED MESSAGE-----"];

    /// Takes the next octets of the text; true if a message begins in them.
    pub fn push(&mut self, octets: &[u8]) -> bool {
        let longest = Self::BEGINNINGS[1].len();
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            let room = longest - self.line.len();
            self.line.extend_from_slice(&line[..room.min(line.len())]);
            if Self::BEGINNINGS.iter().any(|beginning| self.line.starts_with(beginning)) {
                return true;
            }
            if line.ends_with(b"\n") {
                self.line.clear();
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vouchsafe_mime::{Event, Scanner, Sink};

    use super::*;

    #[derive(Default)]
    struct Roles(Vec<(u32, Option<u32>, Role)>);

    impl Sink for Roles {
        fn event(&mut self, event: Event<'_>) {
            if let Event::Begin(part) = event {
                let within = part.parent.and_then(|id| match self.0[id as usize].2 {
                    Role::Container(container) => Some(container),
                    _ => None,
                });
                self.0.push((part.id, part.parent, role(&part, within, &rules(&[], &[]))));
            }
        }
    }

    fn rules(include: &[&str], exclude: &[&str]) -> Rules {
        let patterns = |list: &[&str]| list.iter().filter_map(|text| Pattern::parse(text)).collect();
        let limits = Limits { part_over: 1, message_over: 1 };
        Rules { limits, include: patterns(include), exclude: patterns(exclude) }
    }

    fn roles(message: &str) -> Vec<Role> {
        let (mut scanner, mut roles) = (Scanner::default(), Roles::default());
        scanner.push(message.as_bytes(), &mut roles);
        scanner.finish(&mut roles);
        roles.0.into_iter().map(|(_, _, role)| role).collect()
    }

    /// The role of a part with these fields in a multipart of this kind.
    fn within(sub: &str, fields: &str) -> Role {
        let message =
            format!("Content-Type: multipart/{sub}; boundary=b\r\n\r\n--b\r\n{fields}\r\n\r\nx\r\n--b--");
        roles(&message)[1]
    }

    #[test]
    fn bodies_files_and_what_stays_are_told_apart() {
        for (sub, fields, want) in [
            ("mixed", "Content-Type: text/plain", Role::Text),
            ("mixed", "Content-Type: text/html; charset=x", Role::Html),
            ("mixed", "Content-Type: text/plain\r\nContent-Disposition: attachment", Role::File),
            ("mixed", "Content-Type: text/plain; name=a.txt", Role::File),
            ("mixed", "Content-Type: application/pdf", Role::File),
            ("mixed", "Content-Type: application/pdf; name=a\r\nContent-Disposition: inline", Role::File),
            ("mixed", "Content-Type: image/png\r\nContent-ID: <a>", Role::Keep),
            (
                "mixed",
                "Content-Type: image/png\r\nContent-ID: <a>\r\nContent-Disposition: attachment",
                Role::File,
            ),
            ("mixed", "Content-Type: image/png\r\nContent-Disposition: inline; filename=a.png", Role::File),
            ("related", "Content-Type: image/png\r\nContent-ID: <a>", Role::Keep),
            ("related", "Content-Type: application/pdf\r\nContent-Disposition: attachment", Role::File),
            ("alternative", "Content-Type: application/pdf", Role::Keep),
            ("alternative", "Content-Type: text/calendar; method=REQUEST", Role::Keep),
            (
                "mixed",
                "Content-Type: text/calendar; name=a.ics\r\nContent-Disposition: attachment",
                Role::Keep,
            ),
            ("mixed", "Content-Type: application/ms-tnef; name=winmail.dat", Role::Keep),
            ("mixed", "Content-Type: application/pkcs7-mime; name=smime.p7m", Role::Keep),
            ("mixed", "Content-Type: application/pgp-keys; name=a.asc", Role::Keep),
            ("mixed", "Content-Type: message/rfc822\r\nContent-Disposition: attachment", Role::Keep),
            ("mixed", "Content-Type: message/partial; id=a; number=1", Role::Keep),
            ("mixed", "Content-Type: message/external-body; access-type=x", Role::Keep),
            ("mixed", "Content-Type: application/pdf\r\nContent-Transfer-Encoding: x-uu", Role::Keep),
            ("mixed", "Content-Type: application/pdf\r\nContent-Type: text/plain", Role::Keep),
            ("signed", "Content-Type: application/pdf; name=a.pdf", Role::Keep),
            ("encrypted", "Content-Type: application/octet-stream; name=a.asc", Role::Keep),
            ("report", "Content-Type: text/plain", Role::Keep),
        ] {
            assert_eq!(within(sub, fields), want, "{sub}: {fields}");
        }
        assert_eq!(roles("Content-Type: application/pdf\r\n\r\nx"), [Role::File]);
    }

    #[test]
    fn what_lies_within_a_signed_part_is_sealed_too() {
        let message = "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n\
            --c\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\nx\r\n--c--\r\n--b--";
        assert_eq!(roles(message)[2], Role::Keep);
    }

    #[test]
    fn patterns_go_by_type_or_by_name() {
        let header = Header {
            main: "image".to_owned(),
            sub: "jpeg".to_owned(),
            name: Some("Holiday.JPG".to_owned()),
            ..Header::default()
        };
        for (include, exclude, want) in [
            (&["image/*"][..], &[][..], true),
            (&["*.jpg"], &[], true),
            (&["*.pdf"], &[], false),
            (&[], &["IMAGE/JPEG"], false),
            (&[], &["holi*day*"], false),
            (&[], &["holiday"], true),
            (&["image/*"], &["*.jp*g"], false),
        ] {
            assert_eq!(rules(include, exclude).allow(&header), want, "{include:?} {exclude:?}");
        }
        assert_eq!(Pattern::parse(" "), None);
    }

    #[test]
    fn the_direction_is_the_routes() {
        let domain = RouteKey::Domain("example.com".to_owned());
        assert_eq!(direction(&RouteKey::Relay, true), Direction::Outbound);
        assert_eq!(direction(&domain, true), Direction::Internal);
        assert_eq!(direction(&domain, false), Direction::Inbound);
    }

    /// Which of parts of these sizes are moved out of a message that is no more than they, by limits of their own.
    fn chosen(part_over: u64, message_over: u64, sizes: &[u64]) -> Vec<usize> {
        let tightest = Limits { part_over: 1, message_over: 1 };
        let moved: Vec<Weight> = sizes.iter().map(|size| Weight { raw: *size, size: *size }).collect();
        Limits { part_over, message_over }.choose(&tightest, sizes.iter().sum(), &moved)
    }

    #[test]
    fn each_limits_move_what_is_over_them_and_then_the_largest() {
        const NEVER: u64 = u64::MAX;
        let sizes = [5_000, 9_000, 300, 7_000];
        for (part_over, message_over, want) in [
            (NEVER, NEVER, &[][..]),
            (6_999, NEVER, &[1, 3]),
            (7_000, NEVER, &[1]),
            (200, NEVER, &[0, 1, 2, 3]),
            (NEVER, 21_300, &[]),
            (NEVER, 21_299, &[1]),
            (NEVER, 12_299, &[1, 3]),
            // What is left is not worth it.
            (NEVER, 2, &[0, 1, 3]),
            (8_000, 12_000, &[1, 3]),
            (8_000, 20_000, &[1]),
        ] {
            assert_eq!(chosen(part_over, message_over, &sizes), want, "{part_over} {message_over}");
        }
        assert_eq!(chosen(1, 1, &[2, 1]), [0, 1], "the tightest have all that was moved by them");
    }

    #[test]
    fn the_tightest_limits_are_the_least_of_each() {
        let limits = |part_over, message_over| Limits { part_over, message_over };
        assert_eq!(Limits::tightest([]), None);
        assert_eq!(Limits::tightest([limits(5, 9), limits(7, 2), limits(6, 6)]), Some(limits(5, 2)));
        assert_eq!(limits(5, 2).least(), 2);
    }

    #[test]
    fn a_domain_is_listed_by_its_name_or_by_what_is_above_it() {
        let list = Domains::new(vec!["partner.example".to_owned(), ".sub.example".to_owned()]);
        for (address, want) in [
            ("a@partner.example", true),
            ("a@PARTNER.example", true),
            ("a@mail.partner.example", false),
            ("a@apartner.example", false),
            ("a@one.sub.example", true),
            ("a@one.two.SUB.example", true),
            ("a@sub.example", false),
            ("a@asub.example", false),
            ("a@example", false),
            ("a@[192.0.2.1]", false),
        ] {
            assert_eq!(list.hold(&Mailbox::parse(address, false).unwrap()), want, "{address}");
        }
    }

    proptest! {
        /// Whatever limits of some recipients move, the tightest of all have moved: nothing is missing from a form.
        #[test]
        fn what_is_left_is_under_the_limits_or_not_worth_moving(
            sizes in prop::collection::vec(0u64..20_000, 0..12),
            part_over in 0u64..20_000,
            message_over in 0u64..100_000,
        ) {
            let chosen = chosen(part_over, message_over, &sizes);
            prop_assert!(chosen.is_sorted());
            let left: Vec<u64> = (0..sizes.len()).filter(|at| !chosen.contains(at)).map(|at| sizes[at]).collect();
            prop_assert!(left.iter().all(|size| *size <= part_over));
            prop_assert!(left.iter().sum::<u64>() <= message_over || left.iter().all(|size| *size <= WORTH));
        }
    }

    #[test]
    fn pgp_within_a_text_is_found_wherever_it_is_cut() {
        let found = |text: &str, piece: usize| {
            let mut armour = Armour::default();
            text.as_bytes().chunks(piece).any(|octets| armour.push(octets))
        };
        for piece in 1..60 {
            assert!(found("-----BEGIN PGP MESSAGE-----\r\n", piece));
            assert!(found("Hello\r\n\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n", piece));
            assert!(!found("> -----BEGIN PGP MESSAGE-----\r\n", piece));
            assert!(!found("-----BEGIN PGP PUBLIC KEY BLOCK-----\r\n-----BEGIN PGP\r\nMESSAGE-----", piece));
        }
    }
}
