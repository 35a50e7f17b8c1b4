//! The paper's numbers, from published summaries, each with the model behind it: only NextMem's and the text's rows are
//! Qwen3-8B (`config.py` of the official code). All are on the paper's own data.

use crate::task::Task;

/// A published row: its label and one value per dataset.
pub struct Published {
    /// The task.
    pub task: Task,
    /// The metric.
    pub metric: &'static str,
    /// Which of our rows it stands beside; empty where we have none.
    pub method: &'static str,
    /// The paper's name of the row.
    pub label: &'static str,
    /// The model behind it.
    pub backbone: &'static str,
    /// Dataset and value.
    pub values: &'static [(&'static str, f64)],
}

/// The model of NextMem, of its ablations and of the textual memory; NextMem has 15 latents.
pub const QWEN3: &str = "Qwen3-8B";
/// ICAE is its authors' checkpoint.
const ICAE: &str = "Mistral-7B, 128 slots";
/// DyPRAG is its authors' checkpoint.
const DYPRAG: &str = "Llama-3-8B";
/// Pictures of the text, read back.
const OCR: &str = "DeepSeek-OCR itself";
/// A model of sentence-transformers; the official configuration does not name which.
const BGE: &str = "sentence-transformer";

const fn row(
    task: Task,
    metric: &'static str,
    method: &'static str,
    (label, backbone): (&'static str, &'static str),
    values: &'static [(&'static str, f64)],
) -> Published {
    Published { task, metric, method, label, backbone, values }
}

/// The rows of the paper's three tables, as far as they are known.
#[allow(clippy::approx_constant)] // 0.4342 is a score, not log10(e)
pub const PUBLISHED: &[Published] = &[
    row(
        Task::Reconstruction,
        "f1",
        "dyprag",
        ("DyPRAG", DYPRAG),
        &[("HotpotQA", 0.0305), ("RACE", 0.0696), ("SQuAD", 0.0493), ("LoCoMo", 0.0901), ("LongMemEval", 0.1338)],
    ),
    row(
        Task::Reconstruction,
        "f1",
        "",
        ("DeepSeek-OCR", OCR),
        &[("HotpotQA", 0.4540), ("RACE", 0.4068), ("SQuAD", 0.3657), ("LoCoMo", 0.5179), ("LongMemEval", 0.4685)],
    ),
    row(
        Task::Reconstruction,
        "f1",
        "icae",
        ("ICAE", ICAE),
        &[("HotpotQA", 0.7890), ("RACE", 0.6077), ("SQuAD", 0.7084), ("LoCoMo", 0.6986), ("LongMemEval", 0.7015)],
    ),
    row(
        Task::Reconstruction,
        "f1",
        "dense",
        ("NextMem-Dense", QWEN3),
        &[("HotpotQA", 0.9820), ("RACE", 0.8552), ("SQuAD", 0.8920), ("LoCoMo", 0.9611), ("LongMemEval", 0.9436)],
    ),
    row(
        Task::Reconstruction,
        "f1",
        "sparse",
        ("NextMem-Sparse (NF4)", QWEN3),
        &[("HotpotQA", 0.9805), ("RACE", 0.8554), ("SQuAD", 0.8860), ("LoCoMo", 0.9615), ("LongMemEval", 0.9362)],
    ),
    row(
        Task::ContextualQa,
        "judge accuracy",
        "icae-comp",
        ("ICAE Comp", ICAE),
        &[("HotpotQA", 0.8565), ("SQuAD", 0.7775), ("LoCoMo", 0.5407), ("LongMemEval", 0.4971)],
    ),
    row(
        Task::ContextualQa,
        "judge accuracy",
        "icae-decomp",
        ("ICAE DeComp", ICAE),
        &[("HotpotQA", 0.8229), ("SQuAD", 0.7066), ("LoCoMo", 0.5215), ("LongMemEval", 0.5029)],
    ),
    row(
        Task::ContextualQa,
        "judge accuracy",
        "text",
        ("text (oracle)", QWEN3),
        &[("HotpotQA", 0.9350), ("SQuAD", 0.9335), ("LoCoMo", 0.6986), ("LongMemEval", 0.6971)],
    ),
    row(Task::ContextualQa, "judge accuracy", "dense-comp", ("NextMem Comp", QWEN3), &[("HotpotQA", 0.5179)]),
    row(
        Task::ContextualQa,
        "judge accuracy",
        "dense-decomp",
        ("Dense DeComp", QWEN3),
        &[("HotpotQA", 0.8072), ("SQuAD", 0.7572), ("LoCoMo", 0.5407), ("LongMemEval", 0.5400)],
    ),
    row(
        Task::ContextualQa,
        "judge accuracy",
        "sparse-decomp",
        ("Sparse DeComp", QWEN3),
        &[("HotpotQA", 0.8184), ("SQuAD", 0.7630), ("LoCoMo", 0.5263), ("LongMemEval", 0.5486)],
    ),
    row(Task::Retrieval, "hit@5", "", ("DeepSeek-OCR", OCR), &[("HotpotQA", 0.3358), ("LoCoMo", 0.0676), ("LongMemEval", 0.4200)]),
    row(Task::Retrieval, "hit@5", "icae", ("ICAE", ICAE), &[("HotpotQA", 0.4453), ("LoCoMo", 0.1210), ("LongMemEval", 0.5480)]),
    row(Task::Retrieval, "hit@5", "dense", ("Dense", QWEN3), &[("HotpotQA", 0.7245), ("LoCoMo", 0.4377), ("LongMemEval", 0.8220)]),
    row(Task::Retrieval, "hit@5", "sparse", ("Sparse", QWEN3), &[("HotpotQA", 0.7208), ("LoCoMo", 0.4342), ("LongMemEval", 0.8140)]),
    row(Task::Retrieval, "hit@5", "bge", ("BGE", BGE), &[("HotpotQA", 0.9585), ("LoCoMo", 0.8007), ("LongMemEval", 0.8960)]),
    row(Task::Retrieval, "mrr@5", "icae", ("ICAE", ICAE), &[("HotpotQA", 0.3187), ("LoCoMo", 0.0577), ("LongMemEval", 0.2437)]),
    row(Task::Retrieval, "mrr@5", "dense", ("Dense", QWEN3), &[("HotpotQA", 0.5194), ("LoCoMo", 0.2418), ("LongMemEval", 0.5445)]),
    row(Task::Retrieval, "mrr@5", "sparse", ("Sparse", QWEN3), &[("HotpotQA", 0.5107), ("LoCoMo", 0.2310), ("LongMemEval", 0.5428)]),
    row(Task::Retrieval, "mrr@5", "bge", ("BGE", BGE), &[("HotpotQA", 0.8063), ("LoCoMo", 0.5061), ("LongMemEval", 0.6934)]),
];

/// The paper's ablation of NextMem ([`QWEN3`]) on RACE: token F1, ROUGE-L, METEOR and BERTScore (not rescaled) of the reconstruction.
pub const PUBLISHED_ABLATION: &[(&str, [f64; 4])] = &[
    ("full", [0.8552, 0.8580, 0.8691, 0.9735]),
    ("w/o PS (no progressive expansion)", [0.7389, 0.7358, 0.7353, 0.9502]),
    ("w/o ST (decode without [SoD])", [0.3799, 0.3804, 0.4048, 0.7307]),
    ("w/o SQ (NF4 without scales)", [0.0309, 0.0290, 0.0442, 0.7521]),
    ("w/o PT (stage 1 only)", [0.0159, 0.0138, 0.0169, 0.7686]),
];
