//! The paper's three tasks, their metrics and tables.
//!
//! Predicting writes per-sample JSONL; scoring and tables read only that, so a metric can be added to past runs.

pub mod analysis;
pub mod bertscore;
mod error;
mod interval;
pub mod judge;
pub mod metric;
mod normalize;
mod published;
mod sample;
mod score;
pub mod sheet;
pub mod stats;
mod table;
mod task;

pub use error::EvalError;
pub use interval::{Interval, bootstrap_mean, mean_interval, wilson};
pub use published::{PUBLISHED, PUBLISHED_ABLATION, Published, QWEN3};
pub use sample::{Lines, QaSample, ReconstructionSample, Resumed, RetrievalSample, Sample, read_lines, read_samples};
pub use score::{CHANCE, FLOOR, MEMORY_BYTES, Score, check_metric, parse_sample_file, sample_file, score_file, score_without_memory};
pub use table::{ONE_TRAINING, markdown, method_label, row_label, row_model};
pub use task::{Progress, TOP, Task, highest, predict_qa, predict_reconstruction, predict_retrieval, reference_text};
