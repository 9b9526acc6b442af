"""A receiver of webhooks that verifies with the published library: receiver.py CHAIN KEY SECRET RESULTS.

It prints its port. SECRET is read at each push; what came of it is a line of JSON in RESULTS.
"""

import http.server
import json
import ssl
import sys

from standardwebhooks import Webhook

chain, key, secret, results = sys.argv[1:]


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        found = {"path": self.path, "http": self.request_version, "id": self.headers["webhook-id"],
                 "signatures": len(self.headers["webhook-signature"].split(" "))}
        try:
            with open(secret) as file:
                event = Webhook(file.read().strip()).verify(body, dict(self.headers))
            found |= {"verified": True, "event": event}
        except Exception as error:
            found |= {"verified": False, "error": repr(error)}
        with open(results, "a") as file:
            file.write(json.dumps(found) + "\n")
        self.send_response(204 if found["verified"] else 400)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(chain, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
