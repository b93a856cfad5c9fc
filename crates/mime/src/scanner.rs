//! The scanner: told a message's octets in any pieces, it says which of them belong to which part.
//!
//! Every octet comes out again, once and in order: as the body of a part without parts of its own, or as the frame
//! around bodies (headers, delimiters, preambles, epilogues). Held back is at most one line end and the start of a line
//! that may be a delimiter. Never fails; what is over a limit of [`crate::limits`] or not beyond doubt is a body of its
//! own, marked as [`Header::ambiguous`](crate::Header::ambiguous).
//! Proof: `tests/scanner.rs` (any split gives the same events), `tests/reference.rs` (another parser sees the same).

use memchr::memmem::Finder;

use crate::header::{Gather, Header};
use crate::limits;

/// A part whose header has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number, in the order of the message; the message itself is 0.
    pub id: u32,
    /// The multipart that it is in.
    pub parent: Option<u32>,
    /// Where its delimiter begins, with the line end that belongs to it.
    pub delimiter_at: u64,
    /// Where its header begins.
    pub header_at: u64,
    /// Where its body begins.
    pub body_at: u64,
    /// It has parts of its own, which follow.
    pub is_multipart: bool,
    /// What its header says.
    pub header: Header,
}

/// What the scanner says.
#[derive(Debug)]
pub enum Event<'a> {
    /// A part's header has ended.
    Begin(Box<Part>),
    /// Octets of the body of the part that began last and has not ended.
    Body(&'a [u8]),
    /// Octets that are no such body.
    Frame(&'a [u8]),
    /// A part has ended. Parts end in reverse order, those without an end of their own with the one around them.
    End {
        /// Which.
        id: u32,
        /// Behind the last octet of its body; of a multipart, behind its last part.
        body_end: u64,
        /// Why it is not beyond doubt that it ends here, or that it holds what it seems to.
        doubt: Option<&'static str>,
    },
}

/// Who is told.
pub trait Sink {
    /// The next event.
    fn event(&mut self, event: Event<'_>);
}

/// Where the scanner stands in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// In a part's header.
    Header,
    /// In the body of a part without parts.
    Leaf,
    /// In a multipart, before its first or behind its last part.
    Between,
    /// Nothing more is looked at.
    Rest,
}

/// Where the scanner stands in a line of a body, and so what is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    /// Inside; nothing.
    Inside,
    /// A CR.
    Cr,
    /// A line end: a line begins.
    Line,
    /// A line end and `-`.
    Dash,
    /// A line end and `--`.
    Candidate,
}

/// An open multipart.
#[derive(Debug)]
struct Open {
    id: u32,
    boundary: Vec<u8>,
    digest: bool,
}

/// What a line that begins with `--` is.
enum Judged {
    /// A delimiter of the open multipart at this place.
    Delimiter(usize),
    /// Its last one.
    Close(usize),
    /// Text, though some parser may take it for a delimiter.
    Doubt,
    /// Text.
    Text,
}

/// The scanner; one a message.
#[derive(Debug)]
pub struct Scanner {
    finder: Finder<'static>,
    mode: Mode,
    edge: Edge,
    /// Offset of the first octet that has not been told; `held` begins there.
    told: u64,
    held: Vec<u8>,
    /// Where the line begins in `held`.
    line_at: usize,
    open: Vec<Open>,
    parts: u32,
    fields: usize,
    /// The header that is read: where it began, its line so far, its field so far.
    delimiter_at: u64,
    header_at: u64,
    line: Vec<u8>,
    line_from: u64,
    field: Option<(u64, Vec<u8>)>,
    folds: bool,
    gather: Gather,
    /// The part whose body is read.
    leaf: u32,
    doubt: Option<&'static str>,
}

/// Longest line that may be a delimiter, without its line end.
const CANDIDATE: usize = 4 + limits::BOUNDARY + limits::PADDING;

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner {
            finder: Finder::new(b"\n--"),
            mode: Mode::Header,
            edge: Edge::Line,
            told: 0,
            held: Vec::new(),
            line_at: 0,
            open: Vec::new(),
            parts: 0,
            fields: 0,
            delimiter_at: 0,
            header_at: 0,
            line: Vec::new(),
            line_from: 0,
            field: None,
            folds: false,
            gather: Gather::default(),
            leaf: 0,
            doubt: None,
        }
    }
}

impl Scanner {
    /// Takes the next octets.
    pub fn push(&mut self, octets: &[u8], sink: &mut impl Sink) {
        let mut rest = octets;
        while !rest.is_empty() {
            rest = match self.mode {
                Mode::Header => self.header(rest, sink),
                Mode::Leaf | Mode::Between if !self.open.is_empty() => self.body(rest, sink),
                Mode::Leaf | Mode::Between | Mode::Rest => {
                    self.tell(rest, sink);
                    &[]
                }
            };
        }
    }

    /// The message has ended. What is held back is told, and every part ends.
    pub fn finish(&mut self, sink: &mut impl Sink) {
        let may_be = self.edge == Edge::Candidate || self.mode == Mode::Header && !self.held.is_empty();
        if may_be && self.mode != Mode::Rest {
            let line = &self.held[self.line_at..];
            match self.judge(line) {
                judged @ (Judged::Delimiter(_) | Judged::Close(_)) => self.delimit(judged, sink),
                Judged::Doubt => self.doubt("a line that is almost a delimiter"),
                Judged::Text => {}
            }
        }
        if self.mode == Mode::Header {
            if !self.held.is_empty() {
                self.line_from = self.told;
                self.line.extend_from_slice(&self.held);
            }
            self.flush(sink);
            if !self.line.is_empty() {
                self.header_line();
            }
            if !self.open.is_empty() {
                self.gather.doubt("a header without an empty line behind it");
            }
            if self.mode == Mode::Header {
                self.begin(sink);
            }
        }
        self.flush(sink);
        if !self.open.is_empty() {
            self.doubt("the message ends before this part does");
        }
        if self.mode != Mode::Rest {
            self.end_parts(0, sink);
        }
        self.mode = Mode::Rest;
    }

    /// Tells octets as what they are now.
    fn tell(&mut self, octets: &[u8], sink: &mut impl Sink) {
        if octets.is_empty() {
            return;
        }
        self.told += octets.len() as u64;
        sink.event(if self.mode == Mode::Leaf { Event::Body(octets) } else { Event::Frame(octets) });
    }

    fn flush(&mut self, sink: &mut impl Sink) {
        let held = std::mem::take(&mut self.held);
        self.tell(&held, sink);
        self.held = held;
        self.held.clear();
        self.line_at = 0;
        self.edge = Edge::Inside;
    }

    fn hold(&mut self, octet: u8, edge: Edge) {
        self.held.push(octet);
        self.edge = edge;
        if edge == Edge::Line {
            self.line_at = self.held.len();
        }
    }

    /// Octets of a body, a preamble or an epilogue inside an open multipart.
    fn body<'a>(&mut self, rest: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        match (self.edge, rest[0]) {
            (Edge::Inside, _) => return self.inside(rest, sink),
            (Edge::Cr, b'\n') => self.hold(b'\n', Edge::Line),
            (Edge::Line, b'-') => self.hold(b'-', Edge::Dash),
            (Edge::Dash, b'-') => self.hold(b'-', Edge::Candidate),
            (Edge::Candidate, _) => return self.candidate(rest, sink),
            (Edge::Cr | Edge::Line | Edge::Dash, _) => {
                self.flush(sink);
                return rest;
            }
        }
        &rest[1..]
    }

    /// Tells all up to a line that begins with `--`; holds back what may be the start of one.
    fn inside<'a>(&mut self, rest: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let (end, behind, edge) = match self.finder.find(rest) {
            Some(at) => (at, at + 3, Edge::Candidate),
            None if rest.ends_with(b"\n-") => (rest.len() - 2, rest.len(), Edge::Dash),
            None if rest.ends_with(b"\n") => (rest.len() - 1, rest.len(), Edge::Line),
            None if rest.ends_with(b"\r") => (rest.len(), rest.len(), Edge::Cr),
            None => {
                self.tell(rest, sink);
                return &[];
            }
        };
        // A CR before the LF, or alone at the end, belongs to the line end.
        let start = if rest[..end].ends_with(b"\r") { end - 1 } else { end };
        self.tell(&rest[..start], sink);
        self.held.extend_from_slice(&rest[start..behind]);
        self.line_at = end + usize::from(edge != Edge::Cr) - start;
        self.edge = edge;
        &rest[behind..]
    }

    /// Gathers the line that begins with `--` and judges it.
    fn candidate<'a>(&mut self, rest: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let room = (CANDIDATE + 2).saturating_sub(self.held.len() - self.line_at);
        let window = &rest[..room.min(rest.len())];
        let end = memchr::memchr(b'\n', window).map(|at| at + 1);
        self.held.extend_from_slice(&window[..end.unwrap_or(window.len())]);
        let behind = &rest[end.unwrap_or(window.len())..];
        match end {
            Some(_) => {
                let line = &self.held[self.line_at..];
                let judged = match line.strip_suffix(b"\r\n") {
                    Some(line) => self.judge(line),
                    // Some parsers end lines at a bare LF, some do not.
                    None => match self.judge(&line[..line.len() - 1]) {
                        Judged::Text => Judged::Text,
                        _ => Judged::Doubt,
                    },
                };
                match judged {
                    Judged::Delimiter(_) | Judged::Close(_) => {
                        self.delimit(judged, sink);
                        return behind;
                    }
                    Judged::Doubt => self.doubt("a line that is almost a delimiter"),
                    Judged::Text => {}
                }
                self.line_is_text(sink);
            }
            None if window.len() == room => {
                if matches!(self.judge(&self.held[self.line_at..]), Judged::Text) {
                    self.flush(sink);
                } else {
                    self.doubt("a line that is almost a delimiter");
                    self.flush(sink);
                }
            }
            None => {}
        }
        behind
    }

    /// The line was none: its end may be the start of the next delimiter.
    fn line_is_text(&mut self, sink: &mut impl Sink) {
        let end = if self.held.ends_with(b"\r\n") { 2 } else { 1 };
        let tail = self.held.split_off(self.held.len() - end);
        self.flush(sink);
        self.held = tail;
        self.line_at = end;
        self.edge = Edge::Line;
    }

    /// RFC 2046 §5.1.1: `--`, the boundary, `--` on the last one, blanks. A boundary that only begins the line is text to
    /// most parsers, a delimiter to some.
    fn judge(&self, line: &[u8]) -> Judged {
        let Some(line) = line.strip_prefix(b"--") else { return Judged::Text };
        let blank =
            |tail: &[u8]| tail.len() <= limits::PADDING && tail.iter().all(|octet| b" \t".contains(octet));
        let mut judged = Judged::Text;
        for (level, open) in self.open.iter().enumerate().rev() {
            let Some(tail) = line.strip_prefix(&open.boundary[..]) else { continue };
            let found = match tail.strip_prefix(b"--") {
                _ if blank(tail) => Judged::Delimiter(level),
                Some(tail) if blank(tail) => Judged::Close(level),
                _ => Judged::Doubt,
            };
            judged = match (judged, found) {
                (Judged::Text | Judged::Doubt, found) => found,
                (judged, Judged::Doubt | Judged::Text) => judged,
                // `--a--` where both `a` and `a--` are open.
                (_, _) => return Judged::Doubt,
            };
        }
        judged
    }

    fn doubt(&mut self, why: &'static str) {
        match self.mode {
            Mode::Header => self.gather.doubt(why),
            _ => {
                self.doubt.get_or_insert(why);
            }
        }
    }

    /// `held` is a line end and a delimiter line.
    fn delimit(&mut self, judged: Judged, sink: &mut impl Sink) {
        let (level, close) = match judged {
            Judged::Close(level) => (level, true),
            Judged::Delimiter(level) => (level, false),
            Judged::Doubt | Judged::Text => return,
        };
        if self.mode == Mode::Header {
            self.gather.doubt("a header without an empty line behind it");
            self.begin(sink);
        }
        if level + 1 < self.open.len() {
            self.doubt("the multipart around it does not end");
        }
        let delimiter_at = self.told;
        self.end_parts(level + 1, sink);
        self.mode = Mode::Between;
        self.flush(sink);
        if close {
            self.end_parts(level, sink);
            self.mode = Mode::Between;
            self.edge = Edge::Line;
        } else if self.parts == limits::PARTS {
            self.end_parts(0, sink);
            self.mode = Mode::Rest;
        } else {
            self.mode = Mode::Header;
            self.delimiter_at = delimiter_at;
            self.header_at = self.told;
        }
    }

    /// Ends the leaf and the open multiparts down to `level`.
    fn end_parts(&mut self, level: usize, sink: &mut impl Sink) {
        let body_end = self.told;
        if self.mode == Mode::Leaf {
            sink.event(Event::End { id: self.leaf, body_end, doubt: self.doubt.take() });
            self.mode = Mode::Between;
        }
        while self.open.len() > level {
            if let Some(open) = self.open.pop() {
                sink.event(Event::End { id: open.id, body_end, doubt: None });
            }
        }
        self.doubt = None;
    }

    /// Octets of a header.
    fn header<'a>(&mut self, rest: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let (octets, behind) = rest.split_at(end);
        let starts = self.line.is_empty();
        // A delimiter where a field should be ends the part.
        if !self.open.is_empty() && starts && (octets[0] == b'-' || !self.held.is_empty()) {
            return self.header_candidate(rest, sink);
        }
        if starts {
            self.line_from = self.told;
        }
        self.tell(octets, sink);
        self.keep_line(octets);
        if octets.ends_with(b"\n") {
            self.end_line(sink);
        }
        behind
    }

    /// Keeps what is needed of a line: one that is too long is noticed by its length.
    fn keep_line(&mut self, octets: &[u8]) {
        let room = (limits::FIELD + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&octets[..room.min(octets.len())]);
    }

    fn header_candidate<'a>(&mut self, rest: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let room = (CANDIDATE + 2).saturating_sub(self.held.len());
        let window = &rest[..room.min(rest.len())];
        let end = memchr::memchr(b'\n', window).map(|at| at + 1);
        self.held.extend_from_slice(&window[..end.unwrap_or(window.len())]);
        let behind = &rest[end.unwrap_or(window.len())..];
        if end.is_none() && window.len() < room {
            return behind;
        }
        let line = self.held.strip_suffix(b"\r\n").filter(|_| end.is_some());
        match line.map(|line| self.judge(line)) {
            Some(judged @ (Judged::Delimiter(_) | Judged::Close(_))) => {
                self.delimit(judged, sink);
                return behind;
            }
            Some(Judged::Text) => {}
            Some(Judged::Doubt) | None => self.doubt("a line that is almost a delimiter"),
        }
        self.line_from = self.told;
        let held = std::mem::take(&mut self.held);
        self.tell(&held, sink);
        self.keep_line(&held);
        if end.is_some() {
            self.end_line(sink);
        }
        behind
    }

    fn end_line(&mut self, sink: &mut impl Sink) {
        let is_empty = matches!(&self.line[..], b"\r\n" | b"\n");
        if self.line.ends_with(b"\n") && !self.line.ends_with(b"\r\n") {
            self.gather.doubt("a bare line feed in a header");
        }
        if is_empty {
            self.end_field(self.line_from);
            self.line.clear();
            self.begin(sink);
        } else {
            self.header_line();
        }
    }

    /// One line of a header, perhaps cut at [`limits::FIELD`].
    fn header_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let from = self.line_from;
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            if !self.folds {
                self.gather.doubt("a header that begins with a fold");
            }
            if let Some((_, field)) = &mut self.field {
                let room = (limits::FIELD + 1).saturating_sub(field.len());
                field.extend_from_slice(&line[..room.min(line.len())]);
            }
        } else {
            self.end_field(from);
            self.folds = true;
            if line.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-")) {
                self.field = Some((from, line));
            } else {
                self.gather.field(&line, from, from);
            }
        }
    }

    fn end_field(&mut self, to: u64) {
        if let Some((from, field)) = self.field.take() {
            self.gather.field(&field, from, to);
        }
    }

    /// The header has ended; the body begins at `told`.
    fn begin(&mut self, sink: &mut impl Sink) {
        self.end_field(self.told);
        self.folds = false;
        let digest = self.open.last().is_some_and(|open| open.digest);
        let gather = std::mem::take(&mut self.gather);
        self.fields += gather.octets();
        let mut header = gather.finish(digest);
        if self.fields > limits::FIELDS {
            header.doubt("more Content fields than are looked at");
        }
        let boundary = self.boundary(&mut header);
        let (id, is_multipart) = (self.parts, boundary.is_some());
        self.parts += 1;
        let part = Part {
            id,
            parent: self.open.last().map(|open| open.id),
            delimiter_at: self.delimiter_at,
            header_at: self.header_at,
            body_at: self.told,
            is_multipart,
            header,
        };
        match boundary {
            Some(boundary) => {
                let digest = part.header.sub == "digest";
                self.open.push(Open { id, boundary: boundary.into_bytes(), digest });
                self.mode = Mode::Between;
            }
            None => {
                self.leaf = id;
                self.mode = Mode::Leaf;
            }
        }
        self.doubt = None;
        self.edge = Edge::Line;
        self.line_at = 0;
        sink.event(Event::Begin(Box::new(part)));
    }

    /// The boundary of a multipart that is looked into.
    fn boundary(&self, header: &mut Header) -> Option<String> {
        if header.main != "multipart" {
            return None;
        }
        if !header.coding.is_some_and(|coding| coding.is_identity()) {
            // RFC 2045 §6.4.
            header.doubt("a multipart with a transfer encoding");
        }
        if self.open.len() >= limits::DEPTH {
            header.doubt("multiparts nested too deep");
        }
        let boundary = header.boundary.clone()?;
        if self.open.iter().any(|open| open.boundary == boundary.as_bytes()) {
            header.doubt("a boundary that is in use already");
        }
        header.ambiguous.is_none().then_some(boundary)
    }
}
