"""Nobody waits long here: a call that waits for messages is made to wait for a second at most."""

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    for part in (case.body, case.query):
        wait = part.get("wait") if isinstance(part, dict) else None
        if isinstance(wait, int) and not isinstance(wait, bool) and 1 < wait <= 60:
            part["wait"] = 1
