"""Takes one message at a time out of the mailbox, answers it and acknowledges it."""

from atp import call, send

while True:
    # Nobody else is given the message for two minutes. If this program dies, it comes back then.
    claims = call("POST", "me/claims", {"limit": 1, "lease_seconds": 120, "wait": 30})["claims"]
    for claim in claims:
        message = claim["message"]
        if message["type"] == "request":
            text = message["payload"].get("body", "")
            answer = {"body": f"You asked: {text}"}
            send(message["from"], "response", answer, in_reply_to=message["nonce"])
        call("POST", f"me/claims/{claim['id']}/ack", {"outcome": "completed"})
        print(f"done: {message['type']} {message['nonce']} from {message['from']}", flush=True)
