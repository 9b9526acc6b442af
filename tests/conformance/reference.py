"""The reference's command line in a world whose names the suite's DNS knows: the first argument is its IP:PORT.

By itself it asks the system's resolver, at port 53, for records and for the addresses of its peers.
"""

import ipaddress
import runpy
import socket
import sys

import dns.asyncresolver
import dns.resolver

address, port = sys.argv.pop(1).rsplit(":", 1)
systems = socket.getaddrinfo


def pointed(resolver):
    resolver.nameservers = [address]
    resolver.port = int(port)
    return resolver


class Resolver(dns.asyncresolver.Resolver):
    def __init__(self):
        super().__init__(configure=False)
        pointed(self)


def is_address(host):
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def getaddrinfo(host, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else host
    if name is None or is_address(name):
        return systems(host, *args, **kwargs)
    try:
        found = pointed(dns.resolver.Resolver(configure=False)).resolve(name, "A")
    except dns.exception.DNSException as error:
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from error
    return systems(str(found[0]), *args, **kwargs)


dns.asyncresolver.Resolver = Resolver
socket.getaddrinfo = getaddrinfo
runpy.run_module("atp", run_name="__main__")
