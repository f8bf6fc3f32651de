"""Server CPU per single OFREP evaluation: our server, a net/http floor that returns fixed bytes, and GO Feature Flag's relay proxy when its
binary is given, interleaved on loopback under wrk (Debian's package). CPU is read from /proc, so the ratios hold on a noisy machine.

    python3 api/testdata/bench_assign.py bin/perennial [--peer relayproxy] [--seconds 4] [--rounds 3]
"""
import argparse, json, os, re, signal, socket, subprocess, sys, tempfile, time, urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
LUA = """
local n, fresh = 0, %s
local id
function setup(thread) thread:set("id", tostring(thread.addr) .. tostring(math.random())) end
function init() math.randomseed(os.time() + tonumber(string.sub(tostring({}), 8), 16) %% 1000003) ; tag = tostring(math.random(1, 1e9)) end
function request()
  n = n + 1
  local unit = fresh and ("unit-" .. tag .. "-" .. n) or ("unit-" .. (n %% 5000))
  return wrk.format("POST", "/ofrep/v1/evaluate/flags/banner", nil, '{"context":{"targetingKey":"' .. unit .. '","country":"US","plan":"gold"}}')
end
"""


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu(pid):
    """User and system seconds of a process, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def up(url, headers=None):
    for _ in range(300):
        try:
            urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=1)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{url} does not answer")


def load(server, fresh, seconds, folder):
    script = Path(folder) / "load.lua"
    script.write_text(LUA % ("true" if fresh else "false"))
    before = cpu(server["pid"])
    out = subprocess.run(["wrk", "-t2", "-c32", f"-d{seconds}s", "--latency", "-s", script, "-H", "Content-Type: application/json", *server["headers"], server["url"]], capture_output=True, text=True).stdout
    used, requests = cpu(server["pid"]) - before, int(re.search(r"(\d+) requests in", out).group(1))
    if "Non-2xx" in out:
        sys.exit(f"{server['name']}: {out}")
    return used / requests * 1e6, requests / seconds, re.search(r"99%\s+(\S+)", out).group(1)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("binary")
    a.add_argument("--peer", help="GO Feature Flag relay proxy 1.40.0")
    a.add_argument("--seconds", type=int, default=4)
    a.add_argument("--rounds", type=int, default=3)
    a = a.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        servers, children = [], []

        def start(name, command, address, headers=(), **kw):
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kw)
            children.append(child)
            servers.append({"name": name, "pid": child.pid, "url": f"http://127.0.0.1:{address}", "headers": [x for h in headers for x in ("-H", h)]})

        try:
            floor = Path(folder) / "floor"
            subprocess.run(["go", "build", "-o", floor, "./" + os.path.relpath(HERE / "floor")], check=True)
            p = port()
            start("net/http floor", [floor, f"127.0.0.1:{p}"], p)
            data, p = Path(folder) / "data", port()
            key = {r: json.loads(subprocess.run([a.binary, "keys", "create", "--role", r, "--json", "--data", data], check=True, capture_output=True, text=True).stdout)["key"] for r in ("admin", "client")}
            start("perennial", [a.binary, "serve", "--addr", f"127.0.0.1:{p}", "--data", data], p, [f"Authorization: Bearer {key['client']}"])
            up(f"http://127.0.0.1:{p}/readyz")
            body = {"key": "banner", "name": "banner", "control": "a", "variants": [{"key": k, "weight": 1, "payload": {"type": "string", "value": "show-" + k}} for k in "abc"],
                    "targeting": [{"attribute": "country", "operator": "IN", "values": ["US", "GB", "DE"]}, {"attribute": "plan", "operator": "IN", "values": ["gold", "silver"]}]}
            for path, doc in (("", body), ("/banner/start", {})):
                urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{p}/v1/experiments{path}", json.dumps(doc).encode(), {"Authorization": "Bearer " + key["admin"], "Content-Type": "application/json"}))
            if a.peer:
                p = port()
                flags, config = Path(folder) / "flags.yaml", Path(folder) / "goff.yaml"
                flags.write_text('banner:\n  variations: {a: show-a, b: show-b, c: show-c}\n  targeting:\n    - name: r\n      query: country in ["US","GB","DE"] and plan in ["gold","silver"]\n      percentage: {a: 33.34, b: 33.33, c: 33.33}\n  defaultRule: {variation: a}\n')
                config.write_text(f"listen: {p}\npollingInterval: 60000\nretriever: {{kind: file, path: {flags}}}\nlogLevel: error\nhideBanner: true\n")
                start("GO Feature Flag", [a.peer, "--config", config], p)
                up(f"http://127.0.0.1:{p}/health")
            found = {}
            for _ in range(a.rounds):
                for s in servers:
                    for fresh in (False, True):
                        load(s, fresh, 1, folder)
                        micros, rate, p99 = load(s, fresh, a.seconds, folder)
                        found.setdefault((s["name"], fresh), []).append((micros, rate, p99))
        finally:
            for c in children:
                c.send_signal(signal.SIGTERM)
            for c in children:
                c.wait(15)
    best = {k: min(v) for k, v in found.items()}
    print(f"single OFREP evaluation, wrk 2 threads 32 connections, best of {a.rounds} x {a.seconds} s, interleaved\n{'':32s} {'CPU us':>8s} {'x floor':>8s} {'req/s':>9s} {'p99':>9s}")
    for (name, fresh), (micros, rate, p99) in best.items():
        print(f"{name + (', new unit each' if fresh else ', 5,000 units'):32s} {micros:8.1f} {micros / best['net/http floor', fresh][0]:8.2f} {rate:9.0f} {p99:>9s}")


main()
