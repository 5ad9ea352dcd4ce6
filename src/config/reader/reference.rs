//! The keys of a file as data, for reference pages: each map once, outer maps first. Knows no key.

/// The maps of a file.
#[derive(Default)]
pub struct Reference {
    tables: Vec<KeyTable>,
}

/// The keys of one map.
pub struct KeyTable {
    /// The name of its type.
    pub name: &'static str,
    /// One sentence about it.
    pub about: &'static str,
    /// Its keys, in order of declaration.
    pub keys: Vec<KeyEntry>,
}

/// One key of a map.
pub struct KeyEntry {
    /// The key.
    pub key: &'static str,
    /// The form of its value.
    pub form: Form,
    /// Whether it may be absent.
    pub presence: Presence,
    /// Its meaning: sentences with code spans in backticks.
    pub meaning: &'static str,
    /// The reason of its default: a clause.
    pub reason: Option<&'static str>,
}

/// Whether a key may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It must be given.
    Required,
    /// It may be absent, and then has no value.
    Optional,
    /// It may be absent, and then has this value.
    Default(&'static str),
}

/// A word of a file with its meaning, which is empty if the word says enough.
pub type Word = (&'static str, &'static str);

/// The form of a value.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// The forms to choose from, as prose with code spans.
    pub alternatives: Vec<String>,
    /// The words among them, or that they stand for.
    pub words: Vec<Word>,
    /// The names of the maps among them.
    pub maps: Vec<&'static str>,
    /// How a map among them is reached.
    pub holder: Holder,
}

/// How a map is reached from its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holder {
    /// It is the value.
    #[default]
    Value,
    /// It is an item of a list.
    List,
    /// It has a name that the user chooses.
    Names,
}

impl Form {
    /// One form, without its article and without examples.
    pub fn of(noun: &str) -> Self {
        let noun = noun.split(" such as ").next().unwrap_or(noun);
        let bare = noun.strip_prefix("a ").or_else(|| noun.strip_prefix("an "));
        Self {
            alternatives: vec![bare.unwrap_or(noun).to_owned()],
            ..Self::default()
        }
    }

    /// The words that say enough.
    pub fn plain_words(&self) -> Vec<&'static str> {
        let plain = self.words.iter().filter(|(_, about)| about.is_empty());
        plain.map(|(word, _)| *word).collect()
    }

    /// The words that have a meaning beside them.
    pub fn described_words(&self) -> impl Iterator<Item = &Word> {
        self.words.iter().filter(|(_, about)| !about.is_empty())
    }

    /// One of these words.
    pub fn one_of(words: &[Word]) -> Self {
        Self {
            alternatives: words.iter().map(|(word, _)| format!("`{word}`")).collect(),
            words: words.to_vec(),
            ..Self::default()
        }
    }

    /// This form, or another.
    pub fn or(mut self, other: Self) -> Self {
        self.alternatives.extend(other.alternatives);
        self.words.extend(other.words);
        self.maps.extend(other.maps);
        self
    }

    /// A value of this form, or a list of such values.
    pub fn or_list(mut self) -> Self {
        self.alternatives.push("list".to_owned());
        self.holder = Holder::List;
        self
    }

    /// A list of values of this form.
    pub fn list(self) -> Self {
        let noun = match self.alternatives.as_slice() {
            [only] if only == "map" => "list of maps".to_owned(),
            _ => format!("list, each item: {}", self.text()),
        };
        Self {
            alternatives: vec![noun],
            holder: Holder::List,
            ..self
        }
    }

    /// A map from names to values of this form.
    pub fn named(self) -> Self {
        Self {
            alternatives: vec!["map from names to maps".to_owned()],
            holder: Holder::Names,
            ..self
        }
    }

    /// The form as prose.
    pub fn text(&self) -> String {
        match self.alternatives.as_slice() {
            [] => String::new(),
            [only] => only.clone(),
            [most @ .., last] => format!("{} or {last}", most.join(", ")),
        }
    }
}

impl Reference {
    /// All maps, outer ones first.
    pub fn tables(&self) -> &[KeyTable] {
        &self.tables
    }

    /// The map of this name.
    pub fn table(&self, name: &str) -> Option<&KeyTable> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// The form of a map, which is added on first use. With `short`, a single value for that key may stand
    /// for it.
    pub fn map(
        &mut self,
        name: &'static str,
        about: &'static str,
        short: Option<&str>,
        keys: impl FnOnce(&mut Self) -> Vec<KeyEntry>,
    ) -> Form {
        if self.table(name).is_none() {
            let index = self.tables.len();
            self.tables.push(KeyTable {
                name,
                about: about.trim(),
                keys: Vec::new(),
            });
            let keys = keys(self);
            if let Some(table) = self.tables.get_mut(index) {
                table.keys = keys;
            }
        }
        let mut map = Form::of("map");
        map.maps.push(name);
        let table = self.table(name);
        let short =
            table.and_then(|table| table.keys.iter().find(|entry| short == Some(entry.key)));
        match short {
            Some(short) => short.form.clone().or(map),
            None => map,
        }
    }
}
