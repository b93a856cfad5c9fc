//! What an EHLO reply offers (RFC 5321 §4.1.1.1), seen from the client's side.
//! Never carried from before STARTTLS to after it: each EHLO makes a new one (RFC 3207 §4.2).

/// Extensions that a peer offered. Unknown keywords are kept by name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// STARTTLS.
    pub starttls: bool,
    /// PIPELINING.
    pub pipelining: bool,
    /// 8BITMIME.
    pub eight_bit_mime: bool,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// CHUNKING.
    pub chunking: bool,
    /// DSN.
    pub dsn: bool,
    /// ENHANCEDSTATUSCODES.
    pub enhanced_status_codes: bool,
    /// SIZE: `Some(0)` and a bare SIZE mean no limit told.
    pub size: Option<u64>,
    /// AUTH mechanisms, upper case, in the peer's order (`AUTH=` of old servers joined in).
    pub auth: Vec<String>,
    /// Other keywords with their arguments, as sent (XCLIENT, XFORWARD ...).
    pub other: Vec<String>,
}

impl Capabilities {
    /// Reads the text of a reply to EHLO; its first line is a greeting.
    pub fn parse(text: &str) -> Capabilities {
        let mut capabilities = Capabilities::default();
        for line in text.split('\n').skip(1) {
            capabilities.add(line.trim_end());
        }
        capabilities
    }

    /// What stands behind one of the other keywords, if it was offered.
    pub fn arguments(&self, keyword: &str) -> Option<&str> {
        self.other.iter().find_map(|line| {
            let (name, arguments) = line.split_once([' ', '=']).unwrap_or((line, ""));
            name.eq_ignore_ascii_case(keyword).then_some(arguments)
        })
    }

    fn add(&mut self, line: &str) {
        let (keyword, arguments) = line.split_once([' ', '=']).unwrap_or((line, ""));
        match keyword.to_ascii_uppercase().as_str() {
            "STARTTLS" => self.starttls = true,
            "PIPELINING" => self.pipelining = true,
            "8BITMIME" => self.eight_bit_mime = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "CHUNKING" => self.chunking = true,
            "DSN" => self.dsn = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            // RFC 1870 §3: no number, or 0, means that no limit is told. An odd one tells none either.
            "SIZE" => self.size = Some(arguments.trim().parse().unwrap_or(0)),
            "AUTH" => {
                for mechanism in arguments.split_ascii_whitespace() {
                    let mechanism = mechanism.to_ascii_uppercase();
                    if !self.auth.contains(&mechanism) {
                        self.auth.push(mechanism);
                    }
                }
            }
            "" => {}
            _ => self.other.push(line.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_come_in_any_case_and_old_auth_is_joined_in() {
        let text = "mx.example Hello\nsize 1000\nPipelining\nAUTH LOGIN\nAUTH=LOGIN plain\nXCLIENT NAME ADDR\n8BITMIME";
        let found = Capabilities::parse(text);
        assert_eq!(found.size, Some(1000));
        assert!(found.pipelining && found.eight_bit_mime && !found.starttls);
        assert_eq!(found.auth, ["LOGIN", "PLAIN"]);
        assert_eq!(found.other, ["XCLIENT NAME ADDR"]);
    }

    #[test]
    fn the_greeting_is_no_keyword() {
        assert_eq!(Capabilities::parse("STARTTLS"), Capabilities::default());
    }

    #[test]
    fn a_bare_size_tells_no_limit() {
        assert_eq!(Capabilities::parse("x\nSIZE").size, Some(0));
    }
}
