"""Makes objectives.json of import_test.go with the real libraries, whichever of the two is installed: for each objective the model file, rows and
predictions. Run it once in each environment; it adds to what is there. The versions are part of the names."""
import json, math, os, tempfile

import numpy as np

r = np.random.default_rng(11)
n, f = 600, 5
x = r.normal(size=(n, f))
x[r.random(n) < 0.2, 1] = np.nan
x[:, 4] = r.integers(0, 9, n)
s = 0.6 * x[:, 0] + np.nan_to_num(x[:, 1], nan=0.5) * x[:, 2] + 0.2 * (x[:, 4] % 2)
count, amount, binary = r.poisson(np.exp(s / 2)).astype(float), np.exp(s / 2 + 0.3 * r.normal(size=n)), (r.random(n) < 1 / (1 + np.exp(-s))).astype(float)
zero = amount * (r.random(n) < 0.6)
rows = x[:24].copy()
rows[20:22, 0], rows[22, 4] = np.nan, 55
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "objectives.json")
out = json.load(open(path)) if os.path.exists(path) else {"rows": [[None if math.isnan(v) else v for v in row] for row in rows], "models": []}


def keep(name, text, p):
    out["models"] = [m for m in out["models"] if m["name"] != name] + [{"name": name, "file": text, "p": [float(v) for v in p]}]


def saved(model, name):
    with tempfile.TemporaryDirectory() as folder:
        model.save_model(os.path.join(folder, name))
        return open(os.path.join(folder, name)).read()


try:
    import lightgbm
    for objective, y in (("binary", binary), ("regression", s), ("poisson", count), ("gamma", amount), ("tweedie", zero), ("quantile", s)):
        g = lightgbm.train(dict(objective=objective, num_leaves=5, verbose=-1, num_threads=1), lightgbm.Dataset(x, y, categorical_feature=[4]), 4)
        keep(f"lightgbm {lightgbm.__version__} {objective}", saved(g, "m.txt"), g.predict(rows))
except ImportError:
    pass
try:
    import xgboost
    for objective, y in (("binary:logistic", binary), ("reg:squarederror", s), ("count:poisson", count), ("reg:gamma", amount), ("reg:tweedie", zero)):
        b = xgboost.train(dict(objective=objective, max_depth=3, nthread=1), xgboost.DMatrix(x, y), 4)
        keep(f"xgboost {xgboost.__version__} {objective}", saved(b, "m.json"), b.predict(xgboost.DMatrix(rows)))
except ImportError:
    pass
json.dump(out, open(path, "w"), indent=0)
