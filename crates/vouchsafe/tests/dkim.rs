//! `vouchsafe dkim`: a key is made, its record is put into DNS, and the check finds it there, or says what is wrong.

mod support;

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use support::{Scratch, cli};
use vouchsafe_fakes::dns::NameServer;

#[test]
fn a_key_is_made_once_and_checked_against_dns() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(NameServer::start()).unwrap();
    let scratch = Scratch::new();
    let mut text = format!(
        "hostname = \"gate.example\"\ndata_dir = {:?}\n[[listener]]\nname = \"mx\"\nkind = \"mx\"\naddress = \"127.0.0.1:0\"\n\
         [authentication]\nname_servers = [\"{}\"]\n",
        scratch.path("data").display().to_string(),
        server.address()
    );
    let config = scratch.write("vouchsafe.toml", &text);
    for (selector, more) in [("r1", ""), ("e1", " --ed25519")] {
        let file = scratch.path(&format!("{selector}.pem"));
        let words = format!("dkim make x.example --selector {selector} --key {}{more}", file.display());
        let (code, out, said) = cli(&config, &format!("{words} --json"), "");
        assert_eq!((code, said.as_str()), (0, ""), "{words}");
        let made: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(made["name"], format!("{selector}._domainkey.x.example"));
        text += made["settings"].as_str().unwrap();
        if selector == "r1" {
            server.txt(made["name"].as_str().unwrap(), made["record"].as_str().unwrap());
        }
        let (code, _, said) = cli(&config, &words, "");
        assert!(code == 1 && said.contains("is there already"), "a key is never overwritten: {said}");
    }
    scratch.write("vouchsafe.toml", &text);
    assert_eq!(cli(&config, "check", "").0, 0);
    let (code, out, said) = cli(&config, "dkim check x.example", "");
    assert!(out.contains("r1._domainkey.x.example: good"), "{out}{said}");
    assert!(
        code == 1
            && out.contains("e1._domainkey.x.example: perm error")
            && out.contains("v=DKIM1; k=ed25519; p="),
        "{out}"
    );
    let (code, _, said) = cli(&config, "dkim check y.example", "");
    assert!(code == 1 && said.contains("no key of y.example"), "{said}");
    let (code, _, said) = cli(&config, "dkim make x_.example", "");
    assert!(code == 2 && said.contains("is no domain"), "{said}");
}
