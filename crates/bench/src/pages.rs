//! How large each page of the administration is and how long the gateway takes for it, with a long history and a long
//! queue behind it: the real binary, an administrator who follows every link.
//!
//! Of the links that lead to pages of one form, such as those of messages, a few are followed.

use crate::Outcome;
use crate::args::Pages;
use crate::browser;
use crate::compare::gateway;
use crate::figures::Times;
use crate::fill;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use vouchsafe_core::ports::Clock;
use vouchsafe_net::clock::SystemClock;
use vouchsafe_store::disk::RealDisk;
use vouchsafe_store::sqlite::{Options, SqliteStore};

/// Milliseconds that a page may take.
const AT_MOST: f64 = 50.0;
/// Octets that a page may have, with style sheet and script.
const LARGEST: usize = 100_000;
/// Pages of one form that are fetched.
const ALIKE: usize = 20;
/// What the page needs beside itself.
const ASSETS: [&str; 2] = ["/style.css", "/page.js"];
/// Pages that no link leads to: what forms and the script ask for.
const BEGIN: [&str; 10] = [
    "/",
    "/overview/now",
    "/live/now",
    "/messages?text=nobody@company.example&kind=&span=",
    "/messages?text=company.example&kind=held&span=day",
    "/messages?text=info@&kind=refused&span=week",
    "/queue?address=company.example",
    "/queue?address=nobody@nowhere.example",
    "/users?text=nobody",
    "/delegates?text=a",
];
/// Settings with something in every section.
const SETTINGS: &str = r#"[[listener]]
name = "load"
kind = "mx"
address = ["127.0.0.1:0"]
tls = "starttls"

[delegate.office]
host = "127.0.0.1:1"
tls = "off"
auth_in_clear = true

[[domain]]
name = "company.example"
recipients = ["delegate:office"]
next_hop = { host = "127.0.0.1:1", tls = "off" }

[relay]
logins = "delegate:office"
next_hop = { host = "127.0.0.1:1", tls = "off" }
"#;

/// What was found of pages of one form.
#[derive(Default)]
struct Form {
    pages: usize,
    times: Times,
    largest: usize,
}

/// Fills a store, starts the gateway on it, fetches, prints.
pub async fn run(pages: &Pages) -> Outcome {
    let folder = tempfile::Builder::new().prefix("vouchsafe-bench-").tempdir();
    let folder = folder.map_err(|error| format!("a folder for the store: {error}"))?;
    let data = folder.path().join("vouchsafe");
    std::fs::create_dir(&data).map_err(|error| format!("{}: {error}", data.display()))?;
    let store = SqliteStore::open(&data, Arc::new(RealDisk), Options { free_space: 0 });
    let store = store.map_err(|fault| fault.to_string())?;
    let now = SystemClock::new().now();
    // An accepted message and what became of it are two events; some of all events are of no message.
    fill::history(&store, 3 * pages.messages, now).await?;
    fill::queue(&store, pages.queue, now).await?;
    drop(store);
    let gateway = gateway::start(&pages.gateway, folder.path(), SETTINGS).await?;
    let found = follow(&gateway, pages.rounds).await;
    gateway.stop().await?;
    let (assets, mut forms) = found?;
    println!("{:<44}{:>6}{:>12}{:>12}{:>12}", "", "pages", "octets", "median, ms", "worst, ms");
    println!("{:<44}{:>6}{assets:>12}", "style sheet and script", "");
    let mut missed = Vec::new();
    for (name, Form { pages, times, largest }) in &mut forms {
        let (median, worst) = (times.permille(500), times.permille(1000));
        println!("{name:<44}{pages:>6}{largest:>12}{median:>12.1}{worst:>12.1}");
        if median > AT_MOST || *largest + assets > LARGEST {
            missed.push(&**name);
        }
    }
    folder.close().map_err(|error| format!("the folder of the store: {error}"))?;
    match missed.is_empty() {
        true => Ok(()),
        false => Err(format!("over {AT_MOST} ms or {LARGEST} octets: {}", missed.join(", "))),
    }
}

/// Octets of the assets, and the pages by their forms.
async fn follow(gateway: &gateway::Running, rounds: u64) -> Outcome<(usize, BTreeMap<String, Form>)> {
    let (page, once) = gateway.page()?;
    let cookie = browser::log_in(page, &once).await?;
    let mut assets = 0;
    for path in ASSETS {
        assets += browser::get(page, &cookie, path).await?.body.len();
    }
    let mut forms: BTreeMap<String, Form> = BTreeMap::new();
    let mut seen: std::collections::HashSet<String> = BEGIN.map(str::to_owned).into();
    let mut left: VecDeque<String> = BEGIN.map(str::to_owned).into();
    while let Some(path) = left.pop_front() {
        let form = forms.entry(form_of(&path)).or_default();
        if form.pages == ALIKE {
            continue;
        }
        form.pages += 1;
        for round in 0..rounds.max(1) {
            let answer = browser::get(page, &cookie, &path).await?;
            form.times.add(answer.took);
            form.largest = form.largest.max(answer.body.len());
            if round == 0 {
                left.extend(links(&answer.body).filter(|link| seen.insert(link.clone())));
            }
        }
    }
    Ok((assets, forms))
}

/// Where a page's links lead, within the administration.
fn links(html: &str) -> impl Iterator<Item = String> + '_ {
    let targets = html.split("href=\"").skip(1).filter_map(|rest| rest.split(['"', '#']).next());
    let pages = targets
        .filter(|target| target.starts_with('/') && !target.starts_with("/api/") && !ASSETS.contains(target));
    pages.map(|target| target.replace("&amp;", "&").replace("&#38;", "&"))
}

/// The path of a page and the names of what is asked of it: what differs between pages of one form is left out.
fn form_of(path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let is_id = |part: &str| part.len() == 32 && part.bytes().all(|octet| octet.is_ascii_hexdigit());
    let parts: Vec<&str> = path.split('/').map(|part| if is_id(part) { "ID" } else { part }).collect();
    let asked: Vec<&str> = query.split('&').filter_map(|pair| pair.split('=').next()).collect();
    match query.is_empty() {
        true => parts.join("/"),
        false => format!("{}?{}", parts.join("/"), asked.join("&")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_one_form_are_known() {
        assert_eq!(form_of("/messages/01900000000070008000000000000042"), "/messages/ID");
        assert_eq!(form_of("/messages?text=a%40b&kind="), "/messages?text&kind");
        let found: Vec<String> =
            links("<link href=\"/style.css\"><a href=\"/a?b=1&amp;c=2#d\">e</a><a href=\"https://f/\">g</a>")
                .collect();
        assert_eq!(found, ["/a?b=1&c=2"]);
    }
}
