//! One row an endpoint: method, path, and the request of `control` that it is. What it takes and answers, what it needs and
//! what it is for stand at the types of `control` alone.
//!
//! Proof: a test below fails for a request that has no row.

/// What a program does with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Looks.
    Get,
    /// Adds or acts.
    Post,
    /// Sets.
    Put,
    /// Removes.
    Delete,
}

impl Method {
    /// As OpenAPI writes it.
    pub fn word(self) -> &'static str {
        match self {
            Method::Get => "get",
            Method::Post => "post",
            Method::Put => "put",
            Method::Delete => "delete",
        }
    }

    /// Whether fields that are not in the path come as JSON, not in the query.
    pub fn has_body(self) -> bool {
        matches!(self, Method::Post | Method::Put)
    }
}

/// An endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// How it is asked.
    pub method: Method,
    /// Beneath [`PREFIX`]; `{name}` is a field of the request.
    pub path: &'static str,
    /// The request, as `control` tags it.
    pub request: &'static str,
    /// The response, as `control` tags it.
    pub response: &'static str,
}

/// Where all of them are.
pub(crate) const PREFIX: &str = "/api/v1";

const fn row(method: Method, path: &'static str, request: &'static str, response: &'static str) -> Endpoint {
    Endpoint { method, path, request, response }
}

use Method::{Delete, Get, Post, Put};

/// All of them.
pub(crate) const TABLE: &[Endpoint] = &[
    row(Get, "/status", "status", "status"),
    row(Get, "/queue", "queue_list", "queue"),
    row(Post, "/queue/actions", "queue_act", "changed"),
    row(Post, "/messages/{message}/bounce", "queue_bounce", "bounced"),
    row(Get, "/messages/{message}", "queue_show", "message"),
    row(Get, "/history", "history", "history"),
    row(Get, "/figures", "figures", "figures"),
    row(Get, "/running", "running", "running"),
    row(Get, "/trace", "trace", "line"),
    row(Get, "/trial", "trial_report", "trial"),
    row(Get, "/users", "users_list", "users"),
    row(Post, "/users", "user_add", "done"),
    row(Put, "/users/{name}/password", "user_password", "done"),
    row(Delete, "/users/{name}", "user_remove", "done"),
    row(Get, "/verdicts", "verdicts_list", "verdicts"),
    row(Get, "/verdicts/addresses", "verdicts_export", "addresses"),
    row(Post, "/verdicts/flush", "verdicts_flush", "changed"),
    row(Get, "/guard", "guard_list", "guard"),
    row(Post, "/guard/lift", "guard_lift", "done"),
    row(Post, "/tests/recipient", "test_recipient", "tested"),
    row(Post, "/tests/login", "test_login", "tested"),
    row(Post, "/tests/server", "doctor", "examined"),
    row(Post, "/tests/message", "test_message", "sent"),
    row(Get, "/settings", "settings_show", "settings"),
    row(Post, "/settings", "settings_change", "version"),
    row(Post, "/settings/draft", "settings_draft", "draft"),
    row(Get, "/settings/versions", "settings_history", "versions"),
    row(Post, "/settings/rollback", "settings_rollback", "version"),
    row(Get, "/admins", "admins_list", "admins"),
    row(Post, "/admins", "admin_add", "done"),
    row(Put, "/admins/{name}/password", "admin_password", "done"),
    row(Put, "/admins/{name}/role", "admin_role", "done"),
    row(Delete, "/admins/{name}/codes", "admin_codes_off", "done"),
    row(Delete, "/admins/{name}", "admin_remove", "done"),
    row(Get, "/tokens", "tokens_list", "tokens"),
    row(Post, "/tokens", "token_add", "token"),
    row(Delete, "/tokens/{name}", "token_remove", "done"),
    row(Get, "/sessions", "sessions_list", "sessions"),
    row(Delete, "/sessions/{id}", "session_end", "done"),
    row(Get, "/attachments", "attachments_list", "shares"),
    row(Post, "/attachments/actions", "attachments_act", "shares_changed"),
    row(Get, "/attachments/audit", "attachments_audit", "share_audit"),
    row(Get, "/audit", "audit_list", "audit"),
];
