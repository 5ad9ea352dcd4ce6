//! Which connections or failures a command is about, as flags and as the body of a request.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value, json};

use super::times::time;

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

/// Conditions on connections and on failures.
#[derive(Debug, Default, clap::Args)]
struct Common {
    /// Of this endpoint
    #[arg(long, value_name = "ENDPOINT")]
    endpoint: Option<String>,
    /// On this route: NAME or ENDPOINT/NAME
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// To this origin, by its name; connections also by its address
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// From this address or network, such as 10.0.0.0/8
    #[arg(long, value_name = "NETWORK")]
    source: Option<String>,
    /// With this server name; `*.example.com` for all that end so
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
}

/// Conditions on connections; all must hold.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Filter {
    #[command(flatten)]
    common: Common,
    /// To an origin of this upstream
    #[arg(long, value_name = "UPSTREAM")]
    upstream: Option<String>,
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
    #[command(flatten)]
    common: Common,
    /// Of the connection with this id
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Show at most so many, the latest first
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: usize,
}

impl Common {
    fn body(&self) -> Map<String, Value> {
        set(json!({
            "endpoint": self.endpoint,
            "route": self.route,
            "origin": self.origin,
            "source": self.source,
            "sni": self.sni,
        }))
    }
}

impl Filter {
    fn body(&self) -> Map<String, Value> {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        let mut body = self.common.body();
        body.extend(set(json!({
            "upstream": self.upstream,
            "certificate": self.certificate,
            "serial": self.serial,
            "older_than": seconds(self.older_than),
            "idle_for": seconds(self.idle_for),
            "stage": self.stage,
        })));
        body
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
        let mut body = self.common.body();
        body.extend(set(
            json!({ "reason": self.reason, "id": self.id, "limit": self.limit }),
        ));
        Value::Object(body)
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
