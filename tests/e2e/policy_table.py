# SPDX-License-Identifier: Apache-2.0
"""The table of network rules: options of a sandbox, what it tries to reach, what has to come of it.

`expected()` says the contract once more in its own words; nothing of it is taken from the broker.
"""

import ipaddress
import itertools

PUBLIC, OTHER, OPENED = "93.184.215.14", "93.184.216.15", "10.88.0.1"
PUBLIC6, OTHER6 = "2620:fe::14", "2620:fe:1::15"
PRIVATE, METADATA = "10.77.0.1", "169.254.169.254"
HOST_PUBLIC, HOST_PRIVATE, HOST_OPENED = "93.184.215.1", "10.77.0.2", "10.88.0.2"
HOST6 = "2620:fe::1"
HOST = {HOST_PUBLIC, HOST_PRIVATE, HOST_OPENED, HOST6}
OPEN_BLOCK = "10.88.0.0/16"  # by the operator
PORTS = (22, 80, 443, 8080)

# What each name leads to; a list of lists is gone through from question to question.
ZONE = {
    "www.example.net": [[PUBLIC, PUBLIC6]],
    "api.example.net": [[PUBLIC]],
    "example.net": [[PUBLIC]],
    "www.example.org": [[PUBLIC]],
    "rebind.example.net": [[PUBLIC], [PRIVATE]],
    "both.example.net": [[PUBLIC, PRIVATE]],
    "private.example.net": [[PRIVATE]],
    "opened.example.net": [[OPENED]],
    "metadata.example.net": [[METADATA]],
    "host.example.net": [[HOST_PUBLIC]],
    "mapped.example.net": [["::ffff:" + PRIVATE]],
}
ALIASES = {"alias.example.net": "www.example.net"}

# ---- options ----

EXACT, WILD, ANY = ["www.example.net"], ["*.example.net"], ["*"]
ALLOW = {
    "none": None,
    "addresses": [OTHER, OPENED, PRIVATE, METADATA, HOST_PUBLIC, HOST_OPENED],
    "blocks": ["93.184.215.77/24", "10.0.0.0/8", "2620:fe::/48"],
    "address6": [OTHER6, "::ffff:" + PRIVATE],
    "exact": EXACT,
    "wild": WILD,
    "any name": ANY,
    "everything": ["0.0.0.0/0"],
    "mixed": [*EXACT, "api.example.net", OTHER],
}
DENY = {
    "none": None,
    "address": [PUBLIC],
    "blocks": ["93.184.215.0/24", "2620:fe::/47"],
    "0.0.0.0/0": ["0.0.0.0/0"],
    "::/0": ["::/0"],
}
NEEDS_ALL = ("When specifying allowed domains in allow out, you must include 'ALL_TRAFFIC' in deny "
             "out to block all other traffic.")


def is_block(text):
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


class Options:
    """@internet: allow_internet_access, None: unsaid"""

    def __init__(self, internet, allow, deny):
        self.internet, self.allow, self.deny = internet, allow or [], deny or []
        self.network = {k: v for k, v in (("allow_out", allow), ("deny_out", deny))
                        if v is not None}
        self.blocks = [ipaddress.ip_network(a, strict=False) for a in self.allow if is_block(a)]
        self.domains = [a for a in self.allow if not is_block(a)]
        self.denied = [ipaddress.ip_network(d, strict=False) for d in self.deny]
        self.is_closed = internet is False or any(n.prefixlen == 0 for n in self.denied)
        self.is_refused = bool(self.domains) and "0.0.0.0/0" not in self.deny

    def __repr__(self):
        return f"internet={self.internet} allow={self.allow} deny={self.deny}"


def all_options():
    """Every combination; where internet access is on, that is said and unsaid by turns."""
    on = itertools.cycle((None, True))
    return [Options(False if is_off else next(on), allow, deny)
            for is_off in (False, True) for allow in ALLOW.values() for deny in DENY.values()]


# ---- what has to come of it ----

def plain(name):
    return name.lower().removesuffix(".")


def names(domains, name):
    """Whether one of them names `name`."""
    return any(d == "*" or (d[:2] == "*." and name.endswith(d[1:]) and name != d[2:]) or d == name
               for d in domains)


def covers(network, address):
    """"Everything" is both families, whichever it is written in."""
    return network.prefixlen == 0 or address in network


def resolves(options, name):
    """A name that nothing could be reached by is not looked up for anybody."""
    return not options.is_closed or bool(options.blocks) or names(options.domains, plain(name))


def unmapped(address):
    address = ipaddress.ip_address(address)
    return getattr(address, "ipv4_mapped", None) or address


def judge(options, address, led):
    """"reached", "denied", or the names it may be reached by. @led: the names that led there."""
    nat64 = ipaddress.ip_network("64:ff9b::/96")
    inner = ipaddress.ip_address(int(address) & 0xffffffff) if address in nat64 else address
    chosen = any(n.prefixlen > 0 and address in n for n in options.blocks)
    is_open = address in ipaddress.ip_network(OPEN_BLOCK)
    if str(address) in HOST or not (inner.is_global or (is_open and chosen)):
        return "denied"
    if any(covers(n, address) for n in options.blocks):
        return "reached"
    if not (options.is_closed or any(covers(n, address) for n in options.denied)):
        return "reached"
    return {name for name in led if names(options.domains, name)} or "denied"


def expected(options, address, port, said, led):
    """What a program sees that connects to `address` and says `said` (a name or None)."""
    address = unmapped(address)
    verdict = judge(options, address, led)
    if verdict == "denied":
        return "EHOSTUNREACH" if address.version == 4 else "EACCES"
    if verdict == "reached" or (said and plain(said) in verdict):
        return f"{address} {port}"
    return "ECONNRESET"


# ---- what is tried ----

def spellings(address):
    """An IPv4 address as getaddrinfo() takes it, too."""
    number = int(ipaddress.ip_address(address))
    a, b, c, d = ipaddress.ip_address(address).packed
    return [str(number), hex(number), f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"{a}.{number & 0xffffff}",
            f"{a:#x}.{b}.{c << 8 | d}"]


# Each is tried once by a set of options: closed, or the address of another in other words.
BRIEF = [PRIVATE, METADATA, *sorted(HOST), "::ffff:" + PRIVATE, "::ffff:" + METADATA,
         "::ffff:" + HOST_PRIVATE, "64:ff9b::a4d:1", "fd00::1",
         *(s for a in (METADATA, HOST_PRIVATE, PUBLIC, OTHER) for s in spellings(a)),
         "private.example.net", "metadata.example.net", "host.example.net", "mapped.example.net"]
WHOLE = [PUBLIC, OTHER, OPENED, PUBLIC6, OTHER6, "::ffff:" + PUBLIC, "::ffff:" + OTHER,
         "www.example.net", "WWW.Example.NET.",
         "api.example.net", "alias.example.net", "example.net", "www.example.org",
         "rebind.example.net", "both.example.net", "opened.example.net"]

# How a connection names itself: what it looked up (www where that is an address), another name of
# the same address, one that nobody looked up, none.
SAYS = [(kind, which) for which in ("equal", "shared", "never", None) for kind in ("tls", "http")]
SAYS += [("raw", None), ("dotted", "equal")]


def is_name(target):
    return plain(target) in ZONE or plain(target) in ALIASES


def say(kind, which, target):
    """[kind, name] for the probe."""
    own = plain(target) if is_name(target) else "www.example.net"
    shared = "api.example.net" if own == "www.example.net" else "www.example.net"
    return [kind, {"equal": own, "shared": shared, "never": "never.example.net"}.get(which)]


def dials(turn):
    """[target, port, [kind, name]]; from turn to turn each target meets all ports and sayings."""
    rows = [(target, *SAYS[(turn + i) % len(SAYS)]) for i, target in enumerate(BRIEF)]
    rows += [(target, *s) for target in WHOLE for s in SAYS]
    return [[target, PORTS[(turn + i) % len(PORTS)], say(kind, which, target)]
            for i, (target, kind, which) in enumerate(rows)]


class Checker:
    """Judges what one sandbox says it saw, from one set of options to the next."""

    def __init__(self):
        self.led, self.cnt, self.wrong = {}, 0, []
        self.seen = set()  # outcomes, without the addresses

    def check(self, what, is_right, seen):
        self.cnt += 1
        if not is_right:
            self.wrong.append(f"{what}: {seen}")

    def check_names(self, options, found):
        """Looked up before anything is dialled."""
        for target, addresses in found.items():
            if not is_name(target):
                continue
            should = resolves(options, target)
            self.check(f"{options} look up {target}", bool(addresses) == should, addresses)
            for address in addresses:
                self.led.setdefault(unmapped(address), set()).add(plain(target))

    def check_dials(self, options, result, wanted):
        assert len(result["dials"]) == len(wanted)
        for (target, port, (kind, name)), outcomes in zip(wanted, result["dials"]):
            assert len(outcomes) == len(result["found"][target])
            for address, outcome in zip(result["found"][target], outcomes):
                led = self.led.get(unmapped(address), set())
                right = expected(options, address, port, name, led)
                self.seen.add((plain(target), "reached" if " " in right else right))
                self.check(f"{options}; {target} = {address} port {port} says {kind} {name}: "
                           f"{right}", outcome == right, outcome)

    def check_result(self, options, result, wanted):
        if options.is_refused:
            self.check(f"{options}", NEEDS_ALL in result.get("refused", ""), result)
            return
        assert "refused" not in result, (options, result)
        self.check_names(options, result["found"])
        self.check_dials(options, result, wanted)
