"""Makes reference.json: values of distributions, tests and intervals by libraries that are not ours.

usage: python reference.py > reference.json      (mpmath 1.4.1, scipy 1.17.1, statsmodels 0.15.0, numpy)
"""

import json

import mpmath
import numpy as np
import scipy
import statsmodels
from mpmath import mp, mpf
from scipy import integrate, optimize, special, stats
from statsmodels.stats import meta_analysis, power, proportion

mp.dps = 40
rows = []


def row(function, args, *want):
    rows.append({"function": function, "args": args, "want": [float(w) for w in want]})


def beta_inc(a, b, x):
    return mpmath.betainc(a, b, 0, x, regularized=True)


# Tails by 60-digit arithmetic, to the end of the range of a float64.
for z in (-3, 0, 0.1, 1, 1.959963984540054, 5, 8.3, 12, 20, 30, 36.5, 37.03):
    row("NormalSF", [z], mpmath.erfc(mpf(z) / mpmath.sqrt(2)) / 2)
def student_two_sided(t, df):
    if df < 500:
        return beta_inc(mpf(df) / 2, mpf(1) / 2, df / (df + mpf(t) ** 2))
    scale = mpmath.exp(mpmath.loggamma(mpf(df + 1) / 2) - mpmath.loggamma(mpf(df) / 2)) / mpmath.sqrt(df * mpmath.pi)
    density = lambda x: scale * (1 + x * x / df) ** (-mpf(df + 1) / 2)
    t = mpf(t)
    return 2 * mpmath.quad(density, [t + k * (1 / (1 + t)) for k in (0, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 45, 60, 90, 130, 200)])


for df in (1, 2, 3.7, 10, 29.5, 100, 444.4, 5000, 40593.7, 1e6):
    for t in (0.01, 0.7, 1.96, 4, 9.5, 25, 36.8, 300):
        if df >= 500 and t > 37:
            continue
        p = student_two_sided(t, df)
        if p > mpf("1e-300"):
            row("StudentTwoSided", [t, df], p)
for df in (1, 2, 5, 12, 100, 1000):
    for x in (0.01, 0.5, df, 3 * df, 40, 300, 1300, 1370):
        p = mpmath.gammainc(mpf(df) / 2, mpf(x) / 2, regularized=True)
        if p > mpf("1e-300"):
            row("Chi2SF", [x, df], p)
for d1, d2 in ((1, 10), (3, 40), (7, 7.5), (20, 300), (2, 1000)):
    for x in (0.2, 1, 2.5, 9, 60, 650):
        p = beta_inc(mpf(d2) / 2, mpf(d1) / 2, mpf(d2) / (mpf(d2) + mpf(d1) * mpf(x)))
        if p > mpf("1e-300"):
            row("FSF", [x, d1, d2], p)
for a, b, x in ((0.5, 0.5, 0.3), (2, 3, 0.4), (50, 20, 0.9), (300, 700, 0.1), (1, 5000, 1e-4), (900, 100, 0.7), (1000, 2000, 0.3)):
    row("BetaInc", [a, b, x], beta_inc(mpf(a), mpf(b), mpf(x)))

# Welch and Student quantiles: scipy.
rng = np.random.default_rng(20261127)
for n1, n2, s1, s2 in ((5, 7, 1, 3), (40, 25, 2, 2), (1000, 90, 1, 8)):
    a, b = rng.normal(1, s1, n1).round(4), rng.normal(1.3, s2, n2).round(4)
    r = stats.ttest_ind(b, a, equal_var=False)
    ci = r.confidence_interval(0.95)
    row("Welch", [n1, float(a.mean()), float(a.var(ddof=1)), n2, float(b.mean()), float(b.var(ddof=1))], r.statistic, r.df, r.pvalue, ci.low, ci.high)

# Score test and interval of a difference of rates (Miettinen & Nurminen 1985), the restricted maximum likelihood found numerically. (statsmodels 0.15.0
# inverts its own score test wrongly: 56/70 − 48/80 ends at 0.3440, published and here 0.3382; its p is compared.)
def score(x1, n1, x2, n2, d):
    loss = lambda p: -(special.xlogy(x1, p + d) + special.xlogy(n1 - x1, 1 - p - d) + special.xlogy(x2, p) + special.xlogy(n2 - x2, 1 - p))
    p = optimize.minimize_scalar(loss, bounds=(max(0, -d), min(1, 1 - d)), method="bounded", options={"xatol": 1e-13}).x
    variance = ((p + d) * (1 - p - d) / n1 + p * (1 - p) / n2) * (n1 + n2) / (n1 + n2 - 1)
    return (x1 / n1 - x2 / n2 - d) / np.sqrt(variance)


def score_interval(x1, n1, x2, n2):
    z, at, ends = stats.norm.isf(0.025), x1 / n1 - x2 / n2, []
    for side in (-1, 1):  # step outwards until the statistic has passed z, then refine
        f = lambda d: side * score(x1, n1, x2, n2, d) + z
        step = 1e-6
        while f(at + side * step) > 0:
            step *= 1.5
        ends.append(optimize.brentq(f, at, at + side * step, xtol=1e-12))
    return ends


for x1, n1, x2, n2 in ((56, 70, 48, 80), (9, 10, 3, 10), (0, 40, 6, 50), (3, 1000, 9, 1100), (12, 12, 7, 15), (1, 5000, 0, 4800), (250, 1000, 200, 1000)):
    p = 2 * stats.norm.sf(abs(score(x1, n1, x2, n2, 0)))
    theirs = proportion.test_proportions_2indep(x1, n1, x2, n2, value=0, compare="diff", method="score", correction=True).pvalue
    assert abs(p - theirs) < 1e-6 * theirs, (p, theirs)
    low, high = score_interval(x1, n1, x2, n2)
    row("MiettinenNurminen", [x1, n1, x2, n2], p, low, high)

# Two Beta posteriors by quadrature.
for x1, n1, x2, n2 in ((51, 100, 49, 100), (3, 40, 1, 45), (0, 30, 2, 25), (900, 1000, 880, 1000), (7, 5000, 2, 5100)):
    b, a = stats.beta(x1 + 1, n1 - x1 + 1), stats.beta(x2 + 1, n2 - x2 + 1)
    q = lambda f: integrate.quad(f, 0, 1, epsabs=1e-14, epsrel=1e-12, limit=500, points=sorted({x1 / n1, x2 / n2, b.mean(), a.mean()}))[0]
    chance = q(lambda x: b.pdf(x) * a.cdf(x))
    kept = q(lambda x: b.sf(x) * a.cdf(x))  # E max(B − A, 0) = ∫ P(B > x, A < x) dx
    shipped = q(lambda x: a.sf(x) * b.cdf(x))
    row("RateBelief", [x1, n1, x2, n2], chance, kept, shipped)

# Effects of groups: statsmodels combine_effects, DerSimonian–Laird.
for effects, variances in (([1.0, 2.0, 3.5, 0.2], [0.4, 0.9, 0.5, 0.3]), ([0.1, 0.12, 0.09], [0.01, 0.02, 0.005])):
    r = meta_analysis.combine_effects(np.array(effects), np.array(variances), method_re="dl")
    row("Heterogeneity", [*effects, *variances], r.q, r.df, r.test_homogeneity().pvalue, max(0, r.tau2))

# A covariate model with a slope per arm: least squares by numpy, the variance written out.
for n, k in (((9, 12), 1), ((30, 11), 2)):
    z = [rng.normal(0, 1, (m, k)).round(3) for m in n]
    y = [(1 + 0.5 * arm + w @ np.arange(1, k + 1) * (1 + arm) + rng.normal(0, 1, m)).round(3) for arm, (m, w) in enumerate(zip(n, z))]
    centre, total = np.vstack(z).mean(0), sum(n)
    fits = []
    for w, v in zip(z, y):
        x = np.column_stack([np.ones(len(v)), w - centre])
        beta, *_ = np.linalg.lstsq(x, v, rcond=None)
        rest = v - x @ beta
        fits.append((beta[0], beta[1:], rest @ rest / (len(v) - k - 1) / len(v)))
    slope = fits[1][1] - fits[0][1]
    s = np.atleast_2d(np.cov(np.vstack(z).T, ddof=1))
    se = np.sqrt(fits[0][2] + fits[1][2] + slope @ s @ slope / total)
    row("Adjust", [*n, k, *np.concatenate(y).tolist(), *np.vstack(z).ravel().tolist()], fits[1][0] - fits[0][0], se)

# Sizes of tests of means: statsmodels TTestIndPower (noncentral t).
for sd, d, goal in ((50, 10, 0.8), (20, 10, 0.8), (50, 15, 0.9), (1, 0.05, 0.8)):
    row("Sizing", [sd, d, goal], power.TTestIndPower().solve_power(effect_size=d / sd, alpha=0.05, power=goal))

# Conditional power by quadrature over what is still to come.
for z, t, c, drift in ((1.0, 0.5, 1.96, 2.8), (-0.4, 0.3, 2.01, 2.8), (2.5, 0.8, 2.03, 3.1), (0.5, 0.5, 1.96, 0.5 / np.sqrt(0.5))):
    end = lambda x: stats.norm.pdf(x, drift * (1 - t), np.sqrt(1 - t))
    want = integrate.quad(end, c - z * np.sqrt(t), np.inf, epsabs=1e-14)[0]
    row("ConditionalPower", [z, t, c, drift], want)


# Howard et al. 2021: the difference of two Bernoulli arms, minimised over the common rate by scipy.
def log_mixture(x, n, p, tuning, alpha=0.05):
    g, h = p, 1 - p
    s, v = x - n * p, p * (1 - p) * n
    rho = max(g * h * tuning / (2 * np.log(1 / alpha) + np.log(1 + 2 * np.log(1 / alpha))) - g * h, 1e-3 * g * h)
    return -(v + h * s) / h * np.log(g) - (v - g * s) / g * np.log(h) + special.betaln((rho + v - g * s) / g, (rho + v + h * s) / h) - special.betaln(rho / g, rho / h)


for x1, n1, x2, n2, tuning in ((9, 400, 1, 410, 500), (30, 100, 12, 100, 100), (2, 50, 3, 60, 1000)):
    f = lambda p: log_mixture(x1, n1, p, tuning) + log_mixture(x2, n2, p, tuning)
    best = optimize.minimize_scalar(f, bounds=(1e-6, 0.9), method="bounded", options={"xatol": 1e-12}).fun
    row("BernoulliDifference", [x1, n1, x2, n2, tuning], min(1, np.exp(-best)))

source = f"mpmath {mpmath.__version__}, scipy {scipy.__version__}, statsmodels {statsmodels.__version__}, numpy {np.__version__}"
print(json.dumps({"source": source, "rows": rows}, indent=0).replace("\n", "").replace('{"function"', '\n{"function"').replace("]}]}", "]}\n]}"))
