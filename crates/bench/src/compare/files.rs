//! Large attachments: through the gateway, which puts links in their place, beside a sink that throws them away; out of a file,
//! beside `base64 -d` and ripmime; and fetched from the download pages, beside nginx.
//!
//! Everything lies on the disk that is measured, and goes as soon as it has been.

use super::table::{Row, Table};
use super::{DRAIN, gateway, nginx};
use crate::Outcome;
use crate::args::{Compare, Download, Large, Peer, Target};
use crate::figures::{Figures, median};
use crate::made::Made;
use crate::proc::{cpu, forget_most, most_resident};
use crate::{browser, detach, load};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use vouchsafe_fakes::tls::SelfSigned;
use vouchsafe_fakes::{NextHop, next_hop::Behaviour, serve_tcp};

/// Longest time for one thing: what a slow disk needs for a large size.
const LONG: Duration = Duration::from_secs(900);
/// Octets of the message whose file a hundred fetch at once.
const SMALL: u64 = 64 << 20;
/// Addresses that downloads come from, and downloads of each at once: one address has no more than 48.
const FROM: u8 = 3;
const EACH: u64 = 34;
/// Characters of a link's token.
const TOKEN: usize = 32;

/// Measures and prints.
pub async fn run(compare: &Compare, folder: &Path) -> Outcome {
    let mut table = Table::new(vec!["vouchsafe", "peer"]);
    taken_out(compare, &folder.join("detach"), &mut table).await?;
    received_and_fetched(compare, &folder.join("files"), &mut table).await?;
    table.print();
    Ok(())
}

/// Out of a file: the gateway's own code, `base64 -d` of the same content, and ripmime.
async fn taken_out(compare: &Compare, folder: &Path, table: &mut Table) -> Outcome {
    let fault = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(fault)?;
    let (message, text) = (folder.join("message.eml"), folder.join("content.txt"));
    let made = Made::new("user1@bench.example", compare.files, 3);
    detach::write(&message, made.pieces()).map_err(fault)?;
    // What base64 reads: the same lines, ended as it likes them.
    let whole = Made::new("user1@bench.example", compare.files, 1);
    let lines =
        whole.body().map(|piece| piece.iter().copied().filter(|octet| *octet != b'\r').collect::<Vec<u8>>());
    detach::write(&text, lines).map_err(fault)?;
    let ripmime = compare.against.contains(&Peer::Ripmime);
    let (mut ours, mut base64, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    let rate = |took: Duration| compare.files as f64 / 1e6 / took.as_secs_f64();
    for round in 1..=compare.rounds {
        println!("round {round}: attachments out of a file");
        let out = folder.join("out");
        std::fs::create_dir_all(&out).map_err(fault)?;
        let figures = detach::strip(&message, &out).await?;
        if figures.done != 3 {
            return Err(format!("{} attachments of 3 were taken out", figures.done));
        }
        ours.push(rate(figures.took));
        std::fs::remove_dir_all(&out).map_err(fault)?;
        let decoded = folder.join("decoded");
        let file = std::fs::File::create(&decoded).map_err(fault)?;
        base64.push(rate(timed(Command::new("base64").arg("-d").arg(&text).stdout(file)).await?));
        std::fs::remove_file(&decoded).map_err(fault)?;
        if ripmime {
            std::fs::create_dir_all(&out).map_err(fault)?;
            theirs.push(rate(
                timed(Command::new("ripmime").arg("-i").arg(&message).arg("-d").arg(&out)).await?,
            ));
            std::fs::remove_dir_all(&out).map_err(fault)?;
        }
    }
    std::fs::remove_dir_all(folder).map_err(fault)?;
    let ours = median(ours);
    table.row(Row::new("out of a file; base64 -d, MB/s", vec![ours, median(base64)]).times_at_least(2.5));
    if ripmime {
        table.row(Row::new("out of a file; ripmime, MB/s", vec![ours, median(theirs)]).times_at_least(5.0));
    }
    Ok(())
}

/// How long a program runs that must succeed.
async fn timed(command: &mut Command) -> Outcome<Duration> {
    let start = Instant::now();
    let ended = tokio::time::timeout(LONG, command.stdin(Stdio::null()).kill_on_drop(true).status()).await;
    let ended = ended.map_err(|_| format!("{command:?}: not done in {LONG:?}"))?;
    let status = ended.map_err(|error| format!("{command:?}: {error}"))?;
    match status.success() {
        true => Ok(start.elapsed()),
        false => Err(format!("{command:?}: {status}")),
    }
}

/// A message through the gateway, in turns with the sink alone; then its file from the download pages.
async fn received_and_fetched(compare: &Compare, folder: &Path, table: &mut Table) -> Outcome {
    let fault = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(fault)?;
    let (thrown, thrown_at) = sink_alone().await?;
    let hop = NextHop::new(Behaviour::new("sink.bench.example"));
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(fault)?;
    let next_hop = listener.local_addr().map_err(fault)?;
    tokio::spawn(serve_tcp(listener, hop.clone()));
    let at = super::free_address().await.map_err(fault)?;
    let gateway = serving(compare, folder, next_hop, at, false).await?;
    let load = |address, size| Large {
        target: Target { address, tls: false, from: None, seconds: LONG },
        size,
        parts: 1,
        to: "user1@bench.example".to_owned(),
    };
    let (mut direct, mut taken, mut dots) = (Vec::new(), Vec::new(), Vec::new());
    let rate = |figures: &Figures| compare.files as f64 / 1e6 / figures.took.as_secs_f64();
    for round in 1..=compare.rounds {
        println!("round {round}: a message of attachments");
        direct.push(rate(&load::large::run(&load(thrown_at, compare.files)).await?));
        let mut figures = load::large::run(&load(gateway.address, compare.files)).await?;
        taken.push(rate(&figures));
        dots.push(figures.times.permille(1000));
    }
    drop(thrown);
    load::large::run(&load(gateway.address, SMALL / 3 * 4)).await?;
    let most = most_resident(gateway.pid());
    table.row(
        Row::new("message of attachments; sink, MB/s", vec![median(taken), median(direct)])
            .times_at_least(0.5),
    );
    table.row(Row::new("its final dot, ms", vec![median(dots)]).at_most(2000.0));
    table.row(Row::new("memory at most meanwhile, MB", vec![most as f64 / 1e6]).at_most(40.0));
    let wanted = compare.rounds + 1;
    let arrived = hop.wait(|counters| counters.messages >= wanted);
    tokio::time::timeout(DRAIN, arrived).await.map_err(|_| format!("not delivered within {DRAIN:?}"))?;
    let messages = hop.messages();
    let mut buttons = Vec::new();
    for message in [messages.first(), messages.last()].into_iter().flatten() {
        buttons.push(button(at, &message.text()).await?);
    }
    let [large, small] = &buttons[..] else { return Err("no links were delivered".to_owned()) };
    let blobs = folder.join("vouchsafe/blobs");
    let file = largest(&blobs).map_err(fault)?.ok_or("no file was stored")?;
    let path = format!("/{}", file.strip_prefix(&blobs).unwrap_or(&file).display());
    let nginx = match compare.against.contains(&Peer::Nginx) {
        true => {
            let identity = SelfSigned::new("nginx.bench.example").map_err(|error| format!("TLS: {error}"))?;
            Some((nginx::start(folder, &blobs, &identity.pem).await?, path))
        }
        false => None,
    };
    fetched(compare, (&gateway, at, large), nginx.as_ref(), false, table).await?;
    gateway.stop().await?;
    let gateway = serving(compare, folder, next_hop, at, true).await?;
    fetched(compare, (&gateway, at, large), nginx.as_ref(), true, table).await?;
    at_once(&gateway, at, small, table).await?;
    gateway.stop().await
}

/// A sink as a program of its own, so that it has a core where there is one; killed when dropped.
async fn sink_alone() -> Outcome<(Child, SocketAddr)> {
    let fault = |error: std::io::Error| format!("the sink: {error}");
    let mut child = Command::new(std::env::current_exe().map_err(fault)?)
        .args(["sink", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(fault)?;
    let mut line = String::new();
    if let Some(said) = child.stdout.take() {
        BufReader::new(said).read_line(&mut line).await.map_err(fault)?;
    }
    let address = line.trim().strip_prefix("listening on ").and_then(|address| address.parse().ok());
    Ok((child, address.ok_or("the sink listens nowhere")?))
}

/// A gateway that puts links in place of large files.
async fn serving(
    compare: &Compare,
    folder: &Path,
    next_hop: SocketAddr,
    downloads: SocketAddr,
    tls: bool,
) -> Outcome<gateway::Running> {
    let tls = if tls { "on" } else { "off" };
    let web = format!(
        "downloads = \"{downloads}\"\ndownloads_tls = \"{tls}\"\npublic_url = \"http://{downloads}\"\n\n\
         [attachments]\noutbound = true\n"
    );
    gateway::start_serving(&compare.gateway, folder, &gateway::relaying(next_hop), &web).await
}

/// Where the button of the page leads to whose link stands in the message.
async fn button(at: SocketAddr, message: &str) -> Outcome<String> {
    let link = message.split_once(&format!("http://{at}/")).and_then(|(_, rest)| rest.get(..TOKEN));
    let link = link.ok_or("a message was delivered without a link")?;
    let head = format!("POST /{link}/0 HTTP/1.1\r\nContent-Length: 0\r\n");
    let answer = browser::ask(at, &head, "").await?;
    let to = answer.head.lines().find_map(|line| line.strip_prefix("location: "));
    to.map(|to| to.trim().to_owned()).ok_or_else(|| format!("the button leads nowhere:\n{}", answer.head))
}

/// The largest file below a folder of folders.
fn largest(folder: &Path) -> std::io::Result<Option<PathBuf>> {
    let mut files = Vec::new();
    for shelf in std::fs::read_dir(folder)? {
        for entry in std::fs::read_dir(shelf?.path())? {
            let entry = entry?;
            files.push((entry.metadata()?.len(), entry.path()));
        }
    }
    Ok(files.into_iter().max().map(|(_, path)| path))
}

/// One download at a time, in turns with nginx.
async fn fetched(
    compare: &Compare,
    (gateway, at, path): (&gateway::Running, SocketAddr, &str),
    nginx: Option<&(nginx::Running, String)>,
    tls: bool,
    table: &mut Table,
) -> Outcome {
    let of = |address, path: &str| Download {
        target: Target { address, tls, from: None, seconds: LONG },
        path: path.to_owned(),
        sessions: 1,
        count: 1,
    };
    let mut servers = vec![(gateway.pid(), of(at, path), Vec::new(), Vec::new())];
    if let Some((nginx, path)) = nginx {
        let address = if tls { nginx.tls } else { nginx.clear };
        servers.push((nginx.pid(), of(address, path), Vec::new(), Vec::new()));
    }
    for round in 1..=compare.rounds {
        println!("round {round}: downloads{}", if tls { " over TLS" } else { "" });
        for (pid, load, rates, cpus) in &mut servers {
            let before = cpu(*pid);
            let figures = load::download::run(load).await?;
            let megabytes = figures.octets as f64 / 1e6;
            rates.push(megabytes / figures.took.as_secs_f64());
            cpus.push(cpu(*pid).saturating_sub(before).as_secs_f64() * 1e6 / megabytes);
        }
    }
    let names = match tls {
        false => ("download in clear; nginx, MB/s", "its CPU, ms a GB"),
        true => ("download over TLS; nginx, MB/s", "its CPU over TLS, ms a GB"),
    };
    let rates = servers.iter().map(|server| median(server.2.clone())).collect();
    let cpus = servers.iter().map(|server| median(server.3.clone())).collect();
    table.row(Row::new(names.0, rates).times_at_least(0.8));
    table.row(Row::new(names.1, cpus));
    Ok(())
}

/// A hundred downloads at once, over TLS, twice: memory is theirs and does not grow.
async fn at_once(gateway: &gateway::Running, at: SocketAddr, path: &str, table: &mut Table) -> Outcome {
    let mut peaks = Vec::new();
    for pass in 1..=2 {
        println!("pass {pass}: {} downloads at once", u64::from(FROM) * EACH);
        forget_most(gateway.pid()).map_err(|error| format!("the gateway's memory: {error}"))?;
        let from = |last| Download {
            target: Target {
                address: at,
                tls: true,
                from: Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))),
                seconds: LONG,
            },
            path: path.to_owned(),
            sessions: EACH,
            count: EACH,
        };
        let loads = [from(2), from(3), from(1 + FROM)];
        let (a, b, c) = tokio::join!(
            load::download::run(&loads[0]),
            load::download::run(&loads[1]),
            load::download::run(&loads[2])
        );
        let odd = a?.odd.len() + b?.odd.len() + c?.odd.len();
        if odd > 0 {
            return Err("some of the downloads at once failed".to_owned());
        }
        peaks.push(most_resident(gateway.pid()) as f64 / 1e6);
    }
    peaks.reverse();
    table.row(Row::new("memory at 102 downloads; before, MB", peaks).times_at_most(1.1));
    Ok(())
}
