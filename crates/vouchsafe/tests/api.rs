//! The API of the real binary: tokens, their roles, the same words as page and command line, and what is refused.

mod support;

use std::net::SocketAddr;

use serde_json::json;
use support::http::{self, Answer};
use support::{Scratch, cli};

const JSON: &str = "application/json";

struct Api {
    at: SocketAddr,
    token: String,
}

impl Api {
    fn send(&self, line: &str, body: &str) -> Answer {
        let head = format!("{line} HTTP/1.1\r\nAuthorization: Bearer {}", self.token);
        http::send(self.at, &head, JSON, body)
    }
    fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET /api/v1{path}"), "")
    }
}

fn made(config: &std::path::Path, words: &str) -> String {
    let (code, out, said) = cli(config, &format!("--json admin token add {words}"), "");
    assert_eq!(code, 0, "{said}");
    let out: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    out["token"].as_str().expect("a token").to_owned()
}

#[test]
fn a_program_does_what_the_page_does_as_far_as_its_role_goes() {
    let scratch = Scratch::new();
    let (gateway, at, config) = http::with_page(&scratch, "");
    let admin = Api { at, token: made(&config, "deploy --role admin") };
    let reader = Api { at, token: made(&config, "grafana --days 30") };

    let status = reader.get("/status");
    assert_eq!(status.status, 200, "{}", status.body);
    assert_eq!(status.json()["hostname"], "gw.example.com");
    assert!(status.head.contains("cache-control: no-store"), "{}", status.head);

    // The same words as on the command line, in a problem document.
    let refused = reader.send("POST /api/v1/users", r#"{"name":"alice","password":"correct horse"}"#);
    assert_eq!(refused.status, 403);
    assert!(refused.head.contains("application/problem+json"), "{}", refused.head);
    assert_eq!(refused.json()["detail"], "this needs the role operator; ask an administrator");
    let added = admin.send("POST /api/v1/users", r#"{"name":"alice","password":"correct horse"}"#);
    assert_eq!((added.status, added.json()), (200, json!({ "response": "done" })));
    let again = admin.send("POST /api/v1/users", r#"{"name":"alice","password":"correct horse"}"#);
    assert_eq!(again.status, 422);
    assert_eq!(again.json()["detail"], "user alice is there; `vouchsafe users password alice` changes it");
    assert_eq!(reader.get("/users").json()["users"][0]["name"], "alice");
    assert_eq!(admin.send("DELETE /api/v1/users/alice", "").status, 200);

    let wish = r#"{"changes":[{"key":"queue.expire","value":"3d"}]}"#;
    assert_eq!(admin.send("POST /api/v1/settings", wish).json()["by"], "token deploy");
    let odd = admin.send("POST /api/v1/settings", r#"{"changes":[{"key":"queue.expire","valeu":"3d"}]}"#);
    assert_eq!(odd.status, 400, "{}", odd.body);

    let audit = admin.get("/audit?limit=20&text=token").body;
    assert!(audit.contains("made token grafana as read_only") && audit.contains("added local user alice"));
    assert!(!audit.contains("correct horse") && !audit.contains(&reader.token));
    let tokens = admin.get("/tokens").body;
    assert!(tokens.contains("\"grafana\"") && !tokens.contains(&reader.token), "{tokens}");

    assert_eq!(cli(&config, "admin token remove grafana", "").0, 0);
    assert_eq!(reader.get("/status").status, 401);
    gateway.stop();
}

#[test]
fn what_is_not_understood_changes_nothing() {
    let scratch = Scratch::new();
    let (gateway, at, config) = http::with_page(&scratch, "");
    let api = Api { at, token: made(&config, "x --role admin") };
    // A misspelt filter must not mean the whole queue.
    let misspelt = api.send("POST /api/v1/queue/actions", r#"{"action":"delete","adress":"a@example.com"}"#);
    assert_eq!(misspelt.status, 400);
    assert!(misspelt.body.contains("no field adress here; there are: action, address"), "{}", misspelt.body);
    assert_eq!(api.get("/queue?held=perhaps").status, 400);
    assert_eq!(api.get("/queue?held=true&held=false").status, 400);
    assert_eq!(api.get("/queue?held=true&limit=5").json(), json!({ "response": "queue", "rows": [] }));
    assert_eq!(api.get("/messages/nonsense").status, 400);
    assert_eq!(api.get("/nothing").status, 404);
    assert_eq!(api.send("DELETE /api/v1/status", "").status, 405);
    assert_eq!(api.send("POST /api/v1/users", "{").status, 400);
    let head = format!("POST /api/v1/users HTTP/1.1\r\nAuthorization: Bearer {}", api.token);
    assert_eq!(http::send(at, &head, "text/plain", "{}").status, 415);
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(300_000));
    assert_eq!(api.send("POST /api/v1/users", &large).status, 413);
    gateway.stop();
}

#[test]
fn neither_cookies_nor_wrong_tokens_open_the_api() {
    let scratch = Scratch::new();
    let (gateway, at, config) = http::with_page(&scratch, "");
    let right = Api { at, token: made(&config, "right") };
    let once = gateway.log.wait("the one-time password", |lines| {
        lines.iter().find_map(|line| Some(line.split_once("one-time password for the page: ")?.1.to_owned()))
    });
    let form = format!("once={once}&name=admin&password=correct-horse&again=correct-horse");
    let head = format!("POST /first HTTP/1.1\r\nOrigin: http://{at}");
    let first = http::send(at, &head, "application/x-www-form-urlencoded", &form);
    let cookie = first.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    let cookie = cookie.split(';').next().expect("it has a value");
    let by_cookie = http::send(at, &format!("GET /api/v1/admins HTTP/1.1\r\nCookie: {cookie}"), JSON, "");
    assert_eq!(by_cookie.status, 401);
    assert!(by_cookie.head.contains("www-authenticate: Bearer"), "{}", by_cookie.head);
    let guess = Api { at, token: "vouchsafe_0".to_owned() };
    for _ in 0..5 {
        assert_eq!(guess.get("/status").status, 401);
    }
    let waiting = guess.get("/status");
    assert!(waiting.status == 429 && waiting.head.contains("retry-after: "), "{}", waiting.head);
    assert_eq!(right.get("/status").status, 200);
    gateway.stop();
}

#[test]
fn the_document_is_served_and_the_gateway_tells_when_it_is_ready() {
    let scratch = Scratch::new();
    let (gateway, at, _) = http::with_page(&scratch, "");
    let get = |path: &str| http::send(at, &format!("GET {path} HTTP/1.1"), JSON, "");
    let document = get("/api/openapi.json");
    assert_eq!(document.json()["openapi"], "3.1.0");
    assert!(document.json()["paths"]["/api/v1/messages/{message}"]["get"].is_object());
    let ready = get("/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
    gateway.stop();
}
