//! Hostile files, and secrets that must not leak.

use std::time::Duration;

use super::super::{Problems, parse, read};
use super::{FULL, lines, no_variables, only, some_variables};
use crate::config::reader::print;
use crate::config::reader::read::Reader;
use crate::config::reader::rendered::Rendered;
use crate::config::reader::yaml;

#[test]
fn any_text_survives_printing() {
    let odd = [
        "~", "null", "Null", "-", "- a", "a: b", "a #b", "*a", "&a", "!a", "%a", "@a", "`a",
    ];
    let odd = odd.into_iter().map(str::to_owned);
    let more = [
        "${A}",
        "$$",
        "$",
        "\"",
        "'",
        "\\",
        " a ",
        "0600",
        "1.2",
        "yes",
        "ä漢😀",
        "a:",
        "<<",
    ];
    let every = (1..0x3000_u32).chain([0xfeff, 0xfffe, 0xffff, 0x1f600, 0xe0001, 0x10ffff]);
    let every = every
        .filter_map(char::from_u32)
        .map(|char| format!("a{char}b"));
    for text in odd.chain(more.into_iter().map(str::to_owned)).chain(every) {
        let rendered = Rendered::Map(vec![
            ("a".to_owned(), Rendered::Text(text.clone())),
            (
                "b".to_owned(),
                Rendered::List(vec![Rendered::Text(text.clone())]),
            ),
        ]);
        let printed = print::print(&rendered);
        let mut problems = Problems::default();
        let node = parse(&printed, &mut problems).unwrap_or_else(|| panic!("{printed}"));
        let yaml::Kind::Map(entries) = node.kind else {
            panic!("{printed}")
        };
        let reader = Reader::new(&no_variables, problems);
        assert_eq!(reader.peek(&entries[0].1), Some(text.clone()), "{printed}");
        let yaml::Kind::List(items) = &entries[1].1.kind else {
            panic!("{printed}")
        };
        assert_eq!(reader.peek(&items[0]), Some(text), "{printed}");
    }
}

#[test]
fn bombs_are_refused_quickly() {
    let started = cpu_time();
    let mut laughs = String::from("x-0: &a0 [lol, lol]\n");
    for level in 1..40 {
        let last = level - 1;
        laughs += &format!("x-{level}: &a{level} [*a{last}, *a{last}, *a{last}, *a{last}]\n");
    }
    assert!(only(&laughs).contains("more than 100000 values"));
    let long = format!(
        "x-a: &a {}\nx-b: [{}]\n",
        "y".repeat(1 << 20),
        "*a, ".repeat(10_000)
    );
    assert!(only(&long).contains("more than 100000 values"));
    let merges = format!(
        "x-a: &a {{ {} }}\nx-b:\n",
        (0..900).map(|n| format!("k{n}: , ")).collect::<String>()
    );
    let merges = merges + &"  - { <<: *a }\n".repeat(200);
    assert!(only(&merges).contains("more than 100000 values"));
    let deep = format!("x: {}{}", "[".repeat(100), "]".repeat(100));
    assert!(
        only(&deep).ends_with("nested deeper than 64 levels"),
        "{}",
        only(&deep)
    );
    assert!(only(&format!("x: {}", "[".repeat(100_000))).contains("recursion limit"));
    let mut chain = String::from("x-0: &a0 [1]\n");
    for level in 1..200 {
        chain += &format!("x-{level}: &a{level} [[[*a{}]]]\n", level - 1);
    }
    assert!(only(&chain).ends_with("nested deeper than 64 levels"));
    assert_eq!(
        only(&"#".repeat((4 << 20) + 1)),
        "f: error: the file is larger than 4 MiB"
    );
    assert_eq!(
        only(&format!("x-a: [{}]\n", "1, ".repeat(600_000))),
        "f:1:1499998: error: the file has more than 500000 values"
    );
    let unknown: String = (0..40_000).map(|n| format!("k{n}: 1\n")).collect();
    assert_eq!(lines(&unknown).len(), 200);
    // Other tests may keep the cores busy, so the time of the clock says nothing.
    assert!(cpu_time() - started < Duration::from_secs(20));
}

/// The time that this thread has spent on a core.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let spent = stat.split_whitespace().next().unwrap();
    Duration::from_nanos(spent.parse().unwrap())
}

#[test]
fn the_value_of_a_variable_is_never_shown() {
    let keys = [
        "log: { level: '${SECRET}', output: '${SECRET}' }",
        "process: { workers: '${SECRET}', drain: { stop: '${SECRET}', removed: '5${SECRET}' } }",
        "access_log: { events: ['${SECRET}'], format: '${SECRET}' }",
        "endpoints: [{ name: '${SECRET} ', listen: ['${SECRET}', '${SECRET}:1:', '${SECRET}:x'] }]",
        "upstreams: { a: { origins: ['${SECRET}', '${SECRET}:0', { address: '${SECRET}' }] } }",
    ];
    let text = keys.join("\n");
    let (_, problems) = read(&text, &some_variables);
    let drawn = problems.render("f", &text);
    assert!(problems.sorted().len() >= 12, "{drawn}");
    assert!(!drawn.contains("hunter2"), "{drawn}");
    // Hints that are made from the value must not leak it either.
    let digits = "process: { drain: { stop: '${PORT}' } }\nendpoints: [{ listen: '${PORT}' }]";
    let (_, problems) = read(digits, &some_variables);
    assert!(!problems.render("f", digits).contains("8443"));
}

#[test]
fn no_text_makes_the_reader_panic() {
    let pieces: Vec<&[u8]> = vec![
        b"\n",
        b"\r",
        b"\t",
        b"- ",
        b": ",
        b"{",
        b"}",
        b"[",
        b"]",
        b"&a ",
        b"*a",
        b"<<: ",
        b"${",
        b"}",
        b"$",
        b"\"",
        b"'",
        b"|\n",
        b">-\n",
        b"# ",
        b"---\n",
        b"...\n",
        b"%YAML 1.2\n",
        b"!!str ",
        b"? ",
        b"~",
        b"0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b"99999999999999999999",
        b"  ",
    ];
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for round in 0..4000 {
        let mut bytes: Vec<u8> = if round % 4 == 0 {
            (0..dice.below(200))
                .map(|_| u8::try_from(dice.below(256)).unwrap())
                .collect()
        } else {
            FULL.into()
        };
        for _ in 0..=dice.below(6) {
            let at = dice.below(bytes.len());
            let end = (at + dice.below(12)).min(bytes.len());
            let piece = pieces[dice.below(pieces.len())];
            bytes.splice(
                at..if dice.below(2) == 0 { at } else { end },
                piece.iter().copied(),
            );
        }
        let text = String::from_utf8_lossy(&bytes);
        let (spec, problems) = read(&text, &some_variables);
        problems.render("f", &text);
        if let Some(spec) = spec {
            let printed = super::super::print(&spec);
            assert_eq!(
                read(&printed, &some_variables).0.as_ref(),
                Some(&spec),
                "{printed}"
            );
        } else {
            assert!(problems.has_errors());
        }
    }
}

/// A small, repeatable random generator; quality does not matter here.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap()
    }
}
