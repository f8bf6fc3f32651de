"""The world that run.py made on the server, and what each unit must get in it: computed here, not asked of the server."""
import json, os, sys

BASE, CLIENT_KEY, ADMIN_KEY, SWITCH = (os.environ.get(name, "") for name in ("BASE_URL", "CLIENT_KEY", "ADMIN_KEY", "SWITCH"))
with open(os.environ["WORLD"], encoding="utf-8") as f:
    WORLD = json.load(f)


def murmur3(data, seed):
    """murmur3_x86_32 (Austin Appleby)."""
    mask, h, whole = 0xFFFFFFFF, seed, len(data) & ~3

    def rotl(x, n):
        return (x << n | x >> 32 - n) & mask

    def mixed(k):
        return rotl(k * 0xCC9E2D51 & mask, 15) * 0x1B873593 & mask

    for i in range(0, whole, 4):
        h = rotl(h ^ mixed(int.from_bytes(data[i:i + 4], "little")), 13) * 5 + 0xE6546B64 & mask
    if whole < len(data):
        h ^= mixed(int.from_bytes(data[whole:], "little"))
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & mask
    h = (h ^ h >> 13) * 0xC2B2AE35 & mask
    return h ^ h >> 16


def bucket(salt, unit):
    return murmur3(f"{salt}:{unit}".encode(), 86028157) % 100000


def inside(gate, unit):
    b = bucket(gate["salt"], unit)
    return any(r["start"] <= b < r["end"] for r in gate["ranges"])


HOLDS = {
    "IN": lambda value, values: str(value) in values,
    "NUM_GTE": lambda value, values: float(value) >= float(values[0]),
    "SEMVER_GT": lambda value, values: [int(n) for n in value.split(".")] > [int(n) for n in values[0].split(".")],
}


def expected(e, unit):
    """The variant of a unit, or None."""
    if e["status"] != "running" or any(inside(h, unit["id"]) for h in e["holdouts"]) or e["layer"] and not inside(e["layer"], unit["id"]):
        return None
    for c in e["targeting"]:
        value = unit["attributes"].get(c["attribute"])
        if value is None or not HOLDS[c["operator"]](value, c["values"]):
            return None
    b = bucket(e["salt"], unit["id"])
    return next((r["variant"] for r in e["ranges"] if r["start"] <= b < r["end"]), None)


def cases():
    """Every (experiment, unit, variant or None)."""
    return ((e, u, expected(e, u)) for e in WORLD["experiments"] for u in WORLD["units"])


def same(a, b):
    """Equal in type too: True is not 1."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


class Tally:
    """Counts what was compared and ends the program."""

    def __init__(self):
        self.right, self.wrong = 0, []

    def check(self, what, ok, got):
        if ok:
            self.right += 1
        else:
            self.wrong.append(f"{what}: {got!r}")

    def finish(self):
        for line in self.wrong[:5]:
            print("WRONG", line)
        print(f"{self.right} right, {len(self.wrong)} wrong", flush=True)
        sys.stdout.flush()
        os._exit(1 if self.wrong else 0)  # the SDKs' threads may still run
