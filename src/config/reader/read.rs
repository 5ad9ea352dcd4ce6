//! From located nodes to typed values, all problems at once: the traits [`Read`] and [`Leaf`], the span
//! of a value ([`Located`]), and the errors about values that do not fit. Knows no key.

use std::borrow::Cow;
use std::ops::Deref;

use serde_json::Value;

use super::compose::parse;
use super::definitions::Definitions;
use super::expand::{expand, has_variable, variables};
use super::invalid::Invalid;
use super::problem::{Expansion, Problem, Problems, Span, quoted};
use super::reference::{Form, Reference};
use super::rendered::Rendered;
use super::yaml::{Kind, Node};

/// A value with its span in the file. Equality compares values only: the same configuration with another
/// layout is equal.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its span; a default has that of its map.
    pub at: Span,
    /// The text of the file, if it holds a variable. Boxed, because few values have one.
    pub written: Option<Box<Written>>,
}

/// A text of the file.
#[derive(Clone, Debug)]
pub struct Written(String);

impl<T: Read> Located<T> {
    /// The printed form, with variables as written in the file.
    pub fn render_as_written(&self) -> Rendered {
        match (self.value.render(), &self.written) {
            (Rendered::Text(value), Some(written)) => Rendered::Variable {
                value,
                written: written.0.clone(),
            },
            (rendered, _) => rendered,
        }
    }
}

impl<T> Located<T> {
    /// Whether the file gives this value of the map `context`, and it is not a default.
    pub fn given_in<U>(&self, context: &Located<U>) -> bool {
        self.at != context.at
    }
}

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Located<T> {}

/// A type that is read from a node, described by a schema, and printed as YAML.
pub trait Read: Sized {
    /// The value, or `None` after its errors were reported.
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self>;

    /// The JSON Schema of what [`Read::read`] accepts.
    fn schema(definitions: &mut Definitions) -> Value;

    /// The form of the value, for reference pages. Maps add their keys to `reference`.
    fn form(reference: &mut Reference) -> Form;

    /// The printed form, which reads back as the same value.
    fn render(&self) -> Rendered;

    /// The keys of the map that the value is, or may be.
    fn keys() -> &'static [&'static str] {
        &[]
    }

    /// The keys of the maps that the value holds by name.
    fn entry_keys() -> &'static [&'static str] {
        &[]
    }

    /// A map of this type, as an example.
    fn example() -> Option<&'static str> {
        None
    }
}

/// A value that is a single text in the file.
pub trait Leaf: Sized {
    /// What to do about a list or map in its place.
    const SINGLE: &'static str = "write a single value";

    /// What it is, for the message "expected …": "a duration such as `5s`".
    fn what() -> Cow<'static, str>;

    /// Parses the text, its variables expanded.
    fn parse(text: &str) -> Result<Self, Invalid>;

    /// The JSON Schema of the text.
    fn schema() -> Value;

    /// The form of the text, for reference pages.
    fn form() -> Form {
        Form::of(&Self::what())
    }

    /// The text that reads back as the same value.
    fn render(&self) -> String;
}

impl<T: Leaf> Read for T {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.kind, Kind::List(_) | Kind::Map(_)) {
            cx.unexpected(node, &T::what()).help(T::SINGLE);
            return None;
        }
        cx.parse(node, &T::what(), T::parse)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        definitions.or_variable(T::schema())
    }

    fn form(_: &mut Reference) -> Form {
        T::form()
    }

    fn render(&self) -> Rendered {
        Rendered::Text(Leaf::render(self))
    }
}

/// Reads a tree, with the environment and the list of problems.
pub struct Reader<'e> {
    env: &'e dyn Fn(&str) -> Option<String>,
    problems: Problems,
    /// The keys of the maps that are being read, outer maps first.
    maps: Vec<&'static [&'static str]>,
    /// What the file has to choose from under a key, for the message that the key is missing.
    choices: Vec<(&'static str, String)>,
}

impl<'e> Reader<'e> {
    /// A reader that expands variables from `env` and adds to `problems`.
    pub fn new(env: &'e dyn Fn(&str) -> Option<String>, problems: Problems) -> Self {
        Self {
            env,
            problems,
            maps: Vec::new(),
            choices: Vec::new(),
        }
    }

    /// Says what the file has to choose from under a key: names, quoted.
    pub fn choose_from(&mut self, key: &'static str, names: String) {
        self.choices.push((key, names));
    }

    /// What the file has to choose from under a key.
    pub(super) fn choices(&self, key: &str) -> Option<&str> {
        let found = self.choices.iter().find(|(known, _)| *known == key);
        found.map(|(_, names)| names.as_str())
    }

    /// Enters a map with these keys.
    pub(super) fn enter(&mut self, keys: &'static [&'static str]) {
        self.maps.push(keys);
    }

    /// Leaves the map that was entered last.
    pub fn leave(&mut self) {
        self.maps.pop();
    }

    /// Whether the current map is the outermost one.
    pub(super) fn is_at_top(&self) -> bool {
        self.maps.is_empty()
    }

    /// Whether a map around the current one has this key.
    pub(super) fn is_key_around(&self, key: &str) -> bool {
        self.maps.iter().any(|keys| keys.contains(&key))
    }

    /// Whether a key of the map at this span was rejected.
    pub(super) fn is_incomplete(&self, map: Span) -> bool {
        self.problems.is_incomplete(map)
    }

    /// Notes that a key of the map at this span was rejected.
    pub fn mark_incomplete(&mut self, map: Span) {
        self.problems.mark_incomplete(map);
    }

    /// All problems.
    pub fn into_problems(self) -> Problems {
        self.problems
    }

    /// Reads a value whose problem was reported: what else is wrong with it may follow from that.
    pub(super) fn quietly<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.problems.clone();
        let read = read(self);
        if read.is_none() {
            self.problems = before;
        }
        read
    }

    /// Reports an error.
    pub fn error(&mut self, at: Span, message: impl Into<String>) -> &mut Problem {
        self.problems.error(at, message)
    }

    /// Reports that a node has the wrong shape.
    pub fn unexpected(&mut self, node: &Node, expected: &str) -> &mut Problem {
        let found = match &node.kind {
            Kind::Scalar { text, .. } => quoted(text),
            _ => node.name().to_owned(),
        };
        self.error(node.at, format!("expected {expected}, found {found}"))
    }

    /// Parses a single value after expanding its variables.
    pub fn parse<T>(
        &mut self,
        node: &Node,
        what: &str,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        let Kind::Scalar { text, .. } = &node.kind else {
            let help = match node.is_null() {
                true => "write a value behind the key, or leave the key out",
                false => "write a single value",
            };
            self.unexpected(node, what).help(help);
            return None;
        };
        let expanded = expand(text, self.env);
        if let Ok(value) = &expanded
            && has_variable(text)
        {
            self.keep_expansions(node.at, text, value);
        }
        match expanded.and_then(|expanded| parse(&expanded)) {
            Ok(value) => Some(value),
            Err(invalid) => {
                self.problems
                    .push(invalid.into_problem(node.at, text, has_variable(text)));
                None
            }
        }
    }

    /// Keeps the values of a text and of each variable in it, which messages must not show.
    fn keep_expansions(&mut self, at: Span, text: &str, value: &str) {
        let whole = (text.to_owned(), value.to_owned());
        let all = std::iter::once(whole).chain(variables(text, self.env));
        let expansions = all.map(|(written, value)| Expansion { at, written, value });
        self.problems.expansions.extend(expansions);
    }

    /// The expanded text of a single value, to choose between forms; `None`, without an error, for other
    /// nodes and for texts that do not expand.
    pub fn peek(&self, node: &Node) -> Option<String> {
        match &node.kind {
            Kind::Scalar { text, .. } => expand(text, self.env).ok(),
            _ => None,
        }
    }

    /// Reads a value with its span.
    pub fn located<T: Read>(&mut self, node: &Node) -> Option<Located<T>> {
        T::read(node, self).map(|value| Located {
            value,
            at: node.at,
            written: node
                .text_with_variable()
                .map(|text| Box::new(Written(text.to_owned()))),
        })
    }

    /// Reads every node, so that each reports its errors; fails if one fails.
    pub fn all<T: Read>(&mut self, nodes: &[Node]) -> Option<Vec<Located<T>>> {
        let read: Vec<_> = nodes.iter().map(|node| self.located(node)).collect();
        read.into_iter().collect()
    }

    /// Reads a default, given as text of a file.
    pub fn default<T: Read>(&mut self, text: &str, at: Span) -> Option<Located<T>> {
        let node = parse(text, &mut self.problems)?;
        self.located(&node.moved(at))
    }
}

/// The nearest of some known words, if it is near enough.
pub fn nearest<'w>(text: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    const LONGEST: usize = 64;
    if text.len() > LONGEST {
        return None;
    }
    let words: Vec<_> = words.into_iter().collect();
    let parts = || {
        text.split(['-', '_', ' ', '.'])
            .map(str::to_ascii_lowercase)
    };
    let mut whole = words
        .iter()
        .filter(|word| parts().any(|part| part == **word));
    if let (Some(word), None) = (whole.next(), whole.next())
        && word.len() >= 4
    {
        return Some(word);
    }
    // A version is not a misspelling of another.
    let is_word = |word: &&str| word.starts_with(|char: char| char.is_ascii_alphabetic());
    let text = text.to_lowercase().replace('-', "_");
    let distance = |word: &str| strsim::damerau_levenshtein(&text, &word.replace('-', "_"));
    words
        .into_iter()
        .filter(is_word)
        .map(|word| (distance(word), word))
        .filter(|(distance, word)| *distance <= 1 + word.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}
