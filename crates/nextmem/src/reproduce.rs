//! `reproduce`: the paper's tables and figures, ours beside the published numbers, each from one command.
//!
//! A recipe (`experiments/reproduce/SCALE.toml`) names the experiments. Runs that are finished are used as they are, the others
//! are run; every table is written as Markdown, CSV and LaTeX, every figure as SVG and PNG beside the table of its numbers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use nextmem_eval::EvalError;
use nextmem_eval::sheet::Sheet;
use serde::Deserialize;

mod ablations;
mod figures;
mod rate_curve;
pub mod tables;

use ablations::Ablation;
use rate_curve::{Curve, Training};

use crate::cli::BadInput;
use crate::experiment::Experiment;
use crate::plan::Plan;
use crate::run;
use crate::run_dir::RunDir;
use crate::sample_set::SampleSet;
use crate::{lm_eval, tensorboard};

/// What is wanted.
#[derive(Debug, Args)]
pub struct Options {
    /// The table or figure
    #[arg(value_enum)]
    what: What,
    /// The recipe: experiments/reproduce/SCALE.toml; nano runs on a CPU, paper needs a GPU and Qwen3-8B
    #[arg(long, default_value = "nano")]
    scale: String,
    /// Where the files go [default: results/reproduce/SCALE]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Use finished runs only; say what is missing instead of running it
    #[arg(long)]
    no_run: bool,
}

/// Everything that can be reproduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum What {
    /// Table 1: factual reconstruction
    Table1,
    /// Table 2: contextual generation
    Table2,
    /// Table 3: dense passage retrieval
    Table3,
    /// Table 4: ablations
    Table4,
    /// F1 against Gaussian noise on the latents
    FigNoise,
    /// F1 against the length of the passage
    FigLength,
    /// Which latent holds which segment
    FigSegments,
    /// F1 against the number of latents
    FigLatents,
    /// Bytes against F1, for every number of latents and quantiser
    FigBytes,
    /// F1 against the tokens that a latent stands for; also results/rate.json
    FigRate,
    /// Where the first error is, teacher-forced and free-running
    FigErrors,
    /// Storage formats against quality
    Storage,
    /// Random, shuffled and patterned text; foreign and empty latents
    Controls,
    /// All of them
    All,
}

/// The experiments behind the tables and figures.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    /// Tables 1 to 3.
    main: PathBuf,
    /// The analyses.
    analysed: PathBuf,
    /// The same with other numbers of latents.
    latents: Vec<PathBuf>,
    /// Passages per condition of an analysis.
    passages: usize,
    /// The rows of table 4.
    ablations: Vec<Ablation>,
    /// The lines of fig-rate.
    #[serde(default)]
    rate: Vec<Curve>,
}

impl Recipe {
    /// Refuses rows of table 4 whose brackets would not mean the same.
    fn check(&self) -> Result<(), String> {
        let Some(first) = self.ablations.first() else { return Ok(()) };
        match self.ablations.iter().find(|ablation| ablation.seeds != first.seeds) {
            Some(Ablation { label, seeds, .. }) => {
                Err(format!("[[ablations]] {label:?}: got seeds {seeds:?}, expected {:?}, those of the first row", first.seeds))
            }
            None => Ok(()),
        }
    }
}

/// What a table or figure is made from.
struct Reproduction {
    recipe: Recipe,
    scale: String,
    out: PathBuf,
    no_run: bool,
}

/// Makes what is wanted, and an index of everything that is in the directory.
pub fn reproduce(options: &Options) -> Result<()> {
    let path = PathBuf::from(format!("experiments/reproduce/{}.toml", options.scale));
    let text = std::fs::read_to_string(&path).map_err(|e| {
        BadInput(format!("--scale {}: {}: {e}; expected a recipe of that name, like nano or paper", options.scale, path.display()))
    })?;
    let mut recipe: Recipe = toml::from_str(&text).map_err(|e| BadInput(format!("{}: {e}", path.display())))?;
    recipe.check().map_err(|e| BadInput(format!("{}: {e}", path.display())))?;
    let named = [&mut recipe.main, &mut recipe.analysed].into_iter().chain(&mut recipe.latents);
    let named = named.chain(recipe.ablations.iter_mut().map(|a| &mut a.experiment));
    for experiment in named.chain(recipe.rate.iter_mut().flat_map(|curve| &mut curve.experiments)) {
        *experiment = crate::experiment::beside(&path, experiment);
    }
    let out = options.out.clone().unwrap_or_else(|| Path::new("results/reproduce").join(&options.scale));
    crate::outputs::ensure_folder(&out)?;
    let reproduction = Reproduction { recipe, scale: options.scale.clone(), out, no_run: options.no_run };
    let has = |what: &What| *what != What::All && (*what != What::FigRate || !reproduction.recipe.rate.is_empty());
    let all: Vec<What> = What::value_variants().iter().copied().filter(has).collect();
    let wanted = if options.what == What::All { all } else { vec![options.what] };
    for what in &wanted {
        reproduction.make(*what).with_context(|| name(*what))?;
    }
    reproduction.export(&wanted)?;
    reproduction.index()
}

fn name(what: What) -> String {
    what.to_possible_value().map_or(String::new(), |v| v.get_name().to_string())
}

/// Whether the samples of a run are all there.
///
/// # Errors
/// Samples that are there and cannot be: running again would not tell why.
fn evaluated(run: &Path) -> Result<bool> {
    match SampleSet::list_checked(run) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.downcast_ref(), Some(EvalError::Unfinished { .. })) => Ok(false),
        Err(error) => Err(error),
    }
}

impl Reproduction {
    fn make(&self, what: What) -> Result<()> {
        match what {
            What::Table1 => self.write(&tables::reconstruction(&self.finished(&self.recipe.main)?)?),
            What::Table2 => self.write(&tables::contextual_qa(&self.finished(&self.recipe.main)?)?),
            What::Table3 => self.write(&tables::retrieval(&self.finished(&self.recipe.main)?)?),
            What::Table4 => {
                let rows = self.recipe.ablations.iter().map(|a| Ok((a, self.trainings(&a.experiment, &a.seeds)?)));
                self.write(&[ablations::sheet(&rows.collect::<Result<Vec<_>>>()?)?])
            }
            What::All => Ok(()),
            What::FigRate => self.rate_curve(),
            figure => {
                let several = matches!(figure, What::FigLatents | What::FigBytes);
                let run = self.finished(&self.recipe.analysed)?;
                let others = if several { self.recipe.latents.as_slice() } else { &[] };
                let others = others.iter().map(|path| self.finished(path)).collect::<Result<Vec<_>>>()?;
                let analysis = figures::analysis(figure);
                let report = crate::analysis::report(&run, analysis, self.recipe.passages, &others)?;
                figures::draw(figure, &report, &self.out, &name(figure))?;
                self.write(&[figures::sheet(&report, &name(figure))])
            }
        }
    }

    /// F1 against tokens a latent; every training of every experiment is a run.
    fn rate_curve(&self) -> Result<()> {
        if self.recipe.rate.is_empty() {
            bail!(BadInput(format!("the recipe `{}` has no [[rate]]; expected one, with experiments of different rates", self.scale)));
        }
        let mut points = Vec::new();
        for curve in &self.recipe.rate {
            for experiment in &curve.experiments {
                let trainings = self.trainings(experiment, &curve.seeds)?;
                let name = experiment.file_stem().unwrap_or_default().to_string_lossy();
                points.extend(rate_curve::points(curve, &self.scale, &name, &trainings)?);
            }
        }
        let name = name(What::FigRate);
        crate::outputs::ensure_folder(&self.out)?;
        rate_curve::draw(&points, &self.out, &name)?;
        self.write(&[rate_curve::sheet(&points, &name)])?;
        // One file for all scales, beside the folder of their tables.
        let folder = self.out.parent().and_then(Path::parent).filter(|_| self.out.ends_with(Path::new("reproduce").join(&self.scale)));
        rate_curve::keep(&folder.unwrap_or(&self.out).join("rate.json"), &self.scale, &points)
    }

    /// The trainings of an experiment, one per seed, or the one with its own.
    fn trainings(&self, path: &Path, seeds: &[u64]) -> Result<Vec<Training>> {
        let seeds: Vec<Option<u64>> = if seeds.is_empty() { vec![None] } else { seeds.iter().copied().map(Some).collect() };
        seeds.into_iter().map(|seed| Ok(Training { seed, run: self.trained(path, seed)? })).collect()
    }

    /// The directory of an experiment's run, run first if it is not finished.
    fn finished(&self, path: &Path) -> Result<PathBuf> {
        self.trained(path, None)
    }

    /// The same for one of several trainings.
    fn trained(&self, path: &Path, seed: Option<u64>) -> Result<PathBuf> {
        let loaded = Experiment::load(path).map(|loaded| loaded.trained_with(seed));
        let plan = loaded.and_then(Plan::outline).map_err(|e| BadInput(format!("{e:#}")))?;
        // That of this machine, else the published one.
        let found = RunDir::locate(&plan.experiment.results, &plan.experiment.name);
        if RunDir::open(&found).is_ok_and(|dir| dir.holds(&plan)) && found.join("scores.json").is_file() && evaluated(&found)? {
            return Ok(found);
        }
        if self.no_run {
            bail!(BadInput(format!(
                "{}: is not finished; run `nextmem run {}{}`, or leave out --no-run",
                plan.dir.display(),
                path.display(),
                seed.map_or(String::new(), |seed| format!(" --train-seed {seed}"))
            )));
        }
        if let Some(missing) = plan.missing.first() {
            bail!(BadInput(format!("{}: {missing}", path.display())));
        }
        eprintln!("running {}", path.display());
        let (device, dir) = run::prepare(&plan, false)?;
        run::run(&plan, &device, &dir)?;
        Ok(plan.dir)
    }

    /// Prints a result's tables and writes them in every format.
    fn write(&self, sheets: &[Sheet]) -> Result<()> {
        std::fs::create_dir_all(&self.out).with_context(|| self.out.display().to_string())?;
        for sheet in sheets {
            println!("{}", sheet.markdown());
            let file = |extension: &str| self.out.join(format!("{}.{extension}", sheet.name));
            nextmem_model::write_atomically(&file("md"), sheet.markdown().as_bytes())?;
            nextmem_model::write_atomically(&file("csv"), sheet.csv().as_bytes())?;
            nextmem_model::write_atomically(&file("tex"), sheet.latex(true).as_bytes())?;
        }
        Ok(())
    }

    /// The samples and scores behind tables in the files of lm-evaluation-harness, and the curves in those of TensorBoard.
    fn export(&self, wanted: &[What]) -> Result<()> {
        // Several tables, and several rows of one, come from the same run.
        let mut runs = BTreeSet::new();
        for what in wanted {
            match what {
                What::Table1 | What::Table2 | What::Table3 => {
                    runs.insert(self.finished(&self.recipe.main)?);
                }
                What::Table4 => {
                    for Ablation { experiment, seeds, .. } in &self.recipe.ablations {
                        runs.extend(self.trainings(experiment, seeds)?.into_iter().map(|training| training.run));
                    }
                }
                _ => {}
            }
        }
        for run in runs {
            lm_eval::export(&run, &self.out.join("lm_eval"), None)?;
            // An ablation that trains nothing has no curve of its own.
            if !tensorboard::curves(&run).is_empty() {
                tensorboard::export(&run, &self.out.join("tensorboard").join(run.file_name().unwrap_or_default()))?;
            }
        }
        Ok(())
    }

    /// README.md of the directory: every table and figure in it, with its command.
    fn index(&self) -> Result<()> {
        let mut text = format!(
            "# Tables and figures at the scale `{0}`\n\nEach is made by `nextmem reproduce NAME --scale {0}`, all of them by `nextmem reproduce all \
             --scale {0}`; the runs behind them are those of `experiments/reproduce/{0}.toml`. Every table is there as .md, .csv and .tex, every \
             figure as .svg and .png. Beside them are `lm_eval/` (results and samples as lm-evaluation-harness writes them) and `tensorboard/` (training \
             curves), which the same commands make; they are not in git.\n",
            self.scale
        );
        let mut files: Vec<String> = std::fs::read_dir(&self.out)
            .with_context(|| self.out.display().to_string())?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".md").map(String::from))
            .filter(|name| name != "README")
            .collect();
        files.sort_by_key(|name| (!name.starts_with("table"), name.clone()));
        for file in files {
            let path = self.out.join(format!("{file}.md"));
            let table = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            text.push_str(&format!("\n{}", table.replacen("## ", &format!("## {file}: "), 1)));
            if self.out.join(format!("{file}.png")).is_file() {
                text.push_str(&format!("\n![{file}]({file}.png)\n"));
            }
        }
        nextmem_model::write_atomically(&self.out.join("README.md"), text.as_bytes())?;
        eprintln!("everything is in {}", self.out.join("README.md").display());
        Ok(())
    }
}
