//! One row per setting: the only place where its key, shape, default and help stand.
//! The parser takes defaults and limits from here, the reference page is written from here.
//! Proof: `tests/table.rs` reads every row's default back; `docs/reference/settings.md` is compared with it.

use Effect::{Later, Live, NewSessions, Restart};
use Fallback::{ByKind, Required, Unset, Value};
use Shape::*;

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Any text.
    Text,
    /// A host name.
    Host,
    /// A path.
    File,
    /// `true` or `false`.
    Flag,
    /// A whole number from, to.
    Count(u64, u64),
    /// `"5 MB"`.
    Size,
    /// `"5 MB"` or `"none"`.
    SizeOrNone,
    /// `"30s"`, from, to.
    Time(&'static str, &'static str),
    /// `"4h"` or `"never"`.
    TimeOrNever,
    /// A list of times.
    Times,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `"host:port"`, a table, or a list of either.
    Endpoints,
    /// `"host"`, `"host:port"` or a list.
    Hosts,
    /// `"address:port"` or a list.
    Addresses,
    /// As `Addresses`, or `"off"`.
    OffOrAddresses,
    /// `"https://files.example.com"`.
    Origin,
    /// `"image/*"`, `"*.iso"` or a list.
    Patterns,
    /// `"partner.example"`, `".partner.example"` or a list.
    Domains,
    /// A list of networks.
    Networks,
    /// `verify`, `pin:sha256/BASE64`, `opportunistic`, `off`.
    Tls,
    /// `"<>"` or an address.
    ReversePath,
    /// Two addresses.
    Probes,
    /// `as-is`, `strip-domain` or a template.
    LoginName,
    /// `delegate:NAME`, `local`, `list:FILE`, `any`, or a list.
    Recipients,
    /// `delegate:NAME`, `local`, or a table per login domain.
    Logins,
    /// A list of SASL mechanisms.
    Mechanisms,
    /// `{ user = "...", password = { file = "..." } }`.
    Login,
    /// `none`, `host:port`, `unix:/path`.
    Scanner,
    /// `file`, `s3://bucket/prefix`.
    Bucket,
    /// `{ file = "..." }`, `{ env = "..." }` or a list.
    Keys,
    /// A table or list whose parts are not looked at in this version.
    Whole,
}

impl Shape {
    /// How to write it, for faults and the reference page.
    pub fn words(self) -> String {
        match self {
            Text => r#"text, such as "name""#.into(),
            Host => r#"a host name, such as "gw.example.com""#.into(),
            File => r#"a path, such as "/etc/vouchsafe/key.pem""#.into(),
            Flag => "true or false".into(),
            Count(from, to) => format!("a whole number from {from} to {to}"),
            Size => r#"a size, such as "5 MB" or "64 KiB""#.into(),
            SizeOrNone => r#"a size, such as "5 MB", or "none""#.into(),
            Time(from, to) => format!(r#"a time from "{from}" to "{to}", such as "30s" or "15m""#),
            TimeOrNever => r#"a time, such as "4h", or "never""#.into(),
            Times => r#"a list of times, such as ["5m", "1h"]"#.into(),
            Choice(words) => words.iter().map(|w| format!("{w:?}")).collect::<Vec<_>>().join(" or "),
            Endpoints => r#"a server, such as "host:25", a table { host, tls, login }, or a list"#.into(),
            Hosts => r#"a server, such as "mail.example.com" or "192.0.2.1:25", or a list"#.into(),
            Addresses => r#"an address and port, such as "0.0.0.0:25" or "[::]:25", or a list"#.into(),
            OffOrAddresses => r#"an address and port, such as "127.0.0.1:8080", a list, or "off""#.into(),
            Origin => r#"an address of a site, such as "https://files.example.com""#.into(),
            Patterns => r#"a type or a name, such as "image/*" or "*.iso", or a list"#.into(),
            Domains => r#"a domain, such as "partner.example", or ".partner.example" for all below it, or a list"#.into(),
            Networks => r#"a list of networks, such as ["192.0.2.0/24"]"#.into(),
            Tls => r#""verify", "pin:sha256/BASE64", "opportunistic" or "off""#.into(),
            ReversePath => r#""<>" or an address"#.into(),
            Probes => r#"two addresses in domains of others, such as ["a@one.net", "b@two.org"]"#.into(),
            LoginName => r#""as-is", "strip-domain" or a template with {user}"#.into(),
            Recipients => r#""delegate:NAME", "local", "list:FILE", "any", or a list of them"#.into(),
            Logins => r#""delegate:NAME" or "local", or a table { "domain" = source, "*" = source }"#.into(),
            Mechanisms => r#"a list of PLAIN, LOGIN, XOAUTH2, OAUTHBEARER, CRAM-MD5, DIGEST-MD5, SCRAM-SHA-1, SCRAM-SHA-256, NTLM"#.into(),
            Login => r#"{ user = "name", password = { file = "path" } } or { env = "NAME" }"#.into(),
            Scanner => r#""none", "host:3310" or "unix:/run/clamav/clamd.ctl""#.into(),
            Bucket => r#""file" or "s3://bucket/prefix""#.into(),
            Keys => r#"{ file = "path" } or { env = "NAME" }, or a list of them"#.into(),
            Whole => "as shown".into(),
        }
    }
}

/// What holds when a setting is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This TOML value.
    Value(&'static str),
    /// A TOML value for each kind of listener: `mx`, `submission`, `trusted`.
    ByKind([&'static str; 3]),
    /// What these words say.
    Unset(&'static str),
    /// It must be given.
    Required,
}

/// When a change counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// At once.
    Live,
    /// For sessions that begin after it.
    NewSessions,
    /// At the next start.
    Restart,
    /// The feature comes with a later version: only these values are taken.
    Later(&'static [&'static str]),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Section and key: `listener.tls`; the section's own name of an instance is left out.
    pub key: &'static str,
    /// What a value looks like.
    pub shape: Shape,
    /// What holds without it.
    pub default: Fallback,
    /// When a change counts.
    pub effect: Effect,
    /// A sentence for the administrator.
    pub help: &'static str,
}

const fn row(key: &'static str, shape: Shape, default: Fallback, effect: Effect, help: &'static str) -> Row {
    Row { key, shape, default, effect, help }
}

/// A setting whose feature is not there: taken at its default only, left out of the reference page.
const fn later(key: &'static str, values: &'static [&'static str]) -> Row {
    row(key, Whole, Unset(""), Later(values), "")
}

/// Sections: key prefix, heading in the file, a sentence.
pub const SECTIONS: [(&str, &str, &str); 14] = [
    ("", "", "At the top of the file, before the first heading."),
    ("listener", "[[listener]]", "Where we listen: one block each."),
    ("tls", "[tls]", "Our certificate. Without it a self-signed one is made at the first start."),
    (
        "delegate",
        "[delegate.NAME]",
        "A server that is asked about logins and recipients and is never handed a message. NAME is yours to choose.",
    ),
    (
        "guard",
        "[guard]",
        "How many wrong logins reach the delegates, and how many unknown recipients a client may name. Counted over all delegates; clients in relay.trusted_networks are not counted.",
    ),
    ("domain", "[[domain]]", "A domain whose mail we take from strangers: one block each."),
    ("relay", "[relay]", "Mail that we take from our own users and machines."),
    ("queue", "[queue]", "Retries, expiry and bounces."),
    (
        "web",
        "[web]",
        "Administration pages, JSON API and metrics, with TLS and our certificate where the address is not loopback; and the pages from which recipients download files, which have a listener of their own.",
    ),
    (
        "attachments",
        "[attachments]",
        "Large files swapped for links to the download pages. Without `web.public_url` every message passes whole.",
    ),
    (
        "authentication",
        "[authentication]",
        "Whether a stranger's mail is who it says: SPF, DKIM and DMARC, told to whoever reads the message in an Authentication-Results field. Nothing is refused for it.",
    ),
    (
        "dkim",
        "[[dkim]]",
        "A key that signs mail of users who logged in or are trusted, where the domain of From is its own: one block each. `vouchsafe dkim make DOMAIN` makes one. With authentication.seal it also seals mail to its domain.",
    ),
    ("limits", "[limits]", "Named limits. Those of a session have a reply each."),
    (
        "endpoint",
        "{ host = ... }",
        "A delegate's `auth` and `recipients` and every `next_hop` may be a table with these keys instead of \"host:port\".",
    ),
];

/// Every setting, in the order of the reference page.
pub const TABLE: &[Row] = &[
    row(
        "hostname",
        Host,
        Unset("the machine's name"),
        Live,
        "What we call ourselves in the banner, in EHLO and in Received.",
    ),
    row(
        "data_dir",
        File,
        Value(r#""./vouchsafe-data""#),
        Restart,
        "Where the queue, message bodies and the control socket live; a relative path counts from the working directory.",
    ),
    later("store", &[r#""sqlite""#]),
    row(
        "log.format",
        Choice(&["plain", "json"]),
        Value(r#""plain""#),
        Restart,
        "Log lines for people or for machines.",
    ),
    row(
        "log.level",
        Choice(&["error", "warn", "info", "debug", "trace"]),
        Value(r#""info""#),
        Restart,
        "How much is logged.",
    ),
    row("listener.name", Text, Required, Restart, "A name of your own, for logs and faults; each once."),
    row(
        "listener.kind",
        Choice(&["mx", "submission", "trusted"]),
        Required,
        Restart,
        "mx: from the Internet, for accepted domains; submission: from our users, AUTH required; trusted: from relay.trusted_networks.",
    ),
    row("listener.address", Addresses, Required, Restart, "Addresses and ports to listen on."),
    row(
        "listener.tls",
        Choice(&["off", "starttls", "implicit"]),
        Value(r#""starttls""#),
        NewSessions,
        "off, STARTTLS on offer, or TLS from the first octet (port 465).",
    ),
    row(
        "listener.message_size",
        SizeOrNone,
        ByKind([r#""200 MB""#, r#""none""#, r#""none""#]),
        NewSessions,
        "Largest message: announced as SIZE, past it 552 5.3.4. \"none\": only the free space counts.",
    ),
    row(
        "listener.bare_newline",
        Choice(&["reject", "normalize"]),
        ByKind([r#""reject""#, r#""normalize""#, r#""normalize""#]),
        NewSessions,
        "A bare CR or LF in a body: the message is refused, or it is made CRLF. It is never passed on.",
    ),
    row(
        "listener.bare_newline_exclude",
        Networks,
        Value("[]"),
        NewSessions,
        "Clients whose bare newlines are made CRLF where others' are refused.",
    ),
    row(
        "listener.received_client",
        Choice(&["full", "omit"]),
        ByKind([r#""full""#, r#""omit""#, r#""full""#]),
        NewSessions,
        "Whether Received names the client's address and EHLO name.",
    ),
    row(
        "listener.greet_wait",
        Time("0s", "1m"),
        Value(r#""0s""#),
        NewSessions,
        "Wait before the banner on mx; who talks in it is refused.",
    ),
    row(
        "listener.auth_without_tls",
        Choice(&["never", "loopback", "always"]),
        Value(r#""loopback""#),
        NewSessions,
        "Who may log in without TLS: nobody, clients on this machine, or everyone.",
    ),
    row(
        "listener.proxies",
        Networks,
        Value("[]"),
        NewSessions,
        "Front ends (load balancers, mail proxies) that are believed when they say who their client is, by PROXY header or XCLIENT. All rules and limits then see that client. Name only machines that say it for every connection: what such a machine passes on unread could say it, too.",
    ),
    row(
        "listener.proxy_protocol",
        Choice(&["auto", "required", "off"]),
        Value(r#""auto""#),
        NewSessions,
        "Whether those in proxies send a PROXY header (version 1 or 2) first. auto: waited for 3 seconds, then greeted; required: closed without it; off: greeted at once, for front ends that use XCLIENT.",
    ),
    row("tls.certificate", File, Unset("self-signed"), Live, "PEM file: our certificate, then its chain."),
    row("tls.key", File, Unset("self-signed"), Live, "PEM file: the certificate's private key."),
    row(
        "delegate.host",
        Hosts,
        Unset("auth and recipients must be given"),
        Live,
        "The server's name or address; enough by itself: logins are then asked at port 587, recipients at 25. A port given here is used for both.",
    ),
    row(
        "delegate.tls",
        Tls,
        Unset("verify; opportunistic on a loopback address"),
        Live,
        "TLS for auth and recipients where they do not say their own. The last two need auth_in_clear for auth.",
    ),
    row(
        "delegate.auth",
        Endpoints,
        Unset("host at port 587, else the host of recipients"),
        Live,
        "Asked about logins; several in order, the next only when one is unavailable. \"imaps://host\": asked by an IMAP login over TLS (passwords only).",
    ),
    row(
        "delegate.recipients",
        Endpoints,
        Unset("host at port 25, else the host of auth"),
        Live,
        "Asked about recipients; several in order. \"lmtp://host\": asked by LMTP, port 24 unless one is given.",
    ),
    row(
        "delegate.auth_in_clear",
        Flag,
        Value("false"),
        Live,
        "Passwords may reach the delegate without verified TLS. Not needed on a loopback address, where they never leave the machine.",
    ),
    row(
        "delegate.deadline",
        Time("1s", "4m"),
        Value(r#""20s""#),
        Live,
        "Longest a client waits for a verdict, then 451 or 454; more than the delegate's tarpit (Exchange: 5s).",
    ),
    row("delegate.sessions.auth", Count(1, 1000), Value("10"), Live, "Most AUTH sessions at once."),
    row("delegate.sessions.recipients", Count(1, 1000), Value("4"), Live, "Most recipient sessions at once."),
    row(
        "delegate.sessions.per_second",
        Count(1, 1_000_000),
        Value("5000"),
        Live,
        "Sessions opened in a second, for logins and recipients together; who is too early waits. The caps above keep to less by themselves, but for a delegate that is near and answers at once.",
    ),
    row(
        "delegate.sessions.refusals",
        Count(3, 1000),
        Value("4"),
        Live,
        "A recipient session is ended after so many refusals, and asks so many questions at once at the most: an Exchange server hangs up at the fifth. Raise it for a server of yours that bears more; a distant one is then asked faster.",
    ),
    row(
        "delegate.sessions.questions",
        Count(3, 1_000_000),
        Value("90"),
        Live,
        "A recipient session is ended after so many questions: Postfix takes what follows a hundred for junk.",
    ),
    row("delegate.probe_sender", ReversePath, Value(r#""<>""#), Live, "Reverse path of callouts."),
    row(
        "delegate.probe_to",
        Choice(&["rcpt", "data"]),
        Value(r#""rcpt""#),
        Live,
        "The command whose answer counts. data: for a server that takes every address at RCPT and refuses unknown ones in reply to DATA. One address a connection is asked about, DATA is said, and the connection is closed when the server waits for a message: it never gets one. Not for a delegate that decides for any domain.",
    ),
    row(
        "delegate.login_name",
        LoginName,
        Value(r#""as-is""#),
        Live,
        "The name the delegate is shown: as the client wrote it, without its domain, or a template such as \"CORP\\\\{user}\" or \"{user}@corp.example.com\".",
    ),
    row(
        "delegate.mechanisms",
        Mechanisms,
        Value(r#"["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"]"#),
        NewSessions,
        "How clients may log in: those of these that the delegate offers are announced (it was seen to offer them at the last login). PLAIN and LOGIN are passed on as either. The challenge mechanisms CRAM-MD5, DIGEST-MD5, SCRAM-SHA-1, SCRAM-SHA-256 and NTLM are passed through step by step, and need this delegate to answer for all logins, under the names that clients write.",
    ),
    row(
        "delegate.verdicts.yes",
        Time("0s", "90d"),
        Value(r#""7d""#),
        Live,
        "How long an accepted recipient is remembered.",
    ),
    row(
        "delegate.verdicts.refresh",
        Time("0s", "90d"),
        Value(r#""6h""#),
        Live,
        "Age at which an accepted recipient is asked about again, behind the scenes.",
    ),
    row(
        "delegate.verdicts.no",
        Time("0s", "1d"),
        Value(r#""15m""#),
        Live,
        "How long a refused recipient is remembered.",
    ),
    row(
        "delegate.credentials.yes",
        Time("0s", "1h"),
        Value(r#""60s""#),
        Live,
        "How long a right password is remembered, in memory only; \"0s\": not at all.",
    ),
    row(
        "delegate.credentials.no",
        Time("0s", "1h"),
        Value(r#""10m""#),
        Live,
        "How long the same wrong password is answered without asking again.",
    ),
    row(
        "delegate.accept_252",
        Flag,
        Value("true"),
        Live,
        "252 to RCPT (cannot verify, but will take it) counts as yes.",
    ),
    row(
        "delegate.catch_all",
        Choice(&["accept", "local", "defer"]),
        Value(r#""accept""#),
        Live,
        "What a yes is worth while the delegate accepts every address of a domain, which a made-up one finds out once an hour: accept it and tell you in the log; local: the domain's other sources decide; defer: 451 until it tells users apart again.",
    ),
    row(
        "delegate.xclient",
        Flag,
        Value("false"),
        Live,
        "A delegate that offers XCLIENT to us is told at each login for which client it is asked, so that its own limits and logs are about that client. It must trust our address for it (Postfix: smtpd_authorized_xclient_hosts). Never at questions about recipients.",
    ),
    row(
        "delegate.trial",
        Choice(&["off", "recipients", "logins"]),
        Value(r#""off""#),
        Live,
        "Try the delegate before you trust it. recipients: its domains take every recipient, and what would have been refused is recorded; logins: another source decides (relay.logins must not name this delegate), the delegate is asked beside it and what it would have said otherwise is recorded. `vouchsafe trial` lists it.",
    ),
    row(
        "guard.account.failures",
        Count(1, 1000),
        Value("3"),
        Live,
        "Wrong logins of an account that reach the delegate until it was quiet; fewer than the delegate's own lock-out (usually 5). The last one is kept for networks where the account logged in before.",
    ),
    row(
        "guard.account.quiet",
        Time("1m", "30d"),
        Value(r#""35m""#),
        Live,
        "Time without a question after which an account's count is cleared; more than the delegate's own (usually 30m).",
    ),
    row(
        "guard.address.failures",
        Count(1, 1_000_000),
        Value("20"),
        Live,
        "Wrong logins from one client address.",
    ),
    row(
        "guard.address.quiet",
        Time("1m", "30d"),
        Value(r#""1h""#),
        Live,
        "Time without a question after which an address's count is cleared.",
    ),
    row(
        "guard.network.failures",
        Count(1, 1_000_000),
        Value("60"),
        Live,
        "Wrong logins from one client network (/24, /64).",
    ),
    row(
        "guard.network.quiet",
        Time("1m", "30d"),
        Value(r#""1h""#),
        Live,
        "Time without a question after which a network's count is cleared.",
    ),
    row(
        "guard.unknown_recipients.per_client",
        Count(1, 1_000_000),
        Value("50"),
        Live,
        "Unknown recipients that a client (an IPv4 address, a /64) may name; past it 450 4.7.1 without asking. Logged-in and trusted clients are not counted.",
    ),
    row(
        "guard.unknown_recipients.quiet",
        Time("1m", "30d"),
        Value(r#""1h""#),
        Live,
        "Time without an unknown recipient after which that count is cleared.",
    ),
    row(
        "domain.name",
        Host,
        Required,
        Live,
        "The domain; each once. \"*\": the delegate decides for every domain that has no block of its own; it needs relay_probe.",
    ),
    row(
        "domain.recipients",
        Recipients,
        Unset("the only delegate"),
        Live,
        "Who knows its recipients, in order: one yes is enough. local: a local user has this address. list: a file with one address a line. any: every address exists.",
    ),
    row(
        "domain.next_hop",
        Endpoints,
        Required,
        Live,
        "Where its mail goes; several in order, the next when one cannot be reached.",
    ),
    row(
        "domain.files",
        Choice(&["default", "off"]),
        Value(r#""default""#),
        Live,
        "Whether files are swapped for links in mail to this domain. default: as attachments.internal and attachments.inbound say; off: its recipients get files whole.",
    ),
    row(
        "domain.files_expire",
        Time("0s", "3650d"),
        Value(r#""0s""#),
        Live,
        "Links to files that go to this domain, or from its users to others, are good for so long, whatever attachments.expire and its directions say; 0s: as they say. Where recipients differ, the longest time counts.",
    ),
    row(
        "domain.files_part_over",
        SizeOrNone,
        Unset("as attachments.part_over and its directions say"),
        Live,
        "A file that goes to this domain, or from its users to others, is swapped for a link when it is larger than this; none: not for its own size. Other recipients of the same message get what their own sizes say.",
    ),
    row(
        "domain.files_message_over",
        SizeOrNone,
        Unset("as attachments.message_over and its directions say"),
        Live,
        "The same for attachments.message_over: the size past which the largest files of a message are swapped.",
    ),
    row(
        "domain.files_hard_limit",
        SizeOrNone,
        Unset("as attachments.hard_limit and its directions say"),
        Live,
        "The same for attachments.hard_limit: the size past which a message is refused when it could not be made smaller.",
    ),
    row(
        "domain.files_language",
        Choice(&["en", "de", "fr", "es"]),
        Unset("as attachments.language says"),
        Live,
        "Language of the words in place of a file for recipients of this domain, or in mail of its users to others; the message's Content-Language counts before it.",
    ),
    later("domain.mode", &[r#""queue""#]),
    row(
        "domain.relay_probe",
        Probes,
        Value("[]"),
        Live,
        "For the domain \"*\" only: two addresses in real domains that are neither yours nor the delegate's. Strangers' mail is taken only while the delegate refuses both: it is asked at the start, every hour and after a reconnection.",
    ),
    row(
        "relay.logins",
        Logins,
        Unset("the only delegate, else local"),
        NewSessions,
        "Who answers for logins: exactly one source for each login domain; \"*\" is all others. A password is never shown to a second one.",
    ),
    row(
        "relay.next_hop",
        Endpoints,
        Unset("required when anyone may relay"),
        Live,
        "Where mail of our own users and machines goes; several in order.",
    ),
    row(
        "relay.trusted_networks",
        Networks,
        Value("[]"),
        NewSessions,
        "Clients that may relay without AUTH on trusted listeners.",
    ),
    row(
        "relay.send_as",
        Choice(&["off", "warn", "enforce"]),
        Value(r#""warn""#),
        NewSessions,
        "Whether who logged in may only send with a reverse path of their own: the login itself, its name at the delegate, or an alias. warn: others are taken, logged and in the history; enforce: 553 5.7.1. The null reverse path is everyone's.",
    ),
    row(
        "relay.send_as_from",
        Flag,
        Value("false"),
        NewSessions,
        "Whether From of a message is compared with the login as send_as compares the reverse path; enforce: 550 5.7.1 at the end of the message. Every address there must be the login's own; of several, one is enough where Sender is its own, too. What mail programs could read in different ways is nobody's own.",
    ),
    row(
        "relay.aliases",
        File,
        Unset("none"),
        Live,
        "File of addresses that logins may send as: `info@example.com: alice, bob` a line; `@example.com: @corp.local` gives each login of corp.local the same name at example.com.",
    ),
    row(
        "relay.open_relay",
        Flag,
        Value("false"),
        NewSessions,
        "Anyone may relay. Refused unless every listener is on loopback, or open_relay_i_understand is true.",
    ),
    row(
        "relay.open_relay_i_understand",
        Flag,
        Value("false"),
        NewSessions,
        "Confirms open_relay on addresses that others can reach.",
    ),
    row(
        "queue.retry",
        Times,
        Value(r#"["5m", "15m", "30m", "1h", "2h", "4h"]"#),
        Live,
        "Waits between attempts; the last repeats.",
    ),
    row(
        "queue.warn_after",
        TimeOrNever,
        Value(r#""4h""#),
        Live,
        "Age at which our own senders are told of a delay.",
    ),
    row("queue.expire", Time("1m", "30d"), Value(r#""5d""#), Live, "Age at which delivery is given up."),
    row(
        "queue.bounce_strangers",
        Choice(&["never", "verified", "always"]),
        Value(r#""verified""#),
        Live,
        "Whether senders from the Internet get a notice when the next hop refuses their mail; else it is held for you to see. verified: those whose reverse path SPF or DKIM has proved.",
    ),
    row(
        "queue.soft_bounce",
        Flag,
        Value("false"),
        Live,
        "Hold what would bounce, while you are trying things out. Without a settings file it is on until the page or `vouchsafe settings set` says otherwise.",
    ),
    row(
        "authentication.verify",
        Flag,
        Value("true"),
        Live,
        "Look at mail that comes to mx listeners from strangers, clients on this machine excepted. Fields that claim to be our own results are dropped in any case.",
    ),
    row(
        "authentication.seal",
        Flag,
        Value("false"),
        Live,
        "Put a seal (ARC) on mail from strangers whose files were swapped for links, with the dkim key of the recipient's domain: swapping breaks the author's signature, and the seal tells the next server, if it believes yours, what was found before.",
    ),
    row(
        "authentication.name_servers",
        Addresses,
        Unset("those of the system"),
        Live,
        "Who is asked, such as \"192.0.2.53:53\".",
    ),
    row("dkim.domain", Host, Required, Live, "Mail whose From is of this domain is signed."),
    row("dkim.selector", Host, Required, Live, "The key's name in DNS: SELECTOR._domainkey.DOMAIN."),
    row(
        "dkim.key",
        File,
        Required,
        Live,
        "The private key, RSA or Ed25519, in PEM; read at the start and at a reload.",
    ),
    row("limits.sessions", Count(1, 1_000_000), Value("10000"), NewSessions, "Sessions in all; past it 421."),
    row(
        "limits.sessions_per_address",
        Count(1, 1_000_000),
        Value("50"),
        NewSessions,
        "Sessions of one client address; past it 421.",
    ),
    row(
        "limits.recipients",
        Count(1, 100_000),
        Value("1000"),
        NewSessions,
        "Recipients of one message; past it 452 4.5.3.",
    ),
    row(
        "limits.command_line",
        Count(512, 65_536),
        Value("4096"),
        NewSessions,
        "Octets in a command line; past it 500 5.5.2.",
    ),
    row(
        "limits.auth_line",
        Count(1024, 65_536),
        Value("12288"),
        NewSessions,
        "Octets in an AUTH line; past it 500 5.5.6.",
    ),
    row(
        "limits.errors",
        Count(1, 100_000),
        Value("20"),
        NewSessions,
        "Bad commands in a session; past it 421.",
    ),
    row(
        "limits.refused_recipients",
        Count(1, 1_000_000),
        Value("100"),
        NewSessions,
        "Refused recipients in a session; past it 421.",
    ),
    row(
        "limits.commands",
        Count(10, 10_000_000),
        Value("1000"),
        NewSessions,
        "Commands in a session without an accepted message; past it 421.",
    ),
    row(
        "limits.auth_failures",
        Count(1, 100),
        Value("3"),
        NewSessions,
        "Failed logins in a session; past it 421.",
    ),
    row(
        "limits.messages",
        Count(1, 10_000_000),
        Value("1000"),
        NewSessions,
        "Messages in a session; past it 421.",
    ),
    row(
        "limits.command_timeout",
        Time("1s", "1h"),
        Value(r#""5m""#),
        NewSessions,
        "Wait for a command; past it 421 4.4.2.",
    ),
    row(
        "limits.data_timeout",
        Time("1s", "1h"),
        Value(r#""3m""#),
        NewSessions,
        "Wait for the next octets of a message; past it 421 4.4.2.",
    ),
    row(
        "limits.minimum_data_rate",
        Size,
        Value(r#""256 B""#),
        NewSessions,
        "Octets a second that a message must bring, on average over 3 minutes; slower 421 4.4.2. \"0 B\": no minimum.",
    ),
    row(
        "limits.write_timeout",
        Time("1s", "1h"),
        Value(r#""1m""#),
        NewSessions,
        "Wait until a client takes our replies; past it closed.",
    ),
    row(
        "limits.session_time",
        Time("1s", "1d"),
        Value(r#""1h""#),
        NewSessions,
        "Longest life of a session; does not run while a message arrives.",
    ),
    row(
        "limits.free_space",
        Size,
        Value(r#""1 GB""#),
        Restart,
        "Space that stays free on the disk; below it 452 4.3.1.",
    ),
    row(
        "limits.body_memory",
        Size,
        Value(r#""64 MB""#),
        Restart,
        "Message bodies in memory, all sessions together; past it they go to files.",
    ),
    row("limits.deliveries", Count(1, 10_000), Value("100"), Live, "Deliveries at once."),
    row(
        "limits.deliveries_per_destination",
        Count(1, 10_000),
        Value("20"),
        Live,
        "Deliveries at once to one destination.",
    ),
    row(
        "limits.received_hops",
        Count(10, 1000),
        Value("100"),
        NewSessions,
        "Received fields in an arriving message; past it 554 5.4.6, a loop.",
    ),
    row(
        "web.address",
        OffOrAddresses,
        Value(r#""127.0.0.1:8080""#),
        Restart,
        "Where the administration pages are served; \"off\": nowhere.",
    ),
    row(
        "web.idle",
        Time("1m", "7d"),
        Value(r#""30m""#),
        Live,
        "An administrator who does nothing for so long is logged out.",
    ),
    row(
        "web.downloads",
        OffOrAddresses,
        Value(r#""off""#),
        Restart,
        "Where the download pages are served, and nothing else; \"off\": nowhere.",
    ),
    row(
        "web.downloads_tls",
        Choice(&["auto", "on", "off"]),
        Value(r#""auto""#),
        Restart,
        "Whether the download pages are served with TLS and our certificate. auto: where the address is not loopback. off: behind a proxy that has TLS.",
    ),
    row(
        "web.public_url",
        Origin,
        Unset("none: nothing is swapped for links"),
        Live,
        "Where recipients reach the download pages: what links begin with. Better a host name of its own.",
    ),
    row(
        "web.proxies",
        Networks,
        Value("[]"),
        Live,
        "Reverse proxies whose X-Forwarded-For tells the client's address.",
    ),
    row(
        "attachments.part_over",
        SizeOrNone,
        Value(r#""5 MB""#),
        Live,
        "A file of a message is swapped for a link when it is larger than this. Recipients for whom other sizes hold get other forms of the same message, byte for byte as it came where nothing is swapped.",
    ),
    row(
        "attachments.message_over",
        SizeOrNone,
        Value(r#""20 MB""#),
        Live,
        "Files are swapped for links, largest first, while the message is larger than this.",
    ),
    row(
        "attachments.hard_limit",
        SizeOrNone,
        Value(r#""none""#),
        Live,
        "A message that is larger than this after its files were swapped, or that may not be altered, is refused with 552 5.3.4: for all its recipients, when what one of them would get is over the limit that holds for him. Who gets files whole has no such limit.",
    ),
    row(
        "attachments.outbound",
        Flag,
        Value("true"),
        Live,
        "Files are swapped in mail of our own users to others.",
    ),
    row(
        "attachments.outbound_exclude",
        Domains,
        Value("[]"),
        Live,
        "Recipients in these domains of others get files whole, whatever outbound says: \"partner.example\" is that domain, \".partner.example\" every one below it.",
    ),
    row(
        "attachments.internal",
        Flag,
        Value("false"),
        Live,
        "Files are swapped in mail of our own users to accepted domains.",
    ),
    row(
        "attachments.inbound",
        Choice(&["off", "scanned", "unscanned"]),
        Value(r#""off""#),
        Live,
        "Files are swapped in mail from the Internet. scanned: and given out once clamd has found nothing; unscanned: though no virus scanner has seen them, so that what is harmful would be served from your own host. Swapping breaks DKIM signatures that were not checked before.",
    ),
    row(
        "attachments.links",
        Choice(&["per_recipient", "per_message"]),
        Value(r#""per_recipient""#),
        Live,
        "Every recipient gets a link of his own, or all share one.",
    ),
    row("attachments.expire", Time("1h", "3650d"), Value(r#""30d""#), Live, "Links are good for so long."),
    row(
        "attachments.grace",
        Time("0s", "3650d"),
        Value(r#""14d""#),
        Live,
        "After that a link tells for so long that its time is up, and lets the recipient ask the sender for more; the files are kept until then.",
    ),
    row(
        "attachments.downloads",
        Count(0, 1_000_000),
        Value("0"),
        Live,
        "How often each link may fetch each file; 0: any number. Only what a person has asked for by a button counts, not what a scanner of links opens.",
    ),
    row(
        "attachments.access",
        Choice(&["link", "code"]),
        Value(r#""link""#),
        Live,
        "What a recipient must prove. link: nothing but the link; code: a one-time code that is mailed to him when he opens it. A sender can ask for a password besides.",
    ),
    row(
        "attachments.language",
        Choice(&["en", "de", "fr", "es"]),
        Value(r#""en""#),
        Live,
        "Language of the words in place of a file, where neither the message's Content-Language nor domain.files_language names one.",
    ),
    row(
        "attachments.manifest",
        Flag,
        Value("false"),
        Live,
        "A small file vouchsafe-attachments.txt takes the place of the first file, so that archives and mail programs still see an attachment.",
    ),
    row(
        "attachments.include",
        Patterns,
        Value("[]"),
        Live,
        "Only files like these are swapped, by type or by name; an empty list: all.",
    ),
    row(
        "attachments.expire_internal",
        Time("0s", "3650d"),
        Value(r#""0s""#),
        Live,
        "The same for mail among our users; 0s: as `expire`. Where recipients differ, the longest time counts.",
    ),
    row(
        "attachments.expire_inbound",
        Time("0s", "3650d"),
        Value(r#""0s""#),
        Live,
        "The same for mail from the Internet; 0s: as `expire`.",
    ),
    row(
        "attachments.part_over_internal",
        SizeOrNone,
        Unset("as part_over"),
        Live,
        "`part_over` for mail among our users; none: no file is too large by itself.",
    ),
    row(
        "attachments.part_over_inbound",
        SizeOrNone,
        Unset("as part_over"),
        Live,
        "`part_over` for mail from the Internet.",
    ),
    row(
        "attachments.message_over_internal",
        SizeOrNone,
        Unset("as message_over"),
        Live,
        "`message_over` for mail among our users.",
    ),
    row(
        "attachments.message_over_inbound",
        SizeOrNone,
        Unset("as message_over"),
        Live,
        "`message_over` for mail from the Internet.",
    ),
    row(
        "attachments.hard_limit_internal",
        SizeOrNone,
        Unset("as hard_limit"),
        Live,
        "`hard_limit` for mail among our users.",
    ),
    row(
        "attachments.hard_limit_inbound",
        SizeOrNone,
        Unset("as hard_limit"),
        Live,
        "`hard_limit` for mail from the Internet.",
    ),
    row(
        "attachments.reminder",
        Time("0s", "3650d"),
        Value(r#""3d""#),
        Live,
        "A sender who logged in or is trusted is told so long before his links expire who has fetched nothing; 0s: never. The mail has a link with which he gives more time, or takes the files back.",
    ),
    row(
        "attachments.receipts",
        Flag,
        Value("true"),
        Live,
        "Such a sender is told when his files are fetched for the first time.",
    ),
    row(
        "attachments.user_quota",
        SizeOrNone,
        Value(r#""none""#),
        Live,
        "Octets of files that the links of one sender may hold at a time: past it a message with more is refused with 552 5.2.2, before it comes where its size is declared.",
    ),
    row(
        "attachments.domain_quota",
        SizeOrNone,
        Value(r#""none""#),
        Live,
        "The same for all senders of a domain together; of strangers' mail, for the recipients' domain. Past it: 452 4.3.1, as room may come.",
    ),
    row("attachments.exclude", Patterns, Value("[]"), Live, "Files like these are never swapped."),
    row(
        "attachments.clamd",
        Scanner,
        Value(r#""none""#),
        Live,
        "The virus scanner that looks at every swapped file before anybody gets it: clamd, asked by INSTREAM. While it has not looked, or cannot be reached, the link says that the file is being checked. A file in which something is found is never given out.",
    ),
    row(
        "attachments.clamd_size",
        Size,
        Value(r#""25 MB""#),
        Live,
        "Larger files are not shown to clamd, which would skip them in silence. At most the smallest of StreamMaxLength, MaxFileSize and MaxScanSize in clamd.conf.",
    ),
    row(
        "attachments.unscanned",
        Choice(&["hold", "hold_inbound", "notice"]),
        Value(r#""hold_inbound""#),
        Live,
        "Files that clamd cannot take. hold: nobody gets them; notice: they are given, and the page says that nobody has looked at them; hold_inbound: hold what strangers sent, notice for our own users.",
    ),
    row(
        "attachments.store",
        Bucket,
        Value(r#""file""#),
        Restart,
        "Where swapped files are kept. file: below data_dir; s3: in this bucket, which must exist and whose rules should abort unfinished uploads after some days. Files are not moved when this is changed.",
    ),
    row(
        "attachments.s3_endpoint",
        Origin,
        Unset("Amazon's own"),
        Restart,
        "A server that speaks S3, such as MinIO, Ceph or Garage.",
    ),
    row("attachments.s3_region", Text, Value(r#""us-east-1""#), Restart, "Region of the bucket."),
    row(
        "attachments.s3_login",
        Login,
        Unset("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment, or the role of the machine"),
        Restart,
        "Access key id (user) and its key (password). It must be allowed to put, get, list and delete objects and to abort uploads.",
    ),
    row(
        "attachments.encryption_key",
        Keys,
        Unset("files are kept as they are"),
        Restart,
        "Encrypts swapped files where they are kept, each with a key of its own that is encrypted with this one: 64 hexadecimal digits, as `openssl rand -hex 32` makes them. Keep a copy elsewhere: without it the files are lost. To change it, put the new one first and leave the old one behind it.",
    ),
    row("endpoint.host", Hosts, Required, Live, "\"host\" or \"host:port\"; a list: several in order."),
    row(
        "endpoint.tls",
        Tls,
        Unset(
            "verify for a delegate and with a login; opportunistic for other next hops and on a loopback address",
        ),
        Live,
        "verify: TLS, chain and name checked; pin: TLS with this public key (SHA-256); opportunistic: TLS when offered, whatever the certificate; off: never. Port 465 has TLS from the first octet.",
    ),
    row(
        "endpoint.login",
        Login,
        Unset("none"),
        Live,
        "Our own login: at a next hop, or where a delegate is asked about recipients and answers only after one. A refused one is tried again there after 35 minutes, so that it locks no account.",
    ),
    row("endpoint.auth_in_clear", Flag, Value("false"), Live, "The login may be sent without verified TLS."),
    row(
        "endpoint.xclient",
        Flag,
        Value("false"),
        Live,
        "A next hop that offers XCLIENT to us treats each message as from the client that sent it: it judges that client, and may refuse it. It must trust our address for it (Postfix: smtpd_authorized_xclient_hosts).",
    ),
    row(
        "endpoint.xforward",
        Flag,
        Value("false"),
        Live,
        "A next hop that offers XFORWARD to us is told which client sent each message: it logs that, and filters may use it. It must trust our address for it (Postfix: smtpd_authorized_xforward_hosts).",
    ),
];

/// The row of a key.
pub fn find(key: &str) -> Option<&'static Row> {
    TABLE.iter().find(|r| r.key == key)
}

/// The keys directly below a section prefix, in the order of the table.
pub(crate) fn keys_below(prefix: &str) -> impl Iterator<Item = &'static str> {
    TABLE.iter().filter_map(move |r| match prefix {
        "" => r.key.split('.').next(),
        _ => r.key.strip_prefix(prefix)?.strip_prefix('.')?.split('.').next(),
    })
}
