"""Server CPU per evaluation: our server, a net/http floor that reads the body and returns fixed bytes, and GO Feature Flag's relay proxy 1.40.0, interleaved
on loopback under wrk (Debian's package). CPU is read from /proc and compared within a round, so the ratios hold on a noisy machine.

    python3 api/testdata/bench_assign.py bin/perennial --peer build/tools/relayproxy-v1.40.0 [--seconds 3] [--rounds 5]
"""
import argparse, contextlib, json, os, re, signal, socket, statistics, subprocess, sys, tempfile, threading, time, urllib.error, urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXPERIMENTS, STARTED = 500, 100
LUA = """
local n = 0
function init() math.randomseed(os.time() + tonumber(string.sub(tostring({}), 8), 16) %% 1000003) ; tag = tostring(math.random(1, 1e9)) end
function request()
  n = n + 1
  local unit = %s
  return wrk.format("POST", "%s", nil, '{"context":{"targetingKey":"' .. unit .. '","country":"US","plan":"gold"}}')
end
"""
SINGLE, BULK = "/ofrep/v1/evaluate/flags/banner", "/ofrep/v1/evaluate/flags"
KNOWN, FRESH, ONE = '"unit-" .. (n % 5000)', '"unit-" .. tag .. "-" .. n', '"unit-1"'
QUESTION = b'{"context":{"targetingKey":"unit-1","country":"US","plan":"gold"}}'
TARGETING = [{"attribute": "country", "operator": "IN", "values": ["US", "GB", "DE"]}, {"attribute": "plan", "operator": "IN", "values": ["gold", "silver"]}]


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu(pid):
    """User and system seconds of a process, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(url, body=None, headers=None, method=None):
    """Returns status, headers and body; a refusal is an answer too."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json", **(headers or {})}, method=method), timeout=30) as r:
            return r.status, r.headers, r.read()
    except urllib.error.HTTPError as e:
        return e.code, e.headers, e.read()


def up(url):
    for _ in range(600):
        with contextlib.suppress(OSError):
            if ask(url)[0] == 200:
                return
        time.sleep(0.1)
    sys.exit(f"{url} does not answer")


class Server:
    def __init__(self, name, command, address, headers=None):
        self.name, self.url, self.headers = name, f"http://127.0.0.1:{address}", headers or {}
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def load(self, folder, path, unit, seconds, headers=None, threads=2, connections=32):
        """Runs wrk and returns server CPU µs a request, requests, and wrk's own words."""
        script = Path(folder) / "load.lua"
        script.write_text(LUA % (unit, path))
        sent = [x for k, v in {"Content-Type": "application/json", **self.headers, **(headers or {})}.items() for x in ("-H", f"{k}: {v}")]
        before = cpu(self.child.pid)
        out = subprocess.run(["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script, *sent, self.url], capture_output=True, text=True).stdout
        used, n = cpu(self.child.pid) - before, int(re.search(r"(\d+) requests in", out).group(1))
        if "Non-2xx" in out or n == 0:
            sys.exit(f"{self.name} {path}: {out}")
        return used / n * 1e6, n, out


def definition(key):
    return {"key": key, "name": key, "control": "a", "targeting": TARGETING,
            "variants": [{"key": k, "weight": 1, "payload": {"type": "string", "value": "show-" + k}} for k in "abc"]}


def start(binary, peer, folder):
    """Starts the three servers with the same flags; returns them by name, and an admin's headers for ours."""
    data, p = Path(folder) / "data", port()
    key = {r: json.loads(subprocess.run([binary, "keys", "create", "--role", r, "--json", "--data", data], check=True, capture_output=True, text=True).stdout)["key"] for r in ("admin", "client")}
    servers = {"perennial": Server("perennial", [binary, "serve", "--addr", f"127.0.0.1:{p}", "--data", data], p, {"Authorization": f"Bearer {key['client']}"})}
    ours, admin = servers["perennial"], {"Authorization": f"Bearer {key['admin']}"}
    up(ours.url + "/readyz")
    names = ["banner"] + [f"banner-{i}" for i in range(1, EXPERIMENTS)]
    for i, name in enumerate(names):
        for path, doc in [("", definition(name))] + ([(f"/{name}/start", {})] if i < STARTED else []):
            status, _, answer = ask(f"{ours.url}/v1/experiments{path}", json.dumps(doc).encode(), admin)
            if status not in (200, 201):
                sys.exit(f"{name}: {answer.decode()}")
    single, bulk = (ask(ours.url + path, QUESTION, ours.headers)[2] for path in (SINGLE, BULK))
    floor, p = Path(folder) / "floor", port()
    for name, body in (("single", single), ("bulk", bulk)):
        (Path(folder) / name).write_bytes(body)
    subprocess.run(["go", "build", "-o", floor, "./" + os.path.relpath(HERE / "floor")], check=True)
    servers["floor"] = Server("floor", [floor, f"127.0.0.1:{p}", Path(folder) / "single", Path(folder) / "bulk"], p, ours.headers)
    up(servers["floor"].url + "/")
    if peer:
        p, flags, config = port(), Path(folder) / "flags.yaml", Path(folder) / "goff.yaml"
        flags.write_text("".join(f'{name}:\n  variations: {{a: show-a, b: show-b, c: show-c}}\n  targeting:\n    - name: r\n      query: country in ["US","GB","DE"] and plan in ["gold","silver"]\n'
                                 "      percentage: {a: 33.34, b: 33.33, c: 33.33}\n  defaultRule: {variation: a}\n" for name in names[:STARTED]))
        config.write_text(f"listen: {p}\npollingInterval: 60000\nretriever: {{kind: file, path: {flags}}}\nlogLevel: error\nhideBanner: true\n")
        servers["peer"] = Server("peer", [peer, "--config", config], p)
        up(servers["peer"].url + "/health")
        print(f"the peer answers {ask(servers['peer'].url + SINGLE, QUESTION)[2].decode().strip()}")
    print(f"we answer        {single.decode()}\nbulk: {STARTED} flags, {len(bulk)} bytes; {EXPERIMENTS} experiments loaded")
    return servers, admin


def table(servers, rounds, seconds, folder):
    """Prints CPU per request of every case beside its floor, medians over interleaved rounds."""
    tag = ask(servers["perennial"].url + BULK, QUESTION, servers["perennial"].headers)[1]["ETag"]
    cases = [("one flag, 5,000 exposed units", SINGLE, KNOWN, None), ("one flag, a new unit each time", SINGLE, FRESH, None),
             (f"bulk of {STARTED} flags", BULK, KNOWN, None), (f"bulk of {STARTED} flags, 304", BULK, ONE, {"If-None-Match": tag})]
    found = {}
    for _ in range(rounds):
        for title, path, unit, headers in cases:
            for name in ("floor", "perennial", "peer"):
                if name not in servers or (name == "peer" and headers):
                    continue
                at = SINGLE if headers and name == "floor" else path  # the floor of a 304 is the small fixed answer
                servers[name].load(folder, at, unit, 1, headers)
                micros, n, out = servers[name].load(folder, at, unit, seconds, headers)
                found.setdefault((title, name), []).append((micros, n / seconds, re.search(r"99%\s+(\S+)", out).group(1)))
    print(f"\nserver CPU a request, wrk 2 threads 32 connections, medians of {rounds} x {seconds} s, interleaved\n{'':34s}{'':12s}{'CPU us':>8s} {'x floor':>8s} {'+ us':>7s} {'x peer':>7s} {'req/s':>8s} {'p99':>9s}")
    middle = lambda values: statistics.median(values)
    compare = {}
    for (title, name), rows in found.items():
        floor, peer = found[title, "floor"], found.get((title, "peer"))
        ratio, over = middle([r[0] / f[0] for r, f in zip(rows, floor)]), middle([r[0] - f[0] for r, f in zip(rows, floor)])
        of_peer = middle([r[0] / p[0] for r, p in zip(rows, peer)]) if peer else None
        compare[title, name] = ratio, over, of_peer
        print(f"{title if name == 'floor' else '':34s}{name:12s}{middle([r[0] for r in rows]):8.1f} {ratio:8.2f} {over:+7.1f} {of_peer or 0:7.2f} {middle([r[1] for r in rows]):8.0f} {rows[len(rows) // 2][2]:>9s}")
    bars = [(cases[0][0], 0, 1.1, "x floor"), (cases[0][0], 2, 0.5, "x peer"), (cases[1][0], 0, 1.3, "x floor"), (cases[1][0], 2, 0.5, "x peer"), (cases[2][0], 1, None, "us over a floor of the same bytes"), (cases[3][0], 1, 2.0, "us over the floor")]
    print("\nbars")
    for title, which, bar, unit in bars:
        got = compare[title, "perennial"][which]
        if got is not None:
            print(f"  {title:34s} {got:7.2f} {unit}" + (f", bar {bar}: {'met' if got <= bar else 'MISSED'}" if bar else " (evaluation and encoding: the Go benchmark below splits them)"))


def slow(server):
    """Requests of the single door so far, and those that took the server more than 5 ms."""
    text = ask(server.url + "/metrics", headers=server.admin)[2].decode()
    rows = [line for line in text.splitlines() if line.startswith("perennial_http_request_seconds_") and "/flags/:key" in line]
    value = lambda mark: sum(float(r.rsplit(" ", 1)[1]) for r in rows if mark in r)
    return value("_count{"), value("_count{") - value('le="0.005"')


def swaps(server, seconds, folder):
    """Compares the latency tail of a moderate load without and with definitions that change."""
    print(f"\nsnapshot swaps under load ({EXPERIMENTS} experiments, wrk 1 thread 4 connections, {seconds} s)")
    for changing in (False, True, False, True):
        stop, made = threading.Event(), [0]

        def change():
            while not stop.is_set():
                status, _, body = ask(server.url + "/v1/experiments/banner-7/ramp", json.dumps({"coverage": 0.5 + 0.004 * (made[0] % 100)}).encode(), server.admin)
                if status != 200:
                    sys.exit(f"ramp: {body.decode()}")
                made[0] += 1
                stop.wait(0.2)

        worker = threading.Thread(target=change)
        before = slow(server)
        if changing:
            worker.start()
        _, n, out = server.load(folder, SINGLE, KNOWN, seconds, threads=1, connections=4)
        stop.set()
        if changing:
            worker.join()
        after = slow(server)
        tail = {k: re.search(k + r"\s+(\S+)", out).group(1) for k in ("50%", "99%")}
        longest = re.search(r"Latency\s+\S+\s+\S+\s+(\S+)", out).group(1)
        print(f"  {made[0]:4d} swaps: {after[1] - before[1]:4.0f} of {after[0] - before[0]:.0f} requests took the server more than 5 ms; wrk p50 {tail['50%']} p99 {tail['99%']} max {longest}")


def main():
    a = argparse.ArgumentParser()
    a.add_argument("binary")
    a.add_argument("--peer", help="GO Feature Flag relay proxy 1.40.0")
    a.add_argument("--seconds", type=int, default=3)
    a.add_argument("--rounds", type=int, default=5)
    a = a.parse_args()
    servers = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            servers, admin = start(a.binary, a.peer, folder)
            servers["perennial"].admin = admin
            a.rounds and table(servers, a.rounds, a.seconds, folder)
            swaps(servers["perennial"], 4 * a.seconds, folder)
        finally:
            for s in servers.values():
                s.child.send_signal(signal.SIGTERM)
            for s in servers.values():
                s.child.wait(15)


main()
