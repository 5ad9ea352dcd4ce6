//! Evaluates the alerts of packaging/prometheus on scrapes; it implements only the PromQL that they use.
//!
//! Scrapes are treated as if they covered the window of a rate. A series that only one of them
//! has gives no rate, as in Prometheus.

use std::collections::{BTreeMap, BTreeSet};

use super::Exposition;

type Labels = BTreeMap<String, String>;

/// An alert of the rules file.
struct Alert {
    name: String,
    expression: String,
}

/// The alerts that fire after these scrapes, the oldest first.
#[track_caller]
pub fn firing(scrapes: &[Exposition]) -> BTreeSet<String> {
    let alerts = documented();
    assert!(alerts.len() > 5, "the alerts of packaging/prometheus");
    let fires = |alert: &Alert| !Query::of(&alert.expression, scrapes).vector().is_empty();
    let firing = alerts.into_iter().filter(fires);
    firing.map(|alert| alert.name).collect()
}

/// The rules file for Prometheus.
fn documented() -> Vec<Alert> {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/packaging/prometheus/reseal.rules.yml"
    );
    let rules = std::fs::read_to_string(file).unwrap();
    let mut alerts: Vec<Alert> = Vec::new();
    let mut is_expression = false;
    for line in rules.lines() {
        if let Some((_, name)) = line.split_once("- alert: ") {
            alerts.push(Alert {
                name: name.to_owned(),
                expression: String::new(),
            });
        } else if let Some(more) = line.strip_prefix("          ").filter(|_| is_expression) {
            alerts.last_mut().unwrap().expression += &format!(" {more}");
            continue;
        }
        is_expression = line.trim() == "expr: >-";
    }
    alerts
}

/// The value of an expression.
#[derive(Clone, Debug)]
enum Value {
    Scalar(f64),
    Vector(BTreeMap<Labels, f64>),
}

/// An expression that is read and evaluated in one pass.
struct Query<'a> {
    rest: &'a str,
    scrapes: &'a [Exposition],
}

impl<'a> Query<'a> {
    fn of(expression: &'a str, scrapes: &'a [Exposition]) -> Self {
        Self {
            rest: expression,
            scrapes,
        }
    }

    #[track_caller]
    fn vector(mut self) -> BTreeMap<Labels, f64> {
        let value = self.either();
        assert_eq!(self.rest.trim(), "", "not understood");
        match value {
            Value::Vector(vector) => vector,
            Value::Scalar(_) => panic!("an alert is a vector"),
        }
    }

    /// Consumes this prefix, if present.
    fn takes(&mut self, what: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(what);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    #[track_caller]
    fn must_take(&mut self, what: &str) {
        assert!(self.takes(what), "no {what} at {:?}", self.rest);
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.');
        let (word, rest) = rest.split_at(end.unwrap_or(rest.len()));
        self.rest = rest;
        word
    }

    fn either(&mut self) -> Value {
        let mut value = self.unless();
        while self.takes("or ") {
            let (Value::Vector(mut left), Value::Vector(right)) = (value, self.unless()) else {
                panic!("`or` is for vectors");
            };
            for (labels, number) in right {
                left.entry(labels).or_insert(number);
            }
            value = Value::Vector(left);
        }
        value
    }

    fn unless(&mut self) -> Value {
        let mut value = self.comparison();
        while self.takes("unless ") {
            let (Value::Vector(mut left), Value::Vector(right)) = (value, self.comparison()) else {
                panic!("`unless` is for vectors");
            };
            left.retain(|labels, _| !right.contains_key(labels));
            value = Value::Vector(left);
        }
        value
    }

    fn comparison(&mut self) -> Value {
        let value = self.sum();
        let holds: fn(f64, f64) -> bool = if self.takes("==") {
            |a, b| a == b
        } else if self.takes("<") {
            |a, b| a < b
        } else if self.takes(">") {
            |a, b| a > b
        } else {
            return value;
        };
        let (Value::Vector(mut vector), Value::Scalar(limit)) = (value, self.sum()) else {
            panic!("a vector is compared with a number");
        };
        vector.retain(|_, number| holds(*number, limit));
        Value::Vector(vector)
    }

    fn sum(&mut self) -> Value {
        let mut value = self.product();
        while self.takes("- ") {
            value = combine(value, self.product(), |a, b| a - b);
        }
        value
    }

    fn product(&mut self) -> Value {
        let mut value = self.term();
        loop {
            value = if self.takes("*") {
                combine(value, self.term(), |a, b| a * b)
            } else if self.takes("/") {
                combine(value, self.term(), |a, b| a / b)
            } else {
                return value;
            };
        }
    }

    fn term(&mut self) -> Value {
        let word = self.word();
        if let Ok(number) = word.parse() {
            return Value::Scalar(number);
        }
        match word {
            "time" => {
                self.must_take("()");
                let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
                Value::Scalar(now.as_secs_f64())
            }
            "sum" => self.aggregation(),
            "rate" | "increase" => self.growth(word == "rate"),
            name => self.instant(name),
        }
    }

    /// `sum by (LABELS) (EXPRESSION)`.
    fn aggregation(&mut self) -> Value {
        self.must_take("by (");
        let mut kept = BTreeSet::new();
        while !self.takes(")") {
            kept.insert(self.word());
            self.takes(",");
        }
        self.must_take("(");
        let Value::Vector(vector) = self.either() else {
            panic!("`sum` is for vectors");
        };
        self.must_take(")");
        let mut sums = BTreeMap::new();
        for (mut labels, number) in vector {
            labels.retain(|label, _| kept.contains(label.as_str()));
            *sums.entry(labels).or_insert(0.0) += number;
        }
        Value::Vector(sums)
    }

    /// `rate(SELECTOR[5m])`: the increase from the first scrape that has the series to the last one.
    fn growth(&mut self, per_second: bool) -> Value {
        self.must_take("(");
        let name = self.word();
        let wanted = self.matchers();
        self.must_take("[");
        let minutes: f64 = self.word().trim_end_matches('m').parse().unwrap();
        self.must_take("]");
        self.must_take(")");
        let window = if per_second { minutes * 60.0 } else { 1.0 };
        let mut grown = BTreeMap::new();
        let (last, earlier) = self.scrapes.split_last().unwrap();
        for (labels, number) in last.samples_of(name) {
            let first = earlier
                .iter()
                .find_map(|scrape| scrape.samples_of(name).find(|(own, _)| *own == labels));
            if let (Some((_, first)), true) = (first, wanted(labels)) {
                grown.insert(labels.clone(), (number - first) / window);
            }
        }
        Value::Vector(grown)
    }

    /// A selector as of now, or with `offset` as of the first scrape.
    fn instant(&mut self, name: &str) -> Value {
        let wanted = self.matchers();
        let scrape = if self.takes("offset ") {
            self.word();
            self.scrapes.first()
        } else {
            self.scrapes.last()
        };
        let samples = scrape.unwrap().samples_of(name);
        let samples = samples.filter(|(labels, _)| wanted(labels));
        Value::Vector(samples.map(|(l, number)| (l.clone(), number)).collect())
    }

    /// `{LABEL="VALUE", …}`, with `=`, `!=`, or `=~` and `!~` over alternatives.
    fn matchers(&mut self) -> impl Fn(&Labels) -> bool + use<> {
        let mut all: Vec<(String, &str, Vec<String>)> = Vec::new();
        if self.takes("{") {
            while !self.takes("}") {
                let label = self.word().to_owned();
                let operator = ["!=", "!~", "=~", "="].into_iter().find(|o| self.takes(o));
                self.must_take("\"");
                let (text, rest) = self.rest.split_once('"').unwrap();
                self.rest = rest;
                let values = text.split('|').map(str::to_owned).collect();
                all.push((label, operator.expect("an operator"), values));
                self.takes(",");
            }
        }
        move |labels| {
            all.iter().all(|(label, operator, values)| {
                let own = labels.get(label).map_or("", String::as_str);
                values.iter().any(|value| value == own) != operator.starts_with('!')
            })
        }
    }
}

/// Both sides, matched by their labels.
fn combine(left: Value, right: Value, by: fn(f64, f64) -> f64) -> Value {
    match (left, right) {
        (Value::Scalar(left), Value::Scalar(right)) => Value::Scalar(by(left, right)),
        (Value::Vector(left), Value::Scalar(right)) => {
            Value::Vector(left.into_iter().map(|(l, n)| (l, by(n, right))).collect())
        }
        (Value::Vector(left), Value::Vector(right)) => Value::Vector(
            left.into_iter()
                .filter_map(|(l, n)| Some((l.clone(), by(n, *right.get(&l)?))))
                .collect(),
        ),
        (Value::Scalar(_), Value::Vector(_)) => panic!("a number before a vector"),
    }
}
