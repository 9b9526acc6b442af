"""The reference's command line with a resolver of the suite's: the first argument is its IP:PORT.

It knows no other than the system's, and no other port than 53.
"""

import runpy
import sys

import dns.asyncresolver

address, port = sys.argv.pop(1).rsplit(":", 1)


class Resolver(dns.asyncresolver.Resolver):
    def __init__(self):
        super().__init__(configure=False)
        self.nameservers = [address]
        self.port = int(port)


dns.asyncresolver.Resolver = Resolver
runpy.run_module("atp", run_name="__main__")
