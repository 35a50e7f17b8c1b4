//! `nextmem fetch` against a hub of our own that breaks off, is slow, refuses, redirects, and lies.
#![allow(clippy::unwrap_used)]

#[path = "hub/early.rs"]
mod early;
mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::server::{Answer, Page, Server, header, sha256, without_proxies};
use support::{Dir, Outcome, finish};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const REPO: &str = "lab/tiny-qwen3";

/// The name that git gives a file.
fn git_blob(bytes: &[u8]) -> String {
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(format!("blob {}\0", bytes.len()).as_bytes());
    sha1.update(bytes);
    sha1.digest().to_string()
}

/// A repository as the hub lists it: weights with their SHA-256, everything else with its git name.
fn listing(files: &BTreeMap<String, Vec<u8>>) -> Value {
    let sibling = |(name, bytes): (&String, &Vec<u8>)| {
        let mut file = json!({"rfilename": name, "size": bytes.len(), "blobId": git_blob(bytes)});
        if name.ends_with(".safetensors") {
            file["blobId"] = git_blob(b"a pointer").into();
            file["lfs"] = json!({"sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134});
        }
        file
    };
    json!({"id": REPO, "sha": COMMIT, "cardData": {"license": "apache-2.0"}, "siblings": files.iter().map(sibling).collect::<Vec<_>>()})
}

fn info_path() -> String {
    format!("/api/models/{REPO}/revision/main")
}

fn file_path(name: &str) -> String {
    format!("/{REPO}/resolve/{COMMIT}/{name}")
}

/// A hub with one repository.
fn hub(files: &BTreeMap<String, Vec<u8>>, listing: &Value) -> Server {
    let pages = files.iter().map(|(name, bytes)| (file_path(name), Page::new(bytes.as_slice(), &[Answer::Right])));
    Server::with(pages.chain([(info_path(), Page::new(listing.to_string(), &[Answer::Right]))]))
}

/// One large file, which `--file weights.safetensors` asks for.
fn one() -> BTreeMap<String, Vec<u8>> {
    let body: Vec<u8> = (0..100_000u32).flat_map(|n| n.to_le_bytes()).collect();
    BTreeMap::from([("weights.safetensors".to_string(), body)])
}

/// Runs with `HF_HOME` in the test's directory, and with nothing else of the user's.
fn run(dir: &Dir, server: &Server, args: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let mut command = dir.command(args);
    without_proxies(&mut command);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HF_")) {
        command.env_remove(name);
    }
    for name in ["HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_OFFLINE"] {
        command.env_remove(name);
    }
    command.env("HF_HOME", dir.path("hf")).env("HF_ENDPOINT", &server.url).envs(variables.iter().copied());
    finish(command)
}

fn fetch_one(dir: &Dir, server: &Server, more: &[&str]) -> Outcome {
    run(dir, server, &[&["fetch", REPO, "--file", "weights.safetensors"], more].concat(), &[])
}

fn cached(name: &str) -> String {
    format!("hf/hub/models--lab--tiny-qwen3/{name}")
}

#[track_caller]
fn failed(outcome: &Outcome, names: &[&str]) {
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    names.iter().for_each(|name| assert!(outcome.stderr.contains(name), "no {name:?} in {}", outcome.stderr));
}

#[test]
fn a_checkpoint_is_fetched_and_its_name_stands_for_it() {
    let dir = Dir::with_backbone();
    let mut files = dir.files("backbone");
    files.insert("LICENSE".into(), b"Apache License".to_vec());
    files.insert("pytorch_model.bin".into(), b"a pickle, which nobody needs".to_vec());
    files.insert("onnx/model.onnx".into(), b"another format".to_vec());
    files.insert("extra/notes.txt".into(), b"in a directory".to_vec());
    let server = hub(&files, &listing(&files));
    let said = run(&dir, &server, &["fetch", REPO], &[]).good();
    let snapshot = dir.path(&cached(&format!("snapshots/{COMMIT}")));
    assert_eq!(said.stdout.trim(), snapshot.display().to_string());
    for part in [COMMIT, "licence: apache-2.0", "model.safetensors: downloaded and checked"] {
        assert!(said.stderr.contains(part), "no {part:?} in {}", said.stderr);
    }
    for (name, bytes) in &files {
        let wanted = !name.ends_with(".bin") && !name.ends_with(".onnx");
        assert_eq!(std::fs::read(snapshot.join(name)).ok(), wanted.then(|| bytes.clone()), "{name}");
        let sum = if name.ends_with(".safetensors") { sha256(bytes) } else { git_blob(bytes) };
        assert_eq!(dir.path(&cached(&format!("blobs/{sum}"))).exists(), wanted, "{name}");
    }
    #[cfg(unix)]
    assert!(std::fs::read_link(snapshot.join("extra/notes.txt")).unwrap().starts_with("../../../blobs"));
    assert_eq!(dir.read(&cached("refs/main")), COMMIT);

    // Again: the listing and config.json, which is read before anything is decided.
    let before = server.requests().len();
    let again = run(&dir, &server, &["fetch", REPO], &[]).good();
    assert!(again.stderr.contains("model.safetensors: is here already"), "{again:#?}");
    assert_eq!(server.requests().len(), before + 2, "{:?}", server.requests());

    // Without the network, by name.
    let gone = Server::absent(1);
    let verified = run(&dir, &gone, &["verify", REPO], &[]).good();
    assert!(verified.stdout.contains("tokenizer: 384 entries") && verified.stdout.contains("whole"), "{verified:#?}");
    let encode = ["encode", "--latents", "2", "--out", "memory.safetensors", REPO, "Mila Kovac lives in Porto."];
    run(&dir, &gone, &encode, &[]).good();
    run(&dir, &gone, &["decode", "--latents", "2", REPO, "memory.safetensors"], &[]).good();
    let experiment = support::edited(support::ADAPT, "\"backbone\"", &format!("{REPO:?}"));
    dir.write("adapt.toml", experiment);
    run(&dir, &gone, &["explain", "adapt.toml"], &[]).good();
    run(&dir, &gone, &["run", "adapt.toml"], &[]).good();
    let table = run(&dir, &gone, &["table", "results/adapt"], &[]).good().stdout;
    assert!(table.contains("tiny-qwen3"), "{table}");
    // Another cache does not have it, and says how to get it.
    let elsewhere = [("HF_HOME", "elsewhere")];
    run(&dir, &gone, &["verify", REPO], &elsewhere).refused(&["no such directory", "nextmem fetch lab/tiny-qwen3"]);
    run(&dir, &gone, &["explain", "adapt.toml"], &elsewhere).refused(&["nextmem fetch lab/tiny-qwen3"]);
}

#[test]
fn a_hub_that_breaks_off_and_is_slow_is_asked_again() {
    let (dir, files) = (Dir::new(), one());
    let body = &files["weights.safetensors"];
    let server = hub(&files, &listing(&files));
    server.set(
        &file_path("weights.safetensors"),
        Page::new(body.as_slice(), &[Answer::Cut(150_000), Answer::Stall(100_000), Answer::status("502 Bad Gateway", ""), Answer::Right]),
    );
    server.set(&info_path(), Page::new(listing(&files).to_string(), &[Answer::status("503 Service Unavailable", ""), Answer::Right]));
    let outcome = fetch_one(&dir, &server, &["--timeout", "1"]).good();
    assert!(std::fs::read(dir.path(outcome.stdout.trim()).join("weights.safetensors")).unwrap() == *body);
    let ranges: Vec<_> = server.requests_of("weights.safetensors").iter().map(|r| header(r, "range").unwrap_or_default()).collect();
    assert_eq!(ranges, ["", "bytes=150000-", "bytes=250000-", "bytes=250000-"]);
}

#[test]
fn an_interrupted_fetch_goes_on() {
    let (dir, files) = (Dir::new(), one());
    let body = &files["weights.safetensors"];
    let server = hub(&files, &listing(&files));
    server.set(&file_path("weights.safetensors"), Page::new(body.as_slice(), &[Answer::Cut(150_000), Answer::Right]));
    failed(&fetch_one(&dir, &server, &["--retries", "0"]), &["150000 bytes are here", "run it again to go on"]);
    assert!(!dir.path(&cached("refs")).exists() && !dir.path(&cached("snapshots")).exists(), "nothing half-done is offered");
    fetch_one(&dir, &server, &[]).good();
    let requests = server.requests_of("weights.safetensors");
    assert_eq!((requests.len(), header(&requests[1], "range")), (2, Some("bytes=150000-".into())));
    let left: Vec<String> = dir.files(&cached("blobs")).into_keys().collect();
    assert_eq!(left, [sha256(body)]);
}

#[test]
fn refusals_are_explained() {
    let (dir, files) = (Dir::new(), one());
    let server = hub(&files, &listing(&files));
    server.set(&info_path(), Page::new("", &[Answer::status("401 Unauthorized", "")]));
    failed(&fetch_one(&dir, &server, &[]), &["lab/tiny-qwen3 is private, gated or not there", "HTTP 401", "HF_TOKEN"]);
    let refused = run(&dir, &server, &["fetch", REPO], &[("HF_TOKEN", "hf_secret")]);
    failed(&refused, &["HTTP 401, access denied for this token"]);
    assert!(!refused.stderr.contains("hf_secret"));
    server.set(&info_path(), Page::new("", &[Answer::status("404 Not Found", "")]));
    failed(&fetch_one(&dir, &server, &[]), &["HTTP 404", "check the name and --revision"]);
    server.set(&info_path(), Page::new("<html>a portal</html>", &[Answer::Right]));
    failed(&fetch_one(&dir, &server, &[]), &["not the hub's answer; check HF_ENDPOINT"]);
    // Gated: listed for everybody, given to few.
    server.set(&info_path(), Page::new(listing(&files).to_string(), &[Answer::Right]));
    server.set(&file_path("weights.safetensors"), Page::new("", &[Answer::status("403 Forbidden", "")]));
    failed(&fetch_one(&dir, &server, &[]), &["HTTP 403", "accept its terms on its page"]);
    let busy = Answer::status("429 Too Many Requests", "Retry-After: 1\r\n");
    let page = Page::new(files["weights.safetensors"].as_slice(), &[busy, Answer::Right]);
    server.set(&file_path("weights.safetensors"), page);
    let outcome = fetch_one(&dir, &server, &[]).good();
    assert!(outcome.stderr.contains("HTTP 429 Too Many Requests; going on in 1.0 s"), "{outcome:#?}");
    failed(&run(&dir, &Server::absent(1), &["fetch", REPO, "--retries", "0"], &[]), &["1 attempts failed"]);
}

#[test]
fn lies_about_size_and_content_are_found() {
    let files = one();
    let (body, path) = (&files["weights.safetensors"], file_path("weights.safetensors"));
    let left = |dir: &Dir| dir.files("hf").len();
    // The listing says another size than the file's address.
    let mut lie = listing(&files);
    lie["siblings"][0]["lfs"]["size"] = (body.len() + 1).into();
    let (dir, server) = (Dir::new(), hub(&files, &lie));
    failed(&fetch_one(&dir, &server, &[]), &["got 400000 bytes, expected 400001"]);
    assert_eq!(left(&dir), 0);
    // More comes than was said: it is cut off rather than left to fill the disk.
    let (dir, server) = (Dir::new(), hub(&files, &listing(&files)));
    server.set(&path, Page::new(body.as_slice(), &[Answer::Endless]));
    failed(&fetch_one(&dir, &server, &[]), &["bytes, expected 400000"]);
    assert_eq!(left(&dir), 0);
    // The right size, other bytes.
    let mut other = body.clone();
    other[5] ^= 1;
    server.set(&path, Page::new(other.as_slice(), &[Answer::Right]));
    failed(&fetch_one(&dir, &server, &[]), &["got sha256", &sha256(&other), &sha256(body), "thrown away"]);
    assert_eq!(left(&dir), 0);
    server.set(&path, Page::new(body.as_slice(), &[Answer::Right]));
    let fetched = fetch_one(&dir, &server, &[]).good();
    // What is damaged in the cache later is noticed.
    let blob = dir.path(&cached(&format!("blobs/{}", sha256(body))));
    std::fs::write(&blob, "damaged").unwrap();
    failed(&fetch_one(&dir, &server, &[]), &["is there with 7 bytes", "not the file expected", "move it away"]);
    assert!(dir.path(fetched.stdout.trim()).join("weights.safetensors").exists());
    // Small files are checked by git's names.
    let small = BTreeMap::from([("notes.txt".to_string(), b"as published".to_vec())]);
    let server = hub(&small, &listing(&small));
    server.set(&file_path("notes.txt"), Page::new("as tampered!", &[Answer::Right]));
    failed(&run(&Dir::new(), &server, &["fetch", REPO, "--file", "notes.txt"], &[]), &["got git blob", &git_blob(b"as published")]);
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let files = one();
    let body = files["weights.safetensors"].as_slice();
    let store = Server::with([("/store".to_string(), Page::new(body, &[Answer::Right]))]);
    let server = hub(&files, &listing(&files));
    // First on the same host, as a renamed repository does, then to the store that has the bytes.
    let path = file_path("weights.safetensors");
    server.set(&path, Page::new("", &[Answer::status("307 Temporary Redirect", "Location: /renamed\r\n")]));
    let away = format!("Location: {}/store\r\n", store.url.replace("127.0.0.1", "localhost"));
    server.set("/renamed", Page::new("", &[Answer::status("302 Found", &away)]));
    let args = ["fetch", REPO, "--file", "weights.safetensors"];
    let sent = |requests: Vec<String>| requests.iter().map(|r| header(r, "authorization")).collect::<Vec<_>>();

    let dir = Dir::new();
    let outcome = run(&dir, &server, &args, &[("HF_TOKEN", "hf_secret")]).good();
    assert!(!outcome.stderr.contains("hf_secret") && !outcome.stdout.contains("hf_secret"));
    assert!(std::fs::read(dir.path(outcome.stdout.trim()).join("weights.safetensors")).unwrap() == body);
    let token = Some("Bearer hf_secret".to_string());
    assert_eq!(sent(server.requests()), vec![token.clone(); 3]);
    assert_eq!(sent(store.requests()), [None]);
    assert!(dir.files("hf").values().all(|bytes| !bytes.windows(9).any(|part| part == b"hf_secret")), "it is not kept");

    // From the files that Python's tools keep it in.
    let last = || sent(server.requests()).pop().unwrap();
    let dir = Dir::new();
    dir.write("hf/token", "hf_kept\n");
    run(&dir, &server, &args, &[]).good();
    assert_eq!(last(), Some("Bearer hf_kept".into()));
    let dir = Dir::new();
    dir.write("secret", "hf_named");
    run(&dir, &server, &args, &[("HF_TOKEN_PATH", "secret")]).good();
    assert_eq!(last(), Some("Bearer hf_named".into()));
    run(&Dir::new(), &server, &args, &[]).good();
    assert_eq!(last(), None);
}

#[test]
fn hostile_listings_are_refused() {
    let dir = Dir::new();
    for name in ["../../../evil.json", "/evil.json", "a/./evil.json", "a\\..\\evil.json", "C:evil.json", "a//evil.json"] {
        let files = BTreeMap::from([(name.to_string(), b"{}".to_vec())]);
        failed(&run(&dir, &hub(&files, &listing(&files)), &["fetch", REPO, "--any"], &[]), &["would leave the directory"]);
    }
    for commit in ["main", "../../../../evil", ""] {
        let mut lie = listing(&one());
        lie["sha"] = commit.into();
        failed(&fetch_one(&dir, &hub(&one(), &lie), &[]), &["expected a hash"]);
    }
    // A checksum that is none cannot name a file.
    let mut lie = listing(&one());
    lie["siblings"][0]["lfs"]["sha256"] = "../../evil".into();
    let server = hub(&one(), &lie);
    fetch_one(&dir, &server, &[]).refused(&["no checksum"]);
    assert!(!dir.path("hf").exists());
}

#[test]
fn what_cannot_be_used_is_refused_before_weights_come() {
    let dir = Dir::with_backbone();
    let mut files = dir.files("backbone");
    let server = hub(&files, &listing(&files));
    for name in ["../x", "a/b/c", "https://elsewhere/x", "a b", ""] {
        run(&dir, &server, &["fetch", name], &[]).refused(&["OWNER/NAME"]);
    }
    run(&dir, &server, &["fetch", REPO, "--revision", "../x"], &[]).refused(&["--revision"]);
    run(&dir, &server, &["fetch", REPO, "--file", "other.json"], &[]).refused(&["\"other.json\"", "model.safetensors"]);
    run(&dir, &server, &["fetch", REPO], &[("HF_HUB_OFFLINE", "1")]).refused(&["HF_HUB_OFFLINE"]);
    run(&dir, &server, &["fetch", REPO], &[("TRANSFORMERS_OFFLINE", "1")]).refused(&["TRANSFORMERS_OFFLINE"]);
    run(&dir, &server, &["fetch", REPO], &[("HF_ENDPOINT", "ftp://x")]).refused(&["HF_ENDPOINT", "ftp://x"]);
    // Not a dense Qwen3.
    let mut config: Value = serde_json::from_slice(&files["config.json"]).unwrap();
    config["model_type"] = "qwen3_moe".into();
    files.insert("config.json".into(), config.to_string().into_bytes());
    let server = hub(&files, &listing(&files));
    run(&dir, &server, &["fetch", REPO], &[]).refused(&["qwen3_moe", "nothing was downloaded"]);
    assert!(server.requests_of("model.safetensors").is_empty() && !dir.path("hf").exists());
    run(&dir, &server, &["fetch", REPO, "--any"], &[]).good();
    // Weights in pickles alone.
    let pickles = BTreeMap::from([("pytorch_model.bin".to_string(), b"x".to_vec())]);
    run(&dir, &hub(&pickles, &listing(&pickles)), &["fetch", REPO], &[]).refused(&["no .safetensors", "pytorch_model.bin"]);
    // An adapter and an encoder are of use.
    let adapter = BTreeMap::from([
        ("stage_1/adapter_config.json".to_string(), br#"{"peft_type": "LORA", "r": 4, "loss": NaN}"#.to_vec()),
        ("stage_1/adapter_model.safetensors".to_string(), b"x".to_vec()),
        ("stage_1/special_tokens_DTOKENS.pt".to_string(), b"y".to_vec()),
    ]);
    let out = run(&dir, &hub(&adapter, &listing(&adapter)), &["fetch", REPO, "--out", "release"], &[]).good();
    assert_eq!((out.stdout.trim(), dir.files("release").into_keys().len()), ("release", 3));
    let bert = dir.path("bert");
    support::copy(&support::root().join("crates/model/tests/fixtures/bert/bert"), &bert);
    let bert = dir.files("bert");
    run(&dir, &hub(&bert, &listing(&bert)), &["fetch", REPO, "--out", "encoder"], &[]).good();
    assert!(dir.path("encoder/model.safetensors").exists());
}

#[test]
fn mirrors_that_list_names_alone_are_asked_for_checksums() {
    let files = one();
    let body = &files["weights.safetensors"];
    let names = json!({"sha": COMMIT, "siblings": [{"rfilename": "weights.safetensors"}]});
    let (dir, server) = (Dir::new(), hub(&files, &names));
    // Its tag is none.
    fetch_one(&dir, &server, &[]).refused(&["no checksum", "--any"]);
    let taken = fetch_one(&dir, &server, &["--any", "--out", "plain"]).good();
    assert!(std::fs::read(dir.path(taken.stdout.trim()).join("weights.safetensors")).unwrap() == *body);
    let page = Page { tag: format!("\"{}\"", sha256(body)), ..Page::new(body.as_slice(), &[Answer::Right]) };
    server.set(&file_path("weights.safetensors"), page);
    fetch_one(&dir, &server, &[]).good();
    assert!(dir.path(&cached(&format!("blobs/{}", sha256(body)))).exists());
    assert!(server.requests().iter().any(|r| r.starts_with("HEAD ")), "{:?}", server.requests());
}
