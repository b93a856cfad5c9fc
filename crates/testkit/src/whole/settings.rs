//! The settings file that every dialogue of the whole gateway begins with.

use std::collections::BTreeMap;

/// Where a rung has its things.
#[derive(Clone, Debug)]
pub struct Places {
    /// `data_dir`
    pub data_dir: String,
    /// The delegate, asked about logins.
    pub logins: String,
    /// The delegate, asked about recipients.
    pub recipients: String,
    /// The next hop.
    pub next_hop: String,
    /// Addresses of the listeners `mx`, `submission` and `trusted`.
    pub listeners: [String; 3],
}

/// The file, with changes as `set: table.key = value` tells them: a line that is there already is replaced.
pub fn text(places: &Places, changes: &[(String, String)]) -> String {
    let Places { data_dir, logins, recipients, next_hop, listeners: [mx, submission, trusted] } = places;
    let listener =
        |name: &str, address: &str| format!("name = \"{name}\"\nkind = \"{name}\"\naddress = \"{address}\"");
    let base = [
        ("", format!("hostname = \"gate.example\"\ndata_dir = {data_dir:?}")),
        (
            "[delegate.office]",
            format!(
                "auth = {{ host = \"{logins}\", tls = \"off\" }}\nauth_in_clear = true\n\
                 recipients = {{ host = \"{recipients}\", tls = \"off\" }}"
            ),
        ),
        (
            "[[domain]]",
            format!(
                "name = \"example.com\"\nrecipients = [\"delegate:office\"]\n\
                 next_hop = {{ host = \"{next_hop}\", tls = \"off\" }}"
            ),
        ),
        (
            "[relay]",
            format!("logins = \"delegate:office\"\nnext_hop = {{ host = \"{next_hop}\", tls = \"off\" }}"),
        ),
        // No transcript may depend on the name servers of the machine that it is played on.
        ("[authentication]", "verify = false".to_owned()),
        // The default port is for the demo, whose tests look for it there.
        ("[web]", "address = \"127.0.0.1:0\"".to_owned()),
        ("[[listener]] # mx", listener("mx", mx)),
        ("[[listener]] # submission", listener("submission", submission)),
        ("[[listener]] # trusted", listener("trusted", trusted)),
    ];
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (heading, lines) in base {
        tables.insert(heading.to_owned(), lines.lines().map(str::to_owned).collect());
    }
    for (key, value) in changes {
        let (table, key) = key.split_once('.').unwrap_or(("", key));
        let heading = match table {
            "delegate" => "[delegate.office]".to_owned(),
            "domain" => "[[domain]]".to_owned(),
            "mx" | "submission" | "trusted" => format!("[[listener]] # {table}"),
            "" => String::new(),
            other => format!("[{other}]"),
        };
        let lines = tables.entry(heading).or_default();
        lines.retain(|line| line.split(" = ").next() != Some(key));
        lines.push(format!("{key} = {value}"));
    }
    tables.iter().map(|(heading, lines)| format!("{heading}\n{}\n\n", lines.join("\n"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_replaces_its_line_or_makes_its_table() {
        let at = |port: u16| format!("127.0.0.1:{port}");
        let places = Places {
            data_dir: "d".to_owned(),
            logins: at(1),
            recipients: at(2),
            next_hop: at(3),
            listeners: [4, 5, 6].map(at),
        };
        let change = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let text = text(&places, &[change("relay.logins", "\"local\""), change("queue.retry", "[\"1s\"]")]);
        assert!(text.contains("logins = \"local\"") && !text.contains("logins = \"delegate:office\""));
        assert!(text.contains("[queue]\nretry = [\"1s\"]"));
    }
}
