"""Sends a request and waits for the answer: ask.py TO TEXT"""

import sys

from atp import call, send

to, text = sys.argv[1:]
nonce = send(to, "request", {"body": text})
while True:
    # Answered the moment something that answers this request arrives; a bounce does so too.
    page = call("GET", f"messages?in_reply_to={nonce}&wait=30")
    for message in page["messages"]:
        print(message["payload"]["body"])
        sys.exit(0 if message["type"] == "response" else 1)
