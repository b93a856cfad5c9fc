//! First run in three steps, then a live test: your mail server, where mail goes, how clients connect. Each step writes
//! settings like any other change; what stands in the file is shown and left alone.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use vouchsafe_config::{Listener, ListenerTls, changes_of};
use vouchsafe_gateway::admin::control::{Examined, SentTest};
use vouchsafe_gateway::control::{Request, Response as Answer};
use vouchsafe_gateway::stored::Wish;

use crate::Web;
use crate::forms::{Form, field};
use crate::page::{Page, refused, show};
use crate::session::Viewer;

/// What the delegate of the first run is called.
const NAME: &str = "default";

pub(crate) fn routes() -> Router<Web> {
    Router::new()
        .route("/setup", get(server).post(examine))
        .route("/setup/server", post(take_server))
        .route("/setup/mail", get(mail).post(take_mail))
        .route("/setup/clients", get(clients).post(take_clients))
        .route("/setup/test", get(test).post(send))
}

#[derive(Template)]
#[template(path = "setup_server.html")]
struct Server {
    page: Page,
    step: usize,
    server: String,
    known: String,
    found: Option<Examined>,
}

async fn server(viewer: Viewer) -> Response {
    let page = Page::of("overview", "Your mail server", viewer);
    show(&Server { page, step: 1, server: String::new(), known: String::new(), found: None })
}

async fn examine(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    if let Some(response) = viewer.refusal(&form) {
        return response;
    }
    let (server, known) = (field(&form, "server").trim().to_owned(), field(&form, "known").trim().to_owned());
    let request = Request::Doctor {
        server: server.clone(),
        next_hop: false,
        name: NAME.to_owned(),
        known: Some(known.clone()),
        login: None,
        password: None,
    };
    let answer = web.control.run_as(&viewer.caller(), request).await;
    let mut page = Page::of("overview", "Your mail server", viewer);
    let found = match answer {
        Answer::Examined(found) => Some(found),
        Answer::Refused { why } => {
            page.fault = why;
            None
        }
        other => return refused(page, other),
    };
    show(&Server { page, step: 1, server, known, found })
}

/// What the doctor proposed is taken along: a delegate without a way for mail would not pass the check of the whole.
async fn take_server(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    if let Some(response) = viewer.refusal(&form) {
        return response;
    }
    let domain = field(&form, "known").rsplit_once('@').map_or("", |(_, domain)| domain);
    let mail = Mail::new(&web, viewer, field(&form, "server"), domain);
    show(&Mail { toml: field(&form, "toml").to_owned(), ..mail })
}

fn proposed(toml: &str) -> Result<Vec<Wish>, String> {
    let changes = changes_of(toml)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    Ok(changes.into_iter().map(|change| Wish { key: change.key, value: change.value }).collect())
}

/// Makes changes in force; nothing to change is no fault.
async fn write(web: &Web, viewer: &Viewer, changes: Vec<Wish>) -> Result<(), String> {
    let caller = viewer.caller();
    let said = |answer| match answer {
        Answer::Refused { why } => why,
        _ => "the gateway answered something else".to_owned(),
    };
    match web.control.run_as(&caller, Request::SettingsDraft { changes: changes.clone() }).await {
        Answer::Draft(draft) if !draft.faults.is_empty() => return Err(draft.faults.join("\n")),
        Answer::Draft(draft) if draft.diff.is_empty() => return Ok(()),
        Answer::Draft(_) => {}
        other => return Err(said(other)),
    }
    match web.control.run_as(&caller, Request::SettingsChange { changes }).await {
        Answer::Version(_) => Ok(()),
        other => Err(said(other)),
    }
}

#[derive(Template)]
#[template(path = "setup_mail.html")]
struct Mail {
    page: Page,
    step: usize,
    /// What the doctor proposed, to be written with the rest.
    toml: String,
    domains: String,
    inbound: String,
    outbound: String,
    soft: bool,
}

impl Mail {
    fn new(web: &Web, viewer: Viewer, server: &str, domain: &str) -> Mail {
        let settings = web.control.gateway().settings.load_full();
        let named: Vec<&str> =
            settings.domains.iter().map(|domain| domain.name.as_str()).filter(|name| *name != "*").collect();
        let hop =
            |hops: &[vouchsafe_core::Endpoint]| hops.first().map(|hop| format!("{}:{}", hop.host, hop.port));
        let inbound = settings.domains.first().and_then(|domain| hop(&domain.next_hop));
        Mail {
            page: Page::of("overview", "Where mail goes", viewer),
            step: 2,
            toml: String::new(),
            domains: if named.is_empty() { domain.to_owned() } else { named.join("\n") },
            inbound: inbound.unwrap_or_else(|| match server.split(':').next() {
                Some(host) if !host.is_empty() => format!("{host}:25"),
                _ => String::new(),
            }),
            outbound: hop(&settings.relay.next_hop).unwrap_or_default(),
            soft: true,
        }
    }
}

async fn mail(viewer: Viewer, State(web): State<Web>) -> Response {
    show(&Mail::new(&web, viewer, "", ""))
}

async fn take_mail(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    if let Some(response) = viewer.refusal(&form) {
        return response;
    }
    let given = |name: &str| field(&form, name).trim().to_owned();
    let (domains, inbound, outbound) = (given("domains"), given("inbound"), given("outbound"));
    let soft = form.contains_key("soft");
    let toml = field(&form, "toml").to_owned();
    let names = domains.split([',', ' ', '\r', '\n']).filter(|domain| !domain.is_empty());
    let mut wishes: Vec<Wish> =
        names.map(|domain| wish(&format!("domain[{}].next_hop", domain.to_lowercase()), &inbound)).collect();
    if !outbound.is_empty() {
        wishes.push(wish("relay.next_hop", &outbound));
    }
    wishes.push(wish("queue.soft_bounce", if soft { "true" } else { "false" }));
    let written = match proposed(&toml) {
        Ok(proposed) => write(&web, &viewer, [proposed, wishes].concat()).await,
        Err(why) => Err(why),
    };
    match written {
        Ok(()) => Redirect::to("/setup/clients").into_response(),
        Err(fault) => {
            let page = Page { fault, ..Page::of("overview", "Where mail goes", viewer) };
            show(&Mail { page, step: 2, toml, domains, inbound, outbound, soft })
        }
    }
}

fn wish(key: &str, value: &str) -> Wish {
    Wish { key: key.to_owned(), value: Some(value.to_owned()) }
}

#[derive(Template)]
#[template(path = "setup_clients.html")]
struct Clients {
    page: Page,
    step: usize,
    hostname: String,
    certificate: String,
    key: String,
    /// (what it is for, address, port, TLS)
    listeners: Vec<(&'static str, String, u16, &'static str)>,
    loopback: bool,
}

impl Clients {
    fn new(web: &Web, page: Page) -> Clients {
        let settings = web.control.gateway().settings.load_full();
        let (certificate, key) = match &settings.tls {
            Some(files) => (files.certificate.display().to_string(), files.key.display().to_string()),
            None => (String::new(), String::new()),
        };
        let addresses = |listener: &Listener| listener.addresses.clone();
        Clients {
            page,
            step: 3,
            hostname: settings.hostname.clone(),
            certificate,
            key,
            listeners: settings.listeners.iter().flat_map(rows).collect(),
            loopback: settings.listeners.iter().flat_map(addresses).all(|at| at.ip().is_loopback()),
        }
    }
}

fn rows(listener: &Listener) -> Vec<(&'static str, String, u16, &'static str)> {
    let kind = match listener.kind {
        vouchsafe_config::ListenerKind::Mx => "mail from the Internet",
        vouchsafe_config::ListenerKind::Submission => "mail clients",
        vouchsafe_config::ListenerKind::Trusted => "trusted machines",
    };
    let tls = match listener.tls {
        ListenerTls::Implicit => "TLS from the start (SSL/TLS)",
        ListenerTls::Off => "none",
        _ => "STARTTLS",
    };
    listener.addresses.iter().map(|at| (kind, at.ip().to_string(), at.port(), tls)).collect()
}

async fn clients(viewer: Viewer, State(web): State<Web>) -> Response {
    show(&Clients::new(&web, Page::of("overview", "How clients connect", viewer)))
}

async fn take_clients(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    if let Some(response) = viewer.refusal(&form) {
        return response;
    }
    let given = |name: &str| field(&form, name).trim().to_owned();
    let now = Clients::new(&web, Page::outside(""));
    let asked = [
        ("hostname", given("hostname"), now.hostname),
        ("tls.certificate", given("certificate"), now.certificate),
        ("tls.key", given("key"), now.key),
    ];
    let changed = asked.iter().filter(|(_, wanted, there)| wanted != there);
    let wishes = changed.map(|(key, wanted, _)| Wish {
        key: (*key).to_owned(),
        value: Some(wanted.clone()).filter(|wanted| !wanted.is_empty()),
    });
    match write(&web, &viewer, wishes.collect()).await {
        Ok(()) => Redirect::to("/setup/test").into_response(),
        Err(fault) => {
            let page = Page { fault, ..Page::of("overview", "How clients connect", viewer) };
            let [(_, hostname, _), (_, certificate, _), (_, key, _)] = asked;
            show(&Clients { hostname, certificate, key, ..Clients::new(&web, page) })
        }
    }
}

#[derive(Template)]
#[template(path = "setup_test.html")]
struct Test {
    page: Page,
    step: usize,
    sender: String,
    recipient: String,
    sent: Option<SentTest>,
    /// Id of the message, if it was taken.
    message: String,
}

async fn test(viewer: Viewer, State(web): State<Web>) -> Response {
    let settings = web.control.gateway().settings.load_full();
    let sender = format!("postmaster@{}", settings.hostname);
    let page = Page::of("overview", "Send yourself a message through it", viewer);
    show(&Test { page, step: 4, sender, recipient: String::new(), sent: None, message: String::new() })
}

async fn send(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    if let Some(response) = viewer.refusal(&form) {
        return response;
    }
    let (sender, recipient) = (field(&form, "sender").to_owned(), field(&form, "recipient").to_owned());
    let request = Request::TestMessage { sender: sender.clone(), recipient: recipient.clone() };
    let answer = web.control.run_as(&viewer.caller(), request).await;
    let mut page = Page::of("overview", "Send yourself a message through it", viewer);
    let sent = match answer {
        Answer::Sent(sent) => Some(sent),
        Answer::Refused { why } => {
            page.fault = why;
            None
        }
        other => return refused(page, other),
    };
    let lines = sent.iter().flat_map(|sent| &sent.dialogue);
    let message = lines
        .filter_map(|line| line.split_once("queued as "))
        .map(|(_, id)| id.trim().to_owned())
        .next_back();
    show(&Test { page, step: 4, sender, recipient, sent, message: message.unwrap_or_default() })
}
