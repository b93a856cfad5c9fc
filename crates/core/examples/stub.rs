//! Writes the HTML block of a stub within a small mail, to be looked at in a browser:
//! `cargo run -p vouchsafe-core --example stub -- de > stub.html`.

use vouchsafe_core::Timestamp;
use vouchsafe_core::stub::{Block, File, Language, Span};

fn main() {
    let language = std::env::args().nth(1).and_then(|tag| Language::of(&tag)).unwrap_or(Language::English);
    let file = |name: &str, media_type: &str, size| File {
        name: name.to_owned(),
        media_type: media_type.to_owned(),
        size,
    };
    let files = [
        file("Quarterly report 2026.pdf", "application/pdf", 28_140_000),
        file(
            "Grundriss_Erdgeschoss_Variante_B_final_final_mit_einem_sehr_langen_Namen.dwg",
            "image/vnd.dwg",
            3_312_000_000,
        ),
        file("日本語の資料.xlsx", "application/vnd.ms-excel", 912_000),
        file("דוח שנתי 2026 (סופי).pdf", "application/pdf", 4_120_000),
    ];
    let block = Block { files: &files, until: Timestamp(1_798_070_400_000_000), language };
    let link = "https://files.example.com/abcdefghijklmnopqrstuvwxyz234567";
    let shown = |span: &Span| match span {
        Span::Text(text) => text.clone(),
        Span::Link => link.to_owned(),
    };
    let html: String = block.html().iter().map(shown).collect();
    println!(
        "<!doctype html><meta name=viewport content=\"width=device-width\"><body><p>Hello Bob,</p>\
        <p>here are the drawings that we spoke about.</p><p>Alice</p>{html}</body>"
    );
}
