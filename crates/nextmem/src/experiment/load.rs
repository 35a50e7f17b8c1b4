//! Reading an experiment: its chain of `base` files, where every value came from, and where its paths lead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::{Experiment, paths};

/// Where a key's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The experiment file.
    Set,
    /// A `base` of it.
    Base,
    /// The documented default.
    Default,
}

/// A parsed experiment with the origin of every key.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values; paths lead from the current directory.
    pub experiment: Experiment,
    /// The file as typed.
    pub text: String,
    /// Dotted key to origin, of the keys that were typed somewhere.
    pub origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// The same experiment trained with another seed, in a directory of its own; its test items stay those of `seed`.
    pub fn trained_with(mut self, seed: Option<u64>) -> Self {
        if let Some(seed) = seed {
            self.experiment.train.seed = Some(seed);
            self.experiment.name += &format!("-seed{seed}");
        }
        self
    }
}

/// A file of the chain.
struct Typed {
    path: PathBuf,
    text: String,
    table: Table,
}

impl Experiment {
    /// Reads an experiment and what it is based on, a `base` of a `base` too. Every path is taken relative to the folder of the
    /// file that typed it; without `results`, runs go to `results` beside the experiment.
    pub fn load(path: &Path) -> Result<Loaded> {
        let chain = chain(path)?;
        let mut origins = BTreeMap::new();
        let mut merged = Table::new();
        for (depth, file) in chain.iter().enumerate().rev() {
            let mut table = file.table.clone();
            paths::change(&mut table, &mut |kind, text| paths::from_folder(folder(&file.path), kind, text));
            note(&mut origins, "", &table, if depth == 0 { Origin::Set } else { Origin::Base });
            merge(&mut merged, table);
        }
        if !merged.contains_key("results") {
            let beside = paths::from_folder(folder(path), paths::Kind::File, "results");
            merged.insert("results".into(), Value::String(beside));
        }
        // Through text once more: only an error of a text says where it is.
        let merged = toml::to_string(&merged)?;
        let experiment = toml::from_str(&merged).map_err(|e| located(&chain, &merged, &e))?;
        let text = chain.into_iter().next().map(|file| file.text).unwrap_or_default();
        Ok(Loaded { experiment, text, origins })
    }

    /// The same with paths that lead from the directory of a run, for its resolved.toml.
    pub fn portable(&self, root: &Path) -> Result<Self> {
        let mut table = Table::try_from(self)?;
        paths::change(&mut table, &mut |kind, text| paths::to_folder(root, kind, text));
        Ok(table.try_into()?)
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// The file, its base, the base of that, ..
fn chain(path: &Path) -> Result<Vec<Typed>> {
    let mut files: Vec<Typed> = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next.take() {
        let text = read(&path, files.last())?;
        let mut table: Table = toml::from_str(&text).with_context(|| path.display().to_string())?;
        match table.remove("base") {
            None => {}
            Some(Value::String(name)) => next = Some(paths::from_folder(folder(&path), paths::Kind::File, &name).into()),
            Some(_) => bail!("{}: key `base`: expected the file name of another experiment", path.display()),
        }
        files.push(Typed { path, text, table });
        let same = |a: &Path, b: &Path| std::fs::canonicalize(a).ok().is_some_and(|a| std::fs::canonicalize(b).ok() == Some(a));
        if let Some(again) = next.as_ref().filter(|next| files.iter().any(|file| same(&file.path, next))) {
            let names: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
            bail!("{}: `base` leads back to {}: {}", names[0], again.display(), names.join(" -> "));
        }
    }
    Ok(files)
}

fn read(path: &Path, named_by: Option<&Typed>) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| match named_by {
        Some(file) => anyhow!("{}: `base` names {}: {e}; the name is relative to the file's folder", file.path.display(), path.display()),
        None => anyhow!("{}: {e}; give the path of an experiment, like experiments/quickstart.toml", path.display()),
    })
}

/// An error of merged values, with the file and the line that typed the key at fault.
fn located(chain: &[Typed], merged: &str, error: &toml::de::Error) -> anyhow::Error {
    // One file says it best itself, with the line's text.
    if let [only] = chain
        && let Err(own) = toml::from_str::<Experiment>(&only.text)
    {
        return anyhow::Error::new(own).context(only.path.display().to_string());
    }
    let at = error.span().map_or(0, |span| span.start);
    let key = key_at(merged, at).unwrap_or_default();
    for file in chain {
        let found = keys(&file.text).into_iter().find(|(dotted, _)| *dotted == key);
        if let Some((_, span)) = found.filter(|_| !key.is_empty()) {
            let line = file.text[..span.start].matches('\n').count() + 1;
            return anyhow!("{}: line {line}: `{key}`: {}", file.path.display(), error.message());
        }
    }
    anyhow!("{}: {}: {}", chain[0].path.display(), if key.is_empty() { "its values" } else { &key }, error.message())
}

/// The innermost key whose name or value is at a place of a text.
fn key_at(text: &str, at: usize) -> Option<String> {
    let here = |span: &std::ops::Range<usize>| span.contains(&at);
    keys(text).into_iter().filter(|(_, span)| here(span)).min_by_key(|(_, span)| span.len()).map(|(key, _)| key)
}

/// Every dotted key of a text with its place, from its name to the end of its value; a table has the place of its name.
fn keys(text: &str) -> Vec<(String, std::ops::Range<usize>)> {
    fn walk(out: &mut Vec<(String, std::ops::Range<usize>)>, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table.iter() {
            let name = key.get_ref();
            let dotted = if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") };
            let start = key.span().start;
            match value.get_ref() {
                DeValue::Table(inner) => {
                    out.push((dotted.clone(), value.span().start.min(start)..value.span().end.max(key.span().end)));
                    walk(out, &dotted, inner);
                }
                _ => out.push((dotted, start..value.span().end.max(key.span().end))),
            }
        }
    }
    let mut out = Vec::new();
    if let Ok(table) = DeTable::parse(text) {
        walk(&mut out, "", table.get_ref());
    }
    out
}

/// Lays a file over its base. `key = false` takes away a table of the base: a stage, a task, a baseline, an option.
fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(table)) => merge(inner, table),
            (Some(Value::Table(_)), Value::Boolean(false)) => {
                base.remove(&key);
            }
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn note(origins: &mut BTreeMap<String, Origin>, prefix: &str, table: &Table, origin: Origin) {
    for (key, value) in table {
        let dotted = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => note(origins, &dotted, inner, origin),
            _ => {
                origins.insert(dotted, origin);
            }
        }
    }
}

/// Every key of a resolved experiment with its value, dotted and in order.
pub fn flatten(experiment: &Experiment) -> Result<Vec<(String, String)>> {
    fn walk(out: &mut Vec<(String, String)>, prefix: &str, table: &Table) {
        for (key, value) in table {
            let dotted = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                Value::Table(inner) => walk(out, &dotted, inner),
                value => out.push((dotted, value.to_string())),
            }
        }
    }
    let mut out = Vec::new();
    walk(&mut out, "", &Table::try_from(experiment)?);
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BASE: &str = "name = 'a'\n[backbone]\nmodel = 'm'\n[data.facts]\ntrain = 5\n[method.nextmem]\nnum_latents = 4\n";

    fn load(text: &str) -> Result<Loaded> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("base.toml"), BASE).unwrap();
        std::fs::write(dir.path().join("x.toml"), text).unwrap();
        Experiment::load(&dir.path().join("x.toml"))
    }

    #[test]
    fn false_takes_a_table_of_the_base_away() {
        let mut base: Table = toml::from_str("a = 1\n[b]\nc = 2\n[b.d]\ne = true\n").unwrap();
        merge(&mut base, toml::from_str("[b]\nd = false\nc = 3\n").unwrap());
        assert_eq!(base, toml::from_str("a = 1\n[b]\nc = 3\n").unwrap());
        // A switch that is no table is set, not taken away.
        merge(&mut base, toml::from_str("a = false\n").unwrap());
        assert_eq!(base["a"], Value::Boolean(false));
    }

    #[test]
    fn base_values_are_kept_unless_set() {
        let loaded = load("base = 'base.toml'\nname = 'b'\n[method.nextmem]\ndecode_with_sod = false\n").unwrap();
        assert_eq!(loaded.experiment.name, "b");
        assert_eq!(loaded.experiment.method.nextmem.num_latents, 4);
        assert!(!loaded.experiment.method.nextmem.decode_with_sod);
        assert_eq!(loaded.origins["method.nextmem.num_latents"], Origin::Base);
        assert_eq!(loaded.origins["name"], Origin::Set);
        assert_eq!(loaded.experiment.seed, 1128);
    }

    #[test]
    fn unknown_keys_name_their_line() {
        let error = format!("{:#}", load(&format!("{BASE}nmu_latents = 3\n")).unwrap_err());
        assert!(error.contains("nmu_latents") && error.contains("line 8"), "{error}");
        let error = format!("{:#}", load("base = 'base.toml'\nname = 'b'\nsede = 3\n").unwrap_err());
        assert!(error.contains("sede") && error.contains("line 3"), "{error}");
    }

    #[test]
    fn the_line_is_that_of_the_file_that_typed_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let error = || format!("{:#}", Experiment::load(&dir.path().join("x.toml")).unwrap_err());
        let optim = "optim = { learning_rate = 1.0, batch_size = 4 }";
        let stage1 = "[train.reconstruction]\nsteps = 2\n[train.reconstruction.optim]\nlearning_rate = 1.0\n";
        let icae = format!("[baselines.icae]\nsteps = 2\nslots = 2\n{optim}\n");
        // The key of the other table is right and comes first; `batch_size` and `batch` begin alike.
        write("base.toml", &format!("{BASE}{icae}{stage1}batch_size = 'four'\n"));
        write("x.toml", "base = 'base.toml'\nname = 'b'\n[eval]\nbatch_size = 3\n");
        assert!(error().contains("base.toml: line 16: `train.reconstruction.optim.batch_size`"), "{}", error());
        write("base.toml", &format!("{BASE}{icae}{stage1}batch_size = 4\n"));
        write("x.toml", "base = 'base.toml'\n[train.reconstruction]\nsteps = 2\n[train.reconstruction.optim]\nbatch = 3\n");
        assert!(error().contains("x.toml: line 5: `train.reconstruction.optim.batch`"), "{}", error());
        // What the experiment sets is at fault there, not in the base.
        write("x.toml", "base = 'base.toml'\n\n[method]\nnextmem = { num_latents = -1 }\n");
        assert!(error().contains("x.toml: line 4: `method.nextmem.num_latents`"), "{}", error());
    }

    #[test]
    fn a_base_may_have_a_base_but_no_circle() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("c.toml", BASE);
        write("b.toml", "base = 'c.toml'\nname = 'b'\nseed = 7\n");
        write("a.toml", "base = 'b.toml'\nname = 'a'\n");
        let loaded = Experiment::load(&dir.path().join("a.toml")).unwrap();
        assert_eq!((loaded.experiment.name.as_str(), loaded.experiment.seed, loaded.experiment.method.nextmem.num_latents), ("a", 7, 4));
        assert_eq!((loaded.origins["seed"], loaded.origins["name"]), (Origin::Base, Origin::Set));
        write("c.toml", &format!("base = './a.toml'\n{BASE}"));
        let error = format!("{:#}", Experiment::load(&dir.path().join("a.toml")).unwrap_err());
        assert!(error.contains("leads back") && error.contains("c.toml"), "{error}");
        write("c.toml", "base = 'nowhere.toml'\n");
        let error = format!("{:#}", Experiment::load(&dir.path().join("a.toml")).unwrap_err());
        assert!(error.contains("c.toml: `base` names") && error.contains("nowhere.toml"), "{error}");
    }

    #[test]
    fn paths_lead_from_the_file_that_typed_them() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(name), text).unwrap();
        };
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("shared/models/own")).unwrap();
        write(
            "shared/base.toml",
            "name = 'a'\nresults = '../results/runs'\n[backbone]\nmodel = 'models/own'\n[data.text]\npath = '../t.txt'\n\
             min_words = 1\nmax_words = 2\n[weights]\nstage1 = 'Owner/name'\n",
        );
        write(
            "mine/deep/x.toml",
            "base = '../../shared/base.toml'\nname = 'b'\n[eval.reconstruction]\nlimit = 1\nsets = { s = 'r.json' }\nmetrics = []\n",
        );
        let e = Experiment::load(&at("mine/deep/x.toml")).unwrap().experiment;
        assert_eq!(e.backbone.model, Some(at("shared/models/own")));
        assert_eq!(e.data.text.as_ref().unwrap().path, at("t.txt"));
        assert_eq!(e.results, at("results/runs"));
        assert_eq!(e.eval.reconstruction.as_ref().unwrap().sets["s"], at("mine/deep/r.json"));
        // What is not there and looks like the name of a repository is one.
        assert_eq!(e.weights.as_ref().unwrap().stage1, Some("Owner/name".into()));

        // Written into the run and read back, from there or after both were moved, it leads to the same files.
        std::fs::create_dir_all(at("results/runs/b")).unwrap();
        let written = e.portable(&at("results/runs/b")).unwrap();
        assert_eq!(written.results, PathBuf::from(".."));
        assert_eq!(written.backbone.model, Some("../../../shared/models/own".into()));
        assert_eq!(written.weights.as_ref().unwrap().stage1, Some("Owner/name".into()));
        write("results/runs/b/resolved.toml", &toml::to_string(&written).unwrap());
        assert_eq!(Experiment::load(&at("results/runs/b/resolved.toml")).unwrap().experiment, e);

        // Without `results` runs go beside the experiment.
        write("own.toml", BASE);
        assert_eq!(Experiment::load(&at("own.toml")).unwrap().experiment.results, at("results"));
    }
}
