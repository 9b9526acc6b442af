#!/usr/bin/env bash
# Sends a request and waits for the answer: ask.sh TO TEXT
set -euo pipefail
source "$(dirname "$0")/atp.sh"

nonce=$(send "$1" request "$2")
while true; do
    # Answered the moment something that answers this request arrives; a bounce does so too.
    page=$(call GET "messages?in_reply_to=$nonce&wait=30")
    if [[ $(member type <<<"$page") == response ]]; then
        member body <<<"$page"
        exit 0
    fi
    [[ $page == *'"messages":[]'* ]] || { member body <<<"$page"; exit 1; }
done
