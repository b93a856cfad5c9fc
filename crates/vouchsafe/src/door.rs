//! The way to `control`: through the socket of a running gateway, else over the store itself.

use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use vouchsafe_config::Settings;
use vouchsafe_gateway::control::{Control, Request, Response};
use vouchsafe_gateway::gateway::Gateway;
use vouchsafe_net::clock::SystemClock;
use vouchsafe_net::dial::TcpDialer;

use crate::serve::open_stores;

/// Carries a request out, in the running gateway if there is one.
pub async fn ask(settings: Settings, request: Request) -> Result<Response, String> {
    if let Some(mut line) = Line::open(&settings.data_dir).await? {
        return line.ask(&request).await;
    }
    let stores = open_stores(&settings.data_dir, settings.limits.free_space, &settings.attachments.keeping)?;
    let gateway = Gateway::new(settings, stores, Arc::new(TcpDialer::new()), Arc::new(SystemClock::new()));
    Ok(Control::new(gateway).run(request).await)
}

/// A connection to a running gateway.
pub struct Line {
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

impl Line {
    /// `None`: no gateway runs on this folder.
    pub async fn open(data_dir: &Path) -> Result<Option<Line>, String> {
        let path = data_dir.join("control.sock");
        match vouchsafe_net::local::connect(&path).await {
            Ok(stream) => {
                let (read, write) = stream.into_split();
                Ok(Some(Line { lines: BufReader::new(read).lines(), write }))
            }
            Err(fault) if fault.kind() == std::io::ErrorKind::PermissionDenied => {
                Err(format!("{}: {fault}; run this as the user that runs the gateway", path.display()))
            }
            Err(_) => Ok(None),
        }
    }

    /// Sends a request and reads the first response.
    pub async fn ask(&mut self, request: &Request) -> Result<Response, String> {
        self.send(request).await?;
        self.next().await?.ok_or_else(|| "the gateway hung up; its log says why".to_owned())
    }

    /// Sends a request.
    pub async fn send(&mut self, request: &Request) -> Result<(), String> {
        let mut line = serde_json::to_vec(request).map_err(|fault| fault.to_string())?;
        line.push(b'\n');
        self.write.write_all(&line).await.map_err(|fault| format!("control socket: {fault}"))
    }

    /// The next response; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Response>, String> {
        let line = self.lines.next_line().await.map_err(|fault| format!("control socket: {fault}"))?;
        line.map(|line| serde_json::from_str(&line).map_err(|fault| format!("control socket: {fault}")))
            .transpose()
    }
}
