//! A page of the documentation, as its blocks and what comments above them say.
//!
//! | comment above a block | meaning |
//! |---|---|
//! | `file: NAME` | the block is written to this file before the blocks after it run |
//! | `part of: PLACE` | a piece of a configuration, which is checked at this place of a whole one |
//! | `of: PROGRAM` | the block is a file of another program |
//! | `prints` | each line is in the output of the block before; `…` stands for anything |
//! | `fails` | its last command ends with another code than 0 |
//! | `wait: PORT PORT` | these ports of 127.0.0.1 are listened on before the next block runs |
//! | `needs: PROGRAM` | the page is run only where this program is installed |
//! | `origin: SERVICE at 127.0.0.1:PORT` | the test starts this service, and puts its port there |
//! | `not run: REASON` | nothing is run |
//!
//! A comment that begins with a line `<!-- test:` holds commands that readers do not need.

use std::fs;
use std::path::{Path, PathBuf};

/// A fenced block, or commands in a comment.
#[derive(Debug)]
pub struct Block {
    pub line: usize,
    pub language: String,
    pub text: String,
    pub marks: Vec<(String, String)>,
}

impl Block {
    pub fn mark(&self, name: &str) -> Option<&str> {
        let found = self.marks.iter().find(|(mark, _)| mark == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn is_run(&self) -> bool {
        let is_script = matches!(self.language.as_str(), "sh" | "test");
        is_script && self.mark("not run").is_none() && self.mark("file").is_none()
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page: the Markdown files at the top, below `docs` and in `certs`, by their path from the top.
pub fn pages() -> Vec<String> {
    let mut found = Vec::new();
    let top = fs::read_dir(root()).unwrap();
    found.extend(top.map(|entry| entry.unwrap().path()));
    found.retain(|path| path.is_file());
    for directory in ["docs", "certs"] {
        collect(&root().join(directory), &mut found);
    }
    let is_page = |path: &PathBuf| path.extension().is_some_and(|end| end == "md");
    let names = found.iter().filter(|path| is_page(path)).map(|path| {
        let name = path.strip_prefix(root()).unwrap();
        name.display().to_string()
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, found),
            false => found.push(path),
        }
    }
}

pub fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|e| panic!("{page}: {e}"))
}

/// The text in lines, those of fenced blocks left empty.
pub fn prose(text: &str) -> Vec<&str> {
    let mut is_inside = false;
    let visible = text.lines().map(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_inside ^= is_fence;
        if is_inside || is_fence { "" } else { line }
    });
    visible.collect()
}

pub fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut marks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let (language, end) = if line == "<!-- test:" {
            ("test", "-->")
        } else if let Some(info) = line.trim_start().strip_prefix("```") {
            (info, "```")
        } else {
            match mark(line) {
                Some(mark) => marks.push(mark),
                None if line.trim().is_empty() => {}
                None => marks.clear(),
            }
            continue;
        };
        let inside = lines.by_ref().map(|(_, line)| line);
        let inside = inside.take_while(|line| line.trim() != end);
        let text: String = inside.map(|line| format!("{line}\n")).collect();
        found.push(Block {
            line: number + 1,
            language: language.to_owned(),
            text,
            marks: std::mem::take(&mut marks),
        });
    }
    found
}

/// `<!-- name: value -->` or `<!-- name -->`.
fn mark(line: &str) -> Option<(String, String)> {
    const NAMES: [&str; 9] = [
        "file", "part of", "of", "prints", "fails", "wait", "needs", "origin", "not run",
    ];
    let inside = line.trim().strip_prefix("<!-- ")?.strip_suffix(" -->")?;
    let (name, value) = inside.split_once(": ").unwrap_or((inside, ""));
    NAMES
        .contains(&name)
        .then(|| (name.to_owned(), value.to_owned()))
}

#[test]
fn a_block_has_the_comments_right_above_it() {
    let text = "<!-- fails -->\ntext\n<!-- file: a -->\n\n```yaml\nb: c\n```\n\n<!-- test:\nrun\n-->\n```sh\nd\n```\n";
    let blocks = blocks(text);
    let found: Vec<_> = blocks
        .iter()
        .map(|block| (block.line, block.language.as_str(), block.text.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (5, "yaml", "b: c\n"),
            (9, "test", "run\n"),
            (12, "sh", "d\n")
        ]
    );
    assert_eq!(blocks[0].mark("file"), Some("a"));
    assert_eq!(blocks[0].mark("fails"), None);
    assert!(!blocks[0].is_run() && blocks[1].is_run() && blocks[2].is_run());
}

#[test]
fn every_block_is_run_or_says_why_not() {
    let mut broken = Vec::new();
    for page in pages() {
        for block in blocks(&read(&page)) {
            let is_checked = match block.language.as_str() {
                "sh" | "test" | "yaml" => true,
                // Output, and pieces of files that are shown as they are.
                "text" | "json" | "promql" => true,
                _ => block.mark("file").is_some() || block.mark("not run").is_some(),
            };
            let reason = block.mark("not run").is_none_or(|why| !why.is_empty());
            if !is_checked || !reason {
                broken.push(format!("{page}:{}: {}", block.line, block.language));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
