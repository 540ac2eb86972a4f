"""Which internet addresses a stranger may have us call.

Python's own `is_global` does not answer that: 3.11 says yes to multicast, to 192.0.0.8, fec0::/10,
and to forms that carry an IPv4 address inside (64:ff9b::/96, 2002::/16, ::/96).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

# https://www.iana.org/assignments/iana-ipv4-special-registry, with those entries too that can be
# reached from everywhere: they are relays and sinks, and no photo lies there.
_NOT_PUBLIC_4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host on this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by customers of a provider; one cloud's metadata
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local; most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocols; one cloud's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT relays
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        # https://www.iana.org/assignments/multicast-addresses
        "224.0.0.0/4",
        "240.0.0.0/4",  # reserved, with the broadcast address
        # Within Azure this public address is the host's own agent, with its keys:
        # https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
        "168.63.129.16/32",
    )
)

# https://www.iana.org/assignments/ipv6-address-space: all else is not assigned to anybody, or
# local, or multicast, or an IPv4 address in disguise (::/96, ::ffff:0:0/96, 64:ff9b::/96).
_ASSIGNED_6 = IPv6Network("2000::/3")

# https://www.iana.org/assignments/iana-ipv6-special-registry, as far as within 2000::/3.
_NOT_PUBLIC_6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocols: Teredo, benchmarks, ORCHID, and what may be added
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # 6bone, given back: RFC 3701
        "3fff::/20",  # documentation
    )
)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address belongs to the internet at large, going by the registries of IANA.

    IPv6 forms that carry an IPv4 address are refused, whichever they carry, and so is an address
    with a scope. What no registry knows cannot be known here: an inner network that uses public
    addresses behind a firewall, or a NAT64 prefix of its own, needs a firewall for us as well.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    # The networks' `in` ignores a scope.
    if address.scope_id is not None or address not in _ASSIGNED_6:
        return False
    return not any(address in network for network in _NOT_PUBLIC_6)
