//! What is allowed but worth a word: each notice once, with its line.

mod common;

use common::World;
use vouchsafe_config::parse;

const TEXT: &str = r#"
hostname = "gw"
[[listener]]
name = "mx"
kind = "mx"
address = "0.0.0.0:25"
[[listener]]
name = "users"
kind = "submission"
address = "0.0.0.0:587"
tls = "off"
[[listener]]
name = "old"
kind = "submission"
address = "0.0.0.0:2587"
auth_without_tls = "always"
[[listener]]
name = "lan"
kind = "trusted"
address = "0.0.0.0:26"
[delegate.office]
host = "mail.example.com"
deadline = "3s"
[delegate.idle]
host = "idle.example.com"
[[domain]]
name = "any.example"
recipients = "any"
next_hop = "a.example"
[relay]
logins = "delegate:office"
next_hop = "a.example"
trusted_networks = ["172.17.0.0/16", "192.168.1.0/24", "8.0.0.0/8", "10.0.0.5/32"]
open_relay = true
open_relay_i_understand = true
[queue]
retry = ["15m", "6d"]
warn_after = "5d"
bounce_strangers = "always"
soft_bounce = true
[limits]
sessions = 10
recipients = 20
deliveries = 5
[web]
address = "127.0.0.1:8080"
downloads = "127.0.0.1:8081"
[[listener]]
name = "behind"
kind = "mx"
address = "0.0.0.0:2625"
proxies = ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.7", "2000::/12"]
[[listener]]
name = "plain"
kind = "mx"
address = "0.0.0.0:2626"
proxy_protocol = "required"
[attachments]
part_over = "1 MB"
outbound = false
outbound_exclude = ["partner.example", "any.example"]
"#;

#[test]
fn every_notice_is_given_with_its_line() {
    let (_, notices) = parse(TEXT, &World).map_err(|f| format!("{f:#?}")).unwrap();
    let said: Vec<String> = notices.iter().map(|n| n.to_string()).collect();
    let expected = [
        "line 2: hostname: gw is not a full name: other servers may refuse our EHLO",
        "line 11: listener[users].tls: without TLS nobody but this machine can log in here",
        "line 16: listener[old].auth_without_tls: passwords may cross the network in clear text",
        "line 23: delegate.office.deadline: 3s is below the tarpit of Exchange (5s): refusals would become \"try later\"",
        "line 24: delegate.idle: no domain and no login asks this delegate",
        "line 28: domain[any.example].recipients: every recipient is taken; what the next hop then refuses cannot be returned to strangers",
        "line 33: relay.trusted_networks: 172.17.0.0/16 holds a container bridge: if that forwards port 25, everyone outside looks trusted",
        "line 33: relay.trusted_networks: 192.168.1.0/24 may hold a router: if it forwards port 25 with NAT, everyone outside looks trusted",
        "line 33: relay.trusted_networks: 8.0.0.0/8 is a large public network: is all of it yours?",
        "line 34: relay.open_relay: THIS IS AN OPEN RELAY: anyone who reaches it can send mail to anywhere",
        "line 37: queue.retry: a wait of 6d is never reached: expire is 5d",
        "line 38: queue.warn_after: is not before expire: no delay is ever told",
        "line 39: queue.bounce_strangers: makes backscatter: forged senders get your bounces",
        "line 40: queue.soft_bounce: refused mail is held, not returned; switch it off once all works",
        "line 41: limits.sessions_per_address: 50 is never reached: 10 is the limit in all",
        "line 41: limits.deliveries_per_destination: 20 is never reached: 5 is the limit in all",
        "line 43: limits.recipients: is below the 100 that RFC 5321 asks for",
        "line 47: web.downloads: no link leads there: web.public_url is not given",
        "line 52: listener[behind].proxies: 0.0.0.0/0 holds strangers: any of them could pass for a trusted client",
        "line 52: listener[behind].proxies: 2000::/12 holds strangers: any of them could pass for a trusted client",
        "line 57: listener[plain].proxy_protocol: has no effect: proxies is empty",
        "line 58: attachments: has no effect: web.public_url is not given, so every message is passed whole",
        "line 61: attachments.outbound_exclude: has no effect: outbound is false",
        "line 61: attachments.outbound_exclude: any.example is yours: files = \"off\" in its [[domain]] block keeps its files whole",
    ];
    assert_eq!(said, expected, "{said:#?}");
}

#[test]
fn what_a_trial_and_a_delegate_for_any_domain_mean_is_told() {
    let text = r#"
hostname = "gw.example.com"
[[listener]]
name = "mx"
kind = "mx"
address = "0.0.0.0:25"
[delegate.office]
host = "mail.example.com"
[delegate.new]
host = "new.example.com"
trial = "recipients"
[delegate.idle]
host = "idle.example.com"
trial = "recipients"
[delegate.beside]
host = "beside.example.com"
trial = "logins"
[[domain]]
name = "*"
recipients = "delegate:office"
relay_probe = ["a@debian.org", "b@kernel.org"]
next_hop = "a.example"
[[domain]]
name = "new.example.com"
recipients = "delegate:new"
next_hop = "a.example"
[relay]
logins = "delegate:office"
next_hop = "a.example"
"#;
    let (_, notices) = parse(text, &World).map_err(|f| format!("{f:#?}")).unwrap();
    let said: Vec<String> = notices.iter().map(|n| n.to_string()).collect();
    let expected = [
        "line 11: delegate.new.trial: on trial: every recipient of new.example.com is taken; `vouchsafe trial` tells what would have been refused",
        "line 14: delegate.idle.trial: no domain asks this delegate: there is nothing to try",
        "line 17: delegate.beside.trial: on trial: it is shown every login beside the source that decides; `vouchsafe trial` tells where they differ",
        "line 19: domain[*].name: delegate office decides for every domain that has no block of its own; `vouchsafe status` tells whether it refuses what is not its own",
    ];
    assert_eq!(said, expected, "{said:#?}");
}

#[test]
fn a_login_of_ours_where_recipients_are_asked_about_is_warned_of() {
    let text = r#"
hostname = "gw.example.com"
[[listener]]
name = "mx"
kind = "mx"
address = "0.0.0.0:25"
[delegate.office]
recipients = { host = "mail.example.com", login = { user = "gateway", password = { env = "PASSWORD" } } }
[[domain]]
name = "example.com"
next_hop = "a.example"
[relay]
next_hop = "a.example"
"#;
    let (settings, notices) = parse(text, &World).map_err(|f| format!("{f:#?}")).unwrap();
    let said: Vec<String> = notices.iter().map(|n| n.to_string()).collect();
    let expected = "line 8: delegate.office.recipients.login: Exchange lets whoever has logged in pass its recipient filter: \
                    every address looks valid then. Give a login only to a server that answers nobody else, and see with \
                    `vouchsafe delegate test recipient` that it refuses a made-up address";
    assert_eq!(said, [expected]);
    let office = &settings.delegates["office"];
    assert_eq!(office.recipients[0].login.as_ref().map(|(user, _)| user.as_str()), Some("gateway"));
    // Clients' credentials are asked about, ours are not.
    assert_eq!(office.auth[0].login, None);
}

#[test]
fn from_is_not_compared_where_nothing_is() {
    let text = r#"
hostname = "gw.example.com"
[[listener]]
name = "users"
kind = "submission"
address = "0.0.0.0:587"
[delegate.office]
host = "mail.example.com"
[relay]
logins = "delegate:office"
next_hop = "a.example"
send_as = "off"
send_as_from = true
"#;
    let (_, notices) = parse(text, &World).map_err(|f| format!("{f:#?}")).unwrap();
    let said: Vec<String> = notices.iter().map(|n| n.to_string()).collect();
    assert_eq!(said, ["line 13: relay.send_as_from: has no effect: send_as is off"]);
}

#[test]
fn what_a_seal_lacks_is_told() {
    let text = r#"
hostname = "gw.example.com"
[[listener]]
name = "mx"
kind = "mx"
address = "0.0.0.0:25"
[[domain]]
name = "example.com"
recipients = "list:/etc/list"
next_hop = "a.example"
[authentication]
seal = true
"#;
    let key = "[[dkim]]\ndomain = \"example.com\"\nselector = \"s1\"\nkey = \"a.pem\"\n";
    let files = "[attachments]\ninbound = \"unscanned\"\n[web]\npublic_url = \"https://f.example\"\ndownloads = \"0.0.0.0:8443\"\n";
    let said = |text: &str| {
        let (_, notices) = parse(text, &World).map_err(|f| format!("{f:#?}")).unwrap();
        notices.iter().map(|n| n.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        said(&format!("{text}verify = false\n")),
        [
            "line 12: authentication.seal: has no effect: authentication.verify is off, so that there is nothing to tell",
            "line 12: authentication.seal: has no effect: there is no [[dkim]] key",
            "line 12: authentication.seal: has no effect: attachments.inbound is off, so that nothing is altered",
        ]
    );
    assert_eq!(said(&format!("{text}{key}{files}")), [""; 0]);
}
