//! The rendering of problems.

use super::super::reader::problem::Span;
use super::super::{Problems, read};
use super::{SMALL, no_variables, only};

#[test]
fn a_problem_is_drawn_with_its_line_and_a_caret() {
    let text = SMALL.replace("passthrough", "passthru");
    let (_, problems) = read(&text, &no_variables);
    let expected = "\
error: unknown mode `passthru`
 --> config.yaml:5:30
  |
5 |       - { name: vault, mode: passthru, upstream: vault }
  |                              ^^^^^^^^ did you mean `passthrough`?
";
    assert_eq!(problems.render("config.yaml", &text), expected);
}

#[test]
fn a_long_help_goes_below_the_line() {
    let text = format!("{SMALL}\nlog: text\n\n\nmachines: {{}}\n");
    let (_, problems) = read(&text, &no_variables);
    let expected = "\
error: expected a map, found `text`
 --> config.yaml:9:6
  |
9 | log: text
  |      ^^^^ write it as a map, such as `{ level: info }`

error: unknown key `machines`
  --> config.yaml:12:1
   |
12 | machines: {}
   | ^^^^^^^^
   = help: known keys: `process`, `log`, `access_log`, `acme`, `vault`, `admin`, `fleet`, `endpoints`, `upstreams`
";
    assert_eq!(problems.render("config.yaml", &text), expected);
}

#[test]
fn tabs_wide_and_control_characters_do_not_misplace_the_caret() {
    let text = "log:\t{ \"漢字\": a, \"e\u{301}\u{1b}\u{202e}\": b, level: x }\n";
    let mut problems = Problems::default();
    let column = text.chars().take_while(|char| *char != 'x').count() + 1;
    problems
        .error(
            Span {
                line: 1,
                column,
                len: 1,
            },
            "here\u{7}",
        )
        .help("so");
    let expected = "\
error: here\\u{7}
 --> f\\u{a}:1:45
  |
1 | log:    { \"漢字\": a, \"e\u{301}\\u{1b}\\u{202e}\": b, level: x }
  |                                                   ^ so
";
    let drawn = problems.render("f\n", text);
    let column_line = expected.replace(":1:45", &format!(":1:{column}"));
    assert_eq!(drawn, column_line);
}

#[test]
fn a_long_line_is_cut_around_the_caret() {
    let text = format!("log: {{ {}level: x }}\n", "          ".repeat(100));
    let (_, problems) = read(&text, &no_variables);
    let drawn = problems.render("f", &text);
    assert!(
        drawn.lines().all(|line| line.chars().count() < 200),
        "{drawn}"
    );
    let of_level: Vec<_> = drawn
        .lines()
        .skip_while(|line| !line.starts_with("error: unknown level"))
        .collect();
    let at = |needle: char, line: usize| of_level[line].chars().position(|char| char == needle);
    assert_eq!(at('x', 3), at('^', 4));
}

#[test]
fn places_count_the_same_with_windows_line_ends_and_a_byte_order_mark() {
    let text = format!(
        "\u{feff}{}",
        SMALL.replace("passthrough", "x").replace('\n', "\r\n")
    );
    assert!(only(&text).starts_with("f:5:30: error: unknown mode `x`"));
    let (_, problems) = read(&text, &no_variables);
    assert!(
        problems
            .render("f", &text)
            .contains("\n5 |       - { name: vault")
    );
}
