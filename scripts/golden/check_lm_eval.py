"""Holds the files of `nextmem export RUN --format lm-eval` against lm-evaluation-harness itself.

    python -m venv venv && venv/bin/pip install lm_eval==0.4.13
    venv/bin/python scripts/golden/check_lm_eval.py results/quickstart/lm_eval

For every results_*.json below the folder: the harness's own `make_table` prints it, its file-name functions find task
and date, and from the sample rows the hashes, means and standard errors are computed again with its functions.
"""
import json, math, pathlib, sys
from lm_eval import utils
from lm_eval.api.metrics import mean_stderr
from lm_eval.result_schema import EvalResults, SampleResult

def same(a, b):
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)

def check_rows(task, rows, results):
    of_task, hashes = results["results"][task], []
    for row in rows:
        missing = SampleResult.__required_keys__ - row.keys()
        assert not missing, f"{task}: row without {missing}"
        assert row["doc_hash"] == utils.hash_string(json.dumps(row["doc"], indent=2, ensure_ascii=False)), (task, row["doc_id"])
        assert row["prompt_hash"] == utils.hash_string(row["arguments"]["gen_args_0"]["arg_0"])
        assert row["target_hash"] == utils.hash_string(str(row["target"]))
        assert row["resps"] == utils.sanitize_list(row["resps"]) and row["filtered_resps"] == row["resps"][0]
        hashes.append(row["doc_hash"] + row["prompt_hash"] + row["target_hash"])
    assert results["task_hashes"][task] == utils.hash_string("".join(hashes)), task
    assert of_task["sample_len"] == results["n-samples"][task]["effective"] == len(rows)
    for metric in results["higher_is_better"][task]:
        values = [row[metric] for row in rows]
        assert same(of_task[f"{metric},none"], sum(values) / len(values)), (task, metric)
        stderr = of_task[f"{metric}_stderr,none"]
        assert stderr == "N/A" if len(rows) == 1 else same(stderr, mean_stderr(values)), (task, metric)
    return len(rows)

def check(path):
    results = json.loads(path.read_text(encoding="utf-8"))
    extra = results.keys() - EvalResults.__optional_keys__ - EvalResults.__required_keys__
    assert extra <= {"nextmem_version"}, extra
    assert path.parent.name == utils.sanitize_model_name(results["model_name"]) == results["model_name_sanitized"]
    date = utils.get_file_datetime(path.name).replace(".json", "")
    found = 0
    for samples in sorted(path.parent.glob(f"samples_*_{date}.jsonl")):
        task = utils.get_file_task_name(samples.name)
        rows = [json.loads(line) for line in samples.read_text(encoding="utf-8").split("\n") if line]
        print(samples.name, check_rows(task, rows, results), "rows")
        found += 1
    assert found == len(results["results"]), f"{found} sample files for {len(results['results'])} tasks"
    print(utils.make_table(results))

def main():
    folders = [pathlib.Path(a) for a in sys.argv[1:]]
    files = [f for folder in folders for f in sorted(folder.rglob("results_*.json"))]
    if not files:
        sys.exit("no results_*.json below " + ", ".join(map(str, folders)) + "; export a run first")
    for file in files:
        check(file)
    print(len(files), "result files agree with lm_eval")

if __name__ == "__main__":
    main()
