//! What to change at the other server, by product (FACTS sections 2 to 5). Lines to paste there, or words.

use super::{Examined, Finding, Grade, Product};

/// Stands where our address belongs when nobody knows it.
const OUR_ADDRESS: &str = "OUR.ADDRESS";

fn lines<const N: usize>(lines: [&str; N]) -> Vec<String> {
    lines.map(str::to_owned).into()
}

/// Our address as the server sees it.
pub(super) fn address(examined: &Examined) -> &str {
    examined.our_address.as_deref().unwrap_or(OUR_ADDRESS)
}

/// The domain that was asked about.
fn domain(examined: &Examined) -> &str {
    let asked = examined.made_up.as_deref().and_then(|address| address.rsplit_once('@'));
    asked.map_or("example.com", |(_, domain)| domain)
}

/// Why a made-up address may be taken.
pub(super) fn why_all_are_taken(product: Product) -> &'static str {
    match product {
        Product::Exchange => {
            "Exchange's front end only passes on, and the refusal comes after the message, which no question can see"
        }
        Product::Microsoft365 => "without edge blocking the refusal comes after the message",
        Product::Proxmox => "a filter in front does not know the mailboxes",
        _ => "a catch-all, or a proxy that refuses only after the message, if at all",
    }
}

/// Makes it check recipients at RCPT.
pub(super) fn check_recipients(examined: &Examined, product: Product) -> Vec<String> {
    let (ours, domain) = (address(examined), domain(examined));
    match product {
        Product::Exchange => vec![
            "# In the Exchange Management Shell; EX1 is the server's name. Recipients are then asked on port 2525.".to_owned(),
            "New-ReceiveConnector -Name \"Vouchsafe callouts\" -Server EX1 -TransportRole HubTransport -Custom `".to_owned(),
            format!("  -Bindings 0.0.0.0:2525 -RemoteIPRanges {ours} -PermissionGroups AnonymousUsers"),
            "& $env:ExchangeInstallPath\\Scripts\\Install-AntispamAgents.ps1".to_owned(),
            "Restart-Service MSExchangeTransport".to_owned(),
            "Set-RecipientFilterConfig -Enabled $true -RecipientValidationEnabled $true".to_owned(),
            "# Only authoritative domains are checked:".to_owned(),
            format!("Set-AcceptedDomain {domain} -DomainType Authoritative -AddressBookEnabled $true"),
        ],
        Product::ExchangeEdge => lines([
            "Set-RecipientFilterConfig -Enabled $true -RecipientValidationEnabled $true",
            "# and the domain must be authoritative, its recipients synchronised by EdgeSync",
        ]),
        Product::Microsoft365 => vec![
            "# Exchange Online PowerShell. An authoritative domain is checked at the edge (takes up to an hour):".to_owned(),
            format!("Set-AcceptedDomain {domain} -DomainType Authoritative"),
        ],
        Product::Xeams => vec![format!("In Xeams, let {domain} reject unknown recipients, and list {ours} as a gateway; restart it.")],
        Product::Postfix => vec![
            "# main.cf: unknown recipients are refused unless these are empty or hold a catch-all (@domain):".to_owned(),
            "postconf local_recipient_maps virtual_mailbox_maps virtual_alias_maps relay_recipient_maps".to_owned(),
            "postconf smtpd_reject_unlisted_recipient    # must be yes".to_owned(),
        ],
        Product::Exim => lines([
            "# in the RCPT ACL, for our domains:",
            "require verify = recipient",
        ]),
        Product::Dovecot => lines(["Dovecot's submission service knows logins only; ask the mail server behind it."]),
        Product::Proxmox => lines([
            "A filter does not know the mailboxes: name the mail server behind it,",
            "or switch on Configuration > Mail Proxy > Options > Verify Receivers.",
        ]),
        Product::Unknown => vec![
            format!("Make it refuse unknown recipients of {domain} in reply to RCPT, to {ours} at least; or import them here:"),
            "vouchsafe recipients import FILE --to LIST".to_owned(),
        ],
    }
}

/// Takes its trust in our address back.
pub(super) fn do_not_trust_us(examined: &Examined, product: Product) -> Vec<String> {
    let ours = address(examined);
    match product {
        Product::Exchange | Product::ExchangeEdge => vec![
            format!("# Find the connector that takes {ours}, and take the right away there:"),
            "Get-ReceiveConnector | Format-Table Identity,Bindings,RemoteIPRanges,PermissionGroups,AuthMechanism".to_owned(),
            "Get-ReceiveConnector \"NAME\" | Remove-ADPermission -User \"NT AUTHORITY\\ANONYMOUS LOGON\" `".to_owned(),
            "  -ExtendedRights Ms-Exch-SMTP-Accept-Any-Recipient".to_owned(),
        ],
        Product::Microsoft365 => vec![format!("Take {ours} out of the inbound connectors (Exchange admin center > Mail flow > Connectors).")],
        Product::Xeams => vec![format!("Take {ours} out of the addresses that may relay; the list of gateways is enough.")],
        Product::Postfix | Product::Proxmox => vec![
            format!("# main.cf: take {ours}, or the network that holds it, out of"),
            "postconf mynetworks".to_owned(),
        ],
        Product::Exim => vec![format!("Take {ours} out of hostlist relay_from_hosts (Debian: dc_relay_nets).")],
        Product::Dovecot | Product::Unknown => vec![format!("Take {ours} out of the addresses that may relay without a login.")],
    }
}

/// Makes it offer TLS.
pub(super) fn offer_tls(product: Product) -> Vec<String> {
    match product {
        Product::Postfix => lines([
            "postconf -e smtpd_tls_security_level=may smtpd_tls_auth_only=yes",
            "# with smtpd_tls_chain_files naming key and certificate",
        ]),
        _ => lines(["Give it a certificate, a self-signed one is enough, and let it offer STARTTLS."]),
    }
}

/// Makes it take passwords.
pub(super) fn offer_passwords(product: Product) -> Vec<String> {
    match product {
        Product::Exchange => lines([
            "Set-ReceiveConnector \"EX1\\Client Frontend EX1\" -AuthMechanism Tls,Integrated,BasicAuth,BasicAuthRequireTLS",
        ]),
        _ => lines(["Let it offer PLAIN or LOGIN under TLS."]),
    }
}

/// Lets passwords be asked about at all.
pub(super) fn allow_logins(examined: &Examined, product: Product) -> Vec<String> {
    let name = examined.login.as_ref().map_or("USER", |tried| tried.name.as_str());
    match product {
        Product::Microsoft365 => vec![
            "# Exchange Online PowerShell; passwords are on their way out there and end during 2027:"
                .to_owned(),
            "Set-TransportConfig -SmtpClientAuthenticationDisabled $false".to_owned(),
            format!("Set-CASMailbox {name} -SmtpClientAuthenticationDisabled $false"),
            "# Security defaults and Conditional Access can forbid them too.".to_owned(),
        ],
        Product::Postfix => {
            lines(["Postfix's SASL service did not answer well: journalctl -u postfix -u dovecot"])
        }
        _ => Vec::new(),
    }
}

/// What to change there whatever was seen: limits that asking would run into.
pub(super) fn in_any_case(examined: &Examined, product: Product) -> Vec<Finding> {
    let ours = address(examined);
    let note = |what: &str, there: Vec<String>| vec![Finding::new(Grade::Note, what).there(there)];
    match product {
        Product::Exchange | Product::ExchangeEdge => note(
            "Exchange closes a connection after 5 errors and takes 20 connections from an address; Active Directory \
             locks accounts after some wrong passwords. The gateway's defaults stay below: 4 refusals a session, 3 \
             wrong passwords an account.",
            Vec::new(),
        ),
        Product::Microsoft365 => note(
            "Microsoft 365 ends passwords over SMTP during 2027. Recipients unknown there are refused with 5.4.1.",
            Vec::new(),
        ),
        Product::Xeams => note(
            "Xeams takes sessions that ask and never send for a dictionary attack, and after five wrong passwords \
             calls every login from an address wrong for 10 minutes.",
            vec![format!("List {ours} as a gateway in Xeams (one address a line), then restart Xeams.")],
        ),
        Product::Postfix => note(
            "Postfix counts connections and recipients by address. Exempt ours from the limits, but do not put it \
             into mynetworks: a server that relays for us says yes to everything.",
            vec![
                format!("postconf -e 'smtpd_client_event_limit_exceptions = $mynetworks {ours}'"),
                "postfix reload".to_owned(),
            ],
        ),
        Product::Exim => note(
            "Exim lets a session say 10 commands that are not mail. If smtp_accept_max_per_host or ratelimit is set, \
             leave our address out.",
            Vec::new(),
        ),
        Product::Dovecot | Product::Proxmox | Product::Unknown => Vec::new(),
    }
}

/// A filter behind us sees us as the sender of everything: how it looks one hop further.
pub(super) fn trust_our_received(examined: &Examined, product: Product) -> Vec<String> {
    let ours = address(examined);
    let rspamd = vec![
        "# rspamd: local.d/external_relay.conf takes the client from our Received field".to_owned(),
        "enabled = true;".to_owned(),
        format!("rules {{ VOUCHSAFE {{ strategy = \"ip_map\"; ip_map = [\"{ours}\"]; }} }}"),
    ];
    let spamassassin = vec!["# SpamAssassin: local.cf".to_owned(), format!("trusted_networks {ours}")];
    let proxmox = vec![
        "# Proxmox Mail Gateway: Configuration > Mail Proxy > Networks, or".to_owned(),
        format!(
            "pmgsh create /config/mynetworks --cidr {ours}/{}",
            if ours.contains(':') { 128 } else { 32 }
        ),
        "# and in /etc/mail/spamassassin/custom.cf:".to_owned(),
        format!("trusted_networks {ours}"),
    ];
    match product {
        Product::Proxmox => proxmox,
        Product::Postfix | Product::Exim => [rspamd, spamassassin].concat(),
        _ => [rspamd, spamassassin, proxmox].concat(),
    }
}

/// Makes a next hop relay for us.
pub(super) fn trust_us(examined: &Examined, product: Product) -> Vec<String> {
    let ours = address(examined);
    match product {
        Product::Exchange | Product::ExchangeEdge => vec![
            format!("New-ReceiveConnector -Name \"Vouchsafe relay\" -Server EX1 -TransportRole FrontendTransport -Custom `"),
            format!("  -Bindings 0.0.0.0:25 -RemoteIPRanges {ours} -PermissionGroups AnonymousUsers"),
            "Get-ReceiveConnector \"EX1\\Vouchsafe relay\" | Add-ADPermission -User \"NT AUTHORITY\\ANONYMOUS LOGON\" `".to_owned(),
            "  -ExtendedRights Ms-Exch-SMTP-Accept-Any-Recipient".to_owned(),
        ],
        Product::Microsoft365 => lines(["Add an inbound connector of type \"Your organization's email server\" for our address."]),
        Product::Postfix => vec![format!("postconf -e \"mynetworks = $(postconf -h mynetworks) {ours}\"    # then: postfix reload")],
        Product::Proxmox => vec![format!("Configuration > Mail Proxy > Networks: add {ours}; its port for outgoing mail is 26.")],
        Product::Exim => vec![format!("Add {ours} to hostlist relay_from_hosts (Debian: dc_relay_nets).")],
        Product::Xeams | Product::Dovecot | Product::Unknown => vec![format!("Let {ours} relay there, or set a login for us.")],
    }
}
