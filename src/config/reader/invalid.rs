//! Why a text of the file was rejected.

use std::borrow::Cow;

use super::problem::{Problem, Span, quoted};

/// Why a text was rejected. The text may be the value of a variable, so the message does not hold it:
/// `{}` stands for the text as written in the file, and a `fix` made from it is dropped if it has a
/// variable.
#[derive(Debug)]
pub struct Invalid {
    message: Cow<'static, str>,
    help: Option<Cow<'static, str>>,
    fix: Option<String>,
}

impl Invalid {
    /// An error; `{}` stands for the text.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            help: None,
            fix: None,
        }
    }

    /// A hint that does not depend on the text.
    pub fn help(mut self, help: impl Into<Cow<'static, str>>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A hint that is made from the text; it replaces the other.
    pub fn fix(mut self, fix: impl Into<Option<String>>) -> Self {
        self.fix = fix.into();
        self
    }

    /// A hint that is made from the text, if there is none yet.
    pub fn or_fix(mut self, fix: Option<String>) -> Self {
        self.fix = self.fix.or(fix);
        self
    }

    /// Adds a word to what the hint says to write.
    pub(super) fn or_word(mut self, word: &str) -> Self {
        let help = self.help.take();
        self.help = help.map(|help| match help.starts_with("write ") {
            true => format!("{help} or `{word}`").into(),
            false => help,
        });
        self
    }

    /// The problem at a span. `written` is the text of the file.
    pub(in crate::config) fn into_problem(
        self,
        at: Span,
        written: &str,
        has_variable: bool,
    ) -> Problem {
        let message = self.message.replacen("{}", &quoted(written), 1);
        let fix = self.fix.filter(|_| !has_variable);
        let help = fix.or_else(|| self.help.map(Cow::into_owned));
        Problem {
            help,
            ..Problem::error(at, message)
        }
    }
}
