//! What a recipient sees in place of files that were moved: a block in the text and in the HTML body, or a part of its
//! own where there is no body to put it.
//!
//! A block is spans of text with the place of the link between them; how it is coded is the business of
//! [`crate::rewrite`]. The sender's names are escaped here and nowhere else. Proof: tests below; screenshots are made of
//! what `examples/stub.rs` writes.

mod words;

pub use words::Language;

use crate::time::Timestamp;

/// Files that a block names; of more it says how many.
const NAMED: usize = 40;

/// A file as a block names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, made safe.
    pub name: String,
    /// `application/pdf`.
    pub media_type: String,
    /// Octets.
    pub size: u64,
}

impl File {
    /// What people call its type: the ending of its name, else the subtype.
    fn kind(&self) -> String {
        let ending = self.name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let is_short = (1..=5).contains(&ending.len()) && ending.bytes().all(|c| c.is_ascii_alphanumeric());
        match self.media_type.rsplit_once('/') {
            _ if is_short => ending.to_ascii_uppercase(),
            Some((_, sub)) => sub.to_owned(),
            None => String::new(),
        }
    }
}

/// A stretch of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Span {
    /// Text.
    Text(String),
    /// The recipient's link.
    Link,
}

/// What a block says.
#[derive(Clone, Debug)]
pub struct Block<'a> {
    /// The files.
    pub files: &'a [File],
    /// Until when they can be had.
    pub until: Timestamp,
    /// In which language.
    pub language: Language,
}

impl Block<'_> {
    fn total(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    fn rest(&self) -> Option<usize> {
        self.files.len().checked_sub(NAMED).filter(|rest| *rest > 0)
    }

    /// For a text body: whole lines, the link on a line of its own.
    pub fn text(&self) -> Vec<Span> {
        const RULE: &str = "------------------------------------------------------------\r\n";
        let language = self.language;
        let until = language.until(&language.day(self.until));
        let above = format!(
            "{RULE}{} ({})\r\n{until}\r\n\r\n",
            language.title(self.files.len()),
            language.size(self.total())
        );
        let mut below = "\r\n\r\n".to_owned();
        for file in self.files.iter().take(NAMED) {
            below += &format!("- {} ({}, {})\r\n", file.name, file.kind(), language.size(file.size));
        }
        if let Some(rest) = self.rest() {
            below += &format!("+ {rest}\r\n");
        }
        below += RULE;
        vec![Span::Text(above), Span::Link, Span::Text(below)]
    }

    /// For an HTML body, in ASCII. No background of its own, so that it looks right in a dark view too.
    pub fn html(&self) -> Vec<Span> {
        let language = self.language;
        let mut above = format!(
            "\r\n<div dir=\"ltr\" style=\"margin:24px 0 16px;max-width:560px;border:1px solid #8a94a6;border-radius:8px;\
            padding:16px 18px;font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-size:14px;\
            line-height:20px;text-align:left\">\r\n<div style=\"font-weight:bold\">{} <span style=\"font-weight:normal\">\
            ({})</span></div>\r\n<table role=\"presentation\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" \
            style=\"width:100%;border-collapse:collapse;margin:10px 0 14px;font-size:14px;line-height:20px\">\r\n",
            escape(&language.title(self.files.len())),
            escape(&language.size(self.total()))
        );
        let row = |name: &str, facts: &str| {
            format!(
                "<tr><td style=\"padding:3px 16px 3px 0;word-break:break-word\">{}</td>\
                <td style=\"padding:3px 0;white-space:nowrap;text-align:right;vertical-align:top\">{}</td></tr>\r\n",
                escape(name),
                escape(facts)
            )
        };
        for file in self.files.iter().take(NAMED) {
            above += &row(&file.name, &format!("{}, {}", file.kind(), language.size(file.size)));
        }
        if let Some(rest) = self.rest() {
            above += &row(&format!("+ {rest}"), "");
        }
        above += "</table>\r\n<a href=\"";
        let between = format!(
            "\" style=\"display:inline-block;background:#1f5fbf;color:#ffffff;text-decoration:none;\
            border-radius:6px;padding:9px 20px;font-weight:bold\">{}</a>\r\n\
            <div style=\"margin-top:12px;font-size:12px;line-height:18px\">{}<br>\r\n\
            <span style=\"word-break:break-all\">",
            escape(language.download()),
            escape(&language.until(&language.day(self.until)))
        );
        let below = "</span></div>\r\n</div>\r\n".to_owned();
        vec![Span::Text(above), Span::Link, Span::Text(between), Span::Link, Span::Text(below)]
    }
}

/// Text as HTML in ASCII: whatever the charset of the body, it reads the same.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            ' '..='~' => out.push(c),
            c => out.push_str(&format!("&#{};", u32::from(c))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(count: usize) -> Vec<File> {
        let file = |at| File {
            name: format!("Plan <b>\"ü\" {at}.pdf"),
            media_type: "application/pdf".to_owned(),
            size: 1_500_000,
        };
        (0..count).map(file).collect()
    }

    fn shown(spans: &[Span]) -> String {
        let shown = |span: &Span| match span {
            Span::Text(text) => text.clone(),
            Span::Link => "LINK".to_owned(),
        };
        spans.iter().map(shown).collect()
    }

    #[test]
    fn a_text_block_names_files_sizes_types_day_and_link() {
        let files = files(1);
        let block =
            Block { files: &files, until: Timestamp(1_796_083_200_000_000), language: Language::German };
        let text = shown(&block.text());
        let rule = "-".repeat(60);
        assert_eq!(
            text,
            format!(
                "{rule}\r\n1 Datei zum Herunterladen (1,5 MB)\r\nVerfügbar bis 1. Dezember 2026\r\n\r\nLINK\r\n\r\n\
                - Plan <b>\"ü\" 0.pdf (PDF, 1,5 MB)\r\n{rule}\r\n"
            )
        );
    }

    #[test]
    fn an_html_block_is_ascii_and_names_are_no_markup() {
        let files = files(NAMED + 2);
        for (_, language) in Language::ALL {
            let block = Block { files: &files, until: Timestamp(0), language };
            let html = shown(&block.html());
            assert!(
                html.is_ascii()
                    && !html.contains("<b>")
                    && html.contains("Plan &lt;b&gt;&quot;&#252;&quot; 3.pdf")
            );
            assert!(html.contains("<a href=\"LINK\"") && html.contains("+ 2"));
            assert!(html.split("\r\n").all(|line| line.len() < 900));
        }
    }
}
