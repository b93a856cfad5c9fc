//! Wall-clock time: schedules, rows, headers. Deadlines use `vouchsafe_smtp::Tick`; the two never convert.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::{Add, Sub};
use std::time::Duration;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// RFC 5322 date with offset `+0000`: `Tue, 24 Nov 2026 06:35:38 +0000`.
    pub fn rfc5322(self) -> String {
        self.utc().strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
    }
    /// RFC 3339 in UTC with seconds: `2026-11-24T06:35:38Z`.
    pub fn rfc3339(self) -> String {
        self.utc().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }
    /// Time from `earlier` to this; zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
    fn utc(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, d: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, d: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_as_rfc_5322_and_rfc_3339_want_them() {
        let t = Timestamp(1_795_415_738_000_000);
        assert_eq!(t.rfc5322(), "Mon, 23 Nov 2026 06:35:38 +0000");
        assert_eq!(t.rfc3339(), "2026-11-23T06:35:38Z");
    }
}
