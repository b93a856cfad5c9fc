//! A whole gateway in this process, its pages, and a browser that knows cookies and forms.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use hyper::service::Service;
use vouchsafe_config::{Lookup, Reading, Settings};
use vouchsafe_core::attachments::{
    Access, Check, Detached, Detachment, FormFor, Keep, LinkRules, SealedBlob,
};
use vouchsafe_core::links::LinkSecret;
use vouchsafe_core::policy::{Block, Client, Decision, decide};
use vouchsafe_core::ports::{Accepted, Body as Content, Clock, HistoryEvent};
use vouchsafe_core::recipe::{Piece, Recipe, SlotCoding};
use vouchsafe_core::{Envelope, MessageId, Origin, Timestamp};
use vouchsafe_fakes::PipeDialer;
use vouchsafe_gateway::control::Control;
use vouchsafe_gateway::gateway::{Gateway, Stores};
use vouchsafe_gateway::stored::SettingsDoor;
use vouchsafe_gateway::supervisor::Supervisor;
use vouchsafe_net::clock::SystemClock;
use vouchsafe_smtp::{MailFrom, Mailbox, RcptTo, ReversePath};
use vouchsafe_store::memory::MemoryStore;
use vouchsafe_web::{From, Pages};

const CLIENT: From = From { client: Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)), tls: false };

pub struct World {
    pub control: Control,
    pub supervisor: Supervisor,
    pub store: Arc<MemoryStore>,
    pages: Pages<From>,
    cookie: String,
    _dir: tempfile::TempDir,
}

struct NoLookup;

impl Lookup for NoLookup {
    fn env(&self, _: &str) -> Option<String> {
        None
    }
    fn file(&self, path: &std::path::Path) -> Result<String, String> {
        Err(format!("{}: no files here", path.display()))
    }
    fn hostname(&self) -> Option<String> {
        Some("gate.example".to_owned())
    }
}

/// Settings over the text that a test begins with, in force at once.
struct Door {
    base: String,
    gateway: std::sync::OnceLock<std::sync::Weak<Gateway>>,
}

impl SettingsDoor for Door {
    fn read(&self, stored: &str) -> Result<Reading, Vec<String>> {
        vouchsafe_config::Layers { base: &self.base, stored, file: "" }
            .read(&NoLookup)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }
    fn apply(&self, settings: Settings) -> Result<(), String> {
        let gateway = self.gateway.get().and_then(std::sync::Weak::upgrade).ok_or("no gateway")?;
        gateway.apply(settings);
        Ok(())
    }
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub body: String,
}

impl World {
    /// A gateway with these settings under what the store holds, and the first administrator logged in.
    pub async fn new(settings: &str, dial: PipeDialer) -> World {
        let dir = tempfile::tempdir().expect("a folder");
        let base = format!(
            "data_dir = {:?}\nhostname = \"gate.example\"\n{settings}",
            dir.path().display().to_string()
        );
        let door = Arc::new(Door { base, gateway: std::sync::OnceLock::new() });
        let reading = door.read("").unwrap_or_else(|faults| panic!("{}", faults.join("\n")));
        let (store, clock) = (MemoryStore::new(), Arc::new(SystemClock::new()));
        let gateway = Gateway::new(reading.settings, Stores::of(Arc::clone(&store)), Arc::new(dial), clock);
        door.gateway.set(Arc::downgrade(&gateway)).expect("set once");
        gateway.stored.set_door(door);
        let supervisor = Supervisor::new(Arc::clone(&gateway)).expect("a self-signed certificate");
        let control = Control::new(gateway);
        let once = control.gateway().admins.first_password().await.expect("a store").expect("no account yet");
        let pages = vouchsafe_web::service(vouchsafe_web::router(control.clone()), |from: &From| *from);
        let mut world = World { control, supervisor, store, pages, cookie: String::new(), _dir: dir };
        let form =
            [("once", &*once), ("name", "admin"), ("password", "correct horse"), ("again", "correct horse")];
        let entered = world.post_form("/first", &form).await;
        assert_eq!(entered.status, StatusCode::SEE_OTHER, "{}", entered.body);
        world
    }

    async fn send(&mut self, request: Request<Body>) -> Answer {
        let response = self.pages.call(request).await.unwrap_or_else(|never| match never {});
        let head = |name| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned()
        };
        let (status, cookie) = (response.status(), head(header::SET_COOKIE));
        assert!(head(header::CONTENT_SECURITY_POLICY).contains("script-src 'self'"));
        if let Some((pair, _)) = cookie.split_once(';') {
            self.cookie = pair.to_owned();
        }
        let body = axum::body::to_bytes(response.into_body(), 1 << 22).await.expect("a body ends");
        Answer { status, body: String::from_utf8(body.to_vec()).expect("pages are UTF-8") }
    }

    fn request(&self, method: &str, path: &str, body: String) -> Request<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "gate.example")
            .header(header::ORIGIN, "http://gate.example")
            .header(header::COOKIE, &self.cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .expect("a request");
        request.extensions_mut().insert(CLIENT);
        request
    }

    /// A page that must be there, of bounded size.
    pub async fn get(&mut self, path: &str) -> String {
        let answer = self.try_get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        assert!(answer.body.len() < 100_000, "{path}: {} octets", answer.body.len());
        answer.body
    }

    pub async fn try_get(&mut self, path: &str) -> Answer {
        let request = self.request("GET", path, String::new());
        self.send(request).await
    }

    async fn post_form(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let request = self.request("POST", path, pairs.join("&"));
        self.send(request).await
    }

    /// A form of a page of ours, with its token.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.get("/admins").await;
        let token = page.split_once("name=\"csrf\" value=\"").expect("a form").1;
        let token = token.split('"').next().expect("a value ends").to_owned();
        let fields: Vec<(&str, &str)> =
            [("csrf", &*token)].into_iter().chain(fields.iter().copied()).collect();
        self.post_form(path, &fields).await
    }

    /// A live answer that does not end by itself: its body.
    pub async fn open(&mut self, path: &str) -> Body {
        let request = self.request("GET", path, String::new());
        self.pages.call(request).await.unwrap_or_else(|never| match never {}).into_body()
    }

    /// A message of `sender@example.com` that waits in the queue, with a file of this name behind a link.
    pub async fn queued(&self, to: &str, file: &str) -> MessageId {
        self.queued_with(to, &[file], &[0]).await
    }

    /// The same with several files, of which these are behind the link.
    pub async fn queued_with(&self, to: &str, files: &[&str], linked: &[u32]) -> MessageId {
        let gateway = self.control.gateway();
        let now = gateway.clock.now();
        let id = MessageId::at(now);
        let address = |text: &str| Mailbox::parse(text, false).expect("an address");
        let origin = Origin {
            session: "00000000000a".to_owned(),
            listener: "submission".to_owned(),
            client: None,
            port: None,
            helo: "pc".to_owned(),
            esmtp: true,
            login: Some("sender".to_owned()),
            known_sender: true,
            proven: false,
        };
        let mail = MailFrom::new(ReversePath::Mailbox(address("sender@example.com")));
        let mut envelope = Envelope::new(id, now, origin, mail);
        let user = Client { authenticated: true, ..Client::default() };
        let Decision::Permit(permit) = decide(&user, &address(to), Block::None) else {
            panic!("users may relay")
        };
        envelope.add(RcptTo { mailbox: address(to), notify: None, orcpt: None }, permit);
        let mut sha256 = [0; 32];
        sha256[..16].copy_from_slice(id.0.as_bytes());
        let blob = SealedBlob {
            name: format!("blob-{id}"),
            len: 1_000_000,
            sha256,
            key: Vec::new(),
            keep: Keep::default(),
        };
        let part = |(position, file): (u32, &&str)| Detached {
            blob: blob.clone(),
            file_name: (*file).to_owned(),
            media_type: "application/pdf".to_owned(),
            position,
        };
        let recipe = Recipe::new(vec![Piece::Slot(SlotCoding::Plain)]).expect("a recipe");
        let links = LinkRules {
            per_recipient: true,
            blind: Vec::new(),
            expire: Duration::from_secs(30 * 86_400),
            access: Access::Link,
            downloads: None,
            secret: LinkSecret::new(sha256),
        };
        let accepted = Accepted {
            envelope,
            head: bytes(b"Subject: x\r\n"),
            body: Content::Memory(bytes(b"\r\ntext\r\n")),
            due: now + Duration::from_secs(3600),
            claim: false,
            news: None,
            detached: Some(Detachment {
                subject: "The plan".to_owned(),
                parts: (0..).zip(files).map(part).collect(),
                check: Check::Clear,
                forms: vec![FormFor { recipients: vec![0], recipe, files: linked.to_vec() }],
                links,
            }),
        };
        gateway.stores.mail.accept(accepted).await.expect("it is stored");
        id
    }

    /// Something that happened; `number` names the message.
    pub fn happened(&self, number: u128, kind: &str, blame: &str, detail: &str) {
        let gateway = self.control.gateway();
        gateway.record(HistoryEvent {
            at: Timestamp(gateway.clock.now().0 - 1_000_000),
            session: "00000000000a".to_owned(),
            message: Some(MessageId(uuid::Uuid::from_u128(
                0x0190_0000_0000_7000_8000_0000_0000_0000 + number,
            ))),
            kind: kind.to_owned(),
            sender: "sender@elsewhere.example".to_owned(),
            recipient: "bob@example.com".to_owned(),
            blame: blame.to_owned(),
            detail: detail.to_owned(),
        });
    }
}

fn bytes(octets: &'static [u8]) -> axum::body::Bytes {
    axum::body::Bytes::from_static(octets)
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|octet| {
            if octet.is_ascii_alphanumeric() {
                char::from(octet).to_string()
            } else {
                format!("%{octet:02X}")
            }
        })
        .collect()
}
