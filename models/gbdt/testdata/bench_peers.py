"""Trains and scores the same synthetic tables with our booster, LightGBM, XGBoost and scikit-learn, interleaved, on one thread (or
--threads), and prints every bar of the models with its measured ratio. `make bench-models` runs it in an environment of its own; by hand:

    python3 -m venv build/peers && build/peers/bin/pip install numpy scikit-learn lightgbm xgboost
    build/peers/bin/python models/gbdt/testdata/bench_peers.py --rows 50000 200000 --tables 10

Each table is another draw of the same population: from one to the next the difference of two boosters' AUC has a standard deviation of 0.0015 at 50,000 rows,
so few tables tell luck. Times are CPU seconds, the
best of the tables, binning counted for everybody; ratios are formed within this run.
"""
import argparse, json, os, re, resource, subprocess, sys, tempfile

import lightgbm
import numpy as np
import xgboost
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score

LATER = 200_000
bars = []


def table(n, seed):
    """Twenty columns, twelve of them informative with interactions, three with missing cells, four of whole numbers."""
    r = np.random.default_rng(seed)
    x = r.normal(size=(n, 20))
    x[:, 3::5] = np.round(np.exp(x[:, 3::5]) * 3)
    for j in (1, 6, 11):
        x[r.random(n) < 0.1, j] = np.nan
    z = np.nan_to_num(x, nan=0.5)
    s = 0.9 * z[:, 0] - 0.7 * np.abs(z[:, 1]) + 0.5 * z[:, 2] * z[:, 4] - 0.08 * z[:, 3] + 0.6 * np.sin(2 * z[:, 5]) + 0.4 * (z[:, 6] > 1) * z[:, 7]
    s += 0.3 * z[:, 9] - 0.25 * z[:, 10] + 0.2 * z[:, 12] * z[:, 14]
    return np.ascontiguousarray(x), (r.random(n) < 1 / (1 + np.exp(0.4 - s))).astype(np.float64)


def cpu(f):
    before = resource.getrusage(resource.RUSAGE_SELF)
    out = f()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return out, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ours(binary, folder, threads):
    """Runs BenchmarkPeers on the tables in the folder; it prints its times and leaves its predictions there."""
    env = {**os.environ, "PERENNIAL_BENCH_TABLES": folder, "PERENNIAL_BENCH_THREADS": str(threads), "GOMAXPROCS": str(max(threads, 1))}
    out = subprocess.run([binary, "-test.run", "^$", "-test.bench", "^BenchmarkPeers$", "-test.benchtime", "1x"], env=env, capture_output=True, text=True)
    found = re.search(r"peers (.*)", out.stdout)
    if not found:
        sys.exit(out.stdout + out.stderr)
    return {k: float(v) for k, v in (pair.split("=") for pair in found[1].split())}


def bar(what, measured, limit, ok):
    bars.append((what, measured, limit, "met" if ok else "MISSED"))


def behind(mine, *peers):
    """How far our mean is below the best peer's, and the standard error of that over the tables (nan for one table)."""
    best = max(peers, key=np.mean)
    d = np.array(best) - np.array(mine)
    return d.mean(), d.std(ddof=1) / len(d) ** 0.5 if len(d) > 1 else float("nan")


def compare(binary, rows, a):
    u, v = table(LATER, 2)
    best, folder = {}, tempfile.mkdtemp()

    def keep(name, fit, predict, p):
        b = best.setdefault(name, {"fit": 1e9, "predict": 1e9, "auc": [], "log_loss": []})
        b["fit"], b["predict"] = min(b["fit"], fit), min(b["predict"], predict)
        b["auc"].append(roc_auc_score(v, p))
        b["log_loss"].append(log_loss(v, p))

    for seed in range(a.tables if rows < 500_000 else 1):
        x, y = table(rows, 100 + seed)
        for name, array in (("x", x.T), ("y", y), ("u", u.T)):
            np.ascontiguousarray(array).tofile(os.path.join(folder, name))
        with open(os.path.join(folder, "shape.json"), "w") as f:
            json.dump({"rows": rows, "later": len(v), "features": x.shape[1]}, f)
        mine = ours(binary, folder, a.threads)
        keep("perennial", mine["fit_s"], mine["predict_s"], np.fromfile(os.path.join(folder, "p")))
        # XGBoost's own defaults of regularisation for everybody: lambda 1, at least a hessian of 1 in a leaf, no other bound on rows
        settings = dict(objective="binary", num_leaves=31, learning_rate=0.1, num_threads=a.threads, verbose=-1, max_bin=255, min_data_in_leaf=1, min_sum_hessian_in_leaf=1.0, lambda_l2=1.0)
        m, fit = cpu(lambda: lightgbm.train(settings, lightgbm.Dataset(x, y), 100))
        p, predict = cpu(lambda: m.predict(u, num_threads=a.threads))
        keep("lightgbm " + lightgbm.__version__, fit, predict, p)
        if seed == 0 and rows == a.rows[0]:
            _, peer = cpu(lambda: m.predict(u[:1000], pred_contrib=True, num_threads=a.threads))
            shap = (mine["shap_rows_s"], 1000 / peer)
        settings = dict(objective="binary:logistic", tree_method="hist", grow_policy="lossguide", max_leaves=31, max_depth=0, eta=0.1, nthread=a.threads, max_bin=256)
        m, fit = cpu(lambda: xgboost.train(settings, xgboost.DMatrix(x, y, nthread=a.threads), 100))
        p, predict = cpu(lambda: m.inplace_predict(u))
        keep("xgboost " + xgboost.__version__, fit, predict, p)
        if seed == 0 and rows < 500_000:
            os.environ["OMP_NUM_THREADS"] = str(a.threads)
            m, fit = cpu(lambda: HistGradientBoostingClassifier(max_iter=100, max_leaf_nodes=31, learning_rate=0.1, early_stopping=False).fit(x, y))
            p, predict = cpu(lambda: m.predict_proba(u)[:, 1])
            keep("sklearn hgb, one table", fit, predict, p)
    names = list(best)
    mine, light, xgb = best["perennial"], best[names[1]], best[names[2]]
    print(f"\n{rows} rows x {u.shape[1]}, 100 trees x 31 leaves, {a.threads} thread(s), best of {len(mine['auc'])} tables, CPU seconds, binning counted")
    print(f"{'':28s} {'fit s':>8s} {'ours/it':>8s} {'score k/s':>10s} {'ours x':>8s} {'AUC':>9s} {'log loss':>9s}   means over the tables")
    for name, b in best.items():
        print(f"{name:28s} {b['fit']:8.2f} {mine['fit'] / b['fit']:8.2f} {len(v) / b['predict'] / 1000:10.0f} {b['predict'] / mine['predict']:8.2f} {np.mean(b['auc']):9.5f} {np.mean(b['log_loss']):9.5f}")
    limit = {50_000: 0.8, 200_000: 1.0, 1_000_000: 1.0}.get(rows, 1.0)
    bar(f"train {rows // 1000}k, of LightGBM's time", f"{mine['fit'] / light['fit']:.2f}", f"<= {limit}", mine["fit"] <= limit * light["fit"])
    if rows == 50_000:
        bar("train 50k, of XGBoost's time", f"{mine['fit'] / xgb['fit']:.2f}", "<= 0.6", mine["fit"] <= 0.6 * xgb["fit"])
    gap, gap_se = behind(mine["auc"], light["auc"], xgb["auc"])
    loss, loss_se = behind([-l for l in mine["log_loss"]], *([-l for l in b["log_loss"]] for b in (light, xgb)))
    bar(f"{rows // 1000}k: best peer's AUC minus ours (standard error)", f"{gap:+.5f} ({gap_se:.5f})", "<= 0.001", gap <= 0.001)
    bar(f"{rows // 1000}k: our log loss minus best peer's (standard error)", f"{loss:+.5f} ({loss_se:.5f})", "<= 0.001", loss <= 0.001)
    if rows == a.rows[0]:
        rate = len(v) / mine["predict"]
        bar("batch scoring, rows/s/core, binning included", f"{rate:,.0f}", ">= 300,000", rate >= 300_000)
        bar("batch scoring, times XGBoost's", f"{xgb['predict'] / mine['predict']:.2f}", ">= 1.6", xgb["predict"] >= 1.6 * mine["predict"])
        last = ours(binary, folder, 1)
        bar("exact TreeSHAP, rows/s/core (LightGBM's beside it)", f"{shap[0]:,.0f} ({shap[1]:,.0f})", ">= 10,000", shap[0] >= 10_000)
        bar("single row, µs; allocations", f"{last['row_ns'] / 1000:.2f}; {last['row_allocs']:.0f}", "<= 6; 0", last["row_ns"] <= 6000 and last["row_allocs"] == 0)


def go_bench(package, name, unit=1e-9):
    """The best ns/op of a Go benchmark, in seconds."""
    out = subprocess.run(["go", "test", package, "-run", "^$", "-bench", f"^{name}$", "-benchtime", "1x", "-count", "3", "-cpu", "1"], capture_output=True, text=True)
    found = [float(n) for n in re.findall(rf"{name}\S*\s+\d+\s+([\d.]+) ns/op", out.stdout)]
    return min(found) * unit if found else sys.exit(out.stdout + out.stderr)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--rows", type=int, nargs="*", default=[50_000])
    a.add_argument("--tables", type=int, default=10)
    a.add_argument("--threads", type=int, default=1)
    a.add_argument("--rest", action="store_true", help="also the bars that have no peer: buy-till-you-die and the night of a million users")
    a = a.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        binary = os.path.join(folder, "gbdt.test")
        subprocess.run(["go", "test", "-c", "-o", binary, "./models/gbdt"], check=True)
        for rows in a.rows:
            compare(binary, rows, a)
    if a.rest:
        cdnow, million = go_bench("./models/btyd", "BenchmarkFitCDNOW"), go_bench("./models/btyd", "BenchmarkFitMillion")
        bar("BG/NBD fit, CDNOW sample, ms", f"{cdnow * 1000:.1f}", "<= 20", cdnow <= 0.020)
        bar("BG/NBD fit, a million distinct customers, s", f"{million:.2f}", "<= 10", million <= 10)
        out = subprocess.run(["go", "test", "./cmd/perennial", "-run", "^$", "-bench", "^BenchmarkNightScores$", "-benchtime", "1x"], capture_output=True, text=True)
        found = re.search(r"night (.*)", out.stdout)
        night = {k: float(v) for k, v in (pair.split("=") for pair in found[1].split())} if found else sys.exit(out.stdout + out.stderr)
        bar(f"night of {night['users']:,.0f} users: score, explain, calibrate, publish, wall s", f"{night['wall_s']:.1f} ({night['cpu_s']:.1f} CPU s)", "<= 60", night["wall_s"] <= 60)
        bar("the same, peak memory, GB", f"{night['peak_gb']:.2f}", "<= 2", night["peak_gb"] <= 2)
    print(f"\n{'bar':72s} {'measured':>24s} {'limit':>12s}")
    for what, measured, limit, verdict in bars:
        print(f"{what:72s} {measured:>24s} {limit:>12s}  {verdict}")
    sys.exit(any(b[3] == "MISSED" for b in bars))


main()
