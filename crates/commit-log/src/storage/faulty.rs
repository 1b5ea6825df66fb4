//! A disk in memory that loses, tears, refuses and lies on request, for tests of this and other crates.
//!
//! The disk keeps two states: what a reader sees (the cache) and what is durable. Writes go to the
//! cache; [`StorageFile::sync_data`] makes a file's sectors and length durable and
//! [`Storage::sync_dir`] the names. [`FaultyDisk::power_loss`] throws the cache away: each sector
//! written since its last sync is kept or lost by itself, as is the new length of a file, and of
//! the changes of names some first ones are kept, in order, as in a journal. What is kept is for
//! the caller to choose ([`Survival`]).
//!
//! Operations that change something (create, write, sync, rename, remove, sync of the directory)
//! are counted from 0, so that a test can run its workload once, and then once for each operation
//! with a [`Fault`] there.
//!
//! # Example
//!
//! ```
//! use proctor_commit_log::storage::{Storage, StorageFile, faulty::{FaultyDisk, Survival}};
//!
//! let disk = FaultyDisk::new();
//! let file = disk.create("a")?;
//! file.write_at(0, b"kept")?;
//! file.sync_data()?;
//! disk.sync_dir()?;
//! file.write_at(0, b"lost")?;
//! disk.power_loss(Survival::Nothing);
//! assert_eq!(disk.files()["a"], b"kept");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sector::SECTOR;
use crate::storage::{Access, Storage, StorageFile, read_slice, write_slice};

/// What goes wrong at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops during the operation: it fails, as does every later one until
    /// [`FaultyDisk::power_loss`] or [`FaultyDisk::restart`]. The operation's effect is in the
    /// cache, so that it may survive in part.
    Crash,
    /// The operation fails. A write has then written this many bytes, a sync has lost track of the
    /// sectors that it should have written, as Linux does: later syncs do not write them either.
    /// Anything else has done nothing.
    Fail(usize),
    /// A sync says that it succeeded and has done nothing. No effect on other operations.
    Lie,
}

/// What survives a power loss, of what was not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    Nothing,
    /// Everything.
    Everything,
    /// The decisions are the bits of this number, lowest first, 1 for kept; after 64, nothing.
    /// [`FaultyDisk::undecided`] says how many there are.
    Mask(u64),
    /// Each decision is drawn from a generator with this seed.
    Random(u64),
}

/// A disk that fails on request. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Files by number, so that a file keeps its identity when it is renamed.
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// Changes of names since the last sync of the directory.
    changes: Vec<Change>,
    operations: u64,
    faults: BTreeMap<u64, Fault>,
    crashed: bool,
    /// Bytes that may still be added to files before the disk is full.
    room: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    cache: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that differ and that the next sync writes.
    dirty: BTreeSet<usize>,
    /// Sectors that differ and that a failed sync has forgotten.
    forgotten: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum Change {
    Link(String, u64),
    Rename(String, String),
    Unlink(String),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Link(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
        }
    }
}

impl FaultyDisk {
    /// Returns an empty disk without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes operation number `operation` go wrong.
    pub fn inject(&self, operation: u64, fault: Fault) {
        self.locked().faults.insert(operation, fault);
    }

    /// Lets files grow by this many bytes in all from now on; then the disk is full.
    pub fn limit_room(&self, bytes: u64) {
        self.locked().room = Some(bytes);
    }

    /// Takes all faults and limits away.
    pub fn heal(&self) {
        let mut state = self.locked();
        state.faults.clear();
        state.room = None;
    }

    /// Returns how many operations there have been.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.locked().operations
    }

    /// Returns all files as a reader sees them.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.locked();
        let contents = |inode| state.inodes[inode].cache.clone();
        state.names.iter().map(|(name, inode)| (name.clone(), contents(inode))).collect()
    }

    /// Flips a bit of a file, in the cache and on the disk. Returns whether the file has the byte.
    pub fn flip_bit(&self, name: &str, byte: usize, bit: u32) -> bool {
        let mut state = self.locked();
        let Some(inode) = state.names.get(name).copied() else { return false };
        let Some(inode) = state.inodes.get_mut(&inode) else { return false };
        let mask = 1u8.rotate_left(bit);
        for contents in [&mut inode.cache, &mut inode.durable] {
            if let Some(byte) = contents.get_mut(byte) {
                *byte ^= mask;
            }
        }
        byte < inode.cache.len()
    }

    /// Returns how many decisions a power loss would take now.
    #[must_use]
    pub fn undecided(&self) -> usize {
        let state = self.locked();
        let files: usize = state.inodes.values().map(Inode::undecided).sum();
        files + state.changes.len()
    }

    /// The power goes and comes back: what was not durable survives as `survival` says, and the
    /// disk works again. Faults at operations that are still to come stay in place.
    pub fn power_loss(&self, survival: Survival) {
        let mut state = self.locked();
        let mut fate = Fate { survival, drawn: 0 };
        // A journal keeps changes of names in order, so a change survives only if those before it do.
        let changes = std::mem::take(&mut state.changes);
        for change in changes.iter().take_while(|_| fate.keeps()) {
            change.apply(&mut state.durable_names);
        }
        state.names = state.durable_names.clone();
        for inode in state.inodes.values_mut() {
            inode.lose_power(&mut fate);
        }
        let named: BTreeSet<_> = state.names.values().copied().collect();
        state.inodes.retain(|number, _| named.contains(number));
        state.crashed = false;
    }

    /// The process goes and comes back: the cache survives, and is no more durable than before.
    pub fn restart(&self) {
        self.locked().crashed = false;
    }

    /// A panic of another holder leaves a disk of which the test is lost anyway.
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the decisions of a power loss.
struct Fate {
    survival: Survival,
    drawn: u64,
}

impl Fate {
    fn keeps(&mut self) -> bool {
        let number = self.drawn;
        self.drawn += 1;
        match self.survival {
            Survival::Nothing => false,
            Survival::Everything => true,
            Survival::Mask(mask) => number < 64 && mask >> number & 1 == 1,
            Survival::Random(seed) => mix(seed ^ mix(number)) & 1 == 1,
        }
    }
}

/// One step of the SplitMix64 generator, which is enough to spread seeds.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Inode {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        write_slice(&mut self.cache, offset, bytes)?;
        let first = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)? / SECTOR;
        let count = (usize::try_from(offset).unwrap_or(0) % SECTOR + bytes.len()).div_ceil(SECTOR);
        for sector in first..first + count {
            self.dirty.insert(sector);
            self.forgotten.remove(&sector);
        }
        Ok(())
    }

    fn sync(&mut self) {
        self.durable.resize(self.cache.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            copy_sector(&self.cache, &mut self.durable, sector);
        }
    }

    fn undecided(&self) -> usize {
        let longer = usize::from(self.cache.len() != self.durable.len());
        self.dirty.len() + self.forgotten.len() + longer
    }

    fn lose_power(&mut self, fate: &mut Fate) {
        if self.cache.len() != self.durable.len() && fate.keeps() {
            self.durable.resize(self.cache.len(), 0);
        }
        let mut at_risk = std::mem::take(&mut self.dirty);
        at_risk.append(&mut self.forgotten);
        for sector in at_risk {
            if fate.keeps() {
                copy_sector(&self.cache, &mut self.durable, sector);
            }
        }
        self.cache = self.durable.clone();
    }
}

/// Copies a sector as far as `to` reaches.
fn copy_sector(from: &[u8], to: &mut [u8], sector: usize) {
    let start = sector * SECTOR;
    let end = (start + SECTOR).min(from.len()).min(to.len());
    if start < end {
        to[start..end].copy_from_slice(&from[start..end]);
    }
}

impl State {
    /// Counts an operation and returns its fault, if any.
    fn begin(&mut self) -> io::Result<Option<Fault>> {
        self.check_running()?;
        let fault = self.faults.get(&self.operations).copied();
        self.operations += 1;
        self.crashed |= fault == Some(Fault::Crash);
        Ok(fault)
    }

    fn check_running(&self) -> io::Result<()> {
        match self.crashed {
            true => Err(io::Error::other("the machine has crashed")),
            false => Ok(()),
        }
    }

    /// Changes names, unless the operation fails.
    fn change(&mut self, change: Change) -> io::Result<()> {
        let fault = self.begin()?;
        if !matches!(fault, Some(Fault::Fail(_))) {
            change.apply(&mut self.names);
            self.changes.push(change);
        }
        outcome(fault)
    }

    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let fault = self.begin()?;
        let mut written = match fault {
            Some(Fault::Fail(written)) => bytes.len().min(written),
            Some(Fault::Crash | Fault::Lie) | None => bytes.len(),
        };
        let inode = self.inodes.get_mut(&number).ok_or(io::ErrorKind::NotFound)?;
        let mut full = false;
        if let Some(room) = self.room {
            let within = (inode.cache.len() as u64).saturating_sub(offset);
            let most = usize::try_from(within.saturating_add(room)).unwrap_or(usize::MAX);
            full = written > most;
            written = written.min(most);
        }
        let before = inode.cache.len();
        inode.write(offset, &bytes[..written])?;
        let grown = (inode.cache.len() - before) as u64;
        self.room = self.room.map(|room| room.saturating_sub(grown));
        if full { Err(io::ErrorKind::StorageFull.into()) } else { outcome(fault) }
    }

    fn sync(&mut self, number: u64) -> io::Result<()> {
        let fault = self.begin()?;
        let inode = self.inodes.get_mut(&number).ok_or(io::ErrorKind::NotFound)?;
        match fault {
            None => inode.sync(),
            Some(Fault::Fail(_)) => inode.forgotten.append(&mut inode.dirty),
            Some(Fault::Crash | Fault::Lie) => {}
        }
        outcome(fault)
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        let fault = self.begin()?;
        if fault.is_none() {
            self.durable_names = self.names.clone();
            self.changes.clear();
        }
        outcome(fault)
    }
}

/// What the caller of an operation hears.
fn outcome(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        None | Some(Fault::Lie) => Ok(()),
        Some(Fault::Crash) => Err(io::Error::other("the machine has crashed")),
        Some(Fault::Fail(_)) => Err(io::Error::other("the disk has failed")),
    }
}

impl Storage for FaultyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.locked();
        state.check_running()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let mut state = self.locked();
        let inode = state.inodes.keys().last().map_or(0, |last| last + 1);
        // First the file, because a name that survives a crash must name something.
        state.inodes.insert(inode, Inode::default());
        state.change(Change::Link(name.to_owned(), inode))?;
        Ok(Box::new(FaultyFile { disk: self.clone(), inode, access: Access::Write }))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        let state = self.locked();
        state.check_running()?;
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(FaultyFile { disk: self.clone(), inode, access }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.locked();
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.locked();
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Unlink(name.to_owned()))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.locked().sync_dir()
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    inode: u64,
    access: Access,
}

impl FaultyFile {
    fn cache<T>(&self, read: impl FnOnce(&[u8]) -> io::Result<T>) -> io::Result<T> {
        let state = self.disk.locked();
        state.check_running()?;
        read(&state.inodes.get(&self.inode).ok_or(io::ErrorKind::NotFound)?.cache)
    }
}

impl StorageFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.cache(|bytes| Ok(bytes.len() as u64))
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.cache(|cache| read_slice(cache, offset, bytes))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self.access {
            Access::Write => self.disk.locked().write(self.inode, offset, bytes),
            Access::Read => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.locked().sync(self.inode)
    }
}
