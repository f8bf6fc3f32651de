"""Trains and scores the same synthetic tables with our booster, LightGBM, XGBoost and scikit-learn, interleaved, on one thread (or
--threads). Prints CPU seconds, AUC and log loss, and the ratios. `make bench-models` runs it in an environment of its own; by hand:

    python3 -m venv build/peers && build/peers/bin/pip install numpy scikit-learn lightgbm xgboost
    build/peers/bin/python models/gbdt/testdata/bench_peers.py --rows 50000 --rounds 3
"""
import argparse, json, os, re, resource, subprocess, sys, tempfile

import lightgbm
import numpy as np
import xgboost
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score


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


def ours(folder, threads):
    """Runs BenchmarkPeers on the tables in the folder; it prints its times and leaves its predictions there."""
    env = {**os.environ, "PERENNIAL_BENCH_TABLES": folder, "PERENNIAL_BENCH_THREADS": str(threads)}
    out = subprocess.run(["go", "test", "./models/gbdt", "-run", "^$", "-bench", "^BenchmarkPeers$", "-benchtime", "1x"], env=env, capture_output=True, text=True)
    found = re.search(r"peers fit_s=([\d.]+) wall_s=[\d.]+ predict_s=([\d.]+)", out.stdout)
    return tuple(map(float, found.groups())) if found else sys.exit(out.stdout + out.stderr)


def main():
    a = argparse.ArgumentParser()
    for name, default in (("--rows", 50_000), ("--rounds", 3), ("--threads", 1)):
        a.add_argument(name, type=int, default=default)
    a = a.parse_args()
    (x, y), (u, v) = table(a.rows, 1), table(200_000, 2)
    best = {}

    def keep(name, fit, predict, p):
        b = best.setdefault(name, {"fit": 1e9, "predict": 1e9, "auc": roc_auc_score(v, p), "log_loss": log_loss(v, p)})
        b["fit"], b["predict"] = min(b["fit"], fit), min(b["predict"], predict)

    with tempfile.TemporaryDirectory() as folder:
        for name, array in (("x", x.T), ("y", y), ("u", u.T)):
            np.ascontiguousarray(array).tofile(os.path.join(folder, name))
        with open(os.path.join(folder, "shape.json"), "w") as f:
            json.dump({"rows": a.rows, "later": len(v), "features": x.shape[1]}, f)
        for _ in range(a.rounds):
            keep("perennial", *ours(folder, a.threads), np.fromfile(os.path.join(folder, "p")))
            settings = dict(objective="binary", num_leaves=31, learning_rate=0.1, num_threads=a.threads, verbose=-1, max_bin=255, min_data_in_leaf=20)
            m, fit = cpu(lambda: lightgbm.train(settings, lightgbm.Dataset(x, y), 100))
            p, predict = cpu(lambda: m.predict(u, num_threads=a.threads))
            keep("lightgbm " + lightgbm.__version__, fit, predict, p)
            settings = dict(objective="binary:logistic", tree_method="hist", grow_policy="lossguide", max_leaves=31, max_depth=0, eta=0.1, nthread=a.threads, max_bin=256)
            m, fit = cpu(lambda: xgboost.train(settings, xgboost.DMatrix(x, y, nthread=a.threads), 100))
            p, predict = cpu(lambda: m.inplace_predict(u))
            keep("xgboost " + xgboost.__version__, fit, predict, p)
        m, fit = cpu(lambda: HistGradientBoostingClassifier(max_iter=100, max_leaf_nodes=31, learning_rate=0.1, early_stopping=False).fit(x, y))
        p, predict = cpu(lambda: m.predict_proba(u)[:, 1])
        keep("sklearn hgb, all threads", fit, predict, p)
    mine = best["perennial"]
    print(f"{a.rows} rows x {x.shape[1]}, 100 trees x 31 leaves, {a.threads} thread(s), best of {a.rounds}, CPU seconds, binning counted")
    print(f"{'':28s} {'fit s':>8s} {'ours/it':>8s} {'score k/s':>10s} {'ours x':>8s} {'AUC':>9s} {'log loss':>9s}")
    for name, b in best.items():
        print(f"{name:28s} {b['fit']:8.2f} {mine['fit'] / b['fit']:8.2f} {len(v) / b['predict'] / 1000:10.0f} {b['predict'] / mine['predict']:8.2f} {b['auc']:9.5f} {b['log_loss']:9.5f}")


main()
