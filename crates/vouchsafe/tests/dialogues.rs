//! The third rung: the real binary on loopback, stand-in delegate and next hop on ports of their own, for the dialogues
//! of `transcripts/e2e` that say `rung: binary`. Its clock is the real one, so `T:` is not for them.
//!
//! On top of what `testkit::whole` knows: `!: user NAME PASSWORD` (`vouchsafe users add`), `!: reload key = value` (the
//! file changes, SIGHUP). `=: nowhere` looks through every file of the data directory, the log, and what the commands show.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use support::loopback::Loopback;
use support::{Gateway, cli, hang_up};
use tokio::net::TcpStream;
use vouchsafe_net::stream::BoxStream;
use vouchsafe_testkit::script::Script;
use vouchsafe_testkit::whole::{self, Queue, Stands, World};

struct Binary {
    gateway: Gateway,
    config: PathBuf,
    changes: Vec<(String, String)>,
    around: Loopback,
}

impl Binary {
    fn start(script: &Script) -> Binary {
        let around = Loopback::start();
        let config = around.settings(&script.settings);
        let gateway = Gateway::start(&config);
        Binary { gateway, config, changes: script.settings.clone(), around }
    }

    fn ask(&self, words: &str, input: &str) -> Result<String, String> {
        let (code, out, said) = cli(&self.config, words, input);
        if code == 0 { Ok(out) } else { Err(format!("vouchsafe {words}: {code}, {said}")) }
    }
}

impl World for Binary {
    const PATIENCE: Duration = support::PATIENCE;
    const TIME_TO_END: Duration = support::PATIENCE;

    fn stands(&self) -> &Stands {
        &self.around.stands
    }

    async fn connect(&mut self, listener: &str) -> Result<BoxStream, String> {
        let stream = TcpStream::connect(self.gateway.address(listener)).await;
        Ok(Box::new(stream.map_err(|fault| format!("{listener}: {fault}"))?))
    }

    async fn event(&mut self, words: &[&str]) -> Result<(), String> {
        match *words {
            ["user", name, password] => {
                self.ask(&format!("users add {name}"), &format!("{password}\n")).map(drop)
            }
            ["reload", ref lines @ ..] => {
                let line = lines.join(" ");
                let (key, value) = line.split_once(" = ").ok_or("`!: reload key = value` expected")?;
                self.changes.push((key.to_owned(), value.to_owned()));
                self.around.settings(&self.changes);
                hang_up(self.gateway.child.id());
                self.gateway.log.wait_for("settings reloaded");
                Ok(())
            }
            _ => Err(format!("`{}` cannot be done to the real binary", words.join(" "))),
        }
    }

    async fn wait(&mut self, _: Duration) -> Result<(), String> {
        Err("the real binary's clock is not ours to move".to_owned())
    }

    async fn queue(&mut self) -> Result<Queue, String> {
        let text = self.ask("queue list --json", "")?;
        let rows: serde_json::Value =
            serde_json::from_str(&text).map_err(|fault| format!("{fault}: {text}"))?;
        let rows = rows.as_array().ok_or("queue list --json is no list")?;
        let ids: std::collections::BTreeSet<&str> =
            rows.iter().filter_map(|row| row["message"].as_str()).collect();
        let recipients = rows.iter().filter_map(|row| row["recipients"].as_array()).flatten();
        let held = recipients.filter(|recipient| recipient["state"] == "held").count();
        Ok(Queue { messages: ids.len() as u64, held: held as u64, text })
    }

    async fn files(&mut self) -> Result<u64, String> {
        Err("not told at this rung".to_owned())
    }

    async fn written(&mut self) -> Result<String, String> {
        let mut all = self.ask("history --json", "")? + &self.ask("queue list", "")?;
        all.push_str(&self.gateway.log.text());
        for file in support::files(&self.around.scratch.path("data")) {
            all.push_str(&String::from_utf8_lossy(&std::fs::read(&file).unwrap_or_default()));
        }
        Ok(all)
    }

    async fn settle(&mut self) {}

    async fn pause(&mut self) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn run(path: &Path, script: &Script) -> Result<(), String> {
    let mut binary = Binary::start(script);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|fault| fault.to_string())?;
    runtime
        .block_on(whole::play(&mut binary, path, script))
        .map_err(|why| format!("{why}  log:\n{}", binary.gateway.log.text()))?;
    // The client is gone: nothing holds the gateway up, and it ends with exit 0.
    binary.gateway.stop();
    Ok(())
}

#[test]
fn the_marked_dialogues_go_as_written_at_the_real_binary() {
    // A second one can only be the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../transcripts/e2e");
    let mut scripts = whole::scripts(&folder).unwrap_or_else(|why| panic!("{why}"));
    scripts.retain(|(_, script)| script.binary);
    let failed: Vec<String> = scripts.iter().filter_map(|(path, script)| run(path, script).err()).collect();
    whole::report(scripts.len(), &failed);
}
