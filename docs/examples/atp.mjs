// The two calls that the JavaScript examples need, with what comes with Node.js alone.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { request } from "node:https";

const server = process.env.ATP_SERVER ?? "https://localhost:7443";
const agent = process.env.ATP_AGENT;
const credential = Buffer.from(`${agent}:${process.env.ATP_TOKEN}`).toString("base64");
const ca = process.env.ATP_CA && readFileSync(process.env.ATP_CA);

/** Calls the agent's own server; what it answers. A refusal is thrown in the server's own words. */
export function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = { Authorization: `Basic ${credential}`, "Content-Type": "application/json" };
    const asked = request(`${server}/.well-known/atp/v1/${path}`, { method, headers, ca }, async (answer) => {
      let text = "";
      for await (const part of answer.setEncoding("utf8")) text += part;
      const told = JSON.parse(text);
      if (answer.statusCode < 300) resolve(told);
      else reject(new Error(`${told.error} (${told.error_code})`));
    });
    asked.on("error", reject);
    asked.end(body && JSON.stringify(body));
  });
}

/** Sends a message; its nonce. With the same nonce it can be sent again after a lost answer. */
export async function send(to, type, payload, more = {}) {
  const nonce = `msg-${randomBytes(6).toString("hex")}`;
  const timestamp = Math.floor(Date.now() / 1000);
  await call("POST", "message", { from: agent, to, timestamp, nonce, type, payload, ...more });
  return nonce;
}
