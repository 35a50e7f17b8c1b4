//! The paper's numbers, from published summaries; every one is Qwen3-8B on the paper's own data.

use crate::task::Task;

/// A published row: its label and one value per dataset.
pub struct Published {
    /// The task.
    pub task: Task,
    /// The metric.
    pub metric: &'static str,
    /// Which of our rows it stands beside.
    pub method: &'static str,
    /// The paper's name of the row.
    pub label: &'static str,
    /// Dataset and value.
    pub values: &'static [(&'static str, f64)],
}

const fn row(
    task: Task,
    metric: &'static str,
    method: &'static str,
    label: &'static str,
    values: &'static [(&'static str, f64)],
) -> Published {
    Published { task, metric, method, label, values }
}

/// Every row that has a counterpart here.
#[allow(clippy::approx_constant)] // 0.4342 is a score, not log10(e)
pub const PUBLISHED: &[Published] = &[
    row(
        Task::Reconstruction,
        "f1",
        "dense",
        "NextMem-Dense",
        &[("HotpotQA", 0.9820), ("RACE", 0.8552), ("SQuAD", 0.8920), ("LoCoMo", 0.9611), ("LongMemEval", 0.9436)],
    ),
    row(
        Task::Reconstruction,
        "f1",
        "sparse",
        "NextMem-Sparse (NF4)",
        &[("HotpotQA", 0.9805), ("RACE", 0.8554), ("SQuAD", 0.8860), ("LoCoMo", 0.9615), ("LongMemEval", 0.9362)],
    ),
    row(
        Task::ContextualQa,
        "judge accuracy",
        "text",
        "text (oracle)",
        &[("HotpotQA", 0.9350), ("SQuAD", 0.9335), ("LoCoMo", 0.6986), ("LongMemEval", 0.6971)],
    ),
    row(Task::ContextualQa, "judge accuracy", "dense-comp", "NextMem Comp", &[("HotpotQA", 0.5179)]),
    row(
        Task::ContextualQa,
        "judge accuracy",
        "dense-decomp",
        "Dense DeComp",
        &[("HotpotQA", 0.8072), ("SQuAD", 0.7572), ("LoCoMo", 0.5407), ("LongMemEval", 0.5400)],
    ),
    row(
        Task::ContextualQa,
        "judge accuracy",
        "sparse-decomp",
        "Sparse DeComp",
        &[("HotpotQA", 0.8184), ("SQuAD", 0.7630), ("LoCoMo", 0.5263), ("LongMemEval", 0.5486)],
    ),
    row(Task::Retrieval, "hit@5", "dense", "Dense", &[("HotpotQA", 0.7245), ("LoCoMo", 0.4377), ("LongMemEval", 0.8220)]),
    row(Task::Retrieval, "hit@5", "sparse", "Sparse", &[("HotpotQA", 0.7208), ("LoCoMo", 0.4342), ("LongMemEval", 0.8140)]),
    row(Task::Retrieval, "mrr@5", "dense", "Dense", &[("HotpotQA", 0.5194), ("LoCoMo", 0.2418), ("LongMemEval", 0.5445)]),
    row(Task::Retrieval, "mrr@5", "sparse", "Sparse", &[("HotpotQA", 0.5107), ("LoCoMo", 0.2310), ("LongMemEval", 0.5428)]),
];

/// The paper's ablation on RACE, token F1 of the reconstruction.
pub const PUBLISHED_ABLATION: &[(&str, f64)] = &[
    ("full", 0.8552),
    ("w/o PS (no progressive expansion)", 0.7389),
    ("w/o ST (decode without [SoD])", 0.3799),
    ("w/o SQ (NF4 without scales)", 0.0309),
    ("w/o PT (stage 1 only)", 0.0159),
];
