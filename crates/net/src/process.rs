//! What the system says of this process, from /proc. Proof: the test below.

use std::time::Duration;

/// Clock ticks a second: what Linux shows in /proc/PID/stat everywhere.
const TICKS: f64 = 100.0;

/// Of this process.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// Processor time used.
    pub cpu: Duration,
    /// Octets of memory in use.
    pub resident: u64,
    /// Octets of memory that have addresses.
    pub virtual_size: u64,
    /// Threads.
    pub threads: u64,
    /// Open files and sockets.
    pub open_files: u64,
    /// As many as there may be.
    pub most_files: u64,
    /// Start, in seconds since 1970.
    pub start: u64,
}

/// Looks; `None` where there is no /proc.
pub fn look() -> Option<Process> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{name}")).ok();
    let stat = read("self/stat")?;
    // What follows the program's name, which may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let seconds = |ticks: u64| ticks as f64 / TICKS;
    let boot = read("stat")?.lines().find_map(|line| line.strip_prefix("btime ")?.parse::<u64>().ok())?;
    let kilobytes = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    };
    let status = read("self/status")?;
    let limits = read("self/limits")?;
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    Some(Process {
        cpu: Duration::from_secs_f64(seconds(number(11)? + number(12)?)),
        resident: kilobytes(&status, "VmRSS")?,
        virtual_size: kilobytes(&status, "VmSize")?,
        threads: number(17)?,
        open_files: std::fs::read_dir("/proc/self/fd").ok()?.count() as u64,
        most_files: files.split_whitespace().next()?.parse().ok()?,
        start: boot + seconds(number(19)?) as u64,
    })
}

#[cfg(test)]
mod tests {
    use vouchsafe_core::ports::Clock;

    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn this_process_is_found_to_be_alive() {
        let process = look().unwrap();
        assert!(process.resident > 100_000 && process.resident < process.virtual_size);
        assert!(process.threads >= 1 && process.open_files >= 3 && process.most_files > process.open_files);
        let now = u64::try_from(SystemClock::new().now().0).unwrap() / 1_000_000;
        assert!(process.start <= now + 1 && process.start + 3600 > now, "{} {now}", process.start);
    }
}
