//! Completions as servers write them.

use serde_json::json;

use super::*;

fn of(message: Value, finish: &str) -> Reply {
    completion(&json!({"choices": [{"index": 0, "finish_reason": finish, "message": message}], "usage": {"total_tokens": 7}}).to_string())
        .unwrap_or_else(|e| panic!("{message}: {e:?}"))
}

#[test]
fn words_of_a_message() {
    for (message, words) in [
        (json!({"content": "CORRECT"}), "CORRECT"),
        (json!({"content": [{"type": "text", "text": "COR"}, {"type": "text", "text": "RECT"}]}), "CORRECT"),
        (json!({"content": [{"type": "text", "text": {"value": "CORRECT"}}]}), "CORRECT"),
        (json!({"content": [{"type": "output_text", "text": "CORRECT"}]}), "CORRECT"),
        (json!({"content": {"type": "text", "text": "CORRECT"}}), "CORRECT"),
        (json!({"content": ["COR", "RECT"]}), "CORRECT"),
        (
            json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "CORRECT?"}]}, {"type": "text", "text": "INCORRECT"}]}),
            "INCORRECT",
        ),
        (json!({"content": [{"type": "image_url", "image_url": {}}, {"type": "text", "text": "CORRECT"}]}), "CORRECT"),
        (json!({"content": null, "reasoning_content": "Both say Oslo. CORRECT"}), "Both say Oslo. CORRECT"),
        (json!({"content": "", "reasoning": "INCORRECT"}), "INCORRECT"),
        (json!({"content": "CORRECT", "reasoning_content": "INCORRECT", "reasoning": "INCORRECT"}), "CORRECT"),
        (json!({"content": "CORRECT", "refusal": null, "tool_calls": []}), "CORRECT"),
    ] {
        let reply = of(message, "stop");
        assert_eq!((reply.words(), reply.tokens), (Ok(words), 7));
    }
}

#[test]
fn what_has_no_words_is_named() {
    for (message, finish, why) in [
        (json!({"content": ""}), "length", "cut off (finish_reason length)"),
        (json!({"content": null, "reasoning_content": "CORRECT"}), "length", "cut off (finish_reason length)"),
        // "CORRECT" may go on with "..ly speaking, no".
        (json!({"content": "CORRECT"}), "length", "cut off (finish_reason length)"),
        (json!({"content": "CORRECT"}), "MAX_TOKENS", "cut off (finish_reason MAX_TOKENS)"),
        (json!({"content": "CORRECT"}), "content_filter", "filtered (finish_reason content_filter)"),
        (json!({"content": ""}), "stop", "empty content (finish_reason stop)"),
        (json!({"content": null}), "", "empty content (finish_reason missing)"),
        (json!({"content": []}), "stop", "empty content (finish_reason stop)"),
        (json!({"content": null, "refusal": "CORRECT is not for me"}), "stop", "refused: CORRECT is not for me"),
        (json!({"content": [{"type": "refusal", "refusal": "no"}]}), "stop", "refused: no"),
        (json!({"content": null, "tool_calls": [{"id": "1"}]}), "tool_calls", "a tool call and no words (finish_reason tool_calls)"),
        (json!({"content": false}), "stop", "empty content (finish_reason stop)"),
        (json!({"content": [{"type": "thinking", "thinking": ""}]}), "stop", "empty content (finish_reason stop)"),
    ] {
        assert_eq!(of(message, finish).words(), Err(why.to_string()));
    }
}

#[test]
fn what_is_no_completion() {
    for text in [
        "",
        "{",
        "null",
        "\"CORRECT\"",
        "[]",
        "{}",
        r#"{"choices": null}"#,
        r#"{"choices": [{}]}"#,
        r#"{"choices": [{"message": "CORRECT"}]}"#,
    ] {
        assert!(matches!(completion(text), Err(NoReply::Shape(..))), "{text}");
    }
    let empty = completion(r#"{"choices": []}"#);
    assert!(matches!(&empty, Err(NoReply::Broken(why)) if why.contains("`choices` is empty")), "{empty:?}");
    for (text, status) in [
        (r#"{"error": {"message": "x", "code": 429}}"#, Some(429)),
        (r#"{"error": {"message": "x", "code": "503"}}"#, Some(503)),
        (r#"{"error": {"message": "x", "code": "model_not_found"}}"#, None),
        (r#"{"error": "overloaded"}"#, None),
        (r#"{"choices": [{"error": {"code": 502}, "message": {"content": ""}}]}"#, Some(502)),
    ] {
        assert!(matches!(completion(text), Err(NoReply::Error(got, _)) if got == status), "{text}");
    }
    let fine = completion("\u{feff}{\"error\": null, \"choices\": [{\"message\": {\"content\": \"CORRECT\"}}]}");
    assert_eq!(fine.unwrap_or_default().words(), Ok("CORRECT"));
    // The first choice is the one with index 0.
    let two = json!({"choices": [{"index": 1, "message": {"content": "CORRECT"}}, {"index": 0, "message": {"content": "INCORRECT"}}]});
    assert_eq!(completion(&two.to_string()).unwrap_or_default().words(), Ok("INCORRECT"));
}

fn streamed(text: &str) -> Result<Reply, NoReply> {
    assert!(begins_a_stream(text.as_bytes()), "{text}");
    stream(&mut text.as_bytes())
}

#[test]
fn streams() {
    let piece = |delta: Value, finish: Value| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).to_string();
    let (a, b) = (piece(json!({"role": "assistant", "content": "COR"}), Value::Null), piece(json!({"content": "RECT"}), "stop".into()));
    let other = json!({"choices": [{"index": 1, "delta": {"content": "IN"}}]}).to_string();
    let usage = json!({"choices": [], "usage": {"total_tokens": 9}}).to_string();
    for text in [
        format!("data: {a}\n\ndata: {b}\n\ndata: [DONE]\n\n"),
        format!("data: {a}\r\n\r\ndata: {b}\r\n\r\n"),
        // Without the space, without empty lines, with comments, fields and a byte order mark.
        format!("\u{feff}data:{a}\ndata:{b}\ndata:[DONE]\n"),
        format!(": keep-alive\n\nevent: message\nid: 1\nretry: 3\ndata: {a}\n\n: x\ndata: {b}"),
        format!("data: {a}\n\ndata: {other}\n\ndata: {b}\n\ndata: {usage}\n\ndata: [DONE]\n\n"),
        // An object over two lines of data.
        format!("data: {}\n\ndata: {b}\n\n", a.replacen(',', ",\ndata: ", 1)),
        format!("data: {}\n\ndata: [DONE]\n\n", json!({"choices": [{"message": {"content": "CORRECT"}}]})),
    ] {
        assert_eq!(streamed(&text).map(|r| r.words().map(str::to_string)), Ok(Ok("CORRECT".into())), "{text}");
    }
    assert_eq!(streamed(&format!("data: {a}\n\ndata: {b}\n\ndata: {usage}\n\ndata: [DONE]\n\n")).map(|r| r.tokens), Ok(9));
    let cut = piece(json!({"content": "CORRECT"}), "length".into());
    assert!(streamed(&format!("data: {cut}\n\ndata: [DONE]\n\n")).unwrap_or_default().words().is_err());
    let thought = piece(json!({"reasoning_content": "INCORRECT"}), "stop".into());
    assert_eq!(streamed(&format!("data: {thought}\n\n")).unwrap_or_default().words(), Ok("INCORRECT"));
    for broken in [
        format!("data: {a}\n\n"),
        "data: [DONE]\n\n".into(),
        "data: {\n\n".into(),
        ": only\n\n".into(),
        format!("data: {a}\n\ndata: {{\"x"),
    ] {
        assert!(matches!(streamed(&broken), Err(NoReply::Broken(_) | NoReply::Shape(..))), "{broken}");
    }
    let error = format!("data: {a}\n\ndata: {}\n\n", json!({"error": {"code": 429, "message": "slow"}}));
    assert!(matches!(streamed(&error), Err(NoReply::Error(Some(429), _))));
    assert!(!begins_a_stream(b"{\"data:\": 1}"));
}
