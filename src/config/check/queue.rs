//! `[queue]`, `[mailbox]`, `[guard]` and `[webhooks]`

use std::time::Duration;

use ipnet::IpNet;

use super::report::Report;
use super::server::all;
use crate::config::checked::{Guard, MAX_ATTEMPTS, MIN_ATTEMPTS, Mailbox, Queue, Webhooks};
use crate::config::{file, limits, units};

/// Most waits in `queue.schedule`.
const MAX_SCHEDULE_STEPS: usize = 64;
/// Shortest wait in it.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// Smallest `guard.max_memory`: an idle daemon with a full cache stays below.
const MIN_MAX_MEMORY_BYTES: u64 = 64 * 1024 * 1024;
/// Most networks in `webhooks.allow_networks`.
const MAX_ALLOWED_NETWORKS: usize = 64;

pub(super) fn queue(file: &file::Queue, report: &Report<'_>) -> Option<Queue> {
    if !(MIN_ATTEMPTS..=MAX_ATTEMPTS).contains(&file.max_attempts) {
        report.tell("queue.max_attempts", format!("must be {MIN_ATTEMPTS} to {MAX_ATTEMPTS}"));
    }
    if file.max_attempts_per_destination == 0 {
        report.tell("queue.max_attempts_per_destination", "must be at least 1");
    }
    if file.max_waiting_per_sender == 0 {
        report.tell("queue.max_waiting_per_sender", "must be at least 1");
    }
    let schedule = schedule(&file.schedule, report);
    let give_up_after = report.time("queue.give_up_after", &file.give_up_after);
    let delay_notice_after = report.time("queue.delay_notice_after", &file.delay_notice_after);
    Some(Queue {
        schedule: schedule?,
        give_up_after: give_up_after?,
        delay_notice_after: delay_notice_after?,
        max_attempts: file.max_attempts,
        max_attempts_per_destination: file.max_attempts_per_destination,
        max_waiting_per_sender: file.max_waiting_per_sender,
    })
}

fn schedule(texts: &[String], report: &Report<'_>) -> Option<Vec<Duration>> {
    if !(1..=MAX_SCHEDULE_STEPS).contains(&texts.len()) {
        return report.wrong("queue.schedule", format!("must have 1 to {MAX_SCHEDULE_STEPS} waits"));
    }
    report.each("queue.schedule", texts, |text| match units::parse_time(text) {
        Ok(wait) if wait < SHORTEST_WAIT => Err("a wait must be at least 1s".into()),
        Ok(wait) => Ok(wait),
        Err(error) => Err(format!("{text:?} is {error}")),
    })
}

pub(super) fn mailbox(file: &file::Mailbox, report: &Report<'_>) -> Option<Mailbox> {
    let keep = |key, text: &str| report.or_told(key, limits::keep(text));
    let keep_acknowledged = keep("mailbox.keep_acknowledged", &file.keep_acknowledged);
    let keep_unread = keep("mailbox.keep_unread", &file.keep_unread);
    let quota_bytes = report.or_told("mailbox.quota", limits::quota(&file.quota));
    Some(Mailbox {
        keep_acknowledged: keep_acknowledged?,
        keep_unread: keep_unread?,
        quota_bytes: quota_bytes?,
    })
}

pub(super) fn guard(file: &file::Guard, report: &Report<'_>) -> Option<Guard> {
    if file.min_free_disk_percent > 100 {
        report.tell("guard.min_free_disk_percent", "must be 0 to 100");
    }
    let max_memory = file.max_memory.as_deref().map(|text| report.size("guard.max_memory", text));
    if max_memory.flatten().is_some_and(|bytes| bytes < MIN_MAX_MEMORY_BYTES) {
        let least = units::print_size(MIN_MAX_MEMORY_BYTES);
        report.tell("guard.max_memory", format!("must be at least {least}"));
    }
    let min_free_disk_bytes = report.size("guard.min_free_disk", &file.min_free_disk);
    Some(Guard {
        min_free_disk_bytes: min_free_disk_bytes?,
        min_free_disk_percent: file.min_free_disk_percent,
        max_memory_bytes: all(max_memory)?,
    })
}

pub(super) fn webhooks(file: &file::Webhooks, report: &Report<'_>) -> Option<Webhooks> {
    let key = "webhooks.allow_networks";
    if file.allow_networks.len() > MAX_ALLOWED_NETWORKS {
        return report.wrong(key, format!("must have at most {MAX_ALLOWED_NETWORKS} networks"));
    }
    let allow_networks = report.each(key, &file.allow_networks, |text| {
        let network = text.parse::<IpNet>().ok().filter(|network| network.trunc() == *network);
        let remedy = "is not a network; write \"10.1.0.0/16\" or \"fd00:1::/32\", no bits set behind it";
        network.ok_or_else(|| format!("{text:?} {remedy}"))
    })?;
    Some(Webhooks { allow_networks })
}
