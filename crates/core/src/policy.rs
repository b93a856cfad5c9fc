//! Who may relay. The only place where a [`RelayPermit`] is made (promise 2: Permitted).
//!
//! Decides on the domain of one parsed address, never on its local part. Proof: `transcripts/attacks/relay_*`,
//! `transcripts/e2e/{any_domain,trial}_*`.

use crate::envelope::RouteKey;
use crate::relay_probe::Proof;
use ipnet::IpNet;
use std::net::IpAddr;
use vouchsafe_smtp::Mailbox;

/// Why a recipient was let in; kept in the queue row and shown by `queue show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PermitReason {
    /// The domain is accepted and a source of truth knows the recipient.
    AcceptedDomain,
    /// The delegate that decides for any domain knows the recipient, and was seen to refuse what is not its own.
    AnyDomain,
    /// The client logged in.
    Authenticated,
    /// The client's address is in a trusted network.
    TrustedNetwork,
    /// Open relay, doubly confirmed by the administrator.
    OpenRelay,
    /// A notice of ours to the sender of a message that we took.
    Notice,
}

/// Proof that a recipient may enter an envelope. No public constructor: only this module makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayPermit {
    reason: PermitReason,
    route: RouteKey,
}

impl RelayPermit {
    /// Why.
    pub fn reason(&self) -> &PermitReason {
        &self.reason
    }
    /// Which next hop the recipient goes to.
    pub fn route(&self) -> &RouteKey {
        &self.route
    }
}

/// What is known about the client when it names a recipient.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// The client has logged in (at the delegate or as a local user).
    pub authenticated: bool,
    /// The client's address lies in `relay.trusted_networks` and the listener honours them.
    pub trusted: bool,
    /// `open_relay` is set and confirmed.
    pub open_relay: bool,
}

/// What policy says about a recipient before any source of truth is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Let it in.
    Permit(RelayPermit),
    /// The domain is accepted: ask its sources; [`Ask::accept`] turns their Accept into a permit.
    Ask(Ask),
    /// No block has this domain, and the delegate of `*` decides; [`AskAny::accept`] wants proof beside its Accept.
    AskAny(AskAny),
    /// `550 5.7.1`.
    RelayDenied,
}

/// An open question about a recipient of an accepted domain: one that the settings name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    domain: String,
}

impl Ask {
    /// The accepted domain as it stands in the settings.
    pub fn domain(&self) -> &str {
        &self.domain
    }
    /// The sources said Accept.
    pub fn accept(self) -> RelayPermit {
        RelayPermit { reason: PermitReason::AcceptedDomain, route: RouteKey::Domain(self.domain) }
    }
    /// The domain's delegate is on trial: whatever it said, the domain takes every recipient, as one without a source of
    /// truth does. Nothing but the name of this domain in the settings permits that, so no trial reaches a foreign one.
    pub fn on_trial(self) -> RelayPermit {
        self.accept()
    }
}

/// An open question about a recipient of a domain that the settings do not name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskAny {
    block: String,
}

impl AskAny {
    /// The delegate said Accept, and it was seen to refuse what is not its own.
    pub fn accept(self, _: &Proof) -> RelayPermit {
        RelayPermit { reason: PermitReason::AnyDomain, route: RouteKey::Domain(self.block) }
    }
}

/// What the settings have for a recipient's domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block<'a> {
    /// A block of its own, of this name.
    Named(&'a str),
    /// None, but one for any domain, of this name.
    Any(&'a str),
    /// None.
    None,
}

/// Decides on one recipient, by what the settings have for its domain.
///
/// A client that may relay still has its recipients in accepted domains checked: a typo to a colleague is refused at
/// once instead of bounced later. In domains without a block of their own it relays as ever.
pub fn decide(client: &Client, recipient: &Mailbox, block: Block<'_>) -> Decision {
    if let Block::Named(domain) = block {
        return Decision::Ask(Ask { domain: domain.to_owned() });
    }
    let reason = match client {
        Client { authenticated: true, .. } => PermitReason::Authenticated,
        Client { trusted: true, .. } => PermitReason::TrustedNetwork,
        Client { open_relay: true, .. } => PermitReason::OpenRelay,
        _ => {
            return match block {
                // An address literal is no domain that a delegate could have.
                Block::Any(block) if !recipient.domain().starts_with('[') => {
                    Decision::AskAny(AskAny { block: block.to_owned() })
                }
                _ => Decision::RelayDenied,
            };
        }
    };
    Decision::Permit(RelayPermit { reason, route: RouteKey::Relay })
}

/// The permit of a notice to the reverse path of a message that we took, or of a code to one of its recipients. Asks no
/// source of truth: the address gave us the message or was let in with it, and a refusal shows at the next hop.
/// `accepted` is the accepted domain that its domain matched, if any. The only uses are in [`crate::dsn`] and
/// [`crate::automatic`].
pub(crate) fn permit_notice(accepted: Option<&str>) -> RelayPermit {
    let route = accepted.map_or(RouteKey::Relay, |name| RouteKey::Domain(name.to_owned()));
    RelayPermit { reason: PermitReason::Notice, route }
}

/// Whom a bare `<postmaster>` (which came as `postmaster@our-host-name`) means: the postmaster of the first accepted
/// domain. RFC 5321 §4.5.1: every server that takes mail takes it. `None`: it is somebody else.
pub fn bare_postmaster(mailbox: &Mailbox, hostname: &str, first_domain: Option<&str>) -> Option<Mailbox> {
    let ours =
        mailbox.local().eq_ignore_ascii_case("postmaster") && mailbox.domain().eq_ignore_ascii_case(hostname);
    let domain = first_domain.filter(|_| ours)?;
    Mailbox::parse(&format!("postmaster@{domain}"), true).ok()
}

/// True if `address` lies in one of `networks`; IPv4-mapped IPv6 addresses count as IPv4.
pub fn in_networks(address: IpAddr, networks: &[IpNet]) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_gets_no_permit_for_a_foreign_domain() {
        assert_eq!(decide(&Client::default(), &bob(), Block::None), Decision::RelayDenied);
    }

    #[test]
    fn where_a_delegate_decides_for_any_domain_only_strangers_are_asked_about() {
        let any = Block::Any("*");
        assert!(matches!(decide(&Client::default(), &bob(), any), Decision::AskAny(_)));
        let literal = Mailbox::parse("bob@[192.0.2.1]", false).unwrap();
        assert_eq!(decide(&Client::default(), &literal, any), Decision::RelayDenied);
        for client in [
            Client { authenticated: true, ..Client::default() },
            Client { trusted: true, ..Client::default() },
        ] {
            assert!(
                matches!(decide(&client, &bob(), any), Decision::Permit(permit) if *permit.route() == RouteKey::Relay)
            );
        }
    }

    fn bob() -> Mailbox {
        Mailbox::parse("bob@far.example", false).unwrap()
    }

    #[test]
    fn an_accepted_domain_is_asked_about_even_for_users() {
        let user = Client { authenticated: true, ..Client::default() };
        assert!(
            matches!(decide(&user, &bob(), Block::Named("a.example")), Decision::Ask(ask) if ask.domain() == "a.example")
        );
    }

    #[test]
    fn a_bare_postmaster_is_that_of_the_first_accepted_domain() {
        let meant = |text: &str| {
            let mailbox = Mailbox::parse(text, false).unwrap();
            bare_postmaster(&mailbox, "gate.example", Some("a.example")).map(|mailbox| mailbox.to_string())
        };
        assert_eq!(meant("Postmaster@gate.example").as_deref(), Some("postmaster@a.example"));
        assert_eq!(meant("postmaster@b.example"), None);
        assert_eq!(meant("root@gate.example"), None);
    }

    #[test]
    fn a_mapped_address_is_in_the_ipv4_network() {
        let networks = ["10.0.0.0/8".parse().unwrap()];
        assert!(in_networks("::ffff:10.1.2.3".parse().unwrap(), &networks));
        assert!(!in_networks("::ffff:11.1.2.3".parse().unwrap(), &networks));
    }
}
