//! Reservations: parallel sessions cannot promise themselves more space than there is.
//!
//! What is reserved and already written counts twice until the reservation ends: the error is on the safe side.
//! The file system is asked again after some calls, after some octets, and before every refusal.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use vouchsafe_core::ports::{Reservation, StoreFault};

/// Calls after which the file system is asked again.
const CALLS: u32 = 64;
/// Octets promised after which the file system is asked again.
const OCTETS: u64 = 8 << 20;

/// The account of one file system.
pub struct Space {
    free: Box<dyn Fn() -> io::Result<u64> + Send + Sync>,
    floor: u64,
    account: Mutex<Account>,
}

#[derive(Default)]
struct Account {
    reserved: u64,
    strangers: u64,
    free: u64,
    calls_left: u32,
    octets_left: u64,
}

impl Space {
    /// `free` asks the file system; `floor` is never promised to anybody.
    pub fn new(floor: u64, free: impl Fn() -> io::Result<u64> + Send + Sync + 'static) -> Arc<Space> {
        Arc::new(Space { free: Box::new(free), floor, account: Mutex::default() })
    }

    /// Promises `octets`.
    pub fn reserve(self: &Arc<Space>, octets: u64, stranger: bool) -> Result<Reserved, StoreFault> {
        let mut reserved = Reserved { space: self.clone(), octets: 0, stranger };
        reserved.grow(octets)?;
        Ok(reserved)
    }

    /// Octets that the file system has left, as it says now.
    pub fn free(&self) -> io::Result<u64> {
        (self.free)()
    }

    fn take(&self, more: u64, stranger: bool) -> Result<(), StoreFault> {
        let mut account = self.lock();
        if account.calls_left == 0 || account.octets_left < more {
            self.ask(&mut account)?;
        }
        if self.check(&account, more, stranger).is_err() {
            self.ask(&mut account)?;
            self.check(&account, more, stranger)?;
        }
        account.calls_left = account.calls_left.saturating_sub(1);
        account.octets_left = account.octets_left.saturating_sub(more);
        account.reserved += more;
        if stranger {
            account.strangers += more;
        }
        Ok(())
    }

    fn check(&self, account: &Account, more: u64, stranger: bool) -> Result<(), StoreFault> {
        let usable = account.free.saturating_sub(self.floor);
        let wanted = account.reserved.saturating_add(more);
        // A message without a body still needs a row: at the floor nothing is taken.
        if wanted > usable || usable == 0 {
            return Err(StoreFault::Full(format!(
                "{more} octets wanted, {} free above the floor of {}, {} of it promised",
                usable, self.floor, account.reserved
            )));
        }
        if stranger && account.strangers.saturating_add(more) > usable / 4 {
            return Err(StoreFault::Full(format!(
                "{more} octets wanted, unauthenticated mail may use {} and {} of it is promised",
                usable / 4,
                account.strangers
            )));
        }
        Ok(())
    }

    fn ask(&self, account: &mut Account) -> Result<(), StoreFault> {
        account.free = (self.free)().map_err(|e| StoreFault::Broken(format!("free space: {e}")))?;
        account.calls_left = CALLS;
        account.octets_left = OCTETS;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Space promised to one transaction.
pub struct Reserved {
    space: Arc<Space>,
    octets: u64,
    stranger: bool,
}

impl Reservation for Reserved {
    fn grow(&mut self, octets: u64) -> Result<(), StoreFault> {
        let more = octets.saturating_sub(self.octets);
        if more > 0 || self.octets == 0 {
            self.space.take(more, self.stranger)?;
            self.octets += more;
        }
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut account = self.space.lock();
        account.reserved -= self.octets;
        if self.stranger {
            account.strangers -= self.octets;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_gets_a_quarter_and_nobody_the_floor() {
        let space = Space::new(1_000, || Ok(5_000));
        assert!(space.reserve(1_001, true).is_err());
        let stranger = space.reserve(1_000, true).unwrap();
        assert!(space.reserve(1, true).is_err());
        let mut user = space.reserve(3_000, false).unwrap();
        assert!(space.reserve(1, false).is_err());
        assert!(user.grow(3_001).is_err());
        drop(stranger);
        assert!(user.grow(4_000).is_ok());
    }

    #[test]
    fn at_the_floor_even_an_empty_message_is_refused() {
        assert!(Space::new(10, || Ok(10)).reserve(0, false).is_err());
    }
}
