//! Mails to the sender of files that were swapped for links: a recipient fetched them, has not fetched them yet, would
//! like more time. Whether one is due is [`Share::untold`]'s decision; here it is written.
//!
//! Only to senders that are known to be who they say. Proof: tests below.

use crate::attachments::{Share, Telling};
use crate::automatic::Automatic;
use crate::envelope::MessageId;
use crate::links::Token;
use crate::ports::Accepted;
use crate::stub::Language;
use crate::time::Timestamp;
use vouchsafe_smtp::Mailbox;
use vouchsafe_smtp::reply::printable;

/// Files and recipients that a mail names.
const NAMED: usize = 40;
/// Characters of a name or a subject.
const WORDS: usize = 200;

/// What the mail is made of.
#[derive(Clone, Copy, Debug)]
pub struct ShareMail<'a> {
    /// Our name.
    pub hostname: &'a str,
    /// The mail's own id.
    pub id: MessageId,
    /// Now.
    pub now: Timestamp,
    /// The sender.
    pub to: &'a Mailbox,
    /// The accepted domain of that, if it is one: it chooses the route.
    pub accepted_domain: Option<&'a str>,
    /// The files, with all their links.
    pub share: &'a Share,
    /// What is told.
    pub what: Telling,
    /// The sender's own page.
    pub link: &'a str,
    /// In which language.
    pub language: Language,
}

/// Where a sender's page is, under this address of the download pages.
pub fn sender_link(public_url: &str, token: &Token) -> String {
    format!("{public_url}/sender/{token}")
}

/// Writes the mail.
pub fn mail(mail: &ShareMail<'_>) -> Accepted {
    let ShareMail { hostname, id, now, to, share, language, .. } = mail;
    let words = Words::of(*language, mail.what, &language.day(share.expires));
    let text = text(mail, &words);
    Automatic {
        hostname,
        id: *id,
        now: *now,
        to,
        accepted_domain: mail.accepted_domain,
        from: "Downloads",
        subject: words.title,
        text: text.trim_end(),
    }
    .mail()
}

fn text(mail: &ShareMail<'_>, words: &Words) -> String {
    let share = mail.share;
    let clean = |text: &str| printable(text.as_bytes(), WORDS);
    let mut text = format!("{}\r\n", words.news);
    let whom: Vec<&str> = match mail.what {
        Telling::Reminder => share.unfetched().collect(),
        Telling::Receipt => {
            let fetched = share.links.iter().filter(|link| link.downloads > 0);
            fetched.flat_map(|link| link.recipients.iter().map(String::as_str)).collect()
        }
        // Any of them may have asked; the page does not ask who opens it.
        Telling::MoreTime => Vec::new(),
    };
    list(&mut text, whom.len(), whom.iter().map(|address| clean(address)));
    if !share.subject.is_empty() {
        text += &format!("\r\n{}: {}\r\n", words.subject, clean(&share.subject));
    }
    let files = share.files.iter();
    let file = |name: &str, size| format!("{} ({})", clean(name), mail.language.size(size));
    list(&mut text, share.files.len(), files.map(|entry| file(&entry.file_name, entry.size)));
    text += &format!("\r\n{}\r\n\r\n{}\r\n", words.page, mail.link);
    text
}

fn list(text: &mut String, count: usize, lines: impl Iterator<Item = String>) {
    lines.take(NAMED).for_each(|line| *text += &format!("- {line}\r\n"));
    if count > NAMED {
        *text += &format!("+ {}\r\n", count - NAMED);
    }
}

struct Words {
    /// ASCII: it is a header.
    title: &'static str,
    news: String,
    subject: &'static str,
    page: &'static str,
}

impl Words {
    fn of(language: Language, what: Telling, day: &str) -> Words {
        let (subject, page) = match language {
            Language::English => (
                "Subject",
                "Give more time, see who fetched what, or take the files back here. Keep this link to yourself:",
            ),
            Language::German => (
                "Betreff",
                "Hier können Sie die Zeit verlängern, sehen, was abgeholt wurde, oder die Dateien zurückziehen. Geben Sie diesen Link nicht weiter:",
            ),
            Language::French => (
                "Objet",
                "Prolongez le délai, voyez ce qui a été téléchargé ou retirez les fichiers ici. Gardez ce lien pour vous :",
            ),
            Language::Spanish => (
                "Asunto",
                "Aquí puede dar más tiempo, ver qué se ha descargado o retirar los archivos. No comparta este enlace:",
            ),
        };
        let (title, news) = match (language, what) {
            (Language::English, Telling::Reminder) => (
                "Your files have not been fetched",
                format!(
                    "Files that you sent are available until {day} only, and these recipients have not fetched them:"
                ),
            ),
            (Language::English, Telling::Receipt) => (
                "Your files have been fetched",
                "Files that you sent have been fetched through the link of:".to_owned(),
            ),
            (Language::English, Telling::MoreTime) => (
                "More time for your files?",
                format!(
                    "A recipient of files that you sent, available until {day}, would like to have them longer."
                ),
            ),
            (Language::German, Telling::Reminder) => (
                "Ihre Dateien wurden nicht abgeholt",
                format!(
                    "Dateien, die Sie gesendet haben, sind nur bis {day} verfügbar, und diese Empfänger haben sie nicht abgeholt:"
                ),
            ),
            (Language::German, Telling::Receipt) => (
                "Ihre Dateien wurden abgeholt",
                "Dateien, die Sie gesendet haben, wurden über den Link abgeholt von:".to_owned(),
            ),
            (Language::German, Telling::MoreTime) => (
                "Mehr Zeit gewuenscht",
                format!(
                    "Ein Empfänger bittet um mehr Zeit für Dateien, die Sie gesendet haben (verfügbar bis {day})."
                ),
            ),
            (Language::French, Telling::Reminder) => (
                "Vos fichiers n'ont pas ete telecharges",
                format!(
                    "Des fichiers que vous avez envoyés ne sont disponibles que jusqu’au {day}, et ces destinataires ne les ont pas téléchargés :"
                ),
            ),
            (Language::French, Telling::Receipt) => (
                "Vos fichiers ont ete telecharges",
                "Des fichiers que vous avez envoyés ont été téléchargés par le lien de :".to_owned(),
            ),
            (Language::French, Telling::MoreTime) => (
                "Plus de temps pour vos fichiers ?",
                format!(
                    "Un destinataire de fichiers que vous avez envoyés (disponibles jusqu’au {day}) demande plus de temps."
                ),
            ),
            (Language::Spanish, Telling::Reminder) => (
                "Sus archivos no se han descargado",
                format!(
                    "Los archivos que usted envió solo están disponibles hasta el {day}, y estos destinatarios no los han descargado:"
                ),
            ),
            (Language::Spanish, Telling::Receipt) => (
                "Sus archivos se han descargado",
                "Los archivos que usted envió se han descargado con el enlace de:".to_owned(),
            ),
            (Language::Spanish, Telling::MoreTime) => (
                "Mas tiempo para sus archivos",
                format!(
                    "Un destinatario de archivos que usted envió (disponibles hasta el {day}) pide más tiempo."
                ),
            ),
        };
        Words { title, news, subject, page }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachments::{Access, Check, LinkRow, SharedFile};
    use crate::ports::Body;

    const NOW: Timestamp = Timestamp(1_796_083_200_000_000);

    fn link(recipient: &str, downloads: u64) -> LinkRow {
        LinkRow {
            id: "00".to_owned(),
            recipients: vec![recipient.to_owned()],
            files: None,
            revoked: None,
            downloads,
            last_download: None,
        }
    }

    fn share(links: Vec<LinkRow>) -> Share {
        Share {
            message: MessageId::at(NOW),
            created: NOW,
            expires: NOW,
            sender: "alice@example.com".to_owned(),
            subject: "Pläne".to_owned(),
            owner: "alice@example.com".to_owned(),
            domain: "example.com".to_owned(),
            known_sender: true,
            hold: false,
            revoked: None,
            access: Access::Link,
            cap: None,
            password: None,
            reminded: false,
            receipted: false,
            asked: false,
            files: vec![SharedFile {
                position: 0,
                file_name: "größe.pdf".to_owned(),
                media_type: "application/pdf".to_owned(),
                size: 1_500_000,
                sha256: String::new(),
                downloads: 0,
                check: Check::Clear,
                blob: None,
            }],
            links,
        }
    }

    #[test]
    fn a_sender_is_told_what_is_new_once_and_only_if_he_is_known() {
        let (before, later) = (Timestamp(NOW.0 - 1), Timestamp(NOW.0 + 1));
        let mut share = share(vec![link("a@x.example", 1), link("b@x.example", 0)]);
        assert_eq!(share.untold(later), Some(Telling::Receipt));
        share.receipted = true;
        assert_eq!(share.untold(later), Some(Telling::Reminder), "one of them has not fetched it");
        assert_eq!(share.untold(before), None, "there is time yet");
        assert_eq!(share.unfetched().collect::<Vec<_>>(), ["b@x.example"]);
        share.asked = true;
        assert_eq!(share.untold(before), Some(Telling::MoreTime));
        share.known_sender = false;
        assert_eq!(share.untold(later), None);
        (share.known_sender, share.revoked) = (true, Some(NOW));
        assert_eq!(share.untold(later), None, "he took them back");
    }

    #[test]
    fn each_mail_is_ascii_automatic_from_nobody_and_names_the_page() {
        let share = share(vec![link("a@x.example", 1), link("b@x.example", 0)]);
        let to = Mailbox::parse("alice@example.com", false).unwrap();
        for (_, language) in Language::ALL {
            for what in [Telling::Reminder, Telling::Receipt, Telling::MoreTime] {
                let about = ShareMail {
                    hostname: "gw.example",
                    id: MessageId::at(NOW),
                    now: NOW,
                    to: &to,
                    accepted_domain: Some("example.com"),
                    share: &share,
                    what,
                    link: "https://files.example/sender/t",
                    language,
                };
                let made = mail(&about);
                let Body::Memory(body) = &made.body else { panic!("it is short") };
                let whole = [made.head.as_ref(), body.as_ref()].concat();
                assert!(whole.is_ascii() && made.envelope.mail.reverse_path.mailbox().is_none());
                assert!(String::from_utf8(whole).unwrap().contains("\r\nAuto-Submitted: auto-generated\r\n"));
                let said = text(&about, &Words::of(language, what, "1"));
                assert!(said.ends_with("https://files.example/sender/t\r\n"), "{said}");
                assert!(said.contains("- größe.pdf (") && said.contains(": Pläne\r\n"), "{said}");
                assert_eq!(said.contains("- b@x.example"), what == Telling::Reminder, "{said}");
                assert_eq!(said.contains("- a@x.example"), what == Telling::Receipt, "{said}");
            }
        }
    }
}
