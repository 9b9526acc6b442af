// Takes one message at a time out of the mailbox, answers it and acknowledges it.

import { call, send } from "./atp.mjs";

for (;;) {
  // Nobody else is given the message for two minutes. If this program dies, it comes back then.
  const { claims } = await call("POST", "me/claims", { limit: 1, lease_seconds: 120, wait: 30 });
  for (const { id, message } of claims) {
    if (message.type === "request") {
      const answer = { body: `You asked: ${message.payload.body ?? ""}` };
      await send(message.from, "response", answer, { in_reply_to: message.nonce });
    }
    await call("POST", `me/claims/${id}/ack`, { outcome: "completed" });
    console.log(`done: ${message.type} ${message.nonce} from ${message.from}`);
  }
}
