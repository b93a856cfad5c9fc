//! Who a stranger's message is from: SPF (RFC 7208) for HELO and MAIL, DKIM (RFC 6376), DMARC (RFC 9989), and how the ARC
//! chain that it came with holds (RFC 8617), told in an `Authentication-Results` field (RFC 8601).
//!
//! Never refuses: what cannot be looked up now is `temperror`, what is too large to check is `policy`, and all of it
//! takes at most [`LIMIT`]. The octets are those that came, before anything was rewritten: [`reading::Reading`] takes
//! them while they arrive and keeps a header and a few digests. Proof: tests below, `tests/authentication.rs`,
//! `crates/vouchsafe/tests/authentication.rs`.

mod arc;
mod gathering;
pub mod reading;
pub mod signing;

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mail_auth::common::headers::HeaderWriter;
use mail_auth::common::verify::VerifySignature;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use mail_auth::hickory_resolver::system_conf::read_system_conf;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, AuthenticationResults, DkimOutput, DkimResult, DmarcOutput, DmarcResult, DnsError,
    Error, MessageAuthenticator, SpfOutput, SpfResult,
};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use vouchsafe_core::authentication::Proof;

use arc::{Chain, has_chain};
use reading::Read;

/// All look-ups for one message together. The client waits at its dot, for which it has ten minutes (RFC 5321 §4.5.3.2.6).
const LIMIT: Duration = Duration::from_secs(20);
/// One question to one name server.
const QUESTION: Duration = Duration::from_secs(3);
/// Messages that are looked at at once; the rest wait, within their [`LIMIT`].
const AT_ONCE: usize = 64;
/// Signatures of one message that are looked at (RFC 6376 §6.1: a verifier may limit them).
const SIGNATURES: usize = 10;
/// Octets of the whole field, and of a line of it (RFC 5322 §2.1.1); past either it gives results alone.
const FIELD: usize = 8 * 1024;
const LINE: usize = 998;

/// What is known of the message beside its octets.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Our name: the authserv-id.
    pub hostname: &'a str,
    /// The client.
    pub client: IpAddr,
    /// Its name in HELO or EHLO, as it came.
    pub helo: &'a str,
    /// The reverse path; empty for the null one.
    pub sender: &'a str,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `Authentication-Results`, folded, ending in CRLF.
    pub header: String,
    /// What passed.
    pub proof: Proof,
    /// For log and history: `spf=pass dkim=none dmarc=fail`, and `arc=pass` where there is a chain.
    pub words: String,
}

/// Asks the name servers. One per gateway; remembers answers for as long as they say.
pub struct Verifier {
    /// What the settings name, and who asks them.
    resolver: Mutex<Option<(Vec<SocketAddr>, MessageAuthenticator)>>,
    places: Semaphore,
}

impl Default for Verifier {
    fn default() -> Verifier {
        Verifier { resolver: Mutex::default(), places: Semaphore::new(AT_ONCE) }
    }
}

impl Verifier {
    /// Who asks these name servers, or the system's if there are none. The error is for the administrator.
    pub fn resolver(&self, name_servers: &[SocketAddr]) -> Result<MessageAuthenticator, String> {
        let mut kept = self.resolver.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((servers, resolver)) = &*kept
            && servers == name_servers
        {
            return Ok(resolver.clone());
        }
        let resolver = resolver(name_servers).map_err(|fault| format!("name servers: {fault}"))?;
        *kept = Some((name_servers.to_vec(), resolver.clone()));
        Ok(resolver)
    }

    /// Looks at a message. Ends within 20 s, whatever the name servers do.
    pub async fn verify(&self, asked: &Asked<'_>, read: &Read, name_servers: &[SocketAddr]) -> Verdict {
        let until = Instant::now() + LIMIT;
        let place = timeout_at(until, self.places.acquire()).await;
        let resolver = match (place, self.resolver(name_servers)) {
            (Ok(Ok(place)), Ok(resolver)) => Some((place, resolver)),
            (_, Err(fault)) => {
                tracing::error!(blame = "us", "mail of strangers is not authenticated: {fault}");
                None
            }
            _ => None,
        };
        let resolver = resolver.as_ref().map(|(_, resolver)| resolver);
        let looking = Looking { asked, resolver, until };
        let (helo, mail) = tokio::join!(looking.spf(false), looking.spf(true));
        let mail = mail.filter(|_| !asked.sender.is_empty());
        let message = read.message();
        let dkim = match &message {
            Some(message) if !read.is_too_large() => looking.dkim(message).await,
            _ => Vec::new(),
        };
        let dmarc = match &message {
            Some(message) => looking.dmarc(message, &dkim, mail.as_ref().or(helo.as_ref())).await,
            None => DmarcOutput::default(),
        };
        let arc = match &message {
            Some(message) if !read.is_too_large() && has_chain(message) => Some(looking.arc(message).await),
            _ => None,
        };
        Findings { asked, read, message: message.as_ref(), helo, mail, dkim, dmarc, arc }.verdict()
    }
}

fn resolver(name_servers: &[SocketAddr]) -> Result<MessageAuthenticator, String> {
    let (config, mut options) = match name_servers {
        [] => read_system_conf().map_err(|fault| fault.to_string())?,
        _ => {
            let servers = name_servers.iter().map(|address| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = address.port();
                    connection
                });
                NameServerConfig::new(address.ip(), true, connections.to_vec())
            });
            let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
            (config, ResolverOpts::default())
        }
    };
    options.timeout = QUESTION;
    options.attempts = 2;
    options.cache_size = 4096;
    MessageAuthenticator::new(config, options).map_err(|fault| fault.to_string())
}

/// Look-ups until a moment. Without a resolver nothing can be told.
struct Looking<'a> {
    asked: &'a Asked<'a>,
    resolver: Option<&'a MessageAuthenticator>,
    until: Instant,
}

fn cannot_tell() -> Error {
    Error::Dns(DnsError::Resolver("no answer in time".to_owned()))
}

impl Looking<'_> {
    /// Of MAIL, or of HELO.
    async fn spf(&self, mail: bool) -> Option<SpfOutput> {
        let Asked { hostname, client, helo, sender } = *self.asked;
        let parameters = match mail {
            true => SpfParameters::verify_mail_from(client, helo, hostname, sender),
            false => SpfParameters::verify_ehlo(client, helo, hostname),
        };
        let domain = if mail { sender.rsplit_once('@').map_or(helo, |(_, domain)| domain) } else { helo };
        let found = match self.resolver {
            Some(resolver) => timeout_at(self.until, resolver.verify_spf(parameters)).await.ok(),
            None => None,
        };
        found.or_else(|| Some(SpfOutput::new(domain.to_owned()).with_result(SpfResult::TempError)))
    }

    async fn dkim<'m>(&self, message: &'m AuthenticatedMessage<'m>) -> Vec<DkimOutput<'m>> {
        let found = match self.resolver {
            Some(resolver) => timeout_at(self.until, resolver.verify_dkim(message)).await.ok(),
            None => None,
        };
        let cannot_tell = || {
            let signatures = message.dkim_headers.iter();
            signatures
                .map(|field| DkimOutput::temp_err(cannot_tell()).with_signature(&field.header))
                .collect()
        };
        found.unwrap_or_else(cannot_tell)
    }

    /// RFC 8617 §5.2.1: all that goes wrong is permanent, at the name servers, too.
    async fn arc<'m>(&self, message: &'m AuthenticatedMessage<'m>) -> Chain {
        let found = match self.resolver {
            Some(resolver) => timeout_at(self.until, resolver.verify_arc(message)).await.ok(),
            None => None,
        };
        match found {
            Some(output) if output.result() == &DkimResult::Pass => Chain::Pass,
            _ => Chain::Fail,
        }
    }

    async fn dmarc<'m>(
        &self,
        message: &'m AuthenticatedMessage<'m>,
        dkim_output: &'m [DkimOutput<'m>],
        spf: Option<&'m SpfOutput>,
    ) -> DmarcOutput {
        let Some(spf_output) = spf else { return DmarcOutput::default() };
        let parameters = DmarcParameters {
            message,
            dkim_output,
            dkim2_output: None,
            rfc5321_mail_from_domain: spf_output.domain(),
            spf_output,
        };
        let found = match self.resolver {
            Some(resolver) => timeout_at(self.until, resolver.verify_dmarc(parameters)).await.ok(),
            None => None,
        };
        found.unwrap_or_else(|| {
            let domain = message.from().rsplit_once('@').map_or("", |(_, domain)| domain);
            let result = DmarcResult::TempError(cannot_tell());
            DmarcOutput::default()
                .with_domain(domain)
                .with_dkim_result(result.clone())
                .with_spf_result(result)
        })
    }
}

struct Findings<'a> {
    asked: &'a Asked<'a>,
    read: &'a Read,
    message: Option<&'a AuthenticatedMessage<'a>>,
    helo: Option<SpfOutput>,
    mail: Option<SpfOutput>,
    dkim: Vec<DkimOutput<'a>>,
    dmarc: DmarcOutput,
    /// `None`: no chain, or none that could be looked at.
    arc: Option<Chain>,
}

impl Findings<'_> {
    fn verdict(&self) -> Verdict {
        let Asked { hostname, client, helo, sender } = *self.asked;
        let mut results = AuthenticationResults::new(hostname);
        if let Some(spf) = &self.helo {
            results = results.with_spf_ehlo_result(spf, client, helo);
        }
        if let Some(spf) = &self.mail {
            results = results.with_spf_mailfrom_result(spf, client, sender, helo);
        }
        let from = self.message.map_or("", |message| message.from());
        results = results.with_dkim_results(&self.dkim, from);
        let signed = self.message.is_some_and(|message| !message.dkim_headers.is_empty());
        let unchecked = self.read.is_too_large() && (signed || self.message.is_none());
        let mut header = String::new();
        // Where a signature was not looked at, only a pass of SPF tells anything about the From domain.
        if !unchecked || self.dmarc.spf_result() == &DmarcResult::Pass {
            header = results.with_dmarc_result(&self.dmarc).to_header();
        } else {
            header += &results.to_header();
        }
        let passed = |output: &&DkimOutput<'_>| output.result() == &DkimResult::Pass;
        let domain =
            |output: &DkimOutput<'_>| output.signature().map(|signature| signature.domain().to_owned());
        let mut dkim = word(self.dkim.iter().map(|output| dkim_word(output.result())));
        let mut more = String::new();
        if unchecked {
            dkim = "policy";
            more += ";\r\n\tdkim=policy (message is too large to check)";
        } else if self.dkim.is_empty() {
            more += ";\r\n\tdkim=none";
        }
        header.truncate(header.trim_end().len());
        let _ = write!(header, "{more}\r\n");
        let spf = self.mail.as_ref().or(self.helo.as_ref()).map_or(SpfResult::None, SpfOutput::result);
        let spf = spf.to_string().to_lowercase();
        let dmarc = dmarc_word(&self.dmarc);
        // Names in signatures are the sender's to choose, and may be of any length.
        if header.len() > FIELD || header.lines().any(|line| line.len() > LINE) {
            header = format!(
                "Authentication-Results: {hostname};\r\n\tspf={spf};\r\n\tdkim={dkim};\r\n\tdmarc={dmarc}\r\n"
            );
        }
        let mut words = format!("spf={spf} dkim={dkim} dmarc={dmarc}");
        if let Some(chain) = self.arc {
            chain.tell(&mut header);
            let _ = write!(words, " arc={}", chain.word());
        }
        Verdict {
            header,
            proof: Proof {
                spf: self.mail.as_ref().is_some_and(|spf| spf.result() == SpfResult::Pass),
                dkim: self.dkim.iter().filter(passed).filter_map(domain).collect(),
            },
            words,
        }
    }
}

/// The best of several signatures' results.
fn word(words: impl Iterator<Item = &'static str>) -> &'static str {
    const BEST: [&str; 5] = ["pass", "temperror", "fail", "neutral", "permerror"];
    let rank = |word: &&str| BEST.iter().position(|best| best == word).unwrap_or(BEST.len());
    words.min_by_key(rank).unwrap_or("none")
}

fn dkim_word(result: &DkimResult) -> &'static str {
    match result {
        DkimResult::Pass => "pass",
        DkimResult::Neutral(_) => "neutral",
        DkimResult::Fail(_) => "fail",
        DkimResult::PermError(_) => "permerror",
        DkimResult::TempError(_) => "temperror",
        DkimResult::None => "none",
    }
}

fn dmarc_word(output: &DmarcOutput) -> &'static str {
    match output.result() {
        DmarcResult::Pass => "pass",
        DmarcResult::Fail(_) => "fail",
        DmarcResult::TempError(_) => "temperror",
        DmarcResult::PermError(_) => "permerror",
        DmarcResult::None => "none",
    }
}
