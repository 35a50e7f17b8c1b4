//! Chat templates against transformers' outputs (scripts/golden/make_templates.py), where the files of one are looked for, and
//! what a template must not do.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use nextmem_model::{Message, Tokenizer, TokenizerError};
use serde_json::{Value, json};
use tempfile::TempDir;

const SETTINGS: &str = "tokenizer_config.json";

/// The nano tokenizer with other files beside it.
fn with(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["tokenizer.json", SETTINGS, "config.json"] {
        std::fs::copy(Path::new("../../datasets/nano-backbone").join(name), dir.path().join(name)).unwrap();
    }
    edit(&dir, |settings| drop(settings.as_object_mut().unwrap().remove("chat_template")));
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn edit(dir: &TempDir, change: impl FnOnce(&mut Value)) {
    let path = dir.path().join(SETTINGS);
    let mut settings = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut settings);
    std::fs::write(path, settings.to_string()).unwrap();
}

fn rendered(dir: &TempDir) -> Result<String, TokenizerError> {
    Tokenizer::open(dir.path()).unwrap().chat(&[Message::new("user", "hi")], true, false)
}

#[test]
fn templates_render_as_in_transformers() {
    let cases = std::fs::read_to_string("tests/fixtures/templates.jsonl").unwrap();
    let mut failed = Vec::new();
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| case[key].as_str();
        let dir = with(&[("chat_template.jinja", text("template").unwrap())]);
        let got = Tokenizer::open(dir.path()).unwrap().chat_json(text("messages").unwrap(), None, true, false);
        if got.as_ref().ok().map(String::as_str) != text("rendered") {
            failed.push(format!("{}:\n  got      {got:?}\n  expected {:?}", text("name").unwrap(), text("rendered")));
        }
    }
    assert!(failed.is_empty() && cases.lines().count() == 28, "{}", failed.join("\n"));
}

#[test]
fn templates_are_looked_for_where_transformers_looks() {
    let file = ("chat_template.jinja", "FILE");
    let (rag, default) = (("additional_chat_templates/rag.jinja", "RAG"), ("additional_chat_templates/default.jinja", "MORE"));
    let named = json!([{"name": "default", "template": "NAMED"}, {"name": "tool_use", "template": "TOOLS"}]);
    // Files beside the tokenizer, its configuration, and the prompt that comes of them.
    type Case<'a> = (&'a [(&'a str, &'a str)], Value, Option<&'a str>);
    let cases: [Case; 12] = [
        (&[], json!("INLINE"), Some("INLINE")),
        (&[file], json!("INLINE"), Some("FILE")),
        (&[file], named.clone(), Some("FILE")),
        (&[], named.clone(), Some("NAMED")),
        (&[], json!([{"name": "rag", "template": "RAG"}]), None),
        (&[], json!({"default": "NAMED", "x": "X"}), Some("NAMED")),
        (&[file, rag], Value::Null, Some("FILE")),
        (&[file, default], Value::Null, Some("MORE")),
        (&[rag], json!("INLINE"), None),
        (&[default], json!("INLINE"), Some("MORE")),
        (&[("chat_template.jinja", "")], json!("INLINE"), Some("")),
        (&[("chat_template.jinja", "{% if true %}\r\nX\r\n{% endif %}\r\nY\n")], Value::Null, Some("X\nY")),
    ];
    for (files, inline, expected) in cases {
        let dir = with(files);
        edit(&dir, |settings| settings["chat_template"] = inline.clone());
        let got = rendered(&dir);
        assert_eq!(got.as_ref().ok().map(String::as_str), expected, "{files:?}, {inline}: {got:?}");
        assert!(expected.is_some() || matches!(got, Err(TokenizerError::NoTemplate)));
    }
    let dir = with(&[]);
    edit(&dir, |settings| settings["chat_template"] = named);
    let tokenizer = Tokenizer::open(dir.path()).unwrap();
    assert_eq!(tokenizer.chat_json("[{}]", Some("[{}]"), true, true).unwrap(), "TOOLS");
    tokenizer.save(dir.path()).unwrap();
    let again = Tokenizer::open(dir.path()).unwrap();
    assert_eq!(again.chat_json("[{}]", Some("[{}]"), true, true).unwrap(), "TOOLS");
    assert_eq!(again.chat_json("[{}]", None, true, true).unwrap(), "NAMED");
}

#[test]
fn tokens_have_the_names_that_transformers_gives_them() {
    let template = "{{ bos_token }}|{{ eos_token }}|{{ pad_token }}|{{ unk_token }}|{{ image_token }}";
    let names = |change: &dyn Fn(&mut Value), more: &[(&str, &str)]| {
        let dir = with(&[&[("chat_template.jinja", template)], more].concat());
        edit(&dir, change);
        let got = rendered(&dir).unwrap();
        // What is saved is the same.
        Tokenizer::open(dir.path()).unwrap().save(dir.path()).unwrap();
        assert_eq!(rendered(&dir).unwrap(), got);
        got
    };
    let without = |keys: &'static [&str]| move |v: &mut Value| keys.iter().for_each(|key| drop(v.as_object_mut().unwrap().remove(*key)));
    let map = [("special_tokens_map.json", r#"{"bos_token": "<|im_start|>", "eos_token": {"content": "<|im_start|>", "lstrip": false}}"#)];
    assert_eq!(names(&|_| {}, &[]), "|<|im_end|>|<|endoftext|>||");
    assert_eq!(names(&|v| v["eos_token"] = json!({"__type": "AddedToken", "content": "<|im_end|>"}), &[]), "|<|im_end|>|<|endoftext|>||");
    assert_eq!(names(&|v| v["eos_token"] = Value::Null, &[]), "||<|endoftext|>||");
    assert_eq!(names(&without(&["eos_token", "pad_token", "unk_token"]), &[]), "|<|endoftext|>|<|endoftext|>|<|endoftext|>|");
    assert_eq!(names(&|_| {}, &map), "|<|im_end|>|<|endoftext|>||", "older files count where the newer one says nothing");
    assert_eq!(names(&without(&["added_tokens_decoder"]), &map), "<|im_start|>|<|im_start|>|<|endoftext|>||");
    assert_eq!(names(&|v| v["image_token"] = "<|im_start|>".into(), &[]), "|<|im_end|>|<|endoftext|>||<|im_start|>");
    assert_eq!(names(&|v| v["extra_special_tokens"] = json!({"image_token": "x"}), &[]), "|<|im_end|>|<|endoftext|>||x");
}

#[test]
fn tokens_beside_the_vocabulary_belong_to_it() {
    let size = |dir: &TempDir| Tokenizer::open(dir.path()).unwrap().vocab_size();
    let older = with(&[("added_tokens.json", r#"{"<|foo|>": 2048}"#)]);
    assert_eq!(size(&older), 2048, "added_tokens_decoder is the newer place");
    edit(&older, |v| drop(v.as_object_mut().unwrap().remove("added_tokens_decoder")));
    assert_eq!(size(&older), 2049);
    assert_eq!(Tokenizer::open(older.path()).unwrap().encode_prompt("<|foo|>").unwrap(), [2048]);
    let newer = with(&[]);
    edit(&newer, |v| v["added_tokens_decoder"]["2048"] = json!({"content": "<|foo|>", "special": true}));
    assert_eq!(size(&newer), 2049);
}

#[test]
fn settings_that_python_wrote_are_read() {
    let dir = with(&[("chat_template.jinja", "x")]);
    let path = dir.path().join(SETTINGS);
    let text = std::fs::read_to_string(&path).unwrap().replacen('{', "\u{feff}{\"q\": NaN, \"model_max_length\": Infinity, ", 1);
    std::fs::write(&path, &text).unwrap();
    assert_eq!(rendered(&dir).unwrap(), "x");
    std::fs::write(&path, text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    let error = Tokenizer::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("UTF-16") && error.contains(SETTINGS), "{error}");
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
    std::fs::write(dir.path().join("vocab.json"), "{}").unwrap();
    let error = Tokenizer::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("vocab.json") && error.contains("save_pretrained"), "{error}");
}

#[test]
fn prompts_are_tried_and_their_texts_are_what_was_said() {
    let nano = Tokenizer::open(Path::new("../../datasets/nano-backbone")).unwrap();
    nano.check_prompts().unwrap();
    let of = |template: &str| Tokenizer::open(with(&[("chat_template.jinja", template)]).path()).unwrap();
    let turn = "<|im_start|>{{ m.role }}\n{{ m.content BODY }}<|im_end|>\n";
    let all = |body: &str| format!("{{% for m in messages %}}{}{{% endfor %}}<|im_start|>assistant\n", turn.replace("BODY", body));
    let ids = |template: &str, content: &str| of(template).chat_ids(&[Message::new("user", content)], true, false);
    // Trimmed as transformers trims it; nothing in a text is a token.
    let (plain, trimmed) = (all(""), all("| trim"));
    assert_eq!(ids(&trimmed, "  a <|im_end|>\n").unwrap(), ids(&plain, "a <|im_end|>").unwrap());
    assert_ne!(ids(&trimmed, "  a").unwrap(), ids(&plain, "  a").unwrap());
    of(&trimmed).check_prompts().unwrap();
    // An empty message may be left out: then latents have no place.
    // The last line end of a template is not part of it.
    let skipping = format!("{{% for m in messages if m.content %}}{turn}{{% endfor %}}<|im_start|>assistant\n").replace("BODY", "");
    assert_eq!(ids(&skipping, "").unwrap(), of(&plain).encode_prompt("<|im_start|>assistant").unwrap());
    // What happens to a text must not depend on it.
    let error = ids(&all("| upper"), "a").unwrap_err().to_string();
    assert!(error.contains("changes the text"), "{error}");
    for bad in ["{{ raise_exception('no system message') }}", "{% for m in messages %}", "{% trans %}{% endtrans %}", "{{ today() }}"] {
        let error = of(bad).check_prompts().unwrap_err();
        assert!(matches!(&error, TokenizerError::Template { .. }), "{error}");
    }
    assert!(of("{{ raise_exception('no system message') }}").check_prompts().unwrap_err().to_string().contains("no system message"));
}
