//! A stand-in name server: answers TXT, A, AAAA and MX from a table, over UDP and TCP on one port of loopback.
//!
//! Wire format by hand (RFC 1035 §4), so that a fault of the resolver's own library is not mirrored here. An answer of
//! more than 512 octets is cut over UDP, so that the client comes again over TCP. A name that is not in the table does
//! not exist. Proof: `crates/net/tests/authentication.rs`.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

const A: u16 = 1;
const MX: u16 = 15;
const TXT: u16 = 16;
/// RFC 1035 §4.2.1: octets of an answer over UDP.
const UDP: usize = 512;

/// What a name has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A text; written in strings of 255 octets.
    Txt(String),
    /// An address.
    A(Ipv4Addr),
    /// Preference and host.
    Mx(u16, String),
}

/// How a name is answered instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// SERVFAIL.
    Fails,
    /// No answer at all.
    Silent,
}

#[derive(Default)]
struct Table {
    records: BTreeMap<String, Vec<Data>>,
    troubles: BTreeMap<String, Trouble>,
    asked: Vec<String>,
}

/// The name server; it ends when dropped.
pub struct NameServer {
    address: SocketAddr,
    table: Arc<Mutex<Table>>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl NameServer {
    /// An empty one, on a free port of loopback.
    pub async fn start() -> io::Result<NameServer> {
        // The port must be free for both; another program may have taken one of the two.
        let mut tries = 0;
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            match UdpSocket::bind(tcp.local_addr()?).await {
                Ok(udp) => break (tcp, udp),
                Err(fault) if tries == 20 => return Err(fault),
                Err(_) => tries += 1,
            }
        };
        let address = tcp.local_addr()?;
        let table = Arc::<Mutex<Table>>::default();
        let tasks =
            [tokio::spawn(serve_udp(udp, table.clone())), tokio::spawn(serve_tcp(tcp, table.clone()))];
        Ok(NameServer { address, table, tasks })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a record.
    pub fn add(&self, name: &str, data: Data) {
        lock(&self.table).records.entry(key(name)).or_default().push(data);
    }

    /// Adds a text.
    pub fn txt(&self, name: &str, text: &str) {
        self.add(name, Data::Txt(text.to_owned()));
    }

    /// From now on the name is answered so.
    pub fn trouble(&self, name: &str, trouble: Trouble) {
        lock(&self.table).troubles.insert(key(name), trouble);
    }

    /// Names that were asked about, in order.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.table).asked.clone()
    }
}

fn lock(table: &Mutex<Table>) -> std::sync::MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

async fn serve_udp(socket: UdpSocket, table: Arc<Mutex<Table>>) {
    let mut buffer = [0; 4096];
    while let Ok((len, peer)) = socket.recv_from(&mut buffer).await {
        let Some(mut reply) = answer(&buffer[..len], &table) else { continue };
        if reply.len() > UDP
            && let Some(end) = question_end(&reply)
        {
            reply.truncate(end);
            reply[2] |= 2; // TC
            reply[6..12].fill(0);
        }
        // A client that is gone needs no answer.
        let _ = socket.send_to(&reply, peer).await;
    }
}

async fn serve_tcp(listener: TcpListener, table: Arc<Mutex<Table>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let table = table.clone();
        tokio::spawn(async move {
            // A client that is gone needs no answer.
            let _ = converse(stream, &table).await;
        });
    }
}

async fn converse(mut stream: TcpStream, table: &Mutex<Table>) -> io::Result<()> {
    loop {
        let len = usize::from(stream.read_u16().await?);
        let mut query = vec![0; len];
        stream.read_exact(&mut query).await?;
        if let Some(reply) = answer(&query, table) {
            stream.write_u16(u16::try_from(reply.len()).unwrap_or(u16::MAX)).await?;
            stream.write_all(&reply).await?;
        }
    }
}

/// Where the one question of a message ends.
fn question_end(message: &[u8]) -> Option<usize> {
    let mut at = 12;
    while let len @ 1.. = usize::from(*message.get(at)?) {
        at += len + 1;
    }
    (at + 5 <= message.len()).then_some(at + 5)
}

/// The reply to a query; `None`: silence.
fn answer(query: &[u8], table: &Mutex<Table>) -> Option<Vec<u8>> {
    let end = question_end(query)?;
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] > 0 {
        let label = query.get(at + 1..at + 1 + usize::from(query[at]))?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        at += label.len() + 1;
    }
    let name = key(&labels.join("."));
    let kind = u16::from_be_bytes([query[end - 4], query[end - 3]]);
    let mut table = lock(table);
    table.asked.push(name.clone());
    let (code, records): (u8, Vec<Data>) = match (table.troubles.get(&name), table.records.get(&name)) {
        (Some(Trouble::Silent), _) => return None,
        (Some(Trouble::Fails), _) => (2, Vec::new()),
        (None, Some(records)) => (0, records.clone()),
        // A name above one that exists exists, too (RFC 8020).
        (None, None) if table.records.keys().any(|other| other.ends_with(&format!(".{name}"))) => {
            (0, Vec::new())
        }
        (None, None) => (3, Vec::new()),
    };
    let fits = |data: &&Data| {
        kind == match data {
            Data::Txt(_) => TXT,
            Data::A(_) => A,
            Data::Mx(..) => MX,
        }
    };
    let found: Vec<&Data> = records.iter().filter(fits).collect();
    let mut reply = query[..2].to_vec();
    // QR, AA, and RD as it was asked; RA and the code.
    reply.extend([0x84 | (query[2] & 1), 0x80 | code]);
    reply.extend([0, 1, 0, u8::try_from(found.len()).ok()?, 0, 0, 0, 0]);
    reply.extend(&query[12..end]);
    for data in found {
        let value = value(data);
        reply.extend([0xc0, 12]);
        reply.extend(kind.to_be_bytes());
        // Class IN, a minute to live.
        reply.extend([0, 1, 0, 0, 0, 60]);
        reply.extend(u16::try_from(value.len()).ok()?.to_be_bytes());
        reply.extend(value);
    }
    Some(reply)
}

fn value(data: &Data) -> Vec<u8> {
    match data {
        Data::A(address) => address.octets().to_vec(),
        Data::Txt(text) => strings(text.as_bytes().chunks(255)),
        Data::Mx(preference, host) => {
            let mut value = preference.to_be_bytes().to_vec();
            value.extend(strings(host.trim_end_matches('.').split('.').map(str::as_bytes)));
            value.push(0);
            value
        }
    }
}

/// Each with its length in front.
fn strings<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    parts.flat_map(|part| [&[part.len() as u8], part].concat()).collect()
}
