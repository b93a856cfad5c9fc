//! The mail with a one-time code, for whoever opens a link that wants one.
//!
//! From `<>` and marked automatic (RFC 3834): nothing answers it. Proof: tests below.

use vouchsafe_smtp::Mailbox;

use crate::automatic::Automatic;
use crate::envelope::MessageId;
use crate::ports::Accepted;
use crate::stub::Language;
use crate::time::Timestamp;

/// Codes there are: eight digits.
pub const COUNT: u32 = 100_000_000;

/// What the mail is made of.
#[derive(Clone, Copy, Debug)]
pub struct CodeMail<'a> {
    /// Our name.
    pub hostname: &'a str,
    /// The mail's own id.
    pub id: MessageId,
    /// Now.
    pub now: Timestamp,
    /// A recipient of the link.
    pub to: &'a Mailbox,
    /// The accepted domain of that, if it is one: it chooses the route.
    pub accepted_domain: Option<&'a str>,
    /// The code, below [`COUNT`].
    pub code: u32,
    /// It is good for so many minutes.
    pub minutes: u64,
    /// Of the page where it was asked for.
    pub language: Language,
}

/// A code as people read it: `1234 5678`.
pub fn text(code: u32) -> String {
    format!("{:04} {:04}", code / 10_000 % 10_000, code % 10_000)
}

/// Writes the mail.
pub fn mail(mail: &CodeMail<'_>) -> Accepted {
    let CodeMail { hostname, id, now, to, minutes, .. } = mail;
    let code = text(mail.code);
    // ASCII alone, so that it passes every next hop.
    let (subject, sentences) = match mail.language {
        Language::English => (
            "Your code",
            format!(
                "Your code for the download page:\r\n\r\n    {code}\r\n\r\nIt is good once, for {minutes} minutes.\r\nIf you did not ask for it, you need not do anything."
            ),
        ),
        Language::German => (
            "Ihr Code",
            format!(
                "Ihr Code zum Herunterladen:\r\n\r\n    {code}\r\n\r\nEr gilt einmal und {minutes} Minuten lang.\r\nWenn Sie keinen Code bestellt haben, brauchen Sie nichts zu tun."
            ),
        ),
        Language::French => (
            "Votre code",
            format!(
                "Votre code pour la page de telechargement :\r\n\r\n    {code}\r\n\r\nIl est valable une seule fois, pendant {minutes} minutes.\r\nSi vous ne l'avez pas demande, vous n'avez rien a faire."
            ),
        ),
        Language::Spanish => (
            "Su clave",
            format!(
                "Su clave para la pagina de descarga:\r\n\r\n    {code}\r\n\r\nEs valida una sola vez, durante {minutes} minutos.\r\nSi usted no la ha pedido, no tiene que hacer nada."
            ),
        ),
    };
    Automatic {
        hostname,
        id: *id,
        now: *now,
        to,
        accepted_domain: mail.accepted_domain,
        from: "Downloads",
        subject,
        text: &sentences,
    }
    .mail()
}

#[cfg(test)]
mod tests {
    use crate::ports::Body;

    use super::*;

    #[test]
    fn the_mail_is_ascii_automatic_and_from_nobody() {
        for (_, language) in Language::ALL {
            let to = Mailbox::parse("a@one.example", false).unwrap();
            let now = Timestamp(1_796_083_200_000_000);
            let made = mail(&CodeMail {
                hostname: "gw.example",
                id: MessageId::at(now),
                now,
                to: &to,
                accepted_domain: None,
                code: 12_000_034,
                minutes: 15,
                language,
            });
            let Body::Memory(body) = &made.body else { panic!("it is short") };
            let whole = [made.head.as_ref(), body.as_ref()].concat();
            let whole = String::from_utf8(whole).unwrap();
            assert!(whole.is_ascii() && whole.contains("    1200 0034\r\n"), "{whole}");
            assert!(whole.contains("\r\nAuto-Submitted: auto-generated\r\n"));
            assert!(whole.lines().all(|line| line.len() < 79) && !whole.replace("\r\n", "").contains('\n'));
            assert!(made.envelope.mail.reverse_path.mailbox().is_none());
        }
    }
}
