//! The second rung: whole gateway, stand-in delegate and next hop in one process, pipes instead of sockets, memory
//! instead of a disk, and a clock that moves only when everybody waits. Runs every file of `transcripts/e2e`.
//!
//! On top of what `testkit::whole` knows: `!: user NAME PASSWORD`, `!: reload key = value`,
//! `!: store full|broken|well`, `!: bounce`, `!: release`: the administrator gives up what is in the queue, or releases it,
//! `!: files erase|revoke`: he deletes all files, or takes all their links back, `!: link fetched|asked`: what the pages do
//! for the first link that the next hop got.

mod common;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use vouchsafe_config::Settings;
use vouchsafe_core::MessageId;
use vouchsafe_core::attachments::{AttachmentStore, ShareChange, ShareFilter};
use vouchsafe_core::links::{TOKEN_LEN, Token};
use vouchsafe_core::ports::{Clock, MailStore, QueueAction, QueueFilter, StoreFault};
use vouchsafe_fakes::PipeDialer;
use vouchsafe_gateway::control::{Control, Request, Response};
use vouchsafe_gateway::gateway::{Gateway, Stores};
use vouchsafe_gateway::shares::ShareAct;
use vouchsafe_gateway::supervisor::Supervisor;
use vouchsafe_net::clock::SystemClock;
use vouchsafe_net::stream::BoxStream;
use vouchsafe_store::blobs::Blobs;
use vouchsafe_store::memory::MemoryStore;
use vouchsafe_testkit::script::Script;
use vouchsafe_testkit::whole::settings::Places;
use vouchsafe_testkit::whole::{self, Queue, Stands, World};

struct InProcess {
    supervisor: Arc<Supervisor>,
    store: Arc<MemoryStore>,
    stands: Stands,
    control: Control,
    dir: PathBuf,
    changes: Vec<(String, String)>,
}

fn settings(dir: &Path, changes: &[(String, String)]) -> Settings {
    let places = Places {
        data_dir: dir.display().to_string(),
        logins: "delegate.example:587".to_owned(),
        recipients: "delegate.example:25".to_owned(),
        next_hop: "filter.example:25".to_owned(),
        listeners: [2525, 2587, 2526].map(|port| format!("127.0.0.1:{port}")),
    };
    let text = whole::settings::text(&places, changes);
    common::settings_of(&text)
}

impl InProcess {
    async fn new(dir: &Path, script: &Script) -> InProcess {
        let stands = Stands::default();
        let dial = PipeDialer::new()
            .with("delegate.example:25", &stands.delegate)
            .with("delegate.example:24", &stands.delegate)
            .with("delegate.example:587", &stands.delegate)
            .with("frontend.example:587", &stands.front_end)
            .with("filter.example:25", &stands.next_hop);
        let store = MemoryStore::new();
        let clock = Arc::new(SystemClock::following_the_runtime());
        let stores = Stores::of(store.clone()).with_blobs(Blobs::memory());
        let gateway = Gateway::new(settings(dir, &script.settings), stores, Arc::new(dial), clock);
        let control = Control::new(Arc::clone(&gateway));
        let supervisor = Supervisor::new(gateway).expect("a self-signed certificate");
        supervisor.start_tasks().await.expect("a store");
        InProcess {
            supervisor: Arc::new(supervisor),
            store,
            stands,
            control,
            dir: dir.to_owned(),
            changes: script.settings.clone(),
        }
    }
}

impl InProcess {
    async fn follow(&self, what: &str) -> Result<(), String> {
        let messages = self.stands.next_hop.messages();
        let texts = messages.iter().map(|message| message.text());
        let token = texts.filter_map(|text| {
            let (_, link) = text.split_once("https://files.example/")?;
            link.get(..TOKEN_LEN)?.parse::<Token>().ok()
        });
        let link = token.map(|token| token.hash()).next().ok_or("the next hop got no link")?;
        let change = match what {
            "fetched" => ShareChange::Downloaded { link, files: vec![0] },
            "asked" => ShareChange::Asked { link },
            _ => return Err(format!("`{what}`: fetched or asked is expected")),
        };
        let now = self.control.gateway().clock.now();
        self.store.change(change, String::new(), now).await.map_err(|fault| fault.to_string())
    }
}

impl World for InProcess {
    /// Above every deadline of the gateway, below its session's life.
    const PATIENCE: Duration = Duration::from_secs(280);
    const TIME_TO_END: Duration = Duration::from_secs(7200);

    fn stands(&self) -> &Stands {
        &self.stands
    }

    async fn connect(&mut self, listener: &str) -> Result<BoxStream, String> {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (supervisor, listener) = (Arc::clone(&self.supervisor), listener.to_owned());
        let peer: SocketAddr = "127.0.0.1:40000".parse().expect("an address");
        tokio::spawn(async move { supervisor.session(&listener, Box::new(theirs), Some(peer)).await });
        Ok(Box::new(ours))
    }

    async fn event(&mut self, words: &[&str]) -> Result<(), String> {
        match *words {
            ["user", name, password] => {
                let request = Request::UserAdd { name: name.to_owned(), password: password.to_owned() };
                if let Response::Refused { why } = self.control.run(request).await {
                    return Err(why);
                }
            }
            ["reload", ref lines @ ..] => {
                let line = lines.join(" ");
                let (key, value) = line.split_once(" = ").ok_or("`!: reload key = value` expected")?;
                self.changes.push((key.to_owned(), value.to_owned()));
                self.supervisor.reload(settings(&self.dir, &self.changes))?;
            }
            ["bounce"] => {
                let rows =
                    self.store.list(QueueFilter::default()).await.map_err(|fault| fault.to_string())?;
                let messages: BTreeSet<MessageId> = rows.iter().map(|row| row.message).collect();
                for message in messages {
                    let request = Request::QueueBounce { message };
                    if let Response::Refused { why } = self.control.run(request).await {
                        return Err(why);
                    }
                }
            }
            ["release"] => {
                let (filter, action) = (QueueFilter::default(), QueueAction::Release);
                if let Response::Refused { why } =
                    self.control.run(Request::QueueAct { filter, action }).await
                {
                    return Err(why);
                }
            }
            ["files", what] => {
                let act = match what {
                    "erase" => ShareAct::Erase,
                    "revoke" => ShareAct::Revoke { link: None },
                    _ => return Err(format!("`{what}`: erase or revoke is expected")),
                };
                let shares = self.store.shares(ShareFilter::default()).await;
                for share in shares.map_err(|fault| fault.to_string())? {
                    let filter = ShareFilter { message: Some(share.message), ..ShareFilter::default() };
                    let request = Request::AttachmentsAct { filter, act: act.clone() };
                    if let Response::Refused { why } = self.control.run(request).await {
                        return Err(why);
                    }
                }
            }
            ["link", what] => self.follow(what).await?,
            ["store", "full"] => self.store.fail(Some(StoreFault::Full("as told".to_owned()))),
            ["store", "broken"] => self.store.fail(Some(StoreFault::Broken("as told".to_owned()))),
            ["store", "well"] => self.store.fail(None),
            _ => return Err(format!("unknown event `{}`", words.join(" "))),
        }
        Ok(())
    }

    async fn wait(&mut self, time: Duration) -> Result<(), String> {
        tokio::time::sleep(time).await;
        Ok(())
    }

    async fn queue(&mut self) -> Result<Queue, String> {
        let words = |fault: StoreFault| fault.to_string();
        let stats = self.store.stats().await.map_err(words)?;
        let rows = self.store.list(QueueFilter::default()).await.map_err(words)?;
        Ok(Queue { messages: stats.messages, held: stats.held, text: format!("{rows:?}") })
    }

    async fn files(&mut self) -> Result<u64, String> {
        let shares = self.store.shares(ShareFilter::default()).await.map_err(|fault| fault.to_string())?;
        Ok(shares.iter().map(|share| share.files.len() as u64).sum())
    }

    async fn written(&mut self) -> Result<String, String> {
        Ok(format!("{:?}{:?}", self.store.events(), self.store.list(QueueFilter::default()).await))
    }

    async fn settle(&mut self) {
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn pause(&mut self) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn run(path: &Path, script: &Script) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|fault| fault.to_string())?;
    let mut world = InProcess::new(dir.path(), script).await;
    whole::play(&mut world, path, script).await
}

#[test]
fn every_dialogue_of_the_whole_gateway_goes_as_written() {
    // A second one can only be the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../transcripts/e2e");
    let scripts = whole::scripts(&folder).unwrap_or_else(|why| panic!("{why}"));
    let mut failed = Vec::new();
    for (path, script) in &scripts {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        if let Err(why) = runtime.block_on(run(path, script)) {
            failed.push(why);
        }
    }
    whole::report(scripts.len(), &failed);
}
