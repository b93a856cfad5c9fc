//! Runs a client transcript on the machine alone: time moves only by `T:`, TLS only by `!:`.
//!
//! Two rules hold in every transcript without being said: a credential appears in no line of the trace, and nothing
//! (a write, an answer, a fault) may happen that the transcript does not tell.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;

use vouchsafe_smtp::client::{Client, Config, DeliveryReplies, Done, FaultKind, Output, Phase, Timeouts};
use vouchsafe_smtp::sasl::{Plain, encode_base64, encode_plain};
use vouchsafe_smtp::{Reply, ReversePath, Secret, Tick};

use crate::client_script::{ClientScript, Job, Step};
use crate::script::{escape, line_fits};

/// A check that a runner knows and this one does not: `None` if the words mean nothing to it.
pub type ExtraCheck<'a> = &'a dyn Fn(&str, &mut World) -> Option<Result<(), String>>;

/// Runs every transcript of a folder of `transcripts/`; `TRANSCRIPT=name` picks. Panics with all faults.
pub fn run_folder(folder: &Path, extra: ExtraCheck<'_>) {
    let only = std::env::var("TRANSCRIPT").unwrap_or_default();
    let entries = fs::read_dir(folder).expect("folder");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("entry").path()).collect();
    files.retain(|path| path.to_string_lossy().contains(&only));
    files.sort();
    assert!(!files.is_empty(), "no transcript in {}", folder.display());
    let faults: Vec<String> = files.iter().filter_map(|path| run_file(path, extra).err()).collect();
    assert!(
        faults.is_empty(),
        "{} of {} transcripts fail\n\n{}",
        faults.len(),
        files.len(),
        faults.join("\n")
    );
}

fn run_file(path: &Path, extra: ExtraCheck<'_>) -> Result<(), String> {
    let named =
        |fault: String| format!("{}: {fault}", path.file_name().unwrap_or_default().to_string_lossy());
    let text = fs::read_to_string(path).map_err(|e| named(e.to_string()))?;
    let script = ClientScript::parse(&text).map_err(named)?;
    run(&script, usize::MAX, extra).map_err(named)?;
    if !script.as_written {
        for piece in [1, 2, 7] {
            run(&script, piece, extra).map_err(|fault| named(format!("(in pieces of {piece}) {fault}")))?;
        }
    }
    Ok(())
}

fn run(script: &ClientScript, piece: usize, extra: ExtraCheck<'_>) -> Result<(), String> {
    let mut world = World::new(script);
    world.settle();
    for (line, step) in &script.steps {
        world.step(step, piece, extra).map_err(|fault| format!("line {line}: {fault}"))?;
        world.settle();
    }
    world.nothing_untold()
}

/// The machine and what it has brought about.
pub struct World {
    machine: Client,
    now: Tick,
    writes: VecDeque<Vec<u8>>,
    body: VecDeque<Vec<u8>>,
    asked: Vec<String>,
    /// Answers of callouts that no check has named yet: address and reply.
    pub answers: Vec<(String, Reply)>,
    /// The last final reply to AUTH.
    pub auth: Option<Reply>,
    challenge: Option<Vec<u8>>,
    /// Why the session ended.
    pub fault: Option<(Phase, FaultKind)>,
    fault_told: bool,
    delivery: Option<DeliveryReplies>,
    not_told: Option<Reply>,
    quit: bool,
    wants_tls: bool,
    secrets: Vec<String>,
    trace: Vec<String>,
}

impl World {
    fn new(script: &ClientScript) -> World {
        let config = Config {
            hello: "gate.example".to_owned(),
            lmtp: script.lmtp,
            tls: script.tls,
            auth_in_clear: script.clear,
            login: script.login.clone(),
            timeouts: Timeouts::default(),
            trace: true,
        };
        let now = Tick(1_000_000);
        let mut world = World {
            machine: Client::new(config, script.tls_on, now),
            now,
            writes: VecDeque::new(),
            body: VecDeque::new(),
            asked: Vec::new(),
            answers: Vec::new(),
            auth: None,
            challenge: None,
            fault: None,
            fault_told: false,
            delivery: None,
            not_told: None,
            quit: false,
            wants_tls: false,
            secrets: Vec::new(),
            trace: Vec::new(),
        };
        if let Some((user, password)) = &script.login {
            world.keep_secret(user, password);
        }
        world
    }

    fn keep_secret(&mut self, user: &str, password: &Secret) {
        let plain = Plain { authzid: String::new(), authcid: user.to_owned(), password: password.clone() };
        self.secrets.push(String::from_utf8_lossy(password.expose()).into_owned());
        self.secrets.push(encode_base64(password.expose()));
        self.secrets.extend(encode_plain(&plain).ok().map(|response| encode_base64(response.expose())));
    }

    /// Polls the machine dry, as a driver would; each round of outgoing octets is one write.
    fn settle(&mut self) {
        loop {
            let output = self.machine.poll();
            self.trace.extend(self.machine.take_trace().into_iter().map(|(_, line)| line));
            match output {
                Output::Answer { index, reply } => self.answers.push((self.asked[index].clone(), reply)),
                Output::StartTls => self.wants_tls = true,
                Output::Body => {
                    let chunk = self.body.pop_front().unwrap_or_default();
                    self.machine.body(&chunk, self.body.is_empty(), self.now);
                }
                Output::Done(Done::Open | Done::Callout) => {}
                Output::Done(Done::Auth(reply)) => self.auth = Some(reply),
                Output::Done(Done::NotTold(reply)) => self.not_told = Some(reply),
                Output::Done(Done::Delivery(replies)) => {
                    self.not_told.clone_from(&replies.not_told);
                    self.delivery = Some(replies);
                }
                Output::Done(Done::Challenge(challenge)) => self.challenge = Some(challenge),
                Output::Done(Done::Quit | Done::Taken) => self.quit = true,
                Output::Fault(phase, kind) => {
                    let over = self.quit || self.delivery.as_ref().is_some_and(|replies| !replies.reusable);
                    if self.fault.is_none() && !over {
                        self.fault = Some((phase, kind));
                    }
                    return;
                }
                Output::Wait { .. } if self.machine.outgoing().is_empty() => return,
                Output::Wait { .. } => {
                    let write = self.machine.outgoing().to_vec();
                    self.machine.wrote(write.len(), self.now);
                    self.writes.push_back(write);
                }
            }
        }
    }

    fn step(&mut self, step: &Step, piece: usize, extra: ExtraCheck<'_>) -> Result<(), String> {
        if !matches!(step, Step::Said(_))
            && let Some(write) = self.writes.pop_front()
        {
            return Err(format!("said, but not told: {}", escape(&write)));
        }
        match step {
            Step::Said(expected) => {
                let write = self.writes.pop_front().unwrap_or_default();
                if write != *expected {
                    return Err(format!("said {}\n  expected {}", escape(&write), escape(expected)));
                }
            }
            Step::Heard(octets) => {
                for part in octets.chunks(piece) {
                    self.machine.receive(part, self.now);
                    self.settle();
                }
            }
            Step::Body(chunk) => self.body.push_back(chunk.clone()),
            Step::Do(job) => self.start(job),
            Step::Wait(time) => {
                self.now = self.now + *time;
                self.machine.tick(self.now);
            }
            Step::Event(event) => return self.event(event),
            Step::Check(text) => return self.check(text, extra),
        }
        Ok(())
    }

    fn start(&mut self, job: &Job) {
        match job {
            Job::Callout(sender, asked) => {
                self.asked = asked.iter().map(ToString::to_string).collect();
                self.machine.callout(sender, asked, self.now);
            }
            Job::CalloutByData(asked) => {
                self.asked = vec![asked.to_string()];
                self.machine.callout_by_data(&ReversePath::Null, asked, self.now);
            }
            Job::Auth(user, password) => {
                self.keep_secret(user, password);
                self.machine.authenticate(user, password, self.now);
            }
            Job::Exchange(mechanism, initial) => {
                self.secrets.extend(initial.as_ref().map(|secret| encode_base64(secret.expose())));
                self.machine.exchange(*mechanism, initial.as_ref(), self.now);
            }
            Job::Respond(response) => {
                self.secrets.push(encode_base64(response.expose()));
                self.machine.respond(response, self.now);
            }
            Job::Cancel => self.machine.cancel(self.now),
            Job::Deliver(mail, recipients) => {
                let size = self.body.iter().map(|chunk| chunk.len() as u64).sum();
                self.machine.deliver(mail, recipients, size, self.now);
            }
            Job::XClient(identity) => self.machine.xclient(identity, self.now),
            Job::XForward(identity) => self.machine.xforward(identity),
            Job::Quit => self.machine.quit(self.now),
        }
    }

    fn event(&mut self, event: &str) -> Result<(), String> {
        match event {
            "eof" => self.machine.eof(self.now),
            _ if !std::mem::take(&mut self.wants_tls) => return Err("no handshake is wanted".to_owned()),
            "tls on" => self.machine.tls_started(self.now),
            _ => match event.strip_prefix("tls failed ") {
                Some(why) => self.machine.tls_failed(why.to_owned()),
                None => return Err(format!("unknown event `{event}`")),
            },
        }
        Ok(())
    }

    fn check(&mut self, text: &str, extra: ExtraCheck<'_>) -> Result<(), String> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let delivery = self.delivery.as_ref();
        match word {
            "open" if self.machine.is_ready() => Ok(()),
            "open" => Err(format!("the session is not ready ({:?})", self.fault)),
            "closed" if self.fault.is_none() && !self.machine.is_ready() => Ok(()),
            "closed" => Err(format!("the session is not plainly closed ({:?})", self.fault)),
            "fault" => {
                let told =
                    self.fault.as_ref().map(|(phase, kind)| format!("{} {}", phase.word(), kind.word()));
                self.fault_told = true;
                fits(rest, told)
            }
            "answer" => {
                let (address, expected) = rest.split_once(' ').ok_or("`answer address reply` expected")?;
                let reply = self.answer(address);
                fits(expected, reply.map(|reply| reply.to_string()))
            }
            "told" if self.not_told.is_none() => Ok(()),
            "not_told" => fits(rest, self.not_told.as_ref().map(Reply::to_string)),
            "challenge" => {
                let challenge = self.challenge.take().map(|challenge| escape(&challenge));
                if challenge.as_deref() == Some(rest) { Ok(()) } else { fits(rest, challenge) }
            }
            "auth" => fits(rest, self.auth.as_ref().map(Reply::to_string)),
            "mail" => fits(rest, delivery.and_then(|d| d.mail.as_ref()).map(Reply::to_string)),
            "rcpt" => {
                let (index, expected) = rest.split_once(' ').ok_or("`rcpt index reply` expected")?;
                let index: usize = index.parse().map_err(|_| "bad index")?;
                fits(expected, delivery.and_then(|d| d.recipients.get(index)).map(Reply::to_string))
            }
            "data" if rest == "none" && delivery.is_some_and(|d| d.data.is_none()) => Ok(()),
            "data" => fits(rest, delivery.and_then(|d| d.data.as_ref()).map(Reply::to_string)),
            "trace" if self.trace.iter().any(|line| line == rest) => Ok(()),
            "trace" => Err(format!("no such line in the trace:\n  {}", self.trace.join("\n  "))),
            _ => extra(text, self).unwrap_or_else(|| Err(format!("unknown check `{text}`"))),
        }
    }

    /// Takes the oldest answer about an address; a check that names it has told of it.
    pub fn answer(&mut self, address: &str) -> Option<Reply> {
        let at = self.answers.iter().position(|(asked, _)| asked == address)?;
        Some(self.answers.remove(at).1)
    }

    /// The fault, which is thereby told.
    pub fn told_fault(&mut self) -> Option<&(Phase, FaultKind)> {
        self.fault_told = true;
        self.fault.as_ref()
    }

    fn nothing_untold(&self) -> Result<(), String> {
        if let Some(write) = self.writes.front() {
            return Err(format!("said at the end, but not told: {}", escape(write)));
        }
        if let Some((address, reply)) = self.answers.first() {
            return Err(format!("answered, but not told: {address} {reply}"));
        }
        if let (Some(fault), false) = (&self.fault, self.fault_told) {
            return Err(format!("a fault that is not told: {fault:?}"));
        }
        let spoken =
            |secret: &&String| !secret.is_empty() && self.trace.iter().any(|line| line.contains(*secret));
        match self.secrets.iter().find(spoken) {
            Some(secret) => Err(format!("the trace holds the secret {secret:?}")),
            None => Ok(()),
        }
    }
}

fn fits(expected: &str, actual: Option<String>) -> Result<(), String> {
    match actual {
        Some(actual) if line_fits(expected, &actual) => Ok(()),
        Some(actual) => Err(format!("is    {actual}\n  expected {expected}")),
        None => Err(format!("there is none; expected {expected}")),
    }
}
