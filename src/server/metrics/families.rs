//! Every metric: its name, its labels, and what it says. `docs/metrics.md` has the same table.

/// What kind of number it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows; zero at the start of the process.
    Counter,
    /// As it is at the moment.
    Gauge,
    /// How long things took.
    Histogram,
}

/// A metric with all values of its labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Family {
    /// Its name, with its unit.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The names of its labels.
    pub(super) labels: &'static [&'static str],
    /// One sentence.
    pub(super) help: &'static str,
}

macro_rules! families {
    ($($id:ident $kind:ident $name:literal [$($label:literal),*] $help:literal)*) => {
        $(pub(super) const $id: Family =
            Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*
        /// All of them, in the order of the page.
        #[cfg(test)]
        pub(super) const ALL: &[Family] = &[$($id),*];
    };
}

families! {
    INFO Gauge "atp_build_info" ["version"] "1, with the version of the program."
    START Gauge "process_start_time_seconds" [] "When the server started, in Unix seconds."
    CLOCK Gauge "atp_clock_timestamp_seconds" [] "The time by the server's clock, in Unix seconds."
    READY Gauge "atp_ready" [] "1 if GET ready says so, else 0."
    NOT_READY Gauge "atp_not_ready" ["reason"] "1 for each reason why the server is not ready, else 0."

    ACCEPTED Counter "atp_messages_accepted_total" ["kind"] "Messages accepted: a submission by an own agent, a transfer by a peer."
    REPEATED Counter "atp_messages_repeated_total" [] "Messages that had been accepted before."
    REFUSED Counter "atp_messages_refused_total" ["reason"] "Messages refused, submissions and transfers, by reason."
    UNREAD Counter "atp_messages_refused_unread_total" [] "Of these, messages refused before they were read, because the server was not ready."
    CHECKS Counter "atp_transfer_checks_total" ["check","result"] "Transfers judged: ats is the sending domain's policy, atk its signature."
    SUBMISSION Histogram "atp_submission_duration_seconds" [] "From a submission being read until it is on disk."
    TRANSFER Histogram "atp_transfer_duration_seconds" [] "From a transfer being read until it is in its mailbox, on disk."
    VERIFY Histogram "atp_verify_duration_seconds" [] "Judging a transfer, DNS included."

    QUEUE Gauge "atp_queue_messages" ["state"] "Messages in the queue, counted by recipient: waiting for their first attempt, deferred after one, delivering now."
    OLDEST Gauge "atp_queue_oldest_age_seconds" [] "How long ago the oldest message in the queue was accepted; 0 if it is empty."
    DESTINATION_QUEUE Gauge "atp_destination_queue_messages" ["destination"] "Deferred messages for the destinations in the most trouble, at most 20."
    DESTINATION_OLDEST Gauge "atp_destination_oldest_age_seconds" ["destination"] "How long ago the oldest of them was accepted."
    DESTINATION_FAILING Gauge "atp_destination_failing_seconds" ["destination"] "For how long every attempt there has failed."
    SUSPENDED Gauge "atp_destinations_suspended" [] "Destinations to which nothing is sent at the moment."
    ATTEMPTS Counter "atp_attempts_total" ["outcome"] "Attempts ended: transferred, inferred (taken, as a refused repeat shows), deferred, or failed for good."
    BOUNCES Counter "atp_bounces_total" [] "Messages returned to their senders, counted by recipient."
    NOTICES Counter "atp_delay_notices_total" [] "Senders told that a message is late."
    RECEIPTS Counter "atp_receipts_total" ["event"] "Receipts: sent to a peer, dropped because none wanted them, heard from a peer."
    DELIVERY Histogram "atp_delivery_duration_seconds" [] "From a submission being accepted until the recipient's server has taken it."
    ATTEMPT Histogram "atp_attempt_duration_seconds" [] "Attempts, whatever came of them."
    SIGN Histogram "atp_sign_duration_seconds" [] "Signing a message."

    DNS Counter "atp_dns_lookups_total" ["type","result"] "Questions to the resolver; answers that were still known are not counted."
    DNS_TIME Histogram "atp_dns_lookup_duration_seconds" [] "Questions to the resolver."
    DIALS Counter "atp_dials_total" ["result"] "Connections to peers."
    DIAL Histogram "atp_dial_duration_seconds" [] "Connections to peers that came about, TCP and TLS together."
    CONNECTIONS Counter "atp_connections_total" [] "Connections taken on the public port."
    OPEN Gauge "atp_connections_open" [] "Of these, connections that are open."
    HANDSHAKE_FAILURES Counter "atp_tls_handshake_failures_total" [] "TLS handshakes on the public port that failed."
    HANDSHAKE Histogram "atp_tls_handshake_duration_seconds" [] "TLS handshakes on the public port that came about."
    STREAMS Gauge "atp_streams_open" [] "Streams and calls that wait for messages."

    CREDENTIALS Counter "atp_credentials_total" ["result"] "Agents' passwords and tokens shown."
    OPERATOR_REFUSALS Counter "atp_operator_refusals_total" [] "The operator's calls refused for want of a good token."
    LIMITED Counter "atp_limited_total" ["limit"] "Calls and messages refused because there were too many, by limit."
    HASHES_COMPUTED Counter "atp_password_hashes_total" [] "Argon2 hashes computed, for passwords shown and set."
    HASHES Gauge "atp_password_checks_waiting" [] "Requests that wait until their password can be checked."
    MAILBOX Counter "atp_mailbox_messages_total" ["event"] "Messages put into mailboxes, claimed by workers, returned, acknowledged, made dead letters."
    PUSHES Counter "atp_webhook_pushes_total" ["result"] "Pushes to webhooks."
    WEBHOOKS_DISABLED Counter "atp_webhooks_disabled_total" [] "Webhooks disabled for failing too long, or because their receiver said so."

    SYNC Histogram "atp_store_sync_duration_seconds" [] "Syncs of the store to disk; messages that wait share one."
    WRITTEN Counter "atp_store_written_bytes_total" [] "Bytes of keys and values written to the store."
    STORE_FAILURES Counter "atp_store_failures_total" [] "Writes and syncs of the store that failed."
    STORE_SIZE Gauge "atp_store_size_bytes" [] "Bytes of disk that the store takes."
    DISK_FREE Gauge "atp_disk_free_bytes" [] "Bytes of its file system that may still be written."
    DISK_SIZE Gauge "atp_disk_size_bytes" [] "Bytes of its file system."
    MEMORY Gauge "process_resident_memory_bytes" [] "Memory of the server that is resident."
    MEMORY_LIMIT Gauge "atp_memory_limit_bytes" [] "Memory that the server may use: the machine's, or its control group's."

    CERTIFICATE Gauge "atp_certificate_expiry_timestamp_seconds" ["domain","own"] "When the certificate shown for a domain ends, in Unix seconds; own is yes if the server made it itself."
    KEYS Gauge "atp_signing_keys" ["domain","state"] "Signing keys."
    KEY_EXPIRY Gauge "atp_signing_key_expiry_timestamp_seconds" ["domain","selector"] "When a signing key ends, in Unix seconds; nothing for one that does not."
    ACME_SUCCESS Gauge "atp_acme_last_success_timestamp_seconds" [] "From when the certificate that the authority last gave is valid, in Unix seconds; 0 if it has given none."
    ACME_FAILURES Gauge "atp_acme_failures" [] "Failures in a row to be given a certificate."
    RELOAD_TIME Gauge "atp_config_last_reload_timestamp_seconds" [] "When the configuration was last reloaded, in Unix seconds; nothing before the first time."
    RELOAD_SUCCESS Gauge "atp_config_last_reload_successful" [] "1 if that was carried out, else 0."
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

    fn row(family: &Family) -> String {
        let kind = format!("{:?}", family.kind).to_lowercase();
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {kind} | {} | {} |", family.name, labels.join(", "), family.help)
    }

    #[test]
    fn the_document_has_every_metric_as_it_is() {
        let rows: Vec<String> = ALL.iter().map(row).collect();
        let written: Vec<&str> = DOCUMENT
            .lines()
            .filter(|line| line.starts_with("| `atp_") || line.starts_with("| `process_"))
            .collect();
        assert_eq!(written, rows, "docs/metrics.md must have these rows:\n{}\n", rows.join("\n"));
    }

    #[test]
    fn names_follow_the_conventions() {
        let names: BTreeSet<&str> = ALL.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), ALL.len(), "a name twice");
        for family in ALL {
            assert_eq!(family.name.ends_with("_total"), family.kind == Kind::Counter, "{}", family.name);
            assert_eq!(
                family.name.ends_with("_duration_seconds"),
                family.kind == Kind::Histogram,
                "{}",
                family.name
            );
            assert!(family.help.ends_with('.') && !family.help.contains(['\\', '\n']), "{}", family.name);
        }
    }
}
