//! The disk of a machine: [`Disk`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::lock;

/// The disk of a machine: files by name, from [`Machine::disk`](crate::Machine::disk).
///
/// It survives crashes. A [loss of power](crate::Crash::Power) takes what was changed since the last
/// [`sync`](Self::sync), except for a prefix of the changes that the seed chooses.
///
/// Clones are handles to the same disk.
///
/// ```
/// use sockless::sim::{Crash, Sim};
///
/// let sim = Sim::new(1);
/// sim.run(async {
///     let machine = sim.machine("store");
///     let disk = machine.disk();
///     disk.write("a", "one");
///     disk.sync();
///     disk.write("a", "two");
///     assert_eq!(disk.read("a").unwrap(), "two");
///     machine.crash(Crash::Power);
///     // Either, as the seed decides; never nothing.
///     assert!(["one", "two"].contains(&str::from_utf8(&disk.read("a").unwrap()).unwrap()));
/// });
/// ```
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Files>>);

#[derive(Default)]
struct Files {
    synced: BTreeMap<String, Bytes>,
    /// The changes since, oldest first; `None` for a removal.
    changes: Vec<(String, Option<Bytes>)>,
}

impl Disk {
    /// Replaces the file `name`.
    pub fn write(&self, name: &str, contents: impl Into<Bytes>) {
        lock(&self.0).changes.push((name.to_owned(), Some(contents.into())));
    }

    /// Removes the file `name`, if it exists.
    pub fn remove(&self, name: &str) {
        lock(&self.0).changes.push((name.to_owned(), None));
    }

    /// Returns the contents of the file `name`, synced or not.
    pub fn read(&self, name: &str) -> Option<Bytes> {
        let files = lock(&self.0);
        let changed = files.changes.iter().rev().find(|(changed, _)| changed == name);
        changed.map_or_else(|| files.synced.get(name).cloned(), |(_, contents)| contents.clone())
    }

    /// Returns the names of all files, sorted.
    pub fn files(&self) -> Vec<String> {
        lock(&self.0).synced_with(usize::MAX).into_keys().collect()
    }

    /// Makes all changes so far permanent, like `fsync` of each file and its directory.
    pub fn sync(&self) {
        lock(&self.0).keep(usize::MAX);
    }

    /// Loses the latest changes, as `draw` decides.
    pub(crate) fn lose_power(&self, draw: impl FnOnce(u64) -> u64) {
        let mut files = lock(&self.0);
        let kept = draw(files.changes.len() as u64 + 1);
        files.keep(kept as usize);
    }
}

impl Files {
    /// Applies the first `count` changes, and drops the others.
    fn keep(&mut self, count: usize) {
        self.synced = self.synced_with(count);
        self.changes.clear();
    }

    fn synced_with(&self, count: usize) -> BTreeMap<String, Bytes> {
        let mut files = self.synced.clone();
        for (name, contents) in self.changes.iter().take(count) {
            match contents {
                Some(contents) => drop(files.insert(name.clone(), contents.clone())),
                None => drop(files.remove(name)),
            }
        }
        files
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Disk").field(&self.files()).finish()
    }
}
