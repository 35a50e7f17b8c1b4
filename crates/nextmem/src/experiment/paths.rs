//! The paths of an experiment file: which keys have one, and where they lead.

use std::path::{Component, Path, PathBuf};

use toml::{Table, Value};

use crate::hub;

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file or a directory.
    File,
    /// A directory of weights, or the name of a repository of the Hugging Face hub.
    Model,
}

/// Every key whose value is a path or a list of them; `*` stands for any name.
const KEYS: [(&str, Kind); 19] = [
    ("results", Kind::File),
    ("backbone.model", Kind::Model),
    ("backbone.nano.export", Kind::File),
    ("data.text.path", Kind::File),
    ("data.squad.train", Kind::File),
    ("data.squad.test", Kind::File),
    ("data.prepared.train", Kind::File),
    ("data.prepared.test", Kind::File),
    ("weights.stage1", Kind::Model),
    ("weights.stage2", Kind::Model),
    ("baselines.bge.model", Kind::Model),
    ("eval.bertscore.encoder", Kind::Model),
    ("eval.bertscore.baseline", Kind::File),
    ("eval.reconstruction.path", Kind::File),
    ("eval.reconstruction.sets.*", Kind::File),
    ("eval.contextual_qa.path", Kind::File),
    ("eval.contextual_qa.sets.*", Kind::File),
    ("eval.retrieval.path", Kind::File),
    ("eval.retrieval.sets.*", Kind::File),
];

/// Puts another text in the place of every path.
pub fn change(table: &mut Table, to: &mut dyn FnMut(Kind, &str) -> String) {
    for (key, kind) in KEYS {
        let parts: Vec<&str> = key.split('.').collect();
        walk(table, &parts, &mut |text| to(kind, text));
    }
}

fn walk(table: &mut Table, parts: &[&str], to: &mut dyn FnMut(&str) -> String) {
    let Some((first, rest)) = parts.split_first() else { return };
    for (_, value) in table.iter_mut().filter(|(key, _)| *first == "*" || key == first) {
        match value {
            Value::Table(inner) if !rest.is_empty() => walk(inner, rest, to),
            Value::String(text) if rest.is_empty() => *text = to(text),
            Value::Array(list) if rest.is_empty() => {
                for value in list {
                    if let Value::String(text) = value {
                        *text = to(text);
                    }
                }
            }
            // Of another type: refused where the values are read.
            _ => {}
        }
    }
}

/// Where a text in a file of this folder leads, from the current directory. A model that is not there and can be the name of a
/// repository is one, except where the name would lead to a directory of its own from here: a name must not depend on that.
pub fn from_folder(folder: &Path, kind: Kind, text: &str) -> String {
    let path = tidy(&folder.join(text));
    match kind == Kind::Model && !path.is_dir() && is_name(text) && !Path::new(text).exists() {
        true => text.to_string(),
        false => path.to_string_lossy().into_owned(),
    }
}

/// Where a path in a file leads, from the current directory.
pub fn beside(file: &Path, path: &Path) -> PathBuf {
    tidy(&file.parent().unwrap_or(Path::new("")).join(path))
}

/// The text that leads from a folder to where this one leads from the current directory; names of repositories stay.
pub fn to_folder(folder: &Path, kind: Kind, text: &str) -> String {
    if kind == Kind::Model && !Path::new(text).exists() && is_name(text) {
        return text.to_string();
    }
    let (from, to) = (physical(folder), physical(Path::new(text)));
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    if common == 0 {
        return to.to_string_lossy().into_owned();
    }
    let up = from.components().skip(common).count();
    let mut path: PathBuf = std::iter::repeat_n(Component::ParentDir, up).collect();
    if up == 0 {
        // Else `stage1/weights` could be the name of a repository.
        path.push(".");
    }
    path.extend(to.components().skip(common));
    path.to_string_lossy().into_owned()
}

/// Whether a text names a repository of the hub: `owner/name`, or one that has been fetched.
fn is_name(text: &str) -> bool {
    let path = Path::new(text);
    !hub::advice(path).is_empty() || hub::located(path) != path
}

/// Without `.` and `x/..`, except where `x` is a link.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        let named = matches!(tidy.components().next_back(), Some(Component::Normal(_)));
        match part {
            Component::CurDir => {}
            Component::ParentDir if named && !tidy.is_symlink() => drop(tidy.pop()),
            part => tidy.push(part),
        }
    }
    if tidy.as_os_str().is_empty() { ".".into() } else { tidy }
}

/// The path without links, as far as it is there.
fn physical(path: &Path) -> PathBuf {
    let path = tidy(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    let there = path.ancestors().find_map(|above| Some((above, std::fs::canonicalize(above).ok()?)));
    match there {
        Some((above, real)) => match path.strip_prefix(above) {
            Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
            _ => real,
        },
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_structs_is_listed() {
        // A key that is added to the structs must be added here: those of them that are paths, counted in the sources.
        let sources = [include_str!("../experiment.rs"), include_str!("baselines.rs")].concat();
        let fields = sources.lines().filter(|l| l.trim_start().starts_with("pub ") && l.contains("PathBuf")).count();
        // `path` and `sets` are there once for three tasks; the encoders' structs are other crates'.
        assert_eq!(fields, KEYS.len() - 4 - 3);
    }

    #[test]
    fn tidy_paths() {
        for (from, to) in
            [("experiments/../results/runs", "results/runs"), ("./a/./b/..", "a"), ("a/..", "."), ("../x", "../x"), ("/a/../b", "/b")]
        {
            assert_eq!(tidy(Path::new(from)), Path::new(to), "{from}");
        }
    }
}
