//! What a reload has changed or why it was refused, for the log and for the reply to a request.

use serde_json::{Value, json};
use tracing::info;

use crate::admin::{Refusal, RefusalKind};
use crate::control::reload::plan::Change;
use crate::control::reload::prepare::Refused;

/// What a reload has changed, or would change.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) generation: u64,
    pub(crate) changes: Vec<Change>,
    /// For a plan: the number of live connections that would be closed for their certificates.
    pub(crate) disallowed: Option<usize>,
    /// For a plan: the number of live connections that would be closed for their addresses.
    pub(crate) denied: Option<usize>,
    pub(crate) warnings: Vec<String>,
    /// Keys whose new value needs a restart.
    pub(crate) restart: Vec<&'static str>,
}

impl Report {
    pub(crate) fn json(&self) -> Value {
        let change = |change: &Change| {
            let mut json = json!({
                "what": change.what,
                "name": change.name,
                "change": change.kind.word(),
                "connections": change.connections,
            });
            if change.connections > 0 {
                json["fate"] = json!(change.fate());
            }
            json
        };
        let mut json = json!({
            "generation": self.generation,
            "changes": self.changes.iter().map(change).collect::<Vec<_>>(),
            "warnings": self.warnings,
            "restart_needed": self.restart,
        });
        if let Some(count) = self.disallowed {
            json["closed_by_client_auth"] = json!(count);
        }
        if let Some(count) = self.denied {
            json["closed_by_sources"] = json!(count);
        }
        json
    }

    /// The warnings of the configuration, and one for each key that needs a restart.
    pub(crate) fn all_warnings(&self) -> Vec<String> {
        let restart = self.restart.iter();
        let restart =
            restart.map(|key| format!("restart needed: the running value of `{key}` stays"));
        self.warnings.iter().cloned().chain(restart).collect()
    }

    /// Logs the changes.
    pub(crate) fn log(&self) {
        for change in &self.changes {
            info!("{change}");
        }
        info!(
            generation = self.generation,
            changes = self.changes.len(),
            "reloaded"
        );
    }
}

/// The refusal of a reload while the process stops.
pub(crate) fn not_while_stopping() -> Refusal {
    Refusal::new(RefusalKind::Conflict, "not reloaded: the process stops")
}

pub(crate) fn refusal(refused: &Refused) -> Refusal {
    Refusal::new(RefusalKind::Conflict, refused.to_string())
}
