//! `/metrics` of the real binary: the format, what it counts, who may read it; the dashboard of contrib/grafana and the guide, whose
//! every name must be there.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use support::http::{self, Answer};
use support::smtp::Smtp;
use support::{Scratch, cli};

/// A delegate at a port where nobody listens: it is counted all the same.
const DELEGATE: &str = "[delegate.office]\nhost = \"127.0.0.1:1\"\n\
    [[domain]]\nname = \"example.com\"\nrecipients = [\"delegate:office\"]\nnext_hop = \"127.0.0.1:1\"\n";

fn get(at: std::net::SocketAddr, more: &str) -> Answer {
    http::send(at, &format!("GET /metrics HTTP/1.1{more}"), "text/plain", "")
}

/// Series and values; fails on lines that no reader of the format understands.
fn series(text: &str) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(all.insert(name.to_owned(), value).is_none(), "twice: {name}");
    }
    all
}

#[test]
fn what_happens_is_counted_under_few_names() {
    let scratch = Scratch::new();
    let (gateway, at, _) = http::with_page(&scratch, DELEGATE);
    let before = series(&get(at, "").body);
    assert_eq!(before["vouchsafe_refusals_total{reason=\"relaying_denied\"}"], 0.0);

    let mut client = Smtp::open(gateway.address("mx")).expect("it listens");
    for (line, wanted) in [
        ("MAIL FROM:<a@example.net>", "250"),
        ("RCPT TO:<b@elsewhere.example>", "550 5.7.1"),
        ("RCPT TO:<b@example.com>", "451"),
    ] {
        let reply = client.command(line).expect("a reply");
        assert!(reply.starts_with(wanted), "{line}: {reply}");
    }

    let after = series(&get(at, "").body);
    assert_eq!(after["vouchsafe_refusals_total{reason=\"relaying_denied\"}"], 1.0);
    assert_eq!(after["vouchsafe_refusals_total{reason=\"cannot_tell\"}"], 1.0);
    assert_eq!(after["vouchsafe_delegate_unanswered_total{delegate=\"office\"}"], 1.0);
    assert_eq!(after["vouchsafe_sessions"], 1.0);
    assert_eq!(after["vouchsafe_queue_messages"], 0.0);
    assert!(after["vouchsafe_disk_free_bytes"] > 1e6 && after["process_resident_memory_bytes"] > 1e6);
    assert!(after["process_start_time_seconds"] > 1.7e9 && after["process_open_fds"] > 3.0);
    // What was asked adds numbers, never names.
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    assert!(!after.keys().any(|name| name.contains("example")), "{after:?}");
    client.command("QUIT").expect("a reply");
    gateway.stop();
}

#[test]
fn names_follow_the_conventions_and_the_dashboard_knows_no_others() {
    let scratch = Scratch::new();
    let (gateway, at, _) = http::with_page(&scratch, DELEGATE);
    let text = get(at, "").body;
    let mut kinds = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a name and a type");
        kinds.insert(name.to_owned(), kind.to_owned());
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} {kind}");
    }
    let names: BTreeSet<String> =
        series(&text).into_keys().map(|name| name.split('{').next().unwrap_or_default().to_owned()).collect();
    for name in &names {
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(kinds.contains_key(family) || kinds.contains_key(name), "{name} has no type");
    }

    let dashboard = include_str!("../../../contrib/grafana/vouchsafe.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).expect("JSON");
    let mut used = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().expect("targets") {
            let words = target["expr"]
                .as_str()
                .expect("an expression")
                .split(|c: char| !c.is_alphanumeric() && c != '_');
            used.extend(
                words.filter(|w| w.starts_with("vouchsafe_") || w.starts_with("process_")).map(str::to_owned),
            );
        }
    }
    assert!(used.len() > 20, "{used:?}");
    let unknown: Vec<_> = used.difference(&names).collect();
    assert!(unknown.is_empty(), "the dashboard asks for what is not there: {unknown:?}");
    // And nothing of ours is measured that nobody looks at.
    let unseen = names.iter().filter(|name| name.starts_with("vouchsafe_") && !used.contains(*name));
    assert_eq!(unseen.collect::<Vec<_>>(), Vec::<&String>::new());

    // The guide names each family, in full or by its end behind its like, and no other.
    let guide = include_str!("../../../docs/guides/monitoring.md");
    let told =
        |family: &str| guide.contains(family) || ends(family).any(|end| guide.contains(&format!("`{end}`")));
    let untold = kinds.keys().filter(|family| family.starts_with("vouchsafe_") && !told(family));
    assert_eq!(untold.collect::<Vec<_>>(), Vec::<&String>::new());
    let told =
        guide.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.starts_with("vouchsafe_"));
    assert_eq!(told.filter(|word| !kinds.contains_key(*word)).collect::<Vec<_>>(), Vec::<&str>::new());

    let open = get(at, "\r\nAccept: application/openmetrics-text; version=1.0.0");
    assert!(open.head.contains("application/openmetrics-text; version=1.0.0"), "{}", open.head);
    assert!(open.body.ends_with("# EOF\n") && open.body.contains("# TYPE vouchsafe_refusals counter"));
    gateway.stop();
}

/// `_c` and `_b_c` of `a_b_c`.
fn ends(family: &str) -> impl Iterator<Item = &str> {
    family.match_indices('_').map(|(at, _)| &family[at..])
}

#[test]
fn whoever_is_spoken_for_by_a_proxy_needs_a_token() {
    let scratch = Scratch::new();
    let (gateway, at, config) = http::with_page(&scratch, "");
    let forwarded = "\r\nX-Forwarded-For: 192.0.2.1";
    assert_eq!(get(at, forwarded).status, 401);
    let (code, out, said) = cli(&config, "--json admin token add prometheus", "");
    assert_eq!(code, 0, "{said}");
    let out: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let token = out["token"].as_str().expect("a token");
    assert_eq!(get(at, &format!("{forwarded}\r\nAuthorization: Bearer {token}")).status, 200);
    gateway.stop();
}
