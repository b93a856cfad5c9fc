//! What the scanner's events say within one chunk: octets for the spool, octets of the part that streams, parts that
//! wait for a decision. No I/O; emptied after every chunk.

use vouchsafe_core::detach::{Armour, Role, Rules, role};
use vouchsafe_core::rewrite::Place;
use vouchsafe_mime::{Coding, Decoder, Event, Sink};

/// A part that has ended, is clean and whole in the spool.
pub(super) struct Waiting {
    pub id: u32,
    pub coding: Coding,
    /// Decoded octets.
    pub size: u64,
    pub body_at: u64,
    pub body_end: u64,
}

/// A text that is looked through for PGP.
struct Text {
    decoder: Decoder,
    armour: Armour,
}

/// A file that has begun and not ended.
pub(super) struct Open {
    pub id: u32,
    pub coding: Coding,
    pub body_at: u64,
    decoder: Decoder,
    size: u64,
    clean: bool,
}

pub(super) struct State {
    rules: Rules,
    pub places: Vec<Place>,
    /// Octets for the spool.
    pub spool: Vec<u8>,
    pub waiting: Vec<Waiting>,
    open: Option<Open>,
    text: Option<Text>,
    /// A text holds a PGP message: nothing more is taken out.
    sealed: bool,
    /// The part that streams, and whether its raw octets go to the spool, too.
    pub stream: Option<(u32, bool)>,
    /// Its octets.
    pub streamed: Vec<u8>,
    /// It has ended: where, and whether that is in doubt.
    pub stream_end: Option<(u64, bool)>,
    /// The part whose body is told.
    current: u32,
    scratch: Vec<u8>,
}

impl Text {
    fn of(coding: Coding) -> Text {
        Text { decoder: Decoder::new(coding), armour: Armour::default() }
    }
}

impl State {
    pub fn new(rules: Rules) -> State {
        State {
            rules,
            places: Vec::new(),
            spool: Vec::new(),
            waiting: Vec::new(),
            open: None,
            text: None,
            sealed: false,
            stream: None,
            streamed: Vec::new(),
            stream_end: None,
            current: 0,
            scratch: Vec::new(),
        }
    }

    /// The part stays in the message.
    pub fn keep(&mut self, id: u32) {
        self.places[id as usize].role = Role::Keep;
        self.stream = None;
    }

    /// Decoded octets of the open file so far; 0 if there is none or it is not clean.
    pub fn open_size(&self) -> u64 {
        self.open.as_ref().filter(|open| open.clean).map_or(0, |open| open.size)
    }

    pub fn open_file(&self) -> Option<&Open> {
        self.open.as_ref().filter(|open| open.clean)
    }

    /// The open file streams from now on.
    pub fn stream(&mut self, id: u32, keep_raw: bool) {
        self.open = None;
        self.stream = Some((id, keep_raw));
    }

    fn body(&mut self, octets: &[u8]) {
        if let Some((id, keep_raw)) = self.stream
            && id == self.current
            && self.stream_end.is_none()
        {
            self.streamed.extend_from_slice(octets);
            if keep_raw {
                self.spool.extend_from_slice(octets);
            }
            return;
        }
        self.spool.extend_from_slice(octets);
        if let Some(text) = &mut self.text {
            self.scratch.clear();
            // What does not decode is looked through as far as it does.
            let _ = text.decoder.push(octets, &mut self.scratch);
            if text.armour.push(&self.scratch) {
                self.seal();
            }
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.clean) {
            self.scratch.clear();
            open.clean = open.decoder.push(octets, &mut self.scratch).is_ok();
            open.size += self.scratch.len() as u64;
        }
    }

    /// The text that is told is part of a message that is not to be altered. Files that are gone by now stay gone.
    fn seal(&mut self) {
        self.sealed = true;
        self.text = None;
        self.places[self.current as usize].role = Role::Keep;
        for waiting in self.waiting.drain(..) {
            self.places[waiting.id as usize].role = Role::Keep;
        }
    }

    fn end(&mut self, id: u32, body_end: u64, doubt: bool) {
        let place = &mut self.places[id as usize];
        place.body_end = body_end;
        if self.stream.is_some_and(|(streaming, _)| streaming == id) {
            self.stream_end = Some((body_end, doubt));
            return;
        }
        if doubt && !matches!(place.role, Role::Container(_)) {
            place.role = Role::Keep;
        }
        let Some(open) = self.open.take_if(|open| open.id == id) else { return };
        if doubt || !open.clean || open.decoder.finish().is_err() {
            place.role = Role::Keep;
            return;
        }
        let Open { coding, size, body_at, .. } = open;
        self.waiting.push(Waiting { id, coding, size, body_at, body_end });
    }
}

impl Sink for State {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Begin(part) => {
                let within = part.parent.and_then(|id| match self.places[id as usize].role {
                    Role::Container(container) => Some(container),
                    _ => None,
                });
                let role = match role(&part, within, &self.rules) {
                    Role::File if self.sealed => Role::Keep,
                    role => role,
                };
                self.current = part.id;
                self.text = part.header.coding.filter(|_| role == Role::Text && !self.sealed).map(Text::of);
                if let (Role::File, Some(coding)) = (role, part.header.coding) {
                    self.open = Some(Open {
                        id: part.id,
                        coding,
                        body_at: part.body_at,
                        decoder: Decoder::new(coding),
                        size: 0,
                        clean: true,
                    });
                }
                self.places.push(Place { part: *part, role, body_end: 0 });
            }
            Event::Body(octets) => self.body(octets),
            Event::Frame(octets) => self.spool.extend_from_slice(octets),
            Event::End { id, body_end, doubt } => self.end(id, body_end, doubt.is_some()),
        }
    }
}
