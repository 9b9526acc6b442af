use super::*;
use crate::testing::machine::{FakeMachine, Figures};

const MIB: u64 = 1024 * 1024;
const LIMITS: Limits = Limits { min_free_bytes: 500 * MIB, min_free_percent: 5, max_memory_bytes: None };

struct Scene {
    machine: Arc<FakeMachine>,
    ballast: Arc<Ballast>,
    guard: Guard,
    _directory: tempfile::TempDir,
}

/// A roomy machine of 100 GiB disk and 1,000 MiB memory.
fn scene(limits: Limits) -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let space = Some(Space { free: 50 * 1024 * MIB, total: 100 * 1024 * MIB });
    let machine = Arc::new(FakeMachine::new(Figures { space, resident: 50 * MIB, memory: 1000 * MIB }));
    let ballast = Arc::new(Ballast::new(directory.path().join("ballast")));
    let guard = Guard::new(limits, machine.clone(), Arc::clone(&ballast));
    Scene { machine, ballast, guard, _directory: directory }
}

impl Scene {
    fn free(&mut self, free: u64, total: u64) -> Option<Shortage> {
        self.machine.set(|figures| figures.space = Some(Space { free, total }));
        self.guard.look()
    }

    fn resident(&mut self, bytes: u64) -> Option<Shortage> {
        self.machine.set(|figures| figures.resident = bytes);
        self.guard.look()
    }
}

#[test]
fn the_lesser_of_size_and_share_is_the_mark_and_a_tenth_more_ends_the_refusal() {
    for (total, mark) in [(100 * 1024 * MIB, 500 * MIB), (1000 * MIB, 50 * MIB)] {
        let mut scene = scene(LIMITS);
        assert_eq!(scene.free(mark, total), None);
        assert_eq!(scene.free(mark - 1, total), Some(Shortage::Disk));
        assert_eq!(scene.free(mark + mark / 10 - 1, total), Some(Shortage::Disk), "it would flap");
        assert_eq!(scene.free(mark + mark / 10, total), None);
        assert_eq!(scene.free(mark, total), None);
    }
}

#[test]
fn memory_is_compared_with_what_there_is_or_with_what_the_operator_says() {
    for (max_memory_bytes, mark) in [(None, 800 * MIB), (Some(300 * MIB), 300 * MIB)] {
        let mut scene = scene(Limits { max_memory_bytes, ..LIMITS });
        assert_eq!(scene.resident(mark), None);
        assert_eq!(scene.resident(mark + 1), Some(Shortage::Memory));
        assert_eq!(scene.resident(mark - mark / 20 + 1), Some(Shortage::Memory), "it would flap");
        assert_eq!(scene.resident(mark - mark / 20), None);
    }
}

#[test]
fn without_ballast_nothing_is_taken_in_until_there_is_room_for_it_again() {
    let none = Limits { min_free_bytes: 0, ..LIMITS };
    let mut scene = scene(none);
    scene.guard.tend_ballast();
    assert!(scene.ballast.is_held());
    scene.ballast.give_up();
    assert_eq!(scene.free(BALLAST_BYTES, 64 * MIB), Some(Shortage::Disk));
    scene.guard.tend_ballast();
    assert!(scene.ballast.is_given_up(), "its own space is no room for it");
    assert_eq!(scene.free(2 * BALLAST_BYTES, 64 * MIB), Some(Shortage::Disk));
    scene.guard.tend_ballast();
    assert_eq!(scene.guard.look(), None);
}

#[test]
fn a_disk_too_full_for_ballast_at_the_start_takes_nothing_in() {
    let mut scene = scene(Limits { min_free_bytes: 0, ..LIMITS });
    assert_eq!(scene.free(BALLAST_BYTES - 1, 64 * MIB), None);
    scene.guard.tend_ballast();
    assert_eq!(scene.guard.look(), Some(Shortage::Disk));
}

#[test]
fn figures_that_cannot_be_read_refuse_nobody() {
    let mut scene = scene(LIMITS);
    assert_eq!(scene.free(0, 64 * MIB), Some(Shortage::Disk));
    scene.machine.set(|figures| figures.space = None);
    assert_eq!(scene.guard.look(), None);
}

#[test]
fn whoever_is_refused_is_told_when_to_come_back() {
    for shortage in [Shortage::Disk, Shortage::Memory] {
        let fault = Fault::from(shortage);
        assert_eq!((fault.reason.http(), fault.reason.code()), (Some(503), "452 4.3.1"));
        assert!(fault.retry_after.is_some() && fault.reason.is_temporary());
    }
}
