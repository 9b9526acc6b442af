#!/usr/bin/env bash
# Takes one message at a time out of the mailbox, answers it and acknowledges it.
set -euo pipefail
source "$(dirname "$0")/atp.sh"

while true; do
    # Nobody else is given the message for two minutes. If this program dies, it comes back then.
    claim=$(call POST me/claims '{"limit":1,"lease_seconds":120,"wait":30}')
    id=$(member id <<<"$claim")
    [[ -n $id ]] || continue
    if [[ $(member type <<<"$claim") == request ]]; then
        text=$(member body <<<"$claim")
        send "$(member from <<<"$claim")" response "You asked: $text" "$(member nonce <<<"$claim")" >/dev/null
    fi
    call POST "me/claims/$id/ack" '{"outcome":"completed"}' >/dev/null
    echo "done: $id"
done
