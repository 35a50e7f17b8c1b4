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
pub use published::{PUBLISHED, PUBLISHED_ABLATION, Published};
pub use sample::{QaSample, ReconstructionSample, RetrievalSample, read_samples};
pub use score::{MEMORY_BYTES, Score, check_metric, sample_file, score_file};
pub use table::{markdown, method_label};
pub use task::{Progress, TOP, Task, highest, predict_qa, predict_reconstruction, predict_retrieval};
