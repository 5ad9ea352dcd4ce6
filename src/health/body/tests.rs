//! Texts in bodies.

use super::*;

/// The verdict on a response that comes in pieces of this length and then ends.
fn verdict(response: &[u8], wanted: &str, piece: usize) -> Verdict {
    let mut search = BodySearch::new(wanted);
    for piece in response.chunks(piece) {
        if let Some(verdict) = search.take(piece) {
            return verdict;
        }
    }
    search.end()
}

fn fails(response: &str, wanted: &str) -> String {
    match verdict(response.as_bytes(), wanted, 7) {
        Verdict::Fail(why) => why.to_string(),
        other => panic!("{other:?} for {response:?}"),
    }
}

#[test]
fn a_text_is_found_however_the_answer_is_cut_and_framed() {
    let head = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Good\r\n";
    for body in [
        "Content-Length: 9\r\n\r\nall is ok",
        "\r\nall is ok",
        "Transfer-Encoding: Chunked\r\n\r\n4;x=y\r\nall \r\n5\r\nis ok\r\n0\r\n\r\n",
    ] {
        let response = format!("{head}{body}");
        for piece in 1..response.len() {
            let found = verdict(response.as_bytes(), "l is o", piece);
            assert_eq!(found, Verdict::Pass, "{body:?} in pieces of {piece}");
        }
    }
}

#[test]
fn an_answer_without_the_text_fails_at_its_end() {
    let head = "HTTP/1.1 200 Good\r\n";
    for body in [
        // What follows is no part of the body.
        "Content-Length: 3\r\n\r\nbadok",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\nok",
        "X: ok\r\nContent-Length: 0\r\n\r\nok",
        "\r\nbad",
    ] {
        let why = fails(&format!("{head}{body}"), "ok");
        assert_eq!(why, "the body does not hold the text of `expect_body`");
    }
    let why = fails("HTTP/1.1 204 Good\r\nContent-Length: 2\r\n\r\nok", "ok");
    assert!(why.contains("does not hold"), "{why}");
}

#[test]
fn a_body_is_looked_at_up_to_its_bound() {
    let long = |before: usize| {
        let body = "x".repeat(before) + "ok";
        format!("HTTP/1.1 200 Good\r\n\r\n{body}{}", "x".repeat(BODY_MAX))
    };
    let inside = verdict(long(BODY_MAX - 2).as_bytes(), "ok", 1000);
    assert_eq!(inside, Verdict::Pass);
    let why = fails(&long(BODY_MAX - 1), "ok");
    assert!(why.ends_with("in its first 64 KiB"), "{why}");
}

#[test]
fn malformed_and_cut_answers_fail() {
    let head = "HTTP/1.1 200 Good\r\n";
    for (rest, why) in [
        ("Content-Length: 9\r\n\r\nshort", "before its whole body"),
        ("Content-Length: 9", "before its whole body"),
        ("Content-Length: -1\r\n\r\n", "malformed"),
        ("Transfer-Encoding: gzip\r\n\r\n", "coding"),
        (
            "Transfer-Encoding: chunked\r\n\r\nok\r\n",
            "a chunk has no size",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n+5\r\n",
            "a chunk has no size",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nba",
            "before its whole body",
        ),
    ] {
        let said = fails(&format!("{head}{rest}"), "ok");
        assert!(said.contains(why), "{said} for {rest:?}");
    }
    let endless = format!("{head}X: {}", "x".repeat(2 * HEAD_MAX));
    assert!(fails(&endless, "ok").contains("16 KiB"));
    let sizes = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{}",
        "0".repeat(300)
    );
    assert!(fails(&sizes, "ok").contains("a chunk has no size"));
}
