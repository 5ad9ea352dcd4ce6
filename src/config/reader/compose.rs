//! Builds the tree of a file: YAML syntax with anchors, aliases and `<<`, and the limits that keep them
//! harmless. Knows no key.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use granit_parser::{Event, Options, Parser, ScalarStyle, StructureStyle};

use super::problem::{Problem, Problems, Span, quoted};
use super::syntax::syntax_problem;
use super::yaml::{Key, Kind, Node, text_weight};

const MAX_BYTES: usize = 4 << 20;
/// Nodes that the file spells out: 10 000 routes with certificates of their own have a third of them.
const MAX_NODES: usize = 500_000;
/// Nodes that anchors and aliases copy, each for every use.
const MAX_COPIES: usize = 100_000;
const MAX_DEPTH: usize = 64;

/// Reads the single document of a text. Duplicate keys are collected; an error that breaks the tree ends
/// the reading with one problem.
pub fn parse(text: &str, problems: &mut Problems) -> Option<Node> {
    if text.len() > MAX_BYTES {
        let most = MAX_BYTES >> 20;
        problems.error(None, format!("the file is larger than {most} MiB"));
        return None;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut composer = Composer {
        stack: Vec::new(),
        root: None,
        documents: 0,
        anchors: HashMap::new(),
        written: 0,
        copied: 0,
        problems,
    };
    let mut options = Options::default();
    options.set_emit_comments(false);
    for event in Parser::new_from_str_with_options(text, options) {
        let step = match event {
            Ok((event, span)) => composer.take(event, span),
            Err(error) => Err(syntax_problem(&error, text)),
        };
        if let Err(problem) = step {
            composer.problems.push(problem);
            return None;
        }
    }
    composer.root
}

/// Builds the tree from the events of the parser, without recursion.
struct Composer<'p> {
    stack: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    anchors: HashMap<usize, Node>,
    /// The weight of the nodes that the file spells out.
    written: usize,
    /// The weight of their copies.
    copied: usize,
    problems: &'p mut Problems,
}

/// A list or map that is not closed yet.
struct Open {
    at: Span,
    flow: bool,
    anchor: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map(OpenMap),
}

#[derive(Default)]
struct OpenMap {
    entries: Vec<(Key, Node)>,
    names: HashMap<String, Span>,
    /// Whether a key was rejected.
    incomplete: bool,
    merged: Vec<Node>,
    pending: Option<Pending>,
}

/// What to do with the next value of a map.
enum Pending {
    Entry(Key),
    Merge,
    /// Its key was rejected.
    Drop,
}

impl Composer<'_> {
    fn take(&mut self, event: Event<'_>, span: granit_parser::Span) -> Result<(), Problem> {
        let at = place(&span);
        if let Some(tag) = event.tag() {
            let message = format!(
                "the YAML tag {} has no meaning here",
                quoted(&tag.original())
            );
            return Err(Problem::error(at, message));
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let mut problem = Problem::error(at, "a second YAML document in the same file");
                    problem.help("leave `---` out: the configuration is one document");
                    return Err(problem);
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, _) => {
                self.spend(text_weight(&text), at)?;
                let plain = style == ScalarStyle::Plain;
                let kind = match &*text {
                    "" | "~" | "null" | "Null" | "NULL" if plain => Kind::Null,
                    _ => Kind::Scalar {
                        text: text.into_owned(),
                        plain,
                    },
                };
                self.finish(Node { at, kind }, anchor)
            }
            Event::SequenceStart(style, anchor, _) => {
                self.open(at, style, anchor, Items::List(Vec::new()))
            }
            Event::MappingStart(style, anchor, _) => {
                self.open(at, style, anchor, Items::Map(OpenMap::default()))
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at),
            Event::Alias(anchor) => self.alias(at, anchor),
            _ => Ok(()),
        }
    }

    fn spend(&mut self, weight: usize, at: Span) -> Result<(), Problem> {
        self.written = self.written.saturating_add(weight);
        if self.written <= MAX_NODES {
            return Ok(());
        }
        let message = format!("the file has more than {MAX_NODES} values");
        Err(Problem::error(at, message))
    }

    fn spend_copy(&mut self, weight: usize, at: Span) -> Result<(), Problem> {
        self.copied = self.copied.saturating_add(weight);
        if self.copied <= MAX_COPIES {
            return Ok(());
        }
        let mut problem = Problem::error(
            at,
            format!("anchors and aliases repeat more than {MAX_COPIES} values"),
        );
        problem.help("aliases multiply what they repeat: use fewer of them");
        Err(problem)
    }

    fn open(
        &mut self,
        at: Span,
        style: StructureStyle,
        anchor: usize,
        items: Items,
    ) -> Result<(), Problem> {
        self.spend(1, at)?;
        check_depth(self.stack.len() + 1, at)?;
        self.stack.push(Open {
            at,
            flow: style == StructureStyle::Flow,
            anchor,
            items,
        });
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), Problem> {
        let Some(Open {
            mut at,
            flow,
            anchor,
            items,
        }) = self.stack.pop()
        else {
            return Ok(());
        };
        if flow && end.line == at.line {
            at.len = (end.column + end.len).saturating_sub(at.column);
        }
        let kind = match items {
            Items::List(items) => Kind::List(items),
            Items::Map(map) => {
                if let (false, Some((first, _))) = (flow, map.entries.first()) {
                    at = first.at;
                }
                if map.incomplete {
                    self.problems.mark_incomplete(at);
                }
                Kind::Map(map.with_merged(self.problems))
            }
        };
        self.finish(Node { at, kind }, anchor)
    }

    fn alias(&mut self, at: Span, anchor: usize) -> Result<(), Problem> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(Problem::error(
                at,
                "this alias refers to a node that contains it",
            ));
        };
        let (weight, depth) = node.measure();
        self.spend_copy(weight, at)?;
        check_depth(self.stack.len() + depth, at)?;
        self.deliver(node);
        Ok(())
    }

    /// Completes a node: stores it if it has an anchor, and adds it to its parent.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor > 0 {
            self.spend_copy(node.measure().0, node.at)?;
            self.anchors.insert(anchor, node.clone());
        }
        self.deliver(node);
        Ok(())
    }

    fn deliver(&mut self, mut node: Node) {
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return;
        };
        let map = match &mut open.items {
            Items::List(items) => return items.push(node),
            Items::Map(map) => map,
        };
        match map.pending.take() {
            None => map.pending = Some(map.key(node, self.problems)),
            Some(Pending::Entry(key)) => {
                if matches!(node.kind, Kind::Null) {
                    // An absent value has no useful span of its own.
                    node.at = key.at;
                }
                map.entries.push((key, node));
            }
            Some(Pending::Merge) => map.merged.push(node),
            Some(Pending::Drop) => {}
        }
    }
}

impl OpenMap {
    fn key(&mut self, node: Node, problems: &mut Problems) -> Pending {
        match node.kind {
            Kind::Scalar { text, plain: true } if text == "<<" => Pending::Merge,
            Kind::Scalar { text, .. } => match self.names.entry(text.clone()) {
                Entry::Vacant(free) => {
                    free.insert(node.at);
                    Pending::Entry(Key { at: node.at, text })
                }
                Entry::Occupied(first) => {
                    problems
                        .error(node.at, format!("{} is given twice", quoted(&text)))
                        .help("leave one of them out")
                        .also(*first.get(), "the first one");
                    self.incomplete = true;
                    Pending::Drop
                }
            },
            _ => {
                let problem =
                    problems.error(node.at, format!("expected a key, found {}", node.name()));
                if matches!(node.kind, Kind::List(_)) {
                    problem.help(
                        "a bare `[` begins a list: an IPv6 address with its port is put in quotes",
                    );
                }
                self.incomplete = true;
                Pending::Drop
            }
        }
    }

    /// The entries, with those of `<<` that the map does not have itself.
    fn with_merged(mut self, problems: &mut Problems) -> Vec<(Key, Node)> {
        for node in std::mem::take(&mut self.merged) {
            match node.kind {
                Kind::List(items) => {
                    for item in items {
                        self.merge(item, problems);
                    }
                }
                _ => self.merge(node, problems),
            }
        }
        self.entries
    }

    fn merge(&mut self, node: Node, problems: &mut Problems) {
        let Kind::Map(entries) = node.kind else {
            let message = format!("`<<` takes a map or a list of maps, found {}", node.name());
            problems.error(node.at, message);
            return;
        };
        for (key, value) in entries {
            if let Entry::Vacant(free) = self.names.entry(key.text.clone()) {
                free.insert(key.at);
                self.entries.push((key, value));
            }
        }
    }
}

fn check_depth(depth: usize, at: Span) -> Result<(), Problem> {
    if depth <= MAX_DEPTH {
        return Ok(());
    }
    Err(Problem::error(
        at,
        format!("nested deeper than {MAX_DEPTH} levels"),
    ))
}

/// The span of a value of several lines is its first character.
fn place(span: &granit_parser::Span) -> Span {
    let (start, end) = (span.start, span.end);
    let len = if start.line() == end.line() {
        end.col().saturating_sub(start.col())
    } else {
        1
    };
    Span {
        line: start.line(),
        column: start.col() + 1,
        len: len.max(1),
    }
}
