"""Prints each line of JSON as Python reads it: equal values print equally, 1 and 1.0 do not."""

import json
import sys

for line in sys.stdin:
    print(json.dumps(json.loads(line), sort_keys=True))
