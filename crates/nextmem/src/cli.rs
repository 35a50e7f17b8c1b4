//! Verbs and their help; what is wrong with the input ends with exit code 2, what goes wrong later with 1.

use std::path::PathBuf;

use anyhow::{Error, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use nextmem_eval::EvalError;
use nextmem_model::{ModelError, SpecialTokensError, TokenizerError};

use crate::experiment::{DeviceConfig, Experiment};
use crate::outputs::ensure_folder;
use crate::plan::Plan;
use crate::{
    analysis, bench, compare, data, device, explain, export_hf, hub, import, interrupt, judge, lm_eval, memory, metrics, parity, plot,
    portability, reproduce, run, score, source, table, tensorboard, verify,
};

/// Latent factual memory for LLM agents: text into a few vectors and back, on Burn.
///
/// Start with `nextmem run experiments/quickstart.toml`: it trains a small NextMem on the CPU in minutes, evaluates it
/// and prints the tables. Then try the result on two sentences of its test set:
///
///   nextmem encode results/runs/quickstart "The Denclalu hearing asks 194 euros and hands out a clock. It takes place in the sauna at 15:31."
///   nextmem decode results/runs/quickstart memory.safetensors
///   nextmem ask    results/runs/quickstart memory.safetensors "What costs guests 194 euros?"
///
/// A model this small has learnt passages like this one and little else: it gives other sentences back as such passages.
#[derive(Debug, Parser)]
#[command(name = "nextmem", version = env!("NEXTMEM_VERSION"), verbatim_doc_comment)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Train, quantise, evaluate and tabulate one experiment; run again to go on after an interruption
    Run {
        /// The experiment, like experiments/quickstart.toml
        experiment: PathBuf,
        /// Delete the files of the other run that the output directory holds; nothing else in it is touched
        #[arg(long)]
        force: bool,
        /// Where the run's directory goes, instead of what the experiment says
        #[arg(long)]
        results: Option<PathBuf>,
        /// Train with this seed, `[train] seed`, and add it to the run's name: several seeds on the same data and test items
        #[arg(long)]
        train_seed: Option<u64>,
    },
    /// Print every key with its origin, sizes, steps and files of an experiment; nothing heavy is loaded
    Explain {
        /// The experiment
        experiment: PathBuf,
        /// What `run` would do with the same seed of training
        #[arg(long)]
        train_seed: Option<u64>,
    },
    /// Score the saved samples of a run again; needs no model
    Score {
        /// The run's directory, like results/quickstart
        run: PathBuf,
        #[command(flatten)]
        wanted: score::Wanted,
    },
    /// Print several runs side by side, a table per task and dataset; needs no model
    Table(table::Options),
    /// Compare two runs, or two methods (RUN:METHOD), sample by sample: means, intervals, tests; needs no model
    Compare(compare::Options),
    /// Score pairs of texts (JSON lines of prediction and reference) with every text metric, one JSON object a line; needs no model
    Metrics(metrics::Options),
    /// Write the results of a run in the files of another tool
    Export {
        /// The run's directory, like results/quickstart
        run: PathBuf,
        /// The tool
        #[arg(long, value_enum)]
        format: ExportFormat,
        /// The date in the files of lm-eval, in Unix seconds, instead of the run's
        #[arg(long)]
        date: Option<u64>,
        /// Where the files go [default: RUN/lm_eval, RUN/tensorboard or RUN/hf]
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Download official datasets and turn them into records of the three tasks
    #[command(subcommand)]
    Data(data::DataVerb),
    /// Let an LLM judge the answers of a run; needs an endpoint of OpenAI's kind
    Judge(judge::Options),
    /// Make a table or a figure of the paper, ours beside the published numbers; runs what is not finished
    Reproduce(reproduce::Options),
    /// Draw the training curves of a run
    Plot {
        /// The run's directory, like results/quickstart
        run: PathBuf,
        /// Where the figures go [default: RUN/figures]
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Measure a finished run: noise, length, segments, storage, first errors, controls, number of latents, rate and distortion
    Analyze(analysis::Options),
    /// Download a checkpoint from the Hugging Face hub; its name then stands for its directory everywhere
    ///
    /// The address is HF_ENDPOINT, the cache HF_HUB_CACHE or HF_HOME, the token HF_TOKEN or what `hf auth login` has kept, all as in
    /// Python. Run it again after an interruption to go on.
    Fetch(hub::Options),
    /// Check every file and every tensor of a checkpoint or an adapter against its config, without loading it
    Verify(verify::Options),
    /// Turn the official NextMem checkpoints into a run that encode, decode, ask, search and experiments accept
    Import(import::Options),
    /// Turn texts into memories and say how many bytes they take
    ///
    /// Text is read in UTF-8 or UTF-16, with any line ends. Texts that cannot be encoded are named before anything is done. An
    /// encoding that is ended leaves OUT.partial; the same command goes on from there.
    Encode(memory::EncodeOptions),
    /// Turn memories back into text, one a line
    ///
    /// What comes back is what the model has kept: compare it with the text, which `encode --keep-text` keeps beside it.
    Decode {
        #[command(flatten)]
        model: Model,
        /// A file written by `encode`
        memories: PathBuf,
    },
    /// Answer a question from each memory of a file, one answer a line; `search` finds the memory to ask
    Ask {
        #[command(flatten)]
        model: Model,
        /// A file written by `encode`
        memories: PathBuf,
        /// The question
        question: String,
        /// Answer straight from the latents (Comp) instead of from the decoded text (DeComp)
        #[arg(long)]
        comp: bool,
    },
    /// Rank the memories of a file by how near they are to a query
    Search {
        #[command(flatten)]
        model: Model,
        /// A file written by `encode`
        memories: PathBuf,
        /// The query
        query: String,
        /// How many to show
        #[arg(long, default_value_t = 5)]
        top: usize,
    },
    /// List the devices of this build and this machine, and what the others need
    Devices,
    /// Compare devices: every operation, the model, gradients and training steps against f64 on the CPU
    Portability {
        /// The experiment whose weights, sizes and passages are used
        experiment: PathBuf,
        /// Devices like `flex,wgpu@1,cuda:bf16,cuda+unfused` (backend, number, float type, without fused operations); without it
        /// every backend of this build in f32
        #[arg(long, value_delimiter = ',')]
        devices: Vec<String>,
        /// Only rows with one of these in their name, like `softmax;latents` (names have commas)
        #[arg(long, value_delimiter = ';')]
        only: Vec<String>,
        /// Where NAME.md and NAME.json go
        #[arg(long, default_value = "results/portability")]
        out: PathBuf,
    },
    /// Time encoding, decoding, a training step and loading, here and in PyTorch
    Bench(bench::Options),
    /// One backend's part of `devices`
    #[command(hide = true)]
    DeviceProbe {
        backend: String,
        #[arg(long)]
        describe: bool,
    },
    /// Our part of `bench`
    #[command(hide = true)]
    BenchWorker { workload: PathBuf, out: PathBuf },
    /// One device's part of `portability`
    #[command(hide = true)]
    PortabilityWorker { job: PathBuf, backend: String, index: usize, dtype: String },
    /// Recompute every reference value of a directory made by scripts/golden/make_oracle.py
    Parity {
        /// A directory with base/, stage1/, stage2/, expected.safetensors and meta.json
        dir: PathBuf,
        #[arg(long, default_value = "flex", help = device::HELP)]
        device: String,
        /// Largest relative error of a float tensor [default: 1e-5, and 7.8e-3 for products that the device computes in TF32]
        #[arg(long)]
        tolerance: Option<f64>,
    },
}

/// Whose files `export` writes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExportFormat {
    /// EleutherAI's lm-evaluation-harness
    LmEval,
    /// TensorBoard event files of the training curves
    Tensorboard,
    /// Directories for transformers and peft: the decoder with stage 1 merged, and what encodes
    Hf,
}

/// What encodes and decodes.
#[derive(Debug, Args)]
pub struct Model {
    /// A run's directory (results/quickstart), or a Hugging Face directory or a fetched name, then with --stage1 and --stage2
    pub model: PathBuf,
    /// Stage 1: a PEFT adapter (with special_tokens_DTOKENS.pt) or a Hugging Face directory
    #[arg(long)]
    pub stage1: Option<PathBuf>,
    /// Stage 2: a PEFT adapter or a Hugging Face directory
    #[arg(long)]
    pub stage2: Option<PathBuf>,
    #[arg(long, default_value = "flex", help = format!("When `model` is no run. {}", device::HELP))]
    pub device: String,
    /// Latents per memory when `model` is no run
    #[arg(long, default_value_t = 15)]
    pub latents: usize,
}

/// An error and the exit code it ends with.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong.
    pub error: Error,
    /// 2: bad input, nothing was done. 1: the run failed.
    pub code: u8,
}

fn bad_input(error: Error) -> Failure {
    Failure { error, code: 2 }
}

/// A file that does not fit is bad input wherever it is found; a full disk is not.
fn failed(error: Error) -> Failure {
    if let Some(code) = interrupt::code(&error) {
        return Failure { error, code };
    }
    let of_model = |e: &ModelError| !matches!(e, ModelError::Io { .. });
    let bad = error.chain().any(|e| {
        e.downcast_ref::<ModelError>().is_some_and(of_model)
            || e.downcast_ref::<EvalError>().is_some_and(EvalError::is_of_input)
            || e.is::<SpecialTokensError>()
            || e.is::<TokenizerError>()
            || e.is::<BadInput>()
    });
    let code = if bad || source::is_data_error(&error) { 2 } else { 1 };
    Failure { error, code }
}

/// Marks an error as the input's fault.
#[derive(Debug, Clone)]
pub struct BadInput(pub String);

impl std::fmt::Display for BadInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadInput {}

fn plan(path: &std::path::Path) -> Result<Plan, Failure> {
    Experiment::load(path).and_then(Plan::resolve).map_err(bad_input)
}

impl Cli {
    /// Does what was asked.
    pub fn execute(self) -> Result<(), Failure> {
        device::with_environment();
        match self.verb {
            Verb::Run { experiment, force, results, train_seed } => {
                let mut loaded = Experiment::load(&experiment).map_err(bad_input)?.trained_with(train_seed);
                if let Some(results) = results {
                    loaded.experiment.results = results;
                }
                let plan = Plan::resolve(loaded).map_err(bad_input)?;
                let (device, dir) = run::prepare(&plan, force).map_err(bad_input)?;
                run::run(&plan, &device, &dir).map_err(failed)
            }
            Verb::Explain { experiment, train_seed } => {
                let loaded = Experiment::load(&experiment).map_err(bad_input)?.trained_with(train_seed);
                let outline = Plan::outline(loaded).map_err(bad_input)?;
                println!("{}", explain::explain(&outline).map_err(failed)?);
                Ok(())
            }
            Verb::Score { run, wanted } => {
                println!("{}", score::score(&run, &wanted).map_err(bad_input)?.tables);
                Ok(())
            }
            Verb::Table(options) => {
                println!("{}", table::table(&options).map_err(bad_input)?);
                Ok(())
            }
            Verb::Compare(options) => {
                println!("{}", compare::compare(&options).map_err(failed)?);
                Ok(())
            }
            Verb::Export { run, format, date, out } => {
                out.iter().try_for_each(|out| ensure_folder(out)).map_err(bad_input)?;
                let written = match format {
                    ExportFormat::LmEval => lm_eval::export(&run, &out.unwrap_or_else(|| run.join("lm_eval")), date),
                    ExportFormat::Tensorboard => tensorboard::export(&run, &out.unwrap_or_else(|| run.join("tensorboard"))),
                    ExportFormat::Hf => export_hf::export(&run, &out.unwrap_or_else(|| run.join("hf"))),
                };
                written.map_err(failed)?.iter().for_each(|path| println!("{}", path.display()));
                Ok(())
            }
            Verb::Data(verb) => data::execute(&verb).map_err(failed),
            Verb::Judge(options) => judge::judge(&options).map_err(failed),
            Verb::Reproduce(options) => reproduce::reproduce(&options).map_err(failed),
            Verb::Plot { run, out } => {
                ensure_folder(out.as_deref().unwrap_or(&run.join("figures"))).map_err(bad_input)?;
                plot::plot(&run, out.as_deref()).map_err(failed)
            }
            Verb::Metrics(options) => metrics::metrics(&options).map_err(failed),
            Verb::Analyze(options) => analysis::analyze(&options).map_err(failed),
            Verb::Fetch(options) => hub::fetch(&options).map_err(failed),
            Verb::Verify(options) => verify::verify(&options).map_err(failed),
            Verb::Import(options) => import::import(&options).map_err(failed),
            Verb::Encode(options) => memory::encode(&options).map_err(failed),
            Verb::Decode { model, memories } => memory::decode(&model, &memories).map_err(failed),
            Verb::Ask { model, memories, question, comp } => memory::ask(&model, &memories, &question, comp).map_err(failed),
            Verb::Search { model, memories, query, top } => memory::search(&model, &memories, &query, top).map_err(failed),
            Verb::Devices => {
                println!("{}", device::devices());
                Ok(())
            }
            Verb::DeviceProbe { backend, describe } => device::probe(&backend, describe).map_err(failed),
            Verb::Portability { experiment, devices, only, out } => {
                ensure_folder(&out).map_err(bad_input)?;
                portability::portability(&plan(&experiment)?, &devices, &only, &out).map_err(failed)
            }
            Verb::Bench(options) => bench::bench(&options).map_err(failed),
            Verb::BenchWorker { workload, out } => bench::work(&workload, &out).map_err(failed),
            Verb::PortabilityWorker { job, backend, index, dtype } => {
                portability::work(&job, &DeviceConfig { backend, index, dtype, evaluate: None }).map_err(failed)
            }
            Verb::Parity { dir, device, tolerance } => parity::parity(&dir, &device, tolerance).map_err(failed),
        }
    }
}
