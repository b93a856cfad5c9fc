//! A gateway with shares in memory, and a browser without a network.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use tower_service::Service;
use vouchsafe_config::{Lookup, Settings};
use vouchsafe_core::attachments::{
    Access, AttachmentStore, BlobStore, Check, Detached, Detachment, FormFor, LinkRules, SealedBlob,
    ShareChange,
};
use vouchsafe_core::links::{LinkSecret, Token};
use vouchsafe_core::policy::{Block, Client, Decision, decide};
use vouchsafe_core::ports::{Accepted, Body as Content, Clock, MailStore};
use vouchsafe_core::recipe::{Piece, Recipe, SlotCoding};
use vouchsafe_core::{Envelope, MessageId, Origin, Timestamp};
use vouchsafe_gateway::downloads::Downloads;
use vouchsafe_gateway::gateway::{Gateway, Stores};
use vouchsafe_net::clock::SystemClock;
use vouchsafe_net::dial::TcpDialer;
use vouchsafe_smtp::{MailFrom, Mailbox, RcptTo, ReversePath};
use vouchsafe_store::blobs::Blobs;
use vouchsafe_store::memory::MemoryStore;
use vouchsafe_web::From;

const SETTINGS: &str = "hostname = \"gw.example.com\"\n[[listener]]\nname = \"mx\"\nkind = \"mx\"\n\
    address = \"127.0.0.1:0\"\n[web]\ndownloads = \"127.0.0.1:0\"\npublic_url = \"https://files.example\"\n\
    proxies = [\"10.0.0.0/8\"]\n[relay]\nnext_hop = \"127.0.0.1:1\"\n";

struct NoLookup;

impl Lookup for NoLookup {
    fn env(&self, _: &str) -> Option<String> {
        None
    }
    fn file(&self, path: &Path) -> Result<String, String> {
        Err(format!("{}: no files here", path.display()))
    }
    fn hostname(&self) -> Option<String> {
        None
    }
}

fn settings() -> Settings {
    vouchsafe_config::parse(SETTINGS, &NoLookup).map_err(|faults| format!("{faults:?}")).unwrap().0
}

pub struct World {
    pub store: Arc<MemoryStore>,
    pub blobs: Arc<dyn BlobStore>,
    pub router: Router,
    pub clock: Arc<SystemClock>,
    made: std::sync::atomic::AtomicU8,
}

/// What a share is made of.
pub struct Given<'a> {
    pub files: &'a [(&'a str, &'a str, Bytes)],
    pub to: &'a [&'a str],
    /// This recipient's link leads to these files only.
    pub only: Option<(u32, &'a [u32])>,
    pub known_sender: bool,
    pub access: Access,
    pub cap: Option<u32>,
    pub check: Check,
}

impl Default for Given<'_> {
    fn default() -> Self {
        Given {
            files: &[],
            to: &["b@one.test"],
            only: None,
            known_sender: true,
            access: Access::Link,
            cap: None,
            check: Check::Clear,
        }
    }
}

/// A share with the tokens of its recipients.
pub struct Shared {
    pub message: MessageId,
    secret: LinkSecret,
}

impl Shared {
    /// The link of a recipient, as a path.
    pub fn link(&self, recipient: u32) -> String {
        format!("/{}", self.secret.token(recipient))
    }
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl World {
    pub async fn new() -> World {
        World::over(Blobs::memory()).await
    }

    pub async fn over(blobs: Arc<dyn BlobStore>) -> World {
        let store = MemoryStore::new();
        let clock = Arc::new(SystemClock::following_the_runtime());
        let stores = Stores::of(Arc::clone(&store)).with_blobs(Arc::clone(&blobs));
        let gateway = Gateway::new(settings(), stores, Arc::new(TcpDialer::new()), Arc::clone(&clock));
        let router = vouchsafe_web::download_router(Downloads::open(gateway).await.unwrap());
        World { store, blobs, router, clock, made: 0.into() }
    }

    pub async fn blob(&self, octets: &Bytes) -> SealedBlob {
        let mut writer = self.blobs.create().await.unwrap();
        for chunk in octets.chunks(100_000) {
            writer.write(octets.slice_ref(chunk)).await.unwrap();
        }
        writer.seal().await.unwrap()
    }

    pub async fn share(&self, given: Given<'_>) -> Shared {
        let mut parts = Vec::new();
        for ((name, kind, octets), position) in given.files.iter().zip(0..) {
            let blob = self.blob(octets).await;
            let (file_name, media_type) = ((*name).to_owned(), (*kind).to_owned());
            parts.push(Detached { blob, file_name, media_type, position });
        }
        self.share_of(parts, given).await
    }

    pub async fn share_of(&self, parts: Vec<Detached>, given: Given<'_>) -> Shared {
        let number = self.made.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        let secret = LinkSecret::new([number; 32]);
        let now = self.clock.now();
        let message = MessageId::at(now);
        let origin = Origin {
            session: "s".to_owned(),
            listener: "submission".to_owned(),
            client: None,
            port: None,
            helo: "pc".to_owned(),
            esmtp: true,
            login: None,
            known_sender: given.known_sender,
            proven: false,
        };
        let mail = MailFrom::new(ReversePath::Mailbox(Mailbox::parse("ann@sender.test", false).unwrap()));
        let mut envelope = Envelope::new(message, now, origin, mail);
        for to in given.to {
            let mailbox = Mailbox::parse(to, false).unwrap();
            let user = Client { authenticated: true, ..Client::default() };
            let Decision::Permit(permit) = decide(&user, &mailbox, Block::None) else {
                panic!("users may relay")
            };
            envelope.add(RcptTo { mailbox, notify: None, orcpt: None }, permit);
        }
        let form = |recipients: Vec<u32>, files: Vec<u32>| FormFor {
            recipients,
            recipe: Recipe::new(vec![Piece::Slot(SlotCoding::Plain)]).unwrap(),
            files,
        };
        let alone = given.only.map(|(recipient, _)| recipient);
        let others = (0..given.to.len() as u32).filter(|to| Some(*to) != alone).collect();
        let mut forms = vec![form(others, parts.iter().map(|part| part.position).collect())];
        forms.extend(given.only.map(|(recipient, files)| form(vec![recipient], files.to_vec())));
        let accepted = Accepted {
            envelope,
            head: Bytes::from_static(b"Subject: x\r\n"),
            body: Content::Memory(Bytes::from_static(b"\r\ntext\r\n")),
            due: now + Duration::from_secs(3600),
            claim: false,
            news: None,
            detached: Some(Detachment {
                subject: "The plan <b>".to_owned(),
                parts,
                check: given.check,
                forms,
                links: LinkRules {
                    per_recipient: true,
                    blind: Vec::new(),
                    expire: Duration::from_secs(30 * 86_400),
                    access: given.access,
                    downloads: given.cap,
                    secret: secret.clone(),
                },
            }),
        };
        self.store.accept(accepted).await.unwrap();
        Shared { message, secret }
    }

    pub async fn change(&self, change: ShareChange) {
        self.store.change(change, "test".to_owned(), self.clock.now()).await.unwrap();
    }

    /// The share's links are good until then; in days from now.
    pub async fn expires(&self, shared: &Shared, days: i64) {
        let until = Timestamp(self.clock.now().0 + days * 86_400_000_000);
        self.change(ShareChange::Extend { message: shared.message, until }).await;
    }

    pub async fn sender_link(&self, shared: &Shared) -> String {
        let token = Token::new([9; 20]);
        self.change(ShareChange::SenderLink { message: shared.message, link: token.hash() }).await;
        format!("/sender/{token}")
    }

    /// The answer to a request of a client, its body unread.
    pub async fn begin(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        client: &str,
        body: &str,
    ) -> axum::response::Response {
        let mut request = Request::builder().method(method).uri(path);
        if method == "POST" {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        let client: IpAddr = client.parse().unwrap();
        request.extensions_mut().insert(From { client: Some(client), tls: false });
        self.router.clone().call(request).await.unwrap()
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let response = self.begin(method, path, headers, "192.0.2.1", body).await;
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    pub async fn post(&self, path: &str, form: &str) -> Answer {
        self.ask("POST", path, &[], form).await
    }

    /// Downloads counted on a link.
    pub async fn counted(&self, link: &str) -> u64 {
        let token: Token = link.trim_start_matches('/').parse().unwrap();
        self.store.landing(token.hash()).await.unwrap().unwrap().downloads
    }

    /// Where the button of a file leads.
    pub async fn grant(&self, path: &str) -> String {
        let answer = self.post(path, "").await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
        answer.field("location").to_owned()
    }
}

/// Octets that tell their place.
pub fn octets(len: usize) -> Bytes {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}
