//! Servers as they come, each with the replies, delays and limits that FACTS sections 2 to 5 tell of it. They know nobody
//! yet; [`Behaviour::user`], [`Behaviour::recipient`] and [`Behaviour::starttls`] add what a test or the demo needs.

use super::behaviour::{Behaviour, Junk, RefuseAt};
use super::sources::Budget;
use super::wording::Wording;
use std::net::IpAddr;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A server of this name.
type Make = fn(&str) -> Behaviour;

/// All of them by name, for transcripts and command lines.
pub const PRODUCTS: &[(&str, Make)] = &[
    ("exchange", Behaviour::exchange),
    ("exchange_client_front_end", Behaviour::exchange_client_front_end),
    ("exchange_front_end", Behaviour::exchange_front_end),
    ("exchange_hub", Behaviour::exchange_hub),
    ("exchange_edge", Behaviour::exchange_edge),
    ("microsoft_365_submission", Behaviour::microsoft_365_submission),
    ("microsoft_365_edge", Behaviour::microsoft_365_edge),
    ("xeams", Behaviour::xeams),
    ("postfix", Behaviour::postfix),
    ("postfix_submission", Behaviour::postfix_submission),
    ("exim", Behaviour::exim),
    ("dovecot_lmtp", Behaviour::dovecot_lmtp),
];

/// A site as people have it, for the demo: who is asked about logins, and who about recipients.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// Its name on the command line.
    pub name: &'static str,
    /// What stands there, in a sentence.
    pub about: &'static str,
    logins: Make,
    /// `None`: the same server.
    recipients: Option<Make>,
}

impl Site {
    /// Its servers: that for logins first, then that for recipients, if it is another.
    pub fn behaviours(&self, hostname: &str) -> Vec<Behaviour> {
        [Some(self.logins), self.recipients].into_iter().flatten().map(|make| make(hostname)).collect()
    }
}

/// All sites.
pub const SITES: &[Site] = &[
    Site {
        name: "exchange",
        about: "Exchange: logins at its client front end (587), recipients at its hub transport (2525). It answers wrong logins and unknown recipients after 5 seconds, and ends a session at the fifth.",
        logins: Behaviour::exchange_client_front_end,
        recipients: Some(Behaviour::exchange_hub),
    },
    Site {
        name: "microsoft-365",
        about: "Microsoft 365: logins at client submission (587), recipients at the tenant's port 25 with edge blocking.",
        logins: Behaviour::microsoft_365_submission,
        recipients: Some(Behaviour::microsoft_365_edge),
    },
    Site {
        name: "xeams",
        about: "Xeams: one server for both. It shuts out whoever names many unknown recipients, unless it is listed as a gateway there.",
        logins: Behaviour::xeams,
        recipients: None,
    },
    Site {
        name: "postfix",
        about: "Postfix: logins at its submission service (587), recipients at port 25, where errors slow a session down and then end it.",
        logins: Behaviour::postfix_submission,
        recipients: Some(Behaviour::postfix),
    },
    Site {
        name: "exim",
        about: "Exim: one server for both. It drops a session after 10 commands that bring no mail.",
        logins: Behaviour::exim,
        recipients: None,
    },
];

/// Why Microsoft 365 takes no password: each is a setting there, none a wrong password (FACTS section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchedOff {
    /// SMTP AUTH is disabled for the tenant.
    Tenant,
    /// Or for this mailbox.
    Mailbox,
    /// By security defaults.
    SecurityDefaults,
    /// By conditional access.
    Criteria,
    /// Basic authentication is disabled.
    BasicAuthentication,
    /// Basic authentication is no more.
    Retired,
}

impl SwitchedOff {
    /// The reply to AUTH.
    pub fn reply(self) -> &'static str {
        match self {
            SwitchedOff::Tenant => {
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant."
            }
            SwitchedOff::Mailbox => {
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox."
            }
            SwitchedOff::SecurityDefaults => {
                "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy."
            }
            SwitchedOff::Criteria => {
                "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully."
            }
            SwitchedOff::BasicAuthentication => {
                "535 5.7.139 Authentication unsuccessful, basic authentication is disabled."
            }
            SwitchedOff::Retired => "550 5.7.30 Basic authentication is not supported for Client Submission.",
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Exchange on premises (FACTS section 2).
impl Behaviour {
    /// One server with the words and limits of Exchange that answers both questions, for tests that need no more.
    pub fn exchange(hostname: &str) -> Behaviour {
        Behaviour {
            wording: Wording::Exchange,
            extensions: words(&[
                "SIZE 37748736",
                "PIPELINING",
                "DSN",
                "ENHANCEDSTATUSCODES",
                "8BITMIME",
                "CHUNKING",
            ]),
            mechanisms_before_tls: words(&["NTLM"]),
            mechanisms: words(&["NTLM", "LOGIN"]),
            logged_in_bypass: true,
            tarpit: SECOND * 5,
            max_bad_logins: Some(3),
            max_errors: Some(5),
            max_connections: Some(20),
            max_recipients: Some(200),
            idle: Some(MINUTE * 5),
            life: Some(MINUTE * 10),
            ..Behaviour::new(hostname)
        }
    }
    /// Client front end, port 587: logins by LOGIN under TLS, nothing for strangers.
    pub fn exchange_client_front_end(hostname: &str) -> Behaviour {
        Behaviour { login_required_at_mail: true, ..Behaviour::exchange(hostname) }
    }
    /// Default front end, port 25: takes every recipient, for the refusal comes after the message; no logins of users.
    pub fn exchange_front_end(hostname: &str) -> Behaviour {
        Behaviour {
            mechanisms: words(&["NTLM"]),
            refuse_at: RefuseAt::Never,
            ..Behaviour::exchange(hostname)
        }
    }
    /// Hub transport, port 2525, with a connector for our address: recipients are truly checked.
    pub fn exchange_hub(hostname: &str) -> Behaviour {
        Behaviour::exchange(hostname)
    }
    /// Edge transport, port 25: recipients are truly checked, in other words; no logins, shorter times.
    pub fn exchange_edge(hostname: &str) -> Behaviour {
        Behaviour {
            wording: Wording::ExchangeEdge,
            mechanisms_before_tls: Vec::new(),
            mechanisms: Vec::new(),
            idle: Some(MINUTE),
            life: Some(MINUTE * 5),
            ..Behaviour::exchange(hostname)
        }
    }
    /// In maintenance: it greets, and MAIL brings `4.3.2 Service not active`.
    pub fn in_maintenance(mut self) -> Behaviour {
        self.maintenance = true;
        self
    }
}

/// Microsoft 365 (FACTS section 3).
impl Behaviour {
    /// Client submission, port 587: LOGIN and XOAUTH2 under TLS, nothing for strangers.
    pub fn microsoft_365_submission(hostname: &str) -> Behaviour {
        Behaviour {
            wording: Wording::Microsoft365,
            extensions: words(&[
                "SIZE 157286400",
                "PIPELINING",
                "DSN",
                "ENHANCEDSTATUSCODES",
                "8BITMIME",
                "BINARYMIME",
                "CHUNKING",
                "SMTPUTF8",
            ]),
            mechanisms: words(&["LOGIN", "XOAUTH2"]),
            login_required_at_mail: true,
            ..Behaviour::new(hostname)
        }
    }
    /// Port 25 of the tenant, with edge blocking: unknown recipients are `550 5.4.1`.
    pub fn microsoft_365_edge(hostname: &str) -> Behaviour {
        Behaviour {
            mechanisms: Vec::new(),
            login_required_at_mail: false,
            ..Behaviour::microsoft_365_submission(hostname)
        }
    }
    /// The same without edge blocking: every recipient is taken.
    pub fn without_edge_blocking(mut self) -> Behaviour {
        self.refuse_at = RefuseAt::Never;
        self
    }
    /// Logins by password are switched off; tokens go on.
    pub fn passwords_switched_off(mut self, why: SwitchedOff) -> Behaviour {
        self.passwords_refused = Some(why.reply().to_owned());
        self
    }
}

/// Xeams (FACTS section 4), and what is found in front of Unix (section 5).
impl Behaviour {
    /// Xeams: shuts an address out that names many unknown recipients unless it is a [`gateway`](Behaviour::gateway);
    /// five wrong logins from an address make all from there wrong for ten minutes; remembers a no for a day.
    pub fn xeams(hostname: &str) -> Behaviour {
        Behaviour {
            wording: Wording::Xeams,
            extensions: words(&["SIZE", "8BITMIME", "PIPELINING"]),
            wrong_logins: Some(Budget { most: 5, time: MINUTE * 10 }),
            dictionary: Some(Budget { most: 10, time: HOUR }),
            remembers_no: HOUR * 24,
            ..Behaviour::new(hostname)
        }
    }
    /// Lists an address as a gateway.
    pub fn gateway(mut self, address: impl Into<IpAddr>) -> Behaviour {
        self.gateways.insert(address.into());
        self
    }
    /// Postfix, port 25: 100 commands without mail are free, 10 errors slow it down, 20 close; no logins.
    pub fn postfix(hostname: &str) -> Behaviour {
        Behaviour {
            wording: Wording::Postfix,
            extensions: words(&[
                "PIPELINING",
                "SIZE 10240000",
                "VRFY",
                "ETRN",
                "ENHANCEDSTATUSCODES",
                "8BITMIME",
                "DSN",
                "SMTPUTF8",
            ]),
            mechanisms: Vec::new(),
            max_errors: Some(20),
            slow_after: Some(10),
            junk: Some(Junk::Counted(100)),
            max_connections: Some(50),
            max_recipients: Some(1000),
            idle: Some(MINUTE * 5),
            ..Behaviour::new(hostname)
        }
    }
    /// Postfix with Dovecot, port 587: logins under TLS, RCPT only for who has logged in.
    pub fn postfix_submission(hostname: &str) -> Behaviour {
        Behaviour {
            mechanisms: words(&["PLAIN", "LOGIN"]),
            login_required: true,
            logged_in_bypass: true,
            ..Behaviour::postfix(hostname)
        }
    }
    /// Postfix under stress: one error, one junk command, ten seconds.
    pub fn under_stress(self) -> Behaviour {
        Behaviour {
            max_errors: Some(1),
            slow_after: None,
            junk: Some(Junk::Counted(1)),
            idle: Some(SECOND * 10),
            ..self
        }
    }
    /// Exim: drops a connection after 10 commands that bring no mail; replies have no enhanced codes.
    pub fn exim(hostname: &str) -> Behaviour {
        Behaviour {
            wording: Wording::Exim,
            extensions: words(&["SIZE 52428800", "8BITMIME", "PIPELINING", "HELP"]),
            junk: Some(Junk::Dropped(10)),
            max_connections: Some(20),
            idle: Some(MINUTE * 5),
            ..Behaviour::new(hostname)
        }
    }
    /// Dovecot's LMTP, port 24: knows users at RCPT, takes no logins.
    pub fn dovecot_lmtp(hostname: &str) -> Behaviour {
        Behaviour {
            wording: Wording::Dovecot,
            extensions: words(&["8BITMIME", "CHUNKING", "ENHANCEDSTATUSCODES", "PIPELINING"]),
            mechanisms: Vec::new(),
            lmtp: true,
            ..Behaviour::new(hostname)
        }
    }
}
