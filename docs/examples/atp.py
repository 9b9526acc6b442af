"""The three calls that the Python examples need, with the standard library alone."""

import base64
import json
import os
import secrets
import ssl
import time
import urllib.error
import urllib.request

SERVER = os.environ.get("ATP_SERVER", "https://localhost:7443")
AGENT = os.environ["ATP_AGENT"]
CREDENTIAL = base64.b64encode(f"{AGENT}:{os.environ['ATP_TOKEN']}".encode()).decode()
TLS = ssl.create_default_context(cafile=os.environ.get("ATP_CA"))


def call(method, path, body=None):
    """Calls the agent's own server; what it answers. A refusal is raised in the server's own words."""
    request = urllib.request.Request(
        f"{SERVER}/.well-known/atp/v1/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Basic {CREDENTIAL}", "Content-Type": "application/json"},
    )
    try:
        # Longer than the server waits for something to arrive.
        with urllib.request.urlopen(request, context=TLS, timeout=90) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refusal:
        told = json.load(refusal)
        raise SystemExit(f"{told['error']} ({told['error_code']})") from None


def send(to, kind, payload, **more):
    """Sends a message; its nonce. With the same nonce it can be sent again after a lost answer."""
    nonce = f"msg-{secrets.token_hex(6)}"
    message = {"from": AGENT, "to": to, "timestamp": int(time.time()), "nonce": nonce, "type": kind, "payload": payload}
    call("POST", "message", message | more)
    return nonce
