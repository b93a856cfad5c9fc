//! A disk that forgets: files in memory, each with what is durable and what is only written.
//!
//! A [`SimDisk::crash`] keeps, drops or tears what was not synced, names included, as a file system may. Calls that
//! change something are counted, and the n-th can fail or be the last. Old handles are dead after a crash.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Commit, Disk, DiskFile};

/// What happens at the n-th call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The process dies there: this call and all later ones fail, until [`SimDisk::crash`].
    Crash,
    /// The call fails with an I/O error.
    Error,
    /// The call fails with "no space left".
    Full,
}

/// What a crash does to what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of it is lost.
    All,
    /// Nothing is lost.
    Nothing,
    /// Each write and each name is kept, lost, or (a write) torn, by this seed.
    Torn(u64),
}

/// A sync that is answered but not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Of files in or under folders of this name.
    Files(&'static str),
    /// Of folders.
    Folders,
}

/// The simulated disk; clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: u64,
    plan: Option<(u64, Trouble)>,
    lie: Option<Lie>,
    crashed: bool,
    full: bool,
    broken_syncs: bool,
    /// Handles of an earlier life are dead.
    life: u64,
    files: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    unsynced_names: Vec<(PathBuf, Option<usize>)>,
}

#[derive(Default)]
struct Content {
    now: Image,
    durable: Image,
    unsynced: Vec<Change>,
}

/// Octets past `data` and before `len` are zero.
#[derive(Clone, Default)]
struct Image {
    data: Vec<u8>,
    len: u64,
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl Image {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write(offset, octets) => {
                let start = index(*offset);
                let end = start + octets.len();
                if self.data.len() < end {
                    self.data.resize(end, 0);
                }
                self.data[start..end].copy_from_slice(octets);
                self.len = self.len.max(end as u64);
            }
            Change::Length(len) => {
                self.data.truncate(index(*len));
                self.len = *len;
            }
        }
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a simulated file fits into memory")
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// Changing calls so far.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Trouble at the `n`-th changing call from now (the next one is 1).
    pub fn trouble_at(&self, n: u64, trouble: Trouble) {
        let mut state = self.lock();
        state.plan = Some((state.calls + n, trouble));
    }

    /// Trouble that has not come yet never comes.
    pub fn calm(&self) {
        self.lock().plan = None;
    }

    /// From now on every file's sync fails.
    pub fn break_syncs(&self, broken: bool) {
        self.lock().broken_syncs = broken;
    }

    /// From now on nothing can be written, and no space is free.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// From now on this kind of sync does nothing and says that it did.
    pub fn lie(&self, lie: Lie) {
        self.lock().lie = Some(lie);
    }

    /// The power goes and comes back: what was not synced is treated as `loss` says.
    pub fn crash(&self, loss: Loss) {
        let mut state = self.lock();
        let mut chance = Chance(match loss {
            Loss::Torn(seed) => seed.wrapping_mul(2).wrapping_add(1),
            _ => 1,
        });
        for (path, file) in std::mem::take(&mut state.unsynced_names) {
            if loss == Loss::Nothing || (loss != Loss::All && chance.below(2) == 0) {
                rename(&mut state.durable_names, &path, file);
            }
        }
        for content in &mut state.files {
            for change in std::mem::take(&mut content.unsynced) {
                if loss == Loss::Nothing {
                    content.durable.apply(&change);
                } else if loss != Loss::All {
                    content.durable.apply_some(change, &mut chance);
                }
            }
            content.now = content.durable.clone();
        }
        state.names = state.durable_names.clone();
        state.life += 1;
        state.plan = None;
        state.crashed = false;
    }

    /// Flips one octet of a file, as a bad disk does.
    pub fn rot(&self, path: &Path, offset: u64) {
        let mut state = self.lock();
        let Some(&number) = state.names.get(path) else { return };
        let content = &mut state.files[number];
        for image in [&mut content.now, &mut content.durable] {
            if let Some(octet) = image.data.get_mut(index(offset)) {
                *octet ^= 0x55;
            }
        }
    }

    /// The paths that exist now.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.lock().names.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn handle(&self, state: &State, number: usize, path: &Path) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { disk: self.clone(), number, life: state.life, path: path.to_owned() })
    }
}

impl Image {
    fn apply_some(&mut self, change: Change, chance: &mut Chance) {
        match (chance.below(3), change) {
            (0, _) => {}
            (1, Change::Write(offset, mut octets)) => {
                octets.truncate(index(chance.below(octets.len() as u64 + 1)));
                self.apply(&Change::Write(offset, octets));
            }
            (_, change) => self.apply(&change),
        }
    }
}

impl State {
    /// Counts a changing call. `Ok(true)`: do it and die; `Ok(false)`: do it.
    fn call(&mut self, takes_space: bool) -> io::Result<bool> {
        self.alive()?;
        self.calls += 1;
        match self.plan {
            Some((n, trouble)) if n == self.calls => match trouble {
                Trouble::Crash => {
                    self.crashed = true;
                    Ok(true)
                }
                Trouble::Error => Err(io::Error::other("simulated I/O error")),
                Trouble::Full => Err(io::ErrorKind::StorageFull.into()),
            },
            _ if takes_space && self.full => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(false),
        }
    }

    fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(dead()) } else { Ok(()) }
    }

    /// A write may have begun when the process dies; a sync has not.
    fn change(&mut self, number: usize, change: Change) -> io::Result<()> {
        let dying = self.call(true)?;
        let content = &mut self.files[number];
        content.now.apply(&change);
        content.unsynced.push(change);
        if dying { Err(dead()) } else { Ok(()) }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.alive()?;
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn dead() -> io::Error {
    io::Error::other("the simulated process is dead")
}

fn rename(names: &mut BTreeMap<PathBuf, usize>, path: &Path, file: Option<usize>) {
    match file {
        Some(number) => names.insert(path.to_owned(), number),
        None => names.remove(path),
    };
}

impl Disk for SimDisk {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        self.lock().alive()
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        let dying = state.call(true)?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let number = state.files.len();
        state.files.push(Content::default());
        state.names.insert(path.to_owned(), number);
        state.unsynced_names.push((path.to_owned(), Some(number)));
        if dying { Err(dead()) } else { Ok(self.handle(&state, number, path)) }
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.lock();
        let number = state.find(path)?;
        Ok(self.handle(&state, number, path))
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let mut state = self.lock();
        let number = state.find(path)?;
        state.change(number, Change::Length(len))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.find(path)?;
        let dying = state.call(false)?;
        state.names.remove(path);
        state.unsynced_names.push((path.to_owned(), None));
        if dying { Err(dead()) } else { Ok(()) }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if state.call(false)? {
            return Err(dead());
        }
        if state.lie == Some(Lie::Folders) {
            return Ok(());
        }
        let unsynced = std::mem::take(&mut state.unsynced_names);
        for (name, file) in unsynced {
            if name.parent() == Some(path) {
                rename(&mut state.durable_names, &name, file);
            } else {
                state.unsynced_names.push((name, file));
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(String, u64)>> {
        let state = self.lock();
        state.alive()?;
        let inside = state.names.iter().filter(|(name, _)| name.parent() == Some(path));
        Ok(inside
            .filter_map(|(name, &number)| {
                Some((name.file_name()?.to_str()?.to_owned(), state.files[number].now.len))
            })
            .collect())
    }

    fn free_space(&self, _path: &Path) -> io::Result<u64> {
        let state = self.lock();
        state.alive()?;
        Ok(if state.full { 0 } else { 1 << 40 })
    }

    fn commit(&self, moment: Commit) -> io::Result<()> {
        let mut state = self.lock();
        match (state.call(false), moment) {
            (Ok(true), _) => Err(dead()),
            // What is committed cannot fail any more: only death can come between it and the answer.
            (Err(_), Commit::After) if !state.crashed => Ok(()),
            (result, _) => result.map(drop),
        }
    }
}

struct SimFile {
    disk: SimDisk,
    number: usize,
    life: u64,
    path: PathBuf,
}

impl SimFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.lock();
        state.alive()?;
        if state.life == self.life { Ok(state) } else { Err(dead()) }
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let octets = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.state()?.change(self.number, Change::Write(offset, octets))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.state()?;
        let image = &state.files[self.number].now;
        let count = index(image.len.saturating_sub(offset)).min(buffer.len());
        let start = index(offset).min(image.data.len());
        let there = image.data.len().min(start + count) - start;
        buffer[..there].copy_from_slice(&image.data[start..start + there]);
        buffer[there..count].fill(0);
        Ok(count)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.state()?.change(self.number, Change::Length(len))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state()?.change(self.number, Change::Length(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state()?;
        if state.call(false)? {
            return Err(dead());
        }
        if state.broken_syncs {
            // As Linux does: what could not be written is dropped and marked clean.
            state.files[self.number].unsynced.clear();
            return Err(io::Error::other("simulated sync error"));
        }
        if matches!(state.lie, Some(Lie::Files(folder)) if self.path.iter().any(|name| name == folder)) {
            return Ok(());
        }
        let content = &mut state.files[self.number];
        for change in std::mem::take(&mut content.unsynced) {
            content.durable.apply(&change);
        }
        Ok(())
    }
}

/// A small generator (xorshift64): chance that a seed repeats.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}
