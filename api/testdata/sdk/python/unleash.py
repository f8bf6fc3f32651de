"""UnleashClient: fetches the features and evaluates locally (Unleash's Rust engine)."""
import json, logging, tempfile, time, urllib.request

from UnleashClient import UnleashClient
from UnleashClient.events import UnleashEventType

from world import ADMIN_KEY, BASE, CLIENT_KEY, SWITCH, Tally, cases, same

warnings, fetched, interval = [], [], 1


class Keep(logging.Handler):
    """Keeps warnings, but for what the SDK says of a flag that it does not have."""

    def emit(self, record):
        if not record.getMessage().startswith("Attempted to get feature flag/variation scored"):
            warnings.append(record.getMessage())


logging.getLogger("UnleashClient").addHandler(Keep(level=logging.WARNING))
client = UnleashClient(f"{BASE}/api", "sdk", custom_headers={"Authorization": CLIENT_KEY}, refresh_interval=interval, metrics_interval=1, cache_directory=tempfile.mkdtemp(),
                       event_callback=lambda e: fetched.append(e) if e.event_type == UnleashEventType.FETCHED else None)
client.initialize_client()
tally = Tally()
for e, u, want in cases():
    v = client.get_variant(e["key"], {"userId": u["id"], "properties": {name: str(value) for name, value in u["attributes"].items()}})
    if not e["local"]:
        tally.check(f"{e['key']} stays on the server", v["name"] == "disabled", v)
        continue
    if want:
        p = v.get("payload") or {}
        ok = v["enabled"] and v["name"] == want and bool(p) and same(p["value"] if p["type"] == "string" else json.loads(p["value"]), e["values"][want])
    else:
        ok = v["name"] not in e["values"]
    tally.check(f"{e['key']} of {u['id']!r}, want {want}", ok, v)
if SWITCH:
    time.sleep(1.5 * interval)
    tally.check("polls without a change are 304", len(fetched) == 1, len(fetched))
    tally.check("the switch is on", client.is_enabled(SWITCH, {"userId": "u"}), None)
    urllib.request.urlopen(urllib.request.Request(f"{BASE}/v1/experiments/{SWITCH}/stop", b"", {"Authorization": f"Bearer {ADMIN_KEY}"}, method="POST")).read()
    stopped = time.time()
    while client.is_enabled(SWITCH, {"userId": "u"}) and time.time() - stopped < 10:
        time.sleep(0.02)
    tally.check("a stop shows within an interval", time.time() - stopped < interval + 0.5, time.time() - stopped)
tally.check("register and metrics without a warning", not warnings, warnings[:3])
tally.finish()
