//! What a tree of processes has used, from /proc. A process that has gone counts as nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Clock ticks a second: what Linux shows in /proc/PID/stat everywhere.
const TICKS: f64 = 100.0;

/// Thousands of sessions need as many open files, here and in what is started from here.
pub fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it the run is told by its own faults.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// All processes below `root`, itself first.
fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(parent) = stat(pid).and_then(|fields| fields.get(1)?.parse::<u32>().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(pid) = found.get(at) {
        let next = children.remove(pid).unwrap_or_default();
        found.extend(next);
        at += 1;
    }
    found
}

/// Fields of /proc/PID/stat behind the name: state, parent, ...
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

/// CPU time of the tree, children that have ended included.
pub fn cpu(root: u32) -> Duration {
    let ticks = |pid: u32| -> Option<u64> {
        let fields = stat(pid)?;
        // utime, stime, cutime, cstime
        fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum()
    };
    let sum: u64 = tree(root).into_iter().filter_map(ticks).sum();
    Duration::from_secs_f64(sum as f64 / TICKS)
}

/// Kilobytes of a field of /proc/PID/NAME.
fn field(pid: u32, name: &str, field: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{name}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// Octets that the process itself holds.
pub fn resident(pid: u32) -> u64 {
    field(pid, "status", "VmRSS:").unwrap_or(0) * 1024
}

/// The most octets that the process itself has held, or has since [`forget_most`].
pub fn most_resident(pid: u32) -> u64 {
    field(pid, "status", "VmHWM:").unwrap_or(0) * 1024
}

/// What the process holds now is its most from here on.
pub fn forget_most(pid: u32) -> std::io::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

/// Octets of the tree, shared pages counted once.
fn proportional(root: u32) -> u64 {
    tree(root).into_iter().filter_map(|pid| field(pid, "smaps_rollup", "Pss:")).sum::<u64>() * 1024
}

/// Looks at a tree's memory until dropped; keeps the most.
pub struct Peak {
    most: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Peak {
    /// Starts looking, ten times a second.
    pub fn watch(root: u32) -> Peak {
        let most = Arc::new(AtomicU64::new(proportional(root)));
        let seen = most.clone();
        let task = tokio::spawn(async move {
            let mut times = tokio::time::interval(Duration::from_millis(100));
            loop {
                times.tick().await;
                seen.fetch_max(proportional(root), Ordering::Relaxed);
            }
        });
        Peak { most, task }
    }
    /// The most octets so far.
    pub fn octets(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

impl Drop for Peak {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_is_seen() {
        let own = std::process::id();
        assert!(tree(own).contains(&own));
        assert!(resident(own) > 100_000, "{}", resident(own));
        assert!(proportional(own) > 100_000);
        let most = most_resident(own);
        assert!(most >= resident(own), "{most}");
        assert_eq!(resident(u32::MAX), 0);
    }
}
