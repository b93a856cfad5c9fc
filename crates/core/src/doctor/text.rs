//! The report for people. Text from the server was made harmless when it was taken down.

use std::fmt;

use super::{About, Grade, Report, Role, Seen, TlsSeen, words};

/// Columns of a line of prose.
const WIDTH: usize = 100;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} looks like {}.", self.host, self.product)?;
        for seen in &self.ports {
            writeln!(f)?;
            port(seen, f)?;
        }
        writeln!(f, "\nWhat it means")?;
        for finding in &self.findings {
            wrap(f, &format!("  {} ", mark(finding.grade)), &finding.what)?;
        }
        let change: Vec<_> = self.findings.iter().filter(|finding| !finding.there.is_empty()).collect();
        if !change.is_empty() {
            writeln!(f, "\nWhat to change there")?;
        }
        for (n, finding) in change.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            for line in &finding.there {
                writeln!(f, "    {line}")?;
            }
        }
        match &self.settings {
            Some(settings) => {
                writeln!(f, "\nSettings to paste here\n")?;
                settings.lines().try_for_each(|line| writeln!(f, "    {line}"))
            }
            None if self.role == Role::Delegate => writeln!(f, "\nNo settings can be proposed yet."),
            None => Ok(()),
        }
    }
}

fn mark(grade: Grade) -> &'static str {
    match grade {
        Grade::Good => "ok     ",
        Grade::Note => "note   ",
        Grade::Change => "change ",
        Grade::Danger => "DANGER ",
    }
}

fn port(seen: &Seen, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match (&seen.banner, &seen.trouble) {
        (Some(banner), _) => writeln!(f, "Port {}: {banner}", seen.port)?,
        (None, Some(trouble)) => return writeln!(f, "Port {}: {}", seen.port, trouble.told),
        (None, None) => return writeln!(f, "Port {}: nothing was said", seen.port),
    }
    if seen.is_open() {
        match &seen.tls {
            Some(tls) => security(tls, f)?,
            None => row(f, "TLS", "not offered")?,
        }
        let (clear, offers) = (seen.mechanisms_in_clear(), seen.offers());
        let told = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(" ") };
        let logins = match (&seen.tls, seen.hello.is_empty()) {
            (Some(_), false) => format!("{} under TLS; in clear text {}", told(&offers.auth), told(&clear)),
            (Some(_), true) => told(&offers.auth),
            (None, _) => told(&clear),
        };
        row(f, "logins", &logins)?;
        if let Some(size) = offers.size.filter(|size| *size > 0) {
            row(f, "size", &format!("up to {size} octets"))?;
        }
    }
    let at_rcpt = seen.answers.iter().map(|answer| (answer, "after"));
    let at_data = seen.answers_at_data.iter().map(|answer| (answer, "to RCPT and DATA, after"));
    for (answer, when) in at_rcpt.chain(at_data) {
        let about = match answer.about {
            About::Known => "known",
            About::MadeUp => "made-up",
            About::Foreign => "foreign",
        };
        let seconds = f64::from(u32::try_from(answer.milliseconds).unwrap_or(u32::MAX)) / 1000.0;
        row(f, about, &format!("{} ({when} {seconds:.1} s)", words(&answer.said)))?;
    }
    match &seen.trouble {
        Some(trouble) => row(f, "ended", &trouble.told),
        None => Ok(()),
    }
}

fn security(tls: &TlsSeen, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let how = if tls.implicit { "from the first octet" } else { "by STARTTLS" };
    row(f, "TLS", &format!("{how}, {}", tls.version))?;
    let judged = match &tls.unverified {
        None => "verifies".to_owned(),
        Some(why) => format!("does not verify: {why}"),
    };
    let names = if tls.names.is_empty() { "no name".to_owned() } else { tls.names.join(", ") };
    let until = tls.expires.as_ref().map_or(String::new(), |day| format!(", valid until {day}"));
    row(f, "", &format!("certificate for {names}{until}: {judged}"))?;
    row(f, "", &format!("its key is {}", tls.pin))
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    writeln!(f, "  {name:<8} {value}")
}

/// A paragraph behind `lead`, the lines after the first one indented as far.
fn wrap(f: &mut fmt::Formatter<'_>, lead: &str, text: &str) -> fmt::Result {
    let indent = lead.chars().count();
    let mut column = indent;
    write!(f, "{lead}")?;
    for (n, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if n > 0 && column + 1 + length > WIDTH {
            write!(f, "\n{:indent$}", "")?;
            column = indent;
        } else if n > 0 {
            write!(f, " ")?;
            column += 1;
        }
        write!(f, "{word}")?;
        column += length;
    }
    writeln!(f)
}
