//! What a browser says to the administration page: the first login, then pages by their paths, a connection for each.

use crate::Outcome;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for a page.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
pub struct Answer {
    /// The first line and the headers.
    pub head: String,
    /// The page.
    pub body: String,
    /// From the request to the last octet.
    pub took: Duration,
}

/// Makes the first administrator; the session's cookie.
pub async fn log_in(page: SocketAddr, once: &str) -> Outcome<String> {
    let form = format!("once={once}&name=bench&password=only-for-this-run&again=only-for-this-run");
    let head = format!(
        "POST /first HTTP/1.1\r\nOrigin: http://{page}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n",
        form.len()
    );
    let answer = ask(page, &head, &form).await?;
    let cookie = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.and_then(|cookie| cookie.split(';').next());
    cookie.map(str::to_owned).ok_or_else(|| format!("the page at {page} lets nobody in:\n{}", answer.body))
}

/// A page that must be there.
pub async fn get(page: SocketAddr, cookie: &str, path: &str) -> Outcome<Answer> {
    let answer = ask(page, &format!("GET {path} HTTP/1.1\r\nCookie: {cookie}\r\n"), "").await?;
    match answer.head.starts_with("HTTP/1.1 200") {
        true => Ok(answer),
        false => Err(format!("{path}: {}", answer.head.lines().next().unwrap_or_default())),
    }
}

/// Any request: its line and headers but Host, and its body.
pub async fn ask(page: SocketAddr, head: &str, form: &str) -> Outcome<Answer> {
    let whole = async {
        let mut stream = TcpStream::connect(page).await?;
        let request = format!("{head}Host: {page}\r\nConnection: close\r\n\r\n{form}");
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok((begun.elapsed(), answer))
    };
    let got =
        tokio::time::timeout(PATIENCE, whole).await.map_err(|_| format!("the page at {page} is silent"))?;
    let (took, answer) = got.map_err(|error: std::io::Error| format!("the page at {page}: {error}"))?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    Ok(Answer { head: head.to_owned(), body: body.to_owned(), took })
}
