"""Golden values for crates/eval/src/stats.rs: invented samples, tested by scipy and statsmodels.

    python -m venv venv && venv/bin/pip install scipy==1.17.1 numpy==2.4.6 statsmodels==0.14.6
    venv/bin/python scripts/golden/make_stats.py

Regenerates crates/eval/tests/fixtures/stats.json. A test that scipy leaves undefined (NaN or an error) is null there.
"""
import importlib.metadata, json, math, pathlib, warnings
import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/eval/tests/fixtures/stats.json"
warnings.simplefilter("ignore")

def samples():
    """(name, a, b): sizes on both sides of every switch between exact and asymptotic; ties, zeros, constants, tails."""
    rng = np.random.default_rng(1128)
    for n in (2, 3, 5, 13, 14, 33, 34, 50, 51, 120):
        a = rng.random(n)
        yield f"graded {n}", a, np.clip(a + rng.normal(0.05, 0.2, n), 0, 1) + 0.001 * rng.random(n)
    for n in (4, 9, 13, 14, 40, 60):
        a = rng.integers(0, 5, n) / 4
        yield f"ties and zeros {n}", a, rng.integers(0, 5, n) / 4
    for n in (6, 13, 14, 40):  # ties among the differences, none of them zero
        sizes = rng.integers(1, 4, n) * rng.choice([-1, 1], n, p=[0.3, 0.7])
        yield f"ties without zeros {n}", 10.0 + sizes, np.full(n, 10.0) + 0.0 * sizes
    for n in (8, 20, 90):
        yield f"zeros and ones {n}", rng.integers(0, 2, n).astype(float), (rng.random(n) < 0.7).astype(float)
    a = rng.random(20)
    yield "one zero", a, np.concatenate([a[:1], rng.random(19)])
    yield "far apart", 5 + rng.normal(0, 0.3, 60), rng.normal(0, 0.3, 60)
    yield "skewed", rng.random(25) ** 8, rng.random(25) ** 8
    a = np.arange(45.0)
    yield "one pair out of order", a, a[[1, 0, *range(2, 45)]] ** 2
    yield "reversed", a[:20], np.exp(-a[:20])
    yield "large values", 1e9 + rng.random(30), 1e9 + rng.random(30)
    yield "small values", 1e-9 * rng.random(30), 1e-9 * rng.random(30)
    yield "equal", a[:10] / 7, a[:10] / 7
    yield "equal, many", a / 7, a / 7
    yield "constant", np.full(6, 0.5), np.full(6, 0.25)
    yield "constant on one side", np.full(6, 0.5), rng.random(6)
    yield "one pair", np.array([0.25]), np.array([0.5])

def pair(test):
    """[statistic, p], or null where they are undefined."""
    try:
        result = test()
    except ValueError:
        return None
    values = [float(result.statistic), float(result.pvalue)]
    return values if all(map(math.isfinite, values)) else None

def permutation(a, b):
    """Over all signs, for few pairs."""
    if not 2 <= len(a) <= 14:
        return None
    result = stats.permutation_test((a - b,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=False)
    return [float(result.statistic), float(result.pvalue)]

def mcnemar(a, b):
    if not set([*a, *b]) <= {0.0, 1.0}:
        return None
    only_a, only_b = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    return [only_a, only_b, mcnemar_counts(only_a, only_b)]

def mcnemar_counts(only_a, only_b):
    n = only_a + only_b
    return float(stats.binomtest(only_a, n, 0.5).pvalue) if n else 1.0

def case(name, a, b):
    a, b = (np.array([float(f"{x:.7g}") if abs(x) < 1e6 else round(float(x), 4) for x in values]) for values in (a, b))
    return {
        "name": name, "a": a.tolist(), "b": b.tolist(),
        "ttest_rel": pair(lambda: stats.ttest_rel(a, b)),
        "wilcoxon": pair(lambda: stats.wilcoxon(a, b)),
        "pearson": pair(lambda: stats.pearsonr(a, b)),
        "spearman": pair(lambda: stats.spearmanr(a, b)),
        "kendall": pair(lambda: stats.kendalltau(a, b)),
        "permutation": permutation(a, b),
        "mcnemar": mcnemar(a, b),
    }

def bootstrap(name, values, resamples):
    values = np.round(values, 6)
    draw = lambda method, **more: stats.bootstrap((values,), np.mean, method=method, **more)
    first = draw("percentile", n_resamples=resamples, rng=np.random.default_rng(7))
    again = draw("BCa", n_resamples=0, bootstrap_result=first)  # the same resamples
    return {
        "name": name, "values": values.tolist(), "means": np.sort(first.bootstrap_distribution).tolist(),
        "percentile": list(map(float, first.confidence_interval)), "bca": list(map(float, again.confidence_interval)),
    }

def bootstraps():
    rng = np.random.default_rng(3)
    yield bootstrap("normal", rng.normal(0.1, 1, 40), 200)
    yield bootstrap("skewed", rng.random(25) ** 6, 200)
    # Sums of 64ths are exact: resampled means that equal the mean are equal in every order of addition.
    yield bootstrap("mostly zero", (rng.random(64) < 0.08) * rng.integers(1, 65, 64) / 64, 200)
    yield bootstrap("two values", rng.choice([-1.0, 1.0], 15, p=[0.2, 0.8]), 200)

def main():
    p_values = [[0.04, 0.01, 0.03, 0.005], [0.5], [0.2, 0.2, 0.9, 0.001, 0.03], [1e-12, 0.05, 0.05, 1.0]]
    counts = [(0, 0), (1, 0), (7, 5), (5, 5), (30, 3), (0, 200), (480, 520), (4000, 4400)]
    shares = [(0, 10), (1, 10), (8, 10), (10, 10), (333, 1000)]
    wilson = lambda k, n: stats.binomtest(k, n).proportion_ci(method="wilson")
    golden = {
        "generator": "scripts/golden/make_stats.py",
        "versions": {name: importlib.metadata.version(name) for name in ("scipy", "numpy", "statsmodels")},
        "pairs": [case(*s) for s in samples()],
        "bootstrap": list(bootstraps()),
        "mcnemar": [[a, b, mcnemar_counts(a, b)] for a, b in counts],
        "holm": [[p, multipletests(p, method="holm")[1].tolist()] for p in p_values],
        "wilson": [[k, n, float(wilson(k, n).low), float(wilson(k, n).high)] for k, n in shares],
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    rows = lambda items: "[\n    " + ",\n    ".join(json.dumps(item, allow_nan=False) for item in items) + "\n  ]"
    text = ",\n  ".join(f"{json.dumps(k)}: {rows(v) if isinstance(v, list) else json.dumps(v)}" for k, v in golden.items())
    OUT.write_text("{\n  " + text + "\n}\n", encoding="ascii")
    print(OUT, len(golden["pairs"]), "pairs of samples,", OUT.stat().st_size, "bytes")

if __name__ == "__main__":
    main()
