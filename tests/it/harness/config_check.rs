//! Configurations for `reseal check`.

use std::path::PathBuf;

use super::identity::write_authorities;
use super::{Directory, Finished, Identity, pki, reseal};

/// A configuration of one passthrough route, with more keys of its endpoint and of the route.
pub fn one_route(endpoint: &str, route: &str) -> String {
    format!(
        "endpoints:
  - name: edge
    listen: 127.0.0.1:0
    {endpoint}
    routes:
      - name: one
        match: {{ sni: a.test }}
        mode: passthrough
        upstream: up
        {route}
upstreams: {{ up: {{ origins: [127.0.0.1:9] }} }}
"
    )
}

/// A directory with a configuration that may be wrong, and the files it names.
pub struct ConfigCheck {
    directory: Directory,
    text: String,
}

impl ConfigCheck {
    /// Uses this text, beside the files of the CAs and a valid certificate for `a.test` and `*.wild.test`
    /// in `good.pem` and `good.key`, if it names them.
    pub fn new(text: &str) -> Self {
        let directory = Directory::new();
        write_authorities(&directory, text);
        directory.write("config.yaml", text);
        let names_it = text.contains("good.");
        let text = text.to_owned();
        let check = Self { directory, text };
        match names_it {
            true => check.with_identity("good", &pki().edge(&["a.test", "*.wild.test"])),
            false => check,
        }
    }

    pub fn with_identity(self, stem: &str, identity: &Identity) -> Self {
        self.with_file(&format!("{stem}.pem"), &identity.cert, 0o644)
            .with_file(&format!("{stem}.key"), &identity.key, 0o600)
    }

    pub fn with_file(self, name: &str, contents: impl AsRef<[u8]>, mode: u32) -> Self {
        self.directory.write_with_mode(name, contents, mode);
        self
    }

    pub fn path(&self) -> PathBuf {
        self.directory.join("config.yaml")
    }

    pub fn check(&self, more: &[&str]) -> Finished {
        self.command("check", more)
    }

    /// Explains a client of the endpoint `edge`.
    pub fn explain(&self, more: &[&str]) -> Finished {
        self.command("explain", &[&["--endpoint", "edge"], more].concat())
    }

    pub fn run(&self) -> Finished {
        self.command("run", &[])
    }

    fn command(&self, command: &str, more: &[&str]) -> Finished {
        let path = self.path().display().to_string();
        let mut arguments = vec![command, "--config", &path];
        arguments.extend(more);
        reseal(&arguments)
    }

    /// Expects exactly one error, which points at `about` in the text and contains these words.
    #[track_caller]
    pub fn must_report(&self, about: &str, words: &[&str]) {
        let checked = self.check(&[]);
        checked.must_exit_with(1);
        self.must_contain(&checked, about, words);
        let errors = checked
            .text()
            .lines()
            .filter(|line| line.starts_with("error: "))
            .count();
        assert_eq!(
            errors,
            1,
            "one mistake is reported once:\n{}",
            checked.text()
        );
        // `run` reports the same.
        let ran = self.run();
        ran.must_exit_with(2);
        self.must_contain(&ran, about, words);
    }

    /// Expects a warning, which is an error only with `--strict`.
    #[track_caller]
    pub fn must_warn(&self, about: &str, words: &[&str]) {
        let checked = self.check(&[]);
        checked.must_exit_with(0);
        self.must_contain(&checked, about, words);
        checked.must_print("warning: ");
        self.check(&["--strict"]).must_exit_with(1);
    }

    #[track_caller]
    pub fn must_be_good(&self) {
        let checked = self.check(&["--strict"]);
        checked.must_exit_with(0);
        assert_eq!(checked.stderr, "");
    }

    #[track_caller]
    fn must_contain(&self, finished: &Finished, about: &str, words: &[&str]) {
        let (line, column, text) = self.position(about);
        finished.must_print(&format!("{}:{line}:{column}", self.path().display()));
        finished.must_print(&format!("{line} | {text}"));
        // The caret is under `about`, after the gutter and one space.
        let caret = format!("{}^", " ".repeat(column));
        let drawn = |line: &str| {
            line.split_once('|')
                .is_some_and(|(_, rest)| rest.starts_with(&caret))
        };
        assert!(
            finished.text().lines().any(drawn),
            "no caret under {about:?}:\n{}",
            finished.text()
        );
        for word in words {
            finished.must_print(word);
        }
    }

    /// Line and column of `about`, counted from 1, and the whole line.
    #[track_caller]
    fn position(&self, about: &str) -> (usize, usize, &str) {
        let at = self
            .text
            .find(about)
            .unwrap_or_else(|| panic!("{about:?} is not in the text"));
        let (before, _) = self.text.split_at(at);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let text = self.text.lines().nth(line - 1).unwrap();
        (line, self.text[start..at].chars().count() + 1, text)
    }
}
