"""OpenFeature's Python SDK with its OFREP provider: one POST an evaluation."""
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode

from world import BASE, CLIENT_KEY, Tally, cases, same

DEFAULTS = {"string": "code default", "number": -7.5, "boolean": False, "json": {"code": "default"}}
METHODS = {"string": "get_string_details", "number": "get_float_details", "boolean": "get_boolean_details", "json": "get_object_details"}
api.set_provider(OFREPProvider(BASE, headers_factory=lambda: {"Authorization": f"Bearer {CLIENT_KEY}"}))
api.set_provider(OFREPProvider(BASE, headers_factory=lambda: {"Authorization": "Bearer wrong"}), "stranger")
client, tally = api.get_client(), Tally()
for e, u, want in cases():
    d = getattr(client, METHODS[e["kind"]])(e["key"], DEFAULTS[e["kind"]], EvaluationContext(u["id"], u["attributes"]))
    if want:
        ok = d.variant == want and same(d.value, e["values"][want]) and d.reason == "SPLIT"
    else:
        ok = d.variant == "not_enrolled" and same(d.value, e["values"][e["control"]]) and d.reason in ("DEFAULT", "DISABLED")
    tally.check(f"{e['key']} of {u['id']!r}, want {want}", ok and not d.error_code, d)
unit = EvaluationContext("u", {})
d = client.get_string_details("none", "x", unit)
tally.check("an unknown flag", d.error_code == ErrorCode.FLAG_NOT_FOUND and d.value == "x", d)
d = client.get_string_details("halves", "x", EvaluationContext())
tally.check("no unit", d.error_code == ErrorCode.TARGETING_KEY_MISSING, d)
d = api.get_client("stranger").get_string_details("halves", "x", unit)
tally.check("a wrong key", d.error_message in ("unauthorized", "forbidden"), d)
d = client.get_integer_details("whole", -7, unit)
tally.check("an integer stays one", d.value in (1, 2) and isinstance(d.value, int) and not d.error_code, d)
d = client.get_string_details("halves", "x", EvaluationContext("u", {"n": None, "list": [1, {"a": "b"}], "deep": {"x": {"y": 1}}}))
tally.check("null, lists and objects in the context", not d.error_code, d)
tally.finish()
