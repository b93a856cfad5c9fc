//! One-time codes: drawn when asked for, mailed to a recipient of the link, good once for a quarter of an hour.
//!
//! A code goes to nobody but a recipient of the link; whoever names another address learns nothing. Codes are kept in
//! memory alone: after a restart they are asked for anew.

use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use vouchsafe_core::MessageId;
use vouchsafe_core::attachments::{Access, Landing};
use vouchsafe_core::bounded::Bounded;
use vouchsafe_core::bucket::Buckets;
use vouchsafe_core::code::{self, CodeMail};
use vouchsafe_core::links::TokenHash;
use vouchsafe_core::ports::Clock;
use vouchsafe_core::stub::Language;
use vouchsafe_smtp::{Mailbox, Tick};

use super::{CODE, Downloads, PASS, Refusal, Wanted, standing, unavailable};
use crate::delegate::lock;

/// A code is good for so long.
const GOOD: Duration = Duration::from_secs(15 * 60);
/// Mails to one recipient of one link: at once, and one more every so often.
const MAILS: (u32, Duration) = (3, Duration::from_secs(300));
/// Tries for one link: of 10^8 codes, this many at once and 60 an hour.
const TRIES: (u32, Duration) = (10, Duration::from_secs(60));
/// Codes of one link that are good at the same time: its recipients may ask at once.
const AT_ONCE: usize = 8;
/// Links with codes.
const LINKS: usize = 8192;

/// Codes that are good.
pub struct Codes {
    issued: Bounded<TokenHash, Vec<([u8; 32], Tick)>>,
    mails: Buckets<(TokenHash, String)>,
    tries: Buckets<TokenHash>,
}

impl Default for Codes {
    fn default() -> Codes {
        Codes {
            issued: Bounded::new(LINKS),
            mails: Buckets::new(MAILS.0, MAILS.1),
            tries: Buckets::new(TRIES.0, TRIES.1),
        }
    }
}

impl Codes {
    fn issue(&mut self, link: TokenHash, code: u32, now: Tick) {
        let mut good = self.issued.remove(&link).unwrap_or_default();
        good.retain(|(_, until)| now.0 < until.0);
        if good.len() >= AT_ONCE {
            good.remove(0);
        }
        good.push((digest(&link, &code::text(code)), now + GOOD));
        self.issued.insert(link, good);
    }

    /// Whether it is a code of this link; it is not a second time.
    fn prove(&mut self, link: TokenHash, said: &str, now: Tick) -> Result<bool, Duration> {
        self.tries.take(link, now)?;
        let said = digest(&link, said);
        let Some(good) = self.issued.get_mut(&link) else { return Ok(false) };
        good.retain(|(_, until)| now.0 < until.0);
        let place = good.iter().position(|(code, _)| *code == said);
        Ok(place.map(|place| good.remove(place)).is_some())
    }
}

fn digest(link: &TokenHash, code: &str) -> [u8; 32] {
    let digits: String = code.chars().filter(char::is_ascii_digit).collect();
    Sha256::new().chain_update(link.0).chain_update(digits).finalize().into()
}

/// The address that a link's codes go to, if it has only one, with most of it hidden: `a...@one.example`.
pub(super) fn only_address(landing: &Landing) -> Option<String> {
    let [address] = landing.share.links.first()?.recipients.as_slice() else { return None };
    let (local, domain) = address.rsplit_once('@')?;
    Some(format!("{}…@{domain}", local.chars().next()?))
}

impl Downloads {
    /// Mails a code to the link's recipient; if it has several, to the one with this address. Who is none of them gets
    /// none, and is told the same.
    pub async fn mail_code(
        &self,
        token: &str,
        address: &str,
        language: Language,
        client: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        let (token, landing) = self.find(token, client).await?;
        standing(&landing, self.landing_standing(&landing))?;
        if landing.share.access != Access::Code {
            return Err(Refusal::Nothing);
        }
        let recipients =
            landing.share.links.first().map(|link| link.recipients.as_slice()).unwrap_or_default();
        let to = match recipients {
            [only] => Some(only),
            all => all.iter().find(|recipient| recipient.eq_ignore_ascii_case(address.trim())),
        };
        let Some(to) = to.and_then(|to| Mailbox::parse(to, true).ok()) else { return Ok(()) };
        let (now, tick) = (self.gateway.clock.now(), self.gateway.clock.tick());
        let link = token.hash();
        lock(&self.limits).codes.mails.take((link, to.key()), tick).map_err(Refusal::Wait)?;
        let code = rand::random_range(0..code::COUNT);
        let settings = self.gateway.settings.load_full();
        let mail = code::mail(&CodeMail {
            hostname: &settings.hostname,
            id: MessageId::at(now),
            now,
            to: &to,
            accepted_domain: settings.domain(to.domain()).map(|domain| domain.name.as_str()),
            code,
            minutes: GOOD.as_secs() / 60,
            language,
        });
        // Good before it is on its way: whoever is quick is not too early.
        lock(&self.limits).codes.issue(link, code, tick);
        self.gateway.stores.mail.accept(mail).await.map_err(unavailable)?;
        self.gateway.deliverer.wake();
        tracing::info!(id = %landing.share.message, link = link.id(), to = to.as_str(), "a code is mailed");
        Ok(())
    }

    /// Gives a pass for a code.
    pub async fn prove_code(
        &self,
        token: &str,
        said: &str,
        client: Option<IpAddr>,
    ) -> Result<String, Refusal> {
        let (token, landing) = self.find(token, client).await?;
        standing(&landing, self.landing_standing(&landing))?;
        if landing.share.access != Access::Code {
            return Err(Refusal::Nothing);
        }
        let proved = lock(&self.limits).codes.prove(token.hash(), said, self.gateway.clock.tick());
        match proved.map_err(Refusal::Wait)? {
            true => Ok(self.key.grant(&token, CODE, self.gateway.clock.now() + PASS)),
            false => Err(Refusal::Code(Wanted { to: only_address(&landing), wrong: true })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_once_for_its_link_and_a_while() {
        let mut codes = Codes::default();
        let (link, other, now) = (TokenHash([1; 32]), TokenHash([2; 32]), Tick(1_000_000));
        codes.issue(link, 12_345_678, now);
        codes.issue(link, 87, now);
        assert_eq!(codes.prove(other, "1234 5678", now), Ok(false));
        assert_eq!(codes.prove(link, "", now), Ok(false));
        assert_eq!(codes.prove(link, "1234 5678", now), Ok(true));
        assert_eq!(codes.prove(link, "12345678", now), Ok(false));
        let now = now + GOOD;
        assert_eq!(codes.prove(link, "0000-0087", now), Ok(false));
        codes.issue(link, 5, now);
        for _ in 0..5 {
            assert_eq!(codes.prove(link, "1", now), Ok(false));
        }
        // The right one comes too late: whoever guesses waits.
        while codes.prove(link, "1", now).is_ok() {}
        assert!(codes.prove(link, "0000 0005", now).is_err());
    }
}
