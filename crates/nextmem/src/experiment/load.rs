//! Reading an experiment: one level of `base`, and where every value came from.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use toml::{Table, Value};

use super::Experiment;

/// Where a key's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The experiment file.
    Set,
    /// Its `base`.
    Base,
    /// The documented default.
    Default,
}

/// A parsed experiment with the origin of every key.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub experiment: Experiment,
    /// The file as typed.
    pub text: String,
    /// Dotted key to origin, of the keys that were typed somewhere.
    pub origins: BTreeMap<String, Origin>,
}

impl Experiment {
    /// Reads an experiment and, if it names one, its base.
    pub fn load(path: &Path) -> Result<Loaded> {
        let text = read(path)?;
        let mut table: Table = toml::from_str(&text).with_context(|| path.display().to_string())?;
        let mut origins = BTreeMap::new();
        let base = table.remove("base");
        if let Some(base) = base {
            let Value::String(name) = base else { bail!("{}: key `base`: expected the file name of another experiment", path.display()) };
            let base_path = path.parent().unwrap_or(Path::new(".")).join(&name);
            let mut merged: Table = toml::from_str(&read(&base_path)?).with_context(|| base_path.display().to_string())?;
            if merged.contains_key("base") {
                bail!("{}: `base` names {name}, which has a `base` itself; only one level is allowed", path.display());
            }
            note(&mut origins, "", &merged, Origin::Base);
            note(&mut origins, "", &table, Origin::Set);
            merge(&mut merged, table);
            // Through text once more: only an error of a text says where it is.
            let merged = toml::to_string(&merged)?;
            let experiment = toml::from_str(&merged).map_err(|e| locate(path, &text, &merged, &e))?;
            return Ok(Loaded { experiment, text, origins });
        }
        note(&mut origins, "", &table, Origin::Set);
        // From the text, not the table, so that an error shows its line.
        let experiment = toml::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(Loaded { experiment, text, origins })
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|e| anyhow!("{}: {e}; give the path of an experiment, like experiments/quickstart.toml", path.display()))
}

/// An error of merged values, with the line that the key at fault has in the experiment itself.
fn locate(path: &Path, text: &str, merged: &str, error: &toml::de::Error) -> anyhow::Error {
    let at = error.span().map_or(0, |s| s.start);
    let line = merged.get(..at).map_or("", |before| &merged[before.rfind('\n').map_or(0, |i| i + 1)..]).lines().next().unwrap_or_default();
    let key = line.split(['=', ' ']).next().unwrap_or_default();
    let found = text.lines().position(|l| !key.is_empty() && l.trim_start().starts_with(key));
    match found {
        Some(number) => anyhow!("{}: line {}: `{key}`: {}", path.display(), number + 1, error.message()),
        None => anyhow!("{}: `{line}`: {}", path.display(), error.message()),
    }
}

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(table)) => merge(inner, table),
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
    fn chains_of_bases_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.toml"), "base = 'b.toml'\n").unwrap();
        std::fs::write(dir.path().join("b.toml"), "base = 'c.toml'\n").unwrap();
        let error = format!("{:#}", Experiment::load(&dir.path().join("a.toml")).unwrap_err());
        assert!(error.contains("one level"), "{error}");
    }
}
