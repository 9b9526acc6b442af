# The two calls that the examples for curl need. Answers are picked apart with sed, so that nothing else is needed; a
# program of your own would use jq.

: "${ATP_SERVER:=https://localhost:7443}"
: "${ATP_AGENT:?}" "${ATP_TOKEN:?}"

# call METHOD PATH [BODY]: calls the agent's own server. The credential goes through a file that only curl reads, so
# that no list of processes shows it.
call() {
    curl --silent --show-error --fail-with-body ${ATP_CA:+--cacert "$ATP_CA"} --max-time 90 \
        --config <(printf 'user = "%s:%s"' "$ATP_AGENT" "$ATP_TOKEN") \
        --request "$1" --header 'Content-Type: application/json' ${3:+--data "$3"} \
        "$ATP_SERVER/.well-known/atp/v1/$2"
}

# member NAME: the first text member of that name in the JSON on standard input.
member() {
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" | head -n 1
}

# send TO TYPE TEXT [IN_REPLY_TO]: sends a message and prints its nonce.
send() {
    local nonce
    nonce="msg-$(od -An -N6 -tx1 /dev/urandom | tr -d ' ')"
    call POST message "{\"from\":\"$ATP_AGENT\",\"to\":\"$1\",\"timestamp\":$(date +%s),\"nonce\":\"$nonce\",
        \"type\":\"$2\",\"payload\":{\"body\":\"$3\"}${4:+,\"in_reply_to\":\"$4\"}}" >/dev/null
    echo "$nonce"
}
