//! Replies as models write them, and what each of them is.

use super::*;
use Verdict::{Correct, Incorrect, Unclear};

#[track_caller]
fn all(expected: Verdict, replies: &[&str]) {
    for said in replies {
        assert_eq!(read_verdict(said), expected, "{said:?}");
    }
}

#[test]
fn correct_as_models_write_it() {
    all(
        Correct,
        &[
            "CORRECT",
            "correct",
            " **Correct.**\n",
            "Correct!",
            "**CORRECT**!",
            "`CORRECT`",
            "\"CORRECT\".",
            "\u{201c}CORRECT\u{201d}",
            "'CORRECT'",
            "(CORRECT)",
            "[[CORRECT]]",
            "- CORRECT",
            "> CORRECT",
            "## CORRECT",
            "__Correct__",
            "\u{feff}CORRECT\u{200b}",
            "CORRECT<|im_end|>",
            "CORRECT</s>",
            "\u{2705} CORRECT",
            "\\boxed{CORRECT}",
            "$\\boxed{\\text{CORRECT}}$",
            "Verdict: CORRECT",
            "Verdict: CORRECT.",
            "**Verdict:** CORRECT",
            "Final verdict - correct",
            "My final answer is: CORRECT",
            "The verdict is CORRECT.",
            "<verdict>CORRECT</verdict>",
            "Verdict:\nCORRECT",
            "**Final verdict:**\n\nCORRECT",
            "The answer is correct.",
            "The candidate's answer is correct.",
            "The candidate\u{2019}s answer is entirely correct.",
            "It's correct.",
            "Therefore, the candidate answer is correct.",
            "Fully correct",
            "```\nCORRECT\n```",
            "Both name Oslo.\nCORRECT",
            "The towns are the same\n\nCORRECT",
            "1. Town: Oslo and Oslo.\n2. Year: 1998 and 1998.\n\nCORRECT",
            "A wrong town would be INCORRECT, but both name the same town.\n\nFinal verdict: CORRECT",
            "Both say Oslo. CORRECT",
            "Both say Oslo in 1998! **CORRECT**",
            "# Comparison\nCORRECT",
            "CORRECT\nCORRECT",
            "---\n**Verdict**: **CORRECT**\n---",
            "~~~\nCORRECT\n~~~",
        ],
    );
}

#[test]
fn incorrect_as_models_write_it() {
    all(
        Incorrect,
        &[
            "INCORRECT",
            "Incorrect.",
            "**INCORRECT**",
            "\\boxed{INCORRECT}",
            "\u{274c} INCORRECT",
            "Verdict: INCORRECT",
            "NOT CORRECT",
            "not_correct",
            "The answer is not correct.",
            "The candidate's answer isn't correct.",
            "The candidate\u{2019}s answer isn\u{2019}t correct.",
            "No, the answer is not correct.",
            "The answer is not entirely correct.",
            "The answer is not quite correct",
            "That is not fully correct.",
            "It wasn't correct.",
            "The answer is incorrect.",
            "The response is completely incorrect.",
            "Partially incorrect",
            "The towns differ. INCORRECT",
            "The towns differ.\nINCORRECT",
            // The strict prompt says so.
            "Partially correct",
            "Mostly correct.",
            "The answer is only partially correct.",
            "Almost correct",
            "Verdict: partially correct",
            "The answer is not correct.\nINCORRECT",
        ],
    );
    for hedged in ["Partially correct", "Mostly correct.", "{\"verdict\": \"partially correct\"}"] {
        assert_eq!(read_for(JudgePrompt::Lenient, hedged), Unclear, "{hedged}");
    }
    assert_eq!(read_for(JudgePrompt::Lenient, "The answer is not entirely correct."), Incorrect);
}

#[test]
fn no_rejection_and_no_hedge_is_correct() {
    all(
        Unclear,
        &[
            "",
            " \n ",
            "...",
            "I cannot help with that.",
            "CORRECT or INCORRECT",
            "CORRECT/INCORRECT",
            "CORRECT | INCORRECT",
            "Neither correct nor incorrect",
            "neither correct nor complete",
            "not incorrect",
            "The answer isn't incorrect.",
            "Incorrectly",
            "correctly",
            "correctness",
            "uncorrect",
            "in correct",
            "in-correct",
            "(in)correct",
            "**in**correct",
            "IN CORRECT",
            "Correct?",
            "Is it correct?",
            "Probably correct",
            "Possibly correct.",
            "I think it's correct, but the year is missing.",
            "It seems correct.",
            "It would be correct if the year were 1998.",
            "The answer would be correct.",
            "The answer could be correct.",
            "The answer cannot be considered correct.",
            "The answer is far from correct.",
            "The answer is less than correct.",
            "The answer is anything but correct.",
            "The answer fails to be correct.",
            "It is hardly correct.",
            "I doubt that it is correct.",
            "I do not think the answer is correct.",
            "Nobody would call this correct.",
            "The gold answer is correct.",
            "The reference answer is correct.",
            "Gold answer: CORRECT",
            "Candidate answer: CORRECT",
            "The town is correct.",
            "- Town: correct",
            "Correct town, wrong year",
            "CORRECT (but the year is wrong)",
            "CORRECT, although the year is missing",
            "CORRECT. But the year is wrong.",
            "CORRECT is not what I would say.",
            "CORRECT: no",
            "CORRECT: false",
            "CORRECT = 0",
            "0 CORRECT",
            "0% correct",
            "50% correct",
            "1/2 correct",
            "!CORRECT",
            "verdict != CORRECT",
            "verdict!=CORRECT",
            "\u{ac}CORRECT",
            "\u{2260} CORRECT",
            "~~CORRECT~~",
            "\u{274c} CORRECT",
            "\u{2705} INCORRECT",
            "CORRECT...",
            "CORRECT\u{2026}",
            "CORRECT INCORRECT",
            "CORRECT\nINCORRECT",
            "INCORRECT\nCORRECT",
            "The answer is not correct.\nCORRECT",
            "Partially correct.\n\nCORRECT",
            // A sentence that goes over the end of its line.
            "It is not\nCORRECT",
            "It is not\n\nCORRECT",
            "I would not call the candidate's answer\ncorrect.",
            "If the year is ignored,\nthe answer is correct.",
            "If the year is ignored,\n\nthe answer is correct.",
            "It would be wrong to say:\nCORRECT",
            "It isn't\n\nCORRECT",
            "It is not\n---\nCORRECT",
            "No.\n\nCORRECT",
            "Verdict: no\n\nCORRECT",
            "Wrong\nCORRECT",
            "Never\n\nVerdict: CORRECT",
            "in\n\ncorrect",
            "Partially.\n\ncorrect",
            "The town fits, but. CORRECT",
            "---",
            "No town is named, so it can hardly be called...\nCORRECT",
            // One sentence turns the next.
            "Not quite. Correct would be Rome.",
            "It is not right. CORRECT",
            "Would it be INCORRECT? No. CORRECT",
            "Partially. CORRECT",
            "e.g. CORRECT",
            "Both say Oslo. correct",
            // Other languages.
            "richtig",
            "Correcto",
            "\u{6b63}\u{786e}",
            "nicht CORRECT",
            "pas correct",
            "non correct",
            "La r\u{e9}ponse n'est pas correcte.",
            "\u{421}ORRECT",
            // Answers of other prompts.
            "yes",
            "TRUE",
            "1",
        ],
    );
}

#[test]
fn what_is_thought_is_not_said() {
    all(
        Correct,
        &[
            "<think>It may be incorrect...</think>\nCORRECT",
            "The gold answer is Oslo and the candidate says Oslo. Saying Rome would be incorrect.\n</think>\n\nCORRECT",
            "<think>a</think>INCORRECT<think>b</think>CORRECT",
            "<THINK>INCORRECT</THINK>CORRECT",
            "[THINK]INCORRECT[/THINK]CORRECT",
            "<reasoning>INCORRECT</reasoning>\n<answer>CORRECT</answer>",
            "<|channel|>analysis<|message|>INCORRECT<|end|><|start|>assistant<|channel|>final<|message|>CORRECT<|return|>",
        ],
    );
    all(Incorrect, &["CORRECT?\n</think>\nINCORRECT"]);
    all(
        Unclear,
        &[
            "<think>CORRECT, I would say, but",
            "<think>\nCORRECT",
            "CORRECT<think>or",
            "<think>CORRECT</think>",
            "CORRECT\n</think>\n",
            "<|channel|>analysis<|message|>CORRECT",
        ],
    );
}

#[test]
fn objects() {
    all(
        Correct,
        &[
            r#"{"verdict": "CORRECT"}"#,
            r#"{"correct": true}"#,
            r#"{"is_correct": true, "confidence": 0.1}"#,
            r#"{"isCorrect": "true"}"#,
            r#"{"verdict": true}"#,
            r#"{"explanation": "Saying Rome would be incorrect.", "verdict": "correct."}"#,
            "```json\n{\"verdict\": \"CORRECT\"}\n```",
            "Both name the same town, so:\n\n{\n  \"label\": \"CORRECT\"\n}",
            r#"{"correct": true, "incorrect": false}"#,
        ],
    );
    all(
        Incorrect,
        &[
            r#"{"correct": false}"#,
            r#"{"verdict": "incorrect"}"#,
            r#"{"verdict": "not correct"}"#,
            r#"{"verdict": false}"#,
            r#"{"correct": "no"}"#,
            r#"{"incorrect": true}"#,
            "```json\n{\"verdict\": \"INCORRECT\", \"correct\": false}\n```",
            "{\"correct\":\n false}",
        ],
    );
    all(
        Unclear,
        &[
            "{}",
            r#"{"verdict": null}"#,
            r#"{"verdict": "CORRECT or INCORRECT"}"#,
            r#"{"verdict": "CORRECT", "correct": false}"#,
            r#"{"correct": true, "correct": false}"#,
            r#"{"correct": false, "correct": true}"#,
            r#"{"correct": "partially"}"#,
            r#"{"correct": 1}"#,
            r#"{"correct": null}"#,
            r#"{"incorrect": false}"#,
            r#"{"not_correct": true}"#,
            r#"{"partially_correct": true}"#,
            r#"{"answers": {"correct": true}}"#,
            r#"[{"correct": true}]"#,
            r#"{"correct": tr"#,
            r#"{"correct": false"#,
            "{\"verdict\": \"INCORRECT\"}\n{\"verdict\": \"CORRECT\"}",
            "{\"verdict\": \"CORRECT\"} is what I would not say",
            r#"not {"verdict": "CORRECT"}"#,
        ],
    );
}

#[test]
fn a_hostile_reply_ends() {
    for piece in ["{", "{\"a\":[\n", "{},\n", "CORRECT. ", "<think>", "\\", "_", "\u{1f600}", "<|", "|>"] {
        let long = piece.repeat(100_000);
        assert_eq!(read_verdict(&long), Unclear, "{piece}");
        assert_eq!(read_verdict(&format!("{long}</think>CORRECT")), Correct, "{piece}");
    }
}
