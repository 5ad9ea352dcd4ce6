//! Look-ups of names for requests of the process itself, which are no upstreams.

use std::net::IpAddr;
use std::sync::Arc;

use super::answer::Query;
use super::dns::Dns;

/// Resolves host names as those of origins are resolved.
#[derive(Clone, Debug, Default)]
pub struct Lookup(Arc<Dns>);

impl Lookup {
    /// The addresses of a host, the best first.
    ///
    /// # Errors
    ///
    /// One phrase, if there is none, or no answer in time.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Arc<str>> {
        let answer = self.0.ask(&Query::Host(host.into())).await?;
        Ok(answer
            .found
            .iter()
            .map(|record| record.address.ip())
            .collect())
    }
}
