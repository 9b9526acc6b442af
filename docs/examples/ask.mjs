// Sends a request and waits for the answer: ask.mjs TO TEXT

import { call, send } from "./atp.mjs";

const [to, text] = process.argv.slice(2);
const nonce = await send(to, "request", { body: text });
for (;;) {
  // Answered the moment something that answers this request arrives; a bounce does so too.
  const { messages } = await call("GET", `messages?in_reply_to=${nonce}&wait=30`);
  for (const message of messages) {
    console.log(message.payload.body);
    process.exit(message.type === "response" ? 0 : 1);
  }
}
