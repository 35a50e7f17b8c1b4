//! Files that somebody damaged or made up: every reader answers with a value or an error, in bounded time and memory, never
//! panics, and never runs what is in a file.
//!
//! Each target takes a file that is whole, changes it at random and reads it. `NEXTMEM_MUTATIONS` sets how many times
//! (`scripts/fuzz.sh` runs it for minutes). What is in `fixtures/hostile/TARGET.*` was made to do harm
//! (`scripts/golden/make_hostile.py`), or failed once: it must be refused.
#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use nextmem_model::{
    Latents, Memory, MemoryFile, MemoryRecord, Message, TensorFiles, Tokenizer, check_decoder, load_adapter, load_decoder,
    read_special_embeddings,
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Longest that one small file may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Most memory that a reader may take beside what a file and its neighbours hold, as a multiple and in bytes.
const MEMORY_LIMIT: (usize, usize) = (64, 32 << 20);

fn fixtures() -> PathBuf {
    PathBuf::from("tests/fixtures")
}

/// SplitMix64: the same changes on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides.max(1) as u64) as usize
    }

    /// A place, more often in the first kilobytes, where headers are.
    fn place(&mut self, len: usize) -> usize {
        if self.roll(4) > 0 { self.roll(len.min(2048)) } else { self.roll(len) }
    }

    fn mutate(&mut self, whole: &[u8]) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        for _ in 0..1 + self.roll(4) {
            if bytes.is_empty() {
                break;
            }
            let at = self.place(bytes.len());
            match self.roll(8) {
                0 => bytes[at] ^= 1 << self.roll(8),
                1 => bytes[at] = self.roll(256) as u8,
                2 => bytes.truncate(at),
                3 => {
                    let end = (at + 1 + self.roll(64)).min(bytes.len());
                    bytes.drain(at..end);
                }
                4 => {
                    let end = (at + 1 + self.roll(64)).min(bytes.len());
                    let copy = bytes[at..end].to_vec();
                    let to = self.place(bytes.len());
                    bytes.splice(to..to, copy);
                }
                5 => {
                    // Another number where one stands.
                    let numbers = ["0", "-1", "1e400", "18446744073709551616", "4294967296", "9007199254740993", "null", "[]", "\"x\""];
                    if let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|i| at + i) {
                        let end = bytes[start..].iter().position(|b| !b.is_ascii_digit()).map_or(bytes.len(), |i| start + i);
                        let number = numbers[self.roll(numbers.len())];
                        bytes.splice(start..end, number.bytes());
                    }
                }
                6 => {
                    let depth = 1 + self.roll(5000);
                    let open = if self.roll(2) == 0 { b'[' } else { b'{' };
                    bytes.splice(at..at, std::iter::repeat_n(open, depth));
                }
                _ => {
                    let value = [0u64, 1, u64::MAX, 1 << 40, 1 << 62][self.roll(5)].to_le_bytes();
                    let end = (at + 8).min(bytes.len());
                    bytes[at..end].copy_from_slice(&value[..end - at]);
                }
            }
        }
        bytes
    }
}

/// Reads changed copies of `whole` as `dir/name`; returns how many were refused.
fn assault(target: &str, whole: &[u8], file: &Path, read: impl Fn() -> bool) -> usize {
    let mutations: usize = std::env::var("NEXTMEM_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let kept = std::fs::read_dir(fixtures().join("hostile")).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        name.strip_prefix(target)?.starts_with('.').then(|| (name, std::fs::read(path).unwrap()))
    });
    let mut dice = Dice(target.bytes().fold(7, |h, b| h * 31 + u64::from(b)));
    let changed = (0..mutations).map(|number| (number.to_string(), dice.mutate(whole)));
    let mut refused = 0;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let beside: u64 = std::fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    let mut failed = None;
    let mut inputs: Vec<(String, Vec<u8>)> = kept.collect();
    let made = inputs.len();
    inputs.extend(changed);
    for (number, (name, bytes)) in inputs.iter().enumerate() {
        std::fs::write(file, bytes).unwrap();
        let started = Instant::now();
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let outcome = catch_unwind(AssertUnwindSafe(&read));
        let (taken, allowed) = (MEMORY.peak_usage() - before, MEMORY_LIMIT.0 * (bytes.len() + beside as usize) + MEMORY_LIMIT.1);
        let wrong = match outcome {
            Err(_) => Some("panicked".to_string()),
            _ if started.elapsed() > LIMIT => Some(format!("took {:?}", started.elapsed())),
            _ if taken > allowed => Some(format!("took {taken} bytes of memory, at most {allowed} were expected")),
            Ok(true) if number < made => Some("was accepted".to_string()),
            Ok(accepted) => {
                refused += usize::from(!accepted);
                None
            }
        };
        if let Some(wrong) = wrong {
            failed = Some((name, bytes, wrong));
            break;
        }
    }
    std::panic::set_hook(hook);
    std::fs::write(file, whole).unwrap();
    if let Some((name, bytes, wrong)) = failed {
        let keep = std::env::temp_dir().join(format!("{target}.{}", name.trim_start_matches(&format!("{target}."))));
        std::fs::write(&keep, bytes).unwrap();
        panic!("{target}: {name} {wrong}; it is kept as {}, copy it to fixtures/hostile", keep.display());
    }
    assert!(read(), "{target}: the whole file is read");
    refused
}

fn copy(from: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    dir
}

// One test: the panic hook belongs to the whole process.
#[test]
fn no_reader_panics_or_hangs() {
    let device = Device::flex();
    let base = copy(&fixtures().join("oracle/tied/base"));
    let adapter = copy(&fixtures().join("oracle/tied/stage1"));
    let nano = copy(Path::new("../../datasets/nano-backbone"));
    let sharded = copy(&fixtures().join("oracle/untied/base"));
    let bytes = |dir: &tempfile::TempDir, name: &str| std::fs::read(dir.path().join(name)).unwrap();
    let config = check_decoder(base.path(), &device).unwrap();

    let mut refused = Vec::new();
    let mut run = |target: &'static str, dir: &tempfile::TempDir, name: &str, read: &dyn Fn() -> bool| {
        refused.push((target, assault(target, &bytes(dir, name), &dir.path().join(name), read)));
    };
    run("config", &base, "config.json", &|| load_decoder(base.path(), &device).is_ok());
    run("weights", &base, "model.safetensors", &|| load_decoder(base.path(), &device).is_ok());
    run("index", &sharded, "model.safetensors.index.json", &|| load_decoder(sharded.path(), &device).is_ok());
    run("adapter-config", &adapter, "adapter_config.json", &|| load_adapter(adapter.path(), &config, &device).is_ok());
    run("adapter", &adapter, "adapter_model.safetensors", &|| load_adapter(adapter.path(), &config, &device).is_ok());
    let special = adapter.path().join("special_tokens_DTOKENS.pt");
    run("special", &adapter, "special_tokens_DTOKENS.pt", &|| read_special_embeddings(&special).is_ok());
    run("tokenizer", &nano, "tokenizer.json", &|| {
        Tokenizer::open(nano.path()).and_then(|t| t.encode("Ann has 3 cats, \u{e9}t\u{e9} \u{1f600}")).is_ok()
    });
    let messages = [Message::new("user", "Who?")];
    run("template", &nano, "chat_template.jinja", &|| Tokenizer::open(nano.path()).and_then(|t| t.chat(&messages, true, false)).is_ok());
    run("tokenizer-config", &nano, "tokenizer_config.json", &|| Tokenizer::open(nano.path()).is_ok());

    let memories = tempfile::tempdir().unwrap();
    let path = memories.path().join("m.safetensors");
    let latents = Latents { values: vec![0.5; 6 * 24], num_latents: 6, hidden_size: 24 };
    let records = vec![MemoryRecord { id: "a".into(), text: None }];
    let file = MemoryFile { model: "m".into(), fingerprint: "f".into(), created: 1, records, memories: vec![Memory::Latents(latents)] };
    file.save(&path).unwrap();
    run("memories", &memories, "m.safetensors", &|| MemoryFile::open(&path).is_ok());
    for (target, count) in refused {
        // A change may miss what matters, such as a value of a weight; most of them do not.
        assert!(count > 20, "{target}: only {count} changed files were refused");
    }
    assert!(TensorFiles::open_file(&path).is_ok());
    // What the pickles in the corpus would leave if anything ran them.
    assert!(!Path::new("hostile-pickle-ran").exists());
}
