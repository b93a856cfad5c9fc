//! Runs `transcripts/client` on the client machine: as written, and with the peer's octets in small pieces. One alone:
//! `TRANSCRIPT=reply_mixed cargo test -p vouchsafe-smtp --test client_transcripts`.

use std::path::Path;

use vouchsafe_testkit::client_world::run_folder;

#[test]
fn client_transcripts_hold() {
    run_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../transcripts/client"), &|_, _| None);
}
