"""Client SDKs, unmodified, from npm, PyPI and the Go module proxy, against the real binary: it starts a server on an empty folder, makes a world of
experiments over HTTP, and lets every driver compare each answer of its SDK with its own computation. Then each driver runs once more with a world in
which one salt is another, and has to find it: a driver that cannot fail proves nothing.

    make sdk
    python3 api/testdata/sdk/run.py bin/perennial build/sdk [DRIVER …]
"""
import argparse, json, os, re, shutil, subprocess, sys, tempfile, time, urllib.error, urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ORDERS = 50
LOCAL = ("node-unleash", "python-unleash", "go-unleash")  # they evaluate locally and poll
SENDERS = ("node-segment", "python-segment", "go-segment")
DRIVERS = ("node-ofrep", "node-web", "node-unleash", "node-frontend", "node-segment", "python-ofrep", "python-unleash", "python-segment", "go-ofrep", "go-unleash", "go-segment")


def experiment(key, values, ranges, kind="string", **more):
    return {"key": key, "salt": f"sdk-{key}", "control": list(values)[0], "kind": kind, "values": values, "status": "running", "targeting": [], "layer": None, "holdouts": [],
            "local": True, "ranges": [{"variant": v, "start": a, "end": b} for v, a, b in ranges]} | more


def world():
    """What the drivers compute with, and what make() writes to the server."""
    ab, halves = {"a": "show-a", "b": "show-b"}, [("a", 0, 50_000), ("b", 50_000, 100_000)]
    rule = [{"attribute": "country", "operator": "IN", "values": ["CN", "DE"]}, {"attribute": "orders", "operator": "NUM_GTE", "values": ["2"]},
            {"attribute": "app_version", "operator": "SEMVER_GT", "values": ["1.9.0"]}]
    held = {"salt": "sdk-holdout", "ranges": [{"start": 10_000, "end": 40_000}]}
    experiments = [
        experiment("halves", ab, halves),
        experiment("partial", {"a": "a", "b": "b"}, [("a", 0, 5_000), ("b", 50_000, 55_000)]),
        # Started as halves and given a third arm: a keeps its first third, b its own, c takes what both give back (a repeated name for SDKs).
        experiment("grown", {"a": "one", "b": "two", "c": "three"}, [("a", 0, 33_333), ("c", 33_333, 50_000), ("b", 50_000, 83_334), ("c", 83_334, 100_000)]),
        experiment("numbers", {"z": 2.0, "m": 0.5, "a": -1.25}, [("a", 7, 30_001), ("z", 30_001, 30_002), ("m", 40_000, 99_999)], "number"),
        experiment("switch", {"on": True, "off": False}, [("off", 0, 50_000), ("on", 50_000, 100_000)], "boolean"),
        experiment("offers", {"none": {}, "100-20": {"threshold": 100, "off": 20, "text": "满100减20 <b>"}}, [("none", 0, 50_000), ("100-20", 50_000, 100_000)], "json"),
        experiment("targeted", ab, halves, targeting=rule),
        experiment("left", ab, halves, layer={"key": "page", "salt": "sdk-layer", "ranges": [{"start": 0, "end": 30_000}, {"start": 60_000, "end": 70_000}]}),
        experiment("right", ab, halves, layer={"key": "page", "salt": "sdk-layer", "ranges": [{"start": 30_000, "end": 60_000}]}, holdouts=[held]),
        experiment("held", ab, halves, holdouts=[held]),
        experiment("stopped", ab, halves, status="stopped"),
        experiment("scored", ab, halves, local=False),  # its targeting, stage, holds for every unknown unit
    ]
    odd = ["a:b", "%2F", "null", "0", "-1", "x" * 256, "a b", '"', "\\", "user@example.com", "é", "用户-1", "🙂"]
    units = [{"id": u, "attributes": {name: value for name, value, there in (("country", ("CN", "DE", "US")[i % 3], i % 7), ("orders", i % 5, i % 6),
              ("app_version", ("1.10.0", "1.9.0", "2.0.1")[i % 4 % 3], i % 11)) if there}} for i, u in enumerate([f"user-{7919 * i}" for i in range(80)] + odd)]
    return {"experiments": experiments, "units": units}


class Server:
    """The binary on an empty folder with a key of each role."""

    def __init__(self, binary, folder):
        self.binary, self.data = binary, Path(folder) / "data"
        self.key = {role: json.loads(self.run("keys", "create", "--role", role, "--json"))["key"] for role in ("admin", "client", "frontend")}
        self.log = Path(folder) / "serve.log"
        self.child = subprocess.Popen([binary, "serve", "--addr", "127.0.0.1:0", "--data", self.data], stderr=self.log.open("w"))
        for _ in range(300):
            if found := re.search(r"http://127\.0\.0\.1:\d+", self.log.read_text()):
                self.base = found.group()
                return
            time.sleep(0.1)
        sys.exit(f"no server: {self.log.read_text()}")

    def run(self, *command):
        return subprocess.run([self.binary, *command, "--data", self.data], check=True, capture_output=True, text=True).stdout

    def call(self, method, path, body):
        request = urllib.request.Request(self.base + path, json.dumps(body).encode(), {"Authorization": f"Bearer {self.key['admin']}", "Content-Type": "application/json"}, method=method)
        try:
            return json.load(urllib.request.urlopen(request, timeout=10))
        except urllib.error.HTTPError as e:
            sys.exit(f"{method} {path}: {e.code} {e.read().decode()}")

    def make(self, w):
        """Writes the world, and a switch for each driver that polls."""
        self.call("POST", "/v1/layers", {"key": "page", "salt": "sdk-layer", "allocation": [{"experiment": e["key"], **r} for e in w["experiments"] if e["layer"] for r in e["layer"]["ranges"]]})
        for e in w["experiments"]:
            d = {name: e[name] for name in ("key", "salt", "control", "targeting")} | {"name": e["key"], "allocation": e["ranges"], "layer": e["layer"] and {"key": e["layer"]["key"]}}
            d["variants"] = [{"key": key, "payload": {"type": e["kind"], "value": value}} for key, value in e["values"].items()]
            if e["key"] == "grown":
                d |= {"allocation": None, "variants": [v | {"weight": 1} for v in d["variants"]]}
                third = d["variants"].pop()
            if not e["local"]:
                d["targeting"] = [{"attribute": "stage", "operator": "IN", "values": ["prospect"]}]
            self.call("POST", "/v1/experiments", d)
            self.call("POST", f"/v1/experiments/{e['key']}/start", {})
            if e["key"] == "grown":
                self.call("PATCH", "/v1/experiments/grown", {"variants": d["variants"] + [third]})
            if e["status"] == "stopped":
                self.call("POST", f"/v1/experiments/{e['key']}/stop", {})
        self.call("POST", "/v1/holdouts", {"key": "some", "salt": "sdk-holdout", "allocation": [{"start": 10_000, "end": 40_000}], "experiments": [e["key"] for e in w["experiments"] if e["holdouts"]]})
        plain = [{"key": "a", "weight": 1, "payload": {"type": "number", "value": 1}}, {"key": "b", "weight": 1, "payload": {"type": "number", "value": 2}}]
        for key in ("whole", *(f"switch-{d}" for d in LOCAL)):
            self.call("POST", "/v1/experiments", {"key": key, "name": key, "control": "a", "variants": plain})
            self.call("POST", f"/v1/experiments/{key}/start", {})

    def close(self):
        self.child.terminate()
        if self.child.wait(20) != 0:
            sys.exit(f"the server ended with {self.child.returncode}: {self.log.read_text()}")


def prepare(work):
    """Copies and builds the drivers beside what the Makefile installed for them."""
    for script in (HERE / "node").glob("*.mjs"):
        shutil.copy(script, work / "node")
    subprocess.run(["go", "build", "-o", f"{work / 'go'}/", "./ofrep", "./segment", "./unleash"], cwd=HERE / "go", check=True)


def command(work, driver):
    language, name = driver.split("-")
    if language == "node":
        return ["node", work / "node" / f"{name}.mjs"]
    if language == "go":
        return [work / "go" / name]
    return [work / "python" / "bin" / "python", HERE / "python" / {"segment": "segment_orders.py"}.get(name, f"{name}.py")]


def drive(work, driver, server, file, switch):
    environment = os.environ | {"BASE_URL": server.base, "CLIENT_KEY": server.key["client"], "FRONTEND_KEY": server.key["frontend"], "ADMIN_KEY": server.key["admin"],
                                "WORLD": str(file), "ORDERS": str(ORDERS), "SWITCH": f"switch-{driver}" if switch and driver in LOCAL else "", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command(work, driver), env=environment, capture_output=True, text=True, timeout=120)
    said = re.search(r"(\d+) right, (\d+) wrong", done.stdout)
    if not said:
        sys.exit(f"{driver}: exit {done.returncode} without a result\n{done.stdout}{done.stderr}")
    return done.returncode, int(said.group(1)), int(said.group(2)), [line for line in done.stdout.splitlines() if line.startswith("WRONG")]


def arrived(server, driver):
    """Orders of a sender that the store holds: each once, each of 12.5."""
    lines = [json.loads(line) for line in server.run("export", "events").splitlines()]
    orders = [e for e in lines if (e["user_id"] or "").startswith("segment-" + driver.removesuffix("-segment") + "-")]
    return len(orders) == len({e["order_id"] for e in orders}) == ORDERS and all(e["value"] == 12.5 and e["event"] == "Order Completed" for e in orders)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("binary")
    a.add_argument("work", help="folder with node/node_modules and a virtual environment in python")
    a.add_argument("drivers", nargs="*", default=DRIVERS)
    a = a.parse_args()
    work, failed = Path(a.work).resolve(), []
    prepare(work)
    with tempfile.TemporaryDirectory() as folder:
        true, lie, w = Path(folder) / "world.json", Path(folder) / "lie.json", world()
        true.write_text(json.dumps(w))
        w["experiments"][0]["salt"] += "-other"
        lie.write_text(json.dumps(w))
        server = Server(str(Path(a.binary).resolve()), folder)
        try:
            server.make(json.loads(true.read_text()))
            for driver in a.drivers:
                started = time.time()
                code, right, wrong, lines = drive(work, driver, server, true, True)
                if driver in SENDERS:
                    wrong += 0 if arrived(server, driver) else 1
                    caught = "not every order arrived" if wrong else f"{ORDERS} orders in the store"
                else:
                    liar = drive(work, driver, server, lie, False)
                    caught = f"{liar[2]} wrong of another salt found"
                    wrong += 0 if liar[0] == 1 and liar[2] > 10 else 1
                if code or wrong:
                    failed.append(driver)
                print(f"{driver:15} {right:5} right, {wrong} wrong; {caught} ({time.time() - started:.1f} s)", *lines, sep="\n    " if lines else "", flush=True)
        finally:
            server.close()
    sys.exit(f"failed: {' '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
