"""Makes the fixtures of import_test.go with the real libraries: lightgbm.txt, xgboost.json and peers.json (rows, raw scores, predictions,
contributions). Run with lightgbm 4.7.0 and xgboost 3.2.0: python make_peers.py"""
import json, math

import lightgbm, numpy as np, xgboost

r = np.random.default_rng(7)
n, f = 1500, 6
x = r.normal(size=(n, f))
x[r.random(n) < 0.15, 1] = np.nan
x[:, 5] = r.integers(0, 20, n)
s = x[:, 0] + np.nan_to_num(x[:, 1], nan=0.6) * x[:, 2] + (x[:, 5] % 3 == 0) - 0.4
y = (r.random(n) < 1 / (1 + np.exp(-s))).astype(float)
names = [f"f{j}" for j in range(f)]
g = lightgbm.train(dict(objective="binary", num_leaves=7, verbose=-1, min_data_in_leaf=20, deterministic=True, seed=1, num_threads=1), lightgbm.Dataset(x, y, feature_name=names, categorical_feature=[5]), 12)
g.save_model("lightgbm.txt")
b = xgboost.train(dict(objective="binary:logistic", max_depth=4, eta=0.3, nthread=1), xgboost.DMatrix(x, y, feature_names=names), 12)
b.save_model("xgboost.json")
rows = x[:60].copy()
rows[50:55, 0] = np.nan
rows[55:58, 5] = 77
d = xgboost.DMatrix(rows, feature_names=names)
clean = lambda a: [[None if math.isnan(v) else float(v) for v in row] for row in np.atleast_2d(a)]
json.dump({"rows": clean(rows), "lightgbm": {"p": g.predict(rows).tolist(), "contributions": clean(g.predict(rows, pred_contrib=True))},
           "xgboost": {"p": b.predict(d).astype(float).tolist(), "contributions": clean(b.predict(d, pred_contribs=True))}}, open("peers.json", "w"))
