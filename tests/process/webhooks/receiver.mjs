// A receiver of webhooks that verifies with the published library: receiver.mjs CHAIN KEY SECRET RESULTS.
//
// It prints its port. SECRET is read at each push; what came of it is a line of JSON in RESULTS.

import fs from "node:fs";
import http2 from "node:http2";

import { Webhook } from "standardwebhooks";

const [chain, key, secret, results] = process.argv.slice(2);
const options = { cert: fs.readFileSync(chain), key: fs.readFileSync(key), allowHTTP1: true };

const server = http2.createSecureServer(options, (request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const { headers } = request;
    const found = { path: request.url, http: `HTTP/${request.httpVersion}`, id: headers["webhook-id"],
                    signatures: headers["webhook-signature"].split(" ").length };
    try {
      const body = Buffer.concat(chunks).toString("utf8");
      found.event = new Webhook(fs.readFileSync(secret, "utf8").trim()).verify(body, headers);
      found.verified = true;
    } catch (error) {
      found.verified = false;
      found.error = String(error);
    }
    fs.appendFileSync(results, JSON.stringify(found) + "\n");
    response.writeHead(found.verified ? 204 : 400);
    response.end();
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
