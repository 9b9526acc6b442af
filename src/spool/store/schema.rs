//! The store's schema: which form its records have, who may open it, and how one form becomes the next.
//!
//! It lies under a key of its own: a byte, and behind it the version of the oldest program that can read the store, as
//! text (nothing in schema 2, which is that of 0.1.0). A program that finds a higher byte refuses and says which
//! version it needs. A lower one is raised step by step before anything else reads the store.

use crate::env::disk::{Disk, Write};
use crate::spool::contract::StoreError;
use crate::spool::keys;

/// The schema this program reads and writes.
pub(in crate::spool) const SCHEMA_VERSION: u8 = 2;

/// How schemas become the next, oldest first. A step that is added here names the version of the program that it comes
/// with, and a store of the version before goes into `tests/data/`, as `CONTRIBUTING.md` says.
const MIGRATIONS: &[Migration] = &[];

/// Raises a store from the schema below `to`.
pub(super) struct Migration {
    /// The schema afterwards.
    to: u8,
    /// The oldest program that can read it then.
    needs: &'static str,
    /// Rewrites the records, a bounded number in each batch. Cut off anywhere it is begun again from the front, so it
    /// leaves alone what it has rewritten. It is told where to say how many records it has looked at.
    run: Step,
}

type Step = fn(&dyn Disk, &mut dyn FnMut(u64)) -> Result<(), StoreError>;

/// Makes a store of an empty disk, or raises that of an older program. `progress` is told how many records have been
/// looked at.
///
/// # Errors
/// [`StoreError::Schema`] for a store of a newer program, [`StoreError`] if it cannot be read or written.
pub(in crate::spool) fn prepare(disk: &dyn Disk, progress: &mut dyn FnMut(u64)) -> Result<(), StoreError> {
    if disk.get(keys::SCHEMA)?.is_none() {
        disk.apply(vec![Write::Put(keys::SCHEMA.to_vec(), vec![SCHEMA_VERSION])])?;
        disk.sync()?;
    }
    migrate(disk, MIGRATIONS, SCHEMA_VERSION, progress)
}

/// Whether this program can read a store as it is.
///
/// # Errors
/// [`StoreError::Schema`] if another version must open it first or instead.
pub fn known_schema(disk: &dyn Disk) -> Result<(), StoreError> {
    match schema(disk)? {
        (SCHEMA_VERSION, _) => Ok(()),
        (found, needs) => Err(StoreError::Schema { found, needs }),
    }
}

/// Whether this program can read a store, or raise it to what it reads.
///
/// # Errors
/// [`StoreError::Schema`] if another version must open it.
pub fn can_be_opened(disk: &dyn Disk) -> Result<(), StoreError> {
    let (found, needs) = schema(disk)?;
    let has_step = |to: u8| MIGRATIONS.iter().any(|step| step.to == to);
    let is_known = found <= SCHEMA_VERSION && (found..SCHEMA_VERSION).all(|below| has_step(below + 1));
    if is_known { Ok(()) } else { Err(StoreError::Schema { found, needs }) }
}

fn schema(disk: &dyn Disk) -> Result<(u8, Option<String>), StoreError> {
    let value = disk.get(keys::SCHEMA)?;
    let value = value.ok_or_else(|| StoreError::Unreadable("the schema is missing".into()))?;
    let (version, needs) =
        value.split_first().ok_or_else(|| StoreError::Unreadable("the schema is damaged".into()))?;
    let is_version = |text: &&str| {
        !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    Ok((*version, std::str::from_utf8(needs).ok().filter(is_version).map(str::to_owned)))
}

fn migrate(
    disk: &dyn Disk,
    migrations: &[Migration],
    target: u8,
    progress: &mut dyn FnMut(u64),
) -> Result<(), StoreError> {
    loop {
        let (found, needs) = schema(disk)?;
        if found == target {
            return Ok(());
        }
        let step = migrations.iter().find(|step| found < target && Some(step.to) == found.checked_add(1));
        let step = step.ok_or(StoreError::Schema { found, needs })?;
        tracing::info!(from = found, to = step.to, "raising the store to the schema of this version");
        (step.run)(disk, progress)?;
        // Everything before is on the disk before the schema says so.
        disk.sync()?;
        let schema = [&[step.to], step.needs.as_bytes()].concat();
        disk.apply(vec![Write::Put(keys::SCHEMA.to_vec(), schema)])?;
        disk.sync()?;
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::Arc;

    use super::*;
    use crate::testing::disk::MemoryDisk;

    /// Doubles each value of a kind by writing it twice, unless that has been done.
    fn double(disk: &dyn Disk, progress: &mut dyn FnMut(u64)) -> Result<(), StoreError> {
        let mut all = Vec::new();
        disk.scan(b"q", b"q", &mut |key, value| {
            all.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })?;
        for (number, (key, value)) in (1..).zip(all) {
            if value.len() == 1 {
                disk.apply(vec![Write::Put(key, value.repeat(2))])?;
                disk.sync()?;
            }
            progress(number);
        }
        Ok(())
    }

    fn rename(disk: &dyn Disk, _: &mut dyn FnMut(u64)) -> Result<(), StoreError> {
        let Some(value) = disk.get(b"q1")? else { return Ok(()) };
        disk.apply(vec![Write::Delete(b"q1".to_vec()), Write::Put(b"Q1".to_vec(), value)])?;
        Ok(())
    }

    const STEPS: &[Migration] =
        &[Migration { to: 3, needs: "0.2.0", run: double }, Migration { to: 4, needs: "0.3.0", run: rename }];

    fn old_store() -> MemoryDisk {
        let disk = MemoryDisk::default();
        let mut batch = vec![Write::Put(keys::SCHEMA.to_vec(), vec![2])];
        batch.extend((0..5u8).map(|number| Write::Put(vec![b'q', b'0' + number], vec![number])));
        disk.apply(batch).unwrap();
        disk.sync().unwrap();
        disk
    }

    #[test]
    fn a_migration_cut_off_after_any_step_is_finished_by_the_next_start() {
        for steps in 0.. {
            let disk = old_store();
            disk.fail_after(steps);
            let failed = migrate(&disk, STEPS, 4, &mut |_| ()).is_err();
            let disk = disk.crash();
            migrate(&disk, STEPS, 4, &mut |_| ()).unwrap();
            assert_eq!(disk.get(keys::SCHEMA).unwrap().unwrap(), b"\x040.3.0");
            assert_eq!((disk.get(b"q1").unwrap(), disk.get(b"Q1").unwrap()), (None, Some(vec![1, 1])));
            assert_eq!(disk.get(b"q4").unwrap(), Some(vec![4, 4]), "once, after {steps} steps");
            if !failed {
                return;
            }
        }
    }

    #[test]
    fn progress_is_told() {
        let mut told = Vec::new();
        migrate(&old_store(), STEPS, 3, &mut |records| told.push(records)).unwrap();
        assert_eq!(told, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn an_older_program_refuses_a_newer_store_and_says_which_it_needs() {
        let disk = Arc::new(old_store());
        migrate(&*disk, STEPS, 4, &mut |_| ()).unwrap();
        let before = disk.keys();
        let refused =
            super::super::open(disk.clone(), Arc::new(crate::testing::files::MemoryFiles::default()));
        let Err(refused) = refused else { panic!("it was opened") };
        let text = refused.to_string();
        assert!(text.contains("schema 4") && text.contains("atp 0.3.0 or newer"), "{text}");
        assert_eq!(disk.keys(), before, "nothing was changed");
        assert!(matches!(known_schema(&*disk), Err(StoreError::Schema { found: 4, .. })));
        disk.apply(vec![Write::Put(keys::SCHEMA.to_vec(), vec![9, 0xff, b'\n'])]).unwrap();
        let text = known_schema(&*disk).unwrap_err().to_string();
        assert!(text.contains("schema 9") && !text.contains('\n'), "{text}");
    }

    #[test]
    fn a_store_older_than_any_step_is_refused() {
        let disk = old_store();
        disk.apply(vec![Write::Put(keys::SCHEMA.to_vec(), vec![1])]).unwrap();
        assert!(matches!(migrate(&disk, STEPS, 4, &mut |_| ()), Err(StoreError::Schema { found: 1, .. })));
    }
}
