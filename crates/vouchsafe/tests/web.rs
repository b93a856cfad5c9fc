//! The administration page of the real binary, by HTTP/1.1 written by hand: first run, login, a setting changed and told
//! on the command line, and what strangers are refused.

mod support;

use std::net::SocketAddr;

use support::http::{self, Answer};
use support::{Gateway, Scratch, cli};

struct Browser {
    at: SocketAddr,
    cookie: String,
}

impl Browser {
    fn send(&self, head: &str, body: &str) -> Answer {
        let cookie = match self.cookie.as_str() {
            "" => String::new(),
            cookie => format!("\r\nCookie: {cookie}"),
        };
        http::send(self.at, &format!("{head}{cookie}"), "application/x-www-form-urlencoded", body)
    }
    fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1"), "")
    }
    fn post(&self, path: &str, body: &str) -> Answer {
        self.send(&format!("POST {path} HTTP/1.1\r\nOrigin: http://{}", self.at), body)
    }
    /// The token of this session's forms.
    fn token(&self) -> String {
        let page = self.get("/").body;
        let rest = page.split_once("name=\"csrf\" value=\"").expect("the page has a form").1;
        rest.split('"').next().expect("a value ends").to_owned()
    }
}

fn start(scratch: &Scratch) -> (Gateway, Browser, std::path::PathBuf) {
    let (gateway, at, config) = http::with_page(scratch, "");
    (gateway, Browser { at, cookie: String::new() }, config)
}

fn enter(gateway: &Gateway, browser: &mut Browser) {
    let once = gateway.log.wait("the one-time password", |lines| {
        lines.iter().find_map(|line| Some(line.split_once("one-time password for the page: ")?.1.to_owned()))
    });
    let form = format!("once={once}&name=admin&password=correct-horse&again=correct-horse");
    let answer = browser.post("/first", &form);
    assert_eq!(answer.status, 303, "{}", answer.body);
    let cookie = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
    browser.cookie = cookie.split(';').next().expect("it has a value").to_owned();
}

#[test]
fn the_first_administrator_changes_a_setting_and_the_command_line_knows() {
    let scratch = Scratch::new();
    let (gateway, mut browser, config) = start(&scratch);
    assert_eq!(browser.get("/").status, 303);
    enter(&gateway, &mut browser);
    for page in ["/", "/messages", "/queue", "/delegates", "/settings", "/settings?section=queue", "/admins"]
    {
        let answer = browser.get(page);
        assert_eq!(answer.status, 200, "{page}: {}", answer.body);
        assert!(answer.head.contains("default-src 'none'"), "{page}: {}", answer.head);
        assert!(answer.body.len() < 100_000, "{page}");
    }
    let token = browser.token();
    let draft = browser.post("/settings/draft", &format!("csrf={token}&queue.expire=3d"));
    assert!(draft.body.contains("+ queue.expire = &#34;3d&#34;"), "{}", draft.body);
    let bad = browser.post("/settings/draft", &format!("csrf={token}&queue.expire=soon"));
    assert!(bad.body.contains("is not a time"), "{}", bad.body);
    let changes = "%5B%7B%22key%22%3A%22queue.expire%22%2C%22value%22%3A%223d%22%7D%5D";
    let changed = browser.post("/settings/change", &format!("csrf={token}&changes={changes}"));
    assert_eq!(changed.status, 303, "{}", changed.body);
    let (code, shown, _) = cli(&config, "settings show --changed", "");
    assert!(
        code == 0 && shown.lines().any(|line| line.starts_with("queue.expire") && line.contains("stored")),
        "{shown}"
    );
    let (code, _, said) = cli(&config, "settings set hostname other.example.com", "");
    assert!(code == 1 && said.contains("stands in the settings file"), "{said}");
    let (code, back, _) = cli(&config, "settings rollback 0", "");
    assert!(code == 0 && back.contains("+ queue.expire = \"5d\""), "{back}");
    let audit = browser.get("/admins").body;
    assert!(audit.contains("changed settings: queue.expire"), "{audit}");
    gateway.stop();
}

#[test]
fn strangers_and_other_sites_get_nowhere() {
    let scratch = Scratch::new();
    let (gateway, mut browser, _) = start(&scratch);
    let form = "once=guess&name=admin&password=correct-horse&again=correct-horse";
    assert_eq!(browser.post("/first", form).status, 400);
    enter(&gateway, &mut browser);
    // No Origin, another's Origin, no token of the session.
    assert_eq!(browser.send("POST /logout HTTP/1.1", "").status, 403);
    assert_eq!(browser.send("POST /logout HTTP/1.1\r\nOrigin: http://evil.example", "").status, 403);
    assert_eq!(browser.post("/queue/act", "csrf=guess&action=delete").status, 403);
    // What a front end could read differently: the connection is closed, the service never sees it.
    for fields in ["Content-Length: 5", "Transfer-Encoding: chunked", "Host: evil.example"] {
        let answer = browser.send(&format!("GET /login HTTP/1.1\r\n{fields}"), "");
        assert_eq!(answer.status, 400, "{fields}");
        assert!(answer.head.contains("connection: close"), "{fields}: {}", answer.head);
    }
    let stranger = Browser { at: browser.at, cookie: "vouchsafe=0123".to_owned() };
    assert_eq!(stranger.get("/settings").status, 303);
    for wrong in 0..5 {
        let answer = stranger.post("/login", "name=admin&password=not-this-one");
        assert_eq!(answer.status, 401, "attempt {wrong}");
    }
    assert_eq!(stranger.post("/login", "name=admin&password=correct-horse").status, 429);
    let token = browser.token();
    assert_eq!(browser.post("/logout", &format!("csrf={token}")).status, 303);
    assert_eq!(browser.get("/").status, 303);
    gateway.stop();
}
