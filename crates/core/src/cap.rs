//! How many sessions a delegate takes from us just now: the setting at the most, fewer after it said that it is busy
//! (421) while others of ours were there, one more after many answers without that.

/// Answers without trouble after which one more session is tried.
const RAISE_AFTER: u32 = 50;

/// An adaptive cap; never below one, never above the setting.
#[derive(Clone, Debug)]
pub struct Cap {
    most: usize,
    now: usize,
    good: u32,
}

impl Cap {
    /// As many as the setting says (at least one).
    pub fn new(most: usize) -> Cap {
        Cap { most: most.max(1), now: most.max(1), good: 0 }
    }
    /// The cap of the moment.
    pub fn now(&self) -> usize {
        self.now
    }
    /// The delegate took no further session while `open` others were open. True: the cap is lower now, and the question
    /// is worth asking again when one of them ends. False: it takes none at all.
    pub fn busy(&mut self, open: usize) -> bool {
        self.good = 0;
        if open == 0 {
            return false;
        }
        self.now = self.now.min(open);
        true
    }
    /// An answer came without trouble. True: the cap was raised by one.
    pub fn good(&mut self) -> bool {
        self.good += 1;
        let raise = self.good >= RAISE_AFTER && self.now < self.most;
        if raise {
            self.good = 0;
            self.now += 1;
        }
        raise
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_falls_to_what_is_open_and_rises_slowly() {
        let mut cap = Cap::new(10);
        assert!(cap.busy(3));
        assert_eq!(cap.now(), 3);
        let raised = (0..RAISE_AFTER).filter(|_| cap.good()).count();
        assert_eq!((raised, cap.now()), (1, 4));
        assert!(!cap.busy(0), "with no session of ours open, busy is an outage");
        assert_eq!(cap.now(), 4);
    }

    #[test]
    fn it_never_passes_the_setting() {
        let mut cap = Cap::new(2);
        assert!((0..1000).all(|_| !cap.good()));
        assert_eq!(cap.now(), 2);
    }
}
