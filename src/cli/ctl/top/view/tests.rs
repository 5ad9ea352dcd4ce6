//! What the keys and filters do.

use super::*;

fn state(ids: &[&str]) -> News {
    let rows: Vec<_> = ids
        .iter()
        .map(|id| json!({ "id": id, "client": "192.0.2.1:1" }))
        .collect();
    News::State(Box::new(State {
        connections: json!({ "connections": rows }),
        ..State::default()
    }))
}

#[test]
fn a_filter_is_words_with_keys_and_a_word_alone_is_a_network_or_a_name() {
    let all = conditions("route=edge/vault older-than=10m 10.0.0.0/8 stage=relay");
    let expected = json!({ "route": "edge/vault", "older_than": 600.0, "source": "10.0.0.0/8", "stage": "relay" });
    assert_eq!(Value::Object(all), expected);
    assert_eq!(
        Value::Object(conditions("a.test")),
        json!({ "sni": "a.test" })
    );
    assert_eq!(
        Value::Object(conditions("idle_for=x")),
        json!({ "idle_for": "x" })
    );
    assert!(conditions("  ").is_empty());
}

#[test]
fn the_mark_stays_on_its_connection() {
    let mut view = View::default();
    view.learn(&state(&["1", "2", "3"]));
    view.press(Key::Down);
    view.learn(&state(&["0", "1", "2", "3"]));
    assert_eq!(view.row, 2);
    view.learn(&state(&["0"]));
    assert_eq!(view.row, 0);
}

#[test]
fn a_connection_is_ended_after_a_yes_alone() {
    let mut view = View::default();
    view.learn(&state(&["1", "2"]));
    view.press(Key::Down);
    for (answer, next) in [
        (Key::Enter, Next::Show),
        (Key::Char('n'), Next::Show),
        (Key::Escape, Next::Show),
        (Key::Char('y'), Next::Kill("2".to_owned())),
    ] {
        assert_eq!(view.press(Key::Char('k')), Next::Show);
        assert!(matches!(&view.prompt, Some(Prompt::Kill { id, .. }) if id == "2"));
        // One that moves meanwhile is not another one.
        view.learn(&state(&["2", "1"]));
        assert_eq!(view.press(answer), next);
        assert_eq!(view.prompt, None);
        view.learn(&state(&["1", "2"]));
    }
    view.press(Key::Tab);
    view.press(Key::Char('k'));
    assert_eq!(view.prompt, None, "there is no connection on this pane");
}

#[test]
fn letters_of_a_filter_are_no_commands() {
    let mut view = View::default();
    view.press(Key::Char('/'));
    for char in "sni=q.test".chars() {
        assert_eq!(view.press(Key::Char(char)), Next::Show);
    }
    view.press(Key::Backspace);
    assert_eq!(view.press(Key::Enter), Next::Ask);
    assert_eq!(view.query()["sni"], "q.tes");
    assert_eq!(view.press(Key::Escape), Next::Ask);
    assert!(view.query().get("sni").is_none());
    assert_eq!(view.press(Key::Char('q')), Next::Quit);
}
