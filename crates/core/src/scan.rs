//! Whether a virus scanner has seen a detached file, and what follows: who may fetch it. And clamd's answers in words of
//! ours. Pure; who asks is `gateway::scanning`.
//!
//! clamd says OK to what it did not look at: past MaxFileSize or MaxScanSize it skips in silence. Therefore nothing that
//! is larger than the administrator says clamd takes counts as seen (`attachments.clamd_size`).
//! Proof: the tests below.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use vouchsafe_smtp::Mailbox;
use vouchsafe_smtp::reply::printable;

use crate::attachments::{Check, Share, SharedFile};
use crate::automatic::Automatic;
use crate::envelope::MessageId;
use crate::ports::Accepted;
use crate::stub::Language;
use crate::time::Timestamp;

/// Characters of a finding that are kept.
const FINDING: usize = 200;

/// What is done with files that the scanner cannot take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unscanned {
    /// Nobody gets them before an administrator says so.
    Hold,
    /// Those of strangers are held; those of our own users are given, with a notice.
    #[default]
    HoldInbound,
    /// They are given, with a notice.
    Notice,
}

/// What whoever follows a link to a file is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Here it is.
    Given,
    /// Here it is; nobody has looked at it, because it is too large for the scanner.
    GivenUnchecked,
    /// It is being checked; come back in a few minutes.
    Checking,
    /// It could not be checked; an administrator decides.
    Held,
    /// Something harmful was found in it.
    Quarantined,
    /// An administrator said that nobody gets it.
    Refused,
}

impl Release {
    /// The file may be fetched.
    pub fn is_given(self) -> bool {
        matches!(self, Release::Given | Release::GivenUnchecked)
    }
}

/// What becomes of a file in this state. `known_sender`: it came from a user of ours.
pub fn release(check: Check, known_sender: bool, unscanned: Unscanned) -> Release {
    match (check, unscanned) {
        (Check::Clear, _) => Release::Given,
        (Check::Waiting, _) => Release::Checking,
        (Check::Found, _) => Release::Quarantined,
        (Check::Refused, _) => Release::Refused,
        (Check::Unscannable, Unscanned::Notice) => Release::GivenUnchecked,
        (Check::Unscannable, Unscanned::HoldInbound) if known_sender => Release::GivenUnchecked,
        (Check::Unscannable, _) => Release::Held,
    }
}

/// What an administrator says of files by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Recipients get what could not be checked or was refused; what is harmful only if this says so.
    Release {
        /// Files in which something was found, too.
        harmful: bool,
    },
    /// Nobody gets them any more.
    Refuse,
}

impl Word {
    /// What is said of a file then.
    pub fn check(self) -> Check {
        match self {
            Word::Release { .. } => Check::Clear,
            Word::Refuse => Check::Refused,
        }
    }

    /// The files of a message that this changes, or of them this one alone; an error is for the administrator. What waits
    /// for the scanner is left to it: its answer would come on top.
    pub fn files(self, files: &[SharedFile], only: Option<u32>) -> Result<Vec<&SharedFile>, String> {
        let named = |file: &&SharedFile| only.is_none_or(|only| only == file.position);
        let named: Vec<&SharedFile> = files.iter().filter(named).collect();
        if let (Some(number), true) = (only, named.is_empty()) {
            return Err(format!(
                "the message has no file {number}; `vouchsafe attachments show` lists its files"
            ));
        }
        let concerned = |file: &&SharedFile| match self {
            Word::Release { .. } => matches!(file.check, Check::Unscannable | Check::Found | Check::Refused),
            Word::Refuse => matches!(file.check, Check::Clear | Check::Unscannable),
        };
        let concerned: Vec<&SharedFile> = named.iter().copied().filter(concerned).collect();
        let called = |file: &SharedFile| format!("file {} ({})", file.position, file.file_name);
        match concerned.iter().find(|file| file.check == Check::Found) {
            Some(file) if self == (Word::Release { harmful: false }) => {
                return Err(format!(
                    "something harmful was found in {}; nothing was done: leave it out, or release harmful files on purpose",
                    called(file)
                ));
            }
            _ if !concerned.is_empty() => return Ok(concerned),
            _ => {}
        }
        Err(match (named.iter().find(|file| file.check == Check::Waiting), self) {
            (Some(file), _) => format!("{} waits for the scanner; decide when it has answered", called(file)),
            (None, Word::Release { .. }) => "none of the files is withheld".to_owned(),
            (None, Word::Refuse) => "all of the files are withheld already".to_owned(),
        })
    }
}

/// A mail to a sender of our own in whose file something was found.
#[derive(Clone, Copy, Debug)]
pub struct FoundMail<'a> {
    /// Our name.
    pub hostname: &'a str,
    /// The mail's own id.
    pub id: MessageId,
    /// Now.
    pub now: Timestamp,
    /// The sender.
    pub to: &'a Mailbox,
    /// The accepted domain of the sender, if it is one: it chooses the route.
    pub accepted_domain: Option<&'a str>,
    /// What he sent.
    pub share: &'a Share,
    /// The files' names.
    pub files: &'a str,
    /// What was found.
    pub found: &'a str,
    /// In which language.
    pub language: Language,
}

/// Writes the mail.
pub fn notice(mail: &FoundMail<'_>) -> Accepted {
    let FoundMail { hostname, id, now, to, accepted_domain, .. } = *mail;
    let (from, subject, text) = words(mail);
    Automatic { hostname, id, now, to, accepted_domain, from, subject, text: &text }.mail()
}

/// Who the mail is from and its subject, both in ASCII since they are header fields; its text.
fn words(mail: &FoundMail<'_>) -> (&'static str, &'static str, String) {
    let FoundMail { hostname, share, files, found, language, .. } = *mail;
    let (day, id) = (language.day(share.created), share.message);
    match language {
        Language::English => (
            "Virus scanner",
            "A file that you sent was blocked",
            format!(
                "Your message of {day} reached its recipients, but not this file of it:\r\n\r\n    {files}\r\n\r\n\
                 The virus scanner of {hostname} found {found} in it. Nobody can download it.\r\n\
                 Please have your computer checked, and tell your administrator.\r\n\r\n\
                 The message has the id {id}."
            ),
        ),
        Language::German => (
            "Virenscanner",
            "Eine Datei, die Sie gesendet haben, wurde gesperrt",
            format!(
                "Ihre Nachricht vom {day} ist bei ihren Empfängern, diese Datei daraus nicht:\r\n\r\n    {files}\r\n\r\n\
                 Der Virenscanner von {hostname} hat darin {found} gefunden. Niemand kann sie herunterladen.\r\n\
                 Bitte lassen Sie Ihren Rechner prüfen, und sagen Sie Ihrem Administrator Bescheid.\r\n\r\n\
                 Die Nachricht hat die Kennung {id}."
            ),
        ),
        Language::French => (
            "Antivirus",
            "Un fichier que vous avez envoye a ete bloque",
            format!(
                "Votre message du {day} est parvenu à ses destinataires, mais sans ce fichier :\r\n\r\n    {files}\r\n\r\n\
                 L’antivirus de {hostname} y a trouvé {found}. Personne ne peut le télécharger.\r\n\
                 Faites vérifier votre ordinateur et prévenez votre administrateur.\r\n\r\n\
                 Le message porte l’identifiant {id}."
            ),
        ),
        Language::Spanish => (
            "Antivirus",
            "Un archivo que usted envio ha sido bloqueado",
            format!(
                "Su mensaje del {day} ha llegado a sus destinatarios, pero sin este archivo:\r\n\r\n    {files}\r\n\r\n\
                 El antivirus de {hostname} ha encontrado {found} en él. Nadie puede descargarlo.\r\n\
                 Haga revisar su equipo y avise a su administrador.\r\n\r\n\
                 El mensaje tiene el identificador {id}."
            ),
        ),
    }
}

/// Where clamd listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScannerAt {
    /// A socket in the file system.
    Unix(PathBuf),
    /// Host and port.
    Tcp(String, u16),
}

impl std::fmt::Display for ScannerAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ScannerAt::Unix(path) => write!(f, "unix:{}", path.display()),
            ScannerAt::Tcp(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// clamd's answer to INSTREAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing was found.
    Clean,
    /// This was found.
    Found(String),
    /// It will not take this file, now or later, for this reason.
    Unscannable(String),
    /// It cannot tell now: asked again.
    Unavailable(String),
}

/// Reads `stream: OK`, `stream: NAME FOUND`, `... ERROR`, without their ends. What is none of these is asked again: an
/// unexpected answer is never a clean one.
pub fn answer(line: &str) -> Answer {
    let words = line.trim().strip_prefix("stream:").unwrap_or(line).trim();
    let shown = |words: &str| printable(words.as_bytes(), FINDING);
    if words == "OK" && line.trim().starts_with("stream:") {
        return Answer::Clean;
    }
    match words.strip_suffix("FOUND").map(str::trim) {
        // AlertExceedsMax: it did not look at all of it.
        Some(name) if name.starts_with("Heuristics.Limits.Exceeded") => Answer::Unscannable(shown(name)),
        Some(name) if !name.is_empty() => Answer::Found(shown(name)),
        _ if words.contains("size limit exceeded") => Answer::Unscannable(shown(words)),
        _ => Answer::Unavailable(shown(words)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_ok_is_clean() {
        let found = |name: &str| Answer::Found(name.to_owned());
        for (line, want) in [
            ("stream: OK", Answer::Clean),
            ("stream: Eicar-Test-Signature FOUND", found("Eicar-Test-Signature")),
            (
                "stream: Win.Test.EICAR_HDB-1(44d88612fea8a8f36de82e1278abb02f:68) FOUND",
                found("Win.Test.EICAR_HDB-1(44d88612fea8a8f36de82e1278abb02f:68)"),
            ),
            (
                "stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND",
                Answer::Unscannable("Heuristics.Limits.Exceeded.MaxFileSize".to_owned()),
            ),
            (
                "INSTREAM size limit exceeded. ERROR",
                Answer::Unscannable("INSTREAM size limit exceeded. ERROR".to_owned()),
            ),
        ] {
            assert_eq!(answer(line), want, "{line}");
        }
        for line in [
            "",
            "OK",
            "stream:",
            "stream: FOUND",
            "stream: OK and more",
            "UNKNOWN COMMAND",
            "COMMAND READ TIMED OUT",
            "stream: Can't open file ERROR",
        ] {
            assert!(matches!(answer(line), Answer::Unavailable(_)), "{line}");
        }
    }

    #[test]
    fn what_nobody_looked_at_is_given_only_where_that_is_said() {
        use Release::*;
        for (unscanned, ours, strangers) in [
            (Unscanned::Hold, Held, Held),
            (Unscanned::HoldInbound, GivenUnchecked, Held),
            (Unscanned::Notice, GivenUnchecked, GivenUnchecked),
        ] {
            assert_eq!(release(Check::Unscannable, true, unscanned), ours);
            assert_eq!(release(Check::Unscannable, false, unscanned), strangers);
            for known in [true, false] {
                assert_eq!(release(Check::Waiting, known, unscanned), Checking);
                assert_eq!(release(Check::Found, known, unscanned), Quarantined);
                assert_eq!(release(Check::Clear, known, unscanned), Given);
                assert_eq!(release(Check::Refused, known, unscanned), Refused);
            }
        }
    }

    fn files(checks: &[Check]) -> Vec<SharedFile> {
        let file = |(check, position): (&Check, u32)| SharedFile {
            position,
            file_name: format!("{position}.bin"),
            media_type: "application/octet-stream".to_owned(),
            size: 1,
            sha256: String::new(),
            downloads: 0,
            check: *check,
            blob: None,
        };
        checks.iter().zip(0..).map(file).collect()
    }

    #[test]
    fn a_sender_is_told_in_each_language_what_was_found_in_which_file() {
        let now = Timestamp(1_796_083_200_000_000);
        let to = Mailbox::parse("alice@example.com", false).expect("an address");
        let share = Share {
            message: MessageId::at(now),
            created: now,
            expires: now,
            sender: to.as_str().to_owned(),
            subject: String::new(),
            owner: String::new(),
            domain: String::new(),
            known_sender: true,
            hold: false,
            revoked: None,
            access: crate::attachments::Access::Link,
            cap: None,
            password: None,
            reminded: false,
            receipted: false,
            asked: false,
            files: files(&[Check::Found]),
            links: Vec::new(),
        };
        let mut subjects = std::collections::BTreeSet::new();
        for (_, language) in Language::ALL {
            let about = FoundMail {
                hostname: "gw.example",
                id: MessageId::at(now),
                now,
                to: &to,
                accepted_domain: None,
                share: &share,
                files: "größe.pdf",
                found: "Eicar",
                language,
            };
            let (from, subject, text) = words(&about);
            assert!(from.is_ascii() && subject.is_ascii(), "{subject}");
            subjects.insert(subject);
            for part in ["\r\n    größe.pdf\r\n", "Eicar", "gw.example", &share.message.to_string()] {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert!(text.contains(&language.day(now)), "{text}");
            assert!(notice(&about).envelope.mail.reverse_path.mailbox().is_none());
        }
        assert_eq!(subjects.len(), Language::ALL.len());
    }

    #[test]
    fn an_administrator_decides_about_what_the_scanner_has_answered() {
        let all = [Check::Clear, Check::Waiting, Check::Unscannable, Check::Refused];
        let all = files(&all);
        let numbers = |word: Word, files: &[SharedFile], only| {
            word.files(files, only).map(|files| files.iter().map(|file| file.position).collect::<Vec<_>>())
        };
        let (free, refuse) = (Word::Release { harmful: false }, Word::Refuse);
        assert_eq!(numbers(free, &all, None), Ok(vec![2, 3]));
        assert_eq!(numbers(free, &all, Some(3)), Ok(vec![3]));
        assert_eq!(numbers(refuse, &all, None), Ok(vec![0, 2]));
        for (word, only, part) in [
            (free, Some(0), "none of the files is withheld"),
            (free, Some(1), "file 1 (1.bin) waits for the scanner"),
            (free, Some(4), "has no file 4"),
            (refuse, Some(1), "waits for the scanner"),
            (refuse, Some(3), "withheld already"),
        ] {
            let said = numbers(word, &all, only).expect_err(part);
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn what_is_harmful_is_released_on_purpose_only() {
        let files = files(&[Check::Unscannable, Check::Found]);
        let said = Word::Release { harmful: false }.files(&files, None).expect_err("one is harmful");
        assert!(said.contains("harmful was found in file 1 (1.bin)"), "{said}");
        assert_eq!(Word::Release { harmful: false }.files(&files, Some(0)).map(|files| files.len()), Ok(1));
        assert_eq!(Word::Release { harmful: true }.files(&files, None).map(|files| files.len()), Ok(2));
        assert_eq!(Word::Refuse.files(&files, None).map(|files| files.len()), Ok(1));
    }
}
