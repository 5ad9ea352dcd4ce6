//! Which connections or failures a command is about, as flags and as the body of a request.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value, json};

/// What connections can be sorted by.
const SORTS: [&str; 17] = [
    "age",
    "idle",
    "bytes",
    "up",
    "down",
    "rate",
    "id",
    "endpoint",
    "route",
    "upstream",
    "origin",
    "source",
    "sni",
    "certificate",
    "serial",
    "stage",
    "mode",
];

/// What connections can be grouped by.
const GROUPS: [&str; 12] = [
    "endpoint",
    "route",
    "upstream",
    "origin",
    "source",
    "sni",
    "certificate",
    "serial",
    "stage",
    "mode",
    "age",
    "idle",
];

/// Conditions on connections; all must hold.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Filter {
    /// Of this endpoint
    #[arg(long, value_name = "ENDPOINT")]
    endpoint: Option<String>,
    /// On this route: NAME or ENDPOINT/NAME
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// To an origin of this upstream
    #[arg(long, value_name = "UPSTREAM")]
    upstream: Option<String>,
    /// To the origin of this name or address
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// From this address or network, such as 10.0.0.0/8
    #[arg(long, value_name = "NETWORK")]
    source: Option<String>,
    /// With this server name; `*.example.com` for all that end so
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// With a client certificate of this subject, common name or alternative name
    #[arg(long, value_name = "NAME")]
    certificate: Option<String>,
    /// With a client certificate of this serial number
    #[arg(long, value_name = "HEX")]
    serial: Option<String>,
    /// At least this old, such as 90s, 10m, 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = time)]
    older_than: Option<Duration>,
    /// Without a byte for at least this long
    #[arg(long, value_name = "TIME", value_parser = time)]
    idle_for: Option<Duration>,
    /// In this stage, such as hello, client_tls, connect or relay; `setup` for all before the relay
    #[arg(long, value_name = "STAGE")]
    stage: Option<String>,
}

/// The order and form of a list of connections.
#[derive(Debug, Default, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    /// Sort by this; times and bytes begin with the largest
    #[arg(long, value_name = "KEY", default_value = "age", value_parser = PossibleValuesParser::new(SORTS))]
    sort: String,
    /// Reverse the order
    #[arg(long)]
    reverse: bool,
    /// Show at most so many
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    limit: usize,
    /// Count them in groups instead
    #[arg(long, value_name = "KEY", value_parser = PossibleValuesParser::new(GROUPS))]
    pub(super) totals: Option<String>,
    /// Show bytes per second, which takes a second
    #[arg(long)]
    rates: bool,
}

/// Which connections to close.
#[derive(Debug, Default, clap::Args)]
pub(super) struct KillArgs {
    /// Connection id, as in `connections` and the access log
    #[arg(value_name = "ID")]
    pub(super) id: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Do not ask
    #[arg(long, short)]
    pub(super) yes: bool,
}

/// Which failures to show.
#[derive(Debug, Default, clap::Args)]
pub(super) struct FailureArgs {
    /// With this reason code
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Of this endpoint
    #[arg(long, value_name = "ENDPOINT")]
    endpoint: Option<String>,
    /// On this route: NAME or ENDPOINT/NAME
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// To this origin
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// From this address or network
    #[arg(long, value_name = "NETWORK")]
    source: Option<String>,
    /// With this server name; `*.example.com` for all that end so
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// Of the connection with this id
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Show at most so many, the latest first
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: usize,
}

impl Filter {
    fn body(&self) -> Map<String, Value> {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        let fields = json!({
            "endpoint": self.endpoint,
            "route": self.route,
            "upstream": self.upstream,
            "origin": self.origin,
            "source": self.source,
            "sni": self.sni,
            "certificate": self.certificate,
            "serial": self.serial,
            "older_than": seconds(self.older_than),
            "idle_for": seconds(self.idle_for),
            "stage": self.stage,
        });
        set(fields)
    }
}

impl ListArgs {
    pub(super) fn body(&self) -> Value {
        let mut body = self.filter.body();
        body.extend(set(json!({
            "sort": self.sort,
            "reverse": self.reverse,
            "limit": self.limit,
            "totals": self.totals,
            "rates": self.rates,
        })));
        Value::Object(body)
    }
}

impl KillArgs {
    pub(super) fn body(&self) -> Value {
        let mut body = self.filter.body();
        body.extend(set(json!({ "id": self.id })));
        Value::Object(body)
    }

    /// Whether it has no condition.
    pub(super) fn is_empty(&self) -> bool {
        self.id.is_none() && self.filter.body().is_empty()
    }

    /// Whether it is about one connection, which it names.
    pub(super) fn is_by_id(&self) -> bool {
        self.id.is_some() && self.filter.body().is_empty()
    }
}

impl FailureArgs {
    pub(super) fn body(&self) -> Value {
        Value::Object(set(json!({
            "reason": self.reason,
            "endpoint": self.endpoint,
            "route": self.route,
            "origin": self.origin,
            "source": self.source,
            "sni": self.sni,
            "id": self.id,
            "limit": self.limit,
        })))
    }
}

/// The fields of an object that are not `null`.
fn set(fields: Value) -> Map<String, Value> {
    let Value::Object(mut fields) = fields else {
        return Map::new();
    };
    fields.retain(|_, value| !value.is_null());
    fields
}

/// A whole number and a unit.
fn time(text: &str) -> Result<Duration, String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("write a number and one of s, m, h and d, such as 10m".to_owned()),
    };
    let number: Option<u64> = digits.parse().ok();
    let seconds = number.and_then(|number| number.checked_mul(factor));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "write a number and a unit, such as 10m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for wrong in [
            "",
            "10",
            "s",
            "1.5h",
            "-1s",
            "1w",
            "99999999999999999999s",
            "1h30m",
        ] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
