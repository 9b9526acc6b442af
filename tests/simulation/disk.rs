//! A disk that forgets what was not synced when the power goes, at any step of the program that writes it; that is full
//! for a while; that does not sync.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atp::env::disk::{Disk, DiskError, Visit, Write};

use crate::dice::Dice;

type Keys = BTreeMap<Vec<u8>, Vec<u8>>;
/// What a batch has replaced. `None`: there was nothing.
type Undo = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A disk as long as the power is on.
pub struct SimDisk {
    inner: Mutex<Inner>,
    /// Called when the power goes in the middle of a step; it must not ask the disk anything.
    cut: Box<dyn Fn() + Send + Sync>,
}

struct Inner {
    now: Keys,
    /// How each batch since the last sync is undone.
    unsynced: Vec<Undo>,
    dice: Dice,
    trouble: Option<Trouble>,
    /// After a failure nothing works until it is opened again.
    broken: bool,
    /// Steps until the power goes. `None`: it does not.
    cut_in: Option<u32>,
    /// What a power cut has left. `Some`: the power is off.
    left: Option<Keys>,
}

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It takes nothing more.
    Full,
    /// It takes what comes, but not for good.
    NoSync,
    /// Every third step fails, whichever it is.
    Flaky,
}

impl SimDisk {
    /// A disk on which there is something. `cut` is called at a power cut of [`SimDisk::cut_in`].
    pub fn new(keys: Keys, dice: Dice, cut: Box<dyn Fn() + Send + Sync>) -> Arc<SimDisk> {
        let inner = Inner {
            now: keys,
            unsynced: Vec::new(),
            dice,
            trouble: None,
            broken: false,
            cut_in: None,
            left: None,
        };
        Arc::new(SimDisk { inner: Mutex::new(inner), cut })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this is wrong with it, or nothing.
    pub fn trouble(&self, trouble: Option<Trouble>) {
        self.lock().trouble = trouble;
    }

    /// The power goes at the `steps`-th apply or sync from now on.
    pub fn cut_in(&self, steps: u32) {
        self.lock().cut_in = Some(steps);
    }

    /// The power stays on after all.
    pub fn stay_on(&self) {
        self.lock().cut_in = None;
    }

    /// The power goes now, unless it has gone. What is left: all that was synced, and as much of the rest as chance
    /// lets through, in order.
    pub fn cut(&self) -> Keys {
        self.lock().power_off().clone()
    }

    /// How many keys there are of each kind, the first byte.
    pub fn kinds(&self) -> BTreeMap<u8, usize> {
        let mut kinds = BTreeMap::new();
        for key in self.lock().now.keys() {
            *kinds.entry(key[0]).or_default() += 1;
        }
        kinds
    }

    /// How many keys of one kind there are.
    pub fn count(&self, prefix: &[u8]) -> usize {
        self.lock().now.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix)).count()
    }

    /// One step nearer to the power cut, which comes before the step is done.
    fn step(&self, inner: &mut Inner) {
        let Some(left) = &mut inner.cut_in else { return };
        *left = left.saturating_sub(1);
        if *left == 0 && inner.left.is_none() {
            inner.power_off();
            (self.cut)();
        }
    }
}

impl Inner {
    fn power_off(&mut self) -> &Keys {
        if self.left.is_none() {
            let kept = self.dice.below(self.unsynced.len() + 1);
            let mut left = self.now.clone();
            undo(&mut left, self.unsynced.get(kept..).unwrap_or_default());
            self.left = Some(left);
        }
        self.left.get_or_insert_default()
    }

    fn fail(&mut self, error: DiskError) -> Result<(), DiskError> {
        self.broken = true;
        Err(error)
    }

    fn works(&self) -> Result<(), DiskError> {
        if self.broken { Err(DiskError::Away) } else { Ok(()) }
    }

    /// Whether a step fails, and how.
    fn trouble(&mut self, is_sync: bool) -> Option<DiskError> {
        match self.trouble? {
            Trouble::Full => Some(DiskError::Full("no space left on device".into())),
            Trouble::NoSync if is_sync => Some(DiskError::Io("input/output error".into())),
            Trouble::Flaky if self.dice.one_in(3) => Some(DiskError::Io("input/output error".into())),
            Trouble::NoSync | Trouble::Flaky => None,
        }
    }
}

fn undo(keys: &mut Keys, batches: &[Undo]) {
    for (key, before) in batches.iter().rev().flat_map(|batch| batch.iter().rev()) {
        match before {
            Some(value) => keys.insert(key.clone(), value.clone()),
            None => keys.remove(key),
        };
    }
}

impl Disk for SimDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        let inner = self.lock();
        inner.works()?;
        Ok(inner.now.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        let inner = self.lock();
        inner.works()?;
        for (key, value) in inner.now.range(from.max(prefix).to_vec()..) {
            if !key.starts_with(prefix) || visit(key, value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: Vec<Write>) -> Result<(), DiskError> {
        let mut inner = self.lock();
        inner.works()?;
        self.step(&mut inner);
        if let Some(error) = inner.trouble(false) {
            return inner.fail(error);
        }
        let mut undo = Undo::with_capacity(batch.len());
        for write in batch {
            undo.push(match write {
                Write::Put(key, value) => (key.clone(), inner.now.insert(key, value)),
                Write::Delete(key) => {
                    let before = inner.now.remove(&key);
                    (key, before)
                }
            });
        }
        inner.unsynced.push(undo);
        Ok(())
    }

    fn sync(&self) -> Result<(), DiskError> {
        let mut inner = self.lock();
        inner.works()?;
        self.step(&mut inner);
        if let Some(error) = inner.trouble(true) {
            return inner.fail(error);
        }
        inner.unsynced.clear();
        Ok(())
    }

    /// What was not synced is there after all, or some of it, or none.
    fn reopen(&self) -> Result<(), DiskError> {
        let mut inner = self.lock();
        let batches = inner.unsynced.len();
        let kept = inner.dice.below(batches + 1);
        let lost = inner.unsynced.split_off(kept);
        undo(&mut inner.now, &lost);
        inner.unsynced.clear();
        inner.broken = false;
        Ok(())
    }
}
