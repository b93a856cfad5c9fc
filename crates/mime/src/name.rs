//! File names made safe: one for people to read, one for `Content-Disposition` (RFC 6266).
//!
//! The sender's name is data: it is never a path and never markup. Proof: tests below.

/// Octets of a safe name (what file systems take).
const LENGTH: usize = 255;
/// Octets of what counts as an ending when a name is cut.
const ENDING: usize = 20;

/// A name that is safe to show and to save under; never empty. `media_type` gives the ending of a part without a name.
pub fn safe(name: Option<&str>, media_type: &str) -> String {
    let name: String = name.unwrap_or_default().chars().map(plain).filter(|c| *c != '\0').collect();
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = name.trim_start_matches(['.', '-', ' ', '_', '~']).trim_end_matches(['.', ' ']);
    let name = match name {
        "" => format!("attachment{}", ending(media_type)),
        name if is_device(name) => format!("file {name}"),
        name => name.to_owned(),
    };
    shorten(&name)
}

/// One character as it may stand in a name; NUL for one that may not.
fn plain(c: char) -> char {
    match c {
        // Separators of paths, and what file systems of any kind refuse.
        '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
        '\t' | '\n' | '\r' => ' ',
        // Bidirectional controls, zero-width marks, tags, byte order marks: a name must not lie about its ending.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => '\0',
        '\u{61c}' | '\u{ad}' | '\u{180e}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' => '\0',
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' | '\u{fe00}'..='\u{fe0f}' => '\0',
        '\u{fffe}' | '\u{ffff}' | '\u{e000}'..='\u{f8ff}' => '\0',
        c if c.is_control() => '\0',
        c => c,
    }
}

/// Names that Windows gives to devices, with any ending.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let numbered = |device: &str| {
        stem.strip_prefix(device).is_some_and(|n| n.len() == 1 && n.bytes().all(|c| c.is_ascii_digit()))
    };
    ["con", "prn", "aux", "nul", "conin$", "conout$"].contains(&stem.as_str())
        || numbered("com")
        || numbered("lpt")
}

/// At most [`LENGTH`] octets; the ending stays.
fn shorten(name: &str) -> String {
    if name.len() <= LENGTH {
        return name.to_owned();
    }
    let ending = name.rfind('.').map_or("", |at| &name[at..]);
    let ending = if ending.len() <= ENDING { ending } else { "" };
    let mut room = LENGTH - ending.len();
    while !name.is_char_boundary(room) {
        room -= 1;
    }
    format!("{}{ending}", name[..room].trim_end())
}

fn ending(media_type: &str) -> &'static str {
    let known = [
        ("application/pdf", ".pdf"),
        ("application/zip", ".zip"),
        ("application/msword", ".doc"),
        ("application/vnd.ms-excel", ".xls"),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".docx"),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xlsx"),
        ("application/vnd.openxmlformats-officedocument.presentationml.presentation", ".pptx"),
        ("application/json", ".json"),
        ("audio/mpeg", ".mp3"),
        ("image/gif", ".gif"),
        ("image/jpeg", ".jpg"),
        ("image/png", ".png"),
        ("text/calendar", ".ics"),
        ("text/csv", ".csv"),
        ("text/html", ".html"),
        ("text/plain", ".txt"),
        ("video/mp4", ".mp4"),
    ];
    known.into_iter().find(|(name, _)| *name == media_type).map_or(".bin", |(_, ending)| ending)
}

/// A safe name in ASCII alone; the ending stays.
pub fn ascii(safe: &str) -> String {
    shorten(&ascii_text(safe))
}

/// Text in ASCII alone, as readable as may be.
pub fn ascii_text(text: &str) -> String {
    let fold = |c: char| match c {
        'ä' => "ae".to_owned(),
        'ö' => "oe".to_owned(),
        'ü' => "ue".to_owned(),
        'Ä' => "Ae".to_owned(),
        'Ö' => "Oe".to_owned(),
        'Ü' => "Ue".to_owned(),
        'ß' => "ss".to_owned(),
        'à' | 'á' | 'â' | 'ã' | 'å' => "a".to_owned(),
        'ç' => "c".to_owned(),
        'è' | 'é' | 'ê' | 'ë' => "e".to_owned(),
        'ì' | 'í' | 'î' | 'ï' => "i".to_owned(),
        'ñ' => "n".to_owned(),
        'ò' | 'ó' | 'ô' | 'õ' | 'ø' => "o".to_owned(),
        'ù' | 'ú' | 'û' => "u".to_owned(),
        'À' | 'Á' | 'Â' | 'Ã' | 'Å' => "A".to_owned(),
        'Ç' => "C".to_owned(),
        'È' | 'É' | 'Ê' | 'Ë' => "E".to_owned(),
        'Ñ' => "N".to_owned(),
        'Ò' | 'Ó' | 'Ô' | 'Õ' | 'Ø' => "O".to_owned(),
        'Ù' | 'Ú' | 'Û' => "U".to_owned(),
        'æ' => "ae".to_owned(),
        'œ' => "oe".to_owned(),
        'ł' => "l".to_owned(),
        '–' | '—' => "-".to_owned(),
        '‘' | '’' => "'".to_owned(),
        '\u{a0}' => " ".to_owned(),
        c if c.is_ascii() => c.to_string(),
        _ => "_".to_owned(),
    };
    text.chars().map(fold).collect()
}

/// The field's value for a download: `attachment`, an ASCII name for old clients, the real one for all others.
pub fn content_disposition(safe: &str) -> String {
    // RFC 6266 appendix D: no % in the plain form, some clients decode it.
    let plain = ascii(safe).replace('%', "_");
    if plain == safe {
        return format!("attachment; filename=\"{plain}\"");
    }
    let mut extended = String::new();
    for octet in safe.bytes() {
        // RFC 8187 §3.2.1 attr-char.
        if octet.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&octet) {
            extended.push(char::from(octet));
        } else {
            extended.push_str(&format!("%{octet:02X}"));
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{extended}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangerous_names_are_made_safe() {
        for (name, want) in [
            ("../../etc/passwd", "etc_passwd"),
            (r"C:\temp\a.pdf", "C__temp_a.pdf"),
            (".bashrc", "bashrc"),
            ("--rf", "rf"),
            ("a\u{202e}fdp.exe", "afdp.exe"),
            ("a\u{200b}b\r\nc.txt", "ab c.txt"),
            ("con.txt", "file con.txt"),
            ("COM1", "file COM1"),
            ("comet.txt", "comet.txt"),
            ("a\"b<c>.txt", "a_b_c_.txt"),
            ("end. . ", "end"),
            ("   ", "attachment.pdf"),
            ("Über uns.pdf", "Über uns.pdf"),
        ] {
            assert_eq!(safe(Some(name), "application/pdf"), want, "{name:?}");
        }
        assert_eq!(safe(None, "x/y"), "attachment.bin");
        let long = safe(Some(&format!("{}.pdf", "ü".repeat(300))), "");
        assert!(long.len() <= 255 && long.ends_with("ü.pdf"));
    }

    #[test]
    fn content_disposition_has_an_ascii_fall_back() {
        assert_eq!(content_disposition("a b.pdf"), "attachment; filename=\"a b.pdf\"");
        assert_eq!(
            content_disposition("Größe 5%.pdf"),
            "attachment; filename=\"Groesse 5_.pdf\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%205%25.pdf"
        );
        assert_eq!(
            content_disposition("日.pdf"),
            "attachment; filename=\"_.pdf\"; filename*=UTF-8''%E6%97%A5.pdf"
        );
    }
}
