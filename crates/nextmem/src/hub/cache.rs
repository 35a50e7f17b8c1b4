//! What the environment says about the Hugging Face hub, and its cache on disk: the variables, and the layout of `blobs`,
//! `snapshots` and `refs`, that Python's `huggingface_hub` uses, so that both share one copy of a model.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nextmem_model::write_atomically;
use ureq::http::Uri;

use crate::cli::BadInput;

/// The name of a repository: `owner/name`, or `name` alone for some old ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repo(String);

impl Repo {
    /// # Errors
    /// [`BadInput`] for what cannot be a name; what is accepted is safe in an address and as a part of a path.
    pub fn parse(text: &str) -> Result<Self, BadInput> {
        let plain = |part: &str| {
            let allowed = part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            allowed && part.len() <= 96 && !part.is_empty() && !part.starts_with(['.', '-']) && !part.contains("..") && !part.contains("--")
        };
        match text.split('/').count() <= 2 && text.split('/').all(plain) {
            true => Ok(Self(text.into())),
            false => Err(BadInput(format!("{text:?}: not the name of a repository; expected OWNER/NAME, like Qwen/Qwen3-0.6B"))),
        }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its folder in the cache.
    fn folder(&self) -> PathBuf {
        cache().join(format!("models--{}", self.0.replace('/', "--")))
    }

    /// The folder of the files' bytes, each under its checksum.
    pub fn blobs(&self) -> PathBuf {
        self.folder().join("blobs")
    }

    /// The folder of one commit, with the files under their names.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder().join("snapshots").join(commit)
    }

    /// Notes which commit a revision is; the last thing that a download does.
    pub fn point(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit {
            return Ok(());
        }
        let path = self.folder().join("refs").join(revision);
        std::fs::create_dir_all(path.parent().unwrap_or(&path)).with_context(|| path.display().to_string())?;
        Ok(write_atomically(&path, commit.as_bytes())?)
    }

    /// The files of `main` in the cache, if it has been fetched.
    fn cached(&self) -> Option<PathBuf> {
        let commit = std::fs::read_to_string(self.folder().join("refs/main")).ok()?;
        let commit = commit.trim();
        let dir = self.snapshot(commit);
        (is_commit(commit) && dir.is_dir()).then_some(dir)
    }
}

/// Whether a text is the hash of a commit.
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A directory as it is named, or that of the repository of this name in the cache; else the path itself.
pub fn located(path: &Path) -> PathBuf {
    let cached = || Repo::parse(path.to_str()?).ok()?.cached();
    if path.exists() { path.to_owned() } else { cached().unwrap_or_else(|| path.to_owned()) }
}

/// What to do about a directory that is not there.
pub fn advice(path: &Path) -> String {
    match path.to_str().filter(|text| text.contains('/')).and_then(|text| Repo::parse(text).ok()) {
        Some(repo) => format!("; if it is a repository of the Hugging Face hub, get it with `nextmem fetch {}`", repo.as_str()),
        None => String::new(),
    }
}

/// Makes `link` another name of `blob`, which is `above` directories up and then in `blobs`. Where the file system has no
/// symbolic links, or `HF_HUB_DISABLE_SYMLINKS` forbids them, a plain file with its content, as `huggingface_hub` does.
pub fn link(blob: &Path, link: &Path, above: usize) -> Result<()> {
    let failed = || format!("cannot write {}", link.display());
    if let Some(dir) = link.parent() {
        std::fs::create_dir_all(dir).with_context(failed)?;
    }
    let mut name = link.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.link", std::process::id()));
    let fresh = link.with_file_name(name);
    let _ = std::fs::remove_file(&fresh);
    let target = "../".repeat(above) + "blobs/" + &blob.file_name().unwrap_or_default().to_string_lossy();
    if is_set("HF_HUB_DISABLE_SYMLINKS") || symlink(&target, &fresh).is_err() {
        // A second name of the same bytes costs no space; on a file system without links of any kind there is one, here.
        let _ = std::fs::remove_file(&fresh);
        std::fs::hard_link(blob, &fresh).or_else(|_| std::fs::rename(blob, &fresh)).with_context(failed)?;
    }
    std::fs::rename(&fresh, link).with_context(failed)
}

#[cfg(unix)]
fn symlink(target: &str, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_: &str, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_string()).filter(|value| !value.is_empty())
}

/// Whether a variable says yes, in the words of `huggingface_hub`.
fn is_set(name: &str) -> bool {
    variable(name).is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str()))
}

fn path_variable(name: &str) -> Option<PathBuf> {
    variable(name).map(|value| expanded(&value, &|name| std::env::var(name).ok(), &home()).into())
}

/// A path as Python's `expandvars(expanduser(path))` reads it: `~`, `$NAME` and `${NAME}`. What is not set, and the home of
/// another user, stays as it is written.
fn expanded(path: &str, variable: &dyn Fn(&str) -> Option<String>, home: &Path) -> String {
    let path = match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{}{rest}", home.display().to_string().trim_end_matches('/')),
        _ => path.to_string(),
    };
    let mut out = String::new();
    let mut rest = path.as_str();
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let braced = from.strip_prefix("${").and_then(|inner| inner.split_once('}'));
        let (name, len) = match braced {
            Some((name, _)) => (name, name.len() + 3),
            None => {
                let len = from[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(from.len() - 1);
                (&from[1..1 + len], 1 + len)
            }
        };
        match variable(name).filter(|_| !name.is_empty()) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&from[..len]),
        }
        rest = &from[len..];
    }
    out + rest
}

fn home() -> PathBuf {
    std::env::home_dir().unwrap_or_default()
}

/// `HF_HOME`.
fn hf_home() -> PathBuf {
    path_variable("HF_HOME").unwrap_or_else(|| path_variable("XDG_CACHE_HOME").unwrap_or_else(|| home().join(".cache")).join("huggingface"))
}

/// `HF_HUB_CACHE`, or `hub` in `HF_HOME`.
fn cache() -> PathBuf {
    path_variable("HF_HUB_CACHE").or_else(|| path_variable("HUGGINGFACE_HUB_CACHE")).unwrap_or_else(|| hf_home().join("hub"))
}

/// `HF_ENDPOINT`, or the hub itself.
///
/// # Errors
/// [`BadInput`] for another scheme than http and https, or where `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE` forbids to ask.
pub fn endpoint() -> Result<String> {
    // The first that is set decides, as in `huggingface_hub`: `HF_HUB_OFFLINE=0` allows what the other one forbids.
    let offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().find(|name| variable(name).is_some());
    if let Some(name) = offline.filter(|name| is_set(name)) {
        bail!(BadInput(format!("{name} is set: nothing is downloaded; take it away to fetch")));
    }
    let url = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
    match url.starts_with("https://") || url.starts_with("http://") {
        true => Ok(url.trim_end_matches('/').into()),
        false => bail!(BadInput(format!("HF_ENDPOINT: got {url:?}, expected an address like https://huggingface.co"))),
    }
}

/// `HF_TOKEN`, or what `hf auth login` has kept; none for an address that anyone on the way can read.
pub fn token(endpoint: &str) -> Option<String> {
    let kept = || std::fs::read_to_string(path_variable("HF_TOKEN_PATH").unwrap_or_else(|| hf_home().join("token"))).ok();
    let token = variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN")).or_else(kept)?;
    let token = token.trim();
    if endpoint.starts_with("http://") && !is_loopback(endpoint) {
        eprintln!("the token is not sent: {endpoint} is not https");
        return None;
    }
    (!token.is_empty()).then(|| token.to_string())
}

/// Whether an address is this machine's own.
fn is_loopback(endpoint: &str) -> bool {
    let uri: Option<Uri> = endpoint.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["Qwen/Qwen3-0.6B", "bert-base-uncased", "BAAI/bge-base-en-v1.5"] {
            assert_eq!(Repo::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "/", "a/", "/a", "a/b/c", "../a", "a/..", "a b", "a--b/c", "a/b?c", "a/b#c", "https://x", ".a/b", "a/b%2e"] {
            assert!(Repo::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_expanded_as_python_expands_them() {
        // os.path.expandvars(os.path.expanduser(..)) with HOME=/home/a and B_1=x/y
        let variable = |name: &str| match name {
            "HOME" => Some("/home/a".to_string()),
            "B_1" => Some("x/y".into()),
            _ => None,
        };
        for (path, expected) in [
            ("$HOME/hf", "/home/a/hf"),
            ("${HOME}/hf", "/home/a/hf"),
            ("~/hf", "/home/a/hf"),
            ("~", "/home/a"),
            ("/m/$B_1-$B_1.z/~", "/m/x/y-x/y.z/~"),
            ("$NO/$/${NO}/${B_1", "$NO/$/${NO}/${B_1"),
            ("~bob/hf", "~bob/hf"),
            ("/plain path/\u{e9}$B_1", "/plain path/\u{e9}x/y"),
            ("", ""),
        ] {
            assert_eq!(expanded(path, &variable, Path::new("/home/a")), expected, "{path}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        assert!(["http://127.0.0.1:80/x", "http://localhost:1", "http://[::1]:1"].into_iter().all(is_loopback));
        assert!(!["http://127.example.org", "http://10.0.0.1", "http://localhost.example.org", "x"].into_iter().any(is_loopback));
    }

    #[test]
    fn commits_are_hex() {
        assert!(is_commit(&"0a".repeat(20)) && !is_commit("main") && !is_commit(&"../".repeat(20)));
    }
}
