//! Trial: what a delegate would have decided, had it been believed. What was found is kept in the history as events of
//! the kind [`KIND`], and summed up here for whoever asks (`vouchsafe trial`). Pure.
//!
//! A finding never lets anyone in and keeps nobody out: the permit of a recipient on trial is made by
//! [`crate::policy::Ask::on_trial`], which only a domain with a name of its own has.
//! Proof: the tests below, `transcripts/e2e/trial_*`.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ports::HistoryEvent;
use crate::time::Timestamp;
use crate::verdict::Verdict;

/// The kind of its events in the history.
pub const KIND: &str = "trial";

/// What was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "TrialSubject")]
pub enum Subject {
    /// A recipient; it was taken.
    Recipient,
    /// A login; another source decided.
    Login,
}

/// What would have come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "TrialOutcome")]
pub enum Would {
    /// A permanent no, where there was a yes.
    Refused,
    /// "Try again later".
    Deferred,
    /// A yes, where there was a no.
    LetIn,
}

impl Would {
    /// In words: `would have been ...`.
    pub fn words(self) -> &'static str {
        match self {
            Would::Refused => "refused",
            Would::Deferred => "deferred",
            Would::LetIn => "let in",
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was asked about.
    pub subject: Subject,
    /// What would have come of it.
    pub would: Would,
    /// Who said so.
    pub delegate: String,
    /// Its words.
    pub said: String,
}

impl Finding {
    /// A recipient that was taken, by what its sources said; `None`: they would have taken it too.
    pub fn of_recipient(delegate: &str, verdict: &Verdict) -> Option<Finding> {
        let (would, said) = match verdict {
            Verdict::Accept(_) => return None,
            Verdict::Reject { said, .. } => (Would::Refused, said.to_string()),
            Verdict::Unavailable { cause, .. } => (Would::Deferred, cause.clone()),
            Verdict::PassOn { tell, .. } => (Would::Deferred, tell.to_string()),
        };
        Some(Finding { subject: Subject::Recipient, would, delegate: delegate.to_owned(), said })
    }

    /// A login that another source decided, by what the delegate said; `None`: they agree, or one could not tell.
    pub fn of_login(delegate: &str, decided: &Verdict, said: &Verdict) -> Option<Finding> {
        let (would, said) = match (decided, said) {
            (Verdict::Accept(_), Verdict::Reject { said, .. }) => (Would::Refused, said.to_string()),
            (Verdict::Accept(_), Verdict::PassOn { tell, .. }) => (Would::Refused, tell.to_string()),
            (Verdict::Accept(_), Verdict::Unavailable { cause, .. }) => (Would::Deferred, cause.clone()),
            (Verdict::Reject { .. }, Verdict::Accept(said)) => (Would::LetIn, said.to_string()),
            _ => return None,
        };
        Some(Finding { subject: Subject::Login, would, delegate: delegate.to_owned(), said })
    }

    /// Reads it back from an event's detail.
    pub fn parse(detail: &str) -> Option<Finding> {
        let (subject, rest) = match detail.split_once(" would have been ")? {
            ("recipient", rest) => (Subject::Recipient, rest),
            ("login", rest) => (Subject::Login, rest),
            _ => return None,
        };
        let (would, rest) = [Would::Refused, Would::Deferred, Would::LetIn]
            .into_iter()
            .find_map(|would| Some((would, rest.strip_prefix(would.words())?.strip_prefix(" by ")?)))?;
        let (delegate, said) = rest.split_once(": ")?;
        Some(Finding { subject, would, delegate: delegate.to_owned(), said: said.to_owned() })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = match self.subject {
            Subject::Recipient => "recipient",
            Subject::Login => "login",
        };
        let (would, delegate) = (self.would.words(), &self.delegate);
        // One line: words of several lines are joined, as the history shows them.
        write!(f, "{subject} would have been {would} by {delegate}: {}", self.said.replace('\n', " "))
    }
}

/// One line of the report: all findings about one address or login that come to the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TrialRow")]
pub struct Row {
    /// What was asked about.
    pub subject: Subject,
    /// The address or login name, in lower case.
    pub whom: String,
    /// What would have come of it.
    pub would: Would,
    /// Who said so.
    pub delegate: String,
    /// How often.
    pub count: u64,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// The words of the last time.
    pub said: String,
}

/// Sums events up: refusals first, then the most frequent. Events of other kinds are passed over.
pub fn report(events: &[HistoryEvent]) -> Vec<Row> {
    let mut rows: BTreeMap<(Would, Subject, String, String), Row> = BTreeMap::new();
    for event in events.iter().filter(|event| event.kind == KIND) {
        let Some(Finding { subject, would, delegate, said }) = Finding::parse(&event.detail) else {
            continue;
        };
        let whom = event.recipient.to_lowercase();
        let key = (would, subject, whom.clone(), delegate.clone());
        let (first, last) = (event.at, event.at);
        let row = rows.entry(key).or_insert(Row {
            subject,
            whom,
            would,
            delegate,
            count: 0,
            first,
            last,
            said: String::new(),
        });
        row.count += 1;
        row.first = row.first.min(event.at);
        if row.last <= event.at {
            (row.last, row.said) = (event.at, said);
        } else if row.said.is_empty() {
            row.said = said;
        }
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.sort_by_key(|row| (row.would, std::cmp::Reverse(row.count)));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use vouchsafe_smtp::Reply;

    fn yes() -> Verdict {
        Verdict::Accept(Reply::new(250, (2, 1, 5), "Ok"))
    }
    fn no() -> Verdict {
        let said = Reply::new(550, (5, 1, 1), "User\nunknown");
        Verdict::Reject { said: said.clone(), tell: said }
    }
    fn unavailable() -> Verdict {
        Verdict::Unavailable { cause: "no answer".to_owned(), alert: false }
    }

    fn event(at: i64, recipient: &str, detail: &str) -> HistoryEvent {
        HistoryEvent {
            at: Timestamp(at),
            session: "s".to_owned(),
            message: None,
            kind: KIND.to_owned(),
            sender: String::new(),
            recipient: recipient.to_owned(),
            blame: String::new(),
            detail: detail.to_owned(),
        }
    }

    #[test]
    fn only_differences_are_findings() {
        let of = |decided: &Verdict, said: &Verdict| Finding::of_login("d", decided, said).map(|f| f.would);
        assert_eq!(of(&yes(), &no()), Some(Would::Refused));
        assert_eq!(of(&yes(), &unavailable()), Some(Would::Deferred));
        assert_eq!(of(&no(), &yes()), Some(Would::LetIn));
        for (decided, said) in [(yes(), yes()), (no(), no()), (no(), unavailable()), (unavailable(), yes())] {
            assert_eq!(of(&decided, &said), None);
        }
        assert_eq!(Finding::of_recipient("d", &yes()), None);
    }

    #[test]
    fn a_finding_is_read_back_from_its_words() {
        for verdict in [no(), unavailable()] {
            let finding = Finding::of_recipient("office", &verdict).unwrap();
            let read = Finding::parse(&finding.to_string()).unwrap();
            assert_eq!(
                (read.subject, read.would, &*read.delegate),
                (Subject::Recipient, finding.would, "office")
            );
        }
        let finding = Finding::of_login("office", &no(), &yes()).unwrap();
        assert_eq!(finding.to_string(), "login would have been let in by office: 250 2.1.5 Ok");
        assert_eq!(Finding::parse(&finding.to_string()), Some(finding));
        assert_eq!(Finding::parse("550 5.1.1 User unknown"), None);
    }

    #[test]
    fn the_report_counts_and_keeps_the_last_words() {
        let refused = |words: &str| format!("recipient would have been refused by office: {words}");
        let events = [
            event(30, "Bob@x.example", &refused("550 third")),
            event(20, "bob@X.example", &refused("550 second")),
            event(10, "bob@x.example", &refused("550 first")),
            event(15, "carol@x.example", "recipient would have been deferred by office: no answer"),
            event(16, "dave@x.example", &refused("550 once")),
            HistoryEvent {
                kind: "refused".to_owned(),
                ..event(17, "erin@x.example", &refused("550 really"))
            },
        ];
        let rows = report(&events);
        let short: Vec<(&str, u64, Would)> =
            rows.iter().map(|row| (row.whom.as_str(), row.count, row.would)).collect();
        assert_eq!(
            short,
            [
                ("bob@x.example", 3, Would::Refused),
                ("dave@x.example", 1, Would::Refused),
                ("carol@x.example", 1, Would::Deferred)
            ]
        );
        assert_eq!(
            (rows[0].first, rows[0].last, &*rows[0].said),
            (Timestamp(10), Timestamp(30), "550 third")
        );
    }
}
