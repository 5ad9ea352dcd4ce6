//! Reads files. Each is read once, however often it is named; on a renewal, a file that cannot be used keeps
//! its previous content.

use std::path::PathBuf;

use super::compiler::{Compiler, Files};
use super::materials::{Cache, Content, Key, Materials};
use crate::config::reader::problem::{Problem, Problems, Span};
use crate::config::reader::read::Located;
use crate::config::reader::values;
use crate::tls::material::carried::is_carried;
use crate::tls::material::file::{FileReader, MaterialError};

/// Why a material could not be read, with the span of the failing file if that differs from the whole.
pub(super) struct ReadError {
    pub(super) at: Option<Span>,
    pub(super) error: MaterialError,
}

impl From<MaterialError> for ReadError {
    fn from(error: MaterialError) -> Self {
        Self { at: None, error }
    }
}

/// An error about one of these files, at its own span in the list.
pub(super) fn read_error_of(
    files: &[Located<values::Path>],
    paths: &[PathBuf],
    error: MaterialError,
) -> ReadError {
    let named = files
        .iter()
        .zip(paths)
        .find(|(_, path)| **path == error.path);
    let at = named.map(|(file, _)| file.at);
    ReadError { at, error }
}

/// One of the caches of [`Materials`].
pub(super) struct Cached<K: 'static, V: 'static> {
    pub(super) cache: fn(&Materials) -> &Cache<K, V>,
    pub(super) cache_mut: fn(&mut Materials) -> &mut Cache<K, V>,
    /// Whether a renewal may use unchanged files without reading them.
    pub(super) may_stay: fn(&Compiler<'_>) -> bool,
}

impl<K, V> Clone for Cached<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Cached<K, V> {}

/// The cache in this field.
macro_rules! cached {
    ($field:ident) => {
        $crate::config::compile::reading::Cached {
            cache: |materials| &materials.$field,
            cache_mut: |materials| &mut materials.$field,
            may_stay: |_| true,
        }
    };
}
pub(super) use cached;

impl<'a> Compiler<'a> {
    /// The content of `key` in a cache, read on first use. On a renewal, files that have not changed are
    /// not read again, and a failed read keeps the previous content.
    pub(super) fn material<K: Key, V: Clone>(
        &mut self,
        at: Span,
        of: Cached<K, V>,
        key: K,
        read: impl FnOnce(&mut FileReader, &mut Problems) -> Result<V, ReadError>,
    ) -> Option<V> {
        if self.files == Files::Skip {
            return None;
        }
        if let Some(known) = (of.cache)(&self.materials).get(&key) {
            return known.found.clone();
        }
        for path in key.paths() {
            self.stamp(path);
        }
        let content = match self.unchanged_content(of, &key) {
            Some(content) => {
                for problem in &content.problems {
                    self.problems.push(problem.clone());
                }
                content.clone()
            }
            None => self.read_content(at, of, &key, read),
        };
        let found = content.found.clone();
        (of.cache_mut)(&mut self.materials).insert(key, content);
        found
    }

    /// On a renewal, the content of files that have not changed since they were read.
    pub(super) fn unchanged_content<K: Key, V: Clone>(
        &self,
        of: Cached<K, V>,
        key: &K,
    ) -> Option<&'a Content<V>> {
        let previous = self.previous?;
        let content = (of.cache)(previous).get(key)?;
        if !(of.may_stay)(self) {
            return None;
        }
        let (before, now) = (&previous.stamps, &self.materials.stamps);
        let is_unchanged = content.is_current
            && content.found.is_some()
            // The files of a document change with it alone, which is no renewal.
            && key
                .paths()
                .all(|path| is_carried(path) || before.agree_on(now, path));
        is_unchanged.then_some(content)
    }

    pub(super) fn read_content<K: Key, V: Clone>(
        &mut self,
        at: Span,
        of: Cached<K, V>,
        key: &K,
        read: impl FnOnce(&mut FileReader, &mut Problems) -> Result<V, ReadError>,
    ) -> Content<V> {
        let before = std::mem::take(self.problems);
        let mut reader = self.reader();
        let read = read(&mut reader, self.problems).and_then(|found| {
            self.check_permissions(at, key.paths(), &reader)?;
            Ok(found)
        });
        let problems = std::mem::replace(self.problems, before).into_vec();
        for problem in &problems {
            self.problems.push(problem.clone());
        }
        match read {
            Ok(found) => Content {
                found: Some(found),
                is_current: true,
                problems,
            },
            Err(ReadError { at: own, error }) => {
                let at = own.unwrap_or(at);
                let previous = self
                    .previous
                    .and_then(|previous| (of.cache)(previous).get(key));
                let found = previous.and_then(|previous| previous.found.clone());
                let hidden = self.hidden(&error);
                let help = hidden.or(error.help);
                let problem = if found.is_some() {
                    self.warn_kept(at, error.message)
                } else {
                    self.problems.error(at, error.message)
                };
                if let Some(help) = help {
                    problem.help(help);
                }
                Content {
                    found,
                    is_current: false,
                    problems: Vec::new(),
                }
            }
        }
    }

    /// What keeps this process from a file that it may not read, if its sandbox does.
    fn hidden(&self, error: &MaterialError) -> Option<String> {
        let is_denied = std::fs::File::open(&error.path)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
        self.sandbox.filter(|_| is_denied)?.keeps_from(&error.path)
    }

    /// Warns that a file cannot be used and that its previous content stays.
    pub(super) fn warn_kept(&mut self, at: Span, why: String) -> &mut Problem {
        let message = format!("{why}; its previous content stays in use");
        self.materials.stale.push(why);
        self.problems.warning(at, message)
    }

    pub(super) fn paths(&self, files: &[Located<values::Path>]) -> Vec<PathBuf> {
        files.iter().map(|file| self.resolve(file)).collect()
    }
}
