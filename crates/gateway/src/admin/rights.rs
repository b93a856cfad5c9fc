//! Which role a request needs, and what the audit log says of it. What is not named here is for admins and is logged.

use crate::admin::Role;
use crate::control::Request;
use crate::shares::{self, ShareAct};

impl Request {
    /// The least role that may ask for it.
    pub fn needs(&self) -> Role {
        use Request::*;
        match self {
            Status
            | QueueList { .. }
            | QueueShow { .. }
            | UsersList
            | VerdictsList { .. }
            | GuardList
            | TrialReport
            | History { .. }
            | Figures { .. }
            | Running { .. }
            | AttachmentsList { .. }
            | Trace { .. } => Role::ReadOnly,
            QueueAct { .. }
            | QueueBounce { .. }
            | UserAdd { .. }
            | UserPassword { .. }
            | UserRemove { .. }
            | VerdictsExport { .. }
            | VerdictsFlush { .. }
            | GuardLift { .. }
            | AuditList { .. }
            | AttachmentsAct {
                act:
                    ShareAct::Revoke { .. }
                    | ShareAct::Extend { .. }
                    | ShareAct::Release { harmful: false, .. }
                    | ShareAct::Refuse { .. },
                ..
            }
            | AttachmentsAudit { .. }
            | SettingsShow
            | SettingsHistory => Role::Operator,
            _ => Role::Admin,
        }
    }

    /// Whether it makes us talk to another server at the caller's word.
    pub fn is_test(&self) -> bool {
        use Request::*;
        matches!(self, TestRecipient { .. } | TestLogin { .. } | Doctor { .. } | TestMessage { .. })
    }

    /// What the audit log says of it; `None`: it only looks. Never holds a password.
    pub fn sentence(&self) -> Option<String> {
        use Request::*;
        Some(match self {
            Status
            | QueueList { .. }
            | QueueShow { .. }
            | UsersList
            | VerdictsList { .. }
            | GuardList
            | TrialReport
            | History { .. }
            | Figures { .. }
            | Running { .. }
            | AttachmentsList { .. }
            | AttachmentsAudit { .. }
            | Trace { .. }
            | AuditList { .. }
            | SettingsShow
            | SettingsHistory
            | SettingsDraft { .. }
            | AdminsList
            | TokensList
            | SessionsList => return None,
            QueueAct { filter, action } => {
                let what = match (&filter.message, &filter.address) {
                    (Some(message), _) => format!("message {message}"),
                    (None, Some(address)) => format!("messages of {address}"),
                    (None, None) => "all messages".to_owned(),
                };
                format!("queue: {} {what}", format!("{action:?}").to_lowercase())
            }
            QueueBounce { message } => format!("queue: bounce message {message}"),
            AttachmentsAct { filter, act } => {
                format!("attachments: {} {}", act.verb(), shares::named(filter))
            }
            UserAdd { name, .. } => format!("added local user {name}"),
            UserPassword { name, .. } => format!("set the password of local user {name}"),
            UserRemove { name } => format!("removed local user {name}"),
            VerdictsFlush { what } if what.is_empty() => "forgot all verdicts".to_owned(),
            VerdictsFlush { what } => format!("forgot verdicts about {what}"),
            GuardLift { what } => format!("lifted what was held against {what}"),
            SettingsChange { changes } => {
                let keys: Vec<&str> = changes.iter().map(|wish| wish.key.as_str()).collect();
                format!("changed settings: {}", keys.join(", "))
            }
            SettingsRollback { version } => format!("rolled the settings back to version {version}"),
            Doctor { server, .. } => format!("looked at {server} with the doctor"),
            TestMessage { recipient, .. } => format!("sent a test message to {recipient}"),
            TestRecipient { address, .. } => format!("tested recipient {address}"),
            TestLogin { login, .. } => format!("tested login {login}"),
            AdminAdd { name, role, .. } => {
                format!("added administrator {name} as {}", role.label())
            }
            AdminPassword { name, .. } => format!("set the password of administrator {name}"),
            AdminRole { name, role } => {
                format!("made administrator {name} {}", role.label())
            }
            AdminCodesOff { name } => format!("switched one-time codes of {name} off"),
            AdminRemove { name } => format!("removed administrator {name}"),
            TokenAdd { name, role, .. } => format!("made token {name} as {}", role.word()),
            TokenRemove { name } => format!("removed token {name}"),
            SessionEnd { id } => format!("ended session {}", id.get(..8).unwrap_or(id)),
            // A request that is new here: its name, without its fields.
            other => match serde_json::to_value(other) {
                Ok(value) => value["request"].as_str().unwrap_or("a request").to_owned(),
                Err(_) => "a request".to_owned(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_never_reach_the_audit_log() {
        let password = || "open sesame".to_owned();
        let requests = [
            Request::UserAdd { name: "a".into(), password: password() },
            Request::UserPassword { name: "a".into(), password: password() },
            Request::TestLogin { delegate: None, login: "a".into(), password: password() },
            Request::AdminAdd { name: "a".into(), password: Some(password()), role: Role::Admin },
            Request::AdminPassword { name: "a".into(), password: password() },
        ];
        for request in requests {
            let sentence = request.sentence().unwrap();
            assert!(!sentence.contains("sesame"), "{sentence}");
        }
    }

    #[test]
    fn who_may_only_look_may_change_nothing() {
        assert!(Request::Status.needs() == Role::ReadOnly);
        let message = vouchsafe_core::MessageId::at(vouchsafe_core::Timestamp(0));
        assert!(Request::QueueBounce { message }.needs() == Role::Operator);
        assert!(Request::VerdictsFlush { what: String::new() }.needs() == Role::Operator);
        assert!(Request::SettingsRollback { version: 1 }.needs() == Role::Admin);
        assert!(Request::AdminsList.needs() == Role::Admin);
        let act = |act| Request::AttachmentsAct { filter: Default::default(), act };
        assert!(act(ShareAct::Revoke { link: None }).needs() == Role::Operator);
        assert!(act(ShareAct::Erase).needs() == Role::Admin);
        assert!(act(ShareAct::Release { file: None, harmful: false }).needs() == Role::Operator);
        assert!(act(ShareAct::Release { file: None, harmful: true }).needs() == Role::Admin);
        assert!(act(ShareAct::Refuse { file: None }).needs() == Role::Operator);
        assert!(act(ShareAct::Hold { on: false }).needs() == Role::Admin);
    }
}
