"""Drives one ATPClient of the reference: a step per line of JSON in, its result as a line of JSON out.

The client lives through all steps, so its cursor does too.
"""

import asyncio
import json
import sys

import httpx
from atp.client import ATPClient

WAIT_SECONDS = 20
HEAD_START_SECONDS = 0.5


def plain(messages):
    return [message.to_dict() for message in messages]


async def wait_while_sending(client, to, payload):
    """Waits for mail, and sends some only once the wait has found the mailbox empty."""
    waiting = asyncio.create_task(client.recv(wait=True, timeout=WAIT_SECONDS))
    await asyncio.sleep(HEAD_START_SECONDS)
    early = waiting.done()
    sent = await client.send(to, payload=payload)
    return {"early": early, "sent": sent, "received": plain(await waiting)}


async def post_as_is(server, agent, password, body):
    """Submits a text that the reference's own client would not write."""
    async with httpx.AsyncClient(verify=False) as http:
        answer = await http.post(
            f"https://{server}/.well-known/atp/v1/message",
            content=body.encode(),
            headers={"Content-Type": "application/atp+json"},
            auth=(agent, password),
        )
        return {"http": answer.status_code, "body": answer.json()}


async def page_as_is(server, agent, password):
    """Reads a mailbox without the client's own idea of a message."""
    async with httpx.AsyncClient(verify=False) as http:
        answer = await http.get(f"https://{server}/.well-known/atp/v1/messages", auth=(agent, password))
        return answer.json()


async def main(agent, password, server):
    client = ATPClient(agent_id=agent, password=password, server=server, no_verify=True)
    for line in sys.stdin:
        step = json.loads(line)
        match step["do"]:
            case "send":
                result = await client.send(step["to"], payload=step["payload"])
            case "recv":
                result = plain(await client.recv())
            case "wait":
                result = await wait_while_sending(client, step["to"], step["payload"])
            case "post":
                result = await post_as_is(server, agent, password, step["body"])
            case "page":
                result = await page_as_is(server, agent, password)
        print(json.dumps(result), flush=True)
    await client.close()


asyncio.run(main(*sys.argv[1:]))
