//! From located nodes to typed values, all problems at once: owns the traits
//! [`Read`] and [`Leaf`], the place that goes with a value ([`Located`]) and
//! what is said about a value that does not fit. It must not know any key.

use super::expand::{expand, has_variable};
use super::print::Rendered;
use super::problem::{Problem, Problems, Span, quoted};
use super::schema::Definitions;
use super::yaml::{self, Kind, Node};
use serde_json::Value;
use std::borrow::Cow;
use std::ops::Deref;

/// A value and its place in the file. Equality is that of the values: the same
/// configuration laid out differently is the same configuration.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its place; for a default that of the map context it.
    pub at: Span,
}

impl<T> Located<T> {
    /// Whether the file gives this value of the map `context` it, rather than
    /// it being a default.
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

/// What a configuration is made of: read from a node, described by a schema,
/// shown as YAML.
pub trait Read: Sized {
    /// The value, or `None` after its problems were told to the reader.
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self>;

    /// The JSON Schema of what [`Read::read`] accepts.
    fn schema(definitions: &mut Definitions) -> Value;

    /// What reads back as the same value.
    fn render(&self) -> Rendered;
}

/// A value that is one text of the file.
pub trait Leaf: Sized {
    /// What it is, for "expected …": "a duration such as `5s`".
    fn what() -> Cow<'static, str>;

    /// Parses the text, its variables expanded.
    fn parse(text: &str) -> Result<Self, Invalid>;

    /// The JSON Schema of the text.
    fn schema() -> Value;

    /// The text that reads back as the same value.
    fn render(&self) -> String;
}

impl<T: Leaf> Read for T {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        cx.parse(node, &T::what(), T::parse)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        definitions.or_variable(T::schema())
    }

    fn render(&self) -> Rendered {
        Rendered::Text(Leaf::render(self))
    }
}

/// Why a text does not fit. The text may be the value of a variable, so a
/// invalid does not hold it: `{}` in the message stands for the text as it
/// is in the file, and a `fix` made from it is dropped if it held a variable.
#[derive(Debug)]
pub struct Invalid {
    message: Cow<'static, str>,
    help: Option<Cow<'static, str>>,
    fix: Option<String>,
}

impl Invalid {
    /// A invalid; `{}` stands for the text.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            help: None,
            fix: None,
        }
    }

    /// What to write instead, made without a look at the text.
    pub fn help(mut self, help: impl Into<Cow<'static, str>>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What to write instead, made from the text; it wins over the help.
    pub fn fix(mut self, fix: impl Into<Option<String>>) -> Self {
        self.fix = fix.into();
        self
    }

    fn into_problem(self, at: Span, written: &str) -> Problem {
        let message = self.message.replacen("{}", &quoted(written), 1);
        let fix = self.fix.filter(|_| !has_variable(written));
        let help = fix.or_else(|| self.help.map(Cow::into_owned));
        Problem {
            help,
            ..Problem::error(at, message)
        }
    }
}

/// Goes through the tree with what every value needs: the environment, and
/// the list of problems.
pub struct Reader<'e> {
    env: &'e dyn Fn(&str) -> Option<String>,
    problems: Problems,
}

impl<'e> Reader<'e> {
    /// A reader that expands variables from `env` and adds to `problems`.
    pub fn new(env: &'e dyn Fn(&str) -> Option<String>, problems: Problems) -> Self {
        Self { env, problems }
    }

    /// Everything that was wrong.
    pub fn into_problems(self) -> Problems {
        self.problems
    }

    /// Tells a problem.
    pub fn error(&mut self, at: Span, message: impl Into<String>) -> &mut Problem {
        self.problems.error(at, message)
    }

    /// Tells that a node has the wrong shape.
    pub fn unexpected(&mut self, node: &Node, expected: &str) -> &mut Problem {
        self.error(
            node.at,
            format!("expected {expected}, found {}", node.name()),
        )
    }

    /// Parses a single value after its variables are expanded.
    pub fn parse<T>(
        &mut self,
        node: &Node,
        what: &str,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        let Kind::Scalar { text, .. } = &node.kind else {
            self.unexpected(node, what);
            return None;
        };
        match expand(text, self.env).and_then(|expanded| parse(&expanded)) {
            Ok(value) => Some(value),
            Err(invalid) => {
                self.problems.push(invalid.into_problem(node.at, text));
                None
            }
        }
    }

    /// The expanded text of a single value, to choose between forms; `None`
    /// for other nodes and for texts that do not expand, without a problem.
    pub fn peek(&self, node: &Node) -> Option<String> {
        match &node.kind {
            Kind::Scalar { text, .. } => expand(text, self.env).ok(),
            _ => None,
        }
    }

    /// Reads a value with its place.
    pub fn located<T: Read>(&mut self, node: &Node) -> Option<Located<T>> {
        T::read(node, self).map(|value| Located { value, at: node.at })
    }

    /// Reads every node, so that each tells its problems, before any missing
    /// one makes the whole missing.
    pub fn all<T: Read>(&mut self, nodes: &[Node]) -> Option<Vec<Located<T>>> {
        let read: Vec<_> = nodes.iter().map(|node| self.located(node)).collect();
        read.into_iter().collect()
    }

    /// Reads a default, given as the text a file would hold.
    pub fn default<T: Read>(&mut self, text: &str, at: Span) -> Option<Located<T>> {
        let node = yaml::parse(text, &mut self.problems)?;
        self.located(&node.moved(at))
    }
}

/// The nearest of some known words, if it is near enough to be meant.
pub fn nearest<'w>(text: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    const LONGEST: usize = 64;
    if text.len() > LONGEST {
        return None;
    }
    // Versions are never mistyped into one another.
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
