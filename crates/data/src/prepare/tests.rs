//! Tests of the preparation on small made-up files.

use super::*;
use crate::{load_passages, load_qa, load_retrieval};

/// Writes a file and prepares it.
fn prepared(set: DatasetName, text: &str, options: &PrepareOptions) -> Result<Prepared, DataError> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("set.json");
    std::fs::write(&path, text).expect("a written file");
    prepare(set, &path, options)
}

fn good(set: DatasetName, text: &str, options: &PrepareOptions) -> Prepared {
    prepared(set, text, options).expect("a preparation")
}

/// How many were left out of a task for a reason that contains `reason`.
fn dropped(prepared: &Prepared, task: &str, reason: &str) -> usize {
    prepared.dropped.iter().filter(|count| count.task == task && count.reason.contains(reason)).map(|count| count.count).sum()
}

fn hotpot(id: usize, level: &str, sentence: usize) -> String {
    format!(
        r#"{{"_id": "{id}", "question": "Q{id}?", "answer": "A{id}", "level": "{level}", "type": "bridge",
            "supporting_facts": [["One", {sentence}], ["One", 99]], "context": [["Two", ["x{id}", " "]], ["One", [" a{id} b", " c{id}"]]]}}"#
    )
}

fn locomo() -> String {
    let qa = |n: usize, category: u8, rest: &str| format!(r#"{{"question": "q{n}", "category": {category}, {rest}}}"#);
    let questions = [
        qa(0, 1, r#""answer": 7, "evidence": ["D1:2 D1:1", "D9:9"]"#),
        qa(1, 1, r#""answer": "a", "evidence": ["D9:9"]"#),
        qa(2, 4, r#""answer": "a", "evidence": ["D1:1"]"#),
        qa(3, 5, r#""adversarial_answer": "a", "evidence": ["D1:2"]"#),
        qa(4, 5, r#""answer": "No", "evidence": ["D1:2"]"#),
    ];
    format!(
        r#"[{{"sample_id": "c", "qa": [{}], "conversation": {{"session_2_date_time": "d", "session_1_date_time": "d", "session_1": [
            {{"dia_id": "D1:1", "speaker": "Ann", "text": "Hi."}}, {{"dia_id": "D1:2", "speaker": "Bob", "text": "Yo."}}]}}}}]"#,
        questions.join(",")
    )
}

fn longmem(id: &str, gold: &str, answer: &str) -> String {
    format!(
        r#"{{"question_id": "{id}", "question_type": "t", "question": "{id}?", "answer": {answer}, "answer_session_ids": [{gold}],
            "haystack_session_ids": ["s1", "s2"], "haystack_sessions": [[{{"role": "user", "content": "one {id}", "has_answer": true}},
            {{"role": "assistant", "content": "ok"}}], [{{"role": "user", "content": "two", "has_answer": true}}]]}}"#
    )
}

#[test]
fn names_files_and_official_strides() {
    for set in DatasetName::ALL {
        assert_eq!(set.name().parse::<DatasetName>().expect("a set"), set);
    }
    let error = "hotpot".parse::<DatasetName>().expect_err("a failure").to_string();
    assert_eq!(error, "got the dataset `hotpot`, expected one of squad, hotpotqa, race, locomo, longmemeval");
    let options = PrepareOptions::default();
    assert_eq!(DatasetName::ALL.map(|set| options.qa_stride(set)), [8, 4, 1, 1, 1]);
    assert_eq!(DatasetName::ALL.map(|set| options.retrieval_stride(set)), [1, 28, 1, 1, 1]);
    assert_eq!((options.seed, options.max_words), (1128, 128));
}

#[test]
fn hotpotqa_takes_easy_support_and_ranks_sentences() {
    let rows: Vec<String> = (0..9).map(|n| hotpot(n, if n % 2 == 0 { "easy" } else { "hard" }, n % 3)).collect();
    let text = format!("[{}]", rows.join(","));
    let all = good(DatasetName::Hotpotqa, &text, &PrepareOptions::default());
    // Easy are 0 2 4 6 8; sentence n % 3 == 2 does not exist, so 2 and 8 have no support.
    assert_eq!(all.passages.as_deref(), Some(&["a0 b", "c4", "a6 b"].map(String::from)[..]));
    let qa = all.qa.as_deref().expect("task 2");
    assert_eq!(qa.iter().map(|item| item.question.as_str()).collect::<Vec<_>>(), ["Q0?", "Q8?"]);
    assert_eq!((&qa[0].references[..], &qa[1].references[..]), (&["a0 b".to_string()][..], &["None".to_string()][..]));
    let retrieval = all.retrieval.as_deref().expect("task 3");
    assert_eq!(retrieval.len(), 1);
    assert_eq!((&retrieval[0].references[..], &retrieval[0].hit_list[..]), (&["x0", "a0 b", "c0"].map(String::from)[..], &[1][..]));
    assert_eq!(dropped(&all, "all tasks", "supporting fact"), 9 + 3);
    assert_eq!(dropped(&all, "tasks 1 and 2", "level is not easy"), 4);
    assert_eq!(
        (dropped(&all, "task 1", "no supporting"), dropped(&all, "task 2", "not every 4th"), dropped(&all, "task 3", "not every 28th")),
        (2, 3, 8)
    );
    assert_eq!(all.changed.iter().map(|count| count.count).collect::<Vec<_>>(), [1]);
    assert_eq!(all.read, [("questions", 9)]);

    let any = PrepareOptions { level: Level::Any, qa_stride: Some(1), retrieval_stride: Some(2), ..Default::default() };
    let any = good(DatasetName::Hotpotqa, &text, &any);
    assert_eq!((any.passages.map(|p| p.len()), any.qa.map(|q| q.len()), any.retrieval.map(|r| r.len())), (Some(6), Some(9), Some(3)));
}

#[test]
fn locomo_categories_and_evidence() {
    let all = good(DatasetName::Locomo, &locomo(), &PrepareOptions::default());
    assert_eq!(all.passages.as_deref(), Some(&["Bob: Yo.\nAnn: Hi.", "Bob: Yo."].map(String::from)[..]));
    let qa = all.qa.as_deref().expect("task 2");
    let answers: Vec<_> = qa.iter().map(|item| (item.question.as_str(), item.answer.as_str(), item.references.join("|"))).collect();
    assert_eq!(answers, [("q0", "7", "Bob: Yo.|Ann: Hi.".into()), ("q1", "a", "None".into()), ("q4", "No", "Bob: Yo.".into())]);
    let retrieval = all.retrieval.as_deref().expect("task 3");
    assert_eq!(retrieval.len(), 1);
    assert_eq!((&retrieval[0].references[..], &retrieval[0].hit_list[..]), (&["Ann: Hi.", "Bob: Yo."].map(String::from)[..], &[0, 1][..]));
    for (task, reason, count) in [
        ("all tasks", "session with a date and no turn", 1),
        ("all tasks", "question of category 4", 1),
        ("all tasks", "evidence id that no turn has", 2),
        ("task 1", "no evidence", 1),
        ("task 1", "same passage", 1),
        ("task 2", "category 5 without an answer", 1),
        ("task 3", "question of category 5", 2),
        ("task 3", "no evidence", 1),
    ] {
        assert_eq!(dropped(&all, task, reason), count, "{task}: {reason}");
    }
}

#[test]
fn locomo_evidence_as_written() {
    let options = PrepareOptions { evidence: Evidence::AsWritten, ..Default::default() };
    let all = good(DatasetName::Locomo, &locomo(), &options);
    // q0 and q1 have no string that is an id of a turn; q2 is of a category that is not used.
    let asked: Vec<_> = all.qa.iter().flatten().map(|item| item.question.as_str()).collect();
    assert_eq!((asked, &all.retrieval), (vec!["q4"], &None));
    assert_eq!(dropped(&all, "all tasks", "evidence string that is no id of a turn"), 3);
    assert_eq!(dropped(&all, "all tasks", "question without an evidence id"), 2);
}

#[test]
fn a_share_is_held_out_once() {
    let rows: Vec<String> = (0..60).map(|n| hotpot(n, if n % 3 == 0 { "hard" } else { "easy" }, 0)).collect();
    let text = format!("[{}]", rows.join(","));
    let side = |rest, seed| {
        let options = PrepareOptions { holdout: Some(Holdout { share: 0.1, rest }), seed, qa_stride: Some(1), ..Default::default() };
        good(DatasetName::Hotpotqa, &text, &options)
    };
    let asked = |prepared: &Prepared| -> Vec<String> { prepared.qa.iter().flatten().map(|item| item.question.clone()).collect() };
    let (held, rest) = (side(false, 1128), side(true, 1128));
    // 40 of the 60 are easy.
    assert_eq!((asked(&held).len(), asked(&rest).len(), held.retrieval.is_none()), (4, 36, true));
    assert!(asked(&held).iter().all(|question| !asked(&rest).contains(question)));
    assert_eq!((held.training, rest.training), (false, true));
    assert_eq!(asked(&held), asked(&side(false, 1128)));
    assert_ne!(asked(&held), asked(&side(false, 7)));
    assert_eq!(dropped(&held, "tasks 1 and 2", "not among the held-out, a share of 0.1 by seed 1128"), 36);
    let names: Vec<String> = rest.files().expect("files").into_iter().map(|file| file.name).collect();
    assert_eq!(names, ["recs_hotpot_train.json", "stm_hotpot_train.json"]);

    let refused = |set, share| {
        let options = PrepareOptions { holdout: Some(Holdout { share, rest: false }), ..Default::default() };
        prepared(set, &text, &options).expect_err("a failure").to_string()
    };
    assert!(refused(DatasetName::Race, 0.1).contains("RACE: got the share 0.1 to hold out - expected none"));
    for share in [0.0, 1.0, -1.0, f64::NAN] {
        assert!(refused(DatasetName::Hotpotqa, share).contains("expected one above 0 and below 1"));
    }
}

#[test]
fn half_an_emoji_is_read_and_counted() {
    let text = format!(
        "[{}]",
        longmem("a", r#""s2""#, "3").replace("one a", "great day \\ud83c \\ud83c\\udf1e NaN").replace("\"t\"", "\"t\", \"score\": NaN")
    );
    let all = good(DatasetName::Longmemeval, &text, &PrepareOptions::default());
    let retrieval = all.retrieval.as_deref().expect("task 3");
    assert_eq!(retrieval[0].references[0], "great day \u{fffd} \u{1f31e} NaN");
    let changed: Vec<_> = all.changed.iter().map(|count| (count.reason.as_str(), count.count)).collect();
    assert_eq!(changed, [("lone surrogate, read as U+FFFD", 1)]);
    // In a key that is used, NaN is no answer.
    let error = prepared(DatasetName::Longmemeval, &format!("[\n{}]", longmem("a", r#""s2""#, "NaN")), &PrepareOptions::default());
    let error = error.expect_err("a failure").to_string();
    assert!(error.contains("record 0 of ") && error.contains("field `answer` holds null or NaN") && error.contains("(line 4)"), "{error}");
}

#[test]
fn longmemeval_abstention_and_oracle() {
    let text = format!(
        "[{},{},{}]",
        longmem("a", r#""s2""#, "3"),
        longmem("b_abs", r#""s1", "gone""#, "\"no\""),
        longmem("c", r#""s1", "s2""#, "\"x\"")
    );
    let all = good(DatasetName::Longmemeval, &text, &PrepareOptions::default());
    assert_eq!(all.passages.as_deref(), Some(&["two", "one b_abs", "one c\ntwo"].map(String::from)[..]));
    let qa = all.qa.as_deref().expect("task 2");
    assert_eq!((qa[0].answer.as_str(), qa.len(), &qa[2].references[..]), ("3", 3, &["one c", "two"].map(String::from)[..]));
    let retrieval = all.retrieval.as_deref().expect("task 3");
    assert_eq!(
        (retrieval.len(), &retrieval[0].references[..], &retrieval[0].hit_list[..]),
        (2, &["one a", "two"].map(String::from)[..], &[1][..])
    );
    assert_eq!(dropped(&all, "task 3", "abstention"), 0);
    assert_eq!(dropped(&all, "task 3", "oracle file"), 1);
    assert_eq!(dropped(&all, "all tasks", "answer session that the history does not have"), 1);
    let without = good(DatasetName::Longmemeval, &text, &PrepareOptions { abstention: false, ..Default::default() });
    assert_eq!((without.retrieval.as_ref().map(Vec::len), dropped(&without, "task 3", "abstention")), (Some(1), 1));
}

#[test]
fn the_word_limit_and_the_seeded_limit() {
    let context = |words: usize| vec!["w"; words].join(" ");
    let paragraph = |n: usize, words: usize| {
        format!(
            r#"{{"context": "{} {n}", "qas": [{{"id": "{n}", "question": "q{n}", "answers": [{{"text": "w", "answer_start": 0}}]}}]}}"#,
            context(words - 1)
        )
    };
    let paragraphs: Vec<String> = (0..40).map(|n| paragraph(n, if n == 8 { 128 } else { 127 })).collect();
    let text = format!(r#"{{"version": "1.1", "data": [{{"title": "t", "paragraphs": [{}]}}]}}"#, paragraphs.join(","));
    let all = good(DatasetName::Squad, &text, &PrepareOptions::default());
    let questions: Vec<String> = all.qa.iter().flatten().map(|item| item.question.clone()).collect();
    assert_eq!(questions, ["q0", "q16", "q24", "q32"]);
    assert_eq!((dropped(&all, "task 2", "128 words"), dropped(&all, "task 2", "not every 8th")), (1, 35));
    assert_eq!(all.retrieval, None);

    let sample = |seed| good(DatasetName::Squad, &text, &PrepareOptions { seed, limit: Some(10), ..Default::default() });
    let (one, other) = (sample(1128), sample(7));
    assert_eq!((&one.passages, &one.qa), (&sample(1128).passages, &sample(1128).qa));
    let numbers: Vec<usize> =
        one.passages.iter().flatten().map(|p| p.rsplit(' ').next().expect("a word").parse().expect("a number")).collect();
    assert!(numbers.len() == 10 && numbers.is_sorted() && numbers != (0..10).collect::<Vec<_>>(), "{numbers:?}");
    assert_ne!(one.passages, other.passages);
    assert_eq!(dropped(&one, "task 1", "over the limit of 10"), 30);
}

#[test]
fn the_files_are_read_back_by_the_official_loaders() {
    let all = good(DatasetName::Locomo, &locomo(), &PrepareOptions::default());
    let dir = tempfile::tempdir().expect("a temporary folder");
    for file in all.files().expect("files") {
        std::fs::write(dir.path().join(file.name), &file.text).expect("a written file");
    }
    assert_eq!(Some(load_passages(dir.path().join("recs_locomo_test.json")).expect("task 1")), all.passages);
    assert_eq!(Some(load_qa(dir.path().join("stm_locomo_test.json")).expect("task 2")), all.qa);
    assert_eq!(Some(load_retrieval(dir.path().join("locomo_ltm_test.json")).expect("task 3")), all.retrieval);
}

#[test]
fn a_file_of_the_wrong_kind_is_named() {
    let squad = r#"{"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": "c", "qas": []}]}]}"#;
    let hotpot = format!("[{}]", hotpot(0, "easy", 0));
    let texts = [
        (squad, "SQuAD"),
        (&hotpot, "HotpotQA"),
        (r#"{"article": "a", "question": "q", "options": [], "answer": "A"}"#, "RACE"),
        (&locomo(), "LoCoMo"),
        (&format!("[{}]", longmem("a", r#""s2""#, "3")), "LongMemEval"),
        (r#"["a passage"]"#, "an official prepared file of task 1"),
        (r#"[{"question": "q", "answer": "a", "references": []}]"#, "an official prepared file of task 2"),
        (r#"[{"question": "q", "references": ["a"], "hit_list": []}]"#, "an official prepared file of task 3"),
        ("<!doctype html>", "a web page"),
        ("version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
    ];
    for set in DatasetName::ALL {
        for (text, title) in texts.iter().filter(|(_, title)| *title != set.title()) {
            let error = prepared(set, text, &PrepareOptions::default()).expect_err("a failure").to_string();
            assert!(error.contains("set.json is not ") && error.contains(&format!("it looks like {title}")), "{set}: {error}");
        }
        assert!(matches!(prepared(set, " \n", &PrepareOptions::default()), Err(DataError::Empty { .. })), "{set}");
        assert!(matches!(prepared(set, r#"[{"question": "#, &PrepareOptions::default()), Err(DataError::Json { .. })), "{set}");
        let missing = prepare(set, "no/such/file", &PrepareOptions::default()).expect_err("a failure");
        assert!(matches!(missing, DataError::Missing { .. }), "{set}: {missing}");
    }
    let nothing = prepared(DatasetName::Hotpotqa, &format!("[{}]", hotpot_without_support()), &PrepareOptions::default());
    let nothing = nothing.expect_err("a failure").to_string();
    assert!(nothing.contains("leaves no record for any task - most often") && nothing.contains("supporting fact"), "{nothing}");
}

fn hotpot_without_support() -> String {
    hotpot(0, "hard", 50)
}
