//! `nextmem data fetch` against a server of our own that breaks off, stalls, refuses and changes its mind.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::TcpListener;

use support::server::{Answer, Server, sha256 as sum, without_proxies};
use support::{Dir, Outcome, finish};

/// The file of the set that is fetched.
const NAME: &str = "locomo10.json";

fn body() -> Vec<u8> {
    (0..200_000u32).flat_map(|n| n.to_le_bytes()).collect()
}

/// Fetches the file of one set from a server, agreeing to the licence.
fn fetch(dir: &Dir, server: &Server, more: &[&str]) -> Outcome {
    let mut command = dir.command(&["data", "fetch", "locomo", "--yes", "--out", "sets", "--base-url", &server.url]);
    without_proxies(&mut command);
    command.args(more);
    finish(command)
}

#[track_caller]
fn failed(outcome: Outcome, names: &[&str]) {
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    names.iter().for_each(|name| assert!(outcome.stderr.contains(name), "no {name:?} in {}", outcome.stderr));
}

/// The file is whole, and only what belongs there is beside it.
#[track_caller]
fn whole(dir: &Dir, body: &[u8]) {
    assert!(std::fs::read(dir.path("sets").join(NAME)).unwrap() == body, "other bytes");
    let files: Vec<String> = dir.files("sets").into_keys().collect();
    assert_eq!(files, [".gitignore", "SHA256SUMS", NAME]);
    assert_eq!(dir.read("sets/SHA256SUMS"), format!("{}  {NAME}\n", sum(body)));
    assert_eq!(dir.read("sets/.gitignore"), "*\n");
}

#[test]
fn a_whole_file_is_fetched_once() {
    let (dir, body) = (Dir::new(), body());
    let server = Server::new(&body, "\"a\"", &[Answer::Right]);
    let first = fetch(&dir, &server, &["--sha256", &sum(&body)]).good();
    whole(&dir, &body);
    assert!(first.stdout.contains(&sum(&body)) && first.stdout.contains("800000 bytes"), "{first:#?}");
    assert!(first.stderr.contains("CC BY-NC 4.0") && first.stderr.contains("no commercial use"), "{first:#?}");
    assert!(server.requests()[0].starts_with("GET /mirror/locomo10.json HTTP/1.1"), "{:?}", server.requests());
    let second = fetch(&dir, &server, &["--sha256", &sum(&body).to_uppercase()]).good();
    assert!(second.stderr.contains("is here already"), "{second:#?}");
    assert_eq!(server.requests().len(), 1);
    // Whatever came is recorded, and holds from then on.
    fetch(&dir, &server, &["--sha256", "any"]).good();
    std::fs::write(dir.path("sets").join(NAME), "other").unwrap();
    failed(fetch(&dir, &server, &["--sha256", "any"]), &["is there with 5 bytes", "not the file expected", "move it away"]);
    failed(fetch(&dir, &server, &[]), &["is there with 5 bytes"]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn nothing_is_fetched_without_agreement() {
    let dir = Dir::new();
    let server = Server::new(&body(), "\"a\"", &[Answer::Right]);
    let mut command = dir.command(&["data", "fetch", "race", "--out", "sets", "--base-url", &server.url]);
    command.stdin(std::process::Stdio::null());
    finish(command).refused(&["for non-commercial research only", "the licence is not agreed to", "--yes"]);
    assert_eq!((server.requests().len(), dir.path("sets").exists()), (0, false));
    dir.run(&["data", "fetch", "squad", "--yes", "--file", "dev.json"]).refused(&["dev.json", "dev-v1.1.json, train-v1.1.json"]);
    dir.run(&["data", "fetch", "squad", "--yes", "--sha256", &"0".repeat(64)]).refused(&["got 2 files, expected one"]);
    dir.run(&["data", "fetch", "locomo", "--yes", "--sha256", "12"]).refused(&["\"12\"", "64 hexadecimal digits"]);
}

#[test]
fn a_broken_connection_is_resumed() {
    let (dir, body) = (Dir::new(), body());
    let server = Server::new(&body, "\"a\"", &[Answer::Cut(300_000), Answer::Cut(100_000), Answer::Right]);
    let outcome = fetch(&dir, &server, &["--sha256", &sum(&body)]).good();
    whole(&dir, &body);
    assert_eq!(server.ranges(), ["", "bytes=300000-", "bytes=400000-"]);
    assert!(server.requests()[1].contains("if-range: \"a\""), "{:?}", server.requests());
    assert!(outcome.stderr.contains("going on in 0.5 s"), "{outcome:#?}");
}

#[test]
fn without_ranges_it_starts_over() {
    let (dir, body) = (Dir::new(), body());
    let server = Server::new(&body, "\"a\"", &[Answer::Cut(300_000), Answer::Whole]);
    let outcome = fetch(&dir, &server, &["--sha256", &sum(&body)]).good();
    whole(&dir, &body);
    assert_eq!(server.ranges(), ["", "bytes=300000-"]);
    assert!(outcome.stderr.contains("sends the file from its start"), "{outcome:#?}");
}

#[test]
fn a_later_call_goes_on_unless_the_file_has_changed() {
    let (dir, body) = (Dir::new(), body());
    let part = || dir.files("sets").get("locomo10.json.part").map(Vec::len);
    let first = Server::new(&body, "\"a\"", &[Answer::Cut(300_000)]);
    failed(fetch(&dir, &first, &["--sha256", "any", "--retries", "0"]), &["1 attempts failed, 300000 bytes are here", "run it again"]);
    assert_eq!(part(), Some(300_000));
    // Another address is another file.
    let other = Server::new(&body, "\"a\"", &[Answer::Cut(5000)]);
    failed(fetch(&dir, &other, &["--sha256", "any", "--retries", "0"]), &["5000 bytes are here"]);
    assert_eq!((other.ranges(), part()), (vec![String::new()], Some(5000)));
    // The same address, but the tag no longer holds: the server sends all of it.
    let text = dir.read("sets/locomo10.json.part.json");
    dir.write("sets/locomo10.json.part.json", text.replace("\\\"a\\\"", "\\\"b\\\""));
    let again = fetch(&dir, &other, &["--sha256", "any", "--retries", "0"]);
    failed(again, &["sends the file from its start", "5000 bytes are here"]);
    assert_eq!(other.ranges(), ["", "bytes=5000-"]);
}

#[test]
fn a_part_goes_on_in_the_next_call() {
    let (dir, body) = (Dir::new(), body());
    let server = Server::new(&body, "\"a\"", &[Answer::Cut(300_000), Answer::Right]);
    failed(fetch(&dir, &server, &["--sha256", &sum(&body), "--retries", "0"]), &["300000 bytes are here"]);
    let outcome = fetch(&dir, &server, &["--sha256", &sum(&body), "--retries", "0"]).good();
    whole(&dir, &body);
    assert_eq!(server.ranges(), ["", "bytes=300000-"]);
    assert!(outcome.stderr.contains("going on after 300000 bytes"), "{outcome:#?}");
}

#[test]
fn a_resumed_file_with_another_checksum_is_fetched_again() {
    let (dir, body) = (Dir::new(), body());
    let server = Server::new(&body, "\"a\"", &[Answer::Cut(300_000), Answer::Right]);
    failed(fetch(&dir, &server, &["--sha256", &sum(&body), "--retries", "0"]), &["300000 bytes are here"]);
    let mut spoilt = dir.files("sets")["locomo10.json.part"].clone();
    spoilt[7] ^= 1;
    dir.write("sets/locomo10.json.part", spoilt);
    let outcome = fetch(&dir, &server, &["--sha256", &sum(&body)]).good();
    whole(&dir, &body);
    assert!(outcome.stderr.contains("another checksum; starting over"), "{outcome:#?}");
    assert_eq!(server.ranges(), ["", "bytes=300000-", ""]);
}

#[test]
fn a_server_that_stalls_is_left() {
    let (dir, body) = (Dir::new(), body());
    let server = Server::new(&body, "\"a\"", &[Answer::Stall(300_000), Answer::Right]);
    fetch(&dir, &server, &["--sha256", &sum(&body), "--timeout", "1"]).good();
    whole(&dir, &body);
    assert_eq!(server.ranges(), ["", "bytes=300000-"]);
}

#[test]
fn a_wrong_range_is_not_glued_on() {
    let (dir, body) = (Dir::new(), body());
    let server = Server::new(&body, "\"a\"", &[Answer::Cut(300_000), Answer::WrongRange, Answer::Right]);
    fetch(&dir, &server, &["--sha256", &sum(&body)]).good();
    whole(&dir, &body);
    assert_eq!(server.ranges(), ["", "bytes=300000-", ""]);
}

#[test]
fn busy_servers_are_asked_again_after_the_time_they_name() {
    let (dir, body) = (Dir::new(), body());
    let busy = Answer::status("429 Too Many Requests", "Retry-After: 1\r\n");
    let down = Answer::status("503 Service Unavailable", "Retry-After: 0\r\n");
    let server = Server::new(&body, "\"a\"", &[busy, down, Answer::Right]);
    let outcome = fetch(&dir, &server, &["--sha256", &sum(&body)]).good();
    whole(&dir, &body);
    for note in ["HTTP 429 Too Many Requests; going on in 1.0 s", "HTTP 503 Service Unavailable; going on in 0.0 s"] {
        assert!(outcome.stderr.contains(note), "{outcome:#?}");
    }

    let dir = Dir::new();
    let server = Server::new(&body, "\"a\"", &[Answer::status("500 Internal Server Error", "Retry-After: 0\r\n")]);
    failed(fetch(&dir, &server, &["--retries", "2"]), &["HTTP 500", "3 attempts failed, 0 bytes are here"]);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn refusals_end_at_once() {
    for (status, names) in [
        ("404 Not Found", ["HTTP 404, there is no such file", "--base-url"]),
        ("401 Unauthorized", ["HTTP 401, access denied", "a token"]),
        ("403 Forbidden", ["HTTP 403, access denied", "a token"]),
        ("400 Bad Request", ["HTTP 400, expected 200 or 206", "check the address"]),
    ] {
        let dir = Dir::new();
        let server = Server::new(&body(), "\"a\"", &[Answer::status(status, "")]);
        failed(fetch(&dir, &server, &[]), &names);
        assert_eq!(server.requests().len(), 1, "{status}");
        assert!(!dir.path("sets").join(NAME).exists());
    }
}

#[test]
fn a_redirect_is_followed() {
    let (dir, body) = (Dir::new(), body());
    let server = Server::new(&body, "\"a\"", &[Answer::status("302 Found", "Location: /elsewhere\r\n"), Answer::Right]);
    fetch(&dir, &server, &["--sha256", &sum(&body)]).good();
    whole(&dir, &body);
    assert!(server.requests()[1].starts_with("GET /elsewhere"), "{:?}", server.requests());
}

#[test]
fn a_file_of_the_wrong_size_or_checksum_does_not_stay() {
    let body = body();
    let left = |dir: &Dir| dir.files("sets").into_keys().filter(|name| name == NAME).count();
    let dir = Dir::new();
    let server = Server::new(&body, "\"a\"", &[Answer::Right]);
    // The size of the official file is known.
    failed(fetch(&dir, &server, &[]), &["got 800000 bytes, expected 2805274"]);
    assert_eq!(left(&dir), 0);
    let dir = Dir::new();
    failed(fetch(&dir, &server, &["--sha256", &"0".repeat(64)]), &["got sha256", &sum(&body), &"0".repeat(64), "thrown away"]);
    assert_eq!(dir.files("sets").into_keys().collect::<Vec<_>>(), [".gitignore"]);
}

#[test]
fn a_disk_that_refuses_is_named() {
    let dir = Dir::new();
    let server = Server::new(&body(), "\"a\"", &[Answer::Right]);
    dir.write("sets", "a file where the folder should be");
    fetch(&dir, &server, &["--sha256", "any"]).refused(&["sets is no folder"]);
    #[cfg(target_os = "linux")]
    {
        let dir = Dir::new();
        std::fs::create_dir(dir.path("sets")).unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path("sets/locomo10.json.part")).unwrap();
        failed(fetch(&dir, &server, &["--sha256", "any"]), &["the disk is full", "run it again to go on"]);
    }
}

#[test]
fn nobody_answers() {
    let dir = Dir::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Server::absent(port);
    failed(fetch(&dir, &server, &["--retries", "1"]), &["2 attempts failed, 0 bytes are here"]);
}
