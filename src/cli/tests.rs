use clap::CommandFactory as _;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

/// Every flag can also be given in the environment.
#[test]
fn every_flag_has_a_variable() {
    fn walk(command: &clap::Command, path: &str) {
        for argument in command.get_arguments().filter(|argument| argument.get_long().is_some()) {
            let name = argument.get_id().as_str();
            if !matches!(name, "help" | "version") {
                let variable = argument.get_env().and_then(|name| name.to_str()).unwrap_or_default();
                assert!(variable.starts_with("ATP_"), "{path} --{name} has no variable");
            }
        }
        for sub in command.get_subcommands() {
            walk(sub, &format!("{path} {}", sub.get_name()));
        }
    }
    walk(&Cli::command(), "atp");
}

#[test]
fn commands_that_make_no_sense_end_with_2() {
    for line in ["atp", "atp send", "atp nonsense", "atp recv --limit x", "atp keys", "atp send a@b.c --from"]
    {
        let error = Cli::try_parse_from(line.split(' ')).err().unwrap();
        assert_eq!(error.exit_code(), 2, "{line}");
    }
    for line in ["atp --help", "atp --version", "atp send --help"] {
        assert_eq!(Cli::try_parse_from(line.split(' ')).err().unwrap().exit_code(), 0, "{line}");
    }
}

/// The commands of the quick start and of the published implementation's documentation.
#[test]
fn known_commands_are_understood() {
    for line in [
        "atp server start --domain example.com --port 7443",
        "atp server start --domain example.com --cert server.crt --key server.key",
        "atp server start --domain a.test --domain b.test --dns-server 127.0.0.1:53 --log-level INFO",
        "atp agent register mybot --server example.com -p mypassword",
        "atp agent register agent --server 127.0.0.1:7443 --no-verify -p alice_pass",
        "atp agent list --server example.com --admin-token t",
        "atp agent remove mybot@example.com",
        "atp agent remove mybot@example.com --release",
        "atp send agent@remote.org --from mybot --password mypassword --server example.com --body Hello!",
        "atp send agent@remote.org --from mybot -P pw --server a --payload - --cc a@b.c --cc d --in-reply-to n",
        "atp send a@b.c --from mybot --wait --timeout 5 --receipt delivered,acked --body x",
        "atp send a@b.c --from mybot --wait=acked --body x",
        "atp ask a@b.c --from mybot -b x --timeout 5 --context-id c --json",
        "atp reply msg-0 --from mybot -b x --wait",
        "atp reply #7 --from mybot --payload -",
        "atp recv --agent-id agent --password bob_pass --server 127.0.0.1:7444 --no-verify",
        "atp recv --agent-id a@b.c --wait --timeout 5 --limit 10 --after 7 --output json",
        "atp recv --agent-id a@b.c --follow --new --from x@y.z --type response --context-id c --since 2h --json",
        "atp recv --agent-id a@b.c --received --in-reply-to msg-1 --since 1767225600",
        "atp --json recv --agent-id postmaster@a.test",
        "atp login --server example.com --agent bot",
        "atp login --server example.com --agent-id bot --as work --scope receive --expires 90d",
        "atp use work",
        "atp whoami --as work",
        "atp logout",
        "atp send agent@remote.org --as work --body Hello!",
        "atp agent token create ci --scope send --expires 90d --agent-id bot --server example.com",
        "atp agent token list",
        "atp agent token revoke ci",
        "atp agent password --revoke-tokens",
        "atp claim --limit 5 --lease 600 --wait --timeout 3600 --as work",
        "atp ack c17-0123456789abcdef --outcome failed --payload {}",
        "atp ack 17",
        "atp nack c17-0123456789abcdef --delay 60 --reason busy",
        "atp extend c17-0123456789abcdef --lease 600",
        "atp dead list --limit 10 --after 7",
        "atp dead restore 17 --json",
        "atp delete 17 #18 --agent-id agent --server 127.0.0.1:7443 --no-verify -P pw",
        "atp delete --through 17 --agent-id a@b.c",
        "atp agent limits agent@a.test",
        "atp agent limits agent@a.test --keep-unread never --keep-acknowledged 1d --quota 1GiB --json",
        "atp store compact --domain a.test",
        "atp keys generate --selector s2 --domain a.test",
        "atp keys show --public",
        "atp keys rotate --new-selector s2 --force",
        "atp keys import default.key --domain a.test",
        "atp dns generate --domain example.com --ip 203.0.113.1 --ip 2001:db8::1",
        "atp dns generate --domain a.example,b.example --target m1.a.example=192.0.2.1,2001:db8::1@10 --ttl 300 --srv",
        "atp dns generate --config atp.toml --format terraform --provider route53 --ip 203.0.113.1 --zone example.com",
        "atp dns generate --domain example.com --ip 203.0.113.1 --template records.in",
        "atp dns check --domain example.com",
        "atp dns check --config atp.toml",
        "atp dns check --target m1.a.example=192.0.2.1 --target m2.a.example=192.0.2.2@20",
        "atp keys list --check --config atp.toml",
        "atp dns check --all --records-only --ca ca.pem --dns-server 127.0.0.1:5353 --json",
        "atp queue list --to-domain b.test --from a@a.test --older-than 2h --state held --error refused --limit 0",
        "atp queue show msg-0 --domain a.test",
        "atp queue hold --all --dry-run",
        "atp queue bounce 12.0 msg-1 --reason gone --yes --json",
        "atp queue suspend b.test c.test",
        "atp status --server example.com --admin-token t --json",
        "atp inspect msg-0 --server example.com --admin-token t",
        "atp inspect msg-0 --agent-id agent -P pw --server 127.0.0.1:7443 --no-verify --json",
        "atp demo --keep",
    ] {
        if let Err(error) = Cli::try_parse_from(line.split(' ')) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn no_tls_is_explained() {
    let cli = Cli::try_parse_from(["atp", "server", "start", "--domain", "a.test", "--no-tls"]).unwrap();
    let error = cli.run().unwrap_err();
    assert_eq!(error.code, 2);
    assert!(error.message.starts_with("--no-tls does not exist"), "{}", error.message);
}
