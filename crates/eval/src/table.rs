//! Markdown tables: our rows with intervals, the paper's rows below them under their own backbone.

use std::fmt::Write;

use crate::published::PUBLISHED;
use crate::score::{CHANCE, FLOOR, MEMORY_BYTES, Score};
use crate::task::Task;

/// What stands under every table with intervals and every test: they compare trained models, not methods.
pub const ONE_TRAINING: &str = "Intervals and tests are over the test items of one training. They say nothing about how much \
     another training of the same experiment would differ: that takes several seeds.";

/// A row's label in the table of a task.
///
/// In task 3 the text is searched by its bag of tokens, and in no task do guesses have a name of their own.
pub fn row_label(task: Task, method: &str) -> &str {
    match (task, method) {
        (Task::Retrieval, "text") => "bag of tokens of the text",
        (Task::Retrieval, CHANCE) => "chance (a random order)",
        (Task::Reconstruction, FLOOR) => "floor (the next passage in its place)",
        (Task::ContextualQa, FLOOR) => "floor (the answer to the next question)",
        _ => method_label(method),
    }
}

/// The model behind a row: the run's backbone, where the method has any use for it.
pub fn row_model<'a>(method: &str, backbone: &'a str) -> &'a str {
    match method {
        CHANCE | FLOOR | "bm25" => "none",
        "bge" => "its own encoder",
        _ => backbone,
    }
}

/// A method's label where no task is named.
pub fn method_label(method: &str) -> &str {
    match method {
        "text" | "text-decomp" => "text memory (oracle)",
        "dense" => "NextMem-Dense",
        "sparse" => "NextMem-Sparse (NF4)",
        "sparse-no-scales" => "NextMem-Sparse (NF4 without scales)",
        "dense-comp" => "NextMem-Dense Comp",
        "dense-decomp" => "NextMem-Dense DeComp",
        "sparse-comp" => "NextMem-Sparse Comp",
        "sparse-decomp" => "NextMem-Sparse DeComp",
        "icae" => "ICAE",
        "icae-comp" => "ICAE Comp",
        "icae-decomp" => "ICAE DeComp",
        "icae-sparse" => "ICAE (NF4)",
        "icae-sparse-no-scales" => "ICAE (NF4 without scales)",
        "icae-sparse-comp" => "ICAE (NF4) Comp",
        "icae-sparse-decomp" => "ICAE (NF4) DeComp",
        "dense-refined" => "NextMem-Dense + refine",
        "dense-refined-comp" => "NextMem-Dense + refine, Comp",
        "dense-refined-decomp" => "NextMem-Dense + refine, DeComp",
        "sparse-refined" => "NextMem-Sparse (NF4) + refine",
        "sparse-refined-no-scales" => "NextMem-Sparse (NF4 without scales) + refine",
        "sparse-refined-comp" => "NextMem-Sparse + refine, Comp",
        "sparse-refined-decomp" => "NextMem-Sparse + refine, DeComp",
        "control-nothing" => "control: no memory",
        "control-zeros" => "control: latents of zeros",
        "control-another" => "control: another passage's memory",
        "control-tokens" => "control: the passage's tokens",
        "control-median" => "control: the median passage",
        "dyprag" => "DyPRAG",
        "mean-pooled" => "mean-pooled hidden states",
        "bm25" => "BM25",
        "bge" => "BGE",
        other => other,
    }
}

/// The tables of one run, one per task and dataset, and the storage table.
///
/// `backbone` names the model behind our rows, so that nobody takes them for the paper's.
pub fn markdown(scores: &[Score], run: &str, backbone: &str) -> String {
    let mut out = format!(
        "# {run}\n\nOur rows: {backbone}. Values are means with 95% intervals (Wilson for 0/1 metrics, bootstrap otherwise). {ONE_TRAINING}\n"
    );
    for task in Task::ALL {
        // The scores come method by method, so that datasets return.
        let datasets = unique(scores.iter().filter(|s| s.task == task.name()).map(|s| s.dataset.as_str()));
        for dataset in datasets {
            let of_task: Vec<&Score> = scores.iter().filter(|s| s.task == task.name() && s.dataset == dataset).collect();
            push_table(&mut out, task, dataset, &of_task, backbone);
        }
    }
    push_storage(&mut out, scores);
    out
}

fn unique<'a>(items: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    items.for_each(|item| {
        if !seen.contains(&item) {
            seen.push(item)
        }
    });
    seen
}

fn push_table(out: &mut String, task: Task, dataset: &str, scores: &[&Score], backbone: &str) {
    let metrics = unique(scores.iter().map(|s| s.metric.as_str()).filter(|m| *m != MEMORY_BYTES));
    let methods = unique(scores.iter().map(|s| s.method.as_str()));
    let n = scores.first().map_or(0, |s| s.n);
    let title = match task {
        Task::Reconstruction => "Task 1, factual reconstruction",
        Task::ContextualQa => "Task 2, contextual generation (F1 and EM against the gold answer)",
        Task::Retrieval => "Task 3, dense passage retrieval",
    };
    let _ = write!(
        out,
        "\n## {title}: {dataset} (n = {n})\n\n| row | backbone | {} |\n|---|---|{}\n",
        metrics.join(" | "),
        "---|".repeat(metrics.len())
    );
    for method in methods {
        let cells: Vec<String> = metrics
            .iter()
            .map(|metric| match scores.iter().find(|s| s.method == method && s.metric == *metric) {
                Some(s) if method == CHANCE => format!("{:.4}", s.value),
                Some(s) if s.n != n => format!("{:.4} [{:.4}, {:.4}] (n = {})", s.value, s.low, s.high, s.n),
                Some(s) => format!("{:.4} [{:.4}, {:.4}]", s.value, s.low, s.high),
                None => "-".into(),
            })
            .collect();
        let model = row_model(method, backbone);
        let _ = writeln!(out, "| {} | {model} | {} |", row_label(task, method), cells.join(" | "));
    }
    let _ = write!(out, "\n{ONE_TRAINING}\n");
    let published: Vec<_> = PUBLISHED.iter().filter(|p| p.task == task).collect();
    if !published.is_empty() {
        let _ = write!(
            out,
            "\nPublished, on the paper's own data and the models named; not comparable with ours number by number, nor in their order \
             where the models differ:\n\n| row | backbone | metric | values |\n|---|---|---|---|\n"
        );
        for p in published {
            let values: Vec<String> = p.values.iter().map(|(set, v)| format!("{set} {v:.4}")).collect();
            let _ = writeln!(out, "| {} (paper) | {} | {} | {} |", p.label, p.backbone, p.metric, values.join(", "));
        }
    }
}

fn push_storage(out: &mut String, scores: &[Score]) {
    // A control keeps nothing, or another row's memory.
    let kept = |s: &&Score| s.metric == MEMORY_BYTES && !s.method.starts_with("control-");
    let rows: Vec<&Score> = scores.iter().filter(kept).collect();
    if rows.is_empty() {
        return;
    }
    let _ = write!(out, "\n## Bytes per memory\n\n| row | dataset | n | mean bytes | against UTF-8 |\n|---|---|---|---|---|\n");
    for row in &rows {
        let text = rows.iter().find(|s| s.method == "text" && s.dataset == row.dataset).map(|s| s.value);
        let ratio = text.filter(|t| *t > 0.0).map_or("-".to_string(), |t| format!("{:.1}x", row.value / t));
        let kind = match row.method.as_str() {
            "text" => "UTF-8 text",
            "dense" => "bf16 latents",
            "sparse" => "NF4 codes and FP8 scales",
            "icae" => "ICAE: bf16 latents",
            "icae-sparse" => "ICAE: NF4 codes and FP8 scales",
            "dyprag" => "DyPRAG: bf16 LoRA factors",
            _ => method_label(&row.method),
        };
        let _ = writeln!(out, "| {kind} | {} | {} | {:.0} | {ratio} |", row.dataset, row.n, row.value);
    }
    let _ = write!(out, "\nLatents save context tokens, not disk: the text itself is the smallest.\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(task: Task, method: &str, metric: &str, value: f64) -> Score {
        Score {
            task: task.name().into(),
            dataset: "facts".into(),
            method: method.into(),
            metric: metric.into(),
            version: "1".into(),
            value,
            low: value - 0.1,
            high: value + 0.1,
            n: 7,
        }
    }

    #[test]
    fn every_dataset_has_one_table() {
        let on = |dataset: &str, method: &str| Score { dataset: dataset.into(), ..score(Task::Reconstruction, method, "f1", 0.5) };
        let scores = [on("race", "text"), on("squad", "text"), on("race", "icae"), on("squad", "icae")];
        let text = markdown(&scores, "demo", "nano");
        assert_eq!(text.matches("factual reconstruction: race").count(), 1, "{text}");
        assert_eq!(text.matches("| ICAE | nano |").count(), 2, "{text}");
    }

    #[test]
    fn our_rows_and_the_papers_carry_their_backbones() {
        let scores = [
            score(Task::Reconstruction, "text", MEMORY_BYTES, 100.0),
            score(Task::Reconstruction, "text", "f1", 1.0),
            score(Task::Reconstruction, "dense", MEMORY_BYTES, 1536.0),
            score(Task::Reconstruction, "dense", "f1", 0.9),
        ];
        let text = markdown(&scores, "demo", "nano (0.9M)");
        assert!(text.contains("| NextMem-Dense | nano (0.9M) | 0.9000 [0.8000, 1.0000] |"), "{text}");
        assert!(text.contains("NextMem-Dense (paper) | Qwen3-8B | f1 | HotpotQA 0.9820"), "{text}");
        assert!(
            text.contains("ICAE (paper) | Mistral-7B, 128 slots | f1 |") && text.contains("DyPRAG (paper) | Llama-3-8B | f1 |"),
            "{text}"
        );
        assert!(text.contains("| bf16 latents | facts | 7 | 1536 | 15.4x |"), "{text}");
        assert!(text.matches(ONE_TRAINING).count() == 2 && text.contains("facts (n = 7)"), "{text}");
    }

    #[test]
    fn guesses_have_no_model_and_no_interval() {
        let chance = Score { low: 0.3, high: 0.3, ..score(Task::Retrieval, CHANCE, "hit@5", 0.3) };
        let other = Score { n: 6, ..score(Task::Retrieval, "bm25", "hit@5", 0.9) };
        let text = markdown(&[score(Task::Retrieval, "text", "hit@5", 0.9), other, chance], "demo", "nano");
        assert!(text.contains("| bag of tokens of the text | nano | 0.9000 [0.8000, 1.0000] |"), "{text}");
        assert!(text.contains("| BM25 | none | 0.9000 [0.8000, 1.0000] (n = 6) |"), "{text}");
        assert!(text.contains("| chance (a random order) | none | 0.3000 |"), "{text}");
        assert_eq!(row_label(Task::Reconstruction, "text"), "text memory (oracle)");
    }
}
